//! [`Queue`]: commits that wait for their turn.
//!
//! While one group is written and synced, those who come meanwhile wait here. Whoever finds nobody
//! writing leads: takes all that waits, writes it as one frame with one sync, tells each what became
//! of it, and hands the lead to the first of those who came meanwhile. There is no thread for it, so
//! that with one caller each commit is a group of one, in the order of the calls. Each has a seat of
//! its own and is woken once, when there is something for it to do: with a hundred callers, to wake
//! all of them for each group would cost more than the writing. A caller may bring several at once, each
//! with an answer of its own.
//!
//! What waits is bounded in bytes. Who finds no room waits for some, for a bounded time, and is
//! then refused with nothing written. That time is a plain duration and not the injected clock's:
//! it bounds how long a thread stands still, which has nothing to do with the times of records, and
//! a clock that stands still in a test must not make it for ever.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::wal::PAYLOAD_SIZE_BYTES_MAX;

/// Proposals `P` on their way to answers `A`.
pub(crate) struct Queue<P, A> {
    line: Mutex<Line<P, A>>,
    /// For those who wait for room.
    room: Condvar,
}

struct Line<P, A> {
    waiting: VecDeque<Waiting<P, A>>,
    size_bytes: usize,
    is_led: bool,
    /// How many wait for room.
    outside: usize,
}

struct Waiting<P, A> {
    proposal: P,
    size_bytes: usize,
    seat: Arc<Seat<A>>,
}

/// Where one caller waits, with one proposal or several in a row.
struct Seat<A> {
    thread: Thread,
    turn: Mutex<Turn<A>>,
}

/// What a caller is to do.
struct Turn<A> {
    leads: bool,
    /// What became of its proposals, in their order. It leaves when no more are to come.
    answers: Vec<Result<A, Error>>,
    to_come: usize,
}

/// How much may wait, and how long for room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) size_bytes: usize,
    pub(crate) wait: Duration,
}

impl<P, A> Queue<P, A> {
    pub(crate) fn new() -> Queue<P, A> {
        let line = Line { waiting: VecDeque::new(), size_bytes: 0, is_led: false, outside: 0 };
        Queue { line: Mutex::new(line), room: Condvar::new() }
    }

    /// Has proposals, each with its size in bytes, written by whoever leads, and returns what became of
    /// each, in their order. `write` answers each proposal of a group, in order; it runs for no two
    /// groups at once.
    ///
    /// Those for which there is room wait together. Each of the others waits for room when all before
    /// it have been written or refused.
    pub(crate) fn propose(
        &self,
        proposals: Vec<(usize, P)>,
        mut bounds: Bounds,
        write: impl Fn(Vec<P>) -> Vec<Result<A, Error>>,
    ) -> Vec<Result<A, Error>> {
        let mut answers = Vec::with_capacity(proposals.len());
        let mut left = proposals.into_iter().peekable();
        while let Some((size_bytes, _)) = left.peek() {
            match self.line_with_room(*size_bytes, bounds) {
                Ok(mut line) => {
                    let seat = line.seat(&mut left, bounds);
                    drop(line);
                    answers.extend(self.wait(&seat, &write));
                }
                Err(busy) => {
                    left.next();
                    answers.push(Err(busy));
                    // The caller has waited long enough: the next finds room at once or not at all.
                    bounds.wait = Duration::ZERO;
                }
            }
        }
        answers
    }

    /// Until all of a seat's proposals are answered.
    fn wait(
        &self,
        seat: &Seat<A>,
        write: impl Fn(Vec<P>) -> Vec<Result<A, Error>>,
    ) -> Vec<Result<A, Error>> {
        loop {
            let mut turn = seat.turn();
            if turn.to_come == 0 {
                return std::mem::take(&mut turn.answers);
            }
            let leads = std::mem::take(&mut turn.leads);
            drop(turn);
            match leads {
                true => self.lead(&write),
                false => std::thread::park(),
            }
        }
    }

    fn line_with_room(
        &self,
        size_bytes: usize,
        bounds: Bounds,
    ) -> Result<MutexGuard<'_, Line<P, A>>, Error> {
        let has_no_room = |line: &mut Line<P, A>| !line.has_room(size_bytes, bounds);
        let mut line = self.line();
        if !has_no_room(&mut line) {
            return Ok(line);
        }
        line.outside += 1;
        let waited = self.room.wait_timeout_while(line, bounds.wait, has_no_room);
        let (mut line, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        line.outside -= 1;
        match timeout.timed_out() {
            false => Ok(line),
            true => Err(Error::new(
                ErrorKind::Busy,
                format!("{} bytes wait to be written already", line.size_bytes),
            )),
        }
    }

    /// Writes what waits.
    fn lead(&self, write: impl Fn(Vec<P>) -> Vec<Result<A, Error>>) {
        let mut line = self.line();
        let (seats, group) = line.take_group();
        if line.outside > 0 {
            self.room.notify_all();
        }
        drop(line);
        let mut lead = Lead { queue: self, seats, answers: Vec::new() };
        lead.answers = write(group);
    }

    fn line(&self) -> MutexGuard<'_, Line<P, A>> {
        // It is changed in one step each time, so that a panic elsewhere cannot have left it half so.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P, A> Line<P, A> {
    /// One that is larger than the queue may wait alone.
    fn has_room(&self, size_bytes: usize, bounds: Bounds) -> bool {
        self.size_bytes == 0 || self.size_bytes.saturating_add(size_bytes) <= bounds.size_bytes
    }

    /// Has proposals of one caller wait, as many from the front as there is room for.
    fn seat(
        &mut self,
        proposals: &mut Peekable<impl Iterator<Item = (usize, P)>>,
        bounds: Bounds,
    ) -> Arc<Seat<A>> {
        let leads = !std::mem::replace(&mut self.is_led, true);
        let turn = Mutex::new(Turn { leads, answers: Vec::new(), to_come: 0 });
        let seat = Arc::new(Seat { thread: std::thread::current(), turn });
        while let Some((size_bytes, proposal)) =
            proposals.next_if(|(size_bytes, _)| self.has_room(*size_bytes, bounds))
        {
            self.size_bytes += size_bytes;
            self.waiting.push_back(Waiting { proposal, size_bytes, seat: Arc::clone(&seat) });
            seat.turn().to_come += 1;
        }
        seat
    }

    /// As much from the front as one frame takes; at least one.
    fn take_group(&mut self) -> (Vec<Arc<Seat<A>>>, Vec<P>) {
        let (mut seats, mut group) = (Vec::new(), Vec::new());
        let mut total = 0;
        while let Some(next) = self.waiting.pop_front() {
            total += next.size_bytes;
            if total > PAYLOAD_SIZE_BYTES_MAX / 2 && !group.is_empty() {
                self.waiting.push_front(next);
                break;
            }
            self.size_bytes -= next.size_bytes;
            seats.push(next.seat);
            group.push(next.proposal);
        }
        (seats, group)
    }
}

impl<A> Seat<A> {
    fn lead(&self) {
        self.turn().leads = true;
        self.thread.unpark();
    }

    /// Wakes the caller with the last of its answers.
    fn answer(&self, answer: Result<A, Error>) {
        let mut turn = self.turn();
        turn.answers.push(answer);
        turn.to_come -= 1;
        let is_last = turn.to_come == 0;
        drop(turn);
        if is_last {
            self.thread.unpark();
        }
    }

    fn turn(&self) -> MutexGuard<'_, Turn<A>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lead of a group. Given up when dropped, also by a panic: nobody must wait for ever.
struct Lead<'q, P, A> {
    queue: &'q Queue<P, A>,
    seats: Vec<Arc<Seat<A>>>,
    answers: Vec<Result<A, Error>>,
}

impl<P, A> Drop for Lead<'_, P, A> {
    fn drop(&mut self) {
        let mut answers = self.answers.drain(..);
        for seat in self.seats.drain(..) {
            seat.answer(answers.next().unwrap_or_else(|| Err(lost())));
        }
        let mut line = self.queue.line();
        match line.waiting.front() {
            Some(next) => next.seat.lead(),
            None => line.is_led = false,
        }
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Poisoned, "a write ended in a bug and may be half done: restart")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Goal: each gets the answers to its own proposals and nobody else's, in their order, however many
    /// propose at once and how many each, also where they do not wait together. Method: threads
    /// propose numbers to a queue with room for three; the answer to a number is its double.
    #[test]
    fn each_gets_its_own_answers() {
        let queue = Queue::<u64, u64>::new();
        let bounds = Bounds { size_bytes: 24, wait: Duration::from_secs(60) };
        let double = |group: Vec<u64>| {
            std::thread::yield_now(); // others line up
            group.into_iter().map(|number| Ok(number * 2)).collect()
        };
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let queue = &queue;
                scope.spawn(move || {
                    for round in 0..500 {
                        let numbers: Vec<u64> =
                            (0..round % 7).map(|n| thread * 10_000 + n).collect();
                        let proposals = numbers.iter().map(|number| (8, *number)).collect();
                        let answers = queue.propose(proposals, bounds, double);
                        let answers: Vec<u64> = answers.into_iter().flatten().collect();
                        assert_eq!(answers, numbers.iter().map(|n| n * 2).collect::<Vec<_>>());
                    }
                });
            }
        });
        let line = queue.line();
        assert_eq!((line.size_bytes, line.waiting.len(), line.is_led), (0, 0, false));
    }

    /// Goal: of several proposals the one that finds no room is refused, and the others are written.
    /// Method: a leader is held up while another one waits, so that the queue is nearly full.
    #[test]
    fn who_finds_no_room_is_refused_alone() {
        let queue = Queue::<u64, u64>::new();
        let bounds = Bounds { size_bytes: 100, wait: Duration::from_millis(1) };
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let write = |group: Vec<u64>| {
            if group.contains(&0) {
                let _ = held.lock().expect("no panic").recv(); // an error means released, too
            }
            group.into_iter().map(Ok).collect()
        };
        let waits_for = |is_so: &dyn Fn(&Line<u64, u64>) -> bool| {
            while !is_so(&queue.line()) {
                std::thread::yield_now();
            }
        };
        std::thread::scope(|scope| {
            let propose = |proposals| scope.spawn(|| queue.propose(proposals, bounds, write));
            let leader = propose(vec![(10, 0)]);
            waits_for(&|line| line.is_led && line.waiting.is_empty());
            let first = propose(vec![(80, 1)]);
            waits_for(&|line| line.waiting.len() == 1);
            // The last one finds room when the one before it has been written.
            let several = propose(vec![(50, 2), (15, 3), (15, 4)]);
            waits_for(&|line| line.waiting.len() == 2);
            drop(release);
            let told = |thread: std::thread::ScopedJoinHandle<'_, Vec<Result<u64, Error>>>| {
                let answers = thread.join().expect("no panic").into_iter();
                answers.map(|answer| answer.map_err(|error| error.kind)).collect::<Vec<_>>()
            };
            assert_eq!((told(leader), told(first)), (vec![Ok(0)], vec![Ok(1)]));
            assert_eq!(told(several), [Err(ErrorKind::Busy), Ok(3), Ok(4)]);
        });
    }

    /// Goal: a caller with many proposals gets all answers when they take several frames, and leads for
    /// itself when nobody else does. Method: sizes of which two fill a frame.
    #[test]
    fn proposals_of_one_caller_take_as_many_frames_as_they_need() {
        let queue = Queue::<u64, u64>::new();
        let bounds = Bounds { size_bytes: usize::MAX, wait: Duration::ZERO };
        let groups = Mutex::new(Vec::new());
        let write = |group: Vec<u64>| {
            groups.lock().expect("no panic").push(group.len());
            group.into_iter().map(Ok).collect()
        };
        let proposals = (0..5).map(|number| (PAYLOAD_SIZE_BYTES_MAX / 4, number)).collect();
        let answers = queue.propose(proposals, bounds, write);
        assert_eq!(answers.into_iter().flatten().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(*groups.lock().expect("no panic"), [2, 2, 1]);
    }
}

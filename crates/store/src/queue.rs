//! [`Queue`]: commits that wait for their turn.
//!
//! While one group is written and synced, those who come meanwhile wait here. Whoever finds nobody
//! writing leads: takes all that waits, writes it as one frame with one sync, tells each what became
//! of it, and hands the lead to the first of those who came meanwhile. There is no thread for it, so
//! that with one caller each commit is a group of one, in the order of the calls. Each has a seat of
//! its own and is woken once, when there is something for it to do: with a hundred callers, to wake
//! all of them for each group would cost more than the writing.
//!
//! What waits is bounded in bytes. Who finds no room waits for some, for a bounded time, and is
//! then refused with nothing written. That time is a plain duration and not the injected clock's:
//! it bounds how long a thread stands still, which has nothing to do with the times of records, and
//! a clock that stands still in a test must not make it for ever.

use std::collections::VecDeque;
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

/// Where one caller waits.
struct Seat<A> {
    thread: Thread,
    turn: Mutex<Turn<A>>,
}

/// What a caller is to do.
enum Turn<A> {
    Wait,
    Lead,
    Leave(Result<A, Error>),
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

    /// Has a proposal of so many bytes written, by whoever leads, and returns what became of it.
    /// `write` answers each proposal of a group, in order; it runs for no two groups at once.
    pub(crate) fn propose(
        &self,
        proposal: P,
        size_bytes: usize,
        bounds: Bounds,
        write: impl Fn(Vec<P>) -> Vec<Result<A, Error>>,
    ) -> Result<A, Error> {
        let mut line = self.line_with_room(size_bytes, bounds)?;
        let leads = !std::mem::replace(&mut line.is_led, true);
        let turn = Mutex::new(if leads { Turn::Lead } else { Turn::Wait });
        let seat = Arc::new(Seat { thread: std::thread::current(), turn });
        line.size_bytes += size_bytes;
        line.waiting.push_back(Waiting { proposal, size_bytes, seat: Arc::clone(&seat) });
        drop(line);
        loop {
            match seat.take_turn() {
                Turn::Leave(answer) => return answer,
                Turn::Lead => self.lead(&write),
                Turn::Wait => std::thread::park(),
            }
        }
    }

    fn line_with_room(
        &self,
        size_bytes: usize,
        bounds: Bounds,
    ) -> Result<MutexGuard<'_, Line<P, A>>, Error> {
        let has_no_room = |line: &mut Line<P, A>| {
            line.size_bytes > 0 && line.size_bytes.saturating_add(size_bytes) > bounds.size_bytes
        };
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
    fn take_turn(&self) -> Turn<A> {
        std::mem::replace(&mut *self.turn(), Turn::Wait)
    }

    fn give(&self, turn: Turn<A>) {
        *self.turn() = turn;
        self.thread.unpark();
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
            seat.give(Turn::Leave(answers.next().unwrap_or_else(|| Err(lost()))));
        }
        let mut line = self.queue.line();
        match line.waiting.front() {
            Some(next) => next.seat.give(Turn::Lead),
            None => line.is_led = false,
        }
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Poisoned, "a write ended in a bug and may be half done: restart")
}

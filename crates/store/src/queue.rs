//! [`Queue`]: commits that wait for their turn.
//!
//! While one group is written and synced, those who come meanwhile wait here. Whoever finds nobody
//! writing leads: takes all that waits, writes it as one frame with one sync, and tells each what
//! became of it. There is no thread for it, so that with one caller each commit is a group of one,
//! in the order of the calls.
//!
//! What waits is bounded in bytes. Who finds no room waits for some, for a bounded time, and is
//! then refused with nothing written. That time is a plain duration and not the injected clock's:
//! it bounds how long a thread stands still, which has nothing to do with the times of records, and
//! a clock that stands still in a test must not make it for ever.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::wal::PAYLOAD_SIZE_BYTES_MAX;

/// Proposals `P` on their way to answers `A`.
pub(crate) struct Queue<P, A> {
    line: Mutex<Line<P, A>>,
    changed: Condvar,
}

struct Line<P, A> {
    waiting: VecDeque<(Ticket, usize, P)>,
    size_bytes: usize,
    is_led: bool,
    next_ticket: Ticket,
    answers: HashMap<Ticket, Result<A, Error>>,
}

type Ticket = u64;

/// How much may wait, and how long for room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) size_bytes: usize,
    pub(crate) wait: Duration,
}

impl<P, A> Queue<P, A> {
    pub(crate) fn new() -> Queue<P, A> {
        let (waiting, answers) = (VecDeque::new(), HashMap::new());
        let line = Line { waiting, size_bytes: 0, is_led: false, next_ticket: 0, answers };
        Queue { line: Mutex::new(line), changed: Condvar::new() }
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
        let has_no_room = |line: &mut Line<P, A>| {
            line.size_bytes > 0 && line.size_bytes.saturating_add(size_bytes) > bounds.size_bytes
        };
        let waited = self.changed.wait_timeout_while(self.line(), bounds.wait, has_no_room);
        let (mut line, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            let waiting = line.size_bytes;
            return Err(Error::new(
                ErrorKind::Busy,
                format!("{waiting} bytes wait to be written already"),
            ));
        }
        let ticket = line.next_ticket;
        line.next_ticket += 1;
        line.size_bytes += size_bytes;
        line.waiting.push_back((ticket, size_bytes, proposal));
        loop {
            if let Some(answer) = line.answers.remove(&ticket) {
                return answer;
            }
            if line.is_led {
                line = self.changed.wait(line).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (tickets, group) = line.take_group();
            line.is_led = true;
            drop(line);
            let mut lead = Lead { queue: self, tickets, answers: Vec::new() };
            lead.answers = write(group);
            drop(lead);
            line = self.line();
        }
    }

    fn line(&self) -> MutexGuard<'_, Line<P, A>> {
        // It is changed in one step each time, so that a panic elsewhere cannot have left it half so.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P, A> Line<P, A> {
    /// As much from the front as one frame takes; at least one.
    fn take_group(&mut self) -> (Vec<Ticket>, Vec<P>) {
        let (mut tickets, mut group) = (Vec::new(), Vec::new());
        let mut total = 0;
        while let Some((_, size_bytes, _)) = self.waiting.front() {
            total += size_bytes;
            if total > PAYLOAD_SIZE_BYTES_MAX / 2 && !group.is_empty() {
                break;
            }
            let (ticket, size_bytes, proposal) = self.waiting.pop_front().expect("is in front");
            self.size_bytes -= size_bytes;
            tickets.push(ticket);
            group.push(proposal);
        }
        (tickets, group)
    }
}

/// The lead of a group. Given up when dropped, also by a panic: nobody must wait for ever.
struct Lead<'q, P, A> {
    queue: &'q Queue<P, A>,
    tickets: Vec<Ticket>,
    answers: Vec<Result<A, Error>>,
}

impl<P, A> Drop for Lead<'_, P, A> {
    fn drop(&mut self) {
        let mut line = self.queue.line();
        let mut answers = self.answers.drain(..);
        for ticket in self.tickets.drain(..) {
            let answer = answers.next().unwrap_or_else(|| Err(lost()));
            line.answers.insert(ticket, answer);
        }
        line.is_led = false;
        drop(line);
        self.queue.changed.notify_all();
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Poisoned, "a write ended in a bug and may be half done: restart")
}

//! Whether a connection is worth its place: someone asks over it, and takes what was answered.
//!
//! hyper bounds the head of an HTTP/1 request and nothing else: not the bytes before it is known
//! which HTTP this is, not an HTTP/2 connection without streams, not an answer that nobody reads.
//! So a connection counts its exchanges here, and a watchdog looks at the counts.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};

/// A chunk of an answer. What hyper and HTTP/2 buffer is counted in chunks, so that an answer
/// stays with its watch until its reader has taken nearly all of it.
pub const CHUNK_BYTES: usize = 16 * 1024;

/// How many times a timeout the watchdog looks: a timeout is exceeded by a quarter at most.
const LOOKS: u32 = 4;

/// An answer as a whole may take this many times as long as it may stand still. Without it a
/// reader of one chunk a minute would hold 10 MB for half a day.
const PATIENCE: u32 = 10;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Nobody asks.
    Idle,
    /// Somebody asked and does not take the answer.
    Stalled,
}

/// The exchanges of one connection. Cheap to clone.
#[derive(Clone, Default)]
pub struct Exchanges(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    /// Requests whose answer is being worked on.
    n_working: usize,
    /// Answers on their way, by number.
    answers: BTreeMap<u64, Waiting>,
    n_answers: u64,
    /// Looks since there was an exchange.
    idle: u32,
}

/// Looks at an answer since its last chunk was taken, and in all.
#[derive(Default)]
struct Waiting {
    still: u32,
    total: u32,
}

impl Exchanges {
    /// A request has come.
    pub fn begin(&self) -> Working {
        let mut counts = self.counts();
        counts.n_working += 1;
        // Exchanges may be over before the next look.
        counts.idle = 0;
        drop(counts);
        Working(self.clone())
    }

    /// Returns when the connection is to end. Called again, it waits as long again.
    pub async fn watch(&self, idle: Duration, still: Duration) -> Over {
        let pause = (idle.min(still) / LOOKS).max(Duration::from_millis(1));
        let looks = |timeout: Duration| {
            u32::try_from(timeout.as_millis().div_ceil(pause.as_millis())).unwrap_or(u32::MAX)
        };
        self.counts().idle = 0;
        loop {
            tokio::time::sleep(pause).await;
            if let Some(over) = self.counts().look(looks(idle), looks(still)) {
                return over;
            }
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn look(&mut self, idle_max: u32, still_max: u32) -> Option<Over> {
        let is_idle = self.n_working == 0 && self.answers.is_empty();
        self.idle = if is_idle { self.idle + 1 } else { 0 };
        let mut is_stalled = false;
        for answer in self.answers.values_mut() {
            answer.still += 1;
            answer.total += 1;
            is_stalled |= answer.still > still_max;
            is_stalled |= answer.total > still_max.saturating_mul(PATIENCE);
        }
        if is_stalled {
            return Some(Over::Stalled);
        }
        (self.idle >= idle_max).then_some(Over::Idle)
    }
}

/// A request that is being worked on.
pub struct Working(Exchanges);

impl Working {
    /// The answer is there, and is watched until it has been taken or dropped.
    pub fn answer(self, body: Body) -> Body {
        let exchanges = self.0.clone();
        let number = {
            let mut counts = exchanges.counts();
            counts.n_answers += 1;
            let number = counts.n_answers;
            counts.answers.insert(number, Waiting::default());
            number
        };
        Body::new(Answer { body, rest: Bytes::new(), exchanges, number })
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.counts().n_working -= 1;
    }
}

struct Answer {
    body: Body,
    /// Of the last frame, what was not handed out yet.
    rest: Bytes,
    exchanges: Exchanges,
    number: u64,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // hyper asks only when it has room for more: that it asks is the progress.
        if let Some(waiting) = self.exchanges.counts().answers.get_mut(&self.number) {
            waiting.still = 0;
        }
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let length = self.rest.len().min(CHUNK_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let hint = self.body.size_hint();
        let mut whole = SizeHint::new();
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper.saturating_add(rest));
        }
        whole.set_lower(hint.lower().saturating_add(rest));
        whole
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let mut counts = self.exchanges.counts();
        counts.answers.remove(&self.number);
        counts.idle = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn short_exchanges_keep_a_connection() {
        let exchanges = Exchanges::default();
        let timeout = Duration::from_millis(400);
        let talk = async {
            for _ in 0..6 {
                tokio::time::sleep(timeout / 3).await;
                drop(exchanges.begin().answer(Body::empty()));
            }
        };
        tokio::select! {
            over = exchanges.watch(timeout, timeout) => panic!("{over:?} while it was used"),
            () = talk => {}
        }
        assert_eq!(exchanges.watch(timeout, timeout).await, Over::Idle);
    }
}

//! [`Metrics`]: what the server counts of itself, and all that it tells a monitoring system.
//!
//! Names are those of `docs/running.md`, which a test compares. No label says who: no user, no
//! address, no host; projects go by their id, sources by the name that the operator gave them.

mod tell;
pub mod text;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Response;
use doorbook_event::Text;

use crate::sources::{Board, Status};
use crate::{counters, receiver};

pub use tell::tell;

/// What became of a line that a shipper sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IngestLines {
    /// Events that were new.
    pub stored: u64,
    /// Events that were there already.
    pub duplicate: u64,
    /// Lines that could not be read.
    pub quarantined: u64,
    /// Events that are too old to be kept.
    pub expired: u64,
}

/// Counters since the process started.
#[derive(Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<Operation, Requests>>,
    stored: AtomicU64,
    duplicate: AtomicU64,
    quarantined: AtomicU64,
    expired: AtomicU64,
    sources: OnceLock<Board>,
    counters: Mutex<Option<counters::Board>>,
    receivers: OnceLock<receiver::Board>,
    deliveries: Mutex<BTreeMap<(Text, &'static str), u64>>,
    dropped_messages: AtomicU64,
}

/// A surface and its operation. Both come from our own tables: what callers send makes no series.
type Operation = (&'static str, &'static str);

/// Seconds: from a look-up in memory to an answer that nobody waits for any more.
const BOUNDS: [f64; 10] = [0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];

/// Requests of one operation.
#[derive(Clone, Default)]
struct Requests {
    by_status: BTreeMap<u16, u64>,
    by_duration: [u64; BOUNDS.len() + 1],
    duration: Duration,
}

impl Metrics {
    /// Answers a request and counts it: from the end of its head until its answer begins.
    pub async fn count(
        &self,
        surface: &'static str,
        operation: &'static str,
        answer: impl Future<Output = Response<Body>>,
    ) -> Response<Body> {
        let began = now();
        let response = answer.await;
        self.add((surface, operation), response.status().as_u16(), began.elapsed());
        response
    }

    fn add(&self, operation: Operation, status: u16, duration: Duration) {
        let slot = BOUNDS.iter().position(|bound| duration.as_secs_f64() <= *bound);
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = requests.entry(operation).or_default();
        *requests.by_status.entry(status).or_default() += 1;
        requests.by_duration[slot.unwrap_or(BOUNDS.len())] += 1;
        requests.duration += duration;
    }

    /// Counts lines that shippers sent.
    pub fn ingested(&self, lines: IngestLines) {
        let IngestLines { stored, duplicate, quarantined, expired } = lines;
        for (counter, n) in [
            (&self.stored, stored),
            (&self.duplicate, duplicate),
            (&self.quarantined, quarantined),
            (&self.expired, expired),
        ] {
            counter.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Counts a try to deliver a message of an alarm.
    pub fn delivered(&self, destination: &Text, result: &'static str) {
        let mut deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        *deliveries.entry((destination.clone(), result)).or_default() += 1;
    }

    /// Counts messages that no destination will get.
    pub fn dropped_messages(&self, n: u64) {
        self.dropped_messages.fetch_add(n, Ordering::Relaxed);
    }

    /// Says who follows the sources. Only the first one is asked.
    pub fn set_sources(&self, sources: Board) {
        let _the_first_one_stays = self.sources.set(sources);
    }

    /// Who follows the sources.
    pub(crate) fn board(&self) -> Option<&Board> {
        self.sources.get()
    }

    /// What each source does now, if any is followed.
    pub(crate) fn sources(&self) -> BTreeMap<Text, Status> {
        self.sources.get().map_or_else(BTreeMap::new, Board::statuses)
    }

    /// Says who compares counters now.
    pub fn set_counters(&self, counters: Option<counters::Board>) {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = counters;
    }

    /// How the checks of each host are, if any is checked.
    fn counters(&self) -> counters::Status {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.as_ref().map_or_else(BTreeMap::new, counters::Board::status)
    }

    /// Says who receives. Only the first one is asked.
    pub fn set_receivers(&self, receivers: receiver::Board) {
        let _the_first_one_stays = self.receivers.set(receivers);
    }

    /// How each receiver is, if there is any.
    fn receivers(&self) -> BTreeMap<Text, receiver::Status> {
        self.receivers.get().map_or_else(BTreeMap::new, receiver::Board::statuses)
    }

    /// Tries to deliver, by destination and result.
    fn deliveries(&self) -> BTreeMap<(Text, &'static str), u64> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn requests(&self) -> BTreeMap<Operation, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[expect(clippy::disallowed_methods, reason = "how long an answer takes, never what time it is")]
fn now() -> Instant {
    Instant::now()
}

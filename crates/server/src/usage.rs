//! We record ourselves: every answered query, every token and every failed authentication becomes
//! a record of the system scope within a second, and no answer ever waits for that.
//!
//! An answer drops its [`Use`] into a bounded queue. One thread takes them out, adds up those that
//! are equal (a dashboard that asks the same twenty times a second is one record with
//! `count = 20`), and commits what it has every [`FLUSH_INTERVAL`]. What the queue cannot hold is
//! counted, and the count is recorded: too many uses to keep is a fact of its own.
//!
//! A shipper asks thousands of times a second and looks at nothing; what it sent is in the history
//! already. Its uses are added up for [`SUMMARY_INTERVAL`] ([`Usage::record_summed`]), so that
//! sending leaves a trace without doubling what is kept.
//!
//! Whoever is not authenticated must not decide how much is written. Of such callers one record
//! stands for all uses that differ only in what they sent, with the first as a sample, and a flush
//! has 16 of these records and one that counts the rest.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use doorbook_event::record::Actor;
use doorbook_event::{
    Access, Action, Attributes, Clock, Outcome, Peer, Principal, Record, Target, Text, Timestamp,
};
use doorbook_store::Error;

use crate::admin::with_causes;
use crate::auth::Caller;

/// Half of the second within which a use must be recorded; the rest is for the commit itself.
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(500);

/// How long the uses of shippers are added up. A process that is killed loses the last of these
/// records, and none of the events.
pub const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// Uses waiting to be added up: at 20,000 answers per second, 0.2 s of them.
const QUEUE_MAX: usize = 4096;

/// Different uses in one flush.
const PENDING_MAX: usize = 4096;

/// Different uses in one flush by callers who are not authenticated. An address that tries keys
/// is one; with its samples cut, the worst that a flood can write is some 20 KB per second.
const STRANGERS_MAX: usize = 16;

/// What is kept of a text that a caller sent who is not authenticated.
const SAMPLE_CHARS: usize = 128;

/// One use of Doorbook.
#[derive(Clone, Debug)]
pub struct Use {
    /// Who, and from where.
    pub caller: Caller,
    /// What kind of use.
    pub action: Action,
    /// Which operation of which API, such as `atlas.v2.getGroupDbAccessHistoryCluster`.
    pub operation: Text,
    /// On what.
    pub target: Target,
    /// The HTTP status that was answered.
    pub status: u16,
    /// Why it was refused; `None` if it was not.
    pub refusal: Option<Text>,
    /// Rows in the answer.
    pub rows: u64,
    /// Further columns: the filter as it was sent, the name that was claimed.
    pub details: Vec<(&'static str, Text)>,
}

/// Takes uses in. Cheap to clone.
#[derive(Clone)]
pub struct Usage(Arc<Inner>);

struct Inner {
    sender: SyncSender<Message>,
    overflow: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
    summed: Arc<Mutex<Summed>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Uses of shippers. They are added up where they are answered: to wake a thread for each of them
/// would cost more than everything else that it does.
#[derive(Default)]
struct Summed {
    pending: Pending,
    /// The thread knows that there are some.
    is_announced: bool,
}

enum Message {
    Used(Box<Use>),
    /// There is something summed.
    Summing,
    Flush(SyncSender<()>),
    Close,
}

/// Where records go: a commit to the system scope.
pub type Sink = Box<dyn FnMut(Vec<Record>) -> Result<(), Error> + Send>;

impl Usage {
    /// Starts the thread.
    pub fn start(clock: Arc<dyn Clock>, sink: Sink) -> Usage {
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let overflow = Arc::new(AtomicU64::new(0));
        let summed = Arc::<Mutex<Summed>>::default();
        let recorder = Recorder {
            clock: Arc::clone(&clock),
            sink,
            overflow: Arc::clone(&overflow),
            pending: Pending::default(),
            summed: Arc::clone(&summed),
            summed_due: None,
            is_failing: false,
        };
        let thread = std::thread::Builder::new()
            .name("usage".into())
            .spawn(move || recorder.run(&receiver))
            .expect("a process that can serve can start a thread");
        let thread = Mutex::new(Some(thread));
        Usage(Arc::new(Inner { sender, overflow, clock, summed, thread }))
    }

    /// Takes a use in. Never waits.
    pub fn record(&self, used: Use) {
        self.send(Message::Used(Box::new(used)));
    }

    /// Takes a use in that is recorded with others like it. Waits for nothing but other uses.
    pub fn record_summed(&self, used: Use) {
        let time = self.0.clock.now();
        let mut summed = lock(&self.0.summed);
        if !summed.pending.add(used, time) {
            self.0.overflow.fetch_add(1, Ordering::Relaxed);
        }
        if !summed.is_announced {
            // If the queue is full the next one will tell.
            summed.is_announced = self.0.sender.try_send(Message::Summing).is_ok();
        }
    }

    fn send(&self, message: Message) {
        if self.0.sender.try_send(message).is_err() {
            self.0.overflow.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns when everything taken in before has been committed, or its commit has failed.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.0.sender.send(Message::Flush(done)).is_ok() {
            // An error means that the thread has ended, and it flushes before it does.
            let _ = wait.recv();
        }
    }

    /// Commits what was taken in and ends the thread; later uses are only counted.
    pub fn close(&self) {
        // The thread is gone already if this fails.
        let _ = self.0.sender.send(Message::Close);
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            thread.join().expect("the usage thread does not panic");
        }
    }
}

struct Recorder {
    clock: Arc<dyn Clock>,
    sink: Sink,
    overflow: Arc<AtomicU64>,
    pending: Pending,
    summed: Arc<Mutex<Summed>>,
    summed_due: Option<Instant>,
    is_failing: bool,
}

impl Recorder {
    fn run(mut self, receiver: &Receiver<Message>) {
        let mut deadline: Option<Instant> = None;
        loop {
            let message = match [deadline, self.summed_due].into_iter().flatten().min() {
                None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => {
                    receiver.recv_timeout(Instant::saturating_duration_since(&deadline, now()))
                }
            };
            let is_due = match message {
                Ok(Message::Used(used)) => {
                    if !self.pending.add(*used, self.clock.now()) {
                        self.overflow.fetch_add(1, Ordering::Relaxed);
                    }
                    let due = *deadline.get_or_insert_with(|| now() + FLUSH_INTERVAL);
                    // A queue that never runs dry must not put the flush off for ever.
                    due <= now()
                }
                Ok(Message::Summing) => {
                    let due = *self.summed_due.get_or_insert_with(|| now() + SUMMARY_INTERVAL);
                    deadline.map_or(due, |deadline| deadline.min(due)) <= now()
                }
                Ok(Message::Flush(done)) => {
                    self.take_summed();
                    self.flush();
                    // Whoever asked may have stopped waiting.
                    let _ = done.try_send(());
                    deadline = self.retry();
                    false
                }
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => {
                    self.take_summed();
                    self.flush();
                    if self.is_failing {
                        let lost = self.pending.uses + self.overflow.load(Ordering::Relaxed);
                        tracing::error!(uses = lost, "uses of the API could not be recorded");
                    }
                    return;
                }
                Err(RecvTimeoutError::Timeout) => true,
            };
            if is_due {
                if self.summed_due.is_some_and(|due| due <= now()) {
                    self.take_summed();
                }
                self.flush();
                deadline = self.retry();
            }
        }
    }

    /// After a failure what is pending stays so, and is tried again.
    fn retry(&self) -> Option<Instant> {
        let is_pending = self.pending.uses > 0 || self.overflow.load(Ordering::Relaxed) > 0;
        is_pending.then(|| now() + FLUSH_INTERVAL)
    }

    fn take_summed(&mut self) {
        self.summed_due = None;
        let summed = std::mem::take(&mut *lock(&self.summed));
        let left_out = self.pending.absorb(summed.pending);
        self.overflow.fetch_add(left_out, Ordering::Relaxed);
    }

    fn flush(&mut self) {
        let overflow = self.overflow.swap(0, Ordering::Relaxed);
        let mut records = self.pending.records();
        if overflow > 0 {
            records.push(overflow_record(overflow, self.clock.now()));
        }
        if records.is_empty() {
            return;
        }
        match (self.sink)(records) {
            Ok(()) => {
                self.pending = Pending::default();
                if self.is_failing {
                    tracing::info!("uses of the API are recorded again");
                }
                self.is_failing = false;
            }
            Err(error) => {
                self.overflow.fetch_add(overflow, Ordering::Relaxed);
                if !self.is_failing {
                    let error = with_causes(&error);
                    tracing::error!(error, "uses of the API cannot be recorded now");
                }
                self.is_failing = true;
            }
        }
    }
}

fn lock(summed: &Mutex<Summed>) -> MutexGuard<'_, Summed> {
    // A use is added in one step, so that a panic elsewhere cannot have left it half so.
    summed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Monotonic time for intervals; what is recorded is the [`Clock`]'s.
#[expect(clippy::disallowed_methods, reason = "how long to wait, never what time it is")]
fn now() -> Instant {
    Instant::now()
}

/// Uses added up since the last flush, in the order in which they first came.
#[derive(Default)]
struct Pending {
    places: HashMap<Key, usize>,
    sums: Vec<Sum>,
    uses: u64,
    /// Records of strangers among them.
    n_strangers: usize,
    /// Uses by strangers for which there was no record, and when the first was.
    further: Option<(u64, Timestamp)>,
}

/// What must be equal for two uses to be one record. The filter is among it: that someone looked
/// for one address and then for another are two facts. Not so for callers who are not
/// authenticated: neither what they looked for nor what they call themselves is.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    principal: Principal,
    peer: Peer,
    operation: Text,
    target: Target,
    status: u16,
    refusal: Option<Text>,
    details: Vec<(&'static str, Text)>,
}

impl Key {
    fn of(used: &Use, is_stranger: bool) -> Key {
        let (target, details) = match &used.target {
            Target::Own { kind, .. } if is_stranger => {
                (Target::Own { kind: kind.clone(), name: "".into() }, Vec::new())
            }
            target => (target.clone(), used.details.clone()),
        };
        Key {
            principal: used.caller.principal.clone(),
            peer: used.caller.peer,
            operation: used.operation.clone(),
            target,
            status: used.status,
            refusal: used.refusal.clone(),
            details,
        }
    }
}

struct Sum {
    first: Use,
    first_time: Timestamp,
    count: u64,
    rows: u64,
}

impl Pending {
    /// `false` if there is no room.
    fn add(&mut self, mut used: Use, time: Timestamp) -> bool {
        // Each connection has its own port; a caller is an address.
        if let Peer::Ip { address, .. } = used.caller.peer {
            used.caller.peer = Peer::ip(address, None);
        }
        let is_stranger = used.caller.principal == Principal::Unauthenticated;
        let key = Key::of(&used, is_stranger);
        if let Some(place) = self.places.get(&key) {
            self.sums[*place].count += 1;
            self.sums[*place].rows += used.rows;
        } else if is_stranger && self.n_strangers == STRANGERS_MAX {
            self.further.get_or_insert((0, time)).0 += 1;
        } else if self.sums.len() == PENDING_MAX {
            return false;
        } else {
            if is_stranger {
                self.n_strangers += 1;
                for (_, text) in &mut used.details {
                    *text = text.chars().take(SAMPLE_CHARS).collect::<String>().into();
                }
            }
            self.places.insert(key, self.sums.len());
            self.sums.push(Sum { rows: used.rows, first: used, first_time: time, count: 1 });
        }
        self.uses += 1;
        true
    }

    /// Takes the sums of callers who are known; returns how many uses there was no room for.
    fn absorb(&mut self, other: Pending) -> u64 {
        let mut left_out = 0;
        for sum in other.sums {
            let key = Key::of(&sum.first, false);
            match self.places.get(&key) {
                Some(place) => {
                    self.sums[*place].count += sum.count;
                    self.sums[*place].rows += sum.rows;
                    self.uses += sum.count;
                }
                None if self.sums.len() >= PENDING_MAX => left_out += sum.count,
                None => {
                    self.places.insert(key, self.sums.len());
                    self.uses += sum.count;
                    self.sums.push(sum);
                }
            }
        }
        left_out
    }

    fn records(&self) -> Vec<Record> {
        let further = self.further.map(|(count, time)| further_record(count, time));
        self.sums.iter().map(Sum::record).chain(further).collect()
    }
}

impl Sum {
    fn record(&self) -> Record {
        let used = &self.first;
        let mut attributes = Attributes::from([
            ("operation".into(), used.operation.clone()),
            ("status".into(), used.status.to_string().into()),
            ("rows".into(), self.rows.to_string().into()),
            ("count".into(), self.count.to_string().into()),
        ]);
        for (name, value) in &used.details {
            attributes.insert((*name).into(), value.clone());
        }
        let outcome = match &used.refusal {
            None => Outcome::Success,
            Some(reason) => Outcome::Failure {
                reason: Some(reason.clone()),
                code: Some(i64::from(used.status)),
            },
        };
        own(
            used.action,
            used.target.clone(),
            (used.caller.principal.clone(), used.caller.peer),
            (outcome, self.first_time),
            attributes,
        )
    }
}

fn overflow_record(count: u64, time: Timestamp) -> Record {
    own(
        Action::Query,
        Target::Own { kind: "usage".into(), name: "overflow".into() },
        (Principal::Doorbook, Peer::Unknown),
        (Outcome::Unknown, time),
        Attributes::from([("count".into(), count.to_string().into())]),
    )
}

/// Uses by callers who are not authenticated, beyond those that have records of their own.
fn further_record(count: u64, time: Timestamp) -> Record {
    own(
        Action::Query,
        Target::Own { kind: "usage".into(), name: "further".into() },
        (Principal::Unauthenticated, Peer::Unknown),
        (Outcome::Failure { reason: Some("further".into()), code: None }, time),
        Attributes::from([("count".into(), count.to_string().into())]),
    )
}

fn own(
    action: Action,
    target: Target,
    (principal, peer): (Principal, Peer),
    (outcome, event_time): (Outcome, Timestamp),
    attributes: Attributes,
) -> Record {
    let by = Actor { principal, peer };
    Record::Own(Access { outcome, attributes, ..Access::own(&by, action, target, event_time) })
}

#[cfg(test)]
mod tests {
    use doorbook_event::time::ManualClock;
    use doorbook_store::ErrorKind;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    type Seen = Arc<Mutex<Vec<Record>>>;

    fn start(mut is_failing: impl FnMut() -> bool + Send + 'static) -> (Usage, Seen) {
        let seen = Seen::default();
        let sink = {
            let seen = Arc::clone(&seen);
            Box::new(move |records| {
                if is_failing() {
                    return Err(Error::new(ErrorKind::DiskFull, "full"));
                }
                seen.lock().expect("no panic").extend::<Vec<_>>(records);
                Ok(())
            })
        };
        (Usage::start(Arc::new(ManualClock::new(NOW)), sink), seen)
    }

    fn query(port: u16, filter: &str) -> Use {
        Use {
            caller: Caller {
                principal: Principal::ApiKey("k".into()),
                peer: Peer::ip([10, 0, 0, 1].into(), Some(port)),
            },
            action: Action::Query,
            operation: "op".into(),
            target: Target::Own { kind: "project".into(), name: "p".into() },
            status: 200,
            refusal: None,
            rows: 3,
            details: vec![("filter", filter.into())],
        }
    }

    /// Many requests of a shipper are one record of a minute; whoever asks is recorded at once.
    #[test]
    fn what_shippers_send_is_summed() {
        let (usage, seen) = start(|| false);
        for port in 0..1000 {
            usage.record_summed(query(port, "sent"));
        }
        usage.0.sender.send(Message::Used(Box::new(query(1, "asked")))).expect("the thread runs");
        usage.flush();
        assert_eq!(rows_of(&seen), [row("asked", "1", "3"), row("sent", "1000", "3000")]);
        usage.record_summed(query(1, "sent"));
        usage.close();
        assert_eq!(rows_of(&seen)[2..], [row("sent", "1", "3")]);
    }

    fn rows_of(seen: &Seen) -> Vec<(String, String, String)> {
        let seen = seen.lock().expect("no panic");
        let row = |record: &Record| {
            let Record::Own(access) = record else { panic!("{record:?}") };
            let get = |name: &str| {
                access.attributes.get(name).map(ToString::to_string).unwrap_or_default()
            };
            (get("filter"), get("count"), get("rows"))
        };
        seen.iter().map(row).collect()
    }

    fn row(filter: &str, count: &str, rows: &str) -> (String, String, String) {
        (filter.into(), count.into(), rows.into())
    }

    #[test]
    fn equal_uses_are_one_record_with_a_count() {
        let (usage, seen) = start(|| false);
        for used in [query(1, "a"), query(2, "a"), query(3, "b")] {
            usage.record(used);
        }
        usage.flush();
        assert_eq!(rows_of(&seen), [row("a", "2", "6"), row("b", "1", "3")]);
        let refused = Use { status: 401, refusal: Some("no".into()), ..query(1, "a") };
        usage.record(refused);
        usage.close();
        let Some(Record::Own(last)) = seen.lock().expect("no panic").last().cloned() else {
            panic!("nothing recorded");
        };
        let failure = Outcome::Failure { reason: Some("no".into()), code: Some(401) };
        assert_eq!((last.outcome, last.event_time), (failure, NOW));
        assert_eq!(last.peer, Peer::ip([10, 0, 0, 1].into(), None));
    }

    fn refused(address: [u8; 4], operation: &str, filter: &str) -> Use {
        let peer = Peer::ip(address.into(), None);
        Use {
            caller: Caller { principal: Principal::Unauthenticated, peer },
            operation: operation.into(),
            status: 401,
            refusal: Some("wrong digest".into()),
            rows: 0,
            ..query(1, filter)
        }
    }

    /// What a stranger sends does not decide how much is written.
    #[test]
    fn refusals_are_one_record_per_address_operation_and_reason() {
        let (usage, seen) = start(|| false);
        let sent = |use_: Use| usage.0.sender.send(Message::Used(Box::new(use_))).expect("runs");
        for n in 0..100 {
            let claimed = ("claimed", n.to_string().into());
            let text = format!("{n}{}", "x".repeat(1024));
            let mut used = refused([10, 0, 0, 1], "op", &text);
            used.details.push(claimed);
            used.target = Target::Own { kind: "api".into(), name: n.to_string().into() };
            sent(used);
        }
        sent(Use { refusal: Some("replayed".into()), ..refused([10, 0, 0, 1], "op", "b") });
        sent(refused([10, 0, 0, 1], "other", "c"));
        sent(refused([10, 0, 0, 2], "op", "d"));
        sent(query(1, "a"));
        sent(query(1, "b"));
        usage.close();
        let rows = rows_of(&seen);
        let sample = format!("0{}", "x".repeat(SAMPLE_CHARS - 1));
        let expected = [
            row(&sample, "100", "0"),
            row("b", "1", "0"),
            row("c", "1", "0"),
            row("d", "1", "0"),
            row("a", "1", "3"),
            row("b", "1", "3"),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn refusals_from_many_addresses_are_few_records_and_a_count() {
        let (usage, seen) = start(|| false);
        for n in 0..200 {
            let used = Box::new(refused([10, 0, 0, n], "op", "x"));
            usage.0.sender.send(Message::Used(used)).expect("the thread runs");
        }
        usage.record(query(1, "known"));
        usage.close();
        let rows = rows_of(&seen);
        assert_eq!(rows.len(), STRANGERS_MAX + 2, "{rows:?}");
        assert_eq!(rows[STRANGERS_MAX..], [row("known", "1", "3"), row("", "184", "")]);
    }

    #[test]
    fn a_use_is_recorded_within_a_second() {
        let (usage, seen) = start(|| false);
        let began = now();
        usage.record(query(1, "a"));
        while seen.lock().expect("no panic").is_empty() {
            assert!(began.elapsed() < Duration::from_secs(1), "not recorded in time");
            std::thread::sleep(Duration::from_millis(5));
        }
        usage.close();
    }

    #[test]
    fn a_failed_commit_is_tried_again_and_loses_nothing() {
        let mut failures = 2;
        let (usage, seen) = start(move || {
            failures -= 1;
            failures >= 0
        });
        usage.record(query(1, "a"));
        usage.0.overflow.fetch_add(5, Ordering::Relaxed);
        usage.flush();
        usage.record(query(1, "a"));
        usage.flush();
        assert!(rows_of(&seen).is_empty());
        usage.flush();
        assert_eq!(rows_of(&seen), [row("a", "2", "6"), row("", "5", "")]);
    }

    /// What does not fit is counted, and the count is a record.
    #[test]
    fn overflow_is_recorded_as_a_count() {
        let (usage, seen) = start(|| false);
        let more = 700;
        for n in 0..PENDING_MAX + more {
            // Blocks where `record` would count, so that it is the table that overflows.
            let used = Box::new(query(1, &n.to_string()));
            usage.0.sender.send(Message::Used(used)).expect("the thread runs");
        }
        usage.close();
        let counts: usize =
            rows_of(&seen).iter().map(|row| row.1.parse::<usize>().expect("a number")).sum();
        assert_eq!(counts, PENDING_MAX + more);
        let seen = seen.lock().expect("no panic");
        let is_overflow = |record: &&Record| matches!(record, Record::Own(a) if a.principal == Principal::Doorbook);
        // The flush interval may pass in between on a slow machine, and then there is room.
        assert!(seen.iter().filter(is_overflow).count() <= 1);
    }

    #[test]
    fn a_full_queue_never_makes_an_answer_wait() {
        let (release, held) = sync_channel::<()>(0);
        let (usage, seen) = start(move || {
            let _ = held.recv(); // an error means released
            false
        });
        usage.record(query(1, "held"));
        std::thread::sleep(FLUSH_INTERVAL + Duration::from_millis(100)); // now inside the commit
        let began = now();
        for n in 0..QUEUE_MAX + 10 {
            usage.record(query(1, &n.to_string()));
        }
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(usage.0.overflow.load(Ordering::Relaxed), 10);
        drop(release);
        usage.close();
        let counts: usize =
            rows_of(&seen).iter().map(|row| row.1.parse::<usize>().expect("a number")).sum();
        assert_eq!(counts, 1 + QUEUE_MAX + 10);
    }
}

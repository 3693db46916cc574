//! [`Shipper`]: brings the server what is spooled, and learns from it what to follow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use doorbook_event::shipment::{self, Answer, Orders, Receipt, Shipment};
use doorbook_event::{Clock, Random, Text};
use doorbook_source::following::Place;

use crate::shared::{Shared, State, Task};
use crate::spool::Outgoing;

/// The server, as an agent sees it.
pub trait Server: Send {
    /// Asks what to follow.
    fn orders(&mut self) -> Result<Orders, Failure>;
    /// Brings what was read.
    fn ship(&mut self, shipment: &Shipment) -> Result<Receipt, Failure>;
}

/// Why the server has not taken, or not said, something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It cannot be reached, or cannot do it now.
    Away(String),
    /// It does not take the key.
    Key(String),
    /// It says that the agent says something wrong.
    Refused(String),
}

/// What a shipper works with.
pub struct Tools {
    /// Where the present comes from.
    pub clock: Arc<dyn Clock>,
    /// A clock that nobody sets.
    pub steady: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// What waits are drawn by, so that many agents do not come back at one instant.
    pub random: Arc<dyn Random>,
}

/// Brings the server what is spooled.
pub struct Shipper<S> {
    server: S,
    tools: Tools,
    shared: Arc<Shared>,
    /// When what to follow was asked for, and when something was said, by the steady clock.
    asked: Option<Duration>,
    said: Option<Duration>,
    /// Failures in a row, and the last one.
    failures: u32,
    failure: Option<Failure>,
}

/// How often the server is asked what to follow, and is told at least how that is.
const INTERVAL: Duration = Duration::from_secs(10);

/// The first wait after a failure, and the longest one.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// With a key that the server does not take, nobody waits for the next try.
const PAUSE_KEY: Duration = Duration::from_secs(30);

/// What is shipped at once: half of what the server takes, so that an advance more fits.
const SIZE_BYTES: usize = shipment::SIZE_BYTES_MAX / 2;

impl<S: Server> Shipper<S> {
    /// Nothing is said before the first step.
    pub fn new(server: S, tools: Tools, shared: Arc<Shared>) -> Shipper<S> {
        let (asked, said, failures, failure) = (None, None, 0, None);
        Shipper { server, tools, shared, asked, said, failures, failure }
    }

    /// Says and asks what is due. How long there is nothing to do, unless something is read.
    pub fn step(&mut self) -> Pause {
        match self.talk() {
            Ok(pause) => {
                if self.failure.take().is_some() {
                    tracing::info!("the server takes what is read again");
                }
                self.failures = 0;
                pause
            }
            Err(failure) => {
                let pause = self.pause(&failure);
                if self.failure.as_ref() != Some(&failure) {
                    tell(&failure);
                }
                self.failure = Some(failure);
                Pause::Failed(pause)
            }
        }
    }

    /// Whether the last step failed.
    pub fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    fn talk(&mut self) -> Result<Pause, Failure> {
        let now = (self.tools.steady)();
        let is_due = |last: Option<Duration>| last.is_none_or(|last| last + INTERVAL <= now);
        if is_due(self.asked) {
            let orders = self.server.orders()?;
            self.asked = Some(now);
            self.follow(&orders);
        }
        let state = self.shared.state();
        let outgoing = state.spool.oldest(SIZE_BYTES);
        let outgoing = outgoing
            .map_err(|error| Failure::Refused(format!("the spool cannot be read: {error}")))?;
        let has_said = !outgoing.is_empty() || is_due(self.said);
        let reports = state.reports.values().cloned().collect();
        drop(state);
        if has_said {
            self.ship(&outgoing, reports)?;
            self.said = Some(now);
        }
        Ok(if outgoing.is_empty() { Pause::Idle(INTERVAL) } else { Pause::None })
    }

    /// Takes note of what is to be followed.
    fn follow(&mut self, orders: &Orders) {
        let mut state = self.shared.state();
        let State { spool, tasks, .. } = &mut *state;
        for order in &orders.sources {
            let task = Task::new(order);
            if spool.meet(&order.name, &task.at_server) {
                tracing::info!(source = &*order.name, "a source begins where the server has it");
            }
        }
        let new = orders.sources.iter().map(|order| (order.name.clone(), Task::new(order)));
        let new = new.collect();
        if !is_same(tasks, &new) {
            if let Err(error) = spool.remember_orders(&shipment::to_vec(orders)) {
                tracing::warn!(%error, "what to follow cannot be kept for the next start");
            }
            tracing::info!(
                sources = new.len(),
                agent = &*orders.agent,
                "what to follow has changed"
            );
        }
        *tasks = new;
    }

    fn ship(
        &mut self,
        outgoing: &[Outgoing],
        reports: Vec<shipment::Report>,
    ) -> Result<(), Failure> {
        let whole = || outgoing.iter().filter_map(|one| Some((one, one.bytes.as_ref()?)));
        let shipment = Shipment {
            version: shipment::VERSION,
            sent: self.tools.clock.now(),
            reports,
            advances: whole().map(|(_, bytes)| bytes.clone().into()).collect(),
            agent_version: env!("CARGO_PKG_VERSION").into(),
        };
        let receipt = self.server.ship(&shipment)?;
        if receipt.answers.len() != shipment.advances.len() {
            return Err(Failure::Refused("the server answers something else".to_owned()));
        }
        let mut state = self.shared.state();
        for ((one, _), answer) in whole().zip(receipt.answers) {
            if !state.take(one, answer) {
                // Something was changed there.
                self.asked = None;
            }
        }
        for damaged in outgoing.iter().filter(|one| one.bytes.is_none()) {
            state.give_up(damaged, "what was spooled is damaged");
        }
        Ok(())
    }

    /// Longer after each failure, up to the longest; drawn between half of that and all of it.
    fn pause(&mut self, failure: &Failure) -> Duration {
        let longest = match failure {
            Failure::Key(_) => PAUSE_KEY,
            _ => PAUSE_MIN.saturating_mul(1 << self.failures.min(10)).min(PAUSE_MAX),
        };
        self.failures = self.failures.saturating_add(1);
        let mut drawn = [0; 4];
        self.tools.random.fill(&mut drawn);
        let share = f64::from(u32::from_le_bytes(drawn)) / f64::from(u32::MAX);
        longest.mul_f64(0.5 + share / 2.0)
    }
}

/// How long there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// There is more.
    None,
    /// So long, unless something is read.
    Idle(Duration),
    /// So long in any case.
    Failed(Duration),
}

impl State {
    /// What became of an advance. Whether it is as it was thought to be.
    fn take(&mut self, one: &Outgoing, answer: Answer) -> bool {
        // What an answer before it dropped has had its answer, too.
        if !self.spool.has_entry(one.id) {
            return true;
        }
        match answer {
            Answer::Stored(_) | Answer::StoredBefore => self.spool.drop_entry(one.id),
            Answer::Elsewhere { position, through } => {
                let is_void = self.spool.pass(one.id, &Place { position, through });
                if is_void {
                    tracing::info!(
                        source = &*one.source,
                        "what was read of a source is void, since the server has it elsewhere"
                    );
                }
                return !is_void;
            }
            Answer::Refused(why) => {
                self.give_up(one, &why);
                if let Some(task) = self.tasks.get_mut(&one.source) {
                    task.refused = Some(format!("the server refuses it: {why}").into());
                }
            }
        }
        true
    }

    /// What waits of a source is void; it begins anew where the server had it last.
    fn give_up(&mut self, one: &Outgoing, why: &str) {
        let source = &*one.source;
        tracing::warn!(source, reason = why, "what was read of a source is given up");
        let place = self.tasks.get(&one.source).map(|task| task.at_server.clone());
        self.spool.void(&one.source, &place.unwrap_or_default());
    }
}

/// Whether the same is to be followed, wherever it is.
fn is_same(before: &BTreeMap<Text, Task>, now: &BTreeMap<Text, Task>) -> bool {
    let what =
        |(name, task): (&Text, &Task)| (name.clone(), task.source.clone(), task.aliases.clone());
    before.iter().map(what).eq(now.iter().map(what))
}

/// Once for each new failure: it is tried again for as long as it lasts.
fn tell(failure: &Failure) {
    match failure {
        Failure::Away(why) => tracing::warn!(
            reason = why,
            "the server cannot be reached; what is read is spooled meanwhile"
        ),
        Failure::Key(why) => tracing::error!(
            reason = why,
            advice = "make a key with `doorbook key create --agent` and put it into the key file",
            "the server does not take this agent's key; what is read is spooled meanwhile"
        ),
        Failure::Refused(why) => {
            tracing::error!(reason = why, "the server does not take what is read");
        }
    }
}

//! [`Alarms`]: that something is not seen reaches those who should know, and stays with them until it is
//! over.
//!
//! Every few seconds a [`Watchman`] computes which conditions hold, compares that with what the store says was
//! told, and writes the difference together with the messages that tell of it. Each destination takes its
//! messages from there. The rules, and what survives what, are in `docs/design/alarm.md`.
//!
//! Suggested reading order: [`condition`], [`mod@message`], here, [`deliver`], [`webhook`], [`syslog`],
//! [`settings`].

pub mod condition;
pub mod deliver;
pub mod message;
pub mod settings;
pub mod syslog;
pub mod webhook;

use std::sync::Arc;
use std::time::Duration;

use doorbook_event::record::ClockState;
use doorbook_event::registry::Registry;
use doorbook_event::{Clock, Random, Text, Timestamp};
use doorbook_store::alarm::{Alarm, Change};
use doorbook_store::{Error, Store};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use self::condition::{ClockWatch, Conditions, SilenceWatch, UnroutedWatch};
use self::deliver::{Destination, doorbook};
use self::message::{Occasion, message};
use crate::admin::with_causes;
use crate::app::App;
use crate::metrics::Metrics;
use crate::sources::Board;

pub use settings::{Settings, SettingsError, WebhookSettings};

/// Between two looks: twelve in the minute within which an alarm has to be told.
const INTERVAL: Duration = Duration::from_secs(5);

/// An open alarm that nobody acknowledged is told again after so long.
const REMINDER_SECONDS: i64 = 86_400;

/// Alarms that are open at once. A thousand that nobody looks at are not better heard than the first.
const OPEN_MAX: usize = 1000;

/// What alarms work with.
#[derive(Clone)]
pub struct Tools {
    /// Where conditions are found and alarms are kept.
    pub store: Store,
    /// Where the present comes from.
    pub clock: Arc<dyn Clock>,
    /// Where names of messages come from.
    pub random: Arc<dyn Random>,
    /// How far the clock can be trusted.
    pub clock_state: fn() -> ClockState,
    /// How sources are.
    pub board: Board,
    /// Where deliveries are counted.
    pub app: App,
    /// After a first failure to deliver; longer after each further one.
    pub pause: Duration,
}

impl Tools {
    /// What [`Tools::pause`] is unless somebody chooses otherwise.
    pub const PAUSE: Duration = Duration::from_secs(1);

    fn metrics(&self) -> &Metrics {
        self.app.metrics()
    }
}

/// The alarms of a running server.
pub struct Alarms {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Alarms {
    /// Begins to look, and to tell these.
    pub fn start(
        destinations: Vec<(Text, Destination)>,
        tools: &Tools,
        runtime: &Handle,
    ) -> Alarms {
        let (stop, stopping) = watch::channel(false);
        let news = Arc::new(Notify::new());
        let names = destinations.iter().map(|(name, _)| name.clone()).collect();
        let watchman = Watchman::new(tools.clone(), names);
        let look = look_again_and_again(watchman, Arc::clone(&news), stopping.clone());
        let mut tasks = vec![runtime.spawn(look)];
        for (name, destination) in destinations {
            let (tools, news) = (tools.clone(), Arc::clone(&news));
            let run = deliver::run(name, destination, tools, news, stopping.clone());
            tasks.push(runtime.spawn(run));
        }
        Alarms { stop, tasks }
    }

    /// Ends looking and telling; what was not told waits in the store.
    pub async fn stop(self) {
        // Nobody listens if all have ended.
        let _ = self.stop.send(true);
        for task in self.tasks {
            // One that panicked has ended, too.
            let _ = task.await;
        }
    }
}

async fn look_again_and_again(
    mut watchman: Watchman,
    news: Arc<Notify>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut is_failing = false;
    loop {
        let looking = tokio::task::spawn_blocking(move || {
            let looked = watchman.look();
            (watchman, looked)
        });
        let Ok((back, looked)) = looking.await else { return };
        watchman = back;
        match &looked {
            Ok(true) => news.notify_waiters(),
            Ok(false) => {}
            Err(error) if !is_failing => {
                tracing::error!(error = with_causes(error), "alarms cannot be recorded now");
            }
            Err(_) => {}
        }
        is_failing = looked.is_err();
        tokio::select! {
            _ = stopping.changed() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// Who looks which conditions hold, and takes note of it.
pub struct Watchman {
    tools: Tools,
    destinations: Vec<Text>,
    clock: ClockWatch,
    silence: SilenceWatch,
    unrouted: UnroutedWatch,
    has_settled: bool,
}

impl Watchman {
    /// Messages wait for these destinations.
    pub fn new(tools: Tools, destinations: Vec<Text>) -> Watchman {
        let (clock, silence) = (ClockWatch::default(), SilenceWatch::default());
        let unrouted = UnroutedWatch::default();
        Watchman { tools, destinations, clock, silence, unrouted, has_settled: false }
    }

    /// Looks once. Whether there is something to tell.
    pub fn look(&mut self) -> Result<bool, Error> {
        let now = self.tools.clock.now();
        let conditions = self.conditions(now);
        let mut changes = if self.has_settled { Vec::new() } else { self.unwanted() };
        let told = self.changes(&conditions, now);
        let has_news = told.iter().any(|change| matches!(change, Change::Queued(_)));
        changes.extend(told);
        if !changes.is_empty() {
            let dropped = self.tools.store.alarms().dropped;
            self.tools.store.change_alarms(&doorbook(), changes)?;
            let dropped = self.tools.store.alarms().dropped - dropped;
            if dropped > 0 {
                self.tools.metrics().dropped_messages(dropped);
                tracing::error!(
                    dropped,
                    "too many messages of alarms wait: the oldest were dropped"
                );
            }
        }
        self.has_settled = true;
        Ok(has_news)
    }

    fn conditions(&mut self, now: Timestamp) -> Conditions {
        let Tools { store, board, clock_state, .. } = &self.tools;
        let alarms = store.alarms();
        let mut conditions = condition::gaps(store, &alarms, now);
        conditions.extend(self.silence.look(store, &board.statuses(), &alarms, now));
        conditions.extend(self.clock.look(clock_state(), &alarms, now));
        conditions.extend(self.unrouted.look(store, now).clone());
        conditions.extend(condition::reviews(store, now));
        conditions
    }

    /// From what was told to what holds.
    fn changes(&self, conditions: &Conditions, now: Timestamp) -> Vec<Change> {
        let alarms = self.tools.store.alarms();
        let catalog = self.tools.store.catalog();
        let mut steps = Steps {
            watchman: self,
            registry: &catalog.registry,
            now,
            dropped: alarms.dropped,
            changes: Vec::new(),
        };
        let mut n_open = alarms.open().count();
        for alarm in alarms.open() {
            let holds = conditions.get(&alarm.id).filter(|condition| condition.to.is_none());
            match holds {
                Some(condition) => steps.go_on(alarm, condition),
                None => {
                    let last = conditions.get(&alarm.id).unwrap_or(&alarm.condition);
                    steps.close(Alarm { condition: last.clone(), ..alarm.clone() });
                    n_open -= 1;
                }
            }
        }
        for (id, condition) in conditions {
            let known = alarms.alarms.get(id);
            // What was over before it was seen is told once.
            let is_told = known.is_some_and(|of| of.closed.is_none() || condition.to.is_some());
            if is_told || n_open >= OPEN_MAX {
                continue;
            }
            let (id, condition) = (id.clone(), condition.clone());
            let (closed, acknowledged) = (None, None);
            // Told to nobody, it is told as soon as there is somebody.
            let told = if self.destinations.is_empty() { Timestamp::MIN } else { now };
            let alarm = Alarm { id, condition, opened: now, told, closed, acknowledged };
            let is_over = alarm.condition.to.is_some();
            steps.open(alarm.clone());
            match is_over {
                true => steps.close(alarm),
                false => n_open += 1,
            }
        }
        steps.changes
    }

    /// What waits for a destination that is not there any more is not sent when it comes back.
    fn unwanted(&self) -> Vec<Change> {
        let alarms = self.tools.store.alarms();
        let waiting = alarms.outbox.iter().flat_map(|message| {
            message.waiting.iter().map(|destination| (message.id.clone(), destination.clone()))
        });
        let unwanted = waiting.filter(|(_, name)| !self.destinations.contains(name));
        unwanted.map(|(message, destination)| Change::Settled { message, destination }).collect()
    }
}

/// The steps of one look.
struct Steps<'a> {
    watchman: &'a Watchman,
    registry: &'a Registry,
    now: Timestamp,
    dropped: u64,
    changes: Vec<Change>,
}

impl Steps<'_> {
    fn open(&mut self, alarm: Alarm) {
        self.tell(Occasion::Opened, &alarm);
        self.changes.push(Change::Opened(Box::new(alarm)));
    }

    fn go_on(&mut self, alarm: &Alarm, condition: &doorbook_store::alarm::Condition) {
        let is_due = !self.watchman.destinations.is_empty()
            && alarm.acknowledged.is_none()
            && alarm.told.plus_seconds(REMINDER_SECONDS) <= self.now;
        let told = if is_due { self.now } else { alarm.told };
        if *condition == alarm.condition && !is_due {
            return;
        }
        let alarm = Alarm { condition: condition.clone(), told, ..alarm.clone() };
        if is_due {
            self.tell(Occasion::Continues, &alarm);
        }
        let condition = Box::new(alarm.condition);
        self.changes.push(Change::Continues { id: alarm.id, condition, told });
    }

    fn close(&mut self, alarm: Alarm) {
        let alarm = Alarm { closed: Some(self.now), ..alarm };
        self.tell(Occasion::Closed, &alarm);
        let condition = Box::new(alarm.condition);
        self.changes.push(Change::Closed { id: alarm.id, condition, at: self.now });
    }

    fn tell(&mut self, occasion: Occasion, alarm: &Alarm) {
        let Watchman { destinations, tools, .. } = self.watchman;
        if destinations.is_empty() {
            return;
        }
        let with = (self.now, &*tools.random);
        let message = message(occasion, alarm, self.registry, self.dropped, destinations, with);
        self.changes.push(Change::Queued(Box::new(message)));
    }
}

#[cfg(test)]
mod tests;

//! [`Shared`]: what the reader and the shipper have in common.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorbook_event::shipment::{Order, Report};
use doorbook_event::{Text, source::Source};
use doorbook_source::following::Place;

use crate::spool::Spool;

/// What the reader and the shipper have in common.
pub struct Shared {
    state: Mutex<State>,
    news: Condvar,
    ended: Condvar,
    stop: AtomicBool,
}

/// What both change.
pub struct State {
    /// What was read.
    pub spool: Spool,
    /// What is to be followed, by name.
    pub tasks: BTreeMap<Text, Task>,
    /// How that is, by name.
    pub reports: BTreeMap<Text, Report>,
}

/// A source that is to be followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The source; `None` if it is of a kind that this version does not know.
    pub source: Option<Source>,
    /// Other names of its host.
    pub aliases: Vec<Text>,
    /// Where the server had it when it said so last.
    pub at_server: Place,
    /// Why the server does not take what it brings, if it does not.
    pub refused: Option<Text>,
}

impl Task {
    /// From an order.
    pub fn new(order: &Order) -> Task {
        let (position, through) = (order.position.clone(), order.through);
        let at_server = Place { position, through };
        Task { source: order.source(), aliases: order.aliases.clone(), at_server, refused: None }
    }
}

impl Shared {
    /// With an opened spool and nothing to follow.
    pub fn new(spool: Spool) -> Shared {
        let state = State { spool, tasks: BTreeMap::new(), reports: BTreeMap::new() };
        Shared {
            state: Mutex::new(state),
            news: Condvar::new(),
            ended: Condvar::new(),
            stop: AtomicBool::new(false),
        }
    }

    /// Both in turn.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole by itself, and the disk has what matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something to ship.
    pub fn tell(&self) {
        self.news.notify_all();
    }

    /// Waits for something to ship, or for the end, but not longer than this.
    pub fn wait_for_news(&self, at_most: Duration) {
        let state = self.state();
        if !self.is_stopping() && state.spool.is_empty() {
            drop(self.news.wait_timeout(state, at_most));
        }
    }

    /// Waits so long, or for the end.
    pub fn wait(&self, pause: Duration) {
        let state = self.state();
        let is_going_on = |_: &mut State| !self.is_stopping();
        drop(self.ended.wait_timeout_while(state, pause, is_going_on));
    }

    /// Everything is to end.
    pub fn stop(&self) {
        let state = self.state();
        self.stop.store(true, Ordering::SeqCst);
        self.news.notify_all();
        self.ended.notify_all();
        drop(state);
    }

    /// Whether everything is to end.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

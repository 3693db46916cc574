//! [`Beats`]: the thread that tells that received sources are alive while nothing comes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use doorbook_event::record::ClockState;

use super::Router;
use crate::rounds::{Rounds, pause};

/// Between two looks; a heartbeat is recorded once a minute.
const PAUSE: Duration = Duration::from_secs(5);

/// The heartbeats of received sources, until it is dropped.
pub struct Beats {
    _rounds: Rounds,
}

impl Beats {
    /// Begins to tell.
    pub fn start(router: Router, clock_state: fn() -> ClockState) -> std::io::Result<Beats> {
        let mut rounds = Rounds::new("telling that received sources are alive");
        rounds.begin("routing", move |stop| {
            while !stop.load(Ordering::SeqCst) {
                // A store that cannot be written is told of by `vitals`.
                drop(router.beat(clock_state()));
                pause(PAUSE);
            }
        })?;
        Ok(Beats { _rounds: rounds })
    }
}

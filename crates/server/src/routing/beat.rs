//! [`Beats`]: the thread that tells that received sources are alive while nothing comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use doorbook_event::record::ClockState;

use super::Router;

/// Between two looks; a heartbeat is recorded once a minute.
const PAUSE: Duration = Duration::from_secs(5);

/// The heartbeats of received sources.
pub struct Beats {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Beats {
    /// Begins to tell.
    pub fn start(router: Router, clock_state: fn() -> ClockState) -> std::io::Result<Beats> {
        let stop = Arc::new(AtomicBool::new(false));
        let raised = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("routing".to_owned()).spawn(move || {
            while !raised.load(Ordering::SeqCst) {
                // A store that cannot be written is told of by `vitals`.
                drop(router.beat(clock_state()));
                std::thread::park_timeout(PAUSE);
            }
        })?;
        Ok(Beats { stop, thread: Some(thread) })
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("telling that received sources are alive ended in a bug");
            }
        }
    }
}

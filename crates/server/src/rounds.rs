//! [`Rounds`]: threads that do the same again and again until they are stopped.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Some of them, for one purpose. Dropping this stops them and waits for what they do last.
pub(crate) struct Rounds {
    purpose: &'static str,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Rounds {
    /// None yet. The purpose is what is said to have ended in a bug, if one of them panics.
    pub(crate) fn new(purpose: &'static str) -> Rounds {
        Rounds { purpose, stop: Arc::default(), threads: Vec::new() }
    }

    /// One more. It returns soon after it is told to stop, and calls [`pause`] between two rounds.
    pub(crate) fn begin(
        &mut self,
        name: &str,
        run: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> io::Result<()> {
        let stop = Arc::clone(&self.stop);
        let thread = std::thread::Builder::new().name(name.to_owned());
        self.threads.push(thread.spawn(move || run(&stop))?);
        Ok(())
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // What it was about to say it says nowhere else.
            if thread.join().is_err() {
                tracing::error!("{} ended in a bug", self.purpose);
            }
        }
    }
}

/// Waits for the next round, or until it is time to stop.
pub(crate) fn pause(time: Duration) {
    std::thread::park_timeout(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: all are stopped, and what they do last is done when nobody holds them any more. Method: one that
    /// would pause for an hour, one that panicked, and one behind it.
    #[test]
    fn whoever_lets_go_of_them_has_waited_for_all() {
        let ended = Arc::new(AtomicBool::new(false));
        let mut rounds = Rounds::new("testing");
        let hour = Duration::from_secs(3600);
        let wait = move |stop: &AtomicBool| {
            while !stop.load(Ordering::SeqCst) {
                pause(hour);
            }
        };
        rounds.begin("pausing", wait).expect("started");
        rounds.begin("panicking", |_| panic!("on purpose")).expect("started");
        let raised = Arc::clone(&ended);
        let last = move |stop: &AtomicBool| {
            wait(stop);
            raised.store(true, Ordering::SeqCst);
        };
        rounds.begin("last", last).expect("started");
        drop(rounds);
        assert!(ended.load(Ordering::SeqCst));
    }
}

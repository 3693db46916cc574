//! [`Lane`]: small requests on their way to the disk, together.
//!
//! A request of a few events costs more in switches between threads than in work, if each has a
//! thread that waits for the disk. So they line up: a thread takes all that wait, stores them with
//! one wait, answers them, and takes what has come meanwhile. It ends when nobody waits; who comes
//! then starts one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::body::Taken;
use super::ingest::{self, Answer, Arrival};
use super::problem::Problem;
use crate::app::App;

/// A larger body has a thread of its own.
pub const BODY_SIZE_BYTES_MAX: usize = 16 * 1024;

/// While one waits for the disk, others read what comes meanwhile; the store puts what they bring into
/// one frame. With two, whoever comes just after the second has left waits for two syncs; with eight,
/// as many more switches gain nothing (`docs/design/ingest.md`).
const THREADS_MAX: usize = 4;

/// Requests that are stored together.
const BATCH_MAX: usize = 256;

/// The requests that wait, and who works on them.
#[derive(Default)]
pub struct Lane(Mutex<Line>);

#[derive(Default)]
struct Line {
    waiting: Vec<Waiting>,
    threads: usize,
}

/// A request that waits.
pub struct Waiting {
    /// What is known without its body.
    pub arrival: Arrival,
    /// Its body, not compressed.
    pub body: Taken,
    /// Who waits.
    pub answer: oneshot::Sender<Result<Answer, Problem>>,
}

/// Stores the lines of a small body. Returns when they are durable.
pub async fn serve(app: &App, arrival: Arrival, body: Taken) -> Result<Answer, Problem> {
    let (answer, answered) = oneshot::channel();
    if app.doors().lane.join(Waiting { arrival, body, answer }) {
        let app = app.clone();
        tokio::task::spawn_blocking(move || work(&app));
    }
    // Nobody answers if the work panicked, and the panic has been printed.
    answered.await.unwrap_or_else(|_| Err(Problem::unexpected()))
}

fn work(app: &App) {
    let lane = &app.doors().lane;
    let thread = Thread { lane, is_over: false };
    while let Some(batch) = lane.take() {
        ingest::serve_all(app, batch);
    }
    thread.end();
}

impl Lane {
    /// `true` if the caller must start a thread.
    fn join(&self, waiting: Waiting) -> bool {
        let mut line = self.line();
        line.waiting.push(waiting);
        let needs_thread = line.threads < THREADS_MAX;
        line.threads += usize::from(needs_thread);
        needs_thread
    }

    /// Those who wait; `None` if nobody does and the thread is no longer counted.
    fn take(&self) -> Option<Vec<Waiting>> {
        let mut line = self.line();
        let count = line.waiting.len().min(BATCH_MAX);
        if count == 0 {
            line.threads -= 1;
            return None;
        }
        Some(line.waiting.drain(..count).collect())
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // It is changed in one step each time, so that a panic elsewhere cannot have left it half so.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread at work. If it panics it is no longer counted, and nobody waits for it.
struct Thread<'a> {
    lane: &'a Lane,
    is_over: bool,
}

impl Thread<'_> {
    /// It ends as it should.
    fn end(mut self) {
        self.is_over = true;
    }
}

impl Drop for Thread<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut line = self.lane.line();
        line.threads -= 1;
        if line.threads == 0 {
            line.waiting.clear();
        }
    }
}

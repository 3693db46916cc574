//! [`Lane`]: the thread that stores what connections bring, all that waits at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use doorbook_source::Arrival;
use tokio::sync::{mpsc, oneshot};

use super::Tools;
use crate::admin::with_causes;
use crate::routing::Door;

/// Of what waits, about so much is stored at once.
const STORED_AT_ONCE_BYTES: usize = 4 << 20;

/// The thread.
pub struct Lane {
    entrance: Entrance,
    is_stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Where connections bring what they have. Cheap to clone.
#[derive(Clone)]
pub struct Entrance(mpsc::UnboundedSender<Job>);

/// What a connection brings; the next comes when this one is stored, so that few wait.
struct Job {
    door: Arc<Door>,
    arrivals: Vec<Arrival>,
    stored: oneshot::Sender<()>,
}

/// It was not stored: the server stops, and the store refuses.
#[derive(Debug)]
pub struct NotStored;

impl Entrance {
    /// Stores lines. Returns when they are durable.
    pub async fn store(&self, door: Arc<Door>, arrivals: Vec<Arrival>) -> Result<(), NotStored> {
        let (stored, answer) = oneshot::channel();
        self.0.send(Job { door, arrivals, stored }).map_err(|_| NotStored)?;
        answer.await.map_err(|_| NotStored)
    }
}

impl Lane {
    pub fn start(tools: &Tools) -> std::io::Result<Lane> {
        let (entrance, jobs) = mpsc::unbounded_channel();
        let is_stopping = Arc::new(AtomicBool::new(false));
        let work = Work {
            tools: tools.clone(),
            jobs,
            is_stopping: Arc::clone(&is_stopping),
            fails: false,
        };
        let thread = std::thread::Builder::new().name("receivers".to_owned());
        let thread = thread.spawn(move || work.run())?;
        Ok(Lane { entrance: Entrance(entrance), is_stopping, thread })
    }

    pub fn entrance(&self) -> Entrance {
        self.entrance.clone()
    }

    /// From now on what the store refuses is not tried again.
    pub fn stopping(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
    }

    /// Ends when every other entrance is gone and what waits is stored.
    pub fn stop(self) {
        drop(self.entrance);
        if self.thread.join().is_err() {
            tracing::error!("storing what was received ended in a bug");
        }
    }
}

struct Work {
    tools: Tools,
    jobs: mpsc::UnboundedReceiver<Job>,
    is_stopping: Arc<AtomicBool>,
    /// Whether the last try failed.
    fails: bool,
}

impl Work {
    fn run(mut self) {
        while let Some(first) = self.jobs.blocking_recv() {
            let mut by_door: BTreeMap<Arc<Door>, Vec<Job>> = BTreeMap::new();
            let mut size_bytes = 0;
            let mut next = Some(first);
            while let Some(job) = next {
                size_bytes += job.arrivals.iter().map(|it| 2 * it.received.len()).sum::<usize>();
                by_door.entry(Arc::clone(&job.door)).or_default().push(job);
                next = match size_bytes < STORED_AT_ONCE_BYTES {
                    true => self.jobs.try_recv().ok(),
                    false => None,
                };
            }
            for (door, jobs) in by_door {
                self.store(&door, jobs);
            }
        }
    }

    fn store(&mut self, door: &Door, jobs: Vec<Job>) {
        let mut arrivals = Vec::new();
        let mut answers = Vec::new();
        for job in jobs {
            arrivals.extend(job.arrivals);
            answers.push(job.stored);
        }
        while let Err(error) = (self.tools.sink)(door, &arrivals) {
            let message = with_causes(&error);
            if !self.fails {
                tracing::error!(
                    receiver = &*door.name,
                    error = message,
                    "what is received cannot be stored now"
                );
            }
            self.fails = true;
            self.tools.board.change(&door.name, |status| status.problem = Some(message));
            if self.is_stopping.load(Ordering::SeqCst) {
                let messages = arrivals.len();
                tracing::error!(receiver = &*door.name, messages, "messages were not stored");
                return;
            }
            std::thread::park_timeout(self.tools.limits.pause);
        }
        if std::mem::take(&mut self.fails) {
            tracing::info!("what is received is stored again");
        }
        let now = self.tools.clock.now();
        let cut = arrivals.iter().filter(|arrival| arrival.cut.is_some()).count();
        self.tools.board.change(&door.name, |status| {
            status.messages += arrivals.len() as u64;
            status.cut += cut as u64;
            status.last = Some(now);
            status.problem = None;
        });
        for answer in answers {
            // A connection that was dropped meanwhile waits for nothing.
            let _ = answer.send(());
        }
    }
}

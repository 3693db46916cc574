//! [`Receivers`]: who listens for syslog, over TCP and TLS.
//!
//! A sender connects, sends messages one after the other, and hears nothing back: syslog has no
//! acknowledgement. So what is read of a connection is stored before more is read of it, and while it
//! cannot be stored nothing is read: TCP then holds the sender back, whose queue is where messages wait.
//!
//! ```text
//! connection ──Framer──> messages ──> Arrivals with labels ─┐
//! connection ───────────────────────────────────────────────┴─> lane (one thread) ──> Router::take
//! ```
//!
//! What many connections bring meanwhile, the lane stores together, so that the disk is waited for once.
//! Connections are bounded in number, in all and by address, and so is the memory of what they have
//! brought and is not stored. See `docs/design/syslog.md`.
//!
//! Suggested reading order: here, [`tls`], `listen`, `connection`, `lane`.

mod connection;
mod lane;
mod listen;
mod network;
pub mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorbook_event::{Clock, ProjectId, Text, Timestamp};
use doorbook_source::Arrival;
use doorbook_store::Error;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::lane::Lane;
use self::listen::Listening;
use crate::http::{TlsError, TlsFiles};
use crate::routing::{Door, Form};

pub use network::Network;

/// What an operator sets of one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name.
    pub name: Text,
    /// Whose hosts its lines can be of.
    pub project: ProjectId,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its certificate and key; `None` for no TLS.
    pub tls: Option<TlsFiles>,
    /// The authority of its senders' certificates, in PEM; `None` lets in who has none.
    pub client_ca_file: Option<PathBuf>,
    /// The networks that senders may be in; none: every one.
    pub allow: Vec<Network>,
}

/// What holds for every receiver.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of a receiver at once.
    pub connections_max: usize,
    /// Those of one address.
    pub connections_per_address_max: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a sender may be silent. A quiet log is silent for hours.
    pub idle_timeout: Duration,
    /// How long a connection is still listened to once the server stops and nothing more comes.
    pub linger: Duration,
    /// Connections that have something that is not stored, at once; each of them holds at most about
    /// a MiB.
    pub batches_max: usize,
    /// After the store refused, before the next try.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 1024,
            connections_per_address_max: 128,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(7 * 24 * 3600),
            linger: Duration::from_millis(200),
            batches_max: 64,
            pause: Duration::from_secs(1),
        }
    }
}

/// Stores lines; when it returns they are durable.
pub type Sink = Arc<dyn Fn(&Door, &[Arrival]) -> Result<(), Error> + Send + Sync>;

/// What receivers need.
#[derive(Clone)]
pub struct Tools {
    /// Where lines go.
    pub sink: Sink,
    /// Where the present comes from.
    pub clock: Arc<dyn Clock>,
    /// Where it stands how they are.
    pub board: Board,
    /// What bounds them.
    pub limits: Limits,
}

/// How one receiver is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Where it listens.
    pub listen: Option<SocketAddr>,
    /// Whether by TLS.
    pub is_tls: bool,
    /// Senders that are connected.
    pub connections: u64,
    /// Senders that were let in since the start.
    pub accepted: u64,
    /// Connections that were not let in, or were ended, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Messages that were stored.
    pub messages: u64,
    /// Those of them that were not whole.
    pub cut: u64,
    /// Bytes that were received.
    pub received_bytes: u64,
    /// When messages were stored last.
    pub last: Option<Timestamp>,
    /// Why nothing can be stored now.
    pub problem: Option<String>,
}

/// Why a connection was not let in, or ended by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// There are too many, in all or from its address.
    Full,
    /// Its address is in none of the networks that may send.
    Address,
    /// The handshake failed, or took too long: no TLS, or no certificate that we trust.
    Tls,
    /// What it sent cannot be told apart into messages.
    Framing,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Refusal; 4] = [Refusal::Full, Refusal::Address, Refusal::Tls, Refusal::Framing];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Refusal::Full => "full",
            Refusal::Address => "address",
            Refusal::Tls => "tls",
            Refusal::Framing => "framing",
        }
    }
}

/// How each receiver is, by its name. Cheap to clone.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<Text, Status>>>);

impl Board {
    /// As it is now.
    pub fn statuses(&self) -> BTreeMap<Text, Status> {
        self.lock().clone()
    }

    /// Those that were are no more.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn change(&self, receiver: &Text, change: impl FnOnce(&mut Status)) {
        change(self.lock().entry(receiver.clone()).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Text, Status>> {
        // Numbers alone: a panic elsewhere leaves none of them half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a receiver cannot be.
#[derive(Debug)]
pub enum StartError {
    /// A file of TLS cannot be used.
    Tls(TlsError),
    /// It cannot listen there.
    Listen(SocketAddr, std::io::Error),
    /// The thread that stores cannot be started.
    Thread(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Tls(error) => write!(f, "{error}"),
            StartError::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            StartError::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl Settings {
    /// Opens the files that it names, as a server would.
    pub fn check_files(&self) -> Result<(), TlsError> {
        tls::config(self.tls.as_ref(), self.client_ca_file.as_deref()).map(drop)
    }
}

/// The receivers of a running server.
pub struct Receivers {
    stop: watch::Sender<bool>,
    listeners: Vec<JoinHandle<()>>,
    lane: Lane,
}

impl Receivers {
    /// Begins to listen, all or none.
    pub fn start(
        all: Vec<Settings>,
        tools: &Tools,
        runtime: &Handle,
    ) -> Result<Receivers, StartError> {
        let (stop, stopping) = watch::channel(false);
        let lane = Lane::start(tools).map_err(StartError::Thread)?;
        let batches = Arc::new(tokio::sync::Semaphore::new(tools.limits.batches_max.max(1)));
        let open = |settings: Settings| {
            let door =
                Door { name: settings.name.clone(), form: Form::Syslog, project: settings.project };
            let shared = connection::Shared {
                door: Arc::new(door),
                lane: lane.entrance(),
                batches: Arc::clone(&batches),
                tools: tools.clone(),
                stopping: stopping.clone(),
            };
            let _in_runtime = runtime.enter();
            Listening::open(&settings, shared)
        };
        let open: Vec<Listening> = all.into_iter().map(open).collect::<Result<_, _>>()?;
        let listeners = open.into_iter().map(|one| runtime.spawn(one.run())).collect();
        Ok(Receivers { stop, listeners, lane })
    }

    /// Lets nobody in any more, stores what has been sent, and ends.
    pub async fn stop(self) {
        // Nobody listens if all have ended.
        let _ = self.stop.send(true);
        self.lane.stopping();
        for listener in self.listeners {
            // One that panicked has ended, too.
            let _ = listener.await;
        }
        let lane = self.lane;
        if tokio::task::spawn_blocking(move || lane.stop()).await.is_err() {
            tracing::error!("storing what was received ended in a bug");
        }
    }
}

#[cfg(test)]
mod tests;

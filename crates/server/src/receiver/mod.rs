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
//! What many connections of a receiver bring meanwhile, its lane stores together, so that the disk is waited for once.
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
use std::mem;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use doorbook_event::{Clock, ProjectId, Text, Timestamp};
use doorbook_source::Arrival;
use doorbook_store::Error;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

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
    /// How long a connection on which more and more comes is still read once the server stops.
    pub stop_timeout: Duration,
    /// Connections of a receiver that have something that is not stored, at once; each of them holds at
    /// most about a MiB.
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
            stop_timeout: Duration::from_secs(5),
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

    fn remove(&self, receiver: &Text) {
        self.lock().remove(receiver);
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

/// A receiver that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What is set of it.
    pub settings: Settings,
    /// What is in the files that it names: with another certificate it is another one.
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Wanted {
    /// Reads its files; that one cannot be read is said where it is used.
    pub fn new(settings: Settings) -> Wanted {
        let tls = settings.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key]);
        let files = tls.chain(&settings.client_ca_file);
        let files = files.filter_map(|file| Some((file.clone(), std::fs::read(file).ok()?)));
        let files = files.collect();
        Wanted { settings, files }
    }
}

/// The receivers of a running server, at first none.
#[derive(Default)]
pub struct Receivers(Vec<Receiver>);

impl Receivers {
    /// Makes them those that are wanted. Who is as it was goes on with its connections; who listens where
    /// another one did takes its socket over, so that nobody is refused meanwhile. If one of them cannot
    /// be, all are as they were. In a runtime.
    pub async fn follow(&mut self, wanted: &[Wanted], tools: &Tools) -> Result<(), StartError> {
        let ends = |receiver: &Receiver| !wanted.contains(&receiver.wanted);
        let mut sockets: Vec<_> =
            self.0.iter().filter(|one| ends(one)).map(Receiver::socket).collect();
        let is_new = |one: &&Wanted| !self.0.iter().any(|receiver| receiver.wanted == **one);
        let opened = wanted.iter().filter(is_new).map(|one| {
            let listen = one.settings.listen;
            let taken = sockets.iter().position(|(address, _)| *address == listen);
            let socket = taken.and_then(|at| sockets.swap_remove(at).1.upgrade());
            Opened::new(one.clone(), socket, tools)
        });
        let opened: Vec<Opened> = opened.collect::<Result<_, _>>()?;
        let (ended, going_on) = mem::take(&mut self.0).into_iter().partition(ends);
        self.0 = going_on;
        // One name is of one receiver at a time.
        Receivers(ended).stop().await;
        self.0.extend(opened.into_iter().map(Opened::begin));
        Ok(())
    }

    /// Whether one could listen there if it were followed now. Where one of these listens it could: sockets are handed on.
    pub fn check(&self, listen: SocketAddr) -> Result<(), StartError> {
        if self.0.iter().any(|receiver| receiver.wanted.settings.listen == listen) {
            return Ok(());
        }
        let bound = std::net::TcpListener::bind(listen);
        bound.map(drop).map_err(|error| StartError::Listen(listen, error))
    }

    /// Lets nobody in any more, stores what has been sent, and ends.
    pub async fn stop(self) {
        let stopping: JoinSet<()> = self.0.into_iter().map(Receiver::stop).collect();
        stopping.join_all().await;
    }
}

/// How far a receiver is on its way to its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It lets senders in and reads what they send.
    Open,
    /// What has been sent is read.
    Stopping,
    /// So much comes that this does not end: the message that has begun is read.
    TimeIsUp,
    /// Nor does that message end.
    Over,
}

/// One that has its socket, its certificate and its thread, and lets nobody in yet.
struct Opened {
    wanted: Wanted,
    listening: Listening,
    stop: watch::Sender<Stage>,
    lane: Lane,
    tools: Tools,
}

impl Opened {
    fn new(
        wanted: Wanted,
        socket: Option<Arc<TcpListener>>,
        tools: &Tools,
    ) -> Result<Opened, StartError> {
        let settings = &wanted.settings;
        let (stop, stopping) = watch::channel(Stage::Open);
        // Each has its own, so that one that stops gives up what cannot be stored, and others do not.
        let lane = Lane::start(tools).map_err(StartError::Thread)?;
        let door =
            Door { name: settings.name.clone(), form: Form::Syslog, project: settings.project };
        let shared = connection::Shared {
            door: Arc::new(door),
            lane: lane.entrance(),
            batches: Arc::new(Semaphore::new(tools.limits.batches_max.max(1))),
            tools: tools.clone(),
            stopping,
        };
        let listening = Listening::open(settings, socket, shared)?;
        Ok(Opened { wanted, listening, stop, lane, tools: tools.clone() })
    }

    fn begin(self) -> Receiver {
        let Opened { wanted, listening, stop, lane, tools } = self;
        listening.announce();
        let socket = listening.socket();
        Receiver { wanted, socket, stop, listening: tokio::spawn(listening.run()), lane, tools }
    }
}

/// One that listens.
struct Receiver {
    wanted: Wanted,
    /// As long as it listens.
    socket: Weak<TcpListener>,
    stop: watch::Sender<Stage>,
    listening: JoinHandle<()>,
    lane: Lane,
    tools: Tools,
}

impl Receiver {
    fn socket(&self) -> (SocketAddr, Weak<TcpListener>) {
        (self.wanted.settings.listen, self.socket.clone())
    }

    async fn stop(mut self) {
        let limits = &self.tools.limits;
        self.lane.stopping();
        let stages = [
            (Stage::Stopping, limits.stop_timeout),
            (Stage::TimeIsUp, limits.linger),
            (Stage::Over, Duration::MAX),
        ];
        for (stage, time) in stages {
            self.stop.send_replace(stage);
            // One that panicked has ended, too.
            if tokio::time::timeout(time, &mut self.listening).await.is_ok() {
                break;
            }
        }
        let lane = self.lane;
        if tokio::task::spawn_blocking(move || lane.stop()).await.is_err() {
            tracing::error!("storing what was received ended in a bug");
        }
        self.tools.board.remove(&self.wanted.settings.name);
    }
}

#[cfg(test)]
mod tests;

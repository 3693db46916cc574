//! [`Listening`]: one receiver's door: who is let in, and how many.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::connection::{Shared, converse};
use super::{Network, Refusal, Settings, Stage, StartError, tls};

/// After a failed `accept` (out of file descriptors, mostly), before the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A receiver that listens.
pub struct Listening {
    listener: Arc<TcpListener>,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    allow: Vec<Network>,
    guests: Guests,
    shared: Arc<Shared>,
}

/// How many connections there are, by address.
#[derive(Clone, Default)]
struct Guests(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

impl Listening {
    /// Reads its files and takes its address, or the socket that has it. In a runtime.
    pub fn open(
        settings: &Settings,
        socket: Option<Arc<TcpListener>>,
        shared: Shared,
    ) -> Result<Listening, StartError> {
        let config = tls::config(settings.tls.as_ref(), settings.client_ca_file.as_deref());
        let config = config.map_err(StartError::Tls)?;
        let refused = |error| StartError::Listen(settings.listen, error);
        let listener = match socket {
            Some(socket) => socket,
            None => Arc::new(bind(settings.listen).map_err(refused)?),
        };
        Ok(Listening {
            address: listener.local_addr().map_err(refused)?,
            listener,
            acceptor: config.map(TlsAcceptor::from),
            allow: settings.allow.clone(),
            guests: Guests::default(),
            shared: Arc::new(shared),
        })
    }

    /// Its socket, as long as it listens.
    pub fn socket(&self) -> Weak<TcpListener> {
        Arc::downgrade(&self.listener)
    }

    /// Tells that it is about to run.
    pub fn announce(&self) {
        let (address, is_tls) = (self.address, self.acceptor.is_some());
        self.shared.note(|status| {
            status.listen = Some(address);
            status.is_tls = is_tls;
        });
        let receiver = &*self.shared.door.name;
        tracing::info!(receiver, address = %address, tls = is_tls, "listening for syslog");
    }

    /// Lets senders in until the server stops, and then waits for those that are in.
    pub async fn run(self) {
        let mut stopping = self.shared.stopping.clone();
        let mut connections = JoinSet::new();
        let mut is_failing = false;
        loop {
            let accepted = tokio::select! {
                // An error means that the server is gone.
                _ = stopping.wait_for(|stage| *stage > Stage::Open) => break,
                _ = connections.join_next(), if !connections.is_empty() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    is_failing = false;
                    self.admit(stream, address, &mut connections);
                }
                Err(error) => {
                    if !is_failing {
                        let receiver = &*self.shared.door.name;
                        tracing::error!(receiver, %error, "connections cannot be accepted now");
                    }
                    is_failing = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr, connections: &mut JoinSet<()>) {
        let ip = address.ip().to_canonical();
        if !self.allow.is_empty() && !self.allow.iter().any(|network| network.contains(ip)) {
            return self.shared.refuse(Refusal::Address);
        }
        let limits = &self.shared.tools.limits;
        let (all_max, own_max) = (limits.connections_max, limits.connections_per_address_max);
        let Some(place) = self.guests.enter(ip, all_max, own_max) else {
            return self.shared.refuse(Refusal::Full);
        };
        let (shared, acceptor) = (Arc::clone(&self.shared), self.acceptor.clone());
        connections.spawn(async move {
            // A sender that falls silent for good without a word is noticed in some minutes.
            let _best_effort = keep_alive(&stream);
            connection(stream, ip, acceptor, &shared).await;
            drop(place);
        });
    }
}

async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    acceptor: Option<TlsAcceptor>,
    shared: &Shared,
) {
    let Some(acceptor) = acceptor else { return converse(stream, peer, None, shared).await };
    let mut stopping = shared.stopping.clone();
    let shake =
        tokio::time::timeout(shared.tools.limits.handshake_timeout, acceptor.accept(stream));
    let shaken = tokio::select! {
        shaken = shake => shaken,
        // Nothing was said yet.
        _ = stopping.wait_for(|stage| *stage > Stage::Open) => return,
    };
    let Ok(Ok(stream)) = shaken else { return shared.refuse(Refusal::Tls) };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let client = certificates.first().and_then(tls::name);
    converse(stream, peer, client, shared).await;
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn keep_alive(stream: &TcpStream) -> rustix::io::Result<()> {
    use rustix::net::sockopt;
    const IDLE: Duration = Duration::from_secs(600);
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, IDLE)
}

impl Guests {
    /// A place, if there is one.
    fn enter(&self, ip: IpAddr, all_max: usize, own_max: usize) -> Option<Place> {
        let mut guests = self.lock();
        let own = guests.get(&ip).copied().unwrap_or(0);
        if own >= own_max || guests.values().sum::<usize>() >= all_max {
            return None;
        }
        guests.insert(ip, own + 1);
        Some(Place { guests: self.clone(), ip })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; free again when this is dropped.
struct Place {
    guests: Guests,
    ip: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = self.guests.lock();
        let left = guests.get(&self.ip).map_or(0, |own| own - 1);
        match left {
            0 => drop(guests.remove(&self.ip)),
            left => drop(guests.insert(self.ip, left)),
        }
    }
}

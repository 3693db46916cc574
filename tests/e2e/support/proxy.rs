//! A proxy that loses answers and cuts connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

use super::draw::Draw;

/// A proxy on a port of its own, which stays as long as the test does.
#[derive(Clone)]
pub struct Proxy {
    /// Where it listens.
    pub address: String,
    state: Arc<State>,
}

struct State {
    /// Where the server is now.
    target: Mutex<Option<String>>,
    draw: Mutex<Draw>,
    is_kind: AtomicBool,
    cuts: AtomicU64,
}

impl Proxy {
    /// Begins to listen. Which answers are lost is the seed's to say.
    pub fn start(seed: u64) -> Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let state = Arc::new(State {
            target: Mutex::new(None),
            draw: Mutex::new(Draw(seed)),
            is_kind: AtomicBool::new(false),
            cuts: AtomicU64::new(0),
        });
        let proxy = Proxy { address: listener.local_addr()?.to_string(), state };
        let state = Arc::clone(&proxy.state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || drop(state.pass(client)));
            }
        });
        Ok(proxy)
    }

    /// Connections go there from now on, or nowhere.
    pub fn lead(&self, base: Option<&str>) {
        let address = base.and_then(|base| base.rsplit('/').next()).map(str::to_owned);
        *self.state.target.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Nothing is lost any more on new connections.
    pub fn be_kind(&self) {
        self.state.is_kind.store(true, Ordering::SeqCst);
    }

    /// How many connections were cut in an answer.
    pub fn cuts(&self) -> u64 {
        self.state.cuts.load(Ordering::SeqCst)
    }
}

impl State {
    /// Passes bytes on, answers only up to a number of bytes: what the server says after that is lost
    /// although it was said, and then the connection is.
    fn pass(&self, client: TcpStream) -> std::io::Result<()> {
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(target) = target else { return Ok(()) };
        let server = TcpStream::connect(target)?;
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || {
            drop(std::io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Write));
        });
        let mut left = match self.is_kind.load(Ordering::SeqCst) {
            true => u64::MAX,
            // A TLS handshake takes some 800 bytes, the tickets after it as many, and an answer a few hundred.
            false => 700 + self.draw.lock().unwrap_or_else(PoisonError::into_inner).below(1500),
        };
        let (mut server, mut client) = (server, client);
        let mut bytes = [0; 4096];
        loop {
            let count = server.read(&mut bytes)?;
            if count == 0 {
                return client.shutdown(Shutdown::Both);
            }
            let passed = count.min(usize::try_from(left).unwrap_or(usize::MAX));
            client.write_all(&bytes[..passed])?;
            left -= passed as u64;
            if passed < count {
                self.cuts.fetch_add(1, Ordering::SeqCst);
                client.shutdown(Shutdown::Both)?;
                return server.shutdown(Shutdown::Both);
            }
        }
    }
}

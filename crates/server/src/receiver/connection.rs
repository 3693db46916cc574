//! One connection: what it sends is stored before more of it is read.

use std::mem;
use std::net::IpAddr;
use std::sync::Arc;

use doorbook_event::Text;
use doorbook_source::syslog::{self, Frame, Framer};
use doorbook_source::{Arrival, Labels};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{Semaphore, watch};

use super::lane::{Entrance, NotStored};
use super::{Refusal, Status, Tools};
use crate::routing::Door;

/// What the connections of one receiver share.
pub struct Shared {
    pub door: Arc<Door>,
    pub lane: Entrance,
    /// Of how many connections something may wait to be stored.
    pub batches: Arc<Semaphore>,
    pub tools: Tools,
    pub stopping: watch::Receiver<bool>,
}

/// What is read at once.
const BLOCK_BYTES: usize = 16 << 10;

/// What is stored at once, of one connection, about.
const BATCH_BYTES: usize = 256 << 10;

/// Short messages take more memory for their labels than for themselves.
const BATCH_MESSAGES: usize = 1024;

/// What is still read of a connection once the server stops: more than the system holds for it.
const LAST_BYTES: usize = 8 << 20;

impl Shared {
    pub fn note(&self, change: impl FnOnce(&mut Status)) {
        self.tools.board.change(&self.door.name, change);
    }

    /// Counts somebody who is not let in, or no longer. Its address is in no log; the first one of a kind
    /// is told, and `/metrics` has how many.
    pub fn refuse(&self, refusal: Refusal) {
        let mut n = 0;
        self.note(|status| {
            let count = status.refused.entry(refusal).or_default();
            *count += 1;
            n = *count;
        });
        if n == 1 {
            let (receiver, reason) = (&*self.door.name, refusal.word());
            tracing::warn!(receiver, reason, "a sender was refused; further ones are only counted");
        }
    }
}

/// Reads messages until the sender or the server ends.
pub async fn converse<S>(stream: S, peer: IpAddr, client: Option<Text>, shared: &Shared)
where
    S: AsyncRead + Unpin,
{
    let receiver = &*shared.door.name;
    shared.note(|status| {
        status.connections += 1;
        status.accepted += 1;
    });
    tracing::debug!(receiver, tls_client = client.is_some(), "a sender connected");
    let mut known = Labels::default();
    known.set("syslog.peer", peer.to_string());
    if let Some(client) = client {
        known.set("tls.client", client);
    }
    let conversation = Conversation {
        stream,
        framer: Framer::new(),
        block: vec![0; BLOCK_BYTES],
        known,
        stopping: shared.stopping.clone(),
        last_bytes: LAST_BYTES,
        shared,
    };
    let ended = conversation.run().await;
    shared.note(|status| status.connections -= 1);
    // Of what could not be stored the lane has said why.
    if ended.is_ok() {
        tracing::debug!(receiver, "a sender left");
    }
}

struct Conversation<'a, S> {
    stream: S,
    framer: Framer,
    block: Vec<u8>,
    /// What we know of the sender: labels of every message.
    known: Labels,
    stopping: watch::Receiver<bool>,
    /// What may still be read once the server stops.
    last_bytes: usize,
    shared: &'a Shared,
}

/// What came of reading.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Bytes(usize),
    /// Nothing is there now.
    Nothing,
    /// Nothing more comes, or is waited for.
    End,
}

impl<S: AsyncRead + Unpin> Conversation<'_, S> {
    async fn run(mut self) -> Result<(), NotStored> {
        let mut is_over = false;
        while !is_over {
            let read = self.wait().await;
            // Who has nothing takes no place.
            let shared = self.shared;
            let _place = shared.batches.acquire().await.map_err(|_| NotStored)?;
            is_over = self.batch(read).await?;
        }
        Ok(())
    }

    /// Stores what was read and what else is there. Whether that was the last.
    async fn batch(&mut self, mut read: Read) -> Result<bool, NotStored> {
        let mut waiting = Waiting::default();
        loop {
            match read {
                Read::Bytes(n) => {
                    self.framer.push(&self.block[..n]);
                    self.shared.note(|status| status.received_bytes += n as u64);
                }
                Read::Nothing => {
                    self.store(&mut waiting).await?;
                    return Ok(false);
                }
                Read::End => {
                    let rest = mem::take(&mut self.framer).finish();
                    waiting.extend(rest.map(|frame| self.arrival(&frame)));
                    self.store(&mut waiting).await?;
                    return Ok(true);
                }
            }
            // After so much it is the next connection's turn.
            let mut is_enough = false;
            loop {
                match self.framer.next_frame() {
                    Ok(Some(frame)) => waiting.extend([self.arrival(&frame)]),
                    Ok(None) => break,
                    Err(lost) => {
                        self.store(&mut waiting).await?;
                        tracing::debug!(receiver = &*self.shared.door.name, %lost, "a sender was cut off");
                        self.shared.refuse(Refusal::Framing);
                        return Ok(true);
                    }
                }
                if waiting.is_full() {
                    self.store(&mut waiting).await?;
                    is_enough = true;
                }
            }
            read = if is_enough { Read::Nothing } else { self.look().await };
        }
    }

    /// Waits until something comes.
    async fn wait(&mut self) -> Read {
        let limits = &self.shared.tools.limits;
        if !*self.stopping.borrow() {
            let reading =
                tokio::time::timeout(limits.idle_timeout, self.stream.read(&mut self.block));
            tokio::select! {
                read = reading => return of(read.ok()),
                // An error means that the server is gone.
                _ = self.stopping.wait_for(|stopping| *stopping) => {}
            }
        }
        let reading = tokio::time::timeout(limits.linger, self.stream.read(&mut self.block));
        let read = of(reading.await.ok());
        self.end_of_patience(read)
    }

    /// What is there already.
    async fn look(&mut self) -> Read {
        let read = tokio::select! {
            biased;
            read = self.stream.read(&mut self.block) => of(Some(read)),
            () = std::future::ready(()) => Read::Nothing,
        };
        if *self.stopping.borrow() { self.end_of_patience(read) } else { read }
    }

    fn end_of_patience(&mut self, read: Read) -> Read {
        let Read::Bytes(n) = read else { return read };
        match self.last_bytes.checked_sub(n) {
            Some(left) => self.last_bytes = left,
            None => return Read::End,
        }
        read
    }

    fn arrival(&self, frame: &Frame) -> Arrival {
        syslog::arrival(frame, &self.known)
    }

    async fn store(&self, waiting: &mut Waiting) -> Result<(), NotStored> {
        let Waiting { arrivals, .. } = mem::take(waiting);
        if arrivals.is_empty() {
            return Ok(());
        }
        self.shared.lane.store(Arc::clone(&self.shared.door), arrivals).await
    }
}

/// `None` if it took too long. An error ends a connection like its sender does.
fn of(read: Option<std::io::Result<usize>>) -> Read {
    match read {
        Some(Ok(n)) if n > 0 => Read::Bytes(n),
        _ => Read::End,
    }
}

/// What was read and is to be stored.
#[derive(Default)]
struct Waiting {
    arrivals: Vec<Arrival>,
    size_bytes: usize,
}

impl Waiting {
    fn extend(&mut self, arrivals: impl IntoIterator<Item = Arrival>) {
        for arrival in arrivals {
            self.size_bytes += arrival.received.len();
            self.arrivals.push(arrival);
        }
    }

    fn is_full(&self) -> bool {
        self.arrivals.len() >= BATCH_MESSAGES || self.size_bytes >= BATCH_BYTES
    }
}

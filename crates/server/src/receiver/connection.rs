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
use super::{Refusal, Stage, Status, Tools};
use crate::routing::Door;

/// What the connections of one receiver share.
pub struct Shared {
    pub door: Arc<Door>,
    pub lane: Entrance,
    /// Of how many connections something may wait to be stored.
    pub batches: Arc<Semaphore>,
    pub tools: Tools,
    pub stopping: watch::Receiver<Stage>,
}

/// What is read at once.
const BLOCK_BYTES: usize = 16 << 10;

/// What is stored at once, of one connection, about.
const BATCH_BYTES: usize = 256 << 10;

/// Short messages take more memory for their labels than for themselves.
const BATCH_MESSAGES: usize = 1024;

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
        ends_with_message: false,
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
    stopping: watch::Receiver<Stage>,
    /// Time is up: what is still read is the rest of a message.
    ends_with_message: bool,
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
            let mut is_at_end = false;
            loop {
                match self.framer.next_frame() {
                    Ok(Some(frame)) => {
                        waiting.extend([self.arrival(&frame)]);
                        is_at_end = self.ends_with_message;
                    }
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
            read = match (is_at_end, is_enough) {
                (true, _) => Read::End,
                (false, true) => Read::Nothing,
                (false, false) => self.look().await,
            };
        }
    }

    /// Waits until something comes.
    async fn wait(&mut self) -> Read {
        let limits = &self.shared.tools.limits;
        if *self.stopping.borrow() == Stage::Open {
            let reading =
                tokio::time::timeout(limits.idle_timeout, self.stream.read(&mut self.block));
            tokio::select! {
                read = reading => return of(read.ok()),
                // An error means that the server is gone.
                _ = self.stopping.wait_for(|stage| *stage > Stage::Open) => {}
            }
        }
        let Some(most) = self.at_most() else { return Read::End };
        let reading = self.stream.read(&mut self.block[..most]);
        of(tokio::time::timeout(limits.linger, reading).await.ok())
    }

    /// What is there already.
    async fn look(&mut self) -> Read {
        let Some(most) = self.at_most() else { return Read::End };
        tokio::select! {
            biased;
            read = self.stream.read(&mut self.block[..most]) => of(Some(read)),
            () = std::future::ready(()) => Read::Nothing,
        }
    }

    /// How much may be read at once. When time is up it is a byte, so that nothing is read beyond the
    /// message's end; a sender that does not end it is not waited for much longer.
    fn at_most(&mut self) -> Option<usize> {
        let stage = *self.stopping.borrow();
        self.ends_with_message = stage >= Stage::TimeIsUp;
        match stage {
            Stage::Open | Stage::Stopping => Some(self.block.len()),
            Stage::TimeIsUp => Some(1),
            Stage::Over => None,
        }
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

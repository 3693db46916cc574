//! [`Position`]: what is remembered of a received source in the same durable write as its records, so
//! that a restart routes on as before.
//!
//! CBOR, a map by number: 0 the version of the format (1), 1 what the source's streams said of
//! themselves, the latest last, 2 the intervals that are open in which the log is quiet. Empty bytes are
//! the position before anything was read.

use doorbook_event::record::Coverage;
use doorbook_event::{HostName, Text};
use doorbook_source::Labels;
use minicbor::{Decode, Encode};

/// A stream, by all that tells it from others.
pub(super) type StreamKey = [u8; 16];

/// What a stream's own lines say of whose log it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Learnt {
    /// `name:port`.
    #[n(0)]
    host: Option<Text>,
    #[n(1)]
    replica_set: Option<Text>,
}

impl Learnt {
    /// Takes note of what a start-up line says; whether that is new.
    pub(super) fn line(&mut self, line: &[u8]) -> bool {
        let mut is_new = false;
        if let Some(host) = doorbook_source::mongod::host_of(line) {
            let host = Some(Text::from(host.to_string()));
            is_new |= std::mem::replace(&mut self.host, host.clone()) != host;
        }
        if let Some(set) = doorbook_source::mongod::replica_set_of(line) {
            let set = Some(set);
            is_new |= std::mem::replace(&mut self.replica_set, set.clone()) != set;
        }
        is_new
    }

    /// Adds what another one knows that this one does not.
    pub(super) fn complete(&mut self, other: Learnt) {
        self.host = self.host.take().or(other.host);
        self.replica_set = self.replica_set.take().or(other.replica_set);
    }

    pub(super) fn host(&self) -> Option<HostName> {
        let (host, _) = HostName::parse(self.host.as_deref()?).ok()?;
        Some(host)
    }

    /// Says it as labels.
    pub(super) fn label(&self, labels: &mut Labels) {
        if let Some(host) = self.host() {
            labels.set("mongod.host", host.name.clone());
            labels.set("mongod.port", host.port.to_string());
        }
        if let Some(set) = &self.replica_set {
            labels.set("mongod.replica_set", set.clone());
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Position {
    #[n(0)]
    version: u64,
    #[n(1)]
    streams: Vec<Stream>,
    #[n(2)]
    pub(super) open: Vec<Coverage>,
}

#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
struct Stream {
    #[cbor(n(0), with = "minicbor::bytes")]
    key: StreamKey,
    #[n(1)]
    learnt: Learnt,
}

/// Streams of one source that are remembered.
const STREAMS_MAX: usize = 64;

impl Position {
    const VERSION: u64 = 1;

    /// One that cannot be read is as none: what it says is learnt again at the next start-up lines.
    pub(super) fn read(bytes: &[u8]) -> Position {
        let known = minicbor::decode::<Position>(bytes).ok();
        known.filter(|position| position.version == Position::VERSION).unwrap_or_default()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let position = Position { version: Position::VERSION, ..self.clone() };
        minicbor::to_vec(&position).expect("memory takes all that is written to it")
    }

    pub(super) fn get(&self, key: &StreamKey) -> Option<&Learnt> {
        let stream = self.streams.iter().find(|stream| stream.key == *key);
        stream.map(|stream| &stream.learnt)
    }

    /// Whether that is new.
    pub(super) fn set(&mut self, key: StreamKey, learnt: &Learnt) -> bool {
        if self.get(&key) == Some(learnt) || *learnt == Learnt::default() {
            return false;
        }
        self.streams.retain(|stream| stream.key != key);
        self.streams.push(Stream { key, learnt: learnt.clone() });
        let too_many = self.streams.len().saturating_sub(STREAMS_MAX);
        self.streams.drain(..too_many);
        true
    }

    /// Adds what another one knows that this one does not.
    pub(super) fn join(&mut self, other: &Position) {
        for Stream { key, learnt } in &other.streams {
            if self.get(key).is_none() {
                self.set(*key, learnt);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_for_ever() {
        let mut position = Position::default();
        let learnt = Learnt { host: Some("db-1:27018".into()), replica_set: Some("orders".into()) };
        position.set([7; 16], &learnt);
        let bytes = position.bytes();
        assert_eq!(
            hex::encode(&bytes),
            "a300010181a20050070707070707070707070707070707070\
             1a2006a64622d313a3237303138016 66f72646572730280"
                .replace([' ', '\n'], "")
        );
        assert_eq!(Position::read(&bytes).get(&[7; 16]), Some(&learnt));
        assert_eq!(Position::read(b"nonsense"), Position::default());
        for n in 0..100 {
            position.set([n; 16], &learnt);
        }
        assert_eq!(position.streams.len(), STREAMS_MAX);
        assert!(position.get(&[99; 16]).is_some());
    }
}

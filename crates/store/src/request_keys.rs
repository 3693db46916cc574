//! [`RequestKeys`]: which requests were written of late, by the names that their senders gave them.
//!
//! A sender that got no answer sends its request again under the same key. As long as the key is
//! remembered, the request is not stored again: for [`REMEMBERED_SECONDS`], by the time at which it was
//! received, and of one log at most [`KEYS_MAX`] keys. Beyond that number the oldest are forgotten
//! first: whoever sends more requests than that within the time has to try again sooner.

use std::cmp::Ordering;
use std::sync::Arc;

use doorbook_event::{Text, Timestamp};
use minicbor::{Decode, Encode};

/// 7 days: an outage over a long weekend.
const REMEMBERED_SECONDS: i64 = 7 * 86_400;

/// 100,000 keys of at most [`KEY_SIZE_BYTES_MAX`] bytes: some 10 MB in memory, and in a snapshot.
const KEYS_MAX: usize = 100_000;

/// 200 bytes: a UUID has 36, a path with a date and an offset some 100.
pub(crate) const KEY_SIZE_BYTES_MAX: usize = 200;

/// A request that was written.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct RequestKey {
    /// Which source's.
    #[n(0)]
    pub(crate) source: Text,
    /// The sender's name for it.
    #[n(1)]
    pub(crate) key: Text,
    /// What it said: SipHash-1-3 of 128 bits under the key 0, over its records in their WAL form,
    /// those that were too old to be stored, too: they may have become so since it came first.
    /// Against mistakes, not against malice: who can choose requests could as well choose keys.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(crate) content: [u8; 16],
    /// When it was received.
    #[n(3)]
    pub(crate) ingest_time: Timestamp,
}

/// The requests of one log, from the oldest to the newest. A clone is a snapshot and shares them:
/// they lie in chunks that never change, of lengths that fall by half.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestKeys {
    chunks: Vec<Arc<Chunk>>,
}

#[derive(Debug)]
struct Chunk {
    by_age: Vec<RequestKey>,
    /// Places in `by_age`, by source and key.
    by_name: Vec<u16>,
}

/// What is forgotten is forgotten a chunk at a time.
const CHUNK_KEYS_MAX: usize = 4096;

impl RequestKeys {
    /// Adds a request, and forgets what is too old or too much.
    pub(crate) fn push(&mut self, key: RequestKey) {
        let now = key.ingest_time;
        let mut keys = vec![key];
        let is_mergeable = |last: &mut Arc<Chunk>, count: usize| {
            let length = last.by_age.len();
            length < 2 * count && length + count <= CHUNK_KEYS_MAX
        };
        while let Some(last) = self.chunks.pop_if(|last| is_mergeable(last, keys.len())) {
            keys.splice(0..0, last.by_age.iter().cloned());
        }
        self.chunks.push(Arc::new(Chunk::new(keys)));
        let forgotten = self.chunks.iter().take_while(|chunk| chunk.is_past(now)).count();
        self.chunks.drain(..forgotten);
        while self.len() > KEYS_MAX {
            self.chunks.remove(0);
        }
    }

    /// The request of that key, if it is remembered.
    pub(crate) fn get(&self, source: &str, key: &str, now: Timestamp) -> Option<&RequestKey> {
        let found = self.chunks.iter().rev().find_map(|chunk| chunk.get(source, key));
        found.filter(|found| is_remembered(found, now))
    }

    /// From the oldest to the newest.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &RequestKey> {
        self.chunks.iter().flat_map(|chunk| chunk.by_age.iter())
    }

    fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.by_age.len()).sum()
    }
}

impl FromIterator<RequestKey> for RequestKeys {
    fn from_iter<T: IntoIterator<Item = RequestKey>>(keys: T) -> RequestKeys {
        let mut all = RequestKeys::default();
        keys.into_iter().for_each(|key| all.push(key));
        all
    }
}

impl Chunk {
    fn new(by_age: Vec<RequestKey>) -> Chunk {
        let mut by_name: Vec<u16> =
            (0..by_age.len()).map(|at| u16::try_from(at).expect("a chunk is short")).collect();
        // Stable: of requests of one name the newest stands last.
        by_name.sort_by(|a, b| name(&by_age[usize::from(*a)]).cmp(&name(&by_age[usize::from(*b)])));
        Chunk { by_age, by_name }
    }

    fn get(&self, source: &str, key: &str) -> Option<&RequestKey> {
        let wanted = (source, key);
        let after = self.by_name.partition_point(|at| {
            name(&self.by_age[usize::from(*at)]).cmp(&wanted) != Ordering::Greater
        });
        let found = &self.by_age[usize::from(*self.by_name.get(after.checked_sub(1)?)?)];
        (name(found) == wanted).then_some(found)
    }

    fn is_past(&self, now: Timestamp) -> bool {
        self.by_age.iter().all(|key| !is_remembered(key, now))
    }
}

fn name(key: &RequestKey) -> (&str, &str) {
    (&key.source, &key.key)
}

fn is_remembered(key: &RequestKey, now: Timestamp) -> bool {
    now <= key.ingest_time.plus_seconds(REMEMBERED_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize, at: i64) -> RequestKey {
        let ingest_time = Timestamp::from_seconds(at);
        let content = (n as u128).to_le_bytes();
        RequestKey { source: "s".into(), key: n.to_string().into(), content, ingest_time }
    }

    #[test]
    fn keys_are_found_until_they_are_old_or_too_many() {
        let mut keys = RequestKeys::default();
        for n in 0..KEYS_MAX + 10 {
            keys.push(key(n, n as i64 / 1000));
        }
        let now = Timestamp::from_seconds(100);
        assert!(keys.get("s", "0", now).is_none(), "too many");
        assert!(keys.len() <= KEYS_MAX && keys.len() > KEYS_MAX - CHUNK_KEYS_MAX);
        assert!(keys.chunks.len() < KEYS_MAX / CHUNK_KEYS_MAX * 2 + 13, "{}", keys.chunks.len());
        let newest = (KEYS_MAX + 9).to_string();
        assert_eq!(keys.get("s", &newest, now), Some(&key(KEYS_MAX + 9, 100)));
        assert!(keys.get("other", &newest, now).is_none());
        assert!(keys.get("s", "x", now).is_none());
        let late = now.plus_seconds(REMEMBERED_SECONDS);
        assert!(keys.get("s", &newest, late).is_some());
        assert!(keys.get("s", &newest, late.plus_seconds(1)).is_none(), "too old");
        keys.push(key(5, late.plus_seconds(1).micros() / 1_000_000));
        assert_eq!(keys.len(), 1, "forgotten");
    }

    #[test]
    fn of_two_requests_of_one_key_the_later_counts() {
        let mut keys = RequestKeys::default();
        for n in 0..7 {
            keys.push(RequestKey { key: "same".into(), ..key(n, n as i64) });
        }
        let found = keys.get("s", "same", Timestamp::from_seconds(7)).expect("is there");
        assert_eq!(found.content, 6_u128.to_le_bytes());
    }
}

//! Which events of an import are stored already.
//!
//! The rule is `docs/design/identity.md`: an input file that holds `n` equal events, against `m`
//! stored from elsewhere, adds `max(0, n - m)`. Here it is kept batch by batch: `m` is looked up
//! among the stored rows that are neither the current file's own nor of a retracted import, and of
//! each identity that has any, the duplicates found so far in this file are counted (`d`). An event
//! is one more duplicate exactly while `d < m`. Nothing is kept of identities that are not stored
//! elsewhere, so that a first import needs no memory here. (With `a` own rows of the file the rule
//! reads: the `i`-th is new if fewer than `i` are stored in all. That is the same, since
//! `i = d + a + 1` and `m + a` are stored; and so it also holds between two imports that run at the
//! same time.)

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::ops::Range;

use doorbook_event::identity::{Identity, IdentityKey};
use doorbook_event::record::Quarantine;
use doorbook_event::{Access, LogId, Random, Record, Seq};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::error::Error;
use crate::state::{LogState, contains};

/// The hash of an identity, or of what makes quarantined bytes the same.
pub(crate) type Hash128 = u128;

/// A map by values that are hashes already.
pub(crate) type ByHash<V> = HashMap<Hash128, V, BuildHasherDefault<AlreadyHashed>>;

/// Takes the lower half of a [`Hash128`] as it is.
#[derive(Default)]
pub(crate) struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The secret keys of both hashes; they live as long as the process.
pub(crate) struct Keys {
    access: IdentityKey,
    quarantine: [u8; 16],
}

impl Keys {
    pub(crate) fn new(random: &dyn Random) -> Keys {
        let mut quarantine = [0; 16];
        random.fill(&mut quarantine);
        Keys { access: IdentityKey::new(random), quarantine }
    }

    pub(crate) fn access(&self, access: &Access) -> Hash128 {
        self.identity(&Identity::from(access))
    }

    pub(crate) fn identity(&self, identity: &Identity<'_>) -> Hash128 {
        identity.hash(&self.access)
    }

    /// Quarantined bytes are the same if they are the same bytes for the same target.
    pub(crate) fn quarantine(&self, group: &str, member: &str, sha256: &[u8], length: u64) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.quarantine);
        (group, member, sha256, length).hash(&mut hasher);
        hasher.finish128().as_u128()
    }

    fn of_quarantine(&self, quarantine: &Quarantine) -> Hash128 {
        let (group, member) = quarantine.target.names();
        self.quarantine(group, member, &quarantine.sha256, quarantine.length_bytes)
    }

    fn of_record(&self, record: &Record) -> Option<Hash128> {
        match record {
            Record::Access(access) => Some(self.access(access)),
            Record::Quarantine(quarantine) => Some(self.of_quarantine(quarantine)),
            _ => None,
        }
    }
}

/// The rows in memory, by identity. Caught up with the memtable whenever an import asks.
#[derive(Default)]
pub(crate) struct MemoryIndex {
    logs: HashMap<LogId, LogIndex>,
}

#[derive(Default)]
struct LogIndex {
    /// The memtable that was indexed begins here; another beginning means that it was flushed.
    first: Seq,
    /// Rows below are indexed.
    next: Seq,
    rows: ByHash<Vec<Seq>>,
}

impl MemoryIndex {
    fn catch_up(&mut self, keys: &Keys, id: LogId, log: &LogState) -> &LogIndex {
        let index = self.logs.entry(id).or_default();
        let first = log.memtable.rows().next().map_or(log.next_seq, |row| row.seq);
        if index.first != first {
            *index = LogIndex { first, next: first, rows: ByHash::default() };
        }
        for row in log.memtable.rows_from(index.next) {
            if let Some(hash) = keys.of_record(&row.record) {
                index.rows.entry(hash).or_default().push(row.seq);
            }
            index.next = row.seq + 1;
        }
        index
    }
}

/// The current input file of an import, as far as identity needs it.
#[derive(Debug, Default)]
pub(crate) struct CurrentFile {
    /// Rows it added.
    pub(crate) own: Vec<Range<Seq>>,
    /// Of each identity that is stored elsewhere, how many duplicates it held so far.
    duplicates: ByHash<u32>,
}

/// What of a batch is stored already.
pub(crate) struct Verdict {
    /// For each access, whether it is.
    pub(crate) accesses: Vec<bool>,
    /// For each quarantine, whether it is.
    pub(crate) quarantine: Vec<bool>,
    found: ByHash<u32>,
}

impl CurrentFile {
    /// Remembers a verdict whose batch was committed, with the rows that it added.
    pub(crate) fn committed(&mut self, verdict: Verdict, rows: Range<Seq>) {
        for (hash, count) in verdict.found {
            *self.duplicates.entry(hash).or_default() += count;
        }
        match self.own.last_mut() {
            _ if rows.is_empty() => {}
            Some(last) if last.end == rows.start => last.end = rows.end,
            _ => self.own.push(rows),
        }
    }

    /// Tells which events of a batch are stored already.
    pub(crate) fn judge(
        &self,
        keys: &Keys,
        memory: &mut MemoryIndex,
        log: Option<(LogId, &LogState)>,
        accesses: &[Access],
        quarantine: &[Quarantine],
    ) -> Result<Verdict, Error> {
        let mut verdict = Verdict {
            accesses: vec![false; accesses.len()],
            quarantine: vec![false; quarantine.len()],
            found: ByHash::default(),
        };
        let Some((id, log)) = log else { return Ok(verdict) };
        let index = memory.catch_up(keys, id, log);
        if index.rows.is_empty() {
            return Ok(verdict);
        }
        let counts_as_stored = |seq| !contains(&self.own, seq) && !contains(&log.retracted, seq);
        let stored = |hash: &Hash128| {
            let seqs = index.rows.get(hash).map_or(&[][..], Vec::as_slice);
            seqs.iter().filter(|seq| counts_as_stored(**seq)).count() as u32
        };
        let hashes = accesses.iter().map(|access| keys.access(access));
        let hashes = hashes.chain(quarantine.iter().map(|bytes| keys.of_quarantine(bytes)));
        let answers = verdict.accesses.iter_mut().chain(&mut verdict.quarantine);
        for (hash, answer) in hashes.zip(answers) {
            let stored = stored(&hash);
            if stored > 0 {
                let before = self.duplicates.get(&hash).copied().unwrap_or(0);
                let here = verdict.found.entry(hash).or_default();
                *answer = before + *here < stored;
                *here += u32::from(*answer);
            }
        }
        Ok(verdict)
    }
}

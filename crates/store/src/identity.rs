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
use std::path::Path;

use doorbook_event::identity::{Identity, IdentityKey};
use doorbook_event::record::Quarantine;
use doorbook_event::{Access, LogId, Random, Record, Seq, Text, Timestamp, WrittenTime};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::disk::Disk;
use crate::error::Error;
use crate::memtable::kind;
use crate::segment::{Columns, Segment};
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
        stored: Stored<'_>,
        memory: &mut MemoryIndex,
        accesses: &[Access],
        quarantine: &[Quarantine],
    ) -> Result<Verdict, Error> {
        let mut verdict = Verdict {
            accesses: vec![false; accesses.len()],
            quarantine: vec![false; quarantine.len()],
            found: ByHash::default(),
        };
        let Some((id, log)) = stored.log else { return Ok(verdict) };
        let index = memory.catch_up(stored.keys, id, log);
        let places = stored.places(&self.own, log, accesses, quarantine);
        if index.rows.is_empty() && places.is_empty() {
            return Ok(verdict);
        }

        let keys = stored.keys;
        let hashes = accesses.iter().map(|access| keys.access(access));
        let hashes = hashes.chain(quarantine.iter().map(|bytes| keys.of_quarantine(bytes)));
        let hashes: Vec<Hash128> = hashes.collect();
        let mut counts: ByHash<u32> = hashes.iter().map(|hash| (*hash, 0)).collect();
        let counts_as_stored = |seq| !contains(&self.own, seq) && !contains(&log.retracted, seq);
        for (hash, count) in &mut counts {
            let seqs = index.rows.get(hash).map_or(&[][..], Vec::as_slice);
            *count += seqs.iter().filter(|seq| counts_as_stored(**seq)).count() as u32;
        }
        for (segment, rows) in places {
            stored.count(segment, rows, &counts_as_stored, &mut counts)?;
        }

        let answers = verdict.accesses.iter_mut().chain(&mut verdict.quarantine);
        for (hash, answer) in hashes.into_iter().zip(answers) {
            let stored = counts[&hash];
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

/// Where stored rows are looked up.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) disk: &'a dyn Disk,
    pub(crate) dir: &'a Path,
    pub(crate) log: Option<(LogId, &'a LogState)>,
}

/// When a target's events of a batch happened.
struct Span {
    from: Timestamp,
    to: Timestamp,
    has_quarantine: bool,
}

impl<'a> Stored<'a> {
    /// The stretches of segments in which equal rows may lie.
    fn places(
        &self,
        own: &[Range<Seq>],
        log: &'a LogState,
        accesses: &[Access],
        quarantine: &[Quarantine],
    ) -> Vec<(&'a Segment, Vec<(Range<usize>, Span)>)> {
        let spans = spans(accesses, quarantine);
        let mut places = Vec::new();
        for segment in &log.segments {
            let meta = &segment.meta;
            let all = meta.first_seq..meta.last_seq + 1;
            if covers(own, &all) || covers(&log.retracted, &all) {
                continue;
            }
            let mut next = 0;
            let mut found = Vec::new();
            for member in &meta.members {
                let rows = next..next + member.rows as usize;
                next = rows.end;
                let Some(span) = spans.get(&(&*member.group, &*member.member)) else { continue };
                let has_access = member.kinds & 1 << kind::ACCESS != 0;
                let has_quarantine = member.kinds & 1 << kind::QUARANTINE != 0;
                if has_quarantine && span.has_quarantine {
                    // Its time is when it was received, which says nothing.
                    let (from, to) = (Timestamp::MIN, Timestamp::MAX);
                    found.push((rows, Span { from, to, has_quarantine }));
                } else if has_access && span.from <= member.to && member.from <= span.to {
                    let Span { from, to, .. } = *span;
                    found.push((rows, Span { from, to, has_quarantine: false }));
                }
            }
            if !found.is_empty() {
                places.push((&**segment, found));
            }
        }
        places
    }

    /// Counts the rows of these places that are among those asked for.
    fn count(
        &self,
        segment: &Segment,
        places: Vec<(Range<usize>, Span)>,
        counts_as_stored: &impl Fn(Seq) -> bool,
        counts: &mut ByHash<u32>,
    ) -> Result<(), Error> {
        let reader = segment.open(self.disk, self.dir)?;
        let mut rows = Vec::new();
        let mut quarantine_rows = Vec::new();
        for (part, span) in places {
            rows.extend(reader.narrow(part.clone(), span.from, span.to));
            if span.has_quarantine {
                quarantine_rows.push(part);
            }
        }
        reader.read(&Columns::IDENTITY, rows, |columns, at| {
            let (seqs, identities) = (columns.seqs()?, columns.identities()?);
            for row in 0..at.len() {
                if let Some(identity) = identities(row)?
                    && let Some(count) = counts.get_mut(&self.keys.identity(&identity))
                    && counts_as_stored(seqs(row))
                {
                    *count += 1;
                }
            }
            Ok(())
        })?;
        let needed = ["kind", "cluster", "host", "seq", "attributes"];
        reader.read(&needed, quarantine_rows, |columns, at| {
            let (seqs, facts) = (columns.seqs()?, columns.quarantined()?);
            let (clusters, hosts) = (columns.texts("cluster")?, columns.texts("host")?);
            for row in 0..at.len() {
                if let Some((length, sha256)) = facts(row)? {
                    let group = clusters.get(row).unwrap_or("");
                    let member = hosts.get(row).unwrap_or("");
                    let hash = self.keys.quarantine(group, member, &sha256, length);
                    if let Some(count) = counts.get_mut(&hash)
                        && counts_as_stored(seqs(row))
                    {
                        *count += 1;
                    }
                }
            }
            Ok(())
        })
    }
}

/// For each target of a batch, the time in which its equal rows lie.
fn spans<'b>(
    accesses: &'b [Access],
    quarantine: &'b [Quarantine],
) -> HashMap<(&'b str, &'b str), Span> {
    let mut spans: Vec<((&str, &str), Span)> = Vec::new();
    let mut last = 0;
    let mut widen = |names: (&'b Text, &'b Text), from, to, has_quarantine| {
        let names: (&str, &str) = (names.0, names.1);
        // Neighbours are of one target, mostly by the very same names in memory.
        let is_last = |(known, _): &&mut ((&str, &str), Span)| {
            std::ptr::eq(known.0, names.0) && std::ptr::eq(known.1, names.1)
        };
        if spans.get_mut(last).filter(is_last).is_none() {
            last = spans.iter().position(|(known, _)| *known == names).unwrap_or_else(|| {
                let none = Span { from: Timestamp::MAX, to: Timestamp::MIN, has_quarantine: false };
                spans.push((names, none));
                spans.len() - 1
            });
        }
        let span = &mut spans[last].1;
        span.from = span.from.min(from);
        span.to = span.to.max(to);
        span.has_quarantine |= has_quarantine;
    };
    for access in accesses {
        let (from, to) = match access.written_time {
            WrittenTime::Complete => (access.event_time, access.event_time),
            // The stored instant of an equal row is a guess that may be any other.
            WrittenTime::Partial(_) => (Timestamp::MIN, Timestamp::MAX),
        };
        widen(access.target.names(), from, to, false);
    }
    for bytes in quarantine {
        widen(bytes.target.names(), Timestamp::MAX, Timestamp::MIN, true);
    }
    spans.into_iter().collect()
}

/// Whether one of the ranges holds all of `rows`.
fn covers(ranges: &[Range<Seq>], rows: &Range<Seq>) -> bool {
    ranges.iter().any(|range| range.start <= rows.start && rows.end <= range.end)
}

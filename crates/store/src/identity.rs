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

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::ops::Range;
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

use doorbook_event::identity::{Identity, IdentityKey, is_one};
use doorbook_event::record::{Quarantine, Subject};
use doorbook_event::{Access, LogId, Random, Record, Scope, Seq, Timestamp, WrittenTime};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::Inner;
use crate::advance::late_rows;
use crate::directory::segment_dir;
use crate::disk::Disk;
use crate::error::Error;
use crate::frame::{Op, Records};
use crate::memtable::kind;
use crate::names::Names;
use crate::segment::{Columns, Member, Reader, Segment};
use crate::state::{LogState, State, contains};

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

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
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
        hasher.finish128().as_u128() & !1
    }

    fn of_quarantine(&self, quarantine: &Quarantine) -> Hash128 {
        let (group, member) = quarantine.target.names();
        self.quarantine(group, member, &quarantine.sha256, quarantine.length_bytes)
    }

    /// Sightings and amendments are the same if they are the same records of one source.
    pub(crate) fn told(&self, record: &Record, source: &str) -> Hash128 {
        let record = minicbor::to_vec(record).expect("a Vec takes every byte");
        self.told_bytes(&record, source)
    }

    fn told_bytes(&self, record: &[u8], source: &str) -> Hash128 {
        let mut hasher = SipHasher13::new_with_key(&self.quarantine);
        ("told", source, record).hash(&mut hasher);
        hasher.finish128().as_u128() & !1
    }

    fn of_record(&self, record: &Record, source: &str) -> Option<Hash128> {
        match record {
            Record::Access(access) => Some(self.access(access)),
            Record::Quarantine(quarantine) => Some(self.of_quarantine(quarantine)),
            Record::Sighting(_) | Record::Amendment(_) => Some(self.told(record, source)),
            _ => None,
        }
    }
}

/// The rows in memory, by identity, of the logs of which that was ever asked. The key is the secret
/// one of [`Keys`], so that the lower half of a hash is as good as random.
#[derive(Default)]
pub(crate) struct MemoryIndex {
    logs: HashMap<LogId, LogIndex>,
}

/// 32 bytes for each row, and some 20 for its place in the table.
#[derive(Default)]
struct LogIndex {
    /// Rows below are indexed or no longer in memory.
    next: Seq,
    /// By position.
    rows: Vec<IndexedRow>,
    /// The newest row of each lower half of a hash.
    newest: HashMap<u64, u32, BuildHasherDefault<AlreadyHashed>>,
}

struct IndexedRow {
    hash: Hash128,
    seq: Seq,
    /// The next older row with the same lower half of the hash, or [`NONE`].
    older: u32,
}

const NONE: u32 = u32::MAX;

impl MemoryIndex {
    /// Adds rows that are about to be written to a log, whose state before is given, if the log is
    /// indexed and nothing before them is missing. `hashes` are theirs, where they are known.
    pub(crate) fn add(
        &mut self,
        keys: &Keys,
        group: &Records,
        log: Option<&LogState>,
        hashes: Option<&[Option<Hash128>]>,
    ) {
        let Some(index) = self.logs.get_mut(&group.log) else { return };
        if let Some(log) = log {
            index.catch_up(keys, log);
        }
        if index.next == group.base_seq {
            index.add(keys, group, hashes);
        }
    }

    /// Forgets the rows from a position on: they were not written after all.
    pub(crate) fn forget_from(&mut self, id: LogId, seq: Seq) {
        let Some(index) = self.logs.get_mut(&id) else { return };
        while let Some(row) = index.rows.pop_if(|row| row.seq >= seq) {
            match row.older {
                NONE => drop(index.newest.remove(&(row.hash as u64))),
                older => drop(index.newest.insert(row.hash as u64, older)),
            }
        }
        index.next = index.next.min(seq);
    }

    /// Forgets the rows below a position: they are in a segment now.
    pub(crate) fn forget_below(&mut self, id: LogId, seq: Seq) {
        let Some(index) = self.logs.get_mut(&id) else { return };
        let left = index.rows.split_off(index.rows.partition_point(|row| row.seq < seq));
        if left.is_empty() {
            self.logs.remove(&id);
            return;
        }
        (index.rows, index.newest) = (Vec::new(), HashMap::default());
        left.into_iter().for_each(|row| index.push(row.hash, row.seq));
    }

    /// The rows of a log, all of its present memtable among them, and those of a draft.
    fn log(&mut self, keys: &Keys, id: LogId, log: Option<&LogState>, drafted: &[Op]) -> &LogIndex {
        let index = self.logs.entry(id).or_default();
        if let Some(log) = log {
            index.catch_up(keys, log);
        }
        for op in drafted {
            if let Op::Records(group) = op
                && group.log == id
                && group.base_seq >= index.next
            {
                index.add(keys, group, None);
            }
        }
        index
    }
}

impl LogIndex {
    fn catch_up(&mut self, keys: &Keys, log: &LogState) {
        if self.next < log.next_seq {
            for row in log.memtable.rows_from(self.next) {
                if let Some(hash) = keys.of_record(&row.record, &row.source) {
                    self.push(hash, row.seq);
                }
            }
            self.next = log.next_seq;
        }
    }

    fn add(&mut self, keys: &Keys, group: &Records, hashes: Option<&[Option<Hash128>]>) {
        for (n, record) in group.records.iter().enumerate() {
            let known = hashes.and_then(|hashes| hashes[n]);
            if let Some(hash) = known.or_else(|| keys.of_record(record, &group.source)) {
                self.push(hash, group.base_seq + n as u64);
            }
        }
        self.next = group.base_seq + group.records.len() as u64;
    }

    fn push(&mut self, hash: Hash128, seq: Seq) {
        let at = u32::try_from(self.rows.len()).expect("far fewer rows are in memory");
        let older = self.newest.insert(hash as u64, at).unwrap_or(NONE);
        self.rows.push(IndexedRow { hash, seq, older });
    }

    /// Where the rows of an identity stand, from the newest.
    fn seqs(&self, hash: Hash128) -> impl Iterator<Item = Seq> {
        let mut at = self.newest.get(&(hash as u64)).copied().unwrap_or(NONE);
        let rows = std::iter::from_fn(move || {
            let row = self.rows.get(at as usize)?;
            at = row.older;
            Some(row)
        });
        rows.filter(move |row| row.hash == hash).map(|row| row.seq)
    }
}

/// The current input file of an import, as far as identity needs it. Of a request, which is a file
/// in one batch, it is empty.
#[derive(Debug, Default)]
pub(crate) struct CurrentFile {
    /// Rows it added.
    pub(crate) own: Vec<Range<Seq>>,
    /// Of each identity that is stored elsewhere, how many duplicates it held so far.
    duplicates: ByHash<u32>,
    /// The same of the part of a followed file before that.
    earlier_duplicates: ByHash<u32>,
}

/// What of a batch is stored already.
pub(crate) struct Verdict {
    /// For each event, whether it is.
    pub(crate) is_stored: Vec<bool>,
    found: ByHash<u32>,
}

impl CurrentFile {
    /// A file that added rows already.
    pub(crate) fn with_own(own: Vec<Range<Seq>>) -> CurrentFile {
        CurrentFile { own, ..CurrentFile::default() }
    }

    /// Of a file that is followed, forgets what is far back: a log lasts for months, and equal lines
    /// stand close together.
    pub(crate) fn keep_late(&mut self) {
        const DUPLICATES: usize = 1 << 16;
        late_rows(&mut self.own);
        if self.duplicates.len() > DUPLICATES {
            self.earlier_duplicates = std::mem::take(&mut self.duplicates);
        }
    }

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

    /// Tells which events of a batch are stored already, by how often each is stored elsewhere. An
    /// event without a hash is taken to be new.
    pub(crate) fn judge(
        &self,
        stored: &ByHash<u32>,
        hashes: impl ExactSizeIterator<Item = Option<Hash128>>,
    ) -> Verdict {
        let mut verdict =
            Verdict { is_stored: vec![false; hashes.len()], found: ByHash::default() };
        let mut ones = HashSet::new();
        for (hash, answer) in hashes.zip(&mut verdict.is_stored) {
            let Some(hash) = hash else { continue };
            if is_one(hash) {
                *answer = stored.contains_key(&hash) || !ones.insert(hash);
                continue;
            }
            let Some(stored) = stored.get(&hash) else { continue };
            let before = [&self.duplicates, &self.earlier_duplicates];
            let before = before.iter().filter_map(|found| found.get(&hash)).sum::<u32>();
            let here = verdict.found.entry(hash).or_default();
            *answer = before + *here < *stored;
            *here += u32::from(*answer);
        }
        verdict
    }
}

/// What is looked up.
pub(crate) type Wanted<'a> = (Hash128, Fact<'a>);

/// What has an identity.
#[derive(Clone, Copy)]
pub(crate) enum Fact<'a> {
    /// An event.
    Access(&'a Access),
    /// Bytes that could not be read.
    Quarantine(&'a Quarantine),
    /// A sighting or an amendment, by what it is about, with its hash.
    Told(&'a Subject, Hash128),
}

impl Keys {
    /// What is looked up of an event or of bytes.
    pub(crate) fn wanted<'a>(&self, fact: Fact<'a>) -> Wanted<'a> {
        let hash = match fact {
            Fact::Access(access) => self.access(access),
            Fact::Quarantine(bytes) => self.of_quarantine(bytes),
            Fact::Told(_, hash) => hash,
        };
        (hash, fact)
    }
}

/// How often identities are stored, as far as it was looked up.
pub(crate) struct Known {
    /// Rows from here on are left out.
    pub(crate) below: Seq,
    /// Those that are stored.
    pub(crate) counts: ByHash<u32>,
    /// Where those are that are one whoever tells of them.
    pub(crate) ones: ByHash<Seq>,
}

impl Known {
    /// What is known without looking, of nothing.
    pub(crate) fn nothing() -> Known {
        Known { below: Seq::MAX, counts: ByHash::default(), ones: ByHash::default() }
    }
}

impl Inner {
    pub(crate) fn memory(&self) -> MutexGuard<'_, MemoryIndex> {
        // What a bug left half done is known to be so by the writer's lock, which its holder held.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often each of these identities is stored now, but for the rows in `own`. What is
    /// committed meanwhile is left out; [`Inner::stored_since`] tells of it.
    pub(crate) fn stored(
        &self,
        scope: &Scope,
        own: &[Range<Seq>],
        wanted: &[Wanted<'_>],
    ) -> Result<Known, Error> {
        // Under the lock that a flush takes to move rows: each row is in memory or in a segment.
        let mut memory = self.memory();
        let state = self.state();
        let Some((id, log)) = state.log(scope) else {
            return Ok(Known { below: 0, ..Known::nothing() });
        };
        let index = memory.log(&self.keys, id, Some(log), &[]);
        let dir = segment_dir(&self.options.data_dir);
        let search = Search::new(&self.keys, &*self.options.disk, &dir, (log, 0), own, wanted);
        let mut counts = ByHash::default();
        search.count_in_memory(index, log.next_seq, wanted, &mut counts);
        drop(memory);
        search.count_in_segments(wanted, &mut counts)?;
        Ok(Known { below: log.next_seq, counts, ones: search.ones.into_inner() })
    }

    /// How often each of these identities was stored since, in a draft as well. For who has the
    /// writer's lock.
    pub(crate) fn stored_since(
        &self,
        below: Seq,
        draft: Since<'_>,
        own: &[Range<Seq>],
        wanted: &[Wanted<'_>],
    ) -> Result<ByHash<u32>, Error> {
        let mut counts = ByHash::default();
        let Since { state, id, drafted } = draft;
        let log = state.logs.get(id.0 as usize).map(|log| &**log);
        let mut memory = self.memory();
        let index = memory.log(&self.keys, id, log, drafted);
        let Some(log) = log else {
            let none = |hash| u32::try_from(index.seqs(hash).count()).unwrap_or(u32::MAX);
            let found = wanted.iter().map(|(hash, _)| (*hash, none(*hash)));
            return Ok(found.filter(|(_, count)| *count > 0).collect());
        };
        let dir = segment_dir(&self.options.data_dir);
        let (keys, disk) = (&self.keys, &*self.options.disk);
        let search = Search::new(keys, disk, &dir, (log, below), own, wanted);
        search.count_in_memory(index, Seq::MAX, wanted, &mut counts);
        drop(memory);
        search.count_in_segments(wanted, &mut counts)?;
        Ok(counts)
    }
}

/// The present state and what a draft adds to one log of it.
#[derive(Clone, Copy)]
pub(crate) struct Since<'a> {
    pub(crate) state: &'a State,
    pub(crate) id: LogId,
    pub(crate) drafted: &'a [Op],
}

/// A search for rows of one log.
struct Search<'a> {
    keys: &'a Keys,
    disk: &'a dyn Disk,
    dir: &'a Path,
    log: &'a LogState,
    /// Rows that do not count.
    own: &'a [Range<Seq>],
    /// Rows before do not count either.
    from: Seq,
    /// Whether anything is looked for that is one whoever tells of it.
    has_ones: bool,
    /// Where those are that were found.
    ones: RefCell<ByHash<Seq>>,
}

/// A stretch of a segment's rows, and when what is looked for in it happened.
type Stretch = (Range<usize>, Span);

/// Two sources may differ by as much over when a file was left: the clocks of storage and of its log, and
/// the time between a removal and the next look.
const OBJECT_SECONDS: i64 = 3600;

/// From the earliest to the latest instant.
#[derive(Clone, Copy)]
struct Span {
    from: Timestamp,
    to: Timestamp,
}

impl Span {
    const ALL: Span = Span { from: Timestamp::MIN, to: Timestamp::MAX };

    fn at(time: Timestamp) -> Span {
        Span { from: time, to: time }
    }

    /// When rows that equal an event happened, as far as they say.
    fn of(access: &Access) -> Span {
        match access.written_time {
            // Another source's clock may say otherwise of the same file.
            WrittenTime::Complete if Identity::from(access).object.is_some() => Span {
                from: access.event_time.plus_seconds(-OBJECT_SECONDS),
                to: access.event_time.plus_seconds(OBJECT_SECONDS),
            },
            WrittenTime::Complete => Span::at(access.event_time),
            // The stored instant of an equal row is a guess that may be any other.
            WrittenTime::Partial(_) => Span::ALL,
        }
    }

    /// From the first to the last that is asked for. When bytes were received says nothing.
    fn of_all(wanted: &[Wanted<'_>]) -> Span {
        let spans = wanted.iter().map(|(_, fact)| match fact {
            Fact::Access(access) => Span::of(access),
            Fact::Told(of, _) => Span::at(of.event_time),
            Fact::Quarantine(_) => Span::ALL,
        });
        let joined = |a: Span, b: Span| Span { from: a.from.min(b.from), to: a.to.max(b.to) };
        spans.reduce(joined).unwrap_or(Span::ALL)
    }

    fn touches(self, member: &Member) -> bool {
        self.from <= member.to && member.from <= self.to
    }
}

/// When a target's events of a batch happened, and what is told of others; whether bytes are there.
#[derive(Default)]
struct Times {
    spans: Vec<Span>,
    /// Of what sightings and amendments are about.
    told: Vec<Span>,
    has_quarantine: bool,
}

/// Where in a segment to look.
#[derive(Default)]
struct Places {
    accesses: Vec<Stretch>,
    quarantine: Vec<Range<usize>>,
    told: Vec<Stretch>,
}

impl Places {
    fn is_empty(&self) -> bool {
        self.accesses.is_empty() && self.quarantine.is_empty() && self.told.is_empty()
    }
}

impl<'a> Search<'a> {
    fn new(
        keys: &'a Keys,
        disk: &'a dyn Disk,
        dir: &'a Path,
        (log, from): (&'a LogState, Seq),
        own: &'a [Range<Seq>],
        wanted: &[Wanted<'_>],
    ) -> Search<'a> {
        let has_ones =
            wanted.iter().any(|(hash, fact)| matches!(fact, Fact::Access(_)) && is_one(*hash));
        Search { keys, disk, dir, log, own, from, has_ones, ones: RefCell::default() }
    }

    fn counts_as_stored(&self, hash: Hash128, seq: Seq) -> bool {
        if seq < self.from || contains(&self.log.retracted, seq) {
            return false;
        }
        if is_one(hash) && self.has_ones {
            let mut ones = self.ones.borrow_mut();
            let first = ones.entry(hash).or_insert(seq);
            *first = seq.min(*first);
            return true;
        }
        !contains(self.own, seq)
    }

    fn count_in_memory(
        &self,
        index: &LogIndex,
        end: Seq,
        wanted: &[Wanted<'_>],
        counts: &mut ByHash<u32>,
    ) {
        if index.rows.last().is_none_or(|last| last.seq < self.from) {
            return;
        }
        for (hash, _) in wanted {
            let seqs =
                index.seqs(*hash).filter(|seq| *seq < end && self.counts_as_stored(*hash, *seq));
            let count = seqs.count() as u32;
            if count > 0 {
                counts.insert(*hash, count);
            }
        }
    }

    fn count_in_segments(
        &self,
        wanted: &[Wanted<'_>],
        counts: &mut ByHash<u32>,
    ) -> Result<(), Error> {
        let places = self.places(wanted);
        if places.is_empty() {
            return Ok(());
        }
        let mut found: ByHash<u32> = wanted.iter().map(|(hash, _)| (*hash, 0)).collect();
        for (segment, places) in places {
            self.count(segment, places, &mut found)?;
        }
        for (hash, count) in found.into_iter().filter(|(_, count)| *count > 0) {
            *counts.entry(hash).or_default() += count;
        }
        Ok(())
    }

    /// The stretches of segments in which equal rows may lie.
    fn places(&self, wanted: &[Wanted<'_>]) -> Vec<(&'a Segment, Places)> {
        let mut all_places = Vec::new();
        let (mut span, mut times) = (None, None);
        for segment in &self.log.segments {
            let meta = &segment.meta;
            let all = meta.first_seq..meta.last_seq + 1;
            let is_own = !self.has_ones && covers(self.own, &all);
            if all.end <= self.from || is_own || covers(&self.log.retracted, &all) {
                continue;
            }
            // Most segments are older than all that comes, which needs no look at each target.
            let span = span.get_or_insert_with(|| Span::of_all(wanted));
            if !meta.members.iter().any(|member| span.touches(member)) {
                continue;
            }
            let times = times.get_or_insert_with(|| times_of(wanted));
            let mut next = 0;
            let mut places = Places::default();
            for member in &meta.members {
                let rows = next..next + member.rows as usize;
                next = rows.end;
                let Some(times) = times.get(&(&*member.group, &*member.member)) else { continue };
                if times.has_quarantine && member.kinds & 1 << kind::QUARANTINE != 0 {
                    // Their time is when they were received, which says nothing.
                    places.quarantine.push(rows.clone());
                }
                let stretches = |spans: &[Span]| -> Vec<Stretch> {
                    let spans = spans.iter().filter(|span| span.touches(member));
                    spans.map(|span| (rows.clone(), *span)).collect()
                };
                if member.kinds & 1 << kind::ACCESS != 0 {
                    places.accesses.extend(stretches(&times.spans));
                }
                if member.kinds & (1 << kind::SIGHTING | 1 << kind::AMENDMENT) != 0 {
                    places.told.extend(stretches(&times.told));
                }
            }
            if !places.is_empty() {
                all_places.push((&**segment, places));
            }
        }
        all_places
    }

    /// Counts the rows of these places that are among those asked for.
    fn count(
        &self,
        segment: &Segment,
        places: Places,
        counts: &mut ByHash<u32>,
    ) -> Result<(), Error> {
        let reader = segment.open(self.disk, self.dir)?;
        let rows = rows_of(&reader, places.accesses)?;
        // Only events of arrays need their attributes for it.
        let columns = match self.has_ones {
            true => &Columns::IDENTITY[..],
            false => &Columns::IDENTITY[..Columns::IDENTITY.len() - 1],
        };
        reader.read(columns, rows, |columns, at| {
            let (seqs, identities) = (columns.seqs()?, columns.identities(self.has_ones)?);
            for row in 0..at.len() {
                if let Some(identity) = identities(row)?
                    && let hash = self.keys.identity(&identity)
                    && let Some(count) = counts.get_mut(&hash)
                    && self.counts_as_stored(hash, seqs(row))
                {
                    *count += 1;
                }
            }
            Ok(())
        })?;
        let needed = ["kind", "cluster", "host", "seq", "attributes"];
        reader.read(&needed, places.quarantine, |columns, at| {
            let (seqs, facts) = (columns.seqs()?, columns.quarantined()?);
            let (clusters, hosts) = (columns.texts("cluster")?, columns.texts("host")?);
            for row in 0..at.len() {
                if let Some((length, sha256)) = facts(row)? {
                    let group = clusters.get(row).unwrap_or("");
                    let member = hosts.get(row).unwrap_or("");
                    let hash = self.keys.quarantine(group, member, &sha256, length);
                    if let Some(count) = counts.get_mut(&hash)
                        && self.counts_as_stored(hash, seqs(row))
                    {
                        *count += 1;
                    }
                }
            }
            Ok(())
        })?;
        self.count_told(&reader, places.told, counts)
    }

    fn count_told(
        &self,
        reader: &Reader<'_>,
        places: Vec<Stretch>,
        counts: &mut ByHash<u32>,
    ) -> Result<(), Error> {
        let mut told = Vec::new();
        reader.read(&["kind"], rows_of(reader, places)?, |columns, at| {
            let kinds = columns.kinds()?;
            let rows = at.iter().enumerate();
            let rows = rows.filter(|(n, _)| matches!(kinds(*n), kind::SIGHTING | kind::AMENDMENT));
            told.extend(rows.map(|(_, row)| *row..*row + 1));
            Ok(())
        })?;
        reader.read(&["seq", "source", "raw"], told, |columns, at| {
            let (seqs, sources, raw) = (columns.seqs()?, columns.texts("source")?, columns.raw()?);
            for row in 0..at.len() {
                let hash = self.keys.told_bytes(raw(row), sources.get(row).unwrap_or(""));
                if let Some(count) = counts.get_mut(&hash)
                    && self.counts_as_stored(hash, seqs(row))
                {
                    *count += 1;
                }
            }
            Ok(())
        })
    }
}

/// The rows of stretches that happened when what is looked for did.
fn rows_of(reader: &Reader<'_>, stretches: Vec<Stretch>) -> Result<Vec<Range<usize>>, Error> {
    let mut times = reader.column("event_time")?;
    let rows = stretches.into_iter();
    let rows = rows.map(|(rows, span)| reader.between(&mut times, rows, span.from, span.to));
    Ok(merged(rows.collect::<Result<_, _>>()?))
}

/// For each target of a batch, when its equal rows happened.
fn times_of<'b>(wanted: &[Wanted<'b>]) -> HashMap<(&'b str, &'b str), Times> {
    let mut names = Names::new();
    let mut all: Vec<Times> = Vec::new();
    for (_, fact) in wanted {
        let target = match fact {
            Fact::Access(access) => &access.target,
            Fact::Quarantine(bytes) => &bytes.target,
            Fact::Told(of, _) => &of.target,
        };
        let (group, member) = target.names();
        let number = names.number((group, member)) as usize;
        if number == all.len() {
            all.push(Times::default());
        }
        let times = &mut all[number];
        match fact {
            Fact::Quarantine(_) => times.has_quarantine = true,
            Fact::Told(of, _) => times.told.push(Span::at(of.event_time)),
            Fact::Access(access) => times.spans.push(Span::of(access)),
        }
    }
    for times in &mut all {
        join(&mut times.spans);
        join(&mut times.told);
    }
    names.all().map(|(name, number)| (name, std::mem::take(&mut all[number as usize]))).collect()
}

/// Joins spans that lie close to one another, so that a batch with one late event does not read all
/// between it and the others, and one with many does not look up each by itself.
fn join(spans: &mut Vec<Span>) {
    const SPANS_MAX: usize = 64;
    spans.sort_unstable_by_key(|span| span.from);
    let mut gap_seconds = 60;
    loop {
        spans.dedup_by(|next, last| {
            let is_close = next.from <= last.to.plus_seconds(gap_seconds);
            if is_close {
                last.to = last.to.max(next.to);
            }
            is_close
        });
        if spans.len() <= SPANS_MAX {
            return;
        }
        gap_seconds *= 4;
    }
}

/// The same rows, each once, in ascending order.
fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let touches = next.start <= last.end;
        if touches {
            last.end = last.end.max(next.end);
        }
        touches
    });
    ranges
}

/// Whether one of the ranges holds all of `rows`.
fn covers(ranges: &[Range<Seq>], rows: &Range<Seq>) -> bool {
    ranges.iter().any(|range| range.start <= rows.start && rows.end <= range.end)
}

//! Which rows match: what is skipped, what is counted as a whole, what is looked at row by row.
//!
//! An answer is found in three steps. [`View`] is what of the history may be shown at all: every
//! answer's lower bound in time, hidden rows and `as_of` pass through it. [`Scan`] finds, from the
//! catalogue, bloom filters and page indexes, the [`Piece`]s of segments in which rows may match; only
//! the pages at the two ends of a time range are opened for it. A [`Matcher`] then tells of a piece
//! which rows match, column by column: a condition is decided once for each text of a dictionary, and
//! for rows by their numbers.

use std::collections::HashSet;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use doorbook_event::{Classes, LogId, Peer, Seq, Text, Timestamp};
use memchr::memmem::Finder;

use crate::cache::Cache;
use crate::disk::Disk;
use crate::error::Error;
use crate::filter::{Alternatives, AsOf, Filter, Kind, PeerIs, PrincipalIs, TextIs};
use crate::joined::Amended;
use crate::memtable::{Row, kind};
use crate::row_key::WantedKeys;
use crate::segment::{
    Column, Dictionary, Ids, Member, Reader, Segment, SegmentMeta, UNIX_SOCKET, peer,
};
use crate::select::{known_database, matches};
use crate::state::{LogState, State, contains};

/// What of a log an answer may show.
pub(crate) struct View<'a> {
    /// What is asked for; its `from` is not before what may be answered at all.
    pub(crate) filter: Filter,
    pub(crate) id: LogId,
    pub(crate) log: &'a LogState,
    /// The state that the answer is taken from.
    pub(crate) as_of: AsOf,
    /// Only positions below are part of that state.
    bound: Seq,
    /// Positions below were answered at the earlier state that is asked from.
    floor: Seq,
}

impl<'a> View<'a> {
    /// Every answer begins here. An error is the state of a history without any row.
    pub(crate) fn new(state: &'a State, filter: &Filter, now: Timestamp) -> Result<View<'a>, AsOf> {
        let as_of = filter.as_of.clone().unwrap_or_else(|| state.as_of(&filter.scope));
        let Some((id, log)) = state.log(&filter.scope) else { return Err(as_of) };
        let end = |of: &AsOf| of.iter().find(|(of, _)| *of == id).map_or(0, |(_, end)| *end);
        let (bound, floor) = (end(&as_of), filter.since.as_ref().map_or(0, end));
        let from = filter.from.max(state.retention_start(&filter.scope, now));
        Ok(View { filter: Filter { from, ..filter.clone() }, id, log, as_of, bound, floor })
    }

    /// The rows in memory that match, without those that are completed first.
    pub(crate) fn in_memory(&self, amended: &Amended) -> impl Iterator<Item = &'a Row> {
        let rows = self.log.memtable.rows_of(WantedKeys::new(&self.filter));
        rows.filter(|row| {
            self.asks_for(row.seq) && matches(row, &self.filter) && !amended.contains(row.seq)
        })
    }

    pub(crate) fn shows(&self, seq: Seq) -> bool {
        seq < self.bound
            && !contains(&self.log.retracted, seq)
            && !self.log.is_resolved(seq, self.bound)
    }

    /// Whether a row of itself may be in the answer; what was told of it since is another matter.
    fn asks_for(&self, seq: Seq) -> bool {
        self.floor <= seq && self.shows(seq)
    }

    /// Whether this, or what told of it, is later than the state that is asked from.
    pub(crate) fn is_since(&self, seq: Seq) -> bool {
        self.floor <= seq
    }

    pub(crate) fn shows_nothing_of(&self, meta: &SegmentMeta) -> bool {
        let covers = |rows: &Range<Seq>| rows.start <= meta.first_seq && meta.last_seq < rows.end;
        meta.first_seq >= self.bound || self.log.retracted.iter().any(covers)
    }

    fn shows_all_of(&self, meta: &SegmentMeta) -> bool {
        let meets = |rows: &Range<Seq>| rows.start <= meta.last_seq && meta.first_seq < rows.end;
        self.floor <= meta.first_seq
            && meta.last_seq < self.bound
            && !self.log.retracted.iter().any(meets)
            && !self.has_resolved(meta.first_seq..=meta.last_seq)
    }

    /// Whether any of these is hidden because it was read later. No event ever is.
    fn has_resolved(&self, rows: RangeInclusive<Seq>) -> bool {
        let mut marks = self.log.resolved.range(rows).map(|(_, mark)| *mark);
        self.filter.kind == Kind::Quarantine && marks.any(|mark| mark < self.bound)
    }
}

/// Where in the segments of a log rows may match.
pub(crate) struct Scan<'a> {
    pub(crate) view: &'a View<'a>,
    /// Rows that are left out.
    amended: &'a Amended,
    /// The segments that may hold any.
    pub(crate) segments: Vec<Opened<'a>>,
    /// Newest first.
    pub(crate) pieces: Vec<Piece<'a>>,
}

/// A segment that may hold rows that match.
pub(crate) struct Opened<'a> {
    pub(crate) reader: Reader<'a>,
    shows_all: bool,
}

/// Rows of one target, sorted by time, of one page of event times.
pub(crate) struct Piece<'a> {
    /// Which of [`Scan::segments`].
    pub(crate) segment: usize,
    pub(crate) member: &'a Member,
    /// All of them are in the time range that is asked for, unless their times are tested.
    pub(crate) rows: Range<usize>,
    /// No row is earlier.
    pub(crate) earliest: Timestamp,
    /// No row is later.
    pub(crate) latest: Timestamp,
    /// Whether rows must be looked at; otherwise all of them match.
    pub(crate) is_tested: bool,
    /// Whether the times of rows must be looked at, too.
    is_time_tested: bool,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(
        view: &'a View<'a>,
        amended: &'a Amended,
        disk: &'a dyn Disk,
        dir: &Path,
        cache: &Arc<Cache>,
    ) -> Result<Scan<'a>, Error> {
        let segments = view.log.segments.iter().map(|segment| &**segment);
        Scan::of(segments, view, amended, (disk, dir, cache))
    }

    /// Of some segments of the view.
    pub(crate) fn of(
        segments: impl Iterator<Item = &'a Segment>,
        view: &'a View<'a>,
        amended: &'a Amended,
        (disk, dir, cache): (&'a dyn Disk, &Path, &Arc<Cache>),
    ) -> Result<Scan<'a>, Error> {
        let mut scan = Scan { view, amended, segments: Vec::new(), pieces: Vec::new() };
        if is_impossible(&view.filter) {
            return Ok(scan);
        }
        for segment in segments {
            if view.is_since(segment.meta.last_seq) && !view.shows_nothing_of(&segment.meta) {
                scan.add(segment, disk, dir, cache)?;
            }
        }
        scan.pieces.sort_by_key(|piece| (std::cmp::Reverse(piece.latest), piece.rows.start));
        Ok(scan)
    }

    fn add(
        &mut self,
        segment: &'a Segment,
        disk: &'a dyn Disk,
        dir: &Path,
        cache: &Arc<Cache>,
    ) -> Result<(), Error> {
        let filter = &self.view.filter;
        let stretches: Vec<_> = stretches(&segment.meta, filter).collect();
        if stretches.is_empty() {
            return Ok(());
        }
        let reader = segment.open_cached(disk, dir, Arc::clone(cache))?;
        if !may_hold(&reader, filter)? {
            return Ok(());
        }
        let SegmentMeta { first_seq, last_seq, .. } = segment.meta;
        let shows_all =
            self.view.shows_all_of(&segment.meta) && !self.amended.meets(first_seq, last_seq);
        let wanted = kinds(filter.kind);
        let mut times = reader.column("event_time")?;
        for (member, rows) in stretches {
            let is_tested = !shows_all || tests_columns(filter) || member.kinds & !wanted != 0;
            let is_inside = filter.from <= member.from && member.to <= filter.to;
            // Where other conditions may leave few rows, or none, the times of those are looked at
            // last; elsewhere the range's ends say which rows match without looking at any.
            let rows = match is_inside || is_tested {
                true => rows,
                false => reader.between(&mut times, rows, filter.from, filter.to)?,
            };
            let pages = reader.time_pages(rows).map(|page| Piece {
                segment: self.segments.len(),
                member,
                rows: page.rows,
                earliest: page.earliest.max(member.from),
                latest: page.latest.min(member.to),
                is_tested,
                is_time_tested: false,
            });
            let pages = pages.filter(|p| filter.from <= p.latest && p.earliest <= filter.to);
            self.pieces.extend(pages.map(|piece| Piece {
                earliest: piece.earliest.max(filter.from),
                latest: piece.latest.min(filter.to),
                is_time_tested: is_tested
                    && (piece.earliest < filter.from || filter.to < piece.latest),
                ..piece
            }));
        }
        drop(times);
        self.segments.push(Opened { reader, shows_all });
        Ok(())
    }

    /// A scan that will read so many columns, and leaves the cache as it is if it could not hold them:
    /// each page would throw out one that the next scan needs first.
    pub(crate) fn of_columns(mut self, count: usize) -> Scan<'a> {
        /// Of a row in a column: texts take one or two, times eight.
        const SIZE_BYTES: usize = 2;
        let rows: usize = self.pieces.iter().map(|piece| piece.rows.len()).sum();
        for opened in &mut self.segments {
            opened.reader.reads(rows.saturating_mul(count * SIZE_BYTES));
        }
        self
    }

    /// Hands every piece to one of a few workers and returns them. Small scans have one; a large one
    /// shares the work among threads, since columns must be decompressed.
    pub(crate) fn work<'s, W: Send>(
        &'s self,
        new: impl Fn() -> W + Sync,
        each: impl Fn(&mut W, &mut Matchers<'s, 'a>, &'s Piece<'a>) -> Result<(), Error> + Sync,
    ) -> Result<Vec<W>, Error> {
        let next = AtomicUsize::new(0);
        let run = || {
            let mut worker = new();
            let mut matchers = Matchers::new(self);
            while let Some(first) = Some(next.fetch_add(PIECES_PER_TURN, Ordering::Relaxed))
                .filter(|first| *first < self.pieces.len())
            {
                for piece in self.pieces[first..].iter().take(PIECES_PER_TURN) {
                    each(&mut worker, &mut matchers, piece)?;
                }
            }
            Ok(worker)
        };
        let tested = self.pieces.iter().filter(|piece| piece.is_tested);
        let rows: usize = tested.map(|piece| piece.rows.len()).sum();
        let count = if rows >= ROWS_PER_THREAD * 2 { threads() } else { 1 };
        in_parallel(&vec![(); count], |()| run()).into_iter().collect()
    }
}

/// How many threads may work on one answer.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get()).min(THREADS_MAX)
}

/// Does something for each part, each on a thread; the first on this one.
pub(crate) fn in_parallel<P: Sync, R: Send>(parts: &[P], run: impl Fn(&P) -> R + Sync) -> Vec<R> {
    let Some((first, others)) = parts.split_first() else { return Vec::new() };
    let run = &run;
    std::thread::scope(|scope| {
        let helpers: Vec<_> = others.iter().map(|part| scope.spawn(move || run(part))).collect();
        let mut results = vec![run(first)];
        for helper in helpers {
            let result = helper.join();
            results.push(result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results
    })
}

/// A turn is long beside taking it and short beside the whole.
const PIECES_PER_TURN: usize = 8;

/// Looking at so many rows takes much longer than starting a thread.
const ROWS_PER_THREAD: usize = 64_000;

/// One answer must not take all of a large machine.
const THREADS_MAX: usize = 4;

/// The stretches of a segment that may hold rows of a filter, by the catalogue.
fn stretches<'a>(
    meta: &'a SegmentMeta,
    filter: &Filter,
) -> impl Iterator<Item = (&'a Member, Range<usize>)> {
    let wanted = kinds(filter.kind);
    let mut next = 0;
    let all = meta.members.iter().map(move |member| {
        let rows = next..next + member.rows as usize;
        next = rows.end;
        (member, rows)
    });
    all.filter(move |(member, _)| {
        member.kinds & wanted != 0
            && filter.from <= member.to
            && member.from <= filter.to
            && filter.is_target((&member.group, &member.member))
    })
}

/// The wanted kinds as bits.
fn kinds(kind: Kind) -> u64 {
    match kind {
        Kind::Access => 1 << kind::ACCESS | 1 << kind::OWN,
        Kind::Quarantine => 1 << kind::QUARANTINE,
    }
}

/// Whether no row can match, whatever there is.
fn is_impossible(filter: &Filter) -> bool {
    filter.from > filter.to || filter.kind == Kind::Quarantine && filter.wanted().test_access()
}

/// Whether a filter asks for more than kind, target and time.
fn tests_columns(filter: &Filter) -> bool {
    filter.wanted().test_columns() || filter.unwanted().test_columns()
}

/// Whether a segment may hold rows of a filter, by its bloom filters.
fn may_hold(reader: &Reader<'_>, filter: &Filter) -> Result<bool, Error> {
    let any = |column: &str, values: Option<Vec<String>>| -> Result<bool, Error> {
        let Some(values) = values.filter(|values| !values.is_empty()) else { return Ok(true) };
        for value in values {
            if reader.may_hold(column, &value)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    // `None`: one of the alternatives is of no single value.
    let names = filter.principals.iter().map(|wanted| Some(wanted.exactly()?.to_string()));
    let addresses = filter.peers.iter().map(single_address);
    let tasks = filter.task_ids.iter().map(|task| Some(task.exactly()?.to_string()));
    Ok(any("principal", names.collect())?
        && any("address", addresses.collect())?
        && any("task_id", tasks.collect())?)
}

/// A matcher for each segment of a scan, made when it is first needed.
pub(crate) struct Matchers<'s, 'a> {
    scan: &'s Scan<'a>,
    by_segment: Vec<Option<Matcher<'s>>>,
}

impl<'s, 'a> Matchers<'s, 'a> {
    fn new(scan: &'s Scan<'a>) -> Matchers<'s, 'a> {
        let by_segment = scan.segments.iter().map(|_| None).collect();
        Matchers { scan, by_segment }
    }

    pub(crate) fn of(&mut self, piece: &Piece<'_>) -> Result<&mut Matcher<'s>, Error> {
        let slot = &mut self.by_segment[piece.segment];
        if slot.is_none() {
            *slot = Some(Matcher::new(self.scan, &self.scan.segments[piece.segment])?);
        }
        Ok(slot.as_mut().expect("it was just made"))
    }
}

/// Tells which rows of a segment match.
pub(crate) struct Matcher<'s> {
    tests: Vec<Test<'s>>,
    times: Column<'s>,
    from: Timestamp,
    to: Timestamp,
    /// For each row of the last piece 1 if it matches, otherwise 0.
    mask: Vec<u8>,
}

impl<'s> Matcher<'s> {
    fn new(scan: &'s Scan<'_>, opened: &'s Opened<'_>) -> Result<Matcher<'s>, Error> {
        let (view, reader) = (scan.view, &opened.reader);
        let filter = &view.filter;
        let mut tests = Vec::new();
        if !opened.shows_all {
            let seqs = reader.column("seq")?;
            let base = reader.base_seq();
            tests.push(Test::numbers(seqs, move |seq| {
                let seq = seq.map(|seq| base.saturating_add(seq as u64));
                seq.is_some_and(|seq| view.asks_for(seq) && !scan.amended.contains(seq))
            }));
        }
        let wanted = kinds(filter.kind);
        tests.push(Test::numbers(reader.column("kind")?, move |kind| {
            kind.is_some_and(|kind| (0..64).contains(&kind) && wanted >> kind & 1 == 1)
        }));
        tests.extend(Conditions::of(filter, reader)?.0);
        let times = reader.column("event_time")?;
        Ok(Matcher { tests, times, from: filter.from, to: filter.to, mask: Vec::new() })
    }

    /// For each row of a piece 1 if it matches, otherwise 0, and how many do; no list if all do.
    pub(crate) fn matching(&mut self, piece: &Piece<'_>) -> Result<(Option<&[u8]>, u64), Error> {
        let all = piece.rows.len() as u64;
        if !piece.is_tested {
            return Ok((None, all));
        }
        self.mask.clear();
        self.mask.resize(piece.rows.len(), 1);
        let mut count = all;
        for test in &mut self.tests {
            test.apply(piece.rows.clone(), &mut self.mask)?;
            count = count_ones(&self.mask);
            if count == 0 {
                break;
            }
        }
        if piece.is_time_tested && count > 0 {
            count = self.test_times(piece.rows.clone())?;
        }
        Ok((Some(&self.mask).filter(|_| count < all).map(Vec::as_slice), count))
    }

    /// Leaves out rows before or after the time range; returns how many are left.
    fn test_times(&mut self, rows: Range<usize>) -> Result<u64, Error> {
        // Of rows that do not match nothing need be known.
        let is_one = |one: &u8| *one == 1;
        let first = self.mask.iter().position(is_one).unwrap_or(0);
        let end = self.mask.iter().rposition(is_one).map_or(first, |last| last + 1);
        let wanted = rows.start + first..rows.start + end;
        let found = self.times.between(wanted, self.from.micros(), self.to.micros())?;
        self.mask[..found.start - rows.start].fill(0);
        self.mask[found.end - rows.start..].fill(0);
        Ok(count_ones(&self.mask))
    }
}

/// What a filter asks for beyond kind, target and time.
pub(crate) struct Conditions<'s>(Vec<Test<'s>>);

impl<'s> Conditions<'s> {
    pub(crate) fn of(filter: &'s Filter, reader: &'s Reader<'s>) -> Result<Conditions<'s>, Error> {
        // Bytes that could not be read have nothing that could leave them out.
        let unwanted = match filter.kind {
            Kind::Access => filter.unwanted(),
            Kind::Quarantine => {
                let Alternatives { sources, raw_contains, .. } = filter.unwanted();
                Alternatives { sources, raw_contains, ..UNASKED }
            }
        };
        let wanted = tests_of(filter.wanted(), reader)?;
        let mut tests: Vec<Test<'s>> = wanted.into_iter().flatten().collect();
        tests.extend(tests_of(unwanted, reader)?.into_iter().map(Test::Not));
        // Of whole records as few as possible are looked at.
        tests.extend(raw_test(&filter.raw_contains, reader)?);
        tests.extend(raw_test(unwanted.raw_contains, reader)?.map(|test| Test::Not(vec![test])));
        Ok(Conditions(tests))
    }

    /// Sets to 0 the rows that do not meet them; returns how many are left.
    pub(crate) fn leave(&mut self, rows: &Range<usize>, mask: &mut [u8]) -> Result<u64, Error> {
        for test in &mut self.0 {
            test.apply(rows.clone(), mask)?;
        }
        Ok(count_ones(mask))
    }
}

fn count_ones(mask: &[u8]) -> u64 {
    // A byte counts to 255, and many bytes at a time.
    let blocks = mask.chunks(255).map(|block| block.iter().sum::<u8>());
    blocks.map(u64::from).sum()
}

/// Says whether a row stays by its text, or by its having none.
type TextTest<'s> = Box<dyn Fn(Option<&str>) -> bool + Send + 's>;

/// Which texts, or whether none, make a row stay.
enum Passes<'s> {
    AnyOf(Vec<String>),
    Where(TextTest<'s>),
}

/// A condition on one column.
enum Test<'s> {
    Texts {
        column: Column<'s>,
        passes: Passes<'s>,
        verdicts: Option<Verdicts>,
    },
    Numbers {
        column: Column<'s>,
        passes: Box<dyn Fn(Option<i64>) -> bool + Send + 's>,
    },
    /// Any of several principals; looks at three columns.
    Principals {
        columns: [Column<'s>; 3],
        wanted: &'s [PrincipalIs],
    },
    Raw {
        column: Column<'s>,
        /// Any of them.
        finders: Vec<Finder<'s>>,
    },
    /// Rows that pass all of these do not stay.
    Not(Vec<Test<'s>>),
}

/// For each text of a dictionary, and for no text behind them, 1 if it passes and 0 if not.
struct Verdicts {
    dictionary: Arc<Dictionary>,
    verdicts: Vec<u8>,
    /// The only one that passes.
    single: Option<u32>,
    any: bool,
}

/// Looking for so many texts in a dictionary, one after the other, is quicker than looking at each of its.
const FEW_TEXTS: usize = 8;

impl Verdicts {
    fn new(dictionary: &Arc<Dictionary>, passes: &Passes<'_>) -> Verdicts {
        let verdicts: Vec<u8> = match passes {
            Passes::AnyOf(texts) if texts.len() > FEW_TEXTS => {
                let texts: HashSet<&str> = texts.iter().map(String::as_str).collect();
                let is_one = |id| dictionary.get(id).is_some_and(|text| texts.contains(text));
                (0..=dictionary.len()).map(|id| u8::from(is_one(id))).collect()
            }
            Passes::AnyOf(texts) => {
                let mut verdicts = vec![0; dictionary.len() + 1];
                let ids = texts.iter().flat_map(|text| dictionary.ids_of(text));
                ids.for_each(|id| verdicts[id] = 1);
                verdicts
            }
            Passes::Where(passes) => {
                let ids = 0..=dictionary.len();
                ids.map(|id| u8::from(passes(dictionary.get(id)))).collect()
            }
        };
        let mut passing = verdicts.iter().zip(0..).filter(|(verdict, _)| **verdict == 1);
        let first = passing.next().map(|(_, id)| id);
        let single = first.filter(|_| passing.next().is_none());
        drop(passing);
        Verdicts { dictionary: Arc::clone(dictionary), verdicts, single, any: first.is_some() }
    }

    fn apply(&self, ids: &Ids, from: usize, mask: &mut [u8]) {
        let count = mask.len();
        match ids {
            Ids::Constant(id) if self.verdicts[*id as usize] == 1 => {}
            Ids::Constant(_) => mask.fill(0),
            _ if !self.any => mask.fill(0),
            Ids::U8(ids) => self.each(&ids[from..from + count], mask),
            Ids::U16(ids) => self.each(&ids[from..from + count], mask),
            Ids::U32(ids) => self.each(&ids[from..from + count], mask),
        }
    }

    fn each<T: Copy + PartialEq + TryInto<usize> + TryFrom<u32>>(
        &self,
        ids: &[T],
        mask: &mut [u8],
    ) {
        let rows = mask.iter_mut().zip(ids);
        match self.single.and_then(|id| T::try_from(id).ok()) {
            Some(single) => rows.for_each(|(row, id)| *row &= u8::from(*id == single)),
            None => rows.for_each(|(row, id)| {
                let verdict = (*id).try_into().ok().and_then(|id| self.verdicts.get(id));
                *row &= verdict.copied().unwrap_or(0);
            }),
        }
    }
}

impl<'s> Test<'s> {
    fn texts(column: Column<'s>, passes: impl Fn(Option<&str>) -> bool + Send + 's) -> Test<'s> {
        Test::Texts { column, passes: Passes::Where(Box::new(passes)), verdicts: None }
    }

    fn any_of(column: Column<'s>, texts: Vec<String>) -> Test<'s> {
        Test::Texts { column, passes: Passes::AnyOf(texts), verdicts: None }
    }

    fn numbers(column: Column<'s>, passes: impl Fn(Option<i64>) -> bool + Send + 's) -> Test<'s> {
        Test::Numbers { column, passes: Box::new(passes) }
    }

    /// Sets to 0 what does not pass.
    fn apply(&mut self, rows: Range<usize>, mask: &mut [u8]) -> Result<(), Error> {
        let mut at = rows.start;
        while at < rows.end {
            let rest = &mut mask[at - rows.start..];
            at += match self {
                Test::Texts { column, passes, verdicts } => {
                    let (page, of) = column.texts(at)?;
                    let count = rest.len().min(of.end - at);
                    let known = verdicts.take();
                    let is_same =
                        |known: &Verdicts| Arc::ptr_eq(&known.dictionary, &page.dictionary);
                    let known = known.filter(is_same);
                    let known = known.unwrap_or_else(|| Verdicts::new(&page.dictionary, passes));
                    known.apply(&page.ids, at - of.start, &mut rest[..count]);
                    *verdicts = Some(known);
                    count
                }
                Test::Numbers { column, passes } => {
                    let (page, of) = column.ints(at)?;
                    let count = rest.len().min(of.end - at);
                    match page.constant() {
                        Some(value) if passes(value) => {}
                        Some(_) => rest[..count].fill(0),
                        None => each_left(&mut rest[..count], |n| {
                            Ok(passes(page.get(at + n - of.start)))
                        })?,
                    }
                    count
                }
                Test::Principals { columns: [kinds, names, databases], wanted } => {
                    each_left(rest, |n| {
                        let kind = text_at(kinds, at + n)?;
                        let (name, database) =
                            (text_at(names, at + n)?, text_at(databases, at + n)?);
                        Ok(wanted.iter().any(|wanted| is_principal(kind, name, database, wanted)))
                    })?;
                    rest.len()
                }
                Test::Raw { column, finders } => {
                    let (page, of) = column.bytes(at)?;
                    let count = rest.len().min(of.end - at);
                    each_left(&mut rest[..count], |n| {
                        let raw = page.get(at + n - of.start);
                        Ok(finders.iter().any(|finder| finder.find(raw).is_some()))
                    })?;
                    count
                }
                Test::Not(tests) => {
                    let mut passing = rest.to_vec();
                    for test in tests {
                        if passing.contains(&1) {
                            test.apply(at..rows.end, &mut passing)?;
                        }
                    }
                    rest.iter_mut().zip(passing).for_each(|(row, passes)| *row &= 1 - passes);
                    rest.len()
                }
            };
        }
        Ok(())
    }
}

fn text_at<'c>(column: &'c mut Column<'_>, row: usize) -> Result<Option<&'c str>, Error> {
    let (page, rows) = column.texts(row)?;
    Ok(page.get(row - rows.start))
}

/// Asks of each row that is left whether it stays.
fn each_left(
    mask: &mut [u8],
    mut stays: impl FnMut(usize) -> Result<bool, Error>,
) -> Result<(), Error> {
    for (n, row) in mask.iter_mut().enumerate() {
        if *row == 1 {
            *row = u8::from(stays(n)?);
        }
    }
    Ok(())
}

/// The text that the column of addresses has for a peer, if it is a single one.
fn single_address(peer: &PeerIs) -> Option<String> {
    match peer {
        PeerIs::Network(network) => network.single().map(|address| address.to_string()),
        PeerIs::UnixSocket => Some(UNIX_SOCKET.to_owned()),
    }
}

fn is_peer(address: Option<&str>, wanted: &[PeerIs]) -> bool {
    wanted.iter().any(|wanted| match (wanted, peer(address, None)) {
        (PeerIs::UnixSocket, Some(Peer::UnixSocket)) => true,
        (PeerIs::Network(network), Some(Peer::Ip { address, .. })) => network.contains(address),
        _ => false,
    })
}

/// For each list that is not empty the conditions that make up that a row is one of its alternatives;
/// raw bytes have [`raw_test`].
fn tests_of<'s>(of: Alternatives<'s>, reader: &'s Reader<'s>) -> Result<Vec<Vec<Test<'s>>>, Error> {
    let mut all = Vec::new();
    if !of.principals.is_empty() {
        all.push(principal_tests(of.principals, reader)?);
    }
    if !of.peers.is_empty() {
        let addresses = reader.column("address")?;
        let single = of.peers.iter().map(single_address).collect::<Option<Vec<_>>>();
        all.push(vec![match single {
            Some(texts) => Test::any_of(addresses, texts),
            None => Test::texts(addresses, move |address| is_peer(address, of.peers)),
        }]);
    }
    let lists = [
        ("task_id", of.task_ids),
        ("mechanism", of.mechanisms),
        ("source", of.sources),
        ("application", of.applications),
    ];
    for (name, allowed) in lists.into_iter().filter(|(_, allowed)| !allowed.is_empty()) {
        all.push(vec![text_test(allowed, reader.column(name)?)]);
    }
    if !of.connections.is_empty() {
        all.push(vec![Test::numbers(reader.column("connection")?, move |number| {
            number.is_some_and(|number| of.connections.contains(&(number as u64)))
        })]);
    }
    if let Some(wanted) = of.process_start {
        all.push(vec![Test::numbers(reader.column("process_start")?, move |start| {
            start == Some(wanted.micros())
        })]);
    }
    if !of.outcomes.is_empty() {
        let words = of.outcomes.iter().map(|outcome| outcome.word().to_owned());
        all.push(vec![Test::any_of(reader.column("outcome")?, words.collect())]);
    }
    if !of.actions.is_empty() {
        let words = of.actions.iter().map(|action| action.word().to_owned());
        all.push(vec![Test::any_of(reader.column("action")?, words.collect())]);
    }
    let asked = of.classes.bits();
    if asked != 0 {
        all.push(vec![Test::numbers(reader.column("classes")?, move |classes| {
            classes.unwrap_or(0) as u16 & asked != 0
        })]);
    }
    Ok(all)
}

fn raw_test<'s>(texts: &'s [Text], reader: &'s Reader<'s>) -> Result<Option<Test<'s>>, Error> {
    if texts.is_empty() {
        return Ok(None);
    }
    let finders = texts.iter().map(|text| Finder::new(text.as_bytes())).collect();
    Ok(Some(Test::Raw { column: reader.column("raw")?, finders }))
}

/// A list that says nothing.
const UNASKED: Alternatives<'static> = Alternatives {
    actions: &[],
    outcomes: &[],
    principals: &[],
    peers: &[],
    mechanisms: &[],
    applications: &[],
    task_ids: &[],
    sources: &[],
    connections: &[],
    process_start: None,
    classes: Classes::NONE,
    raw_contains: &[],
};

fn text_test<'s>(allowed: &'s [TextIs], column: Column<'s>) -> Test<'s> {
    let exactly = allowed.iter().map(|is| is.exactly().map(|text| text.to_string()));
    match exactly.collect::<Option<Vec<_>>>() {
        Some(texts) => Test::any_of(column, texts),
        None => Test::texts(column, move |text| allowed.iter().any(|is| is.fits(text))),
    }
}

/// The conditions on principals. By names first, which are decided once for each text; kinds and
/// databases are looked at where names do not say it all, of rows that are left.
fn principal_tests<'s>(
    wanted: &'s [PrincipalIs],
    reader: &'s Reader<'s>,
) -> Result<Vec<Test<'s>>, Error> {
    let names = reader.column("principal")?;
    let exactly = wanted.iter().map(|wanted| wanted.exactly().map(|name| name.to_string()));
    let mut tests = vec![match exactly.collect::<Option<Vec<_>>>() {
        Some(texts) => Test::any_of(names, texts),
        None => Test::texts(names, move |name| {
            wanted.iter().any(|wanted| match (wanted.name(), wanted) {
                (Some(is), _) => name.is_some() && is.fits(name),
                (None, PrincipalIs::WithoutDatabase) => true,
                (None, _) => name.is_none(),
            })
        }),
    }];
    if wanted.iter().all(|wanted| matches!(wanted, PrincipalIs::Named(_))) {
        return Ok(tests);
    }
    let kinds = reader.column("principal_kind")?;
    tests.push(match wanted.iter().all(|wanted| matches!(wanted, PrincipalIs::User(_))) {
        true => Test::any_of(kinds, vec!["user".to_owned()]),
        false => {
            let columns =
                [kinds, reader.column("principal")?, reader.column("principal_database")?];
            Test::Principals { columns, wanted }
        }
    });
    Ok(tests)
}

fn is_principal(
    kind: Option<&str>,
    name: Option<&str>,
    database: Option<&str>,
    wanted: &PrincipalIs,
) -> bool {
    let is_user = kind == Some("user") && name.is_some();
    let database = known_database(database);
    match wanted {
        PrincipalIs::User(wanted) => is_user && wanted.fits(name),
        PrincipalIs::UserOf { name: wanted, database: of } => {
            is_user && wanted.fits(name) && of.fits(database)
        }
        PrincipalIs::Named(wanted) => name.is_some() && wanted.fits(name),
        PrincipalIs::WithoutDatabase => !is_user || database.is_none(),
        PrincipalIs::Unauthenticated => kind == Some("unauthenticated"),
    }
}

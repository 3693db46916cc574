//! Events joined from several records: an access with what sightings and amendments tell of it
//! (`docs/design/joined-events.md`).
//!
//! They lie beside the access: the same target, the same event time. [`Joiner::amended`] finds the
//! accesses of a window that amendments are about, and where these lie. A scan leaves them out; they
//! are built whole, completed, and put to the plain meaning of the filter. Of all other accesses only
//! those that are returned are completed ([`Joiner::complete`]).

use std::cell::OnceCell;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use doorbook_event::record::{Facts, Subject};
use doorbook_event::{LogId, Record, Scope, Seq, Text, Timestamp};

use crate::cache::Cache;
use crate::directory::segment_dir;
use crate::disk::Disk;
use crate::error::Error;
use crate::filter::{Dimension, Filter, Kind};
use crate::memtable::{Row, kind};
use crate::scan::View;
use crate::segment::{Column, Member, Reader, Segment};
use crate::select::matches;
use crate::{Inner, Placed, Sighted};

/// The accesses of a window that amendments are about.
#[derive(Default)]
pub(crate) struct Amended {
    /// By target, time and position, each once.
    accesses: Vec<(Place, At)>,
    /// Their positions, ascending.
    seqs: Vec<Seq>,
}

/// What an access is found by, in the order of segments.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    group: Text,
    member: Text,
    event_time: Timestamp,
    seq: Seq,
}

/// Where an access lies.
#[derive(Clone, Copy)]
enum At {
    InMemory,
    /// Which of the log's segments, and which of its rows.
    InSegment(usize, usize),
}

impl Amended {
    pub(crate) fn contains(&self, seq: Seq) -> bool {
        self.seqs.binary_search(&seq).is_ok()
    }

    /// Whether any is in a range of positions.
    pub(crate) fn meets(&self, first: Seq, last: Seq) -> bool {
        let at = self.seqs.partition_point(|seq| *seq < first);
        self.seqs.get(at).is_some_and(|seq| *seq <= last)
    }
}

/// Whether a filter asks for anything that an amendment can add.
pub(crate) fn depends(filter: &Filter) -> bool {
    filter.wanted().depend_on_amendments() || filter.unwanted().depend_on_amendments()
}

/// Whether an amendment can add a value of a dimension.
pub(crate) fn can_add(dimension: &Dimension) -> bool {
    match dimension {
        Dimension::Outcome
        | Dimension::Principal
        | Dimension::Database
        | Dimension::Address
        | Dimension::Mechanism
        | Dimension::Application
        | Dimension::Task => true,
        Dimension::Cluster | Dimension::Host | Dimension::Action | Dimension::Source => false,
    }
}

impl Inner {
    /// Joins what a view shows.
    pub(crate) fn joiner<'a>(&'a self, view: &'a View<'a>, dir: &'a Path) -> Joiner<'a> {
        let segments = view.log.segments.iter();
        let segments = segments.map(|segment| (&**segment, OnceCell::new())).collect();
        Joiner { view, disk: &*self.options.disk, dir, cache: &self.cache, segments }
    }

    /// The accesses of some places, each segment looked through once.
    pub(crate) fn subjects(
        &self,
        scope: &Scope,
        places: &[(LogId, Seq)],
    ) -> Result<Vec<Option<Subject>>, Error> {
        let rows = self.rows_at(scope, places)?.into_iter();
        Ok(rows.map(|row| row.and_then(|(log, row)| subject(&row, log))).collect())
    }

    /// The rows of some places that are shown, each segment looked through once.
    pub(crate) fn rows_at(
        &self,
        scope: &Scope,
        places: &[(LogId, Seq)],
    ) -> Result<Vec<Option<(LogId, Row)>>, Error> {
        let mut found = vec![None; places.len()];
        let state = self.state();
        let Ok(view) = View::new(&state, &Filter::all(scope.clone(), 0), self.options.clock.now())
        else {
            return Ok(found);
        };
        let dir = segment_dir(&self.options.data_dir);
        let joiner = self.joiner(&view, &dir);
        let mut wanted: Vec<(Seq, usize)> = Vec::new();
        for (n, (log, seq)) in places.iter().enumerate() {
            match view.log.memtable.row(*seq) {
                _ if *log != view.id || !view.shows(*seq) => {}
                Some(row) => found[n] = Some((view.id, row.clone())),
                None => wanted.push((*seq, n)),
            }
        }
        wanted.sort_unstable();
        for segment in 0..view.log.segments.len() {
            joiner.rows_at(segment, &wanted, |n, row| found[n] = Some((view.id, row)))?;
        }
        let is_kept = |(_, row): &(LogId, Row)| view.filter.from <= row.event_time();
        Ok(found.into_iter().map(|row| row.filter(is_kept)).collect())
    }
}

/// What a sighting of a row would be about; `None` if the row is no access.
pub(crate) fn subject(row: &Row, log: LogId) -> Option<Subject> {
    let access = row.access()?;
    let (target, event_time) = (access.target.clone(), access.event_time);
    Some(Subject { target, event_time, log, seq: row.seq })
}

/// Reads what belongs together.
pub(crate) struct Joiner<'a> {
    view: &'a View<'a>,
    disk: &'a dyn Disk,
    dir: &'a Path,
    cache: &'a Arc<Cache>,
    /// Of each segment its reader, once it was needed.
    segments: Vec<(&'a Segment, OnceCell<Reader<'a>>)>,
}

/// Kinds of rows as bits.
const AMENDMENTS: u64 = 1 << kind::AMENDMENT;
const TOLD: u64 = AMENDMENTS | 1 << kind::SIGHTING;
const ACCESSES: u64 = 1 << kind::ACCESS | 1 << kind::OWN;

/// Rows that are built at a time.
const ROWS_PER_STEP: usize = 1024;

impl<'a> Joiner<'a> {
    /// The accesses of the window that amendments are about. An amendment whose access is not where
    /// it says is about nothing.
    pub(crate) fn amended(&self) -> Result<Amended, Error> {
        let filter = &self.view.filter;
        if filter.kind != Kind::Access || filter.from > filter.to {
            return Ok(Amended::default());
        }
        let mut places = Vec::new();
        for row in self.view.log.memtable.told() {
            let is_inside = (filter.from..=filter.to).contains(&row.event_time())
                && filter.is_target(row.names());
            if is_inside {
                places.extend(self.amended_by(row));
            }
        }
        for n in 0..self.segments.len() {
            for (member, rows) in self.stretches(n, AMENDMENTS) {
                if filter.is_target((&member.group, &member.member)) {
                    let window = (filter.from, filter.to);
                    self.each_told(
                        n,
                        (member, rows),
                        AMENDMENTS,
                        window,
                        |_| true,
                        |row| {
                            places.extend(self.amended_by(&row));
                        },
                    )?;
                }
            }
        }
        places.sort_unstable();
        places.dedup();
        self.located(places)
    }

    /// Hands on each of these accesses, completed, if the filter asks for it then.
    pub(crate) fn each_amended(
        &self,
        amended: &Amended,
        mut each: impl FnMut(Row) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for accesses in amended.accesses.chunks(ROWS_PER_STEP) {
            let mut rows = Vec::with_capacity(accesses.len());
            let mut in_segments = vec![Vec::new(); self.segments.len()];
            for (place, at) in accesses {
                match at {
                    At::InMemory => rows.extend(self.view.log.memtable.row(place.seq).cloned()),
                    At::InSegment(segment, row) => in_segments[*segment].push(*row),
                }
            }
            for (n, numbers) in in_segments.iter().enumerate() {
                if !numbers.is_empty() {
                    self.reader(n)?.each_row(numbers, |row| rows.push(row))?;
                }
            }
            let told = self.told_of(rows.iter())?;
            for (mut row, told) in rows.into_iter().zip(told) {
                let is_old = |told: &&Told| !self.view.is_since(told.sighted.seq);
                let n_old = told.iter().take_while(is_old).count();
                let (before, since) = told.split_at(n_old);
                complete(&mut row, before);
                let was_answered = !self.view.is_since(row.seq) && matches(&row, &self.view.filter);
                complete(&mut row, since);
                if !was_answered && matches(&row, &self.view.filter) {
                    each(row)?;
                }
            }
        }
        Ok(())
    }

    /// Whole rows with all that is told of them.
    pub(crate) fn complete(&self, rows: Vec<Row>) -> Result<Vec<Placed>, Error> {
        let mut told = self.told_of(rows.iter())?.into_iter();
        let mut placed = Vec::with_capacity(rows.len());
        for row in rows {
            let mut row = row.into_placed(self.view.id);
            // Without any, the list is empty.
            for Told { facts, sighted } in told.next().unwrap_or_default() {
                if let (Some(facts), Record::Access(access) | Record::Own(access)) =
                    (&facts, &mut row.record)
                {
                    facts.complete(access);
                }
                row.sightings.push(sighted);
            }
            placed.push(row);
        }
        Ok(placed)
    }

    /// For each row what is told of it, in the order in which it was; nothing at all if there is
    /// none for any.
    fn told_of<'r>(
        &self,
        rows: impl ExactSizeIterator<Item = &'r Row>,
    ) -> Result<Vec<Vec<Told>>, Error> {
        let may_have = !self.view.log.memtable.is_untold()
            || (0..self.segments.len()).any(|n| self.stretches(n, TOLD).next().is_some());
        if !may_have {
            return Ok(Vec::new());
        }
        let mut told: Vec<Vec<Told>> = vec![Vec::new(); rows.len()];
        let accesses = rows.enumerate().filter(|(_, row)| row.access().is_some());
        let mut wanted: Vec<(Place, usize)> = accesses
            .map(|(n, row)| (Place::of(row.names(), row.event_time(), row.seq), n))
            .collect();
        wanted.sort_unstable();
        let mut add = |row: &Row| {
            let Some(of) = self.shown_subject(row) else { return };
            let (group, member) = of.target.names();
            let place = Place::of((group, member), of.event_time, of.seq);
            if let Ok(at) = wanted.binary_search_by(|(known, _)| known.cmp(&place)) {
                told[wanted[at].1].extend(Told::new(row, self.view.id));
            }
        };
        self.view.log.memtable.told().for_each(&mut add);
        for n in 0..self.segments.len() {
            for (member, rows) in self.stretches(n, TOLD) {
                let of_member = of_member(&wanted, member, |(place, _)| place);
                let (Some((first, _)), Some((last, _))) = (of_member.first(), of_member.last())
                else {
                    continue;
                };
                let window = (first.event_time, last.event_time);
                let is_wanted = |time: Timestamp| {
                    of_member.binary_search_by(|(place, _)| place.event_time.cmp(&time)).is_ok()
                };
                self.each_told(n, (member, rows), TOLD, window, is_wanted, |row| add(&row))?;
            }
        }
        for told in &mut told {
            told.sort_unstable_by_key(|told| told.sighted.seq);
        }
        Ok(told)
    }

    /// Where accesses lie; those that are nowhere, or not shown, are left out.
    fn located(&self, places: Vec<Place>) -> Result<Amended, Error> {
        let mut found: Vec<Option<At>> = vec![None; places.len()];
        for (place, at) in places.iter().zip(&mut found) {
            let row = self.view.log.memtable.row(place.seq).filter(|row| {
                let names = (&*place.group, &*place.member);
                row.access().is_some()
                    && (row.names(), row.event_time()) == (names, place.event_time)
            });
            *at = row.map(|_| At::InMemory);
        }
        for n in 0..self.segments.len() {
            for (member, rows) in self.stretches(n, ACCESSES) {
                let of_member = of_member_range(&places, member, |place| place);
                let of_member = (&places[of_member.clone()], &mut found[of_member]);
                self.locate_in(n, rows, of_member)?;
            }
        }
        let found = places.into_iter().zip(found);
        let accesses: Vec<_> = found.filter_map(|(place, at)| Some((place, at?))).collect();
        let mut seqs: Vec<Seq> = accesses.iter().map(|(place, _)| place.seq).collect();
        seqs.sort_unstable();
        Ok(Amended { accesses, seqs })
    }

    /// Finds places of one target, which are sorted by time and position, in its rows, which are too.
    fn locate_in(
        &self,
        n: usize,
        mut rows: Range<usize>,
        (places, found): (&[Place], &mut [Option<At>]),
    ) -> Result<(), Error> {
        let meta = &self.segments[n].0.meta;
        let is_inside = |place: &Place| (meta.first_seq..=meta.last_seq).contains(&place.seq);
        if !places.iter().any(is_inside) {
            return Ok(());
        }
        let reader = self.reader(n)?;
        let (mut times, mut seqs) = (reader.column("event_time")?, reader.column("seq")?);
        let mut kinds = reader.column("kind")?;
        for (place, at) in places.iter().zip(found) {
            if !is_inside(place) {
                continue;
            }
            let same =
                reader.between(&mut times, rows.clone(), place.event_time, place.event_time)?;
            rows.start = same.start;
            let mut seq_of = |row| -> Result<Seq, Error> {
                let seq = number_at(&mut seqs, row)?.unwrap_or(0);
                Ok(reader.base_seq().saturating_add(seq as u64))
            };
            let (mut row, mut end) = (same.start, same.end);
            while row < end {
                let middle = row + (end - row) / 2;
                match seq_of(middle)? < place.seq {
                    true => row = middle + 1,
                    false => end = middle,
                }
            }
            let is_it = row < same.end && seq_of(row)? == place.seq;
            if is_it && is_of(number_at(&mut kinds, row)?, ACCESSES) {
                *at = Some(At::InSegment(n, row));
            }
        }
        Ok(())
    }

    /// Hands on rows of one target's stretch that are of some kinds and times.
    fn each_told(
        &self,
        n: usize,
        (member, rows): (&Member, Range<usize>),
        wanted: u64,
        (from, to): (Timestamp, Timestamp),
        is_wanted: impl Fn(Timestamp) -> bool,
        mut each: impl FnMut(Row),
    ) -> Result<(), Error> {
        if to < member.from || member.to < from {
            return Ok(());
        }
        let reader = self.reader(n)?;
        let (mut kinds, mut times) = (reader.column("kind")?, reader.column("event_time")?);
        let rows = reader.between(&mut times, rows, from, to)?;
        let mut numbers = Vec::new();
        let mut at = rows.start;
        while at < rows.end {
            let (page, of) = kinds.ints(at)?;
            let end = of.end.min(rows.end);
            let is_told = |row: &usize| is_of(page.get(row - of.start), wanted);
            let is_none = page.constant().is_some_and(|kind| !is_of(kind, wanted));
            let told = (at..end).take_while(|_| !is_none).filter(is_told);
            for row in told {
                let time = number_at(&mut times, row)?.unwrap_or(0);
                if is_wanted(Timestamp::from_micros(time)) {
                    numbers.push(row);
                }
            }
            at = end;
        }
        match numbers.is_empty() {
            true => Ok(()),
            false => reader.each_row(&numbers, &mut each),
        }
    }

    /// Hands on the rows of a segment at some positions, which ascend, each with the number beside its
    /// position.
    pub(crate) fn rows_at(
        &self,
        n: usize,
        wanted: &[(Seq, usize)],
        mut each: impl FnMut(usize, Row),
    ) -> Result<(), Error> {
        let meta = &self.segments[n].0.meta;
        let first = wanted.partition_point(|(seq, _)| *seq < meta.first_seq);
        let end = wanted.partition_point(|(seq, _)| *seq <= meta.last_seq);
        let wanted = &wanted[first..end];
        if wanted.is_empty() {
            return Ok(());
        }
        let reader = self.reader(n)?;
        let seqs: Vec<Seq> = wanted.iter().map(|(seq, _)| *seq).collect();
        let numbers = reader.rows_at(&seqs)?;
        reader.each_row(&numbers, |row| {
            let first = wanted.partition_point(|(seq, _)| *seq < row.seq);
            let same = wanted[first..].iter().take_while(|(seq, _)| *seq == row.seq);
            same.for_each(|(_, n)| each(*n, row.clone()));
        })
    }

    /// The targets of a segment that have rows of some kinds, with their rows; none if the segment
    /// has nothing to show.
    fn stretches(&self, n: usize, kinds: u64) -> impl Iterator<Item = (&'a Member, Range<usize>)> {
        let meta = &self.segments[n].0.meta;
        let mut next = 0;
        let all = meta.members.iter().map(move |member| {
            let rows = next..next + member.rows as usize;
            next = rows.end;
            (member, rows)
        });
        let is_shown = !self.view.shows_nothing_of(meta);
        all.filter(move |(member, _)| is_shown && member.kinds & kinds != 0)
    }

    fn reader(&self, n: usize) -> Result<&Reader<'a>, Error> {
        let (segment, reader) = &self.segments[n];
        match reader.get() {
            Some(reader) => Ok(reader),
            None => {
                let opened = segment.open_cached(self.disk, self.dir, Arc::clone(self.cache))?;
                Ok(reader.get_or_init(|| opened))
            }
        }
    }

    /// What a row is about, if both may be shown.
    fn shown_subject<'r>(&self, row: &'r Row) -> Option<&'r Subject> {
        let of = row.record.subject().filter(|of| of.log == self.view.id)?;
        (self.view.shows(row.seq) && self.view.shows(of.seq)).then_some(of)
    }

    fn amended_by(&self, row: &Row) -> Option<Place> {
        let of = self.shown_subject(row).filter(|_| row.kind() == kind::AMENDMENT)?;
        let (group, member) = of.target.names();
        Some(Place::of((group, member), of.event_time, of.seq))
    }
}

impl Place {
    fn of((group, member): (&str, &str), event_time: Timestamp, seq: Seq) -> Place {
        Place { group: group.into(), member: member.into(), event_time, seq }
    }
}

/// What a sighting or an amendment tells.
#[derive(Clone, Debug)]
struct Told {
    facts: Option<Facts>,
    sighted: Sighted,
}

impl Told {
    /// `None` for any other row.
    fn new(row: &Row, log: LogId) -> Option<Told> {
        let (facts, event_time) = match &row.record {
            Record::Sighting(sighting) => (None, Some(sighting.event_time)),
            Record::Amendment(amendment) => (Some(amendment.facts.clone()), amendment.event_time),
            _ => return None,
        };
        let Row { seq, ingest_time, ref source, .. } = *row;
        let amends = facts.is_some();
        let source = source.clone();
        Some(Told { facts, sighted: Sighted { log, seq, ingest_time, source, event_time, amends } })
    }
}

/// Adds to an access what is told of it.
fn complete(row: &mut Row, told: &[Told]) {
    if let Record::Access(access) | Record::Own(access) = &mut row.record {
        told.iter().filter_map(|told| told.facts.as_ref()).for_each(|facts| facts.complete(access));
    }
}

/// Of a list that is sorted by place, what is of one target.
fn of_member<'l, T>(list: &'l [T], member: &Member, place: impl Fn(&T) -> &Place) -> &'l [T] {
    &list[of_member_range(list, member, place)]
}

fn of_member_range<T>(list: &[T], member: &Member, place: impl Fn(&T) -> &Place) -> Range<usize> {
    let names = (&member.group, &member.member);
    let of = |one: &T| {
        let place = place(one);
        (&place.group, &place.member).cmp(&names)
    };
    let start = list.partition_point(|one| of(one).is_lt());
    start..list.partition_point(|one| of(one).is_le())
}

fn number_at(column: &mut Column<'_>, row: usize) -> Result<Option<i64>, Error> {
    let (page, rows) = column.ints(row)?;
    Ok(page.get(row - rows.start))
}

fn is_of(kind: Option<i64>, kinds: u64) -> bool {
    kind.is_some_and(|kind| (0..64).contains(&kind) && kinds >> kind & 1 == 1)
}

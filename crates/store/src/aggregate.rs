//! Counts of the rows that match: by value, by time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use ahash::RandomState;
use doorbook_event::{Access, Peer, Principal, Text, Timestamp};

use crate::Inner;
use crate::directory::segment_dir;
use crate::error::{Error, ErrorKind};
use crate::filter::{AsOf, Bar, Cut, Dimension, Filter, OutcomeKind, Overview, Top};
use crate::joined::{self, Amended};
use crate::memtable::Row;
use crate::scan::{Opened, Piece, Scan, View, in_parallel};
use crate::segment::{Column, Dictionary, Ids, UNIX_SOCKET, partition_point};

impl Inner {
    /// One [`Top`] for each dimension and the bars of a cut, if there is one, from one pass over the rows.
    pub(crate) fn overview(
        &self,
        filter: &Filter,
        cut: Option<&Cut<'_>>,
        (dimensions, limit): (&[Dimension], usize),
    ) -> Result<Overview, Error> {
        let state = self.state();
        let view = match View::new(&state, filter, self.options.clock.now()) {
            Ok(view) => view,
            Err(as_of) => return Ok(Overview::none(dimensions, &as_of)),
        };
        let dir = segment_dir(&self.options.data_dir);
        let joiner = self.joiner(&view, &dir);
        let tells_outcomes = cut.is_some() || dimensions.iter().any(joined::can_add);
        let amended = match joined::depends(filter) || tells_outcomes {
            true => joiner.amended()?,
            false => Amended::default(),
        };
        let scan = Scan::new(&view, &amended, &*self.options.disk, &dir, &self.cache)?;
        // Times and outcomes have a bar, and each dimension a column.
        let scan = scan.of_columns(dimensions.len() + 2 * usize::from(cut.is_some()));
        let new = || Counts::new(&scan, cut, dimensions);
        let workers = scan.work(new, |counts, matchers, piece| {
            let (mask, count) = matchers.of(piece)?.matching(piece)?;
            match count {
                0 => Ok(()),
                _ => counts.add(&scan.segments[piece.segment], piece, mask, count),
            }
        })?;
        let mut all = new();
        for row in view.in_memory(&amended) {
            all.add_row(row)?;
        }
        joiner.each_amended(&amended, |row| all.add_row(&row))?;
        for worker in workers {
            all.merge(worker)?;
        }
        Ok(all.finish(limit, &view.as_of))
    }
}

impl Overview {
    fn none(dimensions: &[Dimension], as_of: &AsOf) -> Overview {
        let top = |_| Top { values: Vec::new(), distinct: 0, total: 0, as_of: as_of.clone() };
        let tops = dimensions.iter().map(top).collect();
        Overview { tops, bars: Vec::new(), total: 0, as_of: as_of.clone() }
    }
}

/// What is counted of the rows that match.
struct Counts<'s, 'c> {
    total: u64,
    tallies: Vec<Tally<'s>>,
    bars: Option<Bars<'c>>,
}

impl<'s, 'c> Counts<'s, 'c> {
    fn new(scan: &Scan<'_>, cut: Option<&'c Cut<'c>>, dimensions: &[Dimension]) -> Counts<'s, 'c> {
        let tally = |dimension: &Dimension| Tally {
            dimension: *dimension,
            columns: scan.segments.iter().map(|_| None).collect(),
            by_dictionary: Vec::new(),
            by_text: HashMap::default(),
        };
        let bars = cut.map(|cut| Bars { cut, bars: BTreeMap::new() });
        Counts { total: 0, tallies: dimensions.iter().map(tally).collect(), bars }
    }

    fn add_row(&mut self, row: &Row) -> Result<(), Error> {
        self.total += 1;
        for tally in &mut self.tallies {
            *tally.by_text.entry(value_of(row, tally.dimension)).or_default() += 1;
        }
        self.bars.as_mut().map_or(Ok(()), |bars| bars.add_row(row))
    }

    fn add(
        &mut self,
        opened: &'s Opened<'_>,
        piece: &Piece<'_>,
        mask: Option<&[u8]>,
        count: u64,
    ) -> Result<(), Error> {
        self.total += count;
        for tally in &mut self.tallies {
            tally.add(opened, piece, mask, count)?;
        }
        self.bars.as_mut().map_or(Ok(()), |bars| bars.add(opened, piece, mask))
    }

    fn merge(&mut self, other: Counts<'s, 'c>) -> Result<(), Error> {
        self.total += other.total;
        for (tally, other) in self.tallies.iter_mut().zip(other.tallies) {
            tally.merge(other);
        }
        match (&mut self.bars, other.bars) {
            (Some(bars), Some(other)) => bars.merge(&other),
            _ => Ok(()),
        }
    }

    fn finish(self, limit: usize, as_of: &AsOf) -> Overview {
        let total = self.total;
        // Where there are many values, putting those of all segments together takes a while.
        let tops = in_parallel(&self.tallies, |tally| tally.top(limit, total, as_of));
        let bars = self.bars.map_or_else(Vec::new, Bars::finish);
        Overview { tops, bars, total, as_of: as_of.clone() }
    }
}

/// Counts by value of one dimension.
struct Tally<'s> {
    dimension: Dimension,
    /// For each segment its column, once it is read.
    columns: Vec<Option<Column<'s>>>,
    /// For each text of a dictionary, and for no text behind them, how many rows have it.
    by_dictionary: Vec<(Arc<Dictionary>, Vec<u64>)>,
    /// Values of rows in memory, of pages without a dictionary, and of targets.
    by_text: HashMap<Option<Text>, u64, RandomState>,
}

impl<'s> Tally<'s> {
    fn add(
        &mut self,
        opened: &'s Opened<'_>,
        piece: &Piece<'_>,
        mask: Option<&[u8]>,
        count: u64,
    ) -> Result<(), Error> {
        let Some(name) = column_of(self.dimension) else {
            let of_group = self.dimension == Dimension::Cluster;
            let name = if of_group { &piece.member.group } else { &piece.member.member };
            return self.add_text(name, count);
        };
        let mut column = match self.columns[piece.segment].take() {
            Some(column) => column,
            None => opened.reader.column(name)?,
        };
        let mut at = piece.rows.start;
        while at < piece.rows.end {
            let (page, of) = column.texts(at)?;
            let end = of.end.min(piece.rows.end);
            let part = mask.map(|mask| &mask[at - piece.rows.start..end - piece.rows.start]);
            let rows = at - of.start..end - of.start;
            if page.is_plain {
                for row in rows.filter(|row| part.is_none_or(|part| part[row + of.start - at] == 1))
                {
                    *self.by_text.entry(page.shared(row)).or_default() += 1;
                }
            } else {
                count_ids(&page.ids, rows, part, self.counts_of(&page.dictionary));
            }
            at = end;
        }
        self.columns[piece.segment] = Some(column);
        Ok(())
    }

    fn add_text(&mut self, text: &Text, count: u64) -> Result<(), Error> {
        *self.by_text.entry(Some(text.clone())).or_default() += count;
        Ok(())
    }

    fn merge(&mut self, other: Tally<'s>) {
        for (dictionary, counts) in other.by_dictionary {
            let sums = self.counts_of(&dictionary);
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        for (text, count) in other.by_text {
            *self.by_text.entry(text).or_default() += count;
        }
    }

    fn counts_of(&mut self, dictionary: &Arc<Dictionary>) -> &mut [u64] {
        let known =
            self.by_dictionary.iter().rposition(|(known, _)| Arc::ptr_eq(known, dictionary));
        let at = known.unwrap_or_else(|| {
            self.by_dictionary.push((Arc::clone(dictionary), vec![0; dictionary.len() + 1]));
            self.by_dictionary.len() - 1
        });
        &mut self.by_dictionary[at].1
    }

    /// The most frequent values.
    fn top(&self, limit: usize, total: u64, as_of: &AsOf) -> Top {
        let by_dictionary = self.by_dictionary.iter().flat_map(|(dictionary, counts)| {
            let counts = counts.iter().enumerate().filter(|(_, count)| **count > 0);
            counts.map(|(id, count)| (dictionary.get(id), *count))
        });
        let by_text = self.by_text.iter().map(|(text, count)| (text.as_deref(), *count));
        let mut values: Vec<(Option<&str>, u64)> = by_dictionary.chain(by_text).collect();
        if self.by_dictionary.len() + usize::from(!self.by_text.is_empty()) > 1 {
            let mut sums: HashMap<Option<&str>, u64, RandomState> = HashMap::default();
            for (text, count) in values {
                *sums.entry(text).or_default() += count;
            }
            values = sums.into_iter().collect();
        }
        let distinct = values.iter().filter(|(text, _)| text.is_some()).count() as u64;
        let rank = |value: &(Option<&str>, u64), other: &(Option<&str>, u64)| {
            (Reverse(value.1), value.0).cmp(&(Reverse(other.1), other.0))
        };
        if limit < values.len() {
            values.select_nth_unstable_by(limit, rank);
            values.truncate(limit);
        }
        values.sort_unstable_by(rank);
        let values = values.into_iter().map(|(text, count)| (text.map(Text::from), count));
        Top { values: values.collect(), distinct, total, as_of: as_of.clone() }
    }
}

/// Adds to the count of each id how many of some rows have it.
pub(crate) fn count_ids(ids: &Ids, rows: Range<usize>, mask: Option<&[u8]>, counts: &mut [u64]) {
    match ids {
        Ids::Constant(id) => {
            let count = match mask {
                None => rows.len() as u64,
                Some(mask) => mask.iter().map(|one| u64::from(*one)).sum(),
            };
            counts[*id as usize] += count;
        }
        Ids::U8(ids) => count_bytes(&ids[rows], mask, counts),
        Ids::U16(ids) => count_each(&ids[rows], mask, |id| counts[usize::from(*id)] += 1),
        Ids::U32(ids) => count_each(&ids[rows], mask, |id| counts[*id as usize] += 1),
    }
}

/// The same of ids of a byte. Rows often say what the one before says: each of four in a row has counts of
/// its own, so that none waits for the one before.
fn count_bytes(ids: &[u8], mask: Option<&[u8]>, counts: &mut [u64]) {
    if mask.is_some() {
        return count_each(ids, mask, |id| counts[usize::from(*id)] += 1);
    }
    let mut each = [[0_u32; 256]; 4];
    let (fours, rest) = ids.as_chunks::<4>();
    for four in fours {
        (0..4).for_each(|n| each[n][usize::from(four[n])] += 1);
    }
    rest.iter().for_each(|id| each[0][usize::from(*id)] += 1);
    for (id, count) in counts.iter_mut().enumerate().take(256) {
        *count += each.iter().map(|counts| u64::from(counts[id])).sum::<u64>();
    }
}

/// Calls `count` for each id that the mask leaves.
fn count_each<T>(ids: &[T], mask: Option<&[u8]>, mut count: impl FnMut(&T)) {
    let Some(mask) = mask else { return ids.iter().for_each(count) };
    // Eight rows at a time: mostly few of them match.
    let (words, rest) = mask.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let mut left = u64::from_le_bytes(*word);
        while left != 0 {
            count(&ids[8 * n + left.trailing_zeros() as usize / 8]);
            left &= left - 1;
        }
    }
    let last = ids[8 * words.len()..].iter().zip(rest);
    last.filter(|(_, one)| **one == 1).for_each(|(id, _)| count(id));
}

/// Counts by time and outcome.
struct Bars<'c> {
    cut: &'c Cut<'c>,
    /// By what the stretches of time are called.
    bars: BTreeMap<Timestamp, [u64; 3]>,
}

/// 100,000 bars are more than any screen has, and a few megabytes.
const BARS_MAX: usize = 100_000;

impl Bars<'_> {
    fn bar(&mut self, from: Timestamp) -> Result<&mut [u64; 3], Error> {
        if self.bars.len() >= BARS_MAX && !self.bars.contains_key(&from) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("a histogram of more than {BARS_MAX} bars; make them wider"),
            ));
        }
        Ok(self.bars.entry(from).or_default())
    }

    fn add_row(&mut self, row: &Row) -> Result<(), Error> {
        let outcome = row.access().map_or(OutcomeKind::Unknown, |a| OutcomeKind::of(&a.outcome));
        let (from, _) = (self.cut)(row.event_time());
        self.bar(from)?[outcome as usize] += 1;
        Ok(())
    }

    fn add(
        &mut self,
        opened: &Opened<'_>,
        piece: &Piece<'_>,
        mask: Option<&[u8]>,
    ) -> Result<(), Error> {
        let mut times = opened.reader.column("event_time")?;
        let mut outcomes = opened.reader.column("outcome")?;
        let is_one_bar = (self.cut)(piece.earliest).1 > piece.latest;
        let mut at = piece.rows.start;
        while at < piece.rows.end {
            let (from, end) = match is_one_bar {
                true => ((self.cut)(piece.earliest).0, piece.rows.end),
                false => {
                    let (page, of) = times.ints(at)?;
                    let time =
                        |row: usize| Timestamp::from_micros(page.get(row - of.start).unwrap_or(0));
                    let ((from, next), end) = ((self.cut)(time(at)), of.end.min(piece.rows.end));
                    // The first row is in its own bar, however damaged the order is.
                    (from, partition_point(at + 1..end, |row| time(row) < next))
                }
            };
            let part = mask.map(|mask| &mask[at - piece.rows.start..end - piece.rows.start]);
            if part.is_none_or(|part| part.contains(&1)) {
                count_outcomes(&mut outcomes, at..end, part, self.bar(from)?)?;
            }
            at = end;
        }
        Ok(())
    }

    fn merge(&mut self, other: &Bars<'_>) -> Result<(), Error> {
        for (from, counts) in &other.bars {
            let bar = self.bar(*from)?;
            bar.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        Ok(())
    }

    fn finish(self) -> Vec<Bar> {
        let bar = |(from, [successes, failures, unknown]): (Timestamp, [u64; 3])| Bar {
            from,
            successes,
            failures,
            unknown,
        };
        self.bars.into_iter().map(bar).collect()
    }
}

/// Adds how rows ended to successes, failures and what is neither.
fn count_outcomes(
    column: &mut Column<'_>,
    rows: Range<usize>,
    mask: Option<&[u8]>,
    bar: &mut [u64; 3],
) -> Result<(), Error> {
    let mut at = rows.start;
    let mut counts = Vec::new();
    while at < rows.end {
        let (page, of) = column.texts(at)?;
        let end = of.end.min(rows.end);
        let part = mask.map(|mask| &mask[at - rows.start..end - rows.start]);
        counts.clear();
        counts.resize(page.dictionary.len() + 1, 0);
        count_ids(&page.ids, at - of.start..end - of.start, part, &mut counts);
        for (id, count) in counts.iter().enumerate() {
            let outcome = match page.dictionary.get(id) {
                Some("success") => OutcomeKind::Success,
                Some("failure") => OutcomeKind::Failure,
                _ => OutcomeKind::Unknown,
            };
            bar[outcome as usize] += count;
        }
        at = end;
    }
    Ok(())
}

/// Where the values of a dimension stand; `None`: they are a target's names.
pub(crate) fn column_of(dimension: Dimension) -> Option<&'static str> {
    match dimension {
        Dimension::Cluster | Dimension::Host => None,
        Dimension::Action => Some("action"),
        Dimension::Outcome => Some("outcome"),
        Dimension::Principal => Some("principal"),
        Dimension::Database => Some("principal_database"),
        Dimension::Address => Some("address"),
        Dimension::Mechanism => Some("mechanism"),
        Dimension::Application => Some("application"),
        Dimension::Task => Some("task_id"),
        Dimension::Source => Some("source"),
    }
}

/// What a row in memory has; of quarantined bytes only target and source are known.
pub(crate) fn value_of(row: &Row, dimension: Dimension) -> Option<Text> {
    let of_access = |value: fn(&Access) -> Option<Text>| row.access().and_then(value);
    match dimension {
        Dimension::Cluster => Some(row.names().0.into()),
        Dimension::Host => Some(row.names().1.into()),
        Dimension::Action => of_access(|access| Some(access.action.word().into())),
        Dimension::Outcome => of_access(|access| Some(access.outcome.word().into())),
        Dimension::Principal => of_access(|access| access.principal.name().cloned()),
        Dimension::Database => of_access(|access| match &access.principal {
            Principal::User { database, .. } => Some(database.clone()),
            Principal::OsUser { uid, .. } => Some(uid.to_string().into()),
            _ => None,
        }),
        Dimension::Address => of_access(|access| match access.peer {
            Peer::Ip { address, .. } => Some(address.to_string().into()),
            Peer::UnixSocket => Some(UNIX_SOCKET.into()),
            Peer::Unknown => None,
        }),
        Dimension::Mechanism => of_access(|access| access.mechanism.clone()),
        Dimension::Application => of_access(|access| access.client.as_deref()?.application.clone()),
        Dimension::Task => of_access(|access| access.task_id.clone()),
        Dimension::Source => Some(row.source.clone()),
    }
}

//! Who was seen, from where, with what: of each value of a dimension when it was first and last seen,
//! and how often with which outcome. Several dimensions in one pass over the rows.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use doorbook_event::{Text, Timestamp};

use crate::Inner;
use crate::aggregate::{column_of, value_of};
use crate::directory::segment_dir;
use crate::error::Error;
use crate::filter::{
    AsOf, Dimension, Filter, OutcomeKind, PrincipalIs, Rank, Seen, SeenValue, TextIs,
};
use crate::memtable::Row;
use crate::scan::{Opened, Piece, Scan, View};
use crate::segment::{Column, Dictionary, Segment};

impl Inner {
    /// One [`Seen`] for each dimension, from one pass over the rows.
    pub(crate) fn seen(
        &self,
        filter: &Filter,
        dimensions: &[Dimension],
        (rank, limit): (Rank, usize),
    ) -> Result<Vec<Seen>, Error> {
        let state = self.state();
        let view = match View::new(&state, filter, self.options.clock.now()) {
            Ok(view) => view,
            Err(as_of) => return Ok(dimensions.iter().map(|_| Seen::none(&as_of)).collect()),
        };
        let dir = segment_dir(&self.options.data_dir);
        let joiner = self.joiner(&view, &dir);
        // Outcomes are counted, which an amendment can add.
        let amended = joiner.amended()?;
        let scan = Scan::new(&view, &amended, &*self.options.disk, &dir, &self.cache)?;
        let scan = scan.of_columns(dimensions.len() + 5);
        let mut all = Sums::of(&scan, dimensions)?;
        for row in view.in_memory(&amended) {
            all.add_row(row);
        }
        joiner.each_amended(&amended, |row| {
            all.add_row(&row);
            Ok(())
        })?;
        let total = all.total;
        let seen = all.of.iter().map(|of| of.finish((rank, limit), total, &view.as_of));
        Ok(seen.collect())
    }
}

impl Inner {
    /// When each of some principals was first seen. Segments are looked at from the oldest on, and each only
    /// for those that an older row is not known of yet: mostly few segments are read, and of a name that is
    /// new the Bloom filters of the others.
    pub(crate) fn first_seen(
        &self,
        filter: &Filter,
        principals: &[Text],
    ) -> Result<HashMap<Text, Timestamp>, Error> {
        let state = self.state();
        let now = self.options.clock.now();
        let of = |names: &mut dyn Iterator<Item = &Text>| Filter {
            principals: names
                .map(|name| PrincipalIs::Named(TextIs::Exactly(name.clone())))
                .collect(),
            ..filter.clone()
        };
        let mut firsts: HashMap<Text, Timestamp> = HashMap::new();
        let Ok(view) = View::new(&state, &of(&mut principals.iter()), now) else {
            return Ok(firsts);
        };
        let dir = segment_dir(&self.options.data_dir);
        let joiner = self.joiner(&view, &dir);
        let amended = joiner.amended()?;
        let mut see = |name: Option<Text>, at: Timestamp| {
            if let Some(name) = name {
                let first = firsts.entry(name).or_insert(at);
                *first = (*first).min(at);
            }
        };
        let name_of = |row: &Row| value_of(row, Dimension::Principal);
        view.in_memory(&amended).for_each(|row| see(name_of(row), row.event_time()));
        joiner.each_amended(&amended, |row| {
            see(name_of(&row), row.event_time());
            Ok(())
        })?;
        let earliest = |segment: &Segment| segment.meta.members.iter().map(|of| of.from).min();
        let mut segments: Vec<&Segment> = view.log.segments.iter().map(|of| &**of).collect();
        segments.sort_by_key(|segment| earliest(segment));
        for segment in segments {
            let begins = earliest(segment).unwrap_or(Timestamp::MAX);
            let is_open = |name: &&Text| firsts.get(*name).is_none_or(|first| *first > begins);
            let narrowed = of(&mut principals.iter().filter(is_open));
            if narrowed.principals.is_empty() {
                break;
            }
            let Ok(view) = View::new(&state, &narrowed, now) else { break };
            let place = (&*self.options.disk, &*dir, &self.cache);
            let scan = Scan::of(std::iter::once(segment), &view, &amended, place)?;
            let sums = Sums::of(&scan, &[Dimension::Principal])?;
            let values = sums.of.iter().flat_map(SumsOf::by_value);
            for (name, sum) in values.filter_map(|(name, sum)| Some((name?, sum))) {
                let first = Timestamp::from_micros(sum.first);
                let known = firsts.entry(name.into()).or_insert(first);
                *known = (*known).min(first);
            }
        }
        Ok(firsts)
    }
}

/// What rows with a value come to.
#[derive(Clone, Copy)]
struct Sum {
    first: i64,
    last: i64,
    outcomes: [u64; 3],
}

/// No row has the value.
const UNSEEN: Sum = Sum { first: i64::MAX, last: i64::MIN, outcomes: [0; 3] };

impl Sum {
    fn add(&mut self, at: i64, outcome: OutcomeKind) {
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        self.outcomes[outcome as usize] += 1;
    }

    fn merge(&mut self, other: &Sum) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        (0..3).for_each(|outcome| self.outcomes[outcome] += other.outcomes[outcome]);
    }

    fn count(&self) -> u64 {
        self.outcomes.iter().sum()
    }
}

struct Sums<'s> {
    total: u64,
    /// For each segment its columns of times and outcomes, once they are read.
    columns: Vec<Option<(Column<'s>, Column<'s>)>>,
    of: Vec<SumsOf<'s>>,
}

impl<'s> Sums<'s> {
    /// Of the rows of a scan.
    fn of(scan: &'s Scan<'_>, dimensions: &[Dimension]) -> Result<Sums<'s>, Error> {
        let new = || Sums::new(scan, dimensions);
        let workers = scan.work(new, |sums, matchers, piece| {
            let (mask, count) = matchers.of(piece)?.matching(piece)?;
            match count {
                0 => Ok(()),
                _ => sums.add(&scan.segments[piece.segment], piece, mask, count),
            }
        })?;
        let mut all = new();
        workers.into_iter().for_each(|worker| all.merge(worker));
        Ok(all)
    }

    fn new(scan: &Scan<'_>, dimensions: &[Dimension]) -> Sums<'s> {
        let of = |dimension: &Dimension| SumsOf {
            dimension: *dimension,
            columns: scan.segments.iter().map(|_| None).collect(),
            by_dictionary: Vec::new(),
            by_text: HashMap::default(),
        };
        let columns = scan.segments.iter().map(|_| None).collect();
        Sums { total: 0, columns, of: dimensions.iter().map(of).collect() }
    }

    fn add_row(&mut self, row: &Row) {
        self.total += 1;
        let outcome = row.access().map_or(OutcomeKind::Unknown, |a| OutcomeKind::of(&a.outcome));
        for of in &mut self.of {
            let sum = of.by_text.entry(value_of(row, of.dimension)).or_insert(UNSEEN);
            sum.add(row.event_time().micros(), outcome);
        }
    }

    fn add(
        &mut self,
        opened: &'s Opened<'_>,
        piece: &Piece<'_>,
        mask: Option<&[u8]>,
        count: u64,
    ) -> Result<(), Error> {
        self.total += count;
        let (mut times, mut outcomes) = match self.columns[piece.segment].take() {
            Some(columns) => columns,
            None => (opened.reader.column("event_time")?, opened.reader.column("outcome")?),
        };
        for of in &mut self.of {
            of.add(opened, piece, mask, (&mut times, &mut outcomes))?;
        }
        self.columns[piece.segment] = Some((times, outcomes));
        Ok(())
    }

    fn merge(&mut self, other: Sums<'s>) {
        self.total += other.total;
        for (of, other) in self.of.iter_mut().zip(other.of) {
            for (dictionary, sums) in other.by_dictionary {
                let all = of.sums_of(&dictionary);
                all.iter_mut().zip(&sums).for_each(|(sum, other)| sum.merge(other));
            }
            for (text, sum) in other.by_text {
                of.by_text.entry(text).or_insert(UNSEEN).merge(&sum);
            }
        }
    }
}

/// The sums of one dimension.
struct SumsOf<'s> {
    dimension: Dimension,
    /// For each segment its column, once it is read.
    columns: Vec<Option<Column<'s>>>,
    /// For each text of a dictionary, and for no text behind them.
    by_dictionary: Vec<(Arc<Dictionary>, Vec<Sum>)>,
    /// Of rows in memory, of pages without a dictionary, and of targets.
    by_text: HashMap<Option<Text>, Sum, RandomState>,
}

impl<'s> SumsOf<'s> {
    fn add(
        &mut self,
        opened: &'s Opened<'_>,
        piece: &Piece<'_>,
        mask: Option<&[u8]>,
        (times, outcomes): (&mut Column<'s>, &mut Column<'s>),
    ) -> Result<(), Error> {
        let is_one = |row: usize| mask.is_none_or(|mask| mask[row - piece.rows.start] == 1);
        let mut column = match (self.columns[piece.segment].take(), column_of(self.dimension)) {
            (None, Some(name)) => Some(opened.reader.column(name)?),
            (known, _) => known,
        };
        let mut at = piece.rows.start;
        while at < piece.rows.end {
            let (time_page, times_of) = times.ints(at)?;
            let (outcome_page, outcomes_of) = outcomes.texts(at)?;
            let kinds: Vec<OutcomeKind> = (0..=outcome_page.dictionary.len())
                .map(|id| outcome_kind(outcome_page.dictionary.get(id)))
                .collect();
            let mut end = piece.rows.end.min(times_of.end).min(outcomes_of.end);
            let of_row = |row: usize| {
                let time = time_page.get(row - times_of.start).unwrap_or(0);
                (time, kinds[outcome_page.ids.get(row - outcomes_of.start)])
            };
            match &mut column {
                None => {
                    let name = match self.dimension {
                        Dimension::Cluster => &piece.member.group,
                        _ => &piece.member.member,
                    };
                    let sum = self.by_text.entry(Some(name.clone())).or_insert(UNSEEN);
                    for row in (at..end).filter(|row| is_one(*row)) {
                        let (time, outcome) = of_row(row);
                        sum.add(time, outcome);
                    }
                }
                Some(column) => {
                    let (page, of) = column.texts(at)?;
                    end = end.min(of.end);
                    if page.is_plain {
                        for row in (at..end).filter(|row| is_one(*row)) {
                            let (time, outcome) = of_row(row);
                            let text = page.shared(row - of.start);
                            self.by_text.entry(text).or_insert(UNSEEN).add(time, outcome);
                        }
                    } else {
                        let sums = self.sums_of(&page.dictionary);
                        for row in (at..end).filter(|row| is_one(*row)) {
                            let (time, outcome) = of_row(row);
                            sums[page.ids.get(row - of.start)].add(time, outcome);
                        }
                    }
                }
            }
            at = end;
        }
        self.columns[piece.segment] = column;
        Ok(())
    }

    fn sums_of(&mut self, dictionary: &Arc<Dictionary>) -> &mut [Sum] {
        let known =
            self.by_dictionary.iter().rposition(|(known, _)| Arc::ptr_eq(known, dictionary));
        let at = known.unwrap_or_else(|| {
            self.by_dictionary.push((Arc::clone(dictionary), vec![UNSEEN; dictionary.len() + 1]));
            self.by_dictionary.len() - 1
        });
        &mut self.by_dictionary[at].1
    }

    /// Each value with its sums, as often as there are dictionaries with it.
    fn by_value(&self) -> impl Iterator<Item = (Option<&str>, &Sum)> {
        let by_dictionary = self.by_dictionary.iter().flat_map(|(dictionary, of)| {
            of.iter().enumerate().map(|(id, sum)| (dictionary.get(id), sum))
        });
        let by_text = self.by_text.iter().map(|(text, sum)| (text.as_deref(), sum));
        by_dictionary.chain(by_text).filter(|(_, sum)| sum.count() > 0)
    }

    fn finish(&self, (rank, limit): (Rank, usize), total: u64, as_of: &AsOf) -> Seen {
        let mut sums: HashMap<Option<&str>, Sum, RandomState> = HashMap::default();
        for (text, sum) in self.by_value() {
            sums.entry(text).or_insert(UNSEEN).merge(sum);
        }
        let distinct = sums.keys().filter(|text| text.is_some()).count() as u64;
        let mut values: Vec<(Option<&str>, Sum)> = sums.into_iter().collect();
        let key = |(text, sum): &(Option<&str>, Sum)| {
            let first = match rank {
                Rank::Last => i128::from(sum.last),
                Rank::First => i128::from(sum.first),
                Rank::Count => i128::from(sum.count()),
                Rank::Failures => i128::from(sum.outcomes[OutcomeKind::Failure as usize]),
            };
            (Reverse(first), text.map(str::to_owned))
        };
        values.sort_by_cached_key(key);
        values.truncate(limit);
        let value = |(text, sum): (Option<&str>, Sum)| SeenValue {
            value: text.map(Text::from),
            first: Timestamp::from_micros(sum.first),
            last: Timestamp::from_micros(sum.last),
            successes: sum.outcomes[OutcomeKind::Success as usize],
            failures: sum.outcomes[OutcomeKind::Failure as usize],
            unknown: sum.outcomes[OutcomeKind::Unknown as usize],
        };
        let values = values.into_iter().map(value).collect();
        Seen { values, distinct, total, as_of: as_of.clone() }
    }
}

impl Seen {
    fn none(as_of: &AsOf) -> Seen {
        Seen { values: Vec::new(), distinct: 0, total: 0, as_of: as_of.clone() }
    }
}

fn outcome_kind(word: Option<&str>) -> OutcomeKind {
    match word {
        Some("success") => OutcomeKind::Success,
        Some("failure") => OutcomeKind::Failure,
        _ => OutcomeKind::Unknown,
    }
}

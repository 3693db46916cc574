//! Of each value of a dimension, how many of the rows that match a filter meet further conditions, too: all
//! of it from one pass over the rows.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use doorbook_event::Text;

use crate::Inner;
use crate::aggregate::{column_of, count_ids, value_of};
use crate::directory::segment_dir;
use crate::error::Error;
use crate::filter::{Dimension, Filter, Marked};
use crate::memtable::Row;
use crate::scan::{Conditions, Opened, Piece, Scan, View};
use crate::segment::{Column, Dictionary};
use crate::select::matches;

impl Inner {
    /// One [`Marked`] for each value, in no order. Of a mark only its conditions on columns count.
    pub(crate) fn marked(
        &self,
        filter: &Filter,
        dimension: Dimension,
        marks: &[Filter],
    ) -> Result<Vec<Marked>, Error> {
        let state = self.state();
        let Ok(view) = View::new(&state, filter, self.options.clock.now()) else {
            return Ok(Vec::new());
        };
        let dir = segment_dir(&self.options.data_dir);
        let joiner = self.joiner(&view, &dir);
        let amended = joiner.amended()?;
        let scan = Scan::new(&view, &amended, &*self.options.disk, &dir, &self.cache)?;
        let scan = scan.of_columns(1 + marks.len());
        let new = || Marks::new(&scan, dimension, marks);
        let workers = scan.work(new, |sums, matchers, piece| {
            let (mask, count) = matchers.of(piece)?.matching(piece)?;
            match count {
                0 => Ok(()),
                _ => sums.add(&scan.segments[piece.segment], piece, mask),
            }
        })?;
        let mut all = new();
        for row in view.in_memory(&amended) {
            all.add_row(row);
        }
        joiner.each_amended(&amended, |row| {
            all.add_row(&row);
            Ok(())
        })?;
        for worker in workers {
            all.merge(worker);
        }
        Ok(all.finish())
    }
}

/// How many rows there are, and then how many of them meet each mark.
type Numbers = Box<[u64]>;

struct Marks<'s> {
    dimension: Dimension,
    marks: &'s [Filter],
    /// For each segment what is read of it, once it is.
    segments: Vec<Option<OfSegment<'s>>>,
    /// For each of [`Numbers`] the counts by id, no text standing behind all others.
    by_dictionary: Vec<(Arc<Dictionary>, Vec<Vec<u64>>)>,
    by_text: HashMap<Option<Text>, Numbers, RandomState>,
    /// For each row of a piece whether a mark is met.
    mask: Vec<u8>,
}

struct OfSegment<'s> {
    /// `None`: the values are a target's names.
    values: Option<Column<'s>>,
    marks: Vec<Conditions<'s>>,
}

impl<'s> Marks<'s> {
    fn new(scan: &Scan<'_>, dimension: Dimension, marks: &'s [Filter]) -> Marks<'s> {
        Marks {
            dimension,
            marks,
            segments: scan.segments.iter().map(|_| None).collect(),
            by_dictionary: Vec::new(),
            by_text: HashMap::default(),
            mask: Vec::new(),
        }
    }

    fn add_row(&mut self, row: &Row) {
        let marks = self.marks;
        let numbers = self.numbers_of(value_of(row, self.dimension));
        numbers[0] += 1;
        for (number, mark) in numbers[1..].iter_mut().zip(marks) {
            *number += u64::from(matches(row, mark));
        }
    }

    fn add(
        &mut self,
        opened: &'s Opened<'_>,
        piece: &Piece<'_>,
        mask: Option<&[u8]>,
    ) -> Result<(), Error> {
        let mut segment = match self.segments[piece.segment].take() {
            Some(segment) => segment,
            None => OfSegment::new(opened, self.dimension, self.marks)?,
        };
        self.count(0, &mut segment.values, piece, mask)?;
        for n in 0..segment.marks.len() {
            let mut met = std::mem::take(&mut self.mask);
            met.clear();
            match mask {
                Some(mask) => met.extend_from_slice(mask),
                None => met.resize(piece.rows.len(), 1),
            }
            if segment.marks[n].leave(&piece.rows, &mut met)? > 0 {
                self.count(1 + n, &mut segment.values, piece, Some(&met))?;
            }
            self.mask = met;
        }
        self.segments[piece.segment] = Some(segment);
        Ok(())
    }

    /// Adds the rows of a mask to the `n`-th of the numbers.
    fn count(
        &mut self,
        n: usize,
        values: &mut Option<Column<'s>>,
        piece: &Piece<'_>,
        mask: Option<&[u8]>,
    ) -> Result<(), Error> {
        let Some(column) = values else {
            let of_group = self.dimension == Dimension::Cluster;
            let name = if of_group { &piece.member.group } else { &piece.member.member };
            let all = piece.rows.len() as u64;
            let count = mask.map_or(all, |mask| mask.iter().map(|one| u64::from(*one)).sum());
            self.numbers_of(Some(name.clone()))[n] += count;
            return Ok(());
        };
        let mut at = piece.rows.start;
        while at < piece.rows.end {
            let (page, of) = column.texts(at)?;
            let end = of.end.min(piece.rows.end);
            let part = mask.map(|mask| &mask[at - piece.rows.start..end - piece.rows.start]);
            if page.is_plain {
                let is_one = |row: &usize| part.is_none_or(|part| part[row - at] == 1);
                for row in (at..end).filter(is_one) {
                    self.numbers_of(page.shared(row - of.start))[n] += 1;
                }
            } else {
                let counts = &mut self.counts_of(&page.dictionary)[n];
                count_ids(&page.ids, at - of.start..end - of.start, part, counts);
            }
            at = end;
        }
        Ok(())
    }

    fn merge(&mut self, other: Marks<'s>) {
        for (dictionary, counts) in other.by_dictionary {
            for (sums, counts) in self.counts_of(&dictionary).iter_mut().zip(counts) {
                sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
        }
        for (text, numbers) in other.by_text {
            add(self.numbers_of(text), &numbers);
        }
    }

    fn numbers_of(&mut self, value: Option<Text>) -> &mut Numbers {
        let count = 1 + self.marks.len();
        self.by_text.entry(value).or_insert_with(|| vec![0; count].into())
    }

    fn counts_of(&mut self, dictionary: &Arc<Dictionary>) -> &mut [Vec<u64>] {
        let known =
            self.by_dictionary.iter().rposition(|(known, _)| Arc::ptr_eq(known, dictionary));
        let at = known.unwrap_or_else(|| {
            let none = vec![vec![0; dictionary.len() + 1]; 1 + self.marks.len()];
            self.by_dictionary.push((Arc::clone(dictionary), none));
            self.by_dictionary.len() - 1
        });
        &mut self.by_dictionary[at].1
    }

    fn finish(self) -> Vec<Marked> {
        let mut all: HashMap<Option<&str>, Numbers, RandomState> = HashMap::default();
        let none = || vec![0; 1 + self.marks.len()].into();
        for (dictionary, counts) in &self.by_dictionary {
            for id in (0..=dictionary.len()).filter(|id| counts[0][*id] > 0) {
                let numbers: Vec<u64> = counts.iter().map(|counts| counts[id]).collect();
                add(all.entry(dictionary.get(id)).or_insert_with(none), &numbers);
            }
        }
        for (text, numbers) in &self.by_text {
            add(all.entry(text.as_deref()).or_insert_with(none), numbers);
        }
        let marked = |(value, numbers): (Option<&str>, Numbers)| Marked {
            value: value.map(Text::from),
            total: numbers[0],
            marked: numbers[1..].into(),
        };
        all.into_iter().map(marked).collect()
    }
}

impl<'s> OfSegment<'s> {
    fn new(
        opened: &'s Opened<'_>,
        dimension: Dimension,
        marks: &'s [Filter],
    ) -> Result<OfSegment<'s>, Error> {
        let values = column_of(dimension).map(|name| opened.reader.column(name)).transpose()?;
        let marks = marks.iter().map(|mark| Conditions::of(mark, &opened.reader));
        Ok(OfSegment { values, marks: marks.collect::<Result<_, _>>()? })
    }
}

fn add(numbers: &mut Numbers, others: &[u64]) {
    numbers.iter_mut().zip(others).for_each(|(number, other)| *number += other);
}

//! Columns of numbers, and of flags.

use parquet::basic::Type;
use parquet::errors::Result;

use super::{
    Chunk, Compressor, FLAGS_PER_SAME_PAGE, ROWS_PER_PAGE, ROWS_PER_SAME_PAGE, Ready, put_levels,
};
use crate::segment::encoding::{
    Coding, key_bits, put_delta, put_flags, put_run, put_same_presence,
};
use crate::segment::file::FileWriter;

/// A column of numbers.
pub(crate) struct NumberColumn {
    is_optional: bool,
    /// 32 bits wide, or 64.
    is_narrow: bool,
    has_statistics: bool,
    same: Option<i64>,
    same_count: usize,
    /// Once rows of the page differ: their values, and for each row 1 if it has one.
    values: Vec<i64>,
    levels: Vec<u32>,
    /// What pages of one value hold.
    dictionary: Vec<i64>,
    ready: Vec<Ready>,
    range: Option<(i64, i64)>,
}

/// Beyond so many, pages of one value have no key.
const NUMBER_KEYS_MAX: usize = 4096;

impl NumberColumn {
    pub(crate) fn new(is_optional: bool, is_narrow: bool) -> NumberColumn {
        NumberColumn {
            is_optional,
            is_narrow,
            has_statistics: false,
            same: None,
            same_count: 0,
            values: Vec::new(),
            levels: Vec::new(),
            dictionary: Vec::new(),
            ready: Vec::new(),
            range: None,
        }
    }

    /// With minimum and maximum of each page. Only where every row has a value.
    pub(crate) fn with_statistics(self) -> NumberColumn {
        debug_assert!(!self.is_optional && !self.is_narrow);
        NumberColumn { has_statistics: true, ..self }
    }

    /// A row of a column in which every row has a value.
    #[inline]
    pub(crate) fn push(&mut self, value: i64) {
        self.push_same(Some(value), 1);
    }

    #[inline]
    pub(crate) fn push_option(&mut self, value: Option<i64>) {
        self.push_same(value, 1);
    }

    /// Rows of the same value.
    #[inline]
    pub(crate) fn push_same(&mut self, value: Option<i64>, count: usize) {
        debug_assert!(self.is_optional || value.is_some());
        let is_counted = self.levels.is_empty() && self.same_count > 0 && value == self.same;
        if is_counted && self.same_count + count < ROWS_PER_SAME_PAGE {
            self.same_count += count;
        } else {
            self.push_other(value, count);
        }
    }

    /// Rows with values; with `presence`, only those whose level is not 0.
    pub(crate) fn push_slice(&mut self, mut values: &[i64], mut presence: Option<&[u8]>) {
        while let Some(first) = values.first() {
            let is_present = |n: usize| presence.is_none_or(|levels| levels[n] != 0);
            if self.levels.is_empty() {
                let first = is_present(0).then_some(*first);
                let is_same = |n: &usize| is_present(*n).then(|| values[*n]) == first;
                let run = (0..values.len()).take_while(is_same).count();
                self.push_same(first, run);
                values = &values[run..];
                presence = presence.map(|levels| &levels[run..]);
                continue;
            }
            let part = values.len().min(ROWS_PER_PAGE - self.levels.len());
            match presence {
                None => {
                    self.levels.resize(self.levels.len() + part, 1);
                    self.values.extend_from_slice(&values[..part]);
                }
                Some(levels) => {
                    self.levels.extend(levels[..part].iter().map(|level| u32::from(*level)));
                    let rows = values[..part].iter().zip(levels);
                    self.values
                        .extend(rows.filter(|(_, level)| **level != 0).map(|(value, _)| *value));
                }
            }
            values = &values[part..];
            presence = presence.map(|levels| &levels[part..]);
            if self.levels.len() == ROWS_PER_PAGE {
                self.finish_page();
            }
        }
    }

    fn push_other(&mut self, value: Option<i64>, mut count: usize) {
        while count > 0 {
            if self.levels.is_empty() {
                if value != self.same && self.same_count >= ROWS_PER_PAGE {
                    self.finish_page();
                }
                if self.same_count == 0 {
                    self.same = value;
                }
                if value == self.same {
                    let part = count.min(ROWS_PER_SAME_PAGE - self.same_count);
                    self.same_count += part;
                    count -= part;
                    if self.same_count == ROWS_PER_SAME_PAGE {
                        self.finish_page();
                    }
                    continue;
                }
                self.differ();
            }
            let part = count.min(ROWS_PER_PAGE - self.levels.len());
            self.levels.resize(self.levels.len() + part, value.is_some().into());
            if let Some(value) = value {
                self.values.resize(self.values.len() + part, value);
            }
            count -= part;
            if self.levels.len() == ROWS_PER_PAGE {
                self.finish_page();
            }
        }
    }

    fn differ(&mut self) {
        let count = std::mem::take(&mut self.same_count);
        self.levels.resize(count, self.same.is_some().into());
        if let Some(value) = self.same {
            self.values.resize(count, value);
        }
    }

    fn finish_page(&mut self) {
        let row_count = self.same_count + self.levels.len();
        if row_count == 0 {
            return;
        }
        let mut bytes = Vec::new();
        if self.is_optional {
            match self.levels.is_empty() {
                true => put_same_presence(&mut bytes, row_count, self.same.is_some()),
                false => put_levels(&mut bytes, &self.levels),
            }
        }
        let key = self.same.filter(|_| self.levels.is_empty()).and_then(|value| self.key(value));
        let coding = if self.levels.is_empty() && self.same.is_none() {
            Coding::Plain
        } else if let Some(key) = key {
            let bits = key_bits(self.dictionary.len());
            bytes.push(bits as u8);
            put_run(&mut bytes, row_count, key, bits);
            Coding::Keys
        } else {
            if self.levels.is_empty() {
                self.differ();
            }
            put_delta(&mut bytes, &self.values, self.is_narrow);
            Coding::Delta
        };
        let range = self.has_statistics.then(|| self.page_range());
        self.levels.clear();
        self.values.clear();
        self.same_count = 0;
        self.ready.push(Ready { bytes, row_count, coding, range });
    }

    fn key(&mut self, value: i64) -> Option<u32> {
        let known = self.dictionary.iter().rposition(|known| *known == value);
        let known = known.or_else(|| {
            (self.dictionary.len() < NUMBER_KEYS_MAX).then(|| {
                self.dictionary.push(value);
                self.dictionary.len() - 1
            })
        });
        known.map(|key| key as u32)
    }

    fn page_range(&mut self) -> (Vec<u8>, Vec<u8>) {
        let same = self.same.unwrap_or(0);
        let low = self.values.iter().copied().min().unwrap_or(same);
        let high = self.values.iter().copied().max().unwrap_or(same);
        let (lowest, highest) = self.range.unwrap_or((low, high));
        self.range = Some((lowest.min(low), highest.max(high)));
        (low.to_le_bytes().into(), high.to_le_bytes().into())
    }

    pub(crate) fn finish(
        mut self,
        file: &mut FileWriter<'_, '_>,
        compressor: &mut Compressor,
    ) -> Result<()> {
        self.finish_page();
        let mut chunk = match self.has_statistics {
            true => Chunk::with_statistics(Type::INT64),
            false => Chunk::new(),
        };
        chunk.range =
            self.range.map(|(low, high)| (low.to_le_bytes().into(), high.to_le_bytes().into()));
        let size = if self.is_narrow { 4 } else { 8 };
        let values =
            self.dictionary.iter().flat_map(|value| value.to_le_bytes().into_iter().take(size));
        let dictionary: Vec<u8> = values.collect();
        chunk.write_dictionary(file, &dictionary, self.dictionary.len(), compressor)?;
        for page in self.ready {
            chunk.pack(&page, compressor)?;
        }
        chunk.finish(file, compressor.codec, None)
    }
}

/// A column of flags in which rows may lack one.
#[derive(Default)]
pub(crate) struct FlagColumn {
    same: Option<bool>,
    same_count: usize,
    /// Once rows of the page differ.
    rows: Vec<Option<bool>>,
    ready: Vec<Ready>,
}

impl FlagColumn {
    #[inline]
    pub(crate) fn push_option(&mut self, value: Option<bool>) {
        self.push_same(value, 1);
    }

    /// Rows of the same value.
    pub(crate) fn push_same(&mut self, value: Option<bool>, mut count: usize) {
        while count > 0 {
            if self.rows.is_empty() {
                if value != self.same && self.same_count >= ROWS_PER_PAGE {
                    self.finish_page();
                }
                if self.same_count == 0 {
                    self.same = value;
                }
                if value == self.same {
                    let max =
                        if value.is_none() { ROWS_PER_SAME_PAGE } else { FLAGS_PER_SAME_PAGE };
                    let part = count.min(max - self.same_count);
                    self.same_count += part;
                    count -= part;
                    if self.same_count == max {
                        self.finish_page();
                    }
                    continue;
                }
                self.rows.resize(std::mem::take(&mut self.same_count), self.same);
            }
            let part = count.min(ROWS_PER_PAGE - self.rows.len());
            self.rows.resize(self.rows.len() + part, value);
            count -= part;
            if self.rows.len() == ROWS_PER_PAGE {
                self.finish_page();
            }
        }
    }

    fn finish_page(&mut self) {
        let row_count = self.same_count + self.rows.len();
        if row_count == 0 {
            return;
        }
        let mut bytes = Vec::new();
        if self.rows.is_empty() {
            put_same_presence(&mut bytes, row_count, self.same.is_some());
            let flag_count = if self.same.is_some() { row_count } else { 0 };
            put_flags(&mut bytes, &vec![self.same == Some(true); flag_count]);
        } else {
            let levels: Vec<u32> = self.rows.iter().map(|row| row.is_some().into()).collect();
            put_levels(&mut bytes, &levels);
            let flags: Vec<bool> = self.rows.iter().copied().flatten().collect();
            put_flags(&mut bytes, &flags);
        }
        self.rows.clear();
        self.same_count = 0;
        self.ready.push(Ready { bytes, row_count, coding: Coding::Plain, range: None });
    }

    pub(crate) fn finish(
        mut self,
        file: &mut FileWriter<'_, '_>,
        compressor: &mut Compressor,
    ) -> Result<()> {
        self.finish_page();
        let mut chunk = Chunk::new();
        for page in self.ready {
            chunk.pack(&page, compressor)?;
        }
        chunk.finish(file, compressor.codec, None)
    }
}

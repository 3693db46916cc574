//! Columns of a segment file, read from the first row to the last.
//!
//! What a page holds is taken over as it is coded: keys stay keys, and a page that says the same of
//! all its rows stays one value.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::serialized_reader::SerializedPageReader;

use crate::disk::Disk;
use crate::error::Error;
use crate::segment::pages::{NULL, ROWS_PER_SAME_PAGE};
use crate::segment::{Segment, Source, guarded};

/// A file to merge.
pub(crate) struct Input {
    pub(crate) segment: Arc<Segment>,
    pub(crate) path: PathBuf,
    source: Arc<Source>,
    metadata: ParquetMetaData,
}

impl Input {
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        segment: Arc<Segment>,
    ) -> std::result::Result<Input, Error> {
        let (path, source) = segment.open_file(disk, dir)?;
        let metadata = guarded(&path, || {
            ParquetMetaDataReader::new()
                .with_page_index_policy(PageIndexPolicy::Required)
                .parse_and_finish(&source)
        })?;
        let groups = metadata.row_groups();
        let row_count = groups.iter().map(|group| group.num_rows()).sum::<i64>();
        if groups.len() != 1 || row_count != segment.meta.rows() as i64 {
            return Err(Error::damaged(&path, "not the rows that were written"));
        }
        Ok(Input { segment, path, source: Arc::new(source), metadata })
    }

    /// An error that says what is wrong with the file.
    pub(crate) fn damaged(&self, what: &str) -> Error {
        Error::damaged(&self.path, what)
    }

    /// A column from its first row on; one that the file does not have is without values.
    pub(crate) fn column(&self, name: &str) -> std::result::Result<Column, Error> {
        guarded(&self.path, || self.try_column(name))
    }

    fn try_column(&self, name: &str) -> Result<Column> {
        let row_count = self.segment.meta.rows() as usize;
        let group = self.metadata.row_group(0);
        let columns = self.metadata.file_metadata().schema_descr().columns();
        let Some(at) = columns.iter().position(|column| column.name() == name) else {
            return Ok(Column::without_values(self.path.clone(), row_count));
        };
        let chunk = group.column(at);
        let offsets = self.metadata.offset_index().and_then(|index| index.first()?.get(at));
        let locations = offsets.ok_or_else(|| damaged("a column without page index"))?;
        let locations = locations.page_locations().clone();
        let starts = locations.iter().map(|page| page.first_row_index as usize);
        let ends: Vec<usize> = starts.skip(1).chain([row_count]).collect();
        if ends.is_empty() || !ends.is_sorted() {
            return Err(damaged("a page index that does not fit"));
        }
        let source = Arc::clone(&self.source);
        let pages = SerializedPageReader::new(source, chunk, row_count, Some(locations))?;
        let mut column = Column {
            path: self.path.clone(),
            pages: Some(pages),
            ends,
            next_page: 0,
            is_optional: columns[at].max_def_level() > 0,
            kind: match columns[at].physical_type() {
                parquet::basic::Type::BYTE_ARRAY => Kind::Bytes,
                parquet::basic::Type::INT32 => Kind::Numbers(4),
                parquet::basic::Type::INT64 => Kind::Numbers(8),
                parquet::basic::Type::BOOLEAN => Kind::Flags,
                _ => return Err(damaged("a column of an unknown type")),
            },
            dictionary: Arc::default(),
            start: 0,
            end: 0,
            rows: Rows::Same(NULL),
        };
        if chunk.dictionary_page_offset().is_some() {
            column.read_dictionary()?;
        }
        Ok(column)
    }
}

/// A column being read.
pub(crate) struct Column {
    path: PathBuf,
    pages: Option<SerializedPageReader<Source>>,
    /// Of each page the row after its last one.
    ends: Vec<usize>,
    next_page: usize,
    is_optional: bool,
    kind: Kind,
    pub(crate) dictionary: Arc<Dictionary>,
    /// The rows of the present page.
    start: usize,
    end: usize,
    rows: Rows,
}

#[derive(Clone, Copy)]
enum Kind {
    Bytes,
    Numbers(usize),
    Flags,
}

/// The values that keys stand for.
#[derive(Default)]
pub(crate) struct Dictionary {
    bytes: Bytes,
    /// Where each begins and ends.
    texts: Vec<(u32, u32)>,
    numbers: Vec<i64>,
}

impl Dictionary {
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(crate) fn text(&self, key: u32) -> &[u8] {
        let (start, end) = self.texts[key as usize];
        &self.bytes[start as usize..end as usize]
    }
}

/// The rows of a page.
enum Rows {
    /// All have this key, or [`NULL`].
    Same(u32),
    Keys(Vec<u32>),
    /// Where each value begins and ends, or [`NULL`] twice.
    Texts(Bytes, Vec<(u32, u32)>),
    SameNumber(Option<i64>),
    /// The values, 0 where there is none, and which rows have one, unless all do.
    Numbers(Vec<i64>, Option<Vec<bool>>),
}

/// Some rows that follow each other.
pub(crate) enum Part<'c> {
    Same(u32),
    Keys(&'c [u32]),
    Texts(&'c [u8], &'c [(u32, u32)]),
    SameNumber(Option<i64>),
    Numbers(&'c [i64], Option<&'c [bool]>),
}

impl Column {
    fn without_values(path: PathBuf, row_count: usize) -> Column {
        Column {
            path,
            pages: None,
            ends: vec![row_count],
            next_page: 1,
            is_optional: true,
            kind: Kind::Bytes,
            dictionary: Arc::default(),
            start: 0,
            end: row_count,
            rows: Rows::Same(NULL),
        }
    }

    /// The rows from `row` on that lie in one page, at most `count`; and how many they are. Rows are
    /// asked for in ascending order.
    pub(crate) fn part(
        &mut self,
        row: usize,
        count: usize,
    ) -> std::result::Result<(Part<'_>, usize), Error> {
        if row >= self.end {
            let path = self.path.clone();
            guarded(&path, || self.load(row))?;
        }
        let from = row - self.start;
        let count = count.min(self.end - row);
        let part = match &self.rows {
            Rows::Same(key) => Part::Same(*key),
            Rows::Keys(keys) => Part::Keys(&keys[from..from + count]),
            Rows::Texts(bytes, places) => Part::Texts(bytes, &places[from..from + count]),
            Rows::SameNumber(number) => Part::SameNumber(*number),
            Rows::Numbers(numbers, present) => {
                let present = present.as_ref().map(|present| &present[from..from + count]);
                Part::Numbers(&numbers[from..from + count], present)
            }
        };
        Ok((part, count))
    }

    /// An error that says what is wrong with the file.
    pub(crate) fn damaged(&self, what: &str) -> Error {
        Error::damaged(&self.path, what)
    }

    /// Reads the page in which a row lies.
    fn load(&mut self, row: usize) -> Result<()> {
        let pages = self.pages.as_mut().ok_or_else(|| damaged("a row beyond the last"))?;
        while self.ends.get(self.next_page).is_some_and(|end| *end <= row) {
            pages.skip_next_page()?;
            self.next_page += 1;
        }
        let n = self.next_page;
        let end = *self.ends.get(n).ok_or_else(|| damaged("a row beyond the last"))?;
        let start = if n == 0 { 0 } else { self.ends[n - 1] };
        let page = pages.get_next_page()?.ok_or_else(|| damaged("a page is missing"))?;
        let Page::DataPage { buf, num_values, encoding, .. } = page else {
            return Err(damaged("a page of an unknown kind"));
        };
        if num_values as usize != end - start || end - start > ROWS_PER_SAME_PAGE {
            return Err(damaged("a page of another length"));
        }
        self.rows = self.decode(buf, num_values as usize, encoding)?;
        (self.start, self.end) = (start, end);
        self.next_page += 1;
        Ok(())
    }

    fn read_dictionary(&mut self) -> Result<()> {
        let page = self.pages.as_mut().and_then(|pages| pages.get_next_page().transpose());
        let Some(Page::DictionaryPage { buf, num_values, .. }) = page.transpose()? else {
            return Err(damaged("a dictionary is missing"));
        };
        let count = num_values as usize;
        let mut dictionary = Dictionary::default();
        match self.kind {
            Kind::Bytes => dictionary.texts = places(&buf, 0, count)?,
            Kind::Numbers(size) => dictionary.numbers = numbers(&buf, size, count)?,
            Kind::Flags => return Err(damaged("a dictionary of flags")),
        }
        dictionary.bytes = buf;
        self.dictionary = Arc::new(dictionary);
        Ok(())
    }

    fn decode(&self, buf: Bytes, row_count: usize, encoding: Encoding) -> Result<Rows> {
        let mut at = 0;
        let levels = match self.is_optional {
            false => Hybrid::Same(1),
            true => {
                let size = buf.get(..4).and_then(|size| size.try_into().ok());
                let size = u32::from_le_bytes(size.ok_or_else(too_short)?) as usize;
                let bytes = buf.get(4..4 + size).ok_or_else(too_short)?;
                at = 4 + size;
                hybrid(bytes, 1, row_count)?
            }
        };
        let count = match &levels {
            Hybrid::Same(level) => row_count * *level as usize,
            Hybrid::Many(levels) => levels.iter().filter(|level| **level == 1).count(),
        };
        let is_number = !matches!(self.kind, Kind::Bytes);
        if count == 0 {
            return Ok(if is_number { Rows::SameNumber(None) } else { Rows::Same(NULL) });
        }
        let body = &buf[at..];
        let all = matches!(levels, Hybrid::Same(_));
        let is_keys = matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
        if is_keys {
            let (bits, body) = body.split_first().ok_or_else(too_short)?;
            let keys = hybrid(body, u32::from(*bits), count)?;
            let known = self.dictionary.texts.len().max(self.dictionary.numbers.len());
            let highest = match &keys {
                Hybrid::Same(key) => *key,
                Hybrid::Many(keys) => keys.iter().copied().max().unwrap_or(0),
            };
            if highest as usize >= known {
                return Err(damaged("a key without a value"));
            }
            return Ok(match (keys, is_number) {
                (Hybrid::Same(key), false) if all => Rows::Same(key),
                (keys, false) => Rows::Keys(scatter(keys.many(count), &levels, NULL)),
                (Hybrid::Same(key), true) if all => {
                    Rows::SameNumber(Some(self.dictionary.numbers[key as usize]))
                }
                (keys, true) => {
                    let keys = keys.many(count).into_iter();
                    let values = keys.map(|key| self.dictionary.numbers[key as usize]).collect();
                    Rows::Numbers(scatter(values, &levels, 0), levels.present())
                }
            });
        }
        match (self.kind, encoding) {
            (Kind::Bytes, Encoding::PLAIN) => {
                let places = places(&buf, at, count)?;
                Ok(Rows::Texts(buf, scatter(places, &levels, (NULL, NULL))))
            }
            (Kind::Numbers(size), Encoding::PLAIN) => {
                let values = numbers(body, size, count)?;
                Ok(Rows::Numbers(scatter(values, &levels, 0), levels.present()))
            }
            (Kind::Numbers(size), Encoding::DELTA_BINARY_PACKED) => {
                let values = deltas(body, size == 4, count)?;
                Ok(Rows::Numbers(scatter(values, &levels, 0), levels.present()))
            }
            (Kind::Flags, Encoding::PLAIN) => {
                let bytes = body.get(..count.div_ceil(8)).ok_or_else(too_short)?;
                let flag = |n: usize| i64::from(bytes[n / 8] >> (n % 8) & 1);
                let first = flag(0);
                if all && (0..count).all(|n| flag(n) == first) {
                    return Ok(Rows::SameNumber(Some(first)));
                }
                let flags = (0..count).map(flag).collect();
                Ok(Rows::Numbers(scatter(flags, &levels, 0), levels.present()))
            }
            _ => Err(damaged("a page in an unknown encoding")),
        }
    }
}

/// Values of the hybrid of runs and bit-packed groups.
enum Hybrid {
    Same(u32),
    Many(Vec<u32>),
}

impl Hybrid {
    fn many(self, count: usize) -> Vec<u32> {
        match self {
            Hybrid::Same(value) => vec![value; count],
            Hybrid::Many(values) => values,
        }
    }

    /// Of levels: which rows have a value, unless all do.
    fn present(&self) -> Option<Vec<bool>> {
        match self {
            Hybrid::Same(_) => None,
            Hybrid::Many(levels) => Some(levels.iter().map(|level| *level == 1).collect()),
        }
    }
}

/// The values of the rows that have one, with a stand-in for the others.
fn scatter<T: Copy>(values: Vec<T>, levels: &Hybrid, none: T) -> Vec<T> {
    let Hybrid::Many(levels) = levels else { return values };
    let mut values = values.into_iter();
    let value = |level: &u32| if *level == 1 { values.next().unwrap_or(none) } else { none };
    levels.iter().map(value).collect()
}

fn hybrid(mut bytes: &[u8], bits: u32, count: usize) -> Result<Hybrid> {
    if bits > 31 {
        return Err(damaged("keys of too many bits"));
    }
    let size = bits.div_ceil(8) as usize;
    let mut values = Vec::new();
    while values.len() < count {
        let header = varint(&mut bytes)?;
        let length = usize::try_from(header >> 1).map_err(|_| too_short())?;
        if header & 1 == 0 {
            let (value, rest) = bytes.split_at_checked(size).ok_or_else(too_short)?;
            bytes = rest;
            let value = value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            if length >= count {
                return Ok(Hybrid::Same(value));
            }
            if length == 0 {
                return Err(damaged("a run of nothing"));
            }
            values.resize((values.len() + length).min(count), value);
        } else {
            let size = length.checked_mul(bits as usize).ok_or_else(too_short)?;
            let packed = bytes.split_at_checked(size);
            let (packed, rest) = packed.filter(|_| length > 0).ok_or_else(too_short)?;
            bytes = rest;
            let more = length.saturating_mul(8).min(count - values.len());
            unpack(packed, bits, more, |value| values.push(value as u32));
        }
    }
    Ok(Hybrid::Many(values))
}

/// `count` values of so many bits each; zeros where the bytes end.
fn unpack(bytes: &[u8], bits: u32, count: usize, mut each: impl FnMut(u64)) {
    if bits == 0 {
        return (0..count).for_each(|_| each(0));
    }
    let mask = u64::MAX >> (u64::BITS - bits);
    let (mut word, mut filled, mut at) = (0_u128, 0, 0);
    for _ in 0..count {
        if filled < bits {
            let next = match bytes.get(at..at + 8) {
                Some(next) => u64::from_le_bytes(next.try_into().expect("eight bytes")),
                None => {
                    let rest = bytes.get(at..).unwrap_or_default();
                    rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
                }
            };
            word |= u128::from(next) << filled;
            filled += 64;
            at += 8;
        }
        each(word as u64 & mask);
        word >>= bits;
        filled -= bits;
    }
}

fn deltas(mut bytes: &[u8], is_narrow: bool, count: usize) -> Result<Vec<i64>> {
    let block = varint(&mut bytes)? as usize;
    let parts = varint(&mut bytes)? as usize;
    let total = varint(&mut bytes)? as usize;
    let part = block.checked_div(parts).filter(|_| (8..=4096).contains(&block));
    let part = part.filter(|part| total == count && part.is_multiple_of(8) && *part > 0);
    let part = part.ok_or_else(|| damaged("numbers of another count"))?;
    let mut last = zigzag(&mut bytes)?;
    let mut values = Vec::with_capacity(count);
    values.push(last);
    while values.len() < count {
        let least = zigzag(&mut bytes)?;
        let (widths, rest) = bytes.split_at_checked(parts).ok_or_else(too_short)?;
        bytes = rest;
        for width in widths {
            let more = part.min(count - values.len());
            if more == 0 {
                break;
            }
            let size = (part / 8 * usize::from(*width)).min(bytes.len());
            if *width > 64 || size < (more * usize::from(*width)).div_ceil(8) {
                return Err(too_short());
            }
            let (packed, rest) = bytes.split_at(size);
            bytes = rest;
            unpack(packed, u32::from(*width), more, |above| {
                last = last.wrapping_add(least).wrapping_add(above as i64);
                if is_narrow {
                    last = i64::from(last as i32);
                }
                values.push(last);
            });
        }
    }
    Ok(values)
}

fn numbers(bytes: &[u8], size: usize, count: usize) -> Result<Vec<i64>> {
    let bytes = count.checked_mul(size).and_then(|size| bytes.get(..size));
    let bytes = bytes.ok_or_else(too_short)?;
    Ok(match size {
        4 => bytes
            .chunks_exact(4)
            .map(|b| i32::from_le_bytes(b.try_into().expect("four bytes")).into())
            .collect(),
        _ => bytes
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes(b.try_into().expect("eight bytes")))
            .collect(),
    })
}

/// Where each of `count` byte strings begins and ends, from `at` on.
fn places(bytes: &[u8], mut at: usize, count: usize) -> Result<Vec<(u32, u32)>> {
    let mut places = Vec::with_capacity(count.min(bytes.len() / 4));
    for _ in 0..count {
        let size = bytes.get(at..at + 4).and_then(|size| size.try_into().ok());
        let size = u32::from_le_bytes(size.ok_or_else(too_short)?) as usize;
        let (start, end) = (at + 4, at + 4 + size);
        if end > bytes.len() {
            return Err(too_short());
        }
        places.push((start as u32, end as u32));
        at = end;
    }
    Ok(places)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first().ok_or_else(too_short)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
        shift += 7;
        if shift > 63 {
            return Err(damaged("a number without end"));
        }
    }
}

fn zigzag(bytes: &mut &[u8]) -> Result<i64> {
    let value = varint(bytes)?;
    Ok((value >> 1) as i64 ^ -((value & 1) as i64))
}

fn too_short() -> ParquetError {
    damaged("a page is too short")
}

fn damaged(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

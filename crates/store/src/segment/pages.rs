//! Column chunks of texts and bytes, written page by page.
//!
//! The Parquet crate's own writer looks every value up in a hash table, row by row and column by
//! column; with twenty text columns, most of which repeat one value for thousands of rows, that is
//! more work than all the rest of a segment. Here a value that is *the same text in memory* as one
//! a moment ago costs a comparison of pointers. What comes out is plain Parquet: data pages of
//! version 1, `RLE_DICTIONARY` until a dictionary is full and `PLAIN` from there on.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

/// Rows of a page of small values. At 2 bytes a row it is as small as a page should be, and
/// decoding one takes some ten microseconds.
pub(super) const ROWS_PER_PAGE: usize = 20_000;

/// 1 MiB: a dictionary beyond it is mostly values that come once, and a reader must hold it whole.
const DICTIONARY_SIZE_BYTES_MAX: usize = 1 << 20;

/// 64 KiB: the newest hundred lines are one or two pages of the raw column.
pub(super) const PLAIN_PAGE_SIZE_BYTES: usize = 64 << 10;

/// No value, among dictionary keys.
const NULL: u32 = u32::MAX;

/// Compresses pages; one for many columns, since its tables are large.
pub(super) struct Compressor {
    codec: Compression,
    zstd: zstd::bulk::Compressor<'static>,
}

impl Compressor {
    pub(super) fn new(level: i32) -> Result<Compressor> {
        let mut zstd = zstd::bulk::Compressor::new(level)?;
        // A reader then notices a flipped bit, which Parquet itself leaves to luck.
        zstd.include_checksum(true)?;
        Ok(Compressor { codec: codec(level), zstd })
    }
}

/// zstd at a level.
pub(super) fn codec(level: i32) -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(level).expect("a level that zstd has"))
}

/// A column of texts that repeat.
pub(super) struct TextColumn<'a> {
    is_optional: bool,
    has_statistics: bool,
    /// Values of late, by their place in memory.
    recent: [(*const u8, usize, u32); RECENT],
    keys: HashMap<Cow<'a, str>, u32>,
    /// The dictionary page.
    dictionary: Vec<u8>,
    is_dictionary_full: bool,
    page: PageInWork<'a>,
    pages: Vec<Ready>,
}

/// 64 places: a batch has fewer applications, and fewer drivers, than that.
const RECENT: usize = 64;

#[derive(Default)]
struct PageInWork<'a> {
    /// A key for each row; once the dictionary is full, anything but [`NULL`] for a value.
    rows: Vec<u32>,
    /// Values, once the dictionary is full.
    plain: Vec<u8>,
    range: Option<(&'a str, &'a str)>,
    last_key: u32,
}

/// A page that is ready to be written.
struct Ready {
    bytes: Vec<u8>,
    row_count: usize,
    encoding: Encoding,
    /// Lowest and highest value, where the column has statistics.
    range: Option<(Vec<u8>, Vec<u8>)>,
}

impl<'a> TextColumn<'a> {
    pub(super) fn new(is_optional: bool, has_statistics: bool) -> TextColumn<'a> {
        TextColumn {
            is_optional,
            has_statistics,
            recent: [(std::ptr::null(), 0, NULL); RECENT],
            keys: HashMap::new(),
            dictionary: Vec::new(),
            is_dictionary_full: false,
            page: PageInWork { last_key: NULL, ..PageInWork::default() },
            pages: Vec::new(),
        }
    }

    /// A row without a value.
    pub(super) fn push_null(&mut self) {
        self.push_key(NULL);
    }

    /// A row with a value that repeats. The texts of one column must all live while it is written:
    /// their place in memory stands for their content.
    #[inline]
    pub(super) fn push(&mut self, text: &'a str) {
        if self.has_statistics {
            self.widen_range(text);
        }
        let place = (text.as_ptr(), text.len());
        let slot = (place.0.addr() / 16) % RECENT;
        let recent = self.recent[slot];
        if (recent.0, recent.1) != place || self.is_dictionary_full {
            if self.push_looked_up(Cow::Borrowed(text)) {
                self.recent[slot] = (place.0, place.1, self.page.last_key);
            }
        } else {
            self.push_key(recent.2);
        }
    }

    /// A row with a value that was made for it. Returns the value's key, if it has one.
    pub(super) fn push_owned(&mut self, text: String) -> Option<u32> {
        self.push_looked_up(Cow::Owned(text)).then_some(self.page.last_key)
    }

    /// A row with a value that [`TextColumn::push_owned`] gave a key; `false`, and no row, if keys
    /// are no longer used.
    pub(super) fn push_known(&mut self, key: u32) -> bool {
        if !self.is_dictionary_full {
            self.push_key(key);
        }
        !self.is_dictionary_full
    }

    pub(super) fn push_option(&mut self, text: Option<&'a str>) {
        match text {
            Some(text) => self.push(text),
            None => self.push_null(),
        }
    }

    /// Whether the value has a key now, which is the last row's.
    fn push_looked_up(&mut self, text: Cow<'a, str>) -> bool {
        let key = match self.keys.get(&text) {
            Some(key) if !self.is_dictionary_full => *key,
            _ if self.is_dictionary_full => {
                put_plain(&mut self.page.plain, text.as_bytes());
                self.push_key(0);
                return false;
            }
            _ => {
                let key = u32::try_from(self.keys.len()).expect("a dictionary is a megabyte");
                put_plain(&mut self.dictionary, text.as_bytes());
                self.keys.insert(text, key);
                key
            }
        };
        self.page.last_key = key;
        self.push_key(key);
        if self.dictionary.len() > DICTIONARY_SIZE_BYTES_MAX {
            self.finish_page();
            self.is_dictionary_full = true;
        }
        true
    }

    fn push_key(&mut self, key: u32) {
        self.page.rows.push(key);
        if self.page.rows.len() >= ROWS_PER_PAGE || self.page.plain.len() >= PLAIN_PAGE_SIZE_BYTES {
            self.finish_page();
        }
    }

    fn widen_range(&mut self, text: &'a str) {
        let (low, high) = self.page.range.unwrap_or((text, text));
        if (low.as_ptr(), high.as_ptr()) != (text.as_ptr(), text.as_ptr()) {
            self.page.range = Some((low.min(text), high.max(text)));
        } else {
            self.page.range = Some((low, high));
        }
    }

    fn finish_page(&mut self) {
        let page = &mut self.page;
        if page.rows.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        if self.is_optional {
            put_presence(&mut bytes, &page.rows);
        }
        let encoding = if self.is_dictionary_full || self.keys.is_empty() {
            // Or no row had a value so far, and there may never be a dictionary.
            bytes.append(&mut page.plain);
            Encoding::PLAIN
        } else {
            // Zero bits for a dictionary of one value are legal, and some readers disagree.
            let bits = u32::BITS - (self.keys.len().max(2) as u32 - 1).leading_zeros();
            bytes.push(bits as u8);
            if self.is_optional {
                let keys: Vec<u32> = page.rows.iter().copied().filter(|key| *key != NULL).collect();
                put_hybrid(&mut bytes, &keys, bits);
            } else {
                put_hybrid(&mut bytes, &page.rows, bits);
            }
            Encoding::RLE_DICTIONARY
        };
        let range = page.range.take();
        self.pages.push(Ready {
            bytes,
            row_count: page.rows.len(),
            encoding,
            range: range.map(|(low, high)| (low.into(), high.into())),
        });
        page.rows.clear();
    }

    /// The chunk, and what the file must know of it.
    pub(super) fn finish(
        mut self,
        descriptor: ColumnDescPtr,
        compressor: &mut Compressor,
    ) -> Result<(Bytes, ColumnCloseResult)> {
        self.finish_page();
        let dictionary = Some((self.dictionary, self.keys.len()));
        let mut chunk = Chunk::new(descriptor, compressor, self.has_statistics);
        if let Some((bytes, count)) = dictionary.filter(|(_, count)| *count > 0) {
            chunk.write_dictionary(&bytes, count)?;
        }
        for page in self.pages {
            chunk.write(page)?;
        }
        chunk.finish()
    }
}

/// A column of byte strings that do not repeat, compressed as they come.
pub(super) struct BytesColumn<'c> {
    rows: Vec<u32>,
    plain: Vec<u8>,
    chunk: Chunk<'c>,
}

impl<'c> BytesColumn<'c> {
    pub(super) fn new(
        descriptor: ColumnDescPtr,
        compressor: &'c mut Compressor,
    ) -> BytesColumn<'c> {
        let chunk = Chunk::new(descriptor, compressor, false);
        BytesColumn { rows: Vec::new(), plain: Vec::new(), chunk }
    }

    /// A row; no bytes are no value.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            self.rows.push(NULL);
        } else {
            self.rows.push(0);
            put_plain(&mut self.plain, bytes);
        }
        match self.plain.len() >= PLAIN_PAGE_SIZE_BYTES || self.rows.len() >= ROWS_PER_PAGE {
            true => self.finish_page(),
            false => Ok(()),
        }
    }

    fn finish_page(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(self.plain.len() + 64);
        put_presence(&mut bytes, &self.rows);
        bytes.append(&mut self.plain);
        let row_count = self.rows.len();
        self.rows.clear();
        self.chunk.write(Ready { bytes, row_count, encoding: Encoding::PLAIN, range: None })
    }

    pub(super) fn finish(mut self) -> Result<(Bytes, ColumnCloseResult)> {
        self.finish_page()?;
        self.chunk.finish()
    }
}

/// A column chunk in memory, to be copied into the file in its turn.
struct Chunk<'c> {
    descriptor: ColumnDescPtr,
    compressor: &'c mut Compressor,
    sink: TrackedWrite<Vec<u8>>,
    offsets: OffsetIndexBuilder,
    ranges: Option<ColumnIndexBuilder>,
    low: Option<Vec<u8>>,
    high: Option<Vec<u8>>,
    dictionary_at: Option<i64>,
    data_at: Option<i64>,
    encodings: Vec<Encoding>,
    row_count: usize,
    uncompressed_size: i64,
    compressed_size: i64,
}

impl<'c> Chunk<'c> {
    fn new(
        descriptor: ColumnDescPtr,
        compressor: &'c mut Compressor,
        has_statistics: bool,
    ) -> Chunk<'c> {
        Chunk {
            descriptor,
            compressor,
            sink: TrackedWrite::new(Vec::new()),
            offsets: OffsetIndexBuilder::new(),
            ranges: has_statistics.then(|| ColumnIndexBuilder::new(Type::BYTE_ARRAY)),
            low: None,
            high: None,
            dictionary_at: None,
            data_at: None,
            encodings: vec![Encoding::RLE],
            row_count: 0,
            uncompressed_size: 0,
            compressed_size: 0,
        }
    }

    fn compress(&mut self, bytes: &[u8]) -> Result<Bytes> {
        Ok(self.compressor.zstd.compress(bytes)?.into())
    }

    fn write_dictionary(&mut self, bytes: &[u8], count: usize) -> Result<()> {
        let page = Page::DictionaryPage {
            buf: self.compress(bytes)?,
            num_values: u32::try_from(count).expect("a dictionary is a megabyte"),
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let written = self.put(page, bytes.len())?;
        self.dictionary_at = Some(written as i64);
        self.encodings.extend([Encoding::PLAIN, Encoding::RLE_DICTIONARY]);
        Ok(())
    }

    fn write(&mut self, ready: Ready) -> Result<()> {
        let Ready { bytes, row_count, encoding, range } = ready;
        let page = Page::DataPage {
            buf: self.compress(&bytes)?,
            num_values: u32::try_from(row_count).expect("a page has few rows"),
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let before = self.compressed_size;
        let at = self.put(page, bytes.len())? as i64;
        self.data_at.get_or_insert(at);
        let size = i32::try_from(self.compressed_size - before).expect("pages are bounded");
        self.offsets.append_row_count(row_count as i64);
        self.offsets.append_offset_and_size(at, size);
        self.row_count += row_count;
        if !self.encodings.contains(&encoding) {
            self.encodings.push(encoding);
        }
        if let (Some(ranges), Some((low, high))) = (&mut self.ranges, range) {
            if self.low.as_ref().is_none_or(|lowest| low < *lowest) {
                self.low = Some(low.clone());
            }
            if self.high.as_ref().is_none_or(|highest| high > *highest) {
                self.high = Some(high.clone());
            }
            ranges.append(false, low, high, 0);
        }
        Ok(())
    }

    fn put(&mut self, page: Page, uncompressed_size: usize) -> Result<u64> {
        let mut writer = SerializedPageWriter::new(&mut self.sink);
        let written = writer.write_page(CompressedPage::new(page, uncompressed_size))?;
        let header_size = written.bytes_written as i64 - written.compressed_size as i64;
        self.compressed_size += written.bytes_written as i64;
        self.uncompressed_size += uncompressed_size as i64 + header_size.max(0);
        Ok(written.offset)
    }

    fn finish(self) -> Result<(Bytes, ColumnCloseResult)> {
        let mut metadata = ColumnChunkMetaData::builder(self.descriptor)
            .set_compression(self.compressor.codec)
            .set_encodings(self.encodings)
            .set_num_values(self.row_count as i64)
            .set_total_compressed_size(self.compressed_size)
            .set_total_uncompressed_size(self.uncompressed_size)
            .set_data_page_offset(self.data_at.unwrap_or(0))
            .set_dictionary_page_offset(self.dictionary_at);
        if let (Some(low), Some(high)) = (self.low, self.high) {
            let (low, high) = (ByteArray::from(low), ByteArray::from(high));
            let range = Statistics::byte_array(Some(low), Some(high), None, Some(0), false);
            metadata = metadata.set_statistics(range);
        }
        let close = ColumnCloseResult {
            bytes_written: self.compressed_size as u64,
            rows_written: self.row_count as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: self.ranges.map(ColumnIndexBuilder::build).transpose()?,
            offset_index: Some(self.offsets.build()),
        };
        Ok((self.sink.into_inner()?.into(), close))
    }
}

fn put_plain(bytes: &mut Vec<u8>, value: &[u8]) {
    let length = u32::try_from(value.len()).expect("a record is far below 4 GiB");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(value);
}

/// Definition levels: which rows have a value.
fn put_presence(bytes: &mut Vec<u8>, rows: &[u32]) {
    let at = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    if rows.iter().all(|key| *key != NULL) {
        put_run(bytes, rows.len(), 1, 1);
    } else if rows.iter().all(|key| *key == NULL) {
        put_run(bytes, rows.len(), 0, 1);
    } else {
        let levels: Vec<u32> = rows.iter().map(|key| u32::from(*key != NULL)).collect();
        put_hybrid(bytes, &levels, 1);
    }
    let length = u32::try_from(bytes.len() - at - 4).expect("a page is far below 4 GiB");
    bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

/// Parquet's hybrid of runs and bit-packed groups of eight.
fn put_hybrid(bytes: &mut Vec<u8>, values: &[u32], bits: u32) {
    let mut packed_from = 0;
    let mut at = 0;
    while at < values.len() {
        let value = values[at];
        let run = values[at..].iter().take_while(|other| **other == value).count();
        // A packed stretch can only end after a multiple of eight values: the run's first ones
        // fill it up.
        let fill = (8 - (at - packed_from) % 8) % 8;
        if run >= fill + 8 {
            put_packed(bytes, &values[packed_from..at + fill], bits);
            put_run(bytes, run - fill, value, bits);
            at += run;
            packed_from = at;
        } else {
            at += run;
        }
    }
    put_packed(bytes, &values[packed_from..], bits);
}

fn put_run(bytes: &mut Vec<u8>, count: usize, value: u32, bits: u32) {
    if count > 0 {
        put_varint(bytes, (count as u64) << 1);
        bytes.extend_from_slice(&value.to_le_bytes()[..bits.div_ceil(8) as usize]);
    }
}

fn put_packed(bytes: &mut Vec<u8>, values: &[u32], bits: u32) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(8);
    put_varint(bytes, (groups as u64) << 1 | 1);
    let end = bytes.len() + groups * bits as usize;
    let (mut word, mut filled) = (0_u64, 0);
    for value in values {
        word |= u64::from(*value) << filled;
        filled += bits;
        while filled >= 8 {
            bytes.push(word as u8);
            word >>= 8;
            filled -= 8;
        }
    }
    bytes.push(word as u8);
    bytes.resize(end, 0);
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The encoding by its definition, value by value.
    fn read_hybrid(mut bytes: &[u8], bits: u32, count: usize) -> Vec<u32> {
        let mut values = Vec::new();
        while values.len() < count {
            let (mut header, mut shift) = (0_u64, 0);
            loop {
                let (byte, rest) = bytes.split_first().expect("more values");
                bytes = rest;
                header |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            if header & 1 == 0 {
                let (value, rest) = bytes.split_at(bits.div_ceil(8) as usize);
                bytes = rest;
                let value = value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
                values.extend(std::iter::repeat_n(value, (header >> 1) as usize));
            } else {
                let (packed, rest) = bytes.split_at((header >> 1) as usize * bits as usize);
                bytes = rest;
                let bit = |n: usize| u32::from(packed[n / 8] >> (n % 8) & 1);
                for n in 0..(header >> 1) as usize * 8 {
                    let first = n * bits as usize;
                    values.push((0..bits as usize).fold(0, |v, b| v | bit(first + b) << b));
                }
            }
        }
        assert!(bytes.is_empty(), "{} bytes too many", bytes.len());
        values.truncate(count);
        values
    }

    proptest! {
        /// Goal: our run-length encoding is Parquet's. Method: a decoder written from the
        /// specification reads back runs of any length.
        #[test]
        fn runs_and_groups_are_read_back(
            bits in 1_u32..20,
            runs in proptest::collection::vec((any::<u32>(), 1_usize..30), 0..40),
        ) {
            let values: Vec<u32> = runs
                .iter()
                .flat_map(|(value, count)| std::iter::repeat_n(value % (1 << bits), *count))
                .collect();
            let mut bytes = Vec::new();
            put_hybrid(&mut bytes, &values, bits);
            prop_assert_eq!(read_hybrid(&bytes, bits, values.len()), values);
        }
    }
}

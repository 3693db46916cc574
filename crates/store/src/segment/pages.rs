//! Column chunks, written page by page.
//!
//! The Parquet crate's own writer looks every value up in a hash table, row by row and column by
//! column; with twenty text columns, most of which repeat one value for thousands of rows, that is
//! more work than all the rest of a segment. Here a value that is *the same text in memory* as one
//! a moment ago costs a comparison of pointers, and one that is the same as in the row before costs
//! a count. What comes out is plain Parquet: data pages of version 1, each a zstd frame with its
//! checksum.

use std::marker::PhantomData;

use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::bloom_filter::Sbbf;
use parquet::data_type::ByteArray;
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder};
use parquet::file::statistics::Statistics;

use super::dictionary::Dictionary;
use super::encoding::{
    Coding, PageKind, key_bits, put_delta, put_flags, put_hybrid, put_page_header, put_plain,
    put_presence, put_run, put_same_presence,
};
use super::file::{FileWriter, Written};

/// Rows of a page whose values differ: a hundred rows cost the decoding of a few thousand values,
/// and headers and indexes some 0.01 bytes a row and column.
pub(crate) const ROWS_PER_PAGE: usize = 4096;

/// Rows of a page that says the same of all of them.
pub(crate) const ROWS_PER_SAME_PAGE: usize = 1 << 20;

/// The same for flags, which are written out one by one.
pub(crate) const FLAGS_PER_SAME_PAGE: usize = 1 << 16;

/// 64 KiB of texts that come once.
const PLAIN_PAGE_SIZE_BYTES: usize = 64 << 10;

/// 256 KiB of raw lines: lines resemble each other over a long way, and zstd sees no further than a
/// page. With pages of 64 KiB a line of 494 bytes takes 5.8 bytes more, and one of 1 MiB takes 1.6
/// bytes less; a page is decompressed in 0.07 ms (0.03, 0.28).
const RAW_PAGE_SIZE_BYTES: usize = 256 << 10;

/// One in a hundred look-ups of a value that is not there finds it possible; 10 bits a value.
const BLOOM_MISTAKES: f64 = 0.01;

/// 4 MiB: enough for one distinct value in each of four million rows, at 3 mistakes in a hundred.
const BLOOM_SIZE_BYTES_MAX: usize = 4 << 20;

/// No value, among dictionary keys.
pub(crate) const NULL: u32 = u32::MAX;

/// Compresses pages; one for many columns, since its tables are large.
pub(crate) struct Compressor {
    codec: Compression,
    zstd: zstd::bulk::Compressor<'static>,
    /// What was compressed last; kept because a fresh one for each page would leave holes in memory.
    compressed: Vec<u8>,
}

impl Compressor {
    pub(crate) fn new(level: i32) -> Result<Compressor> {
        let mut zstd = zstd::bulk::Compressor::new(level)?;
        // A reader then notices a flipped bit, which Parquet itself leaves to luck.
        zstd.include_checksum(true)?;
        let level = ZstdLevel::try_new(level).expect("a level that zstd has");
        Ok(Compressor { codec: Compression::ZSTD(level), zstd, compressed: Vec::new() })
    }

    fn compress(&mut self, bytes: &[u8]) -> Result<&[u8]> {
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        self.zstd.compress_to_buffer(bytes, &mut self.compressed)?;
        Ok(&self.compressed)
    }
}

/// A page that is ready to be compressed.
struct Ready {
    bytes: Vec<u8>,
    row_count: usize,
    coding: Coding,
    /// Lowest and highest value, where the column has statistics.
    range: Option<(Vec<u8>, Vec<u8>)>,
}

/// A column chunk on its way into the file.
struct Chunk {
    /// Pages that are compressed and not yet in the file.
    packed: Vec<u8>,
    /// Of each data page: where it is behind the first one, how long, how many rows.
    pages: Vec<(u64, usize, usize)>,
    ranges: Option<ColumnIndexBuilder>,
    range: Option<(Vec<u8>, Vec<u8>)>,
    codings: Vec<Encoding>,
    begin: Option<Begin>,
    packed_size: u64,
    uncompressed_size: u64,
}

/// Where a chunk stands in the file.
struct Begin {
    dictionary: Option<u64>,
    data: u64,
}

impl Chunk {
    fn new() -> Chunk {
        Chunk {
            packed: Vec::new(),
            pages: Vec::new(),
            ranges: None,
            range: None,
            codings: vec![Encoding::RLE],
            begin: None,
            packed_size: 0,
            uncompressed_size: 0,
        }
    }

    fn with_statistics(kind: Type) -> Chunk {
        Chunk { ranges: Some(ColumnIndexBuilder::new(kind)), ..Chunk::new() }
    }

    /// Compresses a page.
    fn pack(&mut self, page: &Ready, compressor: &mut Compressor) -> Result<()> {
        let Ready { bytes, row_count, coding, range } = page;
        let (row_count, coding) = (*row_count, *coding);
        let compressed = compressor.compress(bytes)?;
        let before = self.packed.len();
        let sizes = (bytes.len(), compressed.len());
        put_page_header(&mut self.packed, PageKind::Data, sizes, row_count, coding);
        let header_size = self.packed.len() - before;
        self.packed.extend_from_slice(compressed);
        let size = self.packed.len() - before;
        self.pages.push((self.packed_size, size, row_count));
        self.packed_size += size as u64;
        self.uncompressed_size += (bytes.len() + header_size) as u64;
        let encoding = match coding {
            Coding::Plain => Encoding::PLAIN,
            Coding::Delta => Encoding::DELTA_BINARY_PACKED,
            Coding::Keys => Encoding::RLE_DICTIONARY,
        };
        if !self.codings.contains(&encoding) {
            self.codings.push(encoding);
        }
        match (&mut self.ranges, range) {
            (Some(ranges), Some((low, high))) => {
                ranges.append(false, low.clone(), high.clone(), 0);
            }
            // A column index has an entry for each page, or there is none.
            (Some(_), None) => self.ranges = None,
            (None, _) => {}
        }
        Ok(())
    }

    /// Writes the dictionary, if the chunk has one; before any other page.
    fn write_dictionary(
        &mut self,
        file: &mut FileWriter<'_, '_>,
        dictionary: &[u8],
        value_count: usize,
        compressor: &mut Compressor,
    ) -> Result<()> {
        if self.begin.is_some() || value_count == 0 {
            return Ok(());
        }
        let at = file.position();
        let compressed = compressor.compress(dictionary)?;
        let mut header = Vec::new();
        let sizes = (dictionary.len(), compressed.len());
        let kind = PageKind::Dictionary;
        put_page_header(&mut header, kind, sizes, value_count, Coding::Plain);
        file.put(&header)?;
        file.put(compressed)?;
        self.uncompressed_size += (header.len() + dictionary.len()) as u64;
        self.codings.push(Encoding::PLAIN);
        self.begin = Some(Begin { dictionary: Some(at), data: file.position() });
        Ok(())
    }

    /// Writes what is compressed so far.
    fn spill(&mut self, file: &mut FileWriter<'_, '_>) -> Result<()> {
        let data = file.position();
        self.begin.get_or_insert(Begin { dictionary: None, data });
        file.put(&self.packed)?;
        self.packed.clear();
        Ok(())
    }

    fn finish(
        mut self,
        file: &mut FileWriter<'_, '_>,
        codec: Compression,
        bloom: Option<Sbbf>,
    ) -> Result<()> {
        self.spill(file)?;
        let begin = self.begin.expect("a chunk that was spilled has begun");
        let mut offsets = OffsetIndexBuilder::new();
        for (at, size, row_count) in &self.pages {
            let size = i32::try_from(*size).expect("pages are bounded");
            offsets.append_row_count(*row_count as i64);
            offsets.append_offset_and_size((begin.data + at) as i64, size);
        }
        let first = begin.dictionary.unwrap_or(begin.data);
        let row_count: usize = self.pages.iter().map(|(_, _, row_count)| row_count).sum();
        let descriptor = file.descriptor();
        let kind = descriptor.physical_type();
        self.codings.dedup();
        let mut metadata = ColumnChunkMetaData::builder(descriptor)
            .set_compression(codec)
            .set_encodings(self.codings)
            .set_num_values(row_count as i64)
            .set_total_compressed_size((file.position() - first) as i64)
            .set_total_uncompressed_size(self.uncompressed_size as i64)
            .set_data_page_offset(begin.data as i64)
            .set_dictionary_page_offset(begin.dictionary.map(|at| at as i64));
        if let (Some(_), Some((low, high))) = (&self.ranges, self.range) {
            metadata = metadata.set_statistics(statistics(kind, low, high));
        }
        file.end_column(Written {
            metadata: metadata.build()?,
            bloom,
            ranges: self.ranges.map(ColumnIndexBuilder::build).transpose()?,
            offsets: offsets.build(),
        });
        Ok(())
    }
}

fn statistics(kind: Type, low: Vec<u8>, high: Vec<u8>) -> Statistics {
    let number = |bytes: &[u8]| bytes.try_into().map(i64::from_le_bytes).ok();
    match kind {
        Type::INT64 => Statistics::int64(number(&low), number(&high), None, Some(0), false),
        _ => {
            let (low, high) = (ByteArray::from(low), ByteArray::from(high));
            Statistics::byte_array(Some(low), Some(high), None, Some(0), false)
        }
    }
}

/// A column of texts that repeat.
pub(crate) struct TextColumn<'a> {
    is_optional: bool,
    has_statistics: bool,
    has_bloom: bool,
    /// Values of late, by their place in memory.
    recent: Vec<(*const u8, usize, u32)>,
    /// How many values were not among them.
    miss_count: usize,
    texts: PhantomData<&'a str>,
    dictionary: Dictionary,
    /// Of the pages that are ready, how many rows have a value.
    value_count: usize,
    is_dictionary_full: bool,
    /// Of a column whose dictionary is full.
    bloom: Option<Sbbf>,
    page: KeysInWork,
    ready: Vec<Ready>,
    chunk: Chunk,
}

/// 64 places: a batch has fewer applications, and fewer drivers, than that. Where they do not do, as
/// for users, there are more.
const RECENT: usize = 64;
const RECENT_MAX: usize = 4096;

/// A page of keys. As long as all are the same, they are only counted.
#[derive(Default)]
struct KeysInWork {
    same: u32,
    same_count: usize,
    /// A key for each row, once they differ; once the dictionary is full, anything but [`NULL`] for
    /// a value.
    rows: Vec<u32>,
    /// Values, once the dictionary is full.
    plain: Vec<u8>,
}

impl KeysInWork {
    fn len(&self) -> usize {
        self.same_count + self.rows.len()
    }

    fn differ(&mut self) {
        self.rows.resize(self.same_count, self.same);
        self.same_count = 0;
    }
}

impl<'a> TextColumn<'a> {
    pub(crate) fn new(is_optional: bool) -> TextColumn<'a> {
        TextColumn {
            is_optional,
            has_statistics: false,
            has_bloom: false,
            recent: vec![(std::ptr::null(), 0, NULL); RECENT],
            miss_count: 0,
            texts: PhantomData,
            dictionary: Dictionary::new(),
            value_count: 0,
            is_dictionary_full: false,
            bloom: None,
            page: KeysInWork::default(),
            ready: Vec::new(),
            chunk: Chunk::new(),
        }
    }

    /// With minimum and maximum of each page.
    pub(crate) fn with_statistics(self) -> TextColumn<'a> {
        let chunk = Chunk::with_statistics(Type::BYTE_ARRAY);
        TextColumn { has_statistics: true, chunk, ..self }
    }

    /// With a Bloom filter of its values.
    pub(crate) fn with_bloom(self) -> TextColumn<'a> {
        TextColumn { has_bloom: true, ..self }
    }

    /// A row without a value.
    #[inline]
    pub(crate) fn push_null(&mut self) {
        self.push_keys(NULL, 1);
    }

    /// A row with a value that repeats. The texts of one column must all live while it is written:
    /// their place in memory stands for their content.
    #[inline]
    pub(crate) fn push(&mut self, text: &'a str) {
        let place = (text.as_ptr(), text.len());
        let slot = (place.0.addr() / 16) % self.recent.len();
        let recent = self.recent[slot];
        if (recent.0, recent.1) != place || self.is_dictionary_full {
            if let Some(key) = self.push_made(text) {
                self.recent[slot] = (place.0, place.1, key);
            }
            self.miss_count += 1;
            if self.miss_count > 16 * self.recent.len() && self.recent.len() < RECENT_MAX {
                self.miss_count = 0;
                self.recent = vec![(std::ptr::null(), 0, NULL); RECENT_MAX];
            }
        } else {
            self.push_keys(recent.2, 1);
        }
    }

    /// A row with a value that was made for it. Returns the value's key, if it has one.
    pub(crate) fn push_made(&mut self, text: &str) -> Option<u32> {
        let key = self.key(text);
        match key {
            Some(key) => self.push_keys(key, 1),
            None => self.push_plain(text.as_bytes()),
        }
        key
    }

    /// A row with a value that [`TextColumn::push_made`] gave a key; `false`, and no row, if keys
    /// are no longer used.
    pub(crate) fn push_known(&mut self, key: u32) -> bool {
        if !self.is_dictionary_full {
            self.push_keys(key, 1);
        }
        !self.is_dictionary_full
    }

    #[inline]
    pub(crate) fn push_option(&mut self, text: Option<&'a str>) {
        match text {
            Some(text) => self.push(text),
            None => self.push_null(),
        }
    }

    /// The key of a value, which gets one if it has none; `None` once keys are no longer used.
    pub(crate) fn key(&mut self, text: &str) -> Option<u32> {
        if self.is_dictionary_full {
            return None;
        }
        let key = self.dictionary.key(text.as_bytes(), self.value_count);
        if key.is_none() {
            self.give_up_dictionary();
        }
        key
    }

    /// Rows with a value that [`TextColumn::key`] gave a key, or with [`NULL`].
    pub(crate) fn push_keys(&mut self, key: u32, mut count: usize) {
        if self.page.rows.is_empty() {
            if key != self.page.same && self.page.same_count >= ROWS_PER_PAGE {
                self.finish_page();
            }
            if self.page.same_count == 0 {
                self.page.same = key;
            }
            if key == self.page.same {
                while count > 0 {
                    let part = count.min(ROWS_PER_SAME_PAGE - self.page.same_count);
                    self.page.same_count += part;
                    count -= part;
                    if self.page.same_count == ROWS_PER_SAME_PAGE {
                        self.finish_page();
                        self.page.same = key;
                    }
                }
                return;
            }
            self.page.differ();
        }
        let part = count.min(ROWS_PER_PAGE - self.page.rows.len());
        self.page.rows.resize(self.page.rows.len() + part, key);
        if self.page.rows.len() >= ROWS_PER_PAGE {
            self.finish_page();
        }
        if count > part {
            self.push_keys(key, count - part);
        }
    }

    /// Rows with values that have keys, or none.
    pub(crate) fn push_key_slice(&mut self, mut keys: &[u32]) {
        while let Some(first) = keys.first() {
            if self.page.rows.is_empty() {
                let run = keys.iter().take_while(|key| *key == first).count();
                self.push_keys(*first, run);
                keys = &keys[run..];
            } else {
                let part = keys.len().min(ROWS_PER_PAGE - self.page.rows.len());
                self.page.rows.extend_from_slice(&keys[..part]);
                keys = &keys[part..];
                if self.page.rows.len() == ROWS_PER_PAGE {
                    self.finish_page();
                }
            }
        }
    }

    /// A row with a value, once keys are no longer used.
    pub(crate) fn push_plain(&mut self, text: &[u8]) {
        debug_assert!(self.is_dictionary_full);
        if self.page.rows.is_empty() {
            if self.page.same_count >= ROWS_PER_PAGE {
                self.finish_page();
            }
            self.page.differ();
        }
        put_plain(&mut self.page.plain, text);
        self.page.rows.push(0);
        if let Some(bloom) = &mut self.bloom {
            bloom.insert(text);
        }
        if self.page.rows.len() >= ROWS_PER_PAGE || self.page.plain.len() >= PLAIN_PAGE_SIZE_BYTES {
            self.finish_page();
        }
    }

    pub(crate) fn is_dictionary_full(&self) -> bool {
        self.is_dictionary_full
    }

    fn give_up_dictionary(&mut self) {
        self.finish_page();
        self.is_dictionary_full = true;
        if self.has_bloom {
            let mut bloom = Sbbf::new_with_num_of_bytes(BLOOM_SIZE_BYTES_MAX);
            self.dictionary.values().for_each(|text| bloom.insert(text));
            self.bloom = Some(bloom);
        }
    }

    fn finish_page(&mut self) {
        let row_count = self.page.len();
        if row_count == 0 {
            return;
        }
        let range = (self.has_statistics && !self.is_dictionary_full).then(|| self.range());
        let page = &mut self.page;
        let mut bytes = Vec::new();
        let mut coding = Coding::Keys;
        if page.rows.is_empty() {
            if self.is_optional {
                put_same_presence(&mut bytes, row_count, page.same != NULL);
            }
            if page.same == NULL {
                coding = Coding::Plain;
            } else {
                let bits = key_bits(self.dictionary.len());
                bytes.push(bits as u8);
                put_run(&mut bytes, row_count, page.same, bits);
                self.value_count += row_count;
            }
        } else {
            if self.is_optional {
                put_key_presence(&mut bytes, &page.rows);
            }
            if self.is_dictionary_full {
                bytes.append(&mut page.plain);
                coding = Coding::Plain;
            } else {
                let bits = key_bits(self.dictionary.len());
                bytes.push(bits as u8);
                if self.is_optional {
                    page.rows.retain(|key| *key != NULL);
                }
                put_hybrid(&mut bytes, &page.rows, bits);
                self.value_count += page.rows.len();
            }
        }
        page.rows.clear();
        page.same_count = 0;
        self.ready.push(Ready { bytes, row_count, coding, range });
    }

    /// Lowest and highest value of the page.
    fn range(&mut self) -> (Vec<u8>, Vec<u8>) {
        let mut keys = self.page.rows.clone();
        keys.dedup();
        if keys.is_empty() {
            keys.push(self.page.same);
        }
        let low =
            keys.iter().map(|key| self.dictionary.value(*key)).min().unwrap_or_default().to_vec();
        let high =
            keys.iter().map(|key| self.dictionary.value(*key)).max().unwrap_or_default().to_vec();
        if self.chunk.range.as_ref().is_none_or(|range| low < range.0) {
            let high = self.chunk.range.take().map_or(high.clone(), |range| range.1);
            self.chunk.range = Some((low.clone(), high));
        }
        if let Some(range) = &mut self.chunk.range
            && high > range.1
        {
            range.1.clone_from(&high);
        }
        (low, high)
    }

    /// Writes pages that need not wait for the dictionary, if they are many.
    pub(crate) fn spill(
        &mut self,
        file: &mut FileWriter<'_, '_>,
        compressor: &mut Compressor,
    ) -> Result<()> {
        match self.is_dictionary_full && self.ready.len() > 16 {
            true => self.write_ready(file, compressor),
            false => Ok(()),
        }
    }

    fn write_ready(
        &mut self,
        file: &mut FileWriter<'_, '_>,
        compressor: &mut Compressor,
    ) -> Result<()> {
        let (page, count) = (self.dictionary.page(), self.dictionary.len());
        self.chunk.write_dictionary(file, page, count, compressor)?;
        for page in self.ready.drain(..) {
            self.chunk.pack(&page, compressor)?;
        }
        self.chunk.spill(file)
    }

    /// Writes the rest.
    pub(crate) fn finish(
        mut self,
        file: &mut FileWriter<'_, '_>,
        compressor: &mut Compressor,
    ) -> Result<()> {
        self.finish_page();
        self.write_ready(file, compressor)?;
        let bloom = match self.bloom.take() {
            Some(mut bloom) => {
                bloom.fold_to_target_fpp(BLOOM_MISTAKES);
                Some(bloom)
            }
            None if self.has_bloom => {
                let count = self.dictionary.len() as u64;
                let mut bloom = Sbbf::new_with_ndv_fpp(count, BLOOM_MISTAKES)?;
                self.dictionary.values().for_each(|text| bloom.insert(text));
                Some(bloom)
            }
            None => None,
        };
        self.chunk.finish(file, compressor.codec, bloom)
    }
}

fn put_key_presence(bytes: &mut Vec<u8>, rows: &[u32]) {
    if rows.iter().all(|key| *key != NULL) {
        put_same_presence(bytes, rows.len(), true);
    } else {
        let levels: Vec<u32> = rows.iter().map(|key| u32::from(*key != NULL)).collect();
        put_presence(bytes, &levels);
    }
}

/// A column of byte strings that do not repeat, compressed as they come.
pub(crate) struct BytesColumn {
    compressor: Compressor,
    null_count: usize,
    /// For each row 1 if it has a value, once one has.
    levels: Vec<u32>,
    plain: Vec<u8>,
    /// The last page's bytes, whose place the next page's take.
    page: Vec<u8>,
    chunk: Chunk,
}

impl BytesColumn {
    pub(crate) fn new(compressor: Compressor) -> BytesColumn {
        let (levels, plain, page) = (Vec::new(), Vec::new(), Vec::new());
        BytesColumn { compressor, null_count: 0, levels, plain, page, chunk: Chunk::new() }
    }

    /// Rows without a value.
    pub(crate) fn push_nulls(&mut self, mut count: usize) -> Result<()> {
        while count > 0 {
            let max = if self.levels.is_empty() { ROWS_PER_SAME_PAGE } else { ROWS_PER_PAGE };
            let part = count.min(max - self.levels.len() - self.null_count);
            match self.levels.is_empty() {
                true => self.null_count += part,
                false => self.levels.resize(self.levels.len() + part, 0),
            }
            count -= part;
            if self.levels.len() + self.null_count == max {
                self.finish_page()?;
            }
        }
        Ok(())
    }

    /// A row; no bytes are no value.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return self.push_nulls(1);
        }
        if self.null_count >= ROWS_PER_PAGE {
            self.finish_page()?;
        }
        self.levels.resize(self.levels.len() + std::mem::take(&mut self.null_count), 0);
        self.levels.push(1);
        put_plain(&mut self.plain, bytes);
        match self.plain.len() >= RAW_PAGE_SIZE_BYTES || self.levels.len() >= ROWS_PER_PAGE {
            true => self.finish_page(),
            false => Ok(()),
        }
    }

    fn finish_page(&mut self) -> Result<()> {
        let row_count = self.null_count + self.levels.len();
        if row_count == 0 {
            return Ok(());
        }
        let mut bytes = std::mem::take(&mut self.page);
        bytes.clear();
        match self.levels.is_empty() {
            true => put_same_presence(&mut bytes, row_count, false),
            false => put_key_levels(&mut bytes, &self.levels),
        }
        bytes.append(&mut self.plain);
        self.levels.clear();
        self.null_count = 0;
        let page = Ready { bytes, row_count, coding: Coding::Plain, range: None };
        self.chunk.pack(&page, &mut self.compressor)?;
        self.page = page.bytes;
        Ok(())
    }

    /// Writes pages that are ready, if they are many.
    pub(crate) fn spill(&mut self, file: &mut FileWriter<'_, '_>) -> Result<()> {
        match self.chunk.packed.len() >= 1 << 20 {
            true => self.chunk.spill(file),
            false => Ok(()),
        }
    }

    pub(crate) fn finish(mut self, file: &mut FileWriter<'_, '_>) -> Result<()> {
        self.finish_page()?;
        self.chunk.finish(file, self.compressor.codec, None)
    }
}

fn put_key_levels(bytes: &mut Vec<u8>, levels: &[u32]) {
    match levels.iter().all(|level| *level == 1) {
        true => put_same_presence(bytes, levels.len(), true),
        false => put_presence(bytes, levels),
    }
}

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
                false => put_key_levels(&mut bytes, &self.levels),
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
            put_flags(
                &mut bytes,
                &vec![
                    self.same == Some(true);
                    match self.same {
                        Some(_) => row_count,
                        None => 0,
                    }
                ],
            );
        } else {
            let levels: Vec<u32> = self.rows.iter().map(|row| row.is_some().into()).collect();
            put_key_levels(&mut bytes, &levels);
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

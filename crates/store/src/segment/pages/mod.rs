//! Column chunks, written page by page.
//!
//! The Parquet crate's own writer looks every value up in a hash table, row by row and column by
//! column; with twenty text columns, most of which repeat one value for thousands of rows, that is
//! more work than all the rest of a segment. Here a value that is *the same text in memory* as one
//! a moment ago costs a comparison of pointers, and one that is the same as in the row before costs
//! a count. What comes out is plain Parquet: data pages of version 1, each a zstd frame with its
//! checksum.
//!
//! Here is what all columns share: a chunk of pages on its way into the file. [`text`], [`bytes`] and
//! [`number`] decide what becomes a page.

mod bytes;
mod number;
mod text;

use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::bloom_filter::Sbbf;
use parquet::data_type::ByteArray;
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder};
use parquet::file::statistics::Statistics;

pub(crate) use self::bytes::BytesColumn;
pub(crate) use self::number::{FlagColumn, NumberColumn};
pub(crate) use self::text::TextColumn;
use super::encoding::{Coding, PageKind, put_page_header, put_presence, put_same_presence};
use super::file::{FileWriter, Written};

/// Rows of a page whose values differ: a hundred rows cost the decoding of a few thousand values,
/// and headers and indexes some 0.01 bytes a row and column.
pub(crate) const ROWS_PER_PAGE: usize = 4096;

/// Rows of a page that says the same of all of them.
pub(crate) const ROWS_PER_SAME_PAGE: usize = 1 << 20;

/// The same for flags, which are written out one by one.
pub(crate) const FLAGS_PER_SAME_PAGE: usize = 1 << 16;

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

/// Which rows have a value, by 1 and 0.
fn put_levels(bytes: &mut Vec<u8>, levels: &[u32]) {
    match levels.iter().all(|level| *level == 1) {
        true => put_same_presence(bytes, levels.len(), true),
        false => put_presence(bytes, levels),
    }
}

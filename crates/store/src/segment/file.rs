//! The file around the pages: one row group, Bloom filters, page index, footer.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::ColumnOrder;
use parquet::bloom_filter::Sbbf;
use parquet::errors::Result;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, KeyValue, ParquetMetaDataBuilder, ParquetMetaDataWriter,
    RowGroupMetaData, SortingColumn,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use super::{Tail, VERSION, VERSION_KEY, schema};
use crate::disk::{DiskFile, write_all_at};

/// A segment file being written, column by column in the order of the schema.
pub(crate) struct FileWriter<'s, 'd> {
    schema: Arc<SchemaDescriptor>,
    out: TrackedWrite<&'s mut Sink<'d>>,
    columns: Vec<ColumnChunkMetaData>,
    blooms: Vec<Option<Sbbf>>,
    ranges: Vec<ColumnIndexMetaData>,
    offsets: Vec<OffsetIndexMetaData>,
}

/// A column chunk whose pages are in the file.
pub(crate) struct Written {
    pub(crate) metadata: ColumnChunkMetaData,
    pub(crate) bloom: Option<Sbbf>,
    pub(crate) ranges: Option<ColumnIndexMetaData>,
    pub(crate) offsets: OffsetIndexMetaData,
}

const MAGIC: &[u8; 4] = b"PAR1";

impl<'s, 'd> FileWriter<'s, 'd> {
    pub(crate) fn new(sink: &'s mut Sink<'d>) -> Result<FileWriter<'s, 'd>> {
        let mut out = TrackedWrite::new(sink);
        out.write_all(MAGIC)?;
        Ok(FileWriter {
            schema: Arc::new(schema()),
            out,
            columns: Vec::new(),
            blooms: Vec::new(),
            ranges: Vec::new(),
            offsets: Vec::new(),
        })
    }

    /// The column that is written next.
    pub(crate) fn descriptor(&self) -> ColumnDescPtr {
        self.schema.column(self.columns.len())
    }

    /// Where the next byte comes to stand.
    pub(crate) fn position(&self) -> u64 {
        self.out.bytes_written() as u64
    }

    /// Adds bytes of the column that is written.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.out.write_all(bytes)?)
    }

    /// Ends a column.
    pub(crate) fn end_column(&mut self, written: Written) {
        self.columns.push(written.metadata);
        self.blooms.push(written.bloom);
        self.ranges.push(written.ranges.unwrap_or(ColumnIndexMetaData::NONE));
        self.offsets.push(written.offsets);
    }

    /// Writes what stands behind the pages.
    pub(crate) fn finish(mut self, row_count: usize) -> Result<()> {
        let tail_from = self.position();
        self.out.inner_mut().tail_from = tail_from;
        for (column, bloom) in self.columns.iter_mut().zip(&self.blooms) {
            let Some(bloom) = bloom else { continue };
            let at = self.out.bytes_written();
            bloom.write(&mut self.out)?;
            let size = self.out.bytes_written() - at;
            let builder = column.clone().into_builder();
            let builder = builder.set_bloom_filter_offset(Some(at as i64));
            *column = builder.set_bloom_filter_length(Some(size as i32)).build()?;
        }
        let size = self.columns.iter().map(ColumnChunkMetaData::uncompressed_size).sum();
        let group = RowGroupMetaData::builder(Arc::clone(&self.schema))
            .set_num_rows(row_count as i64)
            .set_total_byte_size(size)
            .set_sorting_columns(Some(sorting(&self.schema)))
            .set_column_metadata(self.columns)
            .set_ordinal(0)
            .build()?;
        let version = KeyValue::new(VERSION_KEY.to_owned(), VERSION.to_string());
        let orders = self.schema.columns().iter();
        let orders = orders.map(|column| ColumnOrder::TYPE_DEFINED_ORDER(column.sort_order()));
        let file = FileMetaData::new(
            1,
            row_count as i64,
            Some(format!("doorbook {}", env!("CARGO_PKG_VERSION"))),
            Some(vec![version]),
            Arc::clone(&self.schema),
            Some(orders.collect()),
        );
        let metadata = ParquetMetaDataBuilder::new(file)
            .set_row_groups(vec![group])
            .set_column_index(Some(vec![self.ranges]))
            .set_offset_index(Some(vec![self.offsets]))
            .build();
        ParquetMetaDataWriter::new_with_tracked(self.out, &metadata).finish()
    }
}

fn sorting(schema: &SchemaDescriptor) -> Vec<SortingColumn> {
    let columns = ["cluster", "host", "event_time", "seq"].map(|name| {
        let at = schema.columns().iter().position(|column| column.name() == name);
        SortingColumn {
            column_idx: at.expect("a test finds it") as i32,
            descending: false,
            nulls_first: false,
        }
    });
    columns.to_vec()
}

/// Hands a library's writes to the disk, in large pieces.
pub(crate) struct Sink<'a> {
    file: &'a dyn DiskFile,
    waiting: Vec<u8>,
    size_bytes: u64,
    crc: u32,
    tail_from: u64,
    tail_crc: u32,
    /// The library drops a buffer without a word about what became of it.
    failed: Option<io::Error>,
}

/// What became of a file's bytes.
pub(crate) struct Sunk {
    pub(crate) size_bytes: u64,
    pub(crate) crc32c: u32,
    pub(crate) tail: Tail,
}

/// 1 MiB: few system calls, and little memory.
const PIECE_SIZE_BYTES: usize = 1 << 20;

impl<'a> Sink<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile) -> Sink<'a> {
        let waiting = Vec::new();
        let (size_bytes, tail_from) = (0, u64::MAX);
        Sink { file, waiting, size_bytes, crc: 0, tail_from, tail_crc: 0, failed: None }
    }

    /// Writes what waits.
    pub(crate) fn finish(mut self) -> io::Result<Sunk> {
        self.write_waiting()?;
        match self.failed {
            Some(error) => Err(error),
            None => Ok(Sunk {
                size_bytes: self.size_bytes,
                crc32c: self.crc,
                tail: Tail {
                    size_bytes: self.size_bytes.saturating_sub(self.tail_from),
                    crc32c: self.tail_crc,
                },
            }),
        }
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.kind().into());
        }
        let at = self.size_bytes - self.waiting.len() as u64;
        let written = write_all_at(self.file, &self.waiting, at);
        self.waiting.clear();
        written.map_err(|error| {
            let again = match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => error.kind().into(),
            };
            self.failed = Some(error);
            again
        })
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        let before = usize::try_from(self.tail_from.saturating_sub(self.size_bytes));
        let tail = &bytes[before.unwrap_or(usize::MAX).min(bytes.len())..];
        self.tail_crc = crc32c::crc32c_append(self.tail_crc, tail);
        for piece in bytes.chunks(PIECE_SIZE_BYTES) {
            if self.waiting.len() + piece.len() > PIECE_SIZE_BYTES {
                self.write_waiting()?;
            }
            self.size_bytes += piece.len() as u64;
            self.waiting.extend_from_slice(piece);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

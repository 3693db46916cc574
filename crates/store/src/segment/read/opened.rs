//! A segment's file, opened when the first byte of it is needed, and what the Parquet library makes of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};

use super::column::Chunk;
use crate::disk::{Disk, DiskFile, fill_up_to, read_up_to};
use crate::error::Error;
use crate::segment::decode::Unfit;
use crate::segment::{SegmentMeta, Tail, VERSION, VERSION_KEY};

/// A segment's file; opened when the first byte of it is needed.
pub(super) struct File<'s> {
    meta: &'s SegmentMeta,
    disk: &'s dyn Disk,
    path: PathBuf,
    source: OnceLock<Source>,
}

impl<'s> File<'s> {
    /// The file that the catalogue says is there.
    pub(super) fn new(meta: &'s SegmentMeta, disk: &'s dyn Disk, path: PathBuf) -> File<'s> {
        File { meta, disk, path, source: OnceLock::new() }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes.
    pub(super) fn source(&self) -> Result<&Source, Error> {
        match self.source.get() {
            Some(source) => Ok(source),
            None => {
                let source = self.open()?;
                Ok(self.source.get_or_init(|| source))
            }
        }
    }

    fn open(&self) -> Result<Source, Error> {
        let path = &self.path;
        let file = self.disk.open_to_read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::damaged(path, "the file is gone").because(error),
            _ => Error::io(path, "open", error),
        })?;
        let size =
            file.size_bytes().map_err(|error| Error::io(path, "ask for the size of", error))?;
        if size != self.meta.size_bytes {
            let was = self.meta.size_bytes;
            return Err(Error::damaged(path, format!("{size} bytes long, written with {was}")));
        }
        Ok(Source { file: file.into(), size })
    }

    /// What stands at its end, checked.
    pub(super) fn footer(&self) -> Result<ParquetMetaData, Error> {
        let source = self.source()?;
        self.check_tail(source)?;
        let footer = guarded(&self.path, || load_footer(source))?;
        let (rows, written) = (footer.file_metadata().num_rows(), self.meta.rows());
        match rows == written as i64 {
            true => Ok(footer),
            false => Err(self.damaged(&format!("{rows} rows, written with {written}"))),
        }
    }

    /// Bloom filters, page index and footer say where to look and where not: they must be right.
    fn check_tail(&self, source: &Source) -> Result<(), Error> {
        let Some(Tail { size_bytes, crc32c }) = self.meta.tail else { return Ok(()) };
        let from = source.size.saturating_sub(size_bytes);
        let size = usize::try_from(source.size - from).unwrap_or(usize::MAX);
        let tail = read_up_to(&*source.file, from, size);
        let tail = tail.map_err(|error| Error::io(&self.path, "read", error))?;
        match crc32c::crc32c(&tail) == crc32c {
            true => Ok(()),
            false => {
                let what = format!("bytes {from} to {} do not match the checksum", source.size);
                Err(self.damaged(&what))
            }
        }
    }

    /// An error that names it.
    pub(super) fn damaged(&self, what: &str) -> Error {
        Error::damaged(&self.path, what)
    }

    /// An error that names it and the column.
    pub(super) fn unfit(&self, chunk: &Chunk<'_>, Unfit(what): Unfit) -> Error {
        self.damaged(&format!("column {}: {what}", chunk.metadata.column_descr().name()))
    }
}

/// Hands a file's bytes to the library.
#[derive(Clone)]
pub(super) struct Source {
    file: Arc<dyn DiskFile>,
    size: u64,
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Source {
    type T = std::io::BufReader<SourceReader>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(std::io::BufReader::new(SourceReader { source: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut bytes = Vec::new();
        self.read(start, length, &mut bytes)?;
        Ok(bytes.into())
    }
}

impl Source {
    /// Replaces `bytes` with some of the file's.
    pub(super) fn read(
        &self,
        start: u64,
        length: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), ParquetError> {
        // A damaged footer may ask for anything; a file has no more than its length.
        if start.checked_add(length as u64).is_none_or(|end| end > self.size) {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} are not in the file"
            )));
        }
        bytes.resize(length, 0);
        match fill_up_to(&*self.file, start, bytes)? == length {
            true => Ok(()),
            false => Err(ParquetError::EOF("the file ends early".to_owned())),
        }
    }
}

pub(super) struct SourceReader {
    source: Source,
    at: u64,
}

impl std::io::Read for SourceReader {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.file.read_at(bytes, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

fn load_footer(source: &Source) -> Result<ParquetMetaData, ParquetError> {
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    let footer = reader.parse_and_finish(source)?;
    let pairs = footer.file_metadata().key_value_metadata().into_iter().flatten();
    let version = pairs.filter(|pair| pair.key == VERSION_KEY).find_map(|pair| pair.value.clone());
    let number = version.as_deref().and_then(|version| version.parse::<u32>().ok());
    if !number.is_some_and(|number| (1..=VERSION).contains(&number)) {
        return Err(ParquetError::General(format!(
            "segment format {version:?}; this program reads formats 1 to {VERSION}"
        )));
    }
    Ok(footer)
}

/// Calls into the library, whose complaints, and whose panics over bytes that it did not expect, are
/// damage of this file.
pub(super) fn guarded<T>(
    path: &Path,
    call: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(ParquetError::External(error))) => match error.downcast::<std::io::Error>() {
            Ok(error) if error.raw_os_error().is_some() => Err(Error::io(path, "read", *error)),
            Ok(error) => Err(Error::damaged(path, "not what was written").because(error)),
            Err(error) => Err(Error::damaged(path, "not what was written").because(error)),
        },
        Ok(Err(error)) => Err(Error::damaged(path, "not what was written").because(error)),
        Err(_) => Err(Error::damaged(path, "not what was written; the reader gave up")),
    }
}

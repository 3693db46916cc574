//! The table of positions whose records are in no answer.

use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use doorbook_event::{Seq, Timestamp};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::SchemaDescriptor;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::Spec;
use super::log::Log;
use crate::directory::{read_file, write_file};
use crate::disk::Disk;
use crate::error::Error;
use crate::state::State;

/// The table's folder in the data directory.
pub(super) const FOLDER: &str = "hidden";

const MESSAGE: &str = "message doorbook_hidden {
    required binary scope (STRING);
    required int64 first_seq;
    required int64 last_seq;
}";

pub(super) fn spec() -> Spec {
    let message = parse_message_type(MESSAGE).expect("a test parses it");
    Spec {
        name: "hidden",
        description: "Positions (seq + base_seq, both ends included) of records that are in no \
                      answer of Doorbook, because their import was taken back, or because they are bytes \
                      that could be read later.",
        columns: SchemaDescriptor::new(Arc::new(message)),
        partition: None,
    }
}

/// Stretches of positions, by scope.
pub(super) struct Stretches(Vec<(String, Seq, Seq)>);

impl Stretches {
    /// Those of a state.
    pub(super) fn of(state: &State) -> Stretches {
        let stretches = state.logs.iter().flat_map(|log| {
            let scope = log.scope.to_string();
            let retracted = log.retracted.iter().filter(|range| !range.is_empty());
            let retracted = retracted.map(|range| (range.start, range.end - 1));
            let resolved = log.resolved.keys().map(|seq| (*seq, *seq));
            let stretches = retracted.chain(resolved);
            stretches.map(move |(first, last)| (scope.clone(), first, last))
        });
        Stretches(stretches.collect())
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether a file of this name has exactly these stretches.
    pub(super) fn are_in(&self, file_name: &str) -> bool {
        let name = file_name.strip_suffix(".parquet").unwrap_or_default();
        name.split('-').next() == Some(&*self.name())
    }

    fn name(&self) -> String {
        let mut hasher = SipHasher13::new();
        self.0.hash(&mut hasher);
        hasher.write_usize(self.0.len());
        hex::encode(hasher.finish128().as_bytes())
    }

    /// Writes their file durably, and says how it is called and how long it is. The name ends with a
    /// checksum of the file: nothing else of the table would tell that a byte of it changed.
    pub(super) fn write(
        &self,
        disk: &dyn Disk,
        data_dir: &Path,
    ) -> std::result::Result<(String, u64), Error> {
        let dir = data_dir.join(FOLDER);
        disk.create_subdir(&dir).map_err(|error| Error::io(&dir, "make the directory", error))?;
        let sync = disk.sync_dir(data_dir);
        sync.map_err(|error| Error::io(data_dir, "sync the directory", error))?;
        let bytes = self.encode().expect("the columns fit the message, and a Vec takes every byte");
        let name = format!("{}-{:08x}.parquet", self.name(), crc32c::crc32c(&bytes));
        write_file(disk, &dir, &name, &bytes)?;
        Ok((name, bytes.len() as u64))
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let message = Arc::new(parse_message_type(MESSAGE)?);
        let compression = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(compression).build();
        let mut file = SerializedFileWriter::new(&mut bytes, message, Arc::new(properties))?;
        let mut group = file.next_row_group()?;
        let scopes: Vec<_> = self.0.iter().map(|(scope, ..)| ByteArray::from(&**scope)).collect();
        let mut column = group.next_column()?.expect("the message has it");
        column.typed::<ByteArrayType>().write_batch(&scopes, None, None)?;
        column.close()?;
        for of in [|stretch: &(_, Seq, _)| stretch.1, |stretch: &(_, _, Seq)| stretch.2] {
            let seqs: Vec<_> = self.0.iter().map(|stretch| of(stretch).cast_signed()).collect();
            let mut column = group.next_column()?.expect("the message has it");
            column.typed::<Int64Type>().write_batch(&seqs, None, None)?;
            column.close()?;
        }
        group.close()?;
        file.close()?;
        Ok(bytes)
    }
}

/// Of how many files the table's log says something else than a state.
pub(super) fn differences(log: &Log, state: &State) -> usize {
    let stretches = Stretches::of(state);
    let (same, others): (Vec<_>, Vec<_>) =
        log.files.keys().partition(|path| stretches.are_in(path));
    others.len() + usize::from(same.is_empty())
}

/// A file of the table that is not there, or not as it was written.
pub(super) fn damaged(disk: &dyn Disk, data_dir: &Path, log: &Log) -> Option<Error> {
    log.files.iter().find_map(|(name, add)| {
        let path = data_dir.join(FOLDER).join(name);
        let bytes = match read_file(disk, &path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Some(Error::damaged(&path, "the file is gone")),
            Err(error) => return Some(error),
        };
        if (bytes.len() as u64).cast_signed() != add.size {
            let what = format!("{} bytes long, written with {}", bytes.len(), add.size);
            return Some(Error::damaged(&path, what));
        }
        // Files of earlier versions have no checksum in their names.
        let crc = name.strip_suffix(".parquet")?.split('-').nth(1)?;
        let is_sound = u32::from_str_radix(crc, 16) == Ok(crc32c::crc32c(&bytes));
        (!is_sound).then(|| Error::damaged(&path, "does not match its checksum"))
    })
}

/// Removes the files that the table does not have, and whose time after their removal is over.
pub(super) fn remove_others(
    disk: &dyn Disk,
    dir: &Path,
    log: &Log,
    removed_before: Timestamp,
) -> std::result::Result<(), Error> {
    let is_at = |name: &str| {
        let waits = log.tombstones.iter().filter(|remove| remove.path == name);
        log.files.contains_key(name)
            || waits
                .filter_map(|remove| remove.deletion_timestamp)
                .any(|at| at >= removed_before.millis())
    };
    let names = disk.list(dir).map_err(|error| Error::io(dir, "list", error))?;
    for name in names.iter().filter(|name| !name.starts_with('_') && !is_at(name)) {
        let path = dir.join(name);
        disk.remove(&path).map_err(|error| Error::io(&path, "remove", error))?;
    }
    Ok(())
}

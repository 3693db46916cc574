//! One Delta log: read, appended to, checkpointed, cleaned up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use doorbook_event::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::{APP_ID, Action, Add, CommitInfo, MetaData, Remove};
use super::checkpoint;
use crate::directory::{read_file, write_file, write_new_file};
use crate::disk::Disk;
use crate::error::{Error, ErrorKind};
use crate::wal::Lsn;

/// Commits between two checkpoints: what a reader has to open at most, and about half of what the
/// directory holds.
pub(super) const COMMITS_PER_CHECKPOINT: u64 = 32;

/// What a log says of its table, as of its last commit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Log {
    /// The version that the next commit makes.
    pub(super) next_version: u64,
    /// Up to which frame of the WAL the table goes.
    pub(super) lsn: Lsn,
    pub(super) meta_data: Option<MetaData>,
    /// Its files, by path.
    pub(super) files: BTreeMap<String, Add>,
    /// Files that were removed and that a reader may still be at.
    pub(super) tombstones: Vec<Remove>,
    /// The version of the last checkpoint.
    pub(super) checkpoint: Option<u64>,
}

/// The first line of `_doorbook.json`.
#[derive(Serialize, Deserialize)]
struct CheckpointHead {
    version: u64,
    /// CRC-32C of the lines after this one.
    crc32c: u32,
}

/// What Delta wants in `_last_checkpoint`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LastCheckpoint {
    version: u64,
    size: usize,
    size_in_bytes: usize,
    num_of_add_files: usize,
}

/// Our own copy of the last checkpoint.
const OWN_CHECKPOINT: &str = "_doorbook.json";
const LAST_CHECKPOINT: &str = "_last_checkpoint";

impl Log {
    /// Reads the log in a folder; the empty log where there is none.
    pub(super) fn load(disk: &dyn Disk, dir: &Path) -> Result<Log, Error> {
        let names = match disk.list(dir) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Log::default());
            }
            Err(error) => return Err(Error::io(dir, "list", error)),
        };
        let mut log = Log::load_checkpoint(disk, dir)?.unwrap_or_default();
        let mut versions: Vec<u64> = names.iter().filter_map(|name| commit_version(name)).collect();
        versions.sort_unstable();
        let checkpointed = versions.partition_point(|version| *version < log.next_version);
        for version in versions.split_off(checkpointed) {
            let path = dir.join(commit_name(version));
            if version != log.next_version {
                let message = format!("commit {} before it is gone", log.next_version);
                return Err(Error::damaged(&path, message));
            }
            let bytes = read_file(disk, &path)?.unwrap_or_default();
            log.replay(&path, &bytes)?;
            log.next_version = version + 1;
        }
        Ok(log)
    }

    fn load_checkpoint(disk: &dyn Disk, dir: &Path) -> Result<Option<Log>, Error> {
        let path = dir.join(OWN_CHECKPOINT);
        let Some(bytes) = read_file(disk, &path)? else { return Ok(None) };
        let (head, body) = first_line(&bytes);
        let head: CheckpointHead = serde_json::from_slice(head)
            .map_err(|error| Error::damaged(&path, "its first line").because(error))?;
        if crc32c::crc32c(body) != head.crc32c {
            return Err(Error::damaged(&path, "does not match its checksum"));
        }
        let mut log = Log { next_version: head.version + 1, ..Log::default() };
        log.replay(&path, body)?;
        log.checkpoint = Some(head.version);
        Ok(Some(log))
    }

    fn replay(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        for (nth, line) in (1..).zip(lines) {
            let action: Action = serde_json::from_slice(line).map_err(|error| {
                Error::damaged(path, format!("line {nth} is no action")).because(error)
            })?;
            let crc = action.commit_info.as_ref().and_then(|info| info.crc32c);
            if nth == 1 && crc.is_some_and(|crc| crc32c::crc32c(first_line(bytes).1) != crc) {
                return Err(Error::damaged(path, "does not match its checksum"));
            }
            self.apply(action);
        }
        match self.meta_data {
            Some(_) => Ok(()),
            None => Err(Error::damaged(path, "does not say what table this is")),
        }
    }

    fn apply(&mut self, action: Action) {
        let Action { meta_data, txn, remove, add, commit_info: _, protocol: _ } = action;
        self.meta_data = meta_data.or(self.meta_data.take());
        if let Some(txn) = txn.filter(|txn| txn.app_id == APP_ID) {
            self.lsn = txn.version.cast_unsigned();
        }
        if let Some(remove) = remove {
            self.files.remove(&remove.path);
            self.tombstones.push(remove);
        }
        if let Some(add) = add {
            self.tombstones.retain(|remove| remove.path != add.path);
            self.files.insert(add.path.clone(), add);
        }
    }

    /// Appends a commit, durably. `false`: somebody else made this version, and the log is to be
    /// loaded again. So it is after an error, which leaves open what is on the disk.
    pub(super) fn commit(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        now: Timestamp,
        actions: Vec<Action>,
    ) -> Result<bool, Error> {
        if self.next_version == 0 {
            disk.create_subdir(dir).map_err(|error| Error::io(dir, "make the directory", error))?;
            let parent = dir.parent().expect("it is a folder of the table's");
            let sync = disk.sync_dir(parent);
            sync.map_err(|error| Error::io(parent, "sync the directory", error))?;
        }
        let mut body = Vec::new();
        actions.iter().for_each(|action| action.write_to(&mut body));
        let info = CommitInfo {
            timestamp: now.millis(),
            operation: "WRITE".to_owned(),
            engine_info: concat!("doorbook ", env!("CARGO_PKG_VERSION")).to_owned(),
            crc32c: Some(crc32c::crc32c(&body)),
        };
        let mut bytes = Vec::new();
        Action { commit_info: Some(info), ..Action::default() }.write_to(&mut bytes);
        bytes.append(&mut body);
        if !write_new_file(disk, dir, &commit_name(self.next_version), &bytes)? {
            return Ok(false);
        }
        actions.into_iter().for_each(|action| self.apply(action));
        self.next_version += 1;
        Ok(true)
    }

    /// Whether enough was committed since the last checkpoint.
    pub(super) fn wants_checkpoint(&self) -> bool {
        let since = self.checkpoint.map_or(0, |version| version + 1);
        self.next_version - since >= COMMITS_PER_CHECKPOINT
    }

    /// Writes a checkpoint of the last commit, then removes what lies before the checkpoint before
    /// it: a reader that is at that one now finds all that it leads to.
    pub(super) fn write_checkpoint(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        expired_before: Timestamp,
    ) -> Result<(), Error> {
        let version = self.next_version.checked_sub(1).expect("there was a commit");
        self.tombstones.retain(|remove| {
            remove.deletion_timestamp.is_some_and(|at| at >= expired_before.millis())
        });
        let actions = self.actions();
        let parquet = checkpoint::encode(&actions);
        write_file(disk, dir, &checkpoint_name(version), &parquet)?;
        let last = LastCheckpoint {
            version,
            size: actions.len(),
            size_in_bytes: parquet.len(),
            num_of_add_files: self.files.len(),
        };
        let last = serde_json::to_vec(&last).expect("a Vec takes every byte");
        write_file(disk, dir, LAST_CHECKPOINT, &last)?;

        let mut body = Vec::new();
        actions.iter().for_each(|action| action.write_to(&mut body));
        let crc32c = crc32c::crc32c(&body);
        let head = CheckpointHead { version, crc32c };
        let mut bytes = serde_json::to_vec(&head).expect("a Vec takes every byte");
        bytes.push(b'\n');
        bytes.append(&mut body);
        write_file(disk, dir, OWN_CHECKPOINT, &bytes)?;
        let before = self.checkpoint.replace(version);
        match before {
            Some(before) => remove_before(disk, dir, before),
            None => Ok(()),
        }
    }

    /// The actions that make this state of nothing.
    fn actions(&self) -> Vec<Action> {
        let head = [
            Some(Action::protocol()),
            self.meta_data.clone().map(Action::of_meta_data),
            Some(Action::of_txn(self.lsn.cast_signed())),
        ];
        let removes = self.tombstones.iter().cloned().map(Action::of_remove);
        let adds = self.files.values().cloned().map(Action::of_add);
        head.into_iter().flatten().chain(removes).chain(adds).collect()
    }
}

/// Removes a log whole: it is derived, and is written anew.
pub(super) fn remove(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    let mut names = disk.list(dir).map_err(|error| Error::io(dir, "list", error))?;
    // What leads to other files goes first, then the newest commit: cut short, this leaves less, and
    // never a log with a hole that anything leads into.
    names.sort_unstable_by_key(|name| (!name.starts_with('_'), std::cmp::Reverse(name.clone())));
    for name in names {
        remove_file(disk, dir.join(name))?;
    }
    disk.sync_dir(dir).map_err(|error| Error::io(dir, "sync the directory", error))
}

/// Removes what a reader needs only for versions before this one.
fn remove_before(disk: &dyn Disk, dir: &Path, kept: u64) -> Result<(), Error> {
    let mut names = disk.list(dir).map_err(|error| Error::io(dir, "list", error))?;
    names.sort_unstable();
    for name in names {
        if file_version(&name).is_some_and(|version| version < kept) {
            remove_file(disk, dir.join(name))?;
        }
    }
    Ok(())
}

fn remove_file(disk: &dyn Disk, path: PathBuf) -> Result<(), Error> {
    match disk.remove(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(&path, "remove", error))
        }
        _ => Ok(()),
    }
}

/// Whether it is the log that is to be written anew, and not the disk that refuses.
pub(super) fn is_damage(error: &Error) -> bool {
    error.kind == ErrorKind::Damaged
}

pub(super) fn commit_name(version: u64) -> String {
    format!("{version:020}.json")
}

fn checkpoint_name(version: u64) -> String {
    format!("{version:020}.checkpoint.parquet")
}

fn commit_version(name: &str) -> Option<u64> {
    file_version(name).filter(|version| commit_name(*version) == name)
}

/// The version that a commit, a checkpoint, or what a crash left of them is of.
fn file_version(name: &str) -> Option<u64> {
    let (digits, _) = name.split_at_checked(20)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn first_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

//! The data directory: opened, recovered, closed.
//!
//! ```text
//! LOCK                  held by flock while the store is open
//! FORMAT                "doorbook data directory, format 1\n"
//! secret/NAME           32 random bytes
//! wal/FIRSTLSN.wal      see `wal`
//! segments/NAME.parquet see `segment`
//! segments/_delta_log/  see `table`
//! hidden/               see `table`
//! catalog/LSN.cbor      see `snapshot`
//! ```
//! A directory that holds anything and no FORMAT is somebody else's: it is refused and left as it is.
//! FORMAT is therefore written first, when only LOCK is there.
//!
//! Opening takes the lock, reads the newest snapshot that is whole, replays the WAL behind it, and
//! removes segment files that no frame names: they are what a crash left of an import or a flush.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use doorbook_event::record::{ImportReceipt, ImportState};

use crate::cache::Cache;
use crate::commit::Writer;
use crate::disk::{Disk, DiskFile, read_up_to, write_all_at};
use crate::error::{Error, ErrorKind};
use crate::identity::{Keys, MemoryIndex};
use crate::import::Imports;
use crate::maintain::Maintenance;
use crate::measure::Counters;
use crate::queue::Queue;
use crate::snapshot;
use crate::state::State;
use crate::table::Tables;
use crate::wal::{Lsn, Wal};
use crate::{Inner, Options};

pub(crate) const FORMAT: &str = "doorbook data directory, format 1\n";

pub(crate) const LOCK: &str = "LOCK";

impl Inner {
    pub(crate) fn open(options: Options) -> Result<Inner, Error> {
        let disk = &options.disk;
        let dir = &options.data_dir;
        prepare(&**disk, dir)?;
        let lock = take_lock(&**disk, dir)?;
        check_format(&**disk, dir)?;
        for dir in [wal_dir(dir), segment_dir(dir), catalog_dir(dir), secret_dir(dir)] {
            disk.create_subdir(&dir).map_err(|e| Error::io(&dir, "make the directory", e))?;
        }
        // Whatever is made durable in them is lost with their names. At each start, because the one
        // that made them may have been cut off before this.
        disk.sync_dir(dir).map_err(|e| Error::io(dir, "sync the directory", e))?;

        let (mut state, snapshots, problem) = snapshot::load(&**disk, &catalog_dir(dir))?;
        let after = state.lsn;
        let wal = Wal::recover(Arc::clone(disk), wal_dir(dir), after, |lsn, ops, size| {
            for op in ops {
                state.apply(op).map_err(|misfit| {
                    Error::damaged(&wal_dir(dir), format!("frame {lsn}: {}", misfit.0))
                })?;
            }
            state.lsn = lsn;
            state.replay_size_bytes += size;
            Ok(())
        });
        // Without the snapshot that is damaged, the WAL has a hole: the snapshot is what to tell of.
        let wal = wal.map_err(|error| problem.unwrap_or(error))?;
        check_segments(&**disk, &segment_dir(dir), &state)?;
        end_cut_off_imports(&mut state);

        Ok(Inner {
            is_wal_poisoned: wal.poison(),
            counters: Counters::default(),
            keys: Keys::new(&*options.random),
            cache: Arc::new(Cache::new(options.cache_size_bytes)),
            writer: Mutex::new(Writer { wal, payload: Vec::new(), is_closed: false }),
            queue: Queue::new(),
            maintenance: Maintenance::new(snapshots),
            state: RwLock::new(Arc::new(state)),
            imports: Mutex::new(Imports::default()),
            following: Mutex::default(),
            tables: Mutex::new(Tables::default()),
            memory: Mutex::new(MemoryIndex::default()),
            lock: Mutex::new(Some(lock)),
            options,
        })
    }

    pub(crate) fn close(&self) -> Result<(), Error> {
        // Whoever writes now is waited for, and the unit of work that is under way.
        self.maintenance.stop();
        let _work = self.work();
        match self.writer.lock() {
            Ok(mut writer) => writer.is_closed = true,
            Err(poisoned) => poisoned.into_inner().is_closed = true,
        }
        self.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        Ok(())
    }

    pub(crate) fn secret(&self, name: &str) -> Result<[u8; 32], Error> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || !name.bytes().all(allowed) {
            return Err(Error::new(ErrorKind::Invalid, format!("{name:?} cannot name a secret")));
        }
        // The writer's lock, so that two first calls do not make two secrets.
        let _writer = self.writer()?;
        let disk = &*self.options.disk;
        let dir = secret_dir(&self.options.data_dir);
        let path = dir.join(name);
        if let Some(bytes) = read_file(disk, &path)? {
            // Who made it may have been cut off before its name was durable.
            disk.sync_dir(&dir).map_err(|e| Error::io(&dir, "sync the directory", e))?;
            return bytes
                .try_into()
                .map_err(|_| Error::damaged(&path, "a secret is 32 bytes long"));
        }
        let mut secret = [0; 32];
        self.options.random.fill(&mut secret);
        write_file(disk, &dir, name, &secret)?;
        Ok(secret)
    }
}

/// Makes the directory where there is none, takes an empty one, and refuses one that is something
/// else: a typing error must not put the files of a history among somebody's own. Changes nothing
/// that is there, but for an empty directory's mode.
fn prepare(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    // What a start that was cut off may have left, and what the root of a new ext4 file system has.
    const OF_EMPTY: [&str; 3] = ["LOCK", "FORMAT.new", "lost+found"];
    let names = match disk.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return disk.create_dir(dir).map_err(|e| Error::io(dir, "make the directory", e));
        }
        Err(error) => return Err(Error::io(dir, "list", error)),
    };
    if names.iter().all(|name| OF_EMPTY.contains(&&**name)) {
        return disk.make_private(dir).map_err(|e| Error::io(dir, "set the mode of", e));
    }
    match read_format(disk, dir)? {
        true => Ok(()),
        false => Err(Error {
            path: Some(dir.to_owned()),
            ..Error::new(
                ErrorKind::Invalid,
                "this is not a Doorbook data directory (it has no file FORMAT) and not empty; \
                 name another one",
            )
        }),
    }
}

/// Takes the directory's lock; it is held as long as the result lives.
pub(crate) fn take_lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn DiskFile>, Error> {
    let path = dir.join(LOCK);
    disk.lock(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => Error {
            path: Some(dir.to_owned()),
            ..Error::new(ErrorKind::Locked, "another process has this data directory open")
        },
        _ => Error::io(&path, "lock", error),
    })
}

/// Whether the directory is marked as one of the format that this version knows; one of another
/// format is an error.
fn read_format(disk: &dyn Disk, dir: &Path) -> Result<bool, Error> {
    let path = dir.join("FORMAT");
    match read_file(disk, &path)? {
        None => Ok(false),
        Some(bytes) if bytes == FORMAT.as_bytes() => Ok(true),
        Some(bytes) => Err(Error::damaged(
            &path,
            format!(
                "this program reads {FORMAT:?}, the directory says {:?}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(80)])
            ),
        )),
    }
}

/// Refuses a directory of a format that this version does not know; marks a new one.
fn check_format(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    match read_format(disk, dir)? {
        true => Ok(()),
        false => {
            // Before the mark: a start that finds it has nothing left to do above.
            sync_names_above(disk, dir)?;
            write_file(disk, dir, "FORMAT", FORMAT.as_bytes())
        }
    }
}

/// Makes a directory's own name durable, and the names of those above it, of which any may be new.
pub(crate) fn sync_names_above(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    use std::io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    for (n, above) in dir.ancestors().skip(1).enumerate() {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match disk.sync_dir(above) {
            // Those that we make we may read and sync.
            Err(error)
                if n > 0
                    && matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported) =>
            {
                break;
            }
            synced => synced.map_err(|e| Error::io(above, "sync the directory", e))?,
        }
    }
    Ok(())
}

/// An import that runs at the end of the log was cut off with the process that ran it. The log need
/// not say so: each later start comes to the same.
fn end_cut_off_imports(state: &mut State) {
    let is_cut_off = |receipt: &ImportReceipt| receipt.state == ImportState::Running;
    if state.catalog.imports.values().any(|(_, receipt)| is_cut_off(receipt)) {
        let imports = &mut Arc::make_mut(&mut state.catalog).imports;
        for (_, receipt) in imports.values_mut().filter(|(_, receipt)| is_cut_off(receipt)) {
            receipt.state = ImportState::Interrupted;
        }
    }
}

/// Removes the files that no frame names, and misses those that are named and not there.
fn check_segments(disk: &dyn Disk, dir: &Path, state: &State) -> Result<(), Error> {
    let names = disk.list(dir).map_err(|error| Error::io(dir, "list", error))?;
    // What begins with `_` is the table's log: derived, and none of a frame's business.
    let names = names.iter().filter(|name| !name.starts_with('_'));
    let mut unnamed: BTreeSet<&str> = names.map(|name| &**name).collect();
    for segment in state.logs.iter().flat_map(|log| &log.segments) {
        if !unnamed.remove(&*segment.meta.name) {
            let path = dir.join(&*segment.meta.name);
            let rows = segment.meta.rows();
            return Err(Error::damaged(
                &path,
                format!("the file is gone, and {rows} rows with it"),
            ));
        }
    }
    for name in unnamed {
        let path = dir.join(name);
        disk.remove(&path).map_err(|error| Error::io(&path, "remove", error))?;
    }
    Ok(())
}

/// The files of a folder that are named by a number in 16 hexadecimal digits, by that number.
pub(crate) fn numbered_files(
    disk: &dyn Disk,
    dir: &Path,
    extension: &str,
) -> Result<Vec<(Lsn, PathBuf)>, Error> {
    let names = disk.list(dir).map_err(|error| Error::io(dir, "list", error))?;
    let mut files: Vec<_> = names
        .iter()
        .filter_map(|name| {
            let digits = name.strip_suffix(extension).filter(|digits| digits.len() == 16)?;
            Some((Lsn::from_str_radix(digits, 16).ok()?, dir.join(name)))
        })
        .collect();
    files.sort();
    Ok(files)
}

/// A small file whole; `None` where there is none.
pub(crate) fn read_file(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let file = match disk.open_to_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path, "open", error)),
    };
    let size = file.size_bytes().map_err(|error| Error::io(path, "read the size of", error))?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    read_up_to(&*file, 0, size).map(Some).map_err(|error| Error::io(path, "read", error))
}

/// Writes a file so that after any crash either all of it is there under its name, or none.
pub(crate) fn write_file(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<(), Error> {
    let new = write_beside(disk, dir, name, bytes)?;
    let path = dir.join(name);
    disk.rename(&new, &path).map_err(|e| Error::io(&path, "rename", e))?;
    disk.sync_dir(dir).map_err(|e| Error::io(dir, "sync the directory", e))
}

/// The same for a name that nothing may have yet; `false`: something has it, and stays.
pub(crate) fn write_new_file(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<bool, Error> {
    let new = write_beside(disk, dir, name, bytes)?;
    let path = dir.join(name);
    match disk.rename_new(&new, &path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(false),
        renamed => renamed.map_err(|e| Error::io(&path, "rename", e))?,
    }
    disk.sync_dir(dir).map_err(|e| Error::io(dir, "sync the directory", e))?;
    Ok(true)
}

/// Writes and syncs a file under a name that only this one leads to.
fn write_beside(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
    let new = dir.join(format!("{name}.new"));
    let failed = |what: &str, error| Error::io(&dir.join(name), what, error);
    let file = disk.create(&new).map_err(|e| failed("create", e))?;
    write_all_at(&*file, bytes, 0).map_err(|e| failed("write", e))?;
    file.sync().map_err(|e| failed("sync", e))?;
    Ok(new)
}

pub(crate) fn wal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("wal")
}

pub(crate) fn segment_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("segments")
}

pub(crate) fn catalog_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("catalog")
}

pub(crate) fn secret_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("secret")
}

//! Backups: a data directory as it is at one instant, copied while others write, and copied back.
//!
//! What a backup consists of is settled under the writer's lock in the time that opening a few files
//! takes: the state, the open files of the WAL and the snapshots. Everything after that reads what
//! never changes: segments are immutable and stay as long as the state is held, and of the WAL only
//! the frames up to the state's last one are copied.
//!
//! A backup is a data directory. It grows under another name and gets `FORMAT`, without which a
//! directory is none of ours, after everything else is durable; then it is read again, and gets its
//! name. A restored directory likewise gets `FORMAT` last.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Inner;
use crate::directory::{
    FORMAT, LOCK, catalog_dir, secret_dir, segment_dir, sync_names_above, take_lock, wal_dir,
    write_file,
};
use crate::disk::{Disk, DiskFile, write_all_at};
use crate::error::{Error, ErrorKind};
use crate::verify::{Depth, Frames, Frozen, Opened, Piece, Report, verify};
use crate::wal::Lsn;

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Copied {
    /// Files, all of them.
    pub files: u64,
    /// Their bytes.
    pub size_bytes: u64,
    /// Files among them that share their bytes with the data directory: they lie on the same file
    /// system and never change.
    pub linked_files: u64,
    /// Rows in segments and in the WAL.
    pub rows: u64,
}

/// Copies a backup, or any data directory that no process has open, to where none is. Both the
/// original and the copy are checked.
pub fn restore(disk: &dyn Disk, backup: &Path, data_dir: &Path) -> Result<Copied, Error> {
    let names = disk.list(backup).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            of(backup, ErrorKind::Missing, "there is no such directory")
        }
        _ => Error::io(backup, "list", error),
    })?;
    if !names.iter().any(|name| name == "FORMAT") {
        let what = "this is not a backup (it has no file FORMAT), or one that was not finished";
        return Err(of(backup, ErrorKind::Invalid, what));
    }
    refuse_damaged(backup, verify(disk, backup, Depth::Checksums)?)?;
    // A backup has no lock; a data directory that is copied must stay as it is meanwhile.
    let is_lockable = names.iter().any(|name| name == LOCK);
    let _lock = is_lockable.then(|| take_lock(disk, backup)).transpose()?;
    match disk.list(data_dir) {
        Ok(names) if names.iter().any(|name| name != "lost+found") => {
            return Err(of(data_dir, ErrorKind::Exists, "is not empty; name a new directory"));
        }
        Ok(_) => disk.make_private(data_dir),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => disk.create_dir(data_dir),
        Err(error) => Err(error),
    }
    .map_err(|error| Error::io(data_dir, "make the directory", error))?;

    let mut copy = Copy { disk, copied: Copied::default() };
    for folder in [secret_dir, wal_dir, segment_dir, catalog_dir] {
        let (from, to) = (folder(backup), folder(data_dir));
        let to = copy.folder(to)?;
        for name in disk.list(&from).map_err(|error| Error::io(&from, "list", error))? {
            // The table's own log is made anew from the catalogue.
            if !name.starts_with('_') && !name.ends_with(".new") {
                copy.file(&from.join(&name), &to.join(&name))?;
            }
        }
        disk.sync_dir(&to).map_err(|error| Error::io(&to, "sync the directory", error))?;
    }
    copy.finish(data_dir)?;
    let report = verify(disk, data_dir, Depth::Checksums)?;
    copy.copied.rows = report.rows;
    if !report.is_sound() {
        let format = data_dir.join("FORMAT");
        disk.remove(&format).map_err(|error| Error::io(&format, "remove", error))?;
    }
    refuse_damaged(data_dir, report)?;
    Ok(copy.copied)
}

impl Inner {
    /// Copies the data directory as it is now to a new directory.
    pub(crate) fn backup(&self, to: &Path) -> Result<Copied, Error> {
        let disk = &*self.options.disk;
        let (parent, name) = self.check_destination(to)?;
        let mut suffix = [0; 4];
        self.options.random.fill(&mut suffix);
        let partial = parent.join(format!(".{name}.partial-{}", hex::encode(suffix)));
        let Frozen { state, wal, snapshots } = self.freeze()?;

        let mut copy = Copy { disk, copied: Copied::default() };
        copy.folder(partial.clone())?;
        let segments = copy.folder(segment_dir(&partial))?;
        for segment in state.logs.iter().flat_map(|log| &log.segments) {
            let name = &*segment.meta.name;
            let from = segment_dir(&self.options.data_dir).join(name);
            copy.link(&from, &segments.join(name))?;
        }
        let frames = copy.folder(wal_dir(&partial))?;
        for opened in &wal {
            let size_bytes = size_until(opened, state.lsn)?;
            copy.bytes(&*opened.file, size_bytes, &opened.path, &frames.join(opened.file_name()))?;
        }
        let catalog = copy.folder(catalog_dir(&partial))?;
        for opened in &snapshots {
            let to = catalog.join(opened.file_name());
            copy.bytes(&*opened.file, opened.size_bytes, &opened.path, &to)?;
        }
        let secrets = copy.folder(secret_dir(&partial))?;
        let own_secrets = secret_dir(&self.options.data_dir);
        let names = disk.list(&own_secrets);
        for name in names.map_err(|error| Error::io(&own_secrets, "list", error))? {
            if !name.ends_with(".new") {
                copy.file(&own_secrets.join(&name), &secrets.join(&name))?;
            }
        }
        for dir in [&segments, &frames, &catalog, &secrets] {
            disk.sync_dir(dir).map_err(|error| Error::io(dir, "sync the directory", error))?;
        }
        copy.finish(&partial)?;
        let report = verify(disk, &partial, Depth::Checksums)?;
        copy.copied.rows = report.rows;
        refuse_damaged(&partial, report)?;
        disk.rename(&partial, to).map_err(|error| Error::io(to, "rename a backup to", error))?;
        disk.sync_dir(&parent).map_err(|error| Error::io(&parent, "sync the directory", error))?;
        Ok(copy.copied)
    }

    /// Where a backup goes: a directory that is there, and a name in it that is free.
    fn check_destination(&self, to: &Path) -> Result<(PathBuf, String), Error> {
        let disk = &*self.options.disk;
        let name = to.file_name().and_then(|name| name.to_str());
        let (Some(parent), Some(name), true) = (to.parent(), name, to.is_absolute()) else {
            let what = "a backup needs an absolute path whose last part is a name";
            return Err(of(to, ErrorKind::Invalid, what));
        };
        let is_in_itself = |path: &Path| path.starts_with(&self.options.data_dir);
        if is_in_itself(parent) || parent.canonicalize().is_ok_and(|parent| is_in_itself(&parent)) {
            return Err(of(to, ErrorKind::Invalid, "lies in the data directory itself"));
        }
        match disk.list(to) {
            Ok(names) if names.is_empty() => {}
            Ok(_) => return Err(of(to, ErrorKind::Exists, "is not empty; name a new directory")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                disk.list(parent).map_err(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => {
                        of(parent, ErrorKind::Missing, "there is no such directory")
                    }
                    _ => Error::io(parent, "list", error),
                })?;
            }
            Err(error) => return Err(Error::io(to, "list", error)),
        }
        Ok((parent.to_owned(), name.to_owned()))
    }
}

/// How much of a WAL file the frames up to one take.
fn size_until(opened: &Opened, last: Lsn) -> Result<u64, Error> {
    let mut frames = Frames::new(&*opened.file, opened.size_bytes, opened.number);
    let mut end = 0;
    while frames.next_lsn() <= last {
        match frames.next().map_err(|error| Error::io(&opened.path, "read", error))? {
            None => break,
            Some(Piece::Frame { at, .. }) => end = at.end,
            Some(Piece::Damage { at, what, .. } | Piece::Tail { at, what }) => {
                let what = format!("{what} at byte {}; `verify` says more", at.start);
                return Err(Error::damaged(&opened.path, what));
            }
        }
    }
    Ok(end)
}

fn refuse_damaged(dir: &Path, report: Report) -> Result<(), Error> {
    let Some(first) = report.damages.first() else { return Ok(()) };
    let more = report.damages.len() as u64 - 1 + report.more_damages;
    let what = match more {
        0 => first.what.clone(),
        _ => format!("{}; {more} more damages, which `verify` names", first.what),
    };
    Err(Error::damaged(&dir.join(&first.file), what))
}

fn of(path: &Path, kind: ErrorKind, what: &str) -> Error {
    Error { path: Some(path.to_owned()), ..Error::new(kind, what) }
}

/// Writes copies.
struct Copy<'d> {
    disk: &'d dyn Disk,
    copied: Copied,
}

impl Copy<'_> {
    fn folder(&self, dir: PathBuf) -> Result<PathBuf, Error> {
        match self.disk.create_subdir(&dir) {
            Ok(()) => Ok(dir),
            Err(error) => Err(Error::io(&dir, "make the directory", error)),
        }
    }

    /// A file that never changes: by another name for it, where the file system has that.
    fn link(&mut self, from: &Path, to: &Path) -> Result<(), Error> {
        if self.disk.link(from, to).is_err() {
            return self.file(from, to);
        }
        let file = self.disk.open_to_read(to).map_err(|error| Error::io(to, "open", error))?;
        self.copied.files += 1;
        self.copied.linked_files += 1;
        let size = file.size_bytes().map_err(|error| Error::io(to, "read the size of", error))?;
        self.copied.size_bytes += size;
        Ok(())
    }

    fn file(&mut self, from: &Path, to: &Path) -> Result<(), Error> {
        let file = self.disk.open_to_read(from).map_err(|error| Error::io(from, "open", error))?;
        let size = file.size_bytes().map_err(|error| Error::io(from, "read the size of", error))?;
        self.bytes(&*file, size, from, to)
    }

    /// The beginning of a file, durably.
    fn bytes(
        &mut self,
        file: &dyn DiskFile,
        size_bytes: u64,
        from: &Path,
        to: &Path,
    ) -> Result<(), Error> {
        let new = self.disk.create(to).map_err(|error| Error::io(to, "create", error))?;
        let mut buffer = vec![0; 1 << 20];
        let mut done = 0;
        while done < size_bytes {
            let wanted = (buffer.len() as u64).min(size_bytes - done) as usize;
            let n = match file.read_at(&mut buffer[..wanted], done) {
                Ok(0) => return Err(Error::damaged(from, format!("ends at byte {done}"))),
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::io(from, "read", error)),
            };
            let written = write_all_at(&*new, &buffer[..n], done);
            written.map_err(|error| Error::io(to, "write", error))?;
            done += n as u64;
        }
        new.sync().map_err(|error| Error::io(to, "sync", error))?;
        self.copied.files += 1;
        self.copied.size_bytes += size_bytes;
        Ok(())
    }

    /// Makes a directory whose folders are whole one of ours.
    fn finish(&mut self, dir: &Path) -> Result<(), Error> {
        self.disk.sync_dir(dir).map_err(|error| Error::io(dir, "sync the directory", error))?;
        sync_names_above(self.disk, dir)?;
        write_file(self.disk, dir, "FORMAT", FORMAT.as_bytes())?;
        self.copied.files += 1;
        self.copied.size_bytes += FORMAT.len() as u64;
        Ok(())
    }
}

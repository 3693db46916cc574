//! [`Folder`]: the few things that a spool does to its disk, so that a test can be the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A folder of files that grow at their end.
pub trait Folder: Send {
    /// The names that are there, in any order.
    fn names(&self) -> io::Result<Vec<String>>;
    /// A part of a file, as much of it as there is.
    fn read(&self, name: &str, offset: u64, length: u64) -> io::Result<Vec<u8>>;
    /// Writes at the end of a file, and makes it where there is none. Not durable; what failed may have
    /// been written in part.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Makes a file durable, and that it is there.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Cuts a file's end off, durably.
    fn cut(&mut self, name: &str, size_bytes: u64) -> io::Result<()>;
    /// Takes a file away.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Makes this a file's whole content, durably: the old one or the new one is there at any time.
    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
}

/// A folder of the file system, of which this process is the only owner.
pub struct SystemFolder {
    path: PathBuf,
    /// Held as long as this is.
    _lock: File,
}

/// Nobody else is to read what logs say.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

impl SystemFolder {
    /// Opens a folder, making it where there is none, and takes its lock.
    pub fn open(path: &Path) -> io::Result<SystemFolder> {
        fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::other("another agent uses it"),
            fs::TryLockError::Error(error) => error,
        })?;
        Ok(SystemFolder { path: path.to_owned(), _lock: lock })
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Folder for SystemFolder {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn read(&self, name: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path.join(name))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(FILE_MODE);
        options.open(self.path.join(name))?.write_all(bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        File::open(self.path.join(name))?.sync_data()?;
        self.sync_folder()
    }

    fn cut(&mut self, name: &str, size_bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path.join(name))?;
        file.set_len(size_bytes)?;
        file.sync_all()
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = self.path.join(format!("{name}.new"));
        let replaced = write_new(&new, bytes).and_then(|()| fs::rename(&new, self.path.join(name)));
        if let Err(error) = replaced {
            // What is there of it would take room where there is none.
            drop(fs::remove_file(&new));
            return Err(error);
        }
        self.sync_folder()
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(FILE_MODE);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

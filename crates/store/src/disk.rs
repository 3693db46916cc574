//! [`Disk`]: the seam between the store and the operating system.
//!
//! Every operation by which the store touches its directory is a method here, so that a test can
//! make the n-th of them fail, land anyway, or land in part. The traits are small and say nothing
//! of formats: what is written, and in which order it is made durable, is the store's business.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// The few operations the store asks of a file system.
pub trait Disk: Send + Sync {
    /// Makes a directory, and those above it, with mode 0700; one that is there stays as it is.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes a directory within the data directory, with mode 0700; one that is there stays as it is.
    /// What this and `create` and `lock` make belongs to whom the directory around it belongs to:
    /// root would otherwise leave files behind that the server's own user cannot read.
    fn create_subdir(&self, dir: &Path) -> io::Result<()>;

    /// Gives a directory that is there mode 0700.
    fn make_private(&self, dir: &Path) -> io::Result<()>;

    /// Takes the lock that the file stands for, and holds it until the result is dropped.
    /// [`io::ErrorKind::WouldBlock`]: another process has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Makes an empty file with mode 0600; what stood under the name is gone.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for reading only, as one on a read-only medium.
    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    /// Gives a file a further name where there is none; [`io::ErrorKind::Unsupported`] and
    /// [`io::ErrorKind::CrossesDevices`]: it must be copied instead.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _no_links_here = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Gives a file or a directory another name, in place of what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file another name that nothing has yet; [`io::ErrorKind::AlreadyExists`]: something
    /// has it, and stays.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        // Between the two steps only whoever else writes here could come, and the lock says that
        // nobody of ours does. The operating system can do it in one step.
        match self.open(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.rename(from, to),
            Err(error) => Err(error),
        }
    }

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that we may still write to the file system of `dir`.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// How long it is.
    fn size_bytes(&self) -> io::Result<u64>;

    /// Reads up to `bytes.len()` bytes; fewer at the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes bytes; may write fewer than were given.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Cuts the file off.
    fn truncate(&self, size_bytes: u64) -> io::Result<()>;

    /// Makes the file's bytes and its length durable; its name is [`Disk::sync_dir`]'s business.
    fn sync(&self) -> io::Result<()>;
}

/// Writes all of `bytes` or fails.
pub(crate) fn write_all_at(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(&bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads `length` bytes, or as many as the file has from there on.
pub(crate) fn read_up_to(file: &dyn DiskFile, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let done = fill_up_to(file, offset, &mut bytes)?;
    bytes.truncate(done);
    Ok(bytes)
}

/// Fills `bytes`, as far as the file has some; returns how many.
pub(crate) fn fill_up_to(file: &dyn DiskFile, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn create_subdir(&self, dir: &Path) -> io::Result<()> {
        match std::fs::DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                let flags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).bits().cast_signed();
                let made = OpenOptions::new().read(true).custom_flags(flags).open(dir)?;
                give_to_owner(&made, dir)
            }
        }
    }

    fn make_private(&self, dir: &Path) -> io::Result<()> {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = options_to_create().truncate(false).open(path)?;
        give_to_owner(&file, path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = options_to_create().truncate(true).open(path)?;
        give_to_owner(&file, path)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(options().open(path)?))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (here, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::NOREPLACE);
        match rustix::fs::renameat_with(here, from, here, to, flags) {
            // Not every file system knows how.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => match to.exists() {
                true => Err(io::ErrorKind::AlreadyExists.into()),
                false => std::fs::rename(from, to),
            },
            renamed => Ok(renamed?),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        // A name that is not UTF-8 is none of ours, so that it may be spelled in any way here.
        std::fs::read_dir(dir)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let free = rustix::fs::statvfs(dir)?;
        Ok(free.f_bavail.saturating_mul(free.f_frsize))
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn options_to_create() -> OpenOptions {
    let mut options = options();
    // A link that the directory's owner made must not lead root to a file of somebody else.
    options.create(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Gives what root made to whom the directory around it belongs to.
fn give_to_owner(made: &File, path: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (around, made_as) = (std::fs::metadata(dir)?, made.metadata()?);
    // A file that has another name, too, was not made here: giving it away could give away
    // somebody else's file.
    let is_only_here = made_as.is_dir() || made_as.nlink() == 1;
    if made_as.uid() == around.uid() || !is_only_here {
        return Ok(());
    }
    std::os::unix::fs::fchown(made, Some(around.uid()), Some(around.gid()))
}

impl DiskFile for File {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn truncate(&self, size_bytes: u64) -> io::Result<()> {
        self.set_len(size_bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

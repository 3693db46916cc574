//! TileDB arrays as they lie on disk: which folder is one, and what a look at one shows.
//!
//! Links within an array are not followed, so that nothing outside is read in its name.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use doorbook_event::Timestamp;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::CONTENTS_BYTES_MAX;
use super::name::{Name, Stem};
use super::watch::{Contents, Listing};

/// An array on disk that is looked at.
#[derive(Debug)]
pub struct DiskArray {
    folder: OwnedFd,
}

/// Where files lie that tell of operations, below the array; what is in fragments is not looked at.
/// Commits come first: what merges them must not be older than what was seen of them.
const FOLDERS: [&str; 4] = ["__commits", "__meta", "__fragment_meta", "__schema"];

impl DiskArray {
    /// Opens an array's folder, which may not be a link itself.
    pub fn open(folder: &Path) -> io::Result<DiskArray> {
        let opened = rustix::fs::openat(CWD, folder, FOLDER, Mode::empty());
        opened.map(|folder| DiskArray { folder }).map_err(|error| refused("the array", error))
    }

    /// What is there now. A folder that is none, is a link or may not be read is an error; one that is
    /// not there is empty.
    pub fn list(&self) -> io::Result<Listing> {
        let mut listing = Listing::new();
        for name in FOLDERS {
            match rustix::fs::openat(&self.folder, name, FOLDER, Mode::empty()) {
                Ok(folder) => see_folder(&folder, name, &mut listing)?,
                Err(Errno::NOENT) => {}
                Err(error) => return Err(refused(name, error)),
            }
        }
        self.see_root(&mut listing)?;
        Ok(listing)
    }

    /// Before version 12 commits and fragments lie in the array's folder itself.
    fn see_root(&self, listing: &mut Listing) -> io::Result<()> {
        for entry in Dir::read_from(&self.folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if Stem::parse(&name).is_some_and(|stem| stem.version == 0) {
                let fragment = format!("{name}/__fragment_metadata.tdb");
                see(&self.folder, &fragment, &fragment, listing)?;
            } else {
                see(&self.folder, &name, &name, listing)?;
            }
        }
        Ok(())
    }

    fn open_file(&self, path: &str) -> io::Result<File> {
        if Name::parse(path).is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file of an array"));
        }
        let (folder, file) = path.split_once('/').unwrap_or((".", path));
        let folder = rustix::fs::openat(&self.folder, folder, FOLDER, Mode::empty())?;
        Ok(rustix::fs::openat(&folder, file, FILE, Mode::empty())?.into())
    }
}

impl Contents for DiskArray {
    fn read(&mut self, path: &str) -> io::Result<Vec<u8>> {
        let file = self.open_file(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
        }
        let mut bytes = Vec::new();
        file.take(CONTENTS_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn modified(&mut self, path: &str) -> io::Result<Timestamp> {
        Ok(modified(&rustix::fs::statat(&self.folder, path, AtFlags::SYMLINK_NOFOLLOW)?))
    }
}

const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Not blocking: opening a pipe would wait for whoever writes to it.
const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

fn see_folder(folder: &OwnedFd, path: &str, listing: &mut Listing) -> io::Result<()> {
    for entry in Dir::read_from(folder).map_err(|error| refused(path, error))? {
        let entry = entry.map_err(|error| refused(path, error))?;
        let name = entry.file_name().to_string_lossy();
        if name != "." && name != ".." {
            see(folder, &name, &format!("{path}/{name}"), listing)?;
        }
    }
    Ok(())
}

fn see(folder: &OwnedFd, name: &str, path: &str, listing: &mut Listing) -> io::Result<()> {
    if Name::parse(path).is_none() {
        listing.see(path, Timestamp::MIN);
        return Ok(());
    }
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
            listing.see(path, modified(&stat));
            Ok(())
        }
        // A link or a folder commits nothing; what went meanwhile is not there.
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        Err(error) => Err(refused(path, error)),
    }
}

fn modified(stat: &Stat) -> Timestamp {
    Timestamp::from_seconds(stat.st_mtime).plus_micros(stat.st_mtime_nsec as i64 / 1000)
}

fn refused(path: &str, error: Errno) -> io::Error {
    let text = match error {
        Errno::NOTDIR | Errno::LOOP => {
            format!("{path} is a file or a link where a folder is expected; links are not followed")
        }
        _ => format!("{path} cannot be read: {error}"),
    };
    io::Error::new(io::Error::from(error).kind(), text)
}

/// Every array below a folder, itself included, by path. Links are not followed, so that the walk ends;
/// what is in an array is not looked through.
pub fn find_below(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        if is_array(&folder) {
            found.push(folder);
            continue;
        }
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// An array has a schema: a folder of them, or until format 10 one file.
pub fn is_array(folder: &Path) -> bool {
    folder.join("__schema").is_dir() || folder.join("__array_schema.tdb").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every array is found once, and the walk ends. Method: arrays in each other's folders, a link
    /// that leads back, a folder that only looks like one.
    #[test]
    fn arrays_are_found_below_a_folder() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path();
        for folder in ["a/__schema", "x/b/__schema", "a/__fragments/c/__schema", "x/empty"] {
            std::fs::create_dir_all(root.join(folder)).expect("made");
        }
        std::fs::create_dir(root.join("old")).expect("made");
        std::fs::write(root.join("old/__array_schema.tdb"), "").expect("written");
        std::fs::write(root.join("x/empty/__schema"), "a file").expect("written");
        std::os::unix::fs::symlink(root, root.join("x/back")).expect("made");
        let found = |folder: &Path| find_below(folder).expect("reads");
        assert_eq!(found(root), [root.join("a"), root.join("old"), root.join("x/b")]);
        assert_eq!(found(&root.join("a")), [root.join("a")]);
        assert!(find_below(&root.join("absent")).is_err());
    }

    const WRITE: &str = "__5_5_0512d23b8b8e515570068a374247983d_22";

    fn array(root: &Path) -> PathBuf {
        let folder = root.join("array");
        for name in ["__schema", "__commits", "__fragments", "__meta"] {
            std::fs::create_dir_all(folder.join(name)).expect("made");
        }
        let schema = "__schema/__4_4_0512d23b8b8e515570068a374247983d";
        for file in [schema, &format!("__commits/{WRITE}.wrt")] {
            std::fs::write(folder.join(file), "x").expect("written");
        }
        folder
    }

    /// Goal: a look shows what tells of operations, of all versions, and nothing that lies elsewhere.
    /// Method: an array with old and new commits, with a link, a pipe and a folder where files should be.
    #[test]
    fn a_look_at_an_array() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let folder = array(dir.path());
        let old = "__5_5_1512d23b8b8e515570068a374247983d";
        std::fs::create_dir(folder.join(old)).expect("made");
        std::fs::write(folder.join(old).join("__fragment_metadata.tdb"), "").expect("written");
        std::fs::write(folder.join(format!("{old}_9.ok")), "").expect("written");
        let link = format!("__commits/{}.wrt", WRITE.replace("_0512", "_2512"));
        std::os::unix::fs::symlink("/etc/passwd", folder.join(&link)).expect("made");
        let inside = format!("__commits/{}.con", WRITE.replace("_0512", "_3512"));
        std::fs::create_dir(folder.join(&inside)).expect("made");
        let mut disk = DiskArray::open(&folder).expect("opens");
        let listing = disk.list().expect("lists");
        assert!(listing.is_array());
        let expected = [
            format!("__commits/{WRITE}.wrt"),
            format!("{old}/__fragment_metadata.tdb"),
            format!("{old}_9.ok"),
            "__schema/__4_4_0512d23b8b8e515570068a374247983d".to_owned(),
        ];
        let mut expected = expected.to_vec();
        expected.sort();
        let mut paths = listing.paths();
        paths.sort();
        assert_eq!(paths, expected);
        let commit = format!("__commits/{WRITE}.wrt");
        assert_eq!(disk.read(&commit).expect("reads"), b"x");
        for refused in [&*link, &*inside, "__commits/absent", "../dir", "__commits/../../x"] {
            assert!(disk.read(refused).is_err(), "{refused}");
        }
    }

    /// Goal: an array that cannot be looked at is a clear error. Method: a link, a file and a folder that is
    /// a link.
    #[test]
    fn what_cannot_be_looked_at() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let folder = array(dir.path());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).expect("made");
        let error = DiskArray::open(&link).expect_err("a link");
        assert!(error.to_string().contains("links are not followed"), "{error}");
        let absent = DiskArray::open(&dir.path().join("absent")).expect_err("not there");
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
        std::fs::remove_dir(folder.join("__meta")).expect("removed");
        std::os::unix::fs::symlink("/tmp", folder.join("__meta")).expect("made");
        let error = DiskArray::open(&folder).expect("opens").list().expect_err("a link");
        assert!(error.to_string().starts_with("__meta is a file or a link"), "{error}");
        std::fs::remove_file(folder.join("__meta")).expect("removed");
        assert!(DiskArray::open(&folder).expect("opens").list().expect("lists").is_array());
    }
}

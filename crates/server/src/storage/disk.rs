//! [`Disk`]: a folder of this machine that arrays are in.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use doorbook_event::Text;
use doorbook_source::tiledb::disk::DiskArray;
use doorbook_source::tiledb::is_array;

use super::place::{Changed, Looked, Place, Seen, Unseen};
use super::wake::Wake;
use crate::arrays::FILE;

/// A folder with arrays below it, or one array. Links below are not followed: what they lead to is not
/// below.
pub(super) struct Disk {
    root: PathBuf,
    data_dir: PathBuf,
    wake: Wake,
    /// Links that were passed by in the last look.
    links: u64,
}

/// Folders of an array in which it changes, beside its own.
const FOLDERS: [&str; 4] = ["__commits", "__meta", "__schema", "__fragment_meta"];

/// Places that cannot be looked at that are remembered of one look.
const HIDDEN_MAX: usize = 1000;

impl Disk {
    pub(super) fn new(root: &str, data_dir: &Path) -> Disk {
        let (root, data_dir) = (PathBuf::from(root), data_dir.to_owned());
        Disk { root, data_dir, wake: Wake::default(), links: 0 }
    }

    /// Whether this is a folder to look into.
    fn check(&self) -> Result<(), Unseen> {
        let unseen = |message: String| Unseen { is_absent: false, message: message.into() };
        let real = self.root.canonicalize().map_err(|error| {
            let message = format!("{} cannot be read: {error}", self.root.display()).into();
            Unseen { is_absent: error.kind() == ErrorKind::NotFound, message }
        })?;
        if self.data_dir.canonicalize().is_ok_and(|data_dir| real.starts_with(data_dir)) {
            return Err(unseen(format!("{} is in the data directory", self.root.display())));
        }
        // Nobody else's rights are needed for what is below; those are told one by one.
        std::fs::read_dir(&real)
            .map(drop)
            .map_err(|error| unseen(format!("{} cannot be read: {error}", self.root.display())))
    }

    fn see(&mut self, folder: &Path, see: &mut dyn FnMut(Seen<'_>) -> bool) -> bool {
        let uri = uri(folder);
        // Before it is listed, so that nothing falls between.
        self.wake.add(folder, Some(&uri));
        for name in FOLDERS {
            self.wake.add(&folder.join(name), Some(&uri));
        }
        match DiskArray::open(folder) {
            Ok(mut array) => {
                let listing = array.list().map_err(|error| Text::from(error.to_string()));
                see(Seen { uri, listing, contents: &mut array })
            }
            // Gone since it was found.
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => {
                let listing = Err(error.to_string().into());
                see(Seen { uri, listing, contents: &mut Nothing })
            }
        }
    }
}

impl Place for Disk {
    fn look(&mut self, see: &mut dyn FnMut(Seen<'_>) -> bool) -> Result<Looked, Unseen> {
        self.check()?;
        self.links = 0;
        let mut looked = Looked::default();
        let mut pending = vec![self.root.clone()];
        while let Some(folder) = pending.pop() {
            if is_array(&folder) {
                if !self.see(&folder, see) {
                    break;
                }
                continue;
            }
            self.wake.add(&folder, None);
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    if looked.hidden.len() < HIDDEN_MAX {
                        looked.hidden.push((uri(&folder), error.to_string().into()));
                    }
                    continue;
                }
            };
            let data_dir = self.data_dir.canonicalize().ok();
            for entry in entries.flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_symlink() => self.links += 1,
                    Ok(kind) if kind.is_dir() => {
                        let path = entry.path();
                        if data_dir.as_deref() != Some(&*path) {
                            pending.push(path);
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(looked)
    }

    fn look_at(&mut self, uri: &str, see: &mut dyn FnMut(Seen<'_>)) {
        let folder = PathBuf::from(uri.strip_prefix(FILE).unwrap_or(uri));
        self.see(&folder, &mut |seen| {
            see(seen);
            true
        });
    }

    fn changed(&mut self) -> Changed {
        self.wake.changed()
    }

    fn margin_seconds(&self) -> i64 {
        1
    }

    fn removal_seconds(&self) -> i64 {
        0
    }

    fn note(&self) -> Option<Text> {
        let links = match self.links {
            0 => None,
            1 => Some("1 link below is not followed".into()),
            n => Some(Text::from(format!("{n} links below are not followed"))),
        };
        self.wake.trouble().or(links)
    }
}

fn uri(folder: &Path) -> Text {
    format!("{FILE}{}", folder.display()).into()
}

/// What an array has that cannot be opened.
struct Nothing;

impl doorbook_source::tiledb::Contents for Nothing {
    fn read(&mut self, _path: &str) -> std::io::Result<Vec<u8>> {
        Err(ErrorKind::NotFound.into())
    }

    fn modified(&mut self, _path: &str) -> std::io::Result<doorbook_event::Timestamp> {
        Err(ErrorKind::NotFound.into())
    }
}

//! [`Wake`]: the kernel's word that something changed in a folder (inotify).
//!
//! Only a wake-up call: what changed is found by looking. So nothing is lost where it is silent (network file
//! systems, no more watches), but that looks come by interval only.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use doorbook_event::Text;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::place::Changed;

/// What tells of changes in folders.
#[derive(Debug, Default)]
pub(super) struct Wake {
    /// `None` before the first folder, and where there is none to be had.
    inotify: Option<OwnedFd>,
    folders: HashMap<i32, (PathBuf, Option<Text>)>,
    by_path: HashMap<PathBuf, i32>,
    /// Why it does not tell of everything.
    trouble: Option<Text>,
}

impl Wake {
    /// Is to tell of a folder: of this array's, or of one that arrays are in.
    pub(super) fn add(&mut self, folder: &Path, array: Option<&Text>) {
        if self.by_path.contains_key(folder) {
            return;
        }
        match self.try_add(folder) {
            Ok(number) => {
                self.by_path.insert(folder.to_owned(), number);
                self.folders.insert(number, (folder.to_owned(), array.cloned()));
            }
            // Not there, or a link: nothing to tell of.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => {
                let advice = match error {
                    Errno::NOSPC => " (raise fs.inotify.max_user_watches)",
                    Errno::MFILE => " (raise fs.inotify.max_user_instances)",
                    _ => "",
                };
                let text = format!("changes are found by interval only: inotify: {error}{advice}");
                self.trouble = Some(text.into());
            }
        }
    }

    fn try_add(&mut self, folder: &Path) -> Result<i32, Errno> {
        let inotify = match &self.inotify {
            Some(inotify) => inotify,
            None => {
                let made = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
                self.inotify.insert(made)
            }
        };
        let changes = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW
            | WatchFlags::EXCL_UNLINK;
        inotify::add_watch(inotify, folder, changes)
    }

    /// What changed since this was asked last.
    pub(super) fn changed(&mut self) -> Changed {
        let mut changed = Changed::default();
        let Some(inotify) = &self.inotify else { return changed };
        let mut buffer = [MaybeUninit::uninit(); 64 * 1024];
        let mut reader = Reader::new(inotify, &mut buffer);
        loop {
            let (number, what) = match reader.next() {
                Ok(event) => (event.wd(), event.events()),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    self.trouble = Some(format!("inotify: {error}").into());
                    break;
                }
            };
            if what.contains(ReadFlags::QUEUE_OVERFLOW) {
                changed.place = true;
                continue;
            }
            if what.intersects(ReadFlags::IGNORED | ReadFlags::MOVE_SELF) {
                // Under this name is another folder now, if any.
                if let Some((path, _)) = self.folders.remove(&number) {
                    self.by_path.remove(&path);
                }
                if what.contains(ReadFlags::MOVE_SELF) {
                    let _it_may_be_gone = inotify::remove_watch(inotify, number);
                }
                changed.place = true;
                continue;
            }
            match self.folders.get(&number) {
                Some((_, Some(array))) if changed.arrays.last() != Some(array) => {
                    changed.arrays.push(array.clone());
                }
                Some((_, None)) => changed.place = true,
                Some((_, Some(_))) | None => {}
            }
        }
        changed.arrays.sort();
        changed.arrays.dedup();
        changed
    }

    /// Why it does not tell of everything, if so.
    pub(super) fn trouble(&self) -> Option<Text> {
        self.trouble.clone()
    }
}

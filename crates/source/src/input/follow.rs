//! [`Follow`]: the lines of a file as they are appended.
//!
//! Polled, because that is right on every file system. One poll reads what there is, then looks
//! whether the name stands for the same file still:
//!
//! - *Renamed away, and another file of the name has bytes*: the old one is read to its end, its
//!   last line is handed on even if unfinished, and the new one is begun. A new file that is empty
//!   is not enough: logrotate creates it before it tells mongod to let go of the old one.
//! - *Shorter than what was read*, or *with another beginning* (copytruncate; the new content may
//!   have outgrown the old one between two polls): begun anew. A log begins with a time, so that
//!   two of them do not begin alike.
//! - *Absent*: waited for; the old one may still grow.
//!
//! Not seen: two rotations between two polls, and the lines that were written after the last poll
//! and before the file was cut short.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use doorbook_event::Text;

use super::splitter::Splitter;
use super::{Error, ErrorKind, Line};

/// Follows one uncompressed file by its name.
pub struct Follow {
    path: PathBuf,
    name: Text,
    /// The file that is read, which the name may no longer stand for.
    open: Option<Open>,
    splitter: Splitter,
}

struct Open {
    file: File,
    identity: Identity,
    read_bytes: u64,
    /// The first bytes, as far as they were read; of a file that is gone on with, as they were when
    /// it was opened.
    beginning: Vec<u8>,
}

impl Open {
    /// Enough for the time of the first line and what follows it.
    const BEGINNING_BYTES: u64 = 256;

    /// Takes note of the first bytes, once those that were read are not all of them.
    fn learn_beginning(&mut self) -> io::Result<()> {
        let known_bytes = self.beginning.len();
        let wanted = usize::try_from(self.read_bytes.min(Open::BEGINNING_BYTES)).unwrap_or(0);
        if known_bytes < wanted {
            self.beginning.resize(wanted, 0);
            let read = read_fully_at(&self.file, &mut self.beginning[known_bytes..], known_bytes);
            self.beginning.truncate(known_bytes + read?);
        }
        Ok(())
    }

    /// Whether the first bytes are others than those that were read.
    fn begins_otherwise(&self) -> io::Result<bool> {
        let mut now = vec![0; self.beginning.len()];
        let read = read_fully_at(&self.file, &mut now, 0)?;
        Ok(now[..read] != self.beginning)
    }
}

/// Reads as many bytes as there are; says how many.
fn read_fully_at(file: &File, bytes: &mut [u8], offset: usize) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], (offset + done) as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Device and inode.
type Identity = (u64, u64);

/// What a poll came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Lines that were handed on.
    pub lines: u64,
    /// There is more to read already: poll again without a pause.
    pub more: bool,
    /// Another file of the name was begun: line numbers and offsets count from its beginning.
    pub rotated: bool,
    /// The file was cut short and is read from its beginning.
    pub truncated: bool,
    /// No file has the name at the moment.
    pub absent: bool,
}

impl Follow {
    /// 16 MiB: what one poll reads at most, so that its caller gets to commit and to stop.
    const POLL_BYTES: u64 = 16 << 20;

    /// Follows `path`, which need not exist yet. What comes before `offset_bytes`, where line
    /// `number` begins, was read already; `(1, 0)` reads from the beginning.
    pub fn new(path: PathBuf, name: Text, number: u64, offset_bytes: u64) -> Follow {
        let splitter = Splitter::new(Splitter::BLOCK_BYTES, number, offset_bytes);
        Follow { path, name, open: None, splitter }
    }

    /// Hands on the lines that were completed since the last poll. An unfinished last line is held
    /// until its rest is there, or its file is left. After an error, poll again: nothing is lost.
    pub fn poll(&mut self, sink: &mut dyn FnMut(Line<'_>)) -> Result<Progress, Error> {
        let mut progress = Progress::default();
        let mut room_bytes = Follow::POLL_BYTES;
        loop {
            if self.open.is_none() && !self.begin(&mut progress)? {
                return Ok(progress);
            }
            // The name is looked at before the file is read: what was appended to the old file
            // before a new one had bytes is read then before the old one is left, and what is
            // appended meanwhile cannot look like more than the file has.
            let named = self.named()?;
            progress.absent = named.is_none();
            let (replaced, truncated) = match (&self.open, named) {
                (Some(open), Some((identity, size_bytes))) if identity == open.identity => {
                    let is_other = open.begins_otherwise().map_err(|e| self.failed(e))?;
                    (false, size_bytes < open.read_bytes || is_other)
                }
                (_, Some((_, size_bytes))) => (size_bytes > 0, false),
                (_, None) => (false, false),
            };
            // What stands behind the place up to which a file was read belongs to its old content
            // only if it is not a new one: half a line of that would become an event.
            if !truncated {
                progress.lines += self.read(&mut room_bytes, sink)?;
            }
            if room_bytes == 0 {
                progress.more = true;
                return Ok(progress);
            }
            if !replaced && !truncated {
                return Ok(progress);
            }
            if let Some(found) = self.splitter.find_rest() {
                sink(self.splitter.lend(found));
                progress.lines += 1;
            }
            progress.rotated |= replaced;
            progress.truncated |= truncated;
            self.splitter = Splitter::new(Splitter::BLOCK_BYTES, 1, 0);
            self.open = None;
        }
    }

    /// Identity and size of the file that has the name now.
    fn named(&self) -> Result<Option<(Identity, u64)>, Error> {
        match fs::metadata(&self.path) {
            Ok(metadata) => Ok(Some(((metadata.dev(), metadata.ino()), metadata.len()))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.failed(e)),
        }
    }

    /// Opens the file that has the name now, if one has.
    fn begin(&mut self, progress: &mut Progress) -> Result<bool, Error> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                progress.absent = true;
                return Ok(false);
            }
            Err(e) => return Err(self.failed(e)),
        };
        let metadata = file.metadata().map_err(|e| self.failed(e))?;
        // If it has fewer bytes it was cut short since, or is another one; `poll` sees that.
        let (_, read_bytes) = self.splitter.place();
        file.seek(SeekFrom::Start(read_bytes)).map_err(|e| self.failed(e))?;
        let identity = (metadata.dev(), metadata.ino());
        let mut open = Open { file, identity, read_bytes, beginning: Vec::new() };
        open.learn_beginning().map_err(|e| self.failed(e))?;
        self.open = Some(open);
        Ok(true)
    }

    /// Reads to the end, or as much as there is room for, and hands on what is complete.
    fn read(&mut self, room_bytes: &mut u64, sink: &mut dyn FnMut(Line<'_>)) -> Result<u64, Error> {
        let mut lines = 0;
        loop {
            while let Some(found) = self.splitter.find() {
                sink(self.splitter.lend(found));
                lines += 1;
            }
            let Some(open) = self.open.as_mut().filter(|_| *room_bytes > 0) else {
                return Ok(lines);
            };
            match open.file.read(self.splitter.room()) {
                Ok(0) => {
                    let learned = open.learn_beginning();
                    return learned.map(|()| lines).map_err(|e| self.failed(e));
                }
                Ok(n) => {
                    self.splitter.filled(n);
                    open.read_bytes += n as u64;
                    *room_bytes = room_bytes.saturating_sub(n as u64);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.failed(e)),
            }
        }
    }

    fn failed(&self, e: io::Error) -> Error {
        let (_, offset_bytes) = self.splitter.place();
        let message = match e.kind() {
            io::ErrorKind::PermissionDenied => "may not be read by this user",
            _ => "cannot be read",
        };
        Error::new(ErrorKind::Io, &self.name, message).at(offset_bytes).caused_by(e)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::Content;
    use super::*;

    /// A followed file, and hands to maltreat it. Lines show as `number@offset text`, an
    /// unfinished one with `...`.
    struct Scene {
        _directory: tempfile::TempDir,
        path: PathBuf,
        follow: Follow,
    }

    impl Scene {
        fn new() -> Scene {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let path = directory.path().join("mongod.log");
            let follow = Follow::new(path.clone(), "mongod.log".into(), 1, 0);
            Scene { _directory: directory, path, follow }
        }

        fn rotated(&self) -> PathBuf {
            self.path.with_extension("log.1")
        }

        fn append(&self, path: &PathBuf, bytes: &str) {
            let file = File::options().append(true).create(true).open(path);
            file.and_then(|mut file| file.write_all(bytes.as_bytes())).expect("written");
        }

        fn write(&self, bytes: &str) {
            self.append(&self.path, bytes);
        }

        fn rename(&self) {
            fs::rename(&self.path, self.rotated()).expect("renamed");
        }

        #[track_caller]
        fn poll(&mut self, expect: &[&str]) -> Progress {
            let mut lines = Vec::new();
            let mut sink = |line: Line<'_>| {
                let Content::Bytes(bytes) = line.content else { panic!("a short line") };
                let text = String::from_utf8_lossy(bytes);
                let rest = if line.complete { "" } else { "..." };
                lines.push(format!("{}@{} {text}{rest}", line.number, line.offset_bytes));
            };
            let progress = self.follow.poll(&mut sink).expect("readable");
            assert_eq!(lines, expect);
            assert_eq!(progress.lines, expect.len() as u64);
            progress
        }
    }

    #[test]
    fn appended_lines_come_once_and_unfinished_ones_wait() {
        let mut scene = Scene::new();
        assert!(scene.poll(&[]).absent);
        scene.write("one\ntw");
        assert_eq!(scene.poll(&["1@0 one"]), Progress { lines: 1, ..Progress::default() });
        scene.poll(&[]);
        scene.write("o\nthree\n");
        scene.poll(&["2@4 two", "3@8 three"]);
        scene.poll(&[]);
    }

    #[test]
    fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
        let mut scene = Scene::new();
        scene.write("one\n");
        scene.poll(&["1@0 one"]);
        scene.rename();
        scene.append(&scene.rotated(), "two\n");
        assert!(scene.poll(&["2@4 two"]).absent);
        scene.write("");
        scene.append(&scene.rotated(), "three\nfo");
        assert!(!scene.poll(&["3@8 three"]).rotated, "an empty new file is not enough");
        scene.write("a\nb\n");
        scene.append(&scene.rotated(), "ur");
        assert!(scene.poll(&["4@14 four...", "1@0 a", "2@2 b"]).rotated);
        scene.write("c\n");
        assert!(!scene.poll(&["3@4 c"]).rotated);
    }

    #[test]
    fn a_truncated_file_is_begun_anew() {
        let mut scene = Scene::new();
        scene.write("one\ntwo\nthr");
        scene.poll(&["1@0 one", "2@4 two"]);
        fs::copy(&scene.path, scene.rotated()).expect("copied");
        File::options().write(true).open(&scene.path).expect("open").set_len(0).expect("cut");
        assert!(scene.poll(&["3@8 thr..."]).truncated);
        scene.write("four\n");
        assert!(!scene.poll(&["1@0 four"]).truncated);
    }

    /// copytruncate between two polls, and the new content is longer than the old one was.
    #[test]
    fn a_truncated_file_that_outgrew_the_old_one_is_begun_anew() {
        let mut scene = Scene::new();
        scene.write("01:00 one\n01:01 two\n");
        scene.poll(&["1@0 01:00 one", "2@10 01:01 two"]);
        File::options().write(true).open(&scene.path).expect("open").set_len(0).expect("cut");
        scene.write("02:00 three\n02:01 four\n02:02 five\n");
        let expect = ["1@0 02:00 three", "2@12 02:01 four", "3@23 02:02 five"];
        assert!(scene.poll(&expect).truncated);
        scene.write("02:03 six\n");
        assert!(!scene.poll(&["4@34 02:03 six"]).truncated);
    }

    #[test]
    fn following_can_begin_after_what_was_read() {
        let mut scene = Scene::new();
        scene.write("one\ntwo\n");
        scene.follow = Follow::new(scene.path.clone(), "mongod.log".into(), 2, 4);
        scene.poll(&["2@4 two"]);
        // A file that is shorter than what was read is another one.
        scene.follow = Follow::new(scene.path.clone(), "mongod.log".into(), 9, 400);
        assert!(scene.poll(&["1@0 one", "2@4 two"]).truncated);
    }

    /// Goal: a size that is older than the reading is no truncation. Method: read while another
    /// thread writes; every line must come once, in order.
    #[test]
    fn what_is_appended_while_it_is_read_comes_once() {
        let mut scene = Scene::new();
        scene.write("");
        let path = scene.path.clone();
        let writer = std::thread::spawn(move || {
            let mut file = File::options().append(true).open(path).expect("open");
            for n in 0..20_000 {
                writeln!(file, "{n}").expect("written");
            }
        });
        let mut expected = 0;
        while expected < 20_000 {
            let progress = scene.follow.poll(&mut |line| {
                assert_eq!(line.content, Content::Bytes(expected.to_string().as_bytes()));
                expected += 1;
            });
            assert!(!progress.expect("readable").truncated);
        }
        writer.join().expect("written");
    }

    #[test]
    fn a_poll_ends_although_the_file_does_not() {
        let mut scene = Scene::new();
        let line = "x".repeat(999) + "\n";
        scene.write(&line.repeat(20_000));
        let (mut lines, mut polls) = (0, 0);
        loop {
            polls += 1;
            let progress = scene.follow.poll(&mut |_| ()).expect("readable");
            lines += progress.lines;
            if !progress.more {
                break;
            }
        }
        assert_eq!((lines, polls), (20_000, 2));
    }
}

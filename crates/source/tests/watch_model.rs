//! Goal: whatever is done to a log, and however often its reader dies, each line is recorded once, in
//! order; where lines are lost to everyone, the interval is told, and no interval is told else.
//!
//! Method: random sequences of what servers, logrotate and people do to logs, with a writer that never
//! waits for the reader. The reader commits what it read with its position, or dies with what it did
//! not commit. The oracle is the list of what was written.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use doorbook_event::record::Coverage;
use doorbook_event::{Access, Principal, Target, Timestamp};
use doorbook_source::Batch;
use doorbook_source::follow::Start;
use doorbook_source::input::ErrorKind;
use doorbook_source::watch::{Settings, Watch};
use proptest::prelude::*;

/// How the log is rotated. A server has one way of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    /// `mongod.log.1`, by renaming; the server opens the name anew.
    Rename,
    /// `mongod.log.2020-…`, by the server itself.
    LogRotate,
    /// `mongod.log.1`, by copying and cutting short.
    CopyTruncate,
    /// The same to a server that does not append: it goes on at its old offset, behind a hole.
    CopyTruncateHole,
    /// `mongod.log` is a link to `mongod-7.log`.
    Link,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many whole lines.
    Write(usize),
    /// A part of a line; the next write begins with its rest.
    WritePart,
    /// Rotates; `usize` lines are written while that goes on.
    Rotate(usize),
    /// An empty file is put where the live one was.
    CreateEmpty,
    /// The server opens the name again.
    Reopen,
    Compress,
    DeleteOldest,
    Poll,
    Commit,
    Crash,
}

fn steps(may_delete: bool) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..6_usize).prop_map(Step::Write),
        2 => Just(Step::WritePart),
        4 => (0..3_usize).prop_map(Step::Rotate),
        1 => Just(Step::CreateEmpty),
        3 => Just(Step::Reopen),
        2 => Just(Step::Compress),
        u32::from(may_delete) => Just(Step::DeleteOldest),
        6 => Just(Step::Poll),
        3 => Just(Step::Commit),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

fn scheme() -> impl Strategy<Value = Scheme> {
    prop::sample::select(vec![
        Scheme::Rename,
        Scheme::LogRotate,
        Scheme::CopyTruncate,
        Scheme::CopyTruncateHole,
        Scheme::Link,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_line_is_recorded_once_or_told_as_lost(
        scheme in scheme(),
        (may_delete, steps) in any::<bool>().prop_flat_map(|may| (Just(may), steps(may))),
    ) {
        let mut world = World::new(scheme);
        for step in steps {
            world.step(step);
        }
        world.end();
        world.check(may_delete)?;
    }
}

/// Goal: nothing is missed or read twice between two system calls of a poll. Method: a thread writes
/// and renames without a pause, while another one polls.
#[test]
fn a_writer_does_not_wait_for_a_poll() {
    const LINES: usize = 20_000;
    let mut world = World::new(Scheme::LogRotate);
    let mut reader = watch(&world.path, &[]);
    let writer = std::thread::spawn(move || {
        for n in 0..LINES / 100 {
            world.write(100);
            if n % 3 == 2 {
                world.rotate(0);
            }
        }
        world
    });
    let mut lines = Vec::new();
    for now in 1.. {
        let mut batch = Batch::default();
        let polled = reader.poll(Timestamp::from_seconds(2 * now), &mut batch);
        assert!(
            polled.expect("this host's log").trouble.is_none_or(|e| e.kind() == ErrorKind::Absent)
        );
        assert_eq!(batch.coverage, []);
        lines.extend(batch.accesses.iter().map(number_of));
        if lines.len() >= LINES {
            break;
        }
    }
    writer.join().expect("written");
    assert!(lines.into_iter().eq(0..LINES));
}

/// A log, who writes it and who reads it.
struct World {
    _directory: tempfile::TempDir,
    directory: PathBuf,
    path: PathBuf,
    scheme: Scheme,
    /// What the server has open.
    open: File,
    /// The rest of a line that was begun.
    rest: Option<String>,
    /// Lines that were written or begun; they are numbered from 0.
    n_lines: usize,
    n_files: usize,
    n_truncations: usize,
    reader: Watch,
    now: i64,
    uncommitted: (Vec<usize>, Vec<Coverage>, usize),
    committed: (Vec<usize>, Vec<Coverage>, usize),
    position: Vec<u8>,
    /// Whether the reader has been in the live file; and whether one had that committed. That older
    /// files are copies is seen by the age of the live one, which cannot be arranged here.
    has_begun: (bool, bool),
    /// Lines that were gone before.
    gone: BTreeSet<usize>,
}

impl World {
    fn new(scheme: Scheme) -> World {
        let shared = Path::new("/dev/shm");
        let temporary = match shared.is_dir() {
            true => tempfile::tempdir_in(shared),
            false => tempfile::tempdir(),
        };
        let temporary = temporary.expect("a temporary directory");
        let directory = temporary.path().to_owned();
        let path = directory.join("mongod.log");
        if scheme == Scheme::Link {
            link(&directory, &path, 0);
        }
        let open = match scheme {
            Scheme::CopyTruncateHole => File::create(&path).expect("a directory to write to"),
            _ => append_to(&path),
        };
        let reader = watch(&path, &[]);
        World {
            _directory: temporary,
            directory,
            path,
            scheme,
            open,
            rest: None,
            n_lines: 0,
            n_files: 0,
            n_truncations: 0,
            reader,
            now: 1_000_000,
            uncommitted: Default::default(),
            committed: Default::default(),
            position: Vec::new(),
            has_begun: (false, false),
            gone: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(n) => self.write(n),
            Step::WritePart => self.write_part(),
            Step::Rotate(n) => self.rotate(n),
            Step::CreateEmpty if self.scheme == Scheme::Rename => drop(append_to(&self.path)),
            Step::Reopen if self.scheme == Scheme::Rename => self.reopen(),
            Step::CreateEmpty | Step::Reopen => {}
            Step::Compress => self.compress(),
            Step::DeleteOldest => self.delete_oldest(),
            Step::Poll => self.poll(),
            Step::Commit => self.commit(),
            Step::Crash => self.crash(),
        }
    }

    fn write(&mut self, n: usize) {
        if let Some(rest) = self.rest.take() {
            self.open.write_all(rest.as_bytes()).expect("written");
        }
        for _ in 0..n {
            self.open.write_all(line(self.n_lines).as_bytes()).expect("written");
            self.n_lines += 1;
        }
        self.date(&self.open);
    }

    /// Files were last written when their lines say.
    fn date(&self, file: &File) {
        let seconds = u64::try_from(time(self.n_lines).millis() / 1000).expect("after 1970");
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        file.set_modified(at).expect("dated");
    }

    fn write_part(&mut self) {
        if self.rest.is_none() {
            let mut part = line(self.n_lines);
            self.rest = Some(part.split_off(20 + self.n_lines * 7 % 200));
            self.n_lines += 1;
            self.open.write_all(part.as_bytes()).expect("written");
            self.date(&self.open);
        }
    }

    fn rotate(&mut self, n: usize) {
        match self.scheme {
            Scheme::Rename => {
                if self.path.exists() {
                    self.shift();
                    fs::rename(&self.path, self.numbered(1, "")).expect("renamed");
                }
                self.write(n);
            }
            Scheme::LogRotate => {
                self.write(n);
                self.n_files += 1;
                let day = Timestamp::from_seconds(1_577_836_800 + 86_400 * self.n_files as i64);
                let suffix = day.to_string().replace(':', "-").replace('Z', "");
                let name = format!("mongod.log.{suffix}");
                fs::rename(&self.path, self.directory.join(name)).expect("renamed");
                self.reopen();
            }
            Scheme::CopyTruncate | Scheme::CopyTruncateHole => {
                self.shift();
                fs::copy(&self.path, self.numbered(1, "")).expect("copied");
                self.date(&append_to(&self.numbered(1, "")));
                match n {
                    0 => {}
                    n => self.write(n),
                }
                self.open.set_len(0).expect("cut");
                self.n_truncations += 1;
            }
            Scheme::Link => {
                self.write(n);
                self.n_files += 1;
                link(&self.directory, &self.path, self.n_files);
                self.reopen();
            }
        }
    }

    fn reopen(&mut self) {
        self.write(0);
        self.open = append_to(&self.path);
    }

    fn numbered(&self, number: usize, ending: &str) -> PathBuf {
        self.directory.join(format!("mongod.log.{number}{ending}"))
    }

    fn shift(&self) {
        for number in (1..100).rev() {
            for ending in ["", ".gz"] {
                let from = self.numbered(number, ending);
                if from.exists() {
                    fs::rename(from, self.numbered(number + 1, ending)).expect("renamed");
                }
            }
        }
    }

    /// All rotated files, oldest first.
    fn rotated(&self) -> Vec<PathBuf> {
        let number = |path: &PathBuf| {
            let name = path.file_name().expect("a name").to_string_lossy().replace(".gz", "");
            let digits: String = name.chars().filter(char::is_ascii_digit).collect();
            let number: i64 = digits.parse().unwrap_or_default();
            match self.scheme {
                Scheme::Rename | Scheme::CopyTruncate | Scheme::CopyTruncateHole => -number,
                Scheme::LogRotate | Scheme::Link => number,
            }
        };
        let live = fs::canonicalize(&self.path).ok();
        let entries = fs::read_dir(&self.directory).expect("readable").flatten();
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| *path != self.path && Some(path) != live.as_ref())
            .collect();
        paths.sort_by_key(number);
        paths
    }

    /// Packs the oldest file that is not packed, unless the server still writes to it.
    fn compress(&mut self) {
        let is_plain = |path: &&PathBuf| path.extension().is_none_or(|ending| ending != "gz");
        let paths = self.rotated();
        let Some(path) = paths.iter().find(is_plain) else { return };
        if self.is_open(path) {
            return;
        }
        let bytes = fs::read(path).expect("readable");
        let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&bytes).expect("to memory");
        let mut name = path.clone().into_os_string();
        name.push(".gz");
        fs::write(&name, packed.finish().expect("to memory")).expect("written");
        append_to(Path::new(&name)).set_modified(modified.expect("known")).expect("dated");
        fs::remove_file(path).expect("removed");
    }

    fn is_open(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let open = self.open.metadata().expect("open").ino();
        fs::metadata(path).is_ok_and(|metadata| metadata.ino() == open)
    }

    fn delete_oldest(&mut self) {
        let paths = self.rotated();
        if let Some(path) = paths.first()
            && !self.is_open(path)
        {
            fs::remove_file(path).expect("removed");
        }
    }

    fn poll(&mut self) {
        if !self.has_begun.0 {
            let present = self.present();
            self.gone = (0..self.n_lines).filter(|n| !present.contains(n)).collect();
        }
        for _ in 0..200 {
            self.now += 2_000_000;
            let mut batch = Batch::default();
            let polled = self.reader.poll(Timestamp::from_micros(self.now), &mut batch);
            let polled = polled.expect("this host's log");
            self.uncommitted.0.extend(batch.accesses.iter().map(number_of));
            self.uncommitted.1.append(&mut batch.coverage);
            self.uncommitted.2 += batch.quarantine.len();
            if !polled.more {
                self.has_begun.0 |=
                    self.reader.file().is_some_and(|file| *file == *self.path.to_string_lossy());
                return;
            }
        }
        panic!("polling comes to no end");
    }

    fn commit(&mut self) {
        let (lines, gaps, n_quarantined) = std::mem::take(&mut self.uncommitted);
        self.committed.0.extend(lines);
        self.committed.1.extend(gaps);
        self.committed.2 += n_quarantined;
        self.position = self.reader.position();
        self.has_begun.1 = self.has_begun.0;
    }

    fn crash(&mut self) {
        self.uncommitted = Default::default();
        self.reader = watch(&self.path, &self.position);
        self.has_begun.0 = self.has_begun.1;
    }

    /// Lines that can be read somewhere.
    fn present(&self) -> BTreeSet<usize> {
        let mut paths = self.rotated();
        paths.push(self.path.clone());
        let mut present = BTreeSet::new();
        for path in paths {
            let Ok(bytes) = fs::read(&path) else { continue };
            let mut text = String::new();
            match path.extension().is_some_and(|ending| ending == "gz") {
                true => flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text),
                false => (&bytes[..]).read_to_string(&mut text),
            }
            .expect("text");
            let number = |text: &str| {
                let (_, rest) = text.split_once("\"principalName\":\"u")?;
                rest.split('"').next()?.parse::<usize>().ok()
            };
            let whole = |n: &usize| text.contains(&line(*n));
            present.extend(text.split_inclusive('\n').filter_map(number).filter(whole));
        }
        present
    }

    /// The server writes once more under the right name, and the reader comes to the end.
    fn end(&mut self) {
        if self.scheme == Scheme::Rename {
            self.reopen();
        }
        self.write(2);
        self.poll();
        self.poll();
        self.commit();
    }

    fn check(&self, may_delete: bool) -> Result<(), TestCaseError> {
        let (lines, gaps, n_quarantined) = &self.committed;
        prop_assert!(lines.is_sorted_by(|a, b| a < b), "twice or out of order: {lines:?}");
        let seen: BTreeSet<usize> = lines.iter().copied().collect();
        let told = |n: &usize| {
            let at = time(*n);
            gaps.iter().any(|gap| gap.from <= at && gap.to.is_none_or(|to| at <= to))
        };
        for n in (0..self.n_lines).filter(|n| !seen.contains(n) && !self.gone.contains(n)) {
            prop_assert!(told(&n), "line {n} is lost, and only {gaps:?} is told");
        }
        let cuts = matches!(self.scheme, Scheme::CopyTruncate | Scheme::CopyTruncateHole);
        if !cuts && !may_delete {
            prop_assert_eq!(seen.len(), self.n_lines);
            prop_assert!(gaps.is_empty(), "nothing was lost, and {gaps:?} is told");
        }
        if !cuts {
            prop_assert_eq!(*n_quarantined, 0);
        }
        if cuts && !may_delete {
            prop_assert!(gaps.len() <= self.n_truncations, "{gaps:?}");
        }
        Ok(())
    }
}

fn append_to(path: &Path) -> File {
    File::options().append(true).create(true).open(path).expect("opened")
}

fn link(directory: &Path, path: &Path, number: usize) {
    let target = directory.join(format!("mongod-{number}.log"));
    append_to(&target);
    let new = directory.join("new");
    std::os::unix::fs::symlink(&target, &new).expect("linked");
    fs::rename(new, path).expect("renamed");
}

fn watch(path: &Path, position: &[u8]) -> Watch {
    let settings = Settings {
        source: "model".into(),
        path: (&*path.to_string_lossy()).into(),
        target: Target::Host { cluster: "c".into(), host: "db-1:27017".into() },
        names: Vec::new(),
        zone: jiff::tz::TimeZone::UTC,
        start: Start::Oldest,
        batch_size_bytes: doorbook_source::Batch::SIZE_BYTES_MAX,
    };
    Watch::open(settings, Some(position)).expect("a watch")
}

fn time(n: usize) -> Timestamp {
    Timestamp::from_seconds(1_577_836_800 + n as i64)
}

fn line(n: usize) -> String {
    let time = time(n).to_string().replace('Z', ".000+00:00");
    format!(
        r#"{{"t":{{"$date":"{time}"}},"s":"I",  "c":"ACCESS",   "id":20250,   "ctx":"conn1","msg":"Authentication succeeded","attr":{{"mechanism":"SCRAM-SHA-256","speculative":true,"principalName":"u{n}","authenticationDatabase":"admin","remote":"10.0.0.1:50000","extraInfo":{{}}}}}}"#
    ) + "\n"
}

fn number_of(access: &Access) -> usize {
    let Principal::User { name, .. } = &access.principal else { panic!("a user") };
    name[1..].parse().expect("a number")
}

//! `verify`: everything read again, and each damage named by file and range.
//!
//! Nothing is changed, not even the torn tail that a start would cut off. What is found first does
//! not end the reading: behind a damaged frame the next valid one is looked for, and a page that
//! cannot be decoded costs its own rows only. `docs/design/operations.md` says what is compared
//! with what, and what cannot be found.
//!
//! Memory is bounded by the largest frame, by `segment::ROWS_PER_STEP` rows, and by at most one
//! bit for each row of a log.

mod frames;
mod segment;
mod seqs;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use doorbook_event::{LogId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Inner;
use crate::directory::{
    FORMAT, LOCK, catalog_dir, numbered_files, read_file, secret_dir, segment_dir, take_lock,
    wal_dir,
};
use crate::disk::{Disk, DiskFile, read_up_to};
use crate::error::{Error, ErrorKind};
use crate::frame::{self, Op};
use crate::segment::{Segment, SegmentMeta};
use crate::snapshot;
use crate::state::State;
use crate::table::{self, Fault};
use crate::wal::Lsn;

pub(crate) use frames::{Frames, Piece};

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// Every byte, against its checksum.
    Checksums,
    /// Every row as well, against the catalogue and against the other rows.
    Rows,
}

/// What was read and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub size_bytes: u64,
    /// Whole frames of the WAL.
    pub frames: u64,
    /// Rows, in segments and in the WAL.
    pub rows: u64,
    /// What is not as it was written, at most [`Report::FINDINGS_MAX`].
    pub damages: Vec<Finding>,
    /// How many more there are.
    pub more_damages: u64,
    /// What is odd and costs nothing: an end that a crash tore, a file that no frame names, a table
    /// for other programs that is not up to date.
    pub notes: Vec<Finding>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The file, from the data directory on.
    pub file: String,
    /// Which of its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Range<u64>>,
    /// Which of its rows, counted from 0 in the order of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Range<u64>>,
    /// What is wrong, for people.
    pub what: String,
    /// Whose rows these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affected: Option<Affected>,
}

/// Part of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Affected {
    /// Whose history.
    pub scope: String,
    /// Its log.
    pub log: u32,
    /// Positions in that log, among which are those affected.
    pub seqs: Range<u64>,
    /// The earliest event time, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The latest event time, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Targets as `group/member`, where they are known; the first [`Affected::TARGETS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// How many more targets there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_targets: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands on a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Report {
    /// As many as anyone reads.
    pub const FINDINGS_MAX: usize = 1000;

    /// Whether everything is as it was written.
    pub fn is_sound(&self) -> bool {
        self.damages.is_empty()
    }

    fn damage(&mut self, finding: Finding) {
        match self.damages.len() < Report::FINDINGS_MAX {
            true => self.damages.push(finding),
            false => self.more_damages += 1,
        }
    }

    fn note(&mut self, finding: Finding) {
        if self.notes.len() < Report::FINDINGS_MAX {
            self.notes.push(finding);
        }
    }
}

impl Affected {
    /// As many as anyone reads.
    pub const TARGETS_MAX: usize = 20;
}

impl Finding {
    fn new(file: impl Into<String>, what: impl Into<String>) -> Finding {
        let (file, what) = (file.into(), what.into());
        Finding { file, bytes: None, rows: None, what, affected: None }
    }
}

/// Reads a data directory that no other process has open, also one that does not open any more.
/// Damage is in the report; an error says why nothing could be read.
pub fn verify(disk: &dyn Disk, data_dir: &Path, depth: Depth) -> Result<Report, Error> {
    let names = match disk.list(data_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io(data_dir, "list", error));
        }
        names => names.unwrap_or_default(),
    };
    if !names.iter().any(|name| name == "FORMAT" || name == "wal") {
        return Err(Error {
            path: Some(data_dir.to_owned()),
            ..Error::new(ErrorKind::Missing, "there is no data directory here")
        });
    }
    // A backup has no lock file; it is given none, so that one on a read-only medium can be read.
    let is_lockable = names.iter().any(|name| name == LOCK);
    let _lock = is_lockable.then(|| take_lock(disk, data_dir)).transpose()?;
    let mut verifier = Verifier::new(disk, data_dir, depth);
    let wal = verifier.open_files(&wal_dir(data_dir), ".wal");
    let snapshots = verifier.open_files(&catalog_dir(data_dir), ".cbor");
    verifier.check_format();
    let (oldest, mut state) = verifier.check_snapshots(&snapshots);
    let replay = verifier.check_wal(&wal, oldest, &mut state, None);
    verifier.check_logs(&state, &replay);
    verifier.check_names(&state, replay.is_lossy);
    verifier.check_tables((!replay.is_lossy).then_some(&state));
    verifier.check_secrets();
    Ok(verifier.report)
}

impl Inner {
    /// Reads the data directory while others write: what is committed meanwhile is not part of it.
    pub(crate) fn verify(&self, depth: Depth) -> Result<Report, Error> {
        let disk = &*self.options.disk;
        let mut verifier = Verifier::new(disk, &self.options.data_dir, depth);
        let Frozen { state, wal, snapshots } = self.freeze()?;
        verifier.count(wal.iter().chain(&snapshots));
        verifier.check_format();
        let (oldest, _) = verifier.check_snapshots(&snapshots);
        let mut state = State::clone(&state);
        let bound = state.lsn;
        let replay = verifier.check_wal(&wal, oldest, &mut state, Some(bound));
        verifier.check_logs(&state, &replay);
        // The tables follow the present state, which goes on.
        let tables = self.tables()?;
        verifier.check_tables(None);
        drop(tables);
        verifier.check_secrets();
        Ok(verifier.report)
    }

    /// The state at one instant, with the files behind it: they are open, so that they can be read
    /// to their end even where they are removed meanwhile.
    pub(crate) fn freeze(&self) -> Result<Frozen, Error> {
        let writer = self.writer()?;
        if writer.wal.is_poisoned() {
            let what = "an earlier write failed and left open what is on the disk: restart";
            return Err(Error::new(ErrorKind::Poisoned, what));
        }
        let open = |dir: PathBuf, extension: &str| {
            let files = numbered_files(&*self.options.disk, &dir, extension)?;
            let files = files.into_iter().map(|(number, path)| {
                Opened::open(&*self.options.disk, number, &path)
                    .map_err(|error| Error::io(&path, "open", error))
            });
            files.collect::<Result<Vec<Opened>, Error>>()
        };
        Ok(Frozen {
            state: self.state(),
            wal: open(wal_dir(&self.options.data_dir), ".wal")?,
            snapshots: open(catalog_dir(&self.options.data_dir), ".cbor")?,
        })
    }
}

/// A data directory at one instant.
pub(crate) struct Frozen {
    pub(crate) state: Arc<State>,
    pub(crate) wal: Vec<Opened>,
    pub(crate) snapshots: Vec<Opened>,
}

/// A numbered file.
pub(crate) struct Opened {
    pub(crate) number: Lsn,
    pub(crate) path: PathBuf,
    pub(crate) file: Box<dyn DiskFile>,
    /// How long it was when it was opened.
    pub(crate) size_bytes: u64,
}

impl Opened {
    fn open(disk: &dyn Disk, number: Lsn, path: &Path) -> std::io::Result<Opened> {
        let file = disk.open_to_read(path)?;
        let size_bytes = file.size_bytes()?;
        Ok(Opened { number, path: path.to_owned(), file, size_bytes })
    }

    /// Its name in its folder.
    pub(crate) fn file_name(&self) -> &std::ffi::OsStr {
        self.path.file_name().unwrap_or_default()
    }
}

struct Verifier<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    depth: Depth,
    report: Report,
}

impl<'a> Verifier<'a> {
    fn new(disk: &'a dyn Disk, dir: &'a Path, depth: Depth) -> Verifier<'a> {
        Verifier { disk, dir, depth, report: Report::default() }
    }

    /// A path as findings name it.
    fn name(&self, path: &Path) -> String {
        path.strip_prefix(self.dir).unwrap_or(path).display().to_string()
    }

    fn damage(&mut self, path: &Path, what: impl Into<String>) {
        let finding = Finding::new(self.name(path), what);
        self.report.damage(finding);
    }

    fn note(&mut self, path: &Path, what: impl Into<String>) {
        let finding = Finding::new(self.name(path), what);
        self.report.note(finding);
    }

    /// The files of a folder that are named by a number, in order. One that cannot be opened is
    /// damage.
    fn open_files(&mut self, dir: &Path, extension: &str) -> Vec<Opened> {
        let files = match numbered_files(self.disk, dir, extension) {
            Ok(files) => files,
            Err(error) => {
                self.damage(dir, explain(&error));
                return Vec::new();
            }
        };
        let mut opened = Vec::new();
        for (number, path) in files {
            match Opened::open(self.disk, number, &path) {
                Ok(file) => opened.push(file),
                Err(error) => self.damage(&path, format!("cannot be opened: {error}")),
            }
        }
        self.count(&opened);
        opened
    }

    fn count<'o>(&mut self, files: impl IntoIterator<Item = &'o Opened>) {
        for file in files {
            self.report.files += 1;
            self.report.size_bytes += file.size_bytes;
        }
    }

    /// A small file whole; counted. `None`, and a finding, where it cannot be read.
    fn read_small(&mut self, path: &Path) -> Option<Vec<u8>> {
        match read_file(self.disk, path) {
            Ok(Some(bytes)) => {
                self.report.files += 1;
                self.report.size_bytes += bytes.len() as u64;
                Some(bytes)
            }
            Ok(None) => {
                self.damage(path, "the file is gone");
                None
            }
            Err(error) => {
                self.damage(path, explain(&error));
                None
            }
        }
    }

    fn check_format(&mut self) {
        let path = self.dir.join("FORMAT");
        if let Some(bytes) = self.read_small(&path)
            && bytes != FORMAT.as_bytes()
        {
            self.damage(&path, format!("does not say {FORMAT:?}, so that the store does not open"));
        }
    }

    fn check_secrets(&mut self) {
        let dir = secret_dir(self.dir);
        let Some(names) = self.list(&dir) else { return };
        for name in names {
            let path = dir.join(&name);
            // One that is being written, or that a crash left, is none yet.
            if !name.ends_with(".new")
                && let Some(bytes) = self.read_small(&path)
                && bytes.len() != 32
            {
                self.damage(&path, format!("{} bytes long; a secret has 32", bytes.len()));
            }
        }
    }

    fn list(&mut self, dir: &Path) -> Option<Vec<String>> {
        match self.disk.list(dir) {
            Ok(mut names) => {
                names.sort();
                Some(names)
            }
            Err(error) => {
                self.damage(dir, format!("cannot be listed: {error}"));
                None
            }
        }
    }

    /// Every snapshot; gives the number of the oldest that is needed and the state of the newest.
    fn check_snapshots(&mut self, snapshots: &[Opened]) -> (Lsn, State) {
        let mut whole: Vec<Lsn> = Vec::new();
        let mut newest = State::default();
        for opened in snapshots {
            let size = usize::try_from(opened.size_bytes).unwrap_or(usize::MAX);
            let bytes = read_up_to(&*opened.file, 0, size);
            let bytes = bytes.map_err(|error| Error::io(&opened.path, "read", error));
            let loaded =
                bytes.and_then(|bytes| snapshot::parse_state(&opened.path, &bytes, opened.number));
            match loaded {
                Ok(state) => {
                    whole.push(opened.number);
                    newest = state;
                }
                Err(error) => {
                    let bytes = Some(0..opened.size_bytes);
                    let what = explain(&error);
                    self.report
                        .damage(Finding { bytes, ..Finding::new(self.name(&opened.path), what) });
                }
            }
        }
        // The last two are kept. One before them was removed, and a power cut brought it back, but
        // perhaps not the WAL behind it.
        (whole.iter().rev().nth(1).or(whole.last()).copied().unwrap_or(0), newest)
    }

    /// Every frame: its checksum, its number, its meaning; those that the state does not know are
    /// applied to it. With a bound, frames after it are none of ours.
    fn check_wal(
        &mut self,
        files: &[Opened],
        oldest_snapshot: Lsn,
        state: &mut State,
        bound: Option<Lsn>,
    ) -> Replay {
        let mut replay = Replay { applies: bound.is_none(), ..Replay::default() };
        let mut next: Option<Lsn> = None;
        for (n, opened) in files.iter().enumerate() {
            let expected = next.unwrap_or(oldest_snapshot + 1);
            // Of files whose frames both snapshots know, a power cut may have brought back some.
            let is_superfluous = opened.number <= oldest_snapshot + 1 && opened.number > expected;
            let fits = match next {
                None => opened.number <= expected,
                Some(expected) => opened.number == expected || is_superfluous,
            };
            if !fits {
                let what = match opened.number > expected {
                    true => {
                        format!("frames {expected} to {} before it are gone", opened.number - 1)
                    }
                    false => format!("begins with frame {}, not {expected}", opened.number),
                };
                self.report.damage(Finding::new(self.name(&opened.path), what));
                replay.is_lossy = true;
            }
            let is_last = n + 1 == files.len();
            next = Some(self.check_wal_file(opened, is_last, state, bound, &mut replay));
        }
        let reached = next.map_or(0, |next| next - 1);
        let wanted = bound.unwrap_or(state.lsn);
        if reached < wanted {
            let dir = wal_dir(self.dir);
            self.damage(&dir, format!("frames {} to {wanted} are gone", reached + 1));
        }
        replay
    }

    /// Gives the number after the last frame.
    fn check_wal_file(
        &mut self,
        opened: &Opened,
        is_last: bool,
        state: &mut State,
        bound: Option<Lsn>,
        replay: &mut Replay,
    ) -> Lsn {
        let mut frames = Frames::new(&*opened.file, opened.size_bytes, opened.number);
        while bound.is_none_or(|bound| frames.next_lsn() <= bound) {
            let piece = match frames.next() {
                Ok(None) => break,
                Ok(Some(piece)) => piece,
                Err(error) => {
                    let what = format!("cannot be read: {error}");
                    self.report.damage(Finding::new(self.name(&opened.path), what));
                    replay.is_lossy = true;
                    break;
                }
            };
            match piece {
                Piece::Frame { at, lsn, payload } => {
                    self.report.frames += 1;
                    match frame::decode(&payload) {
                        Ok(ops) if replay.applies && lsn > state.lsn => {
                            self.replay(opened, at, lsn, ops, state, replay);
                        }
                        Ok(_) => {}
                        Err(error) => {
                            let what = format!("frame {lsn} cannot be understood: {error}");
                            let finding = Finding::new(self.name(&opened.path), what);
                            self.report.damage(Finding { bytes: Some(at), ..finding });
                            replay.is_lossy = true;
                        }
                    }
                }
                Piece::Damage { at, what, lost } => {
                    let frames = match lost.end - lost.start {
                        0 => "no frame is lost".to_owned(),
                        1 => format!("frame {} is lost", lost.start),
                        _ => format!("frames {} to {} are lost", lost.start, lost.end - 1),
                    };
                    let what = format!("{what}; {frames}");
                    let finding = Finding::new(self.name(&opened.path), what);
                    self.report.damage(Finding { bytes: Some(at), ..finding });
                    replay.is_lossy |= !lost.is_empty();
                }
                Piece::Tail { at, what } if is_last && bound.is_none() => {
                    let what = format!(
                        "{what}: the torn end of a commit that was never acknowledged, or the last \
                         commit damaged; the next start cuts it off"
                    );
                    let finding = Finding::new(self.name(&opened.path), what);
                    self.report.note(Finding { bytes: Some(at), ..finding });
                }
                Piece::Tail { at, what } => {
                    let what = format!("{what}; no whole frame follows in this file");
                    let finding = Finding::new(self.name(&opened.path), what);
                    self.report.damage(Finding { bytes: Some(at), ..finding });
                    replay.is_lossy = true;
                }
            }
        }
        frames.next_lsn()
    }

    /// Applies a frame. Behind lost ones it is made to fit, and what is missing is told of.
    fn replay(
        &mut self,
        opened: &Opened,
        at: Range<u64>,
        lsn: Lsn,
        ops: Vec<Op>,
        state: &mut State,
        replay: &mut Replay,
    ) {
        for op in ops {
            if replay.is_lossy
                && let Some(affected) = skip_lost(state, &op)
            {
                let seqs = &affected.seqs;
                *replay.lost_rows.entry(LogId(affected.log)).or_default() += seqs.end - seqs.start;
                let what =
                    format!("with the frames that are lost, {} rows are", seqs.end - seqs.start);
                let finding = Finding::new(self.name(&opened.path), what);
                let finding = Finding { bytes: Some(at.clone()), ..finding };
                self.report.damage(Finding { affected: Some(affected), ..finding });
            }
            let segments = segments_of(&op);
            if let Err(misfit) = state.apply(op) {
                if !replay.is_lossy {
                    let what = format!("frame {lsn} does not fit those before it: {}", misfit.0);
                    let finding = Finding::new(self.name(&opened.path), what);
                    self.report.damage(Finding { bytes: Some(at.clone()), ..finding });
                    replay.is_lossy = true;
                }
                add_segments(state, segments);
            }
        }
        state.lsn = lsn;
    }

    /// Each segment by itself, and each log's positions over all of them.
    fn check_logs(&mut self, state: &State, replay: &Replay) {
        for (id, log) in (0..).map(LogId).zip(&state.logs) {
            let mut rows = segment::LogRows::new(id, log);
            for row in log.memtable.rows() {
                rows.in_memory(row.seq);
                self.report.rows += 1;
            }
            for segment in &log.segments {
                self.check_segment(segment, &mut rows);
            }
            let lost_rows = replay.lost_rows.get(&id).copied().unwrap_or(0);
            if let Some(finding) = rows.finish(log, lost_rows, self.depth) {
                self.report.damage(finding);
            }
        }
    }

    /// The tables that other programs read, against the state. They are derived: no row is lost by
    /// what is wrong with them.
    fn check_tables(&mut self, state: Option<&State>) {
        for fault in table::verify(self.disk, self.dir, state) {
            match fault {
                Fault::Damaged(error) => {
                    let path = error.path.clone().unwrap_or_else(|| self.dir.to_owned());
                    let what = explain(&error);
                    self.note(&path, format!("the table's log, to be written anew: {what}"));
                }
                Fault::Unreadable(error) => {
                    let path = error.path.clone().unwrap_or_else(|| self.dir.to_owned());
                    let what = explain(&error);
                    self.damage(&path, format!("only the table for other programs: {what}"));
                }
                Fault::Behind { log, file_count } => {
                    let what = "the table for other programs lags behind by";
                    self.note(&log, format!("{what} {file_count} files; a server mends it"));
                }
            }
        }
    }

    /// Files that are not named by anything.
    fn check_names(&mut self, state: &State, is_lossy: bool) {
        let dir = segment_dir(self.dir);
        let segments = state.logs.iter().flat_map(|log| &log.segments);
        let named: BTreeSet<&str> = segments.map(|segment| &*segment.meta.name).collect();
        for name in self.list(&dir).unwrap_or_default() {
            if named.contains(&*name) || name.starts_with('_') {
                continue;
            }
            let what = match is_lossy {
                true => "no frame that can be read names it; keep a copy: a lost one may have",
                false => "no frame names it; the next start removes it",
            };
            self.note(&dir.join(name), what);
        }
        let is_number = |name: &str, extension: &str| {
            let digits = name.strip_suffix(extension);
            digits.is_some_and(|d| d.len() == 16 && d.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        for (dir, extension) in [(wal_dir(self.dir), ".wal"), (catalog_dir(self.dir), ".cbor")] {
            for name in self.list(&dir).unwrap_or_default() {
                if !is_number(&name, extension) {
                    self.note(&dir.join(name), "not read by anything");
                }
            }
        }
        const OURS: [&str; 10] = [
            LOCK,
            "FORMAT",
            "FORMAT.new",
            "admin.sock",
            "secret",
            "wal",
            "segments",
            "catalog",
            "lost+found",
            "hidden",
        ];
        for name in self.list(self.dir).unwrap_or_default() {
            if !OURS.contains(&&*name) {
                self.note(&self.dir.join(name), "not a file of Doorbook's");
            }
        }
    }
}

#[derive(Default)]
struct Replay {
    /// Frames are missing, so that the later ones need not fit.
    is_lossy: bool,
    /// Whether the state is to follow.
    applies: bool,
    /// Rows of each log that went with lost frames.
    lost_rows: BTreeMap<LogId, u64>,
}

/// Where an operation begins behind the end of its log, the positions between are lost: the log is
/// made to go on behind them.
fn skip_lost(state: &mut State, op: &Op) -> Option<Affected> {
    let (id, base_seq) = match op {
        Op::Records(records) => (records.log, records.base_seq),
        Op::Segment(meta) => (meta.log, meta.base_seq),
        _ => return None,
    };
    let log = state.logs.get_mut(id.0 as usize)?;
    if log.next_seq >= base_seq {
        return None;
    }
    let log = Arc::make_mut(log);
    let seqs = log.next_seq..base_seq;
    log.next_seq = base_seq;
    let scope = log.scope.to_string();
    let (from, to, targets) = (None, None, Vec::new());
    Some(Affected { scope, log: id.0, seqs, from, to, targets, more_targets: 0 })
}

/// The files that an operation brings.
fn segments_of(op: &Op) -> Vec<SegmentMeta> {
    match op {
        Op::Segment(meta) => vec![meta.clone()],
        Op::Flushed(metas) => metas.clone(),
        Op::FlushedUpTo(flushed) => flushed.segments.clone(),
        Op::Replaced { added, .. } => added.clone(),
        Op::Expired(expired) => expired.added.clone(),
        Op::Log { .. }
        | Op::Records(_)
        | Op::Counts { .. }
        | Op::RequestKey { .. }
        | Op::Advanced(_)
        | Op::Alarms(_)
        | Op::Reviewed { .. } => Vec::new(),
    }
}

/// Adds files whose operation did not fit, so that they are checked all the same.
fn add_segments(state: &mut State, metas: Vec<SegmentMeta>) {
    for meta in metas {
        let Some(log) = state.logs.get_mut(meta.log.0 as usize) else { continue };
        let log = Arc::make_mut(log);
        if !log.segments.iter().any(|known| known.meta.name == meta.name) {
            log.segments.push(Arc::new(Segment::new(meta)));
        }
    }
}

/// An error without its path, which a finding has already, and with its causes.
fn explain(error: &Error) -> String {
    let mut text = error.message.clone();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

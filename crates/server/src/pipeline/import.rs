//! [`run`]: an import from beginning to end.
//!
//! Two threads: one reads, splits, unwraps and interprets lines; the caller's commits batches. They
//! meet without a queue between them, so that at most two batches are in memory.
//!
//! What ends an import early (Ctrl-C, a broken archive, a full disk) never takes back what was
//! committed. The import is then *interrupted*, and the same command again goes on: what is there
//! counts as duplicates. At such an end nothing is concluded from the lines that did not come:
//! whether an announced login failed, or blindness ended, may stand in the very next line.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use doorbook_event::record::{Coverage, Grade, Hidden, ImportedFile};
use doorbook_event::source::SourceKind;
use doorbook_event::{Target, Text, Timestamp};
use doorbook_source::follow::Start;
use doorbook_source::input::{self, Content, ErrorKind, Input, Line, Origin};
use doorbook_source::mongod::{FileHints, Interpreter, LinePlace, Settings};
use doorbook_source::watch;
use doorbook_source::wrapping::{Unwrapped, Unwrapper};
use doorbook_source::{Batch, Watch};
use jiff::tz::TimeZone;

use crate::admin::Failure;
use crate::admin::request::ImportView;
use crate::pipeline::inputs::{self, Prepared, failure};
use crate::pipeline::session::Begin;
use crate::pipeline::sink::Sink;

/// What is to be imported, and as what.
pub struct Job {
    /// The project, by id or name.
    pub project: String,
    /// The cluster.
    pub cluster: String,
    /// The host; `None` for the one that the log names.
    pub host: Option<String>,
    /// Whether a host that is not known is to be added.
    pub add_host: bool,
    /// What to read, in this order.
    pub inputs: Vec<Input>,
    /// The zone of times that have none.
    pub zone: TimeZone,
    /// Whether to go on reading what is appended to the one input until `stop` is raised.
    pub follow: bool,
}

/// How far reading has come. Shown while it goes on.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes read, as stored.
    pub size_bytes: AtomicU64,
    /// Lines read.
    pub lines: AtomicU64,
    /// Whether what is read is only looked at yet, for what comes before the first change.
    pub checking: AtomicBool,
    /// What the person should know although nothing failed.
    warnings: Mutex<Vec<String>>,
}

impl Progress {
    /// The warnings so far, from the `n`-th on.
    pub fn warnings_from(&self, n: usize) -> Vec<String> {
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.get(n..).unwrap_or_default().to_vec()
    }

    fn warn(&self, warning: String) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }
}

/// How an import ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its receipt.
    pub import: ImportView,
    /// Why it ended early, if it did.
    pub early: Option<Early>,
}

/// Why an import ended early.
#[derive(Debug)]
pub enum Early {
    /// `stop` was raised.
    Stopped,
    /// Something failed; says what, and where in which input.
    Failed(Failure),
}

/// How often a followed file is looked at; what is found is committed at once.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);

/// Marks what a followed file lost.
const FOLLOWER: &str = "import";

/// How long the committing thread waits at a time for the reading one.
const WAIT: Duration = Duration::from_millis(100);

/// How often it waits in vain, once `stop` is raised, for a reader that may be blocked on a pipe:
/// for 2 seconds.
const WAITS_AFTER_STOP: u32 = 20;

/// Imports. An `Err` has changed nothing, or names the import whose receipt could not be had.
pub fn run(
    job: Job,
    sink: &mut dyn Sink,
    stop: &Arc<AtomicBool>,
    progress: &Arc<Progress>,
    tick: &mut dyn FnMut(&Progress),
) -> Result<Outcome, Failure> {
    let prepared = inputs::prepare(job.inputs, job.host.is_none(), stop, progress, tick)?;
    let begun = sink.begin(&Begin {
        project: job.project,
        cluster: job.cluster.clone(),
        host: job.host,
        found: prepared.iter().filter_map(|one| one.host.clone()).collect(),
        add_host: job.add_host,
    })?;
    let id = begun.id;
    // Either every input was asked for its host, or none.
    let hosts = match begun.host {
        Some(host) => vec![host; prepared.len()],
        None => begun.found,
    };
    let (sender, receiver) = sync_channel(0);
    let reader = Reader {
        cluster: job.cluster.into(),
        zone: job.zone,
        stop: stop.clone(),
        progress: progress.clone(),
        sender,
        batch: Batch::default(),
        is_recognised: false,
        seen: None,
        seen_before: None,
        unwrapper: Unwrapper::new(),
        interpreter: None,
    };
    let follow = job.follow;
    let thread = std::thread::Builder::new().name("import-read".to_owned());
    let spawned = thread.spawn(move || match follow {
        true => reader.follow(prepared, &hosts),
        false => reader.read(prepared, &hosts),
    });
    let early = match spawned {
        Ok(_) => commit(&receiver, sink, stop, follow, progress, tick),
        Err(error) => Some(Early::Failed(Failure::failed(format!("no thread to read: {error}")))),
    };
    drop(receiver);
    let ended = sink.end(early.is_none());
    match (ended, early) {
        (Ok(import), early) => Ok(Outcome { import, early }),
        // What failed first is the cause.
        (Err(_), Some(Early::Failed(failure))) | (Err(failure), _) => {
            Err(failure.while_doing(format!(
                "import {id} was interrupted; what was committed stays; run the same command again"
            )))
        }
    }
}

/// What the reading thread says.
enum Said {
    Part(Batch),
    File(ImportedFile),
    Failed(Failure),
    /// Everything was read.
    Done,
}

/// Commits what the reading thread brings until it is done; says why if it was not.
fn commit(
    receiver: &Receiver<Said>,
    sink: &mut dyn Sink,
    stop: &AtomicBool,
    follow: bool,
    progress: &Progress,
    tick: &mut dyn FnMut(&Progress),
) -> Option<Early> {
    let mut n_waits_after_stop = 0;
    loop {
        let done = match receiver.recv_timeout(WAIT) {
            Ok(Said::Part(batch)) => sink.batch(batch).map(|_| ()),
            Ok(Said::File(file)) => sink.file(file),
            Ok(Said::Failed(failure)) => return Some(Early::Failed(failure)),
            Ok(Said::Done) => return None,
            // The reader leaves without a word when it is stopped.
            Err(RecvTimeoutError::Disconnected) => return Some(Early::Stopped),
            Err(RecvTimeoutError::Timeout) => {
                if stop.load(Ordering::SeqCst) && !follow {
                    n_waits_after_stop += 1;
                    if n_waits_after_stop > WAITS_AFTER_STOP {
                        return Some(Early::Stopped);
                    }
                }
                Ok(())
            }
        };
        if let Err(failure) = done {
            return Some(Early::Failed(failure));
        }
        tick(progress);
    }
}

/// The reading thread.
struct Reader {
    cluster: Text,
    zone: TimeZone,
    stop: Arc<AtomicBool>,
    progress: Arc<Progress>,
    sender: SyncSender<Said>,
    batch: Batch,
    /// Whether any line of the present input is one of mongod's, or looks like a broken one.
    is_recognised: bool,
    /// The first and the last time of the present input's lines.
    seen: Option<(Timestamp, Timestamp)>,
    /// The last time of the input before, if this one continues it.
    seen_before: Option<Timestamp>,
    unwrapper: Unwrapper,
    /// With the host whose lines it reads.
    interpreter: Option<(Text, Interpreter)>,
}

/// The committing thread has gone, or `stop` is raised: nothing is left to do.
struct Over;

impl Reader {
    fn read(mut self, prepared: Vec<Prepared>, hosts: &[Text]) {
        let mut inputs = prepared.into_iter().zip(hosts).peekable();
        while let Some((one, host)) = inputs.next() {
            let next = inputs.peek();
            let goes_on = next.is_some_and(|(next, to)| next.input.continues && *to == host);
            match self.input(one, host, goes_on) {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => {
                    drop(self.sender.send(Said::Failed(failure)));
                    return;
                }
                Err(Over) => return,
            }
        }
        drop(self.sender.send(Said::Done));
    }

    /// Nothing more comes from this host's log; its last line stood at `place`.
    fn finish_interpreter(&mut self, place: LinePlace) {
        let Some((_, mut interpreter)) = self.interpreter.take() else { return };
        while let Some(rest) = self.unwrapper.finish() {
            interpreter.line(rest, place, &mut self.batch);
            // Its parts were counted as they came.
            self.batch.lines -= 1;
        }
        interpreter.finish(&mut self.batch);
    }

    /// Reads one input; `goes_on`: the next one continues it. The inner error is the input's.
    fn input(
        &mut self,
        mut one: Prepared,
        host: &Text,
        goes_on: bool,
    ) -> Result<Result<(), Failure>, Over> {
        let before = self.progress.size_bytes.load(Ordering::Relaxed);
        self.begin_input(&one.input, host);
        let mut lines = match one.lines() {
            Ok(lines) => lines,
            Err(error) => return Ok(Err(failure(&error))),
        };
        let mut n_lines = 0;
        let mut last_offset_bytes = 0;
        // A last line that no line feed ends. Where a broken archive cut it off it is half a line,
        // and half a user name is a login that never was; the error names its place.
        let mut tail: Option<Vec<u8>> = None;
        let end = loop {
            match lines.next_line() {
                Ok(Some(line)) => {
                    n_lines = line.number;
                    last_offset_bytes = line.offset_bytes;
                    match line.content {
                        Content::Bytes(bytes) if !line.complete => tail = Some(bytes.to_vec()),
                        _ => self.line(&line),
                    }
                    if self.batch.is_full() {
                        self.send_part()?;
                    }
                }
                Ok(None) => {
                    if let Some(bytes) = &tail {
                        let place = LinePlace { line: n_lines, offset_bytes: last_offset_bytes };
                        self.bytes(bytes, place);
                    }
                    break Ok(Ok(()));
                }
                Err(error) => {
                    self.batch.lines += u64::from(tail.is_some());
                    break Ok(Err(failure(&error)));
                }
            }
            // Often enough for eyes and for Ctrl-C, seldom enough to cost nothing.
            if n_lines % 1024 == 0 {
                self.progress.lines.fetch_add(1024, Ordering::Relaxed);
                let size_bytes = before + lines.stored_size_bytes();
                self.progress.size_bytes.store(size_bytes, Ordering::Relaxed);
            }
            if self.stop.load(Ordering::Relaxed) {
                break Err(Over);
            }
        };
        let stored = lines.stored();
        self.progress.lines.fetch_add(n_lines % 1024, Ordering::Relaxed);
        self.progress.size_bytes.store(before + stored.size_bytes, Ordering::Relaxed);
        let is_whole = matches!(end, Ok(Ok(())));
        self.tell_seen(is_whole, goes_on);
        if is_whole && !goes_on {
            self.finish_interpreter(LinePlace { line: n_lines, offset_bytes: last_offset_bytes });
        }
        // Before the file is said to be read: the store counts equal events per file.
        self.send_part()?;
        // Silence would say that nobody came.
        if !std::mem::take(&mut self.is_recognised) && n_lines > 0 && is_whole {
            let name = &one.input.name;
            self.progress.warn(format!("{name}: none of {n_lines} lines looks like a mongod log"));
        }
        let file = ImportedFile {
            name: one.input.name,
            size_bytes: stored.size_bytes,
            modified: one.input.modified,
            sha256: stored.sha256,
            host: host.clone(),
            lines: n_lines,
        };
        self.sender.send(Said::File(file)).map_err(|_| Over)?;
        end
    }

    /// A file that was read to its end was watched from its first to its last line. That no file is
    /// missing between two rotated ones is likely, and nothing shows it.
    fn tell_seen(&mut self, is_whole: bool, goes_on: bool) {
        self.note_seen();
        let before = self.seen_before.take();
        let Some((from, to)) = self.seen.take().filter(|_| is_whole) else { return };
        if let Some(before) = before {
            self.tell_interval(Grade::BestEffort, before, from, "between two files of the log");
        }
        self.tell_interval(Grade::Watched, from, to, "");
        self.seen_before = goes_on.then_some(to);
    }

    fn tell_interval(&mut self, grade: Grade, from: Timestamp, to: Timestamp, cause: &str) {
        let Some((host, _)) = self.interpreter.as_ref().filter(|_| from < to) else { return };
        let target = Target::Host { cluster: self.cluster.clone(), host: host.clone() };
        self.batch.coverage.push(Coverage {
            target,
            actions: SourceKind::MongodLog.actions().to_vec(),
            hidden: Hidden::All,
            cause: cause.into(),
            actor: None,
            from,
            to: Some(to),
            last_seen: to,
            source: None,
            grade,
            missing: None,
        });
    }

    fn note_seen(&mut self) {
        let Batch { earliest, latest, .. } = self.batch;
        if let (Some(earliest), Some(latest)) = (earliest, latest) {
            let (from, to) = self.seen.unwrap_or((earliest, latest));
            self.seen = Some((from, to.max(latest)));
        }
    }

    /// Reads what is appended to one file until `stop` is raised, which is the end that this way
    /// of importing has: the import is then complete.
    fn follow(mut self, prepared: Vec<Prepared>, hosts: &[Text]) {
        let mut inputs = prepared.into_iter().zip(hosts);
        let Some((one, host)) = inputs.next() else { return };
        let Origin::File(path) = &one.input.origin else { return };
        let settings = watch::Settings {
            source: FOLLOWER.into(),
            path: (&*path.to_string_lossy()).into(),
            target: Target::Host { cluster: self.cluster.clone(), host: host.clone() },
            // The host was said, or found in the file.
            names: Vec::new(),
            zone: self.zone.clone(),
            start: Start::Live,
            batch_size_bytes: Batch::SIZE_BYTES_MAX,
        };
        let followed = match Watch::open(settings, None) {
            Ok(watch) => self.follow_file(watch, &one.input, host),
            Err(error) => self.sender.send(Said::Failed(failure(&error))).map_err(|_| Over),
        };
        if followed.is_ok() {
            drop(self.sender.send(Said::Done));
        }
    }

    fn follow_file(&mut self, mut watch: Watch, input: &Input, host: &Text) -> Result<(), Over> {
        let mut n_lines = 0;
        let mut size_bytes = 0;
        while !self.stop.load(Ordering::Relaxed) {
            // Time only matters to patterns, and this is one file.
            let polled = match watch.poll(Timestamp::default(), &mut self.batch) {
                Ok(polled) => polled,
                Err(error) => return self.fail(&error),
            };
            self.warn_of_losses(&input.name);
            n_lines += polled.lines;
            size_bytes += polled.size_bytes;
            self.progress.lines.store(n_lines, Ordering::Relaxed);
            self.progress.size_bytes.store(size_bytes, Ordering::Relaxed);
            self.send_part()?;
            match polled.trouble {
                Some(error) if error.kind() != ErrorKind::Absent => return self.fail(&error),
                // It may come again.
                Some(_) | None if polled.more => {}
                Some(_) | None => std::thread::sleep(FOLLOW_INTERVAL),
            }
        }
        watch.finish(&mut self.batch);
        self.send_part()?;
        let file = ImportedFile {
            name: input.name.clone(),
            size_bytes,
            modified: input.modified,
            // The file goes on changing, so that the hash of a part would name nothing.
            sha256: None,
            host: host.clone(),
            lines: n_lines,
        };
        self.sender.send(Said::File(file)).map_err(|_| Over)
    }

    /// An import records what the log does not show, not what it missed itself; that is said.
    fn warn_of_losses(&mut self, name: &Text) {
        let progress = &self.progress;
        self.batch.coverage.retain(|gap| {
            if gap.source.is_some() {
                let to = gap.to.unwrap_or(gap.last_seen);
                progress.warn(format!(
                    "{name}: {}; lines between {} and {to} may be missing",
                    gap.cause, gap.from
                ));
            }
            gap.source.is_none()
        });
    }

    fn fail(&mut self, error: &input::Error) -> Result<(), Over> {
        self.send_part()?;
        self.sender.send(Said::Failed(failure(error))).map_err(|_| Over)?;
        Err(Over)
    }

    fn begin_input(&mut self, input: &Input, host: &Text) {
        let is_same_host = self.interpreter.as_ref().is_some_and(|(known, _)| known == host);
        if !is_same_host {
            let target = Target::Host { cluster: self.cluster.clone(), host: host.clone() };
            let zone = self.zone.clone();
            self.interpreter = Some((host.clone(), Interpreter::new(Settings { target, zone })));
        }
        let hints = FileHints {
            name: input.name.clone(),
            rotation_suffix: input.rotation_suffix,
            modified: input.modified,
        };
        let continues = input.continues && is_same_host;
        if let Some((_, interpreter)) = &mut self.interpreter {
            interpreter.begin_file(hints, continues, &mut self.batch);
        }
        if !continues {
            self.unwrapper = Unwrapper::new();
        }
    }

    fn line(&mut self, line: &Line<'_>) {
        let place = LinePlace { line: line.number, offset_bytes: line.offset_bytes };
        match &line.content {
            Content::Bytes(bytes) => self.bytes(bytes, place),
            Content::Oversized(long) => {
                let Some((_, interpreter)) = &mut self.interpreter else { return };
                let out = &mut self.batch;
                interpreter.oversized(long.head, long.length_bytes, long.sha256, place, out);
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8], place: LinePlace) {
        let Some((_, interpreter)) = &mut self.interpreter else { return };
        match self.unwrapper.unwrap(bytes) {
            Unwrapped::Line(bytes) => interpreter.line(bytes, place, &mut self.batch),
            Unwrapped::Partial | Unwrapped::Skip => self.batch.lines += 1,
        }
    }

    fn send_part(&mut self) -> Result<(), Over> {
        self.note_seen();
        let batch = std::mem::take(&mut self.batch);
        self.is_recognised |= batch.latest.is_some() || !batch.quarantine.is_empty();
        if batch == Batch::default() {
            return Ok(());
        }
        self.sender.send(Said::Part(batch)).map_err(|_| Over)
    }
}

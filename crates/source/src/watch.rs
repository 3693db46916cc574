//! [`Watch`]: the records of one host's log, as it is written.
//!
//! Follows the files ([`follow`](crate::follow)), takes off what transports put around lines
//! ([`wrapping`](crate::wrapping)) and interprets them ([`mongod`]). What a poll found
//! and [`Watch::position`] belong into one durable write; whoever opens a watch with that position goes
//! on with the next line and has what an uninterrupted one has.
//!
//! # The position
//!
//! CBOR, a map by number: 0 the version of the format (1), 1 the [`Place`] in the files, 2 the time of
//! the last line, 3 the intervals that are open in which the log is quiet (lines that end one say
//! nothing of its beginning, which may be long ago), 4 what may be lost before the next line, which has
//! the time that ends the interval. Empty bytes are the position before anything was read.

use doorbook_event::record::{Coverage, Grade, Hidden};
use doorbook_event::source::SourceKind;
use doorbook_event::{HostName, Target, Text, Timestamp};
use jiff::tz::TimeZone;
use minicbor::{Decode, Encode};

use crate::Batch;
use crate::follow::{Begun, Follow, Found, Loss, Place, Start, TimeOf};
use crate::input::{Content, Error, ErrorKind, Line};
use crate::mongod::{self, FileHints, Interpreter, LinePlace};
use crate::wrapping::{Unwrapped, Unwrapper};

/// Reads one host's log for as long as it is written.
pub struct Watch {
    settings: Settings,
    follow: Follow,
    reader: Reader,
}

/// What to watch.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The source's name, which intervals that it did not see bear.
    pub source: Text,
    /// The live file, or a pattern of the live files' names.
    pub path: Text,
    /// The host whose log it is.
    pub target: Target,
    /// The names by which start-up lines may call that host, and its addresses. None: any name will
    /// do.
    pub names: Vec<HostName>,
    /// The zone of times that have none.
    pub zone: TimeZone,
    /// Where to begin without a position.
    pub start: Start,
    /// A poll ends once it has found as many bytes of records; [`Batch::SIZE_BYTES_MAX`] at most.
    pub batch_size_bytes: usize,
}

/// What a poll came to, beside the batch.
#[derive(Debug, Default)]
pub struct Polled {
    /// Lines that were read.
    pub lines: u64,
    /// Bytes of these lines, unpacked.
    pub size_bytes: u64,
    /// There is more to read already: poll again without a pause.
    pub more: bool,
    /// All lines that are there were read, so that everything written before the poll is known. Not
    /// if there is `trouble`.
    pub at_end: bool,
    /// Another file was begun before the first of these lines. A batch never has lines of two files.
    pub next_file: bool,
    /// Bytes that are there and were not read, as stored.
    pub behind_bytes: u64,
    /// The latest time of any of these lines.
    pub latest: Option<Timestamp>,
    /// The time of the very first line, of a watch that began without a position.
    pub since: Option<Timestamp>,
    /// The host that a start-up line named.
    pub host_named: Option<HostName>,
    /// Why nothing, or nothing further, can be read at the moment. What was read is good.
    pub trouble: Option<Error>,
}

impl Watch {
    /// Watches from a position, or from the beginning. Nothing is opened before the first poll.
    pub fn open(settings: Settings, position: Option<&[u8]>) -> Result<Watch, Error> {
        let known = match position {
            None | Some([]) => None,
            Some(bytes) => Some(Position::read(bytes, &settings.path)?),
        };
        let mut interpreter = Interpreter::new(mongod::Settings {
            target: settings.target.clone(),
            zone: settings.zone.clone(),
        });
        let mut reader = Reader {
            source: settings.source.clone(),
            target: settings.target.clone(),
            names: settings.names.clone(),
            batch_size_bytes: settings.batch_size_bytes,
            unwrapper: Unwrapper::new(),
            hints: FileHints::default(),
            told: Vec::new(),
            last: None,
            lost: None,
            wants_first: known.is_none(),
            since: None,
            host_named: None,
            foreign: None,
            context: None,
            interpreter: {
                if let Some(known) = &known {
                    interpreter.resume_gaps(&known.open);
                }
                interpreter
            },
        };
        let mut place = None;
        if let Some(known) = known {
            reader.told = known.open;
            reader.last = known.last;
            reader.lost = known.lost;
            place = known.place;
        }
        let time_of = time_of(settings.zone.clone());
        let follow = Follow::new(&settings.path, settings.start, place, time_of)?;
        Ok(Watch { settings, follow, reader })
    }

    /// Reads what was written since the last poll, as much as one durable write should be. After an
    /// error `out` is as it was, and the watch is where it was before the poll, at the price of reading
    /// the context again: try once in a while. What can be tried again at once is
    /// [`Polled::trouble`] instead.
    pub fn poll(&mut self, now: Timestamp, out: &mut Batch) -> Result<Polled, Error> {
        let before = self.position();
        let mut batch = Batch::default();
        let Watch { follow, reader, .. } = self;
        let progress = follow.poll(now, &mut |found| reader.found(found, &mut batch));
        if let Some(host) = self.reader.foreign.take() {
            let file = self.follow.file().unwrap_or_else(|| self.settings.path.clone());
            *self = Watch::open(self.settings.clone(), Some(&before))?;
            let message = format!("is the log of {host}");
            return Err(Error::new(ErrorKind::Foreign, &file, message));
        }
        self.reader.tell_beginning(&mut batch);
        self.reader.tell_so_far(&mut batch);
        self.reader.last = batch.latest.or(self.reader.last);
        let latest = batch.latest;
        append(out, batch);
        Ok(Polled {
            lines: progress.lines,
            size_bytes: progress.size_bytes,
            more: progress.more,
            at_end: progress.at_end && progress.trouble.is_none(),
            next_file: progress.next_file,
            behind_bytes: progress.behind_bytes,
            latest,
            since: self.reader.since.take(),
            host_named: self.reader.host_named.take(),
            trouble: progress.trouble,
        })
    }

    /// Whether the polls are late: nobody looked for a while. A file that is gone then is lost, and not
    /// just perhaps.
    pub fn set_held_up(&mut self, is_held_up: bool) {
        self.follow.set_held_up(is_held_up);
    }

    /// Where to go on after what the last poll gave.
    pub fn position(&self) -> Vec<u8> {
        let Some(place) = self.follow.place() else { return Vec::new() };
        let position = Position {
            version: Position::VERSION,
            place: Some(place),
            last: self.reader.last,
            open: self.reader.told.clone(),
            lost: self.reader.lost.clone(),
        };
        minicbor::to_vec(&position).expect("memory takes all that is written to it")
    }

    /// The path of the file at hand.
    pub fn file(&self) -> Option<Text> {
        self.follow.file()
    }

    /// The last poll is over for good: decides what was left open.
    pub fn finish(&mut self, out: &mut Batch) {
        let reader = &mut self.reader;
        while let Some(rest) = reader.unwrapper.finish() {
            reader.interpreter.line(rest, LinePlace::default(), out);
            // Its parts were counted as they came.
            out.lines -= 1;
        }
        reader.interpreter.finish(out);
    }
}

/// See the module's documentation.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Position {
    #[n(0)]
    version: u64,
    #[n(1)]
    place: Option<Place>,
    #[n(2)]
    last: Option<Timestamp>,
    #[n(3)]
    open: Vec<Coverage>,
    #[n(4)]
    lost: Option<Lost>,
}

/// Lines may be missing since `from`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Lost {
    #[n(0)]
    grade: Grade,
    #[n(1)]
    cause: Text,
    #[n(2)]
    from: Timestamp,
}

impl Lost {
    /// Adds a loss after the line of the time `last` to what is lost already.
    pub(crate) fn add(lost: &mut Option<Lost>, last: Option<Timestamp>, loss: &Loss) {
        let Some(from) = last else { return };
        let graver = lost.as_ref().is_some_and(|lost| lost.grade <= loss.grade);
        if !graver {
            let from = lost.as_ref().map_or(from, |lost| lost.from.min(from));
            *lost = Some(Lost { grade: loss.grade, cause: loss.cause.clone(), from });
        }
    }

    /// What a source did not see up to the next line, which has the time `at`.
    pub(crate) fn gap(
        self,
        at: Timestamp,
        target: &Target,
        kind: SourceKind,
        source: &Text,
    ) -> Coverage {
        let Lost { grade, cause, from } = self;
        let to = from.max(at);
        Coverage {
            target: target.clone(),
            actions: kind.actions().to_vec(),
            hidden: Hidden::All,
            cause,
            actor: None,
            // A clock may have been set back in between.
            from: from.min(at),
            to: Some(to),
            last_seen: to,
            source: Some(source.clone()),
            grade,
            missing: None,
        }
    }
}

impl Position {
    const VERSION: u64 = 1;

    fn read(bytes: &[u8], path: &Text) -> Result<Position, Error> {
        read_position(bytes, path, |position: &Position| position.version == Position::VERSION)
    }
}

/// A position as it was kept; `is_known` says whether it has the version that this program writes.
pub(crate) fn read_position<'b, P: Decode<'b, ()>>(
    bytes: &'b [u8],
    path: &Text,
    is_known: fn(&P) -> bool,
) -> Result<P, Error> {
    let refuse = |why: &str| Error::new(ErrorKind::Broken, path, why);
    match minicbor::decode(bytes) {
        Ok(position) if is_known(&position) => Ok(position),
        Ok(_) => Err(refuse("the position was written by a newer version")),
        Err(_) => Err(refuse("the position cannot be read")),
    }
}

/// From lines to records.
struct Reader {
    source: Text,
    target: Target,
    names: Vec<HostName>,
    batch_size_bytes: usize,
    unwrapper: Unwrapper,
    interpreter: Interpreter,
    /// Of the file at hand.
    hints: FileHints,
    /// Intervals in which the log is quiet that were told as open.
    told: Vec<Coverage>,
    /// The time of the last line.
    last: Option<Timestamp>,
    lost: Option<Lost>,
    /// The first line of all was not read yet.
    wants_first: bool,
    since: Option<Timestamp>,
    host_named: Option<HostName>,
    /// A line names another host than the target.
    foreign: Option<HostName>,
    /// What context gave, while it is read.
    context: Option<Box<Batch>>,
}

impl Reader {
    /// Takes what was found; says whether there may be more.
    fn found(&mut self, found: Found<'_>, out: &mut Batch) -> bool {
        match found {
            Found::Lost(loss) => Lost::add(&mut self.lost, self.last, loss),
            Found::File(begun) => self.begin(begun, out),
            Found::Context(line) => {
                // What it gave is stored already.
                let mut old = self.context.take().unwrap_or_default();
                self.line(&line, &mut old, true);
                *old = Batch::default();
                self.context = Some(old);
            }
            Found::Line(line) => {
                if self.context.take().is_some() {
                    // What was counted was counted before.
                    self.interpreter.begin_file(self.hints.clone(), true, &mut Batch::default());
                }
                self.line(&line, out, false);
            }
        }
        self.foreign.is_none() && !out.is_full() && out.size_bytes < self.batch_size_bytes
    }

    fn begin(&mut self, begun: &Begun, out: &mut Batch) {
        self.hints = FileHints {
            name: begun.name.clone(),
            rotation_suffix: begun.rotated,
            modified: Some(begun.modified),
        };
        let mut old = Batch::default();
        let out = if begun.is_context { &mut old } else { out };
        self.interpreter.begin_file(self.hints.clone(), true, out);
    }

    fn line(&mut self, line: &Line<'_>, out: &mut Batch, is_context: bool) {
        let place = LinePlace { line: line.number, offset_bytes: line.offset_bytes };
        let bytes = match &line.content {
            Content::Bytes(bytes) => bytes,
            Content::Oversized(long) => {
                let (length_bytes, sha256) = (long.length_bytes, long.sha256);
                return self.interpreter.oversized(long.head, length_bytes, sha256, place, out);
            }
        };
        match self.unwrapper.unwrap(bytes) {
            Unwrapped::Line(bytes) if !line.complete => {
                self.interpreter.cut_line(bytes, place, out);
            }
            Unwrapped::Line(bytes) => {
                if !is_context && let Some(host) = mongod::host_of(bytes) {
                    if !mongod::is_known(&self.names, &host) {
                        self.foreign = Some(host);
                        return;
                    }
                    self.host_named = Some(host);
                }
                self.interpreter.line(bytes, place, out);
            }
            Unwrapped::Partial | Unwrapped::Skip => out.lines += 1,
        }
    }

    /// Where the first line of all, or after a loss, has a time, something begins.
    fn tell_beginning(&mut self, out: &mut Batch) {
        let Some(at) = out.earliest else { return };
        if std::mem::take(&mut self.wants_first) {
            self.since = Some(at);
        }
        if let Some(lost) = self.lost.take() {
            out.coverage.push(lost.gap(at, &self.target, SourceKind::MongodLog, &self.source));
        }
    }

    /// Tells of the log being quiet when that begins, and of messages that nobody knows when they come: a log that is
    /// followed may go on for weeks.
    fn tell_so_far(&mut self, out: &mut Batch) {
        // Half of the context says half of it.
        if self.context.is_some() {
            return;
        }
        self.interpreter.tell_gaps(&mut self.told, out);
        self.interpreter.tell_unknown_ids(out);
    }
}

/// Finds the time of a line as it stands in a file.
fn time_of(zone: TimeZone) -> TimeOf {
    Box::new(move |line, modified| match Unwrapper::new().unwrap(line) {
        Unwrapped::Line(line) => mongod::line_time(line, &zone, Some(modified)),
        Unwrapped::Partial | Unwrapped::Skip => None,
    })
}

/// Puts what was found behind what is there.
pub(crate) fn append(out: &mut Batch, mut batch: Batch) {
    if *out == Batch::default() {
        *out = batch;
        return;
    }
    out.accesses.append(&mut batch.accesses);
    out.coverage.append(&mut batch.coverage);
    out.quarantine.append(&mut batch.quarantine);
    out.unknown_ids.append(&mut batch.unknown_ids);
    out.lines += batch.lines;
    out.size_bytes += batch.size_bytes;
    out.earliest = out.earliest.or(batch.earliest);
    out.latest = out.latest.max(batch.latest);
}

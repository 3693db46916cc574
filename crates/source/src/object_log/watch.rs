//! [`Watch`]: what a log tells of arrays, as it is written.
//!
//! # The position
//!
//! CBOR, a map by number: 0 the version of the format (1), 1 the [`Place`] in the files, 2 the time of the last
//! line, 3 until when it was told, 4 what may be lost before the next line. What waits to be told is not in it:
//! the lines before the place are read again, and what they say of the time before 3 was told.

use std::sync::Arc;

use doorbook_event::record::{Place as RecordPlace, Quarantine};
use doorbook_event::{Target, Text, Timestamp};
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use super::{Format, Places, Reader, Sessions};
use crate::Batch;
use crate::follow::{Follow, Found, Place, Start};
use crate::input::{Content, Error, ErrorKind, Line};
use crate::watch::{Lost, Polled};

/// Reads a log for as long as it is written.
pub struct Watch {
    settings: Settings,
    follow: Follow,
    telling: Telling,
}

/// What to watch.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The source's name, which intervals that it did not see bear.
    pub source: Text,
    /// The live file, or a pattern of the live files' names.
    pub path: Text,
    /// What it is written in.
    pub format: Format,
    /// What the source watches.
    pub target: Target,
    /// The arrays of the namespace.
    pub places: Arc<Places>,
    /// Where to begin without a position.
    pub start: Start,
}

impl Watch {
    /// Watches from a position, or from the beginning. Nothing is opened before the first poll.
    pub fn open(settings: Settings, position: Option<&[u8]>) -> Result<Watch, Error> {
        let known = match position {
            None | Some([]) => None,
            Some(bytes) => Some(Position::read(bytes, &settings.path)?),
        };
        let format = settings.format;
        let mut telling = Telling {
            target: settings.target.clone(),
            places: Arc::clone(&settings.places),
            reader: Reader::new(format),
            sessions: Sessions::new(format),
            file: settings.path.clone(),
            until: Timestamp::MIN,
            resumes: false,
            wants_first: known.is_none(),
            last: None,
            lost: None,
        };
        let mut place = None;
        if let Some(known) = known {
            telling.last = known.last;
            telling.lost = known.lost;
            telling.until = known.until;
            telling.resumes = true;
            place = known.place;
        }
        let time_of = Box::new(move |line: &[u8], _| format.time(line));
        let follow = Follow::new(&settings.path, settings.start, place, time_of)?;
        Ok(Watch { settings, follow, telling })
    }

    /// Reads what was written since the last poll, and tells of what is over.
    pub fn poll(&mut self, now: Timestamp, out: &mut Batch) -> Polled {
        let Watch { follow, telling, settings } = self;
        let mut batch = Batch::default();
        let progress = follow.poll(now, &mut |found| telling.found(found, &mut batch));
        let at_end = progress.at_end && progress.trouble.is_none();
        if !telling.resumes || !progress.more {
            telling.tell(now, at_end, &mut batch);
        }
        let mut since = None;
        if let Some(at) = batch.earliest {
            if std::mem::take(&mut telling.wants_first) {
                since = Some(at);
            }
            if let Some(lost) = telling.lost.take() {
                let kind = settings.format.kind();
                batch.coverage.push(lost.gap(at, &settings.target, kind, &settings.source));
            }
        }
        telling.last = batch.latest.or(telling.last);
        out.accesses.append(&mut batch.accesses);
        out.coverage.append(&mut batch.coverage);
        out.quarantine.append(&mut batch.quarantine);
        out.lines += batch.lines;
        out.size_bytes += batch.size_bytes;
        out.earliest = out.earliest.or(batch.earliest);
        out.latest = out.latest.max(batch.latest);
        Polled {
            lines: progress.lines,
            size_bytes: progress.size_bytes,
            more: progress.more,
            at_end,
            next_file: progress.next_file,
            behind_bytes: progress.behind_bytes,
            // What was read later waits still.
            latest: telling.told_until(),
            since,
            host_named: None,
            trouble: progress.trouble,
        }
    }

    /// Whether the polls are late; see [`Follow::set_held_up`].
    pub fn set_held_up(&mut self, is_held_up: bool) {
        self.follow.set_held_up(is_held_up);
    }

    /// The namespace has other arrays now.
    pub fn set_places(&mut self, places: Arc<Places>) {
        self.telling.places = places;
    }

    /// Where to go on after what the last poll gave.
    pub fn position(&self) -> Vec<u8> {
        let Some(place) = self.follow.place() else { return Vec::new() };
        let position = Position {
            version: Position::VERSION,
            place: Some(place),
            last: self.telling.last,
            until: self.telling.until,
            lost: self.telling.lost.clone(),
        };
        minicbor::to_vec(&position).expect("memory takes all that is written to it")
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
    until: Timestamp,
    #[n(4)]
    lost: Option<Lost>,
}

impl Position {
    const VERSION: u64 = 1;

    fn read(bytes: &[u8], path: &Text) -> Result<Position, Error> {
        let refuse = |why: &str| Error::new(ErrorKind::Broken, path, why);
        match minicbor::decode::<Position>(bytes) {
            Ok(position) if position.version == Position::VERSION => Ok(position),
            Ok(_) => Err(refuse("the position was written by a newer version")),
            Err(_) => Err(refuse("the position cannot be read")),
        }
    }
}

/// From lines to events.
struct Telling {
    target: Target,
    places: Arc<Places>,
    reader: Reader,
    sessions: Sessions,
    /// The file at hand.
    file: Text,
    /// Until when it was told.
    until: Timestamp,
    /// What is read first was read before.
    resumes: bool,
    wants_first: bool,
    /// The time of the last line.
    last: Option<Timestamp>,
    lost: Option<Lost>,
}

impl Telling {
    /// Takes what was found; says whether there may be more.
    fn found(&mut self, found: Found<'_>, out: &mut Batch) -> bool {
        match found {
            Found::Lost(loss) => Lost::add(&mut self.lost, self.last, loss),
            Found::File(begun) => self.file = begun.name.clone(),
            // What was wrong with it was told then.
            Found::Context(line) => self.line(&line, &mut Batch::default()),
            Found::Line(line) => {
                self.resume();
                out.lines += 1;
                self.line(&line, out);
            }
        }
        !out.is_full()
    }

    /// Once everything was read again that was read before, what was told of it is done with.
    fn resume(&mut self) {
        if std::mem::take(&mut self.resumes) {
            self.sessions.close(self.until, &self.places, &mut Vec::new());
        }
    }

    fn line(&mut self, line: &Line<'_>, out: &mut Batch) {
        let bytes = match &line.content {
            Content::Bytes(bytes) => bytes,
            Content::Oversized(long) => {
                let reason = "the line is longer than 1 MiB";
                return self.put_aside(
                    line,
                    long.head,
                    (long.length_bytes, long.sha256),
                    reason,
                    out,
                );
            }
        };
        let sessions = &mut self.sessions;
        let read = self.reader.line(bytes, &mut |request| {
            out.earliest = out.earliest.or(Some(request.at));
            out.latest = out.latest.max(Some(request.at));
            sessions.add(&request, bytes);
        });
        if let Err(why) = read {
            let reason = if line.complete { &*why.0 } else { "the end of the line is missing" };
            let whole = (bytes.len() as u64, Sha256::digest(bytes).into());
            self.put_aside(line, bytes, whole, reason, out);
        }
        if self.sessions.is_full() {
            self.sessions.relieve(&self.places, &mut out.accesses);
        }
    }

    fn put_aside(
        &self,
        line: &Line<'_>,
        bytes: &[u8],
        (length_bytes, sha256): (u64, [u8; 32]),
        reason: &str,
        out: &mut Batch,
    ) {
        let bytes = &bytes[..bytes.len().min(Quarantine::BYTES_MAX)];
        out.size_bytes += bytes.len();
        out.quarantine.push(Quarantine {
            target: self.target.clone(),
            reason: reason.into(),
            place: RecordPlace {
                file: self.file.clone(),
                line: line.number,
                offset_bytes: line.offset_bytes,
            },
            bytes: bytes.to_vec(),
            length_bytes,
            sha256,
        });
    }

    /// Tells of what is over by the log's time; at its end by the clock's, since nothing need follow.
    fn tell(&mut self, now: Timestamp, at_end: bool, out: &mut Batch) {
        self.resume();
        let format = self.reader.format;
        // A line from the future would tell of everything at once.
        let read = self.sessions.latest().map(|latest| latest.min(now));
        let waited = at_end.then(|| now.plus_seconds(-format.delay_seconds()));
        let until = read.max(waited).unwrap_or(self.until).max(self.until);
        self.until = until;
        let before = out.accesses.len();
        self.sessions.close(until, &self.places, &mut out.accesses);
        out.size_bytes +=
            out.accesses[before..].iter().map(|access| access.raw.len()).sum::<usize>();
    }

    /// Everything before is told.
    fn told_until(&self) -> Option<Timestamp> {
        let is_known = self.until > Timestamp::MIN;
        is_known.then(|| self.until.plus_micros(-self.sessions.hold_micros()))
    }
}

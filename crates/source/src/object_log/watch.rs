//! [`Watch`]: what a log tells of arrays, as it is written.
//!
//! # The position
//!
//! CBOR, a map by number: 0 the version of the format (1), 1 the [`Place`] in the files, 2 the time of the last
//! line, 3 until when it was told, 4 what may be lost before the next line. What waits to be told is not in it:
//! the lines before the place are read again, and what they say of the time before 3 was told.

use std::sync::Arc;

use doorbook_event::{Target, Text, Timestamp};
use minicbor::{Decode, Encode};

use super::telling::Telling;
use super::{Format, Places};
use crate::Batch;
use crate::follow::{Follow, Found, Place, Start};
use crate::input::Error;
use crate::watch::{Lost, Polled, append, read_position};

/// Reads a log for as long as it is written.
pub struct Watch {
    settings: Settings,
    follow: Follow,
    telling: Telling,
    /// The first line of all was not read yet.
    wants_first: bool,
    /// The time of the last line.
    last: Option<Timestamp>,
    lost: Option<Lost>,
}

/// What to watch.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The source's name, which intervals that it did not see bear.
    pub source: Text,
    /// The live file, a pattern of the live files' names, or the folder of files that are each written once.
    pub path: Text,
    /// What it is written in.
    pub format: Format,
    /// What the source watches.
    pub target: Target,
    /// The arrays of the namespace.
    pub places: Arc<Places>,
}

impl Watch {
    /// Watches from a position, or from the beginning. Nothing is opened before the first poll.
    pub fn open(settings: Settings, position: Option<&[u8]>) -> Result<Watch, Error> {
        let known = match position {
            None | Some([]) => None,
            Some(bytes) => Some(Position::read(bytes, &settings.path)?),
        };
        let format = settings.format;
        let telling = Telling::new(&settings, known.as_ref().map(|known| known.until));
        let wants_first = known.is_none();
        let (place, last, lost) =
            known.map_or((None, None, None), |known| (known.place, known.last, known.lost));
        let time_of = Box::new(move |line: &[u8], _| format.time(line));
        let follow = Follow::new(&settings.path, Start::Oldest, place, time_of)?;
        Ok(Watch { settings, follow, telling, wants_first, last, lost })
    }

    /// Reads what was written since the last poll, and tells of what is over.
    pub fn poll(&mut self, now: Timestamp, out: &mut Batch) -> Polled {
        let Watch { follow, telling, settings, wants_first, last, lost } = self;
        let mut batch = Batch::default();
        let progress = follow.poll(now, &mut |found| {
            match found {
                Found::Lost(loss) => Lost::add(lost, *last, loss),
                Found::File(begun) => telling.begin(begun.name.clone()),
                // What was wrong with it was told then.
                Found::Context(line) => telling.line(&line, &mut Batch::default()),
                Found::Line(line) => {
                    telling.resume();
                    telling.line(&line, &mut batch);
                }
            }
            !batch.is_full()
        });
        let at_end = progress.at_end && progress.trouble.is_none();
        if !telling.resumes() || !progress.more {
            telling.tell(now, at_end, &mut batch);
        }
        let mut since = None;
        if let Some(at) = batch.earliest {
            if std::mem::take(wants_first) {
                since = Some(at);
            }
            if let Some(lost) = lost.take() {
                let kind = settings.format.kind();
                batch.coverage.push(lost.gap(at, &settings.target, kind, &settings.source));
            }
        }
        *last = batch.latest.or(*last);
        append(out, batch);
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

    /// What should be known of what was read.
    pub fn note(&self) -> Option<Text> {
        self.telling.note()
    }

    /// The namespace has other arrays now.
    pub fn set_places(&mut self, places: Arc<Places>) {
        self.telling.set_places(places);
    }

    /// Where to go on after what the last poll gave.
    pub fn position(&self) -> Vec<u8> {
        let Some(place) = self.follow.place() else { return Vec::new() };
        let position = Position {
            version: Position::VERSION,
            place: Some(place),
            last: self.last,
            until: self.telling.until(),
            lost: self.lost.clone(),
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
        read_position(bytes, path, |position: &Position| position.version == Position::VERSION)
    }
}

//! [`Telling`]: from lines to events, whatever they are read from.

use std::sync::Arc;

use doorbook_event::record::{Place as RecordPlace, Quarantine};
use doorbook_event::{Target, Text, Timestamp};
use sha2::{Digest, Sha256};

use super::records::Record;
use super::{Places, Reader, Sessions, Settings};
use crate::Batch;
use crate::input::{Content, Line};

/// Reads lines and tells of what is over. One that goes on first takes again what it took before.
pub struct Telling {
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
}

impl Telling {
    /// With what was told before, if anything was.
    pub fn new(settings: &Settings, until: Option<Timestamp>) -> Telling {
        Telling {
            target: settings.target.clone(),
            places: Arc::clone(&settings.places),
            reader: Reader::new(settings.format),
            sessions: Sessions::new(settings.format),
            file: settings.path.clone(),
            until: until.unwrap_or(Timestamp::MIN),
            resumes: until.is_some(),
        }
    }

    /// The namespace has other arrays now.
    pub fn set_places(&mut self, places: Arc<Places>) {
        self.places = places;
    }

    /// Another file begins.
    pub fn begin(&mut self, file: Text) {
        self.file = file;
    }

    /// Whether what is read was read before.
    pub fn resumes(&self) -> bool {
        self.resumes
    }

    /// Once everything was read again that was read before, what was told of it is done with.
    pub fn resume(&mut self) {
        if std::mem::take(&mut self.resumes) {
            self.sessions.close(self.until, &self.places, &mut Vec::new());
        }
    }

    /// Takes a line.
    pub fn line(&mut self, line: &Line<'_>, out: &mut Batch) {
        out.lines += 1;
        let place = self.place(line.number, line.offset_bytes);
        match &line.content {
            Content::Bytes(bytes) => self.read(bytes, place, line.complete, out),
            Content::Oversized(long) => {
                let all = (long.length_bytes, long.sha256);
                self.put_aside(long.head, all, place, "the line is longer than 1 MiB", out);
            }
        }
    }

    /// Takes a record of a CloudTrail file, the `number`-th.
    pub fn record(&mut self, record: &Record<'_>, number: u64, out: &mut Batch) {
        out.lines += 1;
        let place = self.place(number, record.offset_bytes);
        if record.is_too_long {
            let all = (record.bytes.len() as u64, Sha256::digest(record.bytes).into());
            self.put_aside(record.bytes, all, place, "the record is longer than 1 MiB", out);
        } else {
            self.read(record.bytes, place, true, out);
        }
    }

    fn read(&mut self, bytes: &[u8], place: RecordPlace, is_complete: bool, out: &mut Batch) {
        let sessions = &mut self.sessions;
        let read = self.reader.line(bytes, &mut |request| {
            out.earliest = out.earliest.or(Some(request.at));
            out.latest = out.latest.max(Some(request.at));
            sessions.add(&request, bytes);
        });
        if let Err(why) = read {
            let reason = if is_complete { &*why.0 } else { "the end of the line is missing" };
            let all = (bytes.len() as u64, Sha256::digest(bytes).into());
            self.put_aside(bytes, all, place, reason, out);
        }
        if self.sessions.is_full() {
            self.sessions.relieve(&self.places, &mut out.accesses);
        }
    }

    fn place(&self, line: u64, offset_bytes: u64) -> RecordPlace {
        RecordPlace { file: self.file.clone(), line, offset_bytes }
    }

    fn put_aside(
        &self,
        bytes: &[u8],
        (length_bytes, sha256): (u64, [u8; 32]),
        place: RecordPlace,
        reason: &str,
        out: &mut Batch,
    ) {
        let bytes = bytes[..bytes.len().min(Quarantine::BYTES_MAX)].to_vec();
        out.size_bytes += bytes.len();
        let (target, reason) = (self.target.clone(), reason.into());
        out.quarantine.push(Quarantine { target, reason, place, bytes, length_bytes, sha256 });
    }

    /// The file at hand cannot be read any further. What is put aside is its name: nothing at all would be
    /// the same for every file.
    pub fn give_up(&self, offset_bytes: u64, reason: &str, out: &mut Batch) {
        let name = self.file.as_bytes();
        let all = (name.len() as u64, Sha256::digest(name).into());
        self.put_aside(name, all, self.place(0, offset_bytes), reason, out);
    }

    /// Tells of what is over by the log's time; at its end by the clock's, since nothing need follow.
    pub fn tell(&mut self, now: Timestamp, at_end: bool, out: &mut Batch) {
        self.resume();
        let format = self.reader.format;
        // A line from the future would tell of everything at once.
        let read = self.sessions.latest().map(|latest| latest.min(now));
        let waited = at_end.then(|| now.plus_seconds(-format.delay_seconds()));
        self.until = read.max(waited).unwrap_or(self.until).max(self.until);
        let before = out.accesses.len();
        self.sessions.close(self.until, &self.places, &mut out.accesses);
        let told = &out.accesses[before..];
        out.size_bytes += told.iter().map(|access| access.raw.len()).sum::<usize>();
    }

    /// How many requests it read that no event tells of, because nobody registered their arrays.
    pub fn note(&self) -> Option<Text> {
        let requests = self.sessions.counts().unregistered;
        (requests > 0)
            .then(|| format!("{requests} requests were for arrays that are not registered").into())
    }

    /// Until when it was told, less what it waits.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Everything before is told.
    pub fn told_until(&self) -> Option<Timestamp> {
        let is_known = self.until > Timestamp::MIN;
        is_known.then(|| self.until.plus_micros(-self.sessions.hold_micros()))
    }

    /// Before this nothing waits, in whatever way it hangs together.
    pub fn waits_since(&self) -> Timestamp {
        let reading_micros = Sessions::READING_MICROS_MAX;
        self.until.plus_micros(-self.sessions.hold_micros()).plus_micros(-reading_micros)
    }
}

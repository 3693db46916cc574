//! mongod and mongos logs (2.4 - 8.x) to access records.
//!
//! `Interpreter` is handed physical lines without their transport's wrapping and fills a
//! `Batch`: every authentication attempt that has a line, every denied action, the intervals in
//! which attempts have no line, and every line that looks like one of these and cannot be read.
//! **Nothing is dropped in silence, nothing panics, and memory is bounded whatever the input.**
//!
//! Suggested reading order: `facts` (ids, versions), `json` and `json_lines` (4.4 and later),
//! `text` and `text_lines` (up to 4.2), `connections` (what other lines say), `blindness`,
//! `time`.
//!
//! # Forged lines
//!
//! JSON logs escape what clients send. Text logs do not: anyone who can reach the port can put a
//! line break and a perfect success line into a user name. What is done about it, for text only:
//!
//! 1. A record that begins like an authentication and does not end like one is continued by the
//!    following physical lines, until it ends as mongod would have ended it, with the address that
//!    its connection was accepted from. It becomes one event; success lines inside of it become
//!    `Class::Suspect` events; nothing inside of it changes any state. It is given up at a whole
//!    record of another connection with this one's own address, or when it gets too long. Then each
//!    of its lines that looks like an authentication is an event (a success a suspect one) or put
//!    aside, and still none of them changes any state, but that a connection with the next number is
//!    no longer held to be one that was never accepted.
//! 2. A line whose connection was accepted from another address, or was never accepted although the
//!    log covers its number, is `Class::Suspect`, successes and failures alike. A success on a
//!    connection that was accepted before the log begins is `Class::Unconfirmed`.
//! 3. A line on a connection that has ended is suspect, too, **unless it states the very address that
//!    was accepted**; then it is unconfirmed, with the attribute `connection_ended`. An attacker can
//!    forge the end of its own connection and then really log in, and a real login that nobody sees
//!    is worse than a forged one that tells its author's address.
//! 4. A number is accepted once in a process life (`connections`). A second `accepted` line confirms
//!    nothing.
//! 5. A start of the process may be forged, so the lives before are kept. What the life before
//!    confirms is not suspect, what only a doubtful one confirms is unconfirmed. A life is not
//!    doubtful if its version and options were written before its first connection, and it is the
//!    only one after 256 connections in which no other life's count went on.
//! 6. Announcements imply logins in logs of 2.6 and older only, and a login without address is none
//!    where addresses are written.
//!
//! **Not defended.** All of it needs a log of 4.2 or older, and a client that closes its own record
//! correctly inside of what it writes (it knows its own address; a description needs none), so that
//! its lines stand alone:
//!
//! - an `accepted` line with the very next number and a success on it, before the server gives that
//!   number to someone: a login that never was;
//! - a line of its own connection from its own address with another user's name: it is known to be
//!   there, and lies about who it is;
//! - `accepted` lines for several numbers ahead: the logins of the first connection that really gets
//!   one of them are suspect until the server accepts a second one, then unconfirmed;
//! - all lines of a start with an `accepted` line and a success: a login that never was, and the real
//!   ones are unconfirmed until the next real connection; with 256 `accepted` lines at once, the real
//!   ones of older connections are suspect;
//! - a line that begins an authentication of another connection and does not end: what follows up to
//!   the next record of a connection that is known is read as its part, so a login in between may be
//!   told as suspect or as a part of a name. The same follows from a record that mongod really cut
//!   (full disk);
//! - a start or options line: it can open or close a gap of the coverage (`blindness`);
//! - lines without an address (3.4 and older): nothing but the connection's number can be judged.

mod alone;
mod blindness;
mod client;
mod connections;
mod facts;
mod finder;
mod json_lines;
mod text;
mod text_lines;
pub(crate) mod time;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use doorbook_event::record::{Actor, Coverage, Place, Quarantine, UnknownId};
use doorbook_event::{
    Access, Action, Attributes, Class, Classes, Client, Outcome, Peer, Principal, Shared, Target,
    Text, Timestamp,
};
use sha2::{Digest, Sha256};

use crate::Batch;
use crate::intern::Texts;
use blindness::{Blindness, Cause, Switch};
use client::Clients;
use connections::{Connection, Connections, Standing};
use facts::Version;
use text_lines::Continued;
use time::{Time, Times};

pub use alone::{Reread, read_alone};
pub use finder::{HostFinder, host_of, is_known, replica_set_of};
pub use time::{line_time, rotation_suffix};

/// What the log itself does not say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host whose log it is.
    pub target: Target,
    /// The zone of times that have none.
    pub zone: jiff::tz::TimeZone,
}

/// What a file's surroundings say of its times, in order of trust.
#[derive(Clone, Debug, Default)]
pub struct FileHints {
    /// The file's name as it was given.
    pub name: Text,
    /// When it was rotated away, from its name.
    pub rotation_suffix: Option<Timestamp>,
    /// When it was last written.
    pub modified: Option<Timestamp>,
}

/// Where a line stands in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinePlace {
    /// Line number, from 1.
    pub line: u64,
    /// Offset of the line's first byte in the decompressed input, from 0.
    pub offset_bytes: u64,
}

/// Reads the lines of one host, file after file.
#[derive(Debug)]
pub struct Interpreter {
    target: Target,
    file: Text,
    times: Times,
    texts: Texts,
    clients: Clients,
    words: Words,
    life: Life,
    /// Text only: other process lives that may be the real one, since start lines can be forged.
    others: Vec<Life>,
    /// One of them was forgotten for want of room, so nothing is contradicted for certain.
    is_life_lost: bool,
    blindness: Blindness,
    continued: Option<Continued>,
    /// 2.4 and 2.6: someone authenticates, and it is a login unless the connection's next line says
    /// otherwise.
    announced: VecDeque<(u64, Access)>,
    format: Format,
    /// A line of text had a severity: it is no log of 2.6 or older.
    shows_severity: bool,
    unknown_ids: BTreeMap<(u64, Option<Text>), (u64, Text)>,
    latest: Option<Timestamp>,
}

/// Which generation of lines the log has. A client can write a JSON line into a text log, but
/// neither kind into a JSON log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// No line was read yet.
    Unknown,
    /// Text, and this many bytes of JSON since the last line of text.
    Text {
        /// Bytes.
        json_bytes: usize,
    },
    /// JSON.
    Json,
}

/// A node that is upgraded from 4.2 to 4.4 goes on in JSON in the same file. mongod 4.2 cuts its
/// records at 10 kB, so nobody can put this much JSON between two lines of text.
const JSON_BYTES_CERTAIN: usize = 32 << 10;

/// mongod writes a refusal right behind the announcement; after this many others there is none.
const ANNOUNCED_MAX: usize = 256;

/// A name that is longer is not kept for the lines that follow on its connection.
const LOGIN_BYTES_MAX: usize = 1024;

/// From one start of the process to the next.
#[derive(Debug, Default)]
struct Life {
    started: Option<Timestamp>,
    version: Option<Version>,
    connections: Connections,
    /// It began with a line that may be forged, while another process ran, and without the lines of
    /// a whole start.
    is_doubtful: bool,
    has_version: bool,
    has_options: bool,
    /// A connection spoke.
    has_lines: bool,
    /// A line had a severity.
    shows_severity: bool,
    /// How many numbers were accepted since this life is the present one.
    streak: u32,
    /// Success lines of this version end with the address (3.6 and later).
    shows_client: bool,
}

impl Life {
    /// Whether it says anything of who may log in.
    fn is_voter(&self) -> bool {
        self.connections.has_run() || self.connections.is_quiet
    }

    /// A line of its start was read.
    fn start_line(&mut self) {
        if self.has_version && self.has_options && !self.connections.has_run() {
            self.is_doubtful = false;
        }
    }
}

/// How many process lives are kept beside the present one while it is not certain which is real.
const OTHERS_MAX: usize = 3;

/// A life that began with all the lines of a start and accepted this many connections, while no other
/// went on with its count, is the only one. As text this is more than three records of mongod hold.
const STREAK_CERTAIN: u32 = 256;

/// Attribute names, made once.
#[derive(Debug)]
struct Words {
    client: Text,
    cluster_member: Text,
    truncated: Text,
    ended: Text,
    yes: Text,
}

/// An event on its way to an [`Access`].
struct Draft<'a> {
    time: Time<'a>,
    action: Action,
    outcome: Outcome,
    principal: Principal,
    mechanism: Option<Text>,
    /// The address that the line itself states.
    peer: Option<Peer>,
    connection: Option<u64>,
    /// The client that the line itself describes.
    client: Option<Shared<Client>>,
    speculative: Option<bool>,
    classes: Classes,
    attributes: Attributes,
}

/// Why a line without its end is put aside.
const CUT: &str = "the end of the line is missing";

/// Why a line is put aside that may have been written by a client, within a record.
const PART: &str = "the line may be a part of another";

/// Unknown ids are handed out when there are this many, at the end of a file, or at the end.
const UNKNOWN_IDS_MAX: usize = 1024;

impl Interpreter {
    /// An interpreter that has seen nothing.
    pub fn new(settings: Settings) -> Interpreter {
        let words = Words {
            client: "client".into(),
            cluster_member: "cluster_member".into(),
            truncated: "truncated".into(),
            ended: "connection_ended".into(),
            yes: "true".into(),
        };
        Interpreter {
            target: settings.target,
            file: Text::default(),
            times: Times::new(settings.zone),
            texts: Texts::default(),
            clients: Clients::default(),
            words,
            life: Life::default(),
            others: Vec::new(),
            is_life_lost: false,
            blindness: Blindness::default(),
            continued: None,
            announced: VecDeque::new(),
            format: Format::Unknown,
            shows_severity: false,
            unknown_ids: BTreeMap::new(),
            latest: None,
        }
    }

    /// A file begins. `continues`: it is the next rotated file of the same host, so connections
    /// carry over; otherwise everything is forgotten.
    pub fn begin_file(&mut self, hints: FileHints, continues: bool, out: &mut Batch) {
        if continues {
            self.hand_out_unknown_ids(out);
        } else {
            self.finish(out);
        }
        self.times.begin_file(hints.rotation_suffix.or(hints.modified), continues);
        self.file = hints.name;
    }

    /// A physical line, without its terminator (a `\r` may remain).
    pub fn line(&mut self, line: &[u8], place: LinePlace, out: &mut Batch) {
        out.lines += 1;
        if self.continued.is_some() {
            self.continue_record(line, place, out);
        } else {
            self.single_line(line, place, true, out);
        }
    }

    /// A line that was longer than the input layer's bound, of which only `head` was kept.
    pub fn oversized(
        &mut self,
        head: &[u8],
        length_bytes: u64,
        sha256: [u8; 32],
        place: LinePlace,
        out: &mut Batch,
    ) {
        out.lines += 1;
        self.give_up_record(out);
        let is_other = match json_lines::component(head) {
            Some(component) => component != b"ACCESS",
            None => !facts::looks_like_access(head),
        };
        if !is_other {
            let reason = "the line is too long to be read".into();
            let bytes = head[..head.len().min(Quarantine::BYTES_MAX)].to_vec();
            let place = self.place(place);
            out.size_bytes += bytes.len();
            let target = self.target.clone();
            out.quarantine.push(Quarantine { target, reason, place, bytes, length_bytes, sha256 });
        }
    }

    /// A line whose end is missing: half a user name would be a login that never was. It is put aside
    /// if it may have been an event.
    pub fn cut_line(&mut self, line: &[u8], place: LinePlace, out: &mut Batch) {
        out.lines += 1;
        self.give_up_record(out);
        if facts::looks_like_access(line) {
            self.quarantine(CUT, line, place, out);
        }
    }

    /// A record whose end has not come is not waited for: what is known of its lines is told now.
    pub fn give_up(&mut self, out: &mut Batch) {
        self.give_up_record(out);
    }

    /// Hands out which messages were not known so far, and how often they came.
    pub fn tell_unknown_ids(&mut self, out: &mut Batch) {
        self.hand_out_unknown_ids(out);
    }

    /// The intervals in which attempts have no line, as far as they are still open.
    pub fn open_gaps(&self) -> Vec<Coverage> {
        self.blindness.open_gaps(self.latest.unwrap_or_default(), &self.target)
    }

    /// Tells of the log being quiet when that begins, not only when it is over; `told` is what was told
    /// as open, and is so from now on.
    pub fn tell_gaps(&self, told: &mut Vec<Coverage>, out: &mut Batch) {
        let open = self.open_gaps();
        let is_same = |a: &Coverage, b: &Coverage| (a.from, &a.cause) == (b.from, &b.cause);
        for gone in told.iter().filter(|told| !open.iter().any(|gap| is_same(gap, told))) {
            // One that turned out to be none has no end of its own.
            if !out.coverage.iter().any(|ended| is_same(ended, gone)) {
                let (to, last_seen) = (Some(gone.from), gone.from);
                out.coverage.push(Coverage { to, last_seen, ..gone.clone() });
            }
        }
        for gap in &open {
            if !told.iter().any(|told| is_same(told, gap)) {
                out.coverage.push(gap.clone());
            }
        }
        *told = open;
    }

    /// Goes on with what [`Interpreter::open_gaps`] gave when reading was interrupted.
    pub fn resume_gaps(&mut self, open: &[Coverage]) {
        self.blindness.resume_gaps(open);
    }

    /// The input ends: what was left open is decided.
    pub fn finish(&mut self, out: &mut Batch) {
        self.give_up_record(out);
        self.settle_all(out);
        self.forget_others();
        self.life = Life::default();
        self.format = Format::Unknown;
        self.shows_severity = false;
        let last_seen = self.latest.take().unwrap_or_default();
        self.blindness.finish(last_seen, &self.target, &mut out.coverage);
        self.hand_out_unknown_ids(out);
    }

    fn single_line(&mut self, line: &[u8], place: LinePlace, may_continue: bool, out: &mut Batch) {
        match line.first() {
            None => {}
            Some(b'{') => self.json_line(line, place, out),
            Some(_) => self.text_line(line, place, may_continue, out),
        }
    }

    fn saw_time(&mut self, at: Timestamp, out: &mut Batch) {
        self.latest = self.latest.max(Some(at));
        out.earliest = out.earliest.or(Some(at));
        out.latest = out.latest.max(Some(at));
    }

    /// Whether lines of this kind cannot have been written by a client.
    fn is_certain(&self) -> bool {
        self.format == Format::Json
    }

    fn saw_json(&mut self, length: usize) {
        match &mut self.format {
            Format::Json => {}
            Format::Unknown => self.format = Format::Json,
            Format::Text { json_bytes } => {
                *json_bytes += length;
                if *json_bytes >= JSON_BYTES_CERTAIN {
                    self.format = Format::Json;
                    self.forget_others();
                }
            }
        }
    }

    fn saw_text(&mut self) {
        if self.format != Format::Json {
            self.format = Format::Text { json_bytes: 0 };
        }
    }

    fn start_life(&mut self, at: Timestamp, out: &mut Batch) {
        self.settle_all(out);
        self.blindness.process_started(at);
        let life = Life { started: Some(at), ..Life::default() };
        if self.is_certain() {
            self.life = life;
            return self.forget_others();
        }
        let old = std::mem::replace(&mut self.life, life);
        // Until its own lines say otherwise it is taken for the same version.
        self.life.version = old.version.clone();
        self.life.shows_client = old.shows_client;
        // `SERVER RESTARTED` and `MongoDB starting` are two lines of one start; only before the
        // first of them is there a life to go back to.
        if old.is_voter() || old.has_lines {
            self.keep(old);
        }
        self.life.is_doubtful = !self.others.is_empty();
    }

    fn keep(&mut self, life: Life) {
        if self.others.len() >= OTHERS_MAX {
            self.others.remove(0);
            self.is_life_lost = true;
        }
        self.others.push(life);
    }

    fn forget_others(&mut self) {
        self.others.clear();
        self.is_life_lost = false;
    }

    fn accept(&mut self, number: u64, peer: Peer) {
        if self.is_certain() {
            if self.life.connections.is_new_life(number) {
                self.life = Life::default();
            }
            return self.life.connections.accept(number, peer);
        }
        if !self.others.is_empty() {
            self.choose_life(number, peer);
        }
        self.life.connections.accept_doubted(number, peer);
    }

    /// Several process lives are possible: the one whose count goes on is the present one. The other
    /// is kept, since this line may be forged as well as the start was.
    fn choose_life(&mut self, number: u64, peer: Peer) {
        let is_first = number == 1 && !self.life.connections.has_run();
        let goes_on = is_first || self.life.connections.is_next(number);
        let is_its = |life: &Life| life.connections.is_next(number);
        if !goes_on && let Some(at) = self.others.iter().rposition(is_its) {
            let life = self.others.remove(at);
            let old = std::mem::replace(&mut self.life, life);
            self.life.streak = 0;
            // Nobody can have logged in to a process that accepted no connection.
            if old.is_voter() {
                self.keep(old);
            }
        }
        for life in &mut self.others {
            if life.connections.is_next(number) {
                life.connections.accept_doubted(number, peer);
            }
        }
        self.life.streak = self.life.streak.saturating_add(1);
        if self.life.streak >= STREAK_CERTAIN && !self.life.is_doubtful {
            self.forget_others();
        }
    }

    fn end(&mut self, number: u64, peer: Option<Peer>, out: &mut Batch) {
        self.settle(Some(number), out);
        if self.is_certain() {
            return self.life.connections.end(number);
        }
        for life in self.others.iter_mut().chain([&mut self.life]) {
            life.connections.end_doubted(number, peer);
        }
    }

    /// The lives that may be the real one, the likeliest first.
    fn lives(&self) -> impl Iterator<Item = &Life> {
        let is_likelier = |life: &&Life| self.life.is_doubtful && !life.is_doubtful;
        let likelier = self.others.iter().rev().filter(is_likelier);
        likelier.chain([&self.life]).chain(self.others.iter().rev())
    }

    /// The life in which a connection is known, and lives if there is such a one.
    fn life_of(&self, number: u64) -> Option<&Life> {
        if self.others.is_empty() {
            return Some(&self.life);
        }
        let knows = |life: &&Life| life.connections.get(number).is_some();
        let is_live = |life: &&Life| knows(life) && !life.connections.has_ended(number);
        self.lives().find(is_live).or_else(|| self.lives().find(knows))
    }

    /// What is known of a connection.
    fn known(&self, number: Option<u64>) -> Option<&Connection> {
        let number = number?;
        self.life_of(number)?.connections.get(number)
    }

    /// What the log says of a line that claims to be from this connection, and from `peer` if it
    /// states an address. Where several lives are possible, nothing is held against what one of them
    /// confirms.
    fn standing(&self, number: Option<u64>, peer: Option<Peer>) -> Standing {
        let own = self.life.connections.standing(number, peer);
        if self.others.is_empty() || number.is_none() {
            return own;
        }
        let own = if self.life.is_voter() { own } else { Standing::Contradicted };
        if own == Standing::Confirmed && !self.life.is_doubtful {
            return own;
        }
        let mut is_possible = own != Standing::Contradicted || self.is_life_lost;
        for life in &self.others {
            let standing = life.connections.standing(number, peer);
            if standing == Standing::Confirmed && self.life.is_doubtful && !life.is_doubtful {
                return standing;
            }
            is_possible |= standing != Standing::Contradicted;
        }
        if is_possible { Standing::Unknown } else { Standing::Contradicted }
    }

    /// A connection says something else, or ends: what it announced was not refused.
    fn settle(&mut self, connection: Option<u64>, out: &mut Batch) {
        let is_its = |announced: &(u64, Access)| Some(announced.0) == connection;
        if let Some(at) = self.announced.iter().position(is_its)
            && let Some((_, access)) = self.announced.remove(at)
        {
            hand_out(access, out);
        }
    }

    fn settle_all(&mut self, out: &mut Batch) {
        for (_, access) in std::mem::take(&mut self.announced) {
            hand_out(access, out);
        }
    }

    /// The connection's outcome is known: what it announced was this.
    fn fulfil(&mut self, connection: Option<u64>) {
        self.announced.retain(|(number, _)| Some(*number) != connection);
    }

    /// Remembers who logged in.
    fn log_in(&mut self, connection: Option<u64>, principal: &Principal) {
        let Some(number) = connection else { return };
        let is_kept = match principal {
            Principal::User { name, database } => name.len() + database.len() <= LOGIN_BYTES_MAX,
            _ => false,
        };
        for life in self.others.iter_mut().chain([&mut self.life]) {
            if let Some(known) = life.connections.get_mut(number) {
                known.login = is_kept.then(|| Box::new(principal.clone()));
            }
        }
    }

    /// Who logged in last.
    fn login(&self, connection: Option<u64>) -> Option<Principal> {
        self.known(connection)?.login.as_deref().cloned()
    }

    /// What the rest of the log says of a line that a client may have written.
    fn judged(&self, connection: Option<u64>, peer: Option<Peer>, is_success: bool) -> Classes {
        match self.standing(connection, peer) {
            Standing::Contradicted => Classes::NONE.with(Class::Suspect),
            Standing::Unknown if is_success => Classes::NONE.with(Class::Unconfirmed),
            Standing::Unknown | Standing::Confirmed => Classes::NONE,
        }
    }

    fn set_version(&mut self, version: Option<Version>) {
        if version.is_some() {
            self.life.version = version;
            self.life.has_version = true;
            self.life.start_line();
        }
    }

    fn set_switch(
        &mut self,
        switch: Switch,
        value: bool,
        cause: Cause,
        at: Timestamp,
        out: &mut Batch,
    ) {
        let hides = switch.hides(value, self.life.version.as_ref());
        if cause == Cause::Start {
            self.life.has_options = true;
            self.life.start_line();
        }
        if switch == Switch::Quiet && value {
            self.life.connections.is_quiet = true;
        }
        self.blindness.set(switch, hides, cause, at, &self.target, &mut out.coverage);
    }

    fn actor(&self, connection: Option<u64>) -> Option<Actor> {
        let principal = self.login(connection)?;
        let accepted = self.known(connection)?.accepted;
        Some(Actor { principal, peer: accepted.unwrap_or(Peer::Unknown) })
    }

    /// Joins what other lines say, and hands the event out.
    fn emit(&mut self, draft: Draft<'_>, raw: &[u8], out: &mut Batch) {
        let access = self.access(draft, raw);
        hand_out(access, out);
    }

    fn access(&mut self, draft: Draft<'_>, raw: &[u8]) -> Access {
        let life = draft.connection.and_then(|number| self.life_of(number)).unwrap_or(&self.life);
        let connection = draft.connection.and_then(|number| life.connections.get(number));
        let joined = connection.and_then(|connection| connection.accepted);
        let peer_joined = draft.peer.is_none() && joined.is_some();
        let client = draft.client.or_else(|| connection.and_then(|c| c.client.clone()));
        let mut classes = draft.classes;
        if draft.time.is_doubtful {
            classes.insert(Class::Clock);
        }
        Access {
            target: self.target.clone(),
            event_time: draft.time.at,
            written_time: draft.time.written(),
            action: draft.action,
            outcome: draft.outcome,
            principal: draft.principal,
            mechanism: draft.mechanism,
            peer: draft.peer.or(joined).unwrap_or(Peer::Unknown),
            peer_joined,
            connection: draft.connection,
            process_start: life.started,
            client,
            speculative: draft.speculative,
            classes,
            attributes: draft.attributes,
            raw: raw.to_vec(),
            task_id: None,
        }
    }

    fn quarantine(&mut self, reason: &str, line: &[u8], place: LinePlace, out: &mut Batch) {
        let bytes = line[..line.len().min(Quarantine::BYTES_MAX)].to_vec();
        out.size_bytes += bytes.len();
        out.quarantine.push(Quarantine {
            target: self.target.clone(),
            reason: reason.into(),
            place: self.place(place),
            bytes,
            length_bytes: line.len() as u64,
            sha256: Sha256::digest(line).into(),
        });
    }

    fn place(&self, place: LinePlace) -> Place {
        Place { file: self.file.clone(), line: place.line, offset_bytes: place.offset_bytes }
    }

    fn count_unknown_id(&mut self, id: u64, message: &[u8], out: &mut Batch) {
        let version = self.life.version.as_ref().map(|version| version.text.clone());
        let message = || Text::from_bytes_lossy(&message[..message.len().min(200)]);
        self.unknown_ids.entry((id, version)).or_insert_with(|| (0, message())).0 += 1;
        if self.unknown_ids.len() >= UNKNOWN_IDS_MAX {
            self.hand_out_unknown_ids(out);
        }
    }

    fn hand_out_unknown_ids(&mut self, out: &mut Batch) {
        for ((id, version), (count, message)) in std::mem::take(&mut self.unknown_ids) {
            out.unknown_ids.push(UnknownId { id, version, count, message });
        }
    }
}

/// Whether a line (without its transport's wrapping) can become a record or say anything of one. Lines of
/// text can, all of them: what is within a record is known only beside its neighbours.
pub fn may_matter(line: &[u8]) -> bool {
    match line.first() {
        None => false,
        Some(b'{') => json_lines::may_matter(line),
        Some(_) => {
            facts::looks_like_access(line)
                || line_time(line, &jiff::tz::TimeZone::UTC, None).is_some()
        }
    }
}

fn hand_out(access: Access, out: &mut Batch) {
    out.size_bytes += access.raw.len();
    out.accesses.push(access);
}

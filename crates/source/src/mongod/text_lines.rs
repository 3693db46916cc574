//! Lines of versions up to 4.2.
//!
//! Everything here assumes that a client may have written the line; see the module's documentation
//! on forged lines.

use doorbook_event::{Action, Class, Classes, Outcome, Peer, Principal, Text};
use memchr::memmem;

use super::blindness::{Cause, Switch};
use super::connections::{Connection, Standing};
use super::facts::{self, Version};
use super::text::{self, Failure, Prefix, Said};
use super::time::Time;
use super::{
    ANNOUNCED_MAX, Draft, Format, Interpreter, JSON_BYTES_CERTAIN, Life, LinePlace, PART, hand_out,
};
use crate::Batch;

/// A record that goes on for longer than 256 lines or 64 KiB is not waited for: mongod cuts records
/// at 10 kB, and what waits here is not yet in the history. Whether a record ends is asked of all of
/// its lines at each new one, so there is a bound for the lines, too; it leaves
/// room for a name with a hundred line breaks that the reason repeats.
const RECORD_LINES_MAX: usize = 256;
const RECORD_BYTES_MAX: usize = 64 << 10;

/// A record whose end has not come yet: its physical lines.
#[derive(Debug, Default)]
pub(super) struct Continued {
    lines: Vec<(Vec<u8>, LinePlace)>,
    size_bytes: usize,
}

impl Continued {
    fn push(&mut self, line: &[u8], place: LinePlace) {
        self.size_bytes += line.len() + 1;
        self.lines.push((line.to_vec(), place));
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= RECORD_LINES_MAX || self.size_bytes >= RECORD_BYTES_MAX
    }

    fn joined(&self) -> Vec<u8> {
        let lines: Vec<&[u8]> = self.lines.iter().map(|(line, _)| line.as_slice()).collect();
        lines.join(&b'\n')
    }
}

/// A line with its parts.
#[derive(Clone, Copy)]
struct TextLine<'a> {
    raw: &'a [u8],
    place: LinePlace,
    time: Time<'a>,
    prefix: Prefix<'a>,
    connection: Option<u64>,
}

impl Interpreter {
    pub(super) fn text_line(
        &mut self,
        line: &[u8],
        place: LinePlace,
        may_continue: bool,
        out: &mut Batch,
    ) {
        let Some(parts) = self.parts(line, place) else {
            if facts::looks_like_access(line) {
                self.quarantine("the line's beginning cannot be read", line, place, out);
            }
            return;
        };
        self.saw_time(parts.time.at, out);
        self.saw_text();
        self.life.shows_severity |= parts.prefix.severity.is_some();
        self.shows_severity |= parts.prefix.severity.is_some();
        self.life.has_lines |= parts.connection.is_some();
        let Prefix { component, message, .. } = parts.prefix;
        if parts.prefix.severity == Some(b'D') {
            return;
        }
        match component {
            b"ACCESS" => self.text_access(parts, may_continue, out),
            b"NETWORK" => self.text_network(parts, may_continue, out),
            b"CONTROL" => self.text_control(parts, out),
            // 2.4 and 2.6 have no components.
            b"" => match message.first() {
                Some(b'c' | b'e' | b'r') => self.text_network(parts, may_continue, out),
                Some(b'*' | b'M' | b'd' | b'o') => self.text_control(parts, out),
                _ => self.text_access(parts, may_continue, out),
            },
            // mongos writes its start to another component.
            _ if parts.prefix.context == b"mongosMain" => self.text_control(parts, out),
            _ => {}
        }
    }

    fn parts<'a>(&mut self, line: &'a [u8], place: LinePlace) -> Option<TextLine<'a>> {
        let (time, length) = self.times.prefix(line)?;
        let rest = &line[length..];
        let prefix = text::prefix(rest.strip_suffix(b"\r").unwrap_or(rest))?;
        let connection = text::connection_number(prefix.context);
        Some(TextLine { raw: line, place, time, prefix, connection })
    }

    /// The parts of a line that may be forged: its time does not tell the year of the next lines.
    fn doubted_parts<'a>(&mut self, line: &'a [u8], place: LinePlace) -> Option<TextLine<'a>> {
        let year = self.times.year();
        let parts = self.parts(line, place);
        self.times.set_year(year);
        parts
    }

    /// What a record says, if its connection was accepted from one of the addresses that are known.
    fn said<'a>(&self, message: &'a [u8], connection: Option<u64>) -> Said<'a> {
        let lives = [&self.life].into_iter().chain(&self.others);
        let mut addresses = lives
            .filter_map(|life| life.connections.get(connection?))
            .flat_map(Connection::addresses);
        let mut said = text::said(message, addresses.next());
        for address in addresses {
            if said == Said::Open {
                said = text::said(message, Some(address));
            }
        }
        said
    }

    /// Whether lines of a login end with an address here. Not all of 3.6 and 4.0 do, so there the log
    /// must have shown it; below, what a client wrote must not show anything.
    fn needs_client(&self) -> bool {
        match self.life.version.as_ref().map(|version| version.number) {
            Some(number) if number < (3, 6) => false,
            Some(number) if number >= (4, 2) => true,
            _ => self.life.shows_client,
        }
    }

    /// Whether this is a log of 2.6 or older, whose lines have neither severity nor component.
    fn is_before_severities(&self) -> bool {
        let is_old = match &self.life.version {
            Some(version) => version.number < (3, 0),
            None => !self.shows_severity,
        };
        is_old && !self.life.shows_severity && !self.life.is_doubtful
    }

    fn text_access(&mut self, line: TextLine<'_>, may_continue: bool, out: &mut Batch) {
        let mut said = self.said(line.prefix.message, line.connection);
        if matches!(said, Said::Success { client: None, .. }) && self.needs_client() {
            said = Said::Open;
        }
        if line.prefix.component == b"ACCESS" && line.prefix.message.len() < 4 {
            said = Said::Cut;
        }
        if said == Said::Open {
            if may_continue {
                return self.wait_for_end(line);
            }
            said = text::said_leniently(line.prefix.message);
        }
        self.text_event(line, said, out);
    }

    fn text_event(&mut self, line: TextLine<'_>, said: Said<'_>, out: &mut Batch) {
        match said {
            Said::Success { user, database, client } => {
                self.text_success(line, user, database, client, out);
            }
            Said::Failure(failure) => self.text_failure(line, failure, out),
            Said::Announced { user, database, mechanism } => {
                self.text_announcement(line, user.unwrap_or_default(), database, mechanism, out);
            }
            Said::Restricted { user, database, reason } => {
                let reason = Some(Text::from_bytes_lossy(reason));
                let mut draft = self.text_draft(line, None, false);
                draft.principal = self.user(user, database);
                draft.outcome = Outcome::Failure { reason, code: None };
                draft.classes = draft.classes.with(Class::Inferred);
                self.emit(draft, line.raw, out);
            }
            Said::Denied => {
                let reason = Some(Text::from_bytes_lossy(line.prefix.message));
                let mut draft = self.text_draft(line, None, false);
                draft.action = Action::Authorize;
                draft.outcome = Outcome::Failure { reason, code: None };
                draft.principal = self.login(line.connection).unwrap_or(Principal::Unauthenticated);
                self.emit(draft, line.raw, out);
            }
            Said::Open | Said::Cut => {
                self.quarantine("the line is not whole", line.raw, line.place, out)
            }
            Said::Other => self.settle(line.connection, out),
        }
    }

    fn text_success(
        &mut self,
        line: TextLine<'_>,
        user: &[u8],
        database: &[u8],
        client: Option<&[u8]>,
        out: &mut Batch,
    ) {
        let mut draft = self.text_draft(line, client, true);
        draft.outcome = Outcome::Success;
        draft.principal = self.user(user, database);
        draft.classes = self.text_classes(draft.classes, line.connection, user);
        if draft.classes.contains(Class::Suspect) {
            return self.emit(draft, line.raw, out);
        }
        self.life.shows_client |= client.is_some();
        // An announcement and its outcome are one attempt.
        self.fulfil(line.connection);
        self.log_in(line.connection, &draft.principal);
        self.emit(draft, line.raw, out);
    }

    fn text_failure(&mut self, line: TextLine<'_>, failure: Failure<'_>, out: &mut Batch) {
        let mut draft = self.text_draft(line, failure.client, false);
        let reason = (!failure.reason.is_empty()).then(|| self.texts.text(failure.reason));
        draft.outcome = Outcome::Failure { reason, code: None };
        draft.principal = self.user(failure.user, failure.database);
        draft.mechanism = failure.mechanism.map(|mechanism| self.texts.text(mechanism));
        draft.classes = self.text_classes(draft.classes, line.connection, failure.user);
        if failure.is_truncated {
            let yes = self.words.yes.clone();
            draft.attributes.insert(self.words.truncated.clone(), yes);
        }
        if !draft.classes.contains(Class::Suspect) {
            self.fulfil(line.connection);
        }
        self.emit(draft, line.raw, out);
    }

    /// Up to 2.6 (lines without component) a MONGODB-CR login that succeeds has no other line. Later
    /// versions announce and then say how it ended, or say nothing if it failed early.
    fn text_announcement(
        &mut self,
        line: TextLine<'_>,
        user: &[u8],
        database: &[u8],
        mechanism: Option<&[u8]>,
        out: &mut Batch,
    ) {
        self.settle(line.connection, out);
        let is_implied = mechanism.is_none_or(|mechanism| mechanism == b"MONGODB-CR");
        let (None, true) = (line.prefix.severity, is_implied) else { return };
        let mut draft = self.text_draft(line, None, true);
        if !self.is_before_severities() {
            // mongod did not write this line.
            draft.classes = Classes::NONE.with(Class::Suspect);
        }
        draft.outcome = Outcome::Success;
        draft.principal = self.user(user, database);
        draft.mechanism = mechanism.map(|mechanism| self.texts.text(mechanism));
        draft.classes = self.text_classes(draft.classes, line.connection, user);
        draft.classes.insert(Class::Inferred);
        let is_suspect = draft.classes.contains(Class::Suspect);
        self.log_in(line.connection.filter(|_| !is_suspect), &draft.principal);
        let access = self.access(draft, line.raw);
        match line.connection {
            Some(number) if !is_suspect => self.announced.push_back((number, access)),
            _ => hand_out(access, out),
        }
        if self.announced.len() > ANNOUNCED_MAX {
            let oldest = self.announced.front().map(|(number, _)| *number);
            self.settle(oldest, out);
        }
    }

    /// Adds what the user's name says.
    fn text_classes(&self, classes: Classes, connection: Option<u64>, user: &[u8]) -> Classes {
        let known = self.known(connection);
        let client = known.and_then(|known| known.client.as_ref());
        let application = client.and_then(|client| client.application.as_deref());
        classes.iter().chain(facts::classes_of(user, false, application).iter()).collect()
    }

    /// The line's event, as far as every kind has it, judged by what the log says elsewhere.
    fn text_draft<'a>(
        &self,
        line: TextLine<'a>,
        client: Option<&[u8]>,
        is_success: bool,
    ) -> Draft<'a> {
        let address = client.map(|client| text::peer(client).unwrap_or(Peer::Unknown));
        let classes = self.judged(line.connection, address, is_success);
        let mut draft = Draft {
            time: line.time,
            action: Action::Authenticate,
            outcome: Outcome::Unknown,
            principal: Principal::Unauthenticated,
            mechanism: None,
            peer: address,
            connection: line.connection,
            client: None,
            speculative: None,
            classes,
            attributes: Default::default(),
        };
        // It speaks after its end, from its own address: one of the two lines is forged.
        let has_ended = self.known(line.connection).is_some_and(Connection::has_ended);
        if has_ended && classes.contains(Class::Unconfirmed) {
            let yes = self.words.yes.clone();
            draft.attributes.insert(self.words.ended.clone(), yes);
        }
        if address == Some(Peer::Unknown) {
            let text = Text::from_bytes_lossy(client.unwrap_or_default());
            draft.attributes.insert(self.words.client.clone(), text);
        }
        draft
    }

    fn text_network(&mut self, line: TextLine<'_>, may_continue: bool, out: &mut Batch) {
        let message = line.prefix.message;
        if let Some((peer, number)) = text::accepted(message) {
            // Connections do not accept connections.
            if line.connection.is_none() {
                self.accept(number, peer);
            }
        } else if let Some(peer) = text::ended(message) {
            if let Some(number) = line.connection {
                self.end(number, Some(peer), out);
            }
        } else if message.starts_with(text::METADATA) {
            match text::metadata(message) {
                Some(said) => self.text_metadata(line, said),
                None if may_continue => self.wait_for_end(line),
                None => {}
            }
        } else {
            self.settle(line.connection, out);
        }
    }

    fn text_metadata(&mut self, line: TextLine<'_>, said: (Peer, u64, &[u8])) {
        let (peer, number, document) = said;
        if line.connection != Some(number) {
            return;
        }
        let lives = || [&self.life].into_iter().chain(&self.others);
        let accepted = |life: &Life| life.connections.get(number).and_then(|known| known.accepted);
        let is_new = lives().all(|life| accepted(life).is_none());
        if !is_new && !lives().any(|life| accepted(life) == Some(peer)) {
            return;
        }
        let Some(client) = self.clients.of_text(document) else { return };
        if is_new {
            self.life.connections.entry(number).client = Some(client);
            return;
        }
        for life in self.others.iter_mut().chain([&mut self.life]) {
            if let Some(known) = life.connections.get_mut(number)
                && known.accepted == Some(peer)
            {
                known.client = Some(client.clone());
            }
        }
    }

    fn text_control(&mut self, line: TextLine<'_>, out: &mut Batch) {
        let message = line.prefix.message;
        let at = line.time.at;
        let is_of_connection = line.connection.is_some();
        let is_start =
            [&b"***** SERVER RESTARTED *****"[..], b"MongoDB starting : ", b"MongoS version "]
                .iter()
                .any(|start| message.starts_with(start))
                || line.prefix.context == b"mongosMain" && message.starts_with(b"mongos version ");
        if is_start && !is_of_connection {
            self.format = Format::Text { json_bytes: 0 };
            self.start_life(at, out);
        }
        let version = [&b"db version "[..], b"MongoS version ", b"mongos version "]
            .iter()
            .find_map(|start| message.strip_prefix(*start));
        if let Some(version) = version {
            self.set_version(Version::parse(version));
        } else if let Some(options) = message.strip_prefix(b"options: {") {
            let quiet = text::option(options, b"quiet").unwrap_or(false);
            self.set_switch(Switch::Quiet, quiet, Cause::Start, at, out);
            self.blindness.options_seen();
        } else if line.prefix.severity.is_none() {
            self.settle(line.connection, out);
        }
    }

    /// The next physical line of a record that has not ended.
    pub(super) fn continue_record(&mut self, line: &[u8], place: LinePlace, out: &mut Batch) {
        // No text can be open in a log that is JSON by now.
        let is_json = line.first() == Some(&b'{') && self.is_certain();
        if is_json || self.is_anothers_record(line, place) {
            self.give_up_record(out);
            return self.single_line(line, place, true, out);
        }
        let Some(mut record) = self.continued.take() else { return };
        record.push(line, place);
        let joined = record.joined();
        let (_, first_place) = record.lines[0];
        if let Some(parts) = self.parts(&joined, first_place)
            && self.ends_record(parts, out)
        {
            for (inner, place) in &record.lines[1..] {
                self.forged_success(inner, *place, out);
            }
            return;
        }
        let is_full = record.is_full();
        self.continued = Some(record);
        if is_full {
            self.give_up_record(out);
        }
    }

    /// Whether a line within an open record is a whole record of another connection, with the address
    /// that this one was accepted from. That is better evidence than a record that is still open.
    fn is_anothers_record(&mut self, line: &[u8], place: LinePlace) -> bool {
        let Some(record) = &self.continued else { return false };
        let (first, first_place) = record.lines[0].clone();
        let own = self.doubted_parts(&first, first_place).and_then(|parts| parts.connection);
        let Some(parts) = self.doubted_parts(line, place) else { return false };
        let message = parts.prefix.message;
        let stated = match text::ended(message) {
            Some(peer) => Some(peer),
            None => match self.said(message, parts.connection) {
                Said::Success { client, .. } => client.and_then(text::peer),
                Said::Failure(failure) => failure.client.and_then(text::peer),
                _ => text::metadata(message).map(|(peer, ..)| peer),
            },
        };
        parts.connection != own
            && stated.is_some()
            && self.standing(parts.connection, stated) == Standing::Confirmed
    }

    fn wait_for_end(&mut self, line: TextLine<'_>) {
        let mut record = Continued::default();
        record.push(line.raw, line.place);
        self.continued = Some(record);
    }

    /// Whether the joined lines are a whole record, which is then taken.
    fn ends_record(&mut self, record: TextLine<'_>, out: &mut Batch) -> bool {
        if record.prefix.message.starts_with(text::METADATA) {
            let said = text::metadata(record.prefix.message);
            if let Some(said) = said {
                self.text_metadata(record, said);
            }
            return said.is_some();
        }
        let said = self.said(record.prefix.message, record.connection);
        let lacks_client = matches!(said, Said::Success { client: None, .. });
        if said == Said::Open || lacks_client && self.needs_client() {
            return false;
        }
        self.text_event(record, said, out);
        true
    }

    /// The end of a record does not come. Its first line is real; each other one is either a part of
    /// it or real, and nobody can tell.
    pub(super) fn give_up_record(&mut self, out: &mut Batch) {
        let Some(record) = self.continued.take() else { return };
        let is_json = |line: &[u8]| line.first() == Some(&b'{');
        let json = record.lines.iter().filter(|(line, _)| is_json(line));
        // More than one record of text holds: the server was upgraded behind a record that was cut.
        let is_upgraded = json.map(|(line, _)| line.len()).sum::<usize>() >= JSON_BYTES_CERTAIN;
        let mut lines = record.lines.into_iter();
        if let Some((line, place)) = lines.next() {
            self.single_line(&line, place, false, out);
        }
        for (line, place) in lines {
            if is_upgraded && is_json(&line) {
                self.single_line(&line, place, false, out);
            } else {
                self.absorbed(&line, place, out);
            }
        }
    }

    /// A line of a record that was given up. It changes no state but for this: a connection that it
    /// says was accepted is not held to be one that never was.
    fn absorbed(&mut self, line: &[u8], place: LinePlace, out: &mut Batch) {
        if self.forged_success(line, place, out) {
            return;
        }
        let Some(parts) = self.doubted_parts(line, place) else {
            if facts::looks_like_access(line) {
                self.quarantine(PART, line, place, out);
            }
            return;
        };
        let message = parts.prefix.message;
        if parts.connection.is_none()
            && let Some((peer, number)) = text::accepted(message)
        {
            for life in self.others.iter_mut().chain([&mut self.life]) {
                life.connections.claim(number, peer);
            }
            return;
        }
        let said = self.said(message, parts.connection);
        if let Said::Failure(failure) = said {
            let stated = failure.client.and_then(text::peer);
            let standing = self.standing(parts.connection, stated);
            if stated.is_some() && standing == Standing::Confirmed {
                return self.text_failure(parts, failure, out);
            }
        }
        if said != Said::Other {
            self.quarantine(PART, line, place, out);
        }
    }

    /// A line within a record, that claims to be a login; whether it does.
    fn forged_success(&mut self, line: &[u8], place: LinePlace, out: &mut Batch) -> bool {
        if memmem::find(line, b"Successfully authenticated").is_none() {
            return false;
        }
        let Some(parts) = self.doubted_parts(line, place) else { return false };
        let Some(claim) = text::claimed_success(parts.prefix.message) else { return false };
        let mut draft = self.text_draft(parts, claim.client, true);
        draft.outcome = Outcome::Success;
        draft.principal = self.user(claim.user, claim.database);
        draft.classes = Classes::NONE.with(Class::Suspect);
        // What is known of the connection that it names is not known of this line.
        draft.connection = None;
        draft.peer.get_or_insert(Peer::Unknown);
        let mut access = self.access(draft, parts.raw);
        access.connection = parts.connection;
        hand_out(access, out);
        true
    }
}

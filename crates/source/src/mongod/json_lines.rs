//! Lines of 4.4 and later.
//!
//! The head is always written in the same order and padding (`{"t":{"$date":"…"},"s":"I",
//! "c":"ACCESS",   "id":20250,   …`), so it is compared, not parsed; a line that is written
//! differently is valid all the same and takes the slow way. Only the head decides what a line is:
//! a slow query may hold any text that a login line holds.

use doorbook_event::{
    Action, Class, Classes, Client, Outcome, Peer, Principal, Shared, Text, Timestamp,
};

use super::blindness::{Cause, Switch};
use super::client::Clients;
use super::connections::RefusedStart;
use super::facts::{self, Version, id};
use super::text::{connection_number, peer};
use super::time::Time;
use super::{Draft, Interpreter, LinePlace};
use crate::Batch;
use crate::json::{self, Cursor, JsonText, Value};

/// How long after a refused speculative start its fallback comes at most.
const FALLBACK_MICROS_MAX: i64 = 2_000_000;

/// What decides what a line is.
struct Head<'a> {
    time: &'a [u8],
    severity: &'a [u8],
    component: &'a [u8],
    id: u64,
    /// Behind the opening brace or a comma.
    cursor: Cursor<'a>,
}

/// What follows the head, but for `attr`.
#[derive(Default)]
struct Tail<'a> {
    context: &'a [u8],
    message: &'a [u8],
    is_truncated: bool,
    /// The client, if its document was read before.
    client: Option<Shared<Client>>,
}

/// The members of `attr` that any message has.
#[derive(Default)]
struct Fields<'a> {
    mechanism: Option<JsonText<'a>>,
    user: Option<Value<'a>>,
    database: Option<JsonText<'a>>,
    client: Option<JsonText<'a>>,
    error: Option<Value<'a>>,
    result: Option<Value<'a>>,
    reason: Option<JsonText<'a>>,
    speculative: Option<bool>,
    cluster_member: Option<bool>,
    document: Option<&'a [u8]>,
    connection: Option<u64>,
    parameter: Option<JsonText<'a>>,
    new_value: Option<Value<'a>>,
    options: Option<&'a [u8]>,
    build: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn set(&mut self, key: &'a [u8], value: Value<'a>) {
        match key {
            b"mechanism" => self.mechanism = value.text(),
            b"user" | b"principalName" => self.user = Some(value),
            b"db" | b"authenticationDatabase" => self.database = value.text(),
            // `client metadata` has both, and there `client` is the connection's name.
            b"remote" => self.client = value.text(),
            b"client" if self.client.is_none() => self.client = value.text(),
            b"error" | b"errmsg" => self.error = Some(value),
            b"result" => self.result = Some(value),
            b"reason" => self.reason = value.text(),
            b"speculative" | b"isSpeculative" => self.speculative = value.truth(),
            b"isClusterMember" => self.cluster_member = value.truth(),
            b"doc" => self.document = value.object(),
            b"connectionId" => self.connection = value.integer().and_then(|n| n.try_into().ok()),
            b"parameterName" => self.parameter = value.text(),
            b"newValue" => self.new_value = Some(value),
            b"options" => self.options = value.object(),
            b"buildInfo" => self.build = value.object(),
            _ => {}
        }
    }
}

/// The component of a line of which perhaps only the beginning is there.
pub fn component(line: &[u8]) -> Option<&[u8]> {
    fast_head(line).map(|head| head.component)
}

/// The id of a line, by its head alone where that is written as usual.
pub fn id_of_head(line: &[u8]) -> Option<u64> {
    fast_head(line).or_else(|| slow_head(line)).map(|head| head.id)
}

/// What a line has for its time.
pub fn time_of_head(line: &[u8]) -> Option<&[u8]> {
    fast_head(line).or_else(|| slow_head(line)).map(|head| head.time)
}

/// Whether a line can become a record, or say anything of one.
pub fn may_matter(line: &[u8]) -> bool {
    match fast_head(line).or_else(|| slow_head(line)) {
        Some(head) if head.component.eq_ignore_ascii_case(b"ACCESS") => {
            head.severity.first() != Some(&b'D') && !facts::is_context(head.id)
        }
        Some(head) => is_read(head.id) || head.id == id::PROCESS_DETAILS,
        None => match is_access_without_head(line) {
            Some(is_access) => is_access,
            None => facts::looks_like_access(line),
        },
    }
}

/// Whether a line of another component than that of accesses is read.
fn is_read(id: u64) -> bool {
    matches!(
        id,
        id::ACCEPTED
            | id::ENDED
            | id::METADATA
            | id::STARTING
            | id::RESTARTED
            | id::BUILD_INFO
            | id::OPTIONS
            | id::PARAMETER_SET
    )
}

impl Interpreter {
    pub(super) fn json_line(&mut self, line: &[u8], place: LinePlace, out: &mut Batch) {
        let Some(head) = fast_head(line).or_else(|| slow_head(line)) else {
            match is_access_without_head(line) {
                Some(true) => self.quarantine("the head cannot be read", line, place, out),
                // A whole object that is no log line (an audit record, another program's line) is
                // not ours to judge.
                Some(false) => {}
                None if facts::looks_like_access(line) => {
                    self.quarantine("the line is not whole", line, place, out);
                }
                None => {}
            }
            return;
        };
        let is_access = head.component == b"ACCESS";
        let Some(at) = self.times.iso(head.time) else {
            if is_access && head.severity.first() != Some(&b'D') {
                self.quarantine("the time cannot be read", line, place, out);
            }
            return;
        };
        self.saw_time(at, out);
        self.saw_json(line.len());
        if is_access {
            if head.severity.first() != Some(&b'D') {
                self.access_line(&head, at, line, place, out);
            }
        } else if head.component.eq_ignore_ascii_case(b"ACCESS") {
            // mongod writes no such line; what rewrote it may have changed more than the case.
            self.quarantine("the component is not written as mongod does", line, place, out);
        } else {
            self.context_line(&head, at, out);
        }
    }

    fn access_line(
        &mut self,
        head: &Head<'_>,
        at: Timestamp,
        line: &[u8],
        place: LinePlace,
        out: &mut Batch,
    ) {
        if facts::is_context(head.id) {
            return;
        }
        let mut fields = Fields::default();
        let set = |key, value| {
            fields.set(key, value);
            Needed::More
        };
        let Some(tail) = tail(head, &self.clients, set) else {
            return self.quarantine("the line is not whole", line, place, out);
        };
        let event = match head.id {
            id if head.severity != b"I" && facts::is_event(id) => {
                return self.quarantine("the severity is not that of an event", line, place, out);
            }
            id::SUCCEEDED | id::COMMAND_SUCCEEDED => self.attempt(&fields, &tail, at, true),
            id::FAILED | id::COMMAND_FAILED => self.attempt(&fields, &tail, at, false),
            id::SUCCEEDED_7 | id::FAILED_7 => {
                self.disprove_quiet();
                // The line of a success has its code too; one that is none is not believed.
                let code = fields.result.and_then(Value::integer).unwrap_or(0);
                let is_success = head.id == id::SUCCEEDED_7 && code == 0;
                self.attempt(&fields, &tail, at, is_success)
            }
            id::RESTRICTED => self.restricted(&fields, &tail, at),
            id::DENIED => Some(self.denied(&fields, &tail, at)),
            unknown => return self.count_unknown_id(unknown, tail.message, out),
        };
        match event {
            Some(draft) => self.emit(draft, line, out),
            None => self.quarantine("the user is missing", line, place, out),
        }
    }

    /// An authentication. `None` if it does not say whose.
    fn attempt<'a>(
        &mut self,
        fields: &Fields<'a>,
        tail: &Tail<'a>,
        at: Timestamp,
        is_success: bool,
    ) -> Option<Draft<'a>> {
        let principal = self.principal(fields, tail)?;
        let connection = connection_number(tail.context);
        let client = self.client(fields, tail);
        let mut draft = self.draft(fields, tail, at, is_success);
        draft.outcome = if is_success { Outcome::Success } else { self.failure(fields) };
        draft.mechanism = fields.mechanism.map(|mechanism| self.texts.text(&mechanism.bytes()));
        draft.speculative = fields.speculative;
        if let Principal::User { name, .. } = &principal {
            let joined = connection.and_then(|number| self.life.connections.get(number));
            let client = client.as_ref().or_else(|| joined.and_then(|c| c.client.as_ref()));
            let application = client.and_then(|client| client.application.as_deref());
            let is_member = fields.cluster_member == Some(true);
            let classes = facts::classes_of(name.as_bytes(), is_member, application);
            draft.classes = draft.classes.iter().chain(classes.iter()).collect();
            let is_fallback = self.is_fallback(name, &draft, is_success);
            if is_fallback {
                draft.classes.insert(Class::Retry);
            }
        }
        if is_success && !draft.classes.contains(Class::Suspect) {
            self.log_in(connection, &principal);
        }
        draft.principal = principal;
        draft.client = client;
        if fields.cluster_member == Some(true) {
            let yes = self.words.yes.clone();
            draft.attributes.insert(self.words.cluster_member.clone(), yes);
        }
        Some(draft)
    }

    /// Whether this is the fallback after a refused speculative start; leaves behind what the next
    /// line on the connection needs to know.
    fn is_fallback(&mut self, user: &Text, draft: &Draft<'_>, is_success: bool) -> bool {
        let Some(number) = draft.connection else { return false };
        let is_start = !is_success && draft.speculative == Some(true);
        let user = crate::intern::hash(user.as_bytes());
        let now = is_start.then_some(RefusedStart { user, at: draft.time.at });
        let known = match self.life.connections.get_mut(number) {
            Some(known) => known,
            // A file may begin after the connection did; the pair is a pair all the same.
            None if is_start => self.life.connections.entry(number),
            None => return false,
        };
        let before = std::mem::replace(&mut known.refused_start, now);
        let may_be = !is_success && draft.speculative == Some(false);
        before.filter(|before| may_be && before.user == user).is_some_and(|before| {
            let later = draft.time.at.micros().saturating_sub(before.at.micros());
            (0..=FALLBACK_MICROS_MAX).contains(&later)
        })
    }

    fn client(&mut self, fields: &Fields<'_>, tail: &Tail<'_>) -> Option<Shared<Client>> {
        let read = || self.clients.of_json(fields.document?);
        tail.client.clone().or_else(read)
    }

    fn restricted<'a>(
        &mut self,
        fields: &Fields<'a>,
        tail: &Tail<'a>,
        at: Timestamp,
    ) -> Option<Draft<'a>> {
        let principal = self.principal(fields, tail)?;
        let mut draft = self.draft(fields, tail, at, false);
        let reason = fields.reason.map(|reason| self.texts.text(&reason.bytes()));
        draft.outcome = Outcome::Failure { reason, code: None };
        draft.principal = principal;
        draft.classes.insert(Class::Inferred);
        Some(draft)
    }

    fn denied<'a>(&mut self, fields: &Fields<'a>, tail: &Tail<'a>, at: Timestamp) -> Draft<'a> {
        let mut draft = self.draft(fields, tail, at, false);
        draft.action = Action::Authorize;
        draft.outcome = self.failure(fields);
        draft.principal = self.login(draft.connection).unwrap_or(Principal::Unauthenticated);
        draft
    }

    fn draft<'a>(
        &self,
        fields: &Fields<'a>,
        tail: &Tail<'a>,
        at: Timestamp,
        is_success: bool,
    ) -> Draft<'a> {
        let stated = fields.client.map(JsonText::bytes);
        let address = stated.as_deref().map(|text| peer(text).unwrap_or(Peer::Unknown));
        let mut draft = Draft {
            time: Time { at, partial: None, is_doubtful: false },
            action: Action::Authenticate,
            outcome: Outcome::Unknown,
            principal: Principal::Unauthenticated,
            mechanism: None,
            peer: address,
            connection: connection_number(tail.context),
            client: None,
            speculative: None,
            classes: Classes::NONE,
            attributes: Default::default(),
        };
        if !self.is_certain() {
            draft.classes = self.judged(draft.connection, address, is_success);
        }
        if address == Some(Peer::Unknown) {
            let text = Text::from_bytes_lossy(&stated.unwrap_or_default());
            draft.attributes.insert(self.words.client.clone(), text);
        }
        if tail.is_truncated {
            let yes = self.words.yes.clone();
            draft.attributes.insert(self.words.truncated.clone(), yes);
        }
        draft
    }

    /// `user` and `db`, or 4.4's `user: "u@db"`, or `user: {user, db}`.
    fn principal(&mut self, fields: &Fields<'_>, tail: &Tail<'_>) -> Option<Principal> {
        let (user, database) = match (fields.user, fields.database) {
            (Some(Value::Text(user)), Some(database)) => (user.bytes(), database.bytes()),
            (Some(Value::Text(user)), None) => {
                let both = user.bytes();
                let at = memchr::memrchr(b'@', &both);
                let (user, database) =
                    at.map_or((&both[..], &b""[..]), |at| (&both[..at], &both[at + 1..]));
                return Some(self.user(user, database));
            }
            (Some(Value::Object(inner)), _) => {
                let text = |key: &[u8]| json::at_path(inner, &[key]).and_then(Value::text);
                (text(b"user")?.bytes(), text(b"db").map(JsonText::bytes).unwrap_or_default())
            }
            // mongod drops a whole value where a line is far beyond `maxLogSizeKB`.
            (None, _) if tail.is_truncated => return Some(Principal::Unauthenticated),
            _ => return None,
        };
        Some(self.user(&user, &database))
    }

    pub(super) fn user(&mut self, name: &[u8], database: &[u8]) -> Principal {
        Principal::User { name: self.texts.text(name), database: self.texts.text(database) }
    }

    /// `error` is a text or `{code, codeName, errmsg}`; 4.4 writes `result` instead, 7.0 both.
    fn failure(&mut self, fields: &Fields<'_>) -> Outcome {
        let code = fields.result.and_then(Value::integer);
        match fields.error.or(fields.result) {
            Some(Value::Text(reason)) => {
                Outcome::Failure { reason: Some(self.texts.text(&reason.bytes())), code }
            }
            Some(Value::Object(error)) => {
                let member = |key: &[u8]| json::at_path(error, &[key]);
                let text = |key: &[u8]| member(key).and_then(Value::text).map(JsonText::bytes);
                let reason = match (text(b"codeName"), text(b"errmsg")) {
                    (Some(name), Some(message)) => Some([&name[..], b": ", &message[..]].concat()),
                    (name, message) => name.or(message).map(|text| text.into_owned()),
                };
                let reason = reason.map(|reason| Text::from_bytes_lossy(&reason));
                Outcome::Failure { reason, code: code.or(member(b"code").and_then(Value::integer)) }
            }
            _ => Outcome::Failure { reason: None, code },
        }
    }

    /// Lines of this generation are not hidden by `quiet`; a gap that was opened without knowing
    /// the version was none.
    fn disprove_quiet(&mut self) {
        if self.life.version.is_none() && self.blindness.is_open(Switch::Quiet) {
            self.blindness.disprove(Switch::Quiet);
        }
    }

    /// A line of another component. Broken ones say nothing.
    fn context_line(&mut self, head: &Head<'_>, at: Timestamp, out: &mut Batch) {
        if !is_read(head.id) {
            return;
        }
        if head.id == id::ENDED
            && self.is_certain()
            && let Some(number) = context(head).and_then(connection_number)
        {
            // Where the line may be forged its address is compared, for which it is read whole.
            return self.end(number, None, out);
        }
        let mut fields = Fields::default();
        let set = |key, value| {
            fields.set(key, value);
            match head.id {
                id::ACCEPTED if fields.connection.is_some() && fields.client.is_some() => {
                    Needed::No
                }
                id::METADATA if fields.document.is_some() => Needed::No,
                _ => Needed::More,
            }
        };
        let Some(tail) = tail(head, &self.clients, set) else { return };
        let connection = connection_number(tail.context);
        match head.id {
            id::ACCEPTED => {
                let address = fields.client.map(|client| peer(&client.bytes()));
                if let (Some(number), Some(address)) = (fields.connection, address) {
                    self.accept(number, address.unwrap_or(Peer::Unknown));
                }
            }
            id::ENDED => {
                let stated = fields.client.and_then(|client| peer(&client.bytes()));
                if let Some(number) = fields.connection {
                    self.end(number, stated, out);
                }
            }
            id::METADATA => {
                let client = self.client(&fields, &tail);
                if let (Some(number), Some(client)) = (connection, client) {
                    self.life.connections.entry(number).client = Some(client);
                }
            }
            id::STARTING | id::RESTARTED => self.start_life(at, out),
            id::BUILD_INFO => self.build_info(&fields, &tail, at, out),
            id::OPTIONS => self.options(&fields, at, out),
            _ => self.parameter_set(&fields, connection, at, out),
        }
    }

    fn build_info(&mut self, fields: &Fields<'_>, tail: &Tail<'_>, at: Timestamp, out: &mut Batch) {
        // mongos has no line of its own for its start; a rotated file repeats this line under the
        // connection or signal that asked for the rotation.
        if tail.context == b"mongosMain" {
            self.start_life(at, out);
        }
        let version = fields.build.and_then(|build| json::at_path(build, &[b"version"]));
        let version = version.and_then(Value::text);
        self.set_version(version.and_then(|version| Version::parse(&version.bytes())));
    }

    fn options(&mut self, fields: &Fields<'_>, at: Timestamp, out: &mut Batch) {
        let options = fields.options.unwrap_or(b"{}");
        let truth = |path: &[&[u8]]| json::at_path(options, path).and_then(Value::truth);
        let quiet = truth(&[b"systemLog", b"quiet"]).or(truth(&[b"setParameter", b"quiet"]));
        let health = truth(&[b"setParameter", Switch::Health.parameter().as_bytes()]);
        self.set_switch(Switch::Quiet, quiet.unwrap_or(false), Cause::Start, at, out);
        self.set_switch(Switch::Health, health.unwrap_or(true), Cause::Start, at, out);
        self.blindness.options_seen();
    }

    fn parameter_set(
        &mut self,
        fields: &Fields<'_>,
        connection: Option<u64>,
        at: Timestamp,
        out: &mut Batch,
    ) {
        let switch = fields.parameter.and_then(|name| Switch::of_parameter(name.raw));
        let value = fields.new_value.and_then(|value| match value {
            Value::Object(inner) => {
                let mut found = None;
                json::members(inner, |_, value| found = found.or(value.truth()))?;
                found
            }
            value => value.truth(),
        });
        if let (Some(switch), Some(value)) = (switch, value) {
            let cause = Cause::RunTime(self.actor(connection));
            self.set_switch(switch, value, cause, at, out);
        }
    }
}

fn fast_head(line: &[u8]) -> Option<Head<'_>> {
    let rest = line.strip_prefix(br#"{"t":{"$date":""#)?;
    let length = match (rest.get(29), rest.get(24)) {
        (Some(b'"'), _) => 29,
        (_, Some(b'"')) => 24,
        _ => return None,
    };
    let (time, rest) = rest.split_at(length);
    let rest = rest.strip_prefix(br#""},"s":""#)?;
    let length = if rest.get(1) == Some(&b'"') { 1 } else { 2 };
    let (severity, rest) = rest.split_at_checked(length)?;
    let rest = rest.strip_prefix(b"\",")?.trim_ascii_start().strip_prefix(br#""c":""#)?;
    let length = rest.iter().take(16).position(|b| *b == b'"')?;
    let (component, rest) = rest.split_at(length);
    let rest = rest.strip_prefix(b"\",")?.trim_ascii_start().strip_prefix(br#""id":"#)?;
    let mut id = 0u64;
    let mut digits = 0;
    while let Some(b) = rest.get(digits).filter(|b| b.is_ascii_digit()) {
        if digits == 18 {
            return None;
        }
        id = id * 10 + u64::from(b - b'0');
        digits += 1;
    }
    let rest = rest[digits..].strip_prefix(b",")?;
    let cursor = Cursor::new(line, line.len() - rest.len());
    Some(Head { time, severity, component, id, cursor })
}

/// A head in any order and spacing; the line must be whole.
fn slow_head(line: &[u8]) -> Option<Head<'_>> {
    let (mut time, mut severity, mut component, mut id) = (None, None, None, None);
    json::members(line, |key, value| match key {
        b"t" => {
            let date = value.object().and_then(|t| json::at_path(t, &[b"$date"]));
            time = date.and_then(Value::text).or(value.text());
        }
        b"s" => severity = value.text(),
        b"c" => component = value.text(),
        b"id" => id = value.integer(),
        _ => {}
    })?;
    let mut cursor = Cursor::new(line, 0);
    cursor.eat(b'{')?;
    Some(Head {
        time: time?.raw,
        severity: severity?.raw,
        component: component?.raw,
        id: u64::try_from(id?).ok()?,
        cursor,
    })
}

/// Whether a line whose head is not that of mongod says all the same, at its top, that it is of the
/// access component (with an id or a time of another type, say). `None` if the line is not whole.
fn is_access_without_head(line: &[u8]) -> Option<bool> {
    let mut is_access = false;
    json::members(line, |key, value| {
        if key == b"c" {
            let component = value.text().map(|text| text.raw);
            is_access |= component.is_some_and(|c| c.eq_ignore_ascii_case(b"ACCESS"));
        }
    })?;
    Some(is_access)
}

/// Whether the reader of a line needs more of its attributes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needed {
    More,
    No,
}

/// The thread of a line.
fn context<'a>(head: &Head<'a>) -> Option<&'a [u8]> {
    let mut cursor = head.cursor;
    let mut first = true;
    while let Some(key) = cursor.key(first)? {
        first = false;
        let value = cursor.value()?;
        if key.raw == b"ctx" {
            return value.text().map(|context| context.raw);
        }
    }
    None
}

/// The rest of a line. `None` if it is not whole, as far as it is needed.
fn tail<'a>(
    head: &Head<'a>,
    clients: &Clients,
    mut on_attribute: impl FnMut(&'a [u8], Value<'a>) -> Needed,
) -> Option<Tail<'a>> {
    let mut cursor = head.cursor;
    let mut tail = Tail::default();
    let mut first = true;
    while let Some(key) = cursor.key(first)? {
        first = false;
        match key.raw {
            b"ctx" => tail.context = cursor.string()?.raw,
            b"msg" => tail.message = cursor.string()?.raw,
            b"attr" => {
                cursor.eat(b'{')?;
                let mut first = true;
                while let Some(key) = cursor.key(first)? {
                    first = false;
                    if key.raw == b"doc"
                        && let Some((client, length)) = known_client(cursor.rest(), clients)
                    {
                        cursor.advance(length);
                        tail.client = Some(client);
                        continue;
                    }
                    let value = cursor.value()?;
                    if on_attribute(key.raw, value) == Needed::No {
                        return Some(tail);
                    }
                }
            }
            b"truncated" => {
                tail.is_truncated = true;
                cursor.value()?;
            }
            _ => {
                cursor.value()?;
            }
        }
    }
    cursor.is_done().then_some(tail)
}

/// The client whose document `rest` begins with, and the document's length. A guess at where the
/// document ends saves looking for it: if what was read before is exactly what stands there, the
/// guess is right.
fn known_client(rest: &[u8], clients: &Clients) -> Option<(Shared<Client>, usize)> {
    let ends = [&b",\"extraInfo\":{}}}"[..], b"}}"];
    let length = rest.len() - ends.iter().find(|end| rest.ends_with(end))?.len();
    Some((clients.known(&rest[..length])?, length))
}

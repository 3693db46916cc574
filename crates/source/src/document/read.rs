//! Lines to events.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use doorbook_event::record::Facts;
use doorbook_event::{
    Access, Action, Attributes, Class, Classes, Client, Outcome, Peer, Principal, Target, Text,
    Timestamp, WrittenTime,
};
use jiff::tz::TimeZone;

use super::client::Clients;
use super::members::Member;
use super::shape::{Named, Shape};
use super::{ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTES_MAX, LINE_BYTES_MAX};
use crate::intern::Texts;
use crate::json::{Cursor, Value};
use crate::mongod::time::Times;

/// Reads lines. Remembers what repeats, so one reader should read many; its memory is bounded.
pub struct Reader {
    texts: Texts,
    clients: Clients,
    times: Times,
    shape: Shape,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// Someone came to a target.
    Event(Box<Access>),
    /// More about an event that was sent before.
    About(Box<About>),
}

/// More about an event that was sent before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The event, by its public id.
    pub id: Text,
    /// When it happened, as this sender claims.
    pub time: Option<Timestamp>,
    /// What becomes known; nothing of a mere sighting.
    pub facts: Facts,
    /// The source's record.
    pub raw: Vec<u8>,
}

/// Why a line is no event; names the member where it is one member's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub Text);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Unreadable {}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            texts: Texts::default(),
            clients: Clients::default(),
            times: Times::new(TimeZone::UTC),
            shape: Shape::default(),
        }
    }
}

impl Reader {
    /// What a line says.
    pub fn line(&mut self, line: &[u8]) -> Result<Line, Unreadable> {
        let mut fields = self.fields(line)?;
        match fields.amends.take() {
            Some(id) => fields.about(id, self).map(|about| Line::About(Box::new(about))),
            None => fields.finish(self).map(|access| Line::Event(Box::new(access))),
        }
    }

    /// The event of a line, its target as the sender names it.
    pub fn read(&mut self, line: &[u8]) -> Result<Access, Unreadable> {
        match self.line(line)? {
            Line::Event(access) => Ok(*access),
            Line::About(_) => Err(unreadable("the line is about another event")),
        }
    }

    fn fields(&mut self, line: &[u8]) -> Result<Fields, Unreadable> {
        if line.len() > LINE_BYTES_MAX {
            return Err(unreadable("the line is longer than 65536 bytes"));
        }
        if std::str::from_utf8(line).is_err() {
            return Err(unreadable("the line is not UTF-8"));
        }
        let mut fields = Fields::default();
        let mut cursor = Cursor::new(line, 0);
        cursor.eat(b'{').ok_or_else(|| unreadable("the line is not a JSON object"))?;
        // Every byte, without a way out between them: so it is done by vectors.
        let has_controls = line.iter().fold(false, |found, byte| found | (*byte < b' '));
        self.members(&mut fields, &mut cursor, has_controls)?;
        if !cursor.is_done() {
            return Err(unreadable("something follows the JSON object"));
        }
        Ok(fields)
    }

    /// A text, shared if it was seen before.
    pub fn text(&mut self, text: &str) -> Text {
        self.texts.text(text.as_bytes())
    }

    /// The members of an event, whose brace has been taken.
    fn members(
        &mut self,
        fields: &mut Fields,
        cursor: &mut Cursor<'_>,
        has_controls: bool,
    ) -> Result<(), Unreadable> {
        for place in 0.. {
            if let Some((name, member)) = self.shape.take_name(place, cursor) {
                let text = member.and_then(|member| fields.text(member));
                if let Some(text) = text
                    && let Some(known) = self.shape.take_text(place, cursor)
                {
                    *text = Some(known.clone());
                    fields.see(name, member)?;
                    continue;
                }
                let json = value(cursor)?;
                self.member(fields, place, (name, member), json, has_controls)?;
                continue;
            }
            let before = cursor.rest();
            let Some(name) = name(cursor, place == 0, has_controls)? else { break };
            let member = Member::named(&name);
            if let Cow::Borrowed(name) = name {
                let written = &before[..before.len() - cursor.rest().len()];
                self.shape.remember_name(place, written, (name, member));
            }
            let json = value(cursor)?;
            self.member(fields, place, (&name, member), json, has_controls)?;
        }
        Ok(())
    }

    fn member<'a>(
        &mut self,
        fields: &mut Fields,
        place: usize,
        (name, member): Named<'_>,
        json: Json<'a>,
        has_controls: bool,
    ) -> Result<(), Unreadable> {
        let wrong = |what: &str| wrong(name, what);
        let Some(member) = member else {
            return self.attribute(&mut fields.attributes, name, json, has_controls);
        };
        fields.see(name, Some(member))?;
        if json.written == b"null" {
            return Ok(());
        }
        let plain = || -> Result<Cow<'a, [u8]>, Unreadable> {
            json.text(has_controls).ok_or_else(|| wrong("is not a text"))
        };
        let truth = || json.truth().ok_or_else(|| wrong("is neither true nor false"));
        if let Some(field) = fields.text(member) {
            let written = plain()?;
            let text = self.texts.text(&written);
            if matches!(written, Cow::Borrowed(_)) {
                self.shape.remember_text(place, &text);
            }
            *field = Some(text);
            return Ok(());
        }
        match member {
            Member::Time => fields.time = Some(self.time(name, &plain()?)?),
            Member::Action => {
                fields.action = Some(match &*plain()? {
                    b"authenticate" => Action::Authenticate,
                    b"authorize" => Action::Authorize,
                    word => Action::of_arrays()
                        .find(|action| action.word().as_bytes() == word)
                        .ok_or_else(|| wrong(NO_ACTION))?,
                });
            }
            Member::Outcome => {
                fields.outcome = match &*plain()? {
                    b"success" => Word::Success,
                    b"failure" => Word::Failure,
                    b"unknown" => Word::Unknown,
                    _ => return Err(wrong("is none of success, failure, unknown")),
                };
            }
            Member::Code => fields.code = Some(json.integer().map_err(wrong)?),
            Member::Address => {
                let address = parse::<IpAddr>(&plain()?);
                fields.address = Some(address.ok_or_else(|| wrong("is not an IP address"))?);
            }
            Member::Port => fields.port = Some(json.integer().map_err(wrong)?),
            Member::UnixSocket => fields.unix_socket = truth()?,
            Member::AddressJoined => fields.address_joined = truth()?,
            Member::Connection => fields.connection = Some(json.integer().map_err(wrong)?),
            Member::ProcessStart => fields.process_start = Some(self.time(name, &plain()?)?),
            Member::Origin => {
                let origin = origin(&plain()?).ok_or_else(|| wrong(NO_ORIGIN))?;
                fields.client.origin = Some(origin);
            }
            Member::Speculative => fields.speculative = Some(truth()?),
            Member::Classes => {
                fields.classes = classes(json.written)
                    .ok_or_else(|| wrong("is not a list of classes that there are"))?;
            }
            Member::Attributes => {
                let Value::Object(object) = json.value else {
                    return Err(wrong("is not an object"));
                };
                let mut cursor = Cursor::new(object, 1);
                let mut first = true;
                while let Some(name) = self::name(&mut cursor, first, has_controls)? {
                    first = false;
                    let json = value(&mut cursor)?;
                    self.attribute(&mut fields.attributes, &name, json, has_controls)?;
                }
            }
            Member::Raw => fields.raw = Some(plain()?.into_owned()),
            Member::RawBase64 => {
                let bytes = STANDARD.decode(&*plain()?);
                fields.raw_base64 = Some(bytes.map_err(|_| wrong("is not base64"))?);
            }
            // Read above, as texts.
            Member::Amends
            | Member::WrittenTime
            | Member::Cluster
            | Member::Host
            | Member::Namespace
            | Member::Array
            | Member::Reason
            | Member::User
            | Member::Database
            | Member::Mechanism
            | Member::Application
            | Member::Driver
            | Member::DriverVersion
            | Member::Os
            | Member::Platform
            | Member::Via
            | Member::TaskId => {}
        }
        Ok(())
    }

    /// What has no column: texts as they are, other values as they are written.
    fn attribute(
        &mut self,
        attributes: &mut Attributes,
        name: &[u8],
        json: Json<'_>,
        has_controls: bool,
    ) -> Result<(), Unreadable> {
        let wrong = |what: &str| wrong(name, what);
        if name.is_empty() || name.len() > ATTRIBUTE_NAME_BYTES_MAX {
            return Err(wrong("is not a name of 1 to 128 bytes"));
        }
        let value = match json.value {
            _ if json.written == b"null" => return Ok(()),
            Value::Text(_) => {
                let text = json.text(has_controls);
                self.texts.text(&text.ok_or_else(|| wrong("is not a text"))?)
            }
            Value::Object(_) | Value::Array | Value::Plain(_) => {
                let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(json.written).is_ok();
                if !is_json {
                    return Err(wrong("is not JSON"));
                }
                self.texts.text(json.written)
            }
        };
        if attributes.len() == ATTRIBUTES_MAX {
            return Err(unreadable("there are more than 128 attributes"));
        }
        match attributes.insert(self.texts.text(name), value) {
            None => Ok(()),
            Some(_) => Err(wrong("stands there twice")),
        }
    }

    fn time(&mut self, name: &[u8], text: &[u8]) -> Result<Timestamp, Unreadable> {
        // The common forms first; then whatever else names one instant.
        let time = self.times.iso(text).or_else(|| parse(text));
        match time {
            None => Err(wrong(name, "is not a time such as 2026-11-23T02:45:14.292Z")),
            // The ends stand for everything beyond them. Of two such times nobody could tell which
            // was sent, or that they were two.
            Some(Timestamp::MIN | Timestamp::MAX) => Err(wrong(name, "is out of range")),
            Some(time) => Ok(time),
        }
    }
}

/// A value and how it is written.
#[derive(Clone, Copy)]
struct Json<'a> {
    value: Value<'a>,
    written: &'a [u8],
}

impl<'a> Json<'a> {
    fn text(&self, has_controls: bool) -> Option<Cow<'a, [u8]>> {
        let text = self.value.text()?;
        if !text.is_escaped() && !has_controls {
            return Some(Cow::Borrowed(text.raw));
        }
        strict(self.written).map(|text| Cow::Owned(text.into_bytes()))
    }

    fn truth(&self) -> Option<bool> {
        match self.written {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// JSON writes an integer in one way: no sign but a minus, no leading zero.
    fn integer<T: FromStr>(&self) -> Result<T, &'static str> {
        let digits = self.written.strip_prefix(b"-").unwrap_or(self.written);
        let is_integer = digits.iter().all(u8::is_ascii_digit)
            && !digits.is_empty()
            && (digits == b"0" || digits[0] != b'0');
        if !is_integer {
            return Err("is not an integer");
        }
        parse(self.written).ok_or("is out of range")
    }
}

/// What was read of a line so far.
#[derive(Default)]
struct Fields {
    /// One bit per [`Member`].
    seen: u64,
    amends: Option<Text>,
    time: Option<Timestamp>,
    written_time: Option<Text>,
    cluster: Option<Text>,
    host: Option<Text>,
    namespace: Option<Text>,
    array: Option<Text>,
    action: Option<Action>,
    outcome: Word,
    reason: Option<Text>,
    code: Option<i64>,
    user: Option<Text>,
    database: Option<Text>,
    mechanism: Option<Text>,
    address: Option<IpAddr>,
    port: Option<u16>,
    unix_socket: bool,
    address_joined: bool,
    connection: Option<u64>,
    process_start: Option<Timestamp>,
    client: Client,
    speculative: Option<bool>,
    classes: Classes,
    task_id: Option<Text>,
    attributes: Attributes,
    raw: Option<Vec<u8>>,
    raw_base64: Option<Vec<u8>>,
}

/// How it ended, while the reason may still come.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Word {
    Success,
    Failure,
    #[default]
    Unknown,
}

impl Fields {
    /// A member is there, for the first time.
    #[inline]
    fn see(&mut self, name: &[u8], member: Option<Member>) -> Result<(), Unreadable> {
        let bit = member.map_or(0, |member| 1_u64 << member as u32);
        if self.seen & bit != 0 {
            return Err(wrong(name, "stands there twice"));
        }
        self.seen |= bit;
        Ok(())
    }

    /// Where the text of a member belongs that is one.
    #[inline]
    fn text(&mut self, member: Member) -> Option<&mut Option<Text>> {
        let client = &mut self.client;
        Some(match member {
            Member::Amends => &mut self.amends,
            Member::WrittenTime => &mut self.written_time,
            Member::Cluster => &mut self.cluster,
            Member::Host => &mut self.host,
            Member::Namespace => &mut self.namespace,
            Member::Array => &mut self.array,
            Member::Reason => &mut self.reason,
            Member::User => &mut self.user,
            Member::Database => &mut self.database,
            Member::Mechanism => &mut self.mechanism,
            Member::Application => &mut client.application,
            Member::Driver => &mut client.driver,
            Member::DriverVersion => &mut client.driver_version,
            Member::Os => &mut client.os,
            Member::Platform => &mut client.platform,
            Member::Via => &mut client.via,
            Member::TaskId => &mut self.task_id,
            _ => return None,
        })
    }

    fn finish(mut self, reader: &mut Reader) -> Result<Access, Unreadable> {
        let peer = self.peer()?;
        let outcome = self.outcome()?;
        let principal = self.principal(reader)?.unwrap_or(Principal::Unauthenticated);
        let raw = self.raw()?;
        let target = match (self.cluster, self.host, self.namespace, self.array) {
            (Some(cluster), Some(host), None, None) => Target::Host { cluster, host },
            (None, None, Some(namespace), Some(array)) => Target::Array { namespace, array },
            (Some(_), None, None, None) => return Err(unreadable("host is missing")),
            (None, Some(_), None, None) => return Err(unreadable("cluster is missing")),
            _ => return Err(unreadable("neither cluster and host nor namespace and array")),
        };
        let action = match (&target, self.action) {
            (Target::Array { .. }, None) => return Err(unreadable("action is missing")),
            (Target::Array { .. }, Some(action)) if !action.is_of_arrays() => {
                return Err(unreadable("action is none of an array's"));
            }
            (Target::Host { .. }, Some(action)) if action.is_of_arrays() => {
                return Err(unreadable("action is neither authenticate nor authorize"));
            }
            (_, action) => action.unwrap_or(Action::Authenticate),
        };
        Ok(Access {
            target,
            event_time: self.time.ok_or_else(|| unreadable("time is missing"))?,
            written_time: self.written_time.map_or(WrittenTime::Complete, WrittenTime::Partial),
            action,
            outcome,
            principal,
            mechanism: self.mechanism,
            peer,
            peer_joined: self.address_joined,
            connection: self.connection,
            process_start: self.process_start,
            client: reader.clients.share(self.client),
            speculative: self.speculative,
            classes: self.classes,
            attributes: self.attributes,
            raw,
            task_id: self.task_id,
        })
    }

    /// What is the event's own for good cannot be told by another record: it is no attribute either,
    /// since its sender means something by it.
    fn about(mut self, id: Text, reader: &mut Reader) -> Result<About, Unreadable> {
        let own = [
            ("cluster", self.cluster.is_some()),
            ("host", self.host.is_some()),
            ("namespace", self.namespace.is_some()),
            ("array", self.array.is_some()),
            ("action", self.action.is_some()),
            ("written_time", self.written_time.is_some()),
            ("address_joined", self.address_joined),
            ("connection", self.connection.is_some()),
            ("process_start", self.process_start.is_some()),
            ("speculative", self.speculative.is_some()),
            ("classes", self.classes != Classes::NONE),
        ];
        if let Some((name, _)) = own.into_iter().find(|(_, is_there)| *is_there) {
            return Err(wrong(name.as_bytes(), "is the event's own and cannot be amended"));
        }
        let peer = Some(self.peer()?).filter(|peer| *peer != Peer::Unknown);
        let outcome = Some(self.outcome()?).filter(|outcome| *outcome != Outcome::Unknown);
        let facts = Facts {
            principal: self.principal(reader)?,
            peer,
            mechanism: self.mechanism.take(),
            client: Some(self.client.clone()).filter(|client| *client != Client::default()),
            task_id: self.task_id.take(),
            outcome,
            attributes: std::mem::take(&mut self.attributes),
        };
        if facts.is_empty() && self.time.is_none() {
            return Err(unreadable("neither time nor anything that amends the event"));
        }
        Ok(About { id, time: self.time, facts, raw: self.raw()? })
    }

    fn outcome(&mut self) -> Result<Outcome, Unreadable> {
        let (reason, code) = (self.reason.take(), self.code);
        match self.outcome {
            Word::Failure => Ok(Outcome::Failure { reason, code }),
            _ if reason.is_some() => Err(unreadable("reason without a failure")),
            _ if code.is_some() => Err(unreadable("code without a failure")),
            Word::Success => Ok(Outcome::Success),
            Word::Unknown => Ok(Outcome::Unknown),
        }
    }

    fn principal(&mut self, reader: &mut Reader) -> Result<Option<Principal>, Unreadable> {
        match (self.user.take(), self.database.take()) {
            (Some(name), database) => {
                let database = database.unwrap_or_else(|| reader.text(""));
                Ok(Some(Principal::User { name, database }))
            }
            (None, Some(_)) => Err(unreadable("database without user")),
            (None, None) => Ok(None),
        }
    }

    fn raw(&mut self) -> Result<Vec<u8>, Unreadable> {
        match (self.raw.take(), self.raw_base64.take()) {
            (Some(_), Some(_)) => Err(unreadable("both raw and raw_base64")),
            (raw, base64) => Ok(raw.or(base64).unwrap_or_default()),
        }
    }

    fn peer(&self) -> Result<Peer, Unreadable> {
        match (self.address, self.port, self.unix_socket) {
            (Some(_), _, true) => Err(unreadable("both address and unix_socket")),
            (None, Some(_), _) => Err(unreadable("port without address")),
            (Some(address), port, false) => Ok(Peer::ip(address, port)),
            (None, None, true) => Ok(Peer::UnixSocket),
            (None, None, false) => Ok(Peer::Unknown),
        }
    }
}

/// The name of an object's next member, or its end. Borrowed is one without escapes.
fn name<'a>(
    cursor: &mut Cursor<'a>,
    first: bool,
    has_controls: bool,
) -> Result<Option<Cow<'a, [u8]>>, Unreadable> {
    let before = cursor.rest();
    let Some(name) = cursor.key(first).ok_or_else(broken)? else { return Ok(None) };
    if !name.is_escaped() && !has_controls {
        return Ok(Some(Cow::Borrowed(name.raw)));
    }
    // The comma, the colon and blanks around them are not part of the name.
    let begin = memchr::memchr(b'"', before).ok_or_else(broken)?;
    let name = strict(&before[begin..begin + name.raw.len() + 2]).ok_or_else(broken)?;
    Ok(Some(Cow::Owned(name.into_bytes())))
}

fn value<'a>(cursor: &mut Cursor<'a>) -> Result<Json<'a>, Unreadable> {
    cursor.skip_space();
    let before = cursor.rest();
    let value = cursor.value().ok_or_else(broken)?;
    Ok(Json { value, written: &before[..before.len() - cursor.rest().len()] })
}

fn broken() -> Unreadable {
    unreadable("the line is not JSON")
}

const NO_ACTION: &str =
    "is neither authenticate nor authorize, nor anything that is done to an array";

const NO_ORIGIN: &str = "is not an address, with or without port, or unix";

/// As [`Peer`] shows itself.
fn origin(text: &[u8]) -> Option<Peer> {
    if text == b"unix" {
        return Some(Peer::UnixSocket);
    }
    let with_port = parse::<SocketAddr>(text).map(|peer| Peer::ip(peer.ip(), Some(peer.port())));
    with_port.or_else(|| parse(text).map(|address| Peer::ip(address, None)))
}

fn classes(json: &[u8]) -> Option<Classes> {
    let words: Vec<Cow<'_, str>> = serde_json::from_slice(json).ok()?;
    words
        .iter()
        .try_fold(Classes::NONE, |classes, word| Some(classes.with(Class::from_word(word)?)))
}

fn parse<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A JSON string with its quotes, every escape and control character checked.
fn strict(json: &[u8]) -> Option<String> {
    serde_json::from_slice(json).ok()
}

fn unreadable(reason: &str) -> Unreadable {
    Unreadable(reason.into())
}

/// The name may be anything a sender thinks of; a reason is for people.
fn wrong(name: &[u8], what: &str) -> Unreadable {
    let name: String = String::from_utf8_lossy(name).chars().take(64).collect();
    Unreadable(format!("{name} {what}").into())
}

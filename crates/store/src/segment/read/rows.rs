//! From pages of columns back to rows: what makes each the event that it is, and the whole record.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use doorbook_event::identity::{Identity, Written, stated_object, stated_user};
use doorbook_event::record::{Place, Quarantine};
use doorbook_event::{
    Access, Action, Classes, Client, Outcome, Peer, Principal, Record, Shared, Target, Text,
    Timestamp, WrittenTime,
};

use crate::error::Error;
use crate::memtable::{Row, kind};
use crate::segment::decode::{Page, TextPage};
use crate::segment::{QuarantineFacts, SegmentMeta, UNIX_SOCKET};

/// Some columns of some rows.
pub(crate) struct Columns<'b> {
    /// The rows' numbers in the file.
    pub(super) rows: &'b [usize],
    /// For each column the page that holds all of these rows, and the page's first row.
    pub(super) pages: Vec<(&'b str, Arc<Page>, usize)>,
    pub(super) meta: &'b SegmentMeta,
    pub(super) path: &'b Path,
}

/// What tells quarantined bytes apart.
pub(crate) type LengthAndHash = (u64, [u8; 32]);

/// An access, or what of it could not be made out.
type Readable = Result<Access, &'static str>;

/// A column of texts.
#[derive(Clone, Copy)]
pub(crate) struct Texts<'b> {
    page: &'b TextPage,
    rows: &'b [usize],
    first: usize,
}

impl<'b> Texts<'b> {
    pub(crate) fn get(&self, row: usize) -> Option<&'b str> {
        self.page.get(self.rows[row] - self.first)
    }

    /// The text, shared with everyone who asks for it.
    fn shared(&self, row: usize) -> Option<Text> {
        self.page.shared(self.rows[row] - self.first)
    }

    /// A number that stands for the text within this page.
    fn id(&self, row: usize) -> usize {
        self.page.ids.get(self.rows[row] - self.first)
    }
}

impl<'b> Columns<'b> {
    fn damaged(&self, what: &str) -> Error {
        Error::damaged(self.path, what)
    }

    fn page(&self, name: &str) -> Result<(&Page, usize), Error> {
        let page = self.pages.iter().find(|(known, ..)| *known == name);
        let (_, page, first) = page.ok_or_else(|| self.damaged(&format!("no column {name}")))?;
        Ok((&**page, *first))
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Texts<'_>, Error> {
        match self.page(name)? {
            (Page::Texts(page), first) => Ok(Texts { page, rows: self.rows, first }),
            _ => Err(self.damaged(&format!("column {name} holds no texts"))),
        }
    }

    fn numbers(&self, name: &str) -> Result<impl Fn(usize) -> Option<i64>, Error> {
        match self.page(name)? {
            (Page::Ints(page), first) => Ok(move |row: usize| page.get(self.rows[row] - first)),
            _ => Err(self.damaged(&format!("column {name} holds no numbers"))),
        }
    }

    fn bools(&self, name: &str) -> Result<impl Fn(usize) -> Option<bool>, Error> {
        let flags = self.numbers(name)?;
        Ok(move |row| flags(row).map(|flag| flag != 0))
    }

    /// Each row's position in its log.
    pub(crate) fn seqs(&self) -> Result<impl Fn(usize) -> u64, Error> {
        let seqs = self.numbers("seq")?;
        let base = self.meta.base_seq;
        Ok(move |row| base.saturating_add(seqs(row).unwrap_or(0) as u64))
    }

    pub(crate) fn event_times(&self) -> Result<impl Fn(usize) -> Timestamp, Error> {
        let times = self.numbers("event_time")?;
        Ok(move |row| Timestamp::from_micros(times(row).unwrap_or(0)))
    }

    pub(crate) fn kinds(&self) -> Result<impl Fn(usize) -> u8, Error> {
        let kinds = self.numbers("kind")?;
        Ok(move |row| kinds(row).and_then(|kind| u8::try_from(kind).ok()).unwrap_or(0))
    }

    pub(crate) fn classes(&self) -> Result<impl Fn(usize) -> Classes, Error> {
        let classes = self.numbers("classes")?;
        Ok(move |row| Classes::from_bits(classes(row).unwrap_or(0) as u16))
    }

    /// The columns that make a whole row.
    pub(super) const WHOLE: [&'static str; 35] = [
        "kind",
        "cluster",
        "host",
        "target_kind",
        "event_time",
        "seq",
        "ingest_time",
        "source",
        "action",
        "outcome",
        "principal_kind",
        "principal",
        "principal_database",
        "mechanism",
        "address",
        "port",
        "address_joined",
        "connection",
        "process_start",
        "written_time",
        "reason",
        "code",
        "speculative",
        "classes",
        "application",
        "driver",
        "driver_version",
        "os",
        "platform",
        "via",
        "origin",
        "attributes",
        "task_id",
        "raw",
        "raw_encoding",
    ];

    /// The columns that [`Columns::identities`] needs, the last one for objects only.
    pub(crate) const IDENTITY: [&'static str; 19] = [
        "kind",
        "cluster",
        "host",
        "event_time",
        "seq",
        "action",
        "outcome",
        "principal_kind",
        "principal",
        "principal_database",
        "mechanism",
        "address",
        "port",
        "address_joined",
        "connection",
        "written_time",
        "reason",
        "speculative",
        "attributes",
    ];

    /// What makes each row the event it is; `None` for a row that is no access. Without objects, events of
    /// arrays that have one are other events.
    pub(crate) fn identities<'c>(
        &'c self,
        with_objects: bool,
    ) -> Result<impl Fn(usize) -> Result<Option<Identity<'c>>, Error>, Error> {
        let kinds = self.kinds()?;
        let (clusters, hosts) = (self.texts("cluster")?, self.texts("host")?);
        let times = self.event_times()?;
        let (actions, outcomes) = (self.texts("action")?, self.texts("outcome")?);
        let principal_kinds = self.texts("principal_kind")?;
        let (principals, databases) = (self.texts("principal")?, self.texts("principal_database")?);
        let (mechanisms, addresses) = (self.texts("mechanism")?, self.texts("address")?);
        let ports = self.numbers("port")?;
        let joined = self.bools("address_joined")?;
        let connections = self.numbers("connection")?;
        let (written, reasons) = (self.texts("written_time")?, self.texts("reason")?);
        let speculative = self.bools("speculative")?;
        let attributes = if with_objects { Some(self.texts("attributes")?) } else { None };
        let path = self.path;
        Ok(move |row| {
            if kinds(row) != kind::ACCESS {
                return Ok(None);
            }
            let unknown = |what: &str| Error::damaged(path, format!("unknown {what}"));
            let action = actions.get(row).and_then(Action::from_word);
            let outcome = outcomes.get(row).and_then(outcome_word);
            let peer = peer(addresses.get(row), ports(row)).ok_or_else(|| unknown("address"))?;
            let is_user = principal_kinds.get(row) == Some("user");
            let (name, database) = (principals.get(row), databases.get(row));
            let outcome = outcome.ok_or_else(|| unknown("outcome"))?;
            let action = action.ok_or_else(|| unknown("action"))?;
            let attributes = attributes.as_ref().and_then(|attributes| attributes.get(row));
            if let Some(object) = stated_object(action, attributes.and_then(object)) {
                let (group, member) = (clusters.get(row), hosts.get(row));
                let names = (group.unwrap_or(""), member.unwrap_or(""));
                return Ok(Some(Identity::of_object(names.0, names.1, action, object)));
            }
            Ok(Some(Identity {
                object: None,
                group: clusters.get(row).unwrap_or(""),
                member: hosts.get(row).unwrap_or(""),
                action,
                connection: connections(row).map(|number| number as u64),
                written_time: match written.get(row) {
                    Some(text) => Written::Text(text),
                    None => Written::Instant(times(row)),
                },
                user: is_user
                    .then(|| stated_user(action, name.unwrap_or(""), database.unwrap_or("")))
                    .flatten(),
                mechanism: mechanisms.get(row),
                outcome,
                reason: reasons.get(row),
                address: match (joined(row), peer) {
                    (Some(true), _) => None,
                    (_, Peer::Ip { address, port }) => Some((address, port)),
                    _ => None,
                },
                speculative: speculative(row),
            }))
        })
    }

    /// Length and SHA-256 of each row's bytes; `None` for a row that is no quarantine.
    pub(crate) fn quarantined(
        &self,
    ) -> Result<impl Fn(usize) -> Result<Option<LengthAndHash>, Error>, Error> {
        let kinds = self.kinds()?;
        let attributes = self.texts("attributes")?;
        let path = self.path;
        Ok(move |row| match kinds(row) {
            kind::QUARANTINE => {
                let (facts, sha256) = quarantine_facts(attributes.get(row))
                    .ok_or_else(|| Error::damaged(path, "unreadable facts of a quarantine"))?;
                Ok(Some((facts.length_bytes, sha256)))
            }
            _ => Ok(None),
        })
    }

    /// Hands on the whole rows.
    pub(super) fn rows(
        &self,
        clients: &mut Clients,
        each: &mut impl FnMut(Row),
    ) -> Result<(), Error> {
        let (seqs, kinds, sources) = (self.seqs()?, self.kinds()?, self.texts("source")?);
        let ingest_times = self.numbers("ingest_time")?;
        let encodings = self.numbers("raw_encoding")?;
        let raw = self.raw()?;
        let targets = self.targets()?;
        let mut accesses = self.accesses(clients)?;
        let (reasons, attributes) = (self.texts("reason")?, self.texts("attributes")?);
        for row in 0..self.rows.len() {
            let seq = seqs(row);
            let unreadable = |what: &str| self.damaged(&format!("record {seq}: {what}"));
            if encodings(row) != Some(0) {
                return Err(unreadable("its raw record is coded in an unknown way"));
            }
            let bytes = raw(row);
            let record = match kinds(row) {
                number @ (kind::ACCESS | kind::OWN) => {
                    let target = targets(row).ok_or_else(|| unreadable("no target"))?;
                    let access = accesses(row, target, bytes);
                    let access = access.map_err(|what| unreadable(&format!("unknown {what}")))?;
                    match number {
                        kind::ACCESS => Record::Access(access),
                        _ => Record::Own(access),
                    }
                }
                kind::QUARANTINE => {
                    let facts = quarantine_facts(attributes.get(row));
                    let (facts, sha256) = facts.ok_or_else(|| unreadable("unreadable facts"))?;
                    let QuarantineFacts { file, line, offset_bytes, length_bytes, .. } = facts;
                    Record::Quarantine(Quarantine {
                        target: targets(row).ok_or_else(|| unreadable("no target"))?,
                        reason: reasons.shared(row).unwrap_or_default(),
                        place: Place { file, line, offset_bytes },
                        bytes: bytes.to_vec(),
                        length_bytes,
                        sha256,
                    })
                }
                _ => minicbor::decode(bytes)
                    .map_err(|error| unreadable("unreadable").because(error))?,
            };
            each(Row {
                seq,
                ingest_time: Timestamp::from_micros(ingest_times(row).unwrap_or(0)),
                source: sources.shared(row).unwrap_or_default(),
                record,
            });
        }
        Ok(())
    }

    /// Each row's bytes in the column of raw records.
    pub(crate) fn raw<'c>(&'c self) -> Result<impl Fn(usize) -> &'c [u8], Error> {
        match self.page("raw")? {
            (Page::Bytes(page), first) => Ok(move |row: usize| page.get(self.rows[row] - first)),
            _ => Err(self.damaged("column raw holds no bytes")),
        }
    }

    fn targets(&self) -> Result<impl Fn(usize) -> Option<Target>, Error> {
        let kinds = self.texts("target_kind")?;
        let (clusters, hosts) = (self.texts("cluster")?, self.texts("host")?);
        Ok(move |row| {
            let (group, member) = (clusters.shared(row)?, hosts.shared(row)?);
            match kinds.get(row)? {
                "host" => Some(Target::Host { cluster: group, host: member }),
                "array" => Some(Target::Array { namespace: group, array: member }),
                "own" => Some(Target::Own { kind: group, name: member }),
                _ => None,
            }
        })
    }

    /// The access of a row with its target and raw record; an error says what it cannot make out.
    fn accesses(
        &self,
        clients: &mut Clients,
    ) -> Result<impl FnMut(usize, Target, &[u8]) -> Readable, Error> {
        let times = self.event_times()?;
        let written = self.texts("written_time")?;
        let (actions, outcomes) = (self.texts("action")?, self.texts("outcome")?);
        let (reasons, codes) = (self.texts("reason")?, self.numbers("code")?);
        let principals = self.principals()?;
        let mechanisms = self.texts("mechanism")?;
        let (addresses, ports) = (self.texts("address")?, self.numbers("port")?);
        let joined = self.bools("address_joined")?;
        let connections = self.numbers("connection")?;
        let starts = self.numbers("process_start")?;
        let mut clients = self.clients(clients)?;
        let speculative = self.bools("speculative")?;
        let classes = self.classes()?;
        let attributes = self.texts("attributes")?;
        let tasks = self.texts("task_id")?;
        Ok(move |row, target, raw: &[u8]| {
            let outcome = match outcomes.get(row) {
                Some("success") => Outcome::Success,
                Some("failure") => {
                    Outcome::Failure { reason: reasons.shared(row), code: codes(row) }
                }
                Some("unknown") => Outcome::Unknown,
                _ => return Err("outcome"),
            };
            Ok(Access {
                target,
                event_time: times(row),
                written_time: match written.shared(row) {
                    Some(text) => WrittenTime::Partial(text),
                    None => WrittenTime::Complete,
                },
                action: actions.get(row).and_then(Action::from_word).ok_or("action")?,
                outcome,
                principal: principals(row).ok_or("principal")?,
                mechanism: mechanisms.shared(row),
                peer: peer(addresses.get(row), ports(row)).ok_or("address")?,
                peer_joined: joined(row).unwrap_or(false),
                connection: connections(row).map(|number| number as u64),
                process_start: starts(row).map(Timestamp::from_micros),
                client: clients(row).map_err(|()| "origin")?,
                speculative: speculative(row),
                classes: classes(row),
                attributes: match attributes.get(row) {
                    Some(json) => serde_json::from_str(json).map_err(|_| "attributes")?,
                    None => Default::default(),
                },
                raw: raw.to_vec(),
                task_id: tasks.shared(row),
            })
        })
    }

    fn principals(&self) -> Result<impl Fn(usize) -> Option<Principal>, Error> {
        let kinds = self.texts("principal_kind")?;
        let (names, databases) = (self.texts("principal")?, self.texts("principal_database")?);
        Ok(move |row| {
            let name = || names.shared(row);
            Some(match kinds.get(row)? {
                "unauthenticated" => Principal::Unauthenticated,
                "user" => Principal::User { name: name()?, database: databases.shared(row)? },
                "api_key" => Principal::ApiKey(name()?),
                "service_account" => Principal::ServiceAccount(name()?),
                "os_user" => {
                    Principal::OsUser { uid: databases.get(row)?.parse().ok()?, name: name() }
                }
                "doorbook" => Principal::Doorbook,
                _ => return None,
            })
        })
    }

    /// What the client of a row said, once for all rows that share a page and say the same.
    fn clients(
        &self,
        clients: &mut Clients,
    ) -> Result<impl FnMut(usize) -> Result<Option<Shared<Client>>, ()>, Error> {
        let [application, driver, driver_version] =
            [self.texts("application")?, self.texts("driver")?, self.texts("driver_version")?];
        let [os, platform, via] = [self.texts("os")?, self.texts("platform")?, self.texts("via")?];
        let origins = self.texts("origin")?;
        clients.clear();
        Ok(move |row| {
            let columns = [application, driver, driver_version, os, platform, via, origins];
            let ids = columns.map(|column| column.id(row));
            if let Some((_, known)) = clients.iter().find(|(known, _)| *known == ids) {
                return Ok(known.clone());
            }
            let client = Client {
                application: application.shared(row),
                driver: driver.shared(row),
                driver_version: driver_version.shared(row),
                os: os.shared(row),
                platform: platform.shared(row),
                via: via.shared(row),
                origin: origins.get(row).map(|text| origin(text).ok_or(())).transpose()?,
            };
            let client = (client != Client::default()).then(|| Shared::from(client));
            if clients.len() == CLIENTS_MAX {
                clients.clear();
            }
            clients.push((ids, client.clone()));
            Ok(client)
        })
    }
}

/// Clients of late, by their numbers in the columns of one group of rows.
pub(super) type Clients = Vec<([usize; 7], Option<Shared<Client>>)>;

/// A list that is searched from its beginning must be short.
const CLIENTS_MAX: usize = 32;

fn outcome_word(word: &str) -> Option<&'static str> {
    ["success", "failure", "unknown"].into_iter().find(|known| *known == word)
}

/// The peer of a row.
pub(crate) fn peer(address: Option<&str>, port: Option<i64>) -> Option<Peer> {
    match address {
        None => Some(Peer::Unknown),
        Some(UNIX_SOCKET) => Some(Peer::UnixSocket),
        Some(address) => {
            let port = port.map(u16::try_from).transpose().ok()?;
            Some(Peer::Ip { address: address.parse().ok()?, port })
        }
    }
}

/// The peer that its `Display` spelled.
fn origin(text: &str) -> Option<Peer> {
    match text {
        "unknown" => Some(Peer::Unknown),
        "unix" => Some(Peer::UnixSocket),
        _ => match text.parse::<IpAddr>() {
            Ok(address) => Some(Peer::Ip { address, port: None }),
            Err(_) => {
                let socket = text.parse::<std::net::SocketAddr>().ok()?;
                Some(Peer::Ip { address: socket.ip(), port: Some(socket.port()) })
            }
        },
    }
}

/// The object that attributes name, if it is spelled without escapes.
fn object(attributes: &str) -> Option<&str> {
    #[derive(serde::Deserialize)]
    struct Named<'a> {
        #[serde(borrow, default)]
        object: Option<&'a str>,
    }

    // Most have none.
    memchr::memmem::find(attributes.as_bytes(), b"\"object\"")?;
    serde_json::from_str::<Named<'_>>(attributes).ok()?.object
}

fn quarantine_facts(json: Option<&str>) -> Option<(QuarantineFacts, [u8; 32])> {
    let facts: QuarantineFacts = serde_json::from_str(json?).ok()?;
    let mut sha256 = [0; 32];
    hex::decode_to_slice(&facts.sha256, &mut sha256).ok()?;
    Some((facts, sha256))
}

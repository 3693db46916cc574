//! Rows as the command line shows them: every column of the history, under plain names.

use std::collections::BTreeMap;

use doorbook_event::record::{Hidden, Quarantine};
use doorbook_event::{Access, Action, Outcome, Peer, Principal, Record, Target, Text, Timestamp};
use doorbook_store::coverage::Gap;
use doorbook_store::{Placed, Sighted};
use serde::{Deserialize, Serialize};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::admin::request::Attributes;
use crate::api::native::answers;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventRow {
    /// When, as the source claims.
    pub event_time: Timestamp,
    /// The time as the source wrote it, where it names no single instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_time: Option<Text>,
    /// What was tried.
    pub action: String,
    /// How it ended.
    pub outcome: String,
    /// The source's words for a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// The source's number for the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// Which kind of principal.
    pub principal: String,
    /// The principal's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Text>,
    /// The database that knows the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<Text>,
    /// User id of the operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The authentication mechanism.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<Text>,
    /// `ip`, `unix` or `unknown`.
    pub peer: String,
    /// From which address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::IpAddr>,
    /// From which port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The address is not in the record itself but in another one of the same connection.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub address_joined: bool,
    /// The source's number for the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<u64>,
    /// When the accessed process started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_start: Option<Timestamp>,
    /// What the client said of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientRow>,
    /// The source calls it the speculative half of an attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speculative: Option<bool>,
    /// Flags.
    pub classes: Vec<String>,
    /// What the source knows beyond the columns.
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    /// What was accessed.
    #[serde(flatten)]
    pub target: TargetRow,
    /// Which source told it.
    pub source: Text,
    /// When it was received.
    pub ingest_time: Timestamp,
    /// Which log; over a network a place has another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<u32>,
    /// Position in that log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The record as received; U+FFFD stands for bytes that are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// The record as received in hexadecimal, where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_hex: Option<String>,
    /// Who else told of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sightings: Vec<SightingRow>,
}

/// A source that told of an event which was recorded already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SightingRow {
    /// Which source.
    pub source: Text,
    /// When it happened, as this source claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<Timestamp>,
    /// Whether it says more about the event than that.
    pub amends: bool,
    /// When it was received.
    pub ingest_time: Timestamp,
    /// Which log; over a network a place has another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<u32>,
    /// Position in that log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

impl From<&Sighted> for SightingRow {
    fn from(sighted: &Sighted) -> SightingRow {
        let Sighted { log, seq, ingest_time, source, event_time, amends } = sighted;
        SightingRow {
            source: source.clone(),
            event_time: *event_time,
            amends: *amends,
            ingest_time: *ingest_time,
            log: Some(log.0),
            seq: Some(*seq),
        }
    }
}

impl From<answers::Sighting> for SightingRow {
    fn from(answer: answers::Sighting) -> SightingRow {
        SightingRow {
            source: answer.source.into(),
            event_time: answer.time,
            amends: answer.amends,
            ingest_time: answer.ingest_time,
            log: None,
            seq: None,
        }
    }
}

/// What was accessed, under names that fit its kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetRow {
    /// A host's cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Text>,
    /// A host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Text>,
    /// An array's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Text>,
    /// An array.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<Text>,
    /// Which kind of thing of Doorbook's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_kind: Option<Text>,
    /// Which one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_name: Option<Text>,
}

impl TargetRow {
    /// The target in few characters.
    pub fn short(&self) -> String {
        let group = [&self.cluster, &self.namespace, &self.own_kind];
        let member = [&self.host, &self.array, &self.own_name];
        let word = |texts: [&Option<Text>; 3]| {
            texts.into_iter().flatten().next().cloned().unwrap_or_default()
        };
        format!("{} {}", word(group), word(member))
    }
}

impl From<&Target> for TargetRow {
    fn from(target: &Target) -> TargetRow {
        let some = |text: &Text| Some(text.clone());
        match target {
            Target::Host { cluster, host } => {
                TargetRow { cluster: some(cluster), host: some(host), ..TargetRow::default() }
            }
            Target::Array { namespace, array } => {
                TargetRow { namespace: some(namespace), array: some(array), ..TargetRow::default() }
            }
            Target::Own { kind, name } => {
                TargetRow { own_kind: some(kind), own_name: some(name), ..TargetRow::default() }
            }
        }
    }
}

/// What a client said of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientRow {
    /// The application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<Text>,
    /// The driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<Text>,
    /// The driver's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_version: Option<Text>,
    /// Operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<Text>,
    /// Language runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Text>,
    /// The router through which the client came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Text>,
    /// The real client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl EventRow {
    /// The row of an access; `None` for other kinds of record.
    pub fn from_placed(placed: &Placed) -> Option<EventRow> {
        let (Record::Access(access) | Record::Own(access)) = &placed.record else {
            return None;
        };
        let mut row = EventRow {
            target: TargetRow::from(&access.target),
            source: placed.source.clone(),
            ingest_time: placed.ingest_time,
            log: Some(placed.log.0),
            seq: Some(placed.seq),
            sightings: placed.sightings.iter().map(SightingRow::from).collect(),
            ..EventRow::default()
        };
        row.fill(access);
        Some(row)
    }

    /// The row of what our own API answers; `None` for a line that could not be read.
    pub fn from_answer(answer: answers::Row) -> Option<EventRow> {
        let event = answer.event?;
        let text = |text: Option<String>| text.map(Text::from);
        let is_user = event.user.is_some();
        let address = event.address.and_then(|address| address.parse().ok());
        let peer = match (event.unix_socket, address) {
            (Some(true), _) => "unix",
            (_, Some(_)) => "ip",
            (_, None) => "unknown",
        };
        let client = ClientRow {
            application: text(event.application),
            driver: text(event.driver),
            driver_version: text(event.driver_version),
            os: text(event.os),
            platform: text(event.platform),
            via: text(event.via),
            origin: event.origin,
        };
        let attributes = event.attributes.into_iter();
        let attributes = attributes.map(|(name, value)| (name.into(), value.into())).collect();
        let (raw, raw_hex) = text_and_hex(&bytes(event.raw, event.raw_base64));
        let unnamed = || Principal::Unauthenticated.kind().to_owned();
        let user = || Principal::User { name: Text::default(), database: Text::default() };
        Some(EventRow {
            event_time: event.time,
            written_time: text(event.written_time),
            action: event.action,
            outcome: event.outcome,
            reason: text(event.reason),
            code: event.code,
            principal: match is_user {
                true => user().kind().to_owned(),
                false => event.principal_kind.unwrap_or_else(unnamed),
            },
            user: text(event.user).or(text(event.principal)),
            database: is_user.then(|| event.database.unwrap_or_default().into()),
            uid: None,
            mechanism: text(event.mechanism),
            peer: peer.to_owned(),
            address,
            port: event.port,
            address_joined: event.address_joined.unwrap_or_default(),
            connection: event.connection,
            process_start: event.process_start,
            client: Some(client).filter(|client| *client != ClientRow::default()),
            speculative: event.speculative,
            classes: event.classes,
            attributes,
            target: TargetRow {
                cluster: text(event.cluster),
                host: text(event.host),
                namespace: text(event.namespace),
                array: text(event.array),
                ..TargetRow::default()
            },
            source: answer.source.into(),
            ingest_time: answer.ingest_time,
            log: None,
            seq: None,
            raw,
            raw_hex,
            sightings: answer.sightings.into_iter().map(SightingRow::from).collect(),
        })
    }

    fn fill(&mut self, access: &Access) {
        self.event_time = access.event_time;
        if let doorbook_event::WrittenTime::Partial(text) = &access.written_time {
            self.written_time = Some(text.clone());
        }
        self.action = access.action.word().to_owned();
        self.outcome = access.outcome.word().to_owned();
        if let Outcome::Failure { reason, code } = &access.outcome {
            self.reason.clone_from(reason);
            self.code = *code;
        }
        self.principal = access.principal.kind().to_owned();
        match &access.principal {
            Principal::User { name, database } => {
                self.user = Some(name.clone());
                self.database = Some(database.clone());
            }
            Principal::ApiKey(name) | Principal::ServiceAccount(name) => {
                self.user = Some(name.clone());
            }
            Principal::OsUser { uid, name } => {
                self.uid = Some(*uid);
                self.user.clone_from(name);
            }
            Principal::Unauthenticated | Principal::Doorbook => {}
        }
        self.mechanism.clone_from(&access.mechanism);
        self.peer = peer_word(&access.peer).to_owned();
        self.address = access.peer.address();
        self.port = access.peer.port();
        self.address_joined = access.peer_joined;
        self.connection = access.connection;
        self.process_start = access.process_start;
        self.client = access.client.as_ref().map(|client| ClientRow {
            application: client.application.clone(),
            driver: client.driver.clone(),
            driver_version: client.driver_version.clone(),
            os: client.os.clone(),
            platform: client.platform.clone(),
            via: client.via.clone(),
            origin: client.origin.as_ref().map(Peer::to_string),
        });
        self.speculative = access.speculative;
        self.classes = access.classes.iter().map(|class| class.word().to_owned()).collect();
        self.attributes.clone_from(&access.attributes);
        (self.raw, self.raw_hex) = text_and_hex(&access.raw);
    }
}

const fn peer_word(peer: &Peer) -> &'static str {
    match peer {
        Peer::Unknown => "unknown",
        Peer::UnixSocket => "unix",
        Peer::Ip { .. } => "ip",
    }
}

/// A record as our own API tells it.
fn bytes(raw: Option<String>, raw_base64: Option<String>) -> Vec<u8> {
    match raw_base64 {
        Some(packed) => STANDARD.decode(packed).unwrap_or_default(),
        None => raw.map(String::into_bytes).unwrap_or_default(),
    }
}

/// Bytes as text, and as hexadecimal too where the text alone would not give them back.
fn text_and_hex(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok("") => (None, None),
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (Some(String::from_utf8_lossy(bytes).into_owned()), Some(hex::encode(bytes))),
    }
}

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuarantineRow {
    /// Why.
    pub reason: Text,
    /// The input's name.
    pub file: Text,
    /// Line number, from 1.
    pub line: u64,
    /// Offset in the decompressed input.
    pub offset_bytes: u64,
    /// How many bytes there were.
    pub length_bytes: u64,
    /// SHA-256 of all of them.
    pub sha256: String,
    /// What was accessed.
    #[serde(flatten)]
    pub target: TargetRow,
    /// Which source told it.
    pub source: Text,
    /// When it was received.
    pub ingest_time: Timestamp,
    /// Which log; over a network a place has another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<u32>,
    /// Position in that log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The bytes that were kept; U+FFFD stands for what is not UTF-8.
    #[serde(default)]
    pub raw: Option<String>,
    /// The bytes that were kept in hexadecimal, where they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_hex: Option<String>,
}

impl QuarantineRow {
    /// The row of quarantined bytes; `None` for other kinds of record.
    pub fn from_placed(placed: &Placed) -> Option<QuarantineRow> {
        let Record::Quarantine(quarantine) = &placed.record else {
            return None;
        };
        let Quarantine { target, reason, place, bytes, length_bytes, sha256 } = quarantine;
        let (raw, raw_hex) = text_and_hex(bytes);
        Some(QuarantineRow {
            reason: reason.clone(),
            file: place.file.clone(),
            line: place.line,
            offset_bytes: place.offset_bytes,
            length_bytes: *length_bytes,
            sha256: hex::encode(sha256),
            target: TargetRow::from(target),
            source: placed.source.clone(),
            ingest_time: placed.ingest_time,
            log: Some(placed.log.0),
            seq: Some(placed.seq),
            raw,
            raw_hex,
        })
    }

    /// The row of what our own API answers; `None` for an event.
    pub fn from_answer(answer: answers::Row) -> Option<QuarantineRow> {
        let line = answer.quarantine?;
        let text = |text: Option<String>| text.map(Text::from);
        let (raw, raw_hex) = text_and_hex(&bytes(line.raw, line.raw_base64));
        Some(QuarantineRow {
            reason: line.reason.into(),
            file: line.file.into(),
            line: line.line,
            offset_bytes: line.offset_bytes,
            length_bytes: line.length_bytes,
            sha256: line.sha256,
            target: TargetRow {
                cluster: text(line.cluster),
                host: text(line.host),
                namespace: text(line.namespace),
                array: text(line.array),
                own_kind: text(line.own_kind),
                own_name: text(line.own_name),
            },
            source: answer.source.into(),
            ingest_time: answer.ingest_time,
            log: None,
            seq: None,
            raw,
            raw_hex,
        })
    }
}

/// A line that could not be read, and what became of it when it was read again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayRow {
    /// Which log.
    pub log: u32,
    /// Position in that log.
    pub seq: u64,
    /// What was accessed.
    #[serde(flatten)]
    pub target: TargetRow,
    /// Which source told it.
    pub source: Text,
    /// The input's name.
    pub file: Text,
    /// Line number, from 1.
    pub line: u64,
    /// Why it was put aside.
    pub was: Text,
    /// What became of it.
    pub became: Became,
}

/// What became of a line that was read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Became {
    /// It is stored now.
    Stored {
        /// Which log.
        log: u32,
        /// Position in that log.
        seq: u64,
    },
    /// What it tells was stored already.
    Duplicate,
    /// It is older than its project keeps events.
    Expired,
    /// It is no record.
    NoRecord,
    /// It would be read, if this were no trial.
    Readable,
    /// It stays where it is.
    Unreadable {
        /// Why.
        reason: Text,
    },
}

impl ReplayRow {
    /// The row of what became of a line.
    pub fn new(placed: &Placed, bytes: &Quarantine, became: Became) -> ReplayRow {
        ReplayRow {
            log: placed.log.0,
            seq: placed.seq,
            target: TargetRow::from(&bytes.target),
            source: placed.source.clone(),
            file: bytes.place.file.clone(),
            line: bytes.place.line,
            was: bytes.reason.clone(),
            became,
        }
    }
}

/// Lines that wait under one name because no source is theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnroutedRow {
    /// The project's name.
    pub project: Text,
    /// The name.
    pub name: Text,
    /// How many lines.
    pub lines: u64,
    /// When the first of them came, to the second.
    pub first: Timestamp,
    /// When the last of them came.
    pub last: Timestamp,
    /// Why the last of them waits.
    pub reason: Text,
    /// What its sender says of the last of them.
    pub labels: BTreeMap<Text, Text>,
    /// What to write into the file of the estate.
    pub rule: String,
}

/// What became of lines that waited under one name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoutedRow {
    /// The name.
    pub name: Text,
    /// The source that they are of; `None` if they still wait.
    pub source: Option<Text>,
    /// Why they still wait.
    pub reason: Option<Text>,
    /// How many lines.
    pub lines: u64,
    /// Events of the source that are stored now; none in a trial.
    pub stored: u64,
    /// Events of the source that were stored before.
    pub duplicates: u64,
}

/// An interval that was not, or not surely, seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoverageRow {
    /// The project's name, where it is a project's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Text>,
    /// What could not be seen.
    #[serde(flatten)]
    pub target: TargetRow,
    /// Which actions.
    pub actions: Vec<String>,
    /// `successes` or `all`.
    pub hidden: String,
    /// Why.
    pub cause: Text,
    /// Who brought it about.
    pub by: Option<String>,
    /// From when.
    pub from: Timestamp,
    /// Until when; `None` where no line has ended it.
    pub to: Option<Timestamp>,
    /// The last line that was read while it lasted.
    pub last_seen: Timestamp,
    /// `blind` or `best_effort`.
    pub grade: String,
    /// The source that should have seen it; `None` where the target did not show it, or there is no
    /// source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Text>,
    /// How many accesses are known to be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
}

impl CoverageRow {
    /// The row of what our own API answers of a project, or (`None`) of a namespace.
    pub fn from_answer(project: Option<Text>, answer: answers::Gap) -> CoverageRow {
        let target = match project {
            Some(_) => |cluster, host| Target::Host { cluster, host },
            None => |namespace, array| Target::Array { namespace, array },
        };
        CoverageRow {
            project,
            target: TargetRow::from(&target(answer.cluster.into(), answer.host.into())),
            actions: answer.actions,
            hidden: answer.hidden,
            cause: answer.cause.into(),
            by: answer.by,
            from: answer.from.unwrap_or(Timestamp::MIN),
            to: answer.to,
            last_seen: answer.last_seen.unwrap_or(Timestamp::MIN),
            grade: answer.grade,
            source: answer.source.map(Text::from),
            missing: answer.missing,
        }
    }

    /// The row of an interval.
    pub fn new(project: Option<Text>, coverage: &Gap) -> CoverageRow {
        let by = coverage.actor.as_ref().map(|actor| match actor.peer {
            Peer::Unknown => actor.principal.to_string(),
            peer => format!("{} from {peer}", actor.principal),
        });
        CoverageRow {
            project,
            target: TargetRow::from(&coverage.target),
            actions: coverage.actions.iter().map(|a: &Action| a.word().to_owned()).collect(),
            hidden: match coverage.hidden {
                Hidden::Successes => "successes",
                Hidden::All => "all",
            }
            .to_owned(),
            cause: coverage.cause.clone(),
            by,
            from: coverage.from,
            to: coverage.to,
            last_seen: coverage.last_seen,
            grade: coverage.grade.word().to_owned(),
            source: coverage.source.clone(),
            missing: coverage.missing,
        }
    }
}

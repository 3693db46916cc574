//! [`Record`]: what the WAL and the logs hold. Never changed after commit; what was wrong or
//! becomes known later is a further record.
//!
//! The WAL form of a record is the two-element CBOR array `[kind, body]` in the deterministic
//! encoding of RFC 8949 §4.2 (shortest integers, ascending integer keys, absent members left out).
//! `docs/design/records.md` lists every kind with its number, including those that no version
//! writes yet; their numbers are never given to anything else.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::registry::RegistryChange;
use crate::source::Source;
use crate::{
    Access, Action, Attributes, Client, LogId, Outcome, Peer, Principal, Seq, Target, Text,
    Timestamp,
};

/// One member of a log.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Record {
    /// Someone came to a target.
    #[n(1)]
    Access(#[n(0)] Access),
    /// Another source saw an access that is recorded already.
    #[n(2)]
    Sighting(#[n(0)] Sighting),
    /// A later source knows more about an access that is recorded already.
    #[n(3)]
    Amendment(#[n(0)] Box<Amendment>),
    /// What could and could not be seen, and since when.
    #[n(4)]
    Coverage(#[n(0)] Coverage),
    /// A source was alive.
    #[n(5)]
    Heartbeat(#[n(0)] Heartbeat),
    /// Projects, clusters, hosts, keys or roles changed.
    #[n(6)]
    Registry(#[n(0)] RegistryChange),
    /// An import began, ended or was interrupted; the latest one of an id holds.
    #[n(7)]
    ImportReceipt(#[n(0)] ImportReceipt),
    /// An import was taken back.
    #[n(8)]
    Retraction(#[n(0)] Retraction),
    // 9 = tombstone
    /// Someone used Doorbook.
    #[n(10)]
    Own(#[n(0)] Access),
    /// Bytes that could not be read.
    #[n(11)]
    Quarantine(#[n(0)] Quarantine),
    /// Bytes that could not be read were read after all.
    #[n(12)]
    Resolved(#[n(0)] Resolved),
}

/// The access that a later record is about. Target and event time are the access's own, so that
/// both records lie side by side wherever rows are sorted by them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Subject {
    /// What was accessed.
    #[n(0)]
    pub target: Target,
    /// When, as the access has it.
    #[n(1)]
    pub event_time: Timestamp,
    /// The log that holds the access.
    #[n(2)]
    pub log: LogId,
    /// Its position there.
    #[n(3)]
    pub seq: Seq,
}

/// Another source saw an access that is recorded already. Never counted as an event.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Sighting {
    /// Which access.
    #[n(0)]
    pub of: Subject,
    /// When it happened, as this source claims.
    #[n(1)]
    pub event_time: Timestamp,
    /// This source's record exactly as received; empty where it has none.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub raw: Vec<u8>,
}

/// A later source knows more about an access that is recorded already. Never counted as an event.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Amendment {
    /// Which access.
    #[n(0)]
    pub of: Subject,
    /// What is known now.
    #[n(1)]
    pub facts: Facts,
    /// This source's record exactly as received; empty where it has none.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub raw: Vec<u8>,
    /// When it happened, as this source claims, if it does.
    #[n(3)]
    pub event_time: Option<Timestamp>,
}

/// What can become known of an access later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Facts {
    /// Who.
    #[n(0)]
    pub principal: Option<Principal>,
    /// From where.
    #[n(1)]
    pub peer: Option<Peer>,
    /// The authentication mechanism.
    #[n(2)]
    pub mechanism: Option<Text>,
    /// What the client said of itself.
    #[n(3)]
    pub client: Option<Client>,
    /// The task within which it was done.
    #[n(4)]
    pub task_id: Option<Text>,
    /// How it ended.
    #[n(5)]
    pub outcome: Option<Outcome>,
    /// Anything else.
    #[n(6)]
    pub attributes: Attributes,
}

impl Facts {
    /// Whether there is anything that could be added to an access.
    pub fn is_empty(&self) -> bool {
        *self == Facts::default()
    }

    /// What one account of an access says that another one of the same access lacks.
    pub fn beyond(known: &Access, told: &Access) -> Facts {
        let missing = |known: &Option<Text>, told: &Option<Text>| match known {
            Some(_) => None,
            None => told.clone(),
        };
        let is_named = told.principal != Principal::Unauthenticated;
        let has_peer = told.peer != Peer::Unknown;
        let is_known = told.outcome != Outcome::Unknown;
        let attributes = told.attributes.iter();
        let attributes = attributes.filter(|(name, _)| known.attributes.get(name).is_none());
        let lacks_user = known.principal == Principal::Unauthenticated;
        Facts {
            principal: (lacks_user && is_named).then(|| told.principal.clone()),
            peer: (known.peer == Peer::Unknown && has_peer).then_some(told.peer),
            mechanism: missing(&known.mechanism, &told.mechanism),
            client: told.client.as_deref().filter(|_| known.client.is_none()).cloned(),
            task_id: missing(&known.task_id, &told.task_id),
            outcome: (known.outcome == Outcome::Unknown && is_known).then(|| told.outcome.clone()),
            attributes: attributes.map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }

    /// Adds to an access what it lacks. What it, or an earlier amendment, says already stays: the
    /// word of a later source is no reason to forget the one of the first.
    pub fn complete(&self, access: &mut Access) {
        if let (Principal::Unauthenticated, Some(principal)) = (&access.principal, &self.principal)
        {
            access.principal = principal.clone();
        }
        if let (Peer::Unknown, Some(peer)) = (access.peer, self.peer) {
            access.peer = peer;
        }
        if let (Outcome::Unknown, Some(outcome)) = (&access.outcome, &self.outcome) {
            access.outcome = outcome.clone();
        }
        fill(&mut access.mechanism, &self.mechanism);
        fill(&mut access.task_id, &self.task_id);
        if let Some(told) = &self.client {
            let mut client = access.client.as_deref().cloned().unwrap_or_default();
            fill(&mut client.application, &told.application);
            fill(&mut client.driver, &told.driver);
            fill(&mut client.driver_version, &told.driver_version);
            fill(&mut client.os, &told.os);
            fill(&mut client.platform, &told.platform);
            fill(&mut client.via, &told.via);
            fill(&mut client.origin, &told.origin);
            access.client = (client != Client::default()).then(|| client.into());
        }
        for (name, value) in self.attributes.iter() {
            if access.attributes.get(name).is_none() {
                access.attributes.insert(name.clone(), value.clone());
            }
        }
    }
}

fn fill<T: Clone>(known: &mut Option<T>, told: &Option<T>) {
    if known.is_none() {
        known.clone_from(told);
    }
}

/// An interval in which a target was not, or not surely, observable; or, of an import or of a source
/// that found again what it had missed, in which it was.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Coverage {
    /// What could not be seen.
    #[n(0)]
    pub target: Target,
    /// Which actions.
    #[n(1)]
    pub actions: Vec<Action>,
    /// Which outcomes of them.
    #[n(2)]
    pub hidden: Hidden,
    /// Why.
    #[n(3)]
    pub cause: Text,
    /// Who brought it about, where the source tells.
    #[n(4)]
    pub actor: Option<Actor>,
    /// The time of the line that begins it.
    #[n(5)]
    pub from: Timestamp,
    /// The time of the line that ends it; `None` while no line has.
    #[n(6)]
    pub to: Option<Timestamp>,
    /// The last line that was read while it lasted; what `to: None` is known up to.
    #[n(7)]
    pub last_seen: Timestamp,
    /// The source that this is about; `None` where the target itself left no trace, which no source
    /// can mend.
    #[cbor(n(8), default)]
    pub source: Option<Text>,
    /// How much was seen. What the target did not show is [`Grade::Blind`].
    #[cbor(n(9), default, skip_if = "Grade::is_blind")]
    pub grade: Grade,
    /// How many accesses are known to be missing; 0 if none is any more.
    #[cbor(n(10), default)]
    pub missing: Option<u64>,
}

impl Coverage {
    /// Nothing was seen by a source since then, and is not yet.
    pub fn unseen(source: &Source, cause: Text, from: Timestamp) -> Coverage {
        Coverage {
            target: source.target(),
            actions: source.kind.actions().to_vec(),
            hidden: Hidden::All,
            cause,
            actor: None,
            from,
            to: None,
            last_seen: from,
            source: Some(source.name.clone()),
            grade: Grade::Blind,
            missing: None,
        }
    }
}

/// How much was seen of an interval.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Nothing, or not surely anything.
    #[n(0)]
    #[default]
    Blind,
    /// Most likely everything, but the source itself may have dropped something without a sign.
    #[n(1)]
    BestEffort,
    /// Everything.
    #[n(2)]
    Watched,
}

impl Grade {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Grade::Blind => "blind",
            Grade::BestEffort => "best_effort",
            Grade::Watched => "watched",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the codec hands on a reference")]
    fn is_blind(&self) -> bool {
        *self == Grade::Blind
    }
}

/// A source was alive: what it had seen, and by what clock. About once a minute.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Heartbeat {
    /// Which source.
    #[n(0)]
    pub source: Text,
    /// What it watches.
    #[n(1)]
    pub target: Target,
    /// When, by our clock.
    #[n(2)]
    pub at: Timestamp,
    /// It has read everything that was written before; `None` while it has read nothing.
    #[n(3)]
    pub through: Option<Timestamp>,
    /// Lines it read since the last heartbeat.
    #[n(4)]
    pub lines: u64,
    /// Accesses it recorded since the last heartbeat.
    #[n(5)]
    pub events: u64,
    /// Bytes that are there and not read yet.
    #[n(6)]
    pub behind_bytes: u64,
    /// How long the newest line it read since the last heartbeat had been written when it was read:
    /// our clock minus the target's.
    #[n(7)]
    pub delay_micros: Option<i64>,
    /// Our clock.
    #[n(8)]
    pub clock: ClockState,
}

/// How far a clock can be trusted, as the operating system tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct ClockState {
    /// Whether something keeps it synchronised; `None` where the system does not tell.
    #[n(0)]
    pub synchronised: Option<bool>,
    /// Its estimated offset from the true time.
    #[n(1)]
    pub offset_micros: Option<i64>,
    /// The most that it can be wrong.
    #[n(2)]
    pub error_max_micros: Option<i64>,
}

/// Which outcomes are hidden during a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Hidden {
    /// Successes leave no line; failures still do.
    #[n(0)]
    Successes,
    /// Neither leaves a line.
    #[n(1)]
    All,
}

/// Who did something, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Actor {
    /// Who.
    #[n(0)]
    pub principal: Principal,
    /// From where.
    #[n(1)]
    pub peer: crate::Peer,
}

/// Bytes that look like a record and could not be read. Kept, counted, never dropped.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Quarantine {
    /// The target whose input held them.
    #[n(0)]
    pub target: Target,
    /// Why they could not be read.
    #[n(1)]
    pub reason: Text,
    /// Where they stood.
    #[n(2)]
    pub place: Place,
    /// The bytes, the first [`Quarantine::BYTES_MAX`] of them.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
    /// How many there were.
    #[n(4)]
    pub length_bytes: u64,
    /// SHA-256 of all of them.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub sha256: [u8; 32],
}

impl Record {
    /// The access that a sighting or an amendment is about.
    pub fn subject(&self) -> Option<&Subject> {
        match self {
            Record::Sighting(sighting) => Some(&sighting.of),
            Record::Amendment(amendment) => Some(&amendment.of),
            _ => None,
        }
    }
}

impl Quarantine {
    /// 64 KiB: three times the longest line that mongod was seen to write (20.9 kB).
    pub const BYTES_MAX: usize = 64 * 1024;
}

/// A place in an input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Place {
    /// The file's name as it was given; `-` for standard input.
    #[n(0)]
    pub file: Text,
    /// Line number, from 1.
    #[n(1)]
    pub line: u64,
    /// Offset of the line's first byte in the decompressed input, from 0.
    #[n(2)]
    pub offset_bytes: u64,
}

/// The name of an import: `imp-` and ten characters.
pub type ImportId = Text;

/// What an import was and what it did.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct ImportReceipt {
    /// Its name.
    #[n(0)]
    pub id: ImportId,
    /// Who ran it.
    #[n(1)]
    pub by: Principal,
    /// When it began, by our clock.
    #[n(2)]
    pub started: Timestamp,
    /// When it ended; `None` while it runs or if it was cut off.
    #[n(3)]
    pub ended: Option<Timestamp>,
    /// How far it got.
    #[n(4)]
    pub state: ImportState,
    /// The project's cluster that the records were put under.
    #[n(5)]
    pub cluster: Text,
    /// The host the user named, if any.
    #[n(6)]
    pub host: Option<Text>,
    /// The inputs in the order in which they were read.
    #[n(7)]
    pub files: Vec<ImportedFile>,
    /// Totals over all files.
    #[n(8)]
    pub counts: ImportCounts,
    /// Message ids of the access component that this version does not know.
    #[n(9)]
    pub unknown_ids: Vec<UnknownId>,
}

/// How far an import got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum ImportState {
    /// Still running; of a process that is gone, interrupted.
    #[n(0)]
    Running,
    /// Read to the end.
    #[n(1)]
    Complete,
    /// Stopped by its user or by an error; what was committed stays.
    #[n(2)]
    Interrupted,
    /// Taken back.
    #[n(3)]
    Retracted,
}

/// One input of an import.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ImportedFile {
    /// The name as it was given; `-` for standard input.
    #[n(0)]
    pub name: Text,
    /// Size as stored (compressed if it is), in bytes, as far as it was read.
    #[n(1)]
    pub size_bytes: u64,
    /// Modification time, where there is one.
    #[n(2)]
    pub modified: Option<Timestamp>,
    /// SHA-256 of the bytes as stored, as far as they were read; `None` for a live file, which
    /// goes on changing.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub sha256: Option<[u8; 32]>,
    /// The canonical host that its records were put under.
    #[n(4)]
    pub host: Text,
    /// Physical lines.
    #[n(5)]
    pub lines: u64,
}

/// What an import found. `events + duplicates + expired` is what the input held; the counts after
/// `events` are shares of `events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(rename_all = "camelCase")]
pub struct ImportCounts {
    /// Physical lines read.
    #[n(0)]
    pub lines: u64,
    /// Access records added.
    #[n(1)]
    pub events: u64,
    /// Logins among them: successes that are not suspect.
    #[n(2)]
    pub successes: u64,
    /// Explicit failure lines of authentication among them.
    #[n(3)]
    pub failures: u64,
    /// Success lines among them that their own log contradicts.
    #[n(4)]
    pub suspect: u64,
    /// Logins among them that their log can neither confirm nor contradict.
    #[n(5)]
    pub unconfirmed: u64,
    /// Events that were already there.
    #[n(6)]
    pub duplicates: u64,
    /// Lines put aside unread.
    #[n(7)]
    pub quarantined: u64,
    /// Intervals of blindness found.
    #[n(8)]
    pub gaps: u64,
    /// The earliest event found, added or not, without suspect and expired ones.
    #[n(9)]
    pub from: Option<Timestamp>,
    /// The latest event found, added or not, without suspect and expired ones.
    #[n(10)]
    pub to: Option<Timestamp>,
    /// Events that are older than their scope keeps any; not stored.
    #[cbor(n(11), default, skip_if = "is_zero")]
    #[serde(default)]
    pub expired: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the codec hands on a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl ImportCounts {
    /// Adds another count to this one.
    pub fn add(&mut self, other: &ImportCounts) {
        self.lines += other.lines;
        self.events += other.events;
        self.successes += other.successes;
        self.failures += other.failures;
        self.suspect += other.suspect;
        self.unconfirmed += other.unconfirmed;
        self.duplicates += other.duplicates;
        self.quarantined += other.quarantined;
        self.gaps += other.gaps;
        self.expired += other.expired;
        self.from = [self.from, other.from].into_iter().flatten().min();
        self.to = [self.to, other.to].into_iter().flatten().max();
    }

    /// Counts one added access.
    pub fn count(&mut self, access: &Access) {
        use crate::{Class, Outcome};
        self.events += 1;
        match access.outcome {
            _ if access.classes.contains(Class::Suspect) => self.suspect += 1,
            _ if access.action != Action::Authenticate => {}
            Outcome::Success => {
                self.successes += 1;
                self.unconfirmed += u64::from(access.classes.contains(Class::Unconfirmed));
            }
            Outcome::Failure { .. } => {
                self.failures += u64::from(!access.classes.contains(Class::Inferred));
            }
            Outcome::Unknown => {}
        }
    }
}

/// A message id of the access component that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct UnknownId {
    /// The id.
    #[n(0)]
    pub id: u64,
    /// The server version that wrote it, where the input says.
    #[n(1)]
    pub version: Option<Text>,
    /// How often.
    #[n(2)]
    pub count: u64,
    /// The message of the first one.
    #[n(3)]
    pub message: Text,
}

/// An import taken back: its records leave every answer, and stay in the log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Retraction {
    /// Which import.
    #[n(0)]
    pub import: ImportId,
    /// Who took it back.
    #[n(1)]
    pub by: Principal,
    /// When, by our clock.
    #[n(2)]
    pub at: Timestamp,
}

/// Bytes that could not be read were read again, by a later version or a fuller registry, and are put
/// aside no longer. What they tell, if anything, was written in the same frame.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Resolved {
    /// The log that holds them: this record's own.
    #[n(0)]
    pub log: LogId,
    /// Their positions there.
    #[n(1)]
    pub seqs: Vec<Seq>,
    /// Who had them read again.
    #[n(2)]
    pub by: Principal,
    /// When, by our clock.
    #[n(3)]
    pub at: Timestamp,
    /// The version that read them.
    #[n(4)]
    pub version: Text,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever stands on a damaged disk, decoding ends in a record or an error.
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = minicbor::decode::<Record>(&bytes);
        }

        /// Nor does a record with some bytes changed.
        #[test]
        fn a_damaged_record_never_panics(at in 0_usize..100, byte in any::<u8>()) {
            let record = Record::Access(crate::access::tests_support::login());
            let mut bytes = minicbor::to_vec(record).expect("encodes");
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = minicbor::decode::<Record>(&bytes);
        }
    }

    /// Goal: the bytes of a sighting and of an amendment are what docs/design/records.md says, for
    /// ever. Method: its vectors, which were spelled by another library.
    #[test]
    fn the_wal_forms_of_what_is_told_of_an_access_are_fixed() {
        use crate::access::tests_support::login;
        let of = || Subject {
            target: login().target,
            event_time: login().event_time,
            log: LogId(1),
            seq: 300,
        };
        let raw = b"{}".to_vec();
        let event_time = login().event_time.plus_micros(1000);
        let facts = Facts {
            principal: Some(Principal::User { name: "bob".into(), database: "admin".into() }),
            task_id: Some("t-1".into()),
            attributes: [("bytes".into(), "7".into())].into(),
            ..Facts::default()
        };
        let sighting = Record::Sighting(Sighting { of: of(), event_time, raw: raw.clone() });
        let event_time = Some(event_time);
        let amendment = Amendment { of: of(), facts, raw, event_time };
        let amendment = Record::Amendment(amendment.into());
        for (record, vector) in [(sighting, SIGHTING), (amendment, AMENDMENT)] {
            let bytes = minicbor::to_vec(&record).expect("encodes");
            assert_eq!(hex::encode(&bytes), vector);
            assert_eq!(minicbor::decode::<Record>(&bytes).expect("decodes"), record);
        }
    }

    const SIGHTING: &str = concat!(
        "820281a300a400820082666f72646572736a64622d313a3237303137011b0005fa3424381d700201",
        "0319012c011b0005fa342438215802427b7d",
    );
    const AMENDMENT: &str = concat!(
        "820381a400a400820082666f72646572736a64622d313a3237303137011b0005fa3424381d700201",
        "0319012c01a30082018263626f626561646d696e0463742d3106a1656279746573613702427b7d03",
        "1b0005fa3424382158",
    );

    /// Goal: the bytes of a resolution are what docs/design/records.md says, for ever. Method: its
    /// vector, which was spelled by another library.
    #[test]
    fn the_wal_form_of_a_resolution_is_fixed() {
        let record = Record::Resolved(Resolved {
            log: LogId(1),
            seqs: vec![300, 301],
            by: Principal::Doorbook,
            at: Timestamp::from_seconds(1_700_000_000),
            version: "0.3.0".into(),
        });
        let bytes = minicbor::to_vec(&record).expect("encodes");
        assert_eq!(hex::encode(&bytes), RESOLVED);
        assert_eq!(minicbor::decode::<Record>(&bytes).expect("decodes"), record);
    }

    const RESOLVED: &str = "820c81a50001018219012c19012d02820580031b00060a24181e40000465302e332e30";

    /// Goal: an amendment adds and never overrides. Method: one access that lacks everything and one
    /// that lacks nothing, under the same facts.
    #[test]
    fn facts_complete_and_never_override() {
        use crate::access::tests_support::login;
        let told = |client: &Client| Client { os: Some("Linux".into()), ..client.clone() };
        let application = Client { application: Some("backup".into()), ..Client::default() };
        let facts = Facts {
            principal: Some(Principal::User { name: "eve".into(), database: "admin".into() }),
            peer: Some(Peer::ip([10, 9, 9, 9].into(), None)),
            mechanism: Some("PLAIN".into()),
            client: Some(told(&application)),
            task_id: Some("t-1".into()),
            outcome: Some(Outcome::Success),
            attributes: [("bytes".into(), "7".into())].into(),
        };
        let mut empty = Access {
            principal: Principal::Unauthenticated,
            peer: Peer::Unknown,
            mechanism: None,
            client: None,
            task_id: None,
            outcome: Outcome::Unknown,
            attributes: Attributes::new(),
            ..login()
        };
        facts.complete(&mut empty);
        assert_eq!(Some(&empty.principal), facts.principal.as_ref());
        assert_eq!(Some(empty.peer), facts.peer);
        assert_eq!(empty.mechanism, facts.mechanism);
        assert_eq!(empty.client.as_deref(), facts.client.as_ref());
        assert_eq!(empty.task_id, facts.task_id);
        assert_eq!(Some(&empty.outcome), facts.outcome.as_ref());
        assert_eq!(empty.attributes, facts.attributes);

        let full = Access {
            client: Some(application.clone().into()),
            task_id: Some("t-0".into()),
            attributes: [("bytes".into(), "1".into())].into(),
            ..login()
        };
        let mut amended = full.clone();
        facts.complete(&mut amended);
        assert_eq!(amended, Access { client: Some(told(&application).into()), ..full });
    }

    #[test]
    fn an_import_counts_logins_failures_and_what_is_neither() {
        use crate::access::tests_support::login;
        use crate::{Class, Outcome};
        let failure = Outcome::Failure { reason: None, code: None };
        let mut counts = ImportCounts::default();
        counts.count(&login());
        counts.count(&Access { classes: Class::Unconfirmed.into(), ..login() });
        counts.count(&Access { classes: Class::Suspect.into(), ..login() });
        counts.count(&Access { outcome: failure.clone(), ..login() });
        counts.count(&Access {
            outcome: failure.clone(),
            classes: Class::Inferred.into(),
            ..login()
        });
        counts.count(&Access { outcome: failure, action: Action::Authorize, ..login() });
        let expected = ImportCounts {
            events: 6,
            successes: 2,
            unconfirmed: 1,
            suspect: 1,
            failures: 1,
            ..ImportCounts::default()
        };
        assert_eq!(counts, expected);
    }
}

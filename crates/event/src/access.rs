//! [`Access`]: one attempt to get at something, as the source told it.

use std::fmt;
use std::net::IpAddr;

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::record::Actor;
use crate::text::Shared;
use crate::{Attributes, Target, Text, Timestamp};

/// Who did what to which target, from where, when, and was it allowed. Never changed after commit.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Access {
    /// What was accessed.
    #[n(0)]
    pub target: Target,
    /// When, as the source claims. The instant that answers are ordered and filtered by.
    #[n(1)]
    pub event_time: Timestamp,
    /// The time as the source wrote it; part of the identity.
    #[n(2)]
    pub written_time: WrittenTime,
    /// What was tried.
    #[n(3)]
    pub action: Action,
    /// How it ended.
    #[n(4)]
    pub outcome: Outcome,
    /// Who.
    #[n(5)]
    pub principal: Principal,
    /// The authentication mechanism, in the source's spelling.
    #[n(6)]
    pub mechanism: Option<Text>,
    /// From where.
    #[n(7)]
    pub peer: Peer,
    /// `true` when `peer` is not in the record itself but was joined from the connection's other
    /// records; such an address is shown and searched, and is not part of the identity.
    #[n(8)]
    pub peer_joined: bool,
    /// The source's number for the connection; starts again with each process.
    #[n(9)]
    pub connection: Option<u64>,
    /// When the accessed process started, where the source says so.
    #[n(10)]
    pub process_start: Option<Timestamp>,
    /// What the client said of itself on this connection.
    #[n(11)]
    pub client: Option<Shared<Client>>,
    /// The source says that this is the speculative half of an authentication.
    #[n(12)]
    pub speculative: Option<bool>,
    /// Flags for filters, never reasons to drop.
    #[n(13)]
    pub classes: Classes,
    /// What the source knows beyond the columns.
    #[n(14)]
    pub attributes: Attributes,
    /// The record exactly as received, without its transport's wrapping; empty where the source
    /// has no separate raw record.
    #[cbor(n(15), with = "minicbor::bytes")]
    pub raw: Vec<u8>,
    /// The task within which it was done, by the source's id.
    #[n(16)]
    pub task_id: Option<Text>,
}

impl Access {
    /// Someone used Doorbook, by our own word and clock: a success without attributes.
    pub fn own(by: &Actor, action: Action, target: Target, now: Timestamp) -> Access {
        Access {
            target,
            event_time: now,
            written_time: WrittenTime::Complete,
            action,
            outcome: Outcome::Success,
            principal: by.principal.clone(),
            mechanism: None,
            peer: by.peer,
            peer_joined: false,
            connection: None,
            process_start: None,
            client: None,
            speculative: None,
            classes: Classes::NONE,
            attributes: Attributes::new(),
            raw: Vec::new(),
            task_id: None,
        }
    }
}

/// The time as the source wrote it. A complete time (date, year and zone) is one instant however
/// it is spelled. One without year or zone stays text, because the instant is our guess and the
/// same line must be the same event under a better guess.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum WrittenTime {
    /// The text named one instant: it is the event's time.
    #[n(0)]
    Complete,
    /// The text, verbatim, from which `event_time` was guessed.
    #[n(1)]
    Partial(#[n(0)] Text),
}

/// What was tried. The numbers are on disk and in proofs and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// To prove who one is.
    #[n(1)]
    Authenticate,
    /// To do what one has no right to; recorded when it was denied.
    #[n(2)]
    Authorize,
    /// To learn an array's schema.
    #[n(16)]
    ReadSchema,
    /// To learn how much a query could return at most.
    #[n(17)]
    MaxBufferSizes,
    /// To learn where an array has cells.
    #[n(18)]
    NonEmptyDomain,
    /// To read cells.
    #[n(19)]
    QueryRead,
    /// To write cells.
    #[n(20)]
    QueryWrite,
    /// To delete cells by a condition.
    #[n(21)]
    QueryDelete,
    /// To create an array.
    #[n(22)]
    Create,
    /// To delete an array.
    #[n(23)]
    Delete,
    /// To make an array known.
    #[n(24)]
    Register,
    /// To make an array no longer known.
    #[n(25)]
    Deregister,
    /// To run a function over an array.
    #[n(26)]
    Udf,
    /// To read an array's own metadata.
    #[n(27)]
    ArrayMetadataGet,
    /// To change an array's own metadata.
    #[n(28)]
    ArrayMetadataUpdate,
    /// To learn how much a query will return.
    #[n(29)]
    EstimatedResultSizes,
    /// To learn of what fragments an array consists.
    #[n(30)]
    ReadFragmentInfo,
    /// To read the enumerations of a schema.
    #[n(31)]
    ReadEnumerations,
    /// To change what is known of an array: its name, description, tags.
    #[n(32)]
    Update,
    /// To ask what is known of an array.
    #[n(33)]
    Info,
    /// To run what is registered.
    #[n(34)]
    Run,
    /// To merge fragments, commits or metadata of an array.
    #[n(35)]
    Consolidate,
    /// To remove what consolidation has merged.
    #[n(36)]
    Vacuum,
    /// To change an array's schema.
    #[n(37)]
    SchemaEvolution,
    /// To change who may do what with an array.
    #[n(38)]
    Share,
    /// To delete fragments of an array.
    #[n(39)]
    DeleteFragments,
    /// To move an array elsewhere.
    #[n(40)]
    Move,
    /// Doorbook's server began.
    #[n(64)]
    ServerStart,
    /// Doorbook's server ended.
    #[n(65)]
    ServerStop,
    /// Someone read the history.
    #[n(66)]
    Query,
    /// Someone changed projects, clusters, hosts, keys or roles.
    #[n(67)]
    RegistryChange,
    /// Someone imported records.
    #[n(68)]
    Import,
    /// Someone took an import back.
    #[n(69)]
    Retract,
    /// Someone obtained or gave back a token.
    #[n(70)]
    Token,
    /// Someone copied the whole data directory.
    #[n(71)]
    Backup,
    /// Something was found that somebody should know, is over, or was acknowledged.
    #[n(72)]
    Alarm,
    /// Doorbook's own clock was set.
    #[n(73)]
    ClockJump,
    /// Doorbook's own clock began or ceased to be synchronised.
    #[n(74)]
    ClockSync,
    /// Someone marked a row of a review, or closed what was to be followed up.
    #[n(75)]
    Review,
    /// Someone signed a round of a review.
    #[n(76)]
    ReviewSignOff,
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 40] = [
        Action::Authenticate,
        Action::Authorize,
        Action::ReadSchema,
        Action::MaxBufferSizes,
        Action::NonEmptyDomain,
        Action::QueryRead,
        Action::QueryWrite,
        Action::QueryDelete,
        Action::Create,
        Action::Delete,
        Action::Register,
        Action::Deregister,
        Action::Udf,
        Action::ArrayMetadataGet,
        Action::ArrayMetadataUpdate,
        Action::EstimatedResultSizes,
        Action::ReadFragmentInfo,
        Action::ReadEnumerations,
        Action::Update,
        Action::Info,
        Action::Run,
        Action::Consolidate,
        Action::Vacuum,
        Action::SchemaEvolution,
        Action::Share,
        Action::DeleteFragments,
        Action::Move,
        Action::ServerStart,
        Action::ServerStop,
        Action::Query,
        Action::RegistryChange,
        Action::Import,
        Action::Retract,
        Action::Token,
        Action::Backup,
        Action::Alarm,
        Action::ClockJump,
        Action::ClockSync,
        Action::Review,
        Action::ReviewSignOff,
    ];

    /// The word for it in answers and columns.
    pub const fn word(self) -> &'static str {
        match self {
            Action::Authenticate => "authenticate",
            Action::Authorize => "authorize",
            Action::ReadSchema => "read_schema",
            Action::MaxBufferSizes => "max_buffer_sizes",
            Action::NonEmptyDomain => "non_empty_domain",
            Action::QueryRead => "query_read",
            Action::QueryWrite => "query_write",
            Action::QueryDelete => "query_delete",
            Action::Create => "create",
            Action::Delete => "delete",
            Action::Register => "register",
            Action::Deregister => "deregister",
            Action::Udf => "udf",
            Action::ArrayMetadataGet => "array_metadata_get",
            Action::ArrayMetadataUpdate => "array_metadata_update",
            Action::EstimatedResultSizes => "estimated_result_sizes",
            Action::ReadFragmentInfo => "read_fragment_info",
            Action::ReadEnumerations => "read_enumerations",
            Action::Update => "update",
            Action::Info => "info",
            Action::Run => "run",
            Action::Consolidate => "consolidate",
            Action::Vacuum => "vacuum",
            Action::SchemaEvolution => "schema_evolution",
            Action::Share => "share",
            Action::DeleteFragments => "delete_fragments",
            Action::Move => "move",
            Action::ServerStart => "server_start",
            Action::ServerStop => "server_stop",
            Action::Query => "query",
            Action::RegistryChange => "registry_change",
            Action::Import => "import",
            Action::Retract => "retract",
            Action::Token => "token",
            Action::Backup => "backup",
            Action::Alarm => "alarm",
            Action::ClockJump => "clock_jump",
            Action::ClockSync => "clock_sync",
            Action::Review => "review",
            Action::ReviewSignOff => "review_sign_off",
        }
    }

    /// The action of that word.
    pub fn from_word(word: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.word() == word)
    }

    /// What can be done to an array.
    pub fn of_arrays() -> impl Iterator<Item = Action> {
        Action::ALL.into_iter().filter(|action| action.is_of_arrays())
    }

    /// Whether it is done through Doorbook itself, so that it is in the history whoever watches.
    pub const fn is_ours(self) -> bool {
        matches!(self, Action::Register | Action::Deregister | Action::Update | Action::Share)
    }

    /// Whether it is done to an array; logins are not, and neither is what concerns Doorbook itself.
    pub const fn is_of_arrays(self) -> bool {
        self as u8 >= Action::ReadSchema as u8 && self as u8 <= Action::Move as u8
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Outcome {
    /// Let in, or allowed.
    #[n(0)]
    Success,
    /// Refused.
    #[n(1)]
    Failure {
        /// The source's own words.
        #[n(0)]
        reason: Option<Text>,
        /// The source's number for the reason.
        #[n(1)]
        code: Option<i64>,
    },
    /// The source does not say.
    #[n(2)]
    Unknown,
}

impl Outcome {
    /// The word for it in answers and columns.
    pub const fn word(&self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Failure { .. } => "failure",
            Outcome::Unknown => "unknown",
        }
    }

    /// The source's own words for a failure.
    pub fn reason(&self) -> Option<&Text> {
        match self {
            Outcome::Failure { reason, .. } => reason.as_ref(),
            Outcome::Success | Outcome::Unknown => None,
        }
    }
}

/// Who.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Principal {
    /// Nobody gave a name, or the source does not say which.
    #[n(0)]
    Unauthenticated,
    /// A user of the accessed system.
    #[n(1)]
    User {
        /// The name; may be empty, and may hold any character.
        #[n(0)]
        name: Text,
        /// The database or realm that knows the name; empty where the source does not say.
        #[n(1)]
        database: Text,
    },
    /// One of Doorbook's API keys, by its public half.
    #[n(2)]
    ApiKey(#[n(0)] Text),
    /// One of Doorbook's service accounts, by its client id.
    #[n(3)]
    ServiceAccount(#[n(0)] Text),
    /// A user of the machine Doorbook runs on, by the operating system's word.
    #[n(4)]
    OsUser {
        /// User id.
        #[n(0)]
        uid: u32,
        /// The name, where the system knows one.
        #[n(1)]
        name: Option<Text>,
    },
    /// Doorbook itself.
    #[n(5)]
    Doorbook,
}

impl Principal {
    /// The word for the kind in columns.
    pub const fn kind(&self) -> &'static str {
        match self {
            Principal::Unauthenticated => "unauthenticated",
            Principal::User { .. } => "user",
            Principal::ApiKey(_) => "api_key",
            Principal::ServiceAccount(_) => "service_account",
            Principal::OsUser { .. } => "os_user",
            Principal::Doorbook => "doorbook",
        }
    }
}

impl Principal {
    /// The name by which it is found: a user's, a key's public half, a client id, an OS user's.
    pub fn name(&self) -> Option<&Text> {
        match self {
            Principal::User { name, .. }
            | Principal::ApiKey(name)
            | Principal::ServiceAccount(name) => Some(name),
            Principal::OsUser { name, .. } => name.as_ref(),
            Principal::Unauthenticated | Principal::Doorbook => None,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Unauthenticated => f.write_str("unauthenticated"),
            Principal::User { name, database } if database.is_empty() => f.write_str(name),
            Principal::User { name, database } => write!(f, "{name}@{database}"),
            Principal::ApiKey(public) => write!(f, "key {public}"),
            Principal::ServiceAccount(id) => write!(f, "service account {id}"),
            Principal::OsUser { uid, name: Some(name) } => write!(f, "{name} (uid {uid})"),
            Principal::OsUser { uid, name: None } => write!(f, "uid {uid}"),
            Principal::Doorbook => f.write_str("doorbook"),
        }
    }
}

/// From where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// The source does not say.
    Unknown,
    /// A socket of the same machine that has no address.
    UnixSocket,
    /// An address, and the port where the source gives one.
    Ip {
        /// The address. An IPv4-mapped IPv6 address is stored as the IPv4 address it stands for.
        address: IpAddr,
        /// TCP port.
        port: Option<u16>,
    },
}

impl Peer {
    /// An address with or without port.
    pub fn ip(address: IpAddr, port: Option<u16>) -> Peer {
        Peer::Ip { address: address.to_canonical(), port }
    }

    /// The address, where there is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Peer::Ip { address, .. } => Some(*address),
            Peer::Unknown | Peer::UnixSocket => None,
        }
    }

    /// The port, where there is one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Peer::Ip { port, .. } => *port,
            Peer::Unknown | Peer::UnixSocket => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Unknown => f.write_str("unknown"),
            Peer::UnixSocket => f.write_str("unix"),
            Peer::Ip { address, port: None } => write!(f, "{address}"),
            Peer::Ip { address: IpAddr::V4(a), port: Some(port) } => write!(f, "{a}:{port}"),
            Peer::Ip { address: IpAddr::V6(a), port: Some(port) } => write!(f, "[{a}]:{port}"),
        }
    }
}

/// On disk a peer is null (unknown), an empty array (unix socket), or `[address]` /
/// `[address, port]` with the address as 4 or 16 bytes.
impl<C> Encode<C> for Peer {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let Peer::Ip { address, port } = self else {
            return match self {
                Peer::UnixSocket => e.array(0)?.ok(),
                _ => e.null()?.ok(),
            };
        };
        e.array(1 + u64::from(port.is_some()))?;
        match address {
            IpAddr::V4(a) => e.bytes(&a.octets())?,
            IpAddr::V6(a) => e.bytes(&a.octets())?,
        };
        if let Some(port) = port {
            e.u16(*port)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Peer {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Peer, minicbor::decode::Error> {
        if d.datatype()? == minicbor::data::Type::Null {
            d.null()?;
            return Ok(Peer::Unknown);
        }
        let length = d.array()?;
        if length == Some(0) {
            return Ok(Peer::UnixSocket);
        }
        let bytes = d.bytes()?;
        let address = match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
            (Ok(v4), _) => IpAddr::from(v4),
            (_, Ok(v6)) => IpAddr::from(v6),
            _ => return Err(minicbor::decode::Error::message("an address has 4 or 16 bytes")),
        };
        let port = match length {
            Some(1) => None,
            Some(2) => Some(d.u16()?),
            _ => return Err(minicbor::decode::Error::message("a peer has at most 2 members")),
        };
        Ok(Peer::Ip { address, port })
    }
}

/// What a client said of itself when it connected. None of it is verified by anyone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Client {
    /// The application's name.
    #[n(0)]
    pub application: Option<Text>,
    /// The driver's name.
    #[n(1)]
    pub driver: Option<Text>,
    /// The driver's version.
    #[n(2)]
    pub driver_version: Option<Text>,
    /// Operating system, as one text.
    #[n(3)]
    pub os: Option<Text>,
    /// Language runtime.
    #[n(4)]
    pub platform: Option<Text>,
    /// The router through which the client came, `host:port`.
    #[n(5)]
    pub via: Option<Text>,
    /// The real client's address where a router forwarded it.
    #[n(6)]
    pub origin: Option<Peer>,
}

/// One flag of [`Classes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u16)]
pub enum Class {
    /// The system talking to itself (`__system`).
    System = 1,
    /// A monitoring or automation agent.
    Monitor = 2,
    /// The second line of one attempt (a fallback after a refused speculative start).
    Retry = 4,
    /// A success line that its own log contradicts; never counted as a login.
    Suspect = 8,
    /// A success line that its own log can neither confirm nor contradict; counted.
    Unconfirmed = 16,
    /// The time is doubtful.
    Clock = 32,
    /// No line says it outright; Doorbook infers it from others.
    Inferred = 64,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 7] = [
        Class::System,
        Class::Monitor,
        Class::Retry,
        Class::Suspect,
        Class::Unconfirmed,
        Class::Clock,
        Class::Inferred,
    ];

    /// The word for it in answers.
    pub const fn word(self) -> &'static str {
        match self {
            Class::System => "system",
            Class::Monitor => "monitor",
            Class::Retry => "retry",
            Class::Suspect => "suspect",
            Class::Unconfirmed => "unconfirmed",
            Class::Clock => "clock",
            Class::Inferred => "inferred",
        }
    }

    /// The class of that word.
    pub fn from_word(word: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.word() == word)
    }
}

/// A set of [`Class`]es. The bits are on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Classes(#[n(0)] u16);

impl Classes {
    /// No class.
    pub const NONE: Classes = Classes(0);

    /// From stored bits; bits that this version does not know are kept.
    pub const fn from_bits(bits: u16) -> Classes {
        Classes(bits)
    }

    /// The bits as stored.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The set with `class` in it.
    #[must_use]
    pub const fn with(self, class: Class) -> Classes {
        Classes(self.0 | class as u16)
    }

    /// Adds `class`.
    pub fn insert(&mut self, class: Class) {
        *self = self.with(class);
    }

    /// Whether `class` is in the set.
    pub const fn contains(self, class: Class) -> bool {
        self.0 & class as u16 != 0
    }

    /// Whether the two sets share a class.
    pub const fn intersects(self, other: Classes) -> bool {
        self.0 & other.0 != 0
    }

    /// The known classes in the set.
    pub fn iter(self) -> impl Iterator<Item = Class> {
        Class::ALL.into_iter().filter(move |class| self.contains(*class))
    }
}

impl From<Class> for Classes {
    fn from(class: Class) -> Classes {
        Classes::NONE.with(class)
    }
}

impl FromIterator<Class> for Classes {
    fn from_iter<I: IntoIterator<Item = Class>>(classes: I) -> Classes {
        classes.into_iter().fold(Classes::NONE, Classes::with)
    }
}

impl fmt::Debug for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
pub(crate) mod tests_support {
    use super::*;

    /// A login as a mongod reports it, with every column filled.
    pub(crate) fn login() -> Access {
        Access {
            target: Target::Host { cluster: "orders".into(), host: "db-1:27017".into() },
            event_time: Timestamp::from_millis(1_682_476_736_454),
            written_time: WrittenTime::Complete,
            action: Action::Authenticate,
            outcome: Outcome::Success,
            principal: Principal::User { name: "alice".into(), database: "admin".into() },
            mechanism: Some("SCRAM-SHA-256".into()),
            peer: Peer::ip(IpAddr::from([10, 0, 0, 1]), Some(4)),
            peer_joined: false,
            connection: Some(7),
            process_start: Some(Timestamp::from_seconds(1_682_000_000)),
            client: Some(Shared::from(Client {
                application: Some("orders-api".into()),
                ..Client::default()
            })),
            speculative: Some(true),
            classes: Classes::NONE,
            attributes: Attributes::new(),
            raw: b"{\"t\":1}".to_vec(),
            task_id: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::tests_support::login;
    use super::*;
    use crate::Record;

    /// Test vector of docs/design/records.md. If this fails, logs on disk no longer read.
    #[test]
    fn the_wal_form_of_a_login_is_fixed() {
        let record = Record::Access(login());
        let bytes = minicbor::to_vec(&record).expect("encodes");
        assert_eq!(hex::encode(&bytes), WAL_FORM_OF_LOGIN);
        assert_eq!(minicbor::decode::<Record>(&bytes).expect("decodes"), record);
    }

    const WAL_FORM_OF_LOGIN: &str = concat!(
        "820181b000820082666f72646572736a64622d313a3237303137011b0005fa3424381d7002820080",
        "0301048200800582018265616c6963656561646d696e066d534352414d2d5348412d323536078244",
        "0a0000010408f409070a1b0005f9c5248320000ba1006a6f72646572732d6170690cf50d000ea00f",
        "477b2274223a317d",
    );

    #[test]
    fn peers_survive_their_disk_form() {
        let v6 = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        let v4 = IpAddr::from([192, 0, 2, 1]);
        for peer in [
            Peer::Unknown,
            Peer::UnixSocket,
            Peer::ip(v4, None),
            Peer::ip(v4, Some(1)),
            Peer::ip(v6, Some(65535)),
        ] {
            let bytes = minicbor::to_vec(peer).expect("encodes");
            assert_eq!(minicbor::decode::<Peer>(&bytes).expect("decodes"), peer);
        }
        assert_eq!(Peer::ip("::ffff:192.0.2.1".parse().expect("valid"), None), Peer::ip(v4, None));
    }

    #[test]
    fn a_record_kind_that_this_version_does_not_know_is_an_error() {
        assert!(minicbor::decode::<Record>(&[0x82, 0x18, 0x63, 0x80]).is_err());
        assert!(minicbor::decode::<Record>(&[0x82, 2, 0x80]).is_err());
    }

    #[test]
    fn words_are_read_as_they_are_shown() {
        for action in Action::ALL {
            assert_eq!(Action::from_word(action.word()), Some(action));
        }
        for class in Class::ALL {
            assert_eq!(Class::from_word(class.word()), Some(class));
        }
    }
}

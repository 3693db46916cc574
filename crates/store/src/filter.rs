//! [`Filter`]: what can be asked of the history, and [`Page`]: the answer.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use doorbook_event::{Action, Classes, LogId, Outcome, Scope, Seq, Text, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Placed;
use crate::error::{Error, ErrorKind};

/// Which rows are wanted. All conditions must hold; an empty list of alternatives allows all.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Whose history.
    pub scope: Scope,
    /// Which kinds of row.
    pub kind: Kind,
    /// Which targets.
    pub targets: Targets,
    /// Earliest event time, inclusive.
    pub from: Timestamp,
    /// Latest event time, inclusive.
    pub to: Timestamp,
    /// Which actions.
    pub actions: Vec<Action>,
    /// Which outcomes.
    pub outcomes: Vec<OutcomeKind>,
    /// Which principals.
    pub principals: Vec<PrincipalIs>,
    /// From where.
    pub peers: Vec<PeerIs>,
    /// Which authentication mechanisms, as the source spells them.
    pub mechanisms: Vec<TextIs>,
    /// Which applications, as the client names itself.
    pub applications: Vec<TextIs>,
    /// Which tasks.
    pub task_ids: Vec<TextIs>,
    /// Which sources told it.
    pub sources: Vec<TextIs>,
    /// Which connections, by the source's number.
    pub connections: Vec<u64>,
    /// Only of the process that started then.
    pub process_start: Option<Timestamp>,
    /// Only rows with at least one of these classes; none: all rows.
    pub with: Classes,
    /// Only rows whose raw record holds any of these.
    pub raw_contains: Vec<Text>,
    /// What leaves a row out.
    pub unwanted: Unwanted,
    /// At most this many rows; the total counts them all.
    pub limit: usize,
    /// So many of the newest rows are left out.
    pub skip: usize,
    /// Whether rows that are older than those of the page are counted, too; otherwise the total says
    /// nothing, and they are not looked at.
    pub is_counted: bool,
    /// At most rows of so much memory, but always one.
    pub size_bytes_max: usize,
    /// Only rows after this one in the order of answers.
    pub after: Option<Order>,
    /// The state of the history that the answer is taken from; `None` for the present one.
    pub as_of: Option<AsOf>,
    /// Only rows that were not in the answer to the same question at this earlier state of the history:
    /// those that were recorded since, and those that match only by what was told of them since.
    pub since: Option<AsOf>,
}

impl Filter {
    /// Every access of a scope.
    pub fn all(scope: Scope, limit: usize) -> Filter {
        Filter {
            scope,
            kind: Kind::Access,
            targets: Targets::All,
            from: Timestamp::MIN,
            to: Timestamp::MAX,
            actions: Vec::new(),
            outcomes: Vec::new(),
            principals: Vec::new(),
            peers: Vec::new(),
            mechanisms: Vec::new(),
            applications: Vec::new(),
            task_ids: Vec::new(),
            sources: Vec::new(),
            connections: Vec::new(),
            process_start: None,
            with: Classes::NONE,
            raw_contains: Vec::new(),
            unwanted: Unwanted::default(),
            limit,
            skip: 0,
            is_counted: true,
            size_bytes_max: usize::MAX,
            after: None,
            as_of: None,
            since: None,
        }
    }

    /// Whether what is told of a row later can make it match.
    pub fn may_match_later(&self) -> bool {
        crate::joined::depends(self)
    }

    /// Whether rows of a target, by the names of its group and member, are wanted.
    pub fn is_target(&self, (group, member): (&str, &str)) -> bool {
        let one = |list: &[TextIs], name| list.iter().any(|is| is.fits(Some(name)));
        let is_wanted = match &self.targets {
            Targets::All => true,
            Targets::Group(wanted) => *wanted == group,
            Targets::Members(wanted) => wanted.iter().any(|(g, m)| *g == group && *m == member),
            Targets::Like { groups, members } => {
                (groups.is_empty() || one(groups, group))
                    && (members.is_empty() || one(members, member))
            }
        };
        is_wanted && !one(&self.unwanted.groups, group) && !one(&self.unwanted.members, member)
    }

    /// What rows must be besides their target and time.
    pub(crate) fn wanted(&self) -> Alternatives<'_> {
        Alternatives {
            actions: &self.actions,
            outcomes: &self.outcomes,
            principals: &self.principals,
            peers: &self.peers,
            mechanisms: &self.mechanisms,
            applications: &self.applications,
            task_ids: &self.task_ids,
            sources: &self.sources,
            connections: &self.connections,
            process_start: self.process_start,
            classes: self.with,
            raw_contains: &self.raw_contains,
        }
    }

    /// What rows must not be besides their target.
    pub(crate) fn unwanted(&self) -> Alternatives<'_> {
        let of = &self.unwanted;
        Alternatives {
            actions: &of.actions,
            outcomes: &of.outcomes,
            principals: &of.principals,
            peers: &of.peers,
            mechanisms: &of.mechanisms,
            applications: &of.applications,
            task_ids: &of.task_ids,
            sources: &of.sources,
            connections: &of.connections,
            process_start: None,
            classes: of.classes,
            raw_contains: &of.raw_contains,
        }
    }
}

/// What leaves a row out: it is one of the alternatives of any of these lists. What a row does not
/// have never does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unwanted {
    /// Names of groups of targets: clusters.
    pub groups: Vec<TextIs>,
    /// Names of targets in their group: hosts, arrays.
    pub members: Vec<TextIs>,
    /// Actions.
    pub actions: Vec<Action>,
    /// Outcomes.
    pub outcomes: Vec<OutcomeKind>,
    /// Principals.
    pub principals: Vec<PrincipalIs>,
    /// Where rows come from.
    pub peers: Vec<PeerIs>,
    /// Authentication mechanisms.
    pub mechanisms: Vec<TextIs>,
    /// Applications.
    pub applications: Vec<TextIs>,
    /// Tasks.
    pub task_ids: Vec<TextIs>,
    /// Sources.
    pub sources: Vec<TextIs>,
    /// Connections, by the source's number.
    pub connections: Vec<u64>,
    /// Any of these classes.
    pub classes: Classes,
    /// Any of these in the raw record.
    pub raw_contains: Vec<Text>,
}

impl Unwanted {
    /// Rows with any of these classes.
    pub fn classes(classes: Classes) -> Unwanted {
        Unwanted { classes, ..Unwanted::default() }
    }
}

/// The lists of a [`Filter`], or of its [`Unwanted`]; an empty one says nothing.
#[derive(Clone, Copy)]
pub(crate) struct Alternatives<'a> {
    pub(crate) actions: &'a [Action],
    pub(crate) outcomes: &'a [OutcomeKind],
    pub(crate) principals: &'a [PrincipalIs],
    pub(crate) peers: &'a [PeerIs],
    pub(crate) mechanisms: &'a [TextIs],
    pub(crate) applications: &'a [TextIs],
    pub(crate) task_ids: &'a [TextIs],
    pub(crate) sources: &'a [TextIs],
    pub(crate) connections: &'a [u64],
    pub(crate) process_start: Option<Timestamp>,
    pub(crate) classes: Classes,
    pub(crate) raw_contains: &'a [Text],
}

impl Alternatives<'_> {
    /// Whether anything is asked for that an amendment can add.
    pub(crate) fn depend_on_amendments(&self) -> bool {
        !self.outcomes.is_empty()
            || !self.principals.is_empty()
            || !self.peers.is_empty()
            || !self.mechanisms.is_empty()
            || !self.applications.is_empty()
            || !self.task_ids.is_empty()
    }

    /// Whether anything is asked for that only an access has.
    pub(crate) fn test_access(&self) -> bool {
        self.depend_on_amendments()
            || !self.actions.is_empty()
            || !self.connections.is_empty()
            || self.process_start.is_some()
            || self.classes.bits() != 0
    }

    /// Whether anything is asked for at all.
    pub(crate) fn test_columns(&self) -> bool {
        self.test_access() || !self.sources.is_empty() || !self.raw_contains.is_empty()
    }
}

/// A condition on a text, upper and lower case being different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextIs {
    /// There is none.
    Absent,
    /// This one.
    Exactly(Text),
    /// Any that fits.
    Like(Wildcard),
}

impl TextIs {
    /// Whether a text is meant, or that there is none.
    pub fn fits(&self, text: Option<&str>) -> bool {
        match (self, text) {
            (TextIs::Absent, text) => text.is_none(),
            (TextIs::Exactly(wanted), Some(text)) => *wanted == text,
            (TextIs::Like(wildcard), Some(text)) => wildcard.fits(text),
            (_, None) => false,
        }
    }

    /// The only text that is meant.
    pub fn exactly(&self) -> Option<&Text> {
        match self {
            TextIs::Exactly(text) => Some(text),
            TextIs::Absent | TextIs::Like(_) => None,
        }
    }
}

impl From<Text> for TextIs {
    fn from(text: Text) -> TextIs {
        TextIs::Exactly(text)
    }
}

impl From<&str> for TextIs {
    fn from(text: &str) -> TextIs {
        TextIs::Exactly(text.into())
    }
}

impl From<String> for TextIs {
    fn from(text: String) -> TextIs {
        TextIs::Exactly(text.into())
    }
}

/// A text with gaps, each of which stands for any characters or none: `svc-*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wildcard {
    first: Text,
    /// What stands between two gaps, in this order.
    middle: Vec<Text>,
    last: Text,
}

impl Wildcard {
    /// What stands before, between and behind the gaps; `None` without a gap.
    pub fn new(pieces: &[&str]) -> Option<Wildcard> {
        let [first, middle @ .., last] = pieces else { return None };
        let middle = middle.iter().filter(|piece| !piece.is_empty());
        let middle = middle.map(|piece| Text::from(*piece)).collect();
        Some(Wildcard { first: (*first).into(), middle, last: (*last).into() })
    }

    /// Whether a text fits.
    pub fn fits(&self, text: &str) -> bool {
        let rest = text.strip_prefix(&*self.first).and_then(|text| text.strip_suffix(&*self.last));
        // The first place is always the best: it leaves most to what follows.
        let after = |rest: &'_ str, piece: &Text| rest.find(&**piece).map(|at| at + piece.len());
        let Some(mut rest) = rest else { return false };
        for piece in &self.middle {
            match after(rest, piece) {
                Some(end) => rest = &rest[end..],
                None => return false,
            }
        }
        true
    }
}

/// How a row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// Let in, or allowed.
    Success,
    /// Refused.
    Failure,
    /// The source does not say.
    Unknown,
}

impl OutcomeKind {
    /// The word for it, as [`Outcome::word`] has it.
    pub const fn word(self) -> &'static str {
        match self {
            OutcomeKind::Success => "success",
            OutcomeKind::Failure => "failure",
            OutcomeKind::Unknown => "unknown",
        }
    }

    /// Success for `true`, failure for `false`.
    pub const fn of_success(success: bool) -> OutcomeKind {
        if success { OutcomeKind::Success } else { OutcomeKind::Failure }
    }

    /// The kind of an outcome.
    pub const fn of(outcome: &Outcome) -> OutcomeKind {
        match outcome {
            Outcome::Success => OutcomeKind::Success,
            Outcome::Failure { .. } => OutcomeKind::Failure,
            Outcome::Unknown => OutcomeKind::Unknown,
        }
    }
}

/// A condition on who came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrincipalIs {
    /// A user of the accessed system by this name, whatever its database.
    User(TextIs),
    /// The user of this name in this database.
    UserOf {
        /// The name.
        name: TextIs,
        /// The database that knows it. One with an empty name is none.
        database: TextIs,
    },
    /// Who is of no database: users of whom none is told, and all who are no users.
    WithoutDatabase,
    /// A principal of any kind whose name (a key's public half, a client id, an OS user's name, a
    /// user's name) is this.
    Named(TextIs),
    /// Nobody gave a name.
    Unauthenticated,
}

impl PrincipalIs {
    /// What is asked of the name; `None` for nobody's and for anybody's.
    pub(crate) fn name(&self) -> Option<&TextIs> {
        match self {
            PrincipalIs::User(name) | PrincipalIs::UserOf { name, .. } => Some(name),
            PrincipalIs::Named(name) => Some(name),
            PrincipalIs::Unauthenticated | PrincipalIs::WithoutDatabase => None,
        }
    }

    /// The only name that is meant.
    pub(crate) fn exactly(&self) -> Option<&Text> {
        self.name().and_then(TextIs::exactly)
    }
}

/// A condition on where someone came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerIs {
    /// An address of this network; a single address is one of full length.
    Network(Network),
    /// A Unix socket, which has no address.
    UnixSocket,
}

impl PeerIs {
    /// From exactly this address.
    pub fn exactly(address: IpAddr) -> PeerIs {
        PeerIs::Network(Network::exactly(address))
    }
}

/// The addresses that share the first bits of one: `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

impl Network {
    /// The network of an address; bits beyond `length` are dropped. `None` if the address has fewer
    /// bits. An IPv4-mapped IPv6 address means the IPv4 address, as in records.
    pub fn new(address: IpAddr, length: u8) -> Option<Network> {
        let (address, length) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) => (v4, length.checked_sub(96)?),
            (_, address) => (address, length),
        };
        let address = match address {
            IpAddr::V4(a) => {
                let shift = 32_u8.checked_sub(length)?;
                let mask = u32::MAX.checked_shl(shift.into()).unwrap_or(0);
                IpAddr::V4((a.to_bits() & mask).into())
            }
            IpAddr::V6(a) => {
                let shift = 128_u8.checked_sub(length)?;
                let mask = u128::MAX.checked_shl(shift.into()).unwrap_or(0);
                IpAddr::V6((a.to_bits() & mask).into())
            }
        };
        Some(Network { address, length })
    }

    /// Exactly this address.
    pub fn exactly(address: IpAddr) -> Network {
        let address = address.to_canonical();
        let length = if address.is_ipv4() { 32 } else { 128 };
        Network { address, length }
    }

    /// The one address it holds, if it is one.
    pub fn single(&self) -> Option<IpAddr> {
        (self.length == Network::exactly(self.address).length).then_some(self.address)
    }

    /// Whether it holds an address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && Network::new(address, self.length).is_some_and(|of| of.address == self.address)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(address) => write!(f, "{address}"),
            None => write!(f, "{}/{}", self.address, self.length),
        }
    }
}

impl FromStr for Network {
    type Err = &'static str;

    /// Parses `10.0.0.7`, `10.0.0.0/8`, `2001:db8::/32`.
    fn from_str(text: &str) -> Result<Network, &'static str> {
        const MALFORMED: &str = "an address, or a network such as 10.0.0.0/8";
        let (address, length) = match text.split_once('/') {
            None => (text, None),
            Some((address, length)) => {
                let is_plain = length.bytes().all(|b| b.is_ascii_digit());
                (address, Some(length.parse().ok().filter(|_| is_plain).ok_or(MALFORMED)?))
            }
        };
        let address: IpAddr = address.parse().map_err(|_| MALFORMED)?;
        match length {
            None => Ok(Network::exactly(address)),
            Some(length) => Network::new(address, length).ok_or(MALFORMED),
        }
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Network, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which kinds of row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Accesses, and in the system scope the uses of Doorbook itself.
    Access,
    /// Bytes that could not be read.
    Quarantine,
}

/// Which targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// All of the scope.
    All,
    /// All members of a group: a cluster's hosts.
    Group(Text),
    /// These members, by (group, member).
    Members(Vec<(Text, Text)>),
    /// Members of such a group with such a name; an empty list is any.
    Like {
        /// Names of groups.
        groups: Vec<TextIs>,
        /// Names of members.
        members: Vec<TextIs>,
    },
}

/// A row's place in the order of answers: newest event first; of equal event times the row with
/// the greater log, then the greater seq, comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// Event time.
    pub event_time: Timestamp,
    /// Log.
    pub log: LogId,
    /// Position in the log.
    pub seq: Seq,
}

/// A state of the history: of each log, how many of its records are part of it.
pub type AsOf = Vec<(LogId, Seq)>;

/// Rows, and what they were taken from.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The rows, newest first.
    pub rows: Vec<Placed>,
    /// Whether there are fewer rows than the limit allows, because they are large.
    pub is_cut: bool,
    /// How many rows match, whatever the limit and `after`.
    pub total: u64,
    /// The state that the answer was taken from.
    pub as_of: AsOf,
}

/// What values are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// The target's first name.
    Cluster,
    /// The target's second name.
    Host,
    /// What was tried.
    Action,
    /// How it ended.
    Outcome,
    /// The principal's name.
    Principal,
    /// The database that knows the user.
    Database,
    /// The address; `unix` for a Unix socket.
    Address,
    /// The authentication mechanism.
    Mechanism,
    /// The client's application.
    Application,
    /// The task.
    Task,
    /// Which source told it.
    Source,
}

/// How often each value occurs among the rows that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// The most frequent values with their counts, most frequent first, equal ones by value; `None`
    /// is the rows that have none.
    pub values: Vec<(Option<Text>, u64)>,
    /// How many different values there are, rows without one not counted.
    pub distinct: u64,
    /// How many rows match.
    pub total: u64,
    /// The state that the answer was taken from.
    pub as_of: AsOf,
}

/// How time is cut into stretches: of an instant what its stretch is called, mostly by its beginning,
/// and the first instant after it. Stretches may share a name, such as the same hour of each week.
pub type Cut<'a> = dyn Fn(Timestamp) -> (Timestamp, Timestamp) + Sync + 'a;

/// Stretches of a width, which begin at its multiples since 1970.
pub(crate) fn by_width(
    width_micros: i64,
) -> Result<impl Fn(Timestamp) -> (Timestamp, Timestamp) + Sync, Error> {
    if width_micros <= 0 {
        return Err(Error::new(ErrorKind::Invalid, "a histogram's bars have no width"));
    }
    Ok(move |at: Timestamp| {
        let from = at.micros().div_euclid(width_micros).saturating_mul(width_micros);
        let next = from.saturating_add(width_micros);
        (Timestamp::from_micros(from), Timestamp::from_micros(next))
    })
}

/// What the values of a dimension are ordered by, greatest first; equal ones by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// When they were last seen.
    Last,
    /// When they were first seen.
    First,
    /// How often.
    Count,
    /// How often with a failure.
    Failures,
}

/// The values of a dimension among the rows that match, and when they were seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The first values of their order.
    pub values: Vec<SeenValue>,
    /// How many different values there are, rows without one not counted.
    pub distinct: u64,
    /// How many rows match.
    pub total: u64,
    /// The state that the answer was taken from.
    pub as_of: AsOf,
}

/// A value among the rows that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenValue {
    /// The value; `None` is the rows that have none.
    pub value: Option<Text>,
    /// Its earliest event time.
    pub first: Timestamp,
    /// Its latest event time.
    pub last: Timestamp,
    /// Successes.
    pub successes: u64,
    /// Failures.
    pub failures: u64,
    /// Rows whose source does not say.
    pub unknown: u64,
}

/// A value among the rows that match, and how many of these rows meet further conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The value; `None` is the rows that have none.
    pub value: Option<Text>,
    /// How many of the rows have it.
    pub total: u64,
    /// How many of these meet each of the conditions.
    pub marked: Vec<u64>,
}

/// How many rows match in each stretch of time, by outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// The stretches that hold any row, by what they are called.
    pub bars: Vec<Bar>,
    /// How many rows match.
    pub total: u64,
    /// The state that the answer was taken from.
    pub as_of: AsOf,
}

/// A [`Histogram`] and some [`Top`]s of the same rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// One for each dimension that was asked for.
    pub tops: Vec<Top>,
    /// As in [`Histogram::bars`].
    pub bars: Vec<Bar>,
    /// How many rows match.
    pub total: u64,
    /// The state that the answer was taken from.
    pub as_of: AsOf,
}

/// One stretch of a [`Histogram`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// What it is called: its beginning, unless who cut time says otherwise.
    pub from: Timestamp,
    /// Successes.
    pub successes: u64,
    /// Failures.
    pub failures: u64,
    /// Rows whose source does not say.
    pub unknown: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, shown: Option<&str>, inside: &[&str], outside: &[&str]) {
        let network = text.parse::<Network>().ok();
        assert_eq!(network.map(|network| network.to_string()).as_deref(), shown, "{text}");
        let has = |address: &&str| {
            network.is_some_and(|network| network.contains(address.parse().expect("an address")))
        };
        assert!(inside.iter().all(has), "{text} holds {inside:?}");
        assert!(!outside.iter().any(has), "{text} does not hold {outside:?}");
    }

    #[test]
    fn wildcards_fit_what_stands_around_their_gaps() {
        let check = |pattern: &str, fits: &[&str], does_not: &[&str]| {
            let pieces: Vec<&str> = pattern.split('*').collect();
            let wildcard = Wildcard::new(&pieces).expect("has a gap");
            for text in fits {
                assert!(wildcard.fits(text), "{pattern} {text}");
            }
            for text in does_not {
                assert!(!wildcard.fits(text), "{pattern} {text}");
            }
        };
        check("svc-*", &["svc-", "svc-a", "svc-*"], &["svc", "Svc-a", "a-svc-"]);
        check("*-svc", &["-svc", "é-svc"], &["svc", "-svc-"]);
        check("*", &["", "anything"], &[]);
        check("a*a", &["aa", "aba"], &["a", "ab", "ba"]);
        check("a*bc*bc*d", &["abcbcd", "a-bc-bc-d"], &["abcd", "abcbc", "abcbd"]);
        check("**x**", &["x", "axb"], &["", "a"]);
        assert_eq!(Wildcard::new(&["none"]), None);
    }

    #[test]
    fn networks_hold_the_addresses_that_share_their_bits() {
        check("10.0.0.7", Some("10.0.0.7"), &["10.0.0.7", "::ffff:10.0.0.7"], &["10.0.0.6"]);
        check("10.9.9.9/8", Some("10.0.0.0/8"), &["10.255.0.1"], &["11.0.0.1", "::a00:1"]);
        check("0.0.0.0/0", Some("0.0.0.0/0"), &["255.255.255.255"], &["::1"]);
        check("::/0", Some("::/0"), &["2001:db8::1"], &["10.0.0.1"]);
        check("2001:db8::/33", Some("2001:db8::/33"), &["2001:db8:1::"], &["2001:db8:8000::"]);
        check("::ffff:10.0.0.0/104", Some("10.0.0.0/8"), &["10.1.1.1"], &["11.0.0.0"]);
        for bad in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "::/129", "::ffff:1.2.3.4/95"] {
            check(bad, None, &[], &[]);
        }
    }
}

//! [`Filter`]: what can be asked of the history, and [`Page`]: the answer.

use std::net::IpAddr;

use doorbook_event::{Action, Classes, LogId, Scope, Seq, Text, Timestamp};

use crate::Placed;

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
    /// Successes only (`true`), failures only (`false`).
    pub success: Option<bool>,
    /// Exactly this address.
    pub address: Option<IpAddr>,
    /// Only by a Unix socket, which has no address.
    pub unix_socket: bool,
    /// Exactly this name of a user of the accessed system, whatever its database.
    pub user: Option<Text>,
    /// Only rows with at least one of these classes; none: all rows.
    pub with: Classes,
    /// Rows with any of these classes are left out.
    pub without: Classes,
    /// At most this many rows; the total counts them all.
    pub limit: usize,
    /// Only rows after this one in the order of answers.
    pub after: Option<Order>,
    /// The state of the history that the answer is taken from; `None` for the present one.
    pub as_of: Option<AsOf>,
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
            success: None,
            address: None,
            unix_socket: false,
            user: None,
            with: Classes::NONE,
            without: Classes::NONE,
            limit,
            after: None,
            as_of: None,
        }
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
    /// How many rows match, whatever the limit and `after`.
    pub total: u64,
    /// The state that the answer was taken from.
    pub as_of: AsOf,
}

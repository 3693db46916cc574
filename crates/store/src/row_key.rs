//! [`RowKey`]: what tells of most rows in memory that nobody asks for them.
//!
//! A row is some hundred bytes, and what it says stands elsewhere still: looking at each of a few
//! hundred thousand rows takes longer than all segments do. Their keys are 16 bytes each, one behind
//! the other. A key only ever rules rows out.

use doorbook_event::{Text, Timestamp};

use crate::filter::{Filter, PrincipalIs, Targets};
use crate::memtable::Row;

/// Time, target and principal of a row, the texts as checksums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowKey {
    event_time: Timestamp,
    member: u32,
    group: u16,
    principal: u16,
}

impl RowKey {
    pub(crate) fn of(row: &Row) -> RowKey {
        let (group, member) = row.names();
        let principal = row.access().and_then(|access| access.principal.name());
        RowKey {
            event_time: row.event_time(),
            member: crc32c::crc32c(member.as_bytes()),
            group: short(group),
            principal: principal.map_or(0, |name| short(name)),
        }
    }
}

fn short(text: &str) -> u16 {
    crc32c::crc32c(text.as_bytes()) as u16
}

/// The keys of the rows that a filter may ask for.
pub(crate) struct WantedKeys {
    from: Timestamp,
    to: Timestamp,
    /// `None`: of any target. Of a group, or of one member of it.
    targets: Option<Vec<(u16, Option<u32>)>>,
    /// `None`: of any principal, or of one without a name.
    principals: Option<Vec<u16>>,
}

impl WantedKeys {
    pub(crate) fn new(filter: &Filter) -> WantedKeys {
        let member = |(group, member): &(Text, Text)| {
            (short(group), Some(crc32c::crc32c(member.as_bytes())))
        };
        let name = |wanted: &PrincipalIs| wanted.exactly().map(|name| short(name));
        let principals = filter.principals.iter().map(name).collect::<Option<Vec<_>>>();
        WantedKeys {
            from: filter.from,
            to: filter.to,
            targets: match &filter.targets {
                Targets::All | Targets::Like { .. } => None,
                Targets::Group(group) => Some(vec![(short(group), None)]),
                Targets::Members(members) => Some(members.iter().map(member).collect()),
            },
            principals: principals.filter(|names| !names.is_empty()),
        }
    }

    /// Whether a row with this key may be asked for.
    pub(crate) fn include(&self, key: &RowKey) -> bool {
        let is_target = |(group, member): &(u16, Option<u32>)| {
            *group == key.group && member.is_none_or(|member| member == key.member)
        };
        self.from <= key.event_time
            && key.event_time <= self.to
            && self.targets.as_ref().is_none_or(|targets| targets.iter().any(is_target))
            && self.principals.as_ref().is_none_or(|names| names.contains(&key.principal))
    }
}

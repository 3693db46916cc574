//! [`Catalog`]: what the store knows besides rows.

use std::collections::BTreeMap;

use doorbook_event::record::{Coverage, ImportId, ImportReceipt};
use doorbook_event::registry::Registry;
use doorbook_event::{ProjectId, Scope};

/// A snapshot of everything that is not a row of the history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// Projects, clusters, hosts, keys, service accounts.
    pub registry: Registry,
    /// Imports with their projects, by name.
    pub imports: BTreeMap<ImportId, (ProjectId, ImportReceipt)>,
    /// Known intervals of blindness, per scope, by beginning.
    pub coverage: BTreeMap<Scope, Vec<Coverage>>,
}

/// What adding an interval of blindness to those that are known does to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merged {
    /// It was known, with everything it says.
    Known,
    /// It says more of one that was known.
    Extended,
    /// It was not known.
    New,
}

/// Whether two lines tell of one interval.
pub(crate) fn is_same(one: &Coverage, other: &Coverage) -> bool {
    (&one.target, &one.cause, one.from) == (&other.target, &other.cause, other.from)
}

/// Adds an interval to those that are known, by beginning. Intervals of one target with the same
/// cause and beginning are one, however often and in whatever order they are told: a line that ends
/// it is worth more than none, and of two such lines the first ended it. Of two numbers of what is
/// missing the newer one holds.
pub(crate) fn merge_coverage(known: &mut Vec<Coverage>, new: &Coverage) -> Merged {
    if let Some(old) = known.iter_mut().find(|old| is_same(old, new)) {
        let before = old.clone();
        old.to = [old.to, new.to].into_iter().flatten().min();
        old.last_seen = old.last_seen.max(new.last_seen);
        if old.actor.is_none() {
            old.actor.clone_from(&new.actor);
        }
        old.missing = new.missing.or(old.missing);
        return if *old == before { Merged::Known } else { Merged::Extended };
    }
    let at = known.partition_point(|old| old.from <= new.from);
    known.insert(at, new.clone());
    Merged::New
}

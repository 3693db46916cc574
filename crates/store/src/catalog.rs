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

#[cfg(test)]
mod tests {
    use doorbook_event::record::{Grade, Hidden};
    use doorbook_event::{Action, Target, Timestamp};

    use super::*;

    /// A log that tells of its gap again says nothing of what is missing; who counted does, and may
    /// count again.
    #[test]
    fn of_what_is_missing_the_newest_number_holds() {
        let from = Timestamp::from_seconds(100);
        let told = |missing| Coverage {
            target: Target::Host { cluster: "orders".into(), host: "db-1:27017".into() },
            actions: vec![Action::Authenticate],
            hidden: Hidden::Successes,
            cause: "quiet".into(),
            actor: None,
            from,
            to: None,
            last_seen: from,
            source: None,
            grade: Grade::Blind,
            missing,
        };
        let mut known = Vec::new();
        let mut check = |told_now, merged, missing| {
            assert_eq!(merge_coverage(&mut known, &told(told_now)), merged);
            assert_eq!((known.len(), known[0].missing), (1, missing));
        };
        check(None, Merged::New, None);
        check(Some(2), Merged::Extended, Some(2));
        check(None, Merged::Known, Some(2));
        check(Some(5), Merged::Extended, Some(5));
        check(Some(0), Merged::Extended, Some(0));
    }
}

//! What an answer can know: the question that a [`Filter`] asks of who watched what.
//!
//! The compatible APIs have no place for it in their bodies; they say it in a header,
//! [`HEADER`].

use std::collections::{BTreeMap, BTreeSet};

use doorbook_event::arrays::Array;
use doorbook_event::record::Grade;
use doorbook_event::registry::{Host, Registry};
use doorbook_event::source::SourceKind;
use doorbook_event::{Action, Scope, Target, Timestamp};
use doorbook_store::coverage::{Gap, Stored};
use doorbook_store::filter::OutcomeKind;
use doorbook_store::{Answer, Filter, Question, Store};

/// The header of the compatible APIs: `complete|best-effort|gaps; through=TIME`, without `through`
/// where of some host nothing is known.
pub const HEADER: &str = "doorbook-coverage";

/// What was seen of the rows that a filter asks for: of a project's hosts, of a namespace's arrays.
pub fn of(store: &Store, registry: &Registry, filter: &Filter, now: Timestamp) -> Answer {
    let is_asked = |target: &Target| {
        let (group, member) = target.names();
        filter.is_target((group, member))
    };
    let (targets, every): (Vec<Target>, Vec<Action>) = match &filter.scope {
        Scope::Project(project) => (
            registry.hosts(*project).map(target_of).filter(is_asked).collect(),
            vec![Action::Authenticate, Action::Authorize],
        ),
        Scope::Namespace(name) => (
            registry.arrays().arrays_of(name).map(target_of_array).filter(is_asked).collect(),
            Action::of_arrays().collect(),
        ),
        Scope::System => (Vec::new(), Vec::new()),
    };
    let success = OutcomeKind::Success;
    let with_successes = (filter.outcomes.is_empty() || filter.outcomes.contains(&success))
        && !filter.unwanted.outcomes.contains(&success);
    let stored = match &filter.scope {
        Scope::Namespace(name) => stored(registry, name),
        Scope::Project(_) | Scope::System => BTreeMap::new(),
    };
    let asked = if filter.actions.is_empty() { every } else { filter.actions.clone() };
    // What is done through Doorbook nobody else has to see.
    let is_asked = |action: &Action| !action.is_ours() && !filter.unwanted.actions.contains(action);
    let actions: Vec<Action> = asked.into_iter().filter(is_asked).collect();
    store.coverage(&Question {
        scope: &filter.scope,
        targets: &targets,
        stored: &stored,
        actions: &actions,
        with_successes,
        from: filter.from,
        to: filter.to,
        now,
    })
}

/// What was not seen of arrays by those who watch the places where they are stored, and what arrays did
/// not show; the latest of a namespace first. Of a place, and not of each array below it.
pub fn of_arrays(store: &Store, registry: &Registry, now: Timestamp) -> Vec<Gap> {
    let mut places: BTreeMap<Scope, BTreeSet<Target>> = BTreeMap::new();
    let of_arrays = registry.sources().filter(|source| source.namespace().is_some());
    for source in of_arrays {
        places.entry(source.scope()).or_default().insert(source.target());
    }
    let (catalog, watched) = (store.catalog(), store.watched());
    let kinds = SourceKind::ALL.into_iter().filter(|kind| kind.is_of_arrays());
    let actions: BTreeSet<Action> = kinds.flat_map(|kind| kind.actions()).copied().collect();
    let actions: Vec<Action> = actions.into_iter().collect();
    let gaps = places.into_iter().flat_map(|(scope, places)| {
        let hidden = catalog.coverage.get(&scope).into_iter().flatten().map(Gap::from);
        let answer = store.coverage(&Question {
            scope: &scope,
            targets: &places.into_iter().collect::<Vec<_>>(),
            stored: &BTreeMap::new(),
            actions: &actions,
            with_successes: true,
            from: Timestamp::MIN,
            to: now,
            now,
        });
        let unseen = watched.unseen_of_arrays(&scope);
        let mut gaps: Vec<Gap> = hidden.chain(unseen).chain(answer.gaps).collect();
        gaps.sort_by_key(|gap| std::cmp::Reverse(gap.from));
        merged(gaps)
    });
    gaps.collect()
}

/// Gaps in their order; those that say the same of several actions are one. Where sources of several kinds
/// watch one place, each kind's actions are looked at apart.
fn merged(gaps: Vec<Gap>) -> Vec<Gap> {
    let mut merged: Vec<Gap> = Vec::new();
    for gap in gaps {
        let says_the_same =
            |known: &&mut Gap| **known == Gap { actions: known.actions.clone(), ..gap.clone() };
        let beside = merged.iter_mut().rev().take_while(|known| known.from == gap.from);
        match beside.into_iter().find(says_the_same) {
            Some(known) => {
                let both: BTreeSet<Action> = known.actions.drain(..).chain(gap.actions).collect();
                known.actions = both.into_iter().collect();
            }
            None => merged.push(gap),
        }
    }
    merged
}

/// Where the arrays of a namespace are stored, and since when that is known.
fn stored(registry: &Registry, namespace: &str) -> BTreeMap<Target, Stored> {
    let arrays = registry.arrays().arrays_of(namespace);
    let place = |array: &Array| Stored { uri: array.uri.clone(), since: array.created };
    arrays.map(|array| (target_of_array(array), place(array))).collect()
}

/// What an array is to the history.
pub fn target_of_array(array: &Array) -> Target {
    Target::Array { namespace: array.namespace.clone(), array: array.id.to_string().into() }
}

/// What a host is to the history.
pub fn target_of(host: &Host) -> Target {
    Target::Host { cluster: host.cluster.clone(), host: host.name.to_string().into() }
}

/// The word for how much was seen of all that was asked for.
pub const fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Watched => "complete",
        Grade::BestEffort => "best_effort",
        Grade::Blind => "gaps",
    }
}

/// The value of [`HEADER`].
pub fn header(answer: &Answer) -> String {
    let state = match answer.grade {
        Grade::BestEffort => "best-effort",
        grade => word(grade),
    };
    match answer.through {
        Some(through) => format!("{state}; through={through}"),
        None => state.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use doorbook_event::record::Hidden;

    use super::*;

    /// Goal: what is not seen of a place is told once, of all the actions, and nothing else is put together.
    #[test]
    fn gaps_that_differ_in_their_actions_alone_are_one() {
        let gap = |from, cause: &str, actions: &[Action]| Gap {
            target: Target::Array { namespace: "alice".into(), array: "s3://lake".into() },
            actions: actions.to_vec(),
            hidden: Hidden::All,
            grade: Grade::Blind,
            cause: cause.into(),
            actor: None,
            source: None,
            from,
            to: None,
            last_seen: from,
            missing: None,
        };
        let (read, write) = (Action::QueryRead, Action::QueryWrite);
        let (ever, later) = (Timestamp::MIN, Timestamp::from_seconds(0));
        let told = vec![
            gap(later, "no source", &[read]),
            gap(ever, "no source", &[read]),
            gap(ever, "paused", &[read]),
            gap(ever, "no source", &[write, read]),
        ];
        let mut both = [read, write];
        both.sort_unstable();
        let expected = [
            gap(later, "no source", &[read]),
            gap(ever, "no source", &both),
            gap(ever, "paused", &[read]),
        ];
        assert_eq!(merged(told), expected);
    }
}

//! What an answer can know: the question that a [`Filter`] asks of who watched what.
//!
//! The compatible APIs have no place for it in their bodies; they say it in a header,
//! [`HEADER`].

use doorbook_event::arrays::Array;
use doorbook_event::record::Grade;
use doorbook_event::registry::{Host, Registry};
use doorbook_event::{Action, Scope, Target, Timestamp};
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
    let is_action = |action: &Action| {
        (filter.actions.is_empty() || filter.actions.contains(action))
            && !filter.unwanted.actions.contains(action)
    };
    let actions: Vec<Action> = every.into_iter().filter(is_action).collect();
    store.coverage(&Question {
        scope: &filter.scope,
        targets: &targets,
        actions: &actions,
        with_successes,
        from: filter.from,
        to: filter.to,
        now,
    })
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

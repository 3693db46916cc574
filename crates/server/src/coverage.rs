//! What an answer can know: the question that a [`Filter`] asks of who watched what.
//!
//! The compatible APIs have no place for it in their bodies; they say it in a header,
//! [`HEADER`].

use doorbook_event::record::Grade;
use doorbook_event::registry::{Host, Registry};
use doorbook_event::{Action, ProjectId, Scope, Target, Timestamp};
use doorbook_store::filter::{OutcomeKind, Targets};
use doorbook_store::{Answer, Filter, Question, Store};

/// The header of the compatible APIs: `complete|best-effort|gaps; through=TIME`, without `through`
/// where of some host nothing is known.
pub const HEADER: &str = "doorbook-coverage";

/// What was seen of a project's rows that a filter asks for.
pub fn of(
    store: &Store,
    registry: &Registry,
    project: ProjectId,
    filter: &Filter,
    now: Timestamp,
) -> Answer {
    let is_asked = |host: &&Host| match &filter.targets {
        Targets::All => true,
        Targets::Group(cluster) => host.cluster == *cluster,
        Targets::Members(members) => {
            let name = host.name.to_string();
            members.iter().any(|(group, member)| *group == host.cluster && **member == *name)
        }
    };
    let targets: Vec<Target> = registry.hosts(project).filter(is_asked).map(target_of).collect();
    let every = [Action::Authenticate, Action::Authorize];
    let with_successes =
        filter.outcomes.is_empty() || filter.outcomes.contains(&OutcomeKind::Success);
    store.coverage(&Question {
        scope: &Scope::Project(project),
        targets: &targets,
        actions: if filter.actions.is_empty() { &every } else { &filter.actions },
        with_successes,
        from: filter.from,
        to: filter.to,
        now,
    })
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

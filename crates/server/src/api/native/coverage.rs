//! What an answer cannot know: intervals in which what was asked for leaves no trace.

use doorbook_event::record::{Coverage, Hidden};
use doorbook_event::{Peer, ProjectId, Scope, Timestamp};
use doorbook_source::document::write_text;
use doorbook_store::filter::{Kind, OutcomeKind, Targets};
use doorbook_store::{Catalog, Filter};

/// As many as a person reads; `total` counts them all.
const GAPS_MAX: usize = 100;

/// Appends `"coverage":{"gaps":[…],"total":N}`: the known intervals that a filter's answer is blind
/// in, the latest first.
pub fn write(catalog: &Catalog, project: ProjectId, filter: &Filter, out: &mut Vec<u8>) {
    let known = catalog.coverage.get(&Scope::Project(project));
    let gaps = known.into_iter().flatten().rev().filter(|gap| hides(gap, filter));
    out.extend_from_slice(b"\"coverage\":{\"gaps\":[");
    let mut total = 0_usize;
    for gap in gaps {
        if total < GAPS_MAX {
            out.extend_from_slice(if total == 0 { b"" } else { b"," });
            write_gap(gap, out);
        }
        total += 1;
    }
    out.extend_from_slice(format!("],\"total\":{total}}}").as_bytes());
}

/// Whether rows that the filter asks for can be missing because of this interval.
fn hides(gap: &Coverage, filter: &Filter) -> bool {
    let (group, member) = gap.target.names();
    let is_target = match &filter.targets {
        Targets::All => true,
        Targets::Group(wanted) => wanted == group,
        Targets::Members(members) => members.iter().any(|(g, m)| g == group && m == member),
    };
    let is_action = filter.actions.is_empty()
        || gap.actions.iter().any(|action| filter.actions.contains(action));
    let is_outcome = gap.hidden == Hidden::All
        || filter.outcomes.is_empty()
        || filter.outcomes.contains(&OutcomeKind::Success);
    filter.kind == Kind::Access
        && is_target
        && is_action
        && is_outcome
        && gap.from <= filter.to
        && filter.from <= gap.to.unwrap_or(Timestamp::MAX)
}

fn write_gap(gap: &Coverage, out: &mut Vec<u8>) {
    let (group, member) = gap.target.names();
    out.extend_from_slice(b"{\"cluster\":");
    write_text(group, out);
    out.extend_from_slice(b",\"host\":");
    write_text(member, out);
    let actions: Vec<&str> = gap.actions.iter().map(|action| action.word()).collect();
    let hidden = match gap.hidden {
        Hidden::Successes => "successes",
        Hidden::All => "all",
    };
    let actions = match actions[..] {
        [] => String::new(),
        _ => format!("\"{}\"", actions.join("\",\"")),
    };
    out.extend_from_slice(
        format!(
            ",\"actions\":[{actions}],\"hidden\":\"{hidden}\",\"from\":\"{}\",\"to\":",
            gap.from
        )
        .as_bytes(),
    );
    match gap.to {
        Some(to) => out.extend_from_slice(format!("\"{to}\"").as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(format!(",\"last_seen\":\"{}\",\"cause\":", gap.last_seen).as_bytes());
    write_text(&gap.cause, out);
    if let Some(actor) = &gap.actor {
        out.extend_from_slice(b",\"by\":");
        let by = match actor.peer {
            Peer::Unknown => actor.principal.to_string(),
            peer => format!("{} from {peer}", actor.principal),
        };
        write_text(&by, out);
    }
    out.push(b'}');
}

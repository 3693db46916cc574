//! What an answer cannot know: intervals in which what was asked for was not seen. Beside each answer, and
//! by itself as `GET coverage`.

use doorbook_event::record::Hidden;
use doorbook_event::{Peer, Scope, Timestamp};
use doorbook_source::document::write_text;
use doorbook_store::Answer;
use doorbook_store::coverage::Gap;

use super::dispatch::Call;
use super::filter;
use super::problem::Problem;
use crate::coverage::{self, word};

/// As many as a person reads; `total` counts them all.
const GAPS_MAX: usize = 100;

/// Gaps of an answer that is about nothing else.
const LIMIT_MAX: usize = 10_000;

const LIMIT_DEFAULT: usize = 1000;

/// Serves `coverage`: what any answer to the same filter has beside it, with all gaps.
pub fn serve(call: &mut Call<'_>) -> Result<Vec<u8>, Problem> {
    let limit = call.query.number("limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
    let filter = filter::take(call)?.filter;
    call.query.finish()?;
    if filter.as_of.is_some() {
        let expected = "coverage is what is known now, of any state";
        return Err(Problem::invalid_parameter("as_of", expected));
    }
    let now = call.now;
    let answer = coverage::of(call.store, call.registry, &filter, now);
    call.rows = answer.gaps.len().min(limit) as u64;
    let mut out = b"{".to_vec();
    if let Scope::Project(id) = call.scope
        && let Some(project) = call.registry.project(id)
    {
        out.extend_from_slice(b"\"project\":");
        write_text(&project.name, &mut out);
        out.push(b',');
    }
    write_gaps(&answer, limit, &mut out);
    out.push(b'}');
    Ok(out)
}

/// Appends `"coverage":{"state":…,"through":…,"gaps":[…],"total":N}`, the latest gap first.
pub fn write(answer: &Answer, out: &mut Vec<u8>) {
    write_gaps(answer, GAPS_MAX, out);
}

fn write_gaps(answer: &Answer, limit: usize, out: &mut Vec<u8>) {
    let through = instant(answer.through);
    out.extend_from_slice(
        format!(
            "\"coverage\":{{\"state\":\"{}\",\"through\":{through},\"gaps\":[",
            word(answer.grade)
        )
        .as_bytes(),
    );
    for (n, gap) in answer.gaps.iter().take(limit).enumerate() {
        out.extend_from_slice(if n == 0 { b"" } else { b"," });
        write_gap(gap, out);
    }
    out.extend_from_slice(format!("],\"total\":{}}}", answer.gaps.len()).as_bytes());
}

fn write_gap(gap: &Gap, out: &mut Vec<u8>) {
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
    out.extend_from_slice(
        format!(
            ",\"actions\":[\"{}\"],\"hidden\":\"{hidden}\",\"grade\":\"{}\",\"from\":{},\"to\":{},\"last_seen\":{},\"cause\":",
            actions.join("\",\""),
            gap.grade.word(),
            instant(since_ever(gap.from)),
            instant(gap.to),
            instant(since_ever(gap.last_seen)),
        )
        .as_bytes(),
    );
    write_text(&gap.cause, out);
    if let Some(source) = &gap.source {
        out.extend_from_slice(b",\"source\":");
        write_text(source, out);
    }
    if let Some(missing) = gap.missing {
        out.extend_from_slice(format!(",\"missing\":{missing}").as_bytes());
    }
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

/// `null` for none.
fn instant(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "null".to_owned(), |at| format!("\"{at}\""))
}

/// None for the beginning of time: nobody was ever there to see.
fn since_ever(at: Timestamp) -> Option<Timestamp> {
    (at > Timestamp::MIN).then_some(at)
}

//! What was not seen, as it is told of a window: bands of a chart, and a table.

use std::collections::BTreeMap;

use doorbook_event::record::{Grade, Hidden};
use doorbook_event::source::SourceKind;
use doorbook_event::{Action, Target, Timestamp};
use doorbook_store::Answer;
use doorbook_store::coverage::Gap;
use maud::{Markup, html};

use super::params::Params;
use super::text::{plain, shown};
use super::when::{self, count};
use super::window::Window;

/// More than anybody can tell apart.
const SHOWN_MAX: usize = 200;

/// What was not, or not surely, seen of what was asked for, the latest first.
#[derive(Default)]
pub struct Gaps(Vec<Unseen>);

/// An interval that was not, or not surely, seen; of all hosts of which the same is said.
pub struct Unseen {
    pub from: Timestamp,
    pub to: Option<Timestamp>,
    cause: String,
    pub grade: Grade,
    of_what: Option<&'static str>,
    missing: Option<u64>,
    targets: Vec<String>,
}

impl Gaps {
    /// Gaps of which the same is said of several targets are one.
    pub fn of(coverage: &Answer, name_of: &dyn Fn(&str, &str) -> String) -> Gaps {
        Gaps::joined(coverage.gaps.iter(), name_of)
    }

    /// The same of any.
    pub fn joined<'a>(
        gaps: impl Iterator<Item = &'a Gap>,
        name_of: &dyn Fn(&str, &str) -> String,
    ) -> Gaps {
        let mut groups: BTreeMap<_, Unseen> = BTreeMap::new();
        for gap in gaps {
            let cause = gap.cause.to_string();
            let is_blind = gap.grade == Grade::Blind;
            let of_what = of_what(gap);
            let key = (-gap.from.micros(), gap.to, cause.clone(), is_blind, of_what);
            let unseen = groups.entry(key).or_insert_with(|| Unseen {
                from: gap.from,
                to: gap.to,
                cause,
                grade: gap.grade,
                of_what,
                missing: None,
                targets: Vec::new(),
            });
            unseen.missing = unseen.missing.map(|n| n + gap.missing.unwrap_or(0)).or(gap.missing);
            let target = name_of("target", gap.target.names().1);
            if !unseen.targets.contains(&target) {
                unseen.targets.push(target);
            }
        }
        Gaps(groups.into_values().collect())
    }

    /// As many as can be told apart.
    pub fn iter(&self) -> impl Iterator<Item = &Unseen> {
        self.0.iter().take(SHOWN_MAX)
    }

    /// All of them in a table that opens, if there are any.
    pub fn table(&self, params: &Params, path: &str) -> Markup {
        html! {
            @if !self.0.is_empty() {
                details.behind #gaps {
                    summary { (count(self.0.len() as u64)) " "
                        (if self.0.len() == 1 { "interval" } else { "intervals" })
                        " not seen, or not surely" }
                    (self.rows(params, path))
                }
            }
        }
    }

    /// The table itself.
    pub fn rows(&self, params: &Params, path: &str) -> Markup {
        html! {
            div.scroll tabindex="0" role="region" aria-label="What was not seen" {
                table {
                    thead { tr {
                        th scope="col" { "From" } th scope="col" { "To" }
                        th scope="col" { "What" } th scope="col" { "Why" }
                        th scope="col" { "Where" } th.num scope="col" { "Missing" }
                    } }
                    tbody { @for gap in self.iter() { (gap.row(params, path)) } }
                }
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Of what a gap is, where it is not of everything.
pub fn of_what(gap: &Gap) -> Option<&'static str> {
    if gap.hidden == Hidden::Successes {
        return Some("successes");
    }
    let Target::Array { .. } = gap.target else { return None };
    // What changes an array is what its storage shows.
    let changes = SourceKind::TiledbStorage.actions();
    let is_told = |action: &Action| action.is_ours() || gap.actions.contains(action);
    match (&gap.actions[..], gap.actions.iter().any(|action| changes.contains(action))) {
        ([only], _) => Some(only.word()),
        (_, false) => Some("reads"),
        (_, true) if Action::of_arrays().all(|action| is_told(&action)) => None,
        (_, true) => Some("some actions"),
    }
}

impl Unseen {
    fn what(&self) -> String {
        let seen = if self.grade == Grade::Blind { "not seen" } else { "not surely seen" };
        match self.of_what {
            Some(what) => format!("{what} {seen}"),
            None => seen.to_owned(),
        }
    }

    fn places(&self) -> String {
        match &self.targets[..] {
            [only] => only.clone(),
            several => format!("{} targets", several.len()),
        }
    }

    /// In one line.
    pub fn title(&self) -> String {
        let instant = |at: Timestamp| at.to_jiff().strftime("%Y-%m-%d %H:%M:%S").to_string();
        let from = match self.from > Timestamp::MIN {
            true => format!("from {}", instant(self.from)),
            false => "ever".to_owned(),
        };
        let to = self.to.map(|to| format!(" to {}", instant(to))).unwrap_or_default();
        format!("{} {from}{to}: {} ({})", self.what(), plain(&self.cause), plain(&self.places()))
    }

    fn row(&self, params: &Params, path: &str) -> Markup {
        let zoom = |to: Timestamp| Window::fixed(params, self.from, to).href(path);
        html! {
            tr {
                td {
                    @match (self.from > Timestamp::MIN, self.to) {
                        (false, _) => "ever",
                        (true, Some(to)) => { a href=(zoom(to)) { (when::to_the_second(self.from)) } }
                        (true, None) => (when::to_the_second(self.from)),
                    }
                }
                td { @match self.to { Some(to) => (when::to_the_second(to)), None => "it lasts" } }
                td { (self.what()) }
                td { (shown(&self.cause)) }
                td {
                    @if self.targets.len() > 6 {
                        details { summary { (self.places()) } (shown(&self.targets.join(", "))) }
                    } @else { (shown(&self.targets.join(", "))) }
                }
                td.num { @if let Some(missing) = self.missing { (count(missing)) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(target: Target, actions: Vec<Action>, hidden: Hidden) -> Gap {
        Gap {
            target,
            actions,
            hidden,
            grade: Grade::Blind,
            cause: "no source".into(),
            actor: None,
            source: None,
            from: Timestamp::from_seconds(1),
            to: None,
            last_seen: Timestamp::from_seconds(1),
            missing: None,
        }
    }

    /// Goal: where a part is seen, nobody reads that nothing is.
    #[test]
    fn what_is_not_seen_is_named() {
        let host = Target::Host { cluster: "c".into(), host: "h".into() };
        let logins = vec![Action::Authenticate, Action::Authorize];
        let of_host = |hidden| of_what(&gap(host.clone(), logins.clone(), hidden));
        assert_eq!(of_host(Hidden::All), None);
        assert_eq!(of_host(Hidden::Successes), Some("successes"));
        let array = Target::Array { namespace: "n".into(), array: "a".into() };
        let of_array = |actions| of_what(&gap(array.clone(), actions, Hidden::All));
        let all: Vec<Action> = Action::of_arrays().filter(|action| !action.is_ours()).collect();
        let changes = SourceKind::TiledbStorage.actions();
        let (shown, reads): (Vec<Action>, Vec<Action>) =
            all.iter().partition(|action| changes.contains(action));
        assert_eq!(of_array(all), None);
        assert_eq!(of_array(reads), Some("reads"));
        assert_eq!(of_array(shown), Some("some actions"));
        assert_eq!(of_array(vec![Action::QueryRead]), Some("query_read"));
    }
}

//! Who was seen: a list of everybody, and what is known of whether it is a person.

use std::collections::HashMap;

use axum::http::StatusCode;
use doorbook_event::{Class, Classes, Scope, Text, Timestamp};
use doorbook_store::filter::{Marked, PrincipalIs, Rank, Seen, SeenValue, TextIs, Unwanted};
use doorbook_store::{Answer as Coverage, Dimension, Filter};
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::filters::{self, Asked};
use super::gaps::Gaps;
use super::page::{Answer, Frame, page};
use super::params::Params;
use super::question::{Question, search};
use super::sessions::SignedIn;
use super::text::shown;
use super::when::{self, count};
use super::{Looked, Visit, states};
use crate::admin::accounts::{INTERACTIVE, pattern};
use crate::api::native::problem::Problem;
use crate::coverage;

/// Where it is.
pub const PATH: &str = "/principals";

/// Principals that are shown at first, and at most.
const ROWS: usize = 200;
const ROWS_MAX: usize = 1000;

/// A longer name makes an address that no browser and no server takes.
const NAME_BYTES_MAX: usize = 2000;

/// The page.
pub fn answer(visit: &Visit, signed_in: &SignedIn) -> Answer {
    visit.look(|looked| build(visit, signed_in, looked))
}

/// The address of a principal's page; `None` where an address cannot name it.
pub fn address_of(name: &str, params: &Params) -> Option<String> {
    // Browsers take the names of folders out of an address, however they are written.
    let is_nameable = !matches!(name, "" | "." | "..") && name.len() <= NAME_BYTES_MAX;
    let path = || format!("{PATH}/{}", utf8_percent_encode(name, NON_ALPHANUMERIC));
    is_nameable.then(|| kept(params).href(&path()))
}

/// What goes along from one page about principals to the next.
pub fn kept(params: &Params) -> Params {
    params.only(&["project", "namespace", "array", "times", "zone", "last", "from", "to", "show"])
}

/// What is known of whether a principal is a person. A log does not say it: this is what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The system talking to itself, or an agent that watches it.
    System,
    /// It came with a tool that a person sits before, at least once.
    Interactive,
    /// It came with applications, and none of them is such a tool.
    Program,
    /// A user of this server, who signs in with a password.
    User,
}

impl Kind {
    /// As a tag that says on what it rests.
    pub fn tag(self) -> Markup {
        let (word, why) = match self {
            Kind::System => ("system", "The system talking to itself, or an agent that watches it"),
            Kind::Interactive => (
                "interactive",
                "Came with a shell or a desktop tool in this window: likely a person",
            ),
            Kind::Program => (
                "program",
                "Came with applications only, none a shell or desktop tool: likely a service account",
            ),
            Kind::User => ("user", "Has a password on this server"),
        };
        html! { span.tag title=(why) { (word) } }
    }
}

/// What the history says of everybody who is shown.
struct Found {
    seen: Seen,
    /// When each was seen first, however long ago.
    firsts: HashMap<Text, Timestamp>,
    kinds: HashMap<Text, Kind>,
    coverage: Coverage,
}

fn build(visit: &Visit, signed_in: &SignedIn, looked: &mut Looked) -> Result<Answer, Problem> {
    let question = match Question::of(visit, signed_in, PATH, looked)? {
        Err(answer) => return Ok(answer),
        Ok(question) => question,
    };
    let rank = rank_of(&question.params)?;
    let limit = question.params.query().number("limit", 1..=ROWS_MAX)?.unwrap_or(ROWS);
    let asked = question.asked(visit);
    let found = match Found::look(&asked, visit, &question.params, (rank, limit)) {
        Err(problem) if problem.column.is_some() => {
            return Ok(question.unreadable(visit, signed_in, &problem));
        }
        found => found?,
    };
    looked.rows = found.seen.values.len() as u64;
    let frame = Frame {
        title: "Principals",
        signed_in: Some(signed_in),
        here: Some((PATH, &question.params)),
        bar: Some(question.here().bar(visit, signed_in)),
    };
    let shown = Shown { visit, question: &question, found: &found, rank };
    Ok(Answer::page(StatusCode::OK, page(&frame, shown.main())))
}

const RANKS: [(&str, Rank); 4] = [
    ("last", Rank::Last),
    ("first", Rank::First),
    ("count", Rank::Count),
    ("failures", Rank::Failures),
];

fn rank_of(params: &Params) -> Result<&'static str, Problem> {
    let word = params.query().one("sort")?.unwrap_or_else(|| "last".to_owned());
    let known = RANKS.iter().find(|(known, _)| *known == word);
    let expected = || Problem::invalid_parameter("sort", "last, first, count or failures");
    known.map(|(known, _)| *known).ok_or_else(expected)
}

impl Found {
    fn look(
        asked: &Asked<'_>,
        visit: &Visit,
        params: &Params,
        (rank, limit): (&str, usize),
    ) -> Result<Found, Problem> {
        let store = visit.app.store();
        let shows_all = params.get("show") == Some("all");
        let filter = asked.filter(&params.without(&["sort", "limit"]), shows_all)?;
        let rank =
            RANKS.iter().find(|(known, _)| *known == rank).map_or(Rank::Last, |(_, rank)| *rank);
        let seen = store.seen(&filter, &[Dimension::Principal], (rank, limit))?;
        let seen = seen.into_iter().next().expect("one for each dimension");
        let names: Vec<Text> = seen.values.iter().filter_map(|value| value.value.clone()).collect();
        let is = |name: &Text| PrincipalIs::Named(TextIs::Exactly(name.clone()));
        let principals: Vec<PrincipalIs> = names.iter().map(is).collect();
        let coverage = coverage::of(store, asked.registry, &filter, visit.now);
        if principals.is_empty() {
            return Ok(Found { seen, firsts: HashMap::new(), kinds: HashMap::new(), coverage });
        }
        // What somebody is does not depend on what of it was asked for.
        let of_them = Filter {
            principals,
            from: filter.from,
            to: filter.to,
            as_of: Some(seen.as_of.clone()),
            ..Filter::all(asked.scope.clone(), 0)
        };
        let ever = Filter { from: Timestamp::MIN, principals: Vec::new(), ..of_them.clone() };
        let firsts = store.first_seen(&ever, &names)?;
        let kinds = kinds(asked, &of_them)?;
        Ok(Found { seen, firsts, kinds, coverage })
    }
}

/// What is known of those principals that a filter names; it asks for all that they did in a time.
pub fn kinds(asked: &Asked<'_>, of_them: &Filter) -> Result<HashMap<Text, Kind>, Problem> {
    let any = || Filter::all(asked.scope.clone(), 0);
    let systems = Classes::from(Class::System).with(Class::Monitor);
    let tools = INTERACTIVE.iter().filter_map(|name| pattern(name).ok()).collect();
    let unwanted = Unwanted { applications: vec![TextIs::Absent], ..Unwanted::default() };
    let marks = [
        Filter { with: systems, ..any() },
        Filter { applications: tools, ..any() },
        Filter { unwanted, ..any() },
    ];
    let marked = asked.app.store().marked(of_them, Dimension::Principal, &marks)?;
    let kind_of = |of: Marked| {
        let name = of.value?;
        let kind = match (asked.scope, &of.marked[..]) {
            (Scope::Namespace(_), _) => {
                asked.registry.arrays().user(&name)?;
                Kind::User
            }
            (_, [by_system, ..]) if *by_system == of.total => Kind::System,
            (_, [_, with_tools, _]) if *with_tools > 0 => Kind::Interactive,
            (_, [.., with_any]) if *with_any > 0 => Kind::Program,
            _ => return None,
        };
        Some((name, kind))
    };
    Ok(marked.into_iter().filter_map(kind_of).collect())
}

pub const fn total(value: &SeenValue) -> u64 {
    value.successes + value.failures + value.unknown
}

/// The page as it is shown.
struct Shown<'a> {
    visit: &'a Visit,
    question: &'a Question,
    found: &'a Found,
    rank: &'static str,
}

impl Shown<'_> {
    fn main(&self) -> Markup {
        let Question { params, window, .. } = self.question;
        let asked = self.question.asked(self.visit);
        let name_of = |name: &str, value: &str| asked.name_of(name, value);
        let gaps = Gaps::of(&self.found.coverage, &name_of);
        html! {
            main #main.sheet {
                div.title {
                    h1 { "Principals" }
                    (window.choices(params, PATH))
                }
                (search(PATH, params, None))
                (filters::chips(params, PATH, &name_of))
                div.headline {
                    p.total role="status" {
                        strong { (count(self.found.seen.distinct)) }
                        (if self.found.seen.distinct == 1 { " principal" } else { " principals" })
                        " in " (count(self.found.seen.total))
                        (if self.found.seen.total == 1 { " event" } else { " events" })
                        span.sep aria-hidden="true" { "·" }
                        (states::completeness(&self.found.coverage, window, asked.is_set_up(), &name_of))
                    }
                    p.aside { (shows_hidden(params, PATH)) }
                }
                (gaps.table(params, PATH))
                @if self.found.seen.values.is_empty() { (self.nobody()) } @else { (self.table()) }
            }
        }
    }

    fn nobody(&self) -> Markup {
        let params = &self.question.params;
        html! {
            section.state role="status" {
                h2 { "Nobody was seen" }
                p { "In the window " (self.question.window.told()) ", and with these filters." }
                p {
                    @if self.question.window.last != Some("all") {
                        a href=(params.without(&["from", "to"]).set("last", "all").href(PATH)) { "All time" }
                        " · "
                    }
                    a href=(filters::without_any(params, PATH)) { "Without any filter" }
                }
            }
        }
    }

    fn table(&self) -> Markup {
        let (shown, distinct) = (self.found.seen.values.len(), self.found.seen.distinct);
        let params = &self.question.params;
        html! {
            div.scroll tabindex="0" role="region" aria-label="Principals" {
                table {
                    caption.hidden { "Principals" }
                    thead { tr {
                        th scope="col" { "Who" }
                        th scope="col" { "Kind" }
                        (self.column("first", "First seen", false))
                        (self.column("last", "Last seen", false))
                        (self.column("count", "Events", true))
                        (self.column("failures", "Failures", true))
                    } }
                    tbody { @for value in &self.found.seen.values { (self.row(value)) } }
                }
            }
            nav.pages aria-label="More principals" {
                span { (count(shown as u64)) " shown" }
                @if distinct > shown as u64 && shown < ROWS_MAX {
                    a href=(params.set("limit", &ROWS_MAX.to_string()).href(PATH)) {
                        "Show up to " (count(ROWS_MAX as u64)) }
                }
            }
            p.hint {
                "Logs do not say who is a person. " (Kind::Interactive.tag())
                " came with a shell or a desktop tool at least once in this window, " (Kind::Program.tag())
                " with other applications only. First seen is as far back as the history is kept, and as somebody watched."
            }
        }
    }

    /// The head of a column by which the rows can be put in order.
    fn column(&self, rank: &str, label: &str, is_number: bool) -> Markup {
        let is_current = self.rank == rank;
        html! {
            th.num[is_number] scope="col" aria-sort=[is_current.then_some("descending")] {
                a href=(self.question.params.set("sort", rank).href(PATH)) {
                    (label) @if is_current { span aria-hidden="true" { " ↓" } }
                }
            }
        }
    }

    fn row(&self, value: &SeenValue) -> Markup {
        let Question { params, window, .. } = self.question;
        let name = value.value.as_ref();
        let first = name.and_then(|name| self.found.firsts.get(name)).copied();
        let is_new =
            first.is_some_and(|first| first >= window.from) && window.from > Timestamp::MIN;
        html! {
            tr {
                th.who-cell scope="row" { (link(name.map(|name| &**name), params)) }
                td { @match name.and_then(|name| self.found.kinds.get(name)) {
                    Some(kind) => (kind.tag()),
                    None => { span.empty { "not known" } }
                } }
                td.when {
                    @match first {
                        Some(first) => { (when::instant(first)) @if is_new { " " (new_tag()) } }
                        None => (when::instant(value.first)),
                    }
                }
                td.when { (when::instant(value.last)) span.ago { (when::ago(value.last, self.visit.now)) } }
                td.num { (count(total(value))) }
                td.num { (count(value.failures)) }
            }
        }
    }
}

/// A name that leads to its page; where there is none, to its events.
pub fn link(name: Option<&str>, params: &Params) -> Markup {
    let Some(name) = name else {
        let events = kept(params).and("user", "");
        return html! { a href=(events.href("/history")) { span.empty { "(nobody named)" } } };
    };
    match address_of(name, params) {
        Some(address) => html! { a href=(address) { (shown(name)) } },
        None if name.len() <= NAME_BYTES_MAX => {
            html! { a href=(kept(params).and("principal", name).href("/history")) { (shown(name)) } }
        }
        None => shown(name),
    }
}

/// What was never seen before the window.
pub fn new_tag() -> Markup {
    html! { span.tag.new title="Not seen before this window" { "new" } }
}

/// Whether the system, monitors and retries are shown, and the link that changes it.
pub fn shows_hidden(params: &Params, path: &str) -> Markup {
    html! {
        @if params.get("show") == Some("all") {
            span { "With the system, monitors and retries. "
                a href=(params.without(&["show"]).href(path)) { "Without them" } }
        } @else {
            span { "Without the system, monitors and retries. "
                a href=(params.set("show", "all").href(path)) { "With them" } }
        }
    }
}

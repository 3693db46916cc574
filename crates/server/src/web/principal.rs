//! One principal: since when, from where, with what, and when in the week.

use std::collections::HashMap;

use axum::http::StatusCode;
use doorbook_event::{Text, Timestamp};
use doorbook_store::filter::{Rank, Seen, SeenValue};
use doorbook_store::{Answer as Coverage, Dimension, Filter};
use jiff::tz::TimeZone;
use maud::{Markup, html};
use percent_encoding::percent_decode_str;

use super::filters::{self, Asked, label};
use super::gaps::Gaps;
use super::page::{Answer, Frame, page};
use super::params::Params;
use super::principals::{self, Kind, kept, new_tag};
use super::question::Question;
use super::sessions::SignedIn;
use super::text::{plain, shown};
use super::when::{self, count};
use super::{Looked, Visit, states};
use crate::api::native::cut::WEEK_HOURS;
use crate::api::native::filter;
use crate::api::native::principals::{DETAILS, Known};
use crate::api::native::problem::Problem;
use crate::coverage;

/// Values of each kind that are looked for, and that are shown.
const VALUES_MAX: usize = 1000;
const VALUES_SHOWN: usize = 50;

const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// The page.
pub fn answer(visit: &Visit, signed_in: &SignedIn) -> Answer {
    visit.look(|looked| build(visit, signed_in, looked))
}

fn build(visit: &Visit, signed_in: &SignedIn, looked: &mut Looked) -> Result<Answer, Problem> {
    let question = match Question::of(visit, signed_in, principals::PATH, looked)? {
        Err(answer) => return Ok(answer),
        Ok(question) => question,
    };
    let name = name_in(visit.parts.uri.path())?;
    let found = match Found::look(&question.asked(visit), visit, &question.params, &name) {
        Err(problem) if problem.column.is_some() => {
            return Ok(question.unreadable(visit, signed_in, &problem));
        }
        found => found?,
    };
    looked.rows = found.known.whole.total;
    let path = visit.parts.uri.path().to_owned();
    let title = format!("{} · Principal", plain(&name));
    let frame = Frame {
        title: &title,
        signed_in: Some(signed_in),
        here: Some((&path, &question.params)),
        bar: Some(question.here().bar(visit, signed_in)),
    };
    let shown = Shown { visit, question: &question, found: &found, name: &name, path: &path };
    Ok(Answer::page(StatusCode::OK, page(&frame, shown.main())))
}

fn name_in(path: &str) -> Result<String, Problem> {
    let last = path.rsplit('/').next().unwrap_or_default();
    let name = percent_decode_str(last).decode_utf8();
    let absent = |_| Problem::not_found("There is no principal whose name is no text.");
    name.map(|name| name.into_owned()).map_err(absent)
}

/// What the history says of the one.
struct Found {
    /// In the window.
    known: Known,
    /// Up to the end of the window, however long ago: by [`DETAILS`], and of the one itself.
    ever: Vec<Seen>,
    kind: Option<Kind>,
    zone: TimeZone,
    coverage: Coverage,
}

impl Found {
    fn look(
        asked: &Asked<'_>,
        visit: &Visit,
        params: &Params,
        name: &str,
    ) -> Result<Found, Problem> {
        let store = visit.app.store();
        // Nothing of it is hidden: it is what was asked for.
        let filter = asked.filter(&params.without(&["show"]), true)?;
        let zone = filter::zone(&mut params.query())?;
        let coverage = coverage::of(store, asked.registry, &filter, visit.now);
        let known = Known::of(store, filter, name, &zone)?;
        let dimensions: Vec<Dimension> =
            DETAILS.iter().map(|(_, dimension)| *dimension).chain([Dimension::Principal]).collect();
        let up_to_its_end = Filter { from: Timestamp::MIN, ..known.filter.clone() };
        let ever = store.seen(&up_to_its_end, &dimensions, (Rank::Last, VALUES_MAX))?;
        let Filter { principals, from, to, as_of, .. } = known.filter.clone();
        let all = Filter::all(asked.scope.clone(), 0);
        let kinds = principals::kinds(asked, &Filter { principals, from, to, as_of, ..all })?;
        let kind = kinds.get(&Text::from(name)).copied();
        Ok(Found { known, ever, kind, zone, coverage })
    }

    /// The sums of all that was ever seen of it.
    fn of_all(&self) -> Option<&SeenValue> {
        self.ever.last()?.values.first()
    }
}

/// The page as it is shown.
struct Shown<'a> {
    visit: &'a Visit,
    question: &'a Question,
    found: &'a Found,
    name: &'a str,
    /// The address of this page.
    path: &'a str,
}

impl Shown<'_> {
    fn main(&self) -> Markup {
        let Question { params, window, .. } = self.question;
        let asked = self.question.asked(self.visit);
        let name_of = |name: &str, value: &str| asked.name_of(name, value);
        let n_events = self.found.known.whole.total;
        html! {
            main #main.sheet {
                p.back { a href=(kept(params).href(principals::PATH)) { "← All principals" } }
                div.title {
                    h1 { (shown(self.name)) }
                    @if let Some(kind) = self.found.kind { (kind.tag()) }
                    (window.choices(params, self.path))
                }
                (filters::chips(params, self.path, &name_of))
                div.headline {
                    p.total role="status" {
                        strong { (count(n_events)) }
                        (if n_events == 1 { " event" } else { " events" })
                        span.sep aria-hidden="true" { "·" }
                        (states::completeness(&self.found.coverage, window, asked.is_set_up(), &name_of))
                    }
                    p.aside { a href=(self.events().href("/history")) { "These events" } }
                }
                (Gaps::of(&self.found.coverage, &name_of).table(params, self.path))
                (self.facts())
                @if n_events == 0 { (self.not_seen()) } @else {
                    (self.values("addresses", "From where"))
                    (self.week())
                    div.tables {
                        @for (member, title) in self.others() { (self.values(member, title)) }
                    }
                }
            }
        }
    }

    /// Its events in the history.
    fn events(&self) -> Params {
        self.question
            .params
            .without(&["zone", "cursor"])
            .and("principal", self.name)
            .set("show", "all")
    }

    /// When it was seen first and last, however long ago, and how it ended.
    fn facts(&self) -> Markup {
        let now = self.visit.now;
        let instant = |at: Timestamp| {
            html! { (when::instant(at)) span.ago { (when::ago(at, now)) } }
        };
        let sums = self.found.known.whole.values.first();
        html! {
            dl.facts {
                @match self.found.of_all() {
                    Some(ever) => {
                        div { dt { "First seen" } dd { (instant(ever.first)) } }
                        div { dt { "Last seen" } dd { (instant(ever.last)) } }
                    }
                    None => div { dt { "First seen" } dd { "never" } },
                }
                @if let Some(sums) = sums {
                    div { dt { "Success" } dd.result.success { (count(sums.successes)) } }
                    div { dt { "Failure" } dd.result.failure[sums.failures > 0] { (count(sums.failures)) } }
                    @if sums.unknown > 0 { div { dt { "Not said" } dd { (count(sums.unknown)) } } }
                }
            }
            p.hint { "First seen is as far back as the history is kept, and as somebody watched." }
        }
    }

    fn not_seen(&self) -> Markup {
        let Question { params, window, .. } = self.question;
        html! {
            section.state role="status" {
                @match self.found.of_all() {
                    Some(_) => {
                        h2 { "Not seen in this window" }
                        p { "In the window " (window.told()) ". "
                            a href=(params.without(&["from", "to"]).set("last", "all").href(self.path)) { "All time" } }
                    }
                    None => {
                        h2 { "Never seen" }
                        p { "Nobody of this name is in the history, as far as it goes back and was watched. \
                             Names are compared to the letter." }
                    }
                }
            }
        }
    }

    /// What else there is to tell; of arrays other things than of databases.
    fn others(&self) -> &'static [(&'static str, &'static str)] {
        match self.question.scope {
            doorbook_event::Scope::Namespace(_) => {
                &[("hosts", "Arrays"), ("actions", "Actions"), ("applications", "Applications")]
            }
            _ => &[
                ("applications", "Applications"),
                ("hosts", "Hosts"),
                ("databases", "Databases"),
                ("mechanisms", "Mechanisms"),
            ],
        }
    }

    /// The values of a kind that were seen in the window, the latest first.
    fn values(&self, member: &str, title: &str) -> Markup {
        let at = DETAILS.iter().position(|(known, _)| *known == member).expect("one of them");
        let (seen, ever) = (&self.found.known.details[at], &self.found.ever[at]);
        let firsts: HashMap<&Option<Text>, Timestamp> =
            ever.values.iter().map(|value| (&value.value, value.first)).collect();
        let earlier = ever.distinct.saturating_sub(seen.distinct);
        let parameter = self.parameter(member);
        html! {
            section.values {
                h2 { (title) span.of { (count(seen.distinct))
                    @if earlier > 0 { ", and " (count(earlier)) " before this window" } } }
                div.scroll tabindex="0" role="region" aria-label=(title) {
                    table {
                        thead { tr {
                            th scope="col" { (label(parameter)) }
                            th scope="col" { "First seen" }
                            th scope="col" { "Last seen" }
                            th.num scope="col" { "Success" }
                            th.num scope="col" { "Failure" }
                        } }
                        tbody {
                            @for value in seen.values.iter().take(VALUES_SHOWN) {
                                (self.value(parameter, value, firsts.get(&value.value).copied()))
                            }
                        }
                    }
                }
                @if seen.values.len() > VALUES_SHOWN {
                    p.hint { "The " (VALUES_SHOWN) " seen last of " (count(seen.distinct)) ". "
                        a href=(self.events().href("/history")) { "Their events" } }
                }
            }
        }
    }

    fn value(&self, parameter: &str, value: &SeenValue, first: Option<Timestamp>) -> Markup {
        let is_new = self.question.window.from > Timestamp::MIN
            && first.is_some_and(|first| first >= self.question.window.from);
        let asked = self.question.asked(self.visit);
        html! {
            tr {
                th scope="row" {
                    @match &value.value {
                        Some(text) => {
                            a href=(self.events().and(parameter, text).href("/history")) {
                                (shown(&asked.name_of(parameter, text))) }
                        }
                        None => span.empty { "(none)" },
                    }
                    @if is_new && value.value.is_some() { " " (new_tag()) }
                }
                td.when { (when::to_the_second(first.unwrap_or(value.first))) }
                td.when { (when::to_the_second(value.last)) }
                td.num { (count(value.successes)) }
                td.num { @if value.failures > 0 { span.result.failure { (count(value.failures)) } } @else { "0" } }
            }
        }
    }

    /// The parameter that filters by a kind of value.
    fn parameter(&self, member: &str) -> &'static str {
        let is_arrays = matches!(self.question.scope, doorbook_event::Scope::Namespace(_));
        match member {
            "databases" => "database",
            "addresses" => "address",
            "applications" => "application",
            "mechanisms" => "mechanism",
            "actions" => "action",
            "hosts" if is_arrays => "array",
            "hosts" => "host",
            _ => "cluster",
        }
    }

    /// When in the week: a table whose cells are the darker the more there was.
    fn week(&self) -> Markup {
        let hours = &self.found.known.hours;
        let all = |hour: usize| hours.iter().map(|counts| counts[hour]).sum::<u64>();
        let most = (0..WEEK_HOURS).map(all).max().unwrap_or(0);
        let zone = self.found.zone.iana_name().unwrap_or("UTC");
        html! {
            section.values {
                h2 { "Hours of the week" span.of { (zone) } }
                (self.zones())
                div.scroll tabindex="0" role="region" aria-label="Hours of the week" {
                    table.week {
                        caption.hidden { "Events by hour of the week, in " (zone) }
                        thead { tr {
                            td {}
                            @for hour in 0..24 { th scope="col" { (format!("{hour:02}")) } }
                        } }
                        tbody {
                            @for (day, name) in DAYS.iter().enumerate() {
                                tr {
                                    th scope="row" { (name) }
                                    @for hour in 0..24 {
                                        @let at = day * 24 + hour;
                                        (cell(&format!("{name} {hour:02}:00"), all(at), hours[1][at], most))
                                    }
                                }
                            }
                        }
                    }
                }
                p.hint { "Events that began in the hour; underlined where some failed." }
            }
        }
    }

    /// Hours of another zone than UTC are those of the browser's, which its script knows.
    fn zones(&self) -> Markup {
        let params = &self.question.params;
        html! {
            @match params.get("zone") {
                Some(_) => p.zones { a href=(params.without(&["zone"]).href(self.path)) { "In UTC" } },
                None => p.zones hidden { a.own-zone href=(params.and("zone", "").href(self.path)) { "In my zone" } },
            }
        }
    }
}

fn cell(hour: &str, all: u64, failures: u64, most: u64) -> Markup {
    // By orders of magnitude, so that one busy hour leaves the others visible.
    let part = ((1 + all) as f64).ln() / ((1 + most.max(1)) as f64).ln();
    let level = (part * 5.0).ceil() as u64;
    html! {
        td class=(format!("num heat-{level}")) title=(format!("{hour}: {}, {} failed", count(all), count(failures))) {
            @if failures > 0 { span.failed { (count(all)) span.hidden { ", " (count(failures)) " failed" } } }
            @else if all > 0 { (count(all)) }
        }
    }
}

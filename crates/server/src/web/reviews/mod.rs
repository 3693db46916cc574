//! What is looked through daily or weekly: which reviews there are, and to make, change and end them. `sheet` is the page
//! of one.

mod sheet;

use axum::http::StatusCode;
use doorbook_event::review::{Decision, Due, Review};
use doorbook_event::{Scope, Text, Timestamp};
use doorbook_store::Reviews;
use maud::{Markup, html};

use super::act::{self, Act, Field, Forms, Sent, Wrong};
use super::navigation::{Here, Section, scope_of};
use super::page::{Answer, Frame, page};
use super::params::Params;
use super::sessions::SignedIn;
use super::text::shown;
use super::when::{self, count};
use super::{Looked, Visit};
use crate::admin::Request;
use crate::admin::reviews::ReviewRequest;
use crate::api::native::problem::Problem;
use crate::auth::{Decision as Verdict, Operation, authorize};
use crate::filter::{Place, Terms, time_zone};
use crate::review::Desk;

pub use sheet::{answer, change};

/// Where they are.
pub const PATH: &str = "/reviews";

/// What an address says that every form goes back to.
const KEPT: [&str; 3] = ["project", "namespace", "times"];

/// The parameter that says which filter a new review is to have.
const FILTER: &str = "filter";

static NEW: Act = Act {
    word: "create",
    summary: "New review…",
    hint: "The filter names no times: a round is about what is new since the last one was signed.",
    fields: &[
        Field::text("Name: lower-case letters, digits and -_.", "name"),
        Field::choice("Of", "of", managed),
        Field::optional("Filter; empty is every event", "filter"),
        Field::choice("To be signed every", "every", days),
        Field::text("By, as 10:00", "time"),
        Field::text("In the zone, as Europe/Berlin", "zone"),
        Field::check("Begin with the history, and not with what comes from now on", "from-start"),
    ],
    button: "Make it",
    request: |sent| {
        let of = sent.text("of");
        let Some((kind, whose)) = of.split_once(':') else {
            return Err(Wrong::new("of", "choose whose history"));
        };
        let of = |known: &str| (kind == known).then(|| whose.to_owned());
        Ok(Request::Review(ReviewRequest::Create {
            name: sent.text("name"),
            project: of("project"),
            namespace: of("namespace"),
            filter: filter(sent)?,
            zone: zone(sent)?,
            due: due(sent)?,
            from_start: sent.is_ticked("from-start"),
        }))
    },
    done: "The review was made.",
};

static CHANGE: Act = Act {
    word: "change",
    summary: "Change…",
    hint: "It holds from the next round on; what was signed stays as it was.",
    fields: &[
        Field::optional("Filter; empty is every event", "filter"),
        Field::choice("To be signed every", "every", days),
        Field::text("By, as 10:00", "time"),
        Field::text("In the zone, as Europe/Berlin", "zone"),
    ],
    button: "Change it",
    request: |sent| {
        Ok(Request::Review(ReviewRequest::Change {
            name: sent.text("review"),
            filter: Some(filter(sent)?),
            zone: Some(zone(sent)?),
            due: Some(due(sent)?),
        }))
    },
    done: "The review is changed.",
};

static END: Act = Act {
    word: "end",
    summary: "End it…",
    hint: "Nobody is asked to sign it any more, and its marks are gone. What was signed stays in Doorbook's own history.",
    fields: &[],
    button: "Review it no longer",
    request: |sent| Ok(Request::Review(ReviewRequest::Remove { name: sent.text("review") })),
    done: "It is reviewed no longer.",
};

/// Whether somebody manages reviews of any history.
pub fn are_managed(visit: &Visit) -> bool {
    !managed(visit).is_empty()
}

/// The histories of which somebody may make reviews.
fn managed(visit: &Visit) -> Vec<(String, String)> {
    let registry = &visit.catalog.registry;
    let is_managed =
        |scope: &Scope| may(visit, Operation::ManageReviews, scope) == Verdict::Allowed;
    let projects = registry.projects().filter(|project| is_managed(&Scope::Project(project.id)));
    let projects =
        projects.map(|project| (of(&Scope::Project(project.id)), project.name.to_string()));
    // Everybody has a namespace, and most have nothing in it.
    let namespaces = registry.arrays().namespaces();
    let namespaces = namespaces.filter(|name| registry.arrays().arrays_of(name).next().is_some());
    let namespaces = namespaces.filter(|name| is_managed(&Scope::Namespace((*name).clone())));
    let namespaces =
        namespaces.map(|name| (of(&Scope::Namespace(name.clone())), format!("arrays of {name}")));
    projects.chain(namespaces).collect()
}

/// Whose history, as a form says it.
fn of(scope: &Scope) -> String {
    match scope {
        Scope::Project(id) => format!("project:{id}"),
        Scope::Namespace(name) => format!("namespace:{name}"),
        Scope::System => String::new(),
    }
}

fn days(_: &Visit) -> Vec<(String, String)> {
    let both = |day: &str| (day.to_owned(), day.to_owned());
    std::iter::once("day").chain(Due::WEEKDAYS).map(both).collect()
}

fn filter(sent: &Sent<'_>) -> Result<String, Wrong> {
    let filter = sent.text("filter");
    match Terms::parse(&filter) {
        Ok(_) => Ok(filter),
        Err(wrong) => match wrong.place {
            Place::Columns(column, _) => {
                Err(Wrong::new("filter", format!("at column {column}: {}", wrong.what)))
            }
            Place::Parameter(_) => Err(Wrong::new("filter", wrong.what)),
        },
    }
}

fn zone(sent: &Sent<'_>) -> Result<String, Wrong> {
    let zone = sent.text("zone");
    time_zone(&zone).map(|_| zone).map_err(|why| Wrong::new("zone", why))
}

fn due(sent: &Sent<'_>) -> Result<String, Wrong> {
    let (every, time) = (sent.text("every"), sent.text("time"));
    let due = if every == "day" { time.clone() } else { format!("{every} {time}") };
    match Due::parse(&due) {
        Some(_) => Ok(due),
        None => Err(Wrong::new("time", format!("{time:?} is no time of a day: write 10:00"))),
    }
}

/// What a form of the page of all reviews asks for.
pub fn manage(visit: &Visit, sent: &Params) -> Answer {
    act::carry_out(visit, sent, [&NEW, &CHANGE, &END], &sent.only(&KEPT).href(PATH), |_| None)
}

/// Where the filter of a history is made a review, for who may.
pub fn save_as(visit: &Visit, scope: &Scope, filter: &str) -> Option<String> {
    let is_managed = may(visit, Operation::ManageReviews, scope) == Verdict::Allowed;
    is_managed.then(|| whose(scope).and(FILTER, filter).href(PATH) + "#new")
}

/// All reviews that somebody may see or manage, those first that are overdue.
pub fn list(visit: &Visit, signed_in: &SignedIn) -> Answer {
    visit.look(|looked| build(visit, signed_in, looked))
}

fn build(visit: &Visit, signed_in: &SignedIn, looked: &mut Looked) -> Result<Answer, Problem> {
    let params = Params::parse(visit.parts.uri.query().unwrap_or_default())?;
    params.without(&KEPT).without(&[FILTER]).query().finish()?;
    let is_of_one = params.get("project").is_some() || params.get("namespace").is_some();
    let scope = is_of_one.then(|| scope_to_list(visit, &params)).transpose()?;
    looked.scope.clone_from(&scope);
    let desk = desk(visit);
    let rows: Vec<Row<'_>> = visit
        .catalog
        .registry
        .reviews()
        .filter_map(|review| Row::of(&desk, visit, review))
        .collect();
    let is_here = |row: &Row<'_>| scope.as_ref().is_none_or(|scope| row.review.scope == *scope);
    let mut rows: Vec<Row<'_>> = rows.into_iter().filter(is_here).collect();
    rows.sort_by_key(|row| (!row.is_overdue, row.due, &row.review.name));
    looked.rows = rows.len() as u64;
    let here = match &scope {
        Some(scope) => Here::of(PATH, scope, &params),
        None => Here { section: Some(Section::Reviews), scope: None, params: &params },
    };
    let frame = Frame {
        title: "Reviews",
        signed_in: Some(signed_in),
        here: Some((PATH, &params)),
        bar: Some(here.bar(visit, signed_in)),
    };
    let forms = Forms::new(visit, signed_in, PATH, params.only(&KEPT));
    let main = html! {
        main #main.sheet {
            div.title { h1 { "Reviews" } }
            (forms.told())
            @match rows.is_empty() {
                true => (none_yet()),
                false => (table_of(visit, &desk.reviews(), &rows, &params, &forms)),
            }
            @if are_managed(visit) {
                section.values #new {
                    h2 { "Have something reviewed" }
                    (new_form(&forms, scope.as_ref(), &params))
                }
            }
        }
    };
    Ok(Answer::page(StatusCode::OK, page(&frame, main)))
}

/// Whose reviews an address means: a history that may be read, or whose reviews may be managed.
fn scope_to_list(visit: &Visit, params: &Params) -> Result<Scope, Problem> {
    let registry = &visit.catalog.registry;
    let scope = match (params.get("project"), params.get("namespace")) {
        (Some(text), None) => registry.find_project(text).map(|project| Scope::Project(project.id)),
        (None, Some(name)) => Some(Scope::Namespace(name.into())),
        _ => None,
    };
    let is_managed =
        |scope: &Scope| may(visit, Operation::ManageReviews, scope) == Verdict::Allowed;
    scope.filter(is_managed).map_or_else(|| scope_of(visit, params), Ok)
}

fn new_form(forms: &Forms<'_>, scope: Option<&Scope>, params: &Params) -> Markup {
    let usual = [("every", "monday"), ("time", "10:00"), ("zone", "UTC")];
    let usual = usual.iter().fold(Params::none(), |values, (name, value)| values.and(name, value));
    let usual = scope.map_or(usual.clone(), |scope| usual.and("of", &of(scope)));
    let filter = params.get(FILTER);
    forms.filled(&NEW, &[], &usual.and("filter", filter.unwrap_or_default()), filter.is_some())
}

/// A review as it is listed.
struct Row<'a> {
    review: &'a Review,
    due: Timestamp,
    is_overdue: bool,
    may_read: bool,
    may_manage: bool,
}

impl<'a> Row<'a> {
    /// `None` of one that is not there for who asks.
    fn of(desk: &Desk, visit: &Visit, review: &'a Review) -> Option<Row<'a>> {
        let may = |operation| may(visit, operation, &review.scope) == Verdict::Allowed;
        let (may_read, may_manage) = (may(Operation::ReadReviews), may(Operation::ManageReviews));
        let (due, is_overdue) = desk.standing(review);
        let row = Row { review, due, is_overdue, may_read, may_manage };
        (may_read || may_manage).then_some(row)
    }
}

fn table_of(
    visit: &Visit,
    known: &Reviews,
    rows: &[Row<'_>],
    params: &Params,
    forms: &Forms<'_>,
) -> Markup {
    let is_managed = rows.iter().any(|row| row.may_manage);
    html! {
        div.scroll tabindex="0" role="region" aria-label="Reviews" {
            table {
                caption.hidden { "Reviews, those first that are overdue" }
                thead { tr {
                    th scope="col" { "Review" } th scope="col" { "Of" } th scope="col" { "Due" }
                    th.num scope="col" { "Round" } th.num scope="col" { "To follow up" } th scope="col" { "Signed last" }
                    @if is_managed { th scope="col" { "Change" } }
                } }
                tbody {
                    @for row in rows {
                        tr {
                            (cells(visit, known, row, &params.only(&["times"])))
                            @if is_managed { td { @if row.may_manage { (management(forms, row.review)) } } }
                        }
                    }
                }
            }
        }
    }
}

fn cells(visit: &Visit, known: &Reviews, row: &Row<'_>, times: &Params) -> Markup {
    let Row { review, due, is_overdue, may_read, .. } = row;
    let reviewed = known.of(&review.name);
    let link = may_read.then(|| times.href(&format!("{PATH}/{}", review.name)));
    html! {
        th scope="row" {
            a href=[link] { (shown(&review.name)) }
            div.more { code { (shown_or(&review.filter, "every event")) } }
        }
        td { (shown(&name_of(visit, &review.scope))) }
        td { (standing(*due, *is_overdue, visit.now))
            div.more { (review.due.rhythm()) " by " (review.due.to_string()) " " (shown(&review.zone)) } }
        td.num { (count(reviewed.round())) }
        td.num { (count(reviewed.follow_ups().count() as u64)) }
        td { @match reviewed.last() {
            Some(last) => { (when::to_the_second(last.at))
                div.more { (shown(&last.by.principal.to_string())) ", " (decision(last.decision)) } },
            None => span.empty { "never" },
        } }
    }
}

fn management(forms: &Forms<'_>, review: &Review) -> Markup {
    let due = review.due.to_string();
    let (every, time) = due.split_once(' ').unwrap_or(("day", &due));
    let values =
        [("filter", &*review.filter), ("every", every), ("time", time), ("zone", &review.zone)];
    let values =
        values.iter().fold(Params::none(), |values, (name, value)| values.and(name, value));
    let about = [("review", &*review.name)];
    html! { (forms.filled(&CHANGE, &about, &values, false)) (forms.form(&END, &about)) }
}

fn none_yet() -> Markup {
    html! {
        section.state role="status" {
            h2 { "No review yet" }
            p { "A review is a filter that somebody looks through daily or weekly, and signs. Who owns the project makes it, "
                "here, or from a filter of the history by \"Save as a review\"; so does whoever runs this server:" }
            pre.config tabindex="0" { "doorbook review create failures --project P \\\n  --filter 'result:failed -class:system' --due 'monday 10:00' --zone Europe/Berlin" }
        }
    }
}

fn name_of(visit: &Visit, scope: &Scope) -> Text {
    let registry = &visit.catalog.registry;
    match scope {
        Scope::Project(id) => {
            registry.project(*id).map(|project| project.name.clone()).unwrap_or_default()
        }
        Scope::Namespace(name) => name.clone(),
        Scope::System => "Doorbook".into(),
    }
}

/// By sign, word and colour.
fn standing(due: Timestamp, is_overdue: bool, now: Timestamp) -> Markup {
    html! {
        @match is_overdue {
            true => span.state-word.blind { span aria-hidden="true" { "◐ " } "overdue" },
            false => span.state-word.effort { span aria-hidden="true" { "○ " } "open" },
        }
        " " (when::to_the_second(due)) span.ago { (when::ago(due, now)) }
    }
}

fn decision(decision: Decision) -> Markup {
    html! {
        @match decision {
            Decision::Accepted => span.state-word.complete { span aria-hidden="true" { "● " } "accepted" },
            Decision::FollowUp => span.state-word.blind { span aria-hidden="true" { "◐ " } "follow up" },
        }
    }
}

fn shown_or(text: &str, none: &str) -> Markup {
    html! { @match text.is_empty() { true => (none), false => (shown(text)) } }
}

fn desk(visit: &Visit) -> Desk {
    Desk {
        store: visit.app.store().clone(),
        ids: visit.app.doors().ids().clone(),
        catalog: visit.catalog.clone(),
        now: visit.now,
    }
}

fn may(visit: &Visit, operation: Operation, scope: &Scope) -> Verdict {
    authorize(&visit.catalog.registry, &visit.caller(), operation, scope)
}

/// What an address says to mean a history.
fn whose(scope: &Scope) -> Params {
    match scope {
        Scope::Project(id) => Params::default().and("project", &id.to_string()),
        Scope::Namespace(name) => Params::default().and("namespace", name),
        Scope::System => Params::default(),
    }
}

//! The access history of a project, and the activity of a namespace's arrays: one page for both.

use axum::http::StatusCode;
use doorbook_event::Scope;
use doorbook_event::public_id::Names;
use doorbook_store::{Answer as Coverage, Filter, Page, Placed};
use maud::{Markup, html};

use super::chart::{Chart, Stretch};
use super::detail::Detail;
use super::filters::{self, Asked};
use super::navigation::{Here, places};
use super::page::{Answer, Frame, page};
use super::params::Params;
use super::question::{Question, search};
use super::sessions::SignedIn;
use super::table::Table;
use super::text::shown;
use super::when::count;
use super::window::Window;
use super::{Looked, Visit, export, facets, reviews, states};
use crate::api::native::cursor::{Cursor, seal_as_of};
use crate::api::native::events;
use crate::api::native::problem::Problem;
use crate::auth::{Decision, Object, Operation, authorize};
use crate::coverage;
use crate::export::Format;

/// Where it is.
const PATH: &str = "/history";

/// Rows of a page.
const ROWS: usize = 100;

/// Memory of a page's rows.
const SIZE_BYTES_MAX: usize = 8 << 20;

/// Where somebody begins: at the only history there is for them, or with a choice.
pub fn home(visit: &Visit, signed_in: &SignedIn) -> Answer {
    let places = places(visit, signed_in);
    match &places[..] {
        [] => states::nothing_granted(visit, signed_in),
        [only] => Answer::redirect(&only.href()),
        several => {
            let bar = Some(Here::nowhere().bar(visit, signed_in));
            let frame = Frame { title: "Histories", signed_in: Some(signed_in), here: None, bar };
            let main = html! {
                main #main.narrow {
                    h1 { "Whose history?" }
                    ul.choices {
                        @for place in several {
                            li { a href=(place.href()) { span.kind { (place.kind) } (shown(&place.name)) } }
                        }
                    }
                }
            };
            Answer::page(StatusCode::OK, page(&frame, main))
        }
    }
}

/// A page of a history, or a row of it.
pub fn answer(visit: &Visit, signed_in: &SignedIn, is_event: bool) -> Answer {
    visit.look(|looked| build(visit, signed_in, is_event, looked))
}

/// How many events there are more than on a page: `{"newer":N}`.
pub fn newer(visit: &Visit, signed_in: &SignedIn) -> Answer {
    visit.look(|looked| {
        // A window that is left open asks every few seconds.
        looked.is_repeated = true;
        let question = match Question::of(visit, signed_in, PATH, looked)? {
            Err(answer) => return Ok(answer),
            Ok(question) => question,
        };
        let shows_all = question.params.get("show") == Some("all");
        let mut filter = question.asked(visit).filter(&question.params, shows_all)?;
        let expected = || Problem::invalid_parameter("as_of", "that of the page");
        let since = filter.as_of.take().ok_or_else(expected)?;
        let store = visit.app.store();
        let n_newer = match store.as_of(&question.scope) == since {
            true => 0,
            false => store.select(&Filter { since: Some(since), limit: 0, ..filter })?.total,
        };
        looked.rows = 0;
        Ok(Answer::json(format!("{{\"newer\":{n_newer}}}")))
    })
}

fn build(
    visit: &Visit,
    signed_in: &SignedIn,
    is_event: bool,
    looked: &mut Looked,
) -> Result<Answer, Problem> {
    let question = match Question::of(visit, signed_in, PATH, looked)? {
        Err(answer) => return Ok(answer),
        Ok(question) => question,
    };
    let asked = question.asked(visit);
    let mut found = match Found::look(&asked, visit, &question.params) {
        Err(problem) if problem.column.is_some() => {
            return Ok(question.unreadable(visit, signed_in, &problem));
        }
        found => found?,
    };
    if is_event {
        let row = row_of(visit, &question.scope)?;
        found.neighbours = neighbours(visit, &question.scope, &row)?;
        found.open = Some(row);
    }
    looked.rows = found.page.rows.len() as u64 + u64::from(is_event);
    let Question { params, scope, window, .. } = &question;
    let shown = Shown { visit, signed_in, scope, params, window: *window, found: &found };
    Ok(Answer::page(StatusCode::OK, shown.page()))
}

/// The row that the path names, wherever it is in the history that may be read. Of a namespace of others
/// only what the address asks for.
fn row_of(visit: &Visit, scope: &Scope) -> Result<Placed, Problem> {
    let absent = || Problem::not_found("There is no such event.");
    let id = visit.parts.uri.path().rsplit('/').next().unwrap_or_default();
    let place = id.parse().ok().and_then(|id| visit.app.doors().ids().place(Names::Record, id));
    let (log, seq) = place.ok_or_else(absent)?;
    let row = visit.app.store().get(scope, log, seq)?.ok_or_else(absent)?;
    match may_read(visit, scope, &row) {
        true => Ok(row),
        false => Err(absent()),
    }
}

/// What else the connection of a row did: as much as a person reads, and how much it is.
fn neighbours(visit: &Visit, scope: &Scope, row: &Placed) -> Result<(Vec<Placed>, u64), Problem> {
    const SHOWN: usize = 20;
    let Some(filter) = events::of_connection(scope, row) else { return Ok(Default::default()) };
    let filter = Filter { limit: SHOWN + 1, ..filter };
    let mut page = visit.app.store().select(&filter)?;
    page.rows.retain(|other| (other.log, other.seq) != (row.log, row.seq));
    page.rows.truncate(SHOWN);
    Ok((page.rows, page.total.saturating_sub(1)))
}

fn may_read(visit: &Visit, scope: &Scope, row: &Placed) -> bool {
    use doorbook_event::Record;
    let Scope::Namespace(name) = scope else { return true };
    let registry = &visit.catalog.registry;
    let caller = visit.caller();
    let may = |object: Object<'_>| {
        authorize(registry, &caller, Operation::ReadHistory, object) == Decision::Allowed
    };
    let target = match &row.record {
        Record::Access(access) | Record::Own(access) => Some(access.target.names().1),
        _ => None,
    };
    let array = target.and_then(|target| registry.arrays().find(name, target));
    may(Object::Namespace(name)) || array.is_some_and(|array| may(Object::Array(array)))
}

/// What the history answered; all of one state.
struct Found {
    page: Page,
    older: Option<String>,
    n_hidden: u64,
    /// How many match at any time, where none does in the window.
    elsewhere: u64,
    is_empty_history: bool,
    coverage: Coverage,
    chart: Chart,
    facets: Vec<((doorbook_store::Dimension, &'static str), doorbook_store::Top)>,
    open: Option<Placed>,
    /// What else the connection of that row did, and how much that is.
    neighbours: (Vec<Placed>, u64),
}

impl Found {
    fn look(asked: &Asked<'_>, visit: &Visit, params: &Params) -> Result<Found, Problem> {
        let store = visit.app.store();
        let ids = visit.app.doors().ids();
        let shows_all = params.get("show") == Some("all");
        let mut filter = asked.filter(params, shows_all)?;
        (filter.limit, filter.size_bytes_max) = (ROWS, SIZE_BYTES_MAX);
        if let Some(text) = params.get("cursor") {
            let cursor = Cursor::open(ids, text).filter(|cursor| cursor.scope == *asked.scope);
            let cursor =
                cursor.ok_or_else(|| Problem::invalid_parameter("cursor", "not one of ours"))?;
            (filter.after, filter.as_of) = (Some(cursor.after), Some(cursor.as_of));
        }
        let mut page = store.select(&Filter { is_counted: false, ..filter.clone() })?;
        // Everything else on the page is of the same state.
        let as_of = Some(page.as_of.clone());
        let counted = Filter { limit: 0, after: None, as_of: as_of.clone(), ..filter.clone() };
        let stretch = Stretch::of(store, &counted, &asked.window, visit.now)?;
        let (dimensions, limit) = facets::wanted(asked.scope);
        let overview = store.overview(&counted, stretch.width_micros(), (&dimensions, limit))?;
        page.total = overview.total;
        let older = events::next(&page, ROWS).map(|after| {
            let (scope, as_of) = (asked.scope.clone(), page.as_of.clone());
            Cursor { scope, limit: ROWS, after, as_of, filter: String::new() }.seal(ids)
        });
        let with_hidden = Filter { limit: 0, as_of, ..asked.filter(params, true)? };
        let n_hidden = match shows_all {
            true => 0,
            false => store.select(&with_hidden)?.total.saturating_sub(page.total),
        };
        let of_all = Filter::all(asked.scope.clone(), 0);
        let is_none = page.total == 0;
        let elsewhere = match is_none {
            true => {
                let of_all = Filter { from: of_all.from, to: of_all.to, ..counted.clone() };
                store.select(&of_all)?.total
            }
            false => 0,
        };
        let is_empty_history = is_none && elsewhere == 0 && store.select(&of_all)?.total == 0;
        let coverage = coverage::of(store, asked.registry, &filter, visit.now);
        let name_of = |name: &str, value: &str| asked.name_of(name, value);
        let chart = Chart::of(stretch, overview.bars, (&coverage, visit.now), &name_of);
        let facets = facets::of(asked, params, (&counted, overview.tops), shows_all)?;
        let (open, neighbours) = (None, Default::default());
        Ok(Found {
            page,
            older,
            n_hidden,
            elsewhere,
            is_empty_history,
            coverage,
            chart,
            facets,
            open,
            neighbours,
        })
    }
}

/// A page as it is shown.
struct Shown<'a> {
    visit: &'a Visit,
    signed_in: &'a SignedIn,
    scope: &'a Scope,
    params: &'a Params,
    window: Window,
    found: &'a Found,
}

impl Shown<'_> {
    fn page(&self) -> Markup {
        let heading = match self.scope {
            Scope::Namespace(_) => "Array activity",
            _ => "Access history",
        };
        let (path, title) = match &self.found.open {
            Some(row) => (format!("/history/{}", self.id(row)), format!("Event · {heading}")),
            None => ("/history".to_owned(), heading.to_owned()),
        };
        let frame = Frame {
            title: &title,
            signed_in: Some(self.signed_in),
            here: Some((&path, self.params)),
            bar: Some(Here::of(PATH, self.scope, self.params).bar(self.visit, self.signed_in)),
        };
        page(
            &frame,
            html! {
                main #main.history.with-detail[self.found.open.is_some()] {
                    div.top {
                        div.title {
                            h1 { (heading) }
                            (self.window.choices(self.params, "/history"))
                        }
                        (search(PATH, self.params, None))
                        (filters::chips(self.params, PATH, &|name, value| self.name_of(name, value)))
                        (self.headline())
                        (self.newer())
                        @if !self.found.is_empty_history { (self.found.chart.show(self.params)) }
                    }
                    (self.rows())
                    @if let Some(row) = &self.found.open { (self.detail(row)) }
                    (facets::show(&self.found.facets, self.params, &|name, value| self.name_of(name, value)))
                }
            },
        )
    }

    fn asked(&self) -> Asked<'_> {
        let registry = &self.visit.catalog.registry;
        Asked { app: &self.visit.app, registry, scope: self.scope, window: self.window }
    }

    fn name_of(&self, name: &str, value: &str) -> String {
        self.asked().name_of(name, value)
    }

    fn id(&self, row: &Placed) -> String {
        self.visit.app.doors().ids().id(Names::Record, row.log, row.seq).to_string()
    }

    /// The total, what it can know, what it leaves out, and the link that keeps it.
    fn headline(&self) -> Markup {
        let Found { page, n_hidden, coverage, .. } = self.found;
        let show = self.params.without(&["cursor"]);
        let name_of = |name: &str, value: &str| self.name_of(name, value);
        html! {
            div.headline {
                p.total role="status" {
                    strong { (count(page.total)) }
                    (if page.total == 1 { " event" } else { " events" })
                    span.sep aria-hidden="true" { "·" }
                    (states::completeness(coverage, &self.window, self.asked().is_set_up(), &name_of))
                }
                p.aside {
                    @if self.params.get("show") == Some("all") {
                        span { "System, monitors and retries are shown. "
                            a href=(show.without(&["show"]).href("/history")) { "Hide them" } }
                    } @else if *n_hidden > 0 {
                        span { (count(*n_hidden)) " of the system, monitors and retries hidden. "
                            a href=(show.set("show", "all").href("/history")) { "Show them" } }
                    }
                    a.pin href=(self.pinned("/history")) title="A link that will show these same events" {
                        "Pinned link"
                    }
                    @if page.total > 0 { (self.exports()) }
                    (self.save_as_review())
                }
            }
        }
    }

    /// Where a script tells of newer events, if the page is one to which any could come.
    fn newer(&self) -> Markup {
        let moves = self.window.last.is_some()
            && ["cursor", "as_of"].iter().all(|name| self.params.get(name).is_none());
        let as_of = seal_as_of(self.visit.app.doors().ids(), &self.found.page.as_of);
        let since = Window::fixed(self.params, self.window.from, doorbook_event::Timestamp::MAX);
        html! {
            @if moves {
                p #newer aria-live="polite" data-poll=(since.set("as_of", &as_of).href("/history/newer")) {}
            }
        }
    }

    /// The address that shows the same for as long as the rows are kept.
    /// An address that shows the same events for as long as they are kept.
    fn pinned(&self, path: &str) -> String {
        let as_of = seal_as_of(self.visit.app.doors().ids(), &self.found.page.as_of);
        let to = match self.window.to < doorbook_event::Timestamp::MAX {
            true => self.window.to.min(self.visit.now),
            false => self.window.to,
        };
        let path = match &self.found.open {
            Some(row) if path == PATH => format!("{PATH}/{}", self.id(row)),
            _ => path.to_owned(),
        };
        Window::fixed(self.params, self.window.from, to).set("as_of", &as_of).href(&path)
    }

    /// All the events that are counted here, to keep or to pass on.
    fn exports(&self) -> Markup {
        let address = self.pinned(export::PATH);
        html! {
            span.exports { "Export "
                @for format in Format::ALL {
                    a href={ (address) "&format=" (format.word()) } download { (format.word()) } " "
                }
            }
        }
    }

    /// Where this filter becomes a review, for who may make one.
    fn save_as_review(&self) -> Markup {
        let shows_all = self.params.get("show") == Some("all");
        let filter = self.asked().timeless(self.params, shows_all).ok().flatten();
        let address = filter.and_then(|filter| reviews::save_as(self.visit, self.scope, &filter));
        html! { @if let Some(address) = address { span.exports { a href=(address) { "Save as a review" } } } }
    }

    fn rows(&self) -> Markup {
        let Found { page, n_hidden, elsewhere, is_empty_history, .. } = self.found;
        let name_of = |name: &str, value: &str| self.name_of(name, value);
        let registry = &self.visit.catalog.registry;
        html! {
            div.events {
                @if *is_empty_history {
                    (states::no_data(registry, self.scope))
                } @else if page.total == 0 {
                    (states::no_match(self.params, &self.window, *n_hidden, *elsewhere, &name_of))
                } @else {
                    (Table {
                        ids: self.visit.app.doors().ids(),
                        scope: self.scope,
                        params: self.params,
                        now: self.visit.now,
                        open: self.found.open.as_ref().map(|row| self.id(row)).as_deref(),
                        name_of: &name_of,
                        lead: None,
                    }.show(&page.rows))
                    (self.pages())
                }
            }
        }
    }

    fn pages(&self) -> Markup {
        let n_rows = self.found.page.rows.len() as u64;
        let fixed = Window::fixed(self.params, self.window.from, self.window.to);
        html! {
            nav.pages aria-label="Pages" {
                span { (count(n_rows)) " of " (count(self.found.page.total)) " shown" }
                @if self.params.get("cursor").is_some() {
                    a href=(self.params.without(&["cursor"]).href("/history")) { "⇤ Newest" }
                }
                @if let Some(cursor) = &self.found.older {
                    a rel="next" href=(fixed.set("cursor", cursor).href("/history")) { "Older →" }
                }
            }
        }
    }

    fn detail(&self, row: &Placed) -> Markup {
        let name_of = |name: &str, value: &str| self.name_of(name, value);
        Detail {
            ids: self.visit.app.doors().ids(),
            scope: self.scope,
            params: self.params,
            now: self.visit.now,
            base_url: self.visit.base_url(),
            name_of: &name_of,
            neighbours: &self.found.neighbours,
        }
        .show(row)
    }
}

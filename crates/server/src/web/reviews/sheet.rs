//! One review: what is new in it, what was said of it, what was signed, and to sign it.

use axum::http::StatusCode;
use doorbook_event::Scope;
use doorbook_event::public_id::Names;
use doorbook_event::review::{Decision, Mark, MarkKind, Review, SignOff};
use doorbook_store::reviews::Reviewed;
use doorbook_store::{Answer as Coverage, Filter, Page, Placed};
use maud::{Markup, html};

use super::super::act::{self, Act, Field, Forms, Refused};
use super::super::forms::{self, Told};
use super::super::navigation::Here;
use super::super::page::{Answer, Frame, page};
use super::super::params::Params;
use super::super::sessions::SignedIn;
use super::super::table::Table;
use super::super::text::{plain, shown};
use super::super::when::{self, count};
use super::super::window::Window;
use super::super::{Looked, Visit, states};
use super::{PATH, decision, desk, may, shown_or, standing, whose};
use crate::admin::reviews::ReviewRequest;
use crate::admin::{Failure, FailureKind, Request};
use crate::api::native::cursor::{Cursor, seal_as_of};
use crate::api::native::events;
use crate::api::native::problem::Problem;
use crate::auth::{Decision as Verdict, Operation, reviewers};
use crate::coverage::word;
use crate::review::{NOTE_CHARS_MAX, Round};
use doorbook_event::Timestamp;

/// Rows of a page, and their memory.
const ROWS: usize = 100;
const SIZE_BYTES_MAX: usize = 8 << 20;

/// Follow-ups and sign-offs of a page.
const FOLLOW_UPS_MAX: usize = 200;
const SIGNED_MAX: usize = 60;

/// One review.
pub fn answer(visit: &Visit, signed_in: &SignedIn) -> Answer {
    visit.look(|looked| build(visit, signed_in, looked))
}

/// What an address says that forms go back to.
const KEPT: [&str; 3] = ["times", "round", "cursor"];

static CLOSE: Act = Act {
    word: "close",
    summary: "Close",
    hint: "",
    fields: &[Field::text("What came of it", "note")],
    button: "Close",
    request: |sent| {
        let (name, rows) = (sent.text("review"), vec![sent.text("row")]);
        Ok(Request::Review(ReviewRequest::Close { name, rows, note: sent.text("note") }))
    },
    done: "1 row is closed.",
};

/// What a form of a review asks for.
pub fn change(visit: &Visit, sent: &Params) -> Answer {
    let name = name_of(visit);
    let path = format!("{PATH}/{name}");
    let text = |name: &str| sent.get(name).unwrap_or_default().trim().to_owned();
    let note = Some(text("note")).filter(|note| !note.is_empty());
    let all = |name: &str| sent.all(name).map(str::to_owned).collect::<Vec<_>>();
    let mark = |rows, kind| {
        let name = name.clone();
        ReviewRequest::Mark { name, rows, kind, note: note.clone() }
    };
    let (request, done) = match sent.get("do") {
        Some("expected") => (mark(all("row"), MarkKind::Expected), "marked as expected"),
        Some("all_expected") => (mark(all("shown"), MarkKind::Expected), "marked as expected"),
        Some("follow_up") => (mark(all("row"), MarkKind::FollowUp), "marked to be followed up"),
        Some("close") => {
            let back = sent.only(&KEPT).href(&path);
            return act::carry_out(visit, sent, [&CLOSE], &back, |_| None);
        }
        Some("sign") => match Decision::from_word(&text("decision")) {
            Some(decision) => {
                let (name, round) = (name.clone(), text("round"));
                (ReviewRequest::Sign { name, round, decision, note: note.clone() }, "signed")
            }
            None => return states::unreadable(visit),
        },
        _ => return states::unreadable(visit),
    };
    let n_rows = match &request {
        ReviewRequest::Mark { rows, .. } => Some(rows.len() as u64),
        _ => None,
    };
    let is_signing = n_rows.is_none();
    let told = match forms::execute(visit, Request::Review(request)) {
        Err(answer) => return answer,
        Ok(Err(why)) => Told::Refused(Box::new(Refused::new(sent, why, None))),
        Ok(Ok(_)) => Told::Done(match n_rows {
            Some(1) => format!("1 row is {done}."),
            Some(n) => format!("{} rows are {done}.", count(n)),
            None => "The round is signed. The next one has begun.".to_owned(),
        }),
    };
    // What was signed is no place to go back to; what was only marked is.
    let kept: &[&str] = match is_signing && matches!(told, Told::Done(_)) {
        true => &["times"],
        false => &KEPT,
    };
    forms::go_on(visit, &sent.only(kept).href(&path), told)
}

fn build(visit: &Visit, signed_in: &SignedIn, looked: &mut Looked) -> Result<Answer, Problem> {
    let params = Params::parse(visit.parts.uri.query().unwrap_or_default())?;
    params.without(&["times", "round", "cursor", "signed"]).query().finish()?;
    let name = name_of(visit);
    let absent = || Problem::not_found(format!("There is no review {name}."));
    let review = visit.catalog.registry.review(&name).ok_or_else(absent)?;
    match may(visit, Operation::ReadReviews, &review.scope) {
        Verdict::Allowed => {}
        Verdict::RoleMissing => return Err(Problem::forbidden()),
        Verdict::Invisible => return Err(absent()),
    }
    looked.scope = Some(review.scope.clone());
    let desk = desk(visit);
    let reviews = desk.reviews();
    let reviewed = reviews.of(&review.name);
    let after = after(visit, review, &params)?;
    let shown = match params.get("signed") {
        Some(text) => {
            let expected = || Problem::invalid_parameter("signed", "the number of a signed round");
            let round: u64 = text.parse().map_err(|_| expected())?;
            let signed = reviewed.sign_offs.iter().find(|sign| sign.round == round);
            let signed = signed.ok_or_else(expected)?;
            let filter = desk.signed(review, signed).map_err(problem)?;
            What::Signed(signed, select(visit, filter, after)?)
        }
        None => match desk.look(review, params.get("round")) {
            Ok(round) => {
                let page = select(visit, round.filter.clone(), after)?;
                let coverage = desk.coverage(&round);
                What::Open(Box::new(round), page, coverage)
            }
            Err(failure) => What::Failed(failure),
        },
    };
    looked.rows = shown.page().map_or(0, |page| page.rows.len() as u64);
    let path = format!("{PATH}/{name}");
    let of_scope = whose(&review.scope);
    let frame = Frame {
        title: &format!("Review {name}"),
        signed_in: Some(signed_in),
        here: Some((&path, &params)),
        bar: Some(Here::of(PATH, &review.scope, &of_scope).bar(visit, signed_in)),
    };
    let may_sign = may(visit, Operation::Review, &review.scope) == Verdict::Allowed;
    let sheet = Sheet {
        visit,
        signed_in,
        params: &params,
        path: &path,
        review,
        reviewed,
        of_scope: &of_scope,
        standing: desk.standing(review),
        may_sign,
        forms: Forms::new(visit, signed_in, &path, params.only(&KEPT)),
    };
    let status = match &shown {
        What::Failed(failure) if failure.kind == FailureKind::Exists => StatusCode::CONFLICT,
        _ => StatusCode::OK,
    };
    Ok(Answer::page(status, page(&frame, sheet.main(&shown))))
}

/// What the page of a review shows.
enum What<'a> {
    /// The open round, a page of it, and what can be known.
    Open(Box<Round<'a>>, Page, Coverage),
    /// What was signed, as far as it is there.
    Signed(&'a SignOff, Page),
    /// Why there is no round to show.
    Failed(Failure),
}

impl What<'_> {
    fn page(&self) -> Option<&Page> {
        match self {
            What::Open(_, page, _) | What::Signed(_, page) => Some(page),
            What::Failed(_) => None,
        }
    }
}

/// The page of one review.
struct Sheet<'a> {
    visit: &'a Visit,
    signed_in: &'a SignedIn,
    params: &'a Params,
    path: &'a str,
    review: &'a Review,
    reviewed: &'a Reviewed,
    /// What an address says to mean its history.
    of_scope: &'a Params,
    standing: (Timestamp, bool),
    may_sign: bool,
    forms: Forms<'a>,
}

impl Sheet<'_> {
    fn main(&self, what: &What<'_>) -> Markup {
        html! {
            main #main.sheet {
                p.back { a href=(self.of_scope.href(PATH)) { "← Reviews" } }
                div.title { h1 { "Review " (shown(&self.review.name)) } }
                (self.forms.told())
                (self.facts())
                @match what {
                    What::Open(round, page, coverage) => (self.open(round, page, coverage)),
                    What::Signed(signed, page) => (self.signed(signed, page)),
                    What::Failed(failure) => {
                        section.state {
                            h2 { "This round cannot be shown" }
                            pre { (plain(&failure.message)) }
                            @match failure.kind {
                                FailureKind::Exists => p { a href=(self.path) { "The round that is open now" } },
                                _ => p { "Whoever manages it can change it on the page of all "
                                    a href=(self.of_scope.href(PATH)) { "reviews" } "." },
                            }
                        }
                    }
                }
                (self.follow_ups())
                (self.records())
            }
        }
    }

    fn facts(&self) -> Markup {
        let Review { filter, due, zone, version, .. } = self.review;
        let (deadline, is_overdue) = self.standing;
        let may_sign = reviewers(&self.visit.catalog.registry, &self.review.scope);
        html! {
            dl.facts {
                div { dt { "Filter" } dd { @match filter.is_empty() {
                    true => span.empty { "every event" },
                    false => code { (shown(filter)) },
                } } }
                div { dt { "To be signed" } dd { (due.rhythm()) " by " (due.to_string()) " " (shown(zone)) } }
                div { dt { "Round" } dd { (self.reviewed.round()) @if *version > 1 { " · version " (version) } } }
                div { dt { "Due" } dd { (standing(deadline, is_overdue, self.visit.now)) } }
                div { dt { "May sign" } dd { @match may_sign.is_empty() {
                    true => span.state-word.blind { "nobody" },
                    false => (shown(&may_sign.join(", "))),
                } } }
            }
        }
    }

    fn open(&self, round: &Round<'_>, page: &Page, coverage: &Coverage) -> Markup {
        let window = Window { from: round.from, to: round.seen.at, last: None };
        let marked = self.reviewed.marked(&round.seen.as_of);
        let token = round.token(self.visit.app.doors().ids());
        html! {
            section.values #new {
                h2 { @match self.reviewed.last() {
                    Some(last) => { "New since " (when::to_the_second(last.to)) },
                    None if round.from > Timestamp::MIN => { "New since " (when::to_the_second(round.from)) },
                    None => "New: all of the history",
                } }
                p.total role="status" {
                    strong { (count(page.total)) }
                    (if page.total == 1 { " event" } else { " events" })
                    span.sep aria-hidden="true" { "·" }
                    (states::completeness(coverage, &window, self.is_set_up(), &|name, value| self.name(name, value)))
                    span.sep aria-hidden="true" { "·" }
                    (count(marked.expected)) " expected, " (count(marked.follow_up)) " to follow up"
                }
                @if let Some(before) = round.lost_before {
                    p.notice.bad { "Events before " (when::to_the_second(before))
                        " are not kept: some may have gone before anybody looked at them." }
                }
                @match page.rows.is_empty() {
                    true => p.hint { "Nothing is new. That can be signed, too." },
                    false => (self.rows(page, &token, Some(round))),
                }
            }
            @if self.may_sign { (self.sign(&token, marked.follow_up)) } @else {
                p.hint { "Your role here does not allow marking and signing." }
            }
        }
    }

    /// The rows, each with a box to choose it, and what can be said of those that are chosen.
    fn rows(&self, page: &Page, token: &str, round: Option<&Round<'_>>) -> Markup {
        let ids = self.visit.app.doors().ids();
        let id = |row: &Placed| ids.id(Names::Record, row.log, row.seq).to_string();
        let may_mark = self.may_sign && round.is_some();
        let marked = self.forms.sent(&["expected", "follow_up", "all_expected"]);
        let noted = marked.and_then(|sent| sent.get("note")).map(plain);
        let lead = |id: &str, row: &Placed| {
            let mark = round.and_then(|round| round.mark_of(row));
            html! { td.mark-cell {
                @if may_mark {
                    label.box { input type="checkbox" name="row" value=(id) form="marks"
                            checked[marked.is_some_and(|sent| sent.has("row", id))];
                        span.hidden { "Choose the event of " (when::full(row.event_time())) } }
                }
                @if let Some(mark) = mark { (said(mark)) }
            } }
        };
        let name_of = |name: &str, value: &str| self.name(name, value);
        let of_scope = match self.params.get("times") {
            Some(times) => self.of_scope.set("times", times),
            None => self.of_scope.clone(),
        };
        let shows = of_scope.and("last", "all").and("show", "all");
        let table = Table {
            ids,
            scope: &self.review.scope,
            params: &shows,
            now: self.visit.now,
            open: None,
            name_of: &name_of,
            lead: round.is_some().then_some(&lead),
        };
        let (scope, as_of) = (self.review.scope.clone(), page.as_of.clone());
        let older = events::next(page, ROWS).map(|after| {
            Cursor { scope, limit: ROWS, after, as_of, filter: String::new() }.seal(ids)
        });
        let fixed = match self.params.get("signed") {
            Some(_) => self.params.clone(),
            None => self.params.set("round", token),
        };
        html! {
            (table.show(&page.rows))
            nav.pages aria-label="Pages" {
                span { (count(page.rows.len() as u64)) " of " (count(page.total)) " shown" }
                @if self.params.get("cursor").is_some() {
                    a href=(fixed.without(&["cursor"]).href(self.path)) { "⇤ Newest" }
                }
                @if let Some(cursor) = &older {
                    a rel="next" href=(fixed.set("cursor", cursor).href(self.path)) { "Older →" }
                }
            }
            @if may_mark {
                form.form #marks method="post" action=(self.path) {
                    (self.hidden())
                    @for row in &page.rows { input type="hidden" name="shown" value=(id(row)); }
                    label { "Note, for the chosen rows " input type="text" name="note" value=[&noted] maxlength=(NOTE_CHARS_MAX) autocomplete="off"; }
                    div.buttons {
                        button.quiet type="submit" name="do" value="expected" { "Mark as expected" }
                        button.quiet type="submit" name="do" value="follow_up" { "Mark to follow up" }
                        button.quiet type="submit" name="do" value="all_expected" { "Mark all of this page as expected" }
                    }
                }
            }
        }
    }

    fn sign(&self, token: &str, follow_ups: u64) -> Markup {
        let noted = self.forms.sent(&["sign"]).and_then(|sent| sent.get("note")).map(plain);
        let choice = |decision: Decision, label: &str| {
            let is_right = (decision == Decision::FollowUp) == (follow_ups > 0);
            html! {
                label.choice { input type="radio" name="decision" value=(decision.word()) required checked[is_right];
                    " " (label) }
            }
        };
        html! {
            section.values #sign {
                h2 { "Sign round " (self.reviewed.round()) }
                p.hint { "You sign what is shown here. What comes in meanwhile is in the next round. What is signed cannot be changed." }
                form.form method="post" action=(self.path) {
                    (self.hidden())
                    input type="hidden" name="do" value="sign";
                    @if self.params.get("round").is_none() { input type="hidden" name="round" value=(token); }
                    fieldset {
                        legend { "Decision" }
                        (choice(Decision::Accepted, "accepted: nothing is left to look at"))
                        (choice(Decision::FollowUp, "follow up: the rows that are marked so"))
                    }
                    label { "Note " input type="text" name="note" value=[&noted] maxlength=(NOTE_CHARS_MAX) autocomplete="off"; }
                    button.primary type="submit" { "Sign" }
                }
            }
        }
    }

    fn signed(&self, signed: &SignOff, page: &Page) -> Markup {
        html! {
            section.values #new {
                h2 { "Round " (signed.round) ", as it was signed" }
                p.total role="status" {
                    strong { (count(page.total)) } (if page.total == 1 { " event" } else { " events" })
                    @if page.total != signed.count {
                        span.sep aria-hidden="true" { "·" }
                        span.state-word.blind { (count(signed.count)) " were signed: others are not kept any more, or were taken back" }
                    }
                }
                p { a href=(self.path) { "The round that is open" } }
                @if !page.rows.is_empty() { (self.rows(page, "", None)) }
            }
        }
    }

    fn follow_ups(&self) -> Markup {
        let ids = self.visit.app.doors().ids();
        let all: Vec<_> = self.reviewed.follow_ups().collect();
        html! {
            @if !all.is_empty() {
                section.values #follow-ups {
                    h2 { "To be followed up" span.of { (count(all.len() as u64)) } }
                    ul.alarms {
                        @for ((log, seq), mark) in all.iter().take(FOLLOW_UPS_MAX) {
                            @let id = ids.id(Names::Record, *log, *seq).to_string();
                            li.alarm {
                                p { (said(mark)) " " a href=(self.of_scope.href(&format!("/history/{id}"))) { "The event" } }
                                p.more { "Round " (mark.round) ", " (shown(&mark.by.principal.to_string())) ", "
                                    (when::to_the_second(mark.at)) }
                                @if self.may_sign {
                                    (self.forms.form(&CLOSE, &[("review", &self.review.name), ("row", &id)]))
                                }
                            }
                        }
                    }
                    @if all.len() > FOLLOW_UPS_MAX { p.hint { "The first " (FOLLOW_UPS_MAX) "." } }
                }
            }
        }
    }

    fn records(&self) -> Markup {
        let signed = &self.reviewed.sign_offs;
        html! {
            section.values #signed {
                h2 { "Signed" span.of { (count(self.reviewed.signed)) (if self.reviewed.signed == 1 { " round" } else { " rounds" }) } }
                @if signed.is_empty() { p.hint { "Nobody has signed a round yet." } } @else {
                    div.scroll tabindex="0" role="region" aria-label="Signed rounds" {
                        table {
                            caption.hidden { "Signed rounds, the latest first" }
                            thead { tr {
                                th scope="col" { "Round" } th scope="col" { "Signed" }
                                th scope="col" { "Recorded" } th.num scope="col" { "Events" }
                                th scope="col" { "Decision" } th scope="col" { "Could be known" }
                                th scope="col" { "SHA-256" }
                            } }
                            tbody { @for sign in signed.iter().rev().take(SIGNED_MAX) { (self.record(sign)) } }
                        }
                    }
                    @if signed.len() > SIGNED_MAX {
                        p.hint { "The latest " (SIGNED_MAX) "; "
                            code { "doorbook review show " (plain(&self.review.name)) " --json" } " has more." }
                    }
                }
            }
        }
    }

    fn record(&self, sign: &SignOff) -> Markup {
        let rows = self.params.only(&["times"]).set("signed", &sign.round.to_string());
        html! {
            tr {
                th scope="row" { a.under href=(rows.href(self.path)) { "Round " (sign.round) }
                    div.more { code { (shown_or(&sign.filter, "every event")) } } }
                td { (when::to_the_second(sign.at)) div.more { (shown(&sign.by.principal.to_string())) } }
                td {
                    @if sign.from > Timestamp::MIN { (when::to_the_second(sign.from)) } @else { "ever" }
                    " to " (when::to_the_second(sign.to))
                    @if let Some(link) = self.pinned(sign) { div.more { a.under href=(link) { "In the history, as it was" } } }
                }
                td.num { (count(sign.count))
                    div.more { (count(sign.marked.expected)) " expected, " (count(sign.marked.follow_up)) " to follow up" } }
                td { (decision(sign.decision)) @if let Some(note) = &sign.note { div.more { (shown(note)) } } }
                td {
                    (word(sign.coverage.grade).replace('_', " "))
                    @if sign.coverage.gaps > 0 { ", " (count(sign.coverage.gaps)) (if sign.coverage.gaps == 1 { " gap" } else { " gaps" }) }
                    @if let Some(through) = sign.coverage.through { div.more { "known to " (when::to_the_second(through)) } }
                    @if let Some(before) = sign.lost_before { div.more { "not kept before " (when::to_the_second(before)) } }
                }
                td.bytes { code { "manifest " (hex::encode(sign.manifest_sha256)) }
                    div.more { code { "rows " (hex::encode(sign.rows_sha256)) } } }
            }
        }
    }

    /// Where the history shows the state that was signed; without an event there is nothing to show.
    fn pinned(&self, sign: &SignOff) -> Option<String> {
        let (from, to) = sign.times?;
        let as_of = seal_as_of(self.visit.app.doors().ids(), &sign.as_of);
        let asked = match sign.filter.is_empty() {
            true => self.of_scope.clone(),
            false => self.of_scope.and("q", &sign.filter),
        };
        let fixed = Window::fixed(&asked.and("show", "all"), from, to);
        Some(fixed.and("as_of", &as_of).href("/history"))
    }

    /// What every form of the page carries.
    fn hidden(&self) -> Markup {
        html! {
            (forms::token(self.signed_in))
            @for (name, value) in self.params.only(&KEPT).iter() {
                input type="hidden" name=(name) value=(value);
            }
        }
    }

    fn is_set_up(&self) -> bool {
        let registry = &self.visit.catalog.registry;
        match &self.review.scope {
            Scope::Project(id) => registry.hosts(*id).next().is_some(),
            Scope::Namespace(name) => registry.arrays().arrays_of(name).next().is_some(),
            Scope::System => true,
        }
    }

    fn name(&self, name: &str, value: &str) -> String {
        if let (Scope::Namespace(namespace), "array" | "target") = (&self.review.scope, name)
            && let Some(array) = self.visit.catalog.registry.arrays().find(namespace, value)
        {
            return array.name.to_string();
        }
        value.to_owned()
    }
}

/// What was said of a row.
fn said(mark: &Mark) -> Markup {
    html! {
        @match mark.kind {
            MarkKind::Expected => span.tag { "expected" },
            MarkKind::FollowUp => span.tag.warn { "follow up" },
        }
        @if let Some(note) = &mark.note { " " (shown(note)) }
    }
}

fn select(
    visit: &Visit,
    filter: Filter,
    after: Option<doorbook_store::filter::Order>,
) -> Result<Page, Problem> {
    let filter = Filter { limit: ROWS, size_bytes_max: SIZE_BYTES_MAX, after, ..filter };
    Ok(visit.app.store().select(&filter)?)
}

/// Where the page before ended.
fn after(
    visit: &Visit,
    review: &Review,
    params: &Params,
) -> Result<Option<doorbook_store::filter::Order>, Problem> {
    let Some(text) = params.get("cursor") else { return Ok(None) };
    let cursor = Cursor::open(visit.app.doors().ids(), text);
    let cursor = cursor.filter(|cursor| cursor.scope == review.scope);
    let cursor = cursor.ok_or_else(|| Problem::invalid_parameter("cursor", "not one of ours"))?;
    Ok(Some(cursor.after))
}

fn problem(failure: Failure) -> Problem {
    match failure.kind {
        FailureKind::Missing => Problem::not_found(failure.message),
        _ => Problem::invalid_parameter("signed", failure.message),
    }
}

/// Names have nothing in them that an address would escape.
fn name_of(visit: &Visit) -> String {
    visit.parts.uri.path().rsplit('/').next().unwrap_or_default().to_owned()
}

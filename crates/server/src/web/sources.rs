//! Who watches, how far each has come, what was not seen and what came of it, and what could not be read.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use doorbook_event::public_id::Names;
use doorbook_event::record::{ClockState, Quarantine};
use doorbook_event::source::{State, Subject};
use doorbook_event::{Record, Scope, Text};
use doorbook_store::filter::Kind;
use doorbook_store::{Filter, Page};
use maud::{Markup, html};

use super::act::{self, Act, Field, Forms};
use super::forms::{self, Told};
use super::gaps::Gaps;
use super::navigation::{Here, scope_of};
use super::page::{Answer, Frame, page};
use super::params::Params;
use super::sessions::SignedIn;
use super::states;
use super::text::{shown, shown_bytes};
use super::when::{self, count};
use super::{Looked, Visit};
use crate::admin::request::{AlarmView, Cursor, EventsQuery, Replayed, Replays};
use crate::admin::rows::{Became, UnroutedRow};
use crate::admin::{Reply, Request};
use crate::api::native::problem::Problem;
use crate::auth::{Decision, Operation, authorize};
use crate::sources::overview::{Overview, Seen};

/// Where it is.
pub const PATH: &str = "/sources";

/// What an address says that every form goes back to.
const KEPT: [&str; 3] = ["project", "namespace", "times"];

/// Gaps, alarms and unreadable lines of one page.
const GAPS_MAX: usize = 200;
const ALARMS_MAX: usize = 100;
const UNREADABLE_MAX: usize = 50;

/// Lines whose reasons are counted; all of them if there are no more.
const REASONS_OF: usize = 5000;
const REASONS_SIZE_BYTES: usize = 8 << 20;

/// Pages of lines that one form has read again.
const REPLAY_PAGES_MAX: usize = 20;

/// The page.
pub fn answer(visit: &Visit, signed_in: &SignedIn) -> Answer {
    visit.look(|looked| build(visit, signed_in, looked))
}

/// What a form of the page asks for.
pub fn change(visit: &Visit, sent: &Params) -> Answer {
    let back = sent.only(&KEPT).href(PATH);
    match sent.get("do") {
        Some("replay") => match replay(visit, sent.get("project").unwrap_or_default()) {
            Ok(told) => forms::go_on(visit, &back, told),
            Err(answer) => answer,
        },
        _ => act::carry_out(visit, sent, [&ACKNOWLEDGE], &back, |_| None),
    }
}

static ACKNOWLEDGE: Act = Act {
    word: "acknowledge",
    summary: "Acknowledge",
    hint: "",
    fields: &[Field::text("Cause", "cause"), Field::optional("Note", "note")],
    button: "Acknowledge",
    request: |sent| {
        let (id, cause, note) = (sent.text("alarm"), sent.text("cause"), sent.some("note"));
        Ok(Request::AlarmAcknowledge { id, cause, note })
    },
    done: "The alarm is acknowledged.",
};

/// Has all lines of a project read again, page by page, and sums up what became of them.
fn replay(visit: &Visit, project: &str) -> Result<Told, Answer> {
    let (mut read, mut stored, mut duplicates, mut routed) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut after: Option<Cursor> = None;
    for _ in 0..REPLAY_PAGES_MAX {
        let query = EventsQuery {
            project: Some(project.to_owned()),
            after: after.take(),
            ..EventsQuery::default()
        };
        let replays = Replays { query, ..Replays::default() };
        let reply = match forms::execute(visit, Request::QuarantineReplay(Box::new(replays)))? {
            Ok(reply) => reply,
            Err(why) => return Ok(Told::NotDone(why)),
        };
        let Reply::Replayed(Replayed { rows, routed: of_page, next }) = reply else { break };
        read += rows.len() as u64;
        stored +=
            rows.iter().filter(|row| matches!(row.became, Became::Stored { .. })).count() as u64;
        duplicates += rows.iter().filter(|row| row.became == Became::Duplicate).count() as u64;
        routed += of_page.iter().map(|row| row.stored).sum::<u64>();
        after = next;
        if after.is_none() {
            break;
        }
    }
    let rest = if after.is_some() { " There are more: read them again once more." } else { "" };
    Ok(Told::Done(format!(
        "{} read again: {} now events, {} known already. Of lines that waited for a rule, events: {}.{rest}",
        lines(read),
        count(stored),
        count(duplicates),
        count(routed)
    )))
}

fn build(visit: &Visit, signed_in: &SignedIn, looked: &mut Looked) -> Result<Answer, Problem> {
    let params = Params::parse(visit.parts.uri.query().unwrap_or_default())?;
    if params.get("project").is_none() && params.get("namespace").is_none() {
        return Ok(Answer::redirect("/"));
    }
    params.without(&["project", "namespace", "times"]).query().finish()?;
    let scope = looked.scope.insert(scope_of(visit, &params)?).clone();
    let found = Found::look(visit, &scope)?;
    looked.rows = found.overview.sources.len() as u64;
    let frame = Frame {
        title: "Sources",
        signed_in: Some(signed_in),
        here: Some((PATH, &params)),
        bar: Some(Here::of(PATH, &scope, &params).bar(visit, signed_in)),
    };
    let forms = Forms::new(visit, signed_in, PATH, params.only(&KEPT));
    let shown = Shown { visit, signed_in, params: &params, scope: &scope, found: &found, forms };
    Ok(Answer::page(StatusCode::OK, page(&frame, shown.main())))
}

struct Found {
    overview: Overview,
    alarms: Vec<AlarmView>,
    /// The newest lines that could not be read, as many as are looked at for their reasons.
    unreadable: Page,
    unrouted: Vec<UnroutedRow>,
    may_operate: bool,
}

impl Found {
    fn look(visit: &Visit, scope: &Scope) -> Result<Found, Problem> {
        let store = visit.app.store();
        let live = visit.app.metrics().sources();
        let overview = Overview::of(store, &live, scope, visit.now)?;
        let filter = Filter {
            kind: Kind::Quarantine,
            size_bytes_max: REASONS_SIZE_BYTES,
            ..Filter::all(scope.clone(), REASONS_OF)
        };
        let unreadable = store.select(&filter)?;
        let unrouted = match scope {
            Scope::Project(id) if overview.unrouted > 0 => {
                let request = Request::Unrouted { project: Some(id.to_string()) };
                match visit.app.admin().execute_for(&visit.caller(), request) {
                    Ok(Reply::Unrouted(rows)) => rows,
                    _ => Vec::new(),
                }
            }
            _ => Vec::new(),
        };
        let registry = &visit.catalog.registry;
        let decision = authorize(registry, &visit.caller(), Operation::Operate, scope);
        let may_operate = decision == Decision::Allowed;
        let alarms = visit.app.admin().alarms_of(scope);
        Ok(Found { overview, alarms, unreadable, unrouted, may_operate })
    }
}

/// The page as it is shown.
struct Shown<'a> {
    visit: &'a Visit,
    signed_in: &'a SignedIn,
    params: &'a Params,
    scope: &'a Scope,
    found: &'a Found,
    forms: Forms<'a>,
}

impl Shown<'_> {
    fn main(&self) -> Markup {
        let sources = &self.found.overview.sources;
        let open = self.found.alarms.iter().filter(|alarm| alarm.closed.is_none()).count();
        html! {
            main #main.sheet {
                div.title { h1 { "Sources" } }
                (self.forms.told())
                p.total {
                    strong { (count(sources.len() as u64)) }
                    (if sources.len() == 1 { " source" } else { " sources" })
                    span.sep aria-hidden="true" { "·" }
                    @match open {
                        0 => "no open alarm",
                        1 => { a href="#alarms" { "1 open alarm" } },
                        n => { a href="#alarms" { (count(n as u64)) " open alarms" } },
                    }
                }
                @if sources.is_empty() { (self.nobody_watches()) } @else { (self.sources(sources)) }
                (self.alarms())
                (self.gaps(sources))
                (self.waiting())
                (self.unreadable())
                (self.unknown_ids())
            }
        }
    }

    fn nobody_watches(&self) -> Markup {
        html! {
            section.state role="status" {
                h2 { "Nobody watches" }
                @match self.scope {
                    Scope::Project(project) => {
                        p { "No source is set up. Write this into the file of the estate, " code { "doorbook.toml" }
                            ", and run " code { "doorbook apply" } ":" }
                        pre.config tabindex="0" { (states::config(&self.visit.catalog.registry, *project)) }
                    }
                    _ => p { "No source watches where these arrays are stored; what applications report is there all the same." },
                }
            }
        }
    }

    fn sources(&self, sources: &[Seen]) -> Markup {
        html! {
            div.scroll tabindex="0" role="region" aria-label="Sources" {
                table {
                    caption.hidden { "Sources" }
                    thead { tr {
                        th scope="col" { "Source" }
                        th scope="col" { "Watches" }
                        th scope="col" { "State" }
                        th scope="col" { "Complete to" }
                        th scope="col" { "Read" }
                        th scope="col" { "Clock" }
                        th.num scope="col" { "Gaps" }
                        th.num scope="col" { "Unreadable" }
                    } }
                    tbody { @for seen in sources { (self.source(seen)) } }
                }
            }
        }
    }

    fn source(&self, seen: &Seen) -> Markup {
        let Seen { source, health, .. } = seen;
        let open = seen.open_gaps().count();
        // A place of arrays is where they are watched.
        let is_said =
            matches!(&source.subject, Subject::Arrays { below, .. } if *below == source.path);
        let href = self.params.and("source", &source.name).and("last", "7d").href("/history");
        html! {
            tr {
                th scope="row" { a href=(href) { (shown(&source.name)) }
                    @if let Some(agent) = &source.agent { div.more { "agent " (shown(agent)) } } }
                td {
                    @match &source.subject {
                        Subject::Host { cluster, host, .. } => {
                            (shown(&host.to_string())) div.more { (source.kind.word()) " of " (shown(cluster)) }
                        }
                        Subject::Arrays { below, .. } => {
                            (shown(below)) div.more { (source.kind.word()) }
                        }
                    }
                    @if !source.path.is_empty() && !is_said { div.more { (shown(&source.path)) } }
                    @if !source.rules.is_empty() { div.more { "lines that are sent where " (shown(&source.rules_in_words())) } }
                }
                td { (state(health.state))
                    @if let Some(message) = &health.message { div.more { (shown(message)) } } }
                td.when {
                    @match health.through {
                        Some(through) => {
                            (when::to_the_second(through))
                            div.more { (when::ago(through, self.visit.now)) }
                        }
                        None => span.empty { "not known" },
                    }
                    @if let Some(behind) = health.behind_bytes.filter(|bytes| *bytes > 0) {
                        div.more { (count(behind)) " bytes behind" }
                    }
                }
                td { (lines(health.lines)) div.more { (events(health.events)) }
                    @if let Some(advanced) = health.advanced {
                        div.more { "last further " (when::ago(advanced, self.visit.now)) } } }
                td { @match &health.heartbeat {
                    Some(heartbeat) => (clock(&heartbeat.clock)),
                    None => span.empty { "not told" },
                } }
                td.num {
                    (count(seen.gaps.len() as u64))
                    @if open > 0 { div { span.tag.warn { (count(open as u64)) " open" } } }
                }
                td.num {
                    (count(seen.quarantined))
                    @let unknown = health.unknown_ids.total();
                    @if unknown > 0 { div { a href="#unknown" { span.tag.warn { (count(unknown)) " not known" } } } }
                }
            }
        }
    }

    fn alarms(&self) -> Markup {
        let alarms = &self.found.alarms;
        html! {
            section.values #alarms {
                h2 { "Alarms" span.of { "open, and of the last week" } }
                @if alarms.is_empty() { p.hint { "None." } } @else {
                    ul.alarms { @for alarm in alarms.iter().take(ALARMS_MAX) { (self.alarm(alarm)) } }
                    @if alarms.len() > ALARMS_MAX {
                        p.hint { "The latest " (ALARMS_MAX) " of " (count(alarms.len() as u64)) "; "
                            code { "doorbook alarm list --all" } " has them all." }
                    }
                }
            }
        }
    }

    fn alarm(&self, alarm: &AlarmView) -> Markup {
        html! {
            li.alarm {
                p {
                    @match alarm.closed {
                        None => span.tag.warn { "open" },
                        Some(_) => span.tag { "over" },
                    }
                    " " (shown(&alarm.text))
                }
                p.more { code { (alarm.id) } ", found " (when::to_the_second(alarm.opened))
                    @if let Some(closed) = alarm.closed { ", over " (when::to_the_second(closed)) } }
                @match &alarm.acknowledged {
                    Some(said) => p {
                        "Acknowledged by " (shown(&said.by)) " " (when::to_the_second(said.at)) ": " (shown(&said.cause))
                        @if let Some(note) = &said.note { " · " (shown(note)) }
                    },
                    None if self.found.may_operate => (self.forms.form(&ACKNOWLEDGE, &[("alarm", &alarm.id)])),
                    None => p.more { "Nobody has acknowledged it." },
                }
            }
        }
    }

    /// What every form of this page carries.
    fn hidden(&self, what: &str) -> Markup {
        html! {
            (forms::token(self.signed_in))
            input type="hidden" name="do" value=(what);
            @for (name, value) in self.params.only(&KEPT).iter() {
                input type="hidden" name=(name) value=(value);
            }
        }
    }

    fn gaps(&self, sources: &[Seen]) -> Markup {
        let registry = &self.visit.catalog.registry;
        let name_of = |_: &str, value: &str| match self.scope {
            Scope::Namespace(namespace) => {
                let array = registry.arrays().find(namespace, value);
                array.map_or_else(|| value.to_owned(), |array| array.name.to_string())
            }
            _ => value.to_owned(),
        };
        let all = sources.iter().flat_map(|seen| &seen.gaps);
        let gaps = Gaps::joined(all, &name_of);
        html! {
            @if !sources.is_empty() {
                section.values #gaps-of-sources {
                    h2 { "What was not seen" span.of { (count(gaps.len() as u64)) } }
                    @if gaps.len() == 0 { p.hint { "Nothing: all that was watched was seen." } } @else {
                        (gaps.rows(&self.params.only(&["project", "namespace", "times"]), "/history"))
                        @if gaps.len() > GAPS_MAX { p.hint { "The latest " (GAPS_MAX) "." } }
                    }
                }
            }
        }
    }

    /// What was sent to us and no source knows, with the rule that would make it known.
    fn waiting(&self) -> Markup {
        let rows = &self.found.unrouted;
        html! {
            @if !rows.is_empty() {
                section.values {
                    h2 { "Lines that no source knows" span.of { (count(self.found.overview.unrouted)) } }
                    p { "They wait. Write the rule and the host into the file of the estate, run " code { "doorbook apply" }
                        ", then have them read again." }
                    @for row in rows {
                        details.act {
                            summary { (shown(&row.name)) ": " (lines(row.lines)) }
                            p { "From " (when::to_the_second(row.first)) " to " (when::to_the_second(row.last))
                                ", because " (shown(&row.reason)) "." }
                            pre tabindex="0" { (shown_bytes(row.rule.as_bytes())) }
                        }
                    }
                    (self.replay_button())
                }
            }
        }
    }

    fn replay_button(&self) -> Markup {
        html! {
            @if self.found.may_operate && matches!(self.scope, Scope::Project(_)) {
                form.replay method="post" action=(PATH) {
                    (self.hidden("replay"))
                    button.quiet type="submit" { "Read them again" }
                }
            }
        }
    }

    fn unreadable(&self) -> Markup {
        let page = &self.found.unreadable;
        let lines = page.rows.iter().filter_map(|row| match &row.record {
            Record::Quarantine(line) if !crate::routing::is_unrouted(line) => Some((row, line)),
            _ => None,
        });
        let lines: Vec<(&doorbook_store::Placed, &Quarantine)> = lines.collect();
        let mut reasons: BTreeMap<&Text, u64> = BTreeMap::new();
        lines.iter().for_each(|(_, line)| *reasons.entry(&line.reason).or_default() += 1);
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(reason, n)| (std::cmp::Reverse(*n), *reason));
        let total = self.found.overview.quarantined;
        html! {
            section.values #unreadable {
                h2 { "Lines that could not be read" span.of { (count(total)) } }
                @if total == 0 { p.hint { "None." } } @else {
                    p { "They look like an event and were put aside as they came. A later version, or a host that is known by then, may read them." }
                    (self.replay_button())
                    @if total > lines.len() as u64 {
                        p.hint { "Counted of the newest " (count(lines.len() as u64)) "." }
                    }
                    (reason_table(&reasons))
                    div.scroll tabindex="0" role="region" aria-label="Lines that could not be read" {
                        table {
                            thead { tr {
                                th scope="col" { "Received" } th scope="col" { "Source" }
                                th scope="col" { "Why" } th scope="col" { "As it was received" }
                            } }
                            tbody { @for (row, line) in lines.iter().take(UNREADABLE_MAX) { (self.line(row, line)) } }
                        }
                    }
                    p.hint { a href=(self.params.and("q", "kind:quarantine").and("last", "all").and("show", "all").href("/history")) {
                        "All of them in the history" } }
                }
            }
        }
    }

    fn line(&self, row: &doorbook_store::Placed, line: &Quarantine) -> Markup {
        const HEAD_BYTES: usize = 400;
        let id = self.visit.app.doors().ids().id(Names::Record, row.log, row.seq).to_string();
        let shows = self.params.and("q", "kind:quarantine").and("last", "all").and("show", "all");
        let head = &line.bytes[..line.bytes.len().min(HEAD_BYTES)];
        html! {
            tr {
                td.when { a href=(shows.href(&format!("/history/{id}"))) { (when::to_the_second(row.ingest_time)) } }
                td { (shown(&row.source)) div.more { (shown(&line.place.file)) " line " (line.place.line) } }
                td { (shown(&line.reason)) }
                td.bytes { code { (shown_bytes(head)) @if line.bytes.len() > HEAD_BYTES { "…" } } }
            }
        }
    }

    fn unknown_ids(&self) -> Markup {
        let unknown = &self.found.overview.unknown_ids;
        html! {
            @if !unknown.is_empty() {
                section.values #unknown {
                    h2 { "Messages that this version does not know" span.of { (count(unknown.len() as u64)) } }
                    p { "Of the access component of a mongod, as imports counted them, and sources since the server began. An event "
                        "among them would be missing." }
                    div.scroll tabindex="0" role="region" aria-label="Messages that this version does not know" {
                        table {
                            thead { tr {
                                th scope="col" { "Id" } th scope="col" { "Version" }
                                th scope="col" { "Message" } th.num scope="col" { "How often" }
                            } }
                            tbody {
                                @for one in unknown.iter().take(ALARMS_MAX) {
                                    tr {
                                        th scope="row" { (one.id) }
                                        td { @if let Some(version) = &one.version { (shown(version)) } @else { span.empty { "not said" } } }
                                        td { (shown(&one.message)) }
                                        td.num { (count(one.count)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn lines(n: u64) -> String {
    format!("{} {}", count(n), if n == 1 { "line" } else { "lines" })
}

fn events(n: u64) -> String {
    format!("{} {}", count(n), if n == 1 { "event" } else { "events" })
}

fn reason_table(reasons: &[(&Text, u64)]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Why lines could not be read" {
            table {
                thead { tr { th scope="col" { "Why" } th.num scope="col" { "Lines" } } }
                tbody {
                    @for (reason, n) in reasons.iter().take(ALARMS_MAX) {
                        tr { th scope="row" { (shown(reason)) } td.num { (count(*n)) } }
                    }
                }
            }
        }
    }
}

/// By sign, word and colour.
fn state(state: State) -> Markup {
    let (sign, word, class) = match state {
        State::Following => ("● ", "following", "state-word complete"),
        State::CatchingUp => ("◔ ", "catching up", "state-word effort"),
        State::Waiting => ("○ ", "waiting for its file", "state-word effort"),
        State::Paused => ("‖ ", "paused", "state-word blind"),
        State::Failed => ("✕ ", "failed", "state-word blind"),
        State::Stopped => ("◐ ", "stopped", "state-word blind"),
        State::Away => ("◐ ", "agent away", "state-word blind"),
    };
    html! { span class=(class) { span aria-hidden="true" { (sign) } (word) } }
}

fn clock(clock: &ClockState) -> Markup {
    let milliseconds = |micros: i64| format!("{:.1} ms", micros as f64 / 1000.0);
    html! {
        @match clock.synchronised {
            Some(true) => "synchronised",
            Some(false) => span.state-word.blind { "not synchronised" },
            None => span.empty { "not told" },
        }
        @if let Some(offset) = clock.offset_micros { div.more { "off by " (milliseconds(offset)) } }
    }
}

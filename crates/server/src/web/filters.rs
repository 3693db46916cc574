//! The filter of a page: the API's, and what of it a page shows.

use doorbook_event::registry::Registry;
use doorbook_event::{Scope, Timestamp};
use doorbook_store::Filter;
use jiff::tz::TimeZone;
use maud::{Markup, html};

use super::params::Params;
use super::text::{plain, shown};
use super::window::Window;
use crate::api::native::dispatch::Call;
use crate::api::native::problem::Problem;
use crate::api::native::{export, filter};
use crate::app::App;
use crate::auth::Caller;
use crate::export::{Export, Format};
use crate::filter::{Key, Terms};

/// Classes that are hidden at first.
const HIDDEN: [&str; 3] = ["system", "monitor", "retry"];

/// What only the page knows.
const OF_THE_PAGE: [&str; 7] = ["project", "namespace", "last", "from", "to", "show", "times"];

/// Parameters of the API that narrow an answer, with what they are called.
pub const LABELS: [(&str, &str); 22] = [
    ("q", "Search"),
    ("cluster", "Cluster"),
    ("host", "Host"),
    ("array", "Array"),
    ("user", "User"),
    ("principal", "Principal"),
    ("database", "Database"),
    ("address", "Address"),
    ("outcome", "Result"),
    ("application", "Application"),
    ("mechanism", "Mechanism"),
    ("action", "Action"),
    ("class", "Class"),
    ("not_class", "Not class"),
    ("task_id", "Task"),
    ("has_task", "Has a task"),
    ("source", "Source"),
    ("unauthenticated", "Nobody named"),
    ("text", "Raw line holds"),
    ("kind", "Kind"),
    ("connection", "Connection"),
    ("as_of", "As of"),
];

/// What a page asks the history.
pub struct Asked<'a> {
    /// The server.
    pub app: &'a App,
    /// The registry at the beginning of the request.
    pub registry: &'a Registry,
    /// Whose history.
    pub scope: &'a Scope,
    /// From when to when.
    pub window: Window,
}

impl Asked<'_> {
    /// What a value of a filter stands for: of an array its name.
    pub fn name_of(&self, name: &str, value: &str) -> String {
        if let (Scope::Namespace(namespace), "array" | "target") = (self.scope, name)
            && let Some(array) = self.registry.arrays().find(namespace, value)
        {
            return array.name.to_string();
        }
        value.to_owned()
    }

    /// Whether there is anything that could be watched.
    pub fn is_set_up(&self) -> bool {
        match self.scope {
            Scope::Project(id) => self.registry.hosts(*id).next().is_some(),
            Scope::Namespace(name) => self.registry.arrays().arrays_of(name).next().is_some(),
            Scope::System => true,
        }
    }

    /// The filter that an address says; with what is hidden at first, or without.
    pub fn filter(&self, params: &Params, with_hidden: bool) -> Result<Filter, Problem> {
        self.read(params, with_hidden, |_, asked| asked.filter)
    }

    /// The same as an export.
    pub fn export(
        &self,
        params: &Params,
        with_hidden: bool,
        (format, caller): (Format, &Caller),
    ) -> Result<Export, Problem> {
        self.read(params, with_hidden, |call, asked| export::of(call, asked, format, caller))
    }

    /// The filter without its times, as a review takes it; `None` if it is not of events.
    pub fn timeless(&self, params: &Params, with_hidden: bool) -> Result<Option<String>, Problem> {
        let terms = self.read(params, with_hidden, |_, asked| asked.terms)?;
        let is_time = |key: Key| matches!(key, Key::From | Key::To | Key::Since);
        let kept = terms.iter().filter(|term| !is_time(term.key)).map(ToString::to_string);
        let is_of_events = terms.iter().all(|term| term.key != Key::Kind);
        Ok(is_of_events.then(|| kept.collect::<Vec<_>>().join(" ")))
    }

    fn read<T>(
        &self,
        params: &Params,
        with_hidden: bool,
        make: impl FnOnce(&Call<'_>, filter::Asked) -> T,
    ) -> Result<T, Problem> {
        let mut of_api = Window::fixed(params, self.window.from, self.window.to);
        if !with_hidden && *self.scope != Scope::System {
            let named = classes(params);
            for class in HIDDEN.iter().filter(|class| !named.iter().any(|named| named == *class)) {
                of_api = of_api.and("not_class", class);
            }
        }
        let keep_window = of_api.only(&["from", "to"]);
        let mut rest = of_api.without(&OF_THE_PAGE).without(&["cursor"]);
        for (name, value) in keep_window.iter() {
            rest = rest.and(name, value);
        }
        let mut call = Call {
            store: self.app.store(),
            ids: self.app.doors().ids(),
            sources: None,
            now: self.app.clock().now(),
            registry: self.registry,
            scope: self.scope.clone(),
            query: rest.query(),
            cursor: None,
            name: None,
            rows: 0,
        };
        let asked = filter::take(&mut call)?;
        call.query.finish()?;
        Ok(make(&call, asked))
    }
}

/// The terms of the search, where they can be read.
fn terms(params: &Params) -> Terms {
    params.get("q").and_then(|text| Terms::parse(text).ok()).unwrap_or_default()
}

/// Classes that are asked for: those are not hidden.
fn classes(params: &Params) -> Vec<String> {
    let terms = terms(params);
    let asked = terms.iter().filter(|term| term.key == Key::Class);
    let asked = asked.filter_map(|term| term.value.plain().map(str::to_owned));
    asked.chain(params.all("class").map(str::to_owned)).collect()
}

/// The address that says the same with times where the page has them, if the search says some.
pub fn with_times_apart(params: &Params, now: Timestamp) -> Result<Option<Params>, Problem> {
    let Some(text) = params.get("q") else { return Ok(None) };
    let terms = Terms::parse(text).map_err(filter::problem)?;
    let is_time = |key: Key| matches!(key, Key::From | Key::To | Key::Since);
    if !terms.iter().any(|term| is_time(term.key)) {
        return Ok(None);
    }
    let terms = terms.at(now, &TimeZone::UTC).map_err(filter::problem)?;
    let mut apart = params.without(&["q", "from", "to", "last", "cursor"]);
    let mut rest = Vec::new();
    for term in terms.iter() {
        match term.value.plain().filter(|_| is_time(term.key) && !term.is_negated) {
            Some(time) => apart = apart.and(term.key.parameter(), time),
            None => rest.push(term.to_string()),
        }
    }
    if !rest.is_empty() {
        apart = apart.and("q", &rest.join(" "));
    }
    Ok(Some(apart))
}

/// The filters that an address has, in its order; of the search each term.
pub fn active(params: &Params) -> Vec<(String, String)> {
    let is_filter = |name: &str| LABELS.iter().any(|(known, _)| *known == name) && name != "as_of";
    let mut active = Vec::new();
    for (name, value) in params.iter().filter(|(name, _)| is_filter(name)) {
        let terms = if name == "q" { terms(params) } else { Terms::default() };
        match terms.iter().next() {
            Some(_) => active.extend(terms.iter().map(|term| (name.to_owned(), term.to_string()))),
            None => active.push((name.to_owned(), value.to_owned())),
        }
    }
    active
}

/// What a parameter is called.
pub fn label(name: &str) -> &'static str {
    LABELS.iter().find(|(known, _)| *known == name).map_or("Filter", |(_, label)| label)
}

/// The address without one filter, at the first page.
pub fn dropped(params: &Params, path: &str, name: &str, value: &str) -> String {
    let kept = params.without(&["cursor"]);
    let kept = match (name, params.get("q")) {
        ("q", Some(text)) if text != value => {
            let terms = terms(params);
            let rest = terms.iter().map(ToString::to_string).filter(|term| term != value);
            kept.set("q", &rest.collect::<Vec<_>>().join(" "))
        }
        _ => kept.without_value(name, value),
    };
    kept.href(path)
}

/// The active filters, each with a link that drops it.
pub fn chips(params: &Params, path: &str, name_of: &dyn Fn(&str, &str) -> String) -> Markup {
    let active = active(params);
    let pinned = params.get("as_of").is_some();
    html! {
        @if !active.is_empty() || pinned {
            ul.chips aria-label="Active filters" {
                @for (name, value) in &active {
                    li.chip {
                        @if name != "q" { span.chip-name { (label(name)) } }
                        span.chip-value { (shown(&name_of(name, value))) }
                        a.chip-drop href=(dropped(params, path, name, value))
                            aria-label=(format!("Drop {}: {}", label(name), plain(&name_of(name, value)))) {
                            "×"
                        }
                    }
                }
                @if pinned {
                    li.chip.pinned {
                        span.chip-name { "Pinned" }
                        span.chip-value { "this state of the history" }
                        a.chip-drop href=(params.without(&["as_of", "cursor"]).href(path))
                            aria-label="Unpin: show the present state" { "×" }
                    }
                }
                @if active.len() > 1 {
                    li { a.drop-all href=(without_any(params, path)) { "Drop all" } }
                }
            }
        }
    }
}

/// The address without any filter.
pub fn without_any(params: &Params, path: &str) -> String {
    let names: Vec<&str> =
        LABELS.iter().map(|(name, _)| *name).filter(|name| *name != "as_of").collect();
    params.without(&names).without(&["cursor"]).href(path)
}

//! The filter of a page: the API's, and what of it a page shows.

use doorbook_event::Scope;
use doorbook_event::registry::Registry;
use doorbook_store::Filter;
use maud::{Markup, html};

use super::params::Params;
use super::text::{plain, shown};
use super::window::Window;
use crate::api::native::filter;
use crate::api::native::problem::Problem;
use crate::app::App;

/// Classes that are hidden at first.
const HIDDEN: [&str; 3] = ["system", "monitor", "retry"];

/// What only the page knows.
const OF_THE_PAGE: [&str; 7] = ["project", "namespace", "last", "from", "to", "show", "zone"];

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
    ("driver", "Driver"),
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
    /// The filter that an address says; with what is hidden at first, or without.
    pub fn filter(&self, params: &Params, with_hidden: bool) -> Result<Filter, Problem> {
        let mut of_api = Window::fixed(params, self.window.from, self.window.to);
        if !with_hidden && *self.scope != Scope::System {
            for class in HIDDEN.iter().filter(|class| !params.has("class", class)) {
                of_api = of_api.and("not_class", class);
            }
        }
        let keep_window = of_api.only(&["from", "to"]);
        let mut rest = of_api.without(&OF_THE_PAGE).without(&["cursor"]);
        for (name, value) in keep_window.iter() {
            rest = rest.and(name, value);
        }
        let mut query = rest.query();
        let filter = filter::take(&mut query, self.registry, self.scope, self.app)?;
        query.finish()?;
        Ok(filter)
    }
}

/// The filters that an address has, in its order.
pub fn active(params: &Params) -> Vec<(String, String)> {
    let is_filter = |name: &str| LABELS.iter().any(|(known, _)| *known == name) && name != "as_of";
    let pairs = params.iter().filter(|(name, _)| is_filter(name));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What a parameter is called.
pub fn label(name: &str) -> &'static str {
    LABELS.iter().find(|(known, _)| *known == name).map_or("Filter", |(_, label)| label)
}

/// The address without one filter, at the first page.
pub fn dropped(params: &Params, name: &str, value: &str) -> String {
    params.without_value(name, value).without(&["cursor"]).href("/history")
}

/// The active filters, each with a link that drops it.
pub fn chips(params: &Params, name_of: &dyn Fn(&str, &str) -> String) -> Markup {
    let active = active(params);
    let pinned = params.get("as_of").is_some();
    html! {
        @if !active.is_empty() || pinned {
            ul.chips aria-label="Active filters" {
                @for (name, value) in &active {
                    li.chip {
                        span.chip-name { (label(name)) }
                        span.chip-value { (shown(&name_of(name, value))) }
                        a.chip-drop href=(dropped(params, name, value))
                            aria-label=(format!("Drop {}: {}", label(name), plain(&name_of(name, value)))) {
                            "×"
                        }
                    }
                }
                @if pinned {
                    li.chip.pinned {
                        span.chip-name { "Pinned" }
                        span.chip-value { "this state of the history" }
                        a.chip-drop href=(params.without(&["as_of", "cursor"]).href("/history"))
                            aria-label="Unpin: show the present state" { "×" }
                    }
                }
                @if active.len() > 1 {
                    li { a.drop-all href=(without_any(params)) { "Drop all" } }
                }
            }
        }
    }
}

/// The address without any filter.
pub fn without_any(params: &Params) -> String {
    let names: Vec<&str> =
        LABELS.iter().map(|(name, _)| *name).filter(|name| *name != "as_of").collect();
    params.without(&names).without(&["cursor"]).href("/history")
}

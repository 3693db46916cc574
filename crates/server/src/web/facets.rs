//! Which values there are among the rows of a page, and how often.

use doorbook_event::{Scope, Text};
use doorbook_store::{Dimension, Filter, Top};
use maud::{Markup, html};

use super::filters::{Asked, label};
use super::params::Params;
use super::text::shown;
use super::when::count;
use crate::api::native::problem::Problem;

/// Values of a dimension that are shown.
const VALUES: usize = 8;

/// A dimension with the parameter that filters by it.
type Facet = (Dimension, &'static str);

const OF_PROJECT: [Facet; 6] = [
    (Dimension::Host, "host"),
    (Dimension::Principal, "user"),
    (Dimension::Address, "address"),
    (Dimension::Outcome, "outcome"),
    (Dimension::Application, "application"),
    (Dimension::Mechanism, "mechanism"),
];

const OF_NAMESPACE: [Facet; 6] = [
    (Dimension::Host, "array"),
    (Dimension::Action, "action"),
    (Dimension::Principal, "user"),
    (Dimension::Address, "address"),
    (Dimension::Outcome, "outcome"),
    (Dimension::Application, "application"),
];

/// The dimensions whose values are shown, and how many values of each.
pub fn wanted(scope: &Scope) -> ([Dimension; 6], usize) {
    (facets(scope).map(|(dimension, _)| dimension), VALUES)
}

const fn facets(scope: &Scope) -> [Facet; 6] {
    match scope {
        Scope::Namespace(_) => OF_NAMESPACE,
        _ => OF_PROJECT,
    }
}

/// The values of [`wanted`] as they are shown. Where a dimension is filtered by, the others of it are
/// counted, too: they are what could be chosen besides.
pub fn of(
    asked: &Asked<'_>,
    params: &Params,
    (filter, tops): (&Filter, Vec<Top>),
    with_hidden: bool,
) -> Result<Vec<(Facet, Top)>, Problem> {
    let store = asked.app.store();
    let mut counted = Vec::new();
    for (facet, top) in facets(asked.scope).into_iter().zip(tops) {
        let (dimension, name) = facet;
        let top = match params.get(name) {
            None => top,
            // Which arrays are asked for may be which are shared with the one who asks.
            Some(_) if name == "array" => top,
            Some(_) => {
                let mut wider = asked.filter(&params.without(&[name]), with_hidden)?;
                wider.as_of.clone_from(&filter.as_of);
                let mut wide = store.top(&wider, dimension, VALUES)?;
                // What is filtered by is there, however seldom it is.
                let is_missing = |value: &Option<Text>| {
                    value.as_deref().is_some_and(|value| params.has(name, value))
                        && !wide.values.iter().any(|(known, _)| known == value)
                };
                let missing = top.values.into_iter().filter(|(value, _)| is_missing(value));
                let missing: Vec<_> = missing.collect();
                wide.values.extend(missing);
                wide
            }
        };
        counted.push((facet, top));
    }
    Ok(counted)
}

/// The values, each with a link that filters by it, or no longer.
pub fn show(
    facets: &[(Facet, Top)],
    params: &Params,
    name_of: &dyn Fn(&str, &str) -> String,
) -> Markup {
    html! {
        aside.facets aria-label="Values among these events" {
            @for ((_, name), top) in facets {
                @if !top.values.is_empty() {
                    section.facet {
                        h2 { (label(name))
                            @if top.distinct > VALUES as u64 {
                                span.of { (count(top.values.len() as u64)) " of " (count(top.distinct)) }
                            }
                        }
                        ul {
                            @for (value, n) in &top.values {
                                (one(name, value.as_deref(), *n, params, name_of))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn one(
    name: &str,
    value: Option<&str>,
    n: u64,
    params: &Params,
    name_of: &dyn Fn(&str, &str) -> String,
) -> Markup {
    // What has none is asked for by nothing; of some dimensions the API cannot ask so.
    let none = value.is_none();
    if none && !["user", "application", "mechanism"].contains(&name) {
        return html! { li.value { span.value-name.empty { "(none)" } span.n { (count(n)) } } };
    }
    let value = value.unwrap_or_default();
    let is_active = params.has(name, value);
    let bare = params.without(&["cursor"]);
    let href = match is_active {
        true => bare.without_value(name, value).href("/history"),
        false => bare.and(name, value).href("/history"),
    };
    html! {
        li.value {
            a href=(href) aria-current=[is_active.then_some("true")] {
                span.value-name {
                    @if is_active { span.tick aria-hidden="true" { "✓ " } }
                    @if none { span.empty { "(none)" } } @else { (shown(&name_of(name, value))) }
                }
                span.n { (count(n)) }
            }
        }
    }
}

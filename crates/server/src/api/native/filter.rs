//! From parameters to a [`Filter`]: `q`, and a parameter for each of its terms.

use doorbook_store::Filter;
use jiff::tz::TimeZone;

use super::cursor::open_as_of;
use super::dispatch::Call;
use super::problem::Problem;
use super::query::Query;
use crate::filter::{About, Key, Place, Terms, Wrong, time_zone};

/// What was asked for.
pub struct Asked {
    /// As the store has it. The limit is the caller's.
    pub filter: Filter,
    /// As it can be asked again at any time.
    pub terms: Terms,
    /// Where days and hours begin.
    pub zone: TimeZone,
}

/// Takes every parameter that narrows an answer.
pub fn take(call: &mut Call<'_>) -> Result<Asked, Problem> {
    let zone = zone(&mut call.query)?;
    let terms = terms(&mut call.query)?;
    let now = call.now;
    let about = About { registry: call.registry, scope: &call.scope, now, zone: &zone };
    let terms = terms.at(now, &zone).map_err(problem)?;
    let mut filter = terms.filter(about).map_err(problem)?;
    filter.as_of = call.query.read("as_of", "the as_of of an answer", |text| {
        // The state of another project's history says nothing of this one.
        let as_of = open_as_of(call.ids, text)?;
        call.store.is_state_of(&call.scope, &as_of).then_some(as_of)
    })?;
    Ok(Asked { filter, terms, zone })
}

/// The names of arrays that a request asks for. A filter that cannot be read asks for none.
pub fn arrays(query: &Query) -> Vec<String> {
    let terms = terms(&mut query.clone()).unwrap_or_default();
    let arrays = terms.iter().filter(|term| term.key == Key::Array && !term.is_negated);
    // Nothing is called as a value with gaps is.
    arrays.map(|term| term.value.plain().unwrap_or_default().to_owned()).collect()
}

/// Takes the time zone in which days and hours are cut.
pub fn zone(query: &mut Query) -> Result<TimeZone, Problem> {
    match query.one("zone")? {
        None => Ok(TimeZone::UTC),
        Some(text) => time_zone(&text).map_err(|what| Problem::invalid_parameter("zone", what)),
    }
}

/// A filter that means nothing, as a problem of this API.
pub fn problem(wrong: Wrong) -> Problem {
    let is_missing = wrong.is_missing;
    let problem = match wrong.place {
        Place::Parameter(name) => Problem::invalid_parameter(name, wrong.what),
        Place::Columns(column, _) => Problem::invalid_filter(column, &wrong.what),
    };
    Problem { is_missing, ..problem }
}

/// Takes `q` and the parameters that are short for its terms.
fn terms(query: &mut Query) -> Result<Terms, Problem> {
    let mut terms = match query.one("q")? {
        Some(text) => Terms::parse(&text).map_err(problem)?,
        None => Terms::default(),
    };
    // `since` is for people, who write filters.
    for key in Key::ALL.into_iter().filter(|key| *key != Key::Since) {
        for value in query.all(key.parameter()) {
            terms.add(key.parameter(), key, value);
        }
    }
    for value in query.all("not_class") {
        terms.add_not("not_class", Key::Class, value);
    }
    let truth = |text: &str| text.parse::<bool>().ok();
    match query.read("has_task", "true or false", truth)? {
        Some(true) => terms.add_not("has_task", Key::Task, ""),
        Some(false) => terms.add("has_task", Key::Task, ""),
        None => {}
    }
    if query.read("unauthenticated", "true", |text| (text == "true").then_some(()))?.is_some() {
        terms.add("unauthenticated", Key::Principal, "");
    }
    Ok(terms)
}

//! `GET principals` and `GET principals/{name}`: who was seen, since when, from where, and when.

use doorbook_source::document::write_text;
use doorbook_store::filter::{Histogram, PrincipalIs, Rank, Seen, SeenValue};
use doorbook_store::{Dimension, Filter, Store};
use jiff::tz::TimeZone;

use super::cut::{WEEK_HOURS, hour_of, hours_of_week};
use super::dispatch::Call;
use super::filter::Asked;
use super::problem::Problem;
use super::{events, filter};

/// Principals of one answer; `distinct` counts them all.
const LIMIT_MAX: usize = 10_000;

/// Values of each kind that a principal is shown with.
const VALUES_MAX: usize = 1000;

/// What a principal is shown with: the member's name, and by what it is counted.
pub const DETAILS: [(&str, Dimension); 7] = [
    ("databases", Dimension::Database),
    ("addresses", Dimension::Address),
    ("applications", Dimension::Application),
    ("mechanisms", Dimension::Mechanism),
    ("actions", Dimension::Action),
    ("clusters", Dimension::Cluster),
    ("hosts", Dimension::Host),
];

/// Serves `principals`.
pub fn list(call: &mut Call<'_>) -> Result<Vec<u8>, Problem> {
    let rank = call.query.read("sort", "last, first, count or failures", |word| match word {
        "last" => Some(Rank::Last),
        "first" => Some(Rank::First),
        "count" => Some(Rank::Count),
        "failures" => Some(Rank::Failures),
        _ => None,
    })?;
    let limit = call.query.number("limit", 1..=LIMIT_MAX)?.unwrap_or(100);
    let filter = filter::take(call)?.filter;
    call.query.finish()?;
    let order = (rank.unwrap_or(Rank::Last), limit);
    let seen = call.store.seen(&filter, &[Dimension::Principal], order)?;
    let seen = seen.into_iter().next().expect("one for each dimension");
    call.rows = seen.values.len() as u64;
    let mut out = b"{\"principals\":".to_vec();
    write_values("name", &seen.values, &mut out);
    out.extend_from_slice(format!(",\"distinct\":{},", seen.distinct).as_bytes());
    events::write_ending(call, &filter, seen.total, &seen.as_of, &mut out);
    out.push(b'}');
    Ok(out)
}

/// Serves `principals/{name}`. One who was never seen has no times: that, too, is an answer, and what
/// it can know stands beside it.
pub fn one(call: &mut Call<'_>) -> Result<Vec<u8>, Problem> {
    let name = call.name.clone().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Problem::not_found("There is no principal without a name."))?;
    let Asked { filter, zone, .. } = filter::take(call)?;
    call.query.finish()?;
    let known = Known::of(call.store, filter, &name, &zone)?;
    call.rows = known.whole.total;
    let mut out = b"{\"name\":".to_vec();
    write_text(&name, &mut out);
    write_sums(known.whole.values.first(), &mut out);
    for ((member, _), seen) in DETAILS.iter().zip(&known.details) {
        out.extend_from_slice(format!(",\"{member}\":{{\"values\":").as_bytes());
        write_values("value", &seen.values, &mut out);
        out.extend_from_slice(format!(",\"distinct\":{}}}", seen.distinct).as_bytes());
    }
    write_hours(&known.hours, &mut out);
    out.push(b',');
    let Seen { total, as_of, .. } = &known.whole;
    events::write_ending(call, &known.filter, *total, as_of, &mut out);
    out.push(b'}');
    Ok(out)
}

/// What is known of one principal, all of it of one state.
pub struct Known {
    /// What was asked of the store.
    pub filter: Filter,
    /// The sums; without a value if it was never seen.
    pub whole: Seen,
    /// What it was seen with, by [`DETAILS`].
    pub details: Vec<Seen>,
    /// When in the week, by outcome: success, failure, not said.
    pub hours: [[u64; WEEK_HOURS]; 3],
}

impl Known {
    /// Among the rows that a filter matches, which names no principal itself.
    pub fn of(
        store: &Store,
        filter: Filter,
        name: &str,
        zone: &TimeZone,
    ) -> Result<Known, Problem> {
        if !filter.principals.is_empty() {
            return Err(Problem::invalid_parameter("principal", "the path names one already"));
        }
        let principals = vec![PrincipalIs::Named(name.into())];
        let narrowed = Filter { principals, ..filter };
        let dimensions = DETAILS.map(|(_, dimension)| dimension);
        let details = store.seen(&narrowed, &dimensions, (Rank::Last, VALUES_MAX))?;
        let filter = Filter { as_of: Some(details[0].as_of.clone()), ..narrowed };
        let whole = store.seen(&filter, &[Dimension::Principal], (Rank::Last, 1))?;
        let whole = whole.into_iter().next().expect("one for each dimension");
        let hours = hours(&store.histogram_by(&filter, &hours_of_week(zone))?);
        Ok(Known { filter, whole, details, hours })
    }
}

fn hours(histogram: &Histogram) -> [[u64; WEEK_HOURS]; 3] {
    let mut counts = [[0; WEEK_HOURS]; 3];
    for bar in &histogram.bars {
        let hour = hour_of(bar.from);
        for (outcome, count) in [bar.successes, bar.failures, bar.unknown].into_iter().enumerate() {
            counts[outcome][hour] += count;
        }
    }
    counts
}

fn write_values(name: &str, values: &[SeenValue], out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, value) in values.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"" } else { b",{\"" });
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match &value.value {
            Some(text) => write_text(text, out),
            None => out.extend_from_slice(b"null"),
        }
        write_sums(Some(value), out);
        out.push(b'}');
    }
    out.push(b']');
}

/// Appends `,"first_seen":…,"last_seen":…,"success":…,"failure":…,"unknown":…`.
fn write_sums(value: Option<&SeenValue>, out: &mut Vec<u8>) {
    let text = match value {
        Some(SeenValue { first, last, successes, failures, unknown, .. }) => format!(
            ",\"first_seen\":\"{first}\",\"last_seen\":\"{last}\",\"success\":{successes},\
             \"failure\":{failures},\"unknown\":{unknown}"
        ),
        None => ",\"first_seen\":null,\"last_seen\":null,\"success\":0,\"failure\":0,\"unknown\":0"
            .to_owned(),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Appends `,"hours_of_week":{"success":[…],"failure":[…],"unknown":[…]}`, each of 168 numbers from
/// Monday's first hour on.
fn write_hours(hours: &[[u64; WEEK_HOURS]; 3], out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"hours_of_week\":{");
    for (index, (word, counts)) in ["success", "failure", "unknown"].iter().zip(hours).enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let counts = counts.map(|count| count.to_string()).join(",");
        out.extend_from_slice(format!("{comma}\"{word}\":[{counts}]").as_bytes());
    }
    out.push(b'}');
}

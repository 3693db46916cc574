//! `GET events/histogram` and `GET events/top`: how many, by time and by value.

use doorbook_event::Timestamp;
use doorbook_source::document::write_text;
use doorbook_store::Dimension;

use super::cut::stretches;
use super::dispatch::Call;
use super::filter::Asked;
use super::problem::Problem;
use super::{events, filter};

/// More than any screen has columns.
const BARS_MAX: usize = 10_000;

/// Serves `events/histogram`.
pub fn histogram(call: &mut Call<'_>) -> Result<Vec<u8>, Problem> {
    let expected = "a number and s, m, h or d, such as 15m";
    let width_micros = call.query.read("width", expected, width)?;
    let width_micros = width_micros.ok_or_else(|| Problem::invalid_parameter("width", expected))?;
    let Asked { filter, zone, .. } = filter::take(call)?;
    call.query.finish()?;
    let too_many = || {
        let what = format!("makes more than {BARS_MAX} bars; ask for a shorter time or wider ones");
        Problem::invalid_parameter("width", what)
    };
    // Before anything is counted, where both ends are named. A history may be much shorter than
    // what is open at an end, and only counting tells.
    let span_micros = filter.to.micros().saturating_sub(filter.from.micros());
    let is_open = filter.from == Timestamp::MIN || filter.to == Timestamp::MAX;
    if !is_open && span_micros / width_micros > BARS_MAX as i64 {
        return Err(too_many());
    }
    let histogram = call.store.histogram_by(&filter, &stretches(&zone, width_micros))?;
    if histogram.bars.len() > BARS_MAX {
        return Err(too_many());
    }
    call.rows = histogram.bars.len() as u64;
    let mut out = b"{\"bars\":[".to_vec();
    for (index, bar) in histogram.bars.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"" } else { b"," });
        out.extend_from_slice(
            format!(
                "{{\"from\":\"{}\",\"success\":{},\"failure\":{},\"unknown\":{}}}",
                bar.from, bar.successes, bar.failures, bar.unknown
            )
            .as_bytes(),
        );
    }
    out.extend_from_slice(b"],");
    events::write_ending(call, &filter, histogram.total, &histogram.as_of, &mut out);
    out.push(b'}');
    Ok(out)
}

/// Serves `events/top`.
pub fn top(call: &mut Call<'_>) -> Result<Vec<u8>, Problem> {
    let expected = words().join(", ");
    let dimension = call.query.read("by", &expected, |text| {
        DIMENSIONS.iter().find(|(word, _)| *word == text).map(|(_, dimension)| *dimension)
    })?;
    let dimension = dimension.ok_or_else(|| Problem::invalid_parameter("by", expected))?;
    let limit = call.query.number("limit", 1..=1000)?.unwrap_or(10);
    let filter = filter::take(call)?.filter;
    call.query.finish()?;
    let top = call.store.top(&filter, dimension, limit)?;
    call.rows = top.values.len() as u64;
    let mut out = b"{\"values\":[".to_vec();
    for (index, (value, count)) in top.values.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"value\":" } else { b",{\"value\":" });
        match value {
            Some(value) => write_text(value, &mut out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(format!(",\"count\":{count}}}").as_bytes());
    }
    out.extend_from_slice(format!("],\"distinct\":{},", top.distinct).as_bytes());
    events::write_ending(call, &filter, top.total, &top.as_of, &mut out);
    out.push(b'}');
    Ok(out)
}

/// What can be counted.
pub fn words() -> Vec<&'static str> {
    DIMENSIONS.iter().map(|(word, _)| *word).collect()
}

/// The words are those of the filter's parameters.
const DIMENSIONS: [(&str, Dimension); 11] = [
    ("cluster", Dimension::Cluster),
    ("host", Dimension::Host),
    ("action", Dimension::Action),
    ("outcome", Dimension::Outcome),
    ("principal", Dimension::Principal),
    ("database", Dimension::Database),
    ("address", Dimension::Address),
    ("mechanism", Dimension::Mechanism),
    ("application", Dimension::Application),
    ("task_id", Dimension::Task),
    ("source", Dimension::Source),
];

fn width(text: &str) -> Option<i64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let is_plain = digits.len() <= 6 && digits.bytes().all(|b| b.is_ascii_digit());
    let number: i64 = digits.parse().ok().filter(|number| is_plain && *number > 0)?;
    number.checked_mul(seconds * 1_000_000)
}

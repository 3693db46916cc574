//! What is asked, with which parameters, and whether two engines gave the same answer.

use serde::{Deserialize, Serialize};

use super::super::random::Random;
use super::events::{self, DAY_MS, END_MS, Event, Events, HOUR_MS};

/// Rows of a page, of the long one, and of the top list.
pub const PAGE: usize = 100;
pub const LONG_PAGE: usize = 20_000;
pub const TOP: usize = 10;

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// The newest 100 of a host in 24 hours, and how many there are
    Host,
    /// The newest 100 of a cluster of 12 hosts in 7 days, and how many there are
    Cluster,
    /// As `Host`, failures only
    HostFailures,
    /// As `Host`, one address
    HostAddress,
    /// The newest 20,000 of a busy host
    Long,
    /// How many per hour and outcome, of a host in 7 days
    Hours,
    /// The ten users with the most failures in 30 days
    Top,
    /// The newest 100 of a user in 30 days, and how many there are
    User,
    /// As `User`, of one who does not exist
    NoUser,
}

impl Query {
    pub const ALL: [Query; 9] = [
        Query::Host,
        Query::Cluster,
        Query::HostFailures,
        Query::HostAddress,
        Query::Long,
        Query::Hours,
        Query::Top,
        Query::User,
        Query::NoUser,
    ];

    /// Of which fewer parameter sets are asked.
    pub fn is_heavy(self) -> bool {
        matches!(self, Query::Long | Query::Top)
    }

    /// The most rows that an answer can have, where there is a limit.
    fn limit(self) -> Option<usize> {
        match self {
            Query::Hours => None,
            Query::Long => Some(LONG_PAGE),
            Query::Top => Some(TOP),
            _ => Some(PAGE),
        }
    }

    /// How the time of a row is cut before answers are compared: the Atlas API has seconds.
    fn time_unit_ms(self) -> i64 {
        if self == Query::Long { 1000 } else { 1 }
    }
}

/// The parameters of one question. Times are whole seconds, and events at `from_ms` itself are
/// out, those at `to_ms` in; where a door means it otherwise, half a millisecond is added.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Parameters {
    pub from_ms: u64,
    pub to_ms: u64,
    pub cluster: String,
    pub host: String,
    pub user: String,
    pub address: String,
}

/// Different sets of parameters for one question, the same for the same history.
pub fn parameter_sets(
    query: Query,
    count: usize,
    sample: &[Event],
    start_ms: u64,
) -> Vec<Parameters> {
    let mut random = Random::new(0x5eed + query as u64);
    let big_clusters: Vec<_> =
        events::clusters().into_iter().filter(|(_, hosts)| hosts.len() == 12).collect();
    (0..count)
        .map(|number| {
            let event = &sample[random.below(sample.len() as u64) as usize];
            let mut second_below = |ms: u64| random.below(ms) / 1000 * 1000;
            let mut parameters = Parameters {
                host: events::host_name(event.host),
                cluster: events::cluster_of(event.host),
                ..Parameters::default()
            };
            let days = match query {
                Query::Host | Query::HostFailures | Query::HostAddress => 1,
                Query::Cluster | Query::Hours => 7,
                Query::Top | Query::User | Query::NoUser => 30,
                Query::Long => 0,
            };
            let last_ms = END_MS - days * DAY_MS;
            parameters.from_ms = match days {
                // Around an event, so that there is something to find.
                1 => event.time_ms / 1000 * 1000 - second_below(DAY_MS - HOUR_MS),
                7 => start_ms + second_below(last_ms - start_ms),
                // Of a history of 30 days there is one such window; a few hours more at its end
                // make each another one.
                30 => {
                    let event_ms = event.time_ms / 1000 * 1000;
                    let from_ms = event_ms - second_below(29 * DAY_MS);
                    from_ms.clamp(start_ms, last_ms) + second_below(12 * HOUR_MS)
                }
                _ => 0,
            };
            parameters.to_ms = parameters.from_ms + days * DAY_MS;
            match query {
                Query::Cluster => {
                    let at = random.below(big_clusters.len() as u64) as usize;
                    parameters.cluster = big_clusters[at].0.clone();
                }
                Query::HostAddress => parameters.address = event.address(),
                Query::User => parameters.user = event.user(),
                Query::NoUser => parameters.user = format!("nobody.{number:04}@example.net"),
                Query::Long => {
                    let busiest = events::busiest_hosts();
                    let host = busiest[number % busiest.len()];
                    parameters.host = events::host_name(host);
                    parameters.cluster = events::cluster_of(host);
                    parameters.from_ms = start_ms - 1000;
                    parameters.to_ms = END_MS - number as u64 * HOUR_MS / 2;
                }
                _ => {}
            }
            parameters
        })
        .collect()
}

/// Events drawn from a whole history, from which questions are made.
pub fn sample(count: u64, seed: u64, size: u64) -> Vec<Event> {
    let every = (count / size).max(1) as usize;
    Events::new(count, seed).step_by(every).collect()
}

/// What an engine answered.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct Answer {
    /// How many match, where that was asked.
    pub total: Option<u64>,
    /// The rows, or the lines of a chart.
    pub rows: Vec<Row>,
}

/// A row by what orders it (its time, its count) and by what else it says.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub order: i64,
    pub says: String,
}

impl Answer {
    /// Where two answers to a question differ. Rows that tie with the last one of a full page are
    /// left out: which of them are on the page is for each engine to choose.
    pub fn difference(&self, other: &Answer, query: Query) -> Option<String> {
        let (total, others) = (self.total, other.total);
        if total != others {
            return Some(format!("totals {total:?} and {others:?}"));
        }
        let (rows, others) = (self.rows.len(), other.rows.len());
        if rows != others {
            return Some(format!("{rows} and {others} rows"));
        }
        let (rows, others) = (self.comparable(query), other.comparable(query));
        if rows.len() != others.len() {
            return Some(format!("{} and {} rows before the last tie", rows.len(), others.len()));
        }
        let different = rows.iter().zip(&others).find(|(row, other)| row != other)?;
        Some(format!("{:?} and {:?}", different.0, different.1))
    }

    fn comparable(&self, query: Query) -> Vec<Row> {
        let is_full = query.limit() == Some(self.rows.len());
        let unit = query.time_unit_ms();
        let rows = self.rows.iter().map(|row| Row { order: row.order / unit, ..row.clone() });
        let mut rows: Vec<_> = rows.collect();
        let last = rows.iter().map(|row| row.order).min().filter(|_| is_full);
        rows.retain(|row| last.is_none_or(|last| row.order > last));
        rows.sort_unstable();
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a page that lacks a row, or has another, is found out; a tie at its end is not.
    #[test]
    fn answers_are_compared_up_to_the_last_tie() {
        let answer = |rows: &[(i64, &str)]| Answer {
            total: Some(500),
            rows: rows
                .iter()
                .map(|(order, says)| Row { order: *order, says: (*says).into() })
                .collect(),
        };
        let mut page: Vec<_> = (0..100).map(|n| (1000 - n, "a")).collect();
        let one = answer(&page);
        assert_eq!(one.difference(&one, Query::Host), None);
        page[99].1 = "another row of the same time";
        assert_eq!(one.difference(&answer(&page), Query::Host), None);
        page[98].1 = "not the same row";
        assert!(one.difference(&answer(&page), Query::Host).is_some());
        assert!(one.difference(&answer(&page[..99]), Query::Host).is_some());
        let other_total = Answer { total: Some(501), ..one.clone() };
        assert!(one.difference(&other_total, Query::Host).is_some());
        // What is not full is compared to its end.
        let short = [answer(&[(1, "a")]), answer(&[(1, "b")])];
        assert!(short[0].difference(&short[1], Query::Host).is_some());
    }

    #[test]
    fn no_parameter_set_is_there_twice() {
        let sample = sample(20_000, 1, 2000);
        for query in Query::ALL {
            let sets = parameter_sets(query, 40, &sample, events::start_ms(20_000));
            for (at, set) in sets.iter().enumerate() {
                assert!(!sets[..at].contains(set), "{query:?} {set:?}");
                assert!(set.from_ms < set.to_ms, "{query:?} {set:?}");
            }
        }
    }
}

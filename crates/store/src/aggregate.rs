//! Counts of the rows that match: by value, by time.

use std::collections::BTreeMap;

use doorbook_event::{Access, Peer, Text, Timestamp};

use crate::error::{Error, ErrorKind};
use crate::filter::{Bar, Dimension, Filter, Histogram, OutcomeKind, Page, Top};
use crate::{Inner, Placed};

impl Inner {
    pub(crate) fn top(
        &self,
        filter: &Filter,
        dimension: Dimension,
        limit: usize,
    ) -> Result<Top, Error> {
        let Page { rows, total, as_of } = self.matching(filter)?;
        let mut counts: BTreeMap<Option<Text>, u64> = BTreeMap::new();
        for row in &rows {
            *counts.entry(value_of(row, dimension)).or_default() += 1;
        }
        let distinct = counts.keys().flatten().count() as u64;
        let mut values: Vec<_> = counts.into_iter().collect();
        values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        values.truncate(limit);
        Ok(Top { values, distinct, total, as_of })
    }

    pub(crate) fn histogram(&self, filter: &Filter, width_micros: i64) -> Result<Histogram, Error> {
        if width_micros <= 0 {
            return Err(Error::new(ErrorKind::Invalid, "a histogram's bars have no width"));
        }
        let Page { rows, total, as_of } = self.matching(filter)?;
        let mut bars: BTreeMap<Timestamp, Bar> = BTreeMap::new();
        for row in &rows {
            let Some(access) = access_of(row) else { continue };
            let micros = access.event_time.micros();
            let from = Timestamp::from_micros(micros - micros.rem_euclid(width_micros));
            let none = Bar { from, successes: 0, failures: 0, unknown: 0 };
            let bar = bars.entry(from).or_insert(none);
            match OutcomeKind::of(&access.outcome) {
                OutcomeKind::Success => bar.successes += 1,
                OutcomeKind::Failure => bar.failures += 1,
                OutcomeKind::Unknown => bar.unknown += 1,
            }
        }
        Ok(Histogram { bars: bars.into_values().collect(), total, as_of })
    }

    /// Every row that matches.
    fn matching(&self, filter: &Filter) -> Result<Page, Error> {
        self.select(&Filter { limit: usize::MAX, after: None, ..filter.clone() })
    }
}

fn access_of(row: &Placed) -> Option<&Access> {
    match &row.record {
        doorbook_event::Record::Access(access) | doorbook_event::Record::Own(access) => {
            Some(access)
        }
        _ => None,
    }
}

fn value_of(row: &Placed, dimension: Dimension) -> Option<Text> {
    let access = access_of(row)?;
    match dimension {
        Dimension::Cluster => Some(access.target.names().0.clone()),
        Dimension::Host => Some(access.target.names().1.clone()),
        Dimension::Action => Some(access.action.word().into()),
        Dimension::Outcome => Some(access.outcome.word().into()),
        Dimension::Principal => access.principal.name().cloned(),
        Dimension::Address => match access.peer {
            Peer::Ip { address, .. } => Some(address.to_string().into()),
            Peer::UnixSocket => Some("unix".into()),
            Peer::Unknown => None,
        },
        Dimension::Mechanism => access.mechanism.clone(),
        Dimension::Application => {
            access.client.as_deref().and_then(|client| client.application.clone())
        }
        Dimension::Task => access.task_id.clone(),
        Dimension::Source => Some(row.source.clone()),
    }
}

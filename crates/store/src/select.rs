//! Answers: the newest rows that match, and how many there are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use doorbook_event::{Access, LogId, Outcome, Principal};

use crate::Placed;
use crate::error::Error;
use crate::filter::{Filter, Kind, Order, Page, Targets};
use crate::memtable::{Row, kind};
use crate::state::{LogState, State, contains};

/// Whether a row is among those a filter asks for, its place in pages aside. The plain meaning of a
/// filter: what segments leave out or answer from metadata must come to the same.
pub(crate) fn matches(row: &Row, filter: &Filter) -> bool {
    let is_kind = match filter.kind {
        Kind::Access => matches!(row.kind(), kind::ACCESS | kind::OWN),
        Kind::Quarantine => row.kind() == kind::QUARANTINE,
    };
    let at = row.event_time();
    is_kind
        && filter.from <= at
        && at <= filter.to
        && is_target(row.names(), &filter.targets)
        && match row.access() {
            Some(access) => access_matches(access, filter),
            // Quarantined bytes have no action, outcome, address, user or class.
            None => {
                filter.actions.is_empty()
                    && filter.success.is_none()
                    && filter.address.is_none()
                    && filter.user.is_none()
                    && filter.with.bits() == 0
            }
        }
}

fn is_target(names: (&str, &str), targets: &Targets) -> bool {
    match targets {
        Targets::All => true,
        Targets::Group(group) => *group == names.0,
        Targets::Members(members) => {
            members.iter().any(|(group, member)| *group == names.0 && *member == names.1)
        }
    }
}

fn access_matches(access: &Access, filter: &Filter) -> bool {
    let is_outcome = match filter.success {
        None => true,
        Some(true) => access.outcome == Outcome::Success,
        Some(false) => matches!(access.outcome, Outcome::Failure { .. }),
    };
    is_outcome
        && (filter.actions.is_empty() || filter.actions.contains(&access.action))
        && filter
            .address
            .is_none_or(|address| access.peer.address() == Some(address.to_canonical()))
        && filter.user.as_ref().is_none_or(|user| match &access.principal {
            Principal::User { name, .. } => name == user,
            _ => false,
        })
        && (filter.with.bits() == 0 || access.classes.intersects(filter.with))
        && !access.classes.intersects(filter.without)
}

/// Answers a filter from a state, which is not changed by what is committed meanwhile.
pub(crate) fn select(state: &State, filter: &Filter) -> Result<Page, Error> {
    let as_of = filter.as_of.clone().unwrap_or_else(|| state.as_of(&filter.scope));
    let mut newest = Newest::new(filter);
    let mut total = 0;
    if let Some((id, log)) = state.log(&filter.scope) {
        let bound = as_of.iter().find(|(of, _)| *of == id).map_or(0, |(_, bound)| *bound);
        for row in log.memtable.rows() {
            if is_in(log, row.seq, bound) && matches(row, filter) {
                total += 1;
                newest.offer(row.order(id), Found::InMemory(row));
            }
        }
    }
    let rows = newest.finish();
    let rows = rows.into_iter().map(|(order, found)| found.fetch(order.log)).collect();
    Ok(Page { rows, total, as_of })
}

/// Whether a row is part of a state of its log.
fn is_in(log: &LogState, seq: u64, bound: u64) -> bool {
    seq < bound && !contains(&log.retracted, seq)
}

/// A row that matched.
enum Found<'a> {
    InMemory(&'a Row),
}

impl Found<'_> {
    fn fetch(&self, log: LogId) -> Placed {
        match self {
            Found::InMemory(row) => row.placed(log),
        }
    }
}

/// The newest rows after a filter's place, at most as many as it asks for.
struct Newest<T> {
    limit: usize,
    after: Option<Order>,
    /// The oldest of those kept is on top.
    heap: BinaryHeap<Reverse<Ranked<T>>>,
}

struct Ranked<T>(Order, T);

impl<T> PartialEq for Ranked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Ranked<T> {}

impl<T> PartialOrd for Ranked<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Ranked<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl<T> Newest<T> {
    fn new(filter: &Filter) -> Newest<T> {
        Newest { limit: filter.limit, after: filter.after, heap: BinaryHeap::new() }
    }

    fn offer(&mut self, order: Order, row: T) {
        // Answers go from the newest row to the oldest, so that what comes after a row is older.
        if self.limit == 0 || self.after.is_some_and(|after| order >= after) {
            return;
        }
        if self.heap.len() < self.limit {
            self.heap.push(Reverse(Ranked(order, row)));
        } else if self.heap.peek().is_some_and(|oldest| oldest.0.0 < order) {
            self.heap.pop();
            self.heap.push(Reverse(Ranked(order, row)));
        }
    }

    /// Newest first.
    fn finish(self) -> Vec<(Order, T)> {
        // `Reverse` turns ascending into descending.
        let sorted = self.heap.into_sorted_vec();
        sorted.into_iter().map(|Reverse(Ranked(order, row))| (order, row)).collect()
    }
}

//! Answers: the newest rows that match, and how many there are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::path::Path;

use doorbook_event::{Access, LogId, Peer, Principal, Record, Seq, Text, Timestamp};

use crate::directory::segment_dir;
use crate::disk::Disk;
use crate::error::Error;
use crate::filter::{Filter, Kind, Order, OutcomeKind, Page, PeerIs, PrincipalIs, Targets};
use crate::memtable::{Row, kind};
use crate::segment::Segment;
use crate::state::contains;
use crate::{Inner, Placed};

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
            // Quarantined bytes have no more than a target, a time and a source.
            None => !tests_access(filter),
        }
        && (filter.sources.is_empty() || filter.sources.contains(&row.source))
        && filter.raw_contains.as_ref().is_none_or(|text| {
            let raw = match &row.record {
                Record::Access(access) | Record::Own(access) => &access.raw,
                Record::Quarantine(quarantine) => &quarantine.bytes,
                _ => return false,
            };
            text.is_empty() || raw.windows(text.len()).any(|window| window == text.as_bytes())
        })
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
    let has = |allowed: &[Text], value: Option<&Text>| {
        allowed.is_empty() || value.is_some_and(|value| allowed.contains(value))
    };
    let application = access.client.as_deref().and_then(|client| client.application.as_ref());
    (filter.actions.is_empty() || filter.actions.contains(&access.action))
        && (filter.outcomes.is_empty()
            || filter.outcomes.contains(&OutcomeKind::of(&access.outcome)))
        && (filter.principals.is_empty()
            || filter.principals.iter().any(|wanted| principal_is(&access.principal, wanted)))
        && (filter.peers.is_empty()
            || filter.peers.iter().any(|wanted| peer_is(&access.peer, wanted)))
        && has(&filter.mechanisms, access.mechanism.as_ref())
        && has(&filter.applications, application)
        && has(&filter.task_ids, access.task_id.as_ref())
        && filter.has_task.is_none_or(|wanted| access.task_id.is_some() == wanted)
        && (filter.with.bits() == 0 || access.classes.intersects(filter.with))
        && !access.classes.intersects(filter.without)
}

fn principal_is(principal: &Principal, wanted: &PrincipalIs) -> bool {
    match (wanted, principal) {
        (PrincipalIs::User(wanted), Principal::User { name, .. }) => wanted == name,
        (
            PrincipalIs::UserOf { name: wanted, database: wanted_database },
            Principal::User { name, database },
        ) => wanted == name && wanted_database == database,
        (PrincipalIs::Named(wanted), principal) => principal.name() == Some(wanted),
        (PrincipalIs::Unauthenticated, Principal::Unauthenticated) => true,
        _ => false,
    }
}

fn peer_is(peer: &Peer, wanted: &PeerIs) -> bool {
    match (wanted, peer) {
        (PeerIs::Network(network), Peer::Ip { address, .. }) => network.contains(*address),
        (PeerIs::UnixSocket, Peer::UnixSocket) => true,
        _ => false,
    }
}

impl Inner {
    /// Answers a filter from the present state, which is not changed by what is committed meanwhile.
    pub(crate) fn select(&self, filter: &Filter) -> Result<Page, Error> {
        let state = self.state();
        let filter = &self.unexpired(filter, &state);
        let as_of = filter.as_of.clone().unwrap_or_else(|| state.as_of(&filter.scope));
        let mut answer = Answer { total: 0, newest: Newest::new(filter) };
        let Some((id, log)) = state.log(&filter.scope) else {
            return Ok(Page { rows: Vec::new(), total: 0, as_of });
        };
        let bound = as_of.iter().find(|(of, _)| *of == id).map_or(0, |(_, bound)| *bound);
        let view = View { filter, id, bound, retracted: &log.retracted };
        for row in log.memtable.rows() {
            if view.shows(row.seq) && matches(row, filter) {
                answer.add(row.order(id), Found::InMemory(row));
            }
        }
        let dir = segment_dir(&self.options.data_dir);
        let disk = &*self.options.disk;
        for segment in &log.segments {
            view.scan(segment, disk, &dir, &mut answer)?;
        }
        let total = answer.total;
        Ok(Page { rows: fetch(answer.newest.finish(), disk, &dir)?, total, as_of })
    }
}

/// A row that matched.
#[derive(Clone, Copy)]
enum Found<'a> {
    InMemory(&'a Row),
    InSegment(&'a Segment, usize),
}

struct Answer<'a> {
    total: u64,
    newest: Newest<Found<'a>>,
}

impl<'a> Answer<'a> {
    fn add(&mut self, order: Order, found: Found<'a>) {
        self.total += 1;
        self.newest.offer(order, found);
    }
}

/// What of a log an answer may show.
struct View<'a> {
    filter: &'a Filter,
    id: LogId,
    /// Only positions below are part of the state that is asked about.
    bound: Seq,
    retracted: &'a [Range<Seq>],
}

impl View<'_> {
    fn shows(&self, seq: Seq) -> bool {
        seq < self.bound && !contains(self.retracted, seq)
    }

    /// Adds what a segment has.
    fn scan<'a>(
        &self,
        segment: &'a Segment,
        disk: &dyn Disk,
        dir: &Path,
        answer: &mut Answer<'a>,
    ) -> Result<(), Error> {
        let filter = self.filter;
        let meta = &segment.meta;
        let is_hidden =
            |rows: &Range<Seq>| rows.start <= meta.first_seq && meta.last_seq < rows.end;
        if meta.first_seq >= self.bound || self.retracted.iter().any(is_hidden) {
            return Ok(());
        }
        let is_partly_hidden = meta.last_seq >= self.bound
            || self
                .retracted
                .iter()
                .any(|rows| rows.start <= meta.last_seq && meta.first_seq < rows.end);
        let wanted_kinds = kinds(filter.kind);
        let is_tested = tests_columns(filter);

        // Of a stretch in which every row matches, the newest rows stand at its end; the others
        // only count.
        let mut counted = Vec::new();
        let mut tested = Vec::new();
        let mut next = 0;
        for member in &meta.members {
            let rows = next..next + member.rows as usize;
            next = rows.end;
            if member.kinds & wanted_kinds == 0
                || member.to < filter.from
                || filter.to < member.from
                || !is_target((&member.group, &member.member), &filter.targets)
            {
                continue;
            }
            let all_match = !is_partly_hidden
                && !is_tested
                && member.kinds & !wanted_kinds == 0
                && filter.from <= member.from
                && member.to <= filter.to;
            match all_match {
                true => counted.push(rows),
                false => tested.push(rows),
            }
        }
        if counted.is_empty() && tested.is_empty() {
            return Ok(());
        }

        let reader = segment.open(disk, dir)?;
        let mut newest = Vec::new();
        for rows in counted {
            answer.total += rows.len() as u64;
            match filter.after {
                None => {
                    newest.push(rows.end.saturating_sub(filter.limit).max(rows.start)..rows.end)
                }
                Some(after) => newest.extend(reader.narrow(rows, Timestamp::MIN, after.event_time)),
            }
        }
        if filter.limit > 0 {
            reader.read(&["event_time", "seq"], newest, |columns, at| {
                let (times, seqs) = (columns.event_times()?, columns.seqs()?);
                for (row, number) in at.iter().enumerate() {
                    let order = Order { event_time: times(row), log: self.id, seq: seqs(row) };
                    answer.newest.offer(order, Found::InSegment(segment, *number));
                }
                Ok(())
            })?;
        }
        let tested = tested
            .into_iter()
            .flat_map(|rows| reader.narrow(rows, filter.from, filter.to))
            .collect::<Vec<_>>();
        if !is_tested {
            return reader.read(&["kind", "event_time", "seq"], tested, |columns, at| {
                let (kinds, times) = (columns.kinds()?, columns.event_times()?);
                let seqs = columns.seqs()?;
                for (row, number) in at.iter().enumerate() {
                    let order = Order { event_time: times(row), log: self.id, seq: seqs(row) };
                    let is_in_time =
                        filter.from <= order.event_time && order.event_time <= filter.to;
                    if is_in_time && self.shows(order.seq) && wanted_kinds >> kinds(row) & 1 == 1 {
                        answer.add(order, Found::InSegment(segment, *number));
                    }
                }
                Ok(())
            });
        }
        for rows in tested {
            let numbers: Vec<usize> = rows.collect();
            for (row, number) in reader.rows(&numbers)?.iter().zip(numbers) {
                if self.shows(row.seq) && matches(row, filter) {
                    answer.add(row.order(self.id), Found::InSegment(segment, number));
                }
            }
        }
        Ok(())
    }
}

/// The wanted kinds as bits.
fn kinds(kind: Kind) -> u64 {
    match kind {
        Kind::Access => 1 << kind::ACCESS | 1 << kind::OWN,
        Kind::Quarantine => 1 << kind::QUARANTINE,
    }
}

/// Whether a filter asks for more than kind, target and time.
fn tests_columns(filter: &Filter) -> bool {
    tests_access(filter)
        || filter.without.bits() != 0
        || !filter.sources.is_empty()
        || filter.raw_contains.is_some()
}

/// Whether a filter asks for what only an access has.
fn tests_access(filter: &Filter) -> bool {
    !filter.actions.is_empty()
        || !filter.outcomes.is_empty()
        || !filter.principals.is_empty()
        || !filter.peers.is_empty()
        || !filter.mechanisms.is_empty()
        || !filter.applications.is_empty()
        || !filter.task_ids.is_empty()
        || filter.has_task.is_some()
        || filter.with.bits() != 0
}

/// The whole rows, in the order they are given.
fn fetch(
    found: Vec<(Order, Found<'_>)>,
    disk: &dyn Disk,
    dir: &Path,
) -> Result<Vec<Placed>, Error> {
    // Each segment is read once, from its beginning on.
    let mut by_segment: Vec<(&Segment, Vec<(usize, usize)>)> = Vec::new();
    let mut rows: Vec<Option<Placed>> = Vec::with_capacity(found.len());
    for (at, (order, found)) in found.iter().enumerate() {
        rows.push(match found {
            Found::InMemory(row) => Some(row.placed(order.log)),
            Found::InSegment(..) => None,
        });
        if let Found::InSegment(segment, number) = found {
            match by_segment.iter_mut().find(|(known, _)| std::ptr::eq(*known, *segment)) {
                Some((_, numbers)) => numbers.push((*number, at)),
                None => by_segment.push((segment, vec![(*number, at)])),
            }
        }
    }
    for (segment, mut numbers) in by_segment {
        numbers.sort_unstable();
        let wanted: Vec<usize> = numbers.iter().map(|(number, _)| *number).collect();
        let read = segment.open(disk, dir)?.rows(&wanted)?;
        for (row, (_, at)) in read.into_iter().zip(numbers) {
            rows[at] = Some(row.into_placed(found[at].0.log));
        }
    }
    Ok(rows.into_iter().flatten().collect())
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

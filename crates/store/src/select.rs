//! Answers: the newest rows that match, and how many there are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::path::Path;

use doorbook_event::{Access, Classes, LogId, Outcome, Peer, Principal, Seq, Timestamp};

use crate::directory::segment_dir;
use crate::disk::Disk;
use crate::error::Error;
use crate::filter::{Filter, Kind, Order, Page, Targets};
use crate::memtable::{Row, kind};
use crate::segment::{Columns, Segment};
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
            // Quarantined bytes have no action, outcome, address, user or class.
            None => {
                filter.actions.is_empty()
                    && filter.success.is_none()
                    && filter.address.is_none()
                    && !filter.unix_socket
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
        && (!filter.unix_socket || access.peer == Peer::UnixSocket)
        && filter.user.as_ref().is_none_or(|user| match &access.principal {
            Principal::User { name, .. } => name == user,
            _ => false,
        })
        && (filter.with.bits() == 0 || access.classes.intersects(filter.with))
        && !access.classes.intersects(filter.without)
}

impl Inner {
    /// Answers a filter from the present state, which is not changed by what is committed meanwhile.
    pub(crate) fn select(&self, filter: &Filter) -> Result<Page, Error> {
        let state = self.state();
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
        let tests_columns = tests_columns(filter);

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
                && !tests_columns
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
        let tested =
            tested.into_iter().flat_map(|rows| reader.narrow(rows, filter.from, filter.to));
        reader.read(&columns_of(filter), tested.collect(), |columns, at| {
            let (times, seqs) = (columns.event_times()?, columns.seqs()?);
            let passes = test(filter, columns)?;
            for (row, number) in at.iter().enumerate() {
                let order = Order { event_time: times(row), log: self.id, seq: seqs(row) };
                let is_in_time = filter.from <= order.event_time && order.event_time <= filter.to;
                if is_in_time && self.shows(order.seq) && passes(row) {
                    answer.add(order, Found::InSegment(segment, *number));
                }
            }
            Ok(())
        })
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
    !filter.actions.is_empty()
        || filter.success.is_some()
        || filter.address.is_some()
        || filter.unix_socket
        || filter.user.is_some()
        || filter.with.bits() != 0
        || filter.without.bits() != 0
}

/// The columns that [`test()`] and the order need.
fn columns_of(filter: &Filter) -> Vec<&'static str> {
    let mut columns = vec!["kind", "event_time", "seq"];
    if !filter.actions.is_empty() {
        columns.push("action");
    }
    if filter.success.is_some() {
        columns.push("outcome");
    }
    if filter.address.is_some() || filter.unix_socket {
        columns.push("address");
    }
    if filter.user.is_some() {
        columns.extend(["principal_kind", "principal"]);
    }
    if filter.with.bits() != 0 || filter.without.bits() != 0 {
        columns.push("classes");
    }
    columns
}

/// [`matches()`] on columns, target and time aside.
fn test(filter: &Filter, columns: &Columns<'_>) -> Result<impl Fn(usize) -> bool, Error> {
    let kinds_of_rows = columns.kinds()?;
    let wanted_kinds = kinds(filter.kind);
    let mut tests: Vec<Vec<bool>> = Vec::new();
    if !filter.actions.is_empty() {
        let is_action = |word: &str| filter.actions.iter().any(|action| action.word() == word);
        tests.push(columns.texts("action")?.test(is_action));
    }
    if let Some(success) = filter.success {
        let wanted = if success { "success" } else { "failure" };
        tests.push(columns.texts("outcome")?.test(|word| word == wanted));
    }
    if let Some(address) = filter.address {
        let wanted = address.to_canonical().to_string();
        tests.push(columns.texts("address")?.test(|text| text == wanted));
    }
    if filter.unix_socket {
        tests.push(columns.texts("address")?.test(|text| text == "unix"));
    }
    if let Some(user) = &filter.user {
        tests.push(columns.texts("principal_kind")?.test(|word| word == "user"));
        tests.push(columns.texts("principal")?.test(|name| *user == *name));
    }
    let (with, without) = (filter.with, filter.without);
    let classes = match with.bits() | without.bits() {
        0 => None,
        _ => Some(columns.classes()?),
    };
    Ok(move |row| {
        let has_classes = |classes: Classes| {
            (with.bits() == 0 || classes.intersects(with)) && !classes.intersects(without)
        };
        wanted_kinds >> kinds_of_rows(row) & 1 == 1
            && tests.iter().all(|passes| passes[row])
            && classes.as_ref().is_none_or(|classes| has_classes(classes(row)))
    })
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

//! Answers: the newest rows that match, and how many there are.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering};

use doorbook_event::{Access, Peer, Principal, Record, Text, Timestamp};

use crate::Inner;
use crate::directory::segment_dir;
use crate::error::Error;
use crate::filter::{
    Alternatives, Filter, Kind, Order, OutcomeKind, Page, PeerIs, PrincipalIs, TextIs,
};
use crate::joined::{self, Amended};
use crate::memtable::{Row, kind};
use crate::scan::{Matcher, Opened, Piece, Scan, View, in_parallel, threads};
use crate::segment::Column;

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
        && filter.is_target(row.names())
        && verdicts(row, filter.wanted()).all(|is_one| is_one)
        && !verdicts(row, filter.unwanted()).any(|is_one| is_one)
}

/// For each list that is not empty whether the row is one of its alternatives. Quarantined bytes have
/// no more than a target, a time, a source and themselves.
fn verdicts<'a>(row: &'a Row, of: Alternatives<'a>) -> impl Iterator<Item = bool> + 'a {
    let access = row.access();
    let of_access = move |is_asked: bool, is: &dyn Fn(&Access) -> bool| {
        is_asked.then(|| access.is_some_and(is))
    };
    let of_text = |list: &[TextIs], text: &dyn Fn(&Access) -> Option<&Text>| {
        of_access(!list.is_empty(), &|access| {
            list.iter().any(|is| is.fits(text(access).map(|text| &**text)))
        })
    };
    let raw = match &row.record {
        Record::Access(access) | Record::Own(access) => &*access.raw,
        Record::Quarantine(quarantine) => &*quarantine.bytes,
        _ => &[],
    };
    let holds = |text: &Text| memchr::memmem::find(raw, text.as_bytes()).is_some();
    let verdicts = [
        of_access(!of.actions.is_empty(), &|access| of.actions.contains(&access.action)),
        of_access(!of.outcomes.is_empty(), &|access| {
            of.outcomes.contains(&OutcomeKind::of(&access.outcome))
        }),
        of_access(!of.principals.is_empty(), &|access| {
            of.principals.iter().any(|wanted| principal_is(&access.principal, wanted))
        }),
        of_access(!of.peers.is_empty(), &|access| {
            of.peers.iter().any(|wanted| peer_is(&access.peer, wanted))
        }),
        of_text(of.mechanisms, &|access| access.mechanism.as_ref()),
        of_text(of.applications, &|access| access.client.as_deref()?.application.as_ref()),
        of_text(of.task_ids, &|access| access.task_id.as_ref()),
        of_access(!of.connections.is_empty(), &|access| {
            access.connection.is_some_and(|number| of.connections.contains(&number))
        }),
        of_access(of.process_start.is_some(), &|access| access.process_start == of.process_start),
        of_access(of.classes.bits() != 0, &|access| access.classes.intersects(of.classes)),
        (!of.sources.is_empty()).then(|| of.sources.iter().any(|is| is.fits(Some(&row.source)))),
        (!of.raw_contains.is_empty()).then(|| of.raw_contains.iter().any(holds)),
    ];
    verdicts.into_iter().flatten()
}

fn principal_is(principal: &Principal, wanted: &PrincipalIs) -> bool {
    match (wanted, principal) {
        (PrincipalIs::User(wanted), Principal::User { name, .. }) => wanted.fits(Some(name)),
        (
            PrincipalIs::UserOf { name: wanted, database: wanted_database },
            Principal::User { name, database },
        ) => wanted.fits(Some(name)) && wanted_database.fits(known_database(Some(database))),
        (PrincipalIs::WithoutDatabase, Principal::User { database, .. }) => database.is_empty(),
        (PrincipalIs::WithoutDatabase, _) => true,
        (PrincipalIs::Named(wanted), principal) => {
            principal.name().is_some_and(|name| wanted.fits(Some(name)))
        }
        (PrincipalIs::Unauthenticated, Principal::Unauthenticated) => true,
        _ => false,
    }
}

/// A database without a name is none: sources say so where they do not know it.
pub(crate) fn known_database(database: Option<&str>) -> Option<&str> {
    database.filter(|database| !database.is_empty())
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
        let view = match View::new(&state, filter, self.options.clock.now()) {
            Ok(view) => view,
            Err(as_of) => {
                return Ok(Page { rows: Vec::new(), is_cut: false, total: 0, as_of });
            }
        };
        let mut answer = Answer { total: 0, newest: Newest::new(filter) };
        let dir = segment_dir(&self.options.data_dir);
        let joiner = self.joiner(&view, &dir);
        let amended = match joined::depends(filter) {
            true => joiner.amended()?,
            false => Amended::default(),
        };
        for row in view.in_memory(&amended) {
            answer.total += 1;
            answer.newest.offer(row.order(view.id), Found::InMemory(row));
        }
        joiner.each_amended(&amended, |row| {
            answer.total += 1;
            answer.newest.offer(row.order(view.id), Found::Whole(Box::new(row)));
            Ok(())
        })?;
        let scan = Scan::new(&view, &amended, &*self.options.disk, &dir, &self.cache)?;
        let new = || Answer { total: 0, newest: Newest::new(filter) };
        let answers = scan.work(new, |answer, matchers, piece| {
            let opened = &scan.segments[piece.segment];
            answer.add(&view, opened, piece, matchers.of(piece)?)
        })?;
        for other in answers {
            answer.total += other.total;
            answer.newest.merge(other.newest);
        }
        let mut found = answer.newest.finish();
        found.drain(..filter.skip.min(found.len()));
        let rows = fetch(&scan, &found, filter.size_bytes_max)?;
        let is_cut = rows.len() < found.len();
        let rows = joiner.complete(rows)?;
        Ok(Page { rows, is_cut, total: answer.total, as_of: view.as_of.clone() })
    }
}

/// A row that matched.
enum Found<'a> {
    InMemory(&'a Row),
    /// It was built to be completed.
    Whole(Box<Row>),
    /// Which of the scan's segments, and which of its rows.
    InSegment(usize, usize),
}

struct Answer<'a> {
    total: u64,
    newest: Newest<Found<'a>>,
}

impl Answer<'_> {
    /// Counts the rows of a piece that match; those that may be among the newest are looked at.
    fn add<'s>(
        &mut self,
        view: &View<'_>,
        opened: &'s Opened<'_>,
        piece: &Piece<'_>,
        matcher: &mut Matcher<'s>,
    ) -> Result<(), Error> {
        let may_be_taken = self.newest.may_take(piece.earliest, piece.latest);
        if !may_be_taken && !view.filter.is_counted {
            return Ok(());
        }
        if !may_be_taken && !piece.is_tested {
            self.total += piece.rows.len() as u64;
            return Ok(());
        }
        let (mask, count) = matcher.matching(piece)?;
        self.total += count;
        if !may_be_taken || count == 0 {
            return Ok(());
        }
        let mut times = opened.reader.column("event_time")?;
        let mut seqs = opened.reader.column("seq")?;
        let base_seq = opened.reader.base_seq();
        if let Some(mask) = mask
            && count as usize * FEW < piece.rows.len()
        {
            let ones = piece.rows.clone().zip(mask).filter(|(_, one)| **one == 1);
            let rows: Vec<usize> = ones.map(|(row, _)| row).collect();
            let times = times.pick(&rows)?;
            let time = |n: usize| Timestamp::from_micros(times.int(n).unwrap_or(0));
            // Most pieces have a row or two that are new enough, or none: only of these is the seq read.
            let rows = rows.into_iter().enumerate().map(|(n, row)| (time(n), row));
            let rows = rows.filter(|(time, _)| self.newest.may_take(*time, *time));
            let (times, rows): (Vec<_>, Vec<_>) = rows.unzip();
            let seqs = seqs.pick(&rows)?;
            for (n, (event_time, row)) in times.into_iter().zip(rows).enumerate().rev() {
                let seq = base_seq.saturating_add(seqs.int(n).unwrap_or(0) as u64);
                let order = Order { event_time, log: view.id, seq };
                self.newest.offer(order, Found::InSegment(piece.segment, row));
            }
            return Ok(());
        }
        // From the newest row on, until the rows are older than what is there already.
        for row in piece.rows.clone().rev() {
            if mask.is_some_and(|mask| mask[row - piece.rows.start] == 0) {
                continue;
            }
            let event_time = Timestamp::from_micros(number_at(&mut times, row)?);
            if !self.newest.may_take(Timestamp::MIN, event_time) {
                break;
            }
            let seq = base_seq.saturating_add(number_at(&mut seqs, row)? as u64);
            let order = Order { event_time, log: view.id, seq };
            self.newest.offer(order, Found::InSegment(piece.segment, row));
        }
        Ok(())
    }
}

/// Of so many rows one matches where only its time is decoded and not its whole page.
const FEW: usize = 64;

fn number_at(column: &mut Column<'_>, row: usize) -> Result<i64, Error> {
    let (page, rows) = column.ints(row)?;
    Ok(page.get(row - rows.start).unwrap_or(0))
}

/// The whole rows, in the order they are given: the first of them that take no more than
/// `size_bytes_max`, and always one.
fn fetch(
    scan: &Scan<'_>,
    found: &[(Order, Found<'_>)],
    size_bytes_max: usize,
) -> Result<Vec<Row>, Error> {
    match build(scan, found, size_bytes_max)? {
        Built::Whole(rows) => Ok(rows),
        Built::TooLarge(sizes_bytes) => {
            let ends = sizes_bytes.iter().scan(0_usize, |end, size_bytes| {
                *end = end.saturating_add(*size_bytes);
                Some(*end)
            });
            let count = ends.take_while(|end| *end <= size_bytes_max).count().max(1);
            match build(scan, &found[..count], usize::MAX)? {
                Built::Whole(rows) => Ok(rows),
                Built::TooLarge(_) => unreachable!("nothing takes more memory than there can be"),
            }
        }
    }
}

/// Rows that were asked for.
enum Built {
    Whole(Vec<Row>),
    /// They take more than is allowed: how much each of them does.
    TooLarge(Vec<usize>),
}

fn build(
    scan: &Scan<'_>,
    found: &[(Order, Found<'_>)],
    size_bytes_max: usize,
) -> Result<Built, Error> {
    let room = Room(AtomicUsize::new(size_bytes_max));
    let mut building = Building::default();
    let mut wanted = Vec::new();
    for (place, (_, found)) in found.iter().enumerate() {
        match found {
            Found::InMemory(row) => building.add(place, Cow::Borrowed(*row), &room),
            Found::Whole(row) => building.add(place, Cow::Borrowed(&**row), &room),
            Found::InSegment(segment, row) => {
                wanted.push(Wanted { segment: *segment, row: *row, place });
            }
        }
    }
    // Each segment is read once, from its beginning on.
    wanted.sort_unstable_by_key(|wanted| (wanted.segment, wanted.row));
    let parts = match is_worth_threads(&wanted) {
        true => wanted.chunks(wanted.len().div_ceil(threads())).collect(),
        false => vec![&*wanted],
    };
    let read = in_parallel(&parts, |part| {
        let mut building = Building::default();
        for part in part.chunk_by(|one, next| one.segment == next.segment) {
            let numbers: Vec<usize> = part.iter().map(|wanted| wanted.row).collect();
            let mut places = part.iter().map(|wanted| wanted.place);
            scan.segments[part[0].segment].reader.each_row(&numbers, |row| {
                let place = places.next().expect("a row for each number");
                building.add(place, Cow::Owned(row), &room);
            })?;
        }
        Ok(building)
    });
    for part in read {
        building.append(part?);
    }
    let Building { mut rows, mut places, mut sizes_bytes } = building;
    if rows.len() < found.len() {
        sizes_bytes.sort_unstable();
        return Ok(Built::TooLarge(
            sizes_bytes.into_iter().map(|(_, size_bytes)| size_bytes).collect(),
        ));
    }
    put_in_place(&mut rows, &mut places);
    Ok(Built::Whole(rows))
}

/// What rows may still take of the memory, all threads' rows together.
struct Room(AtomicUsize);

impl Room {
    /// Once something does not fit, nothing does any more.
    fn take(&self, size_bytes: usize) -> bool {
        let take = |left: usize| Some(left.saturating_sub(size_bytes));
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        left.is_ok_and(|left| size_bytes <= left)
    }
}

#[derive(Default)]
struct Building {
    rows: Vec<Row>,
    /// Where each of them belongs.
    places: Vec<usize>,
    /// Of each row that was built, also of one that is not kept: its place and how much it takes.
    sizes_bytes: Vec<(usize, usize)>,
}

impl Building {
    fn add(&mut self, place: usize, row: Cow<'_, Row>, room: &Room) {
        let size_bytes = row.size_bytes();
        self.sizes_bytes.push((place, size_bytes));
        if room.take(size_bytes) {
            self.rows.push(row.into_owned());
            self.places.push(place);
        } else {
            self.rows = Vec::new();
        }
    }

    fn append(&mut self, mut other: Building) {
        self.rows.append(&mut other.rows);
        self.places.append(&mut other.places);
        self.sizes_bytes.append(&mut other.sizes_bytes);
    }
}

/// A row to be built.
struct Wanted {
    segment: usize,
    row: usize,
    /// Where in the answer.
    place: usize,
}

/// Whether building rows takes much longer than starting a thread: if they lie far apart, a page of
/// each column may have to be decompressed for each of them; and if they are many.
fn is_worth_threads(wanted: &[Wanted]) -> bool {
    const FAR: usize = 4096;
    const FAR_APART: usize = 24;
    const MANY: usize = 2000;
    let place = |wanted: &Wanted| (wanted.segment, wanted.row / FAR);
    let apart = wanted.chunk_by(|one, next| place(one) == place(next)).count();
    apart >= FAR_APART || wanted.len() >= MANY
}

/// Moves each row to its place. Rows are large: this moves each about once, and sorting would often.
fn put_in_place(rows: &mut [Row], places: &mut [usize]) {
    for n in 0..rows.len() {
        while places[n] != n {
            let place = places[n];
            rows.swap(n, place);
            places.swap(n, place);
        }
    }
}

/// The newest rows after a filter's place, at most as many as it asks for.
struct Newest<T> {
    limit: usize,
    after: Option<Order>,
    rows: Vec<(Order, T)>,
    /// As many rows as are asked for are not older than this.
    oldest: Option<Order>,
}

impl<T> Newest<T> {
    fn new(filter: &Filter) -> Newest<T> {
        // Those that are left out are found like the others, and never built.
        let limit = match filter.limit {
            0 => 0,
            limit => limit.saturating_add(filter.skip),
        };
        Newest { limit, after: filter.after, rows: Vec::new(), oldest: None }
    }

    /// Whether a row of such a time may be among them.
    fn may_take(&self, earliest: Timestamp, latest: Timestamp) -> bool {
        self.limit > 0
            && self.oldest.is_none_or(|oldest| latest >= oldest.event_time)
            && self.after.is_none_or(|after| earliest <= after.event_time)
    }

    fn offer(&mut self, order: Order, row: T) {
        // Answers go from the newest row to the oldest, so that what comes after a row is older.
        if self.limit == 0
            || self.after.is_some_and(|after| order >= after)
            || self.oldest.is_some_and(|oldest| order < oldest)
        {
            return;
        }
        self.rows.push((order, row));
        // Choosing is linear in what there is: it is done once in as many rows.
        if self.oldest.is_none() && self.rows.len() == self.limit
            || self.rows.len() >= self.limit.saturating_mul(2)
        {
            self.choose();
        }
    }

    /// Keeps the newest.
    fn choose(&mut self) {
        if self.rows.len() < self.limit {
            return;
        }
        let last = self.limit - 1;
        self.rows.select_nth_unstable_by_key(last, |(order, _)| Reverse(*order));
        self.rows.truncate(self.limit);
        self.oldest = self.rows.last().map(|(order, _)| *order);
    }

    fn merge(&mut self, other: Newest<T>) {
        for (order, row) in other.rows {
            self.offer(order, row);
        }
    }

    /// Newest first.
    fn finish(mut self) -> Vec<(Order, T)> {
        self.rows.sort_unstable_by_key(|(order, _)| Reverse(*order));
        self.rows.truncate(self.limit);
        self.rows
    }
}

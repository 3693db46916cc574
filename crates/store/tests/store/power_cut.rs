//! The power is cut at any instant, on a disk that then keeps no more than it has promised: what was
//! acknowledged is there, once, and the one step that was not is there as a whole or not at all.
//!
//! A *life* is a list of steps, lived on a [`SimDisk`] that keeps every instant at which the power
//! could have been cut. After each step two witnesses are written down: what the running store
//! answers ([`Seen`]), and what a naive ledger says that it should ([`Ledger`]). A *cut* is an instant
//! and a [`Landing`]; what a store finds behind it must be what was seen after the last acknowledged
//! step, or after the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use doorbook_event::record::{
    ClockState, Coverage, Grade, Heartbeat, Hidden, ImportId, ImportState, Quarantine,
};
use doorbook_event::registry::{Cluster, Host, Registry, RegistryChange};
use doorbook_event::retention::{Limits, RetentionSet};
use doorbook_event::source::{Source, SourceKind, Subject};
use doorbook_event::{Access, Action, HostName, Record, Scope, Seq, Timestamp};
use doorbook_store::backup::restore;
use doorbook_store::disk::Disk;
use doorbook_store::filter::{AsOf, Kind};
use doorbook_store::verify::Depth;
use doorbook_store::{
    Advance, Catalog, Did, Entry, Error, ErrorKind, Filter, ImportBatch, Ingest, IngestLine,
    LineResult, Options, Placed, Store, Watched,
};
use proptest::prelude::*;

use crate::sim_disk::{Draw, Image, Instant, Landing, Lie, SimDisk};
use crate::support::{NOW, PROJECT, Place, actor, end, login, project_changes, scope, start};

/// Such that there are several flushes in a life, and imports of 20 events become files.
const MEMTABLE_SIZE_BYTES: usize = 8000;

/// What is asked of a store. Events are numbered; each number is one event, whoever brings it.
#[derive(Clone, Debug)]
pub enum Step {
    /// A registry change: a new cluster.
    Registry,
    /// Begins an import.
    Begin,
    /// The next file of the import that was begun last.
    Import { first: u64, count: u64, is_long: bool, has_more: bool },
    /// Ends it.
    End,
    /// Takes back the import that was begun as the `n`-th, if there are so many.
    Retract(usize),
    /// A request of a shipper.
    Ingest { first: u64, count: u64 },
    /// A request that becomes a file of its own.
    IngestBulk { first: u64 },
    /// A request of new events that nothing but the request's key can tell from others.
    Ship { count: u64 },
    /// The last request again, by a shipper that did not hear the answer.
    IngestAgain,
    /// What a source read from a further file, and where it goes on.
    Advance { first: u64, count: u64, is_long: bool },
    /// Events that nobody looks up.
    Commit { count: u64 },
    /// All rows to segments.
    Flush,
    /// Maintenance until there is nothing to do.
    Maintain,
    /// A secret.
    Secret(u8),
    /// The clock is set, backwards perhaps.
    SetClock(i64),
    /// So many days are kept from now on.
    Keep { days: u32 },
    /// A backup of this number.
    Backup(u32),
    /// The directory that it is copied back to.
    Restore(u32),
    /// Closed and opened again.
    Reopen,
}

/// What a store answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    catalog: Catalog,
    watched: Watched,
    /// How many records each log has.
    pub next: BTreeSet<(u32, Seq)>,
    pub rows: Vec<Placed>,
}

/// What a store should answer, told by a rule that a child could follow.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Events, with the import that brought each.
    events: BTreeMap<u64, Option<ImportId>>,
    /// Lines that were not understood, with the import that brought each.
    unread: BTreeMap<u64, ImportId>,
    /// Gaps in what was seen, with every import that told of each: it stays until all are taken back.
    gaps: BTreeSet<(u64, ImportId)>,
    imports: Vec<(ImportId, ImportState)>,
    registry: Registry,
    /// How many records the project's log has.
    next_seq: Seq,
    /// Where the shipped events stand.
    shipped: BTreeMap<u64, Seq>,
    /// How many requests there were.
    requests: u64,
    last_request: Option<Request>,
    /// How often the source came further.
    advances: u64,
    secrets: BTreeMap<u8, [u8; 32]>,
    /// How far the clock is from [`NOW`].
    clock_seconds: i64,
    /// Events before this are too old.
    start: Option<Timestamp>,
    /// Backups and what was made of them, with the step before which they were begun.
    copies: BTreeMap<String, usize>,
    /// Numbers below are taken.
    next_number: u64,
}

/// What was seen and what should have been, after each step.
pub type Witness = Vec<(Seen, Ledger)>;

/// A store whose life is written down.
pub struct Life<'a> {
    place: &'a Place,
    disk: SimDisk,
    pub store: Option<Store>,
    pub ledger: Ledger,
    witness: Witness,
}

impl Life<'_> {
    /// Opens a store on a disk; `ledger` is what should be there.
    pub fn begin(place: &Place, disk: SimDisk, ledger: Ledger) -> Result<Life<'_>, Error> {
        place.clock.set(ledger.now());
        let store = Some(Store::open(options(place, &disk))?);
        let mut life = Life { place, disk, store, ledger, witness: Vec::new() };
        life.ledger.cut_off();
        life.write_down()?;
        Ok(life)
    }

    /// Lives through steps; a step that a lying or ending disk refuses ends the life.
    fn live(&mut self, steps: &[Step]) -> Result<(), Error> {
        for step in steps {
            self.take(step)?;
            self.write_down()?;
            self.disk.acknowledge();
        }
        Ok(())
    }

    fn write_down(&mut self) -> Result<(), Error> {
        let seen = Seen::by(self.store.as_ref().expect("is open between steps"))?;
        self.ledger.expire();
        self.witness.push((seen, self.ledger.clone()));
        Ok(())
    }

    pub fn take(&mut self, step: &Step) -> Result<(), Error> {
        let ledger = &mut self.ledger;
        let store = self.store.as_ref().expect("is open between steps");
        match step {
            Step::Registry => {
                let name = format!("cluster-{}", ledger.next_number);
                ledger.next_number += 1;
                let cluster = Cluster { project: PROJECT, name: name.into(), created: NOW };
                let mut changes = match ledger.registry.project(PROJECT) {
                    None => project_changes(),
                    Some(_) => Vec::new(),
                };
                changes.push(RegistryChange::ClusterCreated(cluster));
                store.change_registry(&actor(), changes.clone())?;
                changes.iter().for_each(|change| ledger.registry.apply(change));
            }
            Step::Begin => {
                let id = store.begin_import(start())?;
                ledger.imports.push((id, ImportState::Running));
                ledger.next_seq += 1;
            }
            Step::Import { first, count, is_long, has_more } => {
                let Some(id) = ledger.running() else { return Ok(()) };
                store.import_next_file(&id)?;
                let numbers = *first..first + count;
                let mut batch = ImportBatch {
                    accesses: numbers.clone().map(|n| event(n, *is_long)).collect(),
                    ..ImportBatch::default()
                };
                if *has_more {
                    batch.quarantine.push(unread(*first));
                    batch.coverage.push(gap(*first));
                }
                let counts = store.import(&id, batch)?;
                let kept: Vec<_> = numbers.filter(|n| !ledger.is_too_old(*n)).collect();
                let is_new = |n: &u64| !ledger.events.contains_key(n);
                let new: Vec<_> = kept.iter().copied().filter(is_new).collect();
                assert_eq!(counts.events, new.len() as u64, "{step:?}");
                assert_eq!(counts.duplicates, (kept.len() - new.len()) as u64, "{step:?}");
                ledger.next_seq += new.len() as u64;
                ledger.events.extend(new.into_iter().map(|n| (n, Some(id.clone()))));
                if *has_more {
                    ledger.next_seq += u64::from(!ledger.unread.contains_key(first));
                    ledger.unread.entry(*first).or_insert_with(|| id.clone());
                    ledger.next_seq += u64::from(ledger.gaps.insert((*first, id)));
                }
                ledger.use_numbers(first + count);
            }
            Step::End => {
                let Some(id) = ledger.running() else { return Ok(()) };
                store.end_import(&id, end())?;
                ledger.set_state(&id, ImportState::Complete);
                ledger.next_seq += 1;
            }
            Step::Retract(n) => {
                let Some((id, state)) = ledger.imports.get(*n).cloned() else { return Ok(()) };
                if state == ImportState::Retracted {
                    return Ok(());
                }
                store.retract(&id, &actor())?;
                ledger.set_state(&id, ImportState::Retracted);
                ledger.events.retain(|_, of| of.as_ref() != Some(&id));
                ledger.unread.retain(|_, of| *of != id);
                ledger.gaps.retain(|(_, of)| *of != id);
                ledger.next_seq += 1;
            }
            Step::Ingest { first, count } => {
                let numbers = *first..first + count;
                return self.ingest(Request { numbers, is_named: true, is_long: false });
            }
            Step::IngestBulk { first } => {
                let numbers = *first..first + 20;
                return self.ingest(Request { numbers, is_named: true, is_long: true });
            }
            Step::Ship { count } => {
                // Numbers of their own: under the others they would not be recognised.
                let first = 1_000_000 + ledger.next_seq;
                let numbers = first..first + count;
                return self.ingest(Request { numbers, is_named: false, is_long: false });
            }
            Step::IngestAgain => {
                let Some(request) = ledger.last_request.clone() else { return Ok(()) };
                // What was taken back with an import since may be told again.
                if request.numbers.clone().all(|n| ledger.events.contains_key(&n)) {
                    let lines = store.ingest(request.ingest(ledger.requests - 1))?.lines;
                    let is_known = lines.iter().all(|line| *line == LineResult::Duplicate);
                    assert!(is_known, "was stored before: {lines:?}");
                }
            }
            Step::Advance { first, count, is_long } => {
                if ledger.registry.project(PROJECT).is_none() {
                    return Ok(());
                }
                if ledger.registry.source("a").is_none() {
                    let changes = source_changes();
                    store.change_registry(&actor(), changes.clone())?;
                    changes.iter().for_each(|change| ledger.registry.apply(change));
                    return Ok(());
                }
                let numbers = *first..first + count;
                let accesses = numbers.clone().map(|n| event(n, *is_long)).collect();
                let advance = advance(ledger.advances, ledger.now(), accesses);
                let advanced = store.advance(vec![advance]).pop().expect("an answer")?;
                ledger.advances += 1;
                let kept: Vec<_> = numbers.filter(|n| !ledger.is_too_old(*n)).collect();
                let is_new = |n: &u64| !ledger.events.contains_key(n);
                let new: Vec<_> = kept.iter().copied().filter(is_new).collect();
                assert_eq!(advanced.events, new.len() as u64, "{step:?}");
                assert_eq!(advanced.duplicates, (kept.len() - new.len()) as u64, "{step:?}");
                // And its heartbeat, and the gap that it told.
                ledger.next_seq += new.len() as u64 + 2;
                ledger.events.extend(new.into_iter().map(|n| (n, None)));
                ledger.use_numbers(first + count);
            }
            Step::Commit { count } => {
                let numbers = ledger.next_number..ledger.next_number + count;
                let records = numbers.clone().map(|n| Record::Access(event(n, false))).collect();
                let entry = Entry { scope: scope(), source: "test".into(), records };
                store.commit(vec![entry])?;
                ledger.next_seq += count;
                ledger.use_numbers(numbers.end);
                ledger.events.extend(numbers.map(|n| (n, None)));
            }
            Step::Flush => store.flush()?,
            Step::Maintain => while store.maintain()? != Did::Nothing {},
            Step::Secret(n) => {
                let secret = store.secret(&format!("secret-{n}"))?;
                assert_eq!(*ledger.secrets.entry(*n).or_insert(secret), secret);
            }
            Step::SetClock(seconds) => {
                ledger.clock_seconds = *seconds;
                self.place.clock.set(ledger.now());
                ledger.expire();
            }
            Step::Keep { days } => {
                if ledger.registry.project(PROJECT).is_none() {
                    return Ok(());
                }
                let limits = Limits { keep_days: Some(*days), minimum_days: 0 };
                let set = RetentionSet { scope: scope(), limits, at: ledger.now() };
                let change = RegistryChange::RetentionSet(set);
                store.change_registry(&actor(), vec![change.clone()])?;
                ledger.registry.apply(&change);
            }
            Step::Backup(n) => {
                let name = format!("backup-{n}");
                store.backup(&Path::new("/sim").join(&name))?;
                ledger.copies.insert(name, self.witness.len() - 1);
            }
            Step::Restore(n) => {
                let (from, to) = (format!("backup-{n}"), format!("restored-{n}"));
                let sim = Path::new("/sim");
                restore(&self.disk, &sim.join(&from), &sim.join(&to))?;
                let of = ledger.copies[&from];
                ledger.copies.insert(to, of);
            }
            Step::Reopen => {
                store.close()?;
                self.store = None;
                self.store = Some(Store::open(options(self.place, &self.disk))?);
                self.ledger.cut_off();
            }
        }
        Ok(())
    }

    fn ingest(&mut self, request: Request) -> Result<(), Error> {
        let ledger = &mut self.ledger;
        if ledger.registry.project(PROJECT).is_none() {
            return Ok(());
        }
        let store = self.store.as_ref().expect("is open between steps");
        let lines = store.ingest(request.ingest(ledger.requests))?.lines;
        for (n, line) in request.numbers.clone().zip(lines) {
            let is_new = !ledger.events.contains_key(&n);
            match line {
                LineResult::Stored { seq, .. } => {
                    assert!(is_new, "event {n} was there");
                    assert_eq!(seq, ledger.next_seq, "event {n}");
                    ledger.next_seq += 1;
                    ledger.events.insert(n, None);
                    ledger.shipped.insert(n, seq);
                }
                LineResult::Duplicate => assert!(!is_new, "event {n} was not there"),
                LineResult::Expired => assert!(ledger.is_too_old(n), "event {n} is kept"),
            }
        }
        if request.is_named {
            ledger.use_numbers(request.numbers.end);
        }
        ledger.requests += 1;
        ledger.last_request = Some(request);
        Ok(())
    }
}

impl Ledger {
    /// The import that was begun last, if it runs.
    fn running(&self) -> Option<ImportId> {
        let (id, state) = self.imports.last()?;
        (*state == ImportState::Running).then(|| id.clone())
    }

    fn set_state(&mut self, id: &ImportId, state: ImportState) {
        let of = self.imports.iter_mut().find(|(other, _)| other == id);
        of.expect("was begun").1 = state;
    }

    /// The process that ran the imports is gone.
    fn cut_off(&mut self) {
        for (_, state) in &mut self.imports {
            if *state == ImportState::Running {
                *state = ImportState::Interrupted;
            }
        }
    }

    fn now(&self) -> Timestamp {
        NOW.plus_seconds(self.clock_seconds)
    }

    /// Forgets what is too old by now. Clocks do not go back once something was.
    fn expire(&mut self) {
        let now = self.now();
        let limits = self.registry.retention(&scope()).limits(now);
        if limits.keep_days.is_some() {
            self.start = self.start.max(Some(limits.start(now)));
        }
        let old: Vec<_> = self.events.keys().copied().filter(|n| self.is_too_old(*n)).collect();
        for n in old {
            self.events.remove(&n);
        }
    }

    fn is_too_old(&self, n: u64) -> bool {
        self.start.is_some_and(|start| event(n, false).event_time < start)
    }

    fn use_numbers(&mut self, end: u64) {
        self.next_number = self.next_number.max(end);
    }

    /// Fails where the store answers anything else.
    pub fn compare(&self, seen: &Seen) -> Result<(), String> {
        let mut events = BTreeMap::new();
        let mut unread = BTreeSet::new();
        let mut seqs = BTreeSet::new();
        for row in seen.rows.iter() {
            if !seqs.insert((row.log, row.seq)) {
                return Err(format!("two rows have {:?}, {}", row.log, row.seq));
            }
            match &row.record {
                Record::Access(access) => {
                    let n = number_of(access).ok_or("an event without a number")?;
                    if events.insert(n, row.seq).is_some() {
                        return Err(format!("event {n} is there twice"));
                    }
                }
                Record::Quarantine(bytes) => {
                    unread.insert(bytes.place.line);
                }
                _ => {}
            }
        }
        let same = |what: &str, is_same: bool| match is_same {
            true => Ok(()),
            false => Err(format!("other {what} than in {self:?}: {events:?}, {unread:?}")),
        };
        same("events", events.keys().eq(self.events.keys()))?;
        same("seqs", self.shipped.iter().all(|(n, seq)| events.get(n).is_none_or(|s| s == seq)))?;
        same("quarantine", unread.iter().eq(self.unread.keys()))?;
        let gaps = seen.catalog.coverage.get(&scope()).into_iter().flatten();
        let gaps: Vec<_> = gaps.map(|gap| gap.from).collect();
        let expected: BTreeSet<_> = self.gaps.iter().map(|(n, _)| gap(*n).from).collect();
        same("gaps", gaps.into_iter().eq(expected))?;
        same("registry", seen.catalog.registry == self.registry)?;
        let position = seen.watched.sources.get("a").map(|progress| progress.position.clone());
        same("position", position.unwrap_or_default() == position_after(self.advances))?;
        let states = seen.catalog.imports.iter().map(|(id, (_, receipt))| (id, receipt.state));
        let expected: BTreeMap<_, _> = self.imports.iter().map(|(id, s)| (id, *s)).collect();
        same("imports", states.eq(expected))?;
        let project = seen.rows.iter().find(|row| matches!(row.record, Record::Access(_)));
        let next = project.map(|row| (row.log.0, self.next_seq));
        same("number of records", next.is_none_or(|next| seen.next.contains(&next)))
    }
}

impl Seen {
    pub fn by(store: &Store) -> Result<Seen, Error> {
        let mut next = BTreeSet::new();
        let mut rows = Vec::new();
        for scope in [Scope::System, scope()] {
            for kind in [Kind::Access, Kind::Quarantine] {
                let filter = Filter { kind, ..Filter::all(scope.clone(), usize::MAX) };
                let page = store.select(&filter)?;
                assert_eq!(page.total, page.rows.len() as u64);
                let as_of: AsOf = page.as_of;
                next.extend(as_of.into_iter().map(|(log, seq)| (log.0, seq)));
                rows.extend(page.rows);
            }
        }
        let catalog = Catalog::clone(&store.catalog());
        let watched = Watched::clone(&store.watched());
        Ok(Seen { catalog, watched, next, rows })
    }

    /// As a later process sees it.
    fn after_restart(mut self) -> Seen {
        for (_, receipt) in self.catalog.imports.values_mut() {
            if receipt.state == ImportState::Running {
                receipt.state = ImportState::Interrupted;
            }
        }
        self
    }
}

/// Opens a store on what a cut left, and compares. Returns how many steps of the life it found, what
/// it saw, and every instant of the recovery itself.
fn recover(
    place: &Place,
    witness: &Witness,
    acknowledged: usize,
    left: Image,
) -> Result<(usize, Seen, Vec<Instant>), String> {
    let disk = SimDisk::from(left).recording();
    place.clock.set(witness[acknowledged].1.now());
    let store = Store::open(options(place, &disk)).map_err(|e| format!("does not open: {e}"))?;
    let seen = Seen::by(&store).map_err(|e| format!("does not answer: {e}"))?;
    for (n, secret) in witness.get(acknowledged).iter().flat_map(|(_, l)| &l.secrets) {
        let found = store.secret(&format!("secret-{n}")).map_err(|e| e.to_string())?;
        if found != *secret {
            return Err(format!("secret {n} is another one"));
        }
    }
    // Reading every row again takes longer than all the rest.
    let depth = if acknowledged.is_multiple_of(4) { Depth::Rows } else { Depth::Checksums };
    let report = store.verify(depth).map_err(|e| format!("does not verify: {e}"))?;
    if !report.is_sound() {
        return Err(format!("verify finds {:?}", report.damages));
    }
    if acknowledged % 4 == 1 {
        // What the life left undone is done now, and changes no answer.
        let maintained = std::iter::from_fn(|| match store.maintain() {
            Ok(Did::Nothing) => None,
            did => Some(did.map(drop)),
        });
        let maintained: Result<(), Error> = maintained.take(100).collect();
        maintained.map_err(|error| format!("cannot be maintained: {error}"))?;
        if Seen::by(&store).map_err(|e| e.to_string())? != seen {
            return Err("maintenance changes what is seen".into());
        }
        if store.sync_table().map_err(|e| format!("the table: {e}"))? {
            return Err("maintenance leaves the table behind".into());
        }
        let report = store.verify(Depth::Rows).map_err(|e| e.to_string())?;
        if !report.is_sound() {
            return Err(format!("after maintenance verify finds {:?}", report.damages));
        }
    }
    drop(store);
    let allowed = witness.iter().enumerate().skip(acknowledged).take(2);
    let mut found = None;
    for (n, (expected, ledger)) in allowed {
        if expected.clone().after_restart() == seen {
            let mut ledger = ledger.clone();
            ledger.cut_off();
            ledger.compare(&seen)?;
            // Of two steps that cannot be told apart, the second may not have happened.
            found = Some(n);
            break;
        }
    }
    let found = found.ok_or_else(|| {
        let expected = witness.get(acknowledged).map(|(seen, _)| seen.summary());
        format!("found {}, not {:?} or one step more", seen.summary(), expected)
    })?;
    let instants = disk.instants();
    check_copies(place, &disk, witness, acknowledged)?;
    Ok((found, seen, instants))
}

/// Every copy that is one is whole, and those that were acknowledged are there.
fn check_copies(
    place: &Place,
    disk: &SimDisk,
    witness: &Witness,
    acknowledged: usize,
) -> Result<(), String> {
    let sim = Path::new("/sim");
    let copies = &witness[acknowledged].1.copies;
    let names = disk.list(sim).map_err(|e| e.to_string())?;
    let names = names.iter().filter(|name| name.starts_with("backup-") || name.starts_with("rest"));
    let mut there = BTreeSet::new();
    for name in names {
        let dir = sim.join(name);
        if !disk.list(&dir).map_err(|e| e.to_string())?.iter().any(|name| name == "FORMAT") {
            continue;
        }
        there.insert(name);
        let backup = name.replace("restored", "backup");
        let of = copies.get(&backup).copied().unwrap_or(acknowledged);
        let options = Options { data_dir: dir, ..options(place, disk) };
        let store = Store::open(options).map_err(|e| format!("{name} does not open: {e}"))?;
        let report = store.verify(Depth::Rows).map_err(|e| e.to_string())?;
        let seen = Seen::by(&store).map_err(|e| format!("{name} does not answer: {e}"))?;
        if !report.is_sound() || seen != witness[of].0.clone().after_restart() {
            return Err(format!("{name} is not whole: {:?}, {}", report.damages, seen.summary()));
        }
    }
    match copies.keys().find(|name| !there.contains(name)) {
        Some(lost) => Err(format!("{lost} is gone")),
        None => Ok(()),
    }
}

impl Seen {
    fn summary(&self) -> String {
        let imports = self.catalog.imports.len();
        format!("{} rows, {imports} imports, next seqs {:?}", self.rows.len(), self.next)
    }
}

/// Whether every cut of a life is survived, twice in a row; else what the first one lost. What two
/// cuts leave alike is opened once.
fn check_cuts(place: &Place, witness: &Witness, instants: &[Instant]) -> Result<usize, String> {
    let mut checked = BTreeSet::new();
    let mut draw = Draw(7);
    for (at, cut) in instants.iter().enumerate() {
        let drawn: Vec<_> = (0..6).map(|_| Landing::Random(draw.next())).collect();
        for landing in Landing::CORNERS.into_iter().chain(drawn) {
            let left = cut.image.after_power_cut(landing);
            if !checked.insert((cut.acknowledged, left.fingerprint())) {
                continue;
            }
            let named = |what: String| {
                let Instant { next, acknowledged, .. } = cut;
                let left = left.paths();
                format!(
                    "cut at change {at} before {next:?}, after step {acknowledged}, {landing:?}: \
                     {what}\nleft: {left:?}"
                )
            };
            let (found, seen, recovery) =
                recover(place, witness, cut.acknowledged, left.clone()).map_err(named)?;
            // The power goes again, while it recovers or right after.
            let again = draw.below(recovery.len() as u64) as usize;
            let second = Landing::Random(draw.next());
            let is_visible = again + 1 == recovery.len();
            if !is_visible && recovery[again].image.fingerprint() == left.fingerprint() {
                continue;
            }
            let left_again = recovery[again].image.after_power_cut(second);
            let again_recovered = recover(place, witness, cut.acknowledged, left_again);
            let (found_again, seen_again, _) = again_recovered
                .map_err(|what| named(format!("{second:?} at {again} of recovery: {what}")))?;
            if is_visible && (found, &seen) != (found_again, &seen_again) {
                return Err(named(format!("{second:?}: it was visible and is gone")));
            }
        }
    }
    Ok(checked.len())
}

/// Goal: no power cut at any instant loses, halves or doubles anything. Method: one life with every
/// kind of step is lived once; then the power is cut before each change of the disk, with each way
/// in which the changes that were not synced may land that has a name, and six that are drawn; and
/// once more while the store recovers.
#[test]
fn a_power_cut_at_any_instant_loses_nothing() {
    let place = place();
    let (witness, instants) = lived(&place, SimDisk::new(), &script()).expect("a sound disk");
    for (seen, ledger) in &witness {
        ledger.compare(seen).expect("the running store tells what the ledger tells");
    }
    assert!(instants.len() > 150, "the life has become too short: {}", instants.len());
    let merges = |instant: &Instant| instant.next.starts_with("remove /sim/srv/data/segments/");
    assert!(instants.iter().any(merges), "no segments were merged");
    let cuts = check_cuts(&place, &witness, &instants).unwrap_or_else(|lost| panic!("{lost}"));
    println!("{cuts} power cuts at {} instants", instants.len());
}

/// Goal: nor does one after a process was killed, or was stopped because a sync had failed: what the
/// next process shows, it has made durable. Method: the same life is ended before each change of the
/// disk, and at each sync of a file also so that the kernel has forgotten what it did not write; a
/// store is opened on what is seen then, and after it the power is cut.
#[test]
fn what_is_shown_after_a_kill_or_a_failed_sync_outlasts_a_power_cut() {
    let mut stops = 0;
    for script in [script(), ageing_script(), copying_script()] {
        let place = place();
        let (witness, instants) = lived(&place, SimDisk::new(), &script).expect("a sound disk");
        for (at, Instant { image, acknowledged, next }) in instants.iter().enumerate() {
            let forgotten = next.strip_prefix("sync /").map(|path| Path::new("/").join(path));
            let forgotten = forgotten.map(|path| image.after_failed_sync(&path).expect("is there"));
            for left in [Some(image.clone()), forgotten].into_iter().flatten() {
                let lost = check_stop(&place, &witness, *acknowledged, left);
                lost.unwrap_or_else(|what| {
                    panic!("ended at {at} before {next:?}, after step {acknowledged}: {what}")
                });
                stops += 1;
            }
        }
    }
    println!("{stops} ends of a process before a power cut");
}

fn check_stop(
    place: &Place,
    witness: &Witness,
    acknowledged: usize,
    left: Image,
) -> Result<(), String> {
    let (found, seen, instants) = recover(place, witness, acknowledged, left)?;
    let end = instants.last().expect("the end of the recovery");
    let left = end.image.after_power_cut(Landing::Nothing);
    let (found_again, seen_again, _) = recover(place, witness, acknowledged, left)
        .map_err(|what| format!("then the power is cut: {what}"))?;
    match (found, &seen) == (found_again, &seen_again) {
        true => Ok(()),
        false => Err("it was visible and is gone after a power cut".into()),
    }
}

/// Goal: the same for what retention removes and announces. Method: the power is cut in a life of
/// three weeks of which ten days are kept; whole segments go, and one is written anew.
#[test]
fn a_power_cut_while_old_rows_are_removed_loses_nothing_else() {
    let place = place();
    let (witness, instants) =
        lived(&place, SimDisk::new(), &ageing_script()).expect("a sound disk");
    for (seen, ledger) in &witness {
        ledger.compare(seen).expect("the running store tells what the ledger tells");
    }
    let cuts = check_cuts(&place, &witness, &instants).unwrap_or_else(|lost| panic!("{lost}"));
    println!("{cuts} power cuts at {} instants", instants.len());
}

/// Goal: a backup, and a directory made from one, is whole or none, and stays when it was
/// acknowledged. Method: the power is cut in a life that backs itself up and is restored.
#[test]
fn a_power_cut_leaves_whole_backups() {
    let place = place();
    let (witness, instants) =
        lived(&place, SimDisk::new(), &copying_script()).expect("a sound disk");
    let links = |instant: &Instant| instant.next.starts_with("link ");
    assert!(instants.iter().any(links), "nothing was linked");
    let cuts = check_cuts(&place, &witness, &instants).unwrap_or_else(|lost| panic!("{lost}"));
    println!("{cuts} power cuts at {} instants", instants.len());
}

/// Goal: the test above can fail. Method: on disks that do not do one kind of sync, each of which
/// the store's promises rest on, it must.
#[test]
fn each_sync_that_is_left_out_is_found_out() {
    let lies: [(&str, Lie); 14] = [
        ("every sync of a file", |is_file, _| is_file),
        ("every sync of a directory", |is_file, _| !is_file),
        ("syncs of the WAL", |is_file, path| is_file && is_in(path, "wal")),
        ("syncs of segments", |is_file, path| is_file && is_in(path, "segments")),
        ("syncs of snapshots", |is_file, path| is_file && is_in(path, "catalog")),
        ("syncs of the WAL's names", |is_file, path| !is_file && path.ends_with("wal")),
        ("syncs of segments' names", |is_file, path| !is_file && path.ends_with("segments")),
        ("syncs of snapshots' names", |is_file, path| !is_file && path.ends_with("catalog")),
        ("syncs of secrets", |is_file, path| is_file && is_in(path, "secret")),
        ("syncs of secrets' names", |is_file, path| !is_file && path.ends_with("secret")),
        ("the sync of FORMAT", |is_file, path| is_file && path.ends_with("FORMAT.new")),
        ("the sync of the data directory's name", |is_file, path| {
            !is_file && path.ends_with("srv")
        }),
        ("the sync of the name above", |is_file, path| !is_file && path.ends_with("sim")),
        ("syncs of the data directory's names", |is_file, path| !is_file && path.ends_with("data")),
    ];
    for (what, lie) in lies {
        let place = place();
        let disk = SimDisk::new().lying(lie);
        let (witness, instants) = lived(&place, disk, &script()).expect("nothing is cut yet");
        let lost = check_cuts(&place, &witness, &instants);
        println!("without {what}: {}", lost.as_ref().err().map_or("", |lost| lost));
        assert!(lost.is_err(), "without {what} nothing was lost: the simulation is too kind");
    }
}

fn is_in(path: &Path, dir: &str) -> bool {
    path.parent().is_some_and(|parent| parent.ends_with(dir))
}

/// Lives a life on a disk to its end.
fn lived(place: &Place, disk: SimDisk, steps: &[Step]) -> Result<(Witness, Vec<Instant>), Error> {
    let disk = disk.recording();
    let mut life = Life::begin(place, disk.clone(), Ledger::default())?;
    life.live(steps)?;
    let witness = std::mem::take(&mut life.witness);
    drop(life);
    Ok((witness, disk.instants()))
}

/// A life with every kind of step and several flushes.
pub fn script() -> Vec<Step> {
    let import = |first, count| Step::Import { first, count, is_long: false, has_more: false };
    let mut steps = vec![
        Step::Registry,
        Step::Secret(1),
        Step::Begin,
        import(0, 3),
        Step::Import { first: 2, count: 4, is_long: false, has_more: true },
        Step::End,
        Step::Ingest { first: 4, count: 5 },
        Step::IngestAgain,
        Step::SetClock(-3600),
        Step::Begin,
        Step::Import { first: 5, count: 20, is_long: true, has_more: true },
        Step::Commit { count: 2 },
        Step::Ship { count: 3 },
        Step::Flush,
        Step::IngestAgain,
        Step::Reopen,
        Step::IngestAgain,
        Step::Begin,
        import(20, 8),
        Step::Retract(1),
        import(10, 6),
        Step::IngestAgain,
        Step::Registry,
        Step::Ingest { first: 40, count: 6 },
        Step::Retract(2),
        Step::Begin,
        import(0, 12),
        Step::End,
        Step::Commit { count: 6 },
        Step::Ingest { first: 30, count: 20 },
        Step::Begin,
        Step::Import { first: 60, count: 20, is_long: true, has_more: false },
        Step::End,
        Step::Commit { count: 5 },
        Step::Registry,
        Step::Secret(2),
        Step::Advance { first: 0, count: 1, is_long: false },
        Step::Advance { first: 64, count: 4, is_long: false },
        Step::IngestBulk { first: 45 },
        Step::Advance { first: 66, count: 20, is_long: true },
        Step::Commit { count: 9 },
        Step::Maintain,
        Step::Ingest { first: 58, count: 4 },
        Step::Ship { count: 6 },
        Step::Maintain,
        Step::IngestAgain,
    ];
    // As many small segments as are merged into one.
    for _ in 0..6 {
        steps.extend([Step::Commit { count: 1 }, Step::Flush]);
    }
    steps.extend([Step::Maintain, Step::IngestAgain, Step::Reopen, Step::Maintain]);
    steps
}

const DAY: i64 = 86_400;

/// Events are numbered by seconds, so that number 700,000 is of the ninth day.
fn ageing_script() -> Vec<Step> {
    let mut steps = vec![
        Step::Registry,
        Step::Begin,
        Step::Import { first: 0, count: 3, is_long: false, has_more: false },
        Step::End,
        Step::Ingest { first: 4, count: 5 },
        Step::Flush,
        Step::IngestBulk { first: 5 },
        // Old and young in one segment.
        Step::Ingest { first: 30, count: 3 },
        Step::Keep { days: 10 },
        Step::Ingest { first: 700_000, count: 3 },
        Step::Flush,
        Step::SetClock(15 * DAY),
        Step::Maintain,
        Step::Ingest { first: 3, count: 3 },
        Step::Begin,
        Step::Import { first: 8, count: 2, is_long: false, has_more: false },
        Step::Import { first: 700_001, count: 4, is_long: false, has_more: false },
        Step::SetClock(16 * DAY),
        Step::Maintain,
        Step::IngestAgain,
        Step::End,
        Step::Commit { count: 2 },
    ];
    for day in 18..21 {
        steps.extend([Step::SetClock(day * DAY), Step::Maintain, Step::Commit { count: 1 }]);
    }
    steps.extend([Step::Flush, Step::Reopen, Step::SetClock(23 * DAY), Step::Maintain]);
    steps
}

fn copying_script() -> Vec<Step> {
    vec![
        Step::Registry,
        Step::Secret(1),
        Step::Begin,
        Step::Import { first: 0, count: 20, is_long: true, has_more: true },
        Step::End,
        Step::Flush,
        Step::Commit { count: 3 },
        Step::Backup(1),
        Step::Ingest { first: 10, count: 20 },
        Step::Restore(1),
        Step::Retract(0),
        Step::Backup(2),
    ]
}

proptest! {
    // The seed is all there is to keep, and a smaller one is no simpler.
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Goal: several lives on one disk, each ended by a power cut, are one history. Method: random
    /// steps; a random instant and landing; what was found is where the next life begins. What had
    /// been shipped before the cut is shipped again, under the same names, and is not doubled.
    #[test]
    fn lives_between_power_cuts_are_one_history(seed in any::<u64>()) {
        let place = place();
        let mut draw = Draw(seed);
        let mut disk = SimDisk::new();
        let mut ledger = Ledger::default();
        for life in 0..4 {
            let named = |what: String| format!("seed {seed}, life {life}: {what}");
            let mut lived = Life::begin(&place, disk.recording(), ledger.clone())
                .map_err(|error| TestCaseError::fail(named(error.to_string())))?;
            lived.live(&drawn_steps(&mut draw, ledger.next_number)).expect("a sound disk");
            let (witness, disk_now) = (std::mem::take(&mut lived.witness), lived.disk.clone());
            drop(lived);
            for (seen, ledger) in &witness {
                ledger.compare(seen).map_err(|what| TestCaseError::fail(named(what)))?;
            }
            let instants = disk_now.instants();
            // Not before the first step: what is there then is what the last life left.
            let begun = instants.iter().position(|instant| instant.acknowledged > 0);
            let begun = begun.unwrap_or(instants.len() - 1);
            let mut next: Option<(Ledger, Image)> = None;
            for _ in 0..3 {
                let at = begun + draw.below((instants.len() - begun) as u64) as usize;
                let landing = Landing::Random(draw.next());
                let Instant { image, acknowledged, .. } = &instants[at];
                let left = image.after_power_cut(landing);
                let (found, _, recovery) = recover(&place, &witness, *acknowledged, left)
                    .map_err(|what| TestCaseError::fail(named(format!("{at}, {landing:?}: {what}"))))?;
                let end = recovery.last().expect("the end of the recovery");
                next = Some((witness[found].1.clone(), end.image.after_power_cut(Landing::Nothing)));
            }
            let (found, image) = next.expect("three cuts");
            ledger = found;
            disk = SimDisk::from(image);
        }
    }
}

/// Goal: what several writers were told at the same time, while rows move to segments behind them, is
/// there after a power cut. Method: threads send requests until the power goes after a number of
/// changes of the disk; each answered request is there once, and the others whole or not at all.
#[test]
fn writers_side_by_side_keep_what_they_were_told() {
    for seed in 0..cases() {
        let place = place();
        let mut draw = Draw(seed.into());
        let disk = SimDisk::new().off_after(30 + draw.below(600) as usize);
        let options = Options {
            background: true,
            wait_max: std::time::Duration::from_millis(200),
            ..options(&place, &disk)
        };
        let store = Store::open(options).expect("has power");
        let told = Mutex::new(BTreeMap::new());
        if store.change_registry(&actor(), project_changes()).is_ok() {
            std::thread::scope(|scope| {
                for writer in 0..4 {
                    let (store, told) = (&store, &told);
                    scope.spawn(move || ship_until_dark(store, writer, told));
                }
            });
        }
        drop(store);
        let landing = Landing::Random(draw.next());
        let left = SimDisk::from(disk.image().after_power_cut(landing));
        let what = format!("seed {seed}, {} changes, {landing:?}", disk.changes());
        let store = Store::open(self::options(&place, &left)).expect(&what);
        let report = store.verify(Depth::Rows).expect(&what);
        assert!(report.is_sound(), "{what}: {:?}", report.damages);
        let mut found: BTreeMap<u64, usize> = BTreeMap::new();
        for row in Seen::by(&store).expect(&what).rows {
            if let Record::Access(access) = &row.record {
                *found.entry(number_of(access).expect("a number")).or_default() += 1;
            }
        }
        for (first, (count, is_answered)) in told.into_inner().expect("no writer panicked") {
            let there: Vec<_> =
                (first..first + count).map(|n| found.remove(&n).unwrap_or(0)).collect();
            let is_whole = there.iter().all(|times| *times == 1);
            let is_absent = !is_answered && there.iter().all(|times| *times == 0);
            assert!(is_whole || is_absent, "{what}: {first}, answered {is_answered}: {there:?}");
        }
        assert!(found.is_empty(), "{what}: nobody sent {found:?}");
    }
}

/// Sends requests, each with its own numbers, until one is refused for another reason than being
/// busy.
fn ship_until_dark(store: &Store, writer: u64, told: &Mutex<BTreeMap<u64, (u64, bool)>>) {
    for n in 0.. {
        let (first, count) = (writer * 1_000_000 + n * 100, 1 + (n * 7 + writer) % 30);
        let request =
            Request { numbers: first..first + count, is_named: n % 2 == 0, is_long: false };
        let answer = store.ingest(request.ingest(first));
        let mut told = told.lock().expect("no writer panics");
        told.insert(first, (count, answer.is_ok()));
        if answer.is_err_and(|error| error.kind != ErrorKind::Busy) {
            break;
        }
    }
}

/// Random lives in CI; more with `DOORBOOK_TEST_LIVES`.
fn cases() -> u32 {
    let more = std::env::var("DOORBOOK_TEST_LIVES").ok();
    more.and_then(|number| number.parse().ok()).unwrap_or(20)
}

fn drawn_steps(draw: &mut Draw, from: u64) -> Vec<Step> {
    // The last life's last request, whether it was answered or not.
    let mut steps = vec![Step::Registry, Step::IngestAgain];
    let mut end = from + 1;
    for _ in 0..10 + draw.below(10) {
        let (first, count) = (draw.below(end + 4), 1 + draw.below(8));
        let is_long = draw.below(3) == 0;
        let count = if is_long { 20 } else { count };
        let step = match draw.below(16) {
            0 => Step::Registry,
            1 | 2 => Step::Begin,
            3..=5 => Step::Import { first, count, is_long, has_more: draw.coin() },
            6 => Step::End,
            7 => Step::Retract(draw.below(6) as usize),
            8 if is_long => Step::IngestBulk { first },
            8 => Step::Ingest { first, count },
            14 | 15 => Step::Advance { first, count, is_long },
            9 => Step::IngestAgain,
            10 => Step::Commit { count },
            11 => Step::Ship { count },
            12 => Step::Maintain,
            _ => match draw.below(4) {
                0 => Step::Secret(draw.below(3) as u8),
                1 => Step::Flush,
                2 => Step::SetClock(draw.below(7200) as i64 - 3600),
                _ => Step::Reopen,
            },
        };
        end = end.max(first + count);
        steps.push(step);
    }
    steps
}

/// A host, and a source of its log.
fn source_changes() -> Vec<RegistryChange> {
    let (cluster, name) = ("orders".into(), source().host().expect("of a host").clone());
    let host = Host { project: PROJECT, cluster, name, aliases: Vec::new() };
    vec![RegistryChange::HostAdded(host), RegistryChange::SourceSet(source())]
}

fn source() -> Source {
    Source {
        name: "a".into(),
        kind: SourceKind::MongodLog,
        subject: Subject::Host {
            project: PROJECT,
            cluster: "orders".into(),
            host: HostName::parse("db-1").expect("a host").0,
        },
        interval_seconds: None,
        path: "/var/log/mongod.log".into(),
        zone: "UTC".into(),
        paused: false,
        agent: None,
        rules: Vec::new(),
    }
}

fn position_after(advances: u64) -> Vec<u8> {
    match advances {
        0 => Vec::new(),
        n => n.to_string().into_bytes(),
    }
}

fn advance(before: u64, now: Timestamp, accesses: Vec<Access>) -> Advance {
    let source = source();
    let heartbeat = Heartbeat {
        source: source.name.clone(),
        target: source.target(),
        at: now,
        through: Some(now),
        lines: 1,
        events: 1,
        behind_bytes: 0,
        delay_micros: None,
        clock: ClockState::default(),
    };
    Advance {
        after: position_after(before),
        position: position_after(before + 1),
        is_next_file: true,
        lines: accesses.len() as u64,
        doubt: None,
        accesses,
        coverage: vec![Coverage { source: Some(source.name.clone()), ..gap(before) }],
        quarantine: Vec::new(),
        heartbeat: Some(heartbeat),
        through: Some(now),
        since: Some(NOW),
        source,
    }
}

pub fn place() -> Place {
    Place::with_memtable(MEMTABLE_SIZE_BYTES)
}

pub fn options(place: &Place, disk: &SimDisk) -> Options {
    Options { data_dir: PathBuf::from("/sim/srv/data"), ..place.options_on(Arc::new(disk.clone())) }
}

/// Event number `n`: the same one however long its line is.
fn event(n: u64, is_long: bool) -> Access {
    let mut access = login(i64::try_from(n).expect("few events"));
    if is_long {
        access.raw.resize(200, b' ');
    }
    access
}

fn unread(n: u64) -> Quarantine {
    let mut sha256 = [0; 32];
    sha256[..8].copy_from_slice(&n.to_le_bytes());
    let place = doorbook_event::record::Place { line: n, ..Default::default() };
    let bytes = format!("unread {n}").into_bytes();
    let length_bytes = bytes.len() as u64;
    let target = login(0).target;
    Quarantine { target, reason: "test".into(), place, bytes, length_bytes, sha256 }
}

fn gap(n: u64) -> Coverage {
    let from = NOW.plus_seconds(i64::try_from(n).expect("few gaps"));
    Coverage {
        target: login(0).target,
        actions: vec![Action::Authenticate],
        hidden: Hidden::All,
        cause: "test".into(),
        actor: None,
        from,
        to: None,
        last_seen: from,
        source: None,
        grade: Grade::Blind,
        missing: None,
    }
}

/// What a shipper sends.
#[derive(Clone, Debug)]
struct Request {
    numbers: Range<u64>,
    /// Whether its lines are long enough for a file of their own.
    is_long: bool,
    /// Whether its events can be recognised one by one.
    is_named: bool,
}

impl Request {
    /// As the `n`-th request: sent again, it has the same key.
    fn ingest(&self, n: u64) -> Ingest {
        let key = Some(format!("request {n}, {:?}", self.numbers).into());
        let line = |n| {
            let mut event = event(n, self.is_long);
            if !self.is_named {
                event.connection = None;
                event.attributes.insert(NUMBER.into(), n.to_string().into());
            }
            IngestLine::Event(Box::new(event))
        };
        let lines = self.numbers.clone().map(line).collect();
        Ingest { scope: scope(), source: "shipper".into(), key, lines }
    }
}

/// The attribute that numbers an event which has no columns to be recognised by.
const NUMBER: &str = "number";

fn number_of(access: &Access) -> Option<u64> {
    let number = || access.attributes.get(NUMBER).and_then(|number| number.parse().ok());
    access.connection.or_else(number)
}

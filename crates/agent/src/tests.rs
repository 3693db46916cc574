//! Goal: every line is in the history once, whatever ends, fills up or gets lost on the way. Method: a spool on
//! a disk in memory that tears and forgets, the shipper that is shipped, and a server that loses answers;
//! the log is a row of numbers, so that what is missing or doubled has a name. Below: the reader over
//! real files.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use doorbook_event::advance::{Advance, Advanced};
use doorbook_event::record::{ClockState, Grade};
use doorbook_event::shipment::{self, Answer, Order, Orders, Receipt, Shipment};
use doorbook_event::source::{Source, SourceKind, State, Subject};
use doorbook_event::time::{CountingRandom, ManualClock};
use doorbook_event::{Clock, HostName, ProjectId, Text, Timestamp};
use doorbook_source::following::Place;
use proptest::prelude::*;

use crate::allowed::Allowed;
use crate::reader::{self, Reader};
use crate::shared::{Shared, Task};
use crate::shipper::{Failure, Pause, Server, Shipper, Tools};
use crate::spool::Spool;
use crate::spool::folder::Folder;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

pub fn source(name: &str) -> Source {
    Source {
        name: name.into(),
        kind: SourceKind::MongodLog,
        subject: Subject::Host {
            project: ProjectId::new([1; 12]),
            cluster: "c".into(),
            host: HostName::parse(name).expect("a host").0,
        },
        interval_seconds: None,
        path: "/var/log/mongodb/mongod.log".into(),
        zone: "UTC".into(),
        paused: false,
        agent: Some("edge-1".into()),
        rules: Vec::new(),
    }
}

pub fn place(n: u64) -> Place {
    let position = if n == 0 { Vec::new() } else { n.to_be_bytes().to_vec() };
    Place { position, through: None }
}

pub fn number(position: &[u8]) -> u64 {
    position.try_into().map_or(0, u64::from_be_bytes)
}

/// The lines after the first of these up to the second.
pub fn advance(name: &str, after: u64, to: u64) -> Advance {
    Advance {
        source: source(name),
        after: place(after).position,
        position: place(to).position,
        is_next_file: false,
        accesses: Vec::new(),
        coverage: Vec::new(),
        quarantine: Vec::new(),
        heartbeat: None,
        through: None,
        since: None,
        lines: to - after,
        doubt: None,
    }
}

/// A disk that forgets what was not synced.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Disk>>);

#[derive(Clone, Default)]
struct Disk {
    files: BTreeMap<String, Kept>,
    /// Files that were removed, and may be there again after a power cut.
    ghosts: BTreeMap<String, Vec<u8>>,
    room_bytes: Option<u64>,
    syncs_fail: bool,
}

#[derive(Clone, Default)]
struct Kept {
    bytes: Vec<u8>,
    durable_bytes: usize,
    has_durable_name: bool,
}

impl MemoryDisk {
    pub fn set_room(&self, room_bytes: Option<u64>) {
        self.0.lock().expect("not poisoned").room_bytes = room_bytes;
    }

    fn set_syncs_fail(&self, fail: bool) {
        self.0.lock().expect("not poisoned").syncs_fail = fail;
    }

    /// All files together cannot become larger than that, or than they are.
    fn set_capacity(&self, size_bytes: u64) {
        let mut disk = self.0.lock().expect("not poisoned");
        let used_bytes: usize = disk.files.values().map(|file| file.bytes.len()).sum();
        disk.room_bytes = Some(size_bytes.saturating_sub(used_bytes as u64));
    }

    pub fn clone_as_it_is(&self) -> MemoryDisk {
        let mut disk = self.0.lock().expect("not poisoned").clone();
        (disk.room_bytes, disk.syncs_fail) = (None, false);
        MemoryDisk(Arc::new(Mutex::new(disk)))
    }

    pub fn damage(&self, name: &str, damage: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.0.lock().expect("not poisoned");
        let file = disk.files.get_mut(name).expect("is there");
        damage(&mut file.bytes);
        file.durable_bytes = file.durable_bytes.min(file.bytes.len());
    }

    /// The machine loses its power: of what was not synced a part is there, or nothing.
    fn power_cut(&self, chance: u8) {
        let mut disk = self.0.lock().expect("not poisoned");
        let ghosts = std::mem::take(&mut disk.ghosts);
        let files = std::mem::take(&mut disk.files);
        for (name, mut file) in files {
            if !file.has_durable_name && chance & 1 == 0 {
                continue;
            }
            let rest = file.bytes.len() - file.durable_bytes;
            file.bytes.truncate(file.durable_bytes + rest * usize::from(chance) / 255);
            file.durable_bytes = file.bytes.len();
            file.has_durable_name = true;
            disk.files.insert(name, file);
        }
        if chance & 2 == 0 {
            for (name, bytes) in ghosts {
                let durable_bytes = bytes.len();
                let file = Kept { bytes, durable_bytes, has_durable_name: true };
                disk.files.entry(name).or_insert(file);
            }
        }
    }
}

impl Folder for MemoryDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().expect("not poisoned").files.keys().cloned().collect())
    }

    fn read(&self, name: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let disk = self.0.lock().expect("not poisoned");
        let file = disk.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        let from = (offset as usize).min(file.bytes.len());
        let to = from + length.min((file.bytes.len() - from) as u64) as usize;
        Ok(file.bytes[from..to].to_vec())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock().expect("not poisoned");
        let room_bytes = disk.room_bytes.unwrap_or(u64::MAX);
        let fits = bytes.len().min(room_bytes as usize);
        let file = disk.files.entry(name.to_owned()).or_default();
        file.bytes.extend_from_slice(&bytes[..fits]);
        if let Some(room_bytes) = &mut disk.room_bytes {
            *room_bytes -= fits as u64;
        }
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut disk = self.0.lock().expect("not poisoned");
        if disk.syncs_fail {
            return Err(io::Error::other("an error of the device"));
        }
        disk.ghosts.clear();
        disk.files.values_mut().for_each(|file| file.has_durable_name = true);
        let file = disk.files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        file.durable_bytes = file.bytes.len();
        Ok(())
    }

    fn cut(&mut self, name: &str, size_bytes: u64) -> io::Result<()> {
        let mut disk = self.0.lock().expect("not poisoned");
        let disk = &mut *disk;
        if disk.syncs_fail {
            return Err(io::Error::other("an error of the device"));
        }
        let file = disk.files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        if let Some(room_bytes) = &mut disk.room_bytes {
            *room_bytes += file.bytes.len() as u64 - size_bytes;
        }
        file.bytes.truncate(size_bytes as usize);
        file.durable_bytes = file.bytes.len();
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut disk = self.0.lock().expect("not poisoned");
        let file = disk.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        if let Some(room_bytes) = &mut disk.room_bytes {
            *room_bytes += file.bytes.len() as u64;
        }
        if file.has_durable_name {
            disk.ghosts.insert(name.to_owned(), file.bytes[..file.durable_bytes].to_vec());
        }
        Ok(())
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock().expect("not poisoned");
        if disk.syncs_fail || disk.room_bytes.is_some_and(|room| room < bytes.len() as u64) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if let Some(room_bytes) = &mut disk.room_bytes {
            *room_bytes -= bytes.len() as u64;
        }
        let durable_bytes = bytes.len();
        let file = Kept { bytes: bytes.to_vec(), durable_bytes, has_durable_name: true };
        let before = disk.files.insert(name.to_owned(), file);
        if let (Some(room_bytes), Some(before)) = (&mut disk.room_bytes, before) {
            *room_bytes += before.bytes.len() as u64;
        }
        Ok(())
    }
}

/// What a server has of each source: where it stands, and which lines it recorded.
#[derive(Clone, Default)]
struct History(Arc<Mutex<BTreeMap<Text, Recorded>>>);

#[derive(Clone, Default)]
struct Recorded {
    at: u64,
    lines: Vec<u64>,
}

/// What is lost of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    Nothing,
    Question,
    Answer,
}

struct FakeServer {
    history: History,
    lost: Arc<Mutex<Lost>>,
}

impl Server for FakeServer {
    fn orders(&mut self) -> Result<Orders, Failure> {
        if *self.lost.lock().expect("not poisoned") != Lost::Nothing {
            return Err(Failure::Away("cut".to_owned()));
        }
        let history = self.history.0.lock().expect("not poisoned");
        let order = |(name, recorded): (&Text, &Recorded)| {
            Order::new(&source(name), Vec::new(), place(recorded.at).position, None)
        };
        let sources = history.iter().map(order).collect();
        Ok(Orders { version: 1, agent: "edge-1".into(), sources })
    }

    fn ship(&mut self, shipment: &Shipment) -> Result<Receipt, Failure> {
        let lost = *self.lost.lock().expect("not poisoned");
        if lost == Lost::Question {
            return Err(Failure::Away("cut".to_owned()));
        }
        let mut history = self.history.0.lock().expect("not poisoned");
        let mut answer = |bytes: &[u8]| {
            let advance = shipment::read_advance(bytes).expect("an advance");
            let (after, to) = (number(&advance.after), number(&advance.position));
            let recorded = history.get_mut(&advance.source.name).expect("a source");
            match recorded.at {
                at_after if at_after == after => {
                    recorded.lines.extend(after + 1..=to);
                    recorded.at = to;
                    Answer::Stored(Advanced::default())
                }
                at_position if at_position == to => Answer::StoredBefore,
                other => Answer::Elsewhere { position: place(other).position, through: None },
            }
        };
        let answers = shipment.advances.iter().map(|bytes| answer(bytes)).collect();
        match lost {
            Lost::Answer => Err(Failure::Away("cut".to_owned())),
            _ => Ok(Receipt { version: 1, answers }),
        }
    }
}

const NAMES: [&str; 3] = ["a", "b", "c"];

/// As small as it takes for several files and for a full one.
const LIMIT_BYTES: u64 = 6000;

/// One file is larger than a small disk.
const LIMIT_LARGE_BYTES: u64 = 100_000;

struct World {
    disk: MemoryDisk,
    history: History,
    lost: Arc<Mutex<Lost>>,
    steady: Arc<AtomicU64>,
    /// Lines written so far, and how many of them were rotated away.
    logs: BTreeMap<Text, u64>,
    rotated: BTreeMap<Text, u64>,
    replayed: BTreeSet<Text>,
    limit_bytes: u64,
    shared: Arc<Shared>,
    shipper: Shipper<FakeServer>,
}

impl World {
    fn new(limit_bytes: u64) -> World {
        let disk = MemoryDisk::default();
        let history = History::default();
        for name in NAMES {
            history.0.lock().expect("not poisoned").insert(name.into(), Default::default());
        }
        let lost = Arc::new(Mutex::new(Lost::Nothing));
        let steady = Arc::new(AtomicU64::new(0));
        let (shared, shipper) = agent(&disk, &history, &lost, &steady, limit_bytes);
        World {
            disk,
            history,
            lost,
            steady,
            logs: BTreeMap::new(),
            rotated: BTreeMap::new(),
            replayed: BTreeSet::new(),
            limit_bytes,
            shared,
            shipper,
        }
    }

    fn read(&self, name: &str, lines: u64) {
        let mut state = self.shared.state();
        let at = state.spool.place(name).map_or(0, |place| number(&place.position));
        let written = self.logs.get(name).copied().unwrap_or(0);
        let at = at.max(self.rotated.get(name).copied().unwrap_or(0));
        let to = (at + lines).min(written);
        if at < to {
            // Where there is no room the log is the buffer.
            drop(state.spool.append(&[advance(name, at, to)]));
        }
    }

    /// What was kept goes from the log, so that the spool is the only one that has it.
    fn rotate(&mut self, name: &str) {
        // What is to be read again must be there.
        if self.replayed.contains(name) {
            return;
        }
        let state = self.shared.state();
        let kept = state.spool.place(name).map_or(0, |place| number(&place.position));
        self.rotated.insert(name.into(), kept);
    }

    fn step(&mut self, lost: Lost) -> Pause {
        *self.lost.lock().expect("not poisoned") = lost;
        self.steady.fetch_add(4, Ordering::SeqCst);
        self.shipper.step()
    }

    /// The agent ends, and starts again.
    fn restart(&mut self) {
        // On a device that fails, it does not start.
        self.disk.set_syncs_fail(false);
        let (shared, shipper) =
            agent(&self.disk, &self.history, &self.lost, &self.steady, self.limit_bytes);
        (self.shared, self.shipper) = (shared, shipper);
    }

    /// Its log is put back, too.
    fn replay(&mut self, name: &str) {
        self.rotated.remove(name);
        self.replayed.insert(name.into());
        let mut history = self.history.0.lock().expect("not poisoned");
        history.insert(name.into(), Default::default());
    }

    /// Everything works again, for long enough; but the disk may stay small.
    fn settle(&mut self, capacity_bytes: Option<u64>) {
        self.disk.set_room(None);
        self.disk.set_syncs_fail(false);
        if let Some(size_bytes) = capacity_bytes {
            self.disk.set_capacity(size_bytes);
        }
        for _ in 0..40 {
            NAMES.iter().for_each(|name| self.read(name, 100));
            while self.step(Lost::Nothing) == Pause::None {}
        }
        assert!(self.shared.state().spool.is_empty());
    }
}

fn agent(
    disk: &MemoryDisk,
    history: &History,
    lost: &Arc<Mutex<Lost>>,
    steady: &Arc<AtomicU64>,
    limit_bytes: u64,
) -> (Arc<Shared>, Shipper<FakeServer>) {
    let spool = Spool::open(Box::new(disk.clone()), limit_bytes).expect("opens").spool;
    let shared = Arc::new(Shared::new(spool));
    let server = FakeServer { history: history.clone(), lost: Arc::clone(lost) };
    let steady = Arc::clone(steady);
    let tools = Tools {
        clock: Arc::new(ManualClock::new(NOW)),
        steady: Arc::new(move || Duration::from_secs(steady.load(Ordering::SeqCst))),
        random: Arc::new(CountingRandom::default()),
    };
    (Arc::clone(&shared), Shipper::new(server, tools, shared))
}

#[derive(Clone, Debug)]
enum Happens {
    Written(usize, u64),
    Read(usize, u64),
    Step(Lost),
    Killed,
    PowerCut(u8),
    Room(Option<u64>),
    SyncsFail(bool),
    Replayed(usize),
    Rotated(usize),
}

fn happens() -> impl Strategy<Value = Happens> {
    let lost = prop_oneof![Just(Lost::Nothing), Just(Lost::Question), Just(Lost::Answer)];
    let name = 0..NAMES.len();
    prop_oneof![
        6 => (name.clone(), 1_u64..20).prop_map(|(name, lines)| Happens::Written(name, lines)),
        12 => (name.clone(), 1_u64..6).prop_map(|(name, lines)| Happens::Read(name, lines)),
        8 => lost.prop_map(Happens::Step),
        2 => Just(Happens::Killed),
        2 => any::<u8>().prop_map(Happens::PowerCut),
        1 => proptest::option::of(0_u64..600).prop_map(Happens::Room),
        1 => any::<bool>().prop_map(Happens::SyncsFail),
        1 => name.clone().prop_map(Happens::Replayed),
        3 => name.prop_map(Happens::Rotated),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Nothing is lost and nothing is doubled.
    #[test]
    fn each_line_is_recorded_once(
        events in proptest::collection::vec(happens(), 1..120),
        limit_bytes in prop_oneof![Just(LIMIT_BYTES), Just(LIMIT_LARGE_BYTES)],
        capacity_bytes in proptest::option::of(2500_u64..5000),
    ) {
        let mut world = World::new(limit_bytes);
        for event in events {
            match event {
                Happens::Written(at, lines) => {
                    *world.logs.entry(NAMES[at].into()).or_default() += lines;
                }
                Happens::Read(at, lines) => world.read(NAMES[at], lines),
                Happens::Step(lost) => drop(world.step(lost)),
                Happens::Killed => world.restart(),
                Happens::PowerCut(chance) => {
                    world.disk.power_cut(chance);
                    world.restart();
                }
                Happens::Room(room_bytes) => world.disk.set_room(room_bytes),
                Happens::SyncsFail(fail) => world.disk.set_syncs_fail(fail),
                Happens::Replayed(at) => world.replay(NAMES[at]),
                Happens::Rotated(at) => world.rotate(NAMES[at]),
            }
        }
        world.settle(capacity_bytes);
        let history = world.history.0.lock().expect("not poisoned");
        for name in NAMES {
            let written = world.logs.get(name).copied().unwrap_or(0);
            let expected: Vec<u64> = (1..=written).collect();
            prop_assert_eq!(&history[name].lines, &expected, "{}", name);
        }
    }
}

/// A reader over real files, with a clock that the test sets and a spool that is never shipped.
struct Scene {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    disk: MemoryDisk,
    shared: Arc<Shared>,
    reader: Reader,
    written: usize,
}

/// Of which a megabyte may be used: the rest is room for what is read at once.
const READER_LIMIT_BYTES: u64 = 9 << 20;

impl Scene {
    fn new(allowed: &str) -> Scene {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new(NOW));
        let disk = MemoryDisk::default();
        let spool = Spool::open(Box::new(disk.clone()), READER_LIMIT_BYTES).expect("opens").spool;
        let shared = Arc::new(Shared::new(spool));
        let reader = reader_of(&dir, &clock, &shared, allowed);
        let scene = Scene { dir, clock, disk, shared, reader, written: 0 };
        let log = scene.log("mongod.log").to_str().expect("UTF-8").into();
        let followed = Source { path: log, ..source("db-1") };
        let order = Order::new(&followed, Vec::new(), Vec::new(), None);
        scene.shared.state().tasks.insert("db-1".into(), Task::new(&order));
        scene
    }

    fn log(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn log_in(&mut self, count: usize) {
        use std::io::Write;
        let mut lines = String::new();
        for _ in 0..count {
            let at = self.clock.now().to_string();
            let (at, n) = (at.trim_end_matches('Z'), self.written);
            let at = if at.contains('.') { at.to_owned() } else { format!("{at}.000") };
            lines += &format!(
                "{{\"t\":{{\"$date\":\"{at}+00:00\"}},\"s\":\"I\",\"c\":\"ACCESS\",\"id\":20250,\
                 \"ctx\":\"conn{n}\",\"msg\":\"Authentication succeeded\",\"attr\":{{\"mechanism\":\
                 \"SCRAM-SHA-256\",\"speculative\":true,\"principalName\":\"user-{n}\",\
                 \"authenticationDatabase\":\"admin\",\"remote\":\"10.0.0.1:4{n:04}\",\"extraInfo\":{{}}}}}}\n"
            );
            self.written += 1;
        }
        let log = std::fs::File::options().append(true).create(true).open(self.log("mongod.log"));
        log.and_then(|mut log| log.write_all(lines.as_bytes())).expect("written");
    }

    fn after(&mut self, seconds: i64) {
        self.clock.set(self.clock.now().plus_seconds(seconds));
        while self.reader.round() {}
    }

    fn report(&self) -> (State, String) {
        let report = self.shared.state().reports["db-1"].clone();
        (report.state, report.message.unwrap_or_default().to_string())
    }

    /// What was read and kept; as if it were shipped.
    fn ship(&self) -> Vec<Advance> {
        let mut state = self.shared.state();
        let mut shipped = Vec::new();
        while !state.spool.is_empty() {
            for one in state.spool.oldest(usize::MAX).expect("reads") {
                let bytes = one.bytes.expect("whole");
                shipped.push(shipment::read_advance(&bytes).expect("an advance"));
                state.spool.drop_entry(one.id);
            }
        }
        shipped
    }
}

fn logins(advances: &[Advance]) -> usize {
    advances.iter().map(|advance| advance.accesses.len()).sum()
}

/// Goal: a spool that is full costs nothing as long as the log is there, and where it is not, that is a
/// gap that says so. Method: more than fits, then more than the log keeps.
#[test]
fn a_full_spool_leaves_what_comes_in_the_log() {
    let mut scene = Scene::new("*");
    scene.log_in(9000);
    scene.after(1);
    assert_eq!(scene.report(), (State::Failed, "spool full (9 MiB)".to_owned()));
    let first = scene.ship();
    assert!((1000..9000).contains(&logins(&first)), "{}", logins(&first));
    scene.after(6);
    let mut all = logins(&first);
    for _ in 0..9 {
        all += logins(&scene.ship());
        scene.after(6);
    }
    assert_eq!((all, scene.report().0), (9000, State::Following));

    // It fills up again, and what waits in the log is rotated away before there is room.
    scene.log_in(9000);
    scene.after(1);
    let kept = scene.shared.state().spool.oldest(usize::MAX).expect("reads").len();
    assert!(kept > 0);
    // An agent that is killed has no handle on a file that is gone.
    scene.reader = reader_of(&scene.dir, &scene.clock, &scene.shared, "*");
    std::fs::remove_file(scene.log("mongod.log")).expect("removed");
    scene.log_in(1);
    scene.after(70);
    scene.ship();
    scene.after(6);
    let later = scene.ship();
    let gaps: Vec<_> = later.iter().flat_map(|advance| &advance.coverage).collect();
    let causes: Vec<&str> = gaps.iter().map(|gap| &*gap.cause).collect();
    assert!(causes.iter().any(|cause| cause.ends_with("; spool full (9 MiB)")), "{causes:?}");
    assert_eq!((logins(&later), scene.report().0), (1, State::Following));
}

fn reader_of(
    dir: &tempfile::TempDir,
    clock: &Arc<ManualClock>,
    shared: &Arc<Shared>,
    allowed: &str,
) -> Reader {
    let allowed = format!("{}/{allowed}", dir.path().display());
    let tools = reader::Tools {
        clock: clock.clone(),
        clock_state: ClockState::default,
        allowed: Allowed::new(&[allowed]).expect("a pattern"),
    };
    Reader::new(tools, Arc::clone(shared))
}

/// What is not allowed is not read, and that it is not is known.
#[test]
fn what_is_not_allowed_is_not_read_but_told() {
    let mut scene = Scene::new("other/*");
    scene.log_in(3);
    scene.after(1);
    let (state, message) = scene.report();
    assert_eq!(state, State::Failed);
    assert!(message.contains("mongod.log is not among the paths"), "{message}");
    scene.after(61);
    let told = scene.ship();
    assert_eq!(logins(&told), 0);
    let gaps: Vec<_> = told.iter().flat_map(|advance| &advance.coverage).collect();
    assert_eq!(gaps.len(), 1);
    assert!(gaps[0].cause.contains("not among the paths"), "{:?}", gaps[0]);
}

/// Goal: what was read while the disk was full is kept as soon as there is room, once. Method: a disk
/// without room, for a while.
#[test]
fn what_finds_no_room_is_kept_later() {
    let mut scene = Scene::new("*");
    scene.log_in(3);
    scene.disk.set_room(Some(10));
    scene.after(1);
    scene.log_in(2);
    scene.after(10);
    let (state, message) = scene.report();
    assert_eq!((state, logins(&scene.ship())), (State::Failed, 0));
    assert!(message.starts_with("the spool cannot be written"), "{message}");
    scene.disk.set_room(None);
    scene.after(1);
    scene.after(6);
    assert_eq!((logins(&scene.ship()), scene.report().0), (5, State::Following));
}

/// Goal: a small disk is a slow spool, and not one that stands still. Method: one that has no room for what is
/// read at once, and a server that takes everything.
#[test]
fn a_small_disk_lets_everything_through() {
    let mut scene = Scene::new("*");
    scene.disk.set_room(Some(300 << 10));
    scene.log_in(9000);
    let mut all = 0;
    for _ in 0..60 {
        scene.after(6);
        all += logins(&scene.ship());
    }
    assert_eq!((all, scene.report().0), (9000, State::Following));
}

/// Goal: nobody looked, so that what is gone is lost and not just perhaps. Method: two rotations while the
/// spool is full, of which the second one removes all that came meanwhile.
#[test]
fn what_is_removed_while_the_spool_is_full_is_lost_for_sure() {
    let mut scene = Scene::new("*");
    scene.log_in(9000);
    scene.after(1);
    assert_eq!(scene.report().1, "spool full (9 MiB)");
    for _ in 0..2 {
        std::fs::remove_file(scene.log("mongod.log")).expect("removed");
        scene.clock.set(scene.clock.now().plus_seconds(1));
        scene.log_in(1);
    }
    let mut shipped = scene.ship();
    for _ in 0..9 {
        scene.after(6);
        shipped.extend(scene.ship());
    }
    // What was open when it was removed is read to its end.
    assert_eq!(logins(&shipped), 9001);
    let gaps: Vec<_> = shipped.iter().flat_map(|advance| &advance.coverage).collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0].grade, Grade::Blind);
    assert_eq!(&*gaps[0].cause, "removed before all was read; spool full (9 MiB)");
}

/// A source of a kind that this version does not know is told of, and keeps no other one back.
#[test]
fn what_this_version_cannot_follow_is_told() {
    let mut scene = Scene::new("*");
    scene.log_in(1);
    let mut unknown = scene.shared.state().tasks["db-1"].clone();
    unknown.source = None;
    scene.shared.state().tasks.insert("db-2".into(), unknown);
    scene.after(1);
    assert_eq!(scene.report().0, State::Following);
    let report = scene.shared.state().reports["db-2"].clone();
    assert!(report.message.expect("says why").contains("update the agent"));
    assert_eq!(logins(&scene.ship()), 1);
}

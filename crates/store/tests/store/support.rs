//! What the tests of the store share: a store in a directory of its own, and events to put in it.

use std::net::IpAddr;
use std::sync::Arc;

use doorbook_event::record::{self, Actor, ImportId, Quarantine};
use doorbook_event::registry::{Cluster, Project, RegistryChange};
use doorbook_event::time::{CountingRandom, ManualClock};
use doorbook_event::{
    Access, Action, Attributes, Classes, Outcome, Peer, Principal, ProjectId, Scope, Target, Text,
    Timestamp, WrittenTime,
};
use doorbook_store::disk::Disk;
use doorbook_store::{ImportBatch, ImportEnd, ImportStart, Ingest, IngestLine, Options, Store};
use tempfile::TempDir;

use crate::faults::FaultyDisk;

/// The project of every test.
pub const PROJECT: ProjectId = ProjectId::new([0x5a; 12]);

/// Midnight of an ordinary day.
pub const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

pub fn scope() -> Scope {
    Scope::Project(PROJECT)
}

pub fn actor() -> Actor {
    let principal = Principal::OsUser { uid: 1000, name: Some("op".into()) };
    Actor { principal, peer: Peer::UnixSocket }
}

/// A data directory that lives as long as this.
pub struct Place {
    pub dir: TempDir,
    pub clock: Arc<ManualClock>,
    pub random: Arc<CountingRandom>,
    pub memtable_size_bytes: usize,
    pub cache_size_bytes: usize,
}

impl Place {
    pub fn new() -> Place {
        Place {
            dir: tempfile::tempdir().expect("a temporary directory"),
            clock: Arc::new(ManualClock::new(NOW)),
            random: Arc::default(),
            memtable_size_bytes: 48 << 20,
            cache_size_bytes: Options::CACHE_SIZE_BYTES,
        }
    }

    pub fn with_memtable(memtable_size_bytes: usize) -> Place {
        Place { memtable_size_bytes, ..Place::new() }
    }

    pub fn options(&self) -> Options {
        // Without waiting for platters: what a power cut may lose is another test's matter.
        self.options_on(Arc::new(FaultyDisk::sound()))
    }

    pub fn options_on(&self, disk: Arc<dyn Disk>) -> Options {
        Options {
            data_dir: self.dir.path().join("data"),
            clock: self.clock.clone(),
            random: self.random.clone(),
            disk,
            memtable_size_bytes: self.memtable_size_bytes,
            reserve_size_bytes: 0,
            cache_size_bytes: self.cache_size_bytes,
            background: false,
            queue_size_bytes: Options::QUEUE_SIZE_BYTES,
            wait_max: Options::WAIT_MAX,
        }
    }

    pub fn open(&self) -> Store {
        Store::open(self.options()).expect("opens")
    }

    /// A new store with the project and its cluster.
    pub fn open_new(&self) -> Store {
        let store = self.open();
        add_project(&store);
        store
    }
}

pub fn project_changes() -> Vec<RegistryChange> {
    let project = Project { id: PROJECT, name: "shop".into(), created: NOW };
    let cluster = Cluster { project: PROJECT, name: "orders".into(), created: NOW };
    vec![RegistryChange::ProjectCreated(project), RegistryChange::ClusterCreated(cluster)]
}

pub fn add_project(store: &Store) {
    store.change_registry(&actor(), project_changes()).expect("a new project");
}

pub fn start() -> ImportStart {
    ImportStart {
        by: actor(),
        project: PROJECT,
        cluster: "orders".into(),
        host: None,
        source: "mongod-log".into(),
    }
}

pub fn end() -> ImportEnd {
    ImportEnd { complete: true, files: Vec::new(), lines: 0, unknown_ids: Vec::new() }
}

/// Imports accesses as one file in one batch.
pub fn import(store: &Store, accesses: Vec<Access>) -> ImportId {
    let id = store.begin_import(start()).expect("begins");
    store.import(&id, ImportBatch { accesses, ..ImportBatch::default() }).expect("imports");
    store.end_import(&id, end()).expect("ends");
    id
}

/// The `n`-th login: one a second, each by a user and from an address of its own.
pub fn login(n: i64) -> Access {
    Access {
        target: Target::Host { cluster: "orders".into(), host: "db-1:27017".into() },
        event_time: NOW.plus_seconds(n),
        written_time: WrittenTime::Complete,
        action: Action::Authenticate,
        outcome: Outcome::Success,
        principal: Principal::User { name: format!("user-{n}").into(), database: "admin".into() },
        mechanism: Some("SCRAM-SHA-256".into()),
        peer: Peer::ip(IpAddr::from([10, 0, 0, 1]), Some(40_000)),
        peer_joined: false,
        connection: u64::try_from(n).ok(),
        process_start: None,
        client: None,
        speculative: None,
        classes: Classes::NONE,
        attributes: Attributes::new(),
        raw: format!("line {n}").into_bytes(),
        task_id: None,
    }
}

/// A request of events.
pub fn request(key: Option<&str>, accesses: impl IntoIterator<Item = Access>) -> Ingest {
    let lines = accesses.into_iter().map(|access| IngestLine::Event(Box::new(access)));
    let (source, key) = ("test".into(), key.map(Text::from));
    Ingest { scope: scope(), source, key, lines: lines.collect() }
}

/// Bytes in which nothing could be read.
pub fn unreadable() -> Quarantine {
    Quarantine {
        target: login(0).target,
        reason: "no user".into(),
        place: record::Place::default(),
        bytes: b"what?".to_vec(),
        length_bytes: 5,
        sha256: [7; 32],
    }
}

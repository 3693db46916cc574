//! A history to read: imports small and large, two scopes, a retraction, quarantined bytes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use doorbook_event::record::{Actor, ImportId, Place, Quarantine};
use doorbook_event::registry::{Cluster, Project, RegistryChange};
use doorbook_event::time::{CountingRandom, ManualClock};
use doorbook_event::{
    Access, Action, Attributes, Classes, Client, Outcome, Peer, Principal, ProjectId, Scope,
    Shared, Target, Timestamp, WrittenTime,
};
use doorbook_store::disk::SystemDisk;
use doorbook_store::{ImportBatch, ImportEnd, ImportStart, Options, Store};
use tempfile::TempDir;

pub const PROJECT: ProjectId = ProjectId::new([0x5a; 12]);
pub const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

/// Numbers that look random and are the same each time.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// One below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    pub fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        let end = u64::try_from(choices.len()).expect("few");
        choices[usize::try_from(self.below(end)).expect("few")].clone()
    }
}

/// A data directory.
pub struct History {
    dir: TempDir,
    random: Arc<CountingRandom>,
    imports: Mutex<Vec<ImportId>>,
}

impl History {
    pub fn new() -> Result<History> {
        let dir = tempfile::tempdir()?;
        Ok(History { dir, random: Arc::default(), imports: Mutex::default() })
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn scopes(&self) -> [Scope; 2] {
        [Scope::System, Scope::Project(PROJECT)]
    }

    /// With so little memory that everything becomes a segment soon.
    pub fn open(&self) -> Result<Store> {
        let store = Store::open(Options {
            data_dir: self.data(),
            clock: Arc::new(ManualClock::new(NOW)),
            random: self.random.clone(),
            disk: Arc::new(SystemDisk),
            memtable_size_bytes: 40_000,
            reserve_size_bytes: 0,
            cache_size_bytes: Options::CACHE_SIZE_BYTES,
            background: false,
            queue_size_bytes: Options::QUEUE_SIZE_BYTES,
            wait_max: Options::WAIT_MAX,
        })?;
        if store.catalog().registry.project(PROJECT).is_none() {
            let project = Project { id: PROJECT, name: "shop".into(), created: NOW };
            let mut changes = vec![RegistryChange::ProjectCreated(project)];
            for name in ["orders", "billing"] {
                let cluster = Cluster { project: PROJECT, name: name.into(), created: NOW };
                changes.push(RegistryChange::ClusterCreated(cluster));
            }
            store.change_registry(&actor(), changes)?;
        }
        Ok(store)
    }

    /// Imports of which every third is large enough for a file of its own; one of each is taken
    /// back.
    pub fn fill(&self, store: &Store, numbers: &mut Numbers, imports: u64) -> Result<()> {
        for n in 0..imports {
            let count = if n % 3 == 0 { 600 } else { 40 };
            let accesses = (0..count).map(|m| access(numbers, n * 1000 + m)).collect();
            self.import(store, accesses)?;
        }
        for n in [1, 3] {
            let id = self.imports.lock().expect("no panic").get(n).cloned();
            store.retract(&id.context("so many were made")?, &actor())?;
        }
        Ok(())
    }

    pub fn import_one(&self, store: &Store, n: u64) -> Result<()> {
        let mut one = access(&mut Numbers::new(n), n);
        // More than the memory takes.
        one.raw.resize(45_000, b'.');
        self.import(store, vec![one])
    }

    pub fn retract_last(&self, store: &Store) -> Result<()> {
        let id = self.imports.lock().expect("no panic").last().cloned();
        Ok(store.retract(&id.context("there is one")?, &actor())?)
    }

    fn import(&self, store: &Store, accesses: Vec<Access>) -> Result<()> {
        let id = store.begin_import(ImportStart {
            by: actor(),
            project: PROJECT,
            cluster: "orders".into(),
            host: None,
            source: "mongod-log".into(),
        })?;
        let quarantine = quarantine(accesses[0].target.clone(), id.as_bytes().to_vec());
        let batch =
            ImportBatch { accesses, quarantine: vec![quarantine], ..ImportBatch::default() };
        store.import(&id, batch)?;
        let files = Vec::new();
        store.end_import(
            &id,
            ImportEnd { complete: true, files, lines: 0, unknown_ids: Vec::new() },
        )?;
        self.imports.lock().expect("no panic").push(id);
        Ok(())
    }
}

/// Takes every step that there is.
pub fn sync(store: &Store) -> Result<()> {
    while store.sync_table()? {}
    Ok(())
}

fn actor() -> Actor {
    let principal = Principal::OsUser { uid: 1000, name: Some("op".into()) };
    Actor { principal, peer: Peer::UnixSocket }
}

fn quarantine(target: Target, bytes: Vec<u8>) -> Quarantine {
    Quarantine {
        target,
        reason: "no user".into(),
        place: Place { file: "a.log".into(), line: 3, offset_bytes: 99 },
        bytes,
        length_bytes: 70_000,
        sha256: [7; 32],
    }
}

pub const USERS: [&str; 4] = ["ann", "o'brien", "b\\ob", "\u{fc}nal"];
pub const ADDRESSES: [&str; 4] = ["10.0.0.1", "10.0.1.2", "192.0.2.7", "2001:db8::1"];
pub const HOSTS: [(&str, &str); 3] =
    [("orders", "db-1:27017"), ("orders", "db-2:27017"), ("billing", "db-3:27017")];
pub const MECHANISMS: [&str; 2] = ["SCRAM-SHA-256", "MONGODB-X509"];
pub const APPLICATIONS: [&str; 3] = ["orders-api", "mongosh 2.1", ""];

fn access(numbers: &mut Numbers, n: u64) -> Access {
    let (cluster, host) = numbers.of(&HOSTS);
    let application = numbers.of(&APPLICATIONS);
    let client = Client { application: Some(application.into()), ..Client::default() };
    let seconds = numbers.below(5 * 86_400).cast_signed();
    Access {
        target: Target::Host { cluster: cluster.into(), host: host.into() },
        event_time: NOW.plus_seconds(seconds).plus_micros(numbers.below(2).cast_signed() * 1234),
        written_time: WrittenTime::Complete,
        action: numbers.of(&[Action::Authenticate, Action::Authorize]),
        outcome: match numbers.below(3) {
            0 => Outcome::Failure { reason: Some("wrong".into()), code: Some(18) },
            1 => Outcome::Unknown,
            _ => Outcome::Success,
        },
        principal: match numbers.below(5) {
            0 => Principal::Unauthenticated,
            _ => Principal::User {
                name: numbers.of(&USERS).into(),
                database: numbers.of(&["admin", "shop"]).into(),
            },
        },
        mechanism: (numbers.below(4) > 0).then(|| numbers.of(&MECHANISMS).into()),
        peer: match numbers.below(6) {
            0 => Peer::UnixSocket,
            _ => Peer::ip(numbers.of(&ADDRESSES).parse().expect("an address"), Some(4000)),
        },
        peer_joined: false,
        connection: Some(n),
        process_start: None,
        client: (!application.is_empty()).then(|| Shared::from(client)),
        speculative: None,
        classes: Classes::from_bits(u16::try_from(numbers.below(8)).expect("small") * 2),
        attributes: Attributes::new(),
        raw: format!("line {n} of {}", numbers.of(&["ann", "bob"])).into_bytes(),
        task_id: None,
    }
}

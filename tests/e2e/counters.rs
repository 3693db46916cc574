//! What a real mongod counts, against what Doorbook recorded of its log.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use doorbook_event::record::{Actor, Coverage};
use doorbook_event::registry::{Cluster, Host, Project, RegistryChange};
use doorbook_event::source::{Source, SourceKind, Subject};
use doorbook_event::{
    Access, Clock, HostName, Peer, Principal, ProjectId, Random, Scope, Timestamp,
};
use doorbook_server::counters::{ClusterSettings, Counters, HostStatus, Settings};
use doorbook_source::Batch;
use doorbook_source::mongod::{FileHints, Interpreter, LinePlace};
use doorbook_store::disk::SystemDisk;
use doorbook_store::{Advance, Options, Store};

use crate::support::mongod::Mongod;
use crate::support::process::until;
use crate::support::tools::{self, left_out};

const CLUSTER: &str = "orders";
const PROJECT: ProjectId = ProjectId::new([1; 12]);

/// Goal: what a server counts agrees with what is recorded as long as the log says everything, and a
/// difference is exactly what was hidden. Method: a real mongod and its real counters; its log is
/// recorded as it is, then while it is quiet, then with lines removed, which a backfill brings at last, and
/// quiet again after a restart. The counters are read over TLS.
#[test]
fn a_real_mongod_counts_what_its_log_hides() -> Result<()> {
    let what = "the counters of a real mongod";
    let (Some(python), binaries) = (tools::python(), tools::mongods()) else {
        left_out(what, "Python with pymongo is not installed");
        return Ok(());
    };
    if binaries.is_empty() {
        left_out(what, "no mongod is installed");
    }
    for binary in binaries {
        let folder = tempfile::tempdir()?;
        let certificate = Certificate::new(folder.path())?;
        let mut mongod = Mongod::start_with(&binary, python.clone(), &certificate.arguments())?;
        check(&mut mongod, folder.path(), certificate.authority)
            .with_context(|| format!("mongod {} ({})", mongod.version, binary.display()))?;
        mongod.stop()?;
    }
    Ok(())
}

fn check(mongod: &mut Mongod, folder: &Path, ca_file: PathBuf) -> Result<()> {
    let password_file = folder.join("password");
    std::fs::write(&password_file, mongod.make_counter()?)?;
    let mut recording = Recording::new(mongod, folder, password_file, ca_file)?;

    recording.compare()?;
    mongod.run_attempts("a")?;
    let found = recording.compare()?;
    ensure!(found == Found::default(), "nothing was hidden: {found:?}");

    mongod.log_in_quietly()?;
    let found = recording.compare()?;
    ensure!(found.missing == 5 && found.others == 0, "five were hidden: {found:?}");
    let gaps = recording.gaps();
    let why = gaps.iter().find(|gap| gap.missing == Some(5)).context("no gap says so")?;
    let root = Principal::User { name: "root".into(), database: "admin".into() };
    ensure!(!why.cause.starts_with("counters"), "the log says why: {gaps:?}");
    ensure!(why.actor.as_ref().is_some_and(|actor| actor.principal == root), "{gaps:?}");

    mongod.log_in_as_ghost()?;
    let found = recording.compare()?;
    ensure!(found.missing == 8 && found.others == 0, "three more were removed: {found:?}");
    let of_counters = |recording: &Recording| {
        let gaps = recording.gaps().into_iter();
        gaps.filter(|gap| gap.cause.starts_with("counters"))
            .map(|gap| gap.missing)
            .collect::<Vec<_>>()
    };
    let told = of_counters(&recording);
    let sum: u64 = told.iter().flatten().sum();
    ensure!(sum == 3, "{:?}", recording.gaps());

    recording.backfill()?;
    let all_are_back = || of_counters(&recording).iter().all(|missing| *missing == Some(0));
    until("the gap to be filled", || Ok(all_are_back().then_some(())))?;

    // Its counters begin anew.
    mongod.restart()?;
    recording.n_recorded = 0;
    recording.hides_ghost = false;
    recording.compare()?;
    mongod.log_in_quietly()?;
    let found = recording.compare()?;
    ensure!(found.missing == 13 && found.others == 0, "five after the restart: {found:?}");
    recording.stop();
    Ok(())
}

/// By which the mongod proves who it is; clients that do not ask for TLS need none.
struct Certificate {
    authority: PathBuf,
    with_key: PathBuf,
}

impl Certificate {
    fn new(folder: &Path) -> Result<Certificate> {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
        let (authority, with_key) = (folder.join("ca.pem"), folder.join("key.pem"));
        std::fs::write(&authority, made.cert.pem())?;
        std::fs::write(&with_key, made.cert.pem() + &made.signing_key.serialize_pem())?;
        Ok(Certificate { authority, with_key })
    }

    fn arguments(&self) -> [&OsStr; 7] {
        [
            "--tlsMode".as_ref(),
            "allowTLS".as_ref(),
            "--tlsCertificateKeyFile".as_ref(),
            self.with_key.as_os_str(),
            "--tlsCAFile".as_ref(),
            self.authority.as_os_str(),
            "--tlsAllowConnectionsWithoutCertificates".as_ref(),
        ]
    }
}

/// What a comparison found since the beginning.
#[derive(Debug, Default, PartialEq)]
struct Found {
    missing: u64,
    /// Attempts without a line, and lines without a count.
    others: u64,
}

/// A store that records a mongod's log, but for the lines of `ghost`, and compares.
struct Recording {
    runtime: tokio::runtime::Runtime,
    counters: Counters,
    store: Store,
    clock: Arc<dyn Clock>,
    host: HostName,
    source: Source,
    log: PathBuf,
    n_recorded: usize,
    hides_ghost: bool,
}

impl Recording {
    fn new(
        mongod: &Mongod,
        folder: &Path,
        password_file: PathBuf,
        ca_file: PathBuf,
    ) -> Result<Recording> {
        let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(Now), Arc::new(Fixed));
        let (host, _) = HostName::parse(&mongod.address()).map_err(anyhow::Error::msg)?;
        let store = store(folder, &clock, &random)?;
        let source = Source {
            name: "orders-1".into(),
            kind: SourceKind::MongodLog,
            subject: Subject::Host {
                project: PROJECT,
                cluster: CLUSTER.into(),
                host: host.clone(),
            },
            interval_seconds: None,
            path: mongod.log().to_string_lossy().into_owned().into(),
            zone: "UTC".into(),
            paused: false,
            agent: None,
            rules: Vec::new(),
        };
        register(&store, &source)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let cluster = ClusterSettings {
            project: PROJECT,
            cluster: CLUSTER.into(),
            user: "counter".into(),
            password_file,
            ca_file: Some(ca_file),
        };
        let interval = Duration::from_millis(200);
        let settings = Settings { interval, ..Settings::new(vec![cluster]) };
        let counters = Counters::start(&settings, &store, &clock, &random, runtime.handle())?;
        let log = mongod.log();
        Ok(Recording {
            runtime,
            counters,
            store,
            clock,
            host,
            source,
            log,
            n_recorded: 0,
            hides_ghost: true,
        })
    }

    /// Records until readings are compared that were taken after everything up to now, and once more,
    /// because only what two readings show is told.
    fn compare(&mut self) -> Result<Found> {
        let enough = self.clock.now().plus_seconds(2);
        let status = until("the comparison", || {
            self.record()?;
            let status = self.status();
            Ok(status.filter(|status| status.checked_through > Some(enough)))
        })?;
        ensure!(status.problem.is_none(), "{status:?}");
        let others = status.missing_attempts + status.surplus_successes;
        Ok(Found { missing: status.missing_successes, others })
    }

    fn status(&self) -> Option<HostStatus> {
        self.counters.status().remove(&(PROJECT, self.host.clone()))
    }

    fn record(&mut self) -> Result<()> {
        let through = self.clock.now();
        let Batch { accesses, coverage, .. } = self.read()?;
        let is_ghost = |access: &Access| matches!(&access.principal, Principal::User { name, .. } if **name == *"ghost");
        let is_shown = |access: &Access| !(self.hides_ghost && is_ghost(access));
        let shown: Vec<Access> = accesses.into_iter().filter(is_shown).collect();
        let n_shown = shown.len();
        let new = shown.into_iter().skip(self.n_recorded).collect();
        self.advance(new, coverage, through)?;
        self.n_recorded = n_shown;
        Ok(())
    }

    fn backfill(&mut self) -> Result<()> {
        let through = self.clock.now();
        let batch = self.read()?;
        self.advance(batch.accesses, Vec::new(), through)
    }

    fn read(&self) -> Result<Batch> {
        let target = self.source.target();
        let zone = jiff::tz::TimeZone::UTC;
        let settings = doorbook_source::mongod::Settings { target, zone };
        let mut interpreter = Interpreter::new(settings);
        let mut batch = Batch::default();
        interpreter.begin_file(FileHints::default(), false, &mut batch);
        let log = std::fs::read(&self.log)?;
        // The last line may not be whole yet.
        let whole = log.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        for (line, number) in log[..whole].split(|b| *b == b'\n').zip(1..) {
            let place = LinePlace { line: number, offset_bytes: 0 };
            interpreter.line(line, place, &mut batch);
        }
        Ok(batch)
    }

    fn advance(
        &self,
        accesses: Vec<Access>,
        coverage: Vec<Coverage>,
        through: Timestamp,
    ) -> Result<()> {
        let name = &self.source.name;
        let progress = self.store.watched().sources.get(name).cloned().unwrap_or_default();
        let advance = Advance {
            source: self.source.clone(),
            after: progress.position,
            position: through.micros().to_be_bytes().to_vec(),
            is_next_file: false,
            accesses,
            coverage,
            quarantine: Vec::new(),
            heartbeat: None,
            through: Some(through),
            since: Some(through),
            lines: 0,
            doubt: None,
        };
        for advanced in self.store.advance(vec![advance]) {
            advanced?;
        }
        Ok(())
    }

    fn gaps(&self) -> Vec<Coverage> {
        let catalog = self.store.catalog();
        catalog.coverage.get(&Scope::Project(PROJECT)).cloned().unwrap_or_default()
    }

    fn stop(self) {
        self.runtime.block_on(self.counters.stop());
    }
}

fn store(folder: &Path, clock: &Arc<dyn Clock>, random: &Arc<dyn Random>) -> Result<Store> {
    Ok(Store::open(Options {
        data_dir: folder.join("data"),
        clock: Arc::clone(clock),
        random: Arc::clone(random),
        disk: Arc::new(SystemDisk),
        memtable_size_bytes: 4 << 20,
        reserve_size_bytes: 0,
        cache_size_bytes: Options::CACHE_SIZE_BYTES,
        background: false,
        queue_size_bytes: Options::QUEUE_SIZE_BYTES,
        wait_max: Options::WAIT_MAX,
    })?)
}

fn register(store: &Store, source: &Source) -> Result<()> {
    let by = Actor { principal: Principal::Doorbook, peer: Peer::Unknown };
    let created = Timestamp::from_seconds(0);
    store.change_registry(
        &by,
        vec![
            RegistryChange::ProjectCreated(Project { id: PROJECT, name: "p".into(), created }),
            RegistryChange::ClusterCreated(Cluster {
                project: PROJECT,
                name: CLUSTER.into(),
                created,
            }),
            RegistryChange::HostAdded(Host {
                project: PROJECT,
                cluster: CLUSTER.into(),
                name: source.host().expect("of a host").clone(),
                aliases: Vec::new(),
            }),
            RegistryChange::SourceSet(source.clone()),
        ],
    )?;
    Ok(())
}

/// The system's clock, which the mongod goes by, too.
struct Now;

impl Clock for Now {
    #[expect(clippy::disallowed_methods, reason = "the mongod has no other clock")]
    fn now(&self) -> Timestamp {
        Timestamp::from_jiff(jiff::Timestamp::now())
    }
}

/// Bytes that are the same each time. The mongod adds its own to each nonce.
struct Fixed;

impl Random for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

//! [`Counters`]: servers count their logins; what they counted is compared with what was recorded.
//!
//! A database user with the role `clusterMonitor` reads the counts of each host of a cluster, again and
//! again. A difference becomes a gap that says how many logins are missing. The facts and the rule are in
//! `docs/design/counters.md`.
//!
//! Suggested reading order: [`compare`] (the rule), [`ledger`] (what was recorded, and what becomes of a
//! finding), [`mongod`] (how counts are read); here is who calls whom when.

pub mod compare;
pub mod ledger;
pub mod mongod;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorbook_event::{Clock, HostName, ProjectId, Random, Target, Text, Timestamp};
use doorbook_store::Store;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::compare::{Comparison, Difference, Reading, SLACK_MICROS};
use self::ledger::Ledger;
use self::mongod::{Access, Session};
use crate::http::authorities;

/// What an operator sets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which clusters are checked.
    pub clusters: Vec<ClusterSettings>,
    /// How often. A difference is told when two readings show it, within a minute by default.
    pub interval: Duration,
    /// How long a host may take to answer.
    pub timeout: Duration,
}

/// How one cluster's hosts are asked; the hosts are those that the registry has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The cluster's project.
    pub project: ProjectId,
    /// Its name.
    pub cluster: Text,
    /// A user of the database `admin` with the role `clusterMonitor`.
    pub user: String,
    /// A file that holds its password; one line end after it is no part of it.
    pub password_file: PathBuf,
    /// A file with the authority of the hosts' certificates, in PEM; `None` for no TLS.
    pub ca_file: Option<PathBuf>,
}

impl Settings {
    /// 20 s: two readings, and a source that is up to date, within a minute.
    pub const INTERVAL: Duration = Duration::from_secs(20);
    /// 10 s: less than the interval.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// These clusters, as often as is usual.
    pub fn new(clusters: Vec<ClusterSettings>) -> Settings {
        Settings { clusters, interval: Settings::INTERVAL, timeout: Settings::TIMEOUT }
    }
}

/// A file that cannot be used, and why.
#[derive(Debug)]
pub struct SettingsError {
    path: PathBuf,
    message: String,
}

/// What is known of the check of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostStatus {
    /// When its counts were last read, by our clock.
    pub read_at: Option<Timestamp>,
    /// Up to when they were compared, by our clock.
    pub checked_through: Option<Timestamp>,
    /// Why they cannot be read, or compared, now.
    pub problem: Option<String>,
    /// Logins that were found missing since the start.
    pub missing_successes: u64,
    /// Attempts that were found missing since the start.
    pub missing_attempts: u64,
    /// Logins that were recorded and not counted since the start.
    pub surplus_successes: u64,
}

/// The state of all checks, by project and host.
pub type Status = BTreeMap<(ProjectId, HostName), HostStatus>;

/// The state of all checks, for those who ask. Cheap to clone.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<Status>>);

impl Board {
    /// As it is now.
    pub fn status(&self) -> Status {
        self.lock().clone()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running checks.
pub struct Counters {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    board: Board,
}

/// Readings that wait for their source: eight hours of them. Counts are sums, so that a reading which is
/// dropped only widens a window.
const PENDING_MAX: usize = 1440;

/// Lines that belong to a reading are written by then.
const SETTLE_MICROS: i64 = 2 * SLACK_MICROS;

impl Counters {
    /// Reads passwords and certificates, and begins to check on the given runtime.
    pub fn start(
        settings: &Settings,
        store: &Store,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
        runtime: &Handle,
    ) -> Result<Counters, SettingsError> {
        let (stop, stopping) = watch::channel(false);
        let board = Board::default();
        let mut checks = Vec::with_capacity(settings.clusters.len());
        for cluster in &settings.clusters {
            checks.push(ClusterCheck {
                project: cluster.project,
                cluster: cluster.cluster.clone(),
                tools: Arc::new(Tools {
                    access: cluster.access()?,
                    timeout: settings.timeout,
                    store: store.clone(),
                    clock: Arc::clone(clock),
                    random: Arc::clone(random),
                    board: board.clone(),
                }),
                hosts: BTreeMap::new(),
            });
        }
        let start =
            |check: ClusterCheck| runtime.spawn(check.run(settings.interval, stopping.clone()));
        let tasks = checks.into_iter().map(start).collect();
        Ok(Counters { stop, tasks, board })
    }

    /// How the checks are doing.
    pub fn status(&self) -> Status {
        self.board.status()
    }

    /// The same, for who outlives the checks.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// Ends the checks: what is being told is told, nothing is waited for otherwise.
    pub async fn stop(self) {
        // Nobody listens if all have ended.
        let _ = self.stop.send(true);
        for task in self.tasks {
            // A check that panicked has ended, too.
            let _ = task.await;
        }
    }
}

impl ClusterSettings {
    /// Opens the files that it names, as a server would.
    pub fn check_files(&self) -> Result<(), SettingsError> {
        self.access().map(drop)
    }

    fn access(&self) -> Result<Access, SettingsError> {
        let password = read(&self.password_file)?;
        let fail = |message: &str| fail(&self.password_file, message.into());
        let password = String::from_utf8(password).map_err(|_| fail("is not UTF-8"))?;
        let password = password.strip_suffix('\n').unwrap_or(&password);
        let password = password.strip_suffix('\r').unwrap_or(password);
        if password.is_empty() {
            return Err(fail("is empty; it has to hold the password"));
        }
        let tls = self.ca_file.as_deref().map(client_config).transpose()?;
        Ok(Access { user: self.user.clone(), password: password.to_owned(), tls })
    }
}

fn client_config(ca_file: &Path) -> Result<Arc<rustls::ClientConfig>, SettingsError> {
    let roots = authorities(ca_file).map_err(|error| fail(ca_file, error.message().to_owned()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fail(ca_file, error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(path).map_err(|error| fail(path, format!("cannot be read: {error}")))
}

fn fail(path: &Path, message: String) -> SettingsError {
    SettingsError { path: path.to_owned(), message }
}

/// What the checks of a cluster work with.
struct Tools {
    access: Access,
    timeout: Duration,
    store: Store,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    board: Board,
}

/// The checks of a cluster's hosts.
struct ClusterCheck {
    project: ProjectId,
    cluster: Text,
    tools: Arc<Tools>,
    hosts: BTreeMap<HostName, HostCheck>,
}

/// The check of one host, from round to round.
struct HostCheck {
    session: Option<Session>,
    pending: VecDeque<Reading>,
    judge: Judge,
}

/// What is compared, and where findings go.
struct Judge {
    comparison: Comparison,
    ledger: Ledger,
}

impl ClusterCheck {
    async fn run(mut self, interval: Duration, mut stopping: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // It only ever changes to the end.
                _ = stopping.changed() => return,
                _ = ticks.tick() => {}
            }
            self.round(&stopping).await;
        }
    }

    /// Reads and compares every host that the registry has now, side by side.
    async fn round(&mut self, stopping: &watch::Receiver<bool>) {
        let catalog = self.tools.store.catalog();
        let hosts = catalog.registry.hosts(self.project);
        let hosts = hosts.filter(|host| host.cluster == self.cluster).map(|host| &host.name);
        let mut before = std::mem::take(&mut self.hosts);
        let mut rounds = JoinSet::new();
        for host in hosts.cloned() {
            let check = before.remove(&host).unwrap_or_else(|| self.check_of(&host));
            let (tools, project) = (Arc::clone(&self.tools), self.project);
            let stopping = stopping.clone();
            rounds.spawn(async move {
                let check = check.round(&host, &tools, project, stopping).await;
                (host, check)
            });
        }
        for gone in before.into_keys() {
            self.tools.board.lock().remove(&(self.project, gone));
        }
        while let Some(ended) = rounds.join_next().await {
            // A check that panicked begins anew in the next round.
            if let Ok((host, Some(check))) = ended {
                self.hosts.insert(host, check);
            }
        }
    }

    fn check_of(&self, host: &HostName) -> HostCheck {
        let target = Target::Host { cluster: self.cluster.clone(), host: host.to_string().into() };
        let ledger = Ledger::new(self.tools.store.clone(), self.project, target);
        let judge = Judge { comparison: Comparison::default(), ledger };
        HostCheck { session: None, pending: VecDeque::new(), judge }
    }
}

impl HostCheck {
    async fn round(
        mut self,
        host: &HostName,
        tools: &Tools,
        project: ProjectId,
        mut stopping: watch::Receiver<bool>,
    ) -> Option<HostCheck> {
        let read = tokio::select! {
            _ = stopping.changed() => return None,
            read = tokio::time::timeout(tools.timeout, self.read(host, tools)) => read,
        };
        let late = || format!("no answer within {} s", tools.timeout.as_secs());
        let read = read.map_err(|_| late()).and_then(|read| read.map_err(|e| e.to_string()));
        let mut told = HostStatus::default();
        match read {
            Ok(reading) => {
                told.read_at = Some(reading.read_at);
                self.pending.push_back(reading);
                if self.pending.len() > PENDING_MAX {
                    self.pending.pop_front();
                }
            }
            Err(problem) => {
                // What is left in a broken conversation would be taken for the next answer.
                self.session = None;
                told.problem = Some(format!("its counters cannot be read: {problem}"));
            }
        }
        let HostCheck { session, mut pending, mut judge } = self;
        let compared = tokio::task::spawn_blocking(move || {
            judge.compare(&mut pending, &mut told);
            (pending, judge, told)
        });
        let (pending, judge, told) = compared.await.ok()?;
        tools.note((project, host.clone()), told);
        Some(HostCheck { session, pending, judge })
    }

    async fn read(&mut self, host: &HostName, tools: &Tools) -> Result<Reading, mongod::Error> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(Session::open(host, &tools.access, &*tools.random).await?),
        };
        session.read(&*tools.clock).await
    }
}

impl Judge {
    /// Compares the readings whose source has come so far.
    fn compare(&mut self, pending: &mut VecDeque<Reading>, told: &mut HostStatus) {
        let Some(through) = self.ledger.watched_through() else {
            if self.ledger.has_source() {
                return;
            }
            pending.clear();
            let problem = "no source watches its log, so that there is nothing to compare";
            told.problem.get_or_insert(problem.into());
            return;
        };
        while let Some(reading) = pending.front() {
            let read_at = reading.read_at;
            if through < read_at.plus_micros(SETTLE_MICROS) {
                break;
            }
            if let Err(error) = self.compare_one(reading.clone(), told) {
                told.problem = Some(format!("its counters cannot be compared: {error}"));
                return;
            }
            pending.pop_front();
            told.checked_through = Some(read_at);
        }
        if let Err(error) = self.ledger.look_again() {
            told.problem = Some(format!("its gaps cannot be looked at: {error}"));
        }
    }

    fn compare_one(
        &mut self,
        reading: Reading,
        told: &mut HostStatus,
    ) -> Result<(), doorbook_store::Error> {
        // Only what was told is over: a finding that cannot be written is found again.
        let mut next = self.comparison.clone();
        let findings = next.next(reading, |after, to| self.ledger.tally(after, to))?;
        if !findings.is_empty() {
            self.ledger.tell(&findings)?;
        }
        self.comparison = next;
        for finding in findings {
            match finding.what {
                Difference::MissingSuccesses(_) => told.missing_successes += finding.count,
                Difference::SurplusSuccesses(_) => told.surplus_successes += finding.count,
                Difference::MissingAttempts => told.missing_attempts += finding.count,
            }
        }
        Ok(())
    }
}

impl Tools {
    /// Adds a round to what is known of a host. Says what changed, once.
    fn note(&self, of: (ProjectId, HostName), round: HostStatus) {
        let host = of.1.to_string();
        let mut all = self.board.lock();
        let known = all.entry(of).or_default();
        let missing = round.missing_successes;
        if missing > 0 {
            tracing::warn!(host, missing, "counters say that logins are missing");
        }
        match &round.problem {
            Some(problem) if known.problem.is_none() => {
                tracing::warn!(host, problem, "counters are not compared");
            }
            None if known.problem.is_some() => {
                tracing::info!(host, "counters are compared again");
            }
            _ => {}
        }
        known.read_at = round.read_at.or(known.read_at);
        known.checked_through = round.checked_through.or(known.checked_through);
        known.problem = round.problem;
        known.missing_successes += missing;
        known.missing_attempts += round.missing_attempts;
        known.surplus_successes += round.surplus_successes;
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.message)
    }
}

impl std::error::Error for SettingsError {}

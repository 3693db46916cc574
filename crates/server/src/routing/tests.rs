//! Goal: lines that are sent to us become the very events that an import of the same logs gives, under the
//! right host and once, whoever sends them again, restarts, or writes the rule later; what has no host
//! waits. Method: a real store, the router in process, and the interpreter over each whole log as the
//! model.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use doorbook_event::record::{Actor, Grade};
use doorbook_event::registry::{Cluster, Host, Project, RegistryChange};
use doorbook_event::source::{Rule, SourceKind, Subject};
use doorbook_event::time::{CountingRandom, ManualClock};
use doorbook_event::{Access, Action, HostName, Peer, Principal, Record, Scope, Target};
use doorbook_source::mongod::{FileHints, Interpreter, LinePlace, Settings};
use doorbook_source::{Batch, Cut};
use doorbook_store::coverage::Gap;
use doorbook_store::disk::{Disk, DiskFile, SystemDisk};
use doorbook_store::filter::Kind;
use doorbook_store::{Filter, Options, Question};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::admin::request::Replays;
use crate::admin::rows::RoutedRow;
use crate::admin::{Admin, Reply};
use crate::alarm::condition::UnroutedWatch;
use crate::estate::Document;
use crate::sources::State as SourceState;
use crate::test_support::options_in;

const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

struct Scene {
    dir: TempDir,
    clock: Arc<ManualClock>,
    store: Store,
    router: Router,
    board: Board,
    disk: Arc<FullDisk>,
}

impl Scene {
    /// A project with hosts and no source.
    fn new(hosts: &[&str]) -> Scene {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new(NOW));
        let (store, router, board, disk) = open(&dir, &clock);
        let scene = Scene { dir, clock, store, router, board, disk };
        let name = "shop".into();
        let created = NOW;
        scene.change(RegistryChange::ProjectCreated(Project { id: project(), name, created }));
        let (project, name) = (project(), "orders".into());
        scene.change(RegistryChange::ClusterCreated(Cluster { project, name, created }));
        for host in hosts {
            let (name, _) = HostName::parse(host).expect("a host");
            let (cluster, aliases) = ("orders".into(), Vec::new());
            scene.change(RegistryChange::HostAdded(Host { project, cluster, name, aliases }));
        }
        scene
    }

    fn change(&self, change: RegistryChange) {
        self.store.change_registry(&operator(), vec![change]).expect("allowed");
    }

    /// A source of a host with rules.
    fn rule(&self, host: &str, rules: &[(&str, &str)]) {
        self.set(host, host, rules, false);
    }

    fn set(&self, name: &str, host: &str, rules: &[(&str, &str)], paused: bool) {
        let rule = |(label, pattern): &(&str, &str)| Rule {
            label: (*label).into(),
            pattern: (*pattern).into(),
        };
        self.change(RegistryChange::SourceSet(Source {
            name: name.into(),
            kind: SourceKind::MongodLog,
            subject: Subject::Host {
                project: project(),
                cluster: "orders".into(),
                host: HostName::parse(host).expect("a host").0,
            },
            interval_seconds: None,
            path: "".into(),
            zone: "UTC".into(),
            paused,
            agent: None,
            rules: rules.iter().map(rule).collect(),
        }));
    }

    fn restart(&mut self) {
        self.store.close().expect("closes");
        (self.store, self.router, self.board, self.disk) = open(&self.dir, &self.clock);
    }

    fn take(&self, arrivals: Vec<Arrival>) -> Taken {
        self.router.take(&door(), &arrivals).expect("is stored")
    }

    /// The same while the disk is full.
    fn cannot_send(&self, host: &str, lines: &[String]) {
        self.disk.0.store(true, Ordering::SeqCst);
        let arrivals: Vec<Arrival> = lines.iter().map(|line| arrival(host, line)).collect();
        if let Err(error) = self.router.take(&door(), &arrivals) {
            assert_eq!(error.kind, ErrorKind::DiskFull);
        }
        self.disk.0.store(false, Ordering::SeqCst);
    }

    /// Lines of a host, as a shipper sends them.
    fn send(&self, host: &str, lines: &[String]) -> Taken {
        self.take(lines.iter().map(|line| arrival(host, line)).collect())
    }

    fn replay(&self, dry_run: bool) -> Vec<RoutedRow> {
        let replays = Replays { dry_run, ..Replays::default() };
        let request = crate::admin::Request::QuarantineReplay(Box::new(replays));
        let Ok(Reply::Replayed(page)) = self.admin().execute(&operator(), request) else {
            panic!("a page")
        };
        page.routed
    }

    fn unrouted(&self) -> Vec<crate::admin::rows::UnroutedRow> {
        let request = crate::admin::Request::Unrouted { project: None };
        let Ok(Reply::Unrouted(rows)) = self.admin().execute(&operator(), request) else {
            panic!("rows")
        };
        rows
    }

    fn admin(&self) -> Admin {
        Admin {
            store: self.store.clone(),
            clock: self.clock.clone(),
            random: Arc::<CountingRandom>::default(),
            base_url: None,
            sources: None,
            receivers: None,
            services: None,
        }
    }

    fn rows(&self, kind: Kind) -> Vec<Record> {
        let filter = Filter { kind, ..Filter::all(Scope::Project(project()), usize::MAX) };
        let page = self.store.select(&filter).expect("reads");
        page.rows.into_iter().map(|row| row.record).collect()
    }

    fn events(&self) -> Vec<Seen> {
        let rows = self.rows(Kind::Access).into_iter();
        let mut events: Vec<Seen> = rows
            .map(|record| match record {
                Record::Access(access) => seen(&access),
                other => panic!("{other:?}"),
            })
            .collect();
        events.sort();
        events
    }

    fn waiting(&self) -> usize {
        self.rows(Kind::Quarantine).len()
    }
}

fn open(dir: &TempDir, clock: &Arc<ManualClock>) -> (Store, Router, Board, Arc<FullDisk>) {
    let random: Arc<CountingRandom> = Arc::default();
    let disk: Arc<FullDisk> = Arc::default();
    let options = Options {
        disk: disk.clone(),
        reserve_size_bytes: 1,
        ..options_in(dir.path(), clock, &random)
    };
    let store = Store::open(options).expect("opens");
    let router = Router::new(Tools { store: store.clone(), clock: clock.clone() });
    let board = Board::default();
    router.set_board(board.clone());
    (store, router, board, disk)
}

/// A disk that can be full.
#[derive(Default)]
struct FullDisk(AtomicBool);

impl Disk for FullDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.create_dir(dir)
    }
    fn create_subdir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.create_subdir(dir)
    }
    fn make_private(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.make_private(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        SystemDisk.lock(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        SystemDisk.create(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        SystemDisk.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        SystemDisk.list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.sync_dir(dir)
    }
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(if self.0.load(Ordering::SeqCst) { 0 } else { 1 << 30 })
    }
}

fn project() -> ProjectId {
    ProjectId::new([7; 12])
}

fn operator() -> Actor {
    Actor { principal: Principal::OsUser { uid: 0, name: None }, peer: Peer::UnixSocket }
}

fn door() -> Door {
    Door { name: "key1".into(), form: Form::Lines, project: project() }
}

fn arrival(host: &str, line: &str) -> Arrival {
    labelled(&[("host.name", host), ("log.file.path", "/var/log/mongod.log")], line)
}

fn labelled(said: &[(&str, &str)], line: &str) -> Arrival {
    let mut labels = Labels::default();
    said.iter().for_each(|(name, value)| labels.set(*name, *value));
    doorbook_source::labelled::plain(&labels, line.as_bytes())
}

/// What makes an event the very event: target, time, connection, who, how it ended, and the application
/// that other lines of the connection tell.
type Seen = (String, i64, Option<u64>, String, bool, Option<String>);

fn seen(access: &Access) -> Seen {
    let application = access.client.as_ref().and_then(|client| client.application.as_ref());
    (
        access.target.names().1.to_string(),
        access.event_time.micros(),
        access.connection,
        access.principal.to_string(),
        access.outcome.reason().is_none(),
        application.map(ToString::to_string),
    )
}

/// What an import of a whole log gives.
fn model(host: &str, lines: &[String]) -> Vec<Seen> {
    let (name, _) = HostName::parse(host).expect("a host");
    let target = Target::Host { cluster: "orders".into(), host: name.to_string().into() };
    let mut interpreter = Interpreter::new(Settings { target, zone: TimeZone::UTC });
    let mut batch = Batch::default();
    interpreter.begin_file(FileHints::default(), false, &mut batch);
    for line in lines {
        interpreter.line(line.as_bytes(), LinePlace::default(), &mut batch);
    }
    interpreter.finish(&mut batch);
    batch.accesses.iter().map(seen).collect()
}

fn line(millis: i64, component: &str, id: u32, context: &str, attributes: &str) -> String {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    format!(
        "{{\"t\":{{\"$date\":\"2026-09-21T{:02}:{:02}:{:02}.{millis:03}+00:00\"}},\"s\":\"I\",  \
         \"c\":\"{component}\",   \"id\":{id},   \"ctx\":\"{context}\",\"msg\":\"x\",\"attr\":{{{attributes}}}}}",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    )
}

fn start(host: &str, port: u16, set: &str) -> Vec<String> {
    let host = format!("\"pid\":1,\"port\":{port},\"host\":\"{host}\"");
    let options = format!("\"options\":{{\"replication\":{{\"replSet\":\"{set}\"}}}}");
    vec![
        line(0, "CONTROL", 4_615_611, "initandlisten", &host),
        line(1, "CONTROL", 21_951, "initandlisten", &options),
    ]
}

fn noise(millis: i64) -> String {
    line(millis, "WTCHKPT", 22_430, "Checkpointer", "\"message\":\"noise\"")
}

/// A connection that says who it is, and logs in.
fn visit(number: u32, millis: i64) -> Vec<String> {
    let context = format!("conn{number}");
    let remote = format!("\"remote\":\"10.0.0.1:{}\"", 4000 + number);
    vec![
        line(
            millis,
            "NETWORK",
            22_943,
            "listener",
            &format!("{remote},\"connectionId\":{number},\"connectionCount\":1"),
        ),
        line(
            millis + 1,
            "NETWORK",
            51_800,
            &context,
            &format!(
                "{remote},\"client\":\"{context}\",\"doc\":{{\"application\":{{\"name\":\"app-{number}\"}}}}"
            ),
        ),
        noise(millis + 2),
        line(
            millis + 3,
            "ACCESS",
            20_250,
            &context,
            &format!(
                "\"mechanism\":\"SCRAM-SHA-256\",\"principalName\":\"user-{number}\",\"authenticationDatabase\":\"admin\",{remote}"
            ),
        ),
    ]
}

fn log(visits: u32) -> Vec<String> {
    (1..=visits).flat_map(|number| visit(number, i64::from(number) * 100)).collect()
}

fn by_host(hosts: &[(&str, &[String])]) -> Vec<Seen> {
    let mut all: Vec<Seen> = hosts.iter().flat_map(|(host, lines)| model(host, lines)).collect();
    all.sort();
    all
}

/// Goal: half a line is never a login, by whatever way it came in half, nor is it the line that comes whole
/// afterwards. Method: a login whose end has not come, then the whole of it; one that is too long; of a
/// host that is known and of one that is not, which a rule and a replay do not turn into logins.
#[test]
fn half_a_line_is_never_a_login() {
    let scene = Scene::new(&["db-1", "db-2"]);
    scene.rule("db-1", &[("host.name", "db-1")]);
    let login = visit(1, 1000).pop().expect("a login");
    for host in ["db-1", "db-2"] {
        // All of it but its line feed: it looks whole.
        let unfinished = Arrival { cut: Some(Cut::Unfinished), ..arrival(host, &login) };
        scene.take(vec![unfinished]);
        let sha256 = [7; 32];
        let too_long = Some(Cut::TooLong { length_bytes: 1 << 20, sha256 });
        scene.take(vec![Arrival { cut: too_long, ..arrival(host, &login) }]);
    }
    assert_eq!((scene.events(), scene.waiting()), (vec![], 4));
    scene.rule("db-2", &[("host.name", "db-2")]);
    scene.replay(false);
    assert_eq!((scene.events(), scene.waiting()), (vec![], 4));
    for host in ["db-1", "db-2"] {
        scene.take(vec![arrival(host, &login)]);
    }
    assert_eq!((scene.events().len(), scene.waiting()), (2, 4));
    for record in scene.rows(Kind::Quarantine) {
        let Record::Quarantine(bytes) = record else { panic!("{record:?}") };
        let is_too_long = bytes.length_bytes == 1 << 20;
        assert_eq!(is_too_long, bytes.sha256 == [7; 32], "{bytes:?}");
    }
}

#[test]
fn lines_find_their_host() {
    let scene = Scene::new(&["db-1", "db-2"]);
    scene.rule("db-1", &[("host.name", "db-1")]);
    scene.rule("db-2", &[("host.name", "db-2*"), ("log.file.path", "/var/*/mongod.log")]);
    let log = log(3);
    let taken = scene.send("db-1", &log);
    assert_eq!(taken.sources["db-1"], Counts { stored: 3, ignored: 9, ..Counts::default() });
    scene.send("db-2.example", &log);
    assert_eq!(scene.events(), by_host(&[("db-1", &log), ("db-2", &log)]));
    assert_eq!(scene.waiting(), 0);
    let status = scene.board.statuses()["db-1"].clone();
    assert_eq!((status.state, status.lines, status.events), (SourceState::Following, 12, 3));
}

/// Goal: "complete" is never said of what is sent to us. Method: the coverage of a host that was heard
/// of just now.
#[test]
fn what_is_sent_to_us_is_best_effort() {
    let scene = Scene::new(&["db-1"]);
    scene.rule("db-1", &[("host.name", "db-1")]);
    scene.send("db-1", &log(60));
    let through = scene.store.watched().sources["db-1"].through.expect("it came somewhere");
    let target = Target::Host { cluster: "orders".into(), host: "db-1:27017".into() };
    let answer = scene.store.coverage(&Question {
        scope: &Scope::Project(project()),
        targets: &[target],
        stored: &std::collections::BTreeMap::new(),
        actions: &[Action::Authenticate],
        with_successes: true,
        from: through.plus_seconds(-1),
        to: through,
        now: NOW,
    });
    assert_eq!(answer.grade, Grade::BestEffort);
    assert!(answer.gaps.iter().all(|gap| gap.cause == DOUBT), "{answer:?}");
    assert!(crate::alarm::condition::gaps(&scene.store, &scene.store.alarms(), NOW).is_empty());
}

#[test]
fn a_line_that_comes_again_is_the_same_line() {
    let mut scene = Scene::new(&["db-1"]);
    scene.rule("db-1", &[("host.name", "db-1")]);
    let mut log = log(2);
    // One attempt that was written as two equal lines.
    log.push(log[3].clone());
    scene.send("db-1", &log);
    let expected = by_host(&[("db-1", &log)]);
    assert_eq!((scene.events(), expected.len()), (expected.clone(), 3));
    let again = scene.send("db-1", &log);
    assert_eq!(again.total(), Counts { duplicates: 3, ignored: 6, ..Counts::default() });
    scene.restart();
    let again = scene.send("db-1", &log);
    assert_eq!(again.total(), Counts { duplicates: 3, ignored: 6, ..Counts::default() });
    assert_eq!(scene.events(), expected);
}

/// Goal: a login is one, however syslog cut what it sent again: rsyslog sends the lines that it is not sure
/// of on its next connection, and those of both were once stored as two. Method: a log, and its last
/// lines again, in one call.
#[test]
fn syslog_that_sends_a_line_again_at_once_tells_it_once() {
    let mut scene = Scene::new(&["db-1"]);
    scene.rule("db-1", &[("host.name", "db-1")]);
    let log = log(2);
    let expected = by_host(&[("db-1", &log)]);
    let arrivals: Vec<Arrival> =
        log.iter().chain(&log[log.len() / 2..]).map(|line| arrival("db-1", line)).collect();
    let door = Door { form: Form::Syslog, ..door() };
    let taken = scene.router.take(&door, &arrivals).expect("is stored");
    assert_eq!((taken.total().stored, taken.total().duplicates), (2, 1));
    assert_eq!(scene.events(), expected);
    scene.restart();
    scene.router.take(&door, &arrivals).expect("is stored");
    assert_eq!(scene.events(), expected);
}

/// Goal: nobody's line is recorded under a host that is not certain. Method: two sources whose rules both
/// hold, a rest, and a log that says itself that it is another host's.
#[test]
fn what_is_not_certain_waits() {
    let scene = Scene::new(&["db-1", "db-2"]);
    scene.rule("db-1", &[("host.name", "db-*")]);
    scene.rule("db-2", &[("log.file.path", "*")]);
    let taken = scene.send("db-1", &log(1));
    assert_eq!(taken.unrouted, BTreeMap::from([("db-1 /var/log/mongod.log".into(), 3)]));
    assert_eq!(taken.ignored, 1, "noise is not kept");
    let reason = &scene.unrouted()[0].reason;
    assert!(reason.starts_with("sources db-1 and db-2 fit host.name \"db-1\""), "{reason}");
    assert!(scene.unrouted()[0].rule.starts_with("# "), "a rule more would not do");

    scene.set("db-2", "db-2", &[("host.name", "other")], false);
    scene.set("db-1", "db-1", &[("host.name", "db-*")], true);
    let rest = scene.send("db-1", &log(2));
    assert_eq!(rest.unrouted.values().sum::<u64>(), 6);
    assert_eq!(&*scene.unrouted()[0].reason, "source db-1 is paused");
    scene.set("db-1", "db-1", &[("host.name", "db-*")], false);

    let mut foreign = start("elsewhere", 27017, "rs0");
    foreign.extend(log(1));
    scene.send("db-7", &foreign);
    assert!(scene.events().is_empty());
    let row = scene.unrouted().into_iter().find(|row| row.name.starts_with("db-7"));
    let row = row.expect("waits");
    assert_eq!(&*row.reason, "source db-1 fits, but the log is that of elsewhere:27017");
    assert_eq!(&*row.labels["mongod.host"], "elsewhere");
    assert!(row.rule.lines().all(|line| line.starts_with("# ")), "{}", row.rule);
    assert!(
        row.rule.contains("if elsewhere:27017 is another name") && row.rule.contains("aliases")
    );
    assert!(row.rule.contains("write a source for elsewhere:27017"), "{}", row.rule);
}

/// Goal: a stream that says whose it is only at its start is known ever after. Method: a rule over that,
/// lines after it in other calls, and after a restart.
#[test]
fn what_a_log_says_of_itself_is_remembered() {
    let mut scene = Scene::new(&["db-1:27018"]);
    let rules = [("mongod.host", "db-1"), ("mongod.port", "27018"), ("mongod.replica_set", "rs0")];
    scene.set("orders-0", "db-1:27018", &rules, false);
    let mut log = start("db-1", 27018, "rs0");
    log.extend(visit(1, 100));
    let pod = |line: &String| labelled(&[("kubernetes.pod_name", "orders-0"), ("n", "1")], line);
    scene.take(vec![pod(&log[0])]);
    assert_eq!(scene.waiting(), 1, "the replica set is not known yet");
    scene.take(log[1..4].iter().map(pod).collect());
    scene.restart();
    scene.take(log[4..].iter().map(pod).collect());
    scene.take(visit(2, 200).iter().map(pod).collect());
    assert_eq!(scene.events().len(), 2);
    assert_eq!(scene.replay(false)[0].source.as_deref(), Some("orders-0"));
    assert_eq!(scene.waiting(), 0);
}

/// Goal: an unknown host waits with all that makes its logins what they are, and the rule that is shown
/// is the one that makes it known. Method: its lines, the rule pasted into a file, a replay; twice.
#[test]
fn an_unknown_host_waits_until_its_rule_is_pasted() {
    let mut scene = Scene::new(&["db-9"]);
    let log = log(5);
    scene.send("db-9", &log);
    scene.send("db-9", &log);
    assert_eq!(scene.waiting(), 15, "each line once, without noise");
    let [row] = &scene.unrouted()[..] else { panic!("one name") };
    assert_eq!((&*row.name, row.lines), ("db-9 /var/log/mongod.log", 15));
    assert_eq!(row.first.micros() / 1_000_000, NOW.micros() / 1_000_000);
    let alarms = |scene: &Scene| UnroutedWatch::default().look(&scene.store, NOW).len();
    assert_eq!(alarms(&scene), 1);
    assert!(scene.replay(false).iter().all(|row| row.source.is_none()), "nothing has changed");
    let [wanted] = &pasted(&row.rule, "db-9").expect("is allowed").sources[..] else {
        panic!("one source")
    };
    let rules: Vec<(&str, &str)> =
        wanted.rules.iter().map(|rule| (&*rule.label, &*rule.pattern)).collect();
    assert_eq!(wanted.whose.host().map(|(_, host)| &**host), Some("db-9:27017"));
    scene.set(&wanted.name, "db-9", &rules, false);
    // What comes before the replay waits for nothing; that it is known already.
    scene.send("db-9", &visit(6, 600));
    let trial = scene.replay(true);
    assert_eq!((trial[0].lines, trial[0].stored, scene.waiting()), (15, 0, 15));
    let replayed = scene.replay(false);
    assert_eq!((replayed[0].lines, replayed[0].stored, scene.waiting()), (15, 5, 0));
    let mut all = log.clone();
    all.extend(visit(6, 600));
    assert_eq!(scene.events(), by_host(&[("db-9", &all)]));
    assert!(scene.replay(false).is_empty());
    assert_eq!(alarms(&scene), 0);
    scene.restart();
    scene.send("db-9", &log);
    assert_eq!(scene.events(), by_host(&[("db-9", &all)]));
    assert!(scene.unrouted().is_empty());
}

/// A rule, in a file that has its host.
fn pasted(rule: &str, host: &str) -> Result<crate::estate::Wanted, String> {
    let file = format!(
        "version = 1\n[[project]]\nname = \"shop\"\n[[project.cluster]]\nname = \"orders\"\n\
         hosts = [{host:?}]\n{rule}"
    );
    let document =
        Document::read(file.as_bytes()).map_err(|problem| format!("{problem}\n{file}"))?;
    document.wanted().map_err(|problems| format!("{problems:?}\n{file}"))
}

/// Goal: what could not be stored is not acknowledged, and is there once when it could. Method: a full disk,
/// the same lines again, and lines that need what was not acknowledged.
#[test]
fn what_could_not_be_stored_is_not_lost() {
    let scene = Scene::new(&["db-1"]);
    scene.rule("db-1", &[("host.name", "db-1")]);
    let log = log(2);
    scene.cannot_send("db-1", &log[..6]);
    assert!(scene.events().is_empty());
    assert!(scene.router.beat(ClockState::default()).is_ok(), "it is stored as soon as it can be");
    scene.send("db-1", &log[..6]);
    scene.send("db-1", &log[6..]);
    assert_eq!(scene.events(), by_host(&[("db-1", &log)]));
}

/// Goal: a rest is blind and stays so, until what waited is replayed. Method: a rest between two lines.
#[test]
fn what_came_during_a_rest_is_not_seen_before_the_replay() {
    let scene = Scene::new(&["db-1"]);
    let set = |paused| scene.set("db-1", "db-1", &[("host.name", "db-1")], paused);
    set(false);
    let log = log(600);
    let gaps = || {
        let target = Target::Host { cluster: "orders".into(), host: "db-1:27017".into() };
        let through = scene.store.watched().sources["db-1"].through.expect("it came somewhere");
        let answer = scene.store.coverage(&Question {
            scope: &Scope::Project(project()),
            targets: &[target],
            stored: &std::collections::BTreeMap::new(),
            actions: &[Action::Authenticate],
            with_successes: true,
            from: through.plus_seconds(-50),
            to: through,
            now: NOW,
        });
        answer.gaps
    };
    let grades = || gaps().iter().map(|gap| gap.grade).collect::<Vec<_>>();
    scene.send("db-1", &log[..800]);
    scene.change(RegistryChange::SourcePaused { name: "db-1".into(), paused: true });
    scene.send("db-1", &log[800..1600]);
    scene.change(RegistryChange::SourcePaused { name: "db-1".into(), paused: false });
    scene.send("db-1", &log[1600..]);
    assert_eq!(scene.events().len(), 400);
    assert_eq!(grades(), [Grade::BestEffort, Grade::Blind, Grade::BestEffort]);
    scene.replay(false);
    assert_eq!(scene.events(), by_host(&[("db-1", &log)]));
    // What lies between two lines of which one came and one waited, nobody knows.
    let blind = gaps().into_iter().filter(|gap| gap.grade == Grade::Blind);
    let seconds = |gap: Gap| (gap.to.expect("ends").micros() - gap.from.micros()) / 1_000_000;
    assert!(blind.map(seconds).all(|seconds| seconds <= 1));
}

#[test]
fn received_sources_beat_also_in_silence() {
    let scene = Scene::new(&["db-1"]);
    scene.rule("db-1", &[("host.name", "db-1")]);
    scene.send("db-1", &log(2));
    let heartbeat =
        || scene.store.watched().sources["db-1"].heartbeat.as_ref().map(|it| (it.at, it.lines));
    scene.router.beat(ClockState::default()).expect("is stored");
    assert_eq!(heartbeat(), None);
    scene.clock.set(NOW.plus_seconds(60));
    scene.router.beat(ClockState::default()).expect("is stored");
    assert_eq!(heartbeat(), Some((NOW.plus_seconds(60), 8)));
    scene.clock.set(NOW.plus_seconds(120));
    scene.router.beat(ClockState::default()).expect("is stored");
    assert_eq!(heartbeat(), Some((NOW.plus_seconds(120), 0)));
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// So many further lines of a host come, perhaps twice.
    Send {
        host: usize,
        lines: usize,
        again: bool,
    },
    /// What was sent last comes again, in part.
    Overlap {
        host: usize,
        lines: usize,
    },
    /// The disk is full: nothing further is acknowledged.
    Full {
        host: usize,
        lines: usize,
    },
    Restart,
    /// The rule of the last host is written, and what waited is routed.
    Known,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_usize, 1..12_usize, any::<bool>())
            .prop_map(|(host, lines, again)| Step::Send { host, lines, again }),
        2 => (0..3_usize, 1..12_usize).prop_map(|(host, lines)| Step::Overlap { host, lines }),
        2 => (0..3_usize, 1..12_usize).prop_map(|(host, lines)| Step::Full { host, lines }),
        1 => Just(Step::Restart),
        1 => Just(Step::Known),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Goal: whatever senders, restarts and operators do, in the end there are the events of an import of
    /// the same logs, each once. Method: random lives of three hosts, one of which nobody knows at first.
    /// What other lines of a connection tell is lost only by a restart between them.
    #[test]
    fn the_events_are_those_of_an_import(steps in prop::collection::vec(step(), 1..25)) {
        let hosts = ["db-1", "db-2", "db-9"];
        let logs: Vec<Vec<String>> = (0..3_i64)
            .map(|host| {
                let mut log = start(hosts[host as usize], 27017, "rs0");
                log.extend((1..=8).flat_map(|number| {
                    visit(number, 1000 + host * 10 + i64::from(number) * 100)
                }));
                log
            })
            .collect();
        let mut scene = Scene::new(&hosts);
        scene.rule("db-1", &[("host.name", "db-1")]);
        scene.rule("db-2", &[("mongod.host", "db-2")]);
        let mut sent = [0; 3];
        // What was not acknowledged may be there all the same.
        let mut reached = [0; 3];
        let mut restarts = 0;
        let know = |scene: &Scene| {
            scene.rule("db-9", &[("host.name", "db-9"), ("log.file.path", "*")]);
            scene.replay(false);
        };
        for step in steps.into_iter().chain([Step::Known]) {
            match step {
                Step::Send { host, lines, again } => {
                    let to = (sent[host] + lines).min(logs[host].len());
                    let part = &logs[host][sent[host]..to];
                    sent[host] = to;
                    scene.send(hosts[host], part);
                    if again {
                        scene.send(hosts[host], part);
                    }
                }
                Step::Overlap { host, lines } => {
                    let from = sent[host].saturating_sub(lines);
                    let to = (sent[host] + lines).min(logs[host].len());
                    sent[host] = to;
                    scene.send(hosts[host], &logs[host][from..to]);
                }
                Step::Full { host, lines } => {
                    let to = (sent[host] + lines).min(logs[host].len());
                    scene.cannot_send(hosts[host], &logs[host][sent[host]..to]);
                    reached[host] = reached[host].max(to);
                }
                Step::Restart => {
                    restarts += 1;
                    scene.restart();
                }
                Step::Known => know(&scene),
            }
        }
        // In the end every sender has its acknowledgement.
        for host in 0..3 {
            let to = sent[host].max(reached[host]);
            scene.send(hosts[host], &logs[host][sent[host]..to]);
            sent[host] = to;
        }
        let expected: Vec<(&str, &[String])> =
            (0..3).map(|host| (hosts[host], &logs[host][..sent[host]])).collect();
        let (mut events, mut expected) = (scene.events(), by_host(&expected));
        // The rule of db-9 may come between a connection and its login.
        let forget = |events: &mut Vec<Seen>, all: bool| {
            for event in events.iter_mut().filter(|event| all || event.0.starts_with("db-9")) {
                event.5 = None;
            }
            events.sort();
        };
        forget(&mut events, restarts > 0);
        forget(&mut expected, restarts > 0);
        prop_assert_eq!(events, expected);
        prop_assert_eq!(scene.waiting(), 0);
    }

    /// Goal: what a sender says does no harm where it is shown and pasted. Method: any labels; the rule
    /// must be one source that these labels fit, and the listing one line without control characters.
    #[test]
    fn labels_do_no_harm(
        host in prop_oneof!["[\\PC\n\r\t\"'\\\\{}\\[\\]*?\u{1b}\u{202e}=#]{1,40}", "db-[0-9]", ".{1,20}"],
        log in prop_oneof![Just(String::new()), "[\n\"\\\\{}\\[\\]*?\u{1b}/a-z=]{1,40}"],
        other in "[a-z.\"\n{]{1,10}",
    ) {
        let mut said = vec![("host.name", &*host), (&*other, "x")];
        if !log.is_empty() {
            said.push(("log.file.path", &*log));
        }
        let arrival = labelled(&said, &visit(1, 0)[3]);
        let name = unrouted::name(&arrival.labels);
        prop_assert!(!name.contains(|c: char| c.is_control()), "{name:?}");
        let reason = unrouted::no_source(&arrival.labels);
        prop_assert!(!reason.contains(|c: char| c.is_control()), "{reason:?}");
        let rule = unrouted::rule(&arrival.labels, "shop");
        prop_assert!(!rule.contains(|c: char| c.is_control() && c != '\n'), "{rule:?}");
        prop_assert_eq!(rule.lines().count(), 6, "{}", rule);
        let meant = rule.lines().find_map(|line| line.strip_prefix("host = ")).expect("a host");
        let pasted = pasted(&rule, meant.trim_matches('"'));
        let wanted = pasted.map_err(TestCaseError::fail)?;
        prop_assert_eq!(wanted.sources.len(), 1);
        prop_assert!(arrival.labels.fit(&wanted.sources[0].rules), "{}", rule);
    }
}

/// Goal: messages that nobody knows are counted of lines that are sent, and those that could not be stored not twice.
#[test]
fn messages_that_nobody_knows_are_counted() {
    let scene = Scene::new(&["db-1"]);
    scene.rule("db-1", &[("host.name", "db-1")]);
    let odd = |millis| line(millis, "ACCESS", 9_999_999, "conn1", "");
    let total = || scene.board.statuses()["db-1"].unknown_ids.total();
    scene.send("db-1", &[odd(1), noise(2), odd(3)]);
    assert_eq!(total(), 2);
    let mut lines = visit(1, 10);
    lines.push(odd(20));
    scene.cannot_send("db-1", &lines);
    scene.send("db-1", &lines);
    assert_eq!(total(), 3);
}

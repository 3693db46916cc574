//! Goal: what is written to a log is in the history, once, and what is known of the time in between is
//! true. Method: real files and a real store, a clock that the test sets, one round at a time.

mod object_log;

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;

use doorbook_event::record::{ClockState, Grade, UnknownId};
use doorbook_event::registry::{Host, RegistryChange};
use doorbook_event::shipment::Report;
use doorbook_event::source::{Source, SourceKind, Subject};
use doorbook_event::time::ManualClock;
use doorbook_event::unknown::UnknownIds;
use doorbook_event::{Action, HostName, Record, Scope, Timestamp};
use doorbook_source::input;
use doorbook_store::coverage::Gap;
use doorbook_store::filter::Kind;
use doorbook_store::{Answer, Filter, Options, Store};
use tempfile::TempDir;

use super::*;
use crate::api::atlas::tests::{GROUP, NOW, group, operator, registry_changes};
use crate::pipeline;
use crate::test_support::options_in;

struct Scene {
    dir: TempDir,
    clock: Arc<ManualClock>,
    store: Store,
    round: Round,
    /// Logins that were written.
    written: u64,
}

impl Scene {
    /// A store with a host and nothing that follows it.
    fn new() -> Scene {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new(NOW));
        let store = open(&dir, &clock, 0);
        let mut changes = registry_changes();
        let (cluster, name) = ("Cluster0".into(), HostName::parse("db-1").expect("a host").0);
        let host = Host { project: group(GROUP), cluster, name, aliases: vec!["db-one".into()] };
        changes.push(RegistryChange::HostAdded(host));
        store.change_registry(&operator(), changes).expect("allowed");
        let round = round_of(&store, &clock);
        Scene { dir, clock, store, round, written: 0 }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("mongod.log")
    }

    fn source(&self) -> Source {
        Source {
            name: "db-1".into(),
            kind: SourceKind::MongodLog,
            subject: Subject::Host {
                project: group(GROUP),
                cluster: "Cluster0".into(),
                host: HostName::parse("db-1").expect("a host").0,
            },
            interval_seconds: None,
            path: self.log().to_str().expect("is UTF-8").into(),
            zone: "UTC".into(),
            paused: false,
            agent: None,
            rules: Vec::new(),
        }
    }

    fn change(&self, change: RegistryChange) {
        self.store.change_registry(&operator(), vec![change]).expect("allowed");
    }

    fn follow(&self) {
        self.change(RegistryChange::SourceSet(self.source()));
    }

    fn pause(&self, paused: bool) {
        self.change(RegistryChange::SourcePaused { name: "db-1".into(), paused });
    }

    /// A login happens now.
    fn login(&mut self) {
        let at = self.clock.now().to_string();
        let at = at.trim_end_matches('Z');
        let at = if at.contains('.') { at.to_owned() } else { format!("{at}.000") };
        let n = self.written;
        let line = format!(
            "{{\"t\":{{\"$date\":\"{at}+00:00\"}},\"s\":\"I\",\"c\":\"ACCESS\",\"id\":20250,\"ctx\":\"conn{n}\",\
             \"msg\":\"Authentication succeeded\",\"attr\":{{\"mechanism\":\"SCRAM-SHA-256\",\"speculative\":true,\
             \"principalName\":\"user-{n}\",\"authenticationDatabase\":\"admin\",\"remote\":\"10.0.0.1:4{n:04}\",\
             \"extraInfo\":{{}}}}}}\n"
        );
        self.write(&line);
        self.written += 1;
    }

    fn write(&self, bytes: &str) {
        let log = File::options().append(true).create(true).open(self.log());
        log.and_then(|mut log| log.write_all(bytes.as_bytes())).expect("written");
    }

    fn names_host(&self, host: &str) {
        let at = self.clock.now().to_string();
        let at = at.trim_end_matches('Z');
        self.write(&format!(
            "{{\"t\":{{\"$date\":\"{at}.000+00:00\"}},\"s\":\"I\",\"c\":\"CONTROL\",\"id\":4615611,\
             \"ctx\":\"initandlisten\",\"msg\":\"MongoDB starting\",\"attr\":{{\"pid\":1,\"port\":27017,\
             \"dbPath\":\"/d\",\"architecture\":\"64-bit\",\"host\":\"{host}\"}}}}\n"
        ));
    }

    /// A message comes whose id nobody knows.
    fn unknown(&self) {
        let at = self.clock.now().to_string();
        let at = at.trim_end_matches('Z');
        self.write(&format!(
            "{{\"t\":{{\"$date\":\"{at}.000+00:00\"}},\"s\":\"I\",\"c\":\"ACCESS\",\"id\":9999999,\
             \"ctx\":\"conn1\",\"msg\":\"m\",\"attr\":{{}}}}\n"
        ));
    }

    fn pass(&self, seconds: i64) {
        self.clock.set(self.clock.now().plus_seconds(seconds));
    }

    /// Some time passes, and then a round.
    fn after(&mut self, seconds: i64) {
        self.pass(seconds);
        self.run();
    }

    fn run(&mut self) {
        while self.round.run(&AtomicBool::new(false)) {}
    }

    /// The server starts again; with a reserve, the disk has too little room.
    fn restart(&mut self, reserve_size_bytes: u64) {
        let catalog = self.store.catalog();
        self.store.close().expect("closes");
        self.round.following.clear();
        // Both hold the store, whose lock goes with the last of them.
        let elsewhere = tempfile::tempdir().expect("a temporary directory");
        let other = open(&elsewhere, &self.clock, 0);
        self.round = round_of(&other, &self.clock);
        self.store = other;
        self.store = open(&self.dir, &self.clock, reserve_size_bytes);
        self.round = round_of(&self.store, &self.clock);
        assert_eq!(self.store.catalog().registry, catalog.registry);
    }

    fn recorded(&self) -> u64 {
        let filter = Filter::all(Scope::Project(group(GROUP)), 1000);
        self.store.select(&filter).expect("answers").total
    }

    #[track_caller]
    fn is_complete(&self) {
        assert_eq!(self.recorded(), self.written);
    }

    fn status(&self) -> Status {
        self.round.board.statuses()["db-1"].clone()
    }

    fn coverage(&self) -> Answer {
        let targets = [self.source().target()];
        self.store.coverage(&doorbook_store::Question {
            scope: &Scope::Project(group(GROUP)),
            targets: &targets,
            stored: &std::collections::BTreeMap::new(),
            actions: SourceKind::MongodLog.actions(),
            with_successes: true,
            from: Timestamp::MIN,
            to: self.clock.now(),
            now: self.clock.now(),
        })
    }
}

fn open(dir: &TempDir, clock: &Arc<ManualClock>, reserve_size_bytes: u64) -> Store {
    let options = options_in(dir.path(), clock, &Arc::default());
    Store::open(Options { reserve_size_bytes, ..options }).expect("opens")
}

fn round_of(store: &Store, clock: &Arc<ManualClock>) -> Round {
    let clock_state = || ClockState { synchronised: Some(true), ..ClockState::default() };
    let steady = Arc::clone(clock);
    let steady = move || Duration::from_micros(steady.now().micros().unsigned_abs());
    let steady = Arc::new(steady);
    let agents = Agents::default();
    let tools = Tools {
        store: store.clone(),
        clock: clock.clone(),
        clock_state,
        steady,
        agents,
        buckets: None,
    };
    Round::new(tools, Board::default(), Reader::Followed)
}

#[test]
fn a_log_is_followed_from_its_oldest_file_and_over_a_restart() {
    let mut scene = Scene::new();
    scene.login();
    scene.pass(1);
    fs::rename(scene.log(), scene.log().with_extension("log.1")).expect("renamed");
    scene.login();
    scene.follow();
    scene.after(1);
    scene.is_complete();
    assert_eq!(scene.status().state, State::Following);
    scene.login();
    scene.after(1);
    scene.is_complete();
    scene.login();
    scene.restart(0);
    scene.login();
    scene.after(1);
    scene.is_complete();
    let answer = scene.coverage();
    assert_eq!((answer.grade, answer.gaps), (Grade::Watched, Vec::new()));
    let filter = Filter { kind: Kind::Quarantine, ..Filter::all(Scope::Project(group(GROUP)), 9) };
    assert_eq!(scene.store.select(&filter).expect("answers").total, 0);
}

/// Goal: what waits to be stored is bounded, however far behind a log is. Method: a log of several such
/// bounds; each round reads one of them and stores it.
#[test]
fn a_log_that_is_far_behind_is_stored_in_parts() {
    let mut scene = Scene::new();
    (0..9000).for_each(|_| scene.login());
    let size_bytes = fs::metadata(scene.log()).expect("is there").len();
    assert!(size_bytes > 2 * ROUND_SIZE_BYTES as u64, "{size_bytes}");
    scene.follow();
    let mut more = true;
    while more {
        let before = scene.recorded();
        more = scene.round.run(&AtomicBool::new(false));
        let stored_bytes = (scene.recorded() - before) * size_bytes / scene.written;
        assert!(stored_bytes < ROUND_SIZE_BYTES as u64 * 11 / 10, "{stored_bytes}");
    }
    scene.is_complete();
}

/// How fresh an answer is while nobody comes: ten seconds.
#[test]
fn a_quiet_log_is_watched_through_the_present() {
    let mut scene = Scene::new();
    scene.login();
    scene.follow();
    scene.run();
    scene.after(10);
    for _ in 0..30 {
        scene.after(5);
        let through = scene.coverage().through.expect("is watched");
        let lag = scene.clock.now().micros() - through.micros();
        assert!((0..=11_000_000).contains(&lag), "{lag} us");
    }
    let watched = scene.store.watched();
    let beat = watched.sources["db-1"].heartbeat.clone().expect("a heartbeat each minute");
    assert!(beat.at >= scene.clock.now().plus_seconds(-60));
    assert_eq!(beat.clock.synchronised, Some(true));
}

/// A host whose clock is behind may yet write lines of what is past to us.
#[test]
fn a_host_whose_clock_is_behind_is_not_watched_through_our_present() {
    let mut scene = Scene::new();
    scene.login();
    scene.follow();
    scene.run();
    for _ in 0..10 {
        scene.pass(-600);
        scene.login();
        scene.pass(600);
        scene.run();
        scene.pass(100);
    }
    let through = scene.coverage().through.expect("is watched");
    assert!(through <= scene.clock.now().plus_seconds(-600), "{through}");
    scene.is_complete();
}

/// A log whose clock is ahead is watched like any other, by our clock.
#[test]
fn a_host_whose_clock_is_ahead_is_watched() {
    let mut scene = Scene::new();
    let login = |scene: &mut Scene| {
        scene.pass(3600);
        scene.login();
        scene.pass(-3600);
    };
    login(&mut scene);
    scene.follow();
    scene.run();
    for _ in 0..5 {
        scene.after(20);
        login(&mut scene);
    }
    scene.after(20);
    scene.is_complete();
    let answer = scene.coverage();
    assert_eq!((answer.grade, answer.through), (Grade::Watched, Some(scene.clock.now())));
}

/// mongod goes on writing to a log that was renamed until it opens the next one.
#[test]
fn no_time_is_lost_while_a_log_has_no_name() {
    let mut scene = Scene::new();
    scene.login();
    scene.follow();
    scene.after(1);
    fs::rename(scene.log(), scene.log().with_extension("log.1")).expect("renamed");
    scene.after(1);
    assert_eq!(scene.status().state, State::Waiting);
    scene.login();
    scene.after(1);
    scene.is_complete();
    assert_eq!(scene.status().state, State::Following);
}

#[test]
fn what_cannot_be_read_for_a_minute_is_a_gap_until_it_can() {
    let mut scene = Scene::new();
    scene.login();
    scene.follow();
    scene.run();
    let away = scene.log().with_extension("away");
    scene.after(30);
    let seen = scene.clock.now();
    fs::rename(scene.log(), &away).expect("renamed");
    for _ in 0..7 {
        scene.after(10);
    }
    assert_eq!(scene.status().state, State::Waiting);
    let gaps = scene.coverage().gaps;
    let [Gap { from, to: None, cause, source, .. }] = &gaps[..] else { panic!("{gaps:?}") };
    assert!(*from <= seen.plus_seconds(10) && source.as_deref() == Some("db-1"), "{gaps:?}");
    assert!(cause.contains("mongod.log"), "{cause}");
    scene.restart(0);
    scene.after(1);
    assert_eq!(scene.coverage().gaps.len(), 1, "also after a restart");
    fs::rename(&away, scene.log()).expect("renamed");
    scene.login();
    scene.after(20);
    scene.is_complete();
    assert_eq!(scene.coverage().gaps, Vec::new(), "nothing was missed after all");
}

/// Goal: a gap lasts as long as what brought it about, also while the source tells that it is alive.
/// Method: the log is away for an hour.
#[test]
fn a_gap_outlasts_heartbeats() {
    let mut scene = Scene::new();
    scene.login();
    scene.follow();
    scene.run();
    scene.after(30);
    fs::rename(scene.log(), scene.log().with_extension("away")).expect("renamed");
    for _ in 0..120 {
        scene.after(30);
    }
    let gaps = scene.coverage().gaps;
    assert!(gaps.len() == 1 && gaps[0].to.is_none(), "{gaps:?}");
}

#[test]
fn a_source_that_rests_is_blind_and_reads_later_what_it_missed() {
    let mut scene = Scene::new();
    scene.login();
    scene.follow();
    scene.run();
    scene.after(20);
    scene.pause(true);
    scene.login();
    scene.after(20);
    assert_eq!((scene.recorded(), scene.status().state), (1, State::Paused));
    assert_eq!(&*scene.coverage().gaps[0].cause, "paused");
    scene.pause(false);
    scene.after(1);
    scene.is_complete();
    scene.after(20);
    assert_eq!(scene.coverage().gaps, Vec::new());
    scene.change(RegistryChange::SourceReplayed { name: "db-1".into() });
    scene.run();
    let progress = scene.store.watched().sources["db-1"].clone();
    assert_eq!(
        (progress.lines, progress.events),
        (2, 0),
        "both lines again, at once, and nothing new"
    );
    scene.is_complete();
    scene.change(RegistryChange::SourceRemoved { name: "db-1".into() });
    scene.login();
    scene.after(20);
    assert_eq!(scene.recorded(), scene.written - 1);
    assert!(scene.round.board.statuses().is_empty());
}

/// Whose logins these are nobody could say.
#[test]
fn the_log_of_another_host_is_not_recorded() {
    let mut scene = Scene::new();
    scene.names_host("db-9");
    scene.login();
    scene.follow();
    scene.after(1);
    let status = scene.status();
    assert_eq!((scene.recorded(), status.state), (0, State::Failed));
    assert!(status.message.as_deref().is_some_and(|m| m.contains("db-9")), "{status:?}");
    for _ in 0..7 {
        scene.after(10);
    }
    let gaps = scene.coverage().gaps;
    assert!(gaps.iter().any(|gap| gap.cause.contains("is the log of db-9")), "{gaps:?}");

    let mut scene = Scene::new();
    scene.names_host("db-one");
    scene.login();
    scene.follow();
    scene.after(1);
    scene.is_complete();
}

/// Nothing is lost by a full disk: it waits in the log.
#[test]
fn what_cannot_be_stored_is_read_again() {
    let mut scene = Scene::new();
    scene.login();
    scene.follow();
    scene.run();
    scene.restart(u64::MAX);
    scene.login();
    scene.after(1);
    let status = scene.status();
    assert_eq!((scene.recorded(), status.state), (1, State::Failed));
    assert!(status.message.is_some_and(|m| m.contains("cannot be stored")));
    scene.after(10);
    scene.restart(0);
    scene.login();
    scene.after(1);
    scene.is_complete();
    let page = scene.store.select(&Filter::all(Scope::Project(group(GROUP)), 9)).expect("answers");
    assert!(page.rows.iter().all(|row| matches!(row.record, Record::Access(_))));
}

/// Goal: a clock that is set is an event of the system, once. Method: the other clock goes on by a second
/// while ours goes on by an hour, and goes back.
#[test]
fn a_clock_that_jumps_is_an_event() {
    let mut scene = Scene::new();
    let jumps = |store: &Store| {
        let actions = vec![Action::ClockJump];
        let page = store.select(&Filter { actions, ..Filter::all(Scope::System, 9) });
        let rows = page.expect("answers").rows.into_iter();
        rows.map(|row| match row.record {
            Record::Own(access) => {
                access.attributes.get("by_seconds").expect("is said").to_string()
            }
            other => panic!("{other:?}"),
        })
        .collect::<Vec<_>>()
    };
    let steady = Arc::new(AtomicU64::new(0));
    let seconds = Arc::clone(&steady);
    scene.round.tools.steady =
        Arc::new(move || Duration::from_secs(seconds.load(Ordering::SeqCst)));
    let pass = |scene: &mut Scene, ours: i64| {
        steady.fetch_add(1, Ordering::SeqCst);
        scene.after(ours);
    };
    pass(&mut scene, 1);
    pass(&mut scene, 1);
    assert_eq!(jumps(&scene.store), [""; 0]);
    pass(&mut scene, 3600);
    pass(&mut scene, 1);
    assert_eq!(jumps(&scene.store), ["3599"]);
    pass(&mut scene, -3600);
    pass(&mut scene, 1);
    assert_eq!(jumps(&scene.store), ["3599", "-3601"]);
}

/// Goal: two losses that are found at once are told both, each from its one end to its other. Method: a
/// log is copied and cut short twice while the server is down.
#[test]
fn each_of_two_losses_is_told() {
    let mut scene = Scene::new();
    scene.login();
    scene.follow();
    scene.after(20);
    scene.login();
    for copy in ["log.2", "log.1"] {
        fs::copy(scene.log(), scene.log().with_extension(copy)).expect("copied");
        let log = File::options().write(true).open(scene.log());
        log.and_then(|log| log.set_len(0)).expect("cut short");
        scene.pass(20);
        scene.login();
        scene.clock.set(scene.clock.now().plus_micros(500_000));
        scene.login();
    }
    scene.restart(0);
    scene.after(20);
    scene.is_complete();
    let gaps = scene.coverage().gaps;
    let told: Vec<_> = gaps.iter().map(|gap| (gap.grade, gap.from, gap.to)).collect();
    let at = |millis: i64| NOW.plus_micros(millis * 1000);
    let gap = |from, to| (Grade::BestEffort, at(from), Some(at(to)));
    assert_eq!(told, [gap(40_500, 60_500), gap(20_000, 40_000)], "{gaps:?}");
}

/// Goal: what was rotated away unread is a gap, and importing just that closes it. Method: the file is
/// taken away while the server is down, and imported from elsewhere afterwards.
#[test]
fn a_backfill_closes_the_gap_that_it_fills() {
    let mut scene = Scene::new();
    scene.login();
    scene.follow();
    scene.after(20);
    for _ in 0..3 {
        scene.pass(20);
        scene.login();
    }
    let away = tempfile::tempdir().expect("a temporary directory");
    let away = away.path().join("mongod.log.1");
    fs::copy(scene.log(), &away).expect("copied");
    fs::remove_file(scene.log()).expect("removed");
    scene.pass(20);
    scene.login();
    scene.restart(0);
    scene.after(20);
    assert_eq!(scene.recorded(), scene.written - 3);
    let gaps = scene.coverage().gaps;
    let [gap] = &gaps[..] else { panic!("{gaps:?}") };
    assert_eq!((gap.grade, gap.source.as_deref()), (Grade::Blind, Some("db-1")));
    let lost = |at: Timestamp| gap.from <= at && gap.to.is_some_and(|to| at < to);
    assert!((1..=3).all(|n| lost(NOW.plus_seconds(20 + 20 * n))), "{gap:?}");

    let job = pipeline::Job {
        project: group(GROUP).to_string(),
        cluster: "Cluster0".into(),
        host: Some("db-1".into()),
        add_host: false,
        inputs: input::expand(&[away.display().to_string()]).expect("is there").inputs,
        zone: jiff::tz::TimeZone::UTC,
        follow: false,
    };
    let mut sink = pipeline::StoreSink::new(scene.store.clone(), operator());
    let (stop, progress) = (Arc::default(), Arc::default());
    pipeline::run(job, &mut sink, &stop, &progress, &mut |_| ()).expect("is imported");
    scene.is_complete();
    let gaps = scene.coverage().gaps;
    // From the copy's last line to the first one after it nobody has seen anything.
    let [gap] = &gaps[..] else { panic!("{gaps:?}") };
    assert_eq!((gap.from, gap.to), (NOW.plus_seconds(80), Some(NOW.plus_seconds(100))));
}

impl Scene {
    /// The source is followed by an agent from now on.
    fn ship(&self) {
        let source = Source { agent: Some("edge-1".into()), ..self.source() };
        self.change(RegistryChange::SourceSet(source));
    }

    /// Its agent says how it is.
    fn report(&mut self, state: State) {
        let mut unknown_ids = UnknownIds::default();
        unknown_ids.add(UnknownId { id: 815, version: None, count: 3, message: "Odd".into() });
        let source = "db-1".into();
        let report = Report { source, state, message: None, behind_bytes: 7, unknown_ids };
        let reports = BTreeMap::from([("db-1".into(), report)]);
        let (at, version) = (self.clock.now(), "0.1.0".into());
        let heard = Heard { at, version, ahead_micros: 0, reports };
        self.round.tools.agents.hear(group(GROUP), &"edge-1".into(), heard);
        self.run();
    }

    /// What its agent read is stored: everything up to now.
    fn arrives(&self, from: &[u8], to: &[u8]) {
        let source = self.store.catalog().registry.source("db-1").expect("is there").clone();
        let advance = Advance {
            source,
            after: from.to_vec(),
            position: to.to_vec(),
            is_next_file: false,
            accesses: Vec::new(),
            coverage: Vec::new(),
            quarantine: Vec::new(),
            heartbeat: None,
            through: Some(self.clock.now()),
            since: Some(NOW),
            lines: 1,
            doubt: None,
        };
        self.store.advance(vec![advance]).pop().expect("an answer").expect("stored");
    }

    fn causes(&self) -> Vec<(String, Option<Timestamp>)> {
        let told = |gap: &Gap| (gap.cause.to_string(), gap.to);
        self.coverage().gaps.iter().map(told).collect()
    }
}

/// Goal: an agent that says nothing is a gap from where its source was known, told once, over a restart,
/// too; what it brings when it is back fills it. Method: the life of one.
#[test]
fn an_agent_that_is_away_is_a_gap_until_it_is_back() {
    let mut scene = Scene::new();
    scene.login();
    scene.ship();
    scene.run();
    // It is not the server that reads.
    assert_eq!((scene.recorded(), scene.status().state), (0, State::Waiting));
    scene.after(59);
    assert_eq!(scene.status().message.as_deref(), Some("agent edge-1 has not reported yet"));
    scene.after(1);
    assert_eq!(scene.status().state, State::Away);
    assert_eq!(scene.causes(), [("agent edge-1 is away".into(), None)]);
    scene.pass(10);
    scene.report(State::CatchingUp);
    assert_eq!((scene.status().state, scene.status().behind_bytes), (State::CatchingUp, 7));
    assert_eq!(scene.status().unknown_ids.total(), 3);
    scene.arrives(b"", b"1");
    assert_eq!(scene.causes(), []);
    for _ in 0..3 {
        scene.pass(50);
        scene.report(State::Following);
    }
    assert_eq!((scene.status().state, scene.status().lines), (State::Following, 1));
    scene.after(60);
    assert_eq!(scene.status().state, State::Away);
    let known = scene.status().through.expect("was known");
    scene.after(60);
    scene.restart(0);
    scene.after(61);
    let answer = scene.coverage();
    assert_eq!((answer.gaps.len(), answer.gaps[0].from), (1, known));
    scene.report(State::Following);
    // Its log said nothing; that is known now.
    scene.arrives(b"1", b"1");
    assert_eq!(scene.causes(), []);
    assert_eq!(scene.coverage().grade, Grade::Watched);
}

/// A source that rests asks nothing of its agent.
#[test]
fn an_agent_is_not_missed_where_its_source_rests() {
    let mut scene = Scene::new();
    scene.ship();
    scene.arrives(b"", b"1");
    scene.pause(true);
    scene.after(600);
    assert_eq!(scene.status().state, State::Paused);
    assert_eq!(scene.causes()[0].0, "paused");
    scene.pause(false);
    scene.after(1);
    assert_eq!(scene.status().state, State::Waiting);
    scene.after(60);
    assert_eq!(scene.status().state, State::Away);
}

/// Goal: messages that nobody knows are counted while a log is followed, each once, whether or not an event comes with it,
/// over a rotation and over a restart, which begins to count anew. Method: write some, with and without logins.
#[test]
fn messages_that_nobody_knows_are_counted_once() {
    let mut scene = Scene::new();
    scene.follow();
    scene.login();
    scene.unknown();
    scene.unknown();
    scene.after(1);
    let total = |scene: &Scene| scene.status().unknown_ids.total();
    assert_eq!(total(&scene), 2);
    let known = scene.status().unknown_ids;
    let known: Vec<_> = known.iter().map(|unknown| (unknown.id, &*unknown.message)).collect();
    assert_eq!(known, [(9_999_999, "m")]);
    scene.unknown();
    for _ in 0..8 {
        scene.after(60);
    }
    assert_eq!(total(&scene), 3, "a quiet log is told of, too");
    fs::rename(scene.log(), scene.log().with_extension("log.1")).expect("renamed");
    scene.unknown();
    scene.login();
    scene.after(1);
    assert_eq!(total(&scene), 4);
    scene.restart(0);
    scene.login();
    scene.after(1);
    assert_eq!(total(&scene), 0, "what was counted before is not counted again");
    scene.unknown();
    scene.login();
    scene.after(1);
    assert_eq!(total(&scene), 1);
    scene.is_complete();
}

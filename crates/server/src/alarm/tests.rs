//! Goal: what is not seen is told once, to everyone who is to know, over restarts and failures, and so is
//! its end. Method: a real store with a clock that the test sets, one look at a time, and real receivers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::thread::JoinHandle;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use doorbook_event::record::{Actor, Coverage, Grade, Hidden};
use doorbook_event::registry::{Host, RegistryChange};
use doorbook_event::review::{Decision, Due};
use doorbook_event::source::{Source, SourceKind, Subject};
use doorbook_event::time::{CountingRandom, ManualClock};
use doorbook_event::{HostName, Peer, Principal, PublicIds, Record, Scope, Target};
use doorbook_store::alarm::{Acknowledgement, AlarmKind, Message};
use doorbook_store::{Advance, Entry};
use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::syslog::Syslog;
use super::webhook::Webhook;
use super::*;
use crate::api::atlas::tests::{GROUP, NOW, group, operator, registry_changes};
use crate::app::{Secrets, Settings as AppSettings};
use crate::review::{Described, Desk};
use crate::sources::{State, Status};
use crate::test_support::options_in;

struct Scene {
    dir: TempDir,
    clock: Arc<ManualClock>,
    tools: Tools,
    watchman: Watchman,
    /// Where the source is.
    position: Vec<u8>,
}

const SYNCHRONISED: fn() -> ClockState =
    || ClockState { synchronised: Some(true), ..ClockState::default() };
const UNSYNCHRONISED: fn() -> ClockState =
    || ClockState { synchronised: Some(false), ..ClockState::default() };

impl Scene {
    /// A host that a source follows and is read through the present.
    fn new() -> Scene {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new(NOW));
        let tools = tools(&dir, &clock);
        let mut changes = registry_changes();
        let (cluster, name) = ("Cluster0".into(), host());
        changes.push(RegistryChange::HostAdded(Host {
            project: group(GROUP),
            cluster,
            name,
            aliases: Vec::new(),
        }));
        changes.push(RegistryChange::SourceSet(source()));
        tools.store.change_registry(&operator(), changes).expect("allowed");
        let watchman = Watchman::new(tools.clone(), vec!["webhook".into()]);
        let mut scene = Scene { dir, clock, tools, watchman, position: Vec::new() };
        scene.state(State::Following);
        scene.read(10);
        scene
    }

    fn restart(&mut self) {
        self.tools.store.close().expect("closes");
        self.tools = tools(&self.dir, &self.clock);
        self.watchman = Watchman::new(self.tools.clone(), vec!["webhook".into()]);
        self.state(State::Following);
    }

    fn state(&self, state: State) {
        let (message, through) = (None, None);
        let status = Status { message, through, ..Status::new(state) };
        self.tools
            .board
            .set(crate::sources::Reader::Followed, BTreeMap::from([("db-1".into(), status)]));
    }

    /// The source reads so many lines, and everything up to now.
    fn read(&mut self, lines: u64) {
        self.advance(lines, self.clock.now());
    }

    fn advance(&mut self, lines: u64, through: Timestamp) {
        let mut position = self.position.clone();
        position.push(1);
        let after = std::mem::replace(&mut self.position, position.clone());
        let advance = Advance {
            source: source(),
            after,
            position,
            is_next_file: false,
            accesses: Vec::new(),
            coverage: Vec::new(),
            quarantine: Vec::new(),
            heartbeat: None,
            through: Some(through),
            since: None,
            lines,
            doubt: None,
        };
        self.tools.store.advance(vec![advance]).remove(0).expect("is stored");
    }

    fn tell(&self, gap: Coverage) {
        let scope = Scope::Project(group(GROUP));
        let (source, records) = ("db-1".into(), vec![Record::Coverage(gap)]);
        self.tools.store.commit(vec![Entry { scope, source, records }]).expect("is stored");
    }

    fn pass(&mut self, seconds: i64) {
        self.clock.set(self.clock.now().plus_seconds(seconds));
    }

    /// Kinds of the messages that a look queues.
    #[track_caller]
    fn looks(&mut self, expected: &[&str]) {
        let before = self.outbox().len();
        let has_news = self.watchman.look().expect("looks");
        let kinds: Vec<String> =
            self.outbox()[before..].iter().map(|of| of.kind.to_string()).collect();
        assert_eq!(kinds, expected, "{:?}", self.tools.store.alarms());
        assert_eq!(has_news, !expected.is_empty());
    }

    fn outbox(&self) -> Vec<Message> {
        self.tools.store.alarms().outbox.iter().cloned().collect()
    }

    fn last_text(&self) -> String {
        self.outbox().last().expect("a message").text.to_string()
    }
}

fn tools(dir: &TempDir, clock: &Arc<ManualClock>) -> Tools {
    let random: Arc<CountingRandom> = Arc::default();
    let store = Store::open(options_in(dir.path(), clock, &random)).expect("opens");
    let secrets = Secrets::of(&store).expect("secrets");
    let app =
        App::new(store.clone(), clock.clone(), random.clone(), AppSettings::default(), &secrets);
    Tools {
        store,
        clock: clock.clone(),
        random,
        clock_state: SYNCHRONISED,
        board: Board::default(),
        app,
        pause: Duration::from_millis(1),
    }
}

fn host() -> HostName {
    HostName::parse("db-1").expect("a host").0
}

fn source() -> Source {
    Source {
        name: "db-1".into(),
        kind: SourceKind::MongodLog,
        subject: Subject::Host { project: group(GROUP), cluster: "Cluster0".into(), host: host() },
        interval_seconds: None,
        path: "/var/log/mongodb/mongod.log".into(),
        zone: "UTC".into(),
        paused: false,
        agent: None,
        rules: Vec::new(),
    }
}

/// The log was made quiet.
fn quiet(from: Timestamp, to: Option<Timestamp>) -> Coverage {
    let user = Principal::User { name: "root".into(), database: "admin".into() };
    let peer = Peer::ip([10, 0, 3, 7].into(), Some(51234));
    Coverage {
        target: source().target(),
        actions: SourceKind::MongodLog.actions().to_vec(),
        hidden: Hidden::Successes,
        cause: "setParameter quiet=true".into(),
        actor: Some(Actor { principal: user, peer }),
        from,
        to,
        last_seen: from,
        source: None,
        grade: Grade::Blind,
        missing: None,
    }
}

const OPENED: &str = "coverage.gap.opened";
const CLOSED: &str = "coverage.gap.closed";

#[test]
fn a_night_is_told_in_four_messages() {
    let mut scene = Scene::new();
    scene.looks(&[]);
    let from = scene.clock.now();
    scene.tell(quiet(from, None));
    scene.looks(&[OPENED]);
    let sentence = "db-1:27017 blind since 2023-04-26 03:33 UTC: setParameter quiet=true by root@admin \
                    from 10.0.3.7";
    assert_eq!(scene.last_text(), sentence);
    scene.looks(&[]);
    scene.restart();
    scene.looks(&[]);
    scene.pass(60);
    scene.read(1);
    scene.tell(Coverage { missing: Some(7), ..quiet(from, None) });
    scene.looks(&["counters.missing.opened"]);
    assert_eq!(scene.last_text(), format!("{sentence}; counters say 7 logins missing"));
    scene.pass(45 * 60 - 60);
    scene.read(1);
    let to = scene.clock.now();
    scene.tell(Coverage { missing: Some(41), ..quiet(from, Some(to)) });
    scene.looks(&[CLOSED]);
    assert_eq!(
        scene.last_text(),
        "db-1:27017 blind from 2023-04-26 03:33 UTC until 2023-04-26 04:18 UTC: setParameter quiet=true \
         by root@admin from 10.0.3.7; counters say 41 logins missing"
    );
    scene.looks(&[]);
    scene.pass(11 * 60);
    scene.read(1);
    scene.looks(&["counters.missing.closed"]);
    scene.restart();
    scene.looks(&[]);
    assert_eq!(scene.tools.store.alarms().open().count(), 0);
}

/// Goal: a message says all that was promised and nothing else. Method: the whole body.
#[test]
fn a_body_has_what_is_promised_and_nothing_else() {
    let mut scene = Scene::new();
    scene.tell(quiet(NOW, None));
    scene.looks(&[OPENED]);
    let message = scene.outbox().remove(0);
    let body: Value = serde_json::from_str(&message.body).expect("JSON");
    let alarm = scene.tools.store.alarms().alarms.keys().next().cloned();
    assert_eq!(
        body,
        json!({
            "type": OPENED,
            "timestamp": "2023-04-26T03:33:20Z",
            "data": {
                "alarm": alarm.as_deref(),
                "project": "Project 0",
                "cluster": "Cluster0",
                "host": "db-1:27017",
                "from": "2023-04-26T03:33:20Z",
                "cause": "setParameter quiet=true",
                "by": "root@admin from 10.0.3.7",
                "text": scene.last_text(),
            },
        })
    );
    assert!(!message.id.contains('.'), "the standard forbids it: {}", message.id);
}

/// What somebody called themselves cannot make two lines of one, or a message that nobody takes.
#[test]
fn texts_are_bounded_and_have_no_control_characters() {
    let mut scene = Scene::new();
    let name = format!("a\nb\u{1b}{}", "x".repeat(100_000));
    let principal = Principal::User { name: name.into(), database: "admin".into() };
    let actor = Some(Actor { principal, peer: Peer::Unknown });
    scene.tell(Coverage { actor, cause: "y".repeat(100_000).into(), ..quiet(NOW, None) });
    scene.looks(&[OPENED]);
    let message = scene.outbox().remove(0);
    assert!(message.body.len() < 8000, "{}", message.body.len());
    assert!(
        message.text.contains("by a\\nb\\u{1b}xxx") && !message.text.contains(char::is_control)
    );
}

/// Goal: which gaps alarm. Method: single gaps, and what the first two looks tell of each.
#[test]
fn what_alarms_and_what_does_not() {
    let at = |seconds: i64| NOW.plus_seconds(seconds);
    let counted = |cause: &str, missing| Coverage {
        cause: format!("counters: {cause}").into(),
        actor: None,
        missing,
        ..quiet(at(-60), Some(at(-30)))
    };
    let lost = |from, to| Coverage {
        source: Some("db-1".into()),
        grade: Grade::BestEffort,
        hidden: Hidden::All,
        cause: "the file was cut".into(),
        actor: None,
        ..quiet(from, to)
    };
    let elsewhere = Target::Host { cluster: "Cluster0".into(), host: "db-9:27017".into() };
    const COUNTERS: &str = "counters.missing.opened";
    let cases: Vec<(&str, Vec<Coverage>, &[&str])> = vec![
        ("lasts", vec![quiet(at(-60), None)], &[OPENED]),
        ("lasts since last year", vec![quiet(at(-400 * 86_400), None)], &[OPENED]),
        ("was over when it was seen", vec![quiet(at(-60), Some(at(-30)))], &[OPENED, CLOSED]),
        ("is history", vec![quiet(at(-90_000), Some(at(-88_000)))], &[]),
        ("nobody follows that host", vec![Coverage { target: elsewhere, ..quiet(NOW, None) }], &[]),
        ("a source lost something", vec![lost(at(-60), Some(at(-30)))], &[OPENED, CLOSED]),
        ("a source cannot read", vec![lost(at(-60), None)], &[OPENED]),
        ("logins are missing", vec![counted("missing", Some(3))], &[COUNTERS]),
        ("more recorded than counted", vec![counted("more", None)], &[COUNTERS]),
        ("a backfill brought them", vec![counted("missing", Some(0))], &[]),
        (
            "missing at reading after reading",
            vec![
                counted("missing", Some(3)),
                Coverage { from: at(-30), to: Some(at(-5)), ..counted("missing", Some(4)) },
            ],
            &[COUNTERS],
        ),
    ];
    for (what, gaps, expected) in cases {
        let mut scene = Scene::new();
        for gap in gaps {
            scene.tell(gap);
        }
        println!("{what}");
        scene.looks(expected);
        scene.looks(&[]);
    }
}

/// A source that reads an old log for the first time alarms nobody about what may end in the next line.
#[test]
fn a_backlog_does_not_alarm() {
    let mut scene = Scene::new();
    scene.pass(30 * 86_400);
    let from = scene.clock.now().plus_seconds(-20 * 86_400);
    scene.advance(1, from.plus_seconds(60));
    scene.tell(quiet(from, None));
    scene.looks(&[]);
    scene.read(1);
    scene.looks(&[OPENED]);
    // Once told it stays, also if the source falls behind.
    scene.state(State::Failed);
    scene.pass(2 * 3600);
    scene.looks(&[]);
    assert_eq!(scene.tools.store.alarms().open().count(), 1);
}

#[test]
fn what_comes_back_is_told_again_and_what_lasts_once_a_day_until_acknowledged() {
    let mut scene = Scene::new();
    scene.state(State::Failed);
    let failing = Coverage { source: Some("db-1".into()), ..quiet(NOW, None) };
    scene.tell(failing.clone());
    scene.looks(&[OPENED]);
    scene.pass(60);
    scene.read(0);
    scene.looks(&[CLOSED]);
    scene.pass(10);
    scene.tell(Coverage { from: scene.clock.now(), ..failing });
    scene.looks(&[OPENED]);
    for _ in 0..2 {
        scene.pass(86_399);
        scene.looks(&[]);
        scene.pass(1);
        scene.looks(&["coverage.gap.continues"]);
    }
    let alarms = scene.tools.store.alarms();
    let id = alarms.open().next().expect("is open").id.clone();
    let (by, at) = (operator(), scene.clock.now());
    let what = Acknowledgement { by, at, cause: "disk replaced".into(), note: None };
    let change = Change::Acknowledged { id, what: Box::new(what) };
    scene.tools.store.change_alarms(&operator(), vec![change]).expect("is written");
    scene.pass(3 * 86_400);
    scene.looks(&[]);
    scene.read(0);
    scene.looks(&[CLOSED]);
    assert!(scene.outbox().last().expect("a message").body.contains("\"acknowledged\":"));
}

/// Goal: a source is silent when it is much quieter than it ever was. Method: one that writes each minute, one
/// that pauses for an hour now and then, over restarts.
#[test]
fn a_source_is_silent_by_its_own_measure() {
    let silent = ["source.silent.opened"];
    let mut scene = Scene::new();
    for _ in 0..60 {
        scene.looks(&[]);
        scene.pass(60);
        scene.read(5);
    }
    scene.looks(&[]);
    // That it is read, and nothing comes, is no line.
    for _ in 0..14 {
        scene.pass(60);
        scene.read(0);
        scene.looks(&[]);
    }
    scene.pass(60);
    scene.looks(&silent);
    assert_eq!(
        scene.last_text(),
        "db-1:27017 silent since 2023-04-26 04:33 UTC: source db-1 brought no line"
    );
    scene.restart();
    scene.looks(&[]);
    scene.pass(60);
    scene.read(1);
    scene.looks(&["source.silent.closed"]);
    // It was heard saying nothing for 16 minutes: after a restart again 15 are the measure.
    scene.restart();
    scene.looks(&[]);
    for _ in 0..3 {
        scene.pass(800);
        scene.read(1);
        scene.looks(&[]);
    }
    scene.pass(2399);
    scene.looks(&[]);
    scene.pass(1);
    scene.looks(&silent);
    scene.state(State::Paused);
    scene.looks(&["source.silent.closed"]);
    scene.pass(86_400);
    scene.read(0);
    scene.looks(&[]);
}

#[test]
fn a_clock_that_is_not_synchronised_alarms_after_half_a_minute() {
    let mut scene = Scene::new();
    scene.watchman.tools.clock_state = UNSYNCHRONISED;
    scene.looks(&[]);
    scene.pass(29);
    scene.looks(&[]);
    scene.pass(1);
    scene.looks(&["clock.unsynchronised.opened"]);
    scene.looks(&[]);
    scene.restart();
    scene.watchman.tools.clock_state = UNSYNCHRONISED;
    scene.looks(&[]);
    scene.watchman.tools.clock_state = ClockState::default;
    scene.looks(&["clock.unsynchronised.closed"]);
    let alarms = scene.tools.store.alarms();
    assert!(alarms.alarms.values().all(|alarm| alarm.condition.kind == AlarmKind::Clock));
}

/// What waits for somebody who is not told any more goes.
/// Goal: a review that nobody signs alarms once, and what is signed ends it. Method: a daily review whose
/// deadline passes.
#[test]
fn a_review_that_nobody_signs_alarms_until_it_is_signed() {
    let mut scene = Scene::new();
    let desk = |scene: &Scene| Desk {
        store: scene.tools.store.clone(),
        ids: PublicIds::new(&[7; 32]),
        catalog: scene.tools.store.catalog(),
        now: scene.clock.now(),
    };
    let described = Described {
        name: "failures".into(),
        scope: Scope::Project(group(GROUP)),
        filter: "result:failed".into(),
        zone: "UTC".into(),
        due: Due::parse("10:00").expect("a deadline"),
    };
    desk(&scene).create(&operator(), described, false).expect("is made");
    scene.looks(&[]);
    for _ in 0..24 {
        scene.pass(3600);
        scene.read(1);
    }
    scene.looks(&["review.overdue.opened"]);
    assert!(scene.last_text().starts_with("nobody signed review failures: overdue since "));
    let body: Value = serde_json::from_str(&scene.outbox()[0].body).expect("JSON");
    assert_eq!(body["data"]["review"], "failures");
    scene.restart();
    scene.read(1);
    scene.looks(&[]);
    let desk = desk(&scene);
    let review = desk.review("failures").expect("is there");
    let round = desk.look(review, None).expect("is shown");
    desk.sign(&operator(), &round, (Decision::Accepted, None)).expect("is signed");
    scene.looks(&["review.overdue.closed"]);
    assert_eq!(scene.tools.store.alarms().open().count(), 0);
}

#[test]
fn a_destination_that_was_taken_out_leaves_nothing_behind() {
    let mut scene = Scene::new();
    scene.tell(quiet(NOW, None));
    scene.looks(&[OPENED]);
    scene.watchman = Watchman::new(scene.tools.clone(), Vec::new());
    scene.state(State::Following);
    assert!(!scene.watchman.look().expect("looks"));
    assert_eq!(scene.outbox(), Vec::new());
    assert_eq!(scene.tools.store.alarms().open().count(), 1);
}

/// Goal: who is told of alarms only now hears of those that are open. Method: one that opened while nobody was
/// to be told.
#[test]
fn a_new_destination_is_told_what_is_open() {
    let mut scene = Scene::new();
    scene.watchman = Watchman::new(scene.tools.clone(), Vec::new());
    scene.tell(quiet(NOW, None));
    scene.looks(&[]);
    scene.pass(60);
    scene.looks(&[]);
    scene.restart();
    scene.looks(&["coverage.gap.continues"]);
    scene.looks(&[]);
}

/// A request as a receiver got it.
struct Posted {
    head: String,
    body: String,
}

impl Posted {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }
}

/// Answers one request after the other with these; an empty one is no answer.
fn receiver(answers: Vec<&'static str>) -> (String, JoinHandle<Vec<Posted>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let url = format!("http://{}/hook?a=b", listener.local_addr().expect("an address"));
    let thread = std::thread::spawn(move || {
        answers.into_iter().map(|answer| take(&listener, answer)).collect()
    });
    (url, thread)
}

fn take(listener: &TcpListener, answer: &str) -> Posted {
    let (stream, _) = listener.accept().expect("comes");
    exchange(stream, answer)
}

fn exchange(mut stream: impl Read + Write, answer: &str) -> Posted {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).expect("readable");
        bytes.extend_from_slice(&part[..length]);
        let text = String::from_utf8(bytes.clone()).expect("UTF-8");
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let posted = Posted { head: head.to_owned(), body: body.to_owned() };
        let length: usize = posted.header("content-length").parse().expect("a number");
        if body.len() == length {
            if !answer.is_empty() {
                write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").expect("writable");
            }
            return posted;
        }
    }
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Goal: over TLS only the one is told whose certificate is trusted. Method: the same receiver, with its own
/// authority and with another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_over_tls_must_be_the_one_that_is_meant() {
    let mut scene = Scene::new();
    scene.tell(quiet(NOW, None));
    scene.looks(&[OPENED]);
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.expect("a key"))
        .expect("fits");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let port = listener.local_addr().expect("an address").port();
    let receiving = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().expect("comes");
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).expect("begins");
            if tls.complete_io(&mut stream).is_ok() {
                return Some(exchange(rustls::StreamOwned::new(tls, stream), "200 OK"));
            }
        }
        None
    });
    let url = format!("https://localhost:{port}/");
    let open = |pem: String| {
        let ca = scene.dir.path().join("ca.pem");
        std::fs::write(&ca, pem).expect("is written");
        std::fs::write(scene.dir.path().join("secret"), SECRET).expect("is written");
        Webhook::open(&url, &scene.dir.path().join("secret"), Some(&ca)).expect("opens")
    };
    let message = scene.outbox().remove(0);
    let refused = open(other.cert.pem()).deliver(&message, NOW).await.expect_err("is refused");
    assert!(format!("{refused:?}").contains("certificate"), "{refused:?}");
    open(made.cert.pem()).deliver(&message, NOW).await.expect("is taken");
    let taken = tokio::task::spawn_blocking(|| receiving.join().expect("no panic")).await;
    assert_eq!(taken.expect("no panic").expect("a request").body, *message.body);
}

fn webhook(scene: &Scene, url: &str) -> Destination {
    let file = scene.dir.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).expect("is written");
    let settings = Settings {
        webhook: Some(WebhookSettings { url: url.to_owned(), secret_file: file, ca_file: None }),
        syslog: None,
    };
    settings.destinations().expect("opens").remove(0).1
}

/// Delivers until everything is, or until the receiver has ended.
async fn deliver<T: Send + 'static>(
    scene: &Scene,
    name: &str,
    to: Destination,
    until: JoinHandle<T>,
) -> T {
    let (stop, stopping) = watch::channel(false);
    let news = Arc::new(Notify::new());
    let run = deliver::run(name.into(), to, scene.tools.clone(), news, stopping);
    let run = tokio::spawn(run);
    let got = tokio::task::spawn_blocking(|| until.join().expect("no panic")).await;
    let got = got.expect("no panic");
    // What was taken is settled right afterwards; one that was stopped before would be sent again.
    while scene.tools.store.alarms().next_for(name).is_some() && !run.is_finished() {
        tokio::task::yield_now().await;
    }
    stop.send(true).ok();
    run.await.expect("no panic");
    got
}

/// Goal: a message arrives whatever the receiver does at first, under one id, signed so that others can verify
/// it, also over a restart. Method: a receiver that fails, falls silent and redirects; then the server starts
/// again, and the receiver takes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_fails_gets_it_after_a_restart_under_the_same_id() {
    let mut scene = Scene::new();
    scene.tell(quiet(NOW, None));
    scene.looks(&[OPENED]);
    let (url, receiving) = receiver(vec!["500 Oops", "", "302 Found"]);
    let to = webhook(&scene, &url);
    let (stop, stopping) = watch::channel(false);
    let run = deliver::run("webhook".into(), to, scene.tools.clone(), Arc::default(), stopping);
    let run = tokio::spawn(run);
    let failed = tokio::task::spawn_blocking(|| receiving.join().expect("no panic"));
    let failed = failed.await.expect("no panic");
    stop.send(true).expect("listens");
    run.await.expect("no panic");
    assert_eq!(scene.outbox().len(), 1);

    scene.restart();
    scene.pass(3600);
    let (url, receiving) = receiver(vec!["204 No Content"]);
    let to = webhook(&scene, &url);
    let taken = deliver(&scene, "webhook", to, receiving).await;
    assert_eq!(scene.outbox(), Vec::new());
    let [taken] = &taken[..] else { panic!("one") };
    assert!(taken.head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{}", taken.head);
    assert_eq!(taken.header("content-type"), "application/json");
    for posted in failed.iter().chain([taken]) {
        assert_eq!(posted.header("webhook-id"), taken.header("webhook-id"));
        assert_eq!(posted.body, taken.body);
        let seconds = posted.header("webhook-timestamp");
        let key = BASE64.decode(&SECRET["whsec_".len()..]).expect("base64");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let signed = format!("{}.{seconds}.{}", posted.header("webhook-id"), posted.body);
        let signature = posted.header("webhook-signature").strip_prefix("v1,").expect("version 1");
        let signature = BASE64.decode(signature).expect("base64");
        hmac::verify(&key, signed.as_bytes(), &signature).expect("is signed");
    }
    // Of the try, so that an old message cannot be told from a replayed one by its age.
    let now = scene.clock.now().micros() / 1_000_000;
    assert_eq!(taken.header("webhook-timestamp"), now.to_string());
}

/// Goal: only 2xx means that it was taken. Method: one try for each kind of answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_taken_for_what_it_says() {
    let mut scene = Scene::new();
    scene.tell(quiet(NOW, None));
    scene.looks(&[OPENED]);
    let message = scene.outbox().remove(0);
    for (answer, expected) in [
        ("200 OK", "taken"),
        ("204 No Content", "taken"),
        ("302 Found", "again"),
        ("404 Not Found", "again"),
        ("410 Gone", "gone"),
        ("503 Service Unavailable", "again"),
        ("", "again"),
        ("nonsense", "again"),
    ] {
        let (url, receiving) = receiver(vec![answer]);
        let Destination::Webhook(webhook) = webhook(&scene, &url) else { panic!("a webhook") };
        let found = match webhook.deliver(&message, NOW).await {
            Ok(()) => "taken",
            Err(deliver::Failure::Again(_)) => "again",
            Err(deliver::Failure::Gone) => "gone",
        };
        assert_eq!(found, expected, "{answer}");
        receiving.join().expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_gone_is_left_alone() {
    let mut scene = Scene::new();
    scene.tell(quiet(NOW, None));
    scene.looks(&[OPENED]);
    let (url, receiving) = receiver(vec!["410 Gone"]);
    let to = webhook(&scene, &url);
    deliver(&scene, "webhook", to, receiving).await;
    assert_eq!(scene.outbox().len(), 1, "it waits for somebody who mends that");
}

#[tokio::test(flavor = "multi_thread")]
async fn syslog_gets_a_line_over_udp_tcp_and_a_unix_socket() {
    let mut scene = Scene::new();
    scene.watchman = Watchman::new(scene.tools.clone(), vec!["syslog".into()]);
    let path = scene.dir.path().join("log");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("binds");
    let unix = std::os::unix::net::UnixDatagram::bind(&path).expect("binds");
    let over_udp = format!("udp://{}", udp.local_addr().expect("an address"));
    let over_tcp = format!("tcp://{}", tcp.local_addr().expect("an address"));
    let receiving: [(String, JoinHandle<String>); 3] = [
        (over_udp, std::thread::spawn(move || text(|into| udp.recv(into)))),
        (
            over_tcp,
            std::thread::spawn(move || {
                let mut line = String::new();
                let (mut stream, _) = tcp.accept().expect("comes");
                stream.read_to_string(&mut line).expect("UTF-8");
                let (length, line) = line.split_once(' ').expect("a length");
                assert_eq!(length, line.len().to_string());
                line.to_owned()
            }),
        ),
        (
            format!("unix:{}", path.display()),
            std::thread::spawn(move || text(|into| unix.recv(into))),
        ),
    ];
    for (n, (to, receiving)) in receiving.into_iter().enumerate() {
        let from = NOW.plus_seconds(n as i64);
        scene.clock.set(from);
        scene.read(1);
        scene.tell(quiet(from, None));
        scene.looks(&[OPENED]);
        let to = Destination::Syslog(to.parse::<Syslog>().expect("is one"));
        let line = deliver(&scene, "syslog", to, receiving).await;
        let head =
            format!("<28>1 {from} - doorbook - coverage.gap.opened - db-1:27017 blind since ");
        assert!(line.starts_with(&head), "{line}");
    }
}

fn text(receive: impl FnOnce(&mut [u8]) -> std::io::Result<usize>) -> String {
    let mut bytes = [0; 4096];
    let length = receive(&mut bytes).expect("comes");
    String::from_utf8(bytes[..length].to_vec()).expect("UTF-8")
}

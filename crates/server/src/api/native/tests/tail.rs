//! Goal: whoever follows a tail has each event once, in the order in which they were recorded, whatever
//! becomes of connections and servers. Method: a client of a few lines over the real router, which reads
//! what is sent piece by piece and resumes by the last id it got, as browsers do.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use doorbook_event::Random;
use doorbook_event::time::{CountingRandom, ManualClock};
use doorbook_store::Store;
use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;
use crate::api::atlas::tests::registry_changes;
use crate::api::native::tail::TAILS_MAX;
use crate::app::{App, Secrets, Stage};
use crate::test_support::options_in;

const TAIL: &str = "/api/v1/events/tail";

fn quick() -> Settings {
    Settings { tail_pause: Duration::from_millis(2), ..Settings::default() }
}

/// A client's end of a tail.
struct Client {
    body: Pin<Box<Body>>,
    /// What of a message has come.
    rest: String,
    last_id: Option<String>,
}

impl Client {
    async fn connect(app: &App, target: &str, last_id: Option<&str>) -> Client {
        let authorization = basic(OWNER);
        let mut headers = vec![("authorization", &*authorization)];
        headers.extend(last_id.map(|id| ("last-event-id", id)));
        let mut request = request("GET", target, &headers, "");
        request.extensions_mut().insert(LOCAL);
        let response = app.router().oneshot(request).await.expect("never fails");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body = Box::pin(response.into_body());
        let mut client = Client { body, rest: String::new(), last_id: last_id.map(str::to_owned) };
        assert_eq!(client.message().await.as_deref(), Some("retry: 1000"));
        client
    }

    /// The next message, without its id; `None` when there is none any more.
    async fn message(&mut self) -> Option<String> {
        let end = loop {
            match self.rest.find("\n\n") {
                Some(end) => break end,
                None => {
                    let frame = self.body.frame().await?.expect("no error");
                    let data = frame.into_data().expect("data");
                    self.rest.push_str(std::str::from_utf8(&data).expect("UTF-8"));
                }
            }
        };
        let message: String = self.rest.drain(..end + 2).collect();
        let mut lines = Vec::new();
        for line in message.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix("id: ") {
                Some(id) => self.last_id = Some(id.to_owned()),
                None => lines.push(line),
            }
        }
        Some(lines.join("\n"))
    }

    /// The next event.
    async fn event(&mut self) -> Option<Value> {
        loop {
            let message = self.message().await?;
            if let Some(data) = message.strip_prefix("data: ") {
                return Some(serde_json::from_str(data).expect("JSON"));
            }
        }
    }

    async fn user(&mut self) -> String {
        let event = self.event().await.expect("one more");
        event["event"]["user"].as_str().expect("a text").to_owned()
    }
}

/// A server on a directory, which can be started again.
struct Place {
    dir: tempfile::TempDir,
    app: App,
    committed: usize,
    starts: usize,
}

fn start(dir: &Path, starts: usize) -> App {
    let clock = Arc::new(ManualClock::new(NOW));
    let random: Arc<CountingRandom> = Arc::default();
    // What was drawn before, names of segments among it, is not drawn again.
    random.fill(&mut vec![0; starts << 16]);
    let store = Store::open(options_in(dir, &clock, &random)).expect("opens");
    let secrets = Secrets::of(&store).expect("secrets");
    App::new(store, clock, random, quick(), &secrets)
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let app = start(dir.path(), 0);
        app.store().change_registry(&operator(), registry_changes()).expect("allowed");
        Place { dir, app, committed: 0, starts: 1 }
    }

    /// Events whose times go back and forth, each of a user of its own number.
    async fn commit(&mut self, count: usize) {
        let line = |n: usize| line(&format!("user-{n}"), (n as i64 * 7919) % 600 - 300);
        let lines: Vec<String> = (self.committed..self.committed + count).map(line).collect();
        let authorization = basic(OWNER);
        let headers =
            [("authorization", &*authorization), ("content-type", "application/x-ndjson")];
        let mut request = request("POST", "/api/v1/ingest/app", &headers, lines.join("\n"));
        request.extensions_mut().insert(LOCAL);
        let response = self.app.router().oneshot(request).await.expect("never fails");
        assert_eq!(response.status(), StatusCode::OK);
        self.committed += count;
    }

    /// The server stops, which ends a tail, and starts again.
    async fn restart(&mut self, client: &mut Client) -> Vec<String> {
        self.app.reach(Stage::Stopping);
        let mut got = Vec::new();
        while let Some(event) = client.event().await {
            got.push(event["event"]["user"].as_str().expect("a text").to_owned());
        }
        self.app.close();
        self.app.store().close().expect("closes");
        // Both hold the store, whose lock goes with the last of them.
        let elsewhere = tempfile::tempdir().expect("a temporary directory");
        self.app = start(elsewhere.path(), 0);
        self.app = start(self.dir.path(), self.starts);
        self.starts += 1;
        got
    }
}

#[derive(Clone, Debug)]
enum Step {
    Commit(usize),
    Flush,
    Read(usize),
    Disconnect,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_usize..40).prop_map(Step::Commit),
        1 => Just(Step::Flush),
        4 => (1_usize..40).prop_map(Step::Read),
        3 => Just(Step::Disconnect),
        1 => Just(Step::Restart),
    ]
}

async fn run(steps: Vec<Step>, query: &str, is_wanted: impl Fn(usize) -> bool) {
    let mut place = Place::new();
    let wanted = |committed: usize| -> Vec<String> {
        (0..committed).filter(|n| is_wanted(*n)).map(|n| format!("user-{n}")).collect()
    };
    let first = format!("{TAIL}?{query}");
    let mut client = Client::connect(&place.app, &first, None).await;
    let mut got: Vec<String> = Vec::new();
    for step in steps {
        match step {
            Step::Commit(count) => place.commit(count).await,
            Step::Flush => place.app.store().flush().expect("flushes"),
            Step::Read(count) => {
                // No more than there are: a tail has no end.
                let left = wanted(place.committed).len() - got.len();
                for _ in 0..count.min(left) {
                    got.push(client.user().await);
                }
            }
            Step::Disconnect => {
                let last_id = client.last_id.clone();
                drop(client);
                client = Client::connect(&place.app, &first, last_id.as_deref()).await;
            }
            Step::Restart => {
                got.extend(place.restart(&mut client).await);
                let last_id = client.last_id.clone();
                client = Client::connect(&place.app, &first, last_id.as_deref()).await;
            }
        }
        let all = wanted(place.committed);
        assert_eq!(got[..], all[..got.len()]);
    }
    let all = wanted(place.committed);
    while got.len() < all.len() {
        got.push(client.user().await);
    }
    assert_eq!(got, all);
    // And nothing else was sent before the next one is.
    place.commit(2).await;
    let next = wanted(place.committed).into_iter().nth(all.len());
    if let Some(next) = next {
        assert_eq!(client.user().await, next);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// A writer commits, a client reads some, goes and comes again, and the server is started anew.
    #[test]
    fn a_client_that_comes_again_has_each_event_once(
        steps in prop::collection::vec(step(), 1..25), is_filtered in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        match is_filtered {
            false => runtime.block_on(run(steps, "", |_| true)),
            true => runtime.block_on(run(steps, "q=user:*7", |n| n % 10 == 7)),
        }
    }
}

/// What a page shows and what its tail goes on with are all there is, and rows are the same in both.
#[tokio::test]
async fn a_tail_goes_on_where_an_answer_ends() {
    let doors = Doors::with(quick());
    doors.ship(&[line("alice", 0), line("bob", 5)]).await;
    let page = doors.read("/api/v1/events").await;
    let as_of = page["as_of"].as_str().expect("a text");
    doors.ship(&[line("late", -3600), line("carol", 9)]).await;
    let mut client =
        Client::connect(&doors.server.app, &format!("{TAIL}?after={as_of}"), None).await;
    let (late, carol) = (client.event().await, client.event().await);
    let all = doors.read("/api/v1/events").await;
    let row = |n: usize| Some(all["events"][n].clone());
    assert_eq!((late, carol), (row(3), row(0)), "in the order in which they came");
    // The id of the first: the second is what comes after it.
    let mut again =
        Client::connect(&doors.server.app, &format!("{TAIL}?after={as_of}"), None).await;
    again.event().await;
    let last_id = again.last_id.clone();
    let target = format!("{TAIL}?after={as_of}");
    let mut third = Client::connect(&doors.server.app, &target, last_id.as_deref()).await;
    assert_eq!(third.user().await, "carol", "the header is newer than the link");
    // From the beginning, and what only comes from now on.
    let mut whole = Client::connect(&doors.server.app, &format!("{TAIL}?after=none"), None).await;
    assert_eq!(whole.user().await, "alice");
    let mut new = Client::connect(&doors.server.app, TAIL, None).await;
    doors.ship(&[line("dave", 10)]).await;
    assert_eq!(new.user().await, "dave");
}

/// Who came may be told later. The event comes then, once, wherever its client breaks off.
#[tokio::test]
async fn an_event_that_matches_by_what_was_told_later_comes_then() {
    let doors = Doors::with(quick());
    let nameless = line("", 0).replace("\"user\":\"\",\"database\":\"admin\",", "");
    let shipped = doors.ship(&[nameless, line("alice", 1)]).await;
    let id = shipped["lines"][0]["id"].as_str().expect("an id");
    let told = |what: &str| format!("{{\"amends\":\"{id}\",{what}}}");
    let lines = [
        told("\"mechanism\":\"X\",\"task_id\":\"7\""),
        told("\"user\":\"alice\""),
        line("alice", 2),
    ];
    let shipped = doors.ship(&lines).await;
    assert_eq!(shipped["stored"], 3, "{shipped}");
    let target = format!("{TAIL}?after=none&q=user:alice");
    let mut last_id: Option<String> = None;
    let mut times = Vec::new();
    for _ in 0..3 {
        // A connection for each event: each is sent once.
        let mut client = Client::connect(&doors.server.app, &target, last_id.as_deref()).await;
        let event = client.event().await.expect("one more");
        times.push(event["event"]["time"].as_str().expect("a text").to_owned());
        last_id = client.last_id.clone();
    }
    let expected = [1, 0, 2].map(|seconds| NOW.plus_seconds(seconds).to_string());
    assert_eq!(times, expected);
    let mut client = Client::connect(&doors.server.app, &target, last_id.as_deref()).await;
    doors.ship(&[line("alice", 9)]).await;
    let event = client.event().await.expect("one more");
    assert_eq!(event["event"]["time"], NOW.plus_seconds(9).to_string());
}

/// Rows that are large come in pieces, and a client that takes none has none waiting for it.
#[tokio::test]
async fn pieces_are_small() {
    let doors = Doors::with(quick());
    let raw = "x".repeat(60_000);
    let lines = (0..60).map(|n| {
        let line = line(&format!("user-{n}"), n);
        format!("{},\"raw\":\"{raw}\"}}", line.strip_suffix('}').expect("an object"))
    });
    doors.ship(&lines.collect::<Vec<_>>()).await;
    let mut client = Client::connect(&doors.server.app, &format!("{TAIL}?after=none"), None).await;
    for n in 0..60 {
        assert_eq!(client.user().await, format!("user-{n}"));
        assert!(client.rest.len() < 512 << 10, "{}", client.rest.len());
    }
}

#[tokio::test]
async fn a_tail_ends_when_it_may_not_go_on() {
    let doors = Doors::with(quick());
    let app = &doors.server.app;
    // Who holds the key must not learn of what comes after it was taken away.
    let mut client = Client::connect(app, TAIL, None).await;
    let removed = vec![RegistryChange::KeyDeleted { public: OWNER.0.into() }];
    app.store().change_registry(&operator(), removed).expect("allowed");
    doors.ship(&[line("secret", 0)]).await;
    assert_eq!(client.event().await, None);
}

#[tokio::test]
async fn tails_are_few_and_end_with_the_server() {
    let doors = Doors::with(quick());
    let app = &doors.server.app;
    let mut clients = Vec::new();
    for _ in 0..TAILS_MAX {
        clients.push(Client::connect(app, TAIL, None).await);
    }
    let reply = doors.get(OWNER, TAIL).await;
    assert_eq!(reply.headers["retry-after"], ["60"]);
    reply.problem(503, "busy");
    app.reach(Stage::Stopping);
    for client in &mut clients {
        assert_eq!(client.message().await, None);
    }
    // Each is recorded when it begins, and with its rows when it has ended.
    let uses = doors.uses();
    let of_tail = uses.iter().filter(|(operation, ..)| operation == "native.v1.tailEvents");
    let outcomes: Vec<_> = of_tail.map(|(_, outcome, count, _)| (&**outcome, &**count)).collect();
    assert!(outcomes.contains(&("busy", "1")), "{outcomes:?}");
    let ended = outcomes.iter().filter(|(outcome, _)| *outcome == "ok");
    let ended: usize = ended.map(|(_, count)| count.parse().unwrap_or(1)).sum();
    assert_eq!(ended, 2 * TAILS_MAX, "{outcomes:?}");
}

/// A tail that lasted long enough ends, and says nothing until then but that it is there.
#[tokio::test]
async fn a_tail_does_not_last_for_ever() {
    let settings = Settings { write_timeout: Duration::from_millis(10), ..quick() };
    let doors = Doors::with(settings);
    let mut client = Client::connect(&doors.server.app, TAIL, None).await;
    assert_eq!(client.event().await, None);
}

#[tokio::test]
async fn what_a_tail_cannot_begin_with_is_refused() {
    let doors = Doors::with(quick());
    doors.ship(&[line("alice", 0), line("bob", 5)]).await;
    let as_of = doors.read("/api/v1/events").await["as_of"].as_str().expect("a text").to_owned();
    let get = async |query: &str| doors.get(OWNER, &format!("{TAIL}?{query}")).await;
    get("after=x").await.problem(400, "invalid-parameter");
    get(&format!("as_of={as_of}")).await.problem(400, "invalid-parameter");
    get("limit=1").await.problem(400, "unknown-parameter");
    get("q=rslt:x").await.json(400);
    let authorization = basic(OWNER);
    let headers = [("authorization", &*authorization), ("last-event-id", "x")];
    doors.send(request("GET", TAIL, &headers, "")).await.problem(400, "invalid-header");
    // A server that was restored from a backup has fewer records than its client saw, under the same key.
    let restored = Doors::with(quick());
    restored.ship(&[line("alice", 0)]).await;
    let reply = restored.get(OWNER, &format!("{TAIL}?after={as_of}")).await;
    reply.problem(400, "invalid-parameter");
}

//! Goal: an agent's words are taken once, its own only, and nobody else's. Method: the router, and what
//! version 1 of the protocol said, kept as bytes.

use doorbook_event::advance::{Advance, Advanced};
use doorbook_event::record::Grade;
use doorbook_event::registry::{Cluster, Host};
use doorbook_event::shipment::{self, Answer, Orders, Receipt, Report, Shipment};
use doorbook_event::source::Source;
use doorbook_event::{HostName, Principal, Target, Timestamp};

use super::*;

const ORDERS: &[u8] = include_bytes!("../../../../../event/fixtures/orders-1.cbor");
const SHIPMENT: &[u8] = include_bytes!("../../../../../event/fixtures/shipment-1.cbor");

const EDGE: KeyPair = ("edgeedge", "55555555-2222-3333-4444-555555555555");
const OTHER_EDGE: KeyPair = ("edgetwoo", "66666666-2222-3333-4444-555555555555");

struct Scene {
    doors: Doors,
}

impl Scene {
    /// A source that the agent edge-1 follows, which has read nothing.
    fn new() -> Scene {
        let doors = Doors::new();
        let scene = Scene { doors };
        let project = group(GROUP);
        let orders: Orders = shipment::read(ORDERS).expect("a fixture");
        let source = orders.sources[0].source().expect("a source");
        let host = Host {
            project,
            cluster: "orders".into(),
            name: source.host().expect("of a host").clone(),
            aliases: vec!["db-one".into()],
        };
        let other = Host { name: HostName::parse("db-2").expect("a host").0, ..host.clone() };
        let other = Host { aliases: Vec::new(), ..other };
        let key = |(public, private): KeyPair, agent: &str| {
            RegistryChange::KeyCreated(Key {
                public: public.into(),
                ha1: ha1(public, private),
                project,
                role: Role::Shipper,
                created: NOW,
                agent: Some(agent.into()),
            })
        };
        let cluster = Cluster { project, name: "orders".into(), created: NOW };
        scene.change(vec![
            RegistryChange::ClusterCreated(cluster),
            RegistryChange::HostAdded(host),
            RegistryChange::HostAdded(other),
            RegistryChange::SourceSet(source),
            key(EDGE, "edge-1"),
            key(OTHER_EDGE, "edge-2"),
        ]);
        scene
    }

    fn change(&self, changes: Vec<RegistryChange>) {
        let store = self.doors.server.app.store();
        store.change_registry(&operator(), changes).expect("allowed");
    }

    fn source(&self) -> Source {
        let catalog = self.doors.server.app.store().catalog();
        catalog.registry.source("db-1").expect("is there").clone()
    }

    async fn orders(&self, key: KeyPair) -> Orders {
        let reply = self.doors.get(key, "/api/v1/agent/sources").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.headers["content-type"], ["application/cbor"]);
        shipment::read(&reply.bytes).expect("orders")
    }

    async fn post(&self, key: KeyPair, body: Vec<u8>) -> Reply {
        let authorization = basic(key);
        let headers = [("authorization", &*authorization), ("content-type", "application/cbor")];
        self.doors.send(request("POST", "/api/v1/agent/advances", &headers, body)).await
    }

    async fn ship(&self, key: KeyPair, advances: &[Advance]) -> Vec<Answer> {
        let advances = advances.iter().map(|it| shipment::to_vec(it).into()).collect();
        self.answers(key, &Shipment { sent: NOW, advances, ..fixture() }).await
    }

    async fn answers(&self, key: KeyPair, shipment: &Shipment) -> Vec<Answer> {
        let reply = self.post(key, shipment::to_vec(shipment)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        shipment::read::<Receipt>(&reply.bytes).expect("a receipt").answers
    }

    fn recorded(&self) -> u64 {
        let all = Filter::all(Scope::Project(group(GROUP)), 10);
        self.doors.server.app.store().select(&all).expect("reads").total
    }

    fn through(&self) -> Option<Timestamp> {
        self.doors.server.app.store().watched().sources.get("db-1")?.through
    }
}

fn fixture() -> Shipment {
    shipment::read(SHIPMENT).expect("a fixture")
}

fn advance() -> Advance {
    shipment::read_advance(&fixture().advances[0]).expect("an advance")
}

/// The n-th of a chain, with a login each.
fn link(n: u64) -> Advance {
    let place = |n: u64| if n == 0 { Vec::new() } else { n.to_string().into_bytes() };
    let first = advance();
    let login = &first.accesses[0];
    let event_time = login.event_time.plus_seconds(i64::try_from(n).expect("small"));
    let accesses = vec![doorbook_event::Access { event_time, ..login.clone() }];
    let (coverage, quarantine, heartbeat) = (Vec::new(), Vec::new(), None);
    let (after, position) = (place(n), place(n + 1));
    let is_next_file = n == 0;
    Advance { after, position, accesses, coverage, quarantine, heartbeat, is_next_file, ..first }
}

fn stored(events: u64) -> Answer {
    Answer::Stored(Advanced { events, ..Advanced::default() })
}

fn at(n: u64, through: Option<Timestamp>) -> Answer {
    let position = if n == 0 { Vec::new() } else { n.to_string().into_bytes() };
    Answer::Elsewhere { position, through }
}

/// An agent of the first version of the protocol, whatever this one is.
#[tokio::test]
async fn what_version_1_says_is_taken_for_ever() {
    let scene = Scene::new();
    let orders = scene.orders(EDGE).await;
    assert_eq!((&*orders.agent, orders.sources.len()), ("edge-1", 1));
    let order = &orders.sources[0];
    assert_eq!(order.source(), Some(scene.source()));
    assert_eq!((&*order.name, &order.aliases[..]), ("db-1", &["db-one".into()][..]));
    assert_eq!((order.position.len(), order.through), (0, None));
    let reply = scene.post(EDGE, SHIPMENT.to_vec()).await;
    let receipt: Receipt = shipment::read(&reply.bytes).expect("a receipt");
    let both = Advanced { events: 1, quarantined: 1, ..Advanced::default() };
    assert_eq!(receipt.answers, [Answer::Stored(both)]);
    assert_eq!(scene.recorded(), 1);
    assert_eq!(scene.orders(EDGE).await.sources[0].position, b"p1");
    let heard = scene.doors.server.app.agents().heard(group(GROUP), &"edge-1".into());
    assert_eq!(heard.expect("was heard").reports["db-1"].behind_bytes, 12);
}

/// Goal: nothing is doubled, whichever answers were lost. Method: parts of one chain come again in each
/// way that they can.
#[tokio::test]
async fn what_comes_again_is_stored_once() {
    let scene = Scene::new();
    let chain: Vec<Advance> = (0..5).map(link).collect();
    // Its clock says later; ours does not.
    let through = Some(NOW);
    assert_eq!(scene.ship(EDGE, &chain[..1]).await, [stored(1)]);
    assert_eq!(scene.ship(EDGE, &chain[..1]).await, [Answer::StoredBefore]);
    assert_eq!(scene.ship(EDGE, &chain[..2]).await, [Answer::StoredBefore, stored(1)]);
    let last = [at(2, through), Answer::StoredBefore, stored(1), stored(1)];
    assert_eq!(scene.ship(EDGE, &chain[..4]).await, last);
    assert_eq!(scene.ship(EDGE, &chain[..2]).await, [at(4, through), at(4, through)]);
    assert_eq!(scene.recorded(), 4);
    // A heartbeat stands where it stood.
    let beat = Advance { after: chain[4].after.clone(), ..advance() };
    let beat = Advance { position: beat.after.clone(), accesses: Vec::new(), ..beat };
    let beat = Advance { quarantine: Vec::new(), ..beat };
    assert_eq!(scene.ship(EDGE, &[beat.clone(), beat]).await, [stored(0), stored(0)]);
    assert_eq!(scene.ship(EDGE, &chain[4..]).await, [stored(1)]);
    assert_eq!(scene.recorded(), 5);
}

/// What was read before a change is not of what is followed after it.
#[tokio::test]
async fn what_was_read_before_a_change_is_not_stored() {
    let scene = Scene::new();
    let through = Some(NOW);
    assert_eq!(scene.ship(EDGE, &[link(0), link(1)]).await, [stored(1), stored(1)]);
    let (name, paused) =
        (|| "db-1".into(), |paused| RegistryChange::SourcePaused { name: "db-1".into(), paused });
    scene.change(vec![paused(true)]);
    assert!(scene.orders(EDGE).await.sources[0].source().expect("a source").paused);
    assert_eq!(scene.ship(EDGE, &[link(2)]).await, [at(2, through)]);
    scene.change(vec![paused(false)]);
    assert_eq!(scene.ship(EDGE, &[link(2)]).await, [stored(1)]);
    let source = Source { path: "/var/log/other.log".into(), ..scene.source() };
    scene.change(vec![RegistryChange::SourceSet(source.clone())]);
    assert_eq!(scene.ship(EDGE, &[link(3)]).await, [at(3, through)]);
    assert_eq!(scene.ship(EDGE, &[Advance { source, ..link(3) }]).await, [stored(1)]);
    scene.change(vec![RegistryChange::SourceReplayed { name: name() }]);
    assert_eq!(scene.ship(EDGE, &[link(4)]).await, [at(0, None)]);
    scene.change(vec![RegistryChange::SourceRemoved { name: name() }]);
    let answers = scene.ship(EDGE, &[link(0)]).await;
    assert!(matches!(&answers[..], [Answer::Refused(why)] if why.contains("no source db-1")));
    assert_eq!(scene.recorded(), 4);
}

/// Only the agent of a source speaks for it, and it can do nothing else.
#[tokio::test]
async fn a_key_speaks_for_its_agent() {
    let mut scene = Scene::new();
    let own = "/api/v1/agent/sources";
    assert_eq!(scene.orders(OTHER_EDGE).await.sources, []);
    let answers = scene.ship(OTHER_EDGE, &[link(0)]).await;
    assert!(
        matches!(&answers[..], [Answer::Refused(why)] if why.contains("edge-2")),
        "{answers:?}"
    );
    for key in [OWNER, READER, SHIPPER, STRANGER] {
        scene.doors.get(key, own).await.problem(403, "forbidden");
        scene.post(key, SHIPMENT.to_vec()).await.problem(403, "forbidden");
    }
    scene.doors.send(request("GET", own, &[], "")).await.problem(401, "unauthenticated");
    for target in ["/api/v1/events", "/api/v1/events/histogram?width=1h"] {
        scene.doors.get(EDGE, target).await.problem(403, "forbidden");
    }
    let authorization = basic(EDGE);
    let headers = [("authorization", &*authorization), ("content-type", "application/x-ndjson")];
    let ingest = request("POST", "/api/v1/ingest/app", &headers, line("one", 0));
    scene.doors.send(ingest).await.problem(403, "forbidden");
    scene.doors.get(EDGE, &format!("{own}?x=1")).await.problem(400, "unknown-parameter");
    // Where others can read it, the key is not taken.
    scene.doors.connection.peer = Peer::ip([198, 51, 100, 7].into(), Some(1));
    scene.doors.get(EDGE, own).await.problem(401, "unauthenticated");
    scene.doors.connection.is_tls = true;
    assert_eq!(scene.orders(EDGE).await.sources.len(), 1);
    scene.change(vec![RegistryChange::KeyDeleted { public: EDGE.0.into() }]);
    scene.post(EDGE, SHIPMENT.to_vec()).await.problem(401, "unauthenticated");
    assert_eq!(scene.recorded(), 0);
}

/// Goal: an agent that somebody took over can tell of nothing but its own hosts' logs. Method: an advance
/// with one lie at a time.
#[tokio::test]
async fn what_is_not_the_sources_own_is_refused() {
    let scene = Scene::new();
    let elsewhere = Target::Host { cluster: "orders".into(), host: "db-2:27017".into() };
    type Lie = fn(&mut Advance, Target);
    let lies: [(&str, Lie); 11] = [
        ("another target", |it, target| it.accesses[0].target = target),
        ("another target", |it, target| it.quarantine[0].target = target),
        ("another target", |it, target| it.coverage[0].target = target),
        ("another target", |it, target| it.heartbeat.as_mut().expect("one").target = target),
        ("the heartbeat of", |it, _| it.heartbeat.as_mut().expect("one").source = "db-2".into()),
        ("no log of its kind", |it, _| it.accesses[0].principal = Principal::Doorbook),
        ("no log of its kind", |it, _| {
            it.accesses[0].action = doorbook_event::Action::ServerStart;
        }),
        ("not its own", |it, _| it.coverage[0].grade = Grade::Watched),
        ("not its own", |it, _| it.coverage[0].source = Some("db-2".into())),
        ("not its own", |it, _| it.coverage[0].cause = "x".repeat(9000).into()),
        ("more lines", |it, _| it.lines = u64::MAX),
    ];
    for (why, lie) in lies {
        let mut advance = advance();
        lie(&mut advance, elsewhere.clone());
        let answers = scene.ship(EDGE, &[advance]).await;
        assert!(
            matches!(&answers[..], [Answer::Refused(text)] if text.contains(why)),
            "{answers:?}"
        );
    }
    assert_eq!(scene.recorded(), 0);
    assert_eq!(scene.orders(EDGE).await.sources[0].position, b"");
}

/// What it says of itself is kept of its own sources, and bounded.
#[tokio::test]
async fn what_an_agent_says_of_itself_is_bounded() {
    let scene = Scene::new();
    let mut shipment = fixture();
    let own = Report { message: Some("x".repeat(5000).into()), ..shipment.reports[0].clone() };
    let other = Report { source: "db-2".into(), ..own.clone() };
    shipment.reports = vec![own, other];
    scene.answers(EDGE, &Shipment { advances: Vec::new(), ..shipment }).await;
    let heard = scene.doors.server.app.agents().heard(group(GROUP), &"edge-1".into());
    let reports = heard.expect("was heard").reports;
    assert_eq!(reports.keys().map(|name| &**name).collect::<Vec<_>>(), ["db-1"]);
    assert_eq!(reports["db-1"].message.as_deref().map(str::len), Some(1000));
}

#[tokio::test]
async fn what_cannot_be_read_is_said_to_be_so() {
    let scene = Scene::new();
    for garbage in [&b"{}"[..], b"", &SHIPMENT[..SHIPMENT.len() - 1], &[0x9f; 100]] {
        scene.post(EDGE, garbage.to_vec()).await.problem(400, "invalid-body");
    }
    let newer = Shipment { version: 2, ..fixture() };
    let detail = scene.post(EDGE, shipment::to_vec(&newer)).await.problem(400, "invalid-body");
    assert!(detail.contains("update the server"), "{detail}");
    let long = vec![0; super::super::agent::BODY_BYTES_MAX + 1];
    let long = zstd::encode_all(&long[..], 1).expect("packs");
    let authorization = basic(EDGE);
    let mut headers = vec![("authorization", &*authorization), ("content-encoding", "zstd")];
    let target = "/api/v1/agent/advances";
    let reply = scene.doors.send(request("POST", target, &headers, "")).await;
    reply.problem(415, "unsupported-media-type");
    headers.push(("content-type", "application/cbor"));
    scene.doors.send(request("POST", target, &headers, long)).await.problem(413, "too-large");
    let many = Shipment { advances: vec![b"x".to_vec().into(); 4097], ..fixture() };
    scene.post(EDGE, shipment::to_vec(&many)).await.problem(413, "too-large");
    // One that cannot be read keeps no other one back.
    let advances = vec![b"x".to_vec().into(), shipment::to_vec(&link(0)).into()];
    let answers = scene.answers(EDGE, &Shipment { advances, ..fixture() }).await;
    assert!(matches!(&answers[0], Answer::Refused(why) if why.contains("no advance")));
    assert_eq!(answers[1], stored(1));
    let packed = zstd::encode_all(SHIPMENT, 1).expect("packs");
    assert_eq!(scene.doors.send(request("POST", target, &headers, packed)).await.status, 200);
}

/// Goal: an agent cannot have watched what has not come yet. Method: a clock that is an hour ahead.
#[tokio::test]
async fn an_agents_clock_is_held_against_ours() {
    let scene = Scene::new();
    let ahead = |seconds: i64| NOW.plus_seconds(3600 + seconds);
    let ship = |n: u64, through: Timestamp| {
        let advance = Advance { through: Some(through), ..link(n) };
        let advances = vec![shipment::to_vec(&advance).into()];
        Shipment { sent: ahead(0), advances, ..fixture() }
    };
    assert_eq!(scene.answers(EDGE, &ship(0, ahead(-60))).await, [stored(1)]);
    assert_eq!(scene.through(), Some(NOW.plus_seconds(-60)));
    // The end of a loss is by the log's own clock.
    let (from, to) = (NOW.plus_seconds(-50), Some(NOW.plus_seconds(-30)));
    let gap = doorbook_event::record::Coverage { from, to, ..advance().coverage[0].clone() };
    let lossy = Advance { coverage: vec![gap], through: Some(ahead(-40)), ..link(1) };
    let advances = vec![shipment::to_vec(&lossy).into()];
    let lossy = Shipment { sent: ahead(0), advances, ..fixture() };
    assert_eq!(scene.answers(EDGE, &lossy).await, [stored(1)]);
    assert_eq!(scene.through(), Some(NOW.plus_seconds(-30)));
    assert_eq!(scene.answers(EDGE, &ship(2, ahead(600))).await, [stored(1)]);
    assert_eq!(scene.through(), Some(NOW));
}

/// Agents ask all day; that leaves a sum.
#[tokio::test]
async fn what_agents_do_is_added_up() {
    let scene = Scene::new();
    for n in 0..3 {
        scene.orders(EDGE).await;
        scene.ship(EDGE, &[link(n)]).await;
    }
    let uses = scene.doors.uses();
    let of = |operation: &str, rows: &str| {
        (operation.to_owned(), "ok".to_owned(), "3".to_owned(), rows.to_owned())
    };
    let expected = [of("native.v1.agentAdvances", "3"), of("native.v1.agentSources", "0")];
    assert_eq!(uses, expected);
}

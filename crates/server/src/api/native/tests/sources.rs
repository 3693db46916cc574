//! Goal: sources and coverage are told as they are. Method: sources whose advances say what the answer must
//! say, through the router; that coverage itself is right is the store's to test.

use doorbook_event::Action;
use doorbook_event::advance::Advance;
use doorbook_event::arrays::{ArraysChange, Token, User, Uuid};
use doorbook_event::record::{
    ClockState, Coverage, Grade, Heartbeat, Hidden, Place, Quarantine, UnknownId,
};
use doorbook_event::source::{Source, SourceKind, Subject};
use doorbook_event::unknown::UnknownIds;
use doorbook_store::{ImportBatch, ImportEnd, ImportStart};

use super::*;
use crate::api::native::answers;
use crate::auth::users;
use crate::sources::{Board, Reader, State, Status};

/// What each test begins with: every host is watched through a minute ago.
fn watched() -> Doors {
    let doors = Doors::new();
    doors.server.watch(NOW.plus_seconds(-60));
    doors
}

/// What a source reads next.
fn advance(doors: &Doors, change: impl FnOnce(&mut Advance)) {
    let store = doors.server.app.store();
    let catalog = store.catalog();
    let source = catalog.registry.source("source-0").expect("is there").clone();
    let mut advance = Advance {
        source,
        after: b"1".to_vec(),
        position: b"2".to_vec(),
        is_next_file: false,
        accesses: Vec::new(),
        coverage: Vec::new(),
        quarantine: Vec::new(),
        heartbeat: None,
        through: None,
        since: None,
        lines: 0,
        doubt: None,
    };
    change(&mut advance);
    let advanced = store.advance(vec![advance]);
    advanced.into_iter().collect::<Result<Vec<_>, _>>().expect("is stored");
}

fn unseen(advance: &Advance, from: i64, to: Option<i64>, cause: &str) -> Coverage {
    Coverage {
        target: advance.source.target(),
        from: NOW.plus_seconds(from),
        to: to.map(|to| NOW.plus_seconds(to)),
        hidden: Hidden::All,
        actions: vec![Action::Authenticate, Action::Authorize],
        cause: cause.into(),
        actor: None,
        last_seen: NOW.plus_seconds(from),
        source: Some(advance.source.name.clone()),
        grade: Grade::Blind,
        missing: None,
    }
}

#[tokio::test]
async fn a_source_is_told_with_what_it_does_not_see() {
    let doors = watched();
    advance(&doors, |advance| {
        let target = advance.source.target();
        advance.lines = 7;
        advance.heartbeat = Some(Heartbeat {
            source: advance.source.name.clone(),
            target: target.clone(),
            at: NOW,
            through: Some(NOW.plus_seconds(-60)),
            lines: 7,
            events: 0,
            behind_bytes: 0,
            delay_micros: Some(12),
            clock: ClockState { synchronised: Some(true), ..ClockState::default() },
        });
        advance.coverage = vec![
            unseen(advance, -900, Some(-600), "the file was cut"),
            unseen(advance, -60, None, "the file is gone"),
        ];
        advance.quarantine = vec![Quarantine {
            target,
            reason: "no JSON".into(),
            place: Place { file: "/var/log/0.log".into(), line: 1, offset_bytes: 0 },
            bytes: b"{".to_vec(),
            length_bytes: 1,
            sha256: [7; 32],
        }];
    });
    let board = Board::default();
    doors.server.app.metrics().set_sources(board.clone());
    let message = "\u{1b}[31mit is gone";
    let mut unknown_ids = UnknownIds::default();
    unknown_ids.add(UnknownId { id: 815, version: None, count: 3, message: "Odd".into() });
    let status = Status {
        message: Some(message.into()),
        behind_bytes: 3,
        unknown_ids,
        ..Status::new(State::Failed)
    };
    board.note(Reader::Followed, "source-0".into(), status);

    let reply = doors.get(OWNER, "/api/v1/sources").await;
    let answer: answers::Sources = serde_json::from_slice(&reply.bytes).expect("has its form");
    let n_hosts = doors.server.registry().hosts(group(GROUP)).count();
    assert_eq!((answer.sources.len(), answer.quarantined, answer.unrouted), (n_hosts, 1, 0));
    let source = &answer.sources[0];
    assert_eq!((&*source.name, source.state), ("source-0", State::Failed));
    assert_eq!((source.message.as_deref(), source.behind_bytes), (Some(message), Some(3)));
    assert_eq!((source.lag_seconds, source.lines, source.quarantined), (Some(60), 7, 1));
    assert_eq!(source.gaps, answers::Gaps { open: 1, total: 2 });
    assert_eq!((source.unknown_messages, source.unknown_ids.len()), (3, 1));
    let all = answer.unknown_ids.iter().map(|unknown| (unknown.id, unknown.count));
    assert_eq!(all.collect::<Vec<_>>(), [(815, 3)], "of all of them");
    let heartbeat = source.heartbeat.as_ref().expect("there is one");
    assert_eq!((heartbeat.delay_micros, heartbeat.clock.synchronised), (Some(12), Some(true)));
    assert_eq!(source.path.as_deref(), Some("/var/log/0.log"));
    // Another one has nothing of it, and is what nobody reads yet.
    let other = &answer.sources[1];
    assert_eq!((other.state, other.quarantined, other.gaps.total), (State::Waiting, 0, 0));

    doors.get(OWNER, "/api/v1/sources?user=x").await.problem(400, "unknown-parameter");
}

/// What imports did not know is summed up by id and version; what was taken back is not.
#[tokio::test]
async fn unknown_messages_are_those_of_imports_that_count() {
    let doors = Doors::new();
    let import = |count, version: Option<&str>| {
        let store = doors.server.app.store();
        let id = store.begin_import(ImportStart {
            by: operator(),
            project: group(GROUP),
            cluster: "Cluster0".into(),
            host: None,
            source: "mongod-log".into(),
        });
        let id = id.expect("begins");
        store.import(&id, ImportBatch::default()).expect("imports");
        let version = version.map(Into::into);
        let unknown = UnknownId { id: 4711, version, count, message: "Odd".into() };
        let (files, unknown_ids) = (Vec::new(), vec![unknown]);
        let end = ImportEnd { complete: true, files, lines: 0, unknown_ids };
        store.end_import(&id, end).expect("ends");
        id
    };
    import(2, Some("8.0.4"));
    import(3, Some("8.0.4"));
    import(1, None);
    let wrong = import(9, None);
    doors.server.app.store().retract(&wrong, &operator()).expect("is taken back");
    let answer = doors.read("/api/v1/sources").await;
    let counts = answer["unknown_ids"].as_array().expect("a list").iter();
    let counts: Vec<_> = counts.map(|one| (one["id"].as_u64(), one["count"].as_u64())).collect();
    assert_eq!(counts, [(Some(4711), Some(5)), (Some(4711), Some(1))]);
}

/// A source of arrays is of a namespace, and told to its owner only.
#[tokio::test]
async fn sources_of_arrays_are_of_a_namespace() {
    let doors = watched();
    let change = |change| {
        let store = doors.server.app.store();
        store.change_registry(&operator(), vec![change]).expect("allowed");
    };
    for (n, name) in ["alice", "bob"].into_iter().enumerate() {
        let password = users::kept(doors.server.app.random(), "a password", 1);
        let id = Uuid::random([n as u8; 16]);
        let user = User { name: name.into(), id, password, created: NOW };
        change(RegistryChange::Arrays(ArraysChange::UserCreated(user)));
        let sha256 = users::token_sha256(&format!("token of {name}"));
        let token = Token { sha256, user: name.into(), created: NOW, expires: None };
        change(RegistryChange::Arrays(ArraysChange::TokenCreated(token)));
    }
    change(RegistryChange::SourceSet(Source {
        name: "lake".into(),
        kind: SourceKind::TiledbStorage,
        subject: Subject::Arrays { namespace: "alice".into(), below: "s3://lake".into() },
        path: "s3://lake".into(),
        zone: "UTC".into(),
        paused: true,
        agent: None,
        rules: Vec::new(),
        interval_seconds: None,
    }));
    let ask = async |user: &str, target: &str| {
        let bearer = format!("Bearer token of {user}");
        doors.send(request("GET", target, &[("authorization", &bearer)], "")).await
    };
    let answer = ask("alice", "/api/v1/sources").await.json(200);
    let lake = &answer["sources"][0];
    assert_eq!((&lake["name"], &lake["state"]), (&"lake".into(), &"paused".into()));
    assert_eq!((&lake["place"], &lake["kind"]), (&"s3://lake".into(), &"tiledb-storage".into()));
    assert_eq!(lake["gaps"]["open"], 1, "nobody ever watched it: {lake}");
    assert_eq!(answer["sources"].as_array().map(Vec::len), Some(1));
    assert_eq!(ask("bob", "/api/v1/sources").await.json(200)["sources"], Value::Array(Vec::new()));
    ask("bob", "/api/v1/sources?namespace=alice").await.problem(404, "not-found");
    let of_group = doors.read("/api/v1/sources").await;
    assert!(!of_group.to_string().contains("lake"), "{of_group}");
}

#[tokio::test]
async fn coverage_is_what_answers_to_the_same_filter_have() {
    let doors = watched();
    advance(&doors, |advance| {
        let gaps = (0..150).map(|n| unseen(advance, -9000 + 20 * n, Some(-8990 + 20 * n), "cut"));
        advance.coverage = gaps.collect();
    });
    let all = doors.read("/api/v1/coverage").await;
    let gaps = all["coverage"]["gaps"].as_array().expect("a list");
    assert_eq!((gaps.len(), &all["coverage"]["total"]), (150, &150.into()));
    // Beside events there are only the latest.
    let events = doors.read("/api/v1/events").await;
    assert_eq!(events["coverage"]["gaps"].as_array().expect("a list")[..], gaps[..100]);
    let few = doors.read("/api/v1/coverage?limit=2").await;
    assert_eq!(few["coverage"]["gaps"].as_array().expect("a list")[..], gaps[..2]);
    assert_eq!(few["coverage"]["total"], 150);

    let time = |seconds| NOW.plus_seconds(seconds).to_string();
    let window = format!("/api/v1/coverage?from={}&to={}", time(-8995), time(-8985));
    let window = doors.read(&window).await;
    assert_eq!(window["coverage"]["total"], 1);
    assert_eq!(window["coverage"]["gaps"][0], gaps[149]);
    let elsewhere = doors.server.registry();
    let other = elsewhere.hosts(group(GROUP)).nth(1).expect("another").name.to_string();
    let other = doors.read(&format!("/api/v1/coverage?host={other}")).await;
    assert_eq!(
        (&other["coverage"]["state"], &other["coverage"]["total"]),
        (&"complete".into(), &0.into())
    );

    let as_of = events["as_of"].as_str().expect("a text");
    let reply = doors.get(OWNER, &format!("/api/v1/coverage?as_of={as_of}")).await;
    reply.problem(400, "invalid-parameter");
    doors.get(OWNER, "/api/v1/coverage?limit=0").await.problem(400, "invalid-parameter");
    doors.get(OWNER, "/api/v1/coverage?q=rslt:x").await.json(400);
}

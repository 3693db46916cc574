//! Namespaces: histories like those of projects, and what is done to arrays is in them.

use std::collections::HashMap;

use doorbook_event::arrays::{Array, ArraysChange, PasswordHash, Right, User, Uuid};
use doorbook_event::record::{Coverage, Grade};
use doorbook_event::registry::RegistryChange;
use doorbook_event::retention::{Limits, RetentionSet};
use doorbook_event::source::{Source, SourceKind, Subject};
use doorbook_event::{Access, Action, Record, Scope, Target, Text, Timestamp};
use doorbook_store::coverage::{Gap, Stored};
use doorbook_store::filter::Targets;
use doorbook_store::verify::Depth;
use doorbook_store::{Advance, ErrorKind, Filter, Ingest, IngestLine, LineResult, Question, Store};

use crate::support::*;

fn namespace() -> Scope {
    Scope::Namespace("alice".into())
}

fn id() -> Uuid {
    Uuid::random([1; 16])
}

fn user(name: &str) -> ArraysChange {
    let password = PasswordHash { salt: [0; 16], iterations: 1, hash: [0; 32] };
    ArraysChange::UserCreated(User { name: name.into(), id: id(), password, created: NOW })
}

fn change(store: &Store, change: ArraysChange) -> Result<(), doorbook_store::Error> {
    store.change_registry(&actor(), vec![RegistryChange::Arrays(change)])
}

/// alice, bob, and an array of alice's.
fn with_an_array(store: &Store) {
    change(store, user("alice")).expect("allowed");
    change(store, user("bob")).expect("allowed");
    let array = Array {
        id: id(),
        namespace: "alice".into(),
        name: "a".into(),
        uri: "s3://bucket/a".into(),
        created: NOW,
        created_by: "alice".into(),
        description: Text::default(),
        tags: Vec::new(),
        shares: Default::default(),
    };
    change(store, ArraysChange::ArrayRegistered(array)).expect("allowed");
}

fn read_by(user: &str, seconds: i64) -> IngestLine {
    let target = Target::Array { namespace: "alice".into(), array: id().to_string().into() };
    let access = Access {
        target,
        action: Action::QueryRead,
        task_id: Some("t-1".into()),
        connection: None,
        ..login_at(user, seconds)
    };
    IngestLine::Event(Box::new(access))
}

fn login_at(user: &str, seconds: i64) -> Access {
    let mut access = login(1);
    access.event_time = NOW.plus_seconds(seconds);
    access.principal = doorbook_event::Principal::User { name: user.into(), database: "".into() };
    access
}

fn request(lines: Vec<IngestLine>) -> Ingest {
    Ingest { scope: namespace(), source: "app".into(), key: Some("k".into()), lines }
}

fn actions(store: &Store, filter: &Filter) -> Vec<Action> {
    let page = store.select(filter).expect("answers");
    let action = |record: &Record| match record {
        Record::Access(access) | Record::Own(access) => access.action,
        other => panic!("{other:?}"),
    };
    page.rows.iter().map(|row| action(&row.record)).collect()
}

/// Goal: a namespace's history takes what is reported and what is done to its arrays, each under the
/// array's id; it survives a restart and a flush, is counted by status and sound for verify, and
/// retention holds for it. Method: one of each, before and after.
#[test]
fn a_namespace_has_a_history_like_a_project() {
    let place = Place::new();
    let store = place.open();
    with_an_array(&store);
    let reported = vec![read_by("carol", -20), read_by("carol", -10)];
    let stored = store.ingest(request(reported.clone())).expect("stores");
    assert!(matches!(stored.lines[..], [LineResult::Stored { .. }, LineResult::Stored { .. }]));
    let again = store.ingest(request(reported)).expect("answers");
    assert_eq!(again.lines, [LineResult::Duplicate; 2]);
    let rights = [Right::Read].into();
    let share = ArraysChange::ArrayShared { id: id(), with: "bob".into(), rights };
    change(&store, share).expect("allowed");

    let members = vec![("alice".into(), id().to_string().into())];
    let of_array = Filter { targets: Targets::Members(members), ..Filter::all(namespace(), 10) };
    let expected = [Action::Share, Action::Register, Action::QueryRead, Action::QueryRead];
    assert_eq!(actions(&store, &of_array), expected);
    assert_eq!(actions(&store, &Filter { skip: 1, limit: 2, ..of_array.clone() }), expected[1..3]);
    assert_eq!(actions(&store, &Filter { skip: 9, ..of_array.clone() }), []);
    store.flush().expect("flushes");
    assert_eq!(actions(&store, &of_array), expected);
    store.close().expect("closes");

    let store = place.open();
    assert_eq!(actions(&store, &of_array), expected);
    assert_eq!(actions(&store, &Filter { skip: 3, ..of_array.clone() }), expected[3..]);
    let status = store.status().expect("known");
    let of_namespace = status.scopes.iter().find(|scope| scope.scope == "namespace/alice");
    assert_eq!(of_namespace.map(|scope| scope.events), Some(4));
    let report = store.verify(Depth::Rows).expect("reads all");
    assert!(report.damages.is_empty(), "{report:?}");

    let limits = Limits { keep_days: Some(1), minimum_days: 0 };
    let set = RetentionSet { scope: namespace(), limits, at: NOW };
    store
        .change_registry(&actor(), vec![RegistryChange::RetentionSet(set)])
        .expect("a namespace's events can be kept for less long");
    place.clock.set(NOW.plus_seconds(60 * 86_400));
    assert_eq!(actions(&store, &of_array), []);
    let late = Ingest { key: None, ..request(vec![read_by("carol", 0)]) };
    assert_eq!(store.ingest(late).expect("answers").lines, [LineResult::Expired]);
}

/// Goal: nobody writes to a namespace that is not there, or to Doorbook's own history.
#[test]
fn a_scope_that_is_not_there_takes_nothing() {
    let place = Place::new();
    let store = place.open();
    with_an_array(&store);
    for scope in [Scope::Namespace("nobody".into()), Scope::System] {
        let refused = store.ingest(Ingest { scope, ..request(vec![read_by("carol", 0)]) });
        assert_eq!(refused.expect_err("refused").kind, ErrorKind::Missing);
    }
    let limits = Limits { keep_days: Some(1), minimum_days: 0 };
    let set = RetentionSet { scope: Scope::Namespace("nobody".into()), limits, at: NOW };
    let refused = store.change_registry(&actor(), vec![RegistryChange::RetentionSet(set)]);
    assert_eq!(refused.expect_err("refused").kind, ErrorKind::Missing);
}

fn lake() -> Source {
    Source {
        name: "lake".into(),
        kind: SourceKind::TiledbStorage,
        subject: Subject::Arrays { namespace: "alice".into(), below: "s3://bucket".into() },
        path: "s3://bucket".into(),
        zone: "UTC".into(),
        paused: false,
        agent: None,
        rules: Vec::new(),
        interval_seconds: None,
    }
}

/// Goal: what watches a place watches every array below it, and no read of one; an array is watched from
/// when it is known on. Method: a source of a bucket that tells of an array; the same after a restart.
#[test]
fn who_watches_a_place_watches_the_arrays_below_it() {
    let place = Place::new();
    let store = place.open_new();
    with_an_array(&store);
    let set = RegistryChange::SourceSet(lake());
    store.change_registry(&actor(), vec![set]).expect("allowed");
    let at = |seconds| NOW.plus_seconds(seconds);
    let array = Target::Array { namespace: "alice".into(), array: id().to_string().into() };
    let write = Access {
        target: array.clone(),
        action: Action::QueryWrite,
        event_time: at(-50),
        connection: None,
        ..login(1)
    };
    let advance = |after: &[u8], position: &[u8], accesses: Vec<Access>, through| Advance {
        source: lake(),
        after: after.to_vec(),
        position: position.to_vec(),
        // Each scan is an input of its own: what it sees again is the same event.
        is_next_file: true,
        lines: accesses.len() as u64,
        doubt: None,
        accesses,
        coverage: Vec::new(),
        quarantine: Vec::new(),
        heartbeat: None,
        through: Some(through),
        since: Some(at(-100)),
    };
    let both =
        [advance(b"", b"1", vec![write.clone()], at(-10)), advance(b"1", b"2", vec![write], at(0))];
    for (advance, new) in both.into_iter().zip([1, 0]) {
        let advanced = store.advance(vec![advance]).pop().expect("one").expect("stored");
        assert_eq!(advanced.events, new);
    }
    let asked = |store: &Store, uri: &str, since, action, from| {
        let stored = Stored { uri: uri.into(), since };
        store.coverage(&Question {
            scope: &namespace(),
            targets: std::slice::from_ref(&array),
            stored: &[(array.clone(), stored)].into(),
            actions: &[action],
            with_successes: true,
            from,
            to: at(0),
            now: at(0),
        })
    };
    let check = |store: &Store| {
        let asked = |uri, since, action, from| asked(store, uri, since, action, from);
        let known = asked("s3://bucket/a", at(-90), Action::QueryWrite, at(-90));
        assert_eq!((known.grade, known.through), (Grade::Watched, Some(at(0))));
        let earlier = asked("s3://bucket/a", at(-90), Action::QueryWrite, at(-95));
        assert_eq!(earlier.gaps[0].to, Some(at(-90)), "{earlier:?}");
        let reads = asked("s3://bucket/a", at(-90), Action::QueryRead, at(-90));
        assert_eq!((&*reads.gaps[0].cause, reads.through), ("no source", None));
        let elsewhere = asked("s3://bucket2/a", at(-90), Action::QueryWrite, at(-90));
        assert_eq!(elsewhere.grade, Grade::Blind);
    };
    check(&store);
    store.close().expect("closes");
    let store = place.open();
    check(&store);
    // What it did not see of one array it did not see, whatever it saw of its place.
    let lost = Coverage {
        target: array.clone(),
        to: Some(at(-20)),
        ..Coverage::unseen(&lake(), "a vacuum was faster".into(), at(-30))
    };
    let advance = Advance { coverage: vec![lost], ..advance(b"2", b"3", Vec::new(), at(0)) };
    store.advance(vec![advance]).pop().expect("one").expect("stored");
    let known = asked(&store, "s3://bucket/a", at(-90), Action::QueryWrite, at(-90));
    let gaps: Vec<_> = known.gaps.iter().map(|gap| (gap.from, gap.to)).collect();
    assert_eq!(gaps, [(at(-30), Some(at(-20)))]);
    // Nor if it was registered only when the source found it; a question that goes back further, or as far as
    // it can, is told as much.
    for since in [-25, -20, -10] {
        for from in [Timestamp::MIN, at(-1000), at(-30), at(-21)] {
            let late = asked(&store, "s3://bucket/a", at(since), Action::QueryWrite, from);
            let is_told = |gap: &Gap| {
                (gap.from, gap.to, &*gap.cause) == (at(-30), Some(at(-20)), "a vacuum was faster")
            };
            let told = late.gaps.iter().filter(|gap| is_told(gap)).count();
            assert_eq!((late.grade, told), (Grade::Blind, 1), "{since} {from} {late:?}");
        }
        let after = asked(&store, "s3://bucket/a", at(since), Action::QueryWrite, at(-5));
        assert_eq!(after.grade, Grade::Watched);
    }
}

/// Goal: what is done through Doorbook needs no source, so that of it nothing is missing. Method: no action that
/// a source could see is asked for, from before the array was registered on.
#[test]
fn nothing_is_missing_of_what_no_source_has_to_see() {
    let place = Place::new();
    let store = place.open();
    with_an_array(&store);
    let array = Target::Array { namespace: "alice".into(), array: id().to_string().into() };
    let stored = Stored { uri: "s3://bucket/a".into(), since: NOW };
    let answer = store.coverage(&Question {
        scope: &namespace(),
        targets: std::slice::from_ref(&array),
        stored: &[(array.clone(), stored)].into(),
        actions: &[],
        with_successes: true,
        from: NOW.plus_seconds(-100),
        to: NOW.plus_seconds(100),
        now: NOW.plus_seconds(100),
    });
    assert_eq!((answer.grade, answer.gaps), (Grade::Watched, vec![]));
}

/// Goal: a change that left a file is one event, whoever tells of it, when and how often; what a second source
/// knows amends it, what it does not is a sighting, once. Method: the storage's watcher and its access log
/// tell of two files, each first of one; in memory, after a flush, and again after a restart.
#[test]
fn a_file_of_an_array_is_one_event() {
    let place = Place::new();
    let store = place.open_new();
    with_an_array(&store);
    let log = Source { name: "log".into(), ..lake() };
    for source in [lake(), log.clone()] {
        store.change_registry(&actor(), vec![RegistryChange::SourceSet(source)]).expect("allowed");
    }
    let write = |object: &str, seconds: i64, user: Option<&str>| {
        let target = Target::Array { namespace: "alice".into(), array: id().to_string().into() };
        let mut access = login_at(user.unwrap_or(""), seconds);
        (access.target, access.action, access.connection) = (target, Action::QueryWrite, None);
        if user.is_none() {
            access.principal = doorbook_event::Principal::Unauthenticated;
            (access.peer, access.mechanism) = (doorbook_event::Peer::Unknown, None);
        }
        access.attributes.insert("object".into(), object.into());
        access
    };
    let mut positions: HashMap<Text, Vec<u8>> = HashMap::new();
    let mut tell = |store: &Store, source: &Source, accesses: Vec<Access>| {
        let after = positions.get(&source.name).cloned().unwrap_or_default();
        let position = [&after[..], b"."].concat();
        positions.insert(source.name.clone(), position.clone());
        let advance = Advance {
            source: source.clone(),
            after,
            position,
            is_next_file: true,
            lines: 0,
            doubt: None,
            accesses,
            coverage: Vec::new(),
            quarantine: Vec::new(),
            heartbeat: None,
            through: Some(NOW),
            since: Some(NOW.plus_seconds(-100)),
        };
        store.advance(vec![advance]).pop().expect("one").expect("stored").events
    };
    let seen = |seconds| vec![write("__commits/x.wrt", seconds, None)];
    assert_eq!(tell(&store, &lake(), seen(-50)), 1);
    assert_eq!(tell(&store, &log, vec![write("__commits/x.wrt", -49, Some("carol"))]), 0);
    assert_eq!(tell(&store, &log, vec![write("__commits/y.wrt", -40, Some("carol"))]), 1);
    store.flush().expect("flushes");
    assert_eq!(tell(&store, &lake(), vec![write("__commits/y.wrt", -39, None)]), 0);
    assert_eq!(tell(&store, &lake(), vec![write("__commits/z.wrt", -30, None); 2]), 1);
    let check = |store: &Store| {
        let of_carol = Filter { actions: vec![Action::QueryWrite], ..Filter::all(namespace(), 10) };
        let rows = store.select(&of_carol).expect("answers").rows;
        let told: Vec<(i64, bool, Vec<bool>)> = rows
            .iter()
            .map(|row| {
                let Record::Access(access) = &row.record else { panic!("{row:?}") };
                let is_carol = access.principal != doorbook_event::Principal::Unauthenticated;
                let seconds = (access.event_time.micros() - NOW.micros()) / 1_000_000;
                (seconds, is_carol, row.sightings.iter().map(|sighted| sighted.amends).collect())
            })
            .collect();
        let expected = [(-30, false, vec![]), (-40, true, vec![false]), (-50, true, vec![true])];
        assert_eq!(told, expected);
    };
    check(&store);
    store.close().expect("closes");
    let store = place.open();
    let first_known_by_name = Access {
        written_time: doorbook_event::WrittenTime::Partial("not after".into()),
        ..write("__commits/x.wrt", 86_400, None)
    };
    assert_eq!(tell(&store, &lake(), vec![first_known_by_name]), 0);
    assert_eq!(tell(&store, &lake(), vec![write("__commits/y.wrt", -39, None)]), 0);
    assert_eq!(tell(&store, &log, vec![write("__commits/x.wrt", -49, Some("carol"))]), 0);
    store.flush().expect("flushes");
    assert_eq!(tell(&store, &log, vec![write("__commits/x.wrt", -49, Some("carol"))]), 0);
    check(&store);
}

/// Goal: that one of two sources of a place was removed is no gap while the other one goes on, also in what
/// it has not yet told; once that is removed, too, it is. Method: two sources of one bucket, removed in turn.
#[test]
fn a_source_that_is_removed_leaves_no_gap_where_another_goes_on() {
    let place = Place::new();
    let store = place.open_new();
    with_an_array(&store);
    let at = |seconds| NOW.plus_seconds(seconds);
    let other = Source { name: "other".into(), ..lake() };
    for (source, through) in [(lake(), at(-10)), (other, at(-5))] {
        let set = RegistryChange::SourceSet(source.clone());
        store.change_registry(&actor(), vec![set]).expect("allowed");
        let advance = Advance {
            source,
            after: Vec::new(),
            position: b"1".to_vec(),
            is_next_file: true,
            lines: 0,
            doubt: None,
            accesses: Vec::new(),
            coverage: Vec::new(),
            quarantine: Vec::new(),
            heartbeat: None,
            through: Some(through),
            since: Some(at(-100)),
        };
        store.advance(vec![advance]).pop().expect("one").expect("stored");
    }
    let array = Target::Array { namespace: "alice".into(), array: id().to_string().into() };
    let stored = Stored { uri: "s3://bucket/a".into(), since: at(-90) };
    let asked = |from| {
        store.coverage(&Question {
            scope: &namespace(),
            targets: std::slice::from_ref(&array),
            stored: &[(array.clone(), stored.clone())].into(),
            actions: &[Action::QueryWrite],
            with_successes: true,
            from,
            to: at(0),
            now: at(0),
        })
    };
    let remove = |name: &str| {
        let removed = RegistryChange::SourceRemoved { name: name.into() };
        store.change_registry(&actor(), vec![removed]).expect("allowed");
    };
    remove("other");
    for from in [Timestamp::MIN, at(-90), at(-7)] {
        let answer = asked(from);
        assert_eq!((answer.grade, answer.through), (Grade::Watched, Some(at(-5))), "{answer:?}");
    }
    remove("lake");
    let answer = asked(Timestamp::MIN);
    let gaps: Vec<_> = answer.gaps.iter().map(|gap| (gap.from, gap.to, &*gap.cause)).collect();
    assert_eq!(gaps, [(at(-5), None, "the source was removed")]);
}

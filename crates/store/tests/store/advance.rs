//! Sources that are followed: what they told and where they go on, in one write; and what follows for
//! what is known of the time in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use doorbook_event::record::{ClockState, Coverage, Grade, Heartbeat, Hidden};
use doorbook_event::registry::{Host, RegistryChange};
use doorbook_event::source::{Source, SourceKind, Subject};
use doorbook_event::{Access, Action, HostName, Target, Timestamp};
use doorbook_store::filter::Kind;
use doorbook_store::{Advance, Advanced, Answer, ErrorKind, Filter, ImportBatch, Question, Store};
use proptest::prelude::*;

use crate::faults::{Fate, FaultyDisk};
use crate::support::{NOW, PROJECT, Place, actor, end, import, login, scope, start, unreadable};

fn source(name: &str) -> Source {
    Source {
        name: name.into(),
        kind: SourceKind::MongodLog,
        subject: Subject::Host {
            project: PROJECT,
            cluster: "orders".into(),
            host: HostName::parse("db-1").expect("a host").0,
        },
        interval_seconds: None,
        path: "/var/log/mongodb/mongod.log".into(),
        zone: "UTC".into(),
        paused: false,
        agent: None,
        rules: Vec::new(),
    }
}

fn change(store: &Store, change: RegistryChange) {
    store.change_registry(&actor(), vec![change]).expect("is allowed");
}

/// A store whose registry has a host and some sources of its log.
fn with_sources(place: &Place, names: &[&str]) -> Store {
    let store = place.open_new();
    let (cluster, name) = ("orders".into(), source("a").host().expect("of a host").clone());
    change(
        &store,
        RegistryChange::HostAdded(Host { project: PROJECT, cluster, name, aliases: Vec::new() }),
    );
    for name in names {
        change(&store, RegistryChange::SourceSet(source(name)));
    }
    store
}

fn advance(from: &str, to: &str, accesses: Vec<Access>) -> Advance {
    Advance {
        source: source("a"),
        after: from.into(),
        position: to.into(),
        is_next_file: false,
        lines: accesses.len() as u64,
        doubt: None,
        accesses,
        coverage: Vec::new(),
        quarantine: Vec::new(),
        heartbeat: None,
        through: None,
        since: None,
    }
}

fn one(store: &Store, advance: Advance) -> Result<Advanced, doorbook_store::Error> {
    store.advance(vec![advance]).pop().expect("an answer for the only one")
}

fn total(store: &Store) -> u64 {
    store.select(&Filter::all(scope(), 1)).expect("answers").total
}

fn at(seconds: i64) -> Timestamp {
    NOW.plus_seconds(seconds)
}

/// Goal: what was read and where it goes on are one write. Method: two advances, a restart from the
/// WAL, one from the snapshot; each time position, counts and rows belong together.
#[test]
fn position_and_rows_survive_together() {
    let place = Place::new();
    let mut store = with_sources(&place, &["a"]);
    let first = Advance {
        quarantine: vec![unreadable()],
        through: Some(at(5)),
        since: Some(at(0)),
        ..advance("", "p1", (0..3).map(login).collect())
    };
    let advanced = one(&store, first).expect("is stored");
    assert_eq!(advanced, Advanced { events: 3, quarantined: 1, ..Advanced::default() });
    one(&store, advance("p1", "p2", vec![login(3)])).expect("is stored");
    for round in 0..3 {
        let progress = store.watched().sources["a"].clone();
        assert_eq!(progress.position, b"p2", "round {round}");
        assert_eq!((progress.lines, progress.events), (4, 4), "round {round}");
        assert_eq!(progress.through, Some(at(5)), "round {round}");
        assert_eq!(total(&store), 4, "round {round}");
        let answer = coverage(&store, at(0), at(4));
        assert_eq!((answer.grade, answer.through), (Grade::Watched, Some(at(5))), "round {round}");
        if round == 1 {
            store.flush().expect("writes a snapshot");
        }
        store.close().expect("closes");
        drop(store);
        store = place.open();
    }
}

/// A second process, or one that was stopped too late, must not put a source back.
#[test]
fn an_advance_from_elsewhere_is_refused_whole() {
    let place = Place::new();
    let store = with_sources(&place, &["a"]);
    one(&store, advance("", "p1", vec![login(0)])).expect("is stored");
    for late in [advance("", "p1", vec![login(1)]), advance("p0", "p1", vec![login(1)])] {
        assert_eq!(one(&store, late).expect_err("is refused").kind, ErrorKind::Exists);
    }
    let unknown = Advance { source: source("b"), ..advance("", "p1", vec![login(1)]) };
    let answers = store.advance(vec![unknown, advance("p1", "p2", vec![login(2)])]);
    let kinds: Vec<_> =
        answers.iter().map(|answer| answer.as_ref().err().map(|e| e.kind)).collect();
    assert_eq!(kinds, [Some(ErrorKind::Missing), None], "one does not cost the other");
    assert_eq!(total(&store), 2);
    let progress = &store.watched().sources["a"];
    assert_eq!((&*progress.position, progress.events), (&b"p2"[..], 2));
}

/// Goal: an imported log that is followed afterwards adds nothing twice, and two equal lines of one
/// file stay two although a restart comes between them.
#[test]
fn what_other_inputs_brought_is_a_duplicate_and_the_own_file_is_not() {
    let place = Place::new();
    let store = with_sources(&place, &["a"]);
    import(&store, (0..3).map(login).collect());
    let advanced = one(&store, advance("", "p1", (0..5).map(login).collect())).expect("stored");
    assert_eq!((advanced.events, advanced.duplicates), (2, 3));
    store.close().expect("closes");
    drop(store);

    let store = place.open();
    let twin = advance("p1", "p2", vec![login(4), login(2)]);
    let advanced = one(&store, twin).expect("stored");
    // Line 4 is this file's own: an equal one is another attempt. Of line 2 the import held one, and
    // this file two by now.
    assert_eq!((advanced.events, advanced.duplicates), (1, 1));
    let next = Advance { is_next_file: true, ..advance("p2", "p3", vec![login(4)]) };
    assert_eq!(one(&store, next).expect("stored").duplicates, 1, "a copy in the next file");
}

/// Goal: a replay begins at the beginning and finds what it finds again to be there.
#[test]
fn a_replay_adds_only_what_was_missing() {
    let place = Place::new();
    let store = with_sources(&place, &["a"]);
    one(&store, advance("", "p1", vec![login(0), login(2)])).expect("stored");
    change(&store, RegistryChange::SourceReplayed { name: "a".into() });
    assert!(!store.watched().sources.contains_key("a"));
    assert!(one(&store, advance("p1", "p2", vec![login(3)])).is_err(), "of before the replay");
    let advanced = one(&store, advance("", "p1", (0..3).map(login).collect())).expect("stored");
    assert_eq!((advanced.events, advanced.duplicates), (1, 2));
}

/// A source that is given another host begins anew; one that rests is blind, and then is not.
#[test]
fn pausing_and_moving_a_source_tell() {
    let place = Place::new();
    place.clock.set(at(1000));
    let store = with_sources(&place, &["a"]);
    let seen = |to| Advance { through: Some(to), ..advance("", "p1", Vec::new()) };
    one(&store, Advance { since: Some(at(0)), ..seen(at(10)) }).expect("stored");
    change(&store, RegistryChange::SourcePaused { name: "a".into(), paused: true });
    let answer = coverage(&store, at(0), at(20));
    let gap = &answer.gaps[0];
    assert_eq!(
        (answer.grade, &*gap.cause, gap.from, gap.to),
        (Grade::Blind, "paused", at(10), None)
    );
    change(&store, RegistryChange::SourcePaused { name: "a".into(), paused: false });
    one(&store, Advance { after: b"p1".to_vec(), ..seen(at(30)) }).expect("stored");
    let answer = coverage(&store, at(0), at(20));
    assert_eq!(
        (answer.grade, answer.gaps.len()),
        (Grade::Watched, 0),
        "it read what it had missed"
    );

    let (cluster, name) = ("orders".into(), HostName::parse("db-2").expect("a host").0);
    let host = Host { project: PROJECT, cluster, name: name.clone(), aliases: Vec::new() };
    change(&store, RegistryChange::HostAdded(host));
    change(
        &store,
        RegistryChange::SourceSet(Source {
            subject: Subject::Host { project: PROJECT, cluster: "orders".into(), host: name },
            ..source("a")
        }),
    );
    assert!(!store.watched().sources.contains_key("a"), "where it was says nothing of another log");
    assert_eq!(coverage(&store, at(0), at(20)).grade, Grade::Watched, "what it saw it saw");
    assert_eq!(coverage(&store, at(0), at(40)).gaps[0].cause, "the source was removed");
}

/// Goal: what a source saw whose way may drop something is best effort, after a restart as well, and what it
/// did not see while it rested it never reads. Method: such a source, a restart from the WAL and one from the
/// snapshot; a rest.
#[test]
fn what_may_lack_something_is_best_effort() {
    let place = Place::new();
    place.clock.set(at(1000));
    let mut store = with_sources(&place, &["a"]);
    let doubt = Some("lines are sent to us".into());
    let seen =
        |to| Advance { through: Some(to), doubt: doubt.clone(), ..advance("", "p1", vec![]) };
    one(&store, Advance { since: Some(at(0)), ..seen(at(10)) }).expect("stored");
    for _ in 0..2 {
        let answer = coverage(&store, at(0), at(9));
        assert_eq!(answer.grade, Grade::BestEffort);
        assert_eq!((answer.gaps.len(), &*answer.gaps[0].cause), (1, "lines are sent to us"));
        store.flush().expect("flushes");
        store.close().expect("closes");
        store = place.open();
    }
    change(&store, RegistryChange::SourcePaused { name: "a".into(), paused: true });
    change(&store, RegistryChange::SourcePaused { name: "a".into(), paused: false });
    let later = Advance { after: b"p1".to_vec(), since: Some(at(20)), ..seen(at(30)) };
    one(&store, later).expect("stored");
    let gaps = coverage(&store, at(0), at(29)).gaps;
    let told: Vec<_> = gaps.iter().map(|gap| (gap.grade, gap.from, gap.to)).collect();
    let expected = [
        (Grade::BestEffort, at(20), Some(at(30))),
        (Grade::Blind, at(10), Some(at(20))),
        (Grade::BestEffort, at(0), Some(at(10))),
    ];
    assert_eq!(told, expected);
}

fn segments(store: &Store) -> u64 {
    store.status().expect("tells").scopes.iter().map(|scope| scope.segments).sum()
}

/// A day's backlog does not go through memory.
#[test]
fn many_events_at_once_are_a_segment() {
    let place = Place::with_memtable(1 << 20);
    let store = with_sources(&place, &["a"]);
    let many: Vec<Access> = (0..25_000).map(login).collect();
    let advanced = one(&store, advance("", "p1", many.clone())).expect("stored");
    assert_eq!(advanced.events, 25_000);
    assert_eq!(segments(&store), 1);
    drop(store);
    let store = place.open();
    assert_eq!(total(&store), 25_000);
    let equal = one(&store, advance("p1", "p2", many[24_999..].to_vec())).expect("stored");
    assert_eq!(equal.events, 1, "the segment's rows are the file's own");
}

/// Goal: an advance that could not be written can be tried again, and then is there once. Method:
/// each operation of it on the disk fails, one after the other, in each way; small and as a segment.
#[test]
fn an_advance_that_fails_leaves_nothing() {
    for count in [3_u64, 21_000] {
        let many: Vec<Access> = (0..count as i64).map(login).collect();
        let operations = {
            let place = Place::new();
            drop(with_sources(&place, &["a"]));
            let disk = Arc::new(FaultyDisk::sound());
            let store = Store::open(place.options_on(disk.clone())).expect("opens");
            let before = disk.operations();
            one(&store, advance("", "p1", many.clone())).expect("is stored");
            before..disk.operations()
        };
        assert!(operations.len() > 1, "something was written");
        for fail_at in operations {
            for fate in [Fate::Lost, Fate::Landed, Fate::Short] {
                let place = Place::new();
                drop(with_sources(&place, &["a"]));
                let disk = FaultyDisk::failing(fail_at, fate, false, std::io::ErrorKind::Other);
                let store = Store::open(place.options_on(Arc::new(disk))).expect("opens");
                let failed = one(&store, advance("", "p1", many.clone())).is_err();
                drop(store);
                let store = place.open();
                let stored = store.watched().sources.contains_key("a");
                assert_eq!(total(&store), if stored { count } else { 0 }, "{fail_at} {fate:?}");
                assert!(failed || stored, "acknowledged is durable");
                if !stored {
                    let again = one(&store, advance("", "p1", many.clone())).expect("is stored");
                    assert_eq!(again.events, count);
                }
            }
        }
    }
}

#[test]
fn a_heartbeat_is_a_record_and_the_last_one_is_known() {
    let place = Place::new();
    let store = with_sources(&place, &["a"]);
    let beat = Heartbeat {
        source: "a".into(),
        target: source("a").target(),
        at: at(3),
        through: Some(at(2)),
        lines: 7,
        events: 1,
        behind_bytes: 9,
        delay_micros: Some(-4),
        clock: ClockState { synchronised: Some(true), ..ClockState::default() },
    };
    let advance = Advance { heartbeat: Some(beat.clone()), ..advance("", "p1", Vec::new()) };
    one(&store, advance).expect("is stored");
    store.flush().expect("becomes a segment");
    drop(store);
    let store = place.open();
    assert_eq!(store.watched().sources["a"].heartbeat.as_ref(), Some(&beat));
    assert_eq!(total(&store), 0, "nobody came");
    let filter = Filter { kind: Kind::Quarantine, ..Filter::all(scope(), 9) };
    assert_eq!(store.select(&filter).expect("answers").total, 0);
}

fn coverage(store: &Store, from: Timestamp, to: Timestamp) -> Answer {
    store.coverage(&Question {
        scope: &scope(),
        targets: &[source("a").target()],
        stored: &BTreeMap::new(),
        actions: &[Action::Authenticate, Action::Authorize],
        with_successes: true,
        from,
        to,
        now: at(1000),
    })
}

fn seen(from: i64, to: i64, grade: Grade) -> Coverage {
    Coverage {
        target: source("a").target(),
        actions: vec![Action::Authenticate, Action::Authorize],
        hidden: Hidden::All,
        cause: if grade == Grade::Watched { "".into() } else { "it was so".into() },
        actor: None,
        from: at(from),
        to: Some(at(to)),
        last_seen: at(to),
        source: None,
        grade,
        missing: None,
    }
}

/// Bug: of what a source told of a target only the actions of its first gap were known: a later one of other
/// actions was taken for one of these, and what it hid seemed to be seen.
#[test]
fn a_gap_is_of_its_own_actions_too() {
    let place = Place::new();
    let store = with_sources(&place, &["a"]);
    let gap = |action: Action, from: i64| Coverage {
        actions: vec![action],
        source: Some("a".into()),
        ..seen(from, from + 5, Grade::Blind)
    };
    let told = vec![gap(Action::Authenticate, 3), gap(Action::Authorize, 10)];
    one(&store, Advance { coverage: told, ..advance("", "p", vec![]) }).expect("is stored");
    let gaps = store.watched().unseen_of_arrays(&scope());
    let later = gaps.iter().find(|gap| gap.from == at(10)).expect("the second gap");
    assert!(later.actions.contains(&Action::Authorize), "{later:?}");
}

/// A file that was imported was watched from its first to its last line, until it is taken back.
#[test]
fn an_import_fills_what_it_watched_and_no_more() {
    let place = Place::new();
    place.clock.set(at(1000));
    let store = with_sources(&place, &["a"]);
    let lost = Coverage { source: Some("a".into()), ..seen(3, 8, Grade::Blind) };
    let advance = Advance {
        coverage: vec![lost],
        through: Some(at(20)),
        since: Some(at(0)),
        ..advance("", "p", vec![])
    };
    one(&store, advance).expect("is stored");
    let gap = |store: &Store| {
        let gaps = coverage(store, at(0), at(20)).gaps;
        gaps.iter().map(|gap| (gap.from, gap.to)).collect::<Vec<_>>()
    };
    assert_eq!(gap(&store), [(at(3), Some(at(8)))]);
    let id = store.begin_import(start()).expect("begins");
    let batch =
        ImportBatch { coverage: vec![seen(2, 6, Grade::Watched)], ..ImportBatch::default() };
    store.import(&id, batch).expect("imports");
    store.end_import(&id, end()).expect("ends");
    assert_eq!(gap(&store), [(at(6), Some(at(8)))]);
    let quiet = Coverage { cause: "quiet".into(), ..seen(4, 5, Grade::Blind) };
    let advance = Advance { coverage: vec![quiet], ..self::advance("p", "q", vec![]) };
    one(&store, advance).expect("is stored");
    assert_eq!(
        gap(&store),
        [(at(6), Some(at(8))), (at(4), Some(at(5)))],
        "nobody can have seen it"
    );
    store.retract(&id, &actor()).expect("is taken back");
    store.flush().expect("writes a snapshot");
    drop(store);
    assert_eq!(gap(&place.open()), [(at(4), Some(at(5))), (at(3), Some(at(8)))]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Goal: an answer is complete exactly if at every instant of its window somebody watched, and its
    /// gaps are the instants at which nobody did. Method: two sources and an import that say random
    /// things of random seconds, beside an array of seconds.
    #[test]
    fn an_answer_is_as_bad_as_the_worst_instant(
        told in prop::collection::vec((0_usize..3, 0_i64..30, 1_i64..10, 0_u8..3), 1..12),
        windows in prop::collection::vec((0_i64..40, 0_i64..20), 4),
    ) {
        let place = Place::new();
        place.clock.set(at(1000));
        let store = with_sources(&place, &["a", "b"]);
        let id = store.begin_import(start()).expect("begins");
        let mut naive: [Vec<Option<Grade>>; 3] = std::array::from_fn(|_| vec![None; 61]);
        let mut positions = [0_u32; 2];
        for (by, from, length, grade) in told {
            let grade = [Grade::Blind, Grade::BestEffort, Grade::Watched][usize::from(grade)];
            let interval = seen(from, from + length, grade);
            // An import has nothing to say of what it did not see.
            if by == 2 && grade == Grade::Blind {
                continue;
            }
            naive[by][from as usize..(from + length) as usize].fill(Some(grade));
            if by == 2 {
                let batch = ImportBatch { coverage: vec![interval], ..ImportBatch::default() };
                store.import(&id, batch).expect("imports");
                continue;
            }
            let name = ["a", "b"][by];
            let after = match positions[by] {
                0 => String::new(),
                n => n.to_string(),
            };
            positions[by] += 1;
            let interval = Coverage { source: Some(name.into()), ..interval };
            let advance = Advance {
                source: source(name),
                coverage: vec![interval],
                ..advance(&after, &positions[by].to_string(), vec![])
            };
            one(&store, advance).expect("is stored");
        }
        let best = |second: usize| naive.iter().filter_map(|line| line[second]).max();
        let last = (0..61).rev().find(|second| best(*second).is_some());
        for (from, length) in windows {
            let answer = coverage(&store, at(from), at(from + length));
            let end = last.map(|last| last as i64 + 1);
            prop_assert_eq!(answer.through, end.map(at));
            let covered = |second: i64| {
                let is_in = |gap: &doorbook_store::coverage::Gap| {
                    gap.from <= at(second) && gap.to.is_none_or(|to| at(second) < to)
                };
                answer.gaps.iter().filter(|gap| is_in(gap)).map(|gap| gap.grade).collect::<Vec<_>>()
            };
            for second in from..=from + length {
                let expected = match end {
                    Some(end) if second < end => match best(second as usize).unwrap_or(Grade::Blind) {
                        Grade::Watched => vec![],
                        grade => vec![grade],
                    },
                    // Not yet known, unless the window begins there.
                    Some(end) if from < end => vec![],
                    _ => vec![Grade::Blind],
                };
                prop_assert_eq!(covered(second), expected, "second {}", second);
            }
            prop_assert_eq!(answer.grade == Grade::Watched, answer.gaps.is_empty());
        }
    }
}

/// Who asks for more than any source watches is not told that it is all there.
#[test]
fn a_target_or_an_action_that_nobody_watches_is_blind() {
    let place = Place::new();
    let store = with_sources(&place, &["a"]);
    let advance = Advance { through: Some(at(20)), since: Some(at(0)), ..advance("", "p", vec![]) };
    one(&store, advance).expect("is stored");
    let ask = |targets: &[Target], actions: &[Action]| {
        let (from, to, now) = (Timestamp::MIN, at(10), at(1000));
        let (scope, with_successes) = (&scope(), true);
        store.coverage(&Question {
            scope,
            targets,
            stored: &BTreeMap::new(),
            actions,
            with_successes,
            from,
            to,
            now,
        })
    };
    let known = source("a").target();
    let unknown = Target::Host { cluster: "orders".into(), host: "db-9:27017".into() };
    assert_eq!(ask(std::slice::from_ref(&known), &[Action::Authenticate]).grade, Grade::Watched);
    let answer = ask(&[known.clone(), unknown.clone()], &[Action::Authenticate]);
    assert_eq!((answer.grade, answer.through), (Grade::Blind, None));
    assert_eq!(answer.gaps[0].target, unknown);
    assert_eq!(ask(&[known], &[Action::Authenticate, Action::Query]).grade, Grade::Blind);
}

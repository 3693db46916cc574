//! A disk that runs full at any byte, and a clock that is set back: neither changes what is told.

use doorbook_event::registry::{Cluster, RegistryChange};
use doorbook_event::{Access, Classes, Record};
use doorbook_store::{ErrorKind, Ingest, IngestLine, LineResult, Options, Store};

use crate::power_cut::{Ledger, Life, Seen, Step, options, place, script};
use crate::sim_disk::{Draw, SimDisk};
use crate::support::{NOW, PROJECT, Place, actor, login, project_changes, scope, start};

/// Goal: a disk that runs full in the middle of any write refuses the step, which then changed
/// nothing, and as soon as there is room the same step succeeds. Method: a life on a disk with so
/// many bytes of room, for many numbers; whenever a step is refused, there is as much room again.
#[test]
fn a_disk_that_runs_full_at_any_byte_loses_nothing() {
    let mut refused = 0;
    // A prime, so that writes are cut at every place.
    for room in (1..14_000).step_by(397) {
        let place = place();
        let disk = SimDisk::new();
        let mut life = Life::begin(&place, disk.clone(), Ledger::default()).expect("has room");
        disk.set_free_bytes(room);
        let mut before = seen(&life);
        for step in script() {
            while let Err(error) = life.take(&step) {
                refused += 1;
                assert_eq!(error.kind, ErrorKind::DiskFull, "room {room}, {step:?}: {error}");
                assert_eq!(seen(&life), before, "room {room}, {step:?} is refused");
                disk.set_free_bytes(20_000);
            }
            before = seen(&life);
            life.ledger.compare(&before).unwrap_or_else(|what| panic!("room {room}: {what}"));
        }
        disk.set_free_bytes(u64::MAX);
        life.take(&Step::Reopen).expect("opens");
        let after = seen(&life);
        assert_eq!((&after.rows, &after.next), (&before.rows, &before.next), "room {room}");
        life.ledger.compare(&after).unwrap_or_else(|what| panic!("room {room}, reopened: {what}"));
    }
    assert!(refused > 30, "too few steps met a full disk to say much: {refused}");
}

fn seen(life: &Life<'_>) -> Seen {
    Seen::by(life.store.as_ref().expect("is open")).expect("answers")
}

/// Goal: below the reserve nothing comes in, and what the server must do to live on goes on.
/// Method: each kind of write on a disk that has less free than the reserve.
#[test]
fn below_the_reserve_only_what_makes_room_goes_on() {
    let place = place();
    let disk = SimDisk::new();
    let options = Options { reserve_size_bytes: 1 << 20, ..options(&place, &disk) };
    let store = Store::open(options).expect("opens");
    store.change_registry(&actor(), project_changes()).expect("a new project");
    let id = store.begin_import(start()).expect("begins");
    let ship = |n| {
        let lines = vec![IngestLine::Event(Box::new(login(n)))];
        store.ingest(Ingest { scope: scope(), source: "shipper".into(), key: None, lines })
    };
    ship(1).expect("has room");
    disk.set_free_bytes(1 << 19);
    let kind = |error: Option<doorbook_store::Error>| error.expect("is refused").kind;
    assert_eq!(kind(ship(2).err()), ErrorKind::DiskFull);
    assert_eq!(kind(store.begin_import(start()).err()), ErrorKind::DiskFull);
    assert_eq!(kind(store.import(&id, Default::default()).err()), ErrorKind::DiskFull);
    for n in 0..50 {
        let name = format!("cluster-{n}").into();
        let cluster = Cluster { project: PROJECT, name, created: NOW };
        let changes = vec![RegistryChange::ClusterCreated(cluster)];
        store.change_registry(&actor(), changes).expect("goes on, and flushes in between");
    }
    store.retract(&id, &actor()).expect("goes on");
    disk.set_free_bytes(u64::MAX);
    let lines = ship(2).expect("has room again").lines;
    assert!(matches!(lines[..], [LineResult::Stored { .. }]), "{lines:?}");
}

/// Goal: what is told, its order and its totals do not depend on the server's clock. Method: the
/// same requests under a clock that stands still and under one that jumps, mostly back; both answers
/// are the same but for the times of receipt and what they make of events of the future.
#[test]
fn a_clock_that_jumps_changes_neither_order_nor_totals() {
    let told = |jumps: bool| {
        let place = Place::with_memtable(2200);
        let store = place.open_new();
        let mut draw = Draw(3);
        for n in 0..60 {
            if jumps {
                let seconds = 1000 - i64::try_from(draw.below(1_000_000)).expect("is small");
                place.clock.set(NOW.plus_seconds(seconds));
            }
            match n % 3 {
                0 => drop(crate::support::import(&store, (n..n + 7).map(login).collect())),
                _ => {
                    let lines = (n..n + 4).map(|n| IngestLine::Event(Box::new(login(n))));
                    let (source, lines) = ("shipper".into(), lines.collect());
                    let request = Ingest { scope: scope(), source, key: None, lines };
                    store.ingest(request).expect("is stored");
                }
            }
        }
        let page = |store: &Store| {
            let filter = doorbook_store::Filter::all(scope(), usize::MAX);
            let page = store.select(&filter).expect("answers");
            let rows = page.rows.into_iter();
            // That an event was ahead of the clock is what the clock does change.
            let unmarked = |record: Record| match record {
                Record::Access(access) => {
                    Record::Access(Access { classes: Classes::NONE, ..access })
                }
                record => record,
            };
            let rows: Vec<_> =
                rows.map(|row| (row.log, row.seq, row.source, unmarked(row.record))).collect();
            (page.total, page.as_of, rows)
        };
        let answer = page(&store);
        drop(store);
        assert_eq!(page(&place.open()), answer, "and after a restart");
        answer
    };
    let (still, jumping) = (told(false), told(true));
    assert!(still.0 > 60);
    assert_eq!(still, jumping);
}

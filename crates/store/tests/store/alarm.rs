//! What was told, and what is still to be told.

use doorbook_event::record::Grade;
use doorbook_event::{Action, Record, Scope, Text, Timestamp};
use doorbook_store::alarm::{Acknowledgement, Alarm, AlarmKind, Change, Condition, Message};
use doorbook_store::{ErrorKind, Filter, Store};

use crate::support::{NOW, Place, actor};

fn condition() -> Condition {
    Condition {
        kind: AlarmKind::Gap,
        project: None,
        cluster: Some("orders".into()),
        host: Some("db-1:27017".into()),
        source: None,
        grade: Grade::Blind,
        cause: "setParameter quiet=true".into(),
        actor: Some(actor()),
        from: NOW,
        to: None,
        missing: None,
        review: None,
    }
}

fn opened() -> Change {
    let (opened, told) = (NOW, NOW);
    let (closed, acknowledged) = (None, None);
    let (id, condition) = ("al-1".into(), condition());
    Change::Opened(Box::new(Alarm { id, condition, opened, told, closed, acknowledged }))
}

fn queued() -> Change {
    Change::Queued(Box::new(Message {
        id: "msg_1".into(),
        alarm: "al-1".into(),
        kind: "coverage.gap.opened".into(),
        at: NOW,
        text: "db-1 blind".into(),
        body: "{}".into(),
        waiting: vec!["webhook".into(), "syslog".into()],
        is_end: false,
    }))
}

fn acknowledged(id: &str) -> Change {
    let what = Acknowledgement { by: actor(), at: NOW, cause: "upgrade".into(), note: None };
    Change::Acknowledged { id: id.into(), what: Box::new(what) }
}

fn settled(destination: &str) -> Change {
    Change::Settled { message: "msg_1".into(), destination: destination.into() }
}

fn change(store: &Store, changes: Vec<Change>) -> Result<(), doorbook_store::Error> {
    store.change_alarms(&actor(), changes)
}

/// The verbs of the system's history, from the oldest.
fn verbs(store: &Store) -> Vec<Text> {
    let filter = Filter { actions: vec![Action::Alarm], ..Filter::all(Scope::System, 100) };
    let rows = store.select(&filter).expect("answers").rows;
    let verb = |record: &Record| match record {
        Record::Own(access) => access
            .attributes
            .iter()
            .find(|(name, _)| &***name == "verb")
            .map(|(_, verb)| verb.clone()),
        _ => None,
    };
    rows.iter().rev().filter_map(|row| verb(&row.record)).collect()
}

/// Goal: what was told, acknowledged and delivered is so after every restart, and each step of an alarm is one
/// event. Method: all steps, with a restart from the WAL and one from the snapshot.
#[test]
fn alarms_and_their_outbox_survive() {
    let place = Place::new();
    let store = place.open_new();
    change(&store, vec![opened(), queued()]).expect("is written");
    change(&store, vec![acknowledged("al-1"), settled("webhook")]).expect("is written");
    assert_eq!(
        change(&store, vec![acknowledged("al-2")]).expect_err("unknown").kind,
        ErrorKind::Missing
    );
    let before = store.alarms();
    store.close().expect("closes");

    let store = place.open();
    assert_eq!(store.alarms(), before);
    assert_eq!(before.outbox[0].waiting, ["syslog".into()] as [Text; 1]);
    let alarm = &before.alarms["al-1"];
    assert_eq!(alarm.acknowledged.as_ref().map(|of| &*of.cause), Some("upgrade"));
    store.flush().expect("flushes");
    store.close().expect("closes");

    let store = place.open();
    assert_eq!(store.alarms(), before);
    let (id, at) = ("al-1".into(), Timestamp::from_seconds(1));
    let closed = Change::Closed { id, condition: Box::new(condition()), at };
    change(&store, vec![closed, settled("syslog")]).expect("is written");
    assert!(store.alarms().outbox.is_empty() && store.alarms().open().count() == 0);
    assert_eq!(verbs(&store), ["open", "acknowledge", "close"].map(Text::from));
}

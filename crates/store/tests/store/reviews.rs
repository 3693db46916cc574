//! What reviewers say and sign.

use doorbook_event::record::{Actor, Grade};
use doorbook_event::registry::RegistryChange;
use doorbook_event::review::{Covered, Decision, Due, Mark, MarkKind, Review, SignOff};
use doorbook_event::{Action, LogId, Peer, Principal, Record, Scope, Seq};
use doorbook_store::reviews::{Act, Marking, Reviewed};
use doorbook_store::{Error, ErrorKind, Filter, Placed, Store};

use crate::support::{NOW, Place, actor, import, login, scope};

fn review(version: u32) -> Review {
    Review {
        name: "logins".into(),
        scope: scope(),
        filter: "result:failed".into(),
        zone: "UTC".into(),
        due: Due { weekday: None, minute: 600 },
        created: NOW,
        from: NOW,
        begins: Vec::new(),
        version,
    }
}

fn set(store: &Store, version: u32) {
    let change = RegistryChange::ReviewSet(review(version));
    store.change_registry(&actor(), vec![change]).expect("is set");
}

fn known(store: &Store) -> Reviewed {
    store.reviews().of("logins").clone()
}

fn reviewer() -> Actor {
    let principal = Principal::User { name: "rita".into(), database: "".into() };
    Actor { principal, peer: Peer::Unknown }
}

fn marking(seq: Seq, kind: MarkKind, round: u64) -> Marking {
    let mark = Mark { kind, note: Some("seen".into()), by: reviewer(), at: NOW, round };
    Marking { place: (LogId(1), seq), row: format!("row-{seq}").into(), mark }
}

/// The open round as it is, signed.
fn sign_off(store: &Store, decision: Decision) -> SignOff {
    let reviewed = known(store);
    SignOff {
        round: reviewed.round(),
        version: review(1).version,
        filter: "result:failed".into(),
        zone: "UTC".into(),
        from: NOW,
        to: NOW,
        since: reviewed.since(&review(1)).clone(),
        as_of: store.as_of(&scope()),
        count: 2,
        marked: reviewed.marked(&store.as_of(&scope())),
        coverage: Covered { grade: Grade::Watched, through: Some(NOW), gaps: 0 },
        lost_before: None,
        rows_sha256: [1; 32],
        manifest_sha256: [2; 32],
        decision,
        note: None,
        by: reviewer(),
        at: NOW,
        times: None,
    }
}

fn act(store: &Store, acts: Vec<Act>) -> Result<(), Error> {
    store.act_on_review(&reviewer(), "logins", acts)
}

fn sign(store: &Store, sign_off: SignOff) -> Result<(), Error> {
    let (sign_off, manifest) = (Box::new(sign_off), b"{}".to_vec());
    act(store, vec![Act::Sign { sign_off, manifest }])
}

fn events(store: &Store, action: Action) -> Vec<Placed> {
    let filter = Filter { actions: vec![action], ..Filter::all(Scope::System, 100) };
    store.select(&filter).expect("answers").rows
}

/// Goal: what was said and signed is so after every restart, follow-ups stay until they are closed, and
/// each act is one event. Method: a round and a half, with restarts from the WAL and from the snapshot.
#[test]
fn marks_and_sign_offs_survive() {
    use MarkKind::{Expected, FollowUp};
    let place = Place::new();
    let store = place.open_new();
    set(&store, 1);
    import(&store, vec![login(1), login(2)]);
    let marks = [marking(0, Expected, 1), marking(1, FollowUp, 1), marking(2, FollowUp, 1)];
    act(&store, marks.map(Act::Mark).to_vec()).expect("is written");
    act(&store, vec![Act::Close(marking(2, Expected, 1))]).expect("is closed");
    sign(&store, sign_off(&store, Decision::FollowUp)).expect("is signed");
    let before = known(&store);
    assert_eq!((before.signed, before.marks.len(), before.follow_ups().count()), (1, 1, 1));
    assert_eq!(before.last().map(|last| last.marked.expected), Some(2));
    store.close().expect("closes");

    let store = place.open();
    assert_eq!(known(&store), before);
    store.flush().expect("flushes");
    store.close().expect("closes");

    let store = place.open();
    assert_eq!(known(&store), before);
    sign(&store, sign_off(&store, Decision::Accepted)).expect("nothing new is to follow up");
    assert_eq!(known(&store).follow_ups().count(), 1, "what was, stays");
    act(&store, vec![Act::Close(marking(1, Expected, 2))]).expect("is closed");
    assert!(known(&store).marks.is_empty());
    assert_eq!(events(&store, Action::Review).len(), 5);
    let signed = events(&store, Action::ReviewSignOff);
    let first = signed.last().map(|row| &row.record);
    let Some(Record::Own(first)) = first else { panic!("{first:?}") };
    assert_eq!((signed.len(), &*first.raw), (2, &b"{}"[..]));
    assert_eq!(first.principal, reviewer().principal);
    let decision = first.attributes.get("decision");
    assert_eq!(decision.map(|text| &**text), Some("follow_up"));

    let removed = RegistryChange::ReviewRemoved { name: "logins".into() };
    store.change_registry(&actor(), vec![removed]).expect("is removed");
    set(&store, 1);
    assert_eq!(known(&store), Reviewed::default());
}

/// Goal: of two who act at once the second is refused, and what does not fit is not signed. Method: what
/// each saw, and the other one's act in between.
#[test]
fn who_comes_second_is_told_so() {
    let place = Place::new();
    let store = place.open_new();
    let refused = |result: Result<(), Error>| result.expect_err("refused").kind;
    let unknown = store.act_on_review(&actor(), "logins", Vec::new());
    assert_eq!(refused(unknown), ErrorKind::Missing);
    set(&store, 1);
    import(&store, vec![login(1)]);
    let mine = sign_off(&store, Decision::Accepted);
    // Somebody marked.
    act(&store, vec![Act::Mark(marking(0, MarkKind::FollowUp, 1))]).expect("is marked");
    assert_eq!(refused(sign(&store, mine.clone())), ErrorKind::Exists);
    // What does not follow from the marks.
    let accepted = sign_off(&store, Decision::Accepted);
    assert_eq!(refused(sign(&store, accepted)), ErrorKind::Invalid);
    act(&store, vec![Act::Mark(marking(0, MarkKind::Expected, 1))]).expect("is marked");
    let followed = sign_off(&store, Decision::FollowUp);
    assert_eq!(refused(sign(&store, followed)), ErrorKind::Invalid);
    // Somebody described it anew.
    let mine = sign_off(&store, Decision::Accepted);
    set(&store, 2);
    assert_eq!(refused(sign(&store, mine.clone())), ErrorKind::Exists);
    let mine = SignOff { version: 2, ..mine };
    sign(&store, mine.clone()).expect("is signed");
    // Somebody signed.
    let error = sign(&store, mine).expect_err("refused");
    assert!(error.message.contains("rita"), "{error}");
    let late = act(&store, vec![Act::Mark(marking(0, MarkKind::Expected, 1))]);
    assert_eq!(refused(late), ErrorKind::Exists);
    let not_one = act(&store, vec![Act::Close(marking(0, MarkKind::Expected, 2))]);
    assert_eq!(refused(not_one), ErrorKind::Missing);
    assert_eq!(events(&store, Action::ReviewSignOff).len(), 1);
}

//! Rounds, as a reviewer sees and signs them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use doorbook_event::record::{Amendment, Facts};
use doorbook_event::registry::{Cluster, Host, Project};
use doorbook_event::retention::{Limits, RetentionSet};
use doorbook_event::time::{CountingRandom, ManualClock};
use doorbook_event::{
    Access, Action, Attributes, Classes, Clock, HostName, Outcome, Peer, Principal, ProjectId,
    Target, WrittenTime,
};
use doorbook_store::{Entry, Ingest, IngestLine};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::admin::FailureKind;
use crate::admin::request::ReadRequest;
use crate::api::native::answers;
use crate::test_support::options_in;
use doorbook_event::Record;

const PROJECT: ProjectId = ProjectId::new([7; 12]);
const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

struct Office {
    _dir: TempDir,
    clock: Arc<ManualClock>,
    store: Store,
}

impl Office {
    fn new() -> Office {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new(NOW));
        let random: Arc<CountingRandom> = Arc::default();
        let store = Store::open(options_in(dir.path(), &clock, &random)).expect("opens");
        let host = Host {
            project: PROJECT,
            cluster: "orders".into(),
            name: HostName::parse("db-1:27017").expect("valid").0,
            aliases: Vec::new(),
        };
        let changes = vec![
            RegistryChange::ProjectCreated(Project {
                id: PROJECT,
                name: "shop".into(),
                created: NOW,
            }),
            RegistryChange::ClusterCreated(Cluster {
                project: PROJECT,
                name: "orders".into(),
                created: NOW,
            }),
            RegistryChange::HostAdded(host),
        ];
        store.change_registry(&rita(), changes).expect("is written");
        Office { _dir: dir, clock, store }
    }

    fn desk(&self) -> Desk {
        Desk {
            store: self.store.clone(),
            ids: PublicIds::new(&[7; 32]),
            catalog: self.store.catalog(),
            now: self.clock.now(),
        }
    }

    fn create(&self, from_start: bool) {
        self.desk().create(&rita(), described("result:failed"), from_start).expect("is made");
    }

    /// A token for the open round as it is now, and how many rows it has.
    fn look(&self) -> (String, u64) {
        let desk = self.desk();
        let review = desk.review("failures").expect("is there");
        let round = desk.look(review, None).expect("is shown");
        (round.token(&desk.ids), round.page(&desk.store, 0, None).expect("answers").total)
    }

    fn sign(&self, token: &str, decision: Decision) -> Result<SignOff, Failure> {
        let desk = self.desk();
        let review = desk.review("failures").expect("is there");
        let round = desk.look(review, Some(token))?;
        desk.sign(&rita(), &round, (decision, Some("looked at")))
    }

    fn commit(&self, access: Access) {
        let records = vec![Record::Access(access)];
        let entry = Entry { scope: Scope::Project(PROJECT), source: "log".into(), records };
        self.store.commit(vec![entry]).expect("is written");
    }

    /// The connections of the rows of a round that was signed, as they are now.
    fn signed(&self, sign: &SignOff) -> Vec<u64> {
        let desk = self.desk();
        let review = desk.review("failures").expect("is there");
        let filter = desk.signed(review, sign).expect("is understood");
        let rows = self.store.select(&Filter { limit: 10_000, ..filter }).expect("answers").rows;
        let connection = |row: &Placed| match &row.record {
            Record::Access(access) => access.connection,
            _ => None,
        };
        rows.iter().filter_map(connection).collect()
    }
}

fn rita() -> Actor {
    let principal = Principal::User { name: "rita".into(), database: "".into() };
    Actor { principal, peer: Peer::Unknown }
}

fn sam() -> Actor {
    let principal = Principal::User { name: "sam".into(), database: "".into() };
    Actor { principal, ..rita() }
}

fn described(filter: &str) -> Described {
    Described {
        name: "failures".into(),
        scope: Scope::Project(PROJECT),
        filter: filter.into(),
        zone: "UTC".into(),
        due: Due::parse("10:00").expect("a deadline"),
    }
}

fn event(number: u64, seconds: i64, outcome: Outcome) -> Access {
    Access {
        target: Target::Host { cluster: "orders".into(), host: "db-1:27017".into() },
        event_time: NOW.plus_seconds(seconds),
        written_time: WrittenTime::Complete,
        action: Action::Authenticate,
        outcome,
        principal: Principal::User { name: "alice".into(), database: "admin".into() },
        mechanism: None,
        peer: Peer::ip(IpAddr::from([10, 0, 0, 1]), None),
        peer_joined: false,
        connection: Some(number),
        process_start: None,
        client: None,
        speculative: None,
        classes: Classes::NONE,
        attributes: Attributes::new(),
        raw: Vec::new(),
        task_id: None,
    }
}

fn failed() -> Outcome {
    Outcome::Failure { reason: None, code: None }
}

#[derive(Clone, Debug)]
enum Step {
    /// An event of some second before or after now, that failed, succeeded, or of which it is not known.
    Commit(i64, u8),
    /// Of one of the events it becomes known that it failed.
    Tell(prop::sample::Index),
    Flush,
    /// A reviewer opens the page.
    Look,
    /// The reviewer signs what was looked at, however long ago.
    Sign,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (-1_000_000..60_i64, 0..3_u8).prop_map(|(second, outcome)| Step::Commit(second, outcome)),
        2 => any::<prop::sample::Index>().prop_map(Step::Tell),
        1 => Just(Step::Flush),
        3 => Just(Step::Look),
        2 => Just(Step::Sign),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Goal: every event that matches is in exactly one signed round, however late it came and whenever it
    /// became known that it matches; and what was signed stays what it was. Method: random events with
    /// times long past, amendments, pages that are opened and signed later; then the rounds again.
    #[test]
    fn every_event_is_in_exactly_one_round(
        steps in prop::collection::vec(step(), 1..40), from_start in any::<bool>()
    ) {
        let office = Office::new();
        office.create(from_start);
        let mut token = office.look().0;
        let mut count = 0_u64;
        for step in steps {
            match step {
                Step::Commit(seconds, outcome) => {
                    let outcome = match outcome {
                        0 => Outcome::Success,
                        1 => failed(),
                        _ => Outcome::Unknown,
                    };
                    office.commit(event(count, seconds, outcome));
                    count += 1;
                }
                Step::Tell(which) if count > 0 => {
                    let log = office.store.as_of(&Scope::Project(PROJECT))[0].0;
                    // Of a record that is none nothing is told.
                    let seq = which.index(office.store.as_of(&Scope::Project(PROJECT))[0].1 as usize);
                    let of = office.store.subjects(&Scope::Project(PROJECT), &[(log, seq as u64)]);
                    let Some(of) = of.expect("looks it up").pop().flatten() else { continue };
                    let facts = Facts { outcome: Some(failed()), ..Facts::default() };
                    let amendment = Amendment { of, facts, raw: Vec::new(), event_time: None };
                    let lines = vec![IngestLine::Amendment(Box::new(amendment))];
                    let scope = Scope::Project(PROJECT);
                    let ingest = Ingest { scope, source: "audit".into(), key: None, lines };
                    office.store.ingest(ingest).expect("is stored");
                }
                Step::Tell(_) => {}
                Step::Flush => office.store.flush().expect("flushes"),
                Step::Look => token = office.look().0,
                Step::Sign => {
                    // A page of a round that was signed since is refused.
                    let _ = office.sign(&token, Decision::Accepted);
                }
            }
            office.clock.set(office.clock.now().plus_seconds(1));
        }
        let (token, _) = office.look();
        office.sign(&token, Decision::Accepted).expect("is signed");
        let everything = Filter {
            outcomes: vec![doorbook_store::filter::OutcomeKind::Failure],
            ..Filter::all(Scope::Project(PROJECT), 10_000)
        };
        let all = office.store.select(&everything).expect("answers").rows;
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        let reviews = office.store.reviews();
        let desk = office.desk();
        for sign in &reviews.of("failures").sign_offs {
            let rows = office.signed(sign);
            prop_assert_eq!(rows.len() as u64, sign.count);
            rows.into_iter().for_each(|row| *times.entry(row).or_default() += 1);
            let review = desk.review("failures").expect("is there");
            let checked = desk.check(review, sign.round).expect("is read");
            prop_assert!(checked.is_same(), "{:?}", checked);
        }
        prop_assert_eq!(times.len(), all.len());
        prop_assert!(times.values().all(|n| *n == 1), "{:?}", times);
    }
}

/// Goal: what is signed says what was looked at, and its event has the manifest whose hash it has. Method:
/// a round with a mark of each kind; the event of the system scope.
#[test]
fn a_sign_off_can_be_proved() {
    let office = Office::new();
    office.commit(event(0, -5, failed()));
    office.create(false);
    assert_eq!(office.look().1, 0, "what was there before is not reviewed");
    for number in 1..4 {
        office.commit(event(number, -1000, failed()));
    }
    office.commit(event(4, -1000, Outcome::Success));
    office.clock.set(NOW.plus_seconds(60));
    let (token, count) = office.look();
    assert_eq!(count, 3);
    let desk = office.desk();
    let review = desk.review("failures").expect("is there");
    let round = desk.look(review, Some(&token)).expect("is shown");
    let rows = round.page(&desk.store, 10, None).expect("answers").rows;
    let ids: Vec<String> =
        rows.iter().map(|row| desk.ids.id(Names::Record, row.log, row.seq).to_string()).collect();
    let mark = |rows: &[String], kind, note| desk.mark(&rita(), &round, rows, (kind, note));
    mark(&ids[..1], MarkKind::Expected, None).expect("is marked");
    mark(&ids[1..2], MarkKind::FollowUp, None).expect_err("a follow-up says what");
    mark(&ids[1..2], MarkKind::FollowUp, Some("who is that?")).expect("is marked");
    let first = desk.ids.id(Names::Record, rows[0].log, 0).to_string();
    let outside = mark(&[first], MarkKind::Expected, None).expect_err("not in the round");
    assert_eq!(outside.kind, FailureKind::Missing);
    // What comes meanwhile is in the next round, and not in this one.
    office.commit(event(5, -2000, failed()));

    office.sign(&token, Decision::Accepted).expect_err("something is to be followed up");
    let sign = office.sign(&token, Decision::FollowUp).expect("is signed");
    assert_eq!((sign.count, sign.marked.expected, sign.marked.follow_up), (3, 1, 1));
    assert_eq!((sign.from, sign.to), (NOW, NOW.plus_seconds(60)));
    assert_eq!(sign.coverage.grade, doorbook_event::record::Grade::Blind, "nobody watches");
    let filter = Filter { actions: vec![Action::ReviewSignOff], ..Filter::all(Scope::System, 10) };
    let page = office.store.select(&filter).expect("answers");
    let [Placed { record: Record::Own(told), .. }] = &page.rows[..] else { panic!("{page:?}") };
    assert_eq!(<[u8; 32]>::from(Sha256::digest(&told.raw)), sign.manifest_sha256);
    let manifest: serde_json::Value = serde_json::from_slice(&told.raw).expect("JSON");
    assert_eq!(manifest["sha256"], hex::encode(sign.rows_sha256));
    assert_eq!(manifest["count"], 3);
    assert_eq!(manifest["filter"], "result:failed");
    assert_eq!(manifest["review"]["decision"], "follow_up");
    assert_eq!(manifest["coverage"]["state"], "gaps");

    let second = office.sign(&token, Decision::Accepted).expect_err("it was signed");
    assert!(second.message.contains("rita"), "{second}");
    assert_eq!(office.look().1, 1);
    desk.close(&rita(), review, &ids[1..2], "a new colleague").expect("is closed");
    assert_eq!(office.store.reviews().of("failures").follow_ups().count(), 0);
}

/// Goal: a deadline is met by who signs near it, early or late, and by a state and not by a button.
#[test]
fn what_is_signed_counts_from_the_state_that_was_seen() {
    const HOUR: i64 = 3600;
    // 14:13:20 UTC, so that the deadlines are 10:00 of the days that follow.
    let office = Office::new();
    office.create(false);
    let first = NOW.plus_seconds(19 * HOUR + 2800);
    let standing = |office: &Office| {
        let desk = office.desk();
        desk.standing(desk.review("failures").expect("is there"))
    };
    assert_eq!(standing(&office), (first, false));
    let (token, _) = office.look();
    office.clock.set(first.plus_seconds(-HOUR));
    let fresh = office.look().0;
    office.clock.set(first);
    assert_eq!(standing(&office), (first, true));
    office.sign(&fresh, Decision::Accepted).expect("is signed");
    assert_eq!(
        standing(&office),
        (first.plus_seconds(24 * HOUR), false),
        "an hour early is enough"
    );
    office.sign(&token, Decision::Accepted).expect_err("was signed");
    // Seen at noon, signed in the night after next.
    office.clock.set(first.plus_seconds(2 * HOUR));
    let stale = office.look().0;
    office.clock.set(first.plus_seconds(40 * HOUR));
    office.sign(&stale, Decision::Accepted).expect("is signed");
    assert_eq!(standing(&office), (first.plus_seconds(24 * HOUR), true));
}

/// Goal: what cannot be reviewed is refused in words, another filter holds from the next round on, and rows
/// that went unseen are told of.
#[test]
fn a_review_is_described_anew() {
    let office = Office::new();
    for (filter, kind) in [
        ("since:24h", FailureKind::Invalid),
        ("-from:2026-11-23", FailureKind::Invalid),
        ("kind:quarantine", FailureKind::Invalid),
        ("reslt:failed", FailureKind::Invalid),
        ("host:db-9", FailureKind::Missing),
    ] {
        let failure = office.desk().create(&rita(), described(filter), false).expect_err(filter);
        assert_eq!(failure.kind, kind, "{filter}: {failure}");
    }
    let zone = Described { zone: "Mars/Olympus".into(), ..described("") };
    office.desk().create(&rita(), zone, false).expect_err("no zone");
    office.create(true);
    office.commit(event(1, -10, failed()));
    office.commit(event(2, -10, Outcome::Success));
    let (token, count) = office.look();
    assert_eq!(count, 1);
    let desk = office.desk();
    let review = desk.review("failures").expect("is there");
    desk.change(&rita(), review, described("")).expect("is changed");
    let twice = desk.change(&rita(), review, described("result:success"));
    assert_eq!(twice.expect_err("was changed").kind, FailureKind::Exists);
    let seen = office.sign(&token, Decision::Accepted).expect_err("another filter was seen");
    assert_eq!(seen.kind, FailureKind::Exists);
    let sign = office.sign(&office.look().0, Decision::Accepted).expect("is signed");
    assert_eq!((sign.count, sign.version, &*sign.filter), (2, 2, ""));

    let limits = Limits { keep_days: Some(1), minimum_days: 0 };
    let set = RetentionSet { scope: Scope::Project(PROJECT), limits, at: NOW };
    office.store.change_registry(&rita(), vec![RegistryChange::RetentionSet(set)]).expect("is set");
    office.commit(event(3, 0, failed()));
    office.clock.set(NOW.plus_seconds(9 * 86_400));
    let sign = office.sign(&office.look().0, Decision::Accepted).expect("is signed");
    assert_eq!((sign.count, sign.lost_before), (0, Some(NOW.plus_seconds(8 * 86_400))));
}

/// Goal: the owner of the data directory does all of it by commands. Method: a review from its beginning to
/// a sign-off that is checked.
#[test]
fn commands_lead_from_a_review_to_a_sign_off() {
    use crate::admin::reviews::ReviewRequest;
    use crate::admin::{Admin, Reply, Request};
    let office = Office::new();
    office.commit(event(1, -10, failed()));
    let admin = Admin {
        store: office.store.clone(),
        clock: office.clock.clone(),
        random: Arc::new(CountingRandom::default()),
        base_url: None,
        sources: None,
        receivers: None,
        services: None,
    };
    let execute = |request| admin.execute(&rita(), Request::Review(request));
    let name = || "failures".to_owned();
    let create = ReviewRequest::Create {
        name: name(),
        project: None,
        namespace: None,
        filter: "result:failed".into(),
        zone: "Europe/Berlin".into(),
        due: "mon 10:00".into(),
        from_start: true,
    };
    let reply = execute(create.clone()).expect("is made");
    let Reply::Review(review) = reply else { panic!("{reply:?}") };
    assert_eq!((&*review.rhythm, review.overdue), ("weekly", false));
    assert!(review.notes[0].contains("no user may sign it"));
    assert_eq!(execute(create).expect_err("is there").kind, FailureKind::Exists);
    let read = |operation: &str, parameters: &[(&str, &str)]| -> Result<String, Failure> {
        let parameters = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let request = ReadRequest {
            operation: operation.into(),
            name: Some(name()),
            parameters: parameters.collect(),
            ..ReadRequest::default()
        };
        match admin.execute(&rita(), Request::Read(Box::new(request)))? {
            Reply::Read(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    };
    let show = |parameters: &[(&str, &str)]| -> answers::Round {
        let answer = read("getReview", parameters).expect("is shown");
        serde_json::from_str(&answer).expect("a round")
    };
    let round = show(&[("limit", "1")]);
    assert_eq!((round.total, round.events.len(), round.from), (1, 1, None));
    let again = show(&[("round", &round.token)]);
    assert_eq!((again.token, again.events), (round.token.clone(), round.events.clone()));
    let rows = vec![round.events[0].id.clone()];
    let (kind, note) = (MarkKind::Expected, Some("a test of ours".to_owned()));
    execute(ReviewRequest::Mark { name: name(), rows, kind, note }).expect("is marked");
    assert_eq!(show(&[]).marks[0].id, round.events[0].id);
    let sign = |decision, note: Option<&str>| ReviewRequest::Sign {
        name: name(),
        round: round.token.clone(),
        decision,
        note: note.map(str::to_owned),
    };
    let reply = execute(sign(Decision::Accepted, None)).expect("is signed");
    let Reply::SignedOff(signed) = reply else { panic!("{reply:?}") };
    assert_eq!((signed.count, signed.marked.expected), (1, 1));
    // Who did not hear of it asks again, and signs nothing else.
    let again = execute(sign(Decision::Accepted, Some(" "))).expect("was signed");
    assert_eq!(again, Reply::SignedOff(signed.clone()));
    for other in [sign(Decision::FollowUp, None), sign(Decision::Accepted, Some("and more"))] {
        assert_eq!(execute(other).expect_err("was signed").kind, FailureKind::Exists);
    }
    let by_another = admin.execute(&sam(), Request::Review(sign(Decision::Accepted, None)));
    assert_eq!(by_another.expect_err("was signed").kind, FailureKind::Exists);
    assert_eq!(show(&[]).sign_offs, Some(vec![*signed]));
    let stale = read("getReview", &[("round", &round.token)]).expect_err("is over");
    assert_eq!(stale.kind, FailureKind::Exists);
    let checked = read("checkReview", &[("round", "1")]).expect("is read");
    let checked: answers::CheckedRound = serde_json::from_str(&checked).expect("what was found");
    assert!(checked.same, "{checked:?}");
    let unsigned = read("checkReview", &[("round", "2")]).expect_err("was not signed");
    assert_eq!(unsigned.kind, FailureKind::Missing);
    execute(ReviewRequest::Remove { name: name() }).expect("is removed");
    assert_eq!(
        execute(ReviewRequest::Remove { name: name() }).expect_err("gone").kind,
        FailureKind::Missing
    );
}

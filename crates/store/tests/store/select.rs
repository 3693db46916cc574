//! Answers held to a naive filter over all rows.

use std::net::IpAddr;

use crate::support::{NOW, Place, actor, import, login, scope};
use doorbook_event::{
    Access, Action, Class, Classes, Outcome, Peer, Principal, Record, Scope, Target, Timestamp,
};
use doorbook_store::filter::{Kind, Order, OutcomeKind, PeerIs, PrincipalIs, Targets};
use doorbook_store::{Entry, Filter, Page, Store};
use proptest::prelude::*;

/// One step in the life of a store.
#[derive(Clone, Debug)]
enum Step {
    Import(Vec<Event>),
    /// Takes back one of the imports so far.
    Retract(prop::sample::Index),
    Restart,
    Ask(Box<Question>),
    /// Asks again for an earlier answer's next page.
    Again(prop::sample::Index),
}

#[derive(Clone, Debug)]
struct Event {
    host: u8,
    second: i64,
    user: u8,
    address: u8,
    outcome: u8,
    authorize: bool,
    classes: u16,
    raw_size: usize,
}

#[derive(Clone, Debug)]
struct Question {
    targets: u8,
    from: i64,
    to: i64,
    authorize: Option<bool>,
    success: Option<bool>,
    address: Option<u8>,
    user: Option<u8>,
    with: u16,
    without: u16,
    limit: usize,
}

fn event() -> impl Strategy<Value = Event> {
    (0..3_u8, 0..40_i64, 0..3_u8, 0..4_u8, 0..3_u8, any::<bool>(), 0..4_u16, 0..200_usize).prop_map(
        |(host, second, user, address, outcome, authorize, classes, raw_size)| Event {
            host,
            second,
            user,
            address,
            outcome,
            authorize,
            classes: classes * 2,
            raw_size,
        },
    )
}

fn question() -> impl Strategy<Value = Question> {
    let option = |n: u8| prop::option::weighted(0.3, 0..n);
    let flag = || prop::option::weighted(0.3, any::<bool>());
    let range = (0..4_u8, -5..45_i64, 0..50_i64, 0..30_usize);
    (range, flag(), flag(), option(4), option(3), (0..4_u16, 0..4_u16)).prop_map(
        |((targets, from, span, limit), authorize, success, address, user, classes)| Question {
            targets,
            from,
            to: from + span,
            authorize,
            success,
            address,
            user,
            with: (classes.0 / 2) * 2,
            without: (classes.1 / 3) * 4,
            limit,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(event(), 1..40).prop_map(Step::Import),
        1 => any::<prop::sample::Index>().prop_map(Step::Retract),
        1 => Just(Step::Restart),
        6 => question().prop_map(|question| Step::Ask(Box::new(question))),
        3 => any::<prop::sample::Index>().prop_map(Step::Again),
    ]
}

fn address(n: u8) -> Option<IpAddr> {
    match n {
        0 => None,
        1 => Some([10, 0, 0, 1].into()),
        2 => Some([10, 0, 0, 2].into()),
        _ => Some("2001:db8::3".parse().expect("valid")),
    }
}

impl Event {
    fn access(&self, number: u64) -> Access {
        Access {
            target: Target::Host {
                cluster: if self.host == 2 { "billing".into() } else { "orders".into() },
                host: format!("db-{}:27017", self.host).into(),
            },
            event_time: NOW.plus_seconds(self.second),
            action: if self.authorize { Action::Authorize } else { Action::Authenticate },
            outcome: match self.outcome {
                0 => Outcome::Success,
                1 => Outcome::Failure { reason: Some("wrong".into()), code: Some(18) },
                _ => Outcome::Unknown,
            },
            principal: match self.user {
                0 => Principal::Unauthenticated,
                n => Principal::User { name: format!("user-{n}").into(), database: "admin".into() },
            },
            peer: address(self.address).map_or(Peer::UnixSocket, |ip| Peer::ip(ip, Some(1))),
            // Every event is another one: identity is another test's matter.
            connection: Some(number),
            classes: Classes::from_bits(self.classes),
            raw: vec![b'x'; self.raw_size],
            ..login(0)
        }
    }
}

impl Question {
    fn filter(&self) -> Filter {
        let (orders, billing) = ("orders".into(), "billing".into());
        Filter {
            targets: match self.targets {
                0 => Targets::All,
                1 => Targets::Group(orders),
                2 => Targets::Members(vec![(orders, "db-1:27017".into())]),
                _ => Targets::Members(vec![
                    (billing, "db-2:27017".into()),
                    (orders, "db-0:27017".into()),
                ]),
            },
            from: NOW.plus_seconds(self.from),
            to: NOW.plus_seconds(self.to),
            actions: match self.authorize {
                None => Vec::new(),
                Some(true) => vec![Action::Authorize],
                Some(false) => vec![Action::Authenticate, Action::Token],
            },
            outcomes: self.success.map(OutcomeKind::of_success).into_iter().collect(),
            peers: self.address.and_then(address).map(PeerIs::exactly).into_iter().collect(),
            principals: self
                .user
                .map(|n| PrincipalIs::User(format!("user-{n}").into()))
                .into_iter()
                .collect(),
            with: Classes::from_bits(self.with),
            without: Classes::from_bits(self.without),
            ..Filter::all(scope(), self.limit)
        }
    }
}

/// The meaning of a filter, said once more, without any thought of speed.
fn naive_matches(access: &Access, filter: &Filter) -> bool {
    let (group, member) = access.target.names();
    let targets = match &filter.targets {
        Targets::All => true,
        Targets::Group(wanted) => wanted == group,
        Targets::Members(wanted) => wanted.contains(&(group.clone(), member.clone())),
    };
    let user = match &access.principal {
        Principal::User { name, .. } => Some(name),
        _ => None,
    };
    let outcome = match access.outcome {
        Outcome::Success => OutcomeKind::Success,
        Outcome::Failure { .. } => OutcomeKind::Failure,
        Outcome::Unknown => OutcomeKind::Unknown,
    };
    let is_principal = |wanted: &PrincipalIs| match wanted {
        PrincipalIs::User(name) => user == Some(name),
        _ => unreachable!("no question asks for it"),
    };
    let is_peer = |wanted: &PeerIs| match wanted {
        PeerIs::Network(network) => network.single() == access.peer.address(),
        PeerIs::UnixSocket => access.peer == Peer::UnixSocket,
    };
    let shares = |classes: Classes| {
        Class::ALL.iter().any(|class| classes.contains(*class) && access.classes.contains(*class))
    };
    targets
        && access.event_time >= filter.from
        && access.event_time <= filter.to
        && (filter.actions.is_empty() || filter.actions.contains(&access.action))
        && (filter.outcomes.is_empty() || filter.outcomes.contains(&outcome))
        && (filter.peers.is_empty() || filter.peers.iter().any(is_peer))
        && (filter.principals.is_empty() || filter.principals.iter().any(is_principal))
        && (filter.with == Classes::NONE || shares(filter.with))
        && !shares(filter.without)
}

/// All rows of the store, as a list.
#[derive(Default)]
struct Model {
    /// In the order in which they were committed.
    rows: Vec<Access>,
    /// For each import its rows; empty when it was taken back.
    imports: Vec<(doorbook_event::record::ImportId, std::ops::Range<usize>)>,
    retracted: Vec<std::ops::Range<usize>>,
}

impl Model {
    /// Of the first `count` rows, those that match, newest first.
    fn answer(&self, filter: &Filter, count: usize) -> Vec<(usize, &Access)> {
        let mut rows: Vec<_> = self.rows[..count]
            .iter()
            .enumerate()
            .filter(|(n, _)| !self.retracted.iter().any(|rows| rows.contains(n)))
            .filter(|(_, access)| naive_matches(access, filter))
            .collect();
        rows.sort_by_key(|(n, access)| std::cmp::Reverse((access.event_time, *n)));
        rows
    }

    fn check(&self, store: &Store, filter: &Filter, count: usize, skip: usize) -> Page {
        let page = store.select(filter).expect("answers");
        let expected = self.answer(filter, count);
        assert_eq!(page.total, expected.len() as u64, "total of {filter:?}");
        let expected: Vec<&Access> =
            expected.iter().skip(skip).take(filter.limit).map(|(_, access)| *access).collect();
        let found: Vec<&Access> = page
            .rows
            .iter()
            .map(|row| match &row.record {
                Record::Access(access) => access,
                other => panic!("not an access: {other:?}"),
            })
            .collect();
        assert_eq!(found, expected, "page of {filter:?}");
        page
    }
}

fn run(steps: Vec<Step>, memtable_size_bytes: usize) {
    let place = Place::with_memtable(memtable_size_bytes);
    let mut store = place.open_new();
    let mut model = Model::default();
    let mut asked: Vec<(Filter, Page, usize)> = Vec::new();
    for step in steps {
        match step {
            Step::Import(events) => {
                let first = model.rows.len();
                let accesses: Vec<Access> = events
                    .iter()
                    .zip(first as u64..)
                    .map(|(event, number)| event.access(number))
                    .collect();
                model.rows.extend(accesses.iter().cloned());
                let id = import(&store, accesses);
                model.imports.push((id, first..model.rows.len()));
            }
            Step::Retract(which) => {
                if !model.imports.is_empty() {
                    let (id, rows) = model.imports.swap_remove(which.index(model.imports.len()));
                    store.retract(&id, &actor()).expect("is taken back");
                    model.retracted.push(rows);
                    // Pages may lose what was taken back, and are not the same from here on.
                    asked.clear();
                }
            }
            Step::Restart => {
                store.close().expect("closes");
                drop(store);
                store = place.open();
            }
            Step::Ask(question) => {
                let filter = question.filter();
                let count = model.rows.len();
                let page = model.check(&store, &filter, count, 0);
                asked.push((filter, page, count));
            }
            Step::Again(which) => {
                let Some(at) = (!asked.is_empty()).then(|| which.index(asked.len())) else {
                    continue;
                };
                let (filter, page, count) = &asked[at];
                let same = Filter { as_of: Some(page.as_of.clone()), ..filter.clone() };
                let again = model.check(&store, &same, *count, 0);
                assert_eq!(&again, page, "a page at an as_of never changes");
                if let Some(last) = page.rows.last() {
                    let Record::Access(access) = &last.record else { continue };
                    let (log, seq) = (last.log, last.seq);
                    let after = Some(Order { event_time: access.event_time, log, seq });
                    let next = Filter { after, ..same };
                    model.check(&store, &next, *count, page.rows.len());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Goal: an answer is what the naive filter says, whatever part of the rows is in memory, in
    /// segments of a flush, in segments of an import, or taken back, and a page at an `as_of` does
    /// not change when older events arrive. Method: random lives of a store, with memtables from
    /// "everything is bulk" to "nothing is flushed".
    #[test]
    fn answers_are_what_the_naive_filter_says(
        steps in prop::collection::vec(step(), 1..40),
        memtable_size_bytes in prop_oneof![Just(1_usize), Just(6_000), Just(20_000), Just(1 << 20)],
    ) {
        run(steps, memtable_size_bytes);
    }
}

#[test]
fn an_older_event_that_arrives_late_is_not_in_a_page_of_before() {
    let place = Place::new();
    let store = place.open_new();
    import(&store, vec![login(10), login(20), login(30)]);
    let first = store.select(&Filter::all(scope(), 2)).expect("answers");
    import(&store, vec![login(15)]);
    let last = first.rows.last().expect("two rows");
    let after = Order { event_time: NOW.plus_seconds(20), log: last.log, seq: last.seq };
    let next = Filter { after: Some(after), ..Filter::all(scope(), 2) };
    let as_of = Filter { as_of: Some(first.as_of.clone()), ..next.clone() };
    let seconds = |page: &Page| -> Vec<i64> {
        let times = page.rows.iter().filter_map(|row| match &row.record {
            Record::Access(access) => Some(access.event_time.millis() / 1000 - NOW.millis() / 1000),
            _ => None,
        });
        times.collect()
    };
    let page = store.select(&as_of).expect("answers");
    assert_eq!((seconds(&page), page.total), (vec![10], 3));
    let page = store.select(&next).expect("answers");
    assert_eq!((seconds(&page), page.total), (vec![15, 10], 4));
}

#[test]
fn a_segment_with_rows_from_before_and_after_a_page_does_not_change_it() {
    let place = Place::with_memtable(3000);
    let store = place.open_new();
    import(&store, vec![login(10), login(20)]);
    let first = store.select(&Filter::all(scope(), 5)).expect("answers");
    let segments = place.dir.path().join("data/segments");
    let count = || std::fs::read_dir(&segments).expect("is there").count();
    assert_eq!(count(), 0, "the first rows are still in memory");
    for n in 0..20 {
        import(&store, vec![login(n * 7)]);
        let as_of = Some(first.as_of.clone());
        let again = store.select(&Filter { as_of, ..Filter::all(scope(), 5) }).expect("answers");
        assert_eq!(again, first, "{} segments", count());
    }
    assert!(count() > 2);
}

#[test]
fn own_events_are_rows_of_the_system_scope() {
    let place = Place::with_memtable(1);
    let store = place.open_new();
    let own = Access {
        target: Target::Own { kind: "server".into(), name: "here".into() },
        action: Action::ServerStart,
        principal: Principal::Doorbook,
        ..login(1)
    };
    let records = vec![Record::Own(own.clone())];
    store
        .commit(vec![Entry { scope: Scope::System, source: "doorbook".into(), records }])
        .expect("commits");
    for _ in 0..2 {
        // The second time from a segment.
        let filter = Filter {
            actions: vec![Action::ServerStart],
            to: Timestamp::MAX,
            ..Filter::all(Scope::System, 10)
        };
        let page = store.select(&filter).expect("answers");
        assert_eq!(page.rows.len(), 1);
        assert_eq!(page.rows[0].record, Record::Own(own.clone()));
        let all = store.select(&Filter::all(Scope::System, 10)).expect("answers");
        let (created, kind) = (&all.rows[all.rows.len() - 1], Kind::Access);
        assert_eq!(kind, Kind::Access);
        let Record::Own(created) = &created.record else { panic!("not own: {created:?}") };
        assert_eq!(created.action, Action::RegistryChange);
        assert_eq!(created.principal, actor().principal);
        import(&store, vec![login(1)]);
    }
}

//! Answers held to a naive filter over all rows.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::ops::Range;

use crate::support::{NOW, Place, actor, end, import, login, scope, start};
use doorbook_event::record::{
    Amendment, Facts, ImportId, Place as PlaceInInput, Quarantine, Sighting, Subject,
};
use doorbook_event::{
    Access, Action, Class, Classes, Client, Outcome, Peer, Principal, Record, Scope, Target, Text,
    Timestamp,
};
use doorbook_store::filter::{
    Bar, Kind, Marked, Network, Order, OutcomeKind, PeerIs, PrincipalIs, Rank, Seen, SeenValue,
    Targets, TextIs, Unwanted, Wildcard,
};
use doorbook_store::{
    Did, Dimension, Entry, Filter, Histogram, ImportBatch, ImportStart, Ingest, IngestLine,
    LineResult, Overview, Page, Placed, Store, Top,
};
use proptest::prelude::*;

/// One step in the life of a store.
#[derive(Clone, Debug)]
enum Step {
    /// Events of one import, from the source of that number.
    Import(u8, Vec<Event>),
    /// Sightings and amendments from the source of that number, of an import or of a request.
    Tell(u8, bool, Vec<Hint>),
    /// Bytes of one import that could not be read, for these hosts, at a second of our clock.
    Unreadable(Vec<u8>, i64),
    /// Takes back one of the imports so far.
    Retract(prop::sample::Index),
    Restart,
    /// Moves the rows in memory to a segment.
    Flush,
    Ask(Box<Question>),
    /// Asks again for an earlier answer's next page.
    Again(prop::sample::Index),
}

#[derive(Clone, Debug)]
struct Event {
    host: u8,
    second: i64,
    principal: u8,
    address: u8,
    outcome: u8,
    action: u8,
    classes: u16,
    mechanism: u8,
    application: u8,
    task: u8,
    raw_size: usize,
}

/// What is told of one of the accesses so far.
#[derive(Clone, Debug)]
struct Hint {
    which: prop::sample::Index,
    /// Nothing but that it was seen.
    is_sighting: bool,
    /// It says another position than the access has, or another time.
    is_astray: (bool, bool),
    /// Of each that is not there nothing is told.
    principal: Option<u8>,
    address: Option<u8>,
    outcome: Option<u8>,
    mechanism: u8,
    application: u8,
    task: u8,
    attribute: Option<u8>,
}

#[derive(Clone, Debug)]
struct Question {
    is_quarantine: bool,
    targets: u8,
    from: i64,
    to: i64,
    /// Of each list of alternatives which ones, as bits; none at all means all rows.
    actions: u8,
    outcomes: u8,
    principals: u16,
    peers: u8,
    mechanisms: u8,
    applications: u8,
    tasks: u8,
    has_task: Option<bool>,
    sources: u8,
    with: u16,
    without: u16,
    raw: Option<u8>,
    /// Which list of what leaves rows out has which bits.
    unwanted: (u8, u16),
    limit: usize,
    width_micros: i64,
}

fn event() -> impl Strategy<Value = Event> {
    let first = (0..3_u8, 0..40_i64, 0..11_u8, 0..6_u8, 0..3_u8, 0..3_u8);
    let second = (0..4_u16, 0..3_u8, 0..4_u8, 0..3_u8, 0..200_usize);
    (first, second).prop_map(
        |(
            (host, second, principal, address, outcome, action),
            (classes, mechanism, application, task, raw_size),
        )| Event {
            host,
            second,
            principal,
            address,
            outcome,
            action,
            classes: classes * 2,
            mechanism,
            application,
            task,
            raw_size,
        },
    )
}

fn hint() -> impl Strategy<Value = Hint> {
    let astray = (prop::bool::weighted(0.05), prop::bool::weighted(0.05));
    let first = (any::<prop::sample::Index>(), prop::bool::weighted(0.3), astray);
    let some = |n: u8| prop::option::of(0..n);
    let second = (some(11), some(6), some(3), 0..3_u8, 0..4_u8, 0..3_u8, some(3));
    (first, second).prop_map(
        |(
            (which, is_sighting, is_astray),
            (principal, address, outcome, mechanism, application, task, attribute),
        )| Hint {
            which,
            is_sighting,
            is_astray,
            principal,
            address,
            outcome,
            mechanism,
            application,
            task,
            attribute,
        },
    )
}

fn question() -> impl Strategy<Value = Question> {
    // Mostly few conditions at a time: many together match nothing.
    let bits = |n: u32| prop_oneof![5 => Just(0_u8), 1 => 1..(1 << n) as u8];
    let principals =
        prop_oneof![4 => Just(0_u16), 1 => 1..1_u16 << 14, 1 => (0..14_u16).prop_map(|n| 1 << n)];
    let flag = prop::option::weighted(0.15, any::<bool>());
    let range = (0..4_u8, -5..45_i64, 0..50_i64, 0..30_usize);
    let first = (prop::bool::weighted(0.1), range, bits(3), bits(3), principals, bits(6));
    let second = (bits(2), bits(2), bits(3), flag, bits(2), (0..4_u16, 0..4_u16));
    let unwanted = prop_oneof![1 => Just((0, 0)), 1 => (0..10_u8, 1..1_u16 << 14)];
    let third = (
        prop::option::weighted(0.15, 0..4_u8),
        prop_oneof![1..4_000_000_i64, Just(7_000_000)],
        unwanted,
    );
    (first, second, third).prop_map(
        |(
            (is_quarantine, (targets, from, span, limit), actions, outcomes, principals, peers),
            (mechanisms, applications, tasks, has_task, sources, classes),
            (raw, width_micros, unwanted),
        )| Question {
            is_quarantine,
            targets,
            from,
            to: from + span,
            actions,
            outcomes,
            principals,
            peers,
            mechanisms,
            applications,
            tasks,
            has_task,
            sources,
            with: (classes.0 / 3) * 2,
            without: (classes.1 / 3) * 4,
            raw,
            limit,
            width_micros,
            unwanted,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_u8, prop::collection::vec(event(), 1..40))
            .prop_map(|(source, events)| Step::Import(source, events)),
        1 => (prop::collection::vec(0..3_u8, 1..4), 0..40_i64)
            .prop_map(|(hosts, second)| Step::Unreadable(hosts, second)),
        3 => (0..2_u8, any::<bool>(), prop::collection::vec(hint(), 1..20))
            .prop_map(|(source, is_import, hints)| Step::Tell(source, is_import, hints)),
        1 => any::<prop::sample::Index>().prop_map(Step::Retract),
        1 => Just(Step::Restart),
        1 => Just(Step::Flush),
        7 => question().prop_map(|question| Step::Ask(Box::new(question))),
        3 => any::<prop::sample::Index>().prop_map(Step::Again),
    ]
}

const ACTIONS: [Action; 3] = [Action::Authenticate, Action::Authorize, Action::Token];
const OUTCOMES: [OutcomeKind; 3] =
    [OutcomeKind::Success, OutcomeKind::Failure, OutcomeKind::Unknown];
const SOURCES: [&str; 2] = ["mongod-log", "gateway"];

fn text(word: &str, n: u8) -> Option<Text> {
    (n > 0).then(|| format!("{word}-{n}").into())
}

fn principal(n: u8) -> Principal {
    let user = |name: &str, database: &str| Principal::User {
        name: name.into(),
        database: database.into(),
    };
    match n {
        0 => Principal::Unauthenticated,
        1 | 2 => user("user-1", "admin"),
        3 => user("user-1", "shop"),
        4 => user("", "admin"),
        5 => Principal::ApiKey("user-1".into()),
        6 => Principal::ServiceAccount("svc".into()),
        7 => Principal::OsUser { uid: 7, name: Some("user-2".into()) },
        8 => Principal::OsUser { uid: 8, name: None },
        9 => user("user-1", ""),
        _ => Principal::Doorbook,
    }
}

fn like(pieces: &[&str]) -> TextIs {
    TextIs::Like(Wildcard::new(pieces).expect("has a gap"))
}

fn wanted_principals(bits: u16) -> Vec<PrincipalIs> {
    let all = [
        PrincipalIs::User("user-1".into()),
        PrincipalIs::User("user-2".into()),
        PrincipalIs::User("".into()),
        PrincipalIs::UserOf { name: "user-1".into(), database: "shop".into() },
        PrincipalIs::UserOf { name: "svc".into(), database: "admin".into() },
        PrincipalIs::Named("user-1".into()),
        PrincipalIs::Named("user-2".into()),
        PrincipalIs::Named("nobody".into()),
        PrincipalIs::Unauthenticated,
        PrincipalIs::User(like(&["us", ""])),
        PrincipalIs::UserOf { name: like(&["", ""]), database: "admin".into() },
        PrincipalIs::UserOf { name: like(&["", ""]), database: like(&["", ""]) },
        PrincipalIs::UserOf { name: "user-1".into(), database: TextIs::Absent },
        PrincipalIs::WithoutDatabase,
    ];
    chosen(bits, &all)
}

/// The alternatives whose bits are set.
fn chosen<T: Clone>(bits: impl Into<u32>, all: &[T]) -> Vec<T> {
    let bits = bits.into();
    all.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1).map(|(_, one)| one.clone()).collect()
}

fn address(n: u8) -> IpAddr {
    match n {
        2 => [10, 0, 0, 1].into(),
        3 => [10, 0, 0, 2].into(),
        4 => [192, 168, 1, 9].into(),
        _ => "2001:db8::3".parse().expect("valid"),
    }
}

fn wanted_peers(bits: u8) -> Vec<PeerIs> {
    let network = |text: &str| PeerIs::Network(text.parse::<Network>().expect("valid"));
    let all = [
        PeerIs::UnixSocket,
        PeerIs::exactly(address(2)),
        PeerIs::exactly(address(5)),
        network("10.0.0.0/30"),
        network("192.168.0.0/16"),
        network("2001:db8::/64"),
    ];
    chosen(bits, &all)
}

fn target(host: u8) -> Target {
    Target::Host {
        cluster: if host == 2 { "billing".into() } else { "orders".into() },
        host: format!("db-{host}:27017").into(),
    }
}

fn peer(n: u8) -> Peer {
    match n {
        0 => Peer::Unknown,
        1 => Peer::UnixSocket,
        n => Peer::ip(address(n), Some(1)),
    }
}

fn outcome(n: u8) -> Outcome {
    match n {
        0 => Outcome::Success,
        1 => Outcome::Failure { reason: Some("wrong".into()), code: Some(18) },
        _ => Outcome::Unknown,
    }
}

fn client(n: u8) -> Option<Client> {
    let client = Client { application: text("app", n % 3), ..Client::default() };
    let client = match n {
        3 => Client { driver: Some("driver".into()), origin: Some(Peer::UnixSocket), ..client },
        _ => client,
    };
    (client != Client::default()).then_some(client)
}

impl Hint {
    fn record(&self, of: Subject, number: usize) -> Record {
        let raw = format!("needle-{number}").into_bytes();
        if self.is_sighting {
            return Record::Sighting(Sighting { of, event_time: NOW, raw });
        }
        let facts = Facts {
            principal: self.principal.map(principal),
            peer: self.address.map(peer),
            mechanism: text("mechanism", self.mechanism),
            client: client(self.application),
            task_id: text("task", self.task),
            outcome: self.outcome.map(outcome),
            attributes: self
                .attribute
                .map(|n| (format!("a-{}", n % 2).into(), format!("{number}").into()))
                .into_iter()
                .collect(),
        };
        Record::Amendment(Amendment { of, facts, raw, event_time: None }.into())
    }
}

impl Event {
    fn access(&self, number: u64) -> Access {
        Access {
            target: target(self.host),
            event_time: NOW.plus_seconds(self.second),
            action: ACTIONS[usize::from(self.action)],
            outcome: outcome(self.outcome),
            principal: principal(self.principal),
            mechanism: text("mechanism", self.mechanism),
            peer: peer(self.address),
            // Every event is another one: identity is another test's matter.
            connection: Some(number),
            classes: Classes::from_bits(self.classes),
            client: client(self.application).map(Into::into),
            task_id: text("task", self.task),
            raw: format!("{}needle-{}", "x".repeat(self.raw_size), number % 3).into_bytes(),
            ..login(0)
        }
    }
}

impl Question {
    fn filter(&self) -> Filter {
        let (orders, billing) = ("orders".into(), "billing".into());
        let texts = |word: &str, bits: u8, count: u8| {
            let named = (1..count).filter_map(|n| text(word, n)).map(TextIs::from);
            let any = [like(&[word, &format!("-{count}")])];
            chosen(bits, &named.chain(any).collect::<Vec<_>>())
        };
        let (mut task_ids, mut unwanted) = (texts("task", self.tasks, 3), self.unwanted(texts));
        match self.has_task {
            None => {}
            Some(false) => task_ids.push(TextIs::Absent),
            Some(true) => unwanted.task_ids.push(TextIs::Absent),
        }
        Filter {
            kind: if self.is_quarantine { Kind::Quarantine } else { Kind::Access },
            targets: match self.targets {
                1 if self.limit.is_multiple_of(2) => Targets::Like {
                    groups: vec![like(&["ord", ""])],
                    members: vec![like(&["db-", ":27017"])],
                },
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
            actions: chosen(self.actions, &ACTIONS),
            outcomes: chosen(self.outcomes, &OUTCOMES),
            principals: wanted_principals(self.principals),
            peers: wanted_peers(self.peers),
            mechanisms: texts("mechanism", self.mechanisms, 2),
            applications: texts("app", self.applications, 2),
            task_ids,
            sources: chosen(self.sources, &SOURCES.map(TextIs::from)),
            with: Classes::from_bits(self.with),
            raw_contains: self.raw.map(needle).into_iter().collect(),
            unwanted,
            ..Filter::all(scope(), self.limit)
        }
    }

    /// One list, and classes.
    fn unwanted(&self, texts: impl Fn(&str, u8, u8) -> Vec<TextIs>) -> Unwanted {
        let (list, bits) = self.unwanted;
        let few = bits as u8;
        let mut unwanted = Unwanted::classes(Classes::from_bits(self.without));
        match list {
            0 => unwanted.actions = chosen(few, &ACTIONS),
            1 => unwanted.outcomes = chosen(few, &OUTCOMES),
            2 => unwanted.principals = wanted_principals(bits),
            3 => unwanted.peers = wanted_peers(few),
            4 => unwanted.mechanisms = texts("mechanism", few, 2),
            5 => unwanted.applications = texts("app", few, 2),
            6 => unwanted.task_ids = texts("task", few, 3),
            7 => unwanted.sources = chosen(few, &SOURCES.map(TextIs::from)),
            8 => unwanted.raw_contains = chosen(few, &[needle(0), needle(1)]),
            _ => {
                unwanted.groups = chosen(few, &["orders".into(), like(&["b", "g"])]);
                unwanted.members = chosen(few / 4, &["db-1:27017".into()]);
            }
        }
        unwanted
    }
}

fn needle(n: u8) -> Text {
    match n {
        3 => "".into(),
        n => format!("x{}needle-{n}", "x".repeat(n.into())).into(),
    }
}

/// A row of the model.
#[derive(Clone, Debug)]
struct Told {
    source: Text,
    received: Timestamp,
    record: Record,
    /// Of a sighting or an amendment the number of the access, if there is one where it says.
    about: Option<usize>,
    /// Of an access who else told of it, and whether that one amended it.
    sightings: Vec<(Text, bool)>,
}

impl Told {
    fn access(&self) -> Option<&Access> {
        match &self.record {
            Record::Access(access) => Some(access),
            _ => None,
        }
    }

    fn target(&self) -> (&Text, &Text) {
        match &self.record {
            Record::Access(access) => access.target.names(),
            Record::Quarantine(bytes) => bytes.target.names(),
            other => panic!("no step writes {other:?}"),
        }
    }

    fn at(&self) -> Timestamp {
        self.access().map_or(self.received, |access| access.event_time)
    }
}

/// The meaning of a filter, said once more, without any thought of speed.
fn naive_matches(row: &Told, filter: &Filter) -> bool {
    let (group, member) = row.target();
    let fits = |list: &[TextIs], name: &str| list.iter().any(|is| naive_fits(is, Some(name)));
    let is_target = match &filter.targets {
        Targets::All => true,
        Targets::Group(wanted) => wanted == group,
        Targets::Members(wanted) => wanted.contains(&(group.clone(), member.clone())),
        Targets::Like { groups, members } => fits(groups, group) && fits(members, member),
    };
    let (is_kind, raw) = match &row.record {
        Record::Access(access) => (filter.kind == Kind::Access, &access.raw),
        Record::Quarantine(bytes) => (filter.kind == Kind::Quarantine, &bytes.bytes),
        other => panic!("no step writes {other:?}"),
    };
    let raw = String::from_utf8_lossy(raw);
    let not = &filter.unwanted;
    is_kind
        && is_target
        && !fits(&not.groups, group)
        && !fits(&not.members, member)
        && row.at() >= filter.from
        && row.at() <= filter.to
        && (filter.sources.is_empty() || fits(&filter.sources, &row.source))
        && !fits(&not.sources, &row.source)
        && (filter.raw_contains.is_empty()
            || filter.raw_contains.iter().any(|text| raw.contains(&**text)))
        && !not.raw_contains.iter().any(|text| raw.contains(&**text))
        && match row.access() {
            Some(access) => naive_access_matches(access, filter),
            None => {
                filter.actions.is_empty()
                    && filter.outcomes.is_empty()
                    && filter.principals.is_empty()
                    && filter.peers.is_empty()
                    && filter.mechanisms.is_empty()
                    && filter.applications.is_empty()
                    && filter.task_ids.is_empty()
                    && filter.with == Classes::NONE
            }
        }
}

/// A wildcard has one gap here: some start and some end of the text are what stands around it.
fn naive_fits(is: &TextIs, text: Option<&str>) -> bool {
    match (is, text) {
        (TextIs::Absent, text) => text.is_none(),
        (TextIs::Exactly(wanted), text) => Some(&**wanted) == text,
        (TextIs::Like(_), Some(text)) => (0..=text.len()).any(|start| {
            (start..=text.len()).any(|end| *is == like(&[&text[..start], &text[end..]]))
        }),
        (TextIs::Like(_), None) => false,
    }
}

fn naive_access_matches(access: &Access, filter: &Filter) -> bool {
    let outcome = match access.outcome {
        Outcome::Success => OutcomeKind::Success,
        Outcome::Failure { .. } => OutcomeKind::Failure,
        Outcome::Unknown => OutcomeKind::Unknown,
    };
    let is_principal = |wanted: &PrincipalIs| match (wanted, &access.principal) {
        (PrincipalIs::User(wanted), Principal::User { name, .. }) => naive_fits(wanted, Some(name)),
        (PrincipalIs::UserOf { name, database }, Principal::User { name: n, database: d }) => {
            let known = if d.is_empty() { None } else { Some(&**d) };
            naive_fits(name, Some(n)) && naive_fits(database, known)
        }
        (PrincipalIs::WithoutDatabase, Principal::User { database, .. }) => database.is_empty(),
        (PrincipalIs::WithoutDatabase, _) => true,
        (
            PrincipalIs::Named(wanted),
            Principal::User { name, .. }
            | Principal::ApiKey(name)
            | Principal::ServiceAccount(name)
            | Principal::OsUser { name: Some(name), .. },
        ) => naive_fits(wanted, Some(name)),
        (PrincipalIs::Unauthenticated, Principal::Unauthenticated) => true,
        _ => false,
    };
    let is_peer = |wanted: &PeerIs| match (wanted, access.peer) {
        (PeerIs::Network(network), Peer::Ip { address, .. }) => network.contains(address),
        (PeerIs::UnixSocket, Peer::UnixSocket) => true,
        _ => false,
    };
    let shares = |classes: Classes| {
        Class::ALL.iter().any(|class| classes.contains(*class) && access.classes.contains(*class))
    };
    let application = access.client.as_deref().and_then(|client| client.application.as_ref());
    let is_one = |list: &[TextIs], value: Option<&Text>| {
        list.iter().any(|is| naive_fits(is, value.map(|value| &**value)))
    };
    let is_wanted = |list: &[TextIs], value| list.is_empty() || is_one(list, value);
    let not = &filter.unwanted;
    (filter.actions.is_empty() || filter.actions.contains(&access.action))
        && !not.actions.contains(&access.action)
        && (filter.outcomes.is_empty() || filter.outcomes.contains(&outcome))
        && !not.outcomes.contains(&outcome)
        && (filter.peers.is_empty() || filter.peers.iter().any(is_peer))
        && !not.peers.iter().any(is_peer)
        && (filter.principals.is_empty() || filter.principals.iter().any(is_principal))
        && !not.principals.iter().any(is_principal)
        && is_wanted(&filter.mechanisms, access.mechanism.as_ref())
        && !is_one(&not.mechanisms, access.mechanism.as_ref())
        && is_wanted(&filter.applications, application)
        && !is_one(&not.applications, application)
        && is_wanted(&filter.task_ids, access.task_id.as_ref())
        && !is_one(&not.task_ids, access.task_id.as_ref())
        && (filter.with == Classes::NONE || shares(filter.with))
        && !shares(not.classes)
}

const DIMENSIONS: [Dimension; 11] = [
    Dimension::Cluster,
    Dimension::Host,
    Dimension::Action,
    Dimension::Outcome,
    Dimension::Principal,
    Dimension::Database,
    Dimension::Address,
    Dimension::Mechanism,
    Dimension::Application,
    Dimension::Task,
    Dimension::Source,
];

/// Holds when principals were first seen to looking at one row after the other.
fn check_first_seen(store: &Store, filter: &Filter, rows: &[(usize, Told)]) {
    let mut firsts: HashMap<Text, Timestamp> = HashMap::new();
    for (_, row) in rows {
        if let Some(name) = naive_value(row, Dimension::Principal) {
            let first = firsts.entry(name).or_insert(row.at());
            *first = (*first).min(row.at());
        }
    }
    if filter.principals.is_empty() {
        let names: Vec<Text> = firsts.keys().cloned().chain(["nobody".into()]).collect();
        let seen = store.first_seen(filter, &names).expect("answers");
        assert_eq!(seen, firsts, "first seen of {filter:?}");
    }
}

/// Holds the counts of marks to looking at one row after the other.
fn check_marked(store: &Store, filter: &Filter, rows: &[(usize, Told)]) {
    let any = || Filter::all(filter.scope.clone(), 0);
    let unwanted = Unwanted { mechanisms: vec![TextIs::Absent], ..Unwanted::default() };
    let marks =
        [Filter { outcomes: vec![OutcomeKind::Failure], ..any() }, Filter { unwanted, ..any() }];
    for dimension in [Dimension::Principal, Dimension::Host, Dimension::Task] {
        let mut expected: BTreeMap<Option<Text>, Marked> = BTreeMap::new();
        for (_, row) in rows {
            let value = naive_value(row, dimension);
            let none = Marked { value: value.clone(), total: 0, marked: vec![0, 0] };
            let of = expected.entry(value).or_insert(none);
            of.total += 1;
            let outcome = row.access().map(|access| &access.outcome);
            of.marked[0] += u64::from(matches!(outcome, Some(Outcome::Failure { .. })));
            of.marked[1] += u64::from(naive_value(row, Dimension::Mechanism).is_some());
        }
        let mut marked = store.marked(filter, dimension, &marks).expect("answers");
        marked.sort_by(|one, other| one.value.cmp(&other.value));
        let expected: Vec<Marked> = expected.into_values().collect();
        // Of bytes that could not be read nothing is known that a mark could ask for.
        if filter.kind == Kind::Access {
            assert_eq!(marked, expected, "{dimension:?} of {filter:?}");
        }
    }
}

fn naive_value(row: &Told, dimension: Dimension) -> Option<Text> {
    let access = row.access();
    match dimension {
        Dimension::Cluster => Some(row.target().0.clone()),
        Dimension::Host => Some(row.target().1.clone()),
        Dimension::Action => Some(access?.action.word().into()),
        Dimension::Outcome => Some(access?.outcome.word().into()),
        Dimension::Principal => match &access?.principal {
            Principal::User { name, .. }
            | Principal::ApiKey(name)
            | Principal::ServiceAccount(name) => Some(name.clone()),
            Principal::OsUser { name, .. } => name.clone(),
            Principal::Unauthenticated | Principal::Doorbook => None,
        },
        Dimension::Database => match &access?.principal {
            Principal::User { database, .. } => Some(database.clone()),
            Principal::OsUser { uid, .. } => Some(uid.to_string().into()),
            _ => None,
        },
        Dimension::Address => match access?.peer {
            Peer::Unknown => None,
            Peer::UnixSocket => Some("unix".into()),
            Peer::Ip { address, .. } => Some(address.to_string().into()),
        },
        Dimension::Mechanism => access?.mechanism.clone(),
        Dimension::Application => access?.client.as_deref()?.application.clone(),
        Dimension::Task => access?.task_id.clone(),
        Dimension::Source => Some(row.source.clone()),
    }
}

/// All rows of the store, as a list.
#[derive(Default)]
struct Model {
    /// In the order in which they were committed.
    rows: Vec<Told>,
    /// For each import its rows.
    imports: Vec<(ImportId, Range<usize>)>,
    retracted: Vec<Range<usize>>,
}

impl Model {
    /// Of the first `count` rows, those that match, newest first; each with what is told of it.
    fn answer(&self, filter: &Filter, count: usize) -> Vec<(usize, Told)> {
        let shown = || {
            let rows = self.rows[..count].iter().enumerate();
            rows.filter(|(n, _)| !self.retracted.iter().any(|rows| rows.contains(n)))
        };
        let is_event = |row: &Told| matches!(row.record, Record::Access(_) | Record::Quarantine(_));
        let mut rows: Vec<(usize, Told)> = shown()
            .filter(|(_, row)| is_event(row))
            .map(|(n, row)| {
                let mut row = row.clone();
                for (_, told) in shown().filter(|(_, told)| told.about == Some(n)) {
                    let facts = match &told.record {
                        Record::Amendment(amendment) => Some(&amendment.facts),
                        _ => None,
                    };
                    if let (Some(facts), Record::Access(access)) = (facts, &mut row.record) {
                        facts.complete(access);
                    }
                    row.sightings.push((told.source.clone(), facts.is_some()));
                }
                (n, row)
            })
            .filter(|(_, row)| naive_matches(row, filter))
            .collect();
        rows.sort_by_key(|(n, row)| std::cmp::Reverse((row.at(), *n)));
        rows
    }

    fn check(&self, store: &Store, filter: &Filter, count: usize, skip: usize) -> Page {
        let page = store.select(filter).expect("answers");
        let expected = self.answer(filter, count);
        assert_eq!(page.total, expected.len() as u64, "total of {filter:?}");
        let expected: Vec<_> = expected
            .into_iter()
            .skip(skip)
            .take(filter.limit)
            .map(|(_, row)| (row.source, row.record, row.sightings))
            .collect();
        let sightings = |row: &Placed| {
            let sightings = row.sightings.iter();
            sightings.map(|sighted| (sighted.source.clone(), sighted.amends)).collect::<Vec<_>>()
        };
        let found: Vec<_> = page
            .rows
            .iter()
            .map(|row| (row.source.clone(), row.record.clone(), sightings(row)))
            .collect();
        assert_eq!(found, expected, "page of {filter:?}");
        page
    }

    /// What some hints would say, each of an access that the store still shows.
    fn told(&self, store: &Store, hints: &[Hint]) -> Vec<(Record, Option<usize>)> {
        let all = store.select(&Filter::all(scope(), usize::MAX)).expect("answers").rows;
        if all.is_empty() {
            return Vec::new();
        }
        let rows: Vec<&Placed> =
            hints.iter().map(|hint| &all[hint.which.index(all.len())]).collect();
        let places: Vec<_> = rows.iter().map(|row| (row.log, row.seq)).collect();
        let subjects = store.subjects(&scope(), &places).expect("looks them up");
        let number = |row: &Placed| match &row.record {
            Record::Access(access) => access.connection.and_then(|n| usize::try_from(n).ok()),
            other => panic!("no access: {other:?}"),
        };
        let told =
            hints.iter().zip(rows).zip(subjects).enumerate().map(|(n, ((hint, row), of))| {
                let mut of = of.expect("every row has a subject");
                assert_eq!((of.log, of.seq, of.event_time), (row.log, row.seq, row.event_time()));
                let (other_seq, other_time) = hint.is_astray;
                of.seq += u64::from(other_seq) * 100_000;
                of.event_time = of.event_time.plus_micros(i64::from(other_time));
                let is_astray = other_seq || other_time;
                (hint.record(of, self.rows.len() + n), number(row).filter(|_| !is_astray))
            });
        told.collect()
    }

    fn tell(&mut self, store: &Store, source: &str, is_import: bool, hints: &[Hint]) {
        let told = self.told(store, hints);
        let source = Text::from(source);
        let first = self.rows.len();
        let mut batch = ImportBatch::default();
        let mut lines = Vec::new();
        // A batch has its sightings first.
        let (sightings, amendments): (Vec<_>, Vec<_>) =
            told.into_iter().partition(|(record, _)| matches!(record, Record::Sighting(_)));
        for (record, about) in sightings.into_iter().chain(amendments) {
            match &record {
                Record::Sighting(sighting) => {
                    batch.sightings.push(sighting.clone());
                    lines.push(IngestLine::Sighting(Box::new(sighting.clone())));
                }
                Record::Amendment(amendment) => {
                    batch.amendments.push(Amendment::clone(amendment));
                    lines.push(IngestLine::Amendment(amendment.clone()));
                }
                other => panic!("no hint says {other:?}"),
            }
            let (source, sightings) = (source.clone(), Vec::new());
            self.rows.push(Told { source, received: NOW, record, about, sightings });
        }
        if is_import {
            let id = store.begin_import(ImportStart { source, ..start() }).expect("begins");
            store.import(&id, batch).expect("imports");
            store.end_import(&id, end()).expect("ends");
            self.imports.push((id, first..self.rows.len()));
        } else {
            let again = Ingest { scope: scope(), source, key: None, lines };
            let ingested = store.ingest(again.clone()).expect("stores");
            let is_stored = |line: &LineResult| matches!(line, LineResult::Stored { .. });
            assert!(ingested.lines.iter().all(is_stored), "{ingested:?}");
            let ingested = store.ingest(again).expect("answers");
            let is_duplicate = |line: &LineResult| *line == LineResult::Duplicate;
            assert!(ingested.lines.iter().all(is_duplicate), "{ingested:?}");
        }
        while store.maintain().expect("maintains") != Did::Nothing {}
    }

    /// Holds the counts by value and by time to counting one row after the other.
    fn check_counts(&self, store: &Store, filter: &Filter, count: usize, width_micros: i64) {
        let rows = self.answer(filter, count);
        let total = rows.len() as u64;
        let asked = (&DIMENSIONS[..], filter.limit);
        let overview = store.overview(filter, width_micros, asked).expect("answers");
        let Overview { tops, bars: bars_beside, .. } = overview;
        for (dimension, top) in DIMENSIONS.into_iter().zip(tops) {
            let mut counts: BTreeMap<Option<Text>, u64> = BTreeMap::new();
            for (_, row) in &rows {
                *counts.entry(naive_value(row, dimension)).or_default() += 1;
            }
            let distinct = counts.keys().flatten().count() as u64;
            let mut values: Vec<_> = counts.into_iter().collect();
            // Stable: equal counts stay in the order of their values.
            values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            values.truncate(filter.limit);
            let as_of = top.as_of.clone();
            assert_eq!(top, Top { values, distinct, total, as_of }, "{dimension:?} of {filter:?}");
        }
        let mut bars: BTreeMap<i64, Bar> = BTreeMap::new();
        for (_, row) in &rows {
            let number = row.at().micros().div_euclid(width_micros);
            let from = Timestamp::from_micros(number * width_micros);
            let none = Bar { from, successes: 0, failures: 0, unknown: 0 };
            let bar = bars.entry(number).or_insert(none);
            match row.access().map(|access| &access.outcome) {
                Some(Outcome::Success) => bar.successes += 1,
                Some(Outcome::Failure { .. }) => bar.failures += 1,
                Some(Outcome::Unknown) | None => bar.unknown += 1,
            }
        }
        self.check_seen(store, filter, &rows);
        check_first_seen(store, filter, &rows);
        check_marked(store, filter, &rows);
        // Every third stretch has the same name.
        let third = |at: Timestamp| at.micros().div_euclid(width_micros).rem_euclid(3);
        let cut = |at: Timestamp| {
            let next = (at.micros().div_euclid(width_micros) + 1) * width_micros;
            (Timestamp::from_micros(third(at)), Timestamp::from_micros(next))
        };
        let mut thirds: BTreeMap<i64, u64> = BTreeMap::new();
        rows.iter().for_each(|(_, row)| *thirds.entry(third(row.at())).or_default() += 1);
        let by_third = store.histogram_by(filter, &cut).expect("answers");
        let by_third = by_third.bars.iter();
        let by_third: BTreeMap<i64, u64> = by_third
            .map(|bar| (bar.from.micros(), bar.successes + bar.failures + bar.unknown))
            .collect();
        assert_eq!(by_third, thirds, "thirds of {filter:?}");
        let histogram = store.histogram(filter, width_micros).expect("answers");
        let (bars, as_of) = (bars.into_values().collect(), histogram.as_of.clone());
        assert_eq!(bars_beside, histogram.bars, "bars beside values of {filter:?}");
        assert_eq!(histogram, Histogram { bars, total, as_of }, "bars of {filter:?}");
    }

    /// Holds what was seen of each value to looking at one row after the other.
    fn check_seen(&self, store: &Store, filter: &Filter, rows: &[(usize, Told)]) {
        let rank = [Rank::Last, Rank::First, Rank::Count, Rank::Failures][filter.limit % 4];
        let seen = store.seen(filter, &DIMENSIONS, (rank, filter.limit)).expect("answers");
        for (dimension, seen) in DIMENSIONS.into_iter().zip(seen) {
            let mut values: BTreeMap<Option<Text>, SeenValue> = BTreeMap::new();
            for (_, row) in rows {
                let value = naive_value(row, dimension);
                let new = SeenValue {
                    value: value.clone(),
                    first: row.at(),
                    last: row.at(),
                    successes: 0,
                    failures: 0,
                    unknown: 0,
                };
                let known = values.entry(value).or_insert(new);
                known.first = known.first.min(row.at());
                known.last = known.last.max(row.at());
                match row.access().map(|access| &access.outcome) {
                    Some(Outcome::Success) => known.successes += 1,
                    Some(Outcome::Failure { .. }) => known.failures += 1,
                    Some(Outcome::Unknown) | None => known.unknown += 1,
                }
            }
            let distinct = values.keys().flatten().count() as u64;
            let mut values: Vec<SeenValue> = values.into_values().collect();
            let key = |value: &SeenValue| match rank {
                Rank::Last => value.last.micros(),
                Rank::First => value.first.micros(),
                Rank::Count => (value.successes + value.failures + value.unknown) as i64,
                Rank::Failures => value.failures as i64,
            };
            values.sort_by_key(|value| std::cmp::Reverse(key(value)));
            values.truncate(filter.limit);
            let (total, as_of) = (rows.len() as u64, seen.as_of.clone());
            assert_eq!(
                seen,
                Seen { values, distinct, total, as_of },
                "{dimension:?} of {filter:?}"
            );
        }
    }

    fn add(&mut self, store: &Store, source: &str, received: Timestamp, batch: ImportBatch) {
        let first = self.rows.len();
        let accesses = batch.accesses.iter().cloned().map(Record::Access);
        let records = accesses.chain(batch.quarantine.iter().cloned().map(Record::Quarantine));
        let source = Text::from(source);
        self.rows.extend(records.map(|record| {
            let (source, about, sightings) = (source.clone(), None, Vec::new());
            Told { source, received, record, about, sightings }
        }));
        let id = store.begin_import(ImportStart { source, ..start() }).expect("begins");
        store.import(&id, batch).expect("imports");
        store.end_import(&id, end()).expect("ends");
        // As the background does it; a unit of work moves rows if there are enough of them.
        while store.maintain().expect("maintains") != Did::Nothing {}
        self.imports.push((id, first..self.rows.len()));
    }
}

fn run(steps: Vec<Step>, place: &Place) {
    let mut store = place.open_new();
    let mut model = Model::default();
    let mut asked: Vec<(Filter, Page, usize)> = Vec::new();
    for step in steps {
        let first = model.rows.len() as u64;
        match step {
            Step::Import(source, events) => {
                let accesses = events.iter().zip(first..);
                let accesses = accesses.map(|(event, number)| event.access(number)).collect();
                let batch = ImportBatch { accesses, ..ImportBatch::default() };
                model.add(&store, SOURCES[usize::from(source)], NOW, batch);
            }
            Step::Unreadable(hosts, second) => {
                let received = NOW.plus_seconds(second);
                place.clock.set(received);
                let bytes = |(host, number): (u8, u64)| Quarantine {
                    target: target(host),
                    reason: "not JSON".into(),
                    place: PlaceInInput { file: "f".into(), line: number, offset_bytes: 7 },
                    bytes: format!("xxneedle-{}", number % 3).into_bytes(),
                    length_bytes: 10,
                    // Other bytes each time: identity is another test's matter.
                    sha256: [number as u8; 32],
                };
                let quarantine = hosts.into_iter().zip(first..).map(bytes).collect();
                let batch = ImportBatch { quarantine, ..ImportBatch::default() };
                model.add(&store, SOURCES[0], received, batch);
                place.clock.set(NOW);
            }
            Step::Tell(source, is_import, hints) => {
                model.tell(&store, SOURCES[usize::from(source)], is_import, &hints);
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
            Step::Flush => store.flush().expect("flushes"),
            Step::Ask(question) => {
                let filter = question.filter();
                let count = model.rows.len();
                let page = model.check(&store, &filter, count, 0);
                model.check_counts(&store, &filter, count, question.width_micros);
                for row in page.rows.iter().take(3) {
                    let found = store.get(&scope(), row.log, row.seq).expect("looks it up");
                    assert_eq!(found.as_ref(), Some(row));
                }
                // The same, if only so many bytes are allowed: less of it, but always one row.
                let size_bytes_max = 500 * (count % 7);
                let small = store.select(&Filter { size_bytes_max, ..filter.clone() });
                let small = small.expect("answers");
                let shown = small.rows.len();
                assert_eq!(small.rows, page.rows[..shown]);
                assert_eq!(small.is_cut, shown < page.rows.len());
                assert!(shown > 0 || page.rows.is_empty());
                assert_eq!((small.total, &small.as_of), (page.total, &page.as_of));
                // Later ones: as if the newest had been taken, and left out.
                let (skip, limit) = (count % 5, filter.limit);
                let longer = Filter { limit: limit + skip, ..filter.clone() };
                let longer = store.select(&longer).expect("answers");
                let later = store.select(&Filter { skip, ..filter.clone() }).expect("answers");
                let expected = longer.rows.iter().skip(skip).take(limit);
                assert!(later.rows.iter().eq(expected), "{skip} left out");
                assert_eq!((later.total, &later.as_of), (page.total, &page.as_of));
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
                check_since(&store, filter, page);
                model.check_counts(&store, &same, *count, 5_000_000);
                if let Some(last) = page.rows.last() {
                    let (log, seq) = (last.log, last.seq);
                    let after = Some(Order { event_time: last.event_time(), log, seq });
                    let next = Filter { after, ..same };
                    model.check(&store, &next, *count, page.rows.len());
                }
            }
        }
    }
}

/// What is new since an earlier answer is what matches now and did not then: recorded since, or told of
/// since. (Both answers are held to the naive filter.)
fn check_since(store: &Store, filter: &Filter, earlier: &Page) {
    let all = Filter { kind: Kind::Access, limit: usize::MAX, ..filter.clone() };
    let then = Filter { as_of: Some(earlier.as_of.clone()), ..all.clone() };
    let then = store.select(&then).expect("answers").rows;
    let now = store.select(&all).expect("answers").rows;
    let is_new = |row: &&Placed| !then.iter().any(|old| (old.log, old.seq) == (row.log, row.seq));
    let expected: Vec<Placed> = now.iter().filter(is_new).cloned().collect();
    let since = Filter { since: Some(earlier.as_of.clone()), ..all };
    let page = store.select(&since).expect("answers");
    assert_eq!(page.total, expected.len() as u64, "since {:?}: {filter:?}", earlier.as_of);
    assert_eq!(page.rows, expected);
    let top = store.top(&since, Dimension::Outcome, 9).expect("answers");
    assert_eq!(top.total, page.total);
    let bars = store.histogram(&since, 5_000_000).expect("answers");
    assert_eq!(bars.total, page.total);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Goal: a page, its total, counts by value and counts by time are what the naive filter says,
    /// whatever part of the rows is in memory, in segments of a flush, in segments of an import, or
    /// taken back, and whatever was told of them, before or since; and a page at an `as_of` does not change when older events arrive. Method: random
    /// lives of a store, with memtables from "everything is bulk" to "nothing is flushed", and caches
    /// from "nothing is kept" over "something is thrown out all the time" to "everything is kept".
    #[test]
    fn answers_are_what_the_naive_filter_says(
        steps in prop::collection::vec(step(), 1..40),
        memtable_size_bytes in prop_oneof![Just(1_usize), Just(6_000), Just(20_000), Just(1 << 20)],
        cache_size_bytes in prop_oneof![Just(0_usize), Just(10_000), Just(128 << 20)],
    ) {
        run(steps, &Place { cache_size_bytes, ..Place::with_memtable(memtable_size_bytes) });
    }
}

/// Goal: a scan that is shared among threads finds what one finds. Method: more rows than one thread
/// scans, whose answers are known from how they were made.
#[test]
fn a_large_scan_counts_every_row_once() {
    let place = Place::new();
    let store = place.open_new();
    let rows = 140_000;
    let accesses = (0..rows).map(|n| Access {
        target: target((n % 3) as u8),
        event_time: NOW.plus_micros(n * 1000),
        principal: Principal::User { name: format!("user-{}", n % 7).into(), database: "".into() },
        connection: u64::try_from(n).ok(),
        raw: Vec::new(),
        ..login(0)
    });
    import(&store, accesses.collect());
    let of_user = |user: i64, limit: usize| Filter {
        principals: vec![PrincipalIs::User(format!("user-{user}").into())],
        ..Filter::all(scope(), limit)
    };
    let page = store.select(&of_user(3, 500)).expect("answers");
    assert_eq!(page.total, 20_000);
    let times: Vec<i64> =
        page.rows.iter().map(|row| (row.event_time().micros() - NOW.micros()) / 1000).collect();
    let expected: Vec<i64> = (0..rows).rev().filter(|n| n % 7 == 3).take(500).collect();
    assert_eq!(times, expected);
    let top = store.top(&of_user(3, 0), Dimension::Host, 9).expect("answers");
    let counts: Vec<u64> = (0..3)
        .map(|host| (0..rows).filter(|n| n % 7 == 3 && n % 3 == host).count() as u64)
        .collect();
    assert_eq!(top.values.iter().map(|(_, count)| count).sum::<u64>(), counts.iter().sum::<u64>());
    let histogram = store.histogram(&of_user(3, 0), 7_000_000).expect("answers");
    assert!(histogram.bars[1..19].iter().all(|bar| bar.successes == 1000), "{:?}", histogram.bars);
}

/// Goal: rows that lie far apart, of which only they are decoded, are the rows that were written.
/// Method: one row in 499 is of a user; it is asked for when nothing is cached, when packed pages are,
/// and when whole pages are, and compared member by member.
#[test]
fn rows_far_apart_are_whole() {
    let place = Place::new();
    let store = place.open_new();
    let access = |n: i64| Access {
        target: target((n % 2) as u8),
        event_time: NOW.plus_micros(n * n % 1_000_003),
        principal: Principal::User {
            name: format!("user-{}", if n % 499 == 0 { 0 } else { 1 + n % 300 }).into(),
            database: format!("db-{}", n % 5).into(),
        },
        mechanism: (n % 3 > 0).then(|| format!("M-{}", n % 3).into()),
        peer: Peer::ip([10, 0, (n % 7) as u8, (n % 251) as u8].into(), Some((n % 60_000) as u16)),
        connection: (n % 11 > 0).then_some((n * 7919 % 100_003) as u64),
        raw: format!("line {n}").into_bytes(),
        task_id: (n % 4 == 0).then(|| format!("task-{n}-{}", "x".repeat(60)).into()),
        ..login(0)
    };
    let rows = 40_000;
    import(&store, (0..rows).map(access).collect());
    let filter = Filter {
        principals: vec![PrincipalIs::User("user-0".into())],
        ..Filter::all(scope(), 1000)
    };
    let mut expected: Vec<(Timestamp, u64, Access)> = (0..rows)
        .filter(|n| n % 499 == 0)
        .map(|n| (access(n).event_time, n as u64, access(n)))
        .collect();
    expected.sort_by_key(|(at, n, _)| std::cmp::Reverse((*at, *n)));
    let check = || {
        let page = store.select(&filter).expect("answers");
        assert_eq!(page.total, expected.len() as u64);
        for (row, (.., access)) in page.rows.iter().zip(&expected) {
            assert_eq!(row.record, Record::Access(access.clone()));
        }
    };
    check();
    check();
    store.select(&Filter::all(scope(), rows as usize)).expect("answers");
    check();
}

/// Goal: no answer is made of damaged bytes. Method: one byte of a segment is another one; every
/// question is an error that names the file, or has the answer that it had before.
#[test]
fn a_flipped_byte_is_noticed_or_harmless() {
    let place = Place::with_memtable(1);
    let store = place.open_new();
    let event = |n: u8| Event {
        host: n % 3,
        second: (n / 2).into(),
        principal: n % 10,
        address: n % 6,
        outcome: n % 3,
        action: n % 3,
        classes: (n % 4).into(),
        mechanism: n % 3,
        application: n % 4,
        task: n % 3,
        raw_size: usize::from(n),
    };
    import(&store, (0..200).map(|n| event(n).access(n.into())).collect());
    store.flush().expect("flushes");
    let ask = |store: &Store| {
        let all = Filter::all(scope(), 1000);
        let named = PrincipalIs::Named("user-1".into());
        let of_user = Filter { principals: vec![named], ..all.clone() };
        let late = Filter { from: NOW.plus_seconds(50), ..all.clone() };
        let asked = (&DIMENSIONS[..], 9);
        let facets = store.overview(&all, 1, asked).map(|overview| format!("{overview:?}"));
        let bars = store.histogram(&all, 1_000_000).map(|histogram| format!("{histogram:?}"));
        let pages = [all, of_user, late].map(|f| store.select(&f).map(|page| format!("{page:?}")));
        pages.into_iter().chain([facets, bars])
    };
    let expected: Vec<_> = ask(&store).map(|answer| answer.expect("answers")).collect();
    store.close().expect("closes");
    drop(store);
    let dir = place.dir.path().join("data/segments");
    let files = std::fs::read_dir(dir).expect("is there");
    let files = files.map(|entry| entry.expect("is there").path());
    let path = files.max_by_key(|path| path.metadata().expect("is there").len()).expect("one");
    let whole = std::fs::read(&path).expect("reads");
    let mut noticed = 0;
    // Odd, so that it is another bit each time.
    for at in (0..whole.len()).step_by((whole.len() / 150) | 1) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&path, damaged).expect("writes");
        for (answer, expected) in ask(&place.open()).zip(&expected) {
            match answer {
                Ok(answer) => assert_eq!(&answer, expected, "byte {at}"),
                Err(error) => {
                    assert_eq!(error.path.as_ref(), Some(&path), "byte {at}: {error}");
                    noticed += 1;
                }
            }
        }
    }
    assert!(noticed > 150, "noticed {noticed} times");
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
    let place = Place::with_memtable(16_000);
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

//! Goal: a filter says what it seems to say, says it again when it is printed, and where it cannot be
//! read that is told at the right place. Method: texts and what they become; terms drawn at random,
//! printed and read; any text at all, which must not panic.

use doorbook_event::registry::Registry;
use doorbook_event::{Class, Classes, ProjectId, Scope};
use doorbook_store::Filter;
use doorbook_store::filter::{Kind, OutcomeKind, PeerIs, PrincipalIs};
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000); // 2023-11-14T22:13:20Z

fn scope() -> Scope {
    Scope::Project(ProjectId::new([1; 12]))
}

fn read(text: &str) -> Result<Filter, Wrong> {
    let zone = time_zone("Europe/Berlin").expect("there is one");
    let (registry, scope) = (Registry::default(), scope());
    let about = About { registry: &registry, scope: &scope, now: NOW, zone: &zone };
    Terms::parse(text)?.filter(about)
}

fn like(pieces: &[&str]) -> TextIs {
    TextIs::Like(Wildcard::new(pieces).expect("has a gap"))
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

#[test]
fn a_filter_says_what_it_seems_to_say() {
    let check = |text: &str, change: &dyn Fn(&mut Filter)| {
        let mut expected = Filter::all(scope(), 0);
        change(&mut expected);
        assert_eq!(read(text), Ok(expected), "{text}");
    };
    check("", &|_| {});
    check(" \t\n", &|_| {});
    check("result:failed user:svc-* ip:10.0.0.0/8 -class:system", &|it| {
        it.outcomes = vec![OutcomeKind::Failure];
        it.principals = vec![PrincipalIs::User(like(&["svc-", ""]))];
        it.peers = vec![PeerIs::Network("10.0.0.0/8".parse().expect("a network"))];
        it.unwanted.classes = Classes::NONE.with(Class::System);
    });
    check("outcome:success result:unknown", &|it| {
        it.outcomes = vec![OutcomeKind::Success, OutcomeKind::Unknown];
    });
    check(r#"user:"al ice" user:a"*"b user:DOMAIN\al user:"q\"\\""#, &|it| {
        let names = ["al ice", "a*b", r"DOMAIN\al", r#"q"\"#];
        it.principals = names.map(|name| PrincipalIs::User(name.into())).into();
    });
    check("user:a**b -user:* principal:x db:admin", &|it| {
        it.principals = vec![
            PrincipalIs::UserOf { name: like(&["a", "b"]), database: "admin".into() },
            PrincipalIs::Named("x".into()),
        ];
        it.unwanted.principals = vec![PrincipalIs::User(like(&["", ""]))];
    });
    check("db:admin -db:local -user:root", &|it| {
        let of = |database: &str| PrincipalIs::UserOf {
            name: like(&["", ""]),
            database: database.into(),
        };
        it.principals = vec![of("admin")];
        it.unwanted.principals = vec![of("local"), PrincipalIs::User("root".into())];
    });
    check(r#"db:"" -db:"""#, &|it| {
        it.principals = vec![PrincipalIs::WithoutDatabase];
        it.unwanted.principals = vec![PrincipalIs::WithoutDatabase];
    });
    check(r#"user:al db:"""#, &|it| {
        let (name, database) = ("al".into(), TextIs::Absent);
        it.principals = vec![PrincipalIs::UserOf { name, database }];
    });
    check(r#"user:"" task:"" -app:"" mechanism:PLAIN"#, &|it| {
        it.principals = vec![PrincipalIs::Unauthenticated];
        it.task_ids = vec![TextIs::Absent];
        it.unwanted.applications = vec![TextIs::Absent];
        it.mechanisms = vec!["PLAIN".into()];
    });
    check("ip:unix connection:7 -connection:8 text:\"a b\" source:x -source:y*", &|it| {
        it.peers = vec![PeerIs::UnixSocket];
        it.connections = vec![7];
        it.unwanted.connections = vec![8];
        it.raw_contains = vec!["a b".into()];
        it.sources = vec!["x".into()];
        it.unwanted.sources = vec![like(&["y", ""])];
    });
    check("kind:quarantine", &|it| it.kind = Kind::Quarantine);
    check("since:24h", &|it| it.from = NOW.plus_seconds(-86_400));
    // Days are Berlin's.
    check("from:2023-03-26 to:2023-03-26", &|it| {
        it.from = time("2023-03-25T23:00:00Z");
        it.to = time("2023-03-26T21:59:59.999999Z");
    });
    check("from:2023-11-14T22:00:00Z to:2023-11-14T23:13", &|it| {
        it.from = time("2023-11-14T22:00:00Z");
        it.to = time("2023-11-14T22:13:00Z");
    });
    check("from:1682476736454", &|it| it.from = Timestamp::from_millis(1_682_476_736_454));
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    let check = |text: &str, column: usize, what: &str| {
        let wrong = read(text).expect_err(text);
        let Place::Columns(at, _) = wrong.place else { panic!("{text}: {wrong:?}") };
        assert_eq!((at, wrong.what.get(..what.len())), (column, Some(what)), "{text}: {wrong:?}");
    };
    check("alice", 1, "a term is a key, a colon and a value");
    check("user:a AND user:b", 8, "terms stand side by side");
    check("user:a OR user:b", 8, "write a term of the same key twice");
    check("not class:x", 1, "put a minus");
    check("user:é reslt:failed", 8, "there is no term \"reslt\"; there is result, user,");
    check("user: alice", 6, "a value follows the colon at once");
    check("user:a user:\"b", 13, "the quotation mark has no other end");
    check("  result:maybe", 10, "success, failure or unknown");
    check("class:x", 7, "system, monitor");
    check("ip:10.*", 4, "an address, a network");
    check("ip:10.0.0.0/33", 4, "an address, a network");
    check("connection:-1", 12, "the number of a connection");
    check("text:a*b", 6, "text that is looked for as it is");
    check("kind:x", 6, "event or quarantine");
    check("kind:event kind:event", 12, "given more than once");
    check("action:nope", 8, "authenticate or authorize");
    check("cluster:nope", 9, "the project has no cluster nope");
    check("-host:nope*", 7, "the project has no host like nope*");
    check("array:a", 1, "a project has clusters and hosts");
    check("from:yesterday", 6, "a time such as");
    check("from:2023-13-01", 6, "a time such as");
    check("since:1y", 7, "a number and s, m, h, d or w");
    check("since:1h from:2023-01-01", 10, "given more than once");
    check("-since:1h", 1, "a time cannot be negated");
    check("from:2023-01-02 to:2023-01-01", 20, "before from");
    check("-:x", 2, "there is no term \"\"");
    check(":x", 1, "there is no term \"\"");
    check(&"user:a ".repeat(TERMS_MAX + 1), 7 * TERMS_MAX + 1, "a filter has at most 200 terms");
    check(&" ".repeat(SIZE_BYTES_MAX + 1), 1, "a filter has at most 8192 bytes");
}

/// A terminal is shown where it is, and nothing that it would obey.
#[test]
fn a_terminal_is_shown_the_place() {
    let filter = "user:\u{1b}[31m\u{202e} result:x";
    let wrong = read(filter).expect_err("no such result");
    assert_eq!(
        wrong.explain(filter),
        "the filter cannot be read at column 20\n  user:\u{fffd}[31m\u{fffd} result:x\n                     \
         ^ success, failure or unknown"
    );
    let wrong =
        Wrong { place: Place::Parameter("--from"), what: "a time".to_owned(), is_missing: false };
    assert_eq!(wrong.explain(""), "--from: a time");
}

/// Goal: an error is told at what somebody typed, also where it is found in what was made of that. Method:
/// a filter whose times became instants, which are longer, and a term that was added.
#[test]
fn a_place_is_where_it_was_typed() {
    let text = "from:2026-11-23 to:2026-11-22";
    let typed = Terms::parse(text).expect("can be read");
    let mut made = typed.clone().at(NOW, &TimeZone::UTC).expect("are times");
    made.add("--host", Key::Host, "nope");
    let again = Terms::parse(&made.to_string()).expect("our own").placed_as(&typed);
    let places: Vec<Place> = again.iter().map(|term| term.place).collect();
    let expected = [Place::Columns(1, 6), Place::Columns(17, 20), Place::Parameter("host")];
    assert_eq!(places, expected);
}

fn value() -> impl Strategy<Value = Value> {
    let piece = prop_oneof!["[a-z:/.\\-]{1,4}", "[ \"\\\\*a\u{1b}é]{1,4}", Just("x".to_owned())];
    let end = prop_oneof![2 => piece.clone(), 1 => Just(String::new())];
    let middle = prop::collection::vec(piece, 0..3);
    prop_oneof![
        end.clone().prop_map(Value::exactly),
        (end.clone(), middle, end).prop_map(|(first, middle, last)| {
            let pieces = [first].into_iter().chain(middle).chain([last]);
            Value { pieces: pieces.collect() }
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same(
        terms in prop::collection::vec((prop::sample::select(&Key::ALL[..]), any::<bool>(), value()), 0..8)
    ) {
        let term = |(key, is_negated, value)| Term { key, is_negated, value, place: Place::Columns(1, 1) };
        let terms = Terms(terms.into_iter().map(term).collect());
        prop_assert_eq!(Terms::parse(&terms.to_string()), Ok(terms));
    }

    #[test]
    fn any_text_is_read_or_refused_within_it(text in prop_oneof![".{0,40}", "[-a-z:*\" \\\\]{0,40}", "(-?(user|from|ip|since|result):[*\"a-z0-9 ]{0,6} ){0,4}"]) {
        match Terms::parse(&text) {
            Ok(terms) => {
                prop_assert_eq!(Terms::parse(&terms.to_string()), Ok(terms));
                let _whatever = read(&text);
            }
            Err(wrong) => {
                let Place::Columns(column, _) = wrong.place else { panic!("no parameter") };
                prop_assert!((1..=text.chars().count() + 1).contains(&column));
            }
        }
    }
}

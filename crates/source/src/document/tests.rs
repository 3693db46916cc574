//! Goal: what a sender wrote is read as it is meant or refused with the member's name, whatever the
//! bytes; what is written reads as the same event. Method: tables, and properties over generated
//! events, JSON values and changed lines.

use std::net::IpAddr;

use doorbook_event::record::Facts;
use doorbook_event::{
    Access, Action, Class, Classes, Client, Outcome, Peer, Principal, Target, Text, Timestamp,
    WrittenTime,
};
use proptest::prelude::*;

use super::*;

mod plain;

const LEAST: &str = r#""time":"2026-11-23T02:45:14.292Z","cluster":"orders","host":"db-1:27017""#;

fn read(line: &str) -> Result<Access, Unreadable> {
    Reader::default().read(line.as_bytes())
}

fn event() -> Access {
    read(&format!("{{{LEAST}}}")).expect("the least there is")
}

#[test]
fn the_least_and_the_most_that_a_line_says() {
    let least = event();
    assert_eq!(least.target, Target::Host { cluster: "orders".into(), host: "db-1:27017".into() });
    assert_eq!(least.event_time.to_string(), "2026-11-23T02:45:14.292Z");
    assert_eq!(least.written_time, WrittenTime::Complete);
    assert_eq!((least.action, &least.outcome), (Action::Authenticate, &Outcome::Unknown));
    assert_eq!((&least.principal, least.peer), (&Principal::Unauthenticated, Peer::Unknown));
    assert!(least.raw.is_empty() && least.client.is_none());

    let most = read(
        r#" { "time" : "2026-11-23t02:45:14.2921239+01:00", "namespace":"n","array":"a",
        "action":"query_write","outcome":"failure","reason":"no \"right\"","code":-18,
        "user":"al\u00efce","database":"admin","mechanism":"SCRAM-SHA-256",
        "address":"::ffff:10.0.0.7","port":65535,"address_joined":true,
        "connection":18446744073709551615,"process_start":"2026-11-01T00:00:00+00:00",
        "application":"api","driver":"go","driver_version":"1","os":"Linux","platform":"p",
        "via":"mongos:27017","origin":"[2001:db8::1]:5","speculative":false,
        "classes":["retry","clock"],"task_id":"t-1","written_time":"Mon Nov 23 02:45:14.292",
        "attributes":{"user":"another","n":1},"attempts":3.0e2,"nested":{"a":[1, null]},"flag":true,
        "nothing":null,"mo\u0072e":"\u00e9","raw":"line\n"}"#,
    )
    .expect("readable");
    assert_eq!(most.event_time.to_string(), "2026-11-23T01:45:14.292123Z");
    assert_eq!(most.target, Target::Array { namespace: "n".into(), array: "a".into() });
    let reason = Some(Text::from("no \"right\""));
    assert_eq!(most.outcome, Outcome::Failure { reason, code: Some(-18) });
    let user = Principal::User { name: "al\u{ef}ce".into(), database: "admin".into() };
    assert_eq!(most.principal, user);
    assert_eq!(most.peer, Peer::ip([10, 0, 0, 7].into(), Some(65535)));
    assert_eq!(most.connection, Some(u64::MAX));
    assert_eq!(most.classes, Classes::NONE.with(Class::Retry).with(Class::Clock));
    assert_eq!(most.raw, b"line\n");
    let attributes: Vec<(&str, &str)> =
        most.attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
    let expected = [
        ("attempts", "3.0e2"),
        ("flag", "true"),
        ("more", "é"),
        ("n", "1"),
        ("nested", r#"{"a":[1, null]}"#),
        ("user", "another"),
    ];
    assert_eq!(attributes, expected);
    let origin = most.client.as_ref().and_then(|client| client.origin);
    assert_eq!(origin.map(|origin| origin.to_string()).as_deref(), Some("[2001:db8::1]:5"));
}

/// Goal: no member of the documented form is passed over in silence. Method: the table of the
/// documentation names the members; a line says something else with each of them than without it,
/// at its first reading and when the line before had it, too; twice is refused.
#[test]
fn every_documented_member_is_read() {
    let documentation = include_str!("../../../../docs/design/ingest.md");
    let (_, table) = documentation.split_once("## The form of an event").expect("the chapter");
    let mut documented: Vec<&str> = table
        .lines()
        .skip_while(|line| !line.starts_with("| `"))
        .take_while(|line| line.starts_with("| `"))
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|names| names.split('`').skip(1).step_by(2))
        .chain(["amends", "unix_socket"])
        .collect();
    let members = [
        ("time", r#""2026-11-23T02:45:14Z""#, r#""cluster":"c","host":"h""#),
        ("cluster", r#""c""#, r#""time":"2026-11-23T02:45:14Z","host":"h""#),
        ("host", r#""h""#, r#""time":"2026-11-23T02:45:14Z","cluster":"c""#),
        ("namespace", r#""n""#, r#""time":"2026-11-23T02:45:14Z","array":"a","action":"create""#),
        ("array", r#""a""#, r#""time":"2026-11-23T02:45:14Z","namespace":"n","action":"create""#),
        ("action", r#""authorize""#, LEAST),
        ("outcome", r#""success""#, LEAST),
        ("reason", r#""r""#, &format!(r#"{LEAST},"outcome":"failure""#)),
        ("code", "18", &format!(r#"{LEAST},"outcome":"failure""#)),
        ("user", r#""u""#, LEAST),
        ("database", r#""d""#, &format!(r#"{LEAST},"user":"u""#)),
        ("mechanism", r#""m""#, LEAST),
        ("address", r#""10.0.0.7""#, LEAST),
        ("port", "7", &format!(r#"{LEAST},"address":"10.0.0.7""#)),
        ("unix_socket", "true", LEAST),
        ("address_joined", "true", LEAST),
        ("connection", "7", LEAST),
        ("process_start", r#""2026-11-01T00:00:00Z""#, LEAST),
        ("application", r#""a""#, LEAST),
        ("driver", r#""d""#, LEAST),
        ("driver_version", r#""1""#, LEAST),
        ("os", r#""o""#, LEAST),
        ("platform", r#""p""#, LEAST),
        ("via", r#""v""#, LEAST),
        ("origin", r#""unix""#, LEAST),
        ("speculative", "false", LEAST),
        ("classes", r#"["retry"]"#, LEAST),
        ("task_id", r#""t""#, LEAST),
        ("written_time", r#""w""#, LEAST),
        ("attributes", r#"{"a":"b"}"#, LEAST),
        ("raw", r#""r""#, LEAST),
        ("raw_base64", r#""cg==""#, LEAST),
        ("amends", r#""i""#, r#""user":"u""#),
    ];
    for (name, value, others) in members {
        let mut reader = Reader::default();
        let mut line = |members: &str| reader.line(format!("{{{members}}}").as_bytes());
        let without = line(others);
        let with = line(&format!(r#""{name}":{value},{others}"#));
        assert!(with.is_ok() && with != without, "{name}: {with:?}");
        assert_eq!(line(&format!(r#""{name}":{value},{others}"#)), with, "{name} the same again");
        if let Ok(Line::Event(access)) = &with {
            assert!(access.attributes.get(name).is_none(), "{name} has a place of its own");
        }
        let twice = line(&format!(r#""{name}":{value},{others},"{name}":{value}"#));
        assert_eq!(twice, Err(Unreadable(format!("{name} stands there twice").into())));
    }
    let mut read = members.map(|(name, _, _)| name);
    read.sort_unstable();
    documented.sort_unstable();
    documented.dedup();
    assert_eq!(documented, read);
}

/// Goal: what a line says of an event that was sent before is read, and what it cannot say is refused.
#[test]
fn a_line_about_an_event_tells_what_the_event_may_lack() {
    let line = |rest: &str| {
        let line = format!(r#"{{"amends":"an-id"{rest}}}"#);
        Reader::default().line(line.as_bytes()).map_err(|unreadable| unreadable.0.to_string())
    };
    let about = |rest: &str| match line(rest) {
        Ok(Line::About(about)) => *about,
        other => panic!("{rest}: {other:?}"),
    };
    let seen = about(r#","time":"2026-11-23T02:45:15Z","raw":"r","outcome":"unknown""#);
    assert_eq!((&*seen.id, seen.facts.is_empty(), &*seen.raw), ("an-id", true, &b"r"[..]));
    assert_eq!(seen.time.map(|time| time.to_string()).as_deref(), Some("2026-11-23T02:45:15Z"));
    let told = about(
        r#","user":"alice","address":"10.0.0.7","port":7,"mechanism":"M","os":"Linux","task_id":"t",
        "outcome":"failure","code":18,"bytes":7"#,
    );
    let user = Principal::User { name: "alice".into(), database: "".into() };
    let facts = Facts {
        principal: Some(user),
        peer: Some(Peer::ip([10, 0, 0, 7].into(), Some(7))),
        mechanism: Some("M".into()),
        client: Some(Client { os: Some("Linux".into()), ..Client::default() }),
        task_id: Some("t".into()),
        outcome: Some(Outcome::Failure { reason: None, code: Some(18) }),
        attributes: [("bytes".into(), "7".into())].into(),
    };
    assert_eq!((told.facts, told.time), (facts, None));
    for (rest, reason) in [
        ("", "neither time nor anything that amends"),
        (r#","raw":"r""#, "neither time nor anything that amends"),
        (r#","user":"a","cluster":"c""#, "cluster is the event's own"),
        (r#","user":"a","connection":1"#, "connection is the event's own"),
        (r#","user":"a","classes":["retry"]"#, "classes is the event's own"),
        (r#","user":"a","action":"authorize""#, "action is the event's own"),
        (r#","amends":"b""#, "amends stands there twice"),
        (r#","port":7"#, "port without address"),
        (r#","database":"admin""#, "database without user"),
    ] {
        let got = line(rest);
        assert!(got.as_ref().is_err_and(|got| got.contains(reason)), "{rest}: {got:?}");
    }
    let refused = read(r#"{"amends":"a","user":"b"}"#).expect_err("no event").0;
    assert_eq!(&*refused, "the line is about another event");
}

#[test]
fn what_is_wrong_is_named() {
    let long = "x".repeat(129);
    let many: String = (0..129).map(|n| format!(",\"a{n}\":1")).collect();
    for (rest, reason) in [
        (r#","user":1"#, "user is not a text"),
        (r#","user":"a","user":"a""#, "user stands there twice"),
        (r#","user":null,"us\u0065r":"a""#, "user stands there twice"),
        (r#","x":1,"x":2"#, "x stands there twice"),
        (r#","x":1,"attributes":{"x":2}"#, "x stands there twice"),
        (r#","attributes":{"x":2,"x":2}"#, "x stands there twice"),
        (r#","attributes":[]"#, "attributes is not an object"),
        (r#","user":"\ud800""#, "user is not a text"),
        (r#","user":"\q""#, "user is not a text"),
        (",\"user\":\"a\tb\"", "user is not a text"),
        (r#","database":"admin""#, "database without user"),
        (r#","port":1"#, "port without address"),
        (r#","address":"10.0.0.1","port":65536"#, "port is out of range"),
        (r#","address":"10.0.0.1","port":-1"#, "port is out of range"),
        (r#","address":"10.0.0.1","port":1.0"#, "port is not an integer"),
        (r#","address":"10.0.0.1","port":"1""#, "port is not an integer"),
        (r#","address":"10.0.0.1","port":01"#, "port is not an integer"),
        (r#","address":"10.0.0.1/8""#, "address is not an IP address"),
        (r#","address":"10.0.0.1","unix_socket":true"#, "both address and unix_socket"),
        (r#","connection":18446744073709551616"#, "connection is out of range"),
        (r#","code":1,"outcome":"success""#, "code without a failure"),
        (r#","reason":"r""#, "reason without a failure"),
        (r#","outcome":"ok""#, "outcome is none of success, failure, unknown"),
        (r#","action":"query""#, "action is neither authenticate nor authorize"),
        (r#","speculative":"true""#, "speculative is neither true nor false"),
        (r#","classes":["x"]"#, "classes is not a list of classes that there are"),
        (r#","classes":"retry""#, "classes is not a list of classes that there are"),
        (r#","origin":"x""#, "origin is not an address, with or without port, or unix"),
        (r#","process_start":17"#, "process_start is not a text"),
        (r#","process_start":"now""#, "process_start is not a time such as"),
        (r#","array":"a""#, "neither cluster and host nor namespace and array"),
        (r#","raw":"a","raw_base64":"YQ==""#, "both raw and raw_base64"),
        (r#","raw_base64":"a""#, "raw_base64 is not base64"),
        (r#","":1"#, " is not a name of 1 to 128 bytes"),
        (&format!(",\"{long}\":1"), "is not a name of 1 to 128 bytes"),
        (&many, "there are more than 128 attributes"),
        (r#","x":nul"#, "x is not JSON"),
        (r#","x":{"a"}"#, "x is not JSON"),
        (r#","x":[1}"#, "x is not JSON"),
        (r#","x":+1"#, "x is not JSON"),
        (",", "the line is not JSON"),
        (r#"} {"a":1"#, "something follows the JSON object"),
    ] {
        let line = format!("{{{LEAST}{rest}}}");
        let got = read(&line).map_err(|unreadable| unreadable.0.to_string());
        assert!(got.as_ref().is_err_and(|got| got.contains(reason)), "{rest}: {got:?}");
    }
    for (line, reason) in [
        ("", "the line is not a JSON object"),
        ("[]", "the line is not a JSON object"),
        ("{", "the line is not JSON"),
        ("{}", "neither cluster and host"),
        (r#"{"cluster":"c","host":"h"}"#, "time is missing"),
        (r#"{"time":"2026-11-23T02:45:14Z","cluster":"c"}"#, "host is missing"),
        (r#"{"time":"2026-11-23T02:45:14Z","host":"c"}"#, "cluster is missing"),
        (r#"{"namespace":"n","array":"a"}"#, "action is missing"),
        (r#"{"namespace":"n","array":"a","action":"authorize"}"#, "action is none of an array's"),
        (r#"{"cluster":"c","host":"h","action":"create"}"#, "action is neither authenticate"),
        (r#"{"time":"2026-11-23T02:45:14"}"#, "time is not a time such as"),
        (r#"{"time":"9999-12-31T23:59:59Z"}"#, "time is out of range"),
        (r#"{"time":"-000044-03-15T12:00:00Z"}"#, "time is out of range"),
        (r#"{"time":1766457914}"#, "time is not a text"),
    ] {
        let got = read(line).expect_err(line).0;
        assert!(got.contains(reason), "{line}: {got}");
    }
    let mut reader = Reader::default();
    let latin = [b"{\"user\":\"\xe9\"}".as_slice(), &[b'x'; LINE_BYTES_MAX + 1]];
    let reasons = latin.map(|line| reader.read(line).expect_err("unreadable").0.to_string());
    assert_eq!(reasons, ["the line is not UTF-8", "the line is longer than 65536 bytes"]);
}

#[test]
fn what_repeats_is_kept_once() {
    let mut reader = Reader::default();
    let line = format!("{{{LEAST},\"user\":\"a\",\"application\":\"api\"}}");
    let [one, two] = [0; 2].map(|_| reader.read(line.as_bytes()).expect("readable"));
    let name = |access: &Access| access.principal.name().expect("a name").as_ptr();
    assert_eq!(name(&one), name(&two));
    let client = |access: &Access| std::ptr::from_ref(&**access.client.as_ref().expect("one"));
    assert_eq!(client(&one), client(&two));
}

fn text() -> BoxedStrategy<Text> {
    prop_oneof!["[a-z]{0,4}", ".{0,8}", "\\PC{0,5}[\"\\\\\n\u{1}\u{7f}\u{2028}]{0,3}"]
        .prop_map(Text::from)
        .boxed()
}

fn time() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.micros()..=Timestamp::MAX.micros()).prop_map(Timestamp::from_micros)
}

fn peer() -> BoxedStrategy<Peer> {
    prop_oneof![
        Just(Peer::UnixSocket),
        (any::<IpAddr>(), any::<Option<u16>>()).prop_map(|(address, port)| Peer::ip(address, port)),
    ]
    .boxed()
}

fn maybe<T: std::fmt::Debug + 'static>(
    of: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<T>> {
    proptest::option::of(of).boxed()
}

prop_compose! {
    fn client()(
        application in maybe(text()), driver in maybe(text()), driver_version in maybe(text()),
        os in maybe(text()), platform in maybe(text()), via in maybe(text()), origin in maybe(peer()),
    ) -> Client {
        Client { application, driver, driver_version, os, platform, via, origin }
    }
}

fn outcome() -> BoxedStrategy<Outcome> {
    prop_oneof![
        Just(Outcome::Success),
        Just(Outcome::Unknown),
        (maybe(text()), any::<Option<i64>>())
            .prop_map(|(reason, code)| Outcome::Failure { reason, code }),
    ]
    .boxed()
}

prop_compose! {
    fn access()(
        names in (text(), text()), is_array in any::<bool>(), event_time in time(),
        written in maybe(text()), nth in any::<prop::sample::Index>(), outcome in outcome(),
        user in maybe((text(), text())),
    )(
        target in Just(match is_array {
            true => Target::Array { namespace: names.0, array: names.1 },
            false => Target::Host { cluster: names.0, host: names.1 },
        }),
        event_time in Just(event_time), outcome in Just(outcome),
        written_time in Just(written.map_or(WrittenTime::Complete, WrittenTime::Partial)),
        action in Just(match is_array {
            true => *nth.get(&Action::of_arrays().collect::<Vec<_>>()),
            false => *nth.get(&[Action::Authenticate, Action::Authorize]),
        }),
        principal in Just(user.map_or(Principal::Unauthenticated, |(name, database)| {
            Principal::User { name, database }
        })),
        mechanism in maybe(text()), peer in prop_oneof![Just(Peer::Unknown), peer()],
        others in (any::<bool>(), any::<Option<u64>>(), any::<Option<bool>>(), maybe(time())),
        client in client().boxed(), classes in 0_u16..128, task_id in maybe(text()),
        attributes in proptest::collection::vec(("[a-z\"]{1,4}".prop_map(Text::from), text()), 0..4),
        raw in proptest::collection::vec(any::<u8>(), 0..20),
    ) -> Access {
        let (peer_joined, connection, speculative, process_start) = others;
        Access {
            target, event_time, written_time, action, outcome, principal, mechanism, peer,
            peer_joined, connection, process_start, speculative, raw, task_id,
            attributes: attributes.into_iter().collect(),
            client: (client != Client::default()).then(|| client.into()),
            classes: Classes::from_bits(classes),
        }
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let names = prop::sample::select(vec![
            "time",
            "cluster",
            "host",
            "user",
            "port",
            "address",
            "classes",
            "attributes",
            "code",
            "x",
            "y",
        ]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(names.prop_map(str::to_owned), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_as_the_same(accesses in proptest::collection::vec(access(), 1..4)) {
        let mut reader = Reader::default();
        for access in accesses {
            let mut line = Vec::new();
            write(&access, &mut line);
            let shown = String::from_utf8_lossy(&line).into_owned();
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&line).is_ok(), "{}", shown);
            prop_assert!(!line.contains(&b'\n'));
            prop_assert_eq!(reader.read(&line), Ok(access), "{}", shown);
        }
    }

    /// Whatever is read is valid JSON to another reader, too, and says the same times and names.
    #[test]
    fn any_json_is_an_event_or_a_reason(value in json(), with_least in any::<bool>()) {
        let mut value = value;
        if let (true, Some(members)) = (with_least, value.as_object_mut()) {
            let least: serde_json::Value =
                serde_json::from_str(&format!("{{{LEAST}}}")).expect("JSON");
            members.extend(least.as_object().expect("an object").clone());
        }
        if let Ok(access) = read(&value.to_string()) {
            prop_assert_eq!(access.target.names().0.as_str(), value["cluster"].as_str().expect("one"));
            let user = value.get("user").and_then(|user| user.as_str());
            prop_assert_eq!(access.principal.name().map(Text::as_str), user);
        }
    }

    #[test]
    fn any_bytes_are_an_event_or_a_reason(
        access in access(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut line = Vec::new();
        write(&access, &mut line);
        for (at, byte) in changes {
            let at = at.index(line.len());
            line[at] = byte;
        }
        let is_json = serde_json::from_slice::<serde_json::Value>(&line).is_ok();
        let is_read = Reader::default().read(&line).is_ok();
        prop_assert!(is_json || !is_read, "{}", String::from_utf8_lossy(&line));
        line.truncate(cut.index(line.len()));
        prop_assert!(Reader::default().read(&line).is_err());
    }

    /// What a reader remembers of lines before is never taken for what a line says.
    #[test]
    fn a_line_reads_the_same_whatever_came_before(
        lines in proptest::collection::vec((access(), any::<bool>(), any::<bool>()), 1..4),
        order in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..60),
    ) {
        let lines: Vec<Vec<u8>> = lines.into_iter().map(|(access, is_spaced, is_broken)| {
            let mut line = Vec::new();
            write(&access, &mut line);
            if is_spaced {
                let value: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
                line = serde_json::to_vec_pretty(&value).expect("JSON");
            }
            if is_broken {
                line.truncate(line.len() * 2 / 3);
            }
            line
        }).collect();
        let mut reader = Reader::default();
        for (line, place, byte) in order {
            let mut line = line.get(&lines).clone();
            if byte < 128 {
                let place = place.index(line.len());
                line[place] = byte;
            }
            prop_assert_eq!(reader.read(&line), Reader::default().read(&line));
        }
    }
}

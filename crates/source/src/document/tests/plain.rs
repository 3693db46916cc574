//! Goal: what the reader remembers of the lines before never changes what a line says. Method: a
//! second reading that remembers nothing and is made of serde_json and the form's description, held
//! against one reader over sequences of lines that are nearly, but not quite, like one another.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use doorbook_event::record::Facts;
use doorbook_event::{
    Access, Action, Class, Classes, Client, Outcome, Peer, Principal, Target, Text, Timestamp,
    WrittenTime,
};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::document::{About, Line, Reader};

/// Every member as it may be written, right and wrong.
const VALUES: &[(&str, &[&str])] = &[
    (
        "time",
        &[
            r#""2026-11-23T02:45:14.292Z""#,
            r#""2026-11-23T02:45:15.100Z""#,
            r#""2026-11-23T03:45:14.1234567+01:00""#,
            r#""2026-11-23T02:45:14""#,
            "17",
        ],
    ),
    ("cluster", &[r#""orders""#, r#""orders2""#, r#""or\u0064ers""#]),
    ("host", &[r#""db-1:27017""#, r#""db-2:27017""#, r#""db-10:27017""#, r#""""#]),
    ("action", &[r#""authenticate""#, r#""authorize""#, r#""query_read""#, r#""query""#]),
    ("outcome", &[r#""success""#, r#""failure""#, r#""f\u0061ilure""#, r#""no""#]),
    ("reason", &[r#""no such user""#, r#""no \"such\" user""#]),
    ("code", &["18", "-18", "018", r#""18""#]),
    (
        "user",
        &[
            r#""alice""#,
            r#""alic\u0065""#,
            r#""alice\\""#,
            r#""al""#,
            r#""\ud83d\ude00""#,
            "\"é\"",
            r#""""#,
            r#""\ud800""#,
            "\"a\tb\"",
            r#""a\tb""#,
            "7",
        ],
    ),
    ("database", &[r#""admin""#, r#""admin2""#]),
    ("mechanism", &[r#""SCRAM-SHA-256""#, r#""PLAIN""#]),
    ("address", &[r#""10.0.0.7""#, r#""::ffff:10.0.0.7""#, r#""10.0.0""#]),
    ("port", &["27017", "0", "65536", "1.0"]),
    ("unix_socket", &["true", "false", "1"]),
    ("address_joined", &["true", "false"]),
    ("connection", &["1", "2", "18446744073709551615"]),
    ("process_start", &[r#""2026-11-01T00:00:00Z""#]),
    ("application", &[r#""api""#, r#""{\"api\"}""#]),
    ("driver", &[r#""go""#]),
    ("driver_version", &[r#""1""#, r#""2""#]),
    ("os", &[r#""Linux""#]),
    ("platform", &[r#""p""#]),
    ("via", &[r#""mongos:1""#]),
    ("origin", &[r#""unix""#, r#""10.0.0.8:5""#, r#""x""#]),
    ("speculative", &["true", "false"]),
    ("classes", &["[]", r#"["retry"]"#, r#"["clock" , "retry"]"#, r#"["x"]"#]),
    ("task_id", &[r#""t-1""#, r#""t-2""#]),
    ("written_time", &[r#""Mon Nov 23""#]),
    ("attributes", &["{}", r#"{"x":1}"#, r#"{ "a\u0062" : "c", "d":[1, {"e":null}] }"#, "[]"]),
    ("raw", &[r#""the line\n""#]),
    ("raw_base64", &[r#""/w==""#, r#""/w""#]),
    ("amends", &[r#""an-id""#, r#""another-id""#]),
    ("namespace", &[r#""n""#]),
    ("array", &[r#""a""#]),
    ("x", &["1", "3.0e2", r#""text""#, r#""t\u0065xt""#, r#"{"a":[1, null]}"#, "nul", "{1}"]),
    ("y", &["true", r#""text""#]),
];

/// How many of [`VALUES`] make a line of whole sense in this order.
const USUAL: &[&str] =
    &["time", "cluster", "host", "outcome", "user", "database", "address", "port", "connection"];

/// One member of a line: the name and the value as written, with blanks.
type Written = (String, String);

/// How a line differs from the one that all of its sequence are like.
#[derive(Clone, Debug)]
enum Change {
    Value(Index, Index),
    Null(Index),
    Blanks(Index),
    EscapedName(Index),
    Swapped(Index, Index),
    Dropped(Index),
    Twice(Index, Index),
    Another(Index, Index, Index),
    Byte(Index, u8),
    Cut(Index),
}

/// A text that was written with escapes is remembered by nothing: its bytes without them are no JSON.
#[test]
fn what_an_escape_stands_for_is_not_valid_because_it_was_read_before() {
    let line = |user: &str| {
        let others = r#""time":"2026-11-23T02:45:14Z","cluster":"c","host":"h""#;
        format!("{{\"user\":\"{user}\",{others}}}")
    };
    for (escaped, raw) in [("a\\tb", "a\tb"), ("a\\\"b", "a\"b"), ("a\\\\", "a\\")] {
        let mut reader = Reader::default();
        for _ in 0..20 {
            assert!(reader.line(line(escaped).as_bytes()).is_ok(), "{escaped}");
        }
        assert!(reader.line(line(raw).as_bytes()).is_err(), "{raw}");
    }
}

/// What is too long to be remembered is read however often it comes.
#[test]
fn long_texts_that_all_differ_are_read() {
    let mut reader = Reader::default();
    for n in 0..600 {
        let user = format!("{n}{}", "u".repeat(200));
        let line = format!(
            r#"{{"time":"2026-11-23T02:45:14Z","cluster":"c","host":"h","user":"{user}"}}"#
        );
        let Ok(Line::Event(access)) = reader.line(line.as_bytes()) else { panic!("{line}") };
        assert_eq!(access.principal.name().map(Text::as_str), Some(&*user));
    }
}

proptest! {
    #[test]
    fn lines_like_the_one_before_read_as_a_plain_reader_reads_them(
        usual in subsequence(USUAL, 6..=USUAL.len()),
        others in subsequence(VALUES, 0..6),
        changes in proptest::collection::vec(changes(), 1..40),
    ) {
        let base: Vec<Written> = usual.into_iter().chain(others.iter().map(|(name, _)| *name))
            .collect::<BTreeSet<_>>().into_iter()
            .map(|name| (format!("\"{name}\""), values(name)[0].to_owned()))
            .collect();
        let mut reader = Reader::default();
        for changes in changes {
            let line = changed(&base, &changes);
            let shown = String::from_utf8_lossy(&line).into_owned();
            let read = reader.line(&line);
            prop_assert_eq!(&read, &Reader::default().line(&line), "{}", shown);
            prop_assert_eq!(read.ok(), plain(&line), "{}", shown);
        }
    }
}

/// Most lines are like their neighbours, most others differ in a value.
fn changes() -> impl Strategy<Value = Vec<Change>> {
    let index = any::<Index>;
    let value = (index(), index()).prop_map(|(member, value)| Change::Value(member, value));
    let change = prop_oneof![
        12 => value,
        1 => index().prop_map(Change::Null),
        2 => index().prop_map(Change::Blanks),
        1 => index().prop_map(Change::EscapedName),
        2 => (index(), index()).prop_map(|(one, other)| Change::Swapped(one, other)),
        2 => index().prop_map(Change::Dropped),
        1 => (index(), index()).prop_map(|(member, place)| Change::Twice(member, place)),
        2 => (index(), index(), index())
            .prop_map(|(place, name, value)| Change::Another(place, name, value)),
        1 => (index(), select(b"\"\\,:{}x\x01\xff ".to_vec()))
            .prop_map(|(place, byte)| Change::Byte(place, byte)),
        1 => index().prop_map(Change::Cut),
    ];
    proptest::collection::vec(change, 0..4)
}

fn values(name: &str) -> &'static [&'static str] {
    let found = VALUES.iter().find(|(known, _)| *known == name);
    found.expect("every member has values").1
}

fn changed(base: &[Written], changes: &[Change]) -> Vec<u8> {
    let mut members = base.to_vec();
    for change in changes.iter().filter(|_| !base.is_empty()) {
        let count = members.len();
        if count == 0 {
            break;
        }
        match change {
            Change::Value(member, value) => {
                let (name, written) = &mut members[member.index(count)];
                if let Some((_, values)) = VALUES.iter().find(|(known, _)| name.contains(known)) {
                    *written = (*value.get(values)).to_owned();
                }
            }
            Change::Null(member) => members[member.index(count)].1 = "null".to_owned(),
            Change::Blanks(member) => {
                let (name, value) = &mut members[member.index(count)];
                (*name, *value) = (format!(" {name} "), format!(" {value}\t"));
            }
            Change::EscapedName(member) => {
                let name = &mut members[member.index(count)].0;
                *name = name.replacen('e', "\\u0065", 1);
            }
            Change::Swapped(one, other) => members.swap(one.index(count), other.index(count)),
            Change::Dropped(member) => drop(members.remove(member.index(count))),
            Change::Twice(member, place) => {
                members.insert(place.index(count), members[member.index(count)].clone());
            }
            Change::Another(place, name, value) => {
                let (name, values) = *name.get(VALUES);
                let member = (format!("\"{name}\""), (*value.get(values)).to_owned());
                members.insert(place.index(count), member);
            }
            Change::Byte(..) | Change::Cut(_) => {}
        }
    }
    let members: Vec<String> =
        members.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    let mut line = format!("{{{}}}", members.join(",")).into_bytes();
    for change in changes {
        match change {
            Change::Byte(place, byte) if !line.is_empty() => {
                let place = place.index(line.len());
                line[place] = *byte;
            }
            Change::Cut(place) => line.truncate(place.index(line.len() + 1)),
            _ => {}
        }
    }
    line
}

/// What a line says, read member by member from all of them.
fn plain(line: &[u8]) -> Option<Line> {
    let Members(written) = serde_json::from_slice(line).ok()?;
    let mut members = BTreeMap::new();
    let mut attributes = BTreeMap::new();
    for (name, value) in written {
        if VALUES.iter().any(|(known, _)| *known == name && !matches!(name.as_str(), "x" | "y")) {
            if members.insert(name, value).is_some() {
                return None;
            }
        } else {
            attribute(&mut attributes, name, &value)?;
        }
    }
    members.retain(|_, value| value.get() != "null");
    if let Some(value) = members.get("attributes") {
        let Members(inner) = serde_json::from_str(value.get()).ok()?;
        for (name, value) in inner {
            attribute(&mut attributes, name, &value)?;
        }
    }
    let said = Said(members);
    let peer = match (said.parsed("address")?, said.get::<u16>("port")?, said.truth("unix_socket")?)
    {
        (Some(address), port, false) => Peer::ip(address, port),
        (None, None, true) => Peer::UnixSocket,
        (None, None, false) => Peer::Unknown,
        _ => return None,
    };
    let outcome = match (
        &*said.text("outcome")?.unwrap_or("unknown".into()),
        said.text("reason")?,
        said.get("code")?,
    ) {
        ("failure", reason, code) => Outcome::Failure { reason, code },
        ("success", None, None) => Outcome::Success,
        ("unknown", None, None) => Outcome::Unknown,
        _ => return None,
    };
    let principal = match (said.text("user")?, said.text("database")?) {
        (Some(name), database) => {
            Some(Principal::User { name, database: database.unwrap_or("".into()) })
        }
        (None, None) => None,
        (None, Some(_)) => return None,
    };
    let client = Client {
        application: said.text("application")?,
        driver: said.text("driver")?,
        driver_version: said.text("driver_version")?,
        os: said.text("os")?,
        platform: said.text("platform")?,
        via: said.text("via")?,
        origin: said.text("origin")?.map_or(Some(None), |text| origin(&text).map(Some))?,
    };
    let client = Some(client).filter(|client| *client != Client::default());
    let raw = match (said.get::<String>("raw")?, said.get::<String>("raw_base64")?) {
        (Some(_), Some(_)) => return None,
        (Some(raw), None) => raw.into_bytes(),
        (None, Some(base64)) => STANDARD.decode(base64).ok()?,
        (None, None) => Vec::new(),
    };
    let action = match said.text("action")?.as_deref() {
        None => None,
        Some("authenticate") => Some(Action::Authenticate),
        Some("authorize") => Some(Action::Authorize),
        Some("query_read") => Some(Action::QueryRead),
        _ => return None,
    };
    let words = said.get::<Vec<String>>("classes")?.unwrap_or_default();
    let classes = words
        .iter()
        .try_fold(Classes::NONE, |classes, word| Some(classes.with(Class::from_word(word)?)))?;
    let time = said.parsed::<Timestamp>("time")?;
    let (mechanism, task_id) = (said.text("mechanism")?, said.text("task_id")?);
    let (peer_joined, speculative) = (said.truth("address_joined")?, said.get("speculative")?);
    let (connection, process_start) = (said.get("connection")?, said.parsed("process_start")?);
    let written_time = said.text("written_time")?;
    let names = ["cluster", "host", "namespace", "array"].map(|name| said.text(name));
    let [cluster, host, namespace, array] = names;
    let target = (cluster?, host?, namespace?, array?);

    if let Some(id) = said.text("amends")? {
        let is_own = target != (None, None, None, None)
            || said.0.contains_key("action")
            || (peer_joined, speculative, classes) != (false, None, Classes::NONE)
            || (connection, process_start, written_time) != (None::<u64>, None::<Timestamp>, None);
        let facts = Facts {
            principal,
            peer: Some(peer).filter(|peer| *peer != Peer::Unknown),
            mechanism,
            client,
            task_id,
            outcome: Some(outcome).filter(|outcome| *outcome != Outcome::Unknown),
            attributes: attributes.into_iter().collect(),
        };
        let says_nothing = facts.is_empty() && time.is_none();
        return (!is_own && !says_nothing)
            .then(|| Line::About(Box::new(About { id, time, facts, raw })));
    }
    let target = match target {
        (Some(cluster), Some(host), None, None) => Target::Host { cluster, host },
        (None, None, Some(namespace), Some(array)) => Target::Array { namespace, array },
        _ => return None,
    };
    let action = match (&target, action) {
        (Target::Host { .. }, None) => Action::Authenticate,
        (Target::Host { .. }, Some(action)) if action != Action::QueryRead => action,
        (Target::Array { .. }, Some(Action::QueryRead)) => Action::QueryRead,
        _ => return None,
    };
    Some(Line::Event(Box::new(Access {
        target,
        event_time: time?,
        written_time: written_time.map_or(WrittenTime::Complete, WrittenTime::Partial),
        action,
        outcome,
        principal: principal.unwrap_or(Principal::Unauthenticated),
        mechanism,
        peer,
        peer_joined,
        connection,
        process_start,
        client: client.map(Into::into),
        speculative,
        classes,
        attributes: attributes.into_iter().collect(),
        raw,
        task_id,
    })))
}

/// The members that are there. Each look-up is `None` where the member is not what it should be,
/// and has `None` in it where there is none.
struct Said(BTreeMap<String, Box<RawValue>>);

impl Said {
    fn get<T: DeserializeOwned>(&self, name: &str) -> Option<Option<T>> {
        let value = self.0.get(name).map(|value| serde_json::from_str(value.get()));
        value.transpose().ok()
    }

    fn text(&self, name: &str) -> Option<Option<Text>> {
        Some(self.get::<String>(name)?.map(Text::from))
    }

    fn truth(&self, name: &str) -> Option<bool> {
        Some(self.get(name)?.unwrap_or(false))
    }

    fn parsed<T: FromStr>(&self, name: &str) -> Option<Option<T>> {
        self.get::<String>(name)?.map(|text| text.parse()).transpose().ok()
    }
}

fn attribute(attributes: &mut BTreeMap<Text, Text>, name: String, value: &RawValue) -> Option<()> {
    let text = match value.get() {
        "null" => return (1..=128).contains(&name.len()).then_some(()),
        text if text.starts_with('"') => serde_json::from_str::<String>(text).ok()?,
        other => other.to_owned(),
    };
    let is_new = attributes.insert(Text::from(name.clone()), Text::from(text)).is_none();
    (is_new && (1..=128).contains(&name.len())).then_some(())
}

fn origin(text: &str) -> Option<Peer> {
    let with_port = |text: &str| {
        text.parse().ok().map(|peer: std::net::SocketAddr| (peer.ip(), Some(peer.port())))
    };
    match text {
        "unix" => Some(Peer::UnixSocket),
        text => with_port(text)
            .or_else(|| Some((text.parse().ok()?, None)))
            .map(|(address, port)| Peer::ip(address, port)),
    }
}

/// An object's members in their order, repeated ones, too.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

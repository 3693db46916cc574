//! Goal: no input makes the interpreter panic, lose count of lines, or keep more than it should, and
//! nothing that was an authentication disappears without an event or a place in the quarantine.
//! Method: real lines with bytes changed, cut, repeated and shuffled.

use proptest::prelude::*;

use super::*;

/// One of each kind of line.
fn corpus() -> Vec<String> {
    let mut lines: Vec<String> = [
        "2026-11-23T02:45:12.987+0000 I  NETWORK  [listener] connection accepted from 127.0.0.1:58800 #2 (1 connection now open)",
        "2026-11-23T02:45:14.059+0000 I  NETWORK  [conn2] received client metadata from 127.0.0.1:58800 conn2: { driver: { name: \"rawlab\", version: \"1\" }, application: { name: \"billing \"svc\"\" } }",
        "2026-11-23T02:45:13.160+0000 I  ACCESS   [conn2] Successfully authenticated as principal root on admin from client 127.0.0.1:58800",
        "2026-11-23T02:45:14.464+0000 I  ACCESS   [conn2] Successfully authenticated as principal line",
        "break on admin from client 127.0.0.1:58800",
        "2026-11-23T02:45:14.119+0000 I  ACCESS   [conn9] SASL SCRAM-SHA-256 authentication failed for nobody on admin from client 127.0.0.1:58868 ; UserNotFound: Could not find user \"nobody\" for db \"admin\"",
        "2026-11-23T02:45:14.182+0000 I  ACCESS   [conn24]  authenticate db: $external { authenticate: 1, mechanism: \"MONGODB-X509\", user: \"CN=me\", $db: \"$external\" }",
        "2026-11-23T02:45:14.182+0000 I  ACCESS   [conn24] Failed to authenticate CN=me@$external from client 127.0.0.1:59024 with mechanism MONGODB-X509: ProtocolError: SSL support is required",
        "2026-11-23T02:45:14.171+0000 I  ACCESS   [conn15] Failed to acquire user 'restricted@admin' because of unmet authentication restrictions: Restriction unmet",
        "2026-11-23T02:45:14.975+0000 I  ACCESS   [conn81] warning: log line attempted (17kB) over max size (10kB), printing beginning and end ... SASL SCRAM-SHA-256 authentication failed for BBB .......... BBB\" for db \"admin\"",
        "Mon Nov 23 02:47:25.918 [conn3]  authenticate db: local { authenticate: 1, nonce: \"xxx\", user: \"__system\", key: \"xxx\" }",
        "Thu Oct  9 15:20:19.328 [initandlisten] MongoDB starting : pid=10314 port=37018 dbpath=/data 64-bit host=hostname.local",
        "2026-11-23T02:45:11.845+0000 I  CONTROL  [initandlisten] options: { systemLog: { quiet: true } }",
        "2026-11-23T02:45:14.093+0000 I  NETWORK  [conn2] end connection 127.0.0.1:58800 (1 connection now open)",
        "2026-11-23T02:45:14.054+0000 I  ACCESS   [conn4] Unauthorized: not authorized on otherdb to execute command { find: \"secrets\" }",
    ]
    .map(str::to_owned)
    .into();
    lines.extend([
        super::accepted(7, "10.0.0.1:5"),
        success("conn7", "o\\\"brien\\u00e9"),
        failure(1.0, "conn7", "ghost", true),
        failure(1.1, "conn7", "ghost", false),
        json(1.0, "NETWORK", 51800, "conn7", r#"{"remote":"10.0.0.1:5","client":"conn7","doc":{"application":{"name":"x"},"os":{"type":"Linux"}}}"#),
        json(1.0, "ACCESS", 5_286_307, "conn7", r#"{"client":"[::1]:5","isSpeculative":true,"user":"u","db":"d","error":"X: y","result":18,"metrics":{"a":[{"b":1}]},"extraInfo":{}}"#),
        json(1.0, "ACCESS", 20428, "conn7", r#"{"user":"u@d","client":"x","error":{"code":18,"codeName":"A","errmsg":"b"}}"#),
        json(1.0, "COMMAND", 23435, "conn7", r#"{"parameterName":"quiet","newValue":"true","oldValue":"false"}"#),
        json(1.0, "CONTROL", 4_615_611, "initandlisten", r#"{"pid":1,"port":27017,"host":"vm"}"#),
        json(1.0, "CONTROL", 21951, "initandlisten", r#"{"options":{"systemLog":{"quiet":true}}}"#),
        json(1.0, "ACCESS", 777, "conn7", "{}"),
        json(1.0, "ACCESS", 20436, "conn7", r#"{"error":{"code":13,"codeName":"U","errmsg":"no"}}"#),
    ]);
    lines
}

/// What is done to a line.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Cut(usize),
    Behead(usize),
    Splice(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let snippet = prop::sample::select(vec![
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        " ; ",
        " from client ",
        " on ",
        " with mechanism ",
        "\\u",
        "\\ud83d",
        "\r",
        "\0",
        "\u{1f600}",
        "..........",
        "UserNotFound: Could not find user ",
        "99999999999999999999",
        "conn",
        "'",
    ]);
    prop_oneof![
        2 => Just(Change::Nothing),
        3 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        3 => (any::<usize>(), snippet).prop_map(|(at, text)| Change::Insert(at, text.into())),
        1 => any::<usize>().prop_map(Change::Cut),
        1 => any::<usize>().prop_map(Change::Behead),
        1 => any::<(usize, usize)>().prop_map(|(at, line)| Change::Splice(at, line)),
    ]
}

fn changed(line: &str, change: &Change, corpus: &[String]) -> Vec<u8> {
    let mut bytes = line.as_bytes().to_vec();
    let within = |at: &usize| at % bytes.len().max(1);
    match change {
        Change::Nothing => {}
        Change::Set(at, byte) => {
            let at = within(at);
            bytes[at] = if *byte == b'\n' { b' ' } else { *byte };
        }
        Change::Insert(at, text) => {
            let at = within(at);
            bytes.splice(at..at, text.iter().copied());
        }
        Change::Cut(at) => bytes.truncate(within(at)),
        Change::Behead(at) => {
            let at = within(at);
            bytes.drain(..at);
        }
        Change::Splice(at, other) => {
            let other = &corpus[other % corpus.len()];
            let at = within(at);
            bytes.truncate(at);
            bytes.extend_from_slice(&other.as_bytes()[at.min(other.len())..]);
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_input_breaks_it(changes in prop::collection::vec((any::<usize>(), change()), 1..120)) {
        let corpus = corpus();
        let mut out = Batch::default();
        let mut interpreter = reader(&mut out);
        let mut read_bytes = 0;
        for (index, (line, change)) in changes.iter().enumerate() {
            let line = changed(&corpus[line % corpus.len()], change, &corpus);
            read_bytes += line.len() + 1;
            interpreter.line(&line, LinePlace { line: index as u64 + 1, offset_bytes: 0 }, &mut out);
        }
        interpreter.finish(&mut out);
        prop_assert_eq!(out.lines, changes.len() as u64);
        // Every event and quarantined line is backed by bytes that were read; a forged success is
        // told twice, within its record and by itself.
        prop_assert!(out.size_bytes <= 2 * read_bytes);
        prop_assert!(out.accesses.iter().all(|access| !access.raw.is_empty()));
        prop_assert!(interpreter.announced.is_empty() && interpreter.continued.is_none());
    }

    #[test]
    fn a_cut_login_is_never_lost(line in any::<prop::sample::Index>(), length in any::<prop::sample::Index>()) {
        // A JSON login of which less than its head is left cannot be told from any other line.
        let logins = [success("conn7", "o\\\"brien"), failure(1.0, "conn7", "ghost", true)];
        let login = line.get(&logins);
        let head = login.find("ACCESS").expect("a component") + 8;
        let length = head + length.index(login.len() - head);
        let mut out = Batch::default();
        let mut interpreter = reader(&mut out);
        interpreter.line(&login.as_bytes()[..length], LinePlace::default(), &mut out);
        interpreter.finish(&mut out);
        prop_assert_eq!((out.accesses.len(), out.quarantine.len()), (0, 1), "{}", &login[..length]);
    }

    #[test]
    fn whole_lines_are_read_whatever_stands_between(noise in prop::collection::vec(change(), 0..20)) {
        let corpus = corpus();
        let mut out = Batch::default();
        let mut interpreter = reader(&mut out);
        for (index, change) in noise.iter().enumerate() {
            // JSON neighbours only: a broken text line may be the beginning of a record.
            let json: Vec<String> = corpus.iter().filter(|line| line.starts_with('{')).cloned().collect();
            let line = changed(&json[index % json.len()], change, &json);
            let before = out.accesses.len();
            if line.first() == Some(&b'{') {
                interpreter.line(&line, LinePlace::default(), &mut out);
            }
            prop_assert!(out.accesses.len() <= before + 1);
            let before = out.accesses.len();
            interpreter.line(success("conn7", "real").as_bytes(), LinePlace::default(), &mut out);
            prop_assert_eq!(out.accesses.len(), before + 1);
        }
    }
}

#[test]
fn a_long_input_leaves_little_behind() {
    let mut out = Batch::default();
    let mut interpreter = reader(&mut out);
    for number in 1..20_000u64 {
        let place = LinePlace { line: number, offset_bytes: 0 };
        let address = format!("10.0.0.1:{}", number % 60_000);
        let attributes = format!(r#"{{"remote":"{address}","connectionId":{number}}}"#);
        interpreter.line(super::accepted(number, &address).as_bytes(), place, &mut out);
        let unknown = json(1.0, "ACCESS", 30_000_000 + number, "conn1", "{}");
        interpreter.line(unknown.as_bytes(), place, &mut out);
        let ended = json(1.0, "NETWORK", 22944, &format!("conn{number}"), &attributes);
        interpreter.line(ended.as_bytes(), place, &mut out);
        assert!(interpreter.unknown_ids.len() < UNKNOWN_IDS_MAX);
    }
    assert!(interpreter.life.connections.get(19_999).is_none());
    interpreter.finish(&mut out);
    assert_eq!(out.unknown_ids.len(), 19_999);
}

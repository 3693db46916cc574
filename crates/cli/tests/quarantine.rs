//! `doorbook quarantine`: what could not be read, found again and shown as it was.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{Home, line, log, start};
use serde_json::Value;

/// Goal: each line that could not be read is found by where it came from and why, and shown whole,
/// alone and beside a server. Method: two hosts, three reasons, one of them with bytes that are no
/// text.
#[test]
fn what_could_not_be_read_is_found_and_shown() {
    let home = Home::with_shop();
    let bad = |rest: &str| line("04:00:00.000", "ACCESS", 20_250, "conn1", rest);
    let cut_off = "{\"t\":{\"$date\":\"2026-11-20T04:00:00.000+00:00\"},\"id\":20250,\n";
    let one = log(1..3) + cut_off;
    let one = home.file("one.log", one.as_bytes());
    let mut two = start("db-2").into_bytes();
    two.extend(bad("\"msg\":\"Authentication succeeded\",\"attr\":{}").bytes());
    two.extend(cut_off.trim_end().bytes().chain(*b"\xff\x1b\n"));
    let two = home.file("two.log", &two);
    assert_eq!(home.import("db-1", &[&one]).json()["quarantined"], 1);
    let n_two = home.import("db-2", &[&two]).json()["quarantined"].as_u64().expect("a number");
    assert_eq!(n_two, 2);

    for is_served in [false, true] {
        let server = is_served.then(|| home.serve());
        let list = |words: &[&str]| {
            let words = [&["quarantine", "list", "--json"], words].concat();
            home.run(&words).json_lines()
        };
        let all = list(&[]);
        assert_eq!(all.len(), 3);
        assert_eq!(list(&["--host", "db-1"]).len(), 1);
        assert_eq!(list(&["--host", "db-2"]).len(), 2);
        assert_eq!(list(&["--limit", "2"]).len(), 2);
        assert_eq!(list(&["--source", "nothing"]).len(), 0);
        let source = all[0]["source"].as_str().expect("a source");
        assert_eq!(list(&["--source", source]).len(), 3);
        for row in &all {
            let reason = row["reason"].as_str().expect("a reason");
            let same = all.iter().filter(|of| of["reason"] == reason).count();
            assert_eq!(list(&["--reason", reason]).len(), same);
            let id = format!("{}-{}", row["log"], row["seq"]);
            assert_eq!(home.run(&["quarantine", "show", &id, "--json"]).json(), *row);
            let shown = home.run(&["quarantine", "show", &id]).ok().stdout;
            for part in [&id, reason, row["sha256"].as_str().expect("a hash")] {
                assert!(shown.contains(part), "{part} in {shown}");
            }
            // Nothing that a terminal would act on.
            assert!(!shown.contains(['\u{1b}', '\u{fffd}']), "{shown}");
            assert_eq!(shown.contains("\\xff\\x1b"), row["rawHex"].is_string(), "{shown}");
            assert!(home.run(&["quarantine", "list"]).ok().stdout.contains(&id));
        }
        assert_eq!(all.iter().filter(|row| row["rawHex"].is_string()).count(), 1);
        assert_eq!(list(&["--reason", "no reason has this"]).len(), 0);
        home.run(&["quarantine", "show", "1-x"]).fails(2, "an id is LOG-SEQ");
        home.run(&["quarantine", "show", "99-1"]).fails(3, "no quarantined line 99-1");
        // An event is no quarantined line.
        let event = &home.run(&["events", "--json", "--limit", "1"]).json_lines()[0];
        let event = format!("{}-{}", event["log"], event["seq"]);
        home.run(&["quarantine", "show", &event]).fails(3, "no quarantined line");
        drop(server);
    }
    let looks = home.run(&["events", "--system", "--json", "--limit", "0"]).ok().stdout;
    assert!(looks.contains("quarantine 99-1"), "a look is recorded");
}

/// Goal: what could not be read because its host was unknown is an event once the host is added,
/// without anybody sending it again; what cannot be read stays, with its reason. Method: a request with a
/// good line, one of an unknown host and a bad one, and a log with a cut line; replayed beside the
/// server and alone.
#[test]
fn what_can_be_read_later_is_replayed_once() {
    let home = Home::with_shop();
    let cut_off =
        log(1..3) + "{\"t\":{\"$date\":\"2026-11-20T04:00:00.000+00:00\"},\"id\":20250,\n";
    home.import("db-1", &[&home.file("one.log", cut_off.as_bytes())]).ok();
    let key =
        home.run(&["key", "create", "--project", "shop", "--role", "GROUP_SHIPPER", "--json"]);
    let key = key.json();
    let half = |name: &str| key[name].as_str().expect("a text").to_owned();
    let basic = STANDARD.encode(format!("{}:{}", half("publicKey"), half("privateKey")));
    let sent = |host: &str, connection: &str| {
        format!(
            "{{\"time\":\"2026-11-20T04:00:00Z\",\"cluster\":\"orders\",\"host\":\"{host}\",\
             \"action\":\"authenticate\",\"outcome\":\"success\",\"user\":\"alice\"{connection}}}\n"
        )
    };
    let unknown = sent("db-9", ",\"connection\":7") + &sent("db-9", "");
    let body = sent("db-1", "") + &unknown + "{\"what\":1}\n";
    let server = home.serve();
    let address = server.ready.trim().strip_prefix("doorbook listening on http://").expect("one");
    let answer = post(address, &basic, &body);
    assert!(answer.contains("\"stored\":1,\"duplicates\":0,\"quarantined\":3"), "{answer}");

    let replay = |words: &[&str]| {
        let words = [&["quarantine", "replay", "--json"], words].concat();
        home.run(&words).json_lines()
    };
    let result = |row: &Value| row["became"]["result"].as_str().expect("a word").to_owned();
    let results = |rows: &[Value]| {
        let mut results: Vec<String> = rows.iter().map(result).collect();
        results.sort_unstable();
        results
    };
    let put_aside = || home.run(&["quarantine", "list", "--json"]).json_lines().len();
    let events = || home.run(&["events", "--json", "--host", "db-9"]).json_lines();
    assert_eq!((put_aside(), replay(&["--source", "app"]).len()), (4, 3));
    assert_eq!(put_aside(), 4, "nothing could be read yet");

    home.run(&["host", "add", "db-9", "--project", "shop", "--cluster", "orders"]).ok();
    let trial = replay(&["--dry-run"]);
    assert_eq!(results(&trial), ["readable", "readable", "unreadable", "unreadable"]);
    assert_eq!((put_aside(), events().len()), (4, 0));
    assert_eq!(results(&replay(&["--reason", "no text like this"])), [""; 0]);
    let replayed = replay(&["--source", "app"]);
    assert_eq!(results(&replayed), ["stored", "stored", "unreadable"]);
    let stored = replayed.iter().find(|row| result(row) == "stored").expect("one");
    assert!(stored["was"].as_str().expect("a reason").contains("db-9"), "{stored}");
    let found = events();
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|event| event["source"] == "app" && event["user"] == "alice"));
    assert_eq!(put_aside(), 2);
    // The shipper sends it again all the same: the one that can be recognised is.
    let answer = post(address, &basic, &sent("db-9", ",\"connection\":7"));
    assert!(answer.contains("\"stored\":0,\"duplicates\":1"), "{answer}");
    server.stop(rustix::process::Signal::TERM);

    assert_eq!(results(&replay(&[])), ["unreadable", "unreadable"]);
    let done = home.run(&["quarantine", "replay", "--host", "db-1"]).ok();
    assert!(done.stderr.contains("1 line read again: 1 still cannot be read."), "{}", done.stderr);
    assert!(done.stdout.contains("the line is not whole"), "{}", done.stdout);
    assert_eq!((put_aside(), events().len()), (2, 2));
    let doctor = home.run(&["doctor"]);
    assert!(doctor.stdout.contains("2 lines of shop"), "{}", doctor.stdout);
    let own = home.run(&["events", "--system", "--json", "--limit", "0"]).ok().stdout;
    assert!(own.contains("\"verb\":\"replay\""), "that lines were replayed is recorded");
}

/// Sends lines as the source `app`; the answer.
fn post(address: &str, basic: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let head = format!(
        "POST /api/v1/ingest/app HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic \
         {basic}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).expect("is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    answer
}

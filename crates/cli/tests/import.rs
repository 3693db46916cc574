//! Import: what goes in comes out, once, whatever the order and the packing.

mod common;

use std::io::Write;

use common::{Home, log, login, start};
use serde_json::{Value, json};

fn gz(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

#[track_caller]
fn counts(import: &Value, lines: u64, events: u64, duplicates: u64) {
    let got = ["lines", "events", "duplicates"].map(|key| import[key].as_u64());
    assert_eq!(got, [lines, events, duplicates].map(Some), "{import}");
}

/// The object of `import --json`: every word, and what it counts.
#[test]
fn the_object_has_every_word() {
    let home = Home::with_shop();
    // Beside 20 logins: one line of an id that nobody knows, one that cannot be read, a gap of
    // 2 s, a denied action, and a login that leaves no line but the restriction's.
    let mut text = log(1..21);
    let at = "04:00:00.000";
    text += &common::line(at, "ACCESS", 99_999_999, "conn1", r#""msg":"New in 9.0","attr":{}"#);
    text += "{\"t\":{\"$date\":\"2026-11-20T04:00:01.000+00:00\"},\"s\":\"I\",  \"c\":\"ACCESS\",   \
             \"id\":20250,   \"ctx\":\"conn2\",\"msg\":\"Authentication succ\n";
    let set = |at: &str, new: bool| {
        let attr =
            format!(r#"{{"parameterName":"quiet","newValue":"{new}","oldValue":"{}"}}"#, !new);
        let rest = format!(r#""msg":"Successfully set parameter to new value","attr":{attr}"#);
        common::line(at, "COMMAND", 23_435, "conn1", &rest)
    };
    text += &(set("04:00:02.000", true) + &set("04:00:04.000", false));
    let error = r#"{"code":13,"codeName":"Unauthorized","errmsg":"not authorized on x"}"#;
    let denied = format!(r#""msg":"Checking authorization failed","attr":{{"error":{error}}}"#);
    text += &common::line("04:00:05.000", "ACCESS", 20_436, "conn3", &denied);
    let file = home.file("mongod.log", text.as_bytes());
    let import = home.import("", &[&file]).json();
    let expected = json!({
        "files": 1, "lines": 46, "events": 21, "successes": 18, "failures": 2, "suspect": 0,
        "unconfirmed": 0, "duplicates": 0, "quarantined": 1, "gaps": 1, "expired": 0,
        "unknownIds": [{"id": 99_999_999, "version": null, "count": 1, "message": "New in 9.0"}],
        "from": "2026-11-20T03:00:00.001Z", "to": "2026-11-20T04:00:05Z",
        "state": "complete", "project": "shop", "cluster": "orders", "host": null,
    });
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&import[key], value, "{key} of {import}");
    }
    assert!(import["id"].as_str().expect("text").starts_with("imp-"), "{import}");
    assert_eq!(import["coverage"][0]["hidden"], "successes", "{import}");
    assert_eq!(import["quarantine"][0]["line"], 43, "{import}");
    let input = &import["inputs"][0];
    assert_eq!(input["host"], "db-1:27017");
    assert_eq!(input["sizeBytes"], text.len());
    assert!(input["sha256"].as_str().is_some_and(|sha| sha.len() == 64), "{import}");

    let coverage = home.run(&["coverage", "--json"]).json();
    assert_eq!(coverage[0]["from"], "2026-11-20T04:00:02Z");
    assert_eq!(coverage[0]["to"], "2026-11-20T04:00:04Z");
    let quarantine = home.run(&["events", "--quarantine", "--json"]).json();
    assert_eq!((&quarantine["line"], &quarantine["host"]), (&json!(43), &json!("db-1:27017")));
    // The receipt says the same afterwards.
    let id = import["id"].as_str().expect("text");
    let mut receipt = home.run(&["import", "show", id, "--json"]).json();
    receipt["warnings"] = json!([]);
    assert_eq!(receipt, import);
    let shown = home.run(&["import", "show", id]).ok().stdout;
    for part in ["mongod.log", "quiet", "New in 9.0", "Authentication succ", "db-1:27017"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
}

/// A gap that begins after the last event is told of, each time it is found, and by no other import
/// of the host and the time.
#[test]
fn an_import_tells_of_the_gaps_it_found() {
    let home = Home::with_shop();
    let attr = r#"{"parameterName":"quiet","newValue":"true","oldValue":"false"}"#;
    let rest = format!(r#""msg":"Successfully set parameter to new value","attr":{attr}"#);
    let set = common::line("04:00:00.000", "COMMAND", 23_435, "conn1", &rest);
    let blind = home.file("blind.log", (log(1..3) + &set).as_bytes());
    let gap = |import: &Value, gaps: u64| {
        let got = (&import["gaps"], import["coverage"].as_array().expect("an array").len());
        assert_eq!(got, (&json!(gaps), 1), "{import}");
        assert_eq!(import["coverage"][0]["from"], "2026-11-20T04:00:00Z", "{import}");
    };
    let first = home.import("", &[&blind]).json();
    gap(&first, 1);
    let words = ["import", "--project", "shop", "--cluster", "orders", &blind];
    let summary = home.run(&words).ok().stdout;
    assert!(summary.contains("Blind: successes left no line on db-1:27017 from 2026"), "{summary}");
    gap(&home.import("", &[&blind]).json(), 0);
    let later = start("db-1") + &login(3).replace("T03:", "T05:");
    let other = home.import("", &[&home.file("other.log", later.as_bytes())]).json();
    assert_eq!(other["coverage"], json!([]), "{other}");
    // Who found it too keeps it.
    home.run(&["import", "retract", first["id"].as_str().expect("text")]).ok();
    assert_eq!(home.run(&["coverage", "--json"]).json()[0]["from"], "2026-11-20T04:00:00Z");
}

/// A user's first question must not answer `[]`: the summary has the request that shows the logs.
#[test]
fn the_summary_has_the_request_that_shows_it() {
    let home = Home::with_shop();
    let file = home.file("mongod.log", log(1..5).as_bytes());
    let words = ["import", "--project", "shop", "--cluster", "orders", &file];
    let summary = home.run(&words).ok().stdout;
    // 2026-11-20T03:00:00.001Z to .004Z
    assert!(summary.contains("clusters/orders?start=1795143600001&end=1795143600004"), "{summary}");
    assert!(summary.contains("2026-11-20T03:00:00.001Z to 2026-11-20T03:00:00.004Z"), "{summary}");
    assert!(summary.contains("curl --silent --digest"), "{summary}");
}

#[test]
fn a_second_time_adds_nothing() {
    let home = Home::with_shop();
    let file = home.file("mongod.log", log(1..101).as_bytes());
    counts(&home.import("", &[&file]).json(), 201, 100, 0);
    counts(&home.import("", &[&file]).json(), 201, 0, 100);
    counts(
        &home.import("", &[&home.file("copy.gz", &gz(log(1..101).as_bytes()))]).json(),
        201,
        0,
        100,
    );
    assert_eq!(home.raw().len(), 100);
}

/// Rotated copies that overlap, in each order of two imports and in one: the same history.
#[test]
fn overlapping_copies_in_any_order_are_one_history() {
    let early = log(1..61);
    let late = log(41..101);
    let in_order = |order: &[&str], at_once: bool| -> Vec<String> {
        let home = Home::with_shop();
        let early = home.file("early.log", early.as_bytes());
        let late = home.file("late.log", late.as_bytes());
        let files: Vec<&str> =
            order.iter().map(|name| if *name == "early" { &*early } else { &*late }).collect();
        match at_once {
            true => counts(&home.import("", &files).json(), 242, 100, 20),
            false => files.iter().for_each(|file| drop(home.import("", &[file]).json())),
        }
        home.raw()
    };
    let expected = in_order(&["early", "late"], false);
    assert_eq!(expected.len(), 100);
    assert_eq!(in_order(&["late", "early"], false), expected);
    assert_eq!(in_order(&["early", "late"], true), expected);
    assert_eq!(in_order(&["late", "early"], true), expected);
    assert_eq!(in_order(&["late", "early", "late"], false), expected);
}

/// Two equal lines of one file are two attempts, and stay two.
#[test]
fn equal_lines_of_one_file_are_as_many_events() {
    let home = Home::with_shop();
    let twice = log(1..2) + login(1).lines().nth(1).expect("two lines") + "\n";
    let file = home.file("mongod.log", twice.as_bytes());
    counts(&home.import("", &[&file]).json(), 4, 2, 0);
    counts(&home.import("", &[&file]).json(), 4, 0, 2);
}

#[test]
fn a_wrong_import_is_taken_back_and_made_again() {
    let home = Home::with_shop();
    let file = home.file("mongod.log", log(1..11).as_bytes());
    let wrong = home.import("db-2", &[&file]).json();
    let id = wrong["id"].as_str().expect("text");
    home.run(&["import", "retract", id]).ok();
    assert_eq!(home.raw().len(), 0);
    home.run(&["import", "retract", id]).fails(4, id);
    home.run(&["import", "retract", "imp-nothing"]).fails(3, "imp-nothing");
    home.run(&["import", "show", "imp-nothing"]).fails(3, "import list");
    counts(&home.import("db-1", &[&file]).json(), 21, 10, 0);
    let events = home.run(&["events", "--host", "db-1", "--json"]).json_lines();
    assert_eq!(events.len(), 10);
    // And under the same name again.
    counts(&home.import("db-2", &[&file]).json(), 21, 10, 0);
    let states: Vec<_> = home
        .run(&["import", "list", "--json"])
        .json()
        .as_array()
        .expect("a list")
        .iter()
        .map(|import| import["state"].as_str().expect("text").to_owned())
        .collect();
    assert_eq!(states, ["retracted", "complete", "complete"]);
}

#[test]
fn the_host_is_what_was_given_or_what_the_log_says() {
    let home = Home::with_shop();
    let file = home.file("mongod.log", log(1..3).as_bytes());
    let host = |import: &Value| import["inputs"][0]["host"].as_str().expect("text").to_owned();
    assert_eq!(host(&home.import("", &[&file]).json()), "db-1:27017");
    assert_eq!(host(&home.import("DB-2", &[&file]).json()), "db-2:27017");
    home.run(&["host", "alias", "db-2", "orders-01.example", "--project", "shop"]).ok();
    assert_eq!(host(&home.import("orders-01.example", &[&file]).json()), "db-2:27017");

    let elsewhere = home.file("elsewhere.log", (start("db-9") + &login(1)).as_bytes());
    home.import("", &[&elsewhere]).fails(3, "--add-host");
    home.import("db-8", &[&file]).fails(3, "--add-host");
    let nameless = home.file("nameless.log", login(1).as_bytes());
    home.import("", &[&nameless]).fails(2, "--host");
    home.import("", &[&file, &nameless]).fails(2, "nameless.log");
    let imports = home.run(&["import", "list", "--json"]).json();
    assert_eq!(imports.as_array().expect("a list").len(), 3, "what failed left nothing behind");

    let words = ["import", "--project", "shop", "--cluster", "orders", "--add-host", "--json"];
    let import = home.run(&[&words[..], &[&elsewhere]].concat()).json();
    assert_eq!(host(&import), "db-9:27017");
    let clusters = home.run(&["cluster", "list"]).ok().stdout;
    assert!(clusters.contains("db-9:27017") && !clusters.contains("db-8"), "{clusters}");
    // The log's own name for itself can be made an alias.
    let other = home.file("other.log", (start("internal-7") + &login(1)).as_bytes());
    home.run(&["host", "alias", "db-1", "internal-7", "--project", "shop"]).ok();
    assert_eq!(host(&home.import("", &[&other]).json()), "db-1:27017");
}

/// A host with several ports is named with its port.
#[test]
fn an_ambiguous_host_is_an_error_that_lists_them() {
    let home = Home::with_shop();
    home.run(&["host", "add", "db-1:27018", "--project", "shop", "--cluster", "orders"]).ok();
    let file = home.file("mongod.log", login(1).as_bytes());
    home.import("db-1", &[&file]).fails(2, "db-1:27017, db-1:27018");
    home.import("db-1:27018", &[&file]).json();
}

/// Rotated files of one log are one log: only the oldest names its host, and connections that
/// begin in one end in the next.
#[test]
fn a_directory_with_rotated_logs_is_one_log() {
    let home = Home::with_shop();
    let all = log(1..31);
    let lines: Vec<&str> = all.split_inclusive('\n').collect();
    std::fs::create_dir(home.path("logs")).expect("made");
    // Cut within a connection: its acceptance is in the first file, its login in the second.
    let oldest = lines[..20].concat();
    home.file("logs/mongod.log.2026-11-20T03-00-01.gz", &gz(oldest.as_bytes()));
    home.file("logs/mongod.log.2026-11-20T03-00-02", lines[20..40].concat().as_bytes());
    home.file("logs/mongod.log", lines[40..].concat().as_bytes());
    home.file("logs/notes.txt", b"not a log");
    let import = home.import("", &["logs"]);
    assert!(import.stderr.contains("notes.txt"), "{import:?}");
    let import = import.json();
    counts(&import, 61, 30, 0);
    assert_eq!((&import["files"], &import["unconfirmed"]), (&json!(3), &json!(0)), "{import}");
    let hosts: Vec<_> =
        import["inputs"].as_array().expect("a list").iter().map(|input| &input["host"]).collect();
    assert_eq!(hosts, [&json!("db-1:27017"); 3]);
    // What the first file says of the process holds in the last one.
    let events = home.run(&["events", "--json"]).json_lines();
    assert!(events.iter().all(|event| event["processStart"] == "2026-11-20T02:00:00Z"));
    let pattern = home.import("", &["logs/mongod.log*"]).json();
    counts(&pattern, 61, 0, 30);
}

#[test]
fn standard_input_is_a_file_like_others() {
    let home = Home::with_shop();
    let words = ["import", "--project", "shop", "--cluster", "orders", "--json", "-"];
    let text = log(1..11);
    counts(&home.run_with_stdin(&words, text.as_bytes()).json(), 21, 10, 0);
    counts(&home.run_with_stdin(&words, &gz(text.as_bytes())).json(), 21, 0, 10);
    home.run_with_stdin(&words, login(1).as_bytes()).fails(2, "--host");
    let file = home.file("mongod.log", text.as_bytes());
    counts(&home.import("", &[&file]).json(), 21, 0, 10);
}

#[test]
fn times_without_a_zone_take_the_one_that_is_given() {
    let home = Home::with_shop();
    let text = "Fri Nov 20 12:00:00.000 I  NETWORK  [listener] connection accepted from 10.0.0.1:5 \
                #1 (1 connection now open)\n\
                Fri Nov 20 12:00:00.001 I  ACCESS   [conn1] Successfully authenticated as principal \
                app on admin from client 10.0.0.1:5\n";
    let file = home.file("mongod.log", text.as_bytes());
    let import = |zone: &str| {
        let words = ["import", "--project", "shop", "--cluster", "orders", "--host", "db-1"];
        home.run(&[&words[..], &["--json", "--time-zone", zone, &file]].concat())
    };
    let hour = |import: &Value| import["from"].as_str().expect("a time")[11..].to_owned();
    assert_eq!(hour(&import("America/New_York").json()), "17:00:00.001Z");
    // The text is the identity, not the guess.
    let again = import("+02:00").json();
    counts(&again, 2, 0, 1);
    assert_eq!(hour(&again), "10:00:00.001Z");
    import("Mars/Olympus").fails(2, "Europe/Berlin");
}

/// A file that grows: each line is in the history within two seconds; Ctrl-C is its proper end.
#[test]
fn a_live_file_is_followed_until_ctrl_c() {
    let home = Home::with_shop();
    let server = home.serve();
    let file = home.file("mongod.log", log(1..4).as_bytes());
    let words = ["import", "--project", "shop", "--cluster", "orders", "--follow", "--json", &file];
    let child = home.command(&words).spawn().expect("starts");
    let wait_for = |n: usize| {
        common::eventually("the events are there", || home.raw().len() >= n);
    };
    wait_for(3);
    let mut open = std::fs::OpenOptions::new().append(true).open(&file).expect("it is there");
    open.write_all(login(4).as_bytes()).expect("written");
    wait_for(4);
    common::send(&child, rustix::process::Signal::INT);
    let import = common::finish(child).json();
    counts(&import, 9, 4, 0);
    assert_eq!(import["state"], "complete");
    drop(server);
    let words = ["import", "--project", "shop", "--cluster", "orders", "--follow"];
    home.run(&[&words[..], &["-"]].concat()).fails(2, "--follow takes one file");
    home.run(&[&words[..], &[&file, &home.file("b.log", b"")]].concat()).fails(2, "one file");
}

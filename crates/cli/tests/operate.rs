//! What an operator does: verify, status, backup, restore; with and without a server.

mod common;

use std::path::{Path, PathBuf};

use common::{Home, log, mode};
use rustix::process::Signal;
use serde_json::Value;

/// With 50 logins of db-1.
fn with_events() -> Home {
    let home = Home::with_shop();
    let file = home.file("mongod.log", log(1..51).as_bytes());
    home.import("", &[&file]).ok();
    home
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn only_file(dir: PathBuf) -> PathBuf {
    let mut files = std::fs::read_dir(dir).expect("is there");
    files.next().expect("one").expect("a file").path()
}

/// The same with and without a server: sound is 0, damage is 1 and named, also where nothing else
/// works any more.
#[test]
fn verify_names_damage_even_where_nothing_else_works() {
    let home = with_events();
    let alone = home.run(&["verify", "--json"]).json();
    let server = home.serve();
    let beside = home.run(&["verify", "--json"]).json();
    assert!(beside["rows"].as_u64() > alone["rows"].as_u64(), "the server has begun since");
    for report in [&alone, &beside] {
        assert_eq!(report["damages"], Value::Array(Vec::new()));
        assert!(report["frames"].as_u64() > Some(3), "{report}");
    }
    let table = home.run(&["verify"]).ok().stdout;
    assert!(table.starts_with("read ") && table.lines().count() == 1, "{table}");
    // Killed, so that the next start needs all of the WAL.
    server.kill();

    let wal = only_file(home.data_dir().join("wal"));
    let mut bytes = std::fs::read(&wal).expect("reads");
    bytes[100] ^= 1;
    std::fs::write(&wal, &bytes).expect("writes");
    home.run(&["project", "list"]).fails(1, "wal");
    let done = home.run(&["verify", "--json"]).fails(1, "damage");
    let report: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let damage = &report["damages"][0];
    let name = wal.file_name().and_then(|name| name.to_str()).expect("UTF-8");
    assert_eq!(damage["file"], format!("wal/{name}"));
    assert!(damage["bytes"]["start"].as_u64() < Some(100), "{report}");
    let done = home.run(&["verify", "--checksums"]).fails(1, "damage");
    assert!(done.stdout.contains(&format!("damaged: wal/{name}, bytes ")), "{done:?}");
    assert_eq!(std::fs::read(&wal).expect("reads"), bytes, "verify changes nothing");
    home.run(&["verify", "--data-dir", text(&home.path("nothing"))]).fails(3, "no data directory");
}

#[test]
fn status_counts_what_is_there() {
    let home = with_events();
    let server = home.serve();
    let status = home.run(&["status", "--json"]).json();
    let shop = &status["scopes"][1];
    assert_eq!(shop["events"], 50);
    assert_eq!(shop["oldest"], "2026-11-20T03:00:00.001Z");
    assert_eq!(shop["newest"], "2026-11-20T03:00:00.05Z");
    let scope = shop["scope"].as_str().expect("text");
    assert_eq!(status["projects"][scope], "shop");
    assert_eq!(status["scopes"][0]["scope"], "system");
    let table = home.run(&["status"]).ok().stdout;
    for part in ["days left       ", "free            ", "\nshop ", "\nsystem "] {
        assert!(table.contains(part), "{part:?} is not in {table}");
    }
    drop(server);
    let beside = status;
    let alone = home.run(&["status", "--json"]).json();
    assert_eq!(alone["scopes"][1], beside["scopes"][1]);
}

/// A backup of a running server and one of a closed directory come back with the same history, and
/// the copy goes its own way.
#[test]
fn a_backup_comes_back() {
    let home = with_events();
    let expected = home.raw();
    assert_eq!(expected.len(), 50);
    let server = home.serve();
    // As a path relative to where the command runs, which is not where the server runs.
    let copied = home.run(&["backup", "first", "--json"]).json();
    assert!(copied["rows"].as_u64() > Some(50), "{copied}");
    home.run(&["backup", "first"]).fails(4, "not empty");
    home.run(&["backup", "no/where"]).fails(3, "no such directory");
    assert_eq!(server.stop(Signal::TERM).0, 0);
    let table = home.run(&["backup", "second"]).ok().stdout;
    assert!(table.starts_with("backed up to /") && table.contains("rows"), "{table}");

    for backup in ["first", "second"] {
        assert_eq!(mode(&home.path(backup)), 0o700);
        let to = home.path(&format!("restored-{backup}"));
        let at = ["--data-dir", text(&to)];
        home.run(&[&["restore", backup][..], &at].concat()).ok();
        home.run(&[&["restore", backup][..], &at].concat()).fails(4, "not empty");
        assert_eq!((mode(&to), mode(&to.join("FORMAT"))), (0o700, 0o600));
        let events = [&["events", "--limit", "0", "--json"][..], &at].concat();
        let events = home.run(&events).json_lines();
        let raw: Vec<_> = events.iter().rev().filter_map(|event| event["raw"].as_str()).collect();
        assert_eq!(raw, expected);
        // The copy says who made it.
        let own = home.run(&[&["events", "--system", "--json"][..], &at].concat()).json_lines();
        assert!(own.iter().any(|event| event["action"] == "backup"), "{own:?}");
        home.run(&[&["project", "create", backup][..], &at].concat()).ok();
        home.run(&[&["verify"][..], &at].concat()).ok();
    }
    assert_eq!(home.run(&["project", "list", "--json"]).json().as_array().map(Vec::len), Some(1));
    home.run(&["restore", "nothing", "--data-dir", "x"]).fails(3, "no such directory");
    let server = home.serve();
    home.run(&["restore", "data", "--data-dir", "x"]).fails(1, "another process");
    drop(server);
}

/// Goal: the words of retention, the same with and without a server. Method: decisions, some of them
/// impossible; events of 2026-11-20 that any clock of later finds too old.
#[test]
fn retention_is_decided_listed_and_announced() {
    let home = Home::with_shop();
    let set = ["retention", "set", "--json", "--keep"];
    let of = |words: &[&str]| home.run(&[&set[..], words].concat());
    of(&["0", "--project", "shop"]).fails(2, "1 to 36500 days");
    of(&["soon", "--project", "shop"]).fails(2, "forever");
    of(&["5"]).fails(2, "--project");
    of(&["5", "--project", "shop", "--system"]).fails(2, "--system");
    of(&["5", "--project", "nope"]).fails(3, "nope");
    of(&["5", "--project", "shop", "--minimum", "6"]).fails(2, "below the minimum");
    let list = || home.run(&["retention", "list", "--json"]).json();
    assert_eq!(list()[1]["keepDays"], Value::Null);
    assert_eq!(list()[1]["project"], "shop");
    assert_eq!(list()[0]["scope"], "system");

    let server = home.serve();
    let longer = of(&["forever", "--project", "shop", "--minimum", "30"]).json();
    assert_eq!((&longer["minimumDays"], &longer["pending"]), (&Value::from(30), &Value::Null));
    let shorter = of(&["90", "--project", "shop"]).json();
    assert_eq!(shorter["keepDays"], Value::Null, "not yet");
    assert_eq!(shorter["pending"]["keepDays"], 90);
    assert_eq!(shorter["pending"]["minimumDays"], 30, "as before");
    of(&["29", "--project", "shop"]).fails(2, "below the minimum");
    of(&["365", "--system"]).json();
    drop(server);
    assert_eq!(list()[1], shorter);
    let table = home.run(&["retention", "list"]).ok().stdout;
    let from = shorter["pending"]["from"].as_str().expect("text");
    assert!(table.contains(&format!("90 days (minimum 30) from {from}")), "{table}");
    let status = home.run(&["status"]).ok().stdout;
    assert!(status.contains("forever; 365 days from "), "{status}");
    let words = ["retention", "set", "--project", "shop", "--keep", "90"];
    let said = home.run(&words).ok().stdout;
    assert!(said.starts_with(&format!("shop: forever (minimum 30) until {from}, then ")), "{said}");
    let own = home.run(&["events", "--system", "--json"]).json_lines();
    let is_announced = |event: &Value| event["attributes"]["takes_effect"] == from;
    assert!(own.iter().any(is_announced), "{own:?}");
}

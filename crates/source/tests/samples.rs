//! Goal: every sample log gives exactly the events that an independent count and the clients' own
//! records say it holds. Method: read each file of `index.json` and compare by kind; where a lab
//! run kept its list of attempts beside the log, find each attempt among the events.
//!
//! The samples are other projects' and servers' logs and are not part of this repository; without
//! them (`$DOORBOOK_SHARED/samples/mongod`, or `../shared` beside the workspace) the test says that it
//! skipped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use doorbook_event::{Access, Action, Class, Outcome, Peer, Principal, Target};
use doorbook_source::Batch;
use doorbook_source::mongod::{FileHints, Interpreter, LinePlace, Settings};
use serde_json::Value;

#[test]
fn every_sample_gives_the_counted_events() {
    let Some(folder) = samples() else {
        println!("skipped: no sample logs here");
        return;
    };
    let index = std::fs::read(folder.join("index.json")).expect("the index can be read");
    let index: Vec<Value> = serde_json::from_slice(&index).expect("the index is JSON");
    let mut wrong = Vec::new();
    for entry in &index {
        let file = entry["file"].as_str().expect("a name");
        let batch = read(&folder.join(file));
        let got = counts(&batch);
        let expected = expected_counts(file, &entry["counts"]);
        println!("{file}: {got:?}");
        if got != expected {
            wrong.push(format!("{file}:\n  got      {got:?}\n  expected {expected:?}"));
        }
        if !batch.quarantine.is_empty() || !batch.unknown_ids.is_empty() {
            wrong.push(format!("{file}: {:?} {:?}", batch.quarantine, batch.unknown_ids));
        }
        wrong.extend(truth_differences(&folder.join(file), &batch.accesses));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(index.len() >= 46, "samples are missing");
}

#[test]
fn connections_outlast_the_rotation_of_their_log() {
    let Some(folder) = samples() else { return };
    let rotated = folder.join("lab/6.0.27/replset-node0.log.2026-11-23T02-51-25");
    let current = folder.join("lab/6.0.27/replset-node0.log");
    let mut interpreter = interpreter();
    let mut batch = Batch::default();
    feed(&mut interpreter, &rotated, false, &mut batch);
    let before = batch.accesses.len();
    feed(&mut interpreter, &current, true, &mut batch);
    interpreter.finish(&mut batch);
    let start = batch.accesses[0].process_start;
    assert!(start.is_some());
    let started = batch.accesses.iter().filter(|access| access.process_start == start).count();
    assert_eq!(started, before + 5, "rotation is no restart");
}

fn samples() -> Option<PathBuf> {
    let shared = match std::env::var_os("DOORBOOK_SHARED") {
        Some(shared) => PathBuf::from(shared),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    let folder = shared.join("samples/mongod");
    folder.join("index.json").exists().then_some(folder)
}

fn interpreter() -> Interpreter {
    let target = Target::Host { cluster: "c".into(), host: "h:27017".into() };
    Interpreter::new(Settings { target, zone: jiff::tz::TimeZone::UTC })
}

fn read(path: &Path) -> Batch {
    let mut batch = Batch::default();
    let mut interpreter = interpreter();
    feed(&mut interpreter, path, false, &mut batch);
    interpreter.finish(&mut batch);
    batch
}

fn feed(interpreter: &mut Interpreter, path: &Path, continues: bool, batch: &mut Batch) {
    let bytes = std::fs::read(path).expect("a sample can be read");
    let bytes = if path.extension().is_some_and(|extension| extension == "gz") {
        let mut plain = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(bytes.as_slice());
        std::io::Read::read_to_end(&mut decoder, &mut plain).expect("gzip");
        plain
    } else {
        bytes
    };
    let modified = "2026-11-24T00:00:00Z".parse().ok();
    let hints = FileHints { name: "sample".into(), modified, ..FileHints::default() };
    interpreter.begin_file(hints, continues, batch);
    let mut partial = Vec::new();
    for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
        if index == 0 && line.is_empty() {
            continue;
        }
        let place = LinePlace { line: index as u64 + 1, offset_bytes: 0 };
        let Some(line) = unwrapped(line, &mut partial) else { continue };
        interpreter.line(&line, place, batch);
    }
}

/// The least that makes the wrapped samples readable.
fn unwrapped(line: &[u8], partial: &mut Vec<u8>) -> Option<Vec<u8>> {
    for (mark, is_whole) in [(&b" stdout P "[..], false), (b" stdout F ", true)] {
        if let Some(at) = memchr::memmem::find(&line[..line.len().min(60)], mark) {
            partial.extend_from_slice(&line[at + mark.len()..]);
            return is_whole.then(|| std::mem::take(partial));
        }
    }
    let head = &line[..line.len().min(80)];
    if let Some(at) = memchr::memmem::find(head, b"{\"t\":") {
        return Some(line[at..].to_vec());
    }
    if let Some(at) = memchr::memmem::find(head, b" | ") {
        return Some(line[at + 3..].to_vec());
    }
    Some(line.to_vec())
}

type Counts = BTreeMap<&'static str, u64>;

fn counts(batch: &Batch) -> Counts {
    let mut counts = Counts::new();
    for access in &batch.accesses {
        let has = |class| access.classes.contains(class);
        let is_failure = matches!(access.outcome, Outcome::Failure { .. });
        let kinds = [
            ("X", has(Class::Suspect)),
            ("Z", access.action == Action::Authorize),
            ("R", is_failure && has(Class::Inferred)),
            ("F", is_failure && !has(Class::Inferred)),
            ("Ai", !is_failure && has(Class::Inferred)),
            ("S", !is_failure),
        ];
        let kind = kinds.iter().find(|(_, holds)| *holds).expect("every event is of a kind").0;
        *counts.entry(kind).or_default() += 1;
        if matches!(kind, "S" | "F") && has(Class::System) {
            *counts.entry("I").or_default() += 1;
        }
        if kind == "F" && !has(Class::Retry) {
            *counts.entry("Fc").or_default() += 1;
        }
        if kind == "S" && has(Class::Unconfirmed) {
            *counts.entry("unconfirmed").or_default() += 1;
        }
    }
    counts
}

fn expected_counts(file: &str, counts: &Value) -> Counts {
    let mut expected = Counts::new();
    for kind in ["S", "F", "Fc", "R", "Z", "X", "I", "Ai"] {
        // From 3.0 on an announcement without an outcome is a login that failed before its end.
        let is_implied = kind != "Ai" || file == "mtools/mongod_26.partA.log";
        if let (Some(count), true) = (counts[kind].as_u64(), is_implied) {
            expected.insert(kind, count);
        }
    }
    // Text logins whose connection was accepted before the file begins, counted by hand.
    let unconfirmed = match file {
        "mtools/client/mongod_4.2.11.log" => 20,
        "excerpts/4.0-ecos.log" | "excerpts/4.2-x509-member-cert.log" => 1,
        _ => 0,
    };
    if unconfirmed > 0 {
        expected.insert("unconfirmed", unconfirmed);
    }
    if file == "derived/cri-from-lab-6.0.27.log" {
        // The count beside it was made line by line; its note has the joined numbers.
        expected.extend([("F", 53), ("Fc", 50)]);
    }
    expected
}

/// Attempts of the lab's own list that no event tells.
fn truth_differences(log: &Path, events: &[Access]) -> Vec<String> {
    let Ok(truth) = std::fs::read(log.with_extension("truth.json")) else { return Vec::new() };
    let truth: Value = serde_json::from_slice(&truth).expect("the truth is JSON");
    let mut left: Vec<&Access> = events
        .iter()
        .filter(|e| e.action == Action::Authenticate && !e.classes.contains(Class::Suspect))
        .collect();
    let mut wrong = Vec::new();
    let is_quiet = log.ends_with("quiet.log");
    for attempt in truth["attempts"].as_array().expect("attempts") {
        match left.iter().position(|event| is_event_of(event, attempt)) {
            Some(at) => {
                left.remove(at);
            }
            None if attempt["ok"] == true && !is_quiet => {
                wrong.push(format!("{}: no event for {attempt}", log.display()));
            }
            // Some failures have no line; the count says how many do.
            None => {}
        }
    }
    // What is left was not on the list: the replica set's own logins, and pymongo's.
    let invented = left.iter().filter(|event| event.client.is_none());
    for event in invented {
        wrong.push(format!("{}: nobody tried {event:?}", log.display()));
    }
    wrong
}

fn is_event_of(event: &Access, attempt: &Value) -> bool {
    let text = |key: &str| attempt[key].as_str().unwrap_or_default();
    let is_ok = event.outcome == Outcome::Success;
    if is_ok != (attempt["ok"] == true) {
        return false;
    }
    let peer = match event.peer {
        Peer::UnixSocket => "unix".to_owned(),
        // A quiet server does not write where connections come from.
        Peer::Unknown => text("client").to_owned(),
        peer => peer.to_string(),
    };
    let Principal::User { name, database } = &event.principal else { return false };
    let user = text("user");
    let is_user = match user.split_once("...(") {
        Some((start, _)) => name.starts_with(start),
        None => name.as_str() == user || user == "?" || user.starts_with("(from cert"),
    };
    let mechanism = event.mechanism.as_deref().unwrap_or(text("mech"));
    is_user
        && peer == text("client")
        && database.as_str() == text("db")
        && mechanism == text("mech")
}

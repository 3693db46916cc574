//! Goal: real and derived logs come out of their wrapping. Method: read every sample as an import
//! would; each line that speaks of access must begin as a record does, and parse if it is JSON.
//!
//! The samples are not part of the project: `DOORBOOK_SHARED` names the directory that holds
//! `samples/mongod`; without them the tests say so and pass.

use std::path::{Path, PathBuf};

use doorbook_source::input::{Content, LineReader};
use doorbook_source::wrapping::{Unwrapped, Unwrapper};

fn samples() -> Option<PathBuf> {
    let shared = std::env::var_os("DOORBOOK_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    let samples = shared.join("samples/mongod");
    if !samples.is_dir() {
        println!("skipped: no samples at {}", samples.display());
        return None;
    }
    Some(samples)
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            files(&path, found);
        } else if name.contains(".log") {
            found.push(path);
        }
    }
}

fn unwrapped(path: &Path) -> Vec<Vec<u8>> {
    let file = std::fs::File::open(path).expect("readable");
    let mut lines = LineReader::new(path.to_string_lossy().as_ref().into(), Box::new(file))
        .unwrap_or_else(|e| panic!("{e}"));
    let mut unwrapper = Unwrapper::new();
    let mut found = Vec::new();
    while let Some(line) = lines.next_line().unwrap_or_else(|e| panic!("{e}")) {
        let Content::Bytes(bytes) = line.content else { panic!("{}: too long", path.display()) };
        if let Unwrapped::Line(line) = unwrapper.unwrap(bytes) {
            found.push(line.to_vec());
        }
    }
    assert_eq!(unwrapper.finish(), None, "{}", path.display());
    found
}

/// What a record may begin with, told in another way than the unwrapper does.
fn begins_as_text(line: &str) -> bool {
    let time = line.get(..23).is_some_and(|time| time.parse::<jiff::civil::DateTime>().is_ok());
    let weekday = ["Mon ", "Tue ", "Wed ", "Thu ", "Fri ", "Sat ", "Sun "];
    time || weekday.iter().any(|weekday| line.starts_with(weekday))
}

#[test]
fn lines_about_access_come_out_as_records() {
    let Some(samples) = samples() else { return };
    let mut paths = Vec::new();
    files(&samples, &mut paths);
    let (mut json, mut text) = (0, 0);
    for path in &paths {
        for line in unwrapped(path) {
            let line = String::from_utf8_lossy(&line);
            if !line.contains("ACCESS") {
                continue;
            }
            if line.starts_with("{\"t\":") {
                let parsed = serde_json::from_str::<serde_json::Value>(&line);
                assert!(parsed.is_ok(), "{}: {line}", path.display());
                json += 1;
            } else {
                assert!(begins_as_text(&line), "{}: {line}", path.display());
                text += 1;
            }
        }
    }
    println!("{} files, {json} JSON lines, {text} text lines", paths.len());
    assert!(json > 1000 && text > 500, "{json} {text}");
}

#[test]
fn a_containers_log_gives_back_the_servers_byte_for_byte() {
    let Some(samples) = samples() else { return };
    let found = unwrapped(&samples.join("derived/cri-from-lab-6.0.27.log"));
    let expect = unwrapped(&samples.join("lab/6.0.27/standalone-auth.log"));
    assert_eq!(found.len(), expect.len());
    assert!(found == expect);
}

#[test]
fn every_datagram_of_a_syslog_is_a_record() {
    let Some(samples) = samples() else { return };
    let found = unwrapped(&samples.join("lab/6.0.27/syslog.log"));
    assert!(found.len() > 300, "{}", found.len());
    for line in found {
        let parsed = serde_json::from_slice::<serde_json::Value>(&line);
        assert!(parsed.is_ok(), "{}", line.escape_ascii());
    }
}

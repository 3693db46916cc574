//! Bad input: a clear error with the right code, and nothing changed that should not be.

mod common;

use std::io::Write;
use std::process::Stdio;

use common::{Home, log, login, start};
use rustix::process::Signal;

fn gz(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn zstd(content: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("memory is there");
    // As the command zstd does.
    encoder.include_checksum(true).expect("it can");
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// What can be known beforehand is refused beforehand.
#[test]
fn what_cannot_be_read_changes_nothing() {
    let home = Home::with_shop();
    let good = home.file("good.log", log(1..11).as_bytes());
    let binary =
        home.file("binary", &std::fs::read(env!("CARGO_BIN_EXE_doorbook")).expect("it")[..9999]);
    let utf16 = home.file("utf16.log", b"\xff\xfe{\0\"\0t\0\"\0:\0");
    home.import("db-1", &["missing.log"]).fails(1, "missing.log");
    home.import("db-1", &["nothing-*.log"]).fails(1, "no file matches");
    home.import("db-1", &["mongod[1].log"]).fails(1, "mongod[1].log: does not exist");
    home.import("db-1", &[&good, &binary]).fails(1, "not a text log");
    home.import("db-1", &[&utf16]).fails(1, "UTF-16");
    home.import("db-1", &[&home.file("x.log", b"BZh91AY&SY")]).fails(1, "bzip2");
    if rustix::process::geteuid().as_raw() != 0 {
        use std::os::unix::fs::PermissionsExt;
        let secret = home.file("secret.log", b"{}");
        let none = std::fs::Permissions::from_mode(0o000);
        std::fs::set_permissions(&secret, none).expect("mine");
        home.import("db-1", &[&good, &secret]).fails(1, "secret.log");
    }
    for (project, cluster, part) in
        [("nope", "orders", "no project"), ("shop", "nope", "no cluster nope: it has orders")]
    {
        let words = ["import", "--project", project, "--cluster", cluster, &good];
        home.run(&words).fails(3, part);
    }
    home.run(&["import", "--project", "shop", &good]).fails(2, "--cluster");
    home.run(&["import", "--project", "shop", "--cluster", "orders"]).fails(2, "FILE");
    assert_eq!(home.raw().len(), 0);
    assert_eq!(home.run(&["import", "list", "--json"]).json(), serde_json::json!([]));
}

/// Damage of a compressed file may show only at its end, when lines that nobody wrote would have
/// been committed: a file that is cut off or damaged is refused as a whole, also beside good ones.
#[test]
fn a_broken_archive_changes_nothing() {
    let text = log(1..501);
    let whole = gz(text.as_bytes());
    let mut flipped = whole.clone();
    // In the checksum behind the data, where every line has come out before.
    let at = flipped.len() - 6;
    flipped[at] ^= 1;
    let mut zst = zstd(text.as_bytes());
    let at = zst.len() - 2;
    zst[at] ^= 1;
    let home = Home::with_shop();
    let good = home.file("good.log", log(1..11).as_bytes());
    for (name, bytes, part) in [
        ("cut.gz", &whole[..whole.len() * 6 / 10], "cut.gz: the gzip data is cut off at byte"),
        ("flipped.gz", &flipped, "flipped.gz: the gzip data is damaged at byte"),
        ("cut.zst", &zst[..zst.len() * 6 / 10], "cut.zst: the zstd data is cut off at byte"),
        ("flipped.zst", &zst, "flipped.zst: the zstd data is damaged at byte"),
    ] {
        let broken = home.file(name, bytes);
        for host in ["", "db-1"] {
            home.import(host, &[&good, &broken]).fails(1, part);
        }
    }
    assert_eq!(home.raw().len(), 0);
    assert_eq!(home.run(&["import", "list", "--json"]).json(), serde_json::json!([]));
}

/// A compressed stream that breaks off cannot be read twice: what was read stays, the message says
/// where, and the whole one adds the rest. The half line at its end is no event.
#[test]
fn a_truncated_stream_gives_what_it_has_and_an_error() {
    let whole = gz(log(1..501).as_bytes());
    // Six places, so that some of them are within a login's line.
    for tenths in 3..9 {
        let home = Home::with_shop();
        let words = ["import", "--project", "shop", "--cluster", "orders", "--json", "-"];
        let done = home.run_with_stdin(&words, &whole[..whole.len() * tenths / 10]);
        let import: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
        done.fails(1, "-: the gzip data is cut off at byte");
        let n_events = import["events"].as_u64().expect("a number");
        assert!((50..450).contains(&n_events), "{import}");
        assert_eq!((&import["state"], &import["quarantined"]), (&"interrupted".into(), &0.into()));
        assert_eq!(home.raw().len() as u64, n_events);
        let rest = home.import("", &[&home.file("whole.gz", &whole)]).json();
        assert_eq!(rest["duplicates"].as_u64(), Some(n_events), "{rest}");
        assert_eq!(home.raw().len(), 500);
    }
}

/// 100 MB in one line: kept by its head, its length and its hash, in bounded memory.
#[test]
fn a_line_of_100_megabytes_is_put_aside() {
    let home = Home::with_shop();
    let mut text = log(1..2).into_bytes();
    text.extend_from_slice(login(2).lines().nth(1).expect("two lines").as_bytes());
    text.truncate(text.len() - 3);
    text.resize(text.len() + 100_000_000, b'a');
    text.extend_from_slice(b"\"}}\n");
    text.extend_from_slice(login(3).as_bytes());
    let length = text.len();
    let file = home.file("mongod.log", &text);
    drop(text);
    // 400 MB of address space: the binary, its threads and its buffers, not the line.
    let words = "ulimit -v 400000; exec \"$0\" \"$@\"";
    let exe = env!("CARGO_BIN_EXE_doorbook");
    let args = ["import", "--project", "shop", "--cluster", "orders", "--json", &file];
    let child = std::process::Command::new("sh")
        .args(["-c", words, exe])
        .args(args)
        .env("DOORBOOK_DATA_DIR", home.data_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let import = common::finish(child).json();
    assert_eq!((&import["events"], &import["quarantined"]), (&2.into(), &1.into()), "{import}");
    let row = &import["quarantine"][0];
    assert_eq!(row["line"], 4, "{row}");
    assert!(row["lengthBytes"].as_u64().is_some_and(|n| n > 100_000_000 && n < length as u64));
    assert_eq!(row["raw"].as_str().map(str::len), Some(64 * 1024));
}

/// Bytes that are not UTF-8 are kept as they are and shown with a substitute.
#[test]
fn bytes_that_are_not_utf_8_are_kept() {
    let home = Home::with_shop();
    let text = "2026-11-20T12:00:00.000+0000 I  NETWORK  [listener] connection accepted from \
                10.0.0.1:5 #1 (1 connection now open)\n\
                2026-11-20T12:00:00.001+0000 I  ACCESS   [conn1] Successfully authenticated as \
                principal J@rg on admin from client 10.0.0.1:5\n";
    let bytes: Vec<u8> = text.bytes().map(|b| if b == b'@' { 0xf6 } else { b }).collect();
    let import = home.import("db-1", &[&home.file("latin1.log", &bytes)]).json();
    assert_eq!(import["events"], 1, "{import}");
    let event = home.run(&["events", "--json"]).json();
    assert_eq!(event["user"], "J\u{fffd}rg");
    assert!(event["rawHex"].as_str().is_some_and(|hex| hex.contains("4af67267")), "{event}");
}

/// A line of the access component whose head something rewrote is put aside and not passed over.
#[test]
fn access_lines_with_a_foreign_head_are_put_aside() {
    let home = Home::with_shop();
    let good = login(1);
    let good = good.lines().nth(1).expect("two lines");
    let time = good.find("{\"$date\"").expect("a time");
    let time = &good[time..=time + good[time..].find('}').expect("it ends")];
    let mut text = start("db-1");
    for bad in [
        good.replace("\"id\":20250", "\"id\":\"20250\""),
        good.replace("\"id\":20250", "\"id\":20250.0"),
        good.replace(time, "1795143600001"),
        good.replace("\"ACCESS\"", "\"access\""),
        good.replace("\"ACCESS\"", "\"access\"").replace(time, "1795143600001"),
    ] {
        assert_ne!(bad, good);
        text += &(bad + "\n");
    }
    let import = home.import("", &[&home.file("mongod.log", text.as_bytes())]).json();
    let got = (&import["events"], &import["quarantined"], &import["unknownIds"]);
    assert_eq!(got, (&0.into(), &5.into(), &serde_json::json!([])), "{import}");
}

/// A success line of 7.0 and later that has the code of a failure is none.
#[test]
fn a_success_with_the_code_of_a_failure_is_a_failure() {
    let home = Home::with_shop();
    let attr = |result: u32| {
        format!(
            r#""msg":"Successfully authenticated","attr":{{"client":"10.0.0.1:5","isSpeculative":false,"isClusterMember":false,"mechanism":"SCRAM-SHA-256","user":"u","db":"admin","result":{result},"metrics":{{}},"extraInfo":{{}}}}"#
        )
    };
    let line = |at, result| common::line(at, "ACCESS", 5_286_306, "conn1", &attr(result));
    let text = start("db-1") + &line("03:00:00.000", 0) + &line("03:00:01.000", 18);
    let import = home.import("", &[&home.file("mongod.log", text.as_bytes())]).json();
    assert_eq!((&import["successes"], &import["failures"]), (&1.into(), &1.into()), "{import}");
    let events = home.run(&["events", "--json", "--outcome", "failure"]).json();
    assert_eq!(events["code"], 18, "{events}");
}

/// What is no log at all is no error, and no silence either.
#[test]
fn a_file_without_a_line_of_mongod_is_warned_of() {
    let home = Home::with_shop();
    let entry = serde_json::json!({"MESSAGE": login(1), "_PID": "7"}).to_string() + "\n";
    let journal = home.file("journal.json", entry.repeat(3).as_bytes());
    let good = home.file("good.log", log(1..3).as_bytes());
    let done = home.import("db-1", &[&good, &journal]);
    assert!(done.stderr.contains("journal.json: none of 3 lines looks like a mongod log"));
    let import = done.json();
    let warnings = import["warnings"].as_array().expect("an array");
    assert_eq!((warnings.len(), &import["events"]), (1, &2.into()), "{import}");
}

/// Ctrl-C: what was committed stays, the receipt says so, and the same command goes on.
#[test]
fn ctrl_c_keeps_what_was_committed() {
    for beside_server in [false, true] {
        let home = Home::with_shop();
        let server = beside_server.then(|| home.serve());
        let words = ["import", "--project", "shop", "--cluster", "orders", "--json", "-"];
        let mut child = home.command(&words).stdin(Stdio::piped()).spawn().expect("starts");
        let mut stdin = child.stdin.take().expect("piped");
        let mut sent = log(0..0);
        stdin.write_all(sent.as_bytes()).expect("read");
        // More lines than a pipe holds, so that some were read; then more until it ends.
        let mut n = 1;
        let (signal_at, mut is_signalled) = (2_000, false);
        loop {
            let line = login(n);
            sent.push_str(&line);
            if stdin.write_all(line.as_bytes()).is_err() {
                break;
            }
            if n == signal_at && !is_signalled {
                common::send(&child, Signal::INT);
                is_signalled = true;
            }
            n += 1;
        }
        drop(stdin);
        let done = common::finish(child);
        let import: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
        done.fails(130, "was interrupted");
        assert_eq!(import["state"], "interrupted", "{import}");
        let n_events = import["events"].as_u64().expect("a number");
        assert!(n_events > 0 && n_events <= u64::from(n), "{import}");
        assert_eq!(home.raw().len() as u64, n_events);
        let rest = home.import("", &[&home.file("all.log", sent.as_bytes())]).json();
        assert_eq!(rest["duplicates"].as_u64(), Some(n_events), "{rest}");
        assert_eq!(home.raw().len(), n as usize);
        drop(server);
    }
}

/// The reader of our output may leave.
#[test]
fn a_closed_pipe_is_no_error() {
    let home = Home::with_shop();
    home.import("", &[&home.file("mongod.log", log(1..2001).as_bytes())]).json();
    let mut child = home.command(&["events", "--json", "--limit", "0"]).spawn().expect("starts");
    drop(child.stdout.take());
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().expect("piped"), &mut stderr)
        .expect("text");
    assert_eq!(child.wait().expect("waitable").code(), Some(0), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

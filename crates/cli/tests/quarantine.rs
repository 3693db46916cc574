//! `doorbook quarantine`: what could not be read, found again and shown as it was.

mod common;

use common::{Home, line, log, start};

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

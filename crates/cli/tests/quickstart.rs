//! Quickstart: what it prints works, and it can be repeated.

mod common;

use std::io::{BufRead, BufReader};

use common::Home;
use rustix::process::Signal;

/// Runs it until its last line, gives what it printed and the process.
fn quickstart(home: &Home) -> (String, std::process::Child) {
    let mut child =
        home.command(&["quickstart", "--listen", "127.0.0.1:0"]).spawn().expect("starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut text = String::new();
    while !text.contains("Ctrl-C") {
        assert_ne!(stdout.read_line(&mut text).expect("readable"), 0, "it ended after {text}");
    }
    (text, child)
}

#[test]
fn it_shows_what_it_says() {
    let home = Home::new();
    let mut keys = Vec::new();
    for n_imports in [1, 2] {
        let (text, mut child) = quickstart(&home);
        assert_eq!(text.matches("curl --silent --digest --user ").count(), 3, "{text}");
        assert!(text.contains("97 attempts"), "{text}");
        assert!(text.contains("62 attempts"), "{text}");
        // What the requests will show, over the last 7 days: their default window.
        let at = now() - std::time::Duration::from_secs(7 * 24 * 3600);
        let from = at.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
        let events = |words: &[&str]| {
            let from = from.to_string();
            let all = ["events", "--json", "--limit", "0", "--from", &from];
            let rows = home.run(&[&all[..], words].concat()).json_lines();
            rows.iter().filter(|row| row["action"] == "authenticate").count()
        };
        assert_eq!(events(&[]), 97);
        assert_eq!(events(&["--outcome", "failure"]), 62);
        assert_eq!(events(&["--host", "db-1.example.com"]), 97);
        assert_eq!(events(&["--user", "__system", "--class", "system"]), 16);
        assert!(events(&["--address", "203.0.113.77"]) > 50);
        let coverage = home.run(&["coverage", "--json"]).json();
        assert_eq!(coverage[0]["by"], "dba@admin from unix", "{coverage}");

        let key = text.split("--user ").nth(1).and_then(|rest| rest.split(' ').next());
        keys.push(key.expect("a key").to_owned());
        let imports = home.run(&["import", "list", "--json"]).json();
        let states: Vec<_> =
            imports.as_array().expect("a list").iter().map(|i| &i["state"]).collect();
        assert_eq!(states.len(), n_imports);
        assert_eq!(states.last().expect("one"), &"complete");
        assert!(states[..n_imports - 1].iter().all(|state| *state == "retracted"), "{states:?}");
        common::send(&child, Signal::INT);
        assert_eq!(child.wait().expect("waitable").code(), Some(0));
    }
    assert_ne!(keys[0], keys[1]);
    let clusters = home.run(&["cluster", "list", "--json"]).json();
    assert_eq!(clusters.as_array().map(Vec::len), Some(1));
}

#[expect(clippy::disallowed_methods, reason = "the sample is dated by the system's clock")]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

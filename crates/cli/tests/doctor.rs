//! `doorbook doctor`: with and without a server, on a sound directory and on others.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use common::{Done, Home, eventually, log};
use serde_json::Value;

fn findings(done: &Done) -> Vec<Value> {
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

#[track_caller]
fn has(done: &Done, check: &str, state: &str, part: &str) {
    let found = findings(done).into_iter().find(|of| {
        of["check"] == check && of["seen"].as_str().is_some_and(|seen| seen.contains(part))
    });
    let found = found.unwrap_or_else(|| panic!("no {check} with {part}: {done:?}"));
    assert_eq!(found["state"], state, "{found}");
}

/// Goal: it says the same beside a server, and that there is none. Method: both, with a line in
/// quarantine and hosts that nothing follows.
#[test]
fn it_examines_with_and_without_a_server() {
    let home = Home::with_shop();
    let text = log(1..5) + "{\"t\":{\"$date\":\"2026-11-20T03:00:01.000+00:00\"},\"id\":20250,\n";
    let file = home.file("a.log", text.as_bytes());
    let imported = home.import("db-1", &[&file]).json();
    assert_eq!(imported["quarantined"], 1, "{imported}");
    // A server that is killed leaves its socket behind.
    for is_served in [false, true, false] {
        let server = is_served.then(|| home.serve());
        let done = home.run(&["doctor", "--json"]);
        assert_eq!(done.code, 0, "warnings are no failure: {done:?}");
        match is_served {
            true => has(&done, "server", "ok", "answers"),
            false => has(&done, "server", "warn", "no server runs"),
        }
        has(&done, "writer", "ok", "");
        has(&done, "permissions", "ok", "0700");
        has(&done, "hosts", "warn", "2 hosts have no source: db-1:27017, db-2:27017");
        has(&done, "quarantine", "warn", "1 lines of shop");
        assert!(findings(&done).iter().any(|of| of["check"] == "clock"), "{done:?}");
        drop(server);
    }
    let text = home.run(&["doctor"]).ok().stdout;
    assert!(
        text.lines().all(|line| line.starts_with("ok ") || line.starts_with("warn ")),
        "{text}"
    );
}

#[test]
fn what_fails_is_the_exit_code() {
    let home = Home::new();
    home.run(&["doctor"]).fails(1, "1 check failed");
    let home = Home::with_shop();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(home.data_dir(), open).expect("ours");
    let certificate = home.file("cert.pem", b"none");
    let done = home.run(&["doctor", "--json", "--tls-cert", &certificate]);
    has(&done, "certificate", "fail", "no certificate");
    has(&done, "permissions", "fail", "0755");
    done.fails(1, "2 checks failed");
    std::fs::write(home.data_dir().join("FORMAT"), "something else\n").expect("written");
    let done = home.run(&["doctor", "--json"]);
    has(&done, "data directory", "fail", "");
    done.fails(1, "1 check failed");
}

/// Goal: a followed source is measured by the server and judged by doctor. Method: one source whose
/// log is there and one whose log is not.
#[test]
fn a_source_is_measured_and_judged() {
    let home = Home::new();
    home.file("db-1.log", log(1..20).as_bytes());
    let estate = format!(
        "version = 1\n\n[[project]]\nname = \"shop\"\n\n[[project.cluster]]\nname = \"orders\"\n\
         hosts = [\"db-1\", \"db-2\"]\n\n[[source]]\nname = \"{{host}}\"\n\
         kind = \"mongod-log\"\npath = \"{}\"\n",
        home.path("{host}.log").display()
    );
    let estate = home.file("doorbook.toml", estate.as_bytes());
    let server = home.serve_with(&["--config", &estate]);
    let address = server.ready.trim().rsplit('/').next().expect("an address").to_owned();
    let metrics = || {
        let mut stream = TcpStream::connect(&address).expect("listens");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("is answered");
        answer
    };
    let value = |text: &str, name: &str, source: &str| {
        let sample = format!("{name}{{source=\"{source}\",");
        let line = text.lines().find(|line| line.starts_with(&sample))?;
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    eventually("the log is read", || {
        let text = metrics();
        value(&text, "doorbook_source_lines_total", "db-1").is_some_and(|lines| lines > 0.0)
            && value(&text, "doorbook_source_up", "db-1") == Some(1.0)
    });
    assert_eq!(value(&metrics(), "doorbook_source_up", "db-2"), Some(0.0));
    let done = home.run(&["doctor", "--json", "--config", &estate]);
    has(&done, "source db-1", "ok", "can be read");
    has(&done, "source db-2", "warn", "is not there");
    has(&done, "progress of db-1", "ok", "events");
    has(&done, "progress of db-2", "warn", "");
    has(&done, "hosts", "ok", "each host has a source");
    done.ok();
}

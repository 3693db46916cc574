//! Commands beside a running server, and two processes on one directory.

mod common;

use std::io::Write;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{Home, log, mode};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn a_server_says_when_it_is_ready_and_ends_on_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = Home::with_shop();
        let server = home.serve();
        let address = server.ready.strip_prefix("doorbook listening on http://127.0.0.1:");
        let port = address.and_then(|port| port.strip_suffix('\n')).expect("one line");
        assert_ne!(port.parse::<u16>().expect("a port"), 0);
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port.parse().expect("a port")))
            .expect("it listens");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).expect("answered");
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
        assert_eq!(mode(&home.data_dir().join("admin.sock")), 0o600);
        assert_eq!(server.stop(signal), (0, String::new()));
        assert!(!home.data_dir().join("admin.sock").exists());

        let own = home.run(&["events", "--system", "--json"]).json_lines();
        let actions: Vec<_> = own.iter().filter_map(|event| event["action"].as_str()).collect();
        assert_eq!(actions[..3], ["query", "server_stop", "server_start"], "{actions:?}");
    }
}

#[test]
fn an_address_that_others_reach_wants_tls_or_the_word() {
    let home = Home::with_shop();
    home.run(&["serve", "--listen", "0.0.0.0:0"]).fails(2, "--plaintext");
    home.run(&["serve", "--listen", "127.0.0.1:0", "--tls-cert", "x"]).fails(2, "--tls-key");
    let words = ["serve", "--listen", "127.0.0.1:0", "--tls-cert", "x", "--tls-key", "y"];
    home.run(&words).fails(2, "x: cannot be read");
    home.run(&["serve", "--listen", "8080"]).fails(2, "invalid value");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    home.run(&["serve", "--listen", &address]).fails(1, "cannot listen on");
}

/// The answer to one request, whole.
fn ask(address: &str, request: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("answered");
    answer
}

#[test]
fn the_rate_of_the_access_history_is_the_operator_s() {
    let home = Home::with_shop();
    for bad in ["", "x", "1/0", "1/1/1/1"] {
        let words = ["serve", "--listen", "127.0.0.1:0", "--access-history-rate", bad];
        home.run(&words).fails(2, "--access-history-rate");
    }
    let words = ["service-account", "create", "--project", "shop", "--role", "Project Owner"];
    let account = home.run(&[&words[..], &["--json"]].concat()).json();
    let half = |name: &str| account[name].as_str().expect("a string").to_owned();
    let basic = STANDARD.encode(format!("{}:{}", half("clientId"), half("clientSecret")));
    let projects = home.run(&["project", "list", "--json"]).json();
    let path = format!(
        "/api/atlas/v1.0/groups/{}/dbAccessHistory/clusters/orders",
        projects[0]["id"].as_str().expect("an id")
    );
    for (words, limits) in [
        (&[][..], [Some("1200"), Some("1200")]),
        (&["--access-history-rate", "1/1/3600"], [Some("1"), None]),
        (&["--access-history-rate", "0"], [None, None]),
    ] {
        let server = home.serve_with(words);
        let address = server.ready.trim().strip_prefix("doorbook listening on http://");
        let address = address.expect("one line");
        let form = "grant_type=client_credentials";
        let answer = ask(
            address,
            &format!(
                "POST /api/oauth/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                 Authorization: Basic {basic}\r\nContent-Length: {}\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
                form.len()
            ),
        );
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        let token: Value = serde_json::from_str(body).expect("JSON");
        let token = token["access_token"].as_str().expect("a token");
        for (n, limit) in limits.into_iter().enumerate() {
            let answer = ask(
                address,
                &format!(
                    "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                     Authorization: Bearer {token}\r\n\r\n"
                ),
            );
            // One request an hour: the second is one too many.
            let is_refused = words.contains(&"1/1/3600") && n == 1;
            let status = if is_refused { "HTTP/1.1 429 " } else { "HTTP/1.1 200 " };
            assert!(answer.starts_with(status), "{words:?}: {answer}");
            let header = answer.lines().find_map(|line| line.strip_prefix("Ratelimit-Limit: "));
            assert!(is_refused || header == limit, "{words:?}: {answer}");
        }
        server.stop(Signal::TERM);
    }
}

/// The same commands with and without a server: the same output, but for ids, times and secrets.
#[test]
fn commands_do_the_same_beside_a_server() {
    let alone = Home::new();
    let beside = Home::new();
    beside.run(&["project", "create", "first"]).ok();
    alone.run(&["project", "create", "first"]).ok();
    let server = beside.serve();
    let text = log(1..2001);
    for home in [&alone, &beside] {
        home.file("mongod.log", text.as_bytes());
        home.file("cut.log", &text.as_bytes()[..text.len() - 9]);
    }
    let import = ["import", "--project", "shop", "--cluster", "orders"];
    let words: &[&[&str]] = &[
        &["project", "create", "shop", "--id", "32b6e34b3d91647abb20e7b8", "--json"],
        &["project", "create", "shop"],
        &["project", "create", "a/b"],
        &["cluster", "create", "orders", "--project", "shop", "--host", "db-1", "--json"],
        &["cluster", "create", "orders", "--project", "nope"],
        &["host", "add", "db-2", "--cluster", "orders", "--project", "shop"],
        &["host", "alias", "db-2", "x.example", "--project", "shop", "--json"],
        &["key", "create", "--project", "shop", "--role", "GROUP_OWNER", "--json"],
        &["key", "delete", "nothing"],
        &["service-account", "create", "--project", "shop", "--role", "GROUP_OWNER", "--json"],
        &["project", "list", "--json"],
        &["cluster", "list", "--json"],
        &["key", "list", "--json"],
        &["service-account", "list", "--json"],
        &[&import[..], &["--json", "mongod.log"]].concat(),
        &[&import[..], &["--json", "mongod.log", "cut.log"]].concat(),
        &[&import[..], &["--host", "nope", "mongod.log"]].concat(),
        &[&import[..], &["missing.log"]].concat(),
        &["import", "list", "--json"],
        &["events", "--json", "--limit", "0", "--project", "shop"],
        &["events", "--project", "shop", "--outcome", "failure"],
        &["events", "--project", "shop", "--quarantine", "--json"],
        &["quarantine", "list", "--project", "shop", "--json"],
        &["coverage", "--json"],
        &["import", "retract", "imp-nothing"],
    ];
    for words in words {
        let [alone, beside] = [&alone, &beside].map(|home| home.run(words));
        let shape = |text: &str| text.lines().map(without_chance).collect::<Vec<_>>();
        assert_eq!(alone.code, beside.code, "{words:?}: {alone:?} {beside:?}");
        assert_eq!(shape(&alone.stdout), shape(&beside.stdout), "{words:?}");
        assert_eq!(shape(&alone.stderr), shape(&beside.stderr), "{words:?}");
    }
    // And the server's store holds it after the server has gone.
    assert_eq!(server.stop(Signal::TERM).0, 0);
    let events = |home: &Home| {
        home.run(&["events", "--json", "--limit", "0", "--project", "shop"]).json_lines().len()
    };
    assert_eq!((events(&alone), events(&beside)), (2000, 2000));
}

/// A line of output without what differs from run to run.
fn without_chance(line: &str) -> String {
    const CHANCE: [&str; 12] = [
        "created",
        "publicKey",
        "privateKey",
        "clientId",
        "clientSecret",
        "started",
        "ended",
        "modified",
        "ingestTime",
        "id",
        "projectId",
        "log",
    ];
    fn strip(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    match CHANCE.contains(&&**key) {
                        true => *value = Value::Null,
                        false => strip(value),
                    }
                }
            }
            Value::Array(items) => {
                items.iter_mut().for_each(strip);
                // Lists by random ids come in random order.
                items.sort_by_key(|item| item.to_string());
            }
            _ => {}
        }
    }
    match serde_json::from_str::<Value>(line) {
        Ok(mut value) => {
            strip(&mut value);
            value.to_string()
        }
        Err(_) => line.to_owned(),
    }
}

#[test]
fn two_servers_do_not_share_a_directory() {
    let home = Home::with_shop();
    let server = home.serve();
    home.run(&["serve", "--listen", "127.0.0.1:0"]).fails(1, "another process holds");
    home.run(&["quickstart", "--listen", "127.0.0.1:0"]).fails(1, "another process holds");
    home.run(&["project", "list"]).ok();
    drop(server);
}

/// Short commands that meet wait for each other.
#[test]
fn commands_at_the_same_time_all_succeed() {
    let home = Home::with_shop();
    let names: Vec<String> = (0..8).map(|n| format!("p{n}")).collect();
    let children: Vec<_> = names
        .iter()
        .map(|name| home.command(&["project", "create", name]).spawn().expect("starts"))
        .collect();
    for child in children {
        common::finish(child).ok();
    }
    assert_eq!(home.run(&["project", "list", "--json"]).json().as_array().map(Vec::len), Some(9));
}

/// A power cut leaves a socket file and a lock file; neither is in the way.
#[test]
fn what_a_killed_server_leaves_is_not_in_the_way() {
    let home = Home::with_shop();
    home.serve().kill();
    assert!(home.data_dir().join("admin.sock").exists(), "the test is about a stale one");
    home.run(&["project", "create", "other"]).ok();
    let server = home.serve();
    assert_eq!(home.run(&["project", "list", "--json"]).json().as_array().map(Vec::len), Some(2));
    assert_eq!(server.stop(Signal::TERM).0, 0);
}

/// An import whose process is killed stays as far as it was committed, and its receipt does not
/// claim to be complete; neither does one whose server stops.
#[test]
fn an_import_that_loses_its_other_end_is_interrupted() {
    let home = Home::with_shop();
    let server = home.serve();
    let words = ["import", "--project", "shop", "--cluster", "orders", "--host", "db-1", "-"];
    let start = || {
        let mut child = home.command(&words).stdin(Stdio::piped()).spawn().expect("starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(log(1..11).as_bytes()).expect("read");
        (child, stdin)
    };
    let states = || -> Vec<String> {
        let imports = home.run(&["import", "list", "--json"]).json();
        let imports = imports.as_array().expect("a list").iter();
        imports.map(|import| import["state"].as_str().expect("text").to_owned()).collect()
    };
    let wait_for = |expected: &[&str]| {
        common::eventually(&format!("imports are {expected:?}"), || states() == expected);
    };
    let (mut child, _stdin) = start();
    wait_for(&["running"]);
    child.kill().expect("it runs");
    child.wait().expect("waitable");
    wait_for(&["interrupted"]);

    let (child, stdin) = start();
    wait_for(&["interrupted", "running"]);
    assert_eq!(server.stop(Signal::TERM).0, 0);
    drop(stdin);
    common::finish(child).fails(1, "admin socket");
    wait_for(&["interrupted", "interrupted"]);
}

/// A Unix socket's path is at most 107 bytes long; a data directory's is not.
#[test]
fn a_long_path_is_no_obstacle() {
    let home = Home::new();
    let long = home.path(&"d".repeat(200));
    let long = long.to_str().expect("UTF-8");
    home.run(&["project", "create", "shop", "--data-dir", long]).ok();
    let mut server = home
        .command(&["serve", "--listen", "127.0.0.1:0", "--data-dir", long])
        .spawn()
        .expect("starts");
    let mut ready = String::new();
    let stdout = server.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut ready).expect("ready");
    home.run(&["project", "list", "--data-dir", long]).ok();
    common::send(&server, Signal::TERM);
    assert_eq!(server.wait().expect("waitable").code(), Some(0));
}

/// The server is killed while an import streams to it: the message names the import and the next
/// step, and the import is no longer said to run.
#[test]
fn an_import_whose_server_went_away_is_interrupted() {
    let home = Home::with_shop();
    let server = home.serve();
    let words = ["import", "--project", "shop", "--cluster", "orders", "--host", "db-1", "-"];
    let mut child = home.command(&words).stdin(std::process::Stdio::piped()).spawn().expect("runs");
    let imports = || home.run(&["import", "list", "--json"]).json();
    common::eventually("the import runs", || imports()[0]["state"] == "running");
    let id = imports()[0]["id"].as_str().expect("text").to_owned();
    server.kill();
    let mut stdin = child.stdin.take().expect("piped");
    std::io::Write::write_all(&mut stdin, log(1..3).as_bytes()).expect("it reads");
    drop(stdin);
    let done = common::finish(child).fails(1, "the server went away");
    for part in [&*id, "what was committed stays", "run the same command again"] {
        assert!(done.stderr.contains(part), "{part} is not in {done:?}");
    }
    assert_eq!(imports()[0]["state"], "interrupted");
}

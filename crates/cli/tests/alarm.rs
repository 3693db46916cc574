//! Alarms from the file of the estate to whoever is told, and back by `doorbook alarm`.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, UdpSocket};

use common::{Home, eventually, line, log};
use serde_json::Value;

const SHOP: &str = r#"version = 1

[[project]]
name = "shop"

[[project.cluster]]
name = "orders"
hosts = ["db-1"]

[[source]]
name = "db-1"
kind = "mongod-log"
path = "LOG"
"#;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Takes one request; its body.
fn take(listener: &TcpListener) -> Value {
    let (stream, _) = listener.accept().expect("comes");
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).expect("readable");
        if let Some(text) = line.strip_prefix("content-length: ") {
            length = text.trim().parse().expect("a number");
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("readable");
    stream.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("writable");
    serde_json::from_slice(&body).expect("JSON")
}

/// Goal: a log that was made quiet is told to everyone, and what an operator finds out is kept. Method: a server
/// that follows such a log, a webhook and a syslog server of the test, and the commands beside it.
#[test]
fn a_quiet_log_is_told_and_acknowledged() {
    let home = Home::new();
    let quiet = line(
        "04:00:00.000",
        "COMMAND",
        23_435,
        "conn7",
        r#""msg":"Successfully set parameter to new value","attr":{"parameterName":"quiet","newValue":"true","oldValue":"false"}"#,
    );
    let log = home.file("mongod.log", format!("{}{quiet}", log(1..20)).as_bytes());
    let secret = home.file("secret", SECRET.as_bytes());
    let webhook = TcpListener::bind("127.0.0.1:0").expect("binds");
    let syslog = UdpSocket::bind("127.0.0.1:0").expect("binds");
    // A line that does not come is an error, and not a test that does not end.
    syslog.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("a timeout");
    let url = webhook.local_addr().expect("an address");
    let udp = syslog.local_addr().expect("an address");
    let file = format!(
        "{}\n[alarm]\nwebhook_url = \"http://{url}/hook\"\nwebhook_secret_file = \"{secret}\"\n\
         syslog = \"udp://{udp}\"\n",
        SHOP.replace("LOG", &log)
    );
    let file = home.file("doorbook.toml", file.as_bytes());
    let server = home.serve_with(&["--config", &file]);

    let mut line = [0; 4096];
    let length = syslog.recv(&mut line).expect("comes");
    let line = String::from_utf8_lossy(&line[..length]).into_owned();
    let sentence = "db-1:27017 blind since 2026-11-20 04:00 UTC: setParameter quiet=true by user0@admin \
                    from 10.0.0.7";
    assert!(line.contains(sentence), "{line}");
    let body = take(&webhook);
    assert_eq!(body["type"], "coverage.gap.opened");
    assert_eq!(body["data"]["text"], sentence);

    let listed = home.run(&["alarm", "list", "--json"]).json();
    assert_eq!(listed[0]["text"], sentence, "{listed}");
    let id = listed[0]["id"].as_str().expect("an id");
    assert_eq!(body["data"]["alarm"], id);
    home.run(&["alarm", "list"]).ok();
    let words =
        ["alarm", "acknowledge", id, "--cause", "planned upgrade", "--note", "INC-7", "--json"];
    let acknowledged = home.run(&words).json();
    assert_eq!(acknowledged["acknowledged"]["cause"], "planned upgrade");
    let words = ["alarm", "acknowledge", "al-0", "--cause", "x"];
    home.run(&words).fails(3, "no alarm al-0; `doorbook alarm list --all` shows all");
    home.run(&["alarm", "acknowledge", id, "--cause", " "]).fails(2, "says nothing");
    let metrics = [("coverage.gap", 1), ("source.silent", 0)];
    for (kind, open) in metrics {
        let text = ask_metrics(&server.ready);
        let sample = format!("doorbook_alarms_open{{kind=\"{kind}\"}} {open}\n");
        assert!(text.contains(&sample), "{text}");
    }
    drop(server);

    // Without a server, too.
    let listed = home.run(&["alarm", "list", "--all", "--json"]).json();
    assert_eq!(listed[0]["acknowledged"]["note"], "INC-7");
    let events = home.run(&["events", "--system", "--limit", "0", "--json"]).json_lines();
    let of_alarm = |event: &&Value| event["action"] == "alarm";
    let verbs: Vec<&Value> =
        events.iter().filter(of_alarm).map(|event| &event["attributes"]["verb"]).collect();
    assert_eq!(verbs, ["acknowledge", "open"]);
    let acknowledgement = events.iter().find(of_alarm).expect("an event");
    assert_eq!(acknowledgement["attributes"]["cause"], "planned upgrade");
    assert_eq!(acknowledgement["attributes"]["note"], "INC-7");
}

/// Goal: what `[alarm]` and `[[counters]]` say holds from `doorbook apply` on, without a restart, and nothing
/// begins anew that is as it was. Method: a server whose file gets the sections, wrong ones, other ones and
/// loses them; who is told, and whose counters are compared, shows what runs.
#[test]
fn to_apply_sections_needs_no_restart() {
    let home = Home::new();
    let log_file = home.file("mongod.log", log(1..20).as_bytes());
    let password = home.file("password", b"secret");
    let shop = SHOP.replace("LOG", &log_file);
    let file = home.file("doorbook.toml", shop.as_bytes());
    let server = home.serve_with(&["--config", &file]);
    let apply = |sections: &str, words: &[&str]| {
        home.file("doorbook.toml", format!("{shop}\n{sections}").as_bytes());
        home.run(&[&["apply", "--config", "doorbook.toml"], words].concat())
    };
    let syslog = UdpSocket::bind("127.0.0.1:0").expect("binds");
    syslog.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("a timeout");
    let alarm = format!("[alarm]\nsyslog = \"udp://{}\"\n", syslog.local_addr().expect("bound"));
    let unusable = format!(
        "{alarm}webhook_url = \"https://a.example/\"\nwebhook_secret_file = \"/nowhere\"\n"
    );
    for words in [&[][..], &["--dry-run"]] {
        apply(&unusable, words).fails(2, "doorbook.toml:17:15: /nowhere cannot be read");
    }
    let done = apply(&alarm, &["--dry-run"]);
    assert_eq!(done.stdout, "~ section [alarm]\n");
    done.fails(5, "1 change to make");
    assert_eq!(apply(&alarm, &[]).ok().stdout, "~ section [alarm]\n");
    assert_eq!(apply(&alarm, &[]).ok().stdout, "nothing to change\n");
    let quiet = line(
        "04:00:00.000",
        "COMMAND",
        23_435,
        "conn7",
        r#""msg":"Successfully set parameter to new value","attr":{"parameterName":"quiet","newValue":"true","oldValue":"false"}"#,
    );
    home.file("mongod.log", format!("{}{quiet}", log(1..20)).as_bytes());
    let mut line = [0; 4096];
    let length = syslog.recv(&mut line).expect("comes");
    let line = String::from_utf8_lossy(&line[..length]).into_owned();
    assert!(line.contains("setParameter quiet=true"), "{line}");

    let both = format!("{alarm}\n[[counters]]\nuser = \"u\"\npassword_file = \"{password}\"\n");
    assert_eq!(apply(&both, &[]).ok().stdout, "~ section [[counters]]\n");
    let is_compared = || ask_metrics(&server.ready).contains("doorbook_counters_hosts{");
    eventually("the host's counters are asked for", is_compared);
    home.file("password", b"another one");
    assert_eq!(apply(&both, &[]).ok().stdout, "~ section [[counters]]\n");
    assert_eq!(apply("", &[]).ok().stdout, "~ section [[counters]]\n~ section [alarm]\n");
    assert!(!is_compared());
    // Another file is not the server's.
    home.file("other.toml", format!("{shop}\n{both}").as_bytes());
    let done = home.run(&["apply", "--config", "other.toml"]).ok();
    assert_eq!(done.stdout, "nothing to change\n");
    assert!(done.stderr.contains("[[counters]] and [alarm]"), "{done:?}");
}

/// Goal: a `[[receiver]]` that cannot be takes no other one away, and nothing of its file is done. Method: two
/// receivers, one of which is to listen where somebody else does, in a file with a further cluster; who listens is asked,
/// and tried.
#[test]
fn a_receiver_that_cannot_be_leaves_the_others() {
    let home = Home::new();
    let shop = SHOP.replace("LOG", &home.file("mongod.log", log(1..20).as_bytes()));
    let write = |second: &str| {
        let receiver = |name: &str, listen: &str| {
            format!("\n[[receiver]]\nname = \"{name}\"\nkind = \"syslog\"\nlisten = \"{listen}\"\n")
        };
        let receivers = receiver("first", "127.0.0.1:0") + &receiver("second", second);
        home.file("doorbook.toml", (shop.clone() + &receivers).as_bytes())
    };
    let apply = || home.run(&["apply", "--config", "doorbook.toml"]);
    let listening = || {
        let said = home.run(&["doctor"]).stdout;
        let addresses =
            said.split("it listens on ").skip(1).filter_map(|rest| rest.split(';').next());
        addresses.map(str::to_owned).collect::<Vec<_>>()
    };
    let file = write("127.0.0.1:0");
    let _server = home.serve_with(&["--config", &file]);
    let before = listening();
    assert_eq!(before.len(), 2, "{before:?}");

    let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = taken.local_addr().expect("an address").to_string();
    let file = write(&address);
    let further = "\n[[project.cluster]]\nname = \"carts\"\n";
    let more = std::fs::read_to_string(&file)
        .expect("is there")
        .replace("\n[[source]]", &(further.to_owned() + "\n[[source]]"));
    home.file("doorbook.toml", more.as_bytes());
    let dry = home.run(&["apply", "--dry-run", "--config", "doorbook.toml"]);
    dry.fails(1, &format!("cannot listen on {address}"));
    for _again in 0..2 {
        apply().fails(1, &format!("cannot listen on {address}"));
        assert!(!home.run(&["cluster", "list"]).stdout.contains("carts"), "nothing was changed");
        assert_eq!(listening(), before);
        for address in &before {
            std::net::TcpStream::connect(address).expect("listens");
        }
    }
    drop(taken);
    assert_eq!(apply().ok().stdout, "+ cluster shop/carts\n~ section [[receiver]]\n");
    assert_eq!(listening(), [before[0].clone(), address]);
    std::net::TcpStream::connect(&before[1]).expect_err("nobody listens any more");
}

/// What `/metrics` says, given the server's first line.
fn ask_metrics(ready: &str) -> String {
    let address = ready.trim().rsplit('/').next().expect("an address");
    let mut stream = std::net::TcpStream::connect(address).expect("listens");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("writable");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("UTF-8");
    text
}

/// What `[alarm]` cannot mean is told at its place, with what to write.
#[test]
fn a_wrong_section_is_told_at_its_place() {
    let home = Home::new();
    let check = |section: &str, part: &str| {
        let file = SHOP.replace("LOG", "/var/log/mongod.log") + "\n[alarm]\n" + section;
        let file = home.file("doorbook.toml", file.as_bytes());
        let done = home.run(&["config", "check", &file]);
        assert!(done.code != 0 && done.stderr.contains(part), "{section}: {done:?}");
        assert!(done.stderr.contains("doorbook.toml:1"), "a line from 10 on: {done:?}");
    };
    check("webhook_url = \"https://a.example\"", "webhook_secret_file");
    check("webhook_secret_file = \"/s\"", "webhook_url");
    let secret = "\nwebhook_secret_file = \"/nowhere\"";
    check(&format!("webhook_url = \"http://a.example/\"{secret}"), "in the clear");
    check(&format!("webhook_url = \"https://a.example/\"{secret}"), "/nowhere cannot be read");
    check("syslog = \"localhost\"", "udp://HOST:514");
    check("webhook_secret = \"whsec_x\"", "webhook_secret_file");
}

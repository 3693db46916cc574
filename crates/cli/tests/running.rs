//! The server as a service: what it tells load balancers, monitoring, the service manager and its
//! log, and how it ends.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStderr, Command};

use rustix::process::Signal;
use serde_json::Value;

use common::{Home, log, send};

/// A server whose log is read line by line.
struct Service {
    child: Child,
    address: String,
    log: BufReader<ChildStderr>,
}

impl Service {
    fn start(home: &Home, words: &[&str], environment: &[(&str, &str)]) -> Service {
        let words = [&["serve", "--listen", "127.0.0.1:0"], words].concat();
        let mut command = home.command(&words);
        let mut child = command.envs(environment.iter().copied()).spawn().expect("starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut ready = String::new();
        stdout.read_line(&mut ready).expect("readable");
        assert!(ready.starts_with("doorbook listening on "), "{ready:?}");
        let address = ready.trim().rsplit('/').next().expect("an address").to_owned();
        let log = BufReader::new(child.stderr.take().expect("piped"));
        Service { child, address, log }
    }

    /// One request; status and body.
    fn ask(&self, head: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("listens");
        let request = format!(
            "{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[request.as_bytes(), body].concat()).expect("is sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("is answered");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("a status"), answer)
    }

    /// Reads the log up to a line with this message.
    fn log_until(&mut self, message: &str) -> Value {
        loop {
            let mut line = String::new();
            let length = self.log.read_line(&mut line).expect("readable");
            assert!(length > 0, "the log ended before {message:?}");
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            if line["message"] == message {
                return line;
            }
        }
    }

    /// The exit code and the rest of the log.
    fn end(mut self) -> (i32, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).expect("readable");
        (self.child.wait().expect("ends").code().expect("no signal"), rest)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const JSON: [&str; 2] = ["--log-format", "json"];

#[test]
fn a_running_server_is_healthy_ready_and_measured() {
    let home = Home::with_shop();
    let service = Service::start(&home, &[], &[]);
    for path in ["/health", "/ready"] {
        let (status, answer) = service.ask(&format!("GET {path} HTTP/1.1"), b"");
        assert!(status == 200 && answer.ends_with(r#"{"status":"ok"}"#), "{answer}");
    }
    let (status, answer) = service.ask("GET /metrics HTTP/1.1", b"");
    assert_eq!(status, 200);
    assert!(answer.contains("\ndoorbook_poisoned 0\n"), "{answer}");
}

/// Goal: a stop is orderly, and whoever manages the service follows it. Method: SIGTERM with a socket
/// in systemd's place; afterwards nothing is left to replay.
#[test]
fn sigterm_seals_and_tells() {
    let home = Home::with_shop();
    let socket = UnixDatagram::bind(home.path("notify")).expect("binds");
    // A fact that does not come is an error, and not a test that does not end.
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("a timeout");
    let fact = || {
        let mut bytes = [0; 64];
        let length = socket.recv(&mut bytes).expect("comes");
        String::from_utf8(bytes[..length].to_vec()).expect("UTF-8")
    };
    let path = home.path("notify");
    let path = path.to_str().expect("UTF-8");
    let environment = [("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "30000000")];
    let mut service = Service::start(&home, &JSON, &environment);
    let facts = [fact(), fact()];
    assert!(facts.contains(&"READY=1".to_owned()) && facts.contains(&"WATCHDOG=1".to_owned()));
    let serving = service.log_until("serving");
    assert_eq!(
        (&serving["level"], &serving["version"]),
        (&"INFO".into(), &env!("CARGO_PKG_VERSION").into())
    );
    let file = home.file("a.log", log(1..50).as_bytes());
    home.import("", &[&file]).ok();

    send(&service.child, Signal::TERM);
    assert_eq!(service.log_until("stopping")["cause"], "SIGTERM");
    assert_eq!(fact(), "STOPPING=1");
    service.log_until("stopped");
    assert_eq!(service.end(), (0, String::new()));
    let status = home.run(&["status", "--json"]).json();
    let scopes = status["scopes"].as_array().expect("scopes");
    assert!(scopes.iter().all(|scope| scope["rowsInMemory"] == 0), "{status}");
}

/// Goal: who asks twice does not wait. Method: a request that never ends holds the first stop.
#[test]
fn a_second_signal_ends_it_at_once() {
    let home = Home::with_shop();
    let mut service = Service::start(&home, &JSON, &[]);
    let mut slow = TcpStream::connect(&service.address).expect("listens");
    slow.write_all(b"POST /api/v1/ingest/app HTTP/1.1\r\nHost: x\r\nContent-Le").expect("is sent");
    send(&service.child, Signal::INT);
    assert_eq!(service.log_until("stopping")["cause"], "SIGINT");
    send(&service.child, Signal::INT);
    let (code, rest) = service.end();
    assert_eq!(code, 130, "{rest}");
    drop(slow);
}

/// Goal: systemd takes the unit, and finds little to say against it. Method: its own checks, of the unit
/// with the binary of this test.
#[test]
fn systemd_takes_the_unit() {
    let unit = include_str!("../../../packaging/systemd/doorbook.service");
    let home = Home::new();
    let path = home.file(
        "doorbook.service",
        unit.replace("/usr/bin/doorbook", env!("CARGO_BIN_EXE_doorbook")).as_bytes(),
    );
    for words in [&["verify"][..], &["security", "--offline=true", "--threshold=20"]] {
        let checked = Command::new("systemd-analyze").args(words).arg(&path).output();
        let Ok(checked) = checked else {
            println!("left out: the systemd unit (there is no systemd-analyze)");
            return;
        };
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(
            checked.status.success(),
            "{words:?}: {said}{}",
            String::from_utf8_lossy(&checked.stdout)
        );
        // Complaints that are no error to it, such as an unknown key.
        assert!(!said.contains("doorbook.service:"), "{words:?}: {said}");
    }
    let words = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/doorbook "));
    let words = words.expect("it starts us").replace("$DOORBOOK_SERVE_ARGS", "--help");
    home.run(&words.split(' ').collect::<Vec<_>>()).ok();
}

/// Goal: nothing of what callers and logs say is in the server's own log. Method: canaries in every
/// place that a caller or a log can write to, at the finest level.
#[test]
fn the_log_holds_no_names_secrets_or_bodies() {
    let home = Home::with_shop();
    let key = home.run(&["key", "create", "--project", "shop", "--role", "GROUP_OWNER", "--json"]);
    let key = key.json();
    let (public, private) = (key["publicKey"].as_str(), key["privateKey"].as_str());
    let (public, private) = (public.expect("a key"), private.expect("a key"));
    for format in ["text", "json"] {
        let words = ["--log-level", "debug", "--log-format", format];
        let service = Service::start(&home, &words, &[]);
        let text = log(1..50).replace("user3", "canary-user").replace("10.0.", "203.0.");
        let file = home.file("canary.log", (text + "{\"t\":canary-line\n").as_bytes());
        home.import("", &[&file]).ok();
        let basic = |credentials: &str| {
            use base64::Engine;
            let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
            format!("\r\nAuthorization: Basic {encoded}\r\nContent-Type: application/x-ndjson")
        };
        let good = basic(&format!("{public}:{private}"));
        let bad = basic("canary-key:canary-secret");
        for (head, body, expected) in [
            (format!("POST /api/v1/ingest/app HTTP/1.1{good}"), "canary-body", 200),
            (format!("POST /api/v1/ingest/app HTTP/1.1{bad}"), "canary-body", 401),
            (format!("GET /api/v1/events?user=canary-filter HTTP/1.1{good}"), "", 200),
            (format!("GET /api/v1/canary-path HTTP/1.1{good}"), "", 404),
            (format!("GET /api/atlas/v2/groups?canary=1 HTTP/1.1{bad}"), "", 401),
            (format!("GET /metrics HTTP/1.1{bad}"), "", 401),
            ("POST /api/oauth/token HTTP/1.1".to_owned(), "client_secret=canary-secret", 401),
            ("GET /canary-path HTTP/1.1\r\nbad header canary".to_owned(), "", 400),
        ] {
            let (status, answer) = service.ask(&head, body.as_bytes());
            assert_eq!(status, expected, "{head}: {answer}");
        }
        send(&service.child, Signal::TERM);
        let (code, all) = service.end();
        assert_eq!(code, 0, "{all}");
        assert!(all.contains("serving") && all.contains("stopped"), "{all}");
        for canary in ["canary", "203.0.", private, public] {
            assert!(!all.contains(canary), "{canary} in\n{all}");
        }
    }
}

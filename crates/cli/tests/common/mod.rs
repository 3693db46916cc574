//! The built binary in a home of its own.

// What one test program does not use, another does.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// A data directory with room beside it for logs.
pub struct Home {
    dir: TempDir,
}

/// What a command did.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// It must have succeeded.
    #[track_caller]
    pub fn ok(self) -> Done {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It must have failed with this code, saying this.
    #[track_caller]
    pub fn fails(self, code: i32, part: &str) -> Done {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stderr.contains(part), "{part:?} is not in {self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        self
    }

    /// Its output as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        let done = self.ok();
        serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
    }

    /// Its output as one JSON value per line.
    #[track_caller]
    pub fn json_lines(self) -> Vec<Value> {
        let done = self.ok();
        let lines = done.stdout.lines();
        lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

impl Home {
    pub fn new() -> Home {
        Home { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    /// With the project `shop`, its cluster `orders`, and hosts `db-1:27017` and `db-2:27017`.
    pub fn with_shop() -> Home {
        let home = Home::new();
        home.shop();
        home
    }

    pub fn shop(&self) {
        self.run(&["project", "create", "shop"]).ok();
        let hosts = ["--host", "db-1", "--host", "db-2"];
        self.run(&[&["cluster", "create", "orders", "--project", "shop"][..], &hosts].concat())
            .ok();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorbook"));
        command.args(args).env("DOORBOOK_DATA_DIR", self.data_dir()).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: &[&str]) -> Done {
        finish(self.command(args).spawn().expect("the binary starts"))
    }

    pub fn run_with_stdin(&self, args: &[&str], stdin: &[u8]) -> Done {
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary starts");
        let mut to = child.stdin.take().expect("piped");
        // A command that refuses does not read.
        drop(to.write_all(stdin));
        drop(to);
        finish(child)
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).expect("the file is written");
        path.to_str().expect("UTF-8").to_owned()
    }

    /// Imports into `orders`.
    pub fn import(&self, host: &str, files: &[&str]) -> Done {
        let mut args = vec!["import", "--project", "shop", "--cluster", "orders", "--json"];
        if !host.is_empty() {
            args.extend(["--host", host]);
        }
        args.extend(files);
        self.run(&args)
    }

    /// The raw records of all events, oldest first.
    pub fn raw(&self) -> Vec<String> {
        let events = self.run(&["events", "--limit", "0", "--json"]).json_lines();
        let raw = |event: &Value| event["raw"].as_str().expect("a raw record").to_owned();
        events.iter().rev().map(raw).collect()
    }

    pub fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    pub fn serve_with(&self, words: &[&str]) -> Server {
        let words = [&["serve", "--listen", "127.0.0.1:0"], words].concat();
        let mut child = self.command(&words).spawn().expect("starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut ready = String::new();
        stdout.read_line(&mut ready).expect("readable");
        Server { child, stdout, ready }
    }
}

/// Waits for a command; a minute is an error.
#[track_caller]
pub fn finish(mut child: Child) -> Done {
    // Both pipes are read at once, so that neither fills up, and beside the wait, so that a command
    // that does not end is an error and not a test that does not end.
    let stdout = read(child.stdout.take().expect("piped"));
    let stderr = read(child.stderr.take().expect("piped"));
    let code = wait(&mut child);
    let text = |reader: JoinHandle<String>| reader.join().expect("no panic");
    Done { code, stdout: text(stdout), stderr: text(stderr) }
}

fn read(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        from.read_to_end(&mut text).expect("readable");
        String::from_utf8(text).expect("UTF-8")
    })
}

#[track_caller]
fn wait(child: &mut Child) -> i32 {
    for _ in 0..TRIES {
        if let Some(status) = child.try_wait().expect("waitable") {
            return status.code().unwrap_or(-1);
        }
        std::thread::sleep(PAUSE);
    }
    drop(child.kill());
    drop(child.wait());
    panic!("it does not end within a minute");
}

/// A minute.
const TRIES: u32 = 6000;
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until something is so; a minute is an error.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..TRIES {
        if is_so() {
            return;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("not within a minute: {what}");
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// Its first line.
    pub ready: String,
}

impl Server {
    /// Ends it with a signal; gives its exit code and what it printed after the first line.
    #[track_caller]
    pub fn stop(mut self, signal: rustix::process::Signal) -> (i32, String) {
        send(&self.child, signal);
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("readable");
        (wait(&mut self.child), rest)
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("waitable");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub fn send(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("it runs");
}

/// Lines of a log that begins with a start of db-1: per login its connection and its success.
pub fn log(numbers: std::ops::Range<u32>) -> String {
    let mut log = start("db-1");
    for n in numbers {
        log.push_str(&login(n));
    }
    log
}

/// A start of the process on a host.
pub fn start(host: &str) -> String {
    line(
        "02:00:00.000",
        "CONTROL",
        4_615_611,
        "initandlisten",
        &format!(
            r#""msg":"MongoDB starting","attr":{{"pid":1,"port":27017,"dbPath":"/d","architecture":"64-bit","host":"{host}"}}"#
        ),
    )
}

/// A connection with a login, one per millisecond; every tenth is refused.
pub fn login(n: u32) -> String {
    let at = format!("03:{:02}:{:02}.{:03}", n / 60_000 % 60, n / 1000 % 60, n % 1000);
    let remote = format!("10.0.{}.{}:{}", n / 200 % 200, n % 200, 10_000 + n % 50_000);
    let accepted = line(
        &at,
        "NETWORK",
        22_943,
        "listener",
        &format!(
            r#""msg":"Connection accepted","attr":{{"remote":"{remote}","uuid":"u","connectionId":{n},"connectionCount":1}}"#
        ),
    );
    let (id, msg, error) = match n % 10 {
        0 => (20_249, "Authentication failed", r#","error":"AuthenticationFailed: no""#),
        _ => (20_250, "Authentication succeeded", ""),
    };
    let attempt = line(
        &at,
        "ACCESS",
        id,
        &format!("conn{n}"),
        &format!(
            r#""msg":"{msg}","attr":{{"mechanism":"SCRAM-SHA-256","speculative":true,"principalName":"user{}","authenticationDatabase":"admin","remote":"{remote}","extraInfo":{{}}{error}}}"#,
            n % 7
        ),
    );
    accepted + &attempt
}

pub fn line(at: &str, component: &str, id: u32, context: &str, rest: &str) -> String {
    format!(
        "{{\"t\":{{\"$date\":\"2026-11-20T{at}+00:00\"}},\"s\":\"I\",  \"c\":\"{component}\",   \
         \"id\":{id}, \"ctx\":\"{context}\",{rest}}}\n"
    )
}

/// The permission bits of a file.
pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

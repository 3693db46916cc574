//! A real mongod with `--auth`, and the list of attempts that was made at it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;

use super::process::{Running, run, until};
use super::tools;

/// One login that `clients/attempts.py` tried, as it printed it.
#[derive(Clone, Debug, Deserialize)]
pub struct Attempt {
    #[expect(dead_code, reason = "a failing comparison prints it")]
    pub name: String,
    pub user: String,
    pub db: String,
    pub ok: bool,
    /// Failure lines it leaves in the log.
    pub failures: usize,
    /// Lines that say the user may not come from this address.
    pub restricted: usize,
    /// What the client called itself.
    pub application: Option<String>,
    /// Where it came from.
    #[serde(default)]
    pub address: Option<String>,
    /// It succeeded while the log was quiet.
    #[serde(default)]
    pub hidden: bool,
    /// The client's ports during the attempt: the driver's monitor has connections, too.
    pub ports: Vec<u16>,
    /// Seconds since 1970.
    pub from: f64,
    pub to: f64,
}

impl Attempt {
    /// How many rows of the access history it is.
    pub fn rows(&self) -> usize {
        usize::from(self.ok && !self.hidden) + self.failures + self.restricted
    }
}

/// What a test has done at a mongod, in its own order.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Step {
    /// Makes a user that may nothing but log in, by this mechanism or by both.
    Create { user: String, password: String, db: String, mechanism: Option<String> },
    /// Tries a login, which leaves so many failure lines.
    Login(Login),
    /// Makes the log quiet, or talkative again.
    Quiet { on: bool },
}

/// A login that is tried.
#[derive(Clone, Debug, Serialize)]
pub struct Login {
    pub user: String,
    pub password: String,
    pub db: String,
    pub mechanism: Option<String>,
    pub application: Option<String>,
    /// Where it comes from, of 127.0.0.0/8.
    pub address: String,
    pub failures: usize,
}

impl Login {
    /// One that succeeds, of a user that [`Step::create`] made.
    pub fn of(user: &str) -> Login {
        Login {
            user: user.to_owned(),
            password: USERS_PASSWORD.to_owned(),
            db: "admin".to_owned(),
            mechanism: None,
            application: None,
            address: "127.0.0.1".to_owned(),
            failures: 0,
        }
    }

    pub fn from(self, address: &str) -> Login {
        Login { address: address.to_owned(), ..self }
    }

    pub fn with(self, application: &str) -> Login {
        Login { application: Some(application.to_owned()), ..self }
    }

    pub fn by(self, mechanism: &str) -> Login {
        Login { mechanism: Some(mechanism.to_owned()), ..self }
    }

    /// One with a wrong password.
    pub fn that_fails(self) -> Login {
        Login { password: "a guess".to_owned(), failures: 1, ..self }
    }

    /// One of a user that is not there: the driver tries twice.
    pub fn of_nobody(self) -> Login {
        Login { failures: 2, ..self.that_fails() }
    }
}

impl Step {
    /// Makes a user that may log in, by one mechanism or by both.
    pub fn create(user: &str, mechanism: Option<&str>) -> Step {
        Step::Create {
            user: user.to_owned(),
            password: USERS_PASSWORD.to_owned(),
            db: "admin".to_owned(),
            mechanism: mechanism.map(str::to_owned),
        }
    }
}

const PASSWORD: &str = "a root password";

/// The password of all users that steps make.
const USERS_PASSWORD: &str = "open sesame";

/// A mongod that runs as long as this value lives.
pub struct Mongod {
    folder: TempDir,
    binary: PathBuf,
    arguments: Vec<OsString>,
    port: u16,
    python: PathBuf,
    attempts: Vec<Attempt>,
    /// What it calls itself, such as `6.0.5`.
    pub version: String,
    running: Option<Running>,
    copies: u32,
    /// A step made its log quiet.
    is_quiet: bool,
    /// The socket that is its `/dev/log`, if it has one in place of a log.
    syslog: Option<PathBuf>,
}

impl Mongod {
    /// Starts the binary and makes the users, the first one through the localhost exception.
    pub fn start(binary: &Path, python: PathBuf) -> Result<Mongod> {
        Mongod::start_with(binary, python, &[])
    }

    /// The same, with further arguments.
    pub fn start_with(binary: &Path, python: PathBuf, arguments: &[&OsStr]) -> Result<Mongod> {
        let arguments = [&["--logappend".as_ref()], arguments].concat();
        Mongod::start_as_it_is(binary, python, &arguments)
    }

    /// The same without `--logappend`: with these arguments only, and those without which no test can be.
    pub fn start_as_it_is(binary: &Path, python: PathBuf, arguments: &[&OsStr]) -> Result<Mongod> {
        Mongod::start_logging_to(None, binary, python, arguments)
    }

    /// One that writes to syslog, and to nothing else: this socket is `/dev/log` to it.
    pub fn start_on_syslog(
        binary: &Path,
        python: PathBuf,
        socket: &Path,
        arguments: &[&OsStr],
    ) -> Result<Mongod> {
        Mongod::start_logging_to(Some(socket.to_owned()), binary, python, arguments)
    }

    fn start_logging_to(
        syslog: Option<PathBuf>,
        binary: &Path,
        python: PathBuf,
        arguments: &[&OsStr],
    ) -> Result<Mongod> {
        let folder = TempDir::with_prefix("doorbook-mongod-")?;
        for name in ["db", "log", "dev"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        let version = version(binary)?;
        let port = free_port()?;
        let (binary, arguments) =
            (binary.to_owned(), arguments.iter().map(OsString::from).collect());
        let (attempts, running) = (Vec::new(), None);
        let mut mongod = Mongod {
            folder,
            binary,
            arguments,
            port,
            python,
            attempts,
            version,
            running,
            copies: 0,
            is_quiet: false,
            syslog,
        };
        mongod.run()?;
        mongod.attempt("setup", "")?;
        Ok(mongod)
    }

    /// Stops it and starts it again. It goes on with the same log.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.run()
    }

    fn run(&mut self) -> Result<()> {
        let folder = self.folder.path();
        let mut command = match &self.syslog {
            None => {
                let mut command = Command::new(&self.binary);
                command.arg("--logpath").arg(folder.join("log/mongod.log"));
                command
            }
            Some(socket) => {
                let mut command = with_dev_log(socket, &folder.join("dev"))?;
                command.arg(&self.binary).arg("--syslog");
                command
            }
        };
        command.arg("--auth").arg("--dbpath").arg(folder.join("db"));
        command.args(["--bind_ip", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args(["--unixSocketPrefix".as_ref(), folder.as_os_str()]);
        command.args(&self.arguments);
        self.running = Some(Running::start(&mut command)?);
        Ok(())
    }

    /// The folder with the log and its rotated predecessors.
    pub fn logs(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The log that is being written.
    pub fn log(&self) -> PathBuf {
        self.logs().join("mongod.log")
    }

    /// `localhost:PORT`-like name under which the tests register it.
    pub fn host(&self) -> String {
        format!("db-1.example.net:{}", self.port)
    }

    /// The name that it calls itself by in its log.
    pub fn own_name(&self) -> Result<String> {
        name_in(&std::fs::read_to_string(self.log())?)
    }

    /// Runs the scripted attempts. `round` tells the rounds of one test apart.
    pub fn run_attempts(&mut self, round: &str) -> Result<()> {
        self.attempt("run", round)
    }

    /// Rotates the log, which needs a login, too.
    pub fn rotate(&mut self) -> Result<()> {
        let logs = self.logs();
        let files = || Ok::<_, anyhow::Error>(std::fs::read_dir(&logs)?.count());
        let before = files()?;
        // A rotated log has the second in its name, and mongod refuses to overwrite one.
        let begun = self.log().metadata()?.created()?;
        until("another second", || {
            Ok((begun.elapsed().unwrap_or_default() > Duration::from_secs(1)).then_some(()))
        })?;
        self.attempt("rotate", "")?;
        until("a rotated log", || Ok((files()? > before).then_some(())))
    }

    /// Rotates the log as `copytruncate` does: a copy beside it, then it is cut short. What mongod
    /// writes in between is lost; `between` is done then.
    pub fn copy_and_truncate(
        &mut self,
        between: impl FnOnce(&mut Mongod) -> Result<()>,
    ) -> Result<()> {
        let logs = self.logs();
        let copy = |number: u32| logs.join(format!("mongod.log.{number}"));
        for number in (1..=self.copies).rev() {
            std::fs::rename(copy(number), copy(number + 1))?;
        }
        std::fs::copy(self.log(), copy(1))?;
        self.copies += 1;
        between(self)?;
        Ok(File::options().write(true).open(self.log())?.set_len(0)?)
    }

    /// Makes the users `counter`, which may read the counters, and `ghost`. Returns the password of the
    /// first.
    pub fn make_counter(&mut self) -> Result<&'static str> {
        self.attempt("monitor", "")?;
        Ok(PASSWORD)
    }

    /// Carries out steps. Users are made, and the log is made quiet, by one login of `root`.
    pub fn carry_out(&mut self, steps: &[Step]) -> Result<()> {
        let plan = self.folder.path().join("plan");
        let lines = steps.iter().map(|step| Ok(serde_json::to_string(step)? + "\n"));
        std::fs::write(&plan, lines.collect::<Result<String>>()?)?;
        self.attempt("plan", "")?;
        let quiet = steps.iter().rev().find_map(|step| match step {
            Step::Quiet { on } => Some(*on),
            _ => None,
        });
        self.is_quiet = quiet.unwrap_or(self.is_quiet);
        Ok(())
    }

    /// Five logins while its log is quiet, between two that are not.
    pub fn log_in_quietly(&mut self) -> Result<()> {
        self.attempt("quiet", "")
    }

    /// Three logins of the user `ghost`.
    pub fn log_in_as_ghost(&mut self) -> Result<()> {
        self.attempt("ghost", "")
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What was tried so far.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Takes back what was tried after the first `n`.
    pub fn take_attempts_after(&mut self, n: usize) -> Vec<Attempt> {
        self.attempts.split_off(n)
    }

    /// Successful logins as mongod itself counts them: a witness that is neither its log nor ours.
    /// Counting takes a login, which is the last one.
    pub fn successes_by_its_own_count(&mut self) -> Result<u64> {
        let printed = self.script("counters", "")?;
        let (counts, login) = printed.split_once('\n').context("counts, and a login")?;
        let counts: BTreeMap<String, u64> = serde_json::from_str(counts)?;
        self.attempts.push(serde_json::from_str(login).with_context(|| login.to_string())?);
        Ok(counts.values().sum())
    }

    /// Stops it in good order, so that its log is complete.
    pub fn stop(&mut self) -> Result<()> {
        let Some(running) = self.running.take() else { return Ok(()) };
        let ended = running.terminate()?;
        ensure!(ended.status.success(), "mongod {}: {}", self.version, ended.status);
        Ok(())
    }

    fn attempt(&mut self, what: &str, round: &str) -> Result<()> {
        for line in self.script(what, round)?.lines() {
            self.attempts.push(serde_json::from_str(line).with_context(|| line.to_string())?);
        }
        Ok(())
    }

    fn script(&self, what: &str, round: &str) -> Result<String> {
        let mut command = Command::new(&self.python);
        command.arg(tools::script("attempts.py")).arg(what);
        command.args(["--port", &self.port.to_string(), "--password", PASSWORD, "--round", round]);
        command.arg("--plan").arg(self.folder.path().join("plan"));
        if self.is_quiet {
            command.arg("--quiet");
        }
        run(&mut command).with_context(|| self.end_of_log())
    }

    fn end_of_log(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        format!("the log ends: {:#?}", &lines[lines.len().saturating_sub(10)..])
    }
}

/// The number in the first line of `mongod --version`: `db version v6.0.5`.
fn version(binary: &Path) -> Result<String> {
    let printed = run(Command::new(binary).arg("--version"))?;
    let first = printed.lines().next().unwrap_or_default();
    let number = first.strip_prefix("db version v");
    Ok(number
        .with_context(|| format!("{} is not a mongod: {first}", binary.display()))?
        .to_string())
}

/// What mongod calls itself in the line "MongoDB starting".
pub fn name_in(log: &str) -> Result<String> {
    let line = log.lines().find(|line| line.contains("\"MongoDB starting\""));
    let line: Value = serde_json::from_str(line.context("it does not say what it is called")?)?;
    let (host, port) = (&line["attr"]["host"], &line["attr"]["port"]);
    Ok(format!("{}:{port}", host.as_str().context("a host")?))
}

/// Runs what is added to it with a `/dev` of its own, of which `/dev/log` is the socket and the rest the
/// machine's, mounted at `devices`. Nobody else sees it.
fn with_dev_log(socket: &Path, devices: &Path) -> Result<Command> {
    const SCRIPT: &str = "\
        set -e
        mount --rbind /dev \"$1\"
        mount -t tmpfs -o mode=755 tmpfs /dev
        for name in null zero full random urandom; do ln -s \"$1/$name\" \"/dev/$name\"; done
        ln -s \"$2\" /dev/log
        shift 2
        exec \"$@\"";
    let words = tools::own_dev().context("unshare gives nobody a /dev")?;
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["sh", "-c", SCRIPT, "sh"]).arg(devices).arg(socket);
    Ok(command)
}

/// A port that nothing listens on. Another process may take it before mongod does, which then says so.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

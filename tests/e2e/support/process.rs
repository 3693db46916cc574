//! Child processes: run one to its end, or keep one and stop it as a user would.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before a test gives up on it. Far beyond what is normal, because it
/// decides only how soon a broken run ends, never whether a slow machine passes.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Runs to the end and demands success. Returns what was written to stdout.
pub fn run(command: &mut Command) -> Result<String> {
    let output = outcome(command)?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} wrote what is not UTF-8"))
}

/// Runs to the end, whatever it is.
pub fn outcome(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))
}

/// A process that goes on while the test does. Killed when dropped.
pub struct Running {
    child: Child,
    /// What it was started as, for messages.
    name: String,
    lines: Receiver<String>,
    seen: Vec<String>,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    /// Starts it with stdout and stderr captured.
    pub fn start(command: &mut Command) -> Result<Running> {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {name}"))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut stderr = child.stderr.take().context("stderr is piped")?;
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let stderr = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read before an error is still what a failing test wants to show.
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Ok(Running { child, name, lines, seen: Vec::new(), stderr: Some(stderr) })
    }

    /// Waits for a line of stdout that `find` finds something in.
    pub fn wait_for<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let found = find(&line);
                    self.seen.push(line);
                    if let Some(found) = found {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} wrote nothing more after {:?}", self.name, self.seen)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    let stderr = self.stderr();
                    bail!("{} ended ({status}) after {:?}\n{stderr}", self.name, self.seen)
                }
            }
        }
    }

    /// Fails if it has ended, with what it said.
    pub fn is_still_running(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let stderr = self.stderr();
        bail!("{} ended ({status})\n{stderr}", self.name)
    }

    /// Every line of stdout that [`Running::wait_for`] has passed.
    pub fn seen(&self) -> &[String] {
        &self.seen
    }

    /// Presses Ctrl-C and waits for the end.
    pub fn interrupt(self) -> Result<Ended> {
        self.stop(Signal::INT)
    }

    /// Asks it to end, as a service manager does, and waits.
    pub fn terminate(self) -> Result<Ended> {
        self.stop(Signal::TERM)
    }

    /// Kills it, as a power cut would.
    pub fn kill(self) -> Result<Ended> {
        self.stop(Signal::KILL)
    }

    fn stop(mut self, signal: Signal) -> Result<Ended> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))?;
        // The sender goes when the process closes stdout, which it does when it ends.
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => bail!("{} did not stop on {signal:?}", self.name),
            }
        }
        let status = self.child.wait()?;
        Ok(Ended { status, stderr: self.stderr() })
    }

    fn stderr(&mut self) -> String {
        let handle = self.stderr.take();
        handle.and_then(|handle| handle.join().ok()).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already, and there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a [`Running`] process ended.
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// All of its stderr.
    pub stderr: String,
}

/// Calls `find` until it finds something.
pub fn until<T>(what: &str, mut find: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    const PAUSE: Duration = Duration::from_millis(50);
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        if let Some(found) = find()? {
            return Ok(found);
        }
        std::thread::sleep(PAUSE);
    }
    bail!("{what} did not happen within {PATIENCE:?}")
}

/// A command with its arguments.
pub fn command<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

//! A real rsyslogd that listens on a socket of its own and forwards.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::process::{Running, until};

/// An rsyslogd that runs as long as this value lives, with its folder.
pub struct Rsyslog {
    installed: PathBuf,
    folder: TempDir,
    running: Option<Running>,
}

impl Rsyslog {
    /// Not started yet. `config` makes its configuration of what it needs to listen; what it forwards to
    /// knows it as `host`.
    pub fn new(installed: &Path, host: &str, config: impl Fn(&str) -> String) -> Result<Rsyslog> {
        let folder = TempDir::with_prefix("doorbook-rsyslog-")?;
        fs::create_dir(folder.path().join("spool"))?;
        let rsyslog = Rsyslog { installed: installed.to_owned(), folder, running: None };
        let listen = format!(
            "global(workDirectory=\"{}\" net.enableDNS=\"off\" localHostname=\"{host}\")\n\
             module(load=\"imuxsock\" sysSock.use=\"off\")\n\
             input(type=\"imuxsock\" socket=\"{}\" createPath=\"off\")\n",
            rsyslog.folder.path().join("spool").display(),
            rsyslog.socket().display(),
        );
        fs::write(rsyslog.config(), config(&listen))?;
        Ok(rsyslog)
    }

    /// Starts it; it listens when this returns.
    pub fn start(&mut self) -> Result<()> {
        let usr = self.installed.join("usr");
        let modules = fs::read_dir(usr.join("lib"))?
            .filter_map(|entry| Some(entry.ok()?.path().join("rsyslog")))
            .find(|path| path.is_dir())
            .context("rsyslog has modules")?;
        let libraries = modules.parent().context("modules are beside libraries")?;
        let mut command = Command::new(usr.join("sbin/rsyslogd"));
        command.env("LD_LIBRARY_PATH", libraries).args(["-n", "-i", "NONE", "-f"]);
        command.arg(self.config()).arg("-M").arg(&modules);
        let mut running = Running::start(&mut command)?;
        until("rsyslog to listen", || match self.connect() {
            Ok(_) => Ok(Some(())),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
            {
                running.is_still_running().map(|()| None)
            }
            Err(error) => Err(error.into()),
        })?;
        self.running = Some(running);
        Ok(())
    }

    /// Stops it in good order: what its queues hold is on the disk.
    pub fn stop(&mut self) -> Result<()> {
        let Some(running) = self.running.take() else { return Ok(()) };
        let ended = running.terminate()?;
        ensure!(ended.status.success(), "rsyslog: {}\n{}", ended.status, ended.stderr);
        Ok(())
    }

    /// What takes the place of `/dev/log`.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("log.sock")
    }

    /// Writes a message as `syslog(3)` does.
    pub fn log(&self, program: &str, text: &str) -> Result<()> {
        let message = format!("<14>Nov 23 05:22:54 {program}: {text}\n");
        self.connect()?.send(message.as_bytes())?;
        Ok(())
    }

    fn connect(&self) -> std::io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(self.socket())?;
        Ok(socket)
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("rsyslog.conf")
    }
}

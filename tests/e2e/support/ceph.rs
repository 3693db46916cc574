//! A real Ceph in memory, as small as it can be, with its S3 gateway and the gateway's ops log.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::mongod::free_port;
use super::process::{Running, outcome, run, until};
use super::tools;

/// A monitor, one store in memory and a gateway, which run as long as this value lives.
pub struct Ceph {
    folder: TempDir,
    /// `127.0.0.1:PORT` of the gateway.
    pub endpoint: String,
    // What asks another one ends first.
    _gateway: Running,
    _store: Running,
    _monitor: Running,
}

impl Ceph {
    /// Starts it; the gateway answers when this returns. `gateway` is further configuration.
    pub fn start(gateway: &str) -> Result<Ceph> {
        let folder = TempDir::with_prefix("doorbook-ceph-")?;
        let at = folder.path();
        for name in ["mon", "osd", "run"] {
            fs::create_dir(at.join(name))?;
        }
        let (port, monitor_port) = (free_port()?, free_port()?);
        let here = at.display();
        // Its data is small: that the disk is nearly full is no reason to stop.
        fs::write(
            at.join("ceph.conf"),
            format!(
                "[global]\n\
                 fsid = 6c9f4f51-2f0c-4b53-9f0e-0d4a3c0d7a11\n\
                 mon host = v1:127.0.0.1:{monitor_port}\n\
                 ms bind msgr2 = false\n\
                 mon initial members = a\n\
                 auth cluster required = none\n\
                 auth service required = none\n\
                 auth client required = none\n\
                 osd pool default size = 1\n\
                 osd pool default min size = 1\n\
                 osd pool default pg num = 4\n\
                 mon allow pool size one = true\n\
                 osd crush chooseleaf type = 0\n\
                 osd class update on start = false\n\
                 osd crush update on start = false\n\
                 osd objectstore = memstore\n\
                 memstore device bytes = 1073741824\n\
                 public addr = 127.0.0.1\n\
                 cluster addr = 127.0.0.1\n\
                 admin socket = {here}/run/$name.asok\n\
                 log file = {here}/run/$name.log\n\
                 run dir = {here}/run\n\
                 crash dir = {here}/run\n\
                 mon data = {here}/mon\n\
                 mon data avail crit = 0\n\
                 mon data avail warn = 0\n\
                 osd data = {here}/osd\n\
                 rgw thread pool size = 32\n\
                 {gateway}\n"
            ),
        )?;
        let command = |words: &[&str]| command(at, words);
        let address = format!("[v1:127.0.0.1:{monitor_port}]");
        let map = at.join("map");
        let map = map.to_str().context("temporary paths are UTF-8")?;
        let fsid = ["--fsid", "6c9f4f51-2f0c-4b53-9f0e-0d4a3c0d7a11"];
        let monmap = ["monmaptool", "--create", "--addv", "a", &*address];
        run(&mut command(&[&monmap[..], &fsid, &[map]].concat()))?;
        run(&mut command(&["ceph-mon", "--mkfs", "-i", "a", "--monmap", map]))?;
        let monitor = Running::start(&mut command(&["ceph-mon", "-f", "-i", "a"]))?;
        let id = "2f1f3a5e-8f9a-4f0b-9d52-4a8f1f3f7c22";
        // Waits for the monitor.
        tell(at, &["--connect-timeout", "60", "osd", "new", id])?;
        run(&mut command(&["ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", id]))?;
        tell(at, &["osd", "crush", "add", "osd.0", "1.0", "host=localhost", "root=default"])?;
        let store = Running::start(&mut command(&["ceph-osd", "-f", "-i", "0"]))?;
        let frontend = format!("--rgw-frontends=beast endpoint=127.0.0.1:{port}");
        let mut gateway =
            Running::start(&mut command(&["radosgw", "-n", "client.rgw.a", "-f", &frontend]))?;
        let endpoint = format!("127.0.0.1:{port}");
        until("the gateway to listen", || match TcpStream::connect(&endpoint) {
            Ok(_) => Ok(Some(())),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                gateway.is_still_running().map(|()| None)
            }
            Err(error) => Err(error.into()),
        })?;
        Ok(Ceph { folder, endpoint, _gateway: gateway, _store: store, _monitor: monitor })
    }

    /// A user of the gateway. The access key is the name, the secret `secret-NAME`.
    pub fn user(&self, name: &str) -> Result<()> {
        let (uid, display) = (format!("--uid={name}"), format!("--display-name={name}"));
        let (key, secret) = (format!("--access-key={name}"), format!("--secret-key=secret-{name}"));
        let words = ["radosgw-admin", "user", "create", &uid, &display, &key, &secret];
        run(&mut command(self.folder.path(), &words)).map(drop)
    }

    /// Asks it for one thing, signed by a user.
    pub fn ask(
        &self,
        user: &str,
        method: &str,
        target: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Result<()> {
        let python = tools::tiledb_python().context("a test that asks has Python")?;
        let file = self.folder.path().join("body");
        fs::write(&file, body)?;
        let mut client = Command::new(python);
        client.arg(tools::script("s3.py")).args([&*self.endpoint, user, method, target]);
        client.args(headers).stdin(fs::File::open(&file)?);
        let answer = client.output().context("python runs")?;
        ensure!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        Ok(())
    }
}

/// Has the monitor do something that it may be told twice.
fn tell(folder: &Path, words: &[&str]) -> Result<()> {
    until("the monitor to obey", || {
        let told = outcome(&mut command(folder, &[&["ceph"], words].concat()))?;
        let why = String::from_utf8_lossy(&told.stderr);
        // While it starts, it cannot say which commands it has.
        let is_starting = why.contains("problem getting command descriptions");
        ensure!(told.status.success() || is_starting, "{words:?}: {why}");
        Ok(told.status.success().then_some(()))
    })
}

fn command(folder: &Path, words: &[&str]) -> Command {
    let mut command = super::process::command(words[0], &words[1..]);
    command.env("CEPH_CONF", folder.join("ceph.conf")).current_dir(folder);
    command
}

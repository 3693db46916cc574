//! Arrays of the real `tiledb` package, watched where they are stored: on disk and on a real S3 gateway.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::pages::{Block, blocks};
use crate::support::DataDir;
use crate::support::binary::Server;
use crate::support::ceph::Ceph;
use crate::support::process::{run, until};
use crate::support::tools::{self, left_out};

const PAGE: &str = "docs/sources/tiledb-storage.md";

/// The parts of the work, in their order: what a later one removes is to be seen before.
pub const PARTS: [&str; 5] = ["work", "evolve", "vacuum", "move", "delete"];

/// What the client says that it did.
#[derive(Debug, Deserialize)]
struct Done {
    array: String,
    operation: String,
}

/// How often what was done with which array.
type Counts = BTreeMap<(String, String), u64>;

/// A place that is watched, and the client that works there.
pub struct Scene {
    pub data: DataDir,
    pub server: Server,
    python: PathBuf,
    place: String,
    endpoint: Option<String>,
    done: Counts,
}

/// Goal: what is done with arrays on disk, with a program that knows nothing of Doorbook, is in their
/// history: each operation once, nobody named who is not known, and reads not said to be watched. Method: the
/// page's configuration and commands; the list of what the real `tiledb` did is the truth; a restart
/// between the parts.
#[test]
fn arrays_on_disk_are_watched() -> Result<()> {
    let Some(python) = tools::tiledb_python() else {
        left_out("arrays on disk, watched", "no Python environment with tiledb");
        return Ok(());
    };
    let data = DataDir::new()?;
    let arrays = data.folder().canonicalize()?.join("arrays");
    std::fs::create_dir(&arrays)?;
    let place = arrays.to_str().context("temporary paths are UTF-8")?.to_owned();
    let with_bucket = page()?;
    let file = with_bucket.split("[[source]]").take(2).collect::<Vec<_>>().join("[[source]]");
    let file = file.replace("/srv/arrays", &place) + "interval_seconds = 1\n";
    let mut scene = Scene::new(data, python, place, None, &file)?;
    for part in PARTS {
        scene.work(part)?;
        if part == "evolve" {
            scene = scene.restart()?;
        }
    }
    scene.end()
}

/// Goal: the same in a bucket of a real gateway. Method: the same, with the key of the page's `[[bucket]]`.
#[test]
fn arrays_in_a_bucket_are_watched() -> Result<()> {
    let Some(python) = tools::tiledb_python().filter(|_| tools::has_ceph()) else {
        left_out("arrays in a bucket, watched", "no Ceph; `cargo xtask test` installs one");
        return Ok(());
    };
    let ceph = Ceph::start("")?;
    ceph.user("ann")?;
    let data = DataDir::new()?;
    let secret = data.folder().join("s3.secret");
    std::fs::write(&secret, "secret-ann\n")?;
    let page = page()?;
    let (_, of_bucket) =
        page.split_once("\n[[source]]\nname = \"lake.s3\"").context("two sources")?;
    let file = format!("version = 1\n[[source]]\nname = \"lake.s3\"{of_bucket}")
        .replace("https://s3.example.com", &format!("http://{}", ceph.endpoint))
        .replace("\"doorbook\"", "\"ann\"")
        .replace("/etc/doorbook/s3.secret", secret.to_str().context("UTF-8")?)
        .replace("interval_seconds = 60", "interval_seconds = 1");
    let place = "s3://arrays/prod".to_owned();
    let endpoint = Some(ceph.endpoint.clone());
    let mut scene = Scene::new(data, python, place, endpoint, &file)?;
    for part in PARTS {
        scene.work(part)?;
    }
    scene.end()
}

/// The file of the page.
fn page() -> Result<String> {
    let files = blocks(PAGE)?.into_iter().filter_map(|block| match block {
        Block::Toml(file) => Some(file),
        Block::Shell(_) => None,
    });
    files.into_iter().next().context("the page has a file")
}

impl Scene {
    /// Has the file applied as the page says, and a server running.
    pub fn new(
        data: DataDir,
        python: PathBuf,
        place: String,
        endpoint: Option<String>,
        file: &str,
    ) -> Result<Scene> {
        std::fs::write(data.folder().join("doorbook.toml"), file)?;
        for block in blocks(PAGE)? {
            let Block::Shell(lines) = block else { continue };
            for line in
                lines.lines().filter(|line| line.contains(" user ") || line.ends_with("apply"))
            {
                let words: Vec<&str> = line.split_whitespace().skip(1).collect();
                data.run(&words).map(drop)?;
            }
        }
        let server = data.serve(&["--config", "doorbook.toml"])?;
        Ok(Scene { data, server, python, place, endpoint, done: Counts::new() })
    }

    /// Does a part of the work, and waits until it is told: all of it, and nothing else.
    pub fn work(&mut self, part: &str) -> Result<()> {
        let mut client = Command::new(&self.python);
        client.arg(tools::script("tiledb_storage.py")).args([&*self.place, part]);
        client.args(&self.endpoint);
        // A gateway of 16.2 does not know the checksums that newer clients send.
        client.env("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required");
        client.env("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required");
        for line in run(&mut client)?.lines() {
            let Done { array, operation } = serde_json::from_str(line)?;
            *self.done.entry((array, operation)).or_default() += 1;
        }
        let told = until(&format!("{part} to be told"), || {
            let told = self.told()?;
            let is_all = self.done.iter().all(|(of, n)| told.get(of).is_some_and(|told| told >= n));
            Ok(is_all.then_some(told))
        });
        let told = told.with_context(|| format!("{:?}\nand not {:?}", self.told(), self.done))?;
        ensure!(
            told == self.done,
            "{part}: {told:?}\nand not {:?}\n{:#?}",
            self.done,
            self.events()?
        );
        Ok(())
    }

    fn told(&self) -> Result<Counts> {
        let mut told = Counts::new();
        for event in self.events()? {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            if text("action") == "register" {
                continue;
            }
            ensure!(
                event["user"].is_null() && event["address"].is_null(),
                "nobody is guessed: {event}"
            );
            *told.entry((self.name_of(&text("array"))?, text("action"))).or_default() += 1;
        }
        Ok(told)
    }

    fn events(&self) -> Result<Vec<Value>> {
        let printed = self.data.run(&["events", "--namespace", "alice", "--json"])?;
        printed.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// What an id is called in the registry.
    fn name_of(&self, id: &str) -> Result<String> {
        let arrays: Vec<Value> = self.data.json(&["array", "list"])?;
        let found = arrays.iter().find(|array| array["id"] == id);
        let name = found.and_then(|array| array["name"].as_str());
        Ok(name.with_context(|| format!("{id} in {arrays:?}"))?.to_owned())
    }

    fn restart(mut self) -> Result<Scene> {
        self.server.kill()?;
        self.server = self.data.serve(&["--config", "doorbook.toml"])?;
        Ok(self)
    }

    /// What is known of it: writes are watched, and reads are not.
    pub fn end(self) -> Result<()> {
        let gaps: Vec<Value> = self.data.json(&["coverage"])?;
        for gap in &gaps {
            // The restart.
            if gap["cause"].as_str().is_some_and(|cause| cause.contains("while nobody looked")) {
                continue;
            }
            let actions = gap["actions"].to_string();
            ensure!(actions.contains("query_read") && gap["cause"] == "no source", "{gap}");
            ensure!(!actions.contains("query_write"), "{gap}");
        }
        ensure!(!gaps.is_empty(), "reads are not watched");
        let sources: Vec<Value> = self.data.json(&["source", "list"])?;
        ensure!(sources[0]["state"] == "following", "{sources:?}");
        ensure!(Path::new(&self.place).starts_with("/") == self.endpoint.is_none());
        self.server.stop()
    }
}

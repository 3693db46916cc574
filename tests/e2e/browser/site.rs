//! A server that a real mongod and real TileDB arrays fill, and the people who look at it.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::support::DataDir;
use crate::support::binary::{Key, Project, ROLE, Server};
use crate::support::browser::Browser;
use crate::support::http::Connection;
use crate::support::mongod::{Attempt, Login, Mongod, Step};
use crate::support::process::{run, until};
use crate::support::tools;

/// The host of the archive.
const HOST: &str = "db-1.example.com:27017";

/// Alice, who may read two projects and has arrays; bob, who may nothing; carol, whose role does not do; dave,
/// who owns the project; and erin, who is an administrator.
const USERS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// A mongod that is followed, arrays that are watched, and the log of quickstart as it was imported, of a day long ago.
pub struct Site {
    pub data: DataDir,
    pub server: Server,
    pub mongod: Mongod,
    /// The project with the cluster that the mongod is.
    pub project: Project,
    /// The one with the old log.
    pub archive: Project,
    key: Key,
}

/// A browser, and what it looks at; `None`, with a word, where a tool is missing.
pub fn start(what: &str) -> Result<Option<(Browser, Site)>> {
    let Some((python, mongods)) = tools::needed(what) else { return Ok(None) };
    let Some(browser) = Browser::start(what)? else { return Ok(None) };
    let binary = mongods.first().context("one at least is needed")?;
    // What it collects for its makers trips over names with control characters, and ends it.
    let arguments = ["--setParameter", "diagnosticDataCollectionEnabled=false"].map(OsStr::new);
    let mut site = Site::new(Mongod::start_with(binary, python, &arguments)?)?;
    site.do_steps(&night())?;
    Ok(Some((browser, site)))
}

/// Who tried to get in.
fn night() -> Vec<Step> {
    let create = |user| Step::create(user, None);
    let shell = "mongosh 2.1.1";
    vec![
        create("ann"),
        create("ben"),
        create("orders-api"),
        Step::Login(Login::of("ann").from("127.0.0.2").with(shell)),
        Step::Login(Login::of("orders-api").from("127.0.0.11").with("orders-api")),
        Step::Login(
            Login::of("orders-api").from("127.0.0.12").with("orders-api").by("SCRAM-SHA-1"),
        ),
        Step::Login(Login::of("ben").from("127.0.0.3").with(shell).that_fails()),
        Step::Login(Login::of("ben").from("127.0.0.3").with(shell).that_fails()),
        Step::Login(Login::of("ben").from("127.0.0.3").by("SCRAM-SHA-256").that_fails()),
        Step::Login(Login::of("ben").from("127.0.0.3").with(shell)),
        Step::Login(Login::of("mallory").from("127.0.0.66").of_nobody()),
        Step::Login(Login::of("ann").from("127.0.0.2").with("import").that_fails()),
    ]
}

impl Site {
    fn new(mongod: Mongod) -> Result<Site> {
        let data = DataDir::new()?;
        for name in USERS {
            let file = data.folder().join(name);
            std::fs::write(&file, password(name))?;
            let file = file.to_str().context("temporary paths are UTF-8")?;
            data.run(&["user", "create", name, "--password-file", file])?;
        }
        let home = data.folder().canonicalize()?;
        for folder in ["lake", "arrays"] {
            std::fs::create_dir(home.join(folder))?;
        }
        let (name, log, lake) = (mongod.own_name()?, mongod.log(), home.join("lake"));
        let file = format!(
            "version = 1\n\
             [[project]]\nname = \"Orders\"\n[[project.cluster]]\nname = \"orders\"\nhosts = [{name:?}]\n\
             [[project]]\nname = \"Archive\"\n[[project.cluster]]\nname = \"archive\"\nhosts = [{HOST:?}]\n\
             [[source]]\nname = \"orders.db-1\"\nproject = \"Orders\"\nkind = \"mongod-log\"\npath = {log:?}\n\
             [[source]]\nname = \"lake\"\nkind = \"tiledb-storage\"\nnamespace = \"alice\"\n\
             path = \"file://{}\"\ninterval_seconds = 1\n",
            lake.display()
        );
        std::fs::write(home.join("doorbook.toml"), file)?;
        data.run(&["apply"])?;
        let projects: Vec<Project> = data.json(&["project", "list"])?;
        let (mut of_cluster, mut archives): (Vec<_>, Vec<_>) =
            projects.into_iter().partition(|project| project.name == "Orders");
        let project = of_cluster.pop().context("a project")?;
        let archive = archives.pop().context("an archive")?;
        let sample = tools::workspace().join("crates/cli/sample/mongod.log");
        let sample = sample.to_str().context("a path of this workspace is UTF-8")?;
        let of_archive = ["--project", "Archive", "--cluster", "archive", "--host", HOST];
        data.run(&[&["import"], &of_archive[..], &[sample]].concat())?;
        for (user, project, role) in [
            ("alice", &project, "GROUP_CLUSTER_LOG_VIEWER"),
            ("alice", &archive, "GROUP_CLUSTER_LOG_VIEWER"),
            ("carol", &project, "GROUP_READ_ONLY"),
            ("dave", &project, "GROUP_OWNER"),
        ] {
            data.run(&["user", "grant", user, "--project", &project.id, "--role", role])?;
        }
        data.run(&["user", "grant", "erin", "--administrator"])?;
        let key = data.json(&["key", "create", "--project", &project.id, "--role", ROLE])?;
        let server = data.serve(&["--config", "doorbook.toml", "--array-root", "arrays"])?;
        let site = Site { data, server, mongod, project, archive, key };
        site.has_come()?;
        Ok(site)
    }

    /// Has somebody do something at the mongod, and waits until the server tells all of it.
    pub fn do_steps(&mut self, steps: &[Step]) -> Result<()> {
        self.mongod.carry_out(steps)?;
        self.has_come()
    }

    fn has_come(&self) -> Result<()> {
        let made: usize = self.mongod.attempts().iter().map(Attempt::rows).sum();
        let told = || self.server.events(&self.project, &self.key);
        until("all that was attempted", || Ok((told()? >= made as u64).then_some(())))?;
        let told = told()?;
        ensure!(told == made as u64, "{made} were made, and {told} are told");
        Ok(())
    }

    /// What was tried, as rows of the page show it: one for each attempt that left a line.
    pub fn tried(&self, which: impl Fn(&Attempt) -> bool) -> Vec<Tried> {
        let attempts = self.mongod.attempts().iter().filter(|a| a.rows() > 0 && which(a));
        let mut tried: Vec<Tried> = attempts.map(Tried::of).collect();
        tried.sort();
        tried
    }

    /// Lines that cannot be read, written into the log by somebody else, and lines of a host that nobody knows.
    pub fn disturb(&self, names: &[&str]) -> Result<()> {
        let log = std::fs::read_to_string(self.mongod.log())?;
        let failure = log.lines().find(|line| line.contains("\"principalName\":\"ben\""));
        let failure = failure.context("ben failed")?;
        let mut file = std::fs::File::options().append(true).open(self.mongod.log())?;
        for name in names {
            // Control characters as they are: no JSON.
            let line = failure.replace("\"ben\"", &format!("\"\u{1}{name}"));
            file.write_all(line.replace('\n', " ").as_bytes())?;
            file.write_all(b"\n")?;
        }
        let role = ["key", "create", "--project", &self.project.id, "--role", "GROUP_SHIPPER"];
        let shipper: Key = self.data.json(&role)?;
        let lines = names.iter().flat_map(|name| {
            log.lines().take(10).map(move |line| {
                serde_json::json!({"message": line, "host": {"name": name}}).to_string()
            })
        });
        let body = lines.collect::<Vec<_>>().join("\n");
        let caller = (&*shipper.public_key, &*shipper.private_key);
        let headers = [("Content-Type", "application/x-ndjson")];
        let mut connection = Connection::to(&self.server.base)?;
        let reply = connection.send("POST", "/api/v1/lines", caller, &headers, &body)?;
        ensure!(reply.status == 200, "{reply:?}");
        until("the alarm that lines wait, and the lines that cannot be read", || {
            let alarms: Vec<Value> = self.data.json(&["alarm", "list"])?;
            let printed =
                self.data.run(&["events", "--quarantine", "--project", "Orders", "--json"])?;
            let waits = alarms.iter().any(|alarm| alarm["kind"] == "lines.unrouted");
            Ok((waits && printed.lines().count() >= names.len()).then_some(()))
        })
    }

    /// A page of the cluster's history.
    pub fn history(&self, query: &str) -> String {
        self.page("/history", query)
    }

    /// A page of the project.
    pub fn page(&self, path: &str, query: &str) -> String {
        format!("{}{path}?project={}&{query}", self.server.base, self.project.id)
    }

    /// A page of the archive.
    pub fn archived(&self, path: &str, query: &str) -> String {
        format!("{}{path}?project={}&{query}", self.server.base, self.archive.id)
    }

    /// A page of alice's arrays.
    pub fn arrays(&self, path: &str, query: &str) -> String {
        format!("{}{path}?namespace=alice&{query}", self.server.base)
    }

    /// Where arrays are watched.
    pub fn lake(&self) -> Result<PathBuf> {
        Ok(self.data.folder().canonicalize()?.join("lake"))
    }

    /// Signs in, whoever was before.
    pub fn sign_in(&self, browser: &Browser, name: &str) -> Result<()> {
        browser.forget()?;
        browser.open(&format!("{}/sign-in", self.server.base))?;
        browser.type_into("#user", name)?;
        browser.type_into("#password", &password(name))?;
        browser.click("button[type=submit]")?;
        browser.wait_for_url(|url| !url.contains("/sign-in")).map(drop)
    }

    /// Stops the server, which must not have complained, when the browser has let it go.
    pub fn stop(self, browser: Browser) -> Result<()> {
        drop(browser);
        let Site { server, mut mongod, .. } = self;
        server.stop()?;
        mongod.stop()
    }
}

/// An attempt as a row of the page has it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tried {
    pub who: String,
    pub address: String,
    pub result: String,
    pub application: String,
}

impl Tried {
    fn of(attempt: &Attempt) -> Tried {
        Tried {
            who: format!("{}@{}", attempt.user, attempt.db),
            address: attempt.address.clone().unwrap_or_else(|| "127.0.0.1".to_owned()),
            result: if attempt.ok { "success" } else { "failure" }.to_owned(),
            application: attempt.application.clone().unwrap_or_else(|| "–".to_owned()),
        }
    }

    /// The rows that a browser shows.
    pub fn shown(browser: &Browser) -> Result<Vec<Tried>> {
        let rows = browser.script(
            "return [...document.querySelectorAll('.rows tbody tr')].map(row => \
               [...row.querySelectorAll('td:not(.mark-cell)')].map(cell => cell.textContent.trim()))",
        )?;
        let rows: Vec<Vec<String>> = serde_json::from_value(rows)?;
        let mut shown: Vec<Tried> = rows.into_iter().map(Tried::of_cells).collect::<Result<_>>()?;
        shown.sort();
        Ok(shown)
    }

    fn of_cells(cells: Vec<String>) -> Result<Tried> {
        let [_, who, address, result, _, application, _] = &cells[..] else {
            anyhow::bail!("no row of a cluster: {cells:?}")
        };
        // The sign before the word, and the tags behind the name.
        let result = result.rsplit(' ').next().unwrap_or_default();
        let who = who.split(' ').next().unwrap_or_default();
        Ok(Tried {
            who: who.to_owned(),
            address: address.clone(),
            result: result.to_owned(),
            application: application.clone(),
        })
    }
}

/// What an archive holds that the browser saved, as Python reads it.
pub fn read_export(archive: &Path) -> Result<Value> {
    let python = tools::python().context("there is one, or there were no site")?;
    let printed = run(Command::new(python).arg(tools::script("read_export.py")).arg(archive))?;
    Ok(serde_json::from_str(&printed)?)
}

/// What somebody types to sign in.
pub fn password(name: &str) -> String {
    format!("the password of {name}")
}

//! An agent and a server as two processes, with a proxy between them that loses answers.
//!
//! As in `follow`, the list of attempts that the test made is the truth and mongod's own count the second
//! witness.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::follow::Followed;
use crate::support::binary::{DataDir, Server};
use crate::support::draw::Draw;
use crate::support::mongod::{Attempt, Mongod};
use crate::support::process::{Running, until};
use crate::support::proxy::Proxy;
use crate::support::tools::needed;

/// Goal: what was attempted is recorded, once, whatever happens to the agent, the server, the way
/// between them and the log. Method: rounds of attempts with a rotation each, while both are killed and
/// answers get lost; then a round while there is no server, whose log goes before there is one again, so that
/// only the spool has it; then the agent's key is taken away and replaced.
#[test]
fn an_agent_ships_each_attempt_once() -> Result<()> {
    let Some((python, mongods)) = needed("an agent beside a real mongod, through kills") else {
        return Ok(());
    };
    let seed = RandomState::new().build_hasher().finish();
    for binary in mongods {
        let mongod = Mongod::start(&binary, python.clone())?;
        let told = format!("mongod {}, seed {seed}", mongod.version);
        let followed = Followed::with(mongod, &python, "agent = \"edge-1\"\n")?;
        let mut edge = Edge::new(followed, seed).context(told.clone())?;
        edge.life(&mut Draw(seed)).with_context(|| format!("{told}\n{}", edge.last_words))?;
    }
    Ok(())
}

/// A host with its agent, and the server that it ships to.
struct Edge<'a> {
    followed: Followed<'a>,
    proxy: Proxy,
    tls: Vec<String>,
    agent: Vec<String>,
    /// What the last agent wrote to its log.
    last_words: String,
}

/// What it takes to start either side.
struct Stage<'a> {
    data: &'a DataDir,
    proxy: &'a Proxy,
    tls: &'a [String],
    agent: &'a [String],
}

impl Stage<'_> {
    fn serve(&self) -> Result<Server> {
        let words: Vec<&str> = self.tls.iter().map(String::as_str).collect();
        let server = self.data.serve(&words)?;
        self.proxy.lead(Some(&server.base));
        Ok(server)
    }

    fn start_agent(&self) -> Result<Running> {
        let words: Vec<&str> = self.agent.iter().map(String::as_str).collect();
        Running::start(&mut self.data.command(&words)?)
    }
}

impl<'a> Edge<'a> {
    fn new(followed: Followed<'a>, seed: u64) -> Result<Edge<'a>> {
        let proxy = Proxy::start(seed)?;
        let folder = followed.data.folder();
        let file = |name: &str| folder.join(name).to_str().map(str::to_owned).context("UTF-8");
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
        let (certificate, key) = (file("certificate.pem")?, file("private-key.pem")?);
        std::fs::write(&certificate, made.cert.pem())?;
        std::fs::write(&key, made.signing_key.serialize_pem())?;
        let allow = format!("{}/*", followed.mongod.logs().display());
        let toml = format!(
            "server = \"https://{}\"\nkey_file = {:?}\nca_file = {certificate:?}\nspool_dir = {:?}\n\
             spool_mib = 32\nallow = [{allow:?}]\n",
            proxy.address,
            file("agent.key")?,
            file("spool")?,
        );
        std::fs::write(folder.join("agent.toml"), toml)?;
        let tls = vec!["--tls-cert".to_owned(), certificate, "--tls-key".to_owned(), key];
        let agent = vec!["agent".to_owned(), "--config".to_owned(), file("agent.toml")?];
        let edge = Edge { followed, proxy, tls, agent, last_words: String::new() };
        edge.make_key()?;
        Ok(edge)
    }

    fn data(&self) -> &DataDir {
        &self.followed.data
    }

    /// Makes a key for the agent and gives it to it.
    fn make_key(&self) -> Result<()> {
        let words = ["key", "create", "--project", &self.followed.project.id, "--agent", "edge-1"];
        let key = self.data().run(&words)?;
        Ok(std::fs::write(self.data().folder().join("agent.key"), key)?)
    }

    fn stage(&self) -> Stage<'_> {
        let Edge { followed, proxy, tls, agent, .. } = self;
        Stage { data: &followed.data, proxy, tls, agent }
    }

    fn serve(&self) -> Result<Server> {
        self.stage().serve()
    }

    fn start_agent(&self) -> Result<Running> {
        self.stage().start_agent()
    }

    fn kill(&mut self, agent: Running) -> Result<()> {
        self.last_words = agent.kill()?.stderr;
        Ok(())
    }

    fn life(&mut self, draw: &mut Draw) -> Result<()> {
        let (mut kills, rounds) = (0, rounds()?);
        for round in 0..rounds {
            kills += self.round(round, draw).with_context(|| format!("round {round}"))?;
        }
        let cuts = self.proxy.cuts();
        ensure!(cuts > 0, "no answer was lost");
        self.proxy.be_kind();
        self.while_there_is_no_server().context("while there is no server")?;
        self.with_another_key().context("with another key")?;
        self.check()?;
        println!("{rounds} rounds, {kills} kills, {cuts} lost answers");
        Ok(())
    }

    /// Attempts and a rotation, while the agent and the server are killed in turn or together.
    fn round(&mut self, round: u64, draw: &mut Draw) -> Result<u64> {
        let Edge { followed, proxy, tls, agent, last_words } = self;
        let stage = Stage { data: &followed.data, proxy, tls, agent };
        let mongod = &mut followed.mongod;
        std::thread::scope(|scope| {
            let busy = scope.spawn(move || {
                mongod.run_attempts(&round.to_string())?;
                mongod.rotate()
            });
            let mut kills = 0;
            let (mut server, mut agent) = (stage.serve()?, stage.start_agent()?);
            let cuts = proxy.cuts();
            while kills == 0 || !busy.is_finished() || proxy.cuts() == cuts {
                // On a slow machine it takes a while before anything is said.
                std::thread::sleep(Duration::from_millis(200 + draw.below(800) + 50 * kills));
                let (ends_server, ends_agent) = (draw.below(2) == 0, draw.below(2) == 0);
                if ends_server {
                    server.kill()?;
                    server = stage.serve()?;
                }
                if ends_agent {
                    *last_words = agent.kill()?.stderr;
                    agent = stage.start_agent()?;
                }
                kills += u64::from(ends_server) + u64::from(ends_agent);
            }
            server.kill()?;
            *last_words = agent.kill()?.stderr;
            busy.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
            Ok(kills)
        })
    }

    /// What only the spool has is shipped when there is a server again.
    fn while_there_is_no_server(&mut self) -> Result<()> {
        self.proxy.lead(None);
        let agent = self.start_agent()?;
        self.followed.mongod.run_attempts("alone")?;
        self.is_spooled()?;
        self.kill(agent)?;
        self.followed.mongod.rotate()?;
        let agent = self.start_agent()?;
        self.followed.mongod.run_attempts("alone, too")?;
        self.is_spooled()?;
        self.kill(agent)?;
        for entry in std::fs::read_dir(self.followed.mongod.logs())? {
            let path = entry?.path();
            if path != self.followed.mongod.log() {
                std::fs::remove_file(path)?;
            }
        }
        let (server, agent) = (self.serve()?, self.start_agent()?);
        self.is_everything_there()?;
        self.kill(agent)?;
        server.stop()
    }

    /// Waits until the last line of access is in the spool.
    fn is_spooled(&self) -> Result<()> {
        let folder = self.data().folder().join("spool");
        until("the last attempt in the spool", || {
            let log = std::fs::read_to_string(self.followed.mongod.log())?;
            let last = log.lines().rfind(|line| line.contains("\"ACCESS\""));
            let last = last.context("a line of access")?;
            Ok(holds(&folder, last.as_bytes())?.then_some(()))
        })
    }

    /// An agent whose key is taken away says so, once, and goes on with the next key without a restart.
    fn with_another_key(&mut self) -> Result<()> {
        let (server, agent) = (self.serve()?, self.start_agent()?);
        let old = std::fs::read_to_string(self.data().folder().join("agent.key"))?;
        let old = old.split(':').next().context("a public half")?;
        self.data().run(&["key", "delete", old])?;
        self.followed.mongod.run_attempts("revoked")?;
        self.make_key()?;
        self.is_everything_there()?;
        let ended = agent.terminate()?;
        ensure!(ended.status.success(), "SIGTERM: {}\n{}", ended.status, ended.stderr);
        let told = ended.stderr.matches("does not take this agent's key").count();
        ensure!(told <= 1 && !ended.stderr.contains("panicked"), "{}", ended.stderr);
        self.last_words = ended.stderr;
        server.stop()
    }

    /// Waits until the server counts as many events of the source as were made.
    fn is_everything_there(&self) -> Result<()> {
        let made: usize = self.followed.mongod.attempts().iter().map(Attempt::rows).sum();
        until("all that was attempted", || {
            let source: Value = self.data().json(&["source", "show", "orders"])?;
            let events = source["events"].as_u64().context("a number of events")?;
            ensure!(events <= made as u64, "{events} events of {made} attempts");
            Ok((events == made as u64).then_some(()))
        })
    }

    /// What is recorded is what was made, and it is known that it is all.
    fn check(&mut self) -> Result<()> {
        let counted = self.followed.mongod.successes_by_its_own_count()?;
        let attempts = self.followed.mongod.attempts();
        let performed = attempts.iter().filter(|attempt| attempt.ok).count();
        ensure!(counted == performed as u64, "mongod counts {counted}, we {performed}");
        let (server, agent) = (self.serve()?, self.start_agent()?);
        self.is_everything_there()?;
        self.kill(agent)?;
        server.stop()?;
        // The clients that ask know no authority of ours.
        let server = self.data().serve(&[])?;
        self.followed.has_everything(&server)?;
        let gaps = self.followed.gaps()?;
        ensure!(gaps.is_empty(), "nothing was missed: {gaps:#?}");
        let says = self.followed.says(&server)?;
        ensure!(says.starts_with("complete; through=2"), "{says}");
        server.stop()?;
        self.data().run(&["verify", "--checksums"])?;
        Ok(())
    }
}

/// Whether any file of a spool holds these bytes: a raw line stands in it as it was.
fn holds(folder: &Path, needle: &[u8]) -> Result<bool> {
    let files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    for file in files {
        // It may have gone meanwhile.
        let bytes = std::fs::read(file).unwrap_or_default();
        if bytes.windows(needle.len()).any(|window| window == needle) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Each with some kills: as in `follow`, and fewer, since both sides start anew.
fn rounds() -> Result<u64> {
    match std::env::var("DOORBOOK_TEST_KILLS") {
        Ok(number) => Ok(number.parse::<u64>().context("DOORBOOK_TEST_KILLS is a number")? / 8 + 1),
        Err(_) => Ok(3),
    }
}

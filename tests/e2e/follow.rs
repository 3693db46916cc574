//! The server follows a real mongod's log while the log is rotated and the server is killed.
//!
//! The list of attempts that the test made is the truth, mongod's own count is the second witness, and
//! what Doorbook says of its coverage is held against what the test did to the log.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::support::binary::{DataDir, Key, Project, Server};
use crate::support::clients::{self, Covered};
use crate::support::draw::Draw;
use crate::support::history::{compare, seconds_since_1970};
use crate::support::mongod::{Attempt, Mongod};
use crate::support::process::until;
use crate::support::time::now;
use crate::support::tools::needed;

/// Goal: of a log that mongod rotates itself, by renaming it, nothing is lost or doubled, whatever
/// happens to the server, and Doorbook knows that it has seen all. Method: attempts and a rotation in
/// each round while servers are started and killed.
#[test]
fn a_log_that_is_renamed_is_followed_through_kills() -> Result<()> {
    let rotate = |mongod: &mut Mongod| mongod.rotate().map(|()| None);
    followed(Mongod::start, rotate, |followed, server, cuts| {
        ensure!(cuts.is_empty());
        let gaps = followed.gaps()?;
        ensure!(gaps.is_empty(), "nothing was missed: {gaps:#?}");
        let says = followed.says(server)?;
        ensure!(says.starts_with("complete; through=2"), "{says}");
        Ok(())
    })
}

/// Goal: the same of a log that is copied and cut short, where Doorbook cannot know that it has seen
/// all, and says exactly since when and until when. Method: the same; in the end attempts are made
/// between copy and cut, which are beyond anyone's reach.
#[test]
fn a_log_that_is_copied_and_cut_is_followed_through_kills() -> Result<()> {
    followed(Mongod::start, copy_and_cut, each_cut_is_told)
}

/// Goal: a mongod without `--logappend` goes on at its old offset after its log was cut short, behind
/// a hole of NULs as long as the log ever was; that is no other case. Method: the same as above.
#[test]
fn a_log_with_a_hole_is_followed_through_kills() -> Result<()> {
    let start = |binary: &Path, python| Mongod::start_as_it_is(binary, python, &[]);
    followed(start, copy_and_cut, each_cut_is_told)
}

/// When a log was copied, and when it had been cut short, in seconds since 1970.
type Cut = (f64, f64);

fn copy_and_cut(mongod: &mut Mongod) -> Result<Option<Cut>> {
    let from = now();
    mongod.copy_and_truncate(|_| Ok(()))?;
    Ok(Some((from, now())))
}

/// Each cut lies in a best-effort interval of its own, and there are no others.
fn each_cut_is_told(followed: &mut Followed, server: &Server, cuts: &[Cut]) -> Result<()> {
    let mut gaps = followed.gaps()?;
    gaps.sort_by(|a, b| a.from.total_cmp(&b.from));
    ensure!(gaps.len() == cuts.len(), "{} cuts: {cuts:#?}\n{gaps:#?}", cuts.len());
    for (gap, (from, to)) in gaps.iter().zip(cuts) {
        let holds = gap.from <= *from && gap.to.is_some_and(|end| *to - 0.001 <= end);
        ensure!(gap.grade == "best_effort" && holds, "{from} to {to}: {gap:#?}");
    }
    let says = followed.says(server)?;
    ensure!(says.starts_with("best-effort; through=2"), "{says}");
    Ok(())
}

/// Follows a mongod through rounds of attempts with a rotation each.
fn followed(
    start: impl Fn(&Path, PathBuf) -> Result<Mongod>,
    rotate: impl Fn(&mut Mongod) -> Result<Option<Cut>> + Sync,
    check: impl Fn(&mut Followed, &Server, &[Cut]) -> Result<()>,
) -> Result<()> {
    let Some((python, mongods)) = needed("following a real mongod through kills") else {
        return Ok(());
    };
    let seed = RandomState::new().build_hasher().finish();
    for binary in mongods {
        let mongod = start(&binary, python.clone())?;
        let told = format!("mongod {}, seed {seed}", mongod.version);
        let mut followed = Followed::new(mongod, &python)?;
        through_kills(&mut followed, &mut Draw(seed), &rotate, &check).context(told)?;
    }
    Ok(())
}

fn through_kills(
    followed: &mut Followed,
    draw: &mut Draw,
    rotate: &(impl Fn(&mut Mongod) -> Result<Option<Cut>> + Sync),
    check: impl Fn(&mut Followed, &Server, &[Cut]) -> Result<()>,
) -> Result<()> {
    let rounds = rounds()?;
    let (mut cuts, mut kills) = (Vec::new(), 0);
    for round in 0..rounds {
        let (cut, killed) = followed.round(round, draw, rotate)?;
        cuts.extend(cut);
        kills += killed;
    }
    let mut lost = Vec::new();
    if !cuts.is_empty() {
        let (cut, attempts) = followed.lose_a_round()?;
        cuts.push(cut);
        lost = attempts;
    }
    let counted = followed.mongod.successes_by_its_own_count()?;
    let performed = followed.mongod.attempts().iter().chain(&lost).filter(|a| a.ok).count();
    ensure!(counted == performed as u64, "mongod counts {counted} successes, we {performed}");

    let server = followed.data.serve(&[])?;
    followed.has_everything(&server)?;
    check(followed, &server, &cuts)?;
    server.stop()?;
    followed.data.run(&["verify", "--checksums"])?;
    println!("{rounds} rounds, {kills} kills, {} attempts", followed.mongod.attempts().len());
    Ok(())
}

/// Each with some four kills: `DOORBOOK_TEST_KILLS` is 20 where every commit is tested, and 1000 in
/// `cargo xtask test --nightly`.
fn rounds() -> Result<u64> {
    match std::env::var("DOORBOOK_TEST_KILLS") {
        Ok(number) => Ok(number.parse::<u64>().context("DOORBOOK_TEST_KILLS is a number")? / 4),
        Err(_) => Ok(5),
    }
}

/// A mongod, and a data directory with a source that follows it.
pub struct Followed<'a> {
    pub mongod: Mongod,
    pub data: DataDir,
    pub project: Project,
    key: Key,
    python: &'a Path,
}

/// An interval of `doorbook coverage --json`.
#[derive(Debug)]
pub struct Gap {
    grade: String,
    from: f64,
    to: Option<f64>,
}

impl<'a> Followed<'a> {
    fn new(mongod: Mongod, python: &'a Path) -> Result<Followed<'a>> {
        Followed::with(mongod, python, "")
    }

    /// With further keys of the source.
    pub fn with(mongod: Mongod, python: &'a Path, keys: &str) -> Result<Followed<'a>> {
        let data = DataDir::new()?;
        let (name, log) = (mongod.own_name()?, mongod.log());
        let file = format!(
            "version = 1\n[[project]]\nname = \"shop\"\n[[project.cluster]]\nname = \"orders\"\n\
             hosts = [\"{name}\"]\n[[source]]\nname = \"orders\"\nkind = \"mongod-log\"\npath = {log:?}\n\
             {keys}"
        );
        let (project, key) = data.apply(&file)?;
        Ok(Followed { mongod, data, project, key, python })
    }

    /// Attempts and a rotation, while one server after another is killed. Says how many.
    fn round(
        &mut self,
        round: u64,
        draw: &mut Draw,
        rotate: &(impl Fn(&mut Mongod) -> Result<Option<Cut>> + Sync),
    ) -> Result<(Option<Cut>, u64)> {
        let Followed { mongod, data, .. } = self;
        std::thread::scope(|scope| {
            let busy = scope.spawn(move || {
                mongod.run_attempts(&round.to_string())?;
                rotate(mongod)
            });
            let mut kills = 0;
            while kills == 0 || !busy.is_finished() {
                let server = data.serve(&[])?;
                std::thread::sleep(Duration::from_millis(draw.below(500)));
                server.kill()?;
                kills += 1;
            }
            let cut = busy.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
            Ok((cut, kills))
        })
    }

    /// Attempts between copy and cut, while no server runs: nobody can know of them.
    fn lose_a_round(&mut self) -> Result<(Cut, Vec<Attempt>)> {
        // So that there is something between this cut and the last one.
        self.mongod.run_attempts("before")?;
        let known = self.mongod.attempts().len();
        let from = now();
        self.mongod.copy_and_truncate(|mongod| mongod.run_attempts("lost"))?;
        let cut = (from, now());
        Ok((cut, self.mongod.take_attempts_after(known)))
    }

    /// Waits until the server has as many events as were made; then they are those that were made.
    pub fn has_everything(&self, server: &Server) -> Result<()> {
        let attempts = self.mongod.attempts();
        let made: usize = attempts.iter().map(Attempt::rows).sum();
        until("all that was attempted", || {
            Ok((server.events(&self.project, &self.key)? >= made as u64).then_some(()))
        })?;
        compare(&self.answer(server)?.answer.access_logs, attempts)?;
        for unwanted in [["--quarantine"].as_slice(), &["--class", "suspect"]] {
            let words = [&["events", "--json", "--limit", "0"], unwanted].concat();
            let printed = self.data.run(&words)?;
            ensure!(printed.is_empty(), "{unwanted:?}: {printed}");
        }
        Ok(())
    }

    /// The cluster's history since the first attempt, as a client reads it.
    fn answer(&self, server: &Server) -> Result<Covered> {
        let first = self.mongod.attempts().first().context("attempts")?;
        let (start, end) = ((first.from * 1000.0) as u64, (now() * 1000.0) as u64);
        let id = &self.project.id;
        let path = format!(
            "/api/atlas/v2/groups/{id}/dbAccessHistory/clusters/orders?start={start}&end={end}"
        );
        let python = self.python;
        let mut answers =
            clients::requests_with_coverage(python, &server.base, &self.key, &[&path])?;
        answers.pop().context("one question")
    }

    pub fn says(&self, server: &Server) -> Result<String> {
        Ok(self.answer(server)?.coverage)
    }

    /// What is told of the source not having seen everything.
    pub fn gaps(&self) -> Result<Vec<Gap>> {
        #[derive(Debug, Deserialize)]
        struct Row {
            source: Option<String>,
            grade: String,
            from: String,
            to: Option<String>,
        }
        let rows: Vec<Row> = self.data.json(&["coverage"])?;
        let seconds = |time: &str| seconds_since_1970(time).with_context(|| time.to_owned());
        let gap = |row: Row| {
            let Some("orders") = row.source.as_deref() else { bail!("{row:?}") };
            let to = row.to.as_deref().map(seconds).transpose()?;
            Ok(Gap { from: seconds(&row.from)?, to, grade: row.grade })
        };
        rows.into_iter().map(gap).collect()
    }
}

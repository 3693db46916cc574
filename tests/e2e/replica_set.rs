//! A replica set, followed by one source of the estate's file.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::support::binary::{DataDir, Key, Project, Server};
use crate::support::clients::{self, Covered};
use crate::support::history::{Row, compare};
use crate::support::process::until;
use crate::support::replica_set::ReplicaSet;
use crate::support::time::now;
use crate::support::tools::needed;

/// Goal: three members that are described once are three histories, each as its member has it, and
/// together the cluster's; what the members do at each other is in them, too. Method: one `[[source]]`
/// with placeholders; logins at primary and secondaries before and after a step-down; each member's
/// rows are held against the attempts made at it, and its successes against its own count.
#[test]
fn a_replica_set_is_followed_by_one_source() -> Result<()> {
    let Some((python, mongods)) = needed("following a replica set") else { return Ok(()) };
    for binary in mongods {
        let mut set = ReplicaSet::start(&binary, python.clone())?;
        followed(&mut set, &python).with_context(|| binary.display().to_string())?;
    }
    Ok(())
}

fn followed(set: &mut ReplicaSet, python: &Path) -> Result<()> {
    let data = DataDir::new()?;
    let names: Vec<String> = set.members()?.into_iter().map(|(name, _)| name).collect();
    let (project, key) = data.apply(&format!(
        "version = 1\n[[project]]\nname = \"shop\"\n[[project.cluster]]\nname = \"orders\"\n\
         hosts = {names:?}\n[[source]]\nname = \"{{cluster}}.{{host}}.{{port}}\"\n\
         kind = \"mongod-log\"\npath = {:?}\n",
        set.log_pattern()
    ))?;
    let server = data.serve(&[])?;
    set.run_attempts()?;
    set.step_down()?;
    set.run_attempts()?;

    let history = History { server: &server, project, key, python, from: set.begun() };
    // A member may log in at another one at any time, also between two questions.
    let [members @ .., cluster] = &*until("each member to count what is recorded of it", || {
        let counts = set.successes_by_their_own_count()?;
        history.with_as_many(&names, &counts)
    })?
    else {
        unreachable!("an answer for each member, and one for the cluster");
    };
    for (covered, (name, attempts)) in members.iter().zip(set.members()?) {
        let rows = &covered.answer.access_logs;
        ensure!(rows.iter().any(is_internal), "nobody but us has logged in to {name}");
        let made_by_us: Vec<Row> = rows.iter().filter(|row| !is_internal(row)).cloned().collect();
        compare(&made_by_us, attempts).with_context(|| name.clone())?;
    }
    for Covered { coverage, .. } in members.iter().chain([cluster]) {
        ensure!(coverage.starts_with("complete; through=2"), "{coverage}");
    }
    server.stop()
}

/// The history as clients read it.
struct History<'a> {
    server: &'a Server,
    project: Project,
    key: Key,
    python: &'a Path,
    /// Since when, in seconds since 1970.
    from: f64,
}

impl History<'_> {
    /// Waits until each member has as many successes as these. Returns the members' answers and the
    /// cluster's, unless there are more or they are not of one moment.
    fn with_as_many(&self, names: &[String], counts: &[u64]) -> Result<Option<Vec<Covered>>> {
        let successes = |answer: &Covered| {
            answer.answer.access_logs.iter().filter(|row| row.auth_result).count() as u64
        };
        let answers = until("all that was counted", || {
            let answers = self.answers(names)?;
            let has_all = answers.iter().zip(counts).all(|(a, count)| successes(a) >= *count);
            Ok(has_all.then_some(answers))
        })?;
        let are_equal = answers.iter().zip(counts).all(|(a, count)| successes(a) == *count);
        let (members, cluster) = answers.split_at(names.len());
        let is_whole = sorted(members) == sorted(cluster);
        Ok((are_equal && is_whole).then_some(answers))
    }

    /// Of each member, and of the cluster.
    fn answers(&self, names: &[String]) -> Result<Vec<Covered>> {
        let (start, end) = ((self.from * 1000.0) as u64, (now() * 1000.0) as u64);
        let id = &self.project.id;
        let path = |what: String| {
            format!("/api/atlas/v2/groups/{id}/dbAccessHistory/{what}?start={start}&end={end}")
        };
        let members = names.iter().map(|name| format!("processes/{name}"));
        let paths: Vec<String> = members.chain(["clusters/orders".to_owned()]).map(path).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        clients::requests_with_coverage(self.python, &self.server.base, &self.key, &paths)
    }
}

fn sorted(answers: &[Covered]) -> Vec<String> {
    let rows = answers.iter().flat_map(|covered| &covered.answer.access_logs);
    let mut rows: Vec<String> = rows.map(|row| format!("{row:?}")).collect();
    rows.sort();
    rows
}

fn is_internal(row: &Row) -> bool {
    row.username.as_deref() == Some("__system")
}

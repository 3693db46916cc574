//! Logins at a real mongod, through its log and the binary, to clients that know nothing of us.
//!
//! The list of attempts that the test made is the truth; the rows that each client fetches are
//! compared with it one by one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::support::binary::{DataDir, Key, Server, ServiceAccount, without_complaints};
use crate::support::history::{Answers, Questions, compare};
use crate::support::mongod::{Attempt, Mongod};
use crate::support::process::{Running, until};
use crate::support::tools::{self, left_out, needed};
use crate::support::{binary, clients};

const CLUSTER: &str = "Cluster0";

/// Goal: what happened at the server is what every client reads, in both directions: no login lost,
/// none invented. Method: two rounds of attempts with a rotated log between them, the folder
/// imported, all clients asked, over plain HTTP and, after a restart, over TLS.
#[test]
fn every_client_reads_what_happened_at_a_real_mongod() -> Result<()> {
    let Some((python, binaries)) = needed("logins at a real mongod") else { return Ok(()) };
    for binary in binaries {
        let mut mongod = Mongod::start(&binary, python.clone())?;
        history_of(&mut mongod, &python)
            .with_context(|| format!("mongod {} ({})", mongod.version, binary.display()))?;
    }
    Ok(())
}

fn history_of(mongod: &mut Mongod, python: &Path) -> Result<()> {
    mongod.run_attempts("a")?;
    mongod.rotate()?;
    mongod.run_attempts("b")?;
    let counted_by_mongod = mongod.successes_by_its_own_count()?;
    mongod.stop()?;
    let successes = mongod.attempts().iter().filter(|attempt| attempt.ok).count() as u64;
    ensure!(counted_by_mongod == successes, "mongod counts {counted_by_mongod}, we {successes}");

    let data = DataDir::new()?;
    let (project, key) = data.set_up(CLUSTER, &mongod.host())?;
    let imported = data.import(CLUSTER, &mongod.host(), &[&mongod.logs()])?;
    let failures: usize = mongod.attempts().iter().map(|attempt| attempt.failures).sum();
    let restricted: usize = mongod.attempts().iter().map(|attempt| attempt.restricted).sum();
    ensure!(imported.successes == successes, "{imported:?}");
    ensure!(imported.failures == failures as u64, "{failures} failures, {imported:?}");
    ensure!(imported.events >= successes + (failures + restricted) as u64, "{imported:?}");
    ensure!(imported.suspect == 0 && imported.quarantined == 0, "{imported:?}");
    again_adds_nothing(&data, mongod, imported.events)?;
    what_the_connection_said_is_joined(&data, mongod)?;

    let server = data.serve(&[])?;
    let questions = Questions::new(&project.id, CLUSTER, &mongod.host());
    let paths = questions.paths();
    let check = |client: &str, answers| -> Result<Answers> {
        let answers = Answers::check(answers).with_context(|| client.to_string())?;
        compare(&answers.everything, mongod.attempts()).with_context(|| client.to_string())?;
        Ok(answers)
    };

    let by_requests = clients::requests(python, &server.base, &key, &paths)?;
    let first = check("requests", by_requests)?;
    let found = clients::atlasapi(python, &server.base, &key, &project.id)?;
    ensure!(found.clusters == [CLUSTER], "{found:?}");
    ensure!(found.hosts.len() == 1 && mongod.host().starts_with(&found.hosts[0]), "{found:?}");
    if tools::curl().is_some() {
        let by_curl = clients::curl(&server.base, &key, &paths, None)?;
        ensure!(check("curl", by_curl)? == first, "curl reads another history");
    } else {
        left_out("curl --digest", "curl is not installed");
    }
    if tools::node_clients().is_none() {
        left_out("the npm clients", "they are not installed");
        return server.stop();
    }
    let by_urllib = clients::urllib(&server.base, &key, &project.id, CLUSTER, &paths)?;
    ensure!(check("urllib", by_urllib)? == first, "urllib reads another history");
    server.stop()?;

    let account: ServiceAccount = data.json(&[
        "service-account",
        "create",
        "--project",
        &project.id,
        "--role",
        binary::ROLE,
    ])?;
    let (server, trusted) = serve_with_tls(&data)?;
    let by_mcp = clients::mcp(&server.base, &account, &project.id, CLUSTER, &paths, &trusted)?;
    ensure!(check("mcp", by_mcp)? == first, "the MCP client reads another history");
    if tools::curl().is_some() {
        let by_curl = clients::curl(&server.base, &key, &paths, Some(&trusted))?;
        ensure!(check("curl", by_curl)? == first, "curl reads another over TLS");
    }
    server.stop()
}

/// The folder again, and its files one by one, the newer first: nothing is new.
fn again_adds_nothing(data: &DataDir, mongod: &Mongod, events: u64) -> Result<()> {
    let again = data.import(CLUSTER, &mongod.host(), &[&mongod.logs()])?;
    ensure!(again.events == 0 && again.duplicates == events, "{events} events, again {again:?}");
    let mut files: Vec<PathBuf> = std::fs::read_dir(mongod.logs())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut duplicates = 0;
    for file in files {
        let one = data.import(CLUSTER, &mongod.host(), &[&file])?;
        ensure!(one.events == 0, "{}: {one:?}", file.display());
        duplicates += one.duplicates;
    }
    ensure!(duplicates == events, "{events} events, {duplicates} duplicates");
    Ok(())
}

/// The application's name stands in another line than the login; the API has no field for it, the
/// command line shows it.
fn what_the_connection_said_is_joined(data: &DataDir, mongod: &Mongod) -> Result<()> {
    let events = data.run(&["events", "--json", "--limit", "0"])?;
    let mut expected = count_applications(mongod.attempts().iter().filter_map(|attempt| {
        Some((attempt.application.clone()?, usize::from(attempt.ok) + attempt.failures))
    }));
    for line in events.lines() {
        let event: serde_json::Value = serde_json::from_str(line)?;
        let client = &event["client"];
        ensure!(client["driver"].as_str().is_some_and(|d| d.starts_with("PyMongo")), "{event}");
        if let Some(application) = client["application"].as_str() {
            let left = expected.get_mut(application);
            let left = left.with_context(|| format!("nobody called itself {application:?}"))?;
            *left = left.checked_sub(1).with_context(|| format!("{application:?} too often"))?;
        }
    }
    ensure!(expected.values().all(|left| *left == 0), "applications not found: {expected:?}");
    Ok(())
}

fn count_applications(named: impl Iterator<Item = (String, usize)>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (application, logins) in named {
        *counts.entry(application).or_default() += logins;
    }
    counts
}

/// Goal: while a log is followed, an attempt is in the answers moments after it was made, a rotation
/// loses nothing, and a server killed in the middle has all it acknowledged. Method: `import --follow`
/// beside a running server, attempts at the same time, Ctrl-C.
#[test]
fn a_followed_log_is_answered_while_it_grows() -> Result<()> {
    let Some((python, binaries)) = needed("following the log of a real mongod") else {
        return Ok(());
    };
    let Some(binary) = binaries.first() else { return Ok(()) };
    let mut mongod = Mongod::start(binary, python.clone())?;
    let data = DataDir::new()?;
    let (project, key) = data.set_up(CLUSTER, &mongod.host())?;
    let server = data.serve(&[])?;
    let log = mongod.log();
    let host = mongod.host();
    let mut words = vec!["import", "--follow", "--project", "Orders", "--cluster", CLUSTER];
    words.extend(["--host", &host, log.to_str().context("temporary paths are UTF-8")?]);
    let follower = Running::start(&mut data.command(&words)?)?;

    mongod.run_attempts("a")?;
    let everything = Questions::new(&project.id, CLUSTER, &mongod.host()).everything;
    let rows = |server: &Server, key: &Key| -> Result<_> {
        let mut answers = clients::requests(&python, &server.base, key, &[&everything])?;
        Ok(answers.pop().context("one question")?.access_logs)
    };
    let made = |mongod: &Mongod| mongod.attempts().iter().map(Attempt::rows).sum::<usize>();
    let all = made(&mongod);
    let seen = until("the followed attempts", || {
        let rows = rows(&server, &key)?;
        Ok((rows.len() >= all).then_some(rows))
    })?;
    compare(&seen, mongod.attempts())?;

    mongod.rotate()?;
    mongod.run_attempts("b")?;
    let all = made(&mongod);
    until("the later attempts", || Ok((rows(&server, &key)?.len() >= all).then_some(())))?;
    let ended = follower.interrupt()?;
    ensure!(ended.status.code().is_some(), "Ctrl-C: {}\n{}", ended.status, ended.stderr);
    without_complaints(&ended)?;
    server.kill()?;

    let server = data.serve(&[])?;
    let kept = rows(&server, &key)?;
    compare(&kept, mongod.attempts()).context("after the server was killed")?;
    server.stop()
}

/// A server with a certificate that the test made, and the file to trust it by.
fn serve_with_tls(data: &DataDir) -> Result<(Server, PathBuf)> {
    let names = ["127.0.0.1".to_string(), "localhost".to_string()];
    let made = rcgen::generate_simple_self_signed(names)?;
    let certificate = data.folder().join("certificate.pem");
    let private_key = data.folder().join("private-key.pem");
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&private_key, made.signing_key.serialize_pem())?;
    let path = |path: &Path| path.to_str().map(str::to_string).context("temporary paths are UTF-8");
    let server =
        data.serve(&["--tls-cert", &path(&certificate)?, "--tls-key", &path(&private_key)?])?;
    Ok((server, certificate))
}

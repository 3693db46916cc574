//! The clients, unmodified. Each takes paths and returns what it got for them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::binary::{Key, ServiceAccount};
use super::history::Answer;
use super::process::run;
use super::tools;

/// What answers of the Atlas API are asked for as.
const ACCEPT: &str = "Accept: application/vnd.atlas.2023-01-01+json";

/// `curl --digest`, one call for each path; over TLS with the certificate to trust.
pub fn curl(base: &str, key: &Key, paths: &[&str], trusted: Option<&Path>) -> Result<Vec<Answer>> {
    let answer = |path: &&str| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail-with-body", "--digest", "--header", ACCEPT]);
        curl.args(["--user", &format!("{}:{}", key.public_key, key.private_key)]);
        if let Some(trusted) = trusted {
            curl.arg("--cacert").arg(trusted);
        }
        parse(&run(curl.arg(format!("{base}{path}")))?)
    };
    paths.iter().map(answer).collect()
}

/// An answer, and what its header says of coverage: it is not in the body.
#[derive(Debug, Deserialize)]
pub struct Covered {
    pub answer: Answer,
    pub coverage: String,
}

/// python `requests` with its `HTTPDigestAuth`.
pub fn requests(python: &Path, base: &str, key: &Key, paths: &[&str]) -> Result<Vec<Answer>> {
    let covered = requests_with_coverage(python, base, key, paths)?;
    Ok(covered.into_iter().map(|covered| covered.answer).collect())
}

/// The same with the header.
pub fn requests_with_coverage(
    python: &Path,
    base: &str,
    key: &Key,
    paths: &[&str],
) -> Result<Vec<Covered>> {
    let mut command = Command::new(python);
    command.arg(tools::script("fetch_requests.py"));
    command.args([base, &key.public_key, &key.private_key]).args(paths);
    parse(&run(&mut command)?)
}

/// What `atlasapi` finds when it looks around.
#[derive(Debug, Deserialize, PartialEq)]
pub struct Found {
    pub clusters: Vec<String>,
    pub hosts: Vec<String>,
}

/// python `atlasapi`: clusters and processes under v1.0.
pub fn atlasapi(python: &Path, base: &str, key: &Key, group: &str) -> Result<Found> {
    let mut command = Command::new(python);
    command.arg(tools::script("fetch_atlasapi.py"));
    command.args([base, &key.public_key, &key.private_key, group]);
    parse(&run(&mut command)?)
}

#[derive(Deserialize)]
struct FetchedByNode {
    answers: Vec<Answer>,
    clusters: Vec<String>,
}

/// npm `mongodb-atlas-api-client`: digest by npm `urllib`.
pub fn urllib(
    base: &str,
    key: &Key,
    group: &str,
    cluster: &str,
    paths: &[&str],
) -> Result<Vec<Answer>> {
    let mut command = Command::new("node");
    command.arg(tools::script("fetch_urllib.mjs"));
    command.args([base, &key.public_key, &key.private_key, group]).args(paths);
    fetched_by_node(&mut command, cluster)
}

/// npm `@mongodb-js/mcp-atlas-api-client`: a service account's token, over TLS.
pub fn mcp(
    base: &str,
    account: &ServiceAccount,
    group: &str,
    cluster: &str,
    paths: &[&str],
    trusted: &Path,
) -> Result<Vec<Answer>> {
    let mut command = Command::new("node");
    command.env("NODE_EXTRA_CA_CERTS", trusted).arg(tools::script("fetch_mcp.mjs"));
    command.args([base, &account.client_id, &account.client_secret, group]).args(paths);
    fetched_by_node(&mut command, cluster)
}

fn fetched_by_node(command: &mut Command, cluster: &str) -> Result<Vec<Answer>> {
    let fetched: FetchedByNode = parse(&run(command)?)?;
    ensure!(fetched.clusters == [cluster], "it sees the clusters {:?}", fetched.clusters);
    Ok(fetched.answers)
}

fn parse<T: serde::de::DeserializeOwned>(printed: &str) -> Result<T> {
    serde_json::from_str(printed).with_context(|| format!("not what was asked for: {printed}"))
}

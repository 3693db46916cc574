//! What the command line does with a server and a key, beside reading: exports, reviews, reports; over HTTP and TLS.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::reading::{log_in, over_the_network, printed};
use crate::support::DataDir;
use crate::support::binary::Key;
use crate::support::process::{outcome, run, until};
use crate::support::proxy::Proxy;

const CLUSTER: &str = "Cluster0";

/// A directory with a project, a key in the file `key`, and what a server over TLS needs.
fn with_a_key() -> Result<(DataDir, Key)> {
    let data = DataDir::new()?;
    let (_, key) = data.set_up(CLUSTER, "db-1")?;
    write_key(&data, &format!("{}:{}", key.public_key, key.private_key))?;
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
    std::fs::write(data.folder().join("certificate.pem"), made.cert.pem())?;
    std::fs::write(data.folder().join("private-key.pem"), made.signing_key.serialize_pem())?;
    Ok((data, key))
}

fn write_key(data: &DataDir, key: &str) -> Result<()> {
    Ok(std::fs::write(data.folder().join("key"), key)?)
}

/// A command over the network, by TLS if the server has it.
fn there(data: &DataDir, server: &str, words: &[&str]) -> Result<Command> {
    let mut command = over_the_network(data, server, words)?;
    command.env("DOORBOOK_CA_FILE", data.folder().join("certificate.pem"));
    Ok(command)
}

const TLS: [&str; 4] = ["--tls-cert", "certificate.pem", "--tls-key", "private-key.pem"];

/// Names in a folder that begin so.
fn files(folder: &Path, beginning: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in folder.read_dir()? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(beginning) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A member of an archive, by another program.
fn member(archive: &Path, name: &str) -> Result<String> {
    let script = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; \
                  sys.stdout.write(z.read(sys.argv[2]).hex())";
    run(Command::new("python3").args(["-c", script]).arg(archive).arg(name))
}

/// Goal: an export over the network is the one of the data directory, by what it prints, its exit codes and its
/// bytes. Method: each format with and without a filter, in plain and over TLS; a name that is taken, a filter
/// that means nothing, a host that is not there, a key that is none.
#[test]
fn exports_are_the_same_over_the_network() -> Result<()> {
    let (data, key) = with_a_key()?;
    for tls in [false, true] {
        let server = data.serve(if tls { &TLS } else { &[] })?;
        if !tls {
            log_in(&server, &key, &["ann", "bob", "=cmd()", "\\u202ebob"], 1)?;
        }
        for format in ["csv", "ndjson", "parquet"] {
            for filter in
                [&[][..], &["user:ann", "--zone", "Europe/Berlin"], &["--outcome", "failure"]]
            {
                let archive = |name: &str| data.folder().join(name);
                let words =
                    |output| [&["export", "--format", format, "--output", output], filter].concat();
                let here = printed(&mut data.command(&words("here.zip"))?)?;
                let there = printed(&mut there(&data, &server.base, &words("there.zip"))?)?;
                ensure!(here.0.replace("here.zip", "there.zip") == there.0, "{here:?} {there:?}");
                let rows = format!("events.{format}");
                ensure!(
                    member(&archive("here.zip"), &rows)? == member(&archive("there.zip"), &rows)?
                );
                std::fs::remove_file(archive("here.zip"))?;
                std::fs::remove_file(archive("there.zip"))?;
            }
        }
        std::fs::write(data.folder().join("taken.zip"), "mine")?;
        for (words, code) in [
            (&["--output", "taken.zip"][..], 4),
            (&["--output", "none/x.zip"], 1),
            (&["rslt:x", "--output", "x.zip"], 2),
            (&["--host", "nowhere", "--output", "x.zip"], 3),
            (&["--project", "Nobodys", "--output", "x.zip"], 3),
        ] {
            let words = [&["export"], words].concat();
            let here = data.outcome(&words)?.status.code();
            let over = outcome(&mut there(&data, &server.base, &words)?)?;
            ensure!(
                over.status.code() == here && here == Some(code),
                "{words:?}: {here:?} {over:?}"
            );
        }
        let words = ["export", "--system", "--output", "x.zip"];
        let over = outcome(&mut there(&data, &server.base, &words)?)?;
        ensure!(over.status.code() == Some(2), "{over:?}");
        ensure!(std::fs::read(data.folder().join("taken.zip"))? == b"mine");
        ensure!(files(data.folder(), "x.zip")?.is_empty());
        server.stop()?;
    }
    Ok(())
}

/// Goal: what a broken connection left is never taken for an export. Method: exports through a proxy that cuts
/// answers, until one was cut; then nothing is there, and the same command has the whole of it once nothing is
/// cut.
#[test]
fn a_connection_that_breaks_leaves_no_export() -> Result<()> {
    let (data, key) = with_a_key()?;
    let server = data.serve(&[])?;
    let users: Vec<String> = (0..50).map(|n| format!("user-{n}")).collect();
    log_in(&server, &key, &users.iter().map(String::as_str).collect::<Vec<_>>(), 1)?;
    let proxy = Proxy::start(7)?;
    proxy.lead(Some(&server.base));
    let base = format!("http://{}", proxy.address);
    let words = ["export", "--format", "ndjson", "--output", "events.zip"];
    until("a connection that is cut", || {
        let cut = outcome(&mut there(&data, &base, &words)?)?;
        ensure!(cut.status.code() == Some(1) && cut.stdout.is_empty(), "{cut:?}");
        ensure!(files(data.folder(), "events.zip")?.is_empty());
        Ok((proxy.cuts() > 2).then_some(()))
    })?;
    proxy.be_kind();
    let told = printed(&mut there(&data, &base, &words)?)?.0;
    ensure!(told.contains("50 rows"), "{told}");
    ensure!(files(data.folder(), "events.zip")? == ["events.zip"]);
    server.stop()
}

/// Goal: of a namespace the network tells what the data directory does. Method: coverage of an array that nobody
/// watches, by its owner's token and by a key that may not.
#[test]
fn coverage_of_a_namespace_is_the_same_over_the_network() -> Result<()> {
    let (data, key) = with_a_key()?;
    data.run(&["user", "create", "alice"])?;
    data.run(&["array", "register", "s3://lake/a", "--namespace", "alice"])?;
    let token: Value = data.json(&["token", "create", "--user", "alice"])?;
    let server = data.serve(&[])?;
    write_key(&data, token["token"].as_str().context("a token")?)?;
    for words in
        [&["coverage", "--namespace", "alice"][..], &["coverage", "--namespace", "alice", "--json"]]
    {
        let here = printed(&mut data.command(words)?)?;
        let over = printed(&mut there(&data, &server.base, words)?)?;
        ensure!(here == over && here.0.contains("alice"), "{here:?}\n{over:?}");
    }
    write_key(&data, &format!("{}:{}", key.public_key, key.private_key))?;
    let refused = outcome(&mut there(&data, &server.base, &["coverage", "--namespace", "alice"])?)?;
    ensure!(refused.status.code() == Some(3), "{refused:?}");
    server.stop()
}

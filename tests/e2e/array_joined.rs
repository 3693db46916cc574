//! An array in a real bucket that is watched, while the log of its gateway is read, too.

use anyhow::{Context, Result, ensure};
use doorbook_event::Timestamp;
use serde_json::Value;

use crate::object_log::{Done, work};
use crate::support::DataDir;
use crate::support::ceph::Ceph;
use crate::support::process::until;
use crate::support::tools::{self, left_out};

const WATCHER: &str = "lake.s3";
const LOG: &str = "gateway";

/// Goal: what the storage shows and the gateway's log tells is one event: with the time and the file of whoever
/// told of it first, and with the user, address and bytes that only the log knows; what only the log tells is
/// there once. Method: both sources over one bucket of a real gateway; the `tiledb` package works an array there;
/// its list of operations is the truth.
#[test]
fn what_storage_shows_and_the_log_tells_is_one_event() -> Result<()> {
    let Some(python) = tools::tiledb_python().filter(|_| tools::has_ceph()) else {
        left_out("an array, watched and logged", "no Ceph; `cargo xtask test` installs one");
        return Ok(());
    };
    let data = DataDir::new()?;
    let at = data.folder().canonicalize()?;
    let (log, secret) = (at.join("ops.log"), at.join("s3.secret"));
    let ceph = Ceph::start(&format!(
        "rgw enable ops log = true\nrgw ops log rados = false\nrgw ops log file path = {}",
        log.display()
    ))?;
    ["ann", "bob"].iter().try_for_each(|user| ceph.user(user))?;
    std::fs::write(&secret, "secret-ann\n")?;
    let file = format!(
        "version = 1\n\
         [[source]]\nname = \"{WATCHER}\"\nkind = \"tiledb-storage\"\nnamespace = \"alice\"\n\
         path = \"s3://arrays/prod\"\ninterval_seconds = 1\n\
         [[source]]\nname = \"{LOG}\"\nkind = \"ceph-ops-log\"\nnamespace = \"alice\"\n\
         arrays = \"s3://arrays\"\npath = \"{}\"\n\
         [[bucket]]\nname = \"arrays\"\nendpoint = \"http://{}\"\nregion = \"us-east-1\"\n\
         access_key_id = \"ann\"\nsecret_access_key_file = \"{}\"\n",
        log.display(),
        ceph.endpoint,
        secret.display()
    );
    std::fs::write(data.folder().join("doorbook.toml"), file)?;
    data.run(&["user", "create", "alice"])?;
    data.run(&["apply"])?;
    let server = data.serve(&["--config", "doorbook.toml"])?;

    let mut client = work(&python, &ceph)?;
    let mut done: Vec<Done> = Vec::new();
    while done.last().is_none_or(|last| last.operation != "delete") {
        done.push(client.wait_for(|line| serde_json::from_str(line).ok())?);
    }
    let events = || -> Result<Vec<Value>> {
        let printed = data.run(&["events", "--namespace", "alice", "--json"])?;
        let events =
            printed.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        // That it was found and registered is no operation.
        Ok(events.into_iter().rev().filter(|event| event["action"] != "register").collect())
    };
    // The log tells of the last operation last.
    let told = until("the log to tell of the last operation", || {
        let told = events()?;
        let is_last = |event: &Value| event["action"] == "delete" && event["user"] == "ann";
        Ok(told.iter().any(is_last).then_some(told))
    });
    let told = told.with_context(|| format!("{:#?}", events()))?;

    let mut expected: Vec<&str> = done.iter().map(Done::action).collect();
    let mut actions: Vec<&str> = told.iter().filter_map(|event| event["action"].as_str()).collect();
    expected.sort_unstable();
    actions.sort_unstable();
    ensure!(actions == expected, "{actions:?}\nand not {expected:?}\n{told:#?}");
    for event in &told {
        let denied = event["outcome"] == "failure";
        ensure!(event["user"] == if denied { "bob" } else { "ann" }, "{event:#}");
        ensure!(event["address"] == "127.0.0.1", "{event:#}");
        let action = event["action"].as_str().context("an action")?;
        if matches!(action, "query_read" | "read_schema" | "array_metadata_get") {
            ensure!(event["source"] == LOG && event["sightings"].is_null(), "{event:#}");
            continue;
        }
        ensure!(event["source"] == WATCHER, "the storage shows it first: {event:#}");
        let log = &event["sightings"][0];
        ensure!(log["source"] == LOG && log["amends"] == true, "{event:#}");
        ensure!(event["sightings"][1].is_null(), "and once: {event:#}");
        ensure!(event["attributes"]["object"].is_string(), "{event:#}");
        let time =
            |value: &Value| -> Result<Timestamp> { Ok(value.as_str().context("a time")?.parse()?) };
        // A file's time is kept in milliseconds by the gateway; what is gone is seen some looks later.
        let later = time(&event["eventTime"])?.micros() - time(&log["eventTime"])?.micros();
        let is_gone = matches!(action, "vacuum" | "delete_fragments" | "delete");
        let allowed_seconds = if is_gone { 60 } else { 2 };
        ensure!(
            (-1_000_000..allowed_seconds * 1_000_000).contains(&later),
            "{later} µs later than the log: {event:#}"
        );
    }
    server.stop()
}

//! What the command line does with a server and a key, beside reading: exports, reviews, reports; over HTTP and TLS.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::reading::{log_in, over_the_network, printed};
use crate::support::DataDir;
use crate::support::binary::Key;
use crate::support::process::{Running, outcome, run, until};
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

/// JSON without what differs by who asked and when: the review's table names times, and a token is of an instant.
fn settled(text: &str) -> Result<Value> {
    let mut value: Value = serde_json::from_str(text)?;
    fn settle(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for name in ["token", "to", "at", "by"] {
                    members.remove(name);
                }
                members.values_mut().for_each(settle);
            }
            Value::Array(values) => values.iter_mut().for_each(settle),
            _ => {}
        }
    }
    settle(&mut value);
    Ok(value)
}

/// Goal: a review is done over the network as on the data directory, and asked twice is done once. Method: the same
/// review of both, seen by both with the same token, over TLS; marked and signed over the network, the signing
/// repeated as after a lost answer; what both show and check afterwards; what is refused, by the same exit codes.
#[test]
fn a_review_is_the_same_over_the_network() -> Result<()> {
    let (data, key) = with_a_key()?;
    data.run(&[
        "review",
        "create",
        "failures",
        "--filter",
        "result:failed",
        "--due",
        "10:00",
        "--all",
    ])?;
    let server = data.serve(&TLS)?;
    let users: Vec<String> = (0..9).map(|n| format!("user-{n}")).collect();
    let plain = data.folder().join("events.ndjson");
    let lines = users.iter().enumerate().map(|(n, user)| {
        format!(
            "{{\"time\":\"2026-11-23T05:22:0{n}Z\",\"cluster\":\"{CLUSTER}\",\"host\":\"db-1\",\"outcome\":\"failure\",\
             \"user\":\"{user}\\u202e\",\"connection\":{n}}}\n"
        )
    });
    std::fs::write(&plain, lines.collect::<String>())?;
    ship(&data, &server.base, &plain, &key)?;
    let here = |words: &[&str]| printed(&mut data.command(words)?);
    let over = |words: &[&str]| printed(&mut there(&data, &server.base, words)?);
    let fails = |words: &[&str], code: i32| -> Result<()> {
        let over = outcome(&mut there(&data, &server.base, words)?)?;
        let here = data.outcome(words)?;
        ensure!(
            over.status.code() == Some(code) && here.status.code() == Some(code),
            "{words:?}: {over:?} {here:?}"
        );
        Ok(())
    };
    for words in [
        &["review", "list"][..],
        &["review", "list", "--json"],
        &["review", "list", "--project", "Orders"],
    ] {
        let (here, over) = (here(words)?, over(words)?);
        ensure!(here == over && here.0.contains("failures"), "{words:?}\n{here:?}\n{over:?}");
    }
    let show = ["review", "show", "failures", "--json"];
    let round: Value = serde_json::from_str(&over(&show)?.0)?;
    ensure!(
        round["total"] == 9 && round["events"].as_array().is_some_and(|rows| rows.len() == 9),
        "{round}"
    );
    ensure!(settled(&here(&show)?.0)? == settled(&round.to_string())?);
    let first = ["review", "show", "failures", "--json", "--limit", "4"];
    ensure!(settled(&here(&first)?.0)?["events"] == settled(&over(&first)?.0)?["events"]);
    let row = |n: usize| round["events"][n]["id"].as_str().context("an id").map(str::to_owned);
    let (one, two, odd) = (row(0)?, row(1)?, row(2)?);
    let token = round["token"].as_str().context("a token")?;
    let (told, _) = over(&["review", "mark", "failures", &one, &two, "--expected"])?;
    ensure!(told == "2 rows marked expected", "{told}");
    over(&["review", "mark", "failures", &odd, "--follow-up", "--note", "who is that?"])?;
    let sign = |decision| {
        ["review", "sign", "failures", "--round", token, "--decision", decision, "--json"]
    };
    fails(&sign("accepted"), 2)?;
    fails(&["review", "mark", "failures", "x", "--expected"], 3)?;
    fails(&["review", "show", "nothing"], 3)?;
    fails(&["review", "sign", "failures", "--round", "x", "--decision", "accepted"], 2)?;
    let signed = over(&sign("follow_up"))?;
    ensure!(over(&sign("follow_up"))? == signed, "the answer was lost, and it is asked again");
    fails(&sign("accepted"), 4)?;
    let signed: Value = serde_json::from_str(&signed.0)?;
    ensure!(
        signed["round"] == 1
            && signed["count"] == 9
            && signed["by"] == format!("key {}", key.public_key),
        "{signed}"
    );
    over(&["review", "close", "failures", &odd, "--note", "ann"])?;
    for words in
        [&["review", "check", "failures", "1"][..], &["review", "check", "failures", "1", "--json"]]
    {
        ensure!(here(words)? == over(words)?, "{words:?}");
    }
    fails(&["review", "check", "failures", "2"], 3)?;
    let after = settled(&over(&show)?.0)?;
    ensure!(
        after == settled(&here(&show)?.0)? && after["review"]["round"] == 2 && after["total"] == 0,
        "{after}"
    );
    let create = |name| {
        ["review", "create", name, "--due", "mon 10:00", "--zone", "Europe/Berlin", "--json"]
    };
    let mut made: Value = serde_json::from_str(&over(&create("ours"))?.0)?;
    made["name"] = "theirs".into();
    let mut others: Value = serde_json::from_str(&here(&create("theirs"))?.0)?;
    for review in [&mut made, &mut others] {
        review["created"].take();
    }
    ensure!(made == others, "{made} {others}");
    fails(&create("ours"), 4)?;
    let (told, _) = over(&["review", "change", "ours", "--filter", "user:ann"])?;
    ensure!(
        told.starts_with("review ours of Orders, weekly by monday 10:00 Europe/Berlin"),
        "{told}"
    );
    ensure!(over(&["review", "remove", "ours"])?.0 == "ours is reviewed no longer");
    fails(&["review", "remove", "ours"], 3)?;
    let signs: Vec<&str> = ["events", "--system", "action:review_sign_off", "--json"].to_vec();
    ensure!(data.run(&signs)?.lines().count() == 1, "one sign-off is in the history");
    server.stop()
}

/// Sends a file of events with curl's words.
fn ship(data: &DataDir, server: &str, file: &Path, key: &Key) -> Result<()> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail-with-body", "--cacert"]);
    curl.arg(data.folder().join("certificate.pem"));
    curl.args(["--user", &format!("{}:{}", key.public_key, key.private_key)]);
    curl.args(["--header", "Content-Type: application/x-ndjson", "--data-binary"]);
    curl.arg(format!("@{}", file.display())).arg(format!("{server}/api/v1/ingest/app"));
    run(&mut curl).map(drop)
}

/// Goal: the report on accounts is the same over the network, in each of its forms. Method: a roster with an account
/// of each kind; a roster that cannot be read; a key that may not.
#[test]
fn accounts_are_reported_the_same_over_the_network() -> Result<()> {
    let (data, key) = with_a_key()?;
    let server = data.serve(&[])?;
    log_in(&server, &key, &["ann", "bob", "=cmd()", "svc"], 1)?;
    let roster = "name,kind,owner\nann,person,\nsvc,service,Orders\nnobody,person,\n";
    std::fs::write(data.folder().join("roster.csv"), roster)?;
    for more in
        [&[][..], &["--csv"], &["--interactive", "shell*"], &["--filter", "user:s* -class:system"]]
    {
        let words = [&["report", "accounts", "--roster", "roster.csv"], more].concat();
        let here = printed(&mut data.command(&words)?)?;
        let over = printed(&mut there(&data, &server.base, &words)?)?;
        let coverage = |told: &str| told.split(" up to ").next().map(str::to_owned);
        ensure!(here.0 == over.0 && coverage(&here.1) == coverage(&over.1), "{here:?}\n{over:?}");
        ensure!(here.0.contains("never seen"), "{here:?}");
    }
    let words = ["report", "accounts", "--roster", "roster.csv", "--json"];
    let here = printed(&mut data.command(&words)?)?.0;
    let over = printed(&mut there(&data, &server.base, &words)?)?.0;
    ensure!(settled(&here)? == settled(&over)?, "{here}\n{over}");
    for (more, code) in
        [(["--filter", "rslt:x"], 2), (["--interactive", "*"], 2), (["--project", "Nobodys"], 3)]
    {
        let words = [&["report", "accounts", "--roster", "roster.csv"][..], &more].concat();
        let here = data.outcome(&words)?.status.code();
        let over = outcome(&mut there(&data, &server.base, &words)?)?;
        ensure!(over.status.code() == here && here == Some(code), "{words:?}: {here:?} {over:?}");
    }
    let shipper: Value =
        data.json(&["key", "create", "--project", "Orders", "--role", "GROUP_SHIPPER"])?;
    let half = |name: &str| shipper[name].as_str().context("a text");
    write_key(&data, &format!("{}:{}", half("publicKey")?, half("privateKey")?))?;
    let words = ["report", "accounts", "--roster", "roster.csv"];
    let refused = outcome(&mut there(&data, &server.base, &words)?)?;
    ensure!(refused.status.code() == Some(1) && refused.stdout.is_empty(), "{refused:?}");
    server.stop()
}

/// Goal: who read, and what, is known although the server was killed. Method: a tail is followed until it has shown a
/// row, and then the server is killed; another time not before its rows were told of.
#[test]
fn who_reads_a_tail_is_known_after_a_kill() -> Result<()> {
    let (data, key) = with_a_key()?;
    for rows in [0, 2] {
        let server = data.serve(&[])?;
        let first = 10 * rows + 1;
        log_in(&server, &key, &["ann"], first)?;
        let filter = format!("user:b* -user:nobody-{rows}");
        let words = ["tail", "-f", "-n", "0", "--json", &filter];
        let mut follower = Running::start(&mut there(&data, &server.base, &words)?)?;
        let began = || -> Result<Vec<Value>> { of_tail(&data, &filter) };
        until("the tail is open", || Ok((!began()?.is_empty()).then_some(())))?;
        log_in(&server, &key, &["bob", "bill"], first + 1)?;
        follower.wait_for(|line| line.contains("bill").then_some(()))?;
        if rows > 0 {
            until("its rows are told of", || {
                Ok((told_rows(&began()?) == u64::from(rows)).then_some(()))
            })?;
        }
        server.kill()?;
        follower.kill()?;
        let known = began()?;
        ensure!(known.len() as u64 >= 1 && told_rows(&known) >= u64::from(rows), "{known:?}");
        let who = &known[0];
        ensure!(who["user"] == key.public_key && who["attributes"]["part"] == "began", "{who}");
    }
    Ok(())
}

/// What Doorbook's own history says of tails with a filter, oldest first.
fn of_tail(data: &DataDir, filter: &str) -> Result<Vec<Value>> {
    let told = data.run(&["events", "--system", "--limit", "0", "--json"])?;
    let rows: Result<Vec<Value>, _> = told.lines().map(serde_json::from_str).collect();
    let is_of_tail = |row: &Value| {
        let name = filter.rsplit('-').next().unwrap_or_default();
        row["attributes"]["operation"] == "native.v1.tailEvents"
            && row["attributes"]["filter"]
                .as_str()
                .is_some_and(|text| text.contains(&format!("nobody-{name}")))
    };
    let mut rows: Vec<Value> = rows?.into_iter().filter(is_of_tail).collect();
    rows.reverse();
    Ok(rows)
}

fn told_rows(records: &[Value]) -> u64 {
    let rows = |record: &Value| record["attributes"]["rows"].as_str()?.parse::<u64>().ok();
    records.iter().filter_map(rows).sum()
}

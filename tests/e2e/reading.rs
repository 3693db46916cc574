//! What the command line reads: the same on the data directory, beside a server and over the network.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::support::DataDir;
use crate::support::binary::{Key, Server};
use crate::support::http::Connection;
use crate::support::process::{Running, outcome};

const CLUSTER: &str = "Cluster0";

/// Sends logins of these users, one a second.
pub fn log_in(server: &Server, key: &Key, users: &[&str], first_second: u32) -> Result<()> {
    let lines = users.iter().zip(first_second..).map(|(user, second)| {
        format!(
            "{{\"time\":\"2026-11-23T05:22:{second:02}Z\",\"cluster\":\"{CLUSTER}\",\"host\":\"db-1\",\
             \"outcome\":\"{}\",\"user\":\"{user}\",\"database\":\"admin\",\"address\":\"192.0.2.7\",\
             \"port\":47{second:02},\"mechanism\":\"SCRAM-SHA-256\",\"application\":\"shell\",\
             \"shift\":\"night\",\"raw\":\"line {second}\",\"connection\":{second}}}\n",
            if second % 3 == 0 { "failure" } else { "success" },
        )
    });
    let lines: String = lines.collect();
    let signed = (&*key.public_key, &*key.private_key);
    let kind = [("Content-Type", "application/x-ndjson")];
    let sent =
        Connection::to(&server.base)?.send("POST", "/api/v1/ingest/app", signed, &kind, &lines)?;
    ensure!(sent.status == 200, "{sent:?}");
    Ok(())
}

/// A command that asks a server with a key, and has no data directory.
pub fn over_the_network(data: &DataDir, server: &str, words: &[&str]) -> Result<Command> {
    let words = [words, &["--server", server, "--key-file", "key"]].concat();
    let mut command = data.command(&words)?;
    command.env("DOORBOOK_DATA_DIR", data.folder().join("none"));
    Ok(command)
}

/// What a command prints, of JSON without the places that are called otherwise over a network.
pub fn printed(command: &mut Command) -> Result<(String, String)> {
    let printed = outcome(command)?;
    let talk = String::from_utf8(printed.stderr)?;
    ensure!(printed.status.success(), "{command:?}: {talk}");
    let text = String::from_utf8(printed.stdout)?;
    let lines = text.lines().map(|line| match serde_json::from_str::<Value>(line) {
        Ok(Value::Object(mut row)) => {
            row.retain(|name, _| name != "log" && name != "seq");
            serde_json::to_string(&row)
        }
        _ => Ok(line.to_owned()),
    });
    Ok((lines.collect::<Result<Vec<_>, _>>()?.join("\n"), talk))
}

/// Goal: whoever reads gets the same, wherever from. Method: each command on the data directory alone, beside
/// a server, and over the network; what it prints, and what it says.
#[test]
fn commands_read_the_same_on_a_directory_and_over_the_network() -> Result<()> {
    let data = DataDir::new()?;
    let (_, key) = data.set_up(CLUSTER, "db-1")?;
    std::fs::write(data.folder().join("key"), format!("{}:{}\n", key.public_key, key.private_key))?;
    let server = data.serve(&[])?;
    log_in(&server, &key, &["ann", "bob", "=cmd()", "ann", "\\u202ebob", "a/b c"], 1)?;
    let signed = (&*key.public_key, &*key.private_key);
    let kind = [("Content-Type", "application/x-ndjson")];
    let broken = "{\u{1b}[31m\n";
    let sent =
        Connection::to(&server.base)?.send("POST", "/api/v1/ingest/app", signed, &kind, broken)?;
    ensure!(sent.status == 200, "{sent:?}");
    let questions: Vec<Vec<&str>> = vec![
        vec!["events"],
        vec!["events", "--limit", "2"],
        vec!["events", "result:failed", "--json"],
        vec!["events", "user:nobody"],
        vec!["events", "--quarantine"],
        vec!["events", "--quarantine", "--json"],
        vec!["tail", "--quarantine"],
        vec!["tail", "-n", "3"],
        vec!["tail", "--json", "user:ann"],
        vec!["principals", "--sort", "count"],
        vec!["principals", "--json"],
        vec!["principal", "ann"],
        vec!["principal", "ann", "--zone", "Europe/Berlin", "--json"],
        vec!["principal", "nobody"],
        vec!["coverage", "--project", "Orders"],
        vec!["coverage", "--project", "Orders", "--json"],
        vec!["coverage"],
    ];
    let mut beside = Vec::new();
    for words in &questions {
        let there = printed(&mut over_the_network(&data, &server.base, words)?)?;
        let here = printed(&mut data.command(words)?)?;
        ensure!(here == there, "{words:?}\nhere:  {here:?}\nthere: {there:?}");
        beside.push(here);
    }
    let events = &beside[0].0;
    ensure!(events.contains("\\u{202e}bob@admin") && events.lines().count() == 7, "{events}");
    // What is not there, may not be read or cannot be read is told by the same exit codes.
    for (words, code) in [(["events", "rslt:x"], 2), (["events", "cluster:nowhere"], 3)] {
        let there = outcome(&mut over_the_network(&data, &server.base, &words)?)?;
        let here = data.outcome(&words)?.status.code();
        ensure!(there.status.code() == Some(code) && here == Some(code), "{words:?}: {there:?}");
    }
    for command in ["events", "tail", "principals"] {
        let words = [command, "--system"];
        let there = outcome(&mut over_the_network(&data, &server.base, &words)?)?;
        ensure!(there.status.code() == Some(2), "{words:?}: {there:?}");
    }
    std::fs::write(data.folder().join("key"), "nobody:guess\n")?;
    let refused = outcome(&mut over_the_network(&data, &server.base, &["events"])?)?;
    ensure!(refused.status.code() == Some(1) && refused.stdout.is_empty(), "{refused:?}");
    server.stop()?;
    for (words, beside) in questions.iter().zip(&beside) {
        let alone = printed(&mut data.command(words)?)?;
        ensure!(alone == *beside, "{words:?}\nalone:  {alone:?}\nbeside: {beside:?}");
    }
    Ok(())
}

/// Goal: whoever follows has each event once and in order, over a restart of the server. Method: two who
/// follow, one of them beside the server and one over the network, while events come before and after it.
#[test]
fn a_tail_goes_on_over_a_restart() -> Result<()> {
    let data = DataDir::new()?;
    let (_, key) = data.set_up(CLUSTER, "db-1")?;
    std::fs::write(data.folder().join("key"), format!("{}:{}\n", key.public_key, key.private_key))?;
    let server = data.serve(&[])?;
    let address = server.base.trim_start_matches("http://").to_owned();
    log_in(&server, &key, &["a", "b"], 1)?;
    let words = ["tail", "-f", "-n", "1", "--json"];
    let mut there = Running::start(&mut over_the_network(&data, &server.base, &words)?)?;
    let mut here = Running::start(&mut data.command(&words)?)?;
    let wait = |follower: &mut Running, user: &str| -> Result<()> {
        let of_user = format!("\"user\":\"{user}\"");
        follower.wait_for(|line| line.contains(&of_user).then_some(()))
    };
    for follower in [&mut there, &mut here] {
        wait(follower, "b")?;
    }
    log_in(&server, &key, &["c", "d"], 3)?;
    for follower in [&mut there, &mut here] {
        wait(follower, "d")?;
    }
    server.stop()?;
    let again = data.serve_at(&address, &[])?;
    log_in(&again, &key, &["e", "f"], 5)?;
    for follower in [&mut there, &mut here] {
        wait(follower, "f")?;
        let users: Result<Vec<String>> = follower
            .seen()
            .iter()
            .map(|line| {
                let row: Value = serde_json::from_str(line)?;
                Ok(row["event"]["user"].as_str().context("a text")?.to_owned())
            })
            .collect();
        ensure!(users? == ["b", "c", "d", "e", "f"], "{:?}", follower.seen());
    }
    there.interrupt()?;
    here.interrupt()?;
    again.stop()
}

/// What a shell is told names the commands.
#[test]
fn shells_complete_commands() -> Result<()> {
    let data = DataDir::new()?;
    for shell in ["bash", "zsh", "fish"] {
        let script = data.run(&["completions", shell])?;
        ensure!(script.contains("principals") && script.contains("key-file"), "{shell}: {script}");
    }
    Ok(())
}

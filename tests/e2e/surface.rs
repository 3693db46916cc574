//! What scripts rely on: words, exit codes, refusals that change nothing, taking an import back.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::support::DataDir;

const CLUSTER: &str = "Cluster0";
const HOST: &str = "db-1.example.net";

/// A login of 6.0, as its log has it: nothing in it says which host it was.
const LOGIN: &str = concat!(
    r#"{"t":{"$date":"2026-11-23T05:22:54.180+00:00"},"s":"I",  "c":"ACCESS",   "id":20250,   "#,
    r#""ctx":"conn6","msg":"Authentication succeeded","attr":{"mechanism":"SCRAM-SHA-256","#,
    r#""speculative":true,"principalName":"ann","authenticationDatabase":"admin","#,
    r#""remote":"192.0.2.7:4711","extraInfo":{}}}"#,
    "\n"
);

fn with_a_log() -> Result<DataDir> {
    let data = DataDir::new()?;
    data.set_up(CLUSTER, HOST)?;
    std::fs::write(data.folder().join("login.log"), LOGIN)?;
    Ok(data)
}

/// Goal: a wrong command says what is wrong in its own words, by the documented exit code, and
/// changes nothing. Method: each of them, and what is registered and imported before and after.
#[test]
fn a_refused_command_says_why_and_changes_nothing() -> Result<()> {
    let data = with_a_log()?;
    std::fs::write(data.folder().join("binary.log"), [0, 159, 146, 150, 0, 0, 1, 2])?;
    let import = ["import", "--project", "Orders", "--cluster", CLUSTER];
    let with = |more: &[&'static str]| [&import, more].concat();
    let refused: Vec<(Vec<&str>, i32, &str)> = vec![
        (with(&["login.log"]), 2, "--host"),
        (with(&["--host", "db-2.example.net", "login.log"]), 3, "--add-host"),
        (with(&["--host", HOST, "missing.log"]), 1, "missing.log"),
        (with(&["--host", HOST, "binary.log"]), 1, "binary.log"),
        (with(&["--host", HOST, "--time-zone", "Mars/Olympus", "login.log"]), 2, "Mars/Olympus"),
        (vec!["import", "--project", "Nope", "--cluster", CLUSTER, "login.log"], 3, "Nope"),
        (vec!["import", "--project", "Orders", "--cluster", "Nope", "login.log"], 3, "Nope"),
        (vec!["import", "retract", "imp-0000000000"], 3, "imp-0000000000"),
        (vec!["project", "create", "Orders"], 4, "Orders"),
        (vec!["project", "create", "Other", "--id", "XYZ"], 2, "24"),
        (vec!["cluster", "create", "a b", "--project", "Orders", "--host", HOST], 2, "a b"),
        (vec!["key", "create", "--project", "Orders", "--role", "NOBODY"], 2, "GROUP_OWNER"),
        (vec!["serve", "--listen", "0.0.0.0:0"], 2, "--plaintext"),
        (vec!["serve", "--listen", "nowhere"], 2, "--listen"),
        (vec!["serve", "--tls-cert", "missing.pem"], 2, "--tls-key"),
        (vec!["no-such-command"], 2, "no-such-command"),
    ];
    let before = everything_registered(&data)?;
    for (words, code, says) in refused {
        let outcome = data.outcome(&words)?;
        let stderr = String::from_utf8_lossy(&outcome.stderr);
        ensure!(outcome.status.code() == Some(code), "{words:?}: {}: {stderr}", outcome.status);
        ensure!(stderr.contains(says), "{words:?} does not say {says:?}: {stderr}");
        ensure!(outcome.stdout.is_empty(), "{words:?}: stdout is for data: {outcome:?}");
    }
    ensure!(everything_registered(&data)? == before, "a refused command has changed something");
    Ok(())
}

fn everything_registered(data: &DataDir) -> Result<Vec<String>> {
    let lists = [
        ["project", "list"],
        ["cluster", "list"],
        ["key", "list"],
        ["import", "list"],
        ["events", "--limit=0"],
    ];
    lists.iter().map(|words| data.run(&[words[0], words[1], "--json"])).collect()
}

/// Goal: an import under the wrong host can be taken back, and the same file then imported under the
/// right one; both while a server runs and answers.
#[test]
fn a_wrong_import_is_taken_back_beside_a_running_server() -> Result<()> {
    let data = with_a_log()?;
    let server = data.serve(&[])?;
    let import = |host: &str| -> Result<Value> {
        data.json(&[
            "import",
            "--project",
            "Orders",
            "--cluster",
            CLUSTER,
            "--add-host",
            "--host",
            host,
            "login.log",
        ])
    };
    let wrong = import("db-9.example.net")?;
    ensure!(wrong["events"] == 1, "{wrong}");
    let id = wrong["id"].as_str().context("a receipt has an id")?;
    data.run(&["import", "retract", id])?;
    ensure!(data.run(&["events", "--json"])?.is_empty(), "a retracted login is still answered");
    let right = import(HOST)?;
    ensure!(right["events"] == 1 && right["duplicates"] == 0, "{right}");
    let event: Value = serde_json::from_str(&data.run(&["events", "--json"])?)?;
    ensure!(event["user"] == "ann" && event["address"] == "192.0.2.7", "{event}");
    ensure!(event["raw"].as_str() == Some(LOGIN.trim_end()), "the record is verbatim: {event}");
    server.stop()
}

/// Goal: standard input is an input like any other, and what was imported by name is not new there.
#[test]
fn a_pipe_is_an_input() -> Result<()> {
    let data = with_a_log()?;
    let script = format!(
        "cat login.log | \"$DOORBOOK\" import --json --project Orders --cluster {CLUSTER} --host {HOST} -"
    );
    let through_a_pipe = || -> Result<Value> {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script]).current_dir(data.folder());
        shell.env("DOORBOOK", crate::support::binary::doorbook()?);
        shell.env("DOORBOOK_DATA_DIR", data.folder().join("data"));
        Ok(serde_json::from_str(&crate::support::process::run(&mut shell)?)?)
    };
    let first = through_a_pipe()?;
    ensure!(first["events"] == 1 && first["successes"] == 1, "{first}");
    let again = through_a_pipe()?;
    ensure!(again["events"] == 0 && again["duplicates"] == 1, "{again}");
    Ok(())
}

/// Goal: two processes never write one data directory; the second works through the first, or says
/// who holds it. Method: a second server beside the first.
#[test]
fn a_second_server_is_refused_and_the_first_goes_on() -> Result<()> {
    let data = with_a_log()?;
    let server = data.serve(&[])?;
    let second = data.outcome(&["serve", "--listen", "127.0.0.1:0"])?;
    ensure!(second.status.code() == Some(1), "{second:?}");
    let project: Vec<Value> = data.json(&["project", "list"])?;
    ensure!(project.len() == 1, "{project:?}");
    server.stop()
}

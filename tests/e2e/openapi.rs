//! The description of our own API against the server that serves it.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::support::DataDir;
use crate::support::http::Connection;
use crate::support::process::outcome;
use crate::support::tools::{left_out, python};

/// Goal: whatever the description allows to be asked has an answer that the description promises, and none
/// is a fault of the server. Method: Schemathesis, with a fixed seed and so many examples, over a history of
/// a few events with odd names. What only agents say, and a tail, which has no end, are left out.
#[test]
fn the_server_is_as_it_is_described() -> Result<()> {
    let what = "what OpenAPI describes, asked by Schemathesis";
    let Some(python) = python() else {
        left_out(what, "the Python packages");
        return Ok(());
    };
    let data = DataDir::new()?;
    let (_, key) = data.set_up("Cluster0", "db-1")?;
    let server = data.serve(&[])?;
    let lines = ["ann", "=1+1", "\\u202e", "a/b c", ""].iter().enumerate().map(|(n, user)| {
        format!(
            "{{\"time\":\"2026-11-23T05:22:5{n}Z\",\"cluster\":\"Cluster0\",\"host\":\"db-1\",\
             \"outcome\":\"success\",\"user\":\"{user}\",\"connection\":{n}}}\n"
        )
    });
    let lines: String = lines.chain(["{\n".to_owned()]).collect();
    let signed = (&*key.public_key, &*key.private_key);
    let kind = [("Content-Type", "application/x-ndjson")];
    let sent =
        Connection::to(&server.base)?.send("POST", "/api/v1/ingest/app", signed, &kind, &lines)?;
    ensure!(sent.status == 200, "{sent:?}");

    let description = format!("{}/api/v1/openapi.json", server.base);
    let mut ask = Command::new(python.parent().context("it is in a folder")?.join("st"));
    ask.args(["run", &description]);
    ask.args(["--auth", &format!("{}:{}", key.public_key, key.private_key)]);
    ask.args(["--phases", "coverage,fuzzing", "--max-examples", "20", "--seed", "1"]);
    ask.args(["--exclude-operation-id-regex", "^(agent|tail)"]);
    // A text that is no filter is refused, and no schema can say which texts are.
    ask.args(["--exclude-checks", "positive_data_acceptance", "--no-color"]);
    let asked = outcome(ask.current_dir(data.folder()))?;
    let said = String::from_utf8_lossy(&asked.stdout);
    ensure!(asked.status.success(), "{said}\n{}", String::from_utf8_lossy(&asked.stderr));
    ensure!(said.contains("21 passed") || said.contains("Tested: 21"), "{said}");
    server.stop()
}

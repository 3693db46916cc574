//! Array activity with the real clients of TileDB Cloud and the real `tiledb` package.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::DataDir;
use crate::support::binary::Server;
use crate::support::http::Connection;
use crate::support::process::run;
use crate::support::tools::{self, left_out};

/// alice, of the lab, with a token; bob with a password and a token; a server that lets them register
/// what is below `arrays`.
struct Cloud {
    data: DataDir,
    server: Server,
    alice: String,
    alice_password: String,
    bob: String,
    bob_password: String,
}

#[derive(Deserialize)]
struct User {
    username: String,
    password: String,
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

impl Cloud {
    fn new() -> Result<Cloud> {
        let data = DataDir::new()?;
        let arrays = data.folder().join("arrays");
        std::fs::create_dir(&arrays)?;
        std::fs::write(data.folder().join("password"), "correct horse battery\n")?;
        let words = ["user", "create", "alice", "--password-file", "password"];
        let alice: User = data.json(&words)?;
        ensure!(alice.username == "alice" && alice.password == "correct horse battery");
        let bob: User = data.json(&["user", "create", "bob"])?;
        data.run(&["organization", "create", "lab", "--member", "alice"])?;
        let token = |user: &str| -> Result<String> {
            let token: Token = data.json(&["token", "create", "--user", user])?;
            Ok(token.token)
        };
        let tokens = (token("alice")?, token("bob")?);
        let root = arrays.to_str().context("temporary paths are UTF-8")?;
        let server = data.serve(&["--array-root", root])?;
        Ok(Cloud {
            server,
            alice: tokens.0,
            alice_password: alice.password,
            bob: tokens.1,
            bob_password: bob.password,
            data,
        })
    }

    /// What the example does with an array that it makes. Returns its folder.
    fn run_example(&self, python: &Path) -> Result<PathBuf> {
        let folder = self.data.folder().canonicalize()?.join("arrays/temperatures");
        let mut example = Command::new(python);
        example.arg(tools::workspace().join("examples/array_activity.py"));
        run(example.args([&self.server.base, "alice", &self.alice]).arg(&folder))?;
        Ok(folder)
    }

    /// An answer of TileDB's API to alice by her password.
    fn get(&self, path: &str) -> Result<Value> {
        let caller = ("alice", &*self.alice_password);
        let reply = Connection::to(&self.server.base)?.send("GET", path, caller, &[], "")?;
        ensure!(reply.status == 200, "{path}: {reply:?}");
        Ok(serde_json::from_str(&reply.body)?)
    }
}

fn python(what: &str) -> Option<PathBuf> {
    let python = tools::tiledb_python();
    if python.is_none() {
        left_out(what, "no Python environment with tiledb; `cargo xtask test` installs one");
    }
    python
}

fn words<'a>(rows: &'a Value, name: &str) -> Vec<&'a str> {
    rows.as_array().into_iter().flatten().filter_map(|row| row[name].as_str()).collect()
}

/// Goal: the example of the documentation works on a real array, and what it tells is what it did.
/// Method: run it, and compare what both APIs and the command line show with the list of its
/// operations.
#[test]
fn the_example_tells_what_it_does() -> Result<()> {
    let Some(python) = python("the example with the real tiledb package") else { return Ok(()) };
    let cloud = Cloud::new()?;
    let folder = cloud.run_example(&python)?;
    // By our clock and by its own, newest first; how long vacuum took does not matter.
    let did = [
        "vacuum",
        "consolidate",
        "query_delete",
        "query_read",
        "query_write",
        "query_write",
        "register",
        "create",
    ];
    let words_of_line = ["events", "--namespace", "alice", "--array", "temperatures", "--json"];
    let printed = cloud.data.run(&words_of_line)?;
    let lines: Vec<Value> = printed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(words(&Value::from(lines.clone()), "action") == did, "{printed}");
    let uri = folder.display().to_string().replace('/', "%2F");
    let rows = cloud.get(&format!("/v1/arrays/alice/file%3A%2F%2F{uri}/activity"))?;
    ensure!(words(&rows, "action") == did[2..], "{rows}");
    let read = &rows[1];
    ensure!(read["bytes_sent"] == 176 && read["username"] == "alice", "{read}");
    for name in ["query_ranges", "query_stats"] {
        let text = read[name].as_str().with_context(|| format!("{name} of {read}"))?;
        ensure!(serde_json::from_str::<Value>(text)?.is_object(), "{name}: {text}");
    }
    let tasks: std::collections::BTreeSet<&str> =
        words(&rows, "array_task_id").into_iter().collect();
    ensure!(tasks.len() == 1, "it is one task: {tasks:?}");
    let page = cloud.get("/v2/arrays/alice/temperatures/activity?event_types=write&per_page=2")?;
    ensure!(page["pagination_metadata"]["total_items"] == 3, "{page}");
    cloud.server.stop()
}

/// Goal: what a user of TileDB Cloud does with its Python client, unmodified, works here and is
/// refused here as it should be. Method: `tiledb_calls.py`.
#[test]
fn the_python_client_works_unmodified() -> Result<()> {
    let Some(python) = python("the Python client of TileDB Cloud") else { return Ok(()) };
    let cloud = Cloud::new()?;
    let folder = cloud.run_example(&python)?;
    let token: Value = cloud.get("/v1/user")?;
    ensure!(token["username"] == "alice", "{token}");
    // The example's is deregistered, so that the client can begin.
    cloud.data.run(&["array", "deregister", "temperatures", "--namespace", "alice"])?;
    let mut calls = Command::new(&python);
    calls.arg(tools::script("tiledb_calls.py"));
    calls.args([&cloud.server.base, &cloud.alice, &cloud.bob_password]).arg(&folder).arg("t-1");
    let printed = run(calls.env("HOME", cloud.data.folder()))?;
    let seen: Value = serde_json::from_str(&printed).context(printed.clone())?;

    let metadata = |page: f64, per_page: f64, total: f64| json!({"page": page, "per_page": per_page, "total_pages": total, "total_items": total});
    let uri = format!("file://{}", folder.display());
    let all = ["query_read", "query_delete", "register"];
    let rights =
        ["read", "write", "edit", "read_array_logs", "read_array_info", "read_array_schema"];
    for (name, expected) in [
        ("user", json!(["alice", "lab"])),
        ("registered", json!(["arr1", "alice", uri, true])),
        ("info", json!(["arr1", "d", rights, false])),
        ("reported", json!([1, 1])),
        ("activity", json!(all)),
        (
            "row",
            json!({
                "action": "query_read", "username": "alice", "bytes_sent": 2048, "bytes_received": 10,
                "array_task_id": "t-1", "query_ranges": r#"{"rows":[{"start":1,"end":4}]}"#,
                "query_stats": r#"{"timers": {}}"#,
            }),
        ),
        ("by_uri", json!(true)),
        ("by_id", json!(true)),
        ("async", json!(true)),
        ("one", json!(true)),
        ("v1", json!(["query_read"])),
        ("v1_no_task", json!(all)),
        ("v1_read", json!(["query_read"])),
        ("v2", json!([["query_read"], metadata(1.0, 50.0, 1.0)])),
        ("v2_second", json!([["query_write"], metadata(2.0, 1.0, 3.0)])),
        ("v2_empty", json!([[], 0.0])),
        ("shares", json!([["bob", ["read", "write"]]])),
        ("unshared", json!([])),
        ("owned", json!(["arr1"])),
        ("public", json!([])),
        ("bob", json!("bob")),
        ("bob_shared", json!(true)),
        ("bob_list", json!(["arr1"])),
        ("updated", json!(["arr2", "new", ["a", "b"]])),
        ("asset", json!("arr2")),
        ("asset_public", json!(["arr2"])),
        ("again", json!(["register"])),
    ] {
        ensure!(seen[name] == expected, "{name}: {} and not {expected}", seen[name]);
    }
    let absent = "There is no array";
    for (name, says) in [
        ("registered_again", ["is registered in namespace alice already, as arr1", "Code: 409"]),
        ("outside", ["--array-root", "Code: 400"]),
        ("v1_list", ["as Python prints it", "\"code\":400"]),
        ("v2_text", ["one letter", "\"code\":400"]),
        ("v2_page_0", ["page is a number from 1 on", "\"code\":400"]),
        ("absent", [absent, "Code: 404"]),
        ("dots", [absent, "Code: 404"]),
        ("bob_before", [absent, "Code: 404"]),
        ("bob_may_not", ["Only the owner", "Code: 403"]),
        ("public_activity", ["is for its owner", "Code: 403"]),
        ("asset_absent", ["Given URI", "invalid"]),
        ("deregistered", [absent, "Code: 404"]),
        ("deleted", [absent, "Code: 404"]),
        ("stranger", ["Who is asking?", "Code: 401"]),
    ] {
        let text = seen[name].as_str().unwrap_or_default();
        ensure!(says.iter().all(|says| text.contains(says)), "{name}: {}", seen[name]);
    }
    // What the client did is recorded with who and from where.
    let printed = cloud.data.run(&["events", "--namespace", "alice", "--json", "--limit", "0"])?;
    let lines: Vec<Value> = printed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let of_client = lines.iter().filter(|line| {
        line["user"] == "alice" && line["address"] == "127.0.0.1" && line["source"] == "doorbook"
    });
    let mut did = words(&Value::from(of_client.cloned().collect::<Vec<_>>()), "action")
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    did.sort();
    did.dedup();
    ensure!(did == ["delete", "deregister", "register", "share", "update"], "{did:?}\n{printed}");
    cloud.server.stop()
}

/// Goal: the same with the JavaScript client. Method: `tiledb_calls.mjs`.
#[test]
fn the_javascript_client_works_unmodified() -> Result<()> {
    let what = "the JavaScript client of TileDB Cloud";
    let Some(installed) = tools::node_clients() else {
        left_out(what, "no npm clients; `cargo xtask test` installs them");
        return Ok(());
    };
    let cloud = Cloud::new()?;
    // A folder with a schema is an array to whoever only registers it.
    let folder = cloud.data.folder().canonicalize()?.join("arrays/js");
    std::fs::create_dir_all(folder.join("__schema"))?;
    let uri = format!("file://{}", folder.display());
    let mut calls = Command::new("node");
    calls.env("DOORBOOK_TEST_TOOLS", installed).arg(tools::script("tiledb_calls.mjs"));
    calls.args([&cloud.server.base, &cloud.alice, &cloud.bob, &uri, "t-2"]);
    let printed = run(&mut calls)?;
    let seen: Value = serde_json::from_str(&printed).context(printed.clone())?;
    let metadata = |page: u64, per_page: u64, total: u64| json!({"page": page, "per_page": per_page, "total_pages": total, "total_items": total});
    let all = ["query_read", "query_delete", "register"];
    for (name, expected) in [
        ("user", json!("alice")),
        ("registered", json!("js")),
        ("reported", json!([1, 1])),
        ("activity", json!(all)),
        (
            "row",
            json!({
                "action": "query_read", "username": "alice", "bytes_sent": 80,
                "array_task_id": "t-2", "query_ranges": r#"{"rows":[{"start":0,"end":9}]}"#,
            }),
        ),
        ("one", json!(true)),
        ("by_uri", json!(true)),
        ("v1", json!(["query_read"])),
        ("v1_no_task", json!(all)),
        ("v2", json!([["query_read"], metadata(1, 50, 1)])),
        ("v2_second", json!([["query_write"], metadata(2, 1, 3)])),
        ("bob_before", json!(404)),
        ("shared", json!(204)),
        ("bob_shared", json!(true)),
        ("bob_list", json!(["js"])),
        ("bob_may_not", json!(403)),
        ("shares", json!([["bob", ["read"]]])),
        ("unshared", json!(204)),
        ("bob_after", json!(404)),
        ("updated", json!(204)),
        ("info", json!("new")),
        ("owned", json!(["js"])),
        ("last", json!(["query_read"])),
        ("deregistered", json!(204)),
        ("deleted", json!(204)),
        ("gone", json!(404)),
        ("stranger", json!(401)),
    ] {
        ensure!(seen[name] == expected, "{name}: {} and not {expected}", seen[name]);
    }
    for (name, code, says) in [
        ("outside", 400, "--array-root"),
        ("unknown", 400, "there is no event type"),
        ("absent", 404, "There is no array"),
    ] {
        let message = seen[name]["message"].as_str().unwrap_or_default();
        ensure!(seen[name]["code"] == code && message.contains(says), "{name}: {}", seen[name]);
    }
    cloud.server.stop()
}

/// Goal: the words that scripts rely on do what they say, and refuse what they cannot do without changing
/// anything; a token that is deleted ends at once. Method: each of them, beside a running server.
#[test]
fn the_words_for_arrays_work_beside_a_server() -> Result<()> {
    let cloud = Cloud::new()?;
    let data = &cloud.data;
    for array in ["one", "deep/two", "deep/er/three"] {
        std::fs::create_dir_all(data.folder().join("arrays").join(array).join("__schema"))?;
    }
    let register = ["array", "register", "arrays", "--recursive", "--namespace", "lab"];
    let made: Value = data.json(&register)?;
    ensure!(words(&made, "name") == ["deep/er/three", "deep/two", "one"], "{made}");
    let again: Value = data.json(&register)?;
    ensure!(again == json!([]), "what is known stays as it is: {again}");
    data.run(&["array", "deregister", "deep/two", "--namespace", "lab"])?;
    let left: Value = data.json(&["array", "list", "--namespace", "lab"])?;
    ensure!(words(&left, "name") == ["deep/er/three", "one"], "{left}");
    // alice is a member of the lab.
    let rows = cloud.get("/v1/arrays/lab/one/activity")?;
    ensure!(words(&rows, "action") == ["register"], "{rows}");

    let refused: Vec<(Vec<&str>, i32, &str)> = vec![
        (vec!["user", "create", "alice"], 4, "namespace alice already"),
        (vec!["user", "create", "lab"], 4, "namespace lab already"),
        (vec!["user", "create", "a b"], 2, "63 letters"),
        (vec!["user", "create", "public"], 2, "public"),
        (vec!["user", "create", "carol", "--password-file", "absent"], 1, "absent"),
        (vec!["organization", "create", "lab2", "--member", "nobody"], 3, "nobody"),
        (vec!["organization", "add", "lab", "alice"], 4, "member"),
        (vec!["token", "create", "--user", "nobody"], 3, "nobody"),
        (vec!["token", "delete", "--user", "nobody"], 3, "nobody"),
        (vec!["array", "register", "arrays/one"], 2, "--namespace"),
        (vec!["array", "register", "arrays/one", "--namespace", "lab"], 4, "already"),
        (vec!["array", "register", "arrays", "--namespace", "lab"], 2, "no schema"),
        (vec!["array", "register", "absent", "--namespace", "lab"], 1, "absent"),
        (vec!["array", "register", "s3://b/../x", "--namespace", "lab"], 2, "not where"),
        (vec!["array", "deregister", "absent", "--namespace", "lab"], 3, "absent"),
        (vec!["array", "list", "--namespace", "nobody"], 3, "nobody"),
        (vec!["events", "--namespace", "nobody"], 3, "nobody"),
        (vec!["events", "--namespace", "lab", "--array", "absent"], 3, "absent"),
        (vec!["retention", "set", "--namespace", "nobody", "--keep", "30"], 3, "nobody"),
        (vec!["serve", "--array-root", "absent"], 2, "absent"),
    ];
    let before = data.run(&["array", "list", "--json"])?;
    for (words, code, says) in refused {
        let outcome = data.outcome(&words)?;
        let stderr = String::from_utf8_lossy(&outcome.stderr);
        ensure!(outcome.status.code() == Some(code), "{words:?}: {}: {stderr}", outcome.status);
        ensure!(stderr.contains(says), "{words:?} does not say {says:?}: {stderr}");
        ensure!(outcome.stdout.is_empty(), "{words:?}: stdout is for data: {outcome:?}");
    }
    ensure!(
        data.run(&["array", "list", "--json"])? == before,
        "a refused command changed something"
    );

    data.run(&["retention", "set", "--namespace", "lab", "--keep", "30"])?;
    let kept: Value = data.json(&["retention", "list"])?;
    let of_lab = kept.as_array().into_iter().flatten().find(|row| row["scope"] == "namespace/lab");
    ensure!(of_lab.is_some_and(|row| row["pending"]["keepDays"] == 30), "{kept}");

    let ask = |token: &str| -> Result<u16> {
        let headers = [("X-TILEDB-REST-API-KEY", token)];
        let mut connection = Connection::to(&cloud.server.base)?;
        Ok(connection.send("GET", "/v1/user", ("", ""), &headers, "")?.status)
    };
    ensure!(ask(&cloud.bob)? == 200);
    data.run(&["token", "delete", "--user", "bob"])?;
    ensure!(ask(&cloud.bob)? == 401 && ask(&cloud.alice)? == 200);
    let users: Value = data.json(&["user", "list"])?;
    ensure!(users[1]["username"] == "bob" && users[1]["tokens"] == 0, "{users}");
    cloud.server.stop()
}

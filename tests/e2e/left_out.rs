//! Not a test: prints which tests had nothing to run with, where the user sees it.

#[path = "support/tools.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod tools;

fn main() {
    // nextest asks each test binary for its tests before it runs them.
    let asked = |option: &str| std::env::args().any(|argument| argument == option);
    if asked("--list") {
        if !asked("--ignored") {
            println!("what_was_left_out: test");
        }
        return;
    }
    let missing: Vec<_> = inventory().into_iter().filter(|(_, _, present)| !present).collect();
    if missing.is_empty() {
        println!("\nnothing was left out\n");
        return;
    }
    println!();
    for (what, why, _) in missing {
        println!("left out: {what} ({why})");
    }
    println!();
}

/// Each thing that may be missing: what it is, what is not tested without it, whether it is there.
fn inventory() -> Vec<(&'static str, &'static str, bool)> {
    const INSTALL: &str = "cargo xtask test installs it";
    vec![
        (
            "a real mongod: logins it records, imported and compared",
            INSTALL,
            !tools::mongods().is_empty(),
        ),
        (
            "a real Ceph gateway: what its log says of arrays, compared with what was done",
            INSTALL,
            tools::has_ceph(),
        ),
        (
            "a real rsyslog: what it forwards, received and compared",
            INSTALL,
            tools::rsyslog().is_some(),
        ),
        (
            "a real mongod that writes to syslog",
            "this machine lets nobody have a /dev of their own (unshare --mount)",
            tools::own_dev().is_some(),
        ),
        ("python requests, atlasapi, pymongo and schemathesis", INSTALL, tools::python().is_some()),
        (
            "deltalake, ClickHouse and DuckDB: the tables as they read them",
            INSTALL,
            tools::tool("engines/bin/python").is_some(),
        ),
        ("tiledb and the Python client of TileDB Cloud", INSTALL, tools::tiledb_python().is_some()),
        ("the npm client libraries", INSTALL, tools::node_clients().is_some()),
        (
            "Chromium with its driver, and axe: the page as people use it",
            INSTALL,
            tools::browser().is_some(),
        ),
        ("curl --digest", "curl is not installed", tools::curl().is_some()),
        (
            "the shared real logs",
            "no samples folder (DOORBOOK_SHARED names its parent)",
            tools::samples().is_some(),
        ),
        (
            "other versions of mongod",
            "DOORBOOK_TEST_MONGOD=PATH[:PATH] names none",
            std::env::var_os(tools::MONGOD_VAR).is_some(),
        ),
    ]
}

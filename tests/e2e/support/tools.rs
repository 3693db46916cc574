//! What the tests need besides Rust, and where it is.
//!
//! `cargo xtask test` installs all of it and says where through `DOORBOOK_TEST_TOOLS`. A test asks
//! for what it needs first and, where that is missing, returns after [`left_out`].

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder with everything that `cargo xtask test` installed.
const TOOLS_VAR: &str = "DOORBOOK_TEST_TOOLS";
/// Further mongod binaries, in the form of `PATH`.
pub const MONGOD_VAR: &str = "DOORBOOK_TEST_MONGOD";
/// The folder with shared samples, beside the repository by default.
const SHARED_VAR: &str = "DOORBOOK_SHARED";

fn installed() -> Option<PathBuf> {
    std::env::var_os(TOOLS_VAR).map(PathBuf::from)
}

fn existing(path: PathBuf) -> Option<PathBuf> {
    path.exists().then_some(path)
}

/// A file that was installed, by its path in the folder.
pub fn tool(path: &str) -> Option<PathBuf> {
    existing(installed()?.join(path))
}

/// The Python with pymongo, requests, atlasapi and schemathesis.
pub fn python() -> Option<PathBuf> {
    tool("python/bin/python")
}

/// The Python with tiledb and the client of TileDB Cloud.
pub fn tiledb_python() -> Option<PathBuf> {
    tool("tiledb/bin/python")
}

/// Where the npm clients are installed; `node` itself is the machine's.
pub fn node_clients() -> Option<PathBuf> {
    if !runs("node") {
        return None;
    }
    tool("clients/node_modules")?;
    installed()
}

/// Chromium's driver, which starts Chromium, and axe's script.
pub fn browser() -> Option<(&'static str, PathBuf)> {
    let axe = tool("clients/node_modules/axe-core/axe.min.js")?;
    (runs("chromium") && runs("chromedriver")).then_some(("chromedriver", axe))
}

/// The machine's curl.
pub fn curl() -> Option<&'static str> {
    runs("curl").then_some("curl")
}

/// The mongod binaries to run: the installed one, and those of `DOORBOOK_TEST_MONGOD`.
pub fn mongods() -> Vec<PathBuf> {
    let named = std::env::var_os(MONGOD_VAR).unwrap_or_default();
    let installed = tool("mongod/mongod");
    let named = std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty());
    installed.into_iter().chain(named).collect()
}

/// The folder with rsyslog's packages.
pub fn rsyslog() -> Option<PathBuf> {
    tool("rsyslog/usr/sbin/rsyslogd")?;
    tool("rsyslog")
}

/// Whether the machine has Ceph's programs: Debian's packages radosgw, ceph-mon, ceph-osd and ceph-common.
pub fn has_ceph() -> bool {
    const PROGRAMS: [&str; 6] =
        ["radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "monmaptool"];
    PROGRAMS.into_iter().all(runs)
}

/// What gives a process a `/dev` of its own, where the machine lets this user have one: as root, or as root
/// of a namespace.
pub fn own_dev() -> Option<&'static [&'static str]> {
    const WAYS: [&[&str]; 2] =
        [&["unshare", "--mount"], &["unshare", "--user", "--map-root-user", "--mount"]];
    let works = |words: &&&[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["sh", "-c", "mount -t tmpfs tmpfs /dev"]);
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    WAYS.iter().find(works).copied()
}

/// The Python and the mongods that a test needs; says so where they are missing.
pub fn needed(what: &str) -> Option<(PathBuf, Vec<PathBuf>)> {
    let Some(python) = python() else {
        left_out(what, "no Python environment; `cargo xtask test` installs one");
        return None;
    };
    let binaries = mongods();
    if binaries.is_empty() {
        left_out(what, "no mongod; `cargo xtask test` installs one");
        return None;
    }
    Some((python, binaries))
}

/// The shared real logs with their counts.
pub fn samples() -> Option<PathBuf> {
    let shared = match std::env::var_os(SHARED_VAR) {
        Some(shared) => PathBuf::from(shared),
        None => workspace().parent()?.join("shared"),
    };
    existing(shared.join("samples/mongod"))
}

/// The workspace's folder.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package is a folder of the workspace")
}

/// A client script of this package.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// Says that a test, or a part of one, was not run, and why.
pub fn left_out(what: &str, missing: &str) {
    println!("left out: {what}: {missing}");
}

fn runs(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

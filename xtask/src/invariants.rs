//! What ARCHITECTURE.md says about who may depend on whom, held by cargo's own view of the tree.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::process::{cargo, output, workspace};

/// Our crates, and which of ours each may use. Data flows one way.
const OURS: [(&str, &[&str]); 6] = [
    ("doorbook-event", &[]),
    ("doorbook-source", &["doorbook-event"]),
    ("doorbook-store", &["doorbook-event"]),
    ("doorbook-server", &["doorbook-event", "doorbook-source", "doorbook-store"]),
    ("doorbook-agent", &["doorbook-event", "doorbook-source"]),
    (
        "doorbook",
        &[
            "doorbook-event",
            "doorbook-source",
            "doorbook-store",
            "doorbook-server",
            "doorbook-agent",
        ],
    ),
];

/// What must not be anywhere below a crate, and why.
const ABSENT: [(&str, &[&str], &str); 4] = [
    ("doorbook-event", &["tokio", "mio", "rustix", "getrandom", "parquet"], "no I/O"),
    (
        "doorbook-source",
        &["tokio", "mio", "hyper", "axum", "parquet", "rustls"],
        "an agent will ship with it alone",
    ),
    (
        "doorbook-agent",
        &[
            "tokio",
            "mio",
            "hyper",
            "axum",
            "parquet",
            "arrow-array",
            "arrow-schema",
            "doorbook-store",
            "doorbook-server",
            "aws-lc-rs",
        ],
        "it runs beside databases, and ships event and source alone",
    ),
    (
        "doorbook-store",
        &["tokio", "mio", "hyper", "axum", "arrow-array", "rustls"],
        "no async, no API, no arrays",
    ),
];

/// Crates of which two copies would cost minutes of build time, or disagree with each other.
const ONCE: [&str; 6] = ["hyper", "jiff", "object_store", "parquet", "rustls", "tokio"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    workspace_default_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// `null` for a normal dependency.
    kind: Option<String>,
}

/// Checks all of them.
pub fn check() -> Result<()> {
    let metadata = output(&mut cargo(["metadata", "--format-version=1", "--locked"]))?;
    let metadata: Metadata = serde_json::from_str(&metadata)?;
    let tree = Tree::new(&metadata);
    for (name, allowed) in OURS {
        let used = tree.direct(name)?;
        let ours = used.iter().filter(|used| OURS.iter().any(|(ours, _)| ours == *used));
        for used in ours {
            ensure!(allowed.contains(used), "{name} uses {used}, against ARCHITECTURE.md");
        }
    }
    for (name, absent, why) in ABSENT {
        let below = tree.below(name)?;
        if let Some(found) = absent.iter().find(|absent| below.contains(*absent)) {
            bail!("{name} depends on {found} ({why}); `cargo tree -p {name} -i {found}` shows how");
        }
    }
    for name in ONCE {
        let copies = metadata.packages.iter().filter(|package| package.name == name);
        let versions: Vec<_> = copies.map(|package| package.version.as_str()).collect();
        ensure!(versions.len() <= 1, "{name} is there more than once: {}", versions.join(", "));
    }
    cargo_run_means_one_program(&metadata)?;
    each_crate_states_its_invariant()
}

/// The README's first command names no program.
fn cargo_run_means_one_program(metadata: &Metadata) -> Result<()> {
    let is_default = |package: &&Package| metadata.workspace_default_members.contains(&package.id);
    let targets = metadata.packages.iter().filter(is_default).flat_map(|package| &package.targets);
    let is_program = |target: &&Target| target.kind.iter().any(|kind| kind == "bin");
    let programs: Vec<&str> =
        targets.filter(is_program).map(|target| target.name.as_str()).collect();
    ensure!(
        programs == ["doorbook"],
        "`cargo run` could mean {}; see default-members in Cargo.toml",
        programs.join(" or ")
    );
    Ok(())
}

fn each_crate_states_its_invariant() -> Result<()> {
    for folder in ["event", "source", "store", "server", "agent"] {
        let path = format!("crates/{folder}/src/lib.rs");
        let text = std::fs::read_to_string(workspace().join(&path)).context(path.clone())?;
        ensure!(text.contains("//! **Invariant:**"), "{path} states no **Invariant:**");
    }
    Ok(())
}

/// The dependencies of a normal build, by name.
struct Tree<'a> {
    uses: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Tree<'a> {
    fn new(metadata: &'a Metadata) -> Tree<'a> {
        let names: BTreeMap<_, _> = metadata
            .packages
            .iter()
            .map(|package| (package.id.as_str(), package.name.as_str()))
            .collect();
        let mut uses: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for node in &metadata.resolve.nodes {
            // A crate in two versions becomes one node with the dependencies of both: for what must
            // be absent, that errs on the side of an error.
            let used = uses.entry(names[node.id.as_str()]).or_default();
            for dependency in &node.deps {
                if dependency.dep_kinds.iter().any(|kind| kind.kind.is_none()) {
                    used.insert(names[dependency.pkg.as_str()]);
                }
            }
        }
        Tree { uses }
    }

    fn direct(&self, name: &str) -> Result<&BTreeSet<&'a str>> {
        self.uses.get(name).with_context(|| format!("there is no crate {name}"))
    }

    /// Everything below a crate.
    fn below(&self, name: &str) -> Result<BTreeSet<&'a str>> {
        let mut below = BTreeSet::new();
        let mut pending: Vec<_> = self.direct(name)?.iter().copied().collect();
        while let Some(name) = pending.pop() {
            if below.insert(name) {
                pending.extend(self.direct(name)?);
            }
        }
        Ok(below)
    }
}

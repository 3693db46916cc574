//! `cargo xtask check`: what must hold before anyone runs a test. CI runs exactly this.

use anyhow::Result;

use crate::process::{self, cargo, command};
use crate::{fuzz, generated, invariants, tools};

/// Runs every check, the quick ones first, and stops at the first that fails.
pub fn run() -> Result<()> {
    process::run(&mut cargo(["fmt", "--all", "--check"]))?;
    invariants::check()?;
    licences_bans_and_sources()?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    process::run(&mut cargo(clippy))?;
    fuzz::check()?;
    documentation()?;
    generated::check()?;
    eprintln!("check: everything holds");
    Ok(())
}

fn documentation() -> Result<()> {
    let mut doc =
        cargo(["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"]);
    // A link to a private item works here, and the documentation is made no other way.
    let flags = "-D warnings -A rustdoc::private_intra_doc_links";
    process::run(doc.env("RUSTDOCFLAGS", flags))
}

/// cargo-deny on deny.toml. Not its advisories: their database is not in a package registry.
fn licences_bans_and_sources() -> Result<()> {
    let deny = tools::cargo_deny()?;
    let check = ["--offline", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"];
    process::run(&mut command(deny, check))
}

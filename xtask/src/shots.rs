//! `cargo xtask shots`: every page and state as Chromium shows it, as files to look at.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::process::{self, cargo, workspace};
use crate::tools;

/// Where to.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder, outside the repository; made where it is missing
    folder: PathBuf,
}

/// The command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let is_ours = folder.starts_with(workspace().canonicalize()?);
    ensure!(!is_ours, "{} is in the repository; name another folder", folder.display());
    photograph(&folder)?;
    println!("written: {}", folder.display());
    Ok(())
}

/// The browser's tests write the files when they are told where to.
fn photograph(folder: &Path) -> Result<()> {
    let tools = tools::install_for_tests()?;
    let mut test = cargo(["test", "--package", "doorbook-e2e", "--test", "e2e", "browser::"]);
    test.args(["--", "--test-threads=1"]);
    test.env("DOORBOOK_TEST_TOOLS", tools.folder).env("DOORBOOK_SHOTS", folder);
    process::run(&mut test)
}

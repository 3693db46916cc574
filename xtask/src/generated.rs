//! Files that are generated and checked in, so that a change of them shows in a review.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::process::{cargo, output, workspace};

/// A file and what writes it.
struct Generated {
    path: &'static str,
    generate: fn() -> Result<String>,
}

const FILES: [Generated; 1] =
    [Generated { path: "docs/cli-reference.md", generate: cli_reference }];

/// Demands that each file is what would be written now.
pub fn check() -> Result<()> {
    for file in FILES {
        let path = workspace().join(file.path);
        let present = std::fs::read_to_string(&path).unwrap_or_default();
        ensure!(
            present == (file.generate)()?,
            "{} is not what the sources say; `cargo xtask generate` writes it",
            file.path
        );
    }
    Ok(())
}

/// Writes each file.
pub fn write() -> Result<()> {
    for file in FILES {
        let path = workspace().join(file.path);
        let parent = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent)?;
        std::fs::write(&path, (file.generate)()?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Every command with its options, as the binary itself tells it.
fn cli_reference() -> Result<String> {
    output(&mut cargo([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "doorbook",
        "--",
        "markdown-help",
    ]))
}

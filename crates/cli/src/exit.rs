//! Exit codes, and what an error prints. Scripts rely on the codes; `docs/cli.md` lists them.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use doorbook_server::admin::{Failure, FailureKind};
use doorbook_server::estate::Problem;

use crate::output;

/// Something is in the way: the disk, an input, another process.
const FAILED: u8 = 1;
/// The command line, or a value in it, is malformed. Also clap's code.
const INVALID: u8 = 2;
/// Something that was named does not exist.
const MISSING: u8 = 3;
/// Something that was to be created exists already.
const EXISTS: u8 = 4;
/// `apply --dry-run`: something would change.
const DIFFERS: u8 = 5;
/// Ended by Ctrl-C: 128 + SIGINT, as shells count.
const INTERRUPTED: u8 = 130;

/// For `--help`.
pub const HELP: &str = "Exit codes:\n  0    done\n  1    failed: the disk, an input or another \
                        process is in the way\n  2    the command line or a value in it is \
                        malformed\n  3    something that was named does not exist\n  4    \
                        something that was to be created exists already\n  5    apply --dry-run: \
                        something would change\n  130  ended by Ctrl-C; \
                        what was committed stays";

/// Ended by Ctrl-C.
#[derive(Debug)]
pub struct Interrupted(pub String);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Interrupted {}

/// `apply --dry-run` found that so much would change.
#[derive(Debug)]
pub struct WouldChange(pub u64);

impl fmt::Display for WouldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to make", output::count(self.0, "change", "changes"))
    }
}

impl std::error::Error for WouldChange {}

/// What is wrong in a file, each with its place, as editors and compilers write places.
#[derive(Debug)]
pub struct InFile {
    /// The file as it was named.
    pub file: PathBuf,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl fmt::Display for InFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |problem| output::safe(&format!("{}:{problem}", self.file.display()));
        f.write_str(&self.problems.iter().map(line).collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for InFile {}

/// Says what went wrong, and gives the code for it. In one line, but that a refusal may show a place.
pub fn report(error: &anyhow::Error) -> ExitCode {
    // The reader of our output has seen enough (`doorbook events | head`).
    let io = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    if io == Some(std::io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    if let Some(in_file) = error.downcast_ref::<InFile>() {
        eprintln!("{in_file}");
        return ExitCode::from(INVALID);
    }
    let text = format!("{error:#}");
    match error.is::<Failure>() {
        true => {
            eprintln!("doorbook: {}", text.lines().map(output::safe).collect::<Vec<_>>().join("\n"))
        }
        false => eprintln!("doorbook: {}", output::safe(&text)),
    }
    if error.is::<WouldChange>() {
        return ExitCode::from(DIFFERS);
    }
    if error.is::<Interrupted>() {
        return ExitCode::from(INTERRUPTED);
    }
    let kind = error.downcast_ref::<Failure>().map(|failure| failure.kind);
    ExitCode::from(match kind {
        Some(FailureKind::Invalid) => INVALID,
        Some(FailureKind::Missing) => MISSING,
        Some(FailureKind::Exists) => EXISTS,
        Some(FailureKind::Failed) | None => FAILED,
    })
}

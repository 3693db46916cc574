//! Exit codes, and what an error prints. Scripts rely on the codes; `docs/cli.md` lists them.

use std::fmt;
use std::process::ExitCode;

use doorbook_server::admin::{Failure, FailureKind};

/// Something is in the way: the disk, an input, another process.
const FAILED: u8 = 1;
/// The command line, or a value in it, is malformed. Also clap's code.
const INVALID: u8 = 2;
/// Something that was named does not exist.
const MISSING: u8 = 3;
/// Something that was to be created exists already.
const EXISTS: u8 = 4;
/// Ended by Ctrl-C: 128 + SIGINT, as shells count.
const INTERRUPTED: u8 = 130;

/// For `--help`.
pub const HELP: &str = "Exit codes:\n  0    done\n  1    failed: the disk, an input or another \
                        process is in the way\n  2    the command line or a value in it is \
                        malformed\n  3    something that was named does not exist\n  4    \
                        something that was to be created exists already\n  130  ended by Ctrl-C; \
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

/// Says what went wrong, in one line, and gives the code for it.
pub fn report(error: &anyhow::Error) -> ExitCode {
    // The reader of our output has seen enough (`doorbook events | head`).
    let io = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    if io == Some(std::io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("doorbook: {}", crate::output::safe(&format!("{error:#}")));
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

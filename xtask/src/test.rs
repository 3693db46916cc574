//! `cargo xtask test`: installs what the tests need, then runs everything, unit to end-to-end.

use anyhow::Result;

use crate::process::{self, cargo, has_cargo_command};
use crate::tools;

/// Which tests.
#[derive(clap::Args)]
pub struct Arguments {
    /// Use what is installed already and install nothing
    #[arg(long)]
    no_install: bool,
    /// As long as a night: a thousand kills of a server, two thousand lives between power cuts
    #[arg(long)]
    nightly: bool,
    /// For the test runner, such as a part of a test's name
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    runner: Vec<String>,
}

/// The command. The runner's own closing lines come last.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut variables = Vec::new();
    if !arguments.no_install {
        let tools = tools::install_for_tests()?;
        for missing in &tools.missing {
            eprintln!("left out:  {missing}");
        }
        variables.push(("DOORBOOK_TEST_TOOLS", tools.folder));
    }
    if arguments.nightly {
        variables.extend(NIGHTLY.map(|(name, number)| (name, number.into())));
    }
    let test = |words: &[&str]| {
        let mut command = cargo(words);
        command.args(["--workspace", "--locked"]).envs(variables.iter().map(|(k, v)| (k, v)));
        command.args(&arguments.runner);
        command
    };
    if !has_cargo_command("nextest") {
        eprintln!("cargo-nextest is not installed; cargo test runs the same tests");
        return process::run(&mut test(&["test"]));
    }
    // nextest does not run the examples in the documentation.
    if arguments.runner.is_empty() {
        process::run(&mut test(&["test", "--doc"]))?;
    }
    let profile: &[&str] = if arguments.nightly { &["--profile", "nightly"] } else { &[] };
    process::run(&mut test(&[&["nextest", "run"], profile].concat()))
}

/// How often the tests that draw at random do so.
const NIGHTLY: [(&str, &str); 2] =
    [("DOORBOOK_TEST_KILLS", "1000"), ("DOORBOOK_TEST_LIVES", "2000")];

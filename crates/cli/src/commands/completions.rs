//! `doorbook completions`.

use clap::CommandFactory;
use clap_complete::Shell;

#[derive(clap::Args)]
pub struct Args {
    /// For this shell: bash, zsh, fish, elvish or powershell
    shell: Shell,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "doorbook", &mut text);
    Ok(std::io::Write::write_all(&mut std::io::stdout().lock(), &text)?)
}

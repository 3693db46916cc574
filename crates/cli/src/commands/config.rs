//! `doorbook config`.

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use doorbook_server::estate::{Wanted, outputs};

use crate::config::{Config, DEFAULT_FILE};
use crate::output;

#[derive(Subcommand)]
pub enum Command {
    /// Read the file and say what is wrong in it; changes nothing and needs no data directory
    Check {
        /// The file of the estate
        #[arg(value_name = "FILE", env = "DOORBOOK_CONFIG", hide_env_values = true, default_value = DEFAULT_FILE)]
        file: PathBuf,
        /// Do not open the files with certificates and keys: they may be on another machine
        #[arg(long)]
        no_secrets: bool,
    },
    /// Print an example with every key, explained
    Generate,
    /// Print the file's JSON schema, for editors
    Schema,
    /// Print the reference of every key, in Markdown
    Reference,
}

pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check { file, no_secrets } => {
            let config = Config::read(&file)?;
            if !no_secrets {
                config.check_files()?;
            }
            output::line(&format!("{}: {}", file.display(), summary(config.wanted())))
        }
        Command::Generate => print(&outputs::example()),
        Command::Schema => print(&outputs::schema()),
        Command::Reference => print(&outputs::reference()),
    }
}

fn summary(wanted: &Wanted) -> String {
    let clusters = || wanted.projects.iter().flat_map(|project| &project.clusters);
    let hosts: usize = clusters().map(|cluster| cluster.hosts.len()).sum();
    let count = |n: usize, one, many| output::count(n as u64, one, many);
    [
        count(wanted.projects.len(), "project", "projects"),
        count(clusters().count(), "cluster", "clusters"),
        count(hosts, "host", "hosts"),
        count(wanted.sources.len(), "source", "sources"),
    ]
    .join(", ")
}

/// Our own text, as it is.
fn print(text: &str) -> anyhow::Result<()> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

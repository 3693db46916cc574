//! `doorbook host`.

use clap::Subcommand;
use doorbook_server::admin::{Reply, Request};

use super::{DataDir, out_of_turn};
use crate::output;

#[derive(Subcommand)]
pub enum Command {
    /// Add a host to a cluster
    Add {
        /// The host [default port: 27017]
        #[arg(value_name = "HOST[:PORT]")]
        host: String,
        /// The cluster's project, by id or name
        #[arg(long, value_name = "P")]
        project: String,
        /// The cluster
        #[arg(long, value_name = "C")]
        cluster: String,
        /// Another name for the host; may be given several times
        #[arg(long, value_name = "NAME")]
        alias: Vec<String>,
        /// Print the host as JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a host another name, such as the one that its log or its users know
    Alias {
        /// The host, by any name that means only it
        #[arg(value_name = "HOST[:PORT]")]
        host: String,
        /// The further name; without a port it stands for the host's own port
        alias: String,
        /// The host's project, by id or name
        #[arg(long, value_name = "P")]
        project: String,
        /// Print the host as JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(data_dir: &DataDir, command: Command) -> anyhow::Result<()> {
    let (request, json) = match command {
        Command::Add { host, project, cluster, alias, json } => {
            (Request::HostAdd { project, cluster, host, aliases: alias }, json)
        }
        Command::Alias { host, alias, project, json } => {
            (Request::HostAlias { project, host, alias }, json)
        }
    };
    let host = match data_dir.execute(request)? {
        Reply::Host(host) => host,
        other => return Err(out_of_turn(&other)),
    };
    if json {
        return output::json(&host);
    }
    let aliases: Vec<&str> = host.aliases.iter().map(|alias| &**alias).collect();
    match &aliases[..] {
        [] => output::line(&format!("host {}", host.name)),
        aliases => output::line(&format!("host {}, also {}", host.name, aliases.join(", "))),
    }
}

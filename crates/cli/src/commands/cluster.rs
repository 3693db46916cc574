//! `doorbook cluster`.

use clap::Subcommand;
use doorbook_server::admin::request::ClusterView;
use doorbook_server::admin::{Reply, Request};

use super::{DataDir, out_of_turn};
use crate::output;

#[derive(Subcommand)]
pub enum Command {
    /// Create a cluster with its hosts
    Create {
        /// Its name, unique in the project: ASCII letters, digits and hyphens
        name: String,
        /// The project, by id or name
        #[arg(long, value_name = "P")]
        project: String,
        /// A mongod of the cluster; may be given several times [default port: 27017]
        #[arg(long, value_name = "HOST[:PORT]", num_args = 1..)]
        host: Vec<String>,
        /// A mongos of the cluster; may be given several times [default port: 27017]
        #[arg(long, value_name = "HOST[:PORT]", num_args = 1..)]
        mongos: Vec<String>,
        /// Print the cluster as JSON
        #[arg(long)]
        json: bool,
    },
    /// List clusters with their hosts
    List {
        /// Only of this project
        #[arg(long, value_name = "P")]
        project: Option<String>,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
}

pub fn run(data_dir: &DataDir, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { name, project, host, mongos, json } => {
            // A mongos is a host as any other: in a sharded cluster it is the one that sees logins.
            let hosts = host.into_iter().chain(mongos).collect();
            let request = Request::ClusterCreate { name, project, hosts };
            let cluster = match data_dir.execute(request)? {
                Reply::Cluster(cluster) => cluster,
                other => return Err(out_of_turn(&other)),
            };
            match json {
                true => output::json(&cluster),
                false => output::line(&format!(
                    "cluster {} of project {} with {}",
                    cluster.name,
                    cluster.project,
                    hosts_of(&cluster)
                )),
            }
        }
        Command::List { project, json } => {
            let clusters = match data_dir.execute(Request::ClusterList { project })? {
                Reply::Clusters(clusters) => clusters,
                other => return Err(out_of_turn(&other)),
            };
            if json {
                return output::json(&clusters);
            }
            let row =
                |c: &ClusterView| vec![c.project.to_string(), c.name.to_string(), hosts_of(c)];
            let rows: Vec<_> = clusters.iter().map(row).collect();
            output::table(&["PROJECT", "CLUSTER", "HOSTS"], &rows)
        }
    }
}

fn hosts_of(cluster: &ClusterView) -> String {
    let host = |host: &doorbook_server::admin::request::HostView| {
        let aliases: Vec<&str> = host.aliases.iter().map(|alias| &**alias).collect();
        match &aliases[..] {
            [] => host.name.clone(),
            aliases => format!("{} (also {})", host.name, aliases.join(", ")),
        }
    };
    let hosts: Vec<String> = cluster.hosts.iter().map(host).collect();
    match &hosts[..] {
        [] => "no hosts yet".to_owned(),
        hosts => hosts.join(", "),
    }
}

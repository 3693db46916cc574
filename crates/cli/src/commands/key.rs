//! `doorbook key`.

use clap::Subcommand;
use doorbook_event::registry::Role;
use doorbook_server::admin::request::KeyView;
use doorbook_server::admin::{Reply, Request};

use super::{DataDir, out_of_turn};
use crate::{output, values};

#[derive(Subcommand)]
pub enum Command {
    /// Create an API key; its private half is shown this once
    Create {
        /// The project, by id or name
        #[arg(long, value_name = "P")]
        project: String,
        /// What it may do there, such as GROUP_OWNER or "Project Read Only"
        #[arg(long, value_parser = values::role, required_unless_present = "agent")]
        role: Option<Role>,
        /// The agent whose key it is: with it an agent on another host follows the sources that name
        /// it, and can do nothing else
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// Print {"publicKey","privateKey"}
        #[arg(long)]
        json: bool,
    },
    /// List API keys, without their private halves
    List {
        /// Only of this project
        #[arg(long, value_name = "P")]
        project: Option<String>,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Delete an API key; it stops working at once
    Delete {
        /// Its public half
        public_key: String,
    },
}

pub fn run(data_dir: &DataDir, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { project, role, agent, json } => {
            let (role, agent) = (role.unwrap_or(Role::Shipper), agent.map(Into::into));
            let key = match data_dir.execute(Request::KeyCreate { project, role, agent })? {
                Reply::NewKey(key) => key,
                other => return Err(out_of_turn(&other)),
            };
            if json {
                return output::json(&key);
            }
            eprintln!("The private key is shown this once; it cannot be shown again.");
            output::line(&format!("{}:{}", key.public_key, key.private_key))
        }
        Command::List { project, json } => {
            let keys = match data_dir.execute(Request::KeyList { project })? {
                Reply::Keys(keys) => keys,
                other => return Err(out_of_turn(&other)),
            };
            if json {
                return output::json(&keys);
            }
            let row = |key: &KeyView| {
                let (public, project) = (key.public_key.to_string(), key.project.to_string());
                let agent = key.agent.as_deref().unwrap_or("").to_owned();
                vec![public, project, key.role.to_string(), key.created.to_string(), agent]
            };
            let rows: Vec<_> = keys.iter().map(row).collect();
            output::table(&["PUBLIC KEY", "PROJECT", "ROLE", "CREATED", "AGENT"], &rows)
        }
        Command::Delete { public_key } => {
            data_dir.execute(Request::KeyDelete { public_key: public_key.clone() })?;
            output::line(&format!("deleted key {public_key}"))
        }
    }
}

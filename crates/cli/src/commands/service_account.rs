//! `doorbook service-account`.

use clap::Subcommand;
use doorbook_event::registry::Role;
use doorbook_server::admin::request::ServiceAccountView;
use doorbook_server::admin::{Reply, Request};

use super::{DataDir, out_of_turn};
use crate::{output, values};

#[derive(Subcommand)]
pub enum Command {
    /// Create a service account; its secret is shown this once
    Create {
        /// The project, by id or name
        #[arg(long, value_name = "P")]
        project: String,
        /// What it may do there, such as GROUP_OWNER or "Project Read Only"
        #[arg(long, value_parser = values::role)]
        role: Role,
        /// Print {"clientId","clientSecret"}
        #[arg(long)]
        json: bool,
    },
    /// List service accounts, without their secrets
    List {
        /// Only of this project
        #[arg(long, value_name = "P")]
        project: Option<String>,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Delete a service account; it stops working at once
    Delete {
        /// Its client id
        client_id: String,
    },
}

pub fn run(data_dir: &DataDir, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { project, role, json } => {
            let request = Request::ServiceAccountCreate { project, role };
            let account = match data_dir.execute(request)? {
                Reply::NewServiceAccount(account) => account,
                other => return Err(out_of_turn(&other)),
            };
            if json {
                return output::json(&account);
            }
            eprintln!("The client secret is shown this once; it cannot be shown again.");
            output::line(&format!("{}:{}", account.client_id, account.client_secret))
        }
        Command::List { project, json } => {
            let accounts = match data_dir.execute(Request::ServiceAccountList { project })? {
                Reply::ServiceAccounts(accounts) => accounts,
                other => return Err(out_of_turn(&other)),
            };
            if json {
                return output::json(&accounts);
            }
            let row = |account: &ServiceAccountView| {
                let (id, project) = (account.client_id.to_string(), account.project.to_string());
                vec![id, project, account.role.to_string(), account.created.to_string()]
            };
            let rows: Vec<_> = accounts.iter().map(row).collect();
            output::table(&["CLIENT ID", "PROJECT", "ROLE", "CREATED"], &rows)
        }
        Command::Delete { client_id } => {
            data_dir.execute(Request::ServiceAccountDelete { client_id: client_id.clone() })?;
            output::line(&format!("deleted service account {client_id}"))
        }
    }
}

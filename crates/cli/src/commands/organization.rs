//! `doorbook organization`.

use clap::Subcommand;
use doorbook_event::Text;
use doorbook_server::admin::arrays::{ArraysRequest, OrganizationView};
use doorbook_server::admin::{Reply, Request};

use super::{DataDir, out_of_turn};
use crate::output;

#[derive(Subcommand)]
pub enum Command {
    /// Create a namespace that several users share
    Create {
        /// The name: 1 to 63 letters, digits and _.-
        name: String,
        /// A user who may do everything in it; can be given several times
        #[arg(long, value_name = "USER")]
        member: Vec<String>,
        /// Print the organization as JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a further user in
    Add {
        /// The organization
        name: String,
        /// The user
        user: String,
    },
    /// Let a user no longer in; what is shared with the user by name stays
    Remove {
        /// The organization
        name: String,
        /// The user
        user: String,
    },
    /// List organizations with their members
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
}

pub fn run(data_dir: &DataDir, command: Command) -> anyhow::Result<()> {
    let organizations = |request| match data_dir.execute(Request::Arrays(request))? {
        Reply::Organizations(organizations) => Ok(organizations),
        other => Err(out_of_turn(&other)),
    };
    match command {
        Command::Create { name, member, json } => {
            let request = ArraysRequest::OrganizationCreate { name, members: member };
            let made = organizations(request)?;
            match (json, made.first()) {
                (true, Some(made)) => output::json(made),
                _ => made.iter().try_for_each(|made| {
                    output::line(&format!("created organization {}", made.name))
                }),
            }
        }
        Command::Add { name, user } => {
            organizations(ArraysRequest::OrganizationAdd {
                name: name.clone(),
                user: user.clone(),
            })?;
            output::line(&format!("{user} is a member of {name}"))
        }
        Command::Remove { name, user } => {
            organizations(ArraysRequest::OrganizationRemove {
                name: name.clone(),
                user: user.clone(),
            })?;
            output::line(&format!("{user} is no member of {name} any more"))
        }
        Command::List { json } => {
            let organizations = organizations(ArraysRequest::OrganizationList)?;
            if json {
                return output::json(&organizations);
            }
            let row = |organization: &OrganizationView| {
                let members: Vec<&str> = organization.members.iter().map(Text::as_str).collect();
                let (name, created) = (&organization.name, organization.created);
                vec![name.to_string(), members.join(", "), created.to_string()]
            };
            let rows: Vec<_> = organizations.iter().map(row).collect();
            output::table(&["ORGANIZATION", "MEMBERS", "CREATED"], &rows)
        }
    }
}

//! `doorbook user`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use doorbook_event::registry::Role;
use doorbook_server::admin::arrays::{ArraysRequest, Password, UserView};
use doorbook_server::admin::{Reply, Request};

use super::{DataDir, out_of_turn};
use crate::{output, values};

#[derive(Subcommand)]
pub enum Command {
    /// Create a user and a namespace of the same name; a random password is shown this once
    Create {
        /// The name: 1 to 63 letters, digits and _.-
        name: String,
        /// A file with the password, in its first line; without one a random password is made
        #[arg(long, value_name = "F")]
        password_file: Option<PathBuf>,
        /// Print {"username","password"}
        #[arg(long)]
        json: bool,
    },
    /// Give a user another password, a random one that is shown this once; what was got with the old one ends
    ///
    /// Whoever is signed in on the page is no more, and tokens that clients got by logging in end. Tokens of
    /// `doorbook token create` go on: programs have them, and not the password.
    Password {
        /// The user
        name: String,
        /// End those tokens, too
        #[arg(long)]
        end_tokens: bool,
        /// A file with the password, in its first line; without one a random password is made
        #[arg(long, value_name = "F")]
        password_file: Option<PathBuf>,
        /// Print {"username","password"}
        #[arg(long)]
        json: bool,
    },
    /// Let a user see a project, on the page and by tokens; replaces the role that the user has there
    Grant {
        /// The user
        name: String,
        /// The project, by id or name
        #[arg(
            long,
            value_name = "P",
            requires = "role",
            required_unless_present = "administrator"
        )]
        project: Option<String>,
        /// What the user may do there, such as GROUP_OWNER or "Project Cluster Log Viewer"
        #[arg(long, value_parser = values::role, requires = "project")]
        role: Option<Role>,
        /// Instead: let the user manage the server on the page: projects, users, keys, how long events are kept
        #[arg(long, conflicts_with_all = ["project", "role"])]
        administrator: bool,
    },
    /// Take a user's role in a project away; it ends at once
    Revoke {
        /// The user
        name: String,
        /// The project, by id or name
        #[arg(long, value_name = "P", required_unless_present = "administrator")]
        project: Option<String>,
        /// Instead: the user manages the server no more
        #[arg(long, conflicts_with = "project")]
        administrator: bool,
    },
    /// List users
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
}

pub fn run(data_dir: &DataDir, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { name, password_file, json } => {
            let password = password_file.map(read).transpose()?;
            let is_random = password.is_none();
            let request = ArraysRequest::UserCreate { name, password };
            let mut connection = data_dir.open_or_create()?;
            let reply = connection.execute(Request::Arrays(request));
            connection.close()?;
            show(reply?, json, (!is_random).then_some("created user"))
        }
        Command::Password { name, end_tokens, password_file, json } => {
            let password = password_file.map(read).transpose()?;
            let is_random = password.is_none();
            let request = ArraysRequest::UserPassword { name, password, end_tokens };
            let reply = data_dir.execute(Request::Arrays(request))?;
            show(reply, json, (!is_random).then_some("changed the password of"))
        }
        Command::Grant { name, project: Some(project), role: Some(role), .. } => {
            let request =
                ArraysRequest::UserGrant { user: name.clone(), project: project.clone(), role };
            data_dir.execute(Request::Arrays(request))?;
            output::line(&format!("{name} has {role} in project {project}"))
        }
        Command::Grant { name, .. } => {
            data_dir.execute(Request::Administrator { user: name.clone(), is_one: true })?;
            output::line(&format!("{name} is an administrator of this server"))
        }
        Command::Revoke { name, project: None, .. } => {
            data_dir.execute(Request::Administrator { user: name.clone(), is_one: false })?;
            output::line(&format!("{name} is no administrator of this server any more"))
        }
        Command::Revoke { name, project: Some(project), .. } => {
            let request =
                ArraysRequest::UserRevoke { user: name.clone(), project: project.clone() };
            data_dir.execute(Request::Arrays(request))?;
            output::line(&format!("{name} has no role in project {project} any more"))
        }
        Command::List { json } => {
            let users = match data_dir.execute(Request::Arrays(ArraysRequest::UserList))? {
                Reply::Users(users) => users,
                other => return Err(out_of_turn(&other)),
            };
            if json {
                return output::json(&users);
            }
            let row = |user: &UserView| {
                let roles = user.roles.iter().map(|of| format!("{} in {}", of.role, of.project));
                let roles = roles.chain(user.is_administrator.then(|| "administrator".to_owned()));
                vec![
                    user.username.to_string(),
                    user.tokens.to_string(),
                    user.created.to_string(),
                    roles.collect::<Vec<_>>().join(", "),
                ]
            };
            let rows: Vec<_> = users.iter().map(row).collect();
            output::table(&["USER", "TOKENS", "CREATED", "ROLES"], &rows)
        }
    }
}

/// A user whose password is new; `done` says what was done where somebody brought it.
fn show(reply: Reply, json: bool, done: Option<&str>) -> anyhow::Result<()> {
    let Reply::NewUser(user) = reply else { return Err(out_of_turn(&reply)) };
    if json {
        return output::json(&user);
    }
    if let Some(done) = done {
        return output::line(&format!("{done} {}", user.username));
    }
    eprintln!("The password is shown this once; it cannot be shown again.");
    output::line(&format!("{}:{}", user.username, user.password.0))
}

/// The first line of a file, as editors end it.
fn read(path: PathBuf) -> anyhow::Result<Password> {
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read the password file {}", path.display()))?;
    Ok(Password(text.lines().next().unwrap_or_default().to_owned()))
}

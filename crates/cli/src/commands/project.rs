//! `doorbook project`.

use clap::Subcommand;
use doorbook_event::ProjectId;
use doorbook_server::admin::{Reply, Request};

use super::{DataDir, out_of_turn};
use crate::{output, values};

#[derive(Subcommand)]
pub enum Command {
    /// Create a project
    Create {
        /// Its name, unique
        name: String,
        /// Its id, 24 hexadecimal digits, to keep an id that scripts know [default: random]
        #[arg(long, value_name = "HEX24", value_parser = values::project_id)]
        id: Option<ProjectId>,
        /// Print {"id","name"}
        #[arg(long)]
        json: bool,
    },
    /// List projects
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
}

/// What scripts rely on: these two and nothing else.
#[derive(serde::Serialize)]
struct Created<'a> {
    id: ProjectId,
    name: &'a str,
}

pub fn run(data_dir: &DataDir, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { name, id, json } => {
            let mut connection = data_dir.open_or_create()?;
            let reply = connection.execute(Request::ProjectCreate { name, id });
            connection.close()?;
            let project = match reply? {
                Reply::Project(project) => project,
                other => return Err(out_of_turn(&other)),
            };
            match json {
                true => output::json(&Created { id: project.id, name: &project.name }),
                false => output::line(&format!("project {} {}", project.id, project.name)),
            }
        }
        Command::List { json } => {
            let projects = match data_dir.execute(Request::ProjectList)? {
                Reply::Projects(projects) => projects,
                other => return Err(out_of_turn(&other)),
            };
            if json {
                return output::json(&projects);
            }
            let row = |p: &doorbook_server::admin::request::ProjectView| {
                vec![p.id.to_string(), p.name.to_string(), p.created.to_string()]
            };
            output::table(&["ID", "NAME", "CREATED"], &projects.iter().map(row).collect::<Vec<_>>())
        }
    }
}

//! `doorbook retention`.

use clap::Subcommand;
use doorbook_event::retention::Limits;
use doorbook_server::admin::request::RetentionView;
use doorbook_server::admin::{Reply, Request};

use super::{DataDir, out_of_turn};
use crate::{output, values};

#[derive(Subcommand)]
pub enum Command {
    /// Decide how long events are kept. Longer holds at once, shorter after seven days
    Set(Set),
    /// List how long the events of each project and namespace are kept, and what was decided and does not hold yet
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args)]
pub struct Set {
    /// The project, by id or name
    #[arg(long, value_name = "P", required_unless_present_any = ["system", "namespace"])]
    project: Option<String>,
    /// A namespace instead: who did what with its arrays
    #[arg(long, value_name = "NS", conflicts_with_all = ["project", "system"])]
    namespace: Option<String>,
    /// Doorbook's own history instead: who used it, and what was changed
    #[arg(long, conflicts_with = "project")]
    system: bool,
    /// Days after which an event is in no answer any more, or `forever`
    #[arg(long, value_name = "DAYS", value_parser = values::keep)]
    keep: values::Keep,
    /// Days that --keep can never be below [default: as before, at first 0]
    #[arg(long, value_name = "DAYS")]
    minimum: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(data_dir: &DataDir, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Set(set) => {
            let Set { project, namespace, keep, minimum: minimum_days, .. } = set;
            let keep_days = keep.0;
            let request = Request::RetentionSet { project, namespace, keep_days, minimum_days };
            let views = ask(data_dir, request)?;
            let Some(view) = views.first() else { return Ok(()) };
            match set.json {
                true => output::json(view),
                false => output::line(&format!("{}: {}", name(view), describe(view))),
            }
        }
        Command::List { json } => {
            let views = ask(data_dir, Request::RetentionList)?;
            if json {
                return output::json(&views);
            }
            let row = |view: &RetentionView| {
                vec![
                    name(view),
                    keep(&view.limits),
                    format!("{} days", view.limits.minimum_days),
                    view.pending.map_or_else(String::new, |pending| {
                        format!("{} from {}", limits(&pending.limits), pending.from)
                    }),
                ]
            };
            let headings = ["SCOPE", "KEEP", "MINIMUM", "PENDING"];
            output::table(&headings, &views.iter().map(row).collect::<Vec<_>>())
        }
    }
}

fn ask(data_dir: &DataDir, request: Request) -> anyhow::Result<Vec<RetentionView>> {
    match data_dir.execute(request)? {
        Reply::Retention(views) => Ok(views),
        other => Err(out_of_turn(&other)),
    }
}

fn name(view: &RetentionView) -> String {
    view.project.as_ref().map_or_else(|| view.scope.clone(), ToString::to_string)
}

fn describe(view: &RetentionView) -> String {
    match view.pending {
        None => limits(&view.limits),
        Some(pending) => format!(
            "{} until {}, then {}",
            limits(&view.limits),
            pending.from,
            limits(&pending.limits)
        ),
    }
}

/// How long events are kept, in words.
pub fn limits(limits: &Limits) -> String {
    match limits.minimum_days {
        0 => keep(limits),
        minimum => format!("{} (minimum {minimum})", keep(limits)),
    }
}

fn keep(limits: &Limits) -> String {
    limits.keep_days.map_or_else(|| "forever".to_owned(), |days| format!("{days} days"))
}

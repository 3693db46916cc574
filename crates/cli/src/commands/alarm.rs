//! `doorbook alarm`.

use clap::Subcommand;
use doorbook_server::admin::request::AlarmView;
use doorbook_server::admin::{Reply, Request};

use super::{DataDir, out_of_turn};
use crate::output;

#[derive(Subcommand)]
pub enum Command {
    /// List alarms that are open, the latest first
    List {
        /// Those that closed in the last week, too
        #[arg(long)]
        all: bool,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Say why an alarm was, and what came of it; if it is open, nobody is reminded of it any more
    Acknowledge {
        /// The alarm's id
        id: String,
        /// Why it was
        #[arg(long, value_name = "TEXT")]
        cause: String,
        /// What else there is to say
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

pub fn run(data_dir: &DataDir, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { all, json } => {
            let alarms = ask(data_dir, Request::AlarmList { all })?;
            match json {
                true => output::json(&alarms),
                false => table(&alarms),
            }
        }
        Command::Acknowledge { id, cause, note, json } => {
            let alarms = ask(data_dir, Request::AlarmAcknowledge { id, cause, note })?;
            match alarms.first().filter(|_| json) {
                Some(alarm) => output::json(alarm),
                None => table(&alarms),
            }
        }
    }
}

fn ask(data_dir: &DataDir, request: Request) -> anyhow::Result<Vec<AlarmView>> {
    match data_dir.execute(request)? {
        Reply::Alarms(alarms) => Ok(alarms),
        other => Err(out_of_turn(&other)),
    }
}

fn table(alarms: &[AlarmView]) -> anyhow::Result<()> {
    let row = |alarm: &AlarmView| {
        let state = match (&alarm.closed, &alarm.acknowledged) {
            (None, None) => "open",
            (None, Some(_)) => "acknowledged",
            (Some(_), _) => "closed",
        };
        let cause = alarm.acknowledged.as_ref().map_or("", |what| &*what.cause);
        vec![
            alarm.id.to_string(),
            state.to_owned(),
            alarm.opened.to_string(),
            alarm.text.clone(),
            cause.to_owned(),
        ]
    };
    let headings = ["ALARM", "STATE", "FOUND", "WHAT", "ACKNOWLEDGED AS"];
    output::table(&headings, &alarms.iter().map(row).collect::<Vec<_>>())
}

//! `doorbook source`.

use clap::Subcommand;
use doorbook_server::admin::request::SourceView;
use doorbook_server::admin::{Reply, Request};

use super::{DataDir, out_of_turn};
use crate::output;

#[derive(Subcommand)]
pub enum Command {
    /// List sources: what each does, how far it has come
    List {
        /// Only of this project
        #[arg(long, value_name = "P")]
        project: Option<String>,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show everything about one source
    Show(One),
    /// Let a source rest until it is resumed; it goes on where it was
    Pause(One),
    /// Let a source go on
    Resume(One),
    /// Read a source again from its oldest file; what is there already counts as duplicates
    Replay(One),
}

#[derive(clap::Args)]
pub struct One {
    /// The source's name
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(data_dir: &DataDir, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { project, json } => {
            let sources = ask(data_dir, Request::SourceList { project })?;
            match json {
                true => output::json(&sources),
                false => list(&sources),
            }
        }
        Command::Show(one) => show(data_dir, one, |name| Request::SourceShow { name }),
        Command::Pause(one) => {
            show(data_dir, one, |name| Request::SourcePause { name, paused: true })
        }
        Command::Resume(one) => {
            show(data_dir, one, |name| Request::SourcePause { name, paused: false })
        }
        Command::Replay(one) => show(data_dir, one, |name| Request::SourceReplay { name }),
    }
}

fn ask(data_dir: &DataDir, request: Request) -> anyhow::Result<Vec<SourceView>> {
    match data_dir.execute(request)? {
        Reply::Sources(sources) => Ok(sources),
        other => Err(out_of_turn(&other)),
    }
}

fn list(sources: &[SourceView]) -> anyhow::Result<()> {
    let row = |source: &SourceView| {
        vec![
            source.name.to_string(),
            source.state.word().to_owned(),
            lag(source),
            source.events.to_string(),
            source.cluster().unwrap_or_default(),
            source.whose().to_owned(),
            match source.rules.is_empty() {
                true => source.path.to_string(),
                false => format!("match {}", source.rules),
            },
            source.agent.as_deref().unwrap_or("").to_owned(),
            source.message.as_deref().unwrap_or("").to_owned(),
        ]
    };
    let headings = ["SOURCE", "STATE", "LAG", "EVENTS", "CLUSTER", "HOST", "PATH", "AGENT", ""];
    output::table(&headings, &sources.iter().map(row).collect::<Vec<_>>())
}

fn show(data_dir: &DataDir, one: One, request: impl Fn(String) -> Request) -> anyhow::Result<()> {
    let sources = ask(data_dir, request(one.name))?;
    let Some(source) = sources.first() else { return Ok(()) };
    if one.json {
        return output::json(source);
    }
    let through = source.through.map_or_else(|| "nothing yet".to_owned(), |at| at.to_string());
    for (word, value) in [
        ("source", source.name.to_string()),
        ("kind", source.kind.word().to_owned()),
        ("of", of(source)),
        ("path", source.path.to_string()),
        ("match", source.rules.clone()),
        ("agent", source.agent.as_deref().unwrap_or("").to_owned()),
        ("zone", source.zone.to_string()),
        ("looked at", source.interval_seconds.map(|s| format!("every {s} s")).unwrap_or_default()),
        ("state", source.state.word().to_owned()),
        ("because", source.message.as_deref().unwrap_or("").to_owned()),
        ("read through", through),
        ("behind", source.behind_bytes.map(output::size).unwrap_or_default()),
        ("lines", source.lines.to_string()),
        ("events", source.events.to_string()),
        ("not known", unknown(source)),
    ] {
        if !value.is_empty() {
            output::line(&format!("{word:<13} {value}"))?;
        }
    }
    Ok(())
}

/// Messages that this version does not know, with the first of them.
fn unknown(source: &SourceView) -> String {
    let ids = source.unknown_ids.iter().take(3).map(|unknown| unknown.id.to_string());
    match source.unknown_messages {
        0 => String::new(),
        n => format!(
            "{} ({})",
            output::count(n, "message", "messages"),
            ids.collect::<Vec<_>>().join(", ")
        ),
    }
}

/// What it tells of.
fn of(source: &SourceView) -> String {
    match source.cluster() {
        Some(cluster) => format!("{} in {cluster}", source.whose()),
        None => format!("arrays of {}", source.whose()),
    }
}

/// How far behind the present, in the unit that fits.
fn lag(source: &SourceView) -> String {
    match source.lag_seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds < 120 => format!("{seconds} s"),
        Some(seconds) if seconds < 7200 => format!("{} min", seconds / 60),
        Some(seconds) if seconds < 172_800 => format!("{} h", seconds / 3600),
        Some(seconds) => format!("{} d", seconds / 86_400),
    }
}

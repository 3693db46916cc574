//! `doorbook import list | show | retract`.

use clap::Subcommand;
use doorbook_event::record::ImportState;
use doorbook_server::admin::request::{ImportDetails, ImportView};
use doorbook_server::admin::{Reply, Request};

use super::{DataDir, coverage, out_of_turn};
use crate::output;

#[derive(Subcommand)]
pub enum Command {
    /// List imports, oldest first
    List {
        /// Only of this project
        #[arg(long, value_name = "P")]
        project: Option<String>,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show an import's receipt: files, counts, gaps, unknown ids, lines that could not be read
    Show {
        /// Its name
        id: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take an import back: none of its events is in any answer from then on
    Retract {
        /// Its name
        id: String,
        /// Print its receipt as JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(data_dir: &DataDir, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { project, json } => {
            let imports = match data_dir.execute(Request::ImportList { project })? {
                Reply::Imports(imports) => imports,
                other => return Err(out_of_turn(&other)),
            };
            match json {
                true => output::json(&imports),
                false => list(&imports),
            }
        }
        Command::Show { id, json } => {
            let details = match data_dir.execute(Request::ImportShow { id })? {
                Reply::ImportDetails(details) => details,
                other => return Err(out_of_turn(&other)),
            };
            match json {
                true => output::json(&details),
                false => show(&details),
            }
        }
        Command::Retract { id, json } => {
            let import = match data_dir.execute(Request::ImportRetract { id })? {
                Reply::Import(import) => import,
                other => return Err(out_of_turn(&other)),
            };
            match json {
                true => output::json(&import),
                false => output::line(&format!(
                    "retracted {}: {} events are in no answer any more",
                    import.id, import.events
                )),
            }
        }
    }
}

fn list(imports: &[ImportView]) -> anyhow::Result<()> {
    let row = |import: &ImportView| {
        let place = match &import.host {
            Some(host) => format!("{} {} {host}", import.project, import.cluster),
            None => format!("{} {}", import.project, import.cluster),
        };
        vec![
            import.id.to_string(),
            state(import.state).to_owned(),
            import.started.to_string(),
            import.by.clone(),
            place,
            import.files.to_string(),
            import.lines.to_string(),
            import.events.to_string(),
            import.duplicates.to_string(),
        ]
    };
    let headings =
        ["ID", "STATE", "STARTED", "BY", "TARGET", "FILES", "LINES", "EVENTS", "DUPLICATES"];
    output::table(&headings, &imports.iter().map(row).collect::<Vec<_>>())
}

const fn state(state: ImportState) -> &'static str {
    match state {
        ImportState::Running => "running",
        ImportState::Complete => "complete",
        ImportState::Interrupted => "interrupted",
        ImportState::Retracted => "retracted",
    }
}

fn show(details: &ImportDetails) -> anyhow::Result<()> {
    let import = &details.import;
    let time = |time: Option<doorbook_event::Timestamp>| {
        time.map_or_else(|| "-".to_owned(), |time| time.to_string())
    };
    let facts = [
        ("import", import.id.to_string()),
        ("state", state(import.state).to_owned()),
        ("project", format!("{} ({})", import.project, import.project_id)),
        ("cluster", import.cluster.to_string()),
        ("host given", import.host.as_deref().unwrap_or("-").to_owned()),
        ("by", import.by.clone()),
        ("started", import.started.to_string()),
        ("ended", time(import.ended)),
        ("lines", import.lines.to_string()),
        ("events", import.events.to_string()),
        ("successes", import.successes.to_string()),
        ("failures", import.failures.to_string()),
        ("suspect", import.suspect.to_string()),
        ("unconfirmed", import.unconfirmed.to_string()),
        ("duplicates", import.duplicates.to_string()),
        ("quarantined", import.quarantined.to_string()),
        ("gaps", import.gaps.to_string()),
        ("expired", import.expired.to_string()),
        ("from", time(import.from)),
        ("to", time(import.to)),
    ];
    for (name, value) in facts {
        output::line(&format!("{name:<12} {value}"))?;
    }
    output::heading("Files")?;
    for input in &import.inputs {
        output::line(&format!(
            "  {} of {}: {} lines, {} bytes, modified {}, SHA-256 {}",
            input.name,
            input.host,
            input.lines,
            input.size_bytes,
            time(input.modified),
            input.sha256.as_deref().unwrap_or("not taken of a live file")
        ))?;
    }
    if !details.coverage.is_empty() {
        output::heading("Gaps")?;
        for gap in &details.coverage {
            output::line(&format!(
                "  {} from {} to {}: {} hidden, {}{}",
                gap.target.short(),
                gap.from,
                coverage::end(gap),
                gap.hidden,
                gap.cause,
                gap.by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default(),
            ))?;
        }
    }
    if !import.unknown_ids.is_empty() {
        output::heading("Unknown message ids")?;
        for unknown in &import.unknown_ids {
            let version = unknown.version.as_deref().unwrap_or("unknown");
            output::line(&format!(
                "  {} (version {version}), {} times: {}",
                unknown.id, unknown.count, unknown.message
            ))?;
        }
    }
    if !details.quarantine.is_empty() {
        output::heading("Lines that could not be read")?;
        for row in &details.quarantine {
            let raw: String = row.raw.as_deref().unwrap_or("").chars().take(200).collect();
            output::line(&format!("  {}:{} {}: {raw}", row.file, row.line, row.reason))?;
        }
    }
    Ok(())
}

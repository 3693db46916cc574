//! `doorbook import`.

use std::path::Path;
use std::sync::Arc;

use doorbook_event::Timestamp;
use doorbook_server::admin::request::{ImportDetails, ImportView};
use doorbook_server::admin::{Connection, Failure, Reply, Request};
use doorbook_server::pipeline::{self, Early, Job, Progress};
use doorbook_source::input::{Input, expand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::tz::TimeZone;

use super::{DataDir, coverage, imports, out_of_turn};
use crate::exit::Interrupted;
use crate::output::{self, count};
use crate::{interrupt, values};

/// Import mongod and mongos logs, or look at imports and take them back. (A file that is called
/// like one of the commands is given as ./list.)
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<imports::Command>,
    #[command(flatten)]
    import: Option<Import>,
}

#[derive(clap::Args)]
struct Import {
    /// The project, by id or name
    #[arg(long, value_name = "P")]
    project: String,
    /// The cluster
    #[arg(long, value_name = "C")]
    cluster: String,
    /// The host whose logs these are, by any of its names [default: as the logs say themselves]
    #[arg(long, value_name = "HOST[:PORT]")]
    host: Option<String>,
    /// Add the host to the cluster if it is not known
    #[arg(long)]
    add_host: bool,
    /// The zone of times that are written without one: a name or an offset
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = values::time_zone)]
    time_zone: TimeZone,
    /// Go on with what is appended to the one file, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Files (plain, .gz, .zst), patterns, directories with rotated logs, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
}

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    if let Some(command) = args.command {
        return imports::run(data_dir, command);
    }
    let args = args.import.expect("clap demands a command or what an import needs");
    // What is wrong with a name is said before gigabytes are read.
    let mut connection = data_dir.open()?;
    let imported = check(&mut connection, &args)
        .and_then(|()| read(&mut connection, &args))
        .and_then(|(ended, warnings)| tell(&mut connection, &args, ended, &warnings));
    connection.close()?;
    imported
}

fn check(connection: &mut Connection, args: &Import) -> anyhow::Result<()> {
    let request = Request::ImportCheck {
        project: args.project.clone(),
        cluster: args.cluster.clone(),
        host: args.host.clone(),
        add_host: args.add_host,
    };
    connection.execute(request)?;
    Ok(())
}

/// Imports; with what it warned of.
fn read(
    connection: &mut Connection,
    args: &Import,
) -> anyhow::Result<(pipeline::Outcome, Vec<String>)> {
    let inputs = inputs(args)?;
    let total_size_bytes =
        inputs.iter().map(|input| input.size_bytes).sum::<Option<u64>>().filter(|_| !args.follow);
    let stop = interrupt::listen()?;
    let progress = Arc::new(Progress::default());
    let job = Job {
        project: args.project.clone(),
        cluster: args.cluster.clone(),
        host: args.host.clone(),
        add_host: args.add_host,
        inputs,
        zone: args.time_zone.clone(),
        follow: args.follow,
    };
    let bar = bar(total_size_bytes);
    let mut n_warnings = 0;
    let mut warn = |progress: &Progress| {
        for warning in progress.warnings_from(n_warnings) {
            n_warnings += 1;
            bar.suspend(|| eprintln!("doorbook: warning: {}", output::safe(&warning)));
        }
    };
    let mut tick = |progress: &Progress| {
        use std::sync::atomic::Ordering::Relaxed;
        warn(progress);
        bar.set_position(progress.size_bytes.load(Relaxed));
        bar.set_message(match progress.checking.load(Relaxed) {
            true => "checking compressed files".to_owned(),
            false => count(progress.lines.load(Relaxed), "line", "lines"),
        });
    };
    let outcome = pipeline::run(job, &mut *connection.sink(), stop.flag(), &progress, &mut tick);
    warn(&progress);
    bar.finish_and_clear();
    Ok((outcome?, progress.warnings_from(0)))
}

fn inputs(args: &Import) -> anyhow::Result<Vec<Input>> {
    let expansion = expand(&args.files).map_err(|error| pipeline::inputs::failure(&error))?;
    for left_out in &expansion.left_out {
        let path = left_out.path.display().to_string();
        eprintln!("doorbook: not read: {} ({})", output::safe(&path), left_out.why);
    }
    match (&expansion.inputs[..], args.follow) {
        ([one], true) if one.size_bytes.is_some() => {}
        (_, true) => {
            return Err(
                Failure::invalid("--follow takes one file that is neither - nor a pipe").into()
            );
        }
        (_, false) => {}
    }
    Ok(expansion.inputs)
}

/// A bar on a terminal's stderr, and nothing elsewhere.
fn bar(total_size_bytes: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total_size_bytes, ProgressDrawTarget::stderr());
    let template = match total_size_bytes {
        Some(_) => "{bar:30} {bytes}/{total_bytes}, {msg}, {eta} left",
        None => "{spinner} {bytes}, {msg}",
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is constant"));
    bar
}

/// What `--json` prints: the receipt, and what was said on stderr besides.
#[derive(serde::Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    details: &'a ImportDetails,
    warnings: &'a [String],
}

/// Says what came of it.
fn tell(
    connection: &mut Connection,
    args: &Import,
    outcome: pipeline::Outcome,
    warnings: &[String],
) -> anyhow::Result<()> {
    let id = outcome.import.id.to_string();
    let shown = connection.execute(Request::ImportShow { id: id.clone() });
    let details = match shown.map_err(|failure| {
        failure.while_doing(format!("import {id} has ended, and its receipt cannot be shown now"))
    })? {
        Reply::ImportDetails(details) => details,
        other => return Err(out_of_turn(&other)),
    };
    if args.json {
        output::json(&Told { details: &details, warnings })?;
    } else {
        let base_url = match connection.execute(Request::Server)? {
            Reply::Server(base_url) => base_url,
            other => return Err(out_of_turn(&other)),
        };
        summary(&details, base_url)?;
    }
    let what_stays = "what was committed stays, and the same command goes on from there";
    match outcome.early {
        None => Ok(()),
        Some(Early::Stopped) => {
            Err(Interrupted(format!("import {id} was interrupted; {what_stays}")).into())
        }
        Some(Early::Failed(failure)) => {
            let what = format!("import {id} was interrupted ({what_stays})");
            Err(failure.while_doing(what).into())
        }
    }
}

fn summary(details: &ImportDetails, base_url: Option<String>) -> anyhow::Result<()> {
    let import = &details.import;
    output::line(&format!(
        "Import {}: {} with {} into cluster {} of project {}.",
        import.id,
        count(import.files as u64, "file", "files"),
        count(import.lines, "line", "lines"),
        import.cluster,
        import.project,
    ))?;
    output::line(&format!(
        "  {} added: {}, {}, {} suspect, {} unconfirmed; {} there already",
        count(import.events, "event", "events"),
        count(import.successes, "success", "successes"),
        count(import.failures, "failure", "failures"),
        import.suspect,
        import.unconfirmed,
        count(import.duplicates, "event was", "events were"),
    ))?;
    if import.quarantined > 0 {
        output::line(&format!(
            "  {} could not be read and {} kept aside: doorbook import show {}",
            count(import.quarantined, "line", "lines"),
            if import.quarantined == 1 { "is" } else { "are" },
            import.id,
        ))?;
    }
    for gap in &details.coverage {
        let what =
            if gap.hidden == "all" { "attempts left no line" } else { "successes left no line" };
        let by = gap.by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default();
        output::line(&format!(
            "  Blind: {what} on{} from {} to {} ({}{by})",
            gap.target.host.as_ref().map(|host| format!(" {host}")).unwrap_or_default(),
            gap.from,
            coverage::end(gap),
            gap.cause,
        ))?;
    }
    for unknown in &import.unknown_ids {
        let version = unknown.version.as_deref().unwrap_or("of unknown version");
        output::line(&format!(
            "  Unknown: message id {} of mongod {version}, {}: {}",
            unknown.id,
            count(unknown.count, "line", "lines"),
            unknown.message,
        ))?;
    }
    if import.expired > 0 {
        output::line(&format!(
            "  Too old: {} older than the project keeps any, and not stored",
            count(import.expired, "event is", "events are"),
        ))?;
    }
    let (Some(from), Some(to)) = (import.from, import.to) else {
        return match import.expired {
            0 => output::line("  No authentication was found."),
            _ => Ok(()),
        };
    };
    output::line(&format!("  The events found are from {from} to {to}."))?;
    output::line("To see them (without an interval the API answers for the last 7 days only):")?;
    let base_url = base_url.unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    output::line(&format!("  {}", curl(&base_url, import, from, to)))
}

/// The request that shows an import's events.
fn curl(base_url: &str, import: &ImportView, from: Timestamp, to: Timestamp) -> String {
    // The end is inclusive in milliseconds: the one in which the last event lies.
    let (start, end) = (from.millis(), to.plus_micros(999).millis());
    format!(
        "curl --silent --digest --user PUBLICKEY:PRIVATEKEY --header \
         'Accept: application/vnd.atlas.2023-01-01+json' \
         '{base_url}/api/atlas/v2/groups/{}/dbAccessHistory/clusters/{}?start={start}&end={end}'",
        import.project_id, import.cluster,
    )
}

/// Imports one file for quickstart, which has its own way to tell.
pub fn import_file(
    connection: &mut Connection,
    project: &str,
    cluster: &str,
    file: &Path,
) -> anyhow::Result<ImportView> {
    let expansion = expand(&[file.display().to_string()])?;
    let job = Job {
        project: project.to_owned(),
        cluster: cluster.to_owned(),
        host: None,
        add_host: false,
        inputs: expansion.inputs,
        zone: TimeZone::UTC,
        follow: false,
    };
    let (stop, progress) = (Arc::default(), Arc::default());
    let outcome = pipeline::run(job, &mut *connection.sink(), &stop, &progress, &mut |_| {})?;
    match outcome.early {
        None => Ok(outcome.import),
        Some(Early::Failed(failure)) => Err(failure.into()),
        Some(Early::Stopped) => Err(Interrupted("the import was interrupted".to_owned()).into()),
    }
}

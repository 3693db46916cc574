//! `doorbook apply`.

use std::path::PathBuf;

use doorbook_server::admin::request::AppliedView;
use doorbook_server::admin::{Reply, compare_with_nothing};

use super::{DataDir, exists};
use crate::config::{Config, DEFAULT_FILE};
use crate::exit::WouldChange;
use crate::{output, system};

#[derive(clap::Args)]
pub struct Args {
    /// The file of the estate
    #[arg(
        long,
        value_name = "FILE",
        env = "DOORBOOK_CONFIG",
        hide_env_values = true,
        default_value = DEFAULT_FILE
    )]
    config: PathBuf,
    /// Only show what would change; ends with code 5 if anything would
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    let config = Config::read(&args.config)?;
    let view = config.applied(ask(data_dir, &config, args.dry_run)?)?;
    match args.json {
        true => output::json(&view)?,
        false => print(&view)?,
    }
    match args.dry_run && !view.changes.is_empty() {
        true => Err(WouldChange(view.changes.len() as u64).into()),
        false => Ok(()),
    }
}

fn ask(data_dir: &DataDir, config: &Config, dry_run: bool) -> anyhow::Result<Reply> {
    // To look is no reason to make a directory.
    if dry_run && !exists(&data_dir.path()) {
        let view =
            compare_with_nothing(config.wanted(), &system::SystemClock, &system::SystemRandom);
        return Ok(Reply::Applied(Box::new(view)));
    }
    let mut connection = data_dir.open_or_create()?;
    let reply = connection.execute(config.request(dry_run));
    connection.close()?;
    Ok(reply?)
}

fn print(view: &AppliedView) -> anyhow::Result<()> {
    for change in &view.changes {
        output::line(change.to_string().trim_end())?;
    }
    if view.changes.is_empty() {
        output::line("nothing to change")?;
    }
    for note in &view.notes {
        eprintln!("note: {}", output::safe(note));
    }
    Ok(())
}

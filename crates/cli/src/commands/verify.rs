//! `doorbook verify`.

use doorbook_server::admin::{self, Failure};
use doorbook_store::verify::{Depth, Finding};

use super::DataDir;
use crate::{output, system};

#[derive(clap::Args)]
pub struct Args {
    /// Read every byte against its checksum, and no rows: faster, and finds less
    #[arg(long)]
    checksums: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    let depth = if args.checksums { Depth::Checksums } else { Depth::Rows };
    let report = admin::verify(&system::store_options(data_dir.path()), depth)?;
    if args.json {
        output::json(&report)?;
    } else {
        for finding in &report.damages {
            output::line(&format!("damaged: {}", describe(finding)))?;
        }
        for finding in &report.notes {
            output::line(&format!("note: {}", describe(finding)))?;
        }
        output::line(&format!(
            "read {}, {}: {}, {}",
            output::count(report.files, "file", "files"),
            output::size(report.size_bytes),
            output::count(report.frames, "frame", "frames"),
            output::count(report.rows, "row", "rows"),
        ))?;
    }
    if report.is_sound() {
        return Ok(());
    }
    let count = report.damages.len() as u64 + report.more_damages;
    let count = output::count(count, "damage", "damages");
    Err(Failure::failed(format!("{count}; docs/design/operations.md says what to do")).into())
}

fn describe(finding: &Finding) -> String {
    let mut text = finding.file.clone();
    if let Some(bytes) = &finding.bytes {
        text.push_str(&format!(", bytes {} to {}", bytes.start, bytes.end.saturating_sub(1)));
    }
    if let Some(rows) = &finding.rows {
        text.push_str(&format!(", rows {} to {}", rows.start, rows.end.saturating_sub(1)));
    }
    text.push_str(&format!(": {}", finding.what));
    if let Some(affected) = &finding.affected {
        let last = affected.seqs.end.saturating_sub(1);
        text.push_str(&format!("; {}, seq {} to {last}", affected.scope, affected.seqs.start));
        if let (Some(from), Some(to)) = (affected.from, affected.to) {
            text.push_str(&format!(", events of {from} to {to}"));
        }
        if !affected.targets.is_empty() {
            text.push_str(&format!(", of {}", affected.targets.join(", ")));
        }
        if affected.more_targets > 0 {
            text.push_str(&format!(" and {} more", affected.more_targets));
        }
    }
    text
}

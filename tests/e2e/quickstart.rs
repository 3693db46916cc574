//! The README's first command: it must keep what it says.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::support::DataDir;
use crate::support::binary::without_complaints;
use crate::support::process::{Running, run};
use crate::support::tools::{self, left_out};

/// Goal: every line that quickstart prints for pasting works when it is pasted, and shows what
/// quickstart says it will show; Ctrl-C ends it well. Method: paste them.
#[test]
fn the_printed_lines_work_when_pasted() -> Result<()> {
    if tools::curl().is_none() {
        left_out("the lines that quickstart prints", "curl is not installed");
        return Ok(());
    }
    let data = DataDir::new()?;
    let mut quickstart = Running::start(&mut data.command(&["quickstart"])?)?;
    quickstart.wait_for(|line| line.contains("Ctrl-C").then_some(()))?;
    let printed = quickstart.seen().to_vec();
    let lines = curl_lines(&printed);
    ensure!(lines.iter().any(|(curl, _)| curl.contains("/dbAccessHistory/")), "{printed:#?}");
    ensure!(lines.iter().any(|(curl, _)| curl.contains("/activity")), "{printed:#?}");
    for (curl, promise) in &lines {
        // As a shell would run it, because that is where it is pasted.
        let answer = run(Command::new("sh").args(["-c", curl])).context("a printed line")?;
        let answer: Value = serde_json::from_str(&answer).with_context(|| answer.clone())?;
        // Atlas's answer, or TileDB's.
        let rows = answer["accessLogs"].as_array().or(answer.as_array());
        let rows = rows.with_context(|| format!("{curl}: {answer}"))?;
        let promised =
            promise.with_context(|| format!("no promise before {curl}: {printed:#?}"))?;
        ensure!(rows.len() == promised, "{curl}\nshows {} rows: {printed:#?}", rows.len());
    }
    let ended = quickstart.interrupt()?;
    ensure!(ended.status.success(), "Ctrl-C: {}\n{}", ended.status, ended.stderr);
    without_complaints(&ended)
}

/// The curl lines, each with how many rows the line of talk before it promises.
fn curl_lines(printed: &[String]) -> Vec<(String, Option<usize>)> {
    let mut lines = Vec::new();
    let mut promise = None;
    for line in printed {
        if line.starts_with("curl ") {
            lines.push((line.clone(), promise.take()));
        } else if !line.is_empty() {
            let words = [" of them", " attempts", " activities"];
            promise = words.iter().find_map(|words| number_before(line, words));
        }
    }
    lines
}

/// `5` of `5 of them`.
fn number_before(line: &str, words: &str) -> Option<usize> {
    let before = &line[..line.find(words)?];
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

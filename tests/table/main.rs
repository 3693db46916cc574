//! The tables in a data directory, read by engines that know nothing of us: `deltalake`, ClickHouse
//! (chdb) and DuckDB must see what [`Store::select`] sees.

mod history;
mod questions;
#[path = "../e2e/support/tools.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod tools;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use doorbook_event::Record;
use doorbook_store::{Filter, Store};
use serde_json::Value;

use history::{History, Numbers, sync};

const ENGINES: [&str; 3] = ["deltalake", "clickhouse", "duckdb"];

/// What an answer of the store holds: accesses that no retraction hides.
const VISIBLE: &str = "records AS r WHERE r.kind IN (1, 10) AND NOT EXISTS (SELECT 1 FROM \
     hidden AS h WHERE h.scope = r.scope AND r.seq + r.base_seq >= h.first_seq \
     AND r.seq + r.base_seq <= h.last_seq)";

/// Goal: engines see the rows and counts that the store sees; after flushes, a bulk import and a
/// retraction, after checkpoints and the removal of old commits, and after the log was deleted.
/// Method: each engine is asked for all visible rows and for counts, and compared with the store.
#[test]
fn engines_see_what_the_store_sees() -> Result<()> {
    let Some(python) = engines() else { return Ok(()) };
    let history = History::new()?;
    let store = history.open()?;
    history.fill(&store, &mut Numbers::new(1), 12)?;
    sync(&store)?;
    compare(&python, &history, &store, "at first")?;

    // A step each, so that there are many commits.
    for round in 0..80 {
        history.import_one(&store, 10_000 + round)?;
        sync(&store)?;
    }
    history.retract_last(&store)?;
    history.import_one(&store, 20_000)?;
    sync(&store)?;
    let log = history.data().join("segments/_delta_log");
    ensure!(!log.join(format!("{:020}.json", 0)).exists(), "the first commit was cleaned up");
    ensure!(log.join("_last_checkpoint").exists(), "there is a checkpoint");
    compare(&python, &history, &store, "after checkpoints")?;

    drop(store);
    std::fs::remove_dir_all(&log)?;
    std::fs::remove_dir_all(history.data().join("hidden"))?;
    let store = history.open()?;
    sync(&store)?;
    compare(&python, &history, &store, "after the log was deleted")
}

/// Goal: the answers of the store are those of ClickHouse over the table. Method: random filters
/// from a seed, each also as SQL: totals and the newest rows, the most frequent values, histograms.
#[test]
fn answers_are_those_of_clickhouse() -> Result<()> {
    let Some(python) = engines() else { return Ok(()) };
    let history = History::new()?;
    let store = history.open()?;
    history.fill(&store, &mut Numbers::new(2), 12)?;
    store.flush()?;
    sync(&store)?;
    let mut numbers = Numbers::new(3);
    let questions: Vec<_> = (0..300).map(|_| questions::Question::random(&mut numbers)).collect();
    let sql: Vec<String> = questions.iter().map(questions::Question::sql).collect();
    let found = ask(&python, "clickhouse", &history.data(), &sql)?;
    let mut not_empty = 0;
    for ((question, sql), found) in questions.iter().zip(&sql).zip(found) {
        let expected = question.ask(&store)?;
        ensure!(found == expected, "{sql}\n  ClickHouse: {found}\n  the store:  {expected}");
        not_empty += usize::from(expected.as_array().is_some_and(|rows| rows.len() > 1));
    }
    ensure!(not_empty > 100, "most answers are empty ({not_empty} are not): it says nothing");
    Ok(())
}

fn engines() -> Option<PathBuf> {
    let python = tools::tool("engines/bin/python");
    if python.is_none() {
        tools::left_out("the tables as engines read them", "deltalake, chdb and duckdb");
    }
    python
}

fn compare(python: &Path, history: &History, store: &Store, when: &str) -> Result<()> {
    store.flush()?;
    sync(store)?;
    let mut expected = Vec::new();
    for scope in history.scopes() {
        for row in store.select(&Filter::all(scope.clone(), usize::MAX))?.rows {
            let (Record::Access(access) | Record::Own(access)) = &row.record else { continue };
            expected.push(serde_json::json!([
                scope.to_string(),
                row.seq,
                access.event_time.micros(),
                access.target.names().1,
                access.outcome.word(),
                access.principal.name(),
                (!access.raw.is_empty()).then_some(access.raw.len()),
            ]));
        }
    }
    let mut counts = std::collections::BTreeMap::new();
    for row in &expected {
        let day = row[2].as_i64().context("a number")?.div_euclid(86_400_000_000);
        let key = (row[3].to_string(), row[4].to_string(), day);
        *counts.entry(key).or_insert(0_u64) += 1;
    }
    for engine in ENGINES {
        // DuckDB and DataFusion have no common word for microseconds since 1970.
        let micros = |column: &str| match engine {
            "clickhouse" => format!("toUnixTimestamp64Micro({column})"),
            "duckdb" => format!("epoch_us({column})"),
            _ => format!("CAST(arrow_cast({column}, 'Timestamp(Microsecond, None)') AS BIGINT)"),
        };
        let time = micros("r.event_time");
        let length = match engine {
            "clickhouse" => "length(r.raw)",
            "duckdb" => "octet_length(r.raw)",
            _ => "length(encode(r.raw, 'hex')) / 2",
        };
        let day = match engine {
            "clickhouse" => format!("intDiv({time}, 86400000000)"),
            "duckdb" => format!("{time} // 86400000000"),
            _ => format!("{time} / 86400000000"),
        };
        let queries = [
            format!(
                "SELECT r.scope, r.seq + r.base_seq, {time}, r.host, r.outcome, r.principal, \
                 {length} FROM {VISIBLE}"
            ),
            format!("SELECT r.host, r.outcome, {day}, count(*) FROM {VISIBLE} GROUP BY 1, 2, 3"),
        ];
        let [mut rows, counted] = <[Value; 2]>::try_from(
            ask(python, engine, &history.data(), &queries).with_context(|| when.to_owned())?,
        )
        .map_err(|_| anyhow::anyhow!("two queries have two answers"))?;
        let rows = rows.as_array_mut().context("rows")?;
        let mut expected = expected.clone();
        rows.sort_by_cached_key(Value::to_string);
        expected.sort_by_cached_key(Value::to_string);
        ensure!(
            rows.len() == expected.len(),
            "{when}: {engine} sees {} rows of {}",
            rows.len(),
            expected.len()
        );
        for (found, expected) in rows.iter().zip(&expected) {
            ensure!(found == expected, "{when}: {engine} sees {found}, the store {expected}");
        }
        let counted = counted.as_array().context("rows")?;
        ensure!(counted.len() == counts.len(), "{when}: {engine} counts other groups");
        for row in counted {
            let day = row[2].as_i64().context("a day")?;
            let key = (row[0].to_string(), row[1].to_string(), day);
            ensure!(counts.get(&key).copied() == row[3].as_u64(), "{when}: {engine} counts {row}");
        }
    }
    Ok(())
}

/// The answers of an engine.
fn ask(python: &Path, engine: &str, data_dir: &Path, queries: &[String]) -> Result<Vec<Value>> {
    let mut child = Command::new(python)
        .arg(tools::script("table.py"))
        .arg(engine)
        .arg(data_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("piped")?;
    stdin.write_all(&serde_json::to_vec(queries)?)?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{engine}: {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

//! The table: what was measured, beside the best peer of the same run and the goal.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::super::import;
use super::peers::{Loaded, Peer};
use super::workload::Query;
use crate::process::workspace;

/// The peers of a run.
pub type Peers = BTreeMap<String, Loaded>;

/// Everything of one run.
#[derive(Deserialize, Serialize)]
pub struct Report {
    pub events: u64,
    pub days: u64,
    pub seed: u64,
    /// Parameter sets of a question, and of a heavy one.
    pub sets: (usize, usize),
    pub date: String,
    pub machine: String,
    pub peers: Peers,
    pub rows: Vec<Row>,
}

/// A figure of ours beside others.
#[derive(Deserialize, Serialize)]
pub struct Row {
    /// One of [`KINDS`].
    kind: String,
    /// `None` where only peers were asked.
    ours: Option<Figure>,
    peer: Option<(String, f64)>,
    /// All peers' latencies.
    #[serde(default)]
    peers: BTreeMap<String, Latency>,
    /// Instead of the kind's own goal.
    goal: Option<f64>,
    says: Option<String>,
}

/// In the unit of its kind.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub struct Figure {
    value: f64,
    p99: Option<f64>,
}

/// Of many requests, in milliseconds.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// What a row is about.
struct Kind {
    name: &'static str,
    title: &'static str,
    unit: Unit,
    goal: Option<f64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    PerSecond,
    Bytes,
    Megabytes,
    Milliseconds,
}

const KINDS: [Kind; 18] = {
    use Unit::{Bytes, Megabytes, Milliseconds, PerSecond};
    const fn kind(name: &'static str, title: &'static str, unit: Unit, goal: f64) -> Kind {
        Kind { name, title, unit, goal: Some(goal) }
    }
    const fn without_goal(name: &'static str, title: &'static str, unit: Unit) -> Kind {
        Kind { name, title, unit, goal: None }
    }
    [
        kind("ingest", "HTTP ingest of NDJSON, durable, events per CPU-second", PerSecond, 400e3),
        kind("commits", "durable commits of 1000 events, one writer, events/s", PerSecond, 150e3),
        kind(
            "singles",
            "single-event requests, 64 connections, durable, requests/s",
            PerSecond,
            15e3,
        ),
        kind("bytes", "bytes per event, flat set", Bytes, 15.0),
        kind("bytes_with_line", "bytes per event with its verbatim line", Bytes, 42.0),
        kind("Host", "newest 100 of a host in 24 h + exact total", Milliseconds, 1.0),
        kind(
            "Cluster",
            "newest 100 of a cluster of 12 hosts, 7 d + exact total",
            Milliseconds,
            2.0,
        ),
        kind("HostFailures", "host, 24 h, failed only + exact total", Milliseconds, 1.5),
        kind("HostAddress", "host, 24 h, one address + exact total", Milliseconds, 1.5),
        kind("Long", "newest 20,000 as Atlas JSON", Milliseconds, 40.0),
        kind("Hours", "per hour by outcome, host, 7 d", Milliseconds, 2.0),
        kind("Top", "top 10 users by failures, all, 30 d", Milliseconds, 5.0),
        kind(
            "User",
            "newest 100 of one user over all hosts, 30 d + exact total",
            Milliseconds,
            5.0,
        ),
        kind("NoUser", "a user that does not exist, 30 d", Milliseconds, 1.0),
        kind(
            "import",
            "mongod import, durable, lines per CPU-second",
            PerSecond,
            import::IMPORT_GOAL,
        ),
        kind("read", "mongod log read only, lines per CPU-second", PerSecond, import::READ_GOAL),
        kind("import_memory", "peak memory, import of a mongod log", Megabytes, 150.0),
        without_goal("ingest_memory", "peak memory of the server while it ingests", Megabytes),
    ]
};
const RESIDENT: Kind = Kind {
    name: "resident",
    title: "resident memory of the server while it is asked",
    unit: Unit::Megabytes,
    goal: None,
};

fn kind_of(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.name == name).unwrap_or(&RESIDENT)
}

impl Figure {
    pub fn number(value: f64) -> Figure {
        Figure { value, p99: None }
    }

    /// In megabytes.
    pub fn bytes(bytes: u64) -> Figure {
        Figure::number(bytes as f64 / 1e6)
    }
}

impl Latency {
    pub fn of(mut nanoseconds: Vec<u64>) -> Latency {
        nanoseconds.sort_unstable();
        let at = |share: f64| {
            let at = (nanoseconds.len() as f64 * share) as usize;
            nanoseconds[at.min(nanoseconds.len() - 1)] as f64 / 1e6
        };
        Latency { p50_ms: at(0.5), p99_ms: at(0.99) }
    }
}

impl Row {
    pub fn of(kind: &str, ours: Figure) -> Row {
        let kind = kind.to_string();
        Row { kind, ours: Some(ours), peer: None, peers: BTreeMap::new(), goal: None, says: None }
    }

    /// The engines' times in nanoseconds, the peers' in their order and ours after them.
    pub fn of_query(query: Query, times: Vec<Vec<u64>>, peers: &[Peer]) -> Row {
        let mut latencies = times.into_iter().map(Latency::of);
        let of_peers: BTreeMap<_, _> =
            peers.iter().map(|peer| peer.name.clone()).zip(&mut latencies).collect();
        let best = of_peers.iter().min_by(|a, b| a.1.p50_ms.total_cmp(&b.1.p50_ms));
        let ours = latencies.next();
        Row {
            kind: format!("{query:?}"),
            ours: ours.map(|ours| Figure { value: ours.p50_ms, p99: Some(ours.p99_ms) }),
            peer: best.map(|(name, latency)| (name.clone(), latency.p50_ms)),
            peers: of_peers,
            goal: None,
            says: None,
        }
    }

    pub fn beside(self, peer: Option<(String, f64)>) -> Row {
        Row { peer, ..self }
    }

    pub fn with_goal(self, goal: f64) -> Row {
        Row { goal: Some(goal), ..self }
    }

    pub fn saying(self, says: String) -> Row {
        Row { says: Some(says), ..self }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millions = self.events as f64 / 1e6;
        writeln!(f, "## {millions} million events\n")?;
        writeln!(
            f,
            "{}, {}; {} days, seed {}, {} parameter sets ({} for the 20,000 rows and the top 10).\n",
            self.date, self.machine, self.days, self.seed, self.sets.0, self.sets.1
        )?;
        writeln!(f, "| | best peer | Doorbook | p99 | times the peer | goal | |")?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        for row in &self.rows {
            writeln!(f, "{}", row.line())?;
        }
        if !self.peers.is_empty() {
            writeln!(f, "\nThe peers: what loading took, and p50 / p99 in ms of each question.\n")?;
            self.write_peers(f)?;
        }
        Ok(())
    }
}

impl Report {
    fn write_peers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<_> = self.peers.values().map(|loaded| loaded.version.as_str()).collect();
        writeln!(f, "| | {} |", versions.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(versions.len()))?;
        let line = |title: &str, figure: &dyn Fn(&str, &Loaded) -> String| {
            let cells: Vec<_> = self.peers.iter().map(|(name, of)| figure(name, of)).collect();
            format!("| {title} | {} |", cells.join(" | "))
        };
        let events = self.events as f64;
        writeln!(
            f,
            "{}",
            line("bulk load, events per CPU-second", &|_, of| { count(events / of.cpu_seconds) })
        )?;
        writeln!(
            f,
            "{}",
            line("bytes per event", &|_, of| { format!("{:.1}", of.size_bytes as f64 / events) })
        )?;
        writeln!(
            f,
            "{}",
            line("peak memory of the load, MB", &|_, of| {
                format!("{:.0}", of.peak_bytes as f64 / 1e6)
            })
        )?;
        for row in self.rows.iter().filter(|row| !row.peers.is_empty()) {
            writeln!(
                f,
                "{}",
                line(kind_of(&row.kind).title, &|name, _| {
                    row.peers.get(name).map_or("-".to_string(), |latency| {
                        format!("{:.2} / {:.2}", latency.p50_ms, latency.p99_ms)
                    })
                })
            )?;
        }
        Ok(())
    }
}

impl Row {
    fn line(&self) -> String {
        let kind = kind_of(&self.kind);
        let unit = kind.unit;
        let goal = self.goal.or(kind.goal);
        let dash = || "-".to_string();
        let title = match &self.says {
            Some(says) => format!("{} ({says})", kind.title),
            None => kind.title.to_string(),
        };
        let peer = self
            .peer
            .as_ref()
            .map_or_else(dash, |(name, value)| format!("{} {name}", unit.write(*value)));
        let ours = self.ours.map_or_else(dash, |ours| unit.write(ours.value));
        let p99 = self.ours.and_then(|ours| ours.p99).map_or_else(dash, |p99| unit.write(p99));
        let ratio = match (self.ours, &self.peer) {
            (Some(ours), Some((_, peer))) => format!("{:.2}", unit.gain(ours.value, *peer)),
            _ => dash(),
        };
        let verdict = match (self.ours, goal) {
            (Some(ours), Some(goal)) if unit.gain(ours.value, goal) >= 1.0 => "met",
            (Some(_), Some(_)) => "**missed**",
            _ => "",
        };
        let goal = goal.map_or_else(dash, |goal| unit.write(goal));
        let mut line = String::new();
        let _ =
            write!(line, "| {title} | {peer} | {ours} | {p99} | {ratio} | {goal} | {verdict} |");
        line
    }
}

impl Unit {
    /// How many times better the first is.
    fn gain(self, value: f64, than: f64) -> f64 {
        if self == Unit::PerSecond { value / than } else { than / value }
    }

    fn write(self, value: f64) -> String {
        match self {
            Unit::PerSecond => count(value),
            Unit::Bytes => format!("{value:.1}"),
            Unit::Megabytes => format!("{value:.0} MB"),
            Unit::Milliseconds => format!("{value:.2} ms"),
        }
    }
}

fn count(value: f64) -> String {
    match value {
        1e6.. => format!("{:.2} M", value / 1e6),
        1e3.. => format!("{:.1} k", value / 1e3),
        _ => format!("{value:.0}"),
    }
}

/// Writes docs/benchmarks.md from the kept runs, the smallest history first.
pub fn write_document(kept: &Path) -> Result<()> {
    let mut reports = Vec::<Report>::new();
    for entry in std::fs::read_dir(kept)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            reports.push(serde_json::from_slice(&std::fs::read(path)?)?);
        }
    }
    ensure!(!reports.is_empty(), "there is no run in {}", kept.display());
    reports.sort_by_key(|report| report.events);
    let mut document = include_str!("rules.md").to_string();
    for report in &reports {
        let _ = write!(document, "\n{report}");
    }
    if let [smallest, .., largest] = &reports[..] {
        let _ = write!(document, "\n{}", growth(smallest, largest));
    }
    let _ = write!(document, "\n{}", include_str!("budgets.md"));
    Ok(std::fs::write(workspace().join("docs/benchmarks.md"), document)?)
}

/// What a longer history costs each question.
fn growth(small: &Report, large: &Report) -> String {
    let millions = |report: &Report| report.events as f64 / 1e6;
    let mut table = format!(
        "## From {} to {} million events\n\n| p50 | {0} M | {1} M | ratio | within 2 |\n\
         |---|---|---|---|---|\n",
        millions(small),
        millions(large)
    );
    for query in Query::ALL {
        let p50 = |report: &Report| {
            let row = report.rows.iter().find(|row| row.kind == format!("{query:?}"))?;
            Some(row.ours?.value)
        };
        if let (Some(before), Some(after)) = (p50(small), p50(large)) {
            let verdict = if after <= 2.0 * before { "yes" } else { "**no**" };
            let title = kind_of(&format!("{query:?}")).title;
            let _ = writeln!(
                table,
                "| {title} | {before:.2} ms | {after:.2} ms | {:.1} | {verdict} |",
                after / before
            );
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_from_the_right_side() {
        let verdict = |kind, value| Row::of(kind, Figure::number(value)).line();
        assert!(verdict("ingest", 400_001.0).contains("| met |"));
        assert!(verdict("ingest", 399_999.0).contains("missed"));
        assert!(verdict("bytes", 14.9).contains("| met |"));
        assert!(verdict("Host", 1.01).contains("missed"));
        assert!(!verdict("resident", 1.0).contains("met"));
    }

    #[test]
    fn every_question_has_a_row_with_a_goal() {
        for query in Query::ALL {
            assert!(kind_of(&format!("{query:?}")).goal.is_some(), "{query:?}");
        }
    }

    #[test]
    fn growth_is_judged_by_the_ratio() {
        let report = |events, ms| Report {
            events,
            days: 30,
            seed: 1,
            sets: (1, 1),
            date: String::new(),
            machine: String::new(),
            peers: Peers::new(),
            rows: vec![Row::of("Host", Figure::number(ms)), Row::of("ingest", Figure::number(1.0))],
        };
        let table = growth(&report(2_000_000, 0.5), &report(50_000_000, 1.0));
        assert!(table.ends_with("| 0.50 ms | 1.00 ms | 2.0 | yes |\n"), "{table}");
        let table = growth(&report(2_000_000, 0.5), &report(50_000_000, 1.1));
        assert!(table.ends_with("| 2.2 | **no** |\n"), "{table}");
    }

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let latency = Latency::of((1..=200).rev().map(|n| n * 1_000_000).collect());
        assert_eq!((latency.p50_ms, latency.p99_ms), (101.0, 199.0));
    }
}

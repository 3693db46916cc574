//! `cargo xtask bench store`: Doorbook over HTTP beside the engines that a user would pick instead,
//! in one run, asked the same and held to the same answers.
//!
//! The parts, in the order of a run: [`events`] makes the data, [`peers`] loads them into the other
//! engines, [`server`] sends them to a real server, [`workload`] has the questions and compares the
//! answers, [`table`] has the goals and writes `docs/benchmarks.md`, whose rules are kept here:
//!
//! - CPU of an ingest is that of every thread of the server, from its start until all events are in
//!   segments and no thread does anything; a restart in between flushes what waits in memory, and
//!   what it costs counts, too.
//! - Questions come after a further restart. Every set of parameters is asked once, of all engines
//!   in turn; who begins changes with each set.
//! - A different answer ends the run.

pub(super) mod events;
mod http;
mod peers;
pub(super) mod server;
mod table;
mod workload;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use self::events::{Event, Events};
use self::peers::Peer;
use self::server::{Client, Doorbook};
use self::table::{Figure, Latency, Report, Row};
use self::workload::{Answer, Parameters, Query};
use super::import;
use crate::process::{Stopwatch, Usage, cargo, command, output, run as run_command, target_folder};

/// How much, against whom.
#[derive(clap::Args)]
pub struct Arguments {
    /// Events, in millions
    #[arg(long, default_value_t = 2.0)]
    scale: f64,
    /// Parameter sets of each question; of the two heavy ones a fifth
    #[arg(long, default_value_t = 200)]
    sets: usize,
    /// Another seed gives another history of the same shape
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The other engines, or `none`
    #[arg(long, value_delimiter = ',', default_values = peers::NAMES)]
    peers: Vec<String>,
    /// Only the other engines
    #[arg(long)]
    peers_only: bool,
    /// Little of everything: whether it all works, no figures to quote
    #[arg(long)]
    quick: bool,
    /// Measure this binary instead of building one
    #[arg(long, value_name = "FILE")]
    doorbook: Option<PathBuf>,
    /// Write docs/benchmarks.md from this run and the last one of each other scale
    #[arg(long)]
    write: bool,
}

/// What a run is made of.
struct Plan {
    events: u64,
    sets: usize,
    heavy_sets: usize,
    seed: u64,
    /// Of what does not depend on the size of the history; nothing of it at large scales.
    others: Option<Others>,
}

struct Others {
    commits: usize,
    singles: usize,
    lines: u64,
    /// Whether to run `bench import`, too, which builds what it measures.
    import: bool,
}

/// Of a mongod log, for speed, and for memory: the latter has two million authentications.
const IMPORT_LINES: u64 = 1_000_000;
const IMPORT_RUNS: usize = 3;
const MEMORY_LINES: u64 = 8_800_000;

const QUICK_EVENTS: u64 = 50_000;
const CONNECTIONS: usize = 64;

/// The command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let plan = Plan::of(arguments);
    ensure!(plan.events > 0 && plan.sets > 0, "--scale and --sets are more than 0");
    let target = target_folder()?;
    let binary = match &arguments.doorbook {
        Some(binary) => std::path::absolute(binary)?,
        None if arguments.peers_only => PathBuf::new(),
        None => {
            run_command(&mut cargo(["build", "--release", "--locked", "--package", "doorbook"]))?;
            target.join("release/doorbook")
        }
    };
    let kept = target.join("bench");
    std::fs::create_dir_all(&kept)?;
    // On the disk that holds the build, not in /tmp, which may be memory.
    let folder = tempfile::tempdir_in(&kept)?;

    let mut peers = start_peers(arguments, &plan, folder.path())?;
    let sample = workload::sample(plan.events, plan.seed, 2000);
    let mut rows = Vec::new();
    if arguments.peers_only {
        rows.extend(ask_all(&plan, &sample, &mut peers, None)?.0);
    } else {
        let doorbook = Doorbook::new(&binary, folder.path().join("doorbook"))?;
        rows.extend(fill(&doorbook, &plan, &peers)?);
        let server = doorbook.serve()?;
        let mut client = server.client()?;
        let total = client.total()?;
        ensure!(total == plan.events, "{} events were sent, {total} are there", plan.events);
        let resident = || server.resident_bytes();
        let (answered, resident) =
            ask_all(&plan, &sample, &mut peers, Some((&mut client, &resident)))?;
        rows.extend(answered);
        rows.push(Row::of("resident", Figure::bytes(resident)));
        server.stop()?;
    }
    let peers = peers.into_iter().map(|peer| (peer.name.clone(), peer.loaded.clone())).collect();
    if let Some(others) = plan.others.as_ref().filter(|_| !arguments.peers_only) {
        rows.extend(others.measure(&binary, folder.path(), &plan, &peers)?);
    }

    let report = Report {
        events: plan.events,
        days: events::days(plan.events),
        seed: plan.seed,
        sets: (plan.sets, plan.heavy_sets),
        date: output(&mut command("date", ["-u", "+%F"]))?.trim().to_string(),
        machine: import::machine()?,
        peers,
        rows,
    };
    print!("{report}");
    if arguments.quick {
        println!("\nA quick run shows that the bench works; none of its figures means anything.");
    }
    if !arguments.quick && !arguments.peers_only {
        let name = format!("store-{}.json", plan.events);
        std::fs::write(kept.join(name), serde_json::to_vec_pretty(&report)?)?;
    }
    if arguments.write {
        ensure!(!arguments.quick && !arguments.peers_only, "--write takes figures of a whole run");
        table::write_document(&kept)?;
    }
    Ok(())
}

impl Plan {
    fn of(arguments: &Arguments) -> Plan {
        if arguments.quick {
            let others = Others { commits: 5, singles: 200, lines: 10_000, import: false };
            return Plan {
                events: QUICK_EVENTS,
                sets: 10,
                heavy_sets: 5,
                seed: arguments.seed,
                others: Some(others),
            };
        }
        let others = Others { commits: 200, singles: 50_000, lines: 2_500_000, import: true };
        Plan {
            events: (arguments.scale * 1e6).round() as u64,
            sets: arguments.sets,
            heavy_sets: arguments.sets.div_ceil(5),
            seed: arguments.seed,
            others: Some(others).filter(|_| arguments.scale <= 2.0),
        }
    }

    fn sets_of(&self, query: Query) -> usize {
        if query.is_heavy() { self.heavy_sets } else { self.sets }
    }
}

/// Those that can be had here, all loaded; a word about each of the others.
fn start_peers(arguments: &Arguments, plan: &Plan, folder: &Path) -> Result<Vec<Peer>> {
    let names: Vec<_> = arguments.peers.iter().filter(|name| *name != "none").collect();
    if let Some(unknown) = names.iter().find(|name| !peers::NAMES.contains(&name.as_str())) {
        bail!("no peer {unknown}; there are {}", peers::NAMES.join(", "));
    }
    let (ndjson, tsv) = (folder.join("events.ndjson"), folder.join("events.tsv"));
    if !names.is_empty() {
        write_events(plan, &ndjson, Event::json)?;
    }
    if names.iter().any(|name| peers::TAKES_TABS.contains(&name.as_str())) {
        write_events(plan, &tsv, Event::tabs)?;
    }
    let mut started = Vec::new();
    for name in names {
        eprintln!("loading {name}");
        match peers::start(name, folder, &ndjson, &tsv) {
            Ok(peer) => started.push(peer),
            Err(error) => eprintln!("left out: {name}: {error:#}"),
        }
    }
    // Gigabytes, and everyone has read them.
    for file in [ndjson, tsv] {
        let _ = std::fs::remove_file(file);
    }
    Ok(started)
}

fn write_events(plan: &Plan, path: &Path, form: fn(&Event, &mut String)) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    events::write_lines(Events::new(plan.events, plan.seed), form, &mut out)?;
    Ok(out.flush()?)
}

/// Everything over the ingest door, until it is in segments and nothing is left to do.
fn fill(doorbook: &Doorbook, plan: &Plan, peers: &[Peer]) -> Result<Vec<Row>> {
    eprintln!("sending {} events", plan.events);
    let mut server = doorbook.serve()?;
    server.fill(Events::new(plan.events, plan.seed))?;
    server.wait_until_idle()?;
    let first = server.stop()?;
    // The stop has flushed; what that leaves to compact is still work of this ingest.
    let mut server = doorbook.serve()?;
    server.wait_until_idle()?;
    let second = server.stop()?;
    let cpu_seconds = first.cpu_seconds + second.cpu_seconds;
    let per_event = |size_bytes: u64| size_bytes as f64 / plan.events as f64;
    let smallest = peers.iter().min_by_key(|peer| peer.loaded.size_bytes);
    let peer = smallest.map(|peer| (peer.name.clone(), per_event(peer.loaded.size_bytes)));
    Ok(vec![
        Row::of("ingest", Figure::number(plan.events as f64 / cpu_seconds)),
        Row::of("bytes", Figure::number(per_event(doorbook.size_bytes()?))).beside(peer),
        Row::of("ingest_memory", Figure::bytes(first.peak_bytes.max(second.peak_bytes))),
    ])
}

/// Every question of every engine, interleaved. The largest resident size that was seen comes back,
/// too.
fn ask_all(
    plan: &Plan,
    sample: &[Event],
    peers: &mut [Peer],
    mut doorbook: Option<(&mut Client, &dyn Fn() -> u64)>,
) -> Result<(Vec<Row>, u64)> {
    let start_ms = events::start_ms(plan.events);
    let mut rows = Vec::new();
    let mut resident_bytes = 0;
    for query in Query::ALL {
        eprintln!("asking {query:?}");
        let sets = workload::parameter_sets(query, plan.sets_of(query), sample, start_ms);
        let engines = peers.len() + usize::from(doorbook.is_some());
        let mut times = vec![Vec::new(); engines];
        for (number, parameters) in sets.iter().enumerate() {
            let mut answers = Vec::new();
            for turn in 0..engines {
                let engine = (number + turn) % engines;
                let (nanoseconds, answer) = match peers.get_mut(engine) {
                    Some(peer) => peer.ask(query, parameters)?,
                    None => {
                        let (client, _) = doorbook.as_mut().expect("one engine more than peers");
                        client.ask(query, parameters)?
                    }
                };
                times[engine].push(nanoseconds);
                answers.push((engine, answer));
            }
            same(query, parameters, peers, &answers)?;
            if let Some((_, resident)) = &doorbook {
                resident_bytes = resident_bytes.max(resident());
            }
        }
        rows.push(Row::of_query(query, times, peers));
    }
    Ok((rows, resident_bytes))
}

fn same(
    query: Query,
    parameters: &Parameters,
    peers: &[Peer],
    answers: &[(usize, Answer)],
) -> Result<()> {
    let name = |engine: usize| peers.get(engine).map_or("doorbook", |peer| &peer.name);
    for (engine, answer) in answers {
        let (first, firsts) = &answers[0];
        if let Some(difference) = firsts.difference(answer, query) {
            bail!(
                "{} and {} answer differently to {query:?} with {parameters:?}: {difference}",
                name(*first),
                name(*engine)
            );
        }
    }
    Ok(())
}

impl Others {
    fn measure(
        &self,
        binary: &Path,
        folder: &Path,
        plan: &Plan,
        peers: &table::Peers,
    ) -> Result<Vec<Row>> {
        let mut rows = self.commits(binary, folder, plan, peers)?;
        rows.push(self.with_lines(binary, folder, plan)?);
        if self.import {
            rows.extend(import_log(plan)?);
        }
        Ok(rows)
    }

    fn commits(
        &self,
        binary: &Path,
        folder: &Path,
        plan: &Plan,
        peers: &table::Peers,
    ) -> Result<Vec<Row>> {
        eprintln!("committing");
        let doorbook = Doorbook::new(binary, folder.join("commits"))?;
        let server = doorbook.serve()?;
        let count = self.commits as u64 * 1000;
        let commits = server.commits(Events::new(count, plan.seed + 1), 1000)?;
        let before = fdatasync_p50(folder)?;
        let singles = self.singles as u64;
        let singles = server.singles(Events::new(singles, plan.seed + 2), CONNECTIONS)?;
        let fdatasync_seconds = before.min(fdatasync_p50(folder)?);
        server.stop()?;
        let best = peers
            .iter()
            .filter_map(|(name, loaded)| Some((name.clone(), loaded.commits_per_second?)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        let goal = (CONNECTIONS as f64 / fdatasync_seconds / 2.0).min(15_000.0);
        Ok(vec![
            Row::of("commits", Figure::number(commits)).beside(best),
            Row::of("singles", Figure::number(singles))
                .with_goal(goal)
                .saying(format!("fdatasync p50 {:.2} ms", fdatasync_seconds * 1e3)),
        ])
    }

    /// The same events as lines of a mongod log, imported: bytes with the line kept verbatim.
    fn with_lines(&self, binary: &Path, folder: &Path, plan: &Plan) -> Result<Row> {
        eprintln!("importing lines");
        let doorbook = Doorbook::new(binary, folder.join("lines"))?;
        let (mut size_bytes, mut events) = (0, 0);
        let (cluster, hosts) = events::clusters().swap_remove(0);
        for host in &hosts {
            let log = folder.join("lines.log");
            let mut out = BufWriter::with_capacity(1 << 20, File::create(&log)?);
            let of_host = Events::new(self.lines, plan.seed)
                .filter(|event| event.host % hosts.len() as u16 == host_number(host))
                .inspect(|_| events += 1);
            size_bytes += events::write_lines(of_host, Event::mongod_line, &mut out)?;
            out.flush()?;
            let words = ["import", "--project", "bench", "--cluster", &cluster, "--host", host];
            output(doorbook.command(&words).arg(&log))?;
            std::fs::remove_file(log)?;
        }
        let mut server = doorbook.serve()?;
        server.wait_until_idle()?;
        let total = server.client()?.total()?;
        ensure!(total == events, "{events} lines were imported, {total} events are there");
        server.stop()?;
        let per_event = doorbook.size_bytes()? as f64 / events as f64;
        let line_bytes = size_bytes as f64 / events as f64 - 1.0;
        Ok(Row::of("bytes_with_line", Figure::number(per_event))
            .saying(format!("{line_bytes:.0}-byte lines")))
    }
}

/// What `bench import` measures, and the memory of an import of two million events.
fn import_log(plan: &Plan) -> Result<Vec<Row>> {
    eprintln!("importing a mongod log");
    let measured = |lines, runs| {
        import::measure_runs(&import::Arguments { lines, runs, seed: plan.seed, keep: None })
    };
    let figures = measured(IMPORT_LINES, IMPORT_RUNS)?;
    let rate = |runs: &[Usage]| {
        Figure::number(figures.counts.lines as f64 / runs[runs.len() / 2].cpu_seconds)
    };
    let large = measured(MEMORY_LINES, 1)?;
    let events = large.counts.events() as f64 / 1e6;
    Ok(vec![
        Row::of("import", rate(&figures.imports)),
        Row::of("read", rate(&figures.reads)),
        Row::of("import_memory", Figure::bytes(large.imports[0].peak_rss_bytes))
            .saying(format!("{events:.1} M events")),
    ])
}

fn host_number(host: &str) -> u16 {
    host.trim_start_matches("db-").split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// What one durable append costs on this disk, now: the median of many.
fn fdatasync_p50(folder: &Path) -> Result<f64> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times = Vec::new();
    for _ in 0..500 {
        file.write_all(&[0; 4096])?;
        let stopwatch = Stopwatch::start();
        file.sync_data()?;
        times.push(u64::try_from(stopwatch.elapsed().as_nanos())?);
    }
    Ok(Latency::of(times).p50_ms / 1e3)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Goal: the bench keeps working while what it measures changes. Method: a little of every part
    /// against the binary that was built beside this test, without peers.
    #[test]
    fn the_bench_runs() -> Result<()> {
        let Some(doorbook) = fresh_binary()? else {
            println!("left out: there is no fresh doorbook beside this test");
            return Ok(());
        };
        run(&Arguments {
            scale: 0.0,
            sets: 0,
            seed: 1,
            peers: vec!["none".to_string()],
            peers_only: false,
            quick: true,
            doorbook: Some(doorbook),
            write: false,
        })
    }

    /// `target/<profile>/doorbook`, if it is newer than all it was built from, by cargo's own list.
    fn fresh_binary() -> Result<Option<PathBuf>> {
        let test = std::env::current_exe()?;
        let profile = test.ancestors().nth(2).context("target/<profile>/deps/<test>")?;
        let binary = profile.join("doorbook");
        let Ok(list) = std::fs::read_to_string(binary.with_extension("d")) else { return Ok(None) };
        let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
        let built = modified(&binary)?;
        let sources = list.split_once(": ").map_or("", |(_, sources)| sources);
        let is_fresh = sources
            .split_whitespace()
            .all(|source| modified(Path::new(source)).is_ok_and(|changed| changed <= built));
        Ok(is_fresh.then_some(binary))
    }
}

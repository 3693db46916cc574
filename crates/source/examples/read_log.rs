//! Reads one mongod log on one thread and tells how fast: lines to batches, with everything joined
//! and nothing stored. `cargo run --release -p doorbook-source --example read_log -- FILE [TIMES]`

use std::time::Instant;

use doorbook_event::{Action, Class, Outcome, Target};
use doorbook_source::Batch;
use doorbook_source::mongod::{FileHints, Interpreter, LinePlace, Settings};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().expect("usage: read_log FILE [TIMES]");
    let times: u32 = arguments.next().map_or(1, |times| times.parse().expect("TIMES is a number"));
    let bytes = std::fs::read(&file).expect("the file can be read");
    for _ in 0..times {
        read(&bytes);
    }
}

fn read(bytes: &[u8]) {
    let target = Target::Host { cluster: "bench".into(), host: "db-000:27017".into() };
    let zone = jiff::tz::TimeZone::UTC;
    let mut interpreter = Interpreter::new(Settings { target, zone });
    let mut total = Totals::default();
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let mut batch = Batch::default();
    interpreter.begin_file(FileHints::default(), false, &mut batch);
    let (mut at, mut number) = (0, 0);
    while at < bytes.len() {
        let end = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |length| at + length);
        number += 1;
        let place = LinePlace { line: number, offset_bytes: at as u64 };
        interpreter.line(&bytes[at..end], place, &mut batch);
        at = end + 1;
        if number % 4096 == 0 {
            total.take(&mut batch);
        }
    }
    interpreter.finish(&mut batch);
    total.take(&mut batch);
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!("{total:?}");
    let million = number as f64 / 1e6;
    println!(
        "wall {wall:.3} s, cpu {cpu:.3} s: {:.2} M lines/cpu-s, {:.0} MB/cpu-s",
        million / cpu,
        bytes.len() as f64 / 1e6 / cpu
    );
}

#[derive(Debug, Default)]
struct Totals {
    lines: u64,
    events: usize,
    successes: usize,
    failures: usize,
    retries: usize,
    with_client: usize,
    joined: usize,
    gaps: usize,
    quarantined: usize,
    unknown_ids: usize,
}

impl Totals {
    fn take(&mut self, batch: &mut Batch) {
        self.lines += batch.lines;
        self.events += batch.accesses.len();
        for access in &batch.accesses {
            if access.action == Action::Authenticate {
                self.successes += usize::from(access.outcome == Outcome::Success);
                self.failures += usize::from(access.outcome != Outcome::Success);
            }
            self.retries += usize::from(access.classes.contains(Class::Retry));
            self.with_client += usize::from(access.client.is_some());
            self.joined += usize::from(access.peer_joined);
        }
        self.gaps += batch.coverage.len();
        self.quarantined += batch.quarantine.len();
        self.unknown_ids += batch.unknown_ids.len();
        batch.accesses.clear();
        batch.coverage.clear();
        batch.quarantine.clear();
        batch.unknown_ids.clear();
        batch.lines = 0;
        batch.size_bytes = 0;
    }
}

/// User and system time of this process, in seconds, at the kernel's resolution of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has /proc");
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<f64>().expect("ticks are numbers");
    (ticks(11) + ticks(12)) / 100.0
}

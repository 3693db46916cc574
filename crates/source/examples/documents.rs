//! What reading a line of our own form costs: `cargo run --release --example documents [LINES]`.

use doorbook_source::document::{Reader, write};

/// CPU time of this thread, by Linux's word: on a machine that does other things, too, the only
/// time that means something.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split(' ').next().and_then(|text| text.parse::<f64>().ok());
    nanoseconds.unwrap_or(f64::NAN) / 1e9
}

fn main() {
    let n_lines: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let lines: Vec<String> = (0..n_lines).map(line).collect();
    let bytes: usize = lines.iter().map(String::len).sum();
    let mut reader = Reader::default();
    for round in 0..3 {
        let began = cpu_seconds();
        let mut n_read = 0;
        let mut written = Vec::new();
        let mut events = Vec::with_capacity(1000);
        for line in &lines {
            events.extend(reader.read(line.as_bytes()));
            if events.len() == 1000 {
                n_read += events.len();
                events.clear();
            }
        }
        let reading = cpu_seconds() - began;
        let began = cpu_seconds();
        for line in lines.iter().take(20_000) {
            let event = reader.read(line.as_bytes()).expect("our own line");
            write(&event, &mut written);
        }
        let both = cpu_seconds() - began;
        println!(
            "{round}: {n_read} lines of {} bytes, {:.3} us a line to read; 20,000 read and written \
             in {:.1} ms",
            bytes / n_lines,
            reading * 1e6 / n_lines as f64,
            both * 1e3,
        );
    }
}

fn line(n: usize) -> String {
    format!(
        "{{\"time\":\"2026-11-23T{:02}:{:02}:{:02}.{:03}Z\",\"cluster\":\"orders\",\
         \"host\":\"db-{}.example:27017\",\"outcome\":\"success\",\"user\":\"user-{}\",\
         \"database\":\"admin\",\"mechanism\":\"SCRAM-SHA-256\",\"address\":\"10.0.{}.{}\",\
         \"port\":{},\"connection\":{n},\"application\":\"orders-api-{}\",\"driver\":\"nodejs\"}}",
        n / 3_600_000 % 24,
        n / 60_000 % 60,
        n / 1000 % 60,
        n % 1000,
        n % 12,
        n * 7919 % 2000,
        n % 7,
        n * 31 % 250,
        1024 + n % 60_000,
        n % 40,
    )
}

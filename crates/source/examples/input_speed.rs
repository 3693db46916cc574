//! How fast inputs become lines: `cargo run --release -p doorbook-source --example input_speed`.
//!
//! CPU time of this thread is what counts; the machine may be busy. Each figure is the best of
//! several rounds over 1,000,000 lines of 450 bytes in memory.

use std::io::Write;

use doorbook_source::input::{Content, LineReader};
use doorbook_source::wrapping::{Unwrapped, Unwrapper};
use sha2::{Digest, Sha256};

const LINES: usize = 1_000_000;
const ROUNDS: usize = 5;
/// The kernel counts CPU time in steps of 4 ms; what is fast is done more often.
const UNWRAPS: usize = 20 * LINES;

fn main() {
    let json = r#"{"t":{"$date":"2026-11-23T02:47:57.261+00:00"},"s":"I",  "c":"ACCESS"}"#;
    let text = "2026-11-23T02:45:14.292+0000 I  ACCESS   [conn2] Successfully authenticated as ";
    let padded = |line: &str| format!("{line}{}", "x".repeat(449 - line.len()));
    let (json, text) = (padded(json), padded(text));
    let plain = [json.as_bytes(), b"\n"].concat().repeat(LINES);

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    gzip.write_all(&plain).expect("to memory");
    let gzip = gzip.finish().expect("to memory");
    let zstd = zstd::encode_all(&plain[..], 3).expect("to memory");

    // A reader owns what it reads; a copy for each round would cost more than the reading.
    let plain: &'static [u8] = plain.leak();
    let (gzip, zstd): (&'static [u8], &'static [u8]) = (gzip.leak(), zstd.leak());

    let hash = measure("sha256 alone", LINES, || {
        std::hint::black_box(Sha256::digest(plain));
    });
    let both = measure("lines and sha256", LINES, || read(plain));
    report("lines alone (the difference)", both - hash);
    measure("lines from gzip", LINES, || read(gzip));
    measure("lines from zstd", LINES, || read(zstd));

    for (name, line) in [
        ("unwrap bare JSON", json.clone()),
        ("unwrap bare text", text.clone()),
        ("unwrap syslog", format!("<14>Nov 23 02:47:58 host mongod[12]: {json}")),
        ("unwrap compose", format!("mongodb-1  | {json}")),
        ("unwrap CRI", format!("2026-11-23T02:45:46.605123456Z stdout F {json}")),
        (
            "unwrap docker json-file",
            format!(
                r#"{{"log":{}"stream":"stdout","time":"2026-11-23T02:45:46.6Z"}}"#,
                serde_json::to_string(&format!("{json}\n")).expect("a string") + ","
            ),
        ),
    ] {
        let mut unwrapper = Unwrapper::new();
        measure(name, UNWRAPS, || {
            for _ in 0..UNWRAPS {
                let unwrapped = unwrapper.unwrap(std::hint::black_box(line.as_bytes()));
                assert!(matches!(std::hint::black_box(unwrapped), Unwrapped::Line(_)));
            }
        });
    }
}

fn read(stored: &'static [u8]) {
    let mut lines = LineReader::new("memory".into(), Box::new(stored)).expect("a text log");
    let mut found = 0;
    while let Some(line) = lines.next_line().expect("good data") {
        if let Content::Bytes(bytes) = line.content {
            found += usize::from(std::hint::black_box(bytes).len() == 449);
        }
    }
    assert_eq!(found, LINES);
}

/// Nanoseconds per line of the best round.
fn measure(name: &str, lines: usize, mut round: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begun = cpu_seconds();
        round();
        best = best.min(cpu_seconds() - begun);
    }
    let ns = best * 1e9 / lines as f64;
    report(name, ns);
    ns
}

fn report(name: &str, ns: f64) {
    println!("{name:32} {ns:7.1} ns/line {:6.2} M lines/CPU-s {:6.2} GB/s", 1e3 / ns, 450.0 / ns);
}

/// CPU time of this thread.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let ns = stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
    ns.expect("nanoseconds first") / 1e9
}

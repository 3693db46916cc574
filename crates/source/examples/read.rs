//! Reads one mongod log as an import does, and stores nothing: split into lines, wrapping taken off,
//! interpreted, client metadata joined, batches made and dropped. Prints what it found as JSON.
//!
//! `cargo xtask bench import` measures it from outside, beside the real import.

use std::error::Error;
use std::fs::File;

use doorbook_event::{Action, Class, Outcome, Target};
use doorbook_source::Batch;
use doorbook_source::input::{Content, LineReader};
use doorbook_source::mongod::{FileHints, Interpreter, LinePlace, Settings};
use doorbook_source::wrapping::{Unwrapped, Unwrapper};
use serde::Serialize;

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    lines: u64,
    events: usize,
    successes: usize,
    failures: usize,
    /// Events whose connection's metadata was found.
    with_client: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: read FILE")?;
    let target = Target::Host { cluster: "bench".into(), host: "db-000:27017".into() };
    let mut interpreter = Interpreter::new(Settings { target, zone: jiff::tz::TimeZone::UTC });
    let mut unwrapper = Unwrapper::new();
    let mut lines = LineReader::new(file.as_str().into(), Box::new(File::open(&file)?))?;
    let mut batch = Batch::default();
    let mut found = Found::default();
    interpreter.begin_file(FileHints::default(), false, &mut batch);
    while let Some(line) = lines.next_line()? {
        found.lines = line.number;
        let place = LinePlace { line: line.number, offset_bytes: line.offset_bytes };
        match line.content {
            Content::Bytes(bytes) => {
                if let Unwrapped::Line(bytes) = unwrapper.unwrap(bytes) {
                    interpreter.line(bytes, place, &mut batch);
                }
            }
            Content::Oversized(long) => {
                interpreter.oversized(long.head, long.length_bytes, long.sha256, place, &mut batch);
            }
        }
        if batch.is_full() {
            found.take(std::mem::take(&mut batch));
        }
    }
    interpreter.finish(&mut batch);
    found.take(batch);
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}

impl Found {
    fn take(&mut self, batch: Batch) {
        self.events += batch.accesses.len();
        for access in &batch.accesses {
            if access.action == Action::Authenticate && !access.classes.contains(Class::Suspect) {
                match access.outcome {
                    Outcome::Success => self.successes += 1,
                    _ => self.failures += 1,
                }
            }
            self.with_client += usize::from(access.client.is_some());
        }
    }
}

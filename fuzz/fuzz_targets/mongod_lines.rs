//! Any bytes as a mongod log: `cargo +nightly fuzz run mongod_lines`. Seeds: any logs.

#![no_main]

use doorbook_event::Target;
use doorbook_source::Batch;
use doorbook_source::mongod::{FileHints, HostFinder, Interpreter, LinePlace, Settings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let target = Target::Host { cluster: "c".into(), host: "h:27017".into() };
    let zone = jiff::tz::TimeZone::UTC;
    let mut interpreter = Interpreter::new(Settings { target, zone });
    let mut finder = HostFinder::new();
    let mut out = Batch::default();
    interpreter.begin_file(FileHints::default(), false, &mut out);
    let mut lines = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        lines += 1;
        finder.line(line);
        interpreter.line(line, LinePlace { line: lines, offset_bytes: 0 }, &mut out);
    }
    interpreter.finish(&mut out);
    assert_eq!(out.lines, lines);
    assert!(out.size_bytes <= 2 * (bytes.len() + 1));
    assert!(out.accesses.iter().all(|access| !access.raw.is_empty()));
});

//! Any bytes as the estate's file: `cargo +nightly fuzz run estate`. Each problem is told at a place that the file
//! has.
#![no_main]

use doorbook_server::estate::Document;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let problems = match Document::read(bytes) {
        Ok(document) => document.wanted().err().unwrap_or_default(),
        Err(problem) => vec![problem],
    };
    let line_count = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
    for problem in problems {
        assert!((1..=line_count).contains(&(problem.place.line as usize)), "{problem}");
    }
});

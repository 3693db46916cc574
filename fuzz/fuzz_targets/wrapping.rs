//! Arbitrary lines through one unwrapper: it must not panic, and give nothing that did not come in.
#![no_main]

use doorbook_source::input::LINE_BYTES_MAX;
use doorbook_source::wrapping::{Unwrapped, Unwrapper};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut unwrapper = Unwrapper::new();
    let mut came = 0;
    for line in input.split(|byte| *byte == b'\n') {
        came += line.len();
        if let Unwrapped::Line(given) = unwrapper.unwrap(line) {
            // Taking off never adds, and what never came cannot be held.
            assert!(!given.is_empty() && given.len() <= came);
            assert!(given.len() <= line.len().max(LINE_BYTES_MAX));
        }
    }
    while let Some(given) = unwrapper.finish() {
        assert!(given.len() <= came.min(LINE_BYTES_MAX));
    }
});

//! Any bytes as a body of raw lines with labels: `cargo +nightly fuzz run labelled`. What is kept of a line
//! is read again as it was.
#![no_main]

use doorbook_source::labelled::{again, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _whatever = read(bytes, |line| {
        if let Ok(arrival) = line {
            assert_eq!(again(&arrival.received), arrival);
        }
    });
});

//! Any bytes as lines of our own form: `cargo +nightly fuzz run documents`. What is read is JSON, and
//! written again it reads as the same event.
#![no_main]

use doorbook_source::document::{Reader, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(access) = reader.read(line) else { continue };
        let mut written = Vec::new();
        write(&access, &mut written);
        assert_eq!(reader.read(&written), Ok(access));
    }
});

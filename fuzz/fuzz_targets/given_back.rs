//! Any text as what callers give back of our answers, cursors and states of a tail (`Last-Event-ID`, `as_of`):
//! `cargo +nightly fuzz run given_back`. What is read is written again as it was; a cursor also with the tag that only
//! we can make, so that what is behind it is reached.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doorbook_event::PublicIds;
use doorbook_server::api::native::cursor::{Cursor, open_as_of, seal_as_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let ids = PublicIds::new(&[7; 32]);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _whatever = Cursor::open(&ids, text);
        if let Some(as_of) = open_as_of(&ids, text) {
            assert_eq!(open_as_of(&ids, &seal_as_of(&ids, &as_of)), Some(as_of));
        }
    }
    let ours = URL_SAFE_NO_PAD.encode([bytes, &ids.tag(bytes)].concat());
    if let Some(cursor) = Cursor::open(&ids, &ours) {
        assert_eq!(Cursor::open(&ids, &cursor.seal(&ids)), Some(cursor));
    }
});

//! Any bytes as what a store says has changed: `cargo +nightly fuzz run notification`. Whatever it names was in the
//! body, and is no more than that.
#![no_main]

use doorbook_server::api::s3::{Notification, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let said = match read(body) {
        Some(Notification::Changed(objects)) => {
            objects.iter().map(|(bucket, key)| bucket.len() + key.len()).sum()
        }
        Some(Notification::Unconfirmed(url)) => url.len(),
        None => 0,
    };
    // An escape is never shorter than what it stands for.
    assert!(said <= body.len());
});

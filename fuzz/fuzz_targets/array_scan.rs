//! Any bytes as the files of an array: `cargo +nightly fuzz run array_scan`. Lines before an empty one are
//! names, what follows is what each list says; nothing panics, and what is found is bounded by what is there.
#![no_main]

use std::io;

use doorbook_event::{Target, Timestamp};
use doorbook_source::tiledb::{ArrayWatch, Contents, Listing};
use libfuzzer_sys::fuzz_target;

struct Bytes<'a>(&'a [u8]);

impl Contents for Bytes<'_> {
    fn read(&mut self, _: &str) -> io::Result<Vec<u8>> {
        Ok(self.0.to_vec())
    }

    fn modified(&mut self, _: &str) -> io::Result<Timestamp> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let (names, contents) = text.split_once("\n\n").unwrap_or((&text, ""));
    let target = Target::Array { namespace: "alice".into(), array: "a".into() };
    let mut watch = ArrayWatch::new(target.clone(), "arrays".into(), &[]).expect("it begins");
    let names: Vec<&str> = names.lines().collect();
    for n in 0..3 {
        let mut listing = Listing::new();
        for name in names.iter().skip(n) {
            listing.see(name, Timestamp::from_seconds(1_795_000_000));
        }
        let now = Timestamp::from_seconds(1_795_000_100 + n as i64);
        watch.scan(listing, &mut Bytes(contents.as_bytes()), now);
        while watch.take().is_some() {}
        watch = ArrayWatch::new(target.clone(), "arrays".into(), &watch.position()).expect("our own");
    }
    let _ = ArrayWatch::new(target, "arrays".into(), bytes);
});

//! Any bytes as the position of a watch: `cargo +nightly fuzz run watch_position`. What is read is
//! written again as something that is read.
#![no_main]

use doorbook_event::Target;
use doorbook_source::follow::Start;
use doorbook_source::watch::{Settings, Watch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let settings = Settings {
        source: "db-1".into(),
        path: "/nowhere/mongod.log".into(),
        target: Target::Host { cluster: "c".into(), host: "db-1:27017".into() },
        names: Vec::new(),
        zone: jiff::tz::TimeZone::UTC,
        start: Start::Oldest,
        batch_size_bytes: doorbook_source::Batch::SIZE_BYTES_MAX,
    };
    if let Ok(watch) = Watch::open(settings.clone(), Some(bytes)) {
        assert!(Watch::open(settings, Some(&watch.position())).is_ok());
    }
});

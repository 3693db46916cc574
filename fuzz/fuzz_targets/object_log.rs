//! Any bytes as logs of object stores: `cargo +nightly fuzz run object_log`. Whatever is read of them, putting
//! the requests together ends, and what waits stays bounded.
#![no_main]

use doorbook_event::Timestamp;
use doorbook_source::object_log::{Format, Places, Reader, Records, Sessions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let places = Places::new("alice".into(), [("s3://b/a", "id".into())]);
    for format in [Format::CephOpsLog, Format::S3AccessLog, Format::Cloudtrail] {
        let mut reader = Reader::new(format);
        let mut sessions = Sessions::new(format);
        let mut line = |line: &[u8]| {
            let _ = reader.line(line, &mut |request| sessions.add(&request, line));
        };
        match format {
            Format::Cloudtrail => Records::default().feed(bytes, &mut |record| line(record.bytes)),
            _ => bytes.split(|byte| *byte == b'\n').for_each(line),
        }
        let mut told = Vec::new();
        sessions.close(Timestamp::from_seconds(1_800_000_000), &places, &mut told);
        sessions.close(Timestamp::MAX, &places, &mut told);
        assert!(!sessions.is_full());
    }
});

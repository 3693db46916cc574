//! Logs as the stores write them, and what they say of arrays.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex, MutexGuard};

use doorbook_event::{Access, Action, Outcome, Target, Timestamp};
use proptest::prelude::*;

use super::*;

/// What a gateway of Ceph 16.2 wrote while the `tiledb` package worked an array over it, one operation every
/// three seconds, and while another user tried to open it.
const CEPH: &[u8] = include_bytes!("test_data/ceph-ops.log.gz");
/// Written by hand, after Amazon's description.
const S3: &[u8] = include_bytes!("test_data/s3-access.log");
/// Written by hand, after Amazon's description.
const CLOUDTRAIL: &[u8] = include_bytes!("test_data/cloudtrail.json");

fn ceph() -> Vec<u8> {
    let mut log = Vec::new();
    flate2::read::GzDecoder::new(CEPH).read_to_end(&mut log).expect("is packed by gzip");
    log
}

fn places() -> Places {
    let ceph = ["my temps", "my temps_enum", "my temps_enum2"];
    let ceph = ceph.map(|name| (format!("s3://arrays/prod/{name}"), name));
    let all = ceph.into_iter().chain([("s3://lake/prod/my temps/".to_owned(), "lake")]);
    let all: Vec<(String, &str)> = all.collect();
    Places::new("alice".into(), all.iter().map(|(uri, name)| (&**uri, (*name).into())))
}

fn requests(format: Format, log: &[u8]) -> Vec<Request> {
    let mut reader = Reader::new(format);
    let mut found = Vec::new();
    let mut read = |line: &[u8]| {
        reader.line(line, &mut |request| found.push(request)).expect("is readable");
    };
    match format {
        Format::Cloudtrail => Records::default().feed(log, &mut |record| read(record.bytes)),
        _ => log.split(|byte| *byte == b'\n').for_each(read),
    }
    found
}

/// What requests say that are all there.
fn told(format: Format, requests: &[Request]) -> Vec<Access> {
    let mut sessions = Sessions::new(format);
    let mut out = Vec::new();
    requests.iter().for_each(|request| sessions.add(request, b"line"));
    sessions.close(Timestamp::MAX, &places(), &mut out);
    out
}

/// `array: action by whom object bytes`, with the object without its random part.
fn summary(access: &Access) -> String {
    let attribute = |name: &str| access.attributes.get(name).map_or("", |value| value);
    let object = attribute("object");
    let folder = object.split('/').next().unwrap_or_default();
    let ending = object.rsplit_once('.').map_or("", |(_, ending)| ending);
    let bytes = [attribute("bytes_sent"), attribute("bytes_received")].concat();
    let result = if access.outcome == Outcome::Success { "" } else { " denied" };
    let array = access.target.names().1;
    let words = [
        &format!("{array}: {}{result} by {}", access.action.word(), access.principal),
        folder,
        ending,
        attribute("what"),
        &*bytes,
    ];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Goal: what was done with a real array over a real gateway is what its log is read as. Method: the log of
/// a known list of operations.
#[test]
fn a_real_ops_log_tells_what_was_done() {
    let accesses = told(Format::CephOpsLog, &requests(Format::CephOpsLog, &ceph()));
    let found: Vec<String> = accesses.iter().map(summary).collect();
    let expected = [
        "my temps: create by test __schema 177",
        "my temps: query_write by test __commits wrt 4295",
        "my temps: query_write by test __commits wrt 4483",
        // Opened, without a query; asked whether it is an array, which says nothing; the schema loaded.
        "my temps: read_schema by test 1181",
        "my temps: read_schema by test 177",
        "my temps: query_read by test 9959",
        "my temps: query_read by test 5376",
        "my temps: array_metadata_update by test __meta 130",
        "my temps: array_metadata_get by test 1311",
        // The non-empty domain and what fragments there are look like opening it.
        "my temps: read_schema by test 1181",
        "my temps: read_schema by test 1181",
        "my temps: query_delete by test __commits del 110",
        "my temps: schema_evolution by test __schema 192",
        "my temps: consolidate by test __commits wrt fragments 8699",
        "my temps: vacuum by test __commits vac fragments",
        "my temps: consolidate by test __commits con commits 278",
        "my temps: vacuum by test __commits wrt commits",
        "my temps: array_metadata_update by test __meta 133",
        "my temps: consolidate by test __meta metadata 112",
        "my temps: vacuum by test __meta vac metadata",
        // A consolidation that has nothing to do.
        "my temps: read_schema by test 1501",
        "my temps: query_read by test 11151",
        // Twice, one right after the other.
        "my temps: query_read by test 11151",
        "my temps: query_write by test __commits wrt 5248",
        "my temps: array_metadata_update by test __meta 131",
        "my temps: delete_fragments by test __commits ign",
        "my temps: query_write by test __commits wrt 5248",
        "my temps: read_schema denied by bob",
        "my temps_enum: create by test __schema 205",
        "my temps_enum: read_enumerations by test 371",
        "my temps_enum: query_write by test __commits wrt 3153",
        "my temps_enum: query_read by test 3938",
        // Moved.
        "my temps_enum: delete by test __schema",
        "my temps_enum2: create by test __schema",
        "my temps_enum2: delete by test __schema",
        "my temps: delete by test __schema",
    ];
    assert_eq!(found.join("\n"), expected.join("\n"));
    let write = &accesses[1];
    assert_eq!(write.attributes["data_from"].as_str(), "2026-11-23T20:11:28.341Z");
    assert_eq!(write.peer.to_string(), "127.0.0.1");
    assert_eq!(write.raw, b"line");
    let client = write.client.as_ref().expect("the program names itself");
    assert_eq!(client.driver.as_deref(), Some("aws-sdk-cpp"));
    assert_eq!(client.driver_version.as_deref(), Some("1.11.740"));
    assert_eq!(client.os.as_deref(), Some("Linux 6.1.0"));
}

/// Goal: fields of an access log are read as Amazon describes them, in any order of lines. Method: lines with
/// what may stand in them, read also from the last to the first.
#[test]
fn lines_of_s3_are_read() {
    let mut requests = requests(Format::S3AccessLog, S3);
    let expected = [
        "lake: query_read by arn:aws:iam::111122223333:user/ann 277",
        "lake: query_write by arn:aws:sts::111122223333:assumed-role/Loader/job-7 __commits wrt \
         5242880",
        "lake: query_read denied by unauthenticated",
        "lake: vacuum by arn:aws:iam::111122223333:user/ann __commits vac commits",
    ];
    for _ in 0..2 {
        let accesses = told(Format::S3AccessLog, &requests);
        let found: Vec<String> = accesses.iter().map(summary).collect();
        assert_eq!(found, expected);
        assert_eq!(accesses[0].event_time.to_string(), "2026-11-23T09:00:00Z");
        assert_eq!(accesses[1].event_time.to_string(), "2026-11-23T09:30:02Z");
        assert_eq!(accesses[1].peer.to_string(), "2001:db8::7");
        assert_eq!(accesses[0].attributes["request"].as_str(), "R0000000000003");
        requests.reverse();
    }
    assert_eq!(requests[2].key.split('/').nth(1), Some("my temps"));
    let agent = requests[4].user_agent.as_deref();
    assert_eq!(agent, Some(r#"curious \"agent\" of "mine"/1.0"#));
}

/// Goal: who it was and how much is found in every form that CloudTrail has for it.
#[test]
fn events_of_cloudtrail_are_read() {
    let requests = requests(Format::Cloudtrail, CLOUDTRAIL);
    let found: Vec<String> = told(Format::Cloudtrail, &requests).iter().map(summary).collect();
    let expected = [
        "lake: query_read by arn:aws:iam::111122223333:user/ann 100",
        "lake: array_metadata_get by athena.amazonaws.com 130",
        "lake: query_write denied by unauthenticated",
        "lake: query_write by arn:aws:sts::111122223333:assumed-role/Loader/job-7 __commits wrt \
         5242880",
    ];
    assert_eq!(found, expected);
    assert_eq!(requests[2].address, None);
    assert_eq!(requests[0].user_agent.as_deref(), Some("aws-sdk-cpp/1.11.740 os/Linux#6.1.0"));
}

/// Goal: what cannot be read says why; what is about something else is passed over.
/// Goal: a request is counted once, however often the store delivers it; the bytes of one that came twice were
/// once summed. Method: each log with each of its requests twice, together and one after the other.
#[test]
fn what_is_delivered_twice_is_one_request() {
    let logs = [
        (Format::CephOpsLog, ceph()),
        (Format::S3AccessLog, S3.to_vec()),
        (Format::Cloudtrail, CLOUDTRAIL.to_vec()),
    ];
    for (format, log) in logs {
        let once = requests(format, &log);
        let expected = told(format, &once);
        assert!(!expected.is_empty());
        let twice: Vec<Request> = once.iter().flat_map(|it| [it.clone(), it.clone()]).collect();
        assert_eq!(told(format, &twice), expected, "{format:?}");
        assert_eq!(told(format, &[&once[..], &once].concat()), expected, "{format:?}");
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    let check = |format: Format, line: &str, expected: &str| {
        let mut found = 0;
        let read = Reader::new(format).line(line.as_bytes(), &mut |_| found += 1);
        let outcome = match read {
            Ok(()) => format!("{found} requests"),
            Err(why) => why.to_string(),
        };
        assert_eq!(outcome, expected, "{line}");
    };
    let ceph = |line: &str, expected: &str| check(Format::CephOpsLog, line, expected);
    ceph("", "0 requests");
    ceph("{", "is not a JSON object");
    ceph("2026-11-23 radosgw started", "is not a JSON object");
    ceph(r#"{"bucket":"b"}"#, "time is not one such as 2026-11-23T20:10:01.688186Z");
    let good = r#"{"bucket":"t/b","time":"2026-11-23T20:10:01.688186Z","operation":"get_obj","uri":"GET /b/a/__schema/x HTTP/1.1","http_status":"200"}"#;
    ceph(good, "1 requests");
    ceph(&format!("[{good},{good}{good}]"), "3 requests");
    ceph(&good.replace("get_obj", "get_bucket_location"), "0 requests");
    ceph(&good.replace(r#""200""#, r#""-""#), "http_status is not a number");
    ceph(&good.replace("get_obj", ""), "operation is missing");
    let deletes = good.replace("get_obj", "multi_object_delete").replace(
        r#","http_status":"200""#,
        r#","http_status":"200","op_data":{"num_ok":1,"objects":[{"key":"a/__schema/x","http_status":204},{"key":"a/__schema/y","error":true}]}"#,
    );
    ceph(&deletes, "2 requests");
    let s3 = |line: &str, expected: &str| check(Format::S3AccessLog, line, expected);
    let line = S3.split(|byte| *byte == b'\n').nth(2).expect("has lines");
    let line = std::str::from_utf8(line).expect("is text");
    s3(line, "1 requests");
    s3("owner bucket [06/Feb/2019", "has fewer than 17 fields");
    s3(
        &line.replace("23/Nov/2026", "31/Feb/2026"),
        "has no time such as [06/Feb/2019:00:00:38 +0000]",
    );
    s3(&line.replace("REST.GET.OBJECT", "ré"), "has no operation such as REST.GET.OBJECT");
    s3(&line.replace("REST.GET.OBJECT", "REST.GET.POLICY"), "0 requests");
    s3(&line.replace(" 206 ", " many "), "has no status such as 200");
    let trail = |line: &str, expected: &str| check(Format::Cloudtrail, line, expected);
    trail("{}", "is no event of CloudTrail: missing field `eventTime` at line 1 column 2");
}

/// Goal: a key is of the array that it lies in, however its parts are called.
#[test]
fn keys_name_arrays() {
    let check = |key: &str, array: Option<&str>| {
        assert_eq!(object::Place::of_object(key).map(|place| place.array), array, "{key}");
    };
    check("a/b/__schema/__1_1_0123456789abcdef0123456789abcdef", Some("a/b"));
    check("__meta/x", Some(""));
    check("a/__labels/l0/__schema/x", Some("a"));
    check("a/__1_2_0123456789abcdef0123456789abcdef/a.tdb", Some("a"));
    check("a/__array_schema.tdb", Some("a"));
    check("a/__tiledb_group.tdb", None);
    check("a/__schemas/x", None);
    check("", None);
    check("///", None);
}

/// A request of one of two users for one of a few objects of an array, at a time in tenths of a second.
fn request(tenths: i64, user: bool, what: usize) -> Request {
    const NARROW: &str = "__1_1_0123456789abcdef0123456789abcdef_22";
    const WIDE: &str = "__1_2_abcdef0123456789abcdef0123456789_22";
    let (operation, key) = match what {
        0 => (Operation::List { is_of_level: true }, "__commits/".to_owned()),
        1 | 2 => (Operation::Get, format!("__fragments/{NARROW}/a0.tdb")),
        3 => (Operation::Get, "__meta/__1_1_0123456789abcdef0123456789abcdef".to_owned()),
        4 => (Operation::Put, format!("__commits/{NARROW}.wrt")),
        5 => (Operation::Put, format!("__commits/{WIDE}.wrt")),
        6 => (Operation::Part, format!("__fragments/{NARROW}/a0.tdb")),
        _ => (Operation::Get, "__schema/__1_1_0123456789abcdef0123456789abcdef".to_owned()),
    };
    Request {
        at: Timestamp::from_millis(1_795_464_000_000 + tenths * 100),
        duration_micros: 0,
        bucket: "lake".into(),
        key: format!("prod/my temps/{key}"),
        operation,
        requester: Some(if user { "ann" } else { "bob" }.into()),
        address: None,
        user_agent: None,
        bytes_sent: 1,
        bytes_received: 1,
        status: 200,
        error: None,
        id: format!("{tenths}-{user}-{what}").into(),
    }
}

/// Who read cells when and how much, by the words of the design alone: GETs at most two seconds apart, without
/// those that are followed within twenty seconds by a consolidated commit and no opening before it.
fn naive_reads(requests: &[Request], user: &str) -> Vec<(Timestamp, u64)> {
    let is_of = |request: &&Request| request.requester.as_deref() == Some(user);
    let requests: Vec<&Request> = requests.iter().filter(is_of).collect();
    let is_get = |request: &&&Request| request.operation == Operation::Get;
    let is_merging = |get: &Request| {
        let merges = |put: &&&Request| {
            put.key.contains("__commits/__1_2")
                && get.at <= put.at
                && put.at <= get.at.plus_seconds(20)
                && !requests.iter().any(|list| {
                    // At one instant, an opening is before what is read and what is written.
                    matches!(list.operation, Operation::List { .. })
                        && get.at < list.at
                        && list.at <= put.at
                })
        };
        requests.iter().any(|put| merges(&put))
    };
    let mut gets: Vec<&&Request> =
        requests.iter().filter(is_get).filter(|get| !is_merging(get)).collect();
    gets.sort_by_key(|get| get.at);
    let groups = gets.chunk_by(|one, next| next.at <= one.at.plus_seconds(2));
    groups
        .filter(|group| group.iter().any(|get| get.key.contains("a0.tdb")))
        .map(|group| {
            let bytes = group.iter().filter(|get| !get.key.contains("__meta")).count();
            (group[0].at, bytes as u64)
        })
        .collect()
}

proptest! {
    /// Goal: what is told depends on the requests, not on the files they came in nor on their order there, as
    /// long as none comes later than the log is waited for. Method: the same requests at once, and in
    /// shuffled groups with a look after each; and a naive model of what a reading is.
    #[test]
    fn any_split_tells_the_same(
        made in prop::collection::vec((0..1200_i64, any::<bool>(), 0..8_usize), 0..120),
        order in prop::collection::vec(any::<u32>(), 120),
        group in 1..40_usize,
    ) {
        let made: std::collections::BTreeSet<_> = made.into_iter().collect();
        let requests: Vec<Request> =
            made.iter().map(|(at, user, what)| request(*at, *user, *what)).collect();
        let at_once = told(Format::CephOpsLog, &requests);
        let mut shuffled: Vec<(u32, &Request)> = order.into_iter().zip(&requests).collect();
        shuffled.sort_by_key(|(at, request)| (*at, request.id.clone()));
        let mut sessions = Sessions::new(Format::CephOpsLog);
        let mut in_groups = Vec::new();
        let mut rest: Vec<&Request> = shuffled.into_iter().map(|(_, request)| request).collect();
        while !rest.is_empty() {
            let next = rest.split_off(group.min(rest.len()));
            rest.iter().for_each(|request| sessions.add(request, b"line"));
            // Nothing that is still to come is earlier than what is looked at.
            if let Some(first) = next.iter().map(|request| request.at).min() {
                let until = first.plus_micros(Format::CephOpsLog.hold_seconds() * 1_000_000 - 1);
                sessions.close(until, &places(), &mut in_groups);
            }
            rest = next;
        }
        sessions.close(Timestamp::MAX, &places(), &mut in_groups);
        prop_assert_eq!(sessions.counts().late, 0);
        let sorted = |mut accesses: Vec<Access>| {
            accesses.sort_by_key(|access| (access.event_time, access.attributes["request"].clone(), access.action));
            accesses
        };
        let at_once = sorted(at_once);
        prop_assert_eq!(&at_once, &sorted(in_groups));
        for user in ["ann", "bob"] {
            let reads = at_once.iter().filter(|access| {
                access.action == Action::QueryRead && access.principal.to_string() == user
            });
            let reads: Vec<(Timestamp, u64)> = reads
                .map(|access| (access.event_time, access.attributes["bytes_sent"].parse().expect("a number")))
                .collect();
            prop_assert_eq!(reads, naive_reads(&requests, user));
        }
        let commits = requests.iter().filter(|request| request.operation == Operation::Put);
        let told = at_once.iter().filter(|access| access.attributes.get("object").is_some());
        prop_assert_eq!(told.count(), commits.count());
    }

    /// Goal: any bytes are read or refused. Method: any, and lines that were good with a change in them.
    #[test]
    fn hostile_lines_end_well(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        line in 0..30_usize,
        at in any::<prop::sample::Index>(),
        change in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let ceph = ceph();
        for (format, log) in [
            (Format::CephOpsLog, &*ceph),
            (Format::S3AccessLog, S3),
            (Format::Cloudtrail, CLOUDTRAIL),
        ] {
            let mut sessions = Sessions::new(format);
            let mut reader = Reader::new(format);
            let mut lines = log.split(|byte| *byte == b'\n').cycle().skip(line);
            let mut good = lines.next().expect("there are lines").to_vec();
            let at = at.index(good.len() + 1);
            good.splice(at..at, change.clone());
            for line in [&*bytes, &*good] {
                let _ = reader.line(line, &mut |request| sessions.add(&request, line));
            }
            sessions.close(Timestamp::MAX, &places(), &mut Vec::new());
        }
    }

    /// Goal: the records of a file are found wherever its bytes are cut. Method: the file as serde reads it.
    #[test]
    fn records_are_found_in_any_pieces(piece in 1..200_usize) {
        let mut found = Vec::new();
        let mut records = Records::default();
        for bytes in CLOUDTRAIL.chunks(piece) {
            records.feed(bytes, &mut |record| {
                let bytes = &CLOUDTRAIL[record.offset_bytes as usize..][..record.bytes.len()];
                assert_eq!(bytes, record.bytes);
                found.push(serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON"));
            });
        }
        prop_assert!(records.is_over());
        let file: serde_json::Value = serde_json::from_slice(CLOUDTRAIL).expect("JSON");
        prop_assert_eq!(Some(&found), file["Records"].as_array());
    }
}

/// Goal: memory is bounded by what waits. Method: as many requests at different times as are too many, within
/// the time that they would wait; all of them are told of all the same.
#[test]
fn what_waits_is_bounded() {
    let mut sessions = Sessions::new(Format::S3AccessLog);
    let mut out = Vec::new();
    let line = [b'x'; 1000];
    for number in 0..30_000 {
        let key = format!("prod/my temps/__commits/__{number}_{number}_{:032x}_22.wrt", number);
        sessions.add(&Request { key, ..request(number, true, 4) }, &line);
        if sessions.is_full() {
            sessions.relieve(&places(), &mut out);
            assert!(!sessions.is_full());
        }
    }
    assert!(sessions.counts().hurried > 0);
    sessions.close(Timestamp::MAX, &places(), &mut out);
    assert_eq!(out.len(), 30_000);
}

/// Goal: files are read once, in whatever order they come and wherever it is stopped, and what waits then is
/// told once. Method: an access log in pieces of one line each under names of an hour, some of which come late,
/// packed or not; a poll after each, a new folder from the position after some of them.
#[test]
fn files_of_a_folder_are_read_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let settings = Settings {
        source: "lake".into(),
        path: dir.path().to_str().expect("is UTF-8").into(),
        format: Format::S3AccessLog,
        target: doorbook_event::Target::Array { namespace: "alice".into(), array: "s3://".into() },
        places: std::sync::Arc::new(places()),
    };
    let folder = |position: &[u8]| {
        let files = Box::new(OnDisk::new(dir.path()));
        Folder::open(settings.clone(), files, 60, Some(position)).expect("opens")
    };
    let lines: Vec<&[u8]> =
        S3.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let mut now: Timestamp = "2026-11-23T10:00:00Z".parse().expect("a time");
    let mut batch = crate::Batch::default();
    let mut at = folder(&[]);
    for (step, number) in [0, 3, 2, 5, 4, 1, 7, 8, 6].into_iter().enumerate() {
        let parent = dir.path().join(format!("2026/11/{:02}", number / 3));
        std::fs::create_dir_all(&parent).expect("made");
        let bytes = match number % 2 {
            0 => lines[number].to_vec(),
            _ => packed(lines[number]),
        };
        let path = parent.join(format!("2026-11-23-09-{number:02}-00-ABCDEF"));
        std::fs::write(&path, bytes).expect("written");
        let hidden = parent.join(format!(".copied-{number}"));
        std::fs::write(hidden, "half").expect("written");
        now = now.plus_seconds(100);
        at.poll(now, &mut batch);
        assert_eq!(batch.lines, step as u64 + 1);
        if step % 2 == 1 {
            at = folder(&at.position());
        }
    }
    assert_eq!(batch.accesses, []);
    now = now.plus_seconds(24 * 3600);
    at.poll(now, &mut batch);
    let mut at = folder(&at.position());
    at.poll(now.plus_seconds(100), &mut batch);
    assert_eq!(batch.quarantine, []);
    assert_eq!(batch.lines, 9);
    assert_eq!(batch.accesses.len(), 4);
}

/// Goal: what is appended to a file after it was read is not lost: a copy that stalled for longer than a file
/// is left alone lost its rest, once. Method: a file that grows, in the same process and over a restart.
#[test]
fn a_file_that_grew_is_read_again() {
    for is_restarted in [false, true] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let settings = Settings {
            source: "lake".into(),
            path: dir.path().to_str().expect("is UTF-8").into(),
            format: Format::S3AccessLog,
            target: doorbook_event::Target::Array {
                namespace: "alice".into(),
                array: "s3://".into(),
            },
            places: std::sync::Arc::new(places()),
        };
        let open = |position: &[u8]| {
            let files = Box::new(OnDisk::new(dir.path()));
            Folder::open(settings.clone(), files, 60, Some(position)).expect("opens")
        };
        let half = S3.len() - S3.iter().rev().skip(1).position(|b| *b == b'\n').expect("lines") - 1;
        std::fs::write(dir.path().join("log"), &S3[..half]).expect("written");
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().expect("a time");
        let mut folder = open(&[]);
        let mut batch = crate::Batch::default();
        folder.poll(now, &mut batch);
        let first = batch.lines;
        std::fs::write(dir.path().join("log"), S3).expect("written");
        if is_restarted {
            folder = open(&folder.position());
        }
        folder.poll(now.plus_seconds(100), &mut batch);
        assert_eq!(batch.lines, 2 * first + 1);
        folder.poll(now.plus_seconds(200), &mut batch);
        assert_eq!(batch.lines, 2 * first + 1, "once");
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("packs");
    encoder.finish().expect("packs")
}

/// Goal: names are listed as they are sorted, whatever folders are called; so nothing behind a name is missed.
#[test]
fn files_are_listed_by_name() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let names = ["a-b/x", "a/x", "a/y/z", "a0", "b"];
    for name in names {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("has one")).expect("made");
        std::fs::write(path, "").expect("written");
    }
    let now = Timestamp::from_seconds(0);
    for (at, after) in ["", "a-b/x", "a/x", "a/y/z", "a0", "b"].into_iter().enumerate() {
        let found = OnDisk::new(dir.path()).list(after, now).expect("lists");
        let found: Vec<String> = found.into_iter().map(|file| file.name).collect();
        assert_eq!(found, names[at..], "behind {after:?}");
    }
}

/// Goal: what was whole of a file is read, what was not is told, and the next file is read. Method: a packed
/// CloudTrail file that breaks off, one that is none, and a good one.
#[test]
fn a_broken_file_is_told_and_left() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let packed = packed(CLOUDTRAIL);
    std::fs::write(dir.path().join("1.json.gz"), &packed[..packed.len() / 2]).expect("written");
    std::fs::write(dir.path().join("2.json.gz"), "BZh91AY&SY").expect("written");
    std::fs::write(dir.path().join("3.json"), CLOUDTRAIL).expect("written");
    let settings = Settings {
        source: "trail".into(),
        path: dir.path().to_str().expect("is UTF-8").into(),
        format: Format::Cloudtrail,
        target: doorbook_event::Target::Array { namespace: "alice".into(), array: "s3://".into() },
        places: std::sync::Arc::new(places()),
    };
    let files = Box::new(OnDisk::new(dir.path()));
    let mut folder = Folder::open(settings, files, 60, None).expect("opens");
    let mut batch = crate::Batch::default();
    let polled = folder.poll("2027-01-01T00:00:00Z".parse().expect("a time"), &mut batch);
    assert!(polled.at_end && batch.lines > 7, "{polled:?}");
    assert_eq!(batch.accesses.len(), 4);
    let reasons: Vec<&str> = batch.quarantine.iter().map(|one| &*one.reason).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons.iter().all(|reason| reason.starts_with("the file cannot be read: ")));
    assert!(batch.quarantine[1].place.file.ends_with("/2.json.gz"));
    // Equal bytes would be one line put aside, of the first file.
    assert_ne!(batch.quarantine[0].sha256, batch.quarantine[1].sha256);
}

/// Goal: a file that cannot be had keeps others back for a while only, and is put aside then; where none can be
/// had, none is given up. Once one such file blocked its source for ever. Method: files in memory, some of which
/// cannot be had for a while or for ever, polled as often as a source does.
#[test]
fn one_file_that_cannot_be_had_blocks_no_other() {
    let bucket = Bucket::default();
    let set = |name: &str, can_be_had| {
        bucket.locked().files.insert(name.to_owned(), can_be_had);
    };
    let mut folder = bucket.folder();
    let mut now: Timestamp = "2026-11-23T10:00:00Z".parse().expect("a time");
    let mut batch = crate::Batch::default();
    let mut polls = |folder: &mut Folder, batch: &mut crate::Batch, n: usize| {
        for _ in 0..n {
            folder.poll(now, batch);
            now = now.plus_seconds(5);
        }
    };
    let one = S3.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64;
    set("1", false);
    polls(&mut folder, &mut batch, 50);
    assert!(batch.quarantine.is_empty(), "there is no other one to tell by");
    set("2", false);
    polls(&mut folder, &mut batch, 50);
    assert!(batch.quarantine.is_empty(), "no file can be had at all");
    set("1", true);
    polls(&mut folder, &mut batch, 2);
    assert_eq!(batch.lines, one, "it is read once it can be");
    polls(&mut folder, &mut batch, 8);
    assert_eq!(batch.quarantine.len(), 1);
    assert!(batch.quarantine[0].reason.contains("403 Forbidden"), "{:?}", batch.quarantine[0]);
    assert!(batch.quarantine[0].place.file.ends_with("/2"));
    ["3", "4"].iter().for_each(|name| set(name, false));
    set("5", true);
    polls(&mut folder, &mut batch, 30);
    assert_eq!((batch.lines, batch.quarantine.len()), (2 * one, 3), "the next ones less often");
    // Nothing of it comes again.
    polls(&mut folder, &mut batch, 30);
    assert_eq!((batch.lines, batch.quarantine.len()), (2 * one, 3));
}

/// Goal: whoever says that there is more has it read at once, and else the interval stands. Method: a file that
/// comes between two looks, with a word of it and without.
#[test]
fn a_word_brings_the_next_look() {
    let bucket = Bucket::default();
    let mut folder = bucket.folder();
    let start: Timestamp = "2026-11-23T10:00:00Z".parse().expect("a time");
    let mut lines_at = |seconds: i64| {
        let mut batch = crate::Batch::default();
        let polled = folder.poll(start.plus_seconds(seconds), &mut batch);
        assert!(polled.trouble.is_none() && polled.at_end, "{polled:?}");
        batch.lines > 0
    };
    assert!(!lines_at(0));
    bucket.locked().files.insert("1".to_owned(), true);
    assert!(!lines_at(1), "nobody said so");
    bucket.locked().has_more = true;
    assert!(lines_at(2));
    bucket.locked().files.insert("2".to_owned(), true);
    assert!(!lines_at(61), "a look was a minute ago, but one second");
    assert!(lines_at(62));
}

/// Files in memory by their names, and whether each can be had; and whether someone said that there are more.
#[derive(Default)]
struct InMemory {
    files: BTreeMap<String, bool>,
    has_more: bool,
}

#[derive(Clone, Default)]
struct Bucket(Arc<Mutex<InMemory>>);

impl Bucket {
    fn locked(&self) -> MutexGuard<'_, InMemory> {
        self.0.lock().expect("no panic before")
    }

    /// Looked at every minute.
    fn folder(&self) -> Folder {
        let settings = Settings {
            source: "lake".into(),
            path: "s3://logs".into(),
            format: Format::S3AccessLog,
            target: Target::Array { namespace: "alice".into(), array: "s3://".into() },
            places: Arc::new(places()),
        };
        Folder::open(settings, Box::new(self.clone()), 60, None).expect("opens")
    }
}

impl Files for Bucket {
    fn list(&mut self, after: &str, _: Timestamp) -> io::Result<Vec<Listed>> {
        let stored = self.locked();
        let behind = stored.files.keys().filter(|name| &***name > after);
        Ok(behind.map(|name| Listed { name: name.clone(), size_bytes: 1 }).collect())
    }

    fn has_more(&mut self) -> bool {
        std::mem::take(&mut self.locked().has_more)
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        match self.locked().files.get(name) {
            Some(true) => Ok(Box::new(Cursor::new(S3))),
            Some(false) => Err(io::Error::new(io::ErrorKind::NotConnected, "403 Forbidden")),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

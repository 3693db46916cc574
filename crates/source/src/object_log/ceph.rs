//! The ops log of a Ceph object gateway (`rgw ops log file path`, or its socket).
//!
//! JSON objects, one after the other. Mostly each has its own line, but a gateway's threads write them
//! without waiting for each other, and now and then a line has two or three (seen with 16.2: fifteen of 644
//! lines). From the socket they come as one endless array.
//!
//! | member | is |
//! |---|---|
//! | `time` | when the request began, UTC, of a clock that ticks every 4 ms |
//! | `total_time` | how long it took, in milliseconds |
//! | `bucket` | `bucket`, or `tenant/bucket` |
//! | `operation` | `get_obj` (a HEAD as well), `put_obj` (a part as well), `complete_multipart`, … |
//! | `uri` | the request line, with its query twice |
//! | `http_status` | a text |
//! | `user`, `remote_addr`, `user_agent`, `trans_id` | |
//! | `op_data.objects` | of `multi_object_delete`, the objects |

use std::borrow::Cow;

use doorbook_event::{Text, Timestamp};
use jiff::tz::TimeZone;

use super::request::{Operation, Request, Target, address};
use super::{Reader, Unreadable, unreadable};
use crate::json::{Cursor, Value, at_path, members};
use crate::mongod::time::Times;

pub fn read(
    reader: &mut Reader,
    line: &[u8],
    sink: &mut dyn FnMut(Request),
) -> Result<(), Unreadable> {
    let mut cursor = Cursor::new(line, 0);
    loop {
        // Of the array that the socket gives.
        while cursor.eat(b',').or_else(|| cursor.eat(b'[')).or_else(|| cursor.eat(b']')).is_some() {
        }
        if cursor.is_done() {
            return Ok(());
        }
        let object = cursor.value().and_then(Value::object);
        let object = object.ok_or_else(|| unreadable("is not a JSON object"))?;
        read_one(reader, object, sink)?;
    }
}

/// The time of a line's first entry.
pub fn time(line: &[u8]) -> Option<Timestamp> {
    let begin = memchr::memchr(b'{', line)?;
    let time = at_path(&line[begin..], &[b"time"])?.text()?;
    Times::new(TimeZone::UTC).iso(time.raw)
}

#[derive(Default)]
struct Entry<'a> {
    bucket: &'a [u8],
    time: &'a [u8],
    address: &'a [u8],
    user: Cow<'a, [u8]>,
    operation: &'a [u8],
    uri: Cow<'a, [u8]>,
    status: &'a [u8],
    error: &'a [u8],
    bytes_sent: Option<i64>,
    bytes_received: Option<i64>,
    total_time_millis: Option<i64>,
    user_agent: Cow<'a, [u8]>,
    id: &'a [u8],
    data: Option<&'a [u8]>,
}

fn read_one(
    reader: &mut Reader,
    object: &[u8],
    sink: &mut dyn FnMut(Request),
) -> Result<(), Unreadable> {
    let entry = entry(object)?;
    let at = reader.times.iso(entry.time);
    let at = at.ok_or_else(|| unreadable("time is not one such as 2026-11-23T20:10:01.688186Z"))?;
    if entry.operation.is_empty() {
        return Err(unreadable("operation is missing"));
    }
    if entry.bucket.is_empty() || entry.bucket == b"-" {
        return Ok(());
    }
    let status = std::str::from_utf8(entry.status).ok().and_then(|status| status.parse().ok());
    let status: u16 = status.ok_or_else(|| unreadable("http_status is not a number"))?;
    // In the words of a tenant, its buckets are without its name.
    let bucket = entry.bucket.rsplit(|byte| *byte == b'/').next().unwrap_or(entry.bucket);
    let bucket = reader.texts.text(bucket);
    let mut words = entry.uri.split(|byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let target = Target::new(words.next().unwrap_or_default());
    let mut request = Request {
        at,
        duration_micros: entry.total_time_millis.unwrap_or(0).clamp(0, DAY_MILLIS) * 1000,
        bucket,
        key: String::new(),
        operation: Operation::Get,
        requester: reader.text(&entry.user),
        address: address(entry.address),
        user_agent: reader.text(&entry.user_agent),
        bytes_sent: bytes(entry.bytes_sent),
        bytes_received: bytes(entry.bytes_received),
        status,
        error: reader.text(entry.error),
        id: Text::from_bytes_lossy(entry.id),
    };
    if entry.operation == b"multi_object_delete" {
        return read_deletes(&request, entry.data, sink);
    }
    let (key, operation) = match entry.operation {
        b"list_bucket" => target.list(),
        word => {
            let Some(operation) = operation(word, method, &target) else { return Ok(()) };
            (target.key(&request.bucket), operation)
        }
    };
    (request.key, request.operation) = (key, operation);
    sink(request);
    Ok(())
}

/// No request takes longer; a number that says so is wrong.
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

fn bytes(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

fn operation(word: &[u8], method: &[u8], target: &Target<'_>) -> Option<Operation> {
    Some(match word {
        b"get_obj" if method == b"HEAD" => Operation::Head,
        b"get_obj" => Operation::Get,
        b"put_obj" if target.parameter("uploadId").is_some() => Operation::Part,
        b"put_obj" => Operation::Put,
        b"init_multipart" => Operation::Begin,
        b"complete_multipart" => Operation::Complete,
        b"copy_obj" => Operation::Copy,
        b"delete_obj" => Operation::Delete,
        _ => return None,
    })
}

/// One request that removes many objects is as many requests.
fn read_deletes(
    request: &Request,
    data: Option<&[u8]>,
    sink: &mut dyn FnMut(Request),
) -> Result<(), Unreadable> {
    let Some(data) = data else { return Ok(()) };
    let objects = serde_json::from_slice::<Deletes>(data);
    let objects = objects.map_err(|_| unreadable("op_data is not what it should be"))?.objects;
    for object in objects {
        let status = object.http_status.unwrap_or(204);
        let status = if object.error.unwrap_or(false) { status.max(400) } else { status };
        let operation = Operation::Delete;
        sink(Request { key: object.key, status, operation, ..request.clone() });
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct Deletes {
    #[serde(default)]
    objects: Vec<Deleted>,
}

#[derive(serde::Deserialize)]
struct Deleted {
    key: String,
    error: Option<bool>,
    http_status: Option<u16>,
}

fn entry(object: &[u8]) -> Result<Entry<'_>, Unreadable> {
    let mut entry = Entry::default();
    let read = members(object, |name, value| {
        let raw = || value.text().map_or(&[][..], |text| text.raw);
        let text = || value.text().map(|text| text.bytes()).unwrap_or_default();
        match name {
            b"bucket" => entry.bucket = raw(),
            b"time" => entry.time = raw(),
            b"remote_addr" => entry.address = raw(),
            b"user" => entry.user = text(),
            b"operation" => entry.operation = raw(),
            b"uri" => entry.uri = text(),
            b"http_status" => {
                entry.status = match value {
                    Value::Plain(number) => number,
                    _ => raw(),
                };
            }
            b"error_code" => entry.error = raw(),
            b"bytes_sent" => entry.bytes_sent = value.integer(),
            b"bytes_received" => entry.bytes_received = value.integer(),
            b"total_time" => entry.total_time_millis = value.integer(),
            b"user_agent" => entry.user_agent = text(),
            b"trans_id" => entry.id = raw(),
            b"op_data" => entry.data = value.object(),
            _ => {}
        }
    });
    read.ok_or_else(|| unreadable("is not JSON"))?;
    Ok(entry)
}

//! Bodies of requests: bounded in size before and after decompression, in time, and all of them
//! together.

use std::io::Read;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::lane;
use super::problem::Problem;
use crate::app::App;

/// What a semaphore can count.
pub const ROOM_KIB_MAX: usize = Semaphore::MAX_PERMITS;

/// What a request is counted as at least that has a thread of its own, so that no more than 128 of
/// them are worked on at once in the room of 64 MiB: each of them waits for the disk.
const LEAST_KIB: usize = 512;

/// What a request is counted as that shares its thread.
const SMALL_KIB: usize = HELD_PER_BYTE * lane::BODY_SIZE_BYTES_MAX / 1024;

/// What is in memory for each byte of a body until it is stored: itself, an event of some 500 bytes
/// for a line of 250, and the form that is written.
const HELD_PER_BYTE: usize = 4;

/// zstd's greatest window at its usual levels. A frame may ask for gigabytes.
const WINDOW_LOG_MAX: u32 = 23;

/// How the body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// `gzip`
    Gzip,
    /// `zstd`
    Zstd,
}

impl Coding {
    /// What `Content-Encoding` says.
    pub fn of(headers: &HeaderMap) -> Result<Coding, Problem> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let coding = match values.next().map(|value| value.as_bytes().trim_ascii()) {
            None => Some(Coding::Identity),
            Some(name) if name.eq_ignore_ascii_case(b"identity") => Some(Coding::Identity),
            Some(name) if name.eq_ignore_ascii_case(b"gzip") => Some(Coding::Gzip),
            Some(name) if name.eq_ignore_ascii_case(b"zstd") => Some(Coding::Zstd),
            Some(_) => None,
        };
        coding.filter(|_| values.next().is_none()).ok_or_else(|| {
            Problem::unsupported_media_type("Content-Encoding must be gzip, zstd or identity.")
        })
    }
}

/// A body that has been read, and its place among those that are worked on.
pub struct Taken {
    bytes: Bytes,
    coding: Coding,
    room: Room,
}

/// Reads a body as it was sent.
pub async fn take(app: &App, headers: &HeaderMap, body: Body) -> Result<Taken, Problem> {
    let coding = Coding::of(headers)?;
    let max_bytes = app.settings().ingest_body_bytes_max;
    let length = match headers.get(header::CONTENT_LENGTH) {
        // hyper has checked the number.
        Some(length) => length.to_str().ok().and_then(|text| text.parse::<usize>().ok()),
        None => None,
    };
    if length.is_some_and(|length| length > max_bytes) {
        return Err(too_large(max_bytes));
    }
    let mut room = Room::take(app, counted_bytes(length.unwrap_or(0), coding)).await?;
    let read = async {
        match length {
            Some(length) => to_bytes(body, length).await.map_err(|_| broken()),
            None => {
                read_as_it_comes(body, max_bytes, |held| room.grow(counted_bytes(held, coding)))
                    .await
            }
        }
    };
    let read = tokio::time::timeout(app.settings().write_timeout, read).await;
    let bytes = read.map_err(|_| Problem::timeout())??;
    Ok(Taken { bytes, coding, room })
}

/// A body that does not say how long it is takes room as it comes: counted as the longest there may
/// be, two that come slowly would keep everybody else out.
async fn read_as_it_comes(
    mut body: Body,
    max_bytes: usize,
    mut grow: impl FnMut(usize) -> Result<(), Problem>,
) -> Result<Bytes, Problem> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| broken())?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > max_bytes - bytes.len() {
            return Err(too_large(max_bytes));
        }
        bytes.extend_from_slice(&data);
        grow(bytes.len())?;
    }
    Ok(bytes.into())
}

impl Taken {
    /// The body, unless it is compressed.
    pub fn plain(&self) -> Option<&Bytes> {
        (self.coding == Coding::Identity).then_some(&self.bytes)
    }

    /// The body as it was meant. Blocks.
    pub fn decompress(&mut self, max_bytes: usize) -> Result<Bytes, Problem> {
        let bytes = self.bytes.clone();
        match self.coding {
            Coding::Identity if bytes.len() > max_bytes => Err(too_large(max_bytes)),
            Coding::Identity => Ok(bytes),
            Coding::Gzip => self.inflate(flate2::read::MultiGzDecoder::new(&bytes[..]), max_bytes),
            Coding::Zstd => {
                let broken = |_| Problem::invalid_body("The body is not zstd.");
                let mut decoder = zstd::Decoder::with_buffer(&bytes[..]).map_err(broken)?;
                decoder.window_log_max(WINDOW_LOG_MAX).map_err(broken)?;
                self.inflate(decoder, max_bytes)
            }
        }
    }

    fn inflate(&mut self, mut from: impl Read, max_bytes: usize) -> Result<Bytes, Problem> {
        const STEP_BYTES: usize = 64 * 1024;
        let mut out = Vec::new();
        loop {
            let step = from.by_ref().take(STEP_BYTES as u64).read_to_end(&mut out);
            let n_read = step.map_err(|_| {
                Problem::invalid_body("The body is not compressed as Content-Encoding says.")
            })?;
            if out.len() > max_bytes {
                return Err(too_large(max_bytes));
            }
            if n_read == 0 {
                return Ok(out.into());
            }
            // What is compressed and what comes of it are in memory together.
            self.room.grow(self.bytes.len() + held_bytes(out.len()))?;
        }
    }
}

/// A share of the memory for bodies; given back when it is dropped.
struct Room {
    semaphore: Arc<Semaphore>,
    permit: OwnedSemaphorePermit,
    all_kib: usize,
}

impl Room {
    /// Waits for it, as long as the operator lets it.
    async fn take(app: &App, size_bytes: usize) -> Result<Room, Problem> {
        let semaphore = Arc::clone(&app.doors().room);
        let all_kib = (app.settings().ingest_in_flight_bytes_max / 1024).clamp(1, ROOM_KIB_MAX);
        let wanted = permits(size_bytes, all_kib);
        let acquired = Arc::clone(&semaphore).acquire_many_owned(wanted);
        match tokio::time::timeout(app.settings().ingest_wait, acquired).await {
            Ok(Ok(permit)) => Ok(Room { semaphore, permit, all_kib }),
            _ => Err(Problem::busy(1)),
        }
    }

    /// Takes more, without waiting: whoever holds some and waits for more would wait for others who
    /// do the same.
    fn grow(&mut self, size_bytes: usize) -> Result<(), Problem> {
        let wanted = permits(size_bytes, self.all_kib);
        let held = u32::try_from(self.permit.num_permits()).unwrap_or(u32::MAX);
        let more = wanted.saturating_sub(held);
        match Arc::clone(&self.semaphore).try_acquire_many_owned(more) {
            Ok(permit) => {
                self.permit.merge(permit);
                Ok(())
            }
            Err(_) => Err(Problem::busy(1)),
        }
    }
}

/// No single request is counted as more than there is: it would never get in.
fn permits(size_bytes: usize, all_kib: usize) -> u32 {
    let kib = size_bytes.div_ceil(1024);
    let least_kib = if kib <= SMALL_KIB { SMALL_KIB } else { LEAST_KIB };
    let kib = kib.max(least_kib).min(all_kib);
    u32::try_from(kib).unwrap_or(u32::MAX)
}

/// What a body is counted as before it is decompressed, for which it has a thread of its own.
fn counted_bytes(body_bytes: usize, coding: Coding) -> usize {
    match coding {
        Coding::Identity => held_bytes(body_bytes),
        Coding::Gzip | Coding::Zstd => held_bytes(body_bytes).max(LEAST_KIB * 1024),
    }
}

fn held_bytes(body_bytes: usize) -> usize {
    body_bytes.saturating_mul(HELD_PER_BYTE)
}

fn broken() -> Problem {
    Problem::invalid_body("The body ended before its end.")
}

fn too_large(max_bytes: usize) -> Problem {
    let detail = format!("A body has at most {max_bytes} bytes, after decompression, too.");
    Problem::too_large(detail)
}

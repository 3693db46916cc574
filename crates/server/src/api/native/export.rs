//! `GET export`: all rows that match, as an archive that is sent while it is written. What is wrong
//! after its beginning breaks the connection off, and the archive with it.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, Response, header};
use doorbook_event::Text;
use hyper::body::Frame;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::dispatch::{Call, set_headers};
use super::filter::{self, Asked};
use super::problem::Problem;
use crate::app::App;
use crate::auth::Caller;
use crate::export::{Export, Format};
use crate::filter::zone_name;
use crate::usage::Usage;

/// Exports at a time; each has a thread, a page of rows, and of Parquet a row group in memory.
pub const EXPORTS_MAX: usize = 2;

/// How long a client may take for what is in its buffers, and ours.
const STALL: Duration = Duration::from_secs(60);

const CHUNK_BYTES: usize = 64 << 10;

/// Chunks that wait for the connection.
const CHUNKS: usize = 4;

/// What was asked for.
pub fn prepare(call: &mut Call<'_>, caller: &Caller) -> Result<Export, Problem> {
    let expected = "csv, ndjson or parquet";
    let format = call.query.read("format", expected, Format::from_word)?;
    let format = format.ok_or_else(|| Problem::invalid_parameter("format", expected))?;
    let asked = filter::take(call)?;
    call.query.finish()?;
    Ok(of(call, asked, format, caller))
}

/// An export of what was asked for.
pub fn of(call: &Call<'_>, asked: Asked, format: Format, caller: &Caller) -> Export {
    let Asked { filter, terms, zone } = asked;
    let store = call.store.clone();
    Export {
        catalog: store.catalog(),
        ids: call.ids.clone(),
        store,
        filter,
        asked: terms.to_string(),
        zone: zone_name(&zone),
        format,
        by: format!("{} from {}", caller.principal, caller.peer),
        at: call.now,
    }
}

/// Leave to export, when there is room for one more; `None` if that takes too long.
pub async fn permit(app: &App) -> Option<OwnedSemaphorePermit> {
    let permit = app.doors().exports.clone().acquire_owned();
    tokio::time::timeout(app.settings().answer_wait, permit).await.ok()?.ok()
}

/// How an export ended.
pub struct Ended {
    /// Rows that were sent, if all were.
    pub rows: u64,
    /// Their SHA-256, if all were.
    pub sha256: Option<Text>,
    /// What is recorded of one that was broken off.
    pub refusal: Option<Text>,
}

/// Sends an export while it is written, with leave; it ends by itself: by its last row, or because the client went
/// away or takes nothing. What was recorded of it before is on the disk before a row is sent.
pub fn send(
    export: Export,
    permit: OwnedSemaphorePermit,
    usage: Usage,
    ended: impl FnOnce(Ended) + Send + 'static,
) -> Response<Body> {
    let (response, mut chunks) = answer(export.format);
    drop(tokio::task::spawn_blocking(move || {
        usage.flush();
        ended(match export.write(&mut chunks) {
            Ok(exported) => {
                let sha256 = Some(exported.sha256.as_str().into());
                Ended { rows: exported.rows, sha256, refusal: None }
            }
            Err(why) => {
                tracing::info!(error = %why, "an export was broken off");
                chunks.break_off(&why);
                Ended { rows: 0, sha256: None, refusal: Some("broken-off".into()) }
            }
        });
        drop(permit);
    }));
    response
}

/// What is said before the rows.
pub fn head(format: Format) -> Response<Body> {
    answer(format).0
}

/// The answer of an export, and where it is to be written to.
fn answer(format: Format) -> (Response<Body>, Chunks) {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let mut response = Response::new(Body::new(Sent::new(receiver)));
    let headers = response.headers_mut();
    set_headers(headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    let name = format!("attachment; filename=\"doorbook-{}.zip\"", format.word());
    let name = HeaderValue::from_str(&name).expect("plain ASCII");
    headers.insert(header::CONTENT_DISPOSITION, name);
    let chunks = Chunks { sender, runtime: Handle::current(), buffer: Vec::new() };
    (response, chunks)
}

/// Takes what is written to the connection, from a thread that may wait.
struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
    buffer: Vec<u8>,
}

impl Chunks {
    /// Breaks the answer off.
    fn break_off(&mut self, why: &io::Error) {
        let _gone_anyway = self.send(Err(io::Error::other(why.to_string())));
    }

    fn send(&self, chunk: io::Result<Bytes>) -> io::Result<()> {
        let sent = async { tokio::time::timeout(STALL, self.sender.send(chunk)).await };
        match self.runtime.block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client went away")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")),
        }
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.buffer) {
            empty if empty.is_empty() => Ok(()),
            bytes => self.send(Ok(bytes.into())),
        }
    }
}

/// A body that is written while it is sent.
pub struct Sent(mpsc::Receiver<io::Result<Bytes>>);

impl Sent {
    /// Of what comes through a channel, until that ends.
    pub fn new(chunks: mpsc::Receiver<io::Result<Bytes>>) -> Sent {
        Sent(chunks)
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

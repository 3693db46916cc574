//! `GET export`: all rows that match, as an archive that is sent while it is written. What is wrong
//! after its beginning breaks the connection off, and the archive with it.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, Response, header};
use hyper::body::Frame;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::dispatch::Call;
use super::filter::{self, Asked};
use super::problem::Problem;
use crate::auth::Caller;
use crate::export::{Export, Format};
use crate::filter::zone_name;

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
    let Asked { filter, terms, zone } = filter::take(call)?;
    call.query.finish()?;
    let by = format!("{} from {}", caller.principal, caller.peer);
    let store = call.store.clone();
    Ok(Export {
        catalog: store.catalog(),
        ids: call.ids.clone(),
        store,
        filter,
        asked: terms.to_string(),
        zone: zone_name(&zone),
        format,
        by,
        at: call.now,
    })
}

/// The answer of an export, and where it is to be written to.
pub fn answer(format: Format) -> (Response<Body>, Chunks) {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let mut response = Response::new(Body::new(Sent::new(receiver)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    let name = format!("attachment; filename=\"doorbook-{}.zip\"", format.word());
    let name = HeaderValue::from_str(&name).expect("plain ASCII");
    headers.insert(header::CONTENT_DISPOSITION, name);
    let chunks = Chunks { sender, runtime: Handle::current(), buffer: Vec::new() };
    (response, chunks)
}

/// Takes what is written to the connection, from a thread that may wait.
pub struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
    buffer: Vec<u8>,
}

impl Chunks {
    /// Breaks the answer off.
    pub fn break_off(&mut self, why: &io::Error) {
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

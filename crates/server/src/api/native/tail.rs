//! `GET events/tail`: events as they are recorded, in the order in which they are, as server-sent events.
//!
//! ```text
//! retry: 1000           once, at the beginning
//! id: STATE             where a client resumes that has had everything before
//!
//! id: STATE
//! data: {…}             a row, as `GET events` has it
//!
//! : still here          each [`HEARTBEAT`] without a row, with the id of where the tail is
//! id: STATE
//! ```
//! A tail has no queue: it reads the history from where it is, a bounded piece at a time, and not before
//! its client has taken the piece before. Where it is, is a state of the history (`as_of`): what is sent
//! next is what was not there yet in that state. So a client that comes again with the last id it got has
//! each event once, whatever became of the connection or of the server. It ends by itself after a while, so
//! that no client holds a connection for ever.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Response, header};
use doorbook_event::{LogId, PublicIds, Scope, Seq, Timestamp};
use doorbook_store::filter::AsOf;
use doorbook_store::{Error, Filter, Placed, Store};
use tokio::sync::mpsc;

use super::cursor::{open_as_of, seal_as_of};
use super::dispatch::Call;
use super::export::Sent;
use super::problem::Problem;
use super::{events, filter};
use crate::app::{App, Stage};

/// Tails at a time; each may hold a piece in memory.
pub const TAILS_MAX: usize = 32;

/// Between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How many times as long as an answer may stand still a tail may last; the connection allows ten.
const LIFE: u32 = 5;

/// Positions of the log that are looked at at once.
const STRIDE_MAX: u64 = 10_000;

/// Rows that were sent are told at least as often: those of a server that is killed are known but for the last of them.
const TELL_SECONDS: i64 = 10;

/// Memory of the rows of a piece.
const PIECE_SIZE_BYTES_MAX: usize = 256 << 10;

/// What the beginning of a tail begins with: how long a client waits before it comes again.
const OPENING: &str = "retry: 1000\n";

/// A tail that can begin.
pub struct Tail {
    app: App,
    reading: Reading,
}

/// Where in a history somebody reads on.
struct Reading {
    store: Store,
    filter: Filter,
    /// Everything that was there in this state was looked at.
    at: AsOf,
    /// Positions that are looked at at once; fewer where their rows are large.
    stride: u64,
}

/// What was asked for.
pub fn prepare(call: &mut Call<'_>, app: &App, headers: &HeaderMap) -> Result<Tail, Problem> {
    if call.cursor.is_some() {
        return Err(Problem::unknown_parameters(&["cursor"]));
    }
    let mut reading = Reading::new(call)?;
    if let Some(last) = headers.get("last-event-id") {
        let last = last.to_str().ok().and_then(|text| open(call, text));
        let expected = "the last id of a tail of this history";
        reading.at = last.ok_or_else(|| Problem::invalid_header("Last-Event-ID", expected))?;
    }
    Ok(Tail { app: app.clone(), reading })
}

/// The next rows as one answer, for whoever asks again and again.
pub fn piece(call: &mut Call<'_>) -> Result<Vec<u8>, Problem> {
    let mut reading = Reading::new(call)?;
    let (rows, is_last) = reading.next()?;
    call.rows = rows.len() as u64;
    let mut out = b"{\"events\":[".to_vec();
    for (index, (_, row)) in rows.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"" } else { b"," });
        events::write_alone(call.ids, row, &mut out);
    }
    let at = seal_as_of(call.ids, &reading.at);
    out.extend_from_slice(format!("],\"after\":\"{at}\",\"is_last\":{is_last}}}").as_bytes());
    Ok(out)
}

/// A state of this history, from which a tail can go on.
fn open(call: &Call<'_>, text: &str) -> Option<AsOf> {
    open_as_of(call.ids, text).filter(|at| is_past(call.store, &call.scope, at))
}

/// Whether the history came past a state. One that was restored from a backup may have lost it, and what
/// comes next would be taken for what was seen.
fn is_past(store: &Store, scope: &Scope, at: &AsOf) -> bool {
    let now = store.as_of(scope);
    store.is_state_of(scope, at) && at.iter().all(|(log, seq)| *seq <= seq_of(&now, *log))
}

/// The answer, and where it is to be written to.
pub fn answer() -> (Response<Body>, mpsc::Sender<std::io::Result<Bytes>>) {
    let (sender, receiver) = mpsc::channel(1);
    let mut response = Response::new(Body::new(Sent::new(receiver)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // nginx would keep rows back until it has a buffer full.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    (response, sender)
}

impl Tail {
    /// Sends what comes, until the client goes or may no longer, the server stops, or it lasted long
    /// enough. How many rows were sent that were not told of.
    pub async fn run(
        self,
        sender: &mpsc::Sender<std::io::Result<Bytes>>,
        may_go_on: impl Fn() -> bool,
        tell: impl Fn(u64),
    ) -> u64 {
        let life = self.app.settings().write_timeout * LIFE;
        let mut rows = 0;
        // What is not sent then comes first when the client comes again.
        let sent = self.send(sender, may_go_on, (&mut rows, tell));
        let _over = tokio::time::timeout(life, sent).await;
        rows
    }

    async fn send(
        mut self,
        sender: &mpsc::Sender<std::io::Result<Bytes>>,
        may_go_on: impl Fn() -> bool,
        (rows, tell): (&mut u64, impl Fn(u64)),
    ) {
        let pause = self.app.settings().tail_pause;
        let mut silence = Box::pin(tokio::time::sleep(HEARTBEAT));
        let mut told = Timestamp::MIN;
        let mut next = Piece { text: self.beginning(), ..Piece::default() };
        while may_go_on() {
            if !next.text.is_empty() {
                if sender.send(Ok(next.text.into())).await.is_err() {
                    break;
                }
                *rows += next.rows;
                let now = self.app.clock().now();
                if *rows > 0 && told.plus_seconds(TELL_SECONDS) <= now {
                    tell(std::mem::take(rows));
                    told = now;
                }
                silence = Box::pin(tokio::time::sleep(HEARTBEAT));
            }
            let mut is_silent = false;
            if next.is_last {
                tokio::select! {
                    () = sender.closed() => break,
                    () = &mut silence => is_silent = true,
                    () = tokio::time::sleep(pause) => {}
                }
            }
            let Some((tail, piece)) = self.read().await else { break };
            (self, next) = (tail, piece);
            if is_silent && next.text.is_empty() {
                next.text = format!(": still here\n{}", self.mark()).into_bytes();
            }
        }
    }

    /// The next piece, when there is room to work on it. `None` if the tail cannot go on.
    async fn read(mut self) -> Option<(Tail, Piece)> {
        if self.app.stage() == Stage::Stopping {
            return None;
        }
        let permit = self.app.answers().clone().acquire_owned().await.ok()?;
        let read = tokio::task::spawn_blocking(move || {
            let piece = self.next();
            drop(permit);
            (self, piece)
        });
        // If it panicked, the panic has been printed.
        let (tail, piece) = read.await.ok()?;
        match piece {
            Ok(piece) => Some((tail, piece)),
            Err(error) => {
                // It is logged where it becomes an answer; here is none any more.
                drop(Problem::from(error));
                None
            }
        }
    }

    /// What came since the last piece, as much as one holds.
    fn next(&mut self) -> Result<Piece, Error> {
        let (rows, is_last) = self.reading.next()?;
        let ids = self.app.doors().ids();
        let mut text = Vec::new();
        for (position, row) in &rows {
            text.extend_from_slice(id(ids, &[(row.log, position + 1)]).as_bytes());
            text.extend_from_slice(b"data: ");
            events::write_alone(ids, row, &mut text);
            text.extend_from_slice(b"\n\n");
        }
        Ok(Piece { text, rows: rows.len() as u64, is_last })
    }

    fn beginning(&self) -> Vec<u8> {
        format!("{OPENING}{}", self.mark()).into_bytes()
    }

    /// Where the tail is, as no event.
    fn mark(&self) -> String {
        format!("{}\n", id(self.app.doors().ids(), &self.reading.at))
    }
}

impl Reading {
    fn new(call: &mut Call<'_>) -> Result<Reading, Problem> {
        let after = call.query.one("after")?;
        let at = match after {
            None => call.store.as_of(&call.scope),
            Some(text) => open(call, &text).ok_or_else(|| {
                let expected = "an as_of of this history, or the last id of a tail of it";
                Problem::invalid_parameter("after", expected)
            })?,
        };
        let filter = filter::take(call)?.filter;
        call.query.finish()?;
        if filter.as_of.is_some() {
            let expected = "a tail goes on; after says where it begins";
            return Err(Problem::invalid_parameter("as_of", expected));
        }
        Ok(Reading { store: call.store.clone(), filter, at, stride: STRIDE_MAX })
    }

    /// The next rows in the order in which they came to match, each with the position by which it did, and
    /// whether there are no more.
    fn next(&mut self) -> Result<(Vec<(Seq, Placed)>, bool), Error> {
        // A scope has one log, if it has any.
        let Some((log, end)) = self.store.as_of(&self.filter.scope).first().copied() else {
            return Ok((Vec::new(), true));
        };
        let from = seq_of(&self.at, log);
        if end <= from {
            return Ok((Vec::new(), true));
        }
        let mut until = end.min(from.saturating_add(self.stride));
        let page = loop {
            let page = self.store.select(&Filter {
                since: Some(vec![(log, from)]),
                as_of: Some(vec![(log, until)]),
                limit: usize::try_from(until - from).unwrap_or(usize::MAX),
                size_bytes_max: PIECE_SIZE_BYTES_MAX,
                ..self.filter.clone()
            })?;
            let told = self.told(&page.rows, from).filter(|_| until > from + 1);
            until = match told {
                // Of one position there is one row, which is never cut.
                None if !page.is_cut => break page,
                None => {
                    self.stride = (self.stride / 2).max(1);
                    from + self.stride.min(until - from - 1)
                }
                // What was told of a row may be what made it match. It ends a piece, and is one by itself, so
                // that it is known by which position each row came.
                Some(told) => told.max(from + 1),
            };
        };
        self.stride = (self.stride * 2).min(STRIDE_MAX);
        self.at = vec![(log, until)];
        let rows = page.rows.into_iter().map(|row| (row.seq.max(from), row));
        let mut rows: Vec<(Seq, Placed)> = rows.collect();
        rows.sort_by_key(|(position, _)| *position);
        Ok((rows, until == end))
    }

    /// The first position from `from` on at which something was told of any of these rows, if that can make
    /// it match.
    fn told(&self, rows: &[Placed], from: Seq) -> Option<Seq> {
        let told = rows.iter().flat_map(|row| &row.sightings).filter(|told| told.amends);
        let positions = told.map(|told| told.seq).filter(|seq| *seq >= from);
        positions.min().filter(|_| self.filter.may_match_later())
    }
}

/// A piece of what is sent.
struct Piece {
    text: Vec<u8>,
    rows: u64,
    /// There was nothing more.
    is_last: bool,
}

impl Default for Piece {
    fn default() -> Piece {
        Piece { text: Vec::new(), rows: 0, is_last: true }
    }
}

fn id(ids: &PublicIds, at: &[(LogId, Seq)]) -> String {
    format!("id: {}\n", seal_as_of(ids, at))
}

fn seq_of(at: &AsOf, log: LogId) -> Seq {
    at.iter().find(|(of, _)| *of == log).map_or(0, |(_, seq)| *seq)
}

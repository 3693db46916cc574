//! As much of an HTTP/1.1 client as a measurement needs: connections that stay open, answers read to
//! their end, nothing in between that costs time of its own.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::process::Stopwatch;

/// A connection that stays open.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    block: Vec<u8>,
}

/// An answer's status and body.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects to `HOST:PORT`.
    pub fn open(address: &str) -> Result<Connection> {
        let stream = TcpStream::connect(address).with_context(|| address.to_string())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Connection { stream, received: Vec::new(), block: vec![0; 256 << 10] })
    }

    /// Sends a request and waits for its answer.
    pub fn exchange(&mut self, request: &[u8]) -> Result<Response> {
        self.stream.write_all(request)?;
        loop {
            if let Some(response) = self.receive()? {
                return Ok(response);
            }
        }
    }

    /// Reads once; the answer, if that completed it.
    fn receive(&mut self) -> Result<Option<Response>> {
        let count = self.stream.read(&mut self.block)?;
        ensure!(count > 0, "the server closed the connection");
        self.received.extend_from_slice(&self.block[..count]);
        let response = complete(&self.received)?;
        if response.is_some() {
            self.received.clear();
        }
        Ok(response)
    }
}

/// A request with headers of its own, each with its line's end.
pub fn request(method: &str, target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Keeps so many connections busy from one thread, each with one request at a time, until all
/// requests are answered. Returns how long each took.
pub fn exchange_all(
    address: &str,
    connections: usize,
    requests: Vec<Vec<u8>>,
    check: impl Fn(&Response) -> Result<()>,
) -> Result<Vec<Duration>> {
    let mut requests = VecDeque::from(requests);
    let mut latencies = Vec::with_capacity(requests.len());
    let mut open = Vec::new();
    for request in requests.drain(..connections.min(requests.len())) {
        let mut connection = Connection::open(address)?;
        let since = Stopwatch::start();
        connection.stream.write_all(&request)?;
        open.push((connection, since));
    }
    while !open.is_empty() {
        let mut waiting: Vec<_> = open
            .iter()
            .map(|(connection, _)| PollFd::new(connection.stream.as_fd(), PollFlags::POLLIN))
            .collect();
        poll(&mut waiting, PollTimeout::NONE)?;
        let ready: Vec<bool> = waiting.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let mut ready = ready.into_iter();
        let mut failed = None;
        open.retain_mut(|(connection, since)| {
            if !ready.next().unwrap_or(false) {
                return true;
            }
            let done = (|| -> Result<bool> {
                let Some(response) = connection.receive()? else { return Ok(false) };
                latencies.push(since.elapsed());
                check(&response)?;
                let Some(request) = requests.pop_front() else { return Ok(true) };
                *since = Stopwatch::start();
                connection.stream.write_all(&request)?;
                Ok(false)
            })();
            !done.unwrap_or_else(|error| {
                failed = Some(error);
                true
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(latencies)
}

/// The answer in these bytes, once it is complete.
fn complete(received: &[u8]) -> Result<Option<Response>> {
    let Some(head_end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&received[..head_end]).context("the head is no text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.with_context(|| format!("no status in {head:?}"))?;
    let header = |name: &str| {
        head.split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value.trim()))
    };
    let rest = &received[head_end + 4..];
    if let Some(length) = header("content-length") {
        let length: usize = length.parse()?;
        return Ok(
            (rest.len() >= length).then(|| Response { status, body: rest[..length].to_vec() })
        );
    }
    if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return Ok(unchunked(rest)?.map(|body| Response { status, body }));
    }
    match status {
        204 | 304 => Ok(Some(Response { status, body: Vec::new() })),
        _ => bail!("an answer of unknown length: {head:?}"),
    }
}

fn unchunked(mut rest: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|bytes| bytes == b"\r\n") else { return Ok(None) };
        let length = std::str::from_utf8(&rest[..end])?;
        let length = usize::from_str_radix(length.split(';').next().unwrap_or_default().trim(), 16)
            .context("a chunk's length")?;
        let Some(chunk) = rest.get(end + 2..end + 2 + length + 2) else { return Ok(None) };
        if length == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(&chunk[..length]);
        rest = &rest[end + 2 + length + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: no answer is taken as complete too early. Method: every beginning of two answers.
    #[test]
    fn an_answer_is_complete_at_its_end_and_not_before() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello";
        let chunked =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
        for answer in [&plain[..], &chunked[..]] {
            for end in 0..answer.len() {
                assert!(complete(&answer[..end]).expect("no error").is_none(), "{end}");
            }
            let response = complete(answer).expect("no error").expect("complete");
            assert_eq!((response.status, &response.body[..]), (200, &b"hello"[..]));
        }
        assert!(complete(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}

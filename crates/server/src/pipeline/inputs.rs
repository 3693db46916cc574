//! What an import reads, looked at before anything is changed: every file can be opened and is a
//! text log, a compressed one is whole, and every input's host is known.

use std::io::{Cursor, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use doorbook_event::Text;
use doorbook_source::input::{self, Content, Input, LineReader, Origin};
use doorbook_source::mongod::HostFinder;
use doorbook_source::wrapping::{Unwrapped, Unwrapper};

use crate::admin::{Failure, with_causes};
use crate::pipeline::Progress;

/// 4 MiB: start-up lines are the first of a file, but not every file begins with a start.
const HEAD_SIZE_BYTES: u64 = 4 << 20;

/// An input that can be read.
pub struct Prepared {
    /// The input.
    pub input: Input,
    /// Where it was opened already because it cannot be opened twice.
    reader: Option<LineReader>,
    /// The host that it names, if it was asked.
    pub host: Option<String>,
}

impl Prepared {
    /// Its lines from the beginning.
    pub fn lines(&mut self) -> Result<LineReader, input::Error> {
        match self.reader.take() {
            Some(reader) => Ok(reader),
            None => self.input.open(),
        }
    }
}

/// Looks at every input; with `find_hosts` also for its host.
///
/// Compressed files are read to their end: damage may show only in the checksum there, when lines
/// that it made up would have been committed. A pipe cannot be read twice and stays unchecked.
/// Once `stop` is raised nothing more is checked; the import then ends before it commits.
pub fn prepare(
    inputs: Vec<Input>,
    find_hosts: bool,
    stop: &AtomicBool,
    progress: &Progress,
    tick: &mut dyn FnMut(&Progress),
) -> Result<Vec<Prepared>, Failure> {
    let mut checked_size_bytes = 0;
    let mut prepared = Vec::with_capacity(inputs.len());
    for input in inputs {
        // A pipe is read once, so it is opened once, and waits for its writer only then.
        let is_stream = input.size_bytes.is_none();
        let one = match (is_stream, find_hosts) {
            (true, true) => look_into_stream(input)?,
            (true, false) => Prepared { input, reader: None, host: None },
            (false, _) => {
                let lines = input.open().map_err(|error| failure(&error))?;
                let mut lines = lines.without_sha256();
                let host = match find_hosts {
                    true => find_host(&mut lines, HEAD_SIZE_BYTES).map_err(|e| failure(&e))?,
                    false => None,
                };
                if lines.is_compressed() {
                    let mut tick = |size_bytes| {
                        progress.checking.store(true, Ordering::Relaxed);
                        let size_bytes = checked_size_bytes + size_bytes;
                        progress.size_bytes.store(size_bytes, Ordering::Relaxed);
                        tick(progress);
                    };
                    check_to_the_end(&mut lines, stop, &mut tick).map_err(|e| failure(&e))?;
                }
                checked_size_bytes += input.size_bytes.unwrap_or(0);
                Prepared { input, reader: None, host }
            }
        };
        prepared.push(one);
    }
    progress.checking.store(false, Ordering::Relaxed);
    progress.size_bytes.store(0, Ordering::Relaxed);
    if find_hosts {
        share_hosts(&mut prepared)?;
    }
    Ok(prepared)
}

/// Reads what is left of an input, for its error.
fn check_to_the_end(
    lines: &mut LineReader,
    stop: &AtomicBool,
    tick: &mut dyn FnMut(u64),
) -> Result<(), input::Error> {
    let mut n_lines = 0_u64;
    while lines.next_line()?.is_some() {
        n_lines += 1;
        if n_lines.is_multiple_of(65_536) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            tick(lines.stored_size_bytes());
        }
    }
    Ok(())
}

/// A further file of a rotated log need not hold a start of the process: it is of the same host as
/// the one before it or, for the first ones, the one after. Where none of such a group names its
/// host in its first lines, all of their lines are looked at.
fn share_hosts(prepared: &mut [Prepared]) -> Result<(), Failure> {
    let mut begin = 0;
    while begin < prepared.len() {
        let rest = &prepared[begin + 1..];
        let length = 1 + rest.iter().take_while(|one| one.input.continues).count();
        let group = &mut prepared[begin..begin + length];
        begin += length;
        if group.iter().all(|one| one.host.is_none()) {
            for one in group.iter_mut().filter(|one| one.reader.is_none()) {
                let lines = one.input.open().map_err(|error| failure(&error))?;
                let mut lines = lines.without_sha256();
                one.host = find_host(&mut lines, u64::MAX).map_err(|error| failure(&error))?;
                if one.host.is_some() {
                    break;
                }
            }
        }
        let Some(mut last) = group.iter().find_map(|one| one.host.clone()) else {
            let names: Vec<&str> = group.iter().map(|one| &*one.input.name).collect();
            return Err(Failure::invalid(format!(
                "{} does not name its host (no line of a start of the process); say which host's \
                 log it is with --host",
                super::hosts::list(&names)
            )));
        };
        for one in group {
            last = one.host.get_or_insert(last).clone();
        }
    }
    Ok(())
}

/// The host that the first `size_bytes_max` of an input name.
fn find_host(lines: &mut LineReader, size_bytes_max: u64) -> Result<Option<String>, input::Error> {
    let mut finder = HostFinder::new();
    let mut unwrapper = Unwrapper::new();
    while let Some(line) = lines.next_line()? {
        let Content::Bytes(bytes) = line.content else { continue };
        if line.offset_bytes > size_bytes_max {
            return Ok(None);
        }
        if let Unwrapped::Line(bytes) = unwrapper.unwrap(bytes) {
            finder.line(bytes);
        }
        if let Some(host) = finder.host() {
            return Ok(Some(host.to_string()));
        }
    }
    Ok(None)
}

/// Looks for the host in a stream and puts back what was read of it. Reads no further than needed,
/// since a live stream may say nothing more for hours.
fn look_into_stream(input: Input) -> Result<Prepared, Failure> {
    let name = input.name.clone();
    let stream: Box<dyn Read + Send> = match &input.origin {
        Origin::Stdin => Box::new(std::io::stdin()),
        Origin::File(path) => {
            let file = std::fs::File::open(path);
            Box::new(file.map_err(|error| Failure::failed(format!("{name}: {error}")))?)
        }
    };
    let recording = Recording(Arc::new(Mutex::new(Recorded { stream, bytes: Vec::new() })));
    let mut lines =
        LineReader::new(name.clone(), Box::new(recording.clone())).map_err(|e| failure(&e))?;
    // A broken stream is found out again, and told with its place, when it is read.
    let host = find_host(&mut lines, HEAD_SIZE_BYTES).unwrap_or(None);
    drop(lines);
    let (stream, recorded) = recording.give_back();
    let reader = open_again(name, recorded, stream)?;
    Ok(Prepared { input, reader: Some(reader), host })
}

fn open_again(
    name: Text,
    recorded: Vec<u8>,
    stream: Box<dyn Read + Send>,
) -> Result<LineReader, Failure> {
    LineReader::new(name, Box::new(Cursor::new(recorded).chain(stream))).map_err(|e| failure(&e))
}

/// A stream that keeps what is read of it.
#[derive(Clone)]
struct Recording(Arc<Mutex<Recorded>>);

struct Recorded {
    stream: Box<dyn Read + Send>,
    bytes: Vec<u8>,
}

impl Recording {
    fn give_back(&self) -> (Box<dyn Read + Send>, Vec<u8>) {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Recorded { stream, bytes } = &mut *inside;
        (std::mem::replace(stream, Box::new(std::io::empty())), std::mem::take(bytes))
    }
}

impl Read for Recording {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Recorded { stream, bytes } = &mut *inside;
        let n = stream.read(buffer)?;
        bytes.extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}

/// An input's error for the person who named it. Nothing is wrong with the command then.
pub fn failure(error: &input::Error) -> Failure {
    Failure::failed(with_causes(error))
}

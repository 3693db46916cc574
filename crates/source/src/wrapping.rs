//! What transports put around a line, taken off again.
//!
//! A mongod writes bare lines; what people have is what syslog, journald, Docker, Kubernetes,
//! `docker compose logs`, multilog or a mail made of them. [`Unwrapper`] gives back the bare line,
//! byte for byte, and leaves alone what it does not know.
//!
//! # What a hostile user name can do here
//!
//! A server up to 4.2 writes user names into its text lines as they come, line feeds included, so
//! any stretch of a line, and whole physical lines, may be an attacker's words. Therefore:
//!
//! - **Only a well-formed header at the line's very start is taken off.** The bare line is never
//!   searched for further in: `… principal x {"t":…`, `… x | 2020-01-01T…` stay what they are.
//! - **A header counts only before something that begins as a server's record does**, or where
//!   the records before it wore the same headers ("the usual wrapping"; a bare record makes "none"
//!   the usual one). So a piece of a record that was split by a line feed in a name comes through
//!   whole where its transport wrapped each piece (CRI, Docker, compose, journald), and is left
//!   alone where a piece merely looks wrapped (`x | y`, `Nov 23 02:47:58 a b: c`).
//! - **Under the usual wrapping nothing further is taken off**: in a compose log, a piece
//!   `db | 2020-01-01T…` of a name stays so, although it would be a record in a bare log's.
//!   (So where records come both as `h d[1]: {…}` and as `h d[1]: db | {…}`, only those are found
//!   that came first. Layers beyond [`LAYERS_MAX`] are not taken off.)
//!
//! What remains: a piece that *is* a record when bare (`2020-01-01T…`), or, in a log that is
//! otherwise bare, a well-formed header before such a piece. The second gains an attacker nothing
//! over the first, which no look at a single line can tell from the truth; the interpreter judges
//! it by the record around it. To refuse it here would lose the logins of every file that holds
//! bare and wrapped records after one another.
//!
//! # What is not undone
//!
//! rsyslog's `#012`, `#011` (octal escapes of control characters) stay: a name may hold the same
//! characters itself, and the raw record must be what the file says. The empty line is skipped, so
//! a name with two line feeds in a row reads as with one.
//!
//! A carriage return at a line's end belongs to the transport if the record is JSON, or if the
//! input's first line ended with one; else it is the last byte of a split name and stays (a name
//! with several line ends of both characters makes several such lines after one another).

mod docker;
pub(crate) mod headers;

use std::mem;

use crate::input::LINE_BYTES_MAX;
use headers::Kind;

/// Takes wrapping off the lines of one input. It learns the input's usual wrapping, and holds
/// lines that come in parts; a rotated input that continues another goes through the same one.
#[derive(Default)]
pub struct Unwrapper {
    begun: bool,
    /// Whether the input has comments: it began with one.
    commented: bool,
    /// The headers of the last record.
    usual: Layers,
    returns: Returns,
    /// Lines whose first parts came; see [`Unwrapper::slot`].
    held: [Held; 4],
    /// The line that is lent to the caller, where it is not a stretch of the physical one.
    lent: Vec<u8>,
}

/// What is left of a physical line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwrapped<'a> {
    /// A line as its server wrote it; or one that no wrapping was recognised on.
    Line(&'a [u8]),
    /// A part of a line that is held until its last part comes, with which the line counts. At
    /// most [`LINE_BYTES_MAX`] of it are held; more is dropped, which leaves a JSON record
    /// unreadable rather than wrong.
    Partial,
    /// An empty line, or a comment in an input that began with a comment.
    Skip,
}

/// How many headers may precede a record; mails of compose output with timestamps have three.
pub const LAYERS_MAX: usize = 4;

/// Headers from the outermost inwards.
type Layers = [Option<Kind>; LAYERS_MAX];

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Unwrapper {
    /// An unwrapper that has seen nothing yet.
    pub fn new() -> Unwrapper {
        Unwrapper::default()
    }

    /// Takes off what was put around a physical line, given without its line feed.
    #[inline]
    pub fn unwrap<'a>(&'a mut self, line: &'a [u8]) -> Unwrapped<'a> {
        if self.begun && headers::is_json(line) && line.last() != Some(&b'\r') {
            self.usual = Layers::default();
            return Unwrapped::Line(line);
        }
        self.unwrap_slowly(line)
    }

    /// At the input's end: a line whose last part never came. Ask until there is none.
    pub fn finish(&mut self) -> Option<&[u8]> {
        let slot = self.held.iter().position(|held| held.begun)?;
        Some(self.join(slot))
    }

    fn unwrap_slowly<'a>(&'a mut self, line: &'a [u8]) -> Unwrapped<'a> {
        let first = !mem::replace(&mut self.begun, true);
        let line = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| first).unwrap_or(line);
        // Comments stand in fail2ban's collections of log lines. Elsewhere a piece of a split name
        // may begin with `#`, and must not disappear.
        self.commented |= first && line.starts_with(b"#");
        if self.commented && line.starts_with(b"#") {
            return Unwrapped::Skip;
        }

        let mut layers = Layers::default();
        let mut rest = line;
        // What is left when the layers that are usual are off.
        let mut kept = line;
        let mut usual = true;
        for depth in 0..LAYERS_MAX {
            let usual_is_off = depth > 0 && usual && layers == self.usual;
            if usual_is_off || headers::is_record(rest) {
                break;
            }
            let Some(header) = headers::header(rest, self.usual[depth]) else { break };
            layers[depth] = Some(header.kind);
            usual = usual && self.usual[depth] == layers[depth];
            rest = header.payload;
            match header.kind {
                Kind::Cri { error_stream, last } => {
                    let slot = Unwrapper::slot(false, error_stream);
                    return self.cri(Part { bytes: rest, slot, layers, usual }, last, kept);
                }
                Kind::DockerJson => {
                    // Its stream, and so its slot, stands behind the line.
                    return self.docker_json(Part { bytes: rest, slot: 0, layers, usual }, kept);
                }
                _ => {}
            }
            if usual {
                kept = rest;
            }
        }
        if headers::is_record(rest) {
            self.usual = layers;
            kept = rest;
        }
        whole(self.returns.strip(kept))
    }

    /// A part of a line, or a whole one where no parts came before; `kept` is what the line is if
    /// it turns out to be neither.
    fn cri<'a>(&'a mut self, part: Part<'a>, last: bool, kept: &'a [u8]) -> Unwrapped<'a> {
        let bytes = part.bytes;
        match self.receive(part, last) {
            Received::Refused => whole(self.returns.strip(kept)),
            Received::Whole => whole(self.returns.strip(bytes)),
            Received::Held => Unwrapped::Partial,
            Received::Joined(slot) => whole(self.join(slot)),
        }
    }

    fn docker_json<'a>(&'a mut self, part: Part<'a>, kept: &'a [u8]) -> Unwrapped<'a> {
        // The buffer leaves `self` while it is looked at.
        let mut line = mem::take(&mut self.lent);
        line.clear();
        let Some(error_stream) = docker::unescape(part.bytes, &mut line) else {
            self.lent = line;
            return whole(self.returns.strip(kept));
        };
        let last = line.pop_if(|byte| *byte == b'\n').is_some();
        let slot = Unwrapper::slot(true, error_stream);
        let received = self.receive(Part { bytes: &line, slot, ..part }, last);
        self.lent = line;
        match received {
            Received::Refused => whole(self.returns.strip(kept)),
            Received::Whole => whole(self.returns.strip(&self.lent)),
            Received::Held => Unwrapped::Partial,
            Received::Joined(slot) => whole(self.join(slot)),
        }
    }

    fn receive(&mut self, part: Part<'_>, last: bool) -> Received {
        let held = &mut self.held[part.slot];
        let record = headers::is_record(if held.begun { &held.bytes } else { part.bytes });
        if !record && !part.usual && !held.begun {
            return Received::Refused;
        }
        if record {
            self.usual = part.layers;
        }
        if last && !held.begun {
            return Received::Whole;
        }
        held.begun = true;
        held.append(part.bytes);
        if last { Received::Joined(part.slot) } else { Received::Held }
    }

    /// Lends the held line, with which its slot is free again.
    fn join(&mut self, slot: usize) -> &[u8] {
        let held = &mut self.held[slot];
        mem::swap(&mut held.bytes, &mut self.lent);
        held.bytes.clear();
        held.begun = false;
        self.returns.strip(&self.lent)
    }

    /// Parts of a line follow one another within their stream, and only there.
    fn slot(docker: bool, error_stream: bool) -> usize {
        usize::from(docker) * 2 + usize::from(error_stream)
    }
}

/// A line as its server wrote it, if what stands before that is recognised; else as it is. For a line that
/// is known to come alone: there is no usual wrapping.
pub(crate) fn bare(line: &[u8]) -> &[u8] {
    let mut rest = line;
    for _ in 0..LAYERS_MAX {
        if headers::is_record(rest) {
            return rest;
        }
        match headers::header(rest, None) {
            // Parts of lines are joined where there are neighbours.
            Some(header) if !matches!(header.kind, Kind::Cri { .. } | Kind::DockerJson) => {
                rest = header.payload;
            }
            _ => break,
        }
    }
    if headers::is_record(rest) { rest } else { line }
}

fn whole(line: &[u8]) -> Unwrapped<'_> {
    if line.is_empty() || line == b"\r" { Unwrapped::Skip } else { Unwrapped::Line(line) }
}

/// What may be a part of a line.
struct Part<'a> {
    bytes: &'a [u8],
    slot: usize,
    layers: Layers,
    /// Whether these layers are the usual ones.
    usual: bool,
}

/// What became of a [`Part`].
enum Received {
    /// It has neither a record nor the usual wrapping: the physical line is the line.
    Refused,
    /// It is a line by itself.
    Whole,
    Held,
    /// It is the last one; the line is in this slot.
    Joined(usize),
}

#[derive(Default)]
struct Held {
    begun: bool,
    bytes: Vec<u8>,
}

impl Held {
    fn append(&mut self, part: &[u8]) {
        let room = LINE_BYTES_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&part[..part.len().min(room)]);
    }
}

/// Carriage returns at line ends; see the module's documentation.
#[derive(Default)]
struct Returns {
    /// Whether the input's first line ended with one.
    everywhere: Option<bool>,
}

impl Returns {
    fn strip<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        let stripped = line.strip_suffix(b"\r");
        let everywhere = *self.everywhere.get_or_insert(stripped.is_some());
        stripped.filter(|_| everywhere || headers::is_json(line)).unwrap_or(line)
    }
}

#[cfg(test)]
mod tests;

//! [`Streams`]: lines that come from one place, and what is known of them from line to line.

use std::collections::{BTreeSet, HashMap};

use doorbook_event::Text;
use doorbook_source::Labels;
use doorbook_source::wrapping::Unwrapper;
use sha2::{Digest, Sha256};

use super::Door;
use super::position::{Learnt, StreamKey};

/// Streams that are remembered; the one that was silent for longest is forgotten first. What it said of
/// itself is in the position of its source.
const STREAMS_MAX: usize = 4096;

/// Lines that are remembered at least, to know them if they come again.
const LINES_MAX: usize = 1 << 17;

/// What a line is recognised by if it comes again.
pub(super) type LineHash = [u8; 16];

/// Lines that come from one place: the door and all labels that tell it from others are equal.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) unwrapper: Unwrapper,
    pub(super) learnt: Learnt,
    /// Whether `learnt` has what the sources' positions know of it.
    pub(super) is_complete: bool,
    /// Where its lines go, if that was found out since anything changed.
    pub(super) choice: Option<Choice>,
    /// The last line that waits was text, of which the next one may be a part.
    pub(super) was_text: bool,
    used: u64,
}

/// Where lines of a stream go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// To this source.
    Source(Text),
    /// Nowhere; why.
    Nowhere(Text),
}

/// All streams, and the lines that came lately.
#[derive(Default)]
pub(super) struct Streams {
    streams: HashMap<StreamKey, Stream>,
    uses: u64,
    /// Whether each line told an event; and those before.
    lines: HashMap<LineHash, bool>,
    earlier_lines: HashMap<LineHash, bool>,
}

impl Streams {
    pub(super) fn get(&mut self, key: StreamKey) -> &mut Stream {
        self.uses += 1;
        if self.streams.len() >= STREAMS_MAX && !self.streams.contains_key(&key) {
            self.forget_silent();
        }
        let stream = self.streams.entry(key).or_default();
        stream.used = self.uses;
        stream
    }

    /// Where lines go has to be found out again.
    pub(super) fn forget_choices(&mut self) {
        for stream in self.streams.values_mut() {
            stream.choice = None;
            stream.is_complete = false;
        }
    }

    /// Whether a line came in an earlier call, and told an event then.
    pub(super) fn seen(&self, line: &LineHash) -> Option<bool> {
        self.lines.get(line).or_else(|| self.earlier_lines.get(line)).copied()
    }

    pub(super) fn remember(&mut self, lines: impl IntoIterator<Item = (LineHash, bool)>) {
        self.lines.extend(lines);
        if self.lines.len() >= LINES_MAX {
            self.earlier_lines = std::mem::take(&mut self.lines);
        }
    }

    fn forget_silent(&mut self) {
        let mut uses: Vec<u64> = self.streams.values().map(|stream| stream.used).collect();
        let (_, median, _) = uses.select_nth_unstable(STREAMS_MAX / 8);
        let oldest = *median;
        self.streams.retain(|_, stream| stream.used > oldest);
    }
}

/// The stream of a line. `ruled` are labels that any rule names.
pub(super) fn key(door: &Door, labels: &Labels, ruled: &BTreeSet<Text>) -> StreamKey {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    add(&door.project.to_string());
    add(&door.name);
    for (name, value) in labels.iter() {
        if !is_passing(name) || ruled.contains(name) {
            add(name);
            add(value);
        }
    }
    first_half(hash)
}

pub(super) fn line_hash(stream: &StreamKey, line: &[u8]) -> LineHash {
    let mut hash = Sha256::new();
    hash.update(stream);
    hash.update(line);
    first_half(hash)
}

fn first_half(hash: Sha256) -> [u8; 16] {
    let hash: [u8; 32] = hash.finalize().into();
    *hash.first_chunk().expect("32 bytes have 16")
}

/// Whether a label is of the line and not of where it comes from. What is not known to be passing tells
/// places apart: too many streams are forgotten, two in one would be one host's lines under another.
pub(super) fn is_passing(label: &str) -> bool {
    const LAST_PARTS: [&str; 22] = [
        "date",
        "time",
        "timestamp",
        "@timestamp",
        "ts",
        "offset",
        "sequence",
        "sequenceid",
        "seq",
        "ingested",
        "created",
        "severity",
        "severity_text",
        "level",
        "priority",
        "pri",
        "stream",
        "logtag",
        "_p",
        "observed_timestamp",
        "msgid",
        // Logstash and Elastic Agent: the line once more.
        "original",
    ];
    let last = label.rsplit('.').next().unwrap_or(label).to_ascii_lowercase();
    // journald's own begin so, and its times end so.
    LAST_PARTS.contains(&&*last) || last.starts_with("__") || last.ends_with("timestamp")
}

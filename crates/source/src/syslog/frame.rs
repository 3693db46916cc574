//! [`Framer`]: a stream's bytes in, messages out, as RFC 6587 frames them.
//!
//! ```text
//! counted:  66 <14>1 2026-11-23T17:14:42Z db-1 mongod - - - …   the length in bytes, a space, the message
//! lines:    <14>Nov 23 17:14:42 db-1 mongod: …\n                the message, a line feed
//! ```
//!
//! Which of the two a connection speaks, its first bytes say, and then it stays with that. Others look at
//! each frame anew; but where a message can hold line feeds (a user name in a text log can), that lets a
//! user write the frames that follow.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::Cut;

/// 64 KiB, three times the longest line that mongod was seen to write; more of a message than this is
/// counted and hashed, not kept.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Takes a connection's bytes and gives its messages. Holds at most one message, or what was pushed and not
/// asked for yet.
#[derive(Default)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Before this, everything was handed out.
    start: usize,
    /// Between `start` and this there is no line feed.
    scanned: usize,
    framing: Option<Framing>,
    /// How many bytes of the message at hand are still to come or to be handed out, if it is counted.
    counted: Option<usize>,
    /// The message at hand, if it is too long.
    long: Option<Long>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// It, without what ends it; the first [`MESSAGE_BYTES_MAX`] bytes. Never empty.
    pub bytes: Vec<u8>,
    /// Why that is not all.
    pub cut: Option<Cut>,
}

/// Why nothing more can be read of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The first bytes are those of TLS.
    Tls,
    /// Where a message's length should stand, something else does.
    Length,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Counted,
    Lines,
}

struct Long {
    head: Vec<u8>,
    length_bytes: u64,
    sha256: Sha256,
}

impl Framer {
    /// At the beginning of a connection.
    pub fn new() -> Framer {
        Framer::default()
    }

    /// Takes what has come. Ask for frames before the next time, so that it does not pile up.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.scanned = self.scanned.saturating_sub(self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message that is there. After an error there is none.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Lost> {
        loop {
            let frame = match self.framing()? {
                None => return Ok(None),
                Some(Framing::Counted) => self.next_counted()?,
                Some(Framing::Lines) => self.next_line(),
            };
            match frame {
                Some(frame) if frame.bytes.is_empty() => {}
                other => return Ok(other),
            }
        }
    }

    /// What is left when the connection ends: a message that was being sent.
    pub fn finish(mut self) -> Option<Frame> {
        if self.long.is_some() {
            self.outgrow(self.buffer.len());
            let long = self.long.take().map(Long::frame);
            return long.filter(|frame| !frame.bytes.is_empty());
        }
        // Of a length alone nothing was said yet.
        let begun = self.framing == Some(Framing::Lines) || self.counted.is_some();
        let bytes = trimmed(self.rest()).to_vec();
        (begun && !bytes.is_empty()).then_some(Frame { bytes, cut: Some(Cut::Unfinished) })
    }

    /// How many bytes are held.
    pub fn held_bytes(&self) -> usize {
        self.buffer.len() - self.start
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// `None` as long as that cannot be told.
    fn framing(&mut self) -> Result<Option<Framing>, Lost> {
        if self.framing.is_some() {
            return Ok(self.framing);
        }
        self.skip_line_ends();
        self.framing = match self.rest() {
            [] => None,
            // The record type and the major version of every TLS since SSL 3.
            [0x16, 0x03, ..] => return Err(Lost::Tls),
            [0x16] => None,
            rest => match length(rest) {
                Length::Unknown => None,
                Length::Of(_, [b'<', ..]) => Some(Framing::Counted),
                Length::Of(_, []) => None,
                Length::Of(..) | Length::None => Some(Framing::Lines),
            },
        };
        Ok(self.framing)
    }

    fn next_counted(&mut self) -> Result<Option<Frame>, Lost> {
        let counted = match self.counted {
            Some(counted) => counted,
            None => {
                // Some end a message with a line feed all the same.
                self.skip_line_ends();
                match length(self.rest()) {
                    Length::Unknown => return Ok(None),
                    Length::None => return Err(Lost::Length),
                    Length::Of(counted, message) => {
                        self.start = self.buffer.len() - message.len();
                        self.counted = Some(counted);
                        counted
                    }
                }
            }
        };
        let here = self.rest().len().min(counted);
        let is_long = self.long.is_some() || counted > MESSAGE_BYTES_MAX;
        if is_long {
            self.outgrow(self.start + here);
            self.counted = Some(counted - here);
        }
        if here < counted {
            return Ok(None);
        }
        self.counted = None;
        if let Some(long) = self.long.take() {
            return Ok(Some(long.frame()));
        }
        let bytes = trimmed(&self.rest()[..counted]).to_vec();
        self.pass(self.start + counted);
        Ok(Some(Frame { bytes, cut: None }))
    }

    fn next_line(&mut self) -> Option<Frame> {
        self.scanned = self.scanned.max(self.start);
        let Some(n) = memchr::memchr(b'\n', &self.buffer[self.scanned..]) else {
            self.scanned = self.buffer.len();
            if self.long.is_some() || self.rest().len() > MESSAGE_BYTES_MAX {
                self.outgrow(self.buffer.len());
            }
            return None;
        };
        let end = self.scanned + n;
        if self.long.is_some() || end - self.start > MESSAGE_BYTES_MAX {
            self.outgrow(end);
            self.pass(end + 1);
            return self.long.take().map(Long::frame);
        }
        let bytes = trimmed(&self.buffer[self.start..end]).to_vec();
        self.pass(end + 1);
        Some(Frame { bytes, cut: None })
    }

    /// Moves what there is of the message at hand, up to `end`, out of the buffer.
    fn outgrow(&mut self, end: usize) {
        let part = &self.buffer[self.start..end];
        self.long.get_or_insert_default().add(part);
        self.pass(end);
    }

    fn pass(&mut self, end: usize) {
        self.start = end;
        self.scanned = end;
    }

    fn skip_line_ends(&mut self) {
        let ends = self.rest().iter().take_while(|b| is_end(**b)).count();
        self.pass(self.start + ends);
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lost::Tls => "the sender speaks TLS, and this receiver has no certificate",
            Lost::Length => "a message has no length, though those before it on its connection had",
        })
    }
}

impl std::error::Error for Lost {}

impl Default for Long {
    fn default() -> Long {
        Long { head: Vec::new(), length_bytes: 0, sha256: Sha256::new() }
    }
}

impl Long {
    fn add(&mut self, part: &[u8]) {
        let room = MESSAGE_BYTES_MAX - self.head.len();
        self.head.extend_from_slice(&part[..part.len().min(room)]);
        self.length_bytes += part.len() as u64;
        self.sha256.update(part);
    }

    fn frame(self) -> Frame {
        let (length_bytes, sha256) = (self.length_bytes, self.sha256.finalize().into());
        Frame { bytes: self.head, cut: Some(Cut::TooLong { length_bytes, sha256 }) }
    }
}

enum Length<'a> {
    /// More has to come before that can be told.
    Unknown,
    /// No length stands here.
    None,
    /// So many bytes, and what follows.
    Of(usize, &'a [u8]),
}

/// `66 `: no sender has messages of ten million bytes, and none writes zeros before a number.
fn length(bytes: &[u8]) -> Length<'_> {
    const DIGITS_MAX: usize = 7;
    let n_digits = bytes.iter().take(DIGITS_MAX).take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = bytes.split_at(n_digits);
    match (digits.first(), rest.split_first()) {
        (None, None) => Length::Unknown,
        (Some(b'1'..=b'9'), None) => Length::Unknown,
        (Some(b'1'..=b'9'), Some((b' ', rest))) => {
            let digit = |sum, digit: &u8| sum * 10 + usize::from(digit - b'0');
            Length::Of(digits.iter().fold(0, digit), rest)
        }
        _ => Length::None,
    }
}

/// A message without what some end it with besides: line ends and NULs.
fn trimmed(message: &[u8]) -> &[u8] {
    let start = message.iter().position(|b| !is_end(*b)).unwrap_or(message.len());
    let end = message.iter().rposition(|b| !is_end(*b)).map_or(start, |last| last + 1);
    &message[start..end]
}

fn is_end(b: u8) -> bool {
    matches!(b, b'\n' | b'\r' | 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Messages as text, those that were cut with `…`, and at the end the error.
    fn framed(parts: &[&[u8]]) -> Vec<String> {
        let mut framer = Framer::new();
        let mut shown = Vec::new();
        for part in parts {
            framer.push(part);
            loop {
                match framer.next_frame() {
                    Ok(Some(frame)) => shown.push(show(&frame)),
                    Ok(None) => break,
                    Err(lost) => {
                        shown.push(format!("{lost:?}"));
                        return shown;
                    }
                }
            }
            assert!(framer.held_bytes() <= MESSAGE_BYTES_MAX, "{}", framer.held_bytes());
        }
        shown.extend(framer.finish().as_ref().map(show));
        shown
    }

    fn show(frame: &Frame) -> String {
        let text = match frame.bytes.len() {
            0..100 => frame.bytes.escape_ascii().to_string(),
            n => format!("{n} {}", Sha256::digest(&frame.bytes).escape_ascii()),
        };
        match &frame.cut {
            None => text,
            Some(Cut::Unfinished) => format!("{text}…"),
            Some(Cut::TooLong { length_bytes, sha256 }) => {
                format!("{text}… {length_bytes} {}", sha256.escape_ascii())
            }
        }
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &[&str]) {
        assert_eq!(framed(&[bytes]), expected, "{}", bytes.escape_ascii());
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(framed(&single), expected, "byte by byte: {}", bytes.escape_ascii());
    }

    /// Once a message was empty whose length had been said, more than is kept, and of which nothing else came.
    #[test]
    fn a_length_alone_is_no_message() {
        check(b"3 <ab9 ", &["<ab"]);
        check(b"3 <ab9999999 ", &["<ab"]);
    }

    #[test]
    fn lines_and_counted_messages() {
        check(b"", &[]);
        check(b"<1>a\n<2>b\n", &["<1>a", "<2>b"]);
        check(b"\r\n\n<1>a\r\n\0\n\0<2>b\0\r\n\n", &["<1>a", "<2>b"]);
        check(b"4 <1>a5 <2>bc", &["<1>a", "<2>bc"]);
        check(b"6 <1>a\n\n5 <2>bc\n\r\n4 <3>d", &["<1>a", "<2>bc", "<3>d"]);
        // A line feed within a counted message is one of its bytes; a length within lines is none.
        check(b"11 <1>a\n4 <2>b4 <3>c", &["<1>a\\n4 <2>b", "<3>c"]);
        check(b"<1>a\n4 <2>b\n", &["<1>a", "4 <2>b"]);
        // What begins with digits and is no length.
        check(b"2026-11-23T02:45:14Z x\n", &["2026-11-23T02:45:14Z x"]);
        check(b"12 monkeys\n", &["12 monkeys"]);
        check(b"007 <1>abcd\n", &["007 <1>abcd"]);
        check(b"{t: 1}\n", &["{t: 1}"]);
    }

    #[test]
    fn half_a_message_is_told_as_such() {
        check(b"<1>a\n<2>b", &["<1>a", "<2>b…"]);
        check(b"4 <1>a5 <2>", &["<1>a", "<2>…"]);
        for nothing in [&b"4 <1>a5"[..], b"4 <1>a5 ", b"4 <1>a\n"] {
            check(nothing, &["<1>a"]);
        }
    }

    #[test]
    fn what_is_not_syslog_ends() {
        check(b"\x16\x03\x01\x02\x00", &["Tls"]);
        check(b"4 <1>a<2>b", &["<1>a", "Length"]);
        check(b"4 <1>a0 ", &["<1>a", "Length"]);
        check(b"4 <1>a12345678 <", &["<1>a", "Length"]);
    }

    /// Goal: a long message costs no memory and loses neither its length nor its hash, and the one after it
    /// nothing. Method: around the bound, both framings.
    #[test]
    fn a_long_message_passes_through() {
        for length in [MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX + 1, 3 * MESSAGE_BYTES_MAX + 7] {
            let long: Vec<u8> = (0..length).map(|n| b'a' + (n % 23) as u8).collect();
            let kept = &long[..length.min(MESSAGE_BYTES_MAX)];
            let sha256 = Sha256::digest(&long).into();
            let cut = Cut::TooLong { length_bytes: length as u64, sha256 };
            let cut = Some(cut).filter(|_| length > MESSAGE_BYTES_MAX);
            let expected =
                ["<1>a", &show(&Frame { bytes: kept.to_vec(), cut }), "<2>b"].map(str::to_owned);
            let lines = [b"<1>a\n", &long[..], b"\n<2>b\n"].concat();
            let count = length.to_string();
            let counted = [b"4 <1>a", count.as_bytes(), b" ", &long[..], b"4 <2>b"].concat();
            for stream in [lines, counted] {
                for at_once in [1000, 16 << 10] {
                    let parts: Vec<&[u8]> = stream.chunks(at_once).collect();
                    assert!(framed(&parts) == expected, "{length} {at_once}");
                }
            }
        }
    }

    proptest! {
        /// Goal: messages do not depend on how the bytes arrive. Method: the same stream in two divisions;
        /// pieces of frames in any order besides good ones.
        #[test]
        fn framing_is_independent_of_division(
            pieces in proptest::collection::vec(prop_oneof![
                Just(b"4 <1>a".to_vec()), Just(b"<1>abc\n".to_vec()), Just(b"9".to_vec()),
                Just(b" ".to_vec()), Just(b"\n".to_vec()), Just(b"\0\r\n".to_vec()),
                Just(b"<".to_vec()), Just(b"70000 <x".to_vec()), Just(vec![b'z'; 1000]),
                proptest::collection::vec(any::<u8>(), 0..20),
            ], 0..30),
            at_once in 1usize..400,
        ) {
            let stream = pieces.concat();
            let parts: Vec<&[u8]> = stream.chunks(at_once).collect();
            prop_assert_eq!(framed(&parts), framed(&[&stream]));
        }

        /// Goal: what was framed comes back. Method: any messages that a sender could frame.
        #[test]
        fn messages_come_back(
            messages in proptest::collection::vec(
                ("<1>", "[^\r\n\0]{1,300}").prop_map(|(priority, text)| priority.to_owned() + &text),
                0..20,
            ),
            counted: bool,
            at_once in 1usize..400,
        ) {
            let frame = |message: &String| match counted {
                true => format!("{} {message}", message.len()),
                false => format!("{message}\n"),
            };
            let stream: String = messages.iter().map(frame).collect();
            let parts: Vec<&[u8]> = stream.as_bytes().chunks(at_once).collect();
            let expected: Vec<String> = messages
                .iter()
                .map(|message| show(&Frame { bytes: message.clone().into(), cut: None }))
                .collect();
            prop_assert_eq!(framed(&parts), expected);
        }
    }
}

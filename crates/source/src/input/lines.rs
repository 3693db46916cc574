//! [`LineReader`]: an input's physical lines, with their places.

use std::io::{self, Read};

use doorbook_event::Text;

use super::splitter::Splitter;
use super::stored::{Decoded, Encoding, Refusal, Stored, StoredBytes};
use super::{Error, ErrorKind};

/// Reads lines out of plain, gzip (of any number of members) or zstd (of any number of frames)
/// bytes.
pub struct LineReader {
    name: Text,
    decoded: Decoded,
    splitter: Splitter,
    ended: bool,
    /// What ended the reading, to be told after the lines before it.
    failure: Option<Error>,
}

/// A physical line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number, from 1.
    pub number: u64,
    /// Offset of its first byte in the decompressed input, from 0.
    pub offset_bytes: u64,
    /// Whether a line feed ended it. A last line without one may have been cut off.
    pub complete: bool,
    /// What it says.
    pub content: Content<'a>,
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Its bytes without the line feed; a carriage return before that is still there.
    Bytes(&'a [u8]),
    /// It is longer than [`LINE_BYTES_MAX`](super::LINE_BYTES_MAX).
    Oversized(Oversized<'a>),
}

/// A line that was too long to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oversized<'a> {
    /// Its first [`Quarantine::BYTES_MAX`](doorbook_event::record::Quarantine::BYTES_MAX) bytes.
    pub head: &'a [u8],
    /// How many bytes it has, without the line feed.
    pub length_bytes: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
}

impl LineReader {
    /// A log's first 4 KiB are text. mongod writes no NUL, but a crash may leave a stretch of them,
    /// and a single one must not cost the log: see `is_binary`.
    const LOOKED_AT_BYTES: usize = 4 << 10;

    /// Starts to read; `name` is for errors. Waits for the first 4 KiB, or all of a shorter input,
    /// to see what it is.
    pub fn new(name: Text, reader: Box<dyn Read + Send>) -> Result<LineReader, Error> {
        LineReader::with_block_bytes(name, reader, Splitter::BLOCK_BYTES)
    }

    fn with_block_bytes(
        name: Text,
        reader: Box<dyn Read + Send>,
        block_bytes: usize,
    ) -> Result<LineReader, Error> {
        let decoded = Decoded::new(Stored::new(reader)).map_err(|refusal| match refusal {
            Refusal::Foreign(encoding) => Error::new(
                ErrorKind::Binary,
                &name,
                format!("is {encoding} data, which is not read here; decompress it first"),
            ),
            Refusal::Io(e) => Error::new(ErrorKind::Io, &name, "cannot be read").at(0).caused_by(e),
        })?;
        let splitter = Splitter::new(block_bytes, 1, 0);
        let mut lines = LineReader { name, decoded, splitter, ended: false, failure: None };
        lines.refuse_binary()?;
        Ok(lines)
    }

    /// The same reader for someone who wants lines and no receipt: hashing costs as much as
    /// interpreting a line does.
    #[must_use]
    pub fn without_sha256(mut self) -> LineReader {
        self.decoded.stop_hashing();
        self
    }

    /// The next line, or `None` after the last. After an error there is nothing more.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, Error> {
        loop {
            if let Some(found) = self.splitter.find() {
                return Ok(Some(self.splitter.lend(found)));
            }
            if self.ended {
                break;
            }
            self.fill();
        }
        if let Some(found) = self.splitter.find_rest() {
            return Ok(Some(self.splitter.lend(found)));
        }
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(None),
        }
    }

    /// Whether the bytes as stored are compressed, so that only reading all of them tells whether
    /// they are whole.
    pub fn is_compressed(&self) -> bool {
        self.decoded.encoding() != Encoding::Plain
    }

    /// The bytes as stored, as far as they were read: all of them once `next_line` gave `None`.
    pub fn stored(&self) -> StoredBytes {
        self.decoded.stored().known()
    }

    /// How many stored bytes were read so far; cheap, to show progress.
    pub fn stored_size_bytes(&self) -> u64 {
        self.decoded.stored().size_bytes()
    }

    fn fill(&mut self) {
        match self.decoded.read(self.splitter.room()) {
            Ok(0) => self.ended = true,
            Ok(n) => self.splitter.filled(n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                self.ended = true;
                self.failure = Some(self.explain(e));
            }
        }
    }

    fn refuse_binary(&mut self) -> Result<(), Error> {
        while !self.ended && self.splitter.ahead().len() < LineReader::LOOKED_AT_BYTES {
            self.fill();
        }
        let ahead = self.splitter.ahead();
        let looked_at = &ahead[..ahead.len().min(LineReader::LOOKED_AT_BYTES)];
        let utf16 = looked_at.starts_with(b"\xff\xfe") || looked_at.starts_with(b"\xfe\xff");
        let nul = memchr::memchr(0, looked_at).filter(|_| is_binary(looked_at));
        let message = match nul {
            _ if utf16 => "is UTF-16 text; convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8)",
            Some(_) => "is not a text log: it has NUL bytes at its beginning",
            None => return Ok(()),
        };
        let offset_bytes = nul.unwrap_or(0) as u64;
        Err(Error::new(ErrorKind::Binary, &self.name, message).at(offset_bytes))
    }

    fn explain(&self, e: io::Error) -> Error {
        let (number, begun_at) = self.splitter.place();
        let offset_bytes = begun_at + self.splitter.ahead().len() as u64;
        let place = format!("at byte {offset_bytes} of the unpacked content, in line {number}");
        let encoding = self.decoded.encoding();
        let name = encoding.name();
        // zstd has error codes, but its binding gives only their texts.
        let window = encoding == Encoding::Zstd && e.to_string().contains("too much memory");
        let (kind, message) = match e.kind() {
            _ if window => (
                ErrorKind::Binary,
                "is zstd data with a window of more than 128 MiB (zstd --long); unpack it first \
                 (zstd -d --long=31)"
                    .to_owned(),
            ),
            // Both decoders give their own complaints these kinds; the file's own pass through.
            io::ErrorKind::UnexpectedEof if encoding != Encoding::Plain => {
                (ErrorKind::Broken, format!("the {name} data is cut off {place}"))
            }
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other
                if encoding != Encoding::Plain =>
            {
                (ErrorKind::Broken, format!("the {name} data is damaged {place}"))
            }
            _ => (ErrorKind::Io, format!("cannot be read further than byte {offset_bytes}")),
        };
        Error::new(kind, &self.name, message).at(offset_bytes).caused_by(e)
    }
}

/// Whether bytes with a NUL among them are no text: they have no lines, or more than a tenth of them
/// are control bytes (of UTF-16 half are, of programs and archives a third and more).
fn is_binary(bytes: &[u8]) -> bool {
    let is_control = |b: &&u8| b.is_ascii_control() && !matches!(b, b'\t' | b'\n' | b'\r' | 0x1b);
    let n_control = bytes.iter().filter(is_control).count();
    memchr::memchr(b'\n', bytes).is_none() || n_control * 10 > bytes.len()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use doorbook_event::record::Quarantine;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::super::LINE_BYTES_MAX;
    use super::*;

    /// A reader that gives at most so many bytes at once, and then perhaps fails.
    struct Dripping {
        bytes: io::Cursor<Vec<u8>>,
        at_once: usize,
        failure: Option<io::Error>,
    }

    impl Read for Dripping {
        fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
            let n = block.len().min(self.at_once);
            match self.bytes.read(&mut block[..n])? {
                0 => self.failure.take().map_or(Ok(0), Err),
                n => Ok(n),
            }
        }
    }

    /// Lines as `number@offset text`, an unfinished one with `...`, then the error if there was
    /// one.
    fn read(bytes: Vec<u8>, at_once: usize, block_bytes: usize) -> Vec<String> {
        let reader = Dripping { bytes: io::Cursor::new(bytes), at_once, failure: None };
        read_from(reader, block_bytes)
    }

    fn read_from(reader: Dripping, block_bytes: usize) -> Vec<String> {
        let mut shown = Vec::new();
        let lines = LineReader::with_block_bytes("a.log".into(), Box::new(reader), block_bytes);
        let mut lines = match lines {
            Ok(lines) => lines,
            Err(e) => return vec![e.to_string()],
        };
        loop {
            match lines.next_line() {
                Ok(Some(line)) => shown.push(show(line)),
                Ok(None) => return shown,
                Err(e) => {
                    shown.push(e.to_string());
                    assert_eq!(lines.next_line().expect("the error comes once"), None);
                }
            }
        }
    }

    fn show(line: Line<'_>) -> String {
        let rest = if line.complete { "" } else { "..." };
        let text = match line.content {
            Content::Bytes(bytes) if bytes.len() > 10_000 => hashed(bytes),
            Content::Bytes(bytes) => bytes.escape_ascii().to_string(),
            Content::Oversized(line) => format!(
                "oversized {} {} {}",
                line.length_bytes,
                line.head.len(),
                line.sha256.escape_ascii()
            ),
        };
        format!("{}@{} {text}{rest}", line.number, line.offset_bytes)
    }

    fn hashed(bytes: &[u8]) -> String {
        format!("{} {}", bytes.len(), Sha256::digest(bytes).escape_ascii())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("to memory");
        encoder.finish().expect("to memory")
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
        encoder.include_checksum(true).expect("a valid setting"); // as the command does
        encoder.write_all(bytes).expect("to memory");
        encoder.finish().expect("to memory")
    }

    /// Many different lines, so that compressed data is not all in its first block.
    fn many_lines(count: u32) -> Vec<u8> {
        let lines =
            (0..count).map(|n| format!("{n} {}\n", Sha256::digest(n.to_le_bytes()).escape_ascii()));
        lines.collect::<String>().into_bytes()
    }

    #[track_caller]
    fn check(bytes: impl AsRef<[u8]>, expect: &[&str]) {
        assert_eq!(read(bytes.as_ref().to_vec(), usize::MAX, 4096), expect);
    }

    #[test]
    fn lines_and_their_places() {
        check("", &[]);
        check("\n", &["1@0 "]);
        check("a\n\nbc\n", &["1@0 a", "2@2 ", "3@3 bc"]);
        check("a\nb", &["1@0 a", "2@2 b..."]);
        check("a\r\nb\r", &["1@0 a\\r", "2@3 b\\r..."]);
        check(b"\xff\x80\n", &["1@0 \\xff\\x80"]);
    }

    #[test]
    fn what_is_no_text_log_is_refused() {
        let nul = "a.log: is not a text log: it has NUL bytes at its beginning";
        check("a\n\0", &[nul]);
        check(gzip(b"a\n\0"), &[nul]);
        let mut bytes = vec![b'a'; 4095];
        bytes.push(0);
        check(&bytes, &[nul]);
        bytes.insert(0, b'\n');
        let one = format!("{}\0{}\n", "x".repeat(30), "y\n".repeat(9));
        assert_eq!(read(one.into(), 7, 4096).len(), 10, "one NUL is a byte like others");
        assert_eq!(read(bytes, 7, 4096).len(), 2, "after 4 KiB a NUL is a byte like others");
        check(
            b"\xff\xfea\0\n\0",
            &["a.log: is UTF-16 text; convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8)"],
        );
        check(
            b"\xfd7zXZ\x00rest",
            &["a.log: is xz data, which is not read here; decompress it first"],
        );
    }

    /// Goal: a long line costs no memory and loses neither its length nor its hash. Method: lines
    /// around the bound, each between two short ones.
    #[test]
    fn lines_beyond_the_bound_pass_through() {
        for (length, oversized) in [
            (LINE_BYTES_MAX, false),
            (LINE_BYTES_MAX + 1, true),
            (LINE_BYTES_MAX + 4096, true),
            (3 * LINE_BYTES_MAX + 17, true),
        ] {
            let long: Vec<u8> = (0..length).map(|n| b'a' + (n % 23) as u8).collect();
            let text = if oversized {
                let hash = Sha256::digest(&long);
                format!("oversized {length} {} {}", Quarantine::BYTES_MAX, hash.escape_ascii())
            } else {
                hashed(&long)
            };
            let expect = ["1@0 x".to_owned(), format!("2@2 {text}"), format!("3@{} y", length + 3)];
            let bytes = [b"x\n", &long[..], b"\ny\n"].concat();
            for (at_once, block_bytes) in [(usize::MAX, 4096), (1000, 4096), (usize::MAX, 1 << 20)]
            {
                assert!(read(bytes.clone(), at_once, block_bytes) == expect, "{length} {at_once}");
            }
            let expect = [format!("1@0 {text}...")];
            assert!(read(long, usize::MAX, 4096) == expect, "{length}, unfinished");
        }
    }

    #[test]
    fn compressed_input_gives_the_same_lines() {
        let bytes = many_lines(2000);
        let plain = read(bytes.clone(), usize::MAX, 4096);
        let (front, back) = bytes.split_at(100_001);
        let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd";
        for stored in [
            gzip(&bytes),
            [gzip(front), gzip(b""), gzip(back)].concat(),
            zstd(&bytes),
            [zstd(front), zstd(b""), zstd(back)].concat(),
            [skippable, &zstd(&bytes)[..]].concat(),
        ] {
            for at_once in [usize::MAX, 1000, 1] {
                assert!(read(stored.clone(), at_once, 4096) == plain);
            }
        }
    }

    #[test]
    fn the_receipt_is_of_the_bytes_as_stored() {
        for stored in [many_lines(2000), gzip(&many_lines(2000)), zstd(&many_lines(2000)), vec![]] {
            let mut lines =
                LineReader::new("a.log".into(), Box::new(io::Cursor::new(stored.clone())))
                    .expect("text");
            while lines.next_line().expect("text").is_some() {}
            let expect = StoredBytes {
                size_bytes: stored.len() as u64,
                sha256: Some(Sha256::digest(&stored).into()),
            };
            assert_eq!(lines.stored(), expect);
        }
    }

    /// Goal: what a damaged archive still gives, it gives. Method: cut or spoil it in the middle;
    /// the lines are the beginning of the whole ones, most of what was there, then the error.
    #[test]
    fn damaged_archives_give_their_lines_first() {
        let bytes = many_lines(15_000);
        let whole = read(bytes.clone(), usize::MAX, 4096);
        let spoilt = |mut stored: Vec<u8>| {
            let middle = stored.len() / 2;
            stored[middle..middle + 64].fill(0xff);
            stored
        };
        let cut = |stored: Vec<u8>| stored[..stored.len() / 2].to_vec();
        for (stored, expect) in [
            (cut(gzip(&bytes)), "a.log: the gzip data is cut off at byte "),
            (cut(zstd(&bytes)), "a.log: the zstd data is cut off at byte "),
            (spoilt(gzip(&bytes)), "a.log: the gzip data is damaged at byte "),
            (spoilt(zstd(&bytes)), "a.log: the zstd data is damaged at byte "),
        ] {
            let mut lines = read(stored, usize::MAX, 4096);
            let error = lines.pop().expect("an error at the end");
            assert!(error.starts_with(expect), "{error}");
            lines.pop_if(|line| line.ends_with("..."));
            // Both have one checksum, at the end: what comes after the damage may be anything.
            let sure = if error.contains("is damaged") { 5000 } else { lines.len() };
            assert!(lines.len() > 5000, "{} {error}", lines.len());
            assert!(whole.starts_with(&lines[..sure]), "{error}");
        }
    }

    /// Goal: few lines are lost where damage shows at once. Method: a deflate block of a kind that
    /// does not exist, behind so many good bytes.
    #[test]
    fn damage_that_shows_at_once_costs_one_step() {
        let bytes = many_lines(2000);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&bytes).expect("to memory");
        encoder.flush().expect("to memory");
        let stored = [encoder.get_ref(), &[0xff; 64][..]].concat();
        let mut lines = LineReader::new("a.log".into(), Box::new(io::Cursor::new(stored)))
            .expect("text at its beginning");
        let error = loop {
            match lines.next_line() {
                Ok(line) => assert!(line.is_some(), "there must be an error"),
                Err(e) => break e,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Broken);
        let lost = bytes.len() as u64 - error.offset_bytes().expect("it is about content");
        assert!(lost <= 32 << 10, "{lost} of {} bytes lost", bytes.len());
    }

    #[test]
    fn a_zstd_window_beyond_the_bound_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
        encoder.window_log(28).expect("a valid window");
        encoder.include_contentsize(false).expect("a valid setting");
        encoder.write_all(b"a\n").expect("to memory");
        let stored = encoder.finish().expect("to memory");
        let lines = read(stored, usize::MAX, 4096);
        assert!(lines[0].contains("window of more than 128 MiB"), "{lines:?}");
    }

    #[test]
    fn a_failing_disk_is_told_after_the_lines_before() {
        let bytes = io::Cursor::new(b"a\nbcdefg".to_vec());
        let failure = Some(io::Error::other("bad sector"));
        let reader = Dripping { bytes, at_once: 1, failure };
        let expect = ["1@0 a", "2@2 bcdefg...", "a.log: cannot be read further than byte 8"];
        assert_eq!(read_from(reader, 4096), expect);
    }

    proptest! {
        /// Goal: lines do not depend on how the bytes arrive. Method: against `split`.
        #[test]
        fn splitting_is_independent_of_blocks(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), 1u8..], 0..3000),
            at_once in 1usize..3000,
            // Also smaller than a signature.
            block_bytes in prop_oneof![1usize..8, 8usize..5000],
        ) {
            // A beginning that no signature has.
            let bytes = [b"log\n", &bytes[..]].concat();
            let mut expect = Vec::new();
            let mut offset_bytes = 0;
            for (n, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
                let complete = line.ends_with(b"\n");
                let content = Content::Bytes(line.strip_suffix(b"\n").unwrap_or(line));
                expect.push(show(Line { number: n as u64 + 1, offset_bytes, complete, content }));
                offset_bytes += line.len() as u64;
            }
            prop_assert_eq!(read(bytes, at_once, block_bytes), expect);
        }
    }
}

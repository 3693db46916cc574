//! [`Splitter`]: blocks in, lines out, without a copy and within bounded memory.
//!
//! One buffer of a block, and of up to [`LINE_BYTES_MAX`] more while a line is that long. Lines are
//! found in place; before each refill the
//! begun line at the end moves to the front, so that the same cache-warm stretch is filled again
//! and each byte is moved at most once. A line that outgrows the bound is hashed and counted block
//! by block, and only its head is kept.

use doorbook_event::record::Quarantine;
use sha2::{Digest, Sha256};

use super::LINE_BYTES_MAX;
use super::lines::{Content, Line, Oversized};

pub(crate) struct Splitter {
    buffer: Vec<u8>,
    block_bytes: usize,
    /// Where the begun line starts in `buffer`.
    start: usize,
    /// Up to where no line feed was found.
    scanned: usize,
    /// Up to where `buffer` is filled.
    end: usize,
    /// The place of the begun line.
    number: u64,
    offset_bytes: u64,
    /// The part of the begun line that left the buffer because the line is too long.
    outgrown: Option<Outgrown>,
    /// An outgrown line while it is lent to the caller.
    lent: Option<(Outgrown, [u8; 32])>,
}

struct Outgrown {
    head: Vec<u8>,
    length_bytes: u64,
    sha256: Sha256,
}

/// A line that was found: where it lies, without a borrow.
pub(crate) struct Found {
    number: u64,
    offset_bytes: u64,
    complete: bool,
    /// Its stretch of the buffer; `None` if it is the lent one.
    stretch: Option<(usize, usize)>,
}

impl Splitter {
    /// 256 KiB: fits a core's level-two cache beside what the interpreter touches; larger blocks
    /// were not faster.
    pub(crate) const BLOCK_BYTES: usize = 256 << 10;

    /// A splitter whose first byte is the first of line `number`, at `offset_bytes`.
    pub(crate) fn new(block_bytes: usize, number: u64, offset_bytes: u64) -> Splitter {
        Splitter {
            buffer: Vec::new(),
            block_bytes,
            start: 0,
            scanned: 0,
            end: 0,
            number,
            offset_bytes,
            outgrown: None,
            lent: None,
        }
    }

    /// The next line that ends within what was filled.
    pub(crate) fn find(&mut self) -> Option<Found> {
        match memchr::memchr(b'\n', &self.buffer[self.scanned..self.end]) {
            Some(n) => {
                let end = self.scanned + n;
                Some(self.cut(end, true))
            }
            None => {
                self.scanned = self.end;
                if self.outgrown.is_some() || self.end - self.start > LINE_BYTES_MAX {
                    self.outgrow(self.end);
                    (self.start, self.scanned, self.end) = (0, 0, 0);
                }
                None
            }
        }
    }

    /// What remains when nothing more comes: a last line without its line feed.
    pub(crate) fn find_rest(&mut self) -> Option<Found> {
        let empty = self.start == self.end && self.outgrown.is_none();
        if empty { None } else { Some(self.cut(self.end, false)) }
    }

    /// Lends a line that was just found.
    pub(crate) fn lend(&self, found: Found) -> Line<'_> {
        let content = match (found.stretch, &self.lent) {
            (Some((start, end)), _) => Content::Bytes(&self.buffer[start..end]),
            (None, Some((outgrown, sha256))) => Content::Oversized(Oversized {
                head: &outgrown.head,
                length_bytes: outgrown.length_bytes,
                sha256: *sha256,
            }),
            (None, None) => unreachable!("`cut` sets `lent` when it gives no stretch"),
        };
        Line {
            number: found.number,
            offset_bytes: found.offset_bytes,
            complete: found.complete,
            content,
        }
    }

    /// Room for the next block; what was lent is gone then. Only after `find` found nothing.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.scanned -= self.start;
            self.start = 0;
        }
        let room_end = self.end + self.block_bytes;
        if self.buffer.len() < room_end {
            self.buffer.resize(room_end, 0);
        }
        &mut self.buffer[self.end..room_end]
    }

    /// Says how much of the room was filled.
    pub(crate) fn filled(&mut self, n: usize) {
        self.end += n;
    }

    /// Gives back what memory holds nothing that is still to be cut; for a pause.
    pub(crate) fn release(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.scanned -= self.start;
        self.start = 0;
        self.buffer.truncate(self.end);
        self.buffer.shrink_to_fit();
        self.lent = None;
    }

    /// Says which line comes next, where reading began in the middle of a file.
    pub(crate) fn renumber(&mut self, number: u64) {
        self.number = number;
    }

    /// What was filled and not yet cut.
    pub(crate) fn ahead(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Number and offset of the line that comes next, or is begun.
    pub(crate) fn place(&self) -> (u64, u64) {
        (self.number, self.offset_bytes)
    }

    /// Cuts the begun line off at `end`, which is the place of its line feed if it is complete.
    fn cut(&mut self, end: usize, complete: bool) -> Found {
        let feed = usize::from(complete);
        let (number, offset_bytes) = self.place();
        let oversized = self.outgrown.is_some() || end - self.start > LINE_BYTES_MAX;
        let (stretch, length_bytes) = if oversized {
            self.outgrow(end);
            let outgrown = self.outgrown.take().expect("`outgrow` put it there");
            let length_bytes = outgrown.length_bytes;
            let sha256 = outgrown.sha256.clone().finalize().into();
            self.lent = Some((outgrown, sha256));
            (None, length_bytes)
        } else {
            (Some((self.start, end)), (end - self.start) as u64)
        };
        self.number += 1;
        self.offset_bytes += length_bytes + feed as u64;
        self.start = end + feed;
        self.scanned = self.start;
        Found { number, offset_bytes, complete, stretch }
    }

    /// Moves the begun line's bytes up to `end` out of the buffer.
    fn outgrow(&mut self, end: usize) {
        let bytes = &self.buffer[self.start..end];
        let outgrown = self.outgrown.get_or_insert_with(|| Outgrown {
            head: Vec::new(),
            length_bytes: 0,
            sha256: Sha256::new(),
        });
        let head_room = Quarantine::BYTES_MAX - outgrown.head.len();
        outgrown.head.extend_from_slice(&bytes[..bytes.len().min(head_room)]);
        outgrown.length_bytes += bytes.len() as u64;
        outgrown.sha256.update(bytes);
        self.start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a file that is read a part at a time holds no more meanwhile than what it has not handed on.
    /// Method: memory is given back between two lines of one block.
    #[test]
    fn what_is_still_to_be_cut_is_all_that_a_pause_keeps() {
        let bytes = b"one\ntwo\nthr";
        let mut splitter = Splitter::new(1 << 20, 1, 0);
        splitter.room()[..bytes.len()].copy_from_slice(bytes);
        splitter.filled(bytes.len());
        let next = |splitter: &mut Splitter| {
            let found = splitter.find()?;
            match splitter.lend(found).content {
                Content::Bytes(line) => Some(line.to_vec()),
                Content::Oversized(_) => None,
            }
        };
        assert_eq!(next(&mut splitter).as_deref(), Some(&b"one"[..]));
        splitter.release();
        assert_eq!((splitter.ahead(), splitter.buffer.capacity()), (&b"two\nthr"[..], 7));
        assert_eq!(next(&mut splitter).as_deref(), Some(&b"two"[..]));
        assert_eq!(next(&mut splitter), None);
        splitter.release();
        assert_eq!((splitter.ahead(), splitter.buffer.capacity()), (&b"thr"[..], 3));
    }
}

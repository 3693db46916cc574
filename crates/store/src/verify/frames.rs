//! [`Frames`]: a WAL file piece by piece, with what is damaged between its frames.

use std::io;
use std::ops::Range;

use crate::disk::{DiskFile, read_up_to};
use crate::wal::{self, FRAME_HEADER_SIZE_BYTES, HEADER_SIZE_BYTES, Lsn};

/// Part of a WAL file.
pub(crate) enum Piece {
    /// A whole frame.
    Frame {
        /// Its bytes in the file.
        at: Range<u64>,
        lsn: Lsn,
        payload: Vec<u8>,
    },
    /// Bytes that are none, with a whole frame behind them.
    Damage {
        at: Range<u64>,
        what: &'static str,
        /// The frames that stood there.
        lost: Range<Lsn>,
    },
    /// Bytes that are none, up to the end.
    Tail { at: Range<u64>, what: &'static str },
}

/// Reads a file frame by frame; never holds more than one.
pub(crate) struct Frames<'f> {
    file: &'f dyn DiskFile,
    size_bytes: u64,
    at: u64,
    next_lsn: Lsn,
}

/// Bytes in which the next frame is looked for at a time.
const WINDOW_SIZE_BYTES: usize = 1 << 20;

impl<'f> Frames<'f> {
    /// The file whose first frame is `first`.
    pub(crate) fn new(file: &'f dyn DiskFile, size_bytes: u64, first: Lsn) -> Frames<'f> {
        Frames { file, size_bytes, at: 0, next_lsn: first }
    }

    /// The number of the frame that comes next.
    pub(crate) fn next_lsn(&self) -> Lsn {
        self.next_lsn
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Piece>> {
        if self.at == 0 {
            let head = read_up_to(self.file, 0, HEADER_SIZE_BYTES)?;
            self.at = HEADER_SIZE_BYTES as u64;
            let what = wal::header_problem(&head);
            match what {
                None => {}
                Some(what) if self.size_bytes <= self.at => {
                    return Ok(Some(Piece::Tail { at: 0..self.size_bytes, what }));
                }
                Some(what) => {
                    let lost = self.next_lsn..self.next_lsn;
                    return Ok(Some(Piece::Damage { at: 0..self.at, what, lost }));
                }
            }
        }
        if self.at >= self.size_bytes {
            return Ok(None);
        }
        let begin = self.at;
        let what = match self.frame_at(begin, self.next_lsn)? {
            Ok(payload) => {
                let lsn = self.next_lsn;
                self.at += (FRAME_HEADER_SIZE_BYTES + payload.len()) as u64;
                self.next_lsn += 1;
                return Ok(Some(Piece::Frame { at: begin..self.at, lsn, payload }));
            }
            Err(what) => what,
        };
        Ok(Some(match self.find_frame(begin + 1)? {
            Some((at, lsn)) => {
                let lost = self.next_lsn..lsn;
                (self.at, self.next_lsn) = (at, lsn);
                Piece::Damage { at: begin..at, what, lost }
            }
            None => {
                self.at = self.size_bytes;
                Piece::Tail { at: begin..self.size_bytes, what }
            }
        }))
    }

    /// The payload of frame `lsn` at an offset, or what is wrong there.
    fn frame_at(&self, at: u64, lsn: Lsn) -> io::Result<Result<Vec<u8>, &'static str>> {
        let head = read_up_to(self.file, at, FRAME_HEADER_SIZE_BYTES)?;
        let Some(length) = head.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)) else {
            return Ok(Err("a frame is cut off"));
        };
        let left = self.size_bytes.saturating_sub(at + FRAME_HEADER_SIZE_BYTES as u64);
        // Not read only to find that it is too long or ends early.
        let wanted = u64::from(length).min(left).min(wal::PAYLOAD_SIZE_BYTES_MAX as u64 + 1);
        let bytes = read_up_to(self.file, at, FRAME_HEADER_SIZE_BYTES + wanted as usize)?;
        Ok(wal::read_frame(&bytes, 0, lsn).map(<[u8]>::to_vec))
    }

    /// The first whole frame from an offset on whose number is not below the next one.
    fn find_frame(&self, from: u64) -> io::Result<Option<(u64, Lsn)>> {
        let mut start = from;
        while start + (FRAME_HEADER_SIZE_BYTES as u64) <= self.size_bytes {
            let window = read_up_to(self.file, start, WINDOW_SIZE_BYTES)?;
            if window.len() < FRAME_HEADER_SIZE_BYTES {
                break;
            }
            for (n, head) in window.windows(FRAME_HEADER_SIZE_BYTES).enumerate() {
                let at = start + n as u64;
                let lsn = Lsn::from_le_bytes(head[8..].try_into().expect("eight bytes"));
                let length = u32::from_le_bytes(head[..4].try_into().expect("four bytes"));
                // A file holds fewer frames than bytes; anything else is no number of ours.
                let is_plausible = lsn >= self.next_lsn
                    && lsn - self.next_lsn < self.size_bytes
                    && u64::from(length) <= self.size_bytes - at;
                if is_plausible && self.frame_at(at, lsn)?.is_ok() {
                    return Ok(Some((at, lsn)));
                }
            }
            start += (window.len() - FRAME_HEADER_SIZE_BYTES + 1) as u64;
        }
        Ok(None)
    }
}

//! Large numbers as Parquet writes them: the differences between them, packed by bits in parts of a block
//! (`DELTA_BINARY_PACKED`).

use std::ops::Range;

use super::bits::unpack_all;
use super::header::Thrift;
use super::{PADDING_BYTES, Result, Unfit};

pub(super) enum Delta {
    Constant(i64),
    Each(Vec<i64>),
}

/// Of `count` integers in DELTA_BINARY_PACKED form the first `wanted`, or all if they are the same.
/// `bytes` end with [`PADDING_BYTES`].
pub(super) fn read_delta(bytes: &[u8], count: usize, wanted: usize) -> Result<Delta> {
    let mut deltas = Deltas::new(bytes, count)?;
    let first = deltas.value;
    let mut values = Vec::new();
    let mut done = 1;
    while done < wanted {
        let part = deltas.next(wanted - done)?;
        if part.is_same() && values.is_empty() {
            // As long as nothing changes nothing is kept.
        } else {
            if values.is_empty() {
                values.reserve(wanted);
                values.resize(done, first);
            }
            values.extend(deltas.values(&part));
        }
        done += part.count;
    }
    Ok(if values.is_empty() { Delta::Constant(first) } else { Delta::Each(values) })
}

/// Of `count` integers in DELTA_BINARY_PACKED form, those at `rows` being sorted: which of `rows` are
/// `from` to `to`. Nothing behind them is decoded. `bytes` end with [`PADDING_BYTES`].
pub(super) fn between_delta(
    bytes: &[u8],
    count: usize,
    rows: Range<usize>,
    from: i64,
    to: i64,
) -> Result<Range<usize>> {
    let mut deltas = Deltas::new(bytes, count)?;
    let (mut start, mut end) = (rows.start, rows.start);
    // Whether more may follow.
    let mut look = |row: usize, value: i64| {
        if row < rows.start {
            return true;
        }
        if row >= rows.end || value > to {
            return false;
        }
        end = row + 1;
        if value < from {
            start = end;
        }
        true
    };
    if !look(0, deltas.value) {
        return Ok(start..end);
    }
    let mut done = 1;
    while done < rows.end {
        let part = deltas.next(rows.end - done)?;
        let mut values = (done..).zip(deltas.values(&part));
        if done + part.count <= rows.start {
            values.for_each(drop);
        } else if !values.all(|(row, value)| look(row, value)) {
            break;
        }
        done += part.count;
    }
    Ok(start..end)
}

/// The differences of DELTA_BINARY_PACKED integers, part by part.
struct Deltas<'a> {
    thrift: Thrift<'a>,
    padded: &'a [u8],
    /// Values of a part, and parts of a block.
    per_part: usize,
    parts: usize,
    /// Of the block: how wide its parts are, how many of them are left, and its least difference.
    widths: &'a [u8],
    least: i64,
    /// The last value so far.
    value: i64,
    unpacked: Vec<u64>,
}

/// Some differences, each less the least.
struct DeltaPart<'a> {
    /// Followed by [`PADDING_BYTES`].
    bytes: &'a [u8],
    bits: u32,
    count: usize,
    least: i64,
}

impl DeltaPart<'_> {
    fn is_same(&self) -> bool {
        self.bits == 0 && self.least == 0
    }
}

impl<'a> Deltas<'a> {
    const EARLY: Unfit = Unfit("numbers that end early");

    fn new(bytes: &'a [u8], count: usize) -> Result<Deltas<'a>> {
        let end = bytes.len().checked_sub(PADDING_BYTES).ok_or(Self::EARLY)?;
        let mut thrift = Thrift { bytes: &bytes[..end], at: 0 };
        let (block, parts) = (thrift.varint()?, thrift.varint()?);
        let (total, value) = (thrift.varint()?, thrift.integer()?);
        let is_sane = block.is_multiple_of(128) && (128..=1 << 20).contains(&block);
        let per_part = block.checked_div(parts).filter(|size| size.is_multiple_of(8) && *size > 0);
        let per_part = per_part.filter(|_| is_sane && total == count as u64);
        let per_part = per_part.ok_or(Unfit("a header of numbers that is not ours"))? as usize;
        let (parts, unpacked) = (parts as usize, Vec::new());
        Ok(Deltas {
            thrift,
            padded: bytes,
            per_part,
            parts,
            widths: &[],
            least: 0,
            value,
            unpacked,
        })
    }

    /// The next part, of which no more than `wanted` are looked at.
    fn next(&mut self, wanted: usize) -> Result<DeltaPart<'a>> {
        if self.widths.is_empty() {
            self.least = self.thrift.integer()?;
            let from = self.thrift.at;
            self.thrift.skip_bytes(self.parts)?;
            self.widths = &self.padded[from..self.thrift.at];
        }
        let (bits, widths) = self.widths.split_first().ok_or(Self::EARLY)?;
        self.widths = widths;
        let (at, end) = (self.thrift.at, self.thrift.bytes.len());
        let (bits, count) = (u32::from(*bits), self.per_part.min(wanted));
        if bits > u64::BITS || (count * bits as usize).div_ceil(8) > end - at {
            return Err(Self::EARLY);
        }
        self.thrift.at = (at + self.per_part * bits as usize / 8).min(end);
        Ok(DeltaPart { bytes: &self.padded[at..], bits, count, least: self.least })
    }

    /// The values of a part; all of them must be taken before the next part.
    fn values(&mut self, part: &DeltaPart<'_>) -> impl Iterator<Item = i64> {
        self.unpacked.clear();
        match part.bits {
            0 => self.unpacked.resize(part.count, 0),
            bits => unpack_all(part.bytes, bits, part.count, &mut self.unpacked),
        }
        let (value, least) = (&mut self.value, part.least);
        self.unpacked.iter().map(move |delta| {
            *value = value.wrapping_add(least).wrapping_add(*delta as i64);
            *value
        })
    }
}

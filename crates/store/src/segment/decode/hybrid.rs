//! Small numbers as Parquet writes them: runs of the same one, and groups of eight packed by bits.

use super::bits::{Narrow, unpack, unpack_all};
use super::header::Thrift;
use super::{PADDING_BYTES, Result, Unfit};

/// The first `count` values of a hybrid. `bytes` end with [`PADDING_BYTES`].
pub(super) fn read_hybrid<T: Narrow>(
    bytes: &[u8],
    bits: u32,
    count: usize,
    values: &mut Vec<T>,
) -> Result<()> {
    values.clear();
    let mut runs = Runs::new(bytes, bits, count)?;
    while let Some(run) = runs.next()? {
        match run {
            Run::Same(value, count) => {
                values.resize(values.len() + count, T::narrow(value.into()));
            }
            Run::Packed(bytes, count) => unpack_all(bytes, bits, count, values),
        }
    }
    Ok(())
}

/// Of the first `count` values of a hybrid those at some places, which ascend.
pub(super) fn pick_hybrid<'p>(
    bytes: &[u8],
    bits: u32,
    count: usize,
    places: impl Iterator<Item = &'p usize>,
) -> Result<Vec<u32>> {
    let mut runs = Runs::new(bytes, bits, count)?;
    let mut places = places.peekable();
    let mut picked = Vec::new();
    let mut from = 0;
    while places.peek().is_some() {
        let run = runs.next()?.ok_or(Runs::EARLY)?;
        let (Run::Same(_, count) | Run::Packed(_, count)) = run;
        let of_run = std::iter::from_fn(|| places.next_if(|place| **place < from + count));
        match run {
            Run::Same(value, _) => picked.extend(of_run.map(|_| value)),
            Run::Packed(bytes, _) => {
                let value = unpack(bytes, bits);
                picked.extend(of_run.map(|place| value(place - from) as u32));
            }
        }
        from += count;
    }
    Ok(picked)
}

/// The value of a hybrid that is one run of at least `count`.
pub(super) fn whole_run(bytes: &[u8], bits: u32, count: usize) -> Option<u32> {
    let mut thrift = Thrift { bytes, at: 0 };
    let header = thrift.varint().ok()?;
    let is_whole = header & 1 == 0 && header >> 1 >= count as u64 && bits <= u32::BITS;
    is_whole.then(|| run_value(&bytes[thrift.at..], bits)).flatten()
}

fn run_value(bytes: &[u8], bits: u32) -> Option<u32> {
    let value = bytes.get(..bits.div_ceil(8) as usize)?;
    Some(value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
}

/// The first `left` values of Parquet's hybrid of runs and bit-packed groups of eight, run by run.
struct Runs<'a> {
    bytes: Thrift<'a>,
    /// The same bytes with the padding behind them.
    padded: &'a [u8],
    bits: u32,
    left: usize,
}

enum Run<'a> {
    Same(u32, usize),
    /// Followed by [`PADDING_BYTES`].
    Packed(&'a [u8], usize),
}

impl<'a> Runs<'a> {
    /// `bytes` end with [`PADDING_BYTES`].
    fn new(bytes: &'a [u8], bits: u32, count: usize) -> Result<Runs<'a>> {
        if bits > u32::BITS {
            return Err(Unfit("ids of more than 32 bits"));
        }
        let end = bytes.len().checked_sub(PADDING_BYTES).ok_or(Self::EARLY)?;
        let thrift = Thrift { bytes: &bytes[..end], at: 0 };
        Ok(Runs { bytes: thrift, padded: bytes, bits, left: count })
    }

    const EARLY: Unfit = Unfit("ids that end early");

    fn next(&mut self) -> Result<Option<Run<'a>>> {
        if self.left == 0 {
            return Ok(None);
        }
        let header = self.bytes.varint()?;
        let (at, end, bits) = (self.bytes.at, self.bytes.bytes.len(), self.bits as usize);
        let length = usize::try_from(header >> 1).unwrap_or(usize::MAX);
        if length == 0 {
            return Err(Unfit("a run of nothing"));
        }
        // `left` is what the file's index says of the page, so that a lying run costs no more.
        let (run, count) = if header & 1 == 0 {
            let value = run_value(&self.bytes.bytes[at..], self.bits).ok_or(Self::EARLY)?;
            self.bytes.at += bits.div_ceil(8);
            let count = length.min(self.left);
            (Run::Same(value, count), count)
        } else {
            let count = length.saturating_mul(8).min(self.left);
            if (count * bits).div_ceil(8) > end - at {
                return Err(Self::EARLY);
            }
            self.bytes.at = at.saturating_add(length.saturating_mul(bits)).min(end);
            (Run::Packed(&self.padded[at..], count), count)
        };
        self.left -= count;
        Ok(Some(run))
    }
}

//! Parquet's encodings of values, and the headers of its pages.

/// Which page a header stands before, by the numbers of the Parquet project.
#[derive(Clone, Copy)]
pub(super) enum PageKind {
    Data = 0,
    Dictionary = 2,
}

/// How a page's values are coded, by the numbers of the Parquet project.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Plain = 0,
    Delta = 5,
    Keys = 8,
}

/// The header of a page, in Thrift's compact protocol. A data page is of version 1; its levels are
/// run-length encoded.
pub(super) fn put_page_header(
    bytes: &mut Vec<u8>,
    kind: PageKind,
    sizes: (usize, usize),
    value_count: usize,
    coding: Coding,
) {
    // The next field is a 32-bit number.
    const NUMBER: u8 = 0x15;
    const RLE: u64 = 3;
    let number = |bytes: &mut Vec<u8>, value: u64| {
        bytes.push(NUMBER);
        put_varint(bytes, value << 1);
    };
    let (uncompressed, compressed) = sizes;
    number(bytes, kind as u64);
    number(bytes, uncompressed as u64);
    number(bytes, compressed as u64);
    // A struct, in field 5 or 7 after field 3.
    bytes.push(if matches!(kind, PageKind::Data) { 0x2c } else { 0x4c });
    number(bytes, value_count as u64);
    number(bytes, coding as u64);
    if matches!(kind, PageKind::Data) {
        number(bytes, RLE);
        number(bytes, RLE);
    }
    bytes.extend([0, 0]);
}

/// A byte string in the plain encoding.
pub(super) fn put_plain(bytes: &mut Vec<u8>, value: &[u8]) {
    let length = u32::try_from(value.len()).expect("a record is far below 4 GiB");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(value);
}

/// Definition levels of `count` rows that all have a value, or all have none.
pub(super) fn put_same_presence(bytes: &mut Vec<u8>, count: usize, is_present: bool) {
    let at = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    put_run(bytes, count, is_present.into(), 1);
    put_length(bytes, at);
}

/// Definition levels: for each row 1 if it has a value and 0 if not.
pub(super) fn put_presence(bytes: &mut Vec<u8>, levels: &[u32]) {
    let at = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    put_hybrid(bytes, levels, 1);
    put_length(bytes, at);
}

fn put_length(bytes: &mut [u8], at: usize) {
    let length = u32::try_from(bytes.len() - at - 4).expect("a page is far below 4 GiB");
    bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

/// How many bits the keys of a dictionary of so many values need. Zero bits for a dictionary of one
/// value are legal, and some readers disagree.
pub(super) fn key_bits(value_count: usize) -> u32 {
    usize::BITS - (value_count.max(2) - 1).leading_zeros()
}

/// Parquet's hybrid of runs and bit-packed groups of eight.
pub(super) fn put_hybrid(bytes: &mut Vec<u8>, values: &[u32], bits: u32) {
    let mut packed_from = 0;
    let mut at = 0;
    while at < values.len() {
        let value = values[at];
        let run = values[at..].iter().take_while(|other| **other == value).count();
        // A packed stretch can only end after a multiple of eight values: the run's first ones
        // fill it up.
        let fill = (8 - (at - packed_from) % 8) % 8;
        if run >= fill + 8 {
            put_packed(bytes, &values[packed_from..at + fill], bits);
            put_run(bytes, run - fill, value, bits);
            at += run;
            packed_from = at;
        } else {
            at += run;
        }
    }
    put_packed(bytes, &values[packed_from..], bits);
}

/// A run of the hybrid.
pub(super) fn put_run(bytes: &mut Vec<u8>, count: usize, value: u32, bits: u32) {
    if count > 0 {
        put_varint(bytes, (count as u64) << 1);
        bytes.extend_from_slice(&value.to_le_bytes()[..bits.div_ceil(8) as usize]);
    }
}

fn put_packed(bytes: &mut Vec<u8>, values: &[u32], bits: u32) {
    if !values.is_empty() {
        let groups = values.len().div_ceil(8);
        put_varint(bytes, (groups as u64) << 1 | 1);
        let end = bytes.len() + groups * bits as usize;
        put_bits(bytes, values.iter().map(|value| u64::from(*value)), bits);
        bytes.resize(end, 0);
    }
}

/// Values below `2^bits`, each in so many bits, the lowest first.
fn put_bits(bytes: &mut Vec<u8>, values: impl Iterator<Item = u64>, bits: u32) {
    let (mut word, mut filled) = (0_u128, 0);
    for value in values {
        word |= u128::from(value) << filled;
        filled += bits;
        if filled >= 64 {
            bytes.extend_from_slice(&(word as u64).to_le_bytes());
            word >>= 64;
            filled -= 64;
        }
    }
    bytes.extend_from_slice(&(word as u64).to_le_bytes()[..filled.div_ceil(8) as usize]);
}

/// Parquet's `DELTA_BINARY_PACKED`: differences less the smallest of their block, bit-packed.
/// `is_narrow`: of 32-bit numbers, whose differences wrap at 32 bits.
pub(super) fn put_delta(bytes: &mut Vec<u8>, values: &[i64], is_narrow: bool) {
    const BLOCK: usize = 128;
    const PARTS: usize = 4;
    const PART: usize = BLOCK / PARTS;
    put_varint(bytes, BLOCK as u64);
    put_varint(bytes, PARTS as u64);
    put_varint(bytes, values.len() as u64);
    let Some((first, rest)) = values.split_first() else { return put_varint(bytes, 0) };
    put_zigzag(bytes, *first);
    let mut last = *first;
    let mut deltas = [0_i64; BLOCK];
    for block in rest.chunks(BLOCK) {
        for (delta, value) in deltas.iter_mut().zip(block) {
            *delta = match is_narrow {
                true => i64::from((*value as i32).wrapping_sub(last as i32)),
                false => value.wrapping_sub(last),
            };
            last = *value;
        }
        let deltas = &deltas[..block.len()];
        let least = deltas.iter().copied().min().unwrap_or(0);
        put_zigzag(bytes, least);
        let bits = |part: &[i64]| {
            let all = part.iter().fold(0, |all, delta| all | delta.wrapping_sub(least) as u64);
            u64::BITS - all.leading_zeros()
        };
        let mut widths = [0_u8; PARTS];
        for (width, part) in widths.iter_mut().zip(deltas.chunks(PART)) {
            *width = bits(part) as u8;
        }
        bytes.extend_from_slice(&widths);
        for (width, part) in widths.into_iter().zip(deltas.chunks(PART)) {
            let end = bytes.len() + PART / 8 * usize::from(width);
            let above = part.iter().map(|delta| delta.wrapping_sub(least) as u64);
            put_bits(bytes, above, width.into());
            bytes.resize(end, 0);
        }
    }
}

/// Flags, one bit each.
pub(super) fn put_flags(bytes: &mut Vec<u8>, flags: &[bool]) {
    put_bits(bytes, flags.iter().map(|flag| u64::from(*flag)), 1);
}

fn put_zigzag(bytes: &mut Vec<u8>, value: i64) {
    put_varint(bytes, (value << 1 ^ value >> 63) as u64);
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The encoding by its definition, value by value.
    fn read_hybrid(mut bytes: &[u8], bits: u32, count: usize) -> Vec<u32> {
        let mut values = Vec::new();
        while values.len() < count {
            let (mut header, mut shift) = (0_u64, 0);
            loop {
                let (byte, rest) = bytes.split_first().expect("more values");
                bytes = rest;
                header |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            if header & 1 == 0 {
                let (value, rest) = bytes.split_at(bits.div_ceil(8) as usize);
                bytes = rest;
                let value = value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
                values.extend(std::iter::repeat_n(value, (header >> 1) as usize));
            } else {
                let (packed, rest) = bytes.split_at((header >> 1) as usize * bits as usize);
                bytes = rest;
                let bit = |n: usize| u32::from(packed[n / 8] >> (n % 8) & 1);
                for n in 0..(header >> 1) as usize * 8 {
                    let first = n * bits as usize;
                    values.push((0..bits as usize).fold(0, |v, b| v | bit(first + b) << b));
                }
            }
        }
        assert!(bytes.is_empty(), "{} bytes too many", bytes.len());
        values.truncate(count);
        values
    }

    proptest! {
        /// Goal: our run-length encoding is Parquet's. Method: a decoder written from the
        /// specification reads back runs of any length.
        #[test]
        fn runs_and_groups_are_read_back(
            bits in 1_u32..20,
            runs in proptest::collection::vec((any::<u32>(), 1_usize..30), 0..40),
        ) {
            let values: Vec<u32> = runs
                .iter()
                .flat_map(|(value, count)| std::iter::repeat_n(value % (1 << bits), *count))
                .collect();
            let mut bytes = Vec::new();
            put_hybrid(&mut bytes, &values, bits);
            prop_assert_eq!(read_hybrid(&bytes, bits, values.len()), values);
        }
    }
}

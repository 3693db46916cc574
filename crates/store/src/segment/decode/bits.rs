//! Values of some bits each, from one end of the bytes to the other.

/// A type that bit-packed values are unpacked to; the caller knows that they fit.
pub(super) trait Narrow: Copy {
    fn narrow(value: u64) -> Self;
}

/// Appends the first `count` of values of `bits` each. `bytes` hold them, and then
/// [`super::PADDING_BYTES`].
pub(super) fn unpack_all<T: Narrow>(bytes: &[u8], bits: u32, count: usize, values: &mut Vec<T>) {
    // With a width that the compiler knows, eight values are a few instructions each, without a
    // branch: this is most of what a scan that nothing is cached for costs.
    macro_rules! of_width {
        ($($bits:literal)*) => {
            match bits {
                $($bits => unpack_groups::<$bits, T>(bytes, count / 8, values),)*
                _ => 0,
            }
        };
    }
    values.reserve(count);
    // Differences of times in microseconds have up to some forty bits.
    let done = of_width!(
        1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34
        35 36 37 38 39 40
    );
    let value = unpack(bytes, bits);
    values.extend((done..count).map(|n| T::narrow(value(n))));
}

/// Appends groups of eight values. Returns how many values that are.
fn unpack_groups<const BITS: usize, T: Narrow>(
    bytes: &[u8],
    groups: usize,
    values: &mut Vec<T>,
) -> usize {
    let mask = (1_u64 << BITS) - 1;
    for group in 0..groups {
        let bytes = &bytes[group * BITS..][..BITS + 8];
        let group: [T; 8] = std::array::from_fn(|n| {
            let (at, shift) = (n * BITS / 8, n * BITS % 8);
            let word = bytes[at..at + 8].first_chunk().expect("eight bytes");
            T::narrow(u64::from_le_bytes(*word) >> shift & mask)
        });
        values.extend_from_slice(&group);
    }
    groups * 8
}

/// The `n`-th of values of `bits` each, which lie in `bytes` and do not reach into the padding behind
/// them.
pub(super) fn unpack(bytes: &[u8], bits: u32) -> impl Fn(usize) -> u64 {
    let word = |at: usize| {
        let bytes = bytes[at..at + 8].first_chunk().expect("eight bytes");
        u64::from_le_bytes(*bytes)
    };
    let bits = bits as usize;
    let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    move |n| {
        let (at, shift) = (n * bits / 8, n * bits % 8);
        let low = word(at) >> shift;
        // Seven bits may be behind the first one's byte.
        let is_in_word = bits <= 57 || shift == 0;
        let high = if is_in_word { 0 } else { u64::from(bytes[at + 8]) << (64 - shift) };
        (low | high) & mask
    }
}

impl Narrow for u8 {
    fn narrow(value: u64) -> u8 {
        value as u8
    }
}

impl Narrow for u16 {
    fn narrow(value: u64) -> u16 {
        value as u16
    }
}

impl Narrow for u32 {
    fn narrow(value: u64) -> u32 {
        value as u32
    }
}

impl Narrow for u64 {
    fn narrow(value: u64) -> u64 {
        value
    }
}

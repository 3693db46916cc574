//! [`PublicIds`]: what a place in a log is called outside.
//!
//! A record's place is `(log, seq)`, and a plain counter tells everyone who sees two answers how
//! much was recorded between them. Random ids would cost 14 bytes an event. So the place itself is
//! enciphered: a keyed permutation of 122 bits, shown as a UUID of version 8 (RFC 9562 §5.8). The
//! same place has the same id for ever, nothing is stored, and the id leads back to the place.
//!
//! # Construction, version 1
//!
//! ```text
//! plain (122 bits, most significant first)
//!   log 32 | seq 64 | what it names 2 | zero 24
//! left, right = its upper 61 bits, its lower 61 bits
//! for round in 0..8:
//!   f = SipHash-2-4(key of the round, right + (round << 61) as 8 bytes, little-endian)
//!   left, right = right, left ^ (f mod 2^61)
//! cipher (122 bits) = left << 61 | right
//! UUID = the upper 48 bits | 8 (4 bits) | the next 12 | 2 (2 bits) | the lower 62
//! ```
//!
//! The key of even rounds is the secret's first half, of odd rounds its second. A Feistel round is
//! its own inverse whatever its function is, so the whole is a permutation. Its rounds are keyed
//! pseudo-random functions of inputs that no two rounds share; from four of them on it is a strong
//! pseudo-random permutation (Luby and Rackoff, 1988) up to some 2^30 ids seen, eight are margin.
//! Hidden are log, seq, their order and their distances. Not hidden is whether two ids are of the
//! same place: that is their purpose.
//!
//! The 26 bits that a place does not need are known, so that all but one in 67 million UUIDs that
//! we did not make are refused.

use std::fmt;
use std::str::FromStr;

use siphasher::sip::SipHasher24;
use siphasher::sip128;

use crate::target::Malformed;
use crate::{LogId, Seq};

/// Makes public ids, and reads its own.
#[derive(Clone)]
pub struct PublicIds {
    even: SipHasher24,
    odd: SipHasher24,
    tags: sip128::SipHasher24,
}

/// What a public id names. The numbers are part of every id that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// A record, by its place.
    Record = 0,
    /// A state of a log: the records before a place.
    State = 1,
}

/// A place as it is known outside: a UUID of version 8.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicId(u128);

impl PublicIds {
    /// Under a secret that is never changed: with another one every id handed out is lost.
    pub fn new(secret: &[u8; 32]) -> PublicIds {
        let (halves, _) = secret.as_chunks::<16>();
        let [even, odd] = [&halves[0], &halves[1]];
        PublicIds {
            even: SipHasher24::new_with_key(even),
            odd: SipHasher24::new_with_key(odd),
            tags: sip128::SipHasher24::new_with_key(even),
        }
    }

    /// The public id of a place.
    pub fn id(&self, names: Names, log: LogId, seq: Seq) -> PublicId {
        let plain = u128::from(log.0) << 90 | u128::from(seq) << 26 | (names as u128) << 24;
        PublicId::from_bits(self.permute(plain))
    }

    /// The place of an id, if it is one of ours.
    pub fn place(&self, names: Names, id: PublicId) -> Option<(LogId, Seq)> {
        let plain = self.restore(id.bits()?);
        let is_ours = plain & 0x3ff_ffff == (names as u128) << 24;
        is_ours.then_some((LogId((plain >> 90) as u32), (plain >> 26) as u64))
    }

    /// A tag by which bytes that went outside are known when they come back.
    pub fn tag(&self, bytes: &[u8]) -> [u8; 16] {
        self.tags.hash(bytes).as_bytes()
    }

    fn permute(&self, plain: u128) -> u128 {
        let (mut left, mut right) = halves(plain);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.round(round, right));
        }
        u128::from(left) << 61 | u128::from(right)
    }

    fn restore(&self, cipher: u128) -> u128 {
        let (mut left, mut right) = halves(cipher);
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.round(round, left), left);
        }
        u128::from(left) << 61 | u128::from(right)
    }

    fn round(&self, round: u64, half: u64) -> u64 {
        let function = if round.is_multiple_of(2) { &self.even } else { &self.odd };
        function.hash(&(half | round << 61).to_le_bytes()) & HALF
    }
}

const ROUNDS: u64 = 8;

/// 61 bits.
const HALF: u64 = (1 << 61) - 1;

fn halves(bits: u128) -> (u64, u64) {
    ((bits >> 61) as u64 & HALF, bits as u64 & HALF)
}

impl PublicId {
    /// The 16 bytes of a UUID.
    pub const fn from_bytes(bytes: [u8; 16]) -> PublicId {
        PublicId(u128::from_be_bytes(bytes))
    }

    /// The 16 bytes.
    pub const fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Appends the 36 characters.
    pub fn write(self, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for (index, byte) in self.bytes().into_iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                out.push(b'-');
            }
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
        }
    }

    /// 122 bits around version and variant.
    const fn from_bits(bits: u128) -> PublicId {
        let upper = bits >> 74;
        let middle = bits >> 62 & 0xfff;
        let lower = bits & ((1 << 62) - 1);
        PublicId(upper << 80 | 8 << 76 | middle << 64 | 2 << 62 | lower)
    }

    const fn bits(self) -> Option<u128> {
        if self.0 >> 76 & 15 != 8 || self.0 >> 62 & 3 != 2 {
            return None;
        }
        Some((self.0 >> 80) << 74 | (self.0 >> 64 & 0xfff) << 62 | self.0 & ((1 << 62) - 1))
    }
}

impl fmt::Display for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(36);
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl fmt::Debug for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicId {
    type Err = Malformed;
    /// Parses 36 characters, hexadecimal digits in either case.
    fn from_str(text: &str) -> Result<PublicId, Malformed> {
        let malformed = Malformed("an id is 32 hexadecimal digits in groups of 8-4-4-4-12");
        let bytes = text.as_bytes();
        if bytes.len() != 36 || ![8, 13, 18, 23].iter().all(|at| bytes[*at] == b'-') {
            return Err(malformed);
        }
        let digits: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'-').collect();
        let mut id = [0; 16];
        hex::decode_to_slice(&digits, &mut id).map_err(|_| malformed)?;
        Ok(PublicId::from_bytes(id))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids() -> PublicIds {
        PublicIds::new(&std::array::from_fn(|index| index as u8))
    }

    /// Whoever wrote down an id must find the same record by it for ever.
    #[test]
    fn ids_are_fixed() {
        for (names, log, seq, expected) in [
            (Names::Record, 0, 0, "4d6cebbe-f232-8626-a23c-e0837bb6d73f"),
            (Names::Record, 1, 0, "98a9ea5c-9112-828f-9813-213cbe310f91"),
            (Names::Record, 1, 1, "8583ec63-aff2-8a0c-bedd-57b82c55b0a0"),
            (Names::State, 1, 1, "8f9a61a7-ae60-8230-a93d-b8e2c557eb7e"),
            (Names::Record, u32::MAX, u64::MAX, "795ee73e-cca5-8be8-92d4-505d22eff3d4"),
        ] {
            assert_eq!(ids().id(names, LogId(log), seq).to_string(), expected, "{log} {seq}");
        }
    }

    /// The construction once more, in plain steps as the module's documentation tells it.
    fn naive(secret: &[u8; 32], plain: u128) -> u128 {
        let mask = (1_u128 << 61) - 1;
        let (mut left, mut right) = (plain >> 61, plain & mask);
        for round in 0..8_u128 {
            let key = &secret[if round % 2 == 0 { 0..16 } else { 16..32 }];
            let key = <&[u8; 16]>::try_from(key).expect("a half");
            let input = u64::try_from(right + (round << 61)).expect("64 bits");
            let f = SipHasher24::new_with_key(key).hash(&input.to_le_bytes());
            (left, right) = (right, left ^ (u128::from(f) & mask));
        }
        left << 61 | right
    }

    proptest! {
        #[test]
        fn an_id_leads_back_to_its_place_and_to_nothing_else(
            secret in any::<[u8; 32]>(), log in any::<u32>(), seq in any::<u64>(), state in any::<bool>(),
        ) {
            let ids = PublicIds::new(&secret);
            let (names, other) = match state {
                true => (Names::State, Names::Record),
                false => (Names::Record, Names::State),
            };
            let id = ids.id(names, LogId(log), seq);
            prop_assert_eq!(ids.place(names, id), Some((LogId(log), seq)));
            prop_assert_eq!(ids.place(other, id), None);
            let text = id.to_string();
            prop_assert_eq!(text.parse::<PublicId>().expect("valid"), id);
            prop_assert_eq!(text.to_uppercase().parse::<PublicId>().expect("valid"), id);
            prop_assert!(&text[14..15] == "8" && "89ab".contains(&text[19..20]), "{}", text);
        }

        #[test]
        fn it_is_a_permutation_as_documented(secret in any::<[u8; 32]>(), bits in any::<u128>()) {
            let ids = PublicIds::new(&secret);
            let plain = bits >> 6;
            prop_assert_eq!(ids.permute(plain), naive(&secret, plain));
            prop_assert_eq!(ids.restore(ids.permute(plain)), plain);
            prop_assert_eq!(ids.permute(ids.restore(plain)), plain);
            prop_assert_eq!(PublicId::from_bits(plain).bits(), Some(plain));
        }

        #[test]
        fn other_uuids_are_refused(bytes in any::<[u8; 16]>(), text in "[0-9a-f-]{30,40}") {
            prop_assert_eq!(ids().place(Names::Record, PublicId::from_bytes(bytes)), None);
            let _ = text.parse::<PublicId>();
        }

        #[test]
        fn a_changed_bit_is_refused(log in any::<u32>(), seq in any::<u64>(), bit in 0_u32..128) {
            let id = ids().id(Names::Record, LogId(log), seq);
            let changed = PublicId(id.0 ^ 1 << bit);
            prop_assert_eq!(ids().place(Names::Record, changed), None);
        }
    }

    #[test]
    fn neighbours_share_nothing() {
        let ids = ids();
        let bits = |seq| ids.id(Names::Record, LogId(0), seq).0;
        for seq in 0..1000 {
            let differing = (bits(seq) ^ bits(seq + 1)).count_ones();
            assert!((30..=92).contains(&differing), "{seq}: {differing}");
        }
    }

    #[test]
    fn malformed_ids_are_refused() {
        let good = ids().id(Names::Record, LogId(0), 7).to_string();
        for bad in ["", &good[1..], &good.replace('-', ""), &good.replace('8', "g"), "é"] {
            assert!(bad.parse::<PublicId>().is_err(), "{bad}");
        }
        let moved = format!("{}-{}", &good[..7], good[7..].replacen('-', "", 1));
        assert!(moved.parse::<PublicId>().is_err(), "{moved}");
    }
}

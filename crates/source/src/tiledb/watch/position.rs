//! Where a watch goes on after a restart.
//!
//! A position does not name what was seen, for an array may have a hundred thousand files: it says how many
//! there were and what their names add up to. Where the same stand there again, all of them are known again;
//! else what was removed meanwhile is a gap.
//!
//! # Format, version 1
//! A CBOR map: 0 the version; 1 the path of the schema that the array was created with; 2 when the last look
//! began; 3 since when a gap begins that the next look finds; 4 until which time of change names are settled;
//! 5 how many these are; 6 the sum of their hashes, 16 bytes; 7 how many are not settled; 8 whether a list is
//! waited for; 9 when the last look began, if something was going then: 2 is before that. Times are
//! microseconds since 1970.

use doorbook_event::Timestamp;
use minicbor::{Decode, Encode};

use super::File;
use crate::tiledb::name::Name;

/// Where a watch goes on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Position {
    #[n(0)]
    pub(super) version: u32,
    #[n(1)]
    pub(super) created: String,
    #[n(2)]
    pub(super) looked: Timestamp,
    #[n(3)]
    pub(super) gap_from: Timestamp,
    #[n(4)]
    pub(super) settled_before: Timestamp,
    #[n(5)]
    pub(super) count: u64,
    #[cbor(n(6), with = "minicbor::bytes")]
    pub(super) sum: [u8; 16],
    #[n(7)]
    pub(super) unsettled: u64,
    #[cbor(n(8), default)]
    pub(super) waits: bool,
    #[n(9)]
    pub(super) looked_at_going: Option<Timestamp>,
}

/// A position that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPosition(String);

impl std::fmt::Display for BadPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the position of the array cannot be read: {}", self.0)
    }
}

impl std::error::Error for BadPosition {}

impl Position {
    pub(super) const VERSION: u32 = 1;

    pub(super) fn read(bytes: &[u8]) -> Result<Position, BadPosition> {
        let position: Position =
            minicbor::decode(bytes).map_err(|error| BadPosition(error.to_string()))?;
        if position.version != Position::VERSION {
            let text = format!("its version is {}, and 1 is known", position.version);
            return Err(BadPosition(text));
        }
        if Name::parse(&position.created).is_none() {
            return Err(BadPosition("it names no schema".to_owned()));
        }
        Ok(position)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("a Vec takes every byte")
    }
}

/// How many names there are that were changed before a time, and their sum: it does not depend on an order.
/// UUIDs are random, so that they are hashes already.
pub(super) fn summary<'a>(
    files: impl Iterator<Item = &'a File>,
    before: Timestamp,
) -> (u64, [u8; 16]) {
    let (mut count, mut sum) = (0, 0_u128);
    for file in files.filter(|file| file.modified < before) {
        let hash = u128::from_be_bytes(file.name.stem.uuid) ^ (file.name.kind as u128);
        sum = sum.wrapping_add(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        count += 1;
    }
    (count, sum.to_be_bytes())
}

//! [`Position`]: where the watch of a place goes on.
//!
//! Version 1: a CBOR map; 0 the version; 1 a map from the address of each array that was found to a map of
//! it: 0 its id in the registry, 1 where its own watch goes on
//! ([`doorbook_source::tiledb::watch`]), empty for one that is not watched because somebody deregistered it.

use std::collections::BTreeMap;

use doorbook_event::Text;
use doorbook_event::arrays::Uuid;
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Position {
    #[n(0)]
    version: u32,
    #[n(1)]
    pub(super) arrays: BTreeMap<Text, One>,
}

/// Where the watch of one array goes on.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(super) struct One {
    #[n(0)]
    pub(super) id: Uuid,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(super) position: Vec<u8>,
}

impl Position {
    const VERSION: u32 = 1;

    pub(super) fn of(arrays: BTreeMap<Text, One>) -> Position {
        Position { version: Position::VERSION, arrays }
    }

    /// From its bytes; empty ones are the beginning.
    pub(super) fn read(bytes: &[u8]) -> Result<Position, String> {
        if bytes.is_empty() {
            return Ok(Position::of(BTreeMap::new()));
        }
        let position: Position = minicbor::decode(bytes).map_err(|error| error.to_string())?;
        match position.version {
            Position::VERSION => Ok(position),
            other => Err(format!("its version is {other}, and 1 is known")),
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("memory takes all that is written to it")
    }
}

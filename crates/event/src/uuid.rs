//! [`Uuid`]: what names something for good.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

use crate::public_id::PublicId;
use crate::target::Malformed;

/// What names something for good: 16 bytes, shown as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Uuid(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

impl Uuid {
    /// A version 4 UUID of these random bytes.
    pub const fn random(mut bytes: [u8; 16]) -> Uuid {
        bytes[6] = bytes[6] & 0x0f | 0x40; // version 4
        bytes[8] = bytes[8] & 0x3f | 0x80; // the variant of RFC 9562
        Uuid(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PublicId::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Uuid, Malformed> {
        text.parse().map(|id: PublicId| Uuid(id.bytes()))
    }
}

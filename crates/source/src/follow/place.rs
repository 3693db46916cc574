//! [`Place`]: where following goes on.

use doorbook_event::Timestamp;
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use super::chain::{Entry, Identity};

/// Where following goes on: a file, which is known again under any name by its first bytes, and the
/// next line in it. As CBOR a map by number.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Place {
    /// SHA-256 of its first bytes.
    #[cbor(n(0), with = "minicbor::bytes")]
    sha256: [u8; 32],
    /// How many, at most 256.
    #[n(1)]
    head_bytes: u64,
    /// A hint: which file it was.
    #[n(2)]
    pub(super) identity: Identity,
    /// Where the next line begins, in the unpacked content.
    #[n(3)]
    pub(super) offset_bytes: u64,
    /// Its number, from 1.
    #[n(4)]
    pub(super) line: u64,
    /// The time of the file's first line: its place among the files of the chain.
    #[n(5)]
    pub(super) begins: Timestamp,
    /// The content is a copy of a file that was cut short, so that lines may be missing behind it.
    #[n(6)]
    pub(super) is_copy: bool,
}

impl Place {
    pub(super) fn new(head: &[u8], identity: Identity, begins: Timestamp) -> Place {
        Place {
            sha256: Sha256::digest(head).into(),
            head_bytes: head.len() as u64,
            identity,
            offset_bytes: 0,
            line: 1,
            begins,
            is_copy: false,
        }
    }

    /// Whether a file has the content that this place is in.
    pub(super) fn is_in(&self, entry: &Entry) -> bool {
        let tells = self.head_bytes >= Entry::HEAD_BYTES_MIN as u64;
        if !tells && entry.identity != self.identity {
            return false;
        }
        let head = usize::try_from(self.head_bytes).ok().and_then(|n| entry.head.get(..n));
        head.is_some_and(|head| Sha256::digest(head).as_slice() == self.sha256)
    }
}

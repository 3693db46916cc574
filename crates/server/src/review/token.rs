//! [`Seen`]: which state of which round a reviewer saw, as it goes to a page and comes back.
//!
//! ```text
//! "r" | n u8 | review n | round u64 | version u32 | instant i64 | n u8 | n states of 16 each | tag 16
//! ```
//! in base64url; integers big-endian, states as public ids. The tag keeps anybody from making one: the
//! instant decides whether a review is overdue.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doorbook_event::public_id::Names;
use doorbook_event::{PublicId, PublicIds, Timestamp};
use doorbook_store::filter::AsOf;

/// What a reviewer saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which round.
    pub round: u64,
    /// The version of the review.
    pub version: u32,
    /// When the state was taken.
    pub at: Timestamp,
    /// The state.
    pub as_of: AsOf,
}

impl Seen {
    /// As it goes outside.
    pub fn seal(&self, ids: &PublicIds, review: &str) -> String {
        let mut bytes = vec![b'r', u8::try_from(review.len()).expect("names are short")];
        bytes.extend_from_slice(review.as_bytes());
        bytes.extend_from_slice(&self.round.to_be_bytes());
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&self.at.micros().to_be_bytes());
        bytes.push(u8::try_from(self.as_of.len()).expect("a scope has a log on each of few nodes"));
        for (log, seq) in &self.as_of {
            bytes.extend_from_slice(&ids.id(Names::State, *log, *seq).bytes());
        }
        let tag = ids.tag(&bytes);
        bytes.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`Seen::seal`] made for this review.
    pub fn open(ids: &PublicIds, review: &str, text: &str) -> Option<Seen> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (bytes, tag) = bytes.split_last_chunk::<16>()?;
        if !bool::from(subtle::ConstantTimeEq::ct_eq(&ids.tag(bytes)[..], &tag[..])) {
            return None;
        }
        let (&[b'r', length], rest) = bytes.split_first_chunk::<2>()? else { return None };
        let (name, rest) = rest.split_at_checked(usize::from(length))?;
        let (round, rest) = rest.split_first_chunk::<8>()?;
        let (version, rest) = rest.split_first_chunk::<4>()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (_, states) = rest.split_first()?;
        let (states, _) = states.as_chunks::<16>();
        let state = |id: &[u8; 16]| ids.place(Names::State, PublicId::from_bytes(*id));
        let seen = Seen {
            round: u64::from_be_bytes(*round),
            version: u32::from_be_bytes(*version),
            at: Timestamp::from_micros(i64::from_be_bytes(*at)),
            as_of: states.iter().map(state).collect::<Option<_>>()?,
        };
        (name == review.as_bytes()).then_some(seen)
    }
}

#[cfg(test)]
mod tests {
    use doorbook_event::LogId;

    use super::*;

    /// Goal: what was seen comes back, and nobody signs what was not shown. Method: each byte changed, and
    /// the token of another review.
    #[test]
    fn a_token_comes_back_as_it_went_and_no_other_is_taken() {
        let ids = PublicIds::new(&[7; 32]);
        for as_of in [vec![], vec![(LogId(3), 99)]] {
            let at = Timestamp::from_seconds(1_790_000_000);
            let seen = Seen { round: 12, version: 3, at, as_of };
            let sealed = seen.seal(&ids, "logins");
            assert_eq!(Seen::open(&ids, "logins", &sealed), Some(seen));
            assert_eq!(Seen::open(&ids, "others", &sealed), None);
            assert_eq!(Seen::open(&PublicIds::new(&[8; 32]), "logins", &sealed), None);
            for n in 0..sealed.len() {
                let letter = if sealed.as_bytes()[n] == b'A' { "B" } else { "A" };
                let changed = format!("{}{letter}{}", &sealed[..n], &sealed[n + 1..]);
                let last_bits = n + 1 == sealed.len();
                assert!(last_bits || Seen::open(&ids, "logins", &changed).is_none(), "{n}");
            }
        }
    }
}

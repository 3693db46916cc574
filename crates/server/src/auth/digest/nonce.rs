//! Nonces: handed out to anyone, remembered only once somebody with a key has used them.
//!
//! A nonce is `time (48 bits, ms) · counter (48 bits) · MAC (96 bits)`, 24 bytes, 32 characters of
//! base64 as Atlas's are. Time and counter together are its id, and ids only grow. Handing one out
//! costs no memory. The table of used nonces gains an entry only with a correct signature, so
//! nobody without a key can fill it.
//!
//! When the table is full its smallest id is dropped **and becomes the floor**: every nonce at or
//! below the floor counts as stale. So a dropped entry can never be replayed, and a caller who
//! fills the table shortens the life of nonces (their owners are told `stale=true` and retry at
//! once) but locks nobody out.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use doorbook_event::Timestamp;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// How long a nonce can be used: "only valid for a short amount of time" (Atlas's documentation).
pub const LIFETIME_MS: u64 = 5 * 60 * 1000;

/// 65,536 entries of 32 bytes, at half-filled tree nodes under 5 MiB.
const USED_MAX: usize = 1 << 16;

/// Issues nonces and refuses their second use.
pub struct Nonces {
    secret: [u8; 32],
    used_max: usize,
    /// The latest time seen. A clock that is set back must not make old nonces young again.
    latest_ms: u64,
    last_id: u128,
    /// Ids up to here are stale.
    floor: u128,
    /// What was used of each used nonce.
    used: BTreeMap<u128, Counts>,
}

/// The counts that were used of one nonce. They need not come in order: threads that share a
/// client share its nonce, and overtake each other on the way. (With the rule "higher than the
/// last", 19 to 20 of 160 requests of an `httpx.Client` with 8 threads failed for good; with this
/// one 6 of 1,600; its threads also send the same count twice.) What lies too far back to be
/// remembered counts as used.
#[derive(Clone, Copy, Default)]
struct Counts {
    highest: u32,
    /// Bit `n` is `highest - n`.
    used: u64,
}

impl Counts {
    /// `false` if the count was used already, or might have been.
    fn spend(&mut self, count: u32) -> bool {
        if count > self.highest {
            self.used = self.used.checked_shl(count - self.highest).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let bit = 1_u64.checked_shl(self.highest - count).unwrap_or(0);
        let is_new = bit != 0 && self.used & bit == 0;
        self.used |= bit;
        is_new
    }
}

/// What a nonce is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Ours, young, and with a count that was not used before.
    Fresh,
    /// Not ours, too old, or from before the last start.
    Stale,
    /// The count was used already, or lies so far below the highest that nobody remembers.
    Replayed,
}

impl Nonces {
    /// Nonces under a secret. Those of an earlier process are stale, because what was used of them
    /// is not known any more.
    pub fn new(secret: [u8; 32], now: Timestamp) -> Nonces {
        let latest_ms = millis(now);
        let floor = u128::from(latest_ms) << 48;
        Nonces {
            secret,
            used_max: USED_MAX,
            latest_ms,
            last_id: floor,
            floor,
            used: BTreeMap::new(),
        }
    }

    /// A new nonce.
    pub fn issue(&mut self, now: Timestamp) -> String {
        let now_ms = self.advance(now);
        self.last_id = (self.last_id + 1).max(u128::from(now_ms) << 48);
        STANDARD.encode(self.encode(self.last_id))
    }

    /// Marks a use of a nonce by someone whose signature is correct.
    pub fn spend(&mut self, now: Timestamp, nonce: &str, count: u32) -> Use {
        let now_ms = self.advance(now);
        while let Some(entry) = self.used.first_entry() {
            if !is_expired(*entry.key(), now_ms) {
                break;
            }
            entry.remove();
        }
        let Some(id) = self.decode(nonce) else { return Use::Stale };
        if id <= self.floor || is_expired(id, now_ms) {
            return Use::Stale;
        }
        // RFC 7616 counts from 1. Refused before it can take a place in the table.
        if count == 0 {
            return Use::Replayed;
        }
        // Not "the next count": npm's urllib counts on across nonces and begins a new one with 2.
        if !self.used.entry(id).or_default().spend(count) {
            return Use::Replayed;
        }
        if self.used.len() > self.used_max
            && let Some((dropped, _)) = self.used.pop_first()
        {
            self.floor = dropped;
        }
        Use::Fresh
    }

    fn advance(&mut self, now: Timestamp) -> u64 {
        self.latest_ms = self.latest_ms.max(millis(now));
        self.latest_ms
    }

    fn encode(&self, id: u128) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..12].copy_from_slice(&id.to_be_bytes()[4..]);
        // The secret stands first, the message has one length and the hash is cut: nothing can be
        // appended, so this needs no HMAC.
        let hash = Sha256::new().chain_update(self.secret).chain_update(&bytes[..12]).finalize();
        bytes[12..].copy_from_slice(&hash[..12]);
        bytes
    }

    fn decode(&self, nonce: &str) -> Option<u128> {
        let bytes: [u8; 24] = STANDARD.decode(nonce).ok()?.try_into().ok()?;
        let mut id = [0; 16];
        id[4..].copy_from_slice(&bytes[..12]);
        let id = u128::from_be_bytes(id);
        bool::from(self.encode(id).ct_eq(&bytes)).then_some(id)
    }
}

fn millis(now: Timestamp) -> u64 {
    u64::try_from(now.millis()).unwrap_or(0)
}

fn is_expired(id: u128, now_ms: u64) -> bool {
    let issued_ms = u64::try_from(id >> 48).unwrap_or(u64::MAX);
    issued_ms.saturating_add(LIFETIME_MS) < now_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn nonces() -> Nonces {
        Nonces::new([7; 32], START)
    }

    #[test]
    fn each_is_new_and_looks_like_those_of_atlas() {
        let mut nonces = nonces();
        let [one, two] = [nonces.issue(START), nonces.issue(START)];
        assert_ne!(one, two);
        assert_eq!(one.len(), "SlgYP7Tv3FS/BuCj/x4WQRIV1bNKdpJg".len());
    }

    #[test]
    fn a_count_is_good_once_and_need_not_begin_with_one() {
        let mut nonces = nonces();
        let nonce = nonces.issue(START);
        for (count, expected) in [
            (2, Use::Fresh),
            (2, Use::Replayed),
            (1, Use::Fresh),
            (1, Use::Replayed),
            (3, Use::Fresh),
            (0, Use::Replayed),
            (2, Use::Replayed),
        ] {
            assert_eq!(nonces.spend(START, &nonce, count), expected, "{count}");
        }
        let other = nonces.issue(START);
        assert_eq!(nonces.spend(START, &other, 0), Use::Replayed);
    }

    /// Threads overtake each other. What was used is never good again, whatever came between.
    #[test]
    fn counts_come_in_any_order_within_64() {
        let mut nonces = nonces();
        let nonce = nonces.issue(START);
        for (count, expected) in [
            (8, Use::Fresh),
            (3, Use::Fresh),
            (70, Use::Fresh),
            (7, Use::Fresh), // 63 below
            (8, Use::Replayed),
            (6, Use::Replayed), // 64 below: nobody remembers
            (3, Use::Replayed),
            (71, Use::Fresh),
            (69, Use::Fresh),
            (70, Use::Replayed),
            (1000, Use::Fresh),
            (71, Use::Replayed),
            (999, Use::Fresh),
            (u32::MAX, Use::Fresh),
            (1000, Use::Replayed),
            (u32::MAX, Use::Replayed),
            (u32::MAX - 63, Use::Fresh),
            (u32::MAX - 64, Use::Replayed),
        ] {
            assert_eq!(nonces.spend(START, &nonce, count), expected, "{count}");
        }
    }

    /// However it is signed, no use makes the table larger than it may be.
    #[test]
    fn the_table_is_bounded_whatever_is_counted() {
        let mut nonces = Nonces { used_max: 3, ..nonces() };
        for n in 0..20 {
            let nonce = nonces.issue(START);
            for count in [0, n % 3, 0] {
                nonces.spend(START, &nonce, count);
                assert!(nonces.used.len() <= 3, "{n}");
            }
        }
    }

    #[test]
    fn only_our_own_young_nonces_are_good() {
        let mut nonces = nonces();
        let nonce = nonces.issue(START);
        let last = START.plus_micros(LIFETIME_MS as i64 * 1000);
        assert_eq!(nonces.spend(last, &nonce, 1), Use::Fresh);
        assert_eq!(nonces.spend(last.plus_micros(1000), &nonce, 2), Use::Stale);
        // A clock that is set back does not make it young again.
        assert_eq!(nonces.spend(START, &nonce, 3), Use::Stale);

        let mut damaged = nonces.issue(last);
        damaged.replace_range(5..6, if damaged[5..6] == *"A" { "B" } else { "A" });
        let foreign = Nonces::new([8; 32], START).issue(last);
        let before_start = Nonces::new([7; 32], START.plus_seconds(-60)).issue(START);
        for bad in [damaged.as_str(), &foreign, &before_start, "", "x", "SlgYP7Tv3FS/BuCj/x4WQRIV"]
        {
            assert_eq!(nonces.spend(last, bad, 1), Use::Stale, "{bad}");
        }
    }

    /// A full table forgets the oldest use and refuses its nonce; whoever comes now is served.
    #[test]
    fn what_a_full_table_forgets_cannot_be_replayed() {
        let mut nonces = Nonces { used_max: 3, ..nonces() };
        let issued: Vec<_> = (0..5).map(|_| nonces.issue(START)).collect();
        for nonce in &issued {
            assert_eq!(nonces.spend(START, nonce, 1), Use::Fresh);
        }
        assert_eq!(nonces.used.len(), 3);
        for nonce in &issued {
            assert_ne!(nonces.spend(START, nonce, 1), Use::Fresh);
        }
        assert_eq!(nonces.spend(START, &issued[0], 2), Use::Stale);
        let late = nonces.issue(START);
        assert_eq!(nonces.spend(START, &late, 1), Use::Fresh);
    }

    #[test]
    fn expired_uses_leave_the_table() {
        let mut nonces = nonces();
        let nonce = nonces.issue(START);
        assert_eq!(nonces.spend(START, &nonce, 1), Use::Fresh);
        assert_eq!(nonces.used.len(), 1);
        nonces.spend(START.plus_seconds(3600), "", 1);
        assert_eq!(nonces.used.len(), 0);
    }
}

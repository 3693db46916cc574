//! [`Attempts`]: how often a wrong password may be tried.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use doorbook_event::{Peer, Text, Timestamp};

/// How long a wrong password counts.
const WINDOW_SECONDS: i64 = 900;

/// Wrong passwords of a user from an address, of whomever from an address, and of a user from
/// wherever: the last one lets somebody lock a user out, so it is the highest.
const USER_AND_ADDRESS_MAX: usize = 5;
const ADDRESS_MAX: usize = 30;
const USER_MAX: usize = 50;

/// Some megabytes. Beyond, the oldest is forgotten: a flood then costs its sender an address each.
const KEYS_MAX: usize = 10_000;

/// Wrong passwords of the last minutes.
#[derive(Default)]
pub struct Attempts(Mutex<HashMap<Key, VecDeque<Timestamp>>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    UserFrom(Text, IpAddr),
    Address(IpAddr),
    User(Text),
}

impl Key {
    const fn limit(&self) -> usize {
        match self {
            Key::UserFrom(..) => USER_AND_ADDRESS_MAX,
            Key::Address(_) => ADDRESS_MAX,
            Key::User(_) => USER_MAX,
        }
    }
}

impl Attempts {
    /// Whether a password may be tried now. It counts as wrong until [`Attempts::succeeded`]: those that
    /// are computed at the same time would each find the others not yet failed.
    pub fn begin(&self, now: Timestamp, user: &Text, peer: Peer) -> bool {
        let keys = keys(user, peer);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &keys {
            if let Some(times) = known.get_mut(key) {
                times.retain(|at| now < at.plus_seconds(WINDOW_SECONDS));
                if times.len() >= key.limit() {
                    return false;
                }
            }
        }
        for key in keys {
            if known.len() >= KEYS_MAX && !known.contains_key(&key) {
                make_room(&mut known, now);
            }
            known.entry(key).or_default().push_back(now);
        }
        true
    }

    /// The password was right: what this user failed from here is forgotten.
    pub fn succeeded(&self, user: &Text, peer: Peer) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys(user, peer) {
            match key {
                Key::UserFrom(..) => drop(known.remove(&key)),
                // Who has one account must not be able to try others without end.
                _ => drop(known.get_mut(&key).and_then(VecDeque::pop_back)),
            }
        }
    }
}

fn keys(user: &Text, peer: Peer) -> [Key; 3] {
    let address = match peer.address() {
        // A subscriber has a whole /64.
        Some(IpAddr::V6(v6)) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        Some(v4) => v4,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    [Key::UserFrom(user.clone(), address), Key::Address(address), Key::User(user.clone())]
}

fn make_room(known: &mut HashMap<Key, VecDeque<Timestamp>>, now: Timestamp) {
    let last = |times: &VecDeque<Timestamp>| times.back().copied().unwrap_or(Timestamp::MIN);
    known.retain(|_, times| now < last(times).plus_seconds(WINDOW_SECONDS));
    if known.len() >= KEYS_MAX {
        let oldest = known.iter().min_by_key(|(_, times)| last(times)).map(|(key, _)| key.clone());
        oldest.map(|key| known.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn from(address: &str) -> Peer {
        Peer::ip(address.parse().expect("an address"), Some(1))
    }

    /// Goal: each of the three limits holds, for its own time and nobody else.
    #[test]
    fn guessing_is_stopped_by_user_and_address() {
        let attempts = Attempts::default();
        let tries = |user: &str, address: &str, seconds: i64| {
            attempts.begin(NOW.plus_seconds(seconds), &user.into(), from(address))
        };
        for _ in 0..USER_AND_ADDRESS_MAX {
            assert!(tries("alice", "10.0.0.1", 0));
        }
        assert!(!tries("alice", "10.0.0.1", 899));
        assert!(tries("alice", "10.0.0.2", 0) && tries("bob", "10.0.0.1", 0));
        assert!(tries("alice", "10.0.0.1", 900), "the window is over");
        for n in 0..ADDRESS_MAX {
            assert!(tries(&format!("user{n}"), "2001:db8::1", 0), "{n}");
        }
        assert!(!tries("other", "2001:db8::ffff", 0), "the same /64");
        assert!(tries("other", "2001:db8:0:1::1", 0));
        for n in 0..USER_MAX {
            assert!(tries("carol", &format!("10.1.0.{n}"), 0), "{n}");
        }
        assert!(!tries("carol", "10.2.0.1", 0));
    }

    #[test]
    fn a_right_password_is_no_attempt() {
        let attempts = Attempts::default();
        for _ in 0..100 {
            assert!(attempts.begin(NOW, &"alice".into(), from("10.0.0.1")));
            attempts.succeeded(&"alice".into(), from("10.0.0.1"));
        }
    }

    #[test]
    fn memory_is_bounded() {
        let attempts = Attempts::default();
        for n in 0..4_000 {
            let address = Ipv6Addr::from_bits((n as u128) << 64);
            let at = NOW.plus_micros(n as i64);
            attempts.begin(at, &format!("u{n}").into(), Peer::ip(address.into(), None));
        }
        assert_eq!(attempts.0.lock().expect("not poisoned").len(), KEYS_MAX);
    }
}

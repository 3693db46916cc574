//! Identity: when two access records are the same event.
//!
//! The rule and its truth table are in `docs/design/identity.md`. In short: an event is the values
//! of its own columns as its own line states them, and a target's history is a **multiset** of such
//! values. An input that holds `n` equal events, against `m` stored from other inputs, adds
//! `max(0, n - m)`.
//!
//! A change of an array that left a file is that file: whoever tells of it, and however often, it is one.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::{Access, Action, Outcome, Peer, Principal, Text, Timestamp, WrittenTime};

/// The columns that make an event the one it is, borrowed from wherever they are stored.
///
/// Not among them is what depends on how much of a log was at hand: the process's start, joined
/// client metadata, a joined address, the classes. A copy that begins in mid-life knows less of
/// them, and its lines are still the same lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity<'a> {
    /// First name of the target.
    pub group: &'a str,
    /// Second name of the target.
    pub member: &'a str,
    /// What was tried.
    pub action: Action,
    /// The source's connection number.
    pub connection: Option<u64>,
    /// The time as the source wrote it.
    pub written_time: Written<'a>,
    /// The principal's name and database as [`stated_user`] has them; `None` for a principal that
    /// is not a user.
    pub user: Option<(&'a str, &'a str)>,
    /// The mechanism.
    pub mechanism: Option<&'a str>,
    /// The outcome's word.
    pub outcome: &'static str,
    /// The reason of a failure.
    pub reason: Option<&'a str>,
    /// The address and port, where the record itself states them.
    pub address: Option<(IpAddr, Option<u16>)>,
    /// The speculative flag, where the record states it.
    pub speculative: Option<bool>,
    /// The file that a change of an array left, below the array. Beside it only target and action count.
    pub object: Option<&'a str>,
}

/// The attribute that names the file which a change of an array left.
pub const OBJECT: &str = "object";

/// The file that a change of an array left, by its attribute; a name that JSON would have to escape is none
/// of any version of any format.
pub fn stated_object(action: Action, object: Option<&str>) -> Option<&str> {
    let is_plain = |text: &str| !text.chars().any(|c| c.is_control() || matches!(c, '"' | '\\'));
    object.filter(|text| action.is_of_arrays() && !text.is_empty() && is_plain(text))
}

/// Whether events of this hash are one, however many tell of them.
pub fn is_one(hash: u128) -> bool {
    hash & 1 == 1
}

/// The user as far as the record itself names one. The line of a denied action names nobody: its
/// principal is joined from the connection's login, which a copy that begins later does not have.
pub fn stated_user<'a>(
    action: Action,
    name: &'a str,
    database: &'a str,
) -> Option<(&'a str, &'a str)> {
    (action != Action::Authorize).then_some((name, database))
}

/// The time as the source wrote it, reduced to what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Written<'a> {
    /// One instant, however it was spelled.
    Instant(Timestamp),
    /// A text that names no single instant.
    Text(&'a str),
}

impl<'a> From<&'a Access> for Identity<'a> {
    fn from(access: &'a Access) -> Identity<'a> {
        let (group, member) = access.target.names();
        let object = access.attributes.get(OBJECT).map(Text::as_str);
        if let Some(object) = stated_object(access.action, object) {
            return Identity::of_object(group, member, access.action, object);
        }
        Identity {
            object: None,
            group,
            member,
            action: access.action,
            connection: access.connection,
            written_time: match &access.written_time {
                WrittenTime::Complete => Written::Instant(access.event_time),
                WrittenTime::Partial(text) => Written::Text(text),
            },
            user: match &access.principal {
                Principal::User { name, database } => stated_user(access.action, name, database),
                _ => None,
            },
            mechanism: access.mechanism.as_deref(),
            outcome: access.outcome.word(),
            reason: match &access.outcome {
                Outcome::Failure { reason, .. } => reason.as_deref(),
                Outcome::Success | Outcome::Unknown => None,
            },
            address: match access.peer {
                Peer::Ip { address, port } if !access.peer_joined => Some((address, port)),
                _ => None,
            },
            speculative: access.speculative,
        }
    }
}

impl<'a> Identity<'a> {
    /// Of a change that left a file. Whether what is gone was merged before is a judgement, which may fall
    /// otherwise later.
    pub fn of_object(
        group: &'a str,
        member: &'a str,
        action: Action,
        object: &'a str,
    ) -> Identity<'a> {
        let action = if action == Action::DeleteFragments { Action::Vacuum } else { action };
        Identity {
            group,
            member,
            action,
            connection: None,
            written_time: Written::Text(""),
            user: None,
            mechanism: None,
            outcome: "",
            reason: None,
            address: None,
            speculative: None,
            object: Some(object),
        }
    }

    /// A 128-bit hash under a secret key. The key must come from the process's random generator:
    /// with a key that is known, a client could choose user names that collide and so hide a login.
    pub fn hash(&self, key: &IdentityKey) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&key.0);
        // `Hash` writes lengths and discriminants, so neighbouring columns cannot run together.
        Hash::hash(self, &mut Forward(&mut hasher));
        // The last bit says which rule holds, see `is_one`.
        hasher.finish128().as_u128() & !1 | u128::from(self.object.is_some())
    }
}

/// The key of [`Identity::hash`]; lives as long as the process and is never stored.
#[derive(Clone)]
pub struct IdentityKey([u8; 16]);

impl IdentityKey {
    /// A key from 16 random bytes.
    pub fn new(random: &dyn crate::Random) -> IdentityKey {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        IdentityKey(bytes)
    }
}

/// `derive(Hash)` wants a `Hasher`; this hands everything on to the 128-bit one.
struct Forward<'a>(&'a mut SipHasher13);

impl Hasher for Forward<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::tests_support::login;
    use crate::time::CountingRandom;
    use crate::{Class, Client, Text};

    /// The truth table of docs/design/identity.md: each row changes one thing of one line.
    #[test]
    fn truth_table() {
        let check = |same: bool, what: &str, change: fn(&mut Access)| {
            let line = login();
            let mut other = login();
            change(&mut other);
            let key = IdentityKey::new(&CountingRandom::default());
            assert_eq!(Identity::from(&line) == Identity::from(&other), same, "{what}");
            let hashes = [Identity::from(&line).hash(&key), Identity::from(&other).hash(&key)];
            assert_eq!(hashes[0] == hashes[1], same, "hash: {what}");
        };
        check(true, "the same line", |_| {});
        check(true, "the copy does not know the process's start", |a| a.process_start = None);
        check(true, "the copy lacks the metadata line", |a| a.client = None);
        check(true, "other metadata was joined", |a| a.client = Some(Client::default().into()));
        check(true, "the copy cannot confirm", |a| a.classes.insert(Class::Unconfirmed));
        check(true, "other wrapping", |a| a.raw.push(b' '));
        check(false, "another host", |a| {
            a.target = crate::Target::Host { cluster: "orders".into(), host: "db-2:27017".into() };
        });
        check(false, "another action", |a| a.action = Action::Authorize);
        check(false, "another connection", |a| a.connection = Some(8));
        check(false, "one millisecond later", |a| a.event_time = a.event_time.plus_micros(1000));
        check(false, "another user", |a| {
            a.principal = Principal::User { name: "bob".into(), database: "admin".into() };
        });
        check(false, "another database", |a| {
            a.principal = Principal::User { name: "alice".into(), database: "shop".into() };
        });
        check(false, "another mechanism", |a| a.mechanism = Some("SCRAM-SHA-1".into()));
        check(false, "another outcome", |a| a.outcome = Outcome::Unknown);
        check(false, "another port", |a| a.peer = Peer::ip([10, 0, 0, 1].into(), Some(5)));
        check(false, "the other half of a speculative pair", |a| a.speculative = Some(false));
    }

    /// Goal: a change that left a file is that file, whoever tells of it. Method: the same file told of with
    /// another time, user, address and outcome; another file, array or action; a name that is none.
    #[test]
    fn a_change_that_left_a_file_is_that_file() {
        let told = |object: &str, change: fn(&mut Access)| {
            let target = crate::Target::Array { namespace: "alice".into(), array: "a".into() };
            let mut access = Access { target, action: Action::QueryWrite, ..login() };
            access.attributes.insert(OBJECT.into(), object.into());
            change(&mut access);
            access
        };
        let key = IdentityKey::new(&CountingRandom::default());
        let hash = |access: &Access| Identity::from(access).hash(&key);
        let first = told("__commits/x.wrt", |_| {});
        assert!(is_one(hash(&first)) && !is_one(hash(&login())));
        let same: [fn(&mut Access); 3] = [
            |a| a.event_time = a.event_time.plus_seconds(5),
            |a| a.principal = Principal::Unauthenticated,
            |a| (a.peer, a.outcome) = (Peer::Unknown, Outcome::Unknown),
        ];
        for change in same {
            assert_eq!(hash(&first), hash(&told("__commits/x.wrt", change)));
        }
        assert_ne!(hash(&first), hash(&told("__commits/y.wrt", |_| {})));
        assert_ne!(
            hash(&first),
            hash(&told("__commits/x.wrt", |a| a.action = Action::Consolidate))
        );
        assert!(!is_one(hash(&told("a\"b", |_| {}))));
        assert!(!is_one(hash(&told("x", |a| a.action = Action::Authenticate))));
    }

    #[test]
    fn an_address_that_was_joined_is_not_part_of_it() {
        let stated_none = Access { peer: Peer::Unknown, ..login() };
        let joined = Access { peer_joined: true, ..login() };
        assert_eq!(Identity::from(&stated_none), Identity::from(&joined));
    }

    /// A copy that begins after the login does not know whom the action was denied.
    #[test]
    fn the_joined_principal_of_a_denied_action_is_not_part_of_it() {
        let denied = Access { action: Action::Authorize, ..login() };
        let late_copy = Access { principal: Principal::Unauthenticated, ..denied.clone() };
        assert_eq!(Identity::from(&denied), Identity::from(&late_copy));
    }

    #[test]
    fn a_partial_time_is_its_text_whatever_the_guess() {
        let text = WrittenTime::Partial(Text::from("Mon Nov 23 02:47:25.918"));
        let guess = Access { written_time: text.clone(), ..login() };
        let better = Access { event_time: guess.event_time.plus_seconds(3600), ..guess.clone() };
        assert_eq!(Identity::from(&guess), Identity::from(&better));
        let complete = Access { written_time: WrittenTime::Complete, ..guess.clone() };
        assert_ne!(Identity::from(&guess), Identity::from(&complete));
    }
}

//! What a log says of its connections: where from, who said what of itself, who logged in.
//!
//! mongod numbers connections from 1 in each process life, each one more than the one before. The
//! lines of a connection are joined by that number: its address is in `connection accepted`, its
//! client's description in `client metadata`, and an authentication line may have neither.
//!
//! The same knowledge tells a forged line of a text log from a real one (see
//! [`Connections::standing`]). **Nothing in here may be cheap to poison:** a forged line must never
//! make a real login suspect, nor confirm one that was none.
//!
//! - An `end connection` counts only with the address that was accepted. It may be forged by who
//!   knows that address, its own client for one; so what comes from that very address afterwards is
//!   unknown and not contradicted.
//! - A number is accepted once in a process life. The first address stays. A second one is
//!   contradicted, with two exceptions in which the *first* may be the forged one (somebody wrote
//!   `accepted` lines ahead of the server): the newest number, and two or more consecutive numbers
//!   that are accepted again. There the second address is unknown.
//! - The range of numbers that are known to be complete moves only with two consecutive numbers.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use doorbook_event::{Client, Peer, Principal, Shared, Timestamp};

/// 1,048,576 connections. At about 100 bytes each the table is bounded by about 0.1 GB; mongod's own
/// default limit is below (`net.maxIncomingConnections`, 838,860 with common settings). Beyond it the
/// oldest are forgotten, and what is forgotten is unknown, not contradicted.
const CONNECTIONS_MAX: usize = 1 << 20;

/// How far out of order `accepted` lines of several listener threads may be.
const DISORDER_MAX: u64 = 64;

/// How many connections of a text log that have ended are remembered with their address.
const ENDED_MAX: usize = 4096;

/// One connection.
#[derive(Debug, Default)]
pub struct Connection {
    /// The address that its `accepted` line gave; `None` if the line was not seen.
    pub accepted: Option<Peer>,
    /// The address of a second `accepted` line, if it was another one.
    second: Option<Peer>,
    /// The second address may be the real one.
    is_second_possible: bool,
    /// An `end connection` was seen, which may be forged.
    has_ended: bool,
    /// What its client said of itself.
    pub client: Option<Shared<Client>>,
    /// Its last successful login.
    pub login: Option<Box<Principal>>,
    /// Its last authentication line was a refused speculative start; a fallback may follow.
    pub refused_start: Option<RefusedStart>,
}

impl Connection {
    /// Whether it seems to have ended.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The addresses that its lines may state.
    pub fn addresses(&self) -> impl Iterator<Item = Peer> {
        self.accepted
            .into_iter()
            .chain(self.second.filter(|_| self.is_second_possible || self.accepted.is_some()))
    }
}

/// A refused speculative start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedStart {
    /// Who: a hash, because names can be long and there is one of these for each connection.
    pub user: u64,
    /// When.
    pub at: Timestamp,
}

/// What the log's other lines say of a line that names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The connection was accepted from there and lives.
    Confirmed,
    /// It was accepted from elsewhere, or was never accepted, or has ended and the line does not
    /// come from its address.
    Contradicted,
    /// The log does not cover it, or says two things of it.
    Unknown,
}

/// An unbroken range of accepted numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u64,
    last: u64,
}

/// The connections of one process life.
#[derive(Debug, Default)]
pub struct Connections {
    table: HashMap<u64, Connection, BuildHasherDefault<NumberHasher>>,
    /// Numbers in the order in which they entered the table; those that left it are skipped.
    order: VecDeque<u64>,
    run: Option<Run>,
    /// A number outside the run; it becomes the run when its successor follows.
    candidate: Option<u64>,
    /// Numbers of the run that were accepted again, one after the other.
    again: Option<Run>,
    /// Numbers that have ended and are still in the table, oldest first.
    ended: VecDeque<u64>,
    /// `accepted` lines are switched off, or were in this process life.
    pub is_quiet: bool,
}

impl Connections {
    /// The connection, if anything is known of it.
    pub fn get(&self, number: u64) -> Option<&Connection> {
        self.table.get(&number)
    }

    /// The connection, if anything is known of it.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut Connection> {
        self.table.get_mut(&number)
    }

    /// The connection, known from now on; the oldest one may be forgotten for it.
    pub fn entry(&mut self, number: u64) -> &mut Connection {
        if !self.table.contains_key(&number) {
            if self.table.len() >= CONNECTIONS_MAX {
                self.forget_oldest();
            }
            if self.order.len() > 2 * self.table.len() + 1024 {
                self.order.retain(|number| self.table.contains_key(number));
            }
            self.order.push_back(number);
        }
        self.table.entry(number).or_default()
    }

    fn forget_oldest(&mut self) {
        while let Some(number) = self.order.pop_front() {
            if self.table.remove(&number).is_some() {
                // It is no longer known that every number of the run that is not here ended.
                if let Some(run) = &mut self.run {
                    run.first = run.first.max(number.saturating_add(1));
                }
                return;
            }
        }
    }

    /// `connection accepted`, in a log that cannot be forged.
    pub fn accept(&mut self, number: u64, peer: Peer) {
        self.extend_run(number);
        self.entry(number).accepted = Some(peer);
    }

    /// `connection accepted`, in a log that can be forged.
    pub fn accept_doubted(&mut self, number: u64, peer: Peer) {
        let is_in_run = self.run.is_some_and(|run| (run.first..=run.last).contains(&number));
        let known = self.table.get(&number);
        let first = known.and_then(|known| known.accepted);
        if !is_in_run && first.is_none() {
            return self.accept(number, peer);
        }
        if first == Some(peer) {
            return;
        }
        let is_newest = self.run.is_some_and(|run| run.last == number);
        let again = match self.again {
            Some(again) if again.last.checked_add(1) == Some(number) => {
                Run { first: again.first, last: number }
            }
            _ => Run { first: number, last: number },
        };
        self.again = Some(again);
        let is_forgotten = known.is_none();
        let connection = self.entry(number);
        connection.second = Some(peer);
        connection.is_second_possible = is_newest;
        if is_forgotten {
            // Every number of the run was accepted, so this one ended long ago.
            connection.has_ended = true;
            self.remember_ended(number);
        }
    }

    /// An `accepted` line that may be a part of another record: enough for what it says not to be
    /// contradicted, and not enough to confirm it.
    pub fn claim(&mut self, number: u64, peer: Peer) {
        if self.is_next(number) {
            self.extend_run(number);
            let connection = self.entry(number);
            connection.second = Some(peer);
            connection.is_second_possible = true;
        }
    }

    fn extend_run(&mut self, number: u64) {
        let Some(run) = &mut self.run else {
            self.run = Some(Run { first: number, last: number });
            return;
        };
        if run.last.checked_add(1) == Some(number) {
            run.last = number;
            self.candidate = None;
        } else if number <= run.last && run.last - number < DISORDER_MAX {
            // Out of order within the run.
        } else if let Some(candidate) = self.candidate
            && candidate.checked_add(1) == Some(number)
        {
            *run = Run { first: candidate, last: number };
            self.candidate = None;
        } else {
            self.candidate = Some(number);
        }
    }

    /// Whether an `accepted` of this number, in a log that cannot be forged, can only come from a
    /// new process.
    pub fn is_new_life(&self, number: u64) -> bool {
        let is_again = |run: Run| run.first <= 1 || run.last > DISORDER_MAX;
        number == 1 && self.run.is_some_and(is_again)
    }

    /// Whether this number continues the run.
    pub fn is_next(&self, number: u64) -> bool {
        number > 1 && self.run.is_some_and(|run| run.last.checked_add(1) == Some(number))
    }

    /// Whether any `accepted` was seen.
    pub fn has_run(&self) -> bool {
        self.run.is_some()
    }

    /// `end connection`, in a log that cannot be forged.
    pub fn end(&mut self, number: u64) {
        self.table.remove(&number);
    }

    /// `end connection`, in a log that can be forged.
    pub fn end_doubted(&mut self, number: u64, peer: Option<Peer>) {
        let Some(connection) = self.table.get_mut(&number) else { return };
        if connection.accepted.is_none() && connection.second.is_none() {
            // Not a matter of standing, only of what its client said.
            self.table.remove(&number);
        } else if connection.accepted.is_some() && connection.accepted == peer {
            let was_known = std::mem::replace(&mut connection.has_ended, true);
            if !was_known {
                self.remember_ended(number);
            }
        }
    }

    fn remember_ended(&mut self, number: u64) {
        self.ended.push_back(number);
        if self.ended.len() > ENDED_MAX
            && let Some(oldest) = self.ended.pop_front()
        {
            self.table.remove(&oldest);
        }
    }

    /// What the log says of a line that claims to be from connection `number`, and from `peer` if
    /// the line states an address.
    pub fn standing(&self, number: Option<u64>, peer: Option<Peer>) -> Standing {
        let Some(number) = number else { return Standing::Contradicted };
        let Some(known) = self.table.get(&number) else {
            return self.standing_of_unaccepted(number);
        };
        let is_of = |address: Option<Peer>| match (address, peer) {
            (Some(address), Some(peer)) => is_same_place(address, peer),
            (address, None) => address.is_some(),
            (None, Some(_)) => false,
        };
        if is_of(known.accepted) {
            return if known.has_ended { Standing::Unknown } else { Standing::Confirmed };
        }
        if is_of(known.second) {
            let is_again = |again: Run| {
                again.first < again.last && (again.first..=again.last).contains(&number)
            };
            let is_possible = known.is_second_possible || self.again.is_some_and(is_again);
            return if is_possible { Standing::Unknown } else { Standing::Contradicted };
        }
        match known.accepted.or(known.second) {
            Some(_) => Standing::Contradicted,
            None => self.standing_of_unaccepted(number),
        }
    }

    /// Whether the connection is one that seems to have ended.
    pub fn has_ended(&self, number: u64) -> bool {
        self.table.get(&number).is_some_and(Connection::has_ended)
    }

    fn standing_of_unaccepted(&self, number: u64) -> Standing {
        let Some(run) = self.run else { return Standing::Unknown };
        let is_beyond = number > run.last && self.candidate.is_some();
        if self.is_quiet || number < run.first || is_beyond {
            Standing::Unknown
        } else {
            Standing::Contradicted
        }
    }
}

/// Versions up to 3.2 write the address without its port in some lines.
fn is_same_place(accepted: Peer, stated: Peer) -> bool {
    match (accepted, stated) {
        (Peer::Ip { address, .. }, Peer::Ip { address: stated, port: None }) => address == stated,
        _ => accepted == stated,
    }
}

/// Connection numbers are counted up by the server; a multiplication spreads them well enough, and
/// what a client could force by choosing them is no worse than a slow table for its own log.
#[derive(Debug, Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let product = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> Peer {
        Peer::ip([10, 0, 0, 1].into(), Some(port))
    }

    #[test]
    fn a_login_stands_as_its_connection_does() {
        let mut known = Connections::default();
        let standing =
            |known: &Connections, number, port| known.standing(Some(number), Some(peer(port)));
        assert_eq!(standing(&known, 5, 1), Standing::Unknown, "nothing was accepted yet");
        known.accept_doubted(100, peer(1));
        known.accept_doubted(101, peer(2));
        assert_eq!(standing(&known, 100, 1), Standing::Confirmed);
        assert_eq!(standing(&known, 100, 9), Standing::Contradicted, "other address");
        assert_eq!(
            known.standing(Some(100), Some(Peer::ip([10, 0, 0, 1].into(), None))),
            Standing::Confirmed
        );
        assert_eq!(known.standing(Some(100), None), Standing::Confirmed);
        assert_eq!(standing(&known, 99, 1), Standing::Unknown, "accepted before the file");
        assert_eq!(standing(&known, 102, 1), Standing::Contradicted, "never accepted");
        known.end_doubted(100, Some(peer(1)));
        assert_eq!(standing(&known, 100, 1), Standing::Unknown, "ended, or so it says");
        assert_eq!(standing(&known, 100, 9), Standing::Contradicted, "ended, and elsewhere");
        assert_eq!(known.standing(None, Some(peer(1))), Standing::Contradicted, "no connection");
    }

    #[test]
    fn a_forged_line_does_not_make_a_real_login_suspect() {
        let mut known = Connections::default();
        known.accept_doubted(100, peer(1));
        known.end_doubted(100, Some(peer(666)));
        assert_eq!(known.standing(Some(100), Some(peer(1))), Standing::Confirmed, "forged end");
        known.accept_doubted(1, peer(666));
        assert_eq!(known.standing(Some(50), Some(peer(1))), Standing::Unknown, "forged low number");
        known.accept_doubted(101, peer(666));
        known.accept_doubted(101, peer(2));
        assert_eq!(
            known.standing(Some(101), Some(peer(2))),
            Standing::Unknown,
            "forged next number"
        );
        known.accept_doubted(9_999, peer(666));
        known.accept_doubted(102, peer(3));
        assert_eq!(
            known.standing(Some(102), Some(peer(3))),
            Standing::Confirmed,
            "forged high number"
        );
        assert_eq!(known.standing(Some(103), Some(peer(3))), Standing::Contradicted);
        known.accept_doubted(u64::MAX, peer(4));
        known.accept_doubted(0, peer(4));
    }

    #[test]
    fn a_number_is_accepted_once() {
        let mut known = Connections::default();
        let standing =
            |known: &Connections, number, port| known.standing(Some(number), Some(peer(port)));
        for number in 1..10_u16 {
            known.accept_doubted(number.into(), peer(number));
        }
        known.end_doubted(1, Some(peer(1)));
        known.accept_doubted(1, peer(666));
        assert_eq!(standing(&known, 1, 666), Standing::Contradicted, "ended");
        known.accept_doubted(5, peer(666));
        assert_eq!(standing(&known, 5, 5), Standing::Confirmed, "live");
        assert_eq!(standing(&known, 5, 666), Standing::Contradicted, "live");
        // Somebody wrote 10 to 12 ahead of the server, that counts on from 10.
        for number in 10..13 {
            known.accept_doubted(number, peer(666));
            known.end_doubted(number, Some(peer(666)));
        }
        for number in 10..13_u16 {
            known.accept_doubted(number.into(), peer(number));
        }
        for number in 10..13_u16 {
            assert_eq!(standing(&known, number.into(), number), Standing::Unknown);
        }
    }

    #[test]
    fn what_has_ended_is_remembered_within_bounds() {
        let mut known = Connections::default();
        for number in 1..10_000 {
            known.accept_doubted(number, peer(1));
            known.end_doubted(number, Some(peer(1)));
        }
        assert_eq!(known.table.len(), ENDED_MAX);
        known.accept_doubted(3, peer(666));
        assert_eq!(known.standing(Some(3), Some(peer(666))), Standing::Contradicted);
        assert!(known.table.len() <= ENDED_MAX);
    }

    #[test]
    fn the_table_is_bounded_and_what_it_forgets_is_unknown() {
        let mut known = Connections::default();
        for number in 1..=(CONNECTIONS_MAX as u64 + 10) {
            known.accept_doubted(number, peer(1));
        }
        assert!(known.table.len() <= CONNECTIONS_MAX);
        assert_eq!(known.standing(Some(5), Some(peer(1))), Standing::Unknown);
        for number in 1..=(CONNECTIONS_MAX as u64 + 10) {
            known.end(number);
        }
        for number in 1..5000 {
            known.accept_doubted(number, peer(1));
            known.end(number);
        }
        assert!(known.order.len() <= 4096, "{}", known.order.len());
    }
}

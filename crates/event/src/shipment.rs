//! What an agent and its server say to each other: [`Orders`], [`Shipment`] and [`Receipt`].
//!
//! CBOR, maps by number; `docs/design/agent.md` says how they travel. Member 0 of each is the version of
//! the protocol, [`VERSION`]. A side ignores members that it does not know; members that came later are
//! absent in what an older side says, and mean then what they meant before they came. What can come in
//! kinds that an older side does not know (sources, advances) travels as bytes of its own, so that one that
//! cannot be read keeps no other one back.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::advance::{Advance, Advanced};
use crate::source::{Source, State};
use crate::unknown::UnknownIds;
use crate::{Text, Timestamp};

/// The version of the protocol that this is.
pub const VERSION: u64 = 1;

/// A shipment's size at most, unpacked: what a side keeps in memory of another one's.
pub const SIZE_BYTES_MAX: usize = 8 << 20;

/// The type of a body.
pub const CONTENT_TYPE: &str = "application/cbor";

/// What an agent is to follow.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Orders {
    /// [`VERSION`]
    #[n(0)]
    pub version: u64,
    /// The agent's name.
    #[n(1)]
    pub agent: Text,
    /// Its sources, those that rest, too.
    #[n(2)]
    pub sources: Vec<Order>,
}

/// A source that an agent is to follow.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Order {
    /// The source's name.
    #[n(0)]
    pub name: Text,
    /// The source as the registry has it; read with [`Order::source`].
    #[n(1)]
    pub source: ByteVec,
    /// Other names of its host.
    #[n(2)]
    pub aliases: Vec<Text>,
    /// Where the server has it, in the source's own form; empty if it begins.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub position: Vec<u8>,
    /// How far the server has it.
    #[n(4)]
    pub through: Option<Timestamp>,
}

impl Order {
    /// An order to follow a source from there on.
    pub fn new(
        source: &Source,
        aliases: Vec<Text>,
        position: Vec<u8>,
        through: Option<Timestamp>,
    ) -> Order {
        let bytes = to_vec(source).into();
        Order { name: source.name.clone(), source: bytes, aliases, position, through }
    }

    /// The source, if this version can follow its kind.
    pub fn source(&self) -> Option<Source> {
        minicbor::decode(&self.source).ok()
    }
}

/// What an agent has for its server, and how it is.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Shipment {
    /// [`VERSION`]
    #[n(0)]
    pub version: u64,
    /// When it was sent, by the agent's clock.
    #[n(1)]
    pub sent: Timestamp,
    /// How each of its sources is.
    #[n(2)]
    pub reports: Vec<Report>,
    /// [`Advance`]s, the oldest first; written with [`to_vec`].
    #[n(3)]
    pub advances: Vec<ByteVec>,
    /// The agent's own version, for people.
    #[n(4)]
    pub agent_version: Text,
}

/// How a source is that an agent follows.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Report {
    /// The source's name.
    #[n(0)]
    pub source: Text,
    /// What it does.
    #[n(1)]
    pub state: State,
    /// Why it does not do more.
    #[n(2)]
    pub message: Option<Text>,
    /// Bytes that are there and not read yet.
    #[n(3)]
    pub behind_bytes: u64,
    /// Messages that the agent does not know, since it began.
    #[cbor(n(4), default, skip_if = "UnknownIds::is_empty")]
    pub unknown_ids: UnknownIds,
}

/// What became of a shipment.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Receipt {
    /// [`VERSION`]
    #[n(0)]
    pub version: u64,
    /// Of each advance.
    #[n(1)]
    pub answers: Vec<Answer>,
}

/// What became of an advance.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Answer {
    /// It is durable.
    #[n(0)]
    Stored(#[n(0)] Advanced),
    /// It was durable before: the answer was lost.
    #[n(1)]
    StoredBefore,
    /// The source stands elsewhere, or is not this agent's to follow now.
    #[n(2)]
    Elsewhere {
        /// Where; empty if it begins.
        #[cbor(n(0), with = "minicbor::bytes")]
        position: Vec<u8>,
        /// How far the server has it.
        #[n(1)]
        through: Option<Timestamp>,
    },
    /// It says what this agent may not say, or nothing that can be read; told why.
    #[n(3)]
    Refused(#[n(0)] Text),
}

/// The wire form of one of these.
pub fn to_vec<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("memory takes all that is written to it")
}

/// One of these from its wire form; the text says what is wrong.
pub fn read<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, String> {
    minicbor::decode(bytes).map_err(|error| error.to_string())
}

/// An advance from its wire form.
pub fn read_advance(bytes: &[u8]) -> Result<Advance, String> {
    read(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::tests_support::login;
    use crate::record::{ClockState, Coverage, Grade, Heartbeat, Hidden, Place, Quarantine};
    use crate::source::{SourceKind, Subject};
    use crate::{Access, HostName, Target};

    const AT: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn source() -> Source {
        Source {
            name: "db-1".into(),
            kind: SourceKind::MongodLog,
            subject: Subject::Host {
                project: "32b6e34b3d91647abb20e7b8".parse().expect("an id"),
                cluster: "orders".into(),
                host: HostName::parse("db-1").expect("a host").0,
            },
            path: "/var/log/mongodb/mongod.log".into(),
            zone: "UTC".into(),
            paused: false,
            agent: Some("edge-1".into()),
            rules: Vec::new(),
            interval_seconds: None,
        }
    }

    fn target() -> Target {
        source().target()
    }

    fn orders() -> Orders {
        let order = Order::new(&source(), vec!["db-one".into()], b"p0".to_vec(), Some(AT));
        Orders { version: 1, agent: "edge-1".into(), sources: vec![order] }
    }

    fn advance() -> Advance {
        let gap = Coverage {
            target: target(),
            actions: SourceKind::MongodLog.actions().to_vec(),
            hidden: Hidden::All,
            cause: "rotated away".into(),
            actor: None,
            from: AT.plus_seconds(-600),
            to: Some(AT.plus_seconds(-300)),
            last_seen: AT.plus_seconds(-300),
            source: Some("db-1".into()),
            grade: Grade::Blind,
            missing: None,
        };
        let quarantine = Quarantine {
            target: target(),
            reason: "not JSON".into(),
            place: Place { file: "mongod.log".into(), line: 2, offset_bytes: 7 },
            bytes: b"{".to_vec(),
            length_bytes: 1,
            sha256: [1; 32],
        };
        let heartbeat = Heartbeat {
            source: "db-1".into(),
            target: target(),
            at: AT,
            through: Some(AT),
            lines: 2,
            events: 1,
            behind_bytes: 0,
            delay_micros: Some(1000),
            clock: ClockState { synchronised: Some(true), ..ClockState::default() },
        };
        Advance {
            source: source(),
            after: Vec::new(),
            position: b"p1".to_vec(),
            is_next_file: true,
            accesses: vec![Access { target: target(), event_time: AT, ..login() }],
            coverage: vec![gap],
            quarantine: vec![quarantine],
            heartbeat: Some(heartbeat),
            through: Some(AT),
            since: Some(AT.plus_seconds(-900)),
            lines: 2,
            doubt: None,
        }
    }

    fn shipment() -> Shipment {
        let report = Report {
            source: "db-1".into(),
            state: State::Following,
            message: None,
            behind_bytes: 12,
            unknown_ids: UnknownIds::default(),
        };
        Shipment {
            version: 1,
            sent: AT,
            reports: vec![report],
            advances: vec![to_vec(&advance()).into()],
            agent_version: "0.1.0".into(),
        }
    }

    fn receipt() -> Receipt {
        let stored = Advanced { events: 1, duplicates: 2, expired: 3, quarantined: 4 };
        let elsewhere = Answer::Elsewhere { position: b"p9".to_vec(), through: Some(AT) };
        let refused = Answer::Refused("no source db-9".into());
        let answers = vec![Answer::Stored(stored), Answer::StoredBefore, elsewhere, refused];
        Receipt { version: 1, answers }
    }

    #[track_caller]
    fn is_fixed<T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + std::fmt::Debug>(
        value: &T,
        fixture: &[u8],
    ) {
        assert_eq!(read::<T>(fixture).as_ref(), Ok(value));
        assert_eq!(hex::encode(to_vec(value)), hex::encode(fixture));
    }

    /// Goal: what version 1 of the protocol says is read for ever, and said so. Method: the bytes, kept as
    /// files. Whoever changes one of these files breaks agents that run somewhere.
    #[test]
    fn version_1_is_what_it_was() {
        is_fixed(&orders(), include_bytes!("../fixtures/orders-1.cbor"));
        is_fixed(&shipment(), include_bytes!("../fixtures/shipment-1.cbor"));
        is_fixed(&receipt(), include_bytes!("../fixtures/receipt-1.cbor"));
        assert_eq!(orders().sources[0].source(), Some(source()));
        assert_eq!(read_advance(&shipment().advances[0]), Ok(advance()));
    }

    /// Goal: a newer side can say more. Method: members with numbers that this version does not have.
    #[test]
    fn what_is_not_known_is_passed_over() {
        for fixture in [&to_vec(&orders()), &to_vec(&shipment()), &to_vec(&receipt())] {
            let mut more = fixture.clone();
            // A map of n members becomes one of n + 1.
            assert!((0xa0..0xb7).contains(&more[0]), "{:x}", more[0]);
            more[0] += 1;
            more.extend(to_vec(&200_u64));
            more.extend(to_vec(&vec!["more"; 3]));
            let read = (
                read::<Orders>(&more).ok(),
                read::<Shipment>(&more).ok(),
                read::<Receipt>(&more).ok(),
            );
            let known = (Some(orders()), Some(shipment()), Some(receipt()));
            assert!(read.0 == known.0 || read.1 == known.1 || read.2 == known.2, "{read:?}");
        }
    }

    /// A kind of source that an older agent cannot follow keeps the others back from nothing.
    #[test]
    fn a_source_of_an_unknown_kind_is_no_source_alone() {
        let mut orders = orders();
        let at = orders.sources[0].source.windows(2).position(|two| two == [1, 0]);
        let mut unknown = orders.sources[0].clone();
        unknown.source[at.expect("member 1, kind 0") + 1] = 23;
        orders.sources.insert(0, unknown);
        let read: Orders = read(&to_vec(&orders)).expect("reads");
        assert_eq!(read.sources[0].source(), None);
        assert_eq!(read.sources[1].source(), Some(source()));
    }

    proptest! {
        /// Whatever comes, it is one of these or an error.
        #[test]
        fn foreign_bytes_do_not_panic(bytes: Vec<u8>, at in 0_usize..600, byte: u8) {
            let mut damaged = to_vec(&shipment());
            let at = at % damaged.len();
            damaged[at] = byte;
            for bytes in [bytes, damaged] {
                let _whatever = read::<Orders>(&bytes);
                let _whatever = read::<Receipt>(&bytes);
                if let Ok(shipment) = read::<Shipment>(&bytes) {
                    let _whatever: Vec<_> =
                        shipment.advances.iter().map(|bytes| read_advance(bytes)).collect();
                }
            }
        }
    }
}

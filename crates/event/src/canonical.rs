//! The canonical encoding of an access: the bytes that leaves of the proof tree will hash.
//!
//! Two encodings, so that what identifies a person can be erased without breaking a proof:
//! [`public`] holds what may stay for ever, [`personal`] the rest. Both are deterministic CBOR
//! (RFC 8949 §4.2: shortest integers, definite lengths, ascending integer keys; members without a
//! value are left out), so that an auditor needs no code of ours to rebuild them. The keys are
//! listed in `docs/design/canonical.md` and are never reused; the test vectors below are repeated
//! there.

use minicbor::Encoder;

use crate::{Access, Classes, LogId, Outcome, Peer, Principal, Scope, Seq, Timestamp, WrittenTime};

/// Version of both encodings; the first member of the public one.
pub const VERSION: u8 = 1;

/// What a record's place adds to the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    /// Whose history.
    pub scope: &'a Scope,
    /// Number of the record's kind.
    pub kind: u8,
    /// Which log of the scope.
    pub log: LogId,
    /// Position in that log.
    pub seq: Seq,
    /// When we received it, by our clock.
    pub ingest_time: Timestamp,
    /// The name of the source.
    pub source: &'a str,
}

/// What may stay for ever: `{0: version, 1: kind, 2: scope, 3: target names, 4: action, 5: outcome,
/// 6: event_time, 7: ingest_time, 8: source, 9: log, 10: seq}`, times in microseconds.
pub fn public(placed: &Placed<'_>, access: &Access) -> Vec<u8> {
    let (group, member) = access.target.names();
    let mut members = Members::new();
    members.put(0, |e| e.u8(VERSION).map(drop));
    members.put(1, |e| e.u8(placed.kind).map(drop));
    members.put(2, |e| e.str(&placed.scope.to_string()).map(drop));
    members.put(3, |e| e.array(2)?.str(group)?.str(member).map(drop));
    members.put(4, |e| e.str(access.action.word()).map(drop));
    members.put(5, |e| e.str(access.outcome.word()).map(drop));
    members.put(6, |e| e.i64(access.event_time.micros()).map(drop));
    members.put(7, |e| e.i64(placed.ingest_time.micros()).map(drop));
    members.put(8, |e| e.str(placed.source).map(drop));
    members.put(9, |e| e.u32(placed.log.0).map(drop));
    members.put(10, |e| e.u64(placed.seq).map(drop));
    members.finish()
}

/// What identifies or may identify a person: `{0: principal kind, 1: principal names, 2: address,
/// 3: port, 4: mechanism, 5: connection, 6: client, 7: reason, 8: code, 9: written time,
/// 10: attributes, 11: raw record, 12: classes, 13: process start, 14: speculative, 15: the address
/// was joined, 16: task id}`. Together with the public half every column is covered. Addresses are text in the form of RFC 5952; the client is
/// `[application, driver, driver version, os, platform, via, origin]` with null for what it did not
/// say; a complete written time, no classes and an address that was not joined are left out.
pub fn personal(access: &Access) -> Vec<u8> {
    let mut members = Members::new();
    members.put(0, |e| e.str(access.principal.kind()).map(drop));
    match &access.principal {
        Principal::User { name, database } => {
            members.put(1, |e| e.array(2)?.str(name)?.str(database).map(drop));
        }
        Principal::ApiKey(name) | Principal::ServiceAccount(name) => {
            members.put(1, |e| e.array(1)?.str(name).map(drop));
        }
        Principal::OsUser { uid, name } => members.put(1, |e| {
            e.array(2)?.u32(*uid)?;
            optional(e, name.as_deref())
        }),
        Principal::Unauthenticated | Principal::Doorbook => {}
    }
    match access.peer {
        Peer::Unknown => {}
        Peer::UnixSocket => members.put(2, |e| e.str("unix").map(drop)),
        Peer::Ip { address, port } => {
            members.put(2, |e| e.str(&address.to_string()).map(drop));
            if let Some(port) = port {
                members.put(3, |e| e.u16(port).map(drop));
            }
        }
    }
    if let Some(mechanism) = &access.mechanism {
        members.put(4, |e| e.str(mechanism).map(drop));
    }
    if let Some(connection) = access.connection {
        members.put(5, |e| e.u64(connection).map(drop));
    }
    if let Some(client) = &access.client {
        members.put(6, |e| {
            e.array(7)?;
            for text in [
                &client.application,
                &client.driver,
                &client.driver_version,
                &client.os,
                &client.platform,
                &client.via,
            ] {
                optional(e, text.as_deref())?;
            }
            optional(e, client.origin.map(|peer| peer.to_string()).as_deref())
        });
    }
    if let Outcome::Failure { reason, code } = &access.outcome {
        if let Some(reason) = reason {
            members.put(7, |e| e.str(reason).map(drop));
        }
        if let Some(code) = code {
            members.put(8, |e| e.i64(*code).map(drop));
        }
    }
    if let WrittenTime::Partial(text) = &access.written_time {
        members.put(9, |e| e.str(text).map(drop));
    }
    if !access.attributes.is_empty() {
        members.put(10, |e| {
            // Deterministic CBOR sorts text keys by their encoded bytes: shorter ones first.
            let mut sorted: Vec<_> = access.attributes.iter().collect();
            sorted.sort_by_key(|(name, _)| (name.len(), name.as_bytes()));
            e.map(sorted.len() as u64)?;
            sorted.into_iter().try_for_each(|(name, value)| e.str(name)?.str(value).map(drop))
        });
    }
    if !access.raw.is_empty() {
        members.put(11, |e| e.bytes(&access.raw).map(drop));
    }
    if access.classes != Classes::NONE {
        members.put(12, |e| e.u16(access.classes.bits()).map(drop));
    }
    if let Some(process_start) = access.process_start {
        members.put(13, |e| e.i64(process_start.micros()).map(drop));
    }
    if let Some(speculative) = access.speculative {
        members.put(14, |e| e.bool(speculative).map(drop));
    }
    if access.peer_joined {
        members.put(15, |e| e.bool(true).map(drop));
    }
    if let Some(task_id) = &access.task_id {
        members.put(16, |e| e.str(task_id).map(drop));
    }
    members.finish()
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn optional(e: &mut Encoder<Vec<u8>>, text: Option<&str>) -> Written {
    match text {
        Some(text) => e.str(text).map(drop),
        None => e.null().map(drop),
    }
}

/// A CBOR map whose size is known only at the end.
struct Members {
    count: u64,
    encoder: Encoder<Vec<u8>>,
}

impl Members {
    fn new() -> Members {
        Members { count: 0, encoder: Encoder::new(Vec::new()) }
    }

    fn put(&mut self, key: u8, value: impl FnOnce(&mut Encoder<Vec<u8>>) -> Written) {
        self.count += 1;
        self.encoder.u8(key).expect("a Vec takes every byte");
        value(&mut self.encoder).expect("a Vec takes every byte");
    }

    fn finish(self) -> Vec<u8> {
        let mut whole = Encoder::new(Vec::new());
        whole.map(self.count).expect("a Vec takes every byte");
        let mut whole = whole.into_writer();
        whole.extend_from_slice(self.encoder.writer());
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProjectId;
    use crate::access::tests_support::login;

    /// Test vectors of docs/design/canonical.md. If one fails, proofs of old records break.
    #[test]
    fn vectors() {
        let scope = Scope::Project(ProjectId::new([0x32; 12]));
        let placed = Placed {
            scope: &scope,
            kind: 1,
            log: LogId(3),
            seq: 41,
            ingest_time: Timestamp::from_millis(1_682_476_740_000),
            source: "mongod-log",
        };
        assert_eq!(hex::encode(public(&placed, &login())), PUBLIC);
        assert_eq!(hex::encode(personal(&login())), PERSONAL);
    }

    const PUBLIC: &str = concat!(
        "ab0001010102782070726f6a6563742f333233323332333233323332333233323332333233323332",
        "0382666f72646572736a64622d313a3237303137046c61757468656e746963617465056773756363",
        "657373061b0005fa3424381d70071b0005fa34246e3900086a6d6f6e676f642d6c6f6709030a1829",
    );
    const PERSONAL: &str = concat!(
        "aa006475736572018265616c6963656561646d696e026831302e302e302e310304046d534352414d",
        "2d5348412d323536050706876a6f72646572732d617069f6f6f6f6f6f60b477b2274223a317d0d1b",
        "0005f9c5248320000ef5",
    );

    /// The public half must not move with anything personal, or erasure would break it.
    #[test]
    fn the_public_half_holds_nothing_personal() {
        let scope = Scope::System;
        let placed = Placed {
            scope: &scope,
            kind: 1,
            log: LogId(0),
            seq: 0,
            ingest_time: Timestamp::from_seconds(0),
            source: "x",
        };
        let other = Access {
            principal: Principal::Unauthenticated,
            peer: Peer::Unknown,
            client: None,
            connection: None,
            mechanism: None,
            raw: Vec::new(),
            ..login()
        };
        assert_eq!(public(&placed, &login()), public(&placed, &other));
        assert_ne!(personal(&login()), personal(&other));
    }

    /// Whatever column is changed, one of the halves changes with it.
    #[test]
    fn every_column_is_in_one_of_the_halves() {
        let scope = Scope::System;
        let placed = Placed {
            scope: &scope,
            kind: 1,
            log: LogId(0),
            seq: 0,
            ingest_time: Timestamp::from_seconds(0),
            source: "x",
        };
        let halves = |access: &Access| (public(&placed, access), personal(access));
        let check = |what: &str, change: fn(&mut Access)| {
            let mut other = login();
            change(&mut other);
            assert_ne!(halves(&login()), halves(&other), "{what}");
        };
        check("target", |a| {
            a.target = crate::Target::Own { kind: "orders".into(), name: "x".into() };
        });
        check("event_time", |a| a.event_time = a.event_time.plus_micros(1));
        check("written_time", |a| a.written_time = WrittenTime::Partial("x".into()));
        check("action", |a| a.action = crate::Action::Authorize);
        check("outcome", |a| a.outcome = Outcome::Unknown);
        check("reason", |a| {
            a.outcome = Outcome::Failure { reason: Some("x".into()), code: None };
            assert_ne!(personal(a), {
                let mut without = a.clone();
                without.outcome = Outcome::Failure { reason: None, code: Some(18) };
                personal(&without)
            });
        });
        check("principal", |a| a.principal = Principal::Unauthenticated);
        check("mechanism", |a| a.mechanism = None);
        check("peer", |a| a.peer = Peer::UnixSocket);
        check("peer_joined", |a| a.peer_joined = true);
        check("connection", |a| a.connection = None);
        check("process_start", |a| a.process_start = None);
        check("client", |a| a.client = None);
        check("speculative", |a| a.speculative = Some(false));
        check("classes", |a| a.classes.insert(crate::Class::Suspect));
        check("attributes", |a| {
            a.attributes.insert("a".into(), "b".into());
        });
        check("raw", |a| a.raw.push(0));
    }
}

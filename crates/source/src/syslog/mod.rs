//! Syslog: messages out of a stream of bytes, and what each says of itself and of its line.
//!
//! A sender connects and sends messages, one after the other. [`Framer`] finds where each ends (RFC 6587),
//! and [`arrival`] makes of it a line with labels (RFC 5424, RFC 3164, and what is written in their name):
//!
//! | label | what it is |
//! |---|---|
//! | `syslog.host` | the host that the message names |
//! | `syslog.tag` | the program, without its process id: APP-NAME of RFC 5424, the tag of RFC 3164 |
//! | `syslog.procid`, `syslog.msgid` | the process; the kind of message (RFC 5424) |
//! | `syslog.facility`, `syslog.severity` | words: `daemon`, `local0`; `info`, `err` |
//! | `syslog.sd.ID.NAME` | a parameter of the structured data |
//!
//! What a message does not say has no label. Whoever receives adds what it knows itself, such as the
//! sender's address. That is kept with the message: [`Arrival::received`] is those labels as an object of
//! JSON, a line feed, and the message.
//!
//! # A line that is not whole
//!
//! A message that is longer than [`MESSAGE_BYTES_MAX`], or in the middle of which its connection ended, is a
//! [`Frame`] with a [`Cut`](crate::Cut): half a user name is a login that never was. What a relay cut off before
//! it came here nobody can tell from the outside; a line in JSON is unreadable then.
//!
//! Nothing here panics or grows with what a sender writes.

mod frame;
pub(crate) mod header;
mod message;
pub(crate) mod times;

pub use frame::{Frame, Framer, Lost, MESSAGE_BYTES_MAX};
pub use message::Message;

use std::collections::BTreeMap;

use crate::{Arrival, Labels};

/// A message as a line with labels. `known` is what its receiver knows besides; it stands before what the
/// message says.
pub fn arrival(frame: &Frame, known: &Labels) -> Arrival {
    let message = Message::read(&frame.bytes);
    let mut labels = message.labels();
    let mut said = BTreeMap::new();
    for (label, value) in known.iter() {
        labels.set(label.clone(), value.clone());
        said.insert(label.as_str(), value.as_str());
    }
    let mut received = serde_json::to_vec(&said).expect("texts can be written");
    received.push(b'\n');
    received.extend_from_slice(&frame.bytes);
    Arrival { labels, line: message.line().to_vec(), received, cut: frame.cut }
}

/// What was kept as received, read again.
pub fn again(received: &[u8]) -> Arrival {
    let mut known = Labels::default();
    let end = received.iter().position(|b| *b == b'\n').unwrap_or(0);
    let (said, message) = received.split_at(end);
    for (label, value) in
        serde_json::from_slice::<BTreeMap<String, String>>(said).unwrap_or_default()
    {
        known.set(label, value);
    }
    let bytes = message.strip_prefix(b"\n").unwrap_or(message).to_vec();
    arrival(&Frame { bytes, cut: None }, &known)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What waits is what it was when it is read again, with what only its receiver knew.
    #[test]
    fn what_was_kept_comes_back() {
        let mut known = Labels::default();
        known.set("syslog.peer", "192.0.2.7");
        known.set("syslog.host", "said by \"whom\"\n");
        let bytes = b"<14>Nov 23 17:14:42 db-1 mongod[7]: {\"t\":\n1}".to_vec();
        let first = arrival(&Frame { bytes, cut: None }, &known);
        assert_eq!(first.line, b"{\"t\":\n1}");
        assert_eq!(first.labels.get("syslog.host").map(|it| &**it), Some("said by \"whom\"\n"));
        assert_eq!(first.labels.get("syslog.procid").map(|it| &**it), Some("7"));
        assert_eq!(again(&first.received), first);
        for any in [&b""[..], b"\n", b"<14>x", b"{}\n", b"{\n"] {
            assert_eq!(again(any).cut, None);
        }
    }
}

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
//! sender's address.
//!
//! # A line that is not whole
//!
//! A message that is longer than [`MESSAGE_BYTES_MAX`], or in the middle of which its connection ended, is a
//! [`Frame`] with a [`Cut`]: half a user name is a login that never was. What a relay cut off before
//! it came here nobody can tell from the outside; a line in JSON is unreadable then.
//!
//! Nothing here panics or grows with what a sender writes.

mod frame;
pub(crate) mod header;
mod message;
pub(crate) mod times;

pub use frame::{Frame, Framer, Lost, MESSAGE_BYTES_MAX};
pub use message::Message;

use crate::Arrival;

/// A message as a line with labels.
pub fn arrival(frame: Frame) -> Arrival {
    let message = Message::read(&frame.bytes);
    let (labels, line) = (message.labels(), message.line().to_vec());
    Arrival { labels, line, received: frame.bytes, cut: frame.cut }
}

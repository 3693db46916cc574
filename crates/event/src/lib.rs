//! The vocabulary of Doorbook: what every other crate means by a record, a target, a principal,
//! an outcome, an instant.
//!
//! **Invariant:** no I/O, no wall clock, no randomness, and no name of a foreign API or log format.
//! Whoever needs the time or a random number is handed a [`Clock`] or a [`Random`].
//!
//! Suggested reading order: [`time`], [`mod@uuid`], [`target`], [`access`], [`record`], [`identity`],
//! [`canonical`], [`registry`], [`arrays`], [`source`], [`review`], [`advance`], [`shipment`],
//! [`retention`], [`public_id`].

pub mod access;
pub mod advance;
pub mod arrays;
pub mod attributes;
pub mod canonical;
pub mod identity;
pub mod public_id;
pub mod record;
pub mod registry;
pub mod retention;
pub mod review;
pub mod shipment;
pub mod source;
pub mod target;
pub mod text;
pub mod time;
pub mod unknown;
pub mod uuid;

pub use access::{Access, Action, Class, Classes, Client, Outcome, Peer, Principal, WrittenTime};
pub use attributes::Attributes;
pub use public_id::{PublicId, PublicIds};
pub use record::Record;
pub use target::{HostName, LogId, ProjectId, Scope, Seq, Target};
pub use text::{Shared, Text};
pub use time::{Clock, Random, Timestamp};

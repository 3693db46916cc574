//! Our own form of an event: one flat JSON object on one line, the form of shippers that know what
//! they tell, and of events that leave. `docs/design/ingest.md` is its description for people.
//!
//! [`Reader`] reads, [`write()`] writes, and what was written reads as the same [`Access`](doorbook_event::Access). Reading is
//! strict: a line is an event as a whole or it is unreadable, with a reason that names the member.
//! Nothing is guessed, nothing a sender said is passed over: what no column has a place for becomes
//! an attribute. Version 1 of the form has no version member; a later one adds members, and never
//! changes what one means.
//!
//! A line with the member `amends` is no event: it tells more about one that was sent before.
//!
//! The target is what the sender calls it. Which host of which cluster that is, only the registry
//! can tell.

mod client;
mod members;
mod read;
mod shape;
#[cfg(test)]
mod tests;
mod write;

pub use read::{About, Line, Reader, Unreadable};
pub use write::{write, write_text};

/// 64 KiB: as much as a quarantine entry holds, so that a line which cannot be read is kept whole.
/// mongod was seen to write 20.9 kB.
pub const LINE_BYTES_MAX: usize = doorbook_event::record::Quarantine::BYTES_MAX;

/// Attributes of one event.
pub const ATTRIBUTES_MAX: usize = 128;

/// The name of an attribute.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 128;

//! From the outside to records: one module per kind of input.
//!
//! **Invariant:** knows [`doorbook_event`] only. Every foreign input format lives here and nowhere
//! else; nothing here knows how records are stored or served, and nothing here takes the time or
//! a random number by itself.
//!
//! Suggested reading order: [`batch`], [`input`] (files to physical lines), [`wrapping`] (what
//! transports put around a line), [`mongod`] (lines to records), [`follow`] (files that are written),
//! [`watch`] (all of these for one host), [`following`] (what of that is to be stored), [`arrival`],
//! [`labelled`] and [`syslog`] (lines that are sent to us), [`document`] (our own form of an event), [`tiledb`]
//! (what was done with an array, by the names of its files), [`object_log`] (the same, by what its store wrote
//! of who came).

pub mod arrival;
pub mod batch;
pub mod document;
pub mod follow;
pub mod following;
pub mod input;
pub mod labelled;
pub mod mongod;
pub mod object_log;
pub mod syslog;
pub mod tiledb;
pub mod watch;
pub mod wrapping;

mod intern;
mod json;

pub use arrival::{Arrival, Cut, Labels};
pub use batch::Batch;
pub use watch::Watch;

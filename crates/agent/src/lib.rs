//! The agent: follows logs on a host that the server cannot read, and ships what they say, once.
//!
//! **Invariant:** knows [`doorbook_event`] and [`doorbook_source`] only, nothing of how records are stored
//! or answered, and nothing async: it runs beside databases. It reads only what its own configuration allows,
//! whatever the server asks for.
//!
//! `docs/design/agent.md` says how it is made, `docs/agent.md` how it is used. Suggested reading order:
//! [`spool`], [`reader`], [`shipper`], [`https`], [`allowed`], [`settings`], [`run`]. [`system`] and
//! [`logging`] are shared with the server's binary.

pub mod allowed;
pub mod https;
pub mod logging;
pub mod reader;
pub mod run;
pub mod settings;
pub mod shared;
pub mod shipper;
pub mod spool;
pub mod system;

#[cfg(test)]
mod tests;

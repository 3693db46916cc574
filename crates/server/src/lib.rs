//! The server: the Atlas-compatible and the TileDB-compatible API and our own, who may use them, and the record of who did;
//! how its owner manages it, and how logs get in.
//!
//! **Invariant:** the only crate that knows an API's wire format. It reads and writes the history
//! through [`doorbook_store::Store`] alone, and holds no state that a restart must not lose.
//!
//! Suggested reading order. Answers: [`app`], [`auth`], [`filter`], [`coverage`], [`api::atlas`], [`api::tiledb`],
//! [`arrays`], [`api::native`], [`export`], [`web`], [`usage`], [`http`]. What comes in: [`pipeline`], [`sources`],
//! [`storage`], [`buckets`], [`receiver`], [`routing`], [`counters`]. Who runs it: [`admin`], [`estate`], [`alarm`], [`review`],
//! [`metrics`], [`vitals`]. Threads that go round are `rounds`.

pub mod admin;
pub mod alarm;
pub mod api;
pub mod app;
pub mod arrays;
pub mod auth;
pub mod buckets;
pub mod counters;
pub mod coverage;
pub mod estate;
pub mod export;
pub mod filter;
pub mod http;
pub mod metrics;
pub mod pipeline;
pub mod receiver;
pub mod review;
mod rounds;
pub mod routing;
pub mod sources;
pub mod storage;
pub mod usage;
pub mod vitals;
pub mod web;

#[cfg(test)]
mod test_support;

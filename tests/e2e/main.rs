//! End to end: the built binary, a real mongod, and clients that know nothing of us.
//!
//! Reading order: [`support`] (what a test stands on), then one module per thing a user does.
//! What a test needs besides Rust comes from `cargo xtask test`; without it the test says so and
//! passes, and the `left_out` test lists all of it.

mod support;

mod agent;
mod array_files;
mod array_joined;
mod array_soak;
mod browser;
mod buckets;
mod counters;
mod follow;
mod kill;
mod lines;
mod mongod;
mod object_log;
mod openapi;
mod page_speed;
mod pages;
mod quickstart;
mod reading;
mod remote;
mod replica_set;
mod samples;
mod storage;
mod surface;
mod syslog;
mod tiledb;

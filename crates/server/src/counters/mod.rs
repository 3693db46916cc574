//! counters
pub mod compare;

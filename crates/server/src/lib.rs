//! The server: the Atlas-compatible API, who may use it, and the record of who did.

pub mod admin;
pub mod pipeline;

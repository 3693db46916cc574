//! The API surfaces. Each has one folder, one table of operations and one mapping of errors.

pub mod atlas;
pub(crate) mod body;
pub mod native;
pub mod operations;
pub mod s3;
pub mod tiledb;

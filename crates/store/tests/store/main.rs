//! The store from outside: what it promises, on a real directory.

mod compact;
mod faults;
mod formats;
mod import;
mod select;
mod support;

//! The store from outside: what it promises, on a real directory.

mod import;
mod select;
mod support;

//! The store from outside: what it promises, on a real directory.

mod backup;
mod compact;
mod faults;
mod formats;
mod import;
mod look_up;
mod retention;
mod select;
mod status;
mod support;
mod table;
mod verify;
mod write;

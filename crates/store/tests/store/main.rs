//! The store from outside: what it promises, on a real directory.

mod advance;
mod adversity;
mod alarm;
mod arrays;
mod backup;
mod compact;
mod faults;
mod formats;
mod import;
mod joined;
mod life;
mod look_up;
mod power_cut;
mod resolve;
mod retention;
mod reviews;
mod select;
mod sim_disk;
mod status;
mod support;
mod table;
mod verify;
mod write;

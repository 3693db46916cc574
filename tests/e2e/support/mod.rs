//! What the tests stand on: the binary, a server, a mongod, the clients.

pub mod binary;
pub mod browser;
pub mod ceph;
pub mod clients;
pub mod draw;
pub mod history;
pub mod http;
pub mod mongod;
pub mod process;
pub mod proxy;
pub mod replica_set;
pub mod rsyslog;
pub mod time;
pub mod tools;

pub use binary::DataDir;

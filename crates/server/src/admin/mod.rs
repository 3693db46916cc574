//! What the owner of a data directory can do with it: manage projects, clusters, hosts and keys,
//! import, take imports back, look at the history.
//!
//! **Invariant:** each command is one [`Request`], carried out by one function, [`Admin::execute`].
//! Without a running server the command line opens the store and calls it; beside a running server,
//! which holds the store's lock, the request travels over the [`socket`] and the server calls it.
//! So the two ways cannot come to differ. Nothing here knows an API format of the outside.
//!
//! Who may do this: whoever may open the data directory (mode 0700) may do everything in it, so the
//! socket in it (mode 0600) lets in exactly the server's own user and root, by the peer credentials
//! that the kernel vouches for. Every change and every look at the history is recorded with that
//! user.
//!
//! A page asks by [`Admin::execute_for`] for what who is signed in may do, which [`needs`] says.
//!
//! Suggested reading order: [`request`], [`rows`], `execute`, [`needs`], [`sources`], [`arrays`], [`reviews`], [`roster`], [`accounts`], `history`,
//! `replay`, `unrouted`, [`wire`], [`socket`], [`client`].

use std::path::Path;
use std::sync::Arc;

use doorbook_event::{Clock, Random};
use doorbook_store::Store;

use crate::receiver;
use crate::sources::Board;

pub mod accounts;
mod alarms;
pub mod arrays;
pub mod client;
pub mod doctor;
mod execute;
pub mod failure;
mod history;
pub mod needs;
pub mod os_user;
mod replay;
pub mod request;
pub mod reviews;
pub mod roster;
pub mod rows;
mod secrets;
pub mod socket;
pub mod sources;
pub(crate) mod unrouted;
pub(crate) mod views;
pub mod wire;

pub use client::{Connection, open, verify};
pub use execute::compare_with_nothing;
pub use failure::{Failure, FailureKind, with_causes};
pub use request::{Reply, Request};
pub use socket::AdminSocket;

/// What commands are carried out with.
#[derive(Clone)]
pub struct Admin {
    /// The data directory.
    pub store: Store,
    /// Where the present comes from.
    pub clock: Arc<dyn Clock>,
    /// Where keys and secrets come from.
    pub random: Arc<dyn Random>,
    /// Where the server listens, in a server's process.
    pub base_url: Option<String>,
    /// Who follows sources, in a server's process.
    pub sources: Option<Board>,
    /// Who receives, in a server's process.
    pub receivers: Option<receiver::Board>,
    /// What runs as the estate's file says, in a server's process.
    pub services: Option<Arc<dyn Reload>>,
}

/// What a server runs as the estate's file says, and is no part of the registry.
pub trait Reload: Send + Sync {
    /// Whether this, an absolute path, is the file that it does as.
    fn is_of(&self, file: &Path) -> bool;
    /// The titles of the sections in that file that are not what runs; a failure if they could not be
    /// brought about.
    fn differs(&self) -> Result<Vec<&'static str>, Failure>;
    /// Brings them about.
    fn reload(&self) -> Result<(), Failure>;
}

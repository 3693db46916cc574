//! From the inputs a user names to records in the history.
//!
//! **Invariant:** nothing is changed before everything that can be known beforehand is known to be
//! right: the project, the cluster, every input's host, that each input opens and is a text log.
//!
//! Suggested reading order: [`import`], [`inputs`], [`hosts`], [`sink`], [`session`].

pub(crate) mod documents;
pub mod hosts;
pub mod import;
pub mod inputs;
pub mod session;
pub mod sink;

pub use import::{Early, Job, Outcome, Progress, run};
pub use session::{Begin, Begun, ImportSession};
pub use sink::{Sink, StoreSink};

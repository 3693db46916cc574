//! From the inputs a user names to records in the history.

pub mod hosts;
pub mod session;
pub mod sink;

pub use session::{Begin, Begun, ImportSession};
pub use sink::{Sink, StoreSink};

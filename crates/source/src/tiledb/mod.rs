//! TileDB arrays in storage: which folder is one, what the names of its files say, and what was done with it
//! by what two looks at it show (`docs/design/tiledb-storage.md`).
//!
//! [`name`] and [`contents`] are the formats, [`watch`] makes events, [`disk`] looks at arrays on disk.
//! Nothing but [`disk`] opens anything: an object store is looked at by whoever has one.

pub mod contents;
pub mod disk;
pub mod name;
pub mod watch;

pub use contents::CONTENTS_BYTES_MAX;
pub use disk::{find_below, is_array};
pub use name::Name;
pub use watch::{ArrayWatch, Contents, Listing};

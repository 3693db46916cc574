//! The estate in one file: what is watched and how long it is kept, written down by an operator, and
//! how the registry comes to say the same.
//!
//! ```text
//! bytes ──read──> Estate (as written, each value with its place)
//!       ──wanted──> Wanted (plain data: every source by host) ──difference──> changes of the registry
//! ```
//!
//! The first two steps happen in the process of whoever gives the command, with that user's rights;
//! [`Wanted`] travels to a running server, which computes the difference and makes it so.
//!
//! **Invariant:** [`file`](mod@file) is the only place that says what the file can hold. The schema, the
//! reference and the example ([`outputs`]) are made of the same definitions. To add a section: a
//! struct there, a field of [`Estate`] for it, and what must hold of it in `check`.
//!
//! Suggested reading order: [`file`](mod@file), [`shape`], [`read`], [`wanted`], `check`, `paths`,
//! [`difference`], [`counters`], [`receivers`], [`reviews`], [`outputs`].

mod arrays;
pub mod buckets;
mod check;
pub mod counters;
pub mod difference;
pub mod file;
pub mod outputs;
mod paths;
pub mod read;
pub mod receivers;
pub mod reviews;
pub mod shape;
pub mod wanted;

#[cfg(test)]
mod tests;

pub use difference::{Difference, Differs};
pub use file::Estate;
pub use read::{Document, Place, Problem};
pub use wanted::Wanted;

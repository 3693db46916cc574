//! From what a user names to physical lines.
//!
//! Logs reach us as they lie around: a live file, its rotated predecessors, some of them gzip or
//! zstd, a pipe, a directory, a pattern that the shell left alone. This module turns all of that
//! into inputs in the order in which they were written ([`expand()`]), and each input into lines with
//! their places ([`LineReader`]; for files that still grow see [`follow`](crate::follow)).
//!
//! Two promises hold for every input, however hostile:
//!
//! - **Bounded memory.** A line of up to [`LINE_BYTES_MAX`] is handed on whole; a longer one passes
//!   through as its head, its length and its hash ([`Oversized`]). Nothing else is held but one
//!   block and what a decompressor needs (at most 128 MiB, for zstd's largest accepted window).
//! - **What was read before a failure is delivered before the failure.** A half-copied archive
//!   gives its lines first and its error last, with the place where it broke.
//!
//! Suggested reading order: [`expand`](mod@expand), [`lines`], `stored`, `splitter`, [`error`].
//!
//! ```
//! use doorbook_source::input::{Content, LineReader};
//! use doorbook_source::wrapping::{Unwrapped, Unwrapper};
//!
//! let stored = &b"db-1  | {\"t\":{\"$date\":\"2026-11-23T02:45:46.605+00:00\"}}\n"[..];
//! let mut lines = LineReader::new("compose.log".into(), Box::new(stored))?;
//! let mut unwrapper = Unwrapper::new();
//! while let Some(line) = lines.next_line()? {
//!     let Content::Bytes(bytes) = line.content else { continue /* to quarantine */ };
//!     if let Unwrapped::Line(bytes) = unwrapper.unwrap(bytes) {
//!         assert!(bytes.starts_with(b"{\"t\":")); // to the interpreter, with line.number
//!     }
//! }
//! assert_eq!(lines.stored().size_bytes, stored.len() as u64);
//! # Ok::<(), doorbook_source::input::Error>(())
//! ```

pub mod error;
pub mod expand;
pub mod lines;
pub(crate) mod splitter;
pub(crate) mod stored;

pub use error::{Error, ErrorKind};
pub use expand::{Expansion, Input, LeftOut, Origin, expand};
pub use lines::{Content, Line, LineReader, Oversized};
pub use stored::StoredBytes;

/// 1 MiB: fifty times the longest line that mongod was seen to write (20.9 kB), and small enough
/// that the two or three such buffers of an import do not matter.
pub const LINE_BYTES_MAX: usize = 1 << 20;

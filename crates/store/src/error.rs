//! [`Error`]: what can go wrong in a store, by what the caller must do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What the caller must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Correct the request; nothing was changed.
    Invalid,
    /// Name something else: what the request creates is there already.
    Exists,
    /// Name something else: what the request refers to is not there.
    Missing,
    /// Another process holds the data directory; talk to it instead.
    Locked,
    /// Try again later: more waits to be written than can be; nothing was changed.
    Busy,
    /// Make room on the disk and try again; nothing was changed.
    DiskFull,
    /// An operator must look: files are damaged, and the message says which and where.
    Damaged,
    /// Restart: an earlier write failed in a way that leaves open what is on the disk.
    Poisoned,
    /// The disk or the operating system refused; the message says what and where.
    Io,
}

/// A failure of the store.
#[derive(Debug)]
pub struct Error {
    /// What the caller must do.
    pub kind: ErrorKind,
    /// For people: what happened. Does not repeat `source`.
    pub message: String,
    /// The file in question.
    pub path: Option<PathBuf>,
    /// What the operating system or a library said.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error without file or cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), path: None, source: None }
    }

    /// What the operating system refused; `what` completes "cannot".
    pub(crate) fn io(path: &Path, what: &str, error: io::Error) -> Error {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
            _ => ErrorKind::Io,
        };
        Error {
            kind,
            message: format!("cannot {what}"),
            path: Some(path.to_owned()),
            source: Some(Box::new(error)),
        }
    }

    /// A file that is not what we wrote.
    pub(crate) fn damaged(path: &Path, message: impl Into<String>) -> Error {
        Error {
            kind: ErrorKind::Damaged,
            message: message.into(),
            path: Some(path.to_owned()),
            source: None,
        }
    }

    /// The same once more, for another caller whom it concerns as well.
    pub(crate) fn again(&self) -> Error {
        let source = self.source.as_ref().map(|source| source.to_string().into());
        let Error { kind, message, path, source: _ } = self;
        Error { kind: *kind, message: message.clone(), path: path.clone(), source }
    }

    /// With what a library said.
    pub(crate) fn because(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}: {}", path.display(), self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

//! [`Failure`]: why a command was not carried out, in words for the person who gave it.

use std::fmt;

use doorbook_event::registry::RegistryError;
use doorbook_store::ErrorKind;
use serde::{Deserialize, Serialize};

/// What the person can do about it. The command line turns each kind into one exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Correct what was asked; nothing was changed.
    Invalid,
    /// Name something that exists; nothing was changed.
    Missing,
    /// Name something new; nothing was changed.
    Exists,
    /// The machine, the disk, an input or another process is in the way; the message says which.
    Failed,
}

/// Why a command was not carried out. One sentence, with the next step where there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What to do about it.
    pub kind: FailureKind,
    /// What happened, for people.
    pub message: String,
}

impl Failure {
    /// The request itself is wrong.
    pub fn invalid(message: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::Invalid, message: message.into() }
    }

    /// What the request names is not there.
    pub fn missing(message: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::Missing, message: message.into() }
    }

    /// Something outside the request is in the way.
    pub fn exists(message: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::Exists, message: message.into() }
    }

    /// Something is in the way.
    pub fn failed(message: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::Failed, message: message.into() }
    }

    /// The same failure with what was being done put before it.
    #[must_use]
    pub fn while_doing(mut self, what: impl fmt::Display) -> Failure {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<doorbook_store::Error> for Failure {
    fn from(error: doorbook_store::Error) -> Failure {
        let kind = match error.kind {
            ErrorKind::Invalid => FailureKind::Invalid,
            ErrorKind::Exists => FailureKind::Exists,
            ErrorKind::Missing => FailureKind::Missing,
            ErrorKind::Locked
            | ErrorKind::Busy
            | ErrorKind::DiskFull
            | ErrorKind::Damaged
            | ErrorKind::Poisoned
            | ErrorKind::Io => FailureKind::Failed,
        };
        Failure { kind, message: with_causes(&error) }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Failure {
        let kind = match error {
            RegistryError::Exists(_) => FailureKind::Exists,
            RegistryError::Missing(_) => FailureKind::Missing,
            RegistryError::Invalid(_) => FailureKind::Invalid,
        };
        Failure { kind, message: error.to_string() }
    }
}

/// An error with everything that led to it, on one line. No `Display` of ours repeats its source.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

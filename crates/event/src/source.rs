//! [`Source`]: an input that is followed.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Action, HostName, ProjectId, Target, Text};

/// An input that is followed for as long as it is in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Source {
    /// Its name, unique; stands beside every event that it tells of.
    #[n(0)]
    pub name: Text,
    /// What it reads.
    #[n(1)]
    pub kind: SourceKind,
    /// The project of its host.
    #[n(2)]
    pub project: ProjectId,
    /// The cluster of its host.
    #[n(3)]
    pub cluster: Text,
    /// Whose log it is.
    #[n(4)]
    pub host: HostName,
    /// The live file: an absolute path, or a pattern with `*`, `?` and `[…]` where the name changes.
    #[n(5)]
    pub path: Text,
    /// The zone of times that have none: `UTC` or a name of the time zone database.
    #[n(6)]
    pub zone: Text,
    /// Whether it rests.
    #[n(7)]
    pub paused: bool,
}

/// What a source reads.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// The log of a mongod or mongos.
    #[n(0)]
    MongodLog,
}

impl Source {
    /// What it watches.
    pub fn target(&self) -> Target {
        Target::Host { cluster: self.cluster.clone(), host: self.host.to_string().into() }
    }
}

impl SourceKind {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            SourceKind::MongodLog => "mongod-log",
        }
    }

    /// The actions of which it sees all that its input shows.
    pub const fn actions(self) -> &'static [Action] {
        match self {
            SourceKind::MongodLog => &[Action::Authenticate, Action::Authorize],
        }
    }
}

/// Whether a text can name a source: 1 to 64 lower-case letters, digits and `-_.`, and not our own
/// name.
pub fn is_source_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed) && text != "doorbook"
}

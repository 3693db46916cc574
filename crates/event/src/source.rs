//! [`Source`]: an input of records, for as long as it is in the registry: of one host's, or of those of
//! the arrays of a namespace that lie below one place.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Action, HostName, ProjectId, Scope, Target, Text};

/// An input of records, for as long as it is in the registry. Its form is [`Form`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name, unique; stands beside every event that it tells of.
    pub name: Text,
    /// What it reads.
    pub kind: SourceKind,
    /// Whose records these are.
    pub subject: Subject,
    /// What is read, as its kind has it. Of a host, its live file: an absolute path, or a pattern with
    /// `*`, `?` and `[…]` where the name changes; empty where its lines are sent to us. Of arrays, where
    /// they are stored, or where the log of their store is: a path of this kind, or `s3://BUCKET/PREFIX`.
    pub path: Text,
    /// The zone of times that have none: `UTC` or a name of the time zone database.
    pub zone: Text,
    /// Whether it rests.
    pub paused: bool,
    /// The agent that follows the file, on a machine of its own; `None` where we do.
    pub agent: Option<Text>,
    /// Which of the lines that are sent to us are this host's: those of which every rule holds. None
    /// where there is a file.
    pub rules: Vec<Rule>,
    /// How often it is looked at that does not tell by itself that there is something new; `None` for
    /// as often as its kind is.
    pub interval_seconds: Option<u32>,
}

/// Whose records a source brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Those of a mongod or mongos.
    Host {
        /// The project of the host.
        project: ProjectId,
        /// The cluster of the host.
        cluster: Text,
        /// The host.
        host: HostName,
    },
    /// Those of arrays.
    Arrays {
        /// Their namespace.
        namespace: Text,
        /// Where they are stored: the place of one, or one that many are below
        /// ([`is_below`](crate::arrays::is_below)).
        below: Text,
    },
}

/// The form of a [`Source`] on disk and on the wire. Members 2 to 4 are of a host, 10 and 11 of arrays;
/// one has all of its own and none of the other's. Older versions know the first only, and read no other
/// as something that it is not.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Form {
    #[n(0)]
    name: Text,
    #[n(1)]
    kind: SourceKind,
    #[n(2)]
    project: Option<ProjectId>,
    #[n(3)]
    cluster: Option<Text>,
    #[n(4)]
    host: Option<HostName>,
    #[n(5)]
    path: Text,
    #[n(6)]
    zone: Text,
    #[n(7)]
    paused: bool,
    #[cbor(n(8), default)]
    agent: Option<Text>,
    #[cbor(n(9), default, skip_if = "Vec::is_empty")]
    rules: Vec<Rule>,
    #[cbor(n(10), default)]
    namespace: Option<Text>,
    #[cbor(n(11), default)]
    below: Option<Text>,
    #[cbor(n(12), default)]
    interval_seconds: Option<u32>,
}

impl<C> Encode<C> for Source {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        Form::from(self.clone()).encode(encoder, context)
    }
}

impl<'b, C> Decode<'b, C> for Source {
    fn decode(
        decoder: &mut minicbor::Decoder<'b>,
        context: &mut C,
    ) -> Result<Source, minicbor::decode::Error> {
        let form = Form::decode(decoder, context)?;
        form.source().ok_or_else(|| {
            minicbor::decode::Error::message("a source is of a host, or of arrays of a namespace")
        })
    }
}

impl From<Source> for Form {
    fn from(source: Source) -> Form {
        let Source { name, kind, subject, path, zone, paused, agent, rules, interval_seconds } =
            source;
        let (of_host, of_arrays) = match subject {
            Subject::Host { project, cluster, host } => (Some((project, cluster, host)), None),
            Subject::Arrays { namespace, below } => (None, Some((namespace, below))),
        };
        let (project, cluster, host) = match of_host {
            Some((project, cluster, host)) => (Some(project), Some(cluster), Some(host)),
            None => (None, None, None),
        };
        let (namespace, below) = of_arrays.unzip();
        Form {
            name,
            kind,
            project,
            cluster,
            host,
            path,
            zone,
            paused,
            agent,
            rules,
            namespace,
            below,
            interval_seconds,
        }
    }
}

impl Form {
    fn source(self) -> Option<Source> {
        let Form { name, kind, project, cluster, host, namespace, below, .. } = self;
        let subject = match (project, cluster, host, namespace, below) {
            (Some(project), Some(cluster), Some(host), None, None) => {
                Subject::Host { project, cluster, host }
            }
            (None, None, None, Some(namespace), Some(below)) => {
                Subject::Arrays { namespace, below }
            }
            _ => return None,
        };
        let Form { path, zone, paused, agent, rules, interval_seconds, .. } = self;
        Some(Source { name, kind, subject, path, zone, paused, agent, rules, interval_seconds })
    }
}

/// What must hold of that with which a line came, its labels.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(map)]
pub struct Rule {
    /// The label, in its sender's words: `host.name`, `syslog.tag`, `kubernetes.labels.app`.
    #[n(0)]
    pub label: Text,
    /// What its value is: a pattern with `*`, `?` and `[…]`.
    #[n(1)]
    pub pattern: Text,
}

/// How the records of a source come to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'a> {
    /// We follow its file.
    Followed,
    /// This agent follows its file.
    Shipped(&'a Text),
    /// Its lines are sent to us.
    Received,
    /// We look at where arrays are stored, or at what their store wrote of them.
    Watched,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {:?}", self.label, &*self.pattern)
    }
}

/// A week: what is looked at less often, nobody watches.
pub const INTERVAL_SECONDS_MAX: u32 = 7 * 86_400;

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
    /// Arrays as TileDB stores them: their own files tell who changed what, but for the who.
    #[n(1)]
    TiledbStorage,
    /// The server access log of S3, which tells of arrays stored there.
    #[n(2)]
    S3AccessLog,
    /// The data events of CloudTrail, which tell of arrays in S3.
    #[n(3)]
    Cloudtrail,
    /// The ops log of a Ceph object gateway, which tells of arrays stored there.
    #[n(4)]
    CephOpsLog,
}

/// What a source does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has read everything that was written.
    #[n(0)]
    Following,
    /// It reads what was written before.
    #[n(1)]
    CatchingUp,
    /// There is no file yet, or none any more.
    #[n(2)]
    Waiting,
    /// It rests, because someone said so.
    #[n(3)]
    Paused,
    /// It cannot go on.
    #[n(4)]
    Failed,
    /// No server runs that would follow it.
    #[n(5)]
    Stopped,
    /// Its agent does not report.
    #[n(6)]
    Away,
}

impl State {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            State::Following => "following",
            State::CatchingUp => "catching_up",
            State::Waiting => "waiting",
            State::Paused => "paused",
            State::Failed => "failed",
            State::Stopped => "stopped",
            State::Away => "away",
        }
    }
}

impl Source {
    /// Whose history its records belong to.
    pub fn scope(&self) -> Scope {
        match &self.subject {
            Subject::Host { project, .. } => Scope::Project(*project),
            Subject::Arrays { namespace, .. } => Scope::Namespace(namespace.clone()),
        }
    }

    /// What it watches. Of arrays that is not each of them, which can be found and go at any time, but
    /// the place that they are below; no array's own name looks like that.
    pub fn target(&self) -> Target {
        match &self.subject {
            Subject::Host { cluster, host, .. } => {
                Target::Host { cluster: cluster.clone(), host: host.to_string().into() }
            }
            Subject::Arrays { namespace, below } => {
                Target::Array { namespace: namespace.clone(), array: below.clone() }
            }
        }
    }

    /// Whether it watches the same thing as another one.
    pub fn is_of_the_same(&self, other: &Source) -> bool {
        self.subject == other.subject
    }

    /// The project of its host.
    pub fn project(&self) -> Option<ProjectId> {
        match &self.subject {
            Subject::Host { project, .. } => Some(*project),
            Subject::Arrays { .. } => None,
        }
    }

    /// Its host.
    pub fn host(&self) -> Option<&HostName> {
        match &self.subject {
            Subject::Host { host, .. } => Some(host),
            Subject::Arrays { .. } => None,
        }
    }

    /// The namespace of its arrays.
    pub fn namespace(&self) -> Option<&Text> {
        match &self.subject {
            Subject::Host { .. } => None,
            Subject::Arrays { namespace, .. } => Some(namespace),
        }
    }

    /// Whose records it brings, in a word: the host, or the namespace.
    pub fn whose(&self) -> Text {
        match &self.subject {
            Subject::Host { host, .. } => host.to_string().into(),
            Subject::Arrays { namespace, .. } => namespace.clone(),
        }
    }

    /// Its rules in words, as the estate's file has them.
    pub fn rules_in_words(&self) -> String {
        let rules: Vec<String> = self.rules.iter().map(Rule::to_string).collect();
        rules.join(", ")
    }

    /// How its records come to us.
    pub fn way(&self) -> Way<'_> {
        match (&self.subject, &self.agent) {
            (Subject::Arrays { .. }, _) => Way::Watched,
            _ if !self.rules.is_empty() => Way::Received,
            (_, Some(agent)) => Way::Shipped(agent),
            (_, None) => Way::Followed,
        }
    }
}

impl SourceKind {
    /// Every kind.
    pub const ALL: [SourceKind; 5] = [
        SourceKind::MongodLog,
        SourceKind::TiledbStorage,
        SourceKind::S3AccessLog,
        SourceKind::Cloudtrail,
        SourceKind::CephOpsLog,
    ];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            SourceKind::MongodLog => "mongod-log",
            SourceKind::TiledbStorage => "tiledb-storage",
            SourceKind::S3AccessLog => "s3-access-log",
            SourceKind::Cloudtrail => "cloudtrail",
            SourceKind::CephOpsLog => "ceph-ops-log",
        }
    }

    /// Whether it tells of the arrays of a namespace, and not of a host.
    pub const fn is_of_arrays(self) -> bool {
        !matches!(self, SourceKind::MongodLog)
    }

    /// Whether it reads what an object store wrote of who came.
    pub const fn is_object_log(self) -> bool {
        self.is_of_arrays() && !matches!(self, SourceKind::TiledbStorage)
    }

    /// The actions of which it sees all that its input shows.
    pub const fn actions(self) -> &'static [Action] {
        match self {
            SourceKind::MongodLog => &[Action::Authenticate, Action::Authorize],
            // Who reads leaves nothing behind in what is stored.
            SourceKind::TiledbStorage => &[
                Action::QueryWrite,
                Action::QueryDelete,
                Action::Create,
                Action::Delete,
                Action::ArrayMetadataUpdate,
                Action::Consolidate,
                Action::Vacuum,
                Action::SchemaEvolution,
                Action::DeleteFragments,
                Action::Move,
            ],
            SourceKind::S3AccessLog | SourceKind::Cloudtrail | SourceKind::CephOpsLog => &[
                Action::ReadSchema,
                Action::ReadEnumerations,
                Action::QueryRead,
                Action::ArrayMetadataGet,
                Action::QueryWrite,
                Action::QueryDelete,
                Action::Create,
                Action::Delete,
                Action::ArrayMetadataUpdate,
                Action::Consolidate,
                Action::Vacuum,
                Action::SchemaEvolution,
                Action::DeleteFragments,
            ],
        }
    }
}

/// Whether a text can name a source: 1 to 64 lower-case letters, digits and `-_.`, and not our own
/// name.
pub fn is_source_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed) && text != "doorbook"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_arrays() -> Source {
        Source {
            name: "lake".into(),
            kind: SourceKind::TiledbStorage,
            subject: Subject::Arrays { namespace: "alice".into(), below: "s3://lake/a".into() },
            path: "s3://lake/a".into(),
            zone: "UTC".into(),
            paused: false,
            agent: None,
            rules: Vec::new(),
            interval_seconds: Some(60),
        }
    }

    /// Goal: a source is of one thing, whatever bytes say. Method: the form with members of both, and of
    /// neither. (What sources of hosts look like is fixed by `fixtures/orders-1.cbor`.)
    #[test]
    fn a_source_is_of_one_thing() {
        let source = of_arrays();
        let bytes = minicbor::to_vec(&source).expect("encodes");
        assert_eq!(minicbor::decode::<Source>(&bytes).expect("decodes"), source);
        let check = |change: fn(&mut Form)| {
            let mut form = Form::from(of_arrays());
            change(&mut form);
            let bytes = minicbor::to_vec(&form).expect("encodes");
            assert!(minicbor::decode::<Source>(&bytes).is_err());
        };
        check(|form| form.namespace = None);
        check(|form| form.below = None);
        check(|form| form.cluster = Some("orders".into()));
    }

    #[test]
    fn kinds_are_found_by_their_words() {
        for kind in SourceKind::ALL {
            assert_eq!(serde_json::to_string(&kind).expect("writes"), format!("{:?}", kind.word()));
        }
    }
}

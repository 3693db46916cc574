//! [`Request`] and [`Reply`]: everything that can be asked of a data directory by its owner.
//!
//! They are plain data, so that a command does the same whether it is carried out in the process
//! of the command line or in that of a running server, which reads it from the admin socket.

use std::collections::BTreeMap;
use std::path::PathBuf;

use doorbook_event::record::{ImportState, UnknownId};
use doorbook_event::registry::Role;
use doorbook_event::retention::{Limits, Pending};
use doorbook_event::source::SourceKind;
use doorbook_event::{ProjectId, Text, Timestamp};
use doorbook_store::backup::Copied;
use doorbook_store::filter::Order;
use doorbook_store::status::Status;
use doorbook_store::verify::{Depth, Report};
use serde::{Deserialize, Serialize};

use crate::admin::accounts::{AccountsReport, AccountsRequest};
use crate::admin::arrays::{
    ArrayView, ArraysRequest, NewToken, NewUser, OrganizationView, UserView,
};
use crate::admin::doctor::Finding;
use crate::admin::reviews::ReviewRequest;
use crate::admin::rows::{CoverageRow, EventRow, QuarantineRow, ReplayRow, RoutedRow, UnroutedRow};
use crate::api::native::answers;
use crate::estate::{Differs, Problem, Wanted};
use crate::export::{Exported, Format};
use crate::sources::State as SourceState;

/// One command. Wherever a `project` is a text, it is an id or a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", rename_all_fields = "camelCase")]
#[serde(deny_unknown_fields)]
pub enum Request {
    /// Create a project.
    ProjectCreate {
        /// Its name.
        name: String,
        /// Its id, where the user wants a particular one.
        id: Option<ProjectId>,
    },
    /// All projects.
    ProjectList,
    /// Create a cluster and its hosts: all or nothing.
    ClusterCreate {
        /// Its name.
        name: String,
        /// Its project.
        project: String,
        /// Its hosts as the user wrote them.
        hosts: Vec<String>,
    },
    /// The clusters of a project, or all.
    ClusterList {
        /// Only of this project.
        project: Option<String>,
    },
    /// Add a host to a cluster.
    HostAdd {
        /// The cluster's project.
        project: String,
        /// The cluster.
        cluster: String,
        /// The host as the user wrote it.
        host: String,
        /// Other names for it.
        aliases: Vec<String>,
    },
    /// Give a host another name.
    HostAlias {
        /// The host's project.
        project: String,
        /// The host, by any of its names.
        host: String,
        /// The further name.
        alias: String,
    },
    /// Hand out an API key.
    KeyCreate {
        /// The project it belongs to.
        project: String,
        /// What it may do there.
        role: Role,
        /// The agent whose key it is to be.
        #[serde(default)]
        agent: Option<Text>,
    },
    /// The keys of a project, or all.
    KeyList {
        /// Only of this project.
        project: Option<String>,
    },
    /// End an API key.
    KeyDelete {
        /// Its public half.
        public_key: String,
    },
    /// Hand out a service account.
    ServiceAccountCreate {
        /// The project it belongs to.
        project: String,
        /// What it may do there.
        role: Role,
    },
    /// The service accounts of a project, or all.
    ServiceAccountList {
        /// Only of this project.
        project: Option<String>,
    },
    /// End a service account.
    ServiceAccountDelete {
        /// Its client id.
        client_id: String,
    },
    /// The imports of a project, or all, oldest first.
    ImportList {
        /// Only of this project.
        project: Option<String>,
    },
    /// One import with what it found besides events.
    ImportShow {
        /// Its name.
        id: String,
    },
    /// Take an import back.
    ImportRetract {
        /// Its name.
        id: String,
    },
    /// Whether an import under this project, cluster and host could begin; changes nothing.
    ImportCheck {
        /// The project.
        project: String,
        /// The cluster.
        cluster: String,
        /// The host, where the user named one.
        host: Option<String>,
        /// Whether an unknown host is to be added.
        add_host: bool,
    },
    /// What is wrong with the machine, the directory and its sources.
    Doctor,
    /// Part of the history.
    Events(Box<EventsQuery>),
    /// What an operation of our own API answers.
    Read(Box<ReadRequest>),
    /// All rows of the history that are wanted, in a file.
    Export(Box<ExportRequest>),
    /// One line that could not be read.
    QuarantineShow {
        /// Its project; `None` means the only one there is.
        project: Option<String>,
        /// Its namespace, instead of a project.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        /// Which log.
        log: u32,
        /// Position in that log.
        seq: u64,
    },
    /// Read lines again that could not be read.
    QuarantineReplay(Box<Replays>),
    /// Which hosts are sent to us that no source knows.
    Unrouted {
        /// Only of this project.
        project: Option<String>,
    },
    /// Known intervals of blindness, of everything.
    Coverage,
    /// Where the running server listens.
    Server,
    /// Decide how long events are kept.
    RetentionSet {
        /// Whose; `None`: a namespace's, or Doorbook's own.
        project: Option<String>,
        /// Whose; `None`: a project's, or Doorbook's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        /// Days; `None`: forever.
        keep_days: Option<u32>,
        /// Days that this can never be below; `None`: as before.
        minimum_days: Option<u32>,
    },
    /// How long events are kept.
    RetentionList,
    /// Read everything again and name what is damaged.
    Verify {
        /// How much of it.
        depth: Depth,
    },
    /// How much there is, how old it is, and how long the disk will last.
    Status,
    /// Copy the data directory to a new one.
    Backup {
        /// Its absolute path.
        to: PathBuf,
    },
    /// Make the registry say what a file says: all of it or nothing.
    Apply {
        /// What the file says of the registry.
        wanted: Box<Wanted>,
        /// The file, as an absolute path.
        file: PathBuf,
        /// The titles of what it says beside, and a server does.
        sections: Vec<String>,
        /// Only tell what would change.
        dry_run: bool,
    },
    /// The sources of a project, or all.
    SourceList {
        /// Only of this project.
        project: Option<String>,
    },
    /// One source.
    SourceShow {
        /// Its name.
        name: String,
    },
    /// Let a source rest, or go on.
    SourcePause {
        /// Its name.
        name: String,
        /// Whether it is to rest.
        paused: bool,
    },
    /// Alarms that are open, or all that are remembered.
    AlarmList {
        /// Those that closed, too.
        all: bool,
    },
    /// Say what came of an alarm.
    AlarmAcknowledge {
        /// Its id.
        id: String,
        /// Why it was.
        cause: String,
        /// What else there is to say.
        note: Option<String>,
    },
    /// Read a source again from its oldest file.
    SourceReplay {
        /// Its name.
        name: String,
    },
    /// Let a user manage the server, or no more.
    Administrator {
        /// The user.
        user: String,
        /// Whether it is to be one.
        is_one: bool,
    },
    /// Users, organizations, tokens, arrays.
    Arrays(ArraysRequest),
    /// Reviews.
    Review(ReviewRequest),
    /// Who was seen, of those who should be.
    Accounts(Box<AccountsRequest>),
}

/// Which rows of the history are wanted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventsQuery {
    /// A project; `None` with `system` unset means the only one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Doorbook's own history instead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
    /// A namespace's history instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What is wanted of it, as [`crate::filter`] reads it; times as instants, so that all pages are of
    /// one question.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub filter: String,
    /// What somebody typed, if that is not the filter: at its columns they are told what is wrong. The
    /// filter begins with the same terms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<String>,
    /// At most this many rows in this answer.
    pub limit: usize,
    /// Where the last answer ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Cursor>,
}

/// An operation of our own API that reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadRequest {
    /// A project; `None` with `system` unset means the only one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Doorbook's own history instead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
    /// A namespace's history instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Which one, by its name in OpenAPI.
    pub operation: String,
    /// What its path names, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its parameters.
    pub parameters: Vec<(String, String)>,
    /// It goes on with what was begun, and is not recorded again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes_on: bool,
}

/// What is exported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportRequest {
    /// What is wanted; its `limit` says nothing.
    pub query: EventsQuery,
    /// The zone in which its days were meant.
    pub zone: String,
    /// How rows are written.
    pub format: Format,
    /// The file, as an absolute path; it is not there yet.
    pub to: PathBuf,
}

/// Which lines that could not be read are read again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replays {
    /// From where; its `limit` says nothing.
    pub query: EventsQuery,
    /// Only those whose reason holds this text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Only tell what would become of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// A page of lines that were read again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replayed {
    /// What became of each.
    pub rows: Vec<ReplayRow>,
    /// What became of lines whose host was not known; with the first page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routed: Vec<RoutedRow>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

/// Where an answer ended, and of which state of the history it is a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cursor {
    /// Event time of its last row, in microseconds.
    pub event_time_micros: i64,
    /// Log of its last row.
    pub log: u32,
    /// Position of its last row in that log.
    pub seq: u64,
    /// The state: log and length of each.
    pub as_of: Vec<(u32, u64)>,
}

impl Cursor {
    /// The place in the order of answers.
    pub fn order(&self) -> Order {
        Order {
            event_time: Timestamp::from_micros(self.event_time_micros),
            log: doorbook_event::LogId(self.log),
            seq: self.seq,
        }
    }
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", content = "value", rename_all = "snake_case")]
pub enum Reply {
    /// A project.
    Project(ProjectView),
    /// Alarms, the latest first.
    Alarms(Vec<AlarmView>),
    /// Projects.
    Projects(Vec<ProjectView>),
    /// A cluster.
    Cluster(ClusterView),
    /// Clusters.
    Clusters(Vec<ClusterView>),
    /// A host.
    Host(HostView),
    /// A key, with its private half: the only time it is shown.
    NewKey(NewKey),
    /// Keys.
    Keys(Vec<KeyView>),
    /// A service account, with its secret: the only time it is shown.
    NewServiceAccount(NewServiceAccount),
    /// Service accounts.
    ServiceAccounts(Vec<ServiceAccountView>),
    /// Imports.
    Imports(Vec<ImportView>),
    /// An import.
    Import(Box<ImportView>),
    /// An import with what it found besides events.
    ImportDetails(Box<ImportDetails>),
    /// Events.
    Events(Rows<EventRow>),
    /// Bytes that could not be read.
    Quarantine(Rows<QuarantineRow>),
    /// Bytes that were read again.
    Replayed(Replayed),
    /// Hosts that no source knows.
    Unrouted(Vec<UnroutedRow>),
    /// Intervals of blindness.
    Coverage(Vec<CoverageRow>),
    /// Where the running server listens; `None` where none runs.
    Server(Option<String>),
    /// How long events are kept.
    Retention(Vec<RetentionView>),
    /// What was read again and what is damaged.
    Verify(Box<Report>),
    /// How much there is.
    Status(Box<StatusView>),
    /// What an operation of our own API answered, as JSON.
    Read(String),
    /// What was exported.
    Exported(Exported),
    /// What was copied.
    Copied(Copied),
    /// What a file changed, or would.
    Applied(Box<AppliedView>),
    /// Sources.
    Sources(Vec<SourceView>),
    /// A user, with the password: the only time it is shown.
    NewUser(NewUser),
    /// Users.
    Users(Vec<UserView>),
    /// Organizations.
    Organizations(Vec<OrganizationView>),
    /// A token: the only time it is shown.
    NewToken(NewToken),
    /// Arrays.
    Arrays(Vec<ArrayView>),
    /// A review.
    Review(Box<answers::Review>),
    /// What was signed.
    SignedOff(Box<answers::SignOff>),
    /// Who was seen, of those who should be.
    Accounts(Box<AccountsReport>),
    /// What was checked, by which version.
    Doctor {
        /// Of who checked.
        version: Text,
        /// What came of it.
        findings: Vec<Finding>,
    },
    /// Nothing to show.
    Done,
}

/// Part of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rows<T> {
    /// The rows, newest first.
    pub rows: Vec<T>,
    /// How many rows match, whatever the limit.
    pub total: u64,
    /// Where to go on; `None` after the last row.
    pub next: Option<Cursor>,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProjectView {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: Text,
    /// When it was created.
    pub created: Timestamp,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterView {
    /// Its project.
    pub project_id: ProjectId,
    /// Its project's name.
    pub project: Text,
    /// Its name.
    pub name: Text,
    /// Its hosts.
    pub hosts: Vec<HostView>,
    /// When it was created.
    pub created: Timestamp,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostView {
    /// Its canonical name.
    pub name: String,
    /// Its other names.
    pub aliases: Vec<Text>,
}

/// A key that was just made.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewKey {
    /// The user name of the digest.
    pub public_key: Text,
    /// The password of the digest.
    pub private_key: String,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}

/// A key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    /// The user name of the digest.
    pub public_key: Text,
    /// The project it belongs to.
    pub project_id: ProjectId,
    /// That project's name.
    pub project: Text,
    /// What it may do there.
    pub role: Role,
    /// The agent whose key it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Text>,
    /// When it was created.
    pub created: Timestamp,
}

/// A service account that was just made.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewServiceAccount {
    /// Its client id.
    pub client_id: Text,
    /// Its secret.
    pub client_secret: String,
}

impl std::fmt::Debug for NewServiceAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("NewServiceAccount");
        shown.field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// A service account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountView {
    /// Its client id.
    pub client_id: Text,
    /// The project it belongs to.
    pub project_id: ProjectId,
    /// That project's name.
    pub project: Text,
    /// What it may do there.
    pub role: Role,
    /// When it was created.
    pub created: Timestamp,
}

/// An import: the one object of `import --json`, and its receipt afterwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportView {
    /// Its name.
    pub id: Text,
    /// How far it got.
    pub state: ImportState,
    /// The project's id.
    pub project_id: ProjectId,
    /// The project's name.
    pub project: Text,
    /// The cluster.
    pub cluster: Text,
    /// The host the user named.
    pub host: Option<Text>,
    /// Who ran it.
    pub by: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How many inputs it read, wholly or in part.
    pub files: usize,
    /// Physical lines read.
    pub lines: u64,
    /// Events added.
    pub events: u64,
    /// Logins among them.
    pub successes: u64,
    /// Explicit failure lines among them.
    pub failures: u64,
    /// Success lines among them that their own log contradicts.
    pub suspect: u64,
    /// Logins among them that their log can neither confirm nor contradict.
    pub unconfirmed: u64,
    /// Events that were already there.
    pub duplicates: u64,
    /// Lines put aside unread.
    pub quarantined: u64,
    /// Intervals of blindness found.
    pub gaps: u64,
    /// Events that are older than the project keeps any; not stored.
    pub expired: u64,
    /// Message ids of the access component that this version does not know.
    pub unknown_ids: Vec<UnknownIdView>,
    /// The earliest event found.
    pub from: Option<Timestamp>,
    /// The latest event found.
    pub to: Option<Timestamp>,
    /// The inputs in the order in which they were read.
    pub inputs: Vec<InputView>,
}

/// A message id that this version does not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnknownIdView {
    /// The id.
    pub id: u64,
    /// The server version that wrote it, where the input says.
    pub version: Option<Text>,
    /// How often.
    pub count: u64,
    /// The message of the first one.
    pub message: Text,
}

impl From<&UnknownId> for UnknownIdView {
    fn from(unknown: &UnknownId) -> UnknownIdView {
        UnknownIdView {
            id: unknown.id,
            version: unknown.version.clone(),
            count: unknown.count,
            message: unknown.message.clone(),
        }
    }
}

/// One input of an import.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputView {
    /// The name as it was given.
    pub name: Text,
    /// The host its records were put under.
    pub host: Text,
    /// Physical lines.
    pub lines: u64,
    /// Size as stored.
    pub size_bytes: u64,
    /// Modification time.
    pub modified: Option<Timestamp>,
    /// SHA-256 of the bytes as stored, as far as they were read.
    pub sha256: Option<String>,
}

/// An import with what it found besides events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportDetails {
    /// The import.
    #[serde(flatten)]
    pub import: ImportView,
    /// Intervals of blindness that it found, whether they were known before or not.
    pub coverage: Vec<CoverageRow>,
    /// The lines it put aside, at most [`ImportDetails::QUARANTINE_ROWS_MAX`].
    pub quarantine: Vec<QuarantineRow>,
}

impl ImportDetails {
    /// As many as a person reads; `events --quarantine` has them all.
    pub const QUARANTINE_ROWS_MAX: usize = 100;
}

/// How long a scope's events are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetentionView {
    /// The scope.
    pub scope: String,
    /// The project's name, where it is one's.
    pub project: Option<Text>,
    /// What holds now.
    #[serde(flatten)]
    pub limits: Limits,
    /// Events before this are in no answer now.
    pub from: Option<Timestamp>,
    /// What was decided and does not hold yet.
    pub pending: Option<Pending>,
}

/// What a file changed, or would.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppliedView {
    /// Whether the registry was changed.
    pub applied: bool,
    /// The changes, in their order.
    pub changes: Vec<Differs>,
    /// What is not in the file and stays, and which hosts nobody follows.
    pub notes: Vec<String>,
    /// What of the file the registry refuses; nothing was changed then.
    pub problems: Vec<Problem>,
}

/// A source: what the registry says of it, how far it has come, and what it does now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    /// Its name.
    pub name: Text,
    /// What it reads.
    pub kind: SourceKind,
    /// The project of its host, if it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Text>,
    /// The cluster of its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Text>,
    /// Its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The namespace of its arrays, if it is of such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Text>,
    /// The live file, or a pattern for it.
    pub path: Text,
    /// Which of the lines that are sent to us are its host's, in words; empty where there is a file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rules: String,
    /// The zone of times that name none.
    pub zone: Text,
    /// The agent that follows it, where the server does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Text>,
    /// How often it is looked at, where the file says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<u32>,
    /// What it does.
    pub state: SourceState,
    /// Why it does not do more.
    pub message: Option<Text>,
    /// It has read everything that was written before.
    pub through: Option<Timestamp>,
    /// How long ago that is.
    pub lag_seconds: Option<i64>,
    /// Bytes that are there and not read yet, where a server follows it.
    pub behind_bytes: Option<u64>,
    /// Lines it read so far.
    pub lines: u64,
    /// Events it recorded so far.
    pub events: u64,
    /// Messages of mongod that this version does not know, since who reads it began.
    #[serde(default)]
    pub unknown_messages: u64,
    /// Which these are: the first 100 kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_ids: Vec<UnknownIdView>,
}

impl SourceView {
    /// The cluster of its host, with its project.
    pub fn cluster(&self) -> Option<String> {
        let (project, cluster) = self.project.as_ref().zip(self.cluster.as_ref())?;
        Some(format!("{project}/{cluster}"))
    }

    /// The host whose log it is, or the namespace of its arrays.
    pub fn whose(&self) -> &str {
        self.host.as_deref().or(self.namespace.as_deref()).unwrap_or_default()
    }
}

/// How much there is, with the names of projects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// What the store knows.
    #[serde(flatten)]
    pub status: Status,
    /// The name of each project, by its scope.
    pub projects: BTreeMap<String, Text>,
}

/// An alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlarmView {
    /// Its id.
    pub id: Text,
    /// Which kind of condition.
    pub kind: Text,
    /// Its project, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Text>,
    /// Its cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Text>,
    /// Its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Text>,
    /// Its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Text>,
    /// The review that nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Text>,
    /// In one sentence.
    pub text: String,
    /// Since when it holds.
    pub from: Timestamp,
    /// Until when it held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// How many accesses are known to be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
    /// When it was found.
    pub opened: Timestamp,
    /// When it was found to be over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Timestamp>,
    /// Who looked, and what came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<AcknowledgementView>,
}

/// Who looked at an alarm, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcknowledgementView {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why it was.
    pub cause: Text,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Text>,
}

/// Names by which roles may be given, for the error that lists them.
pub fn role_names() -> String {
    let names = Role::ALL.iter().map(|role| format!("{} ({})", role.api_name(), role.title()));
    names.collect::<Vec<_>>().join(", ")
}

/// Attributes of a row, in order.
pub type Attributes = doorbook_event::Attributes;

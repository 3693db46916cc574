//! The registry: projects, clusters, hosts, keys, service accounts and their roles, the sources that
//! are followed, and how long each scope's events are kept.
//!
//! [`Registry`] is the state, [`RegistryChange`] what changes it. Every change is checked by
//! [`Registry::check`] before it is written and applied by [`Registry::apply`] after; applying the
//! same changes in the same order gives the same registry on every node and after every restart.

mod change;
mod check;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

pub use self::change::RegistryChange;
use crate::arrays::Arrays;
use crate::retention::Retention;
use crate::review::Review;
use crate::source::Source;
use crate::{HostName, ProjectId, Scope, Text, Timestamp};

/// A project: what Atlas calls a group.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Project {
    /// Its id, unique.
    #[n(0)]
    pub id: ProjectId,
    /// Its name, unique, compared as written.
    #[n(1)]
    pub name: Text,
    /// When it was created, by our clock.
    #[n(2)]
    pub created: Timestamp,
}

/// A cluster of a project.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Cluster {
    /// Its project.
    #[n(0)]
    pub project: ProjectId,
    /// Its name, unique in the project; ASCII letters, digits and hyphens.
    #[n(1)]
    pub name: Text,
    /// When it was created, by our clock.
    #[n(2)]
    pub created: Timestamp,
}

/// A mongod or mongos of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Host {
    /// Its project.
    #[n(0)]
    pub project: ProjectId,
    /// Its cluster.
    #[n(1)]
    pub cluster: Text,
    /// Its canonical name, unique in the project.
    #[n(2)]
    pub name: HostName,
    /// Other names that users know it by; each unique in the project.
    #[n(3)]
    pub aliases: Vec<Text>,
}

/// An API key for HTTP Digest.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Key {
    /// The public half: the user name of the digest.
    #[n(0)]
    pub public: Text,
    /// HA1 of RFC 7616: MD5 of `public:realm:private`. Whoever has it can sign requests: it is as
    /// good as the private key, and the data directory is as secret as the key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub ha1: [u8; 16],
    /// The project it belongs to.
    #[n(2)]
    pub project: ProjectId,
    /// What it may do there.
    #[n(3)]
    pub role: Role,
    /// When it was created, by our clock.
    #[n(4)]
    pub created: Timestamp,
    /// The agent whose key it is: the only one it can speak for.
    #[cbor(n(5), default)]
    pub agent: Option<Text>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("public", &self.public).field("role", &self.role).finish()
    }
}

/// A service account for OAuth 2 client credentials.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ServiceAccount {
    /// The client id.
    #[n(0)]
    pub client_id: Text,
    /// SHA-256 of the client secret (256 random bits, so that a slow hash would add nothing).
    #[cbor(n(1), with = "minicbor::bytes")]
    pub secret_sha256: [u8; 32],
    /// The project it belongs to.
    #[n(2)]
    pub project: ProjectId,
    /// What it may do there.
    #[n(3)]
    pub role: Role,
    /// When it was created, by our clock.
    #[n(4)]
    pub created: Timestamp,
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount")
            .field("client_id", &self.client_id)
            .field("role", &self.role)
            .finish()
    }
}

/// What a caller may do in a project. The names are Atlas's, but for [`Role::Shipper`], of which
/// Atlas has no like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Everything.
    #[n(0)]
    Owner,
    /// See that projects, clusters and hosts exist.
    #[n(1)]
    ReadOnly,
    /// Watch; included the access history until 2025.
    #[n(2)]
    MonitoringAdmin,
    /// Manage database users; includes the access history.
    #[n(3)]
    DatabaseAccessAdmin,
    /// Read logs; includes the access history.
    #[n(4)]
    ClusterLogViewer,
    /// Send events, and nothing else: its key lies on every machine that sends.
    #[n(5)]
    Shipper,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 6] = [
        Role::Owner,
        Role::ReadOnly,
        Role::MonitoringAdmin,
        Role::DatabaseAccessAdmin,
        Role::ClusterLogViewer,
        Role::Shipper,
    ];

    /// The name as Atlas's documentation writes them.
    pub const fn title(self) -> &'static str {
        match self {
            Role::Owner => "Project Owner",
            Role::ReadOnly => "Project Read Only",
            Role::MonitoringAdmin => "Project Monitoring Admin",
            Role::DatabaseAccessAdmin => "Project Database Access Admin",
            Role::ClusterLogViewer => "Project Cluster Log Viewer",
            Role::Shipper => "Project Shipper",
        }
    }

    /// The name as Atlas's API writes them.
    pub const fn api_name(self) -> &'static str {
        match self {
            Role::Owner => "GROUP_OWNER",
            Role::ReadOnly => "GROUP_READ_ONLY",
            Role::MonitoringAdmin => "GROUP_MONITORING_ADMIN",
            Role::DatabaseAccessAdmin => "GROUP_DATABASE_ACCESS_ADMIN",
            Role::ClusterLogViewer => "GROUP_CLUSTER_LOG_VIEWER",
            Role::Shipper => "GROUP_SHIPPER",
        }
    }

    /// A role by either name; case, spaces, hyphens and underscores do not matter.
    pub fn parse(text: &str) -> Option<Role> {
        let plain = |text: &str| -> String {
            let letters = text.chars().filter(|c| !matches!(c, ' ' | '-' | '_'));
            letters.flat_map(char::to_lowercase).collect()
        };
        let wanted = plain(text);
        Role::ALL
            .into_iter()
            .find(|role| plain(role.title()) == wanted || plain(role.api_name()) == wanted)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.api_name())
    }
}

impl Serialize for Role {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.api_name())
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Role, D::Error> {
        let text = String::deserialize(deserializer)?;
        Role::parse(&text).ok_or_else(|| serde::de::Error::custom("unknown role"))
    }
}

/// Why a change cannot be made. The text is for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryError {
    /// What the change creates is there already.
    Exists(String),
    /// What the change refers to is not there.
    Missing(String),
    /// The change itself is malformed.
    Invalid(String),
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (RegistryError::Exists(text)
        | RegistryError::Missing(text)
        | RegistryError::Invalid(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for RegistryError {}

/// All projects, clusters, hosts, keys and service accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Registry {
    #[n(0)]
    projects: BTreeMap<ProjectId, Project>,
    #[n(1)]
    clusters: BTreeMap<ProjectId, BTreeMap<Text, Cluster>>,
    #[n(2)]
    hosts: BTreeMap<ProjectId, BTreeMap<HostName, Host>>,
    #[n(3)]
    keys: BTreeMap<Text, Key>,
    #[n(4)]
    service_accounts: BTreeMap<Text, ServiceAccount>,
    #[cbor(n(5), default, skip_if = "BTreeMap::is_empty")]
    retention: BTreeMap<Scope, Retention>,
    #[cbor(n(6), default, skip_if = "BTreeMap::is_empty")]
    sources: BTreeMap<Text, Source>,
    #[cbor(n(7), default, skip_if = "Arrays::is_empty")]
    arrays: Arrays,
    #[cbor(n(8), default, skip_if = "BTreeMap::is_empty")]
    roles: BTreeMap<Text, BTreeMap<ProjectId, Role>>,
    #[cbor(n(9), default, skip_if = "BTreeMap::is_empty")]
    reviews: BTreeMap<Text, Review>,
    #[cbor(n(12), default, skip_if = "BTreeSet::is_empty")]
    administrators: BTreeSet<Text>,
}

impl Registry {
    /// Every project, by id.
    pub fn projects(&self) -> impl Iterator<Item = &Project> {
        self.projects.values()
    }

    /// A project by id.
    pub fn project(&self, id: ProjectId) -> Option<&Project> {
        self.projects.get(&id)
    }

    /// A project by name.
    pub fn project_named(&self, name: &str) -> Option<&Project> {
        self.projects.values().find(|project| &*project.name == name)
    }

    /// A project by id or, where the text is no known id, by name.
    pub fn find_project(&self, id_or_name: &str) -> Option<&Project> {
        let by_id = id_or_name.parse().ok().and_then(|id| self.project(id));
        by_id.or_else(|| self.project_named(id_or_name))
    }

    /// The clusters of a project, by name.
    pub fn clusters(&self, project: ProjectId) -> impl Iterator<Item = &Cluster> {
        self.clusters.get(&project).into_iter().flat_map(BTreeMap::values)
    }

    /// A cluster by name.
    pub fn cluster(&self, project: ProjectId, name: &str) -> Option<&Cluster> {
        self.clusters.get(&project)?.get(name)
    }

    /// The hosts of a project, by canonical name.
    pub fn hosts(&self, project: ProjectId) -> impl Iterator<Item = &Host> {
        self.hosts.get(&project).into_iter().flat_map(BTreeMap::values)
    }

    /// A host by its canonical name.
    pub fn host(&self, project: ProjectId, name: &HostName) -> Option<&Host> {
        self.hosts.get(&project)?.get(name)
    }

    /// Other names of a source's host.
    pub fn aliases_of(&self, source: &Source) -> impl Iterator<Item = &Text> {
        let host = source.project().zip(source.host());
        let host = host.and_then(|(project, host)| self.host(project, host));
        host.into_iter().flat_map(|host| &host.aliases)
    }

    /// The hosts that a user's text means: with a port exactly one, without a port every host of
    /// that name. An alias is a name like the host's own; where it names no port, it has the host's.
    pub fn find_hosts(&self, project: ProjectId, text: &str) -> Vec<&Host> {
        let Ok((wanted, has_port)) = HostName::parse(text) else { return Vec::new() };
        let is_it =
            |name: &Text, port: u16| *name == wanted.name && (!has_port || port == wanted.port);
        let is_alias = |host: &Host, alias: &Text| {
            HostName::parse(alias).is_ok_and(|(alias, has_port)| {
                is_it(&alias.name, if has_port { alias.port } else { host.name.port })
            })
        };
        let is_meant = |host: &&Host| {
            is_it(&host.name.name, host.name.port)
                || host.aliases.iter().any(|alias| is_alias(host, alias))
        };
        self.hosts(project).filter(is_meant).collect()
    }

    /// Every key, by its public half.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.values()
    }

    /// A key by its public half.
    pub fn key(&self, public: &str) -> Option<&Key> {
        self.keys.get(public)
    }

    /// Every service account, by client id.
    pub fn service_accounts(&self) -> impl Iterator<Item = &ServiceAccount> {
        self.service_accounts.values()
    }

    /// A service account by client id.
    pub fn service_account(&self, client_id: &str) -> Option<&ServiceAccount> {
        self.service_accounts.get(client_id)
    }

    /// Every source, by name.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.values()
    }

    /// A source by name.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.get(name)
    }

    /// Every review, by name.
    pub fn reviews(&self) -> impl Iterator<Item = &Review> {
        self.reviews.values()
    }

    /// A review by name.
    pub fn review(&self, name: &str) -> Option<&Review> {
        self.reviews.get(name)
    }

    /// Users, organizations, tokens and arrays.
    pub fn arrays(&self) -> &Arrays {
        &self.arrays
    }

    /// The role of a user in a project.
    pub fn role_of_user(&self, user: &str, project: ProjectId) -> Option<Role> {
        self.arrays.user(user)?;
        self.roles.get(user)?.get(&project).copied()
    }

    /// The projects in which a user has a role, by id.
    pub fn roles_of_user(&self, user: &str) -> impl Iterator<Item = (&Project, Role)> {
        let roles = self.roles.get(user).into_iter().flatten();
        roles.filter_map(|(project, role)| Some((self.project(*project)?, *role)))
    }

    /// Whether a user may manage the server.
    pub fn is_administrator(&self, user: &str) -> bool {
        self.administrators.contains(user) && self.arrays.user(user).is_some()
    }

    /// How long a scope's events are kept.
    pub fn retention(&self, scope: &Scope) -> Retention {
        self.retention.get(scope).cloned().unwrap_or_default()
    }

    /// Applies a change that [`Registry::check`] allowed.
    pub fn apply(&mut self, change: &RegistryChange) {
        match change.clone() {
            RegistryChange::ProjectCreated(project) => {
                self.projects.insert(project.id, project);
            }
            RegistryChange::ClusterCreated(cluster) => {
                let clusters = self.clusters.entry(cluster.project).or_default();
                clusters.insert(cluster.name.clone(), cluster);
            }
            RegistryChange::HostAdded(host) => {
                self.hosts.entry(host.project).or_default().insert(host.name.clone(), host);
            }
            RegistryChange::HostAliasAdded { project, host, alias } => {
                let host = self.hosts.get_mut(&project).and_then(|hosts| hosts.get_mut(&host));
                host.expect("check found the host").aliases.push(alias);
            }
            RegistryChange::KeyCreated(key) => {
                self.keys.insert(key.public.clone(), key);
            }
            RegistryChange::KeyDeleted { public } => {
                self.keys.remove(&public);
            }
            RegistryChange::ServiceAccountCreated(account) => {
                self.service_accounts.insert(account.client_id.clone(), account);
            }
            RegistryChange::ServiceAccountDeleted { client_id } => {
                self.service_accounts.remove(&client_id);
            }
            RegistryChange::RetentionSet(set) => {
                self.retention.entry(set.scope).or_default().set(set.limits, set.at);
            }
            RegistryChange::SourceSet(source) => {
                self.sources.insert(source.name.clone(), source);
            }
            RegistryChange::SourceRemoved { name } => {
                self.sources.remove(&name);
            }
            // The registry does not know how far a source has come.
            RegistryChange::SourceReplayed { .. } => {}
            RegistryChange::SourcePaused { name, paused } => {
                self.sources.get_mut(&name).expect("check found the source").paused = paused;
            }
            RegistryChange::Arrays(change) => self.arrays.apply(change),
            RegistryChange::RoleGranted { user, project, role } => {
                self.roles.entry(user).or_default().insert(project, role);
            }
            RegistryChange::RoleRevoked { user, project } => {
                let roles = self.roles.get_mut(&user).expect("check found the role");
                roles.remove(&project);
                if roles.is_empty() {
                    self.roles.remove(&user);
                }
            }
            RegistryChange::ReviewSet(review) => {
                self.reviews.insert(review.name.clone(), review);
            }
            RegistryChange::ReviewRemoved { name } => {
                self.reviews.remove(&name);
            }
            RegistryChange::AdministratorSet { user, is_one: true } => {
                self.administrators.insert(user);
            }
            RegistryChange::AdministratorSet { user, is_one: false } => {
                self.administrators.remove(&user);
            }
        }
    }
}

/// Whether the text can name a cluster (Atlas's pattern `^[a-zA-Z0-9][a-zA-Z0-9-]*$`, 64 at most).
pub fn is_cluster_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=64).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(allowed)
}

//! The registry: projects, clusters, hosts, keys, service accounts and their roles, the sources that
//! are followed, and how long each scope's events are kept.
//!
//! [`Registry`] is the state, [`RegistryChange`] what changes it. Every change is checked by
//! [`Registry::check`] before it is written and applied by [`Registry::apply`] after; applying the
//! same changes in the same order gives the same registry on every node and after every restart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::arrays::{Arrays, ArraysChange, is_storage_uri};
use crate::retention::{Retention, RetentionSet};
use crate::review::Review;
use crate::source::{INTERVAL_SECONDS_MAX, Source, SourceKind, Subject, is_source_name};
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

/// One change of the registry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RegistryChange {
    /// A project came to be.
    #[n(0)]
    ProjectCreated(#[n(0)] Project),
    /// A cluster came to be.
    #[n(1)]
    ClusterCreated(#[n(0)] Cluster),
    /// A host came to its cluster.
    #[n(2)]
    HostAdded(#[n(0)] Host),
    /// A host got another name.
    #[n(3)]
    HostAliasAdded {
        /// The host's project.
        #[n(0)]
        project: ProjectId,
        /// The host.
        #[n(1)]
        host: HostName,
        /// The further name.
        #[n(2)]
        alias: Text,
    },
    /// An API key was handed out.
    #[n(4)]
    KeyCreated(#[n(0)] Key),
    /// An API key ends.
    #[n(5)]
    KeyDeleted {
        /// Its public half.
        #[n(0)]
        public: Text,
    },
    /// A service account was handed out.
    #[n(6)]
    ServiceAccountCreated(#[n(0)] ServiceAccount),
    /// A service account ends.
    #[n(7)]
    ServiceAccountDeleted {
        /// Its client id.
        #[n(0)]
        client_id: Text,
    },
    /// How long a scope's events are kept was decided.
    #[n(8)]
    RetentionSet(#[n(0)] RetentionSet),
    /// A source is followed from now on, or as described from now on.
    #[n(9)]
    SourceSet(#[n(0)] Source),
    /// A source is no longer followed.
    #[n(10)]
    SourceRemoved {
        /// Its name.
        #[n(0)]
        name: Text,
    },
    /// A source rests, or goes on.
    #[n(11)]
    SourcePaused {
        /// Its name.
        #[n(0)]
        name: Text,
        /// Whether it rests.
        #[n(1)]
        paused: bool,
    },
    /// What a source has read is forgotten, so that it is read again from the oldest file still there.
    #[n(12)]
    SourceReplayed {
        /// Its name.
        #[n(0)]
        name: Text,
    },
    /// Users, organizations, tokens or arrays changed.
    #[n(13)]
    Arrays(#[n(0)] ArraysChange),
    /// A user has this role in a project from now on, instead of any other.
    #[n(14)]
    RoleGranted {
        /// The user.
        #[n(0)]
        user: Text,
        /// The project.
        #[n(1)]
        project: ProjectId,
        /// The role.
        #[n(2)]
        role: Role,
    },
    /// A user has no role in a project any more.
    #[n(15)]
    RoleRevoked {
        /// The user.
        #[n(0)]
        user: Text,
        /// The project.
        #[n(1)]
        project: ProjectId,
    },
    /// Something is reviewed from now on, or as described from now on.
    #[n(16)]
    ReviewSet(#[n(0)] Review),
    /// Something is no longer reviewed.
    #[n(17)]
    ReviewRemoved {
        /// Its name.
        #[n(0)]
        name: Text,
    },
    /// A user may manage the server from now on, or may no more.
    #[n(19)]
    AdministratorSet {
        /// The user.
        #[n(0)]
        user: Text,
        /// Whether it is one.
        #[n(1)]
        is_one: bool,
    },
}

impl RegistryChange {
    /// What kind of thing changes, and its name: the target of the event that records the change.
    /// Never a secret.
    pub fn subject(&self) -> (&'static str, String) {
        match self {
            RegistryChange::ProjectCreated(project) => ("project", project.name.to_string()),
            RegistryChange::ClusterCreated(cluster) => ("cluster", cluster.name.to_string()),
            RegistryChange::HostAdded(host) => ("host", host.name.to_string()),
            RegistryChange::HostAliasAdded { host, .. } => ("host", host.to_string()),
            RegistryChange::KeyCreated(key) => ("key", key.public.to_string()),
            RegistryChange::KeyDeleted { public } => ("key", public.to_string()),
            RegistryChange::ServiceAccountCreated(account) => {
                ("service_account", account.client_id.to_string())
            }
            RegistryChange::ServiceAccountDeleted { client_id } => {
                ("service_account", client_id.to_string())
            }
            RegistryChange::RetentionSet(set) => ("retention", set.scope.to_string()),
            RegistryChange::SourceSet(source) => ("source", source.name.to_string()),
            RegistryChange::SourceRemoved { name }
            | RegistryChange::SourceReplayed { name }
            | RegistryChange::SourcePaused { name, .. } => ("source", name.to_string()),
            RegistryChange::Arrays(change) => change.subject(),
            RegistryChange::RoleGranted { user, .. }
            | RegistryChange::RoleRevoked { user, .. }
            | RegistryChange::AdministratorSet { user, .. } => ("user", user.to_string()),
            RegistryChange::ReviewSet(review) => ("review", review.name.to_string()),
            RegistryChange::ReviewRemoved { name } => ("review", name.to_string()),
        }
    }

    /// The name of the source that changes, if one does.
    pub fn source(&self) -> Option<&Text> {
        match self {
            RegistryChange::SourceSet(source) => Some(&source.name),
            RegistryChange::SourceRemoved { name }
            | RegistryChange::SourceReplayed { name }
            | RegistryChange::SourcePaused { name, .. } => Some(name),
            _ => None,
        }
    }

    /// What happens to it.
    pub const fn verb(&self) -> &'static str {
        match self {
            RegistryChange::ProjectCreated(_)
            | RegistryChange::ClusterCreated(_)
            | RegistryChange::KeyCreated(_)
            | RegistryChange::ServiceAccountCreated(_) => "create",
            RegistryChange::HostAdded(_) => "add",
            RegistryChange::HostAliasAdded { .. } => "add_alias",
            RegistryChange::KeyDeleted { .. } | RegistryChange::ServiceAccountDeleted { .. } => {
                "delete"
            }
            RegistryChange::RetentionSet(_)
            | RegistryChange::SourceSet(_)
            | RegistryChange::ReviewSet(_) => "set",
            RegistryChange::SourceRemoved { .. } | RegistryChange::ReviewRemoved { .. } => "remove",
            RegistryChange::SourceReplayed { .. } => "replay",
            RegistryChange::SourcePaused { paused: true, .. } => "pause",
            RegistryChange::SourcePaused { paused: false, .. } => "resume",
            RegistryChange::Arrays(change) => change.verb(),
            RegistryChange::RoleGranted { .. } => "grant",
            RegistryChange::RoleRevoked { .. } => "revoke",
            RegistryChange::AdministratorSet { is_one: true, .. } => "make_administrator",
            RegistryChange::AdministratorSet { is_one: false, .. } => "unmake_administrator",
        }
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

    /// Whether `change` can be applied now.
    pub fn check(&self, change: &RegistryChange) -> Result<(), RegistryError> {
        use RegistryError::{Exists, Invalid, Missing};
        let project_exists = |id: ProjectId| match self.project(id) {
            Some(_) => Ok(()),
            None => Err(Missing(format!("no project {id}"))),
        };
        match change {
            RegistryChange::ProjectCreated(project) => {
                // Atlas's rule for group names, so that no client meets a name it refuses.
                let allowed = |c: char| c.is_alphanumeric() || " -_.,:()&@+'".contains(c);
                if project.name.is_empty()
                    || project.name.chars().count() > 64
                    || !project.name.chars().all(allowed)
                {
                    return Err(Invalid(format!(
                        "{:?} is not a project name: 1 to 64 letters, digits, spaces and -_.,:()&@+'",
                        &*project.name
                    )));
                }
                if self.project(project.id).is_some() {
                    return Err(Exists(format!("there is a project {} already", project.id)));
                }
                if self.project_named(&project.name).is_some() {
                    return Err(Exists(format!("there is a project {:?} already", &*project.name)));
                }
                Ok(())
            }
            RegistryChange::ClusterCreated(cluster) => {
                project_exists(cluster.project)?;
                if !is_cluster_name(&cluster.name) {
                    return Err(Invalid(format!(
                        "{:?} is not a cluster name: 1 to 64 ASCII letters, digits and hyphens, no hyphen first",
                        &*cluster.name
                    )));
                }
                match self.cluster(cluster.project, &cluster.name) {
                    Some(_) => Err(Exists(format!("there is a cluster {} already", cluster.name))),
                    None => Ok(()),
                }
            }
            RegistryChange::HostAdded(host) => {
                project_exists(host.project)?;
                if self.cluster(host.project, &host.cluster).is_none() {
                    return Err(Missing(format!("no cluster {} in this project", host.cluster)));
                }
                if let Some(other) = self.host(host.project, &host.name) {
                    return Err(Exists(format!(
                        "{} is a host of cluster {} already",
                        host.name, other.cluster
                    )));
                }
                host.aliases.iter().try_for_each(|alias| self.check_alias(host.project, alias))
            }
            RegistryChange::HostAliasAdded { project, host, alias } => {
                project_exists(*project)?;
                if self.host(*project, host).is_none() {
                    return Err(Missing(format!("no host {host} in this project")));
                }
                self.check_alias(*project, alias)
            }
            RegistryChange::KeyCreated(key) => {
                project_exists(key.project)?;
                if let Some(agent) = key.agent.as_deref().filter(|agent| !is_source_name(agent)) {
                    return Err(not_an_agent(agent));
                }
                if key.agent.is_some() && key.role != Role::Shipper {
                    return Err(Invalid("the key of an agent has the role GROUP_SHIPPER".into()));
                }
                match self.key(&key.public) {
                    Some(_) => Err(Exists(format!("there is a key {} already", key.public))),
                    None => Ok(()),
                }
            }
            RegistryChange::KeyDeleted { public } => match self.key(public) {
                Some(_) => Ok(()),
                None => Err(Missing(format!("no key {public}"))),
            },
            RegistryChange::ServiceAccountCreated(account) => {
                project_exists(account.project)?;
                match self.service_account(&account.client_id) {
                    Some(_) => {
                        Err(Exists(format!("there is a service account {}", account.client_id)))
                    }
                    None => Ok(()),
                }
            }
            RegistryChange::ServiceAccountDeleted { client_id } => {
                match self.service_account(client_id) {
                    Some(_) => Ok(()),
                    None => Err(Missing(format!("no service account {client_id}"))),
                }
            }
            RegistryChange::RetentionSet(set) => {
                self.check_scope(&set.scope)?;
                set.limits.check()
            }
            RegistryChange::SourceSet(source) => {
                if !is_source_name(&source.name) {
                    return Err(Invalid(format!(
                        "{:?} is not a source name: 1 to 64 lower-case letters, digits and -_. and \
                         not doorbook",
                        &*source.name
                    )));
                }
                check_way(source)?;
                match &source.subject {
                    Subject::Host { project, cluster, host } => {
                        project_exists(*project)?;
                        let known = self.host(*project, host);
                        match known.is_some_and(|known| known.cluster == *cluster) {
                            true => Ok(()),
                            false => Err(Missing(format!("cluster {cluster} has no host {host}"))),
                        }
                    }
                    Subject::Arrays { namespace, below } => {
                        if !self.arrays.is_namespace(namespace) {
                            return Err(Missing(format!("no namespace {namespace}")));
                        }
                        check_arrays(source, below)
                    }
                }
            }
            RegistryChange::SourceRemoved { name }
            | RegistryChange::SourceReplayed { name }
            | RegistryChange::SourcePaused { name, .. } => match self.source(name) {
                Some(_) => Ok(()),
                None => Err(Missing(format!("no source {name}"))),
            },
            RegistryChange::Arrays(change) => self.arrays.check(change),
            RegistryChange::RoleGranted { user, project, role } => {
                project_exists(*project)?;
                if self.arrays.user(user).is_none() {
                    return Err(Missing(format!("no user {user}")));
                }
                match *role == Role::Shipper {
                    true => Err(Invalid("GROUP_SHIPPER is for programs that send, by key".into())),
                    false => Ok(()),
                }
            }
            RegistryChange::RoleRevoked { user, project } => {
                project_exists(*project)?;
                match self.role_of_user(user, *project) {
                    Some(_) => Ok(()),
                    None => Err(Missing(format!("{user} has no role in this project"))),
                }
            }
            RegistryChange::AdministratorSet { user, is_one } => {
                if self.arrays.user(user).is_none() {
                    return Err(Missing(format!("no user {user}")));
                }
                match (self.is_administrator(user), is_one) {
                    (true, true) => Err(Exists(format!("{user} is an administrator already"))),
                    (false, false) => Err(Missing(format!("{user} is no administrator"))),
                    _ => Ok(()),
                }
            }
            RegistryChange::ReviewSet(review) => {
                self.check_scope(&review.scope)?;
                review.check(self.review(&review.name))
            }
            RegistryChange::ReviewRemoved { name } => match self.review(name) {
                Some(_) => Ok(()),
                None => Err(Missing(format!("no review {name}"))),
            },
        }
    }

    fn check_scope(&self, scope: &Scope) -> Result<(), RegistryError> {
        match scope {
            Scope::Project(id) if self.project(*id).is_none() => {
                Err(RegistryError::Missing(format!("no project {id}")))
            }
            Scope::Namespace(name) if !self.arrays.is_namespace(name) => {
                Err(RegistryError::Missing(format!("no namespace {name}")))
            }
            Scope::System | Scope::Project(_) | Scope::Namespace(_) => Ok(()),
        }
    }

    fn check_alias(&self, project: ProjectId, alias: &str) -> Result<(), RegistryError> {
        if HostName::parse(alias).is_err() || alias.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(RegistryError::Invalid(format!(
                "{alias:?} is not a host alias: a lower-case host name, with or without port"
            )));
        }
        match self.find_hosts(project, alias).first() {
            Some(host) => {
                Err(RegistryError::Exists(format!("{alias} means {} already", host.name)))
            }
            None => Ok(()),
        }
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

/// A source has a file or rules, and what it names can be named.
fn check_way(source: &Source) -> Result<(), RegistryError> {
    const RULES_MAX: usize = 16;
    const TEXT_MAX_BYTES: usize = 1024;
    let Source { name, path, agent, rules, .. } = source;
    let invalid = |why: &str| Err(RegistryError::Invalid(format!("source {name} {why}")));
    if source.kind.is_of_arrays() != source.namespace().is_some() {
        return invalid("has a kind that does not tell of what it is of");
    }
    let fits = |text: &Text| (1..=TEXT_MAX_BYTES).contains(&text.len());
    match (path.is_empty(), rules.is_empty()) {
        (true, true) => return invalid("has neither a file nor rules"),
        (false, false) => return invalid("has a file and rules: make two of it"),
        _ => {}
    }
    if rules.len() > RULES_MAX {
        return invalid("has more than 16 rules");
    }
    if !rules.iter().all(|rule| fits(&rule.label) && fits(&rule.pattern)) {
        return invalid("has a rule whose label or pattern is empty or longer than 1024 bytes");
    }
    match agent.as_deref() {
        Some(_) if !rules.is_empty() => invalid("has an agent and rules: an agent follows a file"),
        Some(agent) if !is_source_name(agent) => Err(not_an_agent(agent)),
        _ => Ok(()),
    }
}

/// A source of arrays is read by us, from a place that can be one.
fn check_arrays(source: &Source, below: &str) -> Result<(), RegistryError> {
    let Source { name, kind, path, agent, interval_seconds, .. } = source;
    let invalid = |why: &str| Err(RegistryError::Invalid(format!("source {name} {why}")));
    if agent.is_some() || path.is_empty() {
        return invalid("tells of arrays: it has a path, and neither rules nor an agent");
    }
    if below != "s3://" && !is_storage_uri(below) {
        return invalid("tells of arrays below file:///PATH, s3://BUCKET or s3://BUCKET/PREFIX");
    }
    if *kind == SourceKind::TiledbStorage && **path != *below {
        return invalid("watches another place than that of its arrays");
    }
    match interval_seconds.is_none_or(|seconds| (1..=INTERVAL_SECONDS_MAX).contains(&seconds)) {
        true => Ok(()),
        false => invalid("is looked at every 1 to 604800 seconds"),
    }
}

fn not_an_agent(name: &str) -> RegistryError {
    RegistryError::Invalid(format!(
        "{name:?} is not an agent's name: 1 to 64 lower-case letters, digits and -_. and not \
         doorbook"
    ))
}

/// Whether the text can name a cluster (Atlas's pattern `^[a-zA-Z0-9][a-zA-Z0-9-]*$`, 64 at most).
pub fn is_cluster_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=64).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrays::{Organization, PasswordHash, User, Uuid};
    use crate::source::{Rule, SourceKind};

    fn sample() -> (Registry, ProjectId) {
        let id = ProjectId::new([1; 12]);
        let mut registry = Registry::default();
        let created = Timestamp::from_seconds(0);
        let host = |name: &str, cluster: &str, aliases: &[&str]| {
            RegistryChange::HostAdded(Host {
                project: id,
                cluster: cluster.into(),
                name: HostName::parse(name).expect("valid").0,
                aliases: aliases.iter().map(|alias| Text::from(*alias)).collect(),
            })
        };
        for change in [
            RegistryChange::ProjectCreated(Project { id, name: "shop".into(), created }),
            RegistryChange::ClusterCreated(Cluster { project: id, name: "orders".into(), created }),
            host("db-1:27017", "orders", &["orders-shard-00-00.example"]),
            host("db-1:27018", "orders", &[]),
            host("db-2", "orders", &[]),
        ] {
            registry.check(&change).expect("allowed");
            registry.apply(&change);
        }
        (registry, id)
    }

    #[test]
    fn a_text_means_every_host_it_names() {
        let (registry, id) = sample();
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<_> =
                registry.find_hosts(id, text).iter().map(|host| host.name.to_string()).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("db-1", &["db-1:27017", "db-1:27018"]);
        check("DB-1:27018", &["db-1:27018"]);
        check("orders-shard-00-00.example", &["db-1:27017"]);
        check("orders-shard-00-00.example:27017", &["db-1:27017"]);
        check("orders-shard-00-00.example:27018", &[]);
        check("db-3", &[]);
        check("not a host", &[]);
    }

    /// `/processes` shows aliases without port, so they must be found like that.
    #[test]
    fn an_alias_with_a_port_is_found_without_it() {
        let (mut registry, id) = sample();
        for (host, alias) in [
            ("db-1:27018", "front:31000"),
            ("db-2", "front:31001"),
            ("db-2", "[2001:db8:0::5]:31002"),
            ("db-2", "fe80::1"),
        ] {
            let host = HostName::parse(host).expect("valid").0;
            let change = RegistryChange::HostAliasAdded { project: id, host, alias: alias.into() };
            registry.check(&change).expect("allowed");
            registry.apply(&change);
        }
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<_> =
                registry.find_hosts(id, text).iter().map(|host| host.name.to_string()).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("front:31000", &["db-1:27018"]);
        check("Front:31001", &["db-2:27017"]);
        check("front", &["db-1:27018", "db-2:27017"]);
        check("front:27017", &[]);
        check("2001:db8::5", &["db-2:27017"]);
        check("[2001:DB8::0:5]:31002", &["db-2:27017"]);
        check("[2001:db8::5]:27017", &[]);
        check("[fe80::1]:27017", &["db-2:27017"]);
    }

    /// Goal: an administrator is a user, is made and unmade once, and stays one over a restart, as another password does;
    /// without any the registry is encoded as before there were some.
    #[test]
    fn administrators_and_passwords_change() {
        let (mut registry, _) = sample();
        let encoded = |registry: &Registry| minicbor::to_vec(registry).expect("encodes");
        let before = encoded(&registry);
        let password = |n: u8| PasswordHash { salt: [n; 16], iterations: 1, hash: [n; 32] };
        let set = |is_one| RegistryChange::AdministratorSet { user: "alice".into(), is_one };
        let change_password = RegistryChange::Arrays(ArraysChange::PasswordChanged {
            user: "alice".into(),
            password: password(2),
        });
        for change in [set(true), set(false), change_password.clone()] {
            assert!(
                matches!(registry.check(&change), Err(RegistryError::Missing(_))),
                "{change:?}"
            );
        }
        let user = User {
            name: "alice".into(),
            id: Uuid::random([1; 16]),
            password: password(1),
            created: Timestamp::from_seconds(0),
        };
        registry.apply(&RegistryChange::Arrays(ArraysChange::UserCreated(user)));
        assert_eq!(encoded(&sample().0), before);
        registry.check(&set(true)).expect("allowed");
        registry.apply(&set(true));
        assert!(matches!(registry.check(&set(true)), Err(RegistryError::Exists(_))));
        registry.check(&change_password).expect("allowed");
        registry.apply(&change_password);
        let again: Registry = minicbor::decode(&encoded(&registry)).expect("decodes");
        assert!(again == registry && again.is_administrator("alice"));
        assert_eq!(again.arrays().user("alice").expect("is there").password, password(2));
        for change in [set(true), set(false), change_password] {
            let bytes = minicbor::to_vec(&change).expect("encodes");
            assert_eq!(minicbor::decode::<RegistryChange>(&bytes).expect("decodes"), change);
            assert!(!format!("{change:?} {:?}", change.subject()).contains("[2, 2"), "no secret");
        }
        registry.apply(&set(false));
        assert!(!registry.is_administrator("alice"));
    }

    /// Goal: a user has one role in a project, the latest, and only where both are there.
    #[test]
    fn a_role_is_granted_changed_and_revoked() {
        use crate::arrays::{PasswordHash, User, Uuid};
        let (mut registry, project) = sample();
        let grant = |user: &str, project, role| RegistryChange::RoleGranted {
            user: user.into(),
            project,
            role,
        };
        let first = grant("alice", project, Role::ReadOnly);
        assert!(matches!(registry.check(&first), Err(RegistryError::Missing(_))));
        registry.apply(&RegistryChange::Arrays(ArraysChange::UserCreated(User {
            name: "alice".into(),
            id: Uuid::random([1; 16]),
            password: PasswordHash { salt: [0; 16], iterations: 1, hash: [0; 32] },
            created: Timestamp::from_seconds(0),
        })));
        let other = ProjectId::new([9; 12]);
        for refused in [grant("alice", other, Role::Owner), grant("alice", project, Role::Shipper)]
        {
            registry.check(&refused).expect_err("refused");
        }
        for role in [Role::ReadOnly, Role::Owner] {
            registry.check(&grant("alice", project, role)).expect("allowed");
            registry.apply(&grant("alice", project, role));
            assert_eq!(registry.role_of_user("alice", project), Some(role));
        }
        assert_eq!(registry.role_of_user("alice", other), None);
        assert_eq!(registry.role_of_user("bob", project), None);
        let bytes = minicbor::to_vec(&registry).expect("encodes");
        assert_eq!(minicbor::decode::<Registry>(&bytes).expect("decodes"), registry);
        let revoke = RegistryChange::RoleRevoked { user: "alice".into(), project };
        registry.check(&revoke).expect("allowed");
        registry.apply(&revoke);
        assert_eq!(registry.roles_of_user("alice").count(), 0);
        assert!(matches!(registry.check(&revoke), Err(RegistryError::Missing(_))));
    }

    #[test]
    fn a_source_has_a_file_or_rules() {
        let (registry, project) = sample();
        let source = |path: &str, agent: Option<&str>, labels: &[&str]| Source {
            name: "orders".into(),
            kind: SourceKind::MongodLog,
            subject: Subject::Host {
                project,
                cluster: "orders".into(),
                host: HostName::parse("db-2").expect("valid").0,
            },
            path: path.into(),
            zone: "UTC".into(),
            paused: false,
            agent: agent.map(Text::from),
            rules: labels
                .iter()
                .map(|label| Rule { label: (*label).into(), pattern: "db-2".into() })
                .collect(),
            interval_seconds: None,
        };
        let check = |source: Source| registry.check(&RegistryChange::SourceSet(source));
        for allowed in [
            source("/var/log/mongod.log", None, &[]),
            source("/var/log/mongod.log", Some("edge-1"), &[]),
            source("", None, &["host.name", "syslog.tag"]),
        ] {
            check(allowed).expect("allowed");
        }
        for refused in [
            source("", None, &[]),
            source("", Some("edge-1"), &[]),
            source("/var/log/mongod.log", None, &["host.name"]),
            source("", Some("edge-1"), &["host.name"]),
            source("", None, &[""]),
            source("", None, &["host.name"; 17]),
            source("/var/log/mongod.log", Some("Edge 1"), &[]),
        ] {
            check(refused.clone()).expect_err(&format!("{refused:?}"));
        }
    }

    #[test]
    fn a_source_of_arrays_has_a_namespace_and_a_place() {
        let (mut registry, project) = sample();
        let organization = Organization {
            name: "lab".into(),
            id: Uuid::random([1; 16]),
            members: std::collections::BTreeSet::new(),
            created: Timestamp::from_seconds(0),
        };
        registry.apply(&RegistryChange::Arrays(ArraysChange::OrganizationCreated(organization)));
        let source = |namespace: &str, path: &str| Source {
            name: "lake".into(),
            kind: SourceKind::TiledbStorage,
            subject: Subject::Arrays { namespace: namespace.into(), below: path.into() },
            path: path.into(),
            zone: "UTC".into(),
            paused: false,
            agent: None,
            rules: Vec::new(),
            interval_seconds: None,
        };
        let check = |source: &Source| registry.check(&RegistryChange::SourceSet(source.clone()));
        let good = source("lab", "s3://lake/a");
        check(&good).expect("allowed");
        check(&source("lab", "file:///srv/arrays")).expect("allowed");
        let host = HostName::parse("db-2").expect("valid").0;
        let of_host = Subject::Host { project, cluster: "orders".into(), host };
        for refused in [
            source("nobody", "s3://lake/a"),
            source("lab", "/srv/arrays"),
            source("lab", "s3://lake/../b"),
            Source { path: "s3://other".into(), ..good.clone() },
            Source { agent: Some("edge-1".into()), ..good.clone() },
            Source { interval_seconds: Some(0), ..good.clone() },
            Source { kind: SourceKind::MongodLog, ..good.clone() },
            Source { subject: of_host, ..good.clone() },
        ] {
            check(&refused).expect_err(&format!("{refused:?}"));
        }
        let of_logs =
            Source { kind: SourceKind::CephOpsLog, path: "/var/log/ops.log".into(), ..good };
        check(&of_logs).expect("allowed");
    }

    /// Goal: of two who describe a review at once one is refused, and what a round is reckoned from never
    /// changes.
    #[test]
    fn a_review_is_described_anew_but_never_another_one() {
        use crate::review::Due;
        use crate::{LogId, Scope};
        let (mut registry, project) = sample();
        let review = Review {
            name: "failed-logins".into(),
            scope: Scope::Project(project),
            filter: "result:failed".into(),
            zone: "UTC".into(),
            due: Due { weekday: Some(0), minute: 600 },
            created: Timestamp::from_seconds(5),
            from: Timestamp::from_seconds(5),
            begins: vec![(LogId(1), 7)],
            version: 1,
        };
        let check = |registry: &Registry, change: Review| {
            registry.check(&RegistryChange::ReviewSet(change))
        };
        let other = Scope::Project(ProjectId::new([9; 12]));
        for refused in [
            Review { name: "A".into(), ..review.clone() },
            Review { name: "../x".into(), ..review.clone() },
            Review { scope: Scope::System, ..review.clone() },
            Review { scope: other, ..review.clone() },
            Review { due: Due { weekday: Some(7), minute: 0 }, ..review.clone() },
            Review { due: Due { weekday: None, minute: 1440 }, ..review.clone() },
            Review { version: 2, ..review.clone() },
        ] {
            check(&registry, refused.clone()).expect_err(&format!("{refused:?}"));
        }
        check(&registry, review.clone()).expect("allowed");
        registry.apply(&RegistryChange::ReviewSet(review.clone()));
        let next = Review { version: 2, filter: "".into(), ..review.clone() };
        for refused in [
            review.clone(),
            Review { version: 3, ..next.clone() },
            Review { begins: Vec::new(), ..next.clone() },
            Review { from: Timestamp::MIN, ..next.clone() },
        ] {
            check(&registry, refused.clone()).expect_err(&format!("{refused:?}"));
        }
        check(&registry, next.clone()).expect("allowed");
        registry.apply(&RegistryChange::ReviewSet(next.clone()));
        assert_eq!(registry.review("failed-logins"), Some(&next));
        let bytes = minicbor::to_vec(&registry).expect("encodes");
        assert_eq!(minicbor::decode::<Registry>(&bytes).expect("decodes"), registry);
        registry.apply(&RegistryChange::ReviewRemoved { name: "failed-logins".into() });
        assert_eq!(registry.reviews().count(), 0);
    }

    #[test]
    fn a_name_is_given_once() {
        let (registry, id) = sample();
        let created = Timestamp::from_seconds(0);
        let project = |id, name: &str| {
            RegistryChange::ProjectCreated(Project { id, name: name.into(), created })
        };
        let alias = |alias: &str| RegistryChange::HostAliasAdded {
            project: id,
            host: HostName::parse("db-2").expect("valid").0,
            alias: alias.into(),
        };
        let other = ProjectId::new([2; 12]);
        assert!(matches!(registry.check(&project(id, "new")), Err(RegistryError::Exists(_))));
        assert!(matches!(registry.check(&project(other, "shop")), Err(RegistryError::Exists(_))));
        assert!(matches!(registry.check(&project(other, "")), Err(RegistryError::Invalid(_))));
        assert!(matches!(registry.check(&alias("db-1")), Err(RegistryError::Exists(_))));
        assert!(matches!(registry.check(&alias("a b")), Err(RegistryError::Invalid(_))));
        assert_eq!(registry.check(&alias("second")), Ok(()));
    }

    #[test]
    fn roles_go_by_both_of_their_names() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.title()), Some(role));
            assert_eq!(Role::parse(role.api_name()), Some(role));
        }
        assert_eq!(Role::parse("project-read-only"), Some(Role::ReadOnly));
        assert_eq!(Role::parse("root"), None);
    }

    #[test]
    fn survives_its_disk_form() {
        let (registry, _) = sample();
        let bytes = minicbor::to_vec(&registry).expect("encodes");
        assert_eq!(minicbor::decode::<Registry>(&bytes).expect("decodes"), registry);
    }
}

//! What changes the registry, and what such a change is called in our own history.

use minicbor::{Decode, Encode};

use super::{Cluster, Host, Key, Project, Role, ServiceAccount};
use crate::arrays::ArraysChange;
use crate::retention::RetentionSet;
use crate::review::Review;
use crate::source::Source;
use crate::{HostName, ProjectId, Text};

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

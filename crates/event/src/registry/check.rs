//! What must hold before a change is made.

use std::fmt::Display;

use super::RegistryError::{Exists, Invalid, Missing};
use super::{
    Cluster, Host, Key, Project, Registry, RegistryChange, RegistryError, Role, is_cluster_name,
};
use crate::arrays::is_storage_uri;
use crate::source::{INTERVAL_SECONDS_MAX, Source, SourceKind, Subject, is_source_name};
use crate::{HostName, ProjectId, Scope, Text};

type Checked = Result<(), RegistryError>;

impl Registry {
    /// Whether `change` can be applied now.
    pub fn check(&self, change: &RegistryChange) -> Checked {
        match change {
            RegistryChange::ProjectCreated(project) => self.check_new_project(project),
            RegistryChange::ClusterCreated(cluster) => self.check_new_cluster(cluster),
            RegistryChange::HostAdded(host) => self.check_new_host(host),
            RegistryChange::HostAliasAdded { project, host, alias } => {
                self.check_project(*project)?;
                is_there(self.host(*project, host), format_args!("host {host} in this project"))?;
                self.check_alias(*project, alias)
            }
            RegistryChange::KeyCreated(key) => self.check_new_key(key),
            RegistryChange::KeyDeleted { public } => {
                is_there(self.key(public), format_args!("key {public}"))
            }
            RegistryChange::ServiceAccountCreated(account) => {
                self.check_project(account.project)?;
                let id = &account.client_id;
                is_new(self.service_account(id), format_args!("service account {id}"))
            }
            RegistryChange::ServiceAccountDeleted { client_id } => {
                let known = self.service_account(client_id);
                is_there(known, format_args!("service account {client_id}"))
            }
            RegistryChange::RetentionSet(set) => {
                self.check_scope(&set.scope)?;
                set.limits.check()
            }
            RegistryChange::SourceSet(source) => self.check_source(source),
            RegistryChange::SourceRemoved { name }
            | RegistryChange::SourceReplayed { name }
            | RegistryChange::SourcePaused { name, .. } => {
                is_there(self.source(name), format_args!("source {name}"))
            }
            RegistryChange::Arrays(change) => self.arrays.check(change),
            RegistryChange::RoleGranted { user, project, role } => {
                self.check_project(*project)?;
                self.check_user(user)?;
                match *role == Role::Shipper {
                    true => Err(Invalid("GROUP_SHIPPER is for programs that send, by key".into())),
                    false => Ok(()),
                }
            }
            RegistryChange::RoleRevoked { user, project } => {
                self.check_project(*project)?;
                match self.role_of_user(user, *project) {
                    Some(_) => Ok(()),
                    None => Err(Missing(format!("{user} has no role in this project"))),
                }
            }
            RegistryChange::AdministratorSet { user, is_one } => {
                self.check_user(user)?;
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
            RegistryChange::ReviewRemoved { name } => {
                is_there(self.review(name), format_args!("review {name}"))
            }
        }
    }

    fn check_new_project(&self, project: &Project) -> Checked {
        // Atlas's rule for group names, so that no client meets a name it refuses.
        let allowed = |c: char| c.is_alphanumeric() || " -_.,:()&@+'".contains(c);
        let Project { id, name, .. } = project;
        if !(1..=64).contains(&name.chars().count()) || !name.chars().all(allowed) {
            return Err(Invalid(format!(
                "{:?} is not a project name: 1 to 64 letters, digits, spaces and -_.,:()&@+'",
                &**name
            )));
        }
        is_new(self.project(*id), format_args!("project {id}"))?;
        is_new(self.project_named(name), format_args!("project {:?}", &**name))
    }

    fn check_new_cluster(&self, cluster: &Cluster) -> Checked {
        let Cluster { project, name, .. } = cluster;
        self.check_project(*project)?;
        if !is_cluster_name(name) {
            return Err(Invalid(format!(
                "{:?} is not a cluster name: 1 to 64 ASCII letters, digits and hyphens, no hyphen first",
                &**name
            )));
        }
        is_new(self.cluster(*project, name), format_args!("cluster {name}"))
    }

    fn check_new_host(&self, host: &Host) -> Checked {
        let Host { project, cluster, name, aliases } = host;
        self.check_project(*project)?;
        let known = self.cluster(*project, cluster);
        is_there(known, format_args!("cluster {cluster} in this project"))?;
        if let Some(other) = self.host(*project, name) {
            return Err(Exists(format!("{name} is a host of cluster {} already", other.cluster)));
        }
        aliases.iter().try_for_each(|alias| self.check_alias(*project, alias))
    }

    fn check_new_key(&self, key: &Key) -> Checked {
        self.check_project(key.project)?;
        if let Some(agent) = key.agent.as_deref().filter(|agent| !is_source_name(agent)) {
            return Err(not_an_agent(agent));
        }
        if key.agent.is_some() && key.role != Role::Shipper {
            return Err(Invalid("the key of an agent has the role GROUP_SHIPPER".into()));
        }
        is_new(self.key(&key.public), format_args!("key {}", key.public))
    }

    fn check_source(&self, source: &Source) -> Checked {
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
                self.check_project(*project)?;
                let known = self.host(*project, host);
                match known.is_some_and(|known| known.cluster == *cluster) {
                    true => Ok(()),
                    false => Err(Missing(format!("cluster {cluster} has no host {host}"))),
                }
            }
            Subject::Arrays { namespace, below } => {
                self.check_scope(&Scope::Namespace(namespace.clone()))?;
                check_arrays(source, below)
            }
        }
    }

    fn check_scope(&self, scope: &Scope) -> Checked {
        match scope {
            Scope::Project(id) => self.check_project(*id),
            Scope::Namespace(name) if !self.arrays.is_namespace(name) => {
                Err(Missing(format!("no namespace {name}")))
            }
            Scope::System | Scope::Namespace(_) => Ok(()),
        }
    }

    fn check_alias(&self, project: ProjectId, alias: &str) -> Checked {
        if HostName::parse(alias).is_err() || alias.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(Invalid(format!(
                "{alias:?} is not a host alias: a lower-case host name, with or without port"
            )));
        }
        match self.find_hosts(project, alias).first() {
            Some(host) => Err(Exists(format!("{alias} means {} already", host.name))),
            None => Ok(()),
        }
    }

    fn check_project(&self, id: ProjectId) -> Checked {
        is_there(self.project(id), format_args!("project {id}"))
    }

    fn check_user(&self, name: &str) -> Checked {
        is_there(self.arrays.user(name), format_args!("user {name}"))
    }
}

fn is_there<T>(known: Option<T>, what: impl Display) -> Checked {
    known.map(drop).ok_or_else(|| Missing(format!("no {what}")))
}

fn is_new<T>(known: Option<T>, what: impl Display) -> Checked {
    match known {
        Some(_) => Err(Exists(format!("there is a {what} already"))),
        None => Ok(()),
    }
}

/// A source has a file or rules, and what it names can be named.
fn check_way(source: &Source) -> Checked {
    const RULES_MAX: usize = 16;
    const TEXT_MAX_BYTES: usize = 1024;
    let Source { name, path, agent, rules, .. } = source;
    let invalid = |why: &str| Err(Invalid(format!("source {name} {why}")));
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
fn check_arrays(source: &Source, below: &str) -> Checked {
    let Source { name, kind, path, agent, interval_seconds, .. } = source;
    let invalid = |why: &str| Err(Invalid(format!("source {name} {why}")));
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
    Invalid(format!(
        "{name:?} is not an agent's name: 1 to 64 lower-case letters, digits and -_. and not \
         doorbook"
    ))
}

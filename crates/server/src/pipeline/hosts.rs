//! Which host an import's records are put under.
//!
//! A wrong answer here would put logins under a host they never came to, so nothing is guessed: a
//! text that could mean two hosts, or a host the registry does not know, is an error that shows
//! what to write instead.

use doorbook_event::registry::{Host, Registry, is_cluster_name};
use doorbook_event::{HostName, ProjectId};

use crate::admin::Failure;

/// Where a host's name came from; decides what an error tells the user to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// The user, with `--host`.
    User,
    /// The log itself.
    Log,
    /// Someone who sends events.
    Sender,
}

/// A host that records can be put under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Its canonical name.
    pub host: HostName,
    /// Whether the registry has yet to be told of it.
    pub is_new: bool,
}

/// The project's id, if both the project and the cluster exist.
pub fn resolve_cluster(
    registry: &Registry,
    project: &str,
    cluster: &str,
) -> Result<ProjectId, Failure> {
    let project = find_project(registry, project)?;
    match registry.cluster(project, cluster) {
        Some(_) => Ok(project),
        None => Err(no_cluster(registry, project, cluster)),
    }
}

/// What to say of a cluster that is not there.
pub fn no_cluster(registry: &Registry, project: ProjectId, cluster: &str) -> Failure {
    if !is_cluster_name(cluster) {
        return Failure::invalid(format!("{cluster:?} is not a cluster name"));
    }
    let known: Vec<&str> = registry.clusters(project).map(|cluster| &*cluster.name).collect();
    let next = match &known[..] {
        [] => "it has none yet; create one with `doorbook cluster create`".to_owned(),
        known => format!("it has {}", list(known)),
    };
    Failure::missing(format!("the project has no cluster {cluster}: {next}"))
}

/// The project's id.
pub fn find_project(registry: &Registry, project: &str) -> Result<ProjectId, Failure> {
    if let Some(project) = registry.find_project(project) {
        return Ok(project.id);
    }
    let mut known: Vec<&str> = registry.projects().map(|project| &*project.name).collect();
    known.sort_unstable();
    let next = match &known[..] {
        [] => "there is none yet; create one with `doorbook project create`".to_owned(),
        known => format!("there is {}", list(known)),
    };
    Err(Failure::missing(format!("there is no project {project:?}: {next}")))
}

/// The one host of `cluster` that `text` means.
pub fn resolve_host(
    registry: &Registry,
    project: ProjectId,
    cluster: &str,
    text: &str,
    named_by: NamedBy,
    add_host: bool,
) -> Result<Resolved, Failure> {
    let Ok((parsed, _)) = HostName::parse(text) else {
        return Err(Failure::invalid(format!(
            "{text:?} is not a host: give NAME, NAME:PORT, an address, or [ADDRESS]:PORT"
        )));
    };
    let found = registry.find_hosts(project, text);
    let here: Vec<&&Host> = found.iter().filter(|host| &*host.cluster == cluster).collect();
    match (&here[..], &found[..]) {
        ([host], _) => Ok(Resolved { host: host.name.clone(), is_new: false }),
        ([], []) if add_host => Ok(Resolved { host: parsed, is_new: true }),
        ([], []) => Err(unknown(registry, project, cluster, &parsed, named_by)),
        ([], [host, ..]) if named_by == NamedBy::Sender => Err(Failure::missing(format!(
            "{} is a host of cluster {}, not of {cluster}",
            host.name, host.cluster
        ))),
        ([], [host, ..]) => Err(Failure::missing(format!(
            "{} is a host of cluster {}, not of {cluster}; give --cluster {}, or the host that is \
             meant with --host",
            host.name, host.cluster, host.cluster
        ))),
        (several, _) => {
            let names: Vec<String> = several.iter().map(|host| host.name.to_string()).collect();
            let instead = match named_by {
                NamedBy::Sender => "name its port, too",
                NamedBy::User | NamedBy::Log => "give the one that is meant with --host",
            };
            Err(Failure::invalid(format!("{text} can mean {}; {instead}", list(&names))))
        }
    }
}

fn unknown(
    registry: &Registry,
    project: ProjectId,
    cluster: &str,
    host: &HostName,
    named_by: NamedBy,
) -> Failure {
    let hosts = registry.hosts(project).filter(|host| &*host.cluster == cluster);
    let known: Vec<String> = hosts.map(|host| host.name.to_string()).collect();
    let known = match &known[..] {
        [] => "no host yet".to_owned(),
        known => list(known),
    };
    let (who, next) = match named_by {
        NamedBy::User => ("", "Add the host with --add-host"),
        NamedBy::Sender => (
            "",
            "Add it with `doorbook host add`, or make the name an alias with `doorbook host alias`, \
             and send the line again",
        ),
        NamedBy::Log => (
            " (which the log names as its own)",
            "Add the host with --add-host, say which known host it is with --host, or make the name an alias with `doorbook \
             host alias`",
        ),
    };
    Failure::missing(format!("cluster {cluster} has no host {host}{who}; it has {known}. {next}"))
}

/// Names in a sentence; the first ten, since a person reads them.
pub fn list<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN: usize = 10;
    let mut shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let more = format!("{} more", names.len().saturating_sub(SHOWN));
    if names.len() > SHOWN {
        shown.push(&more);
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use doorbook_event::registry::{Cluster, Project, RegistryChange};
    use doorbook_event::{Text, Timestamp};

    use super::*;
    use crate::admin::FailureKind;

    fn registry() -> (Registry, ProjectId) {
        let id = ProjectId::new([1; 12]);
        let created = Timestamp::from_seconds(0);
        let cluster = |name: &str| {
            RegistryChange::ClusterCreated(Cluster { project: id, name: name.into(), created })
        };
        let host = |name: &str, cluster: &str, aliases: &[&str]| {
            RegistryChange::HostAdded(Host {
                project: id,
                cluster: cluster.into(),
                name: HostName::parse(name).expect("valid").0,
                aliases: aliases.iter().map(|alias| Text::from(*alias)).collect(),
            })
        };
        let mut registry = Registry::default();
        for change in [
            RegistryChange::ProjectCreated(Project { id, name: "shop".into(), created }),
            cluster("orders"),
            cluster("billing"),
            host("db-1:27017", "orders", &["orders-00.example"]),
            host("db-1:27018", "orders", &[]),
            host("db-2:27017", "orders", &[]),
            host("db-2:27018", "billing", &[]),
        ] {
            registry.check(&change).expect("allowed");
            registry.apply(&change);
        }
        (registry, id)
    }

    fn check(text: &str, add: bool, expected: Result<(&str, bool), (FailureKind, &str)>) {
        let (registry, id) = registry();
        let got = resolve_host(&registry, id, "orders", text, NamedBy::User, add);
        match (got, expected) {
            (Ok(got), Ok((host, is_new))) => {
                assert_eq!((&*got.host.to_string(), got.is_new), (host, is_new), "{text}");
            }
            (Err(got), Err((kind, part))) => {
                assert_eq!(got.kind, kind, "{text}: {got}");
                assert!(got.message.contains(part), "{text}: {got}");
            }
            (got, expected) => panic!("{text}: {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_text_means_one_host_of_the_cluster_or_is_an_error_that_helps() {
        check("db-1:27017", false, Ok(("db-1:27017", false)));
        check("DB-1:27018", true, Ok(("db-1:27018", false)));
        check("orders-00.example", false, Ok(("db-1:27017", false)));
        check("orders-00.example:27017", false, Ok(("db-1:27017", false)));
        // db-2 without a port is two hosts of the project, and one of the cluster.
        check("db-2", false, Ok(("db-2:27017", false)));
        check("db-1", false, Err((FailureKind::Invalid, "db-1:27017, db-1:27018")));
        check("db-1", true, Err((FailureKind::Invalid, "--host")));
        check("db-2:27018", true, Err((FailureKind::Missing, "cluster billing")));
        check("db-3", false, Err((FailureKind::Missing, "--add-host")));
        check("db-3", true, Ok(("db-3:27017", true)));
        check("db-3:5", true, Ok(("db-3:5", true)));
        check("a b", true, Err((FailureKind::Invalid, "is not a host")));
    }

    #[test]
    fn a_host_that_only_the_log_names_can_also_be_given_or_aliased() {
        let (registry, id) = registry();
        let failure = resolve_host(&registry, id, "orders", "x:1", NamedBy::Log, false);
        let message = failure.expect_err("unknown").message;
        for part in ["--add-host", "--host", "host alias", "the log names"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn an_unknown_project_or_cluster_lists_what_there_is() {
        let (registry, id) = registry();
        assert_eq!(resolve_cluster(&registry, "shop", "orders"), Ok(id));
        assert_eq!(resolve_cluster(&registry, &id.to_string(), "orders"), Ok(id));
        let message = |project: &str, cluster: &str| {
            resolve_cluster(&registry, project, cluster).expect_err("unknown").message
        };
        assert!(message("shop", "order").contains("billing, orders"));
        assert!(message("shop", "a b").contains("not a cluster name"));
        assert!(message("shup", "orders").contains("shop"));
    }
}

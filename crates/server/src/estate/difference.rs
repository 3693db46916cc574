//! [`difference`]: what has to change for the registry to say what a file says.
//!
//! Nothing that has a history is ever taken away: projects, clusters, hosts, aliases, keys and reviews that are
//! not in the file are only told of. Sources go with the file, because nothing but a file makes them.
//! Whether a source rests is no matter of the file's and stays as it is.

use std::collections::BTreeSet;
use std::fmt;

use doorbook_event::registry::{Cluster, Host, Project, Registry, RegistryChange};
use doorbook_event::retention::{Limits, RetentionSet};
use doorbook_event::review::{Due, Review, State};
use doorbook_event::source::{Source, Subject};
use doorbook_event::{HostName, ProjectId, Scope, Text, Timestamp};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::read::{Place, Problem};
use super::reviews::{WantedReview, WhoseHistory};
use super::wanted::{Wanted, WantedCluster, WantedHost, WantedProject, WantedSource, Whose};
use crate::filter::{About, time_zone};
use crate::review::filter_of;

/// What has to change, and what should be known besides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// In words, one for each of `changes`.
    pub told: Vec<Differs>,
    /// For the registry, in an order in which each is allowed.
    pub changes: Vec<RegistryChange>,
    /// What is not in the file and stays, and which hosts nobody follows.
    pub notes: Vec<String>,
}

/// One change in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Differs {
    /// What happens to it.
    pub action: Action,
    /// What kind of thing it is.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// More of it.
    pub detail: String,
}

/// What happens to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It comes to be.
    Add,
    /// It becomes another.
    Change,
    /// It goes.
    Remove,
}

impl Differs {
    /// A section that is no part of the registry is another one.
    pub(crate) fn section(title: &str) -> Differs {
        let (kind, name) = ("section".to_owned(), title.to_owned());
        Differs { action: Action::Change, kind, name, detail: String::new() }
    }
}

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.action {
            Action::Add => '+',
            Action::Change => '~',
            Action::Remove => '-',
        };
        let Differs { kind, name, detail, .. } = self;
        write!(f, "{sign} {kind} {name} {detail}")
    }
}

/// Compares; else says what of the file the registry refuses, each with its place. Applying the
/// changes and comparing again finds nothing. `as_of` is the state of a history, at which its new reviews begin.
pub fn difference(
    registry: &Registry,
    wanted: &Wanted,
    now: Timestamp,
    new_id: &mut dyn FnMut() -> ProjectId,
    as_of: &dyn Fn(&Scope) -> State,
) -> Result<Difference, Vec<Problem>> {
    let mut comparison = Comparison {
        registry: registry.clone(),
        now,
        new_id,
        as_of,
        difference: Difference::default(),
        problems: Vec::new(),
    };
    // Before all else, so that a source that was renamed never stands beside its old self.
    comparison.removed_sources(wanted);
    for project in &wanted.projects {
        comparison.project(project);
    }
    for source in &wanted.sources {
        comparison.source(source);
    }
    for review in &wanted.reviews {
        comparison.review(review);
    }
    comparison.notes(wanted);
    match comparison.problems.is_empty() {
        true => Ok(comparison.difference),
        false => Err(comparison.problems),
    }
}

struct Comparison<'a> {
    /// As it will be after the changes so far.
    registry: Registry,
    now: Timestamp,
    new_id: &'a mut dyn FnMut() -> ProjectId,
    as_of: &'a dyn Fn(&Scope) -> State,
    difference: Difference,
    problems: Vec<Problem>,
}

impl Comparison<'_> {
    /// Takes a change in, if the registry allows it.
    fn change(
        &mut self,
        place: Place,
        change: RegistryChange,
        action: Action,
        (kind, name, detail): (&str, &str, String),
    ) -> bool {
        if let Err(error) = self.registry.check(&change) {
            self.problem(place, error.to_string());
            return false;
        }
        self.registry.apply(&change);
        self.difference.changes.push(change);
        let (kind, name) = (kind.to_owned(), name.to_owned());
        self.difference.told.push(Differs { action, kind, name, detail });
        true
    }

    fn problem(&mut self, place: Place, message: String) {
        self.problems.push(Problem::new(place, message));
    }

    fn project(&mut self, wanted: &WantedProject) {
        let Some(id) = self.project_id(wanted) else { return };
        if let Some(retention) = &wanted.retention {
            let scope = Scope::Project(id);
            let decided = self.registry.retention(&scope).decided();
            let limits = retention.limits(decided);
            if limits != decided {
                let detail = format!("{} -> {}", kept(&decided), kept(&limits));
                let set = RetentionSet { scope, limits, at: self.now };
                let change = RegistryChange::RetentionSet(set);
                let told = ("retention", &*wanted.name, detail);
                self.change(retention.place, change, Action::Change, told);
            }
        }
        for cluster in &wanted.clusters {
            self.cluster(wanted, id, cluster);
        }
    }

    /// The project's id, after it was created if there was none.
    fn project_id(&mut self, wanted: &WantedProject) -> Option<ProjectId> {
        if let Some(known) = self.registry.project_named(&wanted.name) {
            let known = known.id;
            if let Some(id) = wanted.id.filter(|id| *id != known) {
                let message = format!(
                    "project {:?} has the id {known} and cannot get another ({id}); write id = \
                     \"{known}\", or another name for another project",
                    &*wanted.name
                );
                self.problem(wanted.place, message);
                return None;
            }
            return Some(known);
        }
        if let Some(known) = wanted.id.and_then(|id| self.registry.project(id)) {
            let message = format!(
                "the project with the id {} is named {:?} and cannot be renamed; write name = {:?}, \
                 or another id for another project",
                known.id, &*known.name, &*known.name
            );
            self.problem(wanted.place, message);
            return None;
        }
        let id = wanted.id.unwrap_or_else(|| (self.new_id)());
        let name = wanted.name.clone();
        let detail = wanted.id.map_or_else(String::new, |id| format!("with the id {id}"));
        let change = RegistryChange::ProjectCreated(Project { id, name, created: self.now });
        let told = ("project", &*wanted.name, detail);
        self.change(wanted.place, change, Action::Add, told).then_some(id)
    }

    fn cluster(&mut self, project: &WantedProject, id: ProjectId, wanted: &WantedCluster) {
        let path = format!("{}/{}", project.name, wanted.name);
        if self.registry.cluster(id, &wanted.name).is_none() {
            let cluster = Cluster { project: id, name: wanted.name.clone(), created: self.now };
            let change = RegistryChange::ClusterCreated(cluster);
            if !self.change(wanted.place, change, Action::Add, ("cluster", &path, String::new())) {
                return;
            }
        }
        for host in &wanted.hosts {
            self.host(id, &wanted.name, &path, host);
        }
    }

    fn host(&mut self, project: ProjectId, cluster: &Text, path: &str, wanted: &WantedHost) {
        let Some(name) = self.host_name(wanted.place, &wanted.name) else { return };
        let known = self.registry.host(project, &name);
        match known {
            Some(known) if known.cluster == *cluster => {}
            Some(known) => {
                let message = format!(
                    "{name} is a host of cluster {} and cannot be moved, because its history stays \
                     there; write it there",
                    known.cluster
                );
                return self.problem(wanted.place, message);
            }
            None => {
                if let Some(other) = self.registry.find_hosts(project, &wanted.name).first() {
                    let message =
                        format!("{name} is another name of {}; write that name", other.name);
                    return self.problem(wanted.place, message);
                }
                let host = Host {
                    project,
                    cluster: cluster.clone(),
                    name: name.clone(),
                    aliases: Vec::new(),
                };
                let told = ("host", &*wanted.name, format!("in {path}"));
                if !self.change(wanted.place, RegistryChange::HostAdded(host), Action::Add, told) {
                    return;
                }
            }
        }
        // As changes of their own, so that each is checked against the host's own name, too.
        for (place, alias) in &wanted.aliases {
            let known = self.registry.host(project, &name);
            if known.is_some_and(|known| known.aliases.contains(alias)) {
                continue;
            }
            let (host, alias) = (name.clone(), alias.clone());
            let told = ("alias", &*alias.clone(), format!("of {name} in {path}"));
            let change = RegistryChange::HostAliasAdded { project, host, alias };
            self.change(*place, change, Action::Add, told);
        }
    }

    fn host_name(&mut self, place: Place, text: &str) -> Option<HostName> {
        match HostName::parse(text) {
            Ok((name, _)) => Some(name),
            Err(error) => {
                self.problem(place, format!("{text:?} is not a host: {error}"));
                None
            }
        }
    }

    fn source(&mut self, wanted: &WantedSource) {
        let Some(subject) = self.subject(wanted) else { return };
        let known = self.registry.source(&wanted.name).cloned();
        let source = Source {
            name: wanted.name.clone(),
            kind: wanted.kind,
            subject,
            path: wanted.path.clone(),
            zone: wanted.zone.clone(),
            paused: known.as_ref().is_some_and(|known| known.paused),
            agent: wanted.agent.clone(),
            rules: wanted.rules.clone(),
            interval_seconds: wanted.interval_seconds,
        };
        let (action, detail) = match &known {
            Some(known) if *known == source => return,
            Some(known) => (Action::Change, changed(known, &source)),
            None => {
                let (zone, way) = (&source.zone, way(&source));
                let zone = if &**zone == "UTC" { String::new() } else { format!(" ({zone})") };
                let of = match &wanted.whose {
                    Whose::Host { project, cluster, host } => {
                        format!("{host} in {project}/{cluster}")
                    }
                    Whose::Arrays { namespace, .. } => format!("arrays of {namespace}"),
                };
                let by = source.agent.as_ref().map(|agent| format!(" (by agent {agent})"));
                let by = by.unwrap_or_default();
                (Action::Add, format!("of {of}: {way}{zone}{by}"))
            }
        };
        let told = ("source", &*wanted.name, detail);
        self.change(wanted.place, RegistryChange::SourceSet(source), action, told);
    }

    /// What a source is of. What could not be made has been told of.
    fn subject(&mut self, wanted: &WantedSource) -> Option<Subject> {
        match &wanted.whose {
            Whose::Host { project, cluster, host } => {
                let project = self.registry.project_named(project)?.id;
                let host = self.host_name(wanted.place, host)?;
                self.registry.host(project, &host)?;
                Some(Subject::Host { project, cluster: cluster.clone(), host })
            }
            Whose::Arrays { namespace, below } => {
                Some(Subject::Arrays { namespace: namespace.clone(), below: below.clone() })
            }
        }
    }

    fn review(&mut self, wanted: &WantedReview) {
        let (scope, of) = match &wanted.whose {
            WhoseHistory::Namespace(name) => (Scope::Namespace(name.clone()), name),
            WhoseHistory::Project(name) => {
                // What could not be made has been told of.
                let Some(project) = self.registry.project_named(name) else { return };
                (Scope::Project(project.id), name)
            }
        };
        let Some(due) = Due::parse(&wanted.due) else {
            return self.problem(wanted.place, format!("{:?} is no deadline", wanted.due));
        };
        let (registry, zone) = (&self.registry, time_zone(&wanted.zone).unwrap_or(TimeZone::UTC));
        let about = About { registry, scope: &scope, now: self.now, zone: &zone };
        if let Err(wrong) = filter_of(about, &wanted.filter.text) {
            return self.problems.push(wanted.filter.problem(&wrong));
        }
        let known = self.registry.review(&wanted.name).cloned();
        let (filter, zone) = (wanted.filter.text.clone(), wanted.zone.clone());
        let (review, action, detail) = match known {
            Some(known) if known.scope != scope => {
                let message = format!(
                    "review {:?} is of another history, and stays of it; write another name for another review",
                    &*wanted.name
                );
                return self.problem(wanted.place, message);
            }
            Some(known) => {
                let review =
                    Review { filter, zone, due, version: known.version + 1, ..known.clone() };
                let detail = changed_of_review(&known, &review);
                if detail.is_empty() {
                    return;
                }
                (review, Action::Change, detail)
            }
            None => {
                let begins = (self.as_of)(&scope);
                let (name, created) = (wanted.name.clone(), self.now);
                let (from, version) = (created, 1);
                let review =
                    Review { name, scope, filter, zone, due, created, from, begins, version };
                let filter = filter_shown(&review);
                let detail =
                    format!("of {of}: {filter}, {} by {due} {}", due.rhythm(), review.zone);
                (review, Action::Add, detail)
            }
        };
        let told = ("review", &*wanted.name, detail);
        self.change(wanted.place, RegistryChange::ReviewSet(review), action, told);
    }

    fn removed_sources(&mut self, wanted: &Wanted) {
        let kept: BTreeSet<&Text> = wanted.sources.iter().map(|source| &source.name).collect();
        let gone: Vec<Source> = self
            .registry
            .sources()
            .filter(|source| !kept.contains(&source.name))
            .cloned()
            .collect();
        for source in gone {
            let detail = format!("of {}: {}", source.whose(), way(&source));
            let name = source.name;
            let told = ("source", &*name.clone(), detail);
            let change = RegistryChange::SourceRemoved { name };
            self.change(Place::default(), change, Action::Remove, told);
        }
    }

    /// What is not in the file and stays; hosts that no source follows.
    fn notes(&mut self, wanted: &Wanted) {
        let mut notes = Vec::new();
        for project in self.registry.projects() {
            let Some(in_file) = wanted.projects.iter().find(|wanted| wanted.name == project.name)
            else {
                notes.push(format!("project {} is not in the file and stays", project.name));
                continue;
            };
            for cluster in self.registry.clusters(project.id) {
                let path = format!("{}/{}", project.name, cluster.name);
                let hosts = self.registry.hosts(project.id);
                let hosts = hosts.filter(|host| host.cluster == cluster.name);
                match in_file.clusters.iter().find(|wanted| wanted.name == cluster.name) {
                    None => notes.push(format!("cluster {path} is not in the file and stays")),
                    Some(in_file) => of_hosts(&path, in_file, hosts, &mut notes),
                }
            }
        }
        let followed: BTreeSet<(&Text, &Text)> =
            wanted.sources.iter().filter_map(|source| source.whose.host()).collect();
        for project in &wanted.projects {
            for cluster in &project.clusters {
                let hosts = cluster.hosts.iter().map(|host| &host.name);
                let alone: Vec<&str> = hosts
                    .filter(|host| !followed.contains(&(&project.name, *host)))
                    .map(|host| &**host)
                    .collect();
                if !alone.is_empty() {
                    let (path, alone) =
                        (format!("{}/{}", project.name, cluster.name), alone.join(", "));
                    notes.push(format!("no source follows {alone} of {path}"));
                }
            }
        }
        for review in self.registry.reviews() {
            if !wanted.reviews.iter().any(|wanted| wanted.name == review.name) {
                notes.push(format!("review {} is not in the file and stays", review.name));
            }
        }
        self.difference.notes = notes;
    }
}

fn of_hosts<'a>(
    path: &str,
    in_file: &WantedCluster,
    hosts: impl Iterator<Item = &'a Host>,
    notes: &mut Vec<String>,
) {
    for host in hosts {
        let name = Text::from(host.name.to_string());
        let Some(wanted) = in_file.hosts.iter().find(|wanted| wanted.name == name) else {
            notes.push(format!("host {name} in {path} is not in the file and stays"));
            continue;
        };
        for alias in &host.aliases {
            if !wanted.aliases.iter().any(|(_, wanted)| wanted == alias) {
                notes.push(format!(
                    "alias {alias} of {name} in {path} is not in the file and stays"
                ));
            }
        }
    }
}

/// The file of a source, or its rules.
fn way(source: &Source) -> String {
    match source.rules.is_empty() {
        true => source.path.to_string(),
        false => format!("match {}", source.rules_in_words()),
    }
}

/// What becomes another in a source.
fn changed(old: &Source, new: &Source) -> String {
    let of = |source: &Source| match &source.subject {
        Subject::Host { cluster, host, .. } => format!("{host} in {cluster}"),
        Subject::Arrays { namespace, below } => format!("arrays of {namespace} below {below}"),
    };
    let every = |source: &Source| {
        source
            .interval_seconds
            .map_or_else(|| "default".to_owned(), |seconds| format!("{seconds} s"))
    };
    let project = |source: &Source| source.project().map(|id| id.to_string()).unwrap_or_default();
    let by = |source: &Source| source.agent.as_deref().unwrap_or("none").to_owned();
    let pairs = [
        ("kind", old.kind.word().to_owned(), new.kind.word().to_owned()),
        ("project", project(old), project(new)),
        ("of", of(old), of(new)),
        ("path", old.path.to_string(), new.path.to_string()),
        ("match", old.rules_in_words(), new.rules_in_words()),
        ("zone", old.zone.to_string(), new.zone.to_string()),
        ("agent", by(old), by(new)),
        ("interval", every(old), every(new)),
    ];
    differences(&pairs)
}

/// What becomes another in a review.
fn changed_of_review(old: &Review, new: &Review) -> String {
    differences(&[
        ("filter", filter_shown(old), filter_shown(new)),
        ("due", old.due.to_string(), new.due.to_string()),
        ("zone", old.zone.to_string(), new.zone.to_string()),
    ])
}

fn filter_shown(review: &Review) -> String {
    if review.filter.is_empty() { "every event".to_owned() } else { review.filter.to_string() }
}

fn differences(pairs: &[(&str, String, String)]) -> String {
    let differ = pairs.iter().filter(|(_, old, new)| old != new);
    let told: Vec<_> = differ.map(|(what, old, new)| format!("{what} {old} -> {new}")).collect();
    told.join(", ")
}

fn kept(limits: &Limits) -> String {
    let keep = limits.keep_days.map_or_else(|| "forever".to_owned(), |days| format!("{days} days"));
    match limits.minimum_days {
        0 => keep,
        minimum => format!("{keep} (minimum {minimum})"),
    }
}

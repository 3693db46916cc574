//! [`Wanted`]: what a file wants of the registry, as plain data. Every value carries its place in the
//! file, so that whoever finds that the registry says otherwise can name it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use doorbook_event::arrays::{ArraysChange, Organization, Uuid};
use doorbook_event::registry::{Registry, RegistryChange};
use doorbook_event::retention::Limits;
use doorbook_event::review::State;
use doorbook_event::source::{Rule, SourceKind};
use doorbook_event::{HostName, ProjectId, Scope, Text, Timestamp};
use serde::{Deserialize, Serialize};

use super::difference::difference;
use super::file::{self, Keep, Match};
use super::read::{Document, PROBLEMS_MAX, Place, Problem};
use super::reviews::WantedReview;
use super::shape::At;
use super::{arrays, buckets, check, counters, paths, receivers, reviews};
use crate::arrays::FILE;

/// What a file wants of the registry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wanted {
    /// Projects with all that is in them.
    pub projects: Vec<WantedProject>,
    /// Sources, one per host.
    pub sources: Vec<WantedSource>,
    /// Reviews.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<WantedReview>,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WantedProject {
    /// Where it stands.
    pub place: Place,
    /// Its name.
    pub name: Text,
    /// Its id, where the file names one.
    pub id: Option<ProjectId>,
    /// How long its events are kept, where the file says.
    pub retention: Option<WantedRetention>,
    /// Its clusters.
    pub clusters: Vec<WantedCluster>,
}

/// How long events are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WantedRetention {
    /// Where it stands.
    pub place: Place,
    /// Days; `None`: forever.
    pub keep_days: Option<u32>,
    /// Days that this can never be below; `None`: as before.
    pub minimum_days: Option<u32>,
}

impl WantedRetention {
    /// The limits, given what was decided before.
    pub fn limits(&self, decided: Limits) -> Limits {
        let minimum_days = self.minimum_days.unwrap_or(decided.minimum_days);
        Limits { keep_days: self.keep_days, minimum_days }
    }
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WantedCluster {
    /// Where it stands.
    pub place: Place,
    /// Its name.
    pub name: Text,
    /// Its mongods and mongoses.
    pub hosts: Vec<WantedHost>,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WantedHost {
    /// Where it stands.
    pub place: Place,
    /// Its canonical name.
    pub name: Text,
    /// Its other names, in lower case, with their places.
    pub aliases: Vec<(Place, Text)>,
}

/// A source of one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WantedSource {
    /// Where it, or what it was made of, stands.
    pub place: Place,
    /// Its name.
    pub name: Text,
    /// What it reads.
    pub kind: SourceKind,
    /// Whose records it brings.
    pub whose: Whose,
    /// The live file or a pattern for it; empty where its lines are sent to us.
    pub path: Text,
    /// Which of the lines that are sent to us are its host's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// The zone of times that name none.
    pub zone: Text,
    /// The agent that follows it.
    #[serde(default)]
    pub agent: Option<Text>,
    /// How often it is looked at.
    #[serde(default)]
    pub interval_seconds: Option<u32>,
}

/// Whose records a source brings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Whose {
    /// A host's.
    #[serde(rename_all = "camelCase")]
    Host {
        /// The name of its project.
        project: Text,
        /// Its cluster.
        cluster: Text,
        /// Its canonical name.
        host: Text,
    },
    /// Those of arrays.
    #[serde(rename_all = "camelCase")]
    Arrays {
        /// Their namespace.
        namespace: Text,
        /// Where they are stored.
        below: Text,
    },
}

impl Whose {
    /// The host's project, and the host.
    pub fn host(&self) -> Option<(&Text, &Text)> {
        match self {
            Whose::Host { project, host, .. } => Some((project, host)),
            Whose::Arrays { .. } => None,
        }
    }
}

impl Wanted {
    /// Sources of arrays that are where Doorbook keeps its own data.
    pub fn in_data_dir(&self, data_dir: &Path) -> Vec<Problem> {
        let Ok(data_dir) = data_dir.canonicalize() else { return Vec::new() };
        let is_inside = |source: &&WantedSource| {
            let folder = source.path.strip_prefix(FILE).map(Path::new);
            let real = folder.and_then(|folder| folder.canonicalize().ok());
            real.is_some_and(|real| real.starts_with(&data_dir))
        };
        let inside = self.sources.iter().filter(is_inside);
        let problem = |source: &WantedSource| {
            let message =
                format!("{} is in Doorbook's data directory, which has no arrays", source.path);
            Problem::new(source.place, message)
        };
        inside.map(problem).collect()
    }
}

/// What a file wants, if all of it holds together; problems are in the file's order.
pub(super) fn of(document: &Document) -> Result<Wanted, Vec<Problem>> {
    let mut problems = Vec::new();
    check::server(document, &mut problems);
    check::alarm(document, &mut problems);
    let projects = projects(document, &mut problems);
    let sources = Expansion { document, projects: &projects }.sources(&mut problems);
    counters::of(document, &projects, &mut problems);
    receivers::of(document, &projects, &mut problems);
    buckets::of(document, &mut problems);
    let reviews = reviews::of(document, &projects, &mut problems);
    let mut wanted = Wanted { projects, sources, reviews };
    check::names(&wanted, &mut problems);
    paths::check(&wanted.sources, &mut problems);
    // What a name may look like and what belongs together is the registry's to say: the file must
    // fit an empty one.
    let mut ids = (0..=u64::MAX).map(|n| {
        let mut bytes = [0; 12];
        bytes[4..].copy_from_slice(&n.to_be_bytes());
        ProjectId::new(bytes)
    });
    let mut new_id = || ids.next().expect("there are more ids than a file has bytes");
    // Namespaces are no matter of the file's.
    let empty = namespaces(&wanted);
    // What a review names may be there by a command; the file says all else of it.
    let reviews = std::mem::take(&mut wanted.reviews);
    let (now, no_state) = (Timestamp::from_seconds(0), &|_: &Scope| State::new());
    if let Err(conflicts) = difference(&empty, &wanted, now, &mut new_id, no_state) {
        problems.extend(conflicts);
    }
    wanted.reviews = reviews;
    if problems.is_empty() {
        return Ok(wanted);
    }
    problems.sort_by(|one, other| (one.place, &one.message).cmp(&(other.place, &other.message)));
    problems.dedup();
    problems.truncate(PROBLEMS_MAX);
    Err(problems)
}

/// A registry of nothing but the namespaces that a file names.
fn namespaces(wanted: &Wanted) -> Registry {
    let mut registry = Registry::default();
    for source in &wanted.sources {
        let Whose::Arrays { namespace, .. } = &source.whose else { continue };
        let organization = Organization {
            name: namespace.clone(),
            id: Uuid::random([0; 16]),
            members: BTreeSet::new(),
            created: Timestamp::from_seconds(0),
        };
        registry.apply(&RegistryChange::Arrays(ArraysChange::OrganizationCreated(organization)));
    }
    registry
}

fn projects(document: &Document, problems: &mut Vec<Problem>) -> Vec<WantedProject> {
    let mut project = |project: &file::Project| WantedProject {
        place: document.place(&project.name.bytes()),
        name: text(&project.name),
        id: project.id.as_ref().and_then(|id| {
            let parsed = id.parse::<ProjectId>();
            let place = document.place(&id.bytes());
            parsed.map_err(|error| problems.push(Problem::new(place, error.to_string()))).ok()
        }),
        retention: project.retention.as_ref().map(|retention| {
            let Keep(keep_days) = retention.keep_days;
            let place = document.place(&retention.bytes());
            WantedRetention { place, keep_days, minimum_days: retention.minimum_days }
        }),
        clusters: project
            .cluster
            .iter()
            .flatten()
            .map(|cluster| WantedCluster {
                place: document.place(&cluster.name.bytes()),
                name: text(&cluster.name),
                hosts: hosts(document, cluster, problems),
            })
            .collect(),
    };
    document.estate.project.iter().flatten().map(&mut project).collect()
}

fn hosts(
    document: &Document,
    cluster: &file::Cluster,
    problems: &mut Vec<Problem>,
) -> Vec<WantedHost> {
    let mut hosts = Vec::new();
    for host in cluster.hosts.iter().chain(&cluster.mongos).flatten() {
        let place = document.place(&host.bytes());
        match HostName::parse(&host.name) {
            Ok((name, _)) => hosts.push(WantedHost {
                place,
                name: name.to_string().into(),
                // Host names know no case, and the registry takes them in lower case.
                aliases: host
                    .aliases
                    .iter()
                    .map(|alias| {
                        (document.place(&alias.bytes()), alias.to_ascii_lowercase().into())
                    })
                    .collect(),
            }),
            Err(error) => {
                problems
                    .push(Problem::new(place, format!("{:?} is not a host: {error}", host.name)));
            }
        }
    }
    hosts
}

/// From sources as written to one source per host.
struct Expansion<'a> {
    document: &'a Document,
    projects: &'a [WantedProject],
}

/// A host with what placeholders can ask of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate<'a> {
    project: &'a Text,
    cluster: &'a Text,
    host: &'a Text,
}

impl<'a> Expansion<'a> {
    fn sources(&self, problems: &mut Vec<Problem>) -> Vec<WantedSource> {
        let mut found = Vec::new();
        // How narrowly each host is named by the source that names it most narrowly.
        let mut narrowest: BTreeMap<(SourceKind, Candidate<'_>), u8> = BTreeMap::new();
        let mut sources = Vec::new();
        for source in self.document.estate.source.iter().flatten() {
            let place = self.document.place(&source.name.bytes());
            if source.kind.is_of_arrays() || source.namespace.is_some() {
                match arrays::source(self.document, source) {
                    Ok(source) => sources.push(source),
                    Err(problem) => problems.push(problem),
                }
                continue;
            }
            match self.candidates(source) {
                Ok(candidates) => {
                    let narrowness =
                        u8::from(source.cluster.is_some()) + 2 * u8::from(source.host.is_some());
                    for candidate in &candidates {
                        let known = narrowest.entry((source.kind, candidate.clone())).or_default();
                        *known = narrowness.min(2).max(*known);
                    }
                    found.push((source, place, candidates, narrowness.min(2)));
                }
                Err(problem) => problems.push(problem),
            }
        }
        for (source, place, candidates, narrowness) in found {
            let is_its = |candidate: &Candidate<'_>| {
                narrowest.get(&(source.kind, candidate.clone())) == Some(&narrowness)
            };
            let own = candidates.into_iter().filter(is_its);
            let made: Result<Vec<_>, _> =
                own.map(|candidate| self.source(source, place, &candidate)).collect();
            match made.and_then(|made| distinct(made, source, place)) {
                Ok(made) => sources.extend(made),
                Err(problem) => problems.push(problem),
            }
        }
        sources
    }

    /// The hosts that a source can stand for.
    fn candidates(&self, source: &file::Source) -> Result<Vec<Candidate<'a>>, Problem> {
        let place = |value: &At<String>| self.document.place(&value.bytes());
        let name_place = place(&source.name);
        let project = match (&source.project, self.projects) {
            (None, [project]) => project,
            (None, several) => {
                let names = listed(several.iter().map(|project| &*project.name));
                let message = format!("which project's? Write project = \"NAME\" ({names})");
                return Err(Problem::new(name_place, message));
            }
            (Some(name), projects) => {
                let known = projects.iter().find(|project| *project.name == ***name);
                known.ok_or_else(|| {
                    let names = listed(projects.iter().map(|project| &*project.name));
                    let message = format!("the file has no project {:?} ({names})", **name);
                    Problem::new(place(name), message)
                })?
            }
        };
        if let Some(name) = &source.cluster
            && !project.clusters.iter().any(|cluster| *cluster.name == ***name)
        {
            let names = listed(project.clusters.iter().map(|cluster| &*cluster.name));
            let message = format!("project {} has no cluster {:?} ({names})", project.name, **name);
            return Err(Problem::new(place(name), message));
        }
        let wanted = |cluster: &&WantedCluster| {
            source.cluster.as_ref().is_none_or(|name| *cluster.name == ***name)
        };
        let all: Vec<Candidate<'a>> = project
            .clusters
            .iter()
            .filter(wanted)
            .flat_map(|cluster| cluster.hosts.iter().map(move |host| (cluster, host)))
            .map(|(cluster, host)| Candidate {
                project: &project.name,
                cluster: &cluster.name,
                host: &host.name,
            })
            .collect();
        let names = listed(all.iter().map(|candidate| &**candidate.host));
        let Some(text) = &source.host else {
            return match all.is_empty() {
                false => Ok(all),
                true => Err(Problem::new(
                    name_place,
                    "this source stands for no host: there is none in its cluster or project",
                )),
            };
        };
        let malformed =
            |error| Problem::new(place(text), format!("{:?} is not a host: {error}", **text));
        let (host, has_port) = HostName::parse(text).map_err(malformed)?;
        let is_it = |candidate: &Candidate<'_>| {
            HostName::parse(candidate.host).is_ok_and(|(name, _)| {
                name.name == host.name && (!has_port || name.port == host.port)
            })
        };
        let meant: Vec<_> = all.into_iter().filter(is_it).collect();
        match meant.len() {
            1 => Ok(meant),
            0 => Err(Problem::new(
                place(text),
                format!("there is no host {:?} in its cluster or project ({names})", **text),
            )),
            _ => Err(Problem::new(
                place(text),
                format!("{:?} can mean several hosts; write it with its port", **text),
            )),
        }
    }

    /// The source of one host.
    fn source(
        &self,
        source: &file::Source,
        place: Place,
        candidate: &Candidate<'_>,
    ) -> Result<WantedSource, Problem> {
        let fill = |template: &At<String>, fit: fn(&str) -> String| {
            filled(template, candidate, fit).map_err(|unknown| {
                let message = format!(
                    "{unknown} is no placeholder: there is {{host}}, {{port}}, {{cluster}} and \
                     {{project}} (in a path, a brace that means itself is written ?)"
                );
                Problem::new(self.document.place(&template.bytes()), message)
            })
        };
        let at = |problem: String, value: &At<String>| {
            Problem::new(self.document.place(&value.bytes()), problem)
        };
        let (path, rules) = match (&source.path, &source.r#match) {
            (Some(path), None) => {
                let filled = fill(path, str::to_owned)?;
                check::path(&filled).map_err(|problem| at(problem, path))?;
                (filled, Vec::new())
            }
            (None, Some(rules)) => (String::new(), self.rules(rules, candidate)?),
            (None, None) => {
                let message = "write path = \"/PATH\", or match = { \"LABEL\" = \"VALUE\" } if its \
                               lines are sent to Doorbook";
                return Err(Problem::new(place, message.to_owned()));
            }
            (Some(path), Some(_)) => {
                let message = "write either path or match: a log that is followed is not sent";
                return Err(at(message.to_owned(), path));
            }
        };
        if let Some(arrays) = &source.arrays {
            let message = "a host's log tells of no arrays; take arrays out";
            return Err(at(message.to_owned(), arrays));
        }
        if let Some(interval) = &source.interval_seconds {
            let message = "a host's log is looked at twice a second; take interval_seconds out";
            let place = self.document.place(&interval.bytes());
            return Err(Problem::new(place, message.to_owned()));
        }
        if let Some(zone) = &source.zone {
            check::zone(zone).map_err(|problem| at(problem, zone))?;
        }
        let agent = source.agent.as_ref().map(|agent| fill(agent, name_part)).transpose()?;
        Ok(WantedSource {
            place,
            name: fill(&source.name, name_part)?.into(),
            kind: source.kind,
            whose: Whose::Host {
                project: candidate.project.clone(),
                cluster: candidate.cluster.clone(),
                host: candidate.host.clone(),
            },
            path: path.into(),
            rules,
            zone: source.zone.as_ref().map_or_else(|| "UTC".into(), |zone| zone.as_str().into()),
            agent: agent.map(Text::from),
            interval_seconds: None,
        })
    }
}

impl Expansion<'_> {
    /// The rules of one host, by label.
    fn rules(&self, rules: &At<Match>, candidate: &Candidate<'_>) -> Result<Vec<Rule>, Problem> {
        let problem = |message| Problem::new(self.document.place(&rules.bytes()), message);
        let rule = |(label, pattern): &(String, String)| {
            let pattern = filled(pattern, candidate, str::to_owned).map_err(|unknown| {
                problem(format!(
                    "{unknown} is no placeholder: there is {{host}}, {{port}}, {{cluster}} and \
                     {{project}} (a brace that means itself is written ?)"
                ))
            })?;
            check::rule(label, &pattern).map_err(problem)?;
            Ok(Rule { label: label.as_str().into(), pattern: pattern.into() })
        };
        let mut made: Vec<Rule> = rules.0.iter().map(rule).collect::<Result<_, _>>()?;
        made.sort();
        match made.is_empty() {
            true => {
                Err(problem("write at least one label: match = { \"LABEL\" = \"VALUE\" }".into()))
            }
            false => Ok(made),
        }
    }
}

/// Refuses a source that would be several of one name or path, and says which placeholder is missing.
fn distinct(
    made: Vec<WantedSource>,
    source: &file::Source,
    place: Place,
) -> Result<Vec<WantedSource>, Problem> {
    let name = source.name.as_str();
    let path = source.path.as_ref().map_or("", |path| path.as_str());
    let missing = |template: &str| if template.contains("{host}") { "{port}" } else { "{host}" };
    let n_hosts = made.len();
    let mut names = BTreeMap::new();
    let mut paths = BTreeMap::new();
    for one in &made {
        let Some((_, host)) = one.whose.host() else { continue };
        if let Some(other) = names.insert(&one.name, host) {
            let message = format!(
                "this source stands for {n_hosts} hosts, and {other} and {} would both be {:?}: \
                 write name = {:?}, for instance",
                host,
                &*one.name,
                format!("{name}.{}", missing(name))
            );
            return Err(Problem::new(place, message));
        }
        // Rules that are the same are told where all sources are compared.
        let other = paths.insert((&one.agent, &one.path), host);
        if let Some(other) = other.filter(|_| one.rules.is_empty()) {
            let message = format!(
                "this source stands for {n_hosts} hosts, and {other} and {} would both be read \
                 from {:?}: put {} in its path, or name one host",
                host,
                &*one.path,
                missing(path)
            );
            return Err(Problem::new(place, message));
        }
    }
    Ok(made)
}

/// A template with a host's values for its placeholders; else the placeholder that is none.
fn filled(
    template: &str,
    candidate: &Candidate<'_>,
    fit: fn(&str) -> String,
) -> Result<String, String> {
    let host = HostName::parse(candidate.host).map(|(host, _)| host);
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let (word, after) = after.split_once('}').ok_or_else(|| format!("{{{after}"))?;
        let value = match (word, &host) {
            ("host", Ok(host)) => fit(&host.name),
            ("port", Ok(host)) => host.port.to_string(),
            ("cluster", _) => fit(candidate.cluster),
            ("project", _) => fit(candidate.project),
            _ => return Err(format!("{{{word}}}")),
        };
        filled.push_str(&value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// A value as part of a source's name.
fn name_part(value: &str) -> String {
    let fit = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c) => c,
        _ => '-',
    };
    value.chars().map(fit).collect()
}

fn text(value: &At<String>) -> Text {
    value.as_str().into()
}

/// What there is, for a message: a few names.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const NAMES_MAX: usize = 8;
    let names: Vec<&str> = names.collect();
    match names.len() {
        0 => "it has none".to_owned(),
        n if n > NAMES_MAX => {
            format!("there is {} and {} more", names[..NAMES_MAX].join(", "), n - NAMES_MAX)
        }
        _ => format!("there is {}", names.join(", ")),
    }
}

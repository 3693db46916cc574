//! `[[counters]]`: which clusters' own counts of logins are compared with what is recorded. Nothing of it
//! is in the registry, which names no database users: a server reads it from its file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use doorbook_event::{ProjectId, Text};

use super::file;
use super::read::{Document, Place, Problem};
use super::shape::At;
use super::wanted::{Wanted, WantedProject};
use crate::counters::ClusterSettings;

/// One cluster's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedCounters {
    /// Where it stands.
    pub place: Place,
    /// The cluster's project.
    pub project: Text,
    /// The cluster.
    pub cluster: Text,
    /// Who reads them.
    pub user: String,
    /// The file with that user's password.
    pub password_file: PathBuf,
    /// The file with the authority of the hosts' certificates; `None` for no TLS.
    pub ca_file: Option<PathBuf>,
}

impl WantedCounters {
    /// What the checks are started with in a project of this id.
    pub fn settings_of(&self, project: ProjectId) -> ClusterSettings {
        ClusterSettings {
            project,
            cluster: self.cluster.clone(),
            user: self.user.clone(),
            password_file: self.password_file.clone(),
            ca_file: self.ca_file.clone(),
        }
    }
}

impl Document {
    /// Whose counters are read, one cluster each, if the file holds together.
    pub fn counters(&self, wanted: &Wanted) -> Vec<WantedCounters> {
        of(self, &wanted.projects, &mut Vec::new())
    }
}

/// From sections as written to one per cluster. One that names its cluster stands before one that
/// does not.
pub(super) fn of(
    document: &Document,
    projects: &[WantedProject],
    problems: &mut Vec<Problem>,
) -> Vec<WantedCounters> {
    let mut found: BTreeMap<(Text, Text), (bool, WantedCounters)> = BTreeMap::new();
    for section in document.estate.counters.iter().flatten() {
        let meant = match clusters(document, section, projects) {
            Ok(meant) => meant,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        for file in [Some(&section.password_file), section.ca_file.as_ref()].into_iter().flatten() {
            if !file.starts_with('/') {
                let message = format!("{:?} is not an absolute path; write it from / on", **file);
                problems.push(Problem::new(document.place(&file.bytes()), message));
            }
        }
        let is_narrow = section.cluster.is_some();
        for counters in meant {
            let of = (counters.project.clone(), counters.cluster.clone());
            match found.get(&of) {
                Some((known_is_narrow, known)) if *known_is_narrow == is_narrow => {
                    let message = format!(
                        "the counters of cluster {} stand in line {} already; each cluster's stand once",
                        counters.cluster, known.place.line
                    );
                    problems.push(Problem::new(counters.place, message));
                }
                Some((true, _)) => {}
                _ => drop(found.insert(of, (is_narrow, counters))),
            }
        }
    }
    found.into_values().map(|(_, counters)| counters).collect()
}

fn clusters(
    document: &Document,
    section: &file::Counters,
    projects: &[WantedProject],
) -> Result<Vec<WantedCounters>, Problem> {
    let place = |value: &At<String>| document.place(&value.bytes());
    let here = place(&section.user);
    let project = match (&section.project, projects) {
        (None, [project]) => project,
        (None, _) => return Err(Problem::new(here, "which project's? Write project = \"NAME\"")),
        (Some(name), projects) => {
            let known = projects.iter().find(|project| *project.name == ***name);
            let unknown = || format!("the file has no project {:?}", **name);
            known.ok_or_else(|| Problem::new(place(name), unknown()))?
        }
    };
    let is_meant = |name: &Text| section.cluster.as_ref().is_none_or(|meant| **name == ***meant);
    let meant: Vec<_> = project
        .clusters
        .iter()
        .filter(|cluster| is_meant(&cluster.name))
        .map(|cluster| WantedCounters {
            place: here,
            project: project.name.clone(),
            cluster: cluster.name.clone(),
            user: section.user.to_string(),
            password_file: section.password_file.as_str().into(),
            ca_file: section.ca_file.as_ref().map(|file| file.as_str().into()),
        })
        .collect();
    match (&section.cluster, meant.is_empty()) {
        (Some(name), true) => {
            let message = format!("project {} has no cluster {:?}", project.name, **name);
            Err(Problem::new(place(name), message))
        }
        (None, true) => Err(Problem::new(here, format!("project {} has no cluster", project.name))),
        _ => Ok(meant),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sections: &str, expected: Result<&[(&str, &str)], &str>) {
        let file = format!(
            "version = 1\n[[project]]\nname = \"shop\"\n\
             [[project.cluster]]\nname = \"orders\"\nhosts = [\"db-1\"]\n\
             [[project.cluster]]\nname = \"users\"\nhosts = [\"db-2\"]\n{sections}"
        );
        let document = Document::read(file.as_bytes()).expect("reads");
        let found = document.wanted().map(|wanted| document.counters(&wanted));
        let found = match &found {
            Ok(found) => Ok(found.iter().map(|of| (&*of.cluster, &*of.user)).collect::<Vec<_>>()),
            Err(problems) => Err(problems[0].message.clone()),
        };
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{sections}"),
            (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
            (found, _) => panic!("{sections}: {found:?}"),
        }
    }

    #[test]
    fn a_section_stands_for_a_cluster_or_for_all_of_a_project() {
        let of = |user: &str, more: &str| {
            format!("[[counters]]\nuser = \"{user}\"\npassword_file = \"/p\"\n{more}\n")
        };
        check("", Ok(&[]));
        check(&of("u", ""), Ok(&[("orders", "u"), ("users", "u")]));
        check(&of("u", "cluster = \"users\""), Ok(&[("users", "u")]));
        let both = of("all", "") + &of("one", "cluster = \"orders\"");
        check(&both, Ok(&[("orders", "one"), ("users", "all")]));
        let turned = of("one", "cluster = \"orders\"") + &of("all", "");
        check(&turned, Ok(&[("orders", "one"), ("users", "all")]));
        check(&(of("u", "") + &of("v", "")), Err("stand in line 11 already"));
        check(&of("u", "cluster = \"nowhere\""), Err("has no cluster \"nowhere\""));
        check(&of("u", "project = \"other\""), Err("no project \"other\""));
        check(&of("u", "ca_file = \"ca.pem\""), Err("not an absolute path"));
    }
}

//! From terms to a [`Filter`].

use doorbook_event::arrays::Uuid;
use doorbook_event::registry::Registry;
use doorbook_event::{Action, Class, Classes, ProjectId, Scope, Text, Timestamp};
use doorbook_store::Filter;
use doorbook_store::filter::{
    Kind, Network, OutcomeKind, PeerIs, PrincipalIs, Targets, TextIs, Unwanted,
};
use jiff::tz::TimeZone;

use super::{Key, Term, Terms, Value, Wrong};

/// What a filter is about, and when and where it was written.
#[derive(Clone, Copy)]
pub struct About<'a> {
    /// Which hosts and arrays there are.
    pub registry: &'a Registry,
    /// Whose history.
    pub scope: &'a Scope,
    /// The present, for how long ago.
    pub now: Timestamp,
    /// Where days begin.
    pub zone: &'a TimeZone,
}

impl Terms {
    /// What the terms mean; the limit is the caller's.
    pub fn filter(&self, about: About<'_>) -> Result<Filter, Wrong> {
        let terms = self.clone().at(about.now, about.zone)?;
        let wanted = terms.side(false, about.scope)?;
        let unwanted = terms.side(true, about.scope)?;
        let (groups, members) = terms.left_out(about)?;
        let once = |key| once(&terms, key);
        let instant = |key| -> Result<Option<Timestamp>, Wrong> {
            let Some(term) = once(key)? else { return Ok(None) };
            Ok(term.value.plain().and_then(|text| text.parse().ok()))
        };
        let (from, to) = (instant(Key::From)?, instant(Key::To)?);
        let filter = Filter {
            kind: kind(once(Key::Kind)?)?,
            targets: terms.targets(about)?,
            from: from.unwrap_or(Timestamp::MIN),
            to: to.unwrap_or(Timestamp::MAX),
            actions: wanted.actions,
            outcomes: wanted.outcomes,
            principals: wanted.principals,
            peers: wanted.peers,
            mechanisms: wanted.mechanisms,
            applications: wanted.applications,
            task_ids: wanted.task_ids,
            sources: wanted.sources,
            connections: wanted.connections,
            with: wanted.classes,
            raw_contains: wanted.raw_contains,
            unwanted: Unwanted { groups, members, ..unwanted },
            ..Filter::all(about.scope.clone(), 0)
        };
        match once(Key::To)? {
            Some(term) if filter.to < filter.from => Err(Wrong::value(term, "before from")),
            _ => Ok(filter),
        }
    }

    fn of(&self, key: Key, is_negated: bool) -> impl Iterator<Item = &Term> {
        self.iter().filter(move |term| term.key == key && term.is_negated == is_negated)
    }

    /// The alternatives of all keys but targets and times.
    fn side(&self, is_negated: bool, scope: &Scope) -> Result<Unwanted, Wrong> {
        let of = |key| self.of(key, is_negated);
        let texts = |key| of(key).map(|term| term.value.is()).collect();
        let mut classes = Classes::NONE;
        for term in of(Key::Class) {
            classes = classes.with(class(term)?);
        }
        Ok(Unwanted {
            actions: of(Key::Action).map(|term| action(term, scope)).collect::<Result<_, _>>()?,
            outcomes: of(Key::Result).map(outcome).collect::<Result<_, _>>()?,
            principals: self.principals(is_negated),
            peers: of(Key::Ip).map(peer).collect::<Result<_, _>>()?,
            mechanisms: texts(Key::Mechanism),
            applications: texts(Key::Application),
            task_ids: texts(Key::Task),
            sources: texts(Key::Source),
            connections: of(Key::Connection).map(connection).collect::<Result<_, _>>()?,
            classes,
            raw_contains: of(Key::Text).map(raw).collect::<Result<_, _>>()?,
            ..Unwanted::default()
        })
    }

    /// Users and principals are alternatives of each other; a database is of a user.
    fn principals(&self, is_negated: bool) -> Vec<PrincipalIs> {
        let databases: Vec<TextIs> =
            self.of(Key::Database, is_negated).map(|term| term.value.is()).collect();
        let mut users: Vec<TextIs> =
            self.of(Key::User, is_negated).map(|term| term.value.is()).collect();
        let mut principals = Vec::new();
        // What is left out by a database is left out whoever it is.
        if is_negated || users.is_empty() {
            let any = || Value { pieces: vec![String::new(), String::new()] }.is();
            let of_any = |database: &TextIs| match database {
                TextIs::Absent => PrincipalIs::WithoutDatabase,
                database => PrincipalIs::UserOf { name: any(), database: database.clone() },
            };
            principals.extend(databases.iter().map(of_any));
        }
        let nobody = users.extract_if(.., |name| *name == TextIs::Absent).next().is_some();
        for name in users {
            let of = |database: &TextIs| PrincipalIs::UserOf {
                name: name.clone(),
                database: database.clone(),
            };
            match is_negated || databases.is_empty() {
                true => principals.push(PrincipalIs::User(name)),
                false => principals.extend(databases.iter().map(of)),
            }
        }
        let mut named: Vec<TextIs> =
            self.of(Key::Principal, is_negated).map(|term| term.value.is()).collect();
        let nobody = nobody | named.extract_if(.., |name| *name == TextIs::Absent).next().is_some();
        principals.extend(named.into_iter().map(PrincipalIs::Named));
        principals.extend(nobody.then_some(PrincipalIs::Unauthenticated));
        principals
    }

    fn targets(&self, about: About<'_>) -> Result<Targets, Wrong> {
        let of = |key| self.of(key, false).collect::<Vec<_>>();
        let (clusters, hosts, arrays) = (of(Key::Cluster), of(Key::Host), of(Key::Array));
        self.are_of(about.scope)?;
        match about.scope {
            Scope::Project(project) => hosts_of(about.registry, *project, &clusters, &hosts),
            Scope::Namespace(_) if arrays.is_empty() => Ok(Targets::All),
            Scope::Namespace(name) => {
                let mut members = Vec::new();
                for term in arrays {
                    let ids = arrays_of(about.registry, name, term)?;
                    members.extend(ids.into_iter().map(|id| (name.clone(), id)));
                }
                Ok(Targets::Members(members))
            }
            Scope::System => Ok(Targets::All),
        }
    }

    /// What is asked of targets must be of a scope that has such targets.
    fn are_of(&self, scope: &Scope) -> Result<(), Wrong> {
        let is_wrong = |term: &&Term| match term.key {
            Key::Cluster | Key::Host => !matches!(scope, Scope::Project(_)),
            Key::Array => !matches!(scope, Scope::Namespace(_)),
            _ => false,
        };
        let Some(term) = self.iter().find(is_wrong) else { return Ok(()) };
        Err(Wrong::term(
            term,
            match scope {
                Scope::Project(_) => "a project has clusters and hosts; arrays are of a namespace",
                Scope::Namespace(_) => {
                    "a namespace has arrays; clusters and hosts are of a project"
                }
                Scope::System => "Doorbook's own history has no clusters, hosts and arrays",
            },
        ))
    }

    /// Names of the groups and the members that are left out.
    fn left_out(&self, about: About<'_>) -> Result<(Vec<TextIs>, Vec<TextIs>), Wrong> {
        self.are_of(about.scope)?;
        let (mut groups, mut members) = (Vec::new(), Vec::new());
        if let Scope::Project(project) = about.scope {
            for term in self.of(Key::Cluster, true) {
                groups.push(cluster_name(about.registry, *project, term)?);
            }
            for term in self.of(Key::Host, true) {
                members.extend(host_names(about.registry, *project, term)?);
            }
        }
        if let Scope::Namespace(name) = about.scope {
            for term in self.of(Key::Array, true) {
                let ids = arrays_of(about.registry, name, term)?;
                members.extend(ids.into_iter().map(TextIs::Exactly));
            }
        }
        Ok((groups, members))
    }
}

/// The only term of a key.
fn once(terms: &Terms, key: Key) -> Result<Option<&Term>, Wrong> {
    let mut all = terms.iter().filter(|term| term.key == key);
    let first = all.next();
    match all.next() {
        None => Ok(first),
        Some(second) => Err(Wrong::term(second, "given more than once")),
    }
}

fn kind(term: Option<&Term>) -> Result<Kind, Wrong> {
    let Some(term) = term else { return Ok(Kind::Access) };
    match (term.value.plain(), term.is_negated) {
        (Some("event"), false) | (Some("quarantine"), true) => Ok(Kind::Access),
        (Some("quarantine"), false) | (Some("event"), true) => Ok(Kind::Quarantine),
        _ => Err(Wrong::value(term, "event or quarantine")),
    }
}

fn action(term: &Term, scope: &Scope) -> Result<Action, Wrong> {
    let expected = match scope {
        Scope::Project(_) => "authenticate or authorize",
        Scope::Namespace(_) => "what is done to an array, such as query_read or consolidate",
        Scope::System => "what is done to Doorbook, such as query or import",
    };
    let found = term.value.plain().and_then(Action::from_word);
    found.ok_or_else(|| Wrong::value(term, expected))
}

/// The words of logs are understood, too.
fn outcome(term: &Term) -> Result<OutcomeKind, Wrong> {
    match term.value.plain() {
        Some("success" | "succeeded" | "ok") => Ok(OutcomeKind::Success),
        Some("failure" | "failed") => Ok(OutcomeKind::Failure),
        Some("unknown") => Ok(OutcomeKind::Unknown),
        _ => Err(Wrong::value(term, "success, failure or unknown")),
    }
}

fn class(term: &Term) -> Result<Class, Wrong> {
    let words = || Class::ALL.map(Class::word).join(", ");
    let found = term.value.plain().and_then(Class::from_word);
    found.ok_or_else(|| Wrong::value(term, words()))
}

fn peer(term: &Term) -> Result<PeerIs, Wrong> {
    let found = match term.value.plain() {
        Some("unix") => Some(PeerIs::UnixSocket),
        Some(text) => text.parse::<Network>().ok().map(PeerIs::Network),
        None => None,
    };
    found.ok_or_else(|| Wrong::value(term, "an address, a network such as 10.0.0.0/8, or unix"))
}

fn connection(term: &Term) -> Result<u64, Wrong> {
    let plain = term.value.plain().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let number = plain.and_then(|text| text.parse().ok());
    number.ok_or_else(|| Wrong::value(term, "the number of a connection"))
}

fn raw(term: &Term) -> Result<Text, Wrong> {
    let plain = term.value.plain().map(Text::from);
    plain.ok_or_else(|| Wrong::value(term, "text that is looked for as it is; quote an asterisk"))
}

/// A name that the registry does not know is an error: an empty answer would say that nobody came.
fn hosts_of(
    registry: &Registry,
    project: ProjectId,
    clusters: &[&Term],
    hosts: &[&Term],
) -> Result<Targets, Wrong> {
    let mut groups = Vec::new();
    for term in clusters {
        groups.push(cluster_name(registry, project, term)?);
    }
    if clusters.is_empty() && hosts.is_empty() {
        return Ok(Targets::All);
    }
    if let ([TextIs::Exactly(cluster)], []) = (&groups[..], hosts) {
        return Ok(Targets::Group(cluster.clone()));
    }
    let mut members = Vec::new();
    for term in hosts {
        members.extend(host_names(registry, project, term)?);
    }
    let is_like = |list: &[TextIs]| list.iter().any(|is| is.exactly().is_none());
    if hosts.is_empty() || is_like(&groups) || is_like(&members) {
        return Ok(Targets::Like { groups, members });
    }
    let is_wanted =
        |cluster: &str| groups.is_empty() || groups.iter().any(|is| is.fits(Some(cluster)));
    let mut found: Vec<(Text, Text)> = Vec::new();
    for term in hosts {
        let plain = term.value.plain().unwrap_or_default();
        let here = registry.find_hosts(project, plain).into_iter();
        let known = found.len();
        let here = here.filter(|host| is_wanted(&host.cluster));
        found.extend(here.map(|host| (host.cluster.clone(), host.name.to_string().into())));
        if found.len() == known {
            return Err(Wrong::missing(term, format!("these clusters have no host {plain}")));
        }
    }
    found.sort();
    found.dedup();
    Ok(Targets::Members(found))
}

fn cluster_name(registry: &Registry, project: ProjectId, term: &Term) -> Result<TextIs, Wrong> {
    let is = match (term.value.plain(), term.value.is()) {
        (Some(name), _) => registry.cluster(project, name).map(|_| TextIs::from(name)),
        (None, like) => {
            let mut hosts = registry.hosts(project);
            hosts.any(|host| like.fits(Some(&host.cluster))).then_some(like)
        }
    };
    is.ok_or_else(|| Wrong::missing(term, format!("the project has no cluster {}", shown(term))))
}

/// The names of hosts in the history; one may be of several clusters.
fn host_names(registry: &Registry, project: ProjectId, term: &Term) -> Result<Vec<TextIs>, Wrong> {
    let names: Vec<TextIs> = match (term.value.plain(), term.value.is()) {
        (Some(name), _) => {
            let found = registry.find_hosts(project, name).into_iter();
            found.map(|host| TextIs::from(host.name.to_string())).collect()
        }
        (None, like) => {
            let mut hosts = registry.hosts(project);
            let is_any = hosts.any(|host| like.fits(Some(&host.name.to_string())));
            is_any.then_some(like).into_iter().collect()
        }
    };
    match names.is_empty() {
        false => Ok(names),
        true => Err(Wrong::missing(term, format!("the project has no host {}", shown(term)))),
    }
}

/// The ids of the arrays that are meant. What is no longer registered goes by its id.
fn arrays_of(registry: &Registry, namespace: &Text, term: &Term) -> Result<Vec<Text>, Wrong> {
    let arrays = registry.arrays();
    let ids: Vec<Text> = match (term.value.plain(), term.value.is()) {
        (Some(name), _) => match arrays.find(namespace, name) {
            Some(array) => vec![array.id.to_string().into()],
            None if name.parse::<Uuid>().is_ok() => vec![name.to_lowercase().into()],
            None => Vec::new(),
        },
        (None, like) => {
            let all = arrays.arrays_of(namespace);
            let found = all.filter(|array| like.fits(Some(&array.name)));
            found.map(|array| array.id.to_string().into()).collect()
        }
    };
    match ids.is_empty() {
        false => Ok(ids),
        true => Err(Wrong::missing(term, format!("the namespace has no array {}", shown(term)))),
    }
}

/// A name as it was asked for.
fn shown(term: &Term) -> String {
    match term.value.plain() {
        Some(name) => name.to_owned(),
        None => format!("like {}", term.value),
    }
}

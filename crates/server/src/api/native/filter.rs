//! From parameters to a [`Filter`].

use doorbook_event::registry::Registry;
use doorbook_event::{Action, Class, Classes, ProjectId, Scope, Text, Timestamp};
use doorbook_store::Filter;
use doorbook_store::filter::{Kind, Network, OutcomeKind, PeerIs, PrincipalIs, Targets};

use super::cursor::open_as_of;
use super::problem::Problem;
use super::query::Query;
use crate::app::App;

/// Takes every parameter that narrows an answer. The limit is the caller's.
pub fn take(
    query: &mut Query,
    registry: &Registry,
    scope: &Scope,
    app: &App,
) -> Result<Filter, Problem> {
    let time = "a time such as 2026-11-23T02:45:14Z";
    let truth = |text: &str| match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    };
    let kind = query.read("kind", "event or quarantine", |text| match text {
        "event" => Some(Kind::Access),
        "quarantine" => Some(Kind::Quarantine),
        _ => None,
    })?;
    let filter = Filter {
        kind: kind.unwrap_or(Kind::Access),
        targets: match scope {
            Scope::Project(project) => targets(query, registry, *project)?,
            Scope::Namespace(name) => arrays(query, registry, name)?,
            Scope::System => Targets::All,
        },
        from: query.read("from", time, |text| text.parse().ok())?.unwrap_or(Timestamp::MIN),
        to: query.read("to", time, |text| text.parse().ok())?.unwrap_or(Timestamp::MAX),
        actions: query.read_all("action", expected_actions(scope), Action::from_word)?,
        outcomes: query.read_all("outcome", "success, failure or unknown", outcome)?,
        principals: principals(query)?,
        peers: query.read_all("address", "an address, a network, or unix", peer)?,
        mechanisms: texts(query, "mechanism"),
        applications: texts(query, "application"),
        task_ids: texts(query, "task_id"),
        has_task: query.read("has_task", "true or false", truth)?,
        sources: texts(query, "source"),
        with: classes(query, "class")?,
        without: classes(query, "not_class")?,
        raw_contains: query.one("text")?.map(Text::from),
        as_of: query.read("as_of", "the as_of of an answer", |text| {
            // The state of another project's history says nothing of this one.
            let as_of = open_as_of(app.doors().ids(), text)?;
            app.store().is_state_of(scope, &as_of).then_some(as_of)
        })?,
        ..Filter::all(scope.clone(), 0)
    };
    if filter.to < filter.from {
        return Err(Problem::invalid_parameter("to", "before from"));
    }
    Ok(filter)
}

fn texts(query: &mut Query, name: &str) -> Vec<Text> {
    query.all(name).into_iter().map(Text::from).collect()
}

fn outcome(word: &str) -> Option<OutcomeKind> {
    let all = [OutcomeKind::Success, OutcomeKind::Failure, OutcomeKind::Unknown];
    all.into_iter().find(|kind| kind.word() == word)
}

fn peer(text: &str) -> Option<PeerIs> {
    match text {
        "unix" => Some(PeerIs::UnixSocket),
        _ => text.parse::<Network>().ok().map(PeerIs::Network),
    }
}

fn classes(query: &mut Query, name: &str) -> Result<Classes, Problem> {
    let words: Vec<&str> = Class::ALL.iter().map(|class| class.word()).collect();
    let found = query.read_all(name, &words.join(", "), Class::from_word)?;
    Ok(found.into_iter().fold(Classes::NONE, Classes::with))
}

/// `user` is a user of the accessed system, `principal` anybody by that name.
fn principals(query: &mut Query) -> Result<Vec<PrincipalIs>, Problem> {
    let users = texts(query, "user");
    let database = query.one("database")?.map(Text::from);
    if users.is_empty() && database.is_some() {
        return Err(Problem::invalid_parameter("database", "needs a user"));
    }
    let user = |name| match &database {
        None => PrincipalIs::User(name),
        Some(database) => PrincipalIs::UserOf { name, database: database.clone() },
    };
    let mut principals: Vec<PrincipalIs> = users.into_iter().map(user).collect();
    principals.extend(texts(query, "principal").into_iter().map(PrincipalIs::Named));
    let nobody = query.read("unauthenticated", "true", |text| (text == "true").then_some(()))?;
    principals.extend(nobody.map(|()| PrincipalIs::Unauthenticated));
    Ok(principals)
}

fn expected_actions(scope: &Scope) -> &'static str {
    match scope {
        Scope::Namespace(_) => "what is done to an array, such as query_read or consolidate",
        _ => "authenticate or authorize",
    }
}

fn arrays(query: &mut Query, registry: &Registry, namespace: &Text) -> Result<Targets, Problem> {
    let asked = query.all("array");
    if asked.is_empty() {
        return Ok(Targets::All);
    }
    let member = |text: &String| match registry.arrays().find(namespace, text) {
        Some(array) => Ok((namespace.clone(), array.id.to_string().into())),
        None => {
            let what = format!("the namespace has no array {text}");
            Err(Problem::invalid_parameter("array", what))
        }
    };
    asked.iter().map(member).collect::<Result<_, _>>().map(Targets::Members)
}

/// A name that the registry does not know is an error: an empty answer would say that nobody came.
fn targets(query: &mut Query, registry: &Registry, project: ProjectId) -> Result<Targets, Problem> {
    let clusters = query.all("cluster");
    let hosts = query.all("host");
    for cluster in &clusters {
        if registry.cluster(project, cluster).is_none() {
            let what = format!("the project has no cluster {cluster}");
            return Err(Problem::invalid_parameter("cluster", what));
        }
    }
    if let ([cluster], []) = (&clusters[..], &hosts[..]) {
        return Ok(Targets::Group(Text::from(&**cluster)));
    }
    if clusters.is_empty() && hosts.is_empty() {
        return Ok(Targets::All);
    }
    let is_wanted =
        |cluster: &Text| clusters.is_empty() || clusters.iter().any(|c| **c == **cluster);
    let mut members: Vec<(Text, Text)> = Vec::new();
    if hosts.is_empty() {
        let of_clusters = registry.hosts(project).filter(|host| is_wanted(&host.cluster));
        members
            .extend(of_clusters.map(|host| (host.cluster.clone(), host.name.to_string().into())));
    }
    for text in &hosts {
        let found = registry.find_hosts(project, text);
        let known = members.len();
        let here = found.into_iter().filter(|host| is_wanted(&host.cluster));
        members.extend(here.map(|host| (host.cluster.clone(), host.name.to_string().into())));
        if members.len() == known {
            let of = if clusters.is_empty() { "the project has" } else { "these clusters have" };
            return Err(Problem::invalid_parameter("host", format!("{of} no host {text}")));
        }
    }
    members.sort();
    members.dedup();
    Ok(Targets::Members(members))
}

//! Lines of our own form: what they say, of which host, and about which event.
//!
//! `source::document` reads the line; only the registry can tell which host or array is meant, and only
//! the store which event another line is about.

use std::collections::HashMap;

use doorbook_event::arrays::{Array, Arrays, Right};
use doorbook_event::public_id::Names;
use doorbook_event::record::{Amendment, Place, Quarantine, Sighting, Subject};
use doorbook_event::registry::Registry;
use doorbook_event::{
    Access, HostName, LogId, Principal, ProjectId, PublicIds, Scope, Target, Text,
};
use doorbook_source::document::{self, About, Reader};
use doorbook_store::error::Error;
use doorbook_store::{IngestLine, Store};
use sha2::{Digest, Sha256};

use super::hosts::{NamedBy, no_cluster, resolve_host};

/// Lines that cannot be read stand under their source, which is of this kind.
pub(crate) const SOURCE_KIND: &str = "ingest_source";

/// A line's number, and why it cannot be read.
pub(crate) type Note = (u64, Option<Text>);

/// A line whose event, if it is about one, is not found yet.
pub(crate) struct ReadLine<'b> {
    pub(crate) place: Place,
    pub(crate) bytes: &'b [u8],
    pub(crate) content: Result<document::Line, Text>,
}

/// What a line says, of a host or an array that the registry knows.
pub(crate) fn read_line(
    reader: &mut Reader,
    hosts: &mut Hosts<'_>,
    bytes: &[u8],
) -> Result<document::Line, Text> {
    let mut line = reader.line(bytes).map_err(|unreadable| unreadable.0)?;
    match (&mut line, &hosts.whose) {
        (document::Line::Event(access), Whose::Namespace { .. }) => hosts.resolve_array(access)?,
        (document::Line::Event(access), Whose::Project(_)) => {
            access.target = hosts.resolve(access.target.clone(), reader)?;
        }
        (document::Line::About(_), Whose::Namespace { name, by }) => {
            // Which array it is about is not known yet.
            if !hosts.registry.arrays().owns(by, name) {
                return Err("only the owner of a namespace can amend its events".into());
            }
        }
        (document::Line::About(_), Whose::Project(_)) => {}
    }
    Ok(line)
}

/// Finds the events that lines are about, all at once.
pub(crate) fn find_subjects(
    store: &Store,
    ids: &PublicIds,
    scope: &Scope,
    source: &Text,
    lines: Vec<ReadLine<'_>>,
) -> Result<(Vec<Note>, Vec<IngestLine>), Error> {
    let place = |line: &ReadLine<'_>| match &line.content {
        // No log has a last place of all, so that an id which is none of ours finds nothing.
        Ok(document::Line::About(about)) => {
            let place = about.id.parse().ok().and_then(|id| ids.place(Names::Record, id));
            Some(place.unwrap_or((LogId(u32::MAX), u64::MAX)))
        }
        _ => None,
    };
    let places: Vec<(LogId, u64)> = lines.iter().filter_map(place).collect();
    let mut subjects = match places.is_empty() {
        true => Vec::new(),
        false => store.subjects(scope, &places)?,
    }
    .into_iter();
    let lines = lines.into_iter().map(|ReadLine { place, bytes, content }| {
        let content = content.and_then(|content| match content {
            document::Line::Event(access) => Ok(IngestLine::Event(access)),
            document::Line::About(about) => match subjects.next().flatten() {
                Some(of) => Ok(told(*about, of)),
                None => Err(match scope {
                    Scope::Namespace(_) => "amends names no event of this namespace".into(),
                    _ => "amends names no event of this project".into(),
                }),
            },
        });
        let (number, reason) = (place.line, content.as_ref().err().cloned());
        let content = content.unwrap_or_else(|reason| {
            IngestLine::Unreadable(Box::new(unreadable(source, reason, place, bytes)))
        });
        ((number, reason), content)
    });
    Ok(lines.unzip())
}

/// What a line says of an event that is there.
fn told(about: About, of: Subject) -> IngestLine {
    let About { time, facts, raw, .. } = about;
    match time {
        Some(event_time) if facts.is_empty() => {
            IngestLine::Sighting(Box::new(Sighting { of, event_time, raw }))
        }
        event_time => IngestLine::Amendment(Box::new(Amendment { of, facts, raw, event_time })),
    }
}

/// An array by its name, its id, or any spelling of where it is stored.
fn find_array<'a>(arrays: &'a Arrays, namespace: &str, text: &str) -> Option<&'a Array> {
    arrays.find(namespace, text).or_else(|| {
        let uri = crate::arrays::canonical(text).ok()?;
        arrays.find(namespace, &uri)
    })
}

/// What answers show as numbers must be some.
fn check_numbers(access: &Access) -> Result<(), Text> {
    for name in ["bytes_sent", "bytes_received"] {
        let value = access.attributes.get(name);
        if value.is_some_and(|value| value.parse::<u64>().is_err()) {
            return Err(format!("{name} is not a whole number of bytes").into());
        }
    }
    Ok(())
}

/// Which host a line is of is not known, so it stands under its source.
fn unreadable(source: &Text, reason: Text, place: Place, bytes: &[u8]) -> Quarantine {
    Quarantine {
        // No cluster can be called so.
        target: Target::Own { kind: SOURCE_KIND.into(), name: source.clone() },
        reason,
        place,
        bytes: bytes[..bytes.len().min(Quarantine::BYTES_MAX)].to_vec(),
        length_bytes: bytes.len() as u64,
        sha256: Sha256::digest(bytes).into(),
    }
}

/// Whose history lines are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// A project's.
    Project(ProjectId),
    /// A namespace's.
    Namespace {
        /// Which.
        name: Text,
        /// The user who sends.
        by: Text,
    },
}

impl Whose {
    pub(crate) fn scope(&self) -> Scope {
        match self {
            Whose::Project(project) => Scope::Project(*project),
            Whose::Namespace { name, .. } => Scope::Namespace(name.clone()),
        }
    }
}

/// Which host or array a sender means. Nothing is guessed, and none is added.
pub(crate) struct Hosts<'a> {
    registry: &'a Registry,
    pub(crate) whose: Whose,
    known: HashMap<(Text, Text), Result<Target, Text>>,
    /// Neighbours are mostly of one host.
    last: Option<((Text, Text), Result<Target, Text>)>,
}

impl<'a> Hosts<'a> {
    pub(crate) fn new(registry: &'a Registry, whose: Whose) -> Hosts<'a> {
        Hosts { registry, whose, known: HashMap::new(), last: None }
    }

    /// Which array a sender means, and whether it may tell this of it.
    fn resolve_array(&self, access: &mut Access) -> Result<(), Text> {
        let (Target::Array { namespace, array }, Whose::Namespace { name, by }) =
            (&access.target, &self.whose)
        else {
            return Err("hosts belong to a project: send with ?project= and its key".into());
        };
        if namespace != name {
            return Err(format!("namespace is not {name}, to which this was sent").into());
        }
        let arrays = self.registry.arrays();
        let may_write = |found: &&Array| arrays.rights(by, found).contains(&Right::Write);
        let found = find_array(arrays, name, array).filter(may_write);
        let found = found.ok_or_else(|| -> Text {
            let shown: String = array.chars().take(200).collect();
            format!("namespace {name} has no array {shown} that {by} may write to").into()
        })?;
        let is_of_sender = match &access.principal {
            Principal::User { name: user, .. } => user == by,
            _ => true,
        };
        if !is_of_sender && !arrays.owns(by, name) {
            return Err(format!(
                "user is not {by}: only the owner of an array can tell what others did"
            )
            .into());
        }
        check_numbers(access)?;
        access.target = crate::coverage::target_of_array(found);
        Ok(())
    }

    fn resolve(&mut self, target: Target, reader: &mut Reader) -> Result<Target, Text> {
        let Target::Host { cluster, host } = target else {
            return Err("arrays belong to a namespace: send with the token of a user".into());
        };
        let names = (cluster, host);
        if let Some((known, resolved)) = &self.last
            && *known == names
        {
            return resolved.clone();
        }
        let resolved = match self.known.get(&names) {
            Some(resolved) => resolved.clone(),
            None => {
                let resolved = self.look_up(&names.0, &names.1, reader);
                self.known.insert(names.clone(), resolved.clone());
                resolved
            }
        };
        self.last = Some((names, resolved.clone()));
        resolved
    }

    fn look_up(&self, cluster: &Text, host: &Text, reader: &mut Reader) -> Result<Target, Text> {
        let Hosts { registry, whose: Whose::Project(project), .. } = *self else {
            return Err("hosts belong to a project".into());
        };
        let named = |host: &HostName, reader: &mut Reader| {
            let host = reader.text(&host.to_string());
            Target::Host { cluster: cluster.clone(), host }
        };
        // The canonical name needs no search.
        if let Ok((name, true)) = HostName::parse(host)
            && registry.host(project, &name).is_some_and(|known| known.cluster == *cluster)
        {
            return Ok(named(&name, reader));
        }
        if registry.cluster(project, cluster).is_none() {
            return Err(no_cluster(registry, project, cluster).message.into());
        }
        match resolve_host(registry, project, cluster, host, NamedBy::Sender, false) {
            Ok(resolved) => Ok(named(&resolved.host, reader)),
            Err(failure) => Err(failure.message.into()),
        }
    }
}

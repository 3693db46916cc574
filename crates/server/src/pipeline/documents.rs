//! Lines of our own form: what they say, of which host, and about which event.
//!
//! `source::document` reads the line; only the registry can tell which host is meant, and only the store
//! which event another line is about.

use std::collections::HashMap;

use doorbook_event::public_id::Names;
use doorbook_event::record::{Amendment, Place, Quarantine, Sighting, Subject};
use doorbook_event::registry::Registry;
use doorbook_event::{HostName, LogId, ProjectId, PublicIds, Scope, Target, Text};
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

/// What a line says, of a host that the registry knows.
pub(crate) fn read_line(
    reader: &mut Reader,
    hosts: &mut Hosts<'_>,
    bytes: &[u8],
) -> Result<document::Line, Text> {
    let mut line = reader.line(bytes).map_err(|unreadable| unreadable.0)?;
    if let document::Line::Event(access) = &mut line {
        access.target = hosts.resolve(access.target.clone(), reader)?;
    }
    Ok(line)
}

/// Finds the events that lines are about, all at once.
pub(crate) fn find_subjects(
    store: &Store,
    ids: &PublicIds,
    project: ProjectId,
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
        false => store.subjects(&Scope::Project(project), &places)?,
    }
    .into_iter();
    let lines = lines.into_iter().map(|ReadLine { place, bytes, content }| {
        let content = content.and_then(|content| match content {
            document::Line::Event(access) => Ok(IngestLine::Event(access)),
            document::Line::About(about) => match subjects.next().flatten() {
                Some(of) => Ok(told(*about, of)),
                None => Err("amends names no event of this project".into()),
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

/// Which host a sender means. Nothing is guessed, and no host is added.
pub(crate) struct Hosts<'a> {
    registry: &'a Registry,
    pub(crate) project: ProjectId,
    known: HashMap<(Text, Text), Result<Target, Text>>,
    /// Neighbours are mostly of one host.
    last: Option<((Text, Text), Result<Target, Text>)>,
}

impl<'a> Hosts<'a> {
    pub(crate) fn new(registry: &'a Registry, project: ProjectId) -> Hosts<'a> {
        Hosts { registry, project, known: HashMap::new(), last: None }
    }

    fn resolve(&mut self, target: Target, reader: &mut Reader) -> Result<Target, Text> {
        let Target::Host { cluster, host } = target else {
            return Err("arrays belong to a namespace, and none can be sent to yet".into());
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
        let Hosts { registry, project, .. } = *self;
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

//! Lines that were put aside are read again, by this version and with what the registry knows now.
//! One request is one page; what it changes is durable before the answer. See
//! `docs/design/quarantine.md`.

use std::collections::BTreeMap;

use doorbook_event::record::{Actor, Quarantine};
use doorbook_event::{ProjectId, PublicIds, Record, Scope, Target, Text};
use doorbook_source::document::Reader;
use doorbook_source::mongod::{Reread, read_alone};
use doorbook_store::filter::Kind;
use doorbook_store::{ErrorKind, Filter, IngestLine, LineResult, Placed, Resolution, Resolve};

use crate::admin::request::{Cursor, EventsQuery, Replayed, Replays};
use crate::admin::rows::{Became, ReplayRow};
use crate::admin::{Admin, Failure, Reply};
use crate::pipeline::documents::{self, Hosts, ReadLine, Whose};
use crate::routing;

/// Bytes of lines that are in memory at once.
const PAGE_SIZE_BYTES: usize = 8 << 20;

/// What a line says now: a record, nothing, or why it cannot be read.
type Read = Result<Option<IngestLine>, Text>;

impl Admin {
    /// A page of what is put aside, read again.
    pub(super) fn replay_quarantine(
        &self,
        by: &Actor,
        replays: &Replays,
    ) -> Result<Reply, Failure> {
        let query = EventsQuery { limit: usize::MAX, ..replays.query.clone() };
        let mut filter = Filter { kind: Kind::Quarantine, ..self.filter(&query)? };
        filter.size_bytes_max = PAGE_SIZE_BYTES;
        let project = match filter.scope {
            Scope::Project(project) => project,
            Scope::Namespace(_) => {
                return Err(Failure::invalid(
                    "what is put aside of a namespace is not read by itself: `doorbook source replay \
                     SOURCE` reads the source's files again",
                ));
            }
            Scope::System => {
                let why = "Doorbook's own history has no lines that are put aside";
                return Err(Failure::invalid(why));
            }
        };
        if query.after.is_none() {
            let text = serde_json::to_string(&replays).expect("a query is plain data");
            self.record_query(by, Some(project), &format!("replay {text}"))?;
        }
        let routed = match query.after {
            None => self.replay_unrouted(by, project, &filter, replays)?,
            Some(_) => Vec::new(),
        };
        let page = self.store.select(&filter)?;
        let is_cut = page.is_cut || page.rows.len() == filter.limit;
        let next = page.rows.last().filter(|_| is_cut).map(|last| Cursor {
            event_time_micros: last.event_time().micros(),
            log: last.log.0,
            seq: last.seq,
            as_of: page.as_of.iter().map(|(log, seq)| (log.0, *seq)).collect(),
        });
        let lines = page.rows.iter().filter_map(|row| match &row.record {
            Record::Quarantine(bytes)
                if bytes.reason.contains(&*replays.reason) && !routing::is_unrouted(bytes) =>
            {
                Some((row, bytes))
            }
            _ => None,
        });
        let lines: Vec<(&Placed, &Quarantine)> = lines.collect();
        let read = self.read_again(project, &lines)?;
        let became = match replays.dry_run {
            true => read.into_iter().map(would_become).collect(),
            false => self.resolve(by, project, &lines, read)?,
        };
        let rows = lines.iter().zip(became);
        let rows = rows.map(|((placed, bytes), became)| ReplayRow::new(placed, bytes, became));
        Ok(Reply::Replayed(Replayed { rows: rows.collect(), routed, next }))
    }

    /// What each line says now.
    fn read_again(
        &self,
        project: ProjectId,
        lines: &[(&Placed, &Quarantine)],
    ) -> Result<Vec<Read>, Failure> {
        let mut read: Vec<Read> = Vec::with_capacity(lines.len());
        let mut documents: BTreeMap<&Text, Vec<usize>> = BTreeMap::new();
        for (at, (placed, bytes)) in lines.iter().enumerate() {
            read.push(match &bytes.target {
                Target::Own { kind, .. } if **kind == *documents::SOURCE_KIND => {
                    documents.entry(&placed.source).or_default().push(at);
                    Ok(None)
                }
                Target::Host { .. } => read_mongod(bytes),
                Target::Own { .. } | Target::Array { .. } => {
                    Err("no input has lines of this kind".into())
                }
            });
        }
        if documents.is_empty() {
            return Ok(read);
        }
        let catalog = self.store.catalog();
        let ids = PublicIds::new(&self.store.secret("public-ids")?);
        let mut reader = Reader::default();
        let scope = Scope::Project(project);
        let mut hosts = Hosts::new(&catalog.registry, Whose::Project(project));
        for (source, places) in documents {
            let of_source = places.iter().map(|at| {
                let Quarantine { place, bytes, length_bytes, .. } = lines[*at].1;
                let content = match bytes.len() as u64 == *length_bytes {
                    true => documents::read_line(&mut reader, &mut hosts, bytes),
                    false => Err("only the beginning of the line was kept".into()),
                };
                ReadLine { place: place.clone(), bytes, content }
            });
            let of_source = of_source.collect();
            let (notes, told) =
                documents::find_subjects(&self.store, &ids, &scope, source, of_source)?;
            for ((at, (_, reason)), line) in places.into_iter().zip(notes).zip(told) {
                read[at] = reason.map_or(Ok(Some(line)), Err);
            }
        }
        Ok(read)
    }

    /// Stores what was read, and that it is put aside no longer.
    fn resolve(
        &self,
        by: &Actor,
        project: ProjectId,
        lines: &[(&Placed, &Quarantine)],
        read: Vec<Read>,
    ) -> Result<Vec<Became>, Failure> {
        let mut became: Vec<Became> = Vec::with_capacity(read.len());
        let (mut places, mut resolved) = (Vec::new(), Vec::new());
        for (at, ((placed, _), read)) in lines.iter().zip(read).enumerate() {
            became.push(match read {
                Err(reason) => Became::Unreadable { reason },
                Ok(line) => {
                    let (seq, source) = (placed.seq, placed.source.clone());
                    places.push(at);
                    resolved.push(Resolution { seq, source, line });
                    Became::NoRecord
                }
            });
        }
        let Some((first, _)) = lines.first().filter(|_| !resolved.is_empty()) else {
            return Ok(became);
        };
        let version = env!("CARGO_PKG_VERSION").into();
        let resolve = Resolve { project, log: first.log, version, lines: resolved };
        let results = self.store.resolve(by, resolve).map_err(|error| match error.kind {
            ErrorKind::Missing => Failure::failed(format!(
                "{error}: someone else changed that meanwhile; replay again what is left"
            )),
            _ => Failure::from(error),
        })?;
        for (at, result) in places.into_iter().zip(results) {
            became[at] = match result {
                None => Became::NoRecord,
                Some(LineResult::Stored { log, seq }) => Became::Stored { log: log.0, seq },
                Some(LineResult::Duplicate) => Became::Duplicate,
                Some(LineResult::Expired) => Became::Expired,
            };
        }
        Ok(became)
    }
}

fn read_mongod(bytes: &Quarantine) -> Read {
    match read_alone(bytes) {
        Reread::Event(access) => Ok(Some(IngestLine::Event(access))),
        Reread::NoRecord => Ok(None),
        Reread::Unreadable(reason) => Err(reason),
    }
}

/// Whether it is stored already is known only when it is stored.
fn would_become(read: Read) -> Became {
    match read {
        Ok(Some(_)) => Became::Readable,
        Ok(None) => Became::NoRecord,
        Err(reason) => Became::Unreadable { reason },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use doorbook_event::record::Place;
    use doorbook_event::time::CountingRandom;
    use doorbook_event::{Class, Record};
    use doorbook_store::filter::Kind;
    use doorbook_store::{Entry, Filter};

    use super::*;
    use crate::api::atlas::tests::{GROUP, Server, group, operator};

    /// Goal: lines of a mongod that an older version put aside are events by this one, under their source
    /// and once; pages come to the same as one answer. Method: rows as such a version left them, more than
    /// a page, one in three of which is still no login; twice.
    #[test]
    fn what_an_older_version_left_is_read_page_by_page() {
        const LINES: usize = 2500;
        let server = Server::new();
        let store = server.app.store();
        let scope = Scope::Project(group(GROUP));
        let records = (0..LINES).map(|n| {
            let who = if n % 3 == 0 { "" } else { "\"user\":\"alice\",\"db\":\"admin\"," };
            let line = format!(
                "{{\"t\":{{\"$date\":\"2023-01-01T00:00:00.{:03}+00:00\"}},\"s\":\"I\",\"c\":\"ACCESS\",\
                 \"id\":5286306,\"ctx\":\"conn{n}\",\"msg\":\"x\",\"attr\":{{{who}\"remote\":\"10.0.0.1:1\"}}}}",
                n % 1000
            );
            let mut sha256 = [0; 32];
            sha256[..8].copy_from_slice(&(n as u64).to_le_bytes());
            Record::Quarantine(Quarantine {
                target: Target::Host { cluster: "Cluster0".into(), host: "db-1:27017".into() },
                reason: "a reason of an older version".into(),
                place: Place::default(),
                length_bytes: line.len() as u64,
                bytes: line.into_bytes(),
                sha256,
            })
        });
        let (source, records) = (Text::from("orders"), records.collect());
        store.commit(vec![Entry { scope: scope.clone(), source, records }]).expect("commits");
        let admin = Admin {
            store: store.clone(),
            clock: server.clock.clone(),
            random: Arc::<CountingRandom>::default(),
            base_url: None,
            sources: None,
            services: None,
            receivers: None,
        };
        let replay = || {
            let mut rows = Vec::new();
            let mut pages = 0;
            let mut after = None;
            loop {
                let query =
                    EventsQuery { project: Some(GROUP.into()), after, ..Default::default() };
                let replays = Replays { query, reason: "older".into(), dry_run: false };
                let reply = admin.replay_quarantine(&operator(), &replays).expect("replays");
                let Reply::Replayed(page) = reply else { panic!("{reply:?}") };
                rows.extend(page.rows);
                pages += 1;
                after = page.next;
                if after.is_none() {
                    return (rows, pages);
                }
            }
        };
        let (rows, pages) = replay();
        assert_eq!((rows.len(), pages), (LINES, 3));
        let still = LINES.div_ceil(3);
        let is_stored = |row: &&ReplayRow| matches!(row.became, Became::Stored { .. });
        assert_eq!(rows.iter().filter(is_stored).count(), LINES - still);
        let total = |kind| {
            let sources = vec!["orders".into()];
            let filter = Filter { kind, sources, ..Filter::all(scope.clone(), 1) };
            store.select(&filter).expect("reads")
        };
        assert_eq!(total(Kind::Quarantine).total, still as u64);
        let events = total(Kind::Access);
        assert_eq!(events.total, (LINES - still) as u64);
        let Record::Access(event) = &events.rows[0].record else { panic!("an event") };
        assert!(event.classes.contains(Class::Unconfirmed));

        let (rows, _) = replay();
        assert_eq!(rows.len(), still);
        let unreadable = Became::Unreadable { reason: "the user is missing".into() };
        assert!(rows.iter().all(|row| row.became == unreadable));
        assert_eq!(total(Kind::Access).total, (LINES - still) as u64);
    }
}

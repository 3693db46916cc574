//! [`ImportSession`]: an import as the process that holds the store sees it.

use std::collections::BTreeMap;

use doorbook_event::record::{Actor, ImportCounts, ImportId, ImportedFile, UnknownId};
use doorbook_event::registry::{Host, RegistryChange};
use doorbook_event::{HostName, ProjectId, Text};
use doorbook_source::Batch;
use doorbook_store::{ImportBatch, ImportEnd, ImportStart, Store};
use serde::{Deserialize, Serialize};

use crate::admin::request::ImportView;
use crate::admin::{Failure, views};
use crate::pipeline::hosts::{NamedBy, resolve_cluster, resolve_host};

/// The name under which the history knows records of this pipeline.
pub const SOURCE: &str = "mongod-log";

/// What an import is begun with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Begin {
    /// The project, by id or name.
    pub project: String,
    /// The cluster.
    pub cluster: String,
    /// The host the user named, if any.
    pub host: Option<String>,
    /// The hosts that the inputs name; empty where the user named one.
    pub found: Vec<String>,
    /// Whether hosts that the registry does not know are to be added.
    pub add_host: bool,
}

/// What the registry made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Begun {
    /// The import's name.
    pub id: ImportId,
    /// The canonical name of the host the user named.
    pub host: Option<Text>,
    /// The canonical names of `found`, in its order.
    pub found: Vec<Text>,
}

/// A running import. Dropped without [`ImportSession::end`] (the client went away, the server
/// stops), it ends as interrupted, so that its receipt never claims more than was read.
#[derive(Debug)]
pub struct ImportSession {
    store: StoreHandle,
    id: ImportId,
    files: Vec<ImportedFile>,
    lines: u64,
    unknown_ids: BTreeMap<(u64, Option<Text>), UnknownId>,
    /// The next part is of another file than the last one.
    is_next_file: bool,
    ended: bool,
}

/// `Store` has no `Debug`; a session's is for its own fields.
struct StoreHandle(Store);

impl std::fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

/// Whether an import could begin: the same checks as [`ImportSession::begin`], changing nothing.
pub fn check(store: &Store, begin: &Begin) -> Result<(), Failure> {
    resolve(store, begin).map(|_| ())
}

impl ImportSession {
    /// Resolves the names, adds new hosts where that was asked for, and begins the import.
    pub fn begin(
        store: &Store,
        by: &Actor,
        begin: &Begin,
    ) -> Result<(ImportSession, Begun), Failure> {
        let (project, host, found) = resolve(store, begin)?;
        let mut new: Vec<HostName> = Vec::new();
        for resolved in host.iter().chain(&found).filter(|resolved| resolved.is_new) {
            if !new.contains(&resolved.host) {
                new.push(resolved.host.clone());
            }
        }
        let cluster = Text::from(&*begin.cluster);
        if !new.is_empty() {
            let added =
                |name| Host { project, cluster: cluster.clone(), name, aliases: Vec::new() };
            let changes = new.into_iter().map(|name| RegistryChange::HostAdded(added(name)));
            store.change_registry(by, changes.collect())?;
        }
        let canonical = |resolved: &super::hosts::Resolved| Text::from(resolved.host.to_string());
        let host = host.as_ref().map(canonical);
        let id = store.begin_import(ImportStart {
            by: by.clone(),
            project,
            cluster,
            host: host.clone(),
            source: SOURCE.into(),
        })?;
        let session = ImportSession {
            store: StoreHandle(store.clone()),
            id: id.clone(),
            files: Vec::new(),
            lines: 0,
            unknown_ids: BTreeMap::new(),
            is_next_file: false,
            ended: false,
        };
        Ok((session, Begun { id, host, found: found.iter().map(canonical).collect() }))
    }

    /// Commits a part. What this returns is durable.
    pub fn batch(&mut self, batch: Batch) -> Result<ImportCounts, Failure> {
        let lines = batch.lines;
        for unknown in batch.unknown_ids {
            let key = (unknown.id, unknown.version.clone());
            match self.unknown_ids.get_mut(&key) {
                Some(known) => known.count += unknown.count,
                None => {
                    self.unknown_ids.insert(key, unknown);
                }
            }
        }
        let part = ImportBatch {
            accesses: batch.accesses,
            coverage: batch.coverage,
            quarantine: batch.quarantine,
            ..ImportBatch::default()
        };
        if std::mem::take(&mut self.is_next_file) {
            self.store.0.import_next_file(&self.id)?;
        }
        let is_empty = part.accesses.is_empty() && part.coverage.is_empty();
        let mut counts = match is_empty && part.quarantine.is_empty() {
            true => ImportCounts::default(),
            false => self.store.0.import(&self.id, part)?,
        };
        self.lines += lines;
        counts.lines = lines;
        Ok(counts)
    }

    /// Takes note of an input that was read, wholly or as far as it could be. What comes after it
    /// is from the next one.
    pub fn file(&mut self, file: ImportedFile) {
        self.files.push(file);
        self.is_next_file = true;
    }

    /// Ends the import and returns its receipt.
    pub fn end(mut self, complete: bool) -> Result<ImportView, Failure> {
        self.finish(complete)?;
        let catalog = self.store.0.catalog();
        let Some((project, receipt)) = catalog.imports.get(&self.id) else {
            return Err(Failure::failed(format!("import {} has no receipt", self.id)));
        };
        Ok(views::import(&catalog, *project, receipt))
    }

    fn finish(&mut self, complete: bool) -> Result<(), Failure> {
        self.ended = true;
        let end = ImportEnd {
            complete,
            files: std::mem::take(&mut self.files),
            lines: self.lines,
            unknown_ids: std::mem::take(&mut self.unknown_ids).into_values().collect(),
        };
        self.store.0.end_import(&self.id, end)?;
        Ok(())
    }
}

impl Drop for ImportSession {
    fn drop(&mut self) {
        if !self.ended {
            // Nobody is left to be told; the receipt then says "running" until the next start of the
            // store, which knows better.
            drop(self.finish(false));
        }
    }
}

type Names = (ProjectId, Option<super::hosts::Resolved>, Vec<super::hosts::Resolved>);

fn resolve(store: &Store, begin: &Begin) -> Result<Names, Failure> {
    let catalog = store.catalog();
    let registry = &catalog.registry;
    let project = resolve_cluster(registry, &begin.project, &begin.cluster)?;
    let one = |text: &String, named_by| {
        resolve_host(registry, project, &begin.cluster, text, named_by, begin.add_host)
    };
    let host = begin.host.as_ref().map(|text| one(text, NamedBy::User)).transpose()?;
    let found = begin.found.iter().map(|text| one(text, NamedBy::Log)).collect::<Result<_, _>>()?;
    Ok((project, host, found))
}

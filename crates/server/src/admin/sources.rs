//! Commands about single sources: how they are, rest, go on, be read again.
//!
//! What there is to follow is decided by the file of the estate; here are only the things that a file
//! does not say.

use std::collections::BTreeMap;

use doorbook_event::record::Actor;
use doorbook_event::registry::{Registry, RegistryChange};
use doorbook_event::source::{Source, Subject, Way};
use doorbook_event::{ProjectId, Text};

use crate::admin::request::{SourceView, UnknownIdView};
use crate::admin::{Admin, Failure, Reply, views};
use crate::sources::overview::Health;
use crate::sources::{Board, Status};

impl Admin {
    pub(super) fn sources_of(&self, only: Option<ProjectId>) -> Vec<SourceView> {
        let catalog = self.store.catalog();
        let live = self.sources.as_ref().map(Board::statuses);
        let sources = catalog.registry.sources();
        let sources =
            sources.filter(|source| only.is_none_or(|only| Some(only) == source.project()));
        sources.map(|source| self.source_view(&catalog.registry, source, live.as_ref())).collect()
    }

    pub(super) fn show_source(&self, name: &str) -> Result<Reply, Failure> {
        let catalog = self.store.catalog();
        let source = find(&catalog.registry, name)?;
        let live = self.sources.as_ref().map(Board::statuses);
        Ok(Reply::Sources(vec![self.source_view(&catalog.registry, source, live.as_ref())]))
    }

    pub(super) fn pause_source(
        &self,
        by: &Actor,
        name: &str,
        paused: bool,
    ) -> Result<Reply, Failure> {
        let catalog = self.store.catalog();
        let source = find(&catalog.registry, name)?;
        if source.paused != paused {
            let change = RegistryChange::SourcePaused { name: source.name.clone(), paused };
            self.store.change_registry(by, vec![change])?;
        }
        self.show_source(name)
    }

    /// Forgets where a source goes on, so that it begins at the oldest file that is there. What it
    /// tells again is known by its identity.
    pub(super) fn replay_source(&self, by: &Actor, name: &str) -> Result<Reply, Failure> {
        let catalog = self.store.catalog();
        let source = find(&catalog.registry, name)?;
        if source.way() == Way::Received {
            return Err(Failure::invalid(format!(
                "the lines of {name} are sent to Doorbook, which cannot ask for them again; what waits \
                 for its host is read again by `doorbook quarantine replay`"
            )));
        }
        let name = source.name.clone();
        let change = RegistryChange::SourceReplayed { name: name.clone() };
        self.store.change_registry(by, vec![change])?;
        self.show_source(&name)
    }

    fn source_view(
        &self,
        registry: &Registry,
        source: &Source,
        live: Option<&BTreeMap<Text, Status>>,
    ) -> SourceView {
        let watched = self.store.watched();
        let progress = watched.sources.get(&source.name);
        let health = Health::of(source, progress, live, self.clock.now());
        let (project, cluster, host, namespace) = match &source.subject {
            Subject::Host { project, cluster, host } => {
                let project = views::project_name(registry, *project);
                (Some(project), Some(cluster.clone()), Some(host.to_string()), None)
            }
            Subject::Arrays { namespace, .. } => (None, None, None, Some(namespace.clone())),
        };
        SourceView {
            name: source.name.clone(),
            kind: source.kind,
            project,
            cluster,
            host,
            namespace,
            path: source.path.clone(),
            rules: source.rules_in_words(),
            zone: source.zone.clone(),
            agent: source.agent.clone(),
            interval_seconds: source.interval_seconds,
            state: health.state,
            message: health.message,
            through: health.through,
            lag_seconds: health.lag_seconds,
            behind_bytes: health.behind_bytes,
            lines: health.lines,
            events: health.events,
            unknown_messages: health.unknown_ids.total(),
            unknown_ids: health.unknown_ids.iter().map(UnknownIdView::from).collect(),
        }
    }
}

fn find<'a>(registry: &'a Registry, name: &str) -> Result<&'a Source, Failure> {
    registry.source(name).ok_or_else(|| {
        Failure::missing(format!("no source {name}; `doorbook source list` shows all"))
    })
}

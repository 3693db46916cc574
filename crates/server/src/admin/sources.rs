//! Commands about single sources: how they are, rest, go on, be read again.
//!
//! What there is to follow is decided by the file of the estate; here are only the things that a file
//! does not say.

use std::collections::BTreeMap;

use doorbook_event::record::Actor;
use doorbook_event::registry::{Registry, RegistryChange};
use doorbook_event::source::Source;
use doorbook_event::{Action, Attributes, ProjectId, Target, Text};
use doorbook_store::{Advance, ErrorKind};

use crate::admin::request::{SourceState, SourceView};
use crate::admin::{Admin, Failure, Reply, views};

/// Who follows the sources of a running server.
pub trait LiveSources: Send + Sync {
    /// What each source does now, by its name.
    fn now(&self) -> BTreeMap<Text, LiveSource>;
}

/// What a source does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSource {
    /// What.
    pub state: SourceState,
    /// Why it does not do more.
    pub message: Option<Text>,
    /// Bytes that are there and not read yet.
    pub behind_bytes: u64,
}

/// How often a replay is tried beside a server that comes further at the same moment.
const REPLAY_TRIES: u32 = 100;

impl Admin {
    pub(super) fn sources_of(&self, only: Option<ProjectId>) -> Vec<SourceView> {
        let catalog = self.store.catalog();
        let live = self.sources.as_ref().map(|sources| sources.now());
        let sources = catalog.registry.sources();
        let sources = sources.filter(|source| only.is_none_or(|only| only == source.project));
        sources.map(|source| self.source_view(&catalog.registry, source, live.as_ref())).collect()
    }

    pub(super) fn show_source(&self, name: &str) -> Result<Reply, Failure> {
        let catalog = self.store.catalog();
        let source = find(&catalog.registry, name)?;
        let live = self.sources.as_ref().map(|sources| sources.now());
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
        for _ in 0..REPLAY_TRIES {
            let watched = self.store.watched();
            let progress = watched.sources.get(&source.name);
            let after = progress.map(|progress| progress.position.clone()).unwrap_or_default();
            if after.is_empty() {
                return self.show_source(name);
            }
            let answer = self.store.advance(vec![from_the_start(source, after)]).pop();
            match answer.expect("an answer for the only source") {
                // It has come further meanwhile.
                Err(error) if error.kind == ErrorKind::Exists => {}
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    let target = Target::Own { kind: "source".into(), name: source.name.clone() };
                    let verb = Attributes::from([("verb".into(), "replay".into())]);
                    self.record_own(by, Action::RegistryChange, target, verb)?;
                    return self.show_source(name);
                }
            }
        }
        Err(Failure::failed(format!(
            "source {name} comes further all the time; pause it, replay it, and resume it"
        )))
    }

    fn source_view(
        &self,
        registry: &Registry,
        source: &Source,
        live: Option<&BTreeMap<Text, LiveSource>>,
    ) -> SourceView {
        let watched = self.store.watched();
        let progress = watched.sources.get(&source.name);
        let through = progress.and_then(|progress| progress.through);
        let (state, message, behind_bytes) = match live.map(|live| live.get(&source.name)) {
            Some(Some(live)) => (live.state, live.message.clone(), Some(live.behind_bytes)),
            _ if source.paused => (SourceState::Paused, None, None),
            Some(None) => (SourceState::Waiting, None, None),
            None => (SourceState::Stopped, Some("no server follows it".into()), None),
        };
        let lag_micros = through.map(|through| self.clock.now().micros() - through.micros());
        SourceView {
            name: source.name.clone(),
            kind: source.kind,
            project: views::project_name(registry, source.project),
            cluster: source.cluster.clone(),
            host: source.host.to_string(),
            path: source.path.clone(),
            zone: source.zone.clone(),
            state,
            message,
            through,
            lag_seconds: lag_micros.map(|micros| micros.max(0) / 1_000_000),
            behind_bytes,
            lines: progress.map_or(0, |progress| progress.lines),
            events: progress.map_or(0, |progress| progress.events),
        }
    }
}

/// Back to the beginning, with nothing read and nothing claimed.
fn from_the_start(source: &Source, after: Vec<u8>) -> Advance {
    Advance {
        source: source.clone(),
        after,
        position: Vec::new(),
        is_next_file: true,
        accesses: Vec::new(),
        coverage: Vec::new(),
        quarantine: Vec::new(),
        heartbeat: None,
        through: None,
        since: None,
        lines: 0,
    }
}

fn find<'a>(registry: &'a Registry, name: &str) -> Result<&'a Source, Failure> {
    registry.source(name).ok_or_else(|| {
        Failure::missing(format!("no source {name}; `doorbook source list` shows all"))
    })
}

//! [`Agents`]: what agents said of themselves; [`Shipped`]: a source that one of them follows, as it is seen
//! from here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use doorbook_event::advance::Advance;
use doorbook_event::record::Coverage;
use doorbook_event::shipment::Report;
use doorbook_event::source::{Source, State};
use doorbook_event::{ProjectId, Text, Timestamp};
use doorbook_source::following::{SILENCE_SECONDS, Status};
use doorbook_store::coverage::Progress;

/// What each agent said last, since the server began. Cheap to clone.
#[derive(Clone, Default)]
pub struct Agents(Arc<Mutex<BTreeMap<(ProjectId, Text), Heard>>>);

/// What an agent said of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// When, by our clock.
    pub at: Timestamp,
    /// Its version.
    pub version: Text,
    /// How far its clock is ahead of ours; behind is negative, and so is the time that it took to say it.
    pub ahead_micros: i64,
    /// How its sources are, by their names.
    pub reports: BTreeMap<Text, Report>,
}

impl Agents {
    /// Takes note of what an agent of a project says.
    pub fn hear(&self, project: ProjectId, agent: &Text, heard: Heard) {
        let mut agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        agents.insert((project, agent.clone()), heard);
    }

    /// What it said last.
    pub fn heard(&self, project: ProjectId, agent: &Text) -> Option<Heard> {
        let agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        agents.get(&(project, agent.clone())).cloned()
    }
}

/// A source that an agent follows.
pub(super) struct Shipped {
    source: Source,
    agent: Text,
    /// When it was first looked at.
    begun: Timestamp,
    /// What was read and recorded before that.
    lines_before: u64,
    events_before: u64,
    /// Whether the store has that its agent is away.
    is_told: bool,
    status: Status,
}

impl Shipped {
    pub(super) fn new(
        source: &Source,
        agent: &Text,
        progress: Option<&Progress>,
        now: Timestamp,
    ) -> Shipped {
        let through = progress.and_then(|progress| progress.through);
        let state = if source.paused { State::Paused } else { State::CatchingUp };
        Shipped {
            source: source.clone(),
            agent: agent.clone(),
            begun: now,
            lines_before: progress.map_or(0, |progress| progress.lines),
            events_before: progress.map_or(0, |progress| progress.events),
            is_told: false,
            status: Status { through, ..Status::new(state) },
        }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn status(&self) -> Status {
        self.status.clone()
    }

    /// Looks how it is; gives the gap that is to be stored now, if its agent is away for too long.
    pub(super) fn look(
        &mut self,
        agents: &Agents,
        progress: Option<&Progress>,
        now: Timestamp,
    ) -> Option<Advance> {
        self.status.through = progress.and_then(|progress| progress.through);
        // Fewer than before: it is read anew.
        let since = |all: u64, before: u64| all.checked_sub(before).unwrap_or(all);
        self.status.lines = since(progress.map_or(0, |it| it.lines), self.lines_before);
        self.status.events = since(progress.map_or(0, |it| it.events), self.events_before);
        if self.source.paused {
            return None;
        }
        let project = self.source.project();
        let heard = project.and_then(|project| agents.heard(project, &self.agent));
        let heard_at = heard.as_ref().map(|heard| heard.at.min(now));
        let last = heard_at.map_or(self.begun, |at| at.max(self.begun));
        if now < last.plus_seconds(SILENCE_SECONDS) {
            self.is_told = false;
            let report = heard.as_ref().and_then(|heard| heard.reports.get(&self.source.name));
            self.take(report, heard.is_some());
            return None;
        }
        self.status.state = State::Away;
        self.status.message = Some(match heard_at {
            Some(at) => format!("agent {} is away since {at}", self.agent).into(),
            None => format!("agent {} has not reported yet", self.agent).into(),
        });
        (!self.is_told).then(|| self.gap(progress))
    }

    /// How its agent says that it is.
    fn take(&mut self, report: Option<&Report>, is_heard: bool) {
        match report {
            Some(report) => {
                self.status.state = report.state;
                self.status.message = report.message.clone();
                self.status.behind_bytes = report.behind_bytes;
                self.status.unknown_ids = report.unknown_ids.clone();
            }
            None => {
                self.status.state = State::Waiting;
                let what = if is_heard { "does not follow it yet" } else { "has not reported yet" };
                self.status.message = Some(format!("agent {} {what}", self.agent).into());
            }
        }
    }

    /// It goes on where it is, and is not seen from there on.
    fn gap(&self, progress: Option<&Progress>) -> Advance {
        let position = progress.map(|progress| progress.position.clone()).unwrap_or_default();
        let from = self.status.through.unwrap_or(self.begun);
        let gap =
            Coverage::unseen(&self.source, format!("agent {} is away", self.agent).into(), from);
        Advance {
            source: self.source.clone(),
            after: position.clone(),
            position,
            is_next_file: false,
            accesses: Vec::new(),
            coverage: vec![gap],
            quarantine: Vec::new(),
            heartbeat: None,
            through: self.status.through,
            since: Some(self.begun),
            lines: 0,
            doubt: None,
        }
    }

    /// The gap is durable.
    pub(super) fn told(&mut self) {
        self.is_told = true;
    }
}

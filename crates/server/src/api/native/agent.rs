//! `GET agent/sources` and `POST agent/advances`: what agents on other hosts are to follow, and what they
//! read. `docs/design/agent.md` describes both.
//!
//! An agent is somebody else's machine. Which sources it may speak for, of which target and in which
//! project, is the registry's to say; what it sends is held against that, record by record.

use std::collections::{BTreeMap, VecDeque};

use doorbook_event::advance::Advance;
use doorbook_event::record::{Coverage, Grade};
use doorbook_event::registry::Registry;
use doorbook_event::shipment::{
    self, Answer, Order, Orders, Receipt, Report, SIZE_BYTES_MAX, Shipment,
};
use doorbook_event::source::{Source, Way};
use doorbook_event::{Principal, ProjectId, Target, Text, Timestamp};
use doorbook_store::ErrorKind;
use doorbook_store::coverage::Progress;

use super::problem::Problem;
use crate::app::App;
use crate::sources::Heard;

/// Advances of one shipment; each is a frame of its own in the worst case.
const ADVANCES_MAX: usize = 4096;

/// A cause names a path and what the operating system said of it.
const CAUSE_BYTES_MAX: usize = 8 << 10;

/// An advance is of 16 MiB of a log at most, which is as many lines at most.
const LINES_MAX: u64 = 1 << 32;

/// Sources of which one agent can report.
const REPORTS_MAX: usize = 4096;

/// The agent that asks.
pub struct Agent {
    /// The project of its key.
    pub project: ProjectId,
    /// Its name.
    pub name: Text,
}

/// What is to follow.
pub fn orders(app: &App, agent: &Agent) -> Vec<u8> {
    let catalog = app.store().catalog();
    let watched = app.store().watched();
    let order = |source: &Source| {
        let aliases = catalog.registry.aliases_of(source).cloned().collect();
        let (position, through) = place(watched.sources.get(&source.name));
        Order::new(source, aliases, position, through)
    };
    let own = catalog.registry.sources().filter(|source| agent.follows(source));
    let sources = own.map(order).collect();
    let orders = Orders { version: shipment::VERSION, agent: agent.name.clone(), sources };
    shipment::to_vec(&orders)
}

/// Takes a shipment in. The answer, and how many events are new. Blocks until they are durable.
pub fn take(app: &App, agent: &Agent, body: &[u8]) -> Result<(Vec<u8>, u64), Problem> {
    let shipment: Shipment = shipment::read(body)
        .map_err(|why| Problem::invalid_body(format!("no shipment: {why}.")))?;
    check(&shipment)?;
    let now = app.clock().now();
    let ahead_micros = shipment.sent.micros().saturating_sub(now.micros());
    let heard = Heard {
        at: now,
        version: cut(&shipment.agent_version),
        ahead_micros,
        reports: agent.reports(&app.store().catalog().registry, shipment.reports),
    };
    app.agents().hear(agent.project, &agent.name, heard);
    let mut taking = Taking::new(app, agent, now, ahead_micros.max(0));
    for (at, bytes) in shipment.advances.iter().enumerate() {
        taking.read(at, bytes);
    }
    while taking.store_next()? {}
    let receipt = Receipt { version: shipment::VERSION, answers: taking.answers };
    Ok((shipment::to_vec(&receipt), taking.events))
}

/// What an agent says in words is kept in memory, and shown.
fn cut(text: &str) -> Text {
    const TEXT_CHARS_MAX: usize = 1000;
    text.chars().take(TEXT_CHARS_MAX).collect::<String>().into()
}

fn check(shipment: &Shipment) -> Result<(), Problem> {
    let Shipment { version, advances, reports, .. } = shipment;
    if !(1..=shipment::VERSION).contains(version) {
        return Err(Problem::invalid_body(format!(
            "The agent speaks version {version} of the protocol, this server up to {}: update the \
             server first.",
            shipment::VERSION
        )));
    }
    if advances.len() > ADVANCES_MAX || reports.len() > REPORTS_MAX {
        let detail = format!("A shipment has at most {ADVANCES_MAX} advances and as many reports.");
        return Err(Problem::too_large(detail));
    }
    Ok(())
}

/// A shipment that is worked on.
struct Taking<'a> {
    app: &'a App,
    agent: &'a Agent,
    now: Timestamp,
    /// By how much the agent's clock is ahead.
    ahead_micros: i64,
    answers: Vec<Answer>,
    /// What is to be stored, by source: each advance begins where the one before it ended.
    waiting: BTreeMap<Text, VecDeque<(usize, Advance)>>,
    events: u64,
}

impl<'a> Taking<'a> {
    fn new(app: &'a App, agent: &'a Agent, now: Timestamp, ahead_micros: i64) -> Taking<'a> {
        let (answers, waiting) = (Vec::new(), BTreeMap::new());
        Taking { app, agent, now, ahead_micros, answers, waiting, events: 0 }
    }

    fn read(&mut self, at: usize, bytes: &[u8]) {
        let catalog = self.app.store().catalog();
        let read = shipment::read_advance(bytes).map_err(|why| format!("no advance: {why}"));
        let checked = read.and_then(|advance| {
            let source = self.agent.source(&catalog.registry, &advance.source.name)?;
            is_of(&advance, source)?;
            Ok((advance, source))
        });
        // What it is unless something better becomes of it.
        match checked {
            Err(why) => self.answers.push(Answer::Refused(why.into())),
            Ok((advance, source)) => {
                let name = source.name.clone();
                self.answers.push(self.elsewhere(&name));
                if is_same_reading(source, &advance.source) && !source.paused {
                    let advance = self.corrected(advance, source);
                    self.waiting.entry(name).or_default().push_back((at, advance));
                }
            }
        }
    }

    /// As the registry and our clock have it.
    fn corrected(&self, advance: Advance, source: &Source) -> Advance {
        let by_our_clock =
            |at: Timestamp| at.plus_micros(self.ahead_micros.saturating_neg()).min(self.now);
        let mut heartbeat = advance.heartbeat;
        if let Some(beat) = &mut heartbeat {
            beat.at = by_our_clock(beat.at);
            beat.through = beat.through.map(by_our_clock);
        }
        // The end of a loss is by the clock of the log. Were less known, what comes next would say of the rest
        // of the loss that it was watched.
        let losses = advance.coverage.iter().filter(|gap| gap.source.is_some());
        let lost_through = losses.filter_map(|gap| gap.to).max().map(|to| to.min(self.now));
        let through = advance.through.map(by_our_clock).max(lost_through);
        Advance {
            source: source.clone(),
            through,
            since: advance.since.map(by_our_clock),
            heartbeat,
            ..advance
        }
    }

    /// Stores the next advance of each source. Whether there was one.
    fn store_next(&mut self) -> Result<bool, Problem> {
        let watched = self.app.store().watched();
        let mut next = Vec::new();
        let mut was_any = false;
        for (name, waiting) in &mut self.waiting {
            let Some((at, advance)) = waiting.pop_front() else { continue };
            was_any = true;
            let (position, through) = place(watched.sources.get(name));
            if position == advance.after {
                next.push((at, advance));
            } else if position == advance.position {
                self.answers[at] = Answer::StoredBefore;
            } else {
                self.answers[at] = Answer::Elsewhere { position, through };
            }
        }
        let (places, advances): (Vec<_>, Vec<_>) = next.into_iter().unzip();
        let names: Vec<Text> = advances.iter().map(|it: &Advance| it.source.name.clone()).collect();
        let stored = self.app.store().advance(advances);
        for ((at, name), stored) in places.into_iter().zip(names).zip(stored) {
            match stored {
                Ok(advanced) => {
                    self.events += advanced.events;
                    self.answers[at] = Answer::Stored(advanced);
                }
                // It was changed meanwhile.
                Err(error) if matches!(error.kind, ErrorKind::Exists | ErrorKind::Missing) => {
                    self.answers[at] = self.elsewhere(&name);
                }
                // What was stored is found to be stored when it comes again.
                Err(error) => return Err(error.into()),
            }
        }
        Ok(was_any)
    }

    fn elsewhere(&self, source: &Text) -> Answer {
        let (position, through) = place(self.app.store().watched().sources.get(source));
        Answer::Elsewhere { position, through }
    }
}

impl Agent {
    /// Whether it is the one that follows a source.
    fn follows(&self, source: &Source) -> bool {
        source.project() == Some(self.project) && source.way() == Way::Shipped(&self.name)
    }

    /// What it says of its own sources.
    fn reports(&self, registry: &Registry, told: Vec<Report>) -> BTreeMap<Text, Report> {
        let own = told.into_iter().filter(|report| self.source(registry, &report.source).is_ok());
        let kept = own.map(|report| {
            let message = report.message.as_deref().map(cut);
            let unknown_ids = report.unknown_ids.bounded();
            (report.source.clone(), Report { message, unknown_ids, ..report })
        });
        kept.collect()
    }

    fn source<'a>(&self, registry: &'a Registry, name: &str) -> Result<&'a Source, String> {
        let source = registry.source(name).filter(|source| self.follows(source));
        source.ok_or_else(|| format!("agent {} has no source {name}", self.name))
    }
}

/// Whether two descriptions of a source lead to the same lines. An older agent does not know all members.
fn is_same_reading(one: &Source, other: &Source) -> bool {
    let reading = |source: &Source| (source.kind, source.path.clone(), source.zone.clone());
    reading(one) == reading(other) && one.is_of_the_same(other)
}

/// Whether each record is one that this source may bring.
fn is_of(advance: &Advance, source: &Source) -> Result<(), String> {
    let target = source.target();
    let is_target = |of: &Target| match *of == target {
        true => Ok(()),
        false => Err(format!("source {} tells of another target than its host", source.name)),
    };
    for access in &advance.accesses {
        is_target(&access.target)?;
        let is_users =
            matches!(access.principal, Principal::User { .. } | Principal::Unauthenticated);
        if !is_users || !source.kind.actions().contains(&access.action) {
            return Err(format!("source {} tells what no log of its kind says", source.name));
        }
    }
    if advance.lines > LINES_MAX {
        return Err(format!("source {} tells of more lines than it can have read", source.name));
    }
    for quarantine in &advance.quarantine {
        is_target(&quarantine.target)?;
    }
    for gap in &advance.coverage {
        is_target(&gap.target)?;
        is_its_gap(gap, source)?;
    }
    if let Some(beat) = &advance.heartbeat {
        is_target(&beat.target)?;
        if beat.source != source.name {
            return Err(format!("source {} brings the heartbeat of {}", source.name, beat.source));
        }
    }
    Ok(())
}

/// What it did not see, or its target did not show; never that it saw something after all.
fn is_its_gap(gap: &Coverage, source: &Source) -> Result<(), String> {
    let is_its = gap.source.as_ref().is_none_or(|of| *of == source.name);
    let is_short = gap.cause.len() <= CAUSE_BYTES_MAX;
    match is_its && is_short && gap.grade != Grade::Watched && gap.missing.is_none() {
        true => Ok(()),
        false => Err(format!("source {} tells a gap that is not its own", source.name)),
    }
}

fn place(progress: Option<&Progress>) -> (Vec<u8>, Option<Timestamp>) {
    progress.map(|progress| (progress.position.clone(), progress.through)).unwrap_or_default()
}

/// What a body can hold: a shipment, and as much again for its frame.
pub const BODY_BYTES_MAX: usize = SIZE_BYTES_MAX + (1 << 20);

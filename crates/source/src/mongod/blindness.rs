//! When a log cannot tell who logged in, although it looks complete.
//!
//! - `quiet` hides successful logins up to 6.0 (failures stay), and nothing from 7.0 on;
//! - `enableDetailedConnectionHealthMetricLogLines=false` hides every attempt from 7.0 on, and
//!   nothing before.
//!
//! Both are set in the options that a process writes when it starts, or at run time. A rotated
//! file begins with the *start-up* options again: they say nothing where the run-time state is
//! already known.

use doorbook_event::record::{Actor, Coverage, Grade, Hidden};
use doorbook_event::{Action, Target, Text, Timestamp};

use super::facts::Version;

/// A parameter that hides lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// `quiet` (and `systemLog.quiet`).
    Quiet,
    /// `enableDetailedConnectionHealthMetricLogLines`, of which `false` hides.
    Health,
}

impl Switch {
    /// Both.
    pub const ALL: [Switch; 2] = [Switch::Quiet, Switch::Health];

    /// The parameter's name.
    pub const fn parameter(self) -> &'static str {
        match self {
            Switch::Quiet => "quiet",
            Switch::Health => "enableDetailedConnectionHealthMetricLogLines",
        }
    }

    /// The switch of a parameter.
    pub fn of_parameter(name: &[u8]) -> Option<Switch> {
        Switch::ALL.into_iter().find(|switch| switch.parameter().as_bytes() == name)
    }

    /// Whether the parameter's `value` hides anything in that version. Where the version is not
    /// known it is taken to: a gap that was none costs less than one that nobody hears of.
    pub fn hides(self, value: bool, version: Option<&Version>) -> bool {
        let is_new = version.map(|version| version.number >= Version::FIRST_WITH_METRICS);
        match self {
            Switch::Quiet => value && is_new != Some(true),
            Switch::Health => !value && is_new != Some(false),
        }
    }

    const fn hidden(self) -> Hidden {
        match self {
            Switch::Quiet => Hidden::Successes,
            Switch::Health => Hidden::All,
        }
    }

    const fn hiding_value(self) -> bool {
        matches!(self, Switch::Quiet)
    }
}

/// How a parameter came to its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Options on the command line or in the configuration file.
    Start,
    /// `setParameter`, by whom if the log tells.
    RunTime(Option<Actor>),
}

#[derive(Clone, Debug)]
struct Gap {
    cause: Text,
    actor: Option<Actor>,
    from: Timestamp,
}

/// The state of the switches.
#[derive(Debug, Default)]
pub struct Blindness {
    gaps: [Option<Gap>; 2],
    /// Whether the value in the present process life is known.
    is_known: [bool; 2],
    /// When the present process started, if its options have not been seen yet.
    started: Option<Timestamp>,
}

impl Blindness {
    /// A new process: what the old one hid is decided by its options line.
    pub fn process_started(&mut self, at: Timestamp) {
        self.is_known = [false; 2];
        self.started.get_or_insert(at);
    }

    /// A parameter has a value from now on.
    pub fn set(
        &mut self,
        switch: Switch,
        hides: bool,
        cause: Cause,
        at: Timestamp,
        target: &Target,
        out: &mut Vec<Coverage>,
    ) {
        let index = switch as usize;
        if cause == Cause::Start && self.is_known[index] {
            return;
        }
        self.is_known[index] = true;
        if hides {
            if self.gaps[index].is_none() {
                self.gaps[index] = Some(gap(switch, cause, at));
            }
        } else if let Some(gap) = self.gaps[index].take() {
            let end = match cause {
                Cause::Start => self.started.unwrap_or(at),
                Cause::RunTime(_) => at,
            };
            out.push(coverage(switch, gap, Some(end), end, target));
        }
    }

    /// The options of this process are read.
    pub fn options_seen(&mut self) {
        self.started = None;
    }

    /// It turns out that nothing is hidden: lines of a version that this switch does not affect.
    pub fn disprove(&mut self, switch: Switch) {
        self.gaps[switch as usize] = None;
    }

    /// The gaps that are open, as far as it is known at the time of the last line.
    pub fn open_gaps(&self, last_seen: Timestamp, target: &Target) -> Vec<Coverage> {
        let open = Switch::ALL.into_iter().filter_map(|switch| {
            let gap = self.gaps[switch as usize].clone()?;
            let last_seen = last_seen.max(gap.from);
            Some(coverage(switch, gap, None, last_seen, target))
        });
        open.collect()
    }

    /// Goes on with gaps that were open when reading was interrupted.
    pub fn resume_gaps(&mut self, open: &[Coverage]) {
        for told in open {
            let named = |switch: &Switch| told.cause.contains(switch.parameter());
            if let Some(switch) = Switch::ALL.into_iter().find(named) {
                let (cause, actor) = (told.cause.clone(), told.actor.clone());
                self.gaps[switch as usize] = Some(Gap { cause, actor, from: told.from });
            }
        }
    }

    /// Whether a gap is open.
    pub fn is_open(&self, switch: Switch) -> bool {
        self.gaps[switch as usize].is_some()
    }

    /// The input ends; what is hidden now stays hidden.
    pub fn finish(&mut self, last_seen: Timestamp, target: &Target, out: &mut Vec<Coverage>) {
        for switch in Switch::ALL {
            if let Some(gap) = self.gaps[switch as usize].take() {
                let last_seen = last_seen.max(gap.from);
                out.push(coverage(switch, gap, None, last_seen, target));
            }
        }
        *self = Blindness::default();
    }
}

fn gap(switch: Switch, cause: Cause, from: Timestamp) -> Gap {
    let (name, value) = (switch.parameter(), switch.hiding_value());
    match cause {
        Cause::Start => {
            Gap { cause: format!("{name}={value} set at start").into(), actor: None, from }
        }
        Cause::RunTime(actor) => {
            Gap { cause: format!("setParameter {name}={value}").into(), actor, from }
        }
    }
}

fn coverage(
    switch: Switch,
    gap: Gap,
    to: Option<Timestamp>,
    last_seen: Timestamp,
    target: &Target,
) -> Coverage {
    Coverage {
        target: target.clone(),
        actions: vec![Action::Authenticate],
        hidden: switch.hidden(),
        cause: gap.cause,
        actor: gap.actor,
        from: gap.from,
        to,
        last_seen,
        source: None,
        grade: Grade::Blind,
        missing: None,
    }
}

//! [`Change`]: what becomes of sources, in the server's own log.

use std::collections::BTreeMap;

use doorbook_event::Text;
use doorbook_event::source::State;

use super::Status;

/// Writes what changed to the server's log.
pub(crate) fn tell_changes(before: &BTreeMap<Text, Status>, now: &BTreeMap<Text, Status>) {
    for (name, now) in now {
        let before = before.get(name).map(|before| before.state);
        if let Some(change) = Change::between(before, now.state) {
            change.tell(name, now.message.as_deref().unwrap_or_default());
        }
    }
}

/// What an operator should know of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// It cannot go on.
    Stopped,
    /// Its file is not there.
    Waits,
    /// Its agent does not report.
    Away,
    /// It is read again.
    Reads,
}

impl Change {
    /// What changed, if that is one of these.
    fn between(before: Option<State>, now: State) -> Option<Change> {
        match now {
            _ if before == Some(now) => None,
            State::Failed => Some(Change::Stopped),
            State::Waiting => Some(Change::Waits),
            State::Following | State::CatchingUp => {
                let could_not = [State::Failed, State::Waiting, State::Away];
                before.is_some_and(|before| could_not.contains(&before)).then_some(Change::Reads)
            }
            State::Away => Some(Change::Away),
            State::Paused | State::Stopped => None,
        }
    }

    /// Writes it to the server's log.
    fn tell(self, source: &Text, reason: &str) {
        let source = &**source;
        match self {
            // Of files and their places, never of what is written in them.
            Change::Stopped => tracing::error!(
                source,
                reason,
                advice = "doorbook source show says why; it is tried again by itself",
                "a source cannot go on"
            ),
            Change::Waits => {
                tracing::info!(source, "a source waits for its file, or for its agent")
            }
            Change::Away => tracing::error!(
                source,
                advice = "see whether doorbook-agent runs there and reaches this server; what it \
                          spools fills the gap",
                "the agent of a source is away"
            ),
            Change::Reads => tracing::info!(source, "a source is read again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each change is told once, and what goes on as it was is not. Method: a source's life.
    #[test]
    fn what_keeps_a_source_from_reading_is_told_once() {
        use State::{Away, CatchingUp, Failed, Following, Paused, Waiting};
        let life = [
            (Waiting, Some(Change::Waits)),
            (Waiting, None),
            (CatchingUp, Some(Change::Reads)),
            (Following, None),
            (CatchingUp, None),
            (Failed, Some(Change::Stopped)),
            (Failed, None),
            (Waiting, Some(Change::Waits)),
            (Failed, Some(Change::Stopped)),
            (Paused, None),
            (Following, None),
            (Failed, Some(Change::Stopped)),
            (Following, Some(Change::Reads)),
            (Away, Some(Change::Away)),
            (Away, None),
            (CatchingUp, Some(Change::Reads)),
        ];
        let mut before = None;
        for (now, expected) in life {
            assert_eq!(Change::between(before, now), expected, "{before:?} {now:?}");
            before = Some(now);
        }
        assert_eq!(Change::between(None, Following), None);
    }
}

//! [`ClockWatch`]: whether our own clock goes on as time does.
//!
//! Every interval that is told, and whether an event is of the future, rests on the wall clock. So it is
//! held against one that nobody sets, and where the two part, that is an event.

use std::time::Duration;

use doorbook_event::record::{Actor, ClockState};
use doorbook_event::{Access, Action, Attributes, Peer, Principal, Target, Text, Timestamp};

/// A clock that is kept right is slewed by half a millisecond a second at most; by so much between two
/// looks it moves only if it is set.
const JUMP_MICROS: i64 = 2_000_000;

/// What the clocks said at one instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// The one that people set.
    pub(super) wall: Timestamp,
    /// The one that nobody sets.
    pub(super) steady: Duration,
    /// How far the first one can be trusted.
    pub(super) state: ClockState,
}

/// The latest look.
#[derive(Default)]
pub(super) struct ClockWatch(Option<Look>);

/// Something that happened to the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClockNews {
    /// It was set.
    Jumped {
        /// What it would have said.
        from: Timestamp,
        /// What it says.
        to: Timestamp,
    },
    /// Something keeps it synchronised now, or nothing does any more.
    Synchronised(bool),
}

impl ClockWatch {
    /// What happened since the look before.
    pub(super) fn news(&self, now: &Look) -> Vec<ClockNews> {
        let Some(before) = &self.0 else { return Vec::new() };
        let mut news = Vec::new();
        let elapsed = now.steady.saturating_sub(before.steady).as_micros();
        let from = before.wall.plus_micros(i64::try_from(elapsed).unwrap_or(i64::MAX));
        let to = now.wall;
        if to.micros().abs_diff(from.micros()) > JUMP_MICROS.unsigned_abs() {
            news.push(ClockNews::Jumped { from, to });
        }
        match (before.state.synchronised, now.state.synchronised) {
            (Some(before), Some(now)) if before != now => news.push(ClockNews::Synchronised(now)),
            _ => {}
        }
        news
    }

    /// That news is told. Until then the next look has it, too.
    pub(super) fn told(&mut self, now: Look) {
        self.0 = Some(now);
    }
}

impl ClockNews {
    /// The event that it is.
    pub(super) fn event(self, now: Timestamp) -> Access {
        let (action, attributes) = match self {
            ClockNews::Jumped { from, to } => {
                let attributes: [(Text, Text); 3] = [
                    ("from".into(), from.to_string().into()),
                    ("to".into(), to.to_string().into()),
                    ("by_seconds".into(), by_seconds(from, to).to_string().into()),
                ];
                (Action::ClockJump, Attributes::from(attributes))
            }
            ClockNews::Synchronised(is_now) => {
                let attributes = [("synchronised".into(), is_now.to_string().into())];
                (Action::ClockSync, Attributes::from(attributes))
            }
        };
        let by = Actor { principal: Principal::Doorbook, peer: Peer::Unknown };
        let target = Target::Own { kind: "clock".into(), name: "system".into() };
        Access { attributes, ..Access::own(&by, action, target, now) }
    }

    /// Writes it to the server's log.
    pub(super) fn tell(self) {
        match self {
            ClockNews::Jumped { from, to } => {
                tracing::warn!(by_seconds = by_seconds(from, to), "the clock jumped");
            }
            ClockNews::Synchronised(true) => tracing::info!("the clock is synchronised again"),
            ClockNews::Synchronised(false) => {
                tracing::warn!("the clock is not synchronised any more");
            }
        }
    }
}

/// Ahead is positive.
fn by_seconds(from: Timestamp, to: Timestamp) -> f64 {
    (to.micros().saturating_sub(from.micros())) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(wall: i64, steady: u64, synchronised: Option<bool>) -> Look {
        let state = ClockState { synchronised, ..ClockState::default() };
        let wall = Timestamp::from_micros(wall * 1000);
        Look { wall, steady: Duration::from_millis(steady), state }
    }

    /// Goal: a clock that is set is news, one that goes a little wrong or is not looked at for long is
    /// none. Method: two looks, in milliseconds.
    #[test]
    fn a_clock_that_jumps_is_news() {
        let watch = ClockWatch(Some(look(1_000_000, 5_000, None)));
        let by = |wall, steady| match watch.news(&look(wall, steady, None))[..] {
            [] => 0.0,
            [ClockNews::Jumped { from, to }] => by_seconds(from, to),
            ref other => panic!("{other:?}"),
        };
        assert_eq!(ClockWatch::default().news(&look(0, 0, Some(false))), []);
        assert_eq!(by(1_000_500, 5_500), 0.0);
        assert_eq!(by(1_002_500, 5_500), 0.0);
        assert_eq!(by(1_002_501, 5_500), 2.001);
        assert_eq!(by(998_499, 5_500), -2.001);
        assert_eq!(by(4_600_000, 3_605_000), 0.0);
        assert_eq!(by(1_000_500, 3_605_000), -3599.5);
    }

    #[test]
    fn what_keeps_the_clock_is_news_when_it_changes() {
        let news = |before, now| ClockWatch(Some(look(0, 0, before))).news(&look(0, 0, now));
        assert_eq!(news(Some(true), Some(false)), [ClockNews::Synchronised(false)]);
        assert_eq!(news(Some(false), Some(true)), [ClockNews::Synchronised(true)]);
        for (before, now) in [(None, Some(true)), (Some(true), None), (Some(true), Some(true))] {
            assert_eq!(news(before, now), []);
        }
    }
}

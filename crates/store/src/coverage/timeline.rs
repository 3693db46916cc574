//! [`Timeline`]: what one source saw of one target, from its first instant to its last.

use doorbook_event::Timestamp;
use doorbook_event::record::Grade;
use minicbor::{Decode, Encode};

use doorbook_event::Text;

/// An interval of one grade: from `from` on, up to and without `to`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Span {
    /// Its beginning.
    #[n(0)]
    pub from: Timestamp,
    /// Its end; [`Timestamp::MAX`] while it lasts.
    #[n(1)]
    pub to: Timestamp,
    /// How much was seen.
    #[n(2)]
    pub grade: Grade,
    /// Why it was not everything; empty if it was.
    #[n(3)]
    pub cause: Text,
}

/// Spans in the order of time, none of which overlap; neighbours differ. Of what lies between two of
/// them nobody said anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Timeline(#[n(0)] Vec<Span>);

impl Timeline {
    /// The spans.
    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    /// What was said of an instant.
    pub fn at(&self, instant: Timestamp) -> Option<&Span> {
        let after = self.0.partition_point(|span| span.from <= instant);
        self.0[..after].last().filter(|span| instant < span.to)
    }

    /// Says something of an interval, whatever was said before. An empty one is nothing.
    pub(crate) fn paint(&mut self, new: Span) {
        if new.from >= new.to {
            return;
        }
        let first = self.0.partition_point(|span| span.to < new.from);
        let last = self.0.partition_point(|span| span.from <= new.to);
        let mut between = Vec::with_capacity(3);
        let touched = &self.0[first..last];
        if let Some(before) = touched.first().filter(|span| span.from < new.from) {
            between.push(Span { to: before.to.min(new.from), ..before.clone() });
        }
        let after = touched.last().filter(|span| new.to < span.to);
        let after = after.map(|span| Span { from: span.from.max(new.to), ..span.clone() });
        between.push(new);
        between.extend(after);
        between.dedup_by(|next, span| {
            let is_one =
                span.to == next.from && span.grade == next.grade && span.cause == next.cause;
            if is_one {
                span.to = next.to;
            }
            is_one
        });
        self.0.splice(first..last, between);
    }

    /// Takes back what was said of `instant` and later.
    pub(crate) fn forget_from(&mut self, instant: Timestamp) {
        self.0.retain(|span| span.from < instant);
        if let Some(last) = self.0.last_mut() {
            last.to = last.to.min(instant);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    proptest! {
        /// Goal: a timeline says of each instant what was painted there last, and is in its one
        /// form. Method: random strokes on it and on an array with one place for each second.
        #[test]
        fn it_says_what_was_painted_last(
            strokes in prop::collection::vec((0_i64..40, 0_i64..12, 0_u8..3, prop::bool::weighted(0.1)), 0..30),
        ) {
            let grades = [Grade::Blind, Grade::BestEffort, Grade::Watched];
            let mut timeline = Timeline::default();
            let mut naive: Vec<Option<Grade>> = vec![None; 60];
            for (from, length, grade, forgets) in strokes {
                if forgets {
                    timeline.forget_from(at(from));
                    naive[from as usize..].fill(None);
                    continue;
                }
                let grade = grades[usize::from(grade)];
                let span = Span { from: at(from), to: at(from + length), grade, cause: "".into() };
                timeline.paint(span);
                naive[from as usize..(from + length) as usize].fill(Some(grade));
            }
            for (second, expected) in (0..).zip(&naive) {
                prop_assert_eq!(timeline.at(at(second)).map(|span| span.grade), *expected);
            }
            for pair in timeline.spans().windows(2) {
                prop_assert!(pair[0].to <= pair[1].from);
                prop_assert!(pair[0].to < pair[1].from || pair[0].grade != pair[1].grade);
            }
            prop_assert!(timeline.spans().iter().all(|span| span.from < span.to));
        }
    }
}

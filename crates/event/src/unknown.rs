//! [`UnknownIds`]: messages that this version does not know, counted.

use minicbor::{Decode, Encode};

use crate::Text;
use crate::record::UnknownId;

/// How often which messages came, in bounded memory, whatever a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct UnknownIds {
    /// The first that were met.
    #[n(0)]
    known: Vec<UnknownId>,
    /// How often others came.
    #[n(1)]
    others: u64,
}

impl UnknownIds {
    /// As many are told apart.
    pub const MAX: usize = 100;

    /// Whether none came.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.others == 0
    }

    /// Counts what a reader handed out.
    pub fn add(&mut self, unknown: UnknownId) {
        let is_it =
            |known: &UnknownId| (known.id, &known.version) == (unknown.id, &unknown.version);
        match self.known.iter().position(is_it) {
            Some(place) => {
                let count = &mut self.known[place].count;
                *count = count.saturating_add(unknown.count);
            }
            None if self.known.len() < UnknownIds::MAX => self.known.push(unknown),
            None => self.others = self.others.saturating_add(unknown.count),
        }
    }

    /// Those that are told apart, in the order in which they were met.
    pub fn iter(&self) -> impl Iterator<Item = &UnknownId> {
        self.known.iter()
    }

    /// How many messages came in all.
    pub fn total(&self) -> u64 {
        self.known.iter().fold(self.others, |total, known| total.saturating_add(known.count))
    }

    /// The same, made anew within what memory is bounded to: of what another host says.
    #[must_use]
    pub fn bounded(self) -> UnknownIds {
        const CHARS_MAX: usize = 200;
        let mut bounded = UnknownIds { known: Vec::new(), others: self.others };
        for unknown in self.known {
            let cut = |text: &Text| text.chars().take(CHARS_MAX).collect::<String>().into();
            let (message, version) = (cut(&unknown.message), unknown.version.as_ref().map(cut));
            bounded.add(UnknownId { message, version, ..unknown });
        }
        bounded
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unknown(id: u64, version: Option<&str>, count: u64) -> UnknownId {
        let version = version.map(Into::into);
        UnknownId { id, version, count, message: format!("message {id}").as_str().into() }
    }

    proptest! {
        /// Goal: every message is counted, those of one id and version together, and memory is bounded. Method: a sum of
        /// all counts, and of those of each id that was among the first.
        #[test]
        fn every_message_is_counted(
            all in proptest::collection::vec((0_u64..150, 0_usize..3, 1_u64..9), 0..400)
        ) {
            let mut counted = UnknownIds::default();
            let versions = [None, Some("8.0.1"), Some("8.2.0")];
            for (id, version, count) in &all {
                counted.add(unknown(*id, versions[*version], *count));
            }
            prop_assert_eq!(counted.total(), all.iter().map(|(_, _, count)| count).sum::<u64>());
            prop_assert!(counted.iter().count() <= UnknownIds::MAX);
            for known in counted.iter() {
                let its = all.iter().filter(|(id, version, _)| {
                    (*id, versions[*version]) == (known.id, known.version.as_deref())
                });
                prop_assert_eq!(known.count, its.map(|(_, _, count)| count).sum::<u64>());
            }
            let again: UnknownIds =
                minicbor::decode(&minicbor::to_vec(&counted).expect("in memory")).expect("our own");
            prop_assert_eq!(&again, &counted);
            prop_assert_eq!(again.bounded(), counted);
        }
    }

    #[test]
    fn what_another_host_says_is_cut() {
        let long =
            |id| UnknownId { message: "x".repeat(500).as_str().into(), ..unknown(id, None, 1) };
        let cut = UnknownIds { known: (0..1000).map(long).collect(), others: 5 }.bounded();
        assert_eq!((cut.iter().count(), cut.total()), (UnknownIds::MAX, 1005));
        assert!(cut.iter().all(|unknown| unknown.message.len() == 200));
    }
}

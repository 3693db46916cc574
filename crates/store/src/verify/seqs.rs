//! [`SeqSet`]: which positions of a log were seen.

use std::collections::BTreeMap;
use std::ops::Range;

use doorbook_event::Seq;

/// Positions. Those of a log come to be without gaps, so that most stretches are soon full and cost
/// nothing.
#[derive(Default)]
pub(super) struct SeqSet {
    stretches: BTreeMap<Seq, Stretch>,
    len: u64,
}

enum Stretch {
    Full,
    Partial { bits: Box<[u64; WORDS]>, count: u64 },
}

const WORDS: usize = 1024;
const STRETCH: u64 = WORDS as u64 * 64;

impl SeqSet {
    /// Adds a position; false if it was there.
    pub(super) fn insert(&mut self, seq: Seq) -> bool {
        let none = || Stretch::Partial { bits: Box::new([0; WORDS]), count: 0 };
        let stretch = self.stretches.entry(seq / STRETCH).or_insert_with(none);
        let Stretch::Partial { bits, count } = stretch else { return false };
        let at = (seq % STRETCH) as usize;
        let (word, bit) = (&mut bits[at / 64], 1 << (at % 64));
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        *count += 1;
        if *count == STRETCH {
            *stretch = Stretch::Full;
        }
        self.len += 1;
        true
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    fn contains(&self, seq: Seq) -> bool {
        match self.stretches.get(&(seq / STRETCH)) {
            None => false,
            Some(Stretch::Full) => true,
            Some(Stretch::Partial { bits, .. }) => {
                let at = (seq % STRETCH) as usize;
                bits[at / 64] & 1 << (at % 64) != 0
            }
        }
    }

    /// The first and the last position below `end` that is missing, if any is.
    pub(super) fn missing(&self, end: Seq) -> Option<Range<Seq>> {
        let is_full =
            |seq: &Seq| matches!(self.stretches.get(&(seq / STRETCH)), Some(Stretch::Full));
        let mut first = 0;
        while first < end && self.contains(first) {
            first = if is_full(&first) { (first / STRETCH + 1) * STRETCH } else { first + 1 };
        }
        if first >= end {
            return None;
        }
        let mut last = end - 1;
        while last > first && self.contains(last) {
            last = if is_full(&last) {
                (last / STRETCH * STRETCH).saturating_sub(1)
            } else {
                last - 1
            };
        }
        Some(first..last.max(first) + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// The same as a plain set, over the seams of its stretches.
        #[test]
        fn it_is_a_set(seqs in proptest::collection::vec(STRETCH - 9..STRETCH + 9, 0..30)) {
            let mut set = SeqSet::default();
            // A plain set of all that comes before would be most of the time.
            let dense = STRETCH - 9;
            prop_assert!((0..dense).all(|seq| set.insert(seq)));
            prop_assert!((0..dense).all(|seq| !set.insert(seq)));
            let mut plain = BTreeSet::new();
            for seq in seqs {
                prop_assert_eq!(set.insert(seq), plain.insert(seq));
            }
            prop_assert_eq!(set.len(), dense + plain.len() as u64);
            let end = STRETCH + 9;
            let missing: Vec<Seq> = (dense..end).filter(|seq| !plain.contains(seq)).collect();
            let expected = missing.first().map(|first| *first..missing[missing.len() - 1] + 1);
            prop_assert_eq!(set.missing(end), expected);
        }
    }
}

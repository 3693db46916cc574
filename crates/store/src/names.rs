//! [`Names`]: targets by number.

use std::collections::HashMap;

use ahash::RandomState;

/// Group and member of a target.
pub(crate) type Name<'a> = (&'a str, &'a str);

/// Numbers the targets of many rows as they come. Names that are the same texts in memory as those of
/// a row shortly before cost a comparison of pointers.
pub(crate) struct Names<'a> {
    numbers: HashMap<Name<'a>, u32, RandomState>,
    recent: Vec<(Name<'a>, u32)>,
}

/// Each has a place by where its member lies in memory.
const RECENT: usize = 512;

/// No number.
const NONE: u32 = u32::MAX;

impl<'a> Names<'a> {
    pub(crate) fn new() -> Names<'a> {
        Names { numbers: HashMap::default(), recent: vec![(("", ""), NONE); RECENT] }
    }

    /// The number of a target: how many came before it.
    pub(crate) fn number(&mut self, name: Name<'a>) -> u32 {
        let recent = &mut self.recent[name.1.as_ptr().addr() / 16 % RECENT];
        let (known, number) = *recent;
        if number == NONE || !std::ptr::eq(known.0, name.0) || !std::ptr::eq(known.1, name.1) {
            let next = self.numbers.len() as u32;
            *recent = (name, *self.numbers.entry(name).or_insert(next));
        }
        recent.1
    }

    /// The targets with their numbers, in any order.
    pub(crate) fn all(self) -> impl Iterator<Item = (Name<'a>, u32)> {
        self.numbers.into_iter()
    }
}

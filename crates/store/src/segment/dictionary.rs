//! The distinct values of a text column, numbered as they come.
//!
//! A value lies once, in the page that is written; the table has only numbers. Values are what
//! clients chose, so that the hash has a secret key.

use ahash::RandomState;
use hashbrown::HashTable;

use super::encoding::put_plain;

/// 1 MiB: a dictionary beyond it must be worth it, because a reader holds it whole.
const SIZE_BYTES: usize = 1 << 20;

/// 2 MiB, where values come again.
const SIZE_BYTES_MAX: usize = 2 << 20;

/// A dictionary page in work.
pub(super) struct Dictionary {
    page: Vec<u8>,
    /// Where in the page each value begins.
    starts: Vec<u32>,
    keys: HashTable<u32>,
    hashes: RandomState,
}

impl Dictionary {
    pub(super) fn new() -> Dictionary {
        let (page, starts) = (Vec::new(), Vec::new());
        Dictionary { page, starts, keys: HashTable::new(), hashes: RandomState::new() }
    }

    /// The key of a value, which gets one if it has none and there is room. Beyond a size there is
    /// only if values come at least twice, by how many rows had one so far.
    pub(super) fn key(&mut self, text: &[u8], row_count: usize) -> Option<u32> {
        let hash = self.hashes.hash_one(text);
        let Dictionary { page, starts, keys, hashes } = self;
        if let Some(key) = keys.find(hash, |key| value(page, starts, *key) == text) {
            return Some(*key);
        }
        let size_bytes = page.len() + 4 + text.len();
        let is_worth_it = size_bytes <= SIZE_BYTES || row_count >= 2 * starts.len();
        if size_bytes > SIZE_BYTES_MAX || !is_worth_it {
            return None;
        }
        let key = u32::try_from(starts.len()).expect("a dictionary is two megabytes");
        starts.push(page.len() as u32);
        put_plain(page, text);
        keys.insert_unique(hash, key, |key| hashes.hash_one(value(page, starts, *key)));
        Some(key)
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(super) fn value(&self, key: u32) -> &[u8] {
        value(&self.page, &self.starts, key)
    }

    /// All values, in the order of their keys.
    pub(super) fn values(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.starts.len() as u32).map(|key| self.value(key))
    }

    /// The values in the plain encoding.
    pub(super) fn page(&self) -> &[u8] {
        &self.page
    }
}

fn value<'a>(page: &'a [u8], starts: &[u32], key: u32) -> &'a [u8] {
    let start = starts[key as usize] as usize;
    let end = starts.get(key as usize + 1).map_or(page.len(), |end| *end as usize);
    &page[start + 4..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what comes once does not make readers hold megabytes, what comes again may. Method: one
    /// that is fed as many rows as values, and one that is fed twice as many.
    #[test]
    fn a_large_dictionary_holds_what_comes_again() {
        let text = |n: usize| format!("{n:0>96}").into_bytes();
        for (rows_of_a_value, size_bytes) in [(1, SIZE_BYTES), (2, SIZE_BYTES_MAX)] {
            let mut dictionary = Dictionary::new();
            let last = (0..).find(|n| dictionary.key(&text(*n), rows_of_a_value * n).is_none());
            let last = last.expect("it is full some day");
            assert_eq!(last, size_bytes / 100);
            assert_eq!(dictionary.len(), last);
            assert_eq!(dictionary.key(&text(7), 0), Some(7));
            assert_eq!(dictionary.value(7), text(7));
            assert_eq!(dictionary.page().len(), 100 * last);
            assert!(dictionary.values().eq((0..last).map(text)));
        }
    }
}

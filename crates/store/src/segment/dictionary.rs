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
    keys: HashTable<Entry>,
    hashes: RandomState,
}

/// A value in the table. Where it begins stands here as well: to look it up by its key would be one
/// more wait for memory.
struct Entry {
    start: u32,
    key: u32,
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
        if let Some(entry) = keys.find(hash, |entry| value(page, entry.start) == text) {
            return Some(entry.key);
        }
        let size_bytes = page.len() + 4 + text.len();
        let is_worth_it = size_bytes <= SIZE_BYTES || row_count >= 2 * starts.len();
        if size_bytes > SIZE_BYTES_MAX || !is_worth_it {
            return None;
        }
        let key = u32::try_from(starts.len()).expect("a dictionary is two megabytes");
        let start = page.len() as u32;
        starts.push(start);
        put_plain(page, text);
        let hash_of = |entry: &Entry| hashes.hash_one(value(page, entry.start));
        keys.insert_unique(hash, Entry { start, key }, hash_of);
        Some(key)
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(super) fn value(&self, key: u32) -> &[u8] {
        value(&self.page, self.starts[key as usize])
    }

    /// All values, in the order of their keys.
    pub(super) fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.starts.iter().map(|start| value(&self.page, *start))
    }

    /// The values in the plain encoding.
    pub(super) fn page(&self) -> &[u8] {
        &self.page
    }
}

/// The value that begins somewhere, its length before it.
fn value(page: &[u8], start: u32) -> &[u8] {
    let (length, rest) = page[start as usize..].split_at(4);
    let length = u32::from_le_bytes(length.try_into().expect("four bytes are four bytes"));
    &rest[..length as usize]
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

//! [`Cache`]: pages and dictionaries of segments as they were decoded, shared by all readers.
//!
//! Not a cache of answers: each answer is found anew. Bounded in bytes; what was not asked for since
//! the hand last came by goes first (the clock algorithm: nearly what "least recently used" would
//! throw out, without keeping a list in order at each access).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use parquet::bloom_filter::Sbbf;

use crate::segment::{Dictionary, Packed, Page};

/// Something that was decoded from a segment.
#[derive(Clone)]
pub(crate) enum Block {
    Page(Arc<Page>),
    /// A page of which only some rows were wanted.
    Packed(Arc<Packed>),
    Dictionary(Arc<Dictionary>),
    /// The dictionary of a column of numbers.
    Numbers(Arc<[i64]>),
    /// `None`: the file has none for this column.
    Bloom(Option<Arc<Sbbf>>),
}

/// Which block: of which segment, by a number that no other segment of this process ever has; of
/// which column; and which part of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BlockKey {
    pub(crate) segment: u64,
    pub(crate) column: u32,
    pub(crate) part: Part,
}

/// A part of a column.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Page(u32),
    Packed(u32),
    Dictionary,
    Bloom,
}

/// Decoded blocks, up to a number of bytes.
pub(crate) struct Cache {
    limit_bytes: usize,
    slots: Mutex<Slots>,
    /// Those that nobody uses just now; each is some 100 kB.
    unpackers: Mutex<Vec<Unpacker>>,
    /// For pages that are decoded at once: many columns have one open, and need one buffer.
    buffers: Mutex<Vec<Vec<u8>>>,
}

/// Unpackers and buffers that are kept, of each, and how large a buffer may be.
const KEPT_MAX: usize = 8;
const KEPT_SIZE_BYTES_MAX: usize = 512 << 10;

/// What is needed to decompress a page and worth keeping for the next.
pub(crate) struct Unpacker {
    pub(crate) zstd: zstd::bulk::Decompressor<'static>,
    /// For the bytes of a page as they are in the file.
    pub(crate) bytes: Vec<u8>,
}

#[derive(Default)]
struct Slots {
    by_key: HashMap<BlockKey, usize>,
    slots: Vec<Slot>,
    size_bytes: usize,
    /// The slot that is looked at next when room is needed.
    hand: usize,
}

struct Slot {
    key: BlockKey,
    block: Block,
    size_bytes: usize,
    /// Asked for since the hand last came by.
    is_wanted: bool,
}

impl Cache {
    pub(crate) fn new(limit_bytes: usize) -> Cache {
        Cache {
            limit_bytes,
            slots: Mutex::default(),
            unpackers: Mutex::default(),
            buffers: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, key: BlockKey) -> Option<Block> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let at = *slots.by_key.get(&key)?;
        let slot = &mut slots.slots[at];
        slot.is_wanted = true;
        Some(slot.block.clone())
    }

    /// Whether a block is here, without asking for it.
    pub(crate) fn has(&self, key: BlockKey) -> bool {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.by_key.contains_key(&key)
    }

    /// Whether so much could be kept at once, and still be there when it is asked for again.
    pub(crate) fn has_room_for(&self, size_bytes: usize) -> bool {
        size_bytes <= self.limit_bytes / 4 * 3
    }

    /// Keeps a block, unless it alone would take a large part of all there is.
    pub(crate) fn put(&self, key: BlockKey, block: Block) {
        let size_bytes = block.size_bytes() + SLOT_SIZE_BYTES;
        if size_bytes > self.limit_bytes / 4 {
            return;
        }
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.by_key.contains_key(&key) {
            return;
        }
        while slots.size_bytes + size_bytes > self.limit_bytes {
            slots.evict();
        }
        let at = slots.slots.len();
        slots.by_key.insert(key, at);
        // Where a few rows of a page lie, others seldom ask: it may go before pages that scans need.
        let is_wanted = !matches!(block, Block::Packed(_));
        slots.slots.push(Slot { key, block, size_bytes, is_wanted });
        slots.size_bytes += size_bytes;
    }

    /// An unpacker, which is given back with [`Cache::give_back`].
    pub(crate) fn unpacker(&self) -> std::io::Result<Unpacker> {
        let mut unpackers = self.unpackers.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Ok(Unpacker { zstd: zstd::bulk::Decompressor::new()?, bytes: Vec::new() });
        unpackers.pop().map_or_else(new, Ok)
    }

    pub(crate) fn give_back(&self, mut unpacker: Unpacker) {
        if unpacker.bytes.capacity() > KEPT_SIZE_BYTES_MAX {
            unpacker.bytes = Vec::new();
        }
        let mut unpackers = self.unpackers.lock().unwrap_or_else(PoisonError::into_inner);
        if unpackers.len() < KEPT_MAX {
            unpackers.push(unpacker);
        }
    }

    /// A buffer with anything in it, which is given back with [`Cache::give_back_buffer`].
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub(crate) fn give_back_buffer(&self, buffer: Vec<u8>) {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.len() < KEPT_MAX && buffer.capacity() <= KEPT_SIZE_BYTES_MAX {
            buffers.push(buffer);
        }
    }
}

/// What a slot and its entry in the map take, a map being half full at worst.
const SLOT_SIZE_BYTES: usize = size_of::<Slot>() + 2 * size_of::<(BlockKey, usize)>();

impl Slots {
    /// Drops the next block that nobody asked for since the hand last came by.
    fn evict(&mut self) {
        loop {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            let Some(slot) = self.slots.get_mut(self.hand) else { return };
            if !std::mem::take(&mut slot.is_wanted) {
                break;
            }
            self.hand += 1;
        }
        let gone = self.slots.swap_remove(self.hand);
        self.by_key.remove(&gone.key);
        self.size_bytes -= gone.size_bytes;
        if let Some(moved) = self.slots.get(self.hand) {
            self.by_key.insert(moved.key, self.hand);
        }
    }
}

impl Block {
    fn size_bytes(&self) -> usize {
        match self {
            Block::Page(page) => page.size_bytes(),
            Block::Packed(page) => page.size_bytes(),
            Block::Dictionary(dictionary) => dictionary.size_bytes(),
            Block::Numbers(numbers) => size_of_val(&**numbers),
            Block::Bloom(bloom) => bloom.as_ref().map_or(0, |bloom| bloom.num_blocks() * 32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(n: u32) -> BlockKey {
        BlockKey { segment: 1, column: 2, part: Part::Page(n) }
    }

    /// A bloom filter is the block whose size is easiest to choose.
    fn block(size_bytes: usize) -> Block {
        Block::Bloom(Some(Arc::new(Sbbf::new(&vec![0; size_bytes / 32 * 32]))))
    }

    proptest! {
        /// Goal: the cache never holds more than it may, counts right, and gives back what was put
        /// under a key. Method: random puts and gets, with all slots counted again after each.
        #[test]
        fn the_cache_keeps_its_limit(
            limit in 0_usize..20_000,
            steps in prop::collection::vec((0_u32..30, 0_usize..6_000, any::<bool>()), 0..200),
        ) {
            let cache = Cache::new(limit);
            for (n, size, is_put) in steps {
                // The size tells blocks apart.
                let size = (size + n as usize * 200) / 32 * 32;
                if is_put && cache.get(key(n)).is_none() {
                    cache.put(key(n), block(size));
                    let fits = size + SLOT_SIZE_BYTES <= limit / 4;
                    prop_assert_eq!(cache.get(key(n)).map(|b| b.size_bytes()), fits.then_some(size));
                }
                let slots = cache.slots.lock().expect("no panic");
                prop_assert!(slots.size_bytes <= limit);
                let counted = slots.slots.iter().map(|s| s.block.size_bytes() + SLOT_SIZE_BYTES);
                prop_assert_eq!(counted.sum::<usize>(), slots.size_bytes);
                prop_assert_eq!(slots.by_key.len(), slots.slots.len());
                for (key, at) in &slots.by_key {
                    prop_assert!(slots.slots[*at].key == *key);
                }
            }
        }
    }

    #[test]
    fn what_is_asked_for_again_outlives_what_is_not() {
        let cache = Cache::new(10 * (3200 + SLOT_SIZE_BYTES));
        for n in 0..10 {
            cache.put(key(n), block(3200));
        }
        cache.put(key(10), block(3200));
        for n in 11..40 {
            assert!(cache.get(key(5)).is_some() || n == 11, "{n}");
            if cache.get(key(5)).is_none() {
                cache.put(key(5), block(3200));
            }
            cache.put(key(n), block(3200));
        }
        assert!(cache.get(key(5)).is_some());
        assert!(cache.get(key(12)).is_none());
    }
}

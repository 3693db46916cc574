//! Columns of texts that repeat.

use std::marker::PhantomData;

use parquet::basic::Type;
use parquet::bloom_filter::Sbbf;
use parquet::errors::Result;

use super::{Chunk, Compressor, NULL, ROWS_PER_PAGE, ROWS_PER_SAME_PAGE, Ready};
use crate::segment::dictionary::Dictionary;
use crate::segment::encoding::{
    Coding, key_bits, put_hybrid, put_plain, put_presence, put_run, put_same_presence,
};
use crate::segment::file::FileWriter;

/// 64 KiB of texts that come once.
const PLAIN_PAGE_SIZE_BYTES: usize = 64 << 10;

/// One in a hundred look-ups of a value that is not there finds it possible; 10 bits a value.
const BLOOM_MISTAKES: f64 = 0.01;

/// 4 MiB: enough for one distinct value in each of four million rows, at 3 mistakes in a hundred.
const BLOOM_SIZE_BYTES_MAX: usize = 4 << 20;

/// A column of texts that repeat.
pub(crate) struct TextColumn<'a> {
    is_optional: bool,
    has_statistics: bool,
    has_bloom: bool,
    /// Values of late, by their place in memory.
    recent: Vec<(*const u8, usize, u32)>,
    /// How many values were not among them.
    miss_count: usize,
    texts: PhantomData<&'a str>,
    dictionary: Dictionary,
    /// Of the pages that are ready, how many rows have a value.
    value_count: usize,
    is_dictionary_full: bool,
    /// Of a column whose dictionary is full.
    bloom: Option<Sbbf>,
    page: KeysInWork,
    ready: Vec<Ready>,
    chunk: Chunk,
}

/// 64 places: a batch has fewer applications, and fewer drivers, than that. Where they do not do, as
/// for users, there are more.
const RECENT: usize = 64;
const RECENT_MAX: usize = 4096;

/// A page of keys. As long as all are the same, they are only counted.
#[derive(Default)]
struct KeysInWork {
    same: u32,
    same_count: usize,
    /// A key for each row, once they differ; once the dictionary is full, anything but [`NULL`] for
    /// a value.
    rows: Vec<u32>,
    /// Values, once the dictionary is full.
    plain: Vec<u8>,
}

impl KeysInWork {
    fn len(&self) -> usize {
        self.same_count + self.rows.len()
    }

    fn differ(&mut self) {
        self.rows.resize(self.same_count, self.same);
        self.same_count = 0;
    }
}

impl<'a> TextColumn<'a> {
    pub(crate) fn new(is_optional: bool) -> TextColumn<'a> {
        TextColumn {
            is_optional,
            has_statistics: false,
            has_bloom: false,
            recent: vec![(std::ptr::null(), 0, NULL); RECENT],
            miss_count: 0,
            texts: PhantomData,
            dictionary: Dictionary::new(),
            value_count: 0,
            is_dictionary_full: false,
            bloom: None,
            page: KeysInWork::default(),
            ready: Vec::new(),
            chunk: Chunk::new(),
        }
    }

    /// With minimum and maximum of each page.
    pub(crate) fn with_statistics(self) -> TextColumn<'a> {
        let chunk = Chunk::with_statistics(Type::BYTE_ARRAY);
        TextColumn { has_statistics: true, chunk, ..self }
    }

    /// With a Bloom filter of its values.
    pub(crate) fn with_bloom(self) -> TextColumn<'a> {
        TextColumn { has_bloom: true, ..self }
    }

    /// A row without a value.
    #[inline]
    pub(crate) fn push_null(&mut self) {
        self.push_keys(NULL, 1);
    }

    /// A row with a value that repeats. The texts of one column must all live while it is written:
    /// their place in memory stands for their content.
    #[inline]
    pub(crate) fn push(&mut self, text: &'a str) {
        let place = (text.as_ptr(), text.len());
        let slot = (place.0.addr() / 16) % self.recent.len();
        let recent = self.recent[slot];
        if (recent.0, recent.1) != place || self.is_dictionary_full {
            if let Some(key) = self.push_made(text) {
                self.recent[slot] = (place.0, place.1, key);
            }
            self.miss_count += 1;
            if self.miss_count > 16 * self.recent.len() && self.recent.len() < RECENT_MAX {
                self.miss_count = 0;
                self.recent = vec![(std::ptr::null(), 0, NULL); RECENT_MAX];
            }
        } else {
            self.push_keys(recent.2, 1);
        }
    }

    /// A row with a value that was made for it. Returns the value's key, if it has one.
    pub(crate) fn push_made(&mut self, text: &str) -> Option<u32> {
        let key = self.key(text);
        match key {
            Some(key) => self.push_keys(key, 1),
            None => self.push_plain(text.as_bytes()),
        }
        key
    }

    /// A row with a value that [`TextColumn::push_made`] gave a key; `false`, and no row, if keys
    /// are no longer used.
    pub(crate) fn push_known(&mut self, key: u32) -> bool {
        if !self.is_dictionary_full {
            self.push_keys(key, 1);
        }
        !self.is_dictionary_full
    }

    #[inline]
    pub(crate) fn push_option(&mut self, text: Option<&'a str>) {
        match text {
            Some(text) => self.push(text),
            None => self.push_null(),
        }
    }

    /// The key of a value, which gets one if it has none; `None` once keys are no longer used.
    pub(crate) fn key(&mut self, text: &str) -> Option<u32> {
        if self.is_dictionary_full {
            return None;
        }
        let key = self.dictionary.key(text.as_bytes(), self.value_count);
        if key.is_none() {
            self.give_up_dictionary();
        }
        key
    }

    /// Rows with a value that [`TextColumn::key`] gave a key, or with [`NULL`].
    pub(crate) fn push_keys(&mut self, key: u32, mut count: usize) {
        if self.page.rows.is_empty() {
            if key != self.page.same && self.page.same_count >= ROWS_PER_PAGE {
                self.finish_page();
            }
            if self.page.same_count == 0 {
                self.page.same = key;
            }
            if key == self.page.same {
                while count > 0 {
                    let part = count.min(ROWS_PER_SAME_PAGE - self.page.same_count);
                    self.page.same_count += part;
                    count -= part;
                    if self.page.same_count == ROWS_PER_SAME_PAGE {
                        self.finish_page();
                        self.page.same = key;
                    }
                }
                return;
            }
            self.page.differ();
        }
        let part = count.min(ROWS_PER_PAGE - self.page.rows.len());
        self.page.rows.resize(self.page.rows.len() + part, key);
        if self.page.rows.len() >= ROWS_PER_PAGE {
            self.finish_page();
        }
        if count > part {
            self.push_keys(key, count - part);
        }
    }

    /// Rows with values that have keys, or none.
    pub(crate) fn push_key_slice(&mut self, mut keys: &[u32]) {
        while let Some(first) = keys.first() {
            if self.page.rows.is_empty() {
                let run = keys.iter().take_while(|key| *key == first).count();
                self.push_keys(*first, run);
                keys = &keys[run..];
            } else {
                let part = keys.len().min(ROWS_PER_PAGE - self.page.rows.len());
                self.page.rows.extend_from_slice(&keys[..part]);
                keys = &keys[part..];
                if self.page.rows.len() == ROWS_PER_PAGE {
                    self.finish_page();
                }
            }
        }
    }

    /// A row with a value, once keys are no longer used.
    pub(crate) fn push_plain(&mut self, text: &[u8]) {
        debug_assert!(self.is_dictionary_full);
        if self.page.rows.is_empty() {
            if self.page.same_count >= ROWS_PER_PAGE {
                self.finish_page();
            }
            self.page.differ();
        }
        put_plain(&mut self.page.plain, text);
        self.page.rows.push(0);
        if let Some(bloom) = &mut self.bloom {
            bloom.insert(text);
        }
        if self.page.rows.len() >= ROWS_PER_PAGE || self.page.plain.len() >= PLAIN_PAGE_SIZE_BYTES {
            self.finish_page();
        }
    }

    pub(crate) fn is_dictionary_full(&self) -> bool {
        self.is_dictionary_full
    }

    fn give_up_dictionary(&mut self) {
        self.finish_page();
        self.is_dictionary_full = true;
        if self.has_bloom {
            let mut bloom = Sbbf::new_with_num_of_bytes(BLOOM_SIZE_BYTES_MAX);
            self.dictionary.values().for_each(|text| bloom.insert(text));
            self.bloom = Some(bloom);
        }
    }

    fn finish_page(&mut self) {
        let row_count = self.page.len();
        if row_count == 0 {
            return;
        }
        let range = (self.has_statistics && !self.is_dictionary_full).then(|| self.range());
        let page = &mut self.page;
        let mut bytes = Vec::new();
        let mut coding = Coding::Keys;
        if page.rows.is_empty() {
            if self.is_optional {
                put_same_presence(&mut bytes, row_count, page.same != NULL);
            }
            if page.same == NULL {
                coding = Coding::Plain;
            } else {
                let bits = key_bits(self.dictionary.len());
                bytes.push(bits as u8);
                put_run(&mut bytes, row_count, page.same, bits);
                self.value_count += row_count;
            }
        } else {
            if self.is_optional {
                put_key_presence(&mut bytes, &page.rows);
            }
            if self.is_dictionary_full {
                bytes.append(&mut page.plain);
                coding = Coding::Plain;
            } else {
                let bits = key_bits(self.dictionary.len());
                bytes.push(bits as u8);
                if self.is_optional {
                    page.rows.retain(|key| *key != NULL);
                }
                put_hybrid(&mut bytes, &page.rows, bits);
                self.value_count += page.rows.len();
            }
        }
        page.rows.clear();
        page.same_count = 0;
        self.ready.push(Ready { bytes, row_count, coding, range });
    }

    /// Lowest and highest value of the page.
    fn range(&mut self) -> (Vec<u8>, Vec<u8>) {
        let mut keys = self.page.rows.clone();
        keys.dedup();
        if keys.is_empty() {
            keys.push(self.page.same);
        }
        let low =
            keys.iter().map(|key| self.dictionary.value(*key)).min().unwrap_or_default().to_vec();
        let high =
            keys.iter().map(|key| self.dictionary.value(*key)).max().unwrap_or_default().to_vec();
        if self.chunk.range.as_ref().is_none_or(|range| low < range.0) {
            let high = self.chunk.range.take().map_or(high.clone(), |range| range.1);
            self.chunk.range = Some((low.clone(), high));
        }
        if let Some(range) = &mut self.chunk.range
            && high > range.1
        {
            range.1.clone_from(&high);
        }
        (low, high)
    }

    /// Writes pages that need not wait for the dictionary, if they are many.
    pub(crate) fn spill(
        &mut self,
        file: &mut FileWriter<'_, '_>,
        compressor: &mut Compressor,
    ) -> Result<()> {
        match self.is_dictionary_full && self.ready.len() > 16 {
            true => self.write_ready(file, compressor),
            false => Ok(()),
        }
    }

    fn write_ready(
        &mut self,
        file: &mut FileWriter<'_, '_>,
        compressor: &mut Compressor,
    ) -> Result<()> {
        let (page, count) = (self.dictionary.page(), self.dictionary.len());
        self.chunk.write_dictionary(file, page, count, compressor)?;
        for page in self.ready.drain(..) {
            self.chunk.pack(&page, compressor)?;
        }
        self.chunk.spill(file)
    }

    /// Writes the rest.
    pub(crate) fn finish(
        mut self,
        file: &mut FileWriter<'_, '_>,
        compressor: &mut Compressor,
    ) -> Result<()> {
        self.finish_page();
        self.write_ready(file, compressor)?;
        let bloom = match self.bloom.take() {
            Some(mut bloom) => {
                bloom.fold_to_target_fpp(BLOOM_MISTAKES);
                Some(bloom)
            }
            None if self.has_bloom => {
                let count = self.dictionary.len() as u64;
                let mut bloom = Sbbf::new_with_ndv_fpp(count, BLOOM_MISTAKES)?;
                self.dictionary.values().for_each(|text| bloom.insert(text));
                Some(bloom)
            }
            None => None,
        };
        self.chunk.finish(file, compressor.codec, bloom)
    }
}

fn put_key_presence(bytes: &mut Vec<u8>, rows: &[u32]) {
    if rows.iter().all(|key| *key != NULL) {
        put_same_presence(bytes, rows.len(), true);
    } else {
        let levels: Vec<u32> = rows.iter().map(|key| u32::from(*key != NULL)).collect();
        put_presence(bytes, &levels);
    }
}

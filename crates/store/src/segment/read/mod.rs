//! Rows from a segment file.
//!
//! A [`Reader`] finds where the rows of interest are and hands them on in groups ([`rows`]); who wants one
//! column only has it page by page ([`mod@column`]). The file itself is opened late, and whatever stands in it is
//! an answer or an error ([`opened`]).

mod column;
mod opened;
mod rows;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use doorbook_event::{Seq, Timestamp};
use parquet::basic::{Compression, ConvertedType, Type};
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::{ColumnIndexMetaData, PrimitiveColumnIndex};
use parquet::file::page_index::offset_index::PageLocation;

use self::column::Chunk;
pub(crate) use self::column::Column;
use self::opened::{File, guarded};
use self::rows::Clients;
pub(crate) use self::rows::{Columns, peer};
use super::SegmentMeta;
use super::decode::{
    AnyDictionary, Dictionary, Form, IntForm, PADDING_BYTES, PageHeader, PageKind, Unfit,
    number_dictionary,
};
use crate::cache::{Block, BlockKey, Cache, Part, Unpacker};
use crate::disk::Disk;
use crate::error::Error;
use crate::memtable::Row;

/// A live segment.
#[derive(Debug)]
pub(crate) struct Segment {
    /// What the catalogue knows of it.
    pub(crate) meta: SegmentMeta,
    /// Its number in this process, for the cache.
    number: u64,
    /// Its footer, once it was read.
    footer: OnceLock<ParquetMetaData>,
    /// Where its file is, once other segments have taken its place: it goes with the last reader.
    retired: Retired,
}

/// The file of a segment that is no longer part of the present state.
#[derive(Default)]
struct Retired(OnceLock<(Arc<dyn Disk>, PathBuf)>);

impl std::fmt::Debug for Retired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Retired").field(&self.0.get().map(|(_, path)| path)).finish()
    }
}

impl Drop for Retired {
    fn drop(&mut self) {
        if let Some((disk, path)) = self.0.get() {
            // What cannot be removed now is removed by the next start.
            let _left_to_the_next_start = disk.remove(path);
        }
    }
}

impl Segment {
    /// The segment that the catalogue describes; its file is opened when it is first read.
    pub(crate) fn new(meta: SegmentMeta) -> Segment {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Segment { meta, number, footer: OnceLock::new(), retired: Retired::default() }
    }

    /// Says that the file may go when nobody holds the segment any more. Only after the frame that
    /// replaces it is durable.
    pub(crate) fn retire(&self, disk: Arc<dyn Disk>, dir: &Path) {
        let _already = self.retired.0.set((disk, dir.join(&*self.meta.name)));
    }

    /// Opens the file for someone who reads it through once, with a small cache of its own: in the
    /// shared one that would throw out what others need again.
    pub(crate) fn open<'s>(&'s self, disk: &'s dyn Disk, dir: &Path) -> Result<Reader<'s>, Error> {
        self.open_cached(disk, dir, Arc::new(Cache::new(OWN_CACHE_SIZE_BYTES)))
    }

    /// Opens the file, or does without it as long as the cache has what is asked for.
    pub(crate) fn open_cached<'s>(
        &'s self,
        disk: &'s dyn Disk,
        dir: &Path,
        cache: Arc<Cache>,
    ) -> Result<Reader<'s>, Error> {
        let path = dir.join(&*self.meta.name);
        let file = File::new(&self.meta, disk, path);
        let footer = match self.footer.get() {
            Some(footer) => footer,
            None => {
                let footer = file.footer()?;
                self.footer.get_or_init(|| footer)
            }
        };
        let meta = &self.meta;
        Ok(Reader { meta, number: self.number, file, footer, cache, fills_cache: true })
    }
}

/// A few of the largest dictionaries that a file can have, or many of the usual ones.
const OWN_CACHE_SIZE_BYTES: usize = 24 << 20;

/// An open segment.
pub(crate) struct Reader<'s> {
    meta: &'s SegmentMeta,
    number: u64,
    file: File<'s>,
    footer: &'s ParquetMetaData,
    cache: Arc<Cache>,
    /// Whether pages that were decoded are put there.
    fills_cache: bool,
}

/// Rows that share a page of event times, and the times that the page has.
#[derive(Clone, Debug)]
pub(crate) struct TimePage {
    pub(crate) rows: Range<usize>,
    pub(crate) earliest: Timestamp,
    pub(crate) latest: Timestamp,
}

/// So many rows of all columns, whole lines apart, stay near the processor.
const ROWS_PER_PICK: usize = 4096;

/// 16 MiB of raw records, unless a single one is larger than a page.
const RAW_PAGES_PER_PICK: usize = 64;

/// So many rows of the widest column, whole lines, are some 10 MB.
const ROWS_PER_GROUP: usize = 20_000;

impl Reader<'_> {
    /// Says how many decoded bytes this reader and those beside it will read in one go.
    pub(crate) fn reads(&mut self, size_bytes: usize) {
        self.fills_cache = self.cache.has_room_for(size_bytes);
    }

    /// Reads some columns of some rows, which come in ascending order, and hands them on in groups,
    /// with the number of each row in the file.
    pub(crate) fn read(
        &self,
        columns: &[&str],
        rows: Vec<Range<usize>>,
        mut each: impl FnMut(&Columns<'_>, &[usize]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut numbers = rows.into_iter().flatten().peekable();
        let columns = columns.iter().map(|name| Ok((*name, self.column(name)?)));
        let mut columns = columns.collect::<Result<Vec<_>, Error>>()?;
        let mut at = Vec::new();
        while let Some(first) = numbers.peek().copied() {
            // A group is what lies in one page of every column.
            let mut end = first.saturating_add(ROWS_PER_GROUP);
            let mut pages = Vec::with_capacity(columns.len());
            for (name, column) in &mut columns {
                let (page, rows) = column.page(first)?;
                end = end.min(rows.end);
                pages.push((*name, Arc::clone(page), rows.start));
            }
            at.clear();
            at.extend(std::iter::from_fn(|| {
                numbers.next_if(|number| (first..end).contains(number))
            }));
            each(&Columns { rows: &at, pages, meta: self.meta, path: self.file.path() }, &at)?;
        }
        Ok(())
    }

    /// Whole rows, in ascending order.
    pub(crate) fn rows(&self, numbers: &[usize]) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::with_capacity(numbers.len());
        self.each_row(numbers, |row| rows.push(row))?;
        Ok(rows)
    }

    /// Hands on whole rows, in ascending order.
    pub(crate) fn each_row(
        &self,
        numbers: &[usize],
        mut each: impl FnMut(Row),
    ) -> Result<(), Error> {
        let columns = Columns::WHOLE.iter().map(|name| Ok((*name, self.column(name)?)));
        let mut columns = columns.collect::<Result<Vec<_>, Error>>()?;
        let mut clients = Clients::default();
        let raw_pages = self.column("raw")?.chunk().map_or(&[][..], |chunk| chunk.pages);
        for numbers in picks(numbers, raw_pages) {
            let mut pages = Vec::with_capacity(columns.len());
            for (name, column) in &mut columns {
                pages.push((*name, Arc::new(column.pick(numbers)?), 0));
            }
            let rows: Vec<usize> = (0..numbers.len()).collect();
            let columns = Columns { rows: &rows, pages, meta: self.meta, path: self.file.path() };
            columns.rows(&mut clients, &mut each)?;
        }
        Ok(())
    }

    /// A column to be read page by page. One that files of an older version do not have has no
    /// values.
    pub(crate) fn column(&self, name: &str) -> Result<Column<'_>, Error> {
        let schema = self.footer.file_metadata().schema_descr();
        let place = schema.columns().iter().position(|column| column.name() == name);
        let chunk = match place {
            None => None,
            Some(place) => Some(self.chunk(place)?),
        };
        Ok(Column::new(self, chunk))
    }

    fn chunk(&self, place: usize) -> Result<Chunk<'_>, Error> {
        let damaged = |what: &str| self.file.damaged(what);
        let [group] = self.footer.row_groups() else {
            return Err(damaged("not one row group"));
        };
        let metadata = group.columns().get(place).ok_or_else(|| damaged("a column is missing"))?;
        let descriptor = metadata.column_descr();
        let form = match (descriptor.physical_type(), descriptor.converted_type()) {
            (Type::BYTE_ARRAY, ConvertedType::UTF8) => Form::Texts,
            (Type::BYTE_ARRAY, _) => Form::Bytes,
            (Type::INT32, _) => Form::Ints(IntForm::I32),
            (Type::INT64, _) => Form::Ints(IntForm::I64),
            (Type::BOOLEAN, _) => Form::Ints(IntForm::Flag),
            _ => return Err(damaged("a column of an unknown type")),
        };
        let is_optional = match (descriptor.max_def_level(), descriptor.max_rep_level()) {
            (0, 0) => false,
            (1, 0) => true,
            _ => return Err(damaged("a nested column")),
        };
        let pages = self.footer.offset_index().and_then(|index| index.first()?.get(place));
        let pages = pages.ok_or_else(|| damaged("no page index"))?.page_locations();
        Ok(Chunk { place, metadata, form, is_optional, pages })
    }

    /// The rows of a stretch, cut where pages of event times begin, with what the index says of each
    /// page. A page may hold rows of other targets too: its times are bounds.
    pub(crate) fn time_pages(&self, rows: Range<usize>) -> impl Iterator<Item = TimePage> + '_ {
        let schema = self.footer.file_metadata().schema_descr();
        let place = schema.columns().iter().position(|column| column.name() == "event_time");
        let index = place.and_then(|place| {
            let pages = self.footer.offset_index()?.first()?.get(place)?.page_locations();
            let statistics = self.footer.column_index()?.first()?.get(place)?;
            let ColumnIndexMetaData::INT64(statistics) = statistics else { return None };
            Some((pages, statistics))
        });
        let (pages, statistics): (&[PageLocation], Option<&PrimitiveColumnIndex<i64>>) =
            index.map_or((&[], None), |(pages, statistics)| (pages, Some(statistics)));
        let first = pages.partition_point(|page| page.first_row_index as usize <= rows.start);
        let total = self.meta.rows() as usize;
        let known = pages.iter().enumerate().skip(first.saturating_sub(1)).map(move |(n, page)| {
            let next = pages.get(n + 1).map_or(total, |page| page.first_row_index as usize);
            let low = statistics.and_then(|statistics| statistics.min_value(n));
            let high = statistics.and_then(|statistics| statistics.max_value(n));
            TimePage {
                rows: page.first_row_index as usize..next,
                earliest: low.map_or(Timestamp::MIN, |low| Timestamp::from_micros(*low)),
                latest: high.map_or(Timestamp::MAX, |high| Timestamp::from_micros(*high)),
            }
        });
        // Without an index the stretch is all there is to say.
        let (earliest, latest) = (Timestamp::MIN, Timestamp::MAX);
        let whole = TimePage { rows: 0..total, earliest, latest };
        let whole = pages.is_empty().then_some(whole);
        known
            .chain(whole)
            .take_while({
                let end = rows.end;
                move |page| page.rows.start < end
            })
            .map(move |page| TimePage {
                rows: page.rows.start.max(rows.start)..page.rows.end.min(rows.end),
                ..page
            })
            .filter(|page| !page.rows.is_empty())
    }

    /// Of a stretch of one target's rows, which are sorted by time, those of a time range. `times` is
    /// the column of event times; only pages at the ends are opened.
    pub(crate) fn between(
        &self,
        times: &mut Column<'_>,
        rows: Range<usize>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Range<usize>, Error> {
        let mut found = rows.start..rows.start;
        for page in self.time_pages(rows) {
            if page.latest < from {
                found = page.rows.end..page.rows.end;
                continue;
            }
            if to < page.earliest {
                break;
            }
            let here = match from <= page.earliest && page.latest <= to {
                true => page.rows.clone(),
                false => times.between(page.rows.clone(), from.micros(), to.micros())?,
            };
            if found.is_empty() {
                found.start = here.start;
            }
            found.end = here.end;
            if here.end < page.rows.end {
                break;
            }
        }
        Ok(found)
    }

    /// The rows at some positions, which come in ascending order. Rows are sorted by target and time, so
    /// that a position may be anywhere, but of each target it is in one page or two, which the page
    /// index tells.
    pub(crate) fn rows_at(&self, seqs: &[Seq]) -> Result<Vec<usize>, Error> {
        let number = |seq: &Seq| i64::try_from(seq.checked_sub(self.base_seq())?).ok();
        let wanted: Vec<i64> = seqs.iter().filter_map(number).collect();
        let mut column = self.column("seq")?;
        let mut found = Vec::new();
        for rows in self.pages_with_any("seq", &wanted)? {
            let (page, of) = column.ints(rows.start)?;
            let is_wanted = |row: &usize| {
                page.get(row - of.start).is_some_and(|seq| wanted.binary_search(&seq).is_ok())
            };
            found.extend(rows.filter(is_wanted));
        }
        Ok(found)
    }

    /// The pages of a column of numbers that, by their statistics, may hold one of some ascending
    /// numbers: their rows.
    fn pages_with_any(&self, name: &str, numbers: &[i64]) -> Result<Vec<Range<usize>>, Error> {
        let total = self.meta.rows() as usize;
        let Some(chunk) = self.column(name)?.chunk() else { return Ok(Vec::new()) };
        let index = self.footer.column_index().and_then(|index| index.first()?.get(chunk.place));
        let statistics = match index {
            Some(ColumnIndexMetaData::INT64(statistics)) => Some(statistics),
            _ => None,
        };
        let may_hold = |n: &usize| {
            let least = statistics.and_then(|statistics| statistics.min_value(*n));
            let most = statistics.and_then(|statistics| statistics.max_value(*n));
            let first = numbers.partition_point(|number| least.is_some_and(|least| number < least));
            numbers.get(first).is_some_and(|number| most.is_none_or(|most| number <= most))
        };
        let first =
            |n: usize| chunk.pages.get(n).map_or(total, |page| page.first_row_index as usize);
        let pages = (0..chunk.pages.len()).filter(may_hold);
        Ok(pages.map(|n| first(n)..first(n + 1)).collect())
    }

    /// What the catalogue knows of the segment.
    pub(crate) fn meta(&self) -> &SegmentMeta {
        self.meta
    }

    /// What is added to the `seq` column to have the row's seq.
    pub(crate) fn base_seq(&self) -> u64 {
        self.meta.base_seq
    }

    /// Whether a column may hold a value, by its bloom filter.
    pub(crate) fn may_hold(&self, name: &str, value: &str) -> Result<bool, Error> {
        let Some(chunk) = self.column(name)?.chunk() else { return Ok(false) };
        if chunk.metadata.bloom_filter_offset().is_none() {
            return Ok(true);
        }
        let key = self.key(chunk.place, Part::Bloom);
        let bloom = match self.cache.get(key) {
            Some(Block::Bloom(bloom)) => bloom,
            _ => {
                let source = self.file.source()?;
                let bloom = guarded(self.file.path(), || {
                    Sbbf::read_from_column_chunk(chunk.metadata, source)
                })?;
                let bloom = bloom.map(Arc::new);
                self.cache.put(key, Block::Bloom(bloom.clone()));
                bloom
            }
        };
        // One without bits would make the library stumble.
        Ok(bloom.is_none_or(|bloom| bloom.num_blocks() == 0 || bloom.check(value)))
    }

    /// The dictionary of a column, if it has one.
    fn dictionary(&self, chunk: &Chunk<'_>) -> Result<Option<AnyDictionary>, Error> {
        let Some(start) = chunk.metadata.dictionary_page_offset() else { return Ok(None) };
        let key = self.key(chunk.place, Part::Dictionary);
        match self.cache.get(key) {
            Some(Block::Dictionary(texts)) => return Ok(Some(AnyDictionary::Texts(texts))),
            Some(Block::Numbers(numbers)) => return Ok(Some(AnyDictionary::Numbers(numbers))),
            _ => {}
        }
        let unfit = |unfit: Unfit| self.file.unfit(chunk, unfit);
        let end = chunk.pages.first().map_or(start, |page| page.offset);
        let mut unpacked = Vec::new();
        let header = self.unpack(chunk, start as u64..end as u64, &mut unpacked)?;
        if header.kind != PageKind::Dictionary {
            return Err(unfit(Unfit("a dictionary that is none")));
        }
        let bytes = &unpacked[..unpacked.len() - PADDING_BYTES];
        let (block, dictionary) = match chunk.form {
            Form::Texts | Form::Bytes => {
                let texts = Arc::new(Dictionary::read(bytes, header.value_count).map_err(unfit)?);
                (Block::Dictionary(Arc::clone(&texts)), AnyDictionary::Texts(texts))
            }
            Form::Ints(form) => {
                let numbers = number_dictionary(bytes, header.value_count, form).map_err(unfit)?;
                let numbers: Arc<[i64]> = numbers.into();
                (Block::Numbers(Arc::clone(&numbers)), AnyDictionary::Numbers(numbers))
            }
        };
        self.cache.put(key, block);
        Ok(Some(dictionary))
    }

    fn key(&self, place: usize, part: Part) -> BlockKey {
        BlockKey { segment: self.number, column: place as u32, part }
    }

    /// The bytes of a page with its header, checked and decompressed into `unpacked`.
    fn unpack(
        &self,
        chunk: &Chunk<'_>,
        place: Range<u64>,
        unpacked: &mut Vec<u8>,
    ) -> Result<PageHeader, Error> {
        let unreadable = |error| self.file.damaged("unreadable zstd").because(error);
        let mut unpacker = self.cache.unpacker().map_err(unreadable)?;
        let header = self.unpack_with(&mut unpacker, chunk, place, unpacked);
        self.cache.give_back(unpacker);
        header
    }

    fn unpack_with(
        &self,
        unpacker: &mut Unpacker,
        chunk: &Chunk<'_>,
        place: Range<u64>,
        unpacked: &mut Vec<u8>,
    ) -> Result<PageHeader, Error> {
        let unfit = |unfit: Unfit| self.file.unfit(chunk, unfit);
        let source = self.file.source()?;
        let bytes = &mut unpacker.bytes;
        guarded(self.file.path(), || {
            let length = place.end.checked_sub(place.start);
            let length = length.ok_or_else(|| ParquetError::EOF("a page of no length".into()))?;
            source.read(place.start, length as usize, bytes)
        })?;
        let (header, at) = PageHeader::read(bytes).map_err(unfit)?;
        let bytes = &bytes[at..];
        if bytes.len() != header.compressed_size_bytes {
            return Err(unfit(Unfit("a page of another length than its index says")));
        }
        if header.crc.is_some_and(|crc| crc != crc32fast::hash(bytes)) {
            return Err(unfit(Unfit("a page's checksum does not fit")));
        }
        unpacked.clear();
        match chunk.metadata.compression() {
            Compression::UNCOMPRESSED => unpacked.extend_from_slice(bytes),
            Compression::ZSTD(_) => {
                unpacked.reserve(header.size_bytes + PADDING_BYTES);
                let done = unpacker.zstd.decompress_to_buffer(bytes, unpacked);
                done.map_err(|error| self.file.damaged("unreadable zstd").because(error))?;
            }
            _ => return Err(unfit(Unfit("a compression that is not ours"))),
        }
        if unpacked.len() != header.size_bytes {
            return Err(unfit(Unfit("a page of another size than its header says")));
        }
        unpacked.extend_from_slice(&[0; PADDING_BYTES]);
        Ok(header)
    }
}

/// Ascending row numbers in groups that are decoded together: not too many rows, and not too many
/// pages of raw records, which are all in memory at once.
fn picks<'n>(
    numbers: &'n [usize],
    raw_pages: &[PageLocation],
) -> impl Iterator<Item = &'n [usize]> {
    let page_of =
        |row: usize| raw_pages.partition_point(|page| page.first_row_index as usize <= row);
    let mut rest = numbers;
    std::iter::from_fn(move || {
        let (mut pages, mut last) = (0, None);
        let is_room = |row: &&usize| {
            let page = Some(page_of(**row));
            pages += usize::from(page != last);
            last = page;
            pages <= RAW_PAGES_PER_PICK
        };
        let count = rest.iter().take(ROWS_PER_PICK).take_while(is_room).count();
        let (pick, others) = rest.split_at(count);
        rest = others;
        (!pick.is_empty()).then_some(pick)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: rows with large raw records are decoded a few megabytes at a time, others as before.
    #[test]
    fn a_pick_has_few_pages_of_raw_records() {
        let pages = |rows_per_page: i64| -> Vec<PageLocation> {
            let first_rows = (0..20_000).step_by(rows_per_page as usize);
            let page = |first_row_index| PageLocation {
                offset: 0,
                compressed_page_size: 0,
                first_row_index,
            };
            first_rows.map(page).collect()
        };
        let all: Vec<usize> = (0..20_000).collect();
        let far: Vec<usize> = (0..20_000).step_by(100).collect();
        let sizes = |numbers: &[usize], pages: &[PageLocation]| -> Vec<usize> {
            let picks: Vec<&[usize]> = picks(numbers, pages).collect();
            assert_eq!(picks.concat(), numbers);
            picks.into_iter().map(<[usize]>::len).collect()
        };
        assert_eq!(sizes(&all, &[]), [4096, 4096, 4096, 4096, 3616]);
        assert_eq!(sizes(&all, &pages(500)), [4096, 4096, 4096, 4096, 3616]);
        assert_eq!(sizes(&all, &pages(10))[..2], [640, 640]);
        assert_eq!(sizes(&far, &pages(10)), [64, 64, 64, 8]);
        assert_eq!(sizes(&far, &pages(500)), [200]);
        assert_eq!(sizes(&[], &pages(10)), [0; 0]);
    }
}

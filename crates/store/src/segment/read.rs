//! Rows from a segment file.

use std::net::IpAddr;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use doorbook_event::identity::{Identity, Written, stated_object, stated_user};
use doorbook_event::record::{Place, Quarantine};
use doorbook_event::{
    Access, Action, Classes, Client, Outcome, Peer, Principal, Record, Seq, Shared, Target, Text,
    Timestamp, WrittenTime,
};
use parquet::basic::{Compression, ConvertedType, Type};
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader,
};
use parquet::file::page_index::column_index::{ColumnIndexMetaData, PrimitiveColumnIndex};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::{ChunkReader, Length};

use super::decode::{
    AnyDictionary, BytesPage, Dictionary, Encoding, Form, IntForm, IntPage, PADDING_BYTES, Packed,
    Page, PageHeader, PageKind, TextPage, Unfit, Unpacked, between, number_dictionary,
};
use super::{QuarantineFacts, SegmentMeta, Tail, UNIX_SOCKET, VERSION, VERSION_KEY};
use crate::cache::{Block, BlockKey, Cache, Part, Unpacker};
use crate::disk::{Disk, DiskFile, fill_up_to, read_up_to};
use crate::error::Error;
use crate::memtable::{Row, kind};

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
        let file = File { meta: &self.meta, disk, path, source: OnceLock::new() };
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
            each(&Columns { rows: &at, pages, meta: self.meta, path: &self.file.path }, &at)?;
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
        let raw_pages = self.column("raw")?.chunk.map_or(&[][..], |chunk| chunk.pages);
        for numbers in picks(numbers, raw_pages) {
            let mut pages = Vec::with_capacity(columns.len());
            for (name, column) in &mut columns {
                pages.push((*name, Arc::new(column.pick(numbers)?), 0));
            }
            let rows: Vec<usize> = (0..numbers.len()).collect();
            let columns = Columns { rows: &rows, pages, meta: self.meta, path: &self.file.path };
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
        Ok(Column { reader: self, chunk, dictionary: None, current: None })
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
        let Some(chunk) = self.column(name)?.chunk else { return Ok(Vec::new()) };
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
        let Some(chunk) = self.column(name)?.chunk else { return Ok(false) };
        if chunk.metadata.bloom_filter_offset().is_none() {
            return Ok(true);
        }
        let key = self.key(chunk.place, Part::Bloom);
        let bloom = match self.cache.get(key) {
            Some(Block::Bloom(bloom)) => bloom,
            _ => {
                let source = self.file.source()?;
                let bloom = guarded(&self.file.path, || {
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
        guarded(&self.file.path, || {
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

/// A column of an open segment, read page by page.
pub(crate) struct Column<'r> {
    reader: &'r Reader<'r>,
    /// `None`: the file is of a version without this column.
    chunk: Option<Chunk<'r>>,
    /// Once it was needed; also if the cache has no room for it.
    dictionary: Option<AnyDictionary>,
    current: Option<(Arc<Page>, Range<usize>)>,
}

/// Where a column lies.
struct Chunk<'r> {
    place: usize,
    metadata: &'r ColumnChunkMetaData,
    form: Form,
    is_optional: bool,
    pages: &'r [PageLocation],
}

impl<'r> Column<'r> {
    /// The page that holds a row, and the page's rows.
    pub(crate) fn page(&mut self, row: usize) -> Result<(&Arc<Page>, Range<usize>), Error> {
        let is_current = self.current.as_ref().is_some_and(|(_, rows)| rows.contains(&row));
        if !is_current {
            self.current = Some(match self.place(row)? {
                (Some(n), of) => (self.load(n, of.clone())?, of),
                (None, of) => (Arc::new(Page::Texts(TextPage::absent())), of),
            });
        }
        let (page, rows) = self.current.as_ref().expect("it was just loaded");
        Ok((page, rows.clone()))
    }

    /// The page of texts that holds a row, and the page's rows.
    pub(crate) fn texts(&mut self, row: usize) -> Result<(&TextPage, Range<usize>), Error> {
        let reader = self.reader;
        match self.page(row)? {
            (page, rows) if let Page::Texts(texts) = &**page => Ok((texts, rows)),
            _ => Err(reader.file.damaged("a column that should hold texts does not")),
        }
    }

    /// The page of integers that holds a row, and the page's rows.
    pub(crate) fn ints(&mut self, row: usize) -> Result<(&IntPage, Range<usize>), Error> {
        let reader = self.reader;
        match self.page(row)? {
            (page, rows) if let Page::Ints(ints) = &**page => Ok((ints, rows)),
            _ => Err(reader.file.damaged("a column that should hold numbers does not")),
        }
    }

    /// The page of byte strings that holds a row, and the page's rows.
    pub(crate) fn bytes(&mut self, row: usize) -> Result<(&BytesPage, Range<usize>), Error> {
        let reader = self.reader;
        match self.page(row)? {
            (page, rows) if let Page::Bytes(bytes) = &**page => Ok((bytes, rows)),
            _ => Err(reader.file.damaged("a column that should hold bytes does not")),
        }
    }

    /// A page of some rows, which ascend. Where few rows of a page are wanted only they are decoded.
    pub(crate) fn pick(&mut self, rows: &[usize]) -> Result<Page, Error> {
        let mut parts = Vec::new();
        let mut rest = rows;
        while let Some(first) = rest.first() {
            let (n, of) = self.place(*first)?;
            let (here, later) = rest.split_at(rest.partition_point(|row| *row < of.end));
            let here: Vec<usize> = here.iter().map(|row| row - of.start).collect();
            let part = match n {
                Some(n) => self.pick_from(n, of, &here)?,
                None => Page::Texts(TextPage::absent()),
            };
            parts.push((part, here.len()));
            rest = later;
        }
        match parts.len() {
            1 => Ok(parts.remove(0).0),
            _ => Ok(Page::join(parts)),
        }
    }

    fn pick_from(&mut self, n: usize, of: Range<usize>, rows: &[usize]) -> Result<Page, Error> {
        /// A page in which all rows say the same is not larger.
        const SMALL_PAGE_BYTES: i32 = 128;
        /// Taking a row out of a packed page costs about as much as decoding so many.
        const PICK_COST_ROWS: usize = 8;
        let reader = self.reader;
        let chunk = self.chunk.as_ref().expect("a column that is there");
        let is_small = chunk.pages[n].compressed_page_size <= SMALL_PAGE_BYTES;
        if is_small || rows.len() * PICK_COST_ROWS >= of.len() {
            return Ok(self.load(n, of)?.pick(rows));
        }
        let Some(packed) = self.packed_unless_decoded(n, of.len())? else {
            return Ok(self.load(n, of)?.pick(rows));
        };
        let (chunk, dictionary) = self.with_dictionary(packed.encoding)?;
        let page = Page::read_some(packed.unpacked(), chunk.form, dictionary, rows);
        page.map_err(|unfit| reader.file.unfit(chunk, unfit))
    }

    /// Of rows of one page, whose numbers are sorted, those `from` to `to`. Where nothing of the page
    /// is at hand, it is decoded up to the last of them.
    pub(crate) fn between(
        &mut self,
        rows: Range<usize>,
        from: i64,
        to: i64,
    ) -> Result<Range<usize>, Error> {
        let reader = self.reader;
        if let (Some(n), of) = self.place(rows.start)?
            && rows.end <= of.end
            && self.current.as_ref().is_none_or(|(_, current)| *current != of)
            && let Some(packed) = self.packed_unless_decoded(n, of.len())?
        {
            let chunk = self.chunk.as_ref().expect("a column that is there");
            let here = rows.start - of.start..rows.end - of.start;
            let found = between(packed.unpacked(), here, from, to);
            let found = found.map_err(|unfit| reader.file.unfit(chunk, unfit))?;
            if let Some(found) = found {
                return Ok(of.start + found.start..of.start + found.end);
            }
        }
        let (page, of) = self.ints(rows.start)?;
        let found = page.between(rows.start - of.start..rows.end.min(of.end) - of.start, from, to);
        Ok(of.start + found.start..of.start + found.end)
    }

    /// The page of a row, if the file has this column, and the page's rows.
    fn place(&self, row: usize) -> Result<(Option<usize>, Range<usize>), Error> {
        let total = self.reader.meta.rows() as usize;
        // The one column that was added so far holds texts.
        let Some(chunk) = &self.chunk else { return Ok((None, 0..total.max(row + 1))) };
        let n = chunk.pages.partition_point(|page| page.first_row_index <= row as i64);
        let (n, page) = match n.checked_sub(1).and_then(|n| Some((n, chunk.pages.get(n)?))) {
            Some(found) if row < total => found,
            _ => return Err(self.reader.file.damaged(&format!("row {row} is missing"))),
        };
        let next = chunk.pages.get(n + 1).map_or(total, |page| page.first_row_index as usize);
        let of = page.first_row_index as usize..next;
        match of.contains(&row) {
            true => Ok((Some(n), of)),
            false => Err(self.reader.file.damaged("pages that are not in order")),
        }
    }

    /// The whole page, from the cache or decoded for it.
    fn load(&mut self, n: usize, of: Range<usize>) -> Result<Arc<Page>, Error> {
        let reader = self.reader;
        let chunk = self.chunk.as_ref().expect("a column that is there");
        let key = reader.key(chunk.place, Part::Page(n as u32));
        if let Some(Block::Page(page)) = reader.cache.get(key) {
            return Ok(page);
        }
        let page = match reader.cache.get(reader.key(chunk.place, Part::Packed(n as u32))) {
            Some(Block::Packed(packed)) => self.decode(packed.unpacked()),
            _ => {
                let mut bytes = reader.cache.buffer();
                let header = self.unpack(n, of.len(), &mut bytes)?;
                let (value_count, encoding) = (header.value_count, header.encoding);
                let is_optional = chunk.is_optional;
                let page =
                    self.decode(Unpacked { bytes: &bytes, value_count, encoding, is_optional });
                reader.cache.give_back_buffer(bytes);
                page
            }
        };
        let page = Arc::new(page?);
        if reader.fills_cache {
            reader.cache.put(key, Block::Page(Arc::clone(&page)));
        }
        Ok(page)
    }

    fn decode(&mut self, page: Unpacked<'_>) -> Result<Page, Error> {
        let reader = self.reader;
        let (chunk, dictionary) = self.with_dictionary(page.encoding)?;
        Page::read(page, chunk.form, dictionary).map_err(|unfit| reader.file.unfit(chunk, unfit))
    }

    /// A page that is not decoded, unless the cache has it decoded.
    fn packed_unless_decoded(&self, n: usize, rows: usize) -> Result<Option<Arc<Packed>>, Error> {
        let reader = self.reader;
        let place = self.chunk.as_ref().expect("a column that is there").place;
        if reader.cache.has(reader.key(place, Part::Page(n as u32))) {
            return Ok(None);
        }
        let key = reader.key(place, Part::Packed(n as u32));
        if let Some(Block::Packed(packed)) = reader.cache.get(key) {
            return Ok(Some(packed));
        }
        let packed = Arc::new(self.packed(n, rows)?);
        if reader.fills_cache {
            reader.cache.put(key, Block::Packed(Arc::clone(&packed)));
        }
        Ok(Some(packed))
    }

    /// A page from the file.
    fn packed(&self, n: usize, rows: usize) -> Result<Packed, Error> {
        let mut bytes = Vec::new();
        let header = self.unpack(n, rows, &mut bytes)?;
        Ok(Packed {
            bytes: bytes.into(),
            value_count: rows,
            encoding: header.encoding,
            is_optional: self.chunk.as_ref().is_some_and(|chunk| chunk.is_optional),
        })
    }

    /// Replaces `bytes` with a page of so many rows.
    fn unpack(&self, n: usize, rows: usize, bytes: &mut Vec<u8>) -> Result<PageHeader, Error> {
        let reader = self.reader;
        let chunk = self.chunk.as_ref().expect("a column that is there");
        let page = &chunk.pages[n];
        let start = page.offset as u64;
        let place = start..start.saturating_add(page.compressed_page_size as u64);
        let header = reader.unpack(chunk, place, bytes)?;
        if header.kind != PageKind::Data || header.value_count != rows {
            let what = Unfit("a page of other rows than its index says");
            return Err(reader.file.unfit(chunk, what));
        }
        Ok(header)
    }

    /// The column's dictionary, if a page in this encoding needs it.
    fn with_dictionary(
        &mut self,
        encoding: Encoding,
    ) -> Result<(&Chunk<'r>, Option<&AnyDictionary>), Error> {
        let chunk = self.chunk.as_ref().expect("a column that is there");
        if encoding == Encoding::Dictionary && self.dictionary.is_none() {
            self.dictionary = self.reader.dictionary(chunk)?;
        }
        Ok((chunk, self.dictionary.as_ref()))
    }
}

impl Reader<'_> {
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
}

/// Some columns of some rows.
pub(crate) struct Columns<'b> {
    /// The rows' numbers in the file.
    rows: &'b [usize],
    /// For each column the page that holds all of these rows, and the page's first row.
    pages: Vec<(&'b str, Arc<Page>, usize)>,
    meta: &'b SegmentMeta,
    path: &'b Path,
}

/// What tells quarantined bytes apart.
pub(crate) type LengthAndHash = (u64, [u8; 32]);

/// An access, or what of it could not be made out.
type Readable = Result<Access, &'static str>;

/// A column of texts.
#[derive(Clone, Copy)]
pub(crate) struct Texts<'b> {
    page: &'b TextPage,
    rows: &'b [usize],
    first: usize,
}

impl<'b> Texts<'b> {
    pub(crate) fn get(&self, row: usize) -> Option<&'b str> {
        self.page.get(self.rows[row] - self.first)
    }

    /// The text, shared with everyone who asks for it.
    fn shared(&self, row: usize) -> Option<Text> {
        self.page.shared(self.rows[row] - self.first)
    }

    /// A number that stands for the text within this page.
    fn id(&self, row: usize) -> usize {
        self.page.ids.get(self.rows[row] - self.first)
    }
}

impl<'b> Columns<'b> {
    fn damaged(&self, what: &str) -> Error {
        Error::damaged(self.path, what)
    }

    fn page(&self, name: &str) -> Result<(&Page, usize), Error> {
        let page = self.pages.iter().find(|(known, ..)| *known == name);
        let (_, page, first) = page.ok_or_else(|| self.damaged(&format!("no column {name}")))?;
        Ok((&**page, *first))
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Texts<'_>, Error> {
        match self.page(name)? {
            (Page::Texts(page), first) => Ok(Texts { page, rows: self.rows, first }),
            _ => Err(self.damaged(&format!("column {name} holds no texts"))),
        }
    }

    fn numbers(&self, name: &str) -> Result<impl Fn(usize) -> Option<i64>, Error> {
        match self.page(name)? {
            (Page::Ints(page), first) => Ok(move |row: usize| page.get(self.rows[row] - first)),
            _ => Err(self.damaged(&format!("column {name} holds no numbers"))),
        }
    }

    fn bools(&self, name: &str) -> Result<impl Fn(usize) -> Option<bool>, Error> {
        let flags = self.numbers(name)?;
        Ok(move |row| flags(row).map(|flag| flag != 0))
    }

    /// Each row's position in its log.
    pub(crate) fn seqs(&self) -> Result<impl Fn(usize) -> u64, Error> {
        let seqs = self.numbers("seq")?;
        let base = self.meta.base_seq;
        Ok(move |row| base.saturating_add(seqs(row).unwrap_or(0) as u64))
    }

    pub(crate) fn event_times(&self) -> Result<impl Fn(usize) -> Timestamp, Error> {
        let times = self.numbers("event_time")?;
        Ok(move |row| Timestamp::from_micros(times(row).unwrap_or(0)))
    }

    pub(crate) fn kinds(&self) -> Result<impl Fn(usize) -> u8, Error> {
        let kinds = self.numbers("kind")?;
        Ok(move |row| kinds(row).and_then(|kind| u8::try_from(kind).ok()).unwrap_or(0))
    }

    pub(crate) fn classes(&self) -> Result<impl Fn(usize) -> Classes, Error> {
        let classes = self.numbers("classes")?;
        Ok(move |row| Classes::from_bits(classes(row).unwrap_or(0) as u16))
    }

    /// The columns that make a whole row.
    const WHOLE: [&'static str; 35] = [
        "kind",
        "cluster",
        "host",
        "target_kind",
        "event_time",
        "seq",
        "ingest_time",
        "source",
        "action",
        "outcome",
        "principal_kind",
        "principal",
        "principal_database",
        "mechanism",
        "address",
        "port",
        "address_joined",
        "connection",
        "process_start",
        "written_time",
        "reason",
        "code",
        "speculative",
        "classes",
        "application",
        "driver",
        "driver_version",
        "os",
        "platform",
        "via",
        "origin",
        "attributes",
        "task_id",
        "raw",
        "raw_encoding",
    ];

    /// The columns that [`Columns::identities`] needs, the last one for objects only.
    pub(crate) const IDENTITY: [&'static str; 19] = [
        "kind",
        "cluster",
        "host",
        "event_time",
        "seq",
        "action",
        "outcome",
        "principal_kind",
        "principal",
        "principal_database",
        "mechanism",
        "address",
        "port",
        "address_joined",
        "connection",
        "written_time",
        "reason",
        "speculative",
        "attributes",
    ];

    /// What makes each row the event it is; `None` for a row that is no access. Without objects, events of
    /// arrays that have one are other events.
    pub(crate) fn identities<'c>(
        &'c self,
        with_objects: bool,
    ) -> Result<impl Fn(usize) -> Result<Option<Identity<'c>>, Error>, Error> {
        let kinds = self.kinds()?;
        let (clusters, hosts) = (self.texts("cluster")?, self.texts("host")?);
        let times = self.event_times()?;
        let (actions, outcomes) = (self.texts("action")?, self.texts("outcome")?);
        let principal_kinds = self.texts("principal_kind")?;
        let (principals, databases) = (self.texts("principal")?, self.texts("principal_database")?);
        let (mechanisms, addresses) = (self.texts("mechanism")?, self.texts("address")?);
        let ports = self.numbers("port")?;
        let joined = self.bools("address_joined")?;
        let connections = self.numbers("connection")?;
        let (written, reasons) = (self.texts("written_time")?, self.texts("reason")?);
        let speculative = self.bools("speculative")?;
        let attributes = if with_objects { Some(self.texts("attributes")?) } else { None };
        let path = self.path;
        Ok(move |row| {
            if kinds(row) != kind::ACCESS {
                return Ok(None);
            }
            let unknown = |what: &str| Error::damaged(path, format!("unknown {what}"));
            let action = actions.get(row).and_then(Action::from_word);
            let outcome = outcomes.get(row).and_then(outcome_word);
            let peer = peer(addresses.get(row), ports(row)).ok_or_else(|| unknown("address"))?;
            let is_user = principal_kinds.get(row) == Some("user");
            let (name, database) = (principals.get(row), databases.get(row));
            let outcome = outcome.ok_or_else(|| unknown("outcome"))?;
            let action = action.ok_or_else(|| unknown("action"))?;
            let attributes = attributes.as_ref().and_then(|attributes| attributes.get(row));
            if let Some(object) = stated_object(action, attributes.and_then(object)) {
                let (group, member) = (clusters.get(row), hosts.get(row));
                let names = (group.unwrap_or(""), member.unwrap_or(""));
                return Ok(Some(Identity::of_object(names.0, names.1, action, object)));
            }
            Ok(Some(Identity {
                object: None,
                group: clusters.get(row).unwrap_or(""),
                member: hosts.get(row).unwrap_or(""),
                action,
                connection: connections(row).map(|number| number as u64),
                written_time: match written.get(row) {
                    Some(text) => Written::Text(text),
                    None => Written::Instant(times(row)),
                },
                user: is_user
                    .then(|| stated_user(action, name.unwrap_or(""), database.unwrap_or("")))
                    .flatten(),
                mechanism: mechanisms.get(row),
                outcome,
                reason: reasons.get(row),
                address: match (joined(row), peer) {
                    (Some(true), _) => None,
                    (_, Peer::Ip { address, port }) => Some((address, port)),
                    _ => None,
                },
                speculative: speculative(row),
            }))
        })
    }

    /// Length and SHA-256 of each row's bytes; `None` for a row that is no quarantine.
    pub(crate) fn quarantined(
        &self,
    ) -> Result<impl Fn(usize) -> Result<Option<LengthAndHash>, Error>, Error> {
        let kinds = self.kinds()?;
        let attributes = self.texts("attributes")?;
        let path = self.path;
        Ok(move |row| match kinds(row) {
            kind::QUARANTINE => {
                let (facts, sha256) = quarantine_facts(attributes.get(row))
                    .ok_or_else(|| Error::damaged(path, "unreadable facts of a quarantine"))?;
                Ok(Some((facts.length_bytes, sha256)))
            }
            _ => Ok(None),
        })
    }

    /// Hands on the whole rows.
    fn rows(&self, clients: &mut Clients, each: &mut impl FnMut(Row)) -> Result<(), Error> {
        let (seqs, kinds, sources) = (self.seqs()?, self.kinds()?, self.texts("source")?);
        let ingest_times = self.numbers("ingest_time")?;
        let encodings = self.numbers("raw_encoding")?;
        let raw = self.raw()?;
        let targets = self.targets()?;
        let mut accesses = self.accesses(clients)?;
        let (reasons, attributes) = (self.texts("reason")?, self.texts("attributes")?);
        for row in 0..self.rows.len() {
            let seq = seqs(row);
            let unreadable = |what: &str| self.damaged(&format!("record {seq}: {what}"));
            if encodings(row) != Some(0) {
                return Err(unreadable("its raw record is coded in an unknown way"));
            }
            let bytes = raw(row);
            let record = match kinds(row) {
                number @ (kind::ACCESS | kind::OWN) => {
                    let target = targets(row).ok_or_else(|| unreadable("no target"))?;
                    let access = accesses(row, target, bytes);
                    let access = access.map_err(|what| unreadable(&format!("unknown {what}")))?;
                    match number {
                        kind::ACCESS => Record::Access(access),
                        _ => Record::Own(access),
                    }
                }
                kind::QUARANTINE => {
                    let facts = quarantine_facts(attributes.get(row));
                    let (facts, sha256) = facts.ok_or_else(|| unreadable("unreadable facts"))?;
                    let QuarantineFacts { file, line, offset_bytes, length_bytes, .. } = facts;
                    Record::Quarantine(Quarantine {
                        target: targets(row).ok_or_else(|| unreadable("no target"))?,
                        reason: reasons.shared(row).unwrap_or_default(),
                        place: Place { file, line, offset_bytes },
                        bytes: bytes.to_vec(),
                        length_bytes,
                        sha256,
                    })
                }
                _ => minicbor::decode(bytes)
                    .map_err(|error| unreadable("unreadable").because(error))?,
            };
            each(Row {
                seq,
                ingest_time: Timestamp::from_micros(ingest_times(row).unwrap_or(0)),
                source: sources.shared(row).unwrap_or_default(),
                record,
            });
        }
        Ok(())
    }

    /// Each row's bytes in the column of raw records.
    pub(crate) fn raw<'c>(&'c self) -> Result<impl Fn(usize) -> &'c [u8], Error> {
        match self.page("raw")? {
            (Page::Bytes(page), first) => Ok(move |row: usize| page.get(self.rows[row] - first)),
            _ => Err(self.damaged("column raw holds no bytes")),
        }
    }

    fn targets(&self) -> Result<impl Fn(usize) -> Option<Target>, Error> {
        let kinds = self.texts("target_kind")?;
        let (clusters, hosts) = (self.texts("cluster")?, self.texts("host")?);
        Ok(move |row| {
            let (group, member) = (clusters.shared(row)?, hosts.shared(row)?);
            match kinds.get(row)? {
                "host" => Some(Target::Host { cluster: group, host: member }),
                "array" => Some(Target::Array { namespace: group, array: member }),
                "own" => Some(Target::Own { kind: group, name: member }),
                _ => None,
            }
        })
    }

    /// The access of a row with its target and raw record; an error says what it cannot make out.
    fn accesses(
        &self,
        clients: &mut Clients,
    ) -> Result<impl FnMut(usize, Target, &[u8]) -> Readable, Error> {
        let times = self.event_times()?;
        let written = self.texts("written_time")?;
        let (actions, outcomes) = (self.texts("action")?, self.texts("outcome")?);
        let (reasons, codes) = (self.texts("reason")?, self.numbers("code")?);
        let principals = self.principals()?;
        let mechanisms = self.texts("mechanism")?;
        let (addresses, ports) = (self.texts("address")?, self.numbers("port")?);
        let joined = self.bools("address_joined")?;
        let connections = self.numbers("connection")?;
        let starts = self.numbers("process_start")?;
        let mut clients = self.clients(clients)?;
        let speculative = self.bools("speculative")?;
        let classes = self.classes()?;
        let attributes = self.texts("attributes")?;
        let tasks = self.texts("task_id")?;
        Ok(move |row, target, raw: &[u8]| {
            let outcome = match outcomes.get(row) {
                Some("success") => Outcome::Success,
                Some("failure") => {
                    Outcome::Failure { reason: reasons.shared(row), code: codes(row) }
                }
                Some("unknown") => Outcome::Unknown,
                _ => return Err("outcome"),
            };
            Ok(Access {
                target,
                event_time: times(row),
                written_time: match written.shared(row) {
                    Some(text) => WrittenTime::Partial(text),
                    None => WrittenTime::Complete,
                },
                action: actions.get(row).and_then(Action::from_word).ok_or("action")?,
                outcome,
                principal: principals(row).ok_or("principal")?,
                mechanism: mechanisms.shared(row),
                peer: peer(addresses.get(row), ports(row)).ok_or("address")?,
                peer_joined: joined(row).unwrap_or(false),
                connection: connections(row).map(|number| number as u64),
                process_start: starts(row).map(Timestamp::from_micros),
                client: clients(row).map_err(|()| "origin")?,
                speculative: speculative(row),
                classes: classes(row),
                attributes: match attributes.get(row) {
                    Some(json) => serde_json::from_str(json).map_err(|_| "attributes")?,
                    None => Default::default(),
                },
                raw: raw.to_vec(),
                task_id: tasks.shared(row),
            })
        })
    }

    fn principals(&self) -> Result<impl Fn(usize) -> Option<Principal>, Error> {
        let kinds = self.texts("principal_kind")?;
        let (names, databases) = (self.texts("principal")?, self.texts("principal_database")?);
        Ok(move |row| {
            let name = || names.shared(row);
            Some(match kinds.get(row)? {
                "unauthenticated" => Principal::Unauthenticated,
                "user" => Principal::User { name: name()?, database: databases.shared(row)? },
                "api_key" => Principal::ApiKey(name()?),
                "service_account" => Principal::ServiceAccount(name()?),
                "os_user" => {
                    Principal::OsUser { uid: databases.get(row)?.parse().ok()?, name: name() }
                }
                "doorbook" => Principal::Doorbook,
                _ => return None,
            })
        })
    }

    /// What the client of a row said, once for all rows that share a page and say the same.
    fn clients(
        &self,
        clients: &mut Clients,
    ) -> Result<impl FnMut(usize) -> Result<Option<Shared<Client>>, ()>, Error> {
        let [application, driver, driver_version] =
            [self.texts("application")?, self.texts("driver")?, self.texts("driver_version")?];
        let [os, platform, via] = [self.texts("os")?, self.texts("platform")?, self.texts("via")?];
        let origins = self.texts("origin")?;
        clients.clear();
        Ok(move |row| {
            let columns = [application, driver, driver_version, os, platform, via, origins];
            let ids = columns.map(|column| column.id(row));
            if let Some((_, known)) = clients.iter().find(|(known, _)| *known == ids) {
                return Ok(known.clone());
            }
            let client = Client {
                application: application.shared(row),
                driver: driver.shared(row),
                driver_version: driver_version.shared(row),
                os: os.shared(row),
                platform: platform.shared(row),
                via: via.shared(row),
                origin: origins.get(row).map(|text| origin(text).ok_or(())).transpose()?,
            };
            let client = (client != Client::default()).then(|| Shared::from(client));
            if clients.len() == CLIENTS_MAX {
                clients.clear();
            }
            clients.push((ids, client.clone()));
            Ok(client)
        })
    }
}

/// Clients of late, by their numbers in the columns of one group of rows.
type Clients = Vec<([usize; 7], Option<Shared<Client>>)>;

/// A list that is searched from its beginning must be short.
const CLIENTS_MAX: usize = 32;

fn outcome_word(word: &str) -> Option<&'static str> {
    ["success", "failure", "unknown"].into_iter().find(|known| *known == word)
}

/// The peer of a row.
pub(crate) fn peer(address: Option<&str>, port: Option<i64>) -> Option<Peer> {
    match address {
        None => Some(Peer::Unknown),
        Some(UNIX_SOCKET) => Some(Peer::UnixSocket),
        Some(address) => {
            let port = port.map(u16::try_from).transpose().ok()?;
            Some(Peer::Ip { address: address.parse().ok()?, port })
        }
    }
}

/// The peer that its `Display` spelled.
fn origin(text: &str) -> Option<Peer> {
    match text {
        "unknown" => Some(Peer::Unknown),
        "unix" => Some(Peer::UnixSocket),
        _ => match text.parse::<IpAddr>() {
            Ok(address) => Some(Peer::Ip { address, port: None }),
            Err(_) => {
                let socket = text.parse::<std::net::SocketAddr>().ok()?;
                Some(Peer::Ip { address: socket.ip(), port: Some(socket.port()) })
            }
        },
    }
}

/// The object that attributes name, if it is spelled without escapes.
fn object(attributes: &str) -> Option<&str> {
    #[derive(serde::Deserialize)]
    struct Named<'a> {
        #[serde(borrow, default)]
        object: Option<&'a str>,
    }

    // Most have none.
    memchr::memmem::find(attributes.as_bytes(), b"\"object\"")?;
    serde_json::from_str::<Named<'_>>(attributes).ok()?.object
}

fn quarantine_facts(json: Option<&str>) -> Option<(QuarantineFacts, [u8; 32])> {
    let facts: QuarantineFacts = serde_json::from_str(json?).ok()?;
    let mut sha256 = [0; 32];
    hex::decode_to_slice(&facts.sha256, &mut sha256).ok()?;
    Some((facts, sha256))
}

/// A segment's file; opened when the first byte of it is needed.
struct File<'s> {
    meta: &'s SegmentMeta,
    disk: &'s dyn Disk,
    path: PathBuf,
    source: OnceLock<Source>,
}

impl File<'_> {
    fn source(&self) -> Result<&Source, Error> {
        match self.source.get() {
            Some(source) => Ok(source),
            None => {
                let source = self.open()?;
                Ok(self.source.get_or_init(|| source))
            }
        }
    }

    fn open(&self) -> Result<Source, Error> {
        let path = &self.path;
        let file = self.disk.open_to_read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::damaged(path, "the file is gone").because(error),
            _ => Error::io(path, "open", error),
        })?;
        let size =
            file.size_bytes().map_err(|error| Error::io(path, "ask for the size of", error))?;
        if size != self.meta.size_bytes {
            let was = self.meta.size_bytes;
            return Err(Error::damaged(path, format!("{size} bytes long, written with {was}")));
        }
        Ok(Source { file: file.into(), size })
    }

    fn footer(&self) -> Result<ParquetMetaData, Error> {
        let source = self.source()?;
        self.check_tail(source)?;
        let footer = guarded(&self.path, || load_footer(source))?;
        let (rows, written) = (footer.file_metadata().num_rows(), self.meta.rows());
        match rows == written as i64 {
            true => Ok(footer),
            false => Err(self.damaged(&format!("{rows} rows, written with {written}"))),
        }
    }

    /// Bloom filters, page index and footer say where to look and where not: they must be right.
    fn check_tail(&self, source: &Source) -> Result<(), Error> {
        let Some(Tail { size_bytes, crc32c }) = self.meta.tail else { return Ok(()) };
        let from = source.size.saturating_sub(size_bytes);
        let size = usize::try_from(source.size - from).unwrap_or(usize::MAX);
        let tail = read_up_to(&*source.file, from, size);
        let tail = tail.map_err(|error| Error::io(&self.path, "read", error))?;
        match crc32c::crc32c(&tail) == crc32c {
            true => Ok(()),
            false => {
                let what = format!("bytes {from} to {} do not match the checksum", source.size);
                Err(self.damaged(&what))
            }
        }
    }

    fn damaged(&self, what: &str) -> Error {
        Error::damaged(&self.path, what)
    }

    fn unfit(&self, chunk: &Chunk<'_>, Unfit(what): Unfit) -> Error {
        self.damaged(&format!("column {}: {what}", chunk.metadata.column_descr().name()))
    }
}

/// Hands a file's bytes to the library.
#[derive(Clone)]
struct Source {
    file: Arc<dyn DiskFile>,
    size: u64,
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Source {
    type T = std::io::BufReader<SourceReader>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(std::io::BufReader::new(SourceReader { source: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut bytes = Vec::new();
        self.read(start, length, &mut bytes)?;
        Ok(bytes.into())
    }
}

impl Source {
    /// Replaces `bytes` with some of the file's.
    fn read(&self, start: u64, length: usize, bytes: &mut Vec<u8>) -> Result<(), ParquetError> {
        // A damaged footer may ask for anything; a file has no more than its length.
        if start.checked_add(length as u64).is_none_or(|end| end > self.size) {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} are not in the file"
            )));
        }
        bytes.resize(length, 0);
        match fill_up_to(&*self.file, start, bytes)? == length {
            true => Ok(()),
            false => Err(ParquetError::EOF("the file ends early".to_owned())),
        }
    }
}

struct SourceReader {
    source: Source,
    at: u64,
}

impl std::io::Read for SourceReader {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.file.read_at(bytes, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

fn load_footer(source: &Source) -> Result<ParquetMetaData, ParquetError> {
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    let footer = reader.parse_and_finish(source)?;
    let pairs = footer.file_metadata().key_value_metadata().into_iter().flatten();
    let version = pairs.filter(|pair| pair.key == VERSION_KEY).find_map(|pair| pair.value.clone());
    let number = version.as_deref().and_then(|version| version.parse::<u32>().ok());
    if !number.is_some_and(|number| (1..=VERSION).contains(&number)) {
        return Err(ParquetError::General(format!(
            "segment format {version:?}; this program reads formats 1 to {VERSION}"
        )));
    }
    Ok(footer)
}

/// Calls into the library, whose complaints, and whose panics over bytes that it did not expect, are
/// damage of this file.
fn guarded<T>(path: &Path, call: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(ParquetError::External(error))) => match error.downcast::<std::io::Error>() {
            Ok(error) if error.raw_os_error().is_some() => Err(Error::io(path, "read", *error)),
            Ok(error) => Err(Error::damaged(path, "not what was written").because(error)),
            Err(error) => Err(Error::damaged(path, "not what was written").because(error)),
        },
        Ok(Err(error)) => Err(Error::damaged(path, "not what was written").because(error)),
        Err(_) => Err(Error::damaged(path, "not what was written; the reader gave up")),
    }
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

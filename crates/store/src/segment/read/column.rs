//! One column of an open segment, page by page.

use std::ops::Range;
use std::sync::Arc;

use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::offset_index::PageLocation;

use super::Reader;
use crate::cache::{Block, Part};
use crate::error::Error;
use crate::segment::decode::{
    AnyDictionary, BytesPage, Encoding, Form, IntPage, Packed, Page, PageHeader, PageKind,
    TextPage, Unfit, Unpacked, between,
};

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
pub(super) struct Chunk<'r> {
    pub(super) place: usize,
    pub(super) metadata: &'r ColumnChunkMetaData,
    pub(super) form: Form,
    pub(super) is_optional: bool,
    pub(super) pages: &'r [PageLocation],
}

impl<'r> Column<'r> {
    /// Nothing of it is read yet.
    pub(super) fn new(reader: &'r Reader<'r>, chunk: Option<Chunk<'r>>) -> Column<'r> {
        Column { reader, chunk, dictionary: None, current: None }
    }

    /// Where it lies, if the file has it.
    pub(super) fn chunk(self) -> Option<Chunk<'r>> {
        self.chunk
    }

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

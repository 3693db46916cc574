//! The pages of our Parquet files, from bytes to columns.
//!
//! Texts stay numbers into a dictionary, so that a filter looks at each text once and not at each
//! row; a page in which every row has the same value is one value, however many rows it has. Covered
//! is what [`super::write()`] has ever written: data pages of version 1, one row group, no nesting,
//! `RLE_DICTIONARY` and `PLAIN` texts, `PLAIN` bytes, `DELTA_BINARY_PACKED`, `RLE_DICTIONARY` and
//! `PLAIN` integers, `PLAIN` and `RLE` flags. Bytes that do not fit are [`Unfit`], never a panic, and cost no more memory than a
//! page may have.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use doorbook_event::Text;
use memchr::memmem::Finder;

/// Why a page is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit(pub(crate) &'static str);

type Result<T> = std::result::Result<T, Unfit>;

/// What stands before a page's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    pub(super) kind: PageKind,
    pub(super) size_bytes: usize,
    pub(super) compressed_size_bytes: usize,
    /// CRC-32 of the compressed bytes, if it was written.
    pub(super) crc: Option<u32>,
    /// Rows of a data page, values of a dictionary.
    pub(super) value_count: usize,
    pub(super) encoding: Encoding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageKind {
    Data,
    Dictionary,
}

/// How values are coded, by Parquet's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Rle,
    Delta,
    Dictionary,
}

/// No page of ours comes near; a header that says more is damaged.
pub(super) const PAGE_SIZE_BYTES_MAX: usize = 256 << 20;

/// Bytes that must follow a page in its buffer, so that whole words can be read up to its end.
pub(super) const PADDING_BYTES: usize = 8;

impl PageHeader {
    /// The header at the beginning of `bytes`, and how long it is.
    pub(super) fn read(bytes: &[u8]) -> Result<(PageHeader, usize)> {
        let mut thrift = Thrift { bytes, at: 0 };
        let (mut kind, mut size, mut compressed, mut crc, mut body) =
            (None, None, None, None, None);
        thrift.each_field(0, |thrift, field, kind_of_value| {
            match (field, kind_of_value) {
                (1, Thrift::I32) => kind = Some(thrift.integer()?),
                (2, Thrift::I32) => size = Some(thrift.integer()?),
                (3, Thrift::I32) => compressed = Some(thrift.integer()?),
                (4, Thrift::I32) => crc = Some(thrift.integer()? as u32),
                (5 | 7, Thrift::STRUCT) => body = Some(thrift.counts()?),
                _ => thrift.skip(kind_of_value, 0)?,
            }
            Ok(())
        })?;
        let kind = match kind {
            Some(0) => PageKind::Data,
            Some(2) => PageKind::Dictionary,
            _ => return Err(Unfit("a page of an unknown kind")),
        };
        let size_of = |size: Option<i64>| {
            let size = size.and_then(|size| usize::try_from(size).ok());
            size.filter(|size| *size <= PAGE_SIZE_BYTES_MAX).ok_or(Unfit("a page of no sane size"))
        };
        let (value_count, encoding) = body.ok_or(Unfit("a page header without a body"))?;
        let header = PageHeader {
            kind,
            size_bytes: size_of(size)?,
            compressed_size_bytes: size_of(compressed)?,
            crc,
            value_count,
            encoding,
        };
        Ok((header, thrift.at))
    }
}

/// Thrift's compact protocol, as far as a page header needs it.
struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Thrift<'_> {
    const I32: u8 = 5;
    const STRUCT: u8 = 12;
    const NESTING_MAX: usize = 8;

    fn byte(&mut self) -> Result<u8> {
        let byte = self.bytes.get(self.at).ok_or(Unfit("a page header that ends early"))?;
        self.at += 1;
        Ok(*byte)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Unfit("a number without end in a page header"))
    }

    fn integer(&mut self) -> Result<i64> {
        self.varint().map(unzigzag)
    }

    /// Calls `each` with the number and the type of every field of a struct; it must read the value.
    fn each_field(
        &mut self,
        nesting: usize,
        mut each: impl FnMut(&mut Self, i64, u8) -> Result<()>,
    ) -> Result<()> {
        if nesting > Self::NESTING_MAX {
            return Err(Unfit("a page header that is nested too deeply"));
        }
        let mut field = 0_i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            field = match head >> 4 {
                0 => self.integer()?,
                step => field.wrapping_add(i64::from(step)),
            };
            each(self, field, head & 0x0f)?;
        }
    }

    /// Number of values and encoding, which stand alike in the headers of both kinds of page.
    fn counts(&mut self) -> Result<(usize, Encoding)> {
        let (mut count, mut encoding) = (None, None);
        self.each_field(1, |thrift, field, kind| {
            match (field, kind) {
                (1, Self::I32) => count = usize::try_from(thrift.integer()?).ok(),
                (2, Self::I32) => encoding = Some(thrift.integer()?),
                _ => thrift.skip(kind, 1)?,
            }
            Ok(())
        })?;
        let encoding = match encoding {
            Some(0) => Encoding::Plain,
            Some(3) => Encoding::Rle,
            Some(5) => Encoding::Delta,
            Some(2 | 8) => Encoding::Dictionary,
            _ => return Err(Unfit("a page in an unknown encoding")),
        };
        // An offset index cannot say more either; what is allocated for a page depends on it.
        let count = count.filter(|count| *count <= i32::MAX as usize);
        Ok((count.ok_or(Unfit("a page without a count"))?, encoding))
    }

    fn skip(&mut self, kind: u8, nesting: usize) -> Result<()> {
        match kind {
            1 | 2 => Ok(()),
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.skip_bytes(8),
            8 => {
                let length = self.varint()?;
                self.skip_bytes(usize::try_from(length).unwrap_or(usize::MAX))
            }
            Self::STRUCT => {
                let inner = nesting + 1;
                self.each_field(inner, |thrift, _, kind| thrift.skip(kind, inner))
            }
            _ => Err(Unfit("a page header with an unknown member")),
        }
    }

    fn skip_bytes(&mut self, count: usize) -> Result<()> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        self.at = end.ok_or(Unfit("a page header that ends early"))?;
        Ok(())
    }
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Texts by number.
#[derive(Debug)]
pub(crate) struct Dictionary {
    texts: String,
    /// Where each text begins, and where the last one ends.
    offsets: Box<[u32]>,
    /// Made when first asked for, and then the same in every answer.
    shared: Box<[OnceLock<Text>]>,
}

impl Dictionary {
    /// From `count` values in PLAIN form.
    pub(super) fn read(bytes: &[u8], count: usize) -> Result<Dictionary> {
        // Each value has four bytes of length.
        if count > bytes.len() / 4 || bytes.len() > u32::MAX as usize {
            return Err(Unfit("a dictionary with more values than bytes"));
        }
        let mut joined = Vec::with_capacity(bytes.len() - 4 * count);
        let mut offsets = Vec::with_capacity(count + 1);
        offsets.push(0);
        let mut rest = bytes;
        for _ in 0..count {
            let value = take_plain(&mut rest)?;
            joined.extend_from_slice(value);
            offsets.push(joined.len() as u32);
        }
        let texts = String::from_utf8(joined).map_err(|_| Unfit("a text that is not UTF-8"))?;
        if !offsets.iter().all(|offset| texts.is_char_boundary(*offset as usize)) {
            return Err(Unfit("a text that is not UTF-8"));
        }
        let shared = (0..count).map(|_| OnceLock::new()).collect();
        Ok(Dictionary { texts, offsets: offsets.into(), shared })
    }

    /// How many texts it has; also the id of a row without one.
    pub(crate) fn len(&self) -> usize {
        self.shared.len()
    }

    /// The text of an id; `None` for a row without one.
    pub(crate) fn get(&self, id: usize) -> Option<&str> {
        let end = *self.offsets.get(id + 1)?;
        Some(&self.texts[self.offsets[id] as usize..end as usize])
    }

    /// The ids of a text; the dictionary of a page of plain texts may have several.
    pub(crate) fn ids_of(&self, text: &str) -> Vec<usize> {
        let (all, text) = (self.texts.as_bytes(), text.as_bytes());
        let offsets = &self.offsets;
        if text.is_empty() {
            return (0..self.len()).filter(|id| offsets[*id] == offsets[id + 1]).collect();
        }
        // Wherever it stands among all texts, be it a part of one or of two.
        let finder = Finder::new(text);
        let mut from = 0;
        let mut ids = Vec::new();
        while let Some(found) = finder.find(&all[from..]) {
            let (at, end) = ((from + found) as u32, (from + found + text.len()) as u32);
            // Of texts that begin there, the last is the one that is not empty.
            let id = offsets.partition_point(|offset| *offset <= at) - 1;
            if offsets[id] == at && offsets.get(id + 1) == Some(&end) {
                ids.push(id);
            }
            from = at as usize + 1;
        }
        ids
    }

    /// The text of an id, shared with all who ask.
    pub(crate) fn shared(&self, id: usize) -> Option<Text> {
        let text = self.shared.get(id)?;
        Some(text.get_or_init(|| self.get(id).unwrap_or_default().into()).clone())
    }

    pub(crate) fn size_bytes(&self) -> usize {
        let each = size_of::<u32>() + size_of::<OnceLock<Text>>();
        // Twice the bytes: each text may come to be shared, with two counters.
        size_of::<Dictionary>() + 2 * self.texts.len() + (each + 16) * self.len()
    }
}

/// A page of texts.
#[derive(Clone, Debug)]
pub(crate) struct TextPage {
    pub(crate) ids: Ids,
    pub(crate) dictionary: Arc<Dictionary>,
    /// The dictionary is of this page alone, which has its texts in full.
    pub(crate) is_plain: bool,
}

/// A number for each row, none greater than the length of its dictionary, which means no value.
#[derive(Clone, Debug)]
pub(crate) enum Ids {
    /// Every row has the same.
    Constant(u32),
    U8(Box<[u8]>),
    U16(Box<[u16]>),
    U32(Box<[u32]>),
}

impl Ids {
    pub(crate) fn get(&self, row: usize) -> usize {
        match self {
            Ids::Constant(id) => *id as usize,
            Ids::U8(ids) => ids[row].into(),
            Ids::U16(ids) => ids[row].into(),
            Ids::U32(ids) => ids[row] as usize,
        }
    }

    fn of<T: Id>(ids: Vec<T>) -> Ids {
        match ids.first() {
            None => Ids::Constant(0),
            Some(first) if ids.iter().all(|id| id == first) => Ids::Constant((*first).into()),
            _ => T::ids(ids.into()),
        }
    }

    /// Those of some rows.
    fn pick(&self, rows: &[usize]) -> Ids {
        match self {
            Ids::Constant(id) => Ids::Constant(*id),
            _ => Ids::U32(rows.iter().map(|row| self.get(*row) as u32).collect()),
        }
    }

    fn size_bytes(&self) -> usize {
        match self {
            Ids::Constant(_) => 0,
            Ids::U8(ids) => ids.len(),
            Ids::U16(ids) => 2 * ids.len(),
            Ids::U32(ids) => 4 * ids.len(),
        }
    }
}

/// A type that ids of a page are kept in.
trait Id: Narrow + PartialEq + Ord + Into<u32> {
    fn ids(ids: Box<[Self]>) -> Ids
    where
        Self: Sized;
}

impl Id for u8 {
    fn ids(ids: Box<[u8]>) -> Ids {
        Ids::U8(ids)
    }
}

impl Id for u16 {
    fn ids(ids: Box<[u16]>) -> Ids {
        Ids::U16(ids)
    }
}

impl Id for u32 {
    fn ids(ids: Box<[u32]>) -> Ids {
        Ids::U32(ids)
    }
}

impl TextPage {
    /// A page in which no row has a value.
    pub(super) fn absent() -> TextPage {
        let dictionary =
            Dictionary { texts: String::new(), offsets: [0].into(), shared: [].into() };
        TextPage { ids: Ids::Constant(0), dictionary: Arc::new(dictionary), is_plain: false }
    }

    pub(super) fn read(
        page: Unpacked<'_>,
        dictionary: Option<&Arc<Dictionary>>,
    ) -> Result<TextPage> {
        let (presence, bytes) = page.presence()?;
        let present = presence.count(page.value_count);
        if present == 0 {
            return Ok(TextPage::absent());
        }
        match page.encoding {
            Encoding::Dictionary => {
                let dictionary = dictionary.ok_or(Unfit("a page without its dictionary"))?;
                let ids = read_ids(bytes, &presence, page.value_count, dictionary.len())?;
                Ok(TextPage { ids, dictionary: Arc::clone(dictionary), is_plain: false })
            }
            Encoding::Plain => {
                let dictionary = Dictionary::read(&bytes[..bytes.len() - PADDING_BYTES], present)?;
                let ids = match &presence {
                    Presence::All => Ids::of((0..present as u32).collect()),
                    Presence::None => Ids::Constant(present as u32),
                    Presence::Some(rows) => {
                        let mut next = 0;
                        let ids = rows.iter().map(|is_present| match is_present {
                            0 => present as u32,
                            _ => {
                                next += 1;
                                next - 1
                            }
                        });
                        Ids::of(ids.collect::<Vec<u32>>())
                    }
                };
                Ok(TextPage { ids, dictionary: Arc::new(dictionary), is_plain: true })
            }
            Encoding::Rle | Encoding::Delta => Err(Unfit("texts in an encoding that is not ours")),
        }
    }

    /// Of a page some rows, in ascending order; the others are not decoded where that can be left.
    fn read_some(
        page: Unpacked<'_>,
        dictionary: Option<&Arc<Dictionary>>,
        rows: &[usize],
    ) -> Result<TextPage> {
        let (Encoding::Dictionary, Some(dictionary)) = (page.encoding, dictionary) else {
            return TextPage::read(page, dictionary).map(|whole| whole.pick(rows));
        };
        let (presence, bytes) = page.presence()?;
        let present = presence.count(page.value_count);
        if present == 0 {
            return Ok(TextPage::absent());
        }
        let absent = dictionary.len() as u32;
        let places = presence.places(rows);
        let (bits, bytes) = bytes.split_first().ok_or(Unfit("a page without ids"))?;
        let picked = pick_hybrid(bytes, (*bits).into(), present, places.iter().flatten())?;
        if picked.iter().any(|id| *id >= absent) {
            return Err(Unfit("an id beyond the dictionary"));
        }
        let mut picked = picked.into_iter();
        let ids = places.iter().map(|place| match place {
            Some(_) => picked.next().unwrap_or(absent),
            None => absent,
        });
        let ids = Ids::U32(ids.collect());
        Ok(TextPage { ids, dictionary: Arc::clone(dictionary), is_plain: false })
    }

    fn pick(&self, rows: &[usize]) -> TextPage {
        TextPage { ids: self.ids.pick(rows), ..self.clone() }
    }

    fn join(parts: &[(TextPage, usize)]) -> TextPage {
        let with_texts = || parts.iter().filter(|(part, _)| part.dictionary.len() > 0);
        let Some((first, _)) = with_texts().next() else { return TextPage::absent() };
        let is_first = |part: &TextPage| Arc::ptr_eq(&part.dictionary, &first.dictionary);
        let rows = parts.iter().flat_map(|(part, count)| (0..*count).map(move |row| (part, row)));
        if with_texts().all(|(part, _)| is_first(part)) {
            let absent = first.dictionary.len();
            let id = |part: &TextPage, row| if is_first(part) { part.ids.get(row) } else { absent };
            let ids = Ids::of(rows.map(|(part, row)| id(part, row) as u32).collect());
            return TextPage { ids, ..first.clone() };
        }
        // Pages with texts of their own: few columns have them.
        let mut texts = String::new();
        let (mut offsets, mut ids) = (vec![0], Vec::new());
        let known = rows.map(|(part, row)| part.get(row)).collect::<Vec<_>>();
        let present = known.iter().flatten().count() as u32;
        for text in known {
            ids.push(if text.is_some() { offsets.len() as u32 - 1 } else { present });
            if let Some(text) = text {
                texts.push_str(text);
                offsets.push(texts.len() as u32);
            }
        }
        let shared = (0..present).map(|_| OnceLock::new()).collect();
        let dictionary = Arc::new(Dictionary { texts, offsets: offsets.into(), shared });
        TextPage { ids: Ids::of(ids), dictionary, is_plain: true }
    }

    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        self.dictionary.get(self.ids.get(row))
    }

    pub(crate) fn shared(&self, row: usize) -> Option<Text> {
        self.dictionary.shared(self.ids.get(row))
    }
}

/// Ids of a page; those of rows without a value are `absent`, one more than the dictionary's last.
fn read_ids(bytes: &[u8], presence: &Presence, rows: usize, absent: usize) -> Result<Ids> {
    let present = presence.count(rows);
    if present == 0 {
        return Ok(Ids::Constant(absent as u32));
    }
    let (bits, bytes) = bytes.split_first().ok_or(Unfit("a page without ids"))?;
    if let Presence::All = presence
        && let Some(id) = whole_run(bytes, (*bits).into(), present)
    {
        let is_known = (id as usize) < absent;
        return is_known.then_some(Ids::Constant(id)).ok_or(Unfit("an id beyond the dictionary"));
    }
    // The narrowest type into which everything fits that the page may say.
    match (bits, absent) {
        (0..=8, 0..=0xff) => read_each_id::<u8>(bytes, *bits, presence, rows, absent),
        (0..=16, 0..=0xffff) => read_each_id::<u16>(bytes, *bits, presence, rows, absent),
        _ => read_each_id::<u32>(bytes, *bits, presence, rows, absent),
    }
}

fn read_each_id<T: Id>(
    bytes: &[u8],
    bits: u8,
    presence: &Presence,
    rows: usize,
    absent: usize,
) -> Result<Ids> {
    let mut ids: Vec<T> = Vec::new();
    read_hybrid(bytes, bits.into(), presence.count(rows), &mut ids)?;
    if ids.iter().max().is_some_and(|id| (*id).into() as usize >= absent) {
        return Err(Unfit("an id beyond the dictionary"));
    }
    if let Presence::Some(levels) = presence {
        let absent = T::narrow(absent as u64);
        let mut next = ids.iter();
        let spread = levels.iter().map(|is_present| match is_present {
            0 => absent,
            _ => next.next().copied().unwrap_or(absent),
        });
        return Ok(Ids::of(spread.collect()));
    }
    Ok(Ids::of(ids))
}

/// A page of integers or flags.
#[derive(Clone, Debug)]
pub(crate) enum IntPage {
    /// Every row has the same, or none.
    Constant(Option<i64>),
    /// For each row its value, or 0; and, where rows lack one, for each row whether it has one.
    Each { values: Box<[i64]>, presence: Option<Box<[u8]>> },
}

impl IntPage {
    pub(super) fn read(page: Unpacked<'_>, form: IntForm, dictionary: &[i64]) -> Result<IntPage> {
        let (presence, bytes) = page.presence()?;
        let present = presence.count(page.value_count);
        if present == 0 {
            return Ok(IntPage::Constant(None));
        }
        let values = match (page.encoding, form) {
            (Encoding::Dictionary, _) => {
                let ids = read_ids(bytes, &Presence::All, present, dictionary.len())?;
                match ids {
                    Ids::Constant(id) if matches!(presence, Presence::All) => {
                        return Ok(IntPage::Constant(Some(dictionary[id as usize])));
                    }
                    ids => (0..present).map(|n| dictionary[ids.get(n)]).collect(),
                }
            }
            (Encoding::Delta, IntForm::I32 | IntForm::I64) => {
                let values = match read_delta(bytes, present, present)? {
                    Delta::Constant(value) if matches!(presence, Presence::All) => {
                        return Ok(IntPage::Constant(Some(value)));
                    }
                    Delta::Constant(value) => vec![value; present],
                    Delta::Each(values) => values,
                };
                match form {
                    // Their differences wrap at 32 bits.
                    IntForm::I32 => values.into_iter().map(|v| (v as i32).into()).collect(),
                    _ => values,
                }
            }
            (Encoding::Plain, IntForm::I32) => read_fixed(bytes, present, i32::from_le_bytes)?,
            (Encoding::Plain, IntForm::I64) => read_fixed(bytes, present, i64::from_le_bytes)?,
            (Encoding::Plain, IntForm::Flag) => {
                let flags = bytes[..bytes.len() - PADDING_BYTES].get(..present.div_ceil(8));
                let flags = flags.ok_or(Unfit("flags that end early"))?;
                (0..present).map(|n| i64::from(flags[n / 8] >> (n % 8) & 1)).collect()
            }
            (Encoding::Rle, IntForm::Flag) => {
                let bytes = bytes.get(4..).ok_or(Unfit("flags that end early"))?;
                let mut flags: Vec<u8> = Vec::new();
                read_hybrid(bytes, 1, present, &mut flags)?;
                flags.into_iter().map(i64::from).collect()
            }
            _ => return Err(Unfit("numbers in an encoding that is not ours")),
        };
        Ok(match presence {
            Presence::Some(levels) => {
                let mut next = values.into_iter();
                let value = |level: &u8| if *level == 0 { 0 } else { next.next().unwrap_or(0) };
                let values = levels.iter().map(value).collect();
                IntPage::Each { values, presence: Some(levels) }
            }
            _ if values.iter().all(|value| *value == values[0]) => {
                IntPage::Constant(Some(values[0]))
            }
            _ => IntPage::Each { values: values.into(), presence: None },
        })
    }

    /// Of a page some rows, in ascending order; what comes after them is not decoded where that can
    /// be left.
    fn read_some(
        page: Unpacked<'_>,
        form: IntForm,
        dictionary: &[i64],
        rows: &[usize],
    ) -> Result<IntPage> {
        if page.encoding != Encoding::Delta || form == IntForm::Flag {
            return IntPage::read(page, form, dictionary).map(|whole| whole.pick(rows));
        }
        let (presence, bytes) = page.presence()?;
        let present = presence.count(page.value_count);
        let places = presence.places(rows);
        let Some(last) = places.iter().flatten().next_back() else {
            return Ok(IntPage::Constant(None));
        };
        let values = read_delta(bytes, present, last + 1)?;
        let value = |place: &Option<usize>| match (&values, place) {
            (_, None) => 0,
            (Delta::Constant(value), Some(_)) => *value,
            (Delta::Each(values), Some(place)) => values[*place],
        };
        let values = places.iter().map(value).map(|value| match form {
            IntForm::I32 => (value as i32).into(),
            _ => value,
        });
        let presence = matches!(presence, Presence::Some(_))
            .then(|| places.iter().map(|place| place.is_some().into()).collect());
        Ok(IntPage::Each { values: values.collect(), presence })
    }

    /// Of rows whose numbers are sorted, those `from` to `to`.
    pub(super) fn between(&self, rows: Range<usize>, from: i64, to: i64) -> Range<usize> {
        let number = |row| self.get(row).unwrap_or(0);
        let start = partition_point(rows.clone(), |row| number(row) < from);
        start..partition_point(start..rows.end, |row| number(row) <= to)
    }

    fn pick(&self, rows: &[usize]) -> IntPage {
        match self {
            IntPage::Constant(value) => IntPage::Constant(*value),
            IntPage::Each { values, presence } => {
                let levels = presence.as_ref();
                IntPage::Each {
                    values: rows.iter().map(|row| values[*row]).collect(),
                    presence: levels.map(|levels| rows.iter().map(|row| levels[*row]).collect()),
                }
            }
        }
    }

    fn join(parts: &[(IntPage, usize)]) -> IntPage {
        let rows = || {
            let rows = parts.iter();
            rows.flat_map(|(part, count)| (0..*count).map(move |row| part.get(row)))
        };
        let mut all = rows();
        let first = all.next().flatten();
        if all.all(|value| value == first) {
            return IntPage::Constant(first);
        }
        let values = rows().map(|value| value.unwrap_or(0)).collect();
        let levels: Box<[u8]> = rows().map(|value| value.is_some().into()).collect();
        IntPage::Each { values, presence: Some(levels).filter(|levels| levels.contains(&0)) }
    }

    /// What every row has, if that is known to be the same.
    pub(crate) fn constant(&self) -> Option<Option<i64>> {
        match self {
            IntPage::Constant(value) => Some(*value),
            IntPage::Each { .. } => None,
        }
    }

    pub(crate) fn get(&self, row: usize) -> Option<i64> {
        match self {
            IntPage::Constant(value) => *value,
            IntPage::Each { values, presence } => {
                let is_present = presence.as_ref().is_none_or(|levels| levels[row] != 0);
                is_present.then(|| values[row])
            }
        }
    }
}

/// The type of a column of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntForm {
    Flag,
    I32,
    I64,
}

/// A dictionary of numbers.
pub(super) fn number_dictionary(bytes: &[u8], count: usize, form: IntForm) -> Result<Vec<i64>> {
    let padded = [bytes, &[0; PADDING_BYTES]].concat();
    match form {
        IntForm::I32 => read_fixed(&padded, count, i32::from_le_bytes),
        IntForm::I64 => read_fixed(&padded, count, i64::from_le_bytes),
        IntForm::Flag => Err(Unfit("a dictionary of flags")),
    }
}

/// The first of some numbers for which `is_before` does not hold, if it holds for all before it.
pub(crate) fn partition_point(numbers: Range<usize>, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (numbers.start, numbers.end);
    while low < high {
        let middle = low + (high - low) / 2;
        match is_before(middle) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
}

/// Of some rows of a page, whose numbers are sorted, those `from` to `to`; `None` if the page is in an
/// encoding in which looking for them is not cheaper than decoding it.
pub(super) fn between(
    page: Unpacked<'_>,
    rows: Range<usize>,
    from: i64,
    to: i64,
) -> Result<Option<Range<usize>>> {
    let (presence, bytes) = page.presence()?;
    if page.encoding != Encoding::Delta || !matches!(presence, Presence::All) {
        return Ok(None);
    }
    between_delta(bytes, page.value_count, rows, from, to).map(Some)
}

/// A page of byte strings.
#[derive(Clone, Debug)]
pub(crate) struct BytesPage {
    bytes: Box<[u8]>,
    /// For each row where its bytes begin and end; nowhere if it has none.
    places: Box<[(u32, u32)]>,
    /// Every row is without bytes.
    is_empty: bool,
}

impl BytesPage {
    pub(super) fn read(page: Unpacked<'_>) -> Result<BytesPage> {
        if page.encoding != Encoding::Plain {
            return Err(Unfit("bytes in an encoding that is not ours"));
        }
        let (presence, bytes) = page.presence()?;
        if let Presence::None = presence {
            return Ok(BytesPage { bytes: [].into(), places: [].into(), is_empty: true });
        }
        let all = &bytes[..bytes.len() - PADDING_BYTES];
        let mut rest = all;
        let mut places = Vec::with_capacity(page.value_count);
        for row in 0..page.value_count {
            if let Presence::Some(levels) = &presence
                && levels[row] == 0
            {
                places.push((0, 0));
                continue;
            }
            let length = take_plain(&mut rest)?.len();
            let end = all.len() - rest.len();
            // A page is far below 4 GiB: its header was checked.
            places.push(((end - length) as u32, end as u32));
        }
        Ok(BytesPage { bytes: all.into(), places: places.into(), is_empty: false })
    }

    fn join(parts: &[(&BytesPage, &[usize])]) -> BytesPage {
        let is_empty = parts.iter().all(|(part, _)| part.is_empty);
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        if !is_empty {
            for row in parts.iter().flat_map(|(part, rows)| rows.iter().map(|row| part.get(*row))) {
                let from = bytes.len() as u32;
                bytes.extend_from_slice(row);
                places.push((from, bytes.len() as u32));
            }
        }
        BytesPage { bytes: bytes.into(), places: places.into(), is_empty }
    }

    /// Whether every row is without bytes.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_empty
    }

    pub(crate) fn get(&self, row: usize) -> &[u8] {
        if self.is_empty {
            return &[];
        }
        let (from, to) = self.places[row];
        &self.bytes[from as usize..to as usize]
    }
}

/// A page of a column.
#[derive(Clone, Debug)]
pub(crate) enum Page {
    Texts(TextPage),
    Ints(IntPage),
    Bytes(BytesPage),
}

impl Page {
    pub(super) fn read(
        page: Unpacked<'_>,
        form: Form,
        dictionary: Option<&AnyDictionary>,
    ) -> Result<Page> {
        match form {
            Form::Texts => TextPage::read(page, texts(dictionary)).map(Page::Texts),
            Form::Ints(form) => IntPage::read(page, form, numbers(dictionary)).map(Page::Ints),
            Form::Bytes => BytesPage::read(page).map(Page::Bytes),
        }
    }

    /// A page of some rows of a page, in ascending order; the others are not decoded where that can
    /// be left.
    pub(super) fn read_some(
        page: Unpacked<'_>,
        form: Form,
        dictionary: Option<&AnyDictionary>,
        rows: &[usize],
    ) -> Result<Page> {
        match form {
            Form::Texts => TextPage::read_some(page, texts(dictionary), rows).map(Page::Texts),
            Form::Ints(form) => {
                IntPage::read_some(page, form, numbers(dictionary), rows).map(Page::Ints)
            }
            Form::Bytes => BytesPage::read(page).map(|whole| Page::Bytes(whole).pick(rows)),
        }
    }

    /// The number of a row of a page of numbers.
    pub(crate) fn int(&self, row: usize) -> Option<i64> {
        match self {
            Page::Ints(page) => page.get(row),
            _ => None,
        }
    }

    /// A page of some rows of this one.
    pub(super) fn pick(&self, rows: &[usize]) -> Page {
        match self {
            Page::Texts(page) => Page::Texts(page.pick(rows)),
            Page::Ints(page) => Page::Ints(page.pick(rows)),
            Page::Bytes(page) => Page::Bytes(BytesPage::join(&[(page, rows)])),
        }
    }

    /// One page of several of a column, each with its number of rows.
    pub(super) fn join(parts: Vec<(Page, usize)>) -> Page {
        let (mut texts, mut ints, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        for (part, count) in parts {
            match part {
                Page::Texts(page) => texts.push((page, count)),
                Page::Ints(page) => ints.push((page, count)),
                Page::Bytes(page) => bytes.push((page, (0..count).collect::<Vec<_>>())),
            }
        }
        match (ints.is_empty(), bytes.is_empty()) {
            (false, _) => Page::Ints(IntPage::join(&ints)),
            (_, false) => {
                let parts = bytes.iter().map(|(page, rows)| (page, &**rows));
                Page::Bytes(BytesPage::join(&parts.collect::<Vec<_>>()))
            }
            _ => Page::Texts(TextPage::join(&texts)),
        }
    }

    /// What it takes in memory, without a dictionary that it shares with others.
    pub(crate) fn size_bytes(&self) -> usize {
        size_of::<Page>()
            + match self {
                Page::Texts(page) if page.is_plain => {
                    page.ids.size_bytes() + page.dictionary.size_bytes()
                }
                Page::Texts(page) => page.ids.size_bytes(),
                Page::Ints(IntPage::Constant(_)) => 0,
                Page::Ints(IntPage::Each { values, presence }) => {
                    8 * values.len() + presence.as_ref().map_or(0, |levels| levels.len())
                }
                Page::Bytes(page) => page.bytes.len() + 8 * page.places.len(),
            }
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Texts,
    Ints(IntForm),
    Bytes,
}

/// The dictionary of a column.
#[derive(Clone)]
pub(super) enum AnyDictionary {
    Texts(Arc<Dictionary>),
    Numbers(Arc<[i64]>),
}

fn texts(dictionary: Option<&AnyDictionary>) -> Option<&Arc<Dictionary>> {
    match dictionary {
        Some(AnyDictionary::Texts(texts)) => Some(texts),
        _ => None,
    }
}

fn numbers(dictionary: Option<&AnyDictionary>) -> &[i64] {
    match dictionary {
        Some(AnyDictionary::Numbers(numbers)) => numbers,
        _ => &[],
    }
}

/// A data page as it is in the file, but for compression.
pub(crate) struct Packed {
    /// Followed by [`PADDING_BYTES`].
    pub(super) bytes: Box<[u8]>,
    pub(super) value_count: usize,
    pub(super) encoding: Encoding,
    pub(super) is_optional: bool,
}

impl Packed {
    pub(super) fn unpacked(&self) -> Unpacked<'_> {
        let Packed { ref bytes, value_count, encoding, is_optional } = *self;
        Unpacked { bytes, value_count, encoding, is_optional }
    }

    pub(crate) fn size_bytes(&self) -> usize {
        size_of::<Packed>() + self.bytes.len()
    }
}

/// A page's bytes, decompressed and followed by [`PADDING_BYTES`].
#[derive(Clone, Copy)]
pub(super) struct Unpacked<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) value_count: usize,
    pub(super) encoding: Encoding,
    pub(super) is_optional: bool,
}

impl<'a> Unpacked<'a> {
    /// Which rows have a value, and the bytes of the values.
    fn presence(&self) -> Result<(Presence, &'a [u8])> {
        if !self.is_optional {
            return Ok((Presence::All, self.bytes));
        }
        let early = Unfit("a page that ends early");
        let (length, rest) = self.bytes.split_first_chunk().ok_or(early)?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > rest.len().saturating_sub(PADDING_BYTES) {
            return Err(early);
        }
        let presence = match whole_run(&rest[..length], 1, self.value_count) {
            Some(0) => Presence::None,
            Some(_) => Presence::All,
            None => {
                let mut levels = Vec::new();
                read_hybrid(rest, 1, self.value_count, &mut levels)?;
                Presence::Some(levels.into())
            }
        };
        Ok((presence, &rest[length..]))
    }
}

/// Which rows of a page have a value.
enum Presence {
    All,
    None,
    Some(Box<[u8]>),
}

impl Presence {
    fn count(&self, rows: usize) -> usize {
        match self {
            Presence::All => rows,
            Presence::None => 0,
            Presence::Some(levels) => levels.iter().filter(|level| **level != 0).count(),
        }
    }
}

impl Presence {
    /// For each of some rows, in ascending order, where among the values its own is.
    fn places(&self, rows: &[usize]) -> Vec<Option<usize>> {
        let (mut from, mut before) = (0, 0);
        let place = |row: &usize| match self {
            Presence::All => Some(*row),
            Presence::None => None,
            Presence::Some(levels) => {
                before += levels[from..*row].iter().map(|level| usize::from(*level)).sum::<usize>();
                from = *row;
                (levels[*row] != 0).then_some(before)
            }
        };
        rows.iter().map(place).collect()
    }
}

/// One value in PLAIN form.
fn take_plain<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8]> {
    let early = Unfit("a value that ends early");
    let (length, rest) = bytes.split_first_chunk().ok_or(early)?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(early)?;
    *bytes = rest;
    Ok(value)
}

fn read_fixed<const N: usize, T: Into<i64>>(
    bytes: &[u8],
    count: usize,
    value: impl Fn([u8; N]) -> T,
) -> Result<Vec<i64>> {
    let (values, _) = bytes[..bytes.len() - PADDING_BYTES].as_chunks::<N>();
    let values = values.get(..count).ok_or(Unfit("numbers that end early"))?;
    Ok(values.iter().map(|bytes| value(*bytes).into()).collect())
}

/// The value of a hybrid that is one run of at least `count`.
fn whole_run(bytes: &[u8], bits: u32, count: usize) -> Option<u32> {
    let mut thrift = Thrift { bytes, at: 0 };
    let header = thrift.varint().ok()?;
    let is_whole = header & 1 == 0 && header >> 1 >= count as u64 && bits <= u32::BITS;
    is_whole.then(|| run_value(&bytes[thrift.at..], bits)).flatten()
}

fn run_value(bytes: &[u8], bits: u32) -> Option<u32> {
    let value = bytes.get(..bits.div_ceil(8) as usize)?;
    Some(value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
}

/// The first `left` values of Parquet's hybrid of runs and bit-packed groups of eight, run by run.
struct Runs<'a> {
    bytes: Thrift<'a>,
    /// The same bytes with the padding behind them.
    padded: &'a [u8],
    bits: u32,
    left: usize,
}

enum Run<'a> {
    Same(u32, usize),
    /// Followed by [`PADDING_BYTES`].
    Packed(&'a [u8], usize),
}

impl<'a> Runs<'a> {
    /// `bytes` end with [`PADDING_BYTES`].
    fn new(bytes: &'a [u8], bits: u32, count: usize) -> Result<Runs<'a>> {
        if bits > u32::BITS {
            return Err(Unfit("ids of more than 32 bits"));
        }
        let end = bytes.len().checked_sub(PADDING_BYTES).ok_or(Self::EARLY)?;
        let thrift = Thrift { bytes: &bytes[..end], at: 0 };
        Ok(Runs { bytes: thrift, padded: bytes, bits, left: count })
    }

    const EARLY: Unfit = Unfit("ids that end early");

    fn next(&mut self) -> Result<Option<Run<'a>>> {
        if self.left == 0 {
            return Ok(None);
        }
        let header = self.bytes.varint()?;
        let (at, end, bits) = (self.bytes.at, self.bytes.bytes.len(), self.bits as usize);
        let length = usize::try_from(header >> 1).unwrap_or(usize::MAX);
        if length == 0 {
            return Err(Unfit("a run of nothing"));
        }
        // `left` is what the file's index says of the page, so that a lying run costs no more.
        let (run, count) = if header & 1 == 0 {
            let value = run_value(&self.bytes.bytes[at..], self.bits).ok_or(Self::EARLY)?;
            self.bytes.at += bits.div_ceil(8);
            let count = length.min(self.left);
            (Run::Same(value, count), count)
        } else {
            let count = length.saturating_mul(8).min(self.left);
            if (count * bits).div_ceil(8) > end - at {
                return Err(Self::EARLY);
            }
            self.bytes.at = at.saturating_add(length.saturating_mul(bits)).min(end);
            (Run::Packed(&self.padded[at..], count), count)
        };
        self.left -= count;
        Ok(Some(run))
    }
}

/// The first `count` values of a hybrid. `bytes` end with [`PADDING_BYTES`].
fn read_hybrid<T: Narrow>(
    bytes: &[u8],
    bits: u32,
    count: usize,
    values: &mut Vec<T>,
) -> Result<()> {
    values.clear();
    let mut runs = Runs::new(bytes, bits, count)?;
    while let Some(run) = runs.next()? {
        match run {
            Run::Same(value, count) => {
                values.resize(values.len() + count, T::narrow(value.into()));
            }
            Run::Packed(bytes, count) => unpack_all(bytes, bits, count, values),
        }
    }
    Ok(())
}

/// Of the first `count` values of a hybrid those at some places, which ascend.
fn pick_hybrid<'p>(
    bytes: &[u8],
    bits: u32,
    count: usize,
    places: impl Iterator<Item = &'p usize>,
) -> Result<Vec<u32>> {
    let mut runs = Runs::new(bytes, bits, count)?;
    let mut places = places.peekable();
    let mut picked = Vec::new();
    let mut from = 0;
    while places.peek().is_some() {
        let run = runs.next()?.ok_or(Runs::EARLY)?;
        let (Run::Same(_, count) | Run::Packed(_, count)) = run;
        let of_run = std::iter::from_fn(|| places.next_if(|place| **place < from + count));
        match run {
            Run::Same(value, _) => picked.extend(of_run.map(|_| value)),
            Run::Packed(bytes, _) => {
                let value = unpack(bytes, bits);
                picked.extend(of_run.map(|place| value(place - from) as u32));
            }
        }
        from += count;
    }
    Ok(picked)
}

/// A type that bit-packed values are unpacked to; the caller knows that they fit.
trait Narrow: Copy {
    fn narrow(value: u64) -> Self;
}

impl Narrow for u8 {
    fn narrow(value: u64) -> u8 {
        value as u8
    }
}

impl Narrow for u16 {
    fn narrow(value: u64) -> u16 {
        value as u16
    }
}

impl Narrow for u32 {
    fn narrow(value: u64) -> u32 {
        value as u32
    }
}

impl Narrow for u64 {
    fn narrow(value: u64) -> u64 {
        value
    }
}

/// Appends the first `count` of values of `bits` each. `bytes` hold them, and then
/// [`PADDING_BYTES`].
fn unpack_all<T: Narrow>(bytes: &[u8], bits: u32, count: usize, values: &mut Vec<T>) {
    // With a width that the compiler knows, eight values are a few instructions each, without a
    // branch: this is most of what a scan that nothing is cached for costs.
    macro_rules! of_width {
        ($($bits:literal)*) => {
            match bits {
                $($bits => unpack_groups::<$bits, T>(bytes, count / 8, values),)*
                _ => 0,
            }
        };
    }
    values.reserve(count);
    // Differences of times in microseconds have up to some forty bits.
    let done = of_width!(
        1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34
        35 36 37 38 39 40
    );
    let value = unpack(bytes, bits);
    values.extend((done..count).map(|n| T::narrow(value(n))));
}

/// Appends groups of eight values. Returns how many values that are.
fn unpack_groups<const BITS: usize, T: Narrow>(
    bytes: &[u8],
    groups: usize,
    values: &mut Vec<T>,
) -> usize {
    let mask = (1_u64 << BITS) - 1;
    for group in 0..groups {
        let bytes = &bytes[group * BITS..][..BITS + 8];
        let group: [T; 8] = std::array::from_fn(|n| {
            let (at, shift) = (n * BITS / 8, n * BITS % 8);
            let word = bytes[at..at + 8].first_chunk().expect("eight bytes");
            T::narrow(u64::from_le_bytes(*word) >> shift & mask)
        });
        values.extend_from_slice(&group);
    }
    groups * 8
}

/// The `n`-th of values of `bits` each, which lie in `bytes` and do not reach into the padding behind
/// them.
fn unpack(bytes: &[u8], bits: u32) -> impl Fn(usize) -> u64 {
    let word = |at: usize| {
        let bytes = bytes[at..at + 8].first_chunk().expect("eight bytes");
        u64::from_le_bytes(*bytes)
    };
    let bits = bits as usize;
    let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    move |n| {
        let (at, shift) = (n * bits / 8, n * bits % 8);
        let low = word(at) >> shift;
        // Seven bits may be behind the first one's byte.
        let is_in_word = bits <= 57 || shift == 0;
        let high = if is_in_word { 0 } else { u64::from(bytes[at + 8]) << (64 - shift) };
        (low | high) & mask
    }
}

enum Delta {
    Constant(i64),
    Each(Vec<i64>),
}

/// Of `count` integers in DELTA_BINARY_PACKED form the first `wanted`, or all if they are the same.
/// `bytes` end with [`PADDING_BYTES`].
fn read_delta(bytes: &[u8], count: usize, wanted: usize) -> Result<Delta> {
    let mut deltas = Deltas::new(bytes, count)?;
    let first = deltas.value;
    let mut values = Vec::new();
    let mut done = 1;
    while done < wanted {
        let part = deltas.next(wanted - done)?;
        if part.is_same() && values.is_empty() {
            // As long as nothing changes nothing is kept.
        } else {
            if values.is_empty() {
                values.reserve(wanted);
                values.resize(done, first);
            }
            values.extend(deltas.values(&part));
        }
        done += part.count;
    }
    Ok(if values.is_empty() { Delta::Constant(first) } else { Delta::Each(values) })
}

/// Of `count` integers in DELTA_BINARY_PACKED form, those at `rows` being sorted: which of `rows` are
/// `from` to `to`. Nothing behind them is decoded. `bytes` end with [`PADDING_BYTES`].
fn between_delta(
    bytes: &[u8],
    count: usize,
    rows: Range<usize>,
    from: i64,
    to: i64,
) -> Result<Range<usize>> {
    let mut deltas = Deltas::new(bytes, count)?;
    let (mut start, mut end) = (rows.start, rows.start);
    // Whether more may follow.
    let mut look = |row: usize, value: i64| {
        if row < rows.start {
            return true;
        }
        if row >= rows.end || value > to {
            return false;
        }
        end = row + 1;
        if value < from {
            start = end;
        }
        true
    };
    if !look(0, deltas.value) {
        return Ok(start..end);
    }
    let mut done = 1;
    while done < rows.end {
        let part = deltas.next(rows.end - done)?;
        let mut values = (done..).zip(deltas.values(&part));
        if done + part.count <= rows.start {
            values.for_each(drop);
        } else if !values.all(|(row, value)| look(row, value)) {
            break;
        }
        done += part.count;
    }
    Ok(start..end)
}

/// The differences of DELTA_BINARY_PACKED integers, part by part.
struct Deltas<'a> {
    thrift: Thrift<'a>,
    padded: &'a [u8],
    /// Values of a part, and parts of a block.
    per_part: usize,
    parts: usize,
    /// Of the block: how wide its parts are, how many of them are left, and its least difference.
    widths: &'a [u8],
    least: i64,
    /// The last value so far.
    value: i64,
    unpacked: Vec<u64>,
}

/// Some differences, each less the least.
struct DeltaPart<'a> {
    /// Followed by [`PADDING_BYTES`].
    bytes: &'a [u8],
    bits: u32,
    count: usize,
    least: i64,
}

impl DeltaPart<'_> {
    fn is_same(&self) -> bool {
        self.bits == 0 && self.least == 0
    }
}

impl<'a> Deltas<'a> {
    const EARLY: Unfit = Unfit("numbers that end early");

    fn new(bytes: &'a [u8], count: usize) -> Result<Deltas<'a>> {
        let end = bytes.len().checked_sub(PADDING_BYTES).ok_or(Self::EARLY)?;
        let mut thrift = Thrift { bytes: &bytes[..end], at: 0 };
        let (block, parts) = (thrift.varint()?, thrift.varint()?);
        let (total, value) = (thrift.varint()?, thrift.integer()?);
        let is_sane = block.is_multiple_of(128) && (128..=1 << 20).contains(&block);
        let per_part = block.checked_div(parts).filter(|size| size.is_multiple_of(8) && *size > 0);
        let per_part = per_part.filter(|_| is_sane && total == count as u64);
        let per_part = per_part.ok_or(Unfit("a header of numbers that is not ours"))? as usize;
        let (parts, unpacked) = (parts as usize, Vec::new());
        Ok(Deltas {
            thrift,
            padded: bytes,
            per_part,
            parts,
            widths: &[],
            least: 0,
            value,
            unpacked,
        })
    }

    /// The next part, of which no more than `wanted` are looked at.
    fn next(&mut self, wanted: usize) -> Result<DeltaPart<'a>> {
        if self.widths.is_empty() {
            self.least = self.thrift.integer()?;
            let from = self.thrift.at;
            self.thrift.skip_bytes(self.parts)?;
            self.widths = &self.padded[from..self.thrift.at];
        }
        let (bits, widths) = self.widths.split_first().ok_or(Self::EARLY)?;
        self.widths = widths;
        let (at, end) = (self.thrift.at, self.thrift.bytes.len());
        let (bits, count) = (u32::from(*bits), self.per_part.min(wanted));
        if bits > u64::BITS || (count * bits as usize).div_ceil(8) > end - at {
            return Err(Self::EARLY);
        }
        self.thrift.at = (at + self.per_part * bits as usize / 8).min(end);
        Ok(DeltaPart { bytes: &self.padded[at..], bits, count, least: self.least })
    }

    /// The values of a part; all of them must be taken before the next part.
    fn values(&mut self, part: &DeltaPart<'_>) -> impl Iterator<Item = i64> {
        self.unpacked.clear();
        match part.bits {
            0 => self.unpacked.resize(part.count, 0),
            bits => unpack_all(part.bytes, bits, part.count, &mut self.unpacked),
        }
        let (value, least) = (&mut self.value, part.least);
        self.unpacked.iter().map(move |delta| {
            *value = value.wrapping_add(least).wrapping_add(*delta as i64);
            *value
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::encoding::{
        Coding, PageKind as Kind, key_bits, put_delta, put_hybrid, put_page_header, put_plain,
        put_presence,
    };
    use super::*;
    use proptest::prelude::*;

    fn unpacked(bytes: &[u8], value_count: usize, encoding: Encoding) -> Unpacked<'_> {
        Unpacked { bytes, value_count, encoding, is_optional: true }
    }

    /// Levels, then what `put` adds, then the padding.
    fn page<T>(rows: &[Option<T>], put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let levels: Vec<u32> = rows.iter().map(|row| row.is_some().into()).collect();
        put_presence(&mut bytes, &levels);
        put(&mut bytes);
        bytes.extend_from_slice(&[0; PADDING_BYTES]);
        bytes
    }

    fn texts(page: &TextPage, count: usize) -> Vec<Option<String>> {
        (0..count).map(|row| page.get(row).map(str::to_owned)).collect()
    }

    /// Rows with runs of the same value, and often none.
    fn rows<T: Clone + std::fmt::Debug>(
        value: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Vec<Option<T>>> {
        let run = (prop::option::weighted(0.8, value), 1_usize..20);
        prop::collection::vec(run, 1..30).prop_map(|runs| {
            let rows = runs.into_iter().flat_map(|(row, count)| std::iter::repeat_n(row, count));
            rows.collect()
        })
    }

    /// Some rows of so many, in ascending order.
    fn some(of: &[bool], count: usize) -> Vec<usize> {
        (0..count).filter(|row| of[row % of.len()]).collect()
    }

    proptest! {
        /// Goal: what is written is read, whole or only some rows of it. Method: pages made by the
        /// encoder, in every encoding of texts; two of them put together.
        #[test]
        fn texts_are_read_back(
            rows in rows("[a-zé]{0,6}"),
            of in prop::collection::vec(any::<bool>(), 1..40),
        ) {
            let mut distinct: Vec<&String> = rows.iter().flatten().collect();
            distinct.sort();
            distinct.dedup();
            let mut bytes = Vec::new();
            distinct.iter().for_each(|text| put_plain(&mut bytes, text.as_bytes()));
            let dictionary = Arc::new(Dictionary::read(&bytes, distinct.len()).expect("fits"));
            let ids = rows.iter().flatten();
            let ids = ids.map(|text| distinct.binary_search(&text).expect("is there") as u32);
            let ids: Vec<u32> = ids.collect();
            let coded = page(&rows, |bytes| {
                let bits = key_bits(distinct.len());
                bytes.push(bits as u8);
                put_hybrid(bytes, &ids, bits);
            });
            let coded = unpacked(&coded, rows.len(), Encoding::Dictionary);
            let read = TextPage::read(coded, Some(&dictionary)).expect("fits");
            prop_assert_eq!(texts(&read, rows.len()), rows.clone());
            let numbers = some(&of, rows.len());
            let expected: Vec<_> = numbers.iter().map(|row| rows[*row].clone()).collect();
            let picked = TextPage::read_some(coded, Some(&dictionary), &numbers).expect("fits");
            prop_assert_eq!(texts(&picked, numbers.len()), expected.clone());
            prop_assert_eq!(texts(&read.pick(&numbers), numbers.len()), expected.clone());
            let plain = page(&rows, |bytes| {
                rows.iter().flatten().for_each(|text| put_plain(bytes, text.as_bytes()));
            });
            let plain = unpacked(&plain, rows.len(), Encoding::Plain);
            let read = TextPage::read(plain, None).expect("fits");
            prop_assert_eq!(texts(&read, rows.len()), rows.clone());
            let both = vec![(Page::Texts(picked), numbers.len()), (Page::Texts(read), rows.len())];
            let Page::Texts(both) = Page::join(both) else { panic!("texts") };
            let expected = [expected, rows.clone()].concat();
            prop_assert_eq!(texts(&both, expected.len()), expected);
            let read = BytesPage::read(plain).expect("fits");
            for (n, row) in rows.iter().enumerate() {
                prop_assert_eq!(read.get(n), row.as_deref().unwrap_or("").as_bytes());
            }
            let Page::Bytes(some) = Page::Bytes(read).pick(&numbers) else { panic!("bytes") };
            for (n, row) in numbers.iter().enumerate() {
                prop_assert_eq!(some.get(n), rows[*row].as_deref().unwrap_or("").as_bytes());
            }
        }

        /// The same of numbers, whatever their width and their differences.
        #[test]
        fn numbers_are_read_back(
            rows in prop_oneof![rows(any::<i64>()), rows(-3..1000_i64), rows(Just(7_i64))],
            is_narrow in any::<bool>(),
            of in prop::collection::vec(any::<bool>(), 1..40),
        ) {
            let narrow = |value: i64| if is_narrow { i64::from(value as i32) } else { value };
            let rows: Vec<Option<i64>> = rows.into_iter().map(|row| row.map(narrow)).collect();
            let values: Vec<i64> = rows.iter().flatten().copied().collect();
            prop_assume!(!values.is_empty());
            let bytes = page(&rows, |bytes| put_delta(bytes, &values, is_narrow));
            let form = if is_narrow { IntForm::I32 } else { IntForm::I64 };
            let page = unpacked(&bytes, rows.len(), Encoding::Delta);
            let read = IntPage::read(page, form, &[]).expect("fits");
            let found: Vec<Option<i64>> = (0..rows.len()).map(|row| read.get(row)).collect();
            prop_assert_eq!(&found, &rows);
            let numbers = some(&of, rows.len());
            let expected: Vec<_> = numbers.iter().map(|row| rows[*row]).collect();
            let picked = IntPage::read_some(page, form, &[], &numbers).expect("fits");
            let both = vec![
                (Page::Ints(picked), numbers.len()),
                (Page::Ints(read.pick(&numbers)), numbers.len()),
            ];
            let both = Page::join(both);
            let found: Vec<_> = (0..2 * numbers.len()).map(|row| both.int(row)).collect();
            let expected = [expected.clone(), expected].concat();
            // Of no pages at all nothing is said.
            prop_assert!(found == expected || numbers.is_empty());
        }

        /// Goal: the ids of a text are those of the entries that are the text. Method: entries that are
        /// parts of each other, of two others together, twice there, or empty; each compared.
        #[test]
        fn a_text_has_the_ids_of_its_entries(
            texts in prop::collection::vec("[ab]{0,4}|é", 0..30),
            wanted in "[ab]{0,4}|é",
        ) {
            let mut bytes = Vec::new();
            texts.iter().for_each(|text| put_plain(&mut bytes, text.as_bytes()));
            let dictionary = Dictionary::read(&bytes, texts.len()).expect("fits");
            let expected: Vec<usize> = (0..texts.len()).filter(|id| texts[*id] == wanted).collect();
            prop_assert_eq!(dictionary.ids_of(&wanted), expected);
        }

        /// Goal: of a target's rows those of a time range are found without decoding more than up to
        /// them. Method: a page in which some rows, which are sorted, stand between others; each row
        /// compared; the page decoded, and not.
        #[test]
        fn rows_between_two_numbers_are_found(
            before in prop::collection::vec(-500..500_i64, 0..80),
            mut sorted in prop::collection::vec(prop_oneof![-50..50_i64, -1 << 40..1_i64 << 40], 1..400),
            after in prop::collection::vec(-500..500_i64, 0..80),
            (from, to) in (-60..60_i64, -60..60_i64),
        ) {
            sorted.sort_unstable();
            let rows = before.len()..before.len() + sorted.len();
            let all = [before, sorted, after].concat();
            let is_inside = |row: &usize| from <= all[*row] && all[*row] <= to;
            let expected: Vec<usize> = rows.clone().filter(is_inside).collect();
            let optional: Vec<Option<i64>> = all.iter().copied().map(Some).collect();
            let bytes = page(&optional, |bytes| put_delta(bytes, &all, false));
            let coded = unpacked(&bytes, all.len(), Encoding::Delta);
            let packed = between(coded, rows.clone(), from, to).expect("fits");
            // That all rows of so few are there is not seen at once; then nothing is looked for.
            prop_assert!(packed.is_some() || all.len() < 16);
            if let Some(packed) = packed {
                prop_assert_eq!(packed.collect::<Vec<_>>(), &expected[..]);
            }
            let read = IntPage::read(coded, IntForm::I64, &[]).expect("fits");
            prop_assert_eq!(read.between(rows, from, to).collect::<Vec<_>>(), expected);
        }

        /// Goal: bit-packed values come out as they went in, whichever width and whichever path.
        /// Method: the encoder, read whole, into wider types, and value by value.
        #[test]
        fn ids_of_every_width_are_read_back(
            bits in 1_u32..=32,
            seeds in prop::collection::vec((any::<u32>(), 1_usize..30), 1..40),
            of in prop::collection::vec(any::<bool>(), 1..40),
        ) {
            let cut = |value: u32| value >> (32 - bits);
            let runs = seeds.into_iter();
            let ids: Vec<u32> =
                runs.flat_map(|(id, count)| std::iter::repeat_n(cut(id), count)).collect();
            let mut bytes = Vec::new();
            put_hybrid(&mut bytes, &ids, bits);
            bytes.extend_from_slice(&[0; PADDING_BYTES]);
            let mut read: Vec<u32> = Vec::new();
            read_hybrid(&bytes, bits, ids.len(), &mut read).expect("fits");
            prop_assert_eq!(&read, &ids);
            let places = some(&of, ids.len());
            let picked = pick_hybrid(&bytes, bits, ids.len(), places.iter()).expect("fits");
            let expected: Vec<u32> = places.iter().map(|place| ids[*place]).collect();
            prop_assert_eq!(picked, expected);
        }

        /// Goal: whatever stands in a page, reading it ends, without a panic. Method: pages of the
        /// encoder with some bytes changed, cut or invented, and each decoder on each of them.
        #[test]
        fn a_damaged_page_is_unfit_or_some_other_page(
            rows in rows(-3..1000_i64),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            cut in prop::option::of(any::<prop::sample::Index>()),
            coding in 0..3_u8,
            count in prop::option::of(0..5000_usize),
        ) {
            let values: Vec<i64> = rows.iter().flatten().copied().collect();
            let mut bytes = page(&rows, |bytes| match coding {
                0 => put_delta(bytes, &values, false),
                1 => {
                    bytes.push(4);
                    let ids: Vec<u32> = values.iter().map(|value| *value as u32 % 16).collect();
                    put_hybrid(bytes, &ids, 4);
                }
                _ => values.iter().for_each(|value| put_plain(bytes, &value.to_le_bytes())),
            });
            bytes.truncate(bytes.len() - PADDING_BYTES);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let _ = PageHeader::read(&bytes);
            let dictionary = Dictionary::read(&bytes, rows.len()).map(Arc::new).ok();
            let numbers = number_dictionary(&bytes, 3, IntForm::I64).unwrap_or_default();
            bytes.extend_from_slice(&[0; PADDING_BYTES]);
            let count = count.unwrap_or(rows.len());
            for encoding in [Encoding::Plain, Encoding::Rle, Encoding::Delta, Encoding::Dictionary] {
                for is_optional in [false, true] {
                    let page = Unpacked { bytes: &bytes, value_count: count, encoding, is_optional };
                    let some: Vec<usize> = (0..count).step_by(7).collect();
                    let _ = between(page, count / 3..count, -2, 500);
                    let _ = TextPage::read_some(page, dictionary.as_ref(), &some);
                    if let Ok(page) = TextPage::read(page, dictionary.as_ref()) {
                        assert!((0..count).all(|row| page.shared(row) == page.shared(row)));
                    }
                    for form in [IntForm::Flag, IntForm::I32, IntForm::I64] {
                        let _ = IntPage::read_some(page, form, &numbers, &some);
                        if let Ok(page) = IntPage::read(page, form, &numbers) {
                            assert!((0..count).all(|row| page.get(row) == page.get(row)));
                        }
                    }
                    if let Ok(page) = BytesPage::read(page) {
                        assert!((0..count).all(|row| page.get(row) == page.get(row)));
                    }
                }
            }
        }

        /// A header with any bytes changed is another one or none.
        #[test]
        fn a_damaged_header_never_panics(
            sizes in (0..5000_usize, 0..5000_usize, 0..5000_usize),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = Vec::new();
            put_page_header(&mut bytes, Kind::Data, (sizes.0, sizes.1), sizes.2, Coding::Delta);
            let (header, length) = PageHeader::read(&bytes).expect("fits");
            let expected = PageHeader {
                kind: PageKind::Data,
                size_bytes: sizes.0,
                compressed_size_bytes: sizes.1,
                crc: None,
                value_count: sizes.2,
                encoding: Encoding::Delta,
            };
            prop_assert_eq!((header, length), (expected, bytes.len()));
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = PageHeader::read(&bytes);
        }
    }
}

//! The pages of our Parquet files, from bytes to columns.
//!
//! Texts stay numbers into a dictionary, so that a filter looks at each text once and not at each
//! row; a page in which every row has the same value is one value, however many rows it has. Covered
//! is what [`super::write`] has ever written: data pages of version 1, one row group, no nesting,
//! `RLE_DICTIONARY` and `PLAIN` texts, `PLAIN` bytes, `DELTA_BINARY_PACKED`, `RLE_DICTIONARY` and
//! `PLAIN` integers, `PLAIN` and `RLE` flags. Bytes that do not fit are [`Unfit`], never a panic, and cost no more memory than a
//! page may have.

use std::sync::{Arc, OnceLock};

use doorbook_event::Text;

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

    fn of(ids: &[u32], greatest: usize) -> Ids {
        match ids.first() {
            None => Ids::Constant(0),
            Some(first) if ids.iter().all(|id| id == first) => Ids::Constant(*first),
            _ if greatest <= u8::MAX.into() => Ids::U8(ids.iter().map(|id| *id as u8).collect()),
            _ if greatest <= u16::MAX.into() => Ids::U16(ids.iter().map(|id| *id as u16).collect()),
            _ => Ids::U32(ids.into()),
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
                    Presence::All => Ids::of(&(0..present as u32).collect::<Vec<_>>(), present),
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
                        Ids::of(&ids.collect::<Vec<_>>(), present)
                    }
                };
                Ok(TextPage { ids, dictionary: Arc::new(dictionary), is_plain: true })
            }
            Encoding::Rle | Encoding::Delta => Err(Unfit("texts in an encoding that is not ours")),
        }
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
    let mut ids = Vec::new();
    read_hybrid(bytes, (*bits).into(), present, &mut ids)?;
    if ids.iter().max().is_some_and(|id| *id as usize >= absent) {
        return Err(Unfit("an id beyond the dictionary"));
    }
    if let Presence::Some(levels) = presence {
        let mut next = ids.iter();
        let spread = levels.iter().map(|is_present| match is_present {
            0 => absent as u32,
            _ => next.next().copied().unwrap_or(absent as u32),
        });
        return Ok(Ids::of(&spread.collect::<Vec<_>>(), absent));
    }
    Ok(Ids::of(&ids, absent))
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
                let values = match read_delta(bytes, present)? {
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
                let mut flags = Vec::new();
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
                Presence::Some(levels.iter().map(|level| *level as u8).collect())
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

/// Appends `count` values of Parquet's hybrid of runs and bit-packed groups of eight. `bytes` end
/// with [`PADDING_BYTES`].
fn read_hybrid(bytes: &[u8], bits: u32, count: usize, values: &mut Vec<u32>) -> Result<()> {
    let early = Unfit("ids that end early");
    if bits > u32::BITS {
        return Err(Unfit("ids of more than 32 bits"));
    }
    let end = bytes.len().checked_sub(PADDING_BYTES).ok_or(early)?;
    let mut thrift = Thrift { bytes: &bytes[..end], at: 0 };
    values.clear();
    while values.len() < count {
        let left = count - values.len();
        let header = thrift.varint()?;
        let length = usize::try_from(header >> 1).unwrap_or(usize::MAX);
        if length == 0 {
            return Err(Unfit("a run of nothing"));
        }
        if header & 1 == 0 {
            let value = run_value(&bytes[thrift.at..end], bits).ok_or(early)?;
            thrift.at += bits.div_ceil(8) as usize;
            // `count` is what the file's index says of the page, so that a lying run costs no more.
            values.resize(values.len() + length.min(left), value);
        } else {
            let wanted = length.saturating_mul(8).min(left);
            if (wanted * bits as usize).div_ceil(8) > end - thrift.at {
                return Err(early);
            }
            let packed = &bytes[thrift.at..];
            let value = unpack(packed, bits);
            values.extend((0..wanted).map(|n| value(n) as u32));
            let size = length.saturating_mul(bits as usize);
            thrift.at = thrift.at.saturating_add(size).min(end);
        }
    }
    Ok(())
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

/// `count` integers in DELTA_BINARY_PACKED form. `bytes` end with [`PADDING_BYTES`].
fn read_delta(bytes: &[u8], count: usize) -> Result<Delta> {
    let early = Unfit("numbers that end early");
    let end = bytes.len().checked_sub(PADDING_BYTES).ok_or(early)?;
    let mut thrift = Thrift { bytes: &bytes[..end], at: 0 };
    let (block, parts) = (thrift.varint()?, thrift.varint()?);
    let (total, first) = (thrift.varint()?, thrift.integer()?);
    let is_sane = block.is_multiple_of(128) && (128..=1 << 20).contains(&block);
    let per_part = block.checked_div(parts).filter(|size| size.is_multiple_of(8) && *size > 0);
    let per_part = per_part.filter(|_| is_sane && total == count as u64);
    let per_part = per_part.ok_or(Unfit("a header of numbers that is not ours"))? as usize;
    let parts = parts as usize;

    let mut values = Vec::new();
    let mut value = first;
    let mut done = 1;
    while done < count {
        let least = thrift.integer()?;
        let widths_at = thrift.at;
        thrift.skip_bytes(parts)?;
        for part in 0..parts {
            if done >= count {
                break;
            }
            let bits = u32::from(bytes[widths_at + part]);
            let wanted = per_part.min(count - done);
            if bits > u64::BITS || (wanted * bits as usize).div_ceil(8) > end - thrift.at {
                return Err(early);
            }
            if bits == 0 && least == 0 && values.is_empty() {
                // As long as nothing changes nothing is kept.
            } else {
                if values.is_empty() {
                    values.reserve(count);
                    values.resize(done, first);
                }
                let delta = unpack(&bytes[thrift.at..], bits);
                values.extend((0..wanted).map(|n| {
                    value = value.wrapping_add(least).wrapping_add(delta(n) as i64);
                    value
                }));
            }
            done += wanted;
            let size = per_part * bits as usize / 8;
            thrift.at = (thrift.at + size).min(end);
        }
    }
    Ok(if values.is_empty() { Delta::Constant(first) } else { Delta::Each(values) })
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

    proptest! {
        /// Goal: what is written is read. Method: pages made by the encoder, in every encoding of
        /// texts.
        #[test]
        fn texts_are_read_back(rows in rows("[a-zé]{0,6}")) {
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
            let plain = page(&rows, |bytes| {
                rows.iter().flatten().for_each(|text| put_plain(bytes, text.as_bytes()));
            });
            let plain = unpacked(&plain, rows.len(), Encoding::Plain);
            let read = TextPage::read(plain, None).expect("fits");
            prop_assert_eq!(texts(&read, rows.len()), rows.clone());
            let read = BytesPage::read(plain).expect("fits");
            for (n, row) in rows.iter().enumerate() {
                prop_assert_eq!(read.get(n), row.as_deref().unwrap_or("").as_bytes());
            }
        }

        /// The same of numbers, whatever their width and their differences.
        #[test]
        fn numbers_are_read_back(
            rows in prop_oneof![rows(any::<i64>()), rows(-3..1000_i64), rows(Just(7_i64))],
            is_narrow in any::<bool>(),
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
            prop_assert_eq!(found, rows);
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
                    if let Ok(page) = TextPage::read(page, dictionary.as_ref()) {
                        assert!((0..count).all(|row| page.shared(row) == page.shared(row)));
                    }
                    for form in [IntForm::Flag, IntForm::I32, IntForm::I64] {
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

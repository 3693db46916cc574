//! The pages of our Parquet files, from bytes to columns.
//!
//! Texts stay numbers into a dictionary, so that a filter looks at each text once and not at each
//! row; a page in which every row has the same value is one value, however many rows it has. Covered
//! is what [`super::write()`] has ever written: data pages of version 1, one row group, no nesting,
//! `RLE_DICTIONARY` and `PLAIN` texts, `PLAIN` bytes, `DELTA_BINARY_PACKED`, `RLE_DICTIONARY` and
//! `PLAIN` integers, `PLAIN` and `RLE` flags. Bytes that do not fit are [`Unfit`], never a panic, and
//! cost no more memory than a page may have.
//!
//! Suggested reading order: [`header`]; here, what a [`Page`] is; [`text`], [`number`] and [`bytes`]; then
//! the encodings below them, [`hybrid`], [`delta`] and [`bits`].

mod bits;
mod bytes;
mod delta;
mod header;
mod hybrid;
mod number;
#[cfg(test)]
mod tests;
mod text;

use std::sync::Arc;

pub(crate) use self::bytes::BytesPage;
pub(super) use self::header::{Encoding, PageHeader, PageKind};
use self::hybrid::{read_hybrid, whole_run};
pub(super) use self::number::{IntForm, between, number_dictionary};
pub(crate) use self::number::{IntPage, partition_point};
pub(crate) use self::text::{Dictionary, Ids, TextPage};

/// Why a page is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit(pub(crate) &'static str);

type Result<T> = std::result::Result<T, Unfit>;

/// Bytes that must follow a page in its buffer, so that whole words can be read up to its end.
pub(super) const PADDING_BYTES: usize = 8;

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
                Page::Texts(page) => page.size_bytes(),
                Page::Ints(page) => page.size_bytes(),
                Page::Bytes(page) => page.size_bytes(),
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

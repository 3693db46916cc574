//! Columns of integers and of flags.

use std::ops::Range;

use super::delta::{Delta, between_delta, read_delta};
use super::hybrid::read_hybrid;
use super::text::{Ids, read_ids};
use super::{Encoding, PADDING_BYTES, Presence, Result, Unfit, Unpacked};

/// A page of integers or flags.
#[derive(Clone, Debug)]
pub(crate) enum IntPage {
    /// Every row has the same, or none.
    Constant(Option<i64>),
    /// For each row its value, or 0; and, where rows lack one, for each row whether it has one.
    Each { values: Box<[i64]>, presence: Option<Box<[u8]>> },
}

/// The type of a column of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::segment) enum IntForm {
    Flag,
    I32,
    I64,
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
    pub(super) fn read_some(
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
    pub(in crate::segment) fn between(
        &self,
        rows: Range<usize>,
        from: i64,
        to: i64,
    ) -> Range<usize> {
        let number = |row| self.get(row).unwrap_or(0);
        let start = partition_point(rows.clone(), |row| number(row) < from);
        start..partition_point(start..rows.end, |row| number(row) <= to)
    }

    /// Those of some rows.
    pub(super) fn pick(&self, rows: &[usize]) -> IntPage {
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

    /// One page of several, each with its number of rows.
    pub(super) fn join(parts: &[(IntPage, usize)]) -> IntPage {
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

    /// What it takes in memory, beside itself.
    pub(super) fn size_bytes(&self) -> usize {
        match self {
            IntPage::Constant(_) => 0,
            IntPage::Each { values, presence } => {
                8 * values.len() + presence.as_ref().map_or(0, |levels| levels.len())
            }
        }
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

/// A dictionary of numbers.
pub(in crate::segment) fn number_dictionary(
    bytes: &[u8],
    count: usize,
    form: IntForm,
) -> Result<Vec<i64>> {
    let padded = [bytes, &[0; PADDING_BYTES]].concat();
    match form {
        IntForm::I32 => read_fixed(&padded, count, i32::from_le_bytes),
        IntForm::I64 => read_fixed(&padded, count, i64::from_le_bytes),
        IntForm::Flag => Err(Unfit("a dictionary of flags")),
    }
}

/// Of some rows of a page, whose numbers are sorted, those `from` to `to`; `None` if the page is in an
/// encoding in which looking for them is not cheaper than decoding it.
pub(in crate::segment) fn between(
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

fn read_fixed<const N: usize, T: Into<i64>>(
    bytes: &[u8],
    count: usize,
    value: impl Fn([u8; N]) -> T,
) -> Result<Vec<i64>> {
    let (values, _) = bytes[..bytes.len() - PADDING_BYTES].as_chunks::<N>();
    let values = values.get(..count).ok_or(Unfit("numbers that end early"))?;
    Ok(values.iter().map(|bytes| value(*bytes).into()).collect())
}

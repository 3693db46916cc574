//! Columns of texts: numbers into a dictionary.

use std::sync::{Arc, OnceLock};

use doorbook_event::Text;
use memchr::memmem::Finder;

use super::bits::Narrow;
use super::hybrid::{pick_hybrid, read_hybrid, whole_run};
use super::{Encoding, PADDING_BYTES, Presence, Result, Unfit, Unpacked, take_plain};

/// A page of texts.
#[derive(Clone, Debug)]
pub(crate) struct TextPage {
    pub(crate) ids: Ids,
    pub(crate) dictionary: Arc<Dictionary>,
    /// The dictionary is of this page alone, which has its texts in full.
    pub(crate) is_plain: bool,
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

/// A number for each row, none greater than the length of its dictionary, which means no value.
#[derive(Clone, Debug)]
pub(crate) enum Ids {
    /// Every row has the same.
    Constant(u32),
    U8(Box<[u8]>),
    U16(Box<[u16]>),
    U32(Box<[u32]>),
}

impl TextPage {
    /// A page in which no row has a value.
    pub(in crate::segment) fn absent() -> TextPage {
        let dictionary =
            Dictionary { texts: String::new(), offsets: [0].into(), shared: [].into() };
        TextPage { ids: Ids::Constant(0), dictionary: Arc::new(dictionary), is_plain: false }
    }

    pub(in crate::segment) fn read(
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
    pub(super) fn read_some(
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

    /// Those of some rows.
    pub(super) fn pick(&self, rows: &[usize]) -> TextPage {
        TextPage { ids: self.ids.pick(rows), ..self.clone() }
    }

    /// One page of several, each with its number of rows.
    pub(super) fn join(parts: &[(TextPage, usize)]) -> TextPage {
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

    /// What it takes in memory, beside itself and a dictionary that it shares with others.
    pub(super) fn size_bytes(&self) -> usize {
        let own = if self.is_plain { self.dictionary.size_bytes() } else { 0 };
        self.ids.size_bytes() + own
    }

    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        self.dictionary.get(self.ids.get(row))
    }

    pub(crate) fn shared(&self, row: usize) -> Option<Text> {
        self.dictionary.shared(self.ids.get(row))
    }
}

impl Dictionary {
    /// From `count` values in PLAIN form.
    pub(in crate::segment) fn read(bytes: &[u8], count: usize) -> Result<Dictionary> {
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

/// Ids of a page; those of rows without a value are `absent`, one more than the dictionary's last.
pub(super) fn read_ids(
    bytes: &[u8],
    presence: &Presence,
    rows: usize,
    absent: usize,
) -> Result<Ids> {
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

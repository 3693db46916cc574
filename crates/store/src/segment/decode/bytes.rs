//! Columns of byte strings.

use super::{Encoding, PADDING_BYTES, Presence, Result, Unfit, Unpacked, take_plain};

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

    /// One page of some rows of several.
    pub(super) fn join(parts: &[(&BytesPage, &[usize])]) -> BytesPage {
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

    /// What it takes in memory, beside itself.
    pub(super) fn size_bytes(&self) -> usize {
        self.bytes.len() + 8 * self.places.len()
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

//! Strings that repeat: mechanisms, databases, users, reasons. One allocation for all of them.

use doorbook_event::Text;

/// 4096 strings, each in the slot of its hash; a newcomer replaces what is there. Nothing grows,
/// and the worst that chosen names can do is what would happen without the table.
const SLOTS: usize = 4096;

/// Longer strings do not repeat enough to be kept.
const LENGTH_MAX: usize = 128;

/// Strings that were seen.
#[derive(Debug)]
pub struct Texts {
    slots: Vec<Option<Text>>,
}

impl Default for Texts {
    fn default() -> Texts {
        Texts { slots: vec![None; SLOTS] }
    }
}

impl Texts {
    /// The text of `bytes`, shared if it was seen before.
    pub fn text(&mut self, bytes: &[u8]) -> Text {
        if bytes.len() > LENGTH_MAX {
            return Text::from_bytes_lossy(bytes);
        }
        let slot = &mut self.slots[slot(bytes, SLOTS)];
        match slot {
            Some(known) if known.as_bytes() == bytes => known.clone(),
            _ => slot.insert(Text::from_bytes_lossy(bytes)).clone(),
        }
    }
}

/// Where in a table of `slots` (a power of two) `bytes` belong.
pub fn slot(bytes: &[u8], slots: usize) -> usize {
    // The upper bits depend on every input bit; masking keeps the value below `slots`.
    (hash(bytes) >> 40) as usize & (slots - 1)
}

/// A number that differs for different `bytes` unless someone takes pains.
pub fn hash(bytes: &[u8]) -> u64 {
    // Four independent products at a time: a chain of them would be as long as the text.
    let mut lanes = [bytes.len() as u64, 1, 2, 3];
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = mix(*lane, u64::from_le_bytes(*word));
        }
    }
    let mut last = [0; 32];
    last[..rest.len()].copy_from_slice(rest);
    let (words, _) = last.as_chunks::<8>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        *lane = mix(*lane, u64::from_le_bytes(*word));
    }
    lanes.into_iter().reduce(mix).unwrap_or_default()
}

fn mix(lane: u64, word: u64) -> u64 {
    (lane.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_share_one_text() {
        let mut texts = Texts::default();
        for bytes in [&b"admin"[..], b"", b"\xff\xfe", b"SCRAM-SHA-256", &[b'B'; 300]] {
            assert_eq!(texts.text(bytes), Text::from_bytes_lossy(bytes));
            assert_eq!(texts.text(bytes), Text::from_bytes_lossy(bytes));
        }
        // More than there are slots: they replace one another and are never mistaken.
        for number in 0..2 * SLOTS {
            let name = format!("user-{number}");
            assert_eq!(texts.text(name.as_bytes()).as_str(), name);
        }
        let (first, second) = (texts.text(b"admin"), texts.text(b"admin"));
        assert!(std::ptr::eq(first.as_str(), second.as_str()));
    }
}

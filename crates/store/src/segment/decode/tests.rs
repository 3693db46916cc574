//! What the encoder writes is read, and what nobody writes is no panic.

use proptest::prelude::*;

use super::hybrid::pick_hybrid;
use super::*;
use crate::segment::encoding::{
    Coding, PageKind as Kind, key_bits, put_delta, put_hybrid, put_page_header, put_plain,
    put_presence,
};

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

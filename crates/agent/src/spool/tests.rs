//! Goal: what is kept is there after any end of the process or the machine, and what is bounded stays so.
//! Method: a disk in memory that tears, forgets and fills up; the property test of the whole way is in
//! `crate::tests`.

use super::*;
use crate::tests::{MemoryDisk, advance, place};

const LIMIT_BYTES: u64 = 4096;

fn open(disk: &MemoryDisk) -> Opened {
    Spool::open(Box::new(disk.clone()), LIMIT_BYTES).expect("opens")
}

/// With room for all of a test in one file.
fn open_large(disk: &MemoryDisk) -> Opened {
    Spool::open(Box::new(disk.clone()), 1 << 20).expect("opens")
}

fn ids(spool: &Spool) -> Vec<(String, u64)> {
    let entries = spool.oldest(usize::MAX).expect("reads");
    let read = |one: Outgoing| {
        let bytes = one.bytes.expect("whole");
        let advance = shipment::read_advance(&bytes).expect("an advance");
        (one.source.to_string(), crate::tests::number(&advance.position))
    };
    entries.into_iter().map(read).collect()
}

fn named(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

/// Each is kept once, on top of the one before, and is there in order after a restart.
#[test]
fn what_is_kept_is_kept_in_order() {
    let disk = MemoryDisk::default();
    let mut spool = open(&disk).spool;
    let kept = spool.append(&[advance("a", 0, 3), advance("b", 0, 1), advance("a", 3, 4)]);
    assert_eq!(kept.expect("kept"), [Kept::Stored; 3]);
    let kept = spool.append(&[advance("a", 3, 5), advance("b", 1, 2)]).expect("kept");
    assert_eq!(kept, [Kept::Elsewhere, Kept::Stored]);
    let expected = named(&[("a", 3), ("b", 1), ("a", 4), ("b", 2)]);
    assert_eq!(ids(&spool), expected);
    let opened = open(&disk);
    assert_eq!((ids(&opened.spool), opened.cut_bytes), (expected, 0));
    assert_eq!(opened.spool.place("a"), Some(&place(4)));
    assert_eq!(opened.spool.place("c"), None);
}

/// What was answered goes, file by file, and where sources are stays known.
#[test]
fn files_go_when_nothing_in_them_waits() {
    let disk = MemoryDisk::default();
    let mut spool = open(&disk).spool;
    for n in 0..20 {
        spool.append(&[advance("a", n, n + 1)]).expect("kept");
    }
    let n_files = disk.names().expect("lists").len();
    assert!(n_files > 5, "{n_files}");
    for one in spool.oldest(usize::MAX).expect("reads") {
        spool.drop_entry(one.id);
        assert!(!spool.has_entry(one.id));
    }
    assert!(spool.is_empty());
    assert_eq!(disk.names().expect("lists").len(), 1);
    assert_eq!(open(&disk).spool.place("a"), Some(&place(20)));
}

/// Goal: the bound is one. Method: until it is full, and further.
#[test]
fn a_full_spool_takes_nothing_and_goes_on_when_there_is_room() {
    let disk = MemoryDisk::default();
    let mut spool = open(&disk).spool;
    let mut n = 0;
    while spool.append(&[advance("a", n, n + 1)]).is_ok() {
        n += 1;
        assert!(spool.size_bytes() <= LIMIT_BYTES + 200, "{}", spool.size_bytes());
    }
    assert!(n > 10);
    assert!(matches!(spool.append(&[advance("a", n, n + 1)]), Err(Error::Full)));
    assert_eq!(spool.place("a"), Some(&place(n)));
    for one in spool.oldest(1000).expect("reads") {
        spool.drop_entry(one.id);
    }
    assert_eq!(spool.append(&[advance("a", n, n + 1)]).expect("kept"), [Kept::Stored]);
}

/// Goal: a full disk loses nothing that was kept, and nothing half written is taken for whole. Method: a
/// disk that ends after each number of bytes.
#[test]
fn a_full_disk_is_waited_for() {
    for room_bytes in (0..400).step_by(7) {
        let disk = MemoryDisk::default();
        let mut spool = open(&disk).spool;
        spool.append(&[advance("a", 0, 1)]).expect("kept");
        disk.set_room(Some(room_bytes));
        let mut n = 1;
        while spool.append(&[advance("a", n, n + 1)]).is_ok() {
            n += 1;
        }
        let again = open(&disk.clone_as_it_is());
        assert_eq!(again.cut_bytes, 0, "what was written in part takes no room");
        assert_eq!(
            again.spool.place("a").map(|place| crate::tests::number(&place.position)),
            Some(n)
        );
        disk.set_room(None);
        spool.append(&[advance("a", n, n + 1)]).expect("kept");
        let opened = open(&disk);
        let expected: Vec<_> = (1..=n + 1).map(|n| ("a".to_owned(), n)).collect();
        assert_eq!((ids(&opened.spool), opened.cut_bytes), (expected, 0), "{room_bytes}");
    }
}

/// Goal: a file that ends anywhere, or is damaged anywhere, gives what was whole before. Method: each
/// length, and each byte changed.
#[test]
fn what_is_not_whole_is_cut_off() {
    let whole = MemoryDisk::default();
    let mut spool = open_large(&whole).spool;
    spool.append(&[advance("a", 0, 1)]).expect("kept");
    spool.append(&[advance("a", 1, 2), advance("b", 0, 1)]).expect("kept");
    spool.void(&"a".into(), &place(7));
    spool.append(&[advance("a", 7, 8)]).expect("kept");
    let all = [
        named(&[]),
        named(&[("a", 1)]),
        named(&[("a", 1), ("a", 2)]),
        named(&[("a", 1), ("a", 2), ("b", 1)]),
        named(&[("b", 1)]),
        named(&[("b", 1), ("a", 8)]),
    ];
    let name = whole.names().expect("lists")[0].clone();
    let length = whole.read(&name, 0, u64::MAX).expect("reads").len();
    let mut seen = std::collections::BTreeSet::new();
    for at in 0..=length {
        for is_cut in [true, false].into_iter().filter(|is_cut| *is_cut || at < length) {
            let disk = whole.clone_as_it_is();
            match is_cut {
                true => disk.damage(&name, |bytes| bytes.truncate(at)),
                false => disk.damage(&name, |bytes| bytes[at] ^= 0x41),
            }
            let opened = open_large(&disk);
            let found = ids(&opened.spool);
            assert!(all.contains(&found), "{at} {is_cut}: {found:?}");
            seen.insert(found);
            // What was cut off stays so.
            assert_eq!(open_large(&disk).cut_bytes, 0);
        }
    }
    assert_eq!(seen.len(), all.len());
}

/// What the disk changes while the agent runs is not sent.
#[test]
fn what_is_damaged_later_is_seen() {
    let disk = MemoryDisk::default();
    let mut spool = open(&disk).spool;
    spool.append(&[advance("a", 0, 1)]).expect("kept");
    let name = disk.names().expect("lists")[0].clone();
    disk.damage(&name, |bytes| *bytes.last_mut().expect("some") ^= 1);
    assert!(spool.oldest(9).expect("reads")[0].bytes.is_none());
}

/// Goal: what the server says of a place is understood. Method: a chain, and each answer that there can be.
#[test]
fn a_source_is_brought_to_where_the_server_has_it() {
    let chain = || {
        let mut spool = open(&MemoryDisk::default()).spool;
        let chain =
            [advance("a", 0, 1), advance("a", 1, 2), advance("b", 0, 1), advance("a", 2, 3)];
        spool.append(&chain).expect("kept");
        spool
    };
    let of_b = named(&[("b", 1)]);
    let whole = named(&[("a", 1), ("a", 2), ("b", 1), ("a", 3)]);
    let last = named(&[("b", 1), ("a", 3)]);
    // (where, whether it is void by `meet` and by `pass`, what waits after each)
    for (n, void_by_meet, void_by_pass, after_meet, after_pass) in [
        (0, false, true, &whole, &of_b),
        (2, false, false, &last, &last),
        (3, false, false, &of_b, &of_b),
        (9, true, true, &of_b, &of_b),
    ] {
        let mut spool = chain();
        assert_eq!(spool.meet(&"a".into(), &place(n)), void_by_meet, "{n}");
        assert_eq!(ids(&spool), *after_meet, "{n}");
        let mut spool = chain();
        let first = spool.oldest(1).expect("reads")[0].id;
        assert_eq!(spool.pass(first, &place(n)), void_by_pass, "{n}");
        assert_eq!(ids(&spool), *after_pass, "{n}");
        let expected = if void_by_pass { n } else { 3 };
        assert_eq!(spool.place("a"), Some(&place(expected)));
    }
}

/// A gap that was told where the source stood is not taken for stored because the server stands there.
#[test]
fn what_stands_still_is_shipped_too() {
    let mut spool = open(&MemoryDisk::default()).spool;
    let chain = [advance("a", 0, 1), advance("a", 1, 1), advance("a", 1, 2)];
    spool.append(&chain).expect("kept");
    assert!(!spool.meet(&"a".into(), &place(1)));
    assert_eq!(ids(&spool), named(&[("a", 1), ("a", 2)]));
    assert!(!spool.meet(&"a".into(), &place(1)));
    assert!(!spool.meet(&"a".into(), &place(2)));
    assert!(spool.is_empty());
}

#[test]
fn what_to_follow_is_remembered_whole_or_not_at_all() {
    let disk = MemoryDisk::default();
    let mut spool = open(&disk).spool;
    assert_eq!(spool.recall_orders(), None);
    spool.remember_orders(b"orders").expect("kept");
    assert_eq!(open(&disk).spool.recall_orders().as_deref(), Some(&b"orders"[..]));
    disk.damage("orders", |bytes| bytes.truncate(9));
    assert_eq!(spool.recall_orders(), None);
}

/// Two agents would tear each other's files.
#[test]
fn a_spool_has_one_owner() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("spool");
    let folder = folder::SystemFolder::open(&path).expect("opens");
    let refused = folder::SystemFolder::open(&path).err().expect("is refused");
    assert!(refused.to_string().contains("another agent"), "{refused}");
    let mut spool = Spool::open(Box::new(folder), LIMIT_BYTES).expect("opens").spool;
    spool.append(&[advance("a", 0, 1)]).expect("kept");
    spool.remember_orders(b"orders").expect("kept");
    drop(spool);
    let folder = folder::SystemFolder::open(&path).expect("opens");
    let spool = Spool::open(Box::new(folder), LIMIT_BYTES).expect("opens").spool;
    assert_eq!(ids(&spool), named(&[("a", 1)]));
    assert_eq!(spool.recall_orders().as_deref(), Some(&b"orders"[..]));
    use std::os::unix::fs::PermissionsExt;
    for entry in std::fs::read_dir(&path).expect("lists") {
        let mode = entry.and_then(|entry| entry.metadata()).expect("is there").permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}

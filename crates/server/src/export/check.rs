//! Whether what claims to be an export is one: its directory is there, and its rows are those that its manifest
//! tells of. It reads what [`super::archive`] writes, and no other archives.

use std::io::{self, Read, Seek, SeekFrom, Write};

use flate2::CrcReader;
use flate2::read::DeflateDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::archive::{DIRECTORY_BYTES_MAX, END_BYTES, ENTRY_BYTES, LOCAL_BYTES};
use super::{Exported, Hashed, MANIFEST};

/// A manifest is not longer: a thousand gaps and a filter.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// What the rows of an archive are, if it is whole.
pub fn check(archive: &mut (impl Read + Seek)) -> io::Result<Exported> {
    let [rows, manifest] = members(archive)?;
    let mut text = Vec::new();
    manifest.read(archive, &mut text)?;
    let told: Told = serde_json::from_slice(&text).map_err(|_| broken("its manifest is none"))?;
    if (&*rows.name, &*manifest.name) != (&*told.file, MANIFEST) {
        return Err(broken("its members are not those of an export"));
    }
    let mut sum = Hashed { out: io::sink(), sha256: Sha256::new(), bytes: 0 };
    rows.read(archive, &mut sum)?;
    let sha256 = hex::encode(sum.sha256.finalize());
    match (&sha256, sum.bytes) == (&told.sha256, told.size_bytes) {
        true => Ok(Exported { rows: told.count, sha256 }),
        false => Err(broken("its rows are not those that its manifest tells of")),
    }
}

/// What is looked at of a manifest.
#[derive(Deserialize)]
struct Told {
    file: String,
    count: u64,
    size_bytes: u64,
    sha256: String,
}

/// A member, as the directory has it.
struct Member {
    name: String,
    crc32: u32,
    size_bytes: u64,
    compressed_bytes: u64,
    offset: u64,
}

impl Member {
    fn read(&self, archive: &mut (impl Read + Seek), out: &mut impl Write) -> io::Result<()> {
        if self.name == MANIFEST && self.size_bytes > MANIFEST_BYTES_MAX {
            return Err(broken("its manifest is too long"));
        }
        let header = LOCAL_BYTES as u64 + self.name.len() as u64;
        archive.seek(SeekFrom::Start(self.offset.saturating_add(header)))?;
        let packed = archive.take(self.compressed_bytes);
        let mut plain = CrcReader::new(DeflateDecoder::new(packed));
        let size_bytes = io::copy(&mut (&mut plain).take(self.size_bytes), out)?;
        match (size_bytes, plain.crc().sum()) == (self.size_bytes, self.crc32) {
            true => Ok(()),
            false => Err(broken("it is damaged")),
        }
    }
}

/// The two members, by the directory at the end.
fn members(archive: &mut (impl Read + Seek)) -> io::Result<[Member; 2]> {
    let size_bytes = archive.seek(SeekFrom::End(0))?;
    let cut_off = || broken("it has no end");
    let at = size_bytes.checked_sub(END_BYTES as u64).ok_or_else(cut_off)?;
    let mut end = [0; END_BYTES];
    archive.seek(SeekFrom::Start(at))?;
    archive.read_exact(&mut end)?;
    if !end.starts_with(b"PK\x06\x06") || end[END_BYTES - 22..][..4] != *b"PK\x05\x06" {
        return Err(cut_off());
    }
    let (count, length, from) = (number(&end[32..]), number(&end[40..]), number(&end[48..]));
    if count != 2 || length > DIRECTORY_BYTES_MAX || from.checked_add(length) != Some(at) {
        return Err(broken("its directory is not that of an export"));
    }
    let mut directory = vec![0; length as usize];
    archive.seek(SeekFrom::Start(from))?;
    archive.read_exact(&mut directory)?;
    let (rows, rest) = member(&directory).ok_or_else(cut_off)?;
    let (manifest, rest) = member(rest).ok_or_else(cut_off)?;
    if rest.is_empty() { Ok([rows, manifest]) } else { Err(cut_off()) }
}

/// The first entry of a directory, and what follows it.
fn member(directory: &[u8]) -> Option<(Member, &[u8])> {
    let (fixed, rest) = directory.split_at_checked(ENTRY_BYTES)?;
    let (name, rest) = rest.split_at_checked(usize::from(fixed[28]))?;
    let (extra, rest) = rest.split_at_checked(28)?;
    let member = Member {
        name: std::str::from_utf8(name).ok()?.to_owned(),
        crc32: u32::from_le_bytes(fixed[16..20].try_into().ok()?),
        size_bytes: number(&extra[4..]),
        compressed_bytes: number(&extra[12..]),
        offset: number(&extra[20..]),
    };
    fixed.starts_with(b"PK\x01\x02").then_some((member, rest))
}

/// The number that bytes begin with, of which there are enough.
fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive is not whole: {why}"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use doorbook_event::Timestamp;
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::archive::Archive;
    use super::*;

    const ROWS: &[u8] = b"id,time\r\n1,2\r\n=cmd()\r\n";

    fn archive(sha256: &str) -> Vec<u8> {
        let mut archive = Archive::new(Vec::new(), Timestamp::from_seconds(1_790_000_000));
        archive.begin("events.csv").expect("in memory").write_all(ROWS).expect("in memory");
        let told =
            json!({"file": "events.csv", "count": 2, "size_bytes": ROWS.len(), "sha256": sha256});
        let manifest = archive.begin(MANIFEST).expect("in memory");
        serde_json::to_writer(manifest, &told).expect("in memory");
        archive.finish().expect("in memory")
    }

    fn whole() -> (Vec<u8>, String) {
        let sha256 = hex::encode(Sha256::digest(ROWS));
        (archive(&sha256), sha256)
    }

    #[test]
    fn what_was_written_is_whole() {
        let (bytes, sha256) = whole();
        let checked = check(&mut Cursor::new(bytes)).expect("whole");
        assert_eq!(checked, Exported { rows: 2, sha256 });
    }

    /// Rows that somebody else's manifest tells of are not taken for its.
    #[test]
    fn other_rows_are_told() {
        let error = check(&mut Cursor::new(archive(&"0".repeat(64)))).expect_err("others");
        assert!(error.to_string().contains("not those that its manifest tells of"), "{error}");
    }

    /// Goal: no part of an archive is taken for it, nor anything else. Method: every beginning of one.
    #[test]
    fn a_part_is_none() {
        let (bytes, _) = whole();
        for n in 0..bytes.len() {
            check(&mut Cursor::new(&bytes[..n])).expect_err("a part");
        }
        check(&mut Cursor::new([&bytes[..], b"x"].concat())).expect_err("more");
    }

    proptest! {
        /// Goal: foreign bytes never panic, and rows that changed are told. Method: bytes of an archive are
        /// changed anywhere; what is taken for whole has the same rows.
        #[test]
        fn changed_bytes_are_told_or_do_not_matter(changes in prop::collection::vec((0_usize..4096, any::<u8>()), 1..8)) {
            let (mut bytes, sha256) = whole();
            let length = bytes.len();
            for (at, byte) in changes {
                bytes[at % length] = byte;
            }
            if let Ok(checked) = check(&mut Cursor::new(bytes)) {
                prop_assert_eq!(checked.sha256, sha256);
            }
        }
    }
}

//! A ZIP archive that is written without going back: PKWARE's APPNOTE 6.3.10, §4.3.
//!
//! Members are deflated. Their sizes stand behind them and in the directory, in 64 bits, since they
//! are not known before. Our own: the library for it brings six others, to read archives and to encrypt.

use std::io::{self, Write};

use doorbook_event::Timestamp;
use flate2::write::DeflateEncoder;
use flate2::{Compression, CrcWriter};

/// An archive that is written.
pub struct Archive<W: Write> {
    out: Counted<W>,
    /// Date and time of all members, as MS-DOS has them.
    time: [u8; 4],
    members: Vec<Member>,
    open: Option<Open>,
}

/// A member that is there.
struct Member {
    name: String,
    offset: u64,
    crc32: u32,
    compressed_bytes: u64,
    size_bytes: u64,
}

/// One that is written.
struct Open {
    name: String,
    offset: u64,
    from: u64,
    deflate: CrcWriter<DeflateEncoder<Vec<u8>>>,
    size_bytes: u64,
}

const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
const ENTRY: u32 = 0x0201_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
const END: u32 = 0x0605_4b50;

/// ZIP64, deflated.
const VERSION: u16 = 45;
/// Sizes stand behind the member; its name is UTF-8.
const FLAGS: u16 = (1 << 3) | (1 << 11);
const DEFLATED: u16 = 8;

/// How long what has a fixed length is: the header of a member and an entry of the directory without its name, the latter
/// without its field of 64 bits, too; all that stands behind the directory.
pub const LOCAL_BYTES: usize = 30 + 20;
pub const ENTRY_BYTES: usize = 46;
pub const END_BYTES: usize = 56 + 20 + 22;

/// The directory of two members is not longer.
pub const DIRECTORY_BYTES_MAX: u64 = 1024;

/// What is compressed is handed on when it is as much.
const BUFFER_BYTES: usize = 1 << 16;

impl<W: Write> Archive<W> {
    /// An archive without members.
    pub fn new(out: W, at: Timestamp) -> Archive<W> {
        let out = Counted { out, bytes: 0 };
        Archive { out, time: dos_time(at), members: Vec::new(), open: None }
    }

    /// Begins a member. What is written to the archive is of it until the next one begins.
    pub fn begin(&mut self, name: &str) -> io::Result<&mut Archive<W>> {
        self.end_member()?;
        let offset = self.out.bytes;
        let mut header = Vec::new();
        put(
            &mut header,
            &[LOCAL.to_le_bytes().as_slice(), &VERSION.to_le_bytes(), &FLAGS.to_le_bytes()],
        );
        put(&mut header, &[&DEFLATED.to_le_bytes(), &self.time, &[0; 4]]);
        // The sizes are in the ZIP64 field, where they are not known yet either.
        put(&mut header, &[&[0xff; 8], &(name.len() as u16).to_le_bytes(), &20_u16.to_le_bytes()]);
        put(&mut header, &[name.as_bytes(), &1_u16.to_le_bytes(), &16_u16.to_le_bytes(), &[0; 16]]);
        self.out.write_all(&header)?;
        let deflate = CrcWriter::new(DeflateEncoder::new(Vec::new(), Compression::fast()));
        let from = self.out.bytes;
        self.open = Some(Open { name: name.to_owned(), offset, from, deflate, size_bytes: 0 });
        Ok(self)
    }

    /// Writes the directory, without which the archive is none.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_member()?;
        let from = self.out.bytes;
        let count = self.members.len() as u64;
        for member in &self.members {
            let mut entry = Vec::new();
            let [version, flags] = [VERSION.to_le_bytes(), FLAGS.to_le_bytes()];
            put(&mut entry, &[&ENTRY.to_le_bytes(), &version, &version, &flags]);
            put(&mut entry, &[&DEFLATED.to_le_bytes(), &self.time, &member.crc32.to_le_bytes()]);
            put(&mut entry, &[&[0xff; 8], &(member.name.len() as u16).to_le_bytes()]);
            // No comment, disk 0, no attributes; the offset is in the ZIP64 field.
            put(&mut entry, &[&28_u16.to_le_bytes(), &[0; 10], &[0xff; 4], member.name.as_bytes()]);
            put(&mut entry, &[&1_u16.to_le_bytes(), &24_u16.to_le_bytes()]);
            for number in [member.size_bytes, member.compressed_bytes, member.offset] {
                entry.extend_from_slice(&number.to_le_bytes());
            }
            self.out.write_all(&entry)?;
        }
        let end = self.out.bytes;
        let mut tail = Vec::new();
        put(&mut tail, &[&END_64.to_le_bytes(), &44_u64.to_le_bytes(), &VERSION.to_le_bytes()]);
        put(
            &mut tail,
            &[&VERSION.to_le_bytes(), &[0; 8], &count.to_le_bytes(), &count.to_le_bytes()],
        );
        put(&mut tail, &[&(end - from).to_le_bytes(), &from.to_le_bytes()]);
        put(
            &mut tail,
            &[&LOCATOR_64.to_le_bytes(), &[0; 4], &end.to_le_bytes(), &1_u32.to_le_bytes()],
        );
        put(&mut tail, &[&END.to_le_bytes(), &[0; 4], &[0xff; 12], &[0; 2]]);
        self.out.write_all(&tail)?;
        self.out.flush()?;
        Ok(self.out.out)
    }

    fn end_member(&mut self) -> io::Result<()> {
        let Some(Open { name, offset, from, deflate, size_bytes }) = self.open.take() else {
            return Ok(());
        };
        let crc32 = deflate.crc().sum();
        self.out.write_all(&deflate.into_inner().finish()?)?;
        let compressed_bytes = self.out.bytes - from;
        let mut descriptor = Vec::new();
        put(&mut descriptor, &[&DESCRIPTOR.to_le_bytes(), &crc32.to_le_bytes()]);
        put(&mut descriptor, &[&compressed_bytes.to_le_bytes(), &size_bytes.to_le_bytes()]);
        self.out.write_all(&descriptor)?;
        self.members.push(Member { name, offset, crc32, compressed_bytes, size_bytes });
        Ok(())
    }
}

impl<W: Write> Write for Archive<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let open = self.open.as_mut().ok_or_else(|| io::Error::other("no member was begun"))?;
        open.deflate.write_all(bytes)?;
        open.size_bytes += bytes.len() as u64;
        let compressed = open.deflate.get_mut().get_mut();
        if compressed.len() >= BUFFER_BYTES {
            self.out.write_all(compressed)?;
            compressed.clear();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Knows how much was written.
struct Counted<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Time and date in UTC, to two seconds, from 1980 to 2107.
fn dos_time(at: Timestamp) -> [u8; 4] {
    let at = at.to_jiff().to_zoned(jiff::tz::TimeZone::UTC);
    let year = (i32::from(at.year()) - 1980).clamp(0, 127) as u16;
    let [month, day, hour, minute] =
        [at.month(), at.day(), at.hour(), at.minute()].map(|n| n as u16);
    let time = (hour << 11) | (minute << 5) | (at.second() as u16 / 2);
    let date = (year << 9) | (month << 5) | day;
    let ([a, b], [c, d]) = (time.to_le_bytes(), date.to_le_bytes());
    [a, b, c, d]
}

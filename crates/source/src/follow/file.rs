//! [`AtHand`]: an open file of a chain.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use doorbook_event::Timestamp;

use super::chain::{Entry, Identity};
use crate::input::stored::{Decoded, Encoding, Refusal, Stored};

/// The file that is read.
pub(super) struct AtHand {
    pub(super) path: PathBuf,
    pub(super) content: Content,
    pub(super) identity: Identity,
    /// The first bytes, as far as they were read.
    pub(super) head: Vec<u8>,
    /// Where they are.
    pub(super) head_offset_bytes: u64,
    pub(super) begins: Timestamp,
    pub(super) size_bytes: u64,
    /// Of the content, by the splitter.
    pub(super) read_bytes: u64,
    pub(super) is_live: bool,
    pub(super) is_copy: bool,
    pub(super) is_context: bool,
    /// Reading began somewhere in a line.
    pub(super) skips_line: bool,
    /// The packed data turned out to be damaged.
    pub(super) is_broken: bool,
}

/// A file's bytes, unpacked.
pub(super) enum Content {
    Plain(File),
    Packed { decoded: Box<Decoded>, first: Vec<u8> },
}

impl Content {
    pub(super) fn new(file: File) -> io::Result<Content> {
        let mut magic = [0; Encoding::MAGIC_BYTES];
        let n = read_fully_at(&file, &mut magic, 0)?;
        if Encoding::of(&magic[..n]) == Encoding::Plain {
            return Ok(Content::Plain(file));
        }
        let mut decoded = Decoded::new(Stored::new(Box::new(file))).map_err(|e| match e {
            Refusal::Io(e) => e,
            Refusal::Foreign(name) => {
                io::Error::new(io::ErrorKind::Unsupported, format!("{name} data is not read here"))
            }
        })?;
        decoded.stop_hashing();
        Ok(Content::Packed { decoded: Box::new(decoded), first: Vec::new() })
    }

    /// How many NULs it begins with: a writer that does not append goes on at its old offset when its
    /// file is cut short, and leaves a hole before it. Of packed content they are gone then.
    pub(super) fn skip_hole(&mut self) -> io::Result<u64> {
        match self {
            Content::Plain(file) => hole_bytes(file),
            Content::Packed { decoded, first } => {
                let mut hole_bytes = 0;
                while hole_bytes < HOLE_BYTES_MAX {
                    let mut block = vec![0; HOLE_BLOCK_BYTES];
                    let n = decoded.read(&mut block)?;
                    let is_text = block[..n].iter().position(|b| *b != 0);
                    hole_bytes += is_text.unwrap_or(n) as u64;
                    if is_text.is_some() || n == 0 {
                        first.extend_from_slice(&block[is_text.unwrap_or(n)..n]);
                        break;
                    }
                }
                Ok(hole_bytes)
            }
        }
    }

    /// The first bytes from an offset, as many or as there are. Of packed content they are gone then.
    pub(super) fn first(&mut self, offset_bytes: u64, n_bytes: usize) -> io::Result<Vec<u8>> {
        match self {
            Content::Plain(file) => {
                let mut bytes = vec![0; n_bytes];
                let n = read_fully_at(file, &mut bytes, offset_bytes)?;
                bytes.truncate(n);
                Ok(bytes)
            }
            Content::Packed { decoded, first } => {
                let wanted = n_bytes.saturating_sub(first.len()) as u64;
                // Of what is cut off, what there is.
                let read = decoded.by_ref().take(wanted).read_to_end(first);
                if first.is_empty() {
                    read?;
                }
                Ok(first.clone())
            }
        }
    }
}

/// What filling a block came to.
pub(super) enum Filled {
    Bytes(usize),
    End,
    Cut,
}

impl AtHand {
    pub(super) fn open(entry: &Entry) -> io::Result<AtHand> {
        let (file, metadata) = open_regular(&entry.path)?;
        let mut content = Content::new(file)?;
        if let Content::Packed { decoded, .. } = &mut content {
            let hole = &mut decoded.by_ref().take(entry.head_offset_bytes);
            io::copy(hole, &mut io::sink())?;
        }
        Ok(AtHand {
            path: entry.path.clone(),
            content,
            identity: Identity::of(&metadata),
            head: entry.head.clone(),
            head_offset_bytes: entry.head_offset_bytes,
            begins: entry.begins,
            size_bytes: metadata.len(),
            read_bytes: entry.head_offset_bytes,
            is_live: entry.is_live,
            is_copy: false,
            is_context: false,
            skips_line: false,
            is_broken: false,
        })
    }

    /// Reads the next block.
    pub(super) fn fill(&mut self, block: &mut [u8]) -> io::Result<Filled> {
        let n = match &mut self.content {
            Content::Plain(file) => {
                let n = read_fully_at(file, block, self.read_bytes)?;
                if self.is_cut()? {
                    return Ok(Filled::Cut);
                }
                n
            }
            Content::Packed { .. } if self.is_broken => 0,
            Content::Packed { decoded, .. } => match decoded.read(block) {
                Ok(n) => n,
                Err(e) if is_damage(&e) => {
                    self.is_broken = true;
                    0
                }
                Err(e) => return Err(e),
            },
        };
        self.read_bytes += n as u64;
        Ok(if n == 0 { Filled::End } else { Filled::Bytes(n) })
    }

    /// Whether the file has less than was read, or begins otherwise. Asked after each block: what was
    /// cut short before the block was read shows then, and half a line never becomes a whole one.
    fn is_cut(&mut self) -> io::Result<bool> {
        let Content::Plain(file) = &self.content else { return Ok(false) };
        let mut now = [0; Entry::HEAD_BYTES];
        let n = read_fully_at(file, &mut now, self.head_offset_bytes)?;
        if !now[..n].starts_with(&self.head) || file.metadata()?.len() < self.read_bytes {
            return Ok(true);
        }
        if n > self.head.len() {
            self.head = now[..n].to_vec();
        }
        Ok(false)
    }
}

/// Zeros that are there as bytes are looked through as far as that; a hole without bytes costs nothing.
const HOLE_BYTES_MAX: u64 = 64 << 20;
const HOLE_BLOCK_BYTES: usize = 16 << 10;

fn hole_bytes(file: &File) -> io::Result<u64> {
    let mut block = [0; HOLE_BLOCK_BYTES];
    let (mut offset_bytes, mut looked_bytes) = (0, 0);
    loop {
        // Nearly all files begin with text.
        let wanted = if offset_bytes == 0 { 1 } else { HOLE_BLOCK_BYTES };
        let n = read_fully_at(file, &mut block[..wanted], offset_bytes)?;
        if let Some(at) = block[..n].iter().position(|b| *b != 0) {
            return Ok(offset_bytes + at as u64);
        }
        offset_bytes += n as u64;
        looked_bytes += n as u64;
        if n == 0 || looked_bytes > HOLE_BYTES_MAX {
            return Ok(offset_bytes);
        }
        match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset_bytes)) {
            Ok(data) => offset_bytes = data,
            Err(rustix::io::Errno::NXIO) => return Ok(file.metadata()?.len()),
            // A file system that does not know.
            Err(_) => {}
        }
    }
}

/// Opens a file without waiting, whatever has the name by now.
pub(super) fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => Ok((file, metadata)),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

/// Reads as many bytes as there are; says how many.
fn read_fully_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Whether a decoder complains of what it was given. The file's own errors pass through it.
fn is_damage(e: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    matches!(e.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
}

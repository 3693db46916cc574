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

    /// The first bytes, as many or as there are. Of packed content they are gone then.
    pub(super) fn first(&mut self, n_bytes: usize) -> io::Result<Vec<u8>> {
        match self {
            Content::Plain(file) => {
                let mut bytes = vec![0; n_bytes];
                let n = read_fully_at(file, &mut bytes, 0)?;
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
        Ok(AtHand {
            path: entry.path.clone(),
            content: Content::new(file)?,
            identity: Identity::of(&metadata),
            head: entry.head.clone(),
            begins: entry.begins,
            size_bytes: metadata.len(),
            read_bytes: 0,
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
        let n = read_fully_at(file, &mut now, 0)?;
        if !now[..n].starts_with(&self.head) || file.metadata()?.len() < self.read_bytes {
            return Ok(true);
        }
        if n > self.head.len() {
            self.head = now[..n].to_vec();
        }
        Ok(false)
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

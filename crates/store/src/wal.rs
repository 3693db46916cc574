//! The write-ahead log: the one commit point.
//!
//! # Format, version 1
//! Files `wal/NNNNNNNNNNNNNNNN.wal`, named after the first frame in them as 16 hexadecimal digits.
//! All integers are little-endian.
//!
//! ```text
//! file    = header frame*
//! header  = "doorbook" version:u32 crc:u32          crc32c of the 12 bytes before it
//! frame   = length:u32 crc:u32 lsn:u64 payload      length of the payload;
//!                                                   crc32c of lsn and payload
//! ```
//! Frames are numbered (lsn) from 1 without a gap, across files. A frame is one commit and one
//! sync: it is written, the file is synced (with the first frame of a file its directory, too), and
//! only then does anyone see what it says. A payload is at most [`PAYLOAD_SIZE_BYTES_MAX`] long.
//!
//! # When a write fails
//! A write that fails or stops short is cut off again; the commit is refused and nothing else
//! happened. If it cannot be cut off, or if a *sync* fails, what is on the disk is unknown (the
//! kernel may have dropped the pages and forgotten it): the writer is poisoned and refuses
//! everything until a restart has read the truth back.
//!
//! # Recovery
//! The files are read in order. Every frame must have the next number and a matching checksum. In
//! the last file, a frame that does not is a torn tail and is cut off, *unless a valid later frame
//! follows it*: the later one was written only after the earlier was synced, so that the earlier was
//! acknowledged, and this is damage. Damage is an error that names file and offset. (The last frame
//! of all cannot be told from a torn tail when it is damaged; nothing can tell these two apart.)
//!
//! What was read is made durable before anyone sees it. A sync alone would not do: where the sync of
//! the last frame failed, the kernel may show pages that it does not hold for unwritten any more, and
//! would not write them. So the last frame, the only one that no sync has covered, is written again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::directory::numbered_files;
use crate::disk::{Disk, DiskFile, read_up_to, write_all_at};
use crate::error::{Error, ErrorKind};
use crate::frame::{self, Op};

/// The number of a frame.
pub(crate) type Lsn = u64;

/// 256 MiB: four of the largest batches a source hands on, and little enough to hold in memory.
pub(crate) const PAYLOAD_SIZE_BYTES_MAX: usize = 256 << 20;

/// Buffers of frames are kept for the next one, up to this size: frames of a server that follows logs
/// have a megabyte, and a new piece of memory for each leaves holes that other pieces do not fit into.
pub(crate) const KEPT_SIZE_BYTES_MAX: usize = 4 << 20;

const MAGIC: &[u8; 8] = b"doorbook";
const VERSION: u32 = 1;
pub(crate) const HEADER_SIZE_BYTES: usize = 8 + 4 + 4;
pub(crate) const FRAME_HEADER_SIZE_BYTES: usize = 4 + 4 + 8;

/// The end of the log, where frames are added.
pub(crate) struct Wal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    next_lsn: Lsn,
    /// `None` until the first frame after a start or a [`Wal::rotate`].
    file: Option<Open>,
    /// The last frame's bytes, whose place the next frame's take.
    bytes: Vec<u8>,
    /// Shared with who may ask without waiting for a write.
    poisoned: Arc<AtomicBool>,
}

struct Open {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    /// Where the last good frame ends.
    end: u64,
}

impl Wal {
    /// Reads every frame after `after` in order, repairs the end, and is ready to go on.
    pub(crate) fn recover(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        after: Lsn,
        mut apply: impl FnMut(Lsn, Vec<Op>, usize) -> Result<(), Error>,
    ) -> Result<Wal, Error> {
        let mut files = numbered_files(&*disk, &dir, ".wal")?;
        // A file that begins no later than `after + 1` makes those before it superfluous.
        let first = files.iter().rposition(|(lsn, _)| *lsn <= after + 1).unwrap_or(0);
        files.drain(..first);
        let next_lsn = after + 1;
        let (bytes, poisoned) = (Vec::new(), Arc::default());
        let mut wal = Wal { disk, dir, next_lsn, file: None, bytes, poisoned };
        let count = files.len();
        for (n, (first_lsn, path)) in files.into_iter().enumerate() {
            // The first file may begin in what the snapshot covers; each later one where the one
            // before it ended.
            if first_lsn > wal.next_lsn || (n > 0 && first_lsn != wal.next_lsn) {
                return Err(Error::damaged(
                    &path,
                    format!("the WAL has no frames {} to {first_lsn}", wal.next_lsn),
                ));
            }
            wal.recover_file(path, first_lsn, n + 1 == count, after, &mut apply)?;
        }
        Ok(wal)
    }

    fn recover_file(
        &mut self,
        path: PathBuf,
        first_lsn: Lsn,
        is_last: bool,
        after: Lsn,
        apply: &mut impl FnMut(Lsn, Vec<Op>, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failed = |what: &str, error| Error::io(&path, what, error);
        let file = self.disk.open(&path).map_err(|e| failed("open", e))?;
        let size = file.size_bytes().map_err(|e| failed("read the size", e))?;
        let bytes = read_up_to(&*file, 0, usize::try_from(size).unwrap_or(usize::MAX))
            .map_err(|e| failed("read", e))?;
        let mut lsn = first_lsn;
        // Where the last good frame begins, with the header if it is the first, and where it ends.
        let (mut last, mut end) = (0, 0);
        let mut problem = check_header(&path, &bytes)?;
        if problem.is_none() {
            end = HEADER_SIZE_BYTES;
            while end < bytes.len() {
                let payload = match read_frame(&bytes, end, lsn) {
                    Ok(payload) => payload,
                    Err(what) => {
                        problem = Some(what);
                        break;
                    }
                };
                if lsn > after {
                    let ops = frame::decode(payload).map_err(|error| {
                        Error::damaged(
                            &path,
                            format!("frame {lsn} at byte {end} says what this version cannot read"),
                        )
                        .because(error)
                    })?;
                    apply(lsn, ops, payload.len())?;
                }
                last = if lsn == first_lsn { 0 } else { end };
                end += FRAME_HEADER_SIZE_BYTES + payload.len();
                lsn += 1;
            }
        }
        if let Some(what) = problem {
            // A header is written together with its first frame and lies in the same sector: where
            // that frame is whole, the header was, too.
            let torn_from = if end == 0 { lsn - 1 } else { lsn };
            if !is_last || has_later_frame(&bytes, end, torn_from) {
                return Err(Error::damaged(
                    &path,
                    format!("{what} at byte {end} (frame {lsn}) of {}", bytes.len()),
                ));
            }
            file.truncate(end as u64).map_err(|e| failed("cut off the torn tail of", e))?;
        }
        if is_last {
            // What is read here becomes visible, so that it must be durable: the process before us
            // may have ended between a write and its sync.
            write_all_at(&*file, &bytes[last..end], last as u64)
                .map_err(|e| failed("write the last frame again to", e))?;
            file.sync().map_err(|e| failed("sync", e))?;
            let dir = self.disk.sync_dir(&self.dir);
            dir.map_err(|error| Error::io(&self.dir, "sync the directory", error))?;
        }
        self.next_lsn = self.next_lsn.max(lsn);
        if is_last && end > 0 && lsn == self.next_lsn {
            self.file = Some(Open { path, file, end: end as u64 });
        }
        Ok(())
    }

    /// Makes `payload` the next frame. Returns its number once it is durable.
    pub(crate) fn append(&mut self, payload: &[u8]) -> Result<Lsn, Error> {
        if self.is_poisoned() {
            return Err(Error::new(
                ErrorKind::Poisoned,
                "an earlier write failed and left open what is on the disk: restart",
            ));
        }
        if payload.len() > PAYLOAD_SIZE_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("a commit has at most {PAYLOAD_SIZE_BYTES_MAX} bytes"),
            ));
        }
        let lsn = self.next_lsn;
        let is_new = self.file.is_none();
        let bytes = &mut self.bytes;
        bytes.clear();
        bytes.shrink_to(KEPT_SIZE_BYTES_MAX);
        if is_new {
            bytes.extend_from_slice(&header());
        }
        write_frame(bytes, lsn, payload);
        let open = match &mut self.file {
            Some(open) => open,
            None => {
                let path = self.dir.join(file_name(lsn));
                let file =
                    self.disk.create(&path).map_err(|error| Error::io(&path, "create", error))?;
                self.file.insert(Open { path, file, end: 0 })
            }
        };
        if let Err(error) = write_all_at(&*open.file, bytes, open.end) {
            let refused = Error::io(&open.path, "write", error);
            // Synced as well: a refused commit must not come back after a power cut.
            if open.file.truncate(open.end).and_then(|()| open.file.sync()).is_err() {
                self.poisoned.store(true, Ordering::Relaxed);
            }
            if is_new {
                // Its name may not be durable; the next frame makes the file anew.
                self.file = None;
            }
            return Err(refused);
        }
        let synced = open.file.sync().map_err(|error| Error::io(&open.path, "sync", error));
        let synced = synced.and_then(|()| match is_new {
            true => self
                .disk
                .sync_dir(&self.dir)
                .map_err(|error| Error::io(&self.dir, "sync the directory", error)),
            false => Ok(()),
        });
        if let Err(error) = synced {
            self.poisoned.store(true, Ordering::Relaxed);
            return Err(error);
        }
        open.end += bytes.len() as u64;
        self.next_lsn += 1;
        Ok(lsn)
    }

    /// Whether a restart is needed to know what is on the disk.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed)
    }

    /// The same for who does not hold the log.
    pub(crate) fn poison(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.poisoned)
    }

    /// Begins a new file with the next frame.
    pub(crate) fn rotate(&mut self) {
        self.file = None;
    }
}

/// Removes the files in which no frame comes after `lsn`. The last file stays.
pub(crate) fn remove_until(disk: &dyn Disk, dir: &Path, lsn: Lsn) -> Result<(), Error> {
    let files = numbered_files(disk, dir, ".wal")?;
    for pair in files.windows(2) {
        let [(_, path), (next_first, _)] = pair else { continue };
        if *next_first <= lsn + 1 {
            disk.remove(path).map_err(|error| Error::io(path, "remove", error))?;
        }
    }
    Ok(())
}

fn file_name(first: Lsn) -> String {
    format!("{first:016x}.wal")
}

fn header() -> [u8; HEADER_SIZE_BYTES] {
    let mut header = [0; HEADER_SIZE_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32c::crc32c(&header[..12]);
    header[12..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// What is wrong with a header.
pub(crate) fn header_problem(bytes: &[u8]) -> Option<&'static str> {
    check_header(Path::new(""), bytes)
        .unwrap_or(Some("the header is of a format that this program does not read"))
}

/// What is wrong with a header, if it may be a torn one; a version we do not know is an error.
fn check_header(path: &Path, bytes: &[u8]) -> Result<Option<&'static str>, Error> {
    let Some(head) = bytes.get(..HEADER_SIZE_BYTES) else {
        return Ok(Some("the header is cut off"));
    };
    if crc32c::crc32c(&head[..12]) != u32_at(head, 12) || &head[..8] != MAGIC {
        return Ok(Some("the header is damaged"));
    }
    match u32_at(head, 8) {
        VERSION => Ok(None),
        version => Err(Error::damaged(
            path,
            format!("WAL format {version}; this program reads format {VERSION}"),
        )),
    }
}

fn write_frame(bytes: &mut Vec<u8>, lsn: Lsn, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("payloads are bounded far below 4 GiB");
    let crc = crc32c::crc32c_append(crc32c::crc32c(&lsn.to_le_bytes()), payload);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&lsn.to_le_bytes());
    bytes.extend_from_slice(payload);
}

/// The payload of frame `lsn` at `offset`, or what is wrong there.
pub(crate) fn read_frame(bytes: &[u8], offset: usize, lsn: Lsn) -> Result<&[u8], &'static str> {
    let rest = &bytes[offset..];
    if rest.len() < FRAME_HEADER_SIZE_BYTES {
        return Err("a frame is cut off");
    }
    let length = u32_at(rest, 0) as usize;
    if length > PAYLOAD_SIZE_BYTES_MAX {
        return Err("a frame's length is damaged");
    }
    let Some(body) = rest.get(8..FRAME_HEADER_SIZE_BYTES + length) else {
        return Err("a frame is cut off");
    };
    if crc32c::crc32c(body) != u32_at(rest, 4) {
        return Err("a frame's checksum does not match");
    }
    if u64_at(rest, 8) != lsn {
        return Err("a frame has a number out of order");
    }
    Ok(&body[8..])
}

/// Whether any valid frame that comes after `lsn` begins behind `offset`.
fn has_later_frame(bytes: &[u8], offset: usize, lsn: Lsn) -> bool {
    let last = bytes.len().saturating_sub(FRAME_HEADER_SIZE_BYTES);
    (offset + 1..=last).any(|at| {
        let found = u64_at(bytes, at + 8);
        // A file holds fewer frames than bytes; anything else is not a number of ours.
        found > lsn && found - lsn < bytes.len() as u64 && read_frame(bytes, at, found).is_ok()
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes are four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes are eight bytes"))
}

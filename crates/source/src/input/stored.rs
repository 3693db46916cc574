//! The bytes of an input as they are stored, and the bytes that they stand for.
//!
//! [`Stored`] counts and hashes what passes, so that an import's receipt can name the very file;
//! [`Decoded`] undoes the compression that the first bytes, not the file's name, announce: a
//! rotated `mongod.log.1` is often gzip without saying so, and a `.gz` that a browser or a pipe
//! already unpacked is not.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

/// What is known of an input's bytes as stored (compressed if they are), as far as they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBytes {
    /// How many.
    pub size_bytes: u64,
    /// Their SHA-256, unless the reader was told that nobody asks for it.
    pub sha256: Option<[u8; 32]>,
}

/// A reader that counts and hashes, and whose first bytes can be looked at beforehand.
pub(crate) struct Stored {
    reader: Box<dyn Read + Send>,
    /// Bytes that were looked at and are to be read yet.
    peeked: Vec<u8>,
    size_bytes: u64,
    sha256: Option<Sha256>,
}

impl Stored {
    pub(crate) fn new(reader: Box<dyn Read + Send>) -> Stored {
        Stored { reader, peeked: Vec::new(), size_bytes: 0, sha256: Some(Sha256::new()) }
    }

    pub(crate) fn known(&self) -> StoredBytes {
        let sha256 = self.sha256.as_ref().map(|hash| hash.clone().finalize().into());
        StoredBytes { size_bytes: self.size_bytes, sha256 }
    }

    fn stop_hashing(&mut self) {
        self.sha256 = None;
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The first bytes: `count` of them, or all that there are.
    pub(crate) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        let mut block = vec![0; count];
        while self.peeked.len() < count {
            let wanted = count - self.peeked.len();
            let n = self.read_counted(&mut block[..wanted])?;
            if n == 0 {
                break;
            }
            self.peeked.extend_from_slice(&block[..n]);
        }
        Ok(&self.peeked)
    }

    fn read_counted(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let n = loop {
            match self.reader.read(block) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.size_bytes += n as u64;
        if let Some(hash) = &mut self.sha256 {
            hash.update(&block[..n]);
        }
        Ok(n)
    }
}

impl Read for Stored {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        if self.peeked.is_empty() {
            return self.read_counted(block);
        }
        let n = block.len().min(self.peeked.len());
        block[..n].copy_from_slice(&self.peeked[..n]);
        self.peeked.drain(..n);
        Ok(n)
    }
}

/// The bytes that the stored ones stand for.
pub(crate) enum Decoded {
    Plain(Stored),
    Gzip(Box<MultiGzDecoder<BufReader<Stored>>>),
    Zstd(zstd::Decoder<'static, BufReader<Stored>>),
}

/// An encoding that is recognised by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Plain,
    Gzip,
    Zstd,
    /// One that is not undone here.
    Foreign(&'static str),
}

/// Why [`Decoded::new`] refused.
pub(crate) enum Refusal {
    Foreign(&'static str),
    Io(io::Error),
}

impl Decoded {
    /// 2^27 = 128 MiB, what `zstd --ultra -22` needs and the format recommends to accept; `--long`
    /// beyond 27 asks for up to 2 GiB of memory in the name of a file from outside.
    const ZSTD_WINDOW_LOG_MAX: u32 = 27;
    /// gzip data is unpacked in steps of this size: when it turns out to be damaged, the step in
    /// which that shows is lost, and a larger one would lose more lines.
    const GZIP_STEP_BYTES: usize = 32 << 10;
    const COMPRESSED_BLOCK_BYTES: usize = 256 << 10;

    pub(crate) fn new(mut stored: Stored) -> Result<Decoded, Refusal> {
        let encoding = Encoding::of(stored.peek(Encoding::MAGIC_BYTES).map_err(Refusal::Io)?);
        let buffered = |stored| BufReader::with_capacity(Decoded::COMPRESSED_BLOCK_BYTES, stored);
        Ok(match encoding {
            Encoding::Plain => Decoded::Plain(stored),
            Encoding::Gzip => Decoded::Gzip(Box::new(MultiGzDecoder::new(buffered(stored)))),
            Encoding::Zstd => {
                let mut decoder =
                    zstd::Decoder::with_buffer(buffered(stored)).map_err(Refusal::Io)?;
                decoder.window_log_max(Decoded::ZSTD_WINDOW_LOG_MAX).map_err(Refusal::Io)?;
                Decoded::Zstd(decoder)
            }
            Encoding::Foreign(name) => return Err(Refusal::Foreign(name)),
        })
    }

    pub(crate) fn encoding(&self) -> Encoding {
        match self {
            Decoded::Plain(_) => Encoding::Plain,
            Decoded::Gzip(_) => Encoding::Gzip,
            Decoded::Zstd(_) => Encoding::Zstd,
        }
    }

    pub(crate) fn stop_hashing(&mut self) {
        match self {
            Decoded::Plain(stored) => stored.stop_hashing(),
            Decoded::Gzip(decoder) => decoder.get_mut().get_mut().stop_hashing(),
            Decoded::Zstd(decoder) => decoder.get_mut().get_mut().stop_hashing(),
        }
    }

    pub(crate) fn stored(&self) -> &Stored {
        match self {
            Decoded::Plain(stored) => stored,
            Decoded::Gzip(decoder) => decoder.get_ref().get_ref(),
            Decoded::Zstd(decoder) => decoder.get_ref().get_ref(),
        }
    }
}

impl Read for Decoded {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoded::Plain(stored) => stored.read(block),
            Decoded::Gzip(decoder) => {
                let step = block.len().min(Decoded::GZIP_STEP_BYTES);
                decoder.read(&mut block[..step])
            }
            Decoded::Zstd(decoder) => decoder.read(block),
        }
    }
}

impl Encoding {
    /// As many bytes as the longest signature below.
    pub(crate) const MAGIC_BYTES: usize = 6;

    pub(crate) fn of(head: &[u8]) -> Encoding {
        match head {
            [0x1f, 0x8b, 0x08, ..] => Encoding::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Encoding::Zstd,
            // A skippable frame, with which pzstd begins its files.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Encoding::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0x00] => Encoding::Foreign("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Encoding::Foreign("bzip2"),
            [0x04, 0x22, 0x4d, 0x18, ..] => Encoding::Foreign("lz4"),
            [b'P', b'K', 0x03, 0x04, ..] => Encoding::Foreign("zip"),
            [b'7', b'z', 0xbc, 0xaf, ..] => Encoding::Foreign("7z"),
            _ => Encoding::Plain,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Encoding::Plain => "plain",
            Encoding::Gzip => "gzip",
            Encoding::Zstd => "zstd",
            Encoding::Foreign(name) => name,
        }
    }
}

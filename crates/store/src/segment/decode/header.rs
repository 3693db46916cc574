//! What stands before a page's bytes, in Thrift's compact protocol.

use super::{Result, Unfit};

/// What stands before a page's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::segment) struct PageHeader {
    pub(in crate::segment) kind: PageKind,
    pub(in crate::segment) size_bytes: usize,
    pub(in crate::segment) compressed_size_bytes: usize,
    /// CRC-32 of the compressed bytes, if it was written.
    pub(in crate::segment) crc: Option<u32>,
    /// Rows of a data page, values of a dictionary.
    pub(in crate::segment) value_count: usize,
    pub(in crate::segment) encoding: Encoding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::segment) enum PageKind {
    Data,
    Dictionary,
}

/// How values are coded, by Parquet's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::segment) enum Encoding {
    Plain,
    Rle,
    Delta,
    Dictionary,
}

/// No page of ours comes near; a header that says more is damaged.
const PAGE_SIZE_BYTES_MAX: usize = 256 << 20;

impl PageHeader {
    /// The header at the beginning of `bytes`, and how long it is.
    pub(in crate::segment) fn read(bytes: &[u8]) -> Result<(PageHeader, usize)> {
        let mut thrift = Thrift { bytes, at: 0 };
        let (mut kind, mut size, mut compressed, mut crc, mut body) =
            (None, None, None, None, None);
        thrift.each_field(0, |thrift, field, kind_of_value| {
            match (field, kind_of_value) {
                (1, Thrift::I32) => kind = Some(thrift.integer()?),
                (2, Thrift::I32) => size = Some(thrift.integer()?),
                (3, Thrift::I32) => compressed = Some(thrift.integer()?),
                (4, Thrift::I32) => crc = Some(thrift.integer()? as u32),
                (5 | 7, Thrift::STRUCT) => body = Some(thrift.counts()?),
                _ => thrift.skip(kind_of_value, 0)?,
            }
            Ok(())
        })?;
        let kind = match kind {
            Some(0) => PageKind::Data,
            Some(2) => PageKind::Dictionary,
            _ => return Err(Unfit("a page of an unknown kind")),
        };
        let size_of = |size: Option<i64>| {
            let size = size.and_then(|size| usize::try_from(size).ok());
            size.filter(|size| *size <= PAGE_SIZE_BYTES_MAX).ok_or(Unfit("a page of no sane size"))
        };
        let (value_count, encoding) = body.ok_or(Unfit("a page header without a body"))?;
        let header = PageHeader {
            kind,
            size_bytes: size_of(size)?,
            compressed_size_bytes: size_of(compressed)?,
            crc,
            value_count,
            encoding,
        };
        Ok((header, thrift.at))
    }
}

/// Thrift's compact protocol, as far as a page header needs it.
pub(super) struct Thrift<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl Thrift<'_> {
    const I32: u8 = 5;
    const STRUCT: u8 = 12;
    const NESTING_MAX: usize = 8;

    fn byte(&mut self) -> Result<u8> {
        let byte = self.bytes.get(self.at).ok_or(Unfit("a page header that ends early"))?;
        self.at += 1;
        Ok(*byte)
    }

    pub(super) fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Unfit("a number without end in a page header"))
    }

    pub(super) fn integer(&mut self) -> Result<i64> {
        self.varint().map(unzigzag)
    }

    /// Calls `each` with the number and the type of every field of a struct; it must read the value.
    fn each_field(
        &mut self,
        nesting: usize,
        mut each: impl FnMut(&mut Self, i64, u8) -> Result<()>,
    ) -> Result<()> {
        if nesting > Self::NESTING_MAX {
            return Err(Unfit("a page header that is nested too deeply"));
        }
        let mut field = 0_i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            field = match head >> 4 {
                0 => self.integer()?,
                step => field.wrapping_add(i64::from(step)),
            };
            each(self, field, head & 0x0f)?;
        }
    }

    /// Number of values and encoding, which stand alike in the headers of both kinds of page.
    fn counts(&mut self) -> Result<(usize, Encoding)> {
        let (mut count, mut encoding) = (None, None);
        self.each_field(1, |thrift, field, kind| {
            match (field, kind) {
                (1, Self::I32) => count = usize::try_from(thrift.integer()?).ok(),
                (2, Self::I32) => encoding = Some(thrift.integer()?),
                _ => thrift.skip(kind, 1)?,
            }
            Ok(())
        })?;
        let encoding = match encoding {
            Some(0) => Encoding::Plain,
            Some(3) => Encoding::Rle,
            Some(5) => Encoding::Delta,
            Some(2 | 8) => Encoding::Dictionary,
            _ => return Err(Unfit("a page in an unknown encoding")),
        };
        // An offset index cannot say more either; what is allocated for a page depends on it.
        let count = count.filter(|count| *count <= i32::MAX as usize);
        Ok((count.ok_or(Unfit("a page without a count"))?, encoding))
    }

    fn skip(&mut self, kind: u8, nesting: usize) -> Result<()> {
        match kind {
            1 | 2 => Ok(()),
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.skip_bytes(8),
            8 => {
                let length = self.varint()?;
                self.skip_bytes(usize::try_from(length).unwrap_or(usize::MAX))
            }
            Self::STRUCT => {
                let inner = nesting + 1;
                self.each_field(inner, |thrift, _, kind| thrift.skip(kind, inner))
            }
            _ => Err(Unfit("a page header with an unknown member")),
        }
    }

    pub(super) fn skip_bytes(&mut self, count: usize) -> Result<()> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        self.at = end.ok_or(Unfit("a page header that ends early"))?;
        Ok(())
    }
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

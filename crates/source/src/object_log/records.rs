//! [`Records`]: the records of a CloudTrail file, one at a time.

/// Finds the objects in the array of a JSON object, `{"Records":[{…},{…}]}`, without holding more than one of
/// them. What lies between is not looked at; a file that breaks off gives what was whole.
#[derive(Debug, Default)]
pub struct Records {
    depth: u32,
    in_text: bool,
    escaped: bool,
    /// Of the record at hand, as far as it came.
    record: Vec<u8>,
    is_too_long: bool,
    /// Where the next byte is in the file.
    offset_bytes: u64,
    begins_at: u64,
}

/// A record, or the beginning of one that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Where it begins in the file.
    pub offset_bytes: u64,
    /// It is longer than [`Records::RECORD_BYTES_MAX`], and only its beginning is here.
    pub is_too_long: bool,
}

/// How deep a record's braces are in the file.
const DEPTH: u32 = 3;

impl Records {
    /// 1 MiB. Amazon's limit for one event is 256 KiB.
    pub const RECORD_BYTES_MAX: usize = 1 << 20;

    /// Takes the next bytes of the file, and hands on each record that ends in them.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Record<'_>)) {
        for byte in bytes {
            self.take(*byte, sink);
            self.offset_bytes += 1;
        }
    }

    /// Whether the file is over: it may end here.
    pub fn is_over(&self) -> bool {
        self.depth == 0
    }

    fn take(&mut self, byte: u8, sink: &mut dyn FnMut(Record<'_>)) {
        let before = self.depth;
        if self.in_text {
            self.in_text = self.escaped || byte != b'"';
            self.escaped = !self.escaped && byte == b'\\';
        } else {
            match byte {
                b'"' => self.in_text = true,
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        if before < DEPTH && self.depth == DEPTH {
            self.begins_at = self.offset_bytes;
        }
        if before < DEPTH && self.depth < DEPTH {
            return;
        }
        if self.record.len() < Records::RECORD_BYTES_MAX {
            self.record.push(byte);
        } else {
            self.is_too_long = true;
        }
        if self.depth < DEPTH {
            let (bytes, offset_bytes) = (&*self.record, self.begins_at);
            sink(Record { bytes, offset_bytes, is_too_long: self.is_too_long });
            self.record.clear();
            self.is_too_long = false;
        }
    }
}

//! As much BSON as three commands and their replies need. A reply is foreign bytes: lengths are
//! checked, depth is bounded, and a type that is not needed is read over.

use std::fmt;

/// A document being written.
#[derive(Clone, Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn int(mut self, name: &str, value: i32) -> Writer {
        self.element(0x10, name);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn bool(mut self, name: &str, value: bool) -> Writer {
        self.element(0x08, name);
        self.0.push(u8::from(value));
        self
    }

    pub(super) fn text(mut self, name: &str, value: &str) -> Writer {
        self.element(0x02, name);
        self.0.extend(length(value.len() + 1));
        self.0.extend(value.as_bytes());
        self.0.push(0);
        self
    }

    pub(super) fn bytes(mut self, name: &str, value: &[u8]) -> Writer {
        self.element(0x05, name);
        self.0.extend(length(value.len()));
        self.0.push(0); // generic
        self.0.extend(value);
        self
    }

    pub(super) fn document(mut self, name: &str, value: Writer) -> Writer {
        self.element(0x03, name);
        self.0.extend(value.finish());
        self
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut bytes = length(self.0.len() + 5).to_vec();
        bytes.extend(self.0);
        bytes.push(0);
        bytes
    }

    fn element(&mut self, kind: u8, name: &str) {
        self.0.push(kind);
        self.0.extend(name.as_bytes());
        self.0.push(0);
    }
}

fn length(of: usize) -> [u8; 4] {
    i32::try_from(of).expect("what we send is a few hundred bytes").to_le_bytes()
}

/// A document that was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Document(Vec<(String, Value)>);

/// A member of a document.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A number of any type; of a fraction its whole part.
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
    Bool(bool),
    /// Milliseconds since 1970.
    Instant(i64),
    /// Also an array.
    Document(Document),
    /// A type that nothing here needs.
    Other,
}

/// Bytes that are no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its answer is not BSON")
    }
}

/// serverStatus nests six deep.
const DEPTH_MAX: usize = 32;

impl Document {
    pub(super) fn read(bytes: &[u8]) -> Result<Document, Malformed> {
        let mut input = Input(bytes);
        let document = input.document(DEPTH_MAX)?;
        if input.0.is_empty() { Ok(document) } else { Err(Malformed) }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(of, _)| of == name).map(|(_, value)| value)
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        if let Some(Value::Integer(value)) = self.get(name) { Some(*value) } else { None }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        if let Some(Value::Text(value)) = self.get(name) { Some(value) } else { None }
    }

    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        if let Some(Value::Bytes(value)) = self.get(name) { Some(value) } else { None }
    }

    pub(super) fn instant(&self, name: &str) -> Option<i64> {
        if let Some(Value::Instant(value)) = self.get(name) { Some(*value) } else { None }
    }

    pub(super) fn bool(&self, name: &str) -> Option<bool> {
        if let Some(Value::Bool(value)) = self.get(name) { Some(*value) } else { None }
    }

    pub(super) fn document(&self, name: &str) -> Option<&Document> {
        if let Some(Value::Document(value)) = self.get(name) { Some(value) } else { None }
    }

    pub(super) fn documents(&self) -> impl Iterator<Item = (&str, &Document)> {
        self.0.iter().filter_map(|(name, value)| match value {
            Value::Document(document) => Some((name.as_str(), document)),
            _ => None,
        })
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn document(&mut self, depth: usize) -> Result<Document, Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed)?;
        let size_bytes = self.length()?;
        let mut body = Input(self.take(size_bytes.checked_sub(4).ok_or(Malformed)?)?);
        let mut members = Vec::new();
        loop {
            let kind = body.byte()?;
            if kind == 0 {
                return if body.0.is_empty() { Ok(Document(members)) } else { Err(Malformed) };
            }
            let name = body.name()?;
            members.push((name, body.value(kind, depth)?));
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<Value, Malformed> {
        Ok(match kind {
            // No count is beyond 2^53, and a cast saturates.
            0x01 => Value::Integer(f64::from_le_bytes(self.array()?) as i64),
            0x02 => Value::Text(self.text()?),
            0x03 | 0x04 => Value::Document(self.document(depth)?),
            0x05 => {
                let size_bytes = self.length()?;
                self.byte()?;
                Value::Bytes(self.take(size_bytes)?.to_vec())
            }
            0x08 => Value::Bool(self.byte()? != 0),
            0x09 => Value::Instant(i64::from_le_bytes(self.array()?)),
            0x10 => Value::Integer(i32::from_le_bytes(self.array()?).into()),
            0x12 => Value::Integer(i64::from_le_bytes(self.array()?)),
            other => {
                self.read_over(other)?;
                Value::Other
            }
        })
    }

    fn read_over(&mut self, kind: u8) -> Result<(), Malformed> {
        match kind {
            // Undefined, null, the least key, the greatest key.
            0x06 | 0x0a | 0xff | 0x7f => {}
            // An object id, a timestamp, a decimal.
            0x07 => drop(self.take(12)?),
            0x11 => drop(self.take(8)?),
            0x13 => drop(self.take(16)?),
            // A regular expression, code, a symbol.
            0x0b => {
                self.name()?;
                self.name()?;
            }
            0x0d | 0x0e => drop(self.text()?),
            _ => return Err(Malformed),
        }
        Ok(())
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let size_bytes = self.length()?;
        let bytes = self.take(size_bytes)?;
        let (end, text) = bytes.split_last().ok_or(Malformed)?;
        if *end == 0 { Ok(String::from_utf8_lossy(text).into_owned()) } else { Err(Malformed) }
    }

    fn name(&mut self) -> Result<String, Malformed> {
        let end = self.0.iter().position(|b| *b == 0).ok_or(Malformed)?;
        let name = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.byte()?;
        Ok(name)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(i32::from_le_bytes(self.array()?)).map_err(|_| Malformed)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn take(&mut self, size_bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(size_bytes).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Vec<u8> {
        let inner = Writer::default().bytes("b", b"\0x").bool("yes", true);
        Writer::default().int("n", -7).text("t", "é").document("d", inner).finish()
    }

    #[test]
    fn what_is_written_is_read() {
        let read = Document::read(&sample()).expect("reads");
        assert_eq!((read.integer("n"), read.text("t")), (Some(-7), Some("é")));
        let inner = read.document("d").expect("is there");
        assert_eq!((inner.bytes("b"), inner.bool("yes")), (Some(b"\0x".as_slice()), Some(true)));
        assert_eq!(read.text("n"), None);
    }

    #[test]
    fn types_that_are_not_needed_are_read_over() {
        let mut bytes = Vec::new();
        for (kind, value) in [
            (0x07, &[1; 12][..]),
            (0x0a, &[]),
            (0x11, &[1; 8]),
            (0x0b, b"a\0i\0"),
            (0x13, &[1; 16]),
            (0x01, &2.9_f64.to_le_bytes()),
            (0x09, &5_i64.to_le_bytes()),
        ] {
            bytes.extend([kind, b'a' + kind, 0]);
            bytes.extend(value);
        }
        let read = Document::read(&Writer(bytes).finish()).expect("reads");
        assert_eq!((read.integer("b"), read.instant("j")), (Some(2), Some(5)));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth| {
            (1..depth).fold(Writer::default(), |inner, _| Writer::default().document("d", inner))
        };
        assert!(Document::read(&nested(DEPTH_MAX).finish()).is_ok());
        assert_eq!(Document::read(&nested(DEPTH_MAX + 1).finish()), Err(Malformed));
    }

    proptest! {
        /// Whatever comes, reading ends in a document or an error.
        #[test]
        fn damaged_bytes_are_an_error(at in 0..60_usize, with in any::<u8>(), cut in 0..60_usize) {
            let mut bytes = sample();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = with;
            }
            drop(Document::read(&bytes));
            bytes.truncate(cut);
            prop_assert!(cut >= sample().len() || Document::read(&bytes).is_err());
        }
    }
}

//! [`Text`]: a shared, immutable string.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Serialize, Serializer};

/// A shared, immutable UTF-8 string: one allocation however many records carry it (host names,
/// mechanisms and application names repeat millions of times). Bytes from outside that are not
/// UTF-8 enter with U+FFFD in place of what could not be read; the raw record keeps them verbatim.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Arc<str>);

/// What an allocation takes besides its content: two counters, and about as much of the allocator.
const ALLOCATION_BYTES: usize = 32;

impl Text {
    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Text from bytes of unknown quality; see the type's documentation.
    pub fn from_bytes_lossy(bytes: &[u8]) -> Text {
        Text::from(&*String::from_utf8_lossy(bytes))
    }

    /// About how many bytes of the heap one of those who share it answers for.
    pub fn held_bytes(&self) -> usize {
        (ALLOCATION_BYTES + self.0.len()) / Arc::strong_count(&self.0)
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(value: &str) -> Text {
        Text(Arc::from(value))
    }
}

impl From<String> for Text {
    fn from(value: String) -> Text {
        Text(Arc::from(value))
    }
}

impl Default for Text {
    fn default() -> Text {
        Text::from("")
    }
}

impl std::borrow::Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        String::deserialize(deserializer).map(Text::from)
    }
}

impl<C> Encode<C> for Text {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Text {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Text, minicbor::decode::Error> {
        d.str().map(Text::from)
    }
}

/// A shared, immutable value: one allocation however many records carry it, and on disk the value
/// itself in each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shared<T>(Arc<T>);

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Shared<T> {
        Shared(Arc::new(value))
    }
}

impl<T> Shared<T> {
    /// About how many bytes of the heap one of those who share it answers for, besides what `T`
    /// itself points to.
    pub fn held_bytes(&self) -> usize {
        (ALLOCATION_BYTES + size_of::<T>()) / self.holder_count()
    }

    /// How many share it.
    pub fn holder_count(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<C, T: Encode<C>> Encode<C> for Shared<T> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        self.0.encode(e, context)
    }
}

impl<'b, C, T: Decode<'b, C>> Decode<'b, C> for Shared<T> {
    fn decode(d: &mut Decoder<'b>, context: &mut C) -> Result<Shared<T>, minicbor::decode::Error> {
        T::decode(d, context).map(Shared::from)
    }
}

//! A bounded scanner of JSON bytes.
//!
//! mongod writes one JSON object per line, and nine lines in ten are not authentications; a general
//! parser that builds a tree of every line costs more than everything else together. This one
//! walks over the bytes once, builds nothing, never recurses, and tells the caller about the
//! members it meets. What it accepts is a superset of JSON (it does not check number syntax or
//! what stands in skipped values beyond strings and brackets); what it hands out is exact.

use std::borrow::Cow;

use memchr::memchr2;

/// A position in JSON bytes.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A value, without what is inside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string.
    Text(JsonText<'a>),
    /// An object, with its braces.
    Object(&'a [u8]),
    /// An array, with its brackets.
    Array,
    /// A number, `true`, `false` or `null`, as written.
    Plain(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The string, if it is one.
    pub fn text(self) -> Option<JsonText<'a>> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The object's bytes, if it is one.
    pub fn object(self) -> Option<&'a [u8]> {
        match self {
            Value::Object(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The integer, if it is one.
    pub fn integer(self) -> Option<i64> {
        match self {
            Value::Plain(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// Whether it is true; parameters are also written as strings.
    pub fn truth(self) -> Option<bool> {
        let word = match self {
            Value::Plain(word) => word,
            Value::Text(text) => text.raw,
            _ => return None,
        };
        match word {
            b"true" | b"1" => Some(true),
            b"false" | b"0" => Some(false),
            _ => None,
        }
    }
}

/// A string as written, between its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonText<'a> {
    /// The bytes between the quotes.
    pub raw: &'a [u8],
    /// Whether there is a backslash in it.
    escaped: bool,
}

impl<'a> JsonText<'a> {
    /// Whether there is a backslash in it.
    pub fn is_escaped(self) -> bool {
        self.escaped
    }

    /// The bytes that it stands for. What cannot be read stays as it is written.
    pub fn bytes(self) -> Cow<'a, [u8]> {
        if self.escaped { Cow::Owned(unescape(self.raw)) } else { Cow::Borrowed(self.raw) }
    }
}

impl<'a> Cursor<'a> {
    /// At `at` within `bytes`.
    pub fn new(bytes: &'a [u8], at: usize) -> Cursor<'a> {
        Cursor { bytes, at }
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Moves on by bytes that the caller has read in [`Cursor::rest`].
    pub fn advance(&mut self, length: usize) {
        self.at += length;
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Skips blanks.
    pub fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes `byte` if it is next, after blanks.
    #[inline]
    pub fn eat(&mut self, byte: u8) -> Option<()> {
        if self.peek() != Some(byte) {
            self.skip_space();
        }
        if self.peek() == Some(byte) {
            self.at += 1;
            Some(())
        } else {
            None
        }
    }

    /// Takes a string, after blanks.
    #[inline]
    pub fn string(&mut self) -> Option<JsonText<'a>> {
        self.eat(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += quote_or_backslash(self.rest())?;
            if self.bytes.get(self.at) == Some(&b'"') {
                let raw = &self.bytes[start..self.at];
                self.at += 1;
                return Some(JsonText { raw, escaped });
            }
            escaped = true;
            self.at += 2; // the backslash and what it escapes; `\u` digits are ordinary bytes
        }
    }

    /// Takes any value, after blanks.
    pub fn value(&mut self) -> Option<Value<'a>> {
        self.skip_space();
        match self.peek()? {
            b'"' => self.string().map(Value::Text),
            b'{' => self.nested().map(Value::Object),
            b'[' => self.nested().map(|_| Value::Array),
            _ => {
                let start = self.at;
                while let Some(b) = self.peek() {
                    if matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n') {
                        break;
                    }
                    self.at += 1;
                }
                (self.at > start).then(|| Value::Plain(&self.bytes[start..self.at]))
            }
        }
    }

    /// Skips an object or array by its brackets, minding strings. Which bracket closes which is
    /// not checked: a wrong pair cannot come from mongod and changes nothing we read.
    fn nested(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return Some(&self.bytes[start..self.at]);
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Takes the key of an object's next member and the colon after it. `first` is whether no
    /// member came before it. `Some(None)` is the object's end, `None` is broken JSON.
    #[inline]
    pub fn key(&mut self, first: bool) -> Option<Option<JsonText<'a>>> {
        // In the order of what is likely: nine members of ten follow another one at once.
        if first || self.peek() != Some(b',') {
            if self.eat(b'}').is_some() {
                return Some(None);
            }
            if !first {
                self.eat(b',')?;
            }
        } else {
            self.at += 1;
        }
        let key = self.string()?;
        self.eat(b':')?;
        Some(Some(key))
    }

    /// Whether only blanks are left.
    pub fn is_done(&mut self) -> bool {
        self.skip_space();
        self.at >= self.bytes.len()
    }
}

/// Where the first quote or backslash is. Keys and most values are shorter than 32 bytes, where
/// setting up a vector search costs more than searching eight bytes at a time.
#[inline]
fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    const QUOTES: u64 = ONES * b'"' as u64;
    const BACKSLASHES: u64 = ONES * b'\\' as u64;
    // The classic test for a zero byte; its lowest hit is exact.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, _) = bytes.as_chunks::<8>();
    let words = &words[..words.len().min(4)];
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ QUOTES) | zeros(word ^ BACKSLASHES);
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let searched = words.len() * 8;
    memchr2(b'"', b'\\', &bytes[searched..]).map(|at| searched + at)
}

/// Calls `each` with every member of `object` (whose first byte is its brace). `None` if it is
/// broken; members before the break were handed out.
pub fn members<'a>(object: &'a [u8], mut each: impl FnMut(&'a [u8], Value<'a>)) -> Option<()> {
    let mut cursor = Cursor::new(object, 0);
    cursor.eat(b'{')?;
    let mut first = true;
    while let Some(key) = cursor.key(first)? {
        first = false;
        let value = cursor.value()?;
        each(key.raw, value);
    }
    Some(())
}

/// The value of one member, by the path of keys that leads to it.
pub fn at_path<'a>(object: &'a [u8], path: &[&[u8]]) -> Option<Value<'a>> {
    let (wanted, deeper) = path.split_first()?;
    let mut found = None;
    // What was found before a break counts: a cut line still tells its version.
    let _ = members(object, |key, value| {
        if key == *wanted && found.is_none() {
            found = Some(value);
        }
    });
    match (found?, deeper) {
        (value, []) => Some(value),
        (Value::Object(inner), deeper) => at_path(inner, deeper),
        _ => None,
    }
}

fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let (taken, character) = escape(&rest[at..]);
        match character {
            Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            None => out.extend_from_slice(&rest[at..at + taken]),
        }
        rest = &rest[at + taken..];
    }
    out.extend_from_slice(rest);
    out
}

/// How many bytes the escape at the start of `bytes` takes, and what it stands for.
fn escape(bytes: &[u8]) -> (usize, Option<char>) {
    let simple = match bytes.get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(bytes),
        _ => return (bytes.len().min(2), None),
    };
    (2, Some(simple))
}

fn unicode_escape(bytes: &[u8]) -> (usize, Option<char>) {
    let unit = |at: usize| {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        let all_hex = digits.iter().all(u8::is_ascii_hexdigit);
        let digits = std::str::from_utf8(digits).ok().filter(|_| all_hex)?;
        u32::from_str_radix(digits, 16).ok()
    };
    let Some(high) = unit(0) else { return (2, None) };
    if (0xd800..0xdc00).contains(&high)
        && let Some(low @ 0xdc00..0xe000) = unit(6)
    {
        return (12, char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)));
    }
    (6, Some(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(json: &str, expected: &str) {
        let text = Cursor::new(json.as_bytes(), 0).string().expect("a string");
        assert_eq!(String::from_utf8_lossy(&text.bytes()), expected, "{json}");
    }

    #[test]
    fn strings_are_unescaped() {
        check_text(r#""plain""#, "plain");
        check_text(r#""o\"brien \\ \/ \n\t\r\b\f""#, "o\"brien \\ / \n\t\r\u{8}\u{c}");
        check_text(r#""\u001b[31m \ud83d\ude00 \u65e5""#, "\u{1b}[31m 😀 日");
        check_text(r#""\ud83d alone""#, "\u{fffd} alone");
        check_text(r#""\q \u12 x""#, r"\q \u12 x");
        assert_eq!(Cursor::new(br#""open \""#, 0).string(), None);
        assert_eq!(Cursor::new(br#""\"#, 0).string(), None);
    }

    #[test]
    fn members_are_found_whatever_stands_between() {
        let json = br#" { "a" : {"x}":["]",{"y":1}]} , "b":"\"}", "c":[ ] ,"d": -12,"e":true}"#;
        let mut seen = Vec::new();
        let done = members(&json[1..], |key, value| {
            seen.push(format!("{} {value:?}", String::from_utf8_lossy(key)).len());
        });
        assert_eq!((done, seen.len()), (Some(()), 5));
        assert_eq!(at_path(&json[1..], &[b"d"]).and_then(Value::integer), Some(-12));
        assert_eq!(at_path(&json[1..], &[b"e"]).and_then(Value::truth), Some(true));
        assert_eq!(
            at_path(br#"{"a":{"b":{"c":7}}}"#, &[b"a", b"b", b"c"]).and_then(Value::integer),
            Some(7)
        );
        for broken in [
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":{\"b\":1}",
            "{\"a\" 1}",
            "{,}",
        ] {
            assert_eq!(members(broken.as_bytes(), |_, _| {}), None, "{broken}");
        }
    }
}

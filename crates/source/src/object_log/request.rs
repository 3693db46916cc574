//! [`Request`]: what every store's log says of a request.

use std::net::IpAddr;

use doorbook_event::{Text, Timestamp};

/// A request for an object, or for a list of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When the store began with it.
    pub at: Timestamp,
    /// How long it took; 0 where the log does not say.
    pub duration_micros: i64,
    /// The bucket.
    pub bucket: Text,
    /// The object's key; of a list the prefix of the keys.
    pub key: String,
    /// What was wanted.
    pub operation: Operation,
    /// Who wanted it, in the store's words; `None` if nobody said who he is.
    pub requester: Option<Text>,
    /// From where, as the store saw it.
    pub address: Option<IpAddr>,
    /// The program, in its own words.
    pub user_agent: Option<Text>,
    /// To the client, of the object or the answer.
    pub bytes_sent: u64,
    /// From the client, of the object.
    pub bytes_received: u64,
    /// The answer, as HTTP has it.
    pub status: u16,
    /// Why not, in the store's words.
    pub error: Option<Text>,
    /// The store's id of it.
    pub id: Text,
}

/// What was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// An object's bytes.
    Get,
    /// What is known of an object.
    Head,
    /// The keys below a prefix.
    List {
        /// Whether all of one level, as someone lists who wants to know what is there. Not so is the question
        /// whether there is anything, and a list of all levels.
        is_of_level: bool,
    },
    /// To send an object in parts.
    Begin,
    /// To store an object, at once.
    Put,
    /// To send a part of an object.
    Part,
    /// To make an object of the parts that were sent.
    Complete,
    /// To make an object of another one.
    Copy,
    /// To remove an object.
    Delete,
}

/// Reads what is percent-encoded; `plus` is a space in a query and a plus in a path. What is no code stays
/// as it is.
pub fn decode(text: &[u8], plus: u8) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'%').then(|| tail.split_first_chunk::<2>()).flatten();
        let code = code.and_then(|(hex, after)| Some((u8::try_from(value(hex)?).ok()?, after)));
        match code {
            Some((byte, after)) => {
                bytes.push(byte);
                rest = after;
            }
            None => {
                bytes.push(if *first == b'+' { plus } else { *first });
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn value(hex: &[u8; 2]) -> Option<u32> {
    let [high, low] = hex.map(|digit| char::from(digit).to_digit(16));
    Some(high? * 16 + low?)
}

/// A request line's target, `/bucket/key?query`.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    path: &'a [u8],
    query: &'a [u8],
}

impl<'a> Target<'a> {
    /// The target as it was sent.
    pub fn new(target: &'a [u8]) -> Target<'a> {
        let end = memchr::memchr(b'?', target).unwrap_or(target.len());
        let query = target.get(end + 1..).unwrap_or_default();
        Target { path: &target[..end], query }
    }

    /// The key. Where the bucket is part of the host's name, the path begins with the key.
    pub fn key(&self, bucket: &str) -> String {
        let path = decode(self.path, b'+');
        let path = path.strip_prefix('/').unwrap_or(&path);
        match path.strip_prefix(bucket) {
            Some("") => String::new(),
            Some(rest) if rest.starts_with('/') => rest[1..].to_owned(),
            _ => path.to_owned(),
        }
    }

    /// A parameter of the query, the first of its name.
    pub fn parameter(&self, name: &str) -> Option<String> {
        // Ceph writes the query twice, with a question mark between.
        let parameters = self.query.split(|byte| matches!(byte, b'&' | b'?'));
        let found = parameters.filter_map(|parameter| {
            let end = memchr::memchr(b'=', parameter).unwrap_or(parameter.len());
            let value = parameter.get(end + 1..).unwrap_or_default();
            (parameter[..end] == *name.as_bytes()).then_some(value)
        });
        found.map(|value| decode(value, b' ')).next()
    }

    /// What a list is of, as this asks for it.
    pub fn list(&self) -> (String, Operation) {
        let is_of_level = self.parameter("max-keys").is_none_or(|keys| keys != "1")
            && self.parameter("delimiter").is_some_and(|delimiter| !delimiter.is_empty());
        (self.parameter("prefix").unwrap_or_default(), Operation::List { is_of_level })
    }
}

/// An address, of whatever the log has in its place.
pub fn address(text: &[u8]) -> Option<IpAddr> {
    let address: IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(address.to_canonical())
}

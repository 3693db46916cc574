//! What a client says of itself: the document of a `client metadata` line.
//!
//! A server sees millions of connections and a few dozen different documents, so documents are
//! kept by their bytes and shared.

use doorbook_event::{Client, Shared, Text};
use memchr::memchr;

use super::text::peer;
use crate::json::{self, JsonText, Value};

/// 1024 documents; a client that invents more only loses the sharing.
const SLOTS: usize = 1024;

/// mongod refuses documents of more than 512 bytes from a client; routers add a little.
const DOCUMENT_BYTES_MAX: usize = 4096;

/// Documents that were seen, by their bytes.
#[derive(Debug)]
pub struct Clients {
    slots: Vec<Option<Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    document: Box<[u8]>,
    client: Shared<Client>,
}

impl Default for Clients {
    fn default() -> Clients {
        Clients { slots: vec![None; SLOTS] }
    }
}

impl Clients {
    /// The client of a JSON document, if exactly these bytes were read before.
    pub fn known(&self, document: &[u8]) -> Option<Shared<Client>> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return None;
        }
        match &self.slots[crate::intern::slot(document, SLOTS)] {
            Some(known) if *known.document == *document => Some(known.client.clone()),
            _ => None,
        }
    }

    /// The client of a JSON document.
    pub fn of_json(&mut self, document: &[u8]) -> Option<Shared<Client>> {
        self.of(document, from_json)
    }

    /// The client of a document as text logs write it.
    pub fn of_text(&mut self, document: &[u8]) -> Option<Shared<Client>> {
        self.of(document, |document| Some(from_text(document)))
    }

    fn of(
        &mut self,
        document: &[u8],
        read: impl FnOnce(&[u8]) -> Option<Client>,
    ) -> Option<Shared<Client>> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return None;
        }
        let slot = &mut self.slots[crate::intern::slot(document, SLOTS)];
        match slot {
            Some(known) if *known.document == *document => Some(known.client.clone()),
            _ => {
                let client = Shared::from(read(document)?);
                *slot = Some(Known { document: document.into(), client: client.clone() });
                Some(client)
            }
        }
    }
}

fn from_json(document: &[u8]) -> Option<Client> {
    let mut parts = Parts::default();
    json::members(document, |key, value| match value {
        Value::Object(inner) => {
            let _ = json::members(inner, |inner_key, value| {
                if let Some(text) = value.text() {
                    parts.set(key, inner_key, &text.bytes());
                }
            });
        }
        Value::Text(text) => parts.set(key, b"", &JsonText::bytes(text)),
        Value::Array | Value::Plain(_) => {}
    })?;
    Some(parts.into_client())
}

/// Text logs do not escape quotes (`name: "billing "svc""`), so a value ends at the first quote
/// behind which the document visibly goes on. A client can lie here; it can anyway.
fn from_text(document: &[u8]) -> Client {
    let mut parts = Parts::default();
    let mut group: &[u8] = b"";
    let mut rest = document;
    while let Some(colon) = memchr(b':', rest) {
        let before = &rest[..colon];
        if before.contains(&b'}') {
            group = b"";
        }
        let start = before.iter().rposition(|b| !is_key_byte(*b)).map_or(0, |at| at + 1);
        let key = &before[start..];
        rest = &rest[colon + 1..];
        match rest {
            [b' ', b'{', ..] => {
                group = key;
                rest = &rest[2..];
            }
            [b' ', b'"', value @ ..] => {
                let length = end_of_text_value(value);
                match group {
                    b"" => parts.set(key, b"", &value[..length]),
                    group => parts.set(group, key, &value[..length]),
                }
                rest = value.get(length + 1..).unwrap_or_default();
            }
            _ => {}
        }
    }
    parts.into_client()
}

fn end_of_text_value(value: &[u8]) -> usize {
    let goes_on = |after: &[u8]| match after {
        [] | [b' ', b'}', ..] => true,
        [b',', b' ', next @ ..] => {
            let key = next.iter().take_while(|b| is_key_byte(**b)).count();
            key > 0 && next.get(key) == Some(&b':')
        }
        _ => false,
    };
    let mut quotes = memchr::memchr_iter(b'"', value);
    quotes.find(|at| goes_on(&value[at + 1..])).unwrap_or(value.len())
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'|'
}

/// The parts of a document on their way to a [`Client`].
#[derive(Default)]
struct Parts {
    client: Client,
    os_name: Option<Text>,
    os_type: Option<Text>,
    os_version: Option<Text>,
    os_architecture: Option<Text>,
}

impl Parts {
    fn set(&mut self, group: &[u8], key: &[u8], value: &[u8]) {
        let slot = match (group, key) {
            (b"application", b"name") => &mut self.client.application,
            (b"driver", b"name") => &mut self.client.driver,
            (b"driver", b"version") => &mut self.client.driver_version,
            (b"platform", b"") => &mut self.client.platform,
            (b"mongos", b"host") => &mut self.client.via,
            (b"mongos", b"client") => {
                self.client.origin = peer(value);
                return;
            }
            (b"os", b"name") => &mut self.os_name,
            (b"os", b"type") => &mut self.os_type,
            (b"os", b"version") => &mut self.os_version,
            (b"os", b"architecture") => &mut self.os_architecture,
            _ => return,
        };
        *slot = Some(Text::from_bytes_lossy(value));
    }

    fn into_client(mut self) -> Client {
        let name = self.os_name.filter(|name| !name.is_empty()).or(self.os_type);
        let words = [name, self.os_version, self.os_architecture];
        let words: Vec<&str> = words.iter().flatten().map(Text::as_str).collect();
        self.client.os = (!words.is_empty()).then(|| words.join(" ").into());
        self.client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_both_generations_say_the_same() {
        let json = br#"{"application":{"name":"orders \"x\""},"driver":{"name":"PyMongo","version":"4.9.2"},"os":{"type":"Linux","name":"Ubuntu","architecture":"x86_64","version":"22.04"},"platform":"CPython 3.11","env":{"container":{"runtime":"docker"}},"mongos":{"host":"vm:37103","client":"127.0.0.1:56814","version":"7.0.11"}}"#;
        let text = br#"{ application: { name: "orders "x"" }, driver: { name: "PyMongo", version: "4.9.2" }, os: { type: "Linux", name: "Ubuntu", architecture: "x86_64", version: "22.04" }, platform: "CPython 3.11", env: { container: { runtime: "docker" } }, mongos: { host: "vm:37103", client: "127.0.0.1:56814", version: "7.0.11" } }"#;
        let expected = Client {
            application: Some("orders \"x\"".into()),
            driver: Some("PyMongo".into()),
            driver_version: Some("4.9.2".into()),
            os: Some("Ubuntu 22.04 x86_64".into()),
            platform: Some("CPython 3.11".into()),
            via: Some("vm:37103".into()),
            origin: peer(b"127.0.0.1:56814"),
        };
        let mut clients = Clients::default();
        assert_eq!(clients.of_json(json).as_deref(), Some(&expected));
        assert_eq!(clients.of_text(text).as_deref(), Some(&expected));
        let nameless = clients
            .of_text(br#"{ os: { type: "Linux", name: "" } }"#)
            .expect("text is always read");
        assert_eq!(nameless.os, Some("Linux".into()));
        assert_eq!(clients.of_json(b"{\"driver\":{\"name\":\"x\"}"), None);
    }
}

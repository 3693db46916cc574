//! What was accessed, and whose history it is.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Text;

/// A project's id: 12 bytes, shown as 24 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct ProjectId(#[cbor(n(0), with = "minicbor::bytes")] [u8; 12]);

impl ProjectId {
    /// From its twelve bytes.
    pub const fn new(bytes: [u8; 12]) -> ProjectId {
        ProjectId(bytes)
    }

    /// Its twelve bytes.
    pub const fn bytes(self) -> [u8; 12] {
        self.0
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not what it should be; says what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

impl FromStr for ProjectId {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<ProjectId, Malformed> {
        let expected = Malformed("a project id is 24 lower-case hexadecimal digits");
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(expected);
        }
        let mut bytes = [0; 12];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| expected)?;
        Ok(ProjectId(bytes))
    }
}

impl Serialize for ProjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ProjectId, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whose history a record belongs to. Each scope has its own log, so that tenants neither see each
/// other's volume nor hold each other's retention.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Scope {
    /// Doorbook's own: who changed and who asked.
    #[n(0)]
    System,
    /// A project with its clusters.
    #[n(1)]
    Project(#[n(0)] ProjectId),
    /// A namespace with its arrays.
    #[n(2)]
    Namespace(#[n(0)] Text),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::System => f.write_str("system"),
            Scope::Project(id) => write!(f, "project/{id}"),
            Scope::Namespace(name) => write!(f, "namespace/{name}"),
        }
    }
}

impl FromStr for Scope {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Scope, Malformed> {
        match text.split_once('/') {
            None if text == "system" => Ok(Scope::System),
            Some(("project", id)) => id.parse().map(Scope::Project),
            Some(("namespace", name)) if !name.is_empty() => Ok(Scope::Namespace(name.into())),
            _ => Err(Malformed("a scope is system, project/ID or namespace/NAME")),
        }
    }
}

/// What was accessed: always two names, the group that answers are asked for first and the member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Target {
    /// A mongod or mongos of a cluster.
    #[n(0)]
    Host {
        /// The cluster's name within its project.
        #[n(0)]
        cluster: Text,
        /// The host's canonical name, `name:port`; see [`HostName`].
        #[n(1)]
        host: Text,
    },
    /// An array of a namespace.
    #[n(1)]
    Array {
        /// The namespace.
        #[n(0)]
        namespace: Text,
        /// The array's canonical name.
        #[n(1)]
        array: Text,
    },
    /// Something of Doorbook's own, such as `("project", "orders")`.
    #[n(2)]
    Own {
        /// What kind of thing.
        #[n(0)]
        kind: Text,
        /// Which one.
        #[n(1)]
        name: Text,
    },
}

impl Target {
    /// The group and the member, in the order in which segments are sorted.
    pub fn names(&self) -> (&Text, &Text) {
        match self {
            Target::Host { cluster, host } => (cluster, host),
            Target::Array { namespace, array } => (namespace, array),
            Target::Own { kind, name } => (kind, name),
        }
    }
}

/// A host of a cluster: a DNS name or an address, and a port. The canonical form, which records
/// carry, is `name:port` in lower case, with IPv6 addresses in brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct HostName {
    /// Name or address, lower case, without brackets; an IPv6 address in its short form (RFC
    /// 5952), so that all its spellings are one host.
    #[n(0)]
    pub name: Text,
    /// TCP port.
    #[n(1)]
    pub port: u16,
}

impl HostName {
    /// The port of a mongod that was told none.
    pub const DEFAULT_PORT: u16 = 27017;

    /// Parses `name`, `name:port`, `[v6]`, `[v6]:port` or a bare IPv6 address. The second value
    /// says whether the text named a port.
    pub fn parse(text: &str) -> Result<(HostName, bool), Malformed> {
        let malformed = Malformed("a host is NAME, NAME:PORT, an address, or [ADDRESS]:PORT");
        let port_of = |digits: &str| match digits.parse::<u16>() {
            Ok(port) if port != 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
            _ => Err(malformed.clone()),
        };
        let canonical;
        let (name, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']').ok_or_else(|| malformed.clone())?;
            let address = address.parse::<Ipv6Addr>().map_err(|_| malformed.clone())?;
            canonical = address.to_string();
            let address = canonical.as_str();
            match rest.strip_prefix(':') {
                Some(digits) => (address, Some(port_of(digits)?)),
                None if rest.is_empty() => (address, None),
                None => return Err(malformed),
            }
        } else if let Ok(address) = text.parse::<Ipv6Addr>() {
            canonical = address.to_string();
            (canonical.as_str(), None)
        } else {
            match text.split_once(':') {
                Some((name, digits)) => (name, Some(port_of(digits)?)),
                None => (text, None),
            }
        };
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if name.is_empty() || name.len() > 255 || !name.bytes().all(allowed) {
            return Err(malformed);
        }
        let host = HostName {
            name: name.to_ascii_lowercase().into(),
            port: port.unwrap_or(HostName::DEFAULT_PORT),
        };
        Ok((host, port.is_some()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

/// A log: the append-only sequence of one scope's records on one writing node. The number is local
/// to the store; the scope it stands for is in the store's catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct LogId(#[n(0)] pub u32);

/// A record's position in its log: dense, gapless, from 0.
pub type Seq = u64;

#[cfg(test)]
mod tests {
    use super::*;

    fn check_host(text: &str, expected: Option<(&str, bool)>) {
        let got = HostName::parse(text).ok().map(|(host, port)| (host.to_string(), port));
        assert_eq!(got, expected.map(|(host, port)| (host.to_owned(), port)), "{text:?}");
    }

    #[test]
    fn hosts_have_one_canonical_form() {
        check_host("db-1", Some(("db-1:27017", false)));
        check_host("DB-1.Prod.example:27018", Some(("db-1.prod.example:27018", true)));
        check_host("10.0.0.1:1", Some(("10.0.0.1:1", true)));
        check_host("::1", Some(("[::1]:27017", false)));
        check_host("[::1]:5", Some(("[::1]:5", true)));
        check_host("2001:DB8:0:0:0:0:0:5", Some(("[2001:db8::5]:27017", false)));
        check_host("[2001:0db8::0:5]:1", Some(("[2001:db8::5]:1", true)));
        for bad in [
            "", ":1", "a:", "a:0", "a:65536", "a:+1", "a b", "[::1", "[x]:1", "[::1]x", "a/b",
            "a:1:2",
        ] {
            check_host(bad, None);
        }
    }

    #[test]
    fn project_ids_are_24_lower_case_hex_digits() {
        let text = "32b6e34b3d91647abb20e7b8";
        assert_eq!(text.parse::<ProjectId>().expect("valid").to_string(), text);
        for bad in
            ["", "32b6e34b3d91647abb20e7b", "32B6E34B3D91647ABB20E7B8", "32b6e34b3d91647abb20e7bg"]
        {
            assert!(bad.parse::<ProjectId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn scopes_are_read_as_they_are_shown() {
        let project = Scope::Project(ProjectId::new([7; 12]));
        for scope in [Scope::System, project, Scope::Namespace("a/b".into())] {
            assert_eq!(scope.to_string().parse::<Scope>(), Ok(scope));
        }
        assert!("group/x".parse::<Scope>().is_err());
    }
}

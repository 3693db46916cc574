//! Which host's log is it?

use std::net::IpAddr;

use doorbook_event::{HostName, Text};
use memchr::memmem;

use super::facts::{Version, id};
use super::json_lines;
use crate::json::{self, Value};

/// Looks for the host and version in start-up lines, for an import that was not told the host.
#[derive(Clone, Debug, Default)]
pub struct HostFinder {
    host: Option<HostName>,
    version: Option<Version>,
}

impl HostFinder {
    /// Nothing was seen.
    pub fn new() -> HostFinder {
        HostFinder::default()
    }

    /// A line, without its transport's wrapping. Cheap for lines that say nothing.
    pub fn line(&mut self, line: &[u8]) {
        if self.host.is_some() && self.version.is_some() {
            return;
        }
        if line.first() == Some(&b'{') {
            self.json_line(line);
        } else if memmem::find(line, b"-bit host=").is_some() {
            // A slow query or a user's name may hold these words too, but not where they stand here.
            let head = &line[..line.len().min(100)];
            let signs = [&b"] MongoDB starting : pid="[..], b"] MongoS version ", b"] pid="];
            if !signs.iter().any(|sign| memmem::find(head, sign).is_some()) {
                return;
            }
            let host = word_after(line, b"-bit host=");
            let port = word_after(line, b" port=").and_then(|port| port.parse().ok());
            self.found(host, port);
        } else if self.version.is_none()
            && let Some(at) = memmem::find(line, b" db version v")
        {
            self.version = Version::parse(&line[at + b" db version ".len()..]);
        }
    }

    /// The host, `name:port`.
    pub fn host(&self) -> Option<HostName> {
        self.host.clone()
    }

    /// The server's version.
    pub fn version(&self) -> Option<Text> {
        self.version.as_ref().map(|version| version.text.clone())
    }

    fn json_line(&mut self, line: &[u8]) {
        match json_lines::id_of_head(line) {
            Some(id::STARTING | id::PROCESS_DETAILS) => {
                let attribute = |key: &[u8]| json::at_path(line, &[b"attr", key]);
                let host = attribute(b"host").and_then(Value::text).map(|host| host.bytes());
                let host = host.as_deref().and_then(|host| std::str::from_utf8(host).ok());
                let port = attribute(b"port").and_then(Value::integer);
                self.found(host, port.and_then(|port| port.try_into().ok()));
            }
            Some(id::BUILD_INFO) => {
                let version = json::at_path(line, &[b"attr", b"buildInfo", b"version"]);
                let version = version.and_then(Value::text);
                self.version = version.and_then(|version| Version::parse(&version.bytes()));
            }
            _ => {}
        }
    }

    fn found(&mut self, host: Option<&str>, port: Option<u16>) {
        let Some(Ok((mut host, _))) = host.map(HostName::parse) else { return };
        if let Some(port) = port {
            host.port = port;
        }
        self.host.get_or_insert(host);
    }
}

/// The host that a line (without its transport's wrapping) names, if it is a start-up line. Cheap for
/// others.
pub fn host_of(line: &[u8]) -> Option<HostName> {
    let mut finder = HostFinder::new();
    match line.first() {
        Some(b'{') => match json_lines::id_of_head(line) {
            Some(id::STARTING | id::PROCESS_DETAILS) => finder.line(line),
            _ => return None,
        },
        _ if memmem::find(line, b"-bit host=").is_some() => finder.line(line),
        _ => return None,
    }
    finder.host()
}

/// The replica set that a line (without its transport's wrapping) names, if it is the start-up line with
/// the options. Cheap for others.
pub fn replica_set_of(line: &[u8]) -> Option<Text> {
    if line.first() == Some(&b'{') {
        if json_lines::id_of_head(line) != Some(id::OPTIONS) {
            return None;
        }
        let replication = [&b"attr"[..], b"options", b"replication"];
        let replication = json::at_path(line, &replication).and_then(Value::object)?;
        let named = |key: &[u8]| json::at_path(replication, &[key]).and_then(Value::text);
        let name = named(b"replSetName").or_else(|| named(b"replSet"))?.bytes();
        return Some(Text::from_bytes_lossy(seed_name(&name)));
    }
    let head = &line[..line.len().min(100)];
    memmem::find(head, b"] options: {")?;
    let sign = [&b"replSetName: \""[..], b"replSet: \""];
    let at = sign.iter().find_map(|sign| Some(memmem::find(line, sign)? + sign.len()))?;
    let name = line[at..].split(|b| *b == b'"').next()?;
    Some(Text::from_bytes_lossy(seed_name(name)))
}

/// `rs0/db-1,db-2` has been a way to write it.
fn seed_name(name: &[u8]) -> &[u8] {
    name.split(|b| *b == b'/').next().unwrap_or(name)
}

/// Whether a start-up line's name of the host is one of these. A host may call itself by the first
/// part of its name, and it never calls itself by its address, which therefore says nothing of its
/// name; the port is the same in any case. Without names any will do.
pub fn is_known(names: &[HostName], host: &HostName) -> bool {
    let is_part = |short: &str, long: &str| {
        long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let is_it = |name: &HostName| {
        let is_address = name.name.parse::<IpAddr>().is_ok() || &*name.name == "localhost";
        name.port == host.port
            && (is_address || is_part(&name.name, &host.name) || is_part(&host.name, &name.name))
    };
    names.is_empty() || names.iter().any(is_it)
}

fn word_after<'a>(line: &'a [u8], sign: &[u8]) -> Option<&'a str> {
    let rest = &line[memmem::find(line, sign)? + sign.len()..];
    let word = rest.split(|b| b.is_ascii_whitespace()).next()?;
    std::str::from_utf8(word).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<&str>) {
        let mut finder = HostFinder::new();
        finder.line(line.as_bytes());
        assert_eq!(finder.host().map(|host| host.to_string()).as_deref(), expected, "{line}");
    }

    #[test]
    fn start_up_lines_name_the_host() {
        check(
            "2014-04-09T23:16:20.437-0400 [initandlisten] MongoDB starting : pid=4037 port=27019 dbpath=/data 64-bit host=enter.local",
            Some("enter.local:27019"),
        );
        check(
            "Tue May 20 19:07:39.959 [mongosMain] MongoS version 2.4.7 starting: pid=36561 port=27017 64-bit host=Jim.local (--help for usage)",
            Some("jim.local:27017"),
        );
        check(
            "2022-03-13T09:40:30.246-0700 I CONTROL  [conn12813903] pid=16278 port=27997 64-bit host=h084732.mongolab.com",
            Some("h084732.mongolab.com:27997"),
        );
        check(
            r#"{"t":{"$date":"2026-11-23T02:50:50.848+00:00"},"s":"I",  "c":"CONTROL",  "id":4615611, "ctx":"initandlisten","msg":"MongoDB starting","attr":{"pid":10489,"port":31550,"dbPath":"/x","architecture":"64-bit","host":"vm"}}"#,
            Some("vm:31550"),
        );
        check(
            r#"{"t":{"$date":"2026-11-23T02:51:25.651+00:00"},"s":"I",  "c":"CONTROL",  "id":20721,   "ctx":"conn25","msg":"Process Details","attr":{"pid":"10489","port":31550,"architecture":"64-bit","host":"vm"}}"#,
            Some("vm:31550"),
        );
        check(
            r#"{"t":{"$date":"2026-11-23T02:51:25.651+00:00"},"s":"I",  "c":"COMMAND",  "id":51803,   "ctx":"conn25","msg":"x","attr":{"id":4615611,"port":31550,"host":"evil"}}"#,
            None,
        );
        check("", None);
        check("64-bit host=a b", None);
    }

    #[test]
    fn start_up_lines_name_the_replica_set() {
        let check = |line: &str, expected: Option<&str>| {
            let found = replica_set_of(line.as_bytes());
            assert_eq!(found.as_deref(), expected, "{line}");
        };
        check(
            r#"{"t":{"$date":"2026-11-23T02:50:50.848+00:00"},"s":"I",  "c":"CONTROL",  "id":21951,   "ctx":"initandlisten","msg":"Options set by command line","attr":{"options":{"net":{"port":31550},"replication":{"replSet":"rs0"}}}}"#,
            Some("rs0"),
        );
        check(
            r#"2019-11-23T02:50:50.848+0000 I CONTROL  [initandlisten] options: { net: { port: 27017 }, replication: { replSetName: "orders" } }"#,
            Some("orders"),
        );
        check(
            r#"{"t":{"$date":"2026-11-23T02:50:50.848+00:00"},"s":"I",  "c":"CONTROL",  "id":21951,   "ctx":"initandlisten","msg":"Options set by command line","attr":{"options":{"net":{"port":31550}}}}"#,
            None,
        );
        check(
            r#"{"t":{"$date":"2026-11-23T02:51:25.651+00:00"},"s":"I",  "c":"COMMAND",  "id":51803,   "ctx":"conn25","msg":"x","attr":{"options":{"replication":{"replSet":"evil"}}}}"#,
            None,
        );
        check("", None);
    }

    #[test]
    fn start_up_lines_name_the_version() {
        let mut finder = HostFinder::new();
        finder.line(b"2014-04-09T23:16:20.437-0400 [initandlisten] db version v2.6.0");
        assert_eq!(finder.version(), Some("2.6.0".into()));
        let mut finder = HostFinder::new();
        finder.line(br#"{"t":{"$date":"2026-11-23T02:51:25.652+00:00"},"s":"I",  "c":"CONTROL",  "id":23403,   "ctx":"x","msg":"Build Info","attr":{"buildInfo":{"version":"6.0.27"}}}"#);
        assert_eq!(finder.version(), Some("6.0.27".into()));
    }
}

//! Events to documents.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use doorbook_event::{Access, Client, Outcome, Peer, Principal, Target, Text, WrittenTime};

/// Appends an event as one JSON object. What [`super::Reader`] makes of it is equal, but that only
/// users of the accessed system and hosts and arrays have members that can be sent; Doorbook's own
/// are shown under other names.
pub fn write(access: &Access, out: &mut Vec<u8>) {
    let mut members = Members { out, separator: b'{' };
    members.shown("time", access.event_time);
    if let WrittenTime::Partial(text) = &access.written_time {
        members.text("written_time", text);
    }
    let (group, member) = match &access.target {
        Target::Host { .. } => ("cluster", "host"),
        Target::Array { .. } => ("namespace", "array"),
        Target::Own { .. } => ("own_kind", "own_name"),
    };
    let names = access.target.names();
    members.text(group, names.0);
    members.text(member, names.1);
    members.text("action", access.action.word());
    members.text("outcome", access.outcome.word());
    if let Outcome::Failure { reason, code } = &access.outcome {
        members.optional("reason", reason.as_ref());
        members.number("code", *code);
    }
    members.principal(&access.principal);
    members.optional("mechanism", access.mechanism.as_ref());
    match access.peer {
        Peer::Unknown => {}
        Peer::UnixSocket => members.truth("unix_socket", true),
        Peer::Ip { address, port } => {
            members.shown("address", address);
            members.number("port", port);
        }
    }
    if access.peer_joined {
        members.truth("address_joined", true);
    }
    members.number("connection", access.connection);
    if let Some(start) = access.process_start {
        members.shown("process_start", start);
    }
    if let Some(client) = &access.client {
        members.client(client);
    }
    if let Some(speculative) = access.speculative {
        members.truth("speculative", speculative);
    }
    members.rest(access);
    out.push(b'}');
}

/// Appends a JSON string.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control @ 0..b' ' => append(out, format_args!("\\u{control:04x}")),
            other => out.extend_from_slice(&[b'\\', other]),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

struct Members<'o> {
    out: &'o mut Vec<u8>,
    separator: u8,
}

impl Members<'_> {
    fn name(&mut self, name: &str) {
        self.out.push(self.separator);
        self.separator = b',';
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        write_text(text, self.out);
    }

    fn optional(&mut self, name: &str, text: Option<&Text>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// A value whose text needs no escapes, in quotes.
    fn shown(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        append(self.out, format_args!("\"{value}\""));
    }

    fn number(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.name(name);
            append(self.out, format_args!("{value}"));
        }
    }

    fn truth(&mut self, name: &str, value: bool) {
        self.name(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn principal(&mut self, principal: &Principal) {
        match principal {
            Principal::Unauthenticated => {}
            Principal::User { name, database } => {
                self.text("user", name);
                if !database.is_empty() {
                    self.text("database", database);
                }
            }
            other => {
                self.text("principal_kind", other.kind());
                self.optional("principal", other.name());
            }
        }
    }

    fn client(&mut self, client: &Client) {
        let Client { application, driver, driver_version, os, platform, via, origin } = client;
        self.optional("application", application.as_ref());
        self.optional("driver", driver.as_ref());
        self.optional("driver_version", driver_version.as_ref());
        self.optional("os", os.as_ref());
        self.optional("platform", platform.as_ref());
        self.optional("via", via.as_ref());
        if let Some(origin) = origin.filter(|origin| *origin != Peer::Unknown) {
            self.shown("origin", origin);
        }
    }

    fn rest(&mut self, access: &Access) {
        for (index, class) in access.classes.iter().enumerate() {
            if index == 0 {
                self.name("classes");
            }
            self.out.push(if index == 0 { b'[' } else { b',' });
            append(self.out, format_args!("\"{}\"", class.word()));
        }
        if access.classes.iter().next().is_some() {
            self.out.push(b']');
        }
        self.optional("task_id", access.task_id.as_ref());
        if !access.attributes.is_empty() {
            self.name("attributes");
            let mut inner = Members { out: self.out, separator: b'{' };
            for (name, value) in access.attributes.iter() {
                inner.out.push(inner.separator);
                inner.separator = b',';
                write_text(name, inner.out);
                inner.out.push(b':');
                write_text(value, inner.out);
            }
            self.out.push(b'}');
        }
        match std::str::from_utf8(&access.raw) {
            Ok("") => {}
            Ok(raw) => self.text("raw", raw),
            Err(_) => self.shown("raw_base64", STANDARD.encode(&access.raw)),
        }
    }
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes all that is written to it");
}

//! The lines of text logs (2.4 - 4.2), as grammar only: bytes to [`Said`].
//!
//! **Parse from the right.** mongod writes user names as they come, so a name can hold anything
//! that a line can, ` on admin from client 6.6.6.6:666 ; ` included. What mongod appends itself is
//! at the end of the line, so the last occurrence of a separator is its own. The reason `UserNotFound`
//! repeats the name behind that; a name is right if the reason repeats exactly it, to the line's end,
//! and that goes before everything else.

use std::net::{IpAddr, Ipv4Addr};

use doorbook_event::Peer;
use memchr::memchr;
use memchr::memmem::{self, rfind};

/// What stands before a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix<'a> {
    /// `I`, `W`, `D`, ...; `None` up to 2.6, which has neither severity nor component.
    pub severity: Option<u8>,
    /// `ACCESS`, ...; empty up to 2.6.
    pub component: &'a [u8],
    /// The thread: `conn7`, `listener`, ...
    pub context: &'a [u8],
    /// What it says.
    pub message: &'a [u8],
}

/// What a message says, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// `Successfully authenticated as principal ...`
    Success {
        /// Who.
        user: &'a [u8],
        /// Which database knows them.
        database: &'a [u8],
        /// The address, from 3.6 on.
        client: Option<&'a [u8]>,
    },
    /// `... authentication failed for ...` and `Failed to authenticate ...`
    Failure(Failure<'a>),
    /// `Failed to acquire user ... because of unmet authentication restrictions`
    Restricted {
        /// Who.
        user: &'a [u8],
        /// Which database knows them.
        database: &'a [u8],
        /// Why.
        reason: &'a [u8],
    },
    /// ` authenticate db: ...`
    Announced {
        /// Who, if the command said so.
        user: Option<&'a [u8]>,
        /// Which database knows them.
        database: &'a [u8],
        /// How, if the command said so.
        mechanism: Option<&'a [u8]>,
    },
    /// `Unauthorized: not authorized on ...`
    Denied,
    /// It begins like an authentication and does not end like one: its user name may hold a line
    /// break, and the next lines are the rest.
    Open,
    /// It ends within the words that an authentication begins with.
    Cut,
    /// Nothing of the above.
    Other,
}

/// A failed authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// Who.
    pub user: &'a [u8],
    /// Which database was asked; empty if that is lost.
    pub database: &'a [u8],
    /// The address; 2.6 - 3.4 do not write it.
    pub client: Option<&'a [u8]>,
    /// How.
    pub mechanism: Option<&'a [u8]>,
    /// Why; empty if that is lost.
    pub reason: &'a [u8],
    /// mongod cut the line.
    pub is_truncated: bool,
}

/// The prefix of the part of a line that follows its time.
pub fn prefix(rest: &[u8]) -> Option<Prefix<'_>> {
    let rest = rest.strip_prefix(b" ")?;
    if rest.first() == Some(&b'[') || rest.starts_with(b"***** ") {
        let (context, message) = context(rest)?;
        return Some(Prefix { severity: None, component: b"", context, message });
    }
    let (&severity @ (b'D' | b'I' | b'W' | b'E' | b'F'), rest) = rest.split_first()? else {
        return None;
    };
    let level = usize::from(rest.first().is_some_and(u8::is_ascii_digit));
    let rest = rest[level..].trim_ascii_start();
    let is_component = |b: &u8| b.is_ascii_uppercase() || *b == b'_' || *b == b'-';
    let length = rest.iter().take_while(|b| is_component(b)).count();
    let (component, rest) = rest.split_at(length);
    let (context, message) = context(rest.trim_ascii_start())?;
    Some(Prefix { severity: Some(severity), component, context, message })
}

/// `[conn7] message`; a few messages have no thread.
fn context(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let Some(inside) = rest.strip_prefix(b"[") else { return Some((b"", rest)) };
    let end = memchr(b']', inside)?;
    let message = &inside[end + 1..];
    Some((&inside[..end], message.strip_prefix(b" ").unwrap_or(message)))
}

/// The number in `conn7`.
pub fn connection_number(context: &[u8]) -> Option<u64> {
    number(context.strip_prefix(b"conn")?)
}

/// Digits, and nothing else.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits
        .iter()
        .try_fold(0u64, |value, b| b.is_ascii_digit().then(|| value * 10 + u64::from(b - b'0')))
}

/// `1.2.3.4:5`, `[::1]:5`, an address without port, `anonymous unix socket:27017`.
pub fn peer(text: &[u8]) -> Option<Peer> {
    if let Some(peer) = ipv4_and_port(text) {
        return Some(peer);
    }
    if text.starts_with(b"anonymous unix socket") {
        let rest = &text[b"anonymous unix socket".len()..];
        let is_port = rest.is_empty() || rest.strip_prefix(b":").and_then(number).is_some();
        return is_port.then_some(Peer::UnixSocket);
    }
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some(Peer::ip(socket.ip(), Some(socket.port())));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    Some(Peer::ip(bare.parse::<IpAddr>().ok()?, None))
}

/// The common case of [`peer`], by hand.
fn ipv4_and_port(text: &[u8]) -> Option<Peer> {
    let mut octets = [0u8; 4];
    let mut at = 0;
    for (index, octet) in octets.iter_mut().enumerate() {
        let start = at;
        let mut value = 0u32;
        while let Some(b) = text.get(at).filter(|b| b.is_ascii_digit()) {
            value = value * 10 + u32::from(b - b'0');
            at += 1;
            if at - start > 3 {
                return None;
            }
        }
        let ends_with = if index == 3 { b':' } else { b'.' };
        if at == start || text.get(at) != Some(&ends_with) {
            return None;
        }
        *octet = u8::try_from(value).ok()?;
        at += 1;
    }
    let port = u16::try_from(number(&text[at..])?).ok()?;
    Some(Peer::ip(Ipv4Addr::from(octets).into(), Some(port)))
}

const WARNING: &[u8] = b"warning: log line attempted (";
const PRINTING: &[u8] = b"printing beginning and end ... ";
const CUT: &[u8] = b" .......... ";
const SUCCESS: &[u8] = b"Successfully authenticated as principal ";
const FROM: &[u8] = b" from client ";
const UNKNOWN_USER: &[u8] = b"UserNotFound: Could not find user ";

/// What a message says. `accepted` is the connection's address, if known, in the light of which
/// a hostile name is read.
pub fn said(message: &[u8], accepted: Option<Peer>) -> Said<'_> {
    let (message, is_truncated) = match message.strip_prefix(WARNING) {
        Some(_) => match memmem::find(message, PRINTING) {
            Some(at) => (&message[at + PRINTING.len()..], true),
            None => return Said::Other,
        },
        None => (message, false),
    };
    if let Some(rest) = message.strip_prefix(SUCCESS) {
        return success(rest, accepted);
    }
    if let Some((mechanism, rest)) = sasl_failure(message) {
        if is_truncated {
            return truncated_failure(mechanism, rest, accepted).map_or(Said::Open, Said::Failure);
        }
        return failure_on(mechanism, rest, accepted).map_or(Said::Open, Said::Failure);
    }
    if let Some(rest) = message.strip_prefix(b"Failed to authenticate ") {
        return failure_at(rest, accepted).map_or(Said::Open, Said::Failure);
    }
    if let Some(rest) = message.strip_prefix(b"Failed to acquire user '") {
        return restricted(rest).unwrap_or(Said::Open);
    }
    if let Some(rest) = message.strip_prefix(b" authenticate db: ") {
        return announced(rest).unwrap_or(Said::Open);
    }
    if let Some(rest) = message.strip_prefix(b"auth: ") {
        return failure_of_2_4(rest);
    }
    let lower = message.strip_prefix(b"Unauthorized").or(message.strip_prefix(b"unauthorized"));
    match lower {
        Some(rest) if memmem::find(rest, b"not authorized").is_some() => Said::Denied,
        _ if message.starts_with(b"not authorized on ") => Said::Denied,
        _ if is_cut(message) => Said::Cut,
        _ => Said::Other,
    }
}

/// Whether `message` is the beginning of something that would have been read if it went on.
fn is_cut(message: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 5] = [
        SUCCESS,
        b"Failed to authenticate ",
        b"Failed to acquire user '",
        b" authenticate db: ",
        b"Unauthorized: not authorized on ",
    ];
    let is_beginning = |whole: &&[u8]| message.len() >= 4 && whole.starts_with(message);
    let is_sasl = message.strip_prefix(b"SASL ").is_some_and(|rest| {
        let rest = rest.iter().position(|b| *b == b' ').map_or(&b""[..], |at| &rest[at..]);
        b" authentication failed for ".starts_with(rest)
    });
    is_sasl || BEGINNINGS.iter().any(is_beginning)
}

/// `<u> on <db> from client <address>`, up to 3.4 without the address.
fn success(rest: &[u8], accepted: Option<Peer>) -> Said<'_> {
    let (who, client) = split_client(rest);
    if let Some(client) = client {
        // A word that is no address is left to the caller to judge; several words are a name.
        let is_word = !client.is_empty() && !client.contains(&b' ') && !has_line_break(client);
        let is_whole = !rest.contains(&b'\n') || is_own_client(Some(client), accepted);
        if peer(client).is_none() && !is_word || !is_whole {
            return Said::Open;
        }
    }
    match split_last(who, b" on ") {
        Some((user, database)) if is_database_of(database, client) => {
            Said::Success { user, database, client }
        }
        _ => Said::Open,
    }
}

/// `[SASL ]<M> authentication failed for `
fn sasl_failure(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = message.strip_prefix(b"SASL ").unwrap_or(message);
    let length = memchr(b' ', rest)?;
    let (mechanism, rest) = rest.split_at(length);
    let rest = rest.strip_prefix(b" authentication failed for ")?;
    is_mechanism(mechanism).then_some((mechanism, rest))
}

/// `<u> on <db> from client <address> ; <Code>: <reason>`, up to 3.0 without the address and the
/// colon.
fn failure_on<'a>(
    mechanism: &'a [u8],
    rest: &'a [u8],
    accepted: Option<Peer>,
) -> Option<Failure<'a>> {
    let mut end = rest.len();
    let mut found = None;
    while let Some(at) = rfind(&rest[..end], b" ; ") {
        end = at;
        let reason = &rest[at + 3..];
        let (who, client) = split_client(&rest[..at]);
        let Some((user, database)) = split_last(who, b" on ") else { continue };
        if !is_database_of(database, client) {
            continue;
        }
        if is_own_client(client, accepted) && is_reason_for(reason, user, database) {
            let mechanism = Some(mechanism);
            let is_truncated = false;
            let failure = Failure { user, database, client, mechanism, reason, is_truncated };
            if reason.starts_with(UNKNOWN_USER) {
                return Some(failure);
            }
            found.get_or_insert(failure);
        }
    }
    found
}

/// `<u>@<db> [from client <address> ]with mechanism <M>: <Code>: <reason>`
fn failure_at(rest: &[u8], accepted: Option<Peer>) -> Option<Failure<'_>> {
    const WITH: &[u8] = b" with mechanism ";
    let mut end = rest.len();
    let mut found = None;
    while let Some(at) = rfind(&rest[..end], WITH) {
        end = at;
        let tail = &rest[at + WITH.len()..];
        let Some(colon) = memmem::find(tail, b": ") else { continue };
        let (mechanism, reason) = (&tail[..colon], &tail[colon + 2..]);
        let (who, client) = split_client(&rest[..at]);
        let Some((user, database)) = split_last(who, b"@") else { continue };
        let is_own = is_mechanism(mechanism) && is_own_client(client, accepted);
        if is_own && is_reason_for(reason, user, database) {
            let mechanism = Some(mechanism);
            let is_truncated = false;
            let failure = Failure { user, database, client, mechanism, reason, is_truncated };
            if reason.starts_with(UNKNOWN_USER) {
                return Some(failure);
            }
            found.get_or_insert(failure);
        }
    }
    found
}

fn is_own_client(client: Option<&[u8]>, accepted: Option<Peer>) -> bool {
    match (client, accepted) {
        (None, _) => true,
        (Some(client), None) => peer(client).is_some(),
        (Some(client), Some(accepted)) => match (peer(client), accepted) {
            (Some(Peer::Ip { address, port: None }), _) => accepted.address() == Some(address),
            (stated, _) => stated == Some(accepted),
        },
    }
}

/// Whether `reason` can be what mongod wrote about this user: it begins with the name of a code,
/// and where it repeats the user it repeats this one, to the end of the line.
fn is_reason_for(reason: &[u8], user: &[u8], database: &[u8]) -> bool {
    let code = reason.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
    if code == 0 || !matches!(reason.get(code), Some(b':' | b' ')) {
        return false;
    }
    let Some(name) = reason.strip_prefix(UNKNOWN_USER) else { return true };
    let quoted = name
        .strip_prefix(b"\"")
        .and_then(|name| name.strip_prefix(user))
        .and_then(|rest| rest.strip_prefix(b"\" for db \""))
        .and_then(|rest| rest.strip_prefix(database));
    let joined = name
        .strip_prefix(user)
        .and_then(|rest| rest.strip_prefix(b"@"))
        .and_then(|rest| rest.strip_prefix(database));
    quoted.is_some_and(|rest| rest == b"\"") || joined.is_some_and(<[u8]>::is_empty)
}

/// `BBB .......... BBB" for db "admin"`: the middle is lost, and with it usually the address. `None`
/// if it does not end like that.
fn truncated_failure<'a>(
    mechanism: &'a [u8],
    rest: &'a [u8],
    accepted: Option<Peer>,
) -> Option<Failure<'a>> {
    let (head, tail) = split_last(rest, CUT)?;
    let whole = failure_on(mechanism, tail, accepted);
    let named = tail
        .strip_suffix(b"\"")
        .and_then(|tail| split_last(tail, b"\" for db \""))
        // 4.0 writes `Could not find user <u>@<db>`.
        .or_else(|| split_last(tail, b"@").filter(|(_, database)| is_database(database)))
        .map(|(_, database)| database);
    if whole.is_none() && named.is_none() {
        return None;
    }
    Some(Failure {
        user: head,
        database: whole.map(|whole| whole.database).or(named).unwrap_or_default(),
        client: whole.and_then(|whole| whole.client),
        mechanism: Some(mechanism),
        reason: whole.map(|whole| whole.reason).unwrap_or_default(),
        is_truncated: true,
    })
}

/// `<u>@<db>' because of unmet authentication restrictions: <reason>`
fn restricted(rest: &[u8]) -> Option<Said<'_>> {
    const BECAUSE: &[u8] = b"' because of unmet authentication restrictions: ";
    let at = rfind(rest, BECAUSE)?;
    let (user, database) = split_last(&rest[..at], b"@")?;
    Some(Said::Restricted { user, database, reason: &rest[at + BECAUSE.len()..] })
}

/// `<db> { authenticate: 1, nonce: "xxx", user: "<u>", key: "xxx" }`
fn announced(rest: &[u8]) -> Option<Said<'_>> {
    let (database, command) = split_first(rest, b" { ")?;
    let command = command.strip_suffix(b" }")?;
    let value = |key: &[u8]| {
        let at = memmem::find(command, key)? + key.len();
        let value = &command[at..];
        let ends = [&b"\", key: \""[..], b"\", nonce: \"", b"\", $db: \"", b"\", mechanism: \""];
        let end = ends.iter().filter_map(|end| rfind(value, end)).min();
        Some(&value[..end.unwrap_or(value.len().checked_sub(1)?)])
    };
    let mechanism = split_first(command, b" mechanism: \"")
        .and_then(|(_, rest)| rest.split(|b| *b == b'"').next())
        .filter(|mechanism| is_mechanism(mechanism));
    Some(Said::Announced { user: value(b" user: \""), database, mechanism })
}

/// `couldn't find user <u>@<db>, <db>.system.users` and `key mismatch <u>, ns:<db>`
fn failure_of_2_4(rest: &[u8]) -> Said<'_> {
    let found = if let Some(name) = rest.strip_prefix(b"couldn't find user ") {
        split_last(name, b", ").map(|(user, namespace)| {
            let database = split_first(namespace, b".").map_or(namespace, |(db, _)| db);
            let own = split_last(user, b"@").filter(|(_, db)| *db == database);
            (own.map_or(user, |(user, _)| user), database)
        })
    } else if let Some(name) = rest.strip_prefix(b"key mismatch ") {
        split_last(name, b", ns:")
    } else {
        return Said::Other;
    };
    let Some((user, database)) = found else { return Said::Open };
    let mechanism = None;
    Said::Failure(Failure {
        user,
        database,
        client: None,
        mechanism,
        reason: rest,
        is_truncated: false,
    })
}

/// A failure line that cannot be read strictly: a reason that was redacted, an address that its
/// connection was not accepted from.
pub fn said_leniently(message: &[u8]) -> Said<'_> {
    if message.starts_with(WARNING) {
        return truncated_leniently(message).map_or(Said::Open, Said::Failure);
    }
    let failure_of = |who, client, reason, mechanism, separator: &[u8]| {
        let (user, database) = split_last(who, separator)?;
        let mechanism = Some(mechanism);
        Some(Failure { user, database, client, mechanism, reason, is_truncated: false })
    };
    let failure = if let Some((mechanism, rest)) = sasl_failure(message) {
        split_last(rest, FROM).and_then(|(who, tail)| {
            let (client, reason) = split_first(tail, b" ; ")?;
            failure_of(who, Some(client), reason, mechanism, b" on ")
        })
    } else if let Some(rest) = message.strip_prefix(b"Failed to authenticate ") {
        split_last(rest, b" with mechanism ").and_then(|(who, tail)| {
            let (mechanism, reason) = split_first(tail, b": ")?;
            let (who, client) = split_client(who);
            failure_of(who, client, reason, mechanism, b"@")
        })
    } else {
        None
    };
    failure.map_or(Said::Open, Said::Failure)
}

/// A cut failure without the end that it should have: what is left of the name.
fn truncated_leniently(message: &[u8]) -> Option<Failure<'_>> {
    let (_, message) = split_first(message, PRINTING)?;
    let (mechanism, rest) = sasl_failure(message)?;
    let (user, _) = split_first(rest, CUT)?;
    let mechanism = Some(mechanism);
    let (database, client, reason): (&[u8], _, &[u8]) = (b"", None, b"");
    Some(Failure { user, database, client, mechanism, reason, is_truncated: true })
}

/// Who a line claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// Who.
    pub user: &'a [u8],
    /// Which database knows them; empty if it does not say.
    pub database: &'a [u8],
    /// From where.
    pub client: Option<&'a [u8]>,
}

/// What a line claims that begins like a success, however it ends.
pub fn claimed_success(message: &[u8]) -> Option<Claim<'_>> {
    let rest = message.strip_prefix(SUCCESS)?;
    let (who, client) = match split_last(rest, FROM) {
        Some((who, tail)) => {
            let word = tail.split(|b| *b == b' ').next().unwrap_or_default();
            let is_socket = tail.starts_with(b"anonymous unix socket");
            (who, Some(if is_socket { tail } else { word }))
        }
        None => (rest, None),
    };
    let (user, database) = split_last(who, b" on ").unwrap_or((who, b""));
    Some(Claim { user, database, client })
}

/// `connection accepted from <address> #<n> (k connections now open)`
pub fn accepted(message: &[u8]) -> Option<(Peer, u64)> {
    let rest = message.strip_prefix(b"connection accepted from ")?;
    let (address, rest) = split_last(rest, b" #")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    Some((peer(address)?, number(&rest[..digits])?))
}

/// `end connection <address> (k connections now open)`
pub fn ended(message: &[u8]) -> Option<Peer> {
    let rest = message.strip_prefix(b"end connection ")?;
    peer(split_last(rest, b" (").map_or(rest, |(address, _)| address))
}

/// How `client metadata` lines begin.
pub const METADATA: &[u8] = b"received client metadata from ";

/// `received client metadata from <address> conn<n>: { ... }`
pub fn metadata(message: &[u8]) -> Option<(Peer, u64, &[u8])> {
    let rest = message.strip_prefix(METADATA)?;
    let (head, document) = split_first(rest, b": {")?;
    let (address, connection) = split_last(head, b" conn")?;
    let document = &rest[rest.len() - document.len() - 1..];
    document.ends_with(b"}").then_some((peer(address)?, number(connection)?, document))
}

/// `key: true` in an options document, outside of quotes.
pub fn option(document: &[u8], key: &[u8]) -> Option<bool> {
    let mut in_quotes = false;
    let mut at = 0;
    while let Some(&byte) = document.get(at) {
        if byte == b'"' {
            in_quotes = !in_quotes;
        } else if !in_quotes
            && byte == b' '
            && let Some(value) = document[at + 1..].strip_prefix(key)
            && let Some(value) = value.strip_prefix(b": ")
        {
            let value = value.strip_prefix(b"\"").unwrap_or(value);
            return Some(value.starts_with(b"true") || value.starts_with(b"1"));
        }
        at += 1;
    }
    None
}

fn is_mechanism(word: &[u8]) -> bool {
    let is_letter = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'-';
    (1..=40).contains(&word.len()) && word.iter().all(is_letter)
}

/// mongod refuses blanks in the names of databases before it writes them here.
fn is_database(name: &[u8]) -> bool {
    !name.iter().any(u8::is_ascii_whitespace)
}

/// It does not refuse line breaks and tabs. Without an address behind it, a line break is taken to be
/// one of the user's name.
fn is_database_of(name: &[u8], client: Option<&[u8]>) -> bool {
    match client {
        Some(_) => !name.contains(&b' '),
        None => is_database(name),
    }
}

fn has_line_break(text: &[u8]) -> bool {
    memchr::memchr2(b'\n', b'\r', text).is_some()
}

/// `<who>[ from client <address>]`
fn split_client(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match split_last(text, FROM) {
        Some((who, client)) => (who, Some(client)),
        None => (text, None),
    }
}

fn split_last<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = rfind(text, separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
}

fn split_first<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memmem::find(text, separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
}

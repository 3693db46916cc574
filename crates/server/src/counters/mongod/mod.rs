//! [`Session`]: an authenticated connection to a mongod or mongos, over which its counters are read.
//!
//! Three commands in OP_MSG: `hello`, SCRAM, `serverStatus`. The session identifies itself as
//! `doorbook counters`, so that its login is recognised in the history, where it belongs.

mod bson;
mod scram;

use std::fmt;
use std::sync::Arc;

use doorbook_event::{Clock, HostName, Random, Timestamp};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use self::bson::{Document, Writer};
use super::compare::{Count, Reading};

/// What the session calls itself.
pub const APPLICATION: &str = "doorbook counters";

/// The mechanism that a driver gives up for another one without leaving a line.
pub(super) const FALLBACK: &str = "SCRAM-SHA-1";

/// Who asks, and how.
#[derive(Clone)]
pub struct Access {
    /// A user of the database `admin` with the role `clusterMonitor`.
    pub user: String,
    /// Its password.
    pub password: String,
    /// With which certificates a server has to prove who it is; `None` for no TLS.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// An authenticated connection.
pub struct Session {
    stream: Box<dyn Stream>,
    last_id: i32,
}

/// Why there is no reading; says what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A reply of serverStatus has some 50 kB.
const REPLY_BYTES_MAX: usize = 4 << 20;

/// What each message begins with: length, id, the id it answers, the kind.
const HEADER_BYTES: usize = 16;
const OP_MSG: i32 = 2013;

/// Parts of serverStatus that are large or expensive and say nothing about logins.
const LEFT_OUT: [&str; 6] = ["metrics", "wiredTiger", "tcmalloc", "locks", "repl", "transactions"];

impl Session {
    /// Connects and logs in.
    pub async fn open(
        host: &HostName,
        access: &Access,
        random: &dyn Random,
    ) -> Result<Session, Error> {
        let io = |error: std::io::Error| Error(error.to_string());
        let name = &*host.name;
        let stream = TcpStream::connect((name, host.port)).await.map_err(io)?;
        stream.set_nodelay(true).map_err(io)?;
        let stream: Box<dyn Stream> = match &access.tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = ServerName::try_from(name.to_owned())
                    .map_err(|_| Error(format!("{name} is no name that a certificate can have")))?;
                let connector = TlsConnector::from(Arc::clone(tls));
                let stream = connector.connect(name, stream).await;
                Box::new(stream.map_err(|error| Error(format!("TLS: {error}")))?)
            }
        };
        let mut session = Session { stream, last_id: 0 };
        session.greet().await?;
        let mut nonce = [0; 24];
        random.fill(&mut nonce);
        session.log_in(access, &nonce).await?;
        Ok(session)
    }

    /// What the server has counted by now.
    pub async fn read(&mut self, clock: &dyn Clock) -> Result<Reading, Error> {
        let command = Writer::default().int("serverStatus", 1);
        let command = LEFT_OUT.iter().fold(command, |command, part| command.int(part, 0));
        let status = self.run(command.text("$db", "admin")).await?;
        reading(&status, clock.now())
    }

    async fn greet(&mut self) -> Result<(), Error> {
        let application = Writer::default().text("name", APPLICATION);
        let version = env!("CARGO_PKG_VERSION");
        let driver = Writer::default().text("name", "doorbook").text("version", version);
        let os = Writer::default().text("type", std::env::consts::OS);
        let client = Writer::default()
            .document("application", application)
            .document("driver", driver)
            .document("os", os);
        let hello = Writer::default().int("hello", 1).document("client", client);
        self.run(hello.text("$db", "admin")).await.map(drop)
    }

    async fn log_in(&mut self, access: &Access, nonce: &[u8; 24]) -> Result<(), Error> {
        let refused = |error: Error| {
            let (user, mechanism) = (&access.user, scram::MECHANISM);
            Error(format!("{user} cannot log in by {mechanism}: {error}"))
        };
        let conversation = scram::Conversation::new(&access.user, &access.password, nonce)
            .map_err(|error| Error(error.into()))?;
        let start = Writer::default()
            .int("saslStart", 1)
            .text("mechanism", scram::MECHANISM)
            .bytes("payload", conversation.first().as_bytes())
            .document("options", Writer::default().bool("skipEmptyExchange", true));
        let started = self.run(start.text("$db", "admin")).await.map_err(refused)?;
        let (message, proven) =
            conversation.prove(payload(&started)?).map_err(|error| Error(error.into()))?;
        let id = started.integer("conversationId").and_then(|id| i32::try_from(id).ok());
        let go_on = Writer::default()
            .int("saslContinue", 1)
            .int("conversationId", id.unwrap_or(1))
            .bytes("payload", message.as_bytes());
        let ended = self.run(go_on.text("$db", "admin")).await.map_err(refused)?;
        if !proven.is_by_server(payload(&ended)?) {
            return Err(Error("it does not know the password: is this the right server?".into()));
        }
        match ended.bool("done") {
            Some(true) => Ok(()),
            _ => Err(Error("it does not end the login".into())),
        }
    }

    /// Sends a command and reads its reply, which is an error if it says so.
    async fn run(&mut self, command: Writer) -> Result<Document, Error> {
        let io = |error: std::io::Error| Error(error.to_string());
        let body = command.finish();
        // Flags, and the kind of the only section, a document.
        let size_bytes = HEADER_BYTES + 4 + 1 + body.len();
        let size = i32::try_from(size_bytes).expect("what we send is a few hundred bytes");
        self.last_id = self.last_id.wrapping_add(1);
        let mut message = Vec::with_capacity(size_bytes);
        for number in [size, self.last_id, 0, OP_MSG, 0] {
            message.extend(number.to_le_bytes());
        }
        message.push(0);
        message.extend(body);
        self.stream.write_all(&message).await.map_err(io)?;
        self.stream.flush().await.map_err(io)?;
        let reply = self.reply().await?;
        let ok = reply.integer("ok") == Some(1) || reply.bool("ok") == Some(true);
        if ok { Ok(reply) } else { Err(refusal(&reply)) }
    }

    async fn reply(&mut self) -> Result<Document, Error> {
        let io = |error: std::io::Error| Error(error.to_string());
        let mut header = [0; HEADER_BYTES + 4 + 1];
        self.stream.read_exact(&mut header).await.map_err(io)?;
        let number = |at: usize| {
            let bytes = header[at..at + 4].try_into().expect("four bytes");
            i32::from_le_bytes(bytes)
        };
        let foreign = || Error("it does not speak the protocol of MongoDB 4.4 and newer".into());
        let size_bytes = usize::try_from(number(0)).ok().and_then(|n| n.checked_sub(header.len()));
        let size_bytes = size_bytes.filter(|n| *n <= REPLY_BYTES_MAX).ok_or_else(foreign)?;
        let is_answer = number(8) == self.last_id && number(12) == OP_MSG;
        // No checksum was asked for, and what answers has one document.
        if !is_answer || number(16) != 0 || header[HEADER_BYTES + 4] != 0 {
            return Err(foreign());
        }
        let mut body = vec![0; size_bytes];
        self.stream.read_exact(&mut body).await.map_err(io)?;
        Document::read(&body).map_err(|error| Error(error.to_string()))
    }
}

fn payload(reply: &Document) -> Result<&[u8], Error> {
    reply.bytes("payload").ok_or_else(|| Error("its answer to a login holds nothing".into()))
}

/// The server's own words, and what would help.
fn refusal(reply: &Document) -> Error {
    const UNAUTHORIZED: i64 = 13;
    let said = reply.text("errmsg").unwrap_or("it refuses without a reason");
    match reply.integer("code") {
        Some(UNAUTHORIZED) => Error(format!("{said}; grant the user the role clusterMonitor")),
        _ => Error(said.to_owned()),
    }
}

fn reading(status: &Document, read_at: Timestamp) -> Result<Reading, Error> {
    let lacking = |what: &str| Error(format!("its serverStatus has no {what}"));
    let version = status.text("version").ok_or_else(|| lacking("version"))?;
    let at = status.instant("localTime").ok_or_else(|| lacking("localTime"))?;
    let up_ms = status.integer("uptimeMillis").ok_or_else(|| lacking("uptimeMillis"))?;
    let mechanisms = status
        .document("security")
        .and_then(|security| security.document("authentication"))
        .and_then(|authentication| authentication.document("mechanisms"))
        .ok_or_else(|| Error(format!("{version} does not count logins; 4.4 and newer do")))?;
    let count = |(mechanism, counts): (&str, &Document)| {
        let counts = counts.document("authenticate")?;
        let get = |name| counts.integer(name).and_then(|n| u64::try_from(n).ok());
        let count = Count { received: get("received")?, successful: get("successful")? };
        Some((mechanism.into(), count))
    };
    let at = Timestamp::from_millis(at);
    Ok(Reading {
        pid: status.integer("pid").unwrap_or(0),
        started: at.plus_micros(up_ms.saturating_mul(-1000)),
        at,
        read_at,
        counts: mechanisms.documents().filter_map(count).collect(),
        // Seen on 4.4.2, and not on 6.0.5.
        counts_restricted: version.starts_with("4."),
    })
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

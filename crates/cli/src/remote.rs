//! [`Remote`]: a server that is asked over HTTP, with the rights of a key.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use doorbook_agent::https;
use doorbook_server::admin::Failure;
use doorbook_server::api::native::{PREFIX, answers};
use serde::de::DeserializeOwned;
use ureq::http::{Request, Response};
use ureq::{Agent, AsSendBody, Body};

#[derive(clap::Args)]
pub struct ServerArgs {
    /// Ask this server, with the rights of a key, instead of a data directory
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// A file with PUBLIC:PRIVATE of a key, or a token [or the key itself in DOORBOOK_KEY]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DOORBOOK_KEY_FILE",
        hide_env_values = true
    )]
    key_file: Option<PathBuf>,
    /// The authorities of the server's certificate in PEM [default: the system's]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DOORBOOK_CA_FILE",
        hide_env_values = true
    )]
    ca_file: Option<PathBuf>,
}

/// A server, and how to prove who asks.
pub struct Remote {
    agent: Agent,
    base: String,
    authorization: String,
}

/// Where a key is that is in no file.
const KEY_VARIABLE: &str = "DOORBOOK_KEY";

/// A tail ends before that by itself, so that one that does not is dead.
const TIMEOUT: Duration = Duration::from_secs(6 * 60);

/// The server ends an export that nobody takes, so that only the largest of them last so long.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// An answer is not longer, nor is a line of a tail.
const ANSWER_BYTES_MAX: u64 = 512 << 20;
const LINE_BYTES_MAX: u64 = 16 << 20;

impl ServerArgs {
    /// Whether a server was named.
    pub fn is_named(&self) -> bool {
        self.server.is_some()
    }

    /// The server that was named, if one was.
    pub fn remote(&self) -> Result<Option<Remote>, Failure> {
        let Some(url) = &self.server else { return Ok(None) };
        let key = match (&self.key_file, std::env::var(KEY_VARIABLE)) {
            (Some(file), _) => key_of(file)?,
            (None, Ok(key)) => key,
            (None, Err(_)) => {
                return Err(Failure::invalid(format!(
                    "--server needs a key: name a file that holds PUBLIC:PRIVATE, or a token, with \
                     --key-file, or put it into {KEY_VARIABLE}"
                )));
            }
        };
        let user_agent = concat!("doorbook/", env!("CARGO_PKG_VERSION"));
        let agent = https::client(url, self.ca_file.as_ref(), TIMEOUT, user_agent);
        let agent = agent.map_err(Failure::invalid)?;
        let base = url.trim_end_matches('/').to_owned();
        let authorization = authorization(&key)?;
        Ok(Some(Remote { agent, base, authorization }))
    }
}

impl Remote {
    /// What an operation of our own API answers.
    pub fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(String, String)],
    ) -> anyhow::Result<T> {
        self.read(self.ask(Asked { parameters, ..Asked::get(path) })?)
    }

    /// The same of one that is sent something.
    pub fn send<T: DeserializeOwned>(
        &self,
        (method, path): (&'static str, &str),
        parameters: &[(String, String)],
        (kind, body): (&'static str, Vec<u8>),
    ) -> anyhow::Result<T> {
        let asked = Asked { method, parameters, body: Some((kind, body)), ..Asked::get(path) };
        self.read(self.ask(asked)?)
    }

    /// Writes what an operation answers as it comes. A part may be written when it fails.
    pub fn download(
        &self,
        path: &str,
        parameters: &[(String, String)],
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let asked = Asked { parameters, timeout: DOWNLOAD_TIMEOUT, ..Asked::get(path) };
        let mut body = self.ask(asked)?.into_body().into_reader();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let n_bytes = body.read(&mut buffer).map_err(|error| {
                Failure::failed(format!("{} broke the answer off: {error}", self.base))
            })?;
            match n_bytes {
                0 => return Ok(()),
                n_bytes => out.write_all(&buffer[..n_bytes])?,
            }
        }
    }

    /// What came of an operation that can be tried again: `None` if the server was not there.
    pub fn follow(
        &self,
        path: &str,
        parameters: &[(String, String)],
        last_id: Option<&str>,
    ) -> Result<Option<Messages>, Failure> {
        match self.ask(Asked { parameters, last_id, ..Asked::get(path) }) {
            Ok(response) => {
                let reader = BufReader::new(response.into_body().into_reader());
                Ok(Some(Messages(Box::new(reader))))
            }
            Err(Refused::Away(_)) => Ok(None),
            Err(Refused::ByServer(failure)) => Err(failure),
        }
    }

    fn read<T: DeserializeOwned>(&self, mut response: Response<Body>) -> anyhow::Result<T> {
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).reader();
        serde_json::from_reader(body).map_err(|error| {
            Failure::failed(format!("the answer of {} cannot be read: {error}", self.base)).into()
        })
    }

    fn ask(&self, asked: Asked<'_>) -> Result<Response<Body>, Refused> {
        let Asked { method, path, parameters, last_id, body, timeout } = asked;
        let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        let query = pairs.collect::<Vec<_>>().join("&");
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{PREFIX}{path}?{query}", self.base))
            .header("authorization", &self.authorization);
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let answered = match body {
            None => self.run(request.body(()), timeout),
            Some((kind, body)) => {
                self.run(request.header("content-type", kind).body(body), timeout)
            }
        };
        let mut response = answered.map_err(|error| {
            Refused::Away(Failure::failed(format!("{} cannot be asked: {error}", self.base)))
        })?;
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(response);
        }
        let body = response.body_mut().with_config().limit(LINE_BYTES_MAX).read_to_vec();
        let problem = serde_json::from_slice::<answers::Problem>(&body.unwrap_or_default());
        let said = match &problem {
            Ok(problem) => problem.detail.as_str(),
            Err(_) => "it is no Doorbook server, or another program is before it",
        };
        let text = format!("{} answers {status}: {said}", self.base);
        let is_missing = problem.as_ref().is_ok_and(|problem| problem.missing == Some(true));
        Err(match status {
            400 if is_missing => Refused::ByServer(Failure::missing(said)),
            400 => Refused::ByServer(Failure::invalid(said)),
            401 => Refused::ByServer(Failure::failed(format!(
                "{} does not know this key, or takes it over TLS only",
                self.base
            ))),
            404 => Refused::ByServer(Failure::missing(said)),
            409 => Refused::ByServer(Failure::exists(said)),
            500.. => Refused::Away(Failure::failed(text)),
            _ => Refused::ByServer(Failure::failed(text)),
        })
    }

    fn run(
        &self,
        request: Result<Request<impl AsSendBody>, ureq::http::Error>,
        timeout: Duration,
    ) -> Result<Response<Body>, ureq::Error> {
        let request = self.agent.configure_request(request?);
        self.agent.run(request.timeout_global(Some(timeout)).build())
    }
}

/// What is asked of the server.
struct Asked<'a> {
    method: &'static str,
    path: &'a str,
    parameters: &'a [(String, String)],
    /// Where a tail goes on.
    last_id: Option<&'a str>,
    /// What is sent, and what kind of thing that is.
    body: Option<(&'static str, Vec<u8>)>,
    timeout: Duration,
}

impl Asked<'_> {
    fn get(path: &str) -> Asked<'_> {
        let (method, parameters) = ("GET", &[][..]);
        Asked { method, path, parameters, last_id: None, body: None, timeout: TIMEOUT }
    }
}

/// Why there is no answer.
enum Refused {
    /// It may be there later.
    Away(Failure),
    ByServer(Failure),
}

impl From<Refused> for anyhow::Error {
    fn from(refused: Refused) -> anyhow::Error {
        match refused {
            Refused::Away(failure) | Refused::ByServer(failure) => failure.into(),
        }
    }
}

/// The messages of a tail.
pub struct Messages(Box<dyn BufRead>);

/// A message of a tail.
pub struct Message {
    /// Where to go on behind it.
    pub id: Option<String>,
    /// An event; `None` of a sign of life.
    pub data: Option<String>,
}

impl Messages {
    /// The next one; `None` when the connection has ended, in whatever way.
    pub fn next(&mut self) -> Option<Message> {
        let mut message = Message { id: None, data: None };
        loop {
            let mut line = Vec::new();
            let read = (&mut self.0).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            // Half a message was not sent.
            read.ok().filter(|_| line.last() == Some(&b'\n'))?;
            let line = String::from_utf8_lossy(&line[..line.len() - 1]);
            if line.is_empty() {
                return Some(message);
            }
            match line.split_once(": ") {
                Some(("id", id)) => message.id = Some(id.to_owned()),
                Some(("data", data)) => message.data = Some(data.to_owned()),
                _ => {}
            }
        }
    }
}

fn key_of(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::failed(format!("{} cannot be read: {error}", file.display())))
}

/// Both halves of a key, or a token.
fn authorization(key: &str) -> Result<String, Failure> {
    let key = key.trim();
    if key.is_empty() || key.contains(char::is_whitespace) || !key.is_ascii() {
        return Err(Failure::invalid(
            "this is no key; write PUBLIC:PRIVATE, or a token, on one line",
        ));
    }
    Ok(match key.contains(':') {
        true => format!("Basic {}", STANDARD.encode(key)),
        false => format!("Bearer {key}"),
    })
}

/// A text as a value or a segment of a URL.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_encoded_for_urls() {
        assert_eq!(encoded("a b/c?d=é&~"), "a%20b%2Fc%3Fd%3D%C3%A9%26~");
    }

    #[test]
    fn a_key_is_two_halves_or_a_token() {
        assert_eq!(authorization("a:b\n").expect("a key"), "Basic YTpi");
        assert_eq!(authorization(" token\n").expect("a token"), "Bearer token");
        for bad in ["", "\n", "a b", "a:b\nc:d", "é"] {
            authorization(bad).expect_err(bad);
        }
    }

    /// Goal: a message is told when it is whole, and not before. Method: a tail that breaks off.
    #[test]
    fn half_a_message_is_none() {
        let text =
            "retry: 1000\nid: a\n\nid: b\ndata: {\"x\": \"y: z\"}\n\n: still\nid: c\n\nid: d\nda";
        let mut messages = Messages(Box::new(text.as_bytes()));
        let mut next = || messages.next().map(|message| (message.id, message.data));
        assert_eq!(next(), Some((Some("a".into()), None)));
        assert_eq!(next(), Some((Some("b".into()), Some("{\"x\": \"y: z\"}".into()))));
        assert_eq!(next(), Some((Some("c".into()), None)));
        assert_eq!(next(), None);
    }
}

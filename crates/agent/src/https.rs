//! [`Https`]: the server, over HTTP and TLS.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use doorbook_event::shipment::{self, Orders, Receipt, Shipment};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use ureq::http::{Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::shipper::{Failure, Server};

/// A server behind a URL.
pub struct Https {
    agent: Agent,
    base: String,
    key_file: PathBuf,
}

/// How long a server may take for each of these.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(60);

/// An answer is not longer: four thousand places, or sources.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Smaller bodies are sent as they are.
const COMPRESS_MIN_BYTES: usize = 1024;

/// A key file is not longer.
const KEY_BYTES_MAX: usize = 1024;

impl Https {
    /// Nothing is sent yet. The key file is read for each request, so that a new key needs no restart.
    pub fn new(url: &str, ca_file: Option<&PathBuf>, key_file: PathBuf) -> Result<Https, String> {
        let agent =
            client(url, ca_file, TIMEOUT, concat!("doorbook-agent/", env!("CARGO_PKG_VERSION")))?;
        let base = url.trim_end_matches('/').to_owned();
        Ok(Https { agent, base, key_file })
    }

    fn authorization(&self) -> Result<String, Failure> {
        let shown = self.key_file.display();
        let bytes = std::fs::read(&self.key_file)
            .map_err(|error| Failure::Key(format!("{shown} cannot be read: {error}")))?;
        let key = std::str::from_utf8(&bytes).unwrap_or_default().trim();
        if bytes.len() > KEY_BYTES_MAX || !key.contains(':') || key.contains(char::is_whitespace) {
            let why = format!("{shown} holds no key; write PUBLIC:PRIVATE on one line");
            return Err(Failure::Key(why));
        }
        Ok(format!("Basic {}", STANDARD.encode(key)))
    }

    fn send(&self, method: &str, path: &str, body: Option<Vec<u8>>) -> Result<Vec<u8>, Failure> {
        let uri = format!("{}/api/v1/agent/{path}", self.base);
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", self.authorization()?)
            .header("accept", shipment::CONTENT_TYPE);
        let wrong = |error: ureq::http::Error| Failure::Refused(error.to_string());
        let answered = match body {
            None => self.agent.run(request.body(()).map_err(wrong)?),
            Some(body) => {
                let request = request.header("content-type", shipment::CONTENT_TYPE);
                let (request, body) = match compressed(&body) {
                    Some(packed) => (request.header("content-encoding", "zstd"), packed),
                    None => (request, body),
                };
                self.agent.run(request.body(body).map_err(wrong)?)
            }
        };
        let response = answered.map_err(|error| Failure::Away(error.to_string()))?;
        answer(response)
    }
}

impl Server for Https {
    fn orders(&mut self) -> Result<Orders, Failure> {
        let bytes = self.send("GET", "sources", None)?;
        shipment::read(&bytes).map_err(unread)
    }

    fn ship(&mut self, shipment: &Shipment) -> Result<Receipt, Failure> {
        let bytes = self.send("POST", "advances", Some(shipment::to_vec(shipment)))?;
        shipment::read(&bytes).map_err(unread)
    }
}

fn unread(why: String) -> Failure {
    Failure::Refused(format!("the server's answer cannot be read: {why}"))
}

/// The body of an answer that is one, or what else it says.
fn answer(mut response: Response<Body>) -> Result<Vec<u8>, Failure> {
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    let is_ours = kind == Some(shipment::CONTENT_TYPE);
    let read = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    let body = read.map_err(|error| Failure::Away(error.to_string()))?;
    match status {
        200 if is_ours => Ok(body),
        200 => Err(Failure::Refused("it is no Doorbook server, or an older one".to_owned())),
        401 | 403 => Err(Failure::Key(said(status, &body))),
        400..=407 | 409..=428 => Err(Failure::Refused(said(status, &body))),
        _ => Err(Failure::Away(said(status, &body))),
    }
}

/// What a problem of RFC 9457 says, in one line.
fn said(status: u16, body: &[u8]) -> String {
    const SHOWN_CHARS: usize = 300;
    let text = String::from_utf8_lossy(body);
    let shown = text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS).collect::<String>();
    format!("{status} {shown}")
}

fn compressed(body: &[u8]) -> Option<Vec<u8>> {
    const LEVEL: i32 = 3;
    let is_worth_it = body.len() >= COMPRESS_MIN_BYTES;
    is_worth_it.then(|| zstd::encode_all(body, LEVEL).ok()).flatten()
}

/// What asks a server of Doorbook, with a key that is for this server.
pub fn client(
    url: &str,
    ca_file: Option<&PathBuf>,
    timeout: Duration,
    user_agent: &str,
) -> Result<Agent, String> {
    check_url(url)?;
    let tls = TlsConfig::builder()
        .root_certs(roots(ca_file)?)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        // The key goes nowhere else.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(Some(timeout))
        .user_agent(user_agent)
        .build();
    Ok(config.new_agent())
}

/// The key travels with each request: nobody on the way may read it.
fn check_url(url: &str) -> Result<(), String> {
    let example = "write it as https://HOST:PORT";
    let uri: ureq::http::Uri =
        url.parse().map_err(|error| format!("{url:?} is no URL ({error}); {example}"))?;
    let host = uri.host().unwrap_or_default();
    let is_here = host == "localhost"
        || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(()),
        Some("http") if is_here => Ok(()),
        Some("http") => Err(format!("{url:?} would send the key for all to read; {example}")),
        _ => Err(format!("{url:?} is no URL of a server; {example}")),
    }
}

/// The authorities of the server's certificate: those of a file, or those of the system.
fn roots(ca_file: Option<&PathBuf>) -> Result<RootCerts, String> {
    let certificates: Vec<CertificateDer<'static>> = match ca_file {
        None => rustls_native_certs::load_native_certs().certs,
        Some(path) => {
            let shown = path.display();
            let bytes =
                std::fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
            let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
            let read = read.map_err(|error| format!("{shown} is no PEM: {error}"))?;
            if read.is_empty() {
                return Err(format!("{shown} holds no certificate in PEM"));
            }
            read
        }
    };
    let certificates = certificates.iter().map(|der| Certificate::from_der(der).to_owned());
    Ok(RootCerts::Specific(Arc::new(certificates.collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key is not sent where others can read it, nor to what is no server.
    #[test]
    fn a_url_is_one_over_tls_or_of_this_machine() {
        for good in [
            "https://doorbook.example.com:8080",
            "https://10.0.0.1",
            "http://127.0.0.1:8080",
            "http://[::1]:8080/",
            "http://localhost:8080",
        ] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for bad in ["http://10.0.0.1", "ftp://10.0.0.1", "doorbook.example.com", "", "https://"] {
            let why = check_url(bad).expect_err(bad);
            assert!(why.contains("https://HOST:PORT"), "{why}");
        }
    }
}

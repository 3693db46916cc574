//! [`Webhook`]: a message as one signed POST, as [Standard Webhooks](https://www.standardwebhooks.com) says.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::uri::Scheme;
use axum::http::{Request, StatusCode, Uri, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use doorbook_event::Timestamp;
use doorbook_store::alarm::Message;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ring::hmac;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::deliver::Failure;
use super::settings::SettingsError;
use crate::http::authorities;

/// Where messages are posted to.
pub struct Webhook {
    url: Uri,
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    secret: Secret,
}

/// What messages are signed with.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How long one try may take. The standard recommends 15 to 30 seconds.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What the standard allows a secret to have, in bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

impl Webhook {
    /// Opens the files that it needs.
    pub fn open(
        url: &str,
        secret_file: &Path,
        ca_file: Option<&PathBuf>,
    ) -> Result<Webhook, SettingsError> {
        let url = check_url(url).map_err(SettingsError::plain)?;
        let text = read(secret_file)?;
        let secret = Secret::parse(String::from_utf8_lossy(&text).trim())
            .map_err(|message| SettingsError::of(secret_file, message))?;
        let is_tls = url.scheme() == Some(&Scheme::HTTPS);
        let tls = is_tls.then(|| client_config(ca_file)).transpose()?;
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Webhook { host, port, tls: tls.map(TlsConnector::from), secret, url })
    }

    /// One try.
    pub async fn deliver(&self, message: &Message, now: Timestamp) -> Result<(), Failure> {
        match tokio::time::timeout(TIMEOUT, self.post(message, now)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Again("no answer in time".to_owned())),
        }
    }

    async fn post(&self, message: &Message, now: Timestamp) -> Result<(), Failure> {
        let again = |error: &dyn fmt::Display| Failure::Again(error.to_string());
        let request = self.request(message, now).map_err(|error| again(&error))?;
        let stream = TcpStream::connect((self.host.as_str(), self.port));
        let stream = stream.await.map_err(|error| again(&error))?;
        let status = match &self.tls {
            None => exchange(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone()).map_err(|e| again(&e))?;
                let stream = tls.connect(name, stream).await.map_err(|error| again(&error))?;
                exchange(stream, request).await
            }
        };
        match status.map_err(|error| again(&error))? {
            status if status.is_success() => Ok(()),
            StatusCode::GONE => Err(Failure::Gone),
            status => Err(Failure::Again(format!("answered {status}"))),
        }
    }

    fn request(
        &self,
        message: &Message,
        now: Timestamp,
    ) -> Result<Request<Full<Bytes>>, axum::http::Error> {
        let seconds = now.micros().div_euclid(1_000_000);
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        Request::post(path)
            .header(header::HOST, authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("doorbook/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .header("webhook-id", &*message.id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", self.secret.sign(&message.id, seconds, &message.body))
            .body(Full::new(Bytes::copy_from_slice(message.body.as_bytes())))
    }
}

impl Secret {
    /// From `whsec_` and base64.
    pub fn parse(text: &str) -> Result<Secret, String> {
        let bytes = text.strip_prefix("whsec_").and_then(|text| BASE64.decode(text).ok());
        match bytes {
            Some(bytes) if SECRET_BYTES.contains(&bytes.len()) => {
                Ok(Secret(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
            }
            _ => Err(format!(
                "holds no secret: write whsec_ and {} to {} bytes in base64, as `echo whsec_$(openssl \
                 rand -base64 32)` gives",
                SECRET_BYTES.start(),
                SECRET_BYTES.end()
            )),
        }
    }

    /// The signature of a message, sent at a time.
    pub fn sign(&self, id: &str, seconds: i64, body: &str) -> String {
        let tag = hmac::sign(&self.0, format!("{id}.{seconds}.{body}").as_bytes());
        format!("v1,{}", BASE64.encode(tag))
    }
}

/// Sends a request and waits for the head of the answer.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> hyper::Result<StatusCode> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender, at the end of this function at the latest.
    tokio::spawn(connection);
    sender.send_request(request).await.map(|answer| answer.status())
}

/// An address that messages may be posted to.
pub fn check_url(text: &str) -> Result<Uri, String> {
    let example = "write https://HOST/PATH";
    let url: Uri = text.parse().map_err(|_| format!("{text:?} is no URL; {example}"))?;
    let (Some(scheme), Some(host)) = (url.scheme(), url.host()) else {
        return Err(format!("{text:?} is no URL; {example}"));
    };
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(
            "a URL with a password is shown to whoever reads the file; the signature says who \
                    sends"
                .to_owned(),
        );
    }
    let host = host.trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match scheme.as_str() {
        "https" => Ok(url),
        "http" if is_here => Ok(url),
        "http" => Err(format!("{text:?} sends alarms in the clear; {example}")),
        other => Err(format!("{other:?} cannot be posted to; {example}")),
    }
}

fn client_config(ca_file: Option<&PathBuf>) -> Result<Arc<rustls::ClientConfig>, SettingsError> {
    let roots = match ca_file {
        Some(file) => authorities(file)
            .map_err(|error| SettingsError::of(file, error.message().to_owned()))?,
        None => {
            // Those of them that cannot be used are the system's affair.
            let mut roots = rustls::RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(SettingsError::plain(
                    "this machine has no certificate authorities (package ca-certificates); write \
                     webhook_ca_file = \"/PATH\""
                        .to_owned(),
                ));
            }
            roots
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SettingsError::plain(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(path).map_err(|error| SettingsError::of(path, format!("cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: receivers can verify what we send. Method: the message of the standard's text; the signature was
    /// computed with Python's hmac.
    #[test]
    fn the_signature_is_the_standards() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let body = r#"{"type":"contact.created","timestamp":"2022-11-03T20:26:10.344522Z","data":{"id":"1f81eb52-5198-4599-803e-771906343485"}}"#;
        let signature = secret.sign("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", 1_674_087_231, body);
        assert_eq!(signature, "v1,ARw42xaAApl/nxRo+iPGYwSaMQaOwMo2eyH5JBRA+bQ=");
        // The vector of the standard's own libraries.
        let signature =
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_base64_of_a_bounded_length() {
        let of = |length: usize| format!("whsec_{}", BASE64.encode(vec![7; length]));
        for good in [24, 32, 64] {
            assert!(Secret::parse(&of(good)).is_ok(), "{good}");
        }
        for bad in ["", "whsec_", "whsec_%%", &of(23), &of(65), &of(32)[6..]] {
            assert!(Secret::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn alarms_do_not_travel_in_the_clear() {
        for good in [
            "https://a.example/x?y=1",
            "http://127.0.0.1:9/x",
            "http://[::1]:9/",
            "http://localhost/",
        ] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for (bad, part) in [
            ("http://a.example/", "in the clear"),
            ("https://u:p@a.example/", "password"),
            ("ftp://a.example/", "cannot be posted to"),
            ("/hook", "no URL"),
            ("", "no URL"),
        ] {
            let error = check_url(bad).expect_err(bad);
            assert!(error.contains(part), "{error}");
        }
    }
}

//! The listener: TLS or not, HTTP/1.1 or HTTP/2, every connection and every wait bounded.

mod watch;

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use doorbook_event::Peer;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch as channel};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use self::watch::{Exchanges, Over};
use crate::app::{App, Settings};

/// What is known of the connection that a request came by; an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// From where.
    pub peer: Peer,
    /// Whether nobody on the way could read it.
    pub is_tls: bool,
}

/// Head of a request, request line included. Beyond it hyper answers 431 or 414 by itself.
const HEAD_MAX_BYTES: usize = 64 * 1024;

/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;

/// After a failed `accept` (out of file descriptors, mostly), before the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is done, and then until answers under way are finished, for at most
/// `settings.shutdown_timeout`. What callers did is on disk when this returns.
pub async fn serve(
    app: App,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let router = app.router();
    let acceptor = tls.map(TlsAcceptor::from);
    let connections = Arc::new(Semaphore::new(app.settings().connections_max.max(1)));
    // Every connection holds a receiver: it hears of the end there, and is over when it drops it.
    let (stop, stopping) = channel::channel(false);
    let mut shutdown = pin!(shutdown);
    let mut is_failing = false;
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let (stream, address, permit) = match accepted {
            Ok(accepted) => {
                if is_failing {
                    tracing::info!("connections are accepted again");
                }
                is_failing = false;
                accepted
            }
            Err(error) => {
                if !is_failing {
                    tracing::error!(%error, "connections cannot be accepted now");
                }
                is_failing = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (router, acceptor) = (router.clone(), acceptor.clone());
        let conduct = Conduct::new(app.settings(), stopping.clone());
        tokio::spawn(async move {
            // A client that breaks off concerns nobody else.
            let _ = connection(stream, address, acceptor, router, conduct).await;
            drop(permit);
        });
    }
    drop(listener);
    drop(stopping);
    // Nobody listens if there is no connection, and after the timeout those that are left end with
    // the runtime.
    let _ = stop.send(true);
    let _ = tokio::time::timeout(app.settings().shutdown_timeout, stop.closed()).await;
    let usage = app.usage().clone();
    tokio::task::spawn_blocking(move || usage.close()).await.map_err(std::io::Error::other)
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, permit))
}

/// What holds for every connection.
#[derive(Clone)]
struct Conduct {
    head_timeout: Duration,
    write_timeout: Duration,
    stopping: channel::Receiver<bool>,
}

impl Conduct {
    fn new(settings: &Settings, stopping: channel::Receiver<bool>) -> Conduct {
        let &Settings { head_timeout, write_timeout, .. } = settings;
        Conduct { head_timeout, write_timeout, stopping }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    mut conduct: Conduct,
) -> Result<(), Failure> {
    // Answers are written whole; waiting for more to send would only delay them.
    stream.set_nodelay(true)?;
    let peer = Peer::ip(address.ip(), Some(address.port()));
    match acceptor {
        None => {
            let connection = Connection { peer, is_tls: false };
            converse(stream, connection, router, conduct).await
        }
        Some(acceptor) => {
            let shake = tokio::time::timeout(conduct.head_timeout, acceptor.accept(stream));
            let stream = tokio::select! {
                stream = shake => stream??,
                // Nothing was asked yet, so there is nothing to finish.
                _ = conduct.stopping.wait_for(|stopping| *stopping) => return Ok(()),
            };
            let connection = Connection { peer, is_tls: true };
            converse(stream, connection, router, conduct).await
        }
    }
}

async fn converse<S>(
    stream: S,
    connection: Connection,
    router: Router,
    mut conduct: Conduct,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let exchanges = Exchanges::default();
    let begun = exchanges.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection);
        let router = router.clone();
        let working = begun.begin();
        async move {
            let response = router.oneshot(request).await.unwrap_or_else(never);
            Ok::<_, Infallible>(response.map(|body| working.answer(body)))
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(conduct.head_timeout)
        .max_buf_size(HEAD_MAX_BYTES)
        // `Content-Type`, as Atlas over HTTP/1.1: some scripts compare names letter by letter.
        .title_case_headers(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_MAX_BYTES as u32)
        .keep_alive_interval(conduct.head_timeout)
        .keep_alive_timeout(conduct.head_timeout);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut is_ending = false;
    loop {
        tokio::select! {
            ended = &mut connection => return ended,
            over = exchanges.watch(conduct.head_timeout, conduct.write_timeout) => {
                // Who was told to end and stays, or does not read, would not read a farewell.
                if is_ending || over == Over::Stalled {
                    return Ok(());
                }
            }
            // An error means that the server is gone.
            _ = conduct.stopping.wait_for(|stopping| *stopping), if !is_ending => {}
        }
        connection.as_mut().graceful_shutdown();
        is_ending = true;
    }
}

fn never<T>(never: Infallible) -> T {
    match never {}
}

/// The files of a TLS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that lead to its authority, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// What is wrong with the TLS files; names the file.
#[derive(Debug)]
pub struct TlsError {
    path: PathBuf,
    message: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}

impl std::error::Error for TlsError {}

impl TlsError {
    pub(crate) fn new(path: &Path, message: impl Into<String>) -> TlsError {
        TlsError { path: path.to_owned(), message: message.into() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with it.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl TlsFiles {
    /// Reads the files, for HTTP.
    pub fn load(&self) -> Result<Arc<rustls::ServerConfig>, TlsError> {
        let (certificates, key) = self.read()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::new(&self.certificate, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(|error| {
                TlsError::new(&self.key, format!("does not fit the certificate: {error}"))
            })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// The certificate with those that lead to its authority, and its key.
    pub(crate) fn read(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let read = |path: &Path| {
            std::fs::read(path)
                .map_err(|error| TlsError::new(path, format!("cannot be read: {error}")))
        };
        let pem = read(&self.certificate)?;
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| {
                TlsError::new(&self.certificate, format!("is not PEM: {error}"))
            })?;
        if certificates.is_empty() {
            return Err(TlsError::new(&self.certificate, "holds no certificate in PEM"));
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|error| {
            TlsError::new(&self.key, format!("holds no private key in PEM: {error}"))
        })?;
        Ok((certificates, key))
    }
}

/// The authorities in a file, in PEM.
pub(crate) fn authorities(path: &Path) -> Result<rustls::RootCertStore, TlsError> {
    let fail = |message: String| TlsError::new(path, message);
    let pem = std::fs::read(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| fail(format!("is not PEM: {error}")))?;
        let added = roots.add(certificate);
        added.map_err(|error| fail(format!("holds no usable authority: {error}")))?;
    }
    match roots.is_empty() {
        true => Err(fail("holds no certificate in PEM".to_owned())),
        false => Ok(roots),
    }
}

/// Whether keys and histories may be shown at an address: one that others can reach needs TLS, or the
/// operator's word.
pub fn may_listen(address: SocketAddr, tls: bool, plaintext: bool) -> bool {
    address.ip().to_canonical().is_loopback() || tls || plaintext
}

/// Refuses where [`may_listen`] does, in the command line's words.
pub fn check_listen(address: SocketAddr, tls: bool, plaintext: bool) -> Result<(), String> {
    if may_listen(address, tls, plaintext) {
        return Ok(());
    }
    Err(format!(
        "{address} can be reached from other machines, and without TLS everyone on the way could \
         read the history: give --tls-cert and --tls-key, or --plaintext if something in front \
         of Doorbook does TLS"
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::app::Settings;
    use crate::test_support::app_in;

    #[test]
    fn only_loopback_goes_without_tls() {
        let check = |address: &str, tls, plaintext, is_allowed| {
            let address: SocketAddr = address.parse().expect("an address");
            let got = check_listen(address, tls, plaintext);
            assert_eq!(got.is_ok(), is_allowed, "{address} {tls} {plaintext}: {got:?}");
            if let Err(text) = got {
                assert!(text.contains("--tls-cert") && text.contains("--plaintext"), "{text}");
            }
        };
        check("127.0.0.1:0", false, false, true);
        check("127.8.0.1:80", false, false, true);
        check("[::1]:80", false, false, true);
        check("[::ffff:127.0.0.1]:80", false, false, true);
        for open in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80", "[2001:db8::1]:80"] {
            check(open, false, false, false);
            check(open, true, false, true);
            check(open, false, true, true);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "how long the server really takes")]
    fn now() -> Instant {
        Instant::now()
    }

    struct Running {
        address: SocketAddr,
        stop: Option<oneshot::Sender<()>>,
        served: JoinHandle<std::io::Result<()>>,
        _dir: tempfile::TempDir,
    }

    async fn start(settings: Settings, tls: Option<Arc<rustls::ServerConfig>>) -> Running {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let app = app_in(dir.path(), settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            // An error means that the test has let go of it, which is a stop too.
            let _ = stopped.await;
        };
        let served = tokio::spawn(serve(app, listener, tls, shutdown));
        Running { address, stop: Some(stop), served, _dir: dir }
    }

    impl Running {
        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.expect("listens")
        }

        /// Returns how long the server took to end.
        async fn stop(mut self) -> Duration {
            let began = now();
            drop(self.stop.take());
            let ended = tokio::time::timeout(Duration::from_secs(20), &mut self.served).await;
            ended.expect("ends").expect("no panic").expect("no error");
            began.elapsed()
        }
    }

    /// Everything up to the end of the head.
    async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => bytes.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8(bytes).expect("ASCII")
    }

    const ASK: &[u8] = b"GET /api/atlas/v2/groups HTTP/1.1\r\nHost: x\r\n\r\n";

    #[tokio::test]
    async fn answers_in_plain_and_ends_in_time() {
        let running = start(Settings::default(), None).await;
        let mut stream = running.connect().await;
        stream.write_all(ASK).await.expect("sent");
        let head = head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{head}");
        // The case in which Atlas's headers were recorded.
        for name in ["Content-Type: ", "Www-Authenticate: Digest realm=", "Vary: ", "Date: "] {
            assert!(head.contains(&format!("\r\n{name}")), "{name} in {head}");
        }
        // The connection stays open, and does not keep the server from ending.
        assert!(running.stop().await < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn heads_are_bounded_in_size_and_time() {
        let settings = Settings { head_timeout: Duration::from_millis(300), ..Settings::default() };
        let running = start(settings, None).await;
        let mut slow = running.connect().await;
        slow.write_all(&ASK[..20]).await.expect("sent");
        let began = now();
        let answer = head(&mut slow).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{answer}");

        let mut large = running.connect().await;
        let line = format!("X-Padding: {}\r\n", "x".repeat(1000));
        let request = [&ASK[..ASK.len() - 2], line.repeat(80).as_bytes(), b"\r\n"].concat();
        // The server may stop reading before all of it is sent.
        let _ = large.write_all(&request).await;
        let answer = head(&mut large).await;
        assert!(answer.starts_with("HTTP/1.1 431 ") || answer.is_empty(), "{answer}");
        running.stop().await;
    }

    /// How a client begins HTTP/2, with empty SETTINGS.
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    /// Acknowledges SETTINGS and answers pings, as long as the connection is open.
    async fn answer_pings(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
        let mut head = [0; 9];
        while stream.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if stream.read_exact(&mut payload).await.is_err() {
                return;
            }
            let (kind, is_answer) = (head[3], head[4] & 1 == 1);
            let answer = match (kind, is_answer) {
                (4, false) => vec![0, 0, 0, 4, 1, 0, 0, 0, 0],
                (6, false) => [&[0, 0, 8, 6, 1, 0, 0, 0, 0], payload.as_slice()].concat(),
                _ => continue,
            };
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    /// hyper waits for ever for the bytes that tell HTTP/1 from HTTP/2, and for streams.
    #[tokio::test]
    async fn a_connection_that_asks_for_nothing_is_closed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (files, certificate) = certificate(dir.path());
        let settings = || Settings {
            head_timeout: Duration::from_millis(300),
            connections_max: 1,
            ..Settings::default()
        };
        let plain = start(settings(), None).await;
        let tls = start(settings(), Some(files.load().expect("loads"))).await;
        let limit = Duration::from_secs(5);
        for said in [b"" as &[u8], b"P", b"PRI * HTTP/2.0\r\n", PREFACE] {
            let mut stream = plain.connect().await;
            stream.write_all(said).await.expect("sent");
            let closed = tokio::time::timeout(limit, answer_pings(&mut stream)).await;
            assert!(closed.is_ok(), "{said:?} in plain");

            let connector = connector(&certificate, "h2");
            let name = "localhost".try_into().expect("a name");
            let mut stream =
                connector.connect(name, tls.connect().await).await.expect("shakes hands");
            stream.write_all(said).await.expect("sent");
            let closed = tokio::time::timeout(limit, answer_pings(&mut stream)).await;
            assert!(closed.is_ok(), "{said:?} over TLS");
        }
        plain.stop().await;
        tls.stop().await;
    }

    /// Somebody who reads slowly is waited for; who does not read is not.
    #[tokio::test]
    async fn an_answer_that_nobody_takes_is_let_go() {
        const LENGTH: usize = 8 << 20;
        let handler = async || vec![b'x'; LENGTH];
        let router = Router::new().route("/", axum::routing::get(handler));
        let settings = Settings {
            head_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_millis(400),
            ..Settings::default()
        };
        let (_stop, stopping) = channel::channel(false);
        let conduct = Conduct::new(&settings, stopping);
        let ask = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for is_reading in [false, true] {
            let (mut client, server) = tokio::io::duplex(64 * 1024);
            let served = tokio::spawn(converse(
                server,
                Connection::default(),
                router.clone(),
                conduct.clone(),
            ));
            client.write_all(ask).await.expect("sent");
            assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
            if is_reading {
                let mut buffer = vec![0; LENGTH / 8];
                for _ in 0..8 {
                    tokio::time::sleep(Duration::from_millis(150)).await;
                    client.read_exact(&mut buffer).await.expect("more of it");
                }
                drop(client);
            }
            let ended = tokio::time::timeout(Duration::from_secs(5), served).await;
            assert!(ended.is_ok(), "reading: {is_reading}");
        }
    }

    /// Over HTTP/2 a reader that lets its window fill still answers pings, and bytes move.
    #[tokio::test]
    async fn a_full_window_does_not_hold_an_answer() {
        struct Held {
            bytes: Vec<u8>,
            _held: Arc<()>,
        }
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        let held = Arc::new(());
        let handler = {
            let held = Arc::clone(&held);
            async move || {
                let body = Held { bytes: vec![b'x'; 8 << 20], _held: Arc::clone(&held) };
                Body::from(axum::body::Bytes::from_owner(body))
            }
        };
        let router = Router::new().route("/", axum::routing::get(handler));
        let settings = Settings {
            head_timeout: Duration::from_millis(300),
            write_timeout: Duration::from_millis(600),
            ..Settings::default()
        };
        let (_stop, stopping) = channel::channel(false);
        let conduct = Conduct::new(&settings, stopping);
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let before = Arc::strong_count(&held);
        let served = tokio::spawn(converse(server, Connection::default(), router, conduct));
        client.write_all(PREFACE).await.expect("sent");
        // GET http://x/ on stream 1, which ends with it.
        let request = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x84\x86\x41\x01x";
        client.write_all(request).await.expect("sent");
        let closed = tokio::time::timeout(Duration::from_secs(5), answer_pings(&mut client)).await;
        assert!(closed.is_ok(), "the connection is still open");
        let ended = tokio::time::timeout(Duration::from_secs(5), served).await;
        assert!(ended.is_ok_and(|ended| ended.is_ok()));
        // The router, and its handler with it, is gone as well.
        assert!(Arc::strong_count(&held) < before, "the answer is still in memory");
    }

    #[tokio::test]
    async fn connections_are_bounded() {
        let settings = Settings { connections_max: 1, ..Settings::default() };
        let running = start(settings, None).await;
        let mut first = running.connect().await;
        first.write_all(ASK).await.expect("sent");
        assert!(!head(&mut first).await.is_empty());
        let mut second = running.connect().await;
        second.write_all(ASK).await.expect("sent");
        let waited = tokio::time::timeout(Duration::from_millis(300), head(&mut second)).await;
        assert!(waited.is_err(), "the second connection was served beside the first");
        drop(first);
        assert!(head(&mut second).await.starts_with("HTTP/1.1 401 "));
        running.stop().await;
    }

    fn certificate(dir: &Path) -> (TlsFiles, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let files = TlsFiles { certificate: dir.join("cert.pem"), key: dir.join("key.pem") };
        std::fs::write(&files.certificate, made.cert.pem()).expect("written");
        std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
        (files, made.cert.der().clone())
    }

    fn connector(certificate: &CertificateDer<'_>, protocol: &str) -> tokio_rustls::TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.clone().into_owned()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        tokio_rustls::TlsConnector::from(Arc::new(config))
    }

    #[tokio::test]
    async fn answers_over_tls_in_both_versions_of_http() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (files, certificate) = certificate(dir.path());
        let running = start(Settings::default(), Some(files.load().expect("loads"))).await;
        for protocol in ["http/1.1", "h2"] {
            let connector = connector(&certificate, protocol);
            let name = "localhost".try_into().expect("a name");
            let mut stream =
                connector.connect(name, running.connect().await).await.expect("shakes hands");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
            if protocol == "h2" {
                stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("sent");
                stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.expect("sent");
                let mut frame = [0; 9];
                stream.read_exact(&mut frame).await.expect("a frame");
                assert_eq!(frame[3], 4, "the first frame is SETTINGS");
            } else {
                stream.write_all(ASK).await.expect("sent");
                assert!(head(&mut stream).await.starts_with("HTTP/1.1 401 "));
            }
        }
        running.stop().await;
    }

    #[test]
    fn tls_files_that_are_none_are_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (good, _) = certificate(dir.path());
        assert!(good.load().is_ok());
        let other = rcgen::generate_simple_self_signed(["x".to_owned()]).expect("made");
        let path = |name: &str, content: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).expect("written");
            path
        };
        let missing = dir.path().join("missing.pem");
        let empty = path("empty.pem", "");
        let other_key = path("other.pem", &other.signing_key.serialize_pem());
        let check = |certificate: &Path, key: &Path, expected: &[&str]| {
            let files = TlsFiles { certificate: certificate.into(), key: key.into() };
            let text = files.load().expect_err("refused").to_string();
            assert!(expected.iter().all(|part| text.contains(part)), "{text}");
        };
        check(&missing, &good.key, &["missing.pem", "cannot be read"]);
        check(&good.certificate, &missing, &["missing.pem", "cannot be read"]);
        check(&empty, &good.key, &["empty.pem", "holds no certificate"]);
        check(&good.certificate, &empty, &["empty.pem", "holds no private key"]);
        check(&good.certificate, &other_key, &["other.pem", "does not fit the certificate"]);
    }
}

//! The listener: TLS or not, HTTP/1.1 or HTTP/2, every connection and every wait bounded.

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
use hyper_util::server::graceful::GracefulShutdown;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::app::App;

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
    let graceful = Arc::new(Graceful::default());
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let (stream, address, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(_) => {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (router, acceptor) = (router.clone(), acceptor.clone());
        let (timeout, graceful) = (app.settings().head_timeout, Arc::clone(&graceful));
        tokio::spawn(async move {
            // A client that breaks off concerns nobody else.
            let _ = connection(stream, address, acceptor, router, timeout, &graceful).await;
            drop(permit);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(app.settings().shutdown_timeout, graceful.finish()).await;
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

/// Connections under way. hyper's own helper is consumed by its shutdown, so it stands in a cell.
struct Graceful(std::sync::Mutex<Option<GracefulShutdown>>);

impl Default for Graceful {
    fn default() -> Graceful {
        Graceful(std::sync::Mutex::new(Some(GracefulShutdown::new())))
    }
}

impl Graceful {
    fn watcher(&self) -> Option<hyper_util::server::graceful::Watcher> {
        let inner = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.as_ref().map(GracefulShutdown::watcher)
    }

    async fn finish(&self) {
        let inner = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(inner) = inner {
            inner.shutdown().await;
        }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    timeout: Duration,
    graceful: &Graceful,
) -> Result<(), Failure> {
    // Answers are written whole; waiting for more to send would only delay them.
    stream.set_nodelay(true)?;
    let peer = Peer::ip(address.ip(), Some(address.port()));
    match acceptor {
        None => {
            let connection = Connection { peer, is_tls: false };
            converse(stream, connection, router, timeout, graceful).await
        }
        Some(acceptor) => {
            let stream = tokio::time::timeout(timeout, acceptor.accept(stream)).await??;
            let connection = Connection { peer, is_tls: true };
            converse(stream, connection, router, timeout, graceful).await
        }
    }
}

async fn converse<S>(
    stream: S,
    connection: Connection,
    router: Router,
    timeout: Duration,
    graceful: &Graceful,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection);
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(never)) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .max_buf_size(HEAD_MAX_BYTES)
        // `Content-Type`, as Atlas over HTTP/1.1: some scripts compare names letter by letter.
        .title_case_headers(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_MAX_BYTES as u32)
        .keep_alive_interval(timeout)
        .keep_alive_timeout(timeout);
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    match graceful.watcher() {
        Some(watcher) => watcher.watch(connection).await,
        None => Ok(()), // accepted while the server was stopping
    }
}

fn never<T>(never: Infallible) -> T {
    match never {}
}

/// The files of a TLS server.
#[derive(Clone, Debug)]
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

impl TlsFiles {
    /// Reads the files.
    pub fn load(&self) -> Result<Arc<rustls::ServerConfig>, TlsError> {
        let fail = |path: &Path, message: String| TlsError { path: path.to_owned(), message };
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| fail(path, format!("cannot be read: {error}")))
        };
        let pem = read(&self.certificate)?;
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(&pem)
                .collect::<Result<_, _>>()
                .map_err(|error| fail(&self.certificate, format!("is not PEM: {error}")))?;
        if certificates.is_empty() {
            return Err(fail(&self.certificate, "holds no certificate in PEM".into()));
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?)
            .map_err(|error| fail(&self.key, format!("holds no private key in PEM: {error}")))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| fail(&self.certificate, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(|error| fail(&self.key, format!("does not fit the certificate: {error}")))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Refuses to show keys and histories to a network: an address that others can reach needs TLS, or
/// the operator's word.
pub fn check_listen(address: SocketAddr, tls: bool, plaintext: bool) -> Result<(), String> {
    if address.ip().to_canonical().is_loopback() || tls || plaintext {
        return Ok(());
    }
    Err(format!(
        "{address} can be reached from other machines, and without TLS everyone on the way could \
         read the history: give --tls-cert and --tls-key, or --plaintext if something in front \
         of Doorbook does TLS"
    ))
}

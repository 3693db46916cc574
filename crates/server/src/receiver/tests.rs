//! Goal: what a sender sends is stored, in order, whatever others do. Method: real sockets, and a sink that
//! shows what it is handed and refuses when told to.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use doorbook_event::time::ManualClock;
use doorbook_source::Cut;
use doorbook_store::ErrorKind;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

use super::*;

struct Scene {
    receivers: Receivers,
    tools: Tools,
    board: Board,
    stored: mpsc::UnboundedReceiver<Arrival>,
    /// How often the sink refuses from now on.
    refusals: Arc<AtomicUsize>,
}

fn settings() -> Settings {
    Settings {
        name: "syslog".into(),
        project: ProjectId::new([1; 12]),
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        tls: None,
        client_ca_file: None,
        allow: Vec::new(),
    }
}

fn limits() -> Limits {
    Limits { pause: Duration::from_millis(1), ..Limits::default() }
}

impl Scene {
    async fn new() -> Scene {
        Scene::with(settings(), limits()).await
    }

    async fn with(settings: Settings, limits: Limits) -> Scene {
        let (store, stored) = mpsc::unbounded_channel();
        let refusals = Arc::new(AtomicUsize::new(0));
        let refuse = Arc::clone(&refusals);
        let sink = move |door: &Door, arrivals: &[Arrival]| {
            assert_eq!(door.form, Form::Syslog);
            let one_less = |left: usize| left.checked_sub(1);
            if refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
                return Err(Error::new(ErrorKind::DiskFull, "the disk is full"));
            }
            arrivals.iter().for_each(|arrival| drop(store.send(arrival.clone())));
            Ok(())
        };
        let board = Board::default();
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_700_000_000)));
        let tools = Tools { sink: Arc::new(sink), clock, board: board.clone(), limits };
        let scene = Scene { receivers: Receivers::default(), tools, board, stored, refusals };
        scene.following(&[settings]).await
    }

    async fn following(mut self, all: &[Settings]) -> Scene {
        let wanted: Vec<Wanted> = all.iter().cloned().map(Wanted::new).collect();
        self.receivers.follow(&wanted, &self.tools).await.expect("they can be");
        self
    }

    fn status(&self) -> Status {
        self.board.statuses().remove("syslog").expect("there is one")
    }

    async fn connect(&self) -> TcpStream {
        let address = self.status().listen.expect("it listens");
        TcpStream::connect(address).await.expect("accepted")
    }

    async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.expect("sent");
        stream
    }

    /// The next line that is stored.
    async fn next(&mut self) -> Arrival {
        let next = tokio::time::timeout(Duration::from_secs(60), self.stored.recv());
        next.await.expect("in time").expect("a line")
    }

    async fn line(&mut self) -> String {
        String::from_utf8(self.next().await.line).expect("is UTF-8")
    }

    /// Waits until it was counted that somebody was refused.
    async fn refused(&self, reason: Refusal) {
        while !self.status().refused.contains_key(&reason) {
            tokio::task::yield_now().await;
        }
    }
}

/// Waits until the other side has closed.
async fn is_closed(stream: &mut TcpStream) {
    let mut byte = [0; 1];
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut byte));
    let read = read.await.expect("in time");
    assert!(!matches!(read, Ok(1..)), "{read:?}");
}

#[tokio::test]
async fn messages_are_stored_with_their_labels() {
    let mut scene = Scene::new().await;
    let _lines = scene.send(b"<14>Nov 23 17:14:42 db-1 mongod: a\n<14>x").await;
    let arrival = scene.next().await;
    assert_eq!(arrival.line, b"a");
    assert!(arrival.received.ends_with(b"}\n<14>Nov 23 17:14:42 db-1 mongod: a"));
    let labels = [
        ("syslog.host", "db-1"),
        ("syslog.tag", "mongod"),
        ("syslog.facility", "user"),
        ("syslog.severity", "info"),
        ("syslog.peer", "127.0.0.1"),
    ];
    for (label, value) in labels {
        assert_eq!(arrival.labels.get(label).map(Text::as_str), Some(value), "{label}");
    }
    let _counted = scene.send(b"8 <14>b: c7 <14>d: ").await;
    assert_eq!(scene.line().await, "c");
    let status = scene.status();
    assert_eq!((status.connections, status.accepted), (2, 2));
    scene.receivers.stop().await;
}

/// Many messages, in any pieces, come in their order.
#[tokio::test]
async fn order_is_kept() {
    let mut scene = Scene::new().await;
    let mut stream = scene.connect().await;
    let all: String =
        (0..5000).map(|n| format!("<14>h mongod: {n} {}\n", "x".repeat(n % 300))).collect();
    let sending = tokio::spawn(async move {
        for piece in all.as_bytes().chunks(7919) {
            stream.write_all(piece).await.expect("sent");
        }
        stream
    });
    for n in 0..5000 {
        let line = scene.line().await;
        assert_eq!(line.split(' ').next(), Some(&*n.to_string()), "{line}");
    }
    drop(sending.await.expect("sent"));
    scene.receivers.stop().await;
}

/// Goal: what the store refuses is neither lost nor stored twice, and nothing is read meanwhile. Method:
/// refuse some times.
#[tokio::test]
async fn what_cannot_be_stored_waits() {
    let mut scene = Scene::new().await;
    scene.refusals.store(usize::MAX, Ordering::SeqCst);
    let mut stream = scene.send(b"<14>a: 1\n").await;
    while scene.status().problem.is_none() {
        tokio::task::yield_now().await;
    }
    let received_bytes = scene.status().received_bytes;
    stream.write_all(b"<14>a: 2\n").await.expect("sent");
    assert!(scene.stored.try_recv().is_err());
    assert_eq!(scene.status().received_bytes, received_bytes);
    scene.refusals.store(2, Ordering::SeqCst);
    for line in ["1", "2"] {
        assert_eq!(scene.line().await, line);
    }
    assert!(scene.stored.try_recv().is_err());
    scene.receivers.stop().await;
}

/// Goal: a stop loses nothing that was sent, and ends although the store refuses. Method: send, and stop at
/// once.
#[tokio::test]
async fn a_stop_stores_what_was_sent() {
    let mut scene = Scene::new().await;
    let mut streams = Vec::new();
    for n in 0..20 {
        streams.push(scene.send(format!("<14>a: {n}\n").as_bytes()).await);
    }
    // They are let in before the stop; what they have sent may not be read yet.
    while scene.status().accepted < 20 {
        tokio::task::yield_now().await;
    }
    scene.receivers.stop().await;
    drop(scene.tools);
    let mut lines = Vec::new();
    while let Some(arrival) = scene.stored.recv().await {
        lines.push(String::from_utf8(arrival.line).expect("is UTF-8"));
    }
    lines.sort_by_key(|line| line.parse::<u32>().expect("a number"));
    assert_eq!(lines, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    for stream in &mut streams {
        is_closed(stream).await;
    }

    let scene = Scene::new().await;
    scene.refusals.store(usize::MAX, Ordering::SeqCst);
    let _stream = scene.send(b"<14>a: 1\n").await;
    while scene.status().problem.is_none() {
        tokio::task::yield_now().await;
    }
    scene.receivers.stop().await;
}

#[tokio::test]
async fn half_a_message_is_told_as_such() {
    let mut scene = Scene::new().await;
    drop(scene.send(b"<14>a: 1\n<14>a: 2").await);
    assert_eq!(scene.next().await.cut, None);
    let half = scene.next().await;
    assert_eq!((half.cut, &*half.line), (Some(Cut::Unfinished), &b"2"[..]));
    while scene.status().cut == 0 {
        tokio::task::yield_now().await;
    }
    scene.receivers.stop().await;
}

/// Goal: who sends half a message and waits, or sends what is none, is nobody else's trouble. Method: many of
/// them, and room for one at a time.
#[tokio::test]
async fn slow_and_hostile_senders_harm_nobody() {
    let limits = Limits { batches_max: 1, ..limits() };
    let mut scene = Scene::with(settings(), limits).await;
    let mut slow = Vec::new();
    for _ in 0..30 {
        slow.push(scene.send(b"30000 <14>a: half").await);
    }
    let mut tls = scene.send(b"\x16\x03\x01\x02\x00\x01").await;
    is_closed(&mut tls).await;
    let mut garbage = scene.send(b"5 <14>ax 5 <14>a").await;
    assert!(scene.next().await.received.ends_with(b"\n<14>a"));
    is_closed(&mut garbage).await;
    scene.refused(Refusal::Framing).await;
    let _good = scene.send(b"<14>a: good\n").await;
    assert_eq!(scene.line().await, "good");
    drop(slow);
    scene.receivers.stop().await;
}

#[tokio::test]
async fn connections_are_bounded() {
    let bounded = Limits { connections_per_address_max: 2, ..limits() };
    let mut scene = Scene::with(settings(), bounded).await;
    let first = scene.send(b"<14>a: 1\n").await;
    let _second = scene.send(b"<14>a: 2\n").await;
    drop((scene.line().await, scene.line().await));
    is_closed(&mut scene.connect().await).await;
    scene.refused(Refusal::Full).await;
    drop(first);
    while scene.status().connections > 1 {
        tokio::task::yield_now().await;
    }
    // Its place is free a moment after it was counted as gone.
    loop {
        let mut stream = scene.connect().await;
        if stream.write_all(b"<14>a: 3\n").await.is_ok() {
            let line = tokio::time::timeout(Duration::from_millis(100), scene.stored.recv()).await;
            if let Ok(Some(arrival)) = line {
                assert_eq!(arrival.line, b"3");
                break;
            }
        }
    }
    scene.receivers.stop().await;

    let elsewhere =
        Settings { allow: vec!["192.0.2.0/24".parse().expect("a network")], ..settings() };
    let scene = Scene::with(elsewhere, limits()).await;
    is_closed(&mut scene.connect().await).await;
    scene.refused(Refusal::Address).await;
    scene.receivers.stop().await;
    let here = Settings { allow: vec!["127.0.0.0/8".parse().expect("a network")], ..settings() };
    let mut scene = Scene::with(here, limits()).await;
    let _stream = scene.send(b"<14>a: 1\n").await;
    assert_eq!(scene.line().await, "1");
    scene.receivers.stop().await;
}

/// Goal: a stop ends although a sender never pauses, and what was read of it is stored, every message whole.
/// Method: time is up at once; who sends goes on until it is closed.
#[tokio::test]
async fn a_stop_ends_although_more_and_more_comes() {
    let patient = Duration::from_secs(3600);
    let limits = Limits { stop_timeout: Duration::ZERO, linger: patient, ..limits() };
    let mut scene = Scene::with(settings(), limits).await;
    let mut stream = scene.connect().await;
    let sending = tokio::spawn(async move {
        let mut n = 0;
        while stream.write_all(format!("<14>a: {n}{}\n", " ".repeat(997)).as_bytes()).await.is_ok()
        {
            n += 1;
        }
    });
    assert_eq!(scene.line().await.trim_end(), "0");
    scene.receivers.stop().await;
    drop(scene.tools);
    let mut stored = 1;
    while let Some(arrival) = scene.stored.recv().await {
        assert_eq!(arrival.cut, None);
        let line = String::from_utf8(arrival.line).expect("is UTF-8");
        assert_eq!(line.trim_end(), stored.to_string());
        stored += 1;
    }
    sending.await.expect("ends");
}

/// Goal: nor does a stop wait for a message that does not end. Method: half a message, and no patience.
#[tokio::test]
async fn a_stop_ends_although_a_message_does_not() {
    let limits = Limits { stop_timeout: Duration::ZERO, linger: Duration::ZERO, ..limits() };
    let mut scene = Scene::with(settings(), limits).await;
    let mut stream = scene.send(b"<14>a: 1\n<14>a: ").await;
    assert_eq!(scene.line().await, "1");
    let sending =
        tokio::spawn(async move { while stream.write_all(&[b'x'; 4096]).await.is_ok() {} });
    scene.receivers.stop().await;
    let half = scene.stored.recv().await.expect("a line");
    assert!(half.cut.is_some(), "unfinished, or too long");
    sending.await.expect("ends");
}

/// Goal: of several receivers only those that differ begin anew, also at their address. Method: one sender of
/// each, whose connection shows whether it goes on.
#[tokio::test]
async fn only_what_differs_begins_anew() {
    let named = |name: &str| Settings { name: name.into(), ..settings() };
    let mut scene = Scene::with(named("stays"), limits()).await;
    scene = scene.following(&[named("stays"), named("changes")]).await;
    let listens = |scene: &Scene, name: &str| {
        scene.board.statuses().get(name).map(|status| status.listen.expect("it listens"))
    };
    let (stays, changes) = (listens(&scene, "stays"), listens(&scene, "changes"));
    let mut staying = TcpStream::connect(stays.expect("listed")).await.expect("accepted");
    let mut changing = TcpStream::connect(changes.expect("listed")).await.expect("accepted");
    staying.write_all(b"<14>a: 1\n").await.expect("sent");
    assert_eq!(scene.line().await, "1");
    changing.write_all(b"<14>a: 2\n").await.expect("sent");
    assert_eq!(scene.line().await, "2");

    let allow = vec!["127.0.0.0/8".parse().expect("a network")];
    let changed = Settings { allow, ..named("changes") };
    scene = scene.following(&[named("stays"), changed]).await;
    is_closed(&mut changing).await;
    assert_eq!((listens(&scene, "stays"), listens(&scene, "changes")), (stays, changes));
    staying.write_all(b"<14>a: 3\n").await.expect("sent");
    assert_eq!(scene.line().await, "3");
    let mut again = TcpStream::connect(changes.expect("listed")).await.expect("accepted");
    again.write_all(b"<14>a: 4\n").await.expect("sent");
    assert_eq!(scene.line().await, "4");

    scene = scene.following(&[named("stays")]).await;
    assert_eq!((listens(&scene, "stays"), listens(&scene, "changes")), (stays, None));
    TcpStream::connect(changes.expect("listed")).await.expect_err("nobody listens");
    scene.receivers.stop().await;
    assert_eq!(scene.board.statuses(), BTreeMap::new());
}

/// Goal: if one receiver cannot be, the others are as they were, with their connections. Method: one of two
/// is to listen where somebody else does, and another one is to be new.
#[tokio::test]
async fn if_one_cannot_be_all_are_as_they_were() {
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let listen = taken.local_addr().expect("an address");
    let named = |name: &str| Settings { name: name.into(), ..settings() };
    let mut scene = Scene::new().await.following(&[settings(), named("other")]).await;
    let mut stream = scene.send(b"<14>a: 1\n").await;
    assert_eq!(scene.line().await, "1");
    // What they counted is noted a moment after a line is stored.
    let listening = |board: &Board| -> Vec<_> {
        board.statuses().into_iter().map(|(name, status)| (name, status.listen)).collect()
    };
    let before = listening(&scene.board);
    let wanted = [named("new"), Settings { listen, ..settings() }].map(Wanted::new);
    let error = scene.receivers.follow(&wanted, &scene.tools).await.expect_err("refused");
    let error = error.to_string();
    assert!(error.contains(&format!("cannot listen on {listen}")), "{error}");
    assert_eq!(listening(&scene.board), before);
    stream.write_all(b"<14>a: 2\n").await.expect("sent");
    assert_eq!(scene.line().await, "2");
    let _new = scene.send(b"<14>a: 3\n").await;
    assert_eq!(scene.line().await, "3");
    scene.receivers.stop().await;
}

/// An authority, what it has signed for the receiver, and for a sender.
struct Certificates {
    dir: TempDir,
    authority: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Certificates {
    fn new() -> Certificates {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let authority = rcgen::CertifiedIssuer::self_signed(params, key).expect("signed");
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).expect("written");
        Certificates { dir, authority }
    }

    fn made(&self, name: &str) -> (rcgen::Certificate, rcgen::KeyPair) {
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let key = rcgen::KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.authority).expect("signed"), key)
    }

    fn settings(&self, demands_certificates: bool) -> Settings {
        let (certificate, key) = self.made("localhost");
        let files = TlsFiles {
            certificate: self.dir.path().join("cert.pem"),
            key: self.dir.path().join("key.pem"),
        };
        std::fs::write(&files.certificate, certificate.pem()).expect("written");
        std::fs::write(&files.key, key.serialize_pem()).expect("written");
        let client_ca_file = demands_certificates.then(|| self.dir.path().join("ca.pem"));
        Settings { tls: Some(files), client_ca_file, ..settings() }
    }

    fn connector(&self, sender: Option<&str>) -> TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.der().clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match sender.map(|name| self.made(name)) {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
                let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("fits")
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

/// Goal: by TLS, and only from whoever has a certificate where that is demanded, whose name is a label.
/// Method: senders with and without.
#[tokio::test]
async fn tls_with_and_without_certificates() {
    let certificates = Certificates::new();
    for (demands, sender) in [(false, None), (true, Some("db-1.example")), (true, None)] {
        let mut scene = Scene::with(certificates.settings(demands), limits()).await;
        let connector = certificates.connector(sender);
        let name = "localhost".try_into().expect("a name");
        let stream = connector.connect(name, scene.connect().await).await;
        if demands && sender.is_none() {
            // The client may think that it is in until it reads.
            if let Ok(mut stream) = stream {
                assert!(!matches!(stream.read(&mut [0; 1]).await, Ok(1..)));
            }
            scene.refused(Refusal::Tls).await;
            scene.receivers.stop().await;
            continue;
        }
        let mut stream = stream.expect("shakes hands");
        stream.write_all(b"8 <14>b: c").await.expect("sent");
        stream.flush().await.expect("sent");
        let arrival = scene.next().await;
        assert_eq!(arrival.line, b"c");
        assert_eq!(arrival.labels.get("tls.client").map(Text::as_str), sender);
        // Nothing is there to be read, so that the sender notices when we close.
        let said = stream.get_ref().0.try_read(&mut [0; 1]);
        assert!(said.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
        scene.receivers.stop().await;
    }
    // Who speaks no TLS is refused, too.
    let scene = Scene::with(certificates.settings(false), limits()).await;
    let mut plain = scene.send(b"<14>a: 1\n").await;
    scene.refused(Refusal::Tls).await;
    while plain.read(&mut [0; 100]).await.is_ok_and(|n| n > 0) {}
    scene.receivers.stop().await;
}

#[test]
fn tls_files_that_are_none_are_named() {
    let certificates = Certificates::new();
    let good = certificates.settings(true);
    good.check_files().expect("can be used");
    let path = certificates.dir.path().join("empty.pem");
    std::fs::write(&path, "").expect("written");
    let bad = Settings { client_ca_file: Some(path), ..good };
    let error = bad.check_files().expect_err("refused").to_string();
    assert!(error.contains("empty.pem: holds no certificate"), "{error}");
}

#[test]
fn the_first_name_of_a_certificate() {
    let certificates = Certificates::new();
    let (certificate, _) = certificates.made("db-1.example");
    assert_eq!(tls::name(certificate.der()).as_deref(), Some("db-1.example"));
    assert_eq!(tls::name(&CertificateDer::from(vec![0x30, 0])), None);
}

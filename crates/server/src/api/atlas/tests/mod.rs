//! The whole router over a real store, with a clock that stands still.
//!
//! Replies are compared whole, status line, headers and body: an answer that gains a header is a
//! change of the contract too.

mod auth;
mod bad_input;
pub mod history;
mod lookups;
mod table;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use doorbook_event::record::Actor;
use doorbook_event::registry::{
    Cluster, Host, Key, Project, Registry, RegistryChange, Role, ServiceAccount,
};
use doorbook_event::source::{Source, SourceKind, Subject};
use doorbook_event::time::{CountingRandom, ManualClock};
use doorbook_event::{
    Access, Action, Attributes, Class, Classes, HostName, Outcome, Peer, Principal, ProjectId,
    Random, Target, Timestamp, WrittenTime,
};
use doorbook_store::{Advance, ImportBatch, ImportEnd, ImportStart, Store};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::app::{App, Secrets, Settings};
use crate::auth::digest::{ha1, tests_support::sign};
use crate::auth::oauth::hash_of;
use crate::http::Connection;
use crate::test_support::options_in;

pub use history::accesses;

pub const NOW: Timestamp = Timestamp::from_millis(1_682_480_000_000); // 2023-04-26T03:33:20Z
pub const GROUP: &str = "32b6e34b3d91647abb20e7b8";
pub const SECRET_GROUP: &str = "aaaaaaaaaaaaaaaaaaaaaaaa";
pub const ABSENT_GROUP: &str = "111111111111111111111111";
pub const NODE: &str = "atlas-zi8w28-shard-00-00.xvvx3a.mongodb.net";
pub const VERSION: &str = "application/vnd.atlas.2023-01-01+json";

/// Public and private half.
pub type KeyPair = (&'static str, &'static str);
pub const OWNER: KeyPair = ("abcdefgh", "11111111-2222-3333-4444-555555555555");
pub const READER: KeyPair = ("readonly", "22222222-2222-3333-4444-555555555555");
pub const STRANGER: KeyPair = ("stranger", "33333333-2222-3333-4444-555555555555");
pub const ACCOUNT: KeyPair = ("mdb_sa_id_0123456789abcdef01234567", "mdb_sa_sk_secret");

pub struct Server {
    pub app: App,
    pub clock: Arc<ManualClock>,
    pub connection: Option<Connection>,
    router: Router,
    _dir: TempDir,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub bytes: Vec<u8>,
}

impl Server {
    pub fn new() -> Server {
        Server::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Server {
        Server::with_random(settings, 0)
    }

    /// With random numbers that begin elsewhere, and so with other secrets.
    pub fn with_random(settings: Settings, skip_bytes: usize) -> Server {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new(NOW));
        let random: Arc<CountingRandom> = Arc::default();
        random.fill(&mut vec![0; skip_bytes]);
        let store = Store::open(options_in(dir.path(), &clock, &random)).expect("opens");
        store.change_registry(&operator(), registry_changes()).expect("allowed");
        let secrets = Secrets::of(&store).expect("secrets");
        let app = App::new(store, clock.clone(), random, settings, &secrets);
        Server { router: app.router(), app, clock, connection: None, _dir: dir }
    }

    /// With the rows of `history::accesses`.
    pub fn with_history() -> Server {
        let server = Server::new();
        server.import("Cluster0", history::accesses());
        server
    }

    pub fn import(&self, cluster: &str, accesses: Vec<Access>) {
        let store = self.app.store();
        let start = ImportStart {
            by: operator(),
            project: group(GROUP),
            cluster: cluster.into(),
            host: None,
            source: "mongod-log".into(),
        };
        let id = store.begin_import(start).expect("begins");
        store.import(&id, ImportBatch { accesses, ..ImportBatch::default() }).expect("imports");
        let end =
            ImportEnd { complete: true, files: Vec::new(), lines: 0, unknown_ids: Vec::new() };
        store.end_import(&id, end).expect("ends");
    }

    /// Every host of the group is watched by a source of its own, since ever and up to `through`.
    pub fn watch(&self, through: Timestamp) {
        let store = self.app.store();
        let registry = self.registry();
        let hosts: Vec<&Host> = registry.hosts(group(GROUP)).collect();
        for (n, host) in hosts.into_iter().enumerate() {
            let source = Source {
                name: format!("source-{n}").into(),
                kind: SourceKind::MongodLog,
                subject: Subject::Host {
                    project: host.project,
                    cluster: host.cluster.clone(),
                    host: host.name.clone(),
                },
                interval_seconds: None,
                path: format!("/var/log/{n}.log").into(),
                zone: "UTC".into(),
                paused: false,
                agent: None,
                rules: Vec::new(),
            };
            let set = vec![RegistryChange::SourceSet(source.clone())];
            store.change_registry(&operator(), set).expect("allowed");
            let advanced = store.advance(vec![Advance {
                source,
                after: Vec::new(),
                position: b"1".to_vec(),
                is_next_file: false,
                accesses: Vec::new(),
                coverage: Vec::new(),
                quarantine: Vec::new(),
                heartbeat: None,
                through: Some(through),
                since: Some(Timestamp::MIN),
                lines: 0,
                doubt: None,
            }]);
            advanced.into_iter().collect::<Result<Vec<_>, _>>().expect("is stored");
        }
    }

    pub fn registry(&self) -> Registry {
        self.app.store().catalog().registry.clone()
    }

    /// One request as it is.
    pub async fn send(&self, mut request: Request<Body>) -> Reply {
        if let Some(connection) = self.connection {
            request.extensions_mut().insert(connection);
        }
        let response = self.router.clone().oneshot(request).await.expect("never fails");
        let (parts, body) = response.into_parts();
        let mut headers = BTreeMap::new();
        for (name, value) in &parts.headers {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            assert_eq!(headers.insert(name.to_string(), value), None, "{name} twice");
        }
        let bytes = to_bytes(body, usize::MAX).await.expect("in memory").to_vec();
        Reply { status: parts.status.as_u16(), headers, bytes }
    }

    /// A request without credentials, and the challenge it gets.
    pub async fn challenge(&self) -> String {
        let reply = self.send(request("GET", "/api/atlas/v2/groups", &[])).await;
        reply.headers["www-authenticate"].clone()
    }

    /// The two requests of a digest exchange; the answer to the second.
    pub async fn call(
        &self,
        key: KeyPair,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Reply {
        let authorization = sign(&self.challenge().await, key, (method, target), 1);
        let mut headers = headers.to_vec();
        headers.push(("authorization", &authorization));
        self.send(request(method, target, &headers)).await
    }

    /// The owner's GET with the first version in `Accept`.
    pub async fn get(&self, target: &str) -> Reply {
        self.get_as(OWNER, target).await
    }

    pub async fn get_as(&self, key: KeyPair, target: &str) -> Reply {
        self.call(key, "GET", target, &[("accept", VERSION)]).await
    }
}

impl Reply {
    pub fn body(&self) -> &str {
        std::str::from_utf8(&self.bytes).expect("UTF-8")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("{}", self.body()))
    }

    pub fn code(&self) -> &str {
        self.headers.get("x-error-code").map_or("", String::as_str)
    }

    /// The whole reply as text, headers by name.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.status);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text + "\n" + self.body()
    }

    /// The user names of an access history, newest first.
    pub fn usernames(&self) -> Vec<String> {
        assert_eq!(self.status, 200, "{}", self.body());
        let json = self.json();
        let rows = json["accessLogs"].as_array().expect("a list");
        rows.iter().map(|row| row["username"].as_str().unwrap_or("?").to_owned()).collect()
    }
}

pub fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).expect("well formed")
}

pub fn group(id: &str) -> ProjectId {
    id.parse().expect("an id")
}

pub fn clusters(rest: &str) -> String {
    format!("/api/atlas/v2/groups/{GROUP}/dbAccessHistory/clusters/{rest}")
}

pub fn processes(rest: &str) -> String {
    format!("/api/atlas/v2/groups/{GROUP}/dbAccessHistory/processes/{rest}")
}

/// `text` without the indentation of the source.
pub fn lines(text: &str) -> String {
    text.trim_start_matches('\n').lines().map(|line| line.trim_start().to_owned() + "\n").collect()
}

pub fn operator() -> Actor {
    Actor { principal: Principal::OsUser { uid: 0, name: None }, peer: Peer::UnixSocket }
}

pub fn registry_changes() -> Vec<RegistryChange> {
    let created = Timestamp::from_millis(1_577_836_800_123); // 2020-01-01T00:00:00.123Z
    let own = group(GROUP);
    let project = |id: &str, name: &str| {
        RegistryChange::ProjectCreated(Project { id: group(id), name: name.into(), created })
    };
    let cluster = |project: &str, name: &str| {
        let project = group(project);
        RegistryChange::ClusterCreated(Cluster { project, name: name.into(), created })
    };
    let host = |cluster: &str, name: &str, alias: Option<&str>| {
        RegistryChange::HostAdded(Host {
            project: own,
            cluster: cluster.into(),
            name: HostName::parse(name).expect("a host").0,
            aliases: alias.into_iter().map(Into::into).collect(),
        })
    };
    let key = |(public, private): KeyPair, project: &str, role| {
        RegistryChange::KeyCreated(Key {
            public: public.into(),
            ha1: ha1(public, private),
            project: group(project),
            role,
            created,
            agent: None,
        })
    };
    vec![
        project(GROUP, "Project 0"),
        project(SECRET_GROUP, "Secret"),
        cluster(GROUP, "Cluster0"),
        cluster(GROUP, "Other"),
        cluster(SECRET_GROUP, "Cluster0"),
        host("Cluster0", NODE, Some("cluster0-shard-00-00.xvvx3a.mongodb.net")),
        host("Cluster0", &format!("{NODE}:27018"), None),
        host("Other", "[2001:db8::5]:27017", None),
        key(OWNER, GROUP, Role::Owner),
        key(READER, GROUP, Role::ReadOnly),
        key(STRANGER, SECRET_GROUP, Role::Owner),
        RegistryChange::ServiceAccountCreated(ServiceAccount {
            client_id: ACCOUNT.0.into(),
            secret_sha256: hash_of(ACCOUNT.1),
            project: own,
            role: Role::ClusterLogViewer,
            created,
        }),
    ]
}

/// A login on the first node, `millis` after `NOW`.
pub fn login(name: &str, millis: i64) -> Access {
    Access {
        target: Target::Host { cluster: "Cluster0".into(), host: format!("{NODE}:27017").into() },
        event_time: NOW.plus_micros(millis * 1000),
        written_time: WrittenTime::Complete,
        action: Action::Authenticate,
        outcome: Outcome::Success,
        principal: Principal::User { name: name.into(), database: "admin".into() },
        mechanism: Some("SCRAM-SHA-256".into()),
        peer: Peer::ip([203, 0, 113, 9].into(), Some(56444)),
        peer_joined: false,
        connection: Some(1),
        process_start: None,
        client: None,
        speculative: None,
        classes: Classes::NONE,
        attributes: Attributes::new(),
        raw: format!("line of {name}").into_bytes(),
        task_id: None,
    }
}

pub fn with_class(access: Access, class: Class) -> Access {
    Access { classes: access.classes.with(class), ..access }
}

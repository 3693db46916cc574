//! The whole router over a real store, with a clock that stands still.

mod agent;
mod events;
pub mod export;
mod ingest;
mod lines;
mod openapi;
mod principals;
mod reviews;
mod sources;
mod table;
mod tail;

use std::collections::BTreeMap;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use doorbook_event::registry::{Key, RegistryChange, Role};
use doorbook_event::{Peer, Record, Scope};
use doorbook_store::Filter;
use serde_json::Value;
use tower::ServiceExt;

use crate::api::atlas::tests::{GROUP, KeyPair, NODE, NOW, Server, group, operator};
use crate::app::Settings;
use crate::auth::digest::ha1;
use crate::http::Connection;

pub use crate::api::atlas::tests::{ACCOUNT, OWNER, READER, SECRET_GROUP, STRANGER};

pub const SHIPPER: KeyPair = ("shipper0", "44444444-2222-3333-4444-555555555555");

/// A connection from this machine.
pub const LOCAL: Connection = Connection {
    peer: Peer::Ip { address: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port: Some(1) },
    is_tls: false,
};

pub struct Doors {
    pub server: Server,
    pub connection: Connection,
}

#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, Vec<String>>,
    pub bytes: Vec<u8>,
}

impl Doors {
    pub fn new() -> Doors {
        Doors::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Doors {
        let server = Server::with(settings);
        let key = Key {
            public: SHIPPER.0.into(),
            ha1: ha1(SHIPPER.0, SHIPPER.1),
            project: group(GROUP),
            role: Role::Shipper,
            created: NOW,
            agent: None,
        };
        let created = vec![RegistryChange::KeyCreated(key)];
        server.app.store().change_registry(&operator(), created).expect("allowed");
        Doors { server, connection: LOCAL }
    }

    /// One request as it is.
    pub async fn send(&self, mut request: Request<Body>) -> Reply {
        request.extensions_mut().insert(self.connection);
        let response = self.server.app.router().oneshot(request).await.expect("never fails");
        let (parts, body) = response.into_parts();
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in &parts.headers {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            headers.entry(name.to_string()).or_default().push(value);
        }
        let bytes = to_bytes(body, usize::MAX).await.expect("in memory").to_vec();
        Reply { status: parts.status.as_u16(), headers, bytes }
    }

    pub async fn get(&self, key: KeyPair, target: &str) -> Reply {
        self.send(request("GET", target, &[("authorization", &basic(key))], "")).await
    }

    /// The owner's GET, which is answered.
    pub async fn read(&self, target: &str) -> Value {
        self.get(OWNER, target).await.json(200)
    }

    /// The shipper's lines.
    pub async fn post(
        &self,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Reply {
        let authorization = basic(SHIPPER);
        let mut all = vec![("authorization", &*authorization)];
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            all.push(("content-type", "application/x-ndjson"));
        }
        all.extend(headers);
        self.send(request("POST", target, &all, body)).await
    }

    pub async fn ship(&self, lines: &[String]) -> Value {
        self.post("/api/v1/ingest/app?lines=all", &[], lines.join("\n")).await.json(200)
    }

    /// What our own record says of uses of this API: operation, outcome, count, rows.
    pub fn uses(&self) -> Vec<(String, String, String, String)> {
        self.server.app.usage().flush();
        let page = self.server.app.store().select(&Filter::all(Scope::System, 1000));
        let mut uses = Vec::new();
        for row in page.expect("reads").rows.into_iter().rev() {
            let Record::Own(access) = row.record else { continue };
            let get = |name: &str| access.attributes.get(name).map(ToString::to_string);
            let Some(operation) = get("operation") else { continue };
            let outcome = access.outcome.reason().map_or("ok", |reason| reason.as_str());
            uses.push((
                operation,
                outcome.to_owned(),
                get("count").unwrap_or_default(),
                get("rows").unwrap_or_default(),
            ));
        }
        uses.sort();
        uses
    }
}

impl Reply {
    pub fn body(&self) -> &str {
        std::str::from_utf8(&self.bytes).expect("UTF-8")
    }

    pub fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body());
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("{}", self.body()))
    }

    /// A problem of this name, in the form of RFC 9457; its detail.
    pub fn problem(&self, status: u16, name: &str) -> String {
        let problem = self.json(status);
        assert_eq!(self.headers["content-type"], ["application/problem+json"]);
        assert_eq!(problem["type"], format!("urn:doorbook:problem:{name}"), "{problem}");
        assert_eq!(problem["status"], status);
        let members = problem.as_object().expect("an object").keys().map(String::as_str);
        let members: Vec<_> = members.filter(|name| *name != "missing").collect();
        assert_eq!(members, ["detail", "status", "title", "type"]);
        problem["detail"].as_str().expect("a text").to_owned()
    }
}

pub fn request(
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).expect("well formed")
}

pub fn basic((public, private): KeyPair) -> String {
    format!("Basic {}", STANDARD.encode(format!("{public}:{private}")))
}

/// A login on the first node, `seconds` after `NOW`.
pub fn line(user: &str, seconds: i64) -> String {
    let time = NOW.plus_seconds(seconds);
    format!(
        "{{\"time\":\"{time}\",\"cluster\":\"Cluster0\",\"host\":\"{NODE}:27017\",\
         \"outcome\":\"success\",\"user\":\"{user}\",\"database\":\"admin\",\
         \"mechanism\":\"SCRAM-SHA-256\",\"address\":\"203.0.113.9\",\"connection\":1}}"
    )
}

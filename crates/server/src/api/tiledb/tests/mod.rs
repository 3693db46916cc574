//! The whole router over a real store, with a clock that stands still; requests as the captures have
//! them.

mod activity;
mod arrays;
mod bad_input;
mod reports;

use std::collections::BTreeSet;

use doorbook_event::arrays::{ArraysChange, Organization, Token, User, Uuid};
use doorbook_event::registry::RegistryChange;
use doorbook_event::{Access, Action, Outcome, Principal, Record, Scope, Target, Timestamp};
use doorbook_store::{Filter, Ingest, IngestLine};
use serde_json::{Value, json};

use super::OPERATIONS;
use crate::api::atlas::tests::{NOW, operator};
use crate::api::native::tests::{Doors, Reply, request};
use crate::app::Settings;
use crate::arrays::Places;
use crate::auth::users;

/// What a user's token is in these tests.
fn token(user: &str) -> String {
    format!("token-of-{user}")
}

/// What a user's password is.
fn password(user: &str) -> String {
    format!("password of {user}")
}

/// alice and bob, carol, and the lab, of which carol is a member.
struct Cloud {
    doors: Doors,
    dir: tempfile::TempDir,
}

impl Cloud {
    fn new() -> Cloud {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let roots = [dir.path().to_owned()];
        let array_places = Places::below(&roots, &dir.path().join("data")).expect("there");
        let doors = Doors::with(Settings { array_places, ..Settings::default() });
        let cloud = Cloud { doors, dir };
        for (n, name) in ["alice", "bob", "carol"].into_iter().enumerate() {
            let random = cloud.doors.server.app.random();
            let id = Uuid::random([n as u8; 16]);
            let kept = users::kept(random, &password(name), 1);
            let user = User { name: name.into(), id, password: kept, created: NOW };
            cloud.change(ArraysChange::UserCreated(user));
            cloud.change(ArraysChange::TokenCreated(Token {
                sha256: users::token_sha256(&token(name)),
                user: name.into(),
                created: NOW,
                expires: None,
            }));
        }
        cloud.change(ArraysChange::OrganizationCreated(Organization {
            name: "lab".into(),
            id: Uuid::random([9; 16]),
            members: BTreeSet::from(["carol".into()]),
            created: NOW,
        }));
        cloud
    }

    /// With `a` of alice's, which is at `s3://bucket/a b/c`; its id.
    async fn with_an_array() -> (Cloud, String) {
        let cloud = Cloud::new();
        let body =
            json!({"name": "a", "uri": "s3://bucket/a b/c", "description": "d", "tags": ["x"]});
        let path = "/v1/arrays/alice/s3%3A%2F%2Fbucket%2Fa%20b%2Fc/register";
        let info = cloud.send("alice", "POST", path, &body).await.json(200);
        let id = info["id"].as_str().expect("a text").to_owned();
        (cloud, id)
    }

    fn change(&self, change: ArraysChange) {
        let changes = vec![RegistryChange::Arrays(change)];
        self.doors.server.app.store().change_registry(&operator(), changes).expect("allowed");
    }

    async fn get(&self, user: &str, path: &str) -> Reply {
        self.doors.send(request("GET", path, &[("X-TILEDB-REST-API-KEY", &token(user))], "")).await
    }

    async fn send(&self, user: &str, method: &str, path: &str, body: &Value) -> Reply {
        let token = token(user);
        let headers = [("X-TILEDB-REST-API-KEY", &*token), ("Content-Type", "application/json")];
        self.doors.send(request(method, path, &headers, body.to_string())).await
    }

    async fn share(&self, with: &str, actions: &[&str]) {
        let body = json!({"actions": actions, "namespace": with});
        let reply = self.send("alice", "PATCH", "/v1/arrays/alice/a/share", &body).await;
        assert_eq!((reply.status, reply.body()), (204, ""));
    }

    /// Something was done to an array of alice's, `seconds` after now.
    fn tell(&self, id: &str, seconds: i64, action: Action, also: impl FnOnce(&mut Access)) {
        let target = Target::Array { namespace: "alice".into(), array: id.into() };
        let mut access = Access {
            event_time: NOW.plus_seconds(seconds),
            principal: Principal::User { name: "dave".into(), database: "".into() },
            outcome: Outcome::Success,
            ..Access::own(&operator(), action, target, NOW)
        };
        also(&mut access);
        let lines = vec![IngestLine::Event(Box::new(access))];
        let scope = Scope::Namespace("alice".into());
        let ingest = Ingest { scope, source: "app".into(), key: None, lines };
        self.doors.server.app.store().ingest(ingest).expect("stores");
    }

    /// What is recorded in a scope, newest first: who, what, from where, and how it ended.
    fn recorded(&self, scope: Scope) -> Vec<(String, &'static str, String, &'static str)> {
        self.doors.server.app.usage().flush();
        let page = self.doors.server.app.store().select(&Filter::all(scope, 1000));
        let rows = page.expect("reads").rows.into_iter();
        let told = rows.filter_map(|row| match row.record {
            Record::Access(access) | Record::Own(access) => Some((
                access.principal.to_string(),
                access.action.word(),
                access.peer.address().map(|a| a.to_string()).unwrap_or_default(),
                access.outcome.word(),
            )),
            _ => None,
        });
        told.collect()
    }
}

/// An error in TileDB's form; its message.
fn error(reply: &Reply, status: u16) -> String {
    let body = reply.json(status);
    assert_eq!(reply.headers["content-type"], ["application/json"]);
    let members: Vec<_> = body.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["code", "message", "request_id"], "{body}");
    assert_eq!(body["code"], status);
    assert_eq!(body["request_id"].as_str().map(str::len), Some(36));
    body["message"].as_str().expect("a text").to_owned()
}

/// The words of the rows of a version 1 answer.
fn actions(rows: &Value) -> Vec<&str> {
    let rows = rows.as_array().expect("a list");
    rows.iter().map(|row| row["action"].as_str().expect("a text")).collect()
}

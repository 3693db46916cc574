//! Goal: the pages of principals say what the API says of the same question, mark what is new, and lead on.

use doorbook_event::Text;

use super::*;

/// alice from two addresses, the second one new within the last hour and with a shell; a program; the system.
fn scene() -> Site {
    let site = Site::new();
    let row = |name: &str, seconds: i64, address: u8, application: &str| {
        let mut row: Access = accesses().remove(1);
        row.principal = Principal::User { name: name.into(), database: "admin".into() };
        row.peer = Peer::ip([10, 0, 0, address].into(), Some(1));
        row.event_time = NOW.plus_seconds(seconds);
        row.connection = Some(seconds.unsigned_abs());
        row.classes = doorbook_event::Classes::NONE;
        let application = Some(application.into()).filter(|name: &Text| !name.is_empty());
        row.client = application.map(|name| {
            doorbook_event::Shared::from(doorbook_event::Client {
                application: Some(name),
                ..Default::default()
            })
        });
        row
    };
    let mut rows = vec![
        row("alice", -90_000, 1, "mongosh 2.5"),
        row("alice", -600, 1, "mongosh 2.5"),
        row("alice", -500, 2, "mongosh 2.5"),
        row("cron", -400, 3, "nightly"),
        row("silent", -300, 4, ""),
        row("__system", -200, 5, ""),
    ];
    rows[2].outcome = Outcome::Failure { reason: None, code: None };
    rows[5].classes = doorbook_event::Class::System.into();
    site.0.server.import("Cluster0", rows);
    site
}

fn path(rest: &str) -> String {
    format!("/principals{rest}")
}

/// The cells of the row that begins with a text, without markup.
fn row_of(page: &str, name: &str) -> String {
    let rows = page.split("<tr>").filter(|row| row.contains(&format!("<bdi>{name}</bdi>")));
    let row = rows.last().unwrap_or_else(|| panic!("{name} in {page}"));
    let row = row.split("</tr>").next().expect("ends");
    let texts = row.split('<').filter_map(|piece| piece.split_once('>'));
    texts.map(|(_, text)| text).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn everybody_is_listed_with_what_is_known() {
    let site = scene();
    let cookie = site.sign_in("alice").await;
    let list = async |query: &str| {
        site.get(&cookie, &path(&format!("?project={GROUP}&last=1h{query}"))).await
    };
    let page = list("").await;
    assert_eq!(page.status, 200, "{}", page.body());
    assert!(page.body().contains("<strong>3</strong> principals in 4 events"), "{}", page.body());
    let alice = row_of(page.body(), "alice");
    assert!(alice.contains("interactive") && alice.contains("2023-04-25 02:33:20"), "{alice}");
    assert!(!alice.contains("new"), "seen before the window: {alice}");
    let cron = row_of(page.body(), "cron");
    assert!(cron.contains("program") && cron.contains("new"), "{cron}");
    assert!(row_of(page.body(), "silent").contains("not known"));
    assert!(!page.body().contains("__system"), "hidden at first");
    let all = list("&show=all").await;
    assert!(row_of(all.body(), "__system").contains("system"));
    // As the API has them.
    for sort in ["last", "first", "count", "failures"] {
        let page = list(&format!("&sort={sort}&show=all")).await;
        let from = NOW.plus_seconds(-3600);
        let api = site.0.read(&format!("/api/v1/principals?from={from}&sort={sort}")).await;
        let names = api["principals"].as_array().expect("a list").iter();
        let names: Vec<&str> = names.filter_map(|one| one["name"].as_str()).collect();
        let places = names.iter().map(|name| page.body().find(&format!("<bdi>{name}</bdi></a>")));
        assert!(places.is_sorted_by(|a, b| a.is_some() && a < b), "{sort}: {names:?}");
    }
    let none = list("&q=user:nobody").await;
    assert!(none.body().contains("Nobody was seen"), "{}", none.body());
    assert_eq!(list("&sort=x").await.status, 400);
    assert_eq!(list("&q=usr:x").await.status, 400);
    assert_eq!(list("&usr=x").await.status, 400);
}

#[tokio::test]
async fn one_is_shown_with_what_is_new() {
    let site = scene();
    let cookie = site.sign_in("alice").await;
    let one = async |name: &str, query: &str| {
        site.get(&cookie, &path(&format!("/{name}?project={GROUP}&last=1h{query}"))).await
    };
    let page = one("alice", "").await;
    assert_eq!(page.status, 200, "{}", page.body());
    assert!(page.body().contains("<strong>2</strong> events"), "{}", page.body());
    assert!(!row_of(page.body(), "10.0.0.1").contains("new"));
    let second = row_of(page.body(), "10.0.0.2");
    assert!(second.contains("new") && second.ends_with("0 1"), "{second}");
    // 03:25 UTC on a Wednesday; an hour in which some failed.
    assert!(page.body().contains("Wednesday 03:00: 2, 1 failed"), "{}", page.body());
    let berlin = one("alice", "&zone=Europe/Berlin").await;
    assert!(berlin.body().contains("Wednesday 05:00: 2, 1 failed"), "{}", berlin.body());
    let link = format!(
        "/history?project={GROUP}&amp;last=1h&amp;principal=alice&amp;show=all&amp;address=10.0.0.2"
    );
    assert!(page.body().contains(&link), "{link} in {}", page.body());
    let events = site.get(&cookie, &link.replace("&amp;", "&")).await;
    assert!(events.body().contains("<strong>1</strong> event"), "{}", events.body());
    assert!(events.body().contains("href=\"/principals/alice?project="), "{}", events.body());
    let never = one("mallory", "").await;
    assert_eq!(never.status, 200);
    assert!(never.body().contains("Never seen"), "{}", never.body());
    let later =
        site.get(&cookie, &path(&format!("/cron?project={GROUP}&to=2023-01-01T00:00:00Z"))).await;
    assert!(later.body().contains("Never seen"), "by then: {}", later.body());
    assert_eq!(one("%ff", "").await.status, 404);
    assert_eq!(one("alice", "&principal=x").await.status, 400);
}

/// Goal: a colleague without the role learns nothing of anybody.
#[tokio::test]
async fn without_a_role_nobody_is_seen() {
    let site = scene();
    let (bob, carol) = (site.sign_in("bob").await, site.sign_in("carol").await);
    for rest in ["", "/alice", "/mallory"] {
        let address = path(&format!("{rest}?project={GROUP}&last=all"));
        for (cookie, status) in [(&bob, 404), (&carol, 403)] {
            let reply = site.get(cookie, &address).await;
            assert_eq!(reply.status, status, "{address}");
            assert!(
                !reply.body().contains("<tbody") && !reply.body().contains("mongosh"),
                "{address}"
            );
        }
        assert_eq!(site.get("", &address).await.status, 303);
    }
}

/// Goal: the same pages of arrays: who was seen, by name of the array, for who owns the namespace or has the array shared.
#[tokio::test]
async fn of_arrays_the_same_pages_are_there() {
    use doorbook_event::arrays::{Array, Right};
    use doorbook_event::{Action, Target};
    let site = Site::new();
    let id = Uuid::random([7; 16]);
    let array = Array {
        id,
        namespace: "alice".into(),
        name: "cells <i>".into(),
        uri: "s3://bucket/cells".into(),
        created: NOW,
        created_by: "alice".into(),
        description: Text::default(),
        tags: Vec::new(),
        shares: std::collections::BTreeMap::default(),
    };
    site.change(RegistryChange::Arrays(ArraysChange::ArrayRegistered(array)));
    let mut row: Access = accesses().remove(1);
    row.principal = Principal::User { name: "bob".into(), database: Text::default() };
    row.action = Action::QueryRead;
    row.target = Target::Array { namespace: "alice".into(), array: id.to_string().into() };
    let scope = Scope::Namespace("alice".into());
    let entry =
        doorbook_store::Entry { scope, source: "app".into(), records: vec![Record::Access(row)] };
    site.0.server.app.store().commit(vec![entry]).expect("commits");
    let alice = site.sign_in("alice").await;
    let get = async |cookie: &str, path: &str| {
        site.get(cookie, &format!("{path}?namespace=alice&last=all")).await
    };
    let list = get(&alice, "/principals").await;
    assert!(row_of(list.body(), "bob").contains("user"), "{}", list.body());
    assert!(bar_of(list.body()).contains("Array activity"), "{}", list.body());
    let one = get(&alice, "/principals/bob").await;
    assert!(one.body().contains("<bdi>cells &lt;i&gt;</bdi>"), "{}", one.body());
    assert!(one.body().contains(&format!("array={id}")), "{}", one.body());
    let sources = site.get(&alice, "/sources?namespace=alice").await;
    assert_eq!(sources.status, 200);
    assert!(sources.body().contains("Nobody watches"), "{}", sources.body());
    let carol = site.sign_in("carol").await;
    assert_eq!(get(&carol, "/principals").await.status, 404);
    let rights = [Right::ReadLogs].into();
    site.change(RegistryChange::Arrays(ArraysChange::ArrayShared {
        id,
        with: "carol".into(),
        rights,
    }));
    assert_eq!(get(&carol, "/principals").await.status, 403, "of the namespace not");
    let shared =
        site.get(&carol, &format!("/principals?namespace=alice&array={id}&last=all")).await;
    assert_eq!(shared.status, 200, "of the array that is shared");
    let bar = bar_of(shared.body());
    assert!(bar.contains(&format!("array={id}")) && !bar.contains("Sources"), "{bar}");
    assert_eq!(site.get(&carol, "/sources?namespace=alice").await.status, 403);
}

/// Goal: a name that an address cannot say still leads somewhere.
#[test]
fn names_that_no_address_can_say() {
    use crate::web::params::Params;
    use crate::web::principals::{address_of, link};
    let params = Params::parse("project=p&q=x&cursor=y").expect("readable");
    assert_eq!(
        address_of("a/b ü", &params).as_deref(),
        Some("/principals/a%2Fb%20%C3%BC?project=p")
    );
    assert_eq!(address_of("..", &params), None);
    assert!(link(Some(".."), &params).0.contains("/history?project=p&amp;principal=.."));
    assert!(!link(Some(&"x".repeat(5000)), &params).0.contains("href"));
    assert!(link(None, &params).0.contains("/history?project=p&amp;user="));
}

//! The whole router over a real store, with a clock that stands still, as a browser asks.

mod administration;
mod principals;
mod reviews;
mod sources;

use axum::http::header;
use doorbook_event::arrays::{ArraysChange, User, Uuid};
use doorbook_event::registry::{Project, RegistryChange, Role};
use doorbook_event::{Access, Outcome, Peer, Principal, ProjectId, Record, Scope};
use doorbook_store::Filter;

use super::{assets, sessions, when};
use crate::api::atlas::tests::{GROUP, NOW, accesses, group, operator};
use crate::api::native::tests::{Doors, Reply, export, request};
use crate::auth::users;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const SITE: (&str, &str) = ("sec-fetch-site", "same-origin");

/// alice, who may read the group's history, bob, who has no role in it, carol, whose role does not
/// do, and dave, who owns the group.
struct Site(Doors);

impl Site {
    fn new() -> Site {
        let site = Site(Doors::new());
        for (n, name) in ["alice", "bob", "carol", "dave"].into_iter().enumerate() {
            let password =
                users::kept(site.0.server.app.random(), &format!("password of {name}"), 1);
            let id = Uuid::random([n as u8; 16]);
            let user = User { name: name.into(), id, password, created: NOW };
            site.change(RegistryChange::Arrays(ArraysChange::UserCreated(user)));
        }
        for (user, role) in
            [("alice", Role::ClusterLogViewer), ("carol", Role::ReadOnly), ("dave", Role::Owner)]
        {
            let (user, project) = (user.into(), group(GROUP));
            site.change(RegistryChange::RoleGranted { user, project, role });
        }
        site
    }

    fn with_history() -> Site {
        let site = Site::new();
        site.0.server.import("Cluster0", accesses());
        site
    }

    fn change(&self, change: RegistryChange) {
        self.0.server.app.store().change_registry(&operator(), vec![change]).expect("allowed");
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], form: &str) -> Reply {
        let headers = [&[FORM], headers].concat();
        self.0.send(request("POST", path, &headers, form.to_owned())).await
    }

    async fn try_password(&self, user: &str, password: &str) -> Reply {
        self.post("/sign-in", &[SITE], &format!("user={user}&password={password}")).await
    }

    /// Signs in. Returns the cookie as the browser sends it back.
    async fn sign_in(&self, user: &str) -> String {
        let reply = self.try_password(user, &format!("password+of+{user}")).await;
        assert_eq!(reply.status, 303, "{}", reply.body());
        cookie_of(&reply)
    }

    async fn get(&self, cookie: &str, path: &str) -> Reply {
        self.0.send(request("GET", path, &[("cookie", cookie)], "")).await
    }

    /// Sends a form of the session, with its token.
    async fn submit(&self, cookie: &str, path: &str, form: &str) -> Reply {
        // Every page of who is signed in has one, whatever it says.
        let token = token_in(self.history(cookie, "").await.body());
        self.post(path, &[SITE, ("cookie", cookie)], &format!("token={token}&{form}")).await
    }

    /// What is in our own history, as verb or operation, outcome and who.
    fn recorded(&self) -> Vec<(String, &'static str, String)> {
        self.0.server.app.usage().flush();
        let filter = Filter::all(Scope::System, 1000);
        let page = self.0.server.app.store().select(&filter).expect("reads");
        let rows = page.rows.iter().filter_map(|row| match &row.record {
            Record::Own(access) => {
                let what = access.attributes.get("verb").or(access.attributes.get("operation"));
                let what = what.map(ToString::to_string).unwrap_or_default();
                Some((what, access.outcome.word(), access.principal.to_string()))
            }
            _ => None,
        });
        rows.collect()
    }

    async fn history(&self, cookie: &str, query: &str) -> Reply {
        let project = format!("/history?project={GROUP}&last=all{query}");
        self.get(cookie, &project).await
    }
}

fn cookie_of(reply: &Reply) -> String {
    let set = &reply.headers["set-cookie"][0];
    for needed in ["Path=/", "HttpOnly", "SameSite=Strict"] {
        assert!(set.contains(needed), "{set}");
    }
    set.split(';').next().expect("a pair").to_owned()
}

fn location(reply: &Reply) -> &str {
    assert_eq!(reply.status, 303, "{}", reply.body());
    &reply.headers["location"][0]
}

/// The value of a hidden input.
fn token_in(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"token\" value=\"").expect("a token");
    rest.split('"').next().expect("ends").to_owned()
}

/// Goal: every answer, whatever it is, has the headers that keep a browser from doing more with it.
#[tokio::test]
async fn every_answer_is_guarded() {
    let site = Site::with_history();
    let cookie = site.sign_in("alice").await;
    for path in
        ["/", "/sign-in", "/history", "/sign-in/x", "/assets/none.js", "/history/x?project=y"]
    {
        for cookie in ["", &cookie] {
            let reply = site.get(cookie, path).await;
            let policy = &reply.headers["content-security-policy"][0];
            assert!(policy.starts_with("default-src 'none'"), "{path}");
            assert!(!policy.contains("unsafe"), "{path}");
            assert_eq!(reply.headers["x-content-type-options"], ["nosniff"], "{path}");
            assert!(!reply.body().contains("style=\""), "{path}");
        }
    }
    let page = site.history(&cookie, "&times=local").await;
    assert_eq!((page.status, &*page.headers["cache-control"][0]), (200, "no-store"));
    for asset in [assets::STYLE.path(), assets::SCRIPT.path()] {
        assert!(page.body().contains(asset));
        let reply = site.get("", asset).await;
        assert_eq!(reply.status, 200);
        assert!(reply.headers["cache-control"][0].contains("immutable"));
    }
}

/// Goal: who is not signed in sees nothing, comes back to where he wanted to go, and is refused with a wrong password.
/// What happened is in the system's history with the address.
#[tokio::test]
async fn signing_in_and_out() {
    let site = Site::with_history();
    let wanted = format!("/history?project={GROUP}&last=all");
    let reply = site.get("", &wanted).await;
    let sign_in = location(&reply).to_owned();
    assert!(sign_in.starts_with("/sign-in?next=%2Fhistory%3Fproject"), "{sign_in}");
    let form = site.get("", &sign_in).await;
    assert!(form.body().contains(&format!("value=\"{}\"", wanted.replace('&', "&amp;"))));

    let wrong = site.try_password("alice", "x").await;
    assert_eq!(wrong.status, 401);
    assert!(!wrong.headers.contains_key("set-cookie"));
    let nobody = site.try_password("nobody", "x").await;
    assert_eq!(nobody.status, 401, "no other answer for who is not there");

    let form = "user=alice&password=password+of+alice&next=%2Fhistory%3Fproject%3Dx";
    let reply = site.post("/sign-in", &[SITE], form).await;
    assert_eq!(location(&reply), "/history?project=x");
    let cookie = cookie_of(&reply);
    assert_eq!(location(&site.get(&cookie, "/").await), format!("/history?project={GROUP}"));
    let page = site.get(&cookie, &wanted).await;
    assert_eq!(page.status, 200, "{}", page.body());

    let token = token_in(page.body());
    let refused = site.post("/sign-out", &[SITE, ("cookie", &cookie)], "token=x").await;
    assert_eq!(refused.status, 403);
    assert_eq!(site.get(&cookie, &wanted).await.status, 200);
    let out = site.post("/sign-out", &[SITE, ("cookie", &cookie)], &format!("token={token}")).await;
    assert!(out.headers["set-cookie"][0].contains("Max-Age=0"));
    assert_eq!(site.get(&cookie, &wanted).await.status, 303);

    site.0.server.app.usage().flush();
    let page = site.0.server.app.store().select(&Filter::all(Scope::System, 100)).expect("reads");
    let told = page.rows.iter().filter_map(|row| match &row.record {
        Record::Own(access) => Some(access),
        _ => None,
    });
    let told: Vec<_> = told
        .filter(|access| {
            access.attributes.get("operation").is_some_and(|o| o.starts_with("web.sign"))
        })
        .map(|access| {
            assert!(access.peer.address().is_some_and(|address| address.is_loopback()));
            let operation = access.attributes["operation"].to_string();
            (operation, access.outcome.word(), access.principal.to_string())
        })
        .collect();
    for expected in [
        ("web.signIn", "failure", "unauthenticated"),
        ("web.signIn", "success", "alice"),
        ("web.signOut", "failure", "unauthenticated"),
        ("web.signOut", "success", "alice"),
    ] {
        let expected = (expected.0.to_owned(), expected.1, expected.2.to_owned());
        assert!(told.contains(&expected), "{expected:?} in {told:?}");
    }
}

/// Goal: a form that another site sends does nothing. Method: every way in which a browser says where
/// a form comes from, and none.
#[tokio::test]
async fn a_form_from_elsewhere_is_refused() {
    let site = Site::new();
    let form = "user=alice&password=password+of+alice";
    let host = ("host", "doorbook.example");
    let check = async |headers: &[(&str, &str)], status: u16| {
        let reply = site.post("/sign-in", &[&[host], headers].concat(), form).await;
        assert_eq!(reply.status, status, "{headers:?}");
        assert_eq!(reply.headers.contains_key("set-cookie"), status == 303, "{headers:?}");
    };
    check(&[("sec-fetch-site", "same-origin")], 303).await;
    check(&[("origin", "https://doorbook.example")], 303).await;
    check(&[], 403).await;
    for site in ["cross-site", "same-site", "none", ""] {
        check(&[("sec-fetch-site", site)], 403).await;
    }
    for origin in
        ["https://evil.example", "null", "doorbook.example", "https://doorbook.example.evil"]
    {
        check(&[("origin", origin)], 403).await;
        check(&[("origin", origin), ("sec-fetch-site", "same-origin")], 403).await;
    }
}

/// Goal: nobody can make somebody else use a session that he knows.
#[tokio::test]
async fn a_session_is_new_at_each_sign_in() {
    let site = Site::new();
    let planted = "doorbook=planted";
    let headers = [SITE, ("cookie", planted)];
    let reply = site.post("/sign-in", &headers, "user=alice&password=password+of+alice").await;
    let first = cookie_of(&reply);
    assert_ne!(first, planted);
    assert_eq!(site.get(planted, "/").await.status, 303);
    let headers = [SITE, ("cookie", &*first)];
    let reply = site.post("/sign-in", &headers, "user=carol&password=password+of+carol").await;
    let second = cookie_of(&reply);
    assert_ne!(first, second);
    assert!(location(&site.get(&first, "/").await).starts_with("/sign-in"), "the first has ended");
    // Two cookies of one name: one of them was put there by somebody else.
    let both = format!("{second}; doorbook=planted");
    assert!(location(&site.get(&both, "/").await).starts_with("/sign-in"));
    let tls = Site::new();
    let mut over_tls = tls;
    over_tls.0.connection.is_tls = true;
    let cookie = over_tls.sign_in("alice").await;
    assert!(cookie.starts_with("__Host-doorbook="), "{cookie}");
}

/// Goal: passwords cannot be guessed, the right one does not help meanwhile, and others can sign in.
#[tokio::test]
async fn guessing_ends() {
    let site = Site::new();
    for _ in 0..5 {
        assert_eq!(site.try_password("alice", "guess").await.status, 401);
    }
    let refused = site.try_password("alice", "password+of+alice").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.headers["retry-after"], ["900"]);
    site.sign_in("carol").await;
    site.0.server.clock.set(NOW.plus_seconds(900));
    site.sign_in("alice").await;
}

#[tokio::test]
async fn a_session_ends_by_itself_and_with_the_role() {
    let site = Site::with_history();
    let cookie = site.sign_in("alice").await;
    assert_eq!(site.history(&cookie, "").await.status, 200);
    site.change(RegistryChange::RoleRevoked { user: "alice".into(), project: group(GROUP) });
    assert_eq!(site.history(&cookie, "").await.status, 404, "at once");
    site.0.server.clock.set(NOW.plus_seconds(sessions::IDLE_SECONDS));
    assert_eq!(site.history(&cookie, "").await.status, 303);
}

/// Goal: a colleague without the role sees nothing: neither rows nor whether there is such a project.
#[tokio::test]
async fn without_a_role_there_is_nothing_to_see() {
    let site = Site::with_history();
    let (bob, carol) = (site.sign_in("bob").await, site.sign_in("carol").await);
    let alice = site.sign_in("alice").await;
    let page = site.history(&alice, "").await;
    let (_, rest) = page.body().split_once("class=\"open\" href=\"").expect("a row");
    let event = rest.split('"').next().expect("ends").replace("&amp;", "&");
    assert_eq!(site.get(&alice, &event).await.status, 200);
    for path in [format!("/history?project={GROUP}&last=all"), event] {
        let reply = site.get(&bob, &path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(!reply.body().contains("<tbody"), "{path}");
        let reply = site.get(&carol, &path).await;
        assert_eq!(reply.status, 403, "{path}");
        assert!(reply.body().contains("Your role") && !reply.body().contains("<tbody"), "{path}");
    }
    let absent = site.get(&bob, "/history?project=none").await;
    assert_eq!(absent.status, 404);
    assert!(site.get(&bob, "/").await.body().contains("doorbook user grant"));
    let other = site.get(&bob, "/history?namespace=alice").await;
    assert_eq!(other.status, 404);
}

/// Goal: the bar leads on within the same history and window, without the filter, and to nothing that is not there for the
/// one who looks.
#[tokio::test]
async fn the_bar_keeps_whose_history_it_is() {
    let site = Site::with_history();
    let alice = site.sign_in("alice").await;
    let page = site.history(&alice, "&user=x&times=local").await;
    let bar = bar_of(page.body());
    let link = format!("href=\"/history?project={GROUP}&amp;last=all&amp;times=local\"");
    assert!(bar.contains(&format!("{link} aria-current=\"page\">Access history")), "{bar}");
    assert!(!bar.contains("Array activity"), "she has no arrays: {bar}");
    let absent = site.get(&alice, "/history?project=none").await;
    let link = format!("href=\"/history?project={GROUP}\">Access history");
    assert!(bar_of(absent.body()).contains(&link), "{}", absent.body());
    let bob = site.sign_in("bob").await;
    let nothing = site.get(&bob, "/").await;
    assert!(!nothing.body().contains("<nav"), "{}", nothing.body());
    assert!(!site.get("", "/sign-in").await.body().contains("<nav"));
}

fn bar_of(page: &str) -> &str {
    let (_, rest) = page.split_once("<nav class=\"sections\"").expect("a bar");
    rest.split("</nav>").next().expect("ends")
}

/// Goal: a link from a chat works for who is signed in, though the cookie is not sent with it.
#[tokio::test]
async fn a_visit_from_elsewhere_comes_again_from_here() {
    let site = Site::with_history();
    let path = format!("/history?project={GROUP}&user=a%22b");
    let visit = async |site_word: &str| {
        site.0.send(request("GET", &path, &[("sec-fetch-site", site_word)], "")).await
    };
    let again = visit("cross-site").await;
    assert_eq!(again.status, 200);
    assert!(again.body().contains("http-equiv=\"refresh\" content=\"0;url=/history?project="));
    assert_eq!(visit("same-origin").await.status, 303, "only once");
    assert_eq!(visit("none").await.status, 303);
}

#[tokio::test]
async fn a_link_signs_in_once() {
    let site = Site::with_history();
    let app = &site.0.server.app;
    let link = app.web().link_for(app.random(), NOW, "alice");
    for headers in [[("sec-purpose", "prefetch")], [("sec-fetch-site", "cross-site")]] {
        assert_eq!(site.0.send(request("GET", &link, &headers, "")).await.status, 403);
    }
    let reply = site.get("", &link).await;
    assert_eq!(location(&reply), "/");
    assert_eq!(site.history(&cookie_of(&reply), "").await.status, 200);
    assert_eq!(site.get("", &link).await.status, 401);
}

/// Goal: no string from a log is markup or hides anything, in the table, the detail, chips and titles.
#[tokio::test]
async fn hostile_strings_are_text() {
    let site = Site::new();
    let hostile = "<img src=x onerror=alert(1)>\"'&\u{202e}\u{1b}[31m\u{0}";
    let mut row: Access = accesses().remove(0);
    row.principal = Principal::User { name: hostile.into(), database: hostile.into() };
    row.mechanism = Some(hostile.into());
    row.outcome = Outcome::Failure { reason: Some(hostile.into()), code: None };
    row.attributes.insert(hostile.into(), hostile.into());
    row.raw = [hostile.as_bytes(), b"\xff\xfe"].concat();
    row.classes = doorbook_event::Classes::NONE;
    site.0.server.import("Cluster0", vec![row]);
    let cookie = site.sign_in("alice").await;
    let user = percent_encoding::utf8_percent_encode(hostile, percent_encoding::NON_ALPHANUMERIC);
    let page = site.history(&cookie, &format!("&user={user}")).await;
    assert_eq!(page.status, 200, "{}", page.body());
    let (_, rest) = page.body().split_once("class=\"open\" href=\"").expect("a row");
    let event = rest.split('"').next().expect("ends").replace("&amp;", "&");
    let detail = site.get(&cookie, &event).await;
    let none = site.history(&cookie, &format!("&user={user}&user=x&outcome=success")).await;
    assert_eq!((detail.status, none.status), (200, 200));
    let list = site.get(&cookie, &format!("/principals?project={GROUP}&last=all")).await;
    let (_, rest) = list.body().split_once("href=\"/principals/%3Cimg").expect("a link");
    let rest = rest.split('"').next().expect("ends").replace("&amp;", "&");
    let one = site.get(&cookie, &format!("/principals/%3Cimg{rest}")).await;
    assert_eq!((list.status, one.status), (200, 200), "{}", one.body());
    assert!(one.body().contains("<strong>1</strong> event"), "{}", one.body());
    let typed = site.history(&cookie, &format!("&q=user:{user}")).await;
    assert_eq!(typed.status, 400, "what cannot be seen is not put into a field");
    assert!(typed.body().contains("U+202E cannot be seen"), "{}", typed.body());
    for reply in [page, detail, none, list, one, typed] {
        // What a form sends back is as it was, and is seen by nobody.
        let mut parts = reply.body().split("<input type=\"hidden\"");
        let first = parts.next().unwrap_or_default().to_owned();
        let after = parts.map(|part| part.split_once('>').map_or("", |(_, after)| after));
        let body = first + &after.collect::<String>();
        assert!(body.contains("&lt;img src=x"), "{body}");
        assert!(
            !body.contains("<img") && !body.contains("\u{202e}") && !body.contains('\u{1b}'),
            "{body}"
        );
    }
}

/// Goal: what a page says of its rows is what the API says. Method: ask both.
#[tokio::test]
async fn the_page_counts_as_the_api_does() {
    let site = Site::new();
    let mut rows = accesses();
    rows[0].classes = doorbook_event::Class::System.into();
    site.0.server.import("Cluster0", rows);
    let cookie = site.sign_in("alice").await;
    for filter in ["", "&outcome=failure", "&q=result:success", "&user=nobody-of-that-name"] {
        let api = site.0.read(&format!("/api/v1/events?limit=0{filter}")).await;
        let page = site.history(&cookie, &format!("&show=all{filter}")).await;
        assert_eq!(page.status, 200, "{filter}: {}", page.body());
        let total = api["total"].as_u64().expect("a number");
        let said = format!("<strong>{}</strong>", when::count(total));
        assert!(page.body().contains(&said), "{filter}: {said} not in {}", page.body());
    }
    let hidden = site.history(&cookie, "").await;
    assert!(hidden.body().contains("1 of the system, monitors and retries hidden."));
}

/// Goal: states that tell the truth: no match, no data, a filter that cannot be read, a parameter that
/// there is not.
#[tokio::test]
async fn pages_without_rows_say_why() {
    let site = Site::new();
    let cookie = site.sign_in("alice").await;
    let empty = site.history(&cookie, "").await;
    assert!(empty.body().contains("No data yet") && empty.body().contains("[[source]]"));
    let unset: ProjectId = "bbbbbbbbbbbbbbbbbbbbbbbb".parse().expect("an id");
    let project = Project { id: unset, name: "unset".into(), created: NOW };
    site.change(RegistryChange::ProjectCreated(project));
    let role = Role::Owner;
    site.change(RegistryChange::RoleGranted { user: "alice".into(), project: unset, role });
    let nothing = site.get(&cookie, "/history?project=unset").await;
    assert!(nothing.body().contains("nobody watches"), "{}", nothing.body());
    assert!(!nothing.body().contains("complete to"), "{}", nothing.body());
    site.0.server.import("Cluster0", accesses());
    let none = site.history(&cookie, "&user=no-one&outcome=failure").await;
    assert!(none.body().contains("No event matches") && none.body().contains("Without User: "));
    let now = site
        .get(
            &cookie,
            &format!("/history?project={GROUP}&from=2001-01-01T00:00:00Z&to=2001-01-02T00:00:00Z"),
        )
        .await;
    assert!(now.body().contains("match at other times"), "{}", now.body());
    let wrong = site.history(&cookie, "&q=reslt:failed").await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.body().contains(">column 1"), "{}", wrong.body());
    let twice = site.history(&cookie, "&project=other").await;
    assert_eq!(twice.status, 400);
    let unknown = site.history(&cookie, "&usr=alice").await;
    assert_eq!(unknown.status, 400);
    assert!(unknown.body().contains("Unknown: usr"), "{}", unknown.body());
    let moved = site.get(&cookie, &format!("/history?project={GROUP}&q=since:2h%20user:x")).await;
    assert_eq!(
        location(&moved),
        format!("/history?project={GROUP}&from=2023-04-26T01:33:20Z&q=user:x")
    );
}

/// Goal: pages of one state meet without a hole, and a pinned link keeps its total.
#[tokio::test]
async fn a_pinned_link_keeps_what_it_shows() {
    let site = Site::with_history();
    let cookie = site.sign_in("alice").await;
    let page = site.history(&cookie, "&show=all").await;
    let (before, _) = page.body().split_once("\" title=\"A link that will show").expect("a pin");
    let link = before.rsplit('"').next().expect("begins").replace("&amp;", "&");
    let total = |body: &str| body.split("<strong>").nth(1).expect("a total")[..3].to_owned();
    let mut later = accesses().remove(0);
    later.peer = Peer::Unknown;
    later.connection = Some(123_456);
    site.0.server.import("Cluster0", vec![later]);
    assert_ne!(total(site.history(&cookie, "&show=all").await.body()), total(page.body()));
    assert_eq!(total(site.get(&cookie, &link).await.body()), total(page.body()));
}

/// Goal: what is exported from a page are the events that it counts, and somebody without a role gets nothing. Method:
/// follow the page's own links; more events come meanwhile.
#[tokio::test]
async fn what_is_exported_is_what_the_page_counts() {
    let site = Site::new();
    let mut rows = accesses();
    rows[0].classes = doorbook_event::Class::System.into();
    site.0.server.import("Cluster0", rows);
    let cookie = site.sign_in("alice").await;
    for filter in ["", "&show=all", "&q=result:failed"] {
        let page = site.history(&cookie, filter).await;
        let (_, after) = page.body().split_once("<strong>").expect("a total");
        let total: u64 = after.split('<').next().expect("a total").parse().expect("a number");
        let links = page.body().split("href=\"").filter_map(|part| part.split('"').next());
        let links: Vec<_> = links.filter(|link| link.starts_with("/history/export?")).collect();
        let link = links[1].replace("&amp;", "&");
        assert!(links.len() == 3 && link.ends_with("&format=ndjson"), "{links:?}");
        let mut later = accesses().remove(0);
        (later.peer, later.connection) = (Peer::Unknown, Some(123_456));
        later.raw = filter.as_bytes().to_vec();
        site.0.server.import("Cluster0", vec![later]);
        let sent = site.get(&cookie, &link).await;
        assert_eq!(sent.headers["content-type"], ["application/zip"]);
        let archive = export::read(&sent.bytes).expect("an archive");
        assert_eq!(archive["manifest"]["count"], total, "{filter}: {}", archive["manifest"]);
        assert!(archive["manifest"]["by"].as_str().expect("who").starts_with("alice"));
        let bob = site.get(&site.sign_in("bob").await, &link).await;
        let carol = site.get(&site.sign_in("carol").await, &link).await;
        assert_eq!((bob.status, carol.status), (404, 403));
        assert_eq!(site.get("", &link).await.status, 303);
    }
    let wrong = site.get(&cookie, &format!("/history/export?project={GROUP}&format=xls")).await;
    assert_eq!(wrong.status, 400, "{}", wrong.body());
    let recorded = site.recorded().into_iter().filter(|(what, ..)| what == "web.export");
    let succeeded = recorded.clone().filter(|(_, outcome, _)| *outcome == "success");
    // Each that was sent is told when it begins and when it has ended.
    assert_eq!((succeeded.count(), recorded.count()), (2 * 3, 2 * 3 + 7));
}

#[tokio::test]
async fn other_methods_are_refused() {
    let site = Site::new();
    let reply = site.post("/history", &[SITE], "").await;
    assert_eq!((reply.status, &*reply.headers[header::ALLOW.as_str()][0]), (405, "GET, HEAD"));
    assert_eq!(site.get("", "/sign-out").await.status, 405);
}

/// Goal: a page that is left open learns how many events came since, and nothing else; that keeps no session, and is one
/// event of our own history a minute. Method: the address that the page gives its script.
#[tokio::test]
async fn a_page_learns_of_newer_events() {
    let site = Site::with_history();
    let cookie = site.sign_in("alice").await;
    let page = site.history(&cookie, "&show=all").await;
    let (_, rest) = page.body().split_once("data-poll=\"").expect("an address");
    let poll = rest.split('"').next().expect("ends").replace("&amp;", "&");
    let newer = async || {
        let reply = site.get(&cookie, &poll).await;
        assert_eq!((reply.status, &*reply.headers["content-type"][0]), (200, "application/json"));
        reply.body().to_owned()
    };
    assert_eq!(newer().await, "{\"newer\":0}");
    let mut rows = accesses();
    rows.truncate(2);
    for (n, row) in rows.iter_mut().enumerate() {
        (row.connection, row.peer) = (Some(777 + n as u64), Peer::Unknown);
    }
    site.0.server.import("Cluster0", rows);
    assert_eq!(newer().await, "{\"newer\":2}");
    // Whoever may not read the history does not learn how much there is.
    let bob = site.sign_in("bob").await;
    assert_eq!(site.get(&bob, &poll).await.status, 404);
    let without = site.get(&cookie, &format!("/history/newer?project={GROUP}")).await;
    assert_eq!(without.status, 400);
    // Pages to which nothing comes do not ask.
    let fixed = format!("/history?project={GROUP}&from=2023-01-01T00:00:00Z");
    assert!(!site.get(&cookie, &fixed).await.body().contains("data-poll"));
    site.0.server.clock.set(NOW.plus_seconds(sessions::IDLE_SECONDS - 1));
    newer().await;
    site.0.server.clock.set(NOW.plus_seconds(sessions::IDLE_SECONDS));
    assert_eq!(site.get(&cookie, &poll).await.status, 303, "the session is idle");
}

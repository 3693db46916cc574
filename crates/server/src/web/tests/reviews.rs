//! Goal: who may looks through what is new, says what it is and signs what was seen, without a script; nobody else
//! does. Method: the pages and their forms, as a browser sends them.

use doorbook_event::review::Due;

use super::*;
use crate::review::{Described, Desk};

impl Site {
    fn reviewed(filter: &str) -> Site {
        let site = Site::with_history();
        let app = &site.0.server.app;
        let desk = Desk {
            store: app.store().clone(),
            ids: app.doors().ids().clone(),
            catalog: app.store().catalog(),
            now: app.clock().now(),
        };
        let described = Described {
            name: "logins".into(),
            scope: Scope::Project(group(GROUP)),
            filter: filter.into(),
            zone: "Europe/Berlin".into(),
            due: Due::parse("10:00").expect("a deadline"),
        };
        desk.create(&operator(), described, true).expect("is made");
        site
    }

    async fn review(&self, cookie: &str, query: &str) -> Reply {
        self.get(cookie, &format!("/reviews/logins{query}")).await
    }
}

/// All values of the hidden inputs of a name.
fn values(page: &str, name: &str) -> Vec<String> {
    let pattern = format!("name=\"{name}\" value=\"");
    let pieces = page.split(&pattern).skip(1);
    pieces.map(|rest| rest.split('"').next().expect("ends").to_owned()).collect()
}

#[tokio::test]
async fn a_round_is_looked_through_marked_and_signed() {
    let site = Site::reviewed("");
    let alice = site.sign_in("alice").await;
    let list = site.get(&alice, &format!("/reviews?project={GROUP}")).await;
    assert!(list.body().contains("/reviews/logins") && list.body().contains("daily by 10:00"));
    assert!(site.history(&alice, "").await.body().contains("/reviews?project="), "in the bar");
    let page = site.review(&alice, "").await;
    assert_eq!(page.status, 200, "{}", page.body());
    let rows = values(page.body(), "row");
    assert!(!rows.is_empty() && values(page.body(), "shown") == rows, "{}", page.body());
    let round = values(page.body(), "round").pop().expect("a token");

    let marked = format!("do=follow_up&row={}&note=%3Cb%3Ewho%3F", rows[0]);
    let reply = site.submit(&alice, "/reviews/logins", &marked).await;
    assert_eq!(location(&reply), "/reviews/logins");
    let page = site.review(&alice, "").await;
    assert!(page.body().contains("1 row is marked to be followed up"), "{}", page.body());
    assert!(page.body().contains("&lt;b&gt;who?") && page.body().contains("1 to follow up"));
    let expected = format!("do=expected&row={}&round={round}", rows[1]);
    let reply = site.submit(&alice, "/reviews/logins", &expected).await;
    assert_eq!(location(&reply), format!("/reviews/logins?round={round}"), "the same state");

    let sign = |decision: &str| format!("do=sign&round={round}&decision={decision}&note=seen");
    let reply = site.submit(&alice, "/reviews/logins", &sign("accepted")).await;
    let back = site.get(&alice, location(&reply)).await;
    assert!(back.body().contains("Nothing was changed: ") && back.body().contains("close them"));
    let reply = site.submit(&alice, "/reviews/logins", &sign("follow_up")).await;
    assert_eq!(location(&reply), "/reviews/logins");
    let page = site.review(&alice, "").await;
    let body = page.body();
    assert!(body.contains("The round is signed") && body.contains("Nothing is new"), "{body}");
    assert!(
        body.contains("alice") && body.contains("signed=1") && body.contains("as_of="),
        "{body}"
    );
    let reviews = site.0.server.app.store().reviews();
    let signed = reviews.of("logins").last().expect("is signed").clone();
    assert_eq!((signed.count, signed.marked.expected), (rows.len() as u64, 1));
    assert!(body.contains(&hex::encode(signed.manifest_sha256)), "{body}");
    let shown = site.review(&alice, "?signed=1").await;
    assert!(
        shown.body().contains("Round 1, as it was signed")
            && !shown.body().contains("type=\"checkbox\"")
    );
    let stale = site.review(&alice, &format!("?round={round}")).await;
    assert_eq!(stale.status, 409);
    assert!(stale.body().contains("was signed already by alice"), "{}", stale.body());

    let close = format!("do=close&review=logins&row={}&note=a+colleague", rows[0]);
    site.submit(&alice, "/reviews/logins", &close).await;
    let page = site.review(&alice, "").await;
    assert!(page.body().contains("1 row is closed") && !page.body().contains("id=\"follow-ups\""));
    for wrong in ["?signed=9", "?signed=x", "?cursor=x", "?x=1"] {
        assert_eq!(site.review(&alice, wrong).await.status, 400, "{wrong}");
    }
    let recorded = site.recorded();
    assert!(recorded.contains(&("mark".into(), "success", "alice".into())), "{recorded:?}");
}

#[tokio::test]
async fn who_may_not_neither_sees_nor_signs() {
    let site = Site::reviewed("result:failed");
    let alice = site.sign_in("alice").await;
    let page = site.review(&alice, "").await;
    let round = values(page.body(), "round").pop().expect("a token");
    let sign = format!("do=sign&round={round}&decision=accepted");
    for (name, status) in [("bob", 404), ("carol", 403)] {
        let cookie = site.sign_in(name).await;
        assert_eq!(site.review(&cookie, "").await.status, status, "{name}");
        assert_eq!(site.submit(&cookie, "/reviews/logins", &sign).await.status, status, "{name}");
        assert!(site.get(&cookie, "/reviews").await.body().contains("No review yet"), "{name}");
    }
    let (user, project, role) = ("alice".into(), group(GROUP), Role::MonitoringAdmin);
    site.change(RegistryChange::RoleGranted { user, project, role });
    let page = site.review(&alice, "").await;
    assert!(page.status == 200 && !page.body().contains("name=\"do\""), "{}", page.body());
    assert_eq!(site.submit(&alice, "/reviews/logins", &sign).await.status, 403);
    let dave = site.sign_in("dave").await;
    let forged = site.post("/reviews/logins", &[SITE, ("cookie", &dave)], &sign).await;
    assert_eq!(forged.status, 403, "without the token of the session");
    assert_eq!(site.submit(&dave, "/reviews/other", &sign).await.status, 404);
    assert_eq!(site.submit(&dave, "/reviews/logins", "do=nothing").await.status, 400);
    assert_eq!(site.0.server.app.store().reviews().of("logins").signed, 0);
    site.submit(&dave, "/reviews/logins", &sign).await;
    assert_eq!(site.0.server.app.store().reviews().of("logins").signed, 1);
}

/// Goal: who owns the project makes, changes and ends reviews, as the command does, and so does who manages the server,
/// without reading anything; nobody else does. Method: the forms, as they are shown and as nobody is shown them.
#[tokio::test]
async fn reviews_are_made_changed_and_ended() {
    let site = Site::managed();
    let (alice, bob) = (site.sign_in("alice").await, site.sign_in("bob").await);
    let (dave, erin) = (site.sign_in("dave").await, site.sign_in("erin").await);
    let review = || site.0.server.registry().review("failures").cloned();
    let list = format!("/reviews?project={GROUP}");
    let when = "every=monday&time=10:00&zone=Europe/Berlin";
    let make = format!(
        "do=create&project={GROUP}&of=project:{GROUP}&name=failures&filter=result:failed&{when}"
    );
    for (cookie, status, name) in [(&alice, 403, "alice"), (&bob, 404, "bob")] {
        assert_eq!(site.submit(cookie, "/reviews", &make).await.status, status, "{name}");
        let page = site.get(cookie, "/reviews").await;
        assert!(!page.body().contains("New review"), "{name}: {}", page.body());
    }
    assert_eq!(review(), None);
    let reply = site.submit(&dave, "/reviews", &make).await;
    assert_eq!(location(&reply), list);
    let page = site.get(&dave, &list).await;
    assert!(page.body().contains("The review was made."), "{}", page.body());
    let made = review().expect("is made");
    assert_eq!(made.scope, Scope::Project(group(GROUP)));
    assert_eq!(
        (&*made.filter, &*made.due.to_string(), &*made.zone),
        ("result:failed", "monday 10:00", "Europe/Berlin")
    );
    assert_eq!((made.from, made.version), (NOW, 1));
    assert!(!made.begins.is_empty(), "what is there already is not new");
    assert!(page.body().contains("value=\"result:failed\""), "what is, to be changed");

    let page = site.get(&erin, "/reviews").await;
    assert!(page.body().contains("failures") && !page.body().contains("/reviews/failures"));
    assert!(bar_of(site.get(&erin, "/admin").await.body()).contains("href=\"/reviews\""));
    assert_eq!(site.get(&erin, "/reviews/failures").await.status, 404);
    let change = "do=change&review=failures&filter=&every=day&time=09:30&zone=UTC";
    for cookie in [&alice, &bob] {
        assert_ne!(site.submit(cookie, "/reviews", change).await.status, 303);
    }
    assert_eq!(review(), Some(made));
    assert_eq!(location(&site.submit(&erin, "/reviews", change).await), "/reviews");
    let changed = review().expect("is there");
    assert_eq!((&*changed.filter, &*changed.due.to_string(), changed.version), ("", "09:30", 2));
    for cookie in [&alice, &bob] {
        assert_ne!(site.submit(cookie, "/reviews", "do=end&review=failures").await.status, 303);
    }
    assert!(review().is_some());
    site.submit(&dave, "/reviews", "do=end&review=failures").await;
    assert_eq!(review(), None);
    let recorded = site.recorded();
    for (verb, who) in [("set", "dave"), ("set", "erin"), ("remove", "dave")] {
        assert!(recorded.contains(&(verb.into(), "success", who.into())), "{recorded:?}");
    }
    assert!(recorded.contains(&("web.reviews".into(), "failure", "alice".into())), "{recorded:?}");
}

/// Goal: what is wrong with a review is said at its field, with all that was typed.
#[tokio::test]
async fn a_review_that_cannot_be_is_told_at_its_field() {
    let site = Site::managed();
    let dave = site.sign_in("dave").await;
    let refuse = async |filter: &str, time: &str, zone: &str, field: &str, why: &str| {
        let form = format!(
            "do=create&of=project:{GROUP}&name=odd&every=friday&filter={filter}&time={time}&zone={zone}"
        );
        let reply = site.submit(&dave, "/reviews", &form).await;
        let page = site.get(&dave, location(&reply)).await.body().to_owned();
        let input = page.split("<input").find(|input| input.contains("aria-invalid"));
        let is_its = input.is_some_and(|input| input.contains(&format!("name=\"{field}\"")));
        assert!(is_its != field.is_empty(), "{field}: {input:?}");
        assert!(page.contains(why) && page.contains("value=\"odd\""), "{why} in {page}");
        assert!(page.contains("<option value=\"friday\" selected"), "{page}");
    };
    refuse("foo:bar", "10:00", "UTC", "filter", "at column 1: ").await;
    refuse("", "25:00", "UTC", "time", "is no time of a day").await;
    refuse("", "10:00", "Mars", "zone", "Mars").await;
    refuse("host:nowhere", "10:00", "UTC", "", "nowhere").await;
    refuse("since:2h", "10:00", "UTC", "", "takes no since").await;
    assert_eq!(site.0.server.registry().reviews().count(), 0);
}

/// Goal: the filter that a history shows becomes a review of the same events, for who may make one.
#[tokio::test]
async fn a_filter_is_saved_as_a_review() {
    let site = Site::managed();
    let (alice, dave) = (site.sign_in("alice").await, site.sign_in("dave").await);
    let query = "&q=result:failed&user=a%20b";
    assert!(!site.history(&alice, query).await.body().contains("Save as a review"));
    let page = site.history(&dave, query).await;
    let (before, _) = page.body().split_once("\">Save as a review").expect("a link");
    let link = before.rsplit("href=\"").next().expect("begins").replace("&amp;", "&");
    let form = site.get(&dave, link.trim_end_matches("#new")).await;
    let form = form.body().split("id=\"new\"").nth(1).expect("a form").to_owned();
    assert!(form.contains("<details class=\"act\" open"), "{form}");
    assert!(form.contains(&format!("<option value=\"project:{GROUP}\" selected")), "{form}");
    let filter = "result:failed user:&quot;a b&quot; -class:system -class:monitor -class:retry";
    assert!(form.contains(&format!("name=\"filter\" value=\"{filter}\"")), "{form}");
    let unreadable = site.history(&dave, "&q=kind:quarantine&show=all").await;
    assert!(!unreadable.body().contains("Save as a review"), "of no events");
}

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

    let close = format!("do=close&row={}&note=a+colleague", rows[0]);
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

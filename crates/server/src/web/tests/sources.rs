//! Goal: the page of sources tells what is watched and what is not, and who may says what came of an alarm and has
//! lines read again; nobody else does, and every try is recorded.

use doorbook_event::record::{Grade, Place, Quarantine};
use doorbook_event::{Target, Text};
use doorbook_store::Entry;
use doorbook_store::alarm::{Alarm, AlarmKind, Change, Condition};

use super::*;

const HOSTILE: &str = "<b>quiet\u{202e}</b>";

impl Site {
    /// Watched up to now, with a gap that somebody is told of and a line that could not be read.
    fn watched() -> Site {
        let site = Site::new();
        site.0.server.watch(NOW);
        let condition = Condition {
            kind: AlarmKind::Gap,
            project: Some(group(GROUP)),
            cluster: Some("Cluster0".into()),
            host: Some("db-1:27017".into()),
            source: None,
            grade: Grade::Blind,
            cause: HOSTILE.into(),
            actor: None,
            from: NOW,
            to: None,
            missing: None,
            review: None,
        };
        let (id, closed, acknowledged) = ("al-1".into(), None, None);
        let alarm = Alarm { id, condition, opened: NOW, told: NOW, closed, acknowledged };
        let opened = vec![Change::Opened(Box::new(alarm))];
        let store = site.0.server.app.store();
        store.change_alarms(&operator(), opened).expect("allowed");
        let line = br#"{"t":{"$date":"2023-01-01T00:00:00.000+00:00"},"s":"I","c":"ACCESS","id":5286306,"ctx":"conn7","msg":"x","attr":{"user":"alice","db":"admin","remote":"10.0.0.1:1"}}"#;
        let records = [line.as_slice(), b"\xff<script>\x1b"].map(|bytes| {
            Record::Quarantine(Quarantine {
                target: Target::Host { cluster: "Cluster0".into(), host: "db-1:27017".into() },
                reason: "a reason of an older version".into(),
                place: Place::default(),
                length_bytes: bytes.len() as u64,
                bytes: bytes.to_vec(),
                sha256: [bytes.len() as u8; 32],
            })
        });
        let (scope, source) = (Scope::Project(group(GROUP)), Text::from("orders"));
        store.commit(vec![Entry { scope, source, records: records.into() }]).expect("commits");
        site
    }

    async fn sources(&self, cookie: &str) -> Reply {
        self.get(cookie, &format!("/sources?project={GROUP}")).await
    }
}

#[tokio::test]
async fn sources_are_shown_as_they_are() {
    let site = Site::watched();
    let cookie = site.sign_in("alice").await;
    let page = site.sources(&cookie).await;
    assert_eq!(page.status, 200, "{}", page.body());
    let body = page.body();
    assert!(body.contains("source-0") && body.contains("2023-04-26 03:33:20"), "{body}");
    assert!(body.contains("1 open alarm") && body.contains("&lt;b&gt;quiet"), "{body}");
    assert!(body.contains("a reason of an older version</bdi></th><td class=\"num\">2"), "{body}");
    assert!(body.contains("\\xff</span>&lt;script&gt;"), "{body}");
    assert!(!body.contains("<script>") && !body.contains('\u{202e}') && !body.contains('\u{1b}'));
    assert!(!body.contains("name=\"do\""), "a reader has no form: {body}");
    let empty = Site::new();
    let cookie = empty.sign_in("alice").await;
    let page = empty.sources(&cookie).await;
    assert!(page.body().contains("Nobody watches") && page.body().contains("[[source]]"));
    assert_eq!(empty.get(&cookie, &format!("/sources?project={GROUP}&x=1")).await.status, 400);
}

#[tokio::test]
async fn who_may_says_what_came_of_an_alarm() {
    let site = Site::watched();
    let acknowledge =
        format!("do=acknowledge&project={GROUP}&alarm=al-1&cause=disk+%3Ci%3E&note=ticket+7");
    for (name, status) in [("alice", 403), ("carol", 403)] {
        let cookie = site.sign_in(name).await;
        let reply = site.submit(&cookie, "/sources", &acknowledge).await;
        assert_eq!(reply.status, status, "{name}: {}", reply.body());
    }
    let bob = site.sign_in("bob").await;
    assert_eq!(site.submit(&bob, "/sources", &acknowledge).await.status, 404);
    let dave = site.sign_in("dave").await;
    assert!(site.sources(&dave).await.body().contains("name=\"cause\""));
    // Not without the token, and not from elsewhere.
    let without = site.post("/sources", &[SITE, ("cookie", &dave)], &acknowledge).await;
    assert_eq!(without.status, 403);
    let token = token_in(site.sources(&dave).await.body());
    let form = format!("token={token}&{acknowledge}");
    let elsewhere = [("sec-fetch-site", "cross-site"), ("cookie", &*dave)];
    assert_eq!(site.post("/sources", &elsewhere, &form).await.status, 403);
    assert_eq!(site.post("/sources", &[SITE], &form).await.status, 303, "to the sign-in page");
    let is_open = |site: &Site| {
        let alarms = site.0.server.app.store().alarms();
        alarms.alarms.get("al-1").is_some_and(|alarm| alarm.acknowledged.is_none())
    };
    assert!(is_open(&site));
    let nothing = site.submit(&dave, "/sources", &acknowledge.replace("disk+%3Ci%3E", "+")).await;
    assert_eq!(location(&nothing), format!("/sources?project={GROUP}"));
    let page = site.sources(&dave).await;
    assert!(page.body().contains("Nothing was changed: ") && is_open(&site), "{}", page.body());
    let done = site.submit(&dave, "/sources", &acknowledge).await;
    assert_eq!(location(&done), format!("/sources?project={GROUP}"));
    let page = site.sources(&dave).await;
    assert!(page.body().contains("The alarm is acknowledged."), "{}", page.body());
    assert!(page.body().contains("Acknowledged by <bdi>dave</bdi>"), "{}", page.body());
    assert!(page.body().contains("disk &lt;i&gt;") && page.body().contains("ticket 7"));
    assert!(!site.sources(&dave).await.body().contains("The alarm is acknowledged."), "told once");
    let recorded = site.recorded();
    for (what, outcome, who) in [
        ("acknowledge", "success", "dave"),
        ("web.sources", "failure", "alice"),
        ("web.sources", "failure", "bob"),
    ] {
        let expected = (what.to_owned(), outcome, who.to_owned());
        assert!(recorded.contains(&expected), "{expected:?} in {recorded:?}");
    }
}

#[tokio::test]
async fn who_may_has_lines_read_again() {
    let site = Site::watched();
    let replay = format!("do=replay&project={GROUP}");
    let alice = site.sign_in("alice").await;
    assert_eq!(site.submit(&alice, "/sources", &replay).await.status, 403);
    let dave = site.sign_in("dave").await;
    let done = site.submit(&dave, "/sources", &replay).await;
    assert_eq!(location(&done), format!("/sources?project={GROUP}"));
    let page = site.sources(&dave).await;
    assert!(page.body().contains("2 lines read again: 1 now events"), "{}", page.body());
    let history = site.history(&dave, "&user=alice").await;
    assert!(history.body().contains("<strong>1</strong> event"), "{}", history.body());
    assert_eq!(site.submit(&dave, "/sources", "do=format").await.status, 400);
    // What a page has no form for cannot be asked for by one.
    assert_eq!(site.submit(&dave, "/sources", "do=replay&project=none").await.status, 404);
}

/// Goal: a colleague without the role sees nothing.
#[tokio::test]
async fn without_a_role_no_source_is_seen() {
    let site = Site::watched();
    for (name, status) in [("bob", 404), ("carol", 403)] {
        let cookie = site.sign_in(name).await;
        let page = site.sources(&cookie).await;
        assert_eq!(page.status, status);
        assert!(!page.body().contains("source-0") && !page.body().contains("al-1"));
    }
}

//! Goal: the page of administration changes what the command line changes, by who may and as who did it; who may not sees
//! nothing of it and changes nothing, however the form is sent.

use super::*;
use crate::api::atlas::tests::SECRET_GROUP;

impl Site {
    /// With erin, who is an administrator and has no role.
    fn managed() -> Site {
        let site = Site::with_history();
        let password = users::kept(site.0.server.app.random(), "password of erin", 1);
        let user = User { name: "erin".into(), id: Uuid::random([9; 16]), password, created: NOW };
        site.change(RegistryChange::Arrays(ArraysChange::UserCreated(user)));
        site.change(RegistryChange::AdministratorSet { user: "erin".into(), is_one: true });
        site
    }

    /// Sends a form of the page of administration; what the next page tells.
    async fn manage(&self, cookie: &str, form: &str) -> String {
        let reply = self.submit(cookie, "/admin", form).await;
        let next = location(&reply).to_owned();
        assert!(next.starts_with("/admin"), "{form}: {next}");
        let page = self.get(cookie, &next).await;
        let (_, rest) = page.body().split_once("class=\"notice").expect("something is told");
        rest.split("<section").next().expect("ends").to_owned()
    }
}

/// The text of the first `pre`.
fn secret_in(told: &str) -> &str {
    let (_, rest) = told.split_once("<pre tabindex=\"0\">").unwrap_or_else(|| panic!("{told}"));
    rest.split('<').next().expect("ends")
}

#[tokio::test]
async fn an_administrator_changes_what_the_command_line_changes() {
    let site = Site::managed();
    let erin = site.sign_in("erin").await;
    let page = site.get(&erin, "/admin").await;
    assert_eq!(page.status, 200, "{}", page.body());
    assert!(
        bar_of(page.body()).contains("href=\"/admin\" aria-current=\"page\""),
        "{}",
        page.body()
    );
    assert!(!bar_of(page.body()).contains("/history"), "she reads nothing without a role");
    assert_eq!(site.history(&erin, "").await.status, 404);
    assert!(
        page.body().contains("<bdi>alice</bdi>") && page.body().contains("Doorbook's own history")
    );

    let registry = || site.0.server.registry();
    assert!(site.manage(&erin, "do=create-project&name=New+one").await.contains("was made"));
    let new = registry().project_named("New one").expect("is there").id;
    let form = format!("do=create-cluster&project={new}&name=orders&hosts=db-1+db-2:27018");
    assert!(site.manage(&erin, &form).await.contains("Cluster orders was made"));
    assert_eq!(registry().hosts(new).count(), 2);
    site.manage(&erin, &format!("do=add-host&project={new}&cluster=orders&host=db-3")).await;
    assert_eq!(registry().hosts(new).count(), 3);
    let twice = site.manage(&erin, "do=create-project&name=New+one").await;
    assert!(twice.contains("Nothing was changed: ") && twice.contains("already"), "{twice}");

    let told = site.manage(&erin, "do=create-user&name=frank").await;
    let password = secret_in(&told);
    assert_eq!(site.try_password("frank", password).await.status, 303);
    assert!(!site.get(&erin, "/admin").await.body().contains(password), "shown once");
    site.manage(&erin, &format!("do=grant&project={new}&user=frank&role=GROUP_OWNER")).await;
    assert_eq!(registry().role_of_user("frank", new), Some(Role::Owner));
    site.manage(&erin, &format!("do=revoke&project={new}&user=frank")).await;
    assert_eq!(registry().role_of_user("frank", new), None);
    site.manage(&erin, "do=make-administrator&user=frank").await;
    assert!(registry().is_administrator("frank"));
    site.manage(&erin, "do=unmake-administrator&user=frank").await;
    assert!(!registry().is_administrator("frank"));

    let told = site.manage(&erin, &format!("do=keep&of-project={new}&keep=30&minimum=7")).await;
    assert!(told.contains("forever until 2023-05-03"), "shorter is announced: {told}");
    let page = site.get(&erin, "/admin").await;
    assert!(page.body().contains("for 30 days from "), "{}", page.body());
    let wrong = site.manage(&erin, &format!("do=keep&of-project={new}&keep=few")).await;
    assert!(wrong.contains("few is no number of days"), "{wrong}");
    let recorded = site.recorded();
    for verb in ["create", "add", "grant", "revoke", "make_administrator", "set"] {
        let expected = (verb.to_owned(), "success", "erin".to_owned());
        assert!(recorded.contains(&expected), "{verb} in {recorded:?}");
    }
}

/// Goal: another password ends the sessions of the old one, and nobody but an administrator gives it.
#[tokio::test]
async fn another_password_ends_sessions() {
    let site = Site::managed();
    let (erin, alice) = (site.sign_in("erin").await, site.sign_in("alice").await);
    let dave = site.sign_in("dave").await;
    let form = "do=change-password&user=alice";
    assert_eq!(site.submit(&dave, "/admin", form).await.status, 404);
    assert_eq!(site.history(&alice, "").await.status, 200);
    let told = site.manage(&erin, form).await;
    assert_eq!(site.history(&alice, "").await.status, 303, "at once");
    assert_eq!(site.try_password("alice", "password+of+alice").await.status, 401);
    assert_eq!(site.try_password("alice", secret_in(&told)).await.status, 303);
    // The one who would see the new one could not any more.
    let own = site.manage(&erin, "do=change-password&user=erin").await;
    assert!(own.contains("Nothing was changed: "), "{own}");
    let none = site.manage(&erin, "do=change-password&user=nobody").await;
    assert!(none.contains("no user nobody"), "{none}");
}

#[tokio::test]
async fn an_owner_manages_who_has_access_to_his_project() {
    let site = Site::managed();
    let dave = site.sign_in("dave").await;
    let page = site.get(&dave, "/admin").await;
    assert!(
        page.body().contains("Roles of users") && page.body().contains("Keys"),
        "{}",
        page.body()
    );
    for not_his in ["New project", "New user", "New cluster", "Add a host", "How long", "erin"] {
        assert!(!page.body().contains(not_his), "{not_his} in {}", page.body());
    }
    let history = site.history(&dave, "").await;
    let link = format!("href=\"/admin?project={GROUP}\">Administration");
    assert!(bar_of(history.body()).contains(&link), "{}", history.body());
    let told = site.manage(&dave, &format!("do=create-key&project={GROUP}&role=GROUP_OWNER")).await;
    let (public, private) = secret_in(&told).split_once(':').expect("two halves");
    let has_key = || site.0.server.registry().key(public).is_some();
    assert!(has_key());
    let key = (public.to_owned().leak() as &str, private.to_owned().leak() as &str);
    let reply = site.0.get(key, &format!("/api/v1/events?limit=0&project={GROUP}")).await;
    assert_eq!(reply.status, 200);
    site.manage(&dave, &format!("do=end-key&project={GROUP}&key={public}")).await;
    assert!(!has_key());
    site.manage(&dave, &format!("do=grant&project={GROUP}&user=bob&role=GROUP_READ_ONLY")).await;
    assert_eq!(site.0.server.registry().role_of_user("bob", group(GROUP)), Some(Role::ReadOnly));
    site.manage(&dave, &format!("do=revoke&project={GROUP}&user=bob")).await;
    let before = site.0.server.registry();
    for form in [
        format!("do=create-key&project={SECRET_GROUP}&role=GROUP_OWNER"),
        format!("do=grant&project={SECRET_GROUP}&user=dave&role=GROUP_OWNER"),
        "do=grant&project=none&user=dave&role=GROUP_OWNER".to_owned(),
        "do=create-user&name=x".to_owned(),
        "do=create-project&name=x".to_owned(),
        "do=make-administrator&user=dave".to_owned(),
        format!("do=keep&of-project={GROUP}&keep=1"),
        format!("do=create-cluster&project={GROUP}&name=x&hosts=y"),
        "do=end-key&key=nothing".to_owned(),
    ] {
        let reply = site.submit(&dave, "/admin", &form).await;
        assert_eq!(reply.status, 404, "{form}");
    }
    assert_eq!(site.get(&dave, &format!("/admin?project={SECRET_GROUP}")).await.status, 404);
    assert!(site.0.server.registry() == before, "nothing was changed");
}

/// Goal: a colleague without the role sees nothing and changes nothing, and neither does another site.
#[tokio::test]
async fn without_the_role_nothing_is_managed() {
    let site = Site::managed();
    let before = site.0.server.registry();
    let form = format!("do=create-key&project={GROUP}&role=GROUP_OWNER");
    for (name, of_project) in [("alice", 403), ("carol", 403), ("bob", 404)] {
        let cookie = site.sign_in(name).await;
        let page = site.get(&cookie, "/admin").await;
        assert_eq!(page.status, 404, "{name}");
        assert!(!page.body().contains("Administration"), "{name}: {}", page.body());
        let page = site.get(&cookie, &format!("/admin?project={GROUP}")).await;
        assert_eq!(page.status, of_project, "{name}");
        assert!(!page.body().contains("<table"), "{name}");
        assert_eq!(site.submit(&cookie, "/admin", &form).await.status, of_project, "{name}");
        assert_eq!(site.submit(&cookie, "/admin", "do=create-user&name=x").await.status, 404);
    }
    assert_eq!(site.get("", "/admin").await.status, 303);
    let dave = site.sign_in("dave").await;
    assert_eq!(
        site.post("/admin", &[SITE, ("cookie", &dave)], &form).await.status,
        403,
        "no token"
    );
    let token = token_in(site.get(&dave, "/admin").await.body());
    let of_other = token_in(site.history(&site.sign_in("alice").await, "").await.body());
    let with = |token: &str| format!("token={token}&{form}");
    let reply = site.post("/admin", &[SITE, ("cookie", &dave)], &with(&of_other)).await;
    assert_eq!(reply.status, 403, "another session's token");
    for headers in [
        vec![("cookie", &*dave)],
        vec![("cookie", &*dave), ("sec-fetch-site", "cross-site")],
        vec![("cookie", &*dave), ("origin", "https://evil.example"), ("host", "doorbook.example")],
    ] {
        assert_eq!(site.post("/admin", &headers, &with(&token)).await.status, 403, "{headers:?}");
    }
    assert!(site.0.server.registry() == before, "nothing was changed");
    let expected = ("web.administration".to_owned(), "failure", "dave".to_owned());
    assert!(site.recorded().contains(&expected), "{:?}", site.recorded());
}

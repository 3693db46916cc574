//! Goal: the page of administration changes what the command line changes, by who may and as who did it; who may not sees
//! nothing of it and changes nothing, however the form is sent.

use doorbook_event::arrays::Token;

use super::*;
use crate::api::atlas::tests::SECRET_GROUP;

impl Site {
    /// With erin, who is an administrator and has no role.
    pub(super) fn managed() -> Site {
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

/// Goal: every form of the page is one that the page takes. Method: send each as it stands, and see that it is refused at
/// worst with a word, but never as something that nobody knows.
#[tokio::test]
async fn the_page_takes_each_of_its_forms() {
    let site = Site::managed();
    let erin = site.sign_in("erin").await;
    site.manage(&erin, "do=create-organization&name=lab&members=alice").await;
    let mut words = std::collections::BTreeSet::new();
    for path in ["/admin".to_owned(), format!("/admin?project={GROUP}")] {
        let page = site.get(&erin, &path).await;
        for form in page.body().split("<form").skip(1).filter(|form| form.contains("name=\"do\"")) {
            let (_, rest) = form.split_once("name=\"do\" value=\"").expect("a word");
            words.insert(rest.split('"').next().expect("ends").to_owned());
        }
    }
    assert_eq!(words.len(), 19, "{words:?}");
    for word in words {
        let reply = site.submit(&erin, "/admin", &format!("do={word}&project={GROUP}")).await;
        assert_ne!(reply.status, 400, "{word}");
    }
    assert_eq!(site.submit(&erin, "/admin", "do=something").await.status, 400);
}

/// Goal: service accounts, organizations, other names of hosts and arrays are managed as by the commands, and secrets are
/// shown once.
#[tokio::test]
async fn what_else_a_command_manages() {
    let site = Site::managed();
    let (erin, dave) = (site.sign_in("erin").await, site.sign_in("dave").await);
    let registry = || site.0.server.registry();
    let make = format!("do=create-service-account&project={GROUP}&role=GROUP_READ_ONLY");
    let told = site.manage(&dave, &make).await;
    let (client, secret) = secret_in(&told).split_once(':').expect("an id and a secret");
    let page = site.get(&dave, &format!("/admin?project={GROUP}")).await;
    assert!(page.body().contains(client) && !page.body().contains(secret), "shown once");
    assert_eq!(registry().service_account(client).map(|made| made.role), Some(Role::ReadOnly));
    let end = format!("do=end-service-account&project={GROUP}&client={client}");
    for (who, status) in [("alice", 403), ("bob", 404)] {
        let cookie = site.sign_in(who).await;
        assert_eq!(site.submit(&cookie, "/admin", &end).await.status, status, "{who}");
    }
    site.manage(&dave, &end).await;
    assert!(registry().service_account(client).is_none());

    let told = site.manage(&dave, &format!("do=create-key&project={GROUP}&agent=edge-1")).await;
    let (public, _) = secret_in(&told).split_once(':').expect("two halves");
    assert_eq!(registry().key(public).map(|key| key.role), Some(Role::Shipper));

    let host = registry().hosts(group(GROUP)).next().expect("a host").name.to_string();
    let alias = format!("do=add-alias&project={GROUP}&of-host={host}&alias=Other.example");
    assert_eq!(site.submit(&dave, "/admin", &alias).await.status, 404, "for administrators");
    site.manage(&erin, &alias).await;
    assert_eq!(registry().find_hosts(group(GROUP), "other.example").len(), 1);

    site.manage(&erin, "do=create-organization&name=lab&members=alice,+bob").await;
    site.manage(&erin, "do=add-member&organization=lab&user=carol").await;
    site.manage(&erin, "do=remove-member&organization=lab&user=bob").await;
    let members = registry().arrays().organization("lab").expect("is made").members.clone();
    assert_eq!(members.iter().map(|user| &**user).collect::<Vec<_>>(), ["alice", "carol"]);
    let gone = site.manage(&erin, "do=remove-member&organization=lab&user=bob").await;
    assert!(gone.contains("bob is no member of lab"), "{gone}");
    for form in ["do=create-organization&name=x", "do=add-member&organization=lab&user=dave"] {
        assert_eq!(site.submit(&dave, "/admin", form).await.status, 404, "{form}");
    }
}

/// Goal: a token stands for its user, so that nobody makes one of another; who manages the server sees how many there are
/// and ends them.
#[tokio::test]
async fn tokens_are_made_by_their_users_and_ended_by_administrators() {
    let site = Site::managed();
    let (erin, dave) = (site.sign_in("erin").await, site.sign_in("dave").await);
    let tokens = |user: &str| site.0.server.registry().arrays().tokens_of(user).count();
    let told = site.manage(&erin, "do=create-token&user=erin").await;
    let kept = users::token_sha256(secret_in(&told));
    assert!(
        site.0.server.registry().arrays().token(&kept).is_some_and(|token| &*token.user == "erin")
    );
    for cookie in [&erin, &dave] {
        let reply = site.submit(cookie, "/admin", "do=create-token&user=alice").await;
        assert_eq!((reply.status, tokens("alice")), (404, 0));
    }
    assert_eq!(site.submit(&dave, "/admin", "do=end-tokens&user=erin").await.status, 404);
    assert_eq!(tokens("erin"), 1);
    let page = site.get(&erin, "/admin").await;
    assert_eq!(page.body().matches("value=\"end-tokens\"").count(), 1, "only who has some");
    site.manage(&erin, "do=end-tokens&user=erin").await;
    assert_eq!(tokens("erin"), 0);
}

/// Goal: with another password ends what was got with the old one, and what programs have goes on unless that is asked for.
#[tokio::test]
async fn another_password_ends_tokens_of_logins() {
    let site = Site::managed();
    let erin = site.sign_in("erin").await;
    let token = |n: u8, expires| {
        let (user, created) = ("alice".into(), NOW);
        ArraysChange::TokenCreated(Token { sha256: [n; 32], user, created, expires })
    };
    let make = |n, expires| site.change(RegistryChange::Arrays(token(n, expires)));
    let left = || {
        let registry = site.0.server.registry();
        let tokens = registry.arrays().tokens_of("alice").map(|token| token.sha256[0]);
        tokens.collect::<Vec<_>>()
    };
    make(1, None);
    make(2, Some(NOW.plus_seconds(3600)));
    site.manage(&erin, "do=change-password&user=alice").await;
    assert_eq!(left(), [1]);
    make(3, Some(NOW.plus_seconds(3600)));
    site.manage(&erin, "do=change-password&user=alice&end-tokens=yes").await;
    assert_eq!(left(), [0; 0]);
}

/// Goal: what was typed into a form that is refused is still there, in that form and no other, with the reason at the
/// field, once.
#[tokio::test]
async fn a_refused_form_is_shown_as_it_was_sent() {
    let site = Site::managed();
    let erin = site.sign_in("erin").await;
    let refuse = async |form: &str| {
        let reply = site.submit(&erin, "/admin", form).await;
        let page = site.get(&erin, location(&reply)).await.body().to_owned();
        assert_eq!(page.matches("<details class=\"act\" open").count(), 1, "{page}");
        let (_, rest) = page.split_once("<details class=\"act\" open").expect("an open form");
        rest.split("</details>").next().expect("ends").to_owned()
    };
    let form = refuse("do=keep&of-namespace=alice&keep=%3Cb%3Efew&minimum=7").await;
    assert!(form.contains("value=\"alice\""), "that of this row: {form}");
    assert!(form.contains("value=\"&lt;b&gt;few\"") && form.contains("value=\"7\""), "{form}");
    let field = form.split("<input").find(|input| input.contains("name=\"keep\"")).expect("there");
    for expected in ["aria-invalid=\"true\"", "aria-describedby=\"wrong\"", "autofocus"] {
        assert!(field.contains(expected), "{expected} in {field}");
    }
    assert!(form.contains("id=\"wrong\"") && form.contains("is no number of days"), "{form}");
    assert!(!site.get(&erin, "/admin").await.body().contains("details class=\"act\" open"), "once");

    let form = refuse("do=create-user&name=alice").await;
    assert!(form.contains("value=\"alice\"") && form.contains("aria-invalid"), "{form}");
    // Which of the two is wrong is not known; the cursor stands in the first.
    let form = refuse("do=create-organization&name=lab&members=nobody+alice").await;
    assert!(form.contains("value=\"lab\"") && form.contains("value=\"nobody alice\""), "{form}");
    assert!(!form.contains("aria-invalid") && form.matches("autofocus").count() == 1, "{form}");
    assert!(!form.contains("name=\"token\" value=\"\""), "{form}");
    let chosen = format!("do=grant&project={GROUP}&user=nobody&role=GROUP_OWNER");
    let form = refuse(&chosen).await;
    assert!(form.contains("value=\"GROUP_OWNER\" selected"), "{form}");
}

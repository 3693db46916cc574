//! The page, as people use it: a real Chromium, with axe on every page and state.

mod administration;
mod reviews;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::support::DataDir;
use crate::support::binary::{Key, Project, Server};
use crate::support::browser::Browser;
use crate::support::http::Connection;
use crate::support::process::until;
use crate::support::tools;

const CLUSTER: &str = "orders";
const HOST: &str = "db-1.example.com:27017";

/// A day around the sample's.
const DAY: &str = "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z";

const WIDE: (u32, u32) = (1400, 950);
const NARROW: (u32, u32) = (390, 844);

/// A name that would be markup, reverse what stands beside it and hide its end.
const HOSTILE: &str = "<img src=x onerror=document.title='hacked'>\\u202egnp.exe\\u0007\\u200b";

/// By how much a page is wider than the window.
const OVERFLOW: &str = "return document.documentElement.scrollWidth - innerWidth";

/// Names of the password files' users.
const USERS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

struct Site {
    data: DataDir,
    server: Server,
    project: Project,
}

impl Site {
    /// A server with the sample of quickstart, a hostile name in it, alice who may read it, bob who may
    /// nothing, carol whose role does not do, dave who owns the project, and erin who is an administrator.
    fn start() -> Result<Site> {
        let data = DataDir::new()?;
        let (project, _) = data.set_up(CLUSTER, HOST)?;
        let sample = tools::workspace().join("crates/cli/sample/mongod.log");
        let sample = std::fs::read_to_string(sample)?;
        let failure = sample.lines().find(|line| line.contains("\"principalName\":\"root\""));
        let failure = failure.context("the sample has a failure")?;
        let hostile = failure
            .replace("\"principalName\":\"root\"", &format!("\"principalName\":\"{HOSTILE}\""));
        ensure!(hostile != failure, "{failure}");
        let log = data.folder().join("mongod.log");
        std::fs::write(&log, format!("{sample}{hostile}\n"))?;
        data.import(CLUSTER, HOST, &[&log])?;
        for name in USERS {
            let file: PathBuf = data.folder().join(name);
            std::fs::write(&file, password(name))?;
            let file = file.to_str().context("temporary paths are UTF-8")?;
            data.run(&["user", "create", name, "--password-file", file])?;
        }
        for (name, role) in [
            ("alice", "GROUP_CLUSTER_LOG_VIEWER"),
            ("carol", "GROUP_READ_ONLY"),
            ("dave", "GROUP_OWNER"),
        ] {
            data.run(&["user", "grant", name, "--project", &project.id, "--role", role])?;
        }
        data.run(&["user", "grant", "erin", "--administrator"])?;
        let server = data.serve(&[])?;
        Ok(Site { data, server, project })
    }

    /// Follows a log with a line that cannot be read, and is sent lines of a host that nobody knows.
    fn watch(&self) -> Result<()> {
        let log = self.data.folder().join("watched.log");
        let sample = std::fs::read_to_string(self.data.folder().join("mongod.log"))?;
        let unreadable = sample.lines().find(|line| line.contains("\"principalName\":\"root\""));
        let unreadable = unreadable.context("a failure")?.replace("\"root\"", "<i>\u{202e}\u{1b}");
        std::fs::write(&log, format!("{sample}{unreadable}\n"))?;
        let file = format!(
            "version = 1\n[[project]]\nname = \"Orders\"\n[[project.cluster]]\nname = {CLUSTER:?}\n\
             hosts = [{HOST:?}]\n[[source]]\nname = \"orders.db-1\"\nkind = \"mongod-log\"\n\
             path = {log:?}\n"
        );
        std::fs::write(self.data.folder().join("doorbook.toml"), file)?;
        self.data.run(&["apply"])?;
        let role = ["key", "create", "--project", &self.project.id, "--role", "GROUP_SHIPPER"];
        let shipper: Key = self.data.json(&role)?;
        let lines = sample.lines().take(50).map(|line| {
            serde_json::json!({"message": line, "host": {"name": "db-9<b>"}}).to_string()
        });
        let body = lines.collect::<Vec<_>>().join("\n");
        let caller = (&*shipper.public_key, &*shipper.private_key);
        let headers = [("Content-Type", "application/x-ndjson")];
        let mut connection = Connection::to(&self.server.base)?;
        let reply = connection.send("POST", "/api/v1/lines", caller, &headers, &body)?;
        ensure!(reply.status == 200, "{reply:?}");
        until("the alarm that lines wait", || {
            let alarms: Vec<serde_json::Value> = self.data.json(&["alarm", "list"])?;
            let sources: Vec<serde_json::Value> = self.data.json(&["source", "list"])?;
            let has_read = sources.iter().any(|source| source["state"] == "following");
            let waits = alarms.iter().any(|alarm| alarm["kind"] == "lines.unrouted");
            Ok((waits && has_read).then_some(()))
        })
    }

    fn history(&self, query: &str) -> String {
        self.page("/history", query)
    }

    fn page(&self, path: &str, query: &str) -> String {
        format!("{}{path}?project={}&{query}", self.server.base, self.project.id)
    }

    fn sign_in(&self, browser: &Browser, name: &str) -> Result<()> {
        browser.forget()?;
        browser.open(&format!("{}/sign-in", self.server.base))?;
        browser.type_into("#user", name)?;
        browser.type_into("#password", &password(name))?;
        browser.click("button[type=submit]")?;
        browser.wait_for_url(|url| !url.contains("/sign-in")).map(drop)
    }
}

fn password(name: &str) -> String {
    format!("the password of {name}")
}

/// Goal: who asks finds last night's failed logins of one user, sees where nobody watched, reads the raw
/// line, and shares what he found; a colleague without the role sees nothing. Method: do it, with the mouse
/// and the keyboard.
#[test]
fn a_question_is_answered_and_shared() -> Result<()> {
    let Some(browser) = Browser::start("the journey through the page")? else { return Ok(()) };
    let site = Site::start()?;
    browser.look(WIDE, "light")?;
    browser.open(&site.server.base)?;
    ensure!(browser.url()?.ends_with("/sign-in"), "{}", browser.url()?);
    // By keyboard: the first field has the focus.
    browser.keys("alice\u{e004}")?;
    browser.keys(&format!("{}\u{e007}", password("alice")))?;
    browser.wait_for_url(|url| url.contains("/history?project="))?;

    browser.open(&site.history(DAY))?;
    ensure!(browser.count("svg.histogram rect.blind")? > 0, "no band where the log was quiet");
    browser.click_text("2 intervals not seen")?;
    let gaps = browser.text("#gaps")?;
    ensure!(gaps.contains("quiet") || gaps.contains("log"), "{gaps}");

    browser.type_into("#q", "result:failed user:root\u{e007}")?;
    browser.wait_for_url(|url| url.contains("q="))?;
    let total = browser.text(".total strong")?;
    ensure!(browser.count("tbody .result.failure")?.to_string() == total, "{total}");
    ensure!(browser.count(".rows .result.success")? == 0, "a success among failures");
    ensure!(browser.count(".chip")? == 2, "a chip for each term");

    // Draw over the chart from a quarter past seven on.
    let before = browser.url()?;
    browser.drag("svg.histogram", 0.302, 0.98)?;
    let zoomed = browser.wait_for_url(|url| url != before)?;
    ensure!(zoomed.contains("from=2026-01-01T07%3A1"), "{zoomed}");

    browser.click(".rows tbody tr:first-child a.open")?;
    let event = browser.wait_for_url(|url| url.contains("/history/"))?;
    let focus = browser.script("return document.activeElement.id")?;
    ensure!(focus == "detail-title", "the focus is on {focus}");
    let raw = browser.text("pre.raw")?;
    ensure!(raw.starts_with("{\"t\":{\"$date\"") && raw.contains("\"root\""), "{raw}");

    let pinned = browser.script("return document.querySelector('a.pin').href")?;
    let pinned = pinned.as_str().context("a link")?.to_owned();
    ensure!(pinned.contains("as_of=") && pinned.contains("from="), "{pinned}");
    browser.keys("\u{e00c}")?;
    browser.wait_for_url(|url| !url.contains("/history/"))?;

    // As the browser would fetch it, since it may save nothing here.
    let exported = browser.script(
        "const sent = new XMLHttpRequest();\
         sent.open('GET', document.querySelector('.exports a').href, false);\
         sent.overrideMimeType('text/plain; charset=x-user-defined');\
         sent.send();\
         return [sent.status, sent.responseText.slice(0, 2), sent.responseText.includes('events.csv')]",
    )?;
    ensure!(exported == serde_json::json!([200, "PK", true]), "{exported}");

    // The colleague: first one who may, then one who may not.
    browser.forget()?;
    browser.open(&pinned)?;
    ensure!(browser.url()?.contains("/sign-in?next="), "{}", browser.url()?);
    browser.type_into("#user", "alice")?;
    browser.type_into("#password", &format!("{}\u{e007}", password("alice")))?;
    browser.wait_for_url(|url| url.contains("as_of="))?;
    ensure!(browser.text("pre.raw")? == raw, "another line");
    site.sign_in(&browser, "bob")?;
    for address in [&pinned, &event] {
        browser.open(address)?;
        ensure!(browser.count("tbody")? == 0, "bob sees rows at {address}");
        ensure!(browser.text("main")?.contains("There is no project"), "{}", browser.text("main")?);
    }
    drop(browser);
    site.server.stop()
}

/// Goal: who looks at the newest events hears of newer ones and loses neither the focus nor the place; and of a server
/// that is away. Method: events that come, and a server that is stopped, while a page is open.
#[test]
fn a_page_that_is_open_tells_of_newer_events() -> Result<()> {
    let Some(browser) = Browser::start("a page that is left open")? else { return Ok(()) };
    let site = Site::start()?;
    browser.look(WIDE, "light")?;
    site.sign_in(&browser, "alice")?;
    browser.open(&site.history("last=all"))?;
    let total = browser.text(".total strong")?;
    browser.click("#q")?;
    let sample = std::fs::read_to_string(site.data.folder().join("mongod.log"))?;
    let line = sample.lines().find(|line| line.contains("\"principalName\":\"root\""));
    let line = line.context("a failure")?;
    let later = site.data.folder().join("later.log");
    std::fs::write(&later, line.replace("\"root\"", "\"newcomer\"") + "\n")?;
    site.data.import(CLUSTER, HOST, &[&later])?;
    until("the line that tells of it", || {
        Ok((browser.text("#newer")? == "1 new event").then_some(()))
    })?;
    browser.examine("60-newer-events")?;
    let focus = browser.script("return document.activeElement.id")?;
    ensure!(focus == "q" && browser.text(".total strong")? == total, "the page moved: {focus}");
    browser.click("#newer a")?;
    until("the newer event", || Ok((browser.text(".total strong")? != total).then_some(())))?;
    let Site { server, data, .. } = site;
    server.stop()?;
    until("the line that tells of the server", || {
        Ok(browser.text("#newer")?.starts_with("The server has not answered").then_some(()))
    })?;
    // Not examined: that the browser could not fetch is what its console says.
    browser.photograph_if_wanted("61-server-away")?;
    drop((browser, data));
    Ok(())
}

/// Goal: who may sees what is watched and what not, says what came of an alarm, has lines read again, and manages
/// keys, roles, users and retention; who may not sees nothing of it. Method: do it, light and dark, with axe on
/// each page.
#[test]
fn the_server_is_watched_and_managed() -> Result<()> {
    let Some(browser) = Browser::start("sources and administration")? else { return Ok(()) };
    let site = Site::start()?;
    let base = &site.server.base;
    browser.look(WIDE, "light")?;
    site.sign_in(&browser, "alice")?;
    let sources = site.page("/sources", "times=utc");
    browser.open(&sources)?;
    browser.examine("40-sources-none")?;
    site.watch()?;
    browser.open(&sources)?;
    ensure!(browser.count("form[action='/sources']")? == 0, "a reader has a form");
    let text = browser.text("main")?;
    ensure!(text.contains("orders.db-1") && text.contains("following"), "{text}");
    ensure!(text.contains("\\u{202e}") && text.contains("<i>"), "{text}");

    site.sign_in(&browser, "dave")?;
    browser.click_text("Sources")?;
    browser.wait_for_url(|url| url.contains("/sources?project="))?;
    browser.examine("41-sources")?;
    browser.click("#alarms details.act summary")?;
    browser.type_into("#alarms input[name=cause]", "a new host <i>")?;
    browser.examine("42-acknowledge")?;
    browser.type_into("#alarms input[name=note]", "ticket 7\u{e007}")?;
    let told = until("the acknowledgement", || {
        let told = browser.count(".notice.good")?;
        Ok((told > 0).then(|| browser.text("main")))
    })??;
    ensure!(told.contains("The alarm is acknowledged.") && told.contains("by dave"), "{told}");
    browser.examine("43-acknowledged")?;
    browser.click("form.replay button")?;
    until("the lines that were read again", || {
        Ok((browser.text("main")?.contains("read again")).then_some(()))
    })?;
    browser.examine("44-read-again")?;

    browser.click_text("Administration")?;
    browser.wait_for_url(|url| url.contains("/admin?project="))?;
    browser.examine("45-project")?;
    browser.click_text("New key…")?;
    browser.click("details[open] button[type=submit]")?;
    let secret = until("the new key", || {
        Ok((browser.count(".secret pre")? > 0).then(|| browser.text(".secret pre")))
    })??;
    browser.examine("46-new-key")?;
    let (public, private) = secret.split_once(':').context("two halves")?;
    let path = format!("/api/v1/events?limit=0&project={}", site.project.id);
    let reply = Connection::to(base)?.send("GET", &path, (public, private), &[], "")?;
    ensure!(reply.status == 200, "{reply:?}");
    browser.open(&site.page("/admin", "times=utc"))?;
    ensure!(!browser.text("main")?.contains(private), "the secret is shown twice");

    site.sign_in(&browser, "erin")?;
    browser.open(&format!("{base}/admin"))?;
    browser.examine("47-administration")?;
    browser.click_text("New user…")?;
    browser.type_into("details[open] input[name=name]", "frank\u{e007}")?;
    let password = until("the new user", || {
        Ok((browser.count(".secret pre")? > 0).then(|| browser.text(".secret pre")))
    })??;
    browser.examine("48-new-user")?;
    browser.forget()?;
    browser.open(&format!("{base}/sign-in"))?;
    browser.type_into("#user", "frank")?;
    browser.type_into("#password", &format!("{password}\u{e007}"))?;
    browser.wait_for_url(|url| !url.contains("/sign-in"))?;
    for address in [&format!("{base}/admin"), &sources, &site.page("/admin", "times=utc")] {
        browser.open(address)?;
        ensure!(browser.count("table")? == 0, "frank sees something at {address}");
    }
    browser.examine("49-nothing-to-manage")?;

    for (scheme, suffix) in [("light", ""), ("dark", "-dark")] {
        for (who, path, name) in [
            ("dave", "/sources", "sources"),
            ("dave", "/admin", "project"),
            ("erin", "/admin", "admin"),
        ] {
            site.sign_in(&browser, who)?;
            let address = match who {
                "erin" => format!("{base}{path}"),
                _ => site.page(path, "times=local"),
            };
            for (size, look) in [(WIDE, "wide"), (NARROW, "narrow")] {
                browser.look(size, scheme)?;
                browser.open(&address)?;
                browser.examine(&format!("50-{name}-{look}{suffix}"))?;
                ensure!(browser.script(OVERFLOW)? == 0, "{name} is wider than the window");
            }
        }
    }
    drop(browser);
    site.server.stop()
}

/// Goal: every page and state is clean by axe, light and dark, wide and narrow, and nothing in it breaks
/// the policy or runs. Method: go everywhere, with a hostile name among the rows.
#[test]
fn every_page_and_state_is_clean() -> Result<()> {
    let Some(browser) = Browser::start("axe on the page")? else { return Ok(()) };
    let site = Site::start()?;
    let base = &site.server.base;
    browser.look(WIDE, "light")?;
    browser.open(&format!("{base}/sign-in"))?;
    browser.examine("01-sign-in")?;
    browser.type_into("#user", "alice")?;
    browser.type_into("#password", "a guess")?;
    browser.click("button[type=submit]")?;
    browser.examine("02-sign-in-refused")?;
    site.sign_in(&browser, "bob")?;
    browser.examine("03-nothing-granted")?;
    browser.open(&site.history(DAY))?;
    browser.examine("04-no-such-project")?;
    site.sign_in(&browser, "carol")?;
    browser.examine("05-role-missing")?;

    site.data.run(&["project", "create", "Empty"])?;
    site.data.run(&[
        "user",
        "grant",
        "alice",
        "--project",
        "Empty",
        "--role",
        "GROUP_CLUSTER_LOG_VIEWER",
    ])?;
    site.sign_in(&browser, "alice")?;
    browser.examine("06-whose-history")?;
    let pages = [
        ("07-history", site.history(DAY)),
        ("08-history-failures", site.history(&format!("{DAY}&outcome=failure&user=root"))),
        ("09-history-all-shown", site.history("last=all&show=all")),
        ("10-history-local-times", site.history(&format!("{DAY}&times=local"))),
        ("11-no-match", site.history(&format!("{DAY}&user=nobody&address=10.9.9.9"))),
        ("12-other-times", site.history("from=2001-01-01T00:00:00Z&to=2001-01-02T00:00:00Z")),
        ("13-search-unreadable", site.history("q=result:failed%20usr:alice")),
        ("14-parameter-unknown", site.history("usr=alice")),
        ("15-no-data", format!("{base}/history?project=Empty")),
        ("22-principals", site.page("/principals", DAY)),
        ("23-principals-all", site.page("/principals", "last=all&show=all&sort=failures")),
        ("24-principals-nobody", site.page("/principals", &format!("{DAY}&user=nobody"))),
        ("25-principal", site.page("/principals/root", DAY)),
        (
            "26-principal-new",
            site.page("/principals/orders-api", "from=2026-01-01T09:00:00Z&zone=Europe/Berlin"),
        ),
        ("27-principal-never", site.page("/principals/mallory", DAY)),
        ("28-search-hidden", site.history("q=user:x%E2%80%AEgnp")),
    ];
    for (scheme, suffix) in [("light", ""), ("dark", "-dark")] {
        browser.look(WIDE, scheme)?;
        for (name, address) in &pages {
            browser.open(address)?;
            // The sample's last login, an hour later in Berlin.
            let is_local = name.ends_with("local-times");
            ensure!(
                !is_local || browser.text(".rows")?.contains("2026-01-01 12:58:00.011"),
                "{name}"
            );
            browser.examine(&format!("{name}{suffix}"))?;
        }
        browser.open(&site.history(DAY))?;
        browser.script(
            "document.querySelectorAll('details:not(.chooser)').forEach(d => { d.open = true })",
        )?;
        browser.examine(&format!("16-tables-behind{suffix}"))?;
        browser.open(&site.history(DAY))?;
        browser.click(".rows tbody tr:nth-child(3) a.open")?;
        browser.examine(&format!("17-event{suffix}"))?;
        browser.script(
            "document.querySelectorAll('.detail details').forEach(d => { d.open = true });\
                        document.querySelector('.detail').scrollIntoView({block: 'end'})",
        )?;
        browser.examine(&format!("18-event-below{suffix}"))?;
        // Only the hostile name has an image in it.
        browser.open(&site.history("last=all&q=user:*img*"))?;
        browser.click(".rows tbody tr:first-child a.open")?;
        browser.examine(&format!("19-hostile-name{suffix}"))?;
        let who = browser.text(".rows tbody td:nth-child(2)")?;
        ensure!(who.contains("<img src=x") && who.contains("\\u{202e}"), "{who}");
        ensure!(browser.count("img")? == 0, "an image was made of a name");
        browser.open(&site.page("/principals", "last=all&q=user:*img*"))?;
        browser.click("tbody th a")?;
        browser.wait_for_url(|url| url.contains("/principals/"))?;
        browser.examine(&format!("29-principal-hostile{suffix}"))?;
        ensure!(browser.text("h1")?.contains("<img src=x"), "{}", browser.text("h1")?);
        browser.look(NARROW, scheme)?;
        for (name, path) in [("principals", "/principals"), ("principal", "/principals/root")] {
            browser.open(&site.page(path, DAY))?;
            browser.examine(&format!("30-narrow-{name}{suffix}"))?;
            ensure!(browser.script(OVERFLOW)? == 0, "{name} is wider than the window");
        }
        browser.open(&site.history(DAY))?;
        browser.examine(&format!("20-narrow{suffix}"))?;
        browser.click(".rows tbody tr:first-child a.open")?;
        browser.examine(&format!("21-narrow-event{suffix}"))?;
        ensure!(browser.script(OVERFLOW)? == 0, "the page is wider than the window");
    }
    drop(browser);
    site.server.stop()
}

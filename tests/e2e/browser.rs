//! The page, as people use it: a real Chromium, with axe on every page and state.

mod reviews;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::support::DataDir;
use crate::support::binary::{Project, Server};
use crate::support::browser::Browser;
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
const USERS: [&str; 3] = ["alice", "bob", "carol"];

struct Site {
    data: DataDir,
    server: Server,
    project: Project,
}

impl Site {
    /// A server with the sample of quickstart, a hostile name in it, alice who may read it, bob who may
    /// nothing, and carol whose role does not do.
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
        for (name, role) in [("alice", "GROUP_CLUSTER_LOG_VIEWER"), ("carol", "GROUP_READ_ONLY")] {
            data.run(&["user", "grant", name, "--project", &project.id, "--role", role])?;
        }
        let server = data.serve(&[])?;
        Ok(Site { data, server, project })
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

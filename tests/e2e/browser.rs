//! The page, as people use it: a real Chromium, with axe on every page and state, over a server that a real mongod
//! and real TileDB arrays fill.

mod administration;
mod arrays;
mod hostile;
mod reviews;
mod site;

use anyhow::{Context, Result, ensure};
use doorbook_event::Timestamp;
use serde_json::Value;

use crate::support::browser::Browser;
use crate::support::http::Connection;
use crate::support::mongod::{Attempt, Login, Step};
use crate::support::process::until;
use crate::support::time::now;
use site::{Site, Tried, password, read_export, start};

/// A day around the archive's.
const DAY: &str = "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z";

const WIDE: (u32, u32) = (1400, 950);
const NARROW: (u32, u32) = (390, 844);

/// The Enter key.
const ENTER: &str = "\u{e007}";

/// By how much a page is wider than the window.
const OVERFLOW: &str = "return document.documentElement.scrollWidth - innerWidth";

/// The cells of each row of a table.
fn rows_of(browser: &Browser, rows: &str) -> Result<Vec<Vec<String>>> {
    let script = format!(
        "return [...document.querySelectorAll({rows:?})].map(row => \
           [...row.children].map(cell => cell.textContent.trim()))"
    );
    Ok(serde_json::from_value(browser.script(&script)?)?)
}

/// The number of a total, of a facet, of a line that tells.
fn number(text: &str) -> Result<u64> {
    let digits: String =
        text.chars().filter(|c| *c != ',').take_while(char::is_ascii_digit).collect();
    digits.parse().with_context(|| format!("{text:?} begins with a number"))
}

/// Goal: by the keyboard alone, somebody finds last night's failed logins of one user, opens the raw line,
/// saves the rows and shares the link; a colleague sees the same rows after more came, and who has no role sees
/// nothing. Method: do it; the list of what was tried at the real mongod is the truth, and its log is compared byte
/// for byte.
#[test]
fn a_question_is_answered_and_shared() -> Result<()> {
    let Some((browser, mut site)) = start("the journey through the page")? else { return Ok(()) };
    browser.look(WIDE, "light")?;
    browser.open(&site.server.base)?;
    ensure!(browser.url()?.ends_with("/sign-in"), "{}", browser.url()?);
    // The first field has the focus.
    browser.keys("alice\u{e004}")?;
    browser.keys(&format!("{}{ENTER}", password("alice")))?;
    browser.wait_for_url(|url| !url.contains("/sign-in"))?;
    ensure!(browser.text("h1")? == "Whose history?", "alice may read two");
    let place = format!(".choices a[href*='{}']", site.project.id);
    browser.tab_to(&place)?;
    browser.keys(ENTER)?;
    browser.wait_for_url(|url| url.contains("/history?project="))?;
    let all = site.tried(|_| true);
    ensure!(Tried::shown(&browser)? == all, "{:#?}\nand not {all:#?}", Tried::shown(&browser)?);
    ensure!(browser.text(".total strong")? == all.len().to_string(), "another total");

    browser.tab_to("#q")?;
    browser.keys(&format!("result:failed user:ben{ENTER}"))?;
    browser.wait_for_url(|url| url.contains("q="))?;
    let is_bens = |attempt: &Attempt| attempt.user == "ben" && !attempt.ok;
    let failed = site.tried(is_bens);
    ensure!(Tried::shown(&browser)? == failed, "{:#?}", Tried::shown(&browser)?);
    ensure!(browser.text(".total strong")? == failed.len().to_string(), "another total");
    ensure!(browser.count(".chip")? == 2, "a chip for each term");
    // Nobody watched before there was a mongod, and that is all.
    let known = browser.text(".state-word")?;
    ensure!(known.contains("1 gap") && known.contains("known to"), "{known}");

    browser.tab_to(".rows tbody tr:first-child a.open")?;
    browser.keys(ENTER)?;
    let event = browser.wait_for_url(|url| url.contains("/history/"))?;
    let focus = browser.script("return document.activeElement.id")?;
    ensure!(focus == "detail-title", "the focus is on {focus}");
    let raw = browser.texts("pre.raw")?.pop().context("a raw line")?;
    let log = std::fs::read(site.mongod.log())?;
    let same = log.split(|byte| *byte == b'\n').filter(|line| *line == raw.as_bytes()).count();
    ensure!(same == 1, "{same} lines of the log are {raw}");
    let line: Value = serde_json::from_str(&raw)?;
    let remote = line["attr"]["remote"].as_str().context("a remote")?;
    let port = remote.rsplit(':').next().context("a port")?.parse::<u16>()?;
    let last = site.mongod.attempts().iter().rfind(|attempt| is_bens(attempt));
    ensure!(last.context("ben failed")?.ports.contains(&port), "another attempt: {raw}");

    let pinned = browser.script("return document.querySelector('a.pin').href")?;
    let pinned = pinned.as_str().context("a link")?.to_owned();
    ensure!(pinned.contains("as_of=") && pinned.contains("from="), "{pinned}");
    browser.keys("\u{e00c}")?;
    browser.wait_for_url(|url| !url.contains("/history/"))?;
    for format in ["csv", "ndjson"] {
        browser.tab_to(&format!(".exports a[href$='format={format}']"))?;
        browser.keys(ENTER)?;
        let saved = read_export(&browser.downloaded(site.data.folder())?)?;
        is_what_was_tried(&saved, &site, &is_bens).context(format)?;
        ensure!(
            saved["manifest"]["filter"] != "" && saved["manifest"]["format"] == format,
            "{saved}"
        );
    }
    // All of it, with the second lines of attempts that are one to people.
    browser.open(&site.history("show=all"))?;
    let total = browser.text(".total strong")?;
    browser.click(".exports a[href$='format=ndjson']")?;
    let saved = read_export(&browser.downloaded(site.data.folder())?)?;
    ensure!(saved["manifest"]["count"] == number(&total)?, "{}", saved["manifest"]);
    is_what_was_tried(&saved, &site, &|_| true)?;

    // More comes, and the colleague opens the link: dave with his own role, bob without one.
    let guess = Login::of("ben").from("127.0.0.3").that_fails();
    site.do_steps(&[Step::Login(guess.clone()), Step::Login(guess)])?;
    browser.forget()?;
    browser.open(&pinned)?;
    ensure!(browser.url()?.contains("/sign-in?next="), "{}", browser.url()?);
    browser.keys("dave\u{e004}")?;
    browser.keys(&format!("{}{ENTER}", password("dave")))?;
    browser.wait_for_url(|url| url.contains("as_of="))?;
    ensure!(browser.texts("pre.raw")? == [&*raw], "another line");
    ensure!(Tried::shown(&browser)? == failed, "other rows: {:#?}", Tried::shown(&browser)?);
    ensure!(browser.text(".total strong")? == failed.len().to_string(), "another total");
    browser.open(&site.history("q=result:failed%20user:ben"))?;
    ensure!(Tried::shown(&browser)? == site.tried(is_bens), "{:#?}", Tried::shown(&browser)?);
    ensure!(browser.text(".total strong")? == (failed.len() + 2).to_string(), "what came since");
    for (name, said) in [("bob", "There is no project"), ("carol", "Your role here does not")] {
        site.sign_in(&browser, name)?;
        for address in [&pinned, &event, &site.page("/principals", ""), &site.page("/sources", "")]
        {
            browser.open(address)?;
            let main = browser.text("main")?;
            // Who may look at a project and not at its history sees what watches it.
            let is_sources = name == "carol" && address.contains("/sources");
            ensure!(is_sources || main.contains(said), "{name} at {address}: {main}");
            ensure!(
                !browser.script("return document.body.textContent")?.to_string().contains("ben@"),
                "{name}"
            );
            ensure!(is_sources || browser.count("tbody")? == 0, "{name} sees rows at {address}");
        }
    }
    site.stop(browser)
}

/// That the rows of an archive are those attempts, each with a port that its client had.
fn is_what_was_tried(saved: &Value, site: &Site, which: &dyn Fn(&Attempt) -> bool) -> Result<()> {
    let manifest = &saved["manifest"];
    let mut rows = saved["rows"].as_array().context("rows")?.clone();
    let attempts = site.mongod.attempts().iter().filter(|attempt| which(attempt));
    let mut made = 0;
    for attempt in attempts {
        let outcome = if attempt.ok { "success" } else { "failure" };
        for _ in 0..attempt.rows() {
            let is_it = |row: &Value| {
                // CSV has columns, NDJSON the event as it could be sent in.
                let (event, user) = match row.get("event") {
                    Some(event) => (event, "user"),
                    None => (row, "principal"),
                };
                let text = |name: &str| match &event[name] {
                    Value::String(text) => text.clone(),
                    Value::Null => String::new(),
                    other => other.to_string(),
                };
                let port: u16 = text("port").parse().unwrap_or_default();
                text(user) == attempt.user
                    && text("outcome") == outcome
                    && attempt.ports.contains(&port)
                    && text("application") == attempt.application.clone().unwrap_or_default()
            };
            let at = rows.iter().position(is_it);
            rows.remove(at.with_context(|| format!("no row is {attempt:?}: {rows:#?}"))?);
            made += 1;
        }
    }
    ensure!(rows.is_empty(), "nobody did {rows:#?}");
    ensure!(manifest["count"] == made && manifest["sha256"] == saved["sha256"], "{manifest}");
    Ok(())
}

/// Goal: nobody takes an empty stretch for a quiet night: while a log says nothing of successes, and ever after, the
/// page says since when and why, in its chart and in the table behind it. Method: the real mongod is made quiet, people log
/// in, and it is made talkative again; the times of that are the truth.
#[test]
fn a_blind_night_is_told() -> Result<()> {
    let Some((browser, mut site)) = start("the band where nobody saw")? else { return Ok(()) };
    browser.look(WIDE, "light")?;
    site.sign_in(&browser, "alice")?;
    let before = now();
    site.do_steps(&[Step::Quiet { on: true }])?;
    let quiet = now();
    for _ in 0..3 {
        site.do_steps(&[Step::Login(Login::of("ann"))])?;
    }
    site.do_steps(&[Step::Login(Login::of("ben").that_fails())])?;
    let seen = site.tried(|_| true);
    until("the page to say so", || {
        browser.open(&site.history(""))?;
        Ok(browser.text(".total")?.contains("blind to successes since").then_some(()))
    })?;
    let headline = browser.text(".total")?;
    ensure!(
        headline.contains("quiet") && headline.contains(&site.mongod.own_name()?),
        "{headline}"
    );
    let since = browser.script("return document.querySelector('.total time').dateTime")?;
    let since = seconds(since.as_str().context("a time")?)?;
    ensure!((before..=quiet).contains(&since), "since {since}, not {before} to {quiet}");
    ensure!(Tried::shown(&browser)? == seen, "what was seen all the same");
    browser.examine("12-blind")?;

    site.do_steps(&[Step::Quiet { on: false }, Step::Login(Login::of("ann"))])?;
    let after = now();
    let window = format!("from={}&to={}", instant(before - 20.0)?, instant(after + 5.0)?);
    browser.open(&site.history(&window))?;
    browser.tab_to("#gaps summary")?;
    browser.keys(ENTER)?;
    let gaps = rows_of(&browser, "#gaps tbody tr")?;
    let gap = gaps.iter().position(|gap| gap[3].contains("quiet"));
    let gap = gap.with_context(|| format!("no gap says why: {gaps:?}"))?;
    ensure!(gaps[gap][2] == "successes not seen", "{gaps:?}");
    ensure!(gaps[gap][4] == site.mongod.own_name()?, "{gaps:?}");
    let times = browser.script(&format!(
        "return [...document.querySelectorAll('#gaps tbody tr')][{gap}].querySelectorAll('time')\
           .values().map(time => time.dateTime).toArray()"
    ))?;
    let times: Vec<String> = serde_json::from_value(times)?;
    let [from, to] = [seconds(&times[0])?, seconds(&times[1])?];
    ensure!((before..=quiet).contains(&from) && (quiet..=after).contains(&to), "{from} to {to}");
    browser.examine("12-blind-table")?;
    // The band is where the times are.
    let band = browser.script(
        "const chart = document.querySelector('svg.histogram');\
         const [from, to] = [Number(chart.dataset.from), Number(chart.dataset.to)];\
         return [...chart.querySelectorAll('rect.blind')].map(band => {\
           const left = parseFloat(band.getAttribute('x')), width = parseFloat(band.getAttribute('width'));\
           return [left, left + width].map(x => (from + (to - from) * x / 100) / 1000); })",
    )?;
    let bands: Vec<[f64; 2]> = serde_json::from_value(band)?;
    let is_it = |band: &[f64; 2]| (band[0] - from).abs() < 0.1 && (band[1] - to).abs() < 0.1;
    ensure!(bands.iter().any(is_it), "{bands:?}, and nothing from {from} to {to}");
    ensure!(browser.text(".total")?.contains("not complete"), "{}", browser.text(".total")?);

    // Draw over the chart from the band on.
    let drawn = browser.url()?;
    browser.drag("svg.histogram", 0.5, 0.98)?;
    let zoomed = browser.wait_for_url(|url| url != drawn)?;
    let begins = zoomed.split(['?', '&']).find_map(|pair| pair.strip_prefix("from="));
    let begins = seconds(&begins.context("a beginning")?.replace("%3A", ":"))?;
    let half = f64::midpoint(before - 20.0, after + 5.0);
    ensure!((begins - half).abs() < 1.0, "{zoomed} does not begin at {half}");
    site.stop(browser)
}

fn seconds(time: &str) -> Result<f64> {
    Ok(time.parse::<Timestamp>()?.micros() as f64 / 1e6)
}

fn instant(seconds: f64) -> Result<String> {
    Ok(Timestamp::from_micros((seconds * 1e6) as i64).to_string())
}

/// Goal: who looks at the newest events hears of newer ones and loses neither the focus nor the place; and of a server
/// that is away. Method: a real login, and a server that is stopped, while a page is open.
#[test]
fn a_page_that_is_open_tells_of_newer_events() -> Result<()> {
    let Some((browser, mut site)) = start("a page that is left open")? else { return Ok(()) };
    browser.look(WIDE, "light")?;
    site.sign_in(&browser, "alice")?;
    browser.open(&site.history("last=1h"))?;
    let total = number(&browser.text(".total strong")?)?;
    browser.click("#q")?;
    site.do_steps(&[Step::Login(Login::of("newcomer").by("SCRAM-SHA-256").of_nobody())])?;
    until("the line that tells of it", || {
        Ok((browser.text("#newer")? == "1 new event").then_some(()))
    })?;
    browser.examine("60-newer-events")?;
    let focus = browser.script("return document.activeElement.id")?;
    let still = number(&browser.text(".total strong")?)?;
    ensure!(focus == "q" && still == total, "the page moved: {focus}");
    browser.tab_to("#newer a")?;
    browser.keys(ENTER)?;
    until("the newer event", || {
        Ok((number(&browser.text(".total strong")?)? == total + 1).then_some(()))
    })?;
    ensure!(browser.text(".rows tbody tr:first-child")?.contains("newcomer"), "not the first");
    let Site { server, data, mongod, .. } = site;
    server.stop()?;
    until("the line that tells of the server", || {
        Ok(browser.text("#newer")?.starts_with("The server has not answered").then_some(()))
    })?;
    // Not examined: that the browser could not fetch is what its console says.
    browser.photograph_if_wanted("61-server-away")?;
    drop((browser, data, mongod));
    Ok(())
}

/// Goal: who may sees what is watched and what not, says what came of an alarm, has lines read again, and manages
/// keys, roles, users and retention; who may not sees nothing of it. Method: do it, light and dark, with axe on
/// each page.
#[test]
fn the_server_is_watched_and_managed() -> Result<()> {
    let Some((browser, site)) = start("sources and administration")? else { return Ok(()) };
    let base = &site.server.base;
    browser.look(WIDE, "light")?;
    site.sign_in(&browser, "alice")?;
    browser.open(&site.archived("/sources", ""))?;
    browser.examine("40-sources-none")?;
    let sources = site.page("/sources", "times=utc");
    site.disturb(&["<i>\u{202e}\u{1b}"])?;
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
        Ok((browser.text("main")?.contains(" read again: ")).then_some(()))
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
    site.stop(browser)
}

/// Goal: every page and state is clean by axe, light and dark, wide and narrow. Method: go everywhere.
#[test]
fn every_page_and_state_is_clean() -> Result<()> {
    let Some((browser, site)) = start("axe on the page")? else { return Ok(()) };
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
    browser.open(&site.archived("/history", DAY))?;
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
        ("07-history", site.archived("/history", DAY)),
        (
            "08-history-failures",
            site.archived("/history", &format!("{DAY}&outcome=failure&user=root")),
        ),
        ("09-history-all-shown", site.archived("/history", "last=all&show=all")),
        ("10-history-local-times", site.archived("/history", &format!("{DAY}&times=local"))),
        ("11-no-match", site.archived("/history", &format!("{DAY}&user=nobody&address=10.9.9.9"))),
        (
            "12-other-times",
            site.archived("/history", "from=2001-01-01T00:00:00Z&to=2001-01-02T00:00:00Z"),
        ),
        ("13-search-unreadable", site.archived("/history", "q=result:failed%20usr:alice")),
        ("14-parameter-unknown", site.archived("/history", "usr=alice")),
        ("15-no-data", format!("{base}/history?project=Empty")),
        ("22-principals", site.archived("/principals", DAY)),
        ("23-principals-all", site.archived("/principals", "last=all&show=all&sort=failures")),
        ("24-principals-nobody", site.archived("/principals", &format!("{DAY}&user=nobody"))),
        ("25-principal", site.archived("/principals/root", DAY)),
        (
            "26-principal-new",
            site.archived("/principals/orders-api", "from=2026-01-01T09:00:00Z&zone=Europe/Berlin"),
        ),
        ("27-principal-never", site.archived("/principals/mallory", DAY)),
        ("28-search-hidden", site.archived("/history", "q=user:x%E2%80%AEgnp")),
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
        browser.open(&site.archived("/history", DAY))?;
        browser.script(
            "document.querySelectorAll('details:not(.chooser)').forEach(d => { d.open = true })",
        )?;
        browser.examine(&format!("16-tables-behind{suffix}"))?;
        browser.open(&site.archived("/history", DAY))?;
        browser.click(".rows tbody tr:nth-child(3) a.open")?;
        browser.examine(&format!("17-event{suffix}"))?;
        browser.script(
            "document.querySelectorAll('.detail details').forEach(d => { d.open = true });\
                        document.querySelector('.detail').scrollIntoView({block: 'end'})",
        )?;
        browser.examine(&format!("18-event-below{suffix}"))?;
        browser.look(NARROW, scheme)?;
        for (name, path) in [("principals", "/principals"), ("principal", "/principals/root")] {
            browser.open(&site.archived(path, DAY))?;
            browser.examine(&format!("30-narrow-{name}{suffix}"))?;
            ensure!(browser.script(OVERFLOW)? == 0, "{name} is wider than the window");
        }
        browser.open(&site.archived("/history", DAY))?;
        browser.examine(&format!("20-narrow{suffix}"))?;
        browser.click(".rows tbody tr:first-child a.open")?;
        browser.examine(&format!("21-narrow-event{suffix}"))?;
        ensure!(browser.script(OVERFLOW)? == 0, "the page is wider than the window");
    }
    browser.look(WIDE, "light")?;
    browser.open(&site.archived("/history", DAY))?;
    browser.look_on_paper()?;
    browser.examine("31-history-on-paper")?;
    site.stop(browser)
}

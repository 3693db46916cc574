//! Names that would act, break a line, hide, reorder or be executed, in every view.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::site::{Site, read_export, start};
use super::{ENTER, NARROW, OVERFLOW, WIDE, number};
use crate::support::browser::Browser;
use crate::support::http::Connection;
use crate::support::mongod::{Login, Step};
use crate::support::process::until;
use crate::support::tools;

/// Each name, and how a page writes it: what cannot be seen as an escape, all else as it is.
const NAMES: [(&str, &str); 28] = [
    ("<img src=x onerror=hacked=1>", "<img src=x onerror=hacked=1>"),
    ("\"><script>hacked=1</script>", "\"><script>hacked=1</script>"),
    ("' onmouseover='hacked=1", "' onmouseover='hacked=1"),
    ("</td></table><svg onload=hacked=1>", "</td></table><svg onload=hacked=1>"),
    ("javascript:hacked=1//", "javascript:hacked=1//"),
    ("{{7*7}}${7*7}<%= 7 %>", "{{7*7}}${7*7}<%= 7 %>"),
    ("&lt;b&gt;&amp;amp;", "&lt;b&gt;&amp;amp;"),
    ("user\u{202e}gnp.exe", "user\\u{202e}gnp.exe"),
    ("\u{2066}isolated\u{2069}\u{200f}", "\\u{2066}isolated\\u{2069}\\u{200f}"),
    ("zero\u{200b}width\u{feff}", "zero\\u{200b}width\\u{feff}"),
    ("\u{1b}[31mred\u{7}\u{9b}", "\\u{1b}[31mred\\u{7}\\u{9b}"),
    ("nul\0inside", "nul\\u{0}inside"),
    ("line\nbreak\r\tand tab", "line\\nbreak\\r\\tand tab"),
    ("  two  spaces  ", "  two  spaces  "),
    ("../../../etc/passwd", "../../../etc/passwd"),
    ("..", ".."),
    ("=cmd|' /C calc'!A0", "=cmd|' /C calc'!A0"),
    ("+1+1", "+1+1"),
    ("@SUM(1+1)", "@SUM(1+1)"),
    ("'-2", "'-2"),
    ("100%25+2 %zz%00", "100%25+2 %zz%00"),
    ("a&b=c;d?e#f/g\\h", "a&b=c;d?e#f/g\\h"),
    ("door 🚪 👩\u{200d}👧", "door 🚪 👩\\u{200d}👧"),
    ("עברית (مرحبا) 123", "עברית (مرحبا) 123"),
    (
        "Z\u{351}\u{36b}\u{343}\u{36a}\u{302}a\u{301}\u{301}\u{301}lgo",
        "Z\u{351}\u{36b}\u{343}\u{36a}\u{302}a\u{301}\u{301}\u{301}lgo",
    ),
    ("日本語・ﾊﾝｶｸ＝１", "日本語・ﾊﾝｶｸ＝１"),
    ("user:root result:success \"q\" -class:x*", "user:root result:success \"q\" -class:x*"),
    (LONG, LONG),
];

/// Some of them.
type Names = Vec<(&'static str, &'static str)>;

/// Without a place to break it, and longer than a part of an address may be.
const LONG: &str = {
    const BYTES: [u8; 2500] = [b'W'; 2500];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => panic!("ASCII is UTF-8"),
    }
};

/// As long as a driver takes for the name of an application.
const APPLICATION_BYTES_MAX: usize = 128;

/// What would be different if any name had been markup, script or wider than the page.
const HARM: &str = "return [\
    'hacked' in window, document.title === 'hacked', document.images.length, \
    document.scripts.length, document.querySelectorAll('iframe, object, embed, base, [onerror], [onload], [onmouseover]').length, \
    document.documentElement.scrollWidth - innerWidth]";

/// Goal: whatever somebody calls himself is text in every view: written as it is, with escapes for what cannot be
/// seen; it runs nothing, moves nothing, hides nothing, and leads where it says. Method: real logins at the real mongod
/// under such names (by users of these names where mongod lets them be made), and through each view.
#[test]
fn a_hostile_name_is_text_in_every_view() -> Result<()> {
    let Some((browser, mut site)) = start("hostile names in every view")? else { return Ok(()) };
    site.do_steps(&logins())?;
    let mut counts = BTreeMap::new();
    for attempt in site.mongod.attempts() {
        // Whom mongod cannot read it does not name.
        let user = if attempt.user.contains('\0') { "" } else { &attempt.user };
        *counts.entry(user.to_owned()).or_insert(0) += attempt.rows() as u64;
    }
    browser.look(WIDE, "light")?;
    site.sign_in(&browser, "alice")?;
    in_the_history(&browser, &site, &counts)?;
    for (name, shown) in named() {
        of_one_name(&browser, &site, (name, shown), counts[name])
            .with_context(|| format!("{:?}", &name[..name.floor_char_boundary(60)]))?;
    }
    in_exports(&browser, &site, &counts)?;
    in_a_review(&browser, &site)?;
    in_sources_and_forms(&browser, &site)?;
    site.stop(browser)
}

/// The names that mongod can read.
fn named() -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMES.into_iter().filter(|(name, _)| !name.contains('\0'))
}

/// A login that succeeds and one that fails for each name; of those that mongod does not let be made, one that fails.
fn logins() -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, _) in NAMES {
        let is_allowed = !name.contains('\0') && !name.starts_with('.');
        let login = Login::of(name).by("SCRAM-SHA-1").from("127.0.0.66");
        let login = match name.len() <= APPLICATION_BYTES_MAX {
            true => login.with(name),
            false => login,
        };
        let guess = match is_allowed {
            true => {
                steps.push(Step::create(name, Some("SCRAM-SHA-1")));
                steps.push(Step::Login(login.clone()));
                login.that_fails()
            }
            false => login.of_nobody(),
        };
        steps.push(Step::Login(guess));
    }
    steps
}

/// That a page is harmless, and looks and sounds right on wide and narrow screens, light and dark.
fn examine(browser: &Browser, name: &str) -> Result<()> {
    for (scheme, suffix) in [("light", ""), ("dark", "-dark")] {
        for (size, look) in [(WIDE, ""), (NARROW, "-narrow")] {
            browser.look(size, scheme)?;
            browser.examine(&format!("{name}{look}{suffix}"))?;
            is_harmless(browser)?;
            ensure!(browser.script(OVERFLOW)? == 0, "{name}{look} is wider than the window");
        }
    }
    browser.look(WIDE, "light")
}

fn is_harmless(browser: &Browser) -> Result<()> {
    let harm = browser.script(HARM)?;
    ensure!(harm == json!([false, false, 0, 1, 0, 0]), "{harm} at {}", browser.url()?);
    Ok(())
}

/// That each name stands somewhere on the page as it should.
fn has_all(
    browser: &Browser,
    selector: &str,
    names: impl IntoIterator<Item = (&'static str, &'static str)>,
) -> Result<()> {
    let texts = browser.texts(selector)?;
    for (_, shown) in names {
        ensure!(texts.iter().any(|text| text == shown), "{shown:?} is not in {texts:#?}");
    }
    Ok(())
}

fn in_the_history(browser: &Browser, site: &Site, counts: &BTreeMap<String, u64>) -> Result<()> {
    browser.open(&site.history("show=all"))?;
    let names = browser.texts(".rows .who-cell a > bdi, .rows .who-cell > bdi")?;
    let applications = browser.texts(".rows td:nth-child(6) bdi")?;
    for (name, shown) in named() {
        let n_shown = names.iter().filter(|text| *text == shown).count() as u64;
        ensure!(n_shown == counts[name], "{n_shown} rows are of {shown:?}: {names:#?}");
    }
    for (name, shown) in NAMES.into_iter().filter(|(name, _)| name.len() <= APPLICATION_BYTES_MAX) {
        let n_shown = applications.iter().filter(|text| *text == shown).count() as u64;
        let n_made = counts[if name.contains('\0') { "" } else { name }];
        ensure!(n_shown == n_made, "{n_shown} applications are {shown:?}: {applications:#?}");
    }
    // Nobody pushes what he did before out of sight.
    let heights = browser.script(
        "return Math.max(...[...document.querySelectorAll('.rows tbody tr')].map(row => row.offsetHeight))",
    )?;
    ensure!(heights.as_f64().is_some_and(|pixels| pixels < 120.0), "a row is {heights} high");
    examine(browser, "80-hostile-history")?;
    browser.open(&site.page("/principals", "show=all"))?;
    has_all(browser, "tbody th bdi", named())?;
    examine(browser, "81-hostile-principals")
}

/// Filters by a name, opens its row, its raw line and its page; by links, as people do.
fn of_one_name(
    browser: &Browser,
    site: &Site,
    (name, shown): (&str, &str),
    count: u64,
) -> Result<()> {
    browser.open(&site.history(&format!("show=all&user={}", escaped(name))))?;
    ensure!(browser.texts(".chip-value")? == [shown], "{:?}", browser.texts(".chip-value")?);
    let active = browser.texts(".facet a[aria-current] bdi")?;
    ensure!(active == [shown], "the value that is filtered by is {active:?}");
    let total = number(&browser.text(".total strong")?)?;
    ensure!(total == count, "{total} events, not {count}");
    browser.click(".rows tbody tr:first-child a.open")?;
    browser.wait_for_url(|url| url.contains("/history/"))?;
    let fields = browser.texts(".detail dd bdi")?;
    ensure!(fields.iter().any(|field| field == shown), "{fields:#?}");
    // What is copied is what there was.
    let copied = browser.texts("details.copy pre")?.pop().context("the event as JSON")?;
    let copied: Value = serde_json::from_str(&copied)?;
    ensure!(copied["event"]["user"] == name, "{copied:#}");
    let raw = copied["event"]["raw"].as_str().context("a raw line")?;
    let log = std::fs::read_to_string(site.mongod.log())?;
    ensure!(log.split('\n').any(|line| line == raw), "no line of the log is {raw}");
    is_harmless(browser)?;
    if name.starts_with("<img") || name == LONG {
        examine(browser, &format!("82-hostile-event-{}", name.len()))?;
    }
    // What cannot be a part of an address has no page of its own.
    if ["..", LONG].contains(&name) {
        ensure!(browser.count(".detail .who-link")? == 0, "it leads to another page");
        return Ok(());
    }
    browser.click(".detail .who-link")?;
    let at = browser.wait_for_url(|url| url.contains("/principals/"))?;
    ensure!(browser.texts("h1 bdi")? == [shown], "{:?}", browser.texts("h1")?);
    let total = number(&browser.text(".total strong")?)?;
    ensure!(total == count, "{total} events at {at}, not {count}");
    is_harmless(browser)?;
    if name.starts_with("<img") {
        examine(browser, "83-hostile-principal")?;
    }
    Ok(())
}

/// Saves all rows: as they were, and such that no spreadsheet takes any for a formula.
fn in_exports(browser: &Browser, site: &Site, counts: &BTreeMap<String, u64>) -> Result<()> {
    for format in ["ndjson", "csv"] {
        browser.open(&site.history("show=all"))?;
        browser.click(&format!(".exports a[href$='format={format}']"))?;
        let saved = read_export(&browser.downloaded(site.data.folder())?)?;
        let rows = saved["rows"].as_array().context("rows")?;
        let mut found = BTreeMap::new();
        for row in rows {
            let user = match format {
                "csv" => cell(row)?,
                _ => row["event"]["user"].as_str().unwrap_or_default().to_owned(),
            };
            *found.entry(user).or_insert(0) += 1;
        }
        ensure!(found == *counts, "{format}: {found:#?}\nand not {counts:#?}");
    }
    Ok(())
}

/// The user of a row of CSV, none of whose cells a spreadsheet would execute.
fn cell(row: &Value) -> Result<String> {
    for (column, value) in row.as_object().context("a row")? {
        let value = value.as_str().context("a text")?;
        let is_formula = value.trim_start().starts_with(['=', '+', '-', '@', '＝', '\t', '\r']);
        ensure!(!is_formula, "{column} would be executed: {value:?}");
    }
    let user = row["principal"].as_str().context("a principal")?;
    Ok(user.strip_prefix('\'').unwrap_or(user).to_owned())
}

fn in_a_review(browser: &Browser, site: &Site) -> Result<()> {
    let create = ["review", "create", "hostile", "--project", &site.project.id, "--filter", ""];
    let due = ["--due", "monday 10:00", "--zone", "Europe/Berlin", "--all"];
    site.data.run(&[&create[..], &due[..]].concat())?;
    let page = format!("{}/reviews/hostile", site.server.base);
    browser.open(&page)?;
    has_all(browser, ".rows .who-cell bdi", named())?;
    // What can be typed into a note; the rest is in what the command line sends.
    let note = "<img src=x onerror=hacked=1> =1+1 ' \" 日本語";
    browser.click(".mark-cell input")?;
    browser.type_into("#marks [name=note]", note)?;
    browser.click("#marks [value=follow_up]")?;
    until("the mark", || Ok((browser.count(".notice.good")? > 0).then_some(())))?;
    ensure!(browser.texts(".mark-cell bdi")? == [note], "{:?}", browser.texts(".mark-cell")?);
    ensure!(browser.texts("#follow-ups p bdi")?.iter().any(|text| text == note), "not in the list");
    is_harmless(browser)?;
    browser.type_into("#sign [name=note]", note)?;
    browser.tab_to("#sign button")?;
    browser.keys(ENTER)?;
    until("the signature", || Ok((browser.count("#signed tbody tr")? == 1).then_some(())))?;
    ensure!(browser.text("#signed tbody")?.contains(note), "{}", browser.text("#signed")?);
    browser.open(&format!("{page}?signed=1"))?;
    has_all(browser, ".rows .who-cell bdi", named())?;
    examine(browser, "84-hostile-review")
}

fn in_sources_and_forms(browser: &Browser, site: &Site) -> Result<()> {
    // What a line may hold as it is; a label has no end of line either.
    let is_of_line =
        |(name, _): &&(&str, &str)| !name.contains(['\n', '\r', '\0']) && *name != LONG;
    let names: Vec<(&str, &str)> = NAMES.iter().filter(is_of_line).copied().collect();
    site.disturb(&names.iter().map(|(name, _)| *name).collect::<Vec<_>>())?;
    site.sign_in(browser, "dave")?;
    browser.open(&site.page("/sources", ""))?;
    let (unreadable, waiting) = (browser.texts("code")?, browser.texts("details.act summary")?);
    for (_, shown) in &names {
        let line = format!("\"\\u{{1}}{shown},");
        ensure!(
            unreadable.iter().any(|text| text.contains(&line)),
            "{line} is not in {unreadable:#?}"
        );
        let label = with_question_marks(shown);
        ensure!(
            waiting.iter().any(|text| text.contains(label.trim())),
            "{label} is not in {waiting:#?}"
        );
    }
    let note = "<script>hacked=1</script> \" 日本語";
    browser.click("#alarms details.act summary")?;
    browser.type_into("#alarms input[name=cause]", note)?;
    browser.type_into("#alarms input[name=note]", &format!("{note}{ENTER}"))?;
    until("the acknowledgement", || Ok((browser.count(".notice.good")? > 0).then_some(())))?;
    ensure!(browser.text("#alarms")?.contains(note), "{}", browser.text("#alarms")?);
    browser.script("document.querySelectorAll('details.act').forEach(d => { d.open = true })")?;
    examine(browser, "85-hostile-sources")?;

    site.sign_in(browser, "erin")?;
    for (name, shown) in [NAMES[0], NAMES[1], NAMES[22], NAMES[23]] {
        browser.open(&format!("{}/admin", site.server.base))?;
        browser.click_text("New user…")?;
        let typed = name.replace('\u{200d}', "");
        let shown = shown.replace("\\u{200d}", "");
        browser.script(&format!(
            "document.querySelector('details[open] input[name=name]').value = {}",
            json!(typed)
        ))?;
        browser.click("details[open] button[type=submit]")?;
        until("a refusal", || {
            let told = browser.texts(".notice.bad")?.concat();
            Ok(told.contains(&shown).then_some(()))
        })
        .with_context(|| shown.clone())?;
        is_harmless(browser)?;
    }
    examine(browser, "86-hostile-refused")
}

/// As an alarm writes a label, in one line that is no markup: each escape as a question mark.
fn with_question_marks(shown: &str) -> String {
    let mut parts = shown.split("\\u{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push('?');
        text.push_str(part.split_once('}').map_or("", |(_, rest)| rest));
    }
    text
}

/// Goal: the same of arrays: where they are stored, what a program says of who worked them, and why it failed. Method: real
/// arrays in folders of such names, which are found, and a program that tells of them under such names.
#[test]
fn a_hostile_array_is_text_in_every_view() -> Result<()> {
    const WHAT: &str = "hostile names of arrays";
    let Some(python) = tools::tiledb_python() else {
        tools::left_out(WHAT, "no Python environment with tiledb; `cargo xtask test` installs one");
        return Ok(());
    };
    let Some((browser, site)) = start(WHAT)? else { return Ok(()) };
    // What may be in the name of a folder.
    let is_of_folder = |(name, _): &&(&str, &str)| {
        !name.contains(['\0', '/', ' ', '\n', '\t', '\r']) && *name != ".." && name.len() < 200
    };
    let folders: Vec<(&str, &str)> = NAMES.iter().filter(is_of_folder).copied().collect();
    // A name with control characters is none for an array; which is told.
    let (refused, arrays): (Names, Names) =
        folders.iter().copied().partition(|(name, _)| name.contains(char::is_control));
    ensure!(arrays.len() > 8 && refused.len() == 1, "{folders:?}");
    let mut client = Command::new(python)
        .arg(tools::script("array_operations.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut operations = client.stdin.take().context("stdin is piped")?;
    for (name, _) in &folders {
        writeln!(operations, "create {}/{name} sparse", site.lake()?.display())?;
    }
    drop(operations);
    let said = client.wait_with_output()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(said.lines().all(|line| line == "done"), "{said}");
    browser.look(WIDE, "light")?;
    until("all arrays to be found", || {
        let found: Vec<Value> = site.data.json(&["array", "list"])?;
        Ok((found.len() == arrays.len()).then_some(()))
    })?;
    tell(&site, arrays[0].0)?;

    site.sign_in(&browser, "alice")?;
    let total = 2 * arrays.len() + NAMES.len();
    until("all that was done", || {
        browser.open(&site.arrays("/history", ""))?;
        Ok((browser.text(".total strong")? == total.to_string()).then_some(()))
    })?;
    let shown_arrays = browser.texts(".rows td:nth-child(3) bdi")?;
    for (_, shown) in &arrays {
        ensure!(
            shown_arrays.iter().any(|text| text == shown),
            "{shown:?} is not in {shown_arrays:#?}"
        );
    }
    has_all(&browser, ".rows .who-cell bdi", NAMES)?;
    has_all(&browser, ".rows td:last-child bdi", NAMES)?;
    let reasons = browser.script(
        "return [...document.querySelectorAll('.result.failure')].map(result => result.title)",
    )?;
    let reasons: Vec<String> = serde_json::from_value(reasons)?;
    for (_, shown) in NAMES {
        ensure!(reasons.iter().any(|text| text == shown), "{shown:?} is not in {reasons:#?}");
    }
    examine(&browser, "87-hostile-arrays")?;
    browser.open(&site.arrays("/principals", ""))?;
    has_all(&browser, "tbody th bdi", NAMES)?;
    examine(&browser, "88-hostile-array-principals")?;
    for (name, shown) in NAMES {
        browser.open(&site.arrays("/history", &format!("user={}", escaped(name))))?;
        ensure!(browser.texts(".chip-value")? == [shown], "{:?}", browser.texts(".chip-value")?);
        ensure!(browser.text(".total strong")? == "1", "{shown:?}: {}", browser.text(".total")?);
        browser.click(".rows tbody tr:first-child a.open")?;
        browser.wait_for_url(|url| url.contains("/history/"))?;
        let fields = browser.texts(".detail dd bdi")?;
        let n_fields = fields.iter().filter(|field| *field == shown).count();
        ensure!(n_fields >= 4, "who, application, reason and task of {shown:?}: {fields:#?}");
        is_harmless(&browser)?;
    }
    for (_, shown) in &arrays {
        browser.open(&site.arrays("/history", ""))?;
        let facet = format!(
            "const all = [...document.querySelectorAll('.rows tbody tr')];\
             const found = all.find(row => row.children[2].textContent === {} && !row.querySelector('.result.failure'));\
             found.querySelector('a.open').click()",
            json!(shown)
        );
        browser.script(&facet)?;
        browser.wait_for_url(|url| url.contains("/history/"))?;
        ensure!(browser.texts(".detail dd bdi")?.iter().any(|field| field == shown), "{shown:?}");
    }
    browser.open(&site.arrays("/sources", ""))?;
    let told = browser.text("tbody")?;
    ensure!(told.contains(refused[0].1), "{} is not in {told}", refused[0].1);
    examine(&browser, "89-hostile-array-sources")?;
    site.stop(browser)
}

/// Tells of an array, once for each name: who, with what, for which task, and why it failed.
fn tell(site: &Site, array: &str) -> Result<()> {
    #[derive(Deserialize)]
    struct Token {
        token: String,
    }
    let Token { token } = site.data.json(&["token", "create", "--user", "alice"])?;
    let lines = NAMES.iter().enumerate().map(|(n, (name, _))| {
        let time = super::instant(crate::support::time::now() - n as f64).unwrap_or_default();
        json!({
            "time": time, "namespace": "alice", "array": array, "action": "query_read",
            "outcome": "failure", "user": name, "application": name, "task_id": name, "reason": name,
        })
        .to_string()
    });
    let body = lines.collect::<Vec<_>>().join("\n");
    let bearer = format!("Bearer {token}");
    let headers = [("Content-Type", "application/x-ndjson"), ("Authorization", &*bearer)];
    let path = "/api/v1/ingest/names?namespace=alice";
    let reply = Connection::to(&site.server.base)?.send("POST", path, ("", ""), &headers, &body)?;
    let answer: Value = serde_json::from_str(&reply.body)?;
    ensure!(reply.status == 200 && answer["quarantined"] == 0, "{reply:?}");
    Ok(())
}

/// As a value in an address.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

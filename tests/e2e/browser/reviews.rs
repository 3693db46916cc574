//! Reviews, as people do them.

use anyhow::{Context, Result, ensure};

use super::site::{Site, start};
use super::{ENTER, NARROW, OVERFLOW, WIDE};
use crate::support::mongod::{Login, Step};
use crate::support::process::until;
use crate::support::time::now;

impl Site {
    fn review(&self, filter: &str) -> Result<()> {
        let project = &self.project.id;
        let create = ["review", "create", "failures", "--project", project, "--filter", filter];
        let due = ["--due", "monday 10:00", "--zone", "Europe/Berlin", "--all"];
        self.data.run(&[&create[..], &due[..]].concat()).map(drop)
    }
}

/// Goal: a reviewer finds what is new, says of rows what they are, signs what was seen, and shows it to somebody;
/// who is slower is told, and who may not sees nothing. Method: do it, with the mouse and the keyboard; what failed at
/// the real mongod is the truth; then prove what was signed by the command line.
#[test]
fn a_review_is_done_and_signed() -> Result<()> {
    let Some((browser, mut site)) = start("the journey through a review")? else { return Ok(()) };
    site.review("result:failed -class:system")?;
    browser.look(WIDE, "light")?;
    site.sign_in(&browser, "alice")?;
    browser.open(&site.history("last=all"))?;
    browser.click_text("Reviews")?;
    browser.wait_for_url(|url| url.contains("/reviews?project="))?;
    ensure!(browser.text("tbody")?.contains("never"), "{}", browser.text("tbody")?);
    browser.click_text("failures")?;
    browser.wait_for_url(|url| url.ends_with("/reviews/failures"))?;
    let total: u64 = browser.text(".total strong")?.parse().context("a number")?;
    let failed: usize = site.mongod.attempts().iter().map(|attempt| attempt.failures).sum();
    ensure!(total == failed as u64 && browser.count(".rows tbody tr")? == total, "{total}");
    let stale = browser.script("return document.querySelector('#sign [name=round]').value")?;
    let stale = stale.as_str().context("a token")?.to_owned();

    // By keyboard: choose the first row, go to the note, say who it is, and on to the button.
    browser.tab_to(".mark-cell input")?;
    browser.keys(" ")?;
    browser.tab_to("#marks [name=note]")?;
    browser.keys("who is that? <b>")?;
    browser.tab_to("#marks [value=follow_up]")?;
    browser.keys(ENTER)?;
    let marked = browser.text(".notice.good")?;
    ensure!(marked == "1 row is marked to be followed up.", "{marked}");
    ensure!(browser.text(".mark-cell")?.contains("who is that? <b>"), "as text");
    browser.click("#sign [value=accepted]")?;
    browser.click("#sign button")?;
    let refused = browser.text(".notice.bad")?;
    ensure!(refused.contains("rows are to be followed up"), "{refused}");
    // The page goes by what is marked.
    browser.tab_to("#sign [name=note]")?;
    browser.keys("one open question")?;
    browser.tab_to("#sign button")?;
    browser.keys(ENTER)?;
    let signed = browser.text(".notice.good")?;
    ensure!(signed.starts_with("The round is signed"), "{signed}");
    ensure!(browser.text("#new .total strong")? == "0", "something is new");
    let record = browser.text("#signed tbody")?;
    ensure!(record.contains("alice") && record.contains("one open question"), "{record}");
    let told = site.data.run(&["review", "check", "failures", "1", "--json"])?;
    let checked: serde_json::Value = serde_json::from_str(&told)?;
    let manifest = checked["sign_off"]["manifest_sha256"].as_str().context("a hash")?;
    ensure!(checked["same"] == true && record.contains(manifest), "{told}");

    browser.click_text("Round 1")?;
    browser.wait_for_url(|url| url.contains("signed=1"))?;
    ensure!(browser.count(".rows tbody tr")? == total, "not what was signed");
    browser.click_text("In the history, as it was")?;
    browser.wait_for_url(|url| url.contains("/history?") && url.contains("as_of="))?;
    ensure!(browser.text(".total strong")? == total.to_string(), "another state");

    // What fails afterwards is new in the next round, and in no other.
    site.do_steps(&[Step::Login(Login::of("ben").that_fails())])?;
    browser.open(&format!("{}/reviews/failures", site.server.base))?;
    ensure!(browser.text("#new .total strong")? == "1", "{}", browser.text("#new")?);
    browser.open(&format!("{}/reviews/failures?signed=1", site.server.base))?;
    ensure!(browser.text("#new .total strong")? == total.to_string(), "not what was signed");

    browser.open(&format!("{}/reviews/failures?round={stale}", site.server.base))?;
    ensure!(browser.text(".state")?.contains("was signed already by alice"), "who was first");
    browser.click_text("The round that is open now")?;
    browser.click("#follow-ups summary")?;
    browser.type_into("#follow-ups [name=note]", "a new colleague\u{e007}")?;
    ensure!(browser.text(".notice.good")? == "1 row is closed.", "not closed");
    ensure!(browser.count("#follow-ups")? == 0, "still open");
    for (name, said) in [("bob", "There is no review"), ("carol", "Your role here does not")] {
        site.sign_in(&browser, name)?;
        browser.open(&format!("{}/reviews/failures", site.server.base))?;
        let main = browser.text("main")?;
        ensure!(main.contains(said) && browser.count("tbody")? == 0, "{name}: {main}");
    }
    site.stop(browser)
}

/// Goal: every page and state of reviews is clean by axe, light and dark, wide and narrow.
#[test]
fn every_page_and_state_of_reviews_is_clean() -> Result<()> {
    let Some((browser, site)) = start("axe on reviews")? else { return Ok(()) };
    let base = &site.server.base;
    browser.look(WIDE, "light")?;
    site.sign_in(&browser, "alice")?;
    browser.open(&format!("{base}/reviews"))?;
    browser.examine("60-reviews-none")?;
    site.review("result:failed -class:system")?;
    // Due while this goes on.
    let minute = ((now() + 75.0) / 60.0) as u64 * 60;
    let due = format!("{:02}:{:02}", minute / 3600 % 24, minute / 60 % 60);
    let create =
        ["review", "create", "daily", "--project", &site.project.id, "--filter", "result:failed"];
    site.data.run(&[&create[..], &["--due", &due, "--zone", "UTC", "--all"]].concat())?;
    let page = format!("{base}/reviews/failures");
    let examine = |name: &str, address: &str| -> Result<()> {
        for (scheme, suffix) in [("light", ""), ("dark", "-dark")] {
            browser.look(WIDE, scheme)?;
            browser.open(address)?;
            browser.script(
                "document.querySelectorAll('details.act').forEach(d => { d.open = true })",
            )?;
            browser.examine(&format!("{name}{suffix}"))?;
            browser.look(NARROW, scheme)?;
            browser.open(address)?;
            browser.examine(&format!("{name}-narrow{suffix}"))?;
            ensure!(browser.script(OVERFLOW)? == 0, "{name} is wider than the window");
        }
        browser.look(WIDE, "light")?;
        browser.open(address)
    };
    examine("61-reviews", &format!("{base}/reviews"))?;
    examine("62-review", &page)?;
    let token = browser.script("return document.querySelector('#sign [name=round]').value")?;
    let token = token.as_str().context("a token")?.to_owned();
    browser.click(".mark-cell input")?;
    browser.type_into("#marks [name=note]", "who?")?;
    browser.click("#marks [value=follow_up]")?;
    browser.examine("63-review-marked")?;
    browser.click("#sign [value=accepted]")?;
    browser.click("#sign button")?;
    browser.examine("64-review-refused")?;
    browser.click("#sign button")?;
    browser.examine("65-review-signed")?;
    examine("66-review-later", &page)?;
    examine("67-review-record", &format!("{page}?signed=1"))?;
    examine("68-review-stale", &format!("{page}?round={token}"))?;
    until("a review that is overdue", || {
        browser.open(&format!("{base}/reviews"))?;
        Ok(browser.text("tbody tr:first-child")?.contains("overdue").then_some(()))
    })?;
    ensure!(
        browser.text("tbody tr:first-child th")?.contains("daily"),
        "the other one comes first"
    );
    examine("69-reviews-overdue", &format!("{base}/reviews"))?;
    browser.click_text("daily")?;
    browser.wait_for_url(|url| url.ends_with("/reviews/daily"))?;
    ensure!(browser.text(".facts")?.contains("overdue"), "{}", browser.text(".facts")?);
    browser.examine("69-review-overdue")?;
    site.stop(browser)
}

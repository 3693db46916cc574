//! What is managed on the page, as people do it: by keyboard, and again after a mistake.

use anyhow::{Result, ensure};

use super::site::start;
use super::{ENTER, NARROW, OVERFLOW, WIDE};
use crate::support::browser::Browser;

const TAB: &str = "\u{e004}";

/// The name of the field that has the focus.
fn focus(browser: &Browser) -> Result<String> {
    let name = browser.script("return document.activeElement.name || ''")?;
    Ok(name.as_str().unwrap_or_default().to_owned())
}

/// Types something instead of what is in the field that has the focus.
fn correct(browser: &Browser, text: &str) -> Result<()> {
    browser.script("document.activeElement.select()")?;
    browser.keys(text)
}

/// The page as it is, wide and narrow, light and dark.
fn examine(browser: &Browser, name: &str) -> Result<()> {
    for scheme in ["dark", "light"] {
        for (size, look) in [(NARROW, "narrow"), (WIDE, "wide")] {
            browser.look(size, scheme)?;
            browser.examine(&format!("{name}-{look}-{scheme}"))?;
            ensure!(browser.script(OVERFLOW)? == 0, "{name} is wider than the window");
        }
    }
    Ok(())
}

/// Goal: who types something wrong finds the form as it was sent, the cursor where it is to be corrected, and the reason
/// beside it; by keyboard alone, and clean by axe. Method: an administrator makes an organization, at the second try.
#[test]
fn a_form_is_corrected_by_keyboard() -> Result<()> {
    let Some((browser, site)) = start("a form that is refused")? else { return Ok(()) };
    browser.look(WIDE, "light")?;
    site.sign_in(&browser, "erin")?;
    browser.open(&format!("{}/admin", site.server.base))?;
    let summary = "document.evaluate(\"//summary[starts-with(., 'New organization')]\", document, null, 9, null)\
                   .singleNodeValue.focus()";
    browser.script(summary)?;
    browser.keys(&format!("{ENTER}{TAB}lab{TAB}alice nobody{ENTER}"))?;
    let refused = browser.text(".notice.bad")?;
    ensure!(refused.contains("no user nobody"), "{refused}");
    ensure!(browser.text("#wrong")?.contains("no user nobody"), "beside the form");
    ensure!(focus(&browser)? == "name", "{}", focus(&browser)?);
    examine(&browser, "70-refused")?;
    // What is tabbed to is chosen, so that it is typed over.
    browser.keys(&format!("{TAB}alice bob{ENTER}"))?;
    let done = browser.text(".notice.good")?;
    ensure!(done == "The organization was made.", "{done}");
    let organizations = site.data.run(&["organization", "list"])?;
    ensure!(organizations.contains("alice, bob"), "{organizations}");
    examine(&browser, "71-administration")?;
    site.stop(browser)
}

/// Goal: who owns a project makes a review of what a history shows, corrects it, and changes it; it is what was asked for.
/// Method: from the history to the review, with a mistake on the way; the command line says what there is.
#[test]
fn a_filter_becomes_a_review() -> Result<()> {
    let Some((browser, site)) = start("to make a review")? else { return Ok(()) };
    browser.look(WIDE, "light")?;
    site.sign_in(&browser, "dave")?;
    browser.open(&site.history("last=all&q=result:failed"))?;
    browser.click_text("Save as a review")?;
    browser.wait_for_url(|url| url.contains("/reviews?project="))?;
    let filter = browser.script("return document.querySelector('#new [name=filter]').value")?;
    let expected = "result:failed -class:system -class:monitor -class:retry";
    ensure!(filter == expected, "{filter}");
    browser.type_into("#new [name=name]", "failures")?;
    browser.script("document.querySelector('#new [name=time]').focus()")?;
    correct(&browser, &format!("soon{ENTER}"))?;
    ensure!(browser.text("#wrong")?.contains("is no time of a day"), "at its field");
    ensure!(focus(&browser)? == "time", "{}", focus(&browser)?);
    let name = browser.script("return document.querySelector('#new [name=name]').value")?;
    ensure!(name == "failures", "what was typed stays: {name}");
    examine(&browser, "72-review-refused")?;
    correct(&browser, &format!("09:30{ENTER}"))?;
    ensure!(browser.text(".notice.good")? == "The review was made.");
    let reviews: Vec<serde_json::Value> = site.data.json(&["review", "list"])?;
    ensure!(reviews.len() == 1 && reviews[0]["filter"] == expected, "{reviews:?}");
    ensure!(reviews[0]["due"] == "monday 09:30" && reviews[0]["zone"] == "UTC", "{reviews:?}");
    examine(&browser, "73-review-made")?;
    site.sign_in(&browser, "alice")?;
    browser.open(&site.page("/reviews", "times=utc"))?;
    ensure!(browser.text("main")?.contains("failures"), "she sees it");
    ensure!(browser.count("main form")? == 0, "and changes nothing");
    site.stop(browser)
}

//! How long pages take in a browser: what `cargo xtask bench page` runs, and nothing else does. Speed is
//! measured, and not tested.

use anyhow::{Context, Result};
use serde_json::json;

use super::support::browser::Browser;

/// Goal: figures that a user would agree with. Method: Chromium, which forgets everything before each load, opens
/// pages of a server that somebody filled, and says when the first frame was there after all of a page was.
#[test]
#[ignore = "needs a server that `cargo xtask bench page` has filled"]
fn how_long_pages_take() -> Result<()> {
    let given = |name: &str| std::env::var(name).with_context(|| name.to_owned());
    let url = given("DOORBOOK_PAGE_URL")?;
    let loads: usize = given("DOORBOOK_PAGE_LOADS")?.parse()?;
    let browser = Browser::start("the speed of the page")?.context("no browser")?;
    browser.look((1400, 950), "light")?;
    browser.open(&format!("{url}/sign-in"))?;
    browser.type_into("#user", &given("DOORBOOK_PAGE_USER")?)?;
    browser.type_into("#password", &given("DOORBOOK_PAGE_PASSWORD")?)?;
    browser.click("button[type=submit]")?;
    browser.wait_for_url(|url| !url.contains("/sign-in"))?;
    browser.note_frames()?;
    for path in given("DOORBOOK_PAGE_PATHS")?.lines() {
        let load = |_| browser.milliseconds_to_draw(&format!("{url}{path}"));
        let milliseconds = (0..loads).map(load).collect::<Result<Vec<f64>>>()?;
        println!("{}", json!({"path": path, "milliseconds": milliseconds}));
    }
    Ok(())
}

//! Array activity, as people look at it: arrays of the real `tiledb` package, watched where they are stored and told of by
//! the program that works them.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::site::{Site, start};
use super::{ENTER, NARROW, OVERFLOW, WIDE, number, rows_of};
use crate::support::browser::Browser;
use crate::support::process::{run, until};
use crate::support::tools::{self, left_out};

/// How often what was done with which array.
type Counts = BTreeMap<(String, String), u64>;

/// What the example of the documentation does with its array, as its list says, and that it is registered.
const OF_EXAMPLE: [(&str, u64); 7] = [
    ("create", 1),
    ("register", 1),
    ("query_write", 2),
    ("query_read", 1),
    ("query_delete", 1),
    ("consolidate", 1),
    ("vacuum", 1),
];

impl Site {
    /// Has the package do a part of the work where arrays are watched. Says what it did.
    fn work(&self, part: &str) -> Result<Counts> {
        #[derive(Deserialize)]
        struct Done {
            array: String,
            operation: String,
        }
        let python = tools::tiledb_python().context("there is one, or the test were left out")?;
        let mut client = Command::new(python);
        client.arg(tools::script("tiledb_storage.py")).arg(self.lake()?).arg(part);
        let mut counts = Counts::new();
        for line in run(&mut client)?.lines() {
            let Done { array, operation } = serde_json::from_str(line)?;
            *counts.entry((operation, array)).or_default() += 1;
        }
        Ok(counts)
    }

    /// Has the example make an array, work with it, and tell what it did, as alice.
    fn tell(&self) -> Result<Counts> {
        #[derive(Deserialize)]
        struct Token {
            token: String,
        }
        let python = tools::tiledb_python().context("there is one, or the test were left out")?;
        let Token { token } = self.data.json(&["token", "create", "--user", "alice"])?;
        let folder = self.data.folder().canonicalize()?.join("arrays/temperatures");
        let mut example = Command::new(python);
        example.arg(tools::workspace().join("examples/array_activity.py"));
        run(example.args([&self.server.base, "alice", &token]).arg(&folder))?;
        let count = |(action, n): (&str, u64)| ((action.to_owned(), "temperatures".to_owned()), n);
        Ok(OF_EXAMPLE.map(count).into())
    }
}

/// What the rows of a page are of.
fn shown(browser: &Browser) -> Result<Counts> {
    let mut counts = Counts::new();
    for row in rows_of(browser, ".rows tbody tr")? {
        let [_, action, array, ..] = &row[..] else { anyhow::bail!("a row of {row:?}") };
        *counts.entry((action.clone(), array.clone())).or_default() += 1;
    }
    Ok(counts)
}

/// Goal: what was done with arrays is what their page shows, once, in rows, facets and filters; who did it has a page; what
/// is done meanwhile is told; and nobody else sees any of it. Method: the real `tiledb` package works arrays that are
/// watched, and one that it tells of; its own list is the truth. By the keyboard.
#[test]
fn what_was_done_with_arrays_is_shown() -> Result<()> {
    const WHAT: &str = "array activity on the page";
    if tools::tiledb_python().is_none() {
        left_out(WHAT, "no Python environment with tiledb; `cargo xtask test` installs one");
        return Ok(());
    }
    let Some((browser, site)) = start(WHAT)? else { return Ok(()) };
    let mut done = site.work("work")?;
    for array in ["sparse", "group/dense"] {
        done.insert(("register".to_owned(), array.to_owned()), 1);
    }
    let told = site.tell()?;
    done.extend(told.clone());
    let total: u64 = done.values().sum();
    browser.look(WIDE, "light")?;
    site.sign_in(&browser, "alice")?;
    browser.tab_to(".choices a[href*='namespace=alice']")?;
    browser.keys(ENTER)?;
    browser.wait_for_url(|url| url.contains("/history?namespace=alice"))?;
    until("all that was done", || {
        let is_all = number(&browser.text(".total strong")?)? >= total;
        if !is_all {
            browser.open(&site.arrays("/history", ""))?;
        }
        Ok(is_all.then_some(()))
    })?;
    ensure!(shown(&browser)? == done, "{:#?}\nand not {done:#?}", shown(&browser)?);
    ensure!(number(&browser.text(".total strong")?)? == total, "another total");
    ensure!(browser.text("h1")? == "Array activity", "another page");
    // Of two arrays writes are watched, and of the third nothing.
    let headline = browser.text(".total")?;
    ensure!(headline.contains("at 3 places: no source"), "{headline}");
    browser.click("#gaps summary")?;
    let gaps = rows_of(&browser, "#gaps tbody tr")?;
    let reads = gaps.iter().filter(|gap| gap[2] == "reads not seen" && gap[1] == "it lasts");
    let places: Vec<&str> = reads.flat_map(|gap| gap[4].split(", ")).collect();
    ensure!(places.contains(&"sparse") && places.contains(&"group/dense"), "{gaps:#?}");
    browser.examine("90-arrays")?;

    // One array: by its name, though the address has its id.
    let of_sparse: u64 =
        done.iter().filter(|((_, array), _)| array == "sparse").map(|(_, n)| n).sum();
    let facets = rows_of(&browser, ".facet:first-child .value a")?;
    let facet =
        facets.iter().position(|facet| facet[0] == "sparse").context("sparse is a value")?;
    ensure!(number(&facets[facet][1])? == of_sparse, "{facets:?}");
    browser.tab_to(&format!(".facet:first-child .value:nth-child({}) a", facet + 1))?;
    browser.keys(ENTER)?;
    browser.wait_for_url(|url| url.contains("array="))?;
    ensure!(browser.text(".chip-value")? == "sparse", "{}", browser.text(".chips")?);
    ensure!(shown(&browser)?.values().sum::<u64>() == of_sparse, "{:#?}", shown(&browser)?);
    ensure!(shown(&browser)?.keys().all(|(_, array)| array == "sparse"), "{:#?}", shown(&browser)?);
    browser.tab_to("#q")?;
    browser.keys(&format!("action:query_write{ENTER}"))?;
    browser.wait_for_url(|url| url.contains("q=action"))?;
    let writes = Counts::from([(("query_write".to_owned(), "sparse".to_owned()), 3)]);
    ensure!(shown(&browser)? == writes, "{:#?}", shown(&browser)?);
    browser.tab_to(".rows tbody tr:first-child a.open")?;
    browser.keys(ENTER)?;
    browser.wait_for_url(|url| url.contains("/history/"))?;
    let detail = browser.text(".detail")?;
    ensure!(detail.contains("__commits") && detail.contains("no line of its own"), "{detail}");
    browser.examine("91-array-event")?;

    // Who did what is known of the array that was told of.
    browser.open(&site.arrays("/history", "user=alice"))?;
    let of_alice = shown(&browser)?;
    ensure!(of_alice == told, "{of_alice:#?}\nand not {told:#?}");
    browser.tab_to(".rows tbody tr:first-child .who-link")?;
    browser.keys(ENTER)?;
    browser.wait_for_url(|url| url.contains("/principals/alice?"))?;
    let count: u64 = told.values().sum();
    let facts = browser.text("main")?;
    ensure!(facts.contains(&format!("{count} events")), "{count} in {facts}");
    browser.examine("92-array-principal")?;

    browser.open(&site.arrays("/history", "last=1h"))?;
    site.work("evolve")?;
    until("the line that tells of it", || {
        Ok((browser.text("#newer")? == "2 new events").then_some(()))
    })?;
    ensure!(number(&browser.text(".total strong")?)? == total, "the page moved");
    browser.tab_to("#newer a")?;
    browser.keys(ENTER)?;
    until("the newer events", || {
        Ok((number(&browser.text(".total strong")?)? == total + 2).then_some(()))
    })?;

    for (scheme, suffix) in [("light", ""), ("dark", "-dark")] {
        for (size, look) in [(WIDE, "wide"), (NARROW, "narrow")] {
            browser.look(size, scheme)?;
            for (name, path) in [
                ("93-arrays", "/history"),
                ("94-array-principals", "/principals"),
                ("95-array-sources", "/sources"),
            ] {
                browser.open(&site.arrays(path, ""))?;
                browser.examine(&format!("{name}-{look}{suffix}"))?;
                ensure!(browser.script(OVERFLOW)? == 0, "{name} is wider than the window");
            }
        }
    }
    browser.look(WIDE, "light")?;
    for name in ["bob", "dave"] {
        site.sign_in(&browser, name)?;
        for path in ["/history", "/principals", "/sources"] {
            browser.open(&site.arrays(path, ""))?;
            let main = browser.text("main")?;
            ensure!(browser.count("table")? == 0 && !main.contains("sparse"), "{name}: {main}");
        }
    }
    site.stop(browser)
}

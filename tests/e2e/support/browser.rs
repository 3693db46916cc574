//! A real Chromium, driven by WebDriver: the few commands of it that these tests need.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::http::Connection;
use super::process::{Running, command, until};
use super::tools;

/// The folder for photographs, if somebody wants some: set by `cargo xtask shots`.
const SHOTS_VAR: &str = "DOORBOOK_SHOTS";

/// What WebDriver calls an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window. It ends when dropped.
pub struct Browser {
    base: String,
    session: String,
    axe: String,
    downloads: PathBuf,
    _profile: tempfile::TempDir,
    _driver: Running,
}

impl Browser {
    /// Starts one; `None`, with a word, where there is none.
    pub fn start(what: &str) -> Result<Option<Browser>> {
        let Some((driver, axe)) = tools::browser() else {
            tools::left_out(what, "no Chromium, driver or axe; `cargo xtask test` installs them");
            return Ok(None);
        };
        let profile = tempfile::TempDir::with_prefix("doorbook-browser-")?;
        let mut driver = Running::start(&mut command(driver, ["--port=0"]))?;
        let port = driver.wait_for(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        })?;
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--window-size=1400,950".to_owned(),
            "--lang=en".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        // Chromium's sandbox wants a user who is not root.
        if rustix::process::geteuid().is_root() {
            arguments.push("--no-sandbox".to_owned());
        }
        let downloads = profile.path().join("downloads");
        std::fs::create_dir(&downloads)?;
        let preferences = json!({"download.default_directory": downloads});
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments, "prefs": preferences},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let base = format!("http://127.0.0.1:{port}");
        let answer = ask(&base, "POST", "/session", &capabilities)?;
        let session = answer["sessionId"].as_str().context("a session")?.to_owned();
        let axe = std::fs::read_to_string(axe)?;
        Ok(Some(Browser { base, session, axe, downloads, _profile: profile, _driver: driver }))
    }

    /// Opens an address, and waits until it is there.
    pub fn open(&self, url: &str) -> Result<()> {
        self.ask("POST", "/url", &json!({"url": url})).map(drop)
    }

    /// Where it is.
    pub fn url(&self) -> Result<String> {
        let url = self.ask("GET", "/url", &Value::Null)?;
        Ok(url.as_str().context("an address")?.to_owned())
    }

    /// What a script returns.
    pub fn script(&self, script: &str) -> Result<Value> {
        self.ask("POST", "/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The visible text of the first element that a selector finds.
    pub fn text(&self, selector: &str) -> Result<String> {
        let text = self.on(selector, "GET", "text", &Value::Null)?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// How many elements a selector finds.
    pub fn count(&self, selector: &str) -> Result<u64> {
        let counted =
            self.script(&format!("return document.querySelectorAll({selector:?}).length"))?;
        counted.as_u64().context("a number")
    }

    /// Clicks on an element, and waits for the page that it leads to, if it does.
    pub fn click(&self, selector: &str) -> Result<()> {
        self.on(selector, "POST", "click", &json!({})).map(drop)
    }

    /// Clicks on the link or button with a text.
    pub fn click_text(&self, text: &str) -> Result<()> {
        let script = format!(
            "const all = [...document.querySelectorAll('a, button, summary')];\
             document.querySelectorAll('[data-test]').forEach(e => e.removeAttribute('data-test'));\
             const found = all.find(e => e.textContent.trim().startsWith({text:?}));\
             if (found) found.setAttribute('data-test', '');\
             return Boolean(found)"
        );
        let found = self.script(&script)?;
        ensure!(found == true, "nothing to click says {text:?} at {}", self.url()?);
        self.click("[data-test]")
    }

    /// Types into an element, as keys.
    pub fn type_into(&self, selector: &str, text: &str) -> Result<()> {
        self.on(selector, "POST", "value", &json!({"text": text})).map(drop)
    }

    /// Types into whatever has the focus.
    pub fn keys(&self, text: &str) -> Result<()> {
        let press = |c: char| {
            let key = c.to_string();
            [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
        };
        let keys: Vec<Value> = text.chars().flat_map(press).collect();
        let actions = json!({"actions": [{"type": "key", "id": "keys", "actions": keys}]});
        self.ask("POST", "/actions", &actions).map(drop)
    }

    /// Goes on with the Tab key until an element has the focus that a selector finds.
    pub fn tab_to(&self, selector: &str) -> Result<()> {
        const STOPS_MAX: usize = 400;
        let is_there = format!("return document.activeElement.matches({selector:?})");
        for _ in 0..STOPS_MAX {
            self.keys("\u{e004}")?;
            if self.script(&is_there)? == true {
                return Ok(());
            }
        }
        anyhow::bail!("the Tab key does not lead to {selector} at {}", self.url()?)
    }

    /// The file that the browser saved, when it is whole; it is taken away from there.
    pub fn downloaded(&self, to: &Path) -> Result<PathBuf> {
        let saved = until("a file that was saved", || {
            let files = std::fs::read_dir(&self.downloads)?;
            let files = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
            // While it is being written there are others beside it.
            let is_whole = |file: &PathBuf| file.extension().is_some_and(|end| end == "zip");
            Ok(match &files[..] {
                [only] if is_whole(only) => Some(only.clone()),
                _ => None,
            })
        })?;
        let kept = to.join(saved.file_name().context("a file has a name")?);
        std::fs::copy(&saved, &kept)?;
        std::fs::remove_file(saved)?;
        Ok(kept)
    }

    /// The texts of all elements that a selector finds, as they are and not as they are laid out.
    pub fn texts(&self, selector: &str) -> Result<Vec<String>> {
        let script = format!(
            "return [...document.querySelectorAll({selector:?})].map(found => found.textContent)"
        );
        Ok(serde_json::from_value(self.script(&script)?)?)
    }

    /// Draws over an element from one part of its width to another.
    pub fn drag(&self, selector: &str, from: f64, to: f64) -> Result<()> {
        let element = self.find(selector)?;
        let width = self.script(&format!(
            "return document.querySelector({selector:?}).getBoundingClientRect().width"
        ))?;
        let width = width.as_f64().context("a width")?;
        // The origin is the middle of the element.
        let x = |part: f64| ((part - 0.5) * width).round() as i64;
        let to_element = |part: f64| {
            json!({"type": "pointerMove", "x": x(part), "y": 0, "duration": 50,
                   "origin": {ELEMENT: element}})
        };
        let actions = json!({"actions": [{"type": "pointer", "id": "mouse", "actions": [
            to_element(from), {"type": "pointerDown", "button": 0},
            to_element((from + to) / 2.0), to_element(to), {"type": "pointerUp", "button": 0},
        ]}]});
        self.ask("POST", "/actions", &actions).map(drop)
    }

    /// Waits until the page is at an address that fits.
    pub fn wait_for_url(&self, fits: impl Fn(&str) -> bool) -> Result<String> {
        until("a change of the address", || {
            let url = self.url()?;
            Ok(fits(&url).then_some(url))
        })
    }

    /// Forgets who is signed in.
    pub fn forget(&self) -> Result<()> {
        self.ask("DELETE", "/cookie", &Value::Null).map(drop)
    }

    /// A window of this size, on a screen of this brightness, in this time zone.
    pub fn look(&self, (width, height): (u32, u32), scheme: &str) -> Result<()> {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics)?;
        let scheme =
            json!({"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &scheme)?;
        self.devtools("Emulation.setTimezoneOverride", &json!({"timezoneId": "Europe/Berlin"}))?;
        Ok(())
    }

    /// The page as it would be printed.
    pub fn look_on_paper(&self) -> Result<()> {
        self.devtools("Emulation.setEmulatedMedia", &json!({"media": "print"})).map(drop)
    }

    /// Demands that the page has no fault that axe can find, and that nothing was refused or failed in
    /// it; photographs it if somebody wants that.
    pub fn examine(&self, name: &str) -> Result<()> {
        self.photograph_if_wanted(name)?;
        let script = format!(
            "{}; const done = arguments[arguments.length - 1];\
             axe.run(document, {{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}})\
               .then(found => done(found.violations.map(v => \
                 v.id + ': ' + v.nodes.map(n => n.html.slice(0, 200) + ' ' + n.failureSummary).join(' | '))))\
               .catch(error => done([String(error)]));",
            self.axe
        );
        let found = self.ask("POST", "/execute/async", &json!({"script": script, "args": []}))?;
        ensure!(found == json!([]), "{name}: axe says {found:#}");
        let said = self.ask("POST", "/se/log", &json!({"type": "browser"}))?;
        let said: Vec<&Value> = said
            .as_array()
            .into_iter()
            .flatten()
            // A page that says 404 is a page.
            .filter(|line| line["source"] != "network")
            .collect();
        ensure!(said.is_empty(), "{name}: the browser says {said:#?}");
        Ok(())
    }

    /// Has every page from now on note the first frame after all of it was there.
    pub fn note_frames(&self) -> Result<()> {
        let source = "addEventListener('load', () => requestAnimationFrame(() => setTimeout(() => { \
                      window.doorbookDrawn = performance.now(); })));";
        let script = json!({"source": source});
        self.devtools("Page.addScriptToEvaluateOnNewDocument", &script).map(drop)
    }

    /// How long an address takes from the navigation to that frame, with nothing cached.
    pub fn milliseconds_to_draw(&self, url: &str) -> Result<f64> {
        self.devtools("Network.clearBrowserCache", &json!({}))?;
        self.open(url)?;
        until("a frame of all of the page", || {
            Ok(self.script("return window.doorbookDrawn")?.as_f64())
        })
    }

    /// Photographs the page, if somebody wants that.
    pub fn photograph_if_wanted(&self, name: &str) -> Result<()> {
        match std::env::var_os(SHOTS_VAR) {
            Some(folder) => self.photograph(&PathBuf::from(folder).join(format!("{name}.png"))),
            None => Ok(()),
        }
    }

    fn photograph(&self, file: &Path) -> Result<()> {
        let taken = self.devtools("Page.captureScreenshot", &json!({"format": "png"}))?;
        let data = taken["data"].as_str().context("a photograph")?;
        use base64::Engine;
        let png = base64::engine::general_purpose::STANDARD.decode(data)?;
        std::fs::write(file, png).with_context(|| format!("cannot write {}", file.display()))
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Result<Value> {
        self.ask("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// Has an element do something, as soon as there is one: a key that sends a form does not wait for the next page, which
    /// also takes away what was found just before.
    fn on(&self, selector: &str, method: &str, what: &str, body: &Value) -> Result<Value> {
        until(&format!("{what} of {selector}"), || {
            let done = self
                .find(selector)
                .and_then(|element| self.ask(method, &format!("/element/{element}/{what}"), body));
            match done {
                Err(error) if is_not_there(&error) => Ok(None),
                done => done.map(Some),
            }
        })
        .with_context(|| format!("at {:?}", self.url()))
    }

    fn find(&self, selector: &str) -> Result<String> {
        let by = json!({"using": "css selector", "value": selector});
        let found = self.ask("POST", "/element", &by)?;
        Ok(found[ELEMENT].as_str().context("an element")?.to_owned())
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        ask(&self.base, method, &format!("/session/{}{path}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser when the session ends, and only then.
        let _ = self.ask("DELETE", "", &Value::Null);
    }
}

fn is_not_there(error: &anyhow::Error) -> bool {
    let why = error.to_string();
    ["no such element", "stale element reference"].iter().any(|what| why.contains(what))
}

fn ask(base: &str, method: &str, path: &str, body: &Value) -> Result<Value> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = [("Content-Type", "application/json")];
    let reply = Connection::to(base)?.send(method, path, ("", ""), &headers, &body)?;
    let mut answer: Value = serde_json::from_str(&reply.body)?;
    ensure!(reply.status == 200, "{method} {path}: {}", answer["value"]["message"]);
    Ok(answer["value"].take())
}

//! [`Window`]: the time that a page is about.

use doorbook_event::Timestamp;
use maud::{Markup, html};

use super::params::Params;
use super::when;
use crate::api::native::problem::Problem;

/// From when to when, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// [`Timestamp::MIN`] for as long as there is anything.
    pub from: Timestamp,
    /// [`Timestamp::MAX`] for without an end.
    pub to: Timestamp,
    /// The word of `last`, where it is one that moves with time.
    pub last: Option<&'static str>,
}

/// The words of `last`, with their length; 0 is all.
const LAST: [(&str, &str, i64); 5] = [
    ("1h", "1 h", 3600),
    ("24h", "24 h", 86_400),
    ("7d", "7 d", 7 * 86_400),
    ("30d", "30 d", 30 * 86_400),
    ("all", "All", 0),
];

/// What a page is about if nothing is said.
const DEFAULT: &str = "24h";

impl Window {
    /// As an address says it.
    pub fn of(params: &Params, now: Timestamp) -> Result<Window, Problem> {
        let read = |name: &str| {
            let wrong = |_| Problem::invalid_parameter(name, "a time such as 2026-11-23T02:45:14Z");
            params.get(name).map(|text| text.parse::<Timestamp>().map_err(wrong)).transpose()
        };
        let (from, to) = (read("from")?, read("to")?);
        if from.is_some() || to.is_some() {
            let from = from.unwrap_or(Timestamp::MIN);
            return Ok(Window { from, to: to.unwrap_or(Timestamp::MAX), last: None });
        }
        let word = params.get("last").unwrap_or(DEFAULT);
        let Some((word, _, seconds)) = LAST.iter().find(|(known, ..)| *known == word) else {
            let words = LAST.map(|(word, ..)| word).join(", ");
            return Err(Problem::invalid_parameter("last", format!("one of {words}")));
        };
        let (from, to) = match seconds {
            0 => (Timestamp::MIN, Timestamp::MAX),
            seconds => (now.plus_seconds(-seconds), now),
        };
        Ok(Window { from, to, last: Some(word) })
    }

    /// As long as there is anything.
    pub fn all() -> Window {
        Window { from: Timestamp::MIN, to: Timestamp::MAX, last: Some("all") }
    }

    /// Whether both ends are known.
    pub fn is_closed(&self) -> bool {
        self.from > Timestamp::MIN && self.to < Timestamp::MAX
    }

    /// The parameters with this window, fixed, and at the first page.
    pub fn fixed(params: &Params, from: Timestamp, to: Timestamp) -> Params {
        let mut fixed = params.without(&["last", "from", "to", "cursor"]);
        if from > Timestamp::MIN {
            fixed = fixed.and("from", &from.to_string());
        }
        match to < Timestamp::MAX {
            true => fixed.and("to", &to.to_string()),
            // Without any end it would be the default window.
            false if from == Timestamp::MIN => fixed.and("last", "all"),
            false => fixed,
        }
    }

    /// The links to other windows.
    pub fn choices(&self, params: &Params, path: &str) -> Markup {
        let bare = params.without(&["from", "to", "cursor", "as_of"]);
        let moved = |by: i64| {
            let (from, to) = (self.from.plus_micros(by), self.to.plus_micros(by));
            Window::fixed(params, from, to).without(&["as_of"]).href(path)
        };
        let width = self.to.micros().saturating_sub(self.from.micros()).max(1);
        html! {
            div.segments role="group" aria-label="Window" {
                @for (word, label, _) in LAST {
                    a href=(bare.set("last", word).href(path))
                        aria-current=[(self.last == Some(word)).then_some("true")] { (label) }
                }
            }
            @if self.is_closed() {
                div.segments role="group" aria-label="Move the window" {
                    a href=(moved(-width)) { "← Earlier" }
                    a href=(moved(width)) { "Later →" }
                    a href=({
                        let (from, to) = (self.from.plus_micros(-width), self.to.plus_micros(width));
                        Window::fixed(params, from, to).without(&["as_of"]).href(path)
                    }) { "Wider" }
                }
            }
        }
    }

    /// In words.
    pub fn told(&self) -> Markup {
        html! {
            @match (self.from > Timestamp::MIN, self.to < Timestamp::MAX) {
                (true, true) => { (when::to_the_second(self.from)) " to " (when::to_the_second(self.to)) }
                (true, false) => { "since " (when::to_the_second(self.from)) }
                (false, true) => { "up to " (when::to_the_second(self.to)) }
                (false, false) => { "all time" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_read_from_an_address() {
        let now = Timestamp::from_seconds(1_700_000_000);
        let read = |text: &str| {
            let window = Window::of(&Params::parse(text).expect("readable"), now);
            window.map(|window| (window.from, window.to, window.last)).ok()
        };
        assert_eq!(read(""), Some((now.plus_seconds(-86_400), now, Some("24h"))));
        assert_eq!(read("last=1h"), Some((now.plus_seconds(-3600), now, Some("1h"))));
        assert_eq!(read("last=all"), Some((Timestamp::MIN, Timestamp::MAX, Some("all"))));
        let from = "2023-11-14T00:00:00Z".parse().expect("a time");
        assert_eq!(read("from=2023-11-14T00:00:00Z&last=1h"), Some((from, Timestamp::MAX, None)));
        assert_eq!(read("from=yesterday"), None);
        assert_eq!(read("last=2h"), None);
        let params = Params::parse("a=1&last=7d&cursor=x").expect("readable");
        let fixed = Window::fixed(&params, Timestamp::MIN, Timestamp::MAX);
        assert_eq!(fixed.text(), "a=1&last=all");
        assert_eq!(
            Window::fixed(&params, from, Timestamp::MAX).text(),
            "a=1&from=2023-11-14T00:00:00Z"
        );
    }
}

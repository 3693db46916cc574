//! The histogram: how many, when, with what nobody saw. An SVG of our own, and the table behind it.
//!
//! Places along the time are percentages and heights are pixels, so that it fits every width without
//! a script and its texts are not stretched. Screen readers have the table.

use doorbook_event::Timestamp;
use doorbook_event::record::Grade;
use doorbook_store::filter::Bar;
use doorbook_store::{Answer, Filter, Store};
use maud::{Markup, html};

use super::gaps::Gaps;
use super::params::Params;
use super::when::{self, count};
use super::window::Window;
use crate::api::native::problem::Problem;

/// What the chart shows.
pub struct Chart {
    /// The stretches that hold any row.
    bars: Vec<Bar>,
    width_seconds: i64,
    from: Timestamp,
    to: Timestamp,
    gaps: Gaps,
    /// From when to when nothing is known yet, where that is more than a source's usual lag.
    unread: Option<(Timestamp, Timestamp)>,
}

const WIDTHS_SECONDS: [i64; 22] = [
    1, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400,
    172_800, 604_800, 1_209_600, 2_592_000, 7_776_000, 31_536_000,
];
const BARS_MAX: i64 = 100;
const DAY_SECONDS: i64 = 86_400;

const HEIGHT: i64 = 190;
const TOP: i64 = 14;
const BOTTOM: i64 = 24;
const PLOT: i64 = HEIGHT - TOP - BOTTOM;

/// What time a chart shows, and how long each bar is.
#[derive(Clone, Copy)]
pub struct Stretch {
    from: Timestamp,
    to: Timestamp,
    width_seconds: i64,
}

impl Stretch {
    /// The window; one that is open is as long as what is in it.
    pub fn of(
        store: &Store,
        filter: &Filter,
        window: &Window,
        now: Timestamp,
    ) -> Result<Stretch, Problem> {
        let (from, to) = match window.is_closed() {
            true => (window.from, window.to),
            false => {
                let days = store.histogram(filter, DAY_SECONDS * 1_000_000)?.bars;
                let first = days.first().map_or(now.plus_seconds(-DAY_SECONDS), |bar| bar.from);
                let last = days.last().map_or(now, |bar| bar.from.plus_seconds(DAY_SECONDS));
                (first.max(window.from), last.min(window.to).max(first.plus_seconds(1)))
            }
        };
        Ok(Stretch { from, to, width_seconds: width_for(from, to) })
    }

    pub const fn width_micros(self) -> i64 {
        self.width_seconds * 1_000_000
    }
}

impl Chart {
    /// Of the bars that were counted.
    pub fn of(
        stretch: Stretch,
        bars: Vec<Bar>,
        (coverage, now): (&Answer, Timestamp),
        name_of: &dyn Fn(&str, &str) -> String,
    ) -> Chart {
        let Stretch { from, to, width_seconds } = stretch;
        let unread = unread(coverage, from, to.min(now));
        Chart { bars, width_seconds, from, to, gaps: Gaps::of(coverage, name_of), unread }
    }

    /// The chart, and the tables behind it.
    pub fn show(&self, params: &Params) -> Markup {
        html! {
            figure.chart {
                (self.legend())
                svg.histogram width="100%" height=(HEIGHT) aria-hidden="true" focusable="false"
                    data-from=(self.from.millis()) data-to=(self.to.millis())
                    data-top=(TOP) data-plot=(PLOT) {
                    (patterns())
                    (self.bands())
                    (self.scale())
                    @for bar in &self.bars { (self.bar(bar, params)) }
                    (self.ticks())
                    rect.brush x="0" y=(TOP) width="0" height=(PLOT) {}
                }
                (self.tables(params))
            }
        }
    }

    fn legend(&self) -> Markup {
        let swatch = |class: &str| {
            html! {
                svg.swatch width="14" height="12" aria-hidden="true" {
                    rect class=(class) x="0.5" y="0.5" width="13" height="11" {}
                    @if class == "failure" { rect x="0.5" y="0.5" width="13" height="11" fill="url(#dots)" {} }
                }
            }
        };
        let is_unknown = self.bars.iter().any(|bar| bar.unknown > 0);
        let has = |grade: Grade| self.gaps.iter().any(|gap| gap.grade == grade);
        html! {
            figcaption.legend {
                span { (swatch("success")) "Success" }
                span { (swatch("failure")) "Failure" }
                @if is_unknown { span { (swatch("unknown")) "Not said" } }
                @if has(Grade::Blind) { span { (swatch("blind")) "Not seen" } }
                @if self.unread.is_some() { span { (swatch("unread")) "Not known yet" } }
                @if has(Grade::BestEffort) { span { (swatch("doubt")) "Not surely seen" } }
                span.hint.brush-hint { "One bar is " (in_words(self.width_seconds)) "." }
            }
        }
    }

    /// Where an instant is, in percent of the width.
    fn x(&self, at: Timestamp) -> f64 {
        let whole = (self.to.micros() - self.from.micros()).max(1) as f64;
        let part = at.micros().saturating_sub(self.from.micros()) as f64;
        (100.0 * part / whole).clamp(0.0, 100.0)
    }

    fn highest(&self) -> u64 {
        let most = self.bars.iter().map(total).max().unwrap_or(0).max(1);
        // The next of 1, 2, 4, 5, 10 and their tens: the middle is a number, too.
        let ten = 10_u64.pow(most.ilog10());
        let steps = [ten, 2 * ten, 4 * ten, 5 * ten, 10 * ten];
        steps.into_iter().find(|step| *step >= most).unwrap_or(10 * ten).max(2)
    }

    fn bands(&self) -> Markup {
        html! {
            @if let Some((from, to)) = self.unread {
                g {
                    rect.unread x=(percent(self.x(from))) y=(TOP) height=(PLOT)
                        width=(percent(self.x(to) - self.x(from))) {}
                    title { "Not known yet: nothing later was read" }
                }
            }
            @for gap in self.gaps.iter() {
                @let (left, right) = (self.x(gap.from), self.x(gap.to.unwrap_or(Timestamp::MAX)));
                @if right > left {
                    @let class = if gap.grade == Grade::Blind { "blind" } else { "doubt" };
                    g {
                        rect class=(class) x=(percent(left)) y=(TOP) height=(PLOT)
                            width=(percent((right - left).max(0.15))) {}
                        title { (gap.title()) }
                    }
                }
            }
        }
    }

    fn scale(&self) -> Markup {
        let highest = self.highest();
        html! {
            @for part in [highest, highest / 2] {
                @let y = TOP + PLOT - scaled(part, highest);
                line.grid x1="0" x2="100%" y1=(y) y2=(y) {}
                text.scale x="2" y=(y - 3) { (count(part)) }
            }
            line.axis x1="0" x2="100%" y1=(TOP + PLOT) y2=(TOP + PLOT) {}
        }
    }

    fn bar(&self, bar: &Bar, params: &Params) -> Markup {
        let end = bar.from.plus_seconds(self.width_seconds);
        let (left, right) = at_least_seen(self.x(bar.from), self.x(end));
        let width = (right - left) * 0.86;
        let highest = self.highest();
        let base = TOP + PLOT;
        let failures = at_least_one(bar.failures, highest);
        let successes = at_least_one(bar.successes, highest);
        let unknown = at_least_one(bar.unknown, highest);
        let part = |class: &str, y: i64, height: i64| {
            html! {
                @if height > 0 {
                    rect class=(class) x=(percent(left)) y=(y) width=(percent(width)) height=(height) {}
                }
            }
        };
        html! {
            a href=(self.zoom(bar, params)) tabindex="-1" {
                title { (bar_title(bar)) }
                rect.hit x=(percent(left)) y=(TOP) width=(percent(right - left)) height=(PLOT) {}
                (part("failure", base - failures, failures))
                @if failures > 0 {
                    rect x=(percent(left)) y=(base - failures) width=(percent(width))
                        height=(failures) fill="url(#dots)" {}
                }
                (part("success", base - failures - successes, successes))
                (part("unknown", base - failures - successes - unknown, unknown))
            }
        }
    }

    fn zoom(&self, bar: &Bar, params: &Params) -> String {
        let last = bar.from.plus_seconds(self.width_seconds).plus_micros(-1);
        Window::fixed(params, bar.from.max(self.from), last.min(self.to)).href("/history")
    }

    fn ticks(&self) -> Markup {
        let seconds = (self.to.micros() - self.from.micros()) / 1_000_000;
        let step = WIDTHS_SECONDS.into_iter().find(|step| seconds / step <= 7);
        let step = step.unwrap_or(31_536_000 * (seconds / 31_536_000 / 7).max(1));
        let first = self.from.micros().div_euclid(step * 1_000_000) + 1;
        let ticks = (first..).map(|n| Timestamp::from_micros(n.saturating_mul(step * 1_000_000)));
        let ticks: Vec<Timestamp> = ticks.take(16).take_while(|at| *at < self.to).collect();
        let form = match step {
            DAY_SECONDS.. => ("%d %b %Y", "day"),
            60.. => ("%d %b %H:%M", "minute"),
            _ => ("%H:%M:%S", "time"),
        };
        html! {
            @for (n, at) in ticks.iter().enumerate() {
                @let x = self.x(*at);
                @if (4.0..=96.0).contains(&x) {
                    line.tick x1=(percent(x)) x2=(percent(x)) y1=(TOP + PLOT) y2=(TOP + PLOT + 4) {}
                    text class=(if n % 2 == 1 { "tick odd" } else { "tick" }) x=(percent(x)) y=(HEIGHT - 6)
                        text-anchor="middle" data-time=(at) data-form=(form.1) {
                        (at.to_jiff().strftime(form.0).to_string())
                    }
                }
            }
        }
    }

    fn tables(&self, params: &Params) -> Markup {
        html! {
            details.behind {
                summary { "The chart as a table" }
                @if self.bars.is_empty() { p { "No events." } } @else {
                    div.scroll tabindex="0" role="region" aria-label="Events by time" {
                        table {
                            thead { tr {
                                th scope="col" { "From" } th.num scope="col" { "Success" }
                                th.num scope="col" { "Failure" } th.num scope="col" { "Not said" }
                            } }
                            tbody {
                                @for bar in &self.bars {
                                    tr {
                                        th scope="row" {
                                            a href=(self.zoom(bar, params)) { (when::to_the_second(bar.from)) }
                                        }
                                        td.num { (count(bar.successes)) }
                                        td.num { (count(bar.failures)) }
                                        td.num { (count(bar.unknown)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            (self.gaps.table(params, "/history"))
        }
    }
}

/// What was not read yet, if it can be seen at all in a chart of this length.
fn unread(coverage: &Answer, from: Timestamp, to: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let through = coverage.through?.max(from);
    let is_wide = to.micros() - through.micros() > (to.micros() - from.micros()) / 100;
    is_wide.then_some((through, to))
}

fn patterns() -> Markup {
    html! {
        defs {
            pattern #hatch width="8" height="8" patternUnits="userSpaceOnUse"
                patternTransform="rotate(45)" {
                rect.hatch-ground width="8" height="8" {}
                line.hatch-line x1="0" y1="0" x2="0" y2="8" {}
            }
            pattern #hatch-thin width="8" height="8" patternUnits="userSpaceOnUse"
                patternTransform="rotate(-45)" {
                line.hatch-line.thin x1="0" y1="0" x2="0" y2="8" {}
            }
            pattern #dots width="4" height="4" patternUnits="userSpaceOnUse" {
                circle.dot cx="1" cy="1" r="0.8" {}
            }
        }
    }
}

fn bar_title(bar: &Bar) -> String {
    let from = bar.from.to_jiff().strftime("%Y-%m-%d %H:%M:%S");
    let unknown = match bar.unknown {
        0 => String::new(),
        n => format!(", {} not said", count(n)),
    };
    format!("{from}: {} success, {} failure{unknown}", count(bar.successes), count(bar.failures))
}

const fn total(bar: &Bar) -> u64 {
    bar.successes + bar.failures + bar.unknown
}

fn scaled(number: u64, highest: u64) -> i64 {
    (number as f64 / highest as f64 * PLOT as f64).round() as i64
}

/// One failure beside thousands of successes is what is looked for.
fn at_least_one(number: u64, highest: u64) -> i64 {
    if number == 0 { 0 } else { scaled(number, highest).max(2) }
}

/// A bar that the window cuts off may be the newest of all: it is never thinner than can be seen and hit.
fn at_least_seen(left: f64, right: f64) -> (f64, f64) {
    const LEAST: f64 = 0.6;
    match right - left < LEAST {
        true if left < LEAST => (left, left + LEAST),
        true => (right - LEAST, right),
        false => (left, right),
    }
}

fn percent(number: f64) -> String {
    format!("{number:.3}%")
}

fn width_for(from: Timestamp, to: Timestamp) -> i64 {
    let seconds = to.micros().saturating_sub(from.micros()) / 1_000_000;
    let fits = WIDTHS_SECONDS.into_iter().find(|width| seconds / width < BARS_MAX);
    fits.unwrap_or_else(|| (seconds / BARS_MAX / 31_536_000 + 1) * 31_536_000)
}

fn in_words(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        86_400 => "a day".to_owned(),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(bars: &[(i64, u64, u64)], seconds: i64) -> Chart {
        let from = Timestamp::from_seconds(1_700_000_000);
        let bars = bars.iter().map(|(at, successes, failures)| Bar {
            from: from.plus_seconds(*at),
            successes: *successes,
            failures: *failures,
            unknown: 0,
        });
        let to = from.plus_seconds(seconds);
        let width_seconds = width_for(from, to);
        Chart { bars: bars.collect(), width_seconds, from, to, gaps: Gaps::default(), unread: None }
    }

    #[test]
    fn a_window_of_any_length_has_no_more_bars_than_can_be_seen() {
        for seconds in [0, 1, 60, 3600, 86_400, 604_800, 40_000_000, 300_000_000_000] {
            let from = Timestamp::MIN;
            let width = width_for(from, from.plus_seconds(seconds));
            assert!(seconds / width <= BARS_MAX, "{seconds}: {width}");
        }
        assert_eq!(width_for(Timestamp::MIN, Timestamp::MIN.plus_seconds(86_399)), 900);
    }

    #[test]
    fn the_scale_ends_at_a_round_number() {
        for (most, highest) in [(0, 2), (1, 2), (3, 4), (6, 10), (7, 10), (11, 20), (499, 500)] {
            assert_eq!(chart(&[(0, most, 0)], 3600).highest(), highest, "{most}");
        }
    }

    #[test]
    fn the_newest_bar_is_seen_though_it_has_just_begun() {
        let svg = chart(&[(3599, 3, 0)], 3600).show(&Params::default()).0;
        assert!(svg.contains("<rect class=\"success\" x=\"99.400%\""), "{svg}");
        assert!(svg.contains("width=\"0.516%\""), "{svg}");
    }

    #[test]
    fn a_single_failure_is_seen_beside_thousands() {
        let svg = chart(&[(0, 100_000, 1)], 3600).show(&Params::default()).0;
        assert!(svg.contains("<rect class=\"failure\" x=\"0.000%\" y=\"164\""), "{svg}");
        assert!(svg.contains("100,000 success, 1 failure"));
        assert!(!svg.contains("style="), "the policy forbids inline styles");
    }
}

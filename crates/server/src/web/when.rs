//! Instants as people read them.

use doorbook_event::Timestamp;
use maud::{Markup, html};

/// An instant: absolute, in UTC until the script of a page with `zone=local` says it in the browser's
/// zone.
pub fn instant(at: Timestamp) -> Markup {
    html! { time datetime=(at) data-form="full" { (full(at)) } }
}

/// The same to the second, for sentences.
pub fn to_the_second(at: Timestamp) -> Markup {
    let text = at.to_jiff().strftime("%Y-%m-%d %H:%M:%S").to_string();
    html! { time datetime=(at) data-form="second" { (text) } }
}

/// How long ago it was, or how far it is off.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.micros().saturating_sub(at.micros()).div_euclid(1_000_000);
    let amount = |seconds: i64| match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        172_800..63_072_000 => format!("{} d", seconds / 86_400),
        _ => format!("{} y", seconds / 31_536_000),
    };
    match seconds {
        0.. => format!("{} ago", amount(seconds)),
        _ => format!("in {}", amount(-seconds)),
    }
}

/// `2026-11-23 02:45:14.123`, and microseconds where they say anything.
pub fn full(at: Timestamp) -> String {
    let digits = if at.micros().rem_euclid(1000) == 0 { "%3f" } else { "%6f" };
    at.to_jiff().strftime(&format!("%Y-%m-%d %H:%M:%S.{digits}")).to_string()
}

/// Digits in groups of three: `12,431`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).expect("digits are ASCII"))
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!(
            [0, 999, 1000, 12_431, 1_000_000].map(count),
            ["0", "999", "1,000", "12,431", "1,000,000"]
        );
        let now = Timestamp::from_seconds(1_000_000_000);
        let check = |seconds: i64, expected: &str| {
            assert_eq!(ago(now.plus_seconds(-seconds), now), expected);
        };
        check(0, "0 s ago");
        check(59, "59 s ago");
        check(3599, "59 min ago");
        check(86_400, "24 h ago");
        check(864_000, "10 d ago");
        check(700_000_000, "22 y ago");
        check(-120, "in 2 min");
        assert_eq!(full(Timestamp::from_millis(1_682_476_736_454)), "2023-04-26 02:38:56.454");
        assert_eq!(
            full(Timestamp::from_micros(1_682_476_736_454_001)),
            "2023-04-26 02:38:56.454001"
        );
        assert!(ago(Timestamp::MIN, now).ends_with(" y ago"));
    }
}

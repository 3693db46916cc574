//! Intervals in which logins leave no line.

use doorbook_event::record::{Coverage, Hidden};

use super::*;

fn starting(second: f64) -> String {
    json(second, "CONTROL", 4_615_611, "initandlisten", r#"{"pid":1,"port":27017,"host":"vm"}"#)
}

fn build(version: &str) -> String {
    json(
        1.0,
        "CONTROL",
        23403,
        "initandlisten",
        &format!(r#"{{"buildInfo":{{"version":"{version}"}}}}"#),
    )
}

fn options(second: f64, context: &str, options: &str) -> String {
    json(second, "CONTROL", 21951, context, &format!(r#"{{"options":{options}}}"#))
}

fn parameter(second: f64, name: &str, value: &str) -> String {
    let attributes = format!(r#"{{"parameterName":"{name}","newValue":{value},"oldValue":"x"}}"#);
    json(second, "COMMAND", 23435, "conn7", &attributes)
}

const QUIET: &str = r#"{"systemLog":{"destination":"file","quiet":true}}"#;
const LOUD: &str = r#"{"systemLog":{"destination":"file"}}"#;
const HEALTH: &str = "enableDetailedConnectionHealthMetricLogLines";

/// `hidden cause from to last_seen`, seconds of the minute only.
fn show_gap(gap: &Coverage) -> String {
    let second = |at: Timestamp| at.millis().rem_euclid(60_000) / 1000;
    let to = gap.to.map_or("-".to_owned(), |to| second(to).to_string());
    format!("{:?} {} {} {to} {}", gap.hidden, gap.cause, second(gap.from), second(gap.last_seen))
}

fn check_gaps(lines: &[&str], expected: &[&str]) -> Batch {
    let out = read(lines);
    let shown: Vec<String> = out.coverage.iter().map(show_gap).collect();
    assert_eq!(shown, expected, "{lines:#?}");
    out
}

#[test]
fn quiet_hides_successes_up_to_6_0_and_nothing_later() {
    let last = json(50.0, "CONTROL", 1, "x", "{}");
    let start = [&starting(1.0), &build("6.0.27"), &options(2.0, "initandlisten", QUIET), &last];
    let out = check_gaps(&start.map(String::as_str), &["Successes quiet=true set at start 2 - 50"]);
    assert_eq!(out.coverage[0].actions, [Action::Authenticate]);
    assert_eq!(out.coverage[0].hidden, Hidden::Successes);
    check_gaps(&[&build("7.0.11"), &options(2.0, "initandlisten", QUIET)], &[]);
    check_gaps(&[&build("6.0.27"), &options(2.0, "initandlisten", LOUD)], &[]);
    let as_parameter = options(2.0, "initandlisten", r#"{"setParameter":{"quiet":"true"}}"#);
    check_gaps(&[&build("4.4.2"), &as_parameter], &["Successes quiet=true set at start 2 - 2"]);
    let text = [
        "2026-11-23T02:45:01.000+0000 I  CONTROL  [initandlisten] MongoDB starting : pid=4568 port=31025 dbpath=/x 64-bit host=vm",
        "2026-11-23T02:45:01.000+0000 I  CONTROL  [initandlisten] db version v4.2.6",
        "2026-11-23T02:45:02.000+0000 I  CONTROL  [initandlisten] options: { systemLog: { destination: \"file\", path: \"/x, quiet: true\", quiet: true } }",
        "2026-11-23T02:45:09.000+0000 I  CONTROL  [x] y",
    ];
    check_gaps(&text, &["Successes quiet=true set at start 2 - 9"]);
    check_gaps(&[&text[2].replace(", quiet: true }", " }")], &[]);
}

#[test]
fn the_health_parameter_hides_all_from_7_0_on() {
    let off =
        options(2.0, "initandlisten", &format!(r#"{{"setParameter":{{"{HEALTH}":"false"}}}}"#));
    check_gaps(&[&build("7.0.11"), &off], &[&format!("All {HEALTH}=false set at start 2 - 2")]);
    check_gaps(&[&build("6.0.27"), &off], &[]);
    let on = parameter(5.0, HEALTH, "true");
    let end = format!("All {HEALTH}=false set at start 2 5 5");
    check_gaps(&[&build("8.0.1"), &off, &on], &[&end]);
}

#[test]
fn a_parameter_set_at_run_time_names_who_did_it() {
    let lines = [
        accepted(7, "10.0.0.1:5"),
        success("conn7", "admin"),
        parameter(10.0, "quiet", "\"true\""),
        parameter(11.0, "quiet", "true"),
        parameter(12.0, "other", "true"),
        parameter(20.0, "quiet", "false"),
        parameter(30.0, HEALTH, r#"{"value":"false"}"#),
    ];
    let health = format!("All setParameter {HEALTH}=false 30 - 30");
    let out = check_gaps(
        &lines.each_ref().map(String::as_str),
        &["Successes setParameter quiet=true 10 20 20", &health],
    );
    let actor = out.coverage[0].actor.as_ref().expect("the log tells");
    assert_eq!(actor.principal.to_string(), "admin@admin");
    assert_eq!(actor.peer.to_string(), "10.0.0.1:5");
    let out = check_gaps(&[&lines[2]], &["Successes setParameter quiet=true 10 - 10"]);
    assert_eq!(out.coverage[0].actor, None);
}

#[test]
fn a_restart_ends_it_unless_it_starts_the_same_way() {
    let begin = [build("5.0.4"), options(2.0, "initandlisten", QUIET)];
    let loud = [starting(30.0), build("5.0.4"), options(31.0, "initandlisten", LOUD)];
    let lines: Vec<&str> = begin.iter().chain(&loud).map(String::as_str).collect();
    check_gaps(&lines, &["Successes quiet=true set at start 2 30 30"]);
    let quiet = [starting(30.0), build("5.0.4"), options(31.0, "initandlisten", QUIET)];
    let lines: Vec<&str> = begin.iter().chain(&quiet).map(String::as_str).collect();
    check_gaps(&lines, &["Successes quiet=true set at start 2 - 31"]);
    // Upgraded to a version that quiet does not blind.
    let newer = [starting(30.0), build("7.0.11"), options(31.0, "initandlisten", QUIET)];
    let lines: Vec<&str> = begin.iter().chain(&newer).map(String::as_str).collect();
    check_gaps(&lines, &["Successes quiet=true set at start 2 30 30"]);
}

#[test]
fn a_rotated_file_repeats_the_start_and_not_the_present() {
    let lines = [
        build("6.0.27"),
        options(2.0, "initandlisten", QUIET),
        parameter(10.0, "quiet", "false"),
        build("6.0.27"),
        options(20.0, "conn25", QUIET),
    ];
    let expected = &["Successes quiet=true set at start 2 10 10"];
    check_gaps(&lines.each_ref().map(String::as_str), expected);
    // Where nothing else is known it is the best there is.
    check_gaps(&[&lines[3], &lines[4]], &["Successes quiet=true set at start 20 - 20"]);
}

#[test]
fn a_gap_of_an_unknown_version_is_withdrawn_when_the_version_shows() {
    let seven = r#"{"client":"10.0.0.1:5","user":"u","db":"d","mechanism":"M","result":0}"#;
    let login = json(3.0, "ACCESS", 5_286_306, "conn7", seven);
    check_gaps(&[&parameter(1.0, "quiet", "true"), &login], &[]);
}

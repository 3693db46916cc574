//! Goal: each rule of the module, by example. Method: lines in, one line of text per event out.

mod blindness;
mod forgery;
mod json;
mod robustness;
mod text;

use super::*;

/// An interpreter that reads a file called `mongod.log`, last written at the end of 2026.
fn reader(out: &mut Batch) -> Interpreter {
    let target = Target::Host { cluster: "orders".into(), host: "db-1:27017".into() };
    let mut interpreter = Interpreter::new(Settings { target, zone: jiff::tz::TimeZone::UTC });
    interpreter.begin_file(hints(), false, out);
    interpreter
}

fn hints() -> FileHints {
    let modified = "2026-12-31T00:00:00Z".parse().ok();
    FileHints { name: "mongod.log".into(), rotation_suffix: None, modified }
}

fn feed(interpreter: &mut Interpreter, lines: &[&str], out: &mut Batch) {
    for (index, line) in lines.iter().enumerate() {
        let place = LinePlace { line: index as u64 + 1, offset_bytes: 0 };
        interpreter.line(line.as_bytes(), place, out);
    }
}

fn read(lines: &[&str]) -> Batch {
    let mut out = Batch::default();
    let mut interpreter = reader(&mut out);
    feed(&mut interpreter, lines, &mut out);
    interpreter.finish(&mut out);
    assert_eq!(out.lines, lines.len() as u64);
    out
}

/// `outcome user@db mechanism peer #connection classes`, without what is absent.
fn show(access: &Access) -> String {
    let mut words = Vec::new();
    if access.action == Action::Authorize {
        words.push("authorize".to_owned());
    }
    words.push(access.outcome.word().to_owned());
    words.push(access.principal.to_string());
    words.extend(access.mechanism.as_ref().map(ToString::to_string));
    let joined = if access.peer_joined { "joined " } else { "" };
    words.push(format!("{joined}{}", access.peer));
    words.extend(access.connection.map(|number| format!("#{number}")));
    words.extend(access.speculative.map(|yes| format!("speculative={yes}")));
    words.extend(access.classes.iter().map(|class| format!("{class:?}").to_lowercase()));
    words.join(" ").replace('\n', "\\n").replace('\r', "\\r")
}

/// The events of `lines`, and nothing put aside.
fn check(lines: &[&str], expected: &[&str]) -> Batch {
    let out = read(lines);
    let shown: Vec<String> = out.accesses.iter().map(show).collect();
    assert_eq!(shown, expected, "{lines:#?}");
    assert_eq!(out.quarantine, [], "{lines:#?}");
    out
}

fn reason(access: &Access) -> &str {
    access.outcome.reason().map(Text::as_str).unwrap_or_default()
}

/// A JSON line at a second of a minute, as 4.4 and later write it.
fn json(second: f64, component: &str, id: u64, context: &str, attributes: &str) -> String {
    json_of("I", second, component, id, context, attributes)
}

fn json_of(
    severity: &str,
    second: f64,
    component: &str,
    id: u64,
    context: &str,
    attributes: &str,
) -> String {
    format!(
        r#"{{"t":{{"$date":"2026-11-23T02:45:{second:06.3}+00:00"}},"s":"{severity}",  "c":"{component}",   "id":{id},   "ctx":"{context}","msg":"m","attr":{attributes}}}"#
    )
}

fn accepted(number: u64, address: &str) -> String {
    let attributes =
        format!(r#"{{"remote":"{address}","connectionId":{number},"connectionCount":1}}"#);
    json(1.0, "NETWORK", 22943, "listener", &attributes)
}

fn success(context: &str, user: &str) -> String {
    let attributes = format!(
        r#"{{"mechanism":"SCRAM-SHA-256","speculative":true,"principalName":"{user}","authenticationDatabase":"admin","remote":"10.0.0.1:5","extraInfo":{{}}}}"#
    );
    json(2.0, "ACCESS", 20250, context, &attributes)
}

fn failure(second: f64, context: &str, user: &str, speculative: bool) -> String {
    let attributes = format!(
        r#"{{"mechanism":"SCRAM-SHA-1","speculative":{speculative},"principalName":"{user}","authenticationDatabase":"admin","remote":"10.0.0.1:5","extraInfo":{{}},"error":"AuthenticationFailed: SCRAM authentication failed, storedKey mismatch"}}"#
    );
    json(second, "ACCESS", 20249, context, &attributes)
}

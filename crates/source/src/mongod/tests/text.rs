//! Lines of 2.4 to 4.2.

use super::*;

/// A line of 4.2.
fn line(component: &str, context: &str, message: &str) -> String {
    format!("2026-11-23T02:45:14.292+0000 I  {component:8} [{context}] {message}")
}

fn accepted(number: u64, address: &str) -> String {
    let message = format!("connection accepted from {address} #{number} (2 connections now open)");
    line("NETWORK", "listener", &message)
}

fn access(context: &str, message: &str) -> String {
    line("ACCESS", context, message)
}

/// One line on a connection that was accepted from 10.0.0.1:5.
fn check_one(message: &str, expected: &str) -> Access {
    let out = check(&[&accepted(7, "10.0.0.1:5"), &access("conn7", message)], &[expected]);
    out.accesses.into_iter().next().expect("one event")
}

#[test]
fn successes_of_every_version() {
    check_one(
        "Successfully authenticated as principal root on admin",
        "success root@admin joined 10.0.0.1:5 #7",
    );
    check_one(
        "Successfully authenticated as principal app on appdb from client 10.0.0.1:5",
        "success app@appdb 10.0.0.1:5 #7",
    );
    check_one(
        "Successfully authenticated as principal CN=a,OU=b on $external from client 10.0.0.1:5",
        "success CN=a,OU=b@$external 10.0.0.1:5 #7",
    );
    check(
        &[
            &accepted(7, "[::1]:37894"),
            &accepted(8, "anonymous unix socket:27017"),
            &access(
                "conn7",
                "Successfully authenticated as principal __system on local from client [::1]:37894",
            ),
            &access(
                "conn8",
                "Successfully authenticated as principal mms-automation on admin from client anonymous unix socket:27017",
            ),
        ],
        &[
            "success __system@local [::1]:37894 #7 system",
            "success mms-automation@admin unix #8 monitor",
        ],
    );
}

#[test]
fn failures_of_every_version() {
    let cases = [
        (
            "SASL SCRAM-SHA-256 authentication failed for app on appdb from client 10.0.0.1:5 ; AuthenticationFailed: SCRAM authentication failed, storedKey mismatch",
            "failure app@appdb SCRAM-SHA-256 10.0.0.1:5 #7",
            "AuthenticationFailed: SCRAM authentication failed, storedKey mismatch",
        ),
        (
            "SASL SCRAM-SHA-1 authentication failed for end-to-end on admin from client 10.0.0.1:5 ; UserNotFound: Could not find user end-to-end@admin",
            "failure end-to-end@admin SCRAM-SHA-1 10.0.0.1:5 #7",
            "UserNotFound: Could not find user end-to-end@admin",
        ),
        (
            "SCRAM-SHA-1 authentication failed for mongo on sth from client 10.0.0.1 ; UserNotFound: Could not find user mongo@sth",
            "failure mongo@sth SCRAM-SHA-1 10.0.0.1 #7",
            "UserNotFound: Could not find user mongo@sth",
        ),
        (
            "SCRAM-SHA-1 authentication failed for u on d ; AuthenticationFailed no",
            "failure u@d SCRAM-SHA-1 joined 10.0.0.1:5 #7",
            "AuthenticationFailed no",
        ),
        (
            "Failed to authenticate CN=a@b@$external from client 10.0.0.1:5 with mechanism MONGODB-X509: ProtocolError: SSL support is required for the MONGODB-X509 mechanism.",
            "failure CN=a@b@$external MONGODB-X509 10.0.0.1:5 #7",
            "ProtocolError: SSL support is required for the MONGODB-X509 mechanism.",
        ),
        (
            "Failed to authenticate my@userdb with mechanism MONGODB-CR: AuthenticationFailed MONGODB-CR credentials missing in the user document",
            "failure my@userdb MONGODB-CR joined 10.0.0.1:5 #7",
            "AuthenticationFailed MONGODB-CR credentials missing in the user document",
        ),
        (
            "auth: couldn't find user a@b@d, d.system.users",
            "failure a@b@d joined 10.0.0.1:5 #7",
            "couldn't find user a@b@d, d.system.users",
        ),
        ("auth: key mismatch u, ns:d", "failure u@d joined 10.0.0.1:5 #7", "key mismatch u, ns:d"),
        (
            "SASL SCRAM-SHA-256 authentication failed for  on admin from client 10.0.0.1:5 ; BadValue: Invalid SCRAM user name: n=",
            "failure @admin SCRAM-SHA-256 10.0.0.1:5 #7",
            "BadValue: Invalid SCRAM user name: n=",
        ),
    ];
    for (message, expected, why) in cases {
        assert_eq!(reason(&check_one(message, expected)), why);
    }
}

#[test]
fn refusals_of_other_kinds() {
    let restricted = check_one(
        "Failed to acquire user 'restri'cted@admin' because of unmet authentication restrictions: Restriction 'x' unmet",
        "failure restri'cted@admin joined 10.0.0.1:5 #7 inferred",
    );
    assert_eq!(reason(&restricted), "Restriction 'x' unmet");
    let denied = "Unauthorized: not authorized on otherdb to execute command { find: \"secrets\" }";
    check_one(denied, "authorize failure unauthenticated joined 10.0.0.1:5 #7");
    let login = access(
        "conn7",
        "Successfully authenticated as principal app on appdb from client 10.0.0.1:5",
    );
    check(
        &[&accepted(7, "10.0.0.1:5"), &login, &access("conn7", denied)],
        &["success app@appdb 10.0.0.1:5 #7", "authorize failure app@appdb joined 10.0.0.1:5 #7"],
    );
}

#[test]
fn names_are_read_from_the_right() {
    for name in [
        "root on admin from client 6.6.6.6:666",
        "semi ; colon",
        "o\"brien",
        "{\"json\":true}",
        "a@b.com",
        "x from client",
        "on admin",
        "tab\tuser",
    ] {
        check_one(
            &format!(
                "Successfully authenticated as principal {name} on admin from client 10.0.0.1:5"
            ),
            &format!("success {name}@admin 10.0.0.1:5 #7"),
        );
        check_one(
            &format!(
                "SASL SCRAM-SHA-256 authentication failed for {name} on admin from client 10.0.0.1:5 ; UserNotFound: Could not find user \"{name}\" for db \"admin\""
            ),
            &format!("failure {name}@admin SCRAM-SHA-256 10.0.0.1:5 #7"),
        );
    }
    // A name that holds the whole end of a record of another kind.
    let name = "x on admin from client 10.0.0.1:5 ; UserNotFound: Could not find user \"x\" for db \"admin\"";
    check_one(
        &format!(
            "SASL M authentication failed for {name} on admin from client 10.0.0.1:5 ; AuthenticationFailed: no"
        ),
        &format!("failure {name}@admin M 10.0.0.1:5 #7"),
    );
    // A name that holds the end of a record, which its reason repeats.
    let name = "a on b from client 10.0.0.1:5 ; Code: x";
    check_one(
        &format!(
            "SASL M authentication failed for {name} on admin from client 10.0.0.1:5 ; UserNotFound: Could not find user \"{name}\" for db \"admin\""
        ),
        &format!("failure {name}@admin M 10.0.0.1:5 #7"),
    );
}

#[test]
fn a_cut_line_is_a_failure_whose_address_is_joined() {
    let access = check_one(
        "warning: log line attempted (17kB) over max size (10kB), printing beginning and end ... SASL SCRAM-SHA-256 authentication failed for BBBB .......... BBB\" for db \"admin\"",
        "failure BBBB@admin SCRAM-SHA-256 joined 10.0.0.1:5 #7",
    );
    assert_eq!(access.attributes.get("truncated"), Some(&"true".into()));
}

#[test]
fn an_announcement_and_its_outcome_are_one_attempt() {
    let x509 = " authenticate db: $external { authenticate: 1, mechanism: \"MONGODB-X509\", user: \"CN=a\", $db: \"$external\" }";
    let ok = "Successfully authenticated as principal CN=a on $external from client 10.0.0.1:5";
    check(
        &[&accepted(7, "10.0.0.1:5"), &access("conn7", x509), &access("conn7", ok)],
        &["success CN=a@$external 10.0.0.1:5 #7"],
    );
    // Since 3.0 no outcome is no success.
    let no_mechanism = " authenticate db: appdb { authenticate: 1, user: \"app\", nonce: \"abc\", key: \"def\", $db: \"appdb\" }";
    check(&[&access("conn7", no_mechanism)], &[]);
}

#[test]
fn an_announcement_of_2_6_is_a_login_unless_the_next_line_refuses_it() {
    let old = |context: &str, message: &str| {
        format!("2014-04-09T23:16:24.043-0400 [{context}] {message}")
    };
    let accepted =
        old("initandlisten", "connection accepted from 10.0.0.1:5 #7 (1 connection now open)");
    let announced = |user: &str| {
        old(
            "conn7",
            &format!(
                " authenticate db: local {{ authenticate: 1, nonce: \"xxx\", user: \"{user}\", key: \"xxx\" }}"
            ),
        )
    };
    let refused = old(
        "conn7",
        "Failed to authenticate a@local with mechanism MONGODB-CR: AuthenticationFailed UserNotFound Could not find user a@local",
    );
    let login = |user: &str| format!("success {user}@local joined 10.0.0.1:5 #7 inferred");
    let failure = "failure a@local MONGODB-CR joined 10.0.0.1:5 #7";
    let ended = old("conn7", "end connection 10.0.0.1:5 (0 connections now open)");
    check(&[&accepted, &announced("a"), &ended], &[&login("a")]);
    check(&[&accepted, &announced("a")], &[&login("a")]);
    check(&[&accepted, &announced("a"), &refused], &[failure]);
    check(&[&accepted, &announced("a"), &announced("b"), &ended], &[&login("a"), &login("b")]);
    check(
        &[&accepted, &announced("a"), &old("conn7", "command admin.$cmd"), &refused],
        &[&login("a"), failure],
    );
    check(&[&accepted, &announced("a"), &old("conn8", "command admin.$cmd"), &refused], &[failure]);
    check(&[&accepted, &announced("a\", key: \"b")], &[&login("a\", key: \"b")]);
    let other = old(
        "conn7",
        " authenticate db: $external { authenticate: 1, mechanism: \"MONGODB-X509\", user: \"CN=a\" }",
    );
    check(&[&accepted, &other], &[]);
    let restarted = "2014-04-09T23:16:25.000-0400 ***** SERVER RESTARTED *****";
    check(&[&accepted, &announced("a"), restarted], &[&login("a")]);
}

#[test]
fn waiting_announcements_are_bounded() {
    let lines: Vec<String> = (1..=ANNOUNCED_MAX as u64 + 5)
        .map(|number| format!("2014-04-09T23:16:24.043-0400 [conn{number}]  authenticate db: local {{ authenticate: 1, user: \"a\", key: \"xxx\" }}"))
        .collect();
    let mut out = Batch::default();
    let mut interpreter = reader(&mut out);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    feed(&mut interpreter, &lines, &mut out);
    assert_eq!(out.accesses.len(), 5);
    interpreter.finish(&mut out);
    assert_eq!(out.accesses.len(), lines.len());
}

#[test]
fn lines_that_are_no_attempts() {
    check(
        &[
            &access("conn7", "Supported SASL mechanisms requested for unknown user 'nobody@admin'"),
            &access(
                "conn7",
                "note: no users configured in admin.system.users, allowing localhost access",
            ),
            "2026-11-23T02:45:14.292+0000 D1 ACCESS   [conn7] Successfully authenticated as principal x on y from client 1.2.3.4:5",
            "2026-11-23T02:45:14.292+0000 W  ACCESS   [conn11] Client isn't a mongod or mongos, but is connecting with a certificate with cluster membership",
            &line(
                "COMMAND",
                "conn7",
                "command x.y command: find { filter: \"Successfully authenticated as principal x on y\" }",
            ),
            &line("-", "conn7", "Failed to authenticate x"),
            "",
            "   ",
            "# failJSON: { \"x\": 1 }",
            "2026-11-23T02:45:14.292+0000",
            "Mon",
        ],
        &[],
    );
}

#[test]
fn other_prefixes() {
    let message = "Successfully authenticated as principal u on d";
    let check = |prefix: &str, time: &str| {
        let out = read(&[&format!("{prefix} [conn11] {message}\r")]);
        assert_eq!(out.accesses.len(), 1, "{prefix}: {:?}", out.quarantine);
        assert_eq!(out.accesses[0].event_time.to_string(), time);
        assert!(out.accesses[0].raw.ends_with(b"d\r"));
        assert_eq!(out.accesses[0].principal.to_string(), "u@d");
        out.accesses[0].written_time.clone()
    };
    use doorbook_event::WrittenTime;
    let complete = WrittenTime::Complete;
    assert_eq!(check("2026-11-23T02:45:14.292+0000 IACCESS", "2026-11-23T02:45:14.292Z"), complete);
    assert_eq!(
        check("2026-11-23T02:45:14.292+0100 I ACCESS  ", "2026-11-23T01:45:14.292Z"),
        complete
    );
    assert_eq!(check("2026-11-23T02:45:14.292Z I  ACCESS  ", "2026-11-23T02:45:14.292Z"), complete);
    assert_eq!(check("2014-04-09T23:16:24.043-0400", "2014-04-10T03:16:24.043Z"), complete);
    let partial = WrittenTime::Partial("Mon Nov 23 02:47:25.918".into());
    assert_eq!(check("Mon Nov 23 02:47:25.918 I  ACCESS  ", "2026-11-23T02:47:25.918Z"), partial);
}

#[test]
fn times_without_year_use_hints_and_say_when_there_are_none() {
    let line = "Thu Dec 31 23:59:59.000 [conn1] auth: key mismatch u, ns:d";
    let next = "Fri Jan  1 00:00:00.000 [conn1] auth: key mismatch u, ns:d";
    let mut out = Batch::default();
    let mut interpreter = reader(&mut out);
    let rotation_suffix = rotation_suffix("mongod.log.2016-01-02T00-00-00");
    interpreter.begin_file(FileHints { rotation_suffix, ..hints() }, false, &mut out);
    feed(&mut interpreter, &[line, next], &mut out);
    interpreter.begin_file(FileHints::default(), false, &mut out);
    feed(&mut interpreter, &[line], &mut out);
    let got: Vec<_> =
        out.accesses.iter().map(|access| (access.event_time.to_string(), access.classes)).collect();
    let clock = Classes::NONE.with(Class::Clock);
    let expected = [
        ("2015-12-31T23:59:59Z".to_owned(), Classes::NONE),
        ("2016-01-01T00:00:00Z".to_owned(), Classes::NONE),
        ("2015-12-31T23:59:59Z".to_owned(), clock),
    ];
    assert_eq!(got, expected);
}

#[test]
fn clients_are_joined() {
    let metadata = line(
        "NETWORK",
        "conn7",
        "received client metadata from 10.0.0.1:5 conn7: { application: { name: \"billing \"svc\"\" }, driver: { name: \"rawlab\", version: \"1\" } }",
    );
    let login = access(
        "conn7",
        "Successfully authenticated as principal app on appdb from client 10.0.0.1:5",
    );
    let out = read(&[&accepted(7, "10.0.0.1:5"), &metadata, &login]);
    let client = out.accesses[0].client.as_ref().expect("a client");
    assert_eq!(client.application, Some("billing \"svc\"".into()));
}

#[test]
fn a_node_that_is_upgraded_goes_on_in_json() {
    let mut lines = vec![
        accepted(7, "10.0.0.1:5"),
        access(
            "conn7",
            "Successfully authenticated as principal app on appdb from client 10.0.0.1:5",
        ),
        json(1.0, "CONTROL", 20698, "main", "{}"),
        json(1.0, "CONTROL", 4_615_611, "initandlisten", r#"{"pid":1,"port":1,"host":"vm"}"#),
        json(1.0, "CONTROL", 23403, "initandlisten", r#"{"buildInfo":{"version":"4.4.2"}}"#),
        json(1.0, "CONTROL", 21951, "initandlisten", r#"{"options":{"net":{"port":27017}}}"#),
        super::accepted(1, "10.0.0.1:5"),
        success("conn1", "app"),
    ];
    let out = read(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(
        out.accesses.iter().all(|access| access.classes == Classes::NONE),
        "{:?}",
        out.accesses
    );
    // After more JSON than any client can write, JSON is believed.
    lines.extend((0..200).map(|_| {
        json(
            2.0,
            "COMMAND",
            51803,
            "conn1",
            r#"{"a":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}"#,
        )
    }));
    lines.push(success("conn99", "late"));
    let out = read(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(out.accesses[2].classes, Classes::NONE);
}

//! Lines that a client wrote into a text log.

use super::*;

const OWN: &str = "10.0.0.1:5";

fn line(component: &str, context: &str, message: &str) -> String {
    format!("2026-11-23T02:45:14.292+0000 I  {component:8} [{context}] {message}")
}

fn accepted(number: u64, address: &str) -> String {
    line(
        "NETWORK",
        "listener",
        &format!("connection accepted from {address} #{number} (2 connections now open)"),
    )
}

fn ended(number: u64, address: &str) -> String {
    line(
        "NETWORK",
        &format!("conn{number}"),
        &format!("end connection {address} (2 connections now open)"),
    )
}

fn login(number: u64, user: &str, address: &str) -> String {
    line(
        "ACCESS",
        &format!("conn{number}"),
        &format!("Successfully authenticated as principal {user} on admin from client {address}"),
    )
}

fn refused(number: u64, user: &str, address: &str) -> String {
    let reason = format!("UserNotFound: Could not find user \"{user}\" for db \"admin\"");
    line(
        "ACCESS",
        &format!("conn{number}"),
        &format!(
            "SASL SCRAM-SHA-256 authentication failed for {user} on admin from client {address} ; {reason}"
        ),
    )
}

/// Splits records at their line breaks, as a file does.
fn check_split(records: &[&str], expected: &[&str]) -> Batch {
    let text = records.join("\n");
    check(&text.split('\n').collect::<Vec<_>>(), expected)
}

#[test]
fn a_line_break_in_a_name_is_part_of_the_name() {
    let (a, b) = (login(7, "line\nbreak", OWN), refused(7, "line\nbreak\r\nand more", OWN));
    let out = check_split(
        &[&accepted(7, OWN), &a, &b, &ended(7, OWN)],
        &[
            "success line\\nbreak@admin 10.0.0.1:5 #7",
            "failure line\\nbreak\\r\\nand more@admin SCRAM-SHA-256 10.0.0.1:5 #7",
        ],
    );
    assert_eq!(out.accesses[0].raw, a.as_bytes());
    assert_eq!(out.accesses[1].raw, b.as_bytes());
}

#[test]
fn a_version_that_writes_addresses_ends_no_login_without_one() {
    check_split(
        &[
            &accepted(7, OWN),
            &login(7, "u", OWN),
            &login(7, "x\ny on z\nw", OWN),
            &login(7, "x on y\nz", OWN),
        ],
        &[
            "success u@admin 10.0.0.1:5 #7",
            "success x\\ny on z\\nw@admin 10.0.0.1:5 #7",
            "success x on y\\nz@admin 10.0.0.1:5 #7",
        ],
    );
}

#[test]
fn a_success_line_in_a_name_is_suspect_and_its_record_is_one_event() {
    let name = format!("x\r\n{}", login(1, "evil", "6.6.6.6:1"));
    let text = [accepted(1, "10.0.0.9:1"), accepted(2, OWN), login(2, &name, OWN), ended(2, OWN)];
    let out = read(&text.join("\n").split('\n').collect::<Vec<_>>());
    assert_eq!(out.accesses.len(), 2);
    let Principal::User { name: got, .. } = &out.accesses[0].principal else { panic!("a user") };
    assert_eq!(got.as_str(), name);
    assert_eq!(out.accesses[0].classes, Classes::NONE);
    assert_eq!(out.accesses[1].classes, Classes::NONE.with(Class::Suspect));
    let text = [accepted(1, "10.0.0.9:1"), accepted(2, OWN), refused(2, &name, OWN), ended(2, OWN)];
    let out = read(&text.join("\n").split('\n').collect::<Vec<_>>());
    let suspects = out.accesses.iter().filter(|a| a.classes.contains(Class::Suspect)).count();
    assert_eq!((out.accesses.len(), suspects), (3, 2), "the reason repeats the name");
}

#[test]
fn nothing_in_a_name_changes_what_is_known() {
    let evil = "6.6.6.6:1";
    let inner = [
        accepted(8, evil),
        ended(7, OWN),
        accepted(7, evil),
        "2026-11-23T02:45:14.292+0000 I  CONTROL  [initandlisten] MongoDB starting : pid=1 port=1 dbpath=/x 64-bit host=evil".to_owned(),
        line("CONTROL", "initandlisten", "options: { systemLog: { quiet: true } }"),
        super::accepted(9, evil),
        refused(8, "evil", evil),
    ];
    let name = format!("x\n{}\nx", inner.join("\n"));
    let out = check_split(
        &[
            &accepted(7, OWN),
            &refused(7, &name, OWN),
            &login(7, "real", OWN),
            &login(8, "evil", evil),
            &login(9, "evil", evil),
        ],
        &[
            &format!("failure {}@admin SCRAM-SHA-256 10.0.0.1:5 #7", name.replace('\n', "\\n")),
            "success real@admin 10.0.0.1:5 #7",
            "success evil@admin 6.6.6.6:1 #8 suspect",
            "success evil@admin 6.6.6.6:1 #9 suspect",
        ],
    );
    assert_eq!(out.coverage, []);
    assert_eq!(out.accesses[1].process_start, None);
}

#[test]
fn a_record_that_a_name_closes_is_judged_by_its_connections() {
    // The name holds a whole end of its own record, so that what follows looks like lines.
    let name = |inner: &str| format!("x on admin from client {OWN} ; Code: y\n{inner}\nz");
    let suspect = |inner: &str| {
        let record = refused(7, &name(inner), OWN);
        let text =
            [&accepted(6, "10.0.0.9:1"), &accepted(7, OWN), &ended(6, "10.0.0.9:1"), &record]
                .map(String::as_str)
                .join("\n");
        let out = read(&text.split('\n').collect::<Vec<_>>());
        assert!(out.accesses.len() >= 2, "{out:?}");
        out.accesses[1..].iter().all(|access| access.classes.contains(Class::Suspect))
    };
    assert!(suspect(&login(6, "evil", "6.6.6.6:1")), "ended");
    assert!(suspect(&login(7, "evil", "6.6.6.6:1")), "from elsewhere");
    assert!(suspect(&login(8, "evil", "6.6.6.6:1")), "never accepted");
    assert!(suspect(&refused(8, "evil", "6.6.6.6:1")), "a failure that never was");
    assert!(suspect(&line(
        "ACCESS",
        "conn8",
        "Unauthorized: not authorized on x to execute command {}"
    )));
    assert!(suspect(&success("conn8", "evil")), "JSON in a text log");
    assert!(
        suspect(&login(7, "evil", "6.6.6.6:1").replace("[conn7]", "[listener]")),
        "no connection"
    );
}

#[test]
fn logins_that_the_log_does_not_cover_are_unconfirmed() {
    check(
        &[
            &login(5, "early", OWN),
            &accepted(7, OWN),
            &login(5, "old", OWN),
            &login(7, "new", OWN),
            &login(8, "evil", OWN),
        ],
        &[
            "success early@admin 10.0.0.1:5 #5 unconfirmed",
            "success old@admin 10.0.0.1:5 #5 unconfirmed",
            "success new@admin 10.0.0.1:5 #7",
            "success evil@admin 10.0.0.1:5 #8 suspect",
        ],
    );
    // A failure that cannot be confirmed is a failure.
    check(&[&refused(5, "u", OWN)], &["failure u@admin SCRAM-SHA-256 10.0.0.1:5 #5"]);
    // A quiet server does not write what it accepts.
    let options = line("CONTROL", "initandlisten", "options: { systemLog: { quiet: true } }");
    check(
        &[&options, &accepted(1, "10.0.0.2:1"), &login(8, "u", OWN)],
        &["success u@admin 10.0.0.1:5 #8 unconfirmed"],
    );
}

#[test]
fn a_forged_start_does_not_hide_real_logins() {
    let start = "2026-11-23T02:45:14.292+0000 I  CONTROL  [initandlisten] MongoDB starting : pid=1 port=1 dbpath=/x 64-bit host=evil".to_owned();
    let restart =
        "2026-11-23T02:45:14.292+0000 I  CONTROL  [main] ***** SERVER RESTARTED *****".to_owned();
    let out = check(
        &[
            &accepted(7, OWN),
            &restart,
            &start,
            &login(7, "between", OWN),
            &accepted(8, "10.0.0.2:1"),
            &login(7, "after", OWN),
            &login(8, "after", "10.0.0.2:1"),
            &login(9, "evil", OWN),
        ],
        &[
            "success between@admin 10.0.0.1:5 #7",
            "success after@admin 10.0.0.1:5 #7",
            "success after@admin 10.0.0.2:1 #8",
            "success evil@admin 10.0.0.1:5 #9 suspect",
        ],
    );
    assert_eq!(out.accesses[1].process_start, None, "the forged start is forgotten");
    // A real one starts to count again.
    let out = check(
        &[
            &accepted(7, OWN),
            &start,
            &line("CONTROL", "initandlisten", "db version v4.2.6"),
            &line("CONTROL", "initandlisten", "options: { net: { port: 27017 } }"),
            &accepted(1, "10.0.0.2:1"),
            &login(1, "new", "10.0.0.2:1"),
            &login(7, "old", OWN),
            &login(7, "evil", "6.6.6.6:1"),
        ],
        &[
            "success new@admin 10.0.0.2:1 #1",
            "success old@admin 10.0.0.1:5 #7 unconfirmed",
            "success evil@admin 6.6.6.6:1 #7 suspect",
        ],
    );
    assert!(out.accesses[0].process_start.is_some());
    let by_connection = start.replace("[initandlisten]", "[conn7]");
    check(
        &[&accepted(7, OWN), &by_connection, &login(7, "u", OWN)],
        &["success u@admin 10.0.0.1:5 #7"],
    );
}

#[test]
fn forged_network_lines_do_not_make_real_logins_suspect() {
    let evil = "6.6.6.6:1";
    let real = [accepted(7, OWN), login(7, "u", OWN)];
    for forged in [
        ended(7, evil),
        accepted(1, evil),
        accepted(99_999, evil),
        super::accepted(3, evil),
        line(
            "NETWORK",
            "conn7",
            &format!(
                "received client metadata from {evil} conn7: {{ application: {{ name: \"evil\" }} }}"
            ),
        ),
        line("NETWORK", "conn1", "connection accepted from 6.6.6.6:1 #7 (1 connection now open)"),
    ] {
        let out = check(&[&real[0], &forged, &real[1]], &["success u@admin 10.0.0.1:5 #7"]);
        assert_eq!(out.accesses[0].client, None, "{forged}");
    }
    // The number that comes next can be guessed; then neither line is held against the login.
    check(
        &[&accepted(6, evil), &accepted(7, evil), &real[0], &real[1]],
        &["success u@admin 10.0.0.1:5 #7 unconfirmed"],
    );
}

#[test]
fn a_line_break_in_a_clients_description_is_part_of_it() {
    let inner = accepted(8, "6.6.6.6:1");
    let metadata = line(
        "NETWORK",
        "conn7",
        &format!(
            "received client metadata from {OWN} conn7: {{ application: {{ name: \"x\n{inner}\n{}\" }} }}",
            login(8, "evil", "6.6.6.6:1")
        ),
    );
    check_split(
        &[&accepted(7, OWN), &metadata, &login(7, "u", OWN), &login(8, "evil", "6.6.6.6:1")],
        &[
            "success evil@admin unknown #8 suspect",
            "success u@admin 10.0.0.1:5 #7",
            "success evil@admin 6.6.6.6:1 #8 suspect",
        ],
    );
}

#[test]
fn a_record_whose_end_never_comes_is_put_aside_and_its_lines_are_read() {
    let cut = login(7, "u", OWN)[..100].to_owned();
    let mut lines = vec![accepted(7, OWN), cut.clone(), accepted(8, "10.0.0.2:1")];
    lines.extend((0..100).map(|_| login(8, "real", "10.0.0.2:1")));
    let out = read(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(out.quarantine.len(), 1);
    assert_eq!(out.quarantine[0].bytes, cut.as_bytes());
    assert_eq!(out.quarantine[0].place.line, 2);
    assert_eq!(out.accesses.len(), 100);
    let out = read(&[&accepted(7, OWN), &cut]);
    assert_eq!((out.accesses.len(), out.quarantine.len()), (0, 1), "at the end of the file");
    // A failure that contradicts its connection is still a failure line, and suspect.
    check(
        &[&accepted(7, OWN), &refused(7, "u", "6.6.6.6:1")],
        &["failure u@admin SCRAM-SHA-256 6.6.6.6:1 #7 suspect"],
    );
    let redacted = line(
        "ACCESS",
        "conn7",
        &format!("SASL M authentication failed for u on d from client {OWN} ; ###"),
    );
    check(&[&accepted(7, OWN), &redacted], &["failure u@d M 10.0.0.1:5 #7"]);
}

#[test]
fn a_line_that_is_cut_early_is_put_aside() {
    let whole = login(7, "u", OWN);
    for length in [40, 54, 70, 89] {
        let out = read(&[&whole[..length]]);
        assert_eq!((out.accesses.len(), out.quarantine.len()), (0, 1), "{}", &whole[..length]);
    }
    let whole = refused(7, "u", OWN);
    for length in [54, 60, 70, 80, 100, 120] {
        let out = read(&[&whole[..length]]);
        assert_eq!((out.accesses.len(), out.quarantine.len()), (0, 1), "{}", &whole[..length]);
    }
    // Who, from where and how is there; only why is not.
    let out = check(
        &[&accepted(7, OWN), &whole[..130]],
        &["failure u@admin SCRAM-SHA-256 10.0.0.1:5 #7"],
    );
    assert_eq!(reason(&out.accesses[0]), "");
}

/// A server at work: conn1 came and went, conn2 and conn3 (the attacker's) live.
fn at_work() -> Vec<String> {
    vec![
        line(
            "CONTROL",
            "initandlisten",
            "MongoDB starting : pid=1 port=27017 dbpath=/d 64-bit host=h1",
        ),
        line("CONTROL", "initandlisten", "db version v4.2.6"),
        line("CONTROL", "initandlisten", "options: { net: { port: 27017 } }"),
        accepted(1, "10.0.0.1:1001"),
        login(1, "alice", "10.0.0.1:1001"),
        ended(1, "10.0.0.1:1001"),
        accepted(2, "10.0.0.2:1002"),
        accepted(3, "10.9.9.9:5555"),
    ]
}

const ALICE: &str = "success alice@admin 10.0.0.1:1001 #1";

/// What a client can put behind a description that closes itself.
fn check_free(forged: &[String], expected: &[&str]) -> Batch {
    let mut lines = at_work();
    lines.push(line(
        "NETWORK",
        "conn3",
        "received client metadata from 10.9.9.9:5555 conn3: { application: { name: \"x\" } }",
    ));
    lines.extend_from_slice(forged);
    let mut all = vec![ALICE];
    all.extend_from_slice(expected);
    check(&lines.iter().map(String::as_str).collect::<Vec<_>>(), &all)
}

#[test]
fn a_second_accepted_line_confirms_nothing() {
    let evil = "6.6.6.6:1";
    check_free(
        &[accepted(1, evil), login(1, "evil", evil)],
        &["success evil@admin 6.6.6.6:1 #1 suspect"],
    );
    check_free(
        &[accepted(2, evil), login(2, "evil", evil), login(2, "bob", "10.0.0.2:1002")],
        &["success evil@admin 6.6.6.6:1 #2 suspect", "success bob@admin 10.0.0.2:1002 #2"],
    );
}

#[test]
fn who_forges_its_own_end_does_not_hide_its_login() {
    let own = "10.9.9.9:5555";
    let out = check_free(
        &[ended(3, own), login(3, "root", own), ended(3, own), login(3, "evil", "6.6.6.6:1")],
        &[
            "success root@admin 10.9.9.9:5555 #3 unconfirmed",
            "success evil@admin 6.6.6.6:1 #3 suspect",
        ],
    );
    assert_eq!(out.accesses[1].attributes.get("connection_ended"), Some(&"true".into()));
}

fn read_split(records: &[String]) -> Batch {
    let text = records.join("\n");
    read(&text.split('\n').collect::<Vec<_>>())
}

fn shown(out: &Batch) -> Vec<String> {
    out.accesses.iter().map(show).collect()
}

#[test]
fn what_a_record_held_that_was_given_up_changes_nothing() {
    let evil = "6.6.6.6:1";
    let own = "10.9.9.9:5555";
    let flood = |lines: usize| {
        let inner = [accepted(1, evil), login(1, "evil", evil)].join("\n");
        let name = format!("x{}\n{inner}\ny", "\nx".repeat(lines));
        let mut text = at_work();
        text.extend([refused(3, &name, own), ended(3, own), login(1, "evil", evil)]);
        read_split(&text)
    };
    let out = flood(100);
    assert!(out.accesses[1].principal.to_string().starts_with("x\nx"), "it is one event");
    for lines in [100, 1100] {
        let out = flood(lines);
        let logins: Vec<_> = shown(&out).into_iter().filter(|s| s.starts_with("success")).collect();
        let suspect = "success evil@admin 6.6.6.6:1 #1 suspect";
        assert_eq!(logins, [ALICE, suspect, suspect, suspect], "{lines}");
    }
}

#[test]
fn a_record_that_mongod_cut_goes_on_to_its_end() {
    let inner = [accepted(4, "6.6.6.6:1"), login(4, "evil", "6.6.6.6:1")].join("\n");
    let mut text = at_work();
    text.push(line(
        "ACCESS",
        "conn3",
        &format!(
            "warning: log line attempted (17kB) over max size (10kB), printing beginning and end ... SASL SCRAM-SHA-256 authentication failed for x\n{inner}\nBBB .......... B\nBB\" for db \"admin\""
        ),
    ));
    text.push(login(4, "evil", "6.6.6.6:1"));
    let out = read_split(&text);
    assert_eq!(out.accesses.len(), 4);
    assert_eq!(out.accesses[1].attributes.get("truncated"), Some(&"true".into()));
    for login in &out.accesses[2..] {
        assert_eq!(show(login), "success evil@admin 6.6.6.6:1 #4 suspect");
    }
}

#[test]
fn a_line_break_in_a_databases_name_swallows_nothing() {
    let own = "10.9.9.9:5555";
    let wrong = |number: u64, user: &str, database: &str, address: &str| {
        line(
            "ACCESS",
            &format!("conn{number}"),
            &format!(
                "SASL SCRAM-SHA-256 authentication failed for {user} on {database} from client {address} ; AuthenticationFailed: storedKey mismatch"
            ),
        )
    };
    let mut text = at_work();
    text.extend([
        refused(3, "q", own).replace("admin", "ad\nmin"),
        login(2, "bob", "10.0.0.2:1002"),
        wrong(2, "carol", "admin", "10.0.0.2:1002"),
        wrong(3, "w", "ad\n\tmin", own),
        wrong(3, "w", "admin", own),
    ]);
    let out = read_split(&text);
    assert_eq!(
        shown(&out),
        [
            ALICE,
            "failure q@ad\\nmin SCRAM-SHA-256 10.9.9.9:5555 #3",
            "success bob@admin 10.0.0.2:1002 #2",
            "failure carol@admin SCRAM-SHA-256 10.0.0.2:1002 #2",
            "failure w@ad\\n\tmin SCRAM-SHA-256 10.9.9.9:5555 #3",
            "failure w@admin SCRAM-SHA-256 10.9.9.9:5555 #3",
        ]
    );
    assert_eq!(out.quarantine, []);
}

#[test]
fn an_open_record_ends_at_a_record_of_a_connection_that_is_known() {
    // A full disk cut the record.
    let cut = login(3, "u", "10.9.9.9:5555")[..100].to_owned();
    let mut text = at_work();
    text.extend([
        cut.clone(),
        accepted(4, "10.0.0.4:1"),
        login(4, "dora", "10.0.0.4:1"),
        refused(2, "carol", "10.0.0.2:1002").replace("SASL", "no SASL"),
        login(2, "bob", "10.0.0.2:1002"),
        login(4, "dora", "10.0.0.4:1"),
        login(5, "evil", "6.6.6.6:1"),
    ]);
    let out = read_split(&text);
    assert_eq!(
        shown(&out),
        [
            ALICE,
            "success dora@admin 10.0.0.4:1 #4 suspect",
            "success bob@admin 10.0.0.2:1002 #2",
            "success dora@admin 10.0.0.4:1 #4 unconfirmed",
            "success evil@admin 6.6.6.6:1 #5 suspect",
        ]
    );
    assert_eq!(out.quarantine.len(), 1);
    assert_eq!(out.quarantine[0].bytes, cut.as_bytes());
}

#[test]
fn a_forged_accepted_line_does_not_keep_a_record_from_ending() {
    let own = "10.9.9.9:5555";
    check_split(
        &[
            &accepted(3, own),
            &accepted(3, "6.6.6.6:1"),
            &refused(3, "x\ny", own),
            &login(3, "a\nb", own),
        ],
        &[
            "failure x\\ny@admin SCRAM-SHA-256 10.9.9.9:5555 #3",
            "success a\\nb@admin 10.9.9.9:5555 #3",
        ],
    );
}

#[test]
fn a_forged_start_that_accepts_does_not_make_real_logins_suspect() {
    let restart = "2026-11-23T02:45:14.292+0000 I  CONTROL  [main] ***** SERVER RESTARTED *****";
    let (evil, bob) = ("6.6.6.6:1", "10.0.0.2:1002");
    let wrong = refused(2, "bob", bob);
    let after = [
        accepted(1, evil),
        login(2, "bob", bob),
        wrong,
        login(1, "evil", evil),
        accepted(4, "10.0.0.4:1"),
        login(4, "dora", "10.0.0.4:1"),
        login(2, "bob", bob),
        login(1, "evil", evil),
        login(1, "evil", "6.6.6.6:2"),
    ];
    let expected = |between: &str| {
        [
            format!("success bob@admin {bob} #2{between}"),
            format!("failure bob@admin SCRAM-SHA-256 {bob} #2"),
        ]
    };
    let rest = [
        "success dora@admin 10.0.0.4:1 #4",
        "success bob@admin 10.0.0.2:1002 #2",
        "success evil@admin 6.6.6.6:1 #1 unconfirmed",
        "success evil@admin 6.6.6.6:2 #1 suspect",
    ];
    let starts = [
        (vec![restart.to_owned()], "", " unconfirmed"),
        (vec![restart.to_owned(), restart.to_owned()], "", " unconfirmed"),
        // All that a start writes.
        ([vec![restart.to_owned()], at_work()[..3].to_vec()].concat(), " unconfirmed", ""),
    ];
    for (start, of_bob, of_evil) in starts {
        let forged = [start, after.to_vec()].concat();
        let [success, failure] = expected(of_bob);
        let evil = format!("success evil@admin {evil} #1{of_evil}");
        let mut all = vec![success.as_str(), &failure, &evil];
        all.extend(rest);
        check_free(&forged, &all);
    }
    // Not even many of them do.
    let many = vec![[restart.to_owned(), accepted(1, evil)]; 10].concat();
    check_free(
        &[many, vec![login(2, "bob", bob)]].concat(),
        &["success bob@admin 10.0.0.2:1002 #2 unconfirmed"],
    );
}

#[test]
fn a_real_start_counts_whatever_is_forged_after_it() {
    let mut text = at_work();
    text.extend_from_slice(&at_work()[..3]);
    for number in 1..300_u16 {
        text.push(accepted(number.into(), &format!("10.1.0.1:{number}")));
        if number == 3 {
            // The old count goes on: it did not start, says this line.
            text.push(accepted(4, "6.6.6.6:1"));
        }
    }
    text.extend([login(299, "u", "10.1.0.1:299"), login(2, "bob", "10.0.0.2:1002")]);
    check(
        &text.iter().map(String::as_str).collect::<Vec<_>>(),
        &[ALICE, "success u@admin 10.1.0.1:299 #299", "success bob@admin 10.0.0.2:1002 #2 suspect"],
    );
}

#[test]
fn an_announcement_implies_a_login_in_old_logs_only() {
    let announced = "2026-11-23T02:45:00.151+0000 [conn2]  authenticate db: admin { authenticate: 1, nonce: \"x\", user: \"evil\", key: \"x\" }".to_owned();
    let suspect = "success evil@admin joined 10.0.0.2:1002 #2 suspect inferred";
    let out = check_free(std::slice::from_ref(&announced), &[suspect]);
    assert!(out.accesses[1].classes.contains(Class::Suspect));
    let restart = "2026-11-23T02:45:14.292+0000 [main] ***** SERVER RESTARTED *****".to_owned();
    let version = "2026-11-23T02:45:14.292+0000 [initandlisten] db version v2.6.0".to_owned();
    check_free(&[version.clone(), announced.clone()], &[suspect]);
    check_free(&[restart, version, announced.clone()], &[suspect]);
    // Without a version the form of the other lines tells.
    check(
        &[&accepted(2, "10.0.0.2:1002"), &announced],
        &["success evil@admin joined 10.0.0.2:1002 #2 suspect inferred"],
    );
}

#[test]
fn a_login_without_its_address_is_none_where_addresses_are_written() {
    let bare = line("ACCESS", "conn2", "Successfully authenticated as principal evil on admin");
    let mut text = at_work();
    text.remove(4);
    text.extend([bare, login(2, "bob", "10.0.0.2:1002")]);
    let out = read(&text.iter().map(String::as_str).collect::<Vec<_>>());
    let evil = shown(&out).into_iter().filter(|shown| shown.starts_with("success evil@")).count();
    assert_eq!(evil, 0, "{:?}", shown(&out));
    // 3.4 writes none, and nobody can make it seem to.
    let old = |text: String| text.replace("v4.2.6", "v3.4.1");
    let mut text: Vec<String> = at_work().into_iter().map(old).collect();
    text.push(line("ACCESS", "conn2", "Successfully authenticated as principal bob on admin"));
    check(
        &text.iter().map(String::as_str).collect::<Vec<_>>(),
        &[ALICE, "success bob@admin joined 10.0.0.2:1002 #2"],
    );
}

#[test]
fn a_forged_time_does_not_tell_the_year_of_real_lines() {
    let at = |time: &str, rest: &str| format!("{time} I  ACCESS   [conn3] {rest}");
    let own = "10.9.9.9:5555";
    let says = |user: &str| {
        format!("Successfully authenticated as principal {user} on admin from client {own}")
    };
    // The weekdays of 2027 to 2030, each next to the one before.
    let forged = ["Tue", "Thu", "Fri", "Sat"]
        .map(|day| at(&format!("{day} Jun 15 02:00:00.000"), &says("evil")));
    let name = format!("x\n{}\ny", forged.join("\n").replace(own, "6.6.6.6:1"));
    let text = [
        accepted(3, own).replace("2026-11-23T02:45:14.292+0000", "Mon Nov 23 02:47:25.000"),
        at("Mon Nov 23 02:47:25.918", &says(&name)),
        at("Mon Nov 23 02:47:26.918", &says("real")),
    ];
    let out = read_split(&text);
    let real = out.accesses.last().map(|access| access.event_time.to_string());
    assert_eq!(real.as_deref(), Some("2026-11-23T02:47:26.918Z"));
}

#[test]
fn an_open_record_swallows_no_json_log() {
    let cut = login(3, "u", "10.9.9.9:5555")[..100].to_owned();
    let slow = format!(r#"{{"a":"{}"}}"#, "b".repeat(200));
    let mut json_lines = vec![super::accepted(1, "10.0.0.1:5"), success("conn1", "app")];
    json_lines.extend((0..300).map(|_| json(2.0, "COMMAND", 51803, "conn1", &slow)));
    json_lines.push(success("conn1", "late"));
    let app = "success app@admin SCRAM-SHA-256 10.0.0.1:5 #1 speculative=true";
    let late = app.replace("app", "late");
    // Behind text, and before more JSON.
    let out = read_split(&[vec![cut.clone()], json_lines.clone()].concat());
    assert_eq!(shown(&out), [app, &late]);
    let out = read_split(&[json_lines.clone(), vec![cut], json_lines[1..2].to_vec()].concat());
    assert_eq!(shown(&out), [app, &late, app]);
}

//! Lines of 4.4 and later.

use super::*;

#[test]
fn version_4_4_has_its_own_words() {
    let out = check(
        &[
            r#"{"t":{"$date":"2026-11-23T02:45:20.141+00:00"},"s":"I",  "c":"ACCESS",   "id":20250,   "ctx":"conn2","msg":"Successful authentication","attr":{"mechanism":"SCRAM-SHA-256","principalName":"root","authenticationDatabase":"admin","client":"127.0.0.1:58360"}}"#,
            r#"{"t":{"$date":"2026-11-23T02:45:21.141Z"},"s":"I",  "c":"ACCESS",   "id":20249,   "ctx":"conn3","msg":"Authentication failed","attr":{"mechanism":"SCRAM-SHA-1","principalName":"o\"b\\\u00fc","authenticationDatabase":"appdb","client":"[::1]:37896","result":"UserNotFound: Could not find user \"o\" for db \"appdb\""}}"#,
            r#"{"t":{"$date":"2026-11-23T02:45:22.141+00:00"},"s":"I",  "c":"ACCESS",   "id":20429,   "ctx":"conn4","msg":"Successfully authenticated","attr":{"user":"CN=x","db":"$external","client":"10.0.0.1:1"}}"#,
            r#"{"t":{"$date":"2026-11-23T02:45:23.141+00:00"},"s":"I",  "c":"ACCESS",   "id":20427,   "ctx":"conn5","msg":"Authenticate","attr":{"db":"$external","command":"{ authenticate: 1 }"}}"#,
            r#"{"t":{"$date":"2026-11-23T02:45:23.241+00:00"},"s":"I",  "c":"ACCESS",   "id":20428,   "ctx":"conn5","msg":"Failed to authenticate","attr":{"user":"CN=a@b.com@$external","client":"10.0.0.1:2","mechanism":"MONGODB-X509","error":{"code":18,"codeName":"AuthenticationFailed","errmsg":"There is no x.509 client certificate matching the user."}}}"#,
        ],
        &[
            "success root@admin SCRAM-SHA-256 127.0.0.1:58360 #2",
            "failure o\"b\\ü@appdb SCRAM-SHA-1 [::1]:37896 #3",
            "success CN=x@$external 10.0.0.1:1 #4",
            "failure CN=a@b.com@$external MONGODB-X509 10.0.0.1:2 #5",
        ],
    );
    assert_eq!(out.accesses[0].event_time.to_string(), "2026-11-23T02:45:20.141Z");
    assert_eq!(out.accesses[0].written_time, doorbook_event::WrittenTime::Complete);
    assert_eq!(
        reason(&out.accesses[1]),
        "UserNotFound: Could not find user \"o\" for db \"appdb\""
    );
    let expected = Outcome::Failure {
        reason: Some(
            "AuthenticationFailed: There is no x.509 client certificate matching the user.".into(),
        ),
        code: Some(18),
    };
    assert_eq!(out.accesses[3].outcome, expected);
    let Principal::User { name, database } = &out.accesses[3].principal else { panic!("a user") };
    assert_eq!((name.as_str(), database.as_str()), ("CN=a@b.com", "$external"));
    assert_eq!(out.latest, "2026-11-23T02:45:23.241Z".parse().ok());
    assert_eq!(out.size_bytes, out.accesses.iter().map(|access| access.raw.len()).sum::<usize>());
}

#[test]
fn version_7_tells_codes_and_members_and_its_debug_twins_are_no_events() {
    let attributes = |user: &str, member: bool, tail: &str| {
        format!(
            r#"{{"client":"10.0.0.1:5","isSpeculative":true,"isClusterMember":{member},"mechanism":"SCRAM-SHA-256","user":"{user}","db":"local",{tail},"metrics":{{"conversation_duration":{{"micros":9,"summary":{{"0":{{"step":1}}}}}}}},"extraInfo":{{}}}}"#
        )
    };
    let ok = attributes("__system", true, r#""result":0"#);
    let failed =
        attributes("ghost", false, r#""error":"AuthenticationAbandoned: gone","result":337"#);
    let nobody = attributes("", false, r#""error":"OperationFailed: SASL","result":96"#);
    let out = check(
        &[
            &json_of("D3", 1.0, "ACCESS", 5_286_306, "conn1", &ok),
            &json(1.0, "ACCESS", 5_286_306, "conn1", &ok),
            &json_of("D3", 1.0, "ACCESS", 5_286_307, "conn2", &failed),
            &json(1.0, "ACCESS", 5_286_307, "conn2", &failed),
            &json_of("D5", 1.0, "ACCESS", 20249, "conn2", &failed),
            &json(1.0, "ACCESS", 5_286_307, "conn3", &nobody),
        ],
        &[
            "success __system@local SCRAM-SHA-256 10.0.0.1:5 #1 speculative=true system",
            "failure ghost@local SCRAM-SHA-256 10.0.0.1:5 #2 speculative=true",
            "failure @local SCRAM-SHA-256 10.0.0.1:5 #3 speculative=true",
        ],
    );
    assert_eq!(out.accesses[0].attributes.get("cluster_member"), Some(&"true".into()));
    let expected =
        Outcome::Failure { reason: Some("AuthenticationAbandoned: gone".into()), code: Some(337) };
    assert_eq!(out.accesses[1].outcome, expected);
}

#[test]
fn a_fallback_after_a_refused_speculative_start_is_the_same_attempt() {
    let retry = |lines: &[&str]| {
        read(lines).accesses.iter().map(|a| a.classes.contains(Class::Retry)).collect::<Vec<_>>()
    };
    let start = &failure(10.0, "conn7", "ghost", true);
    let fallback = &failure(10.004, "conn7", "ghost", false);
    assert_eq!(retry(&[start, fallback]), [false, true]);
    assert_eq!(retry(&[start, fallback, fallback]), [false, true, false], "only the next line");
    assert_eq!(retry(&[start, &failure(12.0, "conn7", "ghost", false)]), [false, true]);
    assert_eq!(
        retry(&[start, &failure(12.001, "conn7", "ghost", false)]),
        [false, false],
        "too late"
    );
    assert_eq!(
        retry(&[start, &failure(10.0, "conn7", "other", false)]),
        [false, false],
        "other user"
    );
    assert_eq!(
        retry(&[start, &failure(10.0, "conn8", "ghost", false)]),
        [false, false],
        "other connection"
    );
    assert_eq!(retry(&[start, start]), [false, false], "two starts");
    assert_eq!(
        retry(&[start, &success("conn7", "ghost")]),
        [false, false],
        "a success is no failure"
    );
    assert_eq!(retry(&[start, &success("conn7", "ghost"), fallback]), [false, false, false]);
    assert_eq!(retry(&[fallback, fallback]), [false, false], "no start");
}

#[test]
fn what_the_line_lacks_is_joined_from_its_connection() {
    let user = r#"{"user":{"user":"restricted","db":"admin"},"reason":"not from there"}"#;
    let denied = r#"{"error":{"code":13,"codeName":"Unauthorized","errmsg":"not authorized on x to execute command { find: \"y\" }"}}"#;
    let out = check(
        &[
            &accepted(7, "10.0.0.1:5"),
            &json(1.0, "ACCESS", 20240, "conn7", user),
            &json(1.0, "ACCESS", 20240, "conn8", r#"{"user":"re@stricted@admin","reason":"r"}"#),
            &json(1.0, "ACCESS", 20436, "conn7", denied),
            &success("conn7", "app"),
            &json(1.0, "ACCESS", 20436, "conn7", denied),
            &json(1.0, "NETWORK", 22944, "conn7", r#"{"remote":"10.0.0.1:5","connectionId":7}"#),
            &json(1.0, "ACCESS", 20436, "conn7", denied),
        ],
        &[
            "failure restricted@admin joined 10.0.0.1:5 #7 inferred",
            "failure re@stricted@admin unknown #8 inferred",
            "authorize failure unauthenticated joined 10.0.0.1:5 #7",
            "success app@admin SCRAM-SHA-256 10.0.0.1:5 #7 speculative=true",
            "authorize failure app@admin joined 10.0.0.1:5 #7",
            "authorize failure unauthenticated unknown #7",
        ],
    );
    assert_eq!(reason(&out.accesses[0]), "not from there");
    assert_eq!(
        reason(&out.accesses[2]),
        "Unauthorized: not authorized on x to execute command { find: \"y\" }"
    );
}

#[test]
fn clients_are_joined_and_the_lines_own_description_goes_first() {
    let metadata = |doc: &str| {
        let attributes = format!(
            r#"{{"remote":"10.0.0.1:5","client":"conn7","negotiatedCompressors":[],"doc":{doc}}}"#
        );
        json(1.0, "NETWORK", 51800, "conn7", &attributes)
    };
    let doc = r#"{"application":{"name":"orders"},"driver":{"name":"PyMongo","version":"4.9"},"mongos":{"host":"vm:1","client":"192.0.2.7:9","version":"7.0.11"}}"#;
    let own = r#"{"client":"10.0.0.1:5","user":"u","db":"d","mechanism":"M","result":0,"doc":{"application":{"name":"own"}},"extraInfo":{}}"#;
    let out = read(&[
        &success("conn7", "early"),
        &accepted(7, "10.0.0.1:5"),
        &metadata(doc),
        &success("conn7", "a"),
        &success("conn7", "b"),
        &json(3.0, "ACCESS", 5_286_306, "conn7", own),
        &json(3.0, "ACCESS", 5_286_306, "conn7", own),
        &success("conn8", "c"),
    ]);
    let application = |index: usize| {
        let client = out.accesses[index].client.as_ref();
        client.and_then(|client| client.application.as_deref())
    };
    let got: Vec<_> = (0..out.accesses.len()).map(application).collect();
    assert_eq!(got, [None, Some("orders"), Some("orders"), Some("own"), Some("own"), None]);
    let client = out.accesses[1].client.as_ref().expect("a client");
    assert_eq!(client.via, Some("vm:1".into()));
    assert_eq!(client.origin, Some(Peer::ip([192, 0, 2, 7].into(), Some(9))));
}

#[test]
fn sockets_and_odd_addresses() {
    let line = |remote: &str| {
        let attributes = format!(
            r#"{{"mechanism":"M","principalName":"u","authenticationDatabase":"d","remote":"{remote}"}}"#
        );
        json(1.0, "ACCESS", 20250, "conn1", &attributes)
    };
    let out = check(
        &[
            &line("anonymous unix socket:27017"),
            &line("[::ffff:10.0.0.1]:7"),
            &line("10.0.0.1"),
            &line("no address"),
        ],
        &[
            "success u@d M unix #1",
            "success u@d M 10.0.0.1:7 #1",
            "success u@d M 10.0.0.1 #1",
            "success u@d M unknown #1",
        ],
    );
    assert_eq!(out.accesses[3].attributes.get("client"), Some(&"no address".into()));
}

#[test]
fn bytes_that_are_not_utf_8_stay_in_the_raw_record() {
    let mut line = success("conn1", "u?").into_bytes();
    let at = line.windows(2).position(|two| two == b"u?").expect("the user");
    line[at + 1] = 0xff;
    let mut out = Batch::default();
    let mut interpreter = reader(&mut out);
    interpreter.line(&line, LinePlace::default(), &mut out);
    assert_eq!(out.accesses[0].principal.to_string(), "u\u{fffd}@admin");
    assert_eq!(out.accesses[0].raw, line);
}

#[test]
fn any_order_and_spacing_is_valid() {
    check(
        &[
            r#" {"attr" : {"authenticationDatabase": "d", "principalName" :"u","mechanism":"M" , "remote":"10.0.0.1:5"}, "ctx":"conn1", "id": 20250 , "c":"ACCESS", "s":"I", "t": {"$date": "2026-11-23T03:45:20.1+01:00"}, "msg":"Authentication succeeded" } "#.trim_start(),
            r#"{"t":{"$date":"2026-11-23T02:45:20.141+00:00"},"s":"I","c":"ACCESS","id":20250,"svc":"-","ctx":"conn2","msg":"x","attr":{"principalName":"u","authenticationDatabase":"d"},"tags":["x"]}"#,
        ],
        &["success u@d M 10.0.0.1:5 #1", "success u@d unknown #2"],
    );
}

#[test]
fn cut_values_are_events_that_say_so() {
    let line = |attributes: &str| {
        let line = json(1.0, "ACCESS", 20249, "conn1", attributes);
        format!(
            r#"{},"truncated":{{"principalName":{{"type":"string","size":16384}}}}}}"#,
            &line[..line.len() - 1]
        )
    };
    let out = check(
        &[
            &line(
                r#"{"mechanism":"M","principalName":"BBB","authenticationDatabase":"d","remote":"10.0.0.1:5","error":"X: y"}"#,
            ),
            &line(r#"{"mechanism":"M","remote":"10.0.0.1:5"}"#),
        ],
        &["failure BBB@d M 10.0.0.1:5 #1", "failure unauthenticated M 10.0.0.1:5 #1"],
    );
    assert_eq!(out.accesses[0].attributes.get("truncated"), Some(&"true".into()));
}

#[test]
fn only_the_head_decides_what_a_line_is() {
    let trap = r#"{"command":{"find":"x","filter":{"msg":"Failed to authenticate \"id\":5286307","c":"ACCESS","id":20250}},"principalName":"u"}"#;
    let out = check(
        &[
            &json(1.0, "COMMAND", 51803, "conn1", trap),
            &json(1.0, "COMMAND", 51803, "conn1", trap)[..200],
            &json(1.0, "NETWORK", 22943, "listener", "{")[..],
            &json(1.0, "ACCESS", 20251, "conn1", r#"{"user":{"user":"x","db":"y"}}"#),
            &json(1.0, "ACCESS", 6_788_604, "conn1", r#"{"metric":"acquireUser","micros":0}"#),
            &json(1.0, "ACCESS", 10_483_900, "conn1", r#"{"client":"10.0.0.1:5"}"#),
            r#"{ "atype" : "authenticate", "ts" : { "$date" : "2022-09-16T01:38:20.034+0000" }, "param" : { "user" : "x", "db" : "admin", "mechanism" : "SCRAM-SHA-256" }, "result" : 18 }"#,
            "",
            "{",
            r#"{"t":{"$date":"2026-10-"#,
            r#"{"t":{"$date":"bad"},"s":"I"}"#,
            "MongoServerError: Authentication failed.",
        ],
        &[],
    );
    assert_eq!(out.unknown_ids, []);
}

#[test]
fn unknown_ids_of_the_component_are_counted() {
    let out = check(
        &[
            &json(1.0, "ACCESS", 9_999_999, "conn1", "{}"),
            &json(1.0, "CONTROL", 23403, "conn1", r#"{"buildInfo":{"version":"8.2.1"}}"#),
            &json(1.0, "ACCESS", 9_999_999, "conn1", r#"{"a":{"b":[1,2]}}"#),
            &json(1.0, "ACCESS", 9_999_999, "conn1", "{}"),
            &json_of("D1", 1.0, "ACCESS", 9_999_998, "conn1", "{}"),
            &json_of("W", 1.0, "ACCESS", 9_999_999, "conn1", "{}"),
            &json(1.0, "COMMAND", 9_999_997, "conn1", "{}"),
        ],
        &[],
    );
    let unknown = |version: Option<&str>, count| UnknownId {
        id: 9_999_999,
        version: version.map(Text::from),
        count,
        message: "m".into(),
    };
    assert_eq!(out.unknown_ids, [unknown(None, 1), unknown(Some("8.2.1"), 3)]);
    // They are handed out with their file.
    let mut out = Batch::default();
    let mut interpreter = reader(&mut out);
    feed(&mut interpreter, &[&json(1.0, "ACCESS", 9_999_999, "conn1", "{}")], &mut out);
    interpreter.begin_file(hints(), true, &mut out);
    assert_eq!(out.unknown_ids, [unknown(None, 1)]);
}

#[test]
fn what_cannot_be_read_is_put_aside() {
    let whole = success("conn1", "u");
    let no_user = json(1.0, "ACCESS", 20250, "conn1", r#"{"mechanism":"M","remote":"10.0.0.1:5"}"#);
    let bad_time = whole.replace("2026-11-23T", "2026-99-23T");
    let warning = whole.replace("\"s\":\"I\"", "\"s\":\"W\"");
    let garbage = format!("{whole}x");
    let no_head = &whole[40..];
    let lines =
        [&whole[..whole.len() - 5], &no_user, &bad_time, &garbage, no_head, &whole[..75], &warning];
    let out = read(&lines);
    assert_eq!(out.accesses, []);
    let reasons: Vec<_> =
        out.quarantine.iter().map(|q| (q.reason.as_str(), q.place.line)).collect();
    let not_whole = "the line is not whole";
    assert_eq!(
        reasons,
        [
            (not_whole, 1),
            ("the user is missing", 2),
            ("the time cannot be read", 3),
            (not_whole, 4),
            ("the line's beginning cannot be read", 5),
            (not_whole, 6),
            ("the severity is not that of an event", 7),
        ]
    );
    for (quarantine, line) in out.quarantine.iter().zip(lines) {
        assert_eq!(quarantine.bytes, line.as_bytes());
        assert_eq!(quarantine.length_bytes, line.len() as u64);
        assert_eq!(quarantine.sha256, <[u8; 32]>::from(Sha256::digest(line)));
        assert_eq!(quarantine.place.file, "mongod.log");
    }
    assert_eq!(out.size_bytes, lines.iter().map(|line| line.len()).sum::<usize>());
}

#[test]
fn oversized_lines_are_put_aside_if_they_may_be_authentications() {
    let mut out = Batch::default();
    let mut interpreter = reader(&mut out);
    let login = success("conn1", &"B".repeat(100));
    let slow = json(1.0, "COMMAND", 51803, "conn1", r#"{"x":" ACCESS "}"#);
    let text = "2026-11-23T02:45:14.975+0000 I  ACCESS   [conn81] SASL SCRAM-SHA-256 authentication failed for BBB";
    for head in
        [login.as_str(), &slow, text, "2026-11-23T02:45:14.975+0000 I  COMMAND  [conn81] x", "x"]
    {
        interpreter.oversized(
            head.as_bytes(),
            1 << 30,
            [7; 32],
            LinePlace { line: 3, offset_bytes: 9 },
            &mut out,
        );
    }
    assert_eq!((out.lines, out.quarantine.len()), (5, 2));
    let first = &out.quarantine[0];
    assert_eq!((first.length_bytes, first.sha256, first.place.offset_bytes), (1 << 30, [7; 32], 9));
    assert_eq!(first.bytes, login.as_bytes());
}

#[test]
fn connections_belong_to_one_life_of_the_process() {
    let starting =
        json(9.0, "CONTROL", 4_615_611, "initandlisten", r#"{"pid":1,"port":27017,"host":"vm"}"#);
    let restricted =
        json(1.0, "ACCESS", 20240, "conn7", r#"{"user":{"user":"u","db":"d"},"reason":"r"}"#);
    let joined = "failure u@d joined 10.0.0.1:5 #7 inferred";
    let lost = "failure u@d unknown #7 inferred";
    let out =
        check(&[&accepted(7, "10.0.0.1:5"), &restricted, &starting, &restricted], &[joined, lost]);
    let starts: Vec<_> = out.accesses.iter().map(|access| access.process_start).collect();
    assert_eq!(starts, [None, "2026-11-23T02:45:09Z".parse().ok()]);
    let restarted = json(9.0, "CONTROL", 20698, "main", "{}");
    check(&[&accepted(7, "10.0.0.1:5"), &restarted, &restricted], &[lost]);
    // mongos has no such line; and a log may lack it.
    let mongos = json(9.0, "CONTROL", 23403, "mongosMain", r#"{"buildInfo":{"version":"7.0.11"}}"#);
    check(&[&accepted(7, "10.0.0.1:5"), &mongos, &restricted], &[lost]);
    check(&[&accepted(7, "10.0.0.1:5"), &accepted(1, "10.0.0.1:6"), &restricted], &[joined]);
    check(
        &[
            &accepted(1, "10.0.0.1:6"),
            &accepted(7, "10.0.0.1:5"),
            &accepted(1, "10.0.0.1:9"),
            &restricted,
        ],
        &[lost],
    );
    // A rotated file repeats the build under the connection that rotated.
    let rotated = json(9.0, "CONTROL", 23403, "conn25", r#"{"buildInfo":{"version":"6.0.27"}}"#);
    check(&[&accepted(7, "10.0.0.1:5"), &rotated, &restricted], &[joined]);
}

#[test]
fn connections_carry_over_to_the_next_rotated_file_only() {
    let restricted =
        json(1.0, "ACCESS", 20240, "conn7", r#"{"user":{"user":"u","db":"d"},"reason":"r"}"#);
    for (continues, expected) in [(true, true), (false, false)] {
        let mut out = Batch::default();
        let mut interpreter = reader(&mut out);
        feed(&mut interpreter, &[&accepted(7, "10.0.0.1:5")], &mut out);
        interpreter.begin_file(hints(), continues, &mut out);
        feed(&mut interpreter, &[&restricted], &mut out);
        interpreter.finish(&mut out);
        assert_eq!(out.accesses[0].peer_joined, expected);
    }
}

#[test]
fn agents_are_monitors() {
    let out = check(
        &[&success("conn1", "mms-monitoring-agent"), &success("conn1", "svc")],
        &[
            "success mms-monitoring-agent@admin SCRAM-SHA-256 10.0.0.1:5 #1 speculative=true monitor",
            "success svc@admin SCRAM-SHA-256 10.0.0.1:5 #1 speculative=true",
        ],
    );
    assert_eq!(out.accesses.len(), 2);
}

use proptest::prelude::*;

use super::*;

const JSON: &str = r#"{"t":{"$date":"2026-11-23T02:47:57.261+00:00"},"s":"I"}"#;
const TEXT: &str = "2026-11-23T02:45:14.292+0000 I  ACCESS   [conn2] Successfully authenticated";
const CTIME: &str = "Mon Nov 23 02:47:25.918 I  CONTROL  [main] options";
const OLD: &str = "2014-04-09T23:16:24.043-0400 [conn3]  authenticate db: admin";

/// Goal: what comes out of an input. Method: physical lines in; lines, `PARTIAL` and `SKIP` out,
/// then what `finish` gives.
#[track_caller]
fn check(lines: &[&str], expect: &[&str]) {
    assert_eq!(unwrapped(lines), expect);
}

fn unwrapped(lines: &[&str]) -> Vec<String> {
    let mut unwrapper = Unwrapper::new();
    let mut found = Vec::new();
    for line in lines {
        found.push(match unwrapper.unwrap(line.as_bytes()) {
            Unwrapped::Line(line) => String::from_utf8_lossy(line).into_owned(),
            Unwrapped::Partial => "PARTIAL".to_owned(),
            Unwrapped::Skip => "SKIP".to_owned(),
        });
    }
    while let Some(line) = unwrapper.finish() {
        found.push(String::from_utf8_lossy(line).into_owned());
    }
    found
}

/// Every header, before every kind of record, is taken off, on a first line and on a later one.
#[test]
fn headers_are_taken_off() {
    let headers = [
        "",
        "\u{feff}",
        "> ",
        "> > ",
        "@400000005bb4ee1e1fd4f2dc ",
        "<14>Nov 23 02:47:58 6.0.27: ",
        "<14>Nov 23 02:47:55 4.2.6.31077[5781]: ",
        "<14>Nov 23 02:47:55 mongod.27017[5781]: ",
        "Nov  3 02:47:58 db-1.example.org mongod[12]: ",
        "Nov 23 02:47:58.123456 db-1 mongod[12]: ",
        "Jun 04 20:07:30 s4 mash-mongodb[1938000]: ",
        "Jun 04 20:07:30 fe80::1 mongod: ",
        "2025-06-04T20:07:30+0200 s4 mongod[1938000]: ",
        "2025-06-04T20:07:30.123456+02:00 s4 mongod[1938000]: ",
        "2025-06-04T20:07:30.123+02:00 s4 mongod[1938000]: ",
        "<14>2025-06-04T20:07:30Z s4 mongod[1938000]: ",
        "<14>1 2026-11-23T02:47:58.261Z db-1 mongod 12 - - ",
        "<14>1 - - mongod - - - ",
        "<14>1 2026-11-23T02:47:58.261Z db-1 mongod 12 - [a@1 b=\"c]\\\"]\"][d] ",
        "<14>1 2026-11-23T02:47:58.261Z db-1 mongod 12 - - \u{feff}",
        "<14>1 2026-11-23T02:47:58.261542+00:00 db-1 mongod - - -  ",
        "mongodb-1  | ",
        "db        | ",
        "0-mongo.x_y | ",
        "mongo.1.8k2@node-3    | ",
        "\x1b[36mmongo_1          |\x1b[0m ",
        "\x1b[36mmongodb-1  | \x1b[0m",
        "\x1b[1;36mmongodb-1  | \x1b[0m",
        "mongodb-1  | 2026-11-23T02:45:46.605123456Z ",
        "2026-11-23T02:45:46.605123456Z ",
        "2026-11-23T02:45:46.605Z ",
        "2026-11-23T02:45:46.605123456Z stdout F ",
        "2026-11-23T02:45:46.605123456+01:00 stderr F ",
        "2026-11-23T02:45:46.605Z stdout F ",
        "2026-11-23T02:45:46Z stdout F:tag ",
        "[pod/mongo-0/mongod] ",
        "> mongodb-1  | 2026-11-23T02:45:46.605123456Z ",
        "> Jun 04 20:07:30 s4 docker[1]: mongodb-1  | ",
    ];
    for header in headers {
        for record in [JSON, TEXT, CTIME, OLD] {
            let line = format!("{header}{record}");
            assert_eq!(unwrapped(&[&line, TEXT, &line, &line]), [record, TEXT, record, record]);
        }
    }
}

#[test]
fn what_is_no_record_stays_as_it_is() {
    for line in [
        "break on admin from client 127.0.0.1:59148",
        "x | y",
        "Nov 23 02:47:58 host sshd[1]: Accepted publickey",
        "<14>Nov 23 02:47:58 host sshd[1]: Accepted publickey",
        "2026-11-23T02:45:46.605123456Z stdout F hello",
        "2026-11-23T02:45:46.605123456Z stdout P hello",
        r#"{"log":"hello\n","stream":"stdout","time":"2026-11-23T02:45:46.6Z"}"#,
        r#"{"log":"hello","stream":"stdout","time":"2026-11-23T02:45:46.6Z"}"#,
        "> hello",
        "# hello",
        "@400000005bb4ee1e1fd4f2dc hello",
        "-- Boot 0123 --",
        "{",
        "<",
        "\u{feff}x",
    ] {
        check(&[TEXT, line, TEXT], &[TEXT, line, TEXT]);
        check(&["x", line], &["x", line]);
    }
}

#[test]
fn nothing_is_searched_for_within_a_line() {
    for line in [
        format!("{TEXT} as principal x {JSON}"),
        format!("{TEXT} as principal x | {TEXT}"),
        format!("as principal x | {TEXT}"),
        format!("db | as principal {JSON}"),
        format!("x {JSON}"),
        format!("x{TEXT}"),
        format!("Nov 23 02:47:58 a b c: {JSON}"),
        format!("<14>1 2026-11-23T02:47:58Z a b {JSON}"),
        format!("@400000005bb4ee1e1fd4f2d {JSON}"),
        format!("2026-11-23 02:47:58 {JSON}"),
    ] {
        check(&[TEXT, &line], &[TEXT, &line]);
    }
}

/// Where the transport wraps each physical line, the pieces of a record that a name with line
/// feeds split come through, whatever they look like.
#[test]
fn pieces_of_a_split_record_lose_the_usual_wrapping_and_no_more() {
    for header in [
        "mongodb-1  | ",
        "Jun 04 20:07:30 s4 mongod[1]: ",
        "2026-11-23T02:45:46.605123456Z stdout F ",
        "2026-11-23T02:45:46.605123456Z ",
        "mongodb-1  | 2026-11-23T02:45:46.605123456Z ",
        "@400000005bb4ee1e1fd4f2dc ",
        "<14>1 2026-11-23T02:47:58.261Z db-1 mongod 12 - - ",
        "[pod/mongo-0/mongod] ",
        "> ",
        "> > ",
    ] {
        for piece in [
            "break on admin",
            "a b: c",
            "x | y",
            ">",
            "> y",
            &format!("x | {TEXT}"),
            "# y",
            " y",
            "{y",
        ] {
            let lines = [format!("{header}{TEXT}"), format!("{header}{piece}")];
            check(&[&lines[0], &lines[1]], &[TEXT, piece]);
        }
    }
}

#[test]
fn a_bare_record_makes_no_wrapping_the_usual_one() {
    let wrapped = format!("db | {TEXT}");
    check(&[&wrapped, "db | y", TEXT, "db | y"], &[TEXT, "y", TEXT, "db | y"]);
}

#[test]
fn lines_of_other_services_pass_through() {
    let mongod = format!("mongodb-1  | {JSON}");
    check(&["web-1      | GET /", &mongod], &["web-1      | GET /", JSON]);
    check(&[&mongod, "web-1      | GET /", &mongod], &[JSON, "GET /", JSON]);
}

#[test]
fn comments_and_empty_lines() {
    check(&["# failJSON: {}", JSON, "", "# x", TEXT], &["SKIP", JSON, "SKIP", "SKIP", TEXT]);
    check(&["", "\r"], &["SKIP", "SKIP"]);
    let wrapped = format!("db | {JSON}");
    check(&[&wrapped, "db | "], &[JSON, "SKIP"]);
}

#[test]
fn carriage_returns() {
    let text = format!("{TEXT}\r");
    let json = format!("{JSON}\r");
    // Of the file.
    check(&[&text, &text, &json], &[TEXT, TEXT, JSON]);
    check(&[JSON, &json, &json], &[JSON, JSON, JSON]);
    // Of a name.
    check(&[TEXT, &text, "y"], &[TEXT, &text, "y"]);
    // Of a name with two line ends of both characters, as in lab/4.2.6/standalone-auth.log:
    // without the second the record's parts do not fit together and its failure is lost.
    check(&[TEXT, &text, &text, "y"], &[TEXT, &text, &text, "y"]);
    // Within Docker's object (a terminal) and after it.
    let object = r#"{"log":"2026-11-23T02:45:14.292+0000 I  x\r\n","stream":"stdout"}"#;
    let object_return = format!("{object}\r");
    let line = "2026-11-23T02:45:14.292+0000 I  x";
    check(&[object, &object_return], &[line, line]);
}

#[test]
fn parts_are_joined_within_their_stream() {
    let cri = |head: &str, part: &str| format!("2026-11-23T02:45:46.605123456Z {head} {part}");
    let (front, back) = JSON.split_at(20);
    let lines = [
        cri("stdout P", front),
        cri("stderr P", &TEXT[..30]),
        cri("stdout P", &back[..5]),
        cri("stderr F", &TEXT[30..]),
        JSON.to_owned(),
        cri("stdout F", &back[5..]),
        cri("stdout F", "y"),
        cri("stdout P", "z"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let p = "PARTIAL";
    check(&lines, &[p, p, p, TEXT, JSON, JSON, "y", p, "z"]);
}

#[test]
fn docker_json() {
    let object = |log: &str, stream: &str| {
        let log = serde_json::to_string(log).expect("a string");
        format!(r#"{{"log":{log},"stream":"{stream}","time":"2026-11-23T02:45:46.6Z"}}"#)
    };
    let (front, back) = JSON.split_at(20);
    let lines = [
        object(&format!("{JSON}\n"), "stdout"),
        object(&format!("{TEXT}\u{1b} \"\\/\u{1f600}\t<\n"), "stdout"),
        object(front, "stdout"),
        object("error\n", "stderr"),
        object(&format!("{back}\n"), "stdout"),
        object("\n", "stdout"),
        object("x", "stdout"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let hostile = format!("{TEXT}\u{1b} \"\\/\u{1f600}\t<");
    check(&lines, &[JSON, &hostile, "PARTIAL", "error", JSON, "SKIP", "PARTIAL", "x"]);

    // Escapes that Docker writes and serde_json does not.
    check(
        &[r#"{"log":"{\"t\":\u003c\ud83d\ude00\ud83d\u0041\/\b\f\n","stream":"stdout"}"#],
        &["{\"t\":<\u{1f600}\u{fffd}A/\u{8}\u{c}"],
    );
    for broken in [
        r#"{"log":"{\"t\":"#,
        r#"{"log":"{\"t\":\"#,
        r#"{"log":"{\"t\":\u00"#,
        r#"{"log":"{\"t\":\x","stream":"stdout"}"#,
        r#"{"log":"{\"t\":" x}"#,
        r#"{"log":"{\"t\":","stream""#,
    ] {
        check(&[broken], &[broken]);
    }
}

#[test]
fn a_line_of_endless_parts_is_bounded() {
    let mut unwrapper = Unwrapper::new();
    let part = format!("2026-11-23T02:45:46.605123456Z stdout P {JSON}{}", "x".repeat(100_000));
    for _ in 0..100 {
        assert_eq!(unwrapper.unwrap(part.as_bytes()), Unwrapped::Partial);
    }
    assert_eq!(unwrapper.finish().map(<[u8]>::len), Some(LINE_BYTES_MAX));
    assert_eq!(unwrapper.finish(), None);
}

/// A way to wrap a line.
#[derive(Clone, Copy, Debug)]
enum Wrap {
    Header(&'static str),
    Docker { chunk_chars: usize },
    Cri { part_bytes: usize },
}

fn wrap(how: Wrap, line: &[u8]) -> Vec<Vec<u8>> {
    match how {
        Wrap::Header(header) => vec![[header.as_bytes(), line].concat()],
        Wrap::Docker { chunk_chars } => {
            let line = String::from_utf8_lossy(line).into_owned() + "\n";
            let chars: Vec<char> = line.chars().collect();
            let chunks = chars.chunks(chunk_chars).map(|chunk| {
                let log = serde_json::to_string(&chunk.iter().collect::<String>());
                format!(r#"{{"log":{},"stream":"stdout","time":"x"}}"#, log.expect("a string"))
            });
            chunks.map(String::into_bytes).collect()
        }
        Wrap::Cri { part_bytes } => {
            let parts: Vec<&[u8]> = line.chunks(part_bytes).collect();
            let last = parts.len() - 1;
            let parts = parts.into_iter().enumerate().map(|(n, part)| {
                let tag = if n == last { "F" } else { "P" };
                let head = format!("2026-11-23T02:45:46.605123456Z stdout {tag} ");
                [head.as_bytes(), part].concat()
            });
            parts.collect()
        }
    }
}

fn any_wrap() -> impl Strategy<Value = Wrap> {
    prop_oneof![
        Just(Wrap::Header("")),
        Just(Wrap::Header("> ")),
        Just(Wrap::Header("@400000005bb4ee1e1fd4f2dc ")),
        Just(Wrap::Header("<14>Nov 23 02:47:58 6.0.27: ")),
        Just(Wrap::Header("Jun 04 20:07:30 s4 mongod[1938000]: ")),
        Just(Wrap::Header("2025-06-04T20:07:30.123456+02:00 s4 mongod[1]: ")),
        Just(Wrap::Header("<14>1 2026-11-23T02:47:58.261Z db-1 mongod 12 - [a b=\"c\"] ")),
        Just(Wrap::Header("\x1b[36mmongodb-1  | \x1b[0m")),
        Just(Wrap::Header("mongodb-1  | 2026-11-23T02:45:46.605123456Z ")),
        Just(Wrap::Header("2026-11-23T02:45:46.605123456Z ")),
        // A first part shorter than a record's beginning is not known for one.
        (40usize..200).prop_map(|chunk_chars| Wrap::Docker { chunk_chars }),
        (40usize..200).prop_map(|part_bytes| Wrap::Cri { part_bytes }),
    ]
}

/// Bytes of a line that are nobody's line end.
fn any_tail() -> impl Strategy<Value = Vec<u8>> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    let text = "[ -~\u{80}-\u{10ffff}]{0,100}".prop_map(String::into_bytes);
    prop_oneof![bytes, text].prop_map(|mut bytes| {
        bytes.retain(|b| *b != b'\n' && *b != b'\r');
        bytes
    })
}

fn any_record() -> impl Strategy<Value = Vec<u8>> {
    let head = prop_oneof![Just(JSON), Just(TEXT), Just(CTIME), Just(OLD)];
    (head, any_tail()).prop_map(|(head, tail)| [head.as_bytes(), &tail].concat())
}

proptest! {
    /// Goal: `unwrap(wrap(line)) == line`. Method: records and pieces of records with arbitrary
    /// bytes, wrapped in one way.
    #[test]
    fn a_wrapped_line_comes_back(
        how in any_wrap(),
        record in any_record(),
        tails in proptest::collection::vec(prop_oneof![any_tail(), any_record()], 0..5),
    ) {
        let mut unwrapper = Unwrapper::new();
        let lossy = matches!(how, Wrap::Docker { .. });
        let mut all = vec![record];
        all.extend(tails);
        for (n, line) in all.into_iter().enumerate() {
            // A piece in a bare log may be a header with a record behind it; random ones are not.
            if line.is_empty() || (n == 0 && line.starts_with(b"#")) {
                continue;
            }
            let parts = wrap(how, &line);
            let (last, parts) = parts.split_last().expect("at least one");
            for part in parts {
                prop_assert_eq!(unwrapper.unwrap(part), Unwrapped::Partial);
            }
            let lossy_line = String::from_utf8_lossy(&line).into_owned().into_bytes();
            let expect = if lossy { lossy_line } else { line };
            prop_assert_eq!(unwrapper.unwrap(last), Unwrapped::Line(&expect));
        }
        prop_assert_eq!(unwrapper.finish(), None);
    }

    /// Goal: arbitrary bytes neither panic nor grow. Method: pieces of headers in any order.
    #[test]
    fn arbitrary_bytes_do_no_harm(
        lines in proptest::collection::vec(
            proptest::collection::vec(
                prop_oneof![
                    any::<u8>().prop_map(|b| vec![b]),
                    any_wrap().prop_flat_map(|how| {
                        let line = wrap(how, b"{\"t\":").remove(0);
                        (0..=line.len()).prop_map(move |n| line[..n].to_vec())
                    }),
                ],
                0..6,
            ).prop_map(|pieces| pieces.concat()),
            0..20,
        ),
    ) {
        let mut unwrapper = Unwrapper::new();
        let mut total = 0;
        for line in &lines {
            total += line.len();
            if let Unwrapped::Line(line) = unwrapper.unwrap(line) {
                prop_assert!(line.len() <= total);
            }
        }
        while unwrapper.finish().is_some() {}
    }
}

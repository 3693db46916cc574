//! Goal: an archive has all rows, says truly what they are, and is none if anything was left out.
//! Method: rows of every kind with hostile texts are exported in each format and read back by other
//! programs' rules: Python's `zipfile` and `csv` where there is a Python, the Parquet library's own
//! reader; the manifest is held to the rows. A writer that fails, and rows that vanish, must end it.

use std::io::{self, Cursor, Write};

use doorbook_event::{PublicIds, Scope};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use serde_json::json;

use super::*;
use crate::export::{Export, Exported, Format};

const PYTHON: &str = "
import csv, hashlib, io, json, sys, zipfile
archive = zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read()))
assert archive.testzip() is None
manifest = json.loads(archive.read('manifest.json'))
data = archive.read(manifest['file'])
assert hashlib.sha256(data).hexdigest() == manifest['sha256'], 'sha256'
assert len(data) == manifest['size_bytes'], 'size'
rows = None
if manifest['format'] == 'csv':
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline='')))
if manifest['format'] == 'ndjson':
    rows = [json.loads(line) for line in data.decode().splitlines()]
json.dump({'manifest': manifest, 'rows': rows, 'data': None if rows is not None else data.hex()}, sys.stdout)
";

/// What Python makes of an archive; an error if it is none.
pub fn read(archive: &[u8]) -> Result<Value, String> {
    use std::process::{Command, Stdio};
    let mut python = Command::new("python3")
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut stdin = python.stdin.take().expect("piped");
    let fed = std::thread::spawn({
        let archive = archive.to_vec();
        move || stdin.write_all(&archive)
    });
    let output = python.wait_with_output().map_err(|error| error.to_string())?;
    fed.join().expect("does not panic").ok();
    match output.status.success() {
        true => serde_json::from_slice(&output.stdout).map_err(|error| error.to_string()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

async fn scene() -> Doors {
    let doors = Doors::new();
    let hostile = [
        "=cmd|'/c calc'!A0",
        "+1",
        "-1",
        "@x",
        "\\t=1",
        "＝1",
        "'quoted",
        " =2",
        "a,b\\\"c\\nd",
        "plain",
    ];
    let mut lines: Vec<String> = hostile.iter().zip(0..).map(|(user, n)| line(user, n)).collect();
    lines.push(
        line("", -5)
            .replace("\"user\":\"\",\"database\":\"admin\",", "")
            .replace("success", "failure"),
    );
    doors.ship(&lines).await;
    doors.ship(&["not an event, =1".to_owned()]).await;
    doors
}

fn export(doors: &Doors, format: Format, asked: &str) -> Export {
    let store = doors.server.app.store().clone();
    let scope: Scope = Scope::Project(group(GROUP));
    let catalog = store.catalog();
    let zone = jiff::tz::TimeZone::UTC;
    let at = doors.server.app.clock().now();
    let about =
        crate::filter::About { registry: &catalog.registry, scope: &scope, now: at, zone: &zone };
    let filter = crate::filter::Terms::parse(asked).and_then(|terms| terms.filter(about));
    Export {
        ids: PublicIds::new(&store.secret("public-ids").expect("there is one")),
        filter: filter.expect("means something"),
        asked: asked.to_owned(),
        zone: "UTC".to_owned(),
        by: "somebody".to_owned(),
        store,
        catalog,
        format,
        at,
    }
}

fn written(doors: &Doors, format: Format, asked: &str) -> (Vec<u8>, Exported) {
    let mut out = Vec::new();
    let exported = export(doors, format, asked).write(&mut out).expect("writes");
    (out, exported)
}

#[tokio::test]
async fn an_archive_has_all_rows_and_says_what_they_are() {
    let doors = scene().await;
    let all = doors.read("/api/v1/events?limit=100").await;
    let (archive, exported) = written(&doors, Format::Ndjson, "");
    let told = read(&archive).expect("an archive");
    assert_eq!(told["rows"], all["events"], "the same rows in the same order");
    let manifest = &told["manifest"];
    assert_eq!(manifest["count"], 11);
    assert_eq!((exported.rows, manifest["sha256"].as_str()), (11, Some(&*exported.sha256)));
    assert_eq!(manifest["as_of"], doors.read("/api/v1/events?limit=0").await["as_of"]);
    let ids: Vec<&str> = all["events"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| row["id"].as_str().expect("an id"))
        .collect();
    // Recorded in the order in which they were sent: the newest was sent last but one.
    assert_eq!(manifest["first_recorded"], ids[9]);
    assert_eq!(manifest["last_recorded"], ids[10]);
    assert_eq!(manifest["earliest"], all["events"][10]["event"]["time"]);
    assert_eq!(manifest["latest"], all["events"][0]["event"]["time"]);
    assert_eq!((&manifest["by"], &manifest["zone"]), (&"somebody".into(), &"UTC".into()));
    assert_eq!(manifest["coverage"]["state"], "gaps");

    let (archive, _) = written(&doors, Format::Ndjson, "result:failed");
    let told = read(&archive).expect("an archive");
    assert_eq!(
        (&told["manifest"]["count"], &told["manifest"]["filter"]),
        (&1.into(), &"result:failed".into())
    );
    let (archive, exported) = written(&doors, Format::Csv, "user:nobody");
    assert_eq!((exported.rows, &read(&archive).expect("an archive")["rows"]), (0, &json!([])));
}

/// What a spreadsheet would execute has an apostrophe before it, and nothing else is changed.
#[tokio::test]
async fn no_cell_of_csv_is_a_formula() {
    let doors = scene().await;
    let all = doors.read("/api/v1/events?limit=100").await;
    let (archive, _) = written(&doors, Format::Csv, "");
    let told = read(&archive).expect("an archive");
    let rows = told["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 11);
    for (row, event) in rows.iter().zip(all["events"].as_array().expect("a list")) {
        let shown = row["principal"].as_str().expect("a cell");
        let first = shown.trim_start().chars().next();
        assert!(!first.is_some_and(|c| "=+-@＝＋－＠".contains(c)), "{shown:?}");
        let user = event["event"]["user"].as_str().unwrap_or_default();
        let is_marked = shown.starts_with('\'');
        assert_eq!(if is_marked { &shown[1..] } else { shown }, user);
        assert_eq!(is_marked, !["plain", "", "a,b\"c\nd"].contains(&user), "{user:?}");
        assert_eq!((&row["time"], &row["id"]), (&event["event"]["time"], &event["id"]));
        assert_eq!((&row["address"], &row["code"]), (&"203.0.113.9".into(), &"".into()));
    }
    let (archive, _) = written(&doors, Format::Csv, "kind:quarantine");
    let told = read(&archive).expect("an archive");
    assert_eq!(told["rows"][0]["raw"], "not an event, =1");
    assert!(
        told["rows"][0]["attributes"].as_str().expect("a cell").contains("\"length_bytes\":16")
    );
}

#[tokio::test]
async fn parquet_is_read_by_its_own_library() {
    let doors = scene().await;
    let all = doors.read("/api/v1/events?limit=100").await;
    let (archive, _) = written(&doors, Format::Parquet, "");
    let told = read(&archive).expect("an archive");
    let data = hex::decode(told["data"].as_str().expect("bytes")).expect("hexadecimal");
    let reader = SerializedFileReader::new(axum::body::Bytes::from(data)).expect("a Parquet file");
    let names = reader.metadata().file_metadata().schema().get_fields().iter();
    let names: Vec<String> = names.map(|field| field.name().to_owned()).collect();
    let rows = reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row"));
    let cell = |row: &parquet::record::Row, name: &str| {
        let at = names.iter().position(|known| known == name).expect("a column");
        row.get_string(at).ok().map_or(Value::Null, |text| text.as_str().into())
    };
    let rows: Vec<_> =
        rows.map(|row| ["id", "principal", "raw"].map(|name| cell(&row, name))).collect();
    let expected = all["events"].as_array().expect("a list").iter();
    let expected: Vec<_> =
        expected.map(|row| [row["id"].clone(), row["event"]["user"].clone(), "".into()]).collect();
    assert_eq!(rows, expected);
}

/// A reader that goes away, at any byte, leaves nothing that opens; no row is left out in silence.
#[tokio::test]
async fn what_is_broken_off_does_not_open() {
    struct Full(Vec<u8>, usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.1 - self.0.len();
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let some = &bytes[..bytes.len().min(room)];
            self.0.extend_from_slice(some);
            Ok(some.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let doors = scene().await;
    for format in Format::ALL {
        let (whole, _) = written(&doors, format, "");
        for room in [0, 1, whole.len() / 2, whole.len() - 100, whole.len() - 1] {
            let mut full = Full(Vec::new(), room);
            export(&doors, format, "").write(&mut full).expect_err("there is no room");
            if room > 1 {
                assert!(read(&full.0).expect_err("no archive").contains("BadZipFile"));
            }
        }
        let mut enough = Full(Vec::new(), whole.len());
        assert!(export(&doors, format, "").write(&mut enough).is_ok());
    }
    let mut cursor = Cursor::new(Vec::new());
    let exported = export(&doors, Format::Csv, "").write(&mut cursor).expect("writes");
    assert_eq!(exported.rows, 11);
}

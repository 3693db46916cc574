//! Arrays in storage, worked by the real `tiledb` package: what two looks show is what was done.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use doorbook_event::{Access, Target, Timestamp};
use doorbook_source::tiledb::disk::DiskArray;
use doorbook_source::tiledb::{ArrayWatch, Listing};

use crate::support::tools::{self, left_out};

/// The package, which does one operation after the other.
struct Worker {
    child: Child,
    operations: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    fn start() -> Result<Option<Worker>> {
        let Some(python) = tools::tiledb_python() else {
            left_out(
                "arrays in storage, worked by the real tiledb package",
                "no Python environment with tiledb; `cargo xtask test` installs one",
            );
            return Ok(None);
        };
        let script = tools::workspace().join("tests/clients/array_operations.py");
        let mut command = Command::new(python);
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("python runs")?;
        let operations = child.stdin.take().context("stdin is piped")?;
        let answers = BufReader::new(child.stdout.take().context("stdout is piped")?);
        Ok(Some(Worker { child, operations, answers }))
    }

    fn does(&mut self, operation: &str) -> Result<()> {
        writeln!(self.operations, "{operation}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(answer.trim() == "done", "{operation}: {answer}");
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Whether it had ended by itself does not matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn watch() -> Result<ArrayWatch> {
    let target = Target::Array { namespace: "alice".into(), array: "a".into() };
    Ok(ArrayWatch::new(target, "arrays".into(), b"")?)
}

fn now() -> Timestamp {
    Timestamp::from_jiff(jiff_now())
}

#[expect(clippy::disallowed_methods, reason = "a test of real files has the system's clock")]
fn jiff_now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// What a look shows: each event's action with what it was of, in the order of time.
fn look(watch: &mut ArrayWatch, folder: &Path) -> Result<Vec<Access>> {
    let at = now();
    match DiskArray::open(folder) {
        Ok(mut array) => {
            let listing = array.list()?;
            watch.scan(listing, &mut array, at);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            struct Nothing;
            impl doorbook_source::tiledb::Contents for Nothing {
                fn read(&mut self, _: &str) -> std::io::Result<Vec<u8>> {
                    Err(std::io::ErrorKind::NotFound.into())
                }
                fn modified(&mut self, _: &str) -> std::io::Result<Timestamp> {
                    Err(std::io::ErrorKind::NotFound.into())
                }
            }
            watch.scan(Listing::new(), &mut Nothing, at);
        }
        Err(error) => return Err(error.into()),
    }
    let mut accesses = Vec::new();
    while let Some(batch) = watch.take() {
        ensure!(batch.quarantine.is_empty(), "{:?}", batch.quarantine);
        ensure!(batch.coverage.is_empty(), "{:?}", batch.coverage);
        accesses.extend(batch.accesses);
    }
    Ok(accesses)
}

fn words(accesses: &[Access]) -> Vec<String> {
    let word = |access: &Access| {
        let what = access.attributes.get("what").map(|what| format!(" {what}")).unwrap_or_default();
        format!("{}{what}", access.action.word())
    };
    accesses.iter().map(word).collect()
}

/// Goal: each operation of the real package is told as what it was, once, with the time at which it was done;
/// and what leaves nothing is not told. Method: a look after each operation, on a sparse and a dense array.
#[test]
fn each_operation_is_told_as_what_it_was() -> Result<()> {
    let Some(mut worker) = Worker::start()? else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let root = dir.path().canonicalize()?;
    for kind in ["sparse", "dense"] {
        let folder = root.join(kind);
        let mut watch = watch()?;
        let path = folder.display();
        let is_sparse = kind == "sparse";
        let mut steps = vec![
            (format!("create {path} {kind}"), vec!["create"]),
            (format!("write {path}"), vec!["query_write"]),
            (format!("write {path} 1700000000000"), vec!["query_write"]),
            (format!("write {path}"), vec!["query_write"]),
            (format!("read {path}"), vec![]),
            (format!("metadata {path}"), vec!["array_metadata_update"]),
            (format!("metadata {path}"), vec!["array_metadata_update"]),
            (format!("metadata_delete {path}"), vec!["array_metadata_update"]),
            (format!("consolidate {path} commits"), vec!["consolidate commits"]),
            (format!("vacuum {path} commits"), vec!["vacuum commits"]),
            (format!("consolidate {path} fragment_meta"), vec!["consolidate fragment_metadata"]),
            (format!("consolidate {path} array_meta"), vec!["consolidate metadata"]),
            (format!("vacuum {path} array_meta"), vec!["vacuum metadata"]),
        ];
        if is_sparse {
            steps.extend([
                (format!("delete {path}"), vec!["query_delete"]),
                (format!("consolidate {path} fragments"), vec!["consolidate fragments"]),
                (format!("vacuum {path} fragments"), vec!["vacuum fragments"]),
                (format!("evolve {path}"), vec!["schema_evolution"]),
            ]);
        }
        steps.extend([
            (format!("write {path}"), vec!["query_write"]),
            (format!("write {path}"), vec!["query_write"]),
            (format!("consolidate {path} commits"), vec!["consolidate commits"]),
            (format!("vacuum {path} commits"), vec!["vacuum commits"]),
            (format!("write {path}"), vec!["query_write"]),
            (format!("delete_fragments {path}"), vec!["delete_fragments"]),
            (format!("write {path}"), vec!["query_write"]),
            (format!("remove {path}"), vec!["delete"]),
        ]);
        for (operation, expected) in &steps {
            let from = now().plus_micros(-10_000);
            worker.does(operation)?;
            let told = look(&mut watch, &folder)?;
            let to = now();
            ensure!(words(&told) == *expected, "{operation}: {:?}, {told:?}", words(&told));
            for access in &told {
                let is_timely = (from..=to).contains(&access.event_time);
                ensure!(is_timely, "{operation}: {from} {} {to}", access.event_time);
            }
            // A second look shows nothing new, nor does another process.
            ensure!(look(&mut watch, &folder)?.is_empty(), "{operation}, twice");
        }
    }
    Ok(())
}

/// Goal: what was done before the first look, or between two, is told as far as its files say so. Method: the
/// same operations, looked at once.
#[test]
fn what_was_done_before_the_first_look() -> Result<()> {
    let Some(mut worker) = Worker::start()? else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let folder = dir.path().canonicalize()?.join("a");
    let path = folder.display();
    for operation in [
        format!("create {path} sparse"),
        format!("write {path}"),
        format!("write {path}"),
        format!("delete {path}"),
        format!("consolidate {path} commits"),
        format!("vacuum {path} commits"),
        format!("consolidate {path} fragments"),
        format!("write {path}"),
    ] {
        worker.does(&operation)?;
    }
    let told = look(&mut watch()?, &folder)?;
    let mut told = words(&told);
    told.sort();
    let expected = [
        "consolidate commits",
        "consolidate fragments",
        "create",
        "query_delete",
        "query_write",
        "query_write",
        "query_write",
    ];
    ensure!(told == expected, "{told:?}");
    Ok(())
}

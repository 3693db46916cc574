//! All rows that a filter matches, in a file to keep or to pass on: `docs/design/export.md`.
//!
//! An export is a ZIP archive of two members: the rows, as CSV, NDJSON or Parquet, and
//! `manifest.json`, which says what they are, how many, and their SHA-256. It is written as it is read,
//! page by page of one state of the history. Whatever goes wrong ends it before the archive's
//! directory, without which no program opens it: what opens is whole.

mod archive;
mod check;
mod columns;
mod csv;
mod parquet;

use std::io::{self, Write};
use std::sync::Arc;

use doorbook_event::public_id::Names;
use doorbook_event::{LogId, PublicIds, Seq, Timestamp};
use doorbook_store::{Answer, Catalog, ErrorKind, Filter, Placed, Store};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::api::native::{seal_as_of, write_coverage, write_row};
use archive::Archive;

pub use check::check;
pub(crate) use csv::push_text as push_csv_text;

/// The member that says what the rows are.
const MANIFEST: &str = "manifest.json";

/// The rows of a page while an export is written, and the memory they may take: Parquet keeps as much
/// again until it has a row group.
const PAGE_ROWS: usize = 16_384;
const PAGE_SIZE_BYTES: usize = 16 << 20;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// RFC 4180, with what a spreadsheet would execute made harmless.
    Csv,
    /// A line of JSON for each row, as the API answers it.
    Ndjson,
    /// A Parquet file.
    Parquet,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 3] = [Format::Csv, Format::Ndjson, Format::Parquet];

    /// Its word, which files end with.
    pub const fn word(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Ndjson => "ndjson",
            Format::Parquet => "parquet",
        }
    }

    /// The format of a word.
    pub fn from_word(word: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.word() == word)
    }
}

/// What is exported, for whom.
pub struct Export {
    /// Where the rows are.
    pub store: Store,
    /// What they are called outside.
    pub ids: PublicIds,
    /// The registry, for what the rows cannot say.
    pub catalog: Arc<Catalog>,
    /// What is wanted; without a limit.
    pub filter: Filter,
    /// The same as it was asked for, with times as instants.
    pub asked: String,
    /// The zone in which days of it were meant.
    pub zone: String,
    /// How rows are written.
    pub format: Format,
    /// Who asked.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// How many rows.
    pub rows: u64,
    /// SHA-256 of the member that has them, in hexadecimal.
    pub sha256: String,
}

/// What an export would say, without one.
#[derive(Clone, Debug)]
pub struct Attested {
    /// How many rows.
    pub count: u64,
    /// SHA-256 of the rows as NDJSON.
    pub rows_sha256: [u8; 32],
    /// The earliest and the latest of their times.
    pub times: Option<(Timestamp, Timestamp)>,
    /// What could be known of the window that was asked for.
    pub coverage: Answer,
    /// What the manifest would say.
    pub manifest: Map<String, Value>,
}

impl Export {
    /// What an export as NDJSON would say, with the coverage of a window.
    pub fn attest(mut self, window: (Timestamp, Timestamp)) -> io::Result<Attested> {
        let total = self.hold()?;
        let mut told = Told::default();
        let mut member = Hashed { out: io::sink(), sha256: Sha256::new(), bytes: 0 };
        self.each_page(&mut told, |page| write_lines(&self.ids, page, &mut member))?;
        told.check(total)?;
        let rows_sha256 = <[u8; 32]>::from(member.sha256.finalize());
        let (from, to) = window;
        let coverage = self.coverage(&Filter { from, to, ..self.filter.clone() });
        let written = (&*hex::encode(rows_sha256), member.bytes);
        let manifest = self.manifest("events.ndjson", &told, written, &coverage);
        let Told { rows: count, times, .. } = told;
        Ok(Attested { count, rows_sha256, times, coverage, manifest })
    }

    /// Writes the archive.
    pub fn write(mut self, out: impl Write + Send) -> io::Result<Exported> {
        let total = self.hold()?;
        let name = format!("events.{}", self.format.word());
        let mut archive = Archive::new(out, self.at);
        let mut told = Told::default();
        let mut member = Hashed { out: archive.begin(&name)?, sha256: Sha256::new(), bytes: 0 };
        match self.format {
            Format::Csv => {
                csv::write_heading(&mut member)?;
                self.each_page(&mut told, |page| csv::write(&self.ids, page, &mut member))?;
            }
            Format::Ndjson => {
                self.each_page(&mut told, |page| write_lines(&self.ids, page, &mut member))?;
            }
            Format::Parquet => {
                let mut file = parquet::File::new(&mut member)?;
                self.each_page(&mut told, |page| file.write(&self.ids, page))?;
                file.finish()?;
            }
        }
        told.check(total)?;
        let Hashed { sha256, bytes, .. } = member;
        let exported = Exported { rows: told.rows, sha256: hex::encode(sha256.finalize()) };
        let coverage = self.coverage(&self.filter);
        let manifest = self.manifest(&name, &told, (&exported.sha256, bytes), &coverage);
        let mut member = archive.begin(MANIFEST)?;
        serde_json::to_writer_pretty(&mut member, &manifest)?;
        member.write_all(b"\n")?;
        archive.finish()?;
        Ok(exported)
    }

    /// Fixes the state, and the number of rows that is held to.
    fn hold(&mut self) -> io::Result<u64> {
        let whole =
            self.store.select(&Filter { limit: 0, ..self.filter.clone() }).map_err(failed)?;
        self.filter.as_of = Some(whole.as_of);
        Ok(whole.total)
    }

    fn coverage(&self, of: &Filter) -> Answer {
        crate::coverage::of(&self.store, &self.catalog.registry, of, self.at)
    }

    /// Hands on all rows, newest first.
    fn each_page(
        &self,
        told: &mut Told,
        mut write: impl FnMut(&[Placed]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut filter = Filter {
            limit: PAGE_ROWS,
            size_bytes_max: PAGE_SIZE_BYTES,
            is_counted: false,
            ..self.filter.clone()
        };
        loop {
            let page = self.store.select(&filter).map_err(failed)?;
            page.rows.iter().for_each(|row| told.add(row));
            write(&page.rows)?;
            let Some(last) =
                page.rows.last().filter(|_| page.is_cut || page.rows.len() == PAGE_ROWS)
            else {
                return Ok(());
            };
            // What comes next is not later: newer rows need not be looked at again.
            filter.to = filter.to.min(last.event_time());
            filter.after = Some(last.order());
        }
    }

    fn manifest(
        &self,
        name: &str,
        told: &Told,
        (sha256, size_bytes): (&str, u64),
        coverage: &Answer,
    ) -> Map<String, Value> {
        let mut text = b"{".to_vec();
        write_coverage(coverage, &mut text);
        text.push(b'}');
        let mut manifest: Map<String, Value> = serde_json::from_slice(&text).unwrap_or_default();
        let id = |place: Option<(LogId, Seq)>| {
            place.map(|(log, seq)| self.ids.id(Names::Record, log, seq).to_string())
        };
        let instant = |at: Timestamp, end: Timestamp| (at != end).then(|| at.to_string());
        let as_of = self.filter.as_of.as_deref().unwrap_or_default();
        let said = json!({
            "version": 1,
            "doorbook": env!("CARGO_PKG_VERSION"),
            "by": self.by,
            "at": self.at.to_string(),
            "scope": self.filter.scope.to_string(),
            "filter": self.asked,
            "zone": self.zone,
            "from": instant(self.filter.from, Timestamp::MIN),
            "to": instant(self.filter.to, Timestamp::MAX),
            "as_of": seal_as_of(&self.ids, as_of),
            "file": name,
            "format": self.format.word(),
            "size_bytes": size_bytes,
            "sha256": sha256,
            "count": told.rows,
            "first_recorded": id(told.first),
            "last_recorded": id(told.last),
            "earliest": told.times.map(|(earliest, _)| earliest.to_string()),
            "latest": told.times.map(|(_, latest)| latest.to_string()),
        });
        if let Value::Object(said) = said {
            manifest.extend(said);
        }
        manifest
    }
}

/// What the manifest says of the rows.
#[derive(Default)]
struct Told {
    rows: u64,
    /// The one that was recorded first, and the one that was last.
    first: Option<(LogId, Seq)>,
    last: Option<(LogId, Seq)>,
    times: Option<(Timestamp, Timestamp)>,
}

impl Told {
    fn check(&self, total: u64) -> io::Result<()> {
        match self.rows == total {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "{} rows of {total} are there: some were removed meanwhile",
                self.rows
            ))),
        }
    }

    fn add(&mut self, row: &Placed) {
        let (place, at) = ((row.log, row.seq), row.event_time());
        self.rows += 1;
        self.first = Some(self.first.map_or(place, |first| first.min(place)));
        self.last = Some(self.last.map_or(place, |last| last.max(place)));
        let times = self.times.map(|(earliest, latest)| (earliest.min(at), latest.max(at)));
        self.times = Some(times.unwrap_or((at, at)));
    }
}

/// Sums up what is written.
struct Hashed<W> {
    out: W,
    sha256: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.sha256.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn write_lines(ids: &PublicIds, rows: &[Placed], out: &mut impl Write) -> io::Result<()> {
    let mut lines = Vec::new();
    for row in rows {
        write_row(ids, row, &mut lines);
        lines.push(b'\n');
        if lines.len() >= 1 << 16 {
            out.write_all(&lines)?;
            lines.clear();
        }
    }
    out.write_all(&lines)
}

fn failed(error: doorbook_store::Error) -> io::Error {
    let kind = match error.kind {
        ErrorKind::Invalid => io::ErrorKind::InvalidInput,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

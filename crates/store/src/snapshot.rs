//! Snapshots of the catalogue, so that the WAL before them can go.
//!
//! # Format, version 1
//! Files `catalog/NNNNNNNNNNNNNNNN.cbor`, named after the last frame that they know as 16
//! hexadecimal digits: 8 bytes `doorcat\n`, version (u32), CRC-32C of the body (u32), both
//! little-endian, and the body, one CBOR value: [`Snapshot`]. A snapshot is of the instant at which a
//! flush began, with what the flush moved: no row is in memory in it, so that rows are not part of
//! it. The frames of the commits made meanwhile, and the flush's own, come after it in the WAL. It
//! is written beside its name, synced, and renamed.
//!
//! The last two are kept, and the WAL from the older one on: a newest one that is damaged costs
//! nothing but time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use doorbook_event::record::{Coverage, ImportId, ImportReceipt, ImportState};
use doorbook_event::registry::Registry;
use doorbook_event::{LogId, ProjectId, Scope, Seq, Target, Text};
use minicbor::{Decode, Encode};

use crate::alarm::Alarms;
use crate::catalog::{Catalog, merge_coverage};
use crate::coverage::{Progress, View, Watched};
use crate::directory::{numbered_files, read_file, write_file};
use crate::disk::Disk;
use crate::error::Error;
use crate::memtable::Memtable;
use crate::request_keys::RequestKey;
use crate::retention::Expiry;
use crate::reviews::Reviews;
use crate::segment::{Segment, SegmentMeta};
use crate::state::{LogState, State};
use crate::wal::Lsn;

const MAGIC: &[u8; 8] = b"doorcat\n";
const VERSION: u32 = 1;
const HEADER_SIZE_BYTES: usize = 8 + 4 + 4;

/// Everything but rows.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Snapshot {
    #[n(0)]
    lsn: Lsn,
    #[n(1)]
    registry: Registry,
    #[n(2)]
    imports: Vec<Import>,
    #[n(3)]
    gaps: Vec<Gaps>,
    #[n(4)]
    logs: Vec<Log>,
    #[cbor(n(5), default, skip_if = "Vec::is_empty")]
    sources: Vec<(Text, Progress)>,
    #[cbor(n(6), default, skip_if = "Vec::is_empty")]
    views: Vec<TargetView>,
    #[cbor(n(7), default, skip_if = "Alarms::is_none")]
    alarms: Alarms,
    #[cbor(n(8), default, skip_if = "Reviews::is_none")]
    reviews: Reviews,
}

/// What a source or an import saw of a target.
#[derive(Encode, Decode)]
#[cbor(map)]
struct TargetView {
    #[n(0)]
    scope: Scope,
    #[n(1)]
    target: Target,
    #[n(2)]
    by: Text,
    #[n(3)]
    view: View,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Import {
    #[n(0)]
    project: ProjectId,
    #[n(1)]
    receipt: ImportReceipt,
    #[n(2)]
    rows: Vec<Rows>,
}

/// Positions of a log: first, and one after the last.
#[derive(Encode, Decode)]
struct Rows {
    #[n(0)]
    log: LogId,
    #[n(1)]
    start: Seq,
    #[n(2)]
    end: Seq,
}

#[derive(Encode, Decode)]
struct Gaps {
    #[n(0)]
    scope: Scope,
    #[n(1)]
    told: Vec<(Option<ImportId>, Coverage)>,
}

/// A log; its number is its place among them.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Log {
    #[n(0)]
    scope: Scope,
    #[n(1)]
    next_seq: Seq,
    #[n(2)]
    segments: Vec<SegmentMeta>,
    #[cbor(n(5), default, skip_if = "Expiry::is_none")]
    expiry: Expiry,
    /// Keys of late requests, from the oldest; absent where there is none.
    #[n(3)]
    request_keys: Option<Vec<RequestKey>>,
    /// Positions that were put aside and read later, each with that of the record which says so.
    #[cbor(n(6), default, skip_if = "Vec::is_empty")]
    resolved: Vec<(Seq, Seq)>,
}

/// Writes a snapshot of a state that has no rows in memory.
pub(crate) fn write(disk: &dyn Disk, dir: &Path, state: &State) -> Result<(), Error> {
    let body = minicbor::to_vec(Snapshot::of(state)).expect("a Vec takes every byte");
    let mut bytes = Vec::with_capacity(HEADER_SIZE_BYTES + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    write_file(disk, dir, &file_name(state.lsn), &bytes)
}

/// The newest snapshot that is whole, the numbers of all whole ones from the oldest, and what was
/// wrong with the others.
pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> Result<(State, Vec<Lsn>, Option<Error>), Error> {
    let mut whole = Vec::new();
    let mut newest = None;
    let mut problem = None;
    for (lsn, path) in numbered_files(disk, dir, ".cbor")? {
        let Some(bytes) = read_file(disk, &path)? else { continue };
        match parse(&path, &bytes, lsn) {
            Ok(snapshot) => {
                whole.push(lsn);
                newest = Some(snapshot);
            }
            Err(error) => problem = Some(error),
        }
    }
    Ok((newest.map(Snapshot::state).unwrap_or_default(), whole, problem))
}

/// Removes every snapshot but these, and what an interrupted one left.
pub(crate) fn keep(disk: &dyn Disk, dir: &Path, keep: &[Lsn]) -> Result<(), Error> {
    let names = disk.list(dir).map_err(|error| Error::io(dir, "list", error))?;
    for name in names {
        if !keep.iter().any(|lsn| file_name(*lsn) == name) {
            let path = dir.join(name);
            disk.remove(&path).map_err(|error| Error::io(&path, "remove", error))?;
        }
    }
    Ok(())
}

fn file_name(lsn: Lsn) -> String {
    format!("{lsn:016x}.cbor")
}

/// The state that a snapshot holds.
pub(crate) fn parse_state(path: &Path, bytes: &[u8], lsn: Lsn) -> Result<State, Error> {
    parse(path, bytes, lsn).map(Snapshot::state)
}

fn parse(path: &Path, bytes: &[u8], lsn: Lsn) -> Result<Snapshot, Error> {
    let Some((head, body)) = bytes.split_at_checked(HEADER_SIZE_BYTES) else {
        return Err(Error::damaged(path, "the header is cut off"));
    };
    let word = |at: usize| {
        u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes are four bytes"))
    };
    if &head[..8] != MAGIC || crc32c::crc32c(body) != word(12) {
        let last = bytes.len();
        return Err(Error::damaged(path, format!("bytes 0 to {last} do not match the checksum")));
    }
    if word(8) != VERSION {
        return Err(Error::damaged(
            path,
            format!("snapshot format {}; this program reads format {VERSION}", word(8)),
        ));
    }
    let snapshot: Snapshot = minicbor::decode(body)
        .map_err(|error| Error::damaged(path, "not a snapshot").because(error))?;
    match snapshot.lsn == lsn {
        true => Ok(snapshot),
        false => Err(Error::damaged(path, format!("the snapshot of frame {}", snapshot.lsn))),
    }
}

impl Snapshot {
    fn of(state: &State) -> Snapshot {
        assert!(state.logs.iter().all(|log| log.memtable.is_empty()), "rows would be lost");
        let rows = |id: &ImportId| {
            let ranges = state.import_rows.get(id).into_iter().flatten();
            ranges.map(|(log, rows)| Rows { log: *log, start: rows.start, end: rows.end }).collect()
        };
        let imports = state.catalog.imports.iter();
        let imports = imports.map(|(id, (project, receipt))| Import {
            project: *project,
            receipt: receipt.clone(),
            rows: rows(id),
        });
        let gaps = state.gaps.iter();
        let gaps = gaps.map(|(scope, told)| Gaps { scope: scope.clone(), told: told.clone() });
        let logs = state.logs.iter().map(|log| Log {
            scope: log.scope.clone(),
            next_seq: log.next_seq,
            segments: log.segments.iter().map(|segment| segment.meta.clone()).collect(),
            expiry: log.expiry.clone(),
            request_keys: Some(log.request_keys.iter().cloned().collect())
                .filter(|keys: &Vec<RequestKey>| !keys.is_empty()),
            resolved: log.resolved.iter().map(|(seq, mark)| (*seq, *mark)).collect(),
        });
        let Watched { sources, targets } = &*state.watched;
        let sources = sources.iter().map(|(name, progress)| (name.clone(), progress.clone()));
        let views = targets.iter().flat_map(|((scope, target), views)| {
            views.iter().map(|(by, view)| TargetView {
                scope: scope.clone(),
                target: target.clone(),
                by: by.clone(),
                view: view.clone(),
            })
        });
        Snapshot {
            sources: sources.collect(),
            views: views.collect(),
            lsn: state.lsn,
            registry: state.catalog.registry.clone(),
            imports: imports.collect(),
            gaps: gaps.collect(),
            logs: logs.collect(),
            alarms: Alarms::clone(&state.alarms),
            reviews: Reviews::clone(&state.reviews),
        }
    }

    fn state(self) -> State {
        let mut catalog = Catalog { registry: self.registry, ..Catalog::default() };
        let mut import_rows = BTreeMap::new();
        let mut retracted: BTreeMap<LogId, Vec<Range<Seq>>> = BTreeMap::new();
        for Import { project, receipt, rows } in self.imports {
            if receipt.state == ImportState::Retracted {
                for Rows { log, start, end } in &rows {
                    retracted.entry(*log).or_default().push(*start..*end);
                }
            }
            let rows = rows.into_iter().map(|rows| (rows.log, rows.start..rows.end)).collect();
            import_rows.insert(receipt.id.clone(), rows);
            catalog.imports.insert(receipt.id.clone(), (project, receipt));
        }
        let mut gaps = BTreeMap::new();
        for Gaps { scope, told } in self.gaps {
            let known = catalog.coverage.entry(scope.clone()).or_default();
            for (_, coverage) in &told {
                merge_coverage(known, coverage);
            }
            gaps.insert(scope, told);
        }
        let mut watched =
            Watched { sources: self.sources.into_iter().collect(), ..Watched::default() };
        for TargetView { scope, target, by, view } in self.views {
            Arc::make_mut(watched.targets.entry((scope, target)).or_default()).insert(by, view);
        }
        let mut scopes = BTreeMap::new();
        let mut logs = Vec::new();
        for (id, log) in (0..).map(LogId).zip(self.logs) {
            let Log { scope, next_seq, segments, expiry, request_keys, resolved } = log;
            let mut retracted = retracted.remove(&id).unwrap_or_default();
            retracted.sort_by_key(|rows| rows.start);
            scopes.insert(scope.clone(), id);
            let segments = segments.into_iter().map(|meta| Arc::new(Segment::new(meta))).collect();
            let memtable = Memtable::default();
            let request_keys = request_keys.into_iter().flatten().collect();
            logs.push(Arc::new(LogState {
                scope,
                next_seq,
                memtable,
                segments,
                retracted,
                resolved: Arc::new(resolved.into_iter().collect()),
                expiry,
                request_keys,
            }));
        }
        State {
            lsn: self.lsn,
            catalog: Arc::new(catalog),
            import_rows: Arc::new(import_rows),
            watched: Arc::new(watched),
            alarms: Arc::new(self.alarms),
            reviews: Arc::new(self.reviews),
            gaps: Arc::new(gaps),
            scopes: Arc::new(scopes),
            logs,
            replay_size_bytes: 0,
            memtable_size_bytes: 0,
        }
    }
}

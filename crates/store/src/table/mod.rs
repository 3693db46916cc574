//! The segments as Delta Lake tables, so that other programs read the history as it stands.
//!
//! # Format, version 1
//! Two tables in the form of the Delta protocol, at reader version 1 and writer version 2:
//!
//! - `segments/` has a row for each record that is in a segment, with the columns of
//!   [`segment`] and the partition column `base_seq`: `seq + base_seq` is the
//!   record's position in its log. Only a bulk import's file has another `base_seq` than 0.
//! - `hidden/` has a row for each stretch of positions whose records are in no answer, because their
//!   import was taken back: `scope`, `first_seq`, `last_seq`. It is one small file, written anew when
//!   it changes and named after what it holds, and committed before the segments are.
//!
//! `_delta_log/` of each holds commits, `NNNNNNNNNNNNNNNNNNNN.json`; every 32 of them a checkpoint,
//! `NNNNNNNNNNNNNNNNNNNN.checkpoint.parquet`, with `_last_checkpoint`; and the checkpoint's actions
//! once more as JSON in `_doorbook.json`, by which we read our own log. The last two checkpoints are
//! kept, and the commits from the older one on.
//!
//! The first line of a commit is a `commitInfo` with the CRC-32C of the lines after it. A `txn`
//! action of the application `doorbook` says up to which frame of the WAL the table goes. Statistics
//! are the row count, and minimum and maximum of `cluster`, `host` and `event_time`, as in the
//! segments' own footers: nothing that may have to be erased.
//!
//! # Derived
//! The WAL is the truth. [`Inner::sync_table`] compares the log with the present state and commits
//! the difference, so that it does not matter where a crash or a failure came between, nor who else
//! has written there. A log that is damaged is named by `verify` and written anew by the next step;
//! one that was deleted, too.
//!
//! # Files that are gone
//! A reader that has listed the table a moment ago opens files that compaction has replaced since.
//! [`Tables`] holds on to each removed segment for [`GRACE_SECONDS`], and with it to its file, as any
//! reader of our own does; not across a restart, and not on a disk that is nearly full.

mod action;
mod checkpoint;
mod hidden;
mod log;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};

use doorbook_event::Timestamp;
use parquet::schema::types::SchemaDescriptor;
use serde_json::json;

use crate::directory::segment_dir;
use crate::disk::Disk;
use crate::error::{Error, ErrorKind};
use crate::segment::{self, Segment, SegmentMeta};
use crate::state::State;
use crate::{Did, Inner};
use action::{Action, Add, Format, MetaData, Remove, schema_string};
use log::Log;

/// How long a file outlives its removal from the table.
const GRACE_SECONDS: i64 = 15 * 60;

/// What is remembered between two steps.
#[derive(Default)]
pub(crate) struct Tables {
    /// The logs as they are on the disk; `None` if that is not known.
    hidden: Option<Log>,
    rows: Option<Log>,
    /// The segments of the table's files, by name.
    live: BTreeMap<String, Arc<Segment>>,
    /// Segments that were removed, and when.
    held: Vec<(Timestamp, Arc<Segment>)>,
}

/// What a table is, whatever is in it.
struct Spec {
    name: &'static str,
    description: &'static str,
    columns: SchemaDescriptor,
    partition: Option<&'static str>,
}

impl Inner {
    /// Takes one step towards tables that say what the present state says; `false` if there is none
    /// to take. Each step is durable by itself, and what fails can be tried again.
    pub(crate) fn sync_table(&self) -> Result<bool, Error> {
        let mut tables = self.tables()?;
        let Tables { hidden, rows, live, held } = &mut *tables;
        let (state, now) = (self.state(), self.options.clock.now());
        let disk = &*self.options.disk;
        let dir = &self.options.data_dir;
        self.let_go(held, now);

        let stretches = hidden::Stretches::of(&state);
        // Hidden rows first: whoever sees a row sees then that it is hidden.
        let is_done = step(disk, &hidden_log(dir), hidden, |log| {
            self.sync_hidden(log, &stretches, state.lsn, now)
        })?;
        if is_done {
            return Ok(true);
        }
        step(disk, &rows_log(dir), rows, |log| self.sync_rows(log, live, held, &state, now))
    }

    /// The same as a unit of maintenance.
    pub(crate) fn write_table(&self) -> Result<Did, Error> {
        Ok(if self.sync_table()? { Did::Table } else { Did::Nothing })
    }

    /// Nobody else writes to the tables as long as this is held.
    pub(crate) fn tables(&self) -> Result<MutexGuard<'_, Tables>, Error> {
        self.tables.lock().map_err(|_| {
            Error::new(ErrorKind::Poisoned, "a step of the table's log ended in a bug: restart")
        })
    }

    /// Ends the grace of removed files whose time is over; of all where room is short.
    fn let_go(&self, held: &mut Vec<(Timestamp, Arc<Segment>)>, now: Timestamp) {
        let free = self.options.disk.free_bytes(&self.options.data_dir);
        let is_full = free.is_ok_and(|free| free < self.options.reserve_size_bytes);
        held.retain(|(since, _)| !is_full && now < since.plus_seconds(GRACE_SECONDS));
    }

    fn sync_hidden(
        &self,
        log: &mut Log,
        stretches: &hidden::Stretches,
        lsn: u64,
        now: Timestamp,
    ) -> Result<Step, Error> {
        let disk = &*self.options.disk;
        let dir = self.options.data_dir.join(hidden::FOLDER);
        let meta_data = self.new_meta_data(log, &hidden::spec(), now)?;
        if meta_data.is_none()
            && log.files.len() == 1
            && log.files.keys().all(|path| stretches.are_in(path))
        {
            // Files of earlier commits, once nobody is at them.
            let expired = now.plus_seconds(-GRACE_SECONDS);
            hidden::remove_others(disk, &dir, log, expired)?;
            return checkpoint(disk, &hidden_log(&self.options.data_dir), log, now);
        }
        let (name, size_bytes) = stretches.write(disk, &self.options.data_dir)?;
        let others = log.files.keys().filter(|path| **path != name);
        let removes: Vec<Remove> = others.map(|path| remove(path.clone(), now, true)).collect();
        let add = Add {
            path: name,
            partition_values: BTreeMap::new(),
            size: size_bytes.cast_signed(),
            modification_time: now.millis(),
            data_change: true,
            stats: Some(json!({ "numRecords": stretches.count() }).to_string()),
        };
        let actions = actions(meta_data, lsn, removes, vec![add]);
        Step::of(log.commit(disk, &hidden_log(&self.options.data_dir), now, actions)?)
    }

    fn sync_rows(
        &self,
        log: &mut Log,
        live: &mut BTreeMap<String, Arc<Segment>>,
        held: &mut Vec<(Timestamp, Arc<Segment>)>,
        state: &State,
        now: Timestamp,
    ) -> Result<Step, Error> {
        let disk = &*self.options.disk;
        let dir = rows_log(&self.options.data_dir);
        let present: BTreeMap<&str, &Arc<Segment>> =
            segments(state).map(|segment| (&*segment.meta.name, segment)).collect();
        let added: Vec<&Arc<Segment>> =
            present.values().filter(|segment| !is_known(log, segment)).copied().collect();
        let removed: Vec<&String> =
            log.files.keys().filter(|path| !present.contains_key(&***path)).collect();
        let meta_data = self.new_meta_data(log, &rows_spec(), now)?;
        if meta_data.is_none() && added.is_empty() && removed.is_empty() {
            remember(live, &present);
            return checkpoint(disk, &dir, log, now);
        }
        let known_removed: Vec<&SegmentMeta> =
            removed.iter().filter_map(|path| Some(&live.get(*path)?.meta)).collect();
        let added_metas: Vec<&SegmentMeta> = added.iter().map(|segment| &segment.meta).collect();
        let rearranged = rearranged(&known_removed, &added_metas);
        let removes: Vec<Remove> = removed
            .iter()
            .map(|path| remove((*path).clone(), now, !rearranged.contains(path.as_str())))
            .collect();
        let adds = added_metas
            .iter()
            .map(|meta| add(meta, now, !rearranged.contains(&*meta.name)))
            .collect();
        let gone: Vec<_> = removed.iter().filter_map(|path| live.get(*path)).cloned().collect();
        let actions = actions(meta_data, state.lsn, removes, adds);
        let is_committed = log.commit(disk, &dir, now, actions)?;
        if is_committed {
            held.extend(gone.into_iter().map(|segment| (now, segment)));
            remember(live, &present);
        }
        Step::of(is_committed)
    }

    /// What the log should say of the table, if it does not say so.
    fn new_meta_data(
        &self,
        log: &Log,
        spec: &Spec,
        now: Timestamp,
    ) -> Result<Option<MetaData>, Error> {
        let schema_string = schema_string(&spec.columns, spec.partition);
        let known = log.meta_data.as_ref();
        if known.is_some_and(|known| known.schema_string == schema_string) {
            return Ok(None);
        }
        let id = match known {
            Some(known) => known.id.clone(),
            // The same for ever, also if the log is written anew.
            None => uuid(self.secret(&format!("table-{}", spec.name))?),
        };
        Ok(Some(MetaData {
            id,
            name: Some(spec.name.to_owned()),
            description: Some(spec.description.to_owned()),
            format: Format { provider: "parquet".to_owned(), options: BTreeMap::new() },
            schema_string,
            partition_columns: spec.partition.iter().map(|name| (*name).to_owned()).collect(),
            created_time: Some(now.millis()),
            configuration: BTreeMap::new(),
        }))
    }
}

/// What is wrong with a table.
pub(crate) enum Fault {
    /// Its log cannot be used; the next step writes it anew.
    Damaged(Error),
    /// Its log or its own file cannot be read, and no step mends that.
    Unreadable(Error),
    /// Its log says of so many files something else than the state; the next steps bring it up to
    /// it.
    Behind { log: PathBuf, file_count: usize },
}

/// What is wrong with the tables in a data directory; without a state only what is wrong by itself.
pub(crate) fn verify(disk: &dyn Disk, data_dir: &Path, state: Option<&State>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (dir, is_hidden) in [(rows_log(data_dir), false), (hidden_log(data_dir), true)] {
        let log = match Log::load(disk, &dir) {
            Ok(log) if log.next_version == 0 => continue,
            Ok(log) => log,
            Err(error) if log::is_damage(&error) => {
                faults.push(Fault::Damaged(error));
                continue;
            }
            Err(error) => {
                faults.push(Fault::Unreadable(error));
                continue;
            }
        };
        if is_hidden {
            faults.extend(hidden::damaged(disk, data_dir, &log).map(Fault::Unreadable));
        }
        let file_count = state.map_or(0, |state| match is_hidden {
            true => hidden::differences(&log, state),
            false => differences(&log, state),
        });
        if file_count > 0 {
            faults.push(Fault::Behind { log: dir, file_count });
        }
    }
    faults
}

/// Of how many files a log says something else than a state.
fn differences(log: &Log, state: &State) -> usize {
    let names: BTreeSet<&str> = segments(state).map(|segment| &*segment.meta.name).collect();
    let unknown = segments(state).filter(|segment| !is_known(log, segment)).count();
    unknown + log.files.keys().filter(|path| !names.contains(&***path)).count()
}

/// What came of a step.
enum Step {
    Done,
    Idle,
    /// Another writer was there: look again.
    Overtaken,
}

impl Step {
    fn of(is_committed: bool) -> Result<Step, Error> {
        Ok(if is_committed { Step::Done } else { Step::Overtaken })
    }
}

/// Takes a step on a log. Afterwards it is known what is on the disk, or known that it is not.
fn step(
    disk: &dyn Disk,
    dir: &Path,
    known: &mut Option<Log>,
    take: impl FnOnce(&mut Log) -> Result<Step, Error>,
) -> Result<bool, Error> {
    let mut log = match known.take() {
        Some(log) => log,
        None => match Log::load(disk, dir) {
            Err(error) if log::is_damage(&error) => {
                log::remove(disk, dir)?;
                Log::default()
            }
            loaded => loaded?,
        },
    };
    let step = take(&mut log)?;
    if !matches!(step, Step::Overtaken) {
        *known = Some(log);
    }
    Ok(!matches!(step, Step::Idle))
}

fn checkpoint(disk: &dyn Disk, dir: &Path, log: &mut Log, now: Timestamp) -> Result<Step, Error> {
    if !log.wants_checkpoint() {
        return Ok(Step::Idle);
    }
    log.write_checkpoint(disk, dir, now.plus_seconds(-GRACE_SECONDS))?;
    Ok(Step::Done)
}

fn segments(state: &State) -> impl Iterator<Item = &Arc<Segment>> {
    state.logs.iter().flat_map(|log| &log.segments)
}

fn remember(live: &mut BTreeMap<String, Arc<Segment>>, present: &BTreeMap<&str, &Arc<Segment>>) {
    live.retain(|name, _| present.contains_key(&**name));
    for (name, segment) in present {
        live.entry((*name).to_owned()).or_insert_with(|| Arc::clone(segment));
    }
}

/// Whether the log has a segment as it is; another writer may have put the path there anew.
fn is_known(log: &Log, segment: &Segment) -> bool {
    log.files.get(&*segment.meta.name).is_some_and(|add| {
        add.size == segment.meta.size_bytes.cast_signed()
            && add.partition_values == partition(segment)
    })
}

fn actions(
    meta_data: Option<MetaData>,
    lsn: u64,
    removes: Vec<Remove>,
    adds: Vec<Add>,
) -> Vec<Action> {
    let head = meta_data.into_iter();
    let head = head.flat_map(|meta_data| [Action::protocol(), Action::of_meta_data(meta_data)]);
    head.chain([Action::of_txn(lsn.cast_signed())])
        .chain(removes.into_iter().map(Action::of_remove))
        .chain(adds.into_iter().map(Action::of_add))
        .collect()
}

fn remove(path: String, now: Timestamp, data_change: bool) -> Remove {
    Remove { path, deletion_timestamp: Some(now.millis()), data_change }
}

fn add(meta: &SegmentMeta, now: Timestamp, data_change: bool) -> Add {
    Add {
        path: meta.name.to_string(),
        partition_values: partition_of(meta),
        size: meta.size_bytes.cast_signed(),
        modification_time: now.millis(),
        data_change,
        stats: Some(stats(meta)),
    }
}

fn partition(segment: &Segment) -> BTreeMap<String, Option<String>> {
    partition_of(&segment.meta)
}

fn partition_of(meta: &SegmentMeta) -> BTreeMap<String, Option<String>> {
    [(BASE_SEQ.to_owned(), Some(meta.base_seq.to_string()))].into()
}

/// The row count, and the range of what is no person's.
fn stats(meta: &SegmentMeta) -> String {
    let members = || meta.members.iter();
    json!({
        "numRecords": meta.rows(),
        "minValues": {
            "cluster": members().map(|member| &*member.group).min(),
            "host": members().map(|member| &*member.member).min(),
            "event_time": members().map(|member| member.from).min(),
        },
        "maxValues": {
            "cluster": members().map(|member| &*member.group).max(),
            "host": members().map(|member| &*member.member).max(),
            "event_time": members().map(|member| member.to).max(),
        },
        "nullCount": { "cluster": 0, "host": 0, "event_time": 0 },
    })
    .to_string()
}

/// The names of the files, removed and added, between which rows only moved. Files of a log belong
/// together if their positions overlap, in one or several steps; rows only moved if as many come as
/// go.
fn rearranged<'a>(removed: &[&'a SegmentMeta], added: &[&'a SegmentMeta]) -> BTreeSet<&'a str> {
    let removed = removed.iter().map(|meta| (*meta, false));
    let mut files: Vec<_> = removed.chain(added.iter().map(|meta| (*meta, true))).collect();
    files.sort_unstable_by_key(|(meta, _)| (meta.log, meta.first_seq));
    let mut names = BTreeSet::new();
    let mut rest = &files[..];
    while let Some((first, _)) = rest.first() {
        let (mut count, mut last_seq) = (0, first.last_seq);
        while let Some((meta, _)) = rest.get(count)
            && meta.log == first.log
            && meta.first_seq <= last_seq
        {
            last_seq = last_seq.max(meta.last_seq);
            count += 1;
        }
        let (group, after) = rest.split_at(count.max(1));
        let rows = |of: bool| {
            let files = group.iter().filter(|(_, is_added)| *is_added == of);
            files.map(|(meta, _)| meta.rows()).sum::<u64>()
        };
        if rows(true) == rows(false) {
            names.extend(group.iter().map(|(meta, _)| &*meta.name));
        }
        rest = after;
    }
    names
}

/// The partition column of the rows.
const BASE_SEQ: &str = "base_seq";

fn rows_spec() -> Spec {
    Spec {
        name: "records",
        description: "Doorbook's history. A record's position in its log is seq + base_seq; \
                      accesses are kind 1, uses of Doorbook itself kind 10; records that are in no \
                      answer are in the table hidden/ beside this one.",
        columns: segment::schema(),
        partition: Some(BASE_SEQ),
    }
}

fn rows_log(data_dir: &Path) -> PathBuf {
    segment_dir(data_dir).join("_delta_log")
}

fn hidden_log(data_dir: &Path) -> PathBuf {
    data_dir.join(hidden::FOLDER).join("_delta_log")
}

/// Random bytes as a UUID that says so.
fn uuid(secret: [u8; 32]) -> String {
    let mut id = [0; 16];
    id.copy_from_slice(&secret[..16]);
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    let hex = hex::encode(id);
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    parts.join("-")
}

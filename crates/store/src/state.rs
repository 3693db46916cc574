//! [`State`]: everything the store knows at one instant, and how a commit changes it.
//!
//! A state never changes. A commit makes the next one from a copy, which shares all that did not
//! change, and publishes it when its frame is durable; readers keep the one they began with, so
//! that no answer mixes two. Recovery is the same [`State::apply`] over the frames of the WAL.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use doorbook_event::record::{Coverage, ImportCounts, ImportId, ImportState, Resolved};
use doorbook_event::registry::RegistryChange;
use doorbook_event::source::Source;
use doorbook_event::{LogId, Record, Scope, Seq, Text, Timestamp};

use crate::alarm::Alarms;
use crate::catalog::{Catalog, is_same, merge_coverage};
use crate::coverage::Watched;
use crate::filter::AsOf;
use crate::frame::{Expired, Flushed, Op, Records};
use crate::memtable::{Memtable, Row};
use crate::request_keys::{RequestKey, RequestKeys};
use crate::retention::Expiry;
use crate::reviews::Reviews;
use crate::segment::{Segment, SegmentMeta};
use crate::wal::Lsn;

/// Everything the store knows at one instant.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// The last frame it knows.
    pub(crate) lsn: Lsn,
    /// What callers see besides rows.
    pub(crate) catalog: Arc<Catalog>,
    /// Which rows each import added.
    pub(crate) import_rows: Arc<BTreeMap<ImportId, Vec<LogRows>>>,
    /// What sources and imports saw, and how far sources have come.
    pub(crate) watched: Arc<Watched>,
    /// What was told, and is to be told.
    pub(crate) alarms: Arc<Alarms>,
    /// What reviewers said and signed.
    pub(crate) reviews: Arc<Reviews>,
    /// What each import said of what a target did not show, so that it can be taken back.
    pub(crate) gaps: Arc<BTreeMap<Scope, Vec<Told>>>,
    /// The log of each scope.
    pub(crate) scopes: Arc<BTreeMap<Scope, LogId>>,
    /// The logs, by number.
    pub(crate) logs: Vec<Arc<LogState>>,
    /// Bytes of WAL payload that a restart would have to replay.
    pub(crate) replay_size_bytes: usize,
    /// About how much memory the rows take that no segment holds yet.
    pub(crate) memtable_size_bytes: usize,
}

/// Consecutive rows of a log.
pub(crate) type LogRows = (LogId, Range<Seq>);

/// An interval of blindness, and the import that told of it.
pub(crate) type Told = (Option<ImportId>, Coverage);

/// One log at one instant.
#[derive(Clone, Debug)]
pub(crate) struct LogState {
    /// Whose history.
    pub(crate) scope: Scope,
    /// The next record's position: how many records the log has.
    pub(crate) next_seq: Seq,
    /// Rows that no segment holds yet.
    pub(crate) memtable: Memtable,
    /// The other rows.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Rows of retracted imports, by position.
    pub(crate) retracted: Vec<Range<Seq>>,
    /// Bytes that were put aside and read later: their positions, each with that of the record which
    /// says so.
    pub(crate) resolved: Arc<BTreeMap<Seq, Seq>>,
    /// What retention did.
    pub(crate) expiry: Expiry,
    /// Keys of late requests.
    pub(crate) request_keys: RequestKeys,
}

/// An operation that does not fit the state it is applied to; says why.
#[derive(Debug)]
pub(crate) struct Misfit(pub(crate) String);

impl State {
    /// The log of a scope, if any record was ever written to it.
    pub(crate) fn log(&self, scope: &Scope) -> Option<(LogId, &Arc<LogState>)> {
        let id = *self.scopes.get(scope)?;
        Some((id, self.logs.get(id.0 as usize)?))
    }

    /// The earliest event time that answers show.
    pub(crate) fn retention_start(&self, scope: &Scope, now: Timestamp) -> Timestamp {
        let by_policy = self.catalog.registry.retention(scope).limits(now).start(now);
        let removed = self.log(scope).and_then(|(_, log)| log.expiry.until);
        by_policy.max(removed.unwrap_or(Timestamp::MIN))
    }

    /// A log by its number.
    pub(crate) fn log_of(&self, id: LogId) -> Option<&Arc<LogState>> {
        self.logs.get(id.0 as usize)
    }

    /// The present state of a scope's logs, for a page that must not change.
    pub(crate) fn as_of(&self, scope: &Scope) -> AsOf {
        self.log(scope).map(|(id, log)| (id, log.next_seq)).into_iter().collect()
    }

    /// Whether an import told of an interval already, in the same words.
    pub(crate) fn was_told(&self, scope: &Scope, import: &ImportId, coverage: &Coverage) -> bool {
        let told = self.gaps.get(scope).into_iter().flatten();
        told.into_iter().any(|(of, told)| of.as_ref() == Some(import) && told == coverage)
    }

    /// What is known of the intervals that an import told of.
    pub(crate) fn coverage_of(&self, import: &ImportId) -> Vec<Coverage> {
        let mut found = Vec::new();
        for (scope, told) in &*self.gaps {
            let told: Vec<&Coverage> = told
                .iter()
                .filter(|(of, _)| of.as_ref() == Some(import))
                .map(|(_, coverage)| coverage)
                .collect();
            let known = self.catalog.coverage.get(scope).into_iter().flatten();
            found.extend(known.filter(|known| told.iter().any(|t| is_same(known, t))).cloned());
        }
        found
    }

    /// Takes one step. On an error the state is to be thrown away.
    pub(crate) fn apply(&mut self, op: Op) -> Result<(), Misfit> {
        match op {
            Op::Log { log, scope } => self.add_log(log, scope),
            Op::Records(records) => self.add_records(records),
            Op::Segment(meta) => self.add_segment(meta),
            Op::Flushed(metas) => self.flushed(metas),
            Op::Counts { import, counts } => self.count(&import, &counts),
            Op::Replaced { log, removed, added } => self.replace(log, &removed, added),
            Op::Expired(expired) => self.expire(expired),
            Op::FlushedUpTo(flushed) => self.flushed_up_to(flushed),
            Op::RequestKey { log, key } => self.remember_request(log, key),
            Op::Advanced(advanced) => {
                Arc::make_mut(&mut self.watched).advance(advanced);
                Ok(())
            }
            Op::Alarms(changes) => {
                let alarms = Arc::make_mut(&mut self.alarms);
                changes.into_iter().try_for_each(|change| alarms.apply(change))
            }
            Op::Reviewed { review, steps } => {
                let reviews = Arc::make_mut(&mut self.reviews);
                steps.into_iter().try_for_each(|step| reviews.apply(review.clone(), step))
            }
        }
    }

    fn add_log(&mut self, id: LogId, scope: Scope) -> Result<(), Misfit> {
        if id.0 as usize != self.logs.len() || self.scopes.contains_key(&scope) {
            return Err(Misfit(format!("log {} of {scope} is there already", id.0)));
        }
        Arc::make_mut(&mut self.scopes).insert(scope.clone(), id);
        self.logs.push(Arc::new(LogState {
            scope,
            next_seq: 0,
            memtable: Memtable::default(),
            segments: Vec::new(),
            retracted: Vec::new(),
            resolved: Arc::default(),
            expiry: Expiry::default(),
            request_keys: RequestKeys::default(),
        }));
        Ok(())
    }

    /// The log to which `count` rows come from `base_seq` on, with their place taken.
    fn extend(&mut self, id: LogId, base_seq: Seq, count: u64) -> Result<&mut LogState, Misfit> {
        let log = self.log_mut(id)?;
        if log.next_seq != base_seq {
            return Err(Misfit(format!(
                "records of log {} begin at {base_seq}, not at {}",
                id.0, log.next_seq
            )));
        }
        log.next_seq += count;
        Ok(log)
    }

    fn add_records(&mut self, group: Records) -> Result<(), Misfit> {
        let Records { log: id, base_seq, ingest_time, source, import, records } = group;
        let scope = self.extend(id, base_seq, records.len() as u64)?.scope.clone();
        if let Some(import) = &import {
            self.add_import_rows(import, id, base_seq..base_seq + records.len() as u64);
        }
        for (record, seq) in records.iter().zip(base_seq..) {
            match record {
                Record::Resolved(resolved) => self.resolve(id, seq, resolved)?,
                _ => self.learn(&scope, import.as_ref(), record)?,
            }
        }
        let rows = records.into_iter().zip(base_seq..);
        let rows = rows
            .map(|(record, seq)| Row { seq, ingest_time, source: source.clone(), record })
            .collect();
        let memtable = &mut Arc::make_mut(&mut self.logs[id.0 as usize]).memtable;
        let before = memtable.size_bytes();
        memtable.push(rows);
        self.memtable_size_bytes += memtable.size_bytes() - before;
        Ok(())
    }

    fn add_segment(&mut self, meta: SegmentMeta) -> Result<(), Misfit> {
        let rows = meta.base_seq..meta.base_seq + meta.rows();
        let log = self.extend(meta.log, rows.start, meta.rows())?;
        log.segments.push(Arc::new(Segment::new(meta.clone())));
        if let Some(import) = &meta.import {
            self.add_import_rows(import, meta.log, rows);
        }
        Ok(())
    }

    fn flushed(&mut self, metas: Vec<SegmentMeta>) -> Result<(), Misfit> {
        for meta in metas {
            let log = self.log_mut(meta.log)?;
            if log.memtable.len() as u64 != meta.rows() {
                return Err(Misfit(format!("segment {} is not the rows in memory", meta.name)));
            }
            log.memtable = Memtable::default();
            log.segments.push(Arc::new(Segment::new(meta)));
        }
        match self.logs.iter().position(|log| !log.memtable.is_empty()) {
            Some(id) => Err(Misfit(format!("log {id} was left out of a flush"))),
            None => {
                self.memtable_size_bytes = 0;
                Ok(())
            }
        }
    }

    fn replace(
        &mut self,
        id: LogId,
        removed: &[Text],
        added: Vec<SegmentMeta>,
    ) -> Result<(), Misfit> {
        let log = self.logs.get_mut(id.0 as usize).map(Arc::make_mut);
        let log = log.ok_or_else(|| Misfit(format!("there is no log {}", id.0)))?;
        let mut row_count = 0;
        for name in removed {
            let at = log.segments.iter().position(|segment| segment.meta.name == *name);
            let at = at.ok_or_else(|| Misfit(format!("there is no segment {name}")))?;
            row_count += log.segments.remove(at).meta.rows();
        }
        if added.iter().map(SegmentMeta::rows).sum::<u64>() != row_count {
            return Err(Misfit(format!("not the {row_count} rows that were replaced")));
        }
        log.segments.extend(added.into_iter().map(|meta| Arc::new(Segment::new(meta))));
        Ok(())
    }

    fn expire(&mut self, expired: Expired) -> Result<(), Misfit> {
        let Expired { log, removed, added, until, notice } = expired;
        let log = self.log_mut(log)?;
        let mut rows = 0;
        for name in removed {
            let at = log.segments.iter().position(|segment| segment.meta.name == name);
            let at = at.ok_or_else(|| Misfit(format!("there is no segment {name}")))?;
            rows += log.segments.remove(at).meta.rows();
        }
        for meta in added {
            let left = rows.checked_sub(meta.rows());
            rows = left.ok_or_else(|| Misfit(format!("segment {} has new rows", meta.name)))?;
            log.segments.push(Arc::new(Segment::new(meta)));
        }
        log.expiry.rows += rows;
        log.expiry.until = log.expiry.until.max(until);
        log.expiry.notice = notice;
        Ok(())
    }

    /// Does nothing where it is known already: a snapshot that was taken with a flush stands before
    /// the commits that were made during it, and the flush's own frame behind them.
    fn flushed_up_to(&mut self, Flushed { segments, below }: Flushed) -> Result<(), Misfit> {
        let mut moved: BTreeMap<LogId, u64> = BTreeMap::new();
        for meta in segments {
            let log = self.log_mut(meta.log)?;
            if !log.segments.iter().any(|segment| segment.meta.name == meta.name) {
                *moved.entry(meta.log).or_default() += meta.rows();
                log.segments.push(Arc::new(Segment::new(meta)));
            }
        }
        for (id, seq) in below {
            let memtable = &mut self.log_mut(id)?.memtable;
            let before = memtable.size_bytes();
            let dropped = memtable.drop_below(seq) as u64;
            let let_go = before - memtable.size_bytes();
            self.memtable_size_bytes -= let_go;
            if dropped != moved.remove(&id).unwrap_or(0) {
                return Err(Misfit(format!("a flush of log {} moved other rows", id.0)));
            }
        }
        match moved.into_keys().next() {
            Some(id) => Err(Misfit(format!("a flush of log {} does not say up to where", id.0))),
            None => Ok(()),
        }
    }

    fn remember_request(&mut self, id: LogId, key: RequestKey) -> Result<(), Misfit> {
        self.log_mut(id)?.request_keys.push(key);
        Ok(())
    }

    fn log_mut(&mut self, id: LogId) -> Result<&mut LogState, Misfit> {
        let log = self.logs.get_mut(id.0 as usize).map(Arc::make_mut);
        log.ok_or_else(|| Misfit(format!("there is no log {}", id.0)))
    }

    fn count(&mut self, import: &ImportId, counts: &ImportCounts) -> Result<(), Misfit> {
        let catalog = Arc::make_mut(&mut self.catalog);
        let Some((_, receipt)) = catalog.imports.get_mut(import) else {
            return Err(Misfit(format!("there is no import {import}")));
        };
        receipt.counts.add(counts);
        Ok(())
    }

    /// What a record changes besides being a row.
    fn learn(
        &mut self,
        scope: &Scope,
        import: Option<&ImportId>,
        record: &Record,
    ) -> Result<(), Misfit> {
        match record {
            Record::Access(_)
            | Record::Own(_)
            | Record::Quarantine(_)
            | Record::Resolved(_)
            | Record::Sighting(_)
            | Record::Amendment(_) => {}
            Record::Heartbeat(heartbeat) => {
                let sources = &mut Arc::make_mut(&mut self.watched).sources;
                let progress = sources.entry(heartbeat.source.clone()).or_default();
                progress.heartbeat = Some(heartbeat.clone());
            }
            Record::Coverage(coverage @ Coverage { source: Some(by), .. }) => {
                Arc::make_mut(&mut self.watched).paint(scope, by, coverage);
            }
            Record::Coverage(coverage) => {
                let gaps = Arc::make_mut(&mut self.gaps).entry(scope.clone()).or_default();
                gaps.push((import.cloned(), coverage.clone()));
                let catalog = Arc::make_mut(&mut self.catalog);
                let known = catalog.coverage.entry(scope.clone()).or_default();
                merge_coverage(known, coverage);
            }
            Record::Registry(change) => {
                let registry = &mut Arc::make_mut(&mut self.catalog).registry;
                registry.check(change).map_err(|error| Misfit(error.to_string()))?;
                let before = change.source().and_then(|name| registry.source(name)).cloned();
                registry.apply(change);
                if let RegistryChange::ReviewRemoved { name } = change {
                    Arc::make_mut(&mut self.reviews).remove(name);
                }
                if let Some(before) = before {
                    self.source_changed(&before, change);
                }
            }
            Record::ImportReceipt(receipt) => {
                let Scope::Project(project) = scope else {
                    return Err(Misfit(format!("import {} is of no project", receipt.id)));
                };
                let imports = &mut Arc::make_mut(&mut self.catalog).imports;
                imports.insert(receipt.id.clone(), (*project, receipt.clone()));
            }
            Record::Retraction(retraction) => self.take_back(scope, &retraction.import)?,
        }
        Ok(())
    }

    /// A mark hides nothing of a state that was before it.
    fn resolve(&mut self, id: LogId, mark: Seq, resolved: &Resolved) -> Result<(), Misfit> {
        let is_before = |seq: &Seq| *seq < mark;
        if resolved.log != id || !resolved.seqs.iter().all(is_before) {
            return Err(Misfit(format!(
                "record {mark} of log {} resolves what is not there",
                id.0
            )));
        }
        let known = Arc::make_mut(&mut self.log_mut(id)?.resolved);
        for seq in &resolved.seqs {
            known.entry(*seq).or_insert(mark);
        }
        Ok(())
    }

    /// What a source has read so far says nothing of another host's log, and one that rests sees
    /// nothing.
    fn source_changed(&mut self, before: &Source, change: &RegistryChange) {
        let watched = Arc::make_mut(&mut self.watched);
        let cause = match change {
            RegistryChange::SourceSet(after) if after.is_of_the_same(before) => return,
            RegistryChange::SourcePaused { paused: false, .. } => return,
            RegistryChange::SourceReplayed { .. } => {
                watched.sources.remove(&before.name);
                return;
            }
            RegistryChange::SourcePaused { .. } => "paused",
            _ => "the source was removed",
        };
        let through = watched.sources.get(&before.name).and_then(|progress| progress.through);
        if let Some(from) = through {
            let scope = before.scope();
            let actions = before.kind.actions();
            watched.rest(&scope, &before.name, &before.target(), actions, from, cause);
        }
        if cause != "paused" {
            watched.sources.remove(&before.name);
        }
    }

    fn take_back(&mut self, scope: &Scope, import: &ImportId) -> Result<(), Misfit> {
        let catalog = Arc::make_mut(&mut self.catalog);
        let Some((_, receipt)) = catalog.imports.get_mut(import) else {
            return Err(Misfit(format!("there is no import {import}")));
        };
        receipt.state = ImportState::Retracted;
        Arc::make_mut(&mut self.watched).take_back(scope, import);
        for (log, rows) in self.import_rows.get(import).into_iter().flatten() {
            let log = Arc::make_mut(&mut self.logs[log.0 as usize]);
            let at = log.retracted.partition_point(|range| range.start < rows.start);
            log.retracted.insert(at, rows.clone());
        }
        if let Some(gaps) = Arc::make_mut(&mut self.gaps).get_mut(scope) {
            gaps.retain(|(of, _)| of.as_ref() != Some(import));
            let mut known = Vec::new();
            for (_, coverage) in gaps.iter() {
                merge_coverage(&mut known, coverage);
            }
            catalog.coverage.insert(scope.clone(), known);
        }
        Ok(())
    }

    fn add_import_rows(&mut self, import: &ImportId, log: LogId, rows: Range<Seq>) {
        let ranges = Arc::make_mut(&mut self.import_rows).entry(import.clone()).or_default();
        match ranges.last_mut() {
            Some((last_log, last)) if *last_log == log && last.end == rows.start => {
                last.end = rows.end;
            }
            _ => ranges.push((log, rows)),
        }
    }
}

impl LogState {
    /// Whether bytes that were put aside had been read in the state that ends at `bound`.
    pub(crate) fn is_resolved(&self, seq: Seq, bound: Seq) -> bool {
        self.resolved.get(&seq).is_some_and(|mark| *mark < bound)
    }
}

/// Whether a position is in one of the ranges, which are sorted and do not overlap.
pub(crate) fn contains(ranges: &[Range<Seq>], seq: Seq) -> bool {
    let after = ranges.partition_point(|range| range.start <= seq);
    after > 0 && seq < ranges[after - 1].end
}

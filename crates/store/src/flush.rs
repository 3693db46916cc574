//! From memory to segments, and from the WAL to a snapshot.
//!
//! A flush takes the state of one instant, and the WAL begins a new file there. The rows that were
//! in memory are written to segments while others commit; one frame then says so, and at that
//! instant they stop being in memory. The snapshot is of the instant at which the flush began, with
//! what it moved: all before it is in the snapshot and in segments, so that the WAL before it can go,
//! and what was committed meanwhile stands in the new file.

use crate::directory::{catalog_dir, segment_dir, wal_dir};
use crate::error::Error;
use crate::frame::{self, Flushed, Op};
use crate::maintain::Work;
use crate::segment::{self, Content, Line, SegmentMeta};
use crate::snapshot;
use crate::state::State;
use crate::wal;
use crate::{Did, Inner};

impl Inner {
    /// Makes the rows in memory segments when there are enough of them, or when a restart would have
    /// too much to replay.
    pub(crate) fn flush_when_full(&self, work: &mut Work) -> Result<Did, Error> {
        let (state, limit) = (self.state(), self.options.memtable_size_bytes);
        let is_long = state.replay_size_bytes >= limit && work.pending.is_none();
        match state.memtable_size_bytes >= limit || is_long {
            true => self.flush(work),
            false => Ok(Did::Nothing),
        }
    }

    /// Makes each log's rows in memory a segment.
    pub(crate) fn flush(&self, work: &mut Work) -> Result<Did, Error> {
        let before = {
            let mut writer = self.writer()?;
            writer.wal.rotate();
            self.state()
        };
        let flushed = self.write_memtables(&before)?;
        let mut pending = State::clone(&before);
        if flushed.segments.is_empty() {
            work.pending = Some(pending);
            return Ok(Did::Flushed);
        }
        let op = Op::FlushedUpTo(flushed.clone());
        pending.apply(op.clone()).expect("the segments hold the rows in memory");
        self.commit_flush(op, &flushed)?;
        work.pending = Some(pending);
        // The rows are let go of here, where nobody waits for it.
        drop(before);
        Ok(Did::Flushed)
    }

    /// Writes the rows in memory of one instant to files.
    fn write_memtables(&self, state: &State) -> Result<Flushed, Error> {
        let dir = segment_dir(&self.options.data_dir);
        let mut flushed = Flushed { segments: Vec::new(), below: Vec::new() };
        for (id, log) in state.scopes.values().filter_map(|id| Some((*id, state.log_of(*id)?))) {
            if log.memtable.is_empty() {
                continue;
            }
            let lines = log.memtable.rows().map(|row| Line {
                seq: row.seq,
                ingest_time: row.ingest_time,
                source: &row.source,
                content: Content::Row(row),
            });
            let name = self.new_segment_name();
            match segment::write(&*self.options.disk, &dir, &name, &log.scope, lines.collect()) {
                Ok(meta) => {
                    flushed.segments.push(SegmentMeta { log: id, ..meta });
                    flushed.below.push((id, log.next_seq));
                }
                Err(error) => {
                    self.remove_segments(flushed.names().chain([&*name]));
                    return Err(error);
                }
            }
        }
        Ok(flushed)
    }

    /// Moves the rows of one instant from memory to the segments that hold them.
    fn commit_flush(&self, op: Op, flushed: &Flushed) -> Result<(), Error> {
        let mut payload = Vec::new();
        frame::put(&mut payload, &op);
        let mut writer = match self.writer() {
            Ok(writer) => writer,
            Err(error) => {
                self.remove_segments(flushed.names());
                return Err(error);
            }
        };
        let lsn = match writer.wal.append(&payload) {
            Ok(lsn) => lsn,
            Err(error) => {
                if !writer.wal.is_poisoned() {
                    self.remove_segments(flushed.names());
                }
                return Err(error);
            }
        };
        let mut next = State::clone(&self.state());
        next.apply(op).expect("the segments hold the rows in memory");
        // The frame itself counts for nothing: it is small, and nothing is left to do about it.
        next.lsn = lsn;
        let mut memory = self.memory();
        self.publish(next);
        for (log, seq) in &flushed.below {
            memory.forget_below(*log, *seq);
        }
        self.counters.note(Ok(Did::Flushed), self.options.clock.now());
        Ok(())
    }

    /// Writes what is not in segments to a snapshot, and lets the WAL before the last one go.
    pub(crate) fn write_snapshot(&self, work: &mut Work) -> Result<Did, Error> {
        let Some(pending) = &mut work.pending else { return Ok(Did::Nothing) };
        let disk = &*self.options.disk;
        let dir = catalog_dir(&self.options.data_dir);
        let lsn = pending.lsn;
        if work.snapshots.last() != Some(&lsn) {
            snapshot::write(disk, &dir, pending)?;
            work.snapshots.push(lsn);
        }
        // Whoever holds the writer's lock finds the same files until he lets go of it.
        let _writer = self.writer()?;
        let mut next = State::clone(&self.state());
        next.replay_size_bytes -= std::mem::take(&mut pending.replay_size_bytes);
        self.publish(next);
        if let [.., older, newer] = work.snapshots[..] {
            work.snapshots = vec![older, newer];
            snapshot::keep(disk, &dir, &work.snapshots)?;
            wal::remove_until(disk, &wal_dir(&self.options.data_dir), older)?;
        }
        work.pending = None;
        Ok(Did::Snapshot)
    }

    /// A name that no segment has, not even one that a crash left behind.
    pub(crate) fn new_segment_name(&self) -> String {
        let mut bytes = [0; 8];
        self.options.random.fill(&mut bytes);
        format!("{}.parquet", hex::encode(bytes))
    }

    /// Removes files that no frame names. If that fails, the next start does it.
    pub(crate) fn remove_segments<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let dir = segment_dir(&self.options.data_dir);
        for name in names {
            let _left_to_the_next_start = self.options.disk.remove(&dir.join(name));
        }
    }
}

impl Flushed {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().map(|meta| &*meta.name)
    }
}

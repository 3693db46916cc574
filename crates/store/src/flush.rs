//! From memory to segments, and from the WAL to a snapshot.

use crate::Inner;
use crate::commit::Writer;
use crate::directory::{catalog_dir, segment_dir};
use crate::error::{Error, ErrorKind};
use crate::frame::{self, Op};
use crate::segment::{self, Content, Line, SegmentMeta};
use crate::snapshot;
use crate::state::State;

impl Inner {
    /// Keeps what a restart would have to replay, and with it the rows in memory, within bounds.
    /// What fails is tried again later; only far beyond the bounds the failure is the caller's.
    pub(crate) fn relieve(&self, writer: &mut Writer) -> Result<(), Error> {
        let limit = self.options.memtable_size_bytes;
        let size = self.state().replay_size_bytes;
        if size < limit.max(writer.relief_failed_at.saturating_add(limit / 4)) {
            return Ok(());
        }
        match self.flush(writer).and_then(|()| self.snapshot(writer)) {
            Ok(()) => {
                writer.relief_failed_at = 0;
                Ok(())
            }
            Err(error) if error.kind == ErrorKind::Poisoned || size / 4 >= limit => Err(error),
            Err(_) => {
                writer.relief_failed_at = size;
                Ok(())
            }
        }
    }

    /// Makes each log's rows in memory a segment.
    fn flush(&self, writer: &mut Writer) -> Result<(), Error> {
        let state = self.state();
        let dir = segment_dir(&self.options.data_dir);
        let mut metas: Vec<SegmentMeta> = Vec::new();
        for (id, log) in state.logs.iter().enumerate() {
            let lines: Vec<_> = log
                .memtable
                .rows()
                .map(|row| Line {
                    seq: row.seq,
                    ingest_time: row.ingest_time,
                    source: &row.source,
                    content: Content::Row(row),
                })
                .collect();
            if lines.is_empty() {
                continue;
            }
            let name = self.new_segment_name();
            match segment::write(&*self.options.disk, &dir, &name, &log.scope, lines) {
                Ok(mut meta) => {
                    meta.log.0 = u32::try_from(id).expect("logs are counted in 32 bits");
                    metas.push(meta);
                }
                Err(error) => {
                    self.remove_segments(metas.iter().map(|meta| &*meta.name).chain([&*name]));
                    return Err(error);
                }
            }
        }
        if metas.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = metas.iter().map(|meta| meta.name.clone()).collect();
        let op = Op::Flushed(metas);
        let lsn = match writer.wal.append(&frame::encode(std::slice::from_ref(&op))) {
            Ok(lsn) => lsn,
            Err(error) => {
                if !writer.wal.is_poisoned() {
                    self.remove_segments(names.iter().map(|name| &**name));
                }
                return Err(error);
            }
        };
        let mut next = State::clone(&state);
        next.apply(op).expect("the segments hold the rows in memory");
        next.lsn = lsn;
        self.publish(next);
        Ok(())
    }

    /// Writes what is not in segments to a snapshot, and lets the WAL before the last one go.
    fn snapshot(&self, writer: &mut Writer) -> Result<(), Error> {
        let disk = &*self.options.disk;
        let dir = catalog_dir(&self.options.data_dir);
        let state = self.state();
        if writer.snapshots.last() != Some(&state.lsn) {
            snapshot::write(disk, &dir, &state)?;
            writer.snapshots.push(state.lsn);
        }
        writer.wal.rotate();
        self.publish(State { replay_size_bytes: 0, ..State::clone(&state) });
        if let [.., older, newer] = writer.snapshots[..] {
            writer.snapshots = vec![older, newer];
            snapshot::keep(disk, &dir, &writer.snapshots)?;
            writer.wal.remove_until(older)?;
        }
        Ok(())
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

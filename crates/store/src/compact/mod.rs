//! Compaction: many small segments become few large ones, as `docs/design/segments.md` says.
//!
//! [`plan`] says what to merge, [`merge`] writes the new files beside the old ones, and one frame
//! puts them in their place. A crash before it leaves files that no frame names, a crash after it
//! files that no frame names any more; the next start removes either. Readers that began before
//! keep the old segments, whose files go with the last of them.

mod merge;
pub(crate) mod plan;

use std::sync::Arc;

use doorbook_event::{LogId, Text};

use crate::cache::Cache;
use crate::directory::segment_dir;
use crate::error::Error;
use crate::frame::{self, Op};
use crate::segment::{Segment, SegmentMeta};
use crate::state::{LogState, State};
use crate::{Did, Inner};
use plan::{Candidate, Job};

impl Inner {
    /// Does one job of compaction, if there is any that the disk has room for. `between` is called every few milliseconds, and
    /// ends the job if it fails; so does a full disk. Either leaves everything as it was. Only the
    /// commit of what was written takes the writer's lock. One job at a time: this is a unit of
    /// [`Inner::maintain`].
    pub(crate) fn compact(
        &self,
        between: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Did, Error> {
        let state = self.state();
        let jobs = state.logs.iter().zip(0..);
        let mut jobs = jobs.filter_map(|(log, id)| Some((LogId(id), log, next_job(log)?)));
        let (id, job, inputs) = loop {
            let Some((id, log, job)) = jobs.next() else { return Ok(Did::Nothing) };
            let inputs: Vec<_> = job.inputs.iter().map(|n| Arc::clone(&log.segments[*n])).collect();
            if self.has_room_for(&inputs)? {
                break (id, job, inputs);
            }
        };
        let mut added = Vec::new();
        let merged = self.merge(id, &inputs, &job, &mut added, between);
        let committed = merged.and_then(|()| {
            let metas = added.iter().filter_map(|(_, meta)| meta.clone()).collect();
            self.replace(id, &inputs, metas)
        });
        // An input went meanwhile, with retention, or this failed; the files go, unless the frame may
        // be on the disk after all.
        if !matches!(committed, Ok(true))
            && self.writer().is_ok_and(|writer| !writer.wal.is_poisoned())
        {
            self.remove_segments(added.iter().map(|(name, _)| &**name));
        }
        committed.map(|_| Did::Compacted)
    }

    /// Whether old and new files fit beside each other. Half of the reserve is not for compaction:
    /// expiry, snapshots and the WAL need it more, and only expiry makes room.
    fn has_room_for(&self, inputs: &[Arc<Segment>]) -> Result<bool, Error> {
        let dir = &self.options.data_dir;
        let free = self.options.disk.free_bytes(dir);
        let free = free.map_err(|error| Error::io(dir, "ask for the free space of", error))?;
        let size_bytes: u64 = inputs.iter().map(|segment| segment.meta.size_bytes).sum();
        Ok(free >= size_bytes.saturating_add(self.options.reserve_size_bytes / 2))
    }

    /// Writes the new files; their names are there as soon as a file may be.
    fn merge(
        &self,
        id: LogId,
        inputs: &[Arc<Segment>],
        job: &Job,
        added: &mut Vec<(String, Option<SegmentMeta>)>,
        between: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let disk = &*self.options.disk;
        let dir = segment_dir(&self.options.data_dir);
        let candidates: Vec<_> = inputs.iter().map(|segment| candidate(&segment.meta)).collect();
        // Every page is needed once, so that there is nothing to keep.
        let cache = Arc::new(Cache::new(0));
        let inputs =
            inputs.iter().map(|segment| segment.open_cached(disk, &dir, Arc::clone(&cache)));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let times = match job.makes {
            plan::Makes::One => Vec::new(),
            _ => merge::sample(&inputs, between)?,
        };
        for cut in plan::cut(job.makes, &candidates, &times) {
            let name = self.new_segment_name();
            added.push((name.clone(), None));
            let meta = merge::merge(disk, &dir, &name, &inputs, &cut, between)?;
            added.pop();
            if let Some(meta) = meta {
                added.push((name, Some(SegmentMeta { log: id, ..meta })));
            }
        }
        Ok(())
    }

    /// Commits new segments in the place of old ones; `false` if these are not all there any more.
    fn replace(
        &self,
        id: LogId,
        inputs: &[Arc<Segment>],
        added: Vec<SegmentMeta>,
    ) -> Result<bool, Error> {
        let mut writer = self.writer()?;
        let state = self.state();
        let log = &state.logs[id.0 as usize];
        let is_there = |input| log.segments.iter().any(|segment| Arc::ptr_eq(segment, input));
        if !inputs.iter().all(is_there) {
            return Ok(false);
        }
        let removed: Vec<Text> = inputs.iter().map(|input| input.meta.name.clone()).collect();
        let op = Op::Replaced { log: id, removed, added };
        let mut payload = Vec::new();
        frame::put(&mut payload, &op);
        let lsn = writer.wal.append(&payload)?;
        let mut next = State::clone(&state);
        next.apply(op).expect("the segments are there, and hold the same rows");
        next.lsn = lsn;
        next.replay_size_bytes += payload.len();
        self.publish(next);
        let dir = segment_dir(&self.options.data_dir);
        for input in inputs {
            input.retire(Arc::clone(&self.options.disk), &dir);
        }
        Ok(true)
    }
}

fn next_job(log: &LogState) -> Option<Job> {
    let candidates: Vec<_> = log.segments.iter().map(|segment| candidate(&segment.meta)).collect();
    plan::plan(&candidates)
}

fn candidate(meta: &SegmentMeta) -> Candidate {
    let times = || meta.members.iter();
    Candidate {
        row_count: meta.rows(),
        size_bytes: meta.size_bytes,
        from: times().map(|member| member.from.micros()).min().unwrap_or(0),
        to: times().map(|member| member.to.micros()).max().unwrap_or(0),
        is_final: meta.is_final,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use doorbook_event::{
        Access, Action, Classes, Outcome, Peer, Principal, Record, Scope, Target, Timestamp,
        WrittenTime,
    };
    use proptest::prelude::*;

    use super::plan::Cut;
    use super::*;
    use crate::disk::SystemDisk;
    use crate::memtable::Row;
    use crate::segment::{Content, Line, write};

    fn access(host: u8, at: i64, n: u64) -> Access {
        Access {
            target: Target::Host { cluster: "c".into(), host: format!("h{host}").into() },
            event_time: Timestamp::from_micros(at),
            written_time: WrittenTime::Complete,
            action: Action::Authenticate,
            outcome: match n % 5 {
                0 => Outcome::Failure { reason: Some("no".into()), code: Some(n as i64 % 3) },
                _ => Outcome::Success,
            },
            principal: Principal::User {
                name: format!("u{}", n % 700).into(),
                database: "d".into(),
            },
            mechanism: None,
            peer: Peer::ip([10, 0, (n % 9) as u8, 1].into(), Some(n as u16)),
            peer_joined: n.is_multiple_of(3),
            connection: (!n.is_multiple_of(4)).then_some(n * 1_000_003),
            process_start: None,
            client: None,
            speculative: (n > 3000).then_some(n.is_multiple_of(2)),
            classes: Classes::NONE,
            // Beyond a dictionary, in the larger cases.
            attributes: BTreeMap::from([("k".into(), format!("{n:0>300}").into())]),
            raw: if n.is_multiple_of(7) { Vec::new() } else { format!("line {n}").into_bytes() },
            task_id: (n > 6000).then(|| format!("t{n}").into()),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// Goal: a merge is the sorted union of its inputs, cut by time. Method: files of any rows,
        /// ordinals and positions, with equal times, pages beyond a page's length and values beyond
        /// a dictionary; the outputs are read whole and compared.
        #[test]
        fn a_merge_is_the_sorted_union(
            files in proptest::collection::vec((1_usize..3500, 1_i64..5000, any::<bool>()), 1..5),
            at in 0_i64..5000,
            seed in 1_u64..,
        ) {
            let dir = tempfile::tempdir().expect("a directory");
            let (disk, dir) = (SystemDisk, dir.path());
            let mut random = seed;
            let mut next = |below: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % below
            };
            let (mut segments, mut expected) = (Vec::new(), Vec::new());
            let mut seq = 0;
            for (n, (count, span, is_ordinal)) in files.iter().enumerate() {
                let rows: Vec<(u64, Access)> = (0..*count as u64)
                    .map(|row| (row, access(next(3) as u8, next(*span as u64) as i64, seq + row)))
                    .collect();
                let base = if *is_ordinal { seq } else { 0 };
                let lines = rows.iter().map(|(row, access)| Line {
                    seq: seq - base + row,
                    ingest_time: Timestamp::from_micros(n as i64),
                    source: "test",
                    content: Content::Access(access),
                });
                let name = format!("{n}.parquet");
                let mut meta = write(&disk, dir, &name, &Scope::System, lines.collect()).expect("writes");
                meta.base_seq = base;
                expected.extend(rows.into_iter().map(|(row, access)| Row {
                    seq: seq + row,
                    ingest_time: Timestamp::from_micros(n as i64),
                    source: "test".into(),
                    record: Record::Access(access),
                }));
                seq += *count as u64;
                segments.push(Segment::new(meta));
            }
            let inputs = segments.iter().map(|segment| segment.open(&disk, dir).expect("opens"));
            let inputs: Vec<_> = inputs.collect();
            expected.sort_by(|a, b| {
                (a.names(), a.event_time(), a.seq).cmp(&(b.names(), b.event_time(), b.seq))
            });
            for times in [0..at, at..5000] {
                let cut = Cut { times: times.clone(), is_final: at % 2 == 0 };
                let merged = merge::merge(&disk, dir, "out.parquet", &inputs, &cut, &mut || Ok(()));
                let expected: Vec<&Row> = expected
                    .iter()
                    .filter(|row| times.contains(&row.event_time().micros()))
                    .collect();
                let Some(meta) = merged.expect("merges") else {
                    prop_assert!(expected.is_empty());
                    continue;
                };
                prop_assert_eq!(meta.rows(), expected.len() as u64);
                let seqs = expected.iter().map(|row| row.seq);
                prop_assert_eq!(Some(meta.first_seq), seqs.clone().min());
                prop_assert_eq!(Some(meta.last_seq), seqs.max());
                let numbers: Vec<usize> = (0..expected.len()).collect();
                let segment = Segment::new(meta);
                let found = segment.open(&disk, dir).expect("opens").rows(&numbers).expect("reads");
                for (found, expected) in found.iter().zip(expected) {
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }
}

//! Compaction: many small segments become few large ones, as `docs/design/segments.md` says.
//!
//! [`plan`] says what to merge, [`merge`] writes the new files beside the old ones, and one frame
//! puts them in their place. A crash before it leaves files that no frame names, a crash after it
//! files that no frame names any more; the next start removes either. Readers that began before
//! keep the old segments, whose files go with the last of them.

mod merge;
pub(crate) mod plan;

use std::sync::Arc;

use doorbook_event::{LogId, Text, Timestamp};

use crate::cache::Cache;
use crate::directory::segment_dir;
use crate::error::Error;
use crate::frame::{self, Op};
use crate::segment::{Segment, SegmentMeta};
use crate::state::{LogState, State};
use crate::{Did, Inner};
use plan::{Candidate, Cut, Job};

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

    /// Writes a segment anew without the rows of events before a limit; `None`, and no file, if no
    /// row is left. Calls `between` as [`Inner::compact`] does.
    pub(crate) fn rewrite_from(
        &self,
        segment: &Arc<Segment>,
        limit: Timestamp,
        between: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Option<SegmentMeta>, Error> {
        let disk = &*self.options.disk;
        let dir = segment_dir(&self.options.data_dir);
        let inputs = [segment.open_cached(disk, &dir, Arc::new(Cache::new(0)))?];
        let cut = Cut { times: limit.micros()..i64::MAX, is_final: segment.meta.is_final };
        let name = self.new_segment_name();
        let written = merge::merge(disk, &dir, &name, &inputs, &cut, between);
        let meta = written.inspect_err(|_| self.remove_segments([&*name]))?;
        Ok(meta.map(|meta| SegmentMeta { import: segment.meta.import.clone(), ..meta }))
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
    use doorbook_event::{
        Access, Action, Attributes, Classes, Client, Outcome, Peer, Principal, Record, Scope,
        Target, WrittenTime,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::disk::SystemDisk;
    use crate::memtable::Row;
    use crate::segment::pages::{FLAGS_PER_SAME_PAGE, ROWS_PER_SAME_PAGE};
    use crate::segment::{Content, Line, write};

    /// An access with a value, or none, in every column.
    fn access(host: u8, at: i64, n: u64) -> Access {
        let text = |prefix: &str, of: u64| Some(format!("{prefix}{}", n % of).into());
        let client = |n: u64| Client {
            application: text("a", 5),
            driver: (!n.is_multiple_of(3)).then_some("driver".into()),
            driver_version: text("1.", 40),
            os: text("os", 2),
            platform: None,
            via: (n > 2000).then_some("router:27017".into()),
            origin: n
                .is_multiple_of(6)
                .then_some(Peer::ip([1, 2, 3, (n % 250) as u8].into(), None)),
        };
        Access {
            target: match host {
                0 => Target::Array { namespace: "c".into(), array: format!("h{host}").into() },
                _ => Target::Host { cluster: "c".into(), host: format!("h{host}").into() },
            },
            event_time: Timestamp::from_micros(at),
            written_time: match n % 11 {
                0 => WrittenTime::Partial("Nov 23 09:30".into()),
                _ => WrittenTime::Complete,
            },
            action: Action::Authenticate,
            outcome: match n % 5 {
                0 => Outcome::Failure { reason: text("no", 4), code: Some(n as i64 % 3) },
                1 => Outcome::Failure { reason: None, code: None },
                2 => Outcome::Unknown,
                _ => Outcome::Success,
            },
            principal: match n % 13 {
                0 => Principal::Unauthenticated,
                1 => Principal::ApiKey("key".into()),
                2 => Principal::OsUser { uid: n as u32, name: None },
                _ => Principal::User { name: format!("u{}", n % 700).into(), database: "d".into() },
            },
            mechanism: (!n.is_multiple_of(4)).then_some("SCRAM-SHA-256".into()),
            peer: match n % 10 {
                0 => Peer::Unknown,
                1 => Peer::UnixSocket,
                _ => Peer::ip([10, 0, (n % 9) as u8, 1].into(), Some(n as u16)),
            },
            peer_joined: n.is_multiple_of(3),
            connection: (!n.is_multiple_of(4)).then_some(n * 1_000_003),
            process_start: (n > 900).then_some(Timestamp::from_micros(n as i64 / 500)),
            client: (!n.is_multiple_of(8)).then(|| client(n).into()),
            speculative: (n > 3000).then_some(n.is_multiple_of(2)),
            classes: Classes::from_bits((n % 4) as u16),
            // Beyond a dictionary, in the larger cases.
            attributes: Attributes::from([("k".into(), format!("{n:0>300}").into())]),
            raw: if n.is_multiple_of(7) { Vec::new() } else { format!("line {n}").into_bytes() },
            // So, too, whose Bloom filter is then made while rows come.
            task_id: (n > 2000).then(|| format!("{n:0>400}").into()),
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
                prop_assert_eq!(meta.is_final, cut.is_final);
                for member in &meta.members {
                    let of_member = expected.iter().filter(|row| *row.names().1 == *member.member);
                    let of_member: Vec<_> = of_member.map(|row| row.event_time()).collect();
                    prop_assert_eq!(member.rows, of_member.len() as u64);
                    prop_assert_eq!(Some(&member.from), of_member.first());
                    prop_assert_eq!(Some(&member.to), of_member.last());
                    prop_assert_eq!(member.kinds, 1 << 1);
                }
                let numbers: Vec<usize> = (0..expected.len()).collect();
                let segment = Segment::new(meta);
                let reader = segment.open(&disk, dir).expect("opens");
                let found = reader.rows(&numbers).expect("reads");
                for (found, expected) in found.iter().zip(&expected) {
                    prop_assert_eq!(&found, expected);
                    let Record::Access(access) = &expected.record else { continue };
                    let task_id = access.task_id.as_deref();
                    let name = match &access.principal {
                        Principal::User { name, .. } => Some(&**name),
                        _ => None,
                    };
                    for (column, value) in [("principal", name), ("task_id", task_id)] {
                        let is_there = value.is_none_or(|value| {
                            reader.may_hold(column, value).expect("reads")
                        });
                        prop_assert!(is_there, "{} is not in the filter of {}", value.unwrap_or(""), column);
                    }
                }
                for column in ["principal", "address", "task_id"] {
                    let is_possible =
                        |n: &usize| reader.may_hold(column, &format!("nobody-{n}")).expect("reads");
                    let mistakes = (0..200).filter(is_possible).count();
                    prop_assert!(mistakes < 40, "{mistakes} of 200 in the filter of {column}");
                }
                // Where a page's times say that it has nothing, it has nothing.
                let at = Timestamp::from_micros(times.start + (times.end - times.start) / 2);
                let pages = reader.time_pages(0..expected.len());
                let pages: Vec<_> =
                    pages.filter(|page| page.earliest <= at && at <= page.latest).collect();
                for (n, row) in expected.iter().enumerate() {
                    let is_in = pages.iter().any(|page| page.rows.contains(&n));
                    prop_assert!(is_in || row.event_time() != at);
                }
            }
        }
    }

    /// Goal: what all rows say is kept for as many rows as there are. Method: a file of more rows than
    /// a page may have, all of the same event, merged with itself; rows around the ends of the pages
    /// are read.
    #[test]
    fn constant_columns_beyond_a_page_are_read_back() {
        const ROWS: usize = ROWS_PER_SAME_PAGE + 5;
        let dir = tempfile::tempdir().expect("a directory");
        let (disk, dir) = (SystemDisk, dir.path());
        let access = Access { raw: Vec::new(), ..access(1, 7, 3) };
        let line = |seq| Line {
            seq,
            ingest_time: Timestamp::from_micros(1),
            source: "test",
            content: Content::Access(&access),
        };
        let check = |meta: &SegmentMeta, row_count: usize| {
            assert_eq!(meta.rows(), row_count as u64);
            let segment = Segment::new(meta.clone());
            let reader = segment.open(&disk, dir).expect("opens");
            let ends = [0, 4095, 4096, FLAGS_PER_SAME_PAGE, ROWS_PER_SAME_PAGE];
            let mut numbers: Vec<usize> = ends.into_iter().flat_map(|end| [end, end + 1]).collect();
            numbers.extend([2 * ROWS_PER_SAME_PAGE - 1, 2 * ROWS_PER_SAME_PAGE, row_count - 1]);
            numbers.retain(|number| *number < row_count);
            numbers.sort_unstable();
            numbers.dedup();
            let rows = reader.rows(&numbers).expect("reads");
            for (row, number) in rows.iter().zip(numbers) {
                assert_eq!(row.record, Record::Access(access.clone()));
                assert_eq!(row.seq, number as u64);
            }
        };
        let lines = (0..ROWS as u64).map(line).collect();
        let first = write(&disk, dir, "1", &Scope::System, lines).expect("writes");
        check(&first, ROWS);
        let second = SegmentMeta { base_seq: ROWS as u64, ..first.clone() };
        let segments = [first, second].map(Segment::new);
        let inputs: Vec<_> =
            segments.iter().map(|segment| segment.open(&disk, dir).expect("opens")).collect();
        let cut = Cut { times: 0..8, is_final: true };
        let merged = merge::merge(&disk, dir, "2", &inputs, &cut, &mut || Ok(()));
        check(&merged.expect("merges").expect("has rows"), 2 * ROWS);
    }
}

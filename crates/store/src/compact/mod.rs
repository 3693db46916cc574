//! Compaction: many small segments become few large ones, as `docs/design/segments.md` says.
//!
//! [`plan`] says what to merge, [`merge`] writes the new files beside the old ones, and one frame
//! puts them in their place. A crash before it leaves files that no frame names, a crash after it
//! files that no frame names any more; the next start removes either. Readers that began before
//! keep the old segments, whose files go with the last of them.

mod input;
mod merge;
pub(crate) mod plan;

use std::sync::Arc;

use doorbook_event::{LogId, Text};

use crate::Inner;
use crate::directory::segment_dir;
use crate::error::{Error, ErrorKind};
use crate::frame::{self, Op};
use crate::segment::{Segment, SegmentMeta};
use crate::state::{LogState, State};
use input::Input;
use plan::{Candidate, Job};

impl Inner {
    /// Does one job of compaction, if there is any: whether there was. `between` is called every few
    /// milliseconds, and ends the job if it fails; so does a full disk. Either leaves everything as
    /// it was. Only the commit of what was written takes the writer's lock.
    pub(crate) fn compact_once(
        &self,
        between: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let _only_one = self
            .compacting
            .lock()
            .map_err(|_| Error::new(ErrorKind::Poisoned, "a compaction ended in a bug: restart"))?;
        let state = self.state();
        let jobs = state.logs.iter().zip(0..);
        let mut jobs = jobs.filter_map(|(log, id)| Some((LogId(id), log, next_job(log)?)));
        let Some((id, log, job)) = jobs.next() else { return Ok(false) };
        let inputs: Vec<_> = job.inputs.iter().map(|n| Arc::clone(&log.segments[*n])).collect();
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
        committed.map(|_| true)
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
        let inputs = inputs.iter().map(|segment| Input::open(disk, &dir, Arc::clone(segment)));
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
        let payload = frame::encode(std::slice::from_ref(&op));
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

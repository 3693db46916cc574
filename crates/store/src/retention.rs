//! Retention: which rows are too old for any answer, and when their bytes go.
//!
//! How long a scope's events are kept is decided in the registry
//! ([`doorbook_event::retention`]); `docs/design/retention.md` says why it is as it is.
//!
//! **Answers** show no event that is older than the present instant less the days that hold at that
//! instant: one place, [`State::retention_start`]. Such an event is not taken in either. Both follow the
//! clock, forwards and back, and change nothing that is stored.
//!
//! **Removal** cannot be taken back, so that it does not trust the clock of one moment. It is
//! announced first, by a frame that says when, and up to which event time, rows were too old; what
//! was announced is removed when the clock shows a day more, as far as it is too old then as well. A
//! clock that jumped ahead and was put right makes the announcement one of the future, which is
//! replaced. From a removal on, no answer shows anything older, whatever the clock says: it would
//! show what happens to be left.
//!
//! Rows in memory become a segment first. A segment goes as a whole when all of its rows are too old.
//! One that is only in part is written anew without them, as compaction writes, when its oldest row is
//! too old by a tenth of the days that are kept, and by a week at least. Its file goes with the last
//! reader that began before.

use std::sync::Arc;

use doorbook_event::registry::{Registry, RegistryChange};
use doorbook_event::retention::Limits;
use doorbook_event::{LogId, Text, Timestamp};
use minicbor::{Decode, Encode};

use crate::directory::segment_dir;
use crate::error::{Error, ErrorKind};
use crate::frame::{self, Expired, Op};
use crate::maintain::Work;
use crate::segment::{Segment, SegmentMeta};
use crate::state::{LogState, State};
use crate::{Did, IngestLine, Inner};

/// What retention did to a log, and is about to do.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Expiry {
    /// Rows that were removed.
    #[n(0)]
    pub(crate) rows: u64,
    /// Rows of events before this are in no answer whatever the clock says: some of them are gone.
    #[n(1)]
    pub(crate) until: Option<Timestamp>,
    /// The announcement that precedes a removal.
    #[n(2)]
    pub(crate) notice: Option<Notice>,
}

/// That events before a limit were too old at some time, by our clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Notice {
    /// When that was.
    #[n(0)]
    pub(crate) at: Timestamp,
    /// The limit.
    #[n(1)]
    pub(crate) limit: Timestamp,
}

impl Expiry {
    pub(crate) fn is_none(&self) -> bool {
        *self == Expiry::default()
    }
}

/// Between announcement and removal.
const NOTICE_SECONDS: i64 = SECONDS_PER_DAY;

const SECONDS_PER_DAY: i64 = 86_400;

/// What the event of a change says of it besides its subject.
pub(crate) fn details(
    registry: &Registry,
    change: &RegistryChange,
    now: Timestamp,
) -> Vec<(&'static str, Text)> {
    let RegistryChange::RetentionSet(set) = change else { return Vec::new() };
    let Limits { keep_days, minimum_days } = set.limits;
    let mut after = registry.clone();
    after.apply(change);
    let from = after.retention(&set.scope).pending(now).map_or(now, |pending| pending.from);
    let keep = keep_days.map_or_else(|| "forever".to_owned(), |days| days.to_string());
    vec![
        ("keep_days", keep.into()),
        ("minimum_days", minimum_days.to_string().into()),
        ("takes_effect", from.to_string().into()),
    ]
}

/// Whether a line is of an event that is not too old.
pub(crate) fn is_kept(start: Timestamp, line: &IngestLine) -> bool {
    match line {
        IngestLine::Event(access) => start <= access.event_time,
        IngestLine::Sighting(sighting) => start <= sighting.of.event_time,
        IngestLine::Amendment(amendment) => start <= amendment.of.event_time,
        IngestLine::Unreadable(_) => true,
    }
}

impl Inner {
    /// Announces a removal or carries it out.
    pub(crate) fn expire(&self, work: &mut Work) -> Result<Did, Error> {
        let now = self.options.clock.now();
        let state = self.state();
        for (scope, id) in &*state.scopes {
            let limits = state.catalog.registry.retention(scope).limits(now);
            let Some(log) = state.log_of(*id) else { continue };
            match plan(log, limits, now) {
                Step::Nothing => continue,
                Step::Flush => return self.flush(work),
                Step::Announce(notice) => {
                    let (removed, added, until) = (Vec::new(), Vec::new(), None);
                    let notice = Some(notice);
                    let op = Expired { log: *id, removed, added, until, notice };
                    self.commit_expired(op, &[])?;
                }
                Step::Remove { limit, notice } => {
                    let mut between = || self.between_steps(work);
                    self.remove_expired(*id, log, limit, notice, &mut between)?;
                }
            }
            return Ok(Did::Expired);
        }
        Ok(Did::Nothing)
    }

    /// Removes rows of events before a limit.
    fn remove_expired(
        &self,
        id: LogId,
        log: &LogState,
        limit: Timestamp,
        notice: Notice,
        between: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut removed = Vec::new();
        let mut added: Vec<SegmentMeta> = Vec::new();
        let oldest_kept = limit.plus_seconds(-slack_seconds(notice.at, notice.limit));
        for segment in &log.segments {
            let (first, last) = span(&segment.meta);
            if last < limit {
                removed.push(Arc::clone(segment));
            } else if first < oldest_kept {
                let rewritten = self.rewrite_from(segment, limit, between);
                let meta = rewritten.inspect_err(|_| {
                    self.remove_segments(added.iter().map(|meta| &*meta.name));
                })?;
                removed.push(Arc::clone(segment));
                added.extend(meta.map(|meta| SegmentMeta { log: id, ..meta }));
            }
        }
        let names = removed.iter().map(|segment| segment.meta.name.clone()).collect();
        let (until, notice) = (Some(limit), Some(notice));
        self.commit_expired(Expired { log: id, removed: names, added, until, notice }, &removed)
    }

    /// Commits a removal. The files of segments that it removes go when nobody reads them any more.
    fn commit_expired(&self, expired: Expired, removed: &[Arc<Segment>]) -> Result<(), Error> {
        let added: Vec<Text> = expired.added.iter().map(|meta| meta.name.clone()).collect();
        let committed = self.try_commit_expired(expired);
        match &committed {
            Ok(()) => {
                let dir = segment_dir(&self.options.data_dir);
                for segment in removed {
                    segment.retire(Arc::clone(&self.options.disk), &dir);
                }
            }
            // What is on the disk is unknown: the frame may name them.
            Err(error) if error.kind == ErrorKind::Poisoned => {}
            Err(_) if self.writer().is_ok_and(|writer| !writer.wal.is_poisoned()) => {
                self.remove_segments(added.iter().map(|name| &**name));
            }
            Err(_) => {}
        }
        committed
    }

    fn try_commit_expired(&self, expired: Expired) -> Result<(), Error> {
        let mut writer = self.writer()?;
        let op = Op::Expired(expired);
        let mut next = State::clone(&self.state());
        next.apply(op.clone()).map_err(|misfit| {
            // Something else replaced the files meanwhile: the next time it is planned anew.
            Error::new(ErrorKind::Io, format!("the removal does not fit any more: {}", misfit.0))
        })?;
        let mut payload = Vec::new();
        frame::put(&mut payload, &op);
        next.lsn = writer.wal.append(&payload)?;
        next.replay_size_bytes += payload.len();
        self.publish(next);
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    /// Make rows in memory a segment, from which they can be removed.
    Flush,
    Announce(Notice),
    /// Remove what is older than the limit; the next removal is announced with it.
    Remove {
        limit: Timestamp,
        notice: Notice,
    },
}

/// What is to be done in a log.
fn plan(log: &LogState, limits: Limits, now: Timestamp) -> Step {
    let limit = limits.start(now);
    let notice = Notice { at: now, limit };
    if limits.keep_days.is_none() || !has_removable(log, limit, now) {
        return Step::Nothing;
    }
    match log.expiry.notice {
        Some(old) if old.at <= now => {
            let limit = limit.min(old.limit);
            if now < old.at.plus_seconds(NOTICE_SECONDS) {
                Step::Nothing
            } else if has_removable_in_memory(log, limit, now) {
                Step::Flush
            } else if has_removable(log, limit, now) {
                Step::Remove { limit, notice }
            } else {
                Step::Announce(notice)
            }
        }
        _ => Step::Announce(notice),
    }
}

fn has_removable(log: &LogState, limit: Timestamp, now: Timestamp) -> bool {
    let oldest_kept = limit.plus_seconds(-slack_seconds(now, limit));
    let is_removable = |segment: &Arc<Segment>| {
        let (first, last) = span(&segment.meta);
        last < limit || first < oldest_kept
    };
    log.segments.iter().any(is_removable) || has_removable_in_memory(log, limit, now)
}

fn has_removable_in_memory(log: &LogState, limit: Timestamp, now: Timestamp) -> bool {
    let oldest_kept = limit.plus_seconds(-slack_seconds(now, limit));
    log.memtable.rows().any(|row| row.event_time() < oldest_kept)
}

/// How much too old a row must be for its segment to be written anew.
fn slack_seconds(now: Timestamp, limit: Timestamp) -> i64 {
    let keep_micros = now.micros().saturating_sub(limit.micros());
    (keep_micros / 10 / 1_000_000).max(7 * SECONDS_PER_DAY)
}

/// The first and the last event time.
fn span(meta: &SegmentMeta) -> (Timestamp, Timestamp) {
    let from = meta.members.iter().map(|member| member.from).min();
    let to = meta.members.iter().map(|member| member.to).max();
    (from.unwrap_or(Timestamp::MAX), to.unwrap_or(Timestamp::MAX))
}

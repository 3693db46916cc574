//! One record by its place.

use doorbook_event::{LogId, Scope, Seq};

use crate::directory::segment_dir;
use crate::error::Error;
use crate::memtable::kind;
use crate::segment::Segment;
use crate::state::contains;
use crate::{Inner, Placed};

impl Inner {
    /// The row of a place, if answers could show it.
    pub(crate) fn get(&self, scope: &Scope, log: LogId, seq: Seq) -> Result<Option<Placed>, Error> {
        let state = self.state();
        let Some((_, held)) = state.log(scope).filter(|(id, _)| *id == log) else {
            return Ok(None);
        };
        if seq >= held.next_seq || contains(&held.retracted, seq) {
            return Ok(None);
        }
        let mut found = held.memtable.rows_from(seq).next().filter(|row| row.seq == seq).cloned();
        for segment in &held.segments {
            let meta = &segment.meta;
            if found.is_none() && (meta.first_seq..=meta.last_seq).contains(&seq) {
                found = self.row_in(segment, seq)?;
            }
        }
        let start = state.retention_start(scope, self.options.clock.now());
        let is_shown = |kind| matches!(kind, kind::ACCESS | kind::OWN | kind::QUARANTINE);
        let found = found.filter(|row| is_shown(row.kind()) && start <= row.event_time());
        Ok(found.map(|row| row.into_placed(log)))
    }

    /// Looks through one column: rows are sorted by target and time, so that a place may be
    /// anywhere.
    fn row_in(&self, segment: &Segment, seq: Seq) -> Result<Option<crate::memtable::Row>, Error> {
        let dir = segment_dir(&self.options.data_dir);
        let reader = segment.open(&*self.options.disk, &dir)?;
        let Some(wanted) = seq.checked_sub(reader.base_seq()) else { return Ok(None) };
        let mut column = reader.column("seq")?;
        let n_rows = segment.meta.rows() as usize;
        let mut first = 0;
        while first < n_rows {
            let (page, rows) = column.ints(first)?;
            let is_it =
                |at: &usize| page.get(at - rows.start).map(|seq| seq as u64) == Some(wanted);
            if let Some(row) = rows.clone().find(is_it) {
                return Ok(reader.rows(&[row])?.pop());
            }
            first = rows.end;
        }
        Ok(None)
    }
}

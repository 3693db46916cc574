//! One record by its place.

use doorbook_event::{LogId, Scope, Seq};

use crate::directory::segment_dir;
use crate::error::Error;
use crate::filter::Filter;
use crate::memtable::{Row, kind};
use crate::scan::View;
use crate::{Inner, Placed};

impl Inner {
    /// The row of a place, if answers could show it.
    pub(crate) fn get(&self, scope: &Scope, log: LogId, seq: Seq) -> Result<Option<Placed>, Error> {
        let state = self.state();
        let filter = Filter::all(scope.clone(), 1);
        let Ok(view) = View::new(&state, &filter, self.options.clock.now()) else {
            return Ok(None);
        };
        let held = view.log;
        if view.id != log {
            return Ok(None);
        }
        if !view.shows(seq) {
            return Ok(None);
        }
        let mut found = held.memtable.row(seq).cloned();
        let dir = segment_dir(&self.options.data_dir);
        let joiner = self.joiner(&view, &dir);
        for segment in 0..held.segments.len() {
            if found.is_none() {
                joiner.rows_at(segment, &[(seq, 0)], |_, row| found = Some(row))?;
            }
        }
        let is_shown = |kind| matches!(kind, kind::ACCESS | kind::OWN | kind::QUARANTINE);
        let is_shown = |row: &Row| is_shown(row.kind()) && view.filter.from <= row.event_time();
        let found = found.filter(is_shown).into_iter().collect();
        Ok(joiner.complete(found)?.pop())
    }
}

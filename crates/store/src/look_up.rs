//! One record by its place.

use doorbook_event::{LogId, Scope, Seq};

use crate::directory::segment_dir;
use crate::error::Error;
use crate::filter::Filter;
use crate::memtable::{Row, kind};
use crate::scan::View;
use crate::segment::Segment;
use crate::state::contains;
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
        if seq >= held.next_seq || contains(&held.retracted, seq) {
            return Ok(None);
        }
        let mut found = held.memtable.row(seq).cloned();
        for segment in &held.segments {
            let meta = &segment.meta;
            if found.is_none() && (meta.first_seq..=meta.last_seq).contains(&seq) {
                found = self.row_in(segment, seq)?;
            }
        }
        let is_shown = |kind| matches!(kind, kind::ACCESS | kind::OWN | kind::QUARANTINE);
        let is_shown = |row: &Row| is_shown(row.kind()) && view.filter.from <= row.event_time();
        let dir = segment_dir(&self.options.data_dir);
        let found = found.filter(is_shown).into_iter().collect();
        Ok(self.joiner(&view, &dir).complete(found)?.pop())
    }

    /// Looks through one column: rows are sorted by target and time, so that a place may be
    /// anywhere, but of each target it is in one page or two, which the page index tells.
    fn row_in(&self, segment: &Segment, seq: Seq) -> Result<Option<Row>, Error> {
        let dir = segment_dir(&self.options.data_dir);
        let reader = segment.open(&*self.options.disk, &dir)?;
        let wanted = seq.checked_sub(reader.base_seq()).and_then(|seq| i64::try_from(seq).ok());
        let Some(wanted) = wanted else { return Ok(None) };
        let mut column = reader.column("seq")?;
        for rows in reader.pages_with("seq", wanted)? {
            let (page, of) = column.ints(rows.start)?;
            if let Some(row) = rows.into_iter().find(|row| page.get(row - of.start) == Some(wanted))
            {
                return Ok(reader.rows(&[row])?.pop());
            }
        }
        Ok(None)
    }
}

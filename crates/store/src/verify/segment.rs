//! One segment against the catalogue, and a log's positions over all of its segments.

use std::ops::Range;
use std::path::Path;

use doorbook_event::{LogId, Seq, Timestamp};

use super::seqs::SeqSet;
use super::{Affected, Depth, Finding, Verifier, explain};
use crate::directory::segment_dir;
use crate::error::Error;
use crate::memtable::Row;
use crate::segment::{Member, Segment, SegmentMeta};
use crate::state::LogState;

/// Rows that are decoded at a time: some megabytes of whole lines.
pub(super) const ROWS_PER_STEP: usize = 8 << 10;

/// What was seen of a log.
pub(super) struct LogRows {
    id: LogId,
    scope: String,
    seen: SeqSet,
    /// Rows that the catalogue knows.
    known: u64,
    /// Rows that could not be read, which is told of with their segment.
    unreadable: u64,
}

impl LogRows {
    pub(super) fn new(id: LogId, log: &LogState) -> LogRows {
        let scope = log.scope.to_string();
        LogRows { id, scope, seen: SeqSet::default(), known: 0, unreadable: 0 }
    }

    pub(super) fn in_memory(&mut self, seq: Seq) {
        self.known += 1;
        self.seen.insert(seq);
    }

    /// Whether every position is there, but for those that retention removed.
    pub(super) fn finish(&self, log: &LogState, lost_rows: u64, depth: Depth) -> Option<Finding> {
        let expected = log.next_seq.saturating_sub(log.expiry.rows + lost_rows);
        let found = match depth {
            Depth::Checksums => self.known,
            Depth::Rows => self.seen.len() + self.unreadable,
        };
        if found == expected {
            return None;
        }
        let seqs = match depth {
            Depth::Rows => self.seen.missing(log.next_seq).unwrap_or(0..log.next_seq),
            Depth::Checksums => 0..log.next_seq,
        };
        let what = format!("log {} has {found} rows and should have {expected}", self.id.0);
        let affected = Affected {
            scope: self.scope.clone(),
            log: self.id.0,
            seqs,
            from: None,
            to: None,
            targets: Vec::new(),
            more_targets: 0,
        };
        Some(Finding { affected: Some(affected), ..Finding::new("catalog", what) })
    }
}

impl Verifier<'_> {
    pub(super) fn check_segment(&mut self, segment: &Segment, rows: &mut LogRows) {
        let meta = &segment.meta;
        let path = segment_dir(self.dir).join(&*meta.name);
        rows.known += meta.rows();
        let all = 0..meta.rows() as usize;
        if let Err(what) = self.check_bytes(&path, meta) {
            let bytes = Some(0..meta.size_bytes);
            let affected = Some(affected(meta, rows, &all));
            let finding = Finding { bytes, affected, ..Finding::new(self.name(&path), what) };
            self.report.damage(finding);
            if !path.exists() {
                rows.unreadable += meta.rows();
                return;
            }
        }
        match self.depth {
            Depth::Checksums => self.report.rows += meta.rows(),
            Depth::Rows => self.check_rows(segment, &path, rows),
        }
    }

    /// The file's length and its checksum.
    fn check_bytes(&mut self, path: &Path, meta: &SegmentMeta) -> Result<(), String> {
        let file = self.disk.open_to_read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "the file is gone".to_owned(),
            _ => format!("cannot be opened: {error}"),
        })?;
        self.report.files += 1;
        let mut bytes = vec![0; 1 << 20];
        let (mut size_bytes, mut crc) = (0, 0);
        loop {
            match file.read_at(&mut bytes, size_bytes) {
                Ok(0) => break,
                Ok(n) => {
                    crc = crc32c::crc32c_append(crc, &bytes[..n]);
                    size_bytes += n as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot be read at byte {size_bytes}: {error}")),
            }
        }
        self.report.size_bytes += size_bytes;
        if size_bytes != meta.size_bytes {
            return Err(format!("{size_bytes} bytes long, written with {}", meta.size_bytes));
        }
        match crc == meta.crc32c {
            true => Ok(()),
            false => Err("does not match the checksum it was written with".to_owned()),
        }
    }

    /// Every row, against what the catalogue says of it.
    fn check_rows(&mut self, segment: &Segment, path: &Path, log: &mut LogRows) {
        let meta = &segment.meta;
        let total = meta.rows() as usize;
        let reader = match segment.open(self.disk, &segment_dir(self.dir)) {
            Ok(reader) => reader,
            Err(error) => {
                log.unreadable += meta.rows();
                return self.rows_damaged(path, meta, log, 0..total, &error);
            }
        };
        let mut expected = Expected::new(meta);
        // Neighbouring steps that fail alike are one finding.
        let mut failed: Option<(Range<usize>, Error)> = None;
        for start in (0..total).step_by(ROWS_PER_STEP) {
            let numbers: Vec<usize> = (start..total.min(start + ROWS_PER_STEP)).collect();
            let end = start + numbers.len();
            match reader.rows(&numbers) {
                Ok(rows) => {
                    if let Some((range, error)) = failed.take() {
                        self.rows_damaged(path, meta, log, range, &error);
                    }
                    self.report.rows += rows.len() as u64;
                    for (row, number) in rows.iter().zip(numbers) {
                        expected.compare(row, number);
                        if !log.seen.insert(row.seq) {
                            expected.wrong(number, || {
                                format!("seq {} stands twice in its log", row.seq)
                            });
                            log.unreadable += 1;
                        }
                    }
                }
                Err(error) => {
                    log.unreadable += (end - start) as u64;
                    expected.skip();
                    failed = Some(match failed {
                        Some((range, error)) => (range.start..end, error),
                        None => (start..end, error),
                    });
                }
            }
        }
        if let Some((range, error)) = failed {
            self.rows_damaged(path, meta, log, range, &error);
        }
        expected.finish();
        if let Some((number, what)) = expected.problem {
            let count = expected.n_problems;
            let what = match count {
                1 => what,
                _ => format!("{what}; {} more rows do not fit", count - 1),
            };
            let rows = number..number + 1;
            let affected = Some(affected(meta, log, &rows));
            let rows = Some(rows.start as u64..rows.end as u64);
            let finding = Finding { rows, affected, ..Finding::new(self.name(path), what) };
            self.report.damage(finding);
        }
    }

    fn rows_damaged(
        &mut self,
        path: &Path,
        meta: &SegmentMeta,
        log: &LogRows,
        rows: Range<usize>,
        error: &Error,
    ) {
        let affected = Some(affected(meta, log, &rows));
        let rows = Some(rows.start as u64..rows.end as u64);
        let finding = Finding { rows, affected, ..Finding::new(self.name(path), explain(error)) };
        self.report.damage(finding);
    }
}

/// What the catalogue says of the rows of a segment.
struct Expected<'m> {
    meta: &'m SegmentMeta,
    /// Each target's rows.
    members: Vec<(Range<usize>, &'m Member)>,
    /// The target that the last row was of.
    at: usize,
    last: Option<(Timestamp, Seq)>,
    /// The times that were seen of the present target.
    seen: Option<(Timestamp, Timestamp)>,
    is_whole: bool,
    seqs: Option<(Seq, Seq)>,
    problem: Option<(usize, String)>,
    n_problems: u64,
}

impl<'m> Expected<'m> {
    fn new(meta: &'m SegmentMeta) -> Expected<'m> {
        let mut next = 0;
        let members = meta.members.iter().map(|member| {
            let rows = next..next + member.rows as usize;
            next = rows.end;
            (rows, member)
        });
        Expected {
            meta,
            members: members.collect(),
            at: 0,
            last: None,
            seen: None,
            is_whole: true,
            seqs: None,
            problem: None,
            n_problems: 0,
        }
    }

    fn wrong(&mut self, number: usize, what: impl FnOnce() -> String) {
        self.n_problems += 1;
        if self.problem.is_none() {
            self.problem = Some((number, what()));
        }
    }

    /// Rows could not be read: what is known of all of them cannot be compared any more.
    fn skip(&mut self) {
        self.is_whole = false;
        self.last = None;
    }

    fn compare(&mut self, row: &Row, number: usize) {
        while self.members.get(self.at).is_some_and(|(rows, _)| number >= rows.end) {
            self.finish_member(number);
            self.at += 1;
            self.last = None;
        }
        let Some((_, member)) = self.members.get(self.at) else { return };
        let (member, meta) = (*member, self.meta);
        let (time, kind) = (row.event_time(), 1_u64 << row.kind());
        let names = row.names();
        if names != (&*member.group, &*member.member) {
            self.wrong(number, || {
                format!("is of {}/{}, not of {}/{}", names.0, names.1, member.group, member.member)
            });
        }
        if time < member.from || member.to < time {
            self.wrong(number, || format!("is of {time}, outside of its target's times"));
        }
        if member.kinds & kind == 0 {
            self.wrong(number, || {
                format!("is of kind {}, which is none of its target's", row.kind())
            });
        }
        if row.seq < meta.first_seq || meta.last_seq < row.seq {
            self.wrong(number, || format!("has seq {}, outside of the segment's", row.seq));
        }
        if self.last.is_some_and(|last| last >= (time, row.seq)) {
            self.wrong(number, || "is out of order".to_owned());
        }
        self.last = Some((time, row.seq));
        let (from, to) = self.seen.unwrap_or((time, time));
        self.seen = Some((from.min(time), to.max(time)));
        let (first, last) = self.seqs.unwrap_or((row.seq, row.seq));
        self.seqs = Some((first.min(row.seq), last.max(row.seq)));
    }

    /// The times that the catalogue has of a target must be as narrow as they can be: answers are
    /// counted from them. Of kinds it may name more: those of rows that a merge or retention left out.
    fn finish_member(&mut self, number: usize) {
        let seen = self.seen.take();
        let Some((_, member)) = self.members.get(self.at) else { return };
        let is_as_said = seen == Some((member.from, member.to));
        if self.is_whole && !is_as_said {
            self.wrong(number.saturating_sub(1), || {
                "its target's times are not those in the catalogue".to_owned()
            });
        }
    }

    fn finish(&mut self) {
        let total = self.members.last().map_or(0, |(rows, _)| rows.end);
        self.finish_member(total);
        let (first, last) = (self.meta.first_seq, self.meta.last_seq);
        if self.is_whole && self.seqs.is_some_and(|seqs| seqs != (first, last)) {
            self.wrong(0, || format!("its rows do not go from seq {first} to {last}"));
        }
    }
}

/// Whose rows these are.
fn affected(meta: &SegmentMeta, log: &LogRows, rows: &Range<usize>) -> Affected {
    let mut next = 0;
    let mut found: Vec<&Member> = Vec::new();
    for member in &meta.members {
        let of_member = next..next + member.rows as usize;
        next = of_member.end;
        if of_member.start < rows.end && rows.start < of_member.end {
            found.push(member);
        }
    }
    let named = found.iter().filter(|member| !member.group.is_empty());
    let targets = named.clone().take(Affected::TARGETS_MAX);
    Affected {
        scope: log.scope.clone(),
        log: log.id.0,
        seqs: meta.first_seq..meta.last_seq + 1,
        from: found.iter().map(|member| member.from).min(),
        to: found.iter().map(|member| member.to).max(),
        targets: targets.map(|member| format!("{}/{}", member.group, member.member)).collect(),
        more_targets: named.count().saturating_sub(Affected::TARGETS_MAX) as u64,
    }
}

//! Sources that are followed: what they read and how far they came, in one durable write.
//!
//! A crash then repeats nothing and skips nothing. What other inputs brought already is a duplicate, by
//! the rule of `docs/design/identity.md`; the file at hand is the input, also over a restart, for which
//! its last rows are remembered.

use std::collections::HashMap;
use std::ops::Range;

use doorbook_event::advance::{Advance, Advanced};
use doorbook_event::record::{Amendment, Facts, Sighting, Subject};
use doorbook_event::{Access, LogId, Record, Scope, Seq, Text, Timestamp};

use crate::Inner;
use crate::catalog::{Merged, merge_coverage};
use crate::commit::{Part, mark_future, normalize};
use crate::coverage::Rows;
use crate::error::{Error, ErrorKind};
use crate::frame;
use crate::identity::{CurrentFile, Fact, Hash128, Known, Verdict, Wanted};
use crate::joined;
use crate::state::State;

/// The file at hand of each source, by its name.
pub(crate) type Following = HashMap<Text, CurrentFile>;

/// As much is written in one frame, about; each source's part is small, or a segment.
const FRAME_SIZE_BYTES: usize = 8 << 20;

/// What one source wants written, looked at.
struct Prepared {
    advance: Advance,
    expired: u64,
    /// Of each event and each line put aside, by what it is recognised.
    hashes: Vec<Hash128>,
    /// What was stored when it was looked at, and what that makes of each event.
    known: Known,
    verdict: Verdict,
}

impl Inner {
    /// What became of each source's advance.
    pub(crate) fn advance(&self, advances: Vec<Advance>) -> Vec<Result<Advanced, Error>> {
        let mut following = match self.following.lock() {
            Ok(following) => following,
            Err(_) => {
                let error = Error::new(ErrorKind::Poisoned, "a source ended in a bug: restart");
                return advances.iter().map(|_| Err(error.again())).collect();
            }
        };
        let mut answers = Vec::with_capacity(advances.len());
        let mut group = Vec::new();
        let mut size_bytes = 0;
        for advance in advances {
            size_bytes += advance.size_bytes();
            group.push(advance);
            if size_bytes >= FRAME_SIZE_BYTES {
                answers.extend(self.advance_group(&mut following, std::mem::take(&mut group)));
                size_bytes = 0;
            }
        }
        answers.extend(self.advance_group(&mut following, group));
        answers
    }

    fn advance_group(
        &self,
        following: &mut Following,
        group: Vec<Advance>,
    ) -> Vec<Result<Advanced, Error>> {
        let mut answers: Vec<Option<Result<Advanced, Error>>> =
            group.iter().map(|_| None).collect();
        let mut waiting: Vec<(usize, Advance)> = group.into_iter().enumerate().collect();
        // Each round but the last lost a race against someone who stored the same events.
        while !waiting.is_empty() {
            let mut parts = Vec::with_capacity(waiting.len());
            for (at, advance) in std::mem::take(&mut waiting) {
                match self.prepare_advance(following, advance) {
                    Ok(prepared) => parts.push((at, prepared)),
                    Err(error) => answers[at] = Some(Err(error)),
                }
            }
            waiting = self.write_advances(following, parts, &mut answers);
        }
        answers.into_iter().map(|answer| answer.expect("each one was answered")).collect()
    }

    fn prepare_advance(
        &self,
        following: &mut Following,
        mut advance: Advance,
    ) -> Result<Prepared, Error> {
        let has_rows = !advance.accesses.is_empty() || !advance.quarantine.is_empty();
        if has_rows {
            self.check_reserve()?;
        }
        let scope = advance.source.scope();
        let state = self.state();
        let name = &advance.source.name;
        let is_next_file = advance.is_next_file || advance.after.is_empty();
        if is_next_file || !following.contains_key(name) {
            // What a restart forgot of the file at hand.
            let progress = state.watched.sources.get(name).filter(|_| !is_next_file);
            let own = progress.into_iter().flat_map(|progress| &progress.own).map(Rows::range);
            following.insert(name.clone(), CurrentFile::with_own(own.collect()));
        }
        let file = following.get(name).expect("it was just put there");
        let now = self.options.clock.now();
        let start = state.retention_start(&scope, now);
        drop(state);
        let found = advance.accesses.len();
        advance.accesses.retain(|access| start <= access.event_time);
        let expired = (found - advance.accesses.len()) as u64;
        for access in &mut advance.accesses {
            normalize(access);
            mark_future(access, now);
        }
        let wanted: Vec<Wanted<'_>> = facts(&advance).map(|fact| self.keys.wanted(fact)).collect();
        let known = match wanted.is_empty() {
            true => Known::nothing(),
            false => self.stored(&scope, &file.own, &wanted)?,
        };
        let hashes: Vec<Hash128> = wanted.iter().map(|(hash, _)| *hash).collect();
        let verdict = file.judge(&known.counts, hashes.iter().map(|hash| Some(*hash)));
        drop(wanted);
        Ok(Prepared { advance, expired, hashes, known, verdict })
    }

    /// Writes what was prepared in one frame; returns what has to be looked at again.
    fn write_advances(
        &self,
        following: &mut Following,
        prepared: Vec<(usize, Prepared)>,
        answers: &mut [Option<Result<Advanced, Error>>],
    ) -> Vec<(usize, Advance)> {
        let mut segments: Vec<Option<Text>> = Vec::with_capacity(prepared.len());
        let mut parts = Vec::with_capacity(prepared.len());
        let mut going = Vec::with_capacity(prepared.len());
        for (at, one) in prepared {
            match self.advance_part(&one) {
                Ok(part) => {
                    segments.push(part.segment.as_ref().map(|meta| meta.name.clone()));
                    parts.push(part);
                    going.push((at, one));
                }
                Err(error) => answers[at] = Some(Err(error)),
            }
        }
        // What becomes of each: written as the n-th part, refused, or looked at again.
        let mut fates: Vec<Fate> = Vec::with_capacity(going.len());
        let placed = self.write(|state, now| {
            let mut written = Vec::with_capacity(parts.len());
            for ((_, one), part) in going.iter().zip(parts) {
                match self.admit(state, now, following, one, part) {
                    Ok(Some(part)) => {
                        fates.push(Fate::Written(written.len()));
                        written.push(part);
                    }
                    Ok(None) => fates.push(Fate::Again),
                    Err(error) => fates.push(Fate::Refused(error)),
                }
            }
            Ok(written)
        });
        let placed = match placed {
            Ok(placed) => placed,
            Err(error) => {
                fates = going.iter().map(|_| Fate::Refused(error.again())).collect();
                Vec::new()
            }
        };
        let mut again = Vec::new();
        for (((at, one), fate), segment) in going.into_iter().zip(fates).zip(segments) {
            if !matches!(fate, Fate::Written(_)) {
                self.discard_segment(segment.as_deref());
            }
            match fate {
                Fate::Written(n) => {
                    answers[at] = Some(Ok(one.answer()));
                    let file = following.entry(one.advance.source.name.clone()).or_default();
                    file.committed(one.verdict, placed[n].clone());
                    file.keep_late();
                }
                Fate::Again => again.push((at, one.advance)),
                Fate::Refused(error) => answers[at] = Some(Err(error)),
            }
        }
        again
    }

    /// What is new of an advance.
    fn advance_part(&self, one: &Prepared) -> Result<Part, Error> {
        let Advance { source, accesses, quarantine, heartbeat, .. } = &one.advance;
        let scope = source.scope();
        let is_stored = &one.verdict.is_stored;
        let mut part = self.new_rows(&scope, &source.name, accesses, quarantine, is_stored)?;
        part.records.extend(self.told_again(one, &scope)?);
        part.records.extend(heartbeat.clone().map(Record::Heartbeat));
        Ok(part)
    }

    /// Of changes that another source told of: what this one knows beyond that, and that it saw them, too.
    fn told_again(&self, one: &Prepared, scope: &Scope) -> Result<Vec<Record>, Error> {
        let Some(log) = self.state().log(scope).map(|(id, _)| id) else { return Ok(Vec::new()) };
        let accesses = one.advance.accesses.iter().zip(&one.hashes).zip(&one.verdict.is_stored);
        let known = accesses.filter(|(_, is_stored)| **is_stored);
        let known =
            known.filter_map(|((access, hash), _)| Some((access, one.known.ones.get(hash)?)));
        let (accesses, places): (Vec<&Access>, Vec<(LogId, Seq)>) =
            known.map(|(access, seq)| (access, (log, *seq))).unzip();
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let source = &one.advance.source.name;
        let mut told = Vec::new();
        for (access, row) in accesses.into_iter().zip(self.rows_at(scope, &places)?) {
            let Some((log, row)) = row.filter(|(_, row)| row.source != *source) else { continue };
            if let (Some(known), Some(of)) = (row.access(), joined::subject(&row, log)) {
                told.push(account(Facts::beyond(known, access), of, access));
            }
        }
        // What this source told already it tells no more.
        let hashes: Vec<Hash128> =
            told.iter().map(|record| self.keys.told(record, source)).collect();
        let wanted: Vec<Wanted<'_>> = told
            .iter()
            .zip(&hashes)
            .filter_map(|(record, hash)| {
                Some(self.keys.wanted(Fact::Told(record.subject()?, *hash)))
            })
            .collect();
        let stored = match wanted.is_empty() {
            true => Known::nothing(),
            false => self.stored(scope, &[], &wanted)?,
        };
        drop(wanted);
        let new = told.into_iter().zip(hashes);
        let new = new.filter(|(_, hash)| !stored.counts.contains_key(hash));
        Ok(new.map(|(record, _)| record).collect())
    }

    /// The part as it is to be written now; `None` if something was stored since that changes what
    /// was found to be stored.
    fn admit(
        &self,
        state: &State,
        now: Timestamp,
        following: &Following,
        one: &Prepared,
        mut part: Part,
    ) -> Result<Option<Part>, Error> {
        let Advance { source, after, position, coverage, through, since, lines, .. } = &one.advance;
        let known = state.catalog.registry.source(&source.name);
        if known.is_none_or(|known| !known.is_of_the_same(source)) {
            return Err(Error::new(ErrorKind::Missing, format!("no source {}", source.name)));
        }
        let progress = state.watched.sources.get(&source.name);
        if progress.map_or(&[][..], |progress| &progress.position) != after {
            let message = format!("source {} has come to another place meanwhile", source.name);
            return Err(Error::new(ErrorKind::Exists, message));
        }
        let own = following.get(&source.name).map_or(&[][..], |file| &file.own);
        let wanted: Vec<Wanted<'_>> = one.hashes.iter().copied().zip(facts(&one.advance)).collect();
        if self.is_stale(state, &part.scope, &one.known, own, &wanted)? {
            return Ok(None);
        }
        let told = state.catalog.coverage.get(&part.scope);
        // What the target did not show may be known already; mostly there is nothing of it.
        let mut told = match coverage.iter().any(|gap| gap.source.is_none()) {
            true => told.cloned().unwrap_or_default(),
            false => Vec::new(),
        };
        for gap in coverage {
            let is_known = gap.source.is_none() && merge_coverage(&mut told, gap) == Merged::Known;
            if !is_known {
                part.records.push(Record::Coverage(gap.clone()));
            }
        }
        let before = progress.and_then(|progress| progress.through);
        // What was written while it rested is read afterwards where there is a file, and only there.
        let is_sent = one.advance.doubt.is_some();
        let rested = is_sent && state.watched.is_blind(&part.scope, &source.target(), &source.name);
        let seen = before.filter(|_| !rested).or(*since).or(*through).zip(*through);
        part.advanced = Some(frame::Advanced {
            source: source.name.clone(),
            scope: part.scope.clone(),
            target: source.target(),
            actions: source.kind.actions().to_vec(),
            position: position.clone(),
            seen: seen.map(|(from, through)| (from.min(through), through)),
            lines: *lines,
            events: one.new_events(),
            at: now,
            own: own.iter().map(|rows| Rows { start: rows.start, end: rows.end }).collect(),
            doubt: one.advance.doubt.clone(),
        });
        Ok(Some(part))
    }
}

/// What a second source tells of an access.
fn account(facts: Facts, of: Subject, access: &Access) -> Record {
    let (event_time, raw) = (access.event_time, access.raw.clone());
    match facts.is_empty() {
        true => Record::Sighting(Sighting { of, event_time, raw }),
        false => {
            let event_time = Some(event_time);
            Record::Amendment(Amendment { of, facts, raw, event_time }.into())
        }
    }
}

/// What has an identity, in the order of [`Prepared::hashes`].
fn facts(advance: &Advance) -> impl Iterator<Item = Fact<'_>> {
    let quarantine = advance.quarantine.iter().map(Fact::Quarantine);
    advance.accesses.iter().map(Fact::Access).chain(quarantine)
}

enum Fate {
    Written(usize),
    Again,
    Refused(Error),
}

impl Prepared {
    fn new_events(&self) -> u64 {
        let is_stored = &self.verdict.is_stored[..self.advance.accesses.len()];
        is_stored.iter().filter(|is_stored| !**is_stored).count() as u64
    }

    fn answer(&self) -> Advanced {
        let events = self.new_events();
        let all = &self.verdict.is_stored;
        let new = all.iter().filter(|is_stored| !**is_stored).count() as u64;
        Advanced {
            events,
            duplicates: self.advance.accesses.len() as u64 - events,
            expired: self.expired,
            quarantined: new - events,
        }
    }
}

/// The rows of a file that can still matter: equal lines stand close together.
pub(crate) fn late_rows(own: &mut Vec<Range<Seq>>) {
    const RANGES: usize = 16;
    own.drain(..own.len().saturating_sub(RANGES));
}

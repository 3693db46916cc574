//! Requests of shippers: each is committed whole, and told line by line what became of it.
//!
//! An event with a connection number has columns by which it is recognised: the rule of
//! `docs/design/identity.md` holds, with the request in place of the file. One without has none, so
//! that two equal ones may well be two: only the request as a whole is recognised, by its key. A
//! sighting or an amendment is recognised by all that it says.

use doorbook_event::{Access, LogId, Record, Scope, Seq, Text, Timestamp};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::HashSet;
use std::hash::Hasher;
use std::ops::Range;

use crate::commit::{Draft, Part, Proposal, mark_future, normalize};
use crate::error::{Error, ErrorKind};
use crate::identity::{ByHash, CurrentFile, Fact, Hash128, Keys, Known, Since, Wanted};
use crate::import::is_bulk;
use crate::request_keys::KEY_SIZE_BYTES_MAX;
use crate::retention::is_kept;
use crate::segment::{Content, Line};
use crate::state::State;
use crate::{Ingest, IngestLine, Ingested, Inner, LineResult};

/// A request on its way.
pub(crate) struct Request {
    scope: Scope,
    pub(crate) source: Text,
    /// The sender's key, and what the request says.
    key: Option<(Text, [u8; 16])>,
    /// Which lines are not too old to be stored; `None` if all are.
    kept: Option<Vec<bool>>,
    /// For each of those its record.
    pub(crate) records: Vec<Record>,
    /// Of each record that can be recognised, by what.
    hashes: Vec<Option<Hash128>>,
    /// The records in their WAL form, one after the other, and where each ends.
    encoded: Vec<u8>,
    ends: Vec<usize>,
    /// What was stored when it was prepared; `None` if nothing can be recognised.
    known: Option<Known>,
}

/// What a request needs.
enum Prepared {
    /// Nothing: it was written before.
    Answered(Ingested),
    /// A file of its own.
    Bulk(Box<Request>),
    /// A place in a frame, for so many bytes.
    Proposal(usize, Proposal),
}

impl Inner {
    /// What became of each request.
    pub(crate) fn ingest(&self, requests: Vec<Ingest>) -> Vec<Result<Ingested, Error>> {
        if let Err(error) = self.check_reserve() {
            return requests.iter().map(|_| Err(error.again())).collect();
        }
        let mut proposals = Vec::with_capacity(requests.len());
        // What is proposed is answered when all of them are known.
        let answers: Vec<Option<Result<Ingested, Error>>> = requests
            .into_iter()
            .map(|ingest| match self.prepare(ingest) {
                Ok(Prepared::Proposal(size_bytes, proposal)) => {
                    proposals.push((size_bytes, proposal));
                    None
                }
                Ok(Prepared::Bulk(request)) => Some(self.ingest_bulk(*request)),
                Ok(Prepared::Answered(answer)) => Some(Ok(answer)),
                Err(error) => Some(Err(error)),
            })
            .collect();
        let mut proposed = self.propose(proposals).into_iter();
        let mut next = || proposed.next().expect("an answer for every proposal");
        answers.into_iter().map(|answer| answer.unwrap_or_else(&mut next)).collect()
    }

    fn prepare(&self, ingest: Ingest) -> Result<Prepared, Error> {
        let (state, now) = (self.state(), self.options.clock.now());
        let start = state.retention_start(&ingest.scope, now);
        let mut request = Request::new(ingest, start, now, &self.keys)?;
        let registry = &state.catalog.registry;
        let is_there = match &request.scope {
            Scope::Project(project) => registry.project(*project).is_some(),
            Scope::Namespace(name) => registry.arrays().is_namespace(name),
            // What Doorbook says of itself nobody else tells.
            Scope::System => false,
        };
        if !is_there {
            return Err(Error::new(ErrorKind::Missing, format!("no {}", request.scope)));
        }
        if let Some(answer) = request.answered(&state, now)? {
            return Ok(Prepared::Answered(answer));
        }
        drop(state);
        let accesses = request.records.iter().filter_map(access);
        if is_bulk(accesses, self.options.memtable_size_bytes) {
            return Ok(Prepared::Bulk(Box::new(request)));
        }
        let wanted = request.wanted();
        if !wanted.is_empty() {
            request.known = Some(self.stored(&request.scope, &[], &wanted)?);
        }
        let size_bytes = request.encoded.len();
        Ok(Prepared::Proposal(size_bytes, Proposal::Request(Box::new(request))))
    }

    /// Adds what is new of a request to a draft.
    pub(crate) fn add_request(
        &self,
        draft: &mut Draft,
        mut request: Request,
    ) -> Result<Ingested, Error> {
        if let Some(answer) = request.answered(&draft.state, draft.ingest_time)? {
            return Ok(answer);
        }
        if let Some(answer) = request.answered_in(draft)? {
            return Ok(answer);
        }
        let mut is_stored = match (request.known.take(), draft.log(&request.scope)) {
            (Some(mut known), Some(id)) => {
                let since = Since { state: &draft.state, id, drafted: &draft.ops };
                let late = self.stored_since(known.below, since, &[], &request.wanted())?;
                for (hash, count) in late {
                    *known.counts.entry(hash).or_default() += count;
                }
                let hashes = request.hashes.iter().copied();
                CurrentFile::default().judge(&known.counts, hashes).is_stored
            }
            _ => vec![false; request.records.len()],
        };
        request.mark_repeated(&mut is_stored);
        if is_stored.contains(&true) {
            request.retain(|at| !is_stored[at]);
        }
        let Request { scope, source, key, kept, records, hashes, encoded, .. } = request;
        let encoded = Some(encoded);
        let part = Part { records, encoded, key, ..Part::new(scope.clone(), source) };
        let mut seqs = self.add(draft, part, Some(&hashes));
        let log = draft.log(&scope);
        let lines = is_stored.into_iter().map(|is_stored| match (is_stored, log) {
            (false, Some(log)) => {
                let seq = seqs.next().expect("a place for every record that is written");
                LineResult::Stored { log, seq }
            }
            _ => LineResult::Duplicate,
        });
        Ok(answer(kept.as_deref(), lines))
    }

    /// Stores a request whose events are enough for a file of their own.
    fn ingest_bulk(&self, request: Request) -> Result<Ingested, Error> {
        let Request { scope, source, key, .. } = &request;
        let wanted = request.wanted();
        loop {
            let known = self.stored(scope, &[], &wanted)?;
            let is_stored = request.judge(&known.counts);
            let new =
                || request.records.iter().zip(&is_stored).filter(|(_, is_stored)| !**is_stored);
            let ingest_time = self.options.clock.now();
            let lines =
                new().filter_map(|(record, _)| access(record)).zip(0..).map(|(access, ordinal)| {
                    let content = Content::Access(access);
                    Line { seq: ordinal, ingest_time, source, content }
                });
            let mut part = Part::new(scope.clone(), source.clone());
            part.segment = self.write_segment(scope, lines.collect())?;
            part.key.clone_from(key);
            let others = new().map(|(record, _)| record).filter(|record| access(record).is_none());
            part.records = others.cloned().collect();
            let file = part.segment.as_ref().map(|meta| meta.name.clone());
            let event_count = part.segment.as_ref().map_or(0, |meta| meta.rows());

            let mut answered = None;
            let mut is_stale = false;
            let placed = self.write(|state, now| {
                answered = request.answered(state, now)?;
                is_stale = self.is_stale(state, scope, &known, &[], &wanted)?;
                Ok(if answered.is_some() || is_stale { Vec::new() } else { vec![part] })
            });
            let rows = match placed {
                Ok(rows) if answered.is_none() && !is_stale => rows,
                other => {
                    self.discard_segment(file.as_deref());
                    match (other?, answered) {
                        (_, Some(answer)) => return Ok(answer),
                        _ => continue,
                    }
                }
            };
            let first = rows.first().map_or(0, |rows| rows.start);
            let (mut events, mut others) = (first.., first + event_count..);
            let log = self.state().log(scope).map(|(log, _)| log);
            let lines = request.records.iter().zip(&is_stored).map(|(record, is_stored)| {
                let seq = match (is_stored, access(record)) {
                    (true, _) => None,
                    (false, Some(_)) => events.next(),
                    (false, None) => others.next(),
                };
                match (seq, log) {
                    (Some(seq), Some(log)) => LineResult::Stored { log, seq },
                    _ => LineResult::Duplicate,
                }
            });
            return Ok(answer(request.kept.as_deref(), lines));
        }
    }
}

impl Request {
    /// What of a request is from `start` on.
    pub(crate) fn new(
        ingest: Ingest,
        start: Timestamp,
        now: Timestamp,
        keys: &Keys,
    ) -> Result<Request, Error> {
        let Ingest { scope, source, key, lines } = ingest;
        let kept: Vec<bool> = lines.iter().map(|line| is_kept(start, line)).collect();
        let mut records = Vec::with_capacity(lines.len());
        let mut hashes = Vec::with_capacity(lines.len());
        let mut ends = Vec::with_capacity(lines.len());
        // What a flat event takes; to grow it step by step would copy it as often.
        let mut encoded = Vec::with_capacity(160 * lines.len());
        for line in lines {
            let (record, hash) = match line {
                IngestLine::Event(mut access) => {
                    normalize(&mut access);
                    let hash = access.connection.map(|_| keys.access(&access));
                    (Record::Access(*access), hash)
                }
                IngestLine::Sighting(sighting) => {
                    let record = Record::Sighting(*sighting);
                    let hash = keys.told(&record, &source);
                    (record, Some(hash))
                }
                IngestLine::Amendment(amendment) => {
                    let record = Record::Amendment(amendment);
                    let hash = keys.told(&record, &source);
                    (record, Some(hash))
                }
                IngestLine::Unreadable(bytes) => {
                    let hash = keys.wanted(Fact::Quarantine(&bytes)).0;
                    (Record::Quarantine(*bytes), Some(hash))
                }
            };
            minicbor::encode(&record, &mut encoded).expect("a Vec takes every byte");
            ends.push(encoded.len());
            records.push(record);
            hashes.push(hash);
        }
        let key = key.map(|key| Ok((checked(key)?, content_hash(&encoded)))).transpose()?;
        // Only now: what a request says under a key does not depend on when it comes.
        let mut is_marked = false;
        for record in &mut records {
            if let Record::Access(access) = record {
                is_marked |= mark_future(access, now);
            }
        }
        if is_marked {
            encoded.clear();
            for (record, end) in records.iter().zip(&mut ends) {
                minicbor::encode(record, &mut encoded).expect("a Vec takes every byte");
                *end = encoded.len();
            }
        }
        let mut request =
            Request { scope, source, key, kept: None, records, hashes, encoded, ends, known: None };
        // Only now: a line that has become too old is part of what was sent under a key.
        if kept.contains(&false) {
            request.retain(|at| kept[at]);
            request.kept = Some(kept);
        }
        Ok(request)
    }

    /// What can be recognised.
    pub(crate) fn wanted(&self) -> Vec<Wanted<'_>> {
        let hashed = self.records.iter().zip(&self.hashes);
        let wanted = hashed.filter_map(|(record, hash)| match record {
            Record::Access(access) => Some(((*hash)?, Fact::Access(access))),
            Record::Quarantine(bytes) => Some(((*hash)?, Fact::Quarantine(bytes))),
            record => Some(((*hash)?, Fact::Told(record.subject()?, (*hash)?))),
        });
        wanted.collect()
    }

    /// Which records are stored already, by how often each identity is.
    pub(crate) fn judge(&self, counts: &ByHash<u32>) -> Vec<bool> {
        let hashes = self.hashes.iter().copied();
        let mut is_stored = CurrentFile::default().judge(counts, hashes).is_stored;
        self.mark_repeated(&mut is_stored);
        is_stored
    }

    /// What became of each line, if what was not stored got these rows, in order.
    pub(crate) fn answer(
        &self,
        log: LogId,
        mut rows: Range<Seq>,
        is_stored: &[bool],
    ) -> Vec<LineResult> {
        let lines = is_stored.iter().map(|is_stored| match is_stored {
            true => LineResult::Duplicate,
            false => {
                let seq = rows.next().expect("a place for every record that is written");
                LineResult::Stored { log, seq }
            }
        });
        answer(self.kept.as_deref(), lines).lines
    }

    /// What is told of an access twice is told once.
    fn mark_repeated(&self, is_stored: &mut [bool]) {
        let mut seen: HashSet<Hash128> = HashSet::new();
        for ((record, hash), is_stored) in self.records.iter().zip(&self.hashes).zip(is_stored) {
            if let (Some(_), Some(hash)) = (record.subject(), hash) {
                *is_stored |= !seen.insert(*hash);
            }
        }
    }

    /// The answer, if the request was written before. Another one under its key is an error.
    fn answered(&self, state: &State, now: Timestamp) -> Result<Option<Ingested>, Error> {
        let Some((key, content)) = &self.key else { return Ok(None) };
        let log = state.log(&self.scope).map(|(_, log)| log);
        match log.and_then(|log| log.request_keys.get(&self.source, key, now)) {
            None => Ok(None),
            Some(known) => self.answer_as(known.content == *content).map(Some),
        }
    }

    /// The same for the requests of a draft.
    fn answered_in(&self, draft: &Draft) -> Result<Option<Ingested>, Error> {
        let Some((key, content)) = &self.key else { return Ok(None) };
        match draft.request_key(&self.scope, &self.source, key) {
            None => Ok(None),
            Some(known) => self.answer_as(known == *content).map(Some),
        }
    }

    fn answer_as(&self, is_same: bool) -> Result<Ingested, Error> {
        match is_same {
            true => {
                let lines = self.records.iter().map(|_| LineResult::Duplicate);
                Ok(answer(self.kept.as_deref(), lines))
            }
            false => Err(Error::new(
                ErrorKind::Exists,
                "a request with other lines was stored under this idempotency key",
            )),
        }
    }

    /// Keeps the records at some places.
    fn retain(&mut self, is_kept: impl Fn(usize) -> bool) {
        let mut kept = Vec::with_capacity(self.encoded.len());
        let mut ends = Vec::with_capacity(self.ends.len());
        let mut start = 0;
        for (at, end) in self.ends.iter().enumerate() {
            if is_kept(at) {
                kept.extend_from_slice(&self.encoded[start..*end]);
                ends.push(kept.len());
            }
            start = *end;
        }
        (self.encoded, self.ends) = (kept, ends);
        let mut at = 0..;
        self.records.retain(|_| at.next().is_some_and(&is_kept));
        let mut at = 0..;
        self.hashes.retain(|_| at.next().is_some_and(&is_kept));
    }
}

/// What became of each line, of which some were not `kept`.
fn answer(kept: Option<&[bool]>, mut lines: impl Iterator<Item = LineResult>) -> Ingested {
    let Some(kept) = kept else { return Ingested { lines: lines.collect() } };
    let lines = kept.iter().map(|is_kept| match is_kept {
        true => lines.next().expect("an answer for every line that is kept"),
        false => LineResult::Expired,
    });
    Ingested { lines: lines.collect() }
}

fn access(record: &Record) -> Option<&Access> {
    match record {
        Record::Access(access) => Some(access),
        _ => None,
    }
}

fn checked(key: Text) -> Result<Text, Error> {
    match key.is_empty() || key.len() > KEY_SIZE_BYTES_MAX {
        false => Ok(key),
        true => Err(Error::new(
            ErrorKind::Invalid,
            format!("an idempotency key has 1 to {KEY_SIZE_BYTES_MAX} bytes"),
        )),
    }
}

/// What a request says, the same after every restart.
fn content_hash(encoded: &[u8]) -> [u8; 16] {
    let mut hasher = SipHasher13::new();
    hasher.write(encoded);
    hasher.finish128().as_u128().to_le_bytes()
}

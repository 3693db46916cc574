//! [`Desk`]: what is new of a review since it was signed, what is said of it, and to sign it.
//! `docs/design/review.md` has the rules.
//!
//! Who may do it is not decided here: `auth::authorize` is asked before. What a reviewer may not miss is: a
//! round is found by the order of commits, and signed as it was seen ([`Seen`]).

mod schedule;
#[cfg(test)]
mod tests;
mod token;

use std::io;
use std::sync::Arc;

use doorbook_event::public_id::Names;
use doorbook_event::record::Actor;
use doorbook_event::registry::RegistryChange;
use doorbook_event::review::{Covered, Decision, Due, Mark, MarkKind, Review, SignOff};
use doorbook_event::{LogId, PublicId, PublicIds, Scope, Seq, Text, Timestamp};
use doorbook_store::filter::{AsOf, Kind, Order};
use doorbook_store::reviews::{Act, Marking, Reviewed};
use doorbook_store::{Answer, Catalog, Filter, Page, Placed, Reviews, Store};
use jiff::tz::TimeZone;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::admin::{Failure, FailureKind, with_causes};
use crate::api::native::seal_as_of;
use crate::export::{Attested, Export, Format};
use crate::filter::{About, Key, Terms, Wrong, time_zone};

pub use schedule::deadline;
pub use token::Seen;

/// What a note may have.
pub const NOTE_CHARS_MAX: usize = 2000;

/// Rows that are marked at once.
pub const ROWS_MAX: usize = 1000;

/// Where reviews are done.
pub struct Desk {
    /// The history.
    pub store: Store,
    /// What places of it are called outside.
    pub ids: PublicIds,
    /// The registry as the reviewer sees it.
    pub catalog: Arc<Catalog>,
    /// The present.
    pub now: Timestamp,
}

/// What is described of a review.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its name.
    pub name: Text,
    /// Whose history.
    pub scope: Scope,
    /// Which events of it.
    pub filter: Text,
    /// The zone of its deadlines.
    pub zone: Text,
    /// By when somebody is to have signed.
    pub due: Due,
}

/// The open round of a review, of one state.
pub struct Round<'a> {
    /// The review.
    pub review: &'a Review,
    /// What is looked at.
    pub seen: Seen,
    /// Since when it is about what happened.
    pub from: Timestamp,
    /// Rows of events before this are not kept, and nobody may have looked at them.
    pub lost_before: Option<Timestamp>,
    /// Its rows.
    pub filter: Filter,
    reviews: Arc<Reviews>,
}

/// Whether what was signed is still there, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What was signed.
    pub sign_off: SignOff,
    /// How many rows there are now.
    pub count: u64,
    /// SHA-256 of them.
    pub rows_sha256: [u8; 32],
}

impl Checked {
    /// Whether it is.
    pub fn is_same(&self) -> bool {
        (self.count, self.rows_sha256) == (self.sign_off.count, self.sign_off.rows_sha256)
    }
}

impl Desk {
    /// A review.
    pub fn review(&self, name: &str) -> Result<&Review, Failure> {
        let review = self.catalog.registry.review(name);
        review.ok_or_else(|| {
            Failure::missing(format!("no review {name}; `doorbook review list` shows all"))
        })
    }

    /// Makes a review. Its first round begins now, or with the history.
    pub fn create(&self, by: &Actor, of: Described, from_start: bool) -> Result<(), Failure> {
        let (from, begins) = match from_start {
            true => (Timestamp::MIN, AsOf::new()),
            false => (self.now, self.store.as_of(&of.scope)),
        };
        self.set(by, of, |Described { name, scope, filter, zone, due }| Review {
            name,
            scope,
            filter,
            zone,
            due,
            created: self.now,
            from,
            begins,
            version: 1,
        })
    }

    /// Describes a review anew: from the next round on.
    pub fn change(&self, by: &Actor, before: &Review, of: Described) -> Result<(), Failure> {
        self.set(by, of, |Described { name, scope, filter, zone, due }| Review {
            name,
            scope,
            filter,
            zone,
            due,
            version: before.version + 1,
            ..before.clone()
        })
    }

    fn set(
        &self,
        by: &Actor,
        of: Described,
        review: impl FnOnce(Described) -> Review,
    ) -> Result<(), Failure> {
        time_zone(&of.zone).map_err(Failure::invalid)?;
        self.filter(&of.scope, &of.filter, &of.zone)?;
        let change = RegistryChange::ReviewSet(review(of));
        Ok(self.store.change_registry(by, vec![change])?)
    }

    /// What was said and signed so far.
    pub fn reviews(&self) -> Arc<Reviews> {
        self.store.reviews()
    }

    /// By when the open round is to be signed, and whether that is over.
    pub fn standing(&self, review: &Review) -> (Timestamp, bool) {
        let due = deadline(review, self.reviews().of(&review.name));
        (due, due <= self.now)
    }

    /// The open round, as it is now or as it was seen.
    pub fn look<'a>(&self, review: &'a Review, token: Option<&str>) -> Result<Round<'a>, Failure> {
        let reviews = self.store.reviews();
        let reviewed = reviews.of(&review.name);
        let seen = match token {
            Some(token) => self.seen(review, reviewed, token)?,
            None => Seen {
                round: reviewed.round(),
                version: review.version,
                at: self.now,
                as_of: self.store.as_of(&review.scope),
            },
        };
        let from = reviewed.last().map_or(review.from, |last| {
            last.coverage.through.map_or(last.to, |through| through.min(last.to)).max(last.from)
        });
        let mut filter = self.filter(&review.scope, &review.filter, &review.zone)?;
        filter.since = Some(reviewed.since(review).clone());
        filter.as_of = Some(seen.as_of.clone());
        let kept_from = self.store.kept_from(&review.scope);
        let is_lost = Timestamp::MIN < from && from < kept_from;
        let lost_before = is_lost.then_some(kept_from);
        Ok(Round { review, seen, from, lost_before, filter, reviews })
    }

    fn seen(&self, review: &Review, known: &Reviewed, token: &str) -> Result<Seen, Failure> {
        let seen = Seen::open(&self.ids, &review.name, token).ok_or_else(|| {
            Failure::invalid(format!(
                "that names no round of review {}; `doorbook review show` prints it",
                review.name
            ))
        })?;
        if seen.round != known.round() {
            let last = known.last();
            let who = last.map(|last| format!(" by {} at {}", last.by.principal, last.at));
            return Err(Failure::exists(format!(
                "round {} was signed already{}",
                seen.round,
                who.unwrap_or_default()
            )));
        }
        match seen.version == review.version {
            true => Ok(seen),
            false => Err(Failure::exists(
                "the review was described anew since its rows were shown: look again",
            )),
        }
    }

    /// Says of rows of the open round what they are.
    pub fn mark(
        &self,
        by: &Actor,
        round: &Round<'_>,
        rows: &[String],
        (kind, note): (MarkKind, Option<&str>),
    ) -> Result<(), Failure> {
        let note = note.filter(|note| !note.trim().is_empty()).map(said).transpose()?;
        if kind == MarkKind::FollowUp && note.is_none() {
            return Err(Failure::invalid("say in a note what is to be followed up"));
        }
        let round_number = round.seen.round;
        let mark = Mark { kind, note, by: by.clone(), at: self.now, round: round_number };
        let markings = self.markings(rows, &mark)?;
        for marking in &markings {
            if !self.holds(round, marking.place)? {
                return Err(Failure::missing(format!("row {} is not in this round", marking.row)));
            }
        }
        let acts = markings.into_iter().map(Act::Mark).collect();
        Ok(self.store.act_on_review(by, &round.review.name, acts)?)
    }

    /// Says what came of rows that were to be followed up.
    pub fn close(
        &self,
        by: &Actor,
        review: &Review,
        rows: &[String],
        note: &str,
    ) -> Result<(), Failure> {
        let round = self.store.reviews().of(&review.name).round();
        let note = Some(said(note)?);
        let mark = Mark { kind: MarkKind::Expected, note, by: by.clone(), at: self.now, round };
        let acts = self.markings(rows, &mark)?.into_iter().map(Act::Close).collect();
        Ok(self.store.act_on_review(by, &review.name, acts)?)
    }

    fn markings(&self, rows: &[String], mark: &Mark) -> Result<Vec<Marking>, Failure> {
        if rows.is_empty() || rows.len() > ROWS_MAX {
            return Err(Failure::invalid(format!("name 1 to {ROWS_MAX} rows")));
        }
        let marking = |row: &String| {
            let id = row.parse::<PublicId>().ok();
            let place = id.and_then(|id| self.ids.place(Names::Record, id));
            let place = place.ok_or_else(|| Failure::missing(format!("there is no row {row}")))?;
            Ok(Marking { place, row: row.as_str().into(), mark: mark.clone() })
        };
        rows.iter().map(marking).collect()
    }

    /// Whether a round has the row of a place.
    fn holds(&self, round: &Round<'_>, (log, seq): (LogId, Seq)) -> Result<bool, Failure> {
        let Some(row) = self.store.get(&round.review.scope, log, seq)? else { return Ok(false) };
        let at = row.event_time();
        let filter = Filter {
            from: round.filter.from.max(at),
            to: round.filter.to.min(at),
            // Of equal times the later stored comes first.
            after: Some(Order { event_time: at, log, seq: seq.saturating_add(1) }),
            limit: 1,
            is_counted: false,
            ..round.filter.clone()
        };
        let page = self.store.select(&filter)?;
        Ok(page.rows.first().is_some_and(|row| (row.log, row.seq) == (log, seq)))
    }

    /// Signs the round that a token names. Who asks again, not having heard that it was done, is told what was done.
    pub fn sign_seen(
        &self,
        by: &Actor,
        review: &Review,
        token: &str,
        said: (Decision, Option<&str>),
    ) -> Result<SignOff, Failure> {
        let signed = self.look(review, Some(token)).and_then(|round| self.sign(by, &round, said));
        signed.or_else(|failure| match failure.kind {
            FailureKind::Exists => self.signed_so(by, review, token, said).ok_or(failure),
            _ => Err(failure),
        })
    }

    /// The sign-off of the round that a token names, if the same person signed just this with the same words.
    fn signed_so(
        &self,
        by: &Actor,
        review: &Review,
        token: &str,
        (decision, note): (Decision, Option<&str>),
    ) -> Option<SignOff> {
        let seen = Seen::open(&self.ids, &review.name, token)?;
        let note = note.map(str::trim).filter(|note| !note.is_empty());
        let reviews = self.reviews();
        let sign =
            reviews.of(&review.name).sign_offs.iter().find(|sign| sign.round == seen.round)?;
        let is_seen = (sign.version, sign.to, &sign.as_of) == (seen.version, seen.at, &seen.as_of);
        let is_said = (sign.decision, sign.note.as_deref()) == (decision, note);
        (is_seen && is_said && sign.by.principal == by.principal).then(|| sign.clone())
    }

    /// Signs a round as it was seen.
    pub fn sign(
        &self,
        by: &Actor,
        round: &Round<'_>,
        (decision, note): (Decision, Option<&str>),
    ) -> Result<SignOff, Failure> {
        let note = note.filter(|note| !note.trim().is_empty()).map(said).transpose()?;
        let Round { review, seen, from, lost_before, filter, .. } = round;
        let marked = round.reviewed().marked(&seen.as_of);
        let attested =
            self.attest(review, (&review.filter, &review.zone), filter, (*from, seen.at))?;
        let Attested { count, rows_sha256, times, coverage, mut manifest } = attested;
        let since = filter.since.clone().unwrap_or_default();
        let mut sign_off = SignOff {
            round: seen.round,
            version: seen.version,
            filter: review.filter.clone(),
            zone: review.zone.clone(),
            from: *from,
            to: seen.at,
            since,
            as_of: seen.as_of.clone(),
            count,
            marked,
            coverage: Covered {
                grade: coverage.grade,
                through: coverage.through,
                gaps: coverage.gaps.len() as u64,
            },
            lost_before: *lost_before,
            rows_sha256,
            manifest_sha256: [0; 32],
            decision,
            note,
            by: by.clone(),
            at: self.now,
            times,
        };
        manifest.insert("by".into(), by.principal.to_string().into());
        manifest.insert("review".into(), self.told(review, &sign_off));
        let manifest = serde_json::to_vec_pretty(&manifest).expect("texts and numbers are JSON");
        sign_off.manifest_sha256 = Sha256::digest(&manifest).into();
        let act = Act::Sign { sign_off: Box::new(sign_off.clone()), manifest };
        self.store.act_on_review(by, &review.name, vec![act])?;
        Ok(sign_off)
    }

    /// What a manifest says beside that of an export.
    fn told(&self, review: &Review, sign: &SignOff) -> serde_json::Value {
        json!({
            "name": review.name,
            "round": sign.round,
            "version": sign.version,
            "window": {
                "from": (sign.from > Timestamp::MIN).then_some(sign.from),
                "to": sign.to,
            },
            "since": seal_as_of(&self.ids, &sign.since),
            "marked": sign.marked,
            "lost_before": sign.lost_before,
            "decision": sign.decision,
            "note": sign.note,
        })
    }

    /// Reads again what was signed.
    pub fn check(&self, review: &Review, round: u64) -> Result<Checked, Failure> {
        let reviews = self.store.reviews();
        let mut signed = reviews.of(&review.name).sign_offs.iter();
        let Some(sign_off) = signed.find(|sign| sign.round == round) else {
            return Err(Failure::missing(format!(
                "no sign-off of round {round} is at hand; `doorbook review show {}` shows those \
                 that are",
                review.name
            )));
        };
        let filter = self.signed(review, sign_off)?;
        let written = (&sign_off.filter, &sign_off.zone);
        let attested = self.attest(review, written, &filter, (sign_off.from, sign_off.to))?;
        let Attested { count, rows_sha256, .. } = attested;
        Ok(Checked { sign_off: sign_off.clone(), count, rows_sha256 })
    }

    /// The rows that were signed, as far as they are there.
    pub fn signed(&self, review: &Review, sign_off: &SignOff) -> Result<Filter, Failure> {
        let filter = self.filter(&review.scope, &sign_off.filter, &sign_off.zone)?;
        let (since, as_of) = (Some(sign_off.since.clone()), Some(sign_off.as_of.clone()));
        Ok(Filter { since, as_of, ..filter })
    }

    /// What could be known of a round's window.
    pub fn coverage(&self, round: &Round<'_>) -> Answer {
        let filter = Filter { from: round.from, to: round.seen.at, ..round.filter.clone() };
        crate::coverage::of(&self.store, &self.catalog.registry, &filter, self.now)
    }

    fn attest(
        &self,
        review: &Review,
        (asked, zone): (&Text, &Text),
        filter: &Filter,
        window: (Timestamp, Timestamp),
    ) -> Result<Attested, Failure> {
        let export = Export {
            store: self.store.clone(),
            ids: self.ids.clone(),
            catalog: Arc::clone(&self.catalog),
            filter: filter.clone(),
            asked: asked.to_string(),
            zone: zone.to_string(),
            format: Format::Ndjson,
            by: String::new(),
            at: self.now,
        };
        export.attest(window).map_err(|error: io::Error| {
            Failure::failed(with_causes(&error)).while_doing(format!("review {}", review.name))
        })
    }

    fn filter(&self, scope: &Scope, text: &str, zone: &str) -> Result<Filter, Failure> {
        let registry = &self.catalog.registry;
        let zone = time_zone(zone).unwrap_or(TimeZone::UTC);
        let about = About { registry, scope, now: self.now, zone: &zone };
        filter_of(about, text).map_err(|wrong| explained(&wrong, text))
    }
}

/// What the filter of a review asks for.
pub fn filter_of(about: About<'_>, text: &str) -> Result<Filter, Wrong> {
    let terms = Terms::parse(text)?;
    let of_round = [Key::From, Key::To, Key::Since, Key::Kind];
    if let Some(term) = terms.iter().find(|term| of_round.contains(&term.key)) {
        let what = format!(
            "a review is of the events that are new: its filter takes no {}",
            term.key.word()
        );
        return Err(Wrong { place: term.place, what, is_missing: false });
    }
    Ok(Filter { kind: Kind::Access, ..terms.filter(about)? })
}

impl Round<'_> {
    /// What was said and signed when it was looked at.
    pub fn reviewed(&self) -> &Reviewed {
        self.reviews.of(&self.review.name)
    }

    /// What names it when it is signed.
    pub fn token(&self, ids: &PublicIds) -> String {
        self.seen.seal(ids, &self.review.name)
    }

    /// A page of its rows.
    pub fn page(&self, store: &Store, limit: usize, after: Option<Order>) -> Result<Page, Failure> {
        Ok(store.select(&Filter { limit, after, ..self.filter.clone() })?)
    }

    /// What was said of a row.
    pub fn mark_of(&self, row: &Placed) -> Option<&Mark> {
        self.reviewed().marks.get(&(row.log, row.seq))
    }
}

fn explained(wrong: &Wrong, text: &str) -> Failure {
    match wrong.is_missing {
        true => Failure::missing(wrong.explain(text)),
        false => Failure::invalid(wrong.explain(text)),
    }
}

fn said(note: &str) -> Result<Text, Failure> {
    let note = note.trim();
    match note.chars().count() {
        0 => Err(Failure::invalid("the note says nothing; write what was found")),
        1..=NOTE_CHARS_MAX => Ok(note.into()),
        _ => Err(Failure::invalid(format!("a note has at most {NOTE_CHARS_MAX} characters"))),
    }
}

//! [`Reviews`]: what reviewers said of rows, and what they signed.
//!
//! What a round is, and what is hashed, is not decided here; `docs/design/review.md` says it. Here it is
//! kept, and kept consistent: each step is durable together with the event that tells of it, and of two who
//! sign the same round one is refused.

use std::collections::{BTreeMap, VecDeque};

use doorbook_event::record::{Actor, Grade};
use doorbook_event::review::{Decision, Mark, MarkKind, Marked, Review, SignOff, State as AsOf};
use doorbook_event::{Action, LogId, Record, Seq, Text, Timestamp};
use minicbor::{Decode, Encode};

use crate::error::{Error, ErrorKind};
use crate::state::{Misfit, State};
use crate::{Inner, own};

/// Marks that a review holds: those of the open round, and what is to be followed up.
pub const MARKS_MAX: usize = 10_000;

/// Sign-offs of a review that are at hand; all of them are in the history.
pub const SIGNED_MAX: usize = 400;

/// Of each review what was said and signed, by name. A snapshot; it never changes.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Reviews {
    #[n(0)]
    reviews: BTreeMap<Text, Reviewed>,
}

/// What was said and signed in a review.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Reviewed {
    /// How many rounds were signed.
    #[n(0)]
    pub signed: u64,
    /// The latest sign-offs, from the oldest.
    #[n(1)]
    pub sign_offs: VecDeque<SignOff>,
    /// What was said of rows: of the open round, and what is to be followed up.
    #[n(2)]
    pub marks: BTreeMap<(LogId, Seq), Mark>,
}

/// Something that a reviewer does.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Says what a row of the open round is.
    Mark(Marking),
    /// Says what came of a row that was to be followed up.
    Close(Marking),
    /// Signs the open round.
    Sign {
        /// What is signed.
        sign_off: Box<SignOff>,
        /// The manifest, whose hash it has.
        manifest: Vec<u8>,
    },
}

/// A row, and what is said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Marking {
    /// The row's place.
    pub place: (LogId, Seq),
    /// What the row is called outside.
    pub row: Text,
    /// What is said of it.
    pub mark: Mark,
}

/// The same as it is written.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) enum Step {
    #[n(0)]
    Marked {
        #[n(0)]
        place: (LogId, Seq),
        #[n(1)]
        mark: Box<Mark>,
    },
    #[n(1)]
    Closed {
        #[n(0)]
        place: (LogId, Seq),
        #[n(1)]
        mark: Box<Mark>,
    },
    #[n(2)]
    Signed(#[n(0)] Box<SignOff>),
}

impl Reviews {
    /// What was said and signed in a review.
    pub fn of(&self, review: &str) -> &Reviewed {
        static NOTHING: Reviewed =
            Reviewed { signed: 0, sign_offs: VecDeque::new(), marks: BTreeMap::new() };
        self.reviews.get(review).unwrap_or(&NOTHING)
    }

    /// Whether nothing is known.
    pub(crate) fn is_none(&self) -> bool {
        self.reviews.is_empty()
    }

    /// Forgets a review that there is no more.
    pub(crate) fn remove(&mut self, review: &str) {
        self.reviews.remove(review);
    }

    /// Takes a step.
    pub(crate) fn apply(&mut self, review: Text, step: Step) -> Result<(), Misfit> {
        let known = self.reviews.entry(review.clone()).or_default();
        match step {
            Step::Marked { place, mark } => {
                known.marks.insert(place, *mark);
            }
            Step::Closed { place, mark } => {
                let before = known.marks.get_mut(&place);
                let before = before.ok_or_else(|| Misfit(format!("{review} has no such mark")))?;
                // Of the open round it is counted yet.
                match before.round == known.signed + 1 {
                    true => *before = *mark,
                    false => drop(known.marks.remove(&place)),
                }
            }
            Step::Signed(sign_off) => {
                if sign_off.round != known.signed + 1 {
                    return Err(Misfit(format!("{review} is not at round {}", sign_off.round)));
                }
                known.signed = sign_off.round;
                known.marks.retain(|place, mark| {
                    let is_in = is_below(place, &sign_off.as_of);
                    // It was marked by somebody who saw a later state.
                    if mark.round == sign_off.round && !is_in {
                        mark.round += 1;
                    }
                    mark.kind == MarkKind::FollowUp || !is_in
                });
                known.sign_offs.push_back(*sign_off);
                let excess = known.sign_offs.len().saturating_sub(SIGNED_MAX);
                known.sign_offs.drain(..excess);
            }
        }
        Ok(())
    }
}

impl Reviewed {
    /// The latest sign-off.
    pub fn last(&self) -> Option<&SignOff> {
        self.sign_offs.back()
    }

    /// The round that is open.
    pub fn round(&self) -> u64 {
        self.signed + 1
    }

    /// The state at which the open round begins.
    pub fn since<'a>(&'a self, review: &'a Review) -> &'a AsOf {
        self.last().map_or(&review.begins, |last| &last.as_of)
    }

    /// How many rows of the open round are marked, if it ends at a state.
    pub fn marked(&self, as_of: &AsOf) -> Marked {
        let of = |kind| {
            let of_round = self.marks.iter().filter(|(_, mark)| mark.round == self.round());
            let marks =
                of_round.filter(|(place, mark)| mark.kind == kind && is_below(place, as_of));
            marks.count() as u64
        };
        Marked { expected: of(MarkKind::Expected), follow_up: of(MarkKind::FollowUp) }
    }

    /// What is to be followed up.
    pub fn follow_ups(&self) -> impl Iterator<Item = (&(LogId, Seq), &Mark)> {
        self.marks.iter().filter(|(_, mark)| mark.kind == MarkKind::FollowUp)
    }
}

impl Inner {
    /// Writes what a reviewer does, each act with the event that tells of it, all or nothing.
    pub(crate) fn act_on_review(
        &self,
        by: &Actor,
        review: &str,
        acts: Vec<Act>,
    ) -> Result<(), Error> {
        self.write(|state, now| {
            let known = state.catalog.registry.review(review);
            let known = known
                .ok_or_else(|| Error::new(ErrorKind::Missing, format!("no review {review}")))?;
            let mut reviews = Reviews::clone(&state.reviews);
            let (mut steps, mut events) = (Vec::new(), Vec::new());
            for act in acts {
                check(state, known, reviews.of(review), &act)?;
                events.push(event(by, known, &act, now));
                let step = step(act);
                let misfit = |Misfit(why)| Error::new(ErrorKind::Exists, why);
                reviews.apply(known.name.clone(), step.clone()).map_err(misfit)?;
                steps.push(step);
            }
            let mut part = own::part(events);
            part.reviewed = Some((known.name.clone(), steps));
            Ok(vec![part])
        })?;
        Ok(())
    }
}

fn is_below(place: &(LogId, Seq), as_of: &AsOf) -> bool {
    as_of.iter().any(|(log, end)| *log == place.0 && place.1 < *end)
}

/// Whether an act fits what was done before.
fn check(state: &State, review: &Review, known: &Reviewed, act: &Act) -> Result<(), Error> {
    let refuse = |kind, why: String| Err(Error::new(kind, why));
    match act {
        Act::Mark(Marking { place, mark, row }) => {
            let is_new = !known.marks.contains_key(place);
            if mark.round != known.round() {
                return refuse(
                    ErrorKind::Exists,
                    format!("round {} was signed meanwhile", mark.round),
                );
            }
            if state.log(&review.scope).is_none_or(|(log, _)| log != place.0) {
                return refuse(ErrorKind::Missing, format!("no row {row} in {}", review.scope));
            }
            match is_new && known.marks.len() >= MARKS_MAX {
                true => refuse(
                    ErrorKind::Invalid,
                    format!(
                        "a review holds {MARKS_MAX} marks: sign this round, or narrow the filter"
                    ),
                ),
                false => Ok(()),
            }
        }
        Act::Close(Marking { place, row, .. }) => {
            let mark = known.marks.get(place);
            match mark.is_some_and(|mark| mark.kind == MarkKind::FollowUp) {
                true => Ok(()),
                false => refuse(ErrorKind::Missing, format!("row {row} is not to be followed up")),
            }
        }
        Act::Sign { sign_off, .. } => check_sign_off(review, known, sign_off),
    }
}

fn check_sign_off(review: &Review, known: &Reviewed, sign: &SignOff) -> Result<(), Error> {
    let refuse = |kind, why: String| Err(Error::new(kind, why));
    if sign.round != known.round() || sign.since != *known.since(review) {
        let who = known.last().map(|last| format!(" by {} at {}", last.by.principal, last.at));
        let who = who.unwrap_or_default();
        return refuse(ErrorKind::Exists, format!("round {} was signed already{who}", sign.round));
    }
    if sign.version != review.version {
        let why = "the review was described anew since its rows were shown: look again";
        return refuse(ErrorKind::Exists, why.into());
    }
    if sign.marked != known.marked(&sign.as_of) {
        let why = "rows were marked since the round was looked at: look again";
        return refuse(ErrorKind::Exists, why.into());
    }
    match (sign.decision, sign.marked.follow_up) {
        (Decision::Accepted, 1..) => refuse(
            ErrorKind::Invalid,
            "rows are to be followed up: close them, or decide follow_up".into(),
        ),
        (Decision::FollowUp, 0) => {
            refuse(ErrorKind::Invalid, "no row of this round is marked as to be followed up".into())
        }
        _ => Ok(()),
    }
}

fn step(act: Act) -> Step {
    match act {
        Act::Mark(Marking { place, mark, .. }) => Step::Marked { place, mark: Box::new(mark) },
        Act::Close(Marking { place, mark, .. }) => Step::Closed { place, mark: Box::new(mark) },
        Act::Sign { sign_off, .. } => Step::Signed(sign_off),
    }
}

fn event(by: &Actor, review: &Review, act: &Act, now: Timestamp) -> Record {
    let target = ("review", &*review.name);
    let marking = |verb: &'static str, marking: &Marking| {
        let note = marking.mark.note.clone().map(|note| ("note", note));
        let about = [
            ("verb", verb.into()),
            ("row", marking.row.clone()),
            ("as", marking.mark.kind.word().into()),
            ("round", marking.mark.round.to_string().into()),
        ];
        own::event(by, Action::Review, target, now, about.into_iter().chain(note))
    };
    match act {
        Act::Mark(of) => marking("mark", of),
        Act::Close(of) => marking("close", of),
        Act::Sign { sign_off, manifest } => {
            let about = of_sign_off(review, sign_off);
            let mut event = own::event(by, Action::ReviewSignOff, target, now, about);
            if let Record::Own(access) = &mut event {
                access.raw.clone_from(manifest);
            }
            event
        }
    }
}

fn of_sign_off(review: &Review, sign: &SignOff) -> Vec<(&'static str, Text)> {
    let instant = |at: Timestamp| Text::from(at.to_string());
    let number = |n: u64| Text::from(n.to_string());
    let texts = [
        ("round", Some(number(sign.round))),
        ("version", Some(number(sign.version.into()))),
        ("scope", Some(review.scope.to_string().into())),
        ("filter", Some(sign.filter.clone())),
        ("zone", Some(sign.zone.clone())),
        ("from", Some(sign.from).filter(|from| *from > Timestamp::MIN).map(instant)),
        ("to", Some(instant(sign.to))),
        ("count", Some(number(sign.count))),
        ("expected", Some(number(sign.marked.expected))),
        ("follow_up", Some(number(sign.marked.follow_up))),
        ("coverage", Some(covered(sign.coverage.grade).into())),
        ("through", sign.coverage.through.map(instant)),
        ("gaps", Some(number(sign.coverage.gaps))),
        ("lost_before", sign.lost_before.map(instant)),
        ("rows_sha256", Some(hex::encode(sign.rows_sha256).into())),
        ("manifest_sha256", Some(hex::encode(sign.manifest_sha256).into())),
        ("decision", Some(sign.decision.word().into())),
        ("note", sign.note.clone()),
    ];
    texts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

/// The word that answers have for it.
const fn covered(grade: Grade) -> &'static str {
    match grade {
        Grade::Watched => "complete",
        Grade::BestEffort => "best_effort",
        Grade::Blind => "gaps",
    }
}

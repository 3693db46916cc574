//! `reviews`: what there is to look through, what is new of it, what was said and signed; and to say and sign it.
//!
//! What is read is found by [`Desk`], as for the page. What is done is the [`ReviewRequest`] that the page and the
//! command line make, carried out by the same function with the caller's rights.

use doorbook_event::public_id::Names;
use doorbook_event::record::Grade;
use doorbook_event::review::{Covered, Mark, Marked, Review, SignOff};
use doorbook_event::{LogId, Scope, Seq, Timestamp};
use doorbook_store::Answer;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answers;
use super::cursor::Cursor;
use super::dispatch::{Call, Sent};
use super::events;
use super::problem::Problem;
use crate::admin::needs::Refused;
use crate::admin::reviews::ReviewRequest;
use crate::admin::{Reply, Request, views};
use crate::auth::reviewers;
use crate::coverage::word;
use crate::review::Desk;

/// Rows of a page.
const LIMIT_MAX: usize = 1000;

const LIMIT_DEFAULT: usize = 100;

/// Serves `reviews`.
pub fn list(call: &mut Call<'_>) -> Result<Vec<u8>, Problem> {
    call.query.finish()?;
    let desk = desk(call);
    // Who asks here on the machine itself may ask for all.
    let is_wanted = |review: &&Review| call.scope == Scope::System || review.scope == call.scope;
    let reviews = desk.catalog.registry.reviews().filter(is_wanted);
    let reviews: Vec<_> = reviews.map(|review| describe(&desk, review)).collect();
    call.rows = reviews.len() as u64;
    json(&answers::Reviews { reviews })
}

/// Serves `reviews/{name}`: the open round, as it is now or as an answer before showed it.
pub fn show(call: &mut Call<'_>) -> Result<Vec<u8>, Problem> {
    let limit = call.query.number("limit", 0..=LIMIT_MAX)?;
    // A cursor has the round where others have a filter.
    let token = call.query.one(if call.cursor.is_some() { "q" } else { "round" })?;
    call.query.finish()?;
    let desk = desk(call);
    let review = desk.review(call.named()?)?;
    let round = desk.look(review, token.as_deref())?;
    let limit_before = call.cursor.as_ref().map(|cursor| cursor.limit);
    let limit = limit.or(limit_before).unwrap_or(LIMIT_DEFAULT);
    let page = round.page(call.store, limit, call.cursor.as_ref().map(|cursor| cursor.after))?;
    call.rows = page.rows.len() as u64;
    let reviewed = round.reviewed();
    let token = round.token(call.ids);
    let next = events::next(&page, limit).map(|after| {
        let (scope, as_of) = (review.scope.clone(), page.as_of.clone());
        Cursor { scope, limit, after, as_of, filter: token.clone() }.seal(call.ids)
    });
    let marks = page.rows.iter().filter_map(|row| {
        let mark = round.mark_of(row)?;
        Some(of_mark(&desk, (row.log, row.seq), mark))
    });
    let follow_ups = || {
        let marks = reviewed.follow_ups();
        marks.map(|(place, mark)| of_mark(&desk, *place, mark)).collect()
    };
    let sign_offs = || reviewed.sign_offs.iter().rev().map(of_sign_off).collect();
    let is_first = call.cursor.is_none();
    let mut out = json(&answers::Round {
        review: describe(&desk, review),
        token,
        from: since_ever(round.from),
        to: round.seen.at,
        lost_before: round.lost_before,
        coverage: covered_by(&desk.coverage(&round)),
        total: page.total,
        marked: of_marked(reviewed.marked(&round.seen.as_of)),
        marks: marks.collect(),
        follow_ups: is_first.then(follow_ups),
        sign_offs: is_first.then(sign_offs),
        cursor: next,
        events: Vec::new(),
    })?;
    // Rows are many, and the last member: they are written where their empty list ends.
    out.truncate(out.len() - b"]}".len());
    for (index, row) in page.rows.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"" } else { b"," });
        events::write_alone(call.ids, row, &mut out);
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

/// Serves `reviews/{name}/check`: reads again what was signed.
pub fn check(call: &mut Call<'_>) -> Result<Vec<u8>, Problem> {
    let round = call.query.number("round", 1..=usize::MAX)?;
    call.query.finish()?;
    let round =
        round.ok_or_else(|| Problem::invalid_parameter("round", "the number of a signed round"))?;
    let desk = desk(call);
    let checked = desk.check(desk.review(call.named()?)?, round as u64)?;
    call.rows = checked.count;
    json(&answers::CheckedRound {
        sign_off: of_sign_off(&checked.sign_off),
        same: checked.is_same(),
        count: checked.count,
        rows_sha256: hex::encode(checked.rows_sha256),
    })
}

/// Serves `POST reviews`.
pub fn create(call: &mut Call<'_>, sent: &Sent<'_>) -> Result<Vec<u8>, Problem> {
    let answers::NewReview { name, filter, due, zone, all: from_start } = read(sent)?;
    let (project, namespace) = match &call.scope {
        Scope::Project(id) => (Some(id.to_string()), None),
        Scope::Namespace(name) => (None, Some(name.to_string())),
        Scope::System => (None, None),
    };
    let zone = zone.unwrap_or_else(|| "UTC".to_owned());
    let request = ReviewRequest::Create { name, project, namespace, filter, zone, due, from_start };
    carry_out(call, sent, request)
}

/// Serves `PATCH reviews/{name}`.
pub fn change(call: &mut Call<'_>, sent: &Sent<'_>) -> Result<Vec<u8>, Problem> {
    let answers::ChangedReview { filter, due, zone } = read(sent)?;
    let name = call.named()?.to_owned();
    carry_out(call, sent, ReviewRequest::Change { name, filter, zone, due })
}

/// Serves `DELETE reviews/{name}`.
pub fn remove(call: &mut Call<'_>, sent: &Sent<'_>) -> Result<Vec<u8>, Problem> {
    let name = call.named()?.to_owned();
    carry_out(call, sent, ReviewRequest::Remove { name })
}

/// Serves `reviews/{name}/marks`.
pub fn mark(call: &mut Call<'_>, sent: &Sent<'_>) -> Result<Vec<u8>, Problem> {
    let answers::Marking { rows, kind, note } = read(sent)?;
    let name = call.named()?.to_owned();
    carry_out(call, sent, ReviewRequest::Mark { name, rows, kind, note })
}

/// Serves `reviews/{name}/closings`.
pub fn close(call: &mut Call<'_>, sent: &Sent<'_>) -> Result<Vec<u8>, Problem> {
    let answers::Closing { rows, note } = read(sent)?;
    let name = call.named()?.to_owned();
    carry_out(call, sent, ReviewRequest::Close { name, rows, note })
}

/// Serves `reviews/{name}/sign-offs`.
pub fn sign(call: &mut Call<'_>, sent: &Sent<'_>) -> Result<Vec<u8>, Problem> {
    let answers::Signing { round, decision, note } = read(sent)?;
    let name = call.named()?.to_owned();
    carry_out(call, sent, ReviewRequest::Sign { name, round, decision, note })
}

fn carry_out(
    call: &mut Call<'_>,
    sent: &Sent<'_>,
    request: ReviewRequest,
) -> Result<Vec<u8>, Problem> {
    call.query.finish()?;
    let rows = match &request {
        ReviewRequest::Mark { rows, .. } | ReviewRequest::Close { rows, .. } => rows.len() as u64,
        _ => 0,
    };
    let done = sent.app.admin().execute_for(sent.caller, Request::Review(request));
    match done {
        Ok(Reply::Done) => json(&answers::Done { rows }),
        Ok(Reply::SignedOff(sign_off)) => json(&sign_off),
        Ok(Reply::Review(review)) => json(&review),
        Ok(_) => Err(Problem::unexpected()),
        Err(Refused::Failed(failure)) => Err(failure.into()),
        Err(Refused::RoleMissing) => Err(Problem::forbidden()),
        Err(Refused::Invisible) => Err(Problem::not_found("There is no such review.")),
    }
}

/// A review as it stands.
pub fn describe(desk: &Desk, review: &Review) -> answers::Review {
    let registry = &desk.catalog.registry;
    let reviews = desk.reviews();
    let reviewed = reviews.of(&review.name);
    let (due_at, overdue) = desk.standing(review);
    let (project, namespace) = match &review.scope {
        Scope::Project(id) => (Some(views::project_name(registry, *id)), None),
        Scope::Namespace(name) => (None, Some(name.clone())),
        Scope::System => (None, None),
    };
    let reviewers = reviewers(registry, &review.scope);
    let mut notes = Vec::new();
    if reviewers.is_empty() {
        notes.push("no user may sign it: `doorbook user grant` gives a role".to_owned());
    }
    let keep_days = registry.retention(&review.scope).limits(desk.now).keep_days;
    if keep_days.is_some_and(|days| days < 2 * review.due.period_days()) {
        notes.push("events are kept for less than two of its periods: some may go unseen".into());
    }
    if let Err(failure) = desk.look(review, None) {
        notes.push(failure.message);
    }
    answers::Review {
        name: review.name.clone(),
        project,
        namespace,
        filter: review.filter.clone(),
        rhythm: review.due.rhythm().to_owned(),
        due: review.due.to_string(),
        zone: review.zone.clone(),
        version: review.version,
        created: review.created,
        round: reviewed.round(),
        due_at,
        overdue,
        follow_ups: reviewed.follow_ups().count() as u64,
        reviewers,
        last: reviewed.last().map(of_sign_off),
        notes,
    }
}

/// What was signed.
pub fn of_sign_off(sign: &SignOff) -> answers::SignOff {
    let Covered { grade, through, gaps } = sign.coverage;
    answers::SignOff {
        round: sign.round,
        version: sign.version,
        filter: sign.filter.clone(),
        by: sign.by.principal.to_string(),
        at: sign.at,
        from: since_ever(sign.from),
        to: sign.to,
        count: sign.count,
        marked: of_marked(sign.marked),
        coverage: covered(grade, through, gaps),
        lost_before: sign.lost_before,
        rows_sha256: hex::encode(sign.rows_sha256),
        manifest_sha256: hex::encode(sign.manifest_sha256),
        decision: sign.decision,
        note: sign.note.clone(),
    }
}

/// What could be known, in short.
pub fn covered_by(answer: &Answer) -> answers::Covered {
    covered(answer.grade, answer.through, answer.gaps.len() as u64)
}

fn covered(grade: Grade, through: Option<Timestamp>, gaps: u64) -> answers::Covered {
    answers::Covered { state: word(grade).to_owned(), through, gaps }
}

fn of_mark(desk: &Desk, (log, seq): (LogId, Seq), mark: &Mark) -> answers::Mark {
    answers::Mark {
        id: desk.ids.id(Names::Record, log, seq).to_string(),
        kind: mark.kind,
        note: mark.note.clone(),
        by: mark.by.principal.to_string(),
        at: mark.at,
        round: mark.round,
    }
}

fn of_marked(Marked { expected, follow_up }: Marked) -> answers::Marked {
    answers::Marked { expected, follow_up }
}

fn since_ever(from: Timestamp) -> Option<Timestamp> {
    (from > Timestamp::MIN).then_some(from)
}

fn desk(call: &Call<'_>) -> Desk {
    Desk {
        store: call.store.clone(),
        ids: call.ids.clone(),
        catalog: call.store.catalog(),
        now: call.now,
    }
}

fn read<T: DeserializeOwned>(sent: &Sent<'_>) -> Result<T, Problem> {
    serde_json::from_slice(sent.body).map_err(|error| Problem::invalid_body(format!("{error}.")))
}

fn json(answer: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(answer).map_err(|_| Problem::unexpected())
}

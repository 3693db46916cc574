//! Commands about reviews: what is to be looked at, to look, and to sign.

use doorbook_event::public_id::Names;
use doorbook_event::record::{Actor, Grade};
use doorbook_event::registry::RegistryChange;
use doorbook_event::review::{Covered, Decision, Due, Mark, MarkKind, Marked, Review, SignOff};
use doorbook_event::{LogId, ProjectId, PublicIds, Scope, Seq, Text, Timestamp};
use doorbook_store::Placed;
use serde::{Deserialize, Serialize};

use crate::admin::request::Cursor;
use crate::admin::rows::EventRow;
use crate::admin::{Admin, Failure, Reply, views};
use crate::auth::reviewers;
use crate::coverage::word;
use crate::pipeline::hosts::find_project;
use crate::review::{Described, Desk, Round};

/// One of these commands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "snake_case", rename_all_fields = "camelCase")]
#[serde(deny_unknown_fields)]
pub enum ReviewRequest {
    /// Make a review.
    Create {
        /// Its name.
        name: String,
        /// A project; `None`: a namespace, or the only project there is.
        project: Option<String>,
        /// A namespace.
        namespace: Option<String>,
        /// Which events.
        filter: String,
        /// The zone of its deadlines.
        zone: String,
        /// By when somebody is to have signed.
        due: String,
        /// Whether its first round begins with the history, and not now.
        from_start: bool,
    },
    /// Describe it anew; what is `None` stays.
    Change {
        /// Its name.
        name: String,
        /// Which events.
        filter: Option<String>,
        /// The zone of its deadlines.
        zone: Option<String>,
        /// By when somebody is to have signed.
        due: Option<String>,
    },
    /// Review it no longer.
    Remove {
        /// Its name.
        name: String,
    },
    /// All reviews, or those of a project.
    List {
        /// Only of this project.
        project: Option<String>,
    },
    /// The open round.
    Show {
        /// Its name.
        name: String,
        /// At most this many rows.
        limit: usize,
        /// The round, as an earlier answer named it.
        round: Option<String>,
        /// Where that answer ended.
        after: Option<Cursor>,
    },
    /// Say what rows of the open round are.
    Mark {
        /// Its name.
        name: String,
        /// The rows, by their ids.
        rows: Vec<String>,
        /// What they are.
        kind: MarkKind,
        /// What else there is to say.
        note: Option<String>,
    },
    /// Say what came of rows that were to be followed up.
    Close {
        /// Its name.
        name: String,
        /// The rows, by their ids.
        rows: Vec<String>,
        /// What came of it.
        note: String,
    },
    /// Sign the round that was looked at.
    Sign {
        /// Its name.
        name: String,
        /// The round, as an answer named it.
        round: String,
        /// What came of it.
        decision: Decision,
        /// What else there is to say.
        note: Option<String>,
    },
    /// Read again what was signed.
    Check {
        /// Its name.
        name: String,
        /// Which round.
        round: u64,
    },
}

/// A review.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReviewView {
    /// Its name.
    pub name: Text,
    /// Its project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Text>,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Text>,
    /// Which events.
    pub filter: Text,
    /// `daily` or `weekly`.
    pub rhythm: String,
    /// By when, of a day or a week.
    pub due: String,
    /// The zone of that.
    pub zone: Text,
    /// How often it was described.
    pub version: u32,
    /// When it was made.
    pub created: Timestamp,
    /// The round that is open.
    pub round: u64,
    /// By when it is to be signed.
    pub due_at: Timestamp,
    /// Whether that is over.
    pub overdue: bool,
    /// How many rows are to be followed up.
    pub follow_ups: u64,
    /// Users who may sign.
    pub reviewers: Vec<Text>,
    /// The latest sign-off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<SignOffView>,
    /// What should be known of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What was signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignOffView {
    /// Which round.
    pub round: u64,
    /// The version of the review.
    pub version: u32,
    /// The filter that was used.
    pub filter: Text,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Since when it is about what happened; `null`: ever.
    pub from: Option<Timestamp>,
    /// When the state was taken that it is about.
    pub to: Timestamp,
    /// How many rows.
    pub count: u64,
    /// How many of them were marked.
    pub marked: Marked,
    /// What could be known then.
    pub coverage: CoveredView,
    /// Rows of events before this were not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_before: Option<Timestamp>,
    /// SHA-256 of the rows.
    pub rows_sha256: String,
    /// SHA-256 of the manifest.
    pub manifest_sha256: String,
    /// What came of it.
    pub decision: Decision,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Text>,
}

/// What could be known, in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoveredView {
    /// `complete`, `best_effort` or `gaps`.
    pub state: String,
    /// Up to when all is known.
    pub through: Option<Timestamp>,
    /// How many gaps.
    pub gaps: u64,
}

/// The open round of a review.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoundView {
    /// The review.
    pub review: ReviewView,
    /// What names the round when it is signed.
    pub token: String,
    /// Since when it is about what happened; `null`: ever.
    pub from: Option<Timestamp>,
    /// When the state was taken.
    pub to: Timestamp,
    /// Rows of events before this are not kept, and nobody may have looked at them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_before: Option<Timestamp>,
    /// What can be known.
    pub coverage: CoveredView,
    /// How many rows there are.
    pub total: u64,
    /// How many of them are marked.
    pub marked: Marked,
    /// A page of them.
    pub rows: Vec<RoundRow>,
    /// Where to go on.
    pub next: Option<Cursor>,
    /// What is to be followed up, of all rounds.
    pub follow_ups: Vec<MarkView>,
    /// What was signed, latest first.
    pub sign_offs: Vec<SignOffView>,
}

/// A row of a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundRow {
    /// Its id, by which it is marked.
    pub id: String,
    /// What was said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<MarkView>,
    /// The event.
    pub event: EventRow,
}

/// What was said of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MarkView {
    /// The row.
    pub id: String,
    /// What it is.
    pub kind: MarkKind,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Text>,
    /// Who says so.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// In which round.
    pub round: u64,
}

/// Whether what was signed is still there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckedView {
    /// What was signed.
    pub sign_off: SignOffView,
    /// Whether the same rows are there, byte for byte.
    pub same: bool,
    /// How many there are now.
    pub count: u64,
    /// SHA-256 of them.
    pub rows_sha256: String,
}

impl SignOffView {
    /// Of what was signed.
    pub fn of(sign: &SignOff) -> SignOffView {
        SignOffView {
            round: sign.round,
            version: sign.version,
            filter: sign.filter.clone(),
            by: sign.by.principal.to_string(),
            at: sign.at,
            from: since_ever(sign.from),
            to: sign.to,
            count: sign.count,
            marked: sign.marked,
            coverage: CoveredView::of(&sign.coverage),
            lost_before: sign.lost_before,
            rows_sha256: hex::encode(sign.rows_sha256),
            manifest_sha256: hex::encode(sign.manifest_sha256),
            decision: sign.decision,
            note: sign.note.clone(),
        }
    }
}

impl CoveredView {
    fn of(covered: &Covered) -> CoveredView {
        let Covered { grade, through, gaps } = *covered;
        CoveredView { state: word(grade).to_owned(), through, gaps }
    }

    /// Whether everything was seen.
    pub fn is_complete(&self) -> bool {
        self.state == word(Grade::Watched)
    }
}

impl Admin {
    pub(super) fn execute_on_reviews(
        &self,
        by: &Actor,
        request: ReviewRequest,
    ) -> Result<Reply, Failure> {
        let desk = self.desk()?;
        match request {
            ReviewRequest::Create { name, project, namespace, filter, zone, due, from_start } => {
                let registry = &desk.catalog.registry;
                let scope = match (project, namespace) {
                    (_, Some(namespace)) => Scope::Namespace(namespace.into()),
                    (Some(project), None) => Scope::Project(find_project(registry, &project)?),
                    (None, None) => Scope::Project(super::history::the_only_project(registry)?),
                };
                let (filter, zone, due) = (filter.into(), zone.into(), parse_due(&due)?);
                let described = Described { name: name.clone().into(), scope, filter, zone, due };
                desk.create(by, described, from_start)?;
                self.list_reviews(|review| *review.name == name)
            }
            ReviewRequest::Change { name, filter, zone, due } => {
                let before = desk.review(&name)?;
                let described = Described {
                    name: before.name.clone(),
                    scope: before.scope.clone(),
                    filter: filter.map_or_else(|| before.filter.clone(), Text::from),
                    zone: zone.map_or_else(|| before.zone.clone(), Text::from),
                    due: due.map_or(Ok(before.due), |due| parse_due(&due))?,
                };
                desk.change(by, before, described)?;
                self.list_reviews(|review| *review.name == name)
            }
            ReviewRequest::Remove { name } => {
                let name = desk.review(&name)?.name.clone();
                self.store.change_registry(by, vec![RegistryChange::ReviewRemoved { name }])?;
                Ok(Reply::Done)
            }
            ReviewRequest::List { project } => {
                let registry = &desk.catalog.registry;
                let only = project.map(|text| find_project(registry, &text)).transpose()?;
                let of = |id: ProjectId, review: &Review| review.scope == Scope::Project(id);
                self.list_reviews(|review| only.is_none_or(|id| of(id, review)))
            }
            ReviewRequest::Show { name, limit, round, after } => {
                let review = desk.review(&name)?;
                if after.is_none() {
                    self.record_query_of(by, &review.scope, &format!("review {name}"))?;
                }
                let round = desk.look(review, round.as_deref())?;
                let view = self.round_view(&desk, &round, limit, after.as_ref())?;
                Ok(Reply::Round(Box::new(view)))
            }
            ReviewRequest::Mark { name, rows, kind, note } => {
                let round = desk.look(desk.review(&name)?, None)?;
                desk.mark(by, &round, &rows, (kind, note.as_deref()))?;
                Ok(Reply::Done)
            }
            ReviewRequest::Close { name, rows, note } => {
                desk.close(by, desk.review(&name)?, &rows, &note)?;
                Ok(Reply::Done)
            }
            ReviewRequest::Sign { name, round, decision, note } => {
                let round = desk.look(desk.review(&name)?, Some(&round))?;
                let sign = desk.sign(by, &round, (decision, note.as_deref()))?;
                Ok(Reply::SignedOff(Box::new(SignOffView::of(&sign))))
            }
            ReviewRequest::Check { name, round } => {
                let review = desk.review(&name)?;
                let checked = desk.check(review, round)?;
                Ok(Reply::ReviewChecked(Box::new(CheckedView {
                    sign_off: SignOffView::of(&checked.sign_off),
                    same: checked.is_same(),
                    count: checked.count,
                    rows_sha256: hex::encode(checked.rows_sha256),
                })))
            }
        }
    }

    fn desk(&self) -> Result<Desk, Failure> {
        Ok(Desk {
            store: self.store.clone(),
            ids: PublicIds::new(&self.store.secret("public-ids")?),
            catalog: self.store.catalog(),
            now: self.clock.now(),
        })
    }

    /// As they are after what was done.
    fn list_reviews(&self, is_wanted: impl Fn(&Review) -> bool) -> Result<Reply, Failure> {
        let desk = self.desk()?;
        let reviews = desk.catalog.registry.reviews().filter(|review| is_wanted(review));
        Ok(Reply::Reviews(reviews.map(|review| review_view(&desk, review)).collect()))
    }

    fn round_view(
        &self,
        desk: &Desk,
        round: &Round<'_>,
        limit: usize,
        after: Option<&Cursor>,
    ) -> Result<RoundView, Failure> {
        const ROWS_MAX: usize = 1000;
        let limit = limit.min(ROWS_MAX);
        let page = round.page(&self.store, limit, after.map(Cursor::order))?;
        let coverage = desk.coverage(round);
        let reviewed = round.reviewed();
        let row = |row: &Placed| {
            let id = desk.ids.id(Names::Record, row.log, row.seq).to_string();
            let mark = round.mark_of(row).map(|mark| mark_view(desk, (row.log, row.seq), mark));
            EventRow::from_placed(row).map(|event| RoundRow { id, mark, event })
        };
        let is_cut = page.is_cut || page.rows.len() == limit;
        let next = page.rows.last().filter(|_| is_cut && limit > 0).map(|last| Cursor {
            event_time_micros: last.event_time().micros(),
            log: last.log.0,
            seq: last.seq,
            as_of: page.as_of.iter().map(|(log, seq)| (log.0, *seq)).collect(),
        });
        let follow_ups = reviewed.follow_ups();
        Ok(RoundView {
            review: review_view(desk, round.review),
            token: round.token(&desk.ids),
            from: since_ever(round.from),
            to: round.seen.at,
            lost_before: round.lost_before,
            coverage: CoveredView {
                state: word(coverage.grade).to_owned(),
                through: coverage.through,
                gaps: coverage.gaps.len() as u64,
            },
            total: page.total,
            marked: reviewed.marked(&round.seen.as_of),
            rows: page.rows.iter().filter_map(row).collect(),
            next,
            follow_ups: follow_ups.map(|(place, mark)| mark_view(desk, *place, mark)).collect(),
            sign_offs: reviewed.sign_offs.iter().rev().map(SignOffView::of).collect(),
        })
    }
}

/// A review as it stands.
fn review_view(desk: &Desk, review: &Review) -> ReviewView {
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
    ReviewView {
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
        last: reviewed.last().map(SignOffView::of),
        notes,
    }
}

fn mark_view(desk: &Desk, (log, seq): (LogId, Seq), mark: &Mark) -> MarkView {
    MarkView {
        id: desk.ids.id(Names::Record, log, seq).to_string(),
        kind: mark.kind,
        note: mark.note.clone(),
        by: mark.by.principal.to_string(),
        at: mark.at,
        round: mark.round,
    }
}

fn since_ever(from: Timestamp) -> Option<Timestamp> {
    (from > Timestamp::MIN).then_some(from)
}

fn parse_due(text: &str) -> Result<Due, Failure> {
    Due::parse(text).ok_or_else(|| {
        Failure::invalid(format!(
            "{text:?} is no deadline: write 10:00 for every day, or \"monday 10:00\" for every week"
        ))
    })
}

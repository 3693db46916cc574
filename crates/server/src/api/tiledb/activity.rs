//! `…/activity`: who did what with an array, in the forms of both versions.
//!
//! Newest first; what was recorded as failed is not shown, since nothing here could say so, and a
//! failed deletion must not look like one.

use doorbook_event::arrays::Array;
use doorbook_event::public_id::Names;
use doorbook_event::{
    Access, Action, Class, Classes, Outcome, Principal, PublicIds, Record, Scope, Text, Timestamp,
};
use doorbook_store::filter::{Kind, OutcomeKind, Targets, TextIs, Unwanted};
use doorbook_store::{Filter, Placed};
use serde::{Serialize, Serializer};

use super::Version;
use super::dispatch::{Answer, Call};
use super::error::ApiError;
use super::query::{PER_PAGE_MAX, Page};
use super::views::PaginationMetadata;
use crate::auth::Operation;
use crate::coverage;

/// Rows of version 1, which has no pages. More are refused: fewer would look like all.
const LIST_ROWS_MAX: usize = 100_000;

/// Memory of an answer's rows. Eight answers may be made at once.
const ANSWER_SIZE_BYTES_MAX: usize = 64 << 20;

/// Serves version 1's list.
pub fn list(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let array = call.array(Operation::ReadHistory)?;
    let Some(filter) = filter(call, array, Version::V1)? else { return empty(call, array) };
    let page = call.app.store().select(&Filter { limit: LIST_ROWS_MAX, ..filter.clone() })?;
    if page.total > page.rows.len() as u64 {
        return Err(ApiError::bad_request(format!(
            "{} activities are too many for one answer: ask for less time with start and end, or \
             page by page with version 2.",
            page.total
        )));
    }
    tell_coverage(call, &filter);
    call.rows = page.rows.len() as u64;
    Ok(Call::object(&Rows { rows: &page.rows, ids: call.app.doors().ids(), version: Version::V1 }))
}

fn empty(call: &mut Call<'_>, array: &Array) -> Result<Answer, ApiError> {
    tell_coverage(call, &of_array(array));
    Ok(Answer::Json(b"[]".to_vec()))
}

/// Serves one row of version 1.
pub fn one(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let array = call.array(Operation::ReadHistory)?;
    let ids = call.app.doors().ids();
    let absent = || ApiError::not_found("There is no such activity of this array.");
    let id = call.segment("id").parse().ok();
    let (log, seq) = id.and_then(|id| ids.place(Names::Record, id)).ok_or_else(absent)?;
    let scope = Scope::Namespace(array.namespace.clone());
    let row = call.app.store().get(&scope, log, seq)?.ok_or_else(absent)?;
    let target = coverage::target_of_array(array);
    let shown = Entry::of(ids, &row, Version::V1);
    let is_its_own = access_of(&row).is_some_and(|access| access.target == target);
    let shown = shown.filter(|_| is_its_own).ok_or_else(absent)?;
    call.rows = 1;
    Ok(Call::object(&shown))
}

#[derive(Serialize)]
struct ArrayActivityLogData<'a> {
    activitylogs: Rows<'a>,
    pagination_metadata: PaginationMetadata,
}

/// Serves version 2's page.
pub fn page(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let array = call.array(Operation::ReadHistory)?;
    let page = call.query.page()?;
    let (rows, total) = match filter(call, array, Version::V2)? {
        None => {
            tell_coverage(call, &of_array(array));
            (Vec::new(), 0)
        }
        Some(filter) => {
            let (rows, total) = rows_of(call, &filter, page)?;
            tell_coverage(call, &filter);
            (rows, total)
        }
    };
    call.rows = rows.len() as u64;
    let activitylogs = Rows { rows: &rows, ids: call.app.doors().ids(), version: Version::V2 };
    let pagination_metadata = PaginationMetadata::new(page, total);
    Ok(Call::object(&ArrayActivityLogData { activitylogs, pagination_metadata }))
}

fn rows_of(call: &Call<'_>, filter: &Filter, page: Page) -> Result<(Vec<Placed>, u64), ApiError> {
    let skip = page.skipped().unwrap_or(usize::MAX);
    let limit = page.size.min(PER_PAGE_MAX);
    let found = call.app.store().select(&Filter { skip, limit, ..filter.clone() })?;
    if found.is_cut {
        // A page with fewer rows than it should have would push the others out of place.
        return Err(ApiError::bad_request(format!(
            "{limit} of these are too much for one answer: ask with per_page={}.",
            found.rows.len()
        )));
    }
    Ok((found.rows, found.total))
}

/// The latest activity of an array.
pub fn last(call: &Call<'_>, array: &Array) -> Result<Option<(Timestamp, Action)>, ApiError> {
    let actions = Version::V1.shown().collect();
    let page = call.app.store().select(&Filter { actions, limit: 1, ..of_array(array) })?;
    let last = page.rows.first().and_then(access_of);
    Ok(last.map(|access| (access.event_time, access.action)))
}

/// The parameters; `None` if they ask for nothing that this version shows.
fn filter(call: &Call<'_>, array: &Array, version: Version) -> Result<Option<Filter>, ApiError> {
    let query = call.query;
    // One value with commas, or several: clients of either version have sent either.
    let words = query.all("event_types").filter(|value| !value.is_empty());
    let words: Vec<&str> = words.flat_map(|value| value.split(',')).map(str::trim).collect();
    let actions: Vec<Action> = match words.is_empty() {
        true => version.shown().collect(),
        false => version.actions(words.into_iter())?,
    };
    let (from, to) = query.window(call.now)?;
    let task_ids = query.one("task_id")?.map(TextIs::from).into_iter().collect();
    // "Excludes what has no task", and `false` does not: it excludes nothing.
    let has_task = query.truth("has_task_id")?.unwrap_or(false);
    if actions.is_empty() {
        return Ok(None);
    }
    let mut filter = Filter { from, to, actions, task_ids, ..of_array(array) };
    if has_task {
        filter.unwanted.task_ids = vec![TextIs::Absent];
    }
    Ok(Some(filter))
}

fn of_array(array: &Array) -> Filter {
    let member = (array.namespace.clone(), array.id.to_string().into());
    Filter {
        kind: Kind::Access,
        targets: Targets::Members(vec![member]),
        outcomes: vec![OutcomeKind::Success, OutcomeKind::Unknown],
        unwanted: Unwanted::classes(Classes::NONE.with(Class::Suspect)),
        size_bytes_max: ANSWER_SIZE_BYTES_MAX,
        ..Filter::all(Scope::Namespace(array.namespace.clone()), 0)
    }
}

fn tell_coverage(call: &mut Call<'_>, filter: &Filter) {
    let (store, now) = (call.app.store(), call.now);
    call.coverage = Some(coverage::of(store, call.registry, filter, now));
}

fn access_of(row: &Placed) -> Option<&Access> {
    match &row.record {
        Record::Access(access) | Record::Own(access) => Some(access),
        _ => None,
    }
}

struct Rows<'a> {
    rows: &'a [Placed],
    ids: &'a PublicIds,
    version: Version,
}

/// Written row by row: they are never held twice.
impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entry = |row| Entry::of(self.ids, row, self.version);
        serializer.collect_seq(self.rows.iter().filter_map(entry))
    }
}

/// One `ArrayActivityLog`. What is not known is left out.
#[derive(Serialize)]
struct Entry<'a> {
    event_at: Timestamp,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_sent: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_received: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    array_task_id: Option<&'a str>,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_ranges: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_stats: Option<&'a str>,
}

impl<'a> Entry<'a> {
    fn of(ids: &PublicIds, row: &'a Placed, version: Version) -> Option<Entry<'a>> {
        let access = access_of(row)?;
        if matches!(access.outcome, Outcome::Failure { .. }) {
            return None;
        }
        let text = |name: &str| access.attributes.get(name).map(Text::as_str);
        let number = |name: &str| text(name).and_then(|text| text.parse().ok());
        Some(Entry {
            event_at: access.event_time,
            action: version.word(access.action)?,
            username: match &access.principal {
                Principal::User { name, .. } => Some(name),
                // The name of an account of the machine, or of a key, could be another's here.
                _ => None,
            },
            bytes_sent: number("bytes_sent"),
            bytes_received: number("bytes_received"),
            array_task_id: access.task_id.as_deref(),
            id: ids.id(Names::Record, row.log, row.seq).to_string(),
            query_ranges: text("query_ranges"),
            query_stats: text("query_stats"),
        })
    }
}

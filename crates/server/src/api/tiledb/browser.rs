//! `v1/arrays/browser/…` and `v1/arrays/last_accessed`: which arrays there are for a caller.

use doorbook_event::arrays::{Array, PUBLIC};
use serde::Serialize;

use super::Version;
use super::activity;
use super::dispatch::{Answer, Call};
use super::error::ApiError;
use super::views::{ArrayInfo, PaginationMetadata};
use crate::auth::{Decision, Object, Operation, authorize};

/// Arrays whose history is looked at for the one list that needs that.
const LAST_ACCESSED_MAX: usize = 1000;

#[derive(Serialize)]
struct ArrayBrowserData<'a> {
    arrays: Vec<ArrayInfo<'a>>,
    pagination_metadata: PaginationMetadata,
}

#[derive(Serialize)]
struct LastAccessedArray<'a> {
    array_id: String,
    array_name: &'a str,
    namespace: &'a str,
    accessed_time: i64,
    access_type: &'static str,
}

/// Serves `owned`: in the caller's namespaces.
pub fn owned(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    browse(call, |call, array| call.arrays().owns(call.user, &array.namespace))
}

/// Serves `shared`: with a namespace of the caller's.
pub fn shared(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    browse(call, |call, array| {
        let arrays = call.arrays();
        !arrays.owns(call.user, &array.namespace)
            && array.shares.keys().any(|with| arrays.owns(call.user, with))
    })
}

/// Serves `public`: with everybody.
pub fn public(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    browse(call, |_, array| array.shares.contains_key(PUBLIC))
}

fn browse(
    call: &mut Call<'_>,
    is_listed: impl Fn(&Call<'_>, &Array) -> bool,
) -> Result<Answer, ApiError> {
    let page = call.query.page()?;
    let namespace = call.query.one("namespace")?;
    let search = call.query.one("search")?.map(str::to_lowercase);
    let tags: Vec<&str> = call.query.all("tag").filter(|tag| !tag.is_empty()).collect();
    let is_wanted = |array: &Array| {
        namespace.is_none_or(|namespace| *array.namespace == *namespace)
            && search.as_ref().is_none_or(|text| array.name.to_lowercase().contains(text))
            && tags.iter().all(|tag| array.tags.iter().any(|has| **has == **tag))
    };
    let arrays = call.arrays().arrays();
    let mut arrays: Vec<&Array> =
        arrays.filter(|array| is_wanted(array) && is_listed(call, array)).collect();
    arrays.sort_by_key(|array| (&array.namespace, &array.name));
    let total = arrays.len() as u64;
    let skipped = page.skipped().unwrap_or(usize::MAX);
    let shown = arrays.into_iter().skip(skipped).take(page.size);
    let shown: Vec<ArrayInfo<'_>> = shown.map(|array| ArrayInfo::new(call, array, None)).collect();
    call.rows = shown.len() as u64;
    let pagination_metadata = PaginationMetadata::new(page, total);
    Ok(Call::object(&ArrayBrowserData { arrays: shown, pagination_metadata }))
}

/// Serves `last_accessed`: the latest activity of each array whose activity the caller may read, the
/// latest first.
pub fn last_accessed(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let may_read = |array: &&Array| {
        let object = Object::Array(array);
        let decision = authorize(call.registry, call.caller, Operation::ReadHistory, object);
        decision == Decision::Allowed
    };
    let arrays: Vec<&Array> =
        call.arrays().arrays().filter(may_read).take(LAST_ACCESSED_MAX).collect();
    let mut accessed = Vec::new();
    for array in arrays {
        let Some((at, action)) = activity::last(call, array)? else { continue };
        accessed.push(LastAccessedArray {
            array_id: array.id.to_string(),
            array_name: &array.name,
            namespace: &array.namespace,
            accessed_time: at.millis(),
            access_type: Version::V1.word(action).unwrap_or_default(),
        });
    }
    accessed.sort_by_key(|array| std::cmp::Reverse(array.accessed_time));
    call.rows = accessed.len() as u64;
    Ok(Call::object(&accessed))
}

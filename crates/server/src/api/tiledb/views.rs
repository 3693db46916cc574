//! What the registry's arrays look like in answers.

use std::collections::BTreeSet;

use doorbook_event::Timestamp;
use doorbook_event::arrays::{Array, PUBLIC, Right};
use serde::Serialize;

use super::dispatch::Call;
use super::error::ApiError;
use super::query::Page;

/// What is known of an array. What Doorbook does not know (size, type) is left out.
#[derive(Serialize)]
pub struct ArrayInfo<'a> {
    id: String,
    uri: &'a str,
    namespace: &'a str,
    name: &'a str,
    tiledb_uri: String,
    description: &'a str,
    tags: &'a [doorbook_event::Text],
    allowed_actions: Vec<&'static str>,
    public_share: bool,
    share_count: usize,
    namespace_subscribed: bool,
    read_only: bool,
    is_favorite: bool,
    created_at: Timestamp,
    created_by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_accessed: Option<Timestamp>,
}

/// How much there is, and which part of it this is.
#[derive(Serialize)]
pub struct PaginationMetadata {
    page: usize,
    per_page: usize,
    total_pages: u64,
    total_items: u64,
}

impl PaginationMetadata {
    pub fn new(page: Page, total_items: u64) -> PaginationMetadata {
        let total_pages = total_items.div_ceil(page.size as u64);
        PaginationMetadata { page: page.number, per_page: page.size, total_pages, total_items }
    }
}

impl<'a> ArrayInfo<'a> {
    pub fn new(call: &Call<'_>, array: &'a Array, last_accessed: Option<Timestamp>) -> Self {
        let rights = call.arrays().rights(call.user, array);
        ArrayInfo {
            id: array.id.to_string(),
            uri: &array.uri,
            namespace: &array.namespace,
            name: &array.name,
            tiledb_uri: format!("tiledb://{}/{}", array.namespace, array.id),
            description: &array.description,
            tags: &array.tags,
            allowed_actions: actions(&rights),
            public_share: array.shares.contains_key(PUBLIC),
            share_count: array.shares.len(),
            namespace_subscribed: false,
            read_only: false,
            is_favorite: false,
            created_at: array.created,
            created_by: &array.created_by,
            last_accessed,
        }
    }
}

/// Rights in TileDB's words.
pub fn actions(rights: &BTreeSet<Right>) -> Vec<&'static str> {
    rights.iter().map(|right| action(*right)).collect()
}

/// Rights by TileDB's words.
pub fn rights(words: &[String]) -> Result<BTreeSet<Right>, ApiError> {
    let right = |word: &String| {
        let found = Right::ALL.into_iter().find(|right| action(*right) == word);
        found.ok_or_else(|| {
            let known = Right::ALL.map(action).join(", ");
            let word: String = word.chars().take(64).collect();
            ApiError::bad_request(format!("There is no array action {word:?}; there are {known}."))
        })
    };
    words.iter().map(right).collect()
}

const fn action(right: Right) -> &'static str {
    match right {
        Right::Read => "read",
        Right::Write => "write",
        Right::Edit => "edit",
        Right::ReadLogs => "read_array_logs",
        Right::ReadInfo => "read_array_info",
        Right::ReadSchema => "read_array_schema",
    }
}

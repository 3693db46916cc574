//! [`Call`]: one request to one operation, and the ways to answer it.

use doorbook_event::registry::Registry;
use doorbook_event::{ProjectId, Timestamp};
use serde::Serialize;

use super::error::ApiError;
use super::query::{Paging, Query};
use super::render::{Style, bare, enveloped};
use super::{Dialect, Operation};
use crate::app::App;
use crate::auth::Caller;

/// A request whose caller is known.
pub struct Call<'a> {
    /// The server.
    pub app: &'a App,
    /// Who asks.
    pub caller: &'a Caller,
    /// The registry at the beginning of the request; all of an answer is of one state.
    pub registry: &'a Registry,
    /// v2 or v1.0.
    pub dialect: Dialect,
    /// The variable segments of the path, decoded.
    pub segments: &'a [(&'static str, String)],
    /// The query parameters.
    pub query: &'a Query,
    /// How the answer shall look.
    pub style: Style,
    /// The scheme and host by which the client reached us, for links.
    pub base: &'a str,
    /// The time of the request.
    pub now: Timestamp,
    /// Out: rows in the answer, for our own record.
    pub rows: u64,
    /// Out: what the answer can know, for the header that says so.
    pub coverage: Option<doorbook_store::Answer>,
    /// Out: the project, where the path does not name its id.
    pub subject: Option<String>,
}

/// A body with status 200.
pub struct Answer(pub Vec<u8>);

/// A link to a related resource.
#[derive(Serialize)]
pub struct Link {
    href: String,
    rel: &'static str,
}

#[derive(Serialize)]
struct List<T> {
    links: Vec<Link>,
    results: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(rename = "totalCount", skip_serializing_if = "Option::is_none")]
    total_count: Option<usize>,
}

impl<'a> Call<'a> {
    /// The registry.
    pub fn registry(&self) -> &'a Registry {
        self.registry
    }

    /// A variable segment of the path.
    pub fn segment(&self, name: &str) -> &'a str {
        let found = self.segments.iter().find(|(known, _)| *known == name);
        &found.expect("an operation asks for segments of its own path").1
    }

    /// The project that the path names.
    pub fn project(&self) -> Result<ProjectId, ApiError> {
        project_of(self.segments).unwrap_or_else(|| Err(ApiError::group_not_found("")))
    }

    /// Answers with an object.
    pub fn object<T: Serialize>(&self, value: &T) -> Answer {
        Answer(enveloped(self.style, 200, value))
    }

    /// Answers with a page of a list, which is its own envelope: it gains the status as a member.
    pub fn list<T: Serialize>(&self, path: &str, paging: Paging, items: Vec<T>) -> Answer {
        let total = items.len();
        let Paging { page, items_per_page, include_count } = paging;
        let link = |rel, page: usize| {
            let query = format!(
                "includeCount={include_count}&pageNum={page}&itemsPerPage={items_per_page}"
            );
            self.link(rel, &format!("{path}?{query}"))
        };
        // The legacy Go client takes a missing `next` for the last page.
        let mut links = vec![link("self", page)];
        if page > 1 {
            links.push(link("previous", page - 1));
        }
        if page.saturating_mul(items_per_page) < total {
            links.push(link("next", page + 1));
        }
        Answer(bare(
            self.style,
            &List {
                links,
                results: paging.cut(items),
                status: self.style.envelope.then_some(200),
                total_count: include_count.then_some(total),
            },
        ))
    }

    /// A link to a path of this dialect.
    pub fn link(&self, rel: &'static str, path: &str) -> Link {
        Link { href: format!("{}{}{path}", self.base, self.dialect.prefix()), rel }
    }
}

/// The project in a path, if the path has a place for one.
pub fn project_of(segments: &[(&'static str, String)]) -> Option<Result<ProjectId, ApiError>> {
    let (_, id) = segments.iter().find(|(name, _)| *name == "groupId")?;
    Some(id.parse().map_err(|_| ApiError::invalid_group_id(id)))
}

/// The variable segments of a request's path, decoded once: `:` and `%3A` are the same to us, the
/// Go client sends the one, JavaScript's `encodeURIComponent` the other.
pub fn segments_of(
    operation: &Operation,
    dialect: Dialect,
    path: &str,
) -> Vec<(&'static str, String)> {
    let sent = path.strip_prefix(dialect.prefix()).unwrap_or_default().split('/');
    let pairs = operation.path.split('/').zip(sent);
    pairs
        .filter_map(|(name, text)| {
            let name = name.strip_prefix('{')?.strip_suffix('}')?;
            let text = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
            Some((name, text.into_owned()))
        })
        .collect()
}

/// `2026-08-10T03:03:04Z`, to the second, as recorded.
pub fn seconds(instant: Timestamp) -> String {
    Timestamp::from_seconds(instant.micros().div_euclid(1_000_000)).to_string()
}

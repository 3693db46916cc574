//! Cursors: where a page ended, of which question, in which state of the history.
//!
//! Opaque to callers: base64url of
//! ```text
//! version 3 | n u16 | scope n | limit u32 | event time i64 | row 16 | n u8 | n states of 16 each |
//! the filter with all its times as instants | tag 16
//! ```
//! Integers are big-endian; the row and the states are public ids, so that no counter shows. The tag
//! tells our cursors from others: nobody can make one that reads another scope, and the scope
//! is authorised again on every page all the same.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doorbook_event::public_id::Names;
use doorbook_event::{LogId, PublicId, PublicIds, Scope, Timestamp};
use doorbook_store::filter::{AsOf, Order};

use super::problem::Problem;
use super::query::Query;

const VERSION: u8 = 3;

/// The way to the next page.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// Whose history.
    pub scope: Scope,
    /// Rows of a page, unless the request says otherwise.
    pub limit: usize,
    /// The last row of the page before.
    pub after: Order,
    /// The state of the history that all pages are taken from.
    pub as_of: AsOf,
    /// What is asked for.
    pub filter: String,
}

impl Cursor {
    /// Takes the cursor of a request. Of the other parameters only those of its first page are left.
    pub fn take(query: &mut Query, ids: &PublicIds) -> Result<Option<Cursor>, Problem> {
        let cursor =
            query.read("cursor", "the cursor of an answer", |text| Cursor::open(ids, text))?;
        if let Some(cursor) = &cursor {
            let limit = query.all("limit");
            // The question is the cursor's; another one would have another answer.
            query.finish()?;
            let limit = limit.into_iter().map(|limit| ("limit", limit));
            *query = Query::of([("q", cursor.filter.clone())].into_iter().chain(limit));
        }
        Ok(cursor)
    }

    /// As callers see it.
    pub fn seal(&self, ids: &PublicIds) -> String {
        let Order { event_time, log, seq } = self.after;
        let mut bytes = vec![VERSION];
        let scope = self.scope.to_string();
        let length = u16::try_from(scope.len()).expect("a scope's name is short");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(scope.as_bytes());
        bytes.extend_from_slice(&u32::try_from(self.limit).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(&event_time.micros().to_be_bytes());
        bytes.extend_from_slice(&ids.id(Names::Record, log, seq).bytes());
        bytes.push(u8::try_from(self.as_of.len()).expect("a scope has a log on each of few nodes"));
        for (log, seq) in &self.as_of {
            bytes.extend_from_slice(&ids.id(Names::State, *log, *seq).bytes());
        }
        bytes.extend_from_slice(self.filter.as_bytes());
        let tag = ids.tag(&bytes);
        bytes.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor, if it is one of ours.
    pub fn open(ids: &PublicIds, text: &str) -> Option<Cursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (bytes, tag) = bytes.split_last_chunk::<16>()?;
        if !bool::from(subtle::ConstantTimeEq::ct_eq(&ids.tag(bytes)[..], &tag[..])) {
            return None;
        }
        let (&[VERSION], rest) = bytes.split_first_chunk::<1>()? else { return None };
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (scope, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let (limit, rest) = rest.split_first_chunk::<4>()?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let (row, rest) = rest.split_first_chunk::<16>()?;
        let (log, seq) = ids.place(Names::Record, PublicId::from_bytes(*row))?;
        let (n_states, rest) = rest.split_first()?;
        let (states, filter) = rest.split_at_checked(usize::from(*n_states) * 16)?;
        let (states, _) = states.as_chunks::<16>();
        let state = |id: &[u8; 16]| ids.place(Names::State, PublicId::from_bytes(*id));
        Some(Cursor {
            scope: std::str::from_utf8(scope).ok()?.parse().ok()?,
            limit: u32::from_be_bytes(*limit) as usize,
            after: Order {
                event_time: Timestamp::from_micros(i64::from_be_bytes(*time)),
                log,
                seq,
            },
            as_of: states.iter().map(state).collect::<Option<_>>()?,
            filter: String::from_utf8(filter.to_vec()).ok()?,
        })
    }
}

/// A state of the history as callers see it: the public ids of its logs' ends; `none` where there
/// is no log yet.
pub fn seal_as_of(ids: &PublicIds, as_of: &[(LogId, u64)]) -> String {
    let shown = as_of.iter().map(|(log, seq)| ids.id(Names::State, *log, *seq).to_string());
    match as_of {
        [] => "none".to_owned(),
        _ => shown.collect::<Vec<_>>().join(","),
    }
}

/// Reads what [`seal_as_of`] made.
pub fn open_as_of(ids: &PublicIds, text: &str) -> Option<AsOf> {
    if text == "none" {
        return Some(AsOf::new());
    }
    text.split(',').map(|id| ids.place(Names::State, id.parse().ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_went_and_no_other_is_taken(
            project in any::<[u8; 12]>(), namespace in proptest::option::of("[a-zé/]{1,63}"), limit in 0_usize..20_000, micros in 0_i64..1 << 50,
            log in any::<u32>(), seq in any::<u64>(), n_states in 0_usize..3, filter in ".{0,20}",
            at in any::<prop::sample::Index>(), letter in prop::sample::select(vec!['A', 'z', '_', '='])
        ) {
            let ids = PublicIds::new(&[7; 32]);
            let cursor = Cursor {
                scope: match namespace {
                    Some(name) => Scope::Namespace(name.into()),
                    None => Scope::Project(doorbook_event::ProjectId::new(project)),
                },
                limit,
                after: Order { event_time: Timestamp::from_micros(micros), log: LogId(log), seq },
                as_of: vec![(LogId(log), seq); n_states],
                filter,
            };
            let sealed = cursor.seal(&ids);
            prop_assert_eq!(Cursor::open(&ids, &sealed), Some(cursor.clone()));
            prop_assert_eq!(Cursor::open(&PublicIds::new(&[8; 32]), &sealed), None);
            let at = at.index(sealed.len());
            let changed = format!("{}{letter}{}", &sealed[..at], &sealed[at + 1..]);
            if changed != sealed {
                prop_assert_eq!(Cursor::open(&ids, &changed), None);
            }
            prop_assert_eq!(Cursor::open(&ids, &sealed[..at]), None);

            let shown = seal_as_of(&ids, &cursor.as_of);
            prop_assert_eq!(open_as_of(&ids, &shown), Some(cursor.as_of));
        }
    }
}

//! Which action has which word in which version of the API (`docs/design/array-activity.md`).
//!
//! A version shows an action under its own word if it has one, under the nearest if it has none, and
//! not at all where no word comes near: such actions are in our own API only. Words that were ever in
//! TileDB's description are understood as filters, in both versions.

use doorbook_event::Action;

use super::Version;
use super::error::ApiError;

impl Version {
    /// The word for an action; `None` if this version does not show it.
    pub const fn word(self, action: Action) -> Option<&'static str> {
        let nearest = match (self, action) {
            (Version::V1, Action::Run) => Action::Udf,
            (Version::V1, Action::Update | Action::Info) => return None,
            (Version::V2, Action::QueryDelete) => Action::QueryWrite,
            (Version::V2, Action::ReadFragmentInfo) => Action::NonEmptyDomain,
            (Version::V2, Action::ReadEnumerations) => Action::ReadSchema,
            (
                _,
                Action::Consolidate
                | Action::Vacuum
                | Action::SchemaEvolution
                | Action::Share
                | Action::DeleteFragments
                | Action::Move,
            ) => return None,
            _ if !action.is_of_arrays() => return None,
            _ => action,
        };
        Some(nearest.word())
    }

    /// Every action that this version shows.
    pub fn shown(self) -> impl Iterator<Item = Action> {
        Action::of_arrays().filter(move |action| self.word(*action).is_some())
    }

    /// The actions that a filter of these words asks for, each shown by this version.
    pub fn actions<'w>(
        self,
        words: impl Iterator<Item = &'w str>,
    ) -> Result<Vec<Action>, ApiError> {
        let mut found = Vec::new();
        for word in words {
            let meant = meant_by(word).ok_or_else(|| unknown(word))?;
            let is_shown_so = |action: &Action| {
                meant.contains(action) || self.word(*action).is_some_and(|shown| shown == word)
            };
            found.extend(self.shown().filter(is_shown_so));
        }
        found.sort();
        found.dedup();
        Ok(found)
    }
}

/// What a word means by itself.
fn meant_by(word: &str) -> Option<Vec<Action>> {
    let of_group = |group: &[Action]| Some(group.to_vec());
    match word {
        // As in TileDB's first description, which clients were generated from.
        "read" => of_group(&READS),
        "write" => of_group(&WRITES),
        // Until 2019-11.
        "query" => of_group(&[Action::QueryRead, Action::QueryWrite, Action::QueryDelete]),
        _ => Action::from_word(word).filter(|action| has_word(*action)).map(|action| vec![action]),
    }
}

/// Whether a version of the API has a word for it.
fn has_word(action: Action) -> bool {
    [Version::V1, Version::V2].into_iter().any(|version| version.word(action).is_some())
}

const READS: [Action; 9] = [
    Action::ReadSchema,
    Action::MaxBufferSizes,
    Action::NonEmptyDomain,
    Action::QueryRead,
    Action::ArrayMetadataGet,
    Action::EstimatedResultSizes,
    Action::ReadFragmentInfo,
    Action::ReadEnumerations,
    Action::Info,
];

const WRITES: [Action; 4] =
    [Action::QueryWrite, Action::QueryDelete, Action::ArrayMetadataUpdate, Action::Update];

fn unknown(word: &str) -> ApiError {
    let shown: String = word.chars().take(64).collect();
    if word.contains(['[', ']', '\'', '"']) {
        return ApiError::bad_request(format!(
            "event_types: {shown:?} is a list as Python prints it; write the words with commas \
             between, such as query_read,create"
        ));
    }
    if word.chars().count() == 1 {
        return ApiError::bad_request(format!(
            "event_types: {shown:?} is one letter of a word; give a list of words \
             (event_types=[\"create\"]), not a text"
        ));
    }
    let mut words = vec!["read", "write"];
    words.extend(Action::of_arrays().filter(|action| has_word(*action)).map(Action::word));
    ApiError::bad_request(format!(
        "event_types: there is no event type {shown:?}; there are {}",
        words.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of TileDB's description of each version (contract §1.4), and no other.
    #[test]
    fn each_version_has_its_own_words() {
        let check = |version: Version, expected: &str| {
            let mut words: Vec<_> =
                version.shown().filter_map(|action| version.word(action)).collect();
            words.sort_unstable();
            words.dedup();
            let mut expected: Vec<_> = expected.split(' ').collect();
            expected.sort_unstable();
            assert_eq!(words, expected, "{version:?}");
        };
        let common = "read_schema max_buffer_sizes non_empty_domain query_read query_write create \
                      delete register deregister udf array_metadata_get array_metadata_update \
                      estimated_result_sizes";
        check(Version::V1, &format!("{common} query_delete read_fragment_info read_enumerations"));
        check(Version::V2, &format!("{common} update info run"));
    }

    #[test]
    fn a_filter_finds_what_is_shown_under_its_words() {
        let check = |version: Version, words: &[&str], expected: &str| {
            let found = version.actions(words.iter().copied()).expect("understood");
            let found: Vec<_> = found.into_iter().map(Action::word).collect();
            assert_eq!(found.join(" "), expected, "{version:?} {words:?}");
        };
        check(Version::V1, &["query_read", "create", "create"], "query_read create");
        check(Version::V1, &["query_write"], "query_write");
        check(Version::V2, &["query_write"], "query_write query_delete");
        check(Version::V2, &["query_delete"], "query_delete");
        check(Version::V1, &["udf"], "udf run");
        check(Version::V1, &["info"], "");
        check(Version::V1, &["query"], "query_read query_write query_delete");
        check(Version::V1, &["write"], "query_write query_delete array_metadata_update");
        check(Version::V2, &["write"], "query_write query_delete array_metadata_update update");
        check(
            Version::V2,
            &["read"],
            "read_schema max_buffer_sizes non_empty_domain query_read array_metadata_get \
             estimated_result_sizes read_fragment_info read_enumerations info",
        );
        for (word, says) in [
            ("['query_read'", "as Python prints it"),
            ("c", "one letter"),
            ("consolidate", "there is no event type"),
            ("authenticate", "there is no event type"),
            ("", "there is no event type"),
        ] {
            let refused = Version::V1.actions([word].into_iter()).expect_err("refused");
            assert!(refused.message.contains(says), "{word}: {}", refused.message);
        }
    }
}

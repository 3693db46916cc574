//! No two sources may read one file: each line would be recorded under two hosts.
//!
//! What can be told beforehand is refused here: the same path, a pattern that another's path matches,
//! and names that lead to one file on this machine now. A path that an agent follows is one of another
//! machine. What comes to clash later stops the second
//! source when it is followed.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use doorbook_event::Text;

use super::read::Problem;
use super::wanted::WantedSource;

/// Files of one pattern that are looked at; a source that has more stops and says so.
const FILES_MAX: usize = 1000;

/// Tells of sources that read one file.
pub fn check(sources: &[WantedSource], problems: &mut Vec<Problem>) {
    let mut seen = Seen::default();
    let (patterns, plain): (Vec<_>, Vec<_>) =
        sources.iter().partition(|source| is_pattern(&source.path));
    for source in plain.iter().chain(&patterns) {
        let found = seen.by_path(source).or_else(|| seen.by_file(source));
        let Some((other, why)) = found else { continue };
        // Expansions of one source are told apart where it is expanded.
        let message = format!(
            "source {:?} reads the same file as source {:?} ({why}); each log has one source",
            &*source.name, &*other.name
        );
        problems.push(Problem::new(source.place, message));
    }
}

#[derive(Default)]
struct Seen<'a> {
    /// By who reads it: an agent, or the server.
    paths: BTreeMap<(Option<Text>, String), &'a WantedSource>,
    files: BTreeMap<(u64, u64), &'a WantedSource>,
}

impl<'a> Seen<'a> {
    /// Another source whose path is this one's, or matches it. Plain paths come before patterns.
    fn by_path(&mut self, source: &'a WantedSource) -> Option<(&'a WantedSource, String)> {
        let path = plain(&source.path);
        let options =
            glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        let pattern = if is_pattern(&path) { glob::Pattern::new(&path).ok() } else { None };
        let matched = pattern.and_then(|pattern| {
            self.paths.iter().find(|((agent, other), _)| {
                *agent == source.agent && pattern.matches_with(other, options)
            })
        });
        let key = (source.agent.clone(), path);
        let known = self.paths.get_key_value(&key).or(matched);
        let found = known.map(|((_, path), other)| (*other, path.clone()));
        self.paths.entry(key).or_insert(source);
        found
    }

    /// Another source that leads to a file of this one's now.
    fn by_file(&mut self, source: &'a WantedSource) -> Option<(&'a WantedSource, String)> {
        if source.agent.is_some() {
            return None;
        }
        let files = glob::glob(&source.path).into_iter().flatten();
        let mut found = None;
        for file in files.take(FILES_MAX).flatten() {
            let Ok(metadata) = std::fs::metadata(&file) else { continue };
            let key = (metadata.dev(), metadata.ino());
            let other = *self.files.entry(key).or_insert(source);
            if !std::ptr::eq(other, source) {
                found.get_or_insert((other, file.display().to_string()));
            }
        }
        found
    }
}

fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// A path without what changes nothing in it: `//` and `/./`.
fn plain(path: &str) -> String {
    Path::new(path).components().collect::<std::path::PathBuf>().to_string_lossy().into_owned()
}

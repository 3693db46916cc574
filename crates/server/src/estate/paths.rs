//! No two sources may read one file, or get the same lines: each line would be recorded under two hosts.
//!
//! What can be told beforehand is refused here: the same path, a pattern that another's path matches,
//! and names that lead to one file on this machine now. A path that an agent follows is one of another
//! machine. What comes to clash later stops the second
//! source when it is followed.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use doorbook_event::Text;
use doorbook_event::source::Rule;

use super::arrays;
use super::read::Problem;
use super::wanted::WantedSource;

/// Files of one pattern that are looked at; a source that has more stops and says so.
const FILES_MAX: usize = 1000;

/// Tells of sources that read one file.
pub fn check(sources: &[WantedSource], problems: &mut Vec<Problem>) {
    let mut seen = Seen::default();
    received(sources, problems);
    arrays::check(sources, problems);
    let of_hosts = sources.iter().filter(|source| source.whose.host().is_some());
    let followed = of_hosts.filter(|source| source.rules.is_empty());
    let (patterns, plain): (Vec<_>, Vec<_>) = followed.partition(|source| is_pattern(&source.path));
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

/// Tells of sources that are sent the same lines: each line that fits one would fit the other, too.
fn received(sources: &[WantedSource], problems: &mut Vec<Problem>) {
    // More are not compared with each other: that grows with the square.
    const COMPARED_MAX: usize = 2000;
    let received = sources.iter().filter(|source| !source.rules.is_empty()).take(COMPARED_MAX);
    let received: Vec<&WantedSource> = received.collect();
    for (at, source) in received.iter().enumerate() {
        let clashes = |other: &&&WantedSource| {
            project_of(other) == project_of(source)
                && (is_narrower(&source.rules, &other.rules)
                    || is_narrower(&other.rules, &source.rules))
        };
        let Some(other) = received[..at].iter().find(clashes) else { continue };
        let message = format!(
            "source {:?} matches the same lines as source {:?}: a line that fits two sources is \
             recorded under neither; write {{host}} in its match, or a further label",
            &*source.name, &*other.name
        );
        problems.push(Problem::new(source.place, message));
    }
}

fn project_of(source: &WantedSource) -> Option<&Text> {
    source.whose.host().map(|(project, _)| project)
}

/// Whether every line that fits the first rules fits the others, as far as that can be told: each of
/// these is among the first, or matches the plain value that is.
fn is_narrower(rules: &[Rule], others: &[Rule]) -> bool {
    others.iter().all(|other| {
        let same_label = rules.iter().filter(|rule| rule.label == other.label);
        same_label.into_iter().any(|rule| {
            rule.pattern == other.pattern
                || (!is_pattern(&rule.pattern)
                    && glob::Pattern::new(&other.pattern)
                        .is_ok_and(|pattern| pattern.matches(&rule.pattern)))
        })
    })
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

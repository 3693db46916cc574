//! What files say that name others: which fragments were merged, which commits stand in a merged one, which
//! are to be ignored.
//!
//! Such a list is written after what was merged: a look may come before it, or find half of it, and it may be
//! gone by the next. It is waited for as long as it may still come; what it would have told then is a gap.

use std::io;

use doorbook_event::Action;

use super::Scan;
use crate::tiledb::contents::{self, Unreadable};
use crate::tiledb::name::{Kind, Name, Stem};
use crate::tiledb::watch::{File, GRAIN_SECONDS, SETTLE_SECONDS, has};

/// What is hidden where writes may have been merged.
pub(super) const WRITES: &[Action] = &[Action::QueryWrite, Action::Consolidate, Action::Vacuum];
/// What is hidden where merged commits cannot be read.
const COMMITS: &[Action] =
    &[Action::QueryWrite, Action::QueryDelete, Action::Consolidate, Action::Vacuum];
/// What is hidden where metadata may have been merged.
pub(super) const METADATA: &[Action] =
    &[Action::ArrayMetadataUpdate, Action::Consolidate, Action::Vacuum];
/// Why that is hidden.
pub(super) const MERGED_UNSEEN: &str =
    "what was written may have been merged and removed between two looks";

impl Scan<'_> {
    /// All that merged commits and lists of ignored ones name.
    pub(super) fn read_commits(&mut self, files: &[File]) -> Vec<Name> {
        let mut names = Vec::new();
        for file in files.iter().filter(|file| is_list(&file.name)) {
            let read = match file.name.kind {
                Kind::Commits => self.read_list(file, COMMITS, contents::commits),
                _ => self.read_list(file, COMMITS, contents::ignored),
            };
            self.is_opaque |= read.is_none();
            names.extend(read.unwrap_or_default());
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Which fragments and metadata were merged, of the lists that were not read yet.
    pub(super) fn read_merged(&mut self, added: &[File]) {
        let lists = if self.is_resumed { self.files.clone() } else { added.to_vec() };
        for file in lists.iter().filter(|file| is_merge_list(&file.name)) {
            self.read_merge_list(file);
        }
    }

    /// A list is written after what was merged: one that is not there yet may come, unless what it would
    /// name is going already. Returns those that were waited for and are gone themselves.
    pub(super) fn wait_for_lists(&mut self, added: &[File], vanished: &[File]) -> Vec<File> {
        let mut gone = std::mem::take(&mut self.watch.waiting);
        gone.retain(|file| !has(&self.files, &file.name));
        self.watch.waits_from = None;
        let going = self.watch.going.as_ref();
        let is_new = |gone: &&File| going.is_none_or(|going| going.seen(&gone.name).is_none());
        let going: Vec<Stem> = vanished.iter().filter(is_new).map(|gone| gone.name.stem).collect();
        for file in added {
            let File { name, modified } = *file;
            let is_merged = match name.kind {
                Kind::Metadata => name.stem.is_merged(),
                _ => name.is_write() && name.stem.is_merged(),
            };
            let is_young = self.now < modified.plus_seconds(SETTLE_SECONDS);
            let is_listed = self.listed_before.binary_search(&name).is_ok();
            if !is_merged || !is_young || is_listed || self.is_explained(&name) {
                continue;
            }
            let list = name.with_kind(merge_list(name.kind));
            if !self.unfinished.contains(&list) {
                self.read_merge_list(&File { name: list, modified });
            }
            let is_going = going.iter().any(|gone| name.stem.spans(gone));
            if !self.is_explained(&name) && !is_going {
                self.unfinished.push(name);
                self.watch.waiting.push(*file);
                self.watch.waits_from = Some(self.gap_from);
            }
        }
        gone
    }

    fn read_merge_list(&mut self, file: &File) {
        let is_metadata = file.name.kind == Kind::MetadataVacuum;
        let actions = if is_metadata { METADATA } else { WRITES };
        let Some(stems) = self.read_list(file, actions, contents::merged) else { return };
        let uuid = file.name.stem.uuid;
        self.watch.explained.insert(uuid);
        for stem in stems {
            self.watch.merged.insert(stem.uuid, uuid);
            let name = match is_metadata {
                true => Name { kind: Kind::Metadata, stem },
                false => Name::commit_of(stem),
            };
            if !self.is_known(&name) {
                self.tell_lost(name, file.modified);
            }
        }
    }

    pub(super) fn read_list<T>(
        &mut self,
        file: &File,
        actions: &[Action],
        parse: fn(&[u8]) -> Result<Vec<T>, Unreadable>,
    ) -> Option<Vec<T>> {
        let path = file.name.to_string();
        let reason = match self.contents.read(&path) {
            Ok(bytes) => match parse(&bytes) {
                Ok(list) => return Some(list),
                Err(Unreadable::Unfinished)
                    if self.now < file.modified.plus_seconds(SETTLE_SECONDS) =>
                {
                    self.unfinished.push(file.name);
                    return None;
                }
                Err(error) => {
                    self.watch.found.put_aside(path.clone(), &bytes, &error.to_string());
                    format!("{path}: {error}")
                }
            },
            // Whoever removed it removed what it names, which `explain` finds.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => format!("{path}: {error}"),
        };
        self.gap(
            actions,
            &format!("what was merged is not known: {reason}"),
            self.gap_from,
            file.modified,
        );
        None
    }

    /// What was merged and removed before its list was read may hold what we never saw.
    pub(super) fn explain(&mut self) {
        // What a list names may be merged, too, and its own list is not there any more.
        while let Some(file) = self.new_merged.pop() {
            if self.is_explained(&file.name) {
                continue;
            }
            let list = file.name.with_kind(merge_list(file.name.kind));
            // It is written after what was merged: the listing may have missed it.
            self.read_merge_list(&File { name: list, modified: file.modified });
            if self.is_explained(&file.name) {
                continue;
            }
            let is_metadata = file.name.kind == Kind::Metadata;
            let actions = if is_metadata { METADATA } else { WRITES };
            self.gap(
                actions,
                MERGED_UNSEEN,
                self.gap_from,
                file.modified.plus_seconds(GRAIN_SECONDS),
            );
        }
    }

    /// Merged fragments of which no list says what they were merged from.
    pub(super) fn unexplained(&self) -> Vec<Stem> {
        let names = self.files.iter().map(|file| &file.name).chain(&self.watch.listed);
        let is_unexplained =
            |name: &&Name| name.is_write() && name.stem.is_merged() && !self.is_explained(name);
        names.filter(is_unexplained).map(|name| name.stem).collect()
    }

    /// Whether its data went into another fragment: where no list tells, into one that spans it.
    pub(super) fn is_merged_away(&self, stem: &Stem) -> bool {
        self.watch.merged.contains_key(&stem.uuid)
            || self.spanning.iter().any(|one| one != stem && one.spans(stem))
    }

    fn is_explained(&self, name: &Name) -> bool {
        self.watch.explained.contains(&name.stem.uuid)
    }

    /// Whether a list of what it was merged from is there.
    pub(super) fn has_list(&self, name: Name) -> bool {
        has(&self.files, &name.with_kind(merge_list(name.kind)))
    }
}

pub(super) fn is_list(name: &Name) -> bool {
    matches!(name.kind, Kind::Commits | Kind::Ignored)
}

/// What says what a merged one was merged from.
fn merge_list(kind: Kind) -> Kind {
    match kind {
        Kind::Metadata => Kind::MetadataVacuum,
        Kind::Write => Kind::FragmentVacuum,
        _ => Kind::OldFragmentVacuum,
    }
}

pub(super) fn is_merge_list(name: &Name) -> bool {
    matches!(name.kind, Kind::FragmentVacuum | Kind::OldFragmentVacuum | Kind::MetadataVacuum)
}

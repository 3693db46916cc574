//! One comparison of what a look shows with what is known.
//!
//! What appeared is told at once. What is gone waits for what files say that name others ([`lists`]): only they
//! tell whether it was merged or deleted ([`removals`]).

use std::collections::HashSet;

use doorbook_event::{Action, Timestamp};

use self::lists::{MERGED_UNSEEN, METADATA, WRITES, is_list};
use self::removals::Tallies;
pub(super) use self::removals::{Going, REMOVALS};
use super::found::Event;
use super::position::{Position, summary};
use super::{ArrayWatch, Contents, File, GRAIN_SECONDS, Uuid, has};
use crate::tiledb::name::{Kind, Name, Stem};

mod lists;
mod removals;

/// One comparison.
pub(super) struct Scan<'a> {
    watch: &'a mut ArrayWatch,
    contents: &'a mut dyn Contents,
    now: Timestamp,
    /// What was known, by name.
    before: Vec<File>,
    /// What is there, by name.
    files: Vec<File>,
    listed_before: Vec<Name>,
    /// Since when a gap begins that is found now.
    gap_from: Timestamp,
    /// Whether it was seen by another process: nothing of it was read by this one.
    is_resumed: bool,
    /// When that one looked last.
    told_until: Option<Timestamp>,
    /// Whether merged commits could not be read: what they hold is not known.
    is_opaque: bool,
    /// Lists that are not written to their end yet, and come again.
    unfinished: Vec<Name>,
    /// Merged ones that were not known.
    new_merged: Vec<File>,
    /// Merged fragments of which no list says what they were merged from.
    spanning: Vec<Stem>,
    /// What new lists of ignored ones name.
    ignored: HashSet<Name>,
    /// What was going until now.
    was_going: Option<Going>,
    removed: Tallies,
}

impl<'a> Scan<'a> {
    /// Of an array that was looked at `now`, with what is known of it.
    pub(super) fn begin(
        watch: &'a mut ArrayWatch,
        files: Vec<File>,
        contents: &'a mut dyn Contents,
        now: Timestamp,
    ) -> Scan<'a> {
        let is_resumed = watch.resumed.is_some();
        let mut scan = Scan {
            before: std::mem::take(&mut watch.files),
            listed_before: std::mem::take(&mut watch.listed),
            watch,
            contents,
            now,
            files,
            gap_from: now,
            is_resumed,
            told_until: None,
            is_opaque: false,
            unfinished: Vec::new(),
            new_merged: Vec::new(),
            spanning: Vec::new(),
            ignored: HashSet::new(),
            was_going: None,
            removed: Tallies::default(),
        };
        match scan.watch.resumed.take() {
            Some(position) => scan.resume(&position),
            None => scan.find_beginning(),
        }
        scan
    }

    /// What was seen before a restart is known again, if all of it is still there.
    fn resume(&mut self, position: &Position) {
        self.gap_from = position.gap_from.plus_seconds(-GRAIN_SECONDS);
        self.watch.looked = Some((position.looked, position.gap_from));
        self.told_until = Some(position.looked);
        let settled = summary(self.files.iter(), position.settled_before);
        let is_whole = settled == (position.count, position.sum);
        if !is_whole || position.unsettled > 0 {
            let cause = "something may have been removed from the array while nobody looked";
            self.gap(REMOVALS, cause, position.looked.plus_seconds(-GRAIN_SECONDS), self.now);
        }
        if position.waits {
            // Which lists were waited for is forgotten, and they may have come and gone since.
            let to = position.looked_at_going.unwrap_or(position.looked);
            for actions in [WRITES, METADATA] {
                self.gap(actions, MERGED_UNSEEN, self.gap_from, to);
            }
        }
        if !is_whole {
            return;
        }
        let is_settled = |file: &&File| file.modified < position.settled_before;
        self.before = self.files.iter().filter(is_settled).copied().collect();
        self.listed_before = self.read_commits(&self.before.clone());
    }

    fn find_beginning(&mut self) {
        if self.watch.created.is_none() {
            let schemas = self.files.iter().filter(|file| file.is_schema());
            let first = schemas.min_by_key(|file| (file.name.stem.data_from, file.modified));
            self.watch.created = first.map(|file| file.name);
        }
        let created = self.files.iter().find(|file| Some(file.name) == self.watch.created);
        let begun = created.map_or(self.now, |file| file.modified);
        let looked = self.watch.looked.map(|(_, before)| before.plus_seconds(-GRAIN_SECONDS));
        self.gap_from = self.watch.waits_from.or(looked).unwrap_or(begun);
    }

    /// Finds what was done, and keeps what is there for the next one.
    pub(super) fn run(mut self) {
        let (added, vanished) = self.compare();
        let lists_changed = added.iter().chain(&vanished).any(|file| is_list(&file.name));
        self.watch.listed = match lists_changed || !self.watch.waiting.is_empty() {
            true => self.read_commits(&self.files.clone()),
            false => self.listed_before.clone(),
        };
        self.read_merged(&added);
        let unlisted = self.wait_for_lists(&added, &vanished);
        for file in added.iter().chain(&unlisted) {
            if !self.unfinished.contains(&file.name) {
                self.tell_added(*file);
            }
        }
        self.tell_listed();
        self.explain();
        let mut gone = vanished;
        gone.extend(unlisted);
        if self.is_going(&added, &gone) {
            // Known until it is told.
            self.files.append(&mut gone);
            self.files.sort_unstable();
        }
        self.spanning = self.unexplained();
        self.tell_ignored(&added);
        for file in &gone {
            self.count_vanished(file);
        }
        self.tell_removed();
        self.end(!gone.is_empty());
    }

    /// What is there now and was not, and the other way round.
    fn compare(&self) -> (Vec<File>, Vec<File>) {
        let (mut added, mut vanished) = (Vec::new(), Vec::new());
        let mut before = self.before.iter().peekable();
        for file in &self.files {
            while let Some(gone) = before.next_if(|known| known.name < file.name) {
                vanished.push(*gone);
            }
            if before.next_if(|known| known.name == file.name).is_none() {
                added.push(*file);
            }
        }
        vanished.extend(before);
        (added, vanished)
    }

    fn tell_added(&mut self, file: File) {
        let File { name, modified } = file;
        let is_merged = name.stem.is_merged();
        let (action, what) = match name.kind {
            Kind::Schema | Kind::OldSchema if Some(name) == self.watch.created => {
                (Action::Create, None)
            }
            Kind::Schema | Kind::OldSchema => (Action::SchemaEvolution, None),
            Kind::Write | Kind::OldWrite | Kind::OldFragment => {
                if self.listed_before.binary_search(&name).is_ok() {
                    return;
                }
                if is_merged || self.has_list(name) {
                    self.new_merged.push(file);
                    (Action::Consolidate, Some("fragments"))
                } else {
                    (Action::QueryWrite, None)
                }
            }
            Kind::Delete | Kind::Update if self.listed_before.binary_search(&name).is_ok() => {
                return;
            }
            Kind::Delete => (Action::QueryDelete, None),
            Kind::Update => (Action::QueryWrite, Some("update")),
            Kind::Commits => (Action::Consolidate, Some("commits")),
            Kind::FragmentMetadata | Kind::OldFragmentMetadata => {
                (Action::Consolidate, Some("fragment_metadata"))
            }
            Kind::Metadata if is_merged || self.has_list(name) => {
                self.new_merged.push(file);
                (Action::Consolidate, Some("metadata"))
            }
            Kind::Metadata => (Action::ArrayMetadataUpdate, None),
            Kind::FragmentVacuum
            | Kind::OldFragmentVacuum
            | Kind::MetadataVacuum
            | Kind::Ignored => {
                return;
            }
        };
        self.push(Event { what, ..Event::new(action, modified, Some(name)) });
    }

    /// What only lists of commits name still.
    fn tell_listed(&mut self) {
        let is_new = |name: &&Name| {
            self.listed_before.binary_search(name).is_err()
                && !has(&self.before, name)
                && !has(&self.files, name)
        };
        let lost: Vec<Name> = self.watch.listed.iter().filter(is_new).copied().collect();
        if lost.is_empty() {
            return;
        }
        let lists = self.files.iter().filter(|file| is_list(&file.name));
        let before = lists.map(|file| file.modified).max().unwrap_or(self.now);
        for name in lost {
            self.tell_lost(name, before);
        }
    }

    /// An event of which only the name is left: its time is that of the fragment if that is still there,
    /// else before that of what names it.
    fn tell_lost(&mut self, name: Name, before: Timestamp) {
        let modified = match name.is_write() {
            true => self.contents.modified(&name.fragment()).ok(),
            false => None,
        };
        let time = modified.unwrap_or(before);
        let (action, what) = match name.kind {
            Kind::Delete => (Action::QueryDelete, None),
            Kind::Update => (Action::QueryWrite, Some("update")),
            Kind::Metadata if !name.stem.is_merged() => (Action::ArrayMetadataUpdate, None),
            Kind::Metadata => (Action::Consolidate, Some("metadata")),
            _ if name.stem.is_merged() => (Action::Consolidate, Some("fragments")),
            _ => (Action::QueryWrite, None),
        };
        if action == Action::Consolidate {
            self.new_merged.push(File { name, modified: time });
        }
        let is_before = modified.is_none();
        self.push(Event { what, is_before, ..Event::new(action, time, Some(name)) });
    }

    fn end(mut self, has_gone: bool) {
        if has_gone {
            let files = self.files.iter().map(|file| &file.name);
            let there: HashSet<Uuid> =
                files.chain(&self.watch.listed).map(|name| name.stem.uuid).collect();
            self.watch.merged.retain(|uuid, _| there.contains(uuid));
            self.watch.explained.retain(|uuid| there.contains(uuid));
        }
        self.files.retain(|file| !self.unfinished.contains(&file.name));
        self.watch.listed.retain(|name| !self.unfinished.contains(name));
        let before = self.watch.looked.map_or(self.now, |(looked, _)| looked);
        self.watch.looked = Some((self.now, before));
        self.watch.files = self.files;
    }

    fn is_known(&self, name: &Name) -> bool {
        has(&self.before, name)
            || has(&self.files, name)
            || self.listed_before.binary_search(name).is_ok()
            || self.watch.listed.binary_search(name).is_ok()
    }

    /// Whether another process told of it: what it removed may look otherwise now than it did then.
    fn was_told(&self, file: &File) -> bool {
        self.told_until.is_some_and(|told| file.modified <= told)
    }

    fn push(&mut self, event: Event) {
        self.watch.found.events.push(event);
    }

    fn gap(&mut self, actions: &[Action], cause: &str, from: Timestamp, to: Timestamp) {
        self.watch.found.gap(actions, cause, from, to);
    }
}

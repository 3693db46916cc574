//! What is gone, and what it was: merged before, deleted, or listed elsewhere now.
//!
//! Storage removes piece by piece what one call removes. What goes together is counted together, and where
//! removing takes time it is told once nothing more goes.

use std::collections::HashSet;

use doorbook_event::{Action, Timestamp};

use super::Scan;
use super::lists::is_merge_list;
use crate::tiledb::contents;
use crate::tiledb::name::{Kind, Name, Stem};
use crate::tiledb::watch::found::{Event, Removed};
use crate::tiledb::watch::{File, SETTLE_SECONDS, Uuid};

/// What goes piece by piece, and is told once nothing more goes.
#[derive(Debug)]
pub(in crate::tiledb::watch) struct Going {
    /// The look that saw something gone first.
    pub(in crate::tiledb::watch) since: Timestamp,
    /// When looks began before that, as the watch had it.
    pub(in crate::tiledb::watch) before: (Timestamp, Timestamp),
    /// The last look that saw more of it.
    pub(in crate::tiledb::watch) changed: Timestamp,
    /// What is gone, and new lists of what is ignored, by name, and which look saw it first.
    names: Vec<(Name, Timestamp)>,
}

/// What is gone, by what it was.
#[derive(Default)]
pub(super) struct Tallies {
    fragments: Tally,
    commits: Tally,
    metadata: Tally,
    fragment_metadata: Tally,
    deleted: Tally,
}

/// What is gone that belongs together.
#[derive(Default)]
struct Tally {
    object: Option<Name>,
    removed: Option<Removed>,
    /// Which look saw something of it gone first.
    seen: Option<Timestamp>,
    /// Whether a list of ignored ones told of it.
    is_told: bool,
}

/// What a gap hides in which something was removed.
pub(in crate::tiledb::watch) const REMOVALS: &[Action] = &[Action::Vacuum, Action::DeleteFragments];

impl Scan<'_> {
    /// Whether what is gone is a part of what goes still: then all of it is told later.
    pub(super) fn is_going(&mut self, added: &[File], gone: &[File]) -> bool {
        let going = self.watch.going.take();
        let Some(before) = self.watch.looked.filter(|_| self.watch.removal_seconds > 0) else {
            return false;
        };
        // Commits that are to go and stand in merged ones are listed first.
        let is_new = |file: &&File| file.name.kind == Kind::Ignored && !self.was_told(file);
        let lists: Vec<Name> = added.iter().filter(is_new).map(|file| file.name).collect();
        let names = gone.iter().map(|file| file.name).chain(lists.clone());
        let seen = |name| going.as_ref().and_then(|going| going.seen(&name)).unwrap_or(self.now);
        let mut names: Vec<(Name, Timestamp)> = names.map(|name| (name, seen(name))).collect();
        if names.is_empty() {
            return false;
        }
        names.sort_unstable();
        let going = match going {
            Some(going) if going.names == names => going,
            Some(going) => Going { changed: self.now, names, ..going },
            None => Going { since: self.now, before, changed: self.now, names },
        };
        let is_quiet = going.changed.plus_seconds(self.watch.removal_seconds) <= self.now
            && !self.is_named_still(&going.names);
        let is_long = going.since.plus_seconds(SETTLE_SECONDS) <= self.now;
        if is_quiet || is_long || self.now < going.since {
            self.was_going = Some(going);
            return false;
        }
        self.watch.going = Some(going);
        self.unfinished.extend(lists);
        true
    }

    /// Whether a list of what is superfluous names any of what is gone: it goes last.
    fn is_named_still(&self, gone: &[(Name, Timestamp)]) -> bool {
        let lists = self.files.iter().filter(|file| is_merge_list(&file.name));
        let lists: HashSet<Uuid> = lists.map(|file| file.name.stem.uuid).collect();
        // Of merged commits nothing more need go.
        let is_listed = |name: &Name| self.watch.listed.binary_search(name).is_ok();
        let gone = gone.iter().map(|(name, _)| name).filter(|name| !is_listed(name));
        let mut merged = gone.filter_map(|name| self.watch.merged.get(&name.stem.uuid));
        !lists.is_empty() && merged.any(|into| lists.contains(into))
    }

    /// Of merged commits some are no more: their fragments were merged and removed, or deleted.
    pub(super) fn tell_ignored(&mut self, added: &[File]) {
        for file in added.iter().filter(|file| file.name.kind == Kind::Ignored) {
            if self.was_told(file) || self.unfinished.contains(&file.name) {
                continue;
            }
            let names = self.read_list(file, REMOVALS, contents::ignored).unwrap_or_default();
            let are_merged = names.iter().all(|name| self.is_merged_away(&name.stem));
            let (tally, action, what) = match are_merged {
                true => (&mut self.removed.fragments, Action::Vacuum, Some("fragments")),
                false => (&mut self.removed.deleted, Action::DeleteFragments, None),
            };
            tally.is_told = true;
            self.ignored.extend(&names);
            let mut counted = Tally::default();
            names.iter().for_each(|name| counted.count(name, self.now));
            let removed = counted.removed;
            self.push(Event {
                what,
                removed,
                ..Event::new(action, file.modified, Some(file.name))
            });
        }
    }

    /// Counts one more that is gone as what it was.
    pub(super) fn count_vanished(&mut self, file: &File) {
        let name = &file.name;
        let seen = self.was_going.as_ref().and_then(|going| going.seen(name));
        let seen = seen.unwrap_or(self.now).min(self.now);
        let is_listed = || self.watch.listed.binary_search(name).is_ok();
        let tally = match name.kind {
            Kind::Schema | Kind::OldSchema => return,
            // Where merged commits name it, too, both are done: it goes, and is ignored.
            _ if self.ignored.contains(name) => return,
            Kind::FragmentVacuum | Kind::OldFragmentVacuum => {
                self.removed.fragments.name(*name, seen);
                return;
            }
            Kind::MetadataVacuum => {
                self.removed.metadata.name(*name, seen);
                return;
            }
            Kind::Commits | Kind::Ignored | Kind::Delete | Kind::Update => {
                &mut self.removed.commits
            }
            Kind::FragmentMetadata | Kind::OldFragmentMetadata => {
                &mut self.removed.fragment_metadata
            }
            Kind::Metadata => &mut self.removed.metadata,
            _ if is_listed() => &mut self.removed.commits,
            _ if self.is_merged_away(&name.stem) => &mut self.removed.fragments,
            _ if self.is_opaque => &mut self.removed.commits,
            _ => &mut self.removed.deleted,
        };
        tally.count(name, seen);
    }

    /// What was counted, one event for each that belongs together.
    pub(super) fn tell_removed(&mut self) {
        let Tallies { fragments, commits, metadata, fragment_metadata, deleted } =
            std::mem::take(&mut self.removed);
        let tallies = [
            (fragments, Action::Vacuum, Some("fragments")),
            (commits, Action::Vacuum, Some("commits")),
            (metadata, Action::Vacuum, Some("metadata")),
            (fragment_metadata, Action::Vacuum, Some("fragment_metadata")),
            (deleted, Action::DeleteFragments, None),
        ];
        for (tally, action, what) in tallies {
            if let (Some(object), false) = (tally.object, tally.is_told) {
                let removed = tally.removed;
                let time = tally.seen.unwrap_or(self.now);
                self.push(Event { what, removed, ..Event::new(action, time, Some(object)) });
            }
        }
    }
}

impl Going {
    /// Which look saw first that a name is gone.
    pub(super) fn seen(&self, name: &Name) -> Option<Timestamp> {
        let at = self.names.binary_search_by_key(name, |(name, _)| *name).ok()?;
        Some(self.names[at].1)
    }
}

impl Tally {
    /// One more is gone.
    fn count(&mut self, name: &Name, seen: Timestamp) {
        self.seen = Some(self.seen.unwrap_or(seen).min(seen));
        let Stem { data_from, data_to, .. } = name.stem;
        self.object.get_or_insert(*name);
        let removed = self.removed.get_or_insert(Removed { count: 0, data_from, data_to });
        removed.count += 1;
        removed.data_from = removed.data_from.min(data_from);
        removed.data_to = removed.data_to.max(data_to);
    }

    /// What names it best.
    fn name(&mut self, name: Name, seen: Timestamp) {
        self.seen = Some(self.seen.unwrap_or(seen).min(seen));
        self.object = Some(name);
    }
}

//! Goal: what is recorded of an array is what was done with it, or a gap says what may be missing. Method: a
//! simulated array does what TileDB does (as captured from the library), is looked at at random moments, by
//! a watch that now and then is another process; its records are compared with the operations themselves.

use std::collections::{BTreeMap, BTreeSet};

use doorbook_event::Access;
use doorbook_event::access::WrittenTime;
use doorbook_event::record::Coverage;
use proptest::prelude::*;

use super::*;
use crate::tiledb::contents;
use crate::tiledb::name::Stem;

/// An array in memory that is used.
#[derive(Default)]
struct Simulated {
    files: BTreeMap<String, (Timestamp, Vec<u8>)>,
    now_millis: u64,
    uuids: u128,
    /// Fragments that are there and were not merged.
    live: Vec<Stem>,
    /// Whether a writer chose a time.
    has_own_times: bool,
    done: Vec<Done>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq)]
struct Done {
    action: Action,
    what: Option<&'static str>,
    at: Timestamp,
    /// Without one, what it did is seen by what is gone.
    object: Option<String>,
    removed: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Write {
        at: Option<u64>,
    },
    Delete,
    Update,
    Evolve,
    Metadata,
    MergeFragments,
    VacuumFragments,
    MergeCommits,
    VacuumCommits,
    MergeMetadata,
    VacuumMetadata,
    MergeFragmentMetadata,
    DeleteFragments,
    Wait {
        millis: u64,
    },
    Look,
    Restart,
    /// What was found is stored, but not how far it is.
    Crash,
}

impl Step {
    fn merges_or_removes(self) -> bool {
        use Step::{DeleteFragments, VacuumCommits, VacuumFragments, VacuumMetadata};
        use Step::{MergeCommits, MergeFragments, MergeMetadata};
        let removes =
            matches!(self, DeleteFragments | VacuumCommits | VacuumFragments | VacuumMetadata);
        removes || matches!(self, MergeCommits | MergeFragments | MergeMetadata)
    }
}

impl Simulated {
    fn new() -> Simulated {
        let mut array = Simulated { now_millis: 1_795_000_000_000, ..Simulated::default() };
        let stem = array.stem(None, 0);
        array.create(Name { kind: Kind::Schema, stem }, Action::Create, None, b"schema");
        array
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_millis as i64)
    }

    fn stem(&mut self, data: Option<(u64, u64)>, version: u32) -> Stem {
        self.uuids += 1;
        self.now_millis += 1;
        let uuid =
            (self.uuids.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_be_bytes();
        let (data_from, data_to) = data.unwrap_or((self.now_millis, self.now_millis));
        let text = format!("__{data_from}_{data_to}_{:032x}", u128::from_be_bytes(uuid));
        let text = if version > 0 { format!("{text}_{version}") } else { text };
        Stem::parse(&text).expect("a stem")
    }

    fn put(&mut self, path: String, bytes: &[u8]) {
        self.files.insert(path, (self.now(), bytes.to_vec()));
    }

    fn create(&mut self, name: Name, action: Action, what: Option<&'static str>, bytes: &[u8]) {
        self.put(name.to_string(), bytes);
        let object = Some(name.to_string());
        self.done.push(Done { action, what, at: self.now(), object, removed: BTreeSet::new() });
    }

    fn fragment(&mut self, stem: Stem, action: Action, what: Option<&'static str>) {
        let name = Name { kind: Kind::Write, stem };
        self.put(name.fragment(), b"cells");
        self.create(name, action, what, b"");
        self.live.push(stem);
    }

    /// The names of one kind that are there.
    fn names(&self, kind: Kind) -> Vec<Name> {
        let names = self.files.keys().filter_map(|path| Name::parse(path));
        names.filter(|name| name.kind == kind).collect()
    }

    fn remove(&mut self, name: &Name, removed: &mut BTreeSet<String>) {
        if self.files.remove(&name.to_string()).is_some() {
            removed.insert(name.to_string());
        }
    }

    fn gone(&mut self, action: Action, what: Option<&'static str>, removed: BTreeSet<String>) {
        if !removed.is_empty() {
            self.now_millis += 1;
            self.done.push(Done { action, what, at: self.now(), object: None, removed });
        }
    }

    fn span(names: &[Stem]) -> Option<(u64, u64)> {
        let from = names.iter().map(|stem| stem.data_from).min()?;
        let to = names.iter().map(|stem| stem.data_to).max()?;
        (from < to).then_some((from, to))
    }

    fn do_step(&mut self, step: Step) {
        match step {
            Step::Write { at } => {
                self.has_own_times |= at.is_some();
                let stem = self.stem(at.map(|at| (at, at)), 22);
                self.fragment(stem, Action::QueryWrite, None);
            }
            Step::Delete => {
                let stem = self.stem(None, 22);
                self.create(Name { kind: Kind::Delete, stem }, Action::QueryDelete, None, b"x\ny");
            }
            Step::Update => {
                let stem = self.stem(None, 22);
                let what = Some("update");
                self.create(Name { kind: Kind::Update, stem }, Action::QueryWrite, what, b"z");
            }
            Step::Evolve => {
                let stem = self.stem(None, 0);
                self.create(Name { kind: Kind::Schema, stem }, Action::SchemaEvolution, None, b"s");
            }
            Step::Metadata => {
                let stem = self.stem(None, 0);
                let name = Name { kind: Kind::Metadata, stem };
                self.create(name, Action::ArrayMetadataUpdate, None, b"m");
            }
            Step::MergeFragments => self.merge_fragments(),
            Step::VacuumFragments => self.vacuum_fragments(),
            Step::MergeCommits => self.merge_commits(),
            Step::VacuumCommits => self.vacuum_commits(),
            Step::MergeMetadata => self.merge_metadata(),
            Step::VacuumMetadata => self.vacuum_metadata(),
            Step::MergeFragmentMetadata => {
                let Some(span) = Simulated::span(&self.live) else { return };
                let stem = self.stem(Some(span), 22);
                let name = Name { kind: Kind::FragmentMetadata, stem };
                self.create(name, Action::Consolidate, Some("fragment_metadata"), b"f");
            }
            Step::DeleteFragments => {
                let stems = std::mem::take(&mut self.live);
                let commits: Vec<Name> = stems.into_iter().map(Name::commit_of).collect();
                let removed = self.remove_fragments(&commits, Action::DeleteFragments, None);
                self.gone(Action::DeleteFragments, None, removed);
            }
            Step::Wait { millis } => self.now_millis += millis,
            Step::Look | Step::Restart | Step::Crash => {}
        }
    }

    fn merge_fragments(&mut self) {
        let Some(span) = Simulated::span(&self.live) else { return };
        let inputs = std::mem::take(&mut self.live);
        let stem = self.stem(Some(span), 22);
        let list: String = inputs.iter().map(|stem| format!("/__fragments/{stem}\n")).collect();
        self.fragment(stem, Action::Consolidate, Some("fragments"));
        let list_name = Name { kind: Kind::FragmentVacuum, stem };
        self.put(list_name.to_string(), list.as_bytes());
    }

    fn vacuum_fragments(&mut self) {
        let mut removed = BTreeSet::new();
        for list in self.names(Kind::FragmentVacuum) {
            let stems = contents::merged(&self.files[&list.to_string()].1).expect("our own");
            let commits: Vec<Name> = stems.into_iter().map(Name::commit_of).collect();
            removed.extend(self.remove_fragments(&commits, Action::Vacuum, Some("fragments")));
            self.remove(&list, &mut removed);
        }
        self.gone(Action::Vacuum, Some("fragments"), removed);
    }

    /// What merged commits name is ignored from now on, besides.
    fn remove_fragments(
        &mut self,
        commits: &[Name],
        action: Action,
        what: Option<&'static str>,
    ) -> BTreeSet<String> {
        let mut removed = BTreeSet::new();
        let mut ignored = Vec::new();
        let mut merged = BTreeSet::new();
        for list in self.names(Kind::Commits) {
            merged.extend(contents::commits(&self.files[&list.to_string()].1).expect("our own"));
        }
        for commit in commits {
            self.files.remove(&commit.fragment());
            match merged.contains(commit) {
                false => self.remove(commit, &mut removed),
                true => {
                    self.files.remove(&commit.to_string());
                    ignored.push(*commit);
                }
            }
        }
        let stems: Vec<Stem> = ignored.iter().map(|name| name.stem).collect();
        if let (Some(first), Some(last)) = (
            stems.iter().map(|stem| stem.data_from).min(),
            stems.iter().map(|stem| stem.data_to).max(),
        ) {
            let stem = self.stem(Some((first, last)), 22);
            let list: String = ignored.iter().map(|name| format!("{name}\n")).collect();
            self.put(Name { kind: Kind::Ignored, stem }.to_string(), list.as_bytes());
            let removed = ignored.iter().map(Name::to_string).collect();
            self.done.push(Done { action, what, at: self.now(), object: None, removed });
        }
        removed
    }

    fn committed(&self) -> Vec<Name> {
        let mut names = BTreeSet::new();
        for list in self.names(Kind::Commits) {
            names.extend(contents::commits(&self.files[&list.to_string()].1).expect("our own"));
        }
        for list in self.names(Kind::Ignored) {
            for name in contents::ignored(&self.files[&list.to_string()].1).expect("our own") {
                names.remove(&name);
            }
        }
        for kind in [Kind::Write, Kind::Delete, Kind::Update] {
            names.extend(self.names(kind));
        }
        names.into_iter().collect()
    }

    fn merge_commits(&mut self) {
        let names = self.committed();
        let stems: Vec<Stem> = names.iter().map(|name| name.stem).collect();
        let Some(span) = Simulated::span(&stems) else { return };
        let mut list = Vec::new();
        for name in names {
            list.extend(format!("{name}\n").into_bytes());
            if name.kind != Kind::Write {
                list.extend(2_u64.to_le_bytes());
                list.extend(b"\n_");
            }
        }
        let stem = self.stem(Some(span), 22);
        self.create(
            Name { kind: Kind::Commits, stem },
            Action::Consolidate,
            Some("commits"),
            &list,
        );
    }

    fn vacuum_commits(&mut self) {
        let mut lists = self.names(Kind::Commits);
        let last = lists.iter().max_by_key(|name| self.files[&name.to_string()].0).copied();
        let Some(last) = last else { return };
        lists.retain(|list| *list != last);
        let made = self.files[&last.to_string()].0;
        let ignored = self.names(Kind::Ignored).into_iter();
        lists.extend(ignored.filter(|list| self.files[&list.to_string()].0 < made));
        let named = contents::commits(&self.files[&last.to_string()].1).expect("our own");
        let mut removed = BTreeSet::new();
        for name in named.iter().chain(&lists) {
            self.remove(name, &mut removed);
        }
        self.gone(Action::Vacuum, Some("commits"), removed);
    }

    fn merge_metadata(&mut self) {
        let mut names = self.names(Kind::Metadata);
        for list in self.names(Kind::MetadataVacuum) {
            let stems = contents::merged(&self.files[&list.to_string()].1).expect("our own");
            names.retain(|name| !stems.contains(&name.stem));
        }
        let stems: Vec<Stem> = names.iter().map(|name| name.stem).collect();
        let Some(span) = Simulated::span(&stems) else { return };
        let stem = self.stem(Some(span), 0);
        let list: String = names.iter().map(|name| format!("/{name}\n")).collect();
        self.create(
            Name { kind: Kind::Metadata, stem },
            Action::Consolidate,
            Some("metadata"),
            b"m",
        );
        self.put(Name { kind: Kind::MetadataVacuum, stem }.to_string(), list.as_bytes());
    }

    fn vacuum_metadata(&mut self) {
        let mut removed = BTreeSet::new();
        for list in self.names(Kind::MetadataVacuum) {
            let stems = contents::merged(&self.files[&list.to_string()].1).expect("our own");
            for stem in stems {
                self.remove(&Name { kind: Kind::Metadata, stem }, &mut removed);
            }
            self.remove(&list, &mut removed);
        }
        self.gone(Action::Vacuum, Some("metadata"), removed);
    }
}

impl Contents for Simulated {
    fn read(&mut self, path: &str) -> io::Result<Vec<u8>> {
        self.files.get(path).map(|(_, bytes)| bytes.clone()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn modified(&mut self, path: &str) -> io::Result<Timestamp> {
        self.files.get(path).map(|(modified, _)| *modified).ok_or(io::ErrorKind::NotFound.into())
    }
}

/// What a store has of it.
struct History {
    watch: ArrayWatch,
    position: Vec<u8>,
    /// By action and object, as identity has it.
    events: BTreeMap<(Action, String), Access>,
    gaps: Vec<Coverage>,
    looks: Vec<Timestamp>,
    /// From looks of which only events were stored until the next ones.
    forgotten: Vec<(Timestamp, Timestamp)>,
    crashed: Option<Timestamp>,
    removal_seconds: i64,
}

const REMOVAL_SECONDS: i64 = 2;

fn target() -> Target {
    Target::Array { namespace: "alice".into(), array: "a".into() }
}

fn watch(position: &[u8]) -> ArrayWatch {
    ArrayWatch::new(target(), "arrays".into(), position).expect("our own position")
}

impl History {
    fn new() -> History {
        History {
            watch: watch(&[]),
            position: Vec::new(),
            events: BTreeMap::new(),
            gaps: Vec::new(),
            looks: Vec::new(),
            forgotten: Vec::new(),
            crashed: None,
            removal_seconds: 0,
        }
    }

    /// Of a place where files go one by one.
    fn slow() -> History {
        let mut history = History { removal_seconds: REMOVAL_SECONDS, ..History::new() };
        history.restart();
        history
    }

    fn restart(&mut self) {
        self.watch = watch(&self.position);
        self.watch.set_removal_seconds(self.removal_seconds);
    }

    fn look(&mut self, array: &mut Simulated) {
        array.now_millis += 1;
        let now = array.now();
        let mut listing = Listing::new();
        // As a folder gives them: in no order.
        for (path, (modified, _)) in array.files.iter().rev() {
            listing.see(path, *modified);
        }
        self.forgotten.extend(self.crashed.take().map(|crashed| (crashed, now)));
        self.looks.push(now);
        self.watch.scan(listing, array, now);
        let mut last = Timestamp::MIN;
        while let Some(batch) = self.watch.take() {
            assert!(batch.quarantine.is_empty());
            self.gaps.extend(batch.coverage);
            for access in batch.accesses {
                assert!(last <= access.event_time, "in the order of time");
                last = access.event_time;
                let object = access.attributes.get("object").expect("has one").to_string();
                // Whether what is gone was merged is a judgement, and no part of the identity.
                let is_known = access.action == Action::DeleteFragments
                    && self.events.contains_key(&(Action::Vacuum, object.clone()));
                if !is_known {
                    self.events.entry((access.action, object)).or_insert(access);
                }
            }
        }
    }

    fn store_position(&mut self) {
        self.position = self.watch.position();
        assert!(self.position.len() < 200);
    }

    fn is_gap(&self, action: Action, at: Timestamp) -> bool {
        self.gaps.iter().any(|gap| {
            gap.actions.contains(&action) && gap.from <= at && gap.to.is_none_or(|to| at <= to)
        })
    }

    /// Whether a look in between is remembered.
    fn looked_between(&self, from: Timestamp, to: Timestamp) -> bool {
        let is_forgotten = |look: &Timestamp| self.forgotten.iter().any(|(from, _)| from == look);
        self.looks.iter().any(|look| (from..to).contains(look) && !is_forgotten(look))
    }
}

fn run(steps: &[Step], mut history: History) -> Result<(Simulated, History), TestCaseError> {
    let mut array = Simulated::new();
    for step in steps {
        // A server looks again at what is going; and removals within two seconds of each other are one, whatever
        // they are.
        if let Some(until) = history.watch.going_until() {
            let until = until.micros().cast_unsigned() / 1000;
            let is_over = match step {
                Step::Wait { millis } => until < array.now_millis + millis,
                step => step.merges_or_removes(),
            };
            if is_over {
                array.now_millis = until.max(array.now_millis);
                history.look(&mut array);
                history.store_position();
            }
        }
        array.do_step(*step);
        match step {
            Step::Look => {
                history.look(&mut array);
                history.store_position();
            }
            Step::Restart | Step::Crash => {
                if *step == Step::Crash {
                    history.look(&mut array);
                    history.crashed = history.looks.last().copied();
                }
                history.restart();
            }
            _ => {}
        }
    }
    for _ in 0..2 {
        history.look(&mut array);
        history.store_position();
        array.now_millis += 1000 * (SETTLE_SECONDS as u64 + 1);
    }
    history.look(&mut array);
    Ok((array, history))
}

/// Nothing is missing, and nothing was invented.
fn compare(array: &Simulated, history: &History) -> Result<(), TestCaseError> {
    for done in &array.done {
        match &done.object {
            Some(object) => compare_object(array, history, done, object)?,
            None => compare_removal(history, done)?,
        }
    }
    for ((action, object), access) in &history.events {
        // What was merged and deleted between two looks is told as deleted when it was merged.
        let look = history.looks.iter().find(|look| **look >= access.event_time);
        // What was written with a time of the writer's own choice may lie within what was merged elsewhere.
        // What was going when the process ended is judged by what is left of it.
        let may_seem_merged = |done: &Done| match (done.action, action) {
            (Action::DeleteFragments, Action::Vacuum) => {
                array.has_own_times || history.removal_seconds > 0
            }
            (Action::Vacuum, Action::DeleteFragments) => history.removal_seconds > 0,
            _ => false,
        };
        let is_done = |done: &&Done| match (&done.object, action) {
            // Seen by what is gone.
            (None, _) => {
                (done.action == *action || may_seem_merged(done))
                    && look.is_some_and(|look| done.at <= *look)
            }
            (Some(made), _) => made == object && done.action == *action,
        };
        let what = access.attributes.get("what").map(Text::as_str);
        let found = array
            .done
            .iter()
            .find(|done| is_done(done) && (done.what == what || may_seem_merged(done)));
        prop_assert!(found.is_some(), "invented: {action:?} {object} {access:?}");
    }
    Ok(())
}

fn compare_object(
    array: &Simulated,
    history: &History,
    done: &Done,
    object: &str,
) -> Result<(), TestCaseError> {
    if let Some(access) = history.events.get(&(done.action, object.to_owned())) {
        match access.written_time {
            WrittenTime::Complete => prop_assert_eq!(access.event_time, done.at),
            WrittenTime::Partial(_) => prop_assert!(access.event_time >= done.at),
        }
        return Ok(());
    }
    // What came and went between two looks without being merged leaves no trace.
    let is_traceless = match done.action {
        Action::QueryWrite | Action::Consolidate | Action::Vacuum | Action::DeleteFragments => {
            array.done.iter().any(|gone| {
                let merges_away = matches!(done.what, Some("commits" | "fragment_metadata"))
                    || matches!(done.action, Action::Vacuum | Action::DeleteFragments);
                let ends = gone.action == Action::DeleteFragments
                    || (merges_away
                        && gone.what == Some("commits")
                        && gone.action == Action::Vacuum);
                gone.at > done.at && ends && !history.looked_between(done.at, gone.at)
            })
        }
        _ => false,
    };
    let is_gap = history.is_gap(done.action, done.at);
    prop_assert!(is_traceless || is_gap, "lost: {done:?}\ngaps {:?}", history.gaps);
    Ok(())
}

/// Whoever saw what is gone tells that it is gone, by the next look.
fn compare_removal(history: &History, done: &Done) -> Result<(), TestCaseError> {
    let next = history.looks.iter().find(|look| **look >= done.at).copied();
    let next = next.expect("there is a last look");
    let was_seen = done.removed.iter().any(|path| {
        let name = Name::parse(path).expect("a name");
        history.events.iter().any(|((_, object), access)| {
            *object == name.to_string() && history.looked_between(access.event_time, done.at)
        })
    });
    let is_told = history.events.iter().any(|((action, _), access)| {
        let what = access.attributes.get("what").map(Text::as_str);
        *action == done.action && what == done.what && (done.at..=next).contains(&access.event_time)
    });
    // One look tells of what several operations removed; of what was merged and deleted, that it was deleted.
    // So does one event of looks at what went one by one.
    let near_micros = match history.removal_seconds {
        0 => 0,
        _ => 2 * SETTLE_SECONDS.unsigned_abs() * 1_000_000,
    };
    let same_look = |at: Timestamp| {
        history.looks.iter().find(|look| **look >= at) == Some(&next)
            || next.micros().abs_diff(at.micros()) <= near_micros
    };
    let is_told_so = is_told
        || history.events.iter().any(|((action, _), access)| {
            scan::REMOVALS.contains(action) && same_look(access.event_time)
        });
    let is_down = history.forgotten.iter().any(|(from, to)| (*from..=*to).contains(&done.at));
    let is_gap = history.is_gap(done.action, done.at);
    prop_assert!(!was_seen || is_told_so || is_gap || is_down, "lost: {done:?}, next look {next}");
    Ok(())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::option::weighted(0.2, 1_600_000_000_000_u64..1_700_000_000_000)
            .prop_map(|at| Step::Write { at }),
        2 => Just(Step::Delete),
        1 => Just(Step::Update),
        1 => Just(Step::Evolve),
        3 => Just(Step::Metadata),
        3 => Just(Step::MergeFragments),
        3 => Just(Step::VacuumFragments),
        2 => Just(Step::MergeCommits),
        2 => Just(Step::VacuumCommits),
        1 => Just(Step::MergeMetadata),
        1 => Just(Step::VacuumMetadata),
        1 => Just(Step::MergeFragmentMetadata),
        1 => Just(Step::DeleteFragments),
        3 => (1_u64..200_000).prop_map(|millis| Step::Wait { millis }),
        5 => Just(Step::Look),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_recorded_is_what_was_done(steps in proptest::collection::vec(step(), 1..60)) {
        for history in [History::new(), History::slow()] {
            let (array, history) = run(&steps, history)?;
            compare(&array, &history)?;
        }
    }

    /// Goal: what goes one by one is one removal, whenever it is looked at meanwhile, and what a removed array
    /// loses first is no deletion of fragments; a restart amid it leaves a gap at most. Method: the files of a
    /// vacuum, of a deletion or of all of an array go in any order, with looks in between, each within the time
    /// that a removal takes; and a restart, or none.
    #[test]
    fn what_goes_one_by_one_is_one_removal(
        what in prop::sample::select(vec![Step::VacuumFragments, Step::DeleteFragments, Step::Restart]),
        writes in 2_usize..5,
        has_merged_commits in any::<bool>(),
        pauses in prop::collection::vec(proptest::option::weighted(0.5, 1_u64..1500), 30),
        order in prop::collection::vec(any::<prop::sample::Index>(), 30),
        restart in proptest::option::weighted(0.3, 0_usize..12),
    ) {
        let mut array = Simulated::new();
        let mut history = History::slow();
        (0..writes).for_each(|_| array.do_step(Step::Write { at: None }));
        if what == Step::VacuumFragments {
            array.do_step(Step::MergeFragments);
        }
        if has_merged_commits {
            array.do_step(Step::MergeCommits);
        }
        // All is long settled.
        array.now_millis += 100_000;
        for _ in 0..2 {
            history.look(&mut array);
            array.now_millis += 100_000;
        }
        history.store_position();
        let before = history.events.len();

        let all = array.files.clone();
        match what {
            Step::Restart => array.files.clear(),
            what => array.do_step(what),
        }
        let left = std::mem::replace(&mut array.files, all.clone());
        // The list of what is ignored is there first.
        array.files.extend(left.iter().map(|(path, file)| (path.clone(), file.clone())));
        let gone = all.into_keys().filter(|path| !left.contains_key(path));
        let (mut going, unseen): (Vec<String>, Vec<String>) =
            gone.partition(|path| Name::parse(path).is_some());
        unseen.iter().for_each(|path| drop(array.files.remove(path)));
        let mut first_gone = None;
        for (n, pause) in pauses.into_iter().enumerate() {
            if restart == Some(n) {
                history.store_position();
                history.restart();
            }
            if !going.is_empty() {
                let at = order[n].index(going.len());
                array.files.remove(&going.swap_remove(at));
            }
            if let Some(millis) = pause {
                array.now_millis += millis;
                history.look(&mut array);
                first_gone = first_gone.or(Some(array.now()));
            }
        }
        prop_assert!(going.is_empty(), "the test is long enough");
        for _ in 0..3 {
            array.now_millis += 1000 * REMOVAL_SECONDS as u64;
            history.look(&mut array);
            first_gone = first_gone.or(Some(array.now()));
        }
        let told: Vec<&Access> =
            history.events.values().filter(|access| {
                matches!(access.action, Action::Vacuum | Action::DeleteFragments | Action::Delete)
            }).collect();
        let made: Vec<_> = history.events.keys().map(|(action, _)| action).collect();
        let expected = match what {
            Step::VacuumFragments => Action::Vacuum,
            Step::DeleteFragments => Action::DeleteFragments,
            _ => Action::Delete,
        };
        let is_gap = history.gaps.iter().any(|gap| gap.actions.contains(&Action::Vacuum));
        match &told[..] {
            [one] => {
                prop_assert!(one.action == expected || is_gap, "{one:?}");
                prop_assert!(restart.is_some() || Some(one.event_time) <= first_gone.max(Some(one.event_time)));
            }
            _ => prop_assert!(is_gap, "{told:#?}, {made:?}"),
        }
        if restart.is_none() {
            prop_assert!(!is_gap && told.len() == 1, "{told:#?} {:?}", history.gaps);
            prop_assert_eq!(history.events.len(), before + 1);
        }
    }
}

/// What is read of an array whose files say anything.
struct Hostile(Vec<Vec<u8>>, usize);

impl Contents for Hostile {
    fn read(&mut self, _: &str) -> io::Result<Vec<u8>> {
        self.1 += 1;
        match self.0.get(self.1 % (self.0.len() + 1)) {
            Some(bytes) => Ok(bytes.clone()),
            None => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    fn modified(&mut self, _: &str) -> io::Result<Timestamp> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn hostile_path() -> impl Strategy<Value = String> {
    let number = prop_oneof![0_u64..4, Just(u64::MAX), 1_795_000_000_000_u64..1_795_000_000_004];
    let stem =
        (number.clone(), number, 0_u128..4, 0_u32..24).prop_map(|(from, to, uuid, version)| {
            let version = if version > 0 { format!("_{version}") } else { String::new() };
            format!("__{from}_{to}_{uuid:032x}{version}")
        });
    let ending = prop::sample::select(vec![
        "__commits/.wrt",
        "__commits/.del",
        "__commits/.upd",
        "__commits/.vac",
        "__commits/.con",
        "__commits/.ign",
        "__commits/.tmp",
        "__meta/",
        "__meta/.vac",
        "__schema/",
        "__fragment_meta/.meta",
        ".ok",
        ".vac",
        ".meta",
        "/__fragment_metadata.tdb",
    ]);
    (stem, ending).prop_map(|(stem, place)| match place.rsplit_once('/') {
        Some((folder, ending)) if !folder.is_empty() => format!("{folder}/{stem}{ending}"),
        _ => format!("{stem}{place}"),
    })
}

proptest! {
    /// Goal: nothing that lies in storage ends the watch, or makes it say the same for ever. Method: any names,
    /// whose contents are any names or any bytes, looked at thrice, once after a restart.
    #[test]
    fn any_files_at_all(
        looks in prop::collection::vec(prop::collection::vec((hostile_path(), 0_i64..200), 0..20), 3),
        lists in prop::collection::vec(prop_oneof![
            prop::collection::vec(hostile_path(), 0..5).prop_map(|paths| (paths.join("\n") + "\n").into_bytes()),
            prop::collection::vec(any::<u8>(), 0..200),
        ], 0..5),
    ) {
        let mut contents = Hostile(lists, 0);
        let mut one = watch(&[]);
        for (n, look) in looks.iter().enumerate() {
            if n == 2 {
                one = watch(&one.position());
            }
            let mut listing = Listing::new();
            for (path, seconds) in look {
                listing.see(path, Timestamp::from_seconds(1_795_000_000 + seconds));
            }
            one.scan(listing, &mut contents, Timestamp::from_seconds(1_795_000_100 + n as i64));
            let mut batches = 0;
            while let Some(batch) = one.take() {
                batches += 1;
                prop_assert!(batch.coverage.iter().all(|gap| Some(gap.from) < gap.to));
                prop_assert!(batches < 10);
            }
        }
    }

    #[test]
    fn any_position(bytes in prop::collection::vec(any::<u8>(), 1..100)) {
        let _ = ArrayWatch::new(target(), "arrays".into(), &bytes);
    }
}

/// Goal: a position of another version is refused by name, and none is read wrongly. Method: a good one with
/// another version.
#[test]
fn a_position_has_a_version() {
    let mut history = History::new();
    history.look(&mut Simulated::new());
    history.store_position();
    let mut position: Position = minicbor::decode(&history.position).expect("our own");
    assert_eq!(watch(&history.position).position(), history.position);
    position.version = 2;
    let refused =
        ArrayWatch::new(target(), "arrays".into(), &position.bytes()).expect_err("refused");
    assert!(refused.to_string().contains("its version is 2"), "{refused}");
}

/// Goal: an array that lies elsewhere afterwards replays nothing. Method: the same files under another watch,
/// which is the same array, and goes on as it.
#[test]
fn a_moved_array_is_the_same() {
    let mut array = Simulated::new();
    array.do_step(Step::Write { at: None });
    let mut here = History::new();
    here.look(&mut array);
    let mut there = watch(&[]);
    let mut listing = Listing::new();
    array.files.iter().for_each(|(path, (modified, _))| listing.see(path, *modified));
    there.scan(listing, &mut array, here.looks[0].plus_seconds(9));
    assert!(there.is_same_array(&here.watch));
    assert!(!watch(&[]).is_same_array(&watch(&[])));
    there.take_over(&here.watch);
    assert!(there.take().is_none());
    here.watch.moved("s3://b/there", here.looks[0].plus_seconds(9));
    let batch = here.watch.take().expect("one event");
    assert_eq!(batch.accesses[0].action, Action::Move);
    assert_eq!(batch.accesses[0].attributes["to"], "s3://b/there");
    here.watch.gone(here.looks[0].plus_seconds(10));
    assert_eq!(here.watch.take().expect("one event").accesses[0].action, Action::Delete);
    assert!(here.watch.position().is_empty());
}

/// Goal: after a move that nobody saw, the history forgets what it has elsewhere, and nothing else, and what may
/// have been merged since the last look there is a gap. Method: an array that is moved while its watch rests
/// and has a merged write without a list.
#[test]
fn a_move_that_nobody_saw_hides_only_what_came_after_the_last_look() {
    let mut array = Simulated::new();
    array.do_step(Step::Write { at: None });
    let mut here = History::new();
    array.now_millis += 100_000;
    here.look(&mut array);
    array.now_millis += 100_000;
    here.look(&mut array);
    here.store_position();
    array.do_step(Step::Write { at: None });
    array.do_step(Step::MergeFragments);
    array.files.retain(|path, _| !path.ends_with(".vac"));
    array.now_millis += 100_000;
    let mut there = watch(&[]);
    let mut listing = Listing::new();
    array.files.iter().for_each(|(path, (modified, _))| listing.see(path, *modified));
    let now = array.now();
    there.scan(listing, &mut array, now);
    there.take_over(&watch(&here.position));
    let told = here.events.keys().map(|(action, object)| (*action, Text::from(object.clone())));
    there.forget_told(told);
    let batch = there.take().expect("what was done since");
    let actions: Vec<Action> = batch.accesses.iter().map(|access| access.action).collect();
    assert_eq!(actions, [Action::QueryWrite, Action::Consolidate]);
    let froms: Vec<Timestamp> = batch.coverage.iter().map(|gap| gap.from).collect();
    assert_eq!(froms, [here.looks[0].plus_seconds(-GRAIN_SECONDS)]);
}

/// Goal: an array that was removed and made anew under the same address is not the one it was. Method: other
/// files between two looks, and while nobody looked.
#[test]
fn another_array_in_its_place() {
    for is_restarted in [false, true] {
        let mut history = History::new();
        history.look(&mut Simulated::new());
        history.store_position();
        if is_restarted {
            history.watch = watch(&history.position);
        }
        let mut other =
            Simulated { now_millis: 1_795_000_009_000, uuids: 9, ..Simulated::default() };
        let stem = other.stem(None, 0);
        other.create(Name { kind: Kind::Schema, stem }, Action::Create, None, b"schema");
        other.do_step(Step::Write { at: None });
        let mut listing = Listing::new();
        other.files.iter().for_each(|(path, (modified, _))| listing.see(path, *modified));
        let now = other.now();
        history.watch.scan(listing, &mut other, now);
        let batch = history.watch.take().expect("events");
        let mut actions: Vec<Action> = batch.accesses.iter().map(|access| access.action).collect();
        actions.sort();
        assert_eq!(actions, [Action::QueryWrite, Action::Create, Action::Delete]);
        assert!(batch.coverage.is_empty());
    }
}

/// Goal: nothing is told of a list that is only not there yet: in a bucket, a look between what was merged and
/// its list once told a vacuum that never was. Method: such a look, with a restart after it and without, and
/// the list afterwards, or never.
#[test]
fn a_list_that_is_not_there_yet_is_waited_for() {
    for (comes, is_restarted) in [(true, false), (true, true), (false, false)] {
        let mut array = Simulated::new();
        let mut history = History::new();
        array.do_step(Step::Write { at: None });
        array.do_step(Step::Write { at: None });
        history.look(&mut array);
        array.do_step(Step::MergeFragments);
        let list = array.names(Kind::FragmentVacuum)[0].to_string();
        let (_, bytes) = array.files.remove(&list).expect("it is there");
        history.look(&mut array);
        history.store_position();
        assert_eq!((history.events.len(), history.gaps.len()), (3, 0), "{:?}", history.gaps);
        if is_restarted {
            history.watch = watch(&history.position);
        }
        if comes {
            array.put(list, &bytes);
        }
        array.now_millis += 1000 * (SETTLE_SECONDS as u64 + 1);
        history.look(&mut array);
        let actions: BTreeSet<Action> = history.events.keys().map(|(action, _)| *action).collect();
        let expected = [Action::Create, Action::QueryWrite, Action::Consolidate];
        assert_eq!(actions, BTreeSet::from(expected));
        let is_gap = history.gaps.iter().any(|gap| gap.actions.contains(&Action::QueryWrite));
        assert_eq!(is_gap, is_restarted || !comes, "{:?}", history.gaps);
    }
}

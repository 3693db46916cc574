//! Goal: what is done to arrays on disk is in their history, once, and what is known of the time in between is
//! true. Method: folders and files as TileDB names them, a real store, a clock that the test sets, one round at
//! a time. What names mean is tested where they are read.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use doorbook_event::arrays::{ArraysChange, Organization, Uuid};
use doorbook_event::registry::RegistryChange;
use doorbook_event::source::Subject;
use doorbook_event::time::{CountingRandom, ManualClock};
use doorbook_event::{Action, Record, Scope};
use doorbook_store::filter::Targets;
use doorbook_store::{Answer, Filter};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::api::atlas::tests::{NOW, operator};
use crate::coverage;
use crate::test_support::options_in;

struct Scene {
    dir: TempDir,
    clock: Arc<ManualClock>,
    random: Arc<CountingRandom>,
    round: Round,
    runtime: Runtime,
}

impl Scene {
    /// A namespace, and a source that watches a folder, every ten seconds.
    fn new() -> Scene {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new(NOW));
        let runtime = Runtime::new().expect("starts");
        let random: Arc<CountingRandom> = Arc::default();
        let round = Scene::round(&dir, &clock, &random, &runtime);
        let scene = Scene { dir, clock, random, round, runtime };
        let organization = Organization {
            name: "lab".into(),
            id: Uuid::random([1; 16]),
            members: std::collections::BTreeSet::new(),
            created: NOW,
        };
        let created = ArraysChange::OrganizationCreated(organization);
        scene.change(RegistryChange::Arrays(created));
        fs::create_dir(scene.root()).expect("made");
        scene.change(RegistryChange::SourceSet(scene.source(&scene.root())));
        scene
    }

    fn round(
        dir: &TempDir,
        clock: &Arc<ManualClock>,
        random: &Arc<CountingRandom>,
        runtime: &Runtime,
    ) -> Round {
        let tools = Tools {
            store: Store::open(options_in(dir.path(), clock, random)).expect("opens"),
            clock: clock.clone(),
            random: random.clone(),
            clock_state: ClockState::default,
            steady: Arc::new(|| Duration::ZERO),
            board: Board::default(),
            data_dir: dir.path().join("data"),
            buckets: Buckets::default(),
            runtime: runtime.handle().clone(),
        };
        Round::new(tools, Reader::Stored)
    }

    fn restart(&mut self) {
        self.store().close().expect("closes");
        self.round = Scene::round(&self.dir, &self.clock, &self.random, &self.runtime);
    }

    fn store(&self) -> &Store {
        &self.round.tools.store
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("arrays")
    }

    fn source(&self, root: &Path) -> Source {
        let path: Text = format!("file://{}", root.display()).into();
        Source {
            name: "lake".into(),
            kind: SourceKind::TiledbStorage,
            subject: Subject::Arrays { namespace: "lab".into(), below: path.clone() },
            path,
            zone: "UTC".into(),
            paused: false,
            agent: None,
            rules: Vec::new(),
            interval_seconds: Some(10),
        }
    }

    fn change(&self, change: RegistryChange) {
        self.store().change_registry(&operator(), vec![change]).expect("allowed");
    }

    /// What changed wakes it.
    fn run(&mut self) {
        self.round.run(&AtomicBool::new(false));
    }

    /// So much later, which is time for a look at everything.
    fn run_later(&mut self) {
        self.clock.set(self.clock.now().plus_seconds(10));
        self.run();
    }

    /// A file appears in an array now.
    fn put(&self, array: &str, path: &str) {
        let path = self.root().join(array).join(path);
        fs::create_dir_all(path.parent().expect("has one")).expect("made");
        let at = std::time::UNIX_EPOCH + Duration::from_micros(self.clock.now().micros() as u64);
        File::create(&path).and_then(|file| file.set_modified(at)).expect("written");
    }

    /// An array is made, whose files have a number of its own in their names.
    fn create(&self, array: &str, n: u8) {
        for folder in ["__commits", "__meta", "__fragments"] {
            fs::create_dir_all(self.root().join(array).join(folder)).expect("made");
        }
        self.put(array, &format!("__schema/__1_1_{}", uuid(n, 0)));
    }

    fn write(&self, array: &str, n: u8, write: u8) {
        let name = format!("__{write}_{write}_{}_22", uuid(n, write));
        self.put(array, &format!("__fragments/{name}/__fragment_metadata.tdb"));
        self.put(array, &format!("__commits/{name}.wrt"));
    }

    /// What was done to an array, from the earliest, but for what was done through Doorbook.
    fn actions(&self, name: &str) -> Vec<&'static str> {
        let filter = Filter { targets: self.targets(name), ..Filter::all(scope(), 1000) };
        let page = self.store().select(&filter).expect("answers");
        let accesses = page.rows.iter().rev().filter_map(|row| match &row.record {
            Record::Access(access) if !access.action.is_ours() => Some(access.action.word()),
            _ => None,
        });
        accesses.collect()
    }

    fn targets(&self, name: &str) -> Targets {
        let catalog = self.store().catalog();
        let array = catalog.registry.arrays().find("lab", name).expect("is registered");
        Targets::Members(vec![("lab".into(), array.id.to_string().into())])
    }

    fn coverage(&self, name: &str, action: Action) -> Answer {
        let targets = self.targets(name);
        let catalog = self.store().catalog();
        let array = catalog.registry.arrays().find("lab", name).expect("is registered");
        let from = array.created;
        let filter = Filter {
            targets,
            actions: vec![action],
            from,
            to: self.clock.now(),
            ..Filter::all(scope(), 0)
        };
        coverage::of(self.store(), &catalog.registry, &filter, self.clock.now())
    }

    fn status(&self) -> Status {
        self.round.tools.board.statuses()["lake"].clone()
    }
}

fn scope() -> Scope {
    Scope::Namespace("lab".into())
}

fn uuid(n: u8, write: u8) -> String {
    format!("{n:02x}{write:02x}d23b8b8e515570068a3742479800")
}

/// Goal: an array that is found is registered and has its history; what is written later comes to it, and
/// nothing twice, also after a restart.
#[test]
fn arrays_are_found_and_followed() {
    let mut scene = Scene::new();
    scene.create("a", 1);
    scene.write("a", 1, 1);
    scene.create("x/b", 2);
    scene.run();
    assert_eq!(scene.actions("a"), ["create", "query_write"]);
    assert_eq!(scene.actions("x/b"), ["create"]);
    // The kernel tells of it: no look at everything is due.
    scene.clock.set(scene.clock.now().plus_seconds(1));
    scene.write("a", 1, 2);
    scene.run();
    assert_eq!(scene.actions("a"), ["create", "query_write", "query_write"]);
    scene.run_later();
    let writes = scene.coverage("a", Action::QueryWrite);
    assert_eq!(coverage::word(writes.grade), "complete", "{writes:?}");
    scene.restart();
    scene.run();
    scene.run_later();
    scene.write("x/b", 2, 1);
    scene.run_later();
    assert_eq!(scene.actions("a"), ["create", "query_write", "query_write"]);
    assert_eq!(scene.actions("x/b"), ["create", "query_write"]);
    assert_eq!(scene.status().state, State::Following);
    let writes = scene.coverage("a", Action::QueryWrite);
    let gaps: Vec<_> = writes.gaps.iter().map(|gap| &*gap.cause).collect();
    assert!(gaps.iter().all(|cause| cause.contains("while nobody looked")), "{writes:?}");
    let reads = scene.coverage("a", Action::QueryRead);
    assert_eq!(&*reads.gaps[0].cause, "no source");
}

/// Goal: whoever deregistered an array does not get it back by and by, and one who registers it again gets
/// its history under the new id.
#[test]
fn what_was_deregistered_stays_so() {
    let mut scene = Scene::new();
    scene.create("a", 1);
    scene.run();
    let id = {
        let catalog = scene.store().catalog();
        catalog.registry.arrays().find("lab", "a").expect("is registered").clone()
    };
    scene.change(RegistryChange::Arrays(ArraysChange::ArrayRemoved { id: id.id, deleted: false }));
    scene.write("a", 1, 1);
    scene.run_later();
    scene.restart();
    scene.run_later();
    assert!(scene.store().catalog().registry.arrays().find("lab", "a").is_none());
    let again = doorbook_event::arrays::Array { id: Uuid::random([9; 16]), ..id };
    scene.change(RegistryChange::Arrays(ArraysChange::ArrayRegistered(again)));
    scene.run_later();
    assert_eq!(scene.actions("a"), ["create", "query_write"]);
}

/// Goal: an array that is moved has one history of writes, and one that is removed is told to be.
#[test]
fn arrays_move_and_go() {
    let mut scene = Scene::new();
    scene.create("a", 1);
    scene.write("a", 1, 1);
    scene.create("b", 2);
    scene.run();
    scene.clock.set(scene.clock.now().plus_seconds(2));
    fs::rename(scene.root().join("a"), scene.root().join("z")).expect("renamed");
    fs::remove_dir_all(scene.root().join("b")).expect("removed");
    scene.run();
    assert_eq!(scene.actions("a"), ["create", "query_write", "move"]);
    assert_eq!(scene.actions("b"), ["create", "delete"]);
    assert_eq!(scene.actions("z"), [""; 0], "what was done was done where it was");
    scene.write("z", 1, 2);
    scene.run_later();
    assert_eq!(scene.actions("z"), ["query_write"]);
    scene.run_later();
    assert_eq!(scene.actions("b"), ["create", "delete"], "once");
}

/// Goal: one array that cannot be looked at is a gap of that one, told by name, and no gap of the others;
/// it ends when it can be.
#[test]
fn one_array_keeps_no_other_back() {
    let mut scene = Scene::new();
    scene.create("a", 1);
    scene.create("b", 2);
    scene.run();
    scene.run_later();
    let meta = scene.root().join("a/__meta");
    fs::remove_dir(&meta).expect("removed");
    std::os::unix::fs::symlink("/etc", &meta).expect("made");
    scene.run_later();
    scene.write("b", 2, 1);
    scene.run_later();
    let message = scene.status().message.expect("says so");
    assert!(message.contains("arrays/a: __meta is a file or a link"), "{message}");
    assert_eq!(scene.actions("b"), ["create", "query_write"]);
    assert_eq!(coverage::word(scene.coverage("b", Action::QueryWrite).grade), "complete");
    let blind = scene.coverage("a", Action::QueryWrite);
    assert!(
        blind.gaps.iter().any(|gap| gap.cause.contains("link") && gap.to.is_none()),
        "{blind:?}"
    );
    fs::remove_file(&meta).expect("removed");
    scene.run_later();
    let mended = scene.coverage("a", Action::QueryWrite);
    assert_eq!(coverage::word(mended.grade), "complete", "{mended:?}");
}

/// Goal: a place that cannot be looked at is a state and a gap; nothing in the data directory is looked at,
/// and no link followed.
#[test]
fn a_place_that_cannot_be_looked_at() {
    let mut scene = Scene::new();
    scene.create("a", 1);
    scene.run();
    let elsewhere = scene.dir.path().join("elsewhere");
    fs::rename(scene.root(), &elsewhere).expect("renamed");
    for _ in 0..7 {
        scene.run_later();
    }
    assert_eq!(scene.status().state, State::Waiting);
    let gone = scene.coverage("a", Action::QueryWrite);
    assert!(gone.gaps[0].cause.contains("cannot be read"), "{gone:?}");
    fs::rename(&elsewhere, scene.root()).expect("renamed");
    scene.run_later();
    assert_eq!(scene.status().state, State::Following);
    assert_eq!(scene.actions("a"), ["create"]);
    let mended = scene.coverage("a", Action::QueryWrite);
    assert_eq!(coverage::word(mended.grade), "complete", "{mended:?}");
    std::os::unix::fs::symlink(scene.root().join("a"), scene.root().join("link")).expect("made");
    scene.run_later();
    assert!(scene.store().catalog().registry.arrays().find("lab", "link").is_none());
    assert_eq!(scene.status().message.as_deref(), Some("1 link below is not followed"));
    let data = scene.dir.path().join("data");
    fs::create_dir_all(data.join("x/__schema")).expect("made");
    scene.change(RegistryChange::SourceSet(scene.source(&data)));
    scene.run_later();
    let message = scene.status().message.expect("says so");
    assert!(message.contains("is in the data directory"), "{message}");
}

/// Goal: reading all again makes no gap of what was seen when it happened: a replay painted one over it, once. Method:
/// a merged write whose list was vacuumed while it was watched, and a replay; the same of an array that came there
/// merged already, to a place that was watched and to one that was not.
#[test]
fn a_replay_makes_no_gap_of_what_was_watched() {
    for (is_watched, is_place_watched) in [(true, true), (false, true), (false, false)] {
        let mut scene = Scene::new();
        if is_watched {
            scene.create("a", 1);
        }
        if is_place_watched {
            scene.run();
            scene.run_later();
        }
        let merged = "__1_2_01ffd23b8b8e515570068a3742479800_22";
        scene.create("a", 1);
        scene.write("a", 1, 1);
        scene.write("a", 1, 2);
        if is_watched {
            scene.run_later();
        }
        scene.put("a", &format!("__fragments/{merged}/__fragment_metadata.tdb"));
        scene.put("a", &format!("__commits/{merged}.wrt"));
        let list: String =
            [1, 2].iter().map(|n| format!("/__fragments/__{n}_{n}_{}_22\n", uuid(1, *n))).collect();
        let list_path = scene.root().join(format!("a/__commits/{merged}.vac"));
        fs::write(&list_path, list).expect("written");
        if is_watched {
            scene.run_later();
        }
        fs::remove_file(&list_path).expect("removed");
        for n in [1, 2] {
            let commit = format!("a/__commits/__{n}_{n}_{}_22.wrt", uuid(1, n));
            fs::remove_file(scene.root().join(commit)).expect("removed");
        }
        for _ in 0..10 {
            scene.run_later();
        }
        let gaps = |scene: &Scene| scene.store().watched().unseen_of_arrays(&scope()).len();
        let before = gaps(&scene);
        assert_eq!(before == 0, is_watched);
        scene.change(RegistryChange::SourceReplayed { name: "lake".into() });
        scene.run_later();
        assert_eq!(
            gaps(&scene),
            before,
            "{:?}",
            scene.store().watched().unseen_of_arrays(&scope())
        );
    }
}

/// Goal: an array that was moved, also while nobody looked, has one history of writes, and reading all again
/// adds nothing to it, however often it was moved. Method: moves with a server and without, a replay after
/// each, and writes after that.
#[test]
fn a_moved_array_has_one_history() {
    for is_down in [false, true] {
        let mut scene = Scene::new();
        scene.create("a", 1);
        scene.write("a", 1, 1);
        scene.run();
        for (n, (from, to)) in [("a", "m"), ("m", "z")].into_iter().enumerate() {
            scene.clock.set(scene.clock.now().plus_seconds(100));
            fs::rename(scene.root().join(from), scene.root().join(to)).expect("renamed");
            if is_down {
                scene.restart();
            }
            scene.run_later();
            scene.write(to, 1, 2 + n as u8);
            scene.run_later();
            for _ in 0..2 {
                scene.change(RegistryChange::SourceReplayed { name: "lake".into() });
                scene.run_later();
            }
        }
        assert_eq!(scene.actions("a"), ["create", "query_write", "move"], "{is_down}");
        assert_eq!(scene.actions("m"), ["query_write", "move"], "{is_down}");
        assert_eq!(scene.actions("z"), ["query_write"], "{is_down}");
    }
}

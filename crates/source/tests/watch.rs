//! Goal: what a watch says of single situations: restarts, another host's log, what is no log at all.
//! Method: a directory, a hand that changes it, and the watch polled in between. Sequences of what is
//! done to logs are in `watch_model`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use doorbook_event::record::{Coverage, Grade};
use doorbook_event::{HostName, Peer, Principal, Target, Timestamp};
use doorbook_source::Batch;
use doorbook_source::follow::{Follow, Found, Start};
use doorbook_source::input::{Content, ErrorKind};
use doorbook_source::watch::{Polled, Settings, Watch};

struct Scene {
    _temporary: tempfile::TempDir,
    directory: PathBuf,
    settings: Settings,
    watch: Watch,
    now: i64,
    batch: Batch,
}

impl Scene {
    fn new(pattern: &str) -> Scene {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let directory = temporary.path().to_owned();
        let settings = Settings {
            source: "s".into(),
            path: (&*directory.join(pattern).to_string_lossy()).into(),
            target: Target::Host { cluster: "c".into(), host: "db-1.example.com:27017".into() },
            names: vec![HostName::parse("db-1.example.com").expect("a name").0],
            zone: jiff::tz::TimeZone::UTC,
            start: Start::Oldest,
            batch_size_bytes: doorbook_source::Batch::SIZE_BYTES_MAX,
        };
        let watch = Watch::open(settings.clone(), None).expect("a watch");
        let batch = Batch::default();
        Scene { _temporary: temporary, directory, settings, watch, now: 0, batch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn append(&self, name: &str, bytes: &str) {
        append(&self.path(name), bytes);
    }

    /// Polls to the end; gives who logged in.
    #[track_caller]
    fn poll(&mut self, expect: &[&str]) -> Polled {
        self.batch = Batch::default();
        let mut all = Polled::default();
        for _ in 0..100 {
            self.now += 2_000_000;
            let now = Timestamp::from_micros(self.now);
            let polled = self.watch.poll(now, &mut self.batch).expect("this host's log");
            all = Polled {
                lines: all.lines + polled.lines,
                next_file: all.next_file | polled.next_file,
                since: all.since.or(polled.since),
                host_named: all.host_named.or(polled.host_named.clone()),
                ..polled
            };
            if !all.more {
                break;
            }
        }
        assert!(!all.more, "polling comes to no end");
        assert_eq!(self.users(), expect);
        all
    }

    fn users(&self) -> Vec<&str> {
        let mut users = Vec::new();
        for access in &self.batch.accesses {
            let Principal::User { name, .. } = &access.principal else { panic!("a user") };
            users.push(name.as_str());
        }
        users
    }

    /// The reader dies and is started again with its position.
    fn restart(&mut self) {
        let position = self.watch.position();
        self.watch = Watch::open(self.settings.clone(), Some(&position)).expect("a watch");
    }

    /// Gaps as `grade cause from..to`, times as seconds.
    fn gaps(&self) -> Vec<String> {
        let second = |at: Timestamp| (at.millis() / 1000) - BASE;
        let show = |gap: &Coverage| {
            let to = gap.to.map_or(String::new(), |to| second(to).to_string());
            format!("{} {} {}..{to}", gap.grade.word(), gap.cause, second(gap.from))
        };
        self.batch.coverage.iter().map(show).collect()
    }
}

fn append(path: &Path, bytes: &str) {
    let file = File::options().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(bytes.as_bytes())).expect("written");
}

/// Long before the files of a test are made, as the lines of a log that is renamed.
const BASE: i64 = 1_577_836_800;

fn entry(second: i64, component: &str, id: u64, message: &str, attributes: &str) -> String {
    let time = Timestamp::from_seconds(BASE + second).to_string().replace('Z', ".000+00:00");
    let component = format!("\"{component}\",");
    let id = format!("{id},");
    format!(
        r#"{{"t":{{"$date":"{time}"}},"s":"I",  "c":{component:<11}"id":{id:<9}"ctx":"conn1","msg":"{message}","attr":{attributes}}}"#
    ) + "\n"
}

fn login(second: i64, user: &str) -> String {
    let attributes = format!(
        r#"{{"mechanism":"SCRAM-SHA-256","speculative":true,"principalName":"{user}","authenticationDatabase":"admin","remote":"10.0.0.1:50000","extraInfo":{{}}}}"#
    );
    entry(second, "ACCESS", 20250, "Authentication succeeded", &attributes)
}

fn start(second: i64, host: &str, port: u16) -> String {
    let attributes = format!(
        r#"{{"pid":1,"port":{port},"dbPath":"/x","architecture":"64-bit","host":"{host}"}}"#
    );
    entry(second, "CONTROL", 4_615_611, "MongoDB starting", &attributes)
}

fn gzip(path: &Path) {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&fs::read(path).expect("readable")).expect("to memory");
    let name = format!("{}.gz", path.display());
    fs::write(name, packed.finish().expect("to memory")).expect("written");
    fs::remove_file(path).expect("removed");
}

#[test]
fn the_oldest_file_comes_first_whatever_it_is_called() {
    let mut scene = Scene::new("mongod.log");
    scene.append("mongod.log.2", &login(1, "a"));
    gzip(&scene.path("mongod.log.2"));
    scene.append("mongod.log.2020-01-01T00-00-09", &login(5, "b"));
    scene.append("mongod.log-20200101", &login(9, "c"));
    scene.append("mongod.log", &login(10, "d"));
    scene.append("mongod.log.bak", &login(11, "x"));
    scene.append("other.log", &login(12, "y"));
    let polled = scene.poll(&["a", "b", "c", "d"]);
    assert_eq!(polled.since, Some(Timestamp::from_seconds(BASE + 1)));
    assert!(polled.at_end && polled.trouble.is_none());
    assert_eq!((polled.behind_bytes, scene.gaps().len()), (0, 0));
    scene.restart();
    scene.append("mongod.log", &login(11, "e"));
    let polled = scene.poll(&["e"]);
    assert!(polled.since.is_none() && !polled.next_file);
}

#[test]
fn lines_of_two_files_are_never_in_one_batch() {
    let mut scene = Scene::new("mongod.log");
    scene.append("mongod.log.1", &login(1, "a"));
    scene.append("mongod.log", &login(2, "b"));
    for expect in ["a", "b"] {
        let mut batch = Batch::default();
        let polled = scene.watch.poll(Timestamp::default(), &mut batch).expect("readable");
        scene.batch = batch;
        assert_eq!(scene.users(), [expect]);
        assert!(polled.next_file);
        assert_eq!(polled.more, expect == "a");
    }
}

#[test]
fn the_folders_of_kubernetes_and_docker() {
    let cri = |line: String| format!("2020-01-01T00:00:00.000000000Z stdout F {line}");
    let mut scene = Scene::new("prod_orders-0_*/mongod/*.log");
    for pod in ["prod_orders-0_1111", "prod_orders-0_2222", "prod_orders-1_3333"] {
        fs::create_dir_all(scene.path(pod).join("mongod")).expect("made");
    }
    scene.append("prod_orders-0_1111/mongod/0.log.20200101-000001.gz", "");
    scene.append("prod_orders-0_1111/mongod/0.log", &cri(login(3, "c")));
    scene.append("prod_orders-0_1111/mongod/1.log", &cri(login(4, "d")));
    scene.append("prod_orders-0_2222/mongod/0.log", &cri(login(5, "e")));
    scene.append("prod_orders-1_3333/mongod/0.log", &cri(login(6, "x")));
    let first = scene.path("prod_orders-0_1111/mongod/0.log.20200101-000000");
    append(&first, &cri(login(1, "a")));
    gzip(&first);
    scene.poll(&["a", "c", "d", "e"]);
    scene.append("prod_orders-0_2222/mongod/1.log", &cri(login(7, "f")));
    scene.poll(&["f"]);
    assert_eq!(scene.gaps(), [""; 0]);

    let mut scene = Scene::new("*/*-json.log");
    fs::create_dir(scene.path("77aa")).expect("made");
    let docker = |line: String| {
        let line = line.replace('"', "\\\"").replace('\n', "\\n");
        format!("{{\"log\":\"{line}\",\"stream\":\"stdout\",\"time\":\"2020-01-01T00:00:00Z\"}}\n")
    };
    scene.append("77aa/77aa-json.log.1", &docker(login(1, "a")));
    scene.append("77aa/77aa-json.log", &docker(login(2, "b")));
    scene.poll(&["a", "b"]);
}

#[test]
fn a_restart_knows_what_earlier_lines_said() {
    let mut scene = Scene::new("mongod.log");
    let accepted = r#"{"remote":"10.0.3.7:50001","connectionId":1,"connectionCount":1}"#;
    let restricted = r#"{"user":{"user":"eve","db":"admin"},"reason":"x"}"#;
    scene.append("mongod.log", &start(1, "db-1", 27017));
    scene.append("mongod.log", &entry(2, "NETWORK", 22943, "Connection accepted", accepted));
    scene.append("mongod.log", &login(3, "a"));
    scene.poll(&["a"]);
    // The connection goes on in the next file.
    fs::rename(scene.path("mongod.log"), scene.path("mongod.log.1")).expect("renamed");
    scene.append("mongod.log", &login(4, "b"));
    scene.poll(&["b"]);
    gzip(&scene.path("mongod.log.1"));
    scene.restart();
    let message = "Failed to acquire user because of unmet authentication restrictions";
    scene.append("mongod.log", &entry(5, "ACCESS", 20240, message, restricted));
    scene.poll(&["eve"]);
    let access = &scene.batch.accesses[0];
    assert_eq!(access.peer, Peer::ip(std::net::Ipv4Addr::new(10, 0, 3, 7).into(), Some(50001)));
    assert_eq!(access.process_start, Some(Timestamp::from_seconds(BASE + 1)));
}

/// Goal: context is bounded, and where it begins changes no place. Method: 70 MB between two lines of
/// the same connection; a line that is put aside tells its place.
#[test]
fn what_is_longer_ago_than_64_mib_is_not_read_again() {
    let filler = entry(2, "COMMAND", 51803, &"x".repeat(1_000_000), "{}");
    let broken = entry(4, "ACCESS", 20250, "Authentication succeeded", "{").replace("{}\n", "\n");
    let mut scene = Scene::new("mongod.log");
    scene.append("mongod.log", &login(1, "a"));
    for _ in 0..70 {
        scene.append("mongod.log", &filler);
    }
    scene.append("mongod.log", &login(3, "b"));
    scene.poll(&["a", "b"]);
    for is_packed in [false, true] {
        let size_bytes = 2 * login(1, "a").len() + 70 * filler.len();
        scene.append("mongod.log", &broken);
        if is_packed {
            fs::rename(scene.path("mongod.log"), scene.path("mongod.log.1")).expect("renamed");
            gzip(&scene.path("mongod.log.1"));
            scene.append("mongod.log", &login(9, "d"));
        }
        let position = scene.watch.position();
        scene.restart();
        scene.poll(if is_packed { &["d"] } else { &[] });
        let place = &scene.batch.quarantine[0].place;
        assert_eq!((place.line, place.offset_bytes), (73, size_bytes as u64), "{is_packed}");
        scene.watch = Watch::open(scene.settings.clone(), Some(&position)).expect("a watch");
        let file = File::options().write(true).open(scene.path("mongod.log")).expect("open");
        if !is_packed {
            file.set_len(size_bytes as u64).expect("cut");
        }
    }
}

/// Goal: that the log is quiet is told when it begins, once, and its end after a restart too, also
/// where the line that began it is gone.
#[test]
fn a_quiet_log_is_told_at_once() {
    let set = |second: i64, value: bool| {
        let attributes =
            format!(r#"{{"parameterName":"quiet","newValue":"{value}","oldValue":"{}"}}"#, !value);
        entry(second, "COMMAND", 23435, "Successfully set parameter to new value", &attributes)
    };
    let mut scene = Scene::new("mongod.log");
    scene.append("mongod.log", &login(1, "a"));
    scene.append("mongod.log", &set(2, true));
    scene.poll(&["a"]);
    assert_eq!(scene.gaps(), ["blind setParameter quiet=true 2.."]);
    scene.restart();
    scene.append("mongod.log", &login(3, "b"));
    scene.poll(&["b"]);
    assert_eq!(scene.gaps(), [""; 0]);
    fs::rename(scene.path("mongod.log"), scene.path("mongod.log.1")).expect("renamed");
    scene.append("mongod.log", &login(4, "c"));
    scene.poll(&["c"]);
    fs::remove_file(scene.path("mongod.log.1")).expect("removed");
    scene.restart();
    scene.append("mongod.log", &set(9, false));
    scene.poll(&[]);
    assert_eq!(scene.gaps(), ["blind setParameter quiet=true 2..9"]);
}

#[test]
fn another_hosts_log_is_refused_whole() {
    let mut scene = Scene::new("mongod.log");
    scene.append("mongod.log", &(start(1, "db-1", 27017) + &login(2, "a")));
    let polled = scene.poll(&["a"]);
    assert_eq!(polled.host_named.map(|host| host.to_string()), Some("db-1:27017".to_owned()));
    fs::rename(scene.path("mongod.log"), scene.path("mongod.log.1")).expect("renamed");
    scene.append("mongod.log", &(login(3, "x") + &start(4, "db-2", 27017) + &login(5, "y")));
    let before = scene.watch.position();
    for _ in 0..2 {
        let mut batch = Batch::default();
        let error = scene.watch.poll(Timestamp::default(), &mut batch).expect_err("another host");
        assert_eq!(error.kind(), ErrorKind::Foreign);
        assert!(error.to_string().ends_with("mongod.log: is the log of db-2:27017"), "{error}");
        assert_eq!(batch, Batch::default());
        assert_eq!(scene.watch.position(), before);
    }
    // The right one is put there after all.
    fs::remove_file(scene.path("mongod.log")).expect("removed");
    scene.append("mongod.log", &(start(6, "db-1.example.com", 27017) + &login(7, "b")));
    scene.poll(&["b"]);
    for name in ["127.0.0.1", "[::1]:27017", "localhost"] {
        let mut scene = Scene::new("mongod.log");
        scene.settings.names = vec![HostName::parse(name).expect("a name").0];
        scene.watch = Watch::open(scene.settings.clone(), None).expect("a watch");
        scene.append("mongod.log", &(start(1, "vm", 27017) + &login(2, "a")));
        scene.poll(&["a"]);
    }
    for (host, port) in [("db-1", 27018), ("db-11", 27017), ("db", 27017)] {
        let mut scene = Scene::new("mongod.log");
        scene.append("mongod.log", &start(1, host, port));
        let polled = scene.watch.poll(Timestamp::default(), &mut Batch::default());
        assert_eq!(polled.expect_err("another host").kind(), ErrorKind::Foreign, "{host}:{port}");
    }
}

#[test]
fn a_file_that_is_gone_is_told_with_its_interval() {
    let mut scene = Scene::new("mongod.log");
    scene.append("mongod.log", &login(1, "a"));
    scene.poll(&["a"]);
    scene.append("mongod.log", &login(2, "lost"));
    // Made while the old one is there, so that it is another inode on every file system.
    scene.append("new", &login(5, "b"));
    scene.restart();
    fs::remove_file(scene.path("mongod.log")).expect("removed");
    let polled = scene.poll(&[]);
    assert_eq!(polled.trouble.expect("absent").kind(), ErrorKind::Absent);
    fs::rename(scene.path("new"), scene.path("mongod.log")).expect("renamed");
    scene.poll(&["b"]);
    assert_eq!(scene.gaps(), ["blind rotated away 1..5"]);
}

#[test]
fn a_damaged_archive_gives_what_it_has_and_its_end_is_told() {
    let mut scene = Scene::new("mongod.log");
    let path = scene.path("mongod.log.1");
    let users: Vec<String> = (0..2000_i64).map(|n| format!("{}", n * 7919 % 2003)).collect();
    for (n, user) in (0..).zip(&users) {
        append(&path, &login(n, user));
    }
    gzip(&path);
    let packed = scene.path("mongod.log.1.gz");
    let bytes = fs::read(&packed).expect("readable");
    fs::write(&packed, &bytes[..bytes.len() / 2]).expect("written");
    scene.append("mongod.log", &login(5000, "live"));
    let mut batch = Batch::default();
    while scene.watch.poll(Timestamp::default(), &mut batch).expect("this host's log").more {}
    scene.batch = batch;
    let n_users = scene.users().len();
    assert!(n_users > 500 && scene.users()[..n_users - 1] == users[..n_users - 1]);
    assert_eq!(scene.users()[n_users - 1], "live");
    let gap = &scene.batch.coverage[0];
    assert!(gap.grade == Grade::Blind && gap.cause.ends_with("mongod.log.1.gz is damaged"));
    assert_eq!(gap.to, Some(Timestamp::from_seconds(BASE + 5000)));
}

#[test]
fn a_log_that_is_cut_short_without_a_copy_is_told() {
    let mut scene = Scene::new("mongod.log");
    scene.append("mongod.log", &login(1, "a"));
    scene.poll(&["a"]);
    fs::write(scene.path("mongod.log"), login(3, "b") + &login(4, "c")).expect("cut and written");
    scene.poll(&["b", "c"]);
    assert_eq!(scene.gaps(), ["blind cut short before it was read to its end 1..3"]);
    // It shrinks, and keeps its beginning.
    scene.append("mongod.log", &login(5, "d"));
    scene.poll(&["d"]);
    let file = File::options().write(true).open(scene.path("mongod.log")).expect("open");
    file.set_len(login(3, "b").len() as u64).expect("cut");
    scene.poll(&[]);
    scene.append("mongod.log", &login(7, "e"));
    scene.poll(&["e"]);
    assert_eq!(scene.gaps(), ["best_effort cut short 5..7"]);
}

/// Goal: a hole at a file's beginning, longer than any line may be, is neither content nor a line, whether
/// it has blocks or none, in a live file, a copy and an archive. Method: a writer that does not append,
/// whose file is cut short twice.
#[test]
fn a_hole_is_no_content() {
    const HOLE_BYTES: u64 = 40 << 20;
    for has_blocks in [false, true] {
        let mut scene = Scene::new("mongod.log");
        let live = scene.path("mongod.log");
        let write_behind_hole = |bytes: &str| {
            let file = File::create(&live).expect("cut");
            match has_blocks {
                true => (&file).write_all(&vec![0; HOLE_BYTES as usize]).expect("written"),
                false => file.set_len(HOLE_BYTES).expect("long"),
            }
            append(&live, bytes);
        };
        write_behind_hole(&login(1, "a"));
        scene.poll(&["a"]);
        append(&live, &login(2, "b"));
        fs::copy(&live, scene.path("mongod.log.1")).expect("copied");
        write_behind_hole(&login(5, "c"));
        scene.restart();
        scene.poll(&["b", "c"]);
        let cause = "copied and cut short: what was written between the two is lost";
        assert_eq!(scene.gaps(), [format!("best_effort {cause} 2..5")]);
        assert_eq!(scene.batch.quarantine, []);

        gzip(&scene.path("mongod.log.1"));
        scene.settings.start = Start::Oldest;
        scene.watch = Watch::open(scene.settings.clone(), None).expect("a watch");
        scene.poll(&["a", "b", "c"]);
        assert_eq!(scene.batch.quarantine, []);
    }
}

/// Goal: at the very first start nothing shows that a rotated file is a copy but the age of the live
/// one. Method: lines that are younger than the file, as with copytruncate.
/// Goal: a reader that was away while a log was cut short twice tells of both. Method: it has read all,
/// or not all, of what was there before the first time.
#[test]
fn each_cut_is_told() {
    for has_read_all in [true, false] {
        let mut scene = Scene::new("mongod.log");
        scene.append("mongod.log", &login(1, "ann"));
        scene.poll(&["ann"]);
        if !has_read_all {
            scene.append("mongod.log", &login(2, "bob"));
        }
        fs::copy(scene.path("mongod.log"), scene.path("mongod.log.2")).expect("copied");
        fs::write(scene.path("mongod.log"), login(4, "cid")).expect("cut and written");
        fs::copy(scene.path("mongod.log"), scene.path("mongod.log.1")).expect("copied");
        fs::write(scene.path("mongod.log"), login(6, "dan")).expect("cut and written");
        scene.restart();
        let (expect, from): (&[&str], _) = match has_read_all {
            true => (&["cid", "dan"], 1),
            false => (&["bob", "cid", "dan"], 2),
        };
        scene.poll(expect);
        let cause = "best_effort copied and cut short: what was written between the two is lost";
        assert_eq!(scene.gaps(), [format!("{cause} {from}..4"), format!("{cause} 4..6")]);
    }
}

/// Goal: a copy is recognised although the file that was cut short has no line yet. Method: the first
/// look falls between the two.
#[test]
fn a_copy_is_recognised_beside_an_empty_file() {
    let year = 365 * 86_400;
    let mut scene = Scene::new("mongod.log");
    scene.append("mongod.log", "");
    scene.poll(&[]);
    scene.append("mongod.log", &(login(100 * year, "a") + &login(100 * year + 1, "b")));
    fs::copy(scene.path("mongod.log"), scene.path("mongod.log.1")).expect("copied");
    fs::write(scene.path("mongod.log"), "").expect("cut short");
    scene.poll(&["a", "b"]);
    scene.append("mongod.log", &login(100 * year + 4, "c"));
    scene.poll(&["c"]);
    let grades: Vec<Grade> = scene.batch.coverage.iter().map(|gap| gap.grade).collect();
    assert_eq!(grades, [Grade::BestEffort], "{:?}", scene.gaps());
}

#[test]
fn copies_from_before_the_first_start_are_recognised() {
    let year = 365 * 86_400;
    let mut scene = Scene::new("mongod.log");
    scene.append("mongod.log", &login(100 * year + 9, "c"));
    scene.append("mongod.log.1", &login(100 * year + 5, "b"));
    scene.append("mongod.log.2", &login(100 * year, "a"));
    scene.poll(&["a", "b", "c"]);
    assert!(scene.batch.coverage.iter().all(|gap| gap.grade == Grade::BestEffort));
    assert_eq!(scene.batch.coverage.len(), 2, "{:?}", scene.gaps());
}

#[test]
fn what_is_no_file_is_told_and_never_waited_for() {
    #[track_caller]
    fn check(scene: &mut Scene, expect: &str) {
        let polled = scene.poll(&[]);
        let trouble = polled.trouble.expect("trouble");
        assert!(trouble.to_string().ends_with(expect), "{trouble}");
        assert!(!polled.at_end);
    }
    let mut scene = Scene::new("mongod.log");
    check(&mut scene, "mongod.log: there is no such file");
    let path = scene.path("mongod.log");
    fs::create_dir(&path).expect("made");
    check(&mut scene, "mongod.log: is not a regular file");
    fs::remove_dir(&path).expect("removed");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
    assert!(made.success());
    check(&mut scene, "mongod.log: is not a regular file");
    fs::remove_file(&path).expect("removed");
    std::os::unix::fs::symlink("/dev/zero", &path).expect("linked");
    check(&mut scene, "mongod.log: is not a regular file");
    fs::remove_file(&path).expect("removed");
    std::os::unix::fs::symlink(&path, &path).expect("linked");
    check(&mut scene, "mongod.log: is a link that leads to itself");
    fs::remove_file(&path).expect("removed");
    scene.append("mongod.log", &login(1, "a"));
    assert!(scene.poll(&["a"]).trouble.is_none());
    // What is at hand is read on, whatever takes its name.
    fs::rename(&path, scene.path("mongod.log.1")).expect("renamed");
    fs::create_dir(&path).expect("made");
    scene.append("mongod.log.1", &login(2, "b"));
    let trouble = scene.poll(&["b"]).trouble.expect("trouble");
    assert!(trouble.to_string().ends_with("is not a regular file"));
}

#[test]
fn a_directory_of_ten_thousand_files() {
    let mut scene = Scene::new("mongod.log");
    for n in 0..10_000 {
        File::create(scene.path(&format!("mongod-{n}.log"))).expect("made");
    }
    scene.append("mongod.log", &login(1, "a"));
    scene.poll(&["a"]);
    let mut settings = scene.settings.clone();
    settings.path = (&*scene.path("*.log").to_string_lossy()).into();
    let mut watch = Watch::open(settings, None).expect("a watch");
    let polled = watch.poll(Timestamp::default(), &mut Batch::default()).expect("told");
    let trouble = polled.trouble.expect("too many").to_string();
    assert!(trouble.contains("stands for more than 1000 files"), "{trouble}");
}

#[test]
fn a_line_that_never_ends_is_put_aside_in_bounded_memory() {
    let mut scene = Scene::new("mongod.log");
    scene.append("mongod.log", &login(1, "a"));
    let long = login(2, &"x".repeat(3 << 20));
    scene.append("mongod.log", &long[..long.len() - 1]);
    scene.poll(&["a"]);
    scene.restart();
    scene.append("mongod.log", &format!("\n{}", login(3, "b")));
    scene.poll(&["b"]);
    assert_eq!(scene.batch.quarantine.len(), 1);
    assert_eq!(scene.batch.quarantine[0].length_bytes, long.len() as u64 - 1);
}

#[test]
fn foreign_bytes_are_no_position() {
    let scene = Scene::new("mongod.log");
    for bytes in [&b"x"[..], &[0xa1, 0, 9], &[0xa5, 0, 2, 1, 0xf6, 2, 0xf6, 3, 0x80, 4, 0xf6]] {
        let error = Watch::open(scene.settings.clone(), Some(bytes)).err().expect("refused");
        assert_eq!(error.kind(), ErrorKind::Broken);
    }
    let mut settings = scene.settings.clone();
    settings.path = "/a/**b*".into();
    assert_eq!(Watch::open(settings, None).err().expect("refused").kind(), ErrorKind::Name);
}

/// Goal: what was appended to a file before the next one had a line is not left behind. Method: the
/// moment between reading to the end and looking for the next file is when lines are asked for their
/// time; the old file grows then.
#[test]
fn what_is_appended_while_files_are_listed_is_read_first() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let path = temporary.path().join("a.log");
    let old = temporary.path().join("a.log.1");
    let late = old.clone();
    let time_of = move |line: &[u8], _: Timestamp| {
        if line.starts_with(b"2") && !fs::read(&late).expect("readable").ends_with(b"late\n") {
            append(&late, "1 late\n");
        }
        let second = std::str::from_utf8(line).ok()?.split_once(' ')?.0.parse().ok()?;
        Some(Timestamp::from_seconds(second))
    };
    let name = path.to_string_lossy();
    let mut follow =
        Follow::new(&name, Start::Oldest, None, Box::new(time_of)).expect("a file's name");
    let mut seen = Vec::new();
    let mut poll = |now| {
        let progress = follow.poll(Timestamp::from_seconds(now), &mut |found| {
            if let Found::Line(line) = found
                && let Content::Bytes(bytes) = line.content
            {
                seen.push(String::from_utf8_lossy(bytes).into_owned());
            }
            true
        });
        progress.more
    };
    append(&path, "1 first\n");
    poll(0);
    fs::rename(&path, &old).expect("renamed");
    append(&path, "2 second\n");
    while poll(9) {}
    assert_eq!(seen, ["1 first", "1 late", "2 second"]);
}

/// Goal: fifty watches fit into 100 MB. Method: fifty logs that were read and rest, and the memory
/// that the process has then; what it has otherwise counts, too.
#[test]
fn fifty_watches_that_rest_are_small() {
    let scene = Scene::new("mongod.log");
    let lines: String = (0..2000).map(|n| login(n, &format!("user-{n}"))).collect();
    let mut watches = Vec::new();
    for n in 0..50 {
        let path = scene.path(&format!("mongod-{n}.log"));
        append(&path, &lines);
        let path = (&*path.to_string_lossy()).into();
        let mut watch =
            Watch::open(Settings { path, ..scene.settings.clone() }, None).expect("a watch");
        let mut batch = Batch::default();
        watch.poll(Timestamp::default(), &mut batch).expect("this host's log");
        assert_eq!(batch.accesses.len(), 2000);
        watches.push(watch);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let digits: String = resident.unwrap_or("0").chars().filter(char::is_ascii_digit).collect();
    let size_kb: u64 = digits.parse().expect("a number");
    println!("{size_kb} kB");
    assert!(size_kb < 100_000, "{size_kb} kB");
}

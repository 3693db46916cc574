//! The words that scripts rely on: their JSON, their exit codes, their errors.

mod common;

use common::{Home, log, mode};
use serde_json::{Value, json};
use std::path::Path;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn a_project_is_created_once_with_the_id_that_was_asked_for() {
    let home = Home::new();
    let id = "32b6e34b3d91647abb20e7b8";
    let created = home.run(&["project", "create", "shop", "--id", id, "--json"]).json();
    assert_eq!(created, json!({"id": id, "name": "shop"}));
    let other = home.run(&["project", "create", "other", "--json"]).json();
    assert_eq!(keys(&other), ["id", "name"]);
    assert_eq!(other["id"].as_str().expect("an id").len(), 24);

    home.run(&["project", "create", "shop"]).fails(4, "already");
    home.run(&["project", "create", "third", "--id", id]).fails(4, "already");
    home.run(&["project", "create", "third", "--id", "xyz"]).fails(2, "24 lower-case hexadecimal");
    home.run(&["project", "create", ""]).fails(2, "not a project name");
    let list = home.run(&["project", "list", "--json"]).json();
    assert_eq!(list.as_array().expect("a list").len(), 2);
}

#[test]
fn a_cluster_has_its_hosts_and_their_aliases() {
    let home = Home::new();
    home.run(&["project", "create", "shop"]).ok();
    let words = ["cluster", "create", "orders", "--project", "shop", "--json"];
    let hosts = ["--host", "db-1", "DB-2:27018", "--mongos", "router"];
    let created = home.run(&[&words[..], &hosts].concat()).json();
    let names = |cluster: &Value| -> Vec<String> {
        let hosts = cluster["hosts"].as_array().expect("hosts").iter();
        hosts.map(|host| host["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&created), ["db-1:27017", "db-2:27018", "router:27017"]);

    let alias = ["host", "alias", "db-1", "Orders-00.example", "--project", "shop", "--json"];
    let host = home.run(&alias).json();
    assert_eq!(host, json!({"name": "db-1:27017", "aliases": ["orders-00.example"]}));
    let add = ["host", "add", "db-3", "--project", "shop", "--cluster", "orders", "--json"];
    home.run(&add).json();
    home.run(&add).fails(4, "already");
    let list = home.run(&["cluster", "list", "--project", "shop", "--json"]).json();
    assert_eq!(names(&list[0]).len(), 4);

    home.run(&["cluster", "create", "b", "--project", "nope"]).fails(3, "shop");
    home.run(&["cluster", "create", "a b", "--project", "shop"]).fails(2, "not a cluster name");
    home.run(&["cluster", "create", "b", "--project", "shop", "--host", "a b"])
        .fails(2, "not a host");
    // A host that another cluster has makes the whole of it fail.
    home.run(&["cluster", "create", "b", "--project", "shop", "--host", "db-1"])
        .fails(4, "already");
    let list = home.run(&["cluster", "list", "--json"]).json();
    assert_eq!(list.as_array().expect("a list").len(), 1, "nothing of the failed ones stayed");
}

#[test]
fn keys_are_shown_once_and_can_be_taken_back() {
    let home = Home::with_shop();
    let create = ["key", "create", "--project", "shop", "--json", "--role"];
    let key = home.run(&[&create[..], &["Project Database Access Admin"]].concat()).json();
    assert_eq!(keys(&key), ["privateKey", "publicKey"]);
    let public = key["publicKey"].as_str().expect("text").to_owned();
    let private = key["privateKey"].as_str().expect("text").to_owned();
    assert!(public.len() == 8 && public.bytes().all(|b| b.is_ascii_lowercase()), "{public}");
    assert_eq!(private.len(), 36, "{private}");
    home.run(&[&create[..], &["GROUP_OWNER"]].concat()).json();
    home.run(&[&create[..], &["root"]].concat()).fails(2, "GROUP_CLUSTER_LOG_VIEWER");

    let list = home.run(&["key", "list", "--json"]).ok().stdout;
    assert!(list.contains(&public) && list.contains("GROUP_DATABASE_ACCESS_ADMIN"), "{list}");
    assert!(!list.contains(&private), "{list}");
    home.run(&["key", "delete", &public]).ok();
    home.run(&["key", "delete", &public]).fails(3, "no key");
    // Not in any file either.
    for entry in walk(&home.data_dir()) {
        let bytes = std::fs::read(&entry).expect("readable");
        let found = bytes.windows(private.len()).any(|window| window == private.as_bytes());
        assert!(!found, "{} holds the private key", entry.display());
    }
}

#[test]
fn service_accounts_are_shown_once_and_can_be_taken_back() {
    let home = Home::with_shop();
    let create = ["service-account", "create", "--project", "shop", "--role", "GROUP_READ_ONLY"];
    let account = home.run(&[&create[..], &["--json"]].concat()).json();
    assert_eq!(keys(&account), ["clientId", "clientSecret"]);
    let id = account["clientId"].as_str().expect("text").to_owned();
    let secret = account["clientSecret"].as_str().expect("text").to_owned();
    assert!(id.starts_with("mdb_sa_id_") && id.len() == 34, "{id}");
    assert!(secret.starts_with("mdb_sa_sk_") && secret.len() > 40, "{secret}");
    let list = home.run(&["service-account", "list", "--json"]).ok().stdout;
    assert!(list.contains(&id) && !list.contains(&secret), "{list}");
    home.run(&["service-account", "delete", &id]).ok();
    home.run(&["service-account", "delete", &id]).fails(3, "no service account");
}

/// HA1 values are as good as private keys.
#[test]
fn nobody_else_can_read_the_data_directory() {
    let home = Home::with_shop();
    home.run(&["key", "create", "--project", "shop", "--role", "GROUP_OWNER"]).ok();
    assert_eq!(mode(&home.data_dir()), 0o700);
    for entry in walk(&home.data_dir()) {
        assert_eq!(mode(&entry), 0o600, "{}", entry.display());
    }
}

#[test]
fn a_mistyped_directory_is_not_made() {
    let home = Home::new();
    for words in [
        &["project", "list"][..],
        &["events"],
        &["import", "--project", "shop", "--cluster", "orders", "x.log"],
    ] {
        home.run(words).fails(3, "there is no data directory");
    }
    assert!(!home.data_dir().exists());
    // `--data-dir` goes before the variable, and after the command's own words too.
    let other = home.path("other");
    let other = other.to_str().expect("UTF-8");
    home.run(&["project", "create", "shop", "--data-dir", other]).ok();
    home.run(&["--data-dir", other, "project", "list"]).ok();
    assert!(!home.data_dir().exists());
}

#[test]
fn the_history_is_shown_as_asked() {
    let home = Home::with_shop();
    let file = home.file("mongod.log", log(1..101).as_bytes());
    home.import("", &[&file]).json();
    let count = |words: &[&str]| -> usize {
        home.run(&[&["events", "--json"][..], words].concat()).json_lines().len()
    };
    assert_eq!(count(&[]), 100);
    assert_eq!(count(&["--limit", "7"]), 7);
    assert_eq!(count(&["--outcome", "failure"]), 10);
    assert_eq!(count(&["--outcome", "success", "--limit", "0"]), 90);
    assert_eq!(count(&["--user", "user1"]), 15);
    assert_eq!(count(&["--user", "user1", "--outcome", "failure"]), 1);
    assert_eq!(count(&["--address", "10.0.0.5"]), 1);
    assert_eq!(count(&["--host", "db-1"]), 100);
    assert_eq!(count(&["--host", "db-2"]), 0);
    assert_eq!(count(&["--cluster", "orders", "--project", "shop"]), 100);
    assert_eq!(count(&["--from", "2026-11-20T03:00:00.050Z"]), 51);
    assert_eq!(count(&["--to", "2026-11-20T03:00:00.050Z"]), 50);
    assert_eq!(count(&["--to", "2026-11-19"]), 0);
    assert_eq!(count(&["--to", "2026-11-20"]), 100, "the whole day");
    assert_eq!(count(&["--class", "system"]), 0);
    assert_eq!(count(&["--without", "system"]), 100);
    assert_eq!(count(&["--quarantine"]), 0);
    // The same as terms, in one argument or in several, beside options or not.
    assert_eq!(count(&["result:failed"]), 10);
    assert_eq!(count(&["user:user1", "-result:failed"]), 14);
    assert_eq!(count(&["-result:failed", "--user", "user1", "-ip:10.0.0.0/8"]), 0);
    assert_eq!(count(&["user:us*1 ip:10.0.0.0/8", "-class:system", "--limit", "7"]), 7);
    assert_eq!(count(&["from:2026-11-20T04:00:00.050", "--zone", "+01:00"]), 51);
    let wrong = home.run(&["events", "user:user1", "reslt:failed"]);
    wrong.fails(2, "\n  user:user1 reslt:failed\n             ^ there is no term \"reslt\"");
    home.run(&["events", "--usr", "x"]).fails(2, "unexpected argument '--usr'");
    home.run(&["events", "host:nope"]).fails(3, "the project has no host nope");

    let newest = home.run(&["events", "--json", "--limit", "1"]).json();
    assert_eq!(newest["connection"], 100);
    assert_eq!(newest["outcome"], "failure");
    assert_eq!(newest["reason"], "AuthenticationFailed: no");
    assert_eq!(newest["host"], "db-1:27017");
    assert_eq!(newest["raw"], login_line(100));
    let shown = home.run(&["events", "--limit", "3"]).ok();
    assert!(shown.stderr.contains("3 of 100 events"), "{shown:?}");
    assert_eq!(shown.stdout.lines().count(), 4, "{shown:?}");

    home.run(&["events", "--project", "nope"]).fails(3, "no project");
    home.run(&["events", "--cluster", "nope"]).fails(3, "no cluster");
    home.run(&["events", "--host", "nope"]).fails(3, "no host");
    home.run(&["events", "--from", "tomorrow"]).fails(2, "--from: a time such as");
    home.run(&["events", "--from", "2026-11-21", "--to", "2026-11-20"]).fails(2, "before from");
    home.run(&["events", "--address", "10.0.0"]).fails(2, "an address, a network");
    home.run(&["events", "--class", "odd"]).fails(2, "unconfirmed");
    home.run(&["events", "--outcome", "maybe"]).fails(2, "failure");
    home.run(&["events", "--system", "--project", "shop"]).fails(2, "cannot be used with");
}

/// More rows than one answer of the admin socket holds come in several, without a seam.
#[test]
fn long_histories_come_whole_and_in_order() {
    let home = Home::with_shop();
    let file = home.file("mongod.log", log(1..2501).as_bytes());
    home.import("", &[&file]).json();
    let rows = home.run(&["events", "--json", "--limit", "0"]).json_lines();
    let numbers: Vec<_> = rows.iter().map(|row| row["connection"].as_u64()).collect();
    let expected: Vec<_> = (1..2501).rev().map(Some).collect();
    assert_eq!(numbers, expected);
    assert_eq!(home.run(&["events", "--json", "--limit", "1234"]).json_lines().len(), 1234);
}

/// Names come from whoever connects; none of them may act on the terminal of who looks.
#[test]
fn nothing_from_a_log_acts_on_a_terminal() {
    let home = Home::with_shop();
    let name = r"evil\u001b[2J\u202egnol\u0085";
    let log = log(1..2).replace("user1", name).replace("extraInfo", "x\u{9b}31m");
    let file = home.file("mongod.log", log.as_bytes());
    home.import("", &[&file]).json();
    for words in [&["events"][..], &["events", "--json"]] {
        let shown = home.run(words).ok();
        let is_safe = |c: char| c == '\n' || !c.is_control() && c != '\u{202e}';
        assert!(shown.stdout.chars().all(is_safe), "{shown:?}");
        assert!(shown.stdout.contains("evil"), "{shown:?}");
    }
    let event = home.run(&["events", "--json"]).json();
    assert_eq!(event["user"], "evil\u{1b}[2J\u{202e}gnol\u{85}", "the value is unharmed");
}

#[test]
fn every_change_and_every_look_is_recorded_with_its_user() {
    let home = Home::with_shop();
    home.run(&["events", "--user", "alice"]).ok();
    let own = home.run(&["events", "--system", "--json", "--limit", "0"]).json_lines();
    let uid = rustix::process::geteuid().as_raw();
    assert!(own.iter().all(|event| event["uid"] == uid), "{own:?}");
    let actions: Vec<_> = own.iter().map(|event| event["action"].as_str()).collect();
    let expected = ["query", "query", "registry_change", "registry_change", "registry_change"];
    assert_eq!(actions[..5], expected.map(Some), "{own:?}");
    assert!(own[1]["attributes"]["query"].as_str().expect("text").contains("alice"), "{own:?}");
}

fn login_line(n: u32) -> String {
    common::login(n).lines().nth(1).expect("two lines").to_owned()
}

/// Every file below a directory.
fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in dir.read_dir().expect("readable") {
        let path = entry.expect("readable").path();
        match path.is_dir() {
            true => files.extend(walk(&path)),
            false => files.push(path),
        }
    }
    files
}

/// A directory that is something else is refused by every command and stays as it was; an empty one
/// becomes a data directory that only its owner can look into.
#[test]
fn a_directory_of_something_else_is_left_alone() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let dir = home.data_dir();
    std::fs::create_dir_all(dir.join("wal")).expect("mine");
    std::fs::write(dir.join("thesis.tex"), "x").expect("mine");
    for words in [
        &["project", "create", "shop"][..],
        &["project", "list"],
        &["serve", "--listen", "127.0.0.1:0"],
        &["quickstart", "--listen", "127.0.0.1:0"],
    ] {
        let done = home.run(words).fails(2, "is not a Doorbook data directory");
        assert!(done.stderr.contains(dir.to_str().expect("UTF-8")), "{done:?}");
        let mut names: Vec<_> = std::fs::read_dir(&dir)
            .expect("is there")
            .map(|entry| entry.expect("readable").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["thesis.tex", "wal"], "{words:?}");
        assert_eq!(std::fs::read_dir(dir.join("wal")).expect("is there").count(), 0);
    }
    std::fs::remove_dir_all(&dir).expect("mine");
    std::fs::create_dir(&dir).expect("mine");
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("mine");
    home.run(&["project", "create", "shop"]).ok();
    assert_eq!(mode(&dir), 0o700);
}

/// Root may run commands on the directory of the server's user, and leaves nothing in it that this
/// user cannot read.
#[test]
fn what_root_makes_belongs_to_the_directory_s_owner() {
    use std::os::unix::fs::MetadataExt;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    const OWNER: u32 = 65_534;
    let home = Home::new();
    let dir = home.data_dir();
    std::fs::create_dir(&dir).expect("mine");
    std::os::unix::fs::chown(&dir, Some(OWNER), Some(OWNER)).expect("root may");
    home.shop();
    // Enough for a segment.
    home.import("", &[&home.file("mongod.log", log(0..20_001).as_bytes())]).json();
    let mut to_look_at = vec![dir.clone()];
    let mut n_files = 0;
    while let Some(path) = to_look_at.pop() {
        let metadata = std::fs::symlink_metadata(&path).expect("is there");
        assert_eq!((metadata.uid(), metadata.gid()), (OWNER, OWNER), "{}", path.display());
        match metadata.is_dir() {
            true => to_look_at
                .extend(path.read_dir().expect("mine").map(|entry| entry.expect("mine").path())),
            false => n_files += 1,
        }
    }
    let segments = dir.join("segments").read_dir().expect("mine");
    let is_segment = |path: &Path| path.extension().is_some_and(|extension| extension == "parquet");
    let n_segments =
        segments.filter(|entry| is_segment(&entry.as_ref().expect("mine").path())).count();
    assert!(n_files >= 4 && n_segments == 1, "{n_files} {n_segments}");
    // A link of the owner's does not lead root elsewhere.
    let elsewhere = home.file("elsewhere", b"precious");
    std::fs::remove_file(dir.join("LOCK")).expect("mine");
    std::os::unix::fs::symlink(&elsewhere, dir.join("LOCK")).expect("mine");
    home.run(&["project", "list"]).fails(1, "LOCK");
    assert_eq!(std::fs::symlink_metadata(&elsewhere).expect("is there").uid(), 0);
}

/// An export is written whole, once, to where nothing is.
#[test]
fn all_that_matches_is_exported() {
    let home = Home::with_shop();
    let file = home.file("mongod.log", log(1..101).as_bytes());
    home.import("", &[&file]).json();
    let to = home.path("out.zip");
    let to = to.to_str().expect("UTF-8");
    let words = ["export", "result:failed", "--format", "ndjson", "--json", "--output", to];
    let exported = home.run(&words).json();
    assert_eq!(exported["rows"], 10);
    assert_eq!(exported["sha256"].as_str().map(str::len), Some(64));
    let archive = std::fs::read(to).expect("is there");
    assert!(archive.starts_with(b"PK\x03\x04") && mode(Path::new(to)) == 0o600);
    home.run(&words).fails(4, "is there already");
    assert_eq!(std::fs::read(to).expect("is there"), archive);
    let nowhere = home.path("nowhere/out.zip");
    home.run(&["export", "--output", nowhere.to_str().expect("UTF-8")]).fails(1, "cannot export");
    home.run(&["export", "reslt:x", "--output", "x.zip"]).fails(2, "there is no term");
}

/// `unix` is what tables show where a Unix socket is the peer, and can be asked for.
#[test]
fn unix_sockets_can_be_asked_for() {
    let home = Home::with_shop();
    // Commands reach a server by its admin socket.
    let _server = home.serve();
    home.run(&["project", "create", "other"]).ok();
    let words = ["events", "--system", "--json", "--address"];
    let unix = home.run(&[&words[..], &["unix"]].concat()).json_lines();
    assert!(!unix.is_empty(), "{unix:?}");
    assert_eq!(home.run(&[&words[..], &["10.0.0.1"]].concat()).json_lines(), [Value::Null; 0]);
    home.run(&[&words[..], &["unux"]].concat())
        .fails(2, "an address, a network such as 10.0.0.0/8, or unix");
}

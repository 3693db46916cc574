//! Files as people write them, and what becomes of them.

use std::collections::BTreeSet;

use doorbook_event::arrays::{ArraysChange, Organization, Uuid};
use doorbook_event::registry::{Registry, RegistryChange};
use doorbook_event::{LogId, ProjectId, Scope, Timestamp};
use proptest::prelude::*;

use super::difference::difference;
use super::read::SIZE_BYTES_MAX;
use super::wanted::Whose;
use super::{Difference, Document, Problem, Wanted, outputs};

fn wanted(file: &str) -> Result<Wanted, Vec<Problem>> {
    Document::read(file.as_bytes()).map_err(|problem| vec![problem])?.wanted()
}

fn good(file: &str) -> Wanted {
    wanted(file).unwrap_or_else(|problems| panic!("{problems:?} in\n{file}"))
}

/// A project `shop` with a cluster `orders` of two hosts, and `rest` after it.
fn shop(rest: &str) -> String {
    format!(
        "version = 1\n[[project]]\nname = \"shop\"\n[[project.cluster]]\nname = \"orders\"\n\
         hosts = [\"db-1\", \"db-2:27018\"]\n{rest}"
    )
}

fn source(keys: &str) -> String {
    format!("[[source]]\nkind = \"mongod-log\"\n{keys}\n")
}

fn compared(registry: &Registry, wanted: &Wanted) -> Result<Difference, Vec<Problem>> {
    let mut n = registry.projects().count() as u8;
    let mut new_id = || {
        n += 1;
        ProjectId::new([n; 12])
    };
    let as_of = |_: &Scope| vec![(LogId(3), 7)];
    difference(registry, wanted, Timestamp::from_seconds(1_790_000_000), &mut new_id, &as_of)
}

/// Applies a file; gives the lines that are shown.
fn apply(registry: &mut Registry, wanted: &Wanted) -> Vec<String> {
    let difference = compared(registry, wanted).unwrap_or_else(|refused| panic!("{refused:?}"));
    for change in &difference.changes {
        registry.check(change).expect("is allowed in this order");
        registry.apply(change);
    }
    difference.told.iter().map(|told| told.to_string().trim_end().to_owned()).collect()
}

/// Goal: whatever is wrong is told with its place and what to write. Method: a file per mistake, with
/// the beginning of each line that it must be told in, in order.
#[test]
fn mistakes_are_named_with_their_places() {
    let check = |file: &str, expected: &[(&str, &str)]| {
        let problems = wanted(file).expect_err("is wrong");
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), expected.len(), "{told:#?}\n{file}");
        for (told, (place, part)) in told.iter().zip(expected) {
            assert!(told.starts_with(&format!("{place}: ")), "{place}, {told}\n{file}");
            assert!(told.contains(part), "{part:?} is not in {told:?}\n{file}");
        }
    };
    check("", &[("1:1", "`version` is missing")]);
    check("version = 2\n", &[("1:11", "write version = 1")]);
    check("version = \"1\"\n", &[("1:11", "expected a number")]);
    check("version = 1\nversion = 1\n", &[("2:1", "duplicate key")]);
    check("version = 1\n[[source]\n", &[("2:10", "unclosed")]);
    check("version = 1\nfoo = 2\n", &[("2:1", "write one of `version`, `server`")]);
    let server = |keys: &str| format!("version = 1\n[server]\n{keys}\n");
    let both = "tls_key = \"x\"\ntls_key_file = \"/x\"";
    check(&server(both), &[("3:1", "write tls_key_file = \"/PATH\" alone")]);
    check(&server("tls_key_file = \"/x\""), &[("3:16", "write tls_cert_file")]);
    let relative = "tls_cert_file = \"x\"\ntls_key_file = \"/x\"";
    check(&server(relative), &[("3:17", "absolute")]);
    check(&server("array_roots = [\"/x\", \"y\"]"), &[("3:22", "absolute")]);
    check(&server("listen = \"0.0.0.0:80\""), &[("3:10", "plaintext = true")]);
    check(&server("listen = \"8080\""), &[("3:10", "127.0.0.1:8080")]);
    check(&server("access_history_rate = \"1/0\""), &[("3:23", "nothing would ever come back")]);

    let project = |keys: &str| format!("version = 1\n[[project]]\nname = \"shop\"\n{keys}\n");
    check(&project("id = \"x\""), &[("4:6", "24 lower-case hexadecimal digits")]);
    check(&project("retention = { keep_days = -1 }"), &[("4:27", "1 to 36500")]);
    check(&project("retention = { keep_days = 0 }"), &[("4:13", "1 to 36500")]);
    check(&project("retention = { keep_days = \"x\" }"), &[("4:27", "\"forever\"")]);
    let below = "retention = { keep_days = 10, minimum_days = 20 }";
    check(&project(below), &[("4:13", "below the minimum")]);
    check(&project("[[project]]\nname = \"shop\""), &[("5:8", "line 3 already")]);
    check("version = 1\n[[project]]\nname = \"a/b\"\n", &[("3:8", "not a project name")]);
    let cluster = |keys: &str| project(&format!("[[project.cluster]]\nname = \"o\"\n{keys}"));
    check(&project("[[project.cluster]]\nname = \"o r\""), &[("5:8", "not a cluster name")]);
    check(&cluster("hosts = [\"a b\"]"), &[("6:10", "not a host")]);
    check(&cluster("hosts = [1]"), &[("6:10", "NAME:PORT")]);
    check(&cluster("hosts = [\"a\", \"a:27017\"]"), &[("6:15", "line 6 already")]);
    check(&cluster("hosts = [\"a\"]\nmongos = [\"a\"]"), &[("7:11", "line 6 already")]);
    check(&cluster("hosts = [{ name = \"a\", foo = 1 }]"), &[("6:24", "`aliases`")]);
    let alias = "hosts = [\"a\", { name = \"b\", aliases = [\"A\"] }]";
    check(&cluster(alias), &[("6:40", "means a:27017 already")]);

    let check = |keys: &str, expected: &[(&str, &str)]| check(&shop(&source(keys)), expected);
    let path = "path = \"/{host}\"";
    check(path, &[("7:1", "`name` is missing")]);
    check(
        &format!("name = \"X.{{host}}\"\n{path}"),
        &[("9:8", "not a source name"), ("9:8", "not a source name")],
    );
    check(&format!("name = \"x\"\n{path}"), &[("9:8", "write name = \"x.{host}\"")]);
    check("name = \"x.{host}\"\npath = \"/a\"", &[("9:8", "put {host} in its path")]);
    let named = |keys: &str| format!("name = \"x.{{host}}\"\n{path}\n{keys}");
    check(&named("project = \"a\""), &[("11:11", "there is shop")]);
    check(&named("cluster = \"a\""), &[("11:11", "there is orders")]);
    check(&named("host = \"db-3\""), &[("11:8", "db-1:27017, db-2:27018")]);
    check(&named("host = \"db-2:27017\""), &[("11:8", "db-1:27017, db-2:27018")]);
    check(&named("host = \"a b\""), &[("11:8", "not a host")]);
    check(&named("zone = \"Mars\""), &[("11:8", "Europe/Berlin")]);
    check(&named("paused = true"), &[("11:1", "write one of `name`, `kind`")]);
    let with_path = |path: &str| format!("name = \"x\"\nhost = \"db-1\"\npath = {path:?}");
    check(&with_path("a.log"), &[("11:8", "absolute")]);
    check(&with_path("/a/"), &[("11:8", "directory")]);
    check(&with_path("/a/**/b"), &[("11:8", "* for each folder")]);
    check(&with_path("/a/[b"), &[("11:8", "no pattern")]);
    check(&with_path("/{hots}"), &[("11:8", "{hots} is no placeholder")]);
    check(&with_path("/{host"), &[("11:8", "{host is no placeholder")]);
}

#[test]
fn a_file_that_is_no_text_is_refused() {
    let read = |bytes: &[u8]| Document::read(bytes).expect_err("is wrong").to_string();
    assert!(read(b"version = 1\n# \xff").starts_with("2:3: this is not UTF-8"));
    let huge = vec![b'\n'; SIZE_BYTES_MAX + 1];
    assert!(read(&huge).contains("is larger than 1048576 bytes"));
    assert!(Document::read(&[b"version = 1".to_vec(), vec![b'\n'; 1 << 19]].concat()).is_ok());
}

/// Goal: no log is recorded twice. Method: pairs of paths that lead to one file, and pairs that do
/// not.
#[test]
fn two_sources_for_one_file_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let real = dir.path().join("mongod.log");
    std::fs::write(&real, "x").expect("written");
    std::os::unix::fs::symlink(&real, dir.path().join("link")).expect("linked");
    let here = dir.path().to_str().expect("UTF-8");
    let check = |one: &str, other: &str, clashes: bool| {
        let of = |name: &str, host: &str, path: &str| {
            source(&format!("name = {name:?}\nhost = {host:?}\npath = {path:?}"))
        };
        let wanted = wanted(&shop(&(of("one", "db-1", one) + &of("two", "db-2", other))));
        let told = wanted.err().map(|problems| problems[0].message.clone());
        assert_eq!(told.is_some(), clashes, "{one} {other}: {told:?}");
        assert!(told.is_none_or(|told| told.contains("reads the same file as source")));
    };
    check("/a/mongod.log", "/a/mongod.log", true);
    check("/a/mongod.log", "/a//./mongod.log", true);
    check("/a/mongod.log", "/a/*.log", true);
    check("/a/*.log", "/a/*.log", true);
    check("/a/*.log", "/b/*.log", false);
    check("/a/*.log", "/a/b/mongod.log", false);
    check("/a/one.log", "/a/two.log", false);
    check(&format!("{here}/mongod.log"), &format!("{here}/link"), true);
    check(&format!("{here}/*.log"), &format!("{here}/l*"), true);
}

/// Goal: one source stands for many hosts, and for each the narrowest that names it. Method: three
/// sources over two clusters, and what each host gets.
/// Goal: what is sent to us has rules that can tell hosts apart. Method: pairs of rules, and what is wrong
/// with one.
#[test]
fn sources_without_a_path_have_rules() {
    let of = |name: &str, host: &str, rules: &str| {
        source(&format!("name = {name:?}\nhost = {host:?}\nmatch = {rules}"))
    };
    let check = |one: &str, other: &str, clashes: bool| {
        let wanted = wanted(&shop(&(of("one", "db-1", one) + &of("two", "db-2", other))));
        let told = wanted.err().map(|problems| problems[0].message.clone());
        assert_eq!(told.is_some(), clashes, "{one} {other}: {told:?}");
        assert!(told.is_none_or(|told| told.contains("matches the same lines as source")));
    };
    check("{ a = \"1\" }", "{ a = \"1\" }", true);
    check("{ a = \"1\" }", "{ a = \"2\" }", false);
    check("{ a = \"1\" }", "{ b = \"1\" }", false);
    check("{ a = \"1\" }", "{ a = \"1\", b = \"2\" }", true);
    check("{ a = \"1\", c = \"2\" }", "{ a = \"1\", b = \"2\" }", false);
    check("{ a = \"db-*\" }", "{ a = \"db-7\" }", true);
    check("{ a = \"db-*\" }", "{ a = \"db-?\" }", false);

    let every = good(&shop(&source(
        "name = \"{host}\"\nmatch = { host.name = \"{host}\", \"syslog.tag\" = \"mongod*\" }",
    )));
    let rules: Vec<String> = every.sources[1].rules.iter().map(|rule| rule.to_string()).collect();
    assert_eq!(rules, ["host.name = \"db-2\"", "syslog.tag = \"mongod*\""]);
    let mut registry = Registry::default();
    let told = apply(&mut registry, &every);
    let db_2 = "+ source db-2 of db-2:27018 in shop/orders: match host.name = \"db-2\", syslog.tag = \"mongod*\"";
    assert!(told.contains(&db_2.to_owned()), "{told:?}");
    assert!(apply(&mut registry, &every).is_empty());
    let changed = good(&shop(&source("name = \"{host}\"\nmatch = { host.name = \"{host}\" }")));
    assert_eq!(
        apply(&mut registry, &changed)[1],
        "~ source db-2 match host.name = \"db-2\", syslog.tag = \"mongod*\" -> host.name = \"db-2\""
    );

    let refused = |keys: &str, part: &str| {
        let problems = wanted(&shop(&source(keys))).expect_err("is wrong");
        assert!(problems.iter().any(|of| of.message.contains(part)), "{problems:?}");
    };
    refused("name = \"x\"\nhost = \"db-1\"", "write path = \"/PATH\", or match =");
    refused(
        "name = \"x\"\nhost = \"db-1\"\npath = \"/a\"\nmatch = { a = \"b\" }",
        "either path or match",
    );
    refused("name = \"x\"\nhost = \"db-1\"\nmatch = {}", "at least one label");
    refused("name = \"x\"\nhost = \"db-1\"\nmatch = { a = 1 }", "write match = {");
    refused("name = \"x\"\nhost = \"db-1\"\nmatch = { a = \"\" }", "1 to 1024 bytes");
    refused("name = \"x\"\nhost = \"db-1\"\nmatch = { a = \"[\" }", "no pattern");
    refused("name = \"x\"\nhost = \"db-1\"\nmatch = { a = \"{hots}\" }", "no placeholder");
    refused("name = \"{host}\"\nmatch = { a = \"b\" }", "write {host} in its match");
}

#[test]
fn a_source_stands_for_every_host_that_no_narrower_one_names() {
    let file = shop(
        "[[project.cluster]]\nname = \"Carts\"\nhosts = [\"db-3\", \"[fe80::1]:27019\"]\n\
         mongos = [\"router\"]\n",
    );
    let all =
        source("name = \"{project}.{cluster}.{host}-{port}\"\npath = \"/logs/{host}/{port}.log\"");
    let carts =
        source("name = \"carts.{host}\"\ncluster = \"Carts\"\npath = \"/carts/{cluster}-{host}\"");
    let one = source(
        "name = \"one\"\nhost = \"router\"\npath = \"/one/*.log\"\nzone = \"Europe/Berlin\"",
    );
    let wanted = good(&(file + &all + &carts + &one));
    let got: Vec<_> = wanted
        .sources
        .iter()
        .map(|source| {
            (
                &*source.name,
                source.whose.host().map_or("", |(_, host)| &**host),
                &*source.path,
                &*source.zone,
            )
        })
        .collect();
    assert_eq!(
        got,
        [
            ("shop.orders.db-1-27017", "db-1:27017", "/logs/db-1/27017.log", "UTC"),
            ("shop.orders.db-2-27018", "db-2:27018", "/logs/db-2/27018.log", "UTC"),
            ("carts.db-3", "db-3:27017", "/carts/Carts-db-3", "UTC"),
            ("carts.fe80--1", "[fe80::1]:27019", "/carts/Carts-fe80::1", "UTC"),
            ("one", "router:27017", "/one/*.log", "Europe/Berlin"),
        ]
    );
}

/// Goal: the difference is what is told, once. Method: a file that changes step by step, on one
/// registry.
#[test]
fn the_difference_is_told_line_by_line() {
    let mut registry = Registry::default();
    let template = source("name = \"{host}\"\npath = \"/srv/{host}.log\"");
    let first = good(&shop(&template));
    assert_eq!(
        apply(&mut registry, &first),
        [
            "+ project shop",
            "+ cluster shop/orders",
            "+ host db-1:27017 in shop/orders",
            "+ host db-2:27018 in shop/orders",
            "+ source db-1 of db-1:27017 in shop/orders: /srv/db-1.log",
            "+ source db-2 of db-2:27018 in shop/orders: /srv/db-2.log",
        ]
    );
    assert_eq!(apply(&mut registry, &first), [""; 0]);

    let pause = doorbook_event::registry::RegistryChange::SourcePaused {
        name: "db-1".into(),
        paused: true,
    };
    registry.apply(&pause);
    let second = "version = 1\n[[project]]\nname = \"shop\"\nretention.keep_days = 90\n\
                  [[project.cluster]]\nname = \"orders\"\n\
                  hosts = [{ name = \"db-1\", aliases = [\"Front:1\"] }, \"db-3\"]\n";
    let moved =
        source("name = \"db-1\"\nhost = \"db-1\"\npath = \"/new.log\"\nzone = \"Asia/Tokyo\"");
    let second = good(&(second.to_owned() + &moved));
    assert_eq!(
        apply(&mut registry, &second),
        [
            "- source db-2 of db-2:27018: /srv/db-2.log",
            "~ retention shop forever -> 90 days",
            "+ alias front:1 of db-1:27017 in shop/orders",
            "+ host db-3:27017 in shop/orders",
            "~ source db-1 path /srv/db-1.log -> /new.log, zone UTC -> Asia/Tokyo",
        ]
    );
    assert!(registry.source("db-1").expect("is there").paused, "whether it rests stays as it was");
    let notes = compared(&registry, &second).expect("fits").notes;
    assert_eq!(
        notes,
        [
            "host db-2:27018 in shop/orders is not in the file and stays",
            "no source follows db-3:27017 of shop/orders",
        ]
    );
    let notes = compared(&registry, &good("version = 1")).expect("fits").notes;
    assert_eq!(notes, ["project shop is not in the file and stays"]);
}

/// What the registry has otherwise is named with the line that wants it.
#[test]
fn what_cannot_be_made_so_is_refused_with_its_place() {
    let mut registry = Registry::default();
    let id = "000000000000000000000001";
    let file = |name: &str, id: &str, clusters: &str| {
        good(&format!("version = 1\n[[project]]\nname = {name:?}\nid = {id:?}\n{clusters}"))
    };
    let cluster = |name: &str, hosts: &str| {
        format!("[[project.cluster]]\nname = {name:?}\nhosts = [{hosts}]\n")
    };
    let alias = "{ name = \"db-1\", aliases = [\"front\"] }";
    apply(&mut registry, &file("shop", id, &cluster("orders", alias)));
    let check = |wanted: Wanted, place: &str, part: &str| {
        let refused = compared(&registry, &wanted).expect_err("cannot be");
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(refused[0].place.to_string(), place);
        assert!(refused[0].message.contains(part), "{refused:?}");
    };
    check(file("store", id, ""), "3:8", "write name = \"shop\"");
    check(file("shop", "000000000000000000000002", ""), "3:8", &format!("write id = {id:?}"));
    check(file("shop", id, &cluster("carts", "\"db-1\"")), "7:10", "cannot be moved");
    check(file("shop", id, &cluster("orders", "\"front\"")), "7:10", "another name of db-1:27017");
}

/// Goal: the example, the schema and the reference are of the file that is read. Method: the example
/// is read as it is and with every key that is only a comment, but those that stand in the place of
/// others; every key of it is in the others.
#[test]
fn the_outputs_are_of_the_file_that_is_read() {
    let example = outputs::example();
    assert_eq!(good(&example).sources.len(), 2);
    let is_key = |line: &str| {
        line.split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let lines = example.lines().map(|line| match line.strip_prefix("# ") {
        Some(whole) if is_key(whole) || whole.starts_with("[[") => whole,
        _ => line,
    });
    // A source has a path or the first, and a host or the others.
    let instead = ["match = ", "namespace = ", "arrays = ", "interval_seconds = "];
    let lines = lines.filter(|line| !instead.iter().any(|key| line.starts_with(key)));
    let whole = lines.collect::<Vec<_>>().join("\n");
    assert_ne!(whole, example.trim_end());
    assert_eq!(good(&whole).sources.len(), 1, "the source names its host");
    let schema: serde_json::Value = serde_json::from_str(&outputs::schema()).expect("JSON");
    assert_eq!(
        schema["properties"]["source"]["items"]["required"],
        serde_json::json!(["name", "kind"])
    );
    assert_eq!(schema["additionalProperties"], false);
    let reference = outputs::reference();
    for line in whole.lines().filter(|line| is_key(line)) {
        let (key, _) = line.split_once(" = ").expect("a key");
        assert!(reference.contains(&format!("| `{key}` |")), "{key}");
    }
}

/// Small estates over few names, so that they overlap.
fn estates() -> impl Strategy<Value = String> {
    let host = (0..6u8, proptest::option::of(0..3u8)).prop_map(|(host, alias)| match alias {
        Some(alias) => format!("{{ name = \"h{host}\", aliases = [\"a{host}-{alias}\"] }}"),
        None => format!("\"h{host}\""),
    });
    let cluster = (0..2u8, proptest::collection::vec(host, 1..3));
    let project = (0..2u8, 80..83u32, proptest::collection::vec(cluster, 1..3), any::<bool>());
    proptest::collection::vec(project, 1..3).prop_map(|projects| {
        let mut file = String::from("version = 1\n");
        for (project, days, clusters, _) in &projects {
            file += &format!("[[project]]\nname = \"p{project}\"\nretention.keep_days = {days}\n");
            for (cluster, hosts) in clusters {
                let hosts = hosts.join(", ");
                file += &format!("[[project.cluster]]\nname = \"c{cluster}\"\nhosts = [{hosts}]\n");
            }
        }
        for (project, days, _, is_followed) in &projects {
            if *is_followed {
                file += &source(&format!(
                    "name = \"{{project}}.{{host}}\"\nproject = \"p{project}\"\npath = \"/{days}/{{project}}/{{host}}\""
                ));
            }
        }
        file
    })
}

proptest! {
    /// Goal: to apply is idempotent, allowed change by change, and never takes a history away.
    /// Method: files that fit, one after the other on one registry.
    #[test]
    fn applying_twice_changes_nothing(files in proptest::collection::vec(estates(), 1..6)) {
        let mut registry = Registry::default();
        for file in files {
            let Ok(wanted) = wanted(&file) else { continue };
            // A host that was moved is refused, and that is told elsewhere.
            if compared(&registry, &wanted).is_err() {
                continue;
            }
            let before = registry.clone();
            apply(&mut registry, &wanted);
            prop_assert_eq!(apply(&mut registry, &wanted), Vec::<String>::new());
            for project in before.projects() {
                prop_assert_eq!(registry.project(project.id), Some(project));
                for host in before.hosts(project.id) {
                    let kept = registry.host(project.id, &host.name).expect("stays");
                    prop_assert!(host.aliases.iter().all(|alias| kept.aliases.contains(alias)));
                }
            }
            let wanted: BTreeSet<_> = wanted.sources.iter().map(|source| source.name.clone()).collect();
            let got: BTreeSet<_> = registry.sources().map(|source| source.name.clone()).collect();
            prop_assert_eq!(got, wanted);
        }
    }
}

proptest! {
    /// Goal: no bytes make the reader panic, and every problem has a place within them. Method: the
    /// example with some of its bytes replaced, removed or doubled.
    #[test]
    fn any_bytes_are_read_or_told_of(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..8)
    ) {
        let mut bytes = outputs::example().into_bytes();
        for (at, byte, edit) in edits {
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => drop(bytes.drain(at..(at + usize::from(byte)).min(bytes.len()))),
                _ => bytes.extend_from_within(at..(at + usize::from(byte)).min(bytes.len())),
            }
            if bytes.is_empty() {
                break;
            }
        }
        let n_lines = bytes.split(|byte| *byte == b'\n').count() as u32;
        let told = match Document::read(&bytes) {
            Ok(document) => document.wanted().err().unwrap_or_default(),
            Err(problem) => vec![problem],
        };
        for problem in told {
            prop_assert!((1..=n_lines).contains(&problem.place.line), "{}", problem);
            prop_assert!(problem.place.column >= 1, "{}", problem);
        }
    }
}

/// Goal: who follows a file is written beside it, for many hosts at once, and one path on several machines
/// is as many files. Method: a file, what it makes, and what a change of it says.
#[test]
fn a_source_names_its_agent() {
    let keys = |agent: &str| {
        source(&format!("name = \"{{host}}\"\npath = \"/var/log/mongod.log\"\n{agent}"))
    };
    let by_agents = good(&shop(&keys("agent = \"on-{host}\"")));
    let agents: Vec<_> = by_agents.sources.iter().map(|source| source.agent.as_deref()).collect();
    assert_eq!(agents, [Some("on-db-1"), Some("on-db-2")]);
    let mut registry = Registry::default();
    let told = apply(&mut registry, &by_agents);
    assert!(told.iter().any(|told| told.ends_with("mongod.log (by agent on-db-1)")), "{told:#?}");
    assert_eq!(registry.source("db-2").expect("is there").agent.as_deref(), Some("on-db-2"));
    let told = apply(&mut registry, &good(&shop(&keys("host = \"db-1\""))));
    assert!(told.iter().any(|told| told.ends_with("agent on-db-1 -> none")), "{told:#?}");
    for wrong in ["agent = \"one\"", "agent = \"{user}\"", "host = \"db-1\"\nagent = \"One\""] {
        let problems = wanted(&shop(&keys(wrong))).expect_err("is wrong");
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
    let two = format!("{}{}", keys("host = \"db-1\"\nagent = \"one\""), keys("host = \"db-2\""));
    assert_eq!(good(&shop(&two)).sources.len(), 2);
}

/// Goal: sources of arrays become what the registry takes, and mistakes in them are told. Method: files
/// with one mistake each.
#[test]
fn sources_of_arrays_have_a_namespace_and_a_place() {
    let of = |kind: &str, keys: &str| {
        format!("version = 1\n[[source]]\nname = \"lake\"\nkind = \"{kind}\"\n{keys}\n")
    };
    let alice = "namespace = \"alice\"\npath = ";
    let stored = |path: &str| of("tiledb-storage", &format!("{alice}\"{path}\""));
    let place = |file: &str| match &good(file).sources[0].whose {
        Whose::Arrays { namespace, below } => format!("{namespace} {below}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(place(&stored("/srv/arrays/")), "alice file:///srv/arrays");
    assert_eq!(place(&stored("s3://lake/prod")), "alice s3://lake/prod");
    let log = |keys: &str| of("ceph-ops-log", &format!("{alice}\"/var/log/ops.log\"\n{keys}"));
    assert_eq!(place(&log("")), "alice s3://");
    assert_eq!(place(&log("arrays = \"s3://lake\"")), "alice s3://lake");
    let check = |file: &str, part: &str| {
        let problems = wanted(file).expect_err("is wrong");
        assert!(problems[0].message.contains(part), "{problems:?}");
    };
    check(&of("tiledb-storage", "path = \"s3://lake\""), "namespace = \"NAME\"");
    check(&of("tiledb-storage", "namespace = \"alice\""), "s3://BUCKET/PREFIX");
    check(&of("mongod-log", "namespace = \"alice\"\npath = \"/x.log\""), "of a host");
    check(&of("tiledb-storage", "namespace = \"a/b\"\npath = \"s3://lake\""), "no name of a user");
    check(&stored("tiledb://alice/a"), "tiledb://alice/a");
    check(&stored("gs://lake/a"), "neither file:///PATH");
    check(&stored("/srv/../etc"), "srv/../etc");
    check(&(stored("s3://lake") + "cluster = \"orders\"\n"), "take cluster out");
    check(&(stored("s3://lake") + "arrays = \"s3://other\"\n"), "take arrays out");
    check(&(stored("s3://lake") + "interval_seconds = 0\n"), "1 to 604800");
    let second = stored("s3://lake/prod").replace("version = 1", "").replace("\"lake\"", "\"b\"");
    check(&(stored("s3://lake") + &second), "watches arrays that source \"lake\" watches");
    let others = second.replace("alice", "bob");
    assert_eq!(good(&(stored("s3://lake") + &others)).sources.len(), 2);
}

/// Goal: what no source of arrays can ever read is refused where it stands, with what to write instead.
/// Method: files with one mistake each, and what is right beside it.
#[test]
fn a_source_of_arrays_that_can_never_work_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let folder = dir.path().display().to_string();
    let file = dir.path().join("a.log").display().to_string();
    std::fs::write(&file, "").expect("written");
    let of = |kind: &str, path: &str, keys: &str| {
        format!(
            "version = 1\n[[source]]\nname = \"lake\"\nkind = \"{kind}\"\nnamespace = \"alice\"\n\
             path = \"{path}\"\n{keys}"
        )
    };
    let refused = |kind: &str, path: &str, keys: &str, part: &str| {
        let problems = wanted(&of(kind, path, keys)).expect_err(path);
        assert_eq!(problems.len(), 1, "{problems:?}");
        let line = if keys.is_empty() { 6 } else { 7 };
        assert_eq!(problems[0].place.line, line, "{problems:?}");
        assert!(problems[0].message.contains(part), "{problems:?}");
    };
    for kind in ["s3-access-log", "cloudtrail"] {
        refused(kind, "/srv/logs/*.log", "", "write the folder that its files come into");
        refused(kind, &file, "", "is a file; write the folder");
        refused(kind, "logs", "", "write it from / on");
        refused(kind, "/srv/logs", "arrays = \"file:///x\"", "write arrays = \"s3://BUCKET");
        refused(kind, "/srv/logs", "arrays = \"s3:///x\"", "names no bucket");
        for path in [&*folder, "/srv/logs/"] {
            let path = &good(&of(kind, path, "arrays = \"s3://\"")).sources[0].path;
            assert!(!path.ends_with('/'), "{path}");
        }
    }
    refused("ceph-ops-log", &folder, "", "is a folder; write the path of the live file");
    refused("ceph-ops-log", "s3://lake/logs", "", "write path = \"/PATH\"");
    good(&of("ceph-ops-log", &file, ""));
    refused("tiledb-storage", "s3:///x", "", "names no bucket; write s3://BUCKET");
    refused("tiledb-storage", "s3://B_AD/x", "", "\"B_AD\" is no name of a bucket: write 3 to 63");
    refused("tiledb-storage", "s3://b", "", "\"b\" is no name of a bucket: write 3 to 63");
    assert_eq!(&*good(&of("tiledb-storage", "s3://lake/", "")).sources[0].path, "s3://lake");
}

/// Goal: a wrong word or number is answered with what may stand there. Method: each mistake once.
#[test]
fn words_and_numbers_say_what_may_be_written() {
    let of = |kind: &str, interval: &str| {
        format!(
            "version = 1\n[[source]]\nname = \"lake\"\nkind = \"{kind}\"\nnamespace = \"alice\"\n\
             path = \"s3://lake\"\ninterval_seconds = {interval}"
        )
    };
    let refused = |file: &str, line: u32, part: &str| {
        let problem = Document::read(file.as_bytes()).expect_err("is wrong");
        assert_eq!(problem.place.line, line, "{problem}");
        assert!(problem.message.contains(part), "{problem}");
    };
    for interval in ["-5", "0", "604801", "99999999999", "9999999999999999999999"] {
        refused(&of("tiledb-storage", interval), 7, "write a number of seconds from 1 to 604800");
    }
    refused(&of("tiledb-storage", "\"1m\""), 7, "expected a number of seconds from 1 to 604800");
    refused(
        &of("tiledb_storage", "60"),
        4,
        "unknown word `tiledb_storage`; write one of `mongod-log`",
    );
    let most = &good(&of("tiledb-storage", "604800")).sources[0];
    assert_eq!(most.interval_seconds, Some(604_800));
}

fn review(keys: &str) -> String {
    shop(&format!("[[review]]\n{keys}\n"))
}

/// Goal: a review that cannot be is refused at its value, a filter at the column of what is wrong with it.
#[test]
fn reviews_that_cannot_be_are_named_with_their_places() {
    let check = |keys: &str, expected: &[(&str, &str)]| {
        let file = review(keys);
        let told: Vec<String> = match wanted(&file) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(told.len(), expected.len(), "{told:#?}\n{file}");
        for (told, (place, part)) in told.iter().zip(expected) {
            assert!(told.starts_with(&format!("{place}: ")), "{place}, {told}\n{file}");
            assert!(told.contains(part), "{part:?} is not in {told:?}\n{file}");
        }
    };
    let named = |more: &str| format!("name = \"a\"\ndue = \"10:00\"\n{more}");
    check(&named(""), &[]);
    check("name = \"a\"", &[("7:1", "`due` is missing")]);
    check("name = \"A\"\ndue = \"10:00\"", &[("8:8", "1 to 64 of a-z")]);
    check("name = \"a\"\ndue = \"noon\"", &[("9:7", "write \"10:00\" for every day")]);
    check(&named("project = \"x\""), &[("10:11", "no project \"x\"")]);
    check(&named("project = \"shop\"\nnamespace = \"x\""), &[("11:13", "either of a project")]);
    check(&named("zone = \"Mars\""), &[("10:8", "Mars")]);
    check(&named("filter = \"result:failed foo:bar\""), &[("10:25", "foo")]);
    check(&named("filter = \"ip:x\""), &[("10:14", "x")]);
    check(&named("filter = \"user:a since:2h\""), &[("10:18", "takes no since")]);
    check(
        &named("filter = \"user:\\\"a b\\\" foo:bar\""),
        &[("10:10", "at column 12 of the filter")],
    );
    // What is there, the registry says.
    check(&named("filter = \"host:nowhere\""), &[]);
    let twice = format!("{}\n[[review]]\n{}", named(""), named(""));
    check(&twice, &[("12:8", "stands in line 8 already")]);
}

/// Goal: the registry comes to say what the file says of reviews, twice is once, and none is ever ended by a file. Method:
/// apply, change, apply again.
#[test]
fn reviews_come_from_the_file_and_do_not_go_with_it() {
    let mut registry = Registry::default();
    let keys = "name = \"failures\"\ndue = \"monday 10:00\"\nfilter = \"host:db-1 result:failed\"";
    let file = good(&review(keys));
    let told = apply(&mut registry, &file);
    let added = "+ review failures of shop: host:db-1 result:failed, weekly by monday 10:00 UTC";
    assert_eq!(told.last().map(String::as_str), Some(added));
    let made = registry.review("failures").expect("is made").clone();
    assert_eq!((made.version, &made.begins), (1, &vec![(LogId(3), 7)]), "what is there is not new");
    assert_eq!(apply(&mut registry, &file), [""; 0], "twice is once");

    let other = good(&review("name = \"failures\"\ndue = \"09:00\"\nzone = \"Europe/Berlin\""));
    let told = apply(&mut registry, &other);
    assert_eq!(
        told,
        [
            "~ review failures filter host:db-1 result:failed -> every event, due monday 10:00 -> 09:00, \
         zone UTC -> Europe/Berlin"
        ]
    );
    let changed = registry.review("failures").expect("is there").clone();
    assert_eq!((changed.version, changed.begins, changed.created), (2, made.begins, made.created));
    let without = compared(&registry, &good(&shop(""))).expect("is allowed");
    assert_eq!(without.changes, []);
    assert!(without.notes.contains(&"review failures is not in the file and stays".to_owned()));

    let missing = "name = \"x\"\ndue = \"09:00\"\nfilter = \"host:db-1 host:nowhere\"";
    let refused = compared(&registry, &good(&review(missing))).expect_err("no such host");
    assert_eq!((refused[0].place.line, refused[0].place.column), (10, 26), "{refused:?}");
    registry.apply(&RegistryChange::Arrays(ArraysChange::OrganizationCreated(Organization {
        name: "lab".into(),
        id: Uuid::random([0; 16]),
        members: BTreeSet::new(),
        created: Timestamp::from_seconds(0),
    })));
    let of_lab = good(&review("name = \"failures\"\nnamespace = \"lab\"\ndue = \"09:00\""));
    let refused = compared(&registry, &of_lab).expect_err("of a project");
    assert!(refused[0].message.contains("of another history"), "{refused:?}");
    let of_lab = good(&review("name = \"lab\"\nnamespace = \"lab\"\ndue = \"09:00\""));
    assert_eq!(
        apply(&mut registry, &of_lab),
        ["+ review lab of lab: every event, daily by 09:00 UTC"]
    );
}

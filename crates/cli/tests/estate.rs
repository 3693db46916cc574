//! The estate in one file: what `apply`, `config` and `source` do with files as people write them.

mod common;

use common::{Done, Home};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A project with two hosts, and a source for each.
const SHOP: &str = r#"version = 1

[[project]]
name = "shop"
retention.keep_days = 400

[[project.cluster]]
name = "orders"
hosts = ["db-1", "db-2"]

[[source]]
name = "{cluster}.{host}"
kind = "mongod-log"
path = "/srv/logs/{host}/mongod.log"
"#;

fn apply(home: &Home, file: &str, words: &[&str]) -> Done {
    home.file("doorbook.toml", file.as_bytes());
    home.run(&[&["apply"], words].concat())
}

fn names(home: &Home) -> Vec<String> {
    let sources = home.run(&["source", "list", "--json"]).json();
    let sources = sources.as_array().expect("a list").iter();
    sources.map(|source| source["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn to_apply_twice_is_to_apply_once() {
    let home = Home::new();
    let told = [
        "+ project shop",
        "~ retention shop forever -> 400 days",
        "+ cluster shop/orders",
        "+ host db-1:27017 in shop/orders",
        "+ host db-2:27017 in shop/orders",
        "+ source orders.db-1 of db-1:27017 in shop/orders: /srv/logs/db-1/mongod.log",
        "+ source orders.db-2 of db-2:27017 in shop/orders: /srv/logs/db-2/mongod.log",
    ];
    // To look makes no directory.
    let done = apply(&home, SHOP, &["--dry-run"]);
    assert_eq!(done.stdout.lines().collect::<Vec<_>>(), told);
    done.fails(5, "7 changes to make");
    assert!(!home.data_dir().exists());

    let done = apply(&home, SHOP, &[]).ok();
    assert_eq!(done.stdout.lines().collect::<Vec<_>>(), told);
    let done = apply(&home, SHOP, &["--dry-run"]).ok();
    assert_eq!((&*done.stdout, &*done.stderr), ("nothing to change\n", ""));
    let applied = apply(&home, SHOP, &["--json"]).json();
    assert_eq!(applied, json!({"applied": false, "changes": [], "notes": [], "problems": []}));

    let less = SHOP.replace("\"db-1\", ", "").replace("/srv/logs", "/var/log");
    let done = apply(&home, &less, &["--dry-run"]);
    assert_eq!(
        done.stdout,
        "- source orders.db-1 of db-1:27017: /srv/logs/db-1/mongod.log\n\
         ~ source orders.db-2 path /srv/logs/db-2/mongod.log -> /var/log/db-2/mongod.log\n"
    );
    done.fails(5, "note: host db-1:27017 in shop/orders is not in the file and stays");
    assert_eq!(names(&home), ["orders.db-1", "orders.db-2"], "a dry run changes nothing");
    let applied = apply(&home, &less, &["--json"]).json();
    assert_eq!(applied["applied"], true);
    assert_eq!(applied["changes"][0]["action"], "remove");
    assert_eq!(names(&home), ["orders.db-2"]);

    let own = home.run(&["events", "--system", "--json"]).json_lines();
    let changes = own.iter().filter(|event| event["action"] == "registry_change").count();
    assert_eq!(changes, 9, "each change is an event");
}

/// Goal: what is wrong is told with file, line and column, and nothing is changed. Method: files that
/// differ from the one that was applied by one mistake.
#[test]
fn mistakes_change_nothing() {
    let home = Home::new();
    apply(&home, SHOP, &[]).ok();
    let projects = home.run(&["project", "list", "--json"]).json();
    let id = projects[0]["id"].as_str().expect("an id");
    let check = |from: &str, to: &str, part: &str| {
        assert!(SHOP.contains(from));
        let file = SHOP.replacen(from, to, 1).replace("\"db-2\"", "\"db-2\", \"db-3\"");
        apply(&home, &file, &[]).fails(2, &format!("doorbook.toml:{part}"));
        home.run(&["serve", "--listen", "127.0.0.1:0", "--config", "doorbook.toml"])
            .fails(2, &format!("doorbook.toml:{part}"));
    };
    check("name = \"shop\"", "nam = \"shop\"", "4:1: unknown key `nam`");
    check(
        "\"db-1\", ",
        "\"db-1\", \"db-1\", ",
        "9:18: host \"db-1:27017\" stands in line 9 already",
    );
    check("{cluster}.{host}", "one", "12:8: this source stands for 3 hosts");
    check("{host}/mongod", "mongod", "12:8: this source stands for 3 hosts");
    check("kind", "paused = true\nkind", "13:1: unknown key `paused`");
    // The project has an id, and now another name.
    let renamed = format!("name = \"store\"\nid = {id:?}");
    check("name = \"shop\"", &renamed, "4:8: the project with the id");
    let clusters = home.run(&["cluster", "list", "--json"]).json();
    assert_eq!(clusters[0]["hosts"].as_array().expect("hosts").len(), 2);

    home.file("doorbook.toml", b"version = 1\n# \xff\n");
    home.run(&["apply"]).fails(2, "doorbook.toml:2:3: this is not UTF-8");
    home.run(&["apply", "--config", "/dev/zero"]).fails(2, "larger than 1048576 bytes");
    home.run(&["apply", "--config", "."]).fails(1, "cannot be read");
    home.run(&["apply", "--config", "nope.toml"]).fails(3, "config generate");
}

#[test]
fn the_file_is_checked_without_a_data_directory() {
    let home = Home::new();
    home.run(&["config", "check"]).fails(3, "there is no file ./doorbook.toml");
    let example = home.run(&["config", "generate"]).ok().stdout;
    home.file("doorbook.toml", example.as_bytes());
    let done = home.run(&["config", "check"]).ok();
    assert_eq!(done.stdout, "./doorbook.toml: 1 project, 1 cluster, 2 hosts, 2 sources\n");
    let schema: Value = home.run(&["config", "schema"]).json();
    assert!(schema["properties"]["project"].is_object());
    assert!(home.run(&["config", "reference"]).ok().stdout.starts_with("# doorbook.toml\n"));

    let tls =
        "version = 1\n[server]\ntls_cert_file = \"/nope/cert\"\ntls_key_file = \"/nope/key\"\n";
    home.file("tls.toml", tls.as_bytes());
    home.run(&["config", "check", "tls.toml"])
        .fails(2, "tls.toml:3:17: /nope/cert: cannot be read");
    home.run(&["config", "check", "tls.toml", "--no-secrets"]).ok();
    let both = tls.replace("tls_key_file", "tls_key = \"x\"\ntls_key_file");
    home.file("tls.toml", both.as_bytes());
    home.run(&["config", "check", "tls.toml"]).fails(2, "tls.toml:4:1: unknown key `tls_key`");
    assert!(!home.data_dir().exists());
}

/// The pages for operators show what works: every file in them is applied.
#[test]
fn the_files_of_the_documentation_can_be_applied() {
    let page = include_str!("../../../docs/operate.md");
    let files: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().expect("it ends"))
        .collect();
    assert!(!files.is_empty());
    for file in files {
        let home = Home::new();
        let done = apply(&home, file, &[]).ok();
        assert_eq!(done.stderr, "", "no host is without a source");
        assert_eq!(names(&home).len(), 9);
    }
}

/// Beside a running server the same happens, and a server makes its file so before it is ready.
#[test]
fn a_server_takes_the_file() {
    let home = Home::new();
    let file = SHOP.replace("[[project]]", "[server]\nlisten = \"127.0.0.1:1\"\n\n[[project]]");
    home.file("doorbook.toml", file.as_bytes());
    // The word of the command line stands before the file's.
    let server = home.serve_with(&["--config", "doorbook.toml"]);
    assert!(
        !server.ready.contains(":1\n") && server.ready.contains("listening"),
        "{}",
        server.ready
    );
    assert_eq!(names(&home), ["orders.db-1", "orders.db-2"]);
    let more = file.replace("\"db-2\"", "\"db-2\", { name = \"db-3\", aliases = [\"front\"] }");
    let done = apply(&home, &more, &[]).ok();
    assert_eq!(
        done.stdout,
        "+ host db-3:27017 in shop/orders\n+ alias front of db-3:27017 in shop/orders\n\
         + source orders.db-3 of db-3:27017 in shop/orders: /srv/logs/db-3/mongod.log\n"
    );
    let other = more.replace("{ name = \"db-3\", aliases = [\"front\"] }", "\"front\"");
    apply(&home, &other, &[])
        .fails(2, "doorbook.toml:12:26: front:27017 is another name of db-3:27017");
    assert_eq!(server.stop(Signal::TERM), (0, String::new()));
    assert_eq!(names(&home).len(), 3);
}

/// What `[server]` says holds where no word of the command line does.
#[test]
fn a_server_listens_where_the_file_says() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let serve = |keys: &str| {
        home.file("doorbook.toml", format!("version = 1\n[server]\n{keys}\n").as_bytes());
        home.run(&["serve", "--config", "doorbook.toml"])
    };
    serve(&format!("listen = {address:?}")).fails(1, &format!("cannot listen on {address}"));
    let tls = "tls_cert_file = \"/nope/cert\"\ntls_key_file = \"/nope/key\"";
    serve(&format!("listen = {address:?}\n{tls}")).fails(2, "/nope/cert: cannot be read");
    serve("listen = \"0.0.0.0:0\"").fails(2, "doorbook.toml:3:10: 0.0.0.0:0 can be reached");
}

#[test]
fn a_source_rests_and_goes_on() {
    let home = Home::new();
    apply(&home, SHOP, &[]).ok();
    let state = |words: &[&str]| {
        let source = home.run(&[&["source"], words, &["orders.db-1", "--json"]].concat()).json();
        source["state"].as_str().expect("a word").to_owned()
    };
    assert_eq!(state(&["show"]), "stopped");
    assert_eq!(state(&["pause"]), "paused");
    assert_eq!(state(&["pause"]), "paused", "twice is once");
    apply(&home, SHOP, &[]).ok();
    assert_eq!(state(&["show"]), "paused", "the file does not say");
    assert_eq!(state(&["resume"]), "stopped");
    assert_eq!(state(&["replay"]), "stopped", "it is at the beginning");
    home.run(&["source", "show", "nope"]).fails(3, "source list");
    home.run(&["source", "list", "--project", "nope"]).fails(3, "there is shop");
    let table = home.run(&["source", "list", "--project", "shop"]).ok().stdout;
    assert_eq!(table.lines().count(), 3, "{table}");
}

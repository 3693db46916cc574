//! [`Config`]: the file of the estate, read with the rights of whoever gives the command.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use doorbook_event::ProjectId;
use doorbook_server::admin::request::AppliedView;
use doorbook_server::admin::{Admin, Failure, Reply, Request, os_user};
use doorbook_server::alarm;
use doorbook_server::app::RateLimit;
use doorbook_server::estate::buckets::WantedBucket;
use doorbook_server::estate::counters::WantedCounters;
use doorbook_server::estate::read::SIZE_BYTES_MAX;
use doorbook_server::estate::receivers::WantedReceiver;
use doorbook_server::estate::{Document, Problem, Wanted};
use doorbook_server::http::TlsFiles;

use crate::exit::InFile;
use crate::output;

/// Where the file is if nothing says otherwise.
pub const DEFAULT_FILE: &str = "./doorbook.toml";

/// A file that holds together.
pub struct Config {
    path: PathBuf,
    document: Document,
    wanted: Wanted,
}

/// What the file says of serving.
#[derive(Default)]
pub struct Server {
    pub listen: Option<SocketAddr>,
    pub tls: Option<TlsFiles>,
    pub plaintext: bool,
    pub access_history_rate: Option<RateLimit>,
    pub array_roots: Vec<PathBuf>,
}

impl Config {
    /// Reads and checks it.
    pub fn read(path: &Path) -> anyhow::Result<Config> {
        let name = path.display();
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        // Bounded before it is looked at, whatever the path leads to; one byte more tells that it is
        // too large.
        file.take(SIZE_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .with_context(|| format!("{name} cannot be read"))?;
        let in_file = |problems| InFile { file: path.to_owned(), problems };
        let document = Document::read(&bytes).map_err(|problem| in_file(vec![problem]))?;
        let wanted = document.wanted().map_err(in_file)?;
        Ok(Config { path: path.to_owned(), document, wanted })
    }

    /// Its path, by which a server knows it as its own.
    pub fn file(&self) -> PathBuf {
        self.path.canonicalize().unwrap_or_else(|_| self.path.clone())
    }

    /// What it wants of the registry.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// What it says of serving.
    pub fn server(&self) -> Server {
        let Some(server) = &self.document.estate.server else { return Server::default() };
        let files = server.tls_cert_file.as_ref().zip(server.tls_key_file.as_ref());
        let checked = "the file was checked";
        Server {
            listen: server.listen.as_ref().map(|listen| listen.parse().expect(checked)),
            tls: files.map(|(certificate, key)| TlsFiles {
                certificate: certificate.as_str().into(),
                key: key.as_str().into(),
            }),
            plaintext: server.plaintext == Some(true),
            access_history_rate: server
                .access_history_rate
                .as_ref()
                .map(|rate| rate.parse().expect(checked)),
            array_roots: server
                .array_roots
                .iter()
                .flatten()
                .map(|root| root.as_str().into())
                .collect(),
        }
    }

    /// Whose counters are read.
    pub fn counters(&self) -> Vec<WantedCounters> {
        self.document.counters(&self.wanted)
    }

    /// How buckets are reached.
    pub fn buckets(&self) -> Vec<WantedBucket> {
        self.document.buckets()
    }

    /// Where lines are received.
    pub fn receivers(&self) -> Vec<WantedReceiver> {
        self.document.receivers(&self.wanted)
    }

    /// Who is told of alarms.
    pub fn alarm(&self) -> alarm::Settings {
        let Some(alarm) = &self.document.estate.alarm else { return alarm::Settings::default() };
        let webhook = alarm.webhook_url.as_ref().zip(alarm.webhook_secret_file.as_ref());
        alarm::Settings {
            webhook: webhook.map(|(url, secret_file)| alarm::WebhookSettings {
                url: url.to_string(),
                secret_file: secret_file.as_str().into(),
                ca_file: alarm.webhook_ca_file.as_ref().map(|file| file.as_str().into()),
            }),
            syslog: alarm.syslog.as_ref().map(|to| to.parse().expect("the file was checked")),
        }
    }

    /// Opens the files that it names, as a server would at its start.
    pub fn check_files(&self) -> anyhow::Result<()> {
        self.check_services()?;
        let Some(tls) = self.server().tls else { return Ok(()) };
        let Err(error) = tls.load() else { return Ok(()) };
        let server = self.document.estate.server.as_ref();
        let named = server.and_then(|server| match error.path() == tls.key {
            true => server.tls_key_file.as_ref(),
            false => server.tls_cert_file.as_ref(),
        });
        let place = named.map(|named| self.document.place(&named.bytes())).unwrap_or_default();
        Err(self.refused(vec![Problem { place, message: error.to_string() }]))
    }

    /// Opens those of what a server does beside serving.
    pub fn check_services(&self) -> anyhow::Result<()> {
        // To open files, it does not matter what the registry calls the project.
        let any = ProjectId::new([0; 12]);
        let counters = self.counters();
        let unusable = counters.iter().filter_map(|counters| {
            let error = counters.settings_of(any).check_files().err()?;
            Some(Problem { place: counters.place, message: error.to_string() })
        });
        let untold = self.alarm().destinations().err().map(|error| {
            let alarm = self.document.estate.alarm.as_ref();
            let url = alarm.and_then(|alarm| alarm.webhook_url.as_ref());
            let place = url.map(|url| self.document.place(&url.bytes())).unwrap_or_default();
            Problem { place, message: error.to_string() }
        });
        let receivers = self.receivers();
        let deaf = receivers.iter().filter_map(|receiver| {
            let error = receiver.settings_of(any).check_files().err()?;
            Some(Problem { place: receiver.place, message: error.to_string() })
        });
        let buckets = self.buckets();
        let closed = buckets.iter().filter_map(|bucket| {
            let error = bucket.settings.check_files().err()?;
            Some(Problem { place: bucket.place, message: error.to_string() })
        });
        let unusable: Vec<_> = unusable.chain(untold).chain(deaf).chain(closed).collect();
        match unusable.is_empty() {
            true => Ok(()),
            false => Err(self.refused(unusable)),
        }
    }

    /// What of it cannot be, as an error that names the file.
    pub fn refused(&self, problems: Vec<Problem>) -> anyhow::Error {
        InFile { file: self.path.clone(), problems }.into()
    }

    /// The request to apply it.
    pub fn request(&self, dry_run: bool) -> Request {
        let estate = &self.document.estate;
        let counters = estate.counters.as_ref().map(|_| "[[counters]]");
        let receivers = estate.receiver.as_ref().map(|_| "[[receiver]]");
        let buckets = estate.bucket.as_ref().map(|_| "[[bucket]]");
        let alarm = estate.alarm.as_ref().map(|_| "[alarm]");
        let sections = [counters, receivers, buckets, alarm].into_iter().flatten();
        Request::Apply {
            wanted: Box::new(self.wanted.clone()),
            file: self.file(),
            sections: sections.map(str::to_owned).collect(),
            dry_run,
        }
    }

    /// What came of a request to apply it.
    pub fn applied(&self, reply: Reply) -> anyhow::Result<AppliedView> {
        match reply {
            Reply::Applied(view) if view.problems.is_empty() => Ok(*view),
            Reply::Applied(view) => Err(self.refused(view.problems)),
            other => Err(anyhow::anyhow!("the answer does not belong to the question: {other:?}")),
        }
    }

    /// Applies it before a server begins to serve.
    pub fn apply_at_start(&self, admin: &Admin) -> anyhow::Result<()> {
        let view = self.applied(admin.execute(&os_user::current(), self.request(false))?)?;
        if view.applied {
            let changes = output::count(view.changes.len() as u64, "change", "changes");
            eprintln!("doorbook: {changes} made as {} says", self.path.display());
        }
        Ok(())
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let name = path.display();
    match error.kind() {
        std::io::ErrorKind::NotFound => Failure::missing(format!(
            "there is no file {name}; name yours with --config or DOORBOOK_CONFIG, or begin one \
             with `doorbook config generate > doorbook.toml`"
        )),
        _ => Failure::failed(format!("{name} cannot be read: {error}")),
    }
}

//! What must hold of single values and sections, beyond what the registry demands.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use doorbook_event::Text;

use super::read::{Document, Place, Problem};
use super::shape::At;
use super::wanted::Wanted;
use crate::alarm::syslog::Syslog;
use crate::alarm::webhook;
use crate::app::RateLimit;
use crate::http;

/// The longest path that Linux opens.
const PATH_BYTES_MAX: usize = 4095;

/// `[server]`: what it names must be what it says; its files are opened by whoever serves.
pub fn server(document: &Document, problems: &mut Vec<Problem>) {
    let Some(server) = &document.estate.server else { return };
    let mut tell = |value: &At<String>, message: String| {
        problems.push(Problem::new(document.place(&value.bytes()), message));
    };
    match (&server.tls_cert_file, &server.tls_key_file) {
        (Some(only), None) => tell(only, "write tls_key_file = \"/PATH\", too".to_owned()),
        (None, Some(only)) => tell(only, "write tls_cert_file = \"/PATH\", too".to_owned()),
        _ => {}
    }
    let files = [&server.tls_cert_file, &server.tls_key_file].into_iter().flatten();
    let files = files.chain(server.array_roots.iter().flatten());
    for file in files.filter(|file| !file.starts_with('/')) {
        tell(file, format!("{:?} is not an absolute path; write it from / on", **file));
    }
    if let Some(rate) = &server.access_history_rate
        && let Err(error) = rate.parse::<RateLimit>()
    {
        tell(rate, format!("{:?} is no rate: {error}", **rate));
    }
    let Some(listen) = &server.listen else { return };
    let has_tls = server.tls_cert_file.is_some();
    match listen.parse::<SocketAddr>() {
        Err(_) => {
            let example = "write an address and a port, as in \"127.0.0.1:8080\"";
            tell(listen, format!("{:?} is nothing to listen on; {example}", **listen));
        }
        Ok(address) => {
            if !http::may_listen(address, has_tls, server.plaintext == Some(true)) {
                tell(
                    listen,
                    format!(
                        "{address} can be reached from other machines: write tls_cert_file and \
                         tls_key_file, or plaintext = true if something in front of Doorbook does TLS"
                    ),
                );
            }
        }
    }
}

/// `[alarm]`: what it names must be what it says; its files are opened by whoever serves.
pub fn alarm(document: &Document, problems: &mut Vec<Problem>) {
    let Some(alarm) = &document.estate.alarm else { return };
    let mut tell = |value: &At<String>, message: String| {
        problems.push(Problem::new(document.place(&value.bytes()), message));
    };
    let files = [&alarm.webhook_secret_file, &alarm.webhook_ca_file];
    match (&alarm.webhook_url, &alarm.webhook_secret_file) {
        (Some(url), None) => tell(url, "write webhook_secret_file = \"/PATH\", too".to_owned()),
        (None, _) => {
            let lonely = files.iter().copied().flatten().next();
            lonely.inspect(|file| tell(file, "write webhook_url = \"https://…\", too".to_owned()));
        }
        _ => {}
    }
    for file in files.into_iter().flatten().filter(|file| !file.starts_with('/')) {
        tell(file, format!("{:?} is not an absolute path; write it from / on", **file));
    }
    if let Some(url) = &alarm.webhook_url
        && let Err(message) = webhook::check_url(url)
    {
        tell(url, message);
    }
    if let Some(syslog) = &alarm.syslog
        && let Err(message) = syslog.parse::<Syslog>()
    {
        tell(syslog, message);
    }
}

/// Names that may stand in the file once. (What the registry has already is no fault of the file's.)
pub fn names(wanted: &Wanted, problems: &mut Vec<Problem>) {
    let mut once = Once(problems);
    once.check("project", wanted.projects.iter().map(|project| (&project.name, project.place)));
    once.check("source", wanted.sources.iter().map(|source| (&source.name, source.place)));
    once.check("review", wanted.reviews.iter().map(|review| (&review.name, review.place)));
    for project in &wanted.projects {
        let clusters = &project.clusters;
        once.check("cluster", clusters.iter().map(|cluster| (&cluster.name, cluster.place)));
        let hosts = clusters.iter().flat_map(|cluster| &cluster.hosts);
        once.check("host", hosts.map(|host| (&host.name, host.place)));
    }
}

struct Once<'a>(&'a mut Vec<Problem>);

impl Once<'_> {
    fn check<'a>(&mut self, what: &str, names: impl Iterator<Item = (&'a Text, Place)>) {
        let mut known: BTreeMap<&Text, Place> = BTreeMap::new();
        for (name, place) in names {
            match known.get(name) {
                None => drop(known.insert(name, place)),
                Some(first) => {
                    let message = format!(
                        "{what} {:?} stands in line {} already; each name stands once",
                        &**name, first.line
                    );
                    self.0.push(Problem::new(place, message));
                }
            }
        }
    }
}

/// A path or a pattern that can be followed.
pub fn path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(format!("{path:?} is not an absolute path; write it from / on"));
    }
    if path.ends_with('/') {
        return Err(format!("{path:?} is a directory; write the live file's name, or a pattern"));
    }
    if path.len() > PATH_BYTES_MAX || path.contains(char::is_control) {
        return Err(format!(
            "a path is at most {PATH_BYTES_MAX} bytes, without control characters"
        ));
    }
    if path.contains("**") {
        return Err("** would look into every folder below; write * for each folder".to_owned());
    }
    glob::Pattern::new(path)
        .map(drop)
        .map_err(|error| format!("{path:?} is no pattern: {}", error.msg))
}

/// A label and what its value must be.
pub fn rule(label: &str, pattern: &str) -> Result<(), String> {
    const BYTES_MAX: usize = 1024;
    let fits = |text: &str| (1..=BYTES_MAX).contains(&text.len());
    if !fits(label) || !fits(pattern) {
        return Err(format!("a label and its value have 1 to {BYTES_MAX} bytes"));
    }
    glob::Pattern::new(pattern)
        .map(drop)
        .map_err(|error| format!("{pattern:?} is no pattern: {} (write [*] for *)", error.msg))
}

/// A zone's name.
pub fn zone(zone: &str) -> Result<(), String> {
    match jiff::tz::TimeZone::get(zone) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "{zone:?} is no time zone that this machine knows; write \"UTC\" or a name such as \
             \"Europe/Berlin\""
        )),
    }
}

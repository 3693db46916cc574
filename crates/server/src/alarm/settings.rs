//! What an operator sets: who is told.

use std::fmt;
use std::path::{Path, PathBuf};

use doorbook_event::Text;

use super::deliver::Destination;
use super::syslog::Syslog;
use super::webhook::Webhook;

/// Who is told; nobody by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// A webhook.
    pub webhook: Option<WebhookSettings>,
    /// A syslog server.
    pub syslog: Option<Syslog>,
}

/// A webhook, and the files that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Its address.
    pub url: String,
    /// A file with the secret that messages are signed with.
    pub secret_file: PathBuf,
    /// A file with the authority of its certificate, in PEM; without it those of the system.
    pub ca_file: Option<PathBuf>,
}

/// What cannot be used, and why.
#[derive(Debug)]
pub struct SettingsError {
    path: Option<PathBuf>,
    message: String,
}

impl Settings {
    /// Opens the files that they name, as a server would.
    pub fn destinations(&self) -> Result<Vec<(Text, Destination)>, SettingsError> {
        let mut destinations = Vec::new();
        if let Some(WebhookSettings { url, secret_file, ca_file }) = &self.webhook {
            let webhook = Webhook::open(url, secret_file, ca_file.as_ref())?;
            destinations
                .push((Destination::WEBHOOK.into(), Destination::Webhook(Box::new(webhook))));
        }
        if let Some(syslog) = &self.syslog {
            destinations.push((Destination::SYSLOG.into(), Destination::Syslog(syslog.clone())));
        }
        Ok(destinations)
    }
}

impl SettingsError {
    pub(super) fn of(path: &Path, message: String) -> SettingsError {
        SettingsError { path: Some(path.to_owned()), message }
    }

    pub(super) fn plain(message: String) -> SettingsError {
        SettingsError { path: None, message }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{} {}", path.display(), self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for SettingsError {}

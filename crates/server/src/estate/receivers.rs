//! `[[receiver]]`: where lines are sent to us. Nothing of it is in the registry: a server reads it when it
//! starts.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use doorbook_event::source::is_source_name;
use doorbook_event::{ProjectId, Text};

use super::file;
use super::read::{Document, Place, Problem};
use super::shape::At;
use super::wanted::{Wanted, WantedProject};
use crate::http::{self, TlsFiles};
use crate::receiver::{Network, Settings};

/// One receiver.
#[derive(Clone, Debug)]
pub struct WantedReceiver {
    /// Where it stands.
    pub place: Place,
    /// The name of its project.
    pub project: Text,
    settings: Settings,
}

impl WantedReceiver {
    /// What it is started with in a project of this id.
    pub fn settings_of(&self, project: ProjectId) -> Settings {
        Settings { project, ..self.settings.clone() }
    }

    /// Where it listens.
    pub fn listen(&self) -> SocketAddr {
        self.settings.listen
    }
}

impl Document {
    /// Where lines are received, if the file holds together.
    pub fn receivers(&self, wanted: &Wanted) -> Vec<WantedReceiver> {
        of(self, &wanted.projects, &mut Vec::new())
    }
}

/// From sections as written to receivers.
pub(super) fn of(
    document: &Document,
    projects: &[WantedProject],
    problems: &mut Vec<Problem>,
) -> Vec<WantedReceiver> {
    let mut found: Vec<WantedReceiver> = Vec::new();
    let mut names: BTreeMap<Text, Place> = BTreeMap::new();
    let mut addresses: BTreeMap<SocketAddr, Place> = BTreeMap::new();
    for section in document.estate.receiver.iter().flatten() {
        let mut reading = Reading { document, problems };
        let Some(receiver) = reading.receiver(section, projects) else { continue };
        let (name, listen) = (&receiver.settings.name, receiver.settings.listen);
        let taken = names.insert(name.clone(), receiver.place);
        let known_name = taken.map(|first| (&section.name, "this name", first));
        // Of port 0 each takes another one.
        let taken =
            if listen.port() == 0 { None } else { addresses.insert(listen, receiver.place) };
        let known_address = taken.map(|first| (&section.listen, "this address", first));
        for (value, what, first) in known_name.into_iter().chain(known_address) {
            let message =
                format!("the receiver in line {} has {what} already; each has its own", first.line);
            reading.tell(value, message);
        }
        found.push(receiver);
    }
    found
}

struct Reading<'a> {
    document: &'a Document,
    problems: &'a mut Vec<Problem>,
}

impl Reading<'_> {
    fn tell(&mut self, value: &At<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(self.document.place(&value.bytes()), message));
    }

    fn receiver(
        &mut self,
        section: &file::Receiver,
        projects: &[WantedProject],
    ) -> Option<WantedReceiver> {
        if !is_source_name(&section.name) {
            let message = format!(
                "{:?} is no receiver's name; write 1 to 64 of a-z, 0-9 and -_.",
                *section.name
            );
            self.tell(&section.name, message);
        }
        let tls = self.tls(section);
        let listen = self.listen(section, tls.is_some());
        let allow = self.allow(section);
        let project = self.project(section, projects)?;
        Some(WantedReceiver {
            place: self.document.place(&section.name.bytes()),
            project,
            settings: Settings {
                name: section.name.as_str().into(),
                // Whoever starts it says which.
                project: ProjectId::new([0; 12]),
                listen: listen?,
                tls,
                client_ca_file: section.client_ca_file.as_ref().map(|file| file.as_str().into()),
                allow,
            },
        })
    }

    fn project(&mut self, section: &file::Receiver, projects: &[WantedProject]) -> Option<Text> {
        match (&section.project, projects) {
            (None, [project]) => return Some(project.name.clone()),
            (None, _) => self.tell(&section.name, "which project\'s? Write project = \"NAME\""),
            (Some(name), projects) => {
                let known = projects.iter().find(|project| *project.name == ***name);
                match known {
                    Some(project) => return Some(project.name.clone()),
                    None => self.tell(name, format!("the file has no project {:?}", **name)),
                }
            }
        }
        None
    }

    fn tls(&mut self, section: &file::Receiver) -> Option<TlsFiles> {
        let files = [&section.tls_cert_file, &section.tls_key_file, &section.client_ca_file];
        for file in files.into_iter().flatten().filter(|file| !file.starts_with('/')) {
            self.tell(file, format!("{:?} is not an absolute path; write it from / on", **file));
        }
        match (&section.tls_cert_file, &section.tls_key_file, &section.client_ca_file) {
            (Some(certificate), Some(key), _) => {
                return Some(TlsFiles {
                    certificate: certificate.as_str().into(),
                    key: key.as_str().into(),
                });
            }
            (Some(only), None, _) => self.tell(only, "write tls_key_file = \"/PATH\", too"),
            (None, Some(only), _) => self.tell(only, "write tls_cert_file = \"/PATH\", too"),
            (None, None, Some(only)) => {
                self.tell(
                    only,
                    "certificates are shown by TLS: write tls_cert_file and tls_key_file, too",
                );
            }
            (None, None, None) => {}
        }
        None
    }

    fn listen(&mut self, section: &file::Receiver, has_tls: bool) -> Option<SocketAddr> {
        let Ok(address) = section.listen.parse::<SocketAddr>() else {
            let message = format!(
                "{:?} is nothing to listen on; write an address and a port, as in \"0.0.0.0:6514\"",
                *section.listen
            );
            self.tell(&section.listen, message);
            return None;
        };
        if !http::may_listen(address, has_tls, section.plaintext == Some(true)) {
            let message = format!(
                "{address} can be reached from other machines: write tls_cert_file and tls_key_file, \
                 or plaintext = true where everyone on the way may read and write what is sent"
            );
            self.tell(&section.listen, message);
        }
        Some(address)
    }

    fn allow(&mut self, section: &file::Receiver) -> Vec<Network> {
        let mut networks = Vec::new();
        for network in section.allow.iter().flatten() {
            match network.parse() {
                Ok(network) => networks.push(network),
                Err(error) => self.tell(network, format!("{:?} is no network: {error}", **network)),
            }
        }
        networks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names with their addresses, or a part of the first problem.
    #[track_caller]
    fn check(sections: &str, expected: Result<&[(&str, &str)], &str>) {
        let file = format!("version = 1\n[[project]]\nname = \"shop\"\n{sections}");
        let document = Document::read(file.as_bytes()).expect("reads");
        let found = document.wanted().map(|wanted| document.receivers(&wanted));
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                let of = |it: &WantedReceiver| {
                    (it.settings.name.to_string(), it.settings.listen.to_string())
                };
                let found: Vec<_> = found.iter().map(of).collect();
                let found: Vec<_> = found.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
                assert_eq!(found, expected, "{sections}");
            }
            (Err(problems), Err(part)) => {
                assert!(problems[0].message.contains(part), "{problems:?}");
            }
            (found, _) => panic!("{sections}: {found:?}"),
        }
    }

    #[test]
    fn a_receiver_is_what_its_section_says_or_refused() {
        let of = |name: &str, listen: &str, more: &str| {
            format!(
                "[[receiver]]\nname = \"{name}\"\nkind = \"syslog\"\nlisten = \"{listen}\"\n{more}\n"
            )
        };
        let tls = "tls_cert_file = \"/c\"\ntls_key_file = \"/k\"";
        check("", Ok(&[]));
        check(&of("a", "127.0.0.1:514", ""), Ok(&[("a", "127.0.0.1:514")]));
        check(&of("a", "0.0.0.0:514", tls), Ok(&[("a", "0.0.0.0:514")]));
        check(&of("a", "0.0.0.0:514", "plaintext = true"), Ok(&[("a", "0.0.0.0:514")]));
        let both = of("a", "127.0.0.1:0", "") + &of("b", "127.0.0.1:0", "allow = [\"10.0.0.0/8\"]");
        check(&both, Ok(&[("a", "127.0.0.1:0"), ("b", "127.0.0.1:0")]));
        check(&of("a", "0.0.0.0:514", ""), Err("can be reached from other machines"));
        check(&of("a", "514", ""), Err("nothing to listen on"));
        check(&of("A", "127.0.0.1:514", ""), Err("no receiver\'s name"));
        check(&of("a", "127.0.0.1:514", "project = \"x\""), Err("no project \"x\""));
        check(&of("a", "127.0.0.1:514", "tls_cert_file = \"/c\""), Err("tls_key_file"));
        check(&of("a", "127.0.0.1:514", "client_ca_file = \"/c\""), Err("shown by TLS"));
        check(&of("a", "127.0.0.1:514", "tls_cert_file = \"c\""), Err("not an absolute path"));
        check(&of("a", "127.0.0.1:514", "allow = [\"x\"]"), Err("no network"));
        let twice = of("a", "127.0.0.1:514", "") + &of("a", "127.0.0.1:515", "");
        check(&twice, Err("this name already"));
        let twice = of("a", "127.0.0.1:514", "") + &of("b", "127.0.0.1:514", "");
        check(&twice, Err("this address already"));
    }
}

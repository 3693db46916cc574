//! [`Arrival`]: a line that someone sends us, with what its sender says of it.
//!
//! Which host it is of is decided elsewhere, by rules over the [`Labels`]: a sender's word for a host is
//! not the registry's.

use std::collections::BTreeMap;

use doorbook_event::Text;
use doorbook_event::source::Rule;
use glob::Pattern;

/// A line that someone sends us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// What its sender says of it.
    pub labels: Labels,
    /// The line, as the system wrote it that it is of.
    pub line: Vec<u8>,
    /// All of it exactly as received: what is kept if nobody knows whose it is.
    pub received: Vec<u8>,
    /// Why that is not all of it: half a line is no line, whatever it reads like, and waits in quarantine
    /// if it may have been a record.
    pub cut: Option<Cut>,
}

/// Why a line is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It is too long, and only its beginning was kept.
    TooLong {
        /// How many bytes of [`Arrival::received`] came.
        length_bytes: u64,
        /// SHA-256 of them.
        sha256: [u8; 32],
    },
    /// Its end has not come.
    Unfinished,
}

/// What is said of a line, by name: `host.name`, `syslog.tag`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(BTreeMap<Text, Text>);

impl Labels {
    /// The value of a label.
    pub fn get(&self, label: &str) -> Option<&Text> {
        self.0.get(label)
    }

    /// Sets a label.
    pub fn set(&mut self, label: impl Into<Text>, value: impl Into<Text>) {
        self.0.insert(label.into(), value.into());
    }

    /// Every label with its value, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Text)> {
        self.0.iter()
    }

    /// Whether every rule holds. A rule over a label that was not said does not; a pattern that is none
    /// is a text.
    pub fn fit(&self, rules: &[Rule]) -> bool {
        let holds = |rule: &Rule| {
            let Some(value) = self.get(&rule.label) else { return false };
            Pattern::new(&rule.pattern).map_or(rule.pattern == *value, |it| it.matches(value))
        };
        rules.iter().all(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_must_hold() {
        let mut labels = Labels::default();
        labels.set("host.name", "db-1.example");
        labels.set("log.file.path", "/var/log/mongodb/mongod.log");
        let rule =
            |label: &str, pattern: &str| Rule { label: label.into(), pattern: pattern.into() };
        assert!(
            labels.fit(&[rule("host.name", "db-1.*"), rule("log.file.path", "/var/*/mongod.log")])
        );
        assert!(!labels.fit(&[rule("host.name", "db-1.*"), rule("log.file.path", "/srv/*")]));
        assert!(!labels.fit(&[rule("host.name", "db-1")]));
        assert!(!labels.fit(&[rule("syslog.tag", "*")]), "a label that was not said");
    }
}

//! One grammar for what is asked of a history, wherever it is asked: `result:failed user:svc-*
//! ip:10.0.0.0/8 -class:system`. `docs/design/filters.md` describes it for people.
//!
//! ```text
//! filter = [ term { space term } ]
//! term   = [ "-" ] key ":" value
//! value  = { bare | quoted | "*" }      not nothing; "" is the value that there is none
//! bare   = any character but white space, a quotation mark and an asterisk
//! quoted = '"' { any character but '"' and "\" | "\" any character } '"'
//! ```
//! [`Terms`] is what such a text says, [`Terms::filter`] what it means of a scope. A text that cannot
//! be read, or asks for what cannot be there, is [`Wrong`], at a column.

mod build;
mod parse;
#[cfg(test)]
mod tests;
mod time;

use std::fmt;

use doorbook_event::Timestamp;
use doorbook_store::filter::{TextIs, Wildcard};
use jiff::tz::TimeZone;

pub use build::About;
pub use time::{time_zone, zone_name};

/// The longest filter that is read, in bytes.
pub const SIZE_BYTES_MAX: usize = 8 * 1024;

/// The most terms of one filter.
pub const TERMS_MAX: usize = 200;

/// A filter as somebody wrote it. All keys must hold; of one key any of its values; none of those that
/// are negated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms(Vec<Term>);

/// A condition.
#[derive(Clone, Debug)]
pub struct Term {
    /// Of what.
    pub key: Key,
    /// Rows of which it holds are left out.
    pub is_negated: bool,
    /// What it must be.
    pub value: Value,
    /// Where it was said.
    pub place: Place,
}

/// What conditions are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A cluster of a project.
    Cluster,
    /// A host of a project, by any of its names.
    Host,
    /// An array of a namespace, by name or id.
    Array,
    /// What was tried.
    Action,
    /// How it ended.
    Result,
    /// A user of the accessed system.
    User,
    /// The database that knows the user.
    Database,
    /// Anybody of that name.
    Principal,
    /// From which address or network.
    Ip,
    /// The authentication mechanism.
    Mechanism,
    /// What the client calls itself.
    Application,
    /// The task.
    Task,
    /// The source's number for the connection.
    Connection,
    /// Which source told it.
    Source,
    /// A class.
    Class,
    /// Bytes in the record as it was received.
    Text,
    /// Events, or what could not be read.
    Kind,
    /// The earliest event time.
    From,
    /// The latest event time.
    To,
    /// How long ago at most.
    Since,
}

impl Key {
    /// All of them, in the order in which people are told of them.
    pub const ALL: [Key; 20] = [
        Key::Result,
        Key::User,
        Key::Database,
        Key::Principal,
        Key::Ip,
        Key::Application,
        Key::Mechanism,
        Key::Action,
        Key::Class,
        Key::Cluster,
        Key::Host,
        Key::Array,
        Key::Task,
        Key::Connection,
        Key::Source,
        Key::Text,
        Key::Kind,
        Key::From,
        Key::To,
        Key::Since,
    ];

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Key::Cluster => "cluster",
            Key::Host => "host",
            Key::Array => "array",
            Key::Action => "action",
            Key::Result => "result",
            Key::User => "user",
            Key::Database => "db",
            Key::Principal => "principal",
            Key::Ip => "ip",
            Key::Mechanism => "mechanism",
            Key::Application => "app",
            Key::Task => "task",
            Key::Connection => "connection",
            Key::Source => "source",
            Key::Class => "class",
            Key::Text => "text",
            Key::Kind => "kind",
            Key::From => "from",
            Key::To => "to",
            Key::Since => "since",
        }
    }

    /// Its name in events and among parameters, where that is another one.
    pub const fn parameter(self) -> &'static str {
        match self {
            Key::Result => "outcome",
            Key::Database => "database",
            Key::Ip => "address",
            Key::Application => "application",
            Key::Task => "task_id",
            other => other.word(),
        }
    }

    /// The key of a word, or of a parameter's name.
    pub fn from_word(word: &str) -> Option<Key> {
        Key::ALL.into_iter().find(|key| key.word() == word || key.parameter() == word)
    }
}

/// A value with gaps, which stand for any characters or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// What stands around the gaps; one piece if there is none. Between two gaps something does.
    pieces: Vec<String>,
}

impl Value {
    /// A value without a gap.
    pub fn exactly(text: impl Into<String>) -> Value {
        Value { pieces: vec![text.into()] }
    }

    /// The value, if it has no gap.
    pub fn plain(&self) -> Option<&str> {
        match &self.pieces[..] {
            [text] => Some(text),
            _ => None,
        }
    }

    /// As a condition on a text.
    pub fn is(&self) -> TextIs {
        let pieces: Vec<&str> = self.pieces.iter().map(String::as_str).collect();
        match (Wildcard::new(&pieces), &pieces[..]) {
            (Some(wildcard), _) => TextIs::Like(wildcard),
            (None, [""]) => TextIs::Absent,
            (None, pieces) => TextIs::Exactly(pieces.concat().into()),
        }
    }
}

/// Where a term was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a filter: where the term begins and where its value does, in characters from 1 on.
    Columns(usize, usize),
    /// By a parameter or an option of its own.
    Parameter(&'static str),
}

/// Where it was said is no part of what it says.
impl PartialEq for Term {
    fn eq(&self, other: &Term) -> bool {
        (self.key, self.is_negated, &self.value) == (other.key, other.is_negated, &other.value)
    }
}

impl Eq for Term {}

impl Terms {
    /// Reads a filter.
    pub fn parse(text: &str) -> Result<Terms, Wrong> {
        parse::terms(text).map(Terms)
    }

    /// Adds a condition that was given by a parameter or an option.
    pub fn add(&mut self, parameter: &'static str, key: Key, value: impl Into<String>) {
        let place = Place::Parameter(parameter);
        self.0.push(Term { key, is_negated: false, value: Value::exactly(value), place });
    }

    /// Adds one that leaves rows out.
    pub fn add_not(&mut self, parameter: &'static str, key: Key, value: impl Into<String>) {
        let place = Place::Parameter(parameter);
        self.0.push(Term { key, is_negated: true, value: Value::exactly(value), place });
    }

    /// Adds the conditions of another filter.
    pub fn append(&mut self, mut other: Terms) {
        self.0.append(&mut other.0);
    }

    /// The same, each at the place where it was typed: these were made of `typed`, and what was added to
    /// them was given by a parameter of its own.
    #[must_use]
    pub fn placed_as(mut self, typed: &Terms) -> Terms {
        for (n, term) in self.0.iter_mut().enumerate() {
            let place = typed.0.get(n).map(|typed| typed.place);
            term.place = place.unwrap_or(Place::Parameter(term.key.word()));
        }
        self
    }

    /// The conditions, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Term> {
        self.0.iter()
    }

    /// The same with all times as instants, so that it asks for the same whenever it is read.
    pub fn at(self, now: Timestamp, zone: &TimeZone) -> Result<Terms, Wrong> {
        let terms = self.0.into_iter().map(|term| time::resolved(term, now, zone));
        terms.collect::<Result<_, _>>().map(Terms)
    }
}

impl fmt::Display for Terms {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, term) in self.0.iter().enumerate() {
            write!(f, "{}{term}", if n == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minus = if self.is_negated { "-" } else { "" };
        write!(f, "{minus}{}:{}", self.key.word(), self.value)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, piece) in self.pieces.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "*" })?;
            let is_bare = !piece.is_empty() && piece.chars().all(parse::is_bare);
            match is_bare || piece.is_empty() && self.pieces.len() > 1 {
                true => f.write_str(piece)?,
                false => write!(f, "\"{}\"", piece.replace('\\', "\\\\").replace('"', "\\\""))?,
            }
        }
        Ok(())
    }
}

/// Why a filter means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where.
    pub place: Place,
    /// Why, and what to write instead; no sentence, so that it can follow a name.
    pub what: String,
    /// Whether something is named that there is not.
    pub is_missing: bool,
}

impl Wrong {
    fn at(column: usize, what: impl Into<String>) -> Wrong {
        Wrong { place: Place::Columns(column, column), what: what.into(), is_missing: false }
    }

    /// About a term's value.
    fn value(term: &Term, what: impl Into<String>) -> Wrong {
        let place = match term.place {
            Place::Columns(_, value) => Place::Columns(value, value),
            place => place,
        };
        Wrong { place, what: what.into(), is_missing: false }
    }

    /// About a term as a whole.
    fn term(term: &Term, what: impl Into<String>) -> Wrong {
        Wrong { place: term.place, what: what.into(), is_missing: false }
    }

    /// About a name that nothing has.
    fn missing(term: &Term, what: impl Into<String>) -> Wrong {
        Wrong { is_missing: true, ..Wrong::value(term, what) }
    }

    /// For a terminal: the filter, and below it a caret and what is wrong.
    pub fn explain(&self, filter: &str) -> String {
        match self.place {
            Place::Parameter(name) => format!("{name}: {}", self.what),
            Place::Columns(column, _) => {
                // What a terminal would obey is not shown to it.
                let shown: String = filter.chars().map(visible).collect();
                let indent = " ".repeat(column - 1);
                format!(
                    "the filter cannot be read at column {column}\n  {shown}\n  {indent}^ {}",
                    self.what
                )
            }
        }
    }
}

fn visible(c: char) -> char {
    let is_bidi =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || is_bidi { char::REPLACEMENT_CHARACTER } else { c }
}

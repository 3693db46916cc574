//! From a text to terms.

use super::{Key, Place, SIZE_BYTES_MAX, TERMS_MAX, Term, Value, Wrong};

/// Reads a filter.
pub fn terms(text: &str) -> Result<Vec<Term>, Wrong> {
    if text.len() > SIZE_BYTES_MAX {
        return Err(Wrong::at(1, format!("a filter has at most {SIZE_BYTES_MAX} bytes")));
    }
    let mut reader = Reader { rest: text, column: 1 };
    let mut terms = Vec::new();
    loop {
        reader.skip_spaces();
        if reader.rest.is_empty() {
            return Ok(terms);
        }
        if terms.len() == TERMS_MAX {
            return Err(Wrong::at(
                reader.column,
                format!("a filter has at most {TERMS_MAX} terms"),
            ));
        }
        terms.push(reader.term()?);
    }
}

/// Whether a character stands for itself outside quotation marks.
pub fn is_bare(c: char) -> bool {
    !c.is_whitespace() && c != '"' && c != '*'
}

struct Reader<'a> {
    rest: &'a str,
    /// Of the next character, from 1 on.
    column: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        self.column += 1;
        Some(c)
    }

    fn skip_spaces(&mut self) {
        while self.rest.starts_with(char::is_whitespace) {
            self.next();
        }
    }

    fn term(&mut self) -> Result<Term, Wrong> {
        let start = self.column;
        let is_negated = self.rest.starts_with('-');
        if is_negated {
            self.next();
        }
        let key = self.key()?;
        let value_start = self.column;
        let value = self.value()?;
        Ok(Term { key, is_negated, value, place: Place::Columns(start, value_start) })
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<Key, Wrong> {
        let start = self.column;
        let end = self.rest.find(|c| !is_bare(c) || c == ':').unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        if !self.rest[end..].starts_with(':') {
            return Err(Wrong::at(start, no_key(word)));
        }
        let Some(key) = Key::from_word(word) else {
            let words = Key::ALL.map(Key::word).join(", ");
            return Err(Wrong::at(start, format!("there is no term {word:?}; there is {words}")));
        };
        while self.next() != Some(':') {}
        Ok(key)
    }

    fn value(&mut self) -> Result<Value, Wrong> {
        let start = self.column;
        let mut pieces = vec![String::new()];
        let mut is_there = false;
        while let Some(c) = self.rest.chars().next().filter(|c| !c.is_whitespace()) {
            is_there = true;
            let here = self.column;
            self.next();
            let has_gap = pieces.len() > 1;
            let piece = pieces.last_mut().expect("there is always one");
            match c {
                // Two gaps without anything between them are one.
                '*' if has_gap && piece.is_empty() => {}
                '*' => pieces.push(String::new()),
                '"' => self.quoted(here, piece)?,
                c => piece.push(c),
            }
        }
        match is_there {
            true => Ok(Value { pieces }),
            false => Err(Wrong::at(
                start,
                "a value follows the colon at once; \"\" stands for that there is none",
            )),
        }
    }

    /// What follows a quotation mark.
    fn quoted(&mut self, start: usize, piece: &mut String) -> Result<(), Wrong> {
        while let Some(c) = self.next() {
            match c {
                '"' => return Ok(()),
                '\\' => piece.extend(self.next()),
                c => piece.push(c),
            }
        }
        Err(Wrong::at(start, "the quotation mark has no other end"))
    }
}

fn no_key(word: &str) -> String {
    match word {
        "AND" | "and" | "&&" => "terms stand side by side, and all of them must hold".to_owned(),
        "OR" | "or" | "||" => {
            "write a term of the same key twice for either: user:alice user:bob".to_owned()
        }
        "NOT" | "not" => "put a minus before the term: -class:system".to_owned(),
        _ => {
            "a term is a key, a colon and a value, such as user:alice; what is in the record as it \
              was received is text:\"…\""
                .to_owned()
        }
    }
}

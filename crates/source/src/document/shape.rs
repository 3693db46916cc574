//! [`Shape`]: how the latest lines were made.
//!
//! A sender writes each line with the same members in the same order, and in most of them what it
//! wrote before. To compare with that costs a fraction of reading it anew. Nothing is taken on
//! trust: what is not byte for byte the same is read, so that a line means the same whatever came
//! before it.

use doorbook_event::Text;

use super::members::Member;
use crate::json::Cursor;

/// Members that are remembered.
const MEMBERS_MAX: usize = 64;

/// Longer names and texts do not repeat enough.
const LENGTH_MAX: usize = 128;

/// So many other texts in a row show that one does not come back. To remember each of a column
/// where all differ would cost more than it saves.
const MISSES_MAX: u8 = 8;

/// The members of the latest lines, by their place in the line.
#[derive(Default)]
pub struct Shape {
    members: Vec<Remembered>,
}

struct Remembered {
    /// From behind the member before to the colon, both included.
    written: Box<[u8]>,
    /// The name, which has no escapes, within `written`.
    name_begin: usize,
    name_end: usize,
    member: Option<Member>,
    /// Its latest text, which has no escapes and nothing that needs one.
    text: Option<Text>,
    misses: u8,
}

/// The name of a member, and the member, where it has a place of its own.
pub type Named<'a> = (&'a [u8], Option<Member>);

impl Shape {
    /// Takes the name of a line's member, if it is written as in the line before.
    #[inline]
    pub fn take_name<'a>(&self, place: usize, cursor: &mut Cursor<'a>) -> Option<Named<'a>> {
        let known = self.members.get(place)?;
        let rest = cursor.rest();
        let written = rest.get(..known.written.len())?;
        if *written != *known.written {
            return None;
        }
        cursor.advance(written.len());
        Some((&written[known.name_begin..known.name_end], known.member))
    }

    /// Takes the text of the member whose name was taken, if it is the one before.
    #[inline]
    pub fn take_text(&mut self, place: usize, cursor: &mut Cursor<'_>) -> Option<&Text> {
        let known = self.members.get_mut(place)?;
        let text = known.text.as_ref()?;
        let rest = cursor.rest();
        let blanks = usize::from(rest.first() == Some(&b' '));
        let quoted = rest.get(blanks..blanks + text.len() + 2)?;
        if quoted[0] != b'"'
            || quoted[text.len() + 1] != b'"'
            || &quoted[1..=text.len()] != text.as_bytes()
        {
            return None;
        }
        cursor.advance(blanks + quoted.len());
        known.misses = 0;
        Some(text)
    }

    /// Remembers how a name without escapes was written. `name` is part of `written`.
    pub fn remember_name(&mut self, place: usize, written: &[u8], (name, member): Named<'_>) {
        let begin = memchr::memchr(b'"', written).map_or(0, |quote| quote + 1);
        if place > self.members.len() || place >= MEMBERS_MAX || written.len() > LENGTH_MAX {
            return;
        }
        let known = Remembered {
            written: written.into(),
            name_begin: begin,
            name_end: begin + name.len(),
            member,
            text: None,
            misses: 0,
        };
        match self.members.get_mut(place) {
            Some(old) => *old = known,
            None => self.members.push(known),
        }
    }

    /// Remembers a member's text that was written without escapes.
    #[inline]
    pub fn remember_text(&mut self, place: usize, text: &Text) {
        let Some(known) = self.members.get_mut(place) else { return };
        known.misses = known.misses.saturating_add(1);
        if (known.text.is_none() || known.misses >= MISSES_MAX) && text.len() <= LENGTH_MAX {
            (known.text, known.misses) = (Some(text.clone()), 0);
        }
    }
}

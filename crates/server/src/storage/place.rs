//! [`Place`]: where arrays are stored, as something to look at.

use doorbook_event::Text;
use doorbook_source::tiledb::{Contents, Listing};

/// Where arrays are stored.
pub(super) trait Place: Send {
    /// Hands on every array below, one after the other, until `see` says that it is enough. An error is one
    /// of the place; what keeps single arrays or folders from being looked at is told of in
    /// [`Looked::hidden`].
    fn look(&mut self, see: &mut dyn FnMut(Seen<'_>) -> bool) -> Result<Looked, Unseen>;

    /// Hands on one of them.
    fn look_at(&mut self, uri: &str, see: &mut dyn FnMut(Seen<'_>));

    /// What changed since this was asked last, as far as it tells by itself.
    fn changed(&mut self) -> Changed;

    /// By how much what was changed before a look can bear a later time, or came a little later: a file's time
    /// is not taken when it can be seen, and not by our clock.
    fn margin_seconds(&self) -> i64;

    /// How long nothing more is gone once all of a removal is; 0 where files go faster than looks come.
    fn removal_seconds(&self) -> i64;

    /// What should be known of how it is looked at.
    fn note(&self) -> Option<Text>;
}

/// What a look shows of one array, or of what may be one.
pub(super) struct Seen<'a> {
    /// Where it is stored.
    pub(super) uri: Text,
    /// Its files; else why these cannot be listed.
    pub(super) listing: Result<Listing, Text>,
    /// What is in them.
    pub(super) contents: &'a mut dyn Contents,
}

/// A look that came to its end.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Places below that could not be looked at, with the reason: what is below these is not known.
    pub(super) hidden: Vec<(Text, Text)>,
}

/// Why a place could not be looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unseen {
    /// Whether it is simply not there.
    pub(super) is_absent: bool,
    /// In words.
    pub(super) message: Text,
}

/// What changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// What is below, or so much that it is not known what.
    pub(super) place: bool,
    /// These arrays.
    pub(super) arrays: Vec<Text>,
}

//! Retention: which rows are too old for any answer, and when their bytes go.

use doorbook_event::Timestamp;
use minicbor::{Decode, Encode};

/// What retention did to a log, and is about to do.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Expiry {
    /// Rows that were removed.
    #[n(0)]
    pub(crate) rows: u64,
    /// Rows of events before this are in no answer whatever the clock says: some of them are gone.
    #[n(1)]
    pub(crate) until: Option<Timestamp>,
    /// The announcement that precedes a removal.
    #[n(2)]
    pub(crate) notice: Option<Notice>,
}

/// That events before a limit were too old at some time, by our clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Notice {
    /// When that was.
    #[n(0)]
    pub(crate) at: Timestamp,
    /// The limit.
    #[n(1)]
    pub(crate) limit: Timestamp,
}

impl Expiry {
    pub(crate) fn is_none(&self) -> bool {
        *self == Expiry::default()
    }
}

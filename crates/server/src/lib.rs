//! Doorbook.

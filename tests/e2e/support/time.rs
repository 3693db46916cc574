//! The time.

use std::time::{SystemTime, UNIX_EPOCH};

/// In seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "held against what real processes wrote")]
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

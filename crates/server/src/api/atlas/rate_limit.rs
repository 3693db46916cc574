//! Token buckets, one per project: Atlas's set "Access Logs" has scope GROUP and is shared by both
//! paths (contract §2). Requests that prove nothing are not counted: the Go client makes one before
//! every real one, and the recorded counter went from 1199 to 1198 over two such pairs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use doorbook_event::{ProjectId, Timestamp};

use crate::app::RateLimit;

/// The buckets. Only projects that exist get one, so the registry bounds them.
pub struct Buckets {
    limit: RateLimit,
    levels: Mutex<HashMap<ProjectId, Level>>,
}

/// How full a bucket was, and when. In units of 1 / (period in microseconds) of a request, so that
/// `refill` units come back per microsecond and nothing is rounded.
#[derive(Clone, Copy)]
struct Level {
    units: u128,
    at: Timestamp,
}

/// What a request got from the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// There is no limit.
    Unlimited,
    /// A request, and so many are left.
    Granted {
        /// For `RateLimit-Remaining`.
        remaining: u64,
    },
    /// Nothing.
    Refused {
        /// For `Retry-After`, rounded down as Atlas does ("Please retry after 0 seconds").
        retry_after_seconds: u64,
    },
}

impl Buckets {
    /// Full ones.
    pub fn new(limit: RateLimit) -> Buckets {
        Buckets { limit, levels: Mutex::default() }
    }

    /// The limit.
    pub fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Takes one request out of a project's bucket.
    pub fn take(&self, project: ProjectId, now: Timestamp) -> Taken {
        let RateLimit { capacity, refill, period_seconds } = self.limit;
        if capacity == 0 {
            return Taken::Unlimited;
        }
        let request = u128::from(period_seconds.max(1)) * 1_000_000;
        let full = u128::from(capacity) * request;
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let level = levels.entry(project).or_insert(Level { units: full, at: now });
        // A clock that was set back gives nothing, and takes nothing.
        let elapsed_micros = now.micros().saturating_sub(level.at.micros()).max(0).unsigned_abs();
        level.units = full.min(level.units + u128::from(elapsed_micros) * u128::from(refill));
        level.at = now;
        if level.units >= request {
            level.units -= request;
            let remaining = u64::try_from(level.units / request).unwrap_or(u64::MAX);
            return Taken::Granted { remaining };
        }
        let missing_micros = (request - level.units).div_ceil(u128::from(refill.max(1)));
        let retry_after_seconds = u64::try_from(missing_micros / 1_000_000).unwrap_or(u64::MAX);
        Taken::Refused { retry_after_seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ProjectId = ProjectId::new([1; 12]);
    const B: ProjectId = ProjectId::new([2; 12]);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    #[test]
    fn a_bucket_empties_and_fills_at_its_rate() {
        let limit = RateLimit { capacity: 2, refill: 1, period_seconds: 3 };
        let buckets = Buckets::new(limit);
        let granted = |remaining| Taken::Granted { remaining };
        let refused = |retry_after_seconds| Taken::Refused { retry_after_seconds };
        assert_eq!(buckets.take(A, at(0)), granted(1));
        assert_eq!(buckets.take(A, at(0)), granted(0));
        assert_eq!(buckets.take(A, at(0)), refused(3));
        assert_eq!(buckets.take(A, at(2_999)), refused(0));
        assert_eq!(buckets.take(A, at(3_000)), granted(0));
        assert_eq!(buckets.take(A, at(1_000)), refused(3));
        assert_eq!(buckets.take(B, at(3_000)), granted(1));
        assert_eq!(buckets.take(A, at(1_000_000)), granted(1));
    }

    #[test]
    fn atlas_s_figures_and_no_limit() {
        let buckets = Buckets::new(RateLimit::ACCESS_LOGS);
        assert_eq!(buckets.take(A, at(0)), Taken::Granted { remaining: 1199 });
        for _ in 0..1199 {
            buckets.take(A, at(0));
        }
        assert_eq!(buckets.take(A, at(0)), Taken::Refused { retry_after_seconds: 0 });
        assert_eq!(buckets.take(A, at(120)), Taken::Granted { remaining: 0 });
        assert_eq!(Buckets::new(RateLimit::OFF).take(A, at(0)), Taken::Unlimited);
    }
}

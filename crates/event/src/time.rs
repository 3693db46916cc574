//! Instants, and the two things that must come in as arguments: the clock and randomness.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant: microseconds since 1970-01-01T00:00:00Z, without leap seconds.
///
/// Shown and parsed as RFC 3339 in UTC. mongod writes milliseconds, object stores microseconds;
/// nothing we read is finer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Timestamp(#[n(0)] i64);

impl Timestamp {
    /// The earliest instant this type is used with (year -9999 would not print as RFC 3339).
    pub const MIN: Timestamp = Timestamp(-62_135_596_800_000_000); // 0001-01-01T00:00:00Z
    /// The latest instant that prints as RFC 3339 in every time zone.
    pub const MAX: Timestamp = Timestamp(253_402_207_200_000_000); // 9999-12-30T22:00:00Z, jiff's last

    /// From microseconds since the epoch, clamped to what RFC 3339 can write.
    pub const fn from_micros(micros: i64) -> Timestamp {
        if micros < Self::MIN.0 {
            Self::MIN
        } else if micros > Self::MAX.0 {
            Self::MAX
        } else {
            Timestamp(micros)
        }
    }

    /// From milliseconds since the epoch, clamped.
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis.saturating_mul(1000))
    }

    /// From seconds since the epoch, clamped.
    pub const fn from_seconds(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded towards the past.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This instant moved by a number of microseconds (negative: into the past), clamped.
    pub const fn plus_micros(self, micros: i64) -> Timestamp {
        Timestamp::from_micros(self.0.saturating_add(micros))
    }

    /// This instant moved by a number of seconds, clamped.
    pub const fn plus_seconds(self, seconds: i64) -> Timestamp {
        self.plus_micros(seconds.saturating_mul(1_000_000))
    }

    /// The same instant for calendar arithmetic.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).expect("both ends of Timestamp are within jiff's")
    }

    /// From calendar arithmetic, rounded down to the microsecond and clamped.
    pub fn from_jiff(instant: jiff::Timestamp) -> Timestamp {
        Timestamp::from_micros(instant.as_microsecond())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_jiff(), f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;
    /// Parses RFC 3339. The last day of the year 9999, which people write for "no end", is beyond
    /// what can be calculated with in every time zone, and means the latest instant.
    fn from_str(text: &str) -> Result<Timestamp, jiff::Error> {
        match text.parse::<jiff::Timestamp>() {
            Ok(instant) => Ok(Timestamp::from_jiff(instant)),
            Err(_) if is_beyond(text) => Ok(Timestamp::MAX),
            Err(error) => Err(error),
        }
    }
}

/// Whether the text is a well-formed instant after [`Timestamp::MAX`].
fn is_beyond(text: &str) -> bool {
    let Ok(pieces) = jiff::fmt::temporal::Pieces::parse(text) else { return false };
    // Jiff refused it although it is well formed, and of these days it refuses the part beyond.
    pieces.time().is_some()
        && pieces.to_numeric_offset().is_some()
        && pieces.date() >= jiff::civil::date(9999, 12, 30)
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where the present comes from. The binary passes the system's clock; tests pass [`ManualClock`].
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> ManualClock {
        ManualClock(AtomicI64::new(now.micros()))
    }

    /// Moves the clock, in either direction.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Where unpredictable bytes come from. The binary passes the operating system's generator; tests
/// pass [`CountingRandom`].
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// Bytes that count upwards: distinct and repeatable, for tests only.
#[derive(Debug, Default)]
pub struct CountingRandom(AtomicU64);

impl Random for CountingRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let n = self.0.fetch_add(1, Ordering::SeqCst).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&n.to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_and_reads_rfc_3339() {
        let t = Timestamp::from_millis(1_682_476_736_454);
        assert_eq!(t.to_string(), "2023-04-26T02:38:56.454Z");
        assert_eq!("2023-04-26T04:38:56.454+02:00".parse::<Timestamp>().expect("valid"), t);
        assert!("2023-04-26".parse::<Timestamp>().is_err());
        for end in [
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.999999Z",
            "9999-12-31T00:00:00+01:00",
            "9999-12-31t23:59:59-08:00",
        ] {
            assert_eq!(end.parse::<Timestamp>().ok(), Some(Timestamp::MAX), "{end}");
        }
        for bad in ["9999-12-31", "9999-12-31T23:59:59", "9999-12-32T00:00:00Z", "9999-12-31Z"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn instants_beyond_rfc_3339_are_clamped() {
        assert_eq!(Timestamp::from_millis(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_seconds(i64::MIN), Timestamp::MIN);
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-30T22:00:00Z");
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00Z");
    }
}

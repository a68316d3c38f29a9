//! Time and randomness, passed in so that tests are deterministic.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::{Uuid, timestamp::Timestamp as UuidTimestamp};

use crate::error::{Error, Result};

/// Milliseconds since the Unix epoch. It is always written as RFC 3339 with milliseconds, in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0000-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z: the range of RFC 3339.
    const FIRST: i64 = -62_167_219_200_000;
    const LAST: i64 = 253_402_300_799_999;

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }

    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    fn to_datetime(self) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).ok()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(t) = self.to_datetime() else { return f.write_str("out of range") };
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second(),
            t.millisecond()
        )
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Timestamp {
    type Err = time::error::Parse;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let nanos = OffsetDateTime::parse(text, &Rfc3339)?.unix_timestamp_nanos();
        let millis = i64::try_from(nanos.div_euclid(1_000_000)).unwrap_or(i64::MAX);
        // An offset can lead beyond the years of RFC 3339.
        Ok(Self(millis.clamp(Self::FIRST, Self::LAST)))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date and time as in RFC 3339, such as 2026-11-25T09:30:00Z")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// Where "now" comes from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    #[default]
    System,
    /// Stands still until a test moves it.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    pub fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(start.as_millis())))
    }

    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
            Self::Manual(millis) => Timestamp(millis.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock. Does nothing to the system's clock.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(millis) = self {
            millis.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}

/// Where randomness comes from.
#[derive(Clone, Debug, Default)]
pub enum Random {
    /// AWS-LC's generator.
    #[default]
    System,
    /// A counter, for tests that compare answers byte for byte.
    Counting(Arc<AtomicU64>),
    /// Hashes of a seed and a counter, for tests that must run the same way again.
    Seeded(u64, Arc<AtomicU64>),
}

impl Random {
    pub fn counting() -> Self {
        Self::Counting(Arc::new(AtomicU64::new(1)))
    }

    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(seed, Arc::default())
    }

    pub fn bytes<const N: usize>(&self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        match self {
            Self::System => aws_lc_rs::rand::fill(&mut bytes).map_err(Error::internal)?,
            Self::Counting(counter) => {
                let count = counter.fetch_add(1, Ordering::SeqCst).to_be_bytes();
                let at = N.saturating_sub(count.len());
                for (to, from) in bytes[at..].iter_mut().zip(count) {
                    *to = from;
                }
            }
            Self::Seeded(seed, counter) => {
                for chunk in bytes.chunks_mut(digest::SHA256_OUTPUT_LEN) {
                    let count = counter.fetch_add(1, Ordering::SeqCst);
                    let drawn = [seed.to_be_bytes(), count.to_be_bytes()].concat();
                    let drawn = digest::digest(&digest::SHA256, &drawn);
                    chunk.copy_from_slice(drawn.as_ref().get(..chunk.len()).unwrap_or_default());
                }
            }
        }
        Ok(bytes)
    }

    /// A version 4 UUID.
    pub fn uuid(&self) -> Result<Uuid> {
        Ok(uuid::Builder::from_random_bytes(self.bytes()?).into_uuid())
    }

    /// A version 7 UUID, which sorts by time.
    pub fn uuid_at(&self, now: Timestamp) -> Result<Uuid> {
        let millis = u64::try_from(now.as_millis()).unwrap_or_default();
        Ok(uuid::Builder::from_unix_timestamp_millis(millis, &self.bytes()?).into_uuid())
    }
}

/// The smallest version 7 UUID of a moment: the bound for a range of ids by time.
pub fn first_uuid_at(moment: Timestamp) -> Uuid {
    let millis = u64::try_from(moment.as_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}

/// The moment at which a version 7 UUID was made.
pub fn uuid_time(id: Uuid) -> Option<Timestamp> {
    id.get_timestamp().as_ref().map(UuidTimestamp::to_unix).map(|(seconds, nanos)| {
        Timestamp(
            i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000) + i64::from(nanos / 1_000_000),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_back_what_it_writes() {
        let t: Timestamp = "2026-11-25T09:30:00.123Z".parse().unwrap();
        assert_eq!(t.to_string(), "2026-11-25T09:30:00.123Z");
        assert_eq!(t.to_string().parse::<Timestamp>().unwrap(), t);
        assert_eq!("2026-11-25T10:30:00.123+01:00".parse::<Timestamp>().unwrap(), t);
    }

    #[test]
    fn a_timestamp_beyond_the_years_of_rfc_3339_reads_back_too() {
        for (far, written) in [
            ("9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59.999Z"),
            ("0000-01-01T00:00:00+01:00", "0000-01-01T00:00:00.000Z"),
        ] {
            let t: Timestamp = far.parse().unwrap();
            assert_eq!(t.to_string(), written);
            assert_eq!(written.parse::<Timestamp>().unwrap(), t);
        }
    }

    #[test]
    fn event_ids_sort_by_time_and_give_it_back() {
        let random = Random::System;
        let early = Timestamp::from_millis(1_700_000_000_000);
        let late = early.plus(Duration::from_millis(1));
        let (a, b) = (random.uuid_at(early).unwrap(), random.uuid_at(late).unwrap());
        assert!(first_uuid_at(early) <= a && a < first_uuid_at(late) && first_uuid_at(late) <= b);
        assert_eq!(uuid_time(a), Some(early));
    }
}

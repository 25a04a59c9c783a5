//! Points in time.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// A point in time in UTC, in whole microseconds (what Postgres keeps; finer parts of a message's time are
/// cut off). Read from a message: RFC 3339, in the years 1970 to 9999, capital `T` and `Z`, no leap second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    const EXPECTED: &'static str = "an RFC 3339 time such as 2026-11-22T10:00:00Z, in the years 1970 to 9999";
    /// RFC 3339 with capital letters, without leap seconds, with at most nine decimals.
    const PATTERN: &'static str = concat!(
        "^(19[7-9][0-9]|[2-9][0-9]{3})-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9]",
        r"(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$"
    );

    /// What [`Self::PATTERN`] says beyond what the `time` crate checks: that takes any year, anything for the
    /// `T`, leap seconds and any number of decimals.
    fn has_shape(text: &str) -> bool {
        let bytes = text.as_bytes();
        let decimals = bytes.iter().skip(20).take_while(|byte| byte.is_ascii_digit()).count();
        bytes.get(..4) >= Some(b"1970")
            && bytes.get(10) == Some(&b'T')
            && bytes.get(17..19) != Some(b"60")
            && decimals <= 9
            && !text.ends_with('z')
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn as_micros(self) -> i64 {
        i64::try_from(self.0.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
    }

    /// As the `time` crate has it.
    pub fn get(self) -> OffsetDateTime {
        self.0
    }

    /// This much later; the last moment of the year 9999 where that would be later still.
    #[must_use]
    pub fn plus(self, duration: time::Duration) -> Self {
        Self(self.0.checked_add(duration).unwrap_or(time::macros::datetime!(9999-12-31 23:59:59 UTC)))
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(time: OffsetDateTime) -> Self {
        Self(time.to_offset(UtcOffset::UTC).truncate_to_microsecond())
    }
}

impl std::str::FromStr for Timestamp {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Some(text)
            .filter(|text| Self::has_shape(text))
            .and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok())
            .and_then(|time| time.checked_to_offset(UtcOffset::UTC))
            .filter(|time| (1970..=9999).contains(&time.year()))
            .map(Self::from)
            .ok_or_else(|| format!("is no such time; expected {}", Self::EXPECTED))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = crate::json::text(deserializer, Self::EXPECTED)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time", "pattern": Self::PATTERN, "description": Self::EXPECTED })
    }
}

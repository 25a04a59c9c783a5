//! Points in time, and durations, on the command line.

use std::time::Duration;

use contract::Timestamp;

/// For clap: a duration in words.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a duration such as 500ms, 10s, 5m or 2d".to_owned())
}

/// For clap: RFC 3339, or a day, which begins at midnight in UTC.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let is_day = text.len() == "2026-11-22".len();
    let midnight = format!("{text}T00:00:00Z");
    let parsed = if is_day { &midnight } else { text }.parse();
    parsed.map_err(|_: String| {
        "expected a day such as 2026-11-22 (UTC) or a time such as 2026-11-22T10:00:00Z, in the years 1970 to 9999"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        for (text, time) in [
            ("2026-11-22", "2026-11-22T00:00:00Z"),
            ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
            ("2026-11-22T10:00:00+01:00", "2026-11-22T09:00:00Z"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), time);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "22.11.2026",
            "2026-02-30",
            "2026-11-22T10:00:00",
            "2026-11-22 10",
            "1969-12-31",
            "yesterday!",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

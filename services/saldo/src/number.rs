//! Numbers on the command line, with errors that say what would be accepted.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

/// For clap: how many; at least one.
pub(crate) fn count(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| format!("expected a whole number from 1 to {}", u32::MAX))
}

/// As many as are wanted; all, where no limit is given.
pub(crate) fn or_all(limit: Option<NonZeroU32>) -> u32 {
    limit.map_or(u32::MAX, NonZeroU32::get)
}

/// For clap: a whole number within these bounds.
pub(crate) fn within(
    bounds: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number.ok_or_else(|| format!("expected a whole number from {} to {}", bounds.start(), bounds.end()))
    }
}

/// For clap: the number of a row, as it is listed.
pub(crate) fn id(text: &str) -> Result<i64, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected its number, as it is listed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_or_out_of_bounds_is_told_what_would_be_accepted() {
        assert_eq!(count("1").unwrap().get(), 1);
        for wrong in ["0", "-1", "1.5", "banana", "", "4294967296"] {
            assert_eq!(count(wrong).unwrap_err(), "expected a whole number from 1 to 4294967295", "{wrong}");
        }
        let seconds = within(1..=3600);
        assert_eq!((seconds("1"), seconds("3600")), (Ok(1), Ok(3600)));
        for wrong in ["0", "3601", "2s", ""] {
            assert_eq!(seconds(wrong).unwrap_err(), "expected a whole number from 1 to 3600", "{wrong}");
        }
        assert_eq!(id("17"), Ok(17));
        for wrong in ["0", "-17", "x", "99999999999999999999"] {
            assert!(id(wrong).is_err(), "{wrong}");
        }
    }
}

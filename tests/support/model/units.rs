//! Amounts in the smallest unit, and times in microseconds.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Decimals of a currency.
pub(super) fn exponent(currency: &str) -> u32 {
    match currency {
        "JPY" => 0,
        "KWD" => 3,
        _ => 2,
    }
}

/// An amount as messages write it, in the smallest unit.
pub(super) fn minor(amount: &str, currency: &str) -> i64 {
    let (whole, decimals) = amount.split_once('.').unwrap_or((amount, ""));
    let places = exponent(currency) as usize;
    format!("{whole}{decimals:0<places$}").parse().unwrap()
}

/// The same as text, with exactly the currency's decimals.
pub(super) fn text(minor: i64, currency: &str) -> String {
    let (sign, places) = (if minor < 0 { "-" } else { "" }, exponent(currency));
    let (whole, decimals) = (minor.abs() / 10_i64.pow(places), minor.abs() % 10_i64.pow(places));
    if places == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{decimals:0>0$}", places as usize)
    }
}

pub(super) fn micros(time: &str) -> i64 {
    let time = OffsetDateTime::parse(time, &Rfc3339).unwrap();
    i64::try_from(time.unix_timestamp_nanos() / 1000).unwrap()
}

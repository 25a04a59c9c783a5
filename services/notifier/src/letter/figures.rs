//! Amounts and times as people of a locale write them.

use contract::Currency;
use icu_datetime::DateTimeFormatter;
use icu_datetime::fieldsets::YMD;
use icu_datetime::input::{Date, DateTime, Time};
use icu_locale_core::Locale;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ledger::display;
use rust_decimal::Decimal;
use time::OffsetDateTime;

use super::LetterError;

/// What figures look like in one text.
pub(super) struct Figures<'a> {
    pub(super) locale: &'a str,
    pub(super) time_zone: &'a TimeZone,
}

impl Figures<'_> {
    pub(super) fn amount(&self, figure: Decimal, currency: Currency) -> String {
        display::amount(figure, currency, self.locale)
    }

    /// A day and a minute, with the time zone: `5 mar 2026, 15:30 CET`.
    pub(super) fn time(&self, at: OffsetDateTime) -> Result<String, LetterError> {
        self.local(at).ok_or(LetterError::Time)
    }

    fn local(&self, at: OffsetDateTime) -> Option<String> {
        let at = Timestamp::from_second(at.unix_timestamp()).ok()?;
        let local = self.time_zone.to_datetime(at);
        let (month, day) = (u8::try_from(local.month()).ok()?, u8::try_from(local.day()).ok()?);
        let (hour, minute) = (u8::try_from(local.hour()).ok()?, u8::try_from(local.minute()).ok()?);
        let local = DateTime {
            date: Date::try_new_iso(i32::from(local.year()), month, day).ok()?,
            time: Time::try_new(hour, minute, 0, 0).ok()?,
        };
        let locale = Locale::try_from_str(self.locale).ok()?;
        let formatter = DateTimeFormatter::try_new(locale.into(), YMD::medium().with_time_hm()).ok()?;
        Some(format!("{} {}", formatter.format(&local), self.zone(at)))
    }

    /// `CET`, or `UTC-03` for the many zones that have only a number.
    fn zone(&self, at: Timestamp) -> String {
        let info = self.time_zone.to_offset_info(at);
        let name = info.abbreviation();
        if name.starts_with(['+', '-']) { format!("UTC{name}") } else { name.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const AT: OffsetDateTime = datetime!(2026-03-05 14:30:59 UTC);

    /// With ordinary spaces, for reading.
    fn time(at: OffsetDateTime, locale: &str, zone: &str) -> String {
        let time_zone = TimeZone::get(zone).unwrap();
        let shown = Figures { locale, time_zone: &time_zone }.time(at).unwrap();
        shown.replace(['\u{a0}', '\u{202f}'], " ")
    }

    #[test]
    fn a_time_is_written_as_its_reader_does() {
        for (locale, expected) in [
            ("en", "Mar 5, 2026, 2:30 PM UTC"),
            ("en-GB", "5 Mar 2026, 14:30 UTC"),
            ("it", "5 mar 2026, 14:30 UTC"),
            ("it-CH", "5 mar 2026, 14:30 UTC"),
            ("pt-BR", "5 de mar. de 2026, 14:30 UTC"),
            ("pt-PT", "05/03/2026, 14:30 UTC"),
            ("es", "5 mar 2026, 14:30 UTC"),
        ] {
            assert_eq!(time(AT, locale, "UTC"), expected, "{locale}");
        }
    }

    #[test]
    fn a_time_is_that_of_the_zone_in_winter_and_in_summer() {
        assert_eq!(time(AT, "it", "Europe/Rome"), "5 mar 2026, 15:30 CET");
        assert_eq!(time(datetime!(2026-07-31 22:15 UTC), "it", "Europe/Rome"), "1 ago 2026, 00:15 CEST");
        assert_eq!(time(AT, "pt-BR", "America/Sao_Paulo"), "5 de mar. de 2026, 11:30 UTC-03");
        assert_eq!(time(AT, "en", "Asia/Kolkata"), "Mar 5, 2026, 8:00 PM IST");
    }

    #[test]
    fn a_time_that_no_calendar_has_is_an_error() {
        let figures = Figures { locale: "not a locale", time_zone: &TimeZone::UTC };
        assert!(matches!(figures.time(AT), Err(LetterError::Time)));
    }
}

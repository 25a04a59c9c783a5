//! Amounts as people read them.

use contract::Currency;
use icu_decimal::DecimalFormatter;
use icu_decimal::input::Decimal as Digits;
use icu_decimal::options::DecimalFormatterOptions;
use icu_locale_core::Locale;
use rust_decimal::Decimal;

/// Keeps the code on the amount's line, as in CLDR's patterns.
const NO_BREAK_SPACE: char = '\u{a0}';

/// An amount as people of a locale write numbers, with the currency's code: `1.234,50 EUR`.
///
/// It is exact: it has the currency's decimals, or its own where these are more, and is never rounded. What CLDR does
/// not know of a locale comes from its language, and of a language from CLDR's root, which is much as English.
pub fn amount(figure: Decimal, currency: Currency, locale: &str) -> String {
    let mut exact = figure.normalize();
    if exact.scale() < currency.exponent() {
        exact.rescale(currency.exponent());
    }
    if exact.is_zero() {
        // A difference can be minus zero.
        exact.set_sign_positive(true);
    }
    let plain = exact.to_string();
    let number = localized(&plain, locale).unwrap_or(plain);
    format!("{number}{NO_BREAK_SPACE}{currency}")
}

/// The locale in which figures stand in a text of this language: the reader's own where that is its language, so that
/// they look familiar, or else the text's, so that they fit.
pub fn locale_for<'a>(reader: &'a str, text: &'a str) -> &'a str {
    let language = |locale: &'a str| locale.split('-').next().unwrap_or(locale);
    if language(reader) == language(text) { reader } else { text }
}

/// `None` where the locale's name is none.
fn localized(plain: &str, locale: &str) -> Option<String> {
    let digits: Digits = plain.parse().ok()?;
    let locale = Locale::try_from_str(locale).ok()?;
    let formatter = DecimalFormatter::try_new(locale.into(), DecimalFormatterOptions::default()).ok()?;
    Some(formatter.format(&digits).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With ordinary spaces, for reading.
    fn shown(figure: &str, currency: &str, locale: &str) -> String {
        let shown = amount(figure.parse().unwrap(), currency.parse().unwrap(), locale);
        shown.replace(['\u{a0}', '\u{202f}'], " ")
    }

    #[test]
    fn an_amount_is_written_as_its_reader_does() {
        for (locale, expected) in [
            ("en", "1,234,567.50 EUR"),
            ("it", "1.234.567,50 EUR"),
            ("pt-BR", "1.234.567,50 EUR"),
            ("pt-PT", "1 234 567,50 EUR"),
            ("fr", "1 234 567,50 EUR"),
            ("de-CH", "1'234'567.50 EUR"),
            ("hi", "12,34,567.50 EUR"),
            ("ar-EG", "١٬٢٣٤٬٥٦٧٫٥٠ EUR"),
        ] {
            assert_eq!(shown("1234567.5", "EUR", locale), expected, "{locale}");
        }
    }

    #[test]
    fn figures_stand_as_the_reader_writes_them_if_that_is_the_texts_language() {
        for (reader, text, expected) in [
            ("de-AT", "de", "de-AT"),
            ("de", "de-AT", "de"),
            ("pt-BR", "pt-PT", "pt-BR"),
            ("zh-Hant-TW", "zh", "zh-Hant-TW"),
            ("fr-FR", "it", "it"),
            ("de", "den", "den"),
            ("en", "en", "en"),
        ] {
            assert_eq!(locale_for(reader, text), expected, "{reader}, {text}");
        }
    }

    #[test]
    fn an_unknown_locale_reads_english() {
        for locale in ["tlh", "qaa-Latn-ZZ", "en-ZZ", "not a locale at all"] {
            let expected = if locale.contains(' ') { "1234.50 EUR" } else { "1,234.50 EUR" };
            assert_eq!(shown("1234.5", "EUR", locale), expected, "{locale}");
        }
    }

    #[test]
    fn an_amount_has_its_currencys_decimals_and_is_not_rounded() {
        assert_eq!(shown("1234", "JPY", "de"), "1.234 JPY");
        assert_eq!(shown("1234.0000", "JPY", "de"), "1.234 JPY");
        assert_eq!(shown("0.0050", "KWD", "de"), "0,005 KWD");
        assert_eq!(shown("999999999999999.99", "EUR", "de"), "999.999.999.999.999,99 EUR");
        assert_eq!(shown("-0.01", "EUR", "de"), "-0,01 EUR");
        assert_eq!(shown("-0.00", "EUR", "de"), "0,00 EUR");
        // No ledger has this; whoever asks is told all of it.
        assert_eq!(shown("19.9999", "EUR", "de"), "19,9999 EUR");
    }

    #[test]
    fn number_and_code_stay_on_one_line() {
        assert_eq!(amount(Decimal::ONE, "EUR".parse().unwrap(), "de"), "1,00\u{a0}EUR");
    }
}

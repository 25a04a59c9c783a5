//! The minimum that a withdrawal has to meet, and what the customer is told about it.

use contract::preferences::MinimumRule;
use contract::{Currency, Locale, Preferences};
use rust_decimal::Decimal;

use crate::display;

/// Where the merchant has said nothing in any language that the customer could be told it in.
const REACHED: &str = "You have {balance} available and can request a payout (minimum: {min-value}).";
const NOT_REACHED: &str = "A payout can be requested from {min-value}; you have {balance} available.";
const DEFAULT_LANGUAGE: &str = "en";

/// The merchant's minimum in this currency; 0 where it has set none.
pub fn minimum(preferences: &Preferences, currency: Currency) -> Decimal {
    preferences.withdrawals.minimum.get(&currency).copied().unwrap_or_default()
}

/// Whether a request for this much, of this much that is available, meets the minimum by the merchant's rule.
pub fn is_met(preferences: &Preferences, currency: Currency, available: Decimal, requested: Decimal) -> bool {
    let counts = match preferences.withdrawals.minimum_rule {
        MinimumRule::Balance => available,
        MinimumRule::Amount => requested,
    };
    let minimum = minimum(preferences, currency);
    // Without a minimum it is for what is available alone to say what can be withdrawn.
    minimum.is_zero() || counts >= minimum
}

/// Whether anything can be requested: by either rule a request for everything that is available meets the minimum,
/// or none does.
pub fn is_reached(preferences: &Preferences, currency: Currency, available: Decimal) -> bool {
    available > Decimal::ZERO && is_met(preferences, currency, available, available)
}

/// The merchant's message for a minimum that is reached, or is not, to a customer who has this much available.
///
/// The text is the one for the customer's locale, or the nearest part of it (`pt-BR`, then `pt`), or else for the
/// merchant's default locale or a part of that, or else one in English. Amounts are written as the customer's
/// locale does where that is the text's language, and otherwise as the text's does.
pub fn message(
    preferences: &Preferences,
    customer: Option<&Locale>,
    currency: Currency,
    available: Decimal,
    reached: bool,
) -> String {
    let withdrawals = &preferences.withdrawals;
    let (texts, built_in) = if reached {
        (&withdrawals.message_reached, REACHED)
    } else {
        (&withdrawals.message_not_reached, NOT_REACHED)
    };
    let minimum = minimum(preferences, currency);
    let missing = (minimum - available).max(Decimal::ZERO);
    let chosen = texts.choose(customer, &preferences.default_locale);
    let reader = customer.unwrap_or(&preferences.default_locale).as_str();
    let language = chosen.map_or(DEFAULT_LANGUAGE, |(language, _)| language.as_str());
    let locale = display::locale_for(reader, language);
    let [minimum, balance, missing] =
        [minimum, available, missing].map(|figure| display::amount(figure, currency, locale));
    match chosen {
        Some((_, text)) => text.fill(|name| match name {
            "min-value" => &minimum,
            "balance" => &balance,
            _ => &missing,
        }),
        None => built_in.replace("{min-value}", &minimum).replace("{balance}", &balance),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferences(json: serde_json::Value) -> Preferences {
        serde_json::from_value(json).unwrap()
    }

    fn shop() -> Preferences {
        preferences(serde_json::json!({
            "default_locale": "it",
            "withdrawals": {
                "enabled": true,
                "minimum": { "EUR": "1234.5", "JPY": "5000", "KWD": "10.005" },
                "message_reached": {
                    "it": "Hai {balance}, minimo {min-value}.",
                    "pt": "Tem {balance}, mínimo {min-value}.",
                    "pt-BR": "Você tem {balance}, mínimo {min-value}."
                },
                "message_not_reached": {
                    "it": "Mancano {missing} a {min-value}: hai {balance}.",
                    "de": "Es fehlen {missing} bis {min-value}: Sie haben {balance}.",
                    "ar": "{missing} / {min-value} / {balance}"
                }
            }
        }))
    }

    /// With ordinary spaces, for reading.
    fn told(preferences: &Preferences, locale: Option<&str>, currency: &str, available: &str) -> String {
        let locale = locale.map(|locale| locale.parse().unwrap());
        let (currency, available) = (currency.parse().unwrap(), available.parse().unwrap());
        let reached = is_reached(preferences, currency, available);
        message(preferences, locale.as_ref(), currency, available, reached).replace('\u{a0}', " ")
    }

    fn figure(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn the_text_is_the_nearest_to_the_customers_locale() {
        let shop = shop();
        let reached = |locale| told(&shop, locale, "EUR", "20000");
        assert_eq!(reached(Some("pt-BR")), "Você tem 20.000,00 EUR, mínimo 1.234,50 EUR.");
        assert_eq!(reached(Some("pt-AO")), "Tem 20 000,00 EUR, mínimo 1 234,50 EUR.");
        assert_eq!(reached(Some("it-CH")), "Hai 20'000.00 EUR, minimo 1234.50 EUR.");
        assert_eq!(reached(None), "Hai 20.000,00 EUR, minimo 1234,50 EUR.");
        // No text in French: the merchant's default language, with that language's numbers.
        assert_eq!(reached(Some("fr-FR")), "Hai 20.000,00 EUR, minimo 1234,50 EUR.");
        let not_reached = |locale| told(&shop, Some(locale), "EUR", "1234.49");
        assert_eq!(not_reached("de-AT"), "Es fehlen 0,01 EUR bis 1 234,50 EUR: Sie haben 1 234,49 EUR.");
        assert_eq!(not_reached("de"), "Es fehlen 0,01 EUR bis 1.234,50 EUR: Sie haben 1.234,49 EUR.");
        assert_eq!(not_reached("ar-EG"), "٠٫٠١ EUR / ١٬٢٣٤٫٥٠ EUR / ١٬٢٣٤٫٤٩ EUR");
        assert_eq!(not_reached("ar"), "0.01 EUR / 1,234.50 EUR / 1,234.49 EUR");
    }

    #[test]
    fn a_shop_that_has_said_nothing_says_it_in_english() {
        let shop = preferences(serde_json::json!({
            "default_locale": "fr", "withdrawals": { "minimum": { "EUR": "50" } }
        }));
        for locale in [None, Some("fr"), Some("de"), Some("tlh")] {
            assert_eq!(
                told(&shop, locale, "EUR", "1049.99"),
                "You have 1,049.99 EUR available and can request a payout (minimum: 50.00 EUR)."
            );
        }
        assert_eq!(
            told(&shop, Some("en-ZA"), "EUR", "-1049.99"),
            "A payout can be requested from 50,00 EUR; you have -1 049,99 EUR available."
        );
    }

    #[test]
    fn no_balance_is_shown_larger_than_it_is() {
        let shop = shop();
        for (currency, available, shown) in [
            ("EUR", "1234.49", "Mancano 0,01 EUR a 1234,50 EUR: hai 1234,49 EUR."),
            ("JPY", "4999", "Mancano 1 JPY a 5000 JPY: hai 4999 JPY."),
            ("KWD", "10.004", "Mancano 0,001 KWD a 10,005 KWD: hai 10,004 KWD."),
            ("EUR", "-0.01", "Mancano 1234,51 EUR a 1234,50 EUR: hai -0,01 EUR."),
            ("EUR", "0.00", "Mancano 1234,50 EUR a 1234,50 EUR: hai 0,00 EUR."),
        ] {
            assert_eq!(told(&shop, Some("it"), currency, available), shown);
        }
    }

    #[test]
    fn the_minimum_is_met_by_what_the_rule_counts() {
        let by = |rule: &str| {
            preferences(serde_json::json!({
                "withdrawals": { "minimum": { "EUR": "50" }, "minimum_rule": rule }
            }))
        };
        let (balance, amount, euro) = (by("balance"), by("amount"), "EUR".parse().unwrap());
        let (below, exactly, above) = (figure("49.99"), figure("50"), figure("50.01"));
        for (available, requested, by_balance, by_amount) in [
            (below, below, false, false),
            (exactly, below, true, false),
            (exactly, exactly, true, true),
            (above, below, true, false),
            (above, above, true, true),
        ] {
            assert_eq!(is_met(&balance, euro, available, requested), by_balance, "{available} {requested}");
            assert_eq!(is_met(&amount, euro, available, requested), by_amount, "{available} {requested}");
        }
        // No minimum in this currency.
        let yen = "JPY".parse().unwrap();
        assert!(is_met(&balance, yen, Decimal::ZERO, Decimal::ONE));
        assert!(!is_reached(&balance, yen, figure("-1")));
        assert!(!is_reached(&balance, yen, Decimal::ZERO));
        assert!(is_reached(&balance, yen, Decimal::ONE));
    }
}

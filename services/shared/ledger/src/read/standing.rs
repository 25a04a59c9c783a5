//! How a customer stands to a withdrawal.

use std::collections::BTreeMap;

use contract::preferences::MinimumRule;
use contract::{Currency, CustomerId, CustomerKind, Locale, MerchantId, Preferences, SignedAmount};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::PgConnection;

use super::{Result, optional, parsed, unexpected};
use crate::minimum;

/// How a customer stands to a withdrawal in one currency.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// The currency.
    pub currency: Currency,
    /// Whether the merchant takes requests.
    pub enabled: bool,
    /// Whether the customer is an affiliate; nobody else may request.
    pub affiliate: bool,
    /// What has to be reached; 0 where the merchant has set nothing.
    pub minimum: SignedAmount,
    /// What has to reach it.
    pub rule: MinimumRule,
    /// What the customer could request.
    pub available: SignedAmount,
    /// Whether that reaches it.
    pub reached: bool,
    /// The merchant's message about it in the customer's language; `None` where the customer cannot request anything
    /// anyhow, or would be told what is missing to a minimum that there is not.
    pub message: Option<String>,
}

/// How a customer stands to a withdrawal, by currency: those it has an account in, and those with a minimum.
/// `None` if the merchant has no such customer.
///
/// # Errors
/// The database's.
pub async fn standing(
    connection: &mut PgConnection,
    merchant: &MerchantId,
    customer: &CustomerId,
) -> Result<Option<Vec<Standing>>> {
    // By the tables' primary keys and account's unique index.
    let rows = sqlx::query!(
        r#"SELECT m.preferences AS "preferences!", c.kind AS "kind!", c.locale AS "locale?", a.currency AS "currency?",
                  a.balance - a.held AS "available?"
           FROM customer c
           JOIN merchant m ON m.id = c.merchant
           LEFT JOIN account a ON (a.merchant, a.customer) = (c.merchant, c.id)
           WHERE c.merchant = $1 AND c.id = $2"#,
        merchant.as_str(),
        customer.as_str(),
    )
    .fetch_all(connection)
    .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let preferences = serde_json::from_value(first.preferences.clone())
        .map_err(|_| unexpected("merchant.preferences holds what no version of Saldo writes"))?;
    let kind: CustomerKind = parsed("customer.kind", &first.kind)?;
    let locale: Option<Locale> = optional("customer.locale", first.locale.as_deref())?;
    let mut available = BTreeMap::new();
    for row in &rows {
        if let (Some(currency), Some(figure)) = (&row.currency, row.available) {
            available.insert(parsed("account.currency", currency)?, figure);
        }
    }
    Ok(Some(standings(&preferences, kind, locale.as_ref(), available)))
}

fn standings(
    preferences: &Preferences,
    kind: CustomerKind,
    locale: Option<&Locale>,
    mut available: BTreeMap<Currency, Decimal>,
) -> Vec<Standing> {
    let enabled = preferences.withdrawals.enabled;
    let affiliate = kind == CustomerKind::Affiliate;
    for currency in preferences.withdrawals.minimum.keys() {
        available.entry(*currency).or_default();
    }
    let standings = available.into_iter().map(|(currency, available)| {
        let reached = minimum::is_reached(preferences, currency, available);
        let minimum = minimum::minimum(preferences, currency);
        // Where there is no minimum, nothing is missing to it.
        let told = enabled && affiliate && (reached || !minimum.is_zero());
        let message = told.then(|| minimum::message(preferences, locale, currency, available, reached));
        Standing {
            currency,
            enabled,
            affiliate,
            minimum: SignedAmount::new(minimum, currency),
            rule: preferences.withdrawals.minimum_rule,
            available: SignedAmount::new(available, currency),
            reached,
            message,
        }
    });
    standings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_to_be_missing_to_a_minimum_that_there_is_not() {
        let preferences = serde_json::from_value(serde_json::json!({
            "withdrawals": { "enabled": true, "minimum": { "EUR": "50" } }
        }))
        .unwrap();
        let figures = |figures: &[(&str, &str)]| {
            let of = |(currency, figure): &(&str, &str)| (currency.parse().unwrap(), figure.parse().unwrap());
            figures.iter().map(of).collect()
        };
        let told = |available: &[(&str, &str)]| -> Vec<_> {
            let standings = standings(&preferences, CustomerKind::Affiliate, None, figures(available));
            standings.iter().map(|standing| (standing.currency.code(), standing.message.is_some())).collect()
        };
        assert_eq!(
            told(&[("KWD", "0.000"), ("USD", "-3.00")]),
            [("EUR", true), ("KWD", false), ("USD", false)]
        );
        assert_eq!(
            told(&[("JPY", "1"), ("KWD", "0.001"), ("EUR", "50")]),
            [("EUR", true), ("JPY", true), ("KWD", true)]
        );
    }
}

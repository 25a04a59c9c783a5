//! What is shown of the ledger.

mod customers;
mod operations;
mod withdrawals;

use contract::{CustomerId, MerchantId};
use serde_json::{Value, json};
use sqlx::PgConnection;

fn merchant(id: &str) -> MerchantId {
    id.parse().unwrap()
}

fn customer(id: &str) -> CustomerId {
    id.parse().unwrap()
}

/// An entry that is written without a worker.
struct Posted<'a> {
    merchant: &'a str,
    customer: &'a str,
    currency: &'a str,
    kind: &'a str,
    amount: &'a str,
    /// When it happened and was recorded.
    at: &'a str,
    reverses: Option<i64>,
}

impl Default for Posted<'_> {
    fn default() -> Self {
        Self {
            merchant: "acme",
            customer: "anna",
            currency: "EUR",
            kind: "commission",
            amount: "1.00",
            at: "2026-11-01T00:00:00Z",
            reverses: None,
        }
    }
}

impl Posted<'_> {
    /// Posts it, and makes customer and account where they are missing.
    async fn write(&self, database: &mut PgConnection) {
        let currency: contract::Currency = self.currency.parse().unwrap();
        sqlx::query(
            "INSERT INTO customer (merchant, id, kind) VALUES ($1, $2, 'affiliate') ON CONFLICT DO NOTHING",
        )
        .bind(self.merchant)
        .bind(self.customer)
        .execute(&mut *database)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO account (merchant, customer, currency, exponent) VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING",
        )
        .bind(self.merchant)
        .bind(self.customer)
        .bind(self.currency)
        .bind(i16::try_from(currency.exponent()).unwrap())
        .execute(&mut *database)
        .await
        .unwrap();
        let written = sqlx::query(
            "WITH a AS (
                 UPDATE account SET balance = balance + $4::numeric, entries = entries + 1, version = version + 1,
                                    head = decode(repeat('00', 32), 'hex')
                 WHERE (merchant, customer, currency) = ($1, $2, $3) RETURNING id, entries, balance
             )
             INSERT INTO entry (account_id, number, occurred_at, recorded_at, amount, balance_after, kind, counterpart,
                                command, reverses, hash)
             SELECT id, entries, $5::timestamptz, $5::timestamptz, $4::numeric, balance, $6, 'commissions',
                    decode(md5(id || '-' || entries), 'hex'), $7, decode(repeat('00', 32), 'hex') FROM a",
        )
        .bind(self.merchant)
        .bind(self.customer)
        .bind(self.currency)
        .bind(self.amount)
        .bind(self.at)
        .bind(self.kind)
        .bind(self.reverses)
        .execute(database)
        .await
        .unwrap();
        assert_eq!(written.rows_affected(), 1);
    }
}

/// Sets a merchant's preferences.
async fn prefers(database: &mut PgConnection, merchant: &str, preferences: &Value) {
    sqlx::query("UPDATE merchant SET preferences = $2 WHERE id = $1")
        .bind(merchant)
        .bind(preferences)
        .execute(database)
        .await
        .unwrap();
}

/// Says what a customer is, is called and speaks.
async fn is(database: &mut PgConnection, who: &str, kind: &str, name: Option<&str>, locale: Option<&str>) {
    sqlx::query(
        "INSERT INTO customer (merchant, id, kind, name, locale) VALUES ('acme', $1, $2, $3, $4)
         ON CONFLICT (merchant, id) DO UPDATE SET kind = $2, name = $3, locale = $4",
    )
    .bind(who)
    .bind(kind)
    .bind(name)
    .bind(locale)
    .execute(database)
    .await
    .unwrap();
}

/// What a merchant with texts in several languages prefers.
fn messages() -> Value {
    json!({
        "default_locale": "it",
        "withdrawals": {
            "enabled": true,
            "minimum": { "EUR": "1050", "JPY": "5000", "KWD": "10.005" },
            "message_reached": {
                "it": "Hai raggiunto {min-value}: {balance}", "pt-BR": "Você tem {balance} de {min-value}",
                "de": "{min-value} erreicht: {balance}",
            },
            "message_not_reached": {
                "it": "Mancano {missing} a {min-value}: {balance}", "pt-BR": "Faltam {missing} para {min-value}",
                "de": "{missing} fehlen bis {min-value}", "en": "{missing} more to {min-value}",
                "ar": "{missing} / {min-value}",
            },
        },
    })
}

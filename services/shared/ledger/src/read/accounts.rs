//! Balances.

use contract::{AccountState, Currency, CustomerId, MerchantId, SignedAmount, Timestamp};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::PgConnection;

use super::{Result, parsed, unexpected};
use crate::{Account, AccountKey};

/// What a customer has in one currency.
#[derive(Debug, Clone, Serialize)]
pub struct Balance {
    /// The customer.
    pub customer: CustomerId,
    /// The account.
    #[serde(flatten)]
    pub account: AccountState,
}

/// A merchant's balances by customer and currency, at most `limit`, after this one where one is given. Along the
/// unique index of (merchant, customer, currency).
///
/// # Errors
/// The database's.
pub async fn balances(
    connection: &mut PgConnection,
    merchant: &MerchantId,
    after: Option<(&CustomerId, Currency)>,
    limit: i64,
) -> Result<Vec<Balance>> {
    let rows = sqlx::query_as!(
        AccountRow,
        "SELECT id, merchant, customer, currency, balance, held, pending, version, entries, head
         FROM account
         WHERE merchant = $1 AND ($2::text IS NULL OR (customer, currency) > ($2, $3))
         ORDER BY customer, currency LIMIT $4",
        merchant.as_str(),
        after.map(|(customer, _)| customer.as_str()),
        after.map(|(_, currency)| currency.code()),
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Balance::try_from).collect()
}

/// A customer's balances, one for each currency it has an account in.
///
/// # Errors
/// The database's.
pub async fn balances_of(
    connection: &mut PgConnection,
    merchant: &MerchantId,
    customer: &CustomerId,
) -> Result<Vec<Balance>> {
    let rows = sqlx::query_as!(
        AccountRow,
        "SELECT id, merchant, customer, currency, balance, held, pending, version, entries, head
         FROM account WHERE merchant = $1 AND customer = $2 ORDER BY currency",
        merchant.as_str(),
        customer.as_str(),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Balance::try_from).collect()
}

/// A balance as it was.
#[derive(Debug, Clone, Serialize)]
pub struct BalanceAt {
    /// The customer.
    pub customer: CustomerId,
    /// The currency.
    pub currency: Currency,
    /// The sum of the entries that had been recorded.
    pub balance: SignedAmount,
    /// How many entries that were.
    pub entries: i64,
    /// The moment; what was recorded at it is not part of the balance.
    pub at: Timestamp,
}

/// A merchant's balances as they were before a moment, by customer and currency; of one customer, or of all, at
/// most `limit`, after this one where one is given. An account without entries at that time has none. Held and
/// pending amounts are not kept over time.
///
/// # Errors
/// The database's.
pub async fn balances_at(
    connection: &mut PgConnection,
    merchant: &MerchantId,
    customer: Option<&CustomerId>,
    at: Timestamp,
    after: Option<(&CustomerId, Currency)>,
    limit: i64,
) -> Result<Vec<BalanceAt>> {
    // Accounts along the unique index of (merchant, customer, currency), of each the one entry by its primary key.
    let rows = sqlx::query!(
        r#"SELECT a.customer, a.currency, e.number AS "number!", e.balance_after AS "balance_after!"
           FROM account a
           CROSS JOIN LATERAL (
               SELECT number, balance_after FROM entry
               WHERE account_id = a.id AND number = (SELECT entries_before(a.id, $3))
               LIMIT 1 -- asked for each account on its way, so that a page ends where it is full
           ) e
           WHERE a.merchant = $1 AND ($2::text IS NULL OR a.customer = $2)
             AND ($4::text IS NULL OR (a.customer, a.currency) > ($4, $5))
           ORDER BY a.customer, a.currency LIMIT $6"#,
        merchant.as_str(),
        customer.map(CustomerId::as_str),
        at.get(),
        after.map(|(customer, _)| customer.as_str()),
        after.map(|(_, currency)| currency.code()),
        limit,
    )
    .fetch_all(connection)
    .await?;
    let shown = rows.into_iter().map(|row| {
        let currency = parsed("account.currency", &row.currency)?;
        let balance = SignedAmount::new(row.balance_after, currency);
        let customer = parsed("account.customer", &row.customer)?;
        Ok(BalanceAt { customer, currency, balance, entries: row.number, at })
    });
    shown.collect()
}

/// What a merchant's customers have together in one currency.
#[derive(Debug, Clone, Serialize)]
pub struct Totals {
    /// The currency.
    pub currency: Currency,
    /// How many accounts there are.
    pub accounts: i64,
    /// What the shop owes: the sum of the balances above zero.
    pub owed: SignedAmount,
    /// What customers owe: the sum of the balances below zero, itself below zero.
    pub overdrawn: SignedAmount,
    /// The sum of all balances.
    pub balance: SignedAmount,
    /// Reserved by open withdrawals.
    pub held: SignedAmount,
    /// Commissions in their hold period, part of no balance.
    pub pending: SignedAmount,
}

/// A merchant's totals, by currency. Reads every account of the merchant.
///
/// # Errors
/// The database's.
pub async fn totals(connection: &mut PgConnection, merchant: &MerchantId) -> Result<Vec<Totals>> {
    let rows = sqlx::query!(
        r#"SELECT currency, count(*) AS "accounts!", sum(greatest(balance, 0)) AS "owed!",
                  sum(least(balance, 0)) AS "overdrawn!", sum(held) AS "held!", sum(pending) AS "pending!"
           FROM account WHERE merchant = $1 GROUP BY currency ORDER BY currency"#,
        merchant.as_str(),
    )
    .fetch_all(connection)
    .await?;
    let totals = rows.into_iter().map(|row| {
        let currency = parsed("account.currency", &row.currency)?;
        let figure = |figure: Decimal| SignedAmount::new(figure, currency);
        Ok(Totals {
            currency,
            accounts: row.accounts,
            owed: figure(row.owed),
            overdrawn: figure(row.overdrawn),
            balance: figure(row.owed + row.overdrawn),
            held: figure(row.held),
            pending: figure(row.pending),
        })
    });
    totals.collect()
}

/// An account's row, for `query_as!`.
pub(super) struct AccountRow {
    pub(super) id: i64,
    pub(super) merchant: String,
    pub(super) customer: String,
    pub(super) currency: String,
    pub(super) balance: Decimal,
    pub(super) held: Decimal,
    pub(super) pending: Decimal,
    pub(super) version: i64,
    pub(super) entries: i64,
    pub(super) head: Option<Vec<u8>>,
}

impl TryFrom<AccountRow> for Account {
    type Error = sqlx::Error;
    fn try_from(row: AccountRow) -> Result<Self> {
        let key = AccountKey {
            merchant: parsed("account.merchant", &row.merchant)?,
            customer: parsed("account.customer", &row.customer)?,
            currency: parsed("account.currency", &row.currency)?,
        };
        let head = row.head.map(<[u8; 32]>::try_from).transpose();
        let head = head.map_err(|_| unexpected("account.head has another length than a hash"))?;
        let AccountRow { id, balance, held, pending, version, entries, .. } = row;
        Ok(Self { id, key, balance, held, pending, version, entries, head })
    }
}

impl TryFrom<AccountRow> for Balance {
    type Error = sqlx::Error;
    fn try_from(row: AccountRow) -> Result<Self> {
        let account = Account::try_from(row)?;
        Ok(Self { account: account.state(), customer: account.key.customer })
    }
}

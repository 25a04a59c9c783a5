//! Reading the ledger, for people and programs that only look.
//!
//! Every function is one statement, or one read-only snapshot where it needs several, and takes no lock. Pages
//! are bounded by a `limit` and continue from where the last one ended, not from a count of rows, so that what is
//! posted meanwhile neither repeats nor hides anything. Amounts stand at their currency's exponent.

mod chain;
mod export;
mod operations;
mod verify;

use std::collections::HashMap;

use contract::{
    AccountState, CommandKey, ContentHash, Currency, CustomerId, Event, KeyHash, MerchantId, Timestamp,
};
use serde::Serialize;
use sqlx::PgConnection;

pub use chain::{Chain, ChainFault, verify_chain};
pub use export::{Journal, JournalEntry, Opening};
pub use operations::{Operation, OperationsFrom, OperationsPage, operations};
pub use verify::{Check, Extent, Fault, Head, HeadFault, Heads, Observer, Verification, VerifyError, verify};

use crate::{Account, AccountKey, Awaited};

/// A value that the schema's own checks or the domain rule out, or a database's error.
type Result<T> = std::result::Result<T, sqlx::Error>;

fn unexpected(what: impl Into<String>) -> sqlx::Error {
    sqlx::Error::Decode(what.into().into())
}

fn parsed<T: std::str::FromStr>(column: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| unexpected(format!("{column} holds what no version of Saldo writes")))
}

/// What a customer has in one currency.
#[derive(Debug, Clone, Serialize)]
pub struct Balance {
    /// The customer.
    pub customer: CustomerId,
    /// The account.
    #[serde(flatten)]
    pub account: AccountState,
}

/// A merchant's balances by customer and currency, at most `limit`, after this one where one is given.
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

struct AccountRow {
    id: i64,
    merchant: String,
    customer: String,
    currency: String,
    balance: rust_decimal::Decimal,
    held: rust_decimal::Decimal,
    pending: rust_decimal::Decimal,
    version: i64,
    entries: i64,
    head: Option<Vec<u8>>,
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

/// What the ledger knows of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was decided.
    Decided {
        /// The content it was decided with.
        content: ContentHash,
        /// What it caused.
        events: Vec<Event>,
    },
    /// It waits for what it names.
    Parked {
        /// The content it was parked with.
        content: ContentHash,
        /// What it waits for.
        awaiting: Awaited,
        /// Since when.
        since: Timestamp,
        /// When it is refused at the latest.
        deadline: Timestamp,
    },
    /// No command was ever accepted under this key.
    Unknown,
}

/// What became of a command.
///
/// # Errors
/// The database's.
pub async fn outcome(connection: &mut PgConnection, key: &CommandKey) -> Result<Outcome> {
    let mut found = outcomes(connection, std::slice::from_ref(key)).await?;
    Ok(found.remove(key).unwrap_or(Outcome::Unknown))
}

/// What became of several commands; those that are unknown are left out.
///
/// # Errors
/// The database's.
pub async fn outcomes(
    connection: &mut PgConnection,
    keys: &[CommandKey],
) -> Result<HashMap<CommandKey, Outcome>> {
    let asked: HashMap<KeyHash, &CommandKey> = keys.iter().map(|key| (key.hash(), key)).collect();
    let hashes: Vec<Vec<u8>> = asked.keys().map(|hash| hash.0.to_vec()).collect();
    let rows = sqlx::query_as!(
        OutcomeRow,
        r#"SELECT i.key AS "key!", i.merchant AS "merchant!", i.source AS "source!", i.id AS "id!",
                  i.content AS "content!", i.outcome AS "outcome?",
                  w.awaited_command AS "awaited_command?", w.awaited_merchant AS "awaited_merchant?",
                  w.awaited_customer AS "awaited_customer?", w.parked_at AS "parked_at?", w.deadline AS "deadline?"
           FROM inbox i LEFT JOIN waiting w ON w.key = i.key
           WHERE i.key = ANY($1)"#,
        &hashes,
    )
    .fetch_all(connection)
    .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let hash = <[u8; 16]>::try_from(row.key.as_slice()).map(KeyHash);
        let key = hash.ok().and_then(|hash| asked.get(&hash).copied());
        if let Some(key) = key.filter(|key| row.is_of(key)) {
            found.insert(key.clone(), row.outcome(&key.merchant)?);
        }
    }
    Ok(found)
}

struct OutcomeRow {
    key: Vec<u8>,
    merchant: String,
    source: String,
    id: String,
    content: Vec<u8>,
    outcome: Option<String>,
    awaited_command: Option<Vec<u8>>,
    awaited_merchant: Option<String>,
    awaited_customer: Option<String>,
    parked_at: Option<time::OffsetDateTime>,
    deadline: Option<time::OffsetDateTime>,
}

impl OutcomeRow {
    /// The index has a hash; the texts decide.
    fn is_of(&self, key: &CommandKey) -> bool {
        (key.merchant.as_str(), key.source.as_str(), key.id.as_str())
            == (self.merchant.as_str(), self.source.as_str(), self.id.as_str())
    }

    fn outcome(self, merchant: &MerchantId) -> Result<Outcome> {
        let content = <[u8; 32]>::try_from(self.content).map(ContentHash);
        let content = content.map_err(|_| unexpected("inbox.content has another length than a hash"))?;
        if let Some(lines) = self.outcome {
            let events = lines.lines().filter_map(|line| Event::from_stored(merchant, line)).collect();
            return Ok(Outcome::Decided { content, events });
        }
        let (Some(since), Some(deadline)) = (self.parked_at, self.deadline) else {
            return Err(unexpected("a parked command has no row in waiting"));
        };
        let command = self.awaited_command.map(<[u8; 16]>::try_from);
        let awaiting = match (command, self.awaited_merchant, self.awaited_customer) {
            (Some(Ok(key)), None, None) => Awaited::Command(KeyHash(key)),
            (None, Some(merchant), None) => Awaited::Merchant(parsed("waiting.awaited_merchant", &merchant)?),
            (None, Some(merchant), Some(customer)) => Awaited::Customer(
                parsed("waiting.awaited_merchant", &merchant)?,
                parsed("waiting.awaited_customer", &customer)?,
            ),
            _ => return Err(unexpected("a parked command waits for nothing")),
        };
        Ok(Outcome::Parked { content, awaiting, since: since.into(), deadline: deadline.into() })
    }
}

//! A merchant's journal, for accountants.
//!
//! Everything is read as of one moment; each list is one stream, of which nothing is kept but the row at hand.
//!
//! **Order.** Entries come by the time they were posted at. An account's entries keep their own order whatever the
//! database's clock did: one that was recorded before the entry that it follows counts as posted when that was. So the
//! running balances are right line by line, and any period is a stretch of each account without gaps.

use contract::{Currency, CustomerId, EntryId, MerchantId, Reference, SignedAmount, Timestamp};
use futures_util::{Stream, StreamExt as _};
use rust_decimal::Decimal;
use sqlx::{Connection, PgConnection, PgTransaction};
use time::OffsetDateTime;

use super::{Result, parsed};

/// A merchant's journal of a period.
#[derive(Debug)]
pub struct Journal<'c> {
    snapshot: PgTransaction<'c>,
    merchant: String,
    since: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
    moment: Timestamp,
}

/// What a customer had when the period began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The customer.
    pub customer: CustomerId,
    /// The currency.
    pub currency: Currency,
    /// The balance; never zero.
    pub balance: SignedAmount,
}

/// An entry and everything that is recorded of it.
#[derive(Debug, Clone)]
pub struct JournalEntry {
    /// Saldo's id of it.
    pub id: EntryId,
    /// Whose it is.
    pub customer: CustomerId,
    /// The currency.
    pub currency: Currency,
    /// What kind of posting, such as `commission`.
    pub kind: String,
    /// The account on the other side, such as `commissions`.
    pub counterpart: String,
    /// How much, without its sign.
    pub amount: SignedAmount,
    /// Whether the customer was credited, and the counterpart debited; otherwise the other way round.
    pub is_credit: bool,
    /// The customer's balance after it.
    pub balance_after: SignedAmount,
    /// When it was posted: `recorded_at`, or that of an earlier entry of the account where that is later.
    pub posted_at: Timestamp,
    /// When it was recorded, by the database's clock.
    pub recorded_at: Timestamp,
    /// When it happened, says the publisher.
    pub occurred_at: Timestamp,
    /// The shop's order.
    pub order: Option<String>,
    /// What the other side calls it.
    pub reference: Option<String>,
    /// A sentence.
    pub note: Option<String>,
    /// Who did it, says the publisher.
    pub actor: Option<String>,
    /// The broker user who published the command, where one is required.
    pub user: Option<String>,
    /// The entry that it takes back.
    pub reverses: Option<EntryId>,
    /// The command that caused it.
    pub command: Option<Reference>,
}

impl<'c> Journal<'c> {
    /// Opens a merchant's journal as it is now; `None` if there is no such merchant. What was posted before `since`
    /// is left out, and what was posted at `until` or later.
    ///
    /// Reads as long as it takes: the connection must not cancel its statements early.
    ///
    /// # Errors
    /// The database's.
    pub async fn open(
        connection: &'c mut PgConnection,
        merchant: &MerchantId,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<Option<Self>> {
        let mut snapshot = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let moment = sqlx::query_scalar!(
            r#"SELECT now() AS "moment!" FROM merchant WHERE id = $1"#,
            merchant.as_str()
        )
        .fetch_optional(&mut *snapshot)
        .await?;
        Ok(moment.map(|moment| Self {
            snapshot,
            merchant: merchant.to_string(),
            since: since.map(Timestamp::get),
            until: until.map(Timestamp::get),
            moment: moment.into(),
        }))
    }

    /// As of when it is.
    pub fn moment(&self) -> Timestamp {
        self.moment
    }

    /// The currencies that any customer has an account in, by code.
    ///
    /// # Errors
    /// The database's.
    pub async fn currencies(&mut self) -> Result<Vec<Currency>> {
        let codes = sqlx::query_scalar!(
            "SELECT DISTINCT currency FROM account WHERE merchant = $1 ORDER BY currency",
            self.merchant,
        )
        .fetch_all(&mut *self.snapshot)
        .await?;
        codes.iter().map(|code| parsed("account.currency", code)).collect()
    }

    /// The customers that have an account, by id.
    pub fn customers(&mut self) -> impl Stream<Item = Result<CustomerId>> + '_ {
        sqlx::query_scalar!(
            "SELECT DISTINCT customer FROM account WHERE merchant = $1 ORDER BY customer",
            self.merchant,
        )
        .fetch(&mut *self.snapshot)
        .map(|customer| parsed("account.customer", &customer?))
    }

    /// What customers had when the period began, where it was anything; nothing for a period without a beginning.
    pub fn openings(&mut self) -> impl Stream<Item = Result<Opening>> + '_ {
        sqlx::query_as!(
            OpeningRow,
            r#"SELECT * FROM (
                   SELECT DISTINCT ON (a.customer, a.currency) a.customer, a.currency, e.balance_after
                   FROM account a
                   CROSS JOIN LATERAL (
                       SELECT number, balance_after, max(recorded_at) OVER (ORDER BY number) AS posted_at
                       FROM entry WHERE account_id = a.id
                   ) e
                   WHERE a.merchant = $1 AND e.posted_at < $2
                   ORDER BY a.customer, a.currency, e.number DESC
               ) opening
               WHERE balance_after <> 0 ORDER BY customer, currency"#,
            self.merchant,
            self.since,
        )
        .fetch(&mut *self.snapshot)
        .map(|row| row?.try_into())
    }

    /// The period's entries, in order.
    pub fn entries(&mut self) -> impl Stream<Item = Result<JournalEntry>> + '_ {
        sqlx::query_as!(
            EntryRow,
            r#"SELECT e.account_id AS "account_id!", e.number AS "number!", e.customer AS "customer!",
                      e.currency AS "currency!", e.kind AS "kind!", e.counterpart AS "counterpart!",
                      e.amount AS "amount!", e.balance_after AS "balance_after!", e.posted_at AS "posted_at!",
                      e.recorded_at AS "recorded_at!", e.occurred_at AS "occurred_at!",
                      e.order_number AS "order?", e.reference AS "reference?", e.note AS "note?",
                      e.actor AS "actor?", e.user_id AS "user?", e.reverses AS "reverses?",
                      i.source AS "source?", i.id AS "command_id?"
               FROM (SELECT e.*, a.customer, a.currency,
                            max(e.recorded_at) OVER (PARTITION BY e.account_id ORDER BY e.number) AS posted_at
                     FROM account a JOIN entry e ON e.account_id = a.id
                     WHERE a.merchant = $1) e
               LEFT JOIN inbox i ON i.key = e.command
               WHERE ($2::timestamptz IS NULL OR e.posted_at >= $2)
                 AND ($3::timestamptz IS NULL OR e.posted_at < $3)
               ORDER BY e.posted_at, e.account_id, e.number"#,
            self.merchant,
            self.since,
            self.until,
        )
        .fetch(&mut *self.snapshot)
        .map(|row| row?.try_into())
    }
}

struct OpeningRow {
    customer: String,
    currency: String,
    balance_after: Decimal,
}

impl TryFrom<OpeningRow> for Opening {
    type Error = sqlx::Error;
    fn try_from(row: OpeningRow) -> Result<Self> {
        let currency = parsed("account.currency", &row.currency)?;
        let balance = SignedAmount::new(row.balance_after, currency);
        Ok(Self { customer: parsed("account.customer", &row.customer)?, currency, balance })
    }
}

struct EntryRow {
    account_id: i64,
    number: i64,
    customer: String,
    currency: String,
    kind: String,
    counterpart: String,
    amount: Decimal,
    balance_after: Decimal,
    posted_at: OffsetDateTime,
    recorded_at: OffsetDateTime,
    occurred_at: OffsetDateTime,
    order: Option<String>,
    reference: Option<String>,
    note: Option<String>,
    actor: Option<String>,
    user: Option<String>,
    reverses: Option<i64>,
    source: Option<String>,
    command_id: Option<String>,
}

impl TryFrom<EntryRow> for JournalEntry {
    type Error = sqlx::Error;
    fn try_from(row: EntryRow) -> Result<Self> {
        let currency: Currency = parsed("account.currency", &row.currency)?;
        let command = match (row.source, row.command_id) {
            (Some(source), Some(id)) => {
                Some(Reference { source: parsed("inbox.source", &source)?, id: parsed("inbox.id", &id)? })
            }
            _ => None,
        };
        let entry = |number| EntryId { account: row.account_id, number };
        Ok(Self {
            id: entry(row.number),
            customer: parsed("account.customer", &row.customer)?,
            currency,
            kind: row.kind,
            counterpart: row.counterpart,
            amount: SignedAmount::new(row.amount.abs(), currency),
            is_credit: row.amount.is_sign_positive(),
            balance_after: SignedAmount::new(row.balance_after, currency),
            posted_at: row.posted_at.into(),
            recorded_at: row.recorded_at.into(),
            occurred_at: row.occurred_at.into(),
            order: row.order,
            reference: row.reference,
            note: row.note,
            actor: row.actor,
            user: row.user,
            reverses: row.reverses.map(entry),
            command,
        })
    }
}

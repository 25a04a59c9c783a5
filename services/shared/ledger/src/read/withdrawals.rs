//! Requests for payout.

use std::collections::HashMap;

use contract::withdrawal::MaskedPayout;
use contract::{
    Currency, CustomerId, EntryId, KeyHash, MerchantId, Reference, SignedAmount, Timestamp, WithdrawalId,
    WithdrawalState,
};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::PgConnection;

use super::{Result, key, parsed, reference};

/// A withdrawal as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct Withdrawal {
    /// Saldo's id of it.
    pub id: WithdrawalId,
    /// The customer.
    pub customer: CustomerId,
    /// How much.
    pub amount: SignedAmount,
    /// In this currency.
    pub currency: Currency,
    /// Where it stands.
    pub state: WithdrawalState,
    /// How the customer wanted to be paid when it was requested.
    pub payout: MaskedPayout,
    /// When it was requested, by the database's clock.
    pub requested_at: Timestamp,
    /// When it entered its state, by the database's clock.
    pub changed_at: Timestamp,
    /// The entry that paid it.
    pub entry: Option<EntryId>,
    /// The command that requested it.
    pub request: Option<Reference>,
    /// Every state it has had, the request first.
    pub transitions: Vec<Transition>,
}

/// A state that a withdrawal entered.
#[derive(Debug, Clone, Serialize)]
pub struct Transition {
    /// The state.
    pub state: WithdrawalState,
    /// Whom the command names.
    pub actor: Option<String>,
    /// The broker user who published it, where one is required.
    pub user: Option<String>,
    /// Why, or what else was said.
    pub reason: Option<String>,
    /// What the bank calls the payment.
    pub payment_reference: Option<String>,
    /// When it happened, says the publisher.
    pub occurred_at: Timestamp,
    /// When it was recorded, by the database's clock.
    pub recorded_at: Timestamp,
    /// The command.
    pub command: Option<Reference>,
}

/// Which withdrawal a page ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithdrawalFrom {
    requested_at: Timestamp,
    key: KeyHash,
}

/// Some withdrawals.
#[derive(Debug, Clone)]
pub struct WithdrawalsPage {
    /// The withdrawals.
    pub withdrawals: Vec<Withdrawal>,
    /// From where to go on; `None` if nothing is left.
    pub next: Option<WithdrawalFrom>,
}

/// Withdrawals that are requested or approved, the longest waiting first, at most `limit`: a merchant's, or one
/// customer's.
///
/// # Errors
/// The database's.
pub async fn open_withdrawals(
    connection: &mut PgConnection,
    merchant: &MerchantId,
    customer: Option<&CustomerId>,
    from: Option<&WithdrawalFrom>,
    limit: i64,
) -> Result<WithdrawalsPage> {
    // withdrawal_open has all that are open, of every merchant: few, because they wait for a person. Of a customer
    // it is asked for the accounts alone.
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT w.key, a.customer, a.currency, w.account_id, w.amount, w.state, w.payout_version,
                  w.transitions, w.payment, w.requested_at, w.changed_at, p.kind, p.masked, i.source AS "source?", i.id AS "command_id?"
           FROM withdrawal w
           JOIN account a ON a.id = w.account_id
           JOIN payout_method p
                ON (p.merchant, p.customer, p.version) = (a.merchant, a.customer, w.payout_version)
           LEFT JOIN inbox i ON i.key = w.key
           WHERE w.state IN ('requested', 'approved')
             AND a.merchant = $1 AND ($2::text IS NULL OR a.customer = $2)
             AND ($3::timestamptz IS NULL OR (w.requested_at, w.key) > ($3, $4))
           ORDER BY w.requested_at, w.key LIMIT $5"#,
        merchant.as_str(),
        customer.map(CustomerId::as_str),
        from.map(|from| from.requested_at.get()),
        from.map(|from| from.key.0.to_vec()),
        limit.saturating_add(1),
    )
    .fetch_all(&mut *connection)
    .await?;
    page(connection, rows, limit).await
}

/// Withdrawals in any state, or in this one, the newest first, at most `limit`: a merchant's, or one customer's.
///
/// # Errors
/// The database's.
pub async fn withdrawals(
    connection: &mut PgConnection,
    merchant: &MerchantId,
    customer: Option<&CustomerId>,
    state: Option<WithdrawalState>,
    from: Option<&WithdrawalFrom>,
    limit: i64,
) -> Result<WithdrawalsPage> {
    // A customer's along withdrawal_account. A merchant's are all read, and sorted for each page: people page
    // through what they look for, hardly ever through everything.
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT w.key, a.customer, a.currency, w.account_id, w.amount, w.state, w.payout_version,
                  w.transitions, w.payment, w.requested_at, w.changed_at, p.kind, p.masked, i.source AS "source?", i.id AS "command_id?"
           FROM withdrawal w
           JOIN account a ON a.id = w.account_id
           JOIN payout_method p
                ON (p.merchant, p.customer, p.version) = (a.merchant, a.customer, w.payout_version)
           LEFT JOIN inbox i ON i.key = w.key
           WHERE a.merchant = $1 AND ($2::text IS NULL OR a.customer = $2)
             AND ($3::text IS NULL OR w.state = $3)
             AND ($4::timestamptz IS NULL OR (w.requested_at, w.key) < ($4, $5))
           ORDER BY w.requested_at DESC, w.key DESC LIMIT $6"#,
        merchant.as_str(),
        customer.map(CustomerId::as_str),
        state.map(WithdrawalState::as_str),
        from.map(|from| from.requested_at.get()),
        from.map(|from| from.key.0.to_vec()),
        limit.saturating_add(1),
    )
    .fetch_all(&mut *connection)
    .await?;
    page(connection, rows, limit).await
}

/// One withdrawal of this merchant; `None` if it has no such one.
///
/// # Errors
/// The database's.
pub async fn withdrawal(
    connection: &mut PgConnection,
    merchant: &MerchantId,
    id: WithdrawalId,
) -> Result<Option<Withdrawal>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT w.key, a.customer, a.currency, w.account_id, w.amount, w.state, w.payout_version,
                  w.transitions, w.payment, w.requested_at, w.changed_at, p.kind, p.masked, i.source AS "source?", i.id AS "command_id?"
           FROM withdrawal w
           JOIN account a ON a.id = w.account_id
           JOIN payout_method p
                ON (p.merchant, p.customer, p.version) = (a.merchant, a.customer, w.payout_version)
           LEFT JOIN inbox i ON i.key = w.key
           WHERE w.key = $1 AND a.merchant = $2"#,
        &id.0.0[..],
        merchant.as_str(),
    )
    .fetch_optional(&mut *connection)
    .await?;
    let found = page(connection, Vec::from_iter(row), 1).await?;
    Ok(found.withdrawals.into_iter().next())
}

/// Whose withdrawal this is; for an operator, who works for all merchants.
///
/// # Errors
/// The database's.
pub async fn withdrawal_owner(connection: &mut PgConnection, id: WithdrawalId) -> Result<Option<MerchantId>> {
    let merchant = sqlx::query_scalar!(
        "SELECT a.merchant FROM withdrawal w JOIN account a ON a.id = w.account_id WHERE w.key = $1",
        &id.0.0[..],
    )
    .fetch_optional(connection)
    .await?;
    merchant.map(|merchant| parsed("account.merchant", &merchant)).transpose()
}

/// A page from rows of which there may be one too many, with the transitions of each.
///
/// They are asked for separately. What happens between the two statements can give a withdrawal a transition more
/// than its state says, so those beyond the number are left out.
async fn page(connection: &mut PgConnection, mut rows: Vec<Row>, limit: i64) -> Result<WithdrawalsPage> {
    let limit = usize::try_from(limit).unwrap_or(0);
    let left = rows.len() > limit;
    rows.truncate(limit);
    let next = match rows.last().filter(|_| left) {
        Some(row) => Some(WithdrawalFrom {
            requested_at: row.requested_at.into(),
            key: key("withdrawal.key", &row.key)?,
        }),
        None => None,
    };
    let keys: Vec<Vec<u8>> = rows.iter().map(|row| row.key.clone()).collect();
    let mut transitions = transitions(connection, &keys).await?;
    let withdrawals = rows.into_iter().map(|row| {
        let passed = transitions.remove(&row.key).unwrap_or_default();
        row.shown(passed)
    });
    Ok(WithdrawalsPage { withdrawals: withdrawals.collect::<Result<_>>()?, next })
}

/// By withdrawal, along the primary key.
async fn transitions(
    connection: &mut PgConnection,
    withdrawals: &[Vec<u8>],
) -> Result<HashMap<Vec<u8>, Vec<Transition>>> {
    if withdrawals.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"SELECT t.withdrawal AS "withdrawal!", t.state AS "state!", t.actor AS "actor?", t.user_id AS "user?",
                  t.reason AS "reason?", t.payment_reference AS "payment_reference?",
                  t.occurred_at AS "occurred_at!", t.recorded_at AS "recorded_at!",
                  i.source AS "source?", i.id AS "command_id?"
           FROM withdrawal_transition t LEFT JOIN inbox i ON i.key = t.command
           WHERE t.withdrawal = ANY($1) ORDER BY t.withdrawal, t.number"#,
        withdrawals,
    )
    .fetch_all(connection)
    .await?;
    let mut passed: HashMap<Vec<u8>, Vec<Transition>> = HashMap::new();
    for row in rows {
        passed.entry(row.withdrawal).or_default().push(Transition {
            state: parsed("withdrawal_transition.state", &row.state)?,
            actor: row.actor,
            user: row.user,
            reason: row.reason,
            payment_reference: row.payment_reference,
            occurred_at: row.occurred_at.into(),
            recorded_at: row.recorded_at.into(),
            command: reference(row.source, row.command_id)?,
        });
    }
    Ok(passed)
}

struct Row {
    key: Vec<u8>,
    customer: String,
    currency: String,
    account_id: i64,
    amount: Decimal,
    state: String,
    payout_version: i32,
    transitions: i32,
    payment: Option<i64>,
    requested_at: time::OffsetDateTime,
    changed_at: time::OffsetDateTime,
    kind: String,
    masked: String,
    source: Option<String>,
    command_id: Option<String>,
}

impl Row {
    fn shown(self, mut transitions: Vec<Transition>) -> Result<Withdrawal> {
        transitions.truncate(usize::try_from(self.transitions).unwrap_or(0));
        let currency = parsed("account.currency", &self.currency)?;
        Ok(Withdrawal {
            id: WithdrawalId(key("withdrawal.key", &self.key)?),
            customer: parsed("account.customer", &self.customer)?,
            amount: SignedAmount::new(self.amount, currency),
            currency,
            state: parsed("withdrawal.state", &self.state)?,
            payout: MaskedPayout {
                kind: parsed("payout_method.kind", &self.kind)?,
                masked: self.masked,
                version: self.payout_version,
            },
            requested_at: self.requested_at.into(),
            changed_at: self.changed_at.into(),
            entry: self.payment.map(|number| EntryId { account: self.account_id, number }),
            request: reference(self.source, self.command_id)?,
            transitions,
        })
    }
}

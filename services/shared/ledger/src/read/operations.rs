//! A customer's list of operations.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use contract::{Currency, CustomerId, EntryId, MerchantId, Reference, SignedAmount, Timestamp};
use serde::Serialize;
use sqlx::PgConnection;

use super::{Result, parsed, reference};
use crate::EntryKind;

/// An entry as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct Operation {
    /// Saldo's id of the entry.
    pub id: EntryId,
    /// What kind of posting, such as `commission`.
    pub kind: String,
    /// Above zero: credited to the customer.
    pub amount: SignedAmount,
    /// The balance after it.
    pub balance_after: SignedAmount,
    /// The currency of both.
    pub currency: Currency,
    /// The shop's order, where there is one.
    pub order: Option<String>,
    /// How far down the affiliate tree.
    pub level: Option<i16>,
    /// A sentence.
    pub note: Option<String>,
    /// Who did it, where a person did.
    pub actor: Option<String>,
    /// The broker user who published the command, where one is required.
    pub user: Option<String>,
    /// What the other side calls it, such as the reference of a payment.
    pub reference: Option<String>,
    /// The entry that this one takes back.
    pub reverses: Option<EntryId>,
    /// The entry that took this one back.
    pub reversed_by: Option<EntryId>,
    /// When it happened, says the publisher.
    pub occurred_at: Timestamp,
    /// When it was posted, by the database's clock.
    pub recorded_at: Timestamp,
    /// The command that caused it.
    pub command: Option<Reference>,
}

/// Which operations are asked for. The default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Period {
    /// Not those that were recorded before this.
    pub since: Option<Timestamp>,
    /// Only those that were recorded before this.
    pub until: Option<Timestamp>,
    /// Only these kinds; all where it is empty.
    pub kinds: Vec<EntryKind>,
}

/// Where a page ended: the number of the oldest entry that was shown, for each account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperationsFrom(BTreeMap<i64, i64>);

/// Some of a customer's operations, newest first.
#[derive(Debug, Clone)]
pub struct OperationsPage {
    /// The operations.
    pub operations: Vec<Operation>,
    /// From where to go on; `None` if nothing is left.
    pub next: Option<OperationsFrom>,
}

/// A customer's operations in all currencies, newest first, at most `limit`.
///
/// Within an account the entries' numbers order them, whatever the clock did; between accounts the time they were
/// recorded at does. Each account is read from its newest entry of the period backwards along the primary key; of
/// kinds that are rare, far.
///
/// # Errors
/// The database's.
pub async fn operations(
    connection: &mut PgConnection,
    merchant: &MerchantId,
    customer: &CustomerId,
    period: &Period,
    from: &OperationsFrom,
    limit: i64,
) -> Result<OperationsPage> {
    let kinds: Vec<String> = period.kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
    // Accounts by their unique index, entries by their primary key, what took one back by entry_reversed.
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT e.account_id AS "account_id!", e.number AS "number!", a.currency AS "currency!",
                  e.kind AS "kind!", e.amount AS "amount!", e.balance_after AS "balance_after!",
                  e.order_number AS "order?", e.level AS "level?", e.note AS "note?", e.actor AS "actor?",
                  e.user_id AS "user?", e.reference AS "reference?", e.reverses AS "reverses?",
                  back.number AS "reversed_by?",
                  e.occurred_at AS "occurred_at!", e.recorded_at AS "recorded_at!",
                  i.source AS "source?", i.id AS "command_id?"
           FROM account a
           LEFT JOIN unnest($3::bigint[], $4::bigint[]) AS shown (account_id, number) ON shown.account_id = a.id
           CROSS JOIN LATERAL (
               SELECT CASE WHEN $6::timestamptz IS NULL THEN 0 ELSE entries_before(a.id, $6) END AS before,
                      CASE WHEN $7::timestamptz IS NULL THEN a.entries ELSE entries_before(a.id, $7) END AS last
               OFFSET 0 -- once an account, not once an entry
           ) period
           CROSS JOIN LATERAL (
               SELECT * FROM entry e
               WHERE e.account_id = a.id AND e.number > period.before
                 AND e.number <= least(period.last, shown.number - 1)
                 AND (cardinality($8::text[]) = 0 OR e.kind = ANY($8))
               ORDER BY e.number DESC LIMIT $5
           ) e
           LEFT JOIN entry back ON back.account_id = e.account_id AND back.reverses = e.number
           LEFT JOIN inbox i ON i.key = e.command
           WHERE a.merchant = $1 AND a.customer = $2
           ORDER BY e.account_id, e.number DESC"#,
        merchant.as_str(),
        customer.as_str(),
        &from.0.keys().copied().collect::<Vec<_>>(),
        &from.0.values().copied().collect::<Vec<_>>(),
        // One more than is shown says whether anything is left.
        limit.saturating_add(1),
        period.since.map(Timestamp::get),
        period.until.map(Timestamp::get),
        &kinds,
    )
    .fetch_all(connection)
    .await?;
    let mut accounts: BTreeMap<i64, VecDeque<Row>> = BTreeMap::new();
    for row in rows {
        accounts.entry(row.account_id).or_default().push_back(row);
    }
    let limit = usize::try_from(limit).unwrap_or(0);
    let (rows, left) = merge(accounts, limit, |row| row.recorded_at);
    let mut next = from.clone();
    next.0.extend(rows.iter().map(|row| (row.account_id, row.number)));
    let operations = rows.into_iter().map(Operation::try_from).collect::<Result<_>>()?;
    Ok(OperationsPage { operations, next: left.then_some(next) })
}

/// A customer's newest operation.
///
/// # Errors
/// The database's.
pub async fn last_operation(
    connection: &mut PgConnection,
    merchant: &MerchantId,
    customer: &CustomerId,
) -> Result<Option<Operation>> {
    let (all, newest) = (Period::default(), OperationsFrom::default());
    Ok(operations(connection, merchant, customer, &all, &newest, 1).await?.operations.pop())
}

/// The first `limit` of several sequences: always the head that has the latest time. Also whether anything is left.
fn merge<T, K: Ord>(
    mut sequences: BTreeMap<i64, VecDeque<T>>,
    limit: usize,
    time: impl Fn(&T) -> K,
) -> (Vec<T>, bool) {
    let mut merged = Vec::new();
    while merged.len() < limit {
        let latest = sequences
            .iter()
            .filter_map(|(account, rows)| Some((time(rows.front()?), Reverse(*account))))
            .max();
        let Some((_, Reverse(account))) = latest else { break };
        merged.extend(sequences.get_mut(&account).and_then(VecDeque::pop_front));
    }
    (merged, sequences.values().any(|rows| !rows.is_empty()))
}

struct Row {
    account_id: i64,
    number: i64,
    currency: String,
    kind: String,
    amount: rust_decimal::Decimal,
    balance_after: rust_decimal::Decimal,
    order: Option<String>,
    level: Option<i16>,
    note: Option<String>,
    actor: Option<String>,
    user: Option<String>,
    reference: Option<String>,
    reverses: Option<i64>,
    reversed_by: Option<i64>,
    occurred_at: time::OffsetDateTime,
    recorded_at: time::OffsetDateTime,
    source: Option<String>,
    command_id: Option<String>,
}

impl TryFrom<Row> for Operation {
    type Error = sqlx::Error;
    fn try_from(row: Row) -> Result<Self> {
        let currency: Currency = parsed("account.currency", &row.currency)?;
        let command = reference(row.source, row.command_id)?;
        let entry = |number| EntryId { account: row.account_id, number };
        Ok(Self {
            id: entry(row.number),
            kind: row.kind,
            amount: SignedAmount::new(row.amount, currency),
            balance_after: SignedAmount::new(row.balance_after, currency),
            currency,
            order: row.order,
            level: row.level,
            note: row.note,
            actor: row.actor,
            user: row.user,
            reference: row.reference,
            reverses: row.reverses.map(entry),
            reversed_by: row.reversed_by.map(entry),
            occurred_at: row.occurred_at.into(),
            recorded_at: row.recorded_at.into(),
            command,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequences(lists: &[&[(i64, i64)]]) -> BTreeMap<i64, VecDeque<(i64, i64)>> {
        (0..).zip(lists).map(|(account, list)| (account, list.iter().copied().collect())).collect()
    }

    #[test]
    fn accounts_are_merged_by_time_and_keep_their_own_order() {
        // (number, time): the clock went back between entries 5 and 6 of the first account.
        let accounts = sequences(&[&[(6, 40), (5, 50), (4, 10)], &[(2, 45), (1, 30)]]);
        let (merged, left) = merge(accounts, 4, |(_, time)| *time);
        assert_eq!(merged, [(2, 45), (6, 40), (5, 50), (1, 30)]);
        assert!(left);
    }

    #[test]
    fn nothing_is_left_after_the_last() {
        let (merged, left) = merge(sequences(&[&[(1, 1)]]), 1, |(_, time)| *time);
        assert_eq!((merged.len(), left), (1, false));
    }
}

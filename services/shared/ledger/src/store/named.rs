//! Reading what commands name: commissions, entries and withdrawals, by the command that created them or by
//! Saldo's id. Nothing is found that is not of the naming command's own merchant.

use std::collections::{BTreeMap, BTreeSet};

use contract::command::CommandData;
use contract::commission::CommissionCredit;
use contract::{CommandKey, EntryId, KeyHash, Level, MerchantId};
use rust_decimal::Decimal;
use sqlx::PgTransaction;

use super::load::{Names, Needed, key_column, key_hash, parsed, same, unexpected};
use super::withdrawals;
use crate::{About, AccountKey, Books, Commission, CommissionState, Failure, Named, Posted};

/// The numbers of the accounts that the named things belong to.
pub(super) async fn accounts(
    transaction: &mut PgTransaction<'_>,
    needed: &Needed,
) -> Result<BTreeSet<i64>, Failure> {
    let mut ids = BTreeSet::new();
    let names: Vec<&KeyHash> = [&needed.commissions, &needed.entries, &needed.withdrawals]
        .into_iter()
        .flat_map(Names::keys)
        .collect();
    if !names.is_empty() {
        let owners = sqlx::query_scalar!(
            r#"SELECT i.account_id AS "account_id!"
               FROM unnest($1::bytea[]) AS k (key) JOIN inbox i ON i.key = k.key WHERE i.account_id IS NOT NULL"#,
            &key_column(names),
        );
        ids.extend(owners.fetch_all(&mut **transaction).await?);
    }
    if !needed.entry_ids.is_empty() {
        let owners = sqlx::query_scalar!(
            r#"SELECT a.id AS "id!"
               FROM unnest($1::bigint[], $2::text[]) AS k (id, merchant)
               JOIN account a ON a.id = k.id AND a.merchant = k.merchant"#,
            &needed.entry_ids.iter().map(|(id, _)| id.account).collect::<Vec<_>>(),
            &needed.entry_ids.iter().map(|(_, merchant)| merchant.to_string()).collect::<Vec<_>>(),
        );
        ids.extend(owners.fetch_all(&mut **transaction).await?);
    }
    if !needed.withdrawal_ids.is_empty() {
        let owners = sqlx::query_scalar!(
            r#"SELECT a.id AS "id!"
               FROM unnest($1::bytea[], $2::text[]) AS k (key, merchant)
               JOIN withdrawal w ON w.key = k.key
               JOIN account a ON a.id = w.account_id AND a.merchant = k.merchant"#,
            &key_column(needed.withdrawal_ids.iter().map(|(key, _)| key)),
            &needed.withdrawal_ids.iter().map(|(_, merchant)| merchant.to_string()).collect::<Vec<_>>(),
        );
        ids.extend(owners.fetch_all(&mut **transaction).await?);
    }
    Ok(ids)
}

/// Enters what the commands name into the books.
///
/// # Errors
/// [`Failure::Raced`] where something was decided after [`accounts`] had looked: its account is not locked, so
/// nothing may be decided about it in this transaction.
pub(super) async fn named(
    transaction: &mut PgTransaction<'_>,
    needed: &Needed,
    books: &mut Books,
) -> Result<(), Failure> {
    if !needed.commissions.is_empty() {
        commissions(transaction, &needed.commissions, books).await?;
    }
    let mut ids: AskedBy<EntryId> = AskedBy::new();
    for (id, merchant) in &needed.entry_ids {
        ids.entry(*id).or_default().insert(merchant.clone());
    }
    for (key, decided) in decided(transaction, &needed.entries).await? {
        match decided.entry {
            Some(id) => {
                ids.entry(id).or_default().insert(key.merchant.clone());
                books.load_named(key.hash(), Named::Entry(id));
            }
            None => books.note_decided(key.hash(), &decided.message_type),
        }
    }
    if !ids.is_empty() {
        entries(transaction, &ids, books).await?;
    }
    let mut keys: AskedBy<KeyHash> = AskedBy::new();
    for (key, merchant) in &needed.withdrawal_ids {
        keys.entry(*key).or_default().insert(merchant.clone());
    }
    let requests = decided(transaction, &needed.withdrawals).await?;
    for (key, _) in &requests {
        keys.entry(key.hash()).or_default().insert(key.merchant.clone());
    }
    if !keys.is_empty() {
        withdrawals::load(transaction, &keys, books).await?;
    }
    for (key, decided) in requests {
        books.note_decided(key.hash(), &decided.message_type);
    }
    Ok(())
}

/// Ids, each with the merchants whose commands name it.
pub(super) type AskedBy<K> = BTreeMap<K, BTreeSet<MerchantId>>;

/// Whether what this merchant owns is named by one of its own commands.
pub(super) fn asked_by_owner<K: Ord>(asked: &AskedBy<K>, key: &K, owner: &str) -> bool {
    asked.get(key).is_some_and(|merchants| merchants.iter().any(|merchant| merchant.as_str() == owner))
}

/// What the inbox says of a named command.
struct Decided {
    message_type: String,
    entry: Option<EntryId>,
}

async fn decided<'n>(
    transaction: &mut PgTransaction<'_>,
    names: &'n Names,
) -> Result<Vec<(&'n CommandKey, Decided)>, Failure> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        "SELECT i.key, i.merchant, i.source, i.id, i.type AS message_type, i.account_id, i.entry_number
         FROM unnest($1::bytea[]) AS k (key) JOIN inbox i ON i.key = k.key
         WHERE i.outcome IS NOT NULL",
        &key_column(names.keys()),
    )
    .fetch_all(&mut **transaction)
    .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let key = names.get(&key_hash(&row.key)?);
        let Some(key) = key.filter(|key| same(key, &row.merchant, &row.source, &row.id)) else { continue };
        let entry = row.account_id.zip(row.entry_number);
        let entry = entry.map(|(account, number)| EntryId { account, number });
        found.push((key, Decided { message_type: row.message_type, entry }));
    }
    Ok(found)
}

async fn entries(
    transaction: &mut PgTransaction<'_>,
    ids: &AskedBy<EntryId>,
    books: &mut Books,
) -> Result<(), Failure> {
    let rows = sqlx::query!(
        r#"SELECT e.account_id, e.number, e.kind, e.amount, a.merchant,
                  EXISTS (SELECT FROM entry r WHERE r.account_id = e.account_id AND r.reverses = e.number)
                      AS "reversed!"
           FROM unnest($1::bigint[], $2::bigint[]) AS k (account_id, number)
           JOIN entry e ON e.account_id = k.account_id AND e.number = k.number
           JOIN account a ON a.id = e.account_id"#,
        &ids.keys().map(|id| id.account).collect::<Vec<_>>(),
        &ids.keys().map(|id| id.number).collect::<Vec<_>>(),
    )
    .fetch_all(&mut **transaction)
    .await?;
    for row in rows {
        let id = EntryId { account: row.account_id, number: row.number };
        if !asked_by_owner(ids, &id, &row.merchant) {
            continue;
        }
        if books.account_by_id(id.account).is_none() {
            return Err(Failure::Raced);
        }
        let posted = Posted { kind: parsed(&row.kind)?, amount: row.amount, reversed: row.reversed };
        books.load_posted(id, posted);
    }
    Ok(())
}

async fn commissions(
    transaction: &mut PgTransaction<'_>,
    names: &Names,
    books: &mut Books,
) -> Result<(), Failure> {
    let rows = sqlx::query!(
        r#"SELECT i.key AS "key!", i.merchant AS "merchant!", i.source AS "source!", i.id AS "id!",
                  i.type AS "message_type!", i.account_id,
                  a.customer AS "customer?", a.currency AS "currency?",
                  coalesce(c.order_number, e.order_number) AS "order_number?",
                  coalesce(c.level, e.level) AS "level?", coalesce(c.note, e.note) AS "note?",
                  e.amount AS "credited?", c.amount AS "amount?", c.reversed AS "reversed?",
                  c.state AS "state?", c.available_at
           FROM unnest($1::bytea[]) AS k (key)
           JOIN inbox i ON i.key = k.key
           LEFT JOIN account a ON a.id = i.account_id
           LEFT JOIN entry e ON e.account_id = i.account_id AND e.number = i.entry_number
           LEFT JOIN commission c ON c.key = i.key
           WHERE i.outcome IS NOT NULL"#,
        &key_column(names.keys()),
    )
    .fetch_all(&mut **transaction)
    .await?;
    for row in rows {
        let hash = key_hash(&row.key)?;
        let Some(key) = names.get(&hash).filter(|key| same(key, &row.merchant, &row.source, &row.id)) else {
            continue;
        };
        let whole = (row.account_id, row.customer, row.currency, row.amount.or(row.credited));
        let (CommissionCredit::TYPE, (Some(account), Some(customer), Some(currency), Some(amount))) =
            (row.message_type.as_str(), whole)
        else {
            books.note_decided(hash, &row.message_type);
            continue;
        };
        if books.account_by_id(account).is_none() {
            return Err(Failure::Raced);
        }
        let state = match (row.state.as_deref(), row.available_at) {
            (Some("pending"), Some(available_at)) => {
                CommissionState::Pending { available_at: available_at.into() }
            }
            (Some("cancelled"), _) => CommissionState::Cancelled,
            _ => CommissionState::Credited,
        };
        let reversed = row.reversed.unwrap_or(Decimal::ZERO);
        let owner = AccountKey {
            merchant: key.merchant.clone(),
            customer: parsed(&customer)?,
            currency: parsed(&currency)?,
        };
        let about = About {
            order: row.order_number.as_deref().map(parsed).transpose()?,
            level: row.level.map(Level::try_from).transpose().map_err(|_| unexpected())?,
            note: row.note.as_deref().map(parsed).transpose()?,
        };
        let commission = Commission { key: key.clone(), account, owner, amount, reversed, state, about };
        books.load_named(hash, Named::Commission(commission));
    }
    Ok(())
}

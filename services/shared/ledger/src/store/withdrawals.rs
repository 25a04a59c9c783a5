//! Withdrawals: reading the named ones, writing those that are new or have changed.

use contract::{Actor, CommandKey, KeyHash, Note, ReferenceText, UserId};
use sqlx::PgTransaction;

use super::load::{bytes, key_column, key_hash, parsed, unexpected};
use super::named::{AskedBy, asked_by_owner};
use crate::{AccountKey, Books, Failure, Named, PayoutSnapshot, Withdrawal};

/// Enters the withdrawals under these keys into the books.
///
/// # Errors
/// [`Failure::Raced`] where the account of one is not locked: it was requested after that had been looked for.
pub(super) async fn load(
    transaction: &mut PgTransaction<'_>,
    keys: &AskedBy<KeyHash>,
    books: &mut Books,
) -> Result<(), Failure> {
    let rows = sqlx::query!(
        r#"SELECT w.key, w.account_id, w.amount, w.state, w.payout_version, w.transitions, w.payment, w.requested_at,
                a.merchant, a.customer, a.currency, i.source, i.id,
                p.kind AS "payout_kind?", p.masked AS "masked?"
         FROM unnest($1::bytea[]) AS k (key)
         JOIN withdrawal w ON w.key = k.key
         JOIN account a ON a.id = w.account_id
         JOIN inbox i ON i.key = w.key
         LEFT JOIN payout_method p
              ON p.merchant = a.merchant AND p.customer = a.customer AND p.version = w.payout_version"#,
        &key_column(keys.keys()),
    )
    .fetch_all(&mut **transaction)
    .await?;
    for row in rows {
        let key = key_hash(&row.key)?;
        if !asked_by_owner(keys, &key, &row.merchant) {
            continue;
        }
        if books.account_by_id(row.account_id).is_none() {
            return Err(Failure::Raced);
        }
        let owner = AccountKey {
            merchant: parsed(&row.merchant)?,
            customer: parsed(&row.customer)?,
            currency: parsed(&row.currency)?,
        };
        let (Some(kind), Some(masked)) = (row.payout_kind, row.masked) else { return Err(unexpected()) };
        let withdrawal = Withdrawal {
            request: CommandKey {
                merchant: owner.merchant.clone(),
                source: parsed(&row.source)?,
                id: parsed(&row.id)?,
            },
            account: row.account_id,
            owner,
            amount: row.amount,
            state: parsed(&row.state)?,
            payout: PayoutSnapshot { version: row.payout_version, kind: parsed(&kind)?, masked },
            transitions: row.transitions,
            payment: row.payment,
            requested_at: row.requested_at.into(),
        };
        books.load_named(key, Named::Withdrawal(withdrawal));
    }
    Ok(())
}

/// Withdrawals and their transitions. One that exists is changed under its account's lock and has no rival; of two
/// that are new under one key, the second violates its primary key and is decided again.
pub(super) async fn write(transaction: &mut PgTransaction<'_>, books: &Books) -> Result<(), Failure> {
    let (new, changed): (Vec<_>, Vec<_>) = books
        .changes()
        .withdrawals
        .iter()
        .partition(|(key, _)| books.changes().new_withdrawals.contains(key));
    insert(transaction, &new, books).await?;
    update(transaction, &changed, books).await?;
    transitions(transaction, books).await
}

type Rows<'b> = [(&'b KeyHash, &'b Withdrawal)];

async fn insert(transaction: &mut PgTransaction<'_>, rows: &Rows<'_>, books: &Books) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let all = || rows.iter().map(|(_, withdrawal)| *withdrawal);
    sqlx::query!(
        "INSERT INTO withdrawal (key, account_id, amount, state, payout_version, transitions, payment, requested_at,
                                 changed_at)
         SELECT n.*, $9 FROM unnest($1::bytea[], $2::bigint[], $3::numeric[], $4::text[], $5::integer[], $6::integer[],
                                    $7::bigint[], $8::timestamptz[]) AS n",
        &key_column(rows.iter().map(|(key, _)| *key)),
        &all().map(|withdrawal| withdrawal.account).collect::<Vec<_>>(),
        &all().map(|withdrawal| withdrawal.amount).collect::<Vec<_>>(),
        &all().map(|withdrawal| withdrawal.state.as_str().to_owned()).collect::<Vec<_>>(),
        &all().map(|withdrawal| withdrawal.payout.version).collect::<Vec<_>>(),
        &all().map(|withdrawal| withdrawal.transitions).collect::<Vec<_>>(),
        &all().map(|withdrawal| withdrawal.payment).collect::<Vec<_>>() as _,
        &all().map(|withdrawal| withdrawal.requested_at.get()).collect::<Vec<_>>(),
        books.now().get(),
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn update(transaction: &mut PgTransaction<'_>, rows: &Rows<'_>, books: &Books) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let all = || rows.iter().map(|(_, withdrawal)| *withdrawal);
    sqlx::query!(
        "UPDATE withdrawal w
         SET state = n.state, transitions = n.transitions, payment = n.payment, changed_at = $5
         FROM unnest($1::bytea[], $2::text[], $3::integer[], $4::bigint[]) AS n (key, state, transitions, payment)
         WHERE w.key = n.key",
        &key_column(rows.iter().map(|(key, _)| *key)),
        &all().map(|withdrawal| withdrawal.state.as_str().to_owned()).collect::<Vec<_>>(),
        &all().map(|withdrawal| withdrawal.transitions).collect::<Vec<_>>(),
        &all().map(|withdrawal| withdrawal.payment).collect::<Vec<_>>() as _,
        books.now().get(),
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn transitions(transaction: &mut PgTransaction<'_>, books: &Books) -> Result<(), Failure> {
    if books.changes().transitions.is_empty() {
        return Ok(());
    }
    let transitions = &books.changes().transitions;
    let all = || transitions.iter();
    sqlx::query!(
        "INSERT INTO withdrawal_transition (withdrawal, number, state, actor, user_id, reason, payment_reference,
                                            command, occurred_at, recorded_at)
         SELECT * FROM unnest($1::bytea[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                              $8::bytea[], $9::timestamptz[], $10::timestamptz[])",
        &all().map(|transition| bytes(&transition.withdrawal)).collect::<Vec<_>>(),
        &all().map(|transition| transition.number).collect::<Vec<_>>(),
        &all().map(|transition| transition.state.as_str().to_owned()).collect::<Vec<_>>(),
        &all().map(|transition| transition.actor.as_ref().map(Actor::to_string)).collect::<Vec<_>>() as _,
        &all().map(|transition| transition.user.as_ref().map(UserId::to_string)).collect::<Vec<_>>() as _,
        &all().map(|transition| transition.reason.as_ref().map(Note::to_string)).collect::<Vec<_>>() as _,
        &all()
            .map(|transition| transition.payment_reference.as_ref().map(ReferenceText::to_string))
            .collect::<Vec<_>>() as _,
        &all().map(|transition| bytes(&transition.command)).collect::<Vec<_>>(),
        &all().map(|transition| transition.occurred_at.get()).collect::<Vec<_>>(),
        &all().map(|transition| transition.recorded_at.get()).collect::<Vec<_>>(),
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

//! Parked commands: taking them out of `waiting` when they are decided.
//!
//! One that cannot be read, because the key it is encrypted with is not configured or because an older version of
//! the contract accepted it, is left where it is: it holds up neither a command that it waits for nor others that
//! are parked.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use contract::{KeyHash, Received};
use sqlx::PgTransaction;

use super::Waiters;
use super::load::{bytes, key_hash, parsed};
use crate::decide::{Item, ItemOrigin, Stored};
use crate::vault::Sealed;
use crate::{Awaited, Failure, Rules};

/// A transaction decides at most this many commands that waited for its own; a scan finds the others. With the
/// largest messages they take 16 MiB.
const MAX_WAITERS: i64 = 500;

/// Parked commands and what each waits for.
type Waiting<C> = Vec<(Awaited, Arc<Item<C>>)>;

/// Takes out of `waiting` the parked items themselves, and what waits for the new ones.
pub(super) async fn take<R: Rules>(
    transaction: &mut PgTransaction<'_>,
    rules: &R,
    items: &[Arc<Item<R::Command>>],
    stored: &HashMap<KeyHash, Stored>,
    waiters: Waiters,
) -> Result<(HashSet<KeyHash>, Waiting<R::Command>), Failure> {
    let is_parked = |item: &&Arc<Item<R::Command>>| matches!(item.origin, ItemOrigin::Parked { .. });
    let parked: Vec<_> = items.iter().filter(is_parked).map(|item| bytes(&item.received.hash)).collect();
    let taken = if parked.is_empty() { HashSet::new() } else { delete::<R>(transaction, &parked).await? };
    // Each once, however many copies of it the batch has: what waits for it must not be found twice.
    let undecided: BTreeSet<KeyHash> = items
        .iter()
        .map(|item| item.received.hash)
        .filter(|key| stored.get(key).is_none_or(|stored| stored.outcome.is_none()))
        .collect();
    let waiting = match waiters {
        Waiters::Taken => take_waiters(transaction, rules, &undecided).await?,
        Waiters::Left => Vec::new(),
    };
    Ok((taken, waiting))
}

/// Deletes; returns the keys of those that were there, which no other scan has taken.
async fn delete<R: Rules>(
    transaction: &mut PgTransaction<'_>,
    keys: &[Vec<u8>],
) -> Result<HashSet<KeyHash>, Failure> {
    let deleted = sqlx::query_scalar!(
        "DELETE FROM waiting w USING unnest($1::bytea[]) AS k (key) WHERE w.key = k.key AND w.worker = $2
         RETURNING w.key",
        keys,
        R::WORKER,
    );
    deleted.fetch_all(&mut **transaction).await?.iter().map(|key| key_hash(key)).collect()
}

async fn take_waiters<R: Rules>(
    transaction: &mut PgTransaction<'_>,
    rules: &R,
    awaited: &BTreeSet<KeyHash>,
) -> Result<Waiting<R::Command>, Failure> {
    let rows = sqlx::query!(
        r#"SELECT w.key, w.awaited_command AS "awaited!", w.body, w.key_id, w.user_id, w.parked_at, w.deadline
           FROM unnest($1::bytea[]) AS k (key) JOIN waiting w ON w.awaited_command = k.key
           WHERE w.worker = $2 ORDER BY w.parked_at, w.key LIMIT $3"#,
        &awaited.iter().map(|key| key.0.as_slice()).collect::<Vec<_>>() as _,
        R::WORKER,
        MAX_WAITERS,
    )
    .fetch_all(&mut **transaction)
    .await?;
    let mut waiting = Vec::with_capacity(rows.len());
    for row in rows {
        let parked = ParkedRow {
            key: key_hash(&row.key)?,
            body: row.body,
            key_id: row.key_id,
            user: row.user_id,
            since: row.parked_at,
            deadline: row.deadline,
        };
        let awaited = Awaited::Command(key_hash(&row.awaited)?);
        waiting.extend(parked.item(rules).map(|item| (awaited, item)));
    }
    if !waiting.is_empty() {
        let keys: Vec<_> = waiting.iter().map(|(_, item)| bytes(&item.received.hash)).collect();
        let taken = delete::<R>(transaction, &keys).await?;
        waiting.retain(|(_, item)| taken.contains(&item.received.hash));
    }
    Ok(waiting)
}

/// A parked command as it is stored.
pub(super) struct ParkedRow {
    pub(super) key: KeyHash,
    pub(super) body: Vec<u8>,
    /// The key that the body is encrypted with.
    pub(super) key_id: Option<String>,
    pub(super) user: Option<String>,
    pub(super) since: time::OffsetDateTime,
    pub(super) deadline: time::OffsetDateTime,
}

impl ParkedRow {
    /// Reads it again from its message; `None` where it cannot be read.
    pub(super) fn item<R: Rules>(self, rules: &R) -> Option<Arc<Item<R::Command>>> {
        let body = match self.key_id {
            None => self.body,
            Some(key_id) => rules.reveal(self.key, &Sealed { key_id, bytes: self.body })?,
        };
        let mut received = Received::read(&body).ok()?;
        received.user = self.user.as_deref().map(parsed).transpose().ok()?;
        let origin = ItemOrigin::Parked { since: self.since.into(), deadline: self.deadline.into() };
        Some(Arc::new(Item { received, body: body.into(), origin }))
    }
}

//! Reading what a batch touches.
//!
//! Keys come in by joining `unnest`, not by `= ANY`: a cached plan that was made while a table was small scans
//! it once at worst, not once for every key.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use contract::command::CommandData;
use contract::commission::CommissionCredit;
use contract::{
    CommandKey, Commands, ContentHash, Currency, CustomerId, KeyHash, Level, MerchantId, Received, Timestamp,
};
use rust_decimal::Decimal;
use sqlx::PgTransaction;

use crate::decide::{Item, ItemOrigin, Stored};
use crate::{
    About, Account, AccountKey, Awaited, Books, Commission, CommissionState, Failure, Merchant, Named, Rules,
};

/// What the commands of a batch need, each once.
pub(super) struct Needed {
    merchants: BTreeSet<MerchantId>,
    accounts: BTreeSet<AccountKey>,
    names: HashMap<KeyHash, CommandKey>,
}

impl Needed {
    pub(super) fn of<R: Rules>(rules: &R, items: &[Arc<Item<R::Command>>]) -> Self {
        let mut needed =
            Self { merchants: BTreeSet::new(), accounts: BTreeSet::new(), names: HashMap::new() };
        for item in items {
            let command = &item.received.command;
            if !needed.merchants.contains(command.merchant()) {
                needed.merchants.insert(command.merchant().clone());
            }
            let needs = rules.needs(command);
            needed.accounts.extend(needs.account);
            needed.names.extend(needs.names.map(|key| (key.hash(), key)));
        }
        needed
    }

    fn name_hashes(&self) -> Vec<Vec<u8>> {
        self.names.keys().map(bytes).collect()
    }
}

pub(super) fn bytes(key: &KeyHash) -> Vec<u8> {
    key.0.to_vec()
}

fn key_hash(bytes: &[u8]) -> Result<KeyHash, Failure> {
    bytes.try_into().map(KeyHash).map_err(|_| unexpected())
}

/// What the schema's own checks rule out.
fn unexpected() -> Failure {
    Failure::Infrastructure { state: "unexpected answer".to_owned(), lost: false }
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| unexpected())
}

/// The numbers of the accounts that are needed; those that were missing are created, unless their merchant is
/// not registered.
pub(super) async fn resolve(
    transaction: &mut PgTransaction<'_>,
    needed: &Needed,
) -> Result<BTreeSet<i64>, Failure> {
    let mut ids = BTreeSet::new();
    if !needed.names.is_empty() {
        let owners = sqlx::query_scalar!(
            r#"SELECT i.account_id AS "account_id!"
               FROM unnest($1::bytea[]) AS k (key) JOIN inbox i ON i.key = k.key WHERE i.account_id IS NOT NULL"#,
            &needed.name_hashes(),
        );
        ids.extend(owners.fetch_all(&mut **transaction).await?);
    }
    if needed.accounts.is_empty() {
        return Ok(ids);
    }
    let columns = AccountColumns::of(needed.accounts.iter());
    let found = columns.find(transaction).await?;
    if found.len() == needed.accounts.len() {
        ids.extend(found.into_iter().map(|(_, id)| id));
        return Ok(ids);
    }
    let known: BTreeSet<usize> = found.iter().map(|(place, _)| *place).collect();
    ids.extend(found.into_iter().map(|(_, id)| id));
    let missing = needed.accounts.iter().enumerate().filter(|(place, _)| !known.contains(place));
    let columns = AccountColumns::of(missing.map(|(_, key)| key));
    columns.create(transaction).await?;
    ids.extend(columns.find(transaction).await?.into_iter().map(|(_, id)| id));
    Ok(ids)
}

#[derive(Default)]
struct AccountColumns {
    merchants: Vec<String>,
    customers: Vec<String>,
    currencies: Vec<String>,
    exponents: Vec<i16>,
}

impl AccountColumns {
    /// In the order of the keys, which is the order they are created in.
    fn of<'a>(keys: impl Iterator<Item = &'a AccountKey>) -> Self {
        let mut columns = Self::default();
        for key in keys {
            columns.merchants.push(key.merchant.to_string());
            columns.customers.push(key.customer.to_string());
            columns.currencies.push(key.currency.code().to_owned());
            columns.exponents.push(i16::try_from(key.currency.exponent()).unwrap_or(i16::MAX));
        }
        columns
    }

    /// Place among the keys, and number.
    async fn find(&self, transaction: &mut PgTransaction<'_>) -> Result<Vec<(usize, i64)>, Failure> {
        let rows = sqlx::query!(
            r#"SELECT k.place AS "place!", a.id
               FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY
                    AS k (merchant, customer, currency, place)
               JOIN account a USING (merchant, customer, currency)"#,
            &self.merchants,
            &self.customers,
            &self.currencies,
        )
        .fetch_all(&mut **transaction)
        .await?;
        rows.into_iter()
            .map(|row| Ok((usize::try_from(row.place - 1).map_err(|_| unexpected())?, row.id)))
            .collect()
    }

    async fn create(&self, transaction: &mut PgTransaction<'_>) -> Result<(), Failure> {
        sqlx::query!(
            "INSERT INTO customer (merchant, id, kind)
             SELECT DISTINCT k.merchant, k.customer, 'affiliate'
             FROM unnest($1::text[], $2::text[]) AS k (merchant, customer)
             JOIN merchant m ON m.id = k.merchant
             ORDER BY k.merchant, k.customer
             ON CONFLICT DO NOTHING",
            &self.merchants,
            &self.customers,
        )
        .execute(&mut **transaction)
        .await?;
        sqlx::query!(
            "INSERT INTO account (merchant, customer, currency, exponent)
             SELECT k.merchant, k.customer, k.currency, k.exponent
             FROM unnest($1::text[], $2::text[], $3::text[], $4::smallint[]) WITH ORDINALITY
                  AS k (merchant, customer, currency, exponent, place)
             JOIN customer c ON c.merchant = k.merchant AND c.id = k.customer
             ORDER BY k.place
             ON CONFLICT DO NOTHING",
            &self.merchants,
            &self.customers,
            &self.currencies,
            &self.exponents,
        )
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }
}

/// Locks the accounts, ascending by number, and reads them.
pub(super) async fn lock(
    transaction: &mut PgTransaction<'_>,
    ids: BTreeSet<i64>,
) -> Result<Vec<Account>, Failure> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = ids.into_iter().collect();
    let rows = sqlx::query!(
        "SELECT a.id, a.merchant, a.customer, a.currency, a.balance, a.held, a.pending, a.version, a.entries, a.head
         FROM unnest($1::bigint[]) AS k (id) JOIN account a ON a.id = k.id
         ORDER BY a.id FOR UPDATE OF a",
        &ids,
    )
    .fetch_all(&mut **transaction)
    .await?;
    rows.into_iter()
        .map(|row| {
            let merchant: MerchantId = parsed(&row.merchant)?;
            let customer: CustomerId = parsed(&row.customer)?;
            let currency: Currency = parsed(&row.currency)?;
            let head = row.head.map(<[u8; 32]>::try_from).transpose().map_err(|_| unexpected())?;
            Ok(Account {
                id: row.id,
                key: AccountKey { merchant, customer, currency },
                balance: row.balance,
                held: row.held,
                pending: row.pending,
                version: row.version,
                entries: row.entries,
                head,
            })
        })
        .collect()
}

/// The database's clock and the batch's merchants.
pub(super) async fn merchants(
    transaction: &mut PgTransaction<'_>,
    needed: &Needed,
) -> Result<(Timestamp, Vec<Merchant>), Failure> {
    let ids: Vec<String> = needed.merchants.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        r#"SELECT clock.now AS "now!", m.id AS "id?", m.name AS "name?", m.hold_days AS "hold_days?"
           FROM (SELECT clock_timestamp() AS now) AS clock
           LEFT JOIN merchant m ON m.id = ANY($1)"#,
        &ids,
    )
    .fetch_all(&mut **transaction)
    .await?;
    let now = rows.first().map(|row| Timestamp::from(row.now)).ok_or_else(unexpected)?;
    let mut merchants = Vec::with_capacity(rows.len());
    for row in rows {
        if let (Some(id), Some(name), Some(hold_days)) = (row.id, row.name, row.hold_days) {
            let hold_days = u16::try_from(hold_days).map_err(|_| unexpected())?;
            merchants.push(Merchant { id: parsed(&id)?, name, hold_days });
        }
    }
    Ok((now, merchants))
}

/// What the inbox has for the items' keys.
pub(super) async fn inbox<C: Commands>(
    transaction: &mut PgTransaction<'_>,
    items: &[Arc<Item<C>>],
) -> Result<HashMap<KeyHash, Stored>, Failure> {
    let asked: HashMap<KeyHash, &CommandKey> =
        items.iter().map(|item| (item.received.hash, &item.received.key)).collect();
    let keys: Vec<Vec<u8>> = asked.keys().map(bytes).collect();
    let rows = sqlx::query!(
        "SELECT i.key, i.merchant, i.source, i.id, i.content, i.outcome
         FROM unnest($1::bytea[]) AS k (key) JOIN inbox i ON i.key = k.key",
        &keys,
    )
    .fetch_all(&mut **transaction)
    .await?;
    let mut stored = HashMap::with_capacity(rows.len());
    for row in rows {
        let key = key_hash(&row.key)?;
        let content = row.content.as_slice().try_into().map(ContentHash).map_err(|_| unexpected())?;
        let same_key = asked.get(&key).is_some_and(|asked| same(asked, &row.merchant, &row.source, &row.id));
        stored.insert(key, Stored { content, same_key, outcome: row.outcome });
    }
    Ok(stored)
}

fn same(key: &CommandKey, merchant: &str, source: &str, id: &str) -> bool {
    key.merchant.as_str() == merchant && key.source.as_str() == source && key.id.as_str() == id
}

/// Enters what the commands name into the books.
///
/// # Errors
/// [`Failure::Raced`] where something was decided after [`resolve`] had looked: its account is not locked, so
/// nothing may be decided about it in this transaction.
pub(super) async fn named(
    transaction: &mut PgTransaction<'_>,
    needed: &Needed,
    books: &mut Books,
) -> Result<(), Failure> {
    if needed.names.is_empty() {
        return Ok(());
    }
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
        &needed.name_hashes(),
    )
    .fetch_all(&mut **transaction)
    .await?;
    for row in rows {
        let hash = key_hash(&row.key)?;
        let Some(key) = needed.names.get(&hash).filter(|key| same(key, &row.merchant, &row.source, &row.id))
        else {
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

/// A transaction decides at most this many commands that waited for its own; a scan finds the others. With the
/// largest messages they take 16 MiB.
const MAX_WAITERS: i64 = 500;

type Waiters<C> = Vec<(Awaited, Arc<Item<C>>)>;

/// Takes out of `waiting` the parked items themselves, and what waits for the new ones.
pub(super) async fn take_waiting<R: Rules>(
    transaction: &mut PgTransaction<'_>,
    items: &[Arc<Item<R::Command>>],
    stored: &HashMap<KeyHash, Stored>,
) -> Result<(HashSet<KeyHash>, Waiters<R::Command>), Failure> {
    let hash = |item: &Arc<Item<R::Command>>| item.received.hash;
    let parked: Vec<Vec<u8>> = items
        .iter()
        .filter(|item| matches!(item.origin, ItemOrigin::Parked { .. }))
        .map(|item| bytes(&hash(item)))
        .collect();
    let undecided: Vec<Vec<u8>> = items
        .iter()
        .map(hash)
        .filter(|key| stored.get(key).is_none_or(|stored| stored.outcome.is_none()))
        .map(|key| bytes(&key))
        .collect();
    let rows = sqlx::query!(
        "DELETE FROM waiting
         WHERE key IN (
             (SELECT w.key FROM unnest($1::bytea[]) AS k (key) JOIN waiting w ON w.key = k.key WHERE w.worker = $3)
             UNION
             (SELECT w.key FROM unnest($2::bytea[]) AS k (key) JOIN waiting w ON w.awaited_command = k.key
              WHERE w.worker = $3 ORDER BY w.parked_at, w.key LIMIT $4))
         RETURNING key, awaited_command, body, parked_at, deadline",
        &parked,
        &undecided,
        R::WORKER,
        MAX_WAITERS,
    )
    .fetch_all(&mut **transaction)
    .await?;
    let mut taken = HashSet::new();
    let mut waiters = Vec::new();
    for row in rows {
        let key = key_hash(&row.key)?;
        if parked.contains(&row.key) {
            taken.insert(key);
        } else if let Some(awaited) = row.awaited_command {
            let item = parked_item(row.body, row.parked_at, row.deadline)?;
            waiters.push((row.parked_at, Awaited::Command(key_hash(&awaited)?), item));
        }
    }
    waiters.sort_by_key(|(parked_at, _, item)| (*parked_at, item.received.hash));
    Ok((taken, waiters.into_iter().map(|(_, awaited, item)| (awaited, item)).collect()))
}

/// A parked command, read again from its message.
pub(super) fn parked_item<C: Commands>(
    body: Vec<u8>,
    since: time::OffsetDateTime,
    deadline: time::OffsetDateTime,
) -> Result<Arc<Item<C>>, Failure> {
    let received = Received::read(&body).map_err(|_| unexpected())?;
    let origin = ItemOrigin::Parked { since: since.into(), deadline: deadline.into() };
    Ok(Arc::new(Item { received, body: body.into(), origin }))
}

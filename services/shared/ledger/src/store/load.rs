//! Reading what a batch touches.
//!
//! Keys come in by joining `unnest`, whose rows look each up in its index.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use contract::{
    CommandKey, Commands, ContentHash, Currency, CustomerId, CustomerKind, EntryId, KeyHash, MerchantId,
};
use rust_decimal::Decimal;
use sqlx::PgTransaction;

use super::named;
use crate::decide::{Item, ItemOrigin, Stored};
use crate::{Account, AccountKey, CustomerKey, Failure, Naming, Needs, Rules};

/// What the commands of a batch need, each once.
#[derive(Default)]
pub(super) struct Needed {
    pub(super) merchants: BTreeSet<MerchantId>,
    /// Those that are to change.
    pub(super) changed_merchants: BTreeSet<MerchantId>,
    pub(super) customers: BTreeSet<CustomerKey>,
    /// Those that are to change.
    pub(super) changed_customers: BTreeSet<CustomerKey>,
    /// And which commands create it where it is missing, and its customer as what.
    accounts: BTreeMap<AccountKey, Vec<Creator>>,
    /// Named by the command that created it.
    pub(super) commissions: Names,
    pub(super) entries: Names,
    pub(super) withdrawals: Names,
    /// Named by Saldo's id, with who asks.
    pub(super) entry_ids: BTreeSet<(EntryId, MerchantId)>,
    pub(super) withdrawal_ids: BTreeSet<(KeyHash, MerchantId)>,
}

/// A command that creates an account, and its customer, where it is missing.
struct Creator {
    kind: CustomerKind,
    /// Not if this key is known to be in the inbox already: what is recorded is not carried out again, and one that
    /// conflicts must leave nothing behind. `None`: parked, which is recorded and to be carried out.
    unless_recorded: Option<KeyHash>,
}

/// Commands that are named, by the stored form of their keys.
pub(super) type Names = HashMap<KeyHash, CommandKey>;

impl Needed {
    /// Whether the accounts are all known by whose they are.
    pub(super) fn only_accounts(&self) -> bool {
        !self.accounts.is_empty()
            && [&self.commissions, &self.entries, &self.withdrawals].into_iter().all(Names::is_empty)
            && self.entry_ids.is_empty()
            && self.withdrawal_ids.is_empty()
    }

    pub(super) fn of<R: Rules>(rules: &R, items: &[Arc<Item<R::Command>>]) -> Self {
        let mut needed = Self::default();
        let mut seen = HashSet::with_capacity(items.len());
        for item in items {
            let received = &item.received;
            let merchant = received.command.merchant();
            if !needed.merchants.contains(merchant) {
                needed.merchants.insert(merchant.clone());
            }
            let mut needs = rules.needs(&received.command);
            if !seen.insert(received.hash) {
                // A copy, or a conflict.
                needs.creates = None;
            }
            needed.add(needs, item);
        }
        needed
    }

    fn add<C: Commands>(&mut self, needs: Needs, item: &Item<C>) {
        let Item { received, origin, .. } = item;
        let Needs { account, creates, names, customer, changes_customer, changes_merchant } = needs;
        let merchant = received.command.merchant();
        if let Some(account) = account {
            let creators = self.accounts.entry(account).or_default();
            let parked = matches!(origin, ItemOrigin::Parked { .. });
            let unless_recorded = (!parked).then_some(received.hash);
            creators.extend(creates.map(|kind| Creator { kind, unless_recorded }));
        }
        if changes_merchant {
            self.changed_merchants.insert(merchant.clone());
        }
        if changes_customer {
            self.changed_customers.extend(customer.clone());
        }
        self.customers.extend(customer);
        let by_command = |key: CommandKey| (key.hash(), key);
        match names {
            None => {}
            Some(Naming::Commission(key)) => self.commissions.extend([by_command(key)]),
            Some(Naming::Entry(key)) => self.entries.extend([by_command(key)]),
            Some(Naming::Withdrawal(key)) => self.withdrawals.extend([by_command(key)]),
            Some(Naming::EntryId(merchant, id)) => self.entry_ids.extend([(id, merchant)]),
            Some(Naming::WithdrawalId(merchant, id)) => self.withdrawal_ids.extend([(id.0, merchant)]),
        }
    }
}

pub(super) fn key_column<'a>(keys: impl IntoIterator<Item = &'a KeyHash>) -> Vec<Vec<u8>> {
    keys.into_iter().map(bytes).collect()
}

pub(crate) fn bytes(key: &KeyHash) -> Vec<u8> {
    key.0.to_vec()
}

pub(crate) fn key_hash(bytes: &[u8]) -> Result<KeyHash, Failure> {
    bytes.try_into().map(KeyHash).map_err(|_| unexpected())
}

/// What the schema's own checks rule out.
pub(crate) fn unexpected() -> Failure {
    Failure::Infrastructure { state: "unexpected answer".to_owned(), lost: false }
}

pub(crate) fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| unexpected())
}

/// The accounts that are needed, locked; those that were missing are created first, where their commands want it,
/// unless their merchant is not registered. And whether any were.
///
/// `recorded` is what the inbox had before, if it was asked. A command that is recorded besides takes what it created along,
/// when its own record is refused.
pub(super) async fn resolve_and_lock(
    transaction: &mut PgTransaction<'_>,
    needed: &Needed,
    recorded: &HashMap<KeyHash, Stored>,
) -> Result<(Vec<Account>, bool), Failure> {
    let mut ids = named::accounts(transaction, needed).await?;
    let columns = AccountColumns::of(needed.accounts.keys().map(|key| (key, None)));
    let found = if needed.accounts.is_empty() { Vec::new() } else { columns.find(transaction).await? };
    let known: BTreeSet<usize> = found.iter().map(|(place, _)| *place).collect();
    ids.extend(found.into_iter().map(|(_, id)| id));
    let missing = needed.accounts.iter().enumerate().filter(|(place, _)| !known.contains(place));
    let columns = AccountColumns::of(missing.filter_map(|(_, (account, creators))| {
        let creator = creators
            .iter()
            .find(|creator| creator.unless_recorded.is_none_or(|key| !recorded.contains_key(&key)))?;
        Some((account, Some(creator.kind)))
    }));
    let creates = !columns.merchants.is_empty();
    if creates {
        columns.create(transaction).await?;
        ids.extend(columns.find(transaction).await?.into_iter().map(|(_, id)| id));
    }
    Ok((lock(transaction, ids).await?, creates))
}

#[derive(Default)]
struct AccountColumns<'a> {
    merchants: Vec<&'a str>,
    customers: Vec<&'a str>,
    currencies: Vec<&'a str>,
    exponents: Vec<i16>,
    kinds: Vec<Option<&'static str>>,
}

impl<'a> AccountColumns<'a> {
    /// In the order of the keys, which is the order they are created in.
    fn of(keys: impl Iterator<Item = (&'a AccountKey, Option<CustomerKind>)>) -> Self {
        let mut columns = Self::default();
        for (key, creates) in keys {
            columns.merchants.push(key.merchant.as_str());
            columns.customers.push(key.customer.as_str());
            columns.currencies.push(key.currency.code());
            columns.exponents.push(i16::try_from(key.currency.exponent()).unwrap_or(i16::MAX));
            columns.kinds.push(creates.map(CustomerKind::as_str));
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
            &self.merchants as _,
            &self.customers as _,
            &self.currencies as _,
        )
        .fetch_all(&mut **transaction)
        .await?;
        rows.into_iter()
            .map(|row| Ok((usize::try_from(row.place - 1).map_err(|_| unexpected())?, row.id)))
            .collect()
    }

    async fn create(&self, transaction: &mut PgTransaction<'_>) -> Result<(), Failure> {
        sqlx::query!(
            r#"INSERT INTO customer (merchant, id, kind)
               SELECT k.merchant, k.customer, k.kind
               FROM unnest($1::text[], $2::text[], $3::text[]) AS k (merchant, customer, kind)
               JOIN merchant m ON m.id = k.merchant
               ORDER BY k.merchant COLLATE "C", k.customer COLLATE "C"
               ON CONFLICT DO NOTHING"#,
            &self.merchants as _,
            &self.customers as _,
            &self.kinds as _,
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
            &self.merchants as _,
            &self.customers as _,
            &self.currencies as _,
            &self.exponents,
        )
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }
}

/// An account's columns.
struct Row {
    id: i64,
    merchant: String,
    customer: String,
    currency: String,
    exponent: i16,
    balance: Decimal,
    held: Decimal,
    pending: Decimal,
    version: i64,
    entries: i64,
    head: Option<Vec<u8>>,
}

impl Row {
    fn account(self) -> Result<Account, Failure> {
        let merchant: MerchantId = parsed(&self.merchant)?;
        let customer: CustomerId = parsed(&self.customer)?;
        let currency: Currency = parsed(&self.currency)?;
        // Another exponent than the account was opened with would change what its amounts mean.
        if u32::try_from(self.exponent) != Ok(currency.exponent()) {
            return Err(unexpected());
        }
        let head = self.head.map(<[u8; 32]>::try_from).transpose().map_err(|_| unexpected())?;
        Ok(Account {
            id: self.id,
            key: AccountKey { merchant, customer, currency },
            balance: self.balance,
            held: self.held,
            pending: self.pending,
            version: self.version,
            entries: self.entries,
            head,
        })
    }
}

/// Locks the accounts that are needed, ascending by number, and reads them, in one statement where all of them exist
/// and no command names another. `None`, where one is missing: those that are there are locked then, and nothing may be
/// created any more before the transaction has ended.
pub(super) async fn lock_known(
    transaction: &mut PgTransaction<'_>,
    needed: &Needed,
) -> Result<Option<Vec<Account>>, Failure> {
    let columns = AccountColumns::of(needed.accounts.keys().map(|key| (key, None)));
    let rows = sqlx::query_as!(
        Row,
        "SELECT a.id, a.merchant, a.customer, a.currency, a.exponent, a.balance, a.held, a.pending, a.version,
                a.entries, a.head
         FROM (SELECT unnest($1::text[]) AS merchant, unnest($2::text[]) AS customer, unnest($3::text[]) AS currency) k
         JOIN account a ON a.merchant = k.merchant AND a.customer = k.customer AND a.currency = k.currency
         ORDER BY a.id FOR UPDATE OF a",
        &columns.merchants as _,
        &columns.customers as _,
        &columns.currencies as _,
    )
    .fetch_all(&mut **transaction)
    .await?;
    if rows.len() < needed.accounts.len() {
        return Ok(None);
    }
    rows.into_iter().map(Row::account).collect::<Result<_, _>>().map(Some)
}

/// Locks the accounts, ascending by number, and reads them.
async fn lock(transaction: &mut PgTransaction<'_>, ids: BTreeSet<i64>) -> Result<Vec<Account>, Failure> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = ids.into_iter().collect();
    let rows = sqlx::query_as!(
        Row,
        "SELECT a.id, a.merchant, a.customer, a.currency, a.exponent, a.balance, a.held, a.pending, a.version,
                a.entries, a.head
         FROM unnest($1::bigint[]) AS k (id) JOIN account a ON a.id = k.id
         ORDER BY a.id FOR UPDATE OF a",
        &ids,
    )
    .fetch_all(&mut **transaction)
    .await?;
    rows.into_iter().map(Row::account).collect()
}

/// What the inbox has for the items' keys, which may change until locks are held.
pub(super) async fn inbox<C: Commands>(
    transaction: &mut PgTransaction<'_>,
    items: &[Arc<Item<C>>],
) -> Result<HashMap<KeyHash, Stored>, Failure> {
    let asked: HashMap<KeyHash, &CommandKey> =
        items.iter().map(|item| (item.received.hash, &item.received.key)).collect();
    // In the index's own order: neighbours are found on one page.
    let mut keys: Vec<&[u8]> = asked.keys().map(|key| key.0.as_slice()).collect();
    keys.sort_unstable();
    let rows = sqlx::query!(
        "SELECT i.key, i.merchant, i.source, i.id, i.content, i.outcome
         FROM unnest($1::bytea[]) AS k (key) JOIN inbox i ON i.key = k.key",
        &keys as _,
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

pub(super) fn same(key: &CommandKey, merchant: &str, source: &str, id: &str) -> bool {
    key.merchant.as_str() == merchant && key.source.as_str() == source && key.id.as_str() == id
}

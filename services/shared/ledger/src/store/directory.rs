//! Merchants, customers and payout methods: locking those that are to change, reading, writing.
//!
//! A row that exists is locked before it is read, so that of two puts at once the second sees the first. One that
//! does not exist cannot be locked: it is inserted without ON CONFLICT, and a unique violation means that another
//! lane was faster, or that the command is recorded ([`Failure::Raced`]), as does a row that was not there when it was
//! to be locked and is now. Locks leave foreign keys alone (NO KEY UPDATE): nobody who opens an account waits for a
//! customer's new name.

use std::collections::BTreeSet;

use contract::{Locale, MerchantId, Timestamp};
use sqlx::PgTransaction;

use super::load::{Needed, bytes, parsed, unexpected};
use crate::{Books, CurrentPayout, Customer, CustomerKey, Failure, Merchant, PayoutSnapshot};

/// Merchants and customers whose rows are locked.
#[derive(Default)]
pub(super) struct Locked {
    merchants: BTreeSet<MerchantId>,
    customers: BTreeSet<CustomerKey>,
}

/// Locks the merchants and customers that are to change and exist, in key order.
pub(super) async fn lock(transaction: &mut PgTransaction<'_>, needed: &Needed) -> Result<Locked, Failure> {
    let mut locked = Locked::default();
    if !needed.changed_merchants.is_empty() {
        let ids: Vec<String> = needed.changed_merchants.iter().map(ToString::to_string).collect();
        let rows = sqlx::query_scalar!(
            r#"SELECT m.id FROM unnest($1::text[]) AS k (id) JOIN merchant m ON m.id = k.id
               ORDER BY m.id COLLATE "C" FOR NO KEY UPDATE OF m"#,
            &ids,
        );
        for id in rows.fetch_all(&mut **transaction).await? {
            locked.merchants.insert(parsed(&id)?);
        }
    }
    if !needed.changed_customers.is_empty() {
        let columns = CustomerColumns::of(&needed.changed_customers);
        let rows = sqlx::query!(
            r#"SELECT c.merchant, c.id FROM unnest($1::text[], $2::text[]) AS k (merchant, id)
               JOIN customer c ON c.merchant = k.merchant AND c.id = k.id
               ORDER BY c.merchant COLLATE "C", c.id COLLATE "C" FOR NO KEY UPDATE OF c"#,
            &columns.merchants,
            &columns.customers,
        );
        for row in rows.fetch_all(&mut **transaction).await? {
            let (merchant, customer) = (parsed(&row.merchant)?, parsed(&row.id)?);
            locked.customers.insert(CustomerKey { merchant, customer });
        }
    }
    Ok(locked)
}

struct CustomerColumns {
    merchants: Vec<String>,
    customers: Vec<String>,
}

impl CustomerColumns {
    fn of<'a>(keys: impl IntoIterator<Item = &'a CustomerKey>) -> Self {
        let (merchants, customers) = keys
            .into_iter()
            .map(|CustomerKey { merchant, customer }| (merchant.to_string(), customer.to_string()))
            .unzip();
        Self { merchants, customers }
    }
}

/// The database's clock and the batch's merchants, their preferences only where the rules ask for them.
///
/// # Errors
/// [`Failure::Raced`] where one that is to change was registered after [`lock`] had looked: it is not locked.
pub(super) async fn merchants(
    transaction: &mut PgTransaction<'_>,
    needed: &Needed,
    locked: &Locked,
    with_preferences: bool,
) -> Result<(Timestamp, Vec<Merchant>), Failure> {
    let ids: Vec<String> = needed.merchants.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        r#"SELECT clock.now AS "now!", m.id AS "id?", m.name AS "name?", m.hold_days AS "hold_days?",
                  CASE WHEN $2 THEN m.preferences END AS "preferences?: serde_json::Value", m.put_at
           FROM (SELECT clock_timestamp() AS now) AS clock
           LEFT JOIN merchant m ON m.id = ANY($1)"#,
        &ids,
        with_preferences,
    )
    .fetch_all(&mut **transaction)
    .await?;
    let now = rows.first().map(|row| Timestamp::from(row.now)).ok_or_else(unexpected)?;
    let mut merchants = Vec::with_capacity(rows.len());
    for row in rows {
        let (Some(id), Some(name), Some(hold_days)) = (row.id, row.name, row.hold_days) else { continue };
        let id = parsed(&id)?;
        if needed.changed_merchants.contains(&id) && !locked.merchants.contains(&id) {
            return Err(Failure::Raced);
        }
        let preferences = row.preferences.map(serde_json::from_value).transpose();
        merchants.push(Merchant {
            id,
            name: parsed(&name)?,
            hold_days: u16::try_from(hold_days).map_err(|_| unexpected())?,
            preferences: preferences.map_err(|_| unexpected())?.unwrap_or_default(),
            put_at: row.put_at.map(Timestamp::from),
        });
    }
    Ok((now, merchants))
}

/// What is known of the batch's customers, their newest payout methods included.
///
/// # Errors
/// [`Failure::Raced`] as in [`merchants`].
pub(super) async fn customers(
    transaction: &mut PgTransaction<'_>,
    needed: &Needed,
    locked: &Locked,
) -> Result<Vec<Customer>, Failure> {
    if needed.customers.is_empty() {
        return Ok(Vec::new());
    }
    let columns = CustomerColumns::of(&needed.customers);
    let rows = sqlx::query!(
        r#"SELECT c.merchant, c.id, c.kind, c.name, c.email, c.locale, c.put_at,
                  p.version AS "version?", p.kind AS "payout_kind?", p.masked AS "masked?",
                  p.put_at AS "payout_put_at?"
           FROM unnest($1::text[], $2::text[]) AS k (merchant, id)
           JOIN customer c ON c.merchant = k.merchant AND c.id = k.id
           LEFT JOIN LATERAL (
               SELECT m.version, m.kind, m.masked, m.put_at FROM payout_method m
               WHERE m.merchant = c.merchant AND m.customer = c.id ORDER BY m.version DESC LIMIT 1
           ) p ON true"#,
        &columns.merchants,
        &columns.customers,
    )
    .fetch_all(&mut **transaction)
    .await?;
    rows.into_iter()
        .map(|row| {
            let payout = match (row.version, row.payout_kind, row.masked, row.payout_put_at) {
                (Some(version), Some(kind), Some(masked), Some(put_at)) => Some(CurrentPayout {
                    snapshot: PayoutSnapshot { version, kind: parsed(&kind)?, masked },
                    put_at: put_at.into(),
                }),
                _ => None,
            };
            let key = CustomerKey { merchant: parsed(&row.merchant)?, customer: parsed(&row.id)? };
            if needed.changed_customers.contains(&key) && !locked.customers.contains(&key) {
                return Err(Failure::Raced);
            }
            Ok(Customer {
                key,
                kind: parsed(&row.kind)?,
                name: row.name.as_deref().map(parsed).transpose()?,
                email: row.email.as_deref().map(parsed).transpose()?,
                locale: row.locale.as_deref().map(parsed).transpose()?,
                put_at: row.put_at.map(Timestamp::from),
                payout,
            })
        })
        .collect()
}

/// Merchants, customers and payout methods, in key order each.
pub(super) async fn write(transaction: &mut PgTransaction<'_>, books: &Books) -> Result<(), Failure> {
    let changes = books.changes();
    let merchants =
        |ids: &BTreeSet<_>| -> Vec<_> { ids.iter().filter_map(|id| books.merchant(id)).cloned().collect() };
    insert_merchants(transaction, &merchants(&changes.new_merchants)).await?;
    update_merchants(transaction, &merchants(&changes.merchants)).await?;
    let customers = |keys: &BTreeSet<_>| -> Vec<_> {
        keys.iter().filter_map(|key| books.customer(key)).cloned().collect()
    };
    insert_customers(transaction, &customers(&changes.new_customers)).await?;
    update_customers(transaction, &customers(&changes.customers)).await?;
    insert_payouts(transaction, books).await
}

struct MerchantColumns {
    ids: Vec<String>,
    names: Vec<String>,
    hold_days: Vec<i32>,
    preferences: Vec<serde_json::Value>,
    put_at: Vec<Option<time::OffsetDateTime>>,
}

impl MerchantColumns {
    fn of(merchants: &[Merchant]) -> Result<Self, Failure> {
        let preferences = merchants.iter().map(|merchant| serde_json::to_value(&merchant.preferences));
        Ok(Self {
            ids: merchants.iter().map(|merchant| merchant.id.to_string()).collect(),
            names: merchants.iter().map(|merchant| merchant.name.to_string()).collect(),
            hold_days: merchants.iter().map(|merchant| merchant.hold_days.into()).collect(),
            preferences: preferences.collect::<Result<_, _>>().map_err(|_| unexpected())?,
            put_at: merchants.iter().map(|merchant| merchant.put_at.map(Timestamp::get)).collect(),
        })
    }
}

async fn insert_merchants(
    transaction: &mut PgTransaction<'_>,
    merchants: &[Merchant],
) -> Result<(), Failure> {
    if merchants.is_empty() {
        return Ok(());
    }
    let columns = MerchantColumns::of(merchants)?;
    sqlx::query!(
        "INSERT INTO merchant (id, name, hold_days, preferences, put_at)
         SELECT * FROM unnest($1::text[], $2::text[], $3::integer[], $4::jsonb[], $5::timestamptz[])",
        &columns.ids,
        &columns.names,
        &columns.hold_days,
        &columns.preferences,
        &columns.put_at as _,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn update_merchants(
    transaction: &mut PgTransaction<'_>,
    merchants: &[Merchant],
) -> Result<(), Failure> {
    if merchants.is_empty() {
        return Ok(());
    }
    let columns = MerchantColumns::of(merchants)?;
    sqlx::query!(
        "UPDATE merchant m
         SET name = n.name, hold_days = n.hold_days, preferences = n.preferences, put_at = n.put_at,
             updated_at = clock_timestamp()
         FROM unnest($1::text[], $2::text[], $3::integer[], $4::jsonb[], $5::timestamptz[])
              AS n (id, name, hold_days, preferences, put_at)
         WHERE m.id = n.id",
        &columns.ids,
        &columns.names,
        &columns.hold_days,
        &columns.preferences,
        &columns.put_at as _,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

struct DetailColumns {
    keys: CustomerColumns,
    kinds: Vec<String>,
    names: Vec<Option<String>>,
    emails: Vec<Option<String>>,
    locales: Vec<Option<String>>,
    put_at: Vec<Option<time::OffsetDateTime>>,
}

impl DetailColumns {
    fn of(customers: &[Customer]) -> Self {
        let kind = |customer: &Customer| customer.kind.as_str().to_owned();
        let name = |customer: &Customer| customer.name.as_ref().map(|name| name.as_str().to_owned());
        let email = |customer: &Customer| customer.email.as_ref().map(|email| email.as_str().to_owned());
        Self {
            keys: CustomerColumns::of(customers.iter().map(|customer| &customer.key)),
            kinds: customers.iter().map(kind).collect(),
            names: customers.iter().map(name).collect(),
            emails: customers.iter().map(email).collect(),
            locales: customers
                .iter()
                .map(|customer| customer.locale.as_ref().map(Locale::to_string))
                .collect(),
            put_at: customers.iter().map(|customer| customer.put_at.map(Timestamp::get)).collect(),
        }
    }
}

async fn insert_customers(
    transaction: &mut PgTransaction<'_>,
    customers: &[Customer],
) -> Result<(), Failure> {
    if customers.is_empty() {
        return Ok(());
    }
    let columns = DetailColumns::of(customers);
    sqlx::query!(
        "INSERT INTO customer (merchant, id, kind, name, email, locale, put_at)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                              $7::timestamptz[])",
        &columns.keys.merchants,
        &columns.keys.customers,
        &columns.kinds,
        &columns.names as _,
        &columns.emails as _,
        &columns.locales as _,
        &columns.put_at as _,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn update_customers(
    transaction: &mut PgTransaction<'_>,
    customers: &[Customer],
) -> Result<(), Failure> {
    if customers.is_empty() {
        return Ok(());
    }
    let columns = DetailColumns::of(customers);
    sqlx::query!(
        "UPDATE customer c
         SET kind = n.kind, name = n.name, email = n.email, locale = n.locale, put_at = n.put_at
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
              AS n (merchant, id, kind, name, email, locale, put_at)
         WHERE c.merchant = n.merchant AND c.id = n.id",
        &columns.keys.merchants,
        &columns.keys.customers,
        &columns.kinds,
        &columns.names as _,
        &columns.emails as _,
        &columns.locales as _,
        &columns.put_at as _,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// A customer's row is locked by whoever adds a version, so that versions have neither gaps nor rivals.
async fn insert_payouts(transaction: &mut PgTransaction<'_>, books: &Books) -> Result<(), Failure> {
    let payouts = &books.changes().payouts;
    if payouts.is_empty() {
        return Ok(());
    }
    let keys = CustomerColumns::of(payouts.iter().map(|payout| &payout.owner));
    let snapshots = || payouts.iter().map(|payout| &payout.snapshot);
    sqlx::query!(
        "INSERT INTO payout_method (merchant, customer, version, kind, masked, key_id, sealed, put_at, command,
                                    recorded_at)
         SELECT n.*, $10
         FROM unnest($1::text[], $2::text[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::bytea[],
                     $8::timestamptz[], $9::bytea[]) AS n",
        &keys.merchants,
        &keys.customers,
        &snapshots().map(|snapshot| snapshot.version).collect::<Vec<_>>(),
        &snapshots().map(|snapshot| snapshot.kind.as_str().to_owned()).collect::<Vec<_>>(),
        &snapshots().map(|snapshot| snapshot.masked.clone()).collect::<Vec<_>>(),
        &payouts.iter().map(|payout| payout.sealed.key_id.clone()).collect::<Vec<_>>(),
        &payouts.iter().map(|payout| payout.sealed.bytes.clone()).collect::<Vec<_>>(),
        &payouts.iter().map(|payout| payout.put_at.get()).collect::<Vec<_>>(),
        &payouts.iter().map(|payout| bytes(&payout.command)).collect::<Vec<_>>(),
        books.now().get(),
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

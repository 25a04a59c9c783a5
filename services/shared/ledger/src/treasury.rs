//! Payout details in clear, and their encryption with another key: what the role `saldo_treasurer` is for.
//!
//! Whoever is shown details is written down first, in a transaction of its own: a crash, or details that do not
//! decrypt, leave a row that says more than was seen, never less.
//!
//! Rotation goes through the rows along their primary key, a bounded batch in a transaction each. A crash leaves
//! whole batches done; whoever begins again skips them. Rows that a worker has locked are left, and so is what
//! a worker that still has the old key first encrypts meanwhile: [`left_to_rotate`] counts both.

use contract::{Actor, CustomerId, KeyHash, MerchantId, PayoutMethod, WithdrawalId};
use sqlx::{Connection, PgConnection};

use crate::vault::{OpenError, Purpose, Sealed, Vault};

/// Why payout details cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TreasuryError {
    /// The database's.
    #[error("the ledger could not be asked")]
    Database(#[from] sqlx::Error),
    /// What is sealed does not open.
    #[error("the payout details of {owner}")]
    Sealed {
        /// Whose, for people.
        owner: String,
        /// Why not.
        #[source]
        error: OpenError,
    },
    /// It opens, and is nothing that Saldo writes.
    #[error("{what} holds what no version of Saldo writes")]
    Unexpected {
        /// Column, or payout method.
        what: String,
    },
}

type Result<T> = std::result::Result<T, TreasuryError>;

fn unexpected(what: impl Into<String>) -> TreasuryError {
    TreasuryError::Unexpected { what: what.into() }
}

/// The payout method that a withdrawal was requested with, in clear. Its `Debug` form does not show it.
#[derive(Debug, Clone)]
pub struct Revealed {
    /// Its version.
    pub version: i32,
    /// The details.
    pub method: PayoutMethod,
}

/// Writes down that `actor` is shown a withdrawal's payout details, and returns them; `None`, and nothing written,
/// if there is no such withdrawal.
///
/// # Errors
/// The database's, or the details do not open.
pub async fn reveal(
    connection: &mut PgConnection,
    vault: &Vault,
    withdrawal: WithdrawalId,
    actor: &Actor,
) -> Result<Option<Revealed>> {
    // One statement, committed when it has returned. `role` is the session's by the schema's default.
    let written = sqlx::query!(
        "INSERT INTO revelation (withdrawal, actor) SELECT key, $2 FROM withdrawal WHERE key = $1",
        &withdrawal.0.0[..],
        actor.as_str(),
    )
    .execute(&mut *connection)
    .await?;
    if written.rows_affected() == 0 {
        return Ok(None);
    }
    let row = sqlx::query_as!(
        MethodRow,
        "SELECT p.merchant, p.customer, p.version, p.key_id, p.sealed
         FROM withdrawal w
         JOIN account a ON a.id = w.account_id
         JOIN payout_method p ON (p.merchant, p.customer, p.version) = (a.merchant, a.customer, w.payout_version)
         WHERE w.key = $1",
        &withdrawal.0.0[..],
    )
    .fetch_one(connection)
    .await?;
    let (place, sealed) = row.split()?;
    let opened = vault
        .open(place.purpose(), &sealed)
        .map_err(|error| TreasuryError::Sealed { owner: place.to_string(), error })?;
    let method = serde_json::from_slice(&opened).map_err(|_| unexpected(place.to_string()))?;
    Ok(Some(Revealed { version: place.version, method }))
}

/// Where a version of a payout method stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodPlace {
    /// The merchant.
    pub merchant: MerchantId,
    /// The customer.
    pub customer: CustomerId,
    /// The version.
    pub version: i32,
}

impl MethodPlace {
    fn purpose(&self) -> Purpose<'_> {
        Purpose::PayoutMethod { merchant: &self.merchant, customer: &self.customer, version: self.version }
    }
}

impl std::fmt::Display for MethodPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { merchant, customer, version } = self;
        write!(f, "{merchant}'s customer {customer}, version {version}")
    }
}

/// What one batch of a rotation came to.
#[derive(Debug, Clone)]
pub struct Rotated<P> {
    /// How many rows are encrypted with the current key now.
    pub rows: usize,
    /// What did not open, and why; it stays as it is.
    pub failed: Vec<(P, OpenError)>,
    /// From where to go on; `None` at the end.
    pub next: Option<P>,
}

/// How many payout methods and parked commands are encrypted with another key than the current one.
///
/// # Errors
/// The database's.
pub async fn left_to_rotate(connection: &mut PgConnection, vault: &Vault) -> Result<i64> {
    // payout_method_key has the key ids; of parked commands there are few.
    let left = sqlx::query_scalar!(
        r#"SELECT (SELECT count(*) FROM payout_method WHERE key_id <> $1)
                  + (SELECT count(*) FROM waiting WHERE key_id <> $1) AS "left!""#,
        vault.current(),
    );
    Ok(left.fetch_one(connection).await?)
}

/// Encrypts the next payout methods with the current key, at most `limit` in one transaction, after this place.
///
/// # Errors
/// The database's; the batch is as it was then.
pub async fn rotate_methods(
    connection: &mut PgConnection,
    vault: &Vault,
    after: Option<&MethodPlace>,
    limit: i64,
) -> Result<Rotated<MethodPlace>> {
    let mut transaction = connection.begin().await?;
    let rows = sqlx::query_as!(
        MethodRow,
        "SELECT merchant, customer, version, key_id, sealed FROM payout_method
         WHERE key_id <> $1 AND ($2::text IS NULL OR (merchant, customer, version) > ($2, $3, $4))
         ORDER BY merchant, customer, version LIMIT $5 FOR UPDATE SKIP LOCKED",
        vault.current(),
        after.map(|place| place.merchant.as_str()),
        after.map(|place| place.customer.as_str()),
        after.map(|place| place.version),
        limit,
    )
    .fetch_all(&mut *transaction)
    .await?;
    let rows = rows.into_iter().map(MethodRow::split).collect::<Result<Vec<_>>>()?;
    let (resealed, rotated) = reseal(vault, rows, MethodPlace::purpose, limit);
    let texts = |text: fn(&MethodPlace) -> &str| -> Vec<String> {
        resealed.iter().map(|(place, _)| text(place).to_owned()).collect()
    };
    sqlx::query!(
        "UPDATE payout_method p SET key_id = $5, sealed = n.sealed
         FROM unnest($1::text[], $2::text[], $3::integer[], $4::bytea[]) AS n (merchant, customer, version, sealed)
         WHERE (p.merchant, p.customer, p.version) = (n.merchant, n.customer, n.version)",
        &texts(|place| place.merchant.as_str()),
        &texts(|place| place.customer.as_str()),
        &resealed.iter().map(|(place, _)| place.version).collect::<Vec<_>>(),
        &resealed.iter().map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>(),
        vault.current(),
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(rotated)
}

/// Encrypts the next parked commands' bodies with the current key, at most `limit` in one transaction, after this
/// command.
///
/// # Errors
/// The database's; the batch is as it was then.
pub async fn rotate_parked(
    connection: &mut PgConnection,
    vault: &Vault,
    after: Option<KeyHash>,
    limit: i64,
) -> Result<Rotated<KeyHash>> {
    let mut transaction = connection.begin().await?;
    let rows = sqlx::query!(
        r#"SELECT key, key_id AS "key_id!", body FROM waiting
           WHERE key_id <> $1 AND ($2::bytea IS NULL OR key > $2)
           ORDER BY key LIMIT $3 FOR UPDATE SKIP LOCKED"#,
        vault.current(),
        after.map(|key| key.0.to_vec()),
        limit,
    )
    .fetch_all(&mut *transaction)
    .await?;
    let rows = rows.into_iter().map(|row| {
        let key = row.key.as_slice().try_into().map(KeyHash).map_err(|_| unexpected("waiting.key"))?;
        Ok((key, Sealed { key_id: row.key_id, bytes: row.body }))
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let (resealed, rotated) = reseal(vault, rows, |key| Purpose::Parked { key: *key }, limit);
    sqlx::query!(
        "UPDATE waiting w SET key_id = $3, body = n.body
         FROM unnest($1::bytea[], $2::bytea[]) AS n (key, body) WHERE w.key = n.key",
        &resealed.iter().map(|(key, _)| key.0.to_vec()).collect::<Vec<_>>(),
        &resealed.iter().map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>(),
        vault.current(),
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(rotated)
}

/// Opens and seals anew. A batch that is not full was the last one.
fn reseal<P: Clone>(
    vault: &Vault,
    rows: Vec<(P, Sealed)>,
    purpose: impl Fn(&P) -> Purpose<'_>,
    limit: i64,
) -> (Vec<(P, Vec<u8>)>, Rotated<P>) {
    let full = rows.len() >= usize::try_from(limit).unwrap_or(0);
    let next = rows.last().filter(|_| full).map(|(place, _)| place.clone());
    let (mut resealed, mut failed) = (Vec::with_capacity(rows.len()), Vec::new());
    for (place, sealed) in rows {
        match vault.open(purpose(&place), &sealed) {
            Ok(text) => {
                let anew = vault.seal(purpose(&place), &text).bytes;
                resealed.push((place, anew));
            }
            Err(error) => failed.push((place, error)),
        }
    }
    let rows = resealed.len();
    (resealed, Rotated { rows, failed, next })
}

struct MethodRow {
    merchant: String,
    customer: String,
    version: i32,
    key_id: String,
    sealed: Vec<u8>,
}

impl MethodRow {
    fn split(self) -> Result<(MethodPlace, Sealed)> {
        let Self { merchant, customer, version, key_id, sealed } = self;
        let merchant = merchant.parse().map_err(|_| unexpected("payout_method.merchant"))?;
        let customer = customer.parse().map_err(|_| unexpected("payout_method.customer"))?;
        Ok((MethodPlace { merchant, customer, version }, Sealed { key_id, bytes: sealed }))
    }
}

//! Connecting to the ledger.

use std::path::Path;
use std::time::Duration;

use ledger::store::Settings as Database;
use sqlx::error::DatabaseError;
use sqlx::{ConnectOptions, PgConnection};

use crate::settings::Settings;

/// For a statement that only looks, or writes one row.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_mins(1);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("database.url is not usable")]
    Url,
    #[error("TLS with the database failed: {0}")]
    Tls(String),
    #[error("the database cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    #[error("the database refuses the connection")]
    Refused(#[source] sqlx::Error),
    #[error("the database did not answer within {} s", CONNECT_TIMEOUT.as_secs())]
    Silent,
    #[error(transparent)]
    Schema(#[from] ledger::schema::SchemaMismatch),
}

/// Whether the database refuses because the role may not (`insufficient_privilege`).
pub(crate) fn may_not(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "42501")
}

/// A connection to a ledger whose schema is not looked at.
pub(crate) async fn connect_unchecked(database: Option<Database>) -> Result<PgConnection, LedgerError> {
    let database = database.ok_or(LedgerError::Url)?;
    match tokio::time::timeout(CONNECT_TIMEOUT, database.options().connect()).await {
        Ok(connected) => connected.map_err(|error| match ledger::tls::trouble(&error) {
            Some(trouble) => LedgerError::Tls(trouble),
            None if error.as_database_error().is_some() => LedgerError::Refused(error),
            None => LedgerError::Unreachable(error),
        }),
        Err(_) => Err(LedgerError::Silent),
    }
}

/// A connection to a ledger with this program's schema.
pub(crate) async fn connect(database: Option<Database>) -> Result<PgConnection, LedgerError> {
    let mut connection = connect_unchecked(database).await?;
    ledger::schema::check(&mut connection).await?;
    Ok(connection)
}

/// The same for a command that needs no other setting.
pub(crate) async fn open(
    config: Option<&Path>,
) -> Result<PgConnection, Box<dyn std::error::Error + Send + Sync>> {
    open_with(config, STATEMENT_TIMEOUT).await
}

/// The same for a command that reads a whole ledger, however long that takes. A host that vanishes meanwhile is
/// still noticed: the connection is kept alive.
pub(crate) async fn open_for_long(
    config: Option<&Path>,
) -> Result<PgConnection, Box<dyn std::error::Error + Send + Sync>> {
    // To Postgres, zero is no limit.
    open_with(config, Duration::ZERO).await
}

async fn open_with(
    config: Option<&Path>,
    timeout: Duration,
) -> Result<PgConnection, Box<dyn std::error::Error + Send + Sync>> {
    let mut settings = Settings::read(config);
    let database = settings.database(timeout);
    settings.finish()?;
    Ok(connect(database).await?)
}

//! The database's schema: the migrations, and the check that they have run.

use std::borrow::Cow;

use sqlx::migrate::Migrator;
use sqlx::{Connection, Executor, PgConnection};

/// The migrations of `schemas/database`, embedded.
pub static MIGRATIONS: Migrator = sqlx::migrate!("../../../schemas/database");

const ROLES: &str = include_str!("../../../../schemas/database/roles.sql");

/// The version that this program is written for.
pub fn version() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Creates roles and schema where they are missing and runs the migrations that have not run. Needs a login
/// that may create roles, or one that is a member of `saldo_owner` in a database where the roles exist.
/// Several may run at once: they wait for each other.
///
/// # Errors
/// The database's own; what had been done by then is whole migrations.
pub async fn migrate(connection: &mut PgConnection) -> Result<(), sqlx::migrate::MigrateError> {
    connection.execute(sqlx::raw_sql(ROLES)).await?;
    connection.execute("SET ROLE saldo_owner").await?;
    connection.execute("SET search_path = saldo").await?;
    MIGRATIONS.run(&mut *connection).await?;
    connection.execute("RESET ROLE").await?;
    Ok(())
}

/// Why a worker cannot work with this database.
#[derive(Debug, thiserror::Error)]
pub enum SchemaMismatch {
    /// There is no schema, or this role may not see it.
    #[error("the database has no Saldo schema that this role may see; run `saldo migrate`")]
    Missing,
    /// Another version.
    #[error("the database's schema has version {found}, this program needs {needed}; {}", hint(*found, *needed))]
    Version {
        /// What the database has.
        found: i64,
        /// [`version`]
        needed: i64,
    },
    /// The question could not be asked.
    #[error("the schema's version could not be read")]
    Unreadable(#[source] sqlx::Error),
}

fn hint(found: i64, needed: i64) -> Cow<'static, str> {
    if found < needed { "run `saldo migrate`".into() } else { "start a newer program".into() }
}

/// Checks that the database has exactly the schema this program is written for.
///
/// # Errors
/// It has not, or cannot be asked.
pub async fn check(connection: &mut PgConnection) -> Result<(), SchemaMismatch> {
    connection.ping().await.map_err(SchemaMismatch::Unreadable)?;
    let found = sqlx::query_scalar!("SELECT max(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(connection)
        .await;
    match found {
        Ok(Some(found)) if found == version() => Ok(()),
        Ok(found) => Err(SchemaMismatch::Version { found: found.unwrap_or(0), needed: version() }),
        Err(sqlx::Error::Database(error))
            if error.code().is_some_and(|code| code == "42P01" || code == "42501") =>
        {
            Err(SchemaMismatch::Missing)
        }
        Err(error) => Err(SchemaMismatch::Unreadable(error)),
    }
}

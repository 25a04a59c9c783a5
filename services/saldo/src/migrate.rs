//! `saldo migrate`

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::MigrateError;

use crate::output::Output;
use crate::settings::Settings;
use crate::{Done, Status, ledger_access};

/// A migration may rewrite a large table.
const TIMEOUT: Duration = Duration::from_hours(6);

/// Why it was not migrated, where that is the login's fault.
#[derive(Debug, thiserror::Error)]
#[error(
    "the login of database.url may not migrate; expected a superuser, a member of saldo_owner, or, for the first time, one that \
     may create roles and schemas (CREATEROLE, and GRANT CREATE ON DATABASE)"
)]
struct MayNot(#[source] MigrateError);

pub(crate) async fn run(config: Option<&Path>, output: &mut Output) -> Done {
    let mut settings = Settings::read(config);
    let database = settings.database(TIMEOUT);
    settings.finish()?;
    let mut connection = ledger_access::connect_unchecked(database).await?;
    if let Err(error) = ledger::schema::migrate(&mut connection).await {
        return Err(if may_not(&error) { MayNot(error).into() } else { error.into() });
    }
    output.line(format_args!("the database has schema version {}", ledger::schema::version()))?;
    Ok(Status::Good)
}

fn may_not(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return false;
    };
    ledger_access::may_not(error)
}

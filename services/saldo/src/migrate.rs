//! `saldo migrate`

use std::path::Path;
use std::time::Duration;

use crate::output::Output;
use crate::settings::Settings;
use crate::{Done, Status, ledger_access};

/// A migration may rewrite a large table.
const TIMEOUT: Duration = Duration::from_hours(6);

pub(crate) async fn run(config: Option<&Path>, output: &mut Output) -> Done {
    let mut settings = Settings::read(config);
    let database = settings.database(TIMEOUT);
    settings.finish()?;
    let mut connection = ledger_access::connect_unchecked(database).await?;
    ledger::schema::migrate(&mut connection).await?;
    output.line(format_args!("the database has schema version {}", ledger::schema::version()))?;
    Ok(Status::Good)
}

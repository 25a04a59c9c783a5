//! `saldo keys`

use std::path::Path;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use contract::directory::WORKER;
use ledger::treasury::{self, MethodPlace, Rotated, TreasuryError};
use ledger::vault::{Purpose, Sealed, Vault};
use serde::Serialize;
use sqlx::PgConnection;

use crate::output::Output;
use crate::settings::Settings;
use crate::{Done, Status, ledger_access, lines};

/// Rows in a transaction: short enough to be in no worker's way.
const BATCH: i64 = 500;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print a new key, as the setting `payout.keys` takes it
    ///
    /// Goes to the front of `payout.keys` (`SALDO__PAYOUT__KEYS`), with a comma before what stands there; see
    /// `rotate`.
    #[command(after_help = "Example:\n  saldo keys generate >new-key && chmod 600 new-key")]
    Generate,
    /// Encrypt payout details with the current key, the first of `payout.keys`
    ///
    /// To change the key: put a new one (`saldo keys generate`) before the old one in `payout.keys` of the directory
    /// worker and of this command, restart the worker, run this, and take the old key out. Dead letters keep the key
    /// that they were encrypted with: replay or discard them first. Can be interrupted and run again at any time.
    ///
    /// Needs the settings `treasury.database_url` (a login of the role `saldo_treasurer`) and `payout.keys`. Exit
    /// status 1 if anything is left that is encrypted with another key.
    #[command(after_help = "Example:\n  SALDO__PAYOUT__KEYS=$new,$old saldo keys rotate")]
    Rotate {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Decrypt a dead letter of the directory worker
    ///
    /// Prints the command as it was published, which can be corrected and published again. The letter's header
    /// `saldo-key-id` names the key; RabbitMQ's management pages and API show such a body in base64. Needs the setting
    /// `payout.keys`.
    #[command(after_help = "Example:\n  saldo keys open letter.b64 --base64 --key-id 2026 | saldo publish -")]
    Open {
        /// The letter's body; - reads standard input
        file: String,
        /// What its header `saldo-key-id` says
        #[arg(long, value_name = "ID")]
        key_id: String,
        /// The body is written in base64
        #[arg(long)]
        base64: bool,
    },
}

pub(crate) async fn run(command: Command, config: Option<&Path>, output: &mut Output) -> Done {
    match command {
        Command::Generate => {
            // A key's id tells when it was made.
            let id = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace(['-', ':'], "");
            output.line(format_args!("{id}:{}", Vault::generate_key()))?;
            Ok(Status::Good)
        }
        Command::Rotate { json } => rotate(json, config, output).await,
        Command::Open { file, key_id, base64 } => open(&file, key_id, base64, config, output),
    }
}

fn open(file: &str, key_id: String, base64: bool, config: Option<&Path>, output: &mut Output) -> Done {
    let mut settings = Settings::read(config);
    let vault = settings.vault();
    settings.finish()?;
    let vault = vault.ok_or("payout.keys are not usable")?;
    let body = lines::contents(file)?;
    let bytes =
        if base64 { STANDARD.decode(body.trim_ascii()).map_err(|_| "the body is not base64")? } else { body };
    let opened = vault.open(Purpose::DeadLetter { worker: WORKER }, &Sealed { key_id, bytes })?;
    output.bytes(&opened)?;
    output.line("")?;
    Ok(Status::Good)
}

/// What a rotation came to.
#[derive(Debug, Default, Serialize)]
struct Report {
    key: String,
    rotated: usize,
    failed: usize,
    left: i64,
}

async fn rotate(json: bool, config: Option<&Path>, output: &mut Output) -> Done {
    let mut settings = Settings::read(config);
    let database = settings.treasury(ledger_access::STATEMENT_TIMEOUT);
    let vault = settings.vault();
    settings.finish()?;
    let vault = vault.ok_or("payout.keys are not usable")?;
    let mut connection = ledger_access::connect(database).await?;
    let mut report = Report { key: vault.current().to_owned(), ..Report::default() };
    let all = treasury::left_to_rotate(&mut connection, &vault).await?;
    let bar = Output::progress(u64::try_from(all).unwrap_or(0));
    let done = all_of_it(&mut connection, &vault, &mut report, &bar, output).await;
    bar.finish_and_clear();
    done?;
    report.left = treasury::left_to_rotate(&mut connection, &vault).await?;
    if json {
        output.json(&report)?;
    } else {
        output.line(format_args!("{} encrypted with the key {}", report.rotated, report.key))?;
    }
    if report.left == 0 {
        return Ok(Status::Good);
    }
    output.message(format_args!("{} are still encrypted with another key: run this again", report.left));
    Ok(Status::Bad)
}

async fn all_of_it(
    connection: &mut PgConnection,
    vault: &Vault,
    report: &mut Report,
    bar: &indicatif::ProgressBar,
    output: &mut Output,
) -> Result<(), TreasuryError> {
    let mut after: Option<MethodPlace> = None;
    loop {
        let batch = treasury::rotate_methods(connection, vault, after.as_ref(), BATCH).await?;
        after = count(batch, "payout method of", report, bar, output);
        if after.is_none() {
            break;
        }
    }
    let mut after = None;
    loop {
        let batch = treasury::rotate_parked(connection, vault, after, BATCH).await?;
        after = count(batch, "parked command", report, bar, output);
        if after.is_none() {
            break;
        }
    }
    Ok(())
}

fn count<P: std::fmt::Display>(
    batch: Rotated<P>,
    what: &str,
    report: &mut Report,
    bar: &indicatif::ProgressBar,
    output: &mut Output,
) -> Option<P> {
    report.rotated += batch.rows;
    report.failed += batch.failed.len();
    bar.inc(u64::try_from(batch.rows + batch.failed.len()).unwrap_or(0));
    for (place, error) in batch.failed {
        bar.suspend(|| output.message(format_args!("{what} {place}: {error}")));
    }
    batch.next
}

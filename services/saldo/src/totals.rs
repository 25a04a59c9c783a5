//! `saldo totals`

use std::path::Path;

use contract::MerchantId;
use ledger::read;

use crate::output::Output;
use crate::{Done, Status, ledger_access, report};

/// Show what a shop's customers have together
///
/// One row for each currency. Owed is the sum of the balances above zero, overdrawn that of those below; held is
/// reserved by open withdrawals; pending are commissions in their hold period, which are part of no balance.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  saldo totals demo --json")]
pub(crate) struct Arguments {
    /// The shop
    merchant: MerchantId,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let Arguments { merchant, json } = arguments;
    let mut connection = ledger_access::open(config).await?;
    let totals = read::totals(&mut connection, &merchant).await?;
    if totals.is_empty() {
        output.message(format_args!("{merchant} has no accounts"));
    } else if json {
        totals.iter().try_for_each(|totals| output.json(totals))?;
    } else {
        let rows = totals.iter().map(|totals| {
            let figures = [totals.owed, totals.overdrawn, totals.balance, totals.held, totals.pending];
            let [owed, overdrawn, balance, held, pending] = figures.map(|figure| figure.to_string());
            [
                totals.currency.to_string(),
                totals.accounts.to_string(),
                owed,
                overdrawn,
                balance,
                held,
                pending,
            ]
        });
        let header = ["currency", "accounts", "owed", "overdrawn", "balance", "held", "pending"];
        report::table(header, &[1, 2, 3, 4, 5, 6], rows, output)?;
    }
    Ok(Status::Good)
}

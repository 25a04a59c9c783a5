//! `saldo balance`

use std::io;
use std::path::Path;

use contract::{CustomerId, MerchantId};
use ledger::read::{self, Balance};

use crate::output::Output;
use crate::{Done, Status, ledger_access, report};

const PAGE: i64 = 1000;

/// Show the balances of a shop's customers
///
/// One row for each customer and currency. Available is the balance without what open withdrawals hold; pending
/// are commissions in their hold period, which are not part of the balance.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  saldo balance demo\n  saldo balance demo c-17 --json")]
pub(crate) struct Arguments {
    /// The shop
    merchant: MerchantId,
    /// Only this customer
    customer: Option<CustomerId>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let Arguments { merchant, customer, json } = arguments;
    let mut connection = ledger_access::open(config).await?;
    if let Some(customer) = customer {
        let balances = read::balances_of(&mut connection, &merchant, &customer).await?;
        if balances.is_empty() {
            output.message(format_args!("{merchant} has no account of {customer}"));
        }
        print(&balances, json, output)?;
        return Ok(Status::Good);
    }
    let mut page = read::balances(&mut connection, &merchant, None, PAGE).await?;
    if page.is_empty() {
        output.message(format_args!("{merchant} has no accounts"));
    }
    while let Some(last) = page.last() {
        print(&page, json, output)?;
        let last = (&last.customer, last.account.currency);
        page = read::balances(&mut connection, &merchant, Some(last), PAGE).await?;
    }
    Ok(Status::Good)
}

fn print(balances: &[Balance], json: bool, output: &mut Output) -> io::Result<()> {
    if json {
        return balances.iter().try_for_each(|balance| output.json(balance));
    }
    if balances.is_empty() {
        return Ok(());
    }
    let rows = balances.iter().map(|Balance { customer, account }| {
        let figures = [account.balance, account.held, account.available, account.pending];
        let [balance, held, available, pending] = figures.map(|figure| figure.to_string());
        [customer.to_string(), account.currency.to_string(), balance, held, available, pending]
    });
    let header = ["customer", "currency", "balance", "held", "available", "pending"];
    report::table(header, &[2, 3, 4, 5], rows, output)
}

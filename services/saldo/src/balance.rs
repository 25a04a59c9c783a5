//! `saldo balance`

use std::io;
use std::path::Path;

use contract::{Currency, CustomerId, MerchantId, Timestamp};
use ledger::read::{self, Balance, BalanceAt, Standing};
use serde::Serialize;
use sqlx::PgConnection;

use crate::output::Output;
use crate::{Done, Status, ledger_access, moment, report};

const PAGE: i64 = 1000;

/// Show the balances of a shop's customers, now or as they were
///
/// One row for each customer and currency. Available is the balance without what open withdrawals hold; pending
/// are commissions in their hold period, which are not part of the balance. Of one customer also the shop's message
/// about the minimum for withdrawals, where there is one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo balance demo
  saldo balance demo c-17 --json
  saldo balance demo --at 2027-01-01")]
pub(crate) struct Arguments {
    /// The shop
    merchant: MerchantId,
    /// Only this customer
    customer: Option<CustomerId>,
    /// As of the entries recorded before this: a day (its beginning, UTC) or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Option<Timestamp>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let Arguments { merchant, customer, at, json } = arguments;
    let mut connection = ledger_access::open(config).await?;
    let any = match (at, &customer) {
        (Some(at), customer) => then(&mut connection, &merchant, customer.as_ref(), at, json, output).await?,
        (None, Some(customer)) => of_one(&mut connection, &merchant, customer, json, output).await?,
        (None, None) => of_all(&mut connection, &merchant, json, output).await?,
    };
    match (any, customer, at) {
        (true, ..) => {}
        (false, Some(customer), None) => {
            output.message(format_args!("{merchant} has no account of {customer}"));
        }
        (false, None, None) => output.message(format_args!("{merchant} has no accounts")),
        (false, _, Some(at)) => output.message(format_args!("nothing had been recorded before {at}")),
    }
    Ok(Status::Good)
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

async fn of_all(
    connection: &mut PgConnection,
    merchant: &MerchantId,
    json: bool,
    output: &mut Output,
) -> Result<bool> {
    let mut after: Option<(CustomerId, Currency)> = None;
    loop {
        let last = after.as_ref().map(|(customer, currency)| (customer, *currency));
        let page = read::balances(connection, merchant, last, PAGE).await?;
        let Some(last) = page.last() else { return Ok(after.is_some()) };
        let last = (last.customer.clone(), last.account.currency);
        if json {
            page.iter().try_for_each(|balance| output.json(balance))?;
        } else {
            table(&page, output)?;
        }
        after = Some(last);
    }
}

/// A balance, and how its customer stands to a withdrawal.
#[derive(Serialize)]
struct WithStanding<'a> {
    #[serde(flatten)]
    balance: &'a Balance,
    standing: Option<&'a Standing>,
}

async fn of_one(
    connection: &mut PgConnection,
    merchant: &MerchantId,
    customer: &CustomerId,
    json: bool,
    output: &mut Output,
) -> Result<bool> {
    let balances = read::balances_of(connection, merchant, customer).await?;
    let standings = read::standing(connection, merchant, customer).await?.unwrap_or_default();
    if json {
        for balance in &balances {
            let standing = standings.iter().find(|standing| standing.currency == balance.account.currency);
            output.json(&WithStanding { balance, standing })?;
        }
    } else if !balances.is_empty() {
        table(&balances, output)?;
        // What has to be reached in a currency that the customer has nothing in is of no use here.
        for Balance { account, .. } in &balances {
            let standing = standings.iter().find(|standing| standing.currency == account.currency);
            if let Some(message) = standing.and_then(|standing| standing.message.as_ref()) {
                output.line(format_args!("{}: {}", account.currency, report::visible(message)))?;
            }
        }
    }
    Ok(!balances.is_empty())
}

fn table(balances: &[Balance], output: &mut Output) -> io::Result<()> {
    let rows = balances.iter().map(|Balance { customer, account }| {
        let figures = [account.balance, account.held, account.available, account.pending];
        let [balance, held, available, pending] = figures.map(|figure| figure.to_string());
        [customer.to_string(), account.currency.to_string(), balance, held, available, pending]
    });
    let header = ["customer", "currency", "balance", "held", "available", "pending"];
    report::table(header, &[2, 3, 4, 5], rows, output)
}

async fn then(
    connection: &mut PgConnection,
    merchant: &MerchantId,
    customer: Option<&CustomerId>,
    at: Timestamp,
    json: bool,
    output: &mut Output,
) -> Result<bool> {
    let mut after: Option<(CustomerId, Currency)> = None;
    loop {
        let last = after.as_ref().map(|(customer, currency)| (customer, *currency));
        let page = read::balances_at(connection, merchant, customer, at, last, PAGE).await?;
        let Some(last) = page.last() else { return Ok(after.is_some()) };
        let last = (last.customer.clone(), last.currency);
        if json {
            page.iter().try_for_each(|balance| output.json(balance))?;
        } else {
            let rows = page.iter().map(|BalanceAt { customer, currency, balance, entries, .. }| {
                [customer.to_string(), currency.to_string(), balance.to_string(), entries.to_string()]
            });
            report::table(["customer", "currency", "balance", "entries"], &[2, 3], rows, output)?;
        }
        after = Some(last);
    }
}

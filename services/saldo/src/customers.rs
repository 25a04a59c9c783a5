//! `saldo customers`

use std::io;
use std::num::NonZeroU32;
use std::path::Path;

use clap::ValueEnum;
use contract::{Currency, MerchantId, PersonName};
use ledger::read::{self, Customer, CustomerSort, CustomersWanted};

use crate::output::Output;
use crate::{Done, Status, ledger_access, number, report};

const PAGE: u32 = 500;

/// Show a shop's customers and what they have
///
/// One row for each customer and currency; with --json, one object for each customer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo customers demo --search rossi
  saldo customers demo --sort balance --currency EUR --limit 10
  saldo customers demo --json | jq 'select(.kind == \"affiliate\")'")]
pub(crate) struct Arguments {
    /// The shop
    merchant: MerchantId,
    /// Only those with this in their id or name
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// By what they are ordered: balance has the largest first, last the newest operation
    #[arg(long, value_enum, default_value_t = Sort::Id)]
    sort: Sort,
    /// Only those with an account in this currency, and only that account
    #[arg(long, value_name = "CUR", required_if_eq("sort", "balance"))]
    currency: Option<Currency>,
    /// Only the first N
    #[arg(long, value_name = "N", value_parser = number::count)]
    limit: Option<NonZeroU32>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sort {
    Id,
    Name,
    Balance,
    Last,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let Arguments { merchant, search, sort, currency, limit, json } = arguments;
    let sort = match (sort, currency) {
        (Sort::Id, _) => CustomerSort::Id,
        (Sort::Name, _) => CustomerSort::Name,
        (Sort::Balance, Some(currency)) => CustomerSort::Balance(currency),
        (Sort::Balance, None) => return Err("--sort balance needs --currency".into()),
        (Sort::Last, _) => CustomerSort::LastOperation,
    };
    let wanted = CustomersWanted { search, currency, sort };
    let mut connection = ledger_access::open(config).await?;
    let (mut left, mut from, mut any) = (number::or_all(limit), None, false);
    while left > 0 {
        let size = left.min(PAGE);
        let page =
            read::customers(&mut connection, &merchant, &wanted, from.as_ref(), i64::from(size)).await?;
        any |= !page.customers.is_empty();
        print(&page.customers, json, output)?;
        left -= size;
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    if !any {
        output.message(format_args!("{merchant} has no such customers"));
    }
    Ok(Status::Good)
}

fn print(customers: &[Customer], json: bool, output: &mut Output) -> io::Result<()> {
    if json {
        return customers.iter().try_for_each(|customer| output.json(customer));
    }
    if customers.is_empty() {
        return Ok(());
    }
    let rows = customers.iter().flat_map(|customer| {
        // Somebody without an account is a customer too.
        let accounts = customer.accounts.iter().map(Some).chain(customer.accounts.is_empty().then_some(None));
        accounts.map(|account| {
            let [currency, balance, held, available, pending] =
                account.map_or_else(Default::default, |account| {
                    let figures = [account.balance, account.held, account.available, account.pending];
                    let [balance, held, available, pending] = figures.map(|figure| figure.to_string());
                    [account.currency.to_string(), balance, held, available, pending]
                });
            [
                customer.customer.to_string(),
                report::optional(customer.name.as_ref().map(PersonName::as_str)),
                customer.kind.to_string(),
                currency,
                balance,
                held,
                available,
                pending,
                report::optional(customer.last_operation.as_ref()),
            ]
        })
    });
    let header =
        ["customer", "name", "kind", "currency", "balance", "held", "available", "pending", "last operation"];
    report::table(header, &[4, 5, 6, 7], rows, output)
}

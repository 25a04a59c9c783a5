//! `saldo operations`

use std::io;
use std::path::Path;

use contract::{CustomerId, MerchantId};
use ledger::read::{self, Operation, OperationsFrom};

use crate::output::Output;
use crate::{Done, Status, ledger_access, report};

const PAGE: u32 = 500;

/// Show a customer's operations, newest first
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  saldo operations demo c-17 --limit 20\n  saldo operations demo c-17 --json"
)]
pub(crate) struct Arguments {
    /// The shop
    merchant: MerchantId,
    /// Its customer
    customer: CustomerId,
    /// Only the newest N
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let Arguments { merchant, customer, limit, json } = arguments;
    let mut connection = ledger_access::open(config).await?;
    let mut left = limit.unwrap_or(u32::MAX);
    let mut next = Some(OperationsFrom::default());
    let mut any = false;
    while let Some(from) = next.take().filter(|_| left > 0) {
        let size = i64::from(left.min(PAGE));
        let page = read::operations(&mut connection, &merchant, &customer, &from, size).await?;
        any |= !page.operations.is_empty();
        left -= u32::try_from(page.operations.len()).unwrap_or(left).min(left);
        print(&page.operations, json, output)?;
        next = page.next;
    }
    if !any {
        output.message(format_args!("{merchant} has no operations of {customer}"));
    }
    Ok(Status::Good)
}

fn print(operations: &[Operation], json: bool, output: &mut Output) -> io::Result<()> {
    if json {
        return operations.iter().try_for_each(|operation| output.json(operation));
    }
    if operations.is_empty() {
        return Ok(());
    }
    let rows = operations.iter().map(|operation| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        [
            operation.recorded_at.to_string(),
            operation.id.to_string(),
            operation.kind.clone(),
            operation.amount.to_string(),
            operation.currency.to_string(),
            operation.balance_after.to_string(),
            text(&operation.order),
            text(&operation.note),
        ]
    });
    let header = ["recorded", "entry", "kind", "amount", "currency", "balance after", "order", "note"];
    report::table(header, &[3, 5], rows, output)
}

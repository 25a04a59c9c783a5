//! `saldo operations`

use std::io;
use std::num::NonZeroU32;
use std::path::Path;

use contract::{CustomerId, MerchantId, Timestamp};
use ledger::EntryKind;
use ledger::read::{self, Operation, OperationsFrom, Period};

use crate::output::Output;
use crate::{Done, Status, ledger_access, moment, number, report, sheet};

const PAGE: u32 = 500;

/// Show a customer's operations, newest first
///
/// A day begins at midnight in UTC: --since 2026-11-01 --until 2026-12-01 is November.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo operations demo c-17 --limit 20
  saldo operations demo c-17 --since 2026-11-01 --until 2026-12-01 --csv
  saldo operations demo c-17 --kind adjustment --kind adjustment-reversal --json")]
pub(crate) struct Arguments {
    /// The shop
    merchant: MerchantId,
    /// Its customer
    customer: CustomerId,
    /// Not those recorded before this: a day, or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    since: Option<Timestamp>,
    /// Only those recorded before this
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<Timestamp>,
    /// Only this kind (may be repeated): commission, commission-reversal, adjustment, adjustment-reversal, withdrawal
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    kind: Vec<EntryKind>,
    /// Only the newest N
    #[arg(long, value_name = "N", value_parser = number::count)]
    limit: Option<NonZeroU32>,
    /// Print CSV with a header
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let Arguments { merchant, customer, since, until, kind, limit, csv, json } = arguments;
    let mut connection = ledger_access::open(config).await?;
    let period = Period { since, until, kinds: kind };
    let mut left = number::or_all(limit);
    let mut next = Some(OperationsFrom::default());
    let mut any = false;
    if csv {
        sheet::rows([CSV_HEADER.map(str::to_owned)], output)?;
    }
    while let Some(from) = next.take().filter(|_| left > 0) {
        let size = i64::from(left.min(PAGE));
        let page = read::operations(&mut connection, &merchant, &customer, &period, &from, size).await?;
        any |= !page.operations.is_empty();
        left -= u32::try_from(page.operations.len()).unwrap_or(left).min(left);
        if csv {
            sheet::rows(page.operations.iter().map(record), output)?;
        } else if json {
            page.operations.iter().try_for_each(|operation| output.json(operation))?;
        } else if !page.operations.is_empty() {
            table(&page.operations, output)?;
        }
        next = page.next;
    }
    if !any {
        output.message(format_args!("{merchant} has no such operations of {customer}"));
    }
    Ok(Status::Good)
}

fn table(operations: &[Operation], output: &mut Output) -> io::Result<()> {
    let rows = operations.iter().map(|operation| {
        [
            operation.recorded_at.to_string(),
            operation.id.to_string(),
            operation.kind.clone(),
            operation.amount.to_string(),
            operation.currency.to_string(),
            operation.balance_after.to_string(),
            report::optional(operation.order.as_ref()),
            report::optional(operation.note.as_ref()),
        ]
    });
    let header = ["recorded", "entry", "kind", "amount", "currency", "balance after", "order", "note"];
    report::table(header, &[3, 5], rows, output)
}

const CSV_HEADER: [&str; 17] = [
    "recorded_at",
    "occurred_at",
    "entry",
    "kind",
    "amount",
    "currency",
    "balance_after",
    "order",
    "level",
    "note",
    "actor",
    "user",
    "reference",
    "reverses",
    "reversed_by",
    "source",
    "command",
];

fn record(operation: &Operation) -> [String; 17] {
    let text = |text: Option<&str>| sheet::text(text.unwrap_or_default()).into_owned();
    let command = operation.command.as_ref();
    [
        operation.recorded_at.to_string(),
        operation.occurred_at.to_string(),
        operation.id.to_string(),
        operation.kind.clone(),
        operation.amount.to_string(),
        operation.currency.to_string(),
        operation.balance_after.to_string(),
        text(operation.order.as_deref()),
        report::optional(operation.level.as_ref()),
        text(operation.note.as_deref()),
        text(operation.actor.as_deref()),
        text(operation.user.as_deref()),
        text(operation.reference.as_deref()),
        report::optional(operation.reverses.as_ref()),
        report::optional(operation.reversed_by.as_ref()),
        text(command.map(|command| command.source.as_str())),
        text(command.map(|command| command.id.as_str())),
    ]
}

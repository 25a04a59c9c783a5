//! `saldo dead list`

use std::io;
use std::num::NonZeroU32;
use std::path::Path;

use contract::Timestamp;
use serde::Serialize;
use worker::dead::Letter;

use super::find::{self, Filter, Look, SHORT, Subject};
use crate::output::Output;
use crate::settings::Settings;
use crate::{Done, number, report};

/// List dead letters, queue by queue, the longest dead first
///
/// They stay where they are, in their order; while they are looked at, nobody else is given them. Letters that no client can
/// receive are listed from the management API, if `broker.management_url` is set. Exit status 1 if a queue could not be
/// read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo dead list
  saldo dead list --worker commissions --reason idempotency-conflict --newer-than 1d
  saldo dead list --json | jq -r 'select(.type == \"withdrawal.pay\") | .letter'")]
pub(crate) struct Arguments {
    #[command(flatten)]
    filter: Filter,
    /// Only the first N
    #[arg(long, value_name = "N", value_parser = number::count)]
    limit: Option<NonZeroU32>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// A letter without its body. The order of the fields is the order of the JSON.
#[derive(Serialize)]
pub(super) struct Row<'l> {
    letter: String,
    queue: &'l str,
    worker: Option<&'static str>,
    /// Who put it there: `worker`, `broker` or `publisher`.
    made_by: &'static str,
    dead_at: Option<Timestamp>,
    reason: Option<&'l str>,
    detail: Option<&'l str>,
    #[serde(rename = "type")]
    name: Option<String>,
    merchant: Option<String>,
    source: Option<String>,
    command_id: Option<String>,
    /// With which it was delivered; `None` if that is not known for sure.
    routing_key: Option<&'l str>,
    /// As whom it was published.
    user_id: Option<&'l str>,
    message_id: Option<&'l str>,
    content_type: Option<&'l str>,
    bytes: u64,
    redelivered: bool,
    key_id: Option<&'l str>,
    withheld: bool,
    /// Whether a client can receive it.
    readable_over_amqp: bool,
}

impl<'l> Row<'l> {
    pub(super) fn of(letter: &'l Letter) -> Self {
        let Subject { name, merchant, source, id } = Subject::of(letter);
        Self {
            letter: letter.id.to_string(),
            queue: &letter.queue,
            worker: letter.worker(),
            made_by: letter.origin.as_str(),
            dead_at: letter.dead_at,
            reason: letter.dead.reason.as_deref(),
            detail: letter.dead.detail.as_deref(),
            name,
            merchant,
            source,
            command_id: id,
            routing_key: letter.routing_key.as_deref(),
            user_id: letter.user.as_deref(),
            message_id: letter.dead.message_id.as_deref(),
            content_type: letter.content_type.as_deref(),
            bytes: letter.bytes,
            redelivered: letter.redelivered,
            key_id: letter.dead.key_id.as_deref(),
            withheld: letter.withheld,
            readable_over_amqp: letter.readable,
        }
    }

    /// What a person should know besides the reason.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks: Vec<String> = self.detail.map(str::to_owned).into_iter().collect();
        if !self.readable_over_amqp {
            remarks.push("unreadable over AMQP".to_owned());
        }
        if self.withheld {
            remarks.push("body withheld".to_owned());
        }
        if let Some(key_id) = self.key_id {
            remarks.push(format!("encrypted with the key {key_id}"));
        }
        remarks
    }
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let Arguments { filter, limit, json } = arguments;
    let mut settings = Settings::read(config);
    let access = find::access(&mut settings);
    settings.finish()?;
    let look = Look::at(&access, &filter, output).await;
    let limit = limit.map_or(usize::MAX, |limit| limit.get() as usize);
    let letters = look.chosen.iter().take(limit).map(|place| look.letter(*place));
    let rows: Vec<Row<'_>> = letters.map(Row::of).collect();
    let shown = show(&rows, json, output);
    if rows.is_empty() {
        output.message(filter.nothing_fits());
    }
    let status = look.close(output).await;
    shown?;
    Ok(status)
}

fn show(rows: &[Row<'_>], json: bool, output: &mut Output) -> io::Result<()> {
    if json {
        return rows.iter().try_for_each(|row| output.json(row));
    }
    if rows.is_empty() {
        return Ok(());
    }
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let cells = rows.iter().map(|row| {
        [
            row.letter[..SHORT].to_owned(),
            row.queue.to_owned(),
            report::optional(row.dead_at),
            text(row.reason),
            text(row.name.as_deref()),
            text(row.merchant.as_deref()),
            text(row.source.as_deref()),
            text(row.command_id.as_deref()),
            row.bytes.to_string(),
            row.remarks().join("; "),
        ]
    });
    let header = [
        "letter",
        "queue",
        "dead since",
        "reason",
        "type",
        "shop",
        "source",
        "id",
        "bytes",
        "what the matter is",
    ];
    report::table(header, &[8], cells, output)
}

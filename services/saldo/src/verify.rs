//! `saldo verify`

mod anchor;
mod new_file;
mod textfile;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use contract::MerchantId;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use ledger::read::{self, Extent, Fault, Head, Observer, Verification};
use serde::Serialize;

use self::anchor::{AnchorFile, NewAnchor};
use self::new_file::NewFile;
use crate::output::Output;
use crate::{Done, Status, ledger_access, report};

/// Check that the ledger holds
///
/// Reads everything as of one moment and disturbs nobody: every account's entries (numbers, running balances, the
/// chain of hashes) and its balance, count and hash; held = open withdrawals; pending = commissions in their hold
/// period; reversals, payments and transitions; that entries and commands name each other; the trial balance. Says
/// exactly what does not hold; exit status 1 then.
///
/// An anchor is a file of every account's newest entry. Who can change everything in the database can also remove
/// the newest entries and everything that refers to them, and nothing is left there to tell: an anchor that was
/// kept elsewhere still does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo verify
  saldo verify demo --json | jq '.faults[].message'
  saldo verify --write-anchor 2026-11-22.anchor    # keep it where the database's owner cannot write
  saldo verify --anchor 2026-11-22.anchor
  saldo verify --metrics /var/lib/prometheus/node-exporter/saldo.prom")]
pub(crate) struct Arguments {
    /// Only this shop
    merchant: Option<MerchantId>,
    /// Compare with this anchor
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// Write an anchor, provided that everything holds
    #[arg(long, value_name = "FILE")]
    write_anchor: Option<PathBuf>,
    /// Write what was found as metrics, for the textfile collector of Prometheus' node exporter; not of one shop
    #[arg(long, value_name = "FILE", conflicts_with = "merchant")]
    metrics: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let Arguments { merchant, anchor, write_anchor, metrics, json } = arguments;
    let began = Instant::now();
    let mut anchor = anchor.map(AnchorFile::open).transpose()?;
    let new = write_anchor.map(|file| NewAnchor::create(file, merchant.clone())).transpose()?;
    let metrics = metrics.map(NewFile::create).transpose()?;
    let mut connection = ledger_access::open_for_long(config).await?;

    let mut watch = Watch { bar: progress_bar(), new };
    let lines = anchor.as_mut().map(|anchor| anchor as read::Heads<'_>);
    let verified = read::verify(&mut connection, merchant.as_ref(), lines, &mut watch).await;
    let Watch { bar, new } = watch;
    bar.finish_and_clear();
    let verification = verified?;
    if let Some(new) = new.map(NewAnchor::into_file) {
        if verification.holds() {
            new.keep()?;
        } else {
            output.message(format_args!("no anchor was written to {}", new.file().display()));
        }
    }
    if let Some(metrics) = metrics {
        textfile::write(metrics, &verification, began.elapsed())?;
    }
    print(&verification, json, output)?;
    Ok(if verification.holds() { Status::Good } else { Status::Bad })
}

/// Sees the reading: for the person and for the anchor that is to be written.
struct Watch {
    bar: ProgressBar,
    new: Option<NewAnchor>,
}

impl Observer for Watch {
    fn begins(&mut self, extent: Extent) -> io::Result<()> {
        self.bar.set_length(extent.entries.try_into().unwrap_or(0));
        self.new.as_mut().map_or(Ok(()), |new| new.begin(extent.moment))
    }

    fn has_read(&mut self, entries: u64) {
        self.bar.set_position(entries);
    }

    fn head(&mut self, head: &Head) -> io::Result<()> {
        self.new.as_mut().map_or(Ok(()), |new| new.line(head))
    }

    fn compares(&mut self) {
        self.bar.set_message("· comparing tables");
    }
}

/// On standard error, and only where that is a terminal.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = "{bar:40} {human_pos} of {human_len} entries, {per_sec}, {eta} left {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

#[derive(Serialize)]
struct Report<'a> {
    holds: bool,
    #[serde(flatten)]
    verification: &'a Verification,
}

fn print(verification: &Verification, json: bool, output: &mut Output) -> io::Result<()> {
    let Verification { moment, accounts, entries, anchored, faults, more } = verification;
    if json {
        return output.json(&Report { holds: verification.holds(), verification });
    }
    if !faults.is_empty() {
        let header = ["merchant", "customer", "currency", "where", "what does not hold"];
        report::table(header, &[], faults.iter().map(row), output)?;
        output.line("")?;
    }
    let (entries, accounts) = (HumanCount(*entries), HumanCount(*accounts));
    let read = format!("{entries} entries of {accounts} accounts as of {moment}");
    let compared = anchored.map_or_else(String::new, |heads| format!(", {} anchored", HumanCount(heads)));
    match (faults.len(), *more) {
        (0, _) => output.line(format_args!("Holds: {read}{compared}.")),
        (told, 0) => output.line(format_args!("Does not hold: {told} faults in {read}{compared}.")),
        (told, more) => output.line(format_args!(
            "Does not hold: {told} faults told above, and {} more, in {read}{compared}.",
            HumanCount(more)
        )),
    }
}

fn row(fault: &Fault) -> [String; 5] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let places = [
        fault.withdrawal.as_ref().map(|id| format!("withdrawal {id}")),
        fault.entry.map(|id| format!("entry {id}")),
        fault.account.filter(|_| fault.entry.is_none()).map(|id| format!("account {id}")),
    ];
    let place: Vec<String> = places.into_iter().flatten().collect();
    [
        text(&fault.merchant),
        text(&fault.customer),
        text(&fault.currency),
        place.join(", "),
        fault.message.clone(),
    ]
}

//! `saldo verify`

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use contract::{MerchantId, Timestamp};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use ledger::read::{self, Extent, Fault, Head, Observer, Verification};
use serde::{Deserialize, Serialize};

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
  saldo verify --anchor 2026-11-22.anchor")]
pub(crate) struct Arguments {
    /// Only this shop
    merchant: Option<MerchantId>,
    /// Compare with this anchor
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// Write an anchor, provided that everything holds
    #[arg(long, value_name = "FILE")]
    write_anchor: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let Arguments { merchant, anchor, write_anchor, json } = arguments;
    let mut anchor = anchor.map(AnchorFile::open).transpose()?;
    let new = write_anchor.map(|file| NewAnchor::create(file, merchant.clone())).transpose()?;
    let mut connection = ledger_access::open_for_long(config).await?;

    let mut watch = Watch { bar: progress_bar(), new };
    let lines = anchor.as_mut().map(|anchor| anchor as read::Heads<'_>);
    let verified = read::verify(&mut connection, merchant.as_ref(), lines, &mut watch).await;
    let Watch { bar, new } = watch;
    bar.finish_and_clear();
    let verification = verified?;
    if let Some(new) = new {
        if verification.holds() {
            new.keep()?;
        } else {
            output.message(format_args!("no anchor was written to {}", new.file.display()));
        }
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

/// The first line of an anchor; a line for each account follows, by the account's number.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    anchor: u8,
    moment: Timestamp,
    /// The shop that it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merchant: Option<MerchantId>,
}

/// The version of the format.
const ANCHOR: u8 = 1;

/// Twice what a line with the longest customer id has.
const LONGEST_LINE: u64 = 4096;

/// An anchor's lines, one at a time.
struct AnchorFile {
    file: PathBuf,
    lines: BufReader<File>,
    number: usize,
}

impl AnchorFile {
    fn open(file: PathBuf) -> io::Result<Self> {
        let opened = File::open(&file).map_err(|error| about(&file, &error))?;
        let mut anchor = Self { file, lines: BufReader::new(opened), number: 0 };
        match anchor.line()?.map(|line| serde_json::from_slice(&line)) {
            Some(Ok(Header { anchor: ANCHOR, .. })) => Ok(anchor),
            Some(Ok(Header { anchor: version, .. })) => {
                Err(anchor.wrong(format_args!("version {version}; this program reads version {ANCHOR}")))
            }
            Some(Err(error)) => Err(anchor.wrong(format_args!("no anchor begins so: {error}"))),
            None => Err(anchor.wrong("an anchor is not empty")),
        }
    }

    /// The next line, without its end.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        self.number += 1;
        let read = (&mut self.lines).take(LONGEST_LINE).read_until(b'\n', &mut line);
        if read.map_err(|error| about(&self.file, &error))? == 0 {
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            return Err(self.wrong("too long, or cut off"));
        }
        Ok(Some(line))
    }

    fn wrong(&self, what: impl std::fmt::Display) -> io::Error {
        let what = format!("{}, line {}: {what}", self.file.display(), self.number);
        io::Error::new(ErrorKind::InvalidData, what)
    }
}

impl Iterator for AnchorFile {
    type Item = io::Result<Head>;
    fn next(&mut self) -> Option<io::Result<Head>> {
        let line = match self.line() {
            Ok(line) => line?,
            Err(error) => return Some(Err(error)),
        };
        let head = serde_json::from_slice::<Head>(&line).map_err(|error| self.wrong(error));
        Some(head.and_then(|head| head.check().map(|()| head).map_err(|fault| self.wrong(fault))))
    }
}

/// An anchor in the making: beside its place until it is whole.
struct NewAnchor {
    file: PathBuf,
    part: PathBuf,
    merchant: Option<MerchantId>,
    lines: BufWriter<File>,
}

impl NewAnchor {
    fn create(file: PathBuf, merchant: Option<MerchantId>) -> io::Result<Self> {
        let mut part = file.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let lines = BufWriter::new(File::create(&part).map_err(|error| about(&part, &error))?);
        Ok(Self { file, part, merchant, lines })
    }

    fn begin(&mut self, moment: Timestamp) -> io::Result<()> {
        let merchant = self.merchant.take();
        self.json(&Header { anchor: ANCHOR, moment, merchant })
    }

    fn line(&mut self, head: &Head) -> io::Result<()> {
        self.json(head)
    }

    fn json(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.lines, line)?;
        self.lines.write_all(b"\n")
    }

    /// Puts it in its place.
    fn keep(mut self) -> io::Result<()> {
        self.lines.flush()?;
        self.lines.get_ref().sync_all()?;
        std::fs::rename(&self.part, &self.file).map_err(|error| about(&self.file, &error))
    }
}

impl Drop for NewAnchor {
    fn drop(&mut self) {
        // After `keep` there is none.
        let _ = std::fs::remove_file(&self.part);
    }
}

fn about(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

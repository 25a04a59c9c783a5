//! `saldo publish`: sends commands as any publisher does, and can wait for what becomes of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use contract::MerchantId;
use ledger::store::Settings as Database;
use sqlx::PgConnection;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout_at};
use worker::broker::Address;
use worker::submit::Submitter;
use worker::watch::{Sighting, Watch, WatchError};

use crate::fate::Fate;
use crate::ledger_access::{self, STATEMENT_TIMEOUT};
use crate::lines::{self, Line};
use crate::output::{Output, chain};
use crate::run::Run;
use crate::send::{Failed, Sent, send};
use crate::settings::{BROKER_TIMEOUT, Settings};
use crate::tracker::Tracker;
use crate::{Done, Status, outcomes, report};

/// When nothing was heard for this long, the ledger is asked.
const QUIET: Duration = Duration::from_secs(1);

/// Publish commands from a file
///
/// Sends each non-empty line as it is to the exchange `saldo.commands`, persistent and confirmed. The routing key
/// is read from the line: its `data.merchant` and its `type` without the version. The user of `broker.url` is named
/// as the one who publishes, which commands of a shop's staff need. Publishing a file again is safe: a command
/// that was decided is not decided twice.
///
/// Exit status 1 if a line could not be sent; with --watch also if one is undecided in the end, and with --strict
/// also if one was refused or dead-lettered.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  saldo publish commissions.jsonl
  saldo publish commissions.jsonl --watch
  jq -c '.[]' export.json | saldo publish - --watch --json | jq 'select(.outcome != \"credited\")'")]
pub(crate) struct Arguments {
    /// JSON messages, one a line; - reads standard input
    file: String,
    /// Send lines from which none can be read with this routing key
    #[arg(long, value_name = "KEY", value_parser = lines::routing_key)]
    routing_key: Option<String>,
    /// Wait for what becomes of each line, and print it
    ///
    /// Events, dead letters and unroutable commands are seen live; what stays open is asked from the ledger if
    /// `database.url` is set. The user of `broker.watch_url` (default: `broker.url`) must be allowed to declare a
    /// queue of its own and to read the exchanges saldo.events, saldo.dead and saldo.unroutable.
    #[arg(long)]
    watch: bool,
    /// Give up when nothing was heard of the open lines for this long
    #[arg(long, value_name = "DURATION", default_value = "10s", requires = "watch", value_parser = duration)]
    wait: Duration,
    /// Print one JSON object a line
    #[arg(long, requires = "watch")]
    json: bool,
    /// Exit with status 1 also if a line was refused or dead-lettered
    #[arg(long, requires = "watch")]
    strict: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a duration such as 500ms, 10s or 5m".to_owned())
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let mut settings = Settings::read(config);
    let broker = settings.broker();
    let watched = arguments.watch.then(|| (settings.watch(), settings.optional_database(STATEMENT_TIMEOUT)));
    settings.finish()?;
    let lines = lines::parse(&lines::contents(&arguments.file)?);
    let mut submitter = Submitter::connect(&broker, "saldo publish", BROKER_TIMEOUT).await?;
    let fallback = arguments.routing_key.as_deref();
    match watched {
        None => {
            let sent = send(&mut submitter, &lines, &Run::new(), fallback, output).await;
            output.line(format_args!("{} confirmed", sent.confirmed))?;
            tell_failed(&lines, &sent, output);
            Ok(if sent.failed.is_empty() { Status::Good } else { Status::Bad })
        }
        Some((watched, database)) => {
            let watching = Watching::start(&watched, database, &lines, output).await?;
            publish_watched(&arguments, &lines, &mut submitter, watching, output).await
        }
    }
}

async fn publish_watched(
    arguments: &Arguments,
    lines: &[Line],
    submitter: &mut Submitter,
    mut watching: Watching,
    output: &mut Output,
) -> Done {
    let run = Run::new();
    let sent = send(submitter, lines, &run, arguments.routing_key.as_deref(), output).await;
    let mut tracker = Tracker::new(lines, Some(run));
    let summary = format!("{} confirmed", sent.confirmed);
    if arguments.json {
        output.message(summary);
    } else {
        output.line(summary)?;
    }
    tell_failed(lines, &sent, output);
    for (place, failed) in &sent.failed {
        if let Some(fate) = failed.fate() {
            tracker.not_sent(*place, fate);
        }
    }
    watching.wait(&mut tracker, arguments.wait, output).await;
    let silence = format!("Nothing was heard of it within {}.", humantime::format_duration(arguments.wait));
    let unheard = || Fate::undecided(None, silence.clone());
    let fates: Vec<Fate> = tracker.fates().map(|fate| fate.unwrap_or_else(unheard)).collect();
    report::outcomes(lines, &fates, arguments.json, output)?;
    let bad = |fate: &Fate| fate.is_undecided() || (arguments.strict && fate.is_bad());
    let all_well = sent.failed.is_empty() && !fates.iter().any(bad);
    Ok(if all_well { Status::Good } else { Status::Bad })
}

impl Failed {
    /// What is known of such a line; `None` if it may have been taken.
    fn fate(&self) -> Option<Fate> {
        match self {
            Self::NoRoutingKey => Some(Fate::undecided(Some("no-routing-key"), NO_ROUTING_KEY)),
            Self::Answered(submission) => Fate::of_submission(submission),
            Self::Unknown => None,
        }
    }
}

const NO_ROUTING_KEY: &str = "Not sent: no routing key can be read from it; --routing-key gives one.";

fn tell_failed(lines: &[Line], sent: &Sent, output: &mut Output) {
    for (place, failed) in &sent.failed {
        let detail = failed.fate().and_then(|fate| fate.detail);
        if let Some((line, detail)) = lines.get(*place).zip(detail) {
            output.message(format_args!("line {}: {detail}", line.number));
        }
    }
    if let Some(error) = &sent.broken {
        let unknown = sent.failed.iter().filter(|(_, failed)| *failed == Failed::Unknown).count();
        output.message(format_args!(
            "{}; {unknown} lines may not have been sent: publish the file again, nothing is decided twice",
            chain(error)
        ));
    }
}

/// Where news comes from.
struct Watching {
    sightings: UnboundedReceiver<Sighting>,
    ledger: Option<PgConnection>,
}

impl Watching {
    /// # Errors
    /// Neither broker nor ledger can be watched.
    async fn start(
        broker: &Address,
        database: Option<Database>,
        lines: &[Line],
        output: &mut Output,
    ) -> Result<Self, WatchError> {
        let mut ledger = None;
        if database.is_some() {
            match ledger_access::connect(database).await {
                Ok(connection) => ledger = Some(connection),
                Err(error) => output.message(format_args!("the ledger cannot be asked: {}", chain(&error))),
            }
        }
        let merchants: BTreeSet<MerchantId> =
            lines.iter().filter_map(|line| line.merchant.as_deref()?.parse().ok()).collect();
        let merchants: Vec<MerchantId> = merchants.into_iter().collect();
        let (sender, sightings) = unbounded_channel();
        match Watch::start(broker, "saldo publish --watch", &merchants, BROKER_TIMEOUT).await {
            Ok(mut watch) => {
                tokio::spawn(async move {
                    while let Some(sighting) = watch.next().await {
                        if sender.send(sighting).is_err() {
                            break;
                        }
                    }
                });
            }
            // The ledger knows all but the dead letters.
            Err(error @ WatchError::Forbidden(_)) if ledger.is_some() => output.message(format_args!(
                "{}; dead letters are not seen (broker.watch_url can name a user that may)",
                chain(&error)
            )),
            Err(error) => return Err(error),
        }
        Ok(Self { sightings, ledger })
    }

    /// Until all is known, or nothing new was heard for `patience`.
    async fn wait(&mut self, tracker: &mut Tracker, patience: Duration, output: &mut Output) {
        let mut heard = Instant::now();
        let mut ask = heard + QUIET;
        while tracker.open() > 0 {
            let give_up = heard + patience;
            let news = match timeout_at(ask.min(give_up), self.sightings.recv()).await {
                Ok(Some(sighting)) => self.take_in(sighting, tracker),
                Ok(None) => {
                    // Nothing is seen live any more.
                    tokio::time::sleep_until(ask.min(give_up)).await;
                    self.ask(tracker, output).await
                }
                Err(_) => self.ask(tracker, output).await,
            };
            let now = Instant::now();
            if news {
                heard = now;
            } else if now >= give_up {
                break;
            }
            if news || now >= ask {
                ask = now + QUIET;
            }
        }
    }

    /// Also everything else that has arrived: counting what is open takes a while in a large file.
    fn take_in(&mut self, sighting: Sighting, tracker: &mut Tracker) -> bool {
        let mut news = tracker.see(sighting);
        while let Ok(sighting) = self.sightings.try_recv() {
            news |= tracker.see(sighting);
        }
        news
    }

    async fn ask(&mut self, tracker: &mut Tracker, output: &mut Output) -> bool {
        let Some(connection) = &mut self.ledger else { return false };
        match outcomes::ask(connection, tracker).await {
            Ok(news) => news,
            Err(error) => {
                output.message(format_args!("the ledger cannot be asked: {}", chain(&error)));
                self.ledger = None;
                false
            }
        }
    }
}

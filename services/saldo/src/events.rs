//! `saldo events`: what workers told the world, told once more.
//!
//! A subscriber that lost events (its queue was full, deleted, or not bound yet) asks for them; the bytes are the stored
//! ones. Whoever has them already knows them by `source` and `id`, and an account's state by its version. Ended half-way,
//! a part is published once more; running it again is safe.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use clap::Subcommand;
use clap::error::ErrorKind;
use contract::schema::{self, Direction};
use contract::{Event, MerchantId, Timestamp};
use ledger::read;
use worker::broker::{BrokerError, Outgoing, Publisher, Purpose, connect};

use crate::ledger_access::STATEMENT_TIMEOUT;
use crate::output::{self, Output};
use crate::pace::Pace;
use crate::settings::{BROKER_TIMEOUT, Settings};
use crate::{Done, Status, ledger_access, moment, number, report};

/// Batches whose events are read together: some ten thousand events at most.
const BATCHES: usize = 10;

/// Events published together.
const PART: usize = 500;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Republish(Republish),
}

/// Publish stored events once more, as they were
///
/// All events that were decided since one moment and before another go to the exchange saldo.events, in the order in
/// which they were decided, byte for byte. Subscribers know an event that they have had by its source and id. The user of
/// broker.url must be allowed to write to saldo.events. Subscribers' queues drop their oldest events when they are full:
/// choose a rate that they can follow. Exit status 1 if not all could be published; doing it again is safe.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo events republish --since 2026-11-22T10:00:00Z --until 2026-11-22T11:30:00Z --dry-run
  saldo events republish --since 2026-11-22 --merchant demo --type withdrawal.requested --type withdrawal.paid")]
pub(crate) struct Republish {
    /// Decided since then: RFC 3339, or a day in UTC
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    since: Timestamp,
    /// Decided before then; by default now
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<Timestamp>,
    /// Only this shop's
    #[arg(long, value_name = "ID")]
    merchant: Option<MerchantId>,
    /// Only of this type, such as commission.credited; can be given several times
    #[arg(long = "type", value_name = "TYPE", value_parser = event_name)]
    types: Vec<String>,
    /// At most so many a second
    #[arg(long, value_name = "N", default_value = "1000", value_parser = number::count)]
    rate: NonZeroU32,
    /// Publish nothing; say how many of each type there are
    #[arg(long)]
    dry_run: bool,
}

/// For clap: the type of an event, with or without its version.
fn event_name(text: &str) -> Result<String, String> {
    let types = schema::all().into_iter().filter(|message| message.direction == Direction::Event);
    let names: BTreeSet<&str> =
        types.filter_map(|message| Some(message.message_type.rsplit_once('.')?.0)).collect();
    let known = names.iter().find(|name| text == **name || text.strip_prefix(**name).is_some_and(is_version));
    known
        .map(|name| (*name).to_owned())
        .ok_or_else(|| format!("expected one of {}", names.into_iter().collect::<Vec<_>>().join(", ")))
}

fn is_version(text: &str) -> bool {
    text.strip_prefix(".v").is_some_and(|number| number.parse::<u32>().is_ok())
}

pub(crate) async fn run(command: Command, config: Option<&Path>, output: &mut Output) -> Done {
    match command {
        Command::Republish(republish) => {
            republish.check().unwrap_or_else(|error| error.exit());
            self::republish(republish, config, output).await
        }
    }
}

async fn republish(wanted: Republish, config: Option<&Path>, output: &mut Output) -> Done {
    let mut settings = Settings::read(config);
    let database = settings.database(STATEMENT_TIMEOUT);
    let broker = (!wanted.dry_run).then(|| settings.broker());
    settings.finish()?;
    let mut ledger = ledger_access::connect(database).await?;
    let target = match broker {
        Some(broker) => {
            let connection =
                connect(&broker, "saldo events republish", Purpose::Publish, BROKER_TIMEOUT).await?;
            Some(Target {
                publisher: Publisher::open(Arc::new(connection), BROKER_TIMEOUT).await?,
                pace: Pace::new(wanted.rate),
            })
        }
        None => None,
    };
    let batches = read::batches_between(&mut ledger, wanted.since, wanted.until).await?;
    let bar = Output::progress(batches.len() as u64);
    let mut counts = BTreeMap::<String, u64>::new();
    for batches in batches.chunks(BATCHES) {
        let mut events = read::events_of(&mut ledger, batches, wanted.merchant.as_ref()).await?;
        events.retain(|event| wanted.wants(event));
        if let Some(target) = &target
            && let Err(error) = target.publish(&events).await
        {
            bar.finish_and_clear();
            let done: u64 = counts.values().sum();
            output.message(format_args!(
                "{done} events were published, then not all of the next {}: {}",
                events.len(),
                output::chain(&error)
            ));
            return Ok(Status::Bad);
        }
        for event in events {
            *counts.entry(event.name).or_default() += 1;
        }
        bar.inc(batches.len() as u64);
    }
    bar.finish_and_clear();
    if counts.is_empty() {
        output.message("there are no such events");
    } else {
        let done = if wanted.dry_run { "would be published" } else { "published" };
        let rows = counts.into_iter().map(|(name, count)| [name, count.to_string()]);
        report::table(["type", done], &[1], rows, output)?;
    }
    Ok(Status::Good)
}

impl Republish {
    /// What clap does not see for itself: that a period has a length.
    fn check(&self) -> Result<(), clap::Error> {
        match self.until {
            Some(until) if until <= self.since => Err(clap::Error::raw(
                ErrorKind::ValueValidation,
                format!("--since {} is not before --until {until}; expected an earlier moment\n", self.since),
            )),
            _ => Ok(()),
        }
    }

    fn wants(&self, event: &Event) -> bool {
        self.types.is_empty() || self.types.contains(&event.name)
    }
}

/// Where events go, and how fast.
struct Target {
    publisher: Publisher,
    pace: Pace,
}

impl Target {
    async fn publish(&self, events: &[Event]) -> Result<(), BrokerError> {
        for part in events.chunks(PART.min(self.pace.burst())) {
            for _ in part {
                self.pace.wait().await;
            }
            let outgoing: Vec<_> = part.iter().map(Outgoing::event).collect();
            self.publisher.publish(&outgoing).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        republish: Republish,
    }

    #[test]
    fn a_period_that_is_none_is_wrong_usage() {
        let check = |until: &[&str]| {
            let words = ["republish", "--since", "2026-11-22"].iter().chain(until);
            Line::try_parse_from(words).unwrap().republish.check()
        };
        check(&[]).unwrap();
        check(&["--until", "2026-11-22T00:00:01Z"]).unwrap();
        for until in ["2026-11-22", "2026-11-21"] {
            let error = check(&["--until", until]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert_eq!(
                error.to_string(),
                format!(
                    "error: --since 2026-11-22T00:00:00Z is not before --until {until}T00:00:00Z; expected an earlier \
                     moment\n"
                )
            );
        }
    }

    #[test]
    fn a_type_is_known_with_and_without_its_version_and_a_typing_error_is_told() {
        assert_eq!(event_name("commission.credited").unwrap(), "commission.credited");
        assert_eq!(event_name("commission.credited.v1").unwrap(), "commission.credited");
        for wrong in ["commission.credit", "commission.credited.", "commission.credited.v", "commission", ""]
        {
            assert!(event_name(wrong).unwrap_err().contains("withdrawal.paid"), "{wrong}");
        }
    }
}

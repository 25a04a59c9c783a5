//! `saldo dead discard`: letters thrown away, once the inbox was asked.
//!
//! A worker can die after its commit and before its ack, again and again, until the broker gives the message up: its letter
//! lies there, and its command was decided. Whoever throws such a letter away has its events published first, so that
//! nobody waits for them.

use std::path::Path;
use std::sync::Arc;

use contract::{Event, Note, notification};
use ledger::deed::DeedKind;
use ledger::read::{self, Outcome as Known};
use ledger::vault::Vault;
use sqlx::PgConnection;
use worker::broker::{Address, BrokerError, Outgoing, Publisher, Purpose, connect};
use worker::dead::Letter;

use super::Error;
use super::act::{self, Act, Acting, Fate, Particulars, Report};
use super::body;
use super::find::{self, Look, Subject};
use crate::Done;
use crate::ledger_access::{self, STATEMENT_TIMEOUT};
use crate::lines::{self, Line};
use crate::output::{Output, chain};
use crate::pace::Pace;
use crate::settings::{BROKER_TIMEOUT, Settings};

/// Throw dead letters away for good
///
/// The ledger is asked first what became of each command. One that was decided after all is told once more: its stored
/// events are published, then its letter goes. One that was not is thrown away with --undecided only, and one of which
/// nobody can tell, because its body cannot be read or does not decrypt (payout.keys), with --unread only. Who discards
/// what, and why, is written down first (`saldo dead deeds`).
///
/// The user of broker.url must be allowed to read the queues of dead letters and to write to saldo.events. Letters that no
/// client can receive are thrown away by the management API (`broker.management_url`). Exit status 1 if a letter stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo dead discard --all --actor anna --because 'which were decided?' --dry-run
  saldo dead discard --reason not-json --older-than 30d --unread --actor anna --because 'a test of the shop'
  saldo dead discard 3f2a91c0d4e7 --undecided --actor anna --because 'published again, corrected'")]
pub(crate) struct Arguments {
    #[command(flatten)]
    acting: Acting,
    /// Why; recorded
    #[arg(long, value_name = "TEXT")]
    because: Note,
    /// Also letters whose command was not decided: it is lost, unless somebody publishes it again
    #[arg(long)]
    undecided: bool,
    /// Also letters that cannot be read, so that nobody knows whether they were decided
    #[arg(long)]
    unread: bool,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let mut settings = Settings::read(config);
    let access = find::access(&mut settings);
    let (database, vault) = (settings.database(STATEMENT_TIMEOUT), settings.optional_vault());
    settings.finish()?;
    let discard = Discard {
        ledger: ledger_access::connect(database).await?,
        broker: access.broker.clone(),
        publisher: None,
        pace: Pace::new(arguments.acting.rate),
        vault,
        arguments,
    };
    let look = Look::chosen(&access, &discard.arguments.acting.chosen, output).await;
    act::all(discard, look, output).await
}

struct Discard {
    arguments: Arguments,
    ledger: PgConnection,
    broker: Address,
    /// For events; most letters have none to tell.
    publisher: Option<Publisher>,
    pace: Pace,
    vault: Option<Vault>,
}

/// What is known of a letter's command.
enum Standing {
    /// It was decided, with this content.
    Decided(Vec<Event>),
    /// It was not, in words.
    Undecided(String),
    /// Nobody can tell, in words.
    Unread(String),
    /// It is none: an event, which its publisher stored.
    Event,
}

impl Act for Discard {
    const KIND: DeedKind = DeedKind::Discard;

    fn acting(&self) -> &Acting {
        &self.arguments.acting
    }

    async fn one(&mut self, look: &mut Look, place: (usize, usize)) -> Result<Report, Error> {
        let letter = look.letter(place);
        let (subject, standing) = self.standing(letter).await?;
        let (known, events) = match standing {
            Standing::Event => ("it is an event, which the ledger has".to_owned(), Vec::new()),
            Standing::Decided(events) => ("it was decided: its events are told once more".to_owned(), events),
            Standing::Undecided(why) if self.arguments.undecided => (why, Vec::new()),
            Standing::Unread(why) if self.arguments.unread => (why, Vec::new()),
            Standing::Undecided(why) => {
                return Ok(Report::of(letter, Fate::Refused, format!("{why}; --undecided discards it")));
            }
            Standing::Unread(why) => {
                return Ok(Report::of(letter, Fate::Refused, format!("{why}; --unread discards it")));
            }
        };
        let mut report = Report::of(letter, Fate::Possible, known.clone());
        if self.arguments.acting.dry_run {
            return Ok(report);
        }
        let note = format!("{} ({known})", self.arguments.because);
        let particulars = Particulars { note: Some(&note), ..Particulars::default() };
        let actor = &self.arguments.acting.actor;
        report.deed = Some(
            act::record(&mut self.ledger, DeedKind::Discard, actor, letter, &subject, particulars).await?,
        );
        self.pace.wait().await;
        self.tell(&events).await?;
        report.outcome = Fate::Discarded;
        if let Err(error) = look.walks[place.0].take_out(place.1).await {
            report.outcome = Fate::Failed;
            report.detail = Some(format!("it could not be taken out: {}", chain(&error)));
        }
        Ok(report)
    }
}

impl Discard {
    async fn tell(&mut self, events: &[Event]) -> Result<(), BrokerError> {
        if events.is_empty() {
            return Ok(());
        }
        if self.publisher.is_none() {
            let connection =
                connect(&self.broker, "saldo dead discard", Purpose::Publish, BROKER_TIMEOUT).await?;
            self.publisher = Some(Publisher::open(Arc::new(connection), BROKER_TIMEOUT).await?);
        }
        let outgoing: Vec<_> = events.iter().map(Outgoing::event).collect();
        match &self.publisher {
            Some(publisher) => publisher.publish(&outgoing).await,
            None => Ok(()),
        }
    }

    /// Asks the inbox; and what the letter says of itself, its body opened where it can be.
    async fn standing(&mut self, letter: &Letter) -> Result<(Subject, Standing), sqlx::Error> {
        if letter.worker() == Some(notification::WORKER) {
            return Ok((Subject::of(letter), Standing::Event));
        }
        let body = match body::open(letter, self.vault.as_ref()) {
            Ok(body) => body,
            Err(why) => return Ok((Subject::of(letter), Standing::Unread(why))),
        };
        let subject = Subject::read(&body);
        let standing = match lines::understand(&body) {
            Ok(command) => {
                let known = read::outcome(&mut self.ledger, &command.key).await?;
                if command.is_secret && self.vault.is_none() {
                    let why = "whether it is what was decided can be told with payout.keys only";
                    return Ok((subject, Standing::Unread(why.to_owned())));
                }
                let is_it = |content| match &self.vault {
                    Some(vault) if command.is_secret => vault.is_fingerprint(content, command.content),
                    _ => content == command.content,
                };
                match known {
                    Known::Decided { content, events } if is_it(content) => Standing::Decided(events),
                    Known::Decided { .. } => {
                        Standing::Undecided("its key was decided with other content".to_owned())
                    }
                    Known::Parked { deadline, .. } => Standing::Undecided(format!(
                        "its key is parked, and will be decided without this letter, until {deadline} at the latest"
                    )),
                    Known::Unknown => Standing::Undecided("it was never decided".to_owned()),
                }
            }
            Err(malformed) => match Line::new(1, &body).key() {
                None => Standing::Unread(format!("no command can be read from its body ({malformed})")),
                Some(key) => Standing::Undecided(match read::outcome(&mut self.ledger, &key).await? {
                    Known::Unknown => format!("it was never decided, and never can be ({malformed})"),
                    _ => format!(
                        "its key was used with other content, and its own can never be decided ({malformed})"
                    ),
                }),
            },
        };
        Ok((subject, standing))
    }
}

//! `saldo dead discard`: letters thrown away, once the inbox was asked.
//!
//! A worker can die after its commit and before its ack, again and again, until the broker gives the message up: its letter
//! lies there, and its command was decided. Whoever throws such a letter away has its events published first, so that
//! nobody waits for them.

use std::path::Path;
use std::sync::Arc;

use contract::{Event, Malformed, MalformedReason, Note, notification};
use ledger::deed::DeedKind;
use ledger::read::{self, Outcome};
use ledger::vault::Vault;
use sqlx::PgConnection;
use worker::broker::{Address, BrokerError, Outgoing, Publisher, Purpose, connect};
use worker::dead::Letter;

use super::Error;
use super::act::{self, Act, Acting, Fate, Particulars, Report};
use super::body;
use super::find::{self, Look, Subject};
use super::standing::{Standing, Undecidable};
use crate::Done;
use crate::ledger_access::{self, STATEMENT_TIMEOUT};
use crate::lines::{self, Line, Understood};
use crate::output::{Output, chain};
use crate::pace::Pace;
use crate::settings::{BROKER_TIMEOUT, Settings};

/// Throw dead letters away for good
///
/// The ledger is asked first what became of each command. One that was decided after all is told once more: its stored
/// events are published, then its letter goes. One that was not is thrown away with --undecided only, and one of which
/// nobody can tell, because its body cannot be read, does not decrypt (payout.keys) or is a newer worker's, with --unread
/// only. Who discards what, and why, is written down first (`saldo dead deeds`).
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

/// What throwing a letter away takes.
enum Case {
    /// Its command was decided, or is an event, which its publisher stored: these are told first.
    Told(Vec<Event>),
    /// It was not decided.
    Undecided,
    /// Nobody can tell.
    Unread,
}

impl Act for Discard {
    const KIND: DeedKind = DeedKind::Discard;

    fn acting(&self) -> &Acting {
        &self.arguments.acting
    }

    async fn one(&mut self, look: &mut Look, place: (usize, usize)) -> Result<Report, Error> {
        let letter = look.letter(place);
        let (subject, case, known) = self.case(letter).await?;
        let events = match case {
            Case::Told(events) => events,
            Case::Undecided if self.arguments.undecided => Vec::new(),
            Case::Unread if self.arguments.unread => Vec::new(),
            Case::Undecided => {
                return Ok(Report::of(letter, Fate::Refused, format!("{known}; --undecided discards it")));
            }
            Case::Unread => {
                return Ok(Report::of(letter, Fate::Refused, format!("{known}; --unread discards it")));
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

    /// Asks the inbox; and what the letter says of itself, its body opened where it can be. The case also in words.
    async fn case(&mut self, letter: &Letter) -> Result<(Subject, Case, String), sqlx::Error> {
        if letter.worker() == Some(notification::WORKER) {
            let known = "it is an event, which the ledger has".to_owned();
            return Ok((Subject::of(letter), Case::Told(Vec::new()), known));
        }
        let body = match body::open(letter, self.vault.as_ref()) {
            Ok(body) => body,
            Err(why) => return Ok((Subject::of(letter), Case::Unread, why)),
        };
        let (case, known) = match lines::understand(&body) {
            Ok(command) => self.case_of(&command).await?,
            Err(malformed) => self.case_of_malformed(&body, &malformed).await?,
        };
        Ok((Subject::read(&body), case, known))
    }

    async fn case_of(&mut self, command: &Understood) -> Result<(Case, String), sqlx::Error> {
        let standing = Standing::of(&mut self.ledger, command, self.vault.as_ref()).await?;
        let known = standing.words();
        let case = match standing {
            Standing::Decided(events) => Case::Told(events),
            Standing::Incomparable => Case::Unread,
            Standing::Parked(_) | Standing::OtherContent | Standing::Unknown => Case::Undecided,
        };
        Ok((case, known))
    }

    /// What no worker of this release decides, its key may have been used all the same.
    async fn case_of_malformed(
        &mut self,
        body: &[u8],
        malformed: &Malformed,
    ) -> Result<(Case, String), sqlx::Error> {
        let Some(key) = Line::new(1, body).key() else {
            return Ok((Case::Unread, format!("no command can be read from its body ({malformed})")));
        };
        let is_used = !matches!(read::outcome(&mut self.ledger, &key).await?, Outcome::Unknown);
        // What would help its command is nothing to whoever throws it away.
        let why = Undecidable::of(malformed).finding;
        Ok(match malformed.reason {
            // By a newer worker, if it knows the type.
            MalformedReason::UnknownType if is_used => {
                (Case::Unread, format!("its key was used, perhaps by this command: it {why}"))
            }
            _ if is_used => (Case::Undecided, format!("its key was used with other content, and it {why}")),
            _ => (Case::Undecided, format!("it was never decided: it {why}")),
        })
    }
}

//! `saldo dead replay`: commands published once more.
//!
//! The inbox makes it safe to repeat: a command that was decided is not decided again. What it cannot know is who asks. A
//! replay is published with the operator's rights and name, whereas the broker had asked the publisher for its own: so a
//! letter goes out under the routing key that the broker had let through, never under one that a header or a body claims,
//! and a command that needs a user goes out for the user who sent it. Of what the broker itself gave up nobody knows the
//! routing key for sure: a publisher that is confined to some keys can write a body for another, and headers that no worker
//! survives. Such a letter, and one that needs another user, goes out by the operator's word only that the command is the
//! operator's own.

use std::path::Path;

use contract::{MalformedReason, notification};
use ledger::deed::DeedKind;
use ledger::vault::Vault;
use sqlx::PgConnection;
use worker::dead::{Letter, Origin};
use worker::submit::{Command, Submission, Submitter};
use worker::topology;

use super::Error;
use super::act::{self, Act, Acting, Fate, Particulars, Report};
use super::body::{self, Body};
use super::find::{self, Look, Subject};
use crate::Done;
use crate::ledger_access::{self, STATEMENT_TIMEOUT};
use crate::lines::{self, Line};
use crate::output::{Output, chain};
use crate::pace::Pace;
use crate::settings::{BROKER_TIMEOUT, Settings};

/// AMQP's longest routing key or message id, in bytes.
const MAX_SHORT: usize = 255;

/// Publish the commands of dead letters once more, and take the letters out of their queues
///
/// For commands whose cause of death was mended. Each goes to the exchange saldo.commands as it was published, and its
/// letter is taken out when a queue has it; a command that was decided meanwhile is not decided twice. Who replays what is
/// written down first (`saldo dead deeds`).
///
/// A letter stays, and it is said why, where replaying it would do nothing or too much: its body is malformed, withheld or
/// does not decrypt (payout.keys), no worker takes its routing key, the broker gave it up, so that nobody knows this key,
/// or its command needs the broker user who published it and that is not the user of broker.url. Events of the notifier are not replayed: it finds them in the ledger.
///
/// The user of broker.url must be allowed to read the queues of dead letters and to write to saldo.commands. Exit status 1
/// if a letter stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo dead replay --reason culprit --newer-than 1d --actor anna --dry-run
  saldo dead replay 3f2a91c0d4e7 --actor anna
  saldo dead replay --all --worker commissions --actor anna --rate 10")]
pub(crate) struct Arguments {
    #[command(flatten)]
    acting: Acting,
    /// Also as the user of broker.url's own command: what needs the user who published it, and what the broker gave up, with
    /// the routing key that its body asks for; recorded
    #[arg(long)]
    as_myself: bool,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let mut settings = Settings::read(config);
    let access = find::access(&mut settings);
    let (database, vault) = (settings.database(STATEMENT_TIMEOUT), settings.optional_vault());
    settings.finish()?;
    let replay = Replay {
        ledger: ledger_access::connect(database).await?,
        submitter: Submitter::connect(&access.broker, "saldo dead replay", BROKER_TIMEOUT).await?,
        operator: access.broker.user().to_owned(),
        pace: Pace::new(arguments.acting.rate),
        vault,
        arguments,
    };
    let look = Look::chosen(&access, &replay.arguments.acting.chosen, output).await;
    act::all(replay, look, output).await
}

struct Replay {
    arguments: Arguments,
    ledger: PgConnection,
    submitter: Submitter,
    /// The user of `broker.url`.
    operator: String,
    pace: Pace,
    vault: Option<Vault>,
}

impl Act for Replay {
    const KIND: DeedKind = DeedKind::Replay;

    fn acting(&self) -> &Acting {
        &self.arguments.acting
    }

    async fn one(&mut self, look: &mut Look, place: (usize, usize)) -> Result<Report, Error> {
        let letter = look.letter(place);
        let (body, plan) = match self.plan(letter) {
            Ok(planned) => planned,
            Err(why) => return Ok(Report::of(letter, Fate::Refused, why)),
        };
        let note = plan.note();
        let mut report = Report::of(letter, Fate::Possible, note.clone());
        report.routing_key = Some(plan.routing_key.clone());
        if self.arguments.acting.dry_run {
            return Ok(report);
        }
        let (subject, actor) = (Subject::read(&body), &self.arguments.acting.actor);
        let particulars = Particulars {
            routing_key: Some(&plan.routing_key),
            user: Some(&self.operator),
            note: note.as_deref(),
        };
        let deed =
            act::record(&mut self.ledger, DeedKind::Replay, actor, letter, &subject, particulars).await?;
        report.deed = Some(deed);
        self.pace.wait().await;
        let own = letter.id.to_string();
        let message_id = letter.dead.message_id.as_deref().filter(|id| id.len() <= MAX_SHORT).unwrap_or(&own);
        let command = Command { routing_key: &plan.routing_key, body: &body, message_id };
        let answer = self.submitter.submit(&[command]).await?.pop();
        drop(body);
        let failed = match answer {
            Some(Submission::Confirmed) => {
                let gone = look.walks[place.0].take_out(place.1).await;
                gone.err().map(|error| {
                    format!("its command was published, but it could not be taken out: {}", chain(&error))
                })
            }
            Some(Submission::Full) => Some("the queue of its worker is full; try again later".to_owned()),
            Some(Submission::Forbidden(words)) => Some(words),
            Some(Submission::Unroutable) | None => Some("no queue took it".to_owned()),
        };
        report.outcome = if failed.is_none() { Fate::Replayed } else { Fate::Failed };
        report.detail = failed.or(report.detail);
        Ok(report)
    }
}

impl Replay {
    fn plan<'l>(&self, letter: &'l Letter) -> Result<(Body<'l>, Plan), String> {
        if letter.worker() == Some(notification::WORKER) {
            return Err(
                "it is an event, not a command; the notifier finds in the ledger what it told of".to_owned()
            );
        }
        let body = body::open(letter, self.vault.as_ref())?;
        let plan = Plan::of(letter, &body, &self.operator, self.arguments.as_myself)?;
        Ok((body, plan))
    }
}

/// How a letter's command goes out.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    routing_key: String,
    /// Nobody knows the key it was delivered with: this is the one that its body asks for.
    by_its_body: bool,
    /// The operator commands it, in the place of somebody else or of nobody known.
    as_myself: bool,
}

impl Plan {
    /// What a worker would make of it is asked here first, so that nothing goes round in circles.
    fn of(letter: &Letter, body: &[u8], operator: &str, as_myself: bool) -> Result<Self, String> {
        let (asked, needs_user) = match lines::understand(body) {
            Ok(command) => (Some(command.routing_key), command.needs_user),
            // A worker that is newer than this program may know it, and may need a user.
            Err(unknown) if unknown.reason == MalformedReason::UnknownType => {
                (Line::new(1, body).routing_key, true)
            }
            Err(malformed) => {
                return Err(format!("its body can never be decided ({malformed}); publish a better one"));
            }
        };
        if letter.origin == Origin::Worker
            && letter.dead.reason.as_deref() == Some(MalformedReason::IdempotencyConflict.code())
        {
            return Err("its key was used with other content; publish it under another id".to_owned());
        }
        let Some(asked) = asked else { return Err("no routing key can be read from its body".to_owned()) };
        let delivered = match (&letter.routing_key, letter.origin) {
            (Some(key), _) => key,
            (None, Origin::Broker) => &asked,
            (None, _) => {
                return Err(
                    "it was not published to saldo.commands, so that nobody has asked whether its publisher may".to_owned()
                );
            }
        };
        if *delivered != asked {
            return Err("it was published with another routing key than its body asks for".to_owned());
        }
        if delivered.len() > MAX_SHORT || topology::taken_by(delivered).is_none() {
            return Err("no worker takes its routing key: it would come back to saldo.unroutable".to_owned());
        }
        if letter.routing_key.is_none() && !as_myself {
            return Err(format!(
                "the broker gave it up, and nobody knows with which routing key it was published; --as-myself \
                 publishes it as {operator}'s own, with {asked}"
            ));
        }
        let same = letter.user.as_deref() == Some(operator);
        if needs_user && !same && !as_myself {
            return Err(match &letter.user {
                Some(user) => format!(
                    "it needs the broker user who published it, {user}, and would go out as {operator}; --as-myself \
                     makes it {operator}'s own"
                ),
                None => format!(
                    "it needs a broker user, and was published without one that the broker vouched for; --as-myself \
                     makes it {operator}'s own"
                ),
            });
        }
        let by_its_body = letter.routing_key.is_none();
        Ok(Self {
            routing_key: delivered.clone(),
            by_its_body,
            as_myself: by_its_body || (needs_user && !same),
        })
    }

    fn note(&self) -> Option<String> {
        let notes = [
            (self.as_myself, "as the operator's own command"),
            (self.by_its_body, "with the routing key that its body asks for; which one it had is not known"),
        ];
        let notes: Vec<&str> = notes.into_iter().filter_map(|(holds, note)| holds.then_some(note)).collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

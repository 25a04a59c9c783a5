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

use contract::notification;
use ledger::deed::DeedKind;
use ledger::vault::Vault;
use sqlx::PgConnection;
use worker::dead::{Access, Letter, Origin};
use worker::management::Routes;
use worker::submit::{Command, Submission, Submitter};
use worker::topology;

use super::Error;
use super::act::{self, Act, Acting, Fate, Particulars, Report};
use super::body::{self, Body};
use super::find::{self, Look, Subject};
use super::standing::{Standing, Undecidable};
use crate::Done;
use crate::ledger_access::{self, STATEMENT_TIMEOUT};
use crate::lines::{self, Understood};
use crate::output::{Output, chain};
use crate::pace::Pace;
use crate::settings::{BROKER_TIMEOUT, Settings};

/// AMQP's longest message id, in bytes.
const MAX_SHORT: usize = 255;

/// Publish the commands of dead letters once more, and take the letters out of their queues
///
/// For commands whose cause of death was mended. Each goes to the exchange saldo.commands as it was published, and its
/// letter is taken out when a queue has it; a command that was decided meanwhile is not decided twice: it is said when it
/// was, and its events are told once more. Who replays what is written down first (`saldo dead deeds`).
///
/// A letter stays, and it is said why, where replaying it would do nothing or too much: its body is malformed, of a type
/// that this release does not know, withheld or does not decrypt (payout.keys), its key was used with other content, no
/// worker takes its routing key, the broker gave it up, so that nobody knows this key, or its command needs the broker user
/// who published it and that is not the user of broker.url. Events of the notifier are not replayed: it finds them in the
/// ledger.
///
/// The user of broker.url must be allowed to read the queues of dead letters and to write to saldo.commands. Where
/// `broker.management_url` is set it is looked first whether the workers' queues are bound. Where it is not, nobody can tell
/// a command that no queue is bound for from one that is taken: the broker confirms both, and the first is in
/// saldo.unroutable then, in place of its letter. Exit status 1 if a letter stays.
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
        routes: routes(&access).await?,
        operator: access.broker.user().to_owned(),
        pace: Pace::new(arguments.acting.rate),
        vault,
        arguments,
    };
    let look = Look::chosen(&access, &replay.arguments.acting.chosen, output).await;
    if replay.routes.is_none() && !look.chosen.is_empty() {
        output.message(
            "whether the workers' queues are bound is not looked at (broker.management_url is not set): a command that \
             none is bound for comes back to saldo.unroutable",
        );
    }
    act::all(replay, look, output).await
}

async fn routes(access: &Access) -> Result<Option<Routes>, Error> {
    let Some(management) = &access.management else { return Ok(None) };
    match management.routes().await {
        Ok(routes) => Ok(Some(routes)),
        Err(error) => {
            Err(format!("the bindings of the workers' queues are not known: {}", chain(&error)).into())
        }
    }
}

struct Replay {
    arguments: Arguments,
    ledger: PgConnection,
    submitter: Submitter,
    /// Where commands get to; `None`: nobody knows.
    routes: Option<Routes>,
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
        let (body, command, mut plan) = match self.plan(letter) {
            Ok(planned) => planned,
            Err(why) => return Ok(Report::of(letter, Fate::Refused, why)),
        };
        let standing = Standing::of(&mut self.ledger, &command, self.vault.as_ref()).await?;
        match standing {
            Standing::Unknown => {}
            Standing::OtherContent => {
                let why = format!("{}; publish it under another id", standing.words());
                return Ok(Report::of(letter, Fate::Refused, why));
            }
            Standing::Decided(_) | Standing::Parked(_) | Standing::Incomparable => {
                plan.known = Some(standing.words());
            }
        }
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
    /// How a letter's command goes out, whatever became of it; or why it does not.
    fn plan<'l>(&self, letter: &'l Letter) -> Result<(Body<'l>, Understood, Plan), String> {
        if letter.worker() == Some(notification::WORKER) {
            return Err(
                "it is an event, not a command; the notifier finds in the ledger what it told of".to_owned()
            );
        }
        let body = body::open(letter, self.vault.as_ref())?;
        let command = lines::understand(&body).map_err(|malformed| {
            let Undecidable { finding, advice } = Undecidable::of(&malformed);
            format!("it {finding}: {advice}")
        })?;
        let plan = Plan::of(letter, &command, &self.operator, self.arguments.as_myself)?;
        self.check_route(&plan.routing_key)?;
        Ok((body, command, plan))
    }

    /// The broker confirms what no queue is bound for, because the alternate exchange takes it.
    fn check_route(&self, routing_key: &str) -> Result<(), String> {
        let Some(worker) = topology::taken_by(routing_key) else {
            return Err("no worker takes its routing key: it would come back to saldo.unroutable".to_owned());
        };
        match &self.routes {
            Some(routes) if !routes.lead_to(worker, routing_key) => Err(format!(
                "{} is not bound to saldo.commands for its routing key, so that it would come back to saldo.unroutable; \
                 run `saldo topology apply`, then this again",
                topology::queue(worker)
            )),
            _ => Ok(()),
        }
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
    /// What the ledger has of it already.
    known: Option<String>,
}

impl Plan {
    /// What a worker would make of it is asked here first, so that nothing goes round in circles.
    fn of(letter: &Letter, command: &Understood, operator: &str, as_myself: bool) -> Result<Self, String> {
        let asked = &command.routing_key;
        let delivered = match (&letter.routing_key, letter.origin) {
            (Some(key), _) => key,
            (None, Origin::Broker) => asked,
            (None, _) => {
                return Err(
                    "it was not published to saldo.commands, so that nobody has asked whether its publisher may".to_owned()
                );
            }
        };
        if delivered != asked {
            return Err(format!(
                "it was published with another routing key than its body asks for: publish it anew under {asked}, then \
                 discard this letter"
            ));
        }
        let by_its_body = letter.routing_key.is_none();
        if by_its_body && !as_myself {
            return Err(format!(
                "the broker gave it up, and nobody knows with which routing key it was published; --as-myself \
                 publishes it as {operator}'s own, with {asked}"
            ));
        }
        let needs_another = command.needs_user && letter.user.as_deref() != Some(operator);
        if needs_another && !as_myself {
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
        Ok(Self {
            routing_key: delivered.clone(),
            by_its_body,
            as_myself: by_its_body || needs_another,
            known: None,
        })
    }

    /// What there is to say of it, to the operator and in what is recorded.
    fn note(&self) -> Option<String> {
        let notes = [
            self.as_myself.then_some("as the operator's own command"),
            self.by_its_body
                .then_some("with the routing key that its body asks for; which one it had is not known"),
            self.known.as_deref(),
        ];
        let notes: Vec<&str> = notes.into_iter().flatten().collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

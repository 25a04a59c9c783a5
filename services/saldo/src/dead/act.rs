//! What replaying and discarding have in common: the letters one by one, at a rate, each deed recorded first, and a line
//! for what became of each.

use std::io;
use std::num::NonZeroU32;

use contract::Actor;
use ledger::deed::{self, Deed, DeedKind};
use serde::Serialize;
use sqlx::PgConnection;
use worker::dead::Letter;

use super::Error;
use super::find::{Chosen, Look, SHORT, Subject};
use crate::output::Output;
use crate::{Done, Status, number};

// Which letters, who does it, and how. Not for clap, which would tell it as what the command is for.
#[derive(Debug, clap::Args)]
pub(super) struct Acting {
    #[command(flatten)]
    pub(super) chosen: Chosen,
    /// Who does it
    #[arg(long, value_name = "NAME")]
    pub(super) actor: Actor,
    /// At most so many a second
    #[arg(long, value_name = "N", default_value = "100", value_parser = number::count)]
    pub(super) rate: NonZeroU32,
    /// Change nothing; say what would be done
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Replaying, or discarding.
pub(super) trait Act {
    /// Which of them.
    const KIND: DeedKind;

    fn acting(&self) -> &Acting;

    /// Deals with one letter, by its place.
    ///
    /// # Errors
    /// Nothing can be done any more, with this letter or any other.
    async fn one(&mut self, look: &mut Look, place: (usize, usize)) -> Result<Report, Error>;
}

/// Deals with all letters that were chosen, tells what became of each, and returns the rest to their queues.
pub(super) async fn all<A: Act>(mut act: A, mut look: Look, output: &mut Output) -> Done {
    let done = each(&mut act, &mut look, output).await;
    let status = look.close(output).await;
    Ok(if done? == Status::Good { status } else { Status::Bad })
}

async fn each<A: Act>(act: &mut A, look: &mut Look, output: &mut Output) -> Done {
    let mut status = Status::Good;
    for place in std::mem::take(&mut look.chosen) {
        if look.is_over(output) {
            break;
        }
        let report = act.one(look, place).await?;
        report.tell(act.acting().json, A::KIND, output)?;
        if report.is_bad() {
            status = Status::Bad;
        }
    }
    Ok(status)
}

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Fate {
    Replayed,
    Discarded,
    /// It would be done without `--dry-run`.
    Possible,
    /// It must not be done: the letter stays.
    Refused,
    /// It was to be done and was not, or not wholly.
    Failed,
}

/// A letter's line. The order of the fields is the order of the JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) letter: String,
    pub(super) queue: String,
    pub(super) outcome: Fate,
    /// With which it was published.
    pub(super) routing_key: Option<String>,
    /// The number of what was recorded.
    pub(super) deed: Option<i64>,
    /// Why not; or what else there is to say.
    pub(super) detail: Option<String>,
}

impl Report {
    pub(super) fn of(letter: &Letter, outcome: Fate, detail: impl Into<Option<String>>) -> Self {
        Self {
            letter: letter.id.to_string(),
            queue: letter.queue.clone(),
            outcome,
            routing_key: None,
            deed: None,
            detail: detail.into(),
        }
    }

    fn is_bad(&self) -> bool {
        matches!(self.outcome, Fate::Refused | Fate::Failed)
    }

    /// Results go to standard output, what a person has to look at goes to standard error.
    fn tell(&self, json: bool, what: DeedKind, output: &mut Output) -> io::Result<()> {
        if json {
            return output.json(self);
        }
        let name = &self.letter[..SHORT];
        let key = self.routing_key.as_ref().map(|key| format!(" as {key}")).unwrap_or_default();
        let detail = self.detail.as_deref().unwrap_or_default();
        let and = if detail.is_empty() { "" } else { ": " };
        match self.outcome {
            Fate::Replayed => output.line(visible(format_args!("{name} replayed{key}{and}{detail}"))),
            Fate::Discarded => output.line(visible(format_args!("{name} discarded{and}{detail}"))),
            Fate::Possible if what == DeedKind::Replay => {
                output.line(visible(format_args!("{name} would be replayed{key}{and}{detail}")))
            }
            Fate::Possible => output.line(visible(format_args!("{name} would be discarded{and}{detail}"))),
            Fate::Refused | Fate::Failed => {
                output.message(visible(format_args!("{name} in {} stays: {detail}", self.queue)));
                Ok(())
            }
        }
    }
}

fn visible(text: std::fmt::Arguments<'_>) -> String {
    crate::report::visible(&text.to_string())
}

/// Writes down what is about to be done to a letter.
///
/// # Errors
/// The database's: then it must not be done.
pub(super) async fn record(
    ledger: &mut PgConnection,
    kind: DeedKind,
    actor: &Actor,
    letter: &Letter,
    subject: &Subject,
    particulars: Particulars<'_>,
) -> Result<i64, sqlx::Error> {
    let guessable = letter.may_hold_secrets() || letter.withheld || !letter.is_whole();
    let deed = Deed {
        actor,
        kind,
        queue: &letter.queue,
        letter: letter.id.0,
        reason: letter.dead.reason.as_deref(),
        name: subject.name.as_deref(),
        merchant: subject.merchant.as_deref(),
        source: subject.source.as_deref(),
        command_id: subject.id.as_deref(),
        routing_key: particulars.routing_key.or(letter.routing_key.as_deref()),
        fingerprint: (!guessable).then(|| deed::fingerprint(&letter.dead.body)),
        user: particulars.user,
        note: particulars.note,
    };
    deed::record(ledger, &deed).await
}

/// What a deed has that its letter does not tell.
#[derive(Debug, Default)]
pub(super) struct Particulars<'a> {
    pub(super) routing_key: Option<&'a str>,
    pub(super) user: Option<&'a str>,
    pub(super) note: Option<&'a str>,
}

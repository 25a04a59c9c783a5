//! What replaying and discarding have in common: the letters one by one, at a rate, each deed recorded first, and a line
//! for what became of each.

use std::io;

use contract::Actor;
use ledger::deed::{self, Deed, DeedKind};
use serde::Serialize;
use sqlx::PgConnection;
use worker::dead::Letter;

use super::find::{SHORT, Subject};
use crate::output::Output;

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
pub(super) struct Outcome {
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

impl Outcome {
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

    pub(super) fn is_bad(&self) -> bool {
        matches!(self.outcome, Fate::Refused | Fate::Failed)
    }

    /// Results go to standard output, what a person has to look at goes to standard error.
    pub(super) fn tell(&self, json: bool, what: DeedKind, output: &mut Output) -> io::Result<()> {
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

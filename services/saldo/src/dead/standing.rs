//! What the inbox has of a letter's command. It is asked before anything is done with the letter.

use contract::{Event, Malformed, MalformedReason, Timestamp};
use ledger::read::{self, Outcome};
use ledger::vault::Vault;
use serde_json::Value;
use sqlx::PgConnection;

use crate::lines::Understood;

/// What became of a command.
#[derive(Debug)]
pub(super) enum Standing {
    /// It was decided, and this is what it caused.
    Decided(Vec<Event>),
    /// It waits, until then at the latest.
    Parked(Timestamp),
    /// Its key was used with other content: it will never be applied.
    OtherContent,
    /// Its key was used, and only with the keys for payout details could be told whether with this content.
    Incomparable,
    /// Its key was never used.
    Unknown,
}

impl Standing {
    /// # Errors
    /// The database's.
    pub(super) async fn of(
        ledger: &mut PgConnection,
        command: &Understood,
        vault: Option<&Vault>,
    ) -> Result<Self, sqlx::Error> {
        let (content, standing) = match read::outcome(ledger, &command.key).await? {
            Outcome::Decided { content, events } => (content, Self::Decided(events)),
            Outcome::Parked { content, deadline, .. } => (content, Self::Parked(deadline)),
            Outcome::Unknown => return Ok(Self::Unknown),
        };
        let is_same = match vault {
            _ if !command.is_secret => content == command.content,
            Some(vault) => vault.is_fingerprint(content, command.content),
            None => return Ok(Self::Incomparable),
        };
        Ok(if is_same { standing } else { Self::OtherContent })
    }

    /// In words, for the operator and for what is recorded of a deed.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Decided(events) => {
                let at = events.first().and_then(time).map(|time| format!(" at {time}")).unwrap_or_default();
                format!("it was decided{at}: its events are told once more")
            }
            Self::Parked(deadline) => {
                format!(
                    "it is parked, and will be decided without this letter, until {deadline} at the latest"
                )
            }
            Self::OtherContent => "its key was used with other content".to_owned(),
            Self::Incomparable => {
                "its key was used, and whether by this command can be told with payout.keys only".to_owned()
            }
            Self::Unknown => "it was never decided".to_owned(),
        }
    }
}

/// When its command was decided.
fn time(event: &Event) -> Option<String> {
    let event: Value = serde_json::from_str(&event.body).ok()?;
    event["time"].as_str().map(str::to_owned)
}

/// That no worker of this release decides what it cannot read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Undecidable {
    /// Why, in words that follow "it".
    pub(super) finding: String,
    /// What helps whoever wants it decided.
    pub(super) advice: &'static str,
}

impl Undecidable {
    pub(super) fn of(malformed: &Malformed) -> Self {
        match malformed.reason {
            MalformedReason::UnknownType => Self {
                finding: "is of a type that no worker of this release knows".to_owned(),
                advice: "wait for newer workers and a newer saldo, or publish it with the right type",
            },
            _ => Self {
                finding: format!("can never be decided ({malformed})"),
                advice: "publish a better one",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_when_a_command_was_decided() {
        let event = |body: &str| Event {
            name: "commission.credited".to_owned(),
            routing_key: "acme.commission.credited".to_owned(),
            id: "e".to_owned(),
            body: body.into(),
        };
        let decided = |body: &str| Standing::Decided(vec![event(body)]).words();
        assert_eq!(
            decided(r#"{"time":"2026-11-22T10:00:00Z"}"#),
            "it was decided at 2026-11-22T10:00:00Z: its events are told once more"
        );
        assert_eq!(decided("{}"), "it was decided: its events are told once more");
        assert_eq!(Standing::Decided(Vec::new()).words(), "it was decided: its events are told once more");
    }

    #[test]
    fn what_is_wrong_with_a_command_is_told_without_what_helps_it() {
        let Err(malformed) = crate::lines::understand(b"no JSON") else { panic!("it is understood") };
        let Undecidable { finding, advice } = Undecidable::of(&malformed);
        assert!(finding.starts_with("can never be decided (not-json: "), "{finding}");
        assert!(finding.ends_with(')'), "{finding}");
        assert_eq!(advice, "publish a better one");
    }
}

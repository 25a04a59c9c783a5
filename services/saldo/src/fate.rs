//! What became of a command, in the words of the reports.

use contract::{Event, Timestamp};
use ledger::Awaited;
use serde::Serialize;
use worker::submit::Submission;
use worker::watch::{DeadLetter, Told};

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fate {
    /// What the command's event says (`credited`, `held`, `reversed`, `refused` …), or `parked`, `dead-lettered`,
    /// `undecided`.
    pub(crate) outcome: String,
    /// Why, for programs.
    pub(crate) reason: Option<String>,
    /// Why, for people.
    pub(crate) detail: Option<String>,
}

/// Events that tell what happened later to a command that was decided before. Of a command's several events the
/// first one tells how it was decided, such as `requested` of a withdrawal that is also approved at once: whoever
/// watches sees that one first, and must not have to wait whether there is another.
const LATER: [&str; 1] = ["commission.matured"];

impl Fate {
    pub(crate) const DEAD_LETTERED: &'static str = "dead-lettered";
    pub(crate) const PARKED: &'static str = "parked";
    pub(crate) const REFUSED: &'static str = "refused";
    pub(crate) const UNDECIDED: &'static str = "undecided";

    pub(crate) fn undecided(reason: Option<&str>, detail: impl Into<String>) -> Self {
        Self {
            outcome: Self::UNDECIDED.to_owned(),
            reason: reason.map(str::to_owned),
            detail: Some(detail.into()),
        }
    }

    /// `None` if the event does not tell how its command was decided.
    pub(crate) fn of_event(told: Told) -> Option<Self> {
        if LATER.contains(&told.name.as_str()) {
            return None;
        }
        let outcome = told.name.rsplit('.').next().unwrap_or_default().to_owned();
        Some(Self { outcome, reason: told.reason, detail: told.message })
    }

    pub(crate) fn of_events(events: &[Event]) -> Option<Self> {
        events.iter().filter_map(|event| Told::read(event.body.as_bytes())).find_map(Self::of_event)
    }

    pub(crate) fn of_dead_letter(letter: DeadLetter) -> Self {
        Self { outcome: Self::DEAD_LETTERED.to_owned(), reason: letter.reason, detail: letter.detail }
    }

    pub(crate) fn parked(awaiting: &Awaited, deadline: Timestamp) -> Self {
        let what = match awaiting {
            Awaited::Command(_) => "the command that it names".to_owned(),
            Awaited::Merchant(merchant) => format!("the merchant {merchant} to be registered"),
            Awaited::Customer(_, customer) => format!("the customer {customer} to be known"),
        };
        Self {
            outcome: Self::PARKED.to_owned(),
            reason: None,
            detail: Some(format!("Waits for {what}, until {deadline} at the latest.")),
        }
    }

    /// The alternate exchange took it.
    pub(crate) fn unroutable() -> Self {
        Self::undecided(
            Some("unroutable"),
            "No worker's queue takes its routing key; it is in saldo.unroutable.",
        )
    }

    /// What a line comes to that no queue has; `None` if one has it.
    pub(crate) fn of_submission(submission: &Submission) -> Option<Self> {
        match submission {
            Submission::Confirmed => None,
            Submission::Full => {
                Some(Self::undecided(Some("queue-full"), "The queue is full or not available."))
            }
            Submission::Unroutable => Some(Self::unroutable()),
            Submission::Forbidden(words) => Some(Self::undecided(Some("forbidden"), words.clone())),
        }
    }

    /// Whether nothing is known, and nothing is going to be.
    pub(crate) fn is_undecided(&self) -> bool {
        self.outcome == Self::UNDECIDED
    }

    /// Whether somebody has to look at it.
    pub(crate) fn is_bad(&self) -> bool {
        [Self::UNDECIDED, Self::REFUSED, Self::DEAD_LETTERED].contains(&self.outcome.as_str())
    }
}

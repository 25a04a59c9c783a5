//! Why a message can never be decided.

use std::borrow::Cow;
use std::fmt;

use serde_path_to_error::Segment;

/// The class of a malformed message, written to the dead letter as `saldo-reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MalformedReason {
    /// Not JSON or not UTF-8.
    NotJson,
    /// JSON, but not a `CloudEvents` 1.0 message as the contract wants it.
    NotCloudEvents,
    /// A type that this worker has no command for.
    UnknownType,
    /// A field of `data` is missing, unknown or has an unacceptable value.
    InvalidData,
    /// More bytes than [`crate::MAX_MESSAGE_BYTES`].
    TooLarge,
    /// An AMQP property that commands must (content type, of some the user) or must not (expiration, CC) have.
    InvalidProperties,
    /// The delivered routing key is not `<merchant>.<type without version>` of the body.
    RoutingKeyMismatch,
    /// The key was used before, with other content.
    IdempotencyConflict,
    /// Well-formed, and yet it alone makes the ledger panic or the database refuse.
    Culprit,
}

impl MalformedReason {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::NotJson,
        Self::NotCloudEvents,
        Self::UnknownType,
        Self::InvalidData,
        Self::TooLarge,
        Self::InvalidProperties,
        Self::RoutingKeyMismatch,
        Self::IdempotencyConflict,
        Self::Culprit,
    ];

    /// The code in the dead letter's header.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::NotCloudEvents => "not-cloudevents",
            Self::UnknownType => "unknown-type",
            Self::InvalidData => "invalid-data",
            Self::TooLarge => "too-large",
            Self::InvalidProperties => "invalid-properties",
            Self::RoutingKeyMismatch => "routing-key-mismatch",
            Self::IdempotencyConflict => "idempotency-conflict",
            Self::Culprit => "culprit",
        }
    }
}

/// A message that can never be decided, and a sentence a person understands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.code())]
pub struct Malformed {
    /// The class.
    pub reason: MalformedReason,
    /// Field, problem and what would be accepted; at most [`Malformed::MAX_DETAIL`] characters, all of them
    /// visible, and never a value from the message, nor a field's name that no field could have.
    pub detail: String,
}

impl Malformed {
    /// Longer details lose their middle: an AMQP header is no place for a book, and the end says what would
    /// be accepted.
    pub const MAX_DETAIL: usize = 400;

    /// A malformed message of this class. What nobody could see in `detail` (control and format characters,
    /// line separators) is replaced.
    pub fn new(reason: MalformedReason, detail: impl fmt::Display) -> Self {
        let visible = |c: char| matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1;
        let mut detail: Vec<char> = detail
            .to_string()
            .chars()
            .map(|c| if visible(c) { c } else { char::REPLACEMENT_CHARACTER })
            .collect();
        if let Some(surplus) = detail.len().checked_sub(Self::MAX_DETAIL).filter(|surplus| *surplus > 0) {
            let half = Self::MAX_DETAIL / 2;
            detail.splice(half..=half + surplus, ['…']);
        }
        Self { reason, detail: detail.into_iter().collect() }
    }

    /// What serde found wrong, with the path to the field in front. `root` is where the document is in the
    /// message: `data`, or nothing where it is the message.
    pub(crate) fn from_json(
        reason: MalformedReason,
        root: &str,
        error: &serde_path_to_error::Error<serde_json::Error>,
    ) -> Self {
        let inner = error.inner();
        let text = inner.to_string();
        let position = format!(" at line {} column {}", inner.line(), inner.column());
        let problem = text.strip_suffix(&position).unwrap_or(&text);
        let problem = hide_unknown_field(problem);
        let mut path = String::new();
        for segment in error.path() {
            match segment {
                Segment::Seq { .. } => {}
                Segment::Map { .. } | Segment::Enum { .. } | Segment::Unknown if path.is_empty() => {}
                Segment::Map { .. } | Segment::Enum { .. } | Segment::Unknown => path.push('.'),
            }
            match segment {
                Segment::Map { key } if !may_be_a_name(key) => path.push_str(HIDDEN),
                shown => path.push_str(&shown.to_string()),
            }
        }
        let path = match (root, path.as_str()) {
            ("", "" | "?") => "the body".to_owned(),
            (root, "" | "?") => root.to_owned(),
            ("", path) => path.to_owned(),
            (root, path) => format!("{root}.{path}"),
        };
        Self::new(reason, format_args!("{path}: {problem}"))
    }
}

/// Stands for the name of a field that may be something else in a name's place, such as an account's number.
const HIDDEN: &str = "…";

/// Longer than any field's name; some are misspelt.
const MAX_NAME: usize = 40;

/// More digits are a number, and no part of a name: the most are in locales such as `es-419`.
const MAX_DIGITS: usize = 3;

/// Whether this can be shown as a field's name. The publisher chose it, and may have put a value in its place.
fn may_be_a_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-:$".contains(&byte))
        && name.bytes().filter(u8::is_ascii_digit).count() <= MAX_DIGITS
}

/// `serde`'s words for a field that there is not repeat its name.
fn hide_unknown_field(problem: &str) -> Cow<'_, str> {
    let rest = problem.strip_prefix("unknown field `");
    // The names that follow are the contract's: the last of these is serde's own, whatever the publisher's name holds.
    match rest.and_then(|rest| rest.rsplit_once("`, expected ")) {
        Some((name, expected)) if !may_be_a_name(name) => {
            format!("unknown field `{HIDDEN}`, expected {expected}").into()
        }
        _ => problem.into(),
    }
}

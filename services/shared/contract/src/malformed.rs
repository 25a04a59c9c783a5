//! Why a message can never be decided.

use std::fmt;

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
    /// visible, and never a value from the message. A field's name may be the publisher's.
    pub detail: String,
}

impl Malformed {
    /// Longer details lose their middle: an AMQP header is no place for a book, and the end says what would
    /// be accepted.
    pub const MAX_DETAIL: usize = 400;

    /// Longer paths, which only an unknown field's name can make, lose their end: what is wrong has to be seen.
    const MAX_PATH: usize = 80;

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
        let mut path = error.path().to_string();
        if let Some((cut, _)) = path.char_indices().nth(Self::MAX_PATH) {
            path.truncate(cut);
            path.push('…');
        }
        let path = match (root, path.as_str()) {
            ("", "." | "?") => "the body".to_owned(),
            (root, "." | "?") => root.to_owned(),
            ("", path) => path.to_owned(),
            (root, path) => format!("{root}.{path}"),
        };
        Self::new(reason, format_args!("{path}: {problem}"))
    }
}

//! Why a message can never be decided.

use std::fmt;

/// The class of a malformed message, written to the dead letter as `saldo-reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MalformedReason {
    /// Not JSON, not UTF-8, or nested too deeply.
    NotJson,
    /// JSON, but not a `CloudEvents` 1.0 message as the contract wants it.
    NotCloudEvents,
    /// A type that this worker has no command for.
    UnknownType,
    /// A field of `data` is missing, unknown or has an unacceptable value.
    InvalidData,
    /// More bytes than [`crate::MAX_MESSAGE_BYTES`].
    TooLarge,
    /// An AMQP property that commands must (content type) or must not (expiration, CC) have.
    InvalidProperties,
    /// The delivered routing key is not `<merchant>.<type without version>` of the body.
    RoutingKeyMismatch,
    /// The key was used before, with other content.
    IdempotencyConflict,
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
        }
    }
}

/// A message that can never be decided, and a sentence a person understands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.code())]
pub struct Malformed {
    /// The class.
    pub reason: MalformedReason,
    /// Field, problem and what would be accepted; at most [`Malformed::MAX_DETAIL`] characters, none of
    /// them a control character, and never a value from the message.
    pub detail: String,
}

impl Malformed {
    /// Longer details are cut, and say so: an AMQP header is no place for a book.
    pub const MAX_DETAIL: usize = 400;

    /// A malformed message of this class.
    pub fn new(reason: MalformedReason, detail: impl fmt::Display) -> Self {
        let mut detail: String =
            detail.to_string().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        if let Some((cut, _)) = detail.char_indices().nth(Self::MAX_DETAIL) {
            detail.truncate(cut);
            detail.push('…');
        }
        Self { reason, detail }
    }

    /// What serde found wrong, with the path to the field in front.
    pub(crate) fn from_json(
        reason: MalformedReason,
        root: &str,
        error: &serde_path_to_error::Error<serde_json::Error>,
    ) -> Self {
        let inner = error.inner();
        let position = format!(" at line {} column {}", inner.line(), inner.column());
        let text = inner.to_string();
        let text = text.strip_suffix(&position).unwrap_or(&text);
        let path = error.path().to_string();
        let path = match (root, path.as_str()) {
            (root, ".") => root.to_owned(),
            ("", path) => path.to_owned(),
            (root, path) => format!("{root}.{path}"),
        };
        if path.is_empty() { Self::new(reason, text) } else { Self::new(reason, format!("{path}: {text}")) }
    }
}

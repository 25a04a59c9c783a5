use contract::notification::{Audience, CAUSE, FailureReason, NotificationFailed, WORKER};
use contract::{CommandKey, Email, MailKind, WithdrawalId};

use super::{Composed, Invalid, TRACE, composed, key, merchant};

/// The second time that this mail was given up.
fn cause() -> CommandKey {
    key(CAUSE, "318-2")
}

fn masked(email: &str) -> String {
    email.parse::<Email>().unwrap().masked()
}

fn withdrawal(id: &str) -> WithdrawalId {
    WithdrawalId(key("/shop/acme", id).hash())
}

fn refused() -> NotificationFailed {
    NotificationFailed {
        merchant: merchant(),
        mail: 318,
        kind: MailKind::CustomerPaid,
        audience: Audience::Customer,
        recipient: masked("erika@mustermann.example"),
        withdrawals: vec![withdrawal("withdrawal-77")],
        reason: FailureReason::Refused,
        status: Some(550),
        attempts: 2,
    }
}

fn given_up() -> NotificationFailed {
    NotificationFailed {
        mail: 319,
        kind: MailKind::AdminDigest,
        audience: Audience::Admin,
        recipient: masked("accounting@acme.example"),
        withdrawals: vec![withdrawal("withdrawal-77"), withdrawal("withdrawal-78")],
        reason: FailureReason::Expired,
        status: None,
        attempts: 41,
        ..refused()
    }
}

/// A mail that no server ever took or refused.
pub(super) fn expired() -> Composed {
    composed(WORKER, &key(CAUSE, "319-1"), None, &given_up())
}

pub(super) fn complete() -> Vec<Composed> {
    vec![composed(WORKER, &cause(), TRACE, &refused())]
}

pub(super) fn minimal() -> Vec<Composed> {
    vec![expired()]
}

pub(super) const INVALID: &[Invalid] = &[
    ("notification.failed.v1", "invalid-audience-unknown", "/data/audience"),
    ("notification.failed.v1", "invalid-kind-underscore", "/data/kind"),
    ("notification.failed.v1", "invalid-mail-string", "/data/mail"),
    ("notification.failed.v1", "invalid-reason-unknown", "/data/reason"),
    ("notification.failed.v1", "invalid-status-null", "/data/status"),
    ("notification.failed.v1", "invalid-status-out-of-range", "/data/status"),
    ("notification.failed.v1", "invalid-withdrawals-string", "/data/withdrawals"),
    ("notification.failed.v1", "invalid-without-recipient", "/data"),
];

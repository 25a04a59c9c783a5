use contract::withdrawal::{
    MaskedPayout, WORKER, WithdrawalApproved, WithdrawalCancelled, WithdrawalFacts, WithdrawalPaid,
    WithdrawalRefused, WithdrawalRejected, WithdrawalRequested,
};
use contract::{CommandKey, PayoutKind, ReasonCode, WithdrawalId, WithdrawalState};

use super::{Composed, Invalid, TRACE, account, composed, customer, entry, eur, euros, key, merchant};

fn request() -> CommandKey {
    key("/shop/acme", "withdrawal-77")
}

fn cause(id: &str) -> CommandKey {
    key("/admin/acme", id)
}

fn facts(state: WithdrawalState) -> WithdrawalFacts {
    WithdrawalFacts {
        merchant: merchant(),
        customer: customer(),
        withdrawal: WithdrawalId(request().hash()),
        request: request().reference(),
        amount: euros("50"),
        currency: eur(),
        state,
        payout: MaskedPayout {
            kind: PayoutKind::BankAccount, masked: "DE** **** … 3000".into(), version: 2
        },
    }
}

fn requested() -> WithdrawalRequested {
    WithdrawalRequested {
        facts: facts(WithdrawalState::Requested),
        minimum: Some(euros("50")),
        note: Some("For Christmas".parse().unwrap()),
        account: account("62.5", "50", "0", 6),
    }
}

fn approved() -> WithdrawalApproved {
    WithdrawalApproved {
        facts: facts(WithdrawalState::Approved),
        actor: Some("maria".parse().unwrap()),
        user: Some("acme-admin".parse().unwrap()),
        note: Some("Identity is known".parse().unwrap()),
        account: account("62.5", "50", "0", 7),
    }
}

fn paid() -> WithdrawalPaid {
    WithdrawalPaid {
        facts: facts(WithdrawalState::Paid),
        actor: "maria".parse().unwrap(),
        user: Some("acme-admin".parse().unwrap()),
        payment_reference: Some("SEPA-2026-11-22-0042".parse().unwrap()),
        note: Some("Paid with the weekly run".parse().unwrap()),
        entry: entry(6, "withdrawal", "payouts", "-50", "12.5"),
        account: account("12.5", "0", "0", 8),
    }
}

fn rejected() -> WithdrawalRejected {
    WithdrawalRejected {
        facts: facts(WithdrawalState::Rejected),
        actor: "maria".parse().unwrap(),
        user: Some("acme-admin".parse().unwrap()),
        reason: "The account is not the customer's".parse().unwrap(),
        account: account("62.5", "0", "0", 8),
    }
}

fn cancelled() -> WithdrawalCancelled {
    WithdrawalCancelled {
        facts: facts(WithdrawalState::Cancelled),
        reason: Some("I would rather spend it here".parse().unwrap()),
        account: account("62.5", "0", "0", 8),
    }
}

fn refused() -> WithdrawalRefused {
    WithdrawalRefused {
        merchant: merchant(),
        command: "withdrawal.pay",
        reason: ReasonCode::InvalidTransition,
        message: "the withdrawal is cancelled, and only a requested or approved one can be paid".into(),
        customer: Some(customer()),
        withdrawal: Some(WithdrawalId(request().hash())),
        account: Some(account("62.5", "0", "0", 8)),
    }
}

pub(super) fn complete() -> Vec<Composed> {
    vec![
        composed(WORKER, &request(), TRACE, &requested()),
        composed(WORKER, &cause("withdrawal-77-approve"), TRACE, &approved()),
        composed(WORKER, &cause("withdrawal-77-pay"), TRACE, &paid()),
        composed(WORKER, &cause("withdrawal-77-reject"), TRACE, &rejected()),
        composed(WORKER, &key("/shop/acme", "withdrawal-77-cancel"), TRACE, &cancelled()),
        composed(WORKER, &cause("withdrawal-77-pay"), TRACE, &refused()),
    ]
}

pub(super) fn minimal() -> Vec<Composed> {
    let (mut requested, mut approved, mut paid, mut rejected) = (requested(), approved(), paid(), rejected());
    let (mut cancelled, mut refused) = (cancelled(), refused());
    (requested.minimum, requested.note, approved.actor, approved.user) = (None, None, None, None);
    (approved.note, paid.user, paid.payment_reference, paid.note) = (None, None, None, None);
    (rejected.user, cancelled.reason) = (None, None);
    (refused.customer, refused.withdrawal, refused.account) = (None, None, None);
    let cause = cause("a");
    vec![
        composed(WORKER, &cause, None, &requested),
        composed(WORKER, &cause, None, &approved),
        composed(WORKER, &cause, None, &paid),
        composed(WORKER, &cause, None, &rejected),
        composed(WORKER, &cause, None, &cancelled),
        composed(WORKER, &cause, None, &refused),
    ]
}

pub(super) const INVALID: &[Invalid] = &[
    ("withdrawal.requested.v1", "invalid-minimum-number", "/data/minimum"),
    ("withdrawal.requested.v1", "invalid-payout-kind", "/data/payout/kind"),
    ("withdrawal.requested.v1", "invalid-payout-without-version", "/data/payout"),
    ("withdrawal.requested.v1", "invalid-state", "/data/state"),
    ("withdrawal.requested.v1", "invalid-without-request", "/data"),
    ("withdrawal.approved.v1", "invalid-actor-null", "/data/actor"),
    ("withdrawal.approved.v1", "invalid-held-exponent", "/data/account/held"),
    ("withdrawal.approved.v1", "invalid-withdrawal-capitals", "/data/withdrawal"),
    ("withdrawal.approved.v1", "invalid-without-payout", "/data"),
    ("withdrawal.paid.v1", "invalid-entry-null", "/data/entry"),
    ("withdrawal.paid.v1", "invalid-payment-reference-empty", "/data/payment_reference"),
    ("withdrawal.paid.v1", "invalid-without-actor", "/data"),
    ("withdrawal.paid.v1", "invalid-without-entry", "/data"),
    ("withdrawal.rejected.v1", "invalid-request-string", "/data/request"),
    ("withdrawal.rejected.v1", "invalid-user-empty", "/data/user"),
    ("withdrawal.rejected.v1", "invalid-without-account", "/data"),
    ("withdrawal.rejected.v1", "invalid-without-reason", "/data"),
    ("withdrawal.cancelled.v1", "invalid-id", "/id"),
    ("withdrawal.cancelled.v1", "invalid-reason-null", "/data/reason"),
    ("withdrawal.cancelled.v1", "invalid-without-cause", ""),
    ("withdrawal.cancelled.v1", "invalid-without-state", "/data"),
    ("withdrawal.refused.v1", "invalid-reason-capital", "/data/reason"),
    ("withdrawal.refused.v1", "invalid-traceparent", "/traceparent"),
    ("withdrawal.refused.v1", "invalid-withdrawal-object", "/data/withdrawal"),
    ("withdrawal.refused.v1", "invalid-without-message", "/data"),
];

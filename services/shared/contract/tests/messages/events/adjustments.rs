use contract::adjustment::{
    AdjustmentCredited, AdjustmentDebited, AdjustmentPosted, AdjustmentRefused, AdjustmentReversed, WORKER,
};
use contract::{CommandKey, EntryId, PostedEntry, ReasonCode};

use super::{Composed, Invalid, TRACE, account, composed, customer, entry, eur, euros, key, merchant};

fn cause(id: &str) -> CommandKey {
    key("/admin/acme", id)
}

fn posted(number: i64, kind: &'static str, amount: &str, balance_after: &str) -> PostedEntry {
    entry(number, kind, "adjustments", amount, balance_after)
}

fn credited() -> AdjustmentPosted {
    AdjustmentPosted {
        merchant: merchant(),
        customer: customer(),
        amount: euros("25"),
        currency: eur(),
        description: "Goodwill for a late parcel".parse().unwrap(),
        actor: "maria".parse().unwrap(),
        user: Some("acme-admin".parse().unwrap()),
        reference: Some("V-2026-118".parse().unwrap()),
        entry: posted(3, "adjustment", "25", "37.5"),
        account: account("37.5", "0", "0", 3),
    }
}

fn debited() -> AdjustmentPosted {
    AdjustmentPosted {
        amount: euros("10"),
        description: "Spent at the counter".parse().unwrap(),
        reference: Some("R-4711".parse().unwrap()),
        entry: posted(4, "adjustment", "-10", "27.5"),
        account: account("27.5", "0", "0", 4),
        ..credited()
    }
}

fn reversed() -> AdjustmentReversed {
    AdjustmentReversed {
        merchant: merchant(),
        customer: customer(),
        reversed: EntryId { account: 1042, number: 3 },
        amount: euros("25"),
        currency: eur(),
        reason: "The parcel was on time after all".parse().unwrap(),
        actor: "maria".parse().unwrap(),
        user: Some("acme-admin".parse().unwrap()),
        entry: posted(5, "adjustment-reversal", "-25", "2.5"),
        account: account("2.5", "0", "0", 5),
    }
}

fn refused() -> AdjustmentRefused {
    AdjustmentRefused {
        merchant: merchant(),
        command: "adjustment.reverse",
        reason: ReasonCode::AlreadyReversed,
        message: "the adjustment was taken back before".into(),
        customer: Some(customer()),
        account: Some(account("2.5", "0", "0", 5)),
    }
}

pub(super) fn complete() -> Vec<Composed> {
    vec![
        composed(WORKER, &cause("adjustment-118"), TRACE, &AdjustmentCredited(credited())),
        composed(WORKER, &cause("adjustment-119"), TRACE, &AdjustmentDebited(debited())),
        composed(WORKER, &cause("adjustment-120"), TRACE, &reversed()),
        composed(WORKER, &cause("adjustment-121"), TRACE, &refused()),
    ]
}

pub(super) fn minimal() -> Vec<Composed> {
    let (mut credited, mut debited, mut reversed, mut refused) =
        (credited(), debited(), reversed(), refused());
    (credited.user, credited.reference, debited.user, debited.reference) = (None, None, None, None);
    (reversed.user, refused.customer, refused.account) = (None, None, None);
    let cause = cause("a");
    vec![
        composed(WORKER, &cause, None, &AdjustmentCredited(credited)),
        composed(WORKER, &cause, None, &AdjustmentDebited(debited)),
        composed(WORKER, &cause, None, &reversed),
        composed(WORKER, &cause, None, &refused),
    ]
}

pub(super) const INVALID: &[Invalid] = &[
    ("adjustment.credited.v1", "invalid-account-without-version", "/data/account"),
    ("adjustment.credited.v1", "invalid-amount-number", "/data/amount"),
    ("adjustment.credited.v1", "invalid-user-null", "/data/user"),
    ("adjustment.credited.v1", "invalid-without-actor", "/data"),
    ("adjustment.debited.v1", "invalid-amount-plus-sign", "/data/amount"),
    ("adjustment.debited.v1", "invalid-description-empty", "/data/description"),
    ("adjustment.debited.v1", "invalid-type", "/type"),
    ("adjustment.debited.v1", "invalid-without-entry", "/data"),
    ("adjustment.reversed.v1", "invalid-entry-id", "/data/entry/id"),
    ("adjustment.reversed.v1", "invalid-reversed-leading-zero", "/data/reversed"),
    ("adjustment.reversed.v1", "invalid-reversed-object", "/data/reversed"),
    ("adjustment.reversed.v1", "invalid-without-reason", "/data"),
    ("adjustment.refused.v1", "invalid-customer-null", "/data/customer"),
    ("adjustment.refused.v1", "invalid-foreign-source", "/source"),
    ("adjustment.refused.v1", "invalid-reason-unknown", "/data/reason"),
    ("adjustment.refused.v1", "invalid-without-command", "/data"),
];

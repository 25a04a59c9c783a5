use contract::commission::{
    CommissionCredited, CommissionHeld, CommissionMatured, CommissionRefused, CommissionReversed, WORKER,
};
use contract::{CommandKey, PostedEntry, ReasonCode, Reference};

use super::{Composed, Invalid, TRACE, account, at, composed, customer, entry, eur, euros, key, merchant};

fn cause(id: &str) -> CommandKey {
    key("/affiliates/eu", id)
}

fn commission() -> Reference {
    cause("order-9001-level-1").reference()
}

fn posted(number: i64, kind: &'static str, amount: &str, balance_after: &str) -> PostedEntry {
    entry(number, kind, "commissions", amount, balance_after)
}

fn credited() -> CommissionCredited {
    CommissionCredited {
        merchant: merchant(),
        customer: customer(),
        commission: commission(),
        amount: euros("12.5"),
        currency: eur(),
        order: Some("9001".parse().unwrap()),
        level: serde_json::from_str("1").unwrap(),
        entry: posted(1, "commission", "12.5", "12.5"),
        account: account("12.5", "0", "0", 1),
    }
}

fn held() -> CommissionHeld {
    CommissionHeld {
        merchant: merchant(),
        customer: customer(),
        commission: commission(),
        amount: euros("12.5"),
        currency: eur(),
        order: Some("9001".parse().unwrap()),
        level: serde_json::from_str("1").unwrap(),
        available_at: at("2026-12-22T10:00:00Z"),
        account: account("0", "0", "12.5", 1),
    }
}

fn matured() -> CommissionMatured {
    CommissionMatured {
        merchant: merchant(),
        customer: customer(),
        commission: commission(),
        amount: euros("12.5"),
        currency: eur(),
        entry: posted(1, "commission", "12.5", "12.5"),
        account: account("12.5", "0", "0", 2),
    }
}

fn reversed() -> CommissionReversed {
    CommissionReversed {
        merchant: merchant(),
        customer: customer(),
        commission: commission(),
        amount: euros("4"),
        remaining: euros("8.5"),
        currency: eur(),
        entry: Some(posted(2, "commission-reversal", "-4", "8.5")),
        account: account("8.5", "0", "0", 2),
    }
}

fn refused() -> CommissionRefused {
    CommissionRefused {
        merchant: merchant(),
        command: "commission.reverse",
        reason: ReasonCode::ExceedsCommission,
        message: "more than the 8.50 EUR that are left of the commission".into(),
        customer: Some(customer()),
        commission: commission(),
        account: Some(account("8.5", "0", "0", 2)),
    }
}

pub(super) fn complete() -> Vec<Composed> {
    let (credit, reverse) = (cause("order-9001-level-1"), cause("refund-9001-1"));
    vec![
        composed(WORKER, &credit, TRACE, &credited()),
        composed(WORKER, &credit, TRACE, &held()),
        composed(WORKER, &credit, TRACE, &matured()),
        composed(WORKER, &reverse, TRACE, &reversed()),
        composed(WORKER, &reverse, TRACE, &refused()),
    ]
}

pub(super) fn minimal() -> Vec<Composed> {
    let (mut credited, mut held, mut reversed, mut refused) = (credited(), held(), reversed(), refused());
    (credited.order, credited.level, held.order, held.level) = (None, None, None, None);
    (reversed.entry, refused.customer, refused.account) = (None, None, None);
    let cause = cause("a");
    vec![
        composed(WORKER, &cause, None, &credited),
        composed(WORKER, &cause, None, &held),
        composed(WORKER, &cause, None, &matured()),
        composed(WORKER, &cause, None, &reversed),
        composed(WORKER, &cause, None, &refused),
    ]
}

#[test]
fn a_line_feed_in_a_text_stays_out_of_the_line() {
    let mut refused = refused();
    refused.message = "first\nsecond\r\u{2028}\"third\"".into();
    let (_, event) = composed(WORKER, &cause("a"), None, &refused);
    assert!(!event.body.contains(['\n', '\r']));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&event.body).unwrap()["data"]["message"],
        refused.message
    );
}

pub(super) const INVALID: &[Invalid] = &[
    ("commission.credited.v1", "invalid-account-without-version", "/data/account"),
    ("commission.credited.v1", "invalid-amount-number", "/data/amount"),
    ("commission.credited.v1", "invalid-entry-null", "/data/entry"),
    ("commission.credited.v1", "invalid-foreign-source", "/source"),
    ("commission.credited.v1", "invalid-without-cause", ""),
    ("commission.held.v1", "invalid-available-at-date", "/data/available_at"),
    ("commission.held.v1", "invalid-id", "/id"),
    ("commission.held.v1", "invalid-pending-leading-zero", "/data/account/pending"),
    ("commission.held.v1", "invalid-type", "/type"),
    ("commission.held.v1", "invalid-without-commission", "/data"),
    ("commission.matured.v1", "invalid-balance-exponent", "/data/account/balance"),
    ("commission.matured.v1", "invalid-currency", "/data/currency"),
    ("commission.matured.v1", "invalid-entry-id", "/data/entry/id"),
    ("commission.matured.v1", "invalid-specversion", "/specversion"),
    ("commission.matured.v1", "invalid-without-entry", "/data"),
    ("commission.reversed.v1", "invalid-data-base64", "/data_base64"),
    ("commission.reversed.v1", "invalid-entry-null", "/data/entry"),
    ("commission.reversed.v1", "invalid-remaining-number", "/data/remaining"),
    ("commission.reversed.v1", "invalid-version-string", "/data/account/version"),
    ("commission.reversed.v1", "invalid-without-remaining", "/data"),
    ("commission.refused.v1", "invalid-account-without-currency", "/data/account"),
    ("commission.refused.v1", "invalid-commission-string", "/data/commission"),
    ("commission.refused.v1", "invalid-reason-unknown", "/data/reason"),
    ("commission.refused.v1", "invalid-traceparent", "/traceparent"),
    ("commission.refused.v1", "invalid-without-message", "/data"),
];

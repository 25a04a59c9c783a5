use contract::directory::{
    CustomerRefused, CustomerUpdated, PayoutMethodRefused, PayoutMethodUpdated, PreferencesRefused,
    PreferencesUpdated, PutRefused, WORKER,
};
use contract::{CommandKey, CustomerKind, PayoutKind, ReasonCode};

use super::{Composed, Invalid, TRACE, at, composed, customer, key, merchant};

fn shop(id: &str) -> CommandKey {
    key("/shop/acme", id)
}

fn preferences(id: &str) -> CommandKey {
    key("/admin/acme", id)
}

fn customer_updated() -> CustomerUpdated {
    CustomerUpdated {
        merchant: merchant(),
        customer: customer(),
        kind: CustomerKind::Affiliate,
        locale: Some("de".parse().unwrap()),
        put_at: at("2026-11-22T10:00:00Z"),
    }
}

fn payout_method_updated() -> PayoutMethodUpdated {
    PayoutMethodUpdated {
        merchant: merchant(),
        customer: customer(),
        version: 2,
        kind: PayoutKind::BankAccount,
        masked: "DE** **** … 3000".into(),
    }
}

fn preferences_updated() -> PreferencesUpdated {
    PreferencesUpdated {
        merchant: merchant(),
        name: "Acme Outdoor".parse().unwrap(),
        actor: "maria".parse().unwrap(),
        user: Some("acme-admin".parse().unwrap()),
        hold_days: 30,
        negative_limit: [("EUR".parse().unwrap(), "20".parse().unwrap())].into(),
        withdrawals: serde_json::from_value(serde_json::json!({
            "enabled": true, "minimum": { "EUR": "50", "JPY": "5000" }, "auto_approve_below": { "EUR": "100" }
        }))
        .unwrap(),
        put_at: at("2026-11-22T10:00:00Z"),
    }
}

fn outdated(command: &'static str) -> PutRefused {
    PutRefused {
        merchant: merchant(),
        command,
        reason: ReasonCode::Outdated,
        message: "what is stored is from 2026-11-22T10:30:00Z".into(),
        customer: Some(customer()).filter(|_| command != "preferences.put"),
    }
}

pub(super) fn complete() -> Vec<Composed> {
    vec![
        composed(WORKER, &shop("customer-c-17-3"), TRACE, &customer_updated()),
        composed(WORKER, &shop("customer-c-17-2"), TRACE, &CustomerRefused(outdated("customer.put"))),
        composed(WORKER, &shop("payout-c-17-2"), TRACE, &payout_method_updated()),
        composed(WORKER, &shop("payout-c-17-1"), TRACE, &PayoutMethodRefused(outdated("payout-method.put"))),
        composed(WORKER, &preferences("preferences-12"), TRACE, &preferences_updated()),
        composed(
            WORKER,
            &preferences("preferences-11"),
            TRACE,
            &PreferencesRefused(outdated("preferences.put")),
        ),
    ]
}

pub(super) fn minimal() -> Vec<Composed> {
    let (mut customer, mut preferences) = (customer_updated(), preferences_updated());
    (customer.locale, preferences.user) = (None, None);
    let nobody = |command| PutRefused { customer: None, ..outdated(command) };
    let cause = shop("a");
    vec![
        composed(WORKER, &cause, None, &customer),
        composed(WORKER, &cause, None, &CustomerRefused(nobody("customer.put"))),
        composed(WORKER, &cause, None, &payout_method_updated()),
        composed(WORKER, &cause, None, &PayoutMethodRefused(nobody("payout-method.put"))),
        composed(WORKER, &cause, None, &preferences),
        composed(WORKER, &cause, None, &PreferencesRefused(nobody("preferences.put"))),
    ]
}

pub(super) const INVALID: &[Invalid] = &[
    ("customer.updated.v1", "invalid-kind", "/data/kind"),
    ("customer.updated.v1", "invalid-locale-null", "/data/locale"),
    ("customer.updated.v1", "invalid-put-at-date", "/data/put_at"),
    ("customer.updated.v1", "invalid-without-put-at", "/data"),
    ("customer.refused.v1", "invalid-customer-number", "/data/customer"),
    ("customer.refused.v1", "invalid-message-null", "/data/message"),
    ("customer.refused.v1", "invalid-reason-unknown", "/data/reason"),
    ("customer.refused.v1", "invalid-without-reason", "/data"),
    ("payout-method.updated.v1", "invalid-kind", "/data/kind"),
    ("payout-method.updated.v1", "invalid-masked-null", "/data/masked"),
    ("payout-method.updated.v1", "invalid-version-string", "/data/version"),
    ("payout-method.updated.v1", "invalid-without-customer", "/data"),
    ("payout-method.refused.v1", "invalid-command-null", "/data/command"),
    ("payout-method.refused.v1", "invalid-specversion", "/specversion"),
    ("payout-method.refused.v1", "invalid-time-without-offset", "/time"),
    ("payout-method.refused.v1", "invalid-without-command", "/data"),
    ("preferences.updated.v1", "invalid-hold-days-string", "/data/hold_days"),
    ("preferences.updated.v1", "invalid-name-empty", "/data/name"),
    ("preferences.updated.v1", "invalid-withdrawals-enabled-string", "/data/withdrawals/enabled"),
    ("preferences.updated.v1", "invalid-without-actor", "/data"),
    ("preferences.refused.v1", "invalid-data-base64", "/data_base64"),
    ("preferences.refused.v1", "invalid-merchant-capital", "/data/merchant"),
    ("preferences.refused.v1", "invalid-reason-null", "/data/reason"),
    ("preferences.refused.v1", "invalid-without-message", "/data"),
];

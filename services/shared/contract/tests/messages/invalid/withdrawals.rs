use super::{Invalid, NOT_IN_SCHEMA};

const REQUEST: &str = "withdrawal.request.v1";
const APPROVE: &str = "withdrawal.approve.v1";
const PAY: &str = "withdrawal.pay.v1";
const REJECT: &str = "withdrawal.reject.v1";
const CANCEL: &str = "withdrawal.cancel.v1";

pub(super) const INVALID: &[Invalid] = &[
    (
        REQUEST,
        "invalid-amount-exponent",
        "/data/amount",
        r#"invalid-data: data.amount: is not such a decimal; expected a decimal string above zero such as "12.50", below 10^12, digits and one point only"#,
    ),
    (
        REQUEST,
        "invalid-amount-null",
        "/data/amount",
        r#"invalid-data: data.amount: is null (what is absent is left out); expected a decimal string above zero such as "12.50", below 10^12, digits and one point only"#,
    ),
    (
        REQUEST,
        "invalid-amount-too-many-decimals",
        NOT_IN_SCHEMA,
        "invalid-data: data.amount: has 3 decimals; expected at most the currency's 2",
    ),
    (
        REQUEST,
        "invalid-amount-zero",
        "/data/amount",
        r#"invalid-data: data.amount: is zero; expected a decimal string above zero such as "12.50", below 10^12, digits and one point only"#,
    ),
    (
        REQUEST,
        "invalid-currency-metal",
        "/data/currency",
        "invalid-data: data.currency: is no such currency; expected an ISO 4217 currency code such as EUR",
    ),
    (
        REQUEST,
        "invalid-note-empty",
        "/data/note",
        "invalid-data: data.note: is empty; expected 1 to 500 characters",
    ),
    (
        REQUEST,
        "invalid-unknown-field",
        "/data",
        "invalid-data: data.iban: unknown field `iban`, expected one of `merchant`, `customer`, `currency`, `amount`, `note`",
    ),
    (REQUEST, "invalid-without-currency", "/data", "invalid-data: data: missing field `currency`"),
    (REQUEST, "invalid-without-customer", "/data", "invalid-data: data: missing field `customer`"),
    (
        APPROVE,
        "invalid-actor-null",
        "/data/actor",
        "invalid-data: data.actor: is null (what is absent is left out); expected a string: 1 to 128 characters, none of them a control character",
    ),
    (
        APPROVE,
        "invalid-unknown-field",
        "/data",
        "invalid-data: data.amount: unknown field `amount`, expected one of `merchant`, `withdrawal`, `actor`, `note`",
    ),
    (
        APPROVE,
        "invalid-withdrawal-id-capitals",
        "/data/withdrawal",
        "invalid-data: data.withdrawal: is no such id; expected a withdrawal's id of 32 digits and letters a to f",
    ),
    (
        APPROVE,
        "invalid-withdrawal-id-short",
        "/data/withdrawal",
        "invalid-data: data.withdrawal: is no such id; expected a withdrawal's id of 32 digits and letters a to f",
    ),
    (
        APPROVE,
        "invalid-withdrawal-number",
        "/data/withdrawal",
        "invalid-data: data.withdrawal: is a number; expected the creating command's `source` and `id` as an object, or a withdrawal's id of 32 digits and letters a to f",
    ),
    (
        APPROVE,
        "invalid-withdrawal-unknown-field",
        "/data/withdrawal",
        "invalid-data: data.withdrawal.type: unknown field `type`, expected `source` or `id`",
    ),
    (
        APPROVE,
        "invalid-withdrawal-without-id",
        "/data/withdrawal",
        "invalid-data: data.withdrawal: missing field `id`",
    ),
    (APPROVE, "invalid-without-actor", "/data", "invalid-data: data: missing field `actor`"),
    (APPROVE, "invalid-without-withdrawal", "/data", "invalid-data: data: missing field `withdrawal`"),
    (
        PAY,
        "invalid-payment-reference-control-character",
        "/data/payment_reference",
        "invalid-data: data.payment_reference: has a control character; expected 1 to 128 characters, none of them a control character",
    ),
    (
        PAY,
        "invalid-payment-reference-empty",
        "/data/payment_reference",
        "invalid-data: data.payment_reference: is empty; expected 1 to 128 characters",
    ),
    (
        PAY,
        "invalid-payment-reference-number",
        "/data/payment_reference",
        "invalid-data: data.payment_reference: is a number; expected a string: 1 to 128 characters, none of them a control character",
    ),
    (
        PAY,
        "invalid-unknown-field",
        "/data",
        "invalid-data: data.reference: unknown field `reference`, expected one of `merchant`, `withdrawal`, `actor`, `payment_reference`, `note`",
    ),
    (
        PAY,
        "invalid-withdrawal-empty",
        "/data/withdrawal",
        "invalid-data: data.withdrawal: missing field `source`",
    ),
    (
        PAY,
        "invalid-withdrawal-id-of-an-entry",
        "/data/withdrawal",
        "invalid-data: data.withdrawal: is no such id; expected a withdrawal's id of 32 digits and letters a to f",
    ),
    (PAY, "invalid-without-actor", "/data", "invalid-data: data: missing field `actor`"),
    (PAY, "invalid-without-withdrawal", "/data", "invalid-data: data: missing field `withdrawal`"),
    (
        REJECT,
        "invalid-reason-array",
        "/data/reason",
        "invalid-data: data.reason: is an array; expected a string: 1 to 500 characters, no control characters but tab and line feed",
    ),
    (
        REJECT,
        "invalid-reason-empty",
        "/data/reason",
        "invalid-data: data.reason: is empty; expected 1 to 500 characters",
    ),
    (
        REJECT,
        "invalid-reason-too-long",
        "/data/reason",
        "invalid-data: data.reason: has 501 characters; expected 1 to 500",
    ),
    (
        REJECT,
        "invalid-unknown-field",
        "/data",
        "invalid-data: data.note: unknown field `note`, expected one of `merchant`, `withdrawal`, `actor`, `reason`",
    ),
    (
        REJECT,
        "invalid-withdrawal-boolean",
        "/data/withdrawal",
        "invalid-data: data.withdrawal: is a boolean; expected the creating command's `source` and `id` as an object, or a withdrawal's id of 32 digits and letters a to f",
    ),
    (
        REJECT,
        "invalid-withdrawal-source-space",
        "/data/withdrawal",
        "invalid-data: data.withdrawal.source: has a character that no URI has; expected a URI reference of 1 to 128 characters, such as /affiliates/eu",
    ),
    (REJECT, "invalid-without-actor", "/data", "invalid-data: data: missing field `actor`"),
    (REJECT, "invalid-without-reason", "/data", "invalid-data: data: missing field `reason`"),
    (
        CANCEL,
        "invalid-actor",
        "/data",
        "invalid-data: data.actor: unknown field `actor`, expected one of `merchant`, `customer`, `withdrawal`, `reason`",
    ),
    (
        CANCEL,
        "invalid-customer-empty",
        "/data/customer",
        "invalid-data: data.customer: is empty; expected 1 to 128 characters",
    ),
    (
        CANCEL,
        "invalid-reason-null",
        "/data/reason",
        "invalid-data: data.reason: is null (what is absent is left out); expected a string: 1 to 500 characters, no control characters but tab and line feed",
    ),
    (
        CANCEL,
        "invalid-withdrawal-id-hyphens",
        "/data/withdrawal",
        "invalid-data: data.withdrawal: is no such id; expected a withdrawal's id of 32 digits and letters a to f",
    ),
    (
        CANCEL,
        "invalid-withdrawal-null",
        "/data/withdrawal",
        "invalid-data: data.withdrawal: is null (what is absent is left out); expected the creating command's `source` and `id` as an object, or a withdrawal's id of 32 digits and letters a to f",
    ),
    (CANCEL, "invalid-without-customer", "/data", "invalid-data: data: missing field `customer`"),
    (CANCEL, "invalid-without-time", "", "not-cloudevents: the body: missing field `time`"),
    (CANCEL, "invalid-without-withdrawal", "/data", "invalid-data: data: missing field `withdrawal`"),
];

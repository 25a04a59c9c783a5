use super::{Invalid, NOT_IN_SCHEMA};

const CREDIT: &str = "adjustment.credit.v1";
const DEBIT: &str = "adjustment.debit.v1";
const REVERSE: &str = "adjustment.reverse.v1";

pub(super) const INVALID: &[Invalid] = &[
    (
        CREDIT,
        "invalid-actor-empty",
        "/data/actor",
        "invalid-data: data.actor: is empty; expected 1 to 128 characters",
    ),
    (
        CREDIT,
        "invalid-amount-negative",
        "/data/amount",
        r#"invalid-data: data.amount: is not such a decimal; expected a decimal string above zero such as "12.50", below 10^12, digits and one point only"#,
    ),
    (
        CREDIT,
        "invalid-amount-number",
        "/data/amount",
        r#"invalid-data: data.amount: is a number; expected a decimal string above zero such as "12.50", below 10^12, digits and one point only"#,
    ),
    (
        CREDIT,
        "invalid-amount-too-many-decimals",
        NOT_IN_SCHEMA,
        "invalid-data: data.amount: has 3 decimals; expected at most the currency's 2",
    ),
    (
        CREDIT,
        "invalid-description-control-character",
        "/data/description",
        "invalid-data: data.description: has a control character; expected 1 to 500 characters, no control characters but tab and line feed",
    ),
    (
        CREDIT,
        "invalid-occurred-at-after-9999-in-utc",
        NOT_IN_SCHEMA,
        "invalid-data: data.occurred_at: is no such time; expected an RFC 3339 time such as 2026-11-22T10:00:00Z, in the years 1970 to 9999",
    ),
    (
        CREDIT,
        "invalid-occurred-at-date",
        "/data/occurred_at",
        "invalid-data: data.occurred_at: is no such time; expected an RFC 3339 time such as 2026-11-22T10:00:00Z, in the years 1970 to 9999",
    ),
    (
        CREDIT,
        "invalid-reference-null",
        "/data/reference",
        "invalid-data: data.reference: is null (what is absent is left out); expected a string: 1 to 128 characters, none of them a control character",
    ),
    (
        CREDIT,
        "invalid-unknown-field",
        "/data",
        "invalid-data: data.note: unknown field `note`, expected one of `merchant`, `customer`, `amount`, `currency`, `description`, `actor`, `reference`, `occurred_at`",
    ),
    (CREDIT, "invalid-without-actor", "/data", "invalid-data: data: missing field `actor`"),
    (CREDIT, "invalid-without-customer", "/data", "invalid-data: data: missing field `customer`"),
    (CREDIT, "invalid-without-description", "/data", "invalid-data: data: missing field `description`"),
    (
        DEBIT,
        "invalid-actor-line-feed",
        "/data/actor",
        "invalid-data: data.actor: has a control character; expected 1 to 128 characters, none of them a control character",
    ),
    (
        DEBIT,
        "invalid-amount-yen-with-decimals",
        NOT_IN_SCHEMA,
        "invalid-data: data.amount: has 2 decimals; expected at most the currency's 0",
    ),
    (
        DEBIT,
        "invalid-amount-zero",
        "/data/amount",
        r#"invalid-data: data.amount: is zero; expected a decimal string above zero such as "12.50", below 10^12, digits and one point only"#,
    ),
    (
        DEBIT,
        "invalid-description-too-long",
        "/data/description",
        "invalid-data: data.description: has 501 characters; expected 1 to 500",
    ),
    (
        DEBIT,
        "invalid-reference-too-long",
        "/data/reference",
        "invalid-data: data.reference: has 129 characters; expected 1 to 128",
    ),
    (
        DEBIT,
        "invalid-source-of-saldo",
        "/source",
        "not-cloudevents: source: starts with /saldo/, which is kept for Saldo's own messages",
    ),
    (
        DEBIT,
        "invalid-unknown-field",
        "/data",
        "invalid-data: data.ocurred_at: unknown field `ocurred_at`, expected one of `merchant`, `customer`, `amount`, `currency`, `description`, `actor`, `reference`, `occurred_at`",
    ),
    (DEBIT, "invalid-without-amount", "/data", "invalid-data: data: missing field `amount`"),
    (DEBIT, "invalid-without-currency", "/data", "invalid-data: data: missing field `currency`"),
    (DEBIT, "invalid-without-merchant", "/data", "invalid-data: data: missing field `merchant`"),
    (
        REVERSE,
        "invalid-entry-array",
        "/data/entry",
        "invalid-data: data.entry: is an array; expected the creating command's `source` and `id` as an object, or an entry's id such as 1042-7",
    ),
    (
        REVERSE,
        "invalid-entry-id-leading-zero",
        "/data/entry",
        "invalid-data: data.entry: is no such id; expected an entry's id such as 1042-7",
    ),
    (
        REVERSE,
        "invalid-entry-id-too-large",
        "/data/entry",
        "invalid-data: data.entry: is no such id; expected an entry's id such as 1042-7",
    ),
    (
        REVERSE,
        "invalid-entry-id-zero",
        "/data/entry",
        "invalid-data: data.entry: is no such id; expected an entry's id such as 1042-7",
    ),
    (
        REVERSE,
        "invalid-entry-null",
        "/data/entry",
        "invalid-data: data.entry: is null (what is absent is left out); expected the creating command's `source` and `id` as an object, or an entry's id such as 1042-7",
    ),
    (
        REVERSE,
        "invalid-entry-number",
        "/data/entry",
        "invalid-data: data.entry: is a number; expected the creating command's `source` and `id` as an object, or an entry's id such as 1042-7",
    ),
    (
        REVERSE,
        "invalid-entry-of-another-merchant",
        "/data/entry",
        "invalid-data: data.entry.merchant: unknown field `merchant`, expected `source` or `id`",
    ),
    (
        REVERSE,
        "invalid-entry-without-source",
        "/data/entry",
        "invalid-data: data.entry: missing field `source`",
    ),
    (
        REVERSE,
        "invalid-unknown-field",
        "/data",
        "invalid-data: data.amount: unknown field `amount`, expected one of `merchant`, `entry`, `reason`, `actor`",
    ),
    (REVERSE, "invalid-without-actor", "/data", "invalid-data: data: missing field `actor`"),
    (REVERSE, "invalid-without-entry", "/data", "invalid-data: data: missing field `entry`"),
    (REVERSE, "invalid-without-reason", "/data", "invalid-data: data: missing field `reason`"),
];

//! Every command example, judged by its schema and by the reader.

use contract::schema::Direction;
use serde_json::Value;

use crate::support::{example, example_path, names_in, read, schema_errors, schemas};

const CREDIT: &str = "commission.credit.v1";
const REVERSE: &str = "commission.reverse.v1";

/// A message with one thing wrong: its type, its name, where the schema finds it, and what the reader says of it.
type Invalid = (&'static str, &'static str, &'static str, &'static str);

/// Instead of a place: the rule is one that JSON Schema cannot say. These are all there are.
const NOT_IN_SCHEMA: &str = "(the schema cannot say it)";

const INVALID: &[Invalid] = &[
    (
        CREDIT,
        "invalid-amount-exponent",
        "/data/amount",
        r#"invalid-data: data.amount: is not such a decimal; expected a decimal string above zero such as "12.50", below 10^12, digits and one point only"#,
    ),
    (
        CREDIT,
        "invalid-amount-leading-zero",
        "/data/amount",
        r#"invalid-data: data.amount: has a leading zero; expected a decimal string above zero such as "12.50", below 10^12, digits and one point only"#,
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
        "invalid-amount-too-large",
        "/data/amount",
        r#"invalid-data: data.amount: is too large; expected a decimal string above zero such as "12.50", below 10^12, digits and one point only"#,
    ),
    (
        CREDIT,
        "invalid-amount-too-many-decimals",
        NOT_IN_SCHEMA,
        "invalid-data: data.amount: has 3 decimals; expected at most the currency's 2",
    ),
    (
        CREDIT,
        "invalid-amount-yen-with-decimals",
        NOT_IN_SCHEMA,
        "invalid-data: data.amount: has 2 decimals; expected at most the currency's 0",
    ),
    (
        CREDIT,
        "invalid-amount-zero",
        "/data/amount",
        r#"invalid-data: data.amount: is zero; expected a decimal string above zero such as "12.50", below 10^12, digits and one point only"#,
    ),
    (
        CREDIT,
        "invalid-available-at-before-1970-in-utc",
        NOT_IN_SCHEMA,
        "invalid-data: data.available_at: is no such time; expected an RFC 3339 time such as 2026-11-22T10:00:00Z, in the years 1970 to 9999",
    ),
    (
        CREDIT,
        "invalid-available-at-date",
        "/data/available_at",
        "invalid-data: data.available_at: is no such time; expected an RFC 3339 time such as 2026-11-22T10:00:00Z, in the years 1970 to 9999",
    ),
    (
        CREDIT,
        "invalid-currency",
        "/data/currency",
        "invalid-data: data.currency: is no such currency; expected an ISO 4217 currency code such as EUR",
    ),
    (
        CREDIT,
        "invalid-customer-empty",
        "/data/customer",
        "invalid-data: data.customer: is empty; expected 1 to 128 characters",
    ),
    (CREDIT, "invalid-data-array", "/data", "invalid-data: data: is an array; expected an object"),
    (
        CREDIT,
        "invalid-data-base64",
        "/data_base64",
        "not-cloudevents: data_base64: is not accepted; expected the content as a JSON object in `data`",
    ),
    (
        CREDIT,
        "invalid-level-zero",
        "/data/level",
        "invalid-data: data.level: is out of range; expected a whole number from 1 to 20",
    ),
    (
        CREDIT,
        "invalid-merchant-capital",
        "/data/merchant",
        "invalid-data: data.merchant: has other characters; expected 1 to 63 lower-case letters, digits and hyphens",
    ),
    (
        CREDIT,
        "invalid-note-control-character",
        "/data/note",
        "invalid-data: data.note: has a control character; expected 1 to 500 characters, no control characters but tab and line feed",
    ),
    (
        CREDIT,
        "invalid-order-null",
        "/data/order",
        "invalid-data: data.order: is null (what is absent is left out); expected a string: 1 to 128 characters, none of them a control character",
    ),
    (
        CREDIT,
        "invalid-source-of-saldo",
        "/source",
        "not-cloudevents: source: starts with /saldo/, which is kept for Saldo's own messages",
    ),
    (
        CREDIT,
        "invalid-specversion",
        "/specversion",
        r#"not-cloudevents: specversion: is another text; expected the string "1.0""#,
    ),
    (
        CREDIT,
        "invalid-unknown-field",
        "/data",
        "invalid-data: data.coupon: unknown field `coupon`, expected one of `merchant`, `customer`, `amount`, `currency`, `order`, `level`, `note`, `available_at`",
    ),
    (CREDIT, "invalid-without-customer", "/data", "invalid-data: data: missing field `customer`"),
    (CREDIT, "invalid-without-id", "", "not-cloudevents: the body: missing field `id`"),
    (
        REVERSE,
        "invalid-amount-plus-sign",
        "/data/amount",
        r#"invalid-data: data.amount: is not such a decimal; expected a decimal string above zero such as "12.50", below 10^12, digits and one point only"#,
    ),
    (
        REVERSE,
        "invalid-amount-too-many-decimals",
        NOT_IN_SCHEMA,
        "invalid-data: data.amount: has 4 decimals; expected at most the currency's 2",
    ),
    (
        REVERSE,
        "invalid-amount-without-currency",
        "/data",
        "invalid-data: data.currency: is missing; expected together with `amount`",
    ),
    (
        REVERSE,
        "invalid-commission-string",
        "/data/commission",
        "invalid-data: data.commission: is a string; expected an object",
    ),
    (
        REVERSE,
        "invalid-commission-unknown-field",
        "/data/commission",
        "invalid-data: data.commission.merchant: unknown field `merchant`, expected `source` or `id`",
    ),
    (
        REVERSE,
        "invalid-commission-without-id",
        "/data/commission",
        "invalid-data: data.commission: missing field `id`",
    ),
    (
        REVERSE,
        "invalid-currency-without-amount",
        "/data",
        "invalid-data: data.amount: is missing; expected together with `currency`",
    ),
    (
        REVERSE,
        "invalid-datacontenttype",
        "/datacontenttype",
        r#"not-cloudevents: datacontenttype: is another text; expected "application/json""#,
    ),
    (REVERSE, "invalid-id-empty", "/id", "not-cloudevents: id: is empty; expected 1 to 128 characters"),
    (
        REVERSE,
        "invalid-reason-too-long",
        "/data/reason",
        "invalid-data: data.reason: has 501 characters; expected 1 to 500",
    ),
    (
        REVERSE,
        "invalid-source-space",
        "/source",
        "not-cloudevents: source: has a character that no URI has; expected a URI reference of 1 to 128 characters, such as /affiliates/eu",
    ),
    (
        REVERSE,
        "invalid-time-without-offset",
        "/time",
        "not-cloudevents: time: is no such time; expected an RFC 3339 time such as 2026-11-22T10:00:00Z, in the years 1970 to 9999",
    ),
    (REVERSE, "invalid-without-commission", "/data", "invalid-data: data: missing field `commission`"),
    (REVERSE, "invalid-without-data", "", "not-cloudevents: the body: missing field `data`"),
];

#[test]
fn valid_examples_are_valid_and_read() {
    for message in schemas(Direction::Command) {
        let message_type = message.message_type;
        for name in names(message_type).iter().filter(|name| name.starts_with("valid")) {
            let text = example(message_type, name);
            let message: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(schema_errors(message_type, &message), [""; 0], "{message_type} {name}");
            if let Err(malformed) = read(text.as_bytes()) {
                panic!("{message_type} {name}: {malformed}");
            }
        }
    }
}

#[test]
fn the_complete_example_has_every_field_of_its_schema() {
    for message in schemas(Direction::Command) {
        let example: Value = serde_json::from_str(&example(message.message_type, "valid")).unwrap();
        let fields = message.schema["properties"]["data"]["properties"].as_object().unwrap();
        for field in fields.keys() {
            assert!(example["data"].get(field).is_some(), "{} has no {field}", message.message_type);
        }
    }
}

#[test]
fn invalid_examples_are_refused_by_schema_and_reader_for_what_their_names_say() {
    for (message_type, name, place, problem) in INVALID {
        let text = example(message_type, name);
        let message: Value = serde_json::from_str(&text).unwrap();
        let found = match &schema_errors(message_type, &message)[..] {
            [] => NOT_IN_SCHEMA.to_owned(),
            [place] => place.clone(),
            more => panic!("{message_type} {name}: more than one thing is wrong: {more:?}"),
        };
        let refused = read(text.as_bytes()).unwrap_err().to_string();
        assert_eq!((found.as_str(), refused.as_str()), (*place, *problem), "{message_type} {name}");
    }
}

#[test]
fn every_invalid_example_is_expected_to_be() {
    for message in schemas(Direction::Command) {
        let message_type = message.message_type;
        let mut expected: Vec<_> =
            INVALID.iter().filter(|row| row.0 == message_type).map(|(_, name, ..)| *name).collect();
        expected.sort_unstable();
        let mut names = names(message_type);
        names.retain(|name| !name.starts_with("valid"));
        assert_eq!(names, expected, "{message_type}");
        assert!(names.len() >= 8, "{message_type} has too few invalid examples");
    }
}

fn names(message_type: &str) -> Vec<String> {
    names_in(example_path(message_type, "valid").parent().unwrap())
}

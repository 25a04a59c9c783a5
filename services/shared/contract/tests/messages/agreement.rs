//! Schema and reader give the same verdict on messages nobody thought of, and the hashed form of those that
//! are read is RFC 8785.

mod change;
mod vocabulary;

use contract::payout::Iban;
use contract::{Commands as _, Currency, MAX_MESSAGE_BYTES};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use self::change::{apply, changes};
use crate::support::{example, read, valid_commands, validator};

/// The rules of the contract that JSON Schema cannot say, each told from the message alone.
fn broken_beyond_the_schema(message: &Value, bytes: usize) -> bool {
    let text = |at: &str| message.pointer(at).and_then(Value::as_str);
    let too_large = bytes > MAX_MESSAGE_BYTES;
    let too_many_decimals = amounts(message).any(|(amount, currency)| {
        let decimals = amount.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        currency.parse::<Currency>().is_ok_and(|currency| decimals > currency.exponent() as usize)
    });
    // The first and the last year as written, in UTC the year before or after.
    let times = ["/time", "/data/available_at", "/data/occurred_at"];
    let outside_in_utc = times.iter().filter_map(|at| text(at)).any(|time| {
        (time.starts_with("1970-01-01T") || time.starts_with("9999-12-31T"))
            && time.parse::<contract::Timestamp>().is_err()
    });
    let mistyped_iban = text("/data/bank_account/iban")
        .is_some_and(|iban| !checksum_is_right(iban) || iban.parse::<Iban>().is_err());
    too_large || too_many_decimals || outside_in_utc || mistyped_iban
}

/// The amounts of a message, each with its currency's code.
fn amounts(message: &Value) -> impl Iterator<Item = (&str, &str)> {
    let text = |at: &str| message.pointer(at).and_then(Value::as_str);
    let maps = ["/data/negative_limit", "/data/withdrawals/minimum", "/data/withdrawals/auto_approve_below"];
    let by_currency = maps.into_iter().filter_map(|at| message.pointer(at)?.as_object()).flatten();
    let by_currency =
        by_currency.filter_map(|(currency, amount)| Some((amount.as_str()?, currency.as_str())));
    text("/data/amount").zip(text("/data/currency")).into_iter().chain(by_currency)
}

/// ISO 7064, MOD 97-10: four characters to the end, letters as two digits, and one is left over.
fn checksum_is_right(iban: &str) -> bool {
    let rotated = iban.chars().skip(4).chain(iban.chars().take(4));
    let rest = rotated.filter_map(|c| c.to_digit(36)).fold(0, |rest, digit| {
        let shift = if digit > 9 { 100 } else { 10 };
        (rest * shift + digit) % 97
    });
    rest == 1
}

fn messages() -> impl Strategy<Value = Value> {
    (select(valid_commands()), prop::collection::vec(changes(), 0..4)).prop_map(
        |((message_type, name), changes)| {
            let mut message = serde_json::from_str(&example(message_type, &name)).unwrap();
            for change in changes {
                apply(&mut message, change);
            }
            message
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60_000) })]

    #[test]
    fn schema_and_reader_agree(message in messages()) {
        let body = message.to_string();
        let read = read(body.as_bytes());
        let message_type = message.get("type").and_then(Value::as_str).unwrap_or_default();
        let by_schema = validator(message_type).is_some_and(|validator| validator.is_valid(&message));
        match (by_schema, &read) {
            (true, Ok(_)) | (false, Err(_)) => {}
            (false, Ok(_)) => prop_assert!(false, "read, against the schema: {body}"),
            (true, Err(malformed)) => prop_assert!(
                broken_beyond_the_schema(&message, body.len()), "{malformed}, but right by the schema: {body}"
            ),
        }
        if let Ok(received) = read {
            prop_assert!(!broken_beyond_the_schema(&message, body.len()), "read: {body}");
            let data: Value = serde_json::from_slice(&received.command.canonical()).unwrap();
            prop_assert_eq!(received.command.canonical(), serde_jcs::to_vec(&data).unwrap());
        }
    }
}

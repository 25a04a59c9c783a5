//! Schema and reader give the same verdict on messages nobody thought of, and the hashed form of those that
//! are read is RFC 8785.

use contract::payout::Iban;
use contract::{Commands as _, Currency, MAX_MESSAGE_BYTES};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use crate::support::{example, pointers, read, valid_commands, validator};

/// One change to a message. Indexes choose among what the message has.
#[derive(Debug, Clone)]
enum Change {
    /// Takes a field out.
    Delete(Index),
    /// Puts a value in the place of another.
    Replace(Index, Value),
    /// Copies a value over another.
    Copy(Index, Index),
    /// Adds a field to an object.
    Add(Index, String, Value),
    /// Inserts a text into a string.
    Insert(Index, Index, String),
    /// Removes a character of a string.
    Remove(Index, Index),
    /// Puts another character in the place of one of a string.
    Swap(Index, Index, char),
}

/// Around every limit there is.
const LENGTHS: [usize; 18] =
    [62, 63, 64, 127, 128, 129, 149, 150, 151, 199, 200, 201, 499, 500, 501, 999, 1000, 1001];

/// Texts that are right, or nearly right, somewhere.
const TEXTS: &[&str] = &[
    "",
    " ",
    "0",
    "1",
    "-1",
    "+5",
    "5.",
    ".5",
    "01",
    "0.0",
    "0.1",
    "0.00001",
    "1.0000",
    "1e3",
    "1_000",
    "1,5",
    "１",
    "12.5",
    "999999999999.9999",
    "1000000000000",
    "EUR",
    "eur",
    "JPY",
    "KWD",
    "CLF",
    "XAU",
    "XXX",
    "EURO",
    "null",
    "acme",
    "Acme",
    "a.b",
    "a/b",
    "/saldo/",
    "/saldo",
    "/saldo/x",
    "x/saldo/",
    "é",
    "\u{0}",
    "\u{1f}",
    "\u{7f}",
    "\u{9f}",
    "\u{a0}",
    "\t",
    "\n",
    "\r",
    "\u{feff}",
    "\u{2028}",
    "\u{202e}",
    "😀",
    "1.0",
    "0.3",
    "1.00",
    "commission.credit.v1",
    "commission.reverse.v1",
    "commission.credit",
    "commission.mature.v1",
    "application/json",
    "application/JSON",
    "2026-11-22T10:00:00Z",
    "2026-11-22t10:00:00z",
    "2026-11-22 10:00:00Z",
    "2026-11-22T10:00:00",
    "2026-11-22",
    "2026-02-29T10:00:00Z",
    "2028-02-29T10:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-11-31T00:00:00Z",
    "2026-11-22T24:00:00Z",
    "2026-11-22T10:60:00Z",
    "2026-12-31T23:59:60Z",
    "2026-11-22T10:00:60Z",
    "2026-11-22T10:00:00.Z",
    "2026-11-22T10:00:00.123456789Z",
    "2026-11-22T10:00:00.1234567890Z",
    "2026-11-22T10:00:00+23:59",
    "2026-11-22T10:00:00-24:00",
    "2026-11-22T10:00:00+01:60",
    "2026-11-22T10:00:00+0100",
    "2026-11-22T10:00:00+01",
    "1969-12-31T23:59:59Z",
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:00+01:00",
    "1969-12-31T23:59:59-01:00",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-01:00",
    "10000-01-01T00:00:00Z",
    "-2026-11-22T10:00:00Z",
    "02026-11-22T10:00:00Z",
    "adjustment.credit.v1",
    "adjustment.debit.v1",
    "withdrawal.approve.v1",
    "withdrawal.reject.v1",
    "customer.put.v1",
    "payout-method.put.v1",
    "preferences.put.v1",
    "1042-7",
    "1042-07",
    "0-1",
    "1-0",
    "-1-1",
    "1--1",
    "+1-1",
    "1-999999999999999999",
    "1-9223372036854775807",
    "eaeeb1b67a532101a54c8511f4ad659b",
    "eaeeb1b67a532101a54c8511f4ad659",
    "EAEEB1B67A532101A54C8511F4AD659B",
    "geeeb1b67a532101a54c8511f4ad659b",
    "customer",
    "affiliate",
    "Reseller",
    "balance",
    "amount",
    "a@b",
    "a@b.example",
    "a@b..example",
    "a@-b.example",
    "a@b-.example",
    "a@b.example.",
    "a@b@c",
    "@b",
    "a@",
    ".a.@b",
    "\"a b\"@c",
    "a@[127.0.0.1]",
    "ä@b",
    "a@ä.example",
    "!#$%&'*+/=?^_`{|}~-@b",
    "de",
    "deu",
    "d",
    "DE",
    "de-DE",
    "de-de",
    "de_DE",
    "zh-Hant-TW",
    "zh-TW-Hant",
    "es-419",
    "es-41",
    "de-DE-1996",
    "DE89370400440532013000",
    "DE89370400440532013001",
    "DE88370400440532013000",
    "de89370400440532013000",
    "DE89 3704 0044 0532 0130 00",
    "GB29NWBK60161331926819",
    "GB29NWBK6016133192681",
    "NO9386011117947",
    "MT84MALT011000012345MTLCAST001S",
    "MT84MALT011000012345MTLCAST001s",
    "XX89370400440532013000",
    "COBADEFF",
    "COBADEFFXXX",
    "COBADEFFX",
    "C0BADEFF",
    "{min-value}",
    "{balance}{missing}",
    "{ balance}",
    "{Balance}",
    "{{balance}}",
    "{balance",
    "balance}",
    "}{",
    "{}",
    "{min-value} {x}",
    "{shop}",
    "{customer}{amount}",
    "{shop} {count}",
    "{shop}\n{amount}",
    "{shop",
    "amount}",
    "{Count}",
    "requested",
    "cancelled",
    "canceled",
    "Paid",
];

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => select(TEXTS).prop_map(String::from),
        1 => (select(&["a", "é", "/", "😀", "0"][..]), select(&LENGTHS[..]))
            .prop_map(|(text, times)| text.repeat(times)),
        1 => any::<String>(),
    ]
}

/// So many languages with a text each.
fn languages(count: usize) -> Value {
    let letters = || 'a'..='z';
    let all = letters().flat_map(|a| letters().map(move |b| (format!("{a}{b}"), json!("a"))));
    Value::Object(all.take(count).collect())
}

/// So many addresses.
fn people(count: usize) -> Value {
    (0..count).map(|number| format!("a{number}@b")).collect()
}

fn values() -> impl Strategy<Value = Value> {
    let others = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(20),
        json!(21),
        json!(3650),
        json!(3651),
        json!(3650.0),
        json!(70_000),
        json!(-1),
        json!(1.0),
        json!(20.0),
        json!(-0.0),
        json!(1.5),
        json!(12.5),
        json!(1e300),
        json!(u64::MAX),
        json!(i64::MIN),
        json!([]),
        json!(["/affiliates/eu", "order-9001-level-1"]),
        json!({}),
        json!({ "a": 1 }),
        json!({ "source": "/a", "id": "b" }),
        json!({ "source": "/a", "id": "b", "merchant": "acme" }),
        json!({ "EUR": "12.50" }),
        json!({ "EUR": "0", "JPY": "1.5" }),
        json!({ "EUR": "0.000" }),
        json!({ "KWD": 1 }),
        json!({ "en": "{balance}", "de": "a" }),
        json!({ "en": "" }),
        json!({ "EN": "a" }),
        json!({ "enabled": true, "minimum": {} }),
        json!({ "minimum": { "EUR": "1.000" } }),
        json!({ "iban": "DE89370400440532013000", "holder": "a" }),
        json!({ "iban": "DE89370400440532013001", "holder": "a" }),
        json!({ "email": "a@b" }),
        json!({ "text": "a" }),
        json!(["a@b", "a@c"]),
        json!(["a@b", "a@b"]),
        json!(["a"]),
        json!([true]),
        json!(["requested", "approved", "paid", "rejected", "cancelled"]),
        json!(["requested", "approved", "paid", "rejected", "cancelled", "paid"]),
        json!(["paid", "paid"]),
        json!(["canceled"]),
        json!({ "en": "{shop}", "it": "{amount}\n" }),
        json!({ "en": "{count}" }),
        json!({ "subject": { "en": "{shop}" } }),
        json!({ "subject": {}, "introduction": { "en": "{count}\n" } }),
        json!({ "introduction": { "en": "{customer}\r" } }),
        json!({ "subject": [] }),
        json!({ "admin_digest": { "subject": { "en": "{count}" } }, "customer_paid": {} }),
        json!({ "customer_paid": { "subject": { "en": "{count}" } } }),
        json!({ "customer_paid": [{ "en": "{shop}" }, {}] }),
        languages(50),
        languages(51),
        people(20),
        people(21),
        json!({ "$serde_json::private::RawValue": "{}" }),
        json!({ "$serde_json::private::Number": "1" }),
    ];
    prop_oneof![3 => texts().prop_map(Value::String), 2 => select(others.to_vec())]
}

fn names() -> impl Strategy<Value = String> {
    let known = [
        "specversion",
        "id",
        "source",
        "type",
        "time",
        "datacontenttype",
        "traceparent",
        "data_base64",
        "data",
        "subject",
        "dataschema",
        "saldo",
        "merchant",
        "customer",
        "amount",
        "currency",
        "order",
        "level",
        "note",
        "available_at",
        "commission",
        "reason",
        "description",
        "actor",
        "reference",
        "occurred_at",
        "entry",
        "withdrawal",
        "payment_reference",
        "kind",
        "name",
        "email",
        "locale",
        "bank_account",
        "paypal",
        "other",
        "iban",
        "bic",
        "holder",
        "text",
        "hold_days",
        "section_shown",
        "introduction",
        "negative_limit",
        "default_locale",
        "notify",
        "notify_customer",
        "mails",
        "admin_requested",
        "admin_digest",
        "customer_requested",
        "customer_approved",
        "customer_paid",
        "customer_rejected",
        "customer_cancelled",
        "withdrawals",
        "enabled",
        "minimum",
        "minimum_rule",
        "message_reached",
        "message_not_reached",
        "auto_approve_below",
        "Amount",
        "amount ",
        "",
    ];
    prop_oneof![4 => select(known.to_vec()).prop_map(String::from), 1 => texts()]
}

fn changes() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        2 => at().prop_map(Change::Delete),
        4 => (at(), values()).prop_map(|(at, value)| Change::Replace(at, value)),
        2 => (at(), at()).prop_map(|(from, to)| Change::Copy(from, to)),
        2 => (at(), names(), values()).prop_map(|(at, name, value)| Change::Add(at, name, value)),
        2 => (at(), at(), texts()).prop_map(|(at, position, text)| Change::Insert(at, position, text)),
        2 => (at(), at()).prop_map(|(at, position)| Change::Remove(at, position)),
        4 => (at(), at(), select(&['0', '1', '2', '3', '9', '-', '.', ':', 'Z', '+', 'a', 'E', ' ', '\n', 'é'][..]))
            .prop_map(|(at, position, char)| Change::Swap(at, position, char)),
    ]
}

/// The places of `message` whose values are wanted, one of them chosen.
fn place(message: &Value, choice: Index, wanted: fn(&Value) -> bool) -> Option<String> {
    let places: Vec<_> =
        pointers(message).into_iter().filter(|at| message.pointer(at).is_some_and(wanted)).collect();
    (!places.is_empty()).then(|| choice.get(&places).clone())
}

fn apply(message: &mut Value, change: Change) {
    let any = |_: &Value| true;
    match change {
        Change::Delete(at) => {
            let Some(at) = place(message, at, any) else { return };
            let Some((parent, name)) = at.rsplit_once('/') else { return };
            if let Some(parent) = message.pointer_mut(parent).and_then(Value::as_object_mut) {
                parent.shift_remove(name);
            }
        }
        Change::Replace(at, value) => {
            let Some(at) = place(message, at, any) else { return };
            *message.pointer_mut(&at).unwrap() = value;
        }
        Change::Copy(from, to) => {
            let (Some(from), Some(to)) = (place(message, from, any), place(message, to, any)) else {
                return;
            };
            let value = message.pointer(&from).unwrap().clone();
            *message.pointer_mut(&to).unwrap() = value;
        }
        Change::Add(at, name, value) => {
            let Some(at) = place(message, at, Value::is_object) else { return };
            message.pointer_mut(&at).unwrap().as_object_mut().unwrap().insert(name, value);
        }
        Change::Insert(at, position, text) => edit(message, at, |chars| {
            let position = position.index(chars.len() + 1);
            chars.splice(position..position, text.chars());
        }),
        Change::Remove(at, position) => edit(message, at, |chars| {
            if !chars.is_empty() {
                chars.remove(position.index(chars.len()));
            }
        }),
        Change::Swap(at, position, char) => edit(message, at, |chars| {
            if !chars.is_empty() {
                let position = position.index(chars.len());
                chars[position] = char;
            }
        }),
    }
}

fn edit(message: &mut Value, at: Index, edit: impl FnOnce(&mut Vec<char>)) {
    let Some(at) = place(message, at, Value::is_string) else { return };
    let text = message.pointer_mut(&at).unwrap();
    let mut chars: Vec<char> = text.as_str().unwrap().chars().collect();
    edit(&mut chars);
    *text = Value::String(chars.into_iter().collect());
}

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

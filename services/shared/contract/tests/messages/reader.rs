//! What the reader says of messages that can never be decided. Bodies that no JSON value can stand for are
//! here; the others are examples.

mod amounts;

use contract::commission::CommissionCommand;
use contract::{MAX_MESSAGE_BYTES, Malformed, MalformedReason, Received};
use serde_json::json;

use crate::support::{example, read};

const CREDIT: &str = "commission.credit.v1";

fn refused(body: impl AsRef<[u8]>) -> String {
    match read(body.as_ref()) {
        Ok(_) => panic!("was read: {}", String::from_utf8_lossy(body.as_ref())),
        Err(malformed) => malformed.to_string(),
    }
}

/// A credit as text, with one text replaced by another.
fn credit(find: &str, replace: &str) -> String {
    let text = example(CREDIT, "valid");
    assert_eq!(text.matches(find).count(), 1, "{find}");
    text.replace(find, replace)
}

#[test]
fn what_is_no_json_is_called_that() {
    let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "nothing",
            vec![],
            "not-json: the body: EOF while parsing a value at line 1 column 0; expected JSON",
        ),
        (
            "blank",
            b" \n".to_vec(),
            "not-json: the body: EOF while parsing a value at line 2 column 0; expected JSON",
        ),
        (
            "a word",
            b"nul".to_vec(),
            "not-json: the body: EOF while parsing a value at line 1 column 3; expected JSON",
        ),
        (
            "a byte order mark",
            credit("{\n  \"specversion\"", "\u{feff}{\n  \"specversion\"").into(),
            "not-json: the body: expected value at line 1 column 1; expected JSON",
        ),
        (
            "invalid UTF-8",
            b"{\"id\":\"\xff\"}".to_vec(),
            "not-json: the body is not UTF-8 at byte 7; JSON is",
        ),
        (
            "two messages",
            example(CREDIT, "valid").repeat(2).into(),
            "not-json: the body: trailing characters at line 20 column 1; expected JSON",
        ),
        (
            "a comma too many",
            credit("T10:00:00Z\"\n  }", "T10:00:00Z\",\n  }").into(),
            "not-json: the body: key must be a string at line 18 column 3; expected JSON",
        ),
        (
            "a raw control character",
            credit("c-17", "c\u{1}17").into(),
            r"not-json: the body: control character (\u0000-\u001F) found while parsing a string at line 11 column 18; expected JSON",
        ),
        (
            "a lone surrogate",
            credit("c-17", r"c\ud83d").into(),
            "not-json: data.customer: unexpected end of hex escape",
        ),
        (
            "a lone surrogate in the envelope",
            credit("order-9001-level-1", r"\udc00").into(),
            "not-json: id: lone leading surrogate in hex escape",
        ),
        (
            "a number no one can hold",
            credit("\"level\": 1", "\"level\": 1e999").into(),
            "not-json: data.level: number out of range",
        ),
        (
            "not a number",
            credit("\"level\": 1", "\"level\": NaN").into(),
            "not-json: the body: expected value at line 15 column 14; expected JSON",
        ),
        (
            "deep, and open",
            deep[..deep.len() - 1].into(),
            "not-json: the body: EOF while parsing an object at line 1 column 1200; expected JSON",
        ),
    ];
    for (what, body, expected) in cases {
        assert_eq!(refused(body), expected, "{what}");
    }
}

#[test]
fn json_that_is_no_cloud_event_is_called_that() {
    let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    let batch = format!("[{}]", example(CREDIT, "valid"));
    let cases = [
        (
            "null",
            "null".to_owned(),
            "not-cloudevents: the body: is null (what is absent is left out); expected an object",
        ),
        ("a batch", batch, "not-cloudevents: the body: is an array; expected an object"),
        (
            "a string",
            "\"commission.credit.v1\"".to_owned(),
            "not-cloudevents: the body: is a string; expected an object",
        ),
        ("a number", "12.5".to_owned(), "not-cloudevents: the body: is a number; expected an object"),
        ("nothing in it", "{}".to_owned(), "not-cloudevents: the body: missing field `specversion`"),
        ("200 levels", deep, "not-cloudevents: the body: missing field `specversion`"),
        (
            "30,000 levels",
            "[".repeat(15_000) + &"]".repeat(15_000),
            "not-cloudevents: the body: is an array; expected an object",
        ),
        (
            "an old version",
            credit("\"1.0\"", "\"0.3\""),
            r#"not-cloudevents: specversion: is another text; expected the string "1.0""#,
        ),
        (
            "a number as version",
            credit("\"1.0\"", "1.0"),
            r#"not-cloudevents: specversion: is a number; expected the string "1.0""#,
        ),
        (
            "null as id",
            credit("\"order-9001-level-1\"", "null"),
            "not-cloudevents: id: is null (what is absent is left out); expected a string: 1 to 128 characters, none of them a control character",
        ),
        (
            "a number as id",
            credit("\"order-9001-level-1\"", "9001"),
            "not-cloudevents: id: is a number; expected a string: 1 to 128 characters, none of them a control character",
        ),
        (
            "an escaped NUL in the id",
            credit("order-9001-level-1", r"order\u0000"),
            "not-cloudevents: id: has a control character; expected 1 to 128 characters, none of them a control character",
        ),
        (
            "a long id",
            credit("order-9001-level-1", &"a".repeat(129)),
            "not-cloudevents: id: has 129 characters; expected 1 to 128",
        ),
        (
            "a source of Saldo's",
            credit("/affiliates/eu", "/saldo/commissions"),
            "not-cloudevents: source: starts with /saldo/, which is kept for Saldo's own messages",
        ),
        (
            "another content type",
            credit("application/json", "application/json; charset=utf-8"),
            r#"not-cloudevents: datacontenttype: is another text; expected "application/json""#,
        ),
        (
            "no content type",
            credit("\"application/json\"", "null"),
            r#"not-cloudevents: datacontenttype: is null (what is absent is left out); expected "application/json""#,
        ),
        (
            "base64",
            credit("\"time\":", "\"data_base64\": \"e30=\", \"time\":"),
            "not-cloudevents: data_base64: is not accepted; expected the content as a JSON object in `data`",
        ),
        (
            "null in base64",
            credit("\"time\":", "\"data_base64\": null, \"time\":"),
            "not-cloudevents: data_base64: is not accepted; expected the content as a JSON object in `data`",
        ),
        (
            "an id twice",
            credit("\"time\":", "\"id\": \"a\", \"time\":"),
            "not-cloudevents: the body: duplicate field `id`",
        ),
        (
            "an id twice, once escaped",
            credit("\"time\":", r#""\u0069d": "a", "time":"#),
            "not-cloudevents: the body: duplicate field `id`",
        ),
        (
            "data twice",
            credit("\"time\":", "\"data\": {}, \"time\":"),
            "not-cloudevents: the body: duplicate field `data`",
        ),
    ];
    for (what, body, expected) in cases {
        assert_eq!(refused(body), expected, "{what}");
    }
}

#[test]
fn a_type_of_nobody_is_called_that() {
    for unknown in [
        "commission.credit",
        "commission.credit.v2",
        "commission.mature.v1",
        "Commission.credit.v1",
        "adjustment.credit.v1",
        "",
    ] {
        let body = credit("commission.credit.v1", unknown);
        assert_eq!(
            Received::<CommissionCommand>::read(body.as_bytes()).unwrap_err().to_string(),
            "unknown-type: type: is unknown here; expected one of commission.credit.v1, commission.reverse.v1"
        );
    }
}

#[test]
fn data_that_is_wrong_is_told_by_field() {
    let cases = [
        (
            "a small currency",
            credit("EUR", "eur"),
            "invalid-data: data.currency: is no such currency; expected an ISO 4217 currency code such as EUR",
        ),
        (
            "gold",
            credit("EUR", "XAU"),
            "invalid-data: data.currency: is no such currency; expected an ISO 4217 currency code such as EUR",
        ),
        (
            "a level of 21",
            credit("\"level\": 1", "\"level\": 21"),
            "invalid-data: data.level: is out of range; expected a whole number from 1 to 20",
        ),
        (
            "a level of -1",
            credit("\"level\": 1", "\"level\": -1"),
            "invalid-data: data.level: is out of range; expected a whole number from 1 to 20",
        ),
        (
            "a level of 1.5",
            credit("\"level\": 1", "\"level\": 1.5"),
            "invalid-data: data.level: is no such number; expected a whole number from 1 to 20",
        ),
        (
            "a level as a string",
            credit("\"level\": 1", "\"level\": \"1\""),
            "invalid-data: data.level: is a string; expected a whole number from 1 to 20",
        ),
        (
            "an escaped NUL",
            credit("Summer campaign", r"Summer\u0000campaign"),
            "invalid-data: data.note: has a control character; expected 1 to 500 characters, no control characters but tab and line feed",
        ),
        (
            "a C1 control character",
            credit("Summer campaign", "Summer\u{85}campaign"),
            "invalid-data: data.note: has a control character; expected 1 to 500 characters, no control characters but tab and line feed",
        ),
        (
            "a carriage return",
            credit("Summer campaign", r"Summer\rcampaign"),
            "invalid-data: data.note: has a control character; expected 1 to 500 characters, no control characters but tab and line feed",
        ),
        (
            "a name that is long",
            credit("c-17", &"é".repeat(129)),
            "invalid-data: data.customer: has 129 characters; expected 1 to 128",
        ),
        (
            "a merchant with a dot",
            credit("acme", "acme.eu"),
            "invalid-data: data.merchant: has other characters; expected 1 to 63 lower-case letters, digits and hyphens",
        ),
        (
            "a field twice",
            credit("\"order\":", "\"amount\": \"99\", \"order\":"),
            "invalid-data: data: duplicate field `amount`",
        ),
        (
            "a field in capitals",
            credit("\"order\":", "\"Order\":"),
            "invalid-data: data.Order: unknown field `Order`, expected one of `merchant`, `customer`, `amount`, `currency`, `order`, `level`, `note`, `available_at`",
        ),
        (
            "an amount twice, once escaped",
            credit("\"order\":", r#""\u0061mount": "99", "order":"#),
            "invalid-data: data: duplicate field `amount`",
        ),
        (
            "a private name of the parser",
            credit("\"order\":", "\"$serde_json::private::RawValue\":"),
            "invalid-data: data.$serde_json::private::RawValue: unknown field `$serde_json::private::RawValue`, expected one of `merchant`, `customer`, `amount`, `currency`, `order`, `level`, `note`, `available_at`",
        ),
        (
            "a leap second",
            credit("2026-12-22T10:00:00Z", "2026-12-31T23:59:60Z"),
            "invalid-data: data.available_at: is no such time; expected an RFC 3339 time such as 2026-11-22T10:00:00Z, in the years 1970 to 9999",
        ),
    ];
    for (what, body, expected) in cases {
        assert_eq!(refused(body), expected, "{what}");
    }
}

#[test]
fn data_that_is_no_object_is_refused() {
    let cases = [
        ("null", "null"),
        ("true", "a boolean"),
        ("12", "a number"),
        (r#""{\"merchant\":\"acme\"}""#, "a string"),
        (r#"["acme","c-17","12.50","EUR"]"#, "an array"),
    ];
    for (data, kind) in cases {
        let body = format!(
            r#"{{"specversion":"1.0","id":"a","source":"/a","type":"{CREDIT}","time":"2026-11-22T10:00:00Z","data":{data}}}"#
        );
        let refused = refused(&body);
        let kind = kind.trim_start_matches("null");
        assert!(refused.starts_with("invalid-data: data: is "), "{refused}");
        assert!(refused.contains(kind) && refused.contains("; expected an object"), "{refused}");
    }
}

#[test]
fn extensions_may_hold_anything() {
    let deep = format!("{}1{}", r#"{"a":["#.repeat(200), "]}".repeat(200));
    for extension in ["null", "12.5", "1e999", "\"\\ud800\"", "[]", "{\"data\": {}}", deep.as_str()] {
        let body = credit("\"time\":", &format!("\"extension\": {extension}, \"time\":"));
        assert!(read(body.as_bytes()).is_ok(), "{extension}");
    }
    let twice = credit("\"time\":", "\"extension\": 1, \"extension\": 2, \"time\":");
    assert!(read(twice.as_bytes()).is_ok());
}

#[test]
fn a_malformed_traceparent_is_ignored() {
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let of = |text: &str| {
        let body = credit(&format!("\"{good}\""), text);
        read(body.as_bytes()).unwrap_or_else(|malformed| panic!("{text}: {malformed}")).traceparent
    };
    assert_eq!(of(&format!("\"{good}\"")).as_deref(), Some(good));
    let deep = "[".repeat(200) + &"]".repeat(200);
    let bad = [
        "null".to_owned(),
        "7".to_owned(),
        "\"\"".to_owned(),
        "\"\\ud800\"".to_owned(),
        deep,
        format!("\"{}\"", good.to_uppercase()),
        format!("\"{good}-00\""),
        format!("\"{}\"", good.replacen("00", "ff", 1)),
        format!("\"{}\"", good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32))),
        format!("\"{}\"", good.replace("b7ad6b7169203331", &"0".repeat(16))),
        format!("\"{good} \""),
    ];
    for text in bad {
        assert_eq!(of(&text), None, "{text}");
    }
}

#[test]
fn size_is_looked_at_first() {
    let fill = |bytes: usize| {
        let body = credit("\"time\":", "\"extension\": \"\", \"time\":");
        let missing = bytes - body.len();
        body.replace("\"extension\": \"\"", &format!("\"extension\": \"{}\"", "a".repeat(missing)))
    };
    assert!(read(fill(MAX_MESSAGE_BYTES).as_bytes()).is_ok());
    assert_eq!(
        refused(fill(MAX_MESSAGE_BYTES + 1)),
        "too-large: the body has 32769 bytes; at most 32768 are accepted"
    );
    assert_eq!(
        refused(vec![0xff; 1 << 20]),
        "too-large: the body has 1048576 bytes; at most 32768 are accepted"
    );
}

#[test]
fn details_are_short_and_visible_whatever_the_publisher_sends() {
    let of = |detail: String| Malformed::new(MalformedReason::InvalidData, detail).detail;
    let name = format!("\u{202e}\u{0}\u{1b}[31m\n\u{2028}\u{feff}é{}", "x".repeat(20_000));
    let detail = of(format!("{name}: expected"));
    assert_eq!(detail.chars().count(), Malformed::MAX_DETAIL);
    assert!(detail.starts_with("\u{fffd}\u{fffd}\u{fffd}[31m\u{fffd}\u{fffd}\u{fffd}éxxx"), "{detail}");
    assert!(detail.contains('…') && detail.ends_with("xxx: expected"), "{detail}");
    assert_eq!(of("é".repeat(Malformed::MAX_DETAIL)), "é".repeat(Malformed::MAX_DETAIL));
}

/// What a person has put in a name's place by mistake is as secret as a value.
#[test]
fn a_name_that_no_field_could_have_is_not_repeated() {
    let long = "x".repeat(41);
    let names = [
        "DE89370400440532013000",
        "de89-3704-0044",
        "anna@canary.example",
        "Anna Canary",
        "Änna",
        "`, expected one of `",
        "a`, expected `b",
        "line\nfeed",
        "\u{202e}",
        "",
        &long,
    ];
    for name in names {
        let said = refused(credit("\"order\"", &json!(name).to_string()));
        let expected = "invalid-data: data.…: unknown field `…`, expected one of `merchant`, `customer`, `amount`, \
                        `currency`, `order`, `level`, `note`, `available_at`";
        assert_eq!(said, expected, "{name}");
    }
    for name in ["Order", "order_number", "order-number", "order2", "x".repeat(40).as_str()] {
        let said = refused(credit("\"order\"", &json!(name).to_string()));
        assert!(said.starts_with(&format!("invalid-data: data.{name}: unknown field `{name}`, ")), "{said}");
    }
}

/// What only the reader of commands beside commissions meets, and no JSON value can stand for.
#[test]
fn names_of_maps_stand_there_once() {
    let preferences = |find: &str, replace: &str| {
        let text = example("preferences.put.v1", "valid");
        assert_eq!(text.matches(find).count(), 1, "{find}");
        text.replace(find, replace)
    };
    let cases = [
        (
            "a currency twice",
            preferences(r#""EUR": "50.00","#, r#""EUR": "50.00", "EUR": "50.00","#),
            "invalid-data: data.withdrawals.minimum.EUR: stands there twice; expected once",
        ),
        (
            "a currency twice, once escaped",
            preferences(r#""EUR": "50.00","#, r#""EUR": "50.00", "\u0045UR": "0","#),
            "invalid-data: data.withdrawals.minimum.EUR: stands there twice; expected once",
        ),
        (
            "a language twice",
            preferences(r#""introduction": {"#, r#""introduction": { "en": "a","#),
            "invalid-data: data.introduction.en: stands there twice; expected once",
        ),
        (
            "a preference twice",
            preferences(r#""enabled": true"#, r#""enabled": true, "enabled": true"#),
            "invalid-data: data.withdrawals: duplicate field `enabled`",
        ),
    ];
    for (what, body, expected) in cases {
        assert_eq!(refused(body), expected, "{what}");
    }
}

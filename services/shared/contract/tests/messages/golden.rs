//! Hashes that are stored for ever: what they are, what changes them and what does not.

use contract::commission::{CommissionCommand, CommissionMature};
use contract::{CommandKey, Commands as _, Received, Reference};
use serde_json::{Value, json};

use crate::support::{example, read};

const CREDIT: &str = "commission.credit.v1";
const REVERSE: &str = "commission.reverse.v1";

fn received(text: &str) -> Received<CommissionCommand> {
    read(text.as_bytes()).unwrap_or_else(|malformed| panic!("{malformed}: {text}"))
}

fn content(text: &str) -> String {
    hex::encode(received(text).content.0)
}

fn key(text: &str) -> String {
    received(text).key.hash().to_string()
}

/// The example with the value at this place replaced, or taken out.
fn changed(message_type: &str, place: &str, value: Option<Value>) -> String {
    let mut message: Value = serde_json::from_str(&example(message_type, "valid")).unwrap();
    let (parent, name) = place.rsplit_once('/').unwrap();
    let parent = message.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => parent.insert(name.to_owned(), value),
        None => parent.shift_remove(name),
    };
    message.to_string()
}

/// The complete credit, its data written by hand.
fn credit(data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"order-9001-level-1","source":"/affiliates/eu","type":"commission.credit.v1",
            "time":"2026-11-22T10:00:00Z","data":{data}}}"#
    )
}

#[test]
fn content_hashes_are_golden() {
    let golden = [
        (CREDIT, "valid", "189951330ac2f16bfb346add4a431a1bdfda79773abaec152b0bbdc07c09fac4"),
        (CREDIT, "valid-minimal", "a734dac383115e6a6092c7c80c24024c540541efac7b9b655279a5d0fcfa914d"),
        (REVERSE, "valid", "3c6c46dea07ec0d79951912a084133ab2159e8a2e53a4f40d42449fe45550e9b"),
        (
            REVERSE,
            "valid-all-that-is-left",
            "e06bccd9d29b29ee5458a31642c9f493cc7100384438887a2410202b3fe974e6",
        ),
    ];
    for (message_type, name, hash) in golden {
        assert_eq!(content(&example(message_type, name)), hash, "{message_type} {name}");
    }
}

#[test]
fn the_hashed_form_is_rfc_8785() {
    let canonical = |text: &str| String::from_utf8(received(text).command.canonical()).unwrap();
    assert_eq!(
        canonical(&example(CREDIT, "valid")),
        r#"{"amount":"12.50","available_at":"2026-12-22T10:00:00Z","currency":"EUR","customer":"c-17","level":1,"merchant":"acme","note":"Summer campaign","order":"9001"}"#
    );
    assert_eq!(
        canonical(&example(REVERSE, "valid")),
        r#"{"amount":"4.00","commission":{"id":"order-9001-level-1","source":"/affiliates/eu"},"currency":"EUR","merchant":"acme","reason":"Part of the order was returned"}"#
    );
    let note = json!("tab\tline\nquote\" back\\ slash/ é € 😀 \u{2028}");
    assert!(
        canonical(&changed(CREDIT, "/data/note", Some(note)))
            .contains("\"note\":\"tab\\tline\\nquote\\\" back\\\\ slash/ é € 😀 \u{2028}\"")
    );
}

/// Commands keep their canonical form however it is computed.
#[test]
fn a_matured_commission_has_golden_content() {
    let mature = CommissionCommand::Mature(CommissionMature {
        merchant: "acme".parse().unwrap(),
        commission: Reference {
            source: "/affiliates/eu".parse().unwrap(),
            id: "order-9001-level-1".parse().unwrap(),
        },
    });
    assert_eq!(
        String::from_utf8(mature.canonical()).unwrap(),
        r#"{"commission":{"id":"order-9001-level-1","source":"/affiliates/eu"},"merchant":"acme"}"#
    );
}

#[test]
fn key_hashes_are_golden() {
    assert_eq!(key(&example(CREDIT, "valid")), "8e0c493f2e8bfe473f6add5cb7bacaa3");
    assert_eq!(key(&example(REVERSE, "valid")), "7569bd6eb01471ad912d3194cf4e0719");
}

#[test]
fn merchant_source_and_id_make_the_key_and_nothing_else_does() {
    let of = |merchant: &str, source: &str, id: &str| {
        let parsed = (merchant.parse().unwrap(), source.parse().unwrap(), id.parse().unwrap());
        CommandKey { merchant: parsed.0, source: parsed.1, id: parsed.2 }.hash()
    };
    let one = of("acme", "/a", "b");
    assert_ne!(one, of("acm", "/a", "b"));
    assert_ne!(one, of("acme", "/", "ab"));
    assert_ne!(one, of("acme", "/ab", "b"));
    assert_ne!(one, of("acme", "/a", "B"));
    for place in ["/time", "/data/amount", "/data/note"] {
        let value = if place == "/data/amount" { json!("1") } else { json!("2027-01-01T00:00:00Z") };
        assert_eq!(key(&changed(CREDIT, place, Some(value))), key(&example(CREDIT, "valid")), "{place}");
    }
}

#[test]
fn the_same_content_in_another_form_has_the_same_hash() {
    let expected = content(&credit(
        r#"{"merchant":"acme","customer":"c-17","amount":"12.50","currency":"EUR","order":"9001","level":1,
            "note":"Summer campaign","available_at":"2026-12-22T10:00:00Z"}"#,
    ));
    assert_eq!(expected, content(&example(CREDIT, "valid")), "other envelope attributes do not matter");
    let same = [
        (
            "key order and whitespace",
            "{\n\"available_at\":\"2026-12-22T10:00:00Z\",\"note\":\"Summer campaign\",\t\"level\" : 1,\"order\":\"9001\",
               \"currency\":\"EUR\",\"amount\":\"12.50\",\"customer\":\"c-17\",\"merchant\":\"acme\" }",
        ),
        (
            "12.5 for 12.50, another offset, decimals of a second, 1.0 for 1",
            r#"{"merchant":"acme","customer":"c-17","amount":"12.5","currency":"EUR","order":"9001","level":1.0,
                "note":"Summer campaign","available_at":"2026-12-22T11:00:00.0000000+01:00"}"#,
        ),
        (
            "escapes, in names too",
            r#"{"\u006derchant":"\u0061cme","customer":"c\u002d17","amount":"\u00312.50","currency":"EUR","order":"9001",
                "level":1e0,"note":"\u0053ummer\u0020campaign","available_at":"2026-12-22T10:00:00-00:00"}"#,
        ),
    ];
    for (what, data) in same {
        assert_eq!(content(&credit(data)), expected, "{what}");
    }
    let later = changed(CREDIT, "/time", Some(json!("2027-01-01T00:00:00Z")));
    assert_eq!(content(&later), expected, "a publisher that tries again may say so");
}

#[test]
fn any_other_value_is_other_content() {
    let credit = content(&example(CREDIT, "valid"));
    let reverse = content(&example(REVERSE, "valid"));
    let mut seen = std::collections::BTreeSet::from([credit, reverse]);
    let changes = [
        (CREDIT, "/data/merchant", Some(json!("acme-2"))),
        (CREDIT, "/data/customer", Some(json!("C-17"))),
        (CREDIT, "/data/amount", Some(json!("12.51"))),
        (CREDIT, "/data/currency", Some(json!("USD"))),
        (CREDIT, "/data/order", Some(json!("09001"))),
        (CREDIT, "/data/order", None),
        (CREDIT, "/data/level", Some(json!(2))),
        (CREDIT, "/data/level", None),
        (CREDIT, "/data/note", Some(json!("Summer campaign "))),
        (CREDIT, "/data/note", None),
        (CREDIT, "/data/available_at", Some(json!("2026-12-22T10:00:00.000001Z"))),
        (CREDIT, "/data/available_at", None),
        (REVERSE, "/data/merchant", Some(json!("acme-2"))),
        (REVERSE, "/data/commission/source", Some(json!("/affiliates/us"))),
        (REVERSE, "/data/commission/id", Some(json!("order-9001-level-2"))),
        (REVERSE, "/data/amount", Some(json!("4.01"))),
        (REVERSE, "/data/currency", Some(json!("USD"))),
        (REVERSE, "/data/reason", Some(json!("Nothing was returned"))),
        (REVERSE, "/data/reason", None),
    ];
    for (message_type, place, value) in changes {
        let what = format!("{message_type} {place} {value:?}");
        assert!(seen.insert(content(&changed(message_type, place, value))), "{what}");
    }
}

/// The same letters in another Unicode form are other letters: nothing is normalised but amounts and times.
#[test]
fn texts_are_compared_as_they_are() {
    let of = |note: &str| content(&changed(CREDIT, "/data/note", Some(json!(note))));
    assert_ne!(of("caf\u{e9}"), of("cafe\u{301}"));
}

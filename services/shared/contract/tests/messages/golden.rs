//! Hashes that are stored for ever: what they are, what changes them and what does not.

use contract::commission::{CommissionCommand, CommissionMature};
use contract::{CommandKey, Commands as _, Received, Reference};
use serde_json::{Value, json};

use crate::support::{self, AnyCommand, example, pointers, read, valid_commands};

const CREDIT: &str = "commission.credit.v1";
const REVERSE: &str = "commission.reverse.v1";
const PREFERENCES: &str = "preferences.put.v1";

fn received(text: &str) -> Received<AnyCommand> {
    read(text.as_bytes()).unwrap_or_else(|malformed| panic!("{malformed}: {text}"))
}

fn content(text: &str) -> String {
    hex::encode(received(text).content.0)
}

fn key(text: &str) -> String {
    received(text).key.hash().to_string()
}

fn canonical(text: &str) -> String {
    String::from_utf8(received(text).command.canonical()).unwrap()
}

/// The complete example with the value at this place replaced, or taken out.
fn changed(message_type: &str, place: &str, value: Option<Value>) -> String {
    support::changed(message_type, "valid", place, value)
}

/// The complete credit, its data written by hand.
fn credit(data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"order-9001-level-1","source":"/affiliates/eu","type":"commission.credit.v1",
            "time":"2026-11-22T10:00:00Z","data":{data}}}"#
    )
}

/// Computed by other means than this crate: from the documents, with Python's `json` and `hashlib`.
const CONTENT: &[(&str, &str, &str)] = &[
    ("commission.credit.v1", "valid", "189951330ac2f16bfb346add4a431a1bdfda79773abaec152b0bbdc07c09fac4"),
    (
        "commission.credit.v1",
        "valid-minimal",
        "a734dac383115e6a6092c7c80c24024c540541efac7b9b655279a5d0fcfa914d",
    ),
    ("commission.reverse.v1", "valid", "3c6c46dea07ec0d79951912a084133ab2159e8a2e53a4f40d42449fe45550e9b"),
    (
        "commission.reverse.v1",
        "valid-all-that-is-left",
        "e06bccd9d29b29ee5458a31642c9f493cc7100384438887a2410202b3fe974e6",
    ),
    ("adjustment.credit.v1", "valid", "4846994ecc1504d799df10e983caf917fdd08edb3d163dbbcc065b95ee328805"),
    (
        "adjustment.credit.v1",
        "valid-minimal",
        "d8a6ed2b52239b0d0dcb812913f714f2c653167b6849994baef22f5b2d41d6fd",
    ),
    ("adjustment.debit.v1", "valid", "36394c4a00c1a267d4aafd3eeb638ffdbe7fc39be3b5937791b054853b4222b1"),
    (
        "adjustment.debit.v1",
        "valid-minimal",
        "0d855d65e394f3ac5a566e3815af1ea7b5d27c423a87a50c06f479ad725312a8",
    ),
    ("adjustment.reverse.v1", "valid", "df811d12b5b9a89d3157af60cb6663cda2120facadd32ef18953800c780906a7"),
    (
        "adjustment.reverse.v1",
        "valid-by-id",
        "424b637fa07965a068943159dffb883e3e58fe6fd9d356d4ef914ecd881b3a28",
    ),
    ("withdrawal.request.v1", "valid", "ca69127b1149fa4ed72c7d231df10ab3b15df2baed502911e96290989f58c2e8"),
    (
        "withdrawal.request.v1",
        "valid-all-that-is-available",
        "89cc51eea7ab4bc92c869a8c7f0cf5805887aea98949fd625145f21e1dac7905",
    ),
    ("withdrawal.approve.v1", "valid", "808d4809f6864a7032d7a196cc24b7723bc61b33d94e49f09721496f7dbab3ad"),
    (
        "withdrawal.approve.v1",
        "valid-by-id",
        "4011868a454b0e0393ed9de07f05bf7194ed0812974fc0580c532564d1958278",
    ),
    ("withdrawal.pay.v1", "valid", "a8b903e0be55ec7125ebe875b5c02107682f0193cc98ff47b86a61dd028c1e52"),
    ("withdrawal.pay.v1", "valid-by-id", "31a4c7a9e5f0b34f1e341674f6b13a3b07fd13da522c9b379dddfe7a59e162a0"),
    ("withdrawal.reject.v1", "valid", "078c49e5dbbe7685bbe0b3cff8c39ed767ffb4f3e0221bcd4cd8c78b3179b1be"),
    (
        "withdrawal.reject.v1",
        "valid-by-id",
        "af0efc7e2d0b330561c480076ab688c3f7c325460b62fb6cbf92df55eee9c80f",
    ),
    ("withdrawal.cancel.v1", "valid", "af5b424f423581fa198bfb535fb90d43c49c7d4e9108069b6960ad728232407a"),
    (
        "withdrawal.cancel.v1",
        "valid-by-id",
        "02f25655a78e4a0dc32f0ec8e9140d9ae047a2e64bd94252e8cad6014708750c",
    ),
    ("customer.put.v1", "valid", "e855852925efc33d8d06a3c594ef194c7df8cf13f4c4ac25babd4234eaa94972"),
    ("customer.put.v1", "valid-minimal", "eb7c5dee3551c305dd32724bb2e4d2420e27521872a2e7e1a0c488ccf64960b5"),
    ("payout-method.put.v1", "valid", "302f0b0491e6d365cedbd859b4bdda0f3cdf71d3f689fb0c6620e5c710b323be"),
    (
        "payout-method.put.v1",
        "valid-bank-account-without-bic",
        "da568680f0945355ac425d474264de10d5aca872e90f283a77c0f7127fe39fc8",
    ),
    (
        "payout-method.put.v1",
        "valid-paypal",
        "6102cc77f42cb460f841430e7616c563c2c35e3b8459b33cda5c90b507bdd945",
    ),
    (
        "payout-method.put.v1",
        "valid-other",
        "a4c2a988b996c27006c7e570aca415b136204e58be449806c45420f77f2efb5f",
    ),
    ("preferences.put.v1", "valid", "5b51d6c755a34282418abd657f5285beba138cbd1fb992da51401c1f0cfc7e16"),
    (
        "preferences.put.v1",
        "valid-minimal",
        "9920745260a7959f4cd810b9e6827042e33624e577679108bba49094e4aa5b0f",
    ),
    (
        "preferences.put.v1",
        "valid-defaults-written-out",
        "9920745260a7959f4cd810b9e6827042e33624e577679108bba49094e4aa5b0f",
    ),
    ("preferences.put.v1", "valid-mails", "a1c19e4810c1281c82a2d766f9aad9a2f57672a178f2c429f1b57b02886bcdcb"),
];

#[test]
fn content_hashes_are_golden() {
    let found: Vec<_> = valid_commands()
        .into_iter()
        .map(|(message_type, name)| {
            let hash = content(&example(message_type, &name));
            (message_type, name, hash)
        })
        .collect();
    let mut expected: Vec<_> =
        CONTENT.iter().map(|(of, name, hash)| (*of, (*name).to_owned(), (*hash).to_owned())).collect();
    let place = |of: &str| found.iter().position(|(message_type, ..)| *message_type == of);
    expected.sort_by_key(|(of, name, _)| (place(of), name.clone()));
    assert_eq!(found, expected);
}

#[test]
fn the_hashed_form_is_rfc_8785() {
    assert_eq!(
        canonical(&example(CREDIT, "valid")),
        r#"{"amount":"12.50","available_at":"2026-12-22T10:00:00Z","currency":"EUR","customer":"c-17","level":1,"merchant":"acme","note":"Summer campaign","order":"9001"}"#
    );
    assert_eq!(
        canonical(&example(REVERSE, "valid")),
        r#"{"amount":"4.00","commission":{"id":"order-9001-level-1","source":"/affiliates/eu"},"currency":"EUR","merchant":"acme","reason":"Part of the order was returned"}"#
    );
    assert_eq!(
        canonical(&example("payout-method.put.v1", "valid")),
        r#"{"bank_account":{"bic":"COBADEFFXXX","holder":"Erika Mustermann","iban":"DE89370400440532013000"},"customer":"c-17","merchant":"acme"}"#
    );
    assert_eq!(
        canonical(&example("adjustment.reverse.v1", "valid-by-id")),
        r#"{"actor":"maria","entry":"1042-3","merchant":"acme","reason":"The parcel was on time after all"}"#
    );
    assert_eq!(
        canonical(&example(PREFERENCES, "valid-defaults-written-out")),
        r#"{"actor":"maria","merchant":"acme","name":"Acme Outdoor"}"#
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
    let golden = [
        ("commission.credit.v1", "8e0c493f2e8bfe473f6add5cb7bacaa3"),
        ("commission.reverse.v1", "7569bd6eb01471ad912d3194cf4e0719"),
        ("adjustment.credit.v1", "250af2bed87c5960466975f45e2e1092"),
        ("adjustment.debit.v1", "d7c2e9a5d163f5e6cd1cf4aad9c9580b"),
        ("adjustment.reverse.v1", "232cf95bf3dc0b3d92458534887a693a"),
        ("withdrawal.request.v1", "eaeeb1b67a532101a54c8511f4ad659b"),
        ("withdrawal.approve.v1", "321baf5e3169814e262e5b49e177d6d8"),
        ("withdrawal.pay.v1", "44741dbe17f058a72d68d03d438e5541"),
        ("withdrawal.reject.v1", "13452f136d49c3e94be6964023041fa7"),
        ("withdrawal.cancel.v1", "66a2c0572cadb0acd01b9e961c218b0c"),
        ("customer.put.v1", "78f8b487ff311d03f5d62da2930218ac"),
        ("payout-method.put.v1", "eb7829c6b48055a663ced8d75e059999"),
        ("preferences.put.v1", "6a874e21a8ad476096f1d36a57ab928f"),
    ];
    for (message_type, hash) in golden {
        assert_eq!(key(&example(message_type, "valid")), hash, "{message_type}");
    }
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

/// What is absent has its default: whether that is written out makes no other command.
#[test]
fn a_default_is_the_same_content_whether_it_is_written_out_or_not() {
    let minimal = content(&example(PREFERENCES, "valid-minimal"));
    assert_eq!(content(&example(PREFERENCES, "valid-defaults-written-out")), minimal);
    let message: Value = serde_json::from_str(&example(PREFERENCES, "valid-defaults-written-out")).unwrap();
    let optional =
        |at: &String| at.starts_with("/data/") && !["merchant", "name", "actor"].contains(&&at[6..]);
    let places: Vec<_> = pointers(&message).into_iter().filter(optional).collect();
    assert!(places.len() > 10, "{places:?}");
    for place in places {
        let without = support::changed(PREFERENCES, "valid-defaults-written-out", &place, None);
        assert_eq!(content(&without), minimal, "{place}");
        let other = if place.starts_with("/data/mails/") { "valid-mails" } else { "valid" };
        let nowhere_else = support::changed(PREFERENCES, other, &place, message.pointer(&place).cloned());
        assert_ne!(content(&nowhere_else), minimal, "{place}");
    }
    let nothing = changed(PREFERENCES, "/data/withdrawals/minimum/KWD", None);
    let zero = changed(PREFERENCES, "/data/withdrawals/minimum/KWD", Some(json!("0.00")));
    assert_eq!(content(&zero), content(&nothing), "a minimum of zero is no minimum");
    let limit = changed(PREFERENCES, "/data/negative_limit/JPY", None);
    assert_ne!(content(&limit), content(&example(PREFERENCES, "valid")), "a limit of zero is a limit");
}

#[test]
fn amounts_of_preferences_stand_at_their_currency_s_exponent() {
    let expected = content(&example(PREFERENCES, "valid"));
    for (place, other) in [
        ("/data/negative_limit/EUR", "100"),
        ("/data/negative_limit/EUR", "100.0"),
        ("/data/withdrawals/minimum/KWD", "20.00"),
        ("/data/withdrawals/auto_approve_below/EUR", "20.0"),
    ] {
        assert_eq!(content(&changed(PREFERENCES, place, Some(json!(other)))), expected, "{place} {other}");
    }
}

/// Takes out, and changes, every value of the data of every complete example.
#[test]
fn any_other_value_is_other_content() {
    let mut seen: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
    let mut see = |text: &str, what: String| {
        let Ok(received) = read(text.as_bytes()) else { return 0 };
        if let Some(same) = seen.insert(hex::encode(received.content.0), what.clone()) {
            panic!("{what}: the same as {same}");
        }
        1
    };
    let mut distinct = 0;
    for (message_type, name) in valid_commands() {
        // The others say the same in fewer words, or have nothing to take out.
        if !["valid", "valid-paypal", "valid-other", "valid-mails"].contains(&name.as_str()) {
            continue;
        }
        let text = example(message_type, &name);
        distinct += see(&text, format!("{message_type} {name}"));
        let message: Value = serde_json::from_str(&text).unwrap();
        for place in pointers(&message).into_iter().filter(|at| at.starts_with("/data/")) {
            let what = |other: &Value| format!("{message_type} {name} {place} {other}");
            let without = support::changed(message_type, &name, &place, None);
            distinct += see(&without, what(&Value::Null));
            for other in others(message.pointer(&place).unwrap()) {
                let with = support::changed(message_type, &name, &place, Some(other.clone()));
                distinct += see(&with, what(&other));
            }
        }
    }
    assert!(distinct > 120, "{distinct}");
}

/// Values like this one, and another. The only other boolean is what absent means.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Number(number) => vec![json!(number.as_u64().unwrap() + 1)],
        Value::String(text) => [
            text.replace("EUR", "USD"),
            text.replace('0', "1"),
            text.replace(":00Z", ":00.000001Z"),
            text.replace("DE89370400440532013000", "GB29NWBK60161331926819"),
            format!("{text} "),
            format!("x{text}"),
        ]
        .into_iter()
        .filter(|other| other != text)
        .map(Value::String)
        .collect(),
        _ => vec![],
    }
}

/// The same letters in another Unicode form are other letters: nothing is normalised but amounts and times.
#[test]
fn texts_are_compared_as_they_are() {
    let of = |note: &str| content(&changed(CREDIT, "/data/note", Some(json!(note))));
    assert_ne!(of("caf\u{e9}"), of("cafe\u{301}"));
}

//! What must not be seen: values in what is said of a malformed message, people's data in debug output.

use contract::payout::{BankAccount, Bic, Iban, OtherMethod, PayoutText, Paypal};
use contract::{Email, PayoutMethod, PersonName, UserId};
use serde_json::{Value, json};

use crate::support::{changed, example, pointers, read, valid_commands};

const CREDIT: &str = "commission.credit.v1";

/// Puts texts, numbers and containers of them everywhere in every example: whatever is said of it, they are
/// not repeated.
#[test]
fn no_value_is_ever_repeated() {
    let texts = [
        "canary",
        "canary\u{1}",
        "CANARY",
        "canary 7310731",
        "7310731e1",
        "-7310731",
        "7310731.",
        "07310731",
        "7310731.07310",
        "7310731-11-22T10:00:00Z",
        "73107310731073",
        "/saldo/canary",
    ];
    let mut values: Vec<Value> = texts.iter().map(|text| json!(text)).collect();
    values.extend([json!("canary".repeat(200)), json!(7_310_731), json!(-7_310_731), json!(7_310_731.5)]);
    values.extend([json!(7.310_731e200), json!(u64::MAX / 7_310_731 * 7_310_731)]);
    let containers: Vec<Value> =
        values.iter().flat_map(|value| [json!([value]), json!({ "a": value })]).collect();
    values.extend(containers);

    let mut refusals = 0;
    for (message_type, name) in valid_commands() {
        let message: Value = serde_json::from_str(&example(message_type, &name)).unwrap();
        for at in pointers(&message) {
            for value in &values {
                let mut message = message.clone();
                *message.pointer_mut(&at).unwrap() = value.clone();
                let Err(malformed) = read(message.to_string().as_bytes()) else { continue };
                let said = malformed.to_string().to_lowercase();
                refusals += 1;
                for secret in ["canary", "7310731", "731073", "7.310", &value.to_string()] {
                    assert!(!said.contains(secret), "{message_type} {at} {value}: {said}");
                }
            }
        }
    }
    assert!(refusals > 15_000, "{refusals}");
}

/// The same for bodies that are no JSON: cut anywhere, or with one byte in the place of another anywhere.
#[test]
fn no_value_of_a_broken_body_is_repeated() {
    let mut message: Value = serde_json::from_str(&example(CREDIT, "valid")).unwrap();
    message["id"] = json!("canary-1");
    message["source"] = json!("/canary");
    for name in ["merchant", "customer", "order", "note"] {
        message["data"][name] = json!("canary-2");
    }
    message["data"]["amount"] = json!("7310731.01");
    let body = message.to_string().into_bytes();
    assert!(read(&body).is_ok());
    let check = |body: &[u8]| {
        if let Err(malformed) = read(body) {
            let said = malformed.to_string();
            assert!(!said.contains("canary") && !said.contains("731073"), "{said}");
        }
    };
    for at in 0..body.len() {
        check(&body[..at]);
        for byte in [b'"', b'\\', b'{', b'}', b'[', b']', b',', b':', b'0', b'-', b' ', 0, 0x80, 0xff] {
            let mut body = body.clone();
            body[at] = byte;
            check(&body);
        }
    }
}

#[test]
fn debug_output_shows_nobody() {
    let email: Email = "canary@canary.example".parse().unwrap();
    let name: PersonName = "Canary".parse().unwrap();
    let iban: Iban = "DE89370400440532013000".parse().unwrap();
    let bic: Bic = "CANARYFF".parse().unwrap();
    let text: PayoutText = "Canary".parse().unwrap();
    let account = BankAccount { iban: iban.clone(), bic: Some(bic.clone()), holder: name.clone() };
    let shown = [
        (format!("{email:?}"), "Email(…)"),
        (format!("{name:?}"), "PersonName(…)"),
        (format!("{iban:?}"), "Iban(…)"),
        (format!("{bic:?}"), "Bic(…)"),
        (format!("{text:?}"), "PayoutText(…)"),
        (
            format!("{:?}", PayoutMethod::BankAccount(account)),
            "BankAccount(BankAccount { iban: Iban(…), bic: Some(Bic(…)), holder: PersonName(…) })",
        ),
        (format!("{:?}", PayoutMethod::Paypal(Paypal { email })), "Paypal(Paypal { email: Email(…) })"),
        (
            format!("{:?}", PayoutMethod::Other(OtherMethod { text })),
            "Other(OtherMethod { text: PayoutText(…) })",
        ),
    ];
    for (debug, expected) in shown {
        assert_eq!(debug, expected);
    }
}

/// Whatever is received, in every form of debug output.
#[test]
fn debug_output_of_a_received_command_shows_nobody() {
    const CUSTOMER: &str = "customer.put.v1";
    const PAYOUT_METHOD: &str = "payout-method.put.v1";
    const PREFERENCES: &str = "preferences.put.v1";
    let secrets = [
        (CUSTOMER, "valid", "/data/name", "Canary"),
        (CUSTOMER, "valid", "/data/email", "canary@canary.example"),
        (PAYOUT_METHOD, "valid", "/data/bank_account/iban", "GB29NWBK60161331926819"),
        (PAYOUT_METHOD, "valid", "/data/bank_account/bic", "CANARYFF"),
        (PAYOUT_METHOD, "valid", "/data/bank_account/holder", "Canary"),
        (PAYOUT_METHOD, "valid-paypal", "/data/paypal/email", "canary@canary.example"),
        (PAYOUT_METHOD, "valid-other", "/data/other/text", "Canary"),
        (PREFERENCES, "valid", "/data/notify/0", "canary@canary.example"),
    ];
    for (message_type, name, place, secret) in secrets {
        let body = changed(message_type, name, place, Some(json!(secret)));
        let mut received = read(body.as_bytes()).unwrap();
        received.user = Some("acme-admin".parse::<UserId>().unwrap());
        for debug in [format!("{received:?}"), format!("{received:#?}"), format!("{:?}", received.command)] {
            let shown = debug.to_lowercase();
            for part in ["canary", "6819", "nwbk"] {
                assert!(!shown.contains(part), "{message_type} {place}: {debug}");
            }
        }
    }
}

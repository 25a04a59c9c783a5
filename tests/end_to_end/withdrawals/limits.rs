//! What cannot be requested: too much, too little, or what is no amount.

use lapin::Confirmation;
use serde_json::{Value, json};
use tests::message::{MERCHANT, customer, preferences, request, routing_key};
use tests::{PATIENCE, Publisher};

use crate::shop::{Shop, expected, figures};

fn in_currency(mut message: Value, currency: &str) -> Value {
    message["data"]["currency"] = json!(currency);
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_met_changes_nothing() {
    let mut shop = Shop::new(json!({}), &[("anna", "100.00")]).await;
    let dead = shop.world.dead_letters_of("withdrawals").await;
    shop.start(&["withdrawals"]).await;
    shop.done(request("open", "anna", Some("40.00")), "withdrawal.requested").await;
    let before = shop.money().await;
    let decided = shop.world.count("SELECT count(*) FROM inbox").await;

    let mut malformed: Vec<_> = [
        "-1.00", "-0.01", "0", "0.00", "10.001", "0.001", "10.000", "1e1", "+1.00", "010.00", " 1.00",
        "1,00", "",
    ]
    .iter()
    .enumerate()
    .map(|(n, amount)| request(&format!("malformed-{n}"), "anna", Some(amount)))
    .collect();
    for (n, amount) in [json!(10), json!(-1.5), json!(null), json!(["10.00"])].into_iter().enumerate() {
        let mut message = request(&format!("malformed-type-{n}"), "anna", None);
        message["data"]["amount"] = amount;
        malformed.push(message);
    }
    for (n, (amount, currency)) in
        [("1.5", "JPY"), ("1.0005", "KWD"), ("1.00", "BTC"), ("1.00", "eur"), ("1.00", "XAU")]
            .iter()
            .enumerate()
    {
        let message = request(&format!("malformed-currency-{n}"), "anna", Some(amount));
        malformed.push(in_currency(message, currency));
    }
    for message in &malformed {
        let body = message.to_string();
        let (key, properties) = (routing_key(message), Publisher::properties());
        let published = shop.publisher.raw(&key, body.as_bytes(), properties).await;
        assert_eq!(published, Confirmation::Ack(None));
    }
    let letters = dead.at_least(malformed.len(), PATIENCE).await;
    for letter in &letters {
        assert_eq!(letter.header("saldo-reason").as_deref(), Some("invalid-data"), "{:?}", letter.json());
    }

    // 100.00 less the 40.00 that are held.
    let over = shop.refused(request("over", "anna", Some("60.01")), "insufficient-funds").await;
    assert_eq!(over["data"]["message"], "60.01 EUR is more than the 60.00 EUR that is available.");
    assert_eq!(figures(&over), expected("100.00", "40.00", "60.00", 2));
    shop.refused(request("balance", "anna", Some("100.00")), "insufficient-funds").await;
    shop.refused(request("most", "anna", Some("999999999999.99")), "insufficient-funds").await;
    for currency in ["USD", "JPY", "KWD"] {
        let of =
            |id: &str, amount| in_currency(request(&format!("{id}-{currency}"), "anna", amount), currency);
        let some = shop.refused(of("some", Some("1")), "insufficient-funds").await;
        assert_eq!(some["data"]["account"], Value::Null);
        let all = shop.refused(of("all", None), "insufficient-funds").await;
        assert_eq!(all["data"]["message"], "Nothing is available.");
        assert_eq!(shop.account("anna", currency).await, None);
    }
    assert_eq!(shop.money().await, before, "balance, held, version, entries, withdrawals: all as they were");
    assert_eq!(shop.world.count("SELECT count(*) FROM inbox").await, decided + 9, "the refusals");
    assert_eq!(dead.count(), malformed.len());

    // And exactly what is available, after which there is nothing.
    let all = shop.done(request("all", "anna", None), "withdrawal.requested").await;
    assert_eq!(all["data"]["amount"], "60.00");
    assert_eq!(figures(&all), expected("100.00", "100.00", "0.00", 3));
    let before = shop.money().await;
    shop.refused(request("cent", "anna", Some("0.01")), "insufficient-funds").await;
    shop.refused(request("nothing", "anna", None), "insufficient-funds").await;
    assert_eq!(shop.money().await, before);
    eprintln!("{} malformed and 11 refused requests changed nothing", malformed.len());
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_withdraw_is_told_why_and_nothing_changes() {
    let mut shop = Shop::new(json!({}), &[("anna", "100.00")]).await;
    shop.start(&["withdrawals"]).await;
    shop.done(customer("k-1", "bert", "customer"), "customer.updated").await;
    shop.done(customer("k-2", "carl", "affiliate"), "customer.updated").await;
    let before = shop.money().await;
    shop.refused(request("w-1", "nobody", Some("1.00")), "unknown-customer").await;
    shop.refused(request("w-2", "bert", Some("1.00")), "not-an-affiliate").await;
    shop.refused(request("w-3", "carl", Some("1.00")), "no-payout-method").await;
    let mut disabled = preferences("p-2", MERCHANT);
    disabled["time"] = json!("2026-11-22T11:00:00Z");
    disabled["data"]["withdrawals"]["enabled"] = json!(false);
    shop.done(disabled, "preferences.updated").await;
    shop.refused(request("w-4", "anna", Some("1.00")), "withdrawals-disabled").await;
    assert_eq!(shop.money().await, before);
    shop.close().await;
}

/// A currency, its minimum, one smallest unit below and above it, and that unit.
const MINIMUMS: [(&str, [&str; 3], &str); 3] = [
    ("JPY", ["4999", "5000", "5001"], "1"),
    ("EUR", ["49.99", "50.00", "50.01"], "0.01"),
    ("KWD", ["10.004", "10.005", "10.006"], "0.001"),
];

fn with_minimum(rule: &str) -> Value {
    json!({
        "minimum": { "JPY": "5000", "EUR": "50", "KWD": "10.005" },
        "minimum_rule": rule,
        "message_not_reached": {
            "en": "{missing} more for {min-value}; you have {balance}.",
            "de": "Es fehlen {missing} bis {min-value}: Sie haben {balance}.",
        },
    })
}

/// The refusal's sentence, with ordinary spaces.
fn sentence(refused: &Value) -> String {
    refused["data"]["message"].as_str().unwrap().replace('\u{a0}', " ")
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_balance_rule_what_is_available_must_reach_the_minimum() {
    let mut shop = Shop::new(with_minimum("balance"), &[]).await;
    shop.start(&["withdrawals"]).await;
    let sentences = [
        "1 JPY more for 5,000 JPY; you have 4,999 JPY.",
        "0.01 EUR more for 50.00 EUR; you have 49.99 EUR.",
        "0.001 KWD more for 10.005 KWD; you have 10.004 KWD.",
    ];
    for ((currency, [below, exactly, above], unit), told) in MINIMUMS.into_iter().zip(sentences) {
        let of = |id: &str, who: &str, amount| {
            in_currency(request(&format!("{id}-{currency}"), who, amount), currency)
        };
        for (who, earned) in [("below", below), ("exactly", exactly), ("above", above)] {
            shop.affiliate(who, earned, currency).await;
        }
        for (id, amount) in [("b-1", Some(unit)), ("b-2", Some(below)), ("b-3", None), ("b-4", Some(above))] {
            let refused = shop.refused(of(id, "below", amount), "below-minimum").await;
            assert_eq!(sentence(&refused), told);
            assert_eq!(refused["data"]["account"]["version"], 1);
        }
        // However little of it is requested; what is held is available no more.
        let requested = shop.done(of("e-1", "exactly", Some(unit)), "withdrawal.requested").await;
        assert_eq!(requested["data"]["minimum"], exactly);
        let refused = shop.refused(of("e-2", "exactly", Some(unit)), "below-minimum").await;
        assert_eq!(sentence(&refused), told);
        shop.done(of("a-1", "above", Some(unit)), "withdrawal.requested").await;
        let rest = shop.done(of("a-2", "above", None), "withdrawal.requested").await;
        assert_eq!(rest["data"]["amount"], exactly);
    }
    let mut german = customer("k-1", "below", "affiliate");
    german["data"]["locale"] = json!("de");
    shop.done(german, "customer.updated").await;
    let refused = shop.refused(request("german", "below", None), "below-minimum").await;
    assert_eq!(sentence(&refused), "Es fehlen 0,01 EUR bis 50,00 EUR: Sie haben 49,99 EUR.");
    // There is no minimum in dollars.
    shop.affiliate("below", "0.01", "USD").await;
    let cent = in_currency(request("dollars", "below", None), "USD");
    let requested = shop.done(cent, "withdrawal.requested").await;
    assert_eq!(requested["data"]["minimum"], Value::Null);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_amount_rule_what_is_requested_must_reach_the_minimum() {
    let mut shop = Shop::new(with_minimum("amount"), &[]).await;
    shop.start(&["withdrawals"]).await;
    let (sentences, missing) = (
        [
            "4999 JPY is less than the minimum of 5000 JPY.",
            "49.99 EUR is less than the minimum of 50.00 EUR.",
            "10.004 KWD is less than the minimum of 10.005 KWD.",
        ],
        [
            "1 JPY more for 5,000 JPY; you have 4,999 JPY.",
            "0.01 EUR more for 50.00 EUR; you have 49.99 EUR.",
            "0.001 KWD more for 10.005 KWD; you have 10.004 KWD.",
        ],
    );
    for (n, (currency, [below, exactly, above], unit)) in MINIMUMS.into_iter().enumerate() {
        let of = |id: &str, who: &str, amount| {
            in_currency(request(&format!("{id}-{currency}"), who, amount), currency)
        };
        for (who, earned) in [("rich", "20000"), ("below", below), ("exactly", exactly)] {
            shop.affiliate(who, earned, currency).await;
        }
        let refused = shop.refused(of("r-1", "rich", Some(below)), "below-minimum").await;
        assert_eq!(sentence(&refused), sentences[n]);
        shop.refused(of("r-2", "rich", Some(unit)), "below-minimum").await;
        let requested = shop.done(of("r-3", "rich", Some(exactly)), "withdrawal.requested").await;
        assert_eq!(requested["data"]["amount"], exactly);
        assert_eq!(requested["data"]["minimum"], exactly);
        shop.done(of("r-4", "rich", Some(above)), "withdrawal.requested").await;
        // Who has not enough for any request is told how much is missing.
        let refused = shop.refused(of("b-1", "below", None), "below-minimum").await;
        assert_eq!(sentence(&refused), missing[n]);
        shop.refused(of("e-1", "exactly", Some(above)), "insufficient-funds").await;
        let all = shop.done(of("e-2", "exactly", None), "withdrawal.requested").await;
        assert_eq!(all["data"]["amount"], exactly);
    }
    shop.close().await;
}

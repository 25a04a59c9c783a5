//! Small requests need nobody's approval; how one is paid is settled when it is made.

use serde_json::{Value, json};
use tests::message::{at, cancel, decide, payout_method, request};
use tests::{PATIENCE, eventually};

use crate::shop::{Shop, expected, figures};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_below_the_shops_limit_is_approved_at_once_and_one_at_it_is_not() {
    let mut shop =
        Shop::new(json!({ "auto_approve_below": { "EUR": "50", "JPY": "500" } }), &[("anna", "150.00")])
            .await;
    shop.start(&["withdrawals"]).await;
    shop.affiliate("anna", "1000", "JPY").await;
    shop.affiliate("anna", "1000.00", "USD").await;
    let requested = shop.done(request("at", "anna", Some("50.00")), "withdrawal.requested").await;
    assert_eq!(figures(&requested), expected("150.00", "50.00", "100.00", 2));

    let below = request("below", "anna", Some("49.99"));
    let requested = shop.done(below.clone(), "withdrawal.requested").await;
    assert_eq!(requested["data"]["state"], "requested");
    assert_eq!(figures(&requested), expected("150.00", "99.99", "50.01", 3));
    let approved = shop.events.first("below", "withdrawal.approved").await;
    assert_eq!(approved["data"]["state"], "approved");
    assert_eq!(figures(&approved), expected("150.00", "99.99", "50.01", 4));
    for name in ["actor", "user", "note"] {
        assert_eq!(approved["data"][name], Value::Null, "nobody approved it");
    }
    assert_ne!(approved["id"], requested["id"]);
    assert_eq!(
        shop.history("below").await,
        [(1, "requested"), (2, "approved")].map(|(n, state)| (n, state.to_owned(), "below".to_owned()))
    );
    assert_eq!(shop.history("at").await.len(), 1);
    let outcome: (String, i64) = sqlx::query_as("SELECT outcome, version FROM inbox WHERE id = 'below'")
        .fetch_one(&mut shop.world.superuser().await)
        .await
        .unwrap();
    let stored: Vec<Value> = outcome.0.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(stored, [requested, approved], "both are the outcome, in their order");
    assert_eq!(outcome.1, 4);

    // A copy is told both again; that both are the same bytes, the end compares.
    shop.publisher.publish(&[below]).await;
    eventually("both are told again", PATIENCE, || async {
        let told =
            ["withdrawal.requested", "withdrawal.approved"].map(|name| shop.events.of("below", name).len());
        if told == [2, 2] { Ok(()) } else { Err(told) }
    })
    .await;

    for (id, amount, currency, states) in
        [("yen-at", "500", "JPY", 1), ("yen-below", "499", "JPY", 2), ("dollars", "0.01", "USD", 1)]
    {
        let mut request = request(id, "anna", Some(amount));
        request["data"]["currency"] = json!(currency);
        shop.done(request, "withdrawal.requested").await;
        assert_eq!(shop.history(id).await.len(), states, "{id}");
    }
    // It is an approval like any other.
    shop.refused(decide("approve", "d-1", "below"), "invalid-transition").await;
    shop.done(decide("pay", "d-2", "below"), "withdrawal.paid").await;
    shop.done(cancel("d-3", "anna", "yen-below"), "withdrawal.cancelled").await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_method_put_after_the_request_does_not_change_how_that_is_paid() {
    let mut shop = Shop::new(json!({}), &[("anna", "100.00")]).await;
    shop.start(&["withdrawals"]).await;
    let iban = json!({ "kind": "bank-account", "masked": "DE** **** … 3000", "version": 1 });
    let paypal = json!({ "kind": "paypal", "masked": "a***@e***", "version": 2 });
    let payout = |event: Value| event["data"]["payout"].clone();
    let requests = ["w-1", "w-2", "w-3"].map(|id| request(id, "anna", Some("10.00")));
    for request in requests {
        assert_eq!(payout(shop.done(request, "withdrawal.requested").await), iban);
    }
    let mut put = at(payout_method("m-2", "anna"), "2026-11-22T11:00:00Z");
    put["data"].as_object_mut().unwrap().remove("bank_account");
    put["data"]["paypal"] = json!({ "email": "anna@example.com" });
    let updated = shop.done(put, "payout-method.updated").await;
    assert_eq!(updated["data"]["version"], 2);
    let requested = shop.done(request("w-4", "anna", Some("10.00")), "withdrawal.requested").await;
    assert_eq!(payout(requested), paypal);
    for (step, event) in [
        (decide("approve", "d-1", "w-1"), "withdrawal.approved"),
        (decide("pay", "d-2", "w-1"), "withdrawal.paid"),
        (decide("reject", "d-3", "w-2"), "withdrawal.rejected"),
        (cancel("d-4", "anna", "w-3"), "withdrawal.cancelled"),
    ] {
        assert_eq!(payout(shop.done(step, event).await), iban, "{event}");
    }
    assert_eq!(payout(shop.done(decide("pay", "d-5", "w-4"), "withdrawal.paid").await), paypal);
    let versions = "SELECT count(*) FROM withdrawal WHERE payout_version = 1";
    assert_eq!(shop.world.count(versions).await, 3);
    shop.close().await;
}

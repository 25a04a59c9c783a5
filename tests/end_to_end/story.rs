//! The whole story, through all four workers.

use serde_json::{Value, json};
use tests::message::{
    adjustment, at, cancel, customer, decide, payout_method, preferences, request, reverse_adjustment,
};
use tests::secrets::{Secrets, places};
use tests::{World, credit, reverse};

#[tokio::test(flavor = "multi_thread")]
async fn an_affiliate_earns_and_is_paid() {
    let world = World::new().await;
    let events = world.events().await;
    let publisher = world.publisher().await;
    let mut dead = Vec::new();
    for name in tests::world::WORKERS {
        dead.push(world.dead_letters_of(name).await);
    }
    let mut workers = Vec::new();
    for name in tests::world::WORKERS {
        workers.push(world.worker_of(name).ready().await);
    }
    let mut wanted = preferences("p-1", "shop");
    wanted["data"]["withdrawals"]["minimum"] = json!({ "EUR": "50" });
    wanted["data"]["withdrawals"]["message_not_reached"] = json!({ "en": "{missing} more for {min-value}." });
    let of_shop = |mut message: Value| {
        message["data"]["merchant"] = json!("shop");
        message
    };
    publisher
        .publish(&[
            wanted,
            of_shop(customer("k-1", "anna", "affiliate")),
            of_shop(payout_method("m-1", "anna")),
        ])
        .await;
    let method = events.first("m-1", "payout-method.updated").await;
    assert_eq!(method["data"]["masked"], "DE** **** … 3000");
    assert_eq!(method["data"]["version"], 1);

    publisher.publish(&[of_shop(credit("c-1", "anna", "40.00"))]).await;
    events.first("c-1", "commission.credited").await;
    publisher.publish(&[of_shop(request("w-1", "anna", Some("10.00")))]).await;
    let refused = events.first("w-1", "withdrawal.refused").await;
    assert_eq!(refused["data"]["reason"], "below-minimum");
    assert_eq!(
        refused["data"]["message"].as_str().unwrap().replace('\u{a0}', " "),
        "10.00 EUR more for 50.00 EUR."
    );

    publisher.publish(&[of_shop(adjustment("credit", "a-1", "anna", "60.00"))]).await;
    let credited = events.first("a-1", "adjustment.credited").await;
    assert_eq!(credited["data"]["account"]["balance"], "100.00");
    assert_eq!(credited["data"]["user"], tests::world::amqp_user());
    publisher.publish(&[of_shop(request("w-2", "anna", Some("80.00")))]).await;
    let requested = events.first("w-2", "withdrawal.requested").await;
    assert_eq!(requested["data"]["account"]["held"], "80.00");
    assert_eq!(requested["data"]["account"]["available"], "20.00");

    publisher.publish(&[of_shop(reverse_adjustment("r-1", "a-1"))]).await;
    let reversed = events.first("r-1", "adjustment.reversed").await;
    assert_eq!(reversed["data"]["account"]["balance"], "40.00");
    publisher.publish(&[of_shop(decide("pay", "d-1", "w-2"))]).await;
    assert_eq!(events.first("d-1", "withdrawal.refused").await["data"]["reason"], "insufficient-funds");
    publisher.publish(&[of_shop(credit("c-2", "anna", "50.00"))]).await;
    events.first("c-2", "commission.credited").await;

    // By Saldo's id this time.
    let mut pay = of_shop(decide("pay", "d-2", "w-2"));
    pay["data"]["withdrawal"] = requested["data"]["withdrawal"].clone();
    pay["data"]["payment_reference"] = json!("SEPA-1");
    publisher.publish(&[pay]).await;
    let paid = events.first("d-2", "withdrawal.paid").await;
    assert_eq!(paid["data"]["account"]["balance"], "10.00");
    assert_eq!(paid["data"]["account"]["held"], "0.00");
    assert_eq!(paid["data"]["entry"]["amount"], "-80.00");

    publisher.publish(&[of_shop(reverse("r-2", "c-2", None))]).await;
    let reversed = events.first("r-2", "commission.reversed").await;
    assert_eq!(reversed["data"]["account"]["balance"], "-40.00");
    publisher.publish(&[of_shop(cancel("x-1", "anna", "w-2"))]).await;
    assert_eq!(events.first("x-1", "withdrawal.refused").await["data"]["reason"], "invalid-transition");
    publisher.publish(&[at(of_shop(customer("k-2", "anna", "customer")), "2026-11-22T09:00:00Z")]).await;
    assert_eq!(events.first("k-2", "customer.refused").await["data"]["reason"], "outdated");
    for worker in &mut workers {
        assert!(worker.terminate().await.success());
    }
    world.assert_told(&events).await;
    world.assert_sound().await;

    let mut messages = vec![("event", &events)];
    messages.extend(dead.iter().map(|dead| ("dead letter", dead)));
    let traces = world.traces(&workers, &messages).await;
    Secrets::default().add_method(&payout_method("m-1", "anna")).assert_nowhere(&traces);
    assert!(places(method["data"]["masked"].as_str().unwrap(), &traces).contains("table saldo.inbox"));
}

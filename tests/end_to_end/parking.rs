//! What comes before what it needs waits, and is decided once: when that comes, after a restart, or refused when
//! the time is over.

use serde_json::{Value, json};
use sqlx::Row as _;
use tests::message::{
    adjustment, at, cancel, customer, decide, of_merchant, payout_method, preferences, request,
    reverse_adjustment,
};
use tests::world::{WORKERS, amqp_user};
use tests::{Collector, PATIENCE, Publisher, Worker, World, credit, eventually, reverse};

/// All four workers; they look often for what is parked, and it may wait this long.
async fn workers(world: &World, patience: &str) -> Vec<Worker> {
    let mut workers = Vec::new();
    for name in WORKERS {
        let mut builder = world.quick(name);
        builder.set("SALDO__PARKED__PATIENCE", patience).set("SALDO__PARKED__REVERSAL_PATIENCE", patience);
        workers.push(builder.ready().await);
    }
    workers
}

async fn stop(workers: &mut [Worker]) {
    for worker in workers {
        assert!(worker.terminate().await.success());
    }
}

/// Whatever the queues hold is decided or parked.
async fn taken(publisher: &Publisher) {
    for name in WORKERS {
        eventually("the queue is empty", PATIENCE, || async {
            match publisher.queued(&worker::topology::queue(name)).await.ready {
                0 => Ok(()),
                ready => Err(ready),
            }
        })
        .await;
    }
}

/// Copies of each, shuffled among each other.
fn copies(messages: &[Value]) -> Vec<Value> {
    messages.iter().chain(messages.iter().rev()).cloned().collect()
}

fn reason(event: &Value) -> &str {
    event["data"]["reason"].as_str().unwrap()
}

/// Anna of `shop`, who may withdraw; nothing yet in her account.
async fn anna(publisher: &Publisher, events: &Collector) {
    let messages = [
        preferences("shop", "shop"),
        of_merchant(customer("anna", "anna", "affiliate"), "shop"),
        of_merchant(payout_method("method", "anna"), "shop"),
    ];
    publisher.publish(&messages).await;
    events.first("method", "payout-method.updated").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_what_it_names_is_decided_once_also_after_a_restart() {
    let world = World::new().await;
    let events = world.events().await;
    let publisher = world.publisher().await;
    let mut first = workers(&world, "1h").await;
    anna(&publisher, &events).await;
    let shops = |message| of_merchant(message, "shop");
    let mut approve = decide("approve", "approve", "w");
    approve["data"]["note"] = json!("Looks good");
    let mut pay = decide("pay", "pay", "w");
    pay["data"]["payment_reference"] = json!("SEPA-7");
    let early = [
        approve,
        decide("approve", "again", "w"),
        pay,
        cancel("cancel", "anna", "w"),
        decide("reject", "reject", "x"),
        reverse_adjustment("undo", "a"),
        reverse_adjustment("undo-again", "a"),
        reverse("refund", "c", Some("4.00")),
    ]
    .map(shops);
    // In this order, so that the shop's approval is the first to be decided.
    for message in &early {
        publisher.publish(std::slice::from_ref(message)).await;
    }
    world.assert_parked(8).await;
    publisher.publish(&copies(&early)).await;
    taken(&publisher).await;
    stop(&mut first).await;
    assert_eq!(events.count(), 3, "nothing is told of what waits");

    let mut second = workers(&world, "1h").await;
    publisher.publish(&copies(&early)).await;
    publisher.publish(&[shops(credit("c", "anna", "100.00"))]).await;
    let refunded = events.first("refund", "commission.reversed").await;
    assert_eq!(refunded["data"]["account"]["balance"], "96.00");
    publisher.publish(&[shops(adjustment("credit", "a", "anna", "10.00"))]).await;
    let undone = events.first("undo", "adjustment.reversed").await;
    assert_eq!(undone["data"]["user"], amqp_user(), "the user has waited too");
    assert_eq!(undone["data"]["account"]["balance"], "96.00");
    assert_eq!(reason(&events.first("undo-again", "adjustment.refused").await), "already-reversed");

    publisher.publish(&[shops(request("w", "anna", Some("50.00")))]).await;
    let approved = events.first("approve", "withdrawal.approved").await;
    assert_eq!(approved["data"]["user"], amqp_user());
    let paid = events.first("pay", "withdrawal.paid").await;
    assert_eq!(paid["data"]["account"]["balance"], "46.00");
    for id in ["again", "cancel"] {
        assert_eq!(reason(&events.first(id, "withdrawal.refused").await), "invalid-transition", "{id}");
    }
    publisher.publish(&[shops(request("x", "anna", None))]).await;
    let rejected = events.first("reject", "withdrawal.rejected").await;
    assert_eq!(rejected["data"]["user"], amqp_user());
    assert_eq!(rejected["data"]["account"]["held"], "0.00");

    // Copies that come now are answered as before.
    publisher.publish(&copies(&early)).await;
    eventually("they are answered", PATIENCE, || async {
        let told = events.of("refund", "commission.reversed").len();
        if told >= 3 { Ok(()) } else { Err(told) }
    })
    .await;
    taken(&publisher).await;
    stop(&mut second).await;
    world.assert_parked(0).await;
    for (id, name) in [
        ("approve", "withdrawal.approved"),
        ("again", "withdrawal.refused"),
        ("pay", "withdrawal.paid"),
        ("cancel", "withdrawal.refused"),
        ("reject", "withdrawal.rejected"),
        ("undo", "adjustment.reversed"),
        ("undo-again", "adjustment.refused"),
        ("refund", "commission.reversed"),
    ] {
        events.assert_told_once(id, &[name]);
    }
    let history = sqlx::query(
        "SELECT t.state, t.actor, t.user_id FROM withdrawal_transition t JOIN inbox i ON i.key = t.withdrawal
         ORDER BY i.id, t.number",
    );
    let history: Vec<(String, Option<String>, Option<String>)> = history
        .fetch_all(&mut world.superuser().await)
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    let states: Vec<_> = history.iter().map(|(state, ..)| state.as_str()).collect();
    assert_eq!(states, ["requested", "approved", "paid", "requested", "rejected"]);
    let by = (Some("maria".to_owned()), Some(amqp_user()));
    for (state, actor, user) in history.into_iter().filter(|(state, ..)| state != "requested") {
        assert_eq!((actor, user), by, "{state}");
    }
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 5);
    assert_eq!(world.count("SELECT count(*) FROM entry WHERE user_id IS NOT NULL").await, 3);
    world.assert_told(&events).await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_for_a_merchant_whose_preferences_come_later_are_decided_once_also_after_a_restart() {
    let world = World::new().await;
    let events = world.events().await;
    let publisher = world.publisher().await;
    let mut first = workers(&world, "1h").await;
    let late = |message| of_merchant(message, "late");
    let early = [
        late(payout_method("method", "anna")),
        late(customer("person", "anna", "affiliate")),
        late(credit("credit", "anna", "100.00")),
        late(reverse("refund", "credit", Some("1.00"))),
        late(adjustment("credit", "add", "anna", "5.00")),
        late(adjustment("debit", "take", "anna", "2.00")),
        late(reverse_adjustment("undo", "take")),
    ];
    let withdraw = [
        late(request("request", "anna", Some("40.00"))),
        late(decide("approve", "approve", "request")),
        late(cancel("cancel", "bert", "request")),
    ];
    publisher.publish(&copies(&early)).await;
    publisher.publish(&copies(&withdraw)).await;
    world.assert_parked(10).await;
    taken(&publisher).await;
    stop(&mut first).await;
    assert_eq!(events.count(), 0);
    assert_eq!(world.count("SELECT count(*) FROM customer").await, 0);
    let sealed = "SELECT count(*) FROM waiting WHERE key_id IS NOT NULL";
    assert_eq!(world.count(sealed).await, 1, "the payout method waits encrypted");
    let users = "SELECT count(*) FROM waiting WHERE user_id IS NOT NULL";
    assert_eq!(world.count(users).await, 4, "the users of staff's commands wait with them");

    // The withdrawals worker looks when all that it asks for is there.
    let mut second = Vec::new();
    for name in ["directory", "commissions", "adjustments"] {
        second.push(world.quick(name).ready().await);
    }
    publisher.publish(&[early[0].clone(), early[2].clone(), preferences("shop", "late")]).await;
    let method = events.first("method", "payout-method.updated").await;
    assert_eq!(method["data"]["version"], 1);
    for (id, name) in [
        ("person", "customer.updated"),
        ("refund", "commission.reversed"),
        ("add", "adjustment.credited"),
        ("undo", "adjustment.reversed"),
    ] {
        events.first(id, name).await;
    }
    second.push(world.quick("withdrawals").ready().await);
    let approved = events.first("approve", "withdrawal.approved").await;
    assert_eq!(approved["data"]["account"]["held"], "40.00");
    assert_eq!(approved["data"]["account"]["balance"], "104.00");
    assert_eq!(approved["data"]["user"], amqp_user());
    assert_eq!(reason(&events.first("cancel", "withdrawal.refused").await), "unknown-withdrawal");
    publisher.publish(&copies(&early)).await;
    publisher.publish(&copies(&withdraw)).await;
    taken(&publisher).await;
    stop(&mut second).await;
    world.assert_parked(0).await;
    for (id, name) in [
        ("method", "payout-method.updated"),
        ("person", "customer.updated"),
        ("credit", "commission.credited"),
        ("refund", "commission.reversed"),
        ("add", "adjustment.credited"),
        ("take", "adjustment.debited"),
        ("undo", "adjustment.reversed"),
        ("request", "withdrawal.requested"),
        ("approve", "withdrawal.approved"),
        ("cancel", "withdrawal.refused"),
        ("shop", "preferences.updated"),
    ] {
        events.assert_told_once(id, &[name]);
    }
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 5);
    assert_eq!(world.count("SELECT count(*) FROM payout_method").await, 1);
    world.assert_told(&events).await;
    world.assert_sound().await;
}

/// Known through a put, a commission or an adjustment: all the same to a payout method that waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_payout_method_waits_for_its_customer_however_that_becomes_known() {
    let world = World::new().await;
    let events = world.events().await;
    let publisher = world.publisher().await;
    let mut workers = workers(&world, "1h").await;
    let early = ["put", "credit", "adjust"].map(|who| payout_method(&format!("m-{who}"), who));
    publisher.publish(&copies(&early)).await;
    // Two of one customer, the newer one first.
    let newer = at(payout_method("m-newer", "put"), "2026-11-22T10:00:01Z");
    publisher.publish(&[newer]).await;
    world.assert_parked(4).await;
    publisher.publish(&[customer("p", "put", "affiliate"), credit("c", "credit", "1.00")]).await;
    publisher.publish(&[adjustment("credit", "a", "adjust", "1.00")]).await;
    for id in ["m-credit", "m-adjust", "m-newer"] {
        events.first(id, "payout-method.updated").await;
    }
    world.assert_parked(0).await;
    publisher.publish(&copies(&early)).await;
    taken(&publisher).await;
    stop(&mut workers).await;
    assert_eq!(world.count("SELECT count(*) FROM payout_method WHERE version = 1").await, 3);
    let newest =
        "SELECT count(*) FROM (SELECT DISTINCT ON (customer) put_at FROM payout_method WHERE customer = 'put'
                  ORDER BY customer, version DESC) p WHERE put_at = '2026-11-22T10:00:01Z'";
    assert_eq!(world.count(newest).await, 1);
    world.assert_told(&events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_known_is_refused_as_unknown_when_the_time_is_over() {
    let world = World::new().await;
    let events = world.events().await;
    let publisher = world.publisher().await;
    let mut workers = workers(&world, "500ms").await;
    let nobodys = |message| of_merchant(message, "nobody");
    let messages = [
        (decide("approve", "approve", "never"), "withdrawal", "unknown-withdrawal"),
        (decide("pay", "pay", "never"), "withdrawal", "unknown-withdrawal"),
        (decide("reject", "reject", "never"), "withdrawal", "unknown-withdrawal"),
        (cancel("cancel", "anna", "never"), "withdrawal", "unknown-withdrawal"),
        (reverse_adjustment("undo", "never"), "adjustment", "unknown-entry"),
        (reverse("refund", "never", None), "commission", "unknown-commission"),
        (payout_method("method", "never"), "payout-method", "unknown-customer"),
        (nobodys(payout_method("no-method", "anna")), "payout-method", "unknown-merchant"),
        (nobodys(customer("no-person", "anna", "customer")), "customer", "unknown-merchant"),
        (nobodys(credit("no-credit", "anna", "1.00")), "commission", "unknown-merchant"),
        (nobodys(adjustment("credit", "no-add", "anna", "1.00")), "adjustment", "unknown-merchant"),
        (nobodys(adjustment("debit", "no-take", "anna", "1.00")), "adjustment", "unknown-merchant"),
        (nobodys(request("no-request", "anna", None)), "withdrawal", "unknown-merchant"),
    ];
    let all: Vec<_> = messages.iter().map(|(message, ..)| message.clone()).collect();
    publisher.publish(&copies(&all)).await;
    for (message, name, why) in &messages {
        let id = message["id"].as_str().unwrap();
        let refused = events.first(id, &format!("{name}.refused")).await;
        assert_eq!(reason(&refused), *why, "{id}");
        assert_eq!(refused["data"].get("account"), None, "{id}");
        assert_eq!(refused["data"].get("withdrawal"), None, "{id}");
    }
    // Refused is refused, also when it comes after all.
    publisher.publish(&[customer("person", "never", "affiliate"), preferences("shop", "nobody")]).await;
    events.first("shop", "preferences.updated").await;
    publisher.publish(&copies(&all)).await;
    taken(&publisher).await;
    stop(&mut workers).await;
    world.assert_parked(0).await;
    for (message, name, _) in &messages {
        events.assert_told_once(message["id"].as_str().unwrap(), &[&format!("{name}.refused")]);
    }
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM payout_method").await, 0);
    world.assert_told(&events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_something_that_is_refused_or_something_else_is_refused_at_once() {
    let world = World::new().await;
    let events = world.events().await;
    let publisher = world.publisher().await;
    let mut workers = workers(&world, "1h").await;
    anna(&publisher, &events).await;
    let shops = |message| of_merchant(message, "shop");
    let mut limit = at(preferences("limit", "shop"), "2026-11-22T11:00:00Z");
    limit["data"]["negative_limit"] = json!({ "EUR": "0" });
    publisher.publish(&[limit]).await;
    events.first("limit", "preferences.updated").await;
    let mut pending = shops(credit("held", "anna", "1.00"));
    pending["data"]["available_at"] = json!("2099-01-01T00:00:00Z");
    // Each waits for an id: refused later, or something of another kind; and named again when that is decided.
    let cases = [
        (decide("pay", "pay", "w"), request("w", "anna", Some("1.00")), "withdrawal-refused"),
        (reverse_adjustment("undo", "a"), adjustment("debit", "a", "anna", "1.00"), "adjustment-refused"),
        (decide("approve", "not-1", "n1"), adjustment("credit", "n1", "anna", "1.00"), "not-a-withdrawal"),
        (cancel("not-2", "anna", "n2"), credit("n2", "anna", "1.00"), "not-a-withdrawal"),
        (decide("approve", "not-8", "n8"), customer("n8", "carl", "customer"), "not-a-withdrawal"),
        (reverse_adjustment("not-3", "n3"), credit("n3", "anna", "1.00"), "not-an-adjustment"),
        (reverse_adjustment("not-4", "held"), pending, "not-an-adjustment"),
        (reverse("not-5", "n5", None), adjustment("credit", "n5", "anna", "1.00"), "not-a-commission"),
        (reverse("not-6", "n6", None), request("n6", "anna", Some("1.00")), "not-a-commission"),
        (reverse_adjustment("not-7", "n7"), request("n7", "anna", Some("1.00")), "not-an-adjustment"),
    ];
    for (early, ..) in &cases {
        publisher.publish(&[shops(early.clone())]).await;
    }
    world.assert_parked(10).await;
    let mut odd = Vec::new();
    for (early, awaited, why) in &cases {
        publisher.publish(&[shops(awaited.clone())]).await;
        let mut again = shops(early.clone());
        let id = format!("{}-again", again["id"].as_str().unwrap());
        again["id"] = json!(id);
        let (name, _) = early["type"].as_str().unwrap().split_once('.').unwrap();
        let refused = events.first(early["id"].as_str().unwrap(), &format!("{name}.refused")).await;
        publisher.publish(&[again]).await;
        let refused_again = events.first(&id, &format!("{name}.refused")).await;
        for refused in [refused, refused_again] {
            if reason(&refused) != *why {
                odd.push(format!("{}: {} instead of {why}", refused["causationid"], reason(&refused)));
            }
        }
    }
    assert!(odd.is_empty(), "{}", odd.join("\n"));
    stop(&mut workers).await;
    world.assert_parked(0).await;
    world.assert_told(&events).await;
    world.assert_sound().await;
}

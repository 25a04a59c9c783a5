//! What waits: for a commission, for a merchant, for the end of a hold period.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};
use tests::message::{MERCHANT, SOURCE};
use tests::{PATIENCE, WorkerBuilder, World, credit, eventually, reverse};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A worker that looks often for what is parked or due.
fn quick(world: &World) -> WorkerBuilder {
    let mut builder = world.worker();
    builder.set("SALDO__PARKED__INTERVAL", "100ms").set("SALDO__DUE__INTERVAL", "100ms");
    builder
}

fn ahead(seconds: i64) -> String {
    (OffsetDateTime::now_utc() + time::Duration::seconds(seconds)).format(&Rfc3339).unwrap()
}

fn held_until(mut message: Value, available_at: &str) -> Value {
    message["data"]["available_at"] = json!(available_at);
    message
}

fn of_merchant(mut message: Value, merchant: &str) -> Value {
    message["data"]["merchant"] = json!(merchant);
    message
}

async fn parked(world: &World, wanted: i64) {
    eventually("commands are parked", PATIENCE, || async {
        match world.count("SELECT count(*) FROM waiting").await {
            parked if parked == wanted => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reversal_before_its_commission_is_applied_when_that_arrives_even_after_a_restart() {
    let world = World::new().await;
    let events = world.events().await;
    let publisher = world.publisher().await;
    // The default intervals: what waits for a command is decided with it, not by a scan.
    let mut first = world.worker().ready().await;
    publisher.publish(&[reverse("r-1", "c-1", Some("4.00")), reverse("r-1", "c-1", Some("4.00"))]).await;
    parked(&world, 1).await;
    publisher.publish(&[reverse("r-1", "c-1", Some("4.0"))]).await;
    assert!(first.terminate().await.success());
    assert_eq!(events.count(), 0, "nothing to tell of a parked command");

    let mut builder = world.worker();
    builder.set("SALDO__PARKED__INTERVAL", "1h");
    let second = builder.ready().await;
    publisher.publish(&[reverse("r-1", "c-1", Some("4.00"))]).await;
    publisher.publish(&[credit("c-1", "anna", "10.00")]).await;
    let reversed = events.first("r-1", "commission.reversed").await;
    assert_eq!(reversed["data"]["remaining"], "6.00");
    assert_eq!(reversed["data"]["entry"]["amount"], "-4.00");
    assert_eq!(reversed["data"]["account"]["balance"], "6.00");
    assert_eq!(reversed["data"]["account"]["version"], 2);
    // A copy that comes now is answered like any other.
    publisher.publish(&[reverse("r-1", "c-1", Some("4.00"))]).await;
    world.drain(vec![second], &builder, &events).await;
    assert!(events.of("r-1", "commission.reversed").len() >= 2);
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 2);
    assert_eq!(world.count("SELECT count(*) FROM inbox").await, 2);
    parked(&world, 0).await;
    world.assert_told(&events).await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commission_for_an_unknown_merchant_is_decided_once_the_merchant_is_registered() {
    let world = World::new().await;
    let events = world.events().await;
    let builder = quick(&world);
    let worker = builder.ready().await;
    let early = of_merchant(credit("c-1", "anna", "10.00"), "newcomer");
    let reversal = of_merchant(reverse("r-1", "c-1", Some("1.00")), "newcomer");
    world.publisher().await.publish(&[early.clone(), reversal, early]).await;
    parked(&world, 2).await;
    assert_eq!(events.count(), 0);
    assert_eq!(world.count("SELECT count(*) FROM account").await, 0);

    world.register("newcomer", 0).await;
    let reversed = events.first("r-1", "commission.reversed").await;
    assert_eq!(reversed["data"]["account"]["balance"], "9.00");
    assert_eq!(events.of("c-1", "commission.credited").len(), 1);
    world.drain(vec![worker], &builder, &events).await;
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 2);
    world.assert_told(&events).await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_too_long_is_refused() {
    let world = World::new().await;
    let events = world.events().await;
    let publisher = world.publisher().await;
    let mut builder = quick(&world);
    builder.set("SALDO__PARKED__PATIENCE", "700ms").set("SALDO__PARKED__REVERSAL_PATIENCE", "1h");
    let mut worker = builder.ready().await;
    let nobody = |message| of_merchant(message, "nobody");
    publisher.publish(&[nobody(credit("c-1", "anna", "10.00")), nobody(reverse("r-1", "c-1", None))]).await;
    let refused = events.first("c-1", "commission.refused").await;
    assert_eq!(refused["data"]["reason"], "unknown-merchant");
    assert_eq!(refused["data"]["command"], "commission.credit");
    // It waited for a commission that is now known to be refused: it does not wait for its own patience.
    let refused = events.first("r-1", "commission.refused").await;
    assert_eq!(refused["data"]["reason"], "commission-refused");
    publisher.publish(&[nobody(reverse("r-2", "c-1", None))]).await;
    assert_eq!(events.first("r-2", "commission.refused").await["data"]["reason"], "commission-refused");
    assert!(worker.terminate().await.success());

    builder.set("SALDO__PARKED__PATIENCE", "1h").set("SALDO__PARKED__REVERSAL_PATIENCE", "700ms");
    let worker = builder.ready().await;
    publisher.publish(&[reverse("r-3", "late", None)]).await;
    let refused = events.first("r-3", "commission.refused").await;
    assert_eq!(refused["data"]["reason"], "unknown-commission");
    assert_eq!(refused["data"]["account"], Value::Null);
    // Refused is refused: the commission that comes after all is credited whole.
    publisher.publish(&[credit("late", "bert", "10.00"), reverse("r-3", "late", None)]).await;
    events.first("late", "commission.credited").await;
    world.drain(vec![worker], &builder, &events).await;
    assert_eq!(world.balance("bert").await.normalize().to_string(), "10");
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 1);
    parked(&world, 0).await;
    world.assert_told(&events).await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reversal_of_a_reversal_is_refused() {
    let world = World::new().await;
    let events = world.events().await;
    let builder = quick(&world);
    let worker = builder.ready().await;
    let publisher = world.publisher().await;
    // The second names the first, which itself still waits.
    publisher.publish(&[reverse("r-2", "r-1", None), reverse("r-1", "c-1", Some("3.00"))]).await;
    parked(&world, 2).await;
    publisher.publish(&[credit("c-1", "anna", "10.00")]).await;
    let refused = events.first("r-2", "commission.refused").await;
    assert_eq!(refused["data"]["reason"], "not-a-commission");
    publisher.publish(&[reverse("r-3", "r-1", None)]).await;
    assert_eq!(events.first("r-3", "commission.refused").await["data"]["reason"], "not-a-commission");
    assert_eq!(world.balance("anna").await.normalize().to_string(), "7");
    world.drain(vec![worker], &builder, &events).await;
    world.assert_told(&events).await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_commission_matures_when_its_time_has_come() {
    let world = World::new().await;
    let events = world.events().await;
    let builder = quick(&world);
    let worker = builder.ready().await;
    let available_at = ahead(2);
    let held = held_until(credit("c-1", "anna", "10.00"), &available_at);
    world.publisher().await.publish(&[held.clone(), held]).await;
    let event = events.first("c-1", "commission.held").await;
    assert_eq!(event["data"]["account"]["pending"], "10.00");
    assert_eq!(event["data"]["account"]["balance"], "0.00");
    assert_eq!(events.of("c-1", "commission.matured").len(), 0);

    let event = events.first("c-1", "commission.matured").await;
    assert_eq!(event["causationsource"], SOURCE);
    assert_eq!(event["data"]["commission"], json!({ "source": SOURCE, "id": "c-1" }));
    assert_eq!(event["data"]["account"]["pending"], "0.00");
    assert_eq!(event["data"]["account"]["balance"], "10.00");
    assert_eq!(event["data"]["account"]["version"], 2);
    let time = |text: &Value| OffsetDateTime::parse(text.as_str().unwrap(), &Rfc3339).unwrap();
    let due = OffsetDateTime::parse(&available_at, &Rfc3339).unwrap();
    assert!(time(&event["time"]) >= due - time::Duration::microseconds(1), "{event}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.drain(vec![worker], &builder, &events).await;
    assert_eq!(events.of("c-1", "commission.matured").len(), 1, "told once");
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 1);
    world.assert_told(&events).await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_merchants_hold_period_counts_if_it_ends_later() {
    let world = World::new().await;
    world.register(MERCHANT, 30).await;
    let events = world.events().await;
    let _worker = quick(&world).ready().await;
    let messages = [credit("c-1", "anna", "10.00"), held_until(credit("c-2", "anna", "10.00"), &ahead(60))];
    world.publisher().await.publish(&messages).await;
    for id in ["c-1", "c-2"] {
        let event = events.first(id, "commission.held").await;
        let until = event["data"]["available_at"].as_str().unwrap();
        let days =
            (OffsetDateTime::parse(until, &Rfc3339).unwrap() - OffsetDateTime::now_utc()).as_seconds_f64();
        assert!((days / 86_400.0 - 30.0).abs() < 0.01, "{id} is held until {until}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reversals_shrink_what_is_pending_and_debit_what_has_matured() {
    let world = World::new().await;
    let events = world.events().await;
    let builder = quick(&world);
    let worker = builder.ready().await;
    let publisher = world.publisher().await;
    let available_at = ahead(4);
    let held = |id: &str, customer: &str| held_until(credit(id, customer, "10.00"), &available_at);
    publisher.publish(&[held("c-1", "anna"), reverse("r-1", "c-1", Some("4.00"))]).await;
    publisher.publish(&[held("c-2", "bert"), reverse("r-3", "c-2", None)]).await;
    let part = events.first("r-1", "commission.reversed").await;
    assert_eq!(part["data"]["account"]["pending"], "6.00");
    assert_eq!(part["data"]["remaining"], "6.00");
    assert_eq!(part["data"].get("entry"), None, "nothing was posted");
    publisher.publish(&[reverse("r-2", "c-1", Some("6.01"))]).await;
    let above = events.first("r-2", "commission.refused").await;
    assert_eq!(above["data"]["reason"], "exceeds-commission");
    assert_eq!(above["data"]["account"], part["data"]["account"], "a refusal changes nothing");
    let whole = events.first("r-3", "commission.reversed").await;
    assert_eq!(whole["data"]["account"]["pending"], "0.00");
    publisher.publish(&[reverse("r-4", "c-2", None)]).await;
    assert_eq!(events.first("r-4", "commission.refused").await["data"]["reason"], "already-reversed");

    let matured = events.first("c-1", "commission.matured").await;
    assert_eq!(matured["data"]["amount"], "6.00");
    assert_eq!(matured["data"]["account"]["balance"], "6.00");

    // As a payout will: most of the balance is gone.
    world
        .superuser()
        .await
        .execute("UPDATE account SET balance = 1.5 WHERE customer = 'anna'")
        .await
        .unwrap();
    publisher.publish(&[reverse("r-5", "c-1", Some("6.01"))]).await;
    let above = events.first("r-5", "commission.refused").await;
    assert_eq!(above["data"]["reason"], "exceeds-commission");
    assert_eq!(above["data"]["account"]["balance"], "1.50");
    publisher.publish(&[reverse("r-6", "c-1", None)]).await;
    let debit = events.first("r-6", "commission.reversed").await;
    assert_eq!(debit["data"]["entry"]["amount"], "-6.00");
    assert_eq!(debit["data"]["entry"]["balance_after"], "-4.50");
    assert_eq!(debit["data"]["account"]["balance"], "-4.50");
    assert_eq!(debit["data"]["account"]["version"], 4);
    publisher.publish(&[credit("c-3", "anna", "5.00")]).await;
    assert_eq!(events.first("c-3", "commission.credited").await["data"]["account"]["balance"], "0.50");
    world.drain(vec![worker], &builder, &events).await;
    assert_eq!(events.of("c-2", "commission.matured").len(), 0, "nothing was left to mature");
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 3);
    world.assert_told(&events).await;
}

/// The reversal's batch looks for its commission before that exists, and waits for another customer's lock while
/// another worker credits it. Nothing can be decided about an account that is not locked.
#[tokio::test(flavor = "multi_thread")]
async fn a_reversal_whose_commission_is_committed_in_the_middle_of_its_batch_is_applied() {
    let world = World::new().await;
    let events = world.events().await;
    let publisher = world.publisher().await;
    let mut builder = world.worker();
    builder.set("SALDO__WORKER__LANES", "1");
    let slow = builder.ready().await;
    let commissions =
        [credit("a-1", "anna", "1.00"), credit("b-1", "bert", "1.00"), credit("d-1", "dora", "1.00")];
    publisher.publish(&commissions).await;
    events.at_least(3, PATIENCE).await;

    let (mut annas, mut doras) = (world.superuser().await, world.superuser().await);
    let mut anna = annas.begin().await.unwrap();
    anna.execute("SELECT FROM account WHERE customer = 'anna' FOR UPDATE").await.unwrap();
    let mut dora = doras.begin().await.unwrap();
    dora.execute("SELECT FROM account WHERE customer = 'dora' FOR UPDATE").await.unwrap();
    // While one batch waits for anna, the next one gathers: it waits for dora, and holds the reversals.
    publisher.publish(&[credit("a-2", "anna", "1.00")]).await;
    world.until_waiting_for_locks(1).await;
    let reversals = [reverse("r-2", "b-2", None), reverse("r-3", "b-3", None)];
    publisher.publish(&[credit("d-2", "dora", "1.00")]).await;
    publisher.publish(&reversals).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    anna.rollback().await.unwrap();
    events.first("a-2", "commission.credited").await;
    world.until_waiting_for_locks(1).await;

    // One of these is handed to the free worker, the other one to the worker that waits.
    let quick = builder.ready().await;
    publisher.publish(&[credit("b-2", "bert", "10.00"), credit("b-3", "bert", "10.00")]).await;
    eventually("the other worker has credited", PATIENCE, || async {
        let told =
            [events.of("b-2", "commission.credited").len(), events.of("b-3", "commission.credited").len()];
        if told.contains(&1) { Ok(()) } else { Err(told) }
    })
    .await;
    dora.rollback().await.unwrap();

    for id in ["r-2", "r-3"] {
        let outcome = eventually("the reversal is decided", PATIENCE, || async {
            let mut all = events.all().into_iter().map(|event| event.json());
            all.find(|event| event["causationid"] == id).ok_or_else(|| events.count())
        })
        .await;
        assert_eq!(outcome["type"], "commission.reversed.v1", "{outcome}");
    }
    world.drain(vec![slow, quick], &builder, &events).await;
    assert_eq!(world.balance("bert").await.normalize().to_string(), "1");
    world.assert_told(&events).await;
    world.assert_sound().await;
}

/// Many commissions, each with its reversal right behind it: handed to different lanes, they pass each other.
#[tokio::test(flavor = "multi_thread")]
async fn reversals_that_race_their_commissions_are_all_applied() {
    const PAIRS: usize = 500;
    let world = World::new().await;
    let (events, dead) = (world.events().await, world.dead_letters().await);
    let mut builder = quick(&world);
    builder.set("SALDO__WORKER__BATCH_COUNT", "20");
    let workers = vec![builder.ready().await, builder.ready().await];
    let messages: Vec<_> = (0..PAIRS)
        .flat_map(|n| {
            let (commission, customer) = (format!("c-{n}"), format!("customer-{}", n % 30));
            [credit(&commission, &customer, "10.00"), reverse(&format!("r-{n}"), &commission, Some("4.00"))]
        })
        .collect();
    world.publisher().await.publish(&messages).await;
    eventually("all are decided", PATIENCE, || async {
        let open = world.count("SELECT 1000 - count(outcome) FROM inbox").await;
        if open == 0 { Ok(()) } else { Err(open) }
    })
    .await;
    world.drain(workers, &builder, &events).await;
    assert_eq!(
        events.causes("commission.reversed").len(),
        PAIRS,
        "{:?}",
        events.causes("commission.refused")
    );
    let paid = "SELECT sum(balance)::bigint FROM account";
    assert_eq!(world.count(paid).await, 3_000);
    assert_eq!(dead.count(), 0);
    world.assert_told(&events).await;
    world.assert_sound().await;
}

/// Parked reversals, and then each commission twice in a batch.
#[tokio::test(flavor = "multi_thread")]
async fn a_reversal_that_waited_for_a_commission_is_applied_once_even_if_that_comes_twice_at_once() {
    const PAIRS: usize = 100;
    let world = World::new().await;
    let events = world.events().await;
    let publisher = world.publisher().await;
    let mut builder = world.worker();
    builder.set("SALDO__WORKER__LANES", "1").set("SALDO__LOG__FILTER", "info,worker=debug");
    let mut worker = builder.ready().await;
    let reversals: Vec<_> =
        (0..PAIRS).map(|n| reverse(&format!("r-{n}"), &format!("c-{n}"), Some("4.00"))).collect();
    publisher.publish(&reversals).await;
    parked(&world, i64::try_from(PAIRS).unwrap()).await;
    assert!(worker.terminate().await.success());

    let commissions: Vec<_> = (0..PAIRS)
        .flat_map(|n| {
            let commission = credit(&format!("c-{n}"), &format!("customer-{}", n % 7), "10.00");
            [commission.clone(), commission]
        })
        .collect();
    publisher.publish(&commissions).await;
    let worker = builder.ready().await;
    parked(&world, 0).await;
    let batches = worker.log().matches("batch settled").count();
    assert!(batches < PAIRS / 2, "{batches} batches: hardly a pair was in one");
    world.drain(vec![worker], &builder, &events).await;
    assert_eq!(events.causes("commission.reversed").len(), PAIRS);
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 200);
    assert_eq!(world.count("SELECT sum(balance)::bigint FROM account").await, 600);
    world.assert_told(&events).await;
    world.assert_sound().await;
}

/// An account so full that commissions cannot mature: more of them than a scan looks at in one round.
#[tokio::test(flavor = "multi_thread")]
async fn commissions_that_cannot_mature_stay_pending_hold_nobody_up_and_mature_when_there_is_room() {
    const STUCK: usize = 600;
    let world = World::new().await;
    let events = world.events().await;
    let builder = quick(&world);
    let worker = builder.ready().await;
    let publisher = world.publisher().await;
    let most = "999999999999.99";
    let mut messages: Vec<_> = (0..1_000).map(|n| credit(&format!("c-{n}"), "rich", most)).collect();
    let ripe = ahead(3);
    messages.extend((0..STUCK).map(|n| held_until(credit(&format!("too-much-{n}"), "rich", most), &ripe)));
    messages.push(held_until(credit("other", "anna", "1.00"), &ahead(4)));
    publisher.publish(&messages).await;
    events.first("other", "commission.matured").await;
    assert_eq!(events.causes("commission.matured").len(), 1);
    assert!(events.causes("commission.refused").is_empty());
    // Room for one.
    publisher.publish(&[reverse("r-0", "c-0", None)]).await;
    eventually("one of them matures", PATIENCE, || async {
        let matured = events.causes("commission.matured");
        if matured.len() == 2 { Ok(()) } else { Err(matured) }
    })
    .await;
    world.drain(vec![worker], &builder, &events).await;
    assert_eq!(world.count("SELECT count(*) FROM commission WHERE state = 'pending'").await, 599);
    assert!(events.causes("commission.refused").is_empty());
    world.assert_told(&events).await;
    world.assert_sound().await;
}

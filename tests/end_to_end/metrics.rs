//! Metrics: what a worker says of itself is what it did.

use std::time::{SystemTime, UNIX_EPOCH};

use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;
use tests::message::{decide, request, routing_key};
use tests::{COMMISSIONS, PATIENCE, Publisher, Step, World, credit, eventually, reverse};

use crate::mails::Office;
use crate::shop::Shop;

const CREDIT: (&str, &str) = ("type", "commission.credit");

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_counted_by_type_and_by_what_became_of_them() {
    let world = World::new().await;
    let (events, dead) = (world.events().await, world.dead_letters().await);
    let worker = world.quick("commissions").ready().await;
    let before = worker.metrics().await;
    for (name, labels) in [
        ("saldo_dead_letters_total", [("reason", "idempotency-conflict")]),
        ("saldo_retries_total", [("class", "ledger")]),
        ("saldo_reconnects_total", [("to", "database")]),
    ] {
        assert_eq!(before.value(name, &labels), Some(0.0), "{name} begins at zero");
    }
    let publisher = world.publisher().await;
    let first = credit("c-1", "anna", "12.50");
    let mut other = first.clone();
    other["data"]["amount"] = json!("99.00");
    publisher.publish(&[first.clone(), credit("c-2", "anna", "1.00")]).await;
    events.at_least(2, PATIENCE).await;
    // One comes once more, one with other content, one takes back too much, one names what is not known.
    let too_much = reverse("r-1", "c-1", Some("500.00"));
    publisher.publish(&[first, other, too_much, reverse("r-2", "unknown", None)]).await;
    publisher.raw("acme.commission.credit", b"{", Publisher::properties()).await;
    dead.at_least(2, PATIENCE).await;
    worker.wait_metric("saldo_parked_commands", &[], 1.0).await;
    worker.wait_metric("saldo_in_flight_commands", &[], 0.0).await;

    let seen = worker.metrics().await;
    let reversal = ("type", "commission.reverse");
    for (name, labels, wanted) in [
        ("saldo_commands_total", vec![CREDIT, ("outcome", "credited")], 2.0),
        ("saldo_commands_total", vec![CREDIT, ("outcome", "repeated")], 1.0),
        ("saldo_commands_total", vec![reversal, ("outcome", "refused")], 1.0),
        ("saldo_commands_total", vec![reversal, ("outcome", "parked")], 1.0),
        ("saldo_refusals_total", vec![reversal, ("reason", "exceeds-commission")], 1.0),
        ("saldo_duplicates_total", vec![("worker", "commissions")], 1.0),
        ("saldo_dead_letters_total", vec![("reason", "idempotency-conflict")], 1.0),
        ("saldo_dead_letters_total", vec![("reason", "not-json")], 1.0),
        ("saldo_batch_commands_sum", vec![], 7.0),
        ("messaging_client_consumed_messages_total", vec![("messaging_destination_name", COMMISSIONS)], 7.0),
        ("messaging_process_duration_seconds_count", vec![("messaging_destination_name", COMMISSIONS)], 7.0),
        // Two credits, one of them once more, and a refusal.
        ("messaging_client_sent_messages_total", vec![("messaging_destination_name", "saldo.events")], 4.0),
        ("messaging_client_sent_messages_total", vec![("messaging_destination_name", "saldo.dead")], 2.0),
        ("saldo_sessions_total", vec![], 1.0),
        ("saldo_ready", vec![], 1.0),
        ("saldo_troubles", vec![], 0.0),
    ] {
        assert_eq!(seen.value(name, &labels), Some(wanted), "{name} {labels:?}");
    }
    for step in ["ask", "lock", "read", "decide", "write", "commit"] {
        let count = seen.value("saldo_ledger_step_seconds_count", &[("step", step)]);
        assert!(count >= Some(2.0), "{step}: {count:?}");
    }
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
        assert!(seen.value(name, &[]) > Some(1.0), "{name}: {:?}", seen.value(name, &[]));
    }
    let cpu = seen.value("process_cpu_seconds_total", &[("worker", "commissions")]);
    assert!(cpu.is_some_and(|seconds| seconds > 0.0), "{cpu:?}");
    assert!(
        seen.value("db_client_operation_duration_seconds_count", &[("db_operation_name", "settle")])
            >= Some(2.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commands_age_is_measured_from_when_the_broker_or_the_publisher_says_it_was_published() {
    let world = World::new().await;
    let worker = world.quick("commissions").ready().await;
    let publisher = world.publisher().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut broker = FieldTable::default();
    let milliseconds = i64::try_from(now.as_millis()).unwrap() - 200_000;
    broker.insert("timestamp_in_ms".into(), AMQPValue::LongLongInt(milliseconds));
    let of_publisher = Publisher::properties().with_timestamp(now.as_secs() - 20);
    // The broker's word counts for more than the publisher's; one has neither.
    let of_broker = of_publisher.clone().with_headers(broker);
    for (id, properties) in [("c-1", of_publisher), ("c-2", of_broker), ("c-3", Publisher::properties())] {
        let command = credit(id, "anna", "1.00");
        publisher.raw(&routing_key(&command), command.to_string().as_bytes(), properties).await;
    }
    for name in ["saldo_publish_to_commit_seconds", "saldo_publish_to_ack_seconds"] {
        worker.wait_metric(&format!("{name}_count"), &[], 2.0).await;
        let sum = worker.metrics().await.value(&format!("{name}_sum"), &[]).unwrap();
        assert!((219.0..240.0).contains(&sum), "{name}: {sum}");
    }
    worker.wait_metric("saldo_commands_total", &[CREDIT, ("outcome", "credited")], 3.0).await;
    // Nothing is under way any more.
    worker.wait_metric("saldo_oldest_command_timestamp_seconds", &[], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_and_held_is_shown_by_currency_and_goes_back_to_zero() {
    let shop = Shop::new(json!({}), &[("anna", "100.00")]).await;
    let world = &shop.world;
    let commissions = world.quick("commissions").ready().await;
    let withdrawals = world.quick("withdrawals").ready().await;
    let mut later = credit("later", "anna", "12.50");
    later["data"]["currency"] = json!("USD");
    later["data"]["available_at"] = json!("2999-01-01T00:00:00Z");
    shop.done(later, "commission.held").await;
    commissions.wait_metric("saldo_pending_amount", &[("currency", "USD")], 12.5).await;
    assert_eq!(commissions.metrics().await.value("saldo_pending_amount", &[("currency", "EUR")]), None);
    shop.done(request("w-1", "anna", Some("30.00")), "withdrawal.requested").await;
    withdrawals.wait_metric("saldo_held_amount", &[("currency", "EUR")], 30.0).await;

    shop.done(decide("reject", "no", "w-1"), "withdrawal.rejected").await;
    shop.done(reverse("r-1", "later", None), "commission.reversed").await;
    withdrawals.wait_metric("saldo_held_amount", &[("currency", "EUR")], 0.0).await;
    commissions.wait_metric("saldo_pending_amount", &[("currency", "USD")], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_are_counted_by_result() {
    let office = Office::new(&[("anna", "100.00")]).await;
    let world = &office.shop.world;
    let notifier = world.notifier(&office.server).ready().await;
    for result in ["sent", "postponed", "failed"] {
        assert_eq!(notifier.metrics().await.value("saldo_mails_total", &[("result", result)]), Some(0.0));
    }
    office.asks("w-1", "anna").await;
    notifier.wait_metric("saldo_mails_total", &[("result", "sent")], 2.0).await;
    office.server.at(Step::RcptTo).answers(550, "5.1.1 nobody");
    office.asks("w-2", "anna").await;
    notifier.wait_metric("saldo_mails_total", &[("result", "failed")], 2.0).await;
    notifier.wait_metric("saldo_mails_failed", &[], 2.0).await;
    notifier.wait_metric("saldo_mails_due", &[], 0.0).await;
    assert_eq!(notifier.metrics().await.value("saldo_mail_server_away", &[]), Some(0.0));
    let talked = notifier.metrics().await.value("saldo_mail_seconds_count", &[]);
    assert_eq!(talked, Some(4.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_seen_in_retries_reconnects_and_readiness() {
    let world = World::new().await;
    let events = world.events().await;
    let mut builder = world.quick("commissions");
    let worker = builder.set("SALDO__WORKER__RETRY_MAX", "200ms").ready().await;
    let mut admin = world.superuser().await;
    world.read_only(&mut admin, true).await.unwrap();
    world.publisher().await.publish(&[credit("c-1", "anna", "1.00")]).await;
    worker.wait_metric("saldo_ready", &[], 0.0).await;
    eventually("the batch is tried again", PATIENCE, || async {
        let retries = worker.metrics().await.value("saldo_retries_total", &[("class", "ledger")]);
        if retries >= Some(1.0) { Ok(()) } else { Err(retries) }
    })
    .await;
    let seen = worker.metrics().await;
    assert_eq!(seen.value("saldo_in_flight_commands", &[]), Some(1.0));
    assert!(seen.value("saldo_troubles", &[]) >= Some(1.0), "{:?}", seen.value("saldo_troubles", &[]));
    world.read_only(&mut admin, false).await.unwrap();
    events.at_least(1, PATIENCE).await;
    worker.wait_metric("saldo_ready", &[], 1.0).await;
    // What it reads in the ledger is known again, too.
    worker.wait_metric("saldo_parked_commands", &[], 0.0).await;
    let reconnects = worker.metrics().await.value("saldo_reconnects_total", &[("to", "database")]);
    assert!(reconnects >= Some(1.0), "{reconnects:?}");
}

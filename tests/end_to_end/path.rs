//! The main path.

use lapin::ExchangeKind;
use lapin::options::{BasicPublishOptions, ExchangeBindOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use rust_decimal::Decimal;
use serde_json::json;
use tests::message::routing_key;
use tests::{PATIENCE, Publisher, World, credit, eventually, reverse};
use worker::topology::{COMMANDS, Limits};

#[tokio::test(flavor = "multi_thread")]
async fn a_commission_is_credited_and_told() {
    let world = World::new().await;
    let events = world.events().await;
    let mut worker = world.worker().ready().await;
    world.publisher().await.publish(&[credit("c-1", "anna", "12.5")]).await;
    let event = events.at_least(1, PATIENCE).await[0].json();
    assert_eq!(event["type"], "commission.credited.v1");
    assert_eq!(event["causationid"], "c-1");
    assert_eq!(event["data"]["account"]["balance"], "12.50");
    assert_eq!(event["data"]["account"]["version"], 1);
    assert_eq!(world.balance("anna").await, Decimal::new(1250, 2));
    assert!(worker.terminate().await.success());
}

/// Topic permissions are asked about the exchange that is published to: one bound to `saldo.commands` would go
/// around them.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_came_through_another_exchange_is_dead() {
    let world = World::new().await;
    let dead = world.dead_letters().await;
    let publisher = world.publisher().await;
    let channel = &publisher.channel;
    let declare = ExchangeDeclareOptions::default();
    channel
        .exchange_declare("acme.x".into(), ExchangeKind::Topic, declare, FieldTable::default())
        .await
        .unwrap();
    let bind = ExchangeBindOptions::default();
    channel
        .exchange_bind(COMMANDS.into(), "acme.x".into(), "#".into(), bind, FieldTable::default())
        .await
        .unwrap();
    let message = credit("around", "anna", "1.00");
    let (key, body) = (routing_key(&message), message.to_string());
    channel
        .basic_publish(
            "acme.x".into(),
            key.as_str().into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            Publisher::properties(),
        )
        .await
        .unwrap()
        .await
        .unwrap();
    let _worker = world.worker().ready().await;
    let letter = dead.at_least(1, PATIENCE).await.remove(0);
    assert_eq!(letter.header("saldo-reason").as_deref(), Some("invalid-properties"));
    assert!(letter.header("saldo-detail").unwrap().contains("saldo.commands"));
    assert_eq!(world.count("SELECT count(*) FROM inbox").await, 0);
}

/// More commands wait for one commission than a transaction takes along.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_waits_for_one_commission_is_decided_in_several_transactions() {
    const CROWD: i64 = 1_200;
    let world = World::new().await;
    let _worker = world.worker().set("SALDO__PARKED__INTERVAL", "200ms").ready().await;
    let publisher = world.publisher().await;
    let crowd: Vec<_> = (0..CROWD).map(|n| reverse(&format!("r-{n}"), "late", Some("0.01"))).collect();
    publisher.publish(&crowd).await;
    eventually("all wait", PATIENCE, || async {
        let waiting = world.count("SELECT count(*) FROM waiting").await;
        if waiting == CROWD { Ok(()) } else { Err(waiting) }
    })
    .await;
    publisher.publish(&[credit("late", "anna", "100.00")]).await;
    eventually("all are applied", PATIENCE, || async {
        let entries = world.count("SELECT count(*) FROM entry").await;
        if entries == CROWD + 1 { Ok(()) } else { Err(entries) }
    })
    .await;
    assert_eq!(world.balance("anna").await, Decimal::new(8_800, 2));
    assert!(world.count("SELECT count(DISTINCT batch_id) FROM inbox").await >= 3);
}

/// A worker that may not write events: what it decides cannot be told, which is nobody's fault but the
/// operator's.
#[tokio::test(flavor = "multi_thread")]
async fn commands_whose_events_the_broker_forbids_wait_in_their_queue() {
    const COMMANDS: usize = 40;
    let world = World::with_limits(Limits { delivery_limit: 4, ..Limits::default() }).await;
    let (dead, events) = (world.dead_letters().await, world.events().await);
    let permissions = format!("permissions/{}/saldo_commissions_test", world.name);
    let rights = |write: &str| json!({ "configure": "^$", "write": write, "read": r"^saldo\.commissions$" });
    world.manage("PUT", &permissions, Some(rights(r"^saldo\.dead$"))).await;
    let messages: Vec<_> = (0..COMMANDS).map(|n| credit(&format!("c-{n}"), "anna", "1.00")).collect();
    world.publisher().await.publish(&messages).await;
    let worker = world.worker().set("SALDO__WORKER__RETRY_MAX", "100ms").start();
    // Many times the delivery limit.
    eventually("it has tried twenty times", PATIENCE, || async {
        let tries = worker.log().matches("events that are committed cannot be published").count();
        if tries >= 20 { Ok(()) } else { Err((tries, worker.readiness().await)) }
    })
    .await;
    assert_eq!(dead.all().len(), 0);
    world.manage("PUT", &permissions, Some(rights(r"^saldo\.(events|dead)$"))).await;
    eventually("all are told", PATIENCE, || async {
        let told = events.causes("commission.credited").len();
        if told == COMMANDS { Ok(()) } else { Err(told) }
    })
    .await;
    worker.wait_ready(PATIENCE).await;
    assert_eq!(world.balance("anna").await, Decimal::from(COMMANDS));
    assert_eq!(dead.all().len(), 0);
}

/// Plans are kept; one that was made while a table was empty must not read all of it ever after. And what nobody repeats is
/// not asked for for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_grows_from_nothing_is_never_read_as_a_whole() {
    let world = World::new().await;
    let events = world.events().await;
    let commands: Vec<_> =
        (0..1_000).map(|n| credit(&format!("c-{n}"), &format!("customer-{}", n % 50), "1.00")).collect();
    world.publisher().await.publish(&commands).await;
    let mut worker = world.worker().set("SALDO__WORKER__BATCH_COUNT", "20").ready().await;
    events.at_least(commands.len(), PATIENCE).await;
    // Postgres' sessions say what they have read when they end.
    assert!(worker.terminate().await.success());
    let tables = eventually("the sessions' statistics are there", PATIENCE, || async {
        let sql = "SELECT relname::text, seq_tup_read, coalesce(idx_scan, 0) FROM pg_stat_user_tables
                   WHERE relname IN ('account', 'entry', 'inbox')";
        let tables: Vec<(String, i64, i64)> =
            sqlx::query_as(sql).fetch_all(&mut world.superuser().await).await.unwrap();
        // Each command's account is found, and then changed.
        if lookups(&tables, "account") >= 2_000 { Ok(tables) } else { Err(tables) }
    })
    .await;
    assert!(tables.iter().all(|(_, read, _)| *read == 0), "table, rows read by scans, lookups: {tables:?}");
    // Each lane's first twenty batches, and what the sweep finds.
    assert!(
        (1..1_000).contains(&lookups(&tables, "inbox")),
        "table, rows read by scans, lookups: {tables:?}"
    );
    world.assert_sound().await;
}

fn lookups(tables: &[(String, i64, i64)], name: &str) -> i64 {
    tables.iter().find(|table| table.0 == name).unwrap().2
}

//! Operators see what waits, in the broker and in the ledger.

use serde_json::Value;
use tests::{COMMISSIONS, PATIENCE, Publisher, Ran, World, credit, eventually, reverse};
use worker::topology::UNROUTABLE;

/// The row of this queue, once it is as wanted: the broker's statistics are up to 5 s old.
async fn row(world: &World, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually("the queue's row is as wanted", PATIENCE, || async {
        let ran = world.saldo_at_broker(&["queues", "--json"]).await;
        let row = ran.lines().into_iter().find(|row| row["queue"] == name).ok_or("no row".to_owned())?;
        if wanted(&row) { Ok(row) } else { Err(row.to_string()) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_nobody_takes_are_seen_and_how_long_they_have_waited() {
    let world = World::new().await;
    let publisher = world.publisher().await;
    publisher.publish(&[credit("c-1", "anna", "12.50")]).await;
    let first = row(&world, COMMISSIONS, |row| row["ready"] == 1).await;
    assert_eq!(
        (&first["worker"], &first["consumers"], &first["dead"]),
        (&"commissions".into(), &0.into(), &0.into())
    );
    assert_eq!(first["attention"], Value::from(vec!["no consumer"]));
    let older = |age: u64| move |row: &Value| row["oldest_seconds"].as_u64() >= Some(age);
    row(&world, COMMISSIONS, older(5)).await;
    // A second one makes the first no younger.
    publisher.publish(&[credit("c-2", "anna", "12.50")]).await;
    row(&world, COMMISSIONS, |row| row["ready"] == 2 && older(5)(row)).await;
    let table = world.saldo_at_broker(&["queues"]).await;
    assert_eq!(table.status, 0, "{table:?}");
    assert!(table.output.contains("no consumer"), "{table:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_parked_commands_and_strays_are_seen() {
    let world = World::new().await;
    let publisher = world.publisher().await;
    let mut worker = world.worker().ready().await;
    publisher.publish(&[reverse("r-1", "c-unknown", None)]).await;
    publisher.raw("acme.commission.credit", b"no JSON", Publisher::properties()).await;
    publisher.raw("acme.unheard.of", b"{}", Publisher::properties()).await;
    let settled = |row: &Value| row["dead"] == 1 && row["parked"] == 1 && row["consumers"].as_u64() > Some(0);
    let seen = row(&world, COMMISSIONS, settled).await;
    assert_eq!(seen["attention"], Value::from(vec!["dead letters"]));
    assert!(seen["parked_seconds"].is_u64(), "{seen}");
    let strays = row(&world, UNROUTABLE, |row| row["ready"] == 1).await;
    assert_eq!(strays["attention"], Value::from(vec!["strays"]));
    assert!(worker.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_events_were_not_published_is_seen() {
    let world = World::new().await;
    sqlx::query(
        "INSERT INTO saldo.batch (worker, created_at) VALUES ('commissions', now() - interval '2 minutes')",
    )
    .execute(&mut world.superuser().await)
    .await
    .unwrap();
    let seen = row(&world, COMMISSIONS, |row| row["unpublished"] == 1).await;
    assert!(seen["unpublished_seconds"].as_u64() >= Some(120), "{seen}");
    assert_eq!(seen["attention"], Value::from(vec!["no consumer", "events not published"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_queue_is_told_with_its_remedy_and_the_rest_is_shown() {
    let world = World::new().await;
    world.manage("DELETE", &format!("queues/{}/saldo.notifier", world.name), None).await;
    let ran: Ran = eventually("the queue is missing", PATIENCE, || async {
        let ran = world.saldo_at_broker(&["queues", "--json"]).await;
        if ran.status == 1 { Ok(ran) } else { Err(ran) }
    })
    .await;
    assert_eq!(ran.messages, "saldo: the broker has no queue saldo.notifier; run `saldo topology apply`\n");
    assert!(ran.output.contains("\"saldo.commissions\""), "{ran:?}");
}

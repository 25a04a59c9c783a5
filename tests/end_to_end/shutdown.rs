//! Stopping, wrong settings, and coming back by itself when the broker's side goes away.

use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{Connection as _, Executor as _};
use tests::check::Queued;
use tests::{COMMISSIONS, PATIENCE, World, credit, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_with_a_backlog_finishes_what_is_under_way_and_returns_the_rest() {
    const COMMANDS: usize = 8_000;
    let world = World::new().await;
    let (events, dead) = (world.events().await, world.dead_letters().await);
    let publisher = world.publisher().await;
    let messages: Vec<_> = (0..COMMANDS)
        .map(|n| credit(&format!("order-{n}"), &format!("customer-{}", n % 100), "1.00"))
        .collect();
    publisher.publish(&messages).await;

    let mut builder = world.worker();
    builder.set("SALDO__WORKER__BATCH_COUNT", "200");
    let mut worker = builder.start();
    eventually("the worker is in the middle of it", PATIENCE, || async {
        let told = events.count();
        if told > 0 { Ok(()) } else { Err(told) }
    })
    .await;
    let began = Instant::now();
    assert!(worker.terminate().await.success());
    let took = began.elapsed();
    let left = eventually("what was not under way is back", PATIENCE, || async {
        match publisher.queued(COMMISSIONS).await {
            Queued { ready, consumers: 0 } => Ok(ready as usize),
            other => Err(other),
        }
    })
    .await;
    let decided = usize::try_from(world.count("SELECT count(*) FROM inbox").await).unwrap();
    eprintln!("stopped in {took:?}: {decided} decided, {left} left");
    assert!(took < Duration::from_secs(10), "stopping took {took:?}");
    assert!(left > 0, "there was no backlog left to return");
    assert_eq!(decided + left, COMMANDS, "what was decided was acked, and nothing else");
    events.at_least(decided, PATIENCE).await;
    assert_eq!(world.count("SELECT count(*) FROM batch WHERE published_at IS NULL").await, 0);

    let builder = world.worker();
    world.drain(vec![builder.ready().await], &builder, &events).await;
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 8_000);
    assert_eq!(events.count(), COMMANDS, "every event once: nothing had to be repeated");
    assert_eq!(dead.count(), 0);
    world.assert_told(&events).await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_draining_is_live_and_not_ready() {
    let world = World::new().await;
    let events = world.events().await;
    let publisher = world.publisher().await;
    let mut worker = world.worker().ready().await;
    publisher.publish(&[credit("c-1", "anna", "1.00")]).await;
    events.at_least(1, PATIENCE).await;

    let mut locks = world.superuser().await;
    let mut transaction = locks.begin().await.unwrap();
    transaction.execute("SELECT FROM account FOR UPDATE").await.unwrap();
    publisher.publish(&[credit("c-2", "anna", "1.00")]).await;
    world.until_waiting_for_locks(1).await;
    worker.signal("TERM");
    let troubles = worker.wait_not_ready(Duration::from_secs(5)).await;
    assert!(troubles.to_string().contains("stopping"), "{troubles}");
    assert!(worker.is_live().await);
    // It stays so for as long as the batch takes.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(matches!(worker.readiness().await, Some((false, _))));
    assert!(worker.is_live().await && worker.is_running());
    transaction.rollback().await.unwrap();
    assert!(worker.ended(PATIENCE).await.success());

    events.at_least(2, PATIENCE).await;
    assert_eq!(world.balance("anna").await.normalize().to_string(), "2");
    assert_eq!(publisher.queued(COMMISSIONS).await, Queued { ready: 0, consumers: 0 });
    world.assert_told(&events).await;
}

/// The grace period is one, however many parts of the worker end within it.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_within_the_grace_period_is_left_to_its_redelivery() {
    let world = World::new().await;
    let events = world.events().await;
    let publisher = world.publisher().await;
    let mut builder = world.worker();
    builder.set("SALDO__WORKER__SHUTDOWN_GRACE", "3s");
    let mut worker = builder.ready().await;
    publisher.publish(&[credit("a-1", "anna", "1.00"), credit("b-1", "bert", "1.00")]).await;
    events.at_least(2, PATIENCE).await;

    let (mut annas, mut berts) = (world.superuser().await, world.superuser().await);
    let mut anna = annas.begin().await.unwrap();
    anna.execute("SELECT FROM account WHERE customer = 'anna' FOR UPDATE").await.unwrap();
    let mut bert = berts.begin().await.unwrap();
    bert.execute("SELECT FROM account WHERE customer = 'bert' FOR UPDATE").await.unwrap();
    // The second one is handed to the lane that is free.
    for (lanes, command) in [(1, credit("a-2", "anna", "1.00")), (2, credit("b-2", "bert", "1.00"))] {
        publisher.publish(&[command]).await;
        world.until_waiting_for_locks(lanes).await;
    }
    let began = Instant::now();
    worker.signal("TERM");
    tokio::time::sleep(Duration::from_secs(2)).await;
    bert.rollback().await.unwrap();
    assert!(worker.ended(PATIENCE).await.success());
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(3) && took < Duration::from_millis(4_900), "stopping took {took:?}");
    assert!(worker.log().contains("the grace period is over"), "{}", worker.log());
    anna.rollback().await.unwrap();
    assert_eq!(world.balance("bert").await.normalize().to_string(), "2");

    let worker = builder.ready().await;
    events.first("a-2", "commission.credited").await;
    world.drain(vec![worker], &builder, &events).await;
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 4);
    world.assert_told(&events).await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_end_the_worker_at_once_and_are_all_listed_without_secrets() {
    let world = World::new().await;
    let mut builder = world.worker();
    builder
        .set("SALDO__BROKER__URL", "amqp//user:broker-secret@host")
        .set("SALDO__DATABASE__URL", "mysql://user:database-secret@host/saldo")
        .set("SALDO__WORKER__LANES", "0")
        .set("SALDO__WORKER__BATCH_COUNT", "many")
        .set("SALDO__SWEEP__INTERVAL", "soon")
        .set("SALDO__PARKED__PATIENCE", "0s")
        .set("SALDO__WORKER__LAMES", "2")
        .set("SALDO__BROKER__PASSWORD", "stray-secret");
    let began = Instant::now();
    let mut worker = builder.start();
    let status = worker.ended(PATIENCE).await;
    let took = began.elapsed();
    let log = worker.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    for setting in [
        "broker.url",
        "database.url",
        "worker.lanes",
        "worker.batch_count",
        "sweep.interval",
        "parked.patience",
        "worker.lames",
        "broker.password",
    ] {
        assert_eq!(log.matches(&format!("- {setting}: ")).count(), 1, "{setting} in:\n{log}");
    }
    assert_eq!(log.matches("the settings are not usable").count(), 1, "{log}");
    assert_eq!(log.lines().count(), 9, "one message:\n{log}");
    for secret in ["broker-secret", "database-secret", "stray-secret"] {
        assert!(!log.contains(secret), "{log}");
    }
}

/// Without what it needs a worker is not ready, says what is missing and how to repair it, and goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_topology_says_what_is_missing_and_recovers_when_it_appears() {
    let world = World::new().await;
    let vhost = &world.name;
    world.manage("DELETE", &format!("queues/{vhost}/{COMMISSIONS}"), None).await;
    world.manage("DELETE", &format!("queues/{vhost}/{COMMISSIONS}.dead"), None).await;
    world.manage("DELETE", &format!("exchanges/{vhost}/saldo.events"), None).await;
    let mut worker = world.worker().start();
    let troubles = eventually("it says what is missing", PATIENCE, || async {
        match worker.readiness().await {
            Some((false, troubles)) if troubles.to_string().contains("saldo topology apply") => {
                Ok(troubles.to_string())
            }
            other => Err(other),
        }
    })
    .await;
    for missing in ["exchange saldo.events", "queue saldo.commissions", "queue saldo.commissions.dead"] {
        assert!(troubles.contains(missing), "{missing} in {troubles}");
    }
    assert!(!troubles.contains("exchange saldo.dead"), "{troubles}");
    assert!(worker.is_live().await);

    world.declare_topology().await;
    worker.wait_ready(PATIENCE).await;
    let events = world.events().await;
    world.publisher().await.publish(&[credit("c-1", "anna", "1.00")]).await;
    events.first("c-1", "commission.credited").await;
    assert!(worker.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_queue_is_deleted_notices_and_consumes_again_when_it_is_back() {
    let world = World::new().await;
    let events = world.events().await;
    let mut worker = world.worker().ready().await;
    let publisher = world.publisher().await;
    publisher.publish(&[credit("c-1", "anna", "1.00")]).await;
    events.first("c-1", "commission.credited").await;

    world.manage("DELETE", &format!("queues/{}/{COMMISSIONS}", world.name), None).await;
    let troubles = eventually("it says what is missing", PATIENCE, || async {
        match worker.readiness().await {
            Some((false, troubles)) if troubles.to_string().contains("no queue saldo.commissions") => {
                Ok(troubles)
            }
            other => Err(other),
        }
    })
    .await;
    assert!(troubles.to_string().contains("saldo topology apply"), "{troubles}");

    world.declare_topology().await;
    worker.wait_ready(PATIENCE).await;
    publisher.publish(&[credit("c-2", "anna", "1.00")]).await;
    events.first("c-2", "commission.credited").await;
    assert!(worker.terminate().await.success());
    world.assert_sound().await;
}

/// The names of the worker's connections, as the management API lists them.
async fn connections(world: &World, purpose: &str) -> Vec<String> {
    let all = world.manage("GET", &format!("vhosts/{}/connections", world.name), None).await;
    let named = |connection: &&Value| {
        connection["client_properties"]["connection_name"] == format!("commissions {purpose}").as_str()
    };
    let name =
        |connection: &Value| connection["name"].as_str().unwrap().replace(' ', "%20").replace('>', "%3E");
    all.as_array().unwrap().iter().filter(named).map(name).collect()
}

/// Has the broker close the worker's connection.
async fn close(world: &World, purpose: &str) {
    let names = eventually("the broker lists the connection", PATIENCE, || async {
        let names = connections(world, purpose).await;
        if names.is_empty() { Err(names) } else { Ok(names) }
    })
    .await;
    for name in names {
        world.manage("DELETE", &format!("connections/{name}"), None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_has_lost_its_broker_is_not_ready_although_a_batch_is_under_way() {
    not_ready_with_batches_under_way(&["anna"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_has_lost_its_broker_is_not_ready_although_all_lanes_wait_for_the_ledger() {
    not_ready_with_batches_under_way(&["anna", "ben"]).await;
}

/// What is under way may take as long as the ledger does: a lane waits for each of these customers.
async fn not_ready_with_batches_under_way(customers: &[&str]) {
    let world = World::new().await;
    let events = world.events().await;
    let publisher = world.publisher().await;
    let worker = world.worker().ready().await;
    for customer in customers {
        publisher.publish(&[credit(&format!("first-{customer}"), customer, "1.00")]).await;
    }
    events.at_least(customers.len(), PATIENCE).await;

    let mut locks = world.superuser().await;
    let mut transaction = locks.begin().await.unwrap();
    transaction.execute("SELECT FROM account FOR UPDATE").await.unwrap();
    for (lanes, customer) in (1..).zip(customers) {
        publisher.publish(&[credit(&format!("second-{customer}"), customer, "1.00")]).await;
        world.until_waiting_for_locks(lanes).await;
    }
    close(&world, "consume").await;
    let troubles = worker.wait_not_ready(Duration::from_secs(5)).await;
    assert!(troubles.to_string().contains("not consuming"), "{troubles}");
    let waiting = i64::try_from(customers.len()).unwrap();
    assert_eq!(world.waiting_for_locks().await, waiting, "the batches are still under way");
    transaction.rollback().await.unwrap();

    worker.wait_ready(PATIENCE).await;
    for customer in customers {
        events.first(&format!("second-{customer}"), "commission.credited").await;
        assert_eq!(world.balance(customer).await.normalize().to_string(), "2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_connections_are_closed_connects_again_and_loses_nothing() {
    const COMMANDS: usize = 4_000;
    let world = World::new().await;
    let (events, dead) = (world.events().await, world.dead_letters().await);
    let mut builder = world.worker();
    builder.set("SALDO__WORKER__BATCH_COUNT", "50");
    let worker = builder.ready().await;
    let publisher = world.publisher().await;
    let publishing = tokio::spawn(async move {
        let messages: Vec<_> = (0..COMMANDS)
            .map(|n| credit(&format!("order-{n}"), &format!("customer-{}", n % 100), "1.00"))
            .collect();
        for part in messages.chunks(100) {
            publisher.publish(part).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
    for purpose in ["consume", "publish"] {
        close(&world, purpose).await;
        eventually("the worker has noticed", PATIENCE, || async {
            let losses = worker.log().matches("the session is lost").count();
            if losses > usize::from(purpose == "publish") { Ok(()) } else { Err(losses) }
        })
        .await;
        worker.wait_ready(PATIENCE).await;
    }
    publishing.await.unwrap();
    eventually("every commission is decided", PATIENCE, || async {
        match world.count("SELECT count(*) FROM inbox").await {
            4_000 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    world.drain(vec![worker], &builder, &events).await;
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 4_000);
    assert_eq!(events.causes("commission.credited").len(), COMMANDS);
    assert_eq!(dead.count(), 0);
    world.assert_told(&events).await;
    world.assert_sound().await;
}

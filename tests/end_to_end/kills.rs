//! A worker that is killed, wherever it happens, loses nothing and does nothing twice.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use rust_decimal::Decimal;
use tests::check::Queued;
use tests::{COMMISSIONS, PATIENCE, World, credit, eventually, seeded};

const SIGKILL: i32 = 9;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_again_and_again_loses_nothing_and_does_nothing_twice() {
    const COMMANDS: usize = 3_000;
    const ROUNDS: usize = 20;
    let world = World::new().await;
    let events = world.events().await;
    let dead = world.dead_letters().await;

    let mut rng = seeded();
    let cents: Vec<i64> = (0..COMMANDS).map(|_| rng.random_range(1..=100_000)).collect();
    let mut messages: Vec<_> = (0..COMMANDS)
        .chain(0..COMMANDS)
        .map(|n| {
            let (customer, amount) = (format!("customer-{}", n % 100), Decimal::new(cents[n], 2));
            credit(&format!("order-{n}"), &customer, &amount.to_string())
        })
        .collect();
    messages.shuffle(&mut rng);
    let publisher = world.publisher().await;

    let began = Instant::now();
    let mut killed = [0; 4];
    for (round, part) in messages.chunks(COMMANDS * 2 / ROUNDS).enumerate() {
        let mut builder = world.worker();
        // Small batches: what a kill returns is taken one at a time after the third, and batches must be killed too.
        builder.set("SALDO__WORKER__BATCH_COUNT", "20").set("SALDO__WORKER__RETRY_MAX", "500ms");
        let point = ["received", "committed", "published"].get(round % 4);
        if let Some(point) = point {
            builder.dies_at(point, rng.random_range(1..=12));
        }
        publisher.publish(part).await;
        let mut worker = builder.start();
        // Without a fault point, or when there was not enough left to come to it: at any moment.
        let patience = if point.is_some() { 2_000 } else { rng.random_range(20..1_500) };
        let until = Instant::now() + Duration::from_millis(patience);
        while worker.is_running() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if worker.is_running() {
            worker.kill();
            killed[3] += 1;
        } else {
            assert_eq!(worker.ended(PATIENCE).await.signal(), Some(SIGKILL), "{}", worker.log());
            killed[round % 4] += 1;
        }
    }
    let decided = world.count("SELECT count(*) FROM inbox").await;
    eprintln!(
        "killed when received, committed, published, at random: {killed:?} in {:?}; {decided} decided, {} in the queue",
        began.elapsed(),
        publisher.queued(COMMISSIONS).await.ready,
    );
    assert!(killed[..3].iter().all(|times| *times >= 2), "every fault point was met: {killed:?}");

    let mut builder = world.worker();
    builder.set("SALDO__WORKER__BATCH_COUNT", "100");
    world.drain(vec![builder.ready().await], &builder, &events).await;
    eprintln!("{} events told in {:?}", events.count(), began.elapsed());

    assert_eq!(world.count("SELECT count(*) FROM entry").await, 3_000);
    assert_eq!(world.count("SELECT count(*) FROM inbox").await, 3_000);
    let paid: Decimal = sqlx::query_scalar("SELECT sum(balance) FROM account")
        .fetch_one(&mut world.superuser().await)
        .await
        .unwrap();
    assert_eq!(paid, Decimal::new(cents.iter().sum(), 2));
    assert_eq!(events.causes("commission.credited").len(), COMMANDS, "an event for every command");
    world.assert_told(&events).await;
    world.assert_sound().await;
    assert!(dead.all().is_empty(), "{} dead letters", dead.count());
}

/// What was committed is told even if the broker has forgotten the commands.
#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_publishes_what_a_killed_worker_committed_even_if_the_queue_is_lost() {
    const COMMANDS: usize = 500;
    let world = World::new().await;
    let events = world.events().await;
    let publisher = world.publisher().await;
    let commands: Vec<_> = (0..COMMANDS)
        .map(|n| credit(&format!("order-{n}"), &format!("customer-{}", n % 20), "1.25"))
        .collect();
    publisher.publish(&commands).await;

    let mut builder = world.worker();
    builder.set("SALDO__WORKER__LANES", "1").set("SALDO__WORKER__BATCH_COUNT", "200").dies_at("committed", 2);
    let mut worker = builder.start();
    assert_eq!(worker.ended(PATIENCE).await.signal(), Some(SIGKILL), "{}", worker.log());
    // The first batch is told and acked; the second one holds what had gathered meanwhile.
    let (committed, told) = (world.outcomes().await, events.bodies());
    assert!(!told.is_empty() && told.len() < committed.len(), "{} of {} told", told.len(), committed.len());
    assert_eq!(world.count("SELECT count(*) FROM batch WHERE published_at IS NULL").await, 1);

    eventually("the broker has everything back", PATIENCE, || async {
        match publisher.queued(COMMISSIONS).await {
            Queued { ready, consumers: 0 } if ready as usize == COMMANDS - told.len() => Ok(()),
            other => Err(other),
        }
    })
    .await;
    world.manage("DELETE", &format!("queues/{}/{COMMISSIONS}/contents", world.name), None).await;
    assert_eq!(publisher.queued(COMMISSIONS).await.ready, 0);

    let mut builder = world.worker();
    builder.set("SALDO__SWEEP__AGE", "100ms").set("SALDO__SWEEP__INTERVAL", "200ms");
    let mut worker = builder.ready().await;
    events.at_least(committed.len(), PATIENCE).await;
    world.assert_all_marked().await;
    let swept = committed.len() - told.len();
    eprintln!("{} of {COMMANDS} were committed, {swept} of them are told by the sweep", committed.len());
    assert!(worker.terminate().await.success());
    assert_eq!(world.outcomes().await, committed, "nothing else was decided");
    world.assert_told(&events).await;
    assert_eq!(events.count(), committed.len(), "a batch that is marked is not told again");
    world.assert_sound().await;
}

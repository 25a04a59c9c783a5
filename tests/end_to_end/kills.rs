//! A worker that is killed, wherever it happens, loses nothing and does nothing twice.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use tests::check::credits;
use tests::{COMMISSIONS, PATIENCE, World, credit, eventually, seeded};
use worker::topology::Limits;

const SIGKILL: i32 = 9;

/// Two workers, two publishers, every command three times; one of the workers is killed and started anew all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_again_and_again_loses_nothing_and_does_nothing_twice() {
    const COMMANDS: usize = 10_000;
    const COPIES: usize = 3;
    const ROUNDS: usize = 40;
    // A kill delivers a message once more at most: no limit must be reached by kills alone.
    let limits = Limits::default();
    assert!(u32::try_from(ROUNDS).unwrap() < limits.delivery_limit);
    let world = World::with_limits(limits).await;
    let (events, dead) = (world.events().await, world.dead_letters().await);

    let mut rng = seeded();
    let (cents, messages) = credits(&mut rng, COMMANDS, COPIES);
    let (one, two) = (world.publisher().await, world.publisher().await);

    let began = Instant::now();
    let mut builder = world.worker();
    // Small batches: what a kill returns is taken one at a time after the third, and batches must be killed too.
    builder.set("SALDO__WORKER__BATCH_COUNT", "20").set("SALDO__WORKER__RETRY_MAX", "500ms");
    let mut steady = builder.ready().await;
    let mut killed = [0; 4];
    for (round, part) in messages.chunks((COMMANDS * COPIES).div_ceil(ROUNDS)).enumerate() {
        let mut victim = builder.clone();
        let point = ["received", "committed", "published"].get(round % 4);
        if let Some(point) = point {
            victim.dies_at(point, rng.random_range(1..=12));
        }
        let mut victim = victim.start();
        // At a fault point it dies of what is published now, beside the other worker; otherwise at any moment, be it
        // while it starts.
        while point.is_some() && victim.is_running() && one.queued(COMMISSIONS).await.consumers < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let patience =
            Duration::from_millis(if point.is_some() { 2_000 } else { rng.random_range(20..1_000) });
        let (first, second) = part.split_at(part.len() / 2);
        let death = async {
            let began = Instant::now();
            while victim.is_running() && began.elapsed() < patience {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::join!(one.publish(first), two.publish(second), death);
        if victim.is_running() {
            // Without a fault point, or when there was not enough left to come to it.
            victim.kill();
            killed[3] += 1;
        } else {
            assert_eq!(victim.ended(PATIENCE).await.signal(), Some(SIGKILL), "{}", victim.log());
            killed[round % 4] += 1;
        }
        assert!(steady.is_running(), "{}", steady.log());
    }
    let decided = world.count("SELECT count(*) FROM inbox").await;
    eprintln!(
        "killed when received, committed, published, at random: {killed:?} in {:?}; {decided} decided, {} in the queue",
        began.elapsed(),
        one.queued(COMMISSIONS).await.ready,
    );
    assert!(killed.iter().all(|times| *times >= 2), "every fault point was met: {killed:?}");

    world.drain(vec![steady, builder.ready().await], &builder, &events).await;
    eprintln!("{} events told in {:?}", events.count(), began.elapsed());
    world.assert_credited_once(&cents, &events, &dead).await;
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
    let ready = eventually("the broker has everything back, and has told everything", PATIENCE, || async {
        let look = async || (publisher.queued(COMMISSIONS).await, events.count());
        let before = look().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = look().await;
        if now == before && now.0.consumers == 0 { Ok(now.0.ready) } else { Err((before, now)) }
    })
    .await;
    // The first batch is told and acked; the second one holds what had gathered meanwhile.
    let (committed, told) = (world.outcomes().await, events.bodies());
    assert!(!told.is_empty() && told.len() < committed.len(), "{} of {} told", told.len(), committed.len());
    assert_eq!(world.count("SELECT count(*) FROM batch WHERE published_at IS NULL").await, 1);
    assert!(ready as usize >= COMMANDS - told.len(), "{ready} are back: something was acked and not told");
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

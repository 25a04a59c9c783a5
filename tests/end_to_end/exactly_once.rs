//! Each command takes effect once, however often it is published.

use std::time::Instant;

use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use rust_decimal::Decimal;
use tests::{PATIENCE, World, credit, eventually, seeded};

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_commissions_published_three_times_are_credited_once() {
    const COMMANDS: usize = 10_000;
    const COPIES: usize = 3;
    let world = World::new().await;
    let events = world.events().await;
    let dead = world.dead_letters().await;

    let mut rng = seeded();
    let cents: Vec<i64> = (0..COMMANDS).map(|_| rng.random_range(1..=100_000)).collect();
    let mut messages = Vec::with_capacity(COMMANDS * COPIES);
    for _ in 0..COPIES {
        messages.extend((0..COMMANDS).map(|n| {
            let (customer, amount) = (format!("customer-{}", n % 300), Decimal::new(cents[n], 2));
            credit(&format!("order-{n}"), &customer, &amount.to_string())
        }));
    }
    messages.shuffle(&mut rng);

    let began = Instant::now();
    let builder = world.worker();
    let workers = vec![builder.ready().await, builder.ready().await];
    let (one, two) = (world.publisher().await, world.publisher().await);
    let (first, second) = messages.split_at(messages.len() / 2);
    tokio::join!(one.publish(first), two.publish(second));
    eventually("every commission is decided", PATIENCE * 2, || async {
        match world.count("SELECT count(*) FROM inbox WHERE outcome IS NOT NULL").await {
            10_000 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    world.drain(workers, &builder, &events).await;
    eprintln!("{} events told in {:?}", events.count(), began.elapsed());

    assert_eq!(world.count("SELECT count(*) FROM entry").await, 10_000);
    assert_eq!(world.count("SELECT count(*) FROM inbox").await, 10_000);
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

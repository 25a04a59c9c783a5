//! Each command takes effect once, however often it is published.

use std::time::Instant;

use tests::check::credits;
use tests::{PATIENCE, World, credit, eventually, reverse, seeded};

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_commissions_published_three_times_are_credited_once() {
    const COMMANDS: usize = 10_000;
    const COPIES: usize = 3;
    let world = World::new().await;
    let events = world.events().await;
    let dead = world.dead_letters().await;

    let (cents, messages) = credits(&mut seeded(), COMMANDS, COPIES);
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

    world.assert_credited_once(&cents, &events, &dead).await;
}

/// Both sides of the books, for a commission and for a part of it that is taken back.
#[tokio::test(flavor = "multi_thread")]
async fn each_entry_is_two_lines_in_the_journal() {
    let world = World::new().await;
    let events = world.events().await;
    let mut worker = world.worker().ready().await;
    let publisher = world.publisher().await;
    publisher.publish(&[credit("c-1", "anna", "12.50")]).await;
    publisher.publish(&[reverse("r-1", "c-1", Some("4.00"))]).await;
    events.at_least(2, PATIENCE).await;
    assert!(worker.terminate().await.success());

    let lines: Vec<String> = sqlx::query_scalar(
        "SELECT concat_ws(' ', number, position, merchant, currency, kind, account, round(debit, 2), round(credit, 2))
         FROM journal ORDER BY account_id, number, position",
    )
    .fetch_all(&mut world.superuser().await)
    .await
    .unwrap();
    assert_eq!(
        lines,
        [
            "1 1 acme EUR commission customer:anna 0.00 12.50",
            "1 2 acme EUR commission commissions 12.50 0.00",
            "2 1 acme EUR commission-reversal customer:anna 4.00 0.00",
            "2 2 acme EUR commission-reversal commissions 0.00 4.00",
        ]
    );
    assert_eq!(world.balance("anna").await.to_string(), "8.5000");
    world.assert_sound().await;
}

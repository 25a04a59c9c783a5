//! Drains a queue of commissions with one worker process, outcome events on, and prints commands per second
//! and the worker's peak memory.
//!
//!     cargo build --release      # the worker; `just bench` does both
//!     deploy/local/servers cargo run --release -p tests --bin drain -- [COMMANDS] [CUSTOMERS] [--subscriber]
//!
//! The clock runs from the moment the first batches are seen in the ledger (they are not counted) until every command is in the ledger and every batch is
//! marked as published. Absolute figures mean little on another machine; compare runs on one. With `--subscriber`
//! a durable queue takes every event; without it, as with no subscriber, the broker only confirms them.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::float_arithmetic,
    reason = "a program for developers"
)]

use std::time::{Duration, Instant};

use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tests::{Publisher, World, credit};
use worker::topology::Limits;

const SUBSCRIBER: &str = "bench.subscriber";

#[tokio::main]
async fn main() {
    let (flags, numbers): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let mut numbers = numbers.into_iter().map(|number| number.parse::<usize>().unwrap());
    let commands = numbers.next().unwrap_or(100_000);
    let customers = numbers.next().unwrap_or(10_000);
    let with_subscriber = flags.iter().any(|flag| flag == "--subscriber");

    // Room for every event in the subscriber's queue that counts them.
    let limits = Limits {
        subscriber_bytes: 4 * 1024 * 1024 * 1024,
        queue_bytes: 1024 * 1024 * 1024,
        ..Limits::default()
    };
    let world = World::with_limits(limits).await;
    let publisher = world.publisher().await;
    if with_subscriber {
        subscribe(&publisher).await;
    }
    println!("publishing {commands} commissions for {customers} customers");
    let messages: Vec<_> = (0..commands)
        .map(|n| {
            credit(&format!("order-{n}-level-1"), &format!("customer-{}", n * 7919 % customers), "12.50")
        })
        .collect();
    publisher.publish(&messages).await;
    drop(messages);

    println!("draining");
    let mut builder = world.worker();
    let worker = builder.program("commissions").start();
    let mut database = world.superuser().await;
    let mut began = None;
    let finished = loop {
        let done: i64 = sqlx::query_scalar("SELECT coalesce(sum(entries), 0)::bigint FROM account")
            .fetch_one(&mut database)
            .await
            .unwrap();
        if done > 0 {
            began.get_or_insert_with(|| (Instant::now(), done));
        }
        let unpublished = "SELECT count(*) FROM batch WHERE published_at IS NULL";
        if usize::try_from(done).unwrap() == commands
            && sqlx::query_scalar::<_, i64>(unpublished).fetch_one(&mut database).await.unwrap() == 0
        {
            break Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    if with_subscriber {
        assert_eq!(events(&publisher).await, commands, "one outcome event for each command");
    }
    let (began, already) = began.unwrap();
    let (drained, seconds) = (i64::try_from(commands).unwrap() - already, (finished - began).as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let (rate, memory) = (drained as f64 / seconds, worker.peak_memory() as f64 / 1_048_576.0);
    println!("{drained} commands in {seconds:.2} s: {rate:.0} commands/s, every outcome event confirmed");
    println!("peak memory of the worker: {memory:.1} MiB");
}

/// A subscriber whose queue keeps every event, to count them.
async fn subscribe(publisher: &Publisher) {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    publisher.channel.queue_declare(SUBSCRIBER.into(), options, FieldTable::default()).await.unwrap();
    let (exchange, any) = (worker::topology::EVENTS.into(), "#".into());
    publisher
        .channel
        .queue_bind(SUBSCRIBER.into(), exchange, any, QueueBindOptions::default(), FieldTable::default())
        .await
        .unwrap();
}

async fn events(publisher: &Publisher) -> usize {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let queue = publisher.channel.queue_declare(SUBSCRIBER.into(), options, FieldTable::default()).await;
    usize::try_from(queue.unwrap().message_count()).unwrap()
}

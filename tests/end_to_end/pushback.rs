//! More than somebody can take: publishers are pushed back, subscribers lose or delay their own events, and
//! the commands go on.

use std::collections::BTreeSet;

use lapin::Confirmation;
use lapin::options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;
use tests::message::routing_key;
use tests::{COMMISSIONS, PATIENCE, Publisher, World, credit, eventually};
use worker::topology::{EVENTS, Limits, dead_queue};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_pushes_publishers_back_and_loses_nothing() {
    const BYTES: u64 = 300_000;
    let world = World::with_limits(Limits { queue_bytes: BYTES, ..Limits::default() }).await;
    let (events, publisher) = (world.events().await, world.publisher().await);
    let (mut taken, mut refused, mut bytes) = (BTreeSet::new(), Vec::new(), 0);
    for round in 0..100 {
        let messages: Vec<_> =
            (0..50).map(|number| credit(&format!("c-{round}-{number}"), "anna", "1.00")).collect();
        let (accepted, pushed_back) = publish(&publisher, messages).await;
        bytes += accepted.iter().map(|message| message.to_string().len()).sum::<usize>();
        taken.extend(accepted.iter().map(|message| message["id"].as_str().unwrap().to_owned()));
        refused.extend(pushed_back);
        if refused.len() >= 100 {
            break;
        }
    }
    eprintln!("{} taken ({bytes} bytes), {} pushed back", taken.len(), refused.len());
    assert!(refused.len() >= 100, "nobody was pushed back");
    assert!(bytes as u64 >= BYTES, "pushed back with {bytes} bytes in the queue");
    assert_eq!(publisher.queued(COMMISSIONS).await.ready as usize, taken.len());

    let mut worker = world.worker().ready().await;
    eventually("what was taken is decided", PATIENCE, || async {
        let told = events.causes("commission.credited").len();
        if told == taken.len() { Ok(()) } else { Err(told) }
    })
    .await;
    assert_eq!(events.causes("commission.credited"), taken);
    // The publishers try again.
    let again = refused.len();
    for _ in 0..100 {
        if refused.is_empty() {
            break;
        }
        refused = publish(&publisher, refused).await.1;
    }
    assert!(refused.is_empty(), "{} are still pushed back", refused.len());
    eventually("everything is decided", PATIENCE, || async {
        let told = events.causes("commission.credited").len();
        if told == taken.len() + again { Ok(()) } else { Err(told) }
    })
    .await;
    assert!(worker.terminate().await.success());
    assert_eq!(publisher.queued(COMMISSIONS).await.ready, 0);
    assert_eq!(publisher.queued(&dead_queue("commissions")).await.ready, 0);
    let entries = world.count("SELECT count(*) FROM entry").await;
    assert_eq!(usize::try_from(entries).unwrap(), taken.len() + again);
    world.assert_sound().await;
    world.assert_told(&events).await;
}

/// Publishes; returns what the broker took and what it refused.
async fn publish(publisher: &Publisher, messages: Vec<Value>) -> (Vec<Value>, Vec<Value>) {
    let raw =
        |message: &Value| (routing_key(message), message.to_string().into_bytes(), Publisher::properties());
    let confirmed = publisher.raw_all(&messages.iter().map(raw).collect::<Vec<_>>()).await;
    let (taken, refused): (Vec<_>, Vec<_>) =
        messages.into_iter().zip(confirmed).partition(|(_, one)| *one == Confirmation::Ack(None));
    assert!(refused.iter().all(|(_, one)| matches!(one, Confirmation::Nack(_))), "{refused:?}");
    let messages =
        |parts: Vec<(Value, Confirmation)>| parts.into_iter().map(|(message, _)| message).collect();
    (messages(taken), messages(refused))
}

/// A durable queue that hears every event and that nobody reads.
async fn unread(publisher: &Publisher, name: &str, arguments: FieldTable) {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    publisher.channel.queue_declare(name.into(), options, arguments).await.unwrap();
    let options = QueueBindOptions::default();
    publisher
        .channel
        .queue_bind(name.into(), EVENTS.into(), "#".into(), options, FieldTable::default())
        .await
        .unwrap();
}

fn commands(numbers: std::ops::Range<usize>) -> Vec<Value> {
    numbers
        .map(|number| credit(&format!("c-{number}"), &format!("customer-{}", number % 11), "1.00"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_never_reads_loses_its_oldest_events_and_stops_nobody() {
    let world = World::with_limits(Limits { subscriber_bytes: 30_000, ..Limits::default() }).await;
    let publisher = world.publisher().await;
    unread(&publisher, "subscriber", FieldTable::default()).await;
    let mut worker = world.worker().ready().await;
    publisher.publish(&commands(0..2000)).await;
    eventually("all are decided", PATIENCE, || async {
        let entries = world.count("SELECT count(*) FROM entry").await;
        if entries == 2000 { Ok(()) } else { Err(entries) }
    })
    .await;
    world.assert_all_marked().await;
    assert!(worker.terminate().await.success());
    assert_eq!(publisher.queued(COMMISSIONS).await.ready, 0, "not acked");
    assert_eq!(publisher.queued(&dead_queue("commissions")).await.ready, 0);
    let kept = publisher.queued("subscriber").await.ready;
    eprintln!("the subscriber's queue holds {kept} of 2000 events");
    assert!((1..200).contains(&kept), "{kept} events");
    assert!(!worker.log().contains("refused"), "drop-head refuses nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_refuses_events_delays_its_own_and_stops_nobody() {
    let world = World::new().await;
    let publisher = world.publisher().await;
    let mut nasty = FieldTable::default();
    nasty.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    nasty.insert("x-max-length".into(), AMQPValue::LongInt(10));
    unread(&publisher, "nasty", nasty).await;

    let mut builder = world.worker();
    builder.set("SALDO__SWEEP__INTERVAL", "500ms").set("SALDO__SWEEP__AGE", "1s");
    let mut worker = builder.ready().await;
    for part in 0..5 {
        publisher.publish(&commands(part * 100..(part + 1) * 100)).await;
        let so_far = i64::try_from((part + 1) * 100).unwrap();
        eventually("all are decided and handed out", PATIENCE, || async {
            let seen = (world.count("SELECT count(*) FROM entry").await, publisher.queued(COMMISSIONS).await);
            if seen.0 == so_far && seen.1.ready == 0 { Ok(()) } else { Err(seen) }
        })
        .await;
    }
    worker.wait_ready(PATIENCE).await;
    assert!(worker.terminate().await.success());
    assert_eq!(publisher.queued(COMMISSIONS).await.ready, 0, "not acked");
    assert_eq!(publisher.queued(&dead_queue("commissions")).await.ready, 0);
    assert!(!worker.log().contains("session is lost"), "a full subscriber cost the session");

    let unpublished: Vec<String> = sqlx::query_scalar(
        "SELECT i.id FROM inbox i JOIN batch b ON b.id = i.batch_id WHERE b.published_at IS NULL",
    )
    .fetch_all(&mut world.superuser().await)
    .await
    .unwrap();
    let unpublished: BTreeSet<_> = unpublished.into_iter().collect();
    eprintln!("{} of 500 commands wait for the sweep", unpublished.len());
    assert!(unpublished.len() >= 400, "{} commands wait", unpublished.len());

    let events = world.events().await;
    publisher.channel.queue_delete("nasty".into(), QueueDeleteOptions::default()).await.unwrap();
    let mut worker = builder.ready().await;
    world.assert_all_marked().await;
    eventually("the sweep has told what was missing", PATIENCE, || async {
        let told = events.causes("commission.credited");
        if told == unpublished { Ok(()) } else { Err(told.len()) }
    })
    .await;
    assert!(worker.terminate().await.success());
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_is_drained_in_little_memory() {
    const COMMANDS: usize = 20_000;
    const MEBIBYTE: u64 = 1024 * 1024;
    let world = World::new().await;
    let publisher = world.publisher().await;
    for part in 0..COMMANDS / 2000 {
        publisher.publish(&commands(part * 2000..(part + 1) * 2000)).await;
    }
    let began = std::time::Instant::now();
    let mut worker = world.worker().ready().await;
    eventually("all are decided", PATIENCE, || async {
        let entries = world.count("SELECT count(*) FROM entry").await;
        if entries == 20_000 { Ok(()) } else { Err(entries) }
    })
    .await;
    let (took, peak) = (began.elapsed(), worker.peak_memory());
    eprintln!("{COMMANDS} commands in {took:?}, peak memory {} KiB", peak / 1024);
    assert!((MEBIBYTE..64 * MEBIBYTE).contains(&peak), "{peak} bytes");
    assert!(worker.terminate().await.success());
    assert_eq!(publisher.queued(COMMISSIONS).await.ready, 0);
}

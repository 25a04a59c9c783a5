//! Subscribers who lost events get them once more, as they were.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::broker::Collected;
use tests::{PATIENCE, World, credit, reverse};

/// The bytes that came so far, by event id.
fn bodies(seen: &[Collected]) -> BTreeMap<String, Vec<u8>> {
    seen.iter().map(|event| (event.json()["id"].as_str().unwrap().to_owned(), event.body.clone())).collect()
}

/// A world in which three commissions were credited and one was reversed, and the bytes of those events.
async fn told() -> (World, BTreeMap<String, Vec<u8>>) {
    let world = World::new().await;
    let events = world.events().await;
    let mut worker = world.worker().ready().await;
    let publisher = world.publisher().await;
    publisher
        .publish(&[
            credit("c-1", "anna", "12.50"),
            credit("c-2", "bob", "1.00"),
            credit("c-3", "anna", "2.00"),
        ])
        .await;
    events.at_least(3, PATIENCE).await;
    publisher.publish(&[reverse("r-1", "c-1", None)]).await;
    let seen = events.at_least(4, PATIENCE).await;
    assert!(worker.terminate().await.success());
    (world, bodies(&seen))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_came_late_gets_every_event_byte_for_byte() {
    let (world, first) = told().await;
    let events = world.events().await;
    let dry = world.saldo_at_broker(&["events", "republish", "--since", "2020-01-01", "--dry-run"]).await;
    assert_eq!(dry.status, 0, "{dry:?}");
    assert!(dry.output.contains("would be published"), "{dry:?}");
    assert_eq!(events.all().len(), 0, "a dry run publishes nothing");
    let ran = world.saldo_at_broker(&["events", "republish", "--since", "2020-01-01"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(bodies(&events.at_least(4, PATIENCE).await), first);
    assert!(ran.output.contains("commission.credited"), "{ran:?}");
    // And nothing has happened again.
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_asked_for_is_published() {
    let (world, first) = told().await;
    let events = world.events().await;
    let only =
        ["events", "republish", "--since", "2020-01-01", "--type", "commission.reversed", "--rate", "1"];
    let ran = world.saldo_at_broker(&only).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    let seen = bodies(&events.at_least(1, PATIENCE).await);
    assert_eq!(seen.len(), 1);
    let (id, body) = seen.iter().next().unwrap();
    assert_eq!(first[id], *body);
    let event: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(event["type"], "commission.reversed.v1");
    for nothing in [
        ["--since", "2020-01-01", "--until", "2020-01-02"],
        ["--since", "2020-01-01", "--merchant", "nobody"],
    ] {
        let ran = world.saldo_at_broker(&[&["events", "republish"], &nothing[..]].concat()).await;
        assert_eq!((ran.status, ran.messages.as_str()), (0, "saldo: there are no such events\n"), "{ran:?}");
    }
    assert_eq!(events.all().len(), 1);
    let ran = world
        .saldo_at_broker(&["events", "republish", "--since", "2020-01-01", "--type", "commission.credit"])
        .await;
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.messages.contains("commission.credited"), "{ran:?}");
}

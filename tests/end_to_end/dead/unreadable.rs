//! Letters that no client can receive are listed with the others, and can be thrown away, alone.

use lapin::types::AMQPValue;
use serde_json::{Value, json};
use tests::wire::Wire;
use tests::{Collector, PATIENCE, Publisher, World};
use tokio::sync::OnceCell;
use worker::topology::{DEAD, UNROUTABLE, dead_queue};

use super::{dead, deeds, holds, letter, list, put_raw, texts};
use crate::hostile::{longest_header, padded};

/// The property flag of a message id.
const MESSAGE_ID: u16 = 1 << 7;

/// As long as what kills every connection that receives it for the second time: there is room for the broker's header the
/// first time only. Finding it out takes a while, and it is the same for the whole broker.
pub(super) async fn deadly(world: &World) -> usize {
    static DEADLY: OnceCell<usize> = OnceCell::const_new();
    *DEADLY.get_or_init(|| longest_header(world, true)).await
}

/// A letter that is as long.
pub(super) async fn killer(world: &World, publisher: &Publisher, body: &[u8]) {
    put_raw(publisher, "commissions", body, padded(deadly(world).await)).await;
}

/// Twelve letters, the fourth and the eighth of which kill every connection that receives them.
pub(super) async fn letters(world: &World, publisher: &Publisher) {
    for number in 0..12 {
        let body = format!("no JSON {number}");
        match number {
            3 => killer(world, publisher, body.as_bytes()).await,
            7 => {
                let mut wire = Wire::connect(world);
                let queue = dead_queue("commissions");
                assert!(wire.publish(DEAD, queue.as_bytes(), MESSAGE_ID, b"\x02\xff\xfe", body.as_bytes()));
            }
            _ => put_raw(publisher, "commissions", body.as_bytes(), Publisher::properties()).await,
        }
    }
    holds(publisher, &dead_queue("commissions"), 12).await;
}

fn bodies(rows: &[Value], world_bodies: &[(String, String)]) -> Vec<String> {
    let of = |name: &str| world_bodies.iter().find(|(letter, _)| letter == name).unwrap().1.clone();
    rows.iter().map(|row| of(letter(row))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_kill_connections_are_listed_and_discarded_and_the_others_stay() {
    let world = World::new().await;
    let publisher = world.publisher().await;
    letters(&world, &publisher).await;
    // It is handed out once before anybody looks, as it would be.
    list(&world, &[]).await;
    let rows = list(&world, &[]).await;
    assert_eq!(rows.len(), 12, "{rows:#?}");
    let killers: Vec<&Value> = rows.iter().filter(|row| row["readable_over_amqp"] == false).collect();
    assert_eq!(killers.len(), 2, "{rows:#?}");
    let again = list(&world, &[]).await;
    let sorted = |rows: &[Value]| {
        let mut names: Vec<String> = texts(rows, "letter").into_iter().map(str::to_owned).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(sorted(&again), sorted(&rows), "names stay");
    let mut known = Vec::new();
    for row in &rows {
        let shown = world.saldo_at_broker(&["dead", "show", letter(row), "--json"]).await.json();
        known.push((letter(row).to_owned(), shown["body"].as_str().unwrap().to_owned()));
    }
    let number = |body: &str| -> usize { body.strip_prefix("no JSON ").unwrap().parse().unwrap() };
    let readable = |rows: &[Value]| -> Vec<usize> {
        let rows: Vec<Value> = rows.iter().filter(|row| row["readable_over_amqp"] == true).cloned().collect();
        bodies(&rows, &known).iter().map(|body| number(body)).collect()
    };
    let others = [0, 1, 2, 4, 5, 6, 8, 9, 10, 11];
    assert_eq!(readable(&list(&world, &[]).await), others, "the order of the others");
    let told = world.saldo_at_broker(&["dead", "list"]).await;
    assert_eq!(told.output.matches("unreadable over AMQP").count(), 2, "{told:?}");

    // The one that lies behind the other one.
    let behind = known.iter().find(|(_, body)| body == "no JSON 7").unwrap().0.clone();
    let ran = dead(&world, &["discard", &behind, "--because", "tests"]).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    let ran = dead(&world, &["discard", &behind, "--unread", "--because", "tests"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    let left = list(&world, &[]).await;
    assert_eq!(left.len(), 11);
    assert!(!texts(&left, "letter").contains(&behind.as_str()));
    let ran = dead(&world, &["discard", "--all", "--unread", "--because", "tests", "--dry-run"]).await;
    assert_eq!((ran.status, ran.output.lines().count()), (0, 11), "{ran:?}");
    let before = known.iter().find(|(_, body)| body == "no JSON 3").unwrap().0.clone();
    let ran = dead(&world, &["discard", &before, "--unread", "--because", "tests"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(readable(&list(&world, &[]).await), others);
    assert_eq!(texts(&deeds(&world).await, "letter"), [before, behind]);
    let queue = Collector::of_queue(&world, &dead_queue("commissions")).await;
    let left = queue.at_least(10, PATIENCE).await;
    let left: Vec<usize> =
        left.iter().map(|letter| number(std::str::from_utf8(&letter.body).unwrap())).collect();
    assert_eq!(left, others);
}

/// Without the management API it is said what is the matter, and the other queues are listed.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_cannot_be_seen_is_told_with_its_remedy() {
    let world = World::new().await;
    let publisher = world.publisher().await;
    letters(&world, &publisher).await;
    publisher.raw("acme.unheard.of", b"{}", Publisher::properties()).await;
    holds(&publisher, UNROUTABLE, 1).await;
    let broker = world.amqp_url();
    let settings = [("SALDO__BROKER__URL", broker.as_str())];
    let ran = world.saldo_with(&settings, &["dead", "list", "--json"]).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    assert_eq!(ran.json()["queue"], json!(UNROUTABLE));
    assert!(ran.messages.contains("set broker.management_url"), "{ran:?}");
    holds(&publisher, &dead_queue("commissions"), 12).await;
    // Enormous headers that fit are read like any other.
    let world = World::new().await;
    let publisher = world.publisher().await;
    let mut properties = padded(60_000);
    let mut headers = properties.headers().clone().unwrap();
    headers.insert("saldo-reason".into(), AMQPValue::LongString("x".repeat(60_000).into()));
    properties = properties.with_headers(headers);
    put_raw(&publisher, "commissions", b"{}", properties).await;
    for _ in 0..3 {
        assert_eq!(list(&world, &[]).await[0]["readable_over_amqp"], true);
    }
}

//! A request reserves its amount, so that all requests together never exceed the balance.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tests::message::request;
use tests::{PATIENCE, eventually, seeded};

use crate::shop::Shop;

const REQUESTS: usize = 200;
const WORKERS: usize = 4;

fn figure(value: &Value) -> Decimal {
    value.as_str().unwrap().parse().unwrap()
}

/// Anna requests all of these amounts at the same time: each twice, in random order, through four publishers and
/// four workers of two lanes each. Returns the shop when all are decided.
async fn request_at_once(balance: &str, amounts: &[Decimal], rng: &mut StdRng) -> Shop {
    let mut shop = Shop::new(json!({}), &[("anna", balance)]).await;
    shop.stop().await;
    let world = &shop.world;
    let mut builder = world.worker_of("withdrawals");
    builder.set("SALDO__WORKER__BATCH_COUNT", "5").set("SALDO__WORKER__LANES", "2");
    let workers = join_all((0..WORKERS).map(|_| builder.ready())).await;
    let publishers = join_all((0..WORKERS).map(|_| world.publisher())).await;
    let requests: Vec<_> = amounts
        .iter()
        .enumerate()
        .map(|(n, amount)| request(&format!("w-{n}"), "anna", Some(&amount.to_string())))
        .collect();
    let mut messages = [requests.clone(), requests].concat();
    messages.shuffle(rng);
    let parts = publishers.iter().zip(messages.chunks(messages.len() / WORKERS));
    let publishing = join_all(parts.map(|(publisher, part)| publisher.publish(part)));
    let mut looks = 0;
    let watching = eventually("all are decided", PATIENCE, || {
        looks += 1;
        async {
            let (balance, held, open, decided): (Decimal, Decimal, Decimal, i64) = sqlx::query_as(
                "SELECT balance, held, (SELECT coalesce(sum(amount), 0) FROM withdrawal),
                        (SELECT count(*) FROM inbox WHERE type = 'withdrawal.request.v1' AND outcome IS NOT NULL)
                 FROM account",
            )
            .fetch_one(&mut world.superuser().await)
            .await
            .unwrap();
            assert!(held <= balance, "{held} of {balance} is held");
            assert_eq!(held, open, "what is held is what was requested");
            if usize::try_from(decided) == Ok(amounts.len()) { Ok(()) } else { Err(decided) }
        }
    });
    tokio::join!(publishing, watching);
    world.drain(workers, &builder, &shop.events).await;
    let lanes =
        world.count("SELECT count(DISTINCT batch_id) FROM inbox WHERE type = 'withdrawal.request.v1'");
    eprintln!("decided in {} transactions; the account was looked at {looks} times", lanes.await);
    shop
}

/// Takes the decisions again in the order of the account's versions, from the events alone: each must be right by
/// what was available at that version. Returns how much was reserved, and by how many requests.
fn replay(shop: &Shop, balance: Decimal, amounts: &[Decimal]) -> (Decimal, usize) {
    let amount = |event: &Value| {
        let id = event["causationid"].as_str().unwrap();
        amounts[id.trim_start_matches("w-").parse::<usize>().unwrap()]
    };
    let version = |event: &Value| event["data"]["account"]["version"].as_i64().unwrap();
    let mut events: Vec<_> = shop.events.events_by_id().into_values().collect();
    events.retain(|event| event["type"].as_str().unwrap().starts_with("withdrawal."));
    assert_eq!(events.len(), amounts.len(), "one event for each request");
    let (mut requested, refused): (Vec<_>, Vec<_>) =
        events.into_iter().partition(|event| event["type"] == "withdrawal.requested.v1");
    requested.sort_by_key(version);
    let mut held = Decimal::ZERO;
    // The account was credited once before.
    let mut available = BTreeMap::from([(1, balance)]);
    for (event, expected) in requested.iter().zip(2..) {
        assert_eq!(version(event), expected, "no version is missing, none is there twice");
        held += amount(event);
        assert!(held <= balance, "{held} of {balance} is held: {event}");
        let account = &event["data"]["account"];
        let told = ["balance", "held", "available"].map(|name| figure(&account[name]));
        assert_eq!(told, [balance, held, balance - held], "{event}");
        assert_eq!(figure(&event["data"]["amount"]), amount(event));
        available.insert(expected, balance - held);
    }
    for event in &refused {
        assert_eq!(event["data"]["reason"], "insufficient-funds", "{event}");
        assert!(amount(event) > available[&version(event)], "it would have fitted: {event}");
    }
    (held, requested.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_equal_requests_at_once_exactly_those_that_fit_are_reserved() {
    let (balance, amount) = (Decimal::new(100_000, 2), Decimal::new(730, 2));
    let shop = request_at_once("1000.00", &[amount; REQUESTS], &mut StdRng::seed_from_u64(20_261_122)).await;
    let (held, requested) = replay(&shop, balance, &[amount; REQUESTS]);
    assert_eq!(requested, 136, "1000.00 / 7.30");
    assert_eq!(held.to_string(), "992.80");
    assert_eq!(shop.world.count("SELECT count(*) FROM withdrawal WHERE state = 'requested'").await, 136);
    assert_eq!(shop.events.causes("withdrawal.refused").len(), 64);
    eprintln!("{requested} requested, {held} held, {} refused", REQUESTS - requested);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_mixed_requests_at_once_each_is_decided_by_what_the_ones_before_it_left() {
    let balance = Decimal::new(100_000, 2);
    let mut rng = seeded();
    let amounts: Vec<_> = (0..REQUESTS).map(|_| Decimal::new(rng.random_range(1..=4_000), 2)).collect();
    let shop = request_at_once("1000.00", &amounts, &mut rng).await;
    let (held, requested) = replay(&shop, balance, &amounts);
    assert!((1..REQUESTS).contains(&requested), "some fit, some do not: {requested}");
    eprintln!("{requested} requested, {held} held, {} refused", REQUESTS - requested);
    shop.close().await;
}

//! Requests and payments of a worker that is killed in the middle of them.

use std::os::unix::process::ExitStatusExt as _;

use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use rust_decimal::Decimal;
use serde_json::json;
use tests::message::{cancel, decide, request};
use tests::{PATIENCE, eventually, seeded};

use crate::shop::Shop;

const SIGKILL: i32 = 9;
const CUSTOMERS: usize = 10;
const WITHDRAWALS: usize = 120;
/// Where a worker dies, and at which batch; one after the other.
const DEATHS: [(&str, usize); 9] = [
    ("committed", 6),
    ("received", 9),
    ("published", 7),
    ("published", 14),
    ("committed", 16),
    ("received", 10),
    ("committed", 18),
    ("published", 12),
    ("received", 15),
];

/// Every command twice, in random order: decisions arrive before, with and after their requests. A third is paid, a
/// third rejected and a third cancelled, and a second such decision comes too late.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_neither_loses_a_withdrawal_nor_pays_one_twice() {
    let mut rng = seeded();
    let customers: Vec<_> = (0..CUSTOMERS).map(|n| format!("customer-{n}")).collect();
    let affiliates: Vec<_> = customers.iter().map(|customer| (customer.as_str(), "1000.00")).collect();
    let mut shop = Shop::new(json!({}), &affiliates).await;
    shop.stop().await;
    let dead = shop.world.dead_letters_of("withdrawals").await;
    let (mut messages, mut paid) = (Vec::new(), vec![Decimal::ZERO; CUSTOMERS]);
    for n in 0..WITHDRAWALS {
        let (id, customer) = (format!("w-{n}"), &customers[n % CUSTOMERS]);
        let amount = Decimal::new(rng.random_range(1..=8_000), 2);
        messages.push(request(&id, customer, Some(&amount.to_string())));
        for copy in 0..2 {
            let step = format!("{id}-{copy}");
            messages.push(match n % 3 {
                0 => decide("pay", &step, &id),
                1 => decide("reject", &step, &id),
                _ => cancel(&step, customer, &id),
            });
        }
        if n % 3 == 0 {
            paid[n % CUSTOMERS] += amount;
        }
    }
    let commands = messages.len();
    messages.extend(messages.clone());
    messages.shuffle(&mut rng);
    shop.publisher.publish(&messages).await;

    let mut builder = shop.world.worker_of("withdrawals");
    // So small that the last death still comes in the middle.
    builder.set("SALDO__WORKER__BATCH_COUNT", "5").set("SALDO__WORKER__RETRY_MAX", "500ms");
    let mut decided = Vec::new();
    for (point, n) in DEATHS {
        let mut victim = builder.clone().dies_at(point, n).start();
        assert_eq!(victim.ended(PATIENCE).await.signal(), Some(SIGKILL), "{point} {n}: {}", victim.log());
        decided.push(shop.world.count("SELECT count(*) FROM inbox WHERE type LIKE 'withdrawal.%'").await);
    }
    let ready = shop.publisher.queued(builder.queue()).await.ready;
    eprintln!(
        "of {commands} commands the inbox has after each death: {decided:?}; {ready} messages are left"
    );
    assert!(decided.last().unwrap() < &i64::try_from(commands).unwrap(), "the last death came in the middle");
    // A decision that waited is acked long before it is committed, together with its request. Where a death came then,
    // no redelivery tells it: the sweep does.
    builder.set("SALDO__SWEEP__AGE", "500ms").set("SALDO__SWEEP__INTERVAL", "200ms");
    let worker = builder.ready().await;
    eventually("all are decided", PATIENCE, || async {
        let query = "SELECT count(*) FROM inbox WHERE type LIKE 'withdrawal.%' AND outcome IS NOT NULL";
        let decided = shop.world.count(query).await;
        if usize::try_from(decided) == Ok(commands) { Ok(()) } else { Err(decided) }
    })
    .await;
    shop.world.assert_told(&shop.events).await;
    shop.world.drain(vec![worker], &builder, &shop.events).await;

    assert_eq!(dead.count(), 0, "{:?}", dead.all());
    let counted = |name| shop.events.causes(name).len();
    assert_eq!(counted("withdrawal.requested"), WITHDRAWALS);
    for name in ["withdrawal.paid", "withdrawal.rejected", "withdrawal.cancelled"] {
        assert_eq!(counted(name), WITHDRAWALS / 3, "{name}");
    }
    assert_eq!(counted("withdrawal.refused"), WITHDRAWALS, "the second decision of each");
    let payments = "SELECT count(*) FROM entry WHERE kind = 'withdrawal'";
    assert_eq!(shop.world.count(payments).await, 40);
    let two_steps = "SELECT count(*) FROM withdrawal_transition WHERE number = 2";
    assert_eq!(shop.world.count(two_steps).await, 120);
    assert_eq!(shop.world.count("SELECT count(*) FROM withdrawal_transition").await, 240);
    for (customer, paid) in customers.iter().zip(&paid) {
        let account = shop.account(customer, "EUR").await.unwrap();
        let figure = |name: &str| account[name].to_string().parse::<Decimal>().unwrap();
        assert_eq!(figure("balance"), Decimal::from(1000) - paid, "{customer}");
        assert_eq!(figure("held"), Decimal::ZERO, "{customer}");
    }
    shop.close().await;
}

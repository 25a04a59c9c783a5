//! What the shop's staff credits, debits and takes back by hand.

use futures_util::future::join_all;
use lapin::Confirmation;
use serde_json::{Value, json};
use sqlx::Row as _;
use tests::message::{MERCHANT, adjustment, decide, preferences, request, reverse_adjustment, routing_key};
use tests::world::amqp_user;
use tests::{PATIENCE, Publisher, World, credit, eventually, reverse};

use crate::shop::{Shop, expected, figures};

fn in_currency(mut message: Value, currency: &str) -> Value {
    message["data"]["currency"] = json!(currency);
    message
}

/// With the entry named by Saldo's id.
fn reverse_entry(id: &str, entry: &Value) -> Value {
    let mut message = reverse_adjustment(id, "by-id");
    message["data"]["entry"] = entry.clone();
    message
}

async fn shop_with_limits(limits: Value) -> Shop {
    let mut put = preferences("shop", MERCHANT);
    put["data"]["negative_limit"] = limits;
    let mut shop = Shop::with(put, &[("anna", "100.00")]).await;
    shop.start(&["adjustments", "withdrawals"]).await;
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debit_goes_down_to_exactly_the_shops_limit() {
    let shop = shop_with_limits(json!({ "EUR": "20", "JPY": "0", "KWD": "0.005" })).await;
    for (currency, given, taken, unit, left) in [
        ("EUR", "10.00", "30.00", "0.01", "-20.00"),
        ("JPY", "10", "10", "1", "0"),
        ("KWD", "10.000", "10.005", "0.001", "-0.005"),
        // No limit.
        ("USD", "10.00", "999999999999.99", "0.01", "-999999999989.99"),
    ] {
        let of = |what, id: &str, amount| {
            in_currency(adjustment(what, &format!("{id}-{currency}"), "bert", amount), currency)
        };
        shop.done(of("credit", "a-1", given), "adjustment.credited").await;
        let debited = shop.done(of("debit", "a-2", taken), "adjustment.debited").await;
        assert_eq!(debited["data"]["account"]["balance"], left);
        if currency == "USD" {
            shop.done(of("debit", "a-3", unit), "adjustment.debited").await;
            continue;
        }
        let before = shop.account("bert", currency).await;
        let refused = shop.refused(of("debit", "a-3", unit), "below-limit").await;
        assert_eq!(refused["data"]["account"]["balance"], left);
        assert_eq!(refused["data"]["account"]["version"], 2);
        assert_eq!(shop.account("bert", currency).await, before);
        // Taking a credit back asks for no limit.
        let reversal = reverse_adjustment(&format!("r-1-{currency}"), &format!("a-1-{currency}"));
        shop.done(reversal, "adjustment.reversed").await;
        shop.refused(of("debit", "a-4", unit), "below-limit").await;
    }
    let message = shop.events.first("a-3-EUR", "adjustment.refused").await["data"]["message"].clone();
    assert_eq!(message, "The debit would leave -20.01 EUR; the shop's limit is -20.00 EUR.");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_withdrawals_hold_is_not_there_to_be_debited() {
    let shop = shop_with_limits(json!({ "EUR": "20.00" })).await;
    shop.done(request("w-1", "anna", Some("60.00")), "withdrawal.requested").await;
    let refused = shop.refused(adjustment("debit", "a-1", "anna", "60.01"), "below-limit").await;
    assert_eq!(figures(&refused), expected("100.00", "60.00", "40.00", 2));
    let debited = shop.done(adjustment("debit", "a-2", "anna", "60.00"), "adjustment.debited").await;
    assert_eq!(figures(&debited), expected("40.00", "60.00", "-20.00", 3));
    shop.refused(decide("pay", "d-1", "w-1"), "insufficient-funds").await;
    // Paid or released, what was held counts no more.
    shop.done(adjustment("credit", "a-3", "anna", "20.00"), "adjustment.credited").await;
    let paid = shop.done(decide("pay", "d-2", "w-1"), "withdrawal.paid").await;
    assert_eq!(figures(&paid), expected("0.00", "0.00", "0.00", 5));
    shop.done(adjustment("debit", "a-4", "anna", "20.00"), "adjustment.debited").await;
    shop.refused(adjustment("debit", "a-5", "anna", "0.01"), "below-limit").await;
    shop.close().await;
}

/// By the adjusting command's key and by Saldo's id, through two workers of two lanes each.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_reversals_of_one_adjustment_at_once_exactly_one_is_posted() {
    const ADJUSTMENTS: usize = 60;
    let mut shop = Shop::new(json!({}), &[]).await;
    shop.stop().await;
    let mut builder = shop.world.worker_of("adjustments");
    builder.set("SALDO__WORKER__BATCH_COUNT", "5").set("SALDO__WORKER__LANES", "2");
    let workers = join_all((0..2).map(|_| builder.ready())).await;
    let adjustments: Vec<_> = (0..ADJUSTMENTS)
        .map(|n| {
            let what = if n % 2 == 0 { "credit" } else { "debit" };
            adjustment(what, &format!("a-{n}"), &format!("customer-{}", n % 7), &format!("{}.25", n + 1))
        })
        .collect();
    shop.publisher.publish(&adjustments).await;
    let mut reversals = Vec::new();
    for n in 0..ADJUSTMENTS {
        let name = if n % 2 == 0 { "adjustment.credited" } else { "adjustment.debited" };
        let adjusted = shop.events.first(&format!("a-{n}"), name).await;
        let pair = [
            reverse_adjustment(&format!("key-{n}"), &format!("a-{n}")),
            reverse_entry(&format!("id-{n}"), &adjusted["data"]["entry"]["id"]),
        ];
        reversals.extend(if n % 4 < 2 { [0, 1] } else { [1, 0] }.map(|place: usize| pair[place].clone()));
    }
    shop.publisher.publish(&reversals).await;
    eventually("all are decided", PATIENCE, || async {
        let decided =
            shop.world.count("SELECT count(*) FROM inbox WHERE type = 'adjustment.reverse.v1'").await;
        if usize::try_from(decided) == Ok(2 * ADJUSTMENTS) { Ok(()) } else { Err(decided) }
    })
    .await;
    shop.world.drain(workers, &builder, &shop.events).await;
    let (reversed, refused) =
        (shop.events.causes("adjustment.reversed"), shop.events.causes("adjustment.refused"));
    for n in 0..ADJUSTMENTS {
        let ids = [format!("key-{n}"), format!("id-{n}")];
        let won = ids.each_ref().map(|id| reversed.contains(id));
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{ids:?}");
        let loser = &ids[usize::from(won[0])];
        let event = shop.events.first(loser, "adjustment.refused").await;
        assert_eq!(event["data"]["reason"], "already-reversed", "{event}");
    }
    assert_eq!(refused.len(), ADJUSTMENTS);
    let by_key = reversed.iter().filter(|id| id.starts_with("key-")).count();
    let apart = shop.world.count(
        "SELECT count(*) FROM inbox a JOIN inbox b ON b.id = regexp_replace(a.id, '^key-', 'id-')
         WHERE a.id LIKE 'key-%' AND a.batch_id <> b.batch_id",
    );
    eprintln!(
        "{by_key} were reversed by key and {} by id; {} of {ADJUSTMENTS} pairs were decided in two transactions",
        ADJUSTMENTS - by_key,
        apart.await,
    );
    assert_eq!(shop.world.count("SELECT count(*) FROM account WHERE balance <> 0").await, 0);
    assert_eq!(shop.world.count("SELECT count(*) FROM entry WHERE reverses IS NOT NULL").await, 60);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_adjustment_can_be_taken_back_and_only_once() {
    let shop = shop_with_limits(json!({})).await;
    let earned = shop.events.first("earned-anna-EUR", "commission.credited").await;
    let refunded = shop.done(reverse("refund", "earned-anna-EUR", Some("1.00")), "commission.reversed").await;
    shop.done(request("w-1", "anna", Some("9.00")), "withdrawal.requested").await;
    let paid = shop.done(decide("pay", "paid", "w-1"), "withdrawal.paid").await;
    shop.done(request("w-2", "anna", Some("9.00")), "withdrawal.requested").await;
    let mut held = credit("held", "anna", "5.00");
    held["data"]["available_at"] = json!("2100-01-01T00:00:00Z");
    shop.done(held, "commission.held").await;
    let adjusted = shop.done(adjustment("credit", "a-1", "anna", "5.00"), "adjustment.credited").await;
    let reversed = shop.done(reverse_adjustment("r-1", "a-1"), "adjustment.reversed").await;
    assert_eq!(reversed["data"]["reversed"], adjusted["data"]["entry"]["id"]);
    assert_eq!(reversed["data"]["amount"], "5.00");
    assert_eq!(reversed["data"]["entry"]["amount"], "-5.00");

    let before = shop.money().await;
    let entry = |event: &Value| event["data"]["entry"]["id"].clone();
    let named = [
        ("already-reversed", reverse_adjustment("x-1", "a-1")),
        ("already-reversed", reverse_entry("x-2", &entry(&adjusted))),
        // A reversal.
        ("not-an-adjustment", reverse_adjustment("x-3", "r-1")),
        ("not-an-adjustment", reverse_entry("x-4", &entry(&reversed))),
        // A commission, credited or held, and its reversal.
        ("not-an-adjustment", reverse_adjustment("x-5", "earned-anna-EUR")),
        ("not-an-adjustment", reverse_entry("x-6", &entry(&earned))),
        ("not-an-adjustment", reverse_adjustment("x-7", "held")),
        ("not-an-adjustment", reverse_adjustment("x-8", "refund")),
        ("not-an-adjustment", reverse_entry("x-9", &entry(&refunded))),
        // A withdrawal, open or paid, and its payment.
        ("not-an-adjustment", reverse_adjustment("x-10", "w-1")),
        ("not-an-adjustment", reverse_adjustment("x-11", "w-2")),
        ("not-an-adjustment", reverse_adjustment("x-12", "paid")),
        ("not-an-adjustment", reverse_entry("x-13", &entry(&paid))),
        // What another worker put.
        ("not-an-adjustment", reverse_adjustment("x-14", "shop")),
        ("unknown-entry", reverse_entry("x-15", &json!("1-999"))),
        ("unknown-entry", reverse_entry("x-16", &json!("999-1"))),
    ];
    let count = named.len();
    for (reason, message) in named {
        shop.refused(message, reason).await;
    }
    assert_eq!(shop.money().await, before);
    eprintln!("{count} reversals refused, nothing changed");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_as_another_kind_of_thing_is_not_taken_for_refused() {
    let shop = shop_with_limits(json!({})).await;
    shop.done(adjustment("credit", "a-1", "anna", "5.00"), "adjustment.credited").await;
    shop.done(request("w-1", "anna", Some("9.00")), "withdrawal.requested").await;
    let before = shop.money().await;
    for (n, name) in ["earned-anna-EUR", "a-1", "shop"].into_iter().enumerate() {
        shop.refused(decide("pay", &format!("d-{n}"), name), "not-a-withdrawal").await;
    }
    for (n, name) in ["w-1", "a-1", "shop"].into_iter().enumerate() {
        shop.refused(reverse(&format!("r-{n}"), name, None), "not-a-commission").await;
    }
    assert_eq!(shop.money().await, before);
    // And what was refused is.
    shop.refused(request("w-2", "anna", Some("500.00")), "insufficient-funds").await;
    shop.refused(decide("pay", "d-refused", "w-2"), "withdrawal-refused").await;
    shop.close().await;
}

/// `entry.actor`, `entry.user_id` of what this command posted.
async fn whose(world: &World, id: &str) -> (Option<String>, Option<String>) {
    let row = sqlx::query(
        "SELECT e.actor, e.user_id FROM entry e JOIN inbox i ON i.key = e.command WHERE i.id = $1",
    )
    .bind(id)
    .fetch_one(&mut world.superuser().await)
    .await
    .unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_user_of_an_adjustment_is_kept_beside_the_actor_and_without_one_it_is_dead() {
    let shop = shop_with_limits(json!({})).await;
    let dead = shop.world.dead_letters_of("adjustments").await;
    let maria = (Some("maria".to_owned()), Some(amqp_user()));
    let before = shop.money().await;
    let anonymous = [
        adjustment("credit", "n-1", "anna", "1.00"),
        adjustment("debit", "n-2", "anna", "1.00"),
        adjustment("credit", "n-3", "nobody", "1.00"),
        reverse_adjustment("n-4", "n-1"),
    ];
    for message in &anonymous {
        let body = message.to_string();
        let (key, properties) = (routing_key(message), Publisher::properties());
        let published = shop.publisher.raw(&key, body.as_bytes(), properties).await;
        assert_eq!(published, Confirmation::Ack(None));
    }
    for letter in dead.at_least(anonymous.len(), PATIENCE).await {
        assert_eq!(letter.header("saldo-reason").as_deref(), Some("invalid-properties"));
        assert!(letter.header("saldo-detail").unwrap().starts_with("user_id: is missing"));
    }
    assert_eq!(shop.money().await, before);
    assert_eq!(shop.world.count("SELECT count(*) FROM inbox WHERE id LIKE 'n-%'").await, 0);

    // The same commands, with their user: the ids were not used up.
    let credited = shop.done(anonymous[0].clone(), "adjustment.credited").await;
    assert_eq!(credited["data"]["actor"], "maria");
    assert_eq!(credited["data"]["user"], amqp_user());
    shop.done(anonymous[1].clone(), "adjustment.debited").await;
    let reversed = shop.done(anonymous[3].clone(), "adjustment.reversed").await;
    assert_eq!(reversed["data"]["user"], amqp_user());
    for id in ["n-1", "n-2", "n-4"] {
        assert_eq!(whose(&shop.world, id).await, maria, "{id}");
    }
    assert_eq!(whose(&shop.world, "earned-anna-EUR").await, (None, None));
    shop.close().await;
}

/// An adjustment waits for its merchant, its reversal for it, and a payment for its request, over a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_had_to_wait_keeps_its_user() {
    let mut shop = Shop::new(json!({}), &[("anna", "100.00")]).await;
    shop.start(&["adjustments", "withdrawals"]).await;
    let of_newcomer = |mut message: Value| {
        message["data"]["merchant"] = json!("newcomer");
        message
    };
    let early = [
        of_newcomer(reverse_adjustment("r-1", "a-1")),
        of_newcomer(adjustment("credit", "a-1", "anna", "7.00")),
        decide("pay", "d-1", "w-1"),
    ];
    shop.publisher.publish(&early).await;
    eventually("all wait", PATIENCE, || async {
        match shop.world.count("SELECT count(*) FROM waiting WHERE user_id IS NOT NULL").await {
            3 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    shop.stop().await;
    assert_eq!(shop.world.count("SELECT count(*) FROM entry").await, 1);

    let mut builders = ["adjustments", "withdrawals"].map(|name| shop.world.worker_of(name));
    for builder in &mut builders {
        builder.set("SALDO__PARKED__INTERVAL", "100ms");
    }
    let mut workers = join_all(builders.iter().map(tests::WorkerBuilder::ready)).await;
    shop.world.register("newcomer", 0).await;
    shop.done(request("w-1", "anna", Some("10.00")), "withdrawal.requested").await;
    let paid = shop.events.first("d-1", "withdrawal.paid").await;
    let credited = shop.events.first("a-1", "adjustment.credited").await;
    let reversed = shop.events.first("r-1", "adjustment.reversed").await;
    let user = amqp_user();
    for event in [paid, credited, reversed] {
        assert_eq!(event["data"]["user"], user.as_str(), "{event}");
    }
    for id in ["a-1", "r-1", "d-1"] {
        assert_eq!(whose(&shop.world, id).await, (Some("maria".to_owned()), Some(user.clone())), "{id}");
    }
    let transition =
        "SELECT count(*) FROM withdrawal_transition WHERE state = 'paid' AND user_id IS NOT NULL";
    assert_eq!(shop.world.count(transition).await, 1);
    for worker in &mut workers {
        assert!(worker.terminate().await.success());
    }
    shop.close().await;
}

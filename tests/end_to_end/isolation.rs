//! Merchants, and customers, do not reach each other: what is another's is unknown, and its keys are its own.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::message::{
    SOURCE, adjustment, cancel, customer, decide, of_merchant, payout_method, preferences, request,
    reverse_adjustment,
};
use tests::world::WORKERS;
use tests::{Collector, PATIENCE, Publisher, Worker, World, credit, eventually, reverse};

const RIVAL: &str = "rival";

/// The shop `acme` and its rival, both with an `anna` and a `bert` who may withdraw. Acme's anna has a balance of
/// 105.00, of which the withdrawal `w` holds 40.00; the rival's customers have nothing.
struct Shops {
    world: World,
    events: Collector,
    publisher: Publisher,
    /// Acme's withdrawal `w`, by Saldo's id.
    withdrawal: String,
    /// The entries of `c` and `a`.
    entries: [String; 2],
    /// Everything of acme's that could change.
    state: String,
}

impl Shops {
    async fn new() -> (Self, Vec<Worker>) {
        let world = World::new().await;
        let events = world.events().await;
        let publisher = world.publisher().await;
        let mut workers = Vec::new();
        for name in WORKERS {
            let mut builder = world.quick(name);
            builder.set("SALDO__PARKED__PATIENCE", "500ms").set("SALDO__PARKED__REVERSAL_PATIENCE", "500ms");
            workers.push(builder.ready().await);
        }
        for merchant in ["acme", RIVAL] {
            let of = |message| of_merchant(message, merchant);
            publisher.publish(&[preferences("shop", merchant)]).await;
            for who in ["anna", "bert"] {
                let put = of(customer(&format!("put-{who}"), who, "affiliate"));
                publisher.publish(&[put, of(payout_method(&format!("method-{who}"), who))]).await;
            }
        }
        events.at_least(10, PATIENCE).await;
        publisher.publish(&[credit("c", "anna", "100.00"), adjustment("credit", "a", "anna", "5.00")]).await;
        let credited = events.first("c", "commission.credited").await;
        let adjusted = events.first("a", "adjustment.credited").await;
        publisher.publish(&[request("w", "anna", Some("40.00"))]).await;
        let requested = events.first("w", "withdrawal.requested").await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let withdrawal = text(&requested["data"]["withdrawal"]);
        let entries = [&credited, &adjusted].map(|event| text(&event["data"]["entry"]["id"]));
        let mut shops = Self { world, events, publisher, withdrawal, entries, state: String::new() };
        shops.state = shops.acme().await;
        (shops, workers)
    }

    /// Accounts, entries, commissions and withdrawals of acme, as text.
    async fn acme(&self) -> String {
        sqlx::query_scalar(
            "SELECT concat((SELECT string_agg(a::text, '|' ORDER BY a.id) FROM account a WHERE merchant = 'acme'),
                           (SELECT string_agg(e::text, '|' ORDER BY e) FROM entry e JOIN account a ON a.id = account_id
                            WHERE merchant = 'acme'),
                           (SELECT string_agg(w::text, '|' ORDER BY w.key) FROM withdrawal w),
                           (SELECT string_agg(c::text, '|' ORDER BY c.key) FROM commission c),
                           (SELECT string_agg(c::text, '|' ORDER BY c.id) FROM customer c WHERE merchant = 'acme'))",
        )
        .fetch_one(&mut self.world.superuser().await)
        .await
        .unwrap()
    }

    /// Waits for the refusal of each, and fails unless it says that what is named is unknown, and nothing else.
    async fn assert_unknown(&self, messages: &[Value]) {
        for message in messages {
            let id = message["id"].as_str().unwrap();
            let (name, _) = message["type"].as_str().unwrap().split_once('.').unwrap();
            let refused = self.events.first(id, &format!("{name}.refused")).await;
            let reason = refused["data"]["reason"].as_str().unwrap();
            assert!(reason.starts_with("unknown-"), "{id}: {refused}");
            let data = refused["data"].as_object().unwrap();
            let fields: BTreeSet<&str> = data.keys().map(String::as_str).collect();
            // A customer is there only where the command itself names one by whom it is about.
            let mut may = BTreeSet::from(["merchant", "command", "reason", "message"]);
            if message["type"] == "withdrawal.request.v1" || name == "payout-method" {
                may.insert("customer");
            }
            if name == "commission" {
                assert_eq!(data["commission"], message["data"]["commission"], "as it named it");
                may.insert("commission");
            }
            assert_eq!(fields, may, "{id}: {refused}");
            let said = data["message"].as_str().unwrap();
            assert!(!said.contains(|c: char| c.is_ascii_digit()), "{id}: {said}");
            assert_eq!(data["merchant"], message["data"]["merchant"], "{id}");
        }
    }

    async fn end(&self, workers: &mut [Worker]) {
        for worker in workers {
            assert!(worker.terminate().await.success());
        }
        // Whoever is bound to the rival's events has seen nothing of acme's.
        for event in self.events.all() {
            let merchant = event.json()["data"]["merchant"].as_str().unwrap().to_owned();
            assert!(event.routing_key.starts_with(&format!("{merchant}.")), "{}", event.routing_key);
        }
        self.world.assert_told(&self.events).await;
        self.world.assert_sound().await;
    }
}

/// The message with this under `/data/<field>`, and another id.
fn naming(mut message: Value, id: &str, field: &str, value: impl Into<Value>) -> Value {
    message["id"] = json!(id);
    message["data"][field] = value.into();
    message
}

/// Commands that name acme's withdrawal, entries and commission in every way there is.
fn names_of_acmes(shops: &Shops) -> Vec<Value> {
    let mut messages = Vec::new();
    let key = |id: &str| json!({ "source": SOURCE, "id": id });
    let guesses = ["0".repeat(32), shops.withdrawal.replace(['0', '1'], "2"), "f".repeat(32)];
    let mut withdrawals = vec![key("w"), key("c"), json!(shops.withdrawal)];
    withdrawals.extend(guesses.iter().map(|guess| json!(guess)));
    for (n, name) in withdrawals.iter().enumerate() {
        for step in ["approve", "pay", "reject"] {
            let message = decide(step, "", "");
            messages.push(naming(message, &format!("{step}-{n}"), "withdrawal", name.clone()));
        }
        let message = cancel("", "anna", "");
        messages.push(naming(message, &format!("cancel-{n}"), "withdrawal", name.clone()));
    }
    let account = shops.entries[0].split_once('-').unwrap().0;
    let mut entries = vec![key("a"), key("c"), key("w")];
    entries.extend(shops.entries.iter().map(|entry| json!(entry)));
    let guesses = [format!("{account}-3"), format!("{account}-999"), "999999-1".to_owned(), "1-1".to_owned()];
    entries.extend(guesses.iter().map(|guess| json!(guess)));
    for (n, name) in entries.iter().enumerate() {
        let message = reverse_adjustment("", "");
        messages.push(naming(message, &format!("undo-{n}"), "entry", name.clone()));
    }
    for (n, id) in ["c", "a", "w"].into_iter().enumerate() {
        messages.push(reverse(&format!("refund-{n}"), id, Some("1.00")));
    }
    messages.push(reverse("refund-whole", "c", None));
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_another_merchants_is_unknown_however_it_is_named() {
    let (shops, mut workers) = Shops::new().await;
    let (world, events, publisher) = (&shops.world, &shops.events, &shops.publisher);
    let foreign: Vec<_> =
        names_of_acmes(&shops).into_iter().map(|message| of_merchant(message, RIVAL)).collect();
    assert_eq!(foreign.len(), 37);
    publisher.publish(&foreign).await;
    shops.assert_unknown(&foreign).await;
    // A customer of the same name is another one; acme's `carl` is nobody here.
    publisher.publish(&[customer("put-carl", "carl", "affiliate"), credit("c-carl", "carl", "9.00")]).await;
    events.first("put-carl", "customer.updated").await;
    events.first("c-carl", "commission.credited").await;
    let foreign = [
        request("r-carl", "carl", None),
        request("r-carl-1", "carl", Some("1.00")),
        payout_method("m-carl", "carl"),
    ]
    .map(|message| of_merchant(message, RIVAL));
    publisher.publish(&foreign).await;
    shops.assert_unknown(&foreign).await;
    let of_rival = |message| of_merchant(message, RIVAL);
    publisher.publish(&[of_rival(request("r-anna", "anna", Some("1.00")))]).await;
    let refused = events.first("r-anna", "withdrawal.refused").await;
    assert_eq!(refused["data"]["reason"], "insufficient-funds");
    assert!(refused["data"]["message"].as_str().unwrap().contains("0.00 EUR that is available"), "{refused}");
    assert_eq!(refused["data"].get("account"), None, "there is none");
    publisher.publish(&[of_rival(adjustment("debit", "d-anna", "anna", "7.00"))]).await;
    let debited = events.first("d-anna", "adjustment.debited").await;
    assert_eq!(debited["data"]["account"]["balance"], "-7.00", "of an account of its own");
    let carls = "SELECT count(*) FROM account WHERE customer = 'carl'";
    assert_eq!(world.count(carls).await, 1);
    // Acme's own, by the same names.
    let state = shops.acme().await;
    assert_eq!(state.split("carl").count(), 3, "carl has become known");
    let mut own = decide("pay", "own", "w");
    own["data"]["withdrawal"] = json!(shops.withdrawal);
    publisher.publish(&[own, reverse_adjustment("own-undo", "a")]).await;
    let paid = events.first("own", "withdrawal.paid").await;
    assert_eq!(paid["data"]["account"]["held"], "0.00");
    events.first("own-undo", "adjustment.reversed").await;
    shops.end(&mut workers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_is_it_known_in_one_batch_with_its_owners_own_commands() {
    let (shops, mut workers) = Shops::new().await;
    let (world, events, publisher) = (&shops.world, &shops.events, &shops.publisher);
    for worker in &mut workers {
        assert!(worker.terminate().await.success());
    }
    // Before any worker runs, so that all of a queue is one batch: the rival's first, acme's own in the middle, the
    // rival's again.
    let by_id = |message, id: &str, field: &str, value: &str| naming(message, id, field, value);
    let (w, a) = (&*shops.withdrawal, &*shops.entries[1]);
    let own = [
        by_id(decide("approve", "", ""), "own-approve", "withdrawal", w),
        decide("pay", "own-pay", "w"),
        by_id(reverse_adjustment("", ""), "own-undo", "entry", a),
        adjustment("credit", "a2", "anna", "1.00"),
        reverse_adjustment("own-undo-2", "a2"),
        reverse("own-refund", "c", Some("10.00")),
        request("w2", "anna", Some("1.00")),
        cancel("own-cancel", "anna", "w2"),
    ];
    let mut foreign: Vec<_> = names_of_acmes(&shops);
    foreign.push(reverse_adjustment("undo-a2", "a2"));
    foreign.push(decide("pay", "pay-w2", "w2"));
    foreign.push(cancel("cancel-w2", "anna", "w2"));
    let foreign: Vec<_> = foreign.into_iter().map(|message| of_merchant(message, RIVAL)).collect();
    let after: Vec<_> = foreign
        .iter()
        .map(|message| {
            let mut message = message.clone();
            message["id"] = json!(format!("after-{}", message["id"].as_str().unwrap()));
            message
        })
        .collect();
    publisher.publish(&foreign).await;
    publisher.publish(&own).await;
    publisher.publish(&after).await;
    let mut workers = Vec::new();
    for name in WORKERS {
        let mut builder = world.quick(name);
        builder.set("SALDO__PARKED__PATIENCE", "500ms").set("SALDO__PARKED__REVERSAL_PATIENCE", "500ms");
        workers.push(builder.set("SALDO__WORKER__LANES", "1").ready().await);
    }
    shops.assert_unknown(&foreign).await;
    shops.assert_unknown(&after).await;
    for (id, name) in [
        ("own-approve", "withdrawal.approved"),
        ("own-pay", "withdrawal.paid"),
        ("own-undo", "adjustment.reversed"),
        ("a2", "adjustment.credited"),
        ("own-undo-2", "adjustment.reversed"),
        ("own-refund", "commission.reversed"),
        ("w2", "withdrawal.requested"),
        ("own-cancel", "withdrawal.cancelled"),
    ] {
        events.first(id, name).await;
        events.assert_told_once(id, &[name]);
    }
    let left = "SELECT (balance = 50 AND held = 0 AND entries = 7)::int::bigint FROM account WHERE customer = 'anna'";
    assert_eq!(world.count(left).await, 1);
    assert_eq!(world.count("SELECT count(*) FROM account WHERE merchant <> 'acme'").await, 0);
    shops.end(&mut workers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_cannot_cancel_anothers_withdrawal_and_learns_nothing_of_it() {
    let (shops, mut workers) = Shops::new().await;
    let (events, publisher) = (&shops.events, &shops.publisher);
    let by_id = naming(cancel("", "bert", ""), "by-id", "withdrawal", &*shops.withdrawal);
    let nobody = naming(cancel("", "nobody", ""), "nobody", "withdrawal", &*shops.withdrawal);
    let foreign = [cancel("by-key", "bert", "w"), by_id, nobody, cancel("never", "bert", "never")];
    publisher.publish(&foreign).await;
    shops.assert_unknown(&foreign).await;
    assert_eq!(shops.acme().await, shops.state);
    // In one batch with those who may.
    assert!(workers[3].terminate().await.success());
    let again = [cancel("again-1", "bert", "w"), cancel("again-2", "bert", "w")];
    publisher.publish(&[again[0].clone(), cancel("own", "anna", "w"), again[1].clone()]).await;
    workers[3] = shops.world.quick("withdrawals").ready().await;
    shops.assert_unknown(&again).await;
    let cancelled = events.first("own", "withdrawal.cancelled").await;
    assert_eq!(cancelled["data"]["account"]["available"], "105.00");
    shops.end(&mut workers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_a_merchants_own_nobody_can_occupy_or_read_anothers() {
    let (shops, mut workers) = Shops::new().await;
    let (world, events, publisher) = (&shops.world, &shops.events, &shops.publisher);
    let dead = [
        world.dead_letters_of("commissions").await,
        world.dead_letters_of("adjustments").await,
        world.dead_letters_of("directory").await,
        world.dead_letters_of("withdrawals").await,
    ];
    let of_rival = |message| of_merchant(message, RIVAL);
    // The rival has used the ids before, with other content, also for commands that wait and that are refused.
    let first = [
        of_rival(credit("k-1", "anna", "1.00")),
        of_rival(adjustment("debit", "k-2", "anna", "2.00")),
        of_rival(reverse("k-3", "later", None)),
        of_rival(request("k-4", "anna", Some("999.00"))),
        of_rival(customer("k-5", "dora", "reseller")),
        of_rival(payout_method("k-6", "eve")),
    ];
    publisher.publish(&first).await;
    let own = [
        credit("k-1", "anna", "10.00"),
        adjustment("credit", "k-2", "anna", "20.00"),
        reverse("k-3", "c", Some("1.00")),
        request("k-4", "anna", Some("50.00")),
        customer("k-5", "dora", "affiliate"),
        payout_method("k-6", "bert"),
    ];
    events.first("k-4", "withdrawal.refused").await;
    publisher.publish(&own).await;
    let told = async |id: &str, name: &str, merchant: &str| {
        eventually(&format!("{name} of {id} of {merchant}"), PATIENCE, || async {
            let mut all = events.of(id, name).into_iter();
            all.find(|event| event["data"]["merchant"] == merchant).ok_or(())
        })
        .await
    };
    told("k-1", "commission.credited", "acme").await;
    told("k-1", "commission.credited", RIVAL).await;
    told("k-2", "adjustment.credited", "acme").await;
    told("k-2", "adjustment.debited", RIVAL).await;
    told("k-3", "commission.reversed", "acme").await;
    let refused = told("k-3", "commission.refused", RIVAL).await;
    assert_eq!(refused["data"]["reason"], "unknown-commission");
    told("k-4", "withdrawal.requested", "acme").await;
    told("k-5", "customer.updated", "acme").await;
    told("k-5", "customer.updated", RIVAL).await;
    // A method at the same time as the one there is.
    let refused = told("k-6", "payout-method.refused", "acme").await;
    assert_eq!(refused["data"]["reason"], "outdated");
    let refused = told("k-6", "payout-method.refused", RIVAL).await;
    assert_eq!(refused["data"]["reason"], "unknown-customer");
    // Who asks again is told its own outcome, and nobody else's.
    let count = |merchant: &str, all: &[Value]| {
        all.iter().filter(|event| event["data"]["merchant"] == merchant).count()
    };
    let both = || {
        let k_1 = events.of("k-1", "commission.credited");
        (count("acme", &k_1), count(RIVAL, &k_1))
    };
    let before = both();
    publisher.publish(&first).await;
    eventually("the rival is told again", PATIENCE, || async {
        let now = both();
        if now.1 > before.1 { Ok(()) } else { Err(now) }
    })
    .await;
    told("k-6", "payout-method.refused", RIVAL).await;
    assert_eq!(both().0, before.0, "acme's was not told again");
    // Its own key with other content is a conflict, acme's content included.
    let conflict = of_merchant(own[0].clone(), RIVAL);
    publisher.publish(std::slice::from_ref(&conflict)).await;
    let letters = dead[0].at_least(1, PATIENCE).await;
    assert_eq!(letters[0].header("saldo-reason").as_deref(), Some("idempotency-conflict"));
    assert_eq!(letters[0].json(), conflict);
    let keys = "SELECT count(*) FROM inbox WHERE id LIKE 'k-%'";
    assert_eq!(world.count(keys).await, 12);
    let balance = "SELECT (100 * balance)::bigint FROM account WHERE customer = 'anna' AND merchant = 'acme'";
    assert_eq!(world.count(balance).await, 13_400);
    let balance =
        "SELECT (100 * balance)::bigint FROM account WHERE customer = 'anna' AND merchant = 'rival'";
    assert_eq!(world.count(balance).await, -100);
    shops.end(&mut workers).await;
    assert_eq!(dead.iter().map(Collector::count).collect::<Vec<_>>(), [1, 0, 0, 0]);
}

//! A key is used once: the same content again is the same command, other content under it is never applied.

use std::collections::{BTreeMap, BTreeSet};

use commissions::Commissions;
use lapin::Confirmation;
use ledger::store::{Settings, Waiters};
use ledger::{Failure, Store, Verdict};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, Row as _};
use tests::message::{MERCHANT, SOURCE, item, routing_key};
use tests::{Collector, PATIENCE, Publisher, World, credit, eventually, reverse};

/// Whose commission of what amount the ledger has under each id.
async fn applied(world: &World) -> BTreeMap<String, (String, String)> {
    let rows = sqlx::query(
        "SELECT i.id, a.customer, round(coalesce(c.amount, e.amount), 2)::text
         FROM inbox i JOIN account a ON a.id = i.account_id
         LEFT JOIN entry e ON e.account_id = i.account_id AND e.number = i.entry_number
         LEFT JOIN commission c ON c.key = i.key
         WHERE i.outcome IS NOT NULL",
    )
    .fetch_all(&mut world.superuser().await)
    .await
    .unwrap();
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

fn content(message: &Value) -> (String, String) {
    let text = |field: &str| message["data"][field].as_str().unwrap().to_owned();
    (text("customer"), text("amount"))
}

/// Fails unless of each pair exactly one was applied, and the other one is a dead letter, bytes untouched.
/// Returns how often the first of a pair was it.
async fn assert_one_of_each(
    world: &World,
    pairs: &[[Value; 2]],
    events: &Collector,
    dead: &Collector,
) -> usize {
    let letters = dead.at_least(pairs.len(), PATIENCE).await;
    let applied = applied(world).await;
    let mut firsts = 0;
    let mut losers = BTreeSet::new();
    for [one, other] in pairs {
        let id = one["id"].as_str().unwrap();
        let winner = applied.get(id);
        let (won, lost) = if winner == Some(&content(one)) { (one, other) } else { (other, one) };
        assert_eq!(winner, Some(&content(won)), "{id}");
        firsts += usize::from(won == one);
        losers.insert(lost.to_string().into_bytes());
    }
    assert_eq!(letters.len(), pairs.len(), "one dead letter for each pair");
    for letter in &letters {
        assert_eq!(letter.header("saldo-reason").as_deref(), Some("idempotency-conflict"));
    }
    let bodies: BTreeSet<_> = letters.into_iter().map(|letter| letter.body).collect();
    assert!(bodies == losers, "the dead letters are the contents that were not applied");
    assert_eq!(applied.keys().filter(|id| id.starts_with("pair-")).count(), pairs.len());
    world.assert_told(events).await;
    world.assert_sound().await;
    firsts
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_contents_in_one_batch_the_first_is_applied_and_the_other_is_dead() {
    const PAIRS: usize = 200;
    let world = World::new().await;
    let (events, dead) = (world.events().await, world.dead_letters().await);
    let pairs: Vec<[Value; 2]> = (0..PAIRS)
        .map(|n| {
            let (id, customer) = (format!("pair-{n}"), format!("customer-{}", n % 7));
            let other = if n % 2 == 0 {
                credit(&id, &customer, "2.00")
            } else {
                credit(&id, &format!("customer-{}", (n + 1) % 7), "1.00")
            };
            [credit(&id, &customer, "1.00"), other]
        })
        .collect();
    world.publisher().await.publish(&pairs.concat()).await;
    let mut builder = world.worker();
    builder.set("SALDO__WORKER__LANES", "1").set("SALDO__LOG__FILTER", "info,worker=debug");
    let worker = builder.ready().await;
    let firsts = assert_one_of_each(&world, &pairs, &events, &dead).await;
    assert_eq!(firsts, PAIRS, "one lane decides in the order of the queue");
    let batches = worker.log().matches("batch settled").count();
    assert!(batches < PAIRS / 2, "{batches} batches: hardly a pair was in one");
    assert_eq!(events.count(), PAIRS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_comes_later_is_dead_and_changes_nothing() {
    let world = World::new().await;
    let (events, dead) = (world.events().await, world.dead_letters().await);
    let _worker = world.worker().ready().await;
    let publisher = world.publisher().await;
    publisher.publish(&[credit("c-1", "anna", "12.50")]).await;
    events.first("c-1", "commission.credited").await;
    let mut other_order = credit("c-1", "anna", "12.50");
    other_order["data"]["order"] = json!("9002");
    let mut without_order = credit("c-1", "anna", "12.50");
    without_order["data"].as_object_mut().unwrap().remove("order");
    let others = [
        credit("c-1", "anna", "12.51"),
        credit("c-1", "bert", "12.50"),
        other_order,
        without_order,
        reverse("c-1", "c-1", None),
    ];
    publisher.publish(&others).await;
    let letters = dead.at_least(others.len(), PATIENCE).await;
    let bodies: BTreeSet<_> = letters.iter().map(|letter| letter.body.clone()).collect();
    assert_eq!(bodies, others.iter().map(|message| message.to_string().into_bytes()).collect());
    for letter in &letters {
        assert_eq!(letter.header("saldo-reason").as_deref(), Some("idempotency-conflict"));
    }
    assert_eq!(world.count("SELECT count(*) FROM inbox").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 1);
    // The key is another merchant's or source's as well.
    world.register("other", 0).await;
    let mut same_id = [credit("c-1", "carl", "1.00"), credit("c-1", "dora", "1.00")];
    same_id[0]["data"]["merchant"] = json!("other");
    same_id[1]["source"] = json!("/affiliates/another");
    publisher.publish(&same_id).await;
    events.at_least(3, PATIENCE).await;
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 3);
    assert_eq!(dead.count(), others.len());
    world.assert_told(&events).await;
    world.assert_sound().await;
}

/// Messages with the same content, each spelled in its own way.
fn spellings(id: &str, customer: &str) -> Vec<String> {
    let escaped = customer.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect::<Vec<_>>().concat();
    vec![
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"{SOURCE}","type":"commission.credit.v1","time":"2026-11-22T10:00:00Z","data":{{"merchant":"{MERCHANT}","customer":"{customer}","amount":"12.5","currency":"EUR","available_at":"2026-01-01T01:00:00+01:00"}}}}"#
        ),
        format!(
            r#"{{"data":{{"available_at":"2026-01-01T00:00:00Z","currency":"EUR","amount":"12.50","customer":"{customer}","merchant":"{MERCHANT}"}},"time":"2026-11-22T10:00:00Z","type":"commission.credit.v1","source":"{SOURCE}","id":"{id}","specversion":"1.0"}}"#
        ),
        format!(
            "{{ \"specversion\": \"1.0\",\n\t\"id\": \"{id}\", \"source\": \"{SOURCE}\", \"type\": \"commission.credit.v1\",\n \
             \"time\": \"2026-11-22T12:00:00+02:00\", \"attempt\": 3,\n \"data\": {{ \"merchant\": \"{MERCHANT}\", \
             \"customer\": \"{escaped}\",\r\n \"amount\": \"12.50\", \"currency\": \"EUR\", \
             \"available_at\": \"2026-01-01T00:00:00.000Z\" }} }}\n"
        ),
    ]
}

async fn publish_raw(publisher: &Publisher, bodies: &[String]) {
    for body in bodies {
        let key = routing_key(&serde_json::from_str(body).unwrap());
        publisher.raw(&key, body.as_bytes(), Publisher::properties()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_in_another_spelling_is_the_same_command() {
    const KEYS: usize = 50;
    let world = World::new().await;
    let (events, dead) = (world.events().await, world.dead_letters().await);
    let publisher = world.publisher().await;
    // In one batch, before a worker runs.
    let bodies: Vec<_> = (0..KEYS).flat_map(|n| spellings(&format!("batch-{n}"), "anna")).collect();
    publish_raw(&publisher, &bodies).await;
    let mut builder = world.worker();
    builder.set("SALDO__WORKER__LANES", "1");
    let worker = builder.ready().await;
    eventually("all are decided", PATIENCE, || async {
        match events.causes("commission.credited").len() {
            KEYS => Ok(()),
            other => Err(other),
        }
    })
    .await;
    world.drain(vec![worker], &builder, &events).await;
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 50);

    // One after the other: the event again each time, and the same bytes.
    let builder = world.worker();
    let worker = builder.ready().await;
    let spellings = spellings("single", "bert");
    for (n, body) in spellings.iter().enumerate() {
        publish_raw(&publisher, std::slice::from_ref(body)).await;
        eventually("it is told", PATIENCE, || async {
            let told = events.of("single", "commission.credited").len();
            if told == n + 1 { Ok(()) } else { Err(told) }
        })
        .await;
    }
    world.drain(vec![worker], &builder, &events).await;
    assert_eq!(world.balance("bert").await.to_string(), "12.5000");
    assert_eq!(world.count("SELECT count(*) FROM inbox").await, 51);
    assert_eq!(dead.count(), 0, "{:?}", dead.all());
    world.assert_told(&events).await;
    world.assert_sound().await;
}

/// Two processes with two lanes each; the spellings of each key are handed out to different ones.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_in_other_spellings_that_meet_in_different_lanes_is_one_command() {
    const KEYS: usize = 500;
    let world = World::new().await;
    let (events, dead) = (world.events().await, world.dead_letters().await);
    let mut builder = world.worker();
    builder.set("SALDO__WORKER__BATCH_COUNT", "50").set("SALDO__WORKER__LANES", "2");
    let workers = vec![builder.ready().await, builder.ready().await];
    let bodies: Vec<_> =
        (0..KEYS).flat_map(|n| spellings(&format!("key-{n}"), &format!("anna-{}", n % 20))).collect();
    let messages: Vec<_> = bodies
        .iter()
        .map(|body| {
            let key = routing_key(&serde_json::from_str(body).unwrap());
            (key, body.as_bytes().to_vec(), Publisher::properties())
        })
        .collect();
    let confirmed = world.publisher().await.raw_all(&messages).await;
    assert!(confirmed.iter().all(|one| *one == Confirmation::Ack(None)), "{confirmed:?}");
    eventually("all are told", PATIENCE, || async {
        match events.causes("commission.credited").len() {
            KEYS => Ok(()),
            other => Err(other),
        }
    })
    .await;
    for worker in &workers {
        let log = worker.log();
        assert!(!log.contains("not available"), "a race is no outage:\n{log}");
    }
    world.drain(workers, &builder, &events).await;
    let told = events.count();
    eprintln!("{} messages, {told} events told", bodies.len());
    assert!(told > KEYS, "no key's spellings were in different batches");
    assert_eq!(dead.count(), 0, "{:?}", dead.all());
    assert_eq!(world.count("SELECT count(*) FROM inbox").await, 500);
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 500);
    assert_eq!(world.count("SELECT count(DISTINCT command) FROM entry").await, 500);
    assert_eq!(world.count("SELECT (10 * sum(balance))::bigint FROM account").await, 500 * 125);
    assert_eq!(world.count("SELECT count(*) FROM account WHERE entries <> 25").await, 0);
    assert_eq!(events.events_by_id().len(), KEYS, "one event, however often it is told");
    world.assert_told(&events).await;
    world.assert_sound().await;
}

fn far_ahead(mut message: Value) -> Value {
    message["data"]["available_at"] = json!("2099-01-01T00:00:00Z");
    message
}

/// Two processes with two lanes each; the two contents of each key are handed out to different ones.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_contents_that_meet_in_different_lanes_one_is_applied() {
    const PAIRS: usize = 1_000;
    let world = World::new().await;
    let (events, dead) = (world.events().await, world.dead_letters().await);
    let mut builder = world.worker();
    builder.set("SALDO__WORKER__BATCH_COUNT", "50");
    let workers = vec![builder.ready().await, builder.ready().await];
    let pairs: Vec<[Value; 2]> = (0..PAIRS)
        .map(|n| {
            let id = format!("pair-{n}");
            let (one, other) = (format!("anna-{}", n % 20), format!("bert-{}", n % 20));
            let pair = match n % 4 {
                0 => [credit(&id, &one, "1.00"), credit(&id, &one, "2.00")],
                1 => [credit(&id, &one, "1.00"), credit(&id, &other, "1.00")],
                2 => [credit(&id, &one, "1.00"), far_ahead(credit(&id, &other, "3.00"))],
                _ => [far_ahead(credit(&id, &one, "1.00")), far_ahead(credit(&id, &other, "3.00"))],
            };
            // What comes first is applied rather often: neither side is to be the first always.
            let [a, b] = pair;
            if n % 3 == 0 { [b, a] } else { [a, b] }
        })
        .collect();
    world.publisher().await.publish(&pairs.concat()).await;
    let firsts = assert_one_of_each(&world, &pairs, &events, &dead).await;
    let aborted = aborted_inserts(&world).await;
    eprintln!("the first of the pair won {firsts} of {PAIRS} times; {aborted} inbox rows met a rival's");
    for worker in &workers {
        assert!(!worker.log().contains("not available"), "a race is no outage:\n{}", worker.log());
    }
    world.drain(workers, &builder, &events).await;
}

/// Inbox rows that were written and rolled back. The database counts with a delay.
async fn aborted_inserts(world: &World) -> i64 {
    eventually("the database has counted", PATIENCE, || async {
        let aborted = world
            .count(
                "SELECT n_tup_ins - (SELECT count(*) FROM inbox) FROM pg_stat_user_tables
                 WHERE relname = 'inbox'",
            )
            .await;
        if aborted >= 0 { Ok(aborted) } else { Err(aborted) }
    })
    .await
}

/// Both lanes are held at their account's lock, so that neither can see the other's inbox row when it is let go.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_contents_for_two_customers_that_race_for_a_key_one_is_applied() {
    const PAIRS: usize = 200;
    let world = World::new().await;
    let (events, dead) = (world.events().await, world.dead_letters().await);
    let mut builder = world.worker();
    builder.set("SALDO__WORKER__LANES", "1");
    let workers = vec![builder.ready().await, builder.ready().await];
    let publisher = world.publisher().await;
    publisher.publish(&[credit("first-anna", "anna", "0.01"), credit("first-bert", "bert", "0.01")]).await;
    events.at_least(2, PATIENCE).await;

    let mut locks = world.superuser().await;
    let mut transaction = locks.begin().await.unwrap();
    transaction.execute("SELECT FROM account FOR UPDATE").await.unwrap();
    let pairs: Vec<[Value; 2]> = (0..PAIRS)
        .map(|n| {
            let id = format!("pair-{n}");
            let pair = [credit(&id, "anna", "1.00"), credit(&id, "bert", "1.00")];
            if n % 2 == 0 { pair } else { pair.map(far_ahead) }
        })
        .collect();
    publisher.publish(&pairs.concat()).await;
    world.until_waiting_for_locks(2).await;
    transaction.rollback().await.unwrap();

    let firsts = assert_one_of_each(&world, &pairs, &events, &dead).await;
    // Nearly always some: it is the broker that says which lane's batch holds which content.
    let aborted = aborted_inserts(&world).await;
    eprintln!("anna won {firsts} of {PAIRS} times; {aborted} inbox rows met a rival's");
    for worker in &workers {
        assert!(!worker.log().contains("not available"), "a race is no outage:\n{}", worker.log());
    }
    world.drain(workers, &builder, &events).await;
    let balances: rust_decimal::Decimal =
        sqlx::query_scalar("SELECT sum(balance + pending) FROM account").fetch_one(&mut locks).await.unwrap();
    assert_eq!(balances.normalize().to_string(), "200.02");
}

/// A lane that had asked the inbox before another committed a copy decides that copy once more, and what it writes before
/// the inbox can contradict what is there by then: a race, and nobody's fault.
#[tokio::test]
async fn a_batch_that_contradicts_what_another_lane_wrote_meanwhile_is_decided_again() {
    let world = World::without_broker().await;
    world.register(MERCHANT, 3).await;
    let url = world.database_url(Some("saldo_commissions"));
    let settings = Settings::from_url(&url, "lane", PATIENCE).unwrap();
    let lane = async || Store::open(&settings).await.unwrap();
    let rules = Commissions { patience: PATIENCE, reversal_patience: PATIENCE };
    let item = |message: &Value| item(&message.to_string());
    let commission = item(&credit("k-1", "anna", "50"));
    let (first, second) = (vec![commission.clone(), item(&reverse("k-2", "k-1", None))], vec![commission]);
    let opening = [item(&credit("k-0", "anna", "1"))];
    lane().await.carry_out(&rules, &opening, Waiters::Taken, &[]).await.unwrap();

    let mut admin = world.superuser().await;
    let mut holds = admin.begin().await.unwrap();
    holds.execute("SELECT FROM account FOR UPDATE").await.unwrap();
    let (mut one, mut other) = (lane().await, lane().await);
    let one = {
        let rules = rules.clone();
        tokio::spawn(async move { one.carry_out(&rules, &first, Waiters::Taken, &[]).await })
    };
    world.until_waiting_for_locks(1).await;
    let other = tokio::spawn(async move {
        let lost = other.carry_out(&rules, &second, Waiters::Taken, &[]).await;
        (lost, other.carry_out(&rules, &second, Waiters::Taken, &[]).await)
    });
    world.until_waiting_for_locks(2).await;
    holds.rollback().await.unwrap();

    // A commission that is taken back while it is pending has no date any more, and cannot be pending without one.
    assert_eq!(one.await.unwrap().unwrap().verdicts, [Verdict::Decided, Verdict::Decided]);
    let (lost, again) = other.await.unwrap();
    assert!(matches!(lost, Err(Failure::Raced)), "{lost:?}");
    assert_eq!(again.unwrap().verdicts, [Verdict::Repeated]);
    assert_eq!(world.count("SELECT count(*) FROM commission WHERE state = 'cancelled'").await, 1);
}

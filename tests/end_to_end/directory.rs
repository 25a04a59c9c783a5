//! Puts: the newest stands, in whatever order and wherever they arrive; a malformed one is dead and tells nothing of
//! what it held.

pub(crate) mod puts;

use std::collections::BTreeMap;

use ledger::vault::{Purpose, Sealed, Vault};
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use tests::broker::Collected;
use tests::message::{MERCHANT, adjustment, at, customer, envelope, payout_method, preferences, routing_key};
use tests::secrets::Trace;
use tests::worker_process::PAYOUT_KEYS;
use tests::{Collector, PATIENCE, World, credit, eventually};
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

/// So many seconds into the year, as a put's `time`.
pub(crate) fn moment(seconds: usize) -> String {
    let seconds = i64::try_from(seconds).unwrap();
    (datetime!(2026-01-01 00:00 UTC) + Duration::seconds(seconds)).format(&Rfc3339).unwrap()
}

/// A `payout-method.put` that shows in its masked form which one it was.
fn method(id: &str, owner: &str, length: usize) -> Value {
    let data = json!({ "merchant": MERCHANT, "customer": owner, "other": { "text": "x".repeat(length) } });
    at(envelope("payout-method.put.v1", id, data), &moment(length))
}

/// A `customer.put` with this many seconds in everything that it says.
fn person(id: &str, who: &str, seconds: usize) -> Value {
    let mut message = customer(id, who, ["customer", "affiliate", "reseller"][seconds % 3]);
    message["data"]["name"] = json!(format!("Person {seconds}"));
    message["data"]["locale"] = json!(["de", "en", "pt-BR"][seconds % 3]);
    at(message, &moment(seconds))
}

/// A `preferences.put`, likewise.
fn shop(id: &str, merchant: &str, seconds: usize) -> Value {
    let mut message = preferences(id, merchant);
    message["data"]["name"] = json!(format!("Shop {seconds}"));
    message["data"]["hold_days"] = json!(seconds);
    at(message, &moment(seconds))
}

/// Each version of each customer's methods: number, seconds of its put, masked form.
async fn versions(database: &mut PgConnection) -> BTreeMap<String, Vec<(i32, i64, String)>> {
    let rows = sqlx::query(
        "SELECT customer, version, extract(epoch FROM put_at - '2026-01-01Z')::bigint, masked
         FROM payout_method ORDER BY customer, version",
    );
    let mut versions: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for row in rows.fetch_all(database).await.unwrap() {
        versions.entry(row.get(0)).or_default().push((row.get(1), row.get(2), row.get(3)));
    }
    versions
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_put_stands_and_an_older_or_equally_old_one_is_refused() {
    let world = World::new().await;
    let events = world.events().await;
    let builder = world.quick("directory");
    let worker = builder.ready().await;
    let publisher = world.publisher().await;
    // Neither shop nor customer is known before its first put.
    publisher.publish(&[shop("s-5", "fresh", 5), person("c-5", "anna", 5), method("m-5", "anna", 5)]).await;
    for (id, name) in [("s-5", "preferences"), ("c-5", "customer"), ("m-5", "payout-method")] {
        events.first(id, &format!("{name}.updated")).await;
    }
    publisher.publish(&[shop("s-4", "fresh", 4), person("c-4", "anna", 4), method("m-4", "anna", 4)]).await;
    publisher.publish(&[shop("s-e", "fresh", 5), person("c-e", "anna", 5), method("m-e", "anna", 5)]).await;
    for (prefix, name) in [("s", "preferences"), ("c", "customer"), ("m", "payout-method")] {
        for suffix in ["4", "e"] {
            let refused = events.first(&format!("{prefix}-{suffix}"), &format!("{name}.refused")).await;
            assert_eq!(refused["data"]["reason"], "outdated", "{refused}");
            assert_eq!(refused["data"]["command"], format!("{name}.put").as_str());
        }
    }
    // A put replaces all there was, also with nothing. A second is much: a microsecond is later as well.
    let mut bare = at(customer("c-6", "anna", "reseller"), "2026-01-01T00:00:05.000001Z");
    bare["data"].as_object_mut().unwrap().retain(|name, _| !["name", "locale"].contains(&name.as_str()));
    publisher.publish(&[bare, method("m-6", "anna", 6), shop("s-6", "fresh", 6)]).await;
    assert_eq!(events.first("m-6", "payout-method.updated").await["data"]["version"], 2);
    assert_eq!(events.first("s-6", "preferences.updated").await["data"]["hold_days"], 6);
    events.first("c-6", "customer.updated").await;
    world.drain(vec![worker], &builder, &events).await;
    let mut database = world.superuser().await;
    let row: String = sqlx::query_scalar("SELECT (kind, name, email, locale)::text FROM customer")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert_eq!(row, "(reseller,,,)");
    let known = versions(&mut database).await;
    assert_eq!(known["anna"], [(1, 5, "(5 characters)".to_owned()), (2, 6, "(6 characters)".to_owned())]);
    let shop: String = sqlx::query_scalar("SELECT (name, hold_days)::text FROM merchant WHERE id = 'fresh'")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert_eq!(shop, "(\"Shop 6\",6)");
    world.assert_told(&events).await;
}

/// Two processes with two lanes each, small batches, everything shuffled.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_puts_in_many_lanes_the_newest_stands() {
    const PUTS: usize = 12;
    const PEOPLE: usize = 40;
    const SHOPS: usize = 20;
    let world = World::new().await;
    let (events, dead) = (world.events().await, world.dead_letters_of("directory").await);
    let mut rng = tests::seeded();
    let mut builder = world.quick("directory");
    builder.set("SALDO__WORKER__BATCH_COUNT", "10");
    let workers = vec![builder.ready().await, builder.ready().await];
    // Half of them exist.
    let mut database = world.superuser().await;
    database
        .execute(
            "INSERT INTO customer (merchant, id, kind) SELECT 'acme', 'c-' || n, 'affiliate' FROM generate_series(0, 38, 2) n",
        )
        .await
        .unwrap();
    for n in (0..SHOPS).step_by(2) {
        world.register(&format!("shop-{n}"), 0).await;
    }
    let mut messages = Vec::new();
    for seconds in 1..=PUTS {
        for n in 0..PEOPLE {
            let who = format!("c-{n}");
            messages.push(person(&format!("{who}-{seconds}"), &who, seconds));
            messages.push(method(&format!("m-{n}-{seconds}"), &who, seconds));
        }
        for n in 0..SHOPS {
            let id = format!("shop-{n}");
            messages.push(shop(&format!("{id}-{seconds}"), &id, seconds));
        }
    }
    messages.shuffle(&mut rng);
    world.publisher().await.publish(&messages).await;
    let all = i64::try_from(messages.len()).unwrap();
    eventually("all are decided", PATIENCE, || async {
        let decided = world.count("SELECT count(outcome) FROM inbox").await;
        if decided == all { Ok(()) } else { Err(decided) }
    })
    .await;
    for worker in &workers {
        assert!(!worker.log().contains("not available"), "a race is no outage:\n{}", worker.log());
    }
    world.drain(workers, &builder, &events).await;
    assert_eq!(dead.count(), 0, "{:?}", dead.all());

    let count = world
        .count("SELECT count(*) FROM customer WHERE (kind, name, locale) = ('customer', 'Person 12', 'de')")
        .await;
    assert_eq!(count, 40, "customers as their newest put says");
    let count = world.count("SELECT count(*) FROM merchant WHERE (name, hold_days) = ('Shop 12', 12)").await;
    assert_eq!(count, 20, "shops as their newest put says");
    let versions = versions(&mut database).await;
    assert_eq!(versions.len(), PEOPLE);
    for (who, versions) in &versions {
        let numbers: Vec<_> = versions.iter().map(|(number, ..)| *number).collect();
        let without_gaps: Vec<_> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, without_gaps, "{who}");
        assert!(versions.is_sorted_by(|(_, one, _), (_, next, _)| one < next), "{who}: {versions:?}");
        assert_eq!(versions.last().unwrap().2, "(12 characters)", "{who}");
    }
    let accepted = assert_only_newer_ones_were_accepted(&events);
    let refused = events.events_by_id().into_values().filter(|event| event["data"]["reason"] == "outdated");
    assert_eq!(accepted + refused.count(), messages.len());
    let stored = versions.values().map(Vec::len).sum::<usize>();
    eprintln!("{accepted} of {} puts were newer than what was there; {stored} versions", messages.len());
    world.assert_told(&events).await;
}

/// Whatever of a customer or a shop was accepted later, is newer. Returns how many puts were accepted.
fn assert_only_newer_ones_were_accepted(events: &Collector) -> usize {
    let mut accepted = 0;
    let mut order: BTreeMap<String, Vec<(OffsetDateTime, String)>> = BTreeMap::new();
    for event in events.events_by_id().into_values() {
        let name = event["type"].as_str().unwrap();
        accepted += usize::from(name.ends_with(".updated.v1"));
        let Some(put_at) = event["data"]["put_at"].as_str() else { continue };
        let whose = format!("{name} {} {}", event["data"]["merchant"], event["data"]["customer"]);
        let time = OffsetDateTime::parse(event["time"].as_str().unwrap(), &Rfc3339).unwrap();
        order.entry(whose).or_default().push((time, put_at.to_owned()));
    }
    for (whose, mut puts) in order {
        puts.sort();
        assert!(puts.is_sorted_by(|(_, one), (_, next)| one < next), "{whose}: {puts:?}");
    }
    accepted
}

/// Both lanes have looked for the customer, whom nobody knew, and have locked nothing; then the customer becomes
/// known, as through a commission. Both read that row before either has written.
#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_becomes_known_in_the_middle_of_two_batches_is_as_the_newer_put_says() {
    const ROUNDS: usize = 8;
    let world = World::new().await;
    let (events, dead) = (world.events().await, world.dead_letters_of("directory").await);
    let publisher = world.publisher().await;
    let mut builder = world.worker_of("directory");
    builder.set("SALDO__WORKER__LANES", "1").set("SALDO__WORKER__BATCH_COUNT", "1");
    builder.set("SALDO__PARKED__INTERVAL", "1h").set("SALDO__SWEEP__INTERVAL", "1h");
    let workers = vec![builder.ready().await, builder.ready().await];
    let (mut first, mut second) = (world.superuser().await, world.superuser().await);
    let mut sent = 0;
    for round in 0..ROUNDS {
        let who = format!("c-{round}");
        let put = |n: usize, seconds: usize| {
            let id = format!("{who}-{n}");
            if round % 2 == 0 { person(&id, &who, seconds) } else { method(&id, &who, seconds) }
        };
        world.assert_all_marked().await;
        // The merchant is read after the lock was taken, the batch is written after the customer was read.
        let mut merchants = first.begin().await.unwrap();
        merchants.execute("LOCK TABLE merchant IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let mut batches = second.begin().await.unwrap();
        batches.execute("LOCK TABLE batch IN EXCLUSIVE MODE").await.unwrap();
        publisher.publish(&[put(0, 30)]).await;
        world.until_waiting_for_locks(1).await;
        // As many as it takes until the other worker has one too; the broker hands them out in turns.
        let mut older = 0;
        eventually("both lanes wait", PATIENCE, || {
            older += 1;
            let (world, publisher, put) = (&world, &publisher, put(older, 20 - older));
            async move {
                publisher.publish(&[put]).await;
                for _ in 0..20 {
                    if world.waiting_for_locks().await == 2 {
                        return Ok(());
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(25)).await;
                }
                Err(())
            }
        })
        .await;
        let known =
            format!("INSERT INTO customer (merchant, id, kind) VALUES ('acme', '{who}', 'affiliate')");
        merchants.execute(AssertSqlSafe(known)).await.unwrap();
        merchants.commit().await.unwrap();
        world.until_waiting_for_locks(2).await;
        batches.rollback().await.unwrap();
        sent += 1 + older;
        eventually("all are decided", PATIENCE, || async {
            let decided = world.outcomes().await.len() + dead.count();
            if decided == sent { Ok(()) } else { Err(decided) }
        })
        .await;
    }
    let mut database = world.superuser().await;
    let names: Vec<Option<String>> =
        sqlx::query_scalar("SELECT name FROM customer ORDER BY id").fetch_all(&mut database).await.unwrap();
    let newest: Vec<_> = (0..ROUNDS).map(|round| (round % 2 == 0).then(|| "Person 30".to_owned())).collect();
    assert_eq!(names, newest);
    for (who, versions) in versions(&mut database).await {
        assert!(versions.is_sorted_by(|(_, one, _), (_, next, _)| one < next), "{who}: {versions:?}");
        assert_eq!(versions.last().unwrap().1, 30, "{who}: {versions:?}");
    }
    assert_only_newer_ones_were_accepted(&events);
    let reasons: Vec<_> = dead.all().iter().map(|letter| letter.header("saldo-detail")).collect();
    assert!(reasons.is_empty(), "{reasons:?}");
    world.drain(workers, &builder, &events).await;
    world.assert_told(&events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_says_what_kind_a_customer_is_and_money_does_not_change_it() {
    const PEOPLE: usize = 60;
    let world = World::new().await;
    let events = world.events().await;
    let dead = [
        world.dead_letters_of("directory").await,
        world.dead_letters_of("commissions").await,
        world.dead_letters_of("adjustments").await,
    ];
    let publisher = world.publisher().await;
    let mut builder = world.quick("directory");
    builder.set("SALDO__WORKER__BATCH_COUNT", "10");
    let mut workers = vec![builder.ready().await];
    for name in ["commissions", "adjustments"] {
        workers.push(world.quick(name).set("SALDO__WORKER__BATCH_COUNT", "10").ready().await);
    }
    let kind = async |who: &str| -> String {
        let kind = sqlx::query_scalar("SELECT kind FROM customer WHERE id = $1").bind(who);
        kind.fetch_one(&mut world.superuser().await).await.unwrap()
    };
    publisher.publish(&[credit("a-1", "anna", "1.00"), adjustment("credit", "b-1", "bert", "1.00")]).await;
    publisher.publish(&[customer("c-1", "carl", "customer")]).await;
    events.at_least(3, PATIENCE).await;
    assert_eq!(kind("anna").await, "affiliate", "first seen through a commission");
    assert_eq!(kind("bert").await, "customer", "first seen through an adjustment");
    publisher.publish(&[adjustment("debit", "a-2", "anna", "5.00"), credit("b-2", "bert", "1.00")]).await;
    publisher.publish(&[credit("c-2", "carl", "1.00"), credit("a-3", "anna", "1.00")]).await;
    events.at_least(7, PATIENCE).await;
    assert_eq!(
        [kind("anna").await, kind("bert").await, kind("carl").await],
        ["affiliate", "customer", "customer"]
    );
    publisher.publish(&[customer("a-4", "anna", "reseller"), customer("b-4", "bert", "affiliate")]).await;
    events.at_least(9, PATIENCE).await;
    publisher.publish(&[credit("a-5", "anna", "1.00"), adjustment("credit", "b-5", "bert", "1.00")]).await;
    events.at_least(11, PATIENCE).await;
    assert_eq!([kind("anna").await, kind("bert").await], ["reseller", "affiliate"]);

    // Put, credited, adjusted and given a payout method at the same time, whoever is first. Their ids' order is
    // another one in most languages than it is in bytes.
    let ids: Vec<_> = (0..PEOPLE).map(|n| format!("{}-{n}", ["x", "Y", "é", "Z"][n % 4])).collect();
    let messages: Vec<_> = ids
        .iter()
        .flat_map(|who| {
            [
                payout_method(&format!("{who}-m"), who),
                credit(&format!("{who}-c"), who, "1.00"),
                customer(&format!("{who}-p"), who, "reseller"),
                adjustment("credit", &format!("{who}-a"), who, "1.00"),
            ]
        })
        .collect();
    publisher.publish(&messages).await;
    eventually("all are decided", PATIENCE, || async {
        let decided = world.outcomes().await.len();
        if decided == 11 + messages.len() { Ok(()) } else { Err(decided) }
    })
    .await;
    let whole = "SELECT count(*) FROM customer c JOIN account a ON a.customer = c.id
                 JOIN payout_method p ON p.customer = c.id AND p.version = 1
                 WHERE c.kind = 'reseller' AND c.name = 'Anna' AND a.balance = 2 AND a.entries = 2";
    assert_eq!(world.count(whole).await, 60);
    assert_eq!(
        world.count("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").await,
        0
    );
    for (worker, dead) in workers.iter_mut().zip(&dead) {
        assert!(!worker.log().contains("not available"), "a race is no outage:\n{}", worker.log());
        assert!(worker.terminate().await.success());
        assert_eq!(dead.count(), 0, "{:?}", dead.all());
    }
    world.assert_told(&events).await;
    world.assert_sound().await;
}

/// Which of the malformed puts it was.
fn number(letter: &Collected) -> Option<usize> {
    letter.properties.message_id().as_ref()?.as_str().strip_prefix("bad-")?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_put_is_dead_with_the_fields_name_and_without_its_value_and_opens_with_the_key() {
    let world = World::new().await;
    let (events, dead) = (world.events().await, world.dead_letters_of("directory").await);
    let publisher = world.publisher().await;
    let worker = world.worker_of("directory").ready().await;
    let (bad, secrets) = (puts::bad(), puts::secrets());
    let mut messages: Vec<_> = bad.iter().enumerate().map(|(number, bad)| bad.numbered(number)).collect();
    // Clocks differ a little.
    let soon = (OffsetDateTime::now_utc() + Duration::minutes(4)).format(&Rfc3339).unwrap();
    let good = at(customer("good", "anna", "affiliate"), &soon);
    messages.push((routing_key(&good), good.to_string().into_bytes(), tests::Publisher::properties()));
    publisher.raw_all(&messages).await;
    events.first("good", "customer.updated").await;
    let letters = eventually("all are dead", PATIENCE, || async {
        let letters = dead.all();
        let known: Vec<_> = letters.iter().map(number).collect();
        let missing = bad.iter().enumerate().filter(|(n, _)| !known.contains(&Some(*n)));
        let missing: Vec<_> = missing.map(|(_, bad)| bad.what).collect();
        if missing.is_empty() { Ok(letters) } else { Err(missing) }
    })
    .await;
    let vault: Vault = PAYOUT_KEYS.parse().unwrap();
    let mut odd = Vec::new();
    for letter in &letters {
        let bad = &bad[number(letter).unwrap()];
        let (reason, detail) = (letter.header("saldo-reason"), letter.header("saldo-detail").unwrap());
        if reason.as_deref() != Some(bad.reason) || !detail.contains(bad.names) {
            odd.push(format!("{}: not {} {}, but {reason:?}: {detail}", bad.what, bad.reason, bad.names));
        }
        if let [found, ..] = &*secrets.find(&[Trace::new("detail", detail.clone()), letter.trace("letter")]) {
            odd.push(format!("{}: {found}", bad.what));
        }
        let key_id = letter.header("saldo-key-id").unwrap_or_default();
        let sealed = Sealed { key_id, bytes: letter.body.clone() };
        match vault.open(Purpose::DeadLetter { worker: "directory" }, &sealed) {
            Ok(body) if *body == bad.body => {}
            other => odd.push(format!("{}: does not open to what was sent: {:?}", bad.what, other.is_ok())),
        }
        if vault.open(Purpose::DeadLetter { worker: "withdrawals" }, &sealed).is_ok() {
            odd.push(format!("{}: opens as another worker's", bad.what));
        }
    }
    assert!(odd.is_empty(), "{} of {} are not as they should be:\n{}", odd.len(), bad.len(), odd.join("\n"));
    eprintln!("{} malformed puts", bad.len());
    assert_eq!(letters.len(), bad.len());
    assert_eq!(world.count("SELECT count(*) FROM inbox").await, 1, "the good one");
    assert_eq!(world.count("SELECT count(*) FROM payout_method").await, 0);
    assert_eq!(events.events_by_id().len(), 1);
    assert!(secrets.find(&[Trace::new("log", worker.log())]).is_empty());
    assert!(worker.log().contains("dead letters"));
}

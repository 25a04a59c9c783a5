//! A replayed command is decided once, and nothing is replayed that would be somebody else's, or in vain.

use std::time::{Duration, Instant};

use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use sqlx::Executor as _;
use tests::message::{IBAN, adjustment, customer, envelope, payout_method};
use tests::worker_process::PAYOUT_KEYS;
use tests::world::{PASSWORD, amqp_user};
use tests::{COMMISSIONS, PATIENCE, Publisher, World, credit, reverse};
use worker::topology::{UNROUTABLE, dead_queue};

use super::{dead, decided, deeds, holds, letter, list, noted, put, texts, trap};

const REPLAY: [&str; 3] = ["dead", "replay", "--all"];

async fn replay_with(world: &World, settings: &[(&str, &str)], more: &[&str]) -> tests::Ran {
    world.saldo_at_broker_with(settings, &[&REPLAY, more, &["--actor", "anna"]].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_whose_cause_was_mended_is_decided_once_however_often_it_is_replayed() {
    let world = World::new().await;
    let (events, publisher) = (world.events().await, world.publisher().await);
    trap(&world, true).await;
    let mut worker = world.worker().ready().await;
    let command = noted(credit("c-1", "anna", "12.50"));
    publisher.publish(std::slice::from_ref(&command)).await;
    holds(&publisher, &dead_queue("commissions"), 1).await;
    publisher.publish(&[command]).await;
    holds(&publisher, &dead_queue("commissions"), 2).await;

    let dry = dead(&world, &["replay", "--reason", "culprit", "--dry-run"]).await;
    assert_eq!(dry.status, 0, "{dry:?}");
    assert_eq!(dry.output.matches("would be replayed as acme.commission.credit").count(), 2, "{dry:?}");
    assert!(deeds(&world).await.is_empty(), "a dry run records nothing");
    assert_eq!(publisher.queued(&dead_queue("commissions")).await.ready, 2, "and takes nothing out");

    trap(&world, false).await;
    let rows = list(&world, &[]).await;
    let ran = dead(&world, &["replay", letter(&rows[0]), "--json"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!((&ran.json()["outcome"], &ran.json()["deed"]), (&json!("replayed"), &json!(1)));
    events.first("c-1", "commission.credited").await;
    // Its twin, which is decided by now, is told the same again.
    let ran = dead(&world, &["replay", "--merchant", "acme"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    holds(&publisher, &dead_queue("commissions"), 0).await;
    publisher.consumed(COMMISSIONS).await;
    assert!(worker.terminate().await.success());
    assert_eq!(world.balance("anna").await, "12.50".parse().unwrap());
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 1);
    assert_eq!(events.events_by_id().len(), 1);

    let done = deeds(&world).await;
    assert_eq!(texts(&done, "kind"), ["replay", "replay"]);
    for (field, value) in [
        ("actor", json!("anna")),
        ("role", json!("saldo_operator")),
        ("queue", json!(dead_queue("commissions"))),
        ("letter", rows[0]["letter"].clone()),
        ("reason", json!("culprit")),
        ("type", json!("commission.credit")),
        ("merchant", json!("acme")),
        ("command_id", json!("c-1")),
        ("routing_key", json!("acme.commission.credit")),
        ("user_id", json!(amqp_user())),
    ] {
        assert_eq!(done[1][field], value, "{field}");
    }
    let again = dead(&world, &["replay", letter(&rows[0])]).await;
    assert_eq!(again.status, 1, "there is no such letter any more: {again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_needs_a_user_is_replayed_for_that_user_or_by_an_explicit_word() {
    let world = World::new().await;
    let (events, publisher) = (world.events().await, world.publisher().await);
    let other = format!("{}_staff", world.name);
    world.manage("PUT", &format!("users/{other}"), Some(json!({ "password": PASSWORD, "tags": "" }))).await;
    let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
    world.manage("PUT", &format!("permissions/{}/{other}", world.name), Some(all)).await;
    let url = world.worker_amqp_url("commissions").replace("saldo_commissions_test:", &format!("{other}:"));
    let staff = Publisher::connect_to(&url).await;
    trap(&world, true).await;
    let mut worker = world.worker_of("adjustments").ready().await;
    let message = |id: &str| {
        let mut message = adjustment("credit", id, "anna", "5.00");
        message["data"]["description"] = json!(super::BOOM);
        message
    };
    let key = "acme.adjustment.credit";
    publisher.publish(&[message("own")]).await;
    publisher.raw(key, message("nobodys").to_string().as_bytes(), Publisher::properties()).await;
    let properties = Publisher::properties().with_user_id(other.as_str().into());
    staff.raw(key, message("others").to_string().as_bytes(), properties).await;
    holds(&publisher, &dead_queue("adjustments"), 3).await;
    trap(&world, false).await;

    let rows = list(&world, &[]).await;
    let user = |id: &str| rows.iter().find(|row| row["command_id"] == id).unwrap()["user_id"].clone();
    assert_eq!(
        [user("own"), user("nobodys"), user("others")],
        [json!(amqp_user()), Value::Null, json!(other)]
    );
    let ran = dead(&world, &["replay", "--all"]).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    assert_eq!(ran.output.lines().count(), 1, "{ran:?}");
    assert!(ran.messages.contains("without one that the broker vouched for"), "{ran:?}");
    assert!(ran.messages.contains(&format!("who published it, {other}")), "{ran:?}");
    events.first("own", "adjustment.credited").await;
    holds(&publisher, &dead_queue("adjustments"), 2).await;
    assert_eq!(deeds(&world).await.len(), 1, "what is refused is not recorded");

    let ran = dead(&world, &["replay", "--all", "--as-myself"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    for id in ["nobodys", "others"] {
        events.first(id, "adjustment.credited").await;
    }
    for deed in &deeds(&world).await[..2] {
        assert_eq!(deed["note"], "as the operator's own command");
    }
    holds(&publisher, &dead_queue("adjustments"), 0).await;
    assert!(worker.terminate().await.success());
    world.manage("DELETE", &format!("users/{other}"), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_go_round_in_circles_or_past_a_permission_is_not_replayed() {
    let world = World::new().await;
    let publisher = world.publisher().await;
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut forged = FieldTable::default();
    for (name, value) in [
        ("saldo-routing-key", "acme.commission.credit"),
        ("saldo-reason", "culprit"),
        ("saldo-worker", "commissions"),
        ("saldo-user", &amqp_user()),
    ] {
        forged.insert(name.into(), text(value));
    }
    let forged = Publisher::properties().with_headers(forged);
    let body = credit("c-1", "mallory", "1000.00").to_string();
    // No queue takes these.
    publisher.raw("acme.unheard.of", body.as_bytes(), forged.clone()).await;
    let unheard = envelope("unheard.of.v1", "u-1", json!({ "merchant": "acme" })).to_string();
    publisher.raw("acme.unheard.of", unheard.as_bytes(), Publisher::properties()).await;
    holds(&publisher, UNROUTABLE, 2).await;
    // Straight into the queue of dead letters, by somebody who can write there.
    let options = lapin::options::BasicPublishOptions::default();
    let queue = dead_queue("commissions");
    let direct =
        publisher.channel.basic_publish("".into(), queue.as_str().into(), options, body.as_bytes(), forged);
    assert!(direct.await.unwrap().await.unwrap().is_ack());
    // A worker's own: malformed, withheld, with another key than its body's, and an event.
    put(&publisher, "commissions", &credit("c-2", "mallory", "-1"), "invalid-data", &[]).await;
    put(
        &publisher,
        "commissions",
        &payout_method("m-1", "mallory"),
        "unknown-type",
        &[("saldo-body-withheld", "")],
    )
    .await;
    put(
        &publisher,
        "commissions",
        &credit("c-3", "mallory", "1.00"),
        "routing-key-mismatch",
        &[("saldo-routing-key", "other.commission.credit")],
    )
    .await;
    put(&publisher, "notifier", &credit("c-4", "mallory", "1.00"), "not-json", &[]).await;

    let ran = replay_with(&world, &[], &["--as-myself"]).await;
    assert_eq!((ran.status, ran.output.as_str()), (1, ""), "{ran:?}");
    for why in [
        "in saldo.unroutable stays: it was published with another routing key than its body asks for",
        "in saldo.unroutable stays: it is of a type that no worker of this release knows",
        "in saldo.commissions.dead stays: it was published with another routing key than its body asks for: publish it \
         anew under acme.commission.credit, then discard this letter",
        "it can never be decided (invalid-data: data.amount",
        "): publish a better one",
        "withheld the body",
        "it is an event",
        "was not published to saldo.commands",
    ] {
        assert!(ran.messages.contains(why), "{why}: {ran:?}");
    }
    assert_eq!(ran.messages.lines().count(), 7, "{ran:?}");
    assert_eq!(list(&world, &[]).await.len(), 7);
    assert!(deeds(&world).await.is_empty());
    assert_eq!(publisher.queued(COMMISSIONS).await.ready, 0);
}

/// The inbox tells what the broker cannot.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_or_waits_is_told_and_what_would_only_die_again_stays() {
    let (world, publisher, told) = decided().await;
    let events = world.events().await;
    let parked = reverse("r-2", "c-unknown", None);
    let mut worker = world.worker().ready().await;
    publisher.publish(std::slice::from_ref(&parked)).await;
    tests::eventually("it is parked", PATIENCE, || async {
        let waiting = world.count("SELECT count(*) FROM waiting").await;
        if waiting == 1 { Ok(()) } else { Err(waiting) }
    })
    .await;
    put(&publisher, "commissions", &parked, "culprit", &[]).await;
    put(&publisher, "commissions", &credit("c-1", "anna", "99.00"), "culprit", &[]).await;
    put(&publisher, "commissions", &reverse("r-2", "c-1", None), "culprit", &[]).await;
    // As if a newer worker had left it, and as a worker of this release does.
    let unheard = envelope("commission.refund.v1", "u-1", json!({ "merchant": "acme" }));
    publisher.publish(std::slice::from_ref(&unheard)).await;
    holds(&publisher, &dead_queue("commissions"), 5).await;

    let says = |ran: &tests::Ran, text: &str| {
        assert!(ran.output.contains(text) != ran.messages.contains(text), "{text}: {ran:?}");
    };
    let dry = replay_with(&world, &[], &["--dry-run"]).await;
    says(&dry, "would be replayed as acme.commission.credit: it was decided at 2");
    says(
        &dry,
        "would be replayed as acme.commission.reverse: it is parked, and will be decided without this letter",
    );
    assert_eq!(dry.messages.matches("its key was used with other content").count(), 2, "{dry:?}");
    says(&dry, "it is of a type that no worker of this release knows");
    assert!(deeds(&world).await.is_empty());
    let discarded = dead(&world, &["discard", "--reason", "unknown-type", "--because", "tests"]).await;
    says(&discarded, "it was never decided: it is of a type that no worker of this release knows");

    let ran = replay_with(&world, &[], &[]).await;
    assert_eq!((ran.status, ran.output.lines().count()), (1, 2), "{ran:?}");
    assert_eq!(events.at_least(1, PATIENCE).await[0].body, told, "the stored event, once more");
    let done = deeds(&world).await;
    let mut notes = texts(&done, "note");
    notes.sort_unstable();
    assert!(notes[0].starts_with("it is parked") && notes[1].starts_with("it was decided at 2"), "{notes:?}");
    holds(&publisher, &dead_queue("commissions"), 3).await;
    publisher.consumed(COMMISSIONS).await;
    assert!(worker.terminate().await.success());
    holds(&publisher, &dead_queue("commissions"), 3).await;
    assert_eq!(world.balance("anna").await, "12.50".parse().unwrap());
}

/// What comes to `saldo.commands` from another exchange, no topic permission was asked about.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_past_topic_permissions_gets_no_further_by_an_operator() {
    let world = World::new().await;
    let publisher = world.publisher().await;
    let _worker = world.worker().ready().await;
    world.manage("PUT", &format!("exchanges/{}/own", world.name), Some(json!({ "type": "topic" }))).await;
    let bound = format!("bindings/{}/e/own/e/saldo.commands", world.name);
    world.manage("POST", &bound, Some(json!({ "routing_key": "#" }))).await;
    let body = credit("c-1", "mallory", "1000.00").to_string();
    let (key, options) = ("acme.commission.credit", lapin::options::BasicPublishOptions::default());
    let sent = publisher.channel.basic_publish(
        "own".into(),
        key.into(),
        options,
        body.as_bytes(),
        Publisher::properties(),
    );
    assert!(sent.await.unwrap().await.unwrap().is_ack());
    holds(&publisher, &dead_queue("commissions"), 1).await;
    let letters = list(&world, &[]).await;
    assert_eq!(texts(&letters, "reason"), ["invalid-properties"]);

    let ran = replay_with(&world, &[], &["--as-myself"]).await;
    assert!(ran.status == 1 && ran.messages.contains("was not published to saldo.commands"), "{ran:?}");
    assert!(deeds(&world).await.is_empty());
    assert_eq!(world.count("SELECT count(*) FROM inbox").await, 0);
}

/// What the broker gave up has a key that nobody knows for sure, and whatever headers its publisher liked.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_gave_up_is_replayed_by_an_explicit_word_with_the_key_that_its_body_asks_for() {
    let world = World::new().await;
    let publisher = world.publisher().await;
    let mut death = FieldTable::default();
    death.insert("queue".into(), AMQPValue::LongString("saldo.commissions".into()));
    death.insert("reason".into(), AMQPValue::LongString("rejected".into()));
    death.insert(
        "routing-keys".into(),
        AMQPValue::FieldArray(vec![AMQPValue::LongString("acme.withdrawal.pay".into())].into()),
    );
    let mut headers = FieldTable::default();
    headers.insert("x-death".into(), AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into()));
    headers.insert("saldo-routing-key".into(), AMQPValue::LongString("acme.withdrawal.pay".into()));
    let body = credit("c-1", "anna", "1.00").to_string();
    let properties = Publisher::properties().with_headers(headers);
    publisher.raw("acme.commission.credit", body.as_bytes(), properties).await;
    // The broker's own way into the dead queue.
    let question = json!({ "count": 1, "ackmode": "reject_requeue_false", "encoding": "auto" });
    world.manage("POST", &format!("queues/{}/{COMMISSIONS}/get", world.name), Some(question)).await;
    holds(&publisher, &dead_queue("commissions"), 1).await;
    let rows = list(&world, &[]).await;
    assert_eq!((&rows[0]["made_by"], &rows[0]["reason"]), (&json!("broker"), &json!("rejected")));
    assert_eq!(rows[0]["routing_key"], Value::Null);
    let ran = dead(&world, &["replay", "--all"]).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.messages.contains("nobody knows with which routing key"), "{ran:?}");
    let ran = dead(&world, &["replay", "--all", "--as-myself"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.output.contains("as acme.commission.credit: as the operator's own command; with the routing key that its body asks for"), "{ran:?}");
    holds(&publisher, COMMISSIONS, 1).await;
    let note = deeds(&world).await[0]["note"].clone();
    assert!(note.as_str().unwrap().contains("its body asks for"), "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_letter_is_replayed_by_who_has_the_key() {
    let world = World::new().await;
    let (events, publisher) = (world.events().await, world.publisher().await);
    let mut admin = world.superuser().await;
    admin.execute("ALTER TABLE payout_method ADD CONSTRAINT boom CHECK (false)").await.unwrap();
    let mut worker = world.quick("directory").ready().await;
    publisher.publish(&[customer("k-1", "anna", "affiliate")]).await;
    events.first("k-1", "customer.updated").await;
    publisher.publish(&[payout_method("m-1", "anna")]).await;
    holds(&publisher, &dead_queue("directory"), 1).await;
    admin.execute("ALTER TABLE payout_method DROP CONSTRAINT boom").await.unwrap();
    for keys in [&[][..], &[("SALDO__PAYOUT__KEYS", "other:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")]] {
        let ran = replay_with(&world, keys, &[]).await;
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.messages.contains("the key test"), "{ran:?}");
    }
    holds(&publisher, &dead_queue("directory"), 1).await;
    let ran = replay_with(&world, &[("SALDO__PAYOUT__KEYS", PAYOUT_KEYS)], &[]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    events.first("m-1", "payout-method.updated").await;
    holds(&publisher, &dead_queue("directory"), 0).await;
    assert!(worker.terminate().await.success());
    let deed = &deeds(&world).await[0];
    assert_eq!((&deed["type"], &deed["command_id"]), (&json!("payout-method.put"), &json!("m-1")));

    // Whether what lies there in clear is what was decided, the ledger's fingerprint tells only who has the key.
    put(&publisher, "directory", &payout_method("m-1", "anna"), "culprit", &[]).await;
    let discard = ["dead", "discard", "--all", "--because", "tests", "--actor", "anna", "--dry-run"];
    for (keys, told) in [
        (&[][..], "its key was used, and whether by this command can be told with payout.keys only"),
        (&[("SALDO__PAYOUT__KEYS", PAYOUT_KEYS)], "it was decided at 2"),
    ] {
        for ran in [
            replay_with(&world, keys, &["--dry-run"]).await,
            world.saldo_at_broker_with(keys, &discard).await,
        ] {
            assert!(ran.output.contains(told) != ran.messages.contains(told), "{ran:?}");
            assert!(!ran.output.contains(IBAN) && !ran.messages.contains(IBAN), "{ran:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_replayed_no_faster_than_asked() {
    let world = World::new().await;
    let publisher = world.publisher().await;
    for number in 0..5 {
        put(&publisher, "commissions", &credit(&format!("c-{number}"), "anna", "1.00"), "culprit", &[]).await;
    }
    let began = Instant::now();
    let ran = dead(&world, &["replay", "--all", "--rate", "2"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(began.elapsed() >= Duration::from_secs(2), "5 at 2 a second in {:?}", began.elapsed());
    holds(&publisher, COMMISSIONS, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_chosen_by_accident() {
    let world = World::new().await;
    for arguments in [
        &["replay", "--actor", "anna"][..],
        &["replay", "--worker", "commissions", "--actor", "anna"],
        &["replay", "--all"],
        &["replay", "--all", "abcdef", "--actor", "anna"],
        &["discard", "--all", "--actor", "anna"],
        &["discard", "--because", "x", "--actor", "anna"],
        &["replay", "xyz", "--actor", "anna"],
    ] {
        let ran = world.saldo_at_broker(&[&["dead"], arguments].concat()).await;
        assert_eq!(ran.status, 2, "{arguments:?}: {ran:?}");
    }
}

//! Looking changes nothing, and shows nothing that nobody should see.

use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use tests::message::{IBAN, adjustment, payout_method};
use tests::worker_process::PAYOUT_KEYS;
use tests::{Collector, PATIENCE, Publisher, World, credit};
use worker::topology::{UNROUTABLE, dead_queue};

use super::{dead, deeds, holds, letter, list, put, put_raw, texts};

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_found_by_worker_reason_type_shop_and_age() {
    let world = World::new().await;
    let publisher = world.publisher().await;
    let mut worker = world.worker().ready().await;
    publisher.publish(&[credit("c-1", "anna", "1.00")]).await;
    publisher.publish(&[credit("c-1", "anna", "2.00")]).await;
    publisher.raw("acme.commission.credit", b"no JSON", Publisher::properties()).await;
    publisher.raw("acme.unheard.of", b"{}", Publisher::properties()).await;
    publisher.into_queue(&dead_queue("adjustments"), b"straight into it").await;
    put(&publisher, "withdrawals", &tests::message::decide("pay", "p-1", "w-1"), "invalid-properties", &[])
        .await;
    holds(&publisher, &dead_queue("commissions"), 2).await;
    holds(&publisher, UNROUTABLE, 1).await;
    assert!(worker.terminate().await.success());

    let all = list(&world, &[]).await;
    let mut reasons = texts(&all, "reason");
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        ["idempotency-conflict", "invalid-properties", "not-json", "stray", "unroutable"],
        "{all:#?}"
    );
    for (filter, found) in [
        (&["--worker", "commissions"][..], &["idempotency-conflict", "not-json"][..]),
        (&["--worker", "unroutable", "--worker", "adjustments"], &["unroutable", "stray"]),
        (&["--reason", "not-json", "--reason", "stray"], &["not-json", "stray"]),
        (&["--type", "commission.credit.v1"], &["idempotency-conflict"]),
        (&["--type", "withdrawal.pay"], &["invalid-properties"]),
        (&["--merchant", "acme"], &["idempotency-conflict", "invalid-properties"]),
        (&["--merchant", "other"], &[]),
        // Of strays nobody knows the age, and one of these is from the future.
        (&["--newer-than", "1h"], &["idempotency-conflict", "not-json", "invalid-properties"]),
        (&["--older-than", "1h"], &[]),
        (&["--worker", "commissions", "--reason", "stray"], &[]),
    ] {
        let rows = list(&world, filter).await;
        let (mut seen, mut found) = (texts(&rows, "reason"), found.to_vec());
        seen.sort_unstable();
        found.sort_unstable();
        assert_eq!(seen, found, "{filter:?}");
    }
    assert_eq!(list(&world, &["--limit", "2"]).await.len(), 2);
    let conflict = all.iter().find(|row| row["reason"] == "idempotency-conflict").unwrap();
    for (field, value) in [
        ("queue", json!(dead_queue("commissions"))),
        ("made_by", json!("worker")),
        ("merchant", json!("acme")),
        ("command_id", json!("c-1")),
        ("routing_key", json!("acme.commission.credit")),
    ] {
        assert_eq!(conflict[field], value, "{field}");
    }
    for (wrong, told) in [
        (["--worker", "nobody"], "possible values: commissions, adjustments"),
        (["--reason", "banana"], "culprit, delivery-limit"),
        (["--limit", "0"], "expected a whole number from 1"),
    ] {
        let ran = world.saldo_at_broker(&[&["dead", "list"], &wrong[..]].concat()).await;
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.messages.contains(told), "{ran:?}");
    }
    // A newer worker may have it.
    let unknown = world.saldo_at_broker(&["dead", "list", "--type", "commission.credits.v1"]).await;
    assert_eq!(unknown.status, 0, "{unknown:?}");
    let told =
        "there are no such letters; this release knows no type commission.credits, but adjustment.credit,";
    assert!(unknown.messages.contains(told), "{unknown:?}");
    let known = world.saldo_at_broker(&["dead", "list", "--type", "withdrawal.paid"]).await;
    assert!(known.messages.contains("there are no such letters\n"), "{known:?}");
}

/// Bodies that begin alike for longer than a letter's beginning is listed.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_never_handed_on_to_another_letter() {
    let world = World::new().await;
    let publisher = world.publisher().await;
    let body = |end: &str| format!("{}{end}", "x".repeat(9_000)).into_bytes();
    for end in ["first", "other", "third"] {
        put_raw(&publisher, "commissions", &body(end), Publisher::properties()).await;
    }
    // Who published it decides what becomes of it.
    for user in ["anna", "boss"] {
        put(
            &publisher,
            "adjustments",
            &adjustment("credit", "a", "c", "1.00"),
            "culprit",
            &[("saldo-user", user)],
        )
        .await;
    }
    holds(&publisher, &dead_queue("commissions"), 3).await;
    holds(&publisher, &dead_queue("adjustments"), 2).await;
    let before = list(&world, &[]).await;
    let discard =
        ["discard", letter(&before[0]), letter(&before[3]), "--unread", "--undecided", "--because", "tests"];
    let ran = dead(&world, &discard).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    let after = list(&world, &[]).await;
    let names = texts(&before, "letter");
    assert_eq!(texts(&after, "letter"), [names[1], names[2], names[4]]);
    let again = dead(&world, &discard).await;
    assert_eq!(again.status, 1, "{again:?}");
    assert_eq!(again.messages.matches("there is no letter").count(), 2, "{again:?}");
    assert_eq!(list(&world, &[]).await.len(), 3);
    let shown = world.saldo_at_broker(&["dead", "show", names[1], "--json"]).await.json();
    assert_eq!(shown["body"].as_str().unwrap().as_bytes(), body("other"));
}

/// More letters than ten are given back in another order, if one is not careful.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_many_letters_changes_neither_their_names_nor_their_order() {
    const LETTERS: usize = 25;
    let world = World::new().await;
    let publisher = world.publisher().await;
    let mut worker = world.worker().set("SALDO__WORKER__LANES", "1").ready().await;
    for number in 0..LETTERS {
        // Twins as well, which have a name each.
        let body = format!("no JSON {}", number / 2);
        publisher.raw("acme.commission.credit", body.as_bytes(), Publisher::properties()).await;
    }
    holds(&publisher, &dead_queue("commissions"), 25).await;
    assert!(worker.terminate().await.success());
    let first = list(&world, &[]).await;
    for _ in 0..2 {
        let again = list(&world, &[]).await;
        assert_eq!(texts(&again, "letter"), texts(&first, "letter"));
    }
    let mut names = texts(&first, "letter");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), LETTERS);
    // By name, wholly or in part.
    let shown = world.saldo_at_broker(&["dead", "show", &letter(&first[24])[..12], "--json"]).await.json();
    assert_eq!(shown["body"], "no JSON 12");
    let none = world.saldo_at_broker(&["dead", "show", "ffffffffffffffffffffffffffffffff"]).await;
    assert_eq!(none.status, 1, "{none:?}");
    let queue = Collector::of_queue(&world, &dead_queue("commissions")).await;
    let bodies = queue.at_least(LETTERS, PATIENCE).await.into_iter().map(|letter| letter.body);
    let wanted = (0..LETTERS).map(|number| format!("no JSON {}", number / 2).into_bytes());
    assert!(bodies.eq(wanted), "the order is another one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_publisher_writes_cannot_command_a_terminal() {
    let world = World::new().await;
    let publisher = world.publisher().await;
    let evil = "\u{1b}[2Jevil\u{7}\u{202e}";
    let mut headers = FieldTable::default();
    headers.insert(evil.into(), AMQPValue::LongString(evil.into()));
    let properties = Publisher::properties().with_headers(headers).with_message_id(evil.into());
    let body = json!({ "id": evil, "source": evil, "type": evil, "data": { "merchant": evil } }).to_string();
    publisher.raw(&format!("acme.{evil}"), body.as_bytes(), properties.clone()).await;
    publisher.raw("acme.unheard.of", evil.as_bytes(), properties).await;
    holds(&publisher, UNROUTABLE, 2).await;
    let rows = list(&world, &[]).await;
    let mut seen = world.saldo_at_broker(&["dead", "list"]).await.output;
    for row in &rows {
        let shown = world.saldo_at_broker(&["dead", "show", letter(row)]).await;
        assert!(shown.output.contains("evil"), "{shown:?}");
        seen.push_str(&shown.output);
    }
    let ran = dead(&world, &["discard", "--all", "--unread", "--undecided", "--because", "tests"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    seen.push_str(&ran.output);
    seen.push_str(&ran.messages);
    seen.push_str(&world.saldo(&["dead", "deeds"]).await.output);
    let bad = seen.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
    assert_eq!(bad, None, "{seen}");
    assert_eq!(deeds(&world).await.len(), 2);
}

/// Postgres has no NUL, and its columns have lengths.
#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_a_letter_keeps_a_deed_from_being_recorded() {
    let world = World::new().await;
    let publisher = world.publisher().await;
    let long = "\0x".repeat(2000);
    let body = json!({ "id": long, "source": long, "type": long, "data": { "merchant": long } }).to_string();
    publisher.raw("acme.unheard\0.of", body.as_bytes(), Publisher::properties()).await;
    put(&publisher, "commissions", &credit("c-1", "anna", "1.00"), &long, &[]).await;
    holds(&publisher, UNROUTABLE, 1).await;
    let ran = dead(&world, &["discard", "--all", "--unread", "--undecided", "--because", "tests"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    let rows = deeds(&world).await;
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().any(|row| row["merchant"].as_str().unwrap().starts_with("\u{fffd}x")), "{rows:?}");
    assert!(rows.iter().any(|row| row["reason"].as_str().unwrap().ends_with('…')), "{rows:?}");
}

/// The world with a payout method in the directory's dead letters, encrypted, and in clear where no worker takes it.
async fn secret_letters(world: &World) -> (Value, Value) {
    let publisher = world.publisher().await;
    let mut worker = world.worker_of("directory").ready().await;
    let method = payout_method("m-1", "anna");
    // With another key than its body asks for.
    publisher.raw("acme.payout-method.get", method.to_string().as_bytes(), Publisher::properties()).await;
    publisher.raw("acme.payout.method", method.to_string().as_bytes(), Publisher::properties()).await;
    holds(&publisher, &dead_queue("directory"), 1).await;
    holds(&publisher, UNROUTABLE, 1).await;
    assert!(worker.terminate().await.success());
    let rows = list(world, &[]).await;
    let of = |queue: &str| rows.iter().find(|row| row["queue"] == queue).unwrap().clone();
    (of(&dead_queue("directory")), of(UNROUTABLE))
}

#[tokio::test(flavor = "multi_thread")]
async fn payout_details_are_shown_to_who_asks_for_them_by_name_and_only_after_that_was_recorded() {
    let world = World::new().await;
    let (encrypted, clear) = secret_letters(&world).await;
    assert_eq!((&encrypted["key_id"], &encrypted["type"]), (&json!("test"), &json!("payout-method.get")));
    for row in [&encrypted, &clear] {
        for how in [&[][..], &["--json"]] {
            let shown = world.saldo_at_broker(&[&["dead", "show", letter(row)], how].concat()).await;
            assert_eq!(shown.status, 0, "{shown:?}");
            assert!(!shown.output.contains(IBAN) && shown.output.contains("--reveal"), "{shown:?}");
        }
    }
    assert!(deeds(&world).await.is_empty());
    let reveal = |row: &Value| {
        ["dead", "show", letter(row), "--reveal", "--actor", "anna", "--json"].map(str::to_owned)
    };
    let without = reveal(&encrypted);
    let without = world.saldo_at_broker(&without.each_ref().map(String::as_str)).await;
    assert_eq!(without.status, 1, "no keys: {without:?}");
    assert!(deeds(&world).await.is_empty());
    for (number, row) in [&encrypted, &clear].into_iter().enumerate() {
        let arguments = reveal(row);
        let keys = [("SALDO__PAYOUT__KEYS", PAYOUT_KEYS)];
        let shown = world.saldo_at_broker_with(&keys, &arguments.each_ref().map(String::as_str)).await;
        assert_eq!(shown.status, 0, "{shown:?}");
        let body: Value = serde_json::from_str(shown.json()["body"].as_str().unwrap()).unwrap();
        assert_eq!(body, payout_method("m-1", "anna"));
        let recorded = deeds(&world).await;
        assert_eq!(recorded.len(), number + 1);
        assert_eq!(recorded[0]["kind"], "reveal");
        assert_eq!(recorded[0]["letter"], row["letter"]);
        // The ciphertext tells nothing; of what is in clear the hash could be guessed from.
        assert_eq!(recorded[0]["fingerprint"].is_null(), number == 1, "{recorded:?}");
    }
    // For a person it is indented, and nothing but that.
    let arguments = ["dead", "show", letter(&encrypted), "--reveal", "--actor", "anna"];
    let shown = world.saldo_at_broker_with(&[("SALDO__PAYOUT__KEYS", PAYOUT_KEYS)], &arguments).await;
    let (fields, body) = shown.output.split_once("\n\n").unwrap();
    assert!(fields.contains("key id: test") && !fields.contains("withheld"), "{shown:?}");
    assert!(body.starts_with("{\n  \"") && body.contains("\n      \"iban\": "), "{shown:?}");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), payout_method("m-1", "anna"));
    let nobody = world.saldo_at_broker(&["dead", "show", letter(&clear), "--reveal"]).await;
    assert_eq!(nobody.status, 2, "{nobody:?}");
    // Where it cannot be recorded, it is not shown.
    let mut admin = world.superuser().await;
    sqlx::query("REVOKE INSERT ON saldo.deed FROM saldo_operator").execute(&mut admin).await.unwrap();
    sqlx::query("REVOKE INSERT (actor) ON saldo.deed FROM saldo_operator").execute(&mut admin).await.unwrap();
    let arguments = reveal(&clear);
    let refused = world.saldo_at_broker(&arguments.each_ref().map(String::as_str)).await;
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(!refused.output.contains(IBAN) && !refused.messages.contains(IBAN), "{refused:?}");
}

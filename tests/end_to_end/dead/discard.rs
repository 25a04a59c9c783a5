//! Nothing is thrown away that somebody still waits for, or without a word about who did it.

use lapin::BasicProperties;
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor as _};
use tests::message::{payout_method, reverse_adjustment};
use tests::world::PASSWORD;
use tests::{COMMISSIONS, PATIENCE, Publisher, World, credit, reverse};
use worker::topology::{UNROUTABLE, dead_queue};

use super::{dead, decided, deeds, holds, list, put, put_raw, texts};

const DISCARD: [&str; 4] = ["discard", "--all", "--because", "tests"];

async fn discard(world: &World, more: &[&str]) -> tests::Ran {
    dead(world, &[&DISCARD, more].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_decided_after_all_is_told_once_more_before_its_letter_goes() {
    let (world, publisher, told) = decided().await;
    let events = world.events().await;
    let dry = discard(&world, &["--dry-run"]).await;
    assert_eq!(dry.status, 0, "{dry:?}");
    assert!(dry.output.contains("would be discarded: it was decided"), "{dry:?}");
    assert_eq!((events.all().len(), deeds(&world).await.len()), (0, 0));
    holds(&publisher, &dead_queue("commissions"), 1).await;
    let ran = discard(&world, &[]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(events.at_least(1, PATIENCE).await[0].body, told);
    holds(&publisher, &dead_queue("commissions"), 0).await;
    let deed = &deeds(&world).await[0];
    assert_eq!((&deed["kind"], &deed["actor"]), (&json!("discard"), &json!("anna")));
    let note = deed["note"].as_str().unwrap();
    assert!(note.starts_with("tests (it was decided at 2"), "{note}");
    assert!(note.ends_with("Z: its events are told once more)"), "{note}");
}

/// Where its events cannot be told, the letter stays; what was to be done is on record.
#[tokio::test(flavor = "multi_thread")]
async fn a_deed_is_recorded_before_it_is_done_and_not_done_where_it_cannot_be_recorded() {
    let (world, publisher, _) = decided().await;
    let events = world.events().await;
    let mut admin = world.superuser().await;
    world.read_only(&mut admin, true).await.unwrap();
    let ran = discard(&world, &[]).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    world.read_only(&mut admin, false).await.unwrap();
    holds(&publisher, &dead_queue("commissions"), 1).await;
    assert_eq!((events.all().len(), deeds(&world).await.len()), (0, 0));

    let reader = format!("{}_reader", world.name);
    world.manage("PUT", &format!("users/{reader}"), Some(json!({ "password": PASSWORD, "tags": "" }))).await;
    let rights = json!({ "configure": "^$", "write": "^$", "read": r"\.dead$|unroutable$" });
    world.manage("PUT", &format!("permissions/{}/{reader}", world.name), Some(rights)).await;
    let url = world.worker_amqp_url("commissions").replace("saldo_commissions_test:", &format!("{reader}:"));
    let arguments = [&["dead"], &DISCARD[..], &["--actor", "anna"]].concat();
    let ran = world.saldo_at_broker_with(&[("SALDO__BROKER__URL", url.as_str())], &arguments).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.messages.contains("refused") || ran.messages.contains("ACCESS"), "{ran:?}");
    holds(&publisher, &dead_queue("commissions"), 1).await;
    assert_eq!(deeds(&world).await.len(), 1);
    world.manage("DELETE", &format!("users/{reader}"), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_decided_or_cannot_be_read_goes_only_as_asked() {
    let (world, publisher, _) = decided().await;
    let events = world.events().await;
    // Another content under the same key; never decided; parked; malformed under a good key.
    put(&publisher, "commissions", &credit("c-1", "anna", "99.00"), "idempotency-conflict", &[]).await;
    put(&publisher, "adjustments", &reverse_adjustment("r-1", "a-1"), "culprit", &[]).await;
    let parked = reverse("r-2", "c-unknown", None);
    let mut worker = world.worker().ready().await;
    publisher.publish(std::slice::from_ref(&parked)).await;
    publisher.consumed(COMMISSIONS).await;
    tests::eventually("it is parked", PATIENCE, || async {
        let waiting = world.count("SELECT count(*) FROM waiting").await;
        if waiting == 1 { Ok(()) } else { Err(waiting) }
    })
    .await;
    assert!(worker.terminate().await.success());
    put(&publisher, "withdrawals", &parked, "culprit", &[]).await;
    put(&publisher, "directory", &credit("c-9", "anna", "-1"), "invalid-data", &[]).await;
    // No JSON; encrypted with a key that nobody has; withheld; a stray.
    put_raw(&publisher, "commissions", b"no JSON", BasicProperties::default()).await;
    put(&publisher, "directory", &payout_method("m-1", "anna"), "culprit", &[("saldo-key-id", "gone")]).await;
    put(
        &publisher,
        "commissions",
        &payout_method("m-2", "anna"),
        "unknown-type",
        &[("saldo-body-withheld", "")],
    )
    .await;
    publisher.raw("acme.unheard.of", b"what", Publisher::properties()).await;
    holds(&publisher, UNROUTABLE, 1).await;
    assert_eq!(list(&world, &[]).await.len(), 9);

    let ran = discard(&world, &[]).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    assert_eq!(ran.output.lines().count(), 1, "the decided one alone: {ran:?}");
    for (why, times) in [
        ("its key was used with other content; --undecided discards it", 1),
        ("it was never decided; --undecided discards it", 1),
        ("it is parked, and will be decided without this letter", 1),
        ("it was never decided: it can never be decided (invalid-data: data.amount", 1),
        ("publish a better one", 0),
        ("no command can be read from its body", 2),
        ("encrypted with the key gone; set payout.keys; --unread discards it", 1),
        ("withheld the body", 1),
    ] {
        assert_eq!(ran.messages.matches(why).count(), times, "{why}: {ran:?}");
    }
    assert_eq!(deeds(&world).await.len(), 1);
    let ran = discard(&world, &["--undecided"]).await;
    assert_eq!((ran.status, ran.output.lines().count()), (1, 4), "{ran:?}");
    let ran = discard(&world, &["--unread"]).await;
    assert_eq!((ran.status, ran.output.lines().count()), (0, 4), "{ran:?}");
    assert!(list(&world, &[]).await.is_empty());
    assert_eq!(deeds(&world).await.len(), 9);
    assert_eq!(events.events_by_id().len(), 1, "of the decided one");
    assert_eq!(world.count("SELECT count(*) FROM waiting").await, 1, "what is parked stays so");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deed_stays_as_it_was_recorded_whoever_asks() {
    let (world, _, _) = decided().await;
    assert_eq!(discard(&world, &[]).await.status, 0);
    let before = deeds(&world).await;
    let changes = [
        "UPDATE deed SET actor = 'bob'",
        "UPDATE deed SET recorded_at = now() - interval '1 day'",
        "DELETE FROM deed",
        "TRUNCATE deed",
    ];
    let forgeries = [
        "INSERT INTO deed (actor, kind, queue, letter, role) SELECT 'bob', 'discard', queue, letter, 'other' FROM deed",
        "INSERT INTO deed (actor, kind, queue, letter, recorded_at) SELECT 'bob', 'discard', queue, letter, now() FROM deed",
        "ALTER TABLE deed DISABLE TRIGGER ALL",
        "DROP TABLE deed",
    ];
    let mut operator = world.connect_as("saldo_operator").await;
    let mut owner = world.superuser().await;
    owner.execute("SET ROLE saldo_owner").await.unwrap();
    let mut replica = world.superuser().await;
    replica.execute("SET session_replication_role = replica").await.unwrap();
    for change in changes {
        for (who, connection) in
            [("operator", &mut operator), ("owner", &mut owner), ("replica", &mut replica)]
        {
            let refused = connection.execute(AssertSqlSafe(change)).await.unwrap_err();
            let code = refused.as_database_error().and_then(sqlx::error::DatabaseError::code);
            assert_eq!(code.as_deref(), Some("42501"), "{who}: {change}: {refused}");
        }
    }
    for forgery in forgeries {
        assert!(operator.execute(AssertSqlSafe(forgery)).await.is_err(), "{forgery}");
    }
    for worker in tests::world::ALL_WORKERS {
        let mut role = world.connect_as(&format!("saldo_{worker}")).await;
        assert!(role.execute("SELECT * FROM deed").await.is_err(), "{worker}");
    }
    assert_eq!(deeds(&world).await, before);
    assert_eq!(texts(&before, "role"), ["saldo_operator"]);
}

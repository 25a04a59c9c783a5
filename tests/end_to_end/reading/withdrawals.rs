//! Withdrawals, payout details and the keys that these are encrypted with.

use contract::WithdrawalId;
use ledger::read::{self, Withdrawal, WithdrawalFrom};
use ledger::vault::Vault;
use serde_json::{Value, json};
use sqlx::PgConnection;
use tests::message::{IBAN, credit, decide, payout_method, preferences, request};
use tests::worker_process::PAYOUT_KEYS;
use tests::{Ran, World};

use super::{Posted, customer, merchant};

/// All withdrawals in pages of `size`.
async fn all(database: &mut PgConnection, of: Option<&str>, open: bool, size: i64) -> Vec<Withdrawal> {
    let (mut shown, mut from): (Vec<Withdrawal>, Option<WithdrawalFrom>) = (Vec::new(), None);
    let (acme, of) = (merchant("acme"), of.map(customer));
    loop {
        let page = if open {
            read::open_withdrawals(database, &acme, of.as_ref(), from.as_ref(), size).await.unwrap()
        } else {
            read::withdrawals(database, &acme, of.as_ref(), None, from.as_ref(), size).await.unwrap()
        };
        shown.extend(page.withdrawals);
        from = page.next;
        if from.is_none() {
            return shown;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawals_are_paged_also_where_several_came_at_once() {
    let world = World::new().await;
    let mut database = world.superuser().await;
    world.register("other", 0).await;
    for (merchant, who) in [("acme", "anna"), ("acme", "bert"), ("other", "anna")] {
        Posted { merchant, customer: who, amount: "100", ..Posted::default() }.write(&mut database).await;
        sqlx::query(
            "INSERT INTO payout_method (merchant, customer, version, kind, masked, key_id, sealed, put_at, recorded_at,
                                        command)
             VALUES ($1, $2, 1, 'other', '(3 characters)', 'k', '', now(), now(), decode(repeat('00', 16), 'hex'))",
        )
        .bind(merchant)
        .bind(who)
        .execute(&mut database)
        .await
        .unwrap();
    }
    sqlx::query(
        "WITH made AS (
             INSERT INTO withdrawal (key, account_id, amount, state, payout_version, transitions, payment,
                                     requested_at, changed_at)
             SELECT decode(md5(a.id || '-' || n), 'hex'), a.id, n,
                    (ARRAY['requested', 'approved', 'paid', 'rejected', 'cancelled'])[n % 5 + 1], 1, 1,
                    CASE WHEN n % 5 = 2 THEN 1 END, '2026-11-01'::timestamptz + make_interval(hours => n / 4), now()
             FROM account a, generate_series(1, 20) n RETURNING key, state
         )
         INSERT INTO withdrawal_transition (withdrawal, number, state, command, occurred_at, recorded_at)
         SELECT key, 1, state, key, now(), now() FROM made",
    )
    .execute(&mut database)
    .await
    .unwrap();
    let mut operator = world.connect_as("saldo_operator").await;
    for size in [1, 3, 7, 100] {
        let shown = all(&mut operator, None, false, size).await;
        assert_eq!(shown.len(), 40);
        assert!(
            shown
                .is_sorted_by(|newer, older| (newer.requested_at, newer.id) > (older.requested_at, older.id))
        );
        let open = all(&mut operator, None, true, size).await;
        assert_eq!(open.len(), 16);
        assert!(
            open.is_sorted_by(|older, newer| (older.requested_at, older.id) < (newer.requested_at, newer.id))
        );
        assert!(open.iter().all(|withdrawal| matches!(withdrawal.state.as_str(), "requested" | "approved")));
        assert_eq!(all(&mut operator, Some("bert"), false, size).await.len(), 20);
        assert_eq!(all(&mut operator, Some("bert"), true, size).await.len(), 8);
        assert!(all(&mut operator, Some("carla"), false, size).await.is_empty());
    }
    let ran = world.saldo(&["withdrawals", "acme", "--state", "paid", "--customer", "anna", "--json"]).await;
    assert_eq!(ran.lines().len(), 4);
    let ran = world.saldo(&["withdrawals", "list", "other", "--open", "--limit", "3", "--json"]).await;
    assert_eq!(
        ran.lines().iter().map(|line| line["amount"].clone()).collect::<Vec<_>>(),
        ["1.00", "5.00", "6.00"]
    );
    assert_eq!(world.saldo(&["withdrawals"]).await.status, 2);
    assert_eq!(world.saldo(&["withdrawals", "acme", "--open", "--state", "paid"]).await.status, 2);

    // By its id within its own merchant only.
    let theirs = read::open_withdrawals(&mut operator, &merchant("other"), None, None, 1).await.unwrap();
    let id: WithdrawalId = theirs.withdrawals[0].id;
    assert_eq!(read::withdrawal_owner(&mut operator, id).await.unwrap(), Some(merchant("other")));
    assert!(read::withdrawal(&mut operator, &merchant("other"), id).await.unwrap().is_some());
    assert!(read::withdrawal(&mut operator, &merchant("acme"), id).await.unwrap().is_none());
}

/// A world in which anna has requested, and the shop has approved and paid, by all the workers.
async fn paid() -> (World, String) {
    let world = World::new().await;
    let events = world.events().await;
    let publisher = world.publisher().await;
    let mut workers = Vec::new();
    for name in ["commissions", "directory", "withdrawals"] {
        workers.push(world.worker_of(name).ready().await);
    }
    publisher.publish(&[preferences("p-1", "acme"), credit("c-1", "anna", "100.00")]).await;
    events.first("c-1", "commission.credited").await;
    events.first("p-1", "preferences.updated").await;
    publisher.publish(&[payout_method("m-1", "anna")]).await;
    events.first("m-1", "payout-method.updated").await;
    publisher.publish(&[request("w-1", "anna", Some("60.00"))]).await;
    let requested = events.first("w-1", "withdrawal.requested").await;
    publisher.publish(&[decide("approve", "d-1", "w-1")]).await;
    events.first("d-1", "withdrawal.approved").await;
    let mut pay = decide("pay", "d-2", "w-1");
    pay["data"]["payment_reference"] = json!("SEPA-1");
    publisher.publish(&[pay]).await;
    events.first("d-2", "withdrawal.paid").await;
    for worker in &mut workers {
        assert!(worker.terminate().await.success());
    }
    (world, requested["data"]["withdrawal"].as_str().unwrap().to_owned())
}

fn shows_nothing_secret(ran: &Ran) {
    for secret in [IBAN, "Schmidt", "COBADEFF"] {
        assert!(!ran.output.contains(secret) && !ran.messages.contains(secret), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_is_shown_with_all_that_happened_to_it() {
    let (world, id) = paid().await;
    let ran = world.saldo(&["withdrawals", "show", &id, "--json"]).await;
    shows_nothing_secret(&ran);
    let shown = ran.json();
    assert_eq!(shown["merchant"], "acme");
    assert_eq!(
        (&shown["amount"], &shown["currency"], &shown["state"]),
        (&json!("60.00"), &json!("EUR"), &json!("paid"))
    );
    assert_eq!(
        shown["payout"],
        json!({ "kind": "bank-account", "masked": "DE** **** … 3000", "version": 1 })
    );
    assert_eq!(shown["request"]["id"], "w-1");
    assert!(shown.get("payout_details").is_none());
    let of = |field: &str| -> Vec<Value> {
        shown["transitions"].as_array().unwrap().iter().map(|transition| transition[field].clone()).collect()
    };
    assert_eq!(of("state"), ["requested", "approved", "paid"]);
    assert_eq!(of("actor"), [Value::Null, json!("maria"), json!("maria")]);
    assert_eq!(of("payment_reference"), [Value::Null, Value::Null, json!("SEPA-1")]);
    assert_eq!(of("user"), [Value::Null, json!(tests::world::amqp_user()), json!(tests::world::amqp_user())]);
    let ran = world.saldo(&["operations", "acme", "anna", "--limit", "1", "--json"]).await;
    let last = ran.json();
    assert_eq!(
        (&last["id"], &last["kind"], &last["reference"]),
        (&shown["entry"], &json!("withdrawal"), &json!("SEPA-1"))
    );
    for arguments in
        [&["withdrawals", "show", &id][..], &["withdrawals", "acme"], &["customers", "acme", "--json"]]
    {
        let ran = world.saldo(arguments).await;
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(ran.output.contains("DE** **** … 3000"), "{ran:?}");
        shows_nothing_secret(&ran);
    }
    let ran = world.saldo(&["withdrawals", "show", &"0".repeat(32)]).await;
    assert_eq!((ran.status, ran.output.as_str()), (1, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_shown_payout_details_is_written_down_first() {
    let (world, id) = paid().await;
    let reveal = ["withdrawals", "show", &id, "--reveal", "--actor", "anna@acme.example"];
    let revelations = "SELECT count(*) FROM revelation";
    // The operator has neither the login nor the keys.
    let ran = world.saldo(&reveal).await;
    assert_eq!(ran.status, 1);
    assert!(
        ran.messages.contains("treasury.database_url") && ran.messages.contains("payout.keys"),
        "{ran:?}"
    );
    assert_eq!(world.saldo(&reveal[..4]).await.status, 2);
    assert_eq!(world.count(revelations).await, 0);
    // Without the right key nothing is shown, and that somebody tried is known.
    let wrong = format!("wrong:{}", Vault::generate_key());
    let ran = world.saldo_of_treasurer(&wrong, &reveal).await;
    assert_eq!((ran.status, ran.output.as_str()), (1, ""), "{ran:?}");
    assert!(ran.messages.contains("payout.keys"), "{ran:?}");
    assert_eq!(world.count(revelations).await, 1);

    let ran = world.saldo_of_treasurer(PAYOUT_KEYS, &reveal).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.output.contains(IBAN)
            && ran.output.contains("Anna Schmidt")
            && ran.output.contains("COBADEFFXXX")
    );
    assert_eq!(ran.messages, "");
    let ran = world.saldo_of_treasurer(PAYOUT_KEYS, &[&reveal[..], &["--json"]].concat()).await;
    assert_eq!(ran.json()["payout_details"]["bank_account"]["iban"], IBAN);
    let mut database = world.superuser().await;
    let written: Vec<(String, String, String)> =
        sqlx::query_as("SELECT encode(withdrawal, 'hex'), role, actor FROM revelation ORDER BY id")
            .fetch_all(&mut database)
            .await
            .unwrap();
    let one = (id.clone(), "saldo_treasurer".to_owned(), "anna@acme.example".to_owned());
    assert_eq!(written, [one.clone(), one.clone(), one]);
    // What cannot be written down is not shown.
    sqlx::query("REVOKE INSERT ON revelation FROM saldo_treasurer").execute(&mut database).await.unwrap();
    let ran = world.saldo_of_treasurer(PAYOUT_KEYS, &reveal).await;
    assert_eq!((ran.status, ran.output.as_str()), (1, ""), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn payout_details_moved_to_another_customer_do_not_decrypt() {
    let (world, id) = paid().await;
    let mut database = world.superuser().await;
    for statement in [
        "INSERT INTO customer (merchant, id, kind) VALUES ('acme', 'mallory', 'affiliate')",
        "INSERT INTO payout_method (merchant, customer, version, kind, masked, key_id, sealed, put_at, recorded_at, command)
         SELECT merchant, 'mallory', version, kind, masked, key_id, sealed, put_at, recorded_at, command FROM payout_method",
        "UPDATE account SET customer = 'mallory'",
    ] {
        sqlx::query(statement).execute(&mut database).await.unwrap();
    }
    let reveal = ["withdrawals", "show", &id, "--reveal", "--actor", "anna"];
    let ran = world.saldo_of_treasurer(PAYOUT_KEYS, &reveal).await;
    assert_eq!((ran.status, ran.output.as_str()), (1, ""), "{ran:?}");
    assert!(ran.messages.contains("does not decrypt"), "{ran:?}");
    shows_nothing_secret(&ran);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_and_the_old_one_is_needed_no_more() {
    const METHODS: i32 = 1_203;
    let world = World::new().await;
    let mut database = world.superuser().await;
    let old: Vault = PAYOUT_KEYS.parse().unwrap();
    let (acme, anna) = (merchant("acme"), customer("anna"));
    Posted::default().write(&mut database).await;
    let details = json!({ "paypal": { "email": "anna@acme.example" } }).to_string();
    for version in 1..=METHODS {
        let purpose = ledger::vault::Purpose::PayoutMethod { merchant: &acme, customer: &anna, version };
        sqlx::query(
            "INSERT INTO payout_method (merchant, customer, version, kind, masked, key_id, sealed, put_at, recorded_at,
                                        command)
             VALUES ('acme', 'anna', $1, 'paypal', 'a***@a***', 'test', $2, now(), now(),
                     decode(repeat('00', 16), 'hex'))",
        )
        .bind(version)
        .bind(old.seal(purpose, details.as_bytes()).bytes)
        .execute(&mut database)
        .await
        .unwrap();
    }
    let parked = contract::KeyHash([7; 16]);
    let sealed = old.seal(ledger::vault::Purpose::Parked { key: parked }, b"a body");
    sqlx::query(
        "WITH i AS (
             INSERT INTO inbox (key, batch_id, position, merchant, source, id, type, content)
             VALUES ($1, 1, 1, 'acme', '/s', 'parked', 'payout-method.put.v1', decode(repeat('00', 32), 'hex'))
         )
         INSERT INTO waiting (key, worker, awaited_merchant, body, key_id, parked_at, deadline)
         VALUES ($1, 'directory', 'later', $2, 'test', now(), now() + interval '1 h')",
    )
    .bind(&parked.0[..])
    .bind(sealed.bytes)
    .execute(&mut database)
    .await
    .unwrap();

    let generated = world.saldo(&["keys", "generate"]).await;
    let new = generated.output.trim();
    let id = new.split_once(':').unwrap().0;
    // Without the old key nothing opens; it is said, and nothing is changed.
    let ran = world.saldo_of_treasurer(new, &["keys", "rotate", "--json"]).await;
    assert_eq!(ran.status, 1);
    assert_eq!(ran.json(), json!({ "key": id, "rotated": 0, "failed": METHODS + 1, "left": METHODS + 1 }));
    // One that is damaged is left and named, the others are not.
    sqlx::query("UPDATE payout_method SET sealed = sealed || '\\x00' WHERE version = 600")
        .execute(&mut database)
        .await
        .unwrap();
    let both = format!("{new},{PAYOUT_KEYS}");
    let ran = world.saldo_of_treasurer(&both, &["keys", "rotate", "--json"]).await;
    assert_eq!(ran.status, 1);
    assert_eq!(ran.json(), json!({ "key": id, "rotated": METHODS, "failed": 1, "left": 1 }));
    assert!(ran.messages.contains("acme's customer anna, version 600"), "{ran:?}");
    sqlx::query("DELETE FROM payout_method WHERE version = 600").execute(&mut database).await.unwrap();
    let ran = world.saldo_of_treasurer(&both, &["keys", "rotate"]).await;
    assert_eq!((ran.status, ran.output), (0, format!("0 encrypted with the key {id}\n")));

    let new: Vault = new.parse().unwrap();
    let rows: Vec<(i32, String, Vec<u8>)> =
        sqlx::query_as("SELECT version, key_id, sealed FROM payout_method")
            .fetch_all(&mut database)
            .await
            .unwrap();
    assert_eq!(i32::try_from(rows.len()).unwrap(), METHODS - 1);
    for (version, key_id, bytes) in rows {
        let purpose = ledger::vault::Purpose::PayoutMethod { merchant: &acme, customer: &anna, version };
        let opened = new.open(purpose, &ledger::vault::Sealed { key_id, bytes }).unwrap();
        assert_eq!(*opened, details.as_bytes());
    }
    let (key_id, bytes): (String, Vec<u8>) =
        sqlx::query_as("SELECT key_id, body FROM waiting").fetch_one(&mut database).await.unwrap();
    let purpose = ledger::vault::Purpose::Parked { key: parked };
    assert_eq!(**new.open(purpose, &ledger::vault::Sealed { key_id, bytes }).unwrap(), *b"a body");
}

//! `saldo verify`: what holds is said to hold, and what somebody with every right has changed is named.

use std::collections::BTreeSet;

use ledger::EntryKind;
use serde_json::{Value, json};
use sqlx::{Executor as _, PgConnection};
use tests::message::{adjustment, decide, payout_method, preferences, request, reverse_adjustment};
use tests::{Bulk, Metrics, PATIENCE, Ran, Scratch, World, credit, eventually};

/// A kind of check and the number of the entry that it names, if it does.
type Named = (&'static str, Option<i64>);

/// What somebody does to a customer's account, `$1`, and what must be found of it.
struct Case {
    customer: &'static str,
    changes: &'static [&'static str],
    faults: &'static [Named],
}

/// Customers with three commissions each.
const PLAIN: [Case; 14] = [
    Case { customer: "untouched", changes: &[], faults: &[] },
    Case {
        customer: "note",
        changes: &["UPDATE entry SET note = 'other' WHERE account_id = $1 AND number = 2"],
        faults: &[("hash", Some(2))],
    },
    Case {
        customer: "amount",
        changes: &["UPDATE entry SET amount = amount + 1 WHERE account_id = $1 AND number = 2"],
        faults: &[("running-balance", Some(2)), ("hash", Some(2)), ("balance", None)],
    },
    Case {
        customer: "removed",
        changes: &["DELETE FROM entry WHERE account_id = $1 AND number = 2"],
        faults: &[
            ("number", Some(3)),
            ("running-balance", Some(3)),
            ("hash", Some(3)),
            ("count", None),
            ("balance", None),
            ("command", Some(2)),
        ],
    },
    // Whoever mends the account has its command left to think of.
    Case {
        customer: "newest-removed",
        changes: &[
            "DELETE FROM entry WHERE account_id = $1 AND number = 3",
            "UPDATE account SET entries = 2, balance = 25,
                    head = (SELECT hash FROM entry WHERE account_id = $1 AND number = 2) WHERE id = $1",
        ],
        faults: &[("command", Some(3))],
    },
    Case {
        customer: "swapped",
        changes: &[
            "UPDATE entry SET number = 99 WHERE account_id = $1 AND number = 2",
            "UPDATE entry SET number = 2 WHERE account_id = $1 AND number = 3",
            "UPDATE entry SET number = 3 WHERE account_id = $1 AND number = 99",
        ],
        faults: &[
            ("running-balance", Some(2)),
            ("hash", Some(2)),
            ("command", Some(2)),
            ("running-balance", Some(3)),
            ("hash", Some(3)),
            ("command", Some(3)),
            ("head", None),
        ],
    },
    Case {
        customer: "added",
        changes: &[
            "INSERT INTO entry (account_id, number, occurred_at, recorded_at, amount, balance_after, kind,
                                counterpart, command, hash)
             SELECT account_id, 4, occurred_at, recorded_at, 100, balance_after + 100, kind, counterpart, command, hash
             FROM entry WHERE account_id = $1 AND number = 3",
            "UPDATE account SET balance = balance + 100, entries = 4 WHERE id = $1",
        ],
        faults: &[("hash", Some(4)), ("command", Some(4))],
    },
    Case {
        customer: "balance",
        changes: &["UPDATE account SET balance = balance + 1 WHERE id = $1"],
        faults: &[("balance", None)],
    },
    Case {
        customer: "held",
        changes: &["UPDATE account SET held = 5 WHERE id = $1"],
        faults: &[("held", None)],
    },
    Case {
        customer: "pending",
        changes: &["UPDATE account SET pending = 5 WHERE id = $1"],
        faults: &[("pending", None)],
    },
    Case {
        customer: "command",
        changes: &["UPDATE entry SET command = decode(repeat('ab', 16), 'hex') WHERE account_id = $1 AND number = 1"],
        faults: &[("hash", Some(1)), ("command", Some(1))],
    },
    Case {
        customer: "undecided",
        changes: &["UPDATE inbox SET outcome = NULL WHERE account_id = $1 AND entry_number = 2"],
        faults: &[("command", Some(2))],
    },
    Case {
        customer: "currency",
        changes: &["UPDATE account SET currency = 'XXX' WHERE id = $1"],
        faults: &[("account", None)],
    },
    Case {
        customer: "exponent",
        changes: &["UPDATE account SET exponent = 3 WHERE id = $1"],
        faults: &[("account", None)],
    },
];

/// Customers with an adjustment that was taken back and another one; with an open withdrawal; with one that was
/// approved; with two that were paid; and with one that is to be paid elsewhere.
const SPECIAL: [Case; 7] = [
    Case {
        customer: "adjusted",
        changes: &[
            "UPDATE entry SET kind = 'adjustment-reversal', reverses = 1, amount = -12.50, balance_after = -12.50
             WHERE account_id = $1 AND number = 3",
            "UPDATE account SET balance = -12.50 WHERE id = $1",
        ],
        faults: &[("hash", Some(3)), ("reversal", Some(3))],
    },
    Case {
        customer: "requested",
        changes: &["UPDATE withdrawal SET state = 'rejected' WHERE account_id = $1"],
        faults: &[("held", None), ("withdrawal", None)],
    },
    Case {
        customer: "approved",
        changes: &["DELETE FROM withdrawal_transition USING withdrawal w
                    WHERE w.account_id = $1 AND withdrawal = w.key AND number = 1"],
        faults: &[("withdrawal", None)],
    },
    Case {
        customer: "skipped",
        changes: &["UPDATE withdrawal_transition t SET state = 'cancelled' FROM withdrawal w
                    WHERE w.account_id = $1 AND withdrawal = w.key AND number = 2"],
        faults: &[("withdrawal", None)],
    },
    Case {
        customer: "paid",
        changes: &["UPDATE withdrawal SET amount = amount + 1 WHERE account_id = $1"],
        faults: &[("payment", Some(2)), ("withdrawal", None)],
    },
    Case {
        customer: "redirected",
        changes: &["UPDATE payout_method SET masked = 'other' FROM account a
                    WHERE a.id = $1 AND payout_method.customer = a.customer"],
        faults: &[("withdrawal", None)],
    },
    Case {
        customer: "paid-for-nothing",
        changes: &["DELETE FROM withdrawal_transition USING withdrawal w
                    WHERE w.account_id = $1 AND withdrawal = w.key",
                   "DELETE FROM withdrawal WHERE account_id = $1"],
        faults: &[("payment", Some(2))],
    },
];

/// Whether verification finds exactly these.
fn assert_named(ran: &Ran, cases: &[(Case, i64)]) {
    let faults = ran.json()["faults"].as_array().unwrap().clone();
    for (case, account) in cases {
        let of_account: Vec<&Value> = faults.iter().filter(|fault| fault["account"] == *account).collect();
        let found: BTreeSet<(&str, Option<i64>)> = of_account
            .iter()
            .map(|fault| {
                let number = fault["entry"].as_str().map(|entry| {
                    let (of, number) = entry.split_once('-').unwrap();
                    assert_eq!(of, account.to_string(), "{fault}");
                    number.parse().unwrap()
                });
                (fault["check"].as_str().unwrap(), number)
            })
            .collect();
        assert_eq!(found, case.faults.iter().copied().collect(), "{}: {of_account:#?}", case.customer);
        for fault in of_account {
            assert_eq!(fault["customer"], case.customer, "{fault}");
            assert_eq!(fault["merchant"], "acme", "{fault}");
        }
    }
}

/// Lets four workers write a ledger of the cases' customers.
async fn write(world: &World) {
    let (events, publisher) = (world.events().await, world.publisher().await);
    let mut workers = Vec::new();
    for worker in tests::world::WORKERS {
        workers.push(world.worker_of(worker).ready().await);
    }
    let said = async |messages: Vec<Value>| {
        let ids: BTreeSet<String> =
            messages.iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect();
        publisher.publish(&messages).await;
        eventually("every command is decided", PATIENCE, || async {
            let all = events.events_by_id();
            let told: BTreeSet<String> =
                all.values().map(|event| event["causationid"].as_str().unwrap().to_owned()).collect();
            let missing: Vec<_> = ids.difference(&told).cloned().collect();
            if missing.is_empty() { Ok(()) } else { Err(missing) }
        })
        .await;
    };
    let with_withdrawal = ["requested", "approved", "skipped", "paid", "redirected", "paid-for-nothing"];
    let mut messages = vec![preferences("preferences", "acme")];
    for case in &PLAIN {
        messages.extend((1..=3).map(|n| credit(&format!("{}-{n}", case.customer), case.customer, "12.50")));
    }
    messages.extend(with_withdrawal.map(|customer| credit(customer, customer, "100.00")));
    messages.push(adjustment("credit", "adjusted-1", "adjusted", "12.50"));
    messages.push(adjustment("debit", "debited", "debited", "3.00"));
    let mut held = credit("held-1", "on-hold", "7.00");
    held["data"]["available_at"] = json!("2999-01-01T00:00:00Z");
    messages.push(held);
    said(messages).await;

    let mut messages: Vec<Value> = with_withdrawal
        .iter()
        .map(|customer| payout_method(&format!("{customer}-method"), customer))
        .collect();
    messages.push(reverse_adjustment("adjusted-2", "adjusted-1"));
    said(messages).await;
    said(vec![adjustment("credit", "adjusted-3", "adjusted", "12.50")]).await;

    let requests =
        with_withdrawal.map(|customer| request(&format!("{customer}-request"), customer, Some("40")));
    said(requests.to_vec()).await;
    said(vec![
        decide("approve", "approved-2", "approved-request"),
        decide("reject", "skipped-2", "skipped-request"),
        decide("pay", "paid-2", "paid-request"),
        decide("pay", "paid-for-nothing-2", "paid-for-nothing-request"),
    ])
    .await;
    for worker in &mut workers {
        assert!(worker.terminate().await.success());
    }
}

async fn account_of(database: &mut PgConnection, customer: &str) -> i64 {
    let account = "SELECT id FROM account WHERE customer = $1";
    sqlx::query_scalar(account).bind(customer).fetch_one(database).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_by_somebody_with_every_right_is_named() {
    let world = World::new().await;
    write(&world).await;
    world.assert_sound().await;
    for arguments in [vec!["verify", "--json"], vec!["verify", "acme", "--json"]] {
        let ran = world.saldo(&arguments).await;
        assert_eq!((ran.status, ran.json()["holds"].as_bool()), (0, Some(true)), "{ran:?}");
        assert_eq!(ran.json()["faults"], json!([]));
        assert_eq!(ran.json()["entries"], world.count("SELECT count(*) FROM entry").await);
    }
    let metrics = Scratch::new("metrics");
    let ran = world.saldo(&["verify", "--metrics", metrics.path()]).await;
    assert!(ran.status == 0 && ran.output.starts_with("Holds: "), "{ran:?}");
    let seen = Metrics::read(&metrics.text());
    assert_eq!(seen.value("saldo_verify_faults", &[]), Some(0.0));
    assert!(seen.value("saldo_verify_accounts", &[]) > Some(10.0), "{seen:?}");
    // A part of the ledger says nothing of all of it.
    assert_eq!(world.saldo(&["verify", "acme", "--metrics", metrics.path()]).await.status, 2);

    let mut superuser = world.superuser().await;
    for table in ["entry", "inbox", "withdrawal_transition"] {
        let disable = sqlx::AssertSqlSafe(format!("ALTER TABLE {table} DISABLE TRIGGER ALL"));
        superuser.execute(disable).await.unwrap();
    }
    superuser.execute("DROP INDEX entry_reversed").await.unwrap();
    let mut cases = Vec::new();
    for case in PLAIN.into_iter().chain(SPECIAL) {
        let account = account_of(&mut superuser, case.customer).await;
        for change in case.changes {
            let done = sqlx::query(*change).bind(account).execute(&mut superuser).await.unwrap();
            assert!(done.rows_affected() > 0, "{change}");
        }
        cases.push((case, account));
    }
    let ran = world.saldo(&["verify", "acme", "--json"]).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    assert_named(&ran, &cases);

    // An entry that belongs to no account is no merchant's.
    let account = account_of(&mut superuser, "debited").await;
    sqlx::query("DELETE FROM account WHERE id = $1").bind(account).execute(&mut superuser).await.unwrap();
    let ran = world.saldo(&["verify", "--json"]).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    assert_named(&ran, &cases);
    let owner =
        ran.json()["faults"].as_array().unwrap().iter().find(|fault| fault["check"] == "owner").cloned();
    assert_eq!(owner.unwrap()["entry"], format!("{account}-1"));

    let ran = world.saldo(&["verify", "--metrics", metrics.path()]).await;
    assert_eq!(ran.status, 1);
    let seen = Metrics::read(&metrics.text());
    assert!(seen.value("saldo_verify_faults", &[("kind", "hash")]) > Some(1.0), "{seen:?}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - seen.value("saldo_verify_timestamp_seconds", &[]).unwrap();
    assert!((-5.0..600.0).contains(&age), "{age}");
    assert!(
        ran.output.contains("the balance after it is 25.00; the one before it and its amount make 26.00")
    );
    assert!(ran.output.contains("the account's balance is 38.50; its entries make 37.50"));
    assert!(ran.output.contains("40.00 is held; its open withdrawals make 0.00"), "{}", ran.output);
    assert!(ran.output.contains("requested, cancelled") || ran.output.contains("its state and number"));
    for secret in [tests::message::IBAN, "Schmidt"] {
        assert!(!ran.output.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_entries_are_missed_with_an_anchor() {
    let world = World::new().await;
    let mut bulk = Bulk::new(&world).await;
    let mut places = Vec::new();
    for customer in ["anna", "bert", "cleo"] {
        places.push(bulk.account(customer, "EUR").await);
    }
    let empty = bulk.account("dora", "JPY").await;
    for place in &places {
        for _ in 0..3 {
            bulk.post(*place, EntryKind::Commission, "12.50", "2026-11-22T10:00:00Z", |_| ()).await;
        }
    }
    bulk.finish().await;
    let (early, late) = (Scratch::new("early.anchor"), Scratch::new("late.anchor"));
    let ran = world.saldo(&["verify", "--write-anchor", early.path()]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(early.text().lines().count(), 5, "a header and a line for each account");
    for place in &places {
        bulk.post(*place, EntryKind::CommissionReversal, "-2.50", "2026-11-22T10:00:01Z", |_| ()).await;
    }
    bulk.post(empty, EntryKind::Adjustment, "7", "2026-11-22T10:00:01Z", |_| ()).await;
    bulk.finish().await;
    let ran = world.saldo(&["verify", "acme", "--anchor", early.path(), "--write-anchor", late.path()]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.output.contains("4 anchored"), "{ran:?}");

    // Somebody thinks of everything: the entry, its command, and the account.
    let mut superuser = world.superuser().await;
    superuser.execute("ALTER TABLE entry DISABLE TRIGGER ALL").await.unwrap();
    let (anna, cleo) = (account_of(&mut superuser, "anna").await, account_of(&mut superuser, "cleo").await);
    for change in [
        "DELETE FROM inbox WHERE account_id = $1 AND entry_number = 4",
        "DELETE FROM entry WHERE account_id = $1 AND number = 4",
        "UPDATE account SET entries = 3, balance = 37.50,
                head = (SELECT hash FROM entry WHERE account_id = $1 AND number = 3) WHERE id = $1",
    ] {
        let done = sqlx::query(change).bind(anna).execute(&mut superuser).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{change}");
    }
    for change in [
        "DELETE FROM inbox WHERE account_id = $1",
        "DELETE FROM entry WHERE account_id = $1",
        "DELETE FROM account WHERE id = $1",
    ] {
        sqlx::query(change).bind(cleo).execute(&mut superuser).await.unwrap();
    }
    assert_eq!(world.saldo(&["verify"]).await.status, 0, "the tables alone do not tell");
    let ran = world.saldo(&["verify", "--json", "--anchor", early.path()]).await;
    assert_eq!(found(&ran), [("cleo".to_owned(), Value::Null)], "{ran:?}");
    // A new anchor is not written over what the old one still knows.
    let before = late.text();
    let ran =
        world.saldo(&["verify", "--json", "--anchor", late.path(), "--write-anchor", late.path()]).await;
    assert_eq!(ran.status, 1);
    assert_eq!(
        found(&ran),
        [("anna".to_owned(), json!(format!("{anna}-4"))), ("cleo".to_owned(), Value::Null)],
        "{ran:?}"
    );
    assert_eq!(late.text(), before);
    assert!(!std::path::Path::new(&format!("{}.part", late.path())).exists());

    // Another history: as if each head had been another one.
    let changed = Scratch::new("changed.anchor");
    let bert: Value = late.text().lines().find(|line| line.contains("bert")).unwrap().parse().unwrap();
    let hash = bert["head"].as_str().unwrap();
    changed.write(&late.text().replace(hash, &"0".repeat(64)));
    let ran = world.saldo(&["verify", "--json", "--anchor", changed.path()]).await;
    let entry = format!("{}-4", bert["account"]);
    assert!(found(&ran).contains(&("bert".to_owned(), json!(entry))), "{ran:?}");
}

/// Customer and entry of every fault; all must be of the anchor.
fn found(ran: &Ran) -> Vec<(String, Value)> {
    let report = ran.json();
    let faults = report["faults"].as_array().unwrap();
    assert!(faults.iter().all(|fault| fault["check"] == "anchor"), "{faults:#?}");
    faults
        .iter()
        .map(|fault| (fault["customer"].as_str().unwrap().to_owned(), fault["entry"].clone()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_anchor_is_refused() {
    let world = World::new().await;
    let mut bulk = Bulk::new(&world).await;
    for customer in ["anna", "bert"] {
        bulk.account(customer, "EUR").await;
    }
    bulk.finish().await;
    let anchor = Scratch::new("anchor");
    assert_eq!(world.saldo(&["verify", "--write-anchor", anchor.path()]).await.status, 0);
    let good = anchor.text();
    let lines: Vec<&str> = good.lines().collect();
    let swapped = format!("{}\n{}\n{}\n", lines[0], lines[2], lines[1]);
    for (text, line) in [
        (String::new(), "line 1"),
        ("{}\n".to_owned(), "line 1"),
        (good.replace("\"anchor\":1", "\"anchor\":2"), "line 1: version 2"),
        (good.trim_end().to_owned(), "line 3: too long, or cut off"),
        (good.replace("anna\"", "anna\",\"more\":1"), "line 2: unknown field"),
        (good.replacen("\"entries\":0", "\"entries\":1", 1), "line 2: entries and head"),
        (good.replacen("\"0.00\"", "\"x\"", 1), "line 2: balance"),
        (format!("{}\n{}\n", lines[0], "x".repeat(1_000_000)), "line 2: too long"),
        (swapped, "stands after account"),
    ] {
        anchor.write(&text);
        let ran = world.saldo(&["verify", "--anchor", anchor.path()]).await;
        assert!(ran.status == 1 && ran.messages.contains(line), "{line}: {ran:?}");
        assert_eq!(ran.output, "");
    }
    let ran = world.saldo(&["verify", "--anchor", "/nowhere/anchor"]).await;
    assert!(ran.status == 1 && ran.messages.contains("/nowhere/anchor"), "{ran:?}");
}

/// How many entries the larger ledger has; `SALDO_TEST_ENTRIES` tries more.
fn many() -> usize {
    std::env::var("SALDO_TEST_ENTRIES").map_or(200_000, |entries| entries.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "shows what it measured")]
async fn memory_does_not_grow_with_the_ledger() {
    let few = 20_000;
    let anchor = Scratch::new("anchor");
    let commands: [&[&str]; 3] = [
        &["verify", "--write-anchor", anchor.path()],
        &["export", "acme", "--format", "csv"],
        &["export", "acme", "--format", "hledger", "--since", "2026-11-22T10:00:01Z"],
    ];
    let mut peaks = Vec::new();
    for entries in [few, many()] {
        let world = World::new().await;
        let mut bulk = Bulk::new(&world).await;
        let customers = (0..entries / 20).map(|n| format!("customer-{n}"));
        let places = bulk.accounts(customers, "EUR").await;
        for n in 0..entries {
            // A tenth of all belongs to one account.
            let place = if n % 10 == 0 { places[0] } else { places[n * 7919 % places.len()] };
            let time = format!("2026-11-22T10:{:02}:{:02}Z", n / 60 % 60, n % 60);
            bulk.post(place, EntryKind::Commission, "12.50", &time, |posting| {
                posting.note = Some("Für die Vermittlung der Bestellung im November".parse().unwrap());
            })
            .await;
        }
        bulk.finish().await;
        let mut of_size = Vec::new();
        for command in commands {
            let began = std::time::Instant::now();
            let ran = world.saldo(command).await;
            assert_eq!(ran.status, 0, "{}", ran.messages);
            eprintln!(
                "{entries} entries, {}: {:?}, {} KiB",
                command.join(" "),
                began.elapsed(),
                ran.peak_memory / 1024
            );
            of_size.push(ran.peak_memory);
        }
        peaks.push(of_size);
    }
    for ((few, many), command) in peaks[0].iter().zip(&peaks[1]).zip(commands) {
        let growth = many.saturating_sub(*few);
        assert!(growth < 4 * 1024 * 1024, "{command:?}: {few} bytes, then {many}");
    }
}

//! Operations and balances.

use std::collections::BTreeSet;

use contract::Timestamp;
use ledger::EntryKind;
use ledger::read::{self, Operation, OperationsFrom, Period};
use sqlx::PgConnection;
use tests::World;

use super::{Posted, customer, merchant};

/// All operations of a period, in pages of `size`.
async fn all(database: &mut PgConnection, of: &str, period: &Period, size: i64) -> Vec<Operation> {
    let (mut shown, mut from) = (Vec::new(), Some(OperationsFrom::default()));
    while let Some(after) = from {
        let page =
            read::operations(database, &merchant("acme"), &customer(of), period, &after, size).await.unwrap();
        assert!(page.operations.len() <= usize::try_from(size).unwrap());
        shown.extend(page.operations);
        from = page.next;
    }
    shown
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn amounts(operations: &[Operation]) -> Vec<String> {
    operations.iter().map(|operation| format!("{} {}", operation.amount, operation.currency)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_operations_neither_repeat_nor_hide_what_was_there() {
    let world = World::new().await;
    let mut database = world.superuser().await;
    let mut there = BTreeSet::new();
    for n in 1..=40 {
        let (at, currency) = (format!("2026-11-01T00:{:02}:00Z", n / 2), ["EUR", "USD", "JPY"][n % 3]);
        let amount = n.to_string();
        Posted { currency, amount: &amount, at: &at, ..Posted::default() }.write(&mut database).await;
        there.insert((n, currency));
    }
    let (mut shown, mut from) = (Vec::new(), Some(OperationsFrom::default()));
    let mut operator = world.connect_as("saldo_operator").await;
    let mut new = 1000;
    while let Some(after) = from {
        let (acme, anna, all) = (merchant("acme"), customer("anna"), Period::default());
        let page = read::operations(&mut operator, &acme, &anna, &all, &after, 7).await.unwrap();
        shown.extend(page.operations);
        from = page.next;
        // Meanwhile the world goes on, in a new account too.
        for currency in ["EUR", "JPY", "CHF"] {
            new += 1;
            let amount = new.to_string();
            let at = format!("2026-12-01T00:00:00.{new}Z");
            Posted { currency, amount: &amount, at: &at, ..Posted::default() }.write(&mut database).await;
        }
    }
    let ids: BTreeSet<_> = shown.iter().map(|operation| operation.id).collect();
    assert_eq!(ids.len(), shown.len(), "something was shown twice");
    let old: Vec<&Operation> =
        shown.iter().filter(|operation| operation.recorded_at < time("2026-11-30T00:00:00Z")).collect();
    assert_eq!(old.len(), there.len());
    assert!(old.is_sorted_by(|newer, older| newer.recorded_at >= older.recorded_at));
    let acme = merchant("acme");
    let last = read::last_operation(&mut operator, &acme, &customer("anna")).await.unwrap().unwrap();
    assert_eq!(last.amount.to_string().trim_end_matches(".00"), new.to_string());
    assert!(read::last_operation(&mut operator, &acme, &customer("nobody")).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn periods_side_by_side_show_every_operation_once() {
    let world = World::new().await;
    let mut database = world.superuser().await;
    let days = ["01", "01", "02", "02", "02", "05", "09", "09", "30"];
    for (n, day) in (1..).zip(days) {
        // Several at the very moment a day begins, which belongs to the day.
        let (amount, at) = (n.to_string(), format!("2026-11-{day}T00:00:00Z"));
        Posted { amount: &amount, at: &at, ..Posted::default() }.write(&mut database).await;
        Posted { currency: "USD", amount: &amount, at: &at, ..Posted::default() }.write(&mut database).await;
    }
    let mut operator = world.connect_as("saldo_operator").await;
    let bounds = [
        "2026-11-01T00:00:00Z",
        "2026-11-02T00:00:00Z",
        "2026-11-02T00:00:00.000001Z",
        "2026-11-09T00:00:00Z",
    ];
    let mut bounds: Vec<_> = bounds.map(|bound| Some(time(bound))).to_vec();
    bounds.insert(0, None);
    bounds.push(None);
    let mut shown = Vec::new();
    for bound in bounds.windows(2) {
        let period = Period { since: bound[0], until: bound[1], kinds: Vec::new() };
        let page = all(&mut operator, "anna", &period, 3).await;
        for operation in &page {
            assert!(period.since.is_none_or(|since| since <= operation.recorded_at));
            assert!(period.until.is_none_or(|until| operation.recorded_at < until));
        }
        shown.push(page);
    }
    assert_eq!(shown.iter().map(Vec::len).collect::<Vec<_>>(), [0, 4, 6, 2, 6]);
    let one = Period {
        since: Some(time("2026-11-02T00:00:00Z")),
        until: Some(time("2026-11-05T00:00:00Z")),
        kinds: Vec::new(),
    };
    let of_one = all(&mut operator, "anna", &one, 100).await;
    assert_eq!(amounts(&of_one), ["5.00 EUR", "4.00 EUR", "3.00 EUR", "5.00 USD", "4.00 USD", "3.00 USD"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_found_by_kind_and_name_what_takes_them_back() {
    let world = World::new().await;
    let mut database = world.superuser().await;
    let kinds = [
        ("commission", None),
        ("adjustment", None),
        ("commission", None),
        ("adjustment-reversal", Some(2)),
        ("withdrawal", None),
    ];
    for (kind, reverses) in kinds {
        Posted { kind, reverses, ..Posted::default() }.write(&mut database).await;
    }
    let mut operator = world.connect_as("saldo_operator").await;
    let of = |kinds: &[EntryKind]| Period { kinds: kinds.to_vec(), ..Period::default() };
    let adjustments = of(&[EntryKind::Adjustment, EntryKind::AdjustmentReversal]);
    let shown = all(&mut operator, "anna", &adjustments, 1).await;
    let numbers: Vec<_> = shown.iter().map(|operation| operation.id.number).collect();
    assert_eq!(numbers, [4, 2]);
    assert_eq!(shown[0].reverses, Some(shown[1].id));
    assert_eq!(shown[1].reversed_by, Some(shown[0].id));
    assert_eq!((shown[1].reverses, shown[0].reversed_by), (None, None));
    let commissions = all(&mut operator, "anna", &of(&[EntryKind::Commission]), 2).await;
    assert_eq!(commissions.iter().map(|operation| operation.id.number).collect::<Vec<_>>(), [3, 1]);
    assert!(all(&mut operator, "anna", &of(&[EntryKind::CommissionReversal]), 2).await.is_empty());

    let ran = world.saldo(&["operations", "acme", "anna", "--kind", "withdrawal", "--json"]).await;
    assert_eq!(ran.lines().iter().map(|line| line["kind"].clone()).collect::<Vec<_>>(), ["withdrawal"]);
    let ran = world.saldo(&["operations", "acme", "anna", "--kind", "gift"]).await;
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.messages.contains("adjustment-reversal"), "{}", ran.messages);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_is_known_as_it_was() {
    let world = World::new().await;
    let mut database = world.superuser().await;
    world.register("other", 0).await;
    Posted { merchant: "other", amount: "77", ..Posted::default() }.write(&mut database).await;
    // A number of entries on both sides of a power of two.
    let mut sums = Vec::new();
    let mut sum = 0;
    for n in 1..=65 {
        // Two at a time, so that one moment is that of several.
        let (amount, at) = (format!("0.{n:02}"), format!("2026-11-01T10:{:02}:00Z", n / 2));
        Posted { amount: &amount, at: &at, ..Posted::default() }.write(&mut database).await;
        sum += n;
        sums.push((time(&at), sum));
    }
    Posted { currency: "JPY", amount: "5", at: "2026-11-01T10:30:00Z", ..Posted::default() }
        .write(&mut database)
        .await;
    let (acme, anna) = (merchant("acme"), customer("anna"));
    let mut operator = world.connect_as("saldo_operator").await;
    for (at, _) in sums.clone() {
        for at in [at, at.plus(time::Duration::MICROSECOND)] {
            let balances = read::balances_at(&mut operator, &acme, Some(&anna), at, None, 10).await.unwrap();
            let expected = sums
                .iter()
                .rev()
                .find(|(recorded, _)| *recorded < at)
                .map(|(_, sum)| format!("{}.{:02}", sum / 100, sum % 100));
            let euros = balances.iter().find(|balance| balance.currency.code() == "EUR");
            assert_eq!(euros.map(|balance| balance.balance.to_string()), expected, "{at}");
            assert_eq!(
                balances.len() - usize::from(euros.is_some()),
                usize::from(at > time("2026-11-01T10:30:00Z"))
            );
        }
    }
    let ran = world.saldo(&["balance", "acme", "--at", "2026-11-02", "--json"]).await;
    let lines = ran.lines();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["balance"], &lines[0]["entries"]), (&"21.45".into(), &65.into()));
    let ran = world.saldo(&["balance", "acme", "anna", "--at", "2026-11-01"]).await;
    assert_eq!((ran.status, ran.output.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_has_exact_texts_and_no_formulas() {
    let world = World::new().await;
    let mut database = world.superuser().await;
    Posted { amount: "-12.5", at: "2026-11-02T00:00:00Z", ..Posted::default() }.write(&mut database).await;
    sqlx::query(
        "INSERT INTO entry (account_id, number, occurred_at, recorded_at, amount, balance_after, kind, counterpart,
                            command, order_number, note, actor, hash)
         SELECT account_id, 2, occurred_at, recorded_at + interval '1 s', 1, -11.5, kind, counterpart, command, '-7',
                E'=HYPERLINK(\"x\"), \"so\"\\nand so', 'maria', hash FROM entry",
    )
    .execute(&mut database)
    .await
    .unwrap();
    sqlx::query("UPDATE account SET entries = 2, balance = -11.5").execute(&mut database).await.unwrap();
    let ran = world.saldo(&["operations", "acme", "anna", "--csv"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    let account: i64 = sqlx::query_scalar("SELECT id FROM account").fetch_one(&mut database).await.unwrap();
    assert_eq!(
        ran.output,
        format!(
            "recorded_at,occurred_at,entry,kind,amount,currency,balance_after,order,level,note,actor,user,reference,\
             reverses,reversed_by,source,command\n\
             2026-11-02T00:00:01Z,2026-11-02T00:00:00Z,{account}-2,commission,1.00,EUR,-11.50,'-7,,\
             \"'=HYPERLINK(\"\"x\"\"), \"\"so\"\"\nand so\",maria,,,,,,\n\
             2026-11-02T00:00:00Z,2026-11-02T00:00:00Z,{account}-1,commission,-12.50,EUR,-12.50,,,,,,,,,,\n"
        )
    );
}

//! `saldo export`: an accountant's journal, whatever people have typed.

use std::collections::BTreeMap;
use std::process::Command;

use ledger::EntryKind;
use ledger::read::{self, Check};
use rust_decimal::Decimal;
use tests::{Bulk, Scratch, World};

/// Ids of customers as no sane shop writes them.
const CUSTOMERS: [&str; 14] = [
    "c-17",
    "anna@example.org",
    "Ännchen Müller",
    "two  spaces",
    "two%20%20spaces",
    " leading",
    "a:b",
    "a:b:",
    "(virtual)",
    "[balanced]",
    "* done ; comment",
    "=1+1",
    "@SUM(A1)",
    "12.50 EUR = 0 ✓",
];

/// Notes as no sane person writes them.
const NOTES: [&str; 9] = [
    "Summer campaign",
    "one\n    liabilities:customers:c-17  999 EUR\ntwo",
    "; date:1999-01-01, [1999-01-01] =1998-01-01",
    "payee | note",
    "=cmd|' /C calc'!A0",
    "-2+3",
    "\t@tab",
    "\"quoted\", with comma",
    "include /etc/passwd",
];

/// Entries of every kind in three currencies, over some days, on one of which the database's clock went back.
async fn write(world: &World) {
    let mut bulk = Bulk::new(world).await;
    for (currency, amount) in [("EUR", "1234.50"), ("JPY", "1234"), ("KWD", "1.234")] {
        let places = bulk.accounts(CUSTOMERS.map(str::to_owned), currency).await;
        let back = format!("-{amount}");
        for (n, place) in places.into_iter().enumerate() {
            let note = |posting: &mut ledger::Posting| {
                posting.note = Some(NOTES[n % NOTES.len()].parse().unwrap());
                posting.order = Some(CUSTOMERS[n].parse().unwrap());
            };
            bulk.post(place, EntryKind::Commission, amount, "2026-10-31T23:59:59.5Z", note).await;
            bulk.post(place, EntryKind::CommissionReversal, &back, "2026-11-01T00:00:00Z", note).await;
            // The day before what it follows.
            bulk.post(place, EntryKind::Adjustment, amount, "2026-10-31T23:59:58Z", |posting| {
                posting.actor = Some("=maria".parse().unwrap());
                posting.user = Some("+admin".parse().unwrap());
                posting.reference = Some("@reference".parse().unwrap());
            })
            .await;
            if n % 3 > 0 {
                bulk.post(place, EntryKind::AdjustmentReversal, &back, "2026-11-15T10:00:00Z", |posting| {
                    posting.reverses = Some(3);
                })
                .await;
            }
            if n % 3 == 2 {
                bulk.post(place, EntryKind::Withdrawal, &back, "2026-12-01T00:00:00Z", note).await;
            }
        }
    }
    bulk.finish().await;
    // The payouts alone, without the withdrawals that they pay.
    let verification = read::verify(&mut world.superuser().await, None, None, &mut ()).await.unwrap();
    assert!(verification.faults.iter().all(|fault| fault.check == Check::Payment), "{verification:#?}");
}

/// Runs hledger on a journal; it must be content.
fn hledger(journal: &Scratch, arguments: &[&str]) -> String {
    let ran = Command::new("hledger")
        .args(["-f", journal.path()])
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .output();
    assert!(ran.is_ok(), "hledger is missing; deploy/local/install tests installs it: {ran:?}");
    let ran = ran.unwrap();
    let messages = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{arguments:?}: {messages}\n{}", journal.text());
    String::from_utf8(ran.stdout).unwrap()
}

/// An id from its part of an account's name.
fn unescaped(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        if *byte == b'%' {
            let (digits, after) = after.split_at(2);
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
            rest = after;
        } else {
            bytes.push(*byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// What each customer is owed in each currency, says hledger.
fn owed(journal: &Scratch) -> BTreeMap<(String, String), Decimal> {
    let table = hledger(
        journal,
        &["balance", "liabilities", "--invert", "--no-total", "-O", "csv", "--layout", "tidy"],
    );
    let mut rows = csv::Reader::from_reader(table.as_bytes());
    assert_eq!(
        rows.headers().unwrap(),
        vec!["account", "period", "start_date", "end_date", "commodity", "value"]
    );
    let mut owed = BTreeMap::new();
    for row in rows.records() {
        let row = row.unwrap();
        let customer = unescaped(row[0].strip_prefix("liabilities:customers:").unwrap());
        let amount: Decimal = row[5].parse().unwrap();
        if !amount.is_zero() {
            owed.insert((customer, row[4].to_owned()), amount);
        }
    }
    owed
}

/// What each customer was owed after so many of its entries, says the ledger.
async fn balances(world: &World, entries: i64) -> BTreeMap<(String, String), Decimal> {
    let rows: Vec<(String, String, Decimal)> = sqlx::query_as(
        "SELECT a.customer, a.currency, e.balance_after FROM account a JOIN entry e ON e.account_id = a.id
         WHERE e.number = least(a.entries, $1) AND e.balance_after <> 0",
    )
    .bind(entries)
    .fetch_all(&mut world.superuser().await)
    .await
    .unwrap();
    rows.into_iter().map(|(customer, currency, balance)| ((customer, currency), balance)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hledger_accepts_a_journal_of_hostile_texts_and_makes_the_same_of_it() {
    let world = World::new().await;
    write(&world).await;
    let journal = Scratch::new("journal");
    let export = async |more: &[&str]| {
        let ran = world.saldo(&[&["export", "acme", "--format", "hledger"], more].concat()).await;
        assert_eq!((ran.status, ran.messages.as_str()), (0, ""));
        journal.write(&ran.output);
        for check in [&["check", "--strict"][..], &["check", "ordereddates"]] {
            hledger(&journal, check);
        }
        ran.output
    };
    let all = export(&[]).await;
    let entries = world.count("SELECT count(*) FROM entry").await;
    let printed = hledger(&journal, &["print", "-O", "json"]).matches("\"tdate\"").count();
    assert_eq!(i64::try_from(printed).unwrap(), entries);
    assert_eq!(owed(&journal), balances(&world, i64::MAX).await);
    let total = hledger(&journal, &["balance", "--no-elide", "-O", "csv"]);
    assert!(total.trim_end().ends_with("\"total\",\"0\""), "{total}");
    assert!(!all.contains("1999-01-01\n") && !all.contains("\ninclude"));

    // A period begins with what there was: here, after the first entry of each account.
    let november = export(&["--since", "2026-11-01", "--until", "2026-12-01"]).await;
    assert_eq!(november.matches(" opening balance").count(), CUSTOMERS.len() * 3);
    assert_eq!(november.matches(") commission,").count(), 0);
    assert_eq!(november.matches(") withdrawal").count(), 0);
    assert_eq!(owed(&journal), balances(&world, 4).await);

    export(&["--until", "2026-11-01T00:00:00Z"]).await;
    assert_eq!(owed(&journal), balances(&world, 1).await);
    let nothing = export(&["--since", "2030-01-01", "--until", "2030-01-02"]).await;
    assert!(nothing.contains("commodity 1000. JPY\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_has_every_text_and_no_formula() {
    let world = World::new().await;
    write(&world).await;
    let ran = world.saldo(&["export", "acme", "--format", "csv"]).await;
    assert_eq!((ran.status, ran.messages.as_str()), (0, ""));
    let mut rows = csv::Reader::from_reader(ran.output.as_bytes());
    let columns: BTreeMap<String, usize> =
        rows.headers().unwrap().iter().zip(0..).map(|(name, at)| (name.to_owned(), at)).collect();
    let amounts = ["debit", "credit", "balance_after"];
    let mut sums: BTreeMap<String, (Decimal, Decimal)> = BTreeMap::new();
    let mut notes = Vec::new();
    let mut lines = 0;
    for row in rows.records() {
        let row = row.unwrap();
        let cell = |name: &str| &row[columns[name]];
        let amount = |name: &str| cell(name).parse::<Decimal>().unwrap_or_default();
        for (name, at) in &columns {
            let first = row[*at].chars().next();
            let formula = first.is_some_and(|first| "=+-@\t\r\n".contains(first));
            assert!(!formula || amounts.contains(&name.as_str()), "{name}: {:?}", &row[*at]);
        }
        let (debit, credit) = sums.entry(cell("currency").to_owned()).or_default();
        *debit += amount("debit");
        *credit += amount("credit");
        assert!(amount("debit").is_zero() != amount("credit").is_zero());
        assert_eq!(cell("account").starts_with("customer:"), lines % 2 == 0);
        assert_eq!(cell("balance_after").is_empty(), lines % 2 == 1);
        assert_eq!(cell("command_source"), tests::message::SOURCE);
        notes.push(cell("note").trim_start_matches('\'').to_owned());
        lines += 1;
    }
    assert_eq!(lines, 2 * world.count("SELECT count(*) FROM entry").await);
    assert_eq!(sums.len(), 3);
    assert!(sums.values().all(|(debit, credit)| debit == credit), "{sums:?}");
    for note in NOTES {
        assert!(notes.iter().any(|written| written == note), "{note:?}");
    }

    let ran = world.saldo(&["export", "nobody", "--format", "csv"]).await;
    assert_eq!((ran.status, ran.output.as_str()), (1, ""), "{ran:?}");
    assert!(ran.messages.contains("nobody"));
}

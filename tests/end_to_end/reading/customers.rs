//! Customers, and how they stand to a withdrawal.

use std::collections::BTreeSet;

use ledger::read::{self, CustomerSort, CustomersWanted};
use serde_json::json;
use sqlx::PgConnection;
use tests::World;

use super::{Posted, customer, is, merchant, messages, prefers};

/// The ids of all customers that are wanted, in pages of `size`.
async fn ids(database: &mut PgConnection, wanted: &CustomersWanted, size: i64) -> Vec<String> {
    let (mut shown, mut from) = (Vec::new(), None);
    loop {
        let page = read::customers(database, &merchant("acme"), wanted, from.as_ref(), size).await.unwrap();
        assert!(page.customers.len() <= usize::try_from(size).unwrap());
        shown.extend(page.customers.iter().map(|customer| customer.customer.to_string()));
        from = page.next;
        if from.is_none() {
            return shown;
        }
    }
}

/// A merchant with customers of all sorts, and another with customers of the same names.
async fn shop() -> (World, PgConnection) {
    let world = World::new().await;
    let mut database = world.superuser().await;
    world.register("other", 0).await;
    for (who, kind, name, locale) in [
        ("c-1", "affiliate", Some("Rossi, Anna"), Some("it")),
        ("c-2", "customer", Some("Bianchi, Ugo"), None),
        ("c-3", "reseller", None, None),
        ("c-4", "affiliate", Some("Rossi, Anna"), None),
        ("c-5", "affiliate", None, Some("de")),
        ("x_5%", "customer", Some("Zoë ROSSI"), None),
    ] {
        is(&mut database, who, kind, name, locale).await;
    }
    for (customer, currency, amount, at) in [
        ("c-1", "EUR", "10.00", "2026-11-03T00:00:00Z"),
        ("c-1", "USD", "99.00", "2026-11-01T00:00:00Z"),
        ("c-2", "EUR", "-5.50", "2026-11-09T00:00:00Z"),
        ("c-3", "EUR", "10.00", "2026-11-03T00:00:00Z"),
        ("c-4", "JPY", "400", "2026-11-05T00:00:00Z"),
        ("c-5", "EUR", "250.00", "2026-11-02T00:00:00Z"),
    ] {
        Posted { customer, currency, amount, at, ..Posted::default() }.write(&mut database).await;
        Posted { merchant: "other", customer, currency, amount, at, ..Posted::default() }
            .write(&mut database)
            .await;
    }
    let operator = world.connect_as("saldo_operator").await;
    (world, operator)
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_are_sorted_by_what_is_asked_for() {
    let (world, mut operator) = shop().await;
    let euro = "EUR".parse().unwrap();
    for (sort, expected) in [
        (CustomerSort::Id, ["c-1", "c-2", "c-3", "c-4", "c-5", "x_5%"].as_slice()),
        (CustomerSort::Name, &["c-2", "c-1", "c-4", "x_5%", "c-3", "c-5"]),
        (CustomerSort::Balance(euro), &["c-5", "c-1", "c-3", "c-2"]),
        (CustomerSort::LastOperation, &["c-2", "c-4", "c-1", "c-3", "c-5", "x_5%"]),
    ] {
        let wanted = CustomersWanted { sort, ..CustomersWanted::default() };
        for size in [1, 2, 3, 4, 5, 6, 100] {
            assert_eq!(ids(&mut operator, &wanted, size).await, expected, "{sort:?}, pages of {size}");
        }
    }
    let in_euro = CustomersWanted { currency: Some(euro), ..CustomersWanted::default() };
    assert_eq!(ids(&mut operator, &in_euro, 2).await, ["c-1", "c-2", "c-3", "c-5"]);
    let page = read::customers(&mut operator, &merchant("acme"), &in_euro, None, 1).await.unwrap();
    let first = &page.customers[0];
    assert_eq!(first.accounts.iter().map(|account| account.currency.code()).collect::<Vec<_>>(), ["EUR"]);
    let anna = read::customer(&mut operator, &merchant("acme"), &customer("c-1")).await.unwrap().unwrap();
    assert_eq!(
        anna.accounts.iter().map(|account| account.balance.to_string()).collect::<Vec<_>>(),
        ["10.00", "99.00"]
    );
    assert_eq!(anna.last_operation.unwrap().to_string(), "2026-11-03T00:00:00Z");
    assert!(read::customer(&mut operator, &merchant("acme"), &customer("c-9")).await.unwrap().is_none());

    let ran = world
        .saldo(&["customers", "acme", "--sort", "balance", "--currency", "EUR", "--limit", "2", "--json"])
        .await;
    assert_eq!(ran.lines().iter().map(|line| line["customer"].clone()).collect::<Vec<_>>(), ["c-5", "c-1"]);
    let ran = world.saldo(&["customers", "acme"]).await;
    assert!(ran.output.contains("Zoë ROSSI"), "{ran:?}");
    assert_eq!(world.saldo(&["customers", "acme", "--sort", "balance"]).await.status, 2);
    let ran = world.saldo(&["totals", "acme", "--json"]).await;
    assert_eq!(
        ran.lines()[0],
        json!({ "currency": "EUR", "accounts": 4, "owed": "270.00", "overdrawn": "-5.50", "balance": "264.50",
                "held": "0.00", "pending": "0.00" })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_are_found_by_a_part_of_their_id_or_name() {
    let (_world, mut operator) = shop().await;
    for (search, expected) in [
        ("rossi", ["c-1", "c-4", "x_5%"].as_slice()),
        ("UGO", &["c-2"]),
        ("-5", &["c-5"]),
        ("_5%", &["x_5%"]),
        ("%", &["x_5%"]),
        ("rossi, u", &[]),
        ("'", &[]),
    ] {
        for sort in [CustomerSort::Id, CustomerSort::Name, CustomerSort::LastOperation] {
            let wanted = CustomersWanted { search: Some(search.to_owned()), sort, currency: None };
            let mut found = ids(&mut operator, &wanted, 2).await;
            found.sort();
            assert_eq!(found, expected, "{search} {sort:?}");
        }
    }
    let wanted = CustomersWanted {
        search: Some("ROSSI".to_owned()),
        sort: CustomerSort::Balance("EUR".parse().unwrap()),
        currency: None,
    };
    assert_eq!(ids(&mut operator, &wanted, 2).await, ["c-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_customers_neither_repeat_nor_hide_while_others_come() {
    let (world, mut operator) = shop().await;
    let mut database = world.superuser().await;
    for sort in [CustomerSort::Id, CustomerSort::Name] {
        let wanted = CustomersWanted { sort, ..CustomersWanted::default() };
        let there: BTreeSet<String> = ids(&mut operator, &wanted, 100).await.into_iter().collect();
        let (mut shown, mut from) = (Vec::new(), None);
        for n in 0.. {
            let page =
                read::customers(&mut operator, &merchant("acme"), &wanted, from.as_ref(), 2).await.unwrap();
            shown.extend(page.customers.iter().map(|customer| customer.customer.to_string()));
            from = page.next;
            if from.is_none() {
                break;
            }
            let new = format!("{}-{n}-{sort:?}", ["a", "c-2", "z"][n % 3]);
            is(&mut database, &new, "customer", [None, Some("Aa"), Some("Zz")][n % 3], None).await;
        }
        let once: BTreeSet<String> = shown.iter().cloned().collect();
        assert_eq!(once.len(), shown.len(), "{sort:?}: somebody was shown twice");
        assert!(once.is_superset(&there), "{sort:?}: somebody was hidden");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_merchant_is_shown() {
    let (world, mut operator) = shop().await;
    let mut database = world.superuser().await;
    world.register("empty", 0).await;
    let (empty, other, one) = (merchant("empty"), merchant("other"), customer("c-1"));
    Posted { merchant: "other", customer: "only-other", ..Posted::default() }.write(&mut database).await;
    let everybody = CustomersWanted::default();
    assert!(read::customers(&mut operator, &empty, &everybody, None, 10).await.unwrap().customers.is_empty());
    assert!(read::balances(&mut operator, &empty, None, 10).await.unwrap().is_empty());
    assert!(read::totals(&mut operator, &empty).await.unwrap().is_empty());
    assert!(read::standing(&mut operator, &empty, &one).await.unwrap().is_none());
    assert!(
        read::balances_of(&mut operator, &merchant("acme"), &customer("only-other"))
            .await
            .unwrap()
            .is_empty()
    );
    let acme = read::customer(&mut operator, &merchant("acme"), &customer("only-other")).await.unwrap();
    assert!(acme.is_none());
    let later = "2027-01-01T00:00:00Z".parse().unwrap();
    assert!(read::balances_at(&mut operator, &empty, None, later, None, 10).await.unwrap().is_empty());
    let of_other = read::customer(&mut operator, &other, &one).await.unwrap().unwrap();
    assert_eq!(of_other.name, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_affiliate_is_told_in_its_language_how_it_stands() {
    let world = World::new().await;
    let mut database = world.superuser().await;
    prefers(&mut database, "acme", &messages()).await;
    let mut operator = world.connect_as("saldo_operator").await;
    for (currency, amount, locale, expected) in [
        ("EUR", "1049.99", Some("it"), "Mancano 0,01 EUR a 1050,00 EUR: 1049,99 EUR"),
        ("EUR", "1049.99", None, "Mancano 0,01 EUR a 1050,00 EUR: 1049,99 EUR"),
        ("EUR", "1050.00", Some("it"), "Hai raggiunto 1050,00 EUR: 1050,00 EUR"),
        ("EUR", "1050.01", Some("pt-BR"), "Você tem 1.050,01 EUR de 1.050,00 EUR"),
        ("EUR", "-3.1", Some("pt-BR"), "Faltam 1.053,10 EUR para 1.050,00 EUR"),
        ("EUR", "0.5", Some("de-AT"), "1 049,50 EUR fehlen bis 1 050,00 EUR"),
        ("EUR", "0.5", Some("en"), "1,049.50 EUR more to 1,050.00 EUR"),
        ("EUR", "0.5", Some("ar-EG"), "١٬٠٤٩٫٥٠ EUR / ١٬٠٥٠٫٠٠ EUR"),
        ("EUR", "0.5", Some("fr"), "Mancano 1049,50 EUR a 1050,00 EUR: 0,50 EUR"),
        ("JPY", "4999", Some("de"), "1 JPY fehlen bis 5.000 JPY"),
        ("JPY", "5000", Some("de"), "5.000 JPY erreicht: 5.000 JPY"),
        ("KWD", "10.004", Some("de"), "0,001 KWD fehlen bis 10,005 KWD"),
        ("KWD", "10.005", Some("de"), "10,005 KWD erreicht: 10,005 KWD"),
    ] {
        let who = format!("{amount} {currency} {locale:?}");
        is(&mut database, &who, "affiliate", None, locale).await;
        Posted { customer: &who, currency, amount, ..Posted::default() }.write(&mut database).await;
        let all = read::standing(&mut operator, &merchant("acme"), &customer(&who)).await.unwrap().unwrap();
        // Those with a minimum are told even without an account.
        assert_eq!(
            all.iter().map(|standing| standing.currency.code()).collect::<Vec<_>>(),
            ["EUR", "JPY", "KWD"]
        );
        let standing = all.iter().find(|standing| standing.currency.code() == currency).unwrap();
        let message = standing.message.as_ref().unwrap().replace('\u{a0}', " ");
        assert_eq!(message, expected, "{who}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_not_available_and_who_cannot_withdraw_is_told_nothing() {
    let world = World::new().await;
    let mut database = world.superuser().await;
    let mut operator = world.connect_as("saldo_operator").await;
    prefers(&mut database, "acme", &messages()).await;
    is(&mut database, "anna", "affiliate", None, Some("it")).await;
    Posted { amount: "1050.00", ..Posted::default() }.write(&mut database).await;
    let of_anna = async |operator: &mut PgConnection| {
        let all = read::standing(operator, &merchant("acme"), &customer("anna")).await.unwrap().unwrap();
        all.into_iter().next().unwrap()
    };
    assert!(of_anna(&mut operator).await.reached);
    sqlx::query("UPDATE account SET held = 0.01").execute(&mut database).await.unwrap();
    let standing = of_anna(&mut operator).await;
    assert_eq!((standing.reached, standing.available.to_string().as_str()), (false, "1049.99"));
    assert!(standing.message.is_some());

    let ran = world.saldo(&["balance", "acme", "anna"]).await;
    let last = ran.output.lines().last().unwrap().replace('\u{a0}', " ");
    assert_eq!(last, "EUR: Mancano 0,01 EUR a 1050,00 EUR: 1049,99 EUR");
    let line = world.saldo(&["balance", "acme", "anna", "--json"]).await.lines().remove(0);
    assert_eq!((&line["available"], &line["standing"]["reached"]), (&json!("1049.99"), &json!(false)));
    assert_eq!(line["standing"]["minimum"], "1050.00");

    is(&mut database, "anna", "customer", None, Some("it")).await;
    let standing = of_anna(&mut operator).await;
    assert_eq!((standing.affiliate, standing.message), (false, None));
    is(&mut database, "anna", "affiliate", None, Some("it")).await;
    prefers(&mut database, "acme", &json!({})).await;
    let standing = of_anna(&mut operator).await;
    assert_eq!((standing.enabled, standing.reached, standing.message), (false, true, None));
}

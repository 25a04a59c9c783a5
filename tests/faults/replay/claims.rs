use serde_json::json;
use tests::worker_process::PAYOUT_KEYS;

use super::*;
use crate::journal::Kind;
use crate::made_up::{NOON, SECOND, command, line, row};

const EARLY: &str = "2026-01-01T10:00:00Z";
const LATE: &str = "2026-01-01T11:00:00Z";

/// What comes of these rows.
fn replayed(lines: &[Line], rows: &[Row]) -> Replayed {
    let commanded = Commanded::of(lines, PAYOUT_KEYS);
    let mut replay = Replay::new(&commanded, lines, Duration::from_mins(1), Vec::new());
    for row in rows {
        replay.row(row);
    }
    replay.end().0
}

fn fine(lines: &[Line], rows: &[Row]) -> Replayed {
    let replayed = replayed(lines, rows);
    assert_eq!(replayed.problems, Vec::<String>::new());
    replayed
}

fn wrong(lines: &[Line], rows: &[Row], problem: &str) {
    let problems = replayed(lines, rows).problems;
    assert!(problems.iter().any(|told| told.contains(problem)), "{problem}: {problems:?}");
}

fn shop(id: &str, enabled: bool, time: &str) -> Line {
    let data = json!({ "name": "S", "actor": "maria", "withdrawals": { "enabled": enabled } });
    line(Kind::New, &command("preferences.put", id, time, data))
}

fn registered(line: &Line, after: i64, enabled: bool) -> Row {
    let told = json!({ "hold_days": 0, "actor": "maria", "withdrawals": { "enabled": enabled } });
    row(line, after, &[("preferences.updated", told)])
}

fn anna(id: &str, kind: &str, time: &str) -> Line {
    line(Kind::New, &command("customer.put", id, time, json!({ "customer": "anna", "kind": kind })))
}

fn known(line: &Line, after: i64, kind: &str) -> Row {
    row(line, after, &[("customer.updated", json!({ "customer": "anna", "kind": kind }))])
}

fn request() -> Line {
    let data = json!({ "customer": "anna", "amount": "5", "currency": "EUR" });
    line(Kind::New, &command("withdrawal.request", "w", EARLY, data))
}

fn refused(line: &Line, after: i64, reason: &str) -> Row {
    let data = json!({ "command": "withdrawal.request", "reason": reason, "customer": "anna" });
    row(line, after, &[("withdrawal.refused", data)])
}

fn credit() -> Line {
    let data = json!({ "customer": "anna", "amount": "10", "currency": "EUR" });
    line(Kind::New, &command("commission.credit", "c", EARLY, data))
}

fn credited(line: &Line, after: i64) -> Row {
    let account = json!({
        "balance": "10.00", "held": "0.00", "pending": "0.00", "available": "10.00", "currency": "EUR", "version": 1,
    });
    let entry = json!({ "id": "7-1", "kind": "commission", "amount": "10.00", "balance_after": "10.00" });
    let data = json!({ "customer": "anna", "amount": "10.00", "currency": "EUR", "account": account, "entry": entry });
    row(line, after, &[("commission.credited", data)])
}

/// Enabled, and then no more; anna is an affiliate who has no way to be paid.
fn two_shops() -> (Vec<Line>, Vec<Row>) {
    let lines =
        vec![shop("p1", true, EARLY), anna("a", "affiliate", EARLY), shop("p2", false, LATE), request()];
    let rows = vec![
        registered(&lines[0], SECOND, true),
        known(&lines[1], 2 * SECOND, "affiliate"),
        registered(&lines[2], 10 * SECOND, false),
    ];
    (lines, rows)
}

#[test]
fn what_the_model_does_too_is_fine() {
    let lines = [shop("p", true, EARLY), credit()];
    let replayed = fine(&lines, &[registered(&lines[0], SECOND, true), credited(&lines[1], 2 * SECOND)]);
    assert_eq!((replayed.decided, replayed.done, replayed.saw_older), (2, 2, 0));
}

#[test]
fn another_outcome_is_told() {
    let lines = [shop("p", true, EARLY), credit()];
    let mut rows = [registered(&lines[0], SECOND, true), credited(&lines[1], 2 * SECOND)];
    rows[1].outcome = rows[1].outcome.as_ref().map(|outcome| outcome.replace("10.00", "10.01"));
    wrong(&lines, &rows, "decided otherwise");
    rows[1].outcome = None;
    wrong(&lines, &rows, "still parked");
    rows[1] = credited(&lines[1], 2 * SECOND);
    rows[1].content[0] ^= 1;
    wrong(&lines, &rows, "nobody sent");
}

#[test]
fn a_put_that_was_committed_meanwhile_need_not_have_been_seen() {
    let (lines, mut rows) = two_shops();
    let mut unseeing = refused(&lines[3], 9 * SECOND, "no-payout-method");
    unseeing.committed_at = NOON + 11 * SECOND;
    rows.push(unseeing.clone());
    assert_eq!(fine(&lines, &rows).saw_older, 1);
    rows[3] = refused(&lines[3], 11 * SECOND, "withdrawals-disabled");
    assert_eq!(fine(&lines, &rows).saw_older, 0);
    rows[3] = refused(&lines[3], 12 * SECOND, "no-payout-method");
    wrong(&lines, &rows, "decided otherwise");
    // What was so neither before nor after is wrong at any time.
    unseeing.outcome = unseeing.outcome.map(|outcome| outcome.replace("no-payout-method", "below-minimum"));
    rows[3] = unseeing;
    wrong(&lines, &rows, "decided otherwise");
}

#[test]
fn what_is_named_need_not_have_been_seen_if_it_came_meanwhile() {
    let data = json!({ "commission": { "source": "/shop", "id": "c" } });
    let reverse = line(Kind::New, &command("commission.reverse", "r", EARLY, data));
    let lines = [shop("p", true, EARLY), credit(), reverse];
    let unknown = |after: i64| {
        let data = json!({ "command": "commission.reverse", "reason": "unknown-commission" });
        row(&lines[2], after, &[("commission.refused", data)])
    };
    let before = |credit: i64| [registered(&lines[0], SECOND, true), credited(&lines[1], credit)];
    let mut late = unknown(70 * SECOND);
    late.committed_at += SECOND;
    let [shop, credit] = before(70 * SECOND + SECOND / 2);
    assert_eq!(fine(&lines, &[shop, credit, late.clone()]).saw_older, 1);
    let [shop, credit] = before(60 * SECOND);
    wrong(&lines, &[shop, credit, late], "decided otherwise");
    let [shop, _] = before(0);
    fine(&lines, &[shop.clone(), unknown(61 * SECOND)]);
    wrong(&lines, &[shop, unknown(59 * SECOND)], "should wait");
}

#[test]
fn copies_of_a_put_that_do_not_come_to_the_same_are_a_problem() {
    let copy = line(
        Kind::Copy,
        &command(
            "customer.put",
            "a",
            "2026-01-01T12:00:00Z",
            json!({ "customer": "anna", "kind": "affiliate" }),
        ),
    );
    let lines = [shop("p", true, EARLY), anna("a", "affiliate", EARLY)];
    let rows = [registered(&lines[0], SECOND, true), known(&lines[1], 2 * SECOND, "affiliate")];
    fine(&lines, &rows);
    let same = Line { kind: Kind::Copy, ..lines[1].clone() };
    fine(&[&lines[..], &[same]].concat(), &rows);
    wrong(&[&lines[..], &[copy]].concat(), &rows, "nobody knows which");
}

#[test]
fn versions_grow_along_the_order_of_commits() {
    let lines = [shop("p", true, EARLY), credit()];
    let mut rows = [registered(&lines[0], SECOND, true), credited(&lines[1], 2 * SECOND)];
    (rows[0].account_id, rows[0].version) = (Some(7), Some(2));
    (rows[1].account_id, rows[1].version) = (Some(7), Some(1));
    wrong(&lines, &rows, "after version 2");
}

#[test]
fn an_account_that_came_meanwhile_need_not_have_been_seen() {
    let lines = [shop("p", true, EARLY), credit(), request(), anna("a", "affiliate", EARLY)];
    let method = json!({ "customer": "anna", "other": { "text": "cash" } });
    let method = line(Kind::New, &command("payout-method.put", "m", EARLY, method));
    let lines = [&lines[..], &[method]].concat();
    let told = json!({ "customer": "anna", "version": 1, "kind": "other" });
    let mut paid = row(&lines[4], 3 * SECOND, &[("payout-method.updated", told)]);
    let vault: ledger::vault::Vault = PAYOUT_KEYS.parse().unwrap();
    paid.content = vault.fingerprint(contract::ContentHash(paid.content.try_into().unwrap())).0.to_vec();
    let rows = |asked: i64| {
        let mut asks = refused(&lines[2], asked, "insufficient-funds");
        asks.committed_at = NOON + 30 * 60 * SECOND;
        [
            registered(&lines[0], SECOND, true),
            known(&lines[3], 2 * SECOND, "affiliate"),
            paid.clone(),
            credited(&lines[1], 10 * SECOND),
            asks,
        ]
    };
    assert_eq!(fine(&lines, &rows(40 * SECOND)).saw_older, 1);
    wrong(&lines, &rows(75 * SECOND), "decided otherwise");
}

#[test]
fn a_hold_period_ends_when_it_should_and_the_commission_matures_then() {
    let data = json!({
        "customer": "anna", "amount": "10", "currency": "EUR", "available_at": "2026-11-18T11:06:50Z",
    });
    let lines = [shop("p", true, EARLY), line(Kind::New, &command("commission.credit", "c", EARLY, data))];
    let account = |balance: &str, pending: &str, version: i64| {
        json!({
            "balance": balance, "held": "0.00", "pending": pending, "available": balance, "currency": "EUR",
            "version": version,
        })
    };
    let held = |available_at: &str| {
        let account = account("0.00", "10.00", 1);
        let told = json!({
            "customer": "anna", "amount": "10.00", "currency": "EUR", "account": account, "available_at": available_at,
        });
        row(&lines[1], 2 * SECOND, &[("commission.held", told)])
    };
    let matured = |after: i64| {
        let entry = json!({ "id": "7-1", "kind": "commission", "amount": "10.00", "balance_after": "10.00" });
        let account = account("10.00", "0.00", 2);
        let told = json!({ "customer": "anna", "amount": "10.00", "currency": "EUR", "account": account, "entry": entry });
        let mut row = row(&lines[1], after, &[("commission.matured", told)]);
        (row.source, row.id) = (crate::inbox::MATURITY.to_owned(), row.hash.clone());
        row
    };
    let shop = registered(&lines[0], SECOND, true);
    let right = held("2026-11-18T11:06:50Z");
    assert_eq!(fine(&lines, &[shop.clone(), right.clone(), matured(10 * SECOND)]).matured, 1);
    wrong(&lines, &[shop.clone(), held("2026-11-18T11:06:51Z")], "available at another time");
    wrong(&lines, &[shop.clone(), right.clone(), matured(9 * SECOND)], "decided otherwise");
    wrong(
        &lines,
        &[shop.clone(), right.clone(), matured(10 * SECOND), matured(11 * SECOND)],
        "decided otherwise",
    );
    let mut other = matured(10 * SECOND);
    other.id = "00".repeat(16);
    wrong(&lines, &[shop, right, other], "another commission");
}

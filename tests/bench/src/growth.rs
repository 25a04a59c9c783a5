//! A ledger that has been in use for years: ten million entries over a million accounts, and the inbox of the commands
//! that made them, loaded by COPY with every index in place, so that these look as inserts leave them.
//!
//! The rows are as workers write them, outcomes of the usual length included, but for the hashes: nobody follows the
//! chain here.

use std::fmt::Write as _;

use contract::{CommandKey, MerchantId};
use sqlx::Executor as _;
use tests::World;
use tests::message::MERCHANT;

use crate::figures::Size;
use crate::messages::{Ids, customer_id, id};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// Commands of a batch.
const BATCH: u64 = 1000;

/// Rows that are rendered before they are sent.
const PART: u64 = 20_000;

/// Of the ids: both loaders, one for each table, make the same.
const SEED: u64 = 77;

/// Loads so many entries, spread evenly over accounts that exist. `outcome_bytes` is how long an outcome is.
pub(crate) async fn grow(world: &World, entries: u64, accounts: u64, outcome_bytes: usize) {
    let (entry, inbox) = (
        tokio::spawn(load(world.clone(), ENTRY, entries, move |n, key, text| entry(n, accounts, key, text))),
        tokio::spawn(load(world.clone(), INBOX, entries, move |n, key, text| {
            inbox(n, accounts, key, outcome_bytes, text);
        })),
    );
    entry.await.unwrap();
    inbox.await.unwrap();
    let mut database = world.superuser().await;
    let each = i64::try_from(entries / accounts).unwrap();
    let sql =
        "UPDATE account SET balance = 12.5 * $1, version = $1, entries = $1, head = sha256(customer::bytea)
         WHERE merchant = $2";
    sqlx::query(sql).bind(each).bind(MERCHANT).execute(&mut database).await.unwrap();
    for statement in [
        "INSERT INTO batch (id, worker, published_at) OVERRIDING SYSTEM VALUE
         SELECT n, 'commissions', now() FROM generate_series(1, (SELECT max(batch_id) FROM inbox)) n",
        "SELECT setval(pg_get_serial_sequence('batch', 'id'), (SELECT max(batch_id) FROM inbox))",
        // As accounts lie after updates that found room on their pages.
        "VACUUM (FULL) account",
        "VACUUM (ANALYZE)",
    ] {
        database.execute(statement).await.unwrap();
    }
}

/// What the tables take.
pub(crate) async fn size(world: &World) -> Size {
    let mut database = world.superuser().await;
    let mut sizes = Vec::new();
    for table in ["entry", "inbox", "account"] {
        let row: (i64, i64, i64) = sqlx::query_as(
            "SELECT reltuples::bigint, pg_total_relation_size(oid), pg_indexes_size(oid)
             FROM pg_class WHERE oid = $1::regclass",
        )
        .bind(table)
        .fetch_one(&mut database)
        .await
        .unwrap();
        sizes.push([row.0, row.1, row.2].map(|number| u64::try_from(number).unwrap()));
    }
    let [entry, inbox, account] = [sizes[0], sizes[1], sizes[2]];
    Size {
        entries: entry[0],
        accounts: account[0],
        entry: entry[1],
        entry_indexes: entry[2],
        inbox: inbox[1],
        inbox_indexes: inbox[2],
        account: account[1],
        account_indexes: account[2],
    }
}

const ENTRY: &str =
    "COPY entry (account_id, number, occurred_at, recorded_at, amount, balance_after, kind, counterpart,
                                 command, order_number, level, note, hash) FROM STDIN";

const INBOX: &str =
    "COPY inbox (key, batch_id, account_id, version, entry_number, position, merchant, source, id, type,
                                 content, outcome) FROM STDIN";

/// One after the other, the key that each is under along with it.
async fn load(
    world: World,
    statement: &'static str,
    rows: u64,
    row: impl Fn(u64, &CommandKey, &mut String) + Send,
) {
    let mut database = world.superuser().await;
    database.execute("SET synchronous_commit = off").await.unwrap();
    let mut random = StdRng::seed_from_u64(SEED);
    let merchant: MerchantId = MERCHANT.parse().unwrap();
    let mut text = String::new();
    for first in (0..rows).step_by(usize::try_from(PART).unwrap()) {
        text.clear();
        for n in first..(first + PART).min(rows) {
            let id = id(Ids::Random, SEED, 0, &mut random);
            let (source, id) = ("/affiliates/eu".parse().unwrap(), id.parse().unwrap());
            row(n, &CommandKey { merchant: merchant.clone(), source, id }, &mut text);
        }
        let mut copy = database.copy_in_raw(statement).await.unwrap();
        copy.send(text.as_bytes()).await.unwrap();
        copy.finish().await.unwrap();
    }
}

const TIME: &str = "2026-11-22 10:00:00+00";

fn entry(n: u64, accounts: u64, key: &CommandKey, text: &mut String) {
    let (account, number) = (n % accounts + 1, n / accounts + 1);
    let (key, balance) = (key.hash(), 125 * number);
    let (whole, tenths) = (balance / 10, balance % 10);
    writeln!(
        text,
        "{account}\t{number}\t{TIME}\t{TIME}\t12.5\t{whole}.{tenths}\tcommission\tcommissions\t\\\\x{key}\t9001\t1\tSummer campaign\t\\\\x{key}{key}"
    )
    .unwrap();
}

fn inbox(n: u64, accounts: u64, key: &CommandKey, outcome_bytes: usize, text: &mut String) {
    let (account, number, batch, position) = (n % accounts + 1, n / accounts + 1, n / BATCH + 1, n % BATCH);
    let (hash, customer) = (key.hash(), customer_id(account - 1));
    writeln!(
        text,
        "\\\\x{hash}\t{batch}\t{account}\t{number}\t{number}\t{position}\t{MERCHANT}\t{}\t{}\tcommission.credit.v1\t\\\\x{hash}{hash}\t{customer:x<outcome_bytes$}",
        key.source, key.id,
    )
    .unwrap();
}

//! How fast Postgres alone writes the same rows: made by the server itself, 500 a transaction, on two connections. No
//! program decides, hashes or sends anything. It is context, not a bound: what it makes up costs time too.

use std::time::Instant;

use sqlx::{Executor as _, PgConnection};

use crate::figures::{Case, Measured};
use crate::stage::{ACCOUNTS, Stage};

const BATCH: i32 = 500;
const CONNECTIONS: usize = 2;

/// One transaction's rows, as the worker's would be: accounts locked in order, the inbox asked, entries, accounts and
/// outcomes written.
const FUNCTION: &str = "
CREATE FUNCTION bench_batch(size integer, accounts bigint, outcome_bytes integer) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    ids bigint[];
    keys bytea[];
    this bigint;
BEGIN
    SELECT array_agg(id) INTO ids FROM account WHERE id IN (SELECT 1 + floor(random() * accounts)::bigint FROM generate_series(1, size));
    PERFORM FROM account WHERE id = ANY(ids) ORDER BY id FOR UPDATE;
    SELECT array_agg(decode(md5(gen_random_uuid()::text), 'hex')) INTO keys FROM generate_series(1, size);
    PERFORM i.key FROM unnest(keys) k (key) JOIN inbox i ON i.key = k.key;
    INSERT INTO batch (worker, published_at) VALUES ('commissions', now()) RETURNING id INTO this;
    WITH picked AS (
        SELECT a.id, a.entries, a.balance, n, row_number() OVER (PARTITION BY a.id) AS r
        FROM generate_series(1, size) n
        JOIN account a ON a.id = ids[1 + n % array_length(ids, 1)]
    ), written AS (
        INSERT INTO entry (account_id, number, kind, counterpart, amount, balance_after, command, order_number, level,
                           note, occurred_at, recorded_at, hash)
        SELECT id, entries + r, 'commission', 'commissions', 12.5, balance + 12.5 * r, keys[n], '9001', 1,
               'Summer campaign', now(), now(), sha256(keys[n])
        FROM picked
        RETURNING account_id, number, command
    )
    INSERT INTO inbox (key, batch_id, account_id, version, entry_number, position, merchant, source, id, type, content,
                       outcome)
    SELECT command, this, account_id, number, number, 0, 'acme', '/affiliates/eu',
           command::text, 'commission.credit.v1', sha256(command), repeat('x', outcome_bytes)
    FROM written ORDER BY written.command;
    UPDATE account a SET balance = balance + 12.5 * n.added, version = version + n.added, entries = entries + n.added,
                         head = sha256('')
    FROM (SELECT id, count(*) AS added
          FROM (SELECT ids[1 + n % array_length(ids, 1)] AS id FROM generate_series(1, size) n) p GROUP BY id) n
    WHERE a.id = n.id;
END
$$";

/// Writes so many commands' rows, with outcomes of this length.
pub(crate) async fn sql(stage: &mut Stage, round: usize, commands: u64, outcome_bytes: i32) -> Measured {
    stage.database.execute(FUNCTION).await.unwrap();
    let newest = stage.newest_batch().await;
    let mut databases = Vec::new();
    for _ in 0..CONNECTIONS {
        databases.push(stage.world.superuser().await);
    }
    stage.settle().await;
    let batches = commands / u64::try_from(BATCH).unwrap() / CONNECTIONS as u64;
    let usage = stage.servers.usage(&[], &mut stage.database).await;
    let began = Instant::now();
    let tasks: Vec<_> =
        databases.into_iter().map(|database| tokio::spawn(write(database, batches, outcome_bytes))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let seconds = began.elapsed().as_secs_f64();
    let (cpu, wal) = stage.servers.usage(&[], &mut stage.database).await.since(usage);
    let commands = stage.carried_out_since(newest).await;
    Measured { case: Case::Sql, round, commands, seconds, cpu, wal, memory: Vec::new() }
}

async fn write(mut database: PgConnection, batches: u64, outcome_bytes: i32) {
    for _ in 0..batches {
        sqlx::query("SELECT bench_batch($1, $2, $3)")
            .bind(BATCH)
            .bind(i64::try_from(ACCOUNTS).unwrap())
            .bind(outcome_bytes)
            .execute(&mut database)
            .await
            .unwrap();
    }
}

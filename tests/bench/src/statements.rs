//! Where Postgres spends a drain, by its own statistics (`pg_stat_statements`, which the private server loads).

use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use crate::figures::Statement;
use crate::stage::Stage;

/// Statements below this share of a microsecond for each command are left out.
const LEAST: f64 = 0.05;

/// Counts from now.
pub(crate) async fn begin(stage: &mut Stage) {
    // Nobody else pays for being counted.
    let count = format!("ALTER DATABASE {} SET pg_stat_statements.track = top", stage.world.name);
    stage.database.execute(AssertSqlSafe(count)).await.unwrap();
    stage.database.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public").await.unwrap();
    stage.database.execute("SELECT public.pg_stat_statements_reset()").await.unwrap();
}

/// What was counted in this database, for each of so many commands.
pub(crate) async fn end(stage: &mut Stage, round: usize, commands: u64) -> Vec<Statement> {
    let rows = read(&mut stage.database).await;
    #[expect(clippy::cast_precision_loss, reason = "commands of a run are far below 2^52")]
    let commands = commands as f64;
    rows.into_iter()
        .map(|(text, calls, micros, wal)| Statement {
            round,
            text: text.split_whitespace().take(9).collect::<Vec<_>>().join(" "),
            calls: u64::try_from(calls).unwrap(),
            micros: micros / commands,
            wal: wal / commands,
        })
        .filter(|statement| statement.micros >= LEAST)
        .collect()
}

async fn read(database: &mut PgConnection) -> Vec<(String, i64, f64, f64)> {
    sqlx::query_as(
        "SELECT query, calls, total_exec_time * 1000, wal_bytes::float8
         FROM public.pg_stat_statements
         WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
         ORDER BY total_exec_time DESC",
    )
    .fetch_all(database)
    .await
    .unwrap()
}

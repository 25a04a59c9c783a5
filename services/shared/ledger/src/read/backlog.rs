//! What workers have not finished, and what is neither paid nor lapsed yet.

use std::time::Duration;

use contract::Currency;
use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::{Result, parsed};

/// What one worker has not finished, as far as the ledger knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Backlog {
    /// Which worker.
    pub worker: String,
    /// Commands that wait for something.
    pub parked: i64,
    /// How long the first of them has waited.
    pub parked_for: Option<Duration>,
    /// Batches that are committed and whose events may not be published. A worker that is busy has one for each lane.
    pub unpublished: i64,
    /// How long ago the first of them was begun.
    pub unpublished_for: Option<Duration>,
}

/// What is not finished, of each worker that has anything.
///
/// # Errors
/// The database's.
pub async fn backlogs(connection: &mut PgConnection) -> Result<Vec<Backlog>> {
    let rows = sqlx::query!(
        r#"SELECT coalesce(w.worker, b.worker) AS "worker!",
                  coalesce(w.parked, 0) AS "parked!",
                  extract(epoch FROM clock_timestamp() - w.since)::float8 AS parked_for,
                  coalesce(b.unpublished, 0) AS "unpublished!",
                  extract(epoch FROM clock_timestamp() - b.since)::float8 AS unpublished_for
           FROM (SELECT worker, count(*) AS parked, min(parked_at) AS since FROM waiting GROUP BY worker) w
           FULL JOIN (SELECT worker, count(*) AS unpublished, min(created_at) AS since
                      FROM batch WHERE published_at IS NULL GROUP BY worker) b ON b.worker = w.worker
           ORDER BY 1"#
    )
    .fetch_all(connection)
    .await?;
    let backlogs = rows.into_iter().map(|row| Backlog {
        worker: row.worker,
        parked: row.parked,
        parked_for: age(row.parked_for),
        unpublished: row.unpublished,
        unpublished_for: age(row.unpublished_for),
    });
    Ok(backlogs.collect())
}

/// Less than nothing by a clock that was set back.
fn age(seconds: Option<f64>) -> Option<Duration> {
    seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// So many, and how long the first of them has been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// How many.
    pub count: i64,
    /// For how long; `None`: there is none.
    pub longest: Option<Duration>,
}

/// A worker's commands that wait for something.
///
/// # Errors
/// The database's.
pub async fn parked(connection: &mut PgConnection, worker: &str) -> Result<Unfinished> {
    let row = sqlx::query!(
        r#"SELECT count(*) AS "count!", extract(epoch FROM clock_timestamp() - min(parked_at))::float8 AS longest
           FROM waiting WHERE worker = $1"#,
        worker
    )
    .fetch_one(connection)
    .await?;
    Ok(Unfinished { count: row.count, longest: age(row.longest) })
}

/// A worker's batches that are committed and whose events may not be published.
///
/// # Errors
/// The database's.
pub async fn unpublished(connection: &mut PgConnection, worker: &str) -> Result<Unfinished> {
    let row = sqlx::query!(
        r#"SELECT count(*) AS "count!", extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS longest
           FROM batch WHERE worker = $1 AND published_at IS NULL"#,
        worker
    )
    .fetch_one(connection)
    .await?;
    Ok(Unfinished { count: row.count, longest: age(row.longest) })
}

/// Mails that are not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailBacklog {
    /// To be sent, or sent again, since they came about.
    pub due: Unfinished,
    /// Given up.
    pub failed: i64,
}

/// Mails that are not sent, of all shops.
///
/// # Errors
/// The database's.
pub async fn mail_backlog(connection: &mut PgConnection) -> Result<MailBacklog> {
    let row = sqlx::query!(
        r#"SELECT count(*) AS "due!",
                  extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS due_for,
                  (SELECT count(*) FROM mail WHERE state = 'failed') AS "failed!"
           FROM mail WHERE state = 'due'"#
    )
    .fetch_one(connection)
    .await?;
    let due = Unfinished { count: row.due, longest: age(row.due_for) };
    Ok(MailBacklog { due, failed: row.failed })
}

/// What an unpaid amount comes to, over all shops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outstanding {
    /// In this currency.
    pub currency: Currency,
    /// As much.
    pub amount: Decimal,
}

/// Commissions in their hold period, by currency. Reads every one of them.
///
/// # Errors
/// The database's.
pub async fn pending(connection: &mut PgConnection) -> Result<Vec<Outstanding>> {
    let rows = sqlx::query!(
        r#"SELECT a.currency, sum(c.amount - c.reversed) AS "amount!"
           FROM commission c JOIN account a ON a.id = c.account_id
           WHERE c.state = 'pending' GROUP BY a.currency ORDER BY 1"#
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| outstanding(&row.currency, row.amount)).collect()
}

/// What open withdrawals hold, by currency. Reads every one of them.
///
/// # Errors
/// The database's.
pub async fn held(connection: &mut PgConnection) -> Result<Vec<Outstanding>> {
    let rows = sqlx::query!(
        r#"SELECT a.currency, sum(w.amount) AS "amount!"
           FROM withdrawal w JOIN account a ON a.id = w.account_id
           WHERE w.state IN ('requested', 'approved') GROUP BY a.currency ORDER BY 1"#
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| outstanding(&row.currency, row.amount)).collect()
}

fn outstanding(currency: &str, amount: Decimal) -> Result<Outstanding> {
    Ok(Outstanding { currency: parsed("account.currency", currency)?, amount })
}

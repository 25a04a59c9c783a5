//! What workers have not finished.

use std::time::Duration;

use sqlx::PgConnection;

use super::Result;

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
    // Less than nothing by a clock that was set back.
    let age = |seconds: Option<f64>| {
        seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default())
    };
    let backlogs = rows.into_iter().map(|row| Backlog {
        worker: row.worker,
        parked: row.parked,
        parked_for: age(row.parked_for),
        unpublished: row.unpublished,
        unpublished_for: age(row.unpublished_for),
    });
    Ok(backlogs.collect())
}

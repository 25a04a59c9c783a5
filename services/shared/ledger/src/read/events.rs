//! Events as they were stored, to be published once more.

use contract::{Event, MerchantId, Timestamp};
use sqlx::PgConnection;

use super::{Result, parsed, unexpected};
use crate::BatchId;

/// The batches that were begun since a moment and before another (`None`: before now), in the order in which they were.
///
/// # Errors
/// The database's.
pub async fn batches_between(
    connection: &mut PgConnection,
    since: Timestamp,
    before: Option<Timestamp>,
) -> Result<Vec<BatchId>> {
    let ids = sqlx::query_scalar!(
        "SELECT id FROM batch WHERE created_at >= $1 AND created_at < coalesce($2, now()) ORDER BY id",
        since.get(),
        before.map(Timestamp::get),
    );
    Ok(ids.fetch_all(connection).await?.into_iter().map(BatchId).collect())
}

/// The events of these batches, of one merchant or of all, in the order in which they were decided.
///
/// # Errors
/// The database's.
pub async fn events_of(
    connection: &mut PgConnection,
    batches: &[BatchId],
    merchant: Option<&MerchantId>,
) -> Result<Vec<Event>> {
    let ids: Vec<i64> = batches.iter().map(|batch| batch.0).collect();
    let rows = sqlx::query!(
        r#"SELECT merchant, outcome AS "outcome!" FROM inbox
           WHERE batch_id = ANY($1) AND ($2::text IS NULL OR merchant = $2) AND outcome IS NOT NULL
           ORDER BY batch_id, position"#,
        &ids,
        merchant.map(MerchantId::as_str),
    )
    .fetch_all(connection)
    .await?;
    let mut events = Vec::with_capacity(rows.len());
    for row in rows {
        let merchant = parsed("inbox.merchant", &row.merchant)?;
        for line in row.outcome.lines() {
            let event = Event::from_stored(&merchant, line);
            events.push(event.ok_or_else(|| unexpected("inbox.outcome holds what is no event"))?);
        }
    }
    Ok(events)
}

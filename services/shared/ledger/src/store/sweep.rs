//! The sweep: batches whose events may not have been published.
//!
//! A lane marks a batch once its events are out. One that stays unmarked for longer belongs to a lane that
//! died, or waits for its broker; publishing its events once more is always right.

use std::time::Duration;

use contract::Event;

use super::{BatchId, Store};
use crate::{Failure, read};

/// An unpublished batch and what it has to publish.
#[derive(Debug)]
pub struct Unpublished {
    /// The transaction.
    pub batch: BatchId,
    /// Its events.
    pub events: Vec<Event>,
}

impl Store {
    /// Unpublished batches of a worker that are older than `age`, oldest first, after this one, at most `limit`.
    ///
    /// # Errors
    /// The database's.
    pub async fn unpublished(
        &mut self,
        worker: &str,
        age: Duration,
        after: Option<BatchId>,
        limit: i64,
    ) -> Result<Vec<BatchId>, Failure> {
        let ids = sqlx::query_scalar!(
            "SELECT id FROM batch
             WHERE worker = $1 AND published_at IS NULL AND id > $4
               AND created_at <= clock_timestamp() - $2::float8 * interval '1 second'
             ORDER BY id LIMIT $3",
            worker,
            age.as_secs_f64(),
            limit,
            after.map_or(0, |batch| batch.0),
        )
        .fetch_all(&mut self.connection)
        .await?;
        Ok(ids.into_iter().map(BatchId).collect())
    }

    /// What a batch has to publish.
    ///
    /// # Errors
    /// The database's.
    pub async fn events_of(&mut self, batch: BatchId) -> Result<Unpublished, Failure> {
        let events = read::events_of(&mut self.connection, &[batch], None).await?;
        Ok(Unpublished { batch, events })
    }
}

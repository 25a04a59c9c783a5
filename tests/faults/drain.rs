//! Waits, when all faults are over, until nothing is left to do.

use std::time::Duration;

use tests::World;
use tests::world::ALL_WORKERS;
use tokio::time::{Instant, sleep};

use crate::listen::Heard;

/// How long everything may take to come to rest.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);

/// How long nothing more may be heard before it counts as rest.
const QUIET: Duration = Duration::from_secs(5);

/// What is still to be done, as the ledger knows it.
const LEFT: &str = "
SELECT jsonb_build_object(
    'parked', (SELECT count(*) FROM waiting),
    'unpublished batches', (SELECT count(*) FROM batch WHERE published_at IS NULL),
    'commissions about to mature', (
        SELECT count(*) FROM commission
        WHERE state = 'pending' AND available_at <= clock_timestamp() + interval '1 hour'),
    'mails due', (SELECT count(*) FROM mail WHERE state = 'due'),
    'states without a notice', (
        SELECT count(*) FROM withdrawal_transition t
        WHERE NOT EXISTS (SELECT FROM notice n WHERE n.withdrawal = t.withdrawal AND n.state = t.state)))";

/// # Errors
/// What is still left when patience is over.
pub(crate) async fn drain(world: &World, heard: &Heard) -> Result<(), String> {
    let (began, mut database, publisher) = (Instant::now(), world.superuser().await, world.publisher().await);
    loop {
        let left: serde_json::Value = sqlx::query_scalar(LEFT).fetch_one(&mut database).await.unwrap();
        let mut queued = 0;
        for worker in ALL_WORKERS {
            queued += publisher.queued(&worker::topology::queue(worker)).await.ready;
        }
        let nothing = left.as_object().unwrap().values().all(|count| *count == 0);
        if nothing && queued == 0 && heard.last_at().is_none_or(|at| at.elapsed() > QUIET) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("not at rest after {PATIENCE:?}: {queued} messages queued, {left}"));
        }
        sleep(Duration::from_millis(500)).await;
    }
}

//! A queue that is full is emptied by worker processes.
//!
//! The clock runs from the last look at which the broker had not handed out any command until the last batch is marked,
//! which a worker does when every event is confirmed, every command acked, and nothing more is there. How fast a worker
//! starts is not part of it.

use std::time::{Instant, SystemTime};

use tests::Worker;
use tokio::time::{Duration, sleep};

use crate::figures::{Case, Measured};
use crate::messages::What;
use crate::stage::{PATIENCE, Stage};

/// How often is looked: seldom enough that looking costs nothing.
const LOOK: Duration = Duration::from_millis(20);

/// Fills the queue, then starts so many workers and waits until they have emptied it. Whether a checkpoint comes before is
/// the caller's to say.
pub(crate) async fn drain(
    stage: &mut Stage,
    case: Case,
    round: usize,
    what: What,
    bodies: &[String],
    processes: usize,
) -> Measured {
    stage.fill(what, bodies).await;
    let before = stage.newest_batch().await;
    let builder = stage.worker(what);
    let workers: Vec<Worker> = (0..processes).map(|_| builder.start()).collect();
    let started = Instant::now();
    let (mut began, mut usage) = stage.look(&workers).await;
    while stage.ready(what).await == bodies.len() {
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: a worker was handed a command");
        (began, usage) = stage.look(&workers).await;
        sleep(LOOK).await;
    }
    until("the queue is empty", async || stage.ready(what).await == 0).await;
    until("every batch is marked", async || !stage.unpublished().await).await;
    let (cpu, wal) = stage.servers.usage(&workers, &mut stage.database).await.since(usage);
    // By the clock of this machine, which is the database's too.
    let ended: time::OffsetDateTime = sqlx::query_scalar("SELECT max(published_at) FROM batch")
        .fetch_one(&mut stage.database)
        .await
        .unwrap();
    let commands = stage.carried_out_since(before).await;
    assert_eq!(commands, bodies.len() as u64, "each command was carried out, none twice");
    Measured {
        case,
        round,
        commands,
        seconds: (SystemTime::from(ended).duration_since(began)).unwrap().as_secs_f64(),
        cpu,
        wal,
        memory: workers.iter().map(Worker::peak_memory).collect(),
    }
}

/// Looks until it is so.
pub(crate) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        sleep(LOOK).await;
    }
}

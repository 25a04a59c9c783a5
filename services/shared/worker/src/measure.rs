//! What waits in the ledger, counted every `metrics.interval` and shown in the metrics.
//!
//! On a connection of its own and beside the sessions: the figures are right while the broker is away, and neither slow
//! nor failing ones trouble anybody. One look may take [`LONGEST`], and looking takes at most a [`SHARE`]th of the time:
//! after one that took long, the pause is as much longer. What could not be read is not a number, of which no comparison
//! is true.

use std::time::{Duration, Instant};

use ledger::{Failure, Store, read};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::desk::{Desk, no_answer};
use crate::metrics::{self, Gauges, Reading};

/// For one look, with connecting where that is needed.
const LONGEST: Duration = Duration::from_secs(5);

/// Looking takes one part of so many of the time.
const SHARE: u32 = 20;

/// Measures until the process is to end.
pub(crate) async fn run<D: Desk>(
    ledger: ledger::store::Settings,
    interval: Duration,
    shutdown: CancellationToken,
) {
    let ledger = ledger.within(LONGEST);
    let (mut store, mut gauges, mut failing) = (None, Gauges::default(), false);
    loop {
        let began = Instant::now();
        let looked = timeout(LONGEST, look::<D>(&ledger, &mut store)).await;
        match looked.unwrap_or_else(|_| Err(no_answer())) {
            Ok(readings) => {
                gauges.show(readings);
                failing = false;
            }
            Err(failure) => {
                store = None;
                gauges.unknown();
                // Once when it begins: whoever needs the ledger says more.
                if !std::mem::replace(&mut failing, true) {
                    warn!(%failure, "what waits in the ledger cannot be counted for the metrics");
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(interval.max(began.elapsed() * SHARE)) => {}
        }
    }
}

async fn look<D: Desk>(
    ledger: &ledger::store::Settings,
    store: &mut Option<Store>,
) -> Result<Vec<Reading>, Failure> {
    let store = match store {
        Some(store) => store,
        None => store.insert(Store::open(ledger).await?),
    };
    let mut readings = D::readings(store).await?;
    readings.extend(metrics::unpublished(read::unpublished(store.connection(), D::WORKER).await?));
    Ok(readings)
}

//! What a worker does besides its queue: it publishes what may not have been published, decides parked
//! commands whose time has come, and whatever else time makes due.
//!
//! Everything goes the same way as a delivered command: decide, commit, publish, mark. A crash at any step
//! leaves work that the next round, of any process of this worker, finds again.

use std::sync::Arc;
use std::time::Duration;

use ledger::decide::Verdict;
use ledger::{BatchId, Failure, Store};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::broker::{BrokerError, Outgoing, Publisher};
use crate::desk::{Desk, Found, Work};
use crate::lane::{End, Shared};
use crate::metrics::{self, Retry};
use crate::supervisor::OpenError;

/// Batches, or commands, looked at in one round.
const ROUND: i64 = 500;

/// Its name in the health report.
const NAME: &str = "chores";

/// A worker's chores, one at a time, on a connection and a channel of their own.
#[derive(Debug)]
pub(crate) struct Chores<D> {
    shared: Arc<Shared>,
    desk: D,
    publisher: Publisher,
}

/// Why a round did not get through.
enum Trouble {
    /// Tried again in the next round.
    Ledger(Failure),
    /// Tried again in the next round: the broker refuses some of the events.
    Refused(BrokerError),
    /// The session is over.
    Broker(End),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Ledger(failure)
    }
}

impl From<BrokerError> for Trouble {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Refused(_) => Self::Refused(error),
            error => Self::Broker(error.into()),
        }
    }
}

impl From<Trouble> for OpenError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Ledger(failure) => Self::Ledger(failure),
            Trouble::Refused(error) => Self::Broker(error),
            Trouble::Broker(end) => Self::Unpublished(format!("{end:?}")),
        }
    }
}

impl<D: Desk> Chores<D> {
    pub(crate) fn new(shared: Arc<Shared>, desk: D, publisher: Publisher) -> Self {
        Self { shared, desk, publisher }
    }

    /// Works until the session ends.
    pub(crate) async fn run(mut self) -> End {
        let every = |pause: Duration| {
            let mut ticks = interval(pause);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let shared = Arc::clone(&self.shared);
        let settings = &shared.settings;
        let mut sweep = every(settings.sweep_interval);
        let mut parked = every(settings.parked_interval);
        let mut due = every(settings.due_interval);
        let end = loop {
            let done = tokio::select! {
                // Not biased: when one chore takes longer than its interval, the others still get their turn.
                () = shared.session.cancelled() => break End::Stopped,
                () = shared.parked.notified() => self.decide_all(Work::Parked).await,
                _ = sweep.tick() => self.sweep(shared.settings.sweep_age).await,
                _ = parked.tick() => self.decide_all(Work::Parked).await,
                _ = due.tick() => self.decide_all(Work::Due).await,
            };
            match done {
                Ok(()) => shared.health.fine(NAME),
                Err(Trouble::Ledger(failure)) => {
                    shared.health.trouble(NAME, &failure);
                    metrics::retried(Retry::Chores);
                    warn!(%failure, "the ledger is not available for chores");
                }
                Err(Trouble::Refused(error)) => warn!(%error, "events wait for a subscriber's full queue"),
                Err(Trouble::Broker(end)) => break end,
            }
        };
        shared.health.fine(NAME);
        end
    }

    /// Publishes whatever is committed and unpublished, before anything more is consumed. A subscriber's full
    /// queue is no reason to wait.
    ///
    /// # Errors
    /// The broker does not take events, or the ledger is not available.
    pub(crate) async fn catch_up(&mut self) -> Result<(), OpenError> {
        match self.sweep(Duration::ZERO).await {
            Ok(()) | Err(Trouble::Refused(_)) => Ok(()),
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// Publishes the events of batches that nobody has marked.
    async fn sweep(&mut self, age: Duration) -> Result<(), Trouble> {
        let mut refused = Ok(());
        let mut last = None;
        loop {
            let find = async |store: &mut Store| store.unpublished(D::WORKER, age, last, ROUND).await;
            let batches = self.desk.access().with("sweep", find).await?;
            for batch in &batches {
                match self.publish_again(*batch).await {
                    // One merchant's full subscriber must not hold back the others' events.
                    Err(trouble @ Trouble::Refused(_)) => refused = Err(trouble),
                    other => other?,
                }
            }
            last = batches.last().copied();
            if last.is_none() || self.shared.session.is_cancelled() {
                return refused;
            }
        }
    }

    async fn publish_again(&mut self, batch: BatchId) -> Result<(), Trouble> {
        let unpublished =
            self.desk.access().with("sweep", async |store| store.events_of(batch).await).await?;
        let events: Vec<_> = unpublished.events.iter().map(Outgoing::event).collect();
        self.publisher.publish(&events).await?;
        self.mark(&[batch]).await?;
        info!(batch = batch.0, events = events.len(), "published a batch that was left unpublished");
        Ok(())
    }

    /// Decides all that there is to be decided of a kind, round by round. What cannot be decided yet is skipped, so
    /// that it holds nobody else up, and looked at again next time.
    async fn decide_all(&mut self, work: Work) -> Result<(), Trouble> {
        let mut undecided = 0;
        loop {
            let skip = i64::try_from(undecided).unwrap_or(i64::MAX);
            let Found { items, unreadable } = self.desk.find(work, skip, ROUND).await?;
            if items.is_empty() && unreadable == 0 || self.shared.session.is_cancelled() {
                break;
            }
            if unreadable > 0 {
                warn!(
                    unreadable,
                    "parked commands cannot be read: is a key missing in payout.keys? They stay"
                );
            }
            undecided += unreadable + items.len() - self.decide(&items).await?;
        }
        if undecided > 0 {
            warn!(undecided, "commands that are due cannot be decided yet; they stay");
        }
        Ok(())
    }

    /// Decides, publishes and marks; returns how many were decided.
    async fn decide(&mut self, items: &[Arc<D::Item>]) -> Result<usize, Trouble> {
        if items.is_empty() {
            return Ok(0);
        }
        let settlement = self.desk.settle(items, &[]).await?;
        let stuck = settlement.verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Dead(_))).count();
        if stuck > 0 {
            // There is no delivery to dead-letter; it stays where it is, for a person to look at.
            warn!(count = stuck, "parked or due commands make the ledger fail; they stay");
        }
        let events: Vec<_> = settlement.events.iter().map(Outgoing::event).collect();
        match self.publisher.publish(&events).await {
            Ok(()) => self.mark(&settlement.batches).await?,
            Err(error @ BrokerError::Refused(_)) => warn!(%error, "events are left to the sweep"),
            Err(error) => return Err(error.into()),
        }
        // One that another scan took has no verdict here.
        let left =
            |verdict: &&Verdict| matches!(verdict, Verdict::Dead(_) | Verdict::Parked | Verdict::NotDue);
        Ok(items.len() - settlement.verdicts.iter().filter(left).count())
    }

    async fn mark(&mut self, batches: &[BatchId]) -> Result<(), Trouble> {
        Ok(self.desk.access().with("mark", async |store| store.mark_published(batches).await).await?)
    }
}

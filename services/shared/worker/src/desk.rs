//! Where what a lane receives is settled: commands by a [`Clerk`](crate::clerk::Clerk), events by a
//! [`Recorder`](crate::recorder::Recorder). The consume loop and the chores know no more of either than this.

use std::fmt::Debug;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use contract::{Event, Malformed, MalformedReason};
use futures_util::FutureExt as _;
use lapin::message::Delivery;
use ledger::decide::Verdict;
use ledger::store::Waiters;
use ledger::vault::Sealed;
use ledger::{BatchId, Failure, Settled, Store};
use tokio::time::timeout;
use tracing::debug;

use crate::intake::{Arrived, Intake};
use crate::metrics::{self, Reading, Retry, Server};
use crate::settings::Settings;

/// How often items are settled again in one transaction. Repeats and culprits take one try more, and a race is decided by
/// whoever commits first, so that each try meets a different rival; more than this many mean that something else is wrong.
const RACES: usize = 20;

/// The SQLSTATE class of deadlocks and serialization failures: troubles of a transaction, not of its session.
const CONFLICT: &str = "40";

/// Settles what a worker is sent.
pub(crate) trait Desk: Debug + Send + Sync + 'static {
    /// The worker's name.
    const WORKER: &'static str;

    /// A delivery that was understood.
    type Item: Debug + Send + Sync + 'static;

    /// Reads a delivery.
    fn read(delivery: Delivery, intake: Intake) -> Arrived<Self::Item>;

    /// The way to the ledger.
    fn access(&mut self) -> &mut Access;

    /// What is tried first with what waited for an item.
    const WAITERS: Waiters;

    /// Settles a batch in one transaction, or none of it. `published` are earlier batches whose events are out.
    ///
    /// # Errors
    /// See [`Failure`].
    fn attempt(
        &mut self,
        items: &[Arc<Self::Item>],
        waiters: Waiters,
        published: &[BatchId],
    ) -> impl Future<Output = Result<Settled, Failure>> + Send;

    /// Settles the items, durably, in as many transactions as it takes: one, unless an item makes it fail. Settles again
    /// after a race, and splits the items until the one that makes it fail stands alone.
    ///
    /// # Errors
    /// [`Failure::Infrastructure`] only. Some of the items may be settled by then: settling all of them again is
    /// right.
    fn settle(
        &mut self,
        items: &[Arc<Self::Item>],
        published: &[BatchId],
    ) -> impl Future<Output = Result<Settlement, Failure>> + Send {
        async move {
            let mut settlement = Settlement::default();
            let mut parts = vec![(items, Self::WAITERS, 0)];
            while let Some((part, waiters, races)) = parts.pop() {
                match self.attempt(part, waiters, published).await {
                    Ok(settled) => {
                        metrics::settled(&settled);
                        settlement.add(settled);
                    }
                    // It may be one of those that waited for it: they are found, and stand alone, in a scan.
                    Err(Failure::Culprit { .. }) if part.len() == 1 && waiters == Waiters::Taken => {
                        parts.push((part, Waiters::Left, 0));
                    }
                    Err(Failure::Culprit { state, constraint }) if part.len() == 1 => {
                        settlement.verdicts.push(Verdict::Dead(Malformed::new(
                            MalformedReason::Culprit,
                            format_args!(
                                "the message makes the ledger fail ({state}, constraint {constraint})"
                            ),
                        )));
                    }
                    Err(Failure::Culprit { .. }) => {
                        metrics::retried(Retry::Split);
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([(second, waiters, 0), (first, waiters, 0)]);
                    }
                    Err(Failure::Raced) if races < RACES => {
                        metrics::retried(Retry::Race);
                        debug!(commands = part.len(), races, "a repeat, a race or a culprit: deciding again");
                        parts.push((part, waiters, races + 1));
                    }
                    Err(Failure::Raced) => {
                        return Err(Failure::Infrastructure {
                            state: "races without end".to_owned(),
                            lost: true,
                        });
                    }
                    Err(failure @ Failure::Infrastructure { .. }) => return Err(failure),
                }
            }
            Ok(settlement)
        }
    }

    /// What is to be settled although no message asks for it, without the first `skip`, at most `limit`.
    ///
    /// # Errors
    /// The database's.
    fn find(
        &mut self,
        work: Work,
        skip: i64,
        limit: i64,
    ) -> impl Future<Output = Result<Found<Self::Item>, Failure>> + Send;

    /// Figures to show, besides those of every worker.
    ///
    /// # Errors
    /// The database's.
    fn readings(store: &mut Store) -> impl Future<Output = Result<Vec<Reading>, Failure>> + Send;

    /// See [`crate::Handler::seal_letter`].
    fn seal_letter(&self, _body: &[u8]) -> Option<Sealed> {
        None
    }
}

/// What became of the items, over all the transactions that it took.
#[derive(Debug, Default)]
pub(crate) struct Settlement {
    /// The transactions.
    pub(crate) batches: Vec<BatchId>,
    /// One for each item, in their order; parked items that another scan took are left out.
    pub(crate) verdicts: Vec<Verdict>,
    /// What to publish before anything is acked.
    pub(crate) events: Vec<Event>,
    /// Whether a merchant or customer became known: what is parked for it can be decided.
    pub(crate) arrivals: bool,
}

impl Settlement {
    fn add(&mut self, settled: Settled) {
        self.batches.extend(settled.batch);
        self.verdicts.extend(settled.verdicts);
        self.events.extend(settled.events);
        self.arrivals |= settled.arrivals;
    }
}

/// What is to be settled although no message asks for it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// Parked commands that need not, or may not, wait any longer.
    Parked,
    /// What time has made due, or what no message told of.
    Due,
}

/// What a scan found.
#[derive(Debug)]
pub(crate) struct Found<I> {
    /// What can be settled.
    pub(crate) items: Vec<Arc<I>>,
    /// How many besides cannot be read.
    pub(crate) unreadable: usize,
}

/// The way to the ledger: a connection that is made when it is needed, and forgotten when it is of no more use.
#[derive(Debug)]
pub struct Access {
    ledger: ledger::store::Settings,
    settings: Arc<Settings>,
    store: Option<Store>,
}

impl Access {
    /// Nothing is connected yet.
    pub fn new(ledger: ledger::store::Settings, settings: Arc<Settings>) -> Self {
        Self { ledger, settings, store: None }
    }

    /// Makes the connection, if there is none: a new one only after its schema was checked.
    ///
    /// # Errors
    /// The ledger is not available.
    pub async fn connect(&mut self) -> Result<(), Failure> {
        if self.store.is_none() {
            let opened = timeout(self.settings.connect_timeout, Store::open(&self.ledger)).await;
            self.store = Some(opened.unwrap_or_else(|_| Err(no_answer()))?);
        }
        Ok(())
    }

    fn forget(&mut self) {
        if self.store.take().is_some() {
            metrics::lost(Server::Database);
        }
    }

    /// Does something with the ledger, which metrics name so, for as long as `database.timeout` at most. A panic is the
    /// fault of what was to be done.
    ///
    /// # Errors
    /// What came of it, or there was no answer in time. The connection is forgotten where it is of no more use, or its
    /// trouble may be its own: a session keeps what it began with, such as being read-only, after the database has long
    /// been repaired.
    pub async fn with<T>(
        &mut self,
        operation: &'static str,
        work: impl AsyncFnOnce(&mut Store) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.connect().await?;
        let store = self.store.as_mut().ok_or_else(no_answer)?;
        let began = Instant::now();
        let done =
            timeout(self.settings.database_timeout, AssertUnwindSafe(work(store)).catch_unwind()).await;
        metrics::used_ledger(operation, began.elapsed());
        let result = match done {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => {
                // What the connection was in the middle of, nobody knows.
                self.forget();
                Err(Failure::Culprit { state: "panic".to_owned(), constraint: "none".to_owned() })
            }
            Err(_elapsed) => Err(no_answer()),
        };
        if let Err(Failure::Infrastructure { state, lost }) = &result
            && (*lost || !state.starts_with(CONFLICT))
        {
            self.forget();
        }
        result
    }
}

/// The database did not answer in time; its connection is of no more use.
pub(crate) fn no_answer() -> Failure {
    Failure::Infrastructure { state: "no answer in time".to_owned(), lost: true }
}

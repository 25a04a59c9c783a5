//! Brings a batch before the ledger: reconnects, decides again after a race, and splits a batch until the
//! one command that makes it fail stands alone.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use contract::{Event, Malformed, MalformedReason};
use futures_util::FutureExt as _;
use ledger::decide::Verdict;
use ledger::store::Waiters;
use ledger::{BatchId, Failure, Item, Rules, Settled, Store};
use tokio::time::timeout;

use crate::settings::Settings;

/// A race is decided by whoever commits first, so each try meets a different rival; more than this many mean
/// that something else is wrong.
const RACES: usize = 20;

/// The SQLSTATE class of deadlocks and serialization failures: troubles of a transaction, not of its session.
const CONFLICT: &str = "40";

/// A connection to the ledger that is made when it is needed.
#[derive(Debug)]
pub(crate) struct Clerk<R> {
    rules: Arc<R>,
    ledger: ledger::store::Settings,
    settings: Arc<Settings>,
    store: Option<Store>,
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

impl<R: Rules> Clerk<R> {
    pub(crate) fn new(rules: Arc<R>, ledger: ledger::store::Settings, settings: Arc<Settings>) -> Self {
        Self { rules, ledger, settings, store: None }
    }

    /// The rules it decides by.
    pub(crate) fn rules(&self) -> &Arc<R> {
        &self.rules
    }

    /// The connection; a new one only after its schema was checked.
    pub(crate) async fn store(&mut self) -> Result<&mut Store, Failure> {
        if self.store.is_none() {
            let opened = timeout(self.settings.connect_timeout, open(&self.ledger)).await;
            self.store = Some(opened.map_err(|_| no_answer())??);
        }
        self.store.as_mut().ok_or_else(no_answer)
    }

    /// Forgets a connection that is of no more use, and every one whose trouble may be its own: a session keeps
    /// what it began with, such as being read-only, after the database has long been repaired.
    pub(crate) fn note(&mut self, failure: &Failure) {
        if let Failure::Infrastructure { state, lost } = failure
            && (*lost || !state.starts_with(CONFLICT))
        {
            self.store = None;
        }
    }

    /// Decides the items, in as many transactions as it takes: one, unless a command makes it fail. `published`
    /// are earlier batches whose events are out.
    ///
    /// # Errors
    /// [`Failure::Infrastructure`] only. Some of the items may be committed by then: deciding all of them
    /// again is right.
    pub(crate) async fn settle(
        &mut self,
        items: &[Arc<Item<R::Command>>],
        published: &[BatchId],
    ) -> Result<Settlement, Failure> {
        let mut settlement = Settlement::default();
        let mut races = 0;
        let mut parts = vec![(items, Waiters::Taken)];
        while let Some((part, waiters)) = parts.pop() {
            match self.attempt(part, waiters, published).await {
                Ok(settled) => {
                    settlement.batches.extend(settled.batch);
                    settlement.verdicts.extend(settled.verdicts);
                    settlement.events.extend(settled.events);
                    settlement.arrivals |= settled.arrivals;
                }
                // It may be one of those that waited for it: they are found, and stand alone, in a scan.
                Err(Failure::Culprit { .. }) if part.len() == 1 && waiters == Waiters::Taken => {
                    parts.push((part, Waiters::Left));
                }
                Err(Failure::Culprit { state, constraint }) if part.len() == 1 => {
                    settlement.verdicts.push(Verdict::Dead(Malformed::new(
                        MalformedReason::Culprit,
                        format_args!("the command makes the ledger fail ({state}, constraint {constraint})"),
                    )));
                }
                Err(Failure::Culprit { .. }) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([(second, waiters), (first, waiters)]);
                }
                Err(Failure::Raced) if races < RACES => {
                    races += 1;
                    parts.push((part, waiters));
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

    async fn attempt(
        &mut self,
        items: &[Arc<Item<R::Command>>],
        waiters: Waiters,
        published: &[BatchId],
    ) -> Result<Settled, Failure> {
        let (rules, limit) = (Arc::clone(&self.rules), self.settings.database_timeout);
        let store = self.store().await?;
        let work = AssertUnwindSafe(store.carry_out(&*rules, items, waiters, published)).catch_unwind();
        let result = match timeout(limit, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => {
                // What the connection was in the middle of, nobody knows.
                self.store = None;
                Err(Failure::Culprit { state: "panic".to_owned(), constraint: "none".to_owned() })
            }
            Err(_elapsed) => Err(no_answer()),
        };
        if let Err(failure) = &result {
            self.note(failure);
        }
        result
    }
}

async fn open(settings: &ledger::store::Settings) -> Result<Store, Failure> {
    let mut store = Store::connect(settings).await?;
    ledger::schema::check(store.connection())
        .await
        .map_err(|mismatch| Failure::Infrastructure { state: mismatch.to_string(), lost: true })?;
    Ok(store)
}

/// The database did not answer in time; its connection is of no more use.
pub(crate) fn no_answer() -> Failure {
    Failure::Infrastructure { state: "no answer in time".to_owned(), lost: true }
}

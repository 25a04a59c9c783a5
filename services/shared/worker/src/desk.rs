//! Where what a lane receives is settled: commands by a [`Clerk`](crate::clerk::Clerk), events by a
//! [`Recorder`](crate::recorder::Recorder). The consume loop and the chores know no more of either than this.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use contract::Event;
use lapin::message::Delivery;
use ledger::decide::Verdict;
use ledger::vault::Sealed;
use ledger::{BatchId, Failure, Store};
use tokio::time::timeout;

use crate::intake::{Arrived, Intake};
use crate::settings::Settings;

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

    /// Settles the items, durably. `published` are earlier batches whose events are out.
    ///
    /// # Errors
    /// [`Failure::Infrastructure`] only. Some of the items may be settled by then: settling all of them again is
    /// right.
    fn settle(
        &mut self,
        items: &[Arc<Self::Item>],
        published: &[BatchId],
    ) -> impl Future<Output = Result<Settlement, Failure>> + Send;

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

/// A connection to the ledger that is made when it is needed.
#[derive(Debug)]
pub(crate) struct Access {
    ledger: ledger::store::Settings,
    settings: Arc<Settings>,
    store: Option<Store>,
}

impl Access {
    pub(crate) fn new(ledger: ledger::store::Settings, settings: Arc<Settings>) -> Self {
        Self { ledger, settings, store: None }
    }

    /// The connection; a new one only after its schema was checked.
    pub(crate) async fn store(&mut self) -> Result<&mut Store, Failure> {
        if self.store.is_none() {
            let opened = timeout(self.settings.connect_timeout, Store::open(&self.ledger)).await;
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

    /// Forgets the connection: what it was in the middle of, nobody knows.
    pub(crate) fn forget(&mut self) {
        self.store = None;
    }

    /// How long a batch may take.
    pub(crate) fn limit(&self) -> std::time::Duration {
        self.settings.database_timeout
    }
}

/// The database did not answer in time; its connection is of no more use.
pub(crate) fn no_answer() -> Failure {
    Failure::Infrastructure { state: "no answer in time".to_owned(), lost: true }
}

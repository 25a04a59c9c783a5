//! The desk for events: a [`Subscriber`] records what follows from them.

use std::sync::Arc;

use lapin::message::Delivery;
use ledger::store::Waiters;
use ledger::{BatchId, Failure, Settled, Store};

use crate::Subscriber;
use crate::desk::{Access, Desk, Found, Work};
use crate::intake::{Arrived, Intake};
use crate::metrics::Reading;

/// A subscriber at work.
#[derive(Debug)]
pub(crate) struct Recorder<S> {
    subscriber: Arc<S>,
    access: Access,
}

impl<S: Subscriber> Recorder<S> {
    pub(crate) fn new(subscriber: Arc<S>, access: Access) -> Self {
        Self { subscriber, access }
    }
}

impl<S: Subscriber> Desk for Recorder<S> {
    const WORKER: &'static str = S::WORKER;
    /// Nothing waits for an event.
    const WAITERS: Waiters = Waiters::Left;
    type Item = S::Event;

    fn read(delivery: Delivery, _: Intake) -> Arrived<S::Event> {
        Arrived::event(delivery, S::read)
    }

    fn access(&mut self) -> &mut Access {
        &mut self.access
    }

    async fn attempt(
        &mut self,
        items: &[Arc<S::Event>],
        _: Waiters,
        _: &[BatchId],
    ) -> Result<Settled, Failure> {
        let subscriber = &*self.subscriber;
        let verdicts =
            self.access.with("record", async |store| subscriber.record(store, items).await).await?;
        Ok(Settled { verdicts, ..Settled::default() })
    }

    async fn find(&mut self, work: Work, skip: i64, limit: i64) -> Result<Found<S::Event>, Failure> {
        let subscriber = &*self.subscriber;
        let items = match work {
            Work::Parked => Vec::new(),
            Work::Due => {
                self.access
                    .with("scan", async |store| subscriber.overlooked(store, skip, limit).await)
                    .await?
            }
        };
        Ok(Found { items, unreadable: 0 })
    }

    async fn readings(store: &mut Store) -> Result<Vec<Reading>, Failure> {
        S::readings(store).await
    }
}

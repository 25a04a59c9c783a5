//! The desk for commands: a worker's rules decide them, and the ledger keeps what follows.

use std::sync::Arc;

use lapin::message::Delivery;
use ledger::store::Waiters;
use ledger::vault::Sealed;
use ledger::{BatchId, Failure, Item, Settled, Store, read};

use crate::Handler;
use crate::desk::{Access, Desk, Found, Work};
use crate::intake::{Arrived, Intake};
use crate::metrics::{self, Reading};

/// A command worker's rules at work.
#[derive(Debug)]
pub(crate) struct Clerk<H> {
    rules: Arc<H>,
    access: Access,
}

impl<H: Handler> Clerk<H> {
    pub(crate) fn new(rules: Arc<H>, access: Access) -> Self {
        Self { rules, access }
    }
}

impl<H: Handler> Desk for Clerk<H> {
    const WORKER: &'static str = H::WORKER;
    const WAITERS: Waiters = Waiters::Taken;
    type Item = Item<H::Command>;

    fn read(delivery: Delivery, intake: Intake) -> Arrived<Self::Item> {
        Arrived::command(delivery, intake)
    }

    fn access(&mut self) -> &mut Access {
        &mut self.access
    }

    async fn attempt(
        &mut self,
        items: &[Arc<Self::Item>],
        waiters: Waiters,
        published: &[BatchId],
    ) -> Result<Settled, Failure> {
        let rules = &*self.rules;
        self.access
            .with("settle", async |store| store.carry_out(rules, items, waiters, published).await)
            .await
    }

    async fn find(&mut self, work: Work, skip: i64, limit: i64) -> Result<Found<Self::Item>, Failure> {
        let rules = &*self.rules;
        let find = async |store: &mut Store| match work {
            Work::Parked => {
                let parked = store.parked_due(rules, skip, limit).await?;
                Ok(Found { items: parked.items, unreadable: parked.unreadable })
            }
            Work::Due => Ok(Found { items: H::due(store, skip, limit).await?, unreadable: 0 }),
        };
        self.access.with("scan", find).await
    }

    async fn readings(store: &mut Store) -> Result<Vec<Reading>, Failure> {
        let mut readings = H::readings(store).await?;
        readings.extend(metrics::parked(read::parked(store.connection(), H::WORKER).await?));
        Ok(readings)
    }

    fn seal_letter(&self, body: &[u8]) -> Option<Sealed> {
        self.rules.seal_letter(body)
    }
}

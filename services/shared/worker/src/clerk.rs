//! Brings a batch before the ledger: reconnects, decides again after a race, and splits a batch until the
//! one command that makes it fail stands alone.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use contract::{Malformed, MalformedReason};
use futures_util::FutureExt as _;
use lapin::message::Delivery;
use ledger::decide::Verdict;
use ledger::store::Waiters;
use ledger::vault::Sealed;
use ledger::{BatchId, Failure, Item, Settled};
use tokio::time::timeout;

use crate::Handler;
use crate::desk::{Access, Desk, Found, Settlement, Work, no_answer};
use crate::intake::{Arrived, Intake};

/// A race is decided by whoever commits first, so each try meets a different rival; more than this many mean
/// that something else is wrong.
const RACES: usize = 20;

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

    async fn attempt(
        &mut self,
        items: &[Arc<Item<H::Command>>],
        waiters: Waiters,
        published: &[BatchId],
    ) -> Result<Settled, Failure> {
        let (rules, limit) = (Arc::clone(&self.rules), self.access.limit());
        let store = self.access.store().await?;
        let work = AssertUnwindSafe(store.carry_out(&*rules, items, waiters, published)).catch_unwind();
        let result = match timeout(limit, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => {
                self.access.forget();
                Err(Failure::Culprit { state: "panic".to_owned(), constraint: "none".to_owned() })
            }
            Err(_elapsed) => Err(no_answer()),
        };
        if let Err(failure) = &result {
            self.access.note(failure);
        }
        result
    }
}

impl<H: Handler> Desk for Clerk<H> {
    const WORKER: &'static str = H::WORKER;
    type Item = Item<H::Command>;

    fn read(delivery: Delivery, intake: Intake) -> Arrived<Self::Item> {
        Arrived::command(delivery, intake)
    }

    fn access(&mut self) -> &mut Access {
        &mut self.access
    }

    /// Decides the items, in as many transactions as it takes: one, unless a command makes it fail.
    async fn settle(
        &mut self,
        items: &[Arc<Self::Item>],
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

    async fn find(&mut self, work: Work, skip: i64, limit: i64) -> Result<Found<Self::Item>, Failure> {
        let rules = Arc::clone(&self.rules);
        let store = self.access.store().await?;
        match work {
            Work::Parked => {
                let parked = store.parked_due(&*rules, skip, limit).await?;
                Ok(Found { items: parked.items, unreadable: parked.unreadable })
            }
            Work::Due => Ok(Found { items: H::due(store, skip, limit).await?, unreadable: 0 }),
        }
    }

    fn seal_letter(&self, body: &[u8]) -> Option<Sealed> {
        self.rules.seal_letter(body)
    }
}

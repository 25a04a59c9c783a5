//! Brings events before a [`Subscriber`], which records what follows from them: reconnects, records again after a race, and
//! splits a batch until the one event that makes it fail stands alone.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use contract::{Malformed, MalformedReason};
use futures_util::FutureExt as _;
use lapin::message::Delivery;
use ledger::decide::Verdict;
use ledger::{BatchId, Failure};
use tokio::time::timeout;

use crate::Subscriber;
use crate::desk::{Access, Desk, Found, Settlement, Work, no_answer};
use crate::intake::{Arrived, Intake};

/// As for a [clerk](crate::clerk): each try meets a different rival.
const RACES: usize = 20;

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

    async fn attempt(&mut self, events: &[Arc<S::Event>]) -> Result<Vec<Verdict>, Failure> {
        let (subscriber, limit) = (Arc::clone(&self.subscriber), self.access.limit());
        let store = self.access.store().await?;
        let work = AssertUnwindSafe(subscriber.record(store, events)).catch_unwind();
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

impl<S: Subscriber> Desk for Recorder<S> {
    const WORKER: &'static str = S::WORKER;
    type Item = S::Event;

    fn read(delivery: Delivery, _: Intake) -> Arrived<S::Event> {
        Arrived::event(delivery, S::read)
    }

    fn access(&mut self) -> &mut Access {
        &mut self.access
    }

    async fn settle(&mut self, items: &[Arc<S::Event>], _: &[BatchId]) -> Result<Settlement, Failure> {
        let mut settlement = Settlement::default();
        let mut races = 0;
        let mut parts = vec![items];
        while let Some(part) = parts.pop() {
            match self.attempt(part).await {
                Ok(verdicts) => settlement.verdicts.extend(verdicts),
                Err(Failure::Culprit { state, constraint }) if part.len() == 1 => {
                    settlement.verdicts.push(Verdict::Dead(Malformed::new(
                        MalformedReason::Culprit,
                        format_args!("the event cannot be recorded ({state}, constraint {constraint})"),
                    )));
                }
                Err(Failure::Culprit { .. }) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(Failure::Raced) if races < RACES => {
                    races += 1;
                    parts.push(part);
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

    async fn find(&mut self, work: Work, skip: i64, limit: i64) -> Result<Found<S::Event>, Failure> {
        let items = match work {
            Work::Parked => Vec::new(),
            Work::Due => {
                let subscriber = Arc::clone(&self.subscriber);
                subscriber.overlooked(self.access.store().await?, skip, limit).await?
            }
        };
        Ok(Found { items, unreadable: 0 })
    }
}

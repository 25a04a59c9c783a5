//! A worker without a broker: its rules, and two lanes to the ledger.

use std::sync::Arc;
use std::time::Duration;

use contract::{CommandKey, ContentHash, Event, Received};
use ledger::decide::ItemOrigin;
use ledger::store::{Settings, Waiters};
use ledger::{Failure, Item, Rules, Store, Verdict};
use tests::World;
use tests::model::{Command, Key};

use super::Disagreement;

/// Two lanes of a worker, with its rules and its role.
pub(super) struct Worker<R: Rules> {
    pub(super) rules: R,
    pub(super) lanes: [Store; 2],
    /// What a scan has found.
    pub(super) found: Vec<Arc<Item<R::Command>>>,
}

/// What came of a transaction.
pub(super) struct Done {
    pub(super) batch: Option<i64>,
    pub(super) verdicts: Vec<&'static str>,
    pub(super) events: Vec<Event>,
    pub(super) retries: usize,
}

/// A command on its way.
pub(super) struct Message {
    pub(super) command: Command,
    pub(super) body: Arc<[u8]>,
    pub(super) user: Option<&'static str>,
}

impl<R: Rules> Worker<R> {
    pub(super) async fn new(world: &World, rules: R) -> Self {
        let url = world.database_url(Some(&format!("saldo_{}", R::WORKER)));
        // Soon trusting, so that repeats meet a store that does and one that does not.
        let settings = Settings::from_url(&url, "model", Duration::from_secs(30)).unwrap().doubting(1);
        let lane = async || Store::connect(&settings).await.unwrap();
        Self { rules, lanes: [lane().await, lane().await], found: Vec::new() }
    }

    pub(super) fn item(message: &Message) -> Arc<Item<R::Command>> {
        let mut received = Received::<R::Command>::read(&message.body).unwrap();
        received.user = message.user.map(|user| user.parse().unwrap());
        Arc::new(Item { received, body: Arc::clone(&message.body), origin: ItemOrigin::Delivered })
    }

    /// Whether this content is what the inbox has of the message.
    pub(super) fn is_same(&self, message: &Message, content: &[u8]) -> bool {
        self.rules.is_same(&Self::item(message).received, ContentHash(content.try_into().unwrap()))
    }

    pub(super) async fn batch(&mut self, messages: &[Message]) -> Result<Done, Disagreement> {
        let items: Vec<_> = messages.iter().map(Self::item).collect();
        carry_out(&mut self.lanes[0], &self.rules, &items, DETOURS).await
    }

    pub(super) async fn race(&mut self, [first, second]: [&[Message]; 2]) -> Result<[Done; 2], Disagreement> {
        let items = |messages: &[Message]| messages.iter().map(Self::item).collect::<Vec<_>>();
        let (rules, [left, right], first, second) =
            (&self.rules, &mut self.lanes, items(first), items(second));
        let (first, second) =
            tokio::join!(carry_out(left, rules, &first, 20), carry_out(right, rules, &second, 20));
        Ok([first?, second?])
    }

    /// Finds parked commands of these merchants that are due; their ids.
    pub(super) async fn look(&mut self, merchants: &[String]) -> Vec<String> {
        self.found = self.lanes[1].parked_due(&self.rules, 0, 100_000).await.unwrap().items;
        self.found.retain(|item| merchants.contains(&item.received.key.merchant.to_string()));
        let mut ids: Vec<_> = self.found.iter().map(|item| item.received.hash.to_string()).collect();
        ids.sort_unstable();
        ids
    }

    /// Decides those that were found.
    pub(super) async fn scan(&mut self) -> Result<(Vec<Key>, Done), Disagreement> {
        let found = std::mem::take(&mut self.found);
        let keys = found.iter().map(|item| key(&item.received.key)).collect();
        Ok((keys, carry_out(&mut self.lanes[1], &self.rules, &found, 0).await?))
    }
}

/// What a batch that nobody races may need: one, where it was taken to be new and is not.
const DETOURS: usize = 1;

/// As a worker does it: again, where another lane was in the way.
pub(super) async fn carry_out<R: Rules>(
    store: &mut Store,
    rules: &R,
    items: &[Arc<Item<R::Command>>],
    most: usize,
) -> Result<Done, Disagreement> {
    let mut retries = 0;
    loop {
        match store.carry_out(rules, items, Waiters::Taken, &[]).await {
            Ok(settled) => {
                let verdict = |verdict: &Verdict| match verdict {
                    Verdict::Decided => "decided",
                    Verdict::Repeated => "repeated",
                    Verdict::Parked => "parked",
                    Verdict::NotDue => "not due",
                    Verdict::Dead(_) => "dead",
                };
                return Ok(Done {
                    batch: settled.batch.map(|batch| batch.0),
                    verdicts: settled.verdicts.iter().map(verdict).collect(),
                    events: settled.events,
                    retries,
                });
            }
            Err(Failure::Raced) if retries < most => retries += 1,
            Err(failure) => return Err(format!("the store failed: {failure:?}")),
        }
    }
}

pub(super) fn key(key: &CommandKey) -> Key {
    (key.merchant.to_string(), key.source.to_string(), key.id.to_string())
}

//! What must hold after any run, however it went.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rust_decimal::Decimal;
use serde_json::Value;

use crate::{Collector, PATIENCE, Publisher, Worker, WorkerBuilder, World, credit, eventually};

/// The queue of the commissions worker.
pub const COMMISSIONS: &str = "saldo.commissions";

/// How long nothing may happen before a queue counts as quiet.
const QUIET: Duration = Duration::from_millis(500);

/// Random numbers from a [`seed`].
pub fn seeded() -> StdRng {
    StdRng::seed_from_u64(seed())
}

/// A seed that is shown when the test fails; `SALDO_TEST_SEED` repeats a run.
#[expect(clippy::print_stderr, reason = "a failing test shows its seed")]
pub fn seed() -> u64 {
    let given = std::env::var("SALDO_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = given.unwrap_or_else(rand::random);
    eprintln!("SALDO_TEST_SEED={seed}");
    seed
}

/// The amounts in cents of this many commissions, and their commands: so many copies of each, in random order.
pub fn credits(rng: &mut StdRng, commands: usize, copies: usize) -> (Vec<i64>, Vec<Value>) {
    let cents: Vec<i64> = (0..commands).map(|_| rng.random_range(1..=100_000)).collect();
    let mut messages = Vec::with_capacity(commands * copies);
    for _ in 0..copies {
        messages.extend(cents.iter().enumerate().map(|(n, cents)| {
            let (customer, amount) = (format!("customer-{}", n % 300), Decimal::new(*cents, 2));
            credit(&format!("order-{n}"), &customer, &amount.to_string())
        }));
    }
    messages.shuffle(rng);
    (cents, messages)
}

/// A queue at this moment, as it says itself and not as the broker's figures have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// Messages that nobody has been handed.
    pub ready: u32,
    /// Consumers.
    pub consumers: u32,
}

impl Publisher {
    /// Asks a queue.
    pub async fn queued(&self, queue: &str) -> Queued {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let answer = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap();
        Queued { ready: answer.message_count(), consumers: answer.consumer_count() }
    }
}

impl World {
    /// Lets workers run until nothing is left to hand out and nothing more is told, and stops them: each must end
    /// with status 0. Where they returned something to the queue, new ones are started.
    pub async fn drain(&self, mut workers: Vec<Worker>, builder: &WorkerBuilder, events: &Collector) {
        let publisher = self.publisher().await;
        loop {
            let mut seen = events.count();
            eventually("the queue is empty and nothing more is told", PATIENCE * 2, || {
                let (publisher, before) = (&publisher, seen);
                seen = events.count();
                async move {
                    tokio::time::sleep(QUIET).await;
                    let (queued, now) = (publisher.queued(builder.queue()).await, events.count());
                    if queued.ready == 0 && now == before { Ok(()) } else { Err((queued, now)) }
                }
            })
            .await;
            for worker in &mut workers {
                assert!(worker.terminate().await.success(), "a worker did not end well");
            }
            let returned = eventually("all consumers are gone", PATIENCE, || async {
                match publisher.queued(builder.queue()).await {
                    Queued { ready, consumers: 0 } => Ok(ready),
                    other => Err(other),
                }
            })
            .await;
            if returned == 0 {
                return;
            }
            workers = vec![builder.ready().await];
        }
    }

    /// Every event that the ledger holds, by id: the bytes that must be published, and nothing else.
    pub async fn outcomes(&self) -> BTreeMap<String, String> {
        let rows: Vec<String> = sqlx::query_scalar("SELECT outcome FROM inbox WHERE outcome IS NOT NULL")
            .fetch_all(&mut self.superuser().await)
            .await
            .unwrap();
        let id = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            event["id"].as_str().unwrap().to_owned()
        };
        rows.iter().flat_map(|outcome| outcome.lines()).map(|line| (id(line), line.to_owned())).collect()
    }

    /// Waits until every event that the ledger holds has come out; fails if anything else did, or other bytes.
    pub async fn assert_told(&self, events: &Collector) {
        let stored = self.outcomes().await;
        let told = eventually("every event is told", PATIENCE, || async {
            let told = events.bodies();
            let missing: Vec<_> = stored.keys().filter(|id| !told.contains_key(*id)).cloned().collect();
            if missing.is_empty() { Ok(told) } else { Err(missing.into_iter().take(3).collect::<Vec<_>>()) }
        })
        .await;
        let strange: Vec<_> =
            told.iter().filter(|(id, body)| stored.get(*id) != Some(*body)).take(3).collect();
        assert!(
            stored == told,
            "{} events stored, {} told; not as stored: {strange:?}",
            stored.len(),
            told.len()
        );
    }

    /// Fails unless each of these [`credits`] took effect once and was told, and nothing else did.
    pub async fn assert_credited_once(&self, cents: &[i64], events: &Collector, dead: &Collector) {
        let commands = i64::try_from(cents.len()).unwrap();
        assert_eq!(self.count("SELECT count(*) FROM entry").await, commands);
        assert_eq!(self.count("SELECT count(*) FROM inbox").await, commands);
        let mut owed: BTreeMap<String, Decimal> = BTreeMap::new();
        for (n, cents) in cents.iter().enumerate() {
            *owed.entry(format!("customer-{}", n % 300)).or_default() += Decimal::new(*cents, 2);
        }
        let balances: Vec<(String, Decimal)> = sqlx::query_as("SELECT customer, balance FROM account")
            .fetch_all(&mut self.superuser().await)
            .await
            .unwrap();
        assert_eq!(balances.into_iter().collect::<BTreeMap<_, _>>(), owed);
        assert_eq!(events.causes("commission.credited").len(), cents.len(), "an event for every command");
        self.assert_told(events).await;
        self.assert_sound().await;
        assert!(dead.all().is_empty(), "{} dead letters", dead.count());
    }

    /// Fails unless the books hold, as `saldo verify` says: entries are numbered, summed and chained as they were
    /// posted, what is held and pending has its reasons, and no command has two entries.
    pub async fn assert_sound(&self) {
        let mut database = self.superuser().await;
        let verification = ledger::read::verify(&mut database, None, None, &mut ()).await.unwrap();
        assert!(verification.holds(), "{:#?}", verification.faults);
    }

    /// Fails unless every batch's events are marked as published, at the latest after a while.
    pub async fn assert_all_marked(&self) {
        eventually("every batch is marked as published", PATIENCE, || async {
            match self.count("SELECT count(*) FROM batch WHERE published_at IS NULL").await {
                0 => Ok(()),
                unmarked => Err(unmarked),
            }
        })
        .await;
    }

    /// Waits until this many commands are parked.
    pub async fn assert_parked(&self, wanted: i64) {
        eventually("commands are parked", PATIENCE, || async {
            match self.count("SELECT count(*) FROM waiting").await {
                parked if parked == wanted => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }

    /// Declares everything that must exist, as `saldo topology apply` does; what exists stays.
    pub async fn declare_topology(&self) {
        let topology = worker::topology::Topology::new(worker::topology::Limits::default());
        let definitions = topology.definitions(&self.name);
        self.manage("POST", &format!("definitions/{}", self.name), Some(definitions)).await;
    }

    /// Backends of this world's database that wait for a lock.
    pub async fn waiting_for_locks(&self) -> i64 {
        self.count(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .await
    }

    /// Until so many wait for a lock.
    pub async fn until_waiting_for_locks(&self, backends: i64) {
        eventually("backends wait for a lock", PATIENCE, || async {
            let waiting = self.waiting_for_locks().await;
            if waiting == backends { Ok(()) } else { Err(waiting) }
        })
        .await;
    }
}

impl Collector {
    /// How many messages so far.
    pub fn count(&self) -> usize {
        self.peek(Vec::len)
    }

    /// Event bodies by id; fails if one id came with two contents.
    pub fn bodies(&self) -> BTreeMap<String, String> {
        let mut bodies: BTreeMap<String, String> = BTreeMap::new();
        for event in self.all() {
            let id = event.json()["id"].as_str().unwrap().to_owned();
            let body = String::from_utf8(event.body).unwrap();
            let first = bodies.entry(id.clone()).or_insert_with(|| body.clone());
            assert_eq!(*first, body, "event {id} has two contents");
        }
        bodies
    }

    /// The copies of the events of this type that this command caused, in the order they came.
    pub fn of(&self, cause: &str, name: &str) -> Vec<serde_json::Value> {
        let wanted = format!("{name}.v1");
        let mut events: Vec<_> = self.all().iter().map(crate::broker::Collected::json).collect();
        events.retain(|event| event["causationid"] == cause && event["type"] == wanted.as_str());
        events
    }

    /// Fails unless what was told of this command is one event of each of these types, in alphabetical order.
    pub fn assert_told_once(&self, command: &str, types: &[&str]) {
        let all = self.events_by_id();
        let mut told: Vec<_> = all
            .values()
            .filter(|event| event["causationid"] == command)
            .map(|event| event["type"].as_str().unwrap().trim_end_matches(".v1"))
            .collect();
        told.sort_unstable();
        assert_eq!(told, types, "{command}");
    }

    /// Waits for the first event of this type that this command caused.
    pub async fn first(&self, cause: &str, name: &str) -> serde_json::Value {
        eventually(&format!("{name} of {cause}"), PATIENCE, || async {
            self.of(cause, name).into_iter().next().ok_or_else(|| {
                let all = self.all();
                let last = all.iter().rev().take(5);
                last.map(|event| String::from_utf8_lossy(&event.body).into_owned()).collect::<Vec<_>>()
            })
        })
        .await
    }
}

//! How fast the ledger is without a broker: the same messages from memory, in batches as a worker makes them, read,
//! decided and committed on two connections, their outcomes in the inbox. What a worker adds to this is the broker.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use commissions::Commissions;
use ledger::Store;
use ledger::store::{Settings, Waiters};
use tests::message::item;

use crate::figures::{Case, Measured};
use crate::messages::What;
use crate::stage::Stage;

/// What a worker takes at once, as it is shipped.
const BATCH: usize = 1000;

const CONNECTIONS: usize = 2;

/// The rules of the worker that everything is compared with.
pub(crate) const RULES: Commissions =
    Commissions { patience: Duration::from_hours(1), reversal_patience: Duration::from_hours(1) };

/// A connection to the stage's ledger, as the worker has one.
pub(crate) async fn store(stage: &Stage) -> Store {
    let url = stage.world.database_url(Some(&format!("saldo_{}", What::Commission.worker())));
    Store::open(&Settings::from_url(&url, "bench", Duration::from_secs(30)).unwrap()).await.unwrap()
}

/// Carries out all of them.
pub(crate) async fn limit(stage: &mut Stage, round: usize, bodies: &[String]) -> Measured {
    let newest = stage.newest_batch().await;
    let chunks: VecDeque<Vec<String>> = bodies.chunks(BATCH).map(<[String]>::to_vec).collect();
    let chunks = Arc::new(Mutex::new(chunks));
    let mut stores = Vec::new();
    for _ in 0..CONNECTIONS {
        stores.push(store(stage).await);
    }
    stage.settle().await;
    let usage = stage.servers.usage(&[], &mut stage.database).await;
    let began = Instant::now();
    let tasks: Vec<_> = stores
        .into_iter()
        .map(|mut store| {
            let chunks = Arc::clone(&chunks);
            tokio::spawn(async move {
                let mut published = Vec::new();
                loop {
                    let Some(chunk) = chunks.lock().unwrap().pop_front() else { break };
                    let items: Vec<_> = chunk.iter().map(|body| item(body)).collect();
                    let settled = store.carry_out(&RULES, &items, Waiters::Taken, &published).await.unwrap();
                    published = settled.batch.into_iter().collect();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (seconds, now) = (began.elapsed().as_secs_f64(), stage.servers.usage(&[], &mut stage.database).await);
    let (cpu, wal) = now.since(usage);
    let commands = stage.carried_out_since(newest).await;
    assert_eq!(commands, bodies.len() as u64, "each command was carried out, none twice");
    Measured { case: Case::Limit, round, commands, seconds, cpu, wal, memory: Vec::new() }
}

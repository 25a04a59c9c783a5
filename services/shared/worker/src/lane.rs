//! A lane: the consume loop. It has its own channels and its own database connection.
//!
//! | step | a crash before it leaves | a crash after it leaves |
//! |---|---|---|
//! | gather what the queue has ready | everything in the queue | the same |
//! | decide and commit ([`Desk::settle`]) | the same | outcomes in the inbox, the batch unpublished: redelivery and sweep both publish it; what had been parked and is decided with it was acked long ago, and is the sweep's alone |
//! | publish dead letters and events, confirmed | the same | the same; consumers know the events by their ids |
//! | ack | the same; redelivery publishes again, byte for byte | nothing to do; the sweep may publish once more until the batch is marked |
//! | mark the batch published, with the next one or when idle | the same | nothing to do |
//!
//! **Bounds.** The broker hands out at most the prefetch (two batches). A batch takes what is ready, up to a
//! count and a number of bytes, and never waits for more: while it is being committed, the next one gathers.
//!
//! **When the database is away** the lane tries the same batch again for as long as it takes. After
//! `worker.give_back_after` it returns what it holds to the queue, once, and goes on trying: that is how it
//! learns that the database works again. Only then does it consume again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use ledger::BatchId;
use ledger::decide::Verdict;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::backoff::Backoff;
use crate::broker::{BrokerError, Outgoing, Publisher};
use crate::desk::{Desk, Settlement};
use crate::fault::{self, Point};
use crate::health::Health;
use crate::intake::{Arrived, Intake};
use crate::metrics::{self, Retry, Taken};
use crate::settings::Settings;
use crate::topology;
use crate::traces::Traces;

/// A delivery that came back this often goes alone: something in it may kill connections or processes.
const SUSPICIOUS_DELIVERIES: u64 = 3;

/// How often events that the broker refuses are tried again before they are left to the sweep, so that a
/// subscriber's full queue cannot stop the commands.
const REFUSALS: usize = 3;

/// What all lanes of a session share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Arc<Settings>,
    pub(crate) health: Health,
    pub(crate) traces: Traces,
    /// Cancelled when the process is to end.
    pub(crate) shutdown: CancellationToken,
    /// Cancelled when the session is to end.
    pub(crate) session: CancellationToken,
    /// Commands acked in this session.
    pub(crate) acked: AtomicU64,
    /// Something was parked, and what it waits for may have arrived just before; or something arrived that commands
    /// may be parked for.
    pub(crate) parked: Notify,
    /// One message at a time, to get past a killer.
    pub(crate) careful: bool,
}

/// Why a lane stopped.
#[derive(Debug)]
pub(crate) enum End {
    /// It was told to.
    Stopped,
    /// The broker's side failed, or everything was returned to it.
    Lost(String),
    /// The broker did not take the events of a committed batch.
    Unpublished(String),
    /// A delivery came back too often: one at a time from now on.
    Suspicious,
    /// The suspicious ones are through.
    Past,
}

impl From<BrokerError> for End {
    fn from(error: BrokerError) -> Self {
        // The chain is told here, once; none of these errors holds a URL or a body.
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::Lost(format!("{error}{cause}"))
    }
}

impl From<lapin::Error> for End {
    fn from(error: lapin::Error) -> Self {
        BrokerError::from(error).into()
    }
}

/// One of a worker's parallel consumers.
#[derive(Debug)]
pub(crate) struct Lane<D> {
    name: String,
    shared: Arc<Shared>,
    desk: D,
    channel: Channel,
    consumer: Consumer,
    publisher: Publisher,
    queue: Arc<str>,
    dead_queue: String,
    /// Batches whose events are out and which are not marked yet.
    published: Vec<BatchId>,
}

type Batch<D> = Vec<Arrived<<D as Desk>::Item>>;

impl<D: Desk> Lane<D> {
    /// Starts consuming.
    pub(crate) async fn open(
        number: usize,
        shared: Arc<Shared>,
        desk: D,
        consume_on: &Connection,
        publish_on: &Arc<Connection>,
    ) -> Result<Self, BrokerError> {
        let settings = &shared.settings;
        let publisher = Publisher::open(Arc::clone(publish_on), settings.publish_timeout).await?;
        let channel = consume_on.create_channel().await?;
        let prefetch = if shared.careful { 1 } else { settings.prefetch() };
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let name = format!("lane {number}");
        let (queue, tag) = (Arc::<str>::from(topology::queue(D::WORKER)), format!("{} {name}", D::WORKER));
        let options = BasicConsumeOptions::default();
        let consumer = channel
            .basic_consume((*queue).into(), tag.as_str().into(), options, FieldTable::default())
            .await?;
        let dead_queue = topology::dead_queue(D::WORKER);
        Ok(Self {
            name,
            shared,
            desk,
            channel,
            consumer,
            publisher,
            queue,
            dead_queue,
            published: Vec::new(),
        })
    }

    /// Works until the session ends.
    pub(crate) async fn run(mut self) -> End {
        let end = loop {
            if let Err(end) = self.turn().await {
                break end;
            }
        };
        self.mark_published().await;
        metrics::oldest_under_way(&self.name, None);
        self.shared.health.fine(&self.name);
        end
    }

    /// One batch.
    async fn turn(&mut self) -> Result<(), End> {
        let batch = self.gather().await?;
        let returned = batch.iter().map(|arrived| arrived.deliveries).max().unwrap_or(0);
        if returned >= SUSPICIOUS_DELIVERIES && !self.shared.careful {
            return Err(End::Suspicious);
        }
        let mut taken = Taken::now(&self.queue, &self.name, &batch);
        fault::reach(Point::Received);
        let items: Vec<_> = batch.iter().filter_map(|arrived| arrived.item.as_ref().ok()).cloned().collect();
        let settlement = self.settle(&items, &mut taken).await?;
        metrics::committed(&batch);
        fault::reach(Point::Committed);
        self.publish(&batch, &settlement).await?;
        fault::reach(Point::Published);
        let last = batch.last().map_or(0, |arrived| arrived.tag);
        self.channel.basic_ack(last, BasicAckOptions { multiple: true }).await?;
        taken.acked(&batch);
        self.shared.traces.worked(&self.queue, taken.at, &batch, &settlement.verdicts);
        self.shared.acked.fetch_add(batch.len() as u64, Ordering::Relaxed);
        debug!(lane = self.name, commands = batch.len(), events = settlement.events.len(), "batch settled");
        if settlement.arrivals || settlement.verdicts.contains(&Verdict::Parked) {
            self.shared.parked.notify_one();
        }
        if self.shared.careful && returned == 0 { Err(End::Past) } else { Ok(()) }
    }

    /// Takes what is ready; waits only for the first.
    async fn gather(&mut self) -> Result<Batch<D>, End> {
        let ended = || End::Lost("the broker ended the consumer".to_owned());
        let ready = self.consumer.next().now_or_never();
        let first = if let Some(first) = ready {
            first
        } else {
            // Idle: there may be no next batch for a long time.
            self.mark_published().await;
            metrics::oldest_under_way(&self.name, None);
            tokio::select! {
                biased;
                () = self.shared.session.cancelled() => return Err(End::Stopped),
                first = self.consumer.next() => first,
            }
        };
        if self.shared.session.is_cancelled() {
            return Err(End::Stopped);
        }
        let settings = &self.shared.settings;
        let (count, bytes) = (settings.batch_count, settings.batch_bytes);
        let intake = Intake { require_user: settings.require_user_id, now: OffsetDateTime::now_utc() };
        let mut batch = Vec::new();
        let mut size = 0;
        let mut next = first;
        loop {
            let arrived = D::read(next.ok_or_else(ended)??, intake);
            size += arrived.letter.body.len();
            batch.push(arrived);
            if batch.len() >= count || size >= bytes {
                break;
            }
            match self.consumer.next().now_or_never() {
                Some(ready) => next = ready,
                None => break,
            }
        }
        Ok(batch)
    }

    /// Decides and commits, however long the database is away.
    async fn settle(&mut self, items: &[Arc<D::Item>], taken: &mut Taken) -> Result<Settlement, End> {
        if items.is_empty() {
            return Ok(Settlement::default());
        }
        let began = Instant::now();
        let mut pauses = Backoff::new(self.shared.settings.retry_max);
        let mut held = true;
        loop {
            let failure = match self.desk.settle(items, &self.published).await {
                Ok(settlement) => {
                    // Repeats alone write nothing, and so mark nothing.
                    if !settlement.batches.is_empty() {
                        self.published.clear();
                    }
                    self.shared.health.fine(&self.name);
                    // What was returned is delivered again, and answered from the inbox.
                    let returned = || End::Lost("the commands had been returned to the queue".to_owned());
                    return if held { Ok(settlement) } else { Err(returned()) };
                }
                Err(failure) => failure,
            };
            self.shared.health.trouble(&self.name, &failure);
            metrics::retried(Retry::Ledger);
            warn!(lane = self.name, %failure, commands = items.len(), "the ledger is not available, trying again");
            if held && began.elapsed() >= self.shared.settings.give_back_after {
                info!(lane = self.name, "returning the commands to the queue until the ledger is available");
                held = false;
                taken.give_back();
                // An error here means that the channel is gone, and the commands with it.
                let _ = self.channel.close(200, "the ledger is not available".into()).await;
            }
            tokio::select! {
                () = self.shared.shutdown.cancelled() => return Err(End::Stopped),
                () = tokio::time::sleep(pauses.pause()) => {}
            }
        }
    }

    /// Publishes dead letters and events.
    async fn publish(&mut self, batch: &Batch<D>, settlement: &Settlement) -> Result<(), End> {
        let now = OffsetDateTime::now_utc();
        let mut verdicts = settlement.verdicts.iter();
        let mut dead = Vec::new();
        for arrived in batch {
            let why = match &arrived.item {
                Err(malformed) => malformed,
                Ok(_) => match verdicts.next() {
                    Some(Verdict::Dead(why)) => why,
                    _ => continue,
                },
            };
            dead.push((&arrived.letter, why, self.desk.seal_letter(&arrived.letter.body)));
        }
        if !dead.is_empty() {
            let letters: Vec<_> = dead
                .iter()
                .map(|(letter, why, sealed)| {
                    letter.dead(D::WORKER, &self.dead_queue, why, sealed.as_ref(), now)
                })
                .collect();
            self.publish_letters(&letters).await?;
            metrics::dead_letters(dead.iter().map(|(_, why, _)| why.reason));
            let mut reasons: Vec<_> = dead.iter().map(|(_, why, _)| why.reason.code()).collect();
            reasons.sort_unstable();
            reasons.dedup();
            warn!(lane = self.name, count = letters.len(), reasons = reasons.join(", "), "dead letters");
        }
        if self.publish_events(settlement).await? {
            self.published.extend(&settlement.batches);
        }
        Ok(())
    }

    /// Publishes dead letters, however long no queue takes them: that is nothing their commands can help.
    async fn publish_letters(&self, letters: &[Outgoing<'_>]) -> Result<(), End> {
        let mut pauses = Backoff::new(self.shared.settings.retry_max);
        loop {
            let error = match self.publisher.publish(letters).await {
                Ok(()) => {
                    self.shared.health.fine(&self.name);
                    return Ok(());
                }
                Err(error @ (BrokerError::Refused(_) | BrokerError::Unroutable(_))) => error,
                Err(error) => return Err(error.into()),
            };
            self.shared.health.trouble(&self.name, &error);
            metrics::retried(Retry::Letters);
            warn!(lane = self.name, %error, "dead letters are not taken, trying again");
            tokio::select! {
                () = self.shared.shutdown.cancelled() => return Err(End::Stopped),
                () = tokio::time::sleep(pauses.pause()) => {}
            }
        }
    }

    /// Whether the broker took all of them.
    async fn publish_events(&self, settlement: &Settlement) -> Result<bool, End> {
        let events: Vec<_> = settlement.events.iter().map(Outgoing::event).collect();
        let mut pauses = Backoff::new(self.shared.settings.retry_max);
        for _ in 0..REFUSALS {
            match self.publisher.publish(&events).await {
                Ok(()) => return Ok(true),
                Err(error @ BrokerError::Refused(_)) => {
                    metrics::retried(Retry::Events);
                    warn!(lane = self.name, %error, "events refused, trying again");
                    tokio::time::sleep(pauses.pause()).await;
                }
                Err(error) => {
                    let End::Lost(why) = End::from(error) else { return Err(End::Stopped) };
                    return Err(End::Unpublished(why));
                }
            }
        }
        warn!(
            lane = self.name,
            events = events.len(),
            "events are left to the sweep: a subscriber's queue is full"
        );
        Ok(false)
    }

    /// Marks batches whose events are out. Where that fails, the sweep publishes them once more.
    async fn mark_published(&mut self) {
        if self.published.is_empty() {
            return;
        }
        let published = std::mem::take(&mut self.published);
        let marked =
            self.desk.access().with("mark", async |store| store.mark_published(&published).await).await;
        if let Err(failure) = marked {
            warn!(lane = self.name, %failure, "published batches could not be marked; the sweep repeats them");
        }
    }
}
